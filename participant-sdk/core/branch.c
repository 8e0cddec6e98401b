/* See branch.h: one branch's state machine. Calls nothing but memory and strings. */
#include "branch_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[VOW_PBRANCH_STATE_COUNT] = {
    [VOW_PBRANCH_NONE] = "none",
    [VOW_PBRANCH_INTENT_WRITING] = "intent-writing",
    [VOW_PBRANCH_PREPARING] = "preparing",
    [VOW_PBRANCH_VOTE_WRITING] = "vote-writing",
    [VOW_PBRANCH_PREPARED] = "prepared",
    [VOW_PBRANCH_DECISION_WRITING] = "decision-writing",
    [VOW_PBRANCH_COMMITTING] = "committing",
    [VOW_PBRANCH_COMMIT_DUE] = "commit-due",
    [VOW_PBRANCH_COMMIT_WRITING] = "commit-writing",
    [VOW_PBRANCH_COMMITTED] = "committed",
    [VOW_PBRANCH_ABORTING] = "aborting",
    [VOW_PBRANCH_ABORT_DUE] = "abort-due",
    [VOW_PBRANCH_ABORT_WRITING] = "abort-writing",
    [VOW_PBRANCH_ABORTED] = "aborted",
    [VOW_PBRANCH_READ_ONLY_WRITING] = "read-only-writing",
    [VOW_PBRANCH_READ_ONLY] = "read-only",
    [VOW_PBRANCH_HEURISTIC_CALLING] = "heuristic-calling",
    [VOW_PBRANCH_HEURISTIC_WRITING] = "heuristic-writing",
    [VOW_PBRANCH_HEURISTIC] = "heuristic",
    [VOW_PBRANCH_FORGET_WRITING] = "forget-writing",
    [VOW_PBRANCH_FORGOTTEN] = "forgotten",
};

#define BIT(state) (1U << (state))
#define TO(state)  BIT(VOW_PBRANCH_##state)

/* From each state, the states it may move to. Every move is checked against it. */
static const uint32_t legal[VOW_PBRANCH_STATE_COUNT] = {
    [VOW_PBRANCH_NONE] = TO(INTENT_WRITING) | TO(PREPARING) | TO(ABORTING) | TO(ABORT_WRITING) |
                         TO(PREPARED) | TO(COMMIT_DUE) | TO(ABORT_DUE) | TO(COMMITTED) |
                         TO(ABORTED) | TO(READ_ONLY) | TO(HEURISTIC) | TO(FORGOTTEN),
    [VOW_PBRANCH_INTENT_WRITING] = TO(PREPARING) | TO(ABORTING) | TO(NONE),
    [VOW_PBRANCH_PREPARING] = TO(VOTE_WRITING) | TO(DECISION_WRITING) | TO(COMMITTING) |
                              TO(ABORTING) | TO(ABORT_WRITING) | TO(READ_ONLY_WRITING) |
                              TO(READ_ONLY),
    [VOW_PBRANCH_VOTE_WRITING] = TO(PREPARED) | TO(ABORTING) | TO(ABORT_DUE) | TO(NONE),
    [VOW_PBRANCH_PREPARED] =
        TO(COMMITTING) | TO(ABORTING) | TO(HEURISTIC_CALLING) | TO(HEURISTIC_WRITING),
    [VOW_PBRANCH_DECISION_WRITING] = TO(COMMITTING) | TO(ABORT_DUE),
    [VOW_PBRANCH_COMMITTING] =
        TO(COMMIT_WRITING) | TO(COMMIT_DUE) | TO(PREPARED) | TO(VOTE_WRITING),
    [VOW_PBRANCH_COMMIT_DUE] = TO(COMMITTING) | TO(HEURISTIC_WRITING),
    [VOW_PBRANCH_COMMIT_WRITING] = TO(COMMITTED) | TO(COMMIT_DUE) | TO(PREPARED) | TO(NONE),
    [VOW_PBRANCH_COMMITTED] = 0,
    [VOW_PBRANCH_ABORTING] = TO(ABORT_WRITING) | TO(ABORT_DUE) | TO(PREPARED) | TO(NONE),
    [VOW_PBRANCH_ABORT_DUE] = TO(ABORTING),
    [VOW_PBRANCH_ABORT_WRITING] =
        TO(ABORTED) | TO(ABORT_DUE) | TO(PREPARED) | TO(READ_ONLY) | TO(NONE),
    [VOW_PBRANCH_ABORTED] = 0,
    [VOW_PBRANCH_READ_ONLY_WRITING] = TO(READ_ONLY) | TO(ABORT_WRITING) | TO(ABORT_DUE) | TO(NONE),
    [VOW_PBRANCH_READ_ONLY] = TO(ABORT_WRITING),
    [VOW_PBRANCH_HEURISTIC_CALLING] = TO(HEURISTIC_WRITING) | TO(PREPARED),
    [VOW_PBRANCH_HEURISTIC_WRITING] = TO(HEURISTIC) | TO(PREPARED) | TO(COMMIT_DUE),
    [VOW_PBRANCH_HEURISTIC] = TO(FORGET_WRITING),
    [VOW_PBRANCH_FORGET_WRITING] = TO(FORGOTTEN) | TO(HEURISTIC),
    [VOW_PBRANCH_FORGOTTEN] = 0,
};

