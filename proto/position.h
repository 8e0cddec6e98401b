/*
 * How far the coordinator's log has come: what a message says of it (`log`), and what a participant
 * has seen of it (`seen`). A log that a participant has seen further than it is has lost records.
 * Source: proto/README.md, "How far the log has come".
 */
#ifndef VOW_PROTO_POSITION_H
#define VOW_PROTO_POSITION_H

#include "json.h"

#define VOW_LOG_NUMBER_MAX ((UINT64_C(1) << 53) - 1) /* what every JSON reader keeps exactly */

struct vow_log_position {
  uint64_t incarnation; /* of the start that it was said by; 0: nothing is known */
  uint64_t position;    /* everything up to it was durable */
};

/* By incarnation, then position: -1, 0 or 1. */
int vow_log_position_compare(struct vow_log_position a, struct vow_log_position b);

/* {incarnation, position, ask?} as a member; nothing where nothing is known. */
void vow_log_position_write(struct vow_jsonw *w, const char *key, struct vow_log_position at,
                            bool ask);
/* An optional member. *ask (NULL: none is expected) is its own member `ask`. */
void vow_log_position_get(struct vow_json_object *o, const char *key, struct vow_log_position *out,
                          bool *ask);
/* The member `seen` of an answer whose other members do not matter, such as a problem; nothing is
 * known where there is none that can be read. */
enum vow_error vow_log_position_of_answer(const char *text, size_t bytes,
                                          struct vow_log_position *out) VOW_MUST_CHECK;

#endif
