/*
 * The JSON parser, the typed reader and the writer. What must hold of any bytes: ours and another
 * parser agree; what is written of a value reads back as the same value; the reader of objects
 * refuses with a sentence; and what the writer makes of any string is JSON.
 */
#include "json.h"

#include <string.h>

#include "fuzz.h"
#include "json_judge.h"
#include "json_node.h"

#define TEXT_BYTES_MAX ((size_t)1 << 20)

static bool same(const struct vow_json_node *a, const struct vow_json_node *b) {
  if (a->type != b->type || (a->key == NULL) != (b->key == NULL)) return false;
  if (a->key != NULL && strcmp(a->key, b->key) != 0) return false;
  if (a->count != b->count) return false;
  if (a->type == VOW_JSON_STRING && strlen(a->text) != a->count) return false;
  if (a->type == VOW_JSON_NUMBER || a->type == VOW_JSON_STRING)
    return memcmp(a->text, b->text, a->count) == 0;
  if (a->type != VOW_JSON_ARRAY && a->type != VOW_JSON_OBJECT) return true;
  for (uint32_t i = 0; i < a->count; i++) {
    if (!same(&a->items[i], &b->items[i])) return false;
  }
  return true;
}

static void written_and_read_again(struct vow_json *json) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *again = NULL;
  struct vow_buf text;
  const char *kept = NULL;
  size_t kept_bytes = 0;

  vow_buf_init(&text, TEXT_BYTES_MAX);
  vow_json_dump(vow_json_root(json), &text);
  must(text.error == VOW_OK);
  must(vow_json_parse(&again, text.data, text.bytes, why) == VOW_OK);
  must(same(vow_json_root(json), vow_json_root(again)));
  must(vow_json_keep_text(json, vow_json_root(json), &kept, &kept_bytes) == VOW_OK);
  must(kept_bytes == text.bytes && strcmp(kept, text.data) == 0);
  vow_json_free(again);
  vow_buf_fini(&text);
}

/* Asks a member for what `kind` says, as every reader of the protocol does. */
static void get(struct vow_json_object *o, const char *key, unsigned kind) {
  const struct vow_json_node *node = NULL;
  const char *text = NULL;
  struct vow_id id;
  uint64_t number = 7;
  bool flag;

  switch (kind) {
    case 0:
      if (vow_json_get_string(o, key, VOW_JSON_REQUIRED, 16, &text)) must(strlen(text) <= 16);
      break;
    case 1:
      if (vow_json_get_uint(o, key, VOW_JSON_REQUIRED, 5, 5000000000, &number))
        must(number >= 5 && number <= 5000000000);
      break;
    case 2:
      vow_json_get_bool(o, key, VOW_JSON_REQUIRED, &flag);
      break;
    case 3:
      vow_json_get_id(o, key, VOW_JSON_REQUIRED, &id);
      break;
    case 4:
      vow_json_get_time(o, key, VOW_JSON_REQUIRED, &number);
      break;
    case 5:
      if (vow_json_get_any(o, key, VOW_JSON_REQUIRED, &node))
        must(vow_json_depth(node) <= VOW_JSON_VALUE_DEPTH_MAX);
      break;
    case 6:
      if (vow_json_get_object(o, key, VOW_JSON_REQUIRED, &node)) must(vow_json_is_object(node));
      break;
    default:
      if (vow_json_get_array(o, key, VOW_JSON_REQUIRED, 3, &node))
        must(vow_json_array_length(node) <= 3);
  }
}

#define GETTERS 8

/* A time is written as it was read. */
static void times_come_back(const struct vow_json_node *node, uint64_t unix_ms) {
  struct vow_json_object o;
  struct vow_jsonw w;
  struct vow_buf text;
  struct vow_json *json = NULL;
  char why[VOW_JSON_WHY_BYTES];
  uint64_t again = 0;

  must(vow_json_string_value(node) != NULL);
  vow_buf_init(&text, 256);
  vow_jsonw_init(&w, &text);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_time(&w, "t", unix_ms);
  vow_jsonw_end(&w);
  must(vow_json_parse(&json, vow_buf_text(&text), text.bytes, why) == VOW_OK);
  vow_json_object_begin(&o, vow_json_root(json), NULL);
  must(vow_json_get_time(&o, "t", VOW_JSON_REQUIRED, &again) && again == unix_ms);
  vow_json_free(json);
  vow_buf_fini(&text);
}

static bool has_member(const struct vow_json_node *root, const char *key) {
  bool has = false;
  for (uint32_t i = 0; vow_json_is_object(root) && i < root->count; i++) {
    has = has || strcmp(root->items[i].key, key) == 0;
  }
  return has;
}

/* Each member is asked for each kind of value, and then one that is not there. */
static void read_as_object(const struct vow_json_node *root) {
  uint32_t count = vow_json_is_object(root) && root->count < 8 ? root->count : 0;
  for (uint32_t i = 0; i < count; i++) {
    for (unsigned kind = 0; kind < GETTERS; kind++) {
      struct vow_json_object o;
      uint64_t unix_ms;
      vow_json_object_begin(&o, root, "o");
      get(&o, root->items[i].key, kind);
      if (vow_json_object_end(&o) != VOW_OK) must(strlen(o.why) > 10);
      vow_json_object_begin(&o, root, "o");
      if (kind == 4 && vow_json_get_time(&o, root->items[i].key, VOW_JSON_REQUIRED, &unix_ms))
        times_come_back(&root->items[i], unix_ms);
    }
  }
  struct vow_json_object o;
  if (has_member(root, "no such member")) return;
  vow_json_object_begin(&o, root, "o");
  get(&o, "no such member", 0);
  must(vow_json_object_end(&o) != VOW_OK && strlen(o.why) > 10);
}

/* What the writer makes of any bytes is JSON, and of good text it is that text. */
static void written_as_string(const char *text, size_t bytes) {
  char why[VOW_JSON_WHY_BYTES];
  struct vow_json *json = NULL;
  struct vow_jsonw w;
  struct vow_buf out;

  if (memchr(text, '\0', bytes) != NULL) return;
  vow_buf_init(&out, TEXT_BYTES_MAX);
  vow_jsonw_init(&w, &out);
  vow_jsonw_string_n(&w, NULL, text, bytes);
  must(out.error == VOW_OK);
  must(vow_json_parse(&json, out.data, out.bytes, why) == VOW_OK);
  const char *back = vow_json_string_value(vow_json_root(json));
  must(back != NULL);
  if (strstr(back, "\xEF\xBF\xBD") == NULL) {
    must(strlen(back) == bytes && memcmp(back, text, bytes) == 0);
  }
  vow_json_free(json);
  vow_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  const char *text = (const char *)data;
  char why[VOW_JSON_WHY_BYTES] = "", complaint[JSON_JUDGE_COMPLAINT_BYTES] = "";
  struct vow_json *json = NULL;
  bool valid = false;

  if (!json_judge(text, bytes, &valid, complaint)) {
    fprintf(stderr, "%s\n", complaint);
    must(!"the parsers disagree");
  }
  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  must(error == (valid ? VOW_OK : VOW_E_INVALID_JSON));
  if (valid) {
    read_as_object(vow_json_root(json));
    written_and_read_again(json);
  } else {
    must(json == NULL && strlen(why) > 10);
  }
  vow_json_free(json);
  written_as_string(text, bytes);
  return 0;
}
