/*
 * Reading and showing transactions. See view.h.
 */
#include "view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

#define BRANCHES_MAX UINT32_MAX

const char *const ctl_list_titles[] = {"ID", "STATE", "HEURISTIC", "AGE", "BRANCHES", "NOTE", NULL};

static void get_text(struct vow_json_object *o, const char *key, bool required, const char **out) {
  vow_json_get_string(o, key, required, CTL_STRING_BYTES_MAX, out);
}

enum vow_error ctl_read_end(struct vow_json_object *o, char why[VOW_JSON_WHY_BYTES]) {
  vow_json_object_ignore_unknown(o);
  if (vow_json_object_end(o) == VOW_OK) return VOW_OK;
  memcpy(why, o->why, VOW_JSON_WHY_BYTES);
  return VOW_E_PROTOCOL;
}

enum vow_error ctl_txn_view_read(const struct vow_json_node *node, struct ctl_txn_view *out,
                                 char why[VOW_JSON_WHY_BYTES]) {
  struct ctl_txn_view txn = {.node = node};
  struct vow_json_object o;
  vow_json_object_begin(&o, node, "transaction");
  vow_json_get_id(&o, "id", VOW_JSON_REQUIRED, &txn.id);
  get_text(&o, "state", VOW_JSON_REQUIRED, &txn.state);
  get_text(&o, "outcome", VOW_JSON_OPTIONAL, &txn.outcome);
  get_text(&o, "heuristic", VOW_JSON_OPTIONAL, &txn.heuristic);
  get_text(&o, "reason", VOW_JSON_OPTIONAL, &txn.reason);
  get_text(&o, "traceparent", VOW_JSON_OPTIONAL, &txn.traceparent);
  vow_json_get_time(&o, "created", VOW_JSON_OPTIONAL, &txn.created_ms);
  vow_json_get_time(&o, "deadline", VOW_JSON_OPTIONAL, &txn.deadline_ms);
  vow_json_get_time(&o, "ended", VOW_JSON_OPTIONAL, &txn.ended_ms);
  vow_json_get_bool(&o, "delegated", VOW_JSON_OPTIONAL, &txn.delegated);
  vow_json_get_bool(&o, "forgotten", VOW_JSON_OPTIONAL, &txn.forgotten);
  vow_json_get_uint(&o, "history_dropped", VOW_JSON_OPTIONAL, 0, UINT64_MAX, &txn.history_dropped);
  vow_json_get_any(&o, "metadata", VOW_JSON_OPTIONAL, &txn.metadata);
  vow_json_get_array(&o, "branches", VOW_JSON_OPTIONAL, BRANCHES_MAX, &txn.branches);
  vow_json_get_array(&o, "history", VOW_JSON_OPTIONAL, BRANCHES_MAX, &txn.history);
  enum vow_error error = ctl_read_end(&o, why);
  if (error != VOW_OK) return error;
  vow_id_format(txn.id, txn.id_text);
  *out = txn;
  return VOW_OK;
}

enum vow_error ctl_branch_view_read(const struct vow_json_node *node, struct ctl_branch_view *out,
                                    char why[VOW_JSON_WHY_BYTES]) {
  struct ctl_branch_view branch = {0};
  struct vow_json_object o;
  vow_json_object_begin(&o, node, "branch");
  vow_json_get_uint(&o, "branch", VOW_JSON_REQUIRED, 1, UINT32_MAX, &branch.number);
  vow_json_get_uint(&o, "attempts", VOW_JSON_OPTIONAL, 0, UINT64_MAX, &branch.attempts);
  vow_json_get_time(&o, "last_error_at", VOW_JSON_OPTIONAL, &branch.last_error_ms);
  get_text(&o, "name", VOW_JSON_OPTIONAL, &branch.name);
  get_text(&o, "url", VOW_JSON_OPTIONAL, &branch.url);
  get_text(&o, "state", VOW_JSON_REQUIRED, &branch.state);
  get_text(&o, "vote", VOW_JSON_OPTIONAL, &branch.vote);
  get_text(&o, "outcome", VOW_JSON_OPTIONAL, &branch.outcome);
  get_text(&o, "last_error", VOW_JSON_OPTIONAL, &branch.last_error);
  vow_json_get_bool(&o, "resolved", VOW_JSON_OPTIONAL, &branch.resolved);
  enum vow_error error = ctl_read_end(&o, why);
  if (error == VOW_OK) *out = branch;
  return error;
}