const char *vow_pbranch_state_name(enum vow_pbranch_state state) {
  return state < VOW_PBRANCH_STATE_COUNT ? names[state] : "?";
}

bool vow_pbranch_is_tombstone(const struct vow_pbranch *b) {
  return (BIT(b->state) & (TO(COMMITTED) | TO(ABORTED) | TO(READ_ONLY) | TO(FORGOTTEN))) != 0;
}

bool vow_pbranch_is_ended(const struct vow_pbranch *b) {
  return vow_pbranch_is_tombstone(b) || b->state == VOW_PBRANCH_HEURISTIC;
}

bool vow_pbranch_waits(const struct vow_pbranch *b) {
  return (BIT(b->state) & (TO(PREPARED) | TO(COMMIT_DUE) | TO(ABORT_DUE))) != 0;
}

bool vow_pbranch_in_doubt(const struct vow_pbranch *b) {
  return b->durable == VOW_PRECORD_PREPARED;
}

enum vow_known_state vow_pbranch_known(const struct vow_pbranch *b) {
  if (b->state == VOW_PBRANCH_READ_ONLY) return VOW_KNOWN_READ_ONLY;
  switch ((enum vow_precord_kind)b->durable) {
    case VOW_PRECORD_PREPARED:
      return VOW_KNOWN_PREPARED;
    case VOW_PRECORD_DECIDED: /* it commits, whatever happens now */
    case VOW_PRECORD_COMMITTED:
      return VOW_KNOWN_COMMITTED;
    case VOW_PRECORD_ABORTED:
      return b->outcome == VOW_OUTCOME_ABORTED ? VOW_KNOWN_ABORTED : VOW_KNOWN_REFUSED;
    case VOW_PRECORD_READ_ONLY:
      return VOW_KNOWN_READ_ONLY;
    case VOW_PRECORD_HEURISTIC:
    case VOW_PRECORD_FORGOTTEN:
      return VOW_KNOWN_HEURISTIC;
    default:
      return VOW_KNOWN_PREPARING;
  }
}

bool vow_pbranch_may_commit(const struct vow_pbranch *b) {
  const uint32_t votes = TO(INTENT_WRITING) | TO(PREPARING);
  const uint32_t commits = TO(DECISION_WRITING) | TO(COMMITTING) | TO(COMMIT_WRITING);
  if ((BIT(b->state) & votes) != 0) return b->live->one_phase;
  return (BIT(b->state) & commits) != 0 && b->durable < VOW_PRECORD_DECIDED;
}

void vow_pbranch_move(struct vow_pbranch *b, enum vow_pbranch_state to) {
  assert(legal[b->state] & BIT(to));
  b->state = (uint8_t)to;
}

/* ---- actions ---- */

struct vow_paction *vow_pbranch_act(struct vow_pstep *step, enum vow_paction_type type,
                                    const struct vow_pbranch *b) {
  assert(step->count < step->capacity);
  struct vow_paction *action = &step->actions[step->count++];
  *action = (struct vow_paction){.type = type, .branch = b};
  return action;
}

void vow_pbranch_call(struct vow_pbranch *b, struct vow_pstep *step, enum vow_message_type callback,
                      enum vow_pbranch_state to) {
  vow_pbranch_move(b, to);
  vow_pbranch_act(step, VOW_PACTION_CALL, b)->u.call = callback;
}

