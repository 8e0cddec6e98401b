/* What branch.c (states, results) and branch_message.c (requests, answers) share. */
#ifndef VOW_SDK_BRANCH_INTERNAL_H
#define VOW_SDK_BRANCH_INTERNAL_H

#include "branch.h"

void vow_pbranch_move(struct vow_pbranch *b, enum vow_pbranch_state to);
void vow_pbranch_set_reason(struct vow_pbranch *b, const char *reason);

/* Moves on and asks for a callback, or for a record. */
void vow_pbranch_call(struct vow_pbranch *b, struct vow_pstep *step, enum vow_message_type callback,
                      enum vow_pbranch_state to);
void vow_pbranch_write(struct vow_pbranch *b, struct vow_pstep *step, enum vow_precord_kind kind,
                       enum vow_pbranch_state to, bool forced);
struct vow_paction *vow_pbranch_act(struct vow_pstep *step, enum vow_paction_type type,
                                    const struct vow_pbranch *b);

/* False: there is no room, and the request has been answered with OVERLOADED. */
bool vow_pbranch_join(struct vow_pbranch *b, struct vow_pstep *step,
                      const struct vow_pwaiter *waiter);
void vow_pbranch_refuse(const struct vow_pbranch *b, struct vow_pstep *step,
                        const struct vow_pwaiter *waiter);
/* Tells those who wait the truth, or that it failed. */
void vow_pbranch_answer_all(struct vow_pbranch *b, struct vow_pstep *step);
void vow_pbranch_fail_all(struct vow_pbranch *b, struct vow_pstep *step, enum vow_error error,
                          const char *why);

#endif