static bool is(const char *text, const char *word) {
  return text != NULL && strcmp(text, word) == 0;
}

bool ctl_branch_ended(const struct ctl_branch_view *branch) {
  return branch->resolved || is(branch->state, "committed") || is(branch->state, "aborted") ||
         is(branch->state, "read-only") || is(branch->state, "heuristic");
}

bool ctl_txn_open(const struct ctl_txn_view *txn) {
  return !is(txn->state, "committed") && !is(txn->state, "aborted");
}

enum ctl_colour ctl_state_colour(const char *state) {
  if (is(state, "committed") || is(state, "read-only")) return CTL_GOOD;
  if (is(state, "heuristic") || is(state, "unknown")) return CTL_BAD;
  if (is(state, "aborted")) return CTL_FAINT;
  return CTL_WARN;
}

void ctl_branch_sum(const struct vow_json_node *branches, struct ctl_branch_sum *out) {
  char why[VOW_JSON_WHY_BYTES];
  uint64_t newest = 0;
  memset(out, 0, sizeof *out);
  out->all = branches == NULL ? 0 : vow_json_array_length(branches);
  for (size_t i = 0; i < out->all; i++) {
    struct ctl_branch_view branch;
    if (ctl_branch_view_read(vow_json_array_at(branches, i), &branch, why) != VOW_OK) continue;
    if (ctl_branch_ended(&branch)) {
      out->ended++;
    } else if (branch.last_error != NULL && branch.last_error_ms >= newest) {
      newest = branch.last_error_ms;
      snprintf(out->error, sizeof out->error, "%s: %s",
               branch.name == NULL ? "branch" : branch.name, branch.last_error);
    }
  }
}

static void age_cell(struct ctl_table *table, uint64_t time_ms, uint64_t now_ms) {
  char age[CTL_DURATION_BYTES];
  ctl_duration_format(now_ms > time_ms ? now_ms - time_ms : 0, age);
  ctl_table_cell(table, CTL_PLAIN, time_ms == 0 ? NULL : age);
}

void ctl_list_row(struct ctl_table *table, const struct ctl_txn_view *txn, uint64_t now_ms) {
  struct ctl_branch_sum sum;
  ctl_branch_sum(txn->branches, &sum);
  ctl_table_cell(table, CTL_PLAIN, txn->id_text);
  ctl_table_cell(table, ctl_state_colour(txn->state), txn->state);
  if (txn->heuristic != NULL && txn->forgotten) {
    ctl_table_cellf(table, CTL_FAINT, "%s (forgotten)", txn->heuristic);
  } else {
    ctl_table_cell(table, txn->heuristic == NULL ? CTL_PLAIN : CTL_BAD, txn->heuristic);
  }
  age_cell(table, txn->created_ms, now_ms);
  ctl_table_cellf(table, CTL_PLAIN, "%zu/%zu", sum.ended, sum.all);
  const char *note = ctl_txn_open(txn) && sum.error[0] != '\0' ? sum.error : txn->reason;
  ctl_table_cell(table, CTL_PLAIN, note == NULL ? "" : note);
}

static void time_fact(struct vow_buf *out, const struct ctl_terminal *terminal, const char *key,
                      uint64_t time_ms, uint64_t now_ms) {
  char time[CTL_TIME_BYTES], age[CTL_DURATION_BYTES], text[96];
  bool past = time_ms <= now_ms;
  if (time_ms == 0) return;
  ctl_time_format(time_ms, time);
  ctl_duration_format(past ? now_ms - time_ms : time_ms - now_ms, age);
  snprintf(text, sizeof text, past ? "%s (%s ago)" : "%s (in %s)", time, age);
  ctl_fact(out, terminal, key, CTL_PLAIN, text);
}

