/*
 * What can be said of a transaction by looking at it: names, outcome, the heuristic merge, and its
 * end as memory. Pure; everybody may call.
 */
#include "txn.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static const char *const txn_state_names[] = {
    [VOW_TXN_ACTIVE] = "active",         [VOW_TXN_PREPARING] = "preparing",
    [VOW_TXN_COMMITTING] = "committing", [VOW_TXN_COMMITTED] = "committed",
    [VOW_TXN_ABORTING] = "aborting",     [VOW_TXN_ABORTED] = "aborted",
};

static const char *const heuristic_names[] = {
    [VOW_HEURISTIC_COMMIT] = "commit",
    [VOW_HEURISTIC_ABORT] = "abort",
    [VOW_HEURISTIC_MIXED] = "mixed",
    [VOW_HEURISTIC_HAZARD] = "hazard",
};

static const char *const branch_state_names[] = {
    [VOW_BRANCH_ENLISTED] = "enlisted",     [VOW_BRANCH_PREPARING] = "preparing",
    [VOW_BRANCH_PREPARED] = "prepared",     [VOW_BRANCH_READ_ONLY] = "read-only",
    [VOW_BRANCH_COMMITTING] = "committing", [VOW_BRANCH_COMMITTED] = "committed",
    [VOW_BRANCH_ABORTING] = "aborting",     [VOW_BRANCH_ABORTED] = "aborted",
    [VOW_BRANCH_HEURISTIC] = "heuristic",   [VOW_BRANCH_UNKNOWN] = "unknown",
};

static const char *const history_kind_names[] = {
    [VOW_HISTORY_BEGUN] = "begun",
    [VOW_HISTORY_ENLISTED] = "enlisted",
    [VOW_HISTORY_COMMIT_ASKED] = "commit-asked",
    [VOW_HISTORY_ABORT_ASKED] = "abort-asked",
    [VOW_HISTORY_PREPARE_SENT] = "prepare-sent",
    [VOW_HISTORY_VOTE] = "vote",
    [VOW_HISTORY_DELEGATED] = "delegated",
    [VOW_HISTORY_DECIDED] = "decided",
    [VOW_HISTORY_DECISION_SENT] = "decision-sent",
    [VOW_HISTORY_ACKNOWLEDGED] = "acknowledged",
    [VOW_HISTORY_ATTEMPT_FAILED] = "attempt-failed",
    [VOW_HISTORY_HEURISTIC] = "heuristic",
    [VOW_HISTORY_RECOVERED] = "recovered",
    [VOW_HISTORY_RESOLVED] = "resolved",
    [VOW_HISTORY_FORGOTTEN] = "forgotten",
    [VOW_HISTORY_ENDED] = "ended",
    [VOW_HISTORY_TIMED_OUT] = "timed-out",
};

/* Index 0 of every table is empty: no enumerator that has a name is 0. */
static const char *name_of(const char *const *names, size_t count, unsigned value) {
  return value > 0 && value < count ? names[value] : "invalid";
}

static unsigned value_of(const char *const *names, size_t count, const char *name) {
  for (unsigned value = 1; value < count; value++) {
    if (strcmp(names[value], name) == 0) return value;
  }
  return 0;
}

const char *vow_txn_state_name(enum vow_txn_state state) {
  return name_of(txn_state_names, LENGTH(txn_state_names), state);
}

const char *vow_heuristic_name(enum vow_heuristic heuristic) {
  if (heuristic == VOW_HEURISTIC_NONE) return NULL;
  return name_of(heuristic_names, LENGTH(heuristic_names), heuristic);
}

const char *vow_branch_state_name(enum vow_branch_state state) {
  return name_of(branch_state_names, LENGTH(branch_state_names), state);
}

const char *vow_history_kind_name(enum vow_history_kind kind) {
  return name_of(history_kind_names, LENGTH(history_kind_names), kind);
}

bool vow_txn_state_parse(const char *name, enum vow_txn_state *out) {
  unsigned value = value_of(txn_state_names, LENGTH(txn_state_names), name);
  if (value != 0) *out = (enum vow_txn_state)value;
  return value != 0;
}