static bool an_abort_waits(const struct vow_pbranch *b) {
  for (uint32_t i = 0; i < b->live->waiter_count; i++) {
    if (b->live->waiters[i].type == VOW_MESSAGE_ABORT) return true;
  }
  return false;
}

/* Did the coordinator say so? A vote abort proves less: what this participant voted read-only
 * before a crash it may have forgotten. After a durable yes nobody else aborts. */
static enum vow_outcome who_aborted(const struct vow_pbranch *b) {
  bool told = b->durable == VOW_PRECORD_PREPARED || an_abort_waits(b);
  return told ? VOW_OUTCOME_ABORTED : VOW_OUTCOME_NONE;
}

void vow_pbranch_write(struct vow_pbranch *b, struct vow_pstep *step, enum vow_precord_kind kind,
                       enum vow_pbranch_state to, bool forced) {
  if (kind == VOW_PRECORD_ABORTED) b->outcome = (uint8_t)who_aborted(b);
  vow_pbranch_move(b, to);
  bool open = kind <= VOW_PRECORD_DECIDED;
  b->live->position = ++*step->position;
  if (b->row == 0) b->row = ++*step->row;
  struct vow_paction *action = vow_pbranch_act(step, VOW_PACTION_LOG, b);
  action->u.log.position = b->live->position;
  action->u.log.forced = forced;
  action->u.log.record = (struct vow_precord){
      .kind = kind,
      .transaction = b->transaction,
      .branch = b->number,
      .row = b->row,
      .outcome = (enum vow_outcome)b->outcome,
      .payload = open ? b->live->payload : NULL,
      .payload_bytes = open ? b->live->payload_bytes : 0,
      .reason = kind == VOW_PRECORD_ABORTED ? b->reason : NULL,
  };
}

void vow_pbranch_set_reason(struct vow_pbranch *b, const char *reason) {
  free(b->reason);
  b->reason = reason && *reason ? strdup(reason) : NULL;
}

/* ---- waiting ---- */

static uint64_t bits_of(const struct vow_pbranch *b, uint64_t random) {
  uint64_t id = b->number;
  for (int i = 8; i < 16; i++) id = id << 8 ^ b->transaction.bytes[i];
  return (random ^ id) * 0x9E3779B97F4A7C15U >> 16;
}

/* The first pause is inquiry_min and a little more; each further one is at most twice as long as
 * the one before, at least half of that, up to inquiry_max. */
static void wait_longer(struct vow_pbranch *b, struct vow_pstep *step) {
  uint32_t min_ms = step->config->inquiry_min_ms, max_ms = step->config->inquiry_max_ms;
  uint32_t last_ms = b->live->retry_ms;
  uint64_t bits = bits_of(b, step->random);
  if (last_ms == 0) {
    b->live->retry_ms = min_ms;
    b->due_ms = step->now_ms + min_ms + bits % (min_ms / 4 + 1);
    return;
  }
  uint32_t next_ms = last_ms > max_ms / 2 ? max_ms : last_ms * 2;
  b->live->retry_ms = next_ms;
  b->due_ms = step->now_ms + next_ms / 2 + bits % (next_ms / 2 + 1);
}

static void rest(struct vow_pbranch *b, struct vow_pstep *step, enum vow_pbranch_state to) {
  vow_pbranch_move(b, to);
  wait_longer(b, step);
}

/* Back to what is on disk. Where nothing is, the application may still hold work that only its
 * abort callback undoes, unless it went away with the database transaction. */
static void fall_back(struct vow_pbranch *b, struct vow_pstep *step) {
  const uint32_t holds_work = TO(VOTE_WRITING) | TO(DECISION_WRITING) | TO(ABORTING);
  bool must_undo = (BIT(b->state) & holds_work) != 0 && !step->config->atomic;
  switch (b->durable) {
    case VOW_PRECORD_PREPARED:
      rest(b, step, VOW_PBRANCH_PREPARED);
      return;
    case VOW_PRECORD_DECIDED:
      rest(b, step, VOW_PBRANCH_COMMIT_DUE);
      return;
    case VOW_PRECORD_INTENT:
      rest(b, step, VOW_PBRANCH_ABORT_DUE);
      return;
    case VOW_PRECORD_READ_ONLY:
      vow_pbranch_move(b, VOW_PBRANCH_READ_ONLY);
      return;
    case VOW_PRECORD_HEURISTIC:
      vow_pbranch_move(b, VOW_PBRANCH_HEURISTIC);
      return;
    default:
      break;
  }
  if (must_undo) {
    rest(b, step, VOW_PBRANCH_ABORT_DUE);
  } else {
    vow_pbranch_move(b, VOW_PBRANCH_NONE);
  }
}

