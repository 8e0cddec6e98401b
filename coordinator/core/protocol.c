/*
 * The moves of presumed-abort two-phase commit. What a transaction may do next follows from its
 * state, its branches, and how far the log is durable; core_txn_advance makes every move that is
 * due. Replies (reply.c), clients (request.c), operators (operator.c) and restarts (load.c) only
 * change branches or ask for an abort.
 *
 *   begin -> ACTIVE --commit--> PREPARING --all votes yes--> COMMITTING --all ended--> COMMITTED
 *              |                    |
 *              |  abort, timeout    |  a vote no, timeout, abort, restart
 *              +--------------------+-----> ABORTING --all ended--> ABORTED
 *
 *   state       branches may be                            what holds
 *   ACTIVE      enlisted                                   nobody was asked anything
 *   PREPARING   preparing, prepared, read-only             no outcome
 *   delegated   preparing, aborting (it is being asked)    the only branch may decide at any time
 *   COMMITTING  prepared, committing, unknown,             all had voted yes or read-only; told to
 *               committed, read-only, heuristic            nobody until the record is durable
 *   ABORTING    aborting, aborted, read-only, heuristic    nothing was committed by us
 *   COMMITTED   committed, read-only, heuristic            open only while a heuristic outcome
 *   ABORTED     aborted, read-only, heuristic              waits to be forgotten
 *
 * A branch:
 *
 *   enlisted -> preparing -> prepared -> committing -> committed, heuristic
 *       |           |           |            +-> unknown -> committed, heuristic
 *       |           |           +----------> aborting
 *       |           +-> read-only, aborted (votes), committed, heuristic (one-phase, operator)
 *       +-----------+----------------------> aborting -> aborted, heuristic; late vote: read-only;
 *       +-> aborted (never asked)                        delegated and asked: committed
 */
#include <stdlib.h>

#include "core_internal.h"

#define BIT(state) (1U << (state))

static const unsigned txn_moves[] = {
    [VOW_TXN_ACTIVE] = BIT(VOW_TXN_PREPARING) | BIT(VOW_TXN_ABORTING),
    [VOW_TXN_PREPARING] = BIT(VOW_TXN_COMMITTING) | BIT(VOW_TXN_ABORTING),
    [VOW_TXN_COMMITTING] = BIT(VOW_TXN_COMMITTED),
    [VOW_TXN_COMMITTED] = 0,
    [VOW_TXN_ABORTING] = BIT(VOW_TXN_ABORTED),
    [VOW_TXN_ABORTED] = 0,
};

static const unsigned branch_moves[] = {
    [VOW_BRANCH_ENLISTED] =
        BIT(VOW_BRANCH_PREPARING) | BIT(VOW_BRANCH_ABORTING) | BIT(VOW_BRANCH_ABORTED),
    [VOW_BRANCH_PREPARING] = BIT(VOW_BRANCH_PREPARED) | BIT(VOW_BRANCH_READ_ONLY) |
                             BIT(VOW_BRANCH_ABORTING) | BIT(VOW_BRANCH_ABORTED) |
                             BIT(VOW_BRANCH_COMMITTED) | BIT(VOW_BRANCH_HEURISTIC),
    [VOW_BRANCH_PREPARED] = BIT(VOW_BRANCH_COMMITTING) | BIT(VOW_BRANCH_ABORTING),
    [VOW_BRANCH_READ_ONLY] = 0,
    [VOW_BRANCH_COMMITTING] =
        BIT(VOW_BRANCH_COMMITTED) | BIT(VOW_BRANCH_HEURISTIC) | BIT(VOW_BRANCH_UNKNOWN),
    [VOW_BRANCH_COMMITTED] = 0,
    [VOW_BRANCH_ABORTING] = BIT(VOW_BRANCH_ABORTED) | BIT(VOW_BRANCH_HEURISTIC) |
                            BIT(VOW_BRANCH_READ_ONLY) | BIT(VOW_BRANCH_COMMITTED),
    [VOW_BRANCH_ABORTED] = 0,
    [VOW_BRANCH_HEURISTIC] = 0,
    [VOW_BRANCH_UNKNOWN] = BIT(VOW_BRANCH_COMMITTED) | BIT(VOW_BRANCH_HEURISTIC),
};

