/*
 * What a parsed document is made of. For json*.c only: json_parse.c builds it, json.c and
 * json_object.c read it.
 */
#ifndef VOW_PROTO_JSON_NODE_H
#define VOW_PROTO_JSON_NODE_H

#include <string.h>

#include "json.h"

enum vow_json_type {
  VOW_JSON_NULL,
  VOW_JSON_FALSE,
  VOW_JSON_TRUE,
  VOW_JSON_NUMBER,
  VOW_JSON_STRING,
  VOW_JSON_ARRAY,
  VOW_JSON_OBJECT
};

struct vow_json_node {
  enum vow_json_type type;
  uint32_t count;  /* of an array or object: its items; of a string or number: its bytes */
  const char *key; /* of a member; else NULL */
  union {
    const char *text; /* of a string: its characters and a NUL; of a number, as it was written,
                       * without one */
    const struct vow_json_node *items; /* of an array or object: in a row, in their order */
  };
};

/* One block of memory: this struct, then the nodes, then the text, as the parser left it. */
struct vow_json {
  struct vow_json_node root;
  struct vow_buf kept; /* vow_json_keep_text; its limit is the room that the whole text needs */
  struct vow_json_node nodes[];
};

/* Looked for from the member `from` on, then from the first one on. NULL if there is none. */
static inline const struct vow_json_node *vow_json_member(const struct vow_json_node *object,
                                                          const char *key, uint32_t from) {
  if (object->type != VOW_JSON_OBJECT) return NULL;
  for (uint32_t i = 0; i < object->count; i++, from++) {
    if (from >= object->count) from = 0;
    const struct vow_json_node *node = &object->items[from];
    if (node->key[0] == key[0] && strcmp(node->key, key) == 0) return node;
  }
  return NULL;
}

/* A key that somebody else made up, as it may stand in a sentence: short, and on one line. */
#define VOW_JSON_SHOWN_KEY_BYTES 41
void vow_json_show_key(const char *key, char out[VOW_JSON_SHOWN_KEY_BYTES]);
/* Levels of nesting: 0 for a scalar. */
unsigned vow_json_depth(const struct vow_json_node *node);

#endif