/* ---- results ---- */

static void vote_commit(struct vow_pbranch *b, struct vow_pstep *step) {
  if (b->live->abort_pending) {
    vow_pbranch_call(b, step, VOW_MESSAGE_ABORT, VOW_PBRANCH_ABORTING);
  } else if (!b->live->one_phase) {
    vow_pbranch_write(b, step, VOW_PRECORD_PREPARED, VOW_PBRANCH_VOTE_WRITING, true);
  } else if (step->config->atomic) {
    vow_pbranch_call(b, step, VOW_MESSAGE_COMMIT, VOW_PBRANCH_COMMITTING);
  } else {
    vow_pbranch_write(b, step, VOW_PRECORD_DECIDED, VOW_PBRANCH_DECISION_WRITING, true);
  }
}

static void vote_read_only(struct vow_pbranch *b, struct vow_pstep *step) {
  if (b->live->abort_pending) {
    vow_pbranch_write(b, step, VOW_PRECORD_ABORTED, VOW_PBRANCH_ABORT_WRITING, true);
  } else if (b->live->one_phase) {
    vow_pbranch_write(b, step, VOW_PRECORD_READ_ONLY, VOW_PBRANCH_READ_ONLY_WRITING, true);
  } else {
    vow_pbranch_write(b, step, VOW_PRECORD_READ_ONLY, VOW_PBRANCH_READ_ONLY, false);
    b->durable = VOW_PRECORD_READ_ONLY;
    vow_pbranch_answer_all(b, step);
  }
}

enum vow_error vow_pbranch_voted(struct vow_pbranch *b, struct vow_pstep *step, enum vow_vote vote,
                                 const char *reason) {
  if (b->state != VOW_PBRANCH_PREPARING) return VOW_E_ILLEGAL_STATE;
  switch (vote) {
    case VOW_VOTE_COMMIT:
      vote_commit(b, step);
      break;
    case VOW_VOTE_READ_ONLY:
      vote_read_only(b, step);
      break;
    case VOW_VOTE_ABORT:
      vow_pbranch_set_reason(b, reason);
      vow_pbranch_write(b, step, VOW_PRECORD_ABORTED, VOW_PBRANCH_ABORT_WRITING, true);
      break;
    default:
      /* Nobody can know what such a callback did. */
      vow_pbranch_set_reason(b, "the prepare callback returned something that is not a vote");
      if (step->config->atomic) {
        vow_pbranch_write(b, step, VOW_PRECORD_ABORTED, VOW_PBRANCH_ABORT_WRITING, true);
      } else {
        vow_pbranch_call(b, step, VOW_MESSAGE_ABORT, VOW_PBRANCH_ABORTING);
      }
  }
  return VOW_OK;
}

static void commit_failed(struct vow_pbranch *b, struct vow_pstep *step, enum vow_error error,
                          const char *why) {
  if (b->durable == VOW_PRECORD_PREPARED || b->durable == VOW_PRECORD_DECIDED) {
    vow_pbranch_fail_all(b, step, error, why);
    fall_back(b, step);
    return;
  }
  /* One phase in one database transaction: what was prepared is still there, so vote instead. */
  b->live->one_phase = false;
  b->live->abort_pending = an_abort_waits(b);
  vow_pbranch_write(b, step, VOW_PRECORD_PREPARED, VOW_PBRANCH_VOTE_WRITING, true);
}

