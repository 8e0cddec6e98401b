/*
 * The watermarks on their way to the disk. What is below one and unknown here has ended, and may be
 * answered so. But a watermark that is only in memory is gone with a crash: a late one-phase
 * prepare would then commit what was answered as ended. So whoever may conclude an end from the
 * answer gets it only when the disk has a watermark above the transaction (P4). Mostly it has one:
 * it goes with each purge. Else it is written, once for all that ask meanwhile, and not again
 * before it has moved.
 */
#include "pcore_internal.h"

/* In two phases a vote abort needs nothing on disk: were it forgotten, the branch would prepare
 * again and be told that it aborted. Nor is anything concluded from the answer to a commit. */
static bool ends_it(const struct vow_pwaiter *waiter) {
  bool one_phase = waiter->type == VOW_MESSAGE_PREPARE && waiter->one_phase;
  return one_phase || waiter->type == VOW_MESSAGE_ABORT;
}

static void ask_again(struct vow_pcore *core, const struct vow_pwaiter *waiter, const char *why) {
  /* Nothing is concluded from this error. */
  vow_pcore_reply_error(core, waiter->token, waiter->type, VOW_E_INTERNAL, why);
}

void vow_psave_ride(struct vow_pcoordinator *c, uint64_t position) {
  if (c->save.position != 0) return; /* what is on disk may be further than is known here */
  c->save = (struct vow_psave){.position = position, .below = c->finished_below};
}

static void save(struct vow_pcore *core, struct vow_pcoordinator *c) {
  vow_psave_ride(c, ++core->position);
  c->save.alone = true;
  struct vow_paction *action = &core->step.actions[core->step.count++];
  *action = (struct vow_paction){.type = VOW_PACTION_SAVE};
  action->u.save.coordinator = c->url;
  action->u.save.finished_below = c->save.below;
  action->u.save.position = c->save.position;
}

bool vow_psave_holds(struct vow_pcore *core, struct vow_pcoordinator *c, struct vow_id transaction,
                     const struct vow_pwaiter *waiter) {
  struct vow_psave *s = &c->save;
  if (!ends_it(waiter) || vow_id_compare(transaction, c->saved_below) < 0) return false;
  if (s->position == 0) save(core, c);
  if (vow_id_compare(transaction, s->below) >= 0 || s->waiter_count == VOW_PBRANCH_WAITERS_MAX) {
    ask_again(core, waiter, "that this transaction has ended is being written: ask again");
  } else {
    s->waiters[s->waiter_count++] = *waiter;
  }
  return true;
}

struct vow_pcoordinator *vow_psave_find(const struct vow_pcore *core,
                                        const struct vow_pevent *event) {
  if (event->type != VOW_PEVENT_LOGGED && event->type != VOW_PEVENT_NOT_LOGGED) return NULL;
  struct vow_pcoordinator *c = core->coordinators;
  while (c && (c->save.position == 0 || c->save.position != event->u.logged.position)) c = c->next;
  return c;
}

void vow_psave_settle(struct vow_pcore *core, struct vow_pcoordinator *c,
                      const struct vow_pevent *event) {
  struct vow_psave done = c->save;
  bool logged = event->type == VOW_PEVENT_LOGGED;
  c->save = (struct vow_psave){.position = 0};
  if (logged) c->saved_below = done.below;
  for (uint32_t i = 0; i < done.waiter_count; i++) {
    struct vow_paction *action = &core->step.actions[core->step.count];
    if (logged) {
      (void)vow_pbranch_unknown(&core->step, &done.waiters[i], true, NULL);
      action->u.reply.after = done.position;
    } else {
      ask_again(core, &done.waiters[i], event->u.logged.why);
    }
    action->u.reply.seen = c->seen;
  }
}
