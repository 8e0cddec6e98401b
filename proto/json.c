/*
 * JSON values: parsing (jansson behind the scan of json_scan.h), access, and writing them back. The
 * typed reader of objects is json_object.c. This is the only file that includes jansson's header.
 *
 * Invariants: a node is a jansson value of this document; none of them is a real, because numbers
 * that are not plain integers are kept as marked strings, with their text. Recursion over a
 * document is bounded by VOW_JSON_DEPTH_MAX, which the scan has enforced.
 */
#include "json.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_node.h"
#include "json_scan.h"

struct vow_json {
  json_t *root;
  struct vow_buf kept;
};

/* jansson's readers take values that are not const; none of those called here changes one. */
static json_t *value_of(const struct vow_json_node *node) {
  return (json_t *)(uintptr_t)node;
}

static const struct vow_json_node *node_of(const json_t *value) {
  return (const struct vow_json_node *)value;
}

/* ---- parsing ---- */

/* Writes "`what` at line L, column C" for an offset in the text. A column counts characters. */
static void say_where(char why[VOW_JSON_WHY_BYTES], const char *what, const char *text,
                      size_t offset) {
  size_t line = 1, column = 1;

  for (size_t i = 0; i < offset; i++) {
    if (text[i] == '\n') {
      line++;
      column = 1;
    } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
      column++;
    }
  }
  (void)snprintf(why, VOW_JSON_WHY_BYTES, "%s at line %zu, column %zu", what, line, column);
}

static void say_why(char why[VOW_JSON_WHY_BYTES], const char *text, size_t bytes, bool marked,
                    json_error_t *error) {
  size_t offset = error->position > 0 ? (size_t)error->position : 0;

  if (marked) {
    offset = vow_json_unmark_offset(text, bytes, offset);
    char *near = strstr(error->text, " near "); /* it may quote a mark */
    if (near) *near = '\0';
  }
  if (offset > bytes) offset = bytes;
  const char *what = error->text;
  if (json_error_code(error) == json_error_null_character ||
      json_error_code(error) == json_error_null_byte_in_key) {
    what = "a string holds U+0000, which is not allowed,";
  }
  say_where(why, what, text, offset);
}

static enum vow_error load(const char *text, size_t bytes, size_t marks, json_t **out,
                           char why[VOW_JSON_WHY_BYTES]) {
  json_error_t error = {0};
  struct vow_buf marked;

  vow_buf_init(&marked, SIZE_MAX);
  if (marks > 0) vow_json_mark(text, bytes, &marked);
  if (marked.error != VOW_OK) {
    vow_buf_fini(&marked);
    return VOW_E_NO_MEMORY;
  }
  json_t *root =
      marks > 0
          ? json_loadb(marked.data, marked.bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error)
          : json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
  vow_buf_fini(&marked);
  if (!root) {
    if (json_error_code(&error) == json_error_out_of_memory) return VOW_E_NO_MEMORY;
    say_why(why, text, bytes, marks > 0, &error);
    return VOW_E_INVALID_JSON;
  }
  *out = root;
  return VOW_OK;
}

enum vow_error vow_json_parse(struct vow_json **out, const char *text, size_t bytes,
                              char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json_scan scan;
  json_t *root = NULL;

  if (bytes == 0) {
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "there is no text, a JSON value is expected");
    return VOW_E_INVALID_JSON;
  }
  if (bytes > INT_MAX / 3) { /* jansson counts in ints; marks at most triple a text */
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "the text is too long: %zu bytes", bytes);
    return VOW_E_INVALID_JSON;
  }
  vow_json_scan(text, bytes, VOW_JSON_DEPTH_MAX, &scan);
  if (scan.too_deep) {
    char what[64];
    (void)snprintf(what, sizeof what, "nested deeper than %d levels", VOW_JSON_DEPTH_MAX);
    say_where(why, what, text, scan.too_deep_at);
    return VOW_E_INVALID_JSON;
  }
  enum vow_error error = load(text, bytes, scan.marks, &root, why);
  if (error == VOW_E_NO_MEMORY) (void)snprintf(why, VOW_JSON_WHY_BYTES, "out of memory");
  if (error != VOW_OK) return error;

  struct vow_json *json = malloc(sizeof *json);
  if (!json) {
    json_decref(root);
    (void)snprintf(why, VOW_JSON_WHY_BYTES, "out of memory");
    return VOW_E_NO_MEMORY;
  }
  json->root = root;
  vow_buf_init(&json->kept, SIZE_MAX);
  *out = json;
  return VOW_OK;
}

void vow_json_free(struct vow_json *json) {
  if (!json) return;
  json_decref(json->root);
  vow_buf_fini(&json->kept);
  free(json);
}

const struct vow_json_node *vow_json_root(const struct vow_json *json) {
  return node_of(json->root);
}

enum vow_error vow_json_keep_text(struct vow_json *json, const struct vow_json_node *node,
                                  const char **out, size_t *bytes_out) {
  vow_buf_reset(&json->kept);
  vow_json_dump(node, &json->kept);
  if (json->kept.error != VOW_OK) return VOW_E_NO_MEMORY;
  *out = vow_buf_text(&json->kept);
  *bytes_out = json->kept.bytes;
  return VOW_OK;
}