enum vow_error vow_pbranch_finished(struct vow_pbranch *b, struct vow_pstep *step,
                                    enum vow_error error, const char *reason) {
  const char *why = reason && *reason ? reason : vow_error_text(error);
  switch (b->state) {
    case VOW_PBRANCH_COMMITTING:
      if (error) {
        commit_failed(b, step, error, why);
      } else {
        vow_pbranch_write(b, step, VOW_PRECORD_COMMITTED, VOW_PBRANCH_COMMIT_WRITING, true);
      }
      return VOW_OK;
    case VOW_PBRANCH_ABORTING:
      if (!error) {
        vow_pbranch_write(b, step, VOW_PRECORD_ABORTED, VOW_PBRANCH_ABORT_WRITING, true);
        return VOW_OK;
      }
      vow_pbranch_fail_all(b, step, error, why);
      fall_back(b, step);
      return VOW_OK;
    case VOW_PBRANCH_HEURISTIC_CALLING:
      if (!error) {
        vow_pbranch_write(b, step, VOW_PRECORD_HEURISTIC, VOW_PBRANCH_HEURISTIC_WRITING, true);
        return VOW_OK;
      }
      vow_pbranch_fail_all(b, step, error, why);
      b->outcome = VOW_OUTCOME_NONE;
      fall_back(b, step);
      return VOW_OK;
    default:
      return VOW_E_ILLEGAL_STATE;
  }
}

/* The record that each *_WRITING state waits for, and where it leads when nothing intervened. */
static const struct {
  enum vow_precord_kind kind;
  enum vow_pbranch_state to;
} written[VOW_PBRANCH_STATE_COUNT] = {
    [VOW_PBRANCH_INTENT_WRITING] = {VOW_PRECORD_INTENT, VOW_PBRANCH_PREPARING},
    [VOW_PBRANCH_VOTE_WRITING] = {VOW_PRECORD_PREPARED, VOW_PBRANCH_PREPARED},
    [VOW_PBRANCH_DECISION_WRITING] = {VOW_PRECORD_DECIDED, VOW_PBRANCH_COMMITTING},
    [VOW_PBRANCH_COMMIT_WRITING] = {VOW_PRECORD_COMMITTED, VOW_PBRANCH_COMMITTED},
    [VOW_PBRANCH_ABORT_WRITING] = {VOW_PRECORD_ABORTED, VOW_PBRANCH_ABORTED},
    [VOW_PBRANCH_READ_ONLY_WRITING] = {VOW_PRECORD_READ_ONLY, VOW_PBRANCH_READ_ONLY},
    [VOW_PBRANCH_HEURISTIC_WRITING] = {VOW_PRECORD_HEURISTIC, VOW_PBRANCH_HEURISTIC},
    [VOW_PBRANCH_FORGET_WRITING] = {VOW_PRECORD_FORGOTTEN, VOW_PBRANCH_FORGOTTEN},
};

static bool is_writing(const struct vow_pbranch *b, uint64_t position) {
  return written[b->state].kind != VOW_PRECORD_NONE && b->live->position == position;
}

enum vow_error vow_pbranch_logged(struct vow_pbranch *b, struct vow_pstep *step,
                                  uint64_t position) {
  if (!is_writing(b, position)) return VOW_E_ILLEGAL_STATE;
  b->durable = (uint8_t)written[b->state].kind;
  b->live->durable_position = position;
  bool abort_pending = b->live->abort_pending;
  switch (b->state) {
    case VOW_PBRANCH_INTENT_WRITING:
    case VOW_PBRANCH_VOTE_WRITING:
      if (abort_pending) {
        /* After a mere intent nothing of ours is to be undone, but the application may have worked
         * for the branch before prepare. */
        vow_pbranch_call(b, step, VOW_MESSAGE_ABORT, VOW_PBRANCH_ABORTING);
      } else if (b->state == VOW_PBRANCH_INTENT_WRITING) {
        vow_pbranch_call(b, step, VOW_MESSAGE_PREPARE, VOW_PBRANCH_PREPARING);
      } else {
        rest(b, step, VOW_PBRANCH_PREPARED);
        vow_pbranch_answer_all(b, step);
      }
      return VOW_OK;
    case VOW_PBRANCH_DECISION_WRITING:
      vow_pbranch_call(b, step, VOW_MESSAGE_COMMIT, VOW_PBRANCH_COMMITTING);
      return VOW_OK;
    case VOW_PBRANCH_READ_ONLY_WRITING:
      if (abort_pending) {
        vow_pbranch_write(b, step, VOW_PRECORD_ABORTED, VOW_PBRANCH_ABORT_WRITING, true);
        return VOW_OK;
      }
      break;
    default:
      break;
  }
  vow_pbranch_move(b, written[b->state].to);
  vow_pbranch_answer_all(b, step);
  return VOW_OK;
}