bool vow_heuristic_parse(const char *name, enum vow_heuristic *out) {
  unsigned value = value_of(heuristic_names, LENGTH(heuristic_names), name);
  if (value != 0) *out = (enum vow_heuristic)value;
  return value != 0;
}

bool vow_branch_state_parse(const char *name, enum vow_branch_state *out) {
  unsigned value = value_of(branch_state_names, LENGTH(branch_state_names), name);
  if (value != 0) *out = (enum vow_branch_state)value;
  return value != 0;
}

bool vow_history_kind_parse(const char *name, enum vow_history_kind *out) {
  unsigned value = value_of(history_kind_names, LENGTH(history_kind_names), name);
  if (value != 0) *out = (enum vow_history_kind)value;
  return value != 0;
}

enum vow_outcome vow_txn_outcome(const struct vow_txn *txn) {
  if (!txn->decision_durable) return VOW_OUTCOME_NONE;
  switch (txn->state) {
    case VOW_TXN_ACTIVE:
    case VOW_TXN_PREPARING:
      return VOW_OUTCOME_NONE;
    case VOW_TXN_COMMITTING:
    case VOW_TXN_COMMITTED:
      return VOW_OUTCOME_COMMITTED;
    case VOW_TXN_ABORTING:
    case VOW_TXN_ABORTED:
      return VOW_OUTCOME_ABORTED;
  }
  return VOW_OUTCOME_NONE;
}

enum vow_txn_state vow_txn_shown_state(const struct vow_txn *txn) {
  if (txn->state == VOW_TXN_ACTIVE || txn->decision_durable) return txn->state;
  return VOW_TXN_PREPARING;
}

enum vow_error vow_txn_commit_error(const struct vow_txn *txn) {
  if (vow_txn_outcome(txn) != VOW_OUTCOME_ABORTED) return VOW_OK;
  bool nobody_knows =
      txn->heuristic == VOW_HEURISTIC_MIXED || txn->heuristic == VOW_HEURISTIC_HAZARD;
  return txn->delegated && nobody_knows ? VOW_E_HEURISTIC : VOW_E_ABORTED;
}

enum vow_heuristic vow_txn_merge_heuristics(const struct vow_txn *txn) {
  bool heuristic = false, committed = false, aborted = false, mixed = false, hazard = false;

  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct vow_branch *branch = &txn->branches[i];
    enum vow_outcome outcome = branch->outcome;
    heuristic |= branch->state == VOW_BRANCH_HEURISTIC || branch->state == VOW_BRANCH_UNKNOWN;
    committed |= outcome == VOW_OUTCOME_COMMITTED || outcome == VOW_OUTCOME_HEURISTIC_COMMIT;
    aborted |= outcome == VOW_OUTCOME_ABORTED || outcome == VOW_OUTCOME_HEURISTIC_ABORT;
    mixed |= outcome == VOW_OUTCOME_HEURISTIC_MIXED;
    hazard |= outcome == VOW_OUTCOME_HEURISTIC_HAZARD || branch->state == VOW_BRANCH_UNKNOWN;
  }
  if (!heuristic) return VOW_HEURISTIC_NONE;
  if (mixed || (committed && aborted)) return VOW_HEURISTIC_MIXED;
  if (hazard) return VOW_HEURISTIC_HAZARD;
  return committed ? VOW_HEURISTIC_COMMIT : VOW_HEURISTIC_ABORT;
}

static void free_history(struct vow_history *entry) {
  union {
    const char *text;
    char *owned;
  } detail = {.text = entry->detail};
  if (!entry->detail_static) free(detail.owned);
}

void vow_txn_fini(struct vow_txn *txn) {
  if (txn == NULL) return;
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    if (!txn->branches[i].name_behind_url) free(txn->branches[i].name);
    free(txn->branches[i].url);
    free(txn->branches[i].payload);
    free(txn->branches[i].last_error);
  }
  for (uint32_t i = 0; i < txn->history_count; i++) free_history(&txn->history[i]);
  free(txn->branches);
  free(txn->history);
  free(txn->metadata);
  free(txn->idempotency_key);
  free(txn->traceparent);
  free(txn->reason);
  memset(txn, 0, sizeof(*txn));
}