/* ---- notes for the end of the step ---- */

void core_touch(struct vow_core *core, struct core_txn *txn) {
  if (core_list_linked(&txn->dirty)) return;
  core_list_insert_before(&core->dirty, &txn->dirty);
}

void core_want_record(struct vow_core *core, struct core_txn *txn, enum core_record record) {
  CORE_ASSERT(!txn->ending);
  if (record > txn->record) txn->record = (uint8_t)record;
  core_touch(core, txn);
}

void core_rearm(struct vow_core *core, struct core_txn *txn) {
  uint64_t due = txn->deadline_ms < txn->record_ms ? txn->deadline_ms : txn->record_ms;
  core_timer_set(&core->timers, &txn->timer, due);
}

/* ---- moves ---- */

static void move(struct vow_core *core, struct core_txn *txn, enum vow_txn_state state) {
  CORE_ASSERT(txn_moves[txn->image.state] & BIT(state));
  core->counts.open[txn->image.state]--;
  core->counts.open[state]++;
  txn->image.state = state;
  txn->image.updated_ms = core->wall_ms;
  core_touch(core, txn);
}

void core_branch_move(struct core_task *task, enum vow_branch_state state) {
  struct vow_branch *branch = core_branch(task);

  CORE_ASSERT(branch_moves[branch->state] & BIT(state));
  branch->state = state;
  task->announced = false;
  task->failures = 0;
}

bool core_branch_done(const struct vow_branch *branch) {
  switch (branch->state) {
    case VOW_BRANCH_READ_ONLY:
    case VOW_BRANCH_COMMITTED:
    case VOW_BRANCH_ABORTED:
    case VOW_BRANCH_HEURISTIC:
      return true;
    default:
      return false;
  }
}

/* The payload has done its work. */
static void drop_payload(struct vow_branch *branch) {
  free(branch->payload);
  branch->payload = NULL;
  branch->payload_bytes = 0;
}

void core_branch_prepared(struct vow_core *core, struct core_task *task) {
  core_branch_move(task, VOW_BRANCH_PREPARED);
  drop_payload(core_branch(task));
  task->txn->pending--;
  core_touch(core, task->txn);
}

static void merge_heuristics(struct vow_core *core, struct core_txn *txn) {
  enum vow_heuristic merged = vow_txn_merge_heuristics(&txn->image);

  core->counts.open_heuristic -= txn->image.heuristic != VOW_HEURISTIC_NONE;
  core->counts.open_heuristic += merged != VOW_HEURISTIC_NONE;
  txn->image.heuristic = merged;
  /* What was only presumed is recorded when it has ended: the next start would take an abort that
   * it reads for a decision. Until then the participant says it again. */
  bool presumption = txn->presumed && txn->image.state == VOW_TXN_ABORTING;
  if (!presumption) core_want_record(core, txn, CORE_RECORD_FORCED);
}

void core_branch_end(struct vow_core *core, struct core_task *task, enum vow_branch_state state,
                     enum vow_outcome outcome) {
  struct core_txn *txn = task->txn;
  struct vow_branch *branch = core_branch(task);
  bool heuristic = state == VOW_BRANCH_HEURISTIC || state == VOW_BRANCH_UNKNOWN;

  core_branch_move(task, state);
  branch->outcome = outcome;
  drop_payload(branch);
  if (core_branch_done(branch)) {
    core_task_stop(core, task);
    txn->pending--;
  }
  if (heuristic || txn->image.heuristic != VOW_HEURISTIC_NONE) merge_heuristics(core, txn);
  txn->image.updated_ms = core->wall_ms;
  core_touch(core, txn);
}

/* ---- begin ---- */

void core_txn_enter(struct vow_core *core, struct core_txn *txn) {
  txn->image.state = VOW_TXN_ACTIVE;
  txn->held = true;
  if (txn->image.idempotency_key != NULL) {
    core_tree_insert(&core->by_key, txn->image.idempotency_key, &txn->by_key);
  }
  core_list_insert_before(&core->held, &txn->place);
  core->held_count++;
}

