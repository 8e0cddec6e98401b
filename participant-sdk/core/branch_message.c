/*
 * See branch.h: how a branch takes requests and answers them. The answer to a request that came
 * before, came late or overtook another is decided here.
 */
#include "branch_internal.h"

/* ---- answers ---- */

static void reply(struct vow_pstep *step, const struct vow_pwaiter *waiter, uint64_t after,
                  const struct vow_message_reply *message_reply) {
  struct vow_paction *action = vow_pbranch_act(step, VOW_PACTION_REPLY, NULL);
  action->u.reply.token = waiter->token;
  action->u.reply.type = waiter->type;
  action->u.reply.after = after;
  action->u.reply.reply = *message_reply;
}

static void reply_error(struct vow_pstep *step, const struct vow_pwaiter *waiter,
                        enum vow_error error, const char *detail) {
  struct vow_paction *action = vow_pbranch_act(step, VOW_PACTION_REPLY, NULL);
  action->u.reply.token = waiter->token;
  action->u.reply.type = waiter->type;
  action->u.reply.error = error;
  action->u.reply.detail = detail;
}

static void reply_abort_vote(struct vow_pstep *step, const struct vow_pwaiter *waiter,
                             enum vow_outcome outcome, const char *reason) {
  struct vow_message_reply vote = {.vote = VOW_VOTE_ABORT, .outcome = outcome, .reason = reason};
  reply(step, waiter, 0, &vote);
}

static enum vow_outcome outcome_of(const struct vow_pbranch *b) {
  switch (b->state) {
    case VOW_PBRANCH_COMMITTED:
    case VOW_PBRANCH_READ_ONLY:
      return VOW_OUTCOME_COMMITTED;
    case VOW_PBRANCH_ABORTED:
      return VOW_OUTCOME_ABORTED;
    case VOW_PBRANCH_HEURISTIC:
    case VOW_PBRANCH_FORGET_WRITING:
    case VOW_PBRANCH_FORGOTTEN:
      return (enum vow_outcome)b->outcome;
    default:
      return VOW_OUTCOME_NONE;
  }
}

/* The first vote again. Only who asked for one phase is told an outcome with it. */
static struct vow_message_reply vote_of(const struct vow_pbranch *b, bool one_phase) {
  struct vow_message_reply out = {.vote = VOW_VOTE_COMMIT};
  if (b->state == VOW_PBRANCH_READ_ONLY) {
    out.vote = VOW_VOTE_READ_ONLY;
    return out;
  }
  if (b->state == VOW_PBRANCH_ABORTED) {
    out.vote = VOW_VOTE_ABORT;
    out.reason = b->reason ? b->reason : "the branch has been aborted";
  }
  /* Of a heuristic one, too: to the vote alone the coordinator would answer that it commits. */
  if (one_phase) out.outcome = outcome_of(b);
  return out;
}

/* The truth about a branch whose record is durable. */
static void answer(const struct vow_pbranch *b, struct vow_pstep *step,
                   const struct vow_pwaiter *waiter) {
  struct vow_message_reply out = {.outcome = VOW_OUTCOME_NONE};
  if (waiter->type == VOW_MESSAGE_PREPARE) {
    out = vote_of(b, waiter->one_phase);
  } else if (waiter->type == VOW_MESSAGE_COMMIT && b->state == VOW_PBRANCH_ABORTED) {
    out.outcome = VOW_OUTCOME_HEURISTIC_ABORT;
  } else if (waiter->type == VOW_MESSAGE_COMMIT || waiter->type == VOW_MESSAGE_ABORT) {
    out.outcome = outcome_of(b);
  }
  reply(step, waiter, b->live ? b->live->durable_position : 0, &out);
}

void vow_pbranch_answer_all(struct vow_pbranch *b, struct vow_pstep *step) {
  for (uint32_t i = 0; i < b->live->waiter_count; i++) answer(b, step, &b->live->waiters[i]);
  b->live->waiter_count = 0;
}

/* The error as the coordinator is told it: 503 or 500, from which it concludes nothing. Any other
 * status in answer to prepare is a vote to abort to it. */
static enum vow_error told(enum vow_error error) {
  if (vow_error_class(error) == VOW_CLASS_RETRY) return VOW_E_OVERLOADED;
  return vow_error_http_status(error) == 500 ? error : VOW_E_INTERNAL;
}

/* What was tried did not happen. While no yes is on disk, a vote abort needs no record in two
 * phases: were it forgotten, the branch would prepare again and be told that it aborted. In one
 * phase it would commit instead, so there it stays an error. */
