/*
 * JSON for the protocol (RFC 8259): a streaming writer, and a strict parser. Depth is limited
 * before anything recurses; duplicate keys, trailing bytes, invalid UTF-8 and U+0000 are refused;
 * and a typed reader notes the first problem as a sentence that names the place ("branches[2].url
 * must be a string, not a number").
 *
 * The parser is our own because of what a payload needs: numbers that are never turned into
 * doubles, memory that is bounded by the text (at most 25 times its bytes, where it is all commas,
 * twice that while parsing), and no value that is half read when memory runs out: jansson 2.14 then
 * drops single characters of strings and numbers and reports success.
 *
 * What a value keeps between vow_json_parse and vow_json_dump (a payload goes this way): numbers
 * keep their exact text ("1.10", "1e400" and integers of any length stay as they were written),
 * strings keep their characters, members their order. White space goes, and escapes are written
 * anew ("\u00e9" may become "é").
 *
 * Threads: no state is shared; each object has one owner at a time.
 */
#ifndef VOW_PROTO_JSON_H
#define VOW_PROTO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "id.h"

/* Levels of nesting in a document, and in a free-form value (a payload, metadata) inside one: such
 * a value is handed on inside other documents and must not break their limit there. */
#define VOW_JSON_DEPTH_MAX       32
#define VOW_JSON_VALUE_DEPTH_MAX 24

/* ---- writing ---- */

/* Writes straight into a buffer; commas and quoting are its business. What comes out is valid JSON
 * in valid UTF-8 whatever the strings hold: bytes that are not UTF-8 become U+FFFD. Nesting deeper
 * than VOW_JSON_DEPTH_MAX fails the buffer with VOW_E_LIMIT_EXCEEDED. */
struct vow_jsonw {
  struct vow_buf *buf;
  uint64_t level;      /* the bit of the level that was opened last */
  uint64_t is_array;   /* one bit a level: it is an array, not an object */
  bool in_array;       /* the level that was opened last is one, or it is the top */
  bool comma;          /* the next item has one in front */
  bool keys_of_others; /* keys may hold anything, not only what needs no escape, as ours do */
  char date[11];       /* of the last time that was written */
  uint64_t date_days;  /* the same in days since 1970-01-01 */
};

void vow_jsonw_init(struct vow_jsonw *w, struct vow_buf *buf);
/* Closes what was opened last; the writer remembers which it was. */
void vow_jsonw_end(struct vow_jsonw *w);

/* The key of an item; NULL in an array and at the top. It is a literal nearly always, whose length
 * is known where it stands, since the functions that take it as text are inline. */
struct vow_jsonw_key {
  const char *text;
  size_t bytes; /* with its quotes and the colon; 0: there is none */
};

static inline struct vow_jsonw_key vow_jsonw_key(const char *text) {
  return (struct vow_jsonw_key){text, text ? strlen(text) + 3 : 0};
}

void vow_jsonw_put_level(struct vow_jsonw *w, struct vow_jsonw_key key, bool is_array);
void vow_jsonw_put_row(struct vow_jsonw *w, struct vow_jsonw_key key, const uint64_t *values,
                       size_t count, const char *text, size_t text_bytes);
void vow_jsonw_put_string(struct vow_jsonw *w, struct vow_jsonw_key key, const char *value,
                          size_t bytes);
void vow_jsonw_put_raw(struct vow_jsonw *w, struct vow_jsonw_key key, const char *json,
                       size_t bytes);
void vow_jsonw_put_uint(struct vow_jsonw *w, struct vow_jsonw_key key, uint64_t value);
void vow_jsonw_put_id(struct vow_jsonw *w, struct vow_jsonw_key key, struct vow_id id);
void vow_jsonw_put_time(struct vow_jsonw *w, struct vow_jsonw_key key, uint64_t unix_ms);

static inline void vow_jsonw_object(struct vow_jsonw *w, const char *key) {
  vow_jsonw_put_level(w, vow_jsonw_key(key), false);
}

static inline void vow_jsonw_array(struct vow_jsonw *w, const char *key) {
  vow_jsonw_put_level(w, vow_jsonw_key(key), true);
}

/* A whole array: at least one number, and a text, or NULL. */
static inline void vow_jsonw_row(struct vow_jsonw *w, const char *key, const uint64_t *values,
                                 size_t count, const char *text) {
  vow_jsonw_put_row(w, vow_jsonw_key(key), values, count, text, text ? strlen(text) : 0);
}

/* NULL value: nothing is written. */
static inline void vow_jsonw_string_n(struct vow_jsonw *w, const char *key, const char *value,
                                      size_t bytes) {
  if (value) vow_jsonw_put_string(w, vow_jsonw_key(key), value, bytes);
}

static inline void vow_jsonw_string(struct vow_jsonw *w, const char *key, const char *value) {
  if (value) vow_jsonw_put_string(w, vow_jsonw_key(key), value, strlen(value));
}

/* Already JSON. */
static inline void vow_jsonw_raw(struct vow_jsonw *w, const char *key, const char *json,
                                 size_t bytes) {
  if (json) vow_jsonw_put_raw(w, vow_jsonw_key(key), json, bytes);
}

/* The members, at least one, of an object that is JSON already. */
void vow_jsonw_members(struct vow_jsonw *w, const char *object, size_t bytes);

static inline void vow_jsonw_bool(struct vow_jsonw *w, const char *key, bool value) {
  vow_jsonw_put_raw(w, vow_jsonw_key(key), value ? "true" : "false", value ? 4 : 5);
}