static void head_append(struct vow_buf *out, const struct ctl_terminal *terminal,
                        const struct ctl_txn_view *txn, uint64_t now_ms) {
  char heuristic[64];
  ctl_fact(out, terminal, "transaction", CTL_BOLD, txn->id_text);
  ctl_fact(out, terminal, "state", ctl_state_colour(txn->state), txn->state);
  ctl_fact(out, terminal, "outcome", ctl_state_colour(txn->outcome), txn->outcome);
  if (txn->heuristic != NULL) {
    snprintf(heuristic, sizeof heuristic, "%.32s, %s", txn->heuristic,
             txn->forgotten ? "forgotten by an operator" : "waits for an operator");
    ctl_fact(out, terminal, "heuristic", txn->forgotten ? CTL_FAINT : CTL_BAD, heuristic);
  }
  ctl_fact(out, terminal, "reason", CTL_PLAIN, txn->reason);
  if (txn->delegated) ctl_fact(out, terminal, "delegated", CTL_PLAIN, "commit in one phase");
  time_fact(out, terminal, "begun", txn->created_ms, now_ms);
  if (ctl_txn_open(txn)) time_fact(out, terminal, "deadline", txn->deadline_ms, now_ms);
  time_fact(out, terminal, "ended", txn->ended_ms, now_ms);
  if (txn->metadata != NULL) {
    struct vow_buf metadata;
    vow_buf_init(&metadata, CTL_STRING_BYTES_MAX);
    vow_json_dump(txn->metadata, &metadata);
    ctl_fact(out, terminal, "metadata", CTL_PLAIN, vow_buf_text(&metadata));
    if (metadata.error == VOW_E_NO_MEMORY) out->error = metadata.error;
    vow_buf_fini(&metadata);
  }
  ctl_fact(out, terminal, "traceparent", CTL_FAINT, txn->traceparent);
}

static void branch_row(struct ctl_table *table, const struct ctl_branch_view *branch) {
  char outcome[64];
  snprintf(outcome, sizeof outcome, "%.32s%s", branch->outcome == NULL ? "-" : branch->outcome,
           branch->resolved ? " (by hand)" : "");
  ctl_table_cellf(table, CTL_PLAIN, "%" PRIu64, branch->number);
  ctl_table_cell(table, CTL_PLAIN, branch->name);
  ctl_table_cell(table, ctl_state_colour(branch->state), branch->state);
  ctl_table_cell(table, CTL_PLAIN, branch->vote);
  ctl_table_cell(table, CTL_PLAIN, outcome);
  ctl_table_cellf(table, CTL_PLAIN, "%" PRIu64, branch->attempts);
  ctl_table_cell(table, CTL_PLAIN, branch->url);
}

static enum vow_error branches_append(struct vow_buf *out, const struct ctl_terminal *terminal,
                                      const struct ctl_txn_view *txn,
                                      char why[VOW_JSON_WHY_BYTES]) {
  static const char *const titles[] = {"BRANCH",  "NAME",  "STATE", "VOTE",
                                       "OUTCOME", "TRIES", "URL",   NULL};
  size_t count = txn->branches == NULL ? 0 : vow_json_array_length(txn->branches);
  enum vow_error error = VOW_OK;
  struct ctl_table table;
  if (count == 0) {
    vow_buf_puts(out, "\nNo branches.\n");
    return VOW_OK;
  }
  ctl_table_init(&table, terminal, titles, 7);
  table.right = 1U << 0 | 1U << 5;
  for (size_t i = 0; error == VOW_OK && i < count; i++) {
    struct ctl_branch_view branch;
    error = ctl_branch_view_read(vow_json_array_at(txn->branches, i), &branch, why);
    if (error == VOW_OK) branch_row(&table, &branch);
  }
  vow_buf_puts(out, "\n");
  ctl_table_flush(&table, out);
  if (error == VOW_OK) error = table.error;
  ctl_table_fini(&table);
  return error;
}

/* The last errors stand apart and whole: this is what somebody came to read. */
static enum vow_error errors_append(struct vow_buf *out, const struct ctl_txn_view *txn,
                                    uint64_t now_ms, char why[VOW_JSON_WHY_BYTES]) {
  static const char *const titles[] = {"BRANCH", "AGO", "LAST ERROR", NULL};
  static const struct ctl_terminal endless;
  size_t count = txn->branches == NULL ? 0 : vow_json_array_length(txn->branches);
  enum vow_error error = VOW_OK;
  struct ctl_table table;
  ctl_table_init(&table, &endless, titles, 3);
  table.right = 1U;
  for (size_t i = 0; error == VOW_OK && i < count; i++) {
    struct ctl_branch_view branch;
    error = ctl_branch_view_read(vow_json_array_at(txn->branches, i), &branch, why);
    if (error != VOW_OK || branch.last_error == NULL) continue;
    ctl_table_cellf(&table, CTL_PLAIN, "%" PRIu64, branch.number);
    age_cell(&table, branch.last_error_ms, now_ms);
    ctl_table_cell(&table, CTL_PLAIN, branch.last_error);
  }
  if (table.count > 0) {
    vow_buf_puts(out, "\n");
    ctl_table_flush(&table, out);
  }
  if (error == VOW_OK) error = table.error;
  ctl_table_fini(&table);
  return error;
}

