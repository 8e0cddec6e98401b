/*
 * See position.h. Pure.
 */
#include "position.h"

#include <stdio.h>

int vow_log_position_compare(struct vow_log_position a, struct vow_log_position b) {
  if (a.incarnation != b.incarnation) return a.incarnation < b.incarnation ? -1 : 1;
  return (a.position > b.position) - (a.position < b.position);
}

void vow_log_position_write(struct vow_jsonw *w, const char *key, struct vow_log_position at,
                            bool ask) {
  if (at.incarnation == 0) return;
  vow_jsonw_object(w, key);
  vow_jsonw_uint(w, "incarnation", at.incarnation);
  vow_jsonw_uint(w, "position", at.position);
  if (ask) vow_jsonw_bool(w, "ask", true);
  vow_jsonw_end(w);
}

void vow_log_position_get(struct vow_json_object *o, const char *key, struct vow_log_position *out,
                          bool *ask) {
  const struct vow_json_node *node = NULL;
  struct vow_log_position at = {0};
  struct vow_json_object members;
  char path[sizeof members.path];
  bool asked = false;

  if (!vow_json_get_object(o, key, VOW_JSON_OPTIONAL, &node)) return;
  (void)vow_json_object_place(o, key, path, sizeof path);
  vow_json_object_begin(&members, node, path);
  vow_json_object_ignore_unknown(&members);
  vow_json_get_uint(&members, "incarnation", VOW_JSON_REQUIRED, 1, VOW_LOG_NUMBER_MAX,
                    &at.incarnation);
  vow_json_get_uint(&members, "position", VOW_JSON_REQUIRED, 0, VOW_LOG_NUMBER_MAX, &at.position);
  if (ask) vow_json_get_bool(&members, "ask", VOW_JSON_OPTIONAL, &asked);
  if (vow_json_object_end(&members) != VOW_OK) {
    o->error = members.error;
    (void)snprintf(o->why, sizeof o->why, "%s", members.why);
    return;
  }
  *out = at;
  if (ask) *ask = asked;
}

enum vow_error vow_log_position_of_answer(const char *text, size_t bytes,
                                          struct vow_log_position *out) {
  struct vow_json *json = NULL;
  struct vow_json_object o;
  char why[VOW_JSON_WHY_BYTES];

  *out = (struct vow_log_position){0};
  enum vow_error error = vow_json_parse(&json, text, bytes, why);
  if (error != VOW_OK) return error == VOW_E_NO_MEMORY ? error : VOW_OK;
  vow_json_object_begin(&o, vow_json_root(json), NULL);
  vow_log_position_get(&o, "seen", out, NULL);
  vow_json_free(json);
  return VOW_OK;
}
