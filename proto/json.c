/*
 * JSON values: access, and writing them back. The parser is json_parse.c, the typed reader of
 * objects json_object.c.
 * Invariant: recursion over a document is bounded by VOW_JSON_DEPTH_MAX, which the parser enforces.
 */
#include "json.h"

#include <stdlib.h>
#include <string.h>

#include "json_node.h"

void vow_json_free(struct vow_json *json) {
  if (!json) return;
  vow_buf_fini(&json->kept);
  free(json);
}

const struct vow_json_node *vow_json_root(const struct vow_json *json) {
  return &json->root;
}

enum vow_error vow_json_keep_text(struct vow_json *json, const struct vow_json_node *node,
                                  const char **out, size_t *bytes_out) {
  struct vow_buf *kept = &json->kept;

  /* All at once, so that texts handed out earlier never move. A value is not longer written anew
   * than it was, and between two of them is at least one byte, where the NUL goes. */
  if (kept->data == NULL) vow_buf_reserve(kept, kept->limit);
  size_t start = kept->bytes;
  vow_json_dump(node, kept);
  size_t bytes = kept->bytes - start;
  vow_buf_append(kept, "", 1);
  if (kept->error != VOW_OK) return kept->error;
  *out = kept->data + start;
  *bytes_out = bytes;
  return VOW_OK;
}

const char *vow_json_string_value(const struct vow_json_node *node) {
  return node->type == VOW_JSON_STRING ? node->text : NULL;
}

bool vow_json_is_object(const struct vow_json_node *node) {
  return node->type == VOW_JSON_OBJECT;
}

bool vow_json_is_array(const struct vow_json_node *node) {
  return node->type == VOW_JSON_ARRAY;
}

const char *vow_json_kind(const struct vow_json_node *node) {
  static const char *const kinds[] = {
      [VOW_JSON_NULL] = "null",        [VOW_JSON_FALSE] = "a boolean",
      [VOW_JSON_TRUE] = "a boolean",   [VOW_JSON_NUMBER] = "a number",
      [VOW_JSON_STRING] = "a string",  [VOW_JSON_ARRAY] = "an array",
      [VOW_JSON_OBJECT] = "an object",
  };

  return kinds[node->type];
}

bool vow_json_uint_value(const struct vow_json_node *node, uint64_t *out) {
  uint64_t value = 0;

  if (node->type != VOW_JSON_NUMBER) return false;
  for (uint32_t i = 0; i < node->count; i++) {
    char c = node->text[i];
    if (c < '0' || c > '9') return false;
    uint64_t digit = (uint64_t)(c - '0');
    if (__builtin_mul_overflow(value, 10, &value)) return false;
    if (__builtin_add_overflow(value, digit, &value)) return false;
  }
  *out = value;
  return true;
}

size_t vow_json_array_length(const struct vow_json_node *array) {
  return array->type == VOW_JSON_ARRAY ? array->count : 0;
}

const struct vow_json_node *vow_json_array_at(const struct vow_json_node *array, size_t index) {
  return index < vow_json_array_length(array) ? &array->items[index] : NULL;
}

void vow_json_show_key(const char *key, char out[VOW_JSON_SHOWN_KEY_BYTES]) {
  size_t i = 0;

  for (; key[i] != '\0' && i + 1 < VOW_JSON_SHOWN_KEY_BYTES; i++) {
    out[i] = (unsigned char)key[i] < 0x20 || key[i] == 0x7f ? '?' : key[i];
  }
  out[i] = '\0';
}

unsigned vow_json_depth(const struct vow_json_node *node) {
  unsigned deepest = 0;

  if (node->type != VOW_JSON_OBJECT && node->type != VOW_JSON_ARRAY) return 0;
  for (uint32_t i = 0; i < node->count; i++) {
    unsigned depth = vow_json_depth(&node->items[i]);
    if (depth > deepest) deepest = depth;
  }
  return deepest + 1;
}

static void dump(struct vow_jsonw *w, const struct vow_json_node *node, const char *key);

static void dump_items(struct vow_jsonw *w, const struct vow_json_node *node) {
  for (uint32_t i = 0; i < node->count; i++) dump(w, &node->items[i], node->items[i].key);
  vow_jsonw_end(w);
}

static void dump(struct vow_jsonw *w, const struct vow_json_node *node, const char *key) {
  switch (node->type) {
    case VOW_JSON_NULL:
      vow_jsonw_raw(w, key, "null", 4);
      break;
    case VOW_JSON_FALSE:
    case VOW_JSON_TRUE:
      vow_jsonw_bool(w, key, node->type == VOW_JSON_TRUE);
      break;
    case VOW_JSON_NUMBER:
      vow_jsonw_raw(w, key, node->text, node->count);
      break;
    case VOW_JSON_STRING:
      vow_jsonw_string_n(w, key, node->text, node->count);
      break;
    case VOW_JSON_ARRAY:
      vow_jsonw_array(w, key);
      dump_items(w, node);
      break;
    case VOW_JSON_OBJECT:
      vow_jsonw_object(w, key);
      dump_items(w, node);
  }
}

void vow_json_dump(const struct vow_json_node *node, struct vow_buf *buf) {
  struct vow_jsonw w;

  vow_jsonw_init(&w, buf);
  w.keys_of_others = true;
  dump(&w, node, NULL);
}
