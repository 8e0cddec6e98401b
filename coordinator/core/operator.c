/*
 * What operators do by hand: decide an undecided transaction, state that a branch was settled, and
 * forget a heuristic outcome. Each act names a reason, is kept in the history, and is answered only
 * when it is durable. None of them can make a transaction commit that its branches have not all
 * voted for (AC3).
 */
#include <stdlib.h>

#include "core_internal.h"

/* Why an act cannot be done; VOW_OK if it can. */
struct verdict {
  enum vow_error error;
  const char *detail;
  bool again; /* it was done before: there is nothing to change */
};

static struct verdict illegal(const char *detail) {
  return (struct verdict){VOW_E_ILLEGAL_STATE, detail, false};
}

static struct verdict legal(bool again) {
  return (struct verdict){VOW_OK, NULL, again};
}

/* Answers without a change: with the error, or, when it was done before, as soon as that is
 * durable. Its record may still wait for memory. */
static enum vow_error close_case(struct vow_core *core, const struct vow_event *event,
                                 const struct core_txn *txn, const struct verdict *verdict) {
  enum vow_error error = VOW_OK;

  if (verdict->error != VOW_OK) {
    core_answer(core, event->token, verdict->error, verdict->detail, txn);
  } else {
    uint64_t position = txn->record == CORE_RECORD_NONE ? txn->logged : CORE_NEXT_RECORD;
    (void)core_wait_on(core, event, CORE_WAIT_RECORD, position, &error);
  }
  return error;
}

/* ---- resolve ---- */

static const char *const decided[] = {
    [VOW_TXN_COMMITTING] = "the transaction is committing: a decision cannot be changed",
    [VOW_TXN_COMMITTED] = "the transaction is committed: a decision cannot be changed",
    [VOW_TXN_ABORTING] = "the transaction is aborting: a decision cannot be changed",
    [VOW_TXN_ABORTED] = "the transaction is aborted: a decision cannot be changed",
};

static struct verdict judge_transaction(const struct vow_txn *image, enum vow_outcome outcome) {
  enum vow_outcome told = vow_txn_outcome(image);

  if (told == outcome) return legal(true);
  if (told != VOW_OUTCOME_NONE) return illegal(decided[image->state]);
  if (image->state > VOW_TXN_PREPARING) {
    return illegal("the transaction is preparing and its decision is being written: ask again");
  }
  if (image->delegated) {
    return illegal(
        "the transaction is preparing and its only branch was asked to commit in one phase: find "
        "out what it did and settle branch 1");
  }
  if (outcome == VOW_OUTCOME_COMMITTED && image->state == VOW_TXN_ACTIVE) {
    return illegal("the transaction is active: it commits only when every branch has voted for it");
  }
  if (outcome == VOW_OUTCOME_COMMITTED) {
    return illegal(
        "the transaction is preparing: it commits only when every branch has voted for it");
  }
  return legal(false);
}

static bool committed(enum vow_outcome outcome) {
  return outcome == VOW_OUTCOME_COMMITTED || outcome == VOW_OUTCOME_HEURISTIC_COMMIT;
}

static const char *ended_by_itself(const struct vow_branch *branch) {
  if (branch->state == VOW_BRANCH_READ_ONLY) return "the branch has ended: it had only read";
  return branch->outcome == VOW_OUTCOME_COMMITTED
             ? "the branch has ended: its participant has committed it"
             : "the branch has ended: it is aborted";
}

static struct verdict judge_branch(const struct vow_txn *image, const struct vow_branch *branch,
                                   enum vow_outcome outcome) {
  bool delegate = image->state == VOW_TXN_PREPARING && image->delegated;

  if (branch->resolved) {
    if (committed(branch->outcome) == committed(outcome)) return legal(true);
    return illegal("the branch was settled the other way before");
  }
  if (vow_txn_outcome(image) == VOW_OUTCOME_NONE && !delegate) {
    return image->state == VOW_TXN_ACTIVE
               ? illegal("the transaction is active: decide it before you settle a branch")
               : illegal("the transaction is preparing: decide it before you settle a branch");
  }
  if (branch->state == VOW_BRANCH_HEURISTIC) {
    return illegal("the branch has ended as its participant reported: forget the transaction");
  }
  /* Also where it has ended this way: nothing was settled, and who did it by hand did it twice. */
  if (core_branch_done(branch)) return illegal(ended_by_itself(branch));
  return legal(false);
}

static struct verdict judge(const struct vow_event *event, const struct core_txn *txn) {
  enum vow_outcome outcome = event->u.operate.outcome;
  uint32_t number = event->u.operate.branch;

  if (event->u.operate.reason == NULL || event->u.operate.reason[0] == '\0') {
    return (struct verdict){VOW_E_INVALID_ARGUMENT, "a reason is required", false};
  }
  if (outcome != VOW_OUTCOME_COMMITTED && outcome != VOW_OUTCOME_ABORTED) {
    return (struct verdict){VOW_E_INVALID_ARGUMENT, "the outcome is committed or aborted", false};
  }
  if (core_is_held_back(txn)) {
    return (struct verdict){VOW_E_QUARANTINED, CORE_QUARANTINE_DETAIL, false};
  }
  if (number > txn->image.branch_count) {
    return (struct verdict){VOW_E_UNKNOWN_BRANCH, "the transaction has no branch of this number",
                            false};
  }
  if (number == 0) return judge_transaction(&txn->image, outcome);
  return judge_branch(&txn->image, &txn->image.branches[number - 1], outcome);
}