static enum vow_error history_row(struct ctl_table *table, const struct vow_json_node *node,
                                  uint64_t begun_ms, char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json_object o;
  uint64_t time_ms = 0, branch = 0, count = 1;
  const char *event = NULL, *detail = NULL;
  char time[CTL_TIME_BYTES], after[CTL_DURATION_BYTES];
  vow_json_object_begin(&o, node, "history");
  vow_json_get_time(&o, "time", VOW_JSON_REQUIRED, &time_ms);
  vow_json_get_uint(&o, "branch", VOW_JSON_OPTIONAL, 0, UINT32_MAX, &branch);
  vow_json_get_uint(&o, "count", VOW_JSON_OPTIONAL, 0, UINT64_MAX, &count);
  get_text(&o, "kind", VOW_JSON_REQUIRED, &event);
  get_text(&o, "detail", VOW_JSON_OPTIONAL, &detail);
  enum vow_error error = ctl_read_end(&o, why);
  if (error != VOW_OK) return error;
  ctl_time_format(time_ms, time);
  ctl_duration_format(time_ms > begun_ms ? time_ms - begun_ms : 0, after);
  ctl_table_cell(table, CTL_PLAIN, time);
  ctl_table_cellf(table, CTL_FAINT, "+%s", after);
  if (branch == 0) {
    ctl_table_cell(table, CTL_PLAIN, "");
  } else {
    ctl_table_cellf(table, CTL_PLAIN, "%" PRIu64, branch);
  }
  if (count > 1) {
    ctl_table_cellf(table, CTL_PLAIN, "%s (%" PRIu64 " times)", event, count);
  } else {
    ctl_table_cell(table, CTL_PLAIN, event);
  }
  ctl_table_cell(table, CTL_PLAIN, detail == NULL ? "" : detail);
  return VOW_OK;
}

static enum vow_error history_append(struct vow_buf *out, const struct ctl_terminal *terminal,
                                     const struct ctl_txn_view *txn, char why[VOW_JSON_WHY_BYTES]) {
  static const char *const titles[] = {"TIME", "AFTER", "BRANCH", "EVENT", "DETAIL", NULL};
  size_t count = txn->history == NULL ? 0 : vow_json_array_length(txn->history);
  enum vow_error error = VOW_OK;
  struct ctl_table table;
  struct ctl_terminal whole = *terminal;
  if (count == 0) return VOW_OK;
  whole.width = 0;
  ctl_table_init(&table, &whole, titles, 5);
  table.right = 1U << 1 | 1U << 2;
  for (size_t i = 0; error == VOW_OK && i < count; i++) {
    error = history_row(&table, vow_json_array_at(txn->history, i), txn->created_ms, why);
  }
  vow_buf_puts(out, "\n");
  ctl_table_flush(&table, out);
  if (txn->history_dropped > 0) {
    vow_buf_printf(out, "(%" PRIu64 " more entries were not kept)\n", txn->history_dropped);
  }
  if (error == VOW_OK) error = table.error;
  ctl_table_fini(&table);
  return error;
}

enum vow_error ctl_show_append(struct vow_buf *out, const struct ctl_terminal *terminal,
                               const struct vow_json_node *node, uint64_t now_ms,
                               char why[VOW_JSON_WHY_BYTES]) {
  struct ctl_txn_view txn;
  enum vow_error error = ctl_txn_view_read(node, &txn, why);
  if (error != VOW_OK) return error;
  head_append(out, terminal, &txn, now_ms);
  error = branches_append(out, terminal, &txn, why);
  if (error == VOW_OK) error = errors_append(out, &txn, now_ms, why);
  if (error == VOW_OK) error = history_append(out, terminal, &txn, why);
  return error;
}

enum vow_error ctl_brief_append(struct vow_buf *out, const struct ctl_terminal *terminal,
                                const struct vow_json_node *node, uint64_t now_ms,
                                char why[VOW_JSON_WHY_BYTES]) {
  struct ctl_txn_view txn;
  enum vow_error error = ctl_txn_view_read(node, &txn, why);
  if (error != VOW_OK) return error;
  head_append(out, terminal, &txn, now_ms);
  return branches_append(out, terminal, &txn, why);
}