static inline void vow_jsonw_uint(struct vow_jsonw *w, const char *key, uint64_t value) {
  vow_jsonw_put_uint(w, vow_jsonw_key(key), value);
}

static inline void vow_jsonw_id(struct vow_jsonw *w, const char *key, struct vow_id id) {
  vow_jsonw_put_id(w, vow_jsonw_key(key), id);
}

/* RFC 3339, UTC, milliseconds. */
static inline void vow_jsonw_time(struct vow_jsonw *w, const char *key, uint64_t unix_ms) {
  vow_jsonw_put_time(w, vow_jsonw_key(key), unix_ms);
}

/* ---- reading ---- */

struct vow_json;      /* a parsed document, owned */
struct vow_json_node; /* a value inside one, borrowed */

#define VOW_JSON_WHY_BYTES 240

/* Parses `bytes` of text (any top-level value). On failure `why` gets a sentence with line and
 * column. VOW_E_INVALID_JSON, VOW_E_NO_MEMORY. */
enum vow_error vow_json_parse(struct vow_json **out, const char *text, size_t bytes,
                              char why[VOW_JSON_WHY_BYTES]) VOW_MUST_CHECK;
void vow_json_free(struct vow_json *json);
const struct vow_json_node *vow_json_root(const struct vow_json *json);
/* A value of the document as compact JSON, as vow_json_dump writes it. The document owns the text,
 * which is NUL-terminated and stays as long as the document. Room is for each value once: of values
 * that overlap, the second may find none (VOW_E_LIMIT_EXCEEDED). Else VOW_E_NO_MEMORY. */
enum vow_error vow_json_keep_text(struct vow_json *json, const struct vow_json_node *node,
                                  const char **out, size_t *bytes_out) VOW_MUST_CHECK;

/* Reads the members of one object. Every get notes that its key is known; `_end` reports the first
 * error or the first unknown member as VOW_E_INVALID_REQUEST (an array with too many items as
 * VOW_E_LIMIT_EXCEEDED) with a sentence in `why`. Getters
 * leave *out untouched where the key is missing and not required; after an error they do nothing.
 * Strings are borrowed from the document. */
struct vow_json_object {
  const struct vow_json_node *node;
  char path[96];     /* for sentences: "transaction"; of an item of an array what follows */
  const char *array; /* "branches" of "branches[2]"; NULL: no item */
  size_t index;
  const char *known[32];
  unsigned known_count;
  uint32_t next; /* the member behind the one that was found last */
  uint64_t read; /* one bit a member, of the first 64: it was found */
  bool unknown_is_fine;
  enum vow_error error;
  char why[VOW_JSON_WHY_BYTES];
};

#define VOW_JSON_OPTIONAL false
#define VOW_JSON_REQUIRED true

void vow_json_object_begin(struct vow_json_object *o, const struct vow_json_node *node,
                           const char *path);
/* The item at `index`, which there is; `name` is that of the array and lives as long as `o`. */
void vow_json_object_begin_item(struct vow_json_object *o, const struct vow_json_node *array,
                                const char *name, size_t index);
bool vow_json_get_string(struct vow_json_object *o, const char *key, bool required,
                         size_t bytes_max, const char **out);
bool vow_json_get_uint(struct vow_json_object *o, const char *key, bool required, uint64_t min,
                       uint64_t max, uint64_t *out);
bool vow_json_get_bool(struct vow_json_object *o, const char *key, bool required, bool *out);
bool vow_json_get_id(struct vow_json_object *o, const char *key, bool required, struct vow_id *out);
bool vow_json_get_time(struct vow_json_object *o, const char *key, bool required,
                       uint64_t *unix_ms_out);
/* These two refuse a value that nests deeper than VOW_JSON_VALUE_DEPTH_MAX. */
bool vow_json_get_any(struct vow_json_object *o, const char *key, bool required,
                      const struct vow_json_node **out);
bool vow_json_get_object(struct vow_json_object *o, const char *key, bool required,
                         const struct vow_json_node **out);
bool vow_json_get_array(struct vow_json_object *o, const char *key, bool required, size_t items_max,
                        const struct vow_json_node **out);
void vow_json_object_ignore_unknown(
    struct vow_json_object *o); /* for answers of others: be liberal there */
/* "branches[2].url" (a key), "branches[2]" or "the body" (NULL), as snprintf does it. */
int vow_json_object_place(const struct vow_json_object *o, const char *key, char *out,
                          size_t bytes);
void vow_json_object_fail(struct vow_json_object *o, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
enum vow_error vow_json_object_end(struct vow_json_object *o) VOW_MUST_CHECK;

size_t vow_json_array_length(const struct vow_json_node *array);
const struct vow_json_node *vow_json_array_at(const struct vow_json_node *array, size_t index);
const char *vow_json_string_value(
    const struct vow_json_node *node); /* NULL if it is not a string */
/* False, and *out untouched, if it is not a whole number from 0 to UINT64_MAX. */
bool vow_json_uint_value(const struct vow_json_node *node, uint64_t *out);
bool vow_json_is_object(const struct vow_json_node *node);
bool vow_json_is_array(const struct vow_json_node *node);
/* "an object", "a string", "null", …: for sentences. Never NULL. */
const char *vow_json_kind(const struct vow_json_node *node);
/* Appends the value as compact JSON (key order kept). */
void vow_json_dump(const struct vow_json_node *node, struct vow_buf *buf);

#endif
