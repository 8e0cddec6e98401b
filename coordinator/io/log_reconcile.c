/*
 * What a reconciliation decided, written in one transaction: the decisions, and, when nothing is
 * left open, the end of the quarantine. So it is done or it is not, wherever the tool is killed.
 * Called offline, by vowctl, which has the log for itself.
 *
 * Afterwards the log is ahead of all that its witnesses have seen, their starts are known to it,
 * and its ids begin above all that may have been issued; below that nothing is ever presumed again,
 * since a participant that was not asked may still be in doubt.
 */
#include "io/log_internal.h"

static enum vow_error put_all(struct vow_log *log, const struct vow_log_reconciled *reconciled,
                              struct log_batch *batch) {
  enum vow_error error = VOW_OK;
  for (uint32_t i = 0; error == VOW_OK && i < reconciled->count; i++) {
    struct vow_action action = {.type = VOW_ACTION_LOG};
    action.u.log.record = VOW_RECORD_TXN;
    action.u.log.position = ++batch->position;
    action.u.log.txn = &reconciled->txns[i];
    error = log_encode(&log->scratch, &action);
    if (error == VOW_OK) error = log_batch_put(batch, &log->scratch);
  }
  return error;
}

static void go_beyond(struct log_batch *batch, uint64_t position) {
  if (position > batch->position && position < LOG_NUMBER_LIMIT) batch->position = position;
}

static void end_quarantine(const struct vow_log *log, const struct vow_log_reconciled *reconciled,
                           struct log_batch *batch) {
  struct vow_id above = reconciled->ids_above;
  for (uint32_t i = 0; i < reconciled->judged_count; i++) {
    go_beyond(batch, reconciled->judged[i].until);
  }
  go_beyond(batch, reconciled->position_above);
  go_beyond(batch, log->trust.seen.position);
  batch->position++;
  /* A clock that was put back meanwhile must not have ids go on in what lies before this start. */
  if (vow_id_compare(above, log->id_from) < 0) above = log->id_from;
  batch->has_ceiling = true;
  batch->ceiling = above;
  batch->has_trust = true;
  batch->trust.trust.presume_from = above;
  batch->trust.judged = reconciled->judged;
  batch->trust.judged_count = reconciled->judged_count;
}

enum vow_error vow_log_reconcile(struct vow_log *log, const struct vow_log_reconciled *reconciled,
                                 char why[VOW_LOG_WHY_BYTES]) {
  struct log_batch batch = {.position = log->head.position};
  if (log->started || log->read_only) {
    log_explain(why, "the log is in use");
    return VOW_E_INVALID_ARGUMENT;
  }
  log_explain(why, "out of memory");
  enum vow_error error = put_all(log, reconciled, &batch);
  if (error == VOW_OK && reconciled->leave) {
    end_quarantine(log, reconciled, &batch);
  } else if (error == VOW_OK && reconciled->suspected != NULL) {
    batch.has_trust = true;
    batch.trust.trust = log->trust;
    log_trust_suspect(&batch.trust.trust, reconciled->seen, "%s", reconciled->suspected);
  }
  if (error == VOW_OK) error = log_write(log, &batch, 1, false, why);
  log_batch_fini(&batch);
  return error;
}
