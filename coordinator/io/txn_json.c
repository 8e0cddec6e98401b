/* Streams into the caller's buffer without a tree: every answer about a transaction comes from
 * here. */
#include "io/txn_json.h"

#include <string.h>

static void write_time(struct vow_jsonw *w, const char *key, uint64_t unix_ms) {
  if (unix_ms != 0) vow_jsonw_time(w, key, unix_ms);
}

static void write_flag(struct vow_jsonw *w, const char *key, bool value) {
  if (value) vow_jsonw_bool(w, key, true);
}

void vow_txn_json_write_branch(struct vow_jsonw *w, const char *key,
                               const struct vow_branch *branch) {
  vow_jsonw_object(w, key);
  vow_jsonw_uint(w, "branch", branch->number);
  vow_jsonw_string(w, "name", branch->name);
  vow_jsonw_string(w, "url", branch->url);
  vow_jsonw_string(w, "state", vow_branch_state_name(branch->state));
  if (branch->vote != VOW_VOTE_NONE) vow_jsonw_string(w, "vote", vow_vote_name(branch->vote));
  if (branch->outcome != VOW_OUTCOME_NONE)
    vow_jsonw_string(w, "outcome", vow_outcome_name(branch->outcome));
  vow_jsonw_uint(w, "attempts", branch->attempts);
  vow_jsonw_string(w, "last_error", branch->last_error);
  write_time(w, "last_error_at", branch->last_error_ms);
  write_flag(w, "resolved", branch->resolved);
  vow_jsonw_end(w);
}

void vow_txn_json_write_history(struct vow_jsonw *w, const char *key,
                                const struct vow_history *entry) {
  vow_jsonw_object(w, key);
  vow_jsonw_time(w, "time", entry->time_ms);
  vow_jsonw_string(w, "kind", vow_history_kind_name((enum vow_history_kind)entry->kind));
  if (entry->branch != 0) vow_jsonw_uint(w, "branch", entry->branch);
  if (entry->count > 1) vow_jsonw_uint(w, "count", entry->count);
  vow_jsonw_string(w, "detail", entry->detail);
  vow_jsonw_end(w);
}

static void write_history(struct vow_jsonw *w, const struct vow_txn *txn) {
  vow_jsonw_array(w, "history");
  for (uint32_t i = 0; i < txn->history_count; i++) {
    vow_txn_json_write_history(w, NULL, &txn->history[i]);
  }
  vow_jsonw_end(w);
  if (txn->history_dropped > 0) vow_jsonw_uint(w, "history_dropped", txn->history_dropped);
}

static void write_head(struct vow_jsonw *w, const struct vow_txn *txn) {
  vow_jsonw_id(w, "id", txn->id);
  vow_jsonw_string(w, "state", vow_txn_state_name(vow_txn_shown_state(txn)));
  enum vow_outcome outcome = vow_txn_outcome(txn);
  if (outcome != VOW_OUTCOME_NONE) vow_jsonw_string(w, "outcome", vow_outcome_name(outcome));
  vow_jsonw_string(w, "heuristic", vow_heuristic_name(txn->heuristic));
  vow_jsonw_string(w, "reason", txn->reason);
  vow_jsonw_time(w, "created", txn->created_ms);
  write_time(w, "updated", txn->updated_ms);
  write_time(w, "deadline", txn->deadline_ms);
  write_time(w, "ended", txn->ended_ms);
  write_flag(w, "delegated", txn->delegated);
  write_flag(w, "forgotten", txn->forgotten);
  if (txn->metadata != NULL) vow_jsonw_raw(w, "metadata", txn->metadata, strlen(txn->metadata));
  vow_jsonw_string(w, "traceparent", txn->traceparent);
}

void vow_txn_json_write(struct vow_jsonw *w, const char *key, const struct vow_txn *txn,
                        enum vow_txn_json_detail detail) {
  vow_jsonw_object(w, key);
  write_head(w, txn);
  vow_jsonw_array(w, "branches");
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    vow_txn_json_write_branch(w, NULL, &txn->branches[i]);
  }
  vow_jsonw_end(w);
  if (detail == VOW_TXN_JSON_WHOLE) write_history(w, txn);
  vow_jsonw_end(w);
}
