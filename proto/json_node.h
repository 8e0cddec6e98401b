/*
 * What json_object.c needs of a value beyond json.h. For json*.c only. A false answer leaves *out
 * untouched.
 */
#ifndef VOW_PROTO_JSON_NODE_H
#define VOW_PROTO_JSON_NODE_H

#include "json.h"

bool vow_json_is_array(const struct vow_json_node *node);
bool vow_json_bool_value(const struct vow_json_node *node, bool *out);
/* False if it is not a whole number from 0 to UINT64_MAX. */
bool vow_json_uint_value(const struct vow_json_node *node, uint64_t *out);
const struct vow_json_node *vow_json_member(const struct vow_json_node *object,
                                            const char *key); /* or NULL */
/* Keys in their order; *iterator is NULL before the first call; NULL past the last. */
const char *vow_json_key_next(const struct vow_json_node *object, void **iterator);
/* Levels of nesting: 0 for a scalar. */
unsigned vow_json_depth(const struct vow_json_node *node);

#endif
