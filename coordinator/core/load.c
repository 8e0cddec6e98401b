/*
 * Recovery: what a restarted core does with each transaction the log still calls open.
 *
 *   in the log as            it is
 *   (where the log may have lost records, all of this has to wait: quarantine.c)
 *   active, preparing        aborted, since no decision was made, and its branches are told
 *   preparing, delegated     undecided until its branch has been asked
 *   committing               driven to its end; the outcome was commit from the record on
 *   aborting                 driven to its end
 *   aborting, presumed       the same, and as little decided as before a branch was settled
 *   committed, aborted       kept until its heuristic outcome is forgotten
 *
 * The messages wait in their endpoints' queues like all others, so that recovery floods nobody.
 */
#include <stdlib.h>
#include <string.h>

#include "core_internal.h"

#define BIT(state) (1U << (state))

/* What the branches of a record may be (protocol.c shows the same as a table). */
static const unsigned branch_states[] = {
    [VOW_TXN_ACTIVE] = BIT(VOW_BRANCH_ENLISTED),
    [VOW_TXN_PREPARING] = BIT(VOW_BRANCH_PREPARING) | BIT(VOW_BRANCH_PREPARED) |
                          BIT(VOW_BRANCH_READ_ONLY) | BIT(VOW_BRANCH_ABORTING),
    [VOW_TXN_COMMITTING] = BIT(VOW_BRANCH_PREPARED) | BIT(VOW_BRANCH_COMMITTING) |
                           BIT(VOW_BRANCH_UNKNOWN) | BIT(VOW_BRANCH_COMMITTED) |
                           BIT(VOW_BRANCH_READ_ONLY) | BIT(VOW_BRANCH_HEURISTIC),
    [VOW_TXN_COMMITTED] =
        BIT(VOW_BRANCH_COMMITTED) | BIT(VOW_BRANCH_READ_ONLY) | BIT(VOW_BRANCH_HEURISTIC),
    [VOW_TXN_ABORTING] = BIT(VOW_BRANCH_ABORTING) | BIT(VOW_BRANCH_ABORTED) |
                         BIT(VOW_BRANCH_READ_ONLY) | BIT(VOW_BRANCH_HEURISTIC),
    [VOW_TXN_ABORTED] =
        BIT(VOW_BRANCH_ABORTED) | BIT(VOW_BRANCH_READ_ONLY) | BIT(VOW_BRANCH_HEURISTIC),
};

enum vow_error core_load_begin(struct vow_core *core, const struct vow_event *event) {
  if (core->begun) return VOW_E_INVALID_ARGUMENT;
  enum vow_error error = core_quarantine_load(core, event);
  if (error != VOW_OK) return error;
  core->begun = true;
  core->position = event->u.load_begin.position;
  core->durable = event->u.load_begin.position;
  core->to_load = event->u.load_begin.open;
  core_ids_load(core, event->u.load_begin.id_floor);
  return VOW_OK;
}

enum vow_error core_load_end(struct vow_core *core) {
  if (!core->begun || !core->loading) return VOW_E_INVALID_ARGUMENT;
  core->loading = false;
  core->to_load = 0;
  return VOW_OK;
}

/* What was delegated is the only branch's to say until it has ended. */
static bool is_delegation_sound(const struct vow_txn *image) {
  if (!image->delegated) return true;
  if (image->branch_count != 1 || image->state == VOW_TXN_ACTIVE) return false;
  enum vow_branch_state state = image->branches[0].state;
  return image->state != VOW_TXN_PREPARING || state == VOW_BRANCH_PREPARING ||
         state == VOW_BRANCH_ABORTING;
}

bool vow_core_may_load(const struct vow_txn *image) {
  if (image->state < VOW_TXN_ACTIVE || image->state > VOW_TXN_ABORTED) return false;
  bool ended = image->state == VOW_TXN_COMMITTED || image->state == VOW_TXN_ABORTED;
  if (image->forgotten && (!ended || image->heuristic == VOW_HEURISTIC_NONE)) return false;
  if (image->presumed && image->state != VOW_TXN_ABORTING) return false;
  if (!is_delegation_sound(image)) return false;
  for (uint32_t i = 0; i < image->branch_count; i++) {
    const struct vow_branch *branch = &image->branches[i];
    if (branch->number != i + 1 || branch->name == NULL || branch->url == NULL) return false;
    if (branch->state < VOW_BRANCH_ENLISTED || branch->state > VOW_BRANCH_UNKNOWN) return false;
    if ((branch_states[image->state] & BIT(branch->state)) == 0) return false;
    if (branch->state == VOW_BRANCH_ABORTING && image->state == VOW_TXN_PREPARING &&
        !image->delegated) {
      return false;
    }
  }
  return true;
}

static bool is_known(const struct vow_core *core, const struct vow_txn *image) {
  return core_find(core, image->id) != NULL ||
         (image->idempotency_key != NULL &&
          core_tree_find(&core->by_key, image->idempotency_key) != NULL);
}