void vow_pbranch_fail_all(struct vow_pbranch *b, struct vow_pstep *step, enum vow_error error,
                          const char *why) {
  bool undecided = b->durable == VOW_PRECORD_NONE || b->durable == VOW_PRECORD_INTENT;
  bool may_vote = undecided && !b->live->one_phase;
  for (uint32_t i = 0; i < b->live->waiter_count; i++) {
    const struct vow_pwaiter *waiter = &b->live->waiters[i];
    if (waiter->type == VOW_MESSAGE_PREPARE && may_vote && !waiter->one_phase) {
      reply_abort_vote(step, waiter, VOW_OUTCOME_NONE, why);
    } else {
      reply_error(step, waiter, told(error), why);
    }
  }
  b->live->waiter_count = 0;
}

bool vow_pbranch_join(struct vow_pbranch *b, struct vow_pstep *step,
                      const struct vow_pwaiter *waiter) {
  if (b->live->waiter_count == VOW_PBRANCH_WAITERS_MAX) {
    /* It concerns this branch only: a 503 would give all of this participant a pause. */
    reply_error(step, waiter, VOW_E_INTERNAL, "too many requests wait for this branch: ask again");
    return false;
  }
  b->live->waiters[b->live->waiter_count++] = *waiter;
  return true;
}

void vow_pbranch_refuse(const struct vow_pbranch *b, struct vow_pstep *step,
                        const struct vow_pwaiter *waiter) {
  reply_error(step, waiter, VOW_E_ILLEGAL_STATE, vow_pbranch_state_name(b->state));
}

/* ---- messages ---- */

static bool settled(const struct vow_pbranch *b) {
  return vow_pbranch_is_ended(b) || b->state == VOW_PBRANCH_FORGET_WRITING;
}

static void on_prepare(struct vow_pbranch *b, struct vow_pstep *step,
                       const struct vow_pwaiter *waiter) {
  switch (b->state) {
    case VOW_PBRANCH_NONE:
      b->live->one_phase = waiter->one_phase;
      (void)vow_pbranch_join(b, step, waiter);
      if (step->config->intent) {
        vow_pbranch_write(b, step, VOW_PRECORD_INTENT, VOW_PBRANCH_INTENT_WRITING, true);
      } else {
        vow_pbranch_call(b, step, VOW_MESSAGE_PREPARE, VOW_PBRANCH_PREPARING);
      }
      return;
    case VOW_PBRANCH_COMMIT_DUE:
      if (vow_pbranch_join(b, step, waiter))
        vow_pbranch_call(b, step, VOW_MESSAGE_COMMIT, VOW_PBRANCH_COMMITTING);
      return;
    case VOW_PBRANCH_ABORT_DUE:
      if (vow_pbranch_join(b, step, waiter))
        vow_pbranch_call(b, step, VOW_MESSAGE_ABORT, VOW_PBRANCH_ABORTING);
      return;
    case VOW_PBRANCH_PREPARED:
      answer(b, step, waiter);
      return;
    case VOW_PBRANCH_HEURISTIC_CALLING:
    case VOW_PBRANCH_HEURISTIC_WRITING:
      if (waiter->one_phase) {
        (void)vow_pbranch_join(b, step, waiter);
      } else {
        answer(b, step, waiter);
      }
      return;
    case VOW_PBRANCH_COMMITTING:
    case VOW_PBRANCH_COMMIT_WRITING:
      if (b->durable == VOW_PRECORD_PREPARED) {
        answer(b, step, waiter);
      } else {
        (void)vow_pbranch_join(b, step, waiter);
      }
      return;
    default:
      if (settled(b)) {
        answer(b, step, waiter);
      } else {
        (void)vow_pbranch_join(b, step, waiter);
      }
  }
}

static void on_commit(struct vow_pbranch *b, struct vow_pstep *step,
                      const struct vow_pwaiter *waiter) {
  switch (b->state) {
    case VOW_PBRANCH_PREPARED:
    case VOW_PBRANCH_COMMIT_DUE:
      if (vow_pbranch_join(b, step, waiter))
        vow_pbranch_call(b, step, VOW_MESSAGE_COMMIT, VOW_PBRANCH_COMMITTING);
      return;
    case VOW_PBRANCH_COMMITTING:
    case VOW_PBRANCH_COMMIT_WRITING:
      /* Without a durable yes nobody can have decided. */
      if (b->durable != VOW_PRECORD_PREPARED && b->durable != VOW_PRECORD_DECIDED) {
        vow_pbranch_refuse(b, step, waiter);
        return;
      }
      (void)vow_pbranch_join(b, step, waiter);
      return;
    case VOW_PBRANCH_HEURISTIC_CALLING:
    case VOW_PBRANCH_HEURISTIC_WRITING:
      (void)vow_pbranch_join(b, step, waiter);
      return;
    default:
      if (settled(b)) {
        answer(b, step, waiter);
      } else {
        vow_pbranch_refuse(b, step, waiter);
      }
  }
}

