/*
 * What a recovery has come to: a table and a few sentences, or one JSON document. See recover.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/txn_json.h"
#include "offline.h"
#include "output.h"
#include "recover.h"
#include "text.h"
#include "url.h"
#include "view.h"

enum group { GROUP_ENDED, GROUP_LEFT, GROUP_UNKNOWN, GROUP_HEURISTIC, GROUP_COUNT };

void ctl_report_fini(struct ctl_report *report) {
  for (size_t i = 0; i < report->count; i++) vow_txn_fini(&report->results[i].txn);
  free(report->results);
  memset(report, 0, sizeof *report);
}

enum ctl_exit ctl_report_of(struct ctl_work *work, struct ctl_report *report) {
  report->results = calloc(work->count + 1, sizeof *report->results);
  if (report->results == NULL) return ctl_no_memory();
  for (size_t i = 0; i < work->count; i++) {
    report->results[i].txn = work->txns[i];
    report->results[i].ended = ctl_plan_of(&work->txns[i]) == CTL_PLAN_OPERATOR;
  }
  report->count = work->count;
  work->count = 0;
  return CTL_EXIT_OK;
}

static enum group group_of(const struct ctl_result *result) {
  if (!result->ended) return GROUP_LEFT;
  if (result->unknown) return GROUP_UNKNOWN;
  bool waits = result->txn.heuristic != VOW_HEURISTIC_NONE && !result->txn.forgotten;
  return waits ? GROUP_HEURISTIC : GROUP_ENDED;
}

struct counts {
  size_t groups[GROUP_COUNT];
  size_t committed, aborted;
};

static void count_results(const struct ctl_report *report, struct counts *out) {
  struct counts counts = {0};
  for (size_t i = 0; i < report->count; i++) {
    counts.groups[group_of(&report->results[i])]++;
    counts.committed += report->results[i].txn.state == VOW_TXN_COMMITTED;
    counts.aborted += report->results[i].txn.state == VOW_TXN_ABORTED;
  }
  *out = counts;
}

/* ---- for programs ---- */

static void group_json(struct vow_jsonw *w, const char *key, const struct ctl_report *report,
                       enum group group) {
  vow_jsonw_array(w, key);
  for (size_t i = 0; i < report->count; i++) {
    if (group_of(&report->results[i]) != group) continue;
    vow_txn_json_write(w, NULL, &report->results[i].txn, VOW_TXN_JSON_SUMMARY);
  }
  vow_jsonw_end(w);
}

static void print_json(const struct ctl_args *args, const struct ctl_report *report) {
  struct vow_buf out;
  struct vow_jsonw w;
  vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
  vow_jsonw_init(&w, &out);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_string(&w, "log", args->text[CTL_OPT_LOG]);
  vow_jsonw_bool(&w, "dry_run", false);
  vow_jsonw_uint(&w, "duration_ms", report->duration_ms);
  vow_jsonw_bool(&w, "interrupted", report->interrupted);
  vow_jsonw_bool(&w, "timed_out", report->timed_out);
  if (report->quarantine[0] != '\0') vow_jsonw_string(&w, "quarantine", report->quarantine);
  group_json(&w, "ended", report, GROUP_ENDED);
  group_json(&w, "left", report, GROUP_LEFT);
  group_json(&w, "unknown", report, GROUP_UNKNOWN);
  group_json(&w, "heuristic", report, GROUP_HEURISTIC);
  vow_jsonw_end(&w);
  vow_buf_puts(&out, "\n");
  ctl_put(&out);
  vow_buf_fini(&out);
}

/* ---- for people ---- */

/* Why it is left, where no error says it: somebody has been asked and has not answered yet. */
static void say_who_is_silent(const struct vow_txn *txn, char *out, size_t bytes) {
  out[0] = '\0';
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct vow_branch *branch = &txn->branches[i];
    if (ctl_plan_branch_done(branch)) continue;
    if (branch->last_error != NULL) {
      out[0] = '\0';
      return;
    }
    if (out[0] == '\0') snprintf(out, bytes, "no answer yet from %s", branch->url);
  }
}