static void settle_branch(struct vow_core *core, struct core_task *task, enum vow_outcome outcome,
                          const char *reason) {
  struct core_txn *txn = task->txn;
  struct vow_branch *branch = core_branch(task);
  bool undecided = txn->image.state == VOW_TXN_PREPARING;
  bool commit = outcome == VOW_OUTCOME_COMMITTED;

  branch->resolved = true;
  if (undecided || vow_txn_outcome(&txn->image) == outcome) {
    core_branch_end(core, task, commit ? VOW_BRANCH_COMMITTED : VOW_BRANCH_ABORTED, outcome);
  } else {
    core_branch_end(core, task, VOW_BRANCH_HEURISTIC,
                    commit ? VOW_OUTCOME_HEURISTIC_COMMIT : VOW_OUTCOME_HEURISTIC_ABORT);
  }
  if (undecided && !commit) {
    if (txn->image.reason == NULL) {
      txn->image.reason = core_text("branch '%s' was settled by hand: %s", branch->name, reason);
    }
    core_txn_abort_now(core, txn);
  }
}

enum vow_error core_resolve(struct vow_core *core, const struct vow_event *event) {
  enum vow_outcome outcome = event->u.operate.outcome;
  const char *reason = event->u.operate.reason;
  uint32_t number = event->u.operate.branch;
  struct core_txn *txn = core_find(core, event->id);

  if (txn == NULL) return core_refuse_unknown(core, event->token);
  struct verdict verdict = judge(event, txn);
  if (verdict.error != VOW_OK || verdict.again) return close_case(core, event, txn, &verdict);

  enum vow_error error = VOW_E_NO_MEMORY;
  char *detail = core_text("%s: %s", vow_outcome_name(outcome), reason);
  char *why = core_text("an operator decided: %s", reason);
  if (detail == NULL || why == NULL) goto out;
  txn = core_wait_on(core, event, CORE_WAIT_RECORD, CORE_NEXT_RECORD, &error);
  if (txn == NULL) goto out;
  core_history_text(core, txn, number, VOW_HISTORY_RESOLVED, detail);
  detail = NULL;
  core_want_record(core, txn, CORE_RECORD_FORCED);
  if (number != 0) {
    settle_branch(core, &txn->tasks[number - 1], outcome, reason);
  } else {
    core_txn_abort(core, txn, why);
    why = NULL;
  }
out:
  free(detail);
  free(why);
  return error;
}

/* ---- forget ---- */

static const char *const nothing_to_forget[] = {
    [VOW_TXN_ACTIVE] = "the transaction is active: there is no heuristic outcome to forget",
    [VOW_TXN_PREPARING] = "the transaction is preparing: there is no heuristic outcome to forget",
    [VOW_TXN_COMMITTING] =
        "the transaction is committing: it can be forgotten when every branch "
        "has ended or was settled",
    [VOW_TXN_COMMITTED] = "the transaction is committed: there is no heuristic outcome to forget",
    [VOW_TXN_ABORTING] =
        "the transaction is aborting: it can be forgotten when every branch has "
        "ended or was settled",
    [VOW_TXN_ABORTED] = "the transaction is aborted: there is no heuristic outcome to forget",
};

static struct verdict judge_forget(const struct vow_event *event, const struct vow_txn *image) {
  enum vow_txn_state state = vow_txn_shown_state(image);
  bool final = state == VOW_TXN_COMMITTED || state == VOW_TXN_ABORTED;

  if (event->u.operate.reason == NULL || event->u.operate.reason[0] == '\0') {
    return (struct verdict){VOW_E_INVALID_ARGUMENT, "a reason is required", false};
  }
  if (image->forgotten) return legal(true);
  if (final && image->heuristic != VOW_HEURISTIC_NONE) return legal(false);
  return illegal(nothing_to_forget[state]);
}

enum vow_error core_forget(struct vow_core *core, const struct vow_event *event) {
  struct core_txn *txn = core_find(core, event->id);

  if (txn == NULL) return core_refuse_unknown(core, event->token);
  struct verdict verdict = judge_forget(event, &txn->image);
  if (verdict.error != VOW_OK || verdict.again) return close_case(core, event, txn, &verdict);

  enum vow_error error;
  char *detail = core_text("%s", event->u.operate.reason);
  if (detail == NULL) return VOW_E_NO_MEMORY;
  txn = core_wait_on(core, event, CORE_WAIT_RECORD, CORE_NEXT_RECORD, &error);
  if (txn == NULL) {
    free(detail);
    return error;
  }
  core_history_text(core, txn, 0, VOW_HISTORY_FORGOTTEN, detail);
  txn->image.forgotten = true;
  txn->image.updated_ms = core->wall_ms;
  core->counts.open_heuristic--;
  core_want_record(core, txn, CORE_RECORD_DECISION);
  return error;
}
