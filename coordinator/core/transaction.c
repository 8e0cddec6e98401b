/*
 * A transaction's memory: the image, its tasks and its uses of endpoints come and go together.
 */
#include <stdlib.h>
#include <string.h>

#include "core_internal.h"

struct core_txn *core_txn_alloc(void) {
  struct core_txn *txn = calloc(1, sizeof(*txn));

  if (txn == NULL) return NULL;
  core_list_init(&txn->waiters);
  txn->timer.owner = CORE_TIMER_TXN;
  txn->deadline_ms = CORE_NEVER;
  txn->record_ms = CORE_NEVER;
  return txn;
}

/* Tasks move: none may be queued or timed, which holds while the transaction is active. */
bool core_txn_reserve_branches(struct core_txn *txn, uint32_t count) {
  if (count <= txn->branch_capacity) return true;
  struct vow_branch *branches =
      realloc(txn->image.branches, count * (sizeof(*branches) + sizeof(*txn->tasks)));
  if (branches == NULL) return false;
  txn->image.branches = branches;
  txn->tasks = (struct core_task *)(void *)(branches + count);
  memmove(txn->tasks, branches + txn->branch_capacity,
          txn->image.branch_count * sizeof(*txn->tasks));
  txn->branch_capacity = count;
  return true;
}

void core_txn_leave_endpoints(struct vow_core *core, struct core_txn *txn) {
  for (uint32_t i = 0; i < txn->image.branch_count; i++) {
    struct core_task *task = &txn->tasks[i];
    if (task->endpoint != NULL) core_endpoint_release(core, task->endpoint);
    task->endpoint = NULL;
  }
}

void core_txn_free(struct vow_core *core, struct core_txn *txn) {
  core_txn_leave_endpoints(core, txn);
  vow_txn_fini(&txn->image);
  free(txn);
}

struct vow_branch *core_branch(const struct core_task *task) {
  return &task->txn->image.branches[task - task->txn->tasks];
}