bool core_txn_issue(struct vow_core *core, struct core_txn *txn) {
  struct vow_txn *image = &txn->image;

  if (!core_ids_issue(core, &image->id)) return false;
  txn->held = false;
  core_list_remove(&txn->place);
  core->held_count--;
  core_tree_insert(&core->by_id, &image->id, &txn->by_id);
  core->counts.open[VOW_TXN_ACTIVE]++;
  core->counts.begun++;
  image->created_ms = core->wall_ms;
  image->updated_ms = core->wall_ms;
  image->deadline_ms = core->wall_ms + txn->timeout_ms;
  txn->deadline_ms = core->now_ms + txn->timeout_ms;
  core_rearm(core, txn);
  core_history(core, txn, 0, VOW_HISTORY_BEGUN, NULL);
  core_touch(core, txn);
  if (txn->one_shot) core_txn_prepare(core, txn);
  return true;
}

/* ---- prepare ---- */

static void set_record_due(struct vow_core *core, struct core_txn *txn) {
  txn->record_ms = core->now_ms + core->config.preparing_record_after_ms;
}

/* The transaction's own deadline still counts: whichever comes first ends the wait for votes. */
void core_txn_prepare(struct vow_core *core, struct core_txn *txn) {
  uint64_t prepare_deadline = core->now_ms + core->config.prepare_timeout_ms;
  struct vow_txn *image = &txn->image;

  move(core, txn, VOW_TXN_PREPARING);
  core_history(core, txn, 0, VOW_HISTORY_COMMIT_ASKED, NULL);
  txn->pending = image->branch_count;
  if (prepare_deadline < txn->deadline_ms) txn->deadline_ms = prepare_deadline;
  for (uint32_t i = 0; i < image->branch_count; i++) {
    core_branch_move(&txn->tasks[i], VOW_BRANCH_PREPARING);
  }
  if (image->branch_count == 1) {
    image->delegated = true;
    core_history(core, txn, 0, VOW_HISTORY_DELEGATED, NULL);
    core_want_record(core, txn, CORE_RECORD_DECISION);
  } else {
    for (uint32_t i = 0; i < image->branch_count; i++) core_task_push(core, &txn->tasks[i]);
    set_record_due(core, txn);
  }
  core_rearm(core, txn);
}

/* ---- abort ---- */

/* C9: whoever prepare may have reached, and whoever worked before prepare. */
static bool may_hold_work(const struct core_task *task) {
  return task->may_hold_vote || task->state == CORE_TASK_INFLIGHT ||
         core_branch(task)->payload == NULL;
}

static void abort_branch(struct vow_core *core, struct core_task *task) {
  struct vow_branch *branch = core_branch(task);

  if (core_branch_done(branch)) return;
  if (!may_hold_work(task)) {
    core_branch_end(core, task, VOW_BRANCH_ABORTED, VOW_OUTCOME_ABORTED);
    return;
  }
  if (branch->state != VOW_BRANCH_ABORTING) core_branch_move(task, VOW_BRANCH_ABORTING);
  core_task_push(core, task);
}

/* From here on the decision exists: nothing shows it before. */
static void reveal(struct vow_core *core, struct core_txn *txn) {
  struct vow_txn *image = &txn->image;

  image->decision_durable = true;
  if (vow_txn_outcome(image) == VOW_OUTCOME_COMMITTED) {
    core->counts.committed++;
    core_history(core, txn, 0, VOW_HISTORY_DECIDED, "commit");
  } else {
    core->counts.aborted++;
    core_history_text(core, txn, 0, VOW_HISTORY_DECIDED,
                      core_text("abort: %s", image->reason == NULL ? "" : image->reason));
  }
}

void core_txn_abort_now(struct vow_core *core, struct core_txn *txn) {
  struct vow_txn *image = &txn->image;
  /* Presumed abort needs no record, but what was promised under a key does (C8), and so does the
   * word of an operator who settles a branch that the log calls undecided. What a restart presumes
   * has its key in the log already, and the next start presumes the same. */
  bool needs_record = (image->idempotency_key != NULL && !txn->presumed) ||
                      (image->delegated && image->branches[0].resolved);

  move(core, txn, VOW_TXN_ABORTING);
  txn->decided = 0;
  if (needs_record) {
    core_want_record(core, txn, CORE_RECORD_DECISION);
  } else {
    reveal(core, txn);
  }
  txn->pending = 0;
  for (uint32_t i = 0; i < image->branch_count; i++) {
    txn->pending += !core_branch_done(&image->branches[i]);
  }
  for (uint32_t i = 0; i < image->branch_count; i++) abort_branch(core, &txn->tasks[i]);
  txn->deadline_ms = CORE_NEVER;
  /* What was only presumed is not written down as a decision: the log may turn out to lack it. */
  if (!txn->presumed) set_record_due(core, txn);
  core_rearm(core, txn);
}