enum vow_error vow_pbranch_not_logged(struct vow_pbranch *b, struct vow_pstep *step,
                                      uint64_t position, enum vow_error error, const char *why) {
  if (!is_writing(b, position)) return VOW_E_ILLEGAL_STATE;
  vow_pbranch_fail_all(b, step, error, why);
  if (b->state != VOW_PBRANCH_FORGET_WRITING) b->outcome = VOW_OUTCOME_NONE;
  fall_back(b, step);
  return VOW_OK;
}

/* ---- the coordinator's answers, time, operators, the log ---- */

void vow_pbranch_answered(struct vow_pbranch *b, struct vow_pstep *step,
                          enum vow_inquiry_answer answer_) {
  if (b->state != VOW_PBRANCH_PREPARED) return;
  if (answer_ == VOW_INQUIRY_COMMITTED) {
    vow_pbranch_call(b, step, VOW_MESSAGE_COMMIT, VOW_PBRANCH_COMMITTING);
  } else if (answer_ == VOW_INQUIRY_ABORTED) {
    vow_pbranch_call(b, step, VOW_MESSAGE_ABORT, VOW_PBRANCH_ABORTING);
  }
}

void vow_pbranch_due(struct vow_pbranch *b, struct vow_pstep *step) {
  if (b->state == VOW_PBRANCH_PREPARED) {
    wait_longer(b, step); /* a lost answer needs no event */
    vow_pbranch_act(step, VOW_PACTION_ASK, b);
  } else if (b->state == VOW_PBRANCH_COMMIT_DUE) {
    vow_pbranch_call(b, step, VOW_MESSAGE_COMMIT, VOW_PBRANCH_COMMITTING);
  } else { /* no other state waits */
    assert(b->state == VOW_PBRANCH_ABORT_DUE);
    vow_pbranch_call(b, step, VOW_MESSAGE_ABORT, VOW_PBRANCH_ABORTING);
  }
}

void vow_pbranch_operate(struct vow_pbranch *b, struct vow_pstep *step, uint64_t token,
                         enum vow_outcome outcome) {
  struct vow_pwaiter waiter = {.token = token};
  bool prepared = b->state == VOW_PBRANCH_PREPARED || b->state == VOW_PBRANCH_COMMIT_DUE;
  if (!prepared) {
    vow_pbranch_refuse(b, step, &waiter);
    return;
  }
  if (!vow_pbranch_join(b, step, &waiter)) return;
  b->outcome = (uint8_t)outcome;
  if (step->config->atomic) {
    bool commit = outcome == VOW_OUTCOME_HEURISTIC_COMMIT;
    vow_pbranch_call(b, step, commit ? VOW_MESSAGE_COMMIT : VOW_MESSAGE_ABORT,
                     VOW_PBRANCH_HEURISTIC_CALLING);
  } else {
    vow_pbranch_write(b, step, VOW_PRECORD_HEURISTIC, VOW_PBRANCH_HEURISTIC_WRITING, true);
  }
}

void vow_pbranch_load(struct vow_pbranch *b, struct vow_pstep *step, enum vow_precord_kind kind,
                      enum vow_outcome outcome) {
  static const enum vow_pbranch_state states[] = {
      [VOW_PRECORD_INTENT] = VOW_PBRANCH_ABORT_DUE,
      [VOW_PRECORD_PREPARED] = VOW_PBRANCH_PREPARED,
      [VOW_PRECORD_DECIDED] = VOW_PBRANCH_COMMIT_DUE,
      [VOW_PRECORD_COMMITTED] = VOW_PBRANCH_COMMITTED,
      [VOW_PRECORD_ABORTED] = VOW_PBRANCH_ABORTED,
      [VOW_PRECORD_READ_ONLY] = VOW_PBRANCH_READ_ONLY,
      [VOW_PRECORD_HEURISTIC] = VOW_PBRANCH_HEURISTIC,
      [VOW_PRECORD_FORGOTTEN] = VOW_PBRANCH_FORGOTTEN,
  };
  assert(kind > VOW_PRECORD_NONE && kind <= VOW_PRECORD_FORGOTTEN);
  vow_pbranch_move(b, states[kind]);
  b->durable = (uint8_t)kind;
  b->outcome = (uint8_t)outcome;
  b->due_ms = step->now_ms; /* whoever waits has waited long enough */
}