static enum vow_error add_row(struct ctl_table *table, const struct vow_txn *txn, bool left,
                              uint64_t now_ms) {
  char silent[VOW_URL_BYTES_MAX + 32] = "";
  char why[VOW_JSON_WHY_BYTES];
  struct ctl_txn_view view;
  struct vow_json *json = NULL;
  struct vow_buf text;
  struct vow_jsonw w;
  vow_buf_init(&text, CTL_OUTPUT_BYTES_MAX);
  vow_jsonw_init(&w, &text);
  vow_txn_json_write(&w, NULL, txn, VOW_TXN_JSON_SUMMARY);
  enum vow_error error = text.error;
  if (error == VOW_OK) error = vow_json_parse(&json, vow_buf_text(&text), text.bytes, why);
  if (error == VOW_OK) error = ctl_txn_view_read(vow_json_root(json), &view, why);
  if (left) say_who_is_silent(txn, silent, sizeof silent);
  if (error == VOW_OK && silent[0] != '\0') view.reason = silent;
  if (error == VOW_OK) ctl_list_row(table, &view, now_ms);
  vow_json_free(json);
  vow_buf_fini(&text);
  return error;
}

static void group_table(struct vow_buf *out, const struct ctl_terminal *terminal,
                        const struct ctl_report *report, enum group group, const char *heading) {
  uint64_t now_ms = ctl_now_ms();
  struct ctl_table table;
  ctl_table_init(&table, terminal, ctl_list_titles, CTL_LIST_COLUMNS);
  for (size_t i = 0; i < report->count; i++) {
    if (group_of(&report->results[i]) != group) continue;
    if (add_row(&table, &report->results[i].txn, group == GROUP_LEFT, now_ms) != VOW_OK) break;
  }
  vow_buf_printf(out, "\n%s\n", heading);
  ctl_table_flush(&table, out);
  ctl_table_fini(&table);
}

static void print_text(const struct ctl_report *report, const struct counts *counts) {
  struct ctl_terminal terminal;
  char took[CTL_DURATION_BYTES];
  struct vow_buf out;
  ctl_terminal_of(stdout, &terminal);
  ctl_duration_format(report->duration_ms, took);
  vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
  if (counts->groups[GROUP_LEFT] > 0) {
    group_table(&out, &terminal, report, GROUP_LEFT, "Left, with the last error of each:");
  }
  if (counts->groups[GROUP_UNKNOWN] > 0) {
    group_table(&out, &terminal, report, GROUP_UNKNOWN,
                "Committed, but a participant does not know its branch:");
  }
  if (counts->groups[GROUP_HEURISTIC] > 0) {
    group_table(&out, &terminal, report, GROUP_HEURISTIC, "Waiting for an operator:");
  }
  if (out.bytes > 0) vow_buf_puts(&out, "\n");
  vow_buf_printf(&out,
                 "%zu of %zu transactions ended (%zu committed, %zu aborted) in %s; %zu left, %zu "
                 "wait for an operator\n",
                 counts->groups[GROUP_ENDED] + counts->groups[GROUP_HEURISTIC], report->count,
                 counts->committed, counts->aborted, took, counts->groups[GROUP_LEFT],
                 counts->groups[GROUP_UNKNOWN] + counts->groups[GROUP_HEURISTIC]);
  ctl_put(&out);
  vow_buf_fini(&out);
}

enum ctl_exit ctl_report_print(const struct ctl_args *args, const struct ctl_report *report) {
  struct counts counts;
  count_results(report, &counts);
  if (ctl_given(args, CTL_OPT_JSON)) {
    print_json(args, report);
  } else {
    print_text(report, &counts);
  }
  if (report->quarantine[0] != '\0') {
    return ctl_fail(CTL_EXIT_ATTENTION, CTL_RECONCILE_FIRST,
                    "nothing more may be concluded from this log: %s.", report->quarantine);
  }
  if (counts.groups[GROUP_LEFT] > 0) {
    return ctl_fail(CTL_EXIT_ATTENTION,
                    "Bring their participants back and run it again; what is done stays done.",
                    "%s, and %zu transactions are left.",
                    report->interrupted ? "it was interrupted"
                    : report->timed_out ? "the time is over"
                                        : "it stopped",
                    counts.groups[GROUP_LEFT]);
  }
  if (counts.groups[GROUP_UNKNOWN] > 0) {
    return ctl_fail(CTL_EXIT_ATTENTION, CTL_UNKNOWN_ADVICE,
                    "%zu committed transactions have branches that their participants do not know.",
                    counts.groups[GROUP_UNKNOWN]);
  }
  if (counts.groups[GROUP_HEURISTIC] > 0) {
    return ctl_fail(CTL_EXIT_ATTENTION,
                    "Put the data right, start vowd, then let go of each with `vowctl forget`.",
                    "everything has ended, but %zu transactions have a heuristic outcome.",
                    counts.groups[GROUP_HEURISTIC]);
  }
  return CTL_EXIT_OK;
}