/* Once the commit was handed over, only the branch knows: abort asks it (C4). */
static void ask_delegate(struct vow_core *core, struct core_txn *txn) {
  txn->deadline_ms = CORE_NEVER;
  core_rearm(core, txn);
  core_branch_move(&txn->tasks[0], VOW_BRANCH_ABORTING);
  core_task_push(core, &txn->tasks[0]);
  core_touch(core, txn);
}

void core_txn_abort(struct vow_core *core, struct core_txn *txn, char *reason) {
  struct vow_txn *image = &txn->image;
  struct core_task *only = txn->tasks;

  if (image->delegated && image->branches[0].state == VOW_BRANCH_ABORTING) {
    free(reason); /* it is being asked already */
    return;
  }
  free(image->reason);
  image->reason = reason;
  if (image->delegated && (only->may_hold_vote || only->state == CORE_TASK_INFLIGHT)) {
    ask_delegate(core, txn);
    return;
  }
  image->delegated = false;
  core_txn_abort_now(core, txn);
}

static char *timeout_reason(const struct core_txn *txn) {
  const struct vow_txn *image = &txn->image;

  if (image->state == VOW_TXN_ACTIVE) return core_text("the transaction timed out");
  /* Somebody has not voted: it would not be preparing otherwise. */
  const struct vow_branch *branch = image->branches;
  while (branch->state != VOW_BRANCH_PREPARING) branch++;
  if (branch->last_error == NULL) {
    return core_text("no vote from branch '%s' in time", branch->name);
  }
  return core_text("no vote from branch '%s' in time: %s", branch->name, branch->last_error);
}

void core_txn_expire(struct vow_core *core, struct core_txn *txn) {
  if (core->now_ms >= txn->record_ms) {
    txn->record_ms = CORE_NEVER;
    if (txn->ending) {
      core->ends_due = true;
    } else {
      core_want_record(core, txn, CORE_RECORD_LAZY);
    }
  }
  if (core->now_ms >= txn->deadline_ms) {
    core_history(core, txn, 0, VOW_HISTORY_TIMED_OUT, NULL);
    core_txn_abort(core, txn, timeout_reason(txn));
  }
  core_rearm(core, txn);
}

/* ---- what follows by itself ---- */

bool core_txn_decided(const struct vow_core *core, const struct core_txn *txn) {
  return txn->record != CORE_RECORD_DECISION && txn->decided <= core->durable;
}

bool core_txn_answerable(const struct vow_core *core, const struct core_txn *txn) {
  return vow_txn_outcome(&txn->image) != VOW_OUTCOME_NONE && core_txn_decided(core, txn);
}

/* C3: without a prepared branch nothing depends on the decision, and nobody needs its record. C8
 * and a delegation that the log still calls undecided make an exception, unless the branch itself
 * keeps the outcome. */
static bool commit_needs_record(const struct core_txn *txn) {
  const struct vow_txn *image = &txn->image;
  bool kept_by_branch = false;

  for (uint32_t i = 0; i < image->branch_count; i++) {
    const struct vow_branch *branch = &image->branches[i];
    if (branch->state == VOW_BRANCH_PREPARED || branch->resolved) return true;
    kept_by_branch |= branch->state != VOW_BRANCH_READ_ONLY;
  }
  return image->idempotency_key != NULL || (image->delegated && !kept_by_branch);
}

static void decide_commit(struct vow_core *core, struct core_txn *txn) {
  move(core, txn, VOW_TXN_COMMITTING);
  free(txn->image.reason); /* of an abort that came too late */
  txn->image.reason = NULL;
  txn->decided = 0;
  txn->deadline_ms = CORE_NEVER;
  txn->record_ms = CORE_NEVER;
  core_rearm(core, txn);
  for (uint32_t i = 0; i < txn->image.branch_count; i++) {
    txn->pending += txn->image.branches[i].state == VOW_BRANCH_PREPARED;
  }
  if (commit_needs_record(txn)) {
    core_want_record(core, txn, CORE_RECORD_DECISION);
  } else {
    reveal(core, txn);
  }
}

