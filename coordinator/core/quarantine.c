/*
 * A log that may have lost records. Every start of a log has an incarnation, and messages say how
 * far it is durable in which; participants and the witness file beside the log keep the highest
 * they heard of. A log that never came so far has lost what came after (a damaged write-ahead log,
 * a file that was copied back), or is another log. What it does not positively know may then be
 * anything, so nothing is presumed any more:
 *
 *   - what was read from the log as undecided is held back: neither aborted nor asked about
 *   - what was read as decided is told to whoever asks, and not pushed (any more): it may have
 *     ended since, and its participants may have forgotten it
 *   - inquiries about what nobody knows are answered "unknown" (vow_core_may_presume)
 *   - no watermark is announced, since tombstones are what a reconciliation is built on
 *   - nothing new is begun
 *
 * Transactions that began in this run are driven on: nothing of theirs was lost. Only a
 * reconciliation ends the quarantine, with the daemon stopped.
 *
 * Where log and witness file were put back together, and no participant has spoken yet, nothing
 * shows the loss. But a start issues ids from its own time on, and the start before none above its
 * ceiling: an id between the two is none of this log's, or of a time that it has lost. It is
 * presumed aborted no more than one that is not issued yet.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core_internal.h"

bool vow_log_knows(const struct vow_incarnation *known, uint32_t count,
                   struct vow_log_position seen) {
  for (uint32_t i = 0; i < count; i++) {
    if (known[i].number == 0 && seen.incarnation <= known[i].until) return true;
    if (known[i].number == seen.incarnation) return seen.position <= known[i].until;
  }
  return false;
}

bool vow_id_in_gap(const struct vow_id_gap *gaps, uint32_t count, struct vow_id id) {
  uint32_t low = 0, high = count; /* the gaps below `low` begin at or below it */

  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (vow_id_compare(gaps[middle].from, id) <= 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low > 0 && vow_id_compare(id, gaps[low - 1].below) < 0;
}

/* A copy of what the driver lends; *out stays as it is where there is nothing. */
static bool copy(void **out, const void *from, uint32_t count, size_t bytes) {
  if (count == 0) return true;
  void *made = calloc(count, bytes);
  if (made == NULL) return false;
  memcpy(made, from, count * bytes);
  *out = made;
  return true;
}

enum vow_error core_quarantine_load(struct vow_core *core, const struct vow_event *event) {
  uint32_t count = event->u.load_begin.known_count, gaps = event->u.load_begin.gap_count;
  void *known_copy = NULL, *gaps_copy = NULL;

  if (!copy(&known_copy, event->u.load_begin.known, count, sizeof(*core->known))) {
    return VOW_E_NO_MEMORY;
  }
  if (!copy(&gaps_copy, event->u.load_begin.gaps, gaps, sizeof(*core->gaps))) {
    free(known_copy);
    return VOW_E_NO_MEMORY;
  }
  core->known = known_copy;
  core->known_count = count;
  core->gaps = gaps_copy;
  core->gap_count = gaps;
  core->incarnation = event->u.load_begin.incarnation;
  core->quarantined = event->u.load_begin.quarantined;
  core->presume_from = event->u.load_begin.presume_from;
  return VOW_OK;
}

static void park(struct vow_core *core, struct core_txn *txn) {
  txn->parked = true;
  core->counts.parked++;
  txn->record_ms = CORE_NEVER;
  txn->deadline_ms = CORE_NEVER;
  core_rearm(core, txn);
  for (uint32_t i = 0; i < txn->image.branch_count; i++) core_task_stop(core, &txn->tasks[i]);
}

void core_park_decided(struct vow_core *core, struct core_txn *txn) {
  park(core, txn);
  core_history(core, txn, 0, VOW_HISTORY_RECOVERED,
               "decided: not sent again until the log is reconciled, as it may have lost the end");
}

void core_hold_back(struct vow_core *core, struct core_txn *txn) {
  park(core, txn);
  txn->image.decision_durable = false; /* nobody is told that it aborted */
  core_history(core, txn, 0, VOW_HISTORY_RECOVERED,
               "undecided: held back, as the log may have lost its decision");
  core->counts.held_back++;
  core_touch(core, txn); /* whoever waits for its outcome waits no longer */
}

/* Was its abort only presumed, and has it not ended? No presumption is written as a decision. */
static bool is_presumption(const struct core_txn *txn) {
  enum vow_txn_state state = txn->image.state;
  return txn->presumed && (state == VOW_TXN_PREPARING || state == VOW_TXN_ABORTING);
}

/* Did the log say how it was decided, and has this run not ended it? */
static bool was_read_as_decided(const struct core_txn *txn) {
  return txn->loaded && !txn->presumed;
}

static void enter(struct vow_core *core, struct vow_log_position seen, const char *by) {
  core->quarantined = true;
  core->quarantine_wanted = true;
  core->seen = seen;
  (void)snprintf(core->seen_by, sizeof(core->seen_by), "%s", by);
  for (uint32_t i = 0; i < core_tree_count(&core->by_id); i++) {
    struct core_txn *txn = core_container(core_tree_at(&core->by_id, i), struct core_txn, by_id);
    if (was_read_as_decided(txn)) core_park_decided(core, txn);
    if (is_presumption(txn)) core_hold_back(core, txn);
  }
}

void core_witness(struct vow_core *core, struct vow_log_position seen, const char *by) {
  if (core->incarnation == 0 || core->quarantined || seen.incarnation == 0) return;
  bool known = seen.incarnation == core->incarnation
                   ? seen.position <= core->durable
                   : vow_log_knows(core->known, core->known_count, seen);
  if (!known) enter(core, seen, by);
}

bool vow_core_quarantined(const struct vow_core *core) {
  return core->quarantined;
}

struct vow_log_position vow_core_log(const struct vow_core *core) {
  if (core->quarantined) return (struct vow_log_position){0};
  return (struct vow_log_position){core->incarnation, core->durable};
}

bool core_is_held_back(const struct core_txn *txn) {
  return txn->parked && !txn->image.decision_durable;
}

bool vow_core_held_back(const struct vow_core *core, struct vow_id id) {
  const struct core_txn *txn = core_find(core, id);
  return txn != NULL && core_is_held_back(txn);
}

bool vow_core_never_issued(const struct vow_core *core, struct vow_id id) {
  return vow_id_in_gap(core->gaps, core->gap_count, id);
}

bool vow_core_may_presume(const struct vow_core *core, struct vow_id id) {
  return !core->quarantined && vow_id_compare(id, core->presume_from) >= 0 &&
         vow_id_compare(id, core->ceiling) < 0 && !vow_core_never_issued(core, id);
}