/* ---- access ---- */

/* What follows a mark of this kind; NULL: the node is not so marked. */
static const char *after_mark(const struct vow_json_node *node, char kind) {
  const char *text = json_string_value(value_of(node));

  return text && text[0] == VOW_JSON_MARK && text[1] == kind ? text + 2 : NULL;
}

const char *vow_json_string_value(const struct vow_json_node *node) {
  const char *text = json_string_value(value_of(node));

  if (!text || text[0] != VOW_JSON_MARK) return text;
  return after_mark(node, VOW_JSON_MARK_STRING);
}

bool vow_json_is_object(const struct vow_json_node *node) {
  return json_is_object(value_of(node));
}

bool vow_json_is_array(const struct vow_json_node *node) {
  return json_is_array(value_of(node));
}

const char *vow_json_kind(const struct vow_json_node *node) {
  const json_t *value = value_of(node);

  if (json_is_object(value)) return "an object";
  if (json_is_array(value)) return "an array";
  if (vow_json_string_value(node)) return "a string";
  if (json_is_boolean(value)) return "a boolean";
  if (json_is_null(value)) return "null";
  return "a number";
}

bool vow_json_bool_value(const struct vow_json_node *node, bool *out) {
  if (!json_is_boolean(value_of(node))) return false;
  *out = json_is_true(value_of(node));
  return true;
}

bool vow_json_uint_value(const struct vow_json_node *node, uint64_t *out) {
  if (json_is_integer(value_of(node))) {
    json_int_t value = json_integer_value(value_of(node));
    if (value < 0) return false;
    *out = (uint64_t)value;
    return true;
  }
  const char *text = after_mark(node, VOW_JSON_MARK_NUMBER);
  if (!text || text[strspn(text, "0123456789")] != '\0') return false;
  errno = 0;
  unsigned long long value = strtoull(text, NULL, 10);
  if (errno != 0) return false;
  *out = value;
  return true;
}

size_t vow_json_array_length(const struct vow_json_node *array) {
  return json_array_size(value_of(array));
}

const struct vow_json_node *vow_json_array_at(const struct vow_json_node *array, size_t index) {
  return node_of(json_array_get(value_of(array), index));
}

const struct vow_json_node *vow_json_member(const struct vow_json_node *object, const char *key) {
  return node_of(json_object_get(value_of(object), key));
}

const char *vow_json_key_next(const struct vow_json_node *object, void **iterator) {
  *iterator = *iterator ? json_object_iter_next(value_of(object), *iterator)
                        : json_object_iter(value_of(object));
  return *iterator ? json_object_iter_key(*iterator) : NULL;
}

unsigned vow_json_depth(const struct vow_json_node *node) {
  json_t *value = value_of(node), *item;
  unsigned deepest = 0, depth;
  const char *key;
  size_t i;

  if (json_is_object(value)) {
    json_object_foreach(value, key, item) {
      depth = vow_json_depth(node_of(item));
      if (depth > deepest) deepest = depth;
    }
    return deepest + 1;
  }
  if (json_is_array(value)) {
    json_array_foreach(value, i, item) {
      depth = vow_json_depth(node_of(item));
      if (depth > deepest) deepest = depth;
    }
    return deepest + 1;
  }
  return 0;
}

/* ---- writing back ---- */

static void dump(struct vow_jsonw *w, const char *key, json_t *value);

static void dump_members(struct vow_jsonw *w, json_t *object) {
  const char *key;
  json_t *item;

  json_object_foreach(object, key, item) dump(w, key, item);
}

static void dump_items(struct vow_jsonw *w, json_t *array) {
  json_t *item;
  size_t i;

  json_array_foreach(array, i, item) dump(w, NULL, item);
}

static void dump_string(struct vow_jsonw *w, const char *key, const struct vow_json_node *node) {
  const char *number = after_mark(node, VOW_JSON_MARK_NUMBER);

  if (number) {
    vow_jsonw_raw(w, key, number, strlen(number));
  } else {
    vow_jsonw_string(w, key, vow_json_string_value(node));
  }
}

static void dump(struct vow_jsonw *w, const char *key, json_t *value) {
  switch (json_typeof(value)) {
    case JSON_OBJECT:
      vow_jsonw_object(w, key);
      dump_members(w, value);
      vow_jsonw_end(w);
      break;
    case JSON_ARRAY:
      vow_jsonw_array(w, key);
      dump_items(w, value);
      vow_jsonw_end(w);
      break;
    case JSON_STRING:
      dump_string(w, key, node_of(value));
      break;
    case JSON_INTEGER:
      vow_jsonw_int(w, key, json_integer_value(value));
      break;
    case JSON_TRUE:
    case JSON_FALSE:
      vow_jsonw_bool(w, key, json_is_true(value));
      break;
    default: /* null; there are no reals */
      vow_jsonw_raw(w, key, "null", 4);
  }
}

void vow_json_dump(const struct vow_json_node *node, struct vow_buf *buf) {
  struct vow_jsonw w;

  vow_jsonw_init(&w, buf);
  dump(&w, NULL, value_of(node));
}