static void send_commits(struct vow_core *core, struct core_txn *txn) {
  for (uint32_t i = 0; i < txn->image.branch_count; i++) {
    if (txn->image.branches[i].state != VOW_BRANCH_PREPARED) continue;
    core_branch_move(&txn->tasks[i], VOW_BRANCH_COMMITTING);
    core_task_push(core, &txn->tasks[i]);
  }
}

/* Every branch has ended. With a heuristic outcome it stays until an operator forgets it. */
static void finish(struct vow_core *core, struct core_txn *txn, enum vow_txn_state state) {
  move(core, txn, state);
  txn->record_ms = CORE_NEVER;
  core_rearm(core, txn);
  if (txn->image.heuristic != VOW_HEURISTIC_NONE) {
    core->counts.heuristic[txn->image.heuristic]++;
    core_want_record(core, txn, CORE_RECORD_FORCED);
  }
  if (txn->loaded) {
    txn->loaded = false;
    core->counts.recovering--;
    core->counts.recovered++;
  }
}

static void send_forgets(struct vow_core *core, struct core_txn *txn) {
  enum vow_message_type type;

  txn->forgetting = true;
  for (uint32_t i = 0; i < txn->image.branch_count; i++) {
    if (!core_task_message(&txn->tasks[i], &type)) continue;
    txn->pending++;
    core_task_push(core, &txn->tasks[i]);
  }
}

/* Its record may wait for those of others, unless another is on its way: a crash meanwhile costs no
 * more than that the branches are told once more. */
static void end(struct vow_core *core, struct core_txn *txn) {
  core->counts.open[txn->image.state]--;
  txn->image.ended_ms = core->wall_ms;
  core_history(core, txn, 0, VOW_HISTORY_ENDED, NULL);
  if (core->config.ends_together < 2 || txn->record != CORE_RECORD_NONE ||
      core_list_linked(&txn->place)) {
    core_want_record(core, txn, CORE_RECORD_LAZY);
    return;
  }
  txn->ending = true;
  core_list_insert_before(&core->ending, &txn->place);
  if (core->ending_count++ > 0) return;
  txn->record_ms = core->now_ms + core->config.ends_wait_ms;
  core_rearm(core, txn);
}

/* Whatever waits for the record of the decision or delegation. */
static void go_on_durable(struct vow_core *core, struct core_txn *txn) {
  struct vow_txn *image = &txn->image;

  if (image->state == VOW_TXN_PREPARING && image->delegated) {
    if (txn->tasks[0].state == CORE_TASK_IDLE) core_task_push(core, &txn->tasks[0]);
  } else if (image->state >= VOW_TXN_COMMITTING && !image->decision_durable) {
    reveal(core, txn);
    if (image->state == VOW_TXN_COMMITTING) send_commits(core, txn);
  } else if (image->forgotten && !txn->forgetting) {
    send_forgets(core, txn);
  }
}

void core_txn_advance(struct vow_core *core, struct core_txn *txn) {
  struct vow_txn *image = &txn->image;

  if (txn->parked) return;
  if (image->state == VOW_TXN_PREPARING && txn->pending == 0) decide_commit(core, txn);
  if (core_txn_decided(core, txn)) go_on_durable(core, txn);
  if (txn->pending > 0 || image->ended_ms != 0) return;
  if (image->state == VOW_TXN_COMMITTING) finish(core, txn, VOW_TXN_COMMITTED);
  if (image->state == VOW_TXN_ABORTING) finish(core, txn, VOW_TXN_ABORTED);
  if (image->state != VOW_TXN_COMMITTED && image->state != VOW_TXN_ABORTED) return;
  if (image->heuristic == VOW_HEURISTIC_NONE || txn->forgetting) end(core, txn);
}

bool core_txn_over(const struct vow_core *core, const struct core_txn *txn) {
  return txn->image.ended_ms != 0 && !txn->ending && txn->logged <= core->durable &&
         txn->inflight == 0;
}