/* Tasks and endpoints for the branches of an image that is still the caller's. */
static bool make_tasks(struct vow_core *core, struct core_txn *txn, struct vow_txn *image) {
  if (image->branch_count == 0) return true;
  struct vow_branch *branches =
      realloc(image->branches, image->branch_count * (sizeof(*branches) + sizeof(*txn->tasks)));
  if (branches == NULL) return false;
  image->branches = branches;
  txn->tasks = (struct core_task *)(void *)(branches + image->branch_count);
  for (uint32_t i = 0; i < image->branch_count; i++) {
    struct core_task *task = &txn->tasks[i];
    *task = (struct core_task){
        .txn = txn, .timer.owner = CORE_TIMER_TASK, .may_hold_vote = true, .heard = true};
    task->endpoint = core_endpoint_acquire(core, image->branches[i].url);
    if (task->endpoint == NULL) {
      while (i-- > 0) core_endpoint_release(core, txn->tasks[i].endpoint);
      return false;
    }
  }
  return true;
}

static void enter(struct vow_core *core, struct core_txn *txn, struct vow_txn *image) {
  txn->image = *image;
  memset(image, 0, sizeof(*image));
  image = &txn->image;
  txn->branch_capacity = image->branch_count;
  txn->history_capacity = image->history_count;
  txn->logged = core->durable;
  txn->recorded = true;
  txn->decided = core->durable;
  image->decision_durable = image->state >= VOW_TXN_COMMITTING;
  core_tree_insert(&core->by_id, &image->id, &txn->by_id);
  if (image->idempotency_key != NULL) {
    core_tree_insert(&core->by_key, image->idempotency_key, &txn->by_key);
  }
  core->counts.open[image->state]++;
  core->counts.open_heuristic += image->heuristic != VOW_HEURISTIC_NONE && !image->forgotten;
  if (image->state != VOW_TXN_COMMITTED && image->state != VOW_TXN_ABORTED) {
    txn->loaded = true;
    core->counts.recovering++;
  }
}

/* Drives on what was decided, unless the log may not know that it has ended. */
static void resume(struct vow_core *core, struct core_txn *txn, const char *how) {
  if (!core->quarantined) core_history(core, txn, 0, VOW_HISTORY_RECOVERED, how);
  for (uint32_t i = 0; i < txn->image.branch_count; i++) {
    struct core_task *task = &txn->tasks[i];
    if (core_branch_done(core_branch(task))) continue;
    if (core_branch(task)->state == VOW_BRANCH_PREPARED) {
      core_branch_move(task, VOW_BRANCH_COMMITTING);
    }
    txn->pending++;
    if (!core->quarantined) core_task_push(core, task);
  }
  if (core->quarantined) core_park_decided(core, txn);
}

static void recover(struct vow_core *core, struct core_txn *txn) {
  switch (txn->image.state) {
    case VOW_TXN_ACTIVE:
    case VOW_TXN_PREPARING:
      txn->presumed = true;
      if (core->quarantined) {
        core_hold_back(core, txn);
        break;
      }
      core_history(core, txn, 0, VOW_HISTORY_RECOVERED,
                   txn->image.delegated ? "undecided: its branch is asked" : "undecided: aborted");
      txn->pending = txn->image.branch_count;
      /* A delegate that was being asked is idle, so core_txn_advance asks it again. */
      core_txn_abort(core, txn, core_text("the coordinator restarted before a decision"));
      break;
    case VOW_TXN_COMMITTING:
      core_history_decided_before(core, txn, txn->image.updated_ms);
      resume(core, txn, "committing: the commit is sent again");
      break;
    case VOW_TXN_ABORTING:
      txn->presumed = txn->image.presumed;
      if (core->quarantined && txn->presumed) {
        core_hold_back(core, txn);
        break;
      }
      resume(core, txn, "aborting: the abort is sent again");
      break;
    case VOW_TXN_COMMITTED:
    case VOW_TXN_ABORTED:
      core_history(core, txn, 0, VOW_HISTORY_RECOVERED, "waits for an operator");
      break;
  }
  core_touch(core, txn);
}

enum vow_error core_load(struct vow_core *core, const struct vow_event *event) {
  struct vow_txn *image = event->u.load;

  if (!core->begun || !core->loading || image->ended_ms != 0) return VOW_E_INVALID_ARGUMENT;
  if (!vow_core_may_load(image) || is_known(core, image)) return VOW_E_LOG_CORRUPT;
  struct core_txn *txn = core_txn_alloc();
  if (txn == NULL) return VOW_E_NO_MEMORY;
  if (!make_tasks(core, txn, image)) {
    free(txn);
    return VOW_E_NO_MEMORY;
  }
  core->to_load -= core->to_load > 0;
  enter(core, txn, image);
  recover(core, txn);
  return VOW_OK;
}
