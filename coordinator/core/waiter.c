/*
 * Clients that wait: each is answered exactly once, with the outcome when it may be told, or with
 * "pending" when it waits no longer. core_waiter_answer only looks; emit.c sends and ends.
 */
#include <stdlib.h>

#include "core_internal.h"

struct core_waiter *core_waiter_new(uint64_t token, enum core_wait wait) {
  struct core_waiter *waiter = calloc(1, sizeof(*waiter));

  if (waiter == NULL) return NULL;
  waiter->timer.owner = CORE_TIMER_WAITER;
  waiter->token = token;
  waiter->wait = (uint8_t)wait;
  return waiter;
}

void core_waiter_attach(struct vow_core *core, struct core_txn *txn, struct core_waiter *waiter) {
  waiter->txn = txn;
  core_list_insert_before(&txn->waiters, &waiter->link);
  txn->waiting++;
  core_tree_insert(&core->by_token, &waiter->token, &waiter->by_token);
  core_timer_set(&core->timers, &waiter->timer, core->now_ms + core->config.wait_timeout_ms);
  core_touch(core, txn);
}

void core_waiter_end(struct vow_core *core, struct core_waiter *waiter) {
  core_timer_clear(&core->timers, &waiter->timer);
  core_tree_remove(&core->by_token, &waiter->token, &waiter->by_token);
  core_list_remove(&waiter->link);
  waiter->txn->waiting--;
  free(waiter);
}

static void answer_commit(const struct vow_txn *image, struct vow_action *out) {
  out->u.answer.error = vow_txn_commit_error(image);
  if (out->u.answer.error != VOW_OK) out->u.answer.detail = image->reason;
}

static void answer_abort(const struct vow_txn *image, struct vow_action *out) {
  if (vow_txn_outcome(image) == VOW_OUTCOME_ABORTED) {
    bool aborted = vow_txn_commit_error(image) == VOW_E_ABORTED;
    out->u.answer.error = aborted ? VOW_OK : VOW_E_HEURISTIC;
    return;
  }
  out->u.answer.error = VOW_E_ILLEGAL_STATE;
  out->u.answer.detail = image->state == VOW_TXN_COMMITTING
                             ? "the transaction is committing: the decision cannot be taken back"
                             : "the transaction is committed: the decision cannot be taken back";
}

/* Nobody can tell, and it would take the client's wait for nothing to say so later. */
static void refuse_held_back(const struct vow_core *core, const struct core_waiter *waiter,
                             struct vow_action *out) {
  *out = (struct vow_action){.type = VOW_ACTION_ANSWER, .after = core->ceiling_after};
  out->u.answer.token = waiter->token;
  out->u.answer.error = VOW_E_QUARANTINED;
  out->u.answer.detail = CORE_QUARANTINE_DETAIL;
}

bool core_waiter_answer(const struct vow_core *core, const struct core_waiter *waiter,
                        struct vow_action *out) {
  const struct core_txn *txn = waiter->txn;
  const struct vow_txn *image = &txn->image;
  bool answerable = core_txn_answerable(core, txn);
  bool ready = answerable;

  if (txn->held) return false;
  if (waiter->wait == CORE_WAIT_RECORD) ready = waiter->position <= core->durable;
  if (waiter->wait == CORE_WAIT_BEGIN) ready = answerable || image->state < VOW_TXN_COMMITTING;
  if (waiter->wait != CORE_WAIT_RECORD && core_is_held_back(txn)) {
    refuse_held_back(core, waiter, out);
    return true;
  }
  if (!ready && !waiter->expired) return false;

  *out = (struct vow_action){.type = VOW_ACTION_ANSWER, .after = core->ceiling_after};
  if (answerable && txn->decided > out->after) out->after = txn->decided;
  if (ready && waiter->position > out->after) out->after = waiter->position;
  out->u.answer.token = waiter->token;
  out->u.answer.txn = image;
  out->u.answer.created = waiter->created;
  out->u.answer.pending = !ready;
  if (ready && waiter->wait == CORE_WAIT_COMMIT) answer_commit(image, out);
  if (ready && waiter->wait == CORE_WAIT_ABORT) answer_abort(image, out);
  return true;
}

void core_cancel(struct vow_core *core, uint64_t token) {
  struct core_tree_node *node = core_tree_find(&core->by_token, &token);

  if (node != NULL) core_waiter_end(core, core_container(node, struct core_waiter, by_token));
}