static void on_abort(struct vow_pbranch *b, struct vow_pstep *step,
                     const struct vow_pwaiter *waiter) {
  if (b->state != VOW_PBRANCH_READ_ONLY && settled(b)) {
    answer(b, step, waiter);
    return;
  }
  if (!vow_pbranch_join(b, step, waiter)) return;
  switch (b->state) {
    case VOW_PBRANCH_NONE:
      /* The application may have worked for it before any prepare. */
      vow_pbranch_set_reason(b, "the transaction was aborted before the branch was prepared");
      if (step->config->atomic) {
        vow_pbranch_write(b, step, VOW_PRECORD_ABORTED, VOW_PBRANCH_ABORT_WRITING, true);
      } else {
        vow_pbranch_call(b, step, VOW_MESSAGE_ABORT, VOW_PBRANCH_ABORTING);
      }
      return;
    case VOW_PBRANCH_INTENT_WRITING:
    case VOW_PBRANCH_PREPARING:
    case VOW_PBRANCH_VOTE_WRITING:
    case VOW_PBRANCH_READ_ONLY_WRITING:
      b->live->abort_pending = true;
      return;
    case VOW_PBRANCH_PREPARED:
    case VOW_PBRANCH_ABORT_DUE:
      vow_pbranch_call(b, step, VOW_MESSAGE_ABORT, VOW_PBRANCH_ABORTING);
      return;
    case VOW_PBRANCH_COMMIT_DUE:
      vow_pbranch_call(b, step, VOW_MESSAGE_COMMIT, VOW_PBRANCH_COMMITTING);
      return;
    case VOW_PBRANCH_READ_ONLY:
      /* A delayed one-phase prepare must find this, not a read-only that is not on disk. */
      vow_pbranch_write(b, step, VOW_PRECORD_ABORTED, VOW_PBRANCH_ABORT_WRITING, true);
      return;
    default: /* under way: the waiter gets the true outcome */
      return;
  }
}

static void on_forget(struct vow_pbranch *b, struct vow_pstep *step,
                      const struct vow_pwaiter *waiter) {
  if (b->state == VOW_PBRANCH_HEURISTIC) {
    if (vow_pbranch_join(b, step, waiter)) {
      vow_pbranch_write(b, step, VOW_PRECORD_FORGOTTEN, VOW_PBRANCH_FORGET_WRITING, true);
    }
  } else if (b->state == VOW_PBRANCH_FORGET_WRITING) {
    (void)vow_pbranch_join(b, step, waiter);
  } else if (vow_pbranch_is_ended(b)) {
    answer(b, step, waiter);
  } else {
    vow_pbranch_refuse(b, step, waiter);
  }
}

bool vow_pbranch_needs_live(const struct vow_pbranch *b, enum vow_message_type type) {
  return (b->state == VOW_PBRANCH_READ_ONLY && type == VOW_MESSAGE_ABORT) ||
         (b->state == VOW_PBRANCH_HEURISTIC && type == VOW_MESSAGE_FORGET);
}

void vow_pbranch_message(struct vow_pbranch *b, struct vow_pstep *step,
                         const struct vow_pwaiter *waiter) {
  switch (waiter->type) {
    case VOW_MESSAGE_PREPARE:
      on_prepare(b, step, waiter);
      return;
    case VOW_MESSAGE_COMMIT:
      on_commit(b, step, waiter);
      return;
    case VOW_MESSAGE_ABORT:
      on_abort(b, step, waiter);
      return;
    case VOW_MESSAGE_FORGET:
      on_forget(b, step, waiter);
      return;
  }
}

bool vow_pbranch_unknown(struct vow_pstep *step, const struct vow_pwaiter *waiter, bool over,
                         const char *refused) {
  switch (waiter->type) {
    case VOW_MESSAGE_PREPARE:
      if (!over && !refused) return false;
      if (!over && waiter->one_phase) {
        reply_error(step, waiter, VOW_E_INTERNAL, refused); /* not a vote: see fail_all */
        return true;
      }
      reply_abort_vote(step, waiter, VOW_OUTCOME_NONE,
                       over ? "the coordinator has already ended this transaction" : refused);
      return true;
    case VOW_MESSAGE_ABORT:
      if (!over) return false;
      /* It may have committed once; nobody here knows any more. */
      reply_error(step, waiter, VOW_E_UNKNOWN_BRANCH, NULL);
      return true;
    case VOW_MESSAGE_FORGET:
      reply(step, waiter, 0, &(struct vow_message_reply){.reason = NULL});
      return true;
    default:
      reply_error(step, waiter, VOW_E_UNKNOWN_BRANCH, NULL);
      return true;
  }
}
