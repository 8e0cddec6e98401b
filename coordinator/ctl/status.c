/*
 * The commands that look at the daemon itself: status, participants, backup.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "status.h"
#include "text.h"
#include "view.h"

#define PARTICIPANTS_MAX UINT32_MAX

/* ---- reading ---- */

static enum vow_error read_counts(const struct vow_json_node *node, const char *path,
                                  const char *const *keys, uint64_t *values,
                                  char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json_object o;
  vow_json_object_begin(&o, node, path);
  for (unsigned i = 0; keys[i] != NULL; i++) {
    vow_json_get_uint(&o, keys[i], VOW_JSON_REQUIRED, 0, UINT64_MAX, &values[i]);
  }
  return ctl_read_end(&o, why);
}

static enum vow_error read_parts(const struct vow_json_node *const parts[4], struct ctl_status *out,
                                 char why[VOW_JSON_WHY_BYTES]) {
  static const char *const total_keys[] = {"begun", "committed", "aborted", NULL};
  static const char *const endpoint_keys[] = {"total", "down", "requests_inflight",
                                              "messages_queued", NULL};
  static const char *const log_keys[] = {"position", "wal_bytes", "database_bytes",
                                         "checkpoint_failures", NULL};
  enum vow_error error = read_counts(parts[0], "open", ctl_open_keys, out->open, why);
  if (error == VOW_OK) error = read_counts(parts[1], "totals", total_keys, out->totals, why);
  if (error == VOW_OK) {
    error = read_counts(parts[2], "endpoints", endpoint_keys, out->endpoints, why);
  }
  if (error == VOW_OK) error = read_counts(parts[3], "log", log_keys, out->log, why);
  return error;
}

static enum vow_error read_quarantine(const struct vow_json_node *node, struct ctl_status *out,
                                      char why[VOW_JSON_WHY_BYTES]) {
  struct vow_json_object o;
  vow_json_object_begin(&o, node, "quarantine");
  vow_json_get_string(&o, "why", VOW_JSON_REQUIRED, CTL_STRING_BYTES_MAX, &out->quarantine);
  vow_json_get_time(&o, "since", VOW_JSON_REQUIRED, &out->quarantine_ms);
  vow_json_get_uint(&o, "held_back", VOW_JSON_REQUIRED, 0, UINT64_MAX, &out->held_back);
  return ctl_read_end(&o, why);
}

const char *const ctl_open_keys[] = {"active",   "preparing", "committing", "committed",
                                     "aborting", "aborted",   "heuristic",  NULL};

enum vow_error ctl_status_read(const struct vow_json_node *node, struct ctl_status *out,
                               char why[VOW_JSON_WHY_BYTES]) {
  struct ctl_status status = {0};
  struct vow_json_object o;
  const struct vow_json_node *parts[4] = {NULL}, *quarantine = NULL;
  vow_json_object_begin(&o, node, "status");
  vow_json_get_string(&o, "version", VOW_JSON_REQUIRED, CTL_STRING_BYTES_MAX, &status.version);
  vow_json_get_time(&o, "started", VOW_JSON_REQUIRED, &status.started_ms);
  vow_json_get_uint(&o, "starts", VOW_JSON_REQUIRED, 0, UINT64_MAX, &status.starts);
  vow_json_get_bool(&o, "ready", VOW_JSON_REQUIRED, &status.ready);
  vow_json_get_bool(&o, "loading", VOW_JSON_REQUIRED, &status.loading);
  vow_json_get_bool(&o, "draining", VOW_JSON_REQUIRED, &status.draining);
  vow_json_get_bool(&o, "log_space_low", VOW_JSON_REQUIRED, &status.log_space_low);
  vow_json_get_bool(&o, "log_moved", VOW_JSON_OPTIONAL, &status.log_moved);
  vow_json_get_uint(&o, "recovering", VOW_JSON_REQUIRED, 0, UINT64_MAX, &status.recovering);
  vow_json_get_uint(&o, "recovered", VOW_JSON_REQUIRED, 0, UINT64_MAX, &status.recovered);
  vow_json_get_object(&o, "quarantine", VOW_JSON_OPTIONAL, &quarantine);
  vow_json_get_object(&o, "open", VOW_JSON_REQUIRED, &parts[0]);
  vow_json_get_object(&o, "totals", VOW_JSON_REQUIRED, &parts[1]);
  vow_json_get_object(&o, "endpoints", VOW_JSON_REQUIRED, &parts[2]);
  vow_json_get_object(&o, "log", VOW_JSON_REQUIRED, &parts[3]);
  enum vow_error error = ctl_read_end(&o, why);
  if (error != VOW_OK) return error;
  error = read_parts(parts, &status, why);
  if (error == VOW_OK && quarantine != NULL) error = read_quarantine(quarantine, &status, why);
  if (error == VOW_OK) *out = status;
  return error;
}

/* ---- showing ---- */

static const char *condition(const struct ctl_status *status) {
  if (status->quarantine != NULL) return "IN QUARANTINE: its log may have lost records";
  if (status->log_moved) return "WITHOUT ITS LOG: it was moved or deleted";
  if (status->loading) return "loading its log";
  if (status->draining) return "draining: it takes no new transactions";
  if (status->log_space_low) return "short of disk: it takes no new transactions";
  return status->ready ? "ready" : "not ready";
}

static void quarantine_fact(struct vow_buf *out, const struct ctl_terminal *terminal,
                            const struct ctl_status *status) {
  char since[CTL_TIME_BYTES], text[128];
  if (status->quarantine == NULL) return;
  ctl_time_format(status->quarantine_ms, since);
  ctl_fact(out, terminal, "quarantine", CTL_BAD, status->quarantine);
  snprintf(text, sizeof text, "since %s; %" PRIu64 " transactions are held back", since,
           status->held_back);
  ctl_fact(out, terminal, "", CTL_BAD, text);
  ctl_fact(out, terminal, "", CTL_BAD, CTL_QUARANTINE_ADVICE);
}

static void open_fact(struct vow_buf *out, const struct ctl_terminal *terminal,
                      const struct ctl_status *status) {
  char text[256];
  snprintf(text, sizeof text,
           "%" PRIu64 " active, %" PRIu64 " preparing, %" PRIu64 " committing, %" PRIu64
           " aborting",
           status->open[CTL_OPEN_ACTIVE], status->open[CTL_OPEN_PREPARING],
           status->open[CTL_OPEN_COMMITTING], status->open[CTL_OPEN_ABORTING]);
  ctl_fact(out, terminal, "open", CTL_PLAIN, text);
  if (status->open[CTL_OPEN_HEURISTIC] == 0) return;
  snprintf(text, sizeof text, "%" PRIu64 " wait for an operator: vowctl list --heuristic",
           status->open[CTL_OPEN_HEURISTIC]);
  ctl_fact(out, terminal, "heuristic", CTL_BAD, text);
}

/* In quarantine what is undecided is held back, and after a start what is decided is not pushed
 * either: that does not go by itself. What was being pushed when quarantine began goes on. */
static void recovery_fact(struct vow_buf *out, const struct ctl_terminal *terminal,
                          const struct ctl_status *status) {
  char text[128];
  uint64_t all = status->recovering + status->recovered;
  snprintf(
      text, sizeof text, "%" PRIu64 " of %" PRIu64 " ended, %" PRIu64 " %s", status->recovered, all,
      status->recovering,
      status->quarantine == NULL ? "to go" : "left, which may wait until the log is reconciled");
  if (all > 0) {
    ctl_fact(out, terminal, "recovery", status->recovering > 0 ? CTL_WARN : CTL_PLAIN, text);
  }
}

static void endpoint_fact(struct vow_buf *out, const struct ctl_terminal *terminal,
                          const struct ctl_status *status) {
  char text[160];
  snprintf(text, sizeof text,
           "%" PRIu64 " known, %" PRIu64 " down; %" PRIu64 " requests under way, %" PRIu64
           " messages wait",
           status->endpoints[0], status->endpoints[1], status->endpoints[2], status->endpoints[3]);
  ctl_fact(out, terminal, "endpoints", status->endpoints[1] > 0 ? CTL_BAD : CTL_PLAIN, text);
}

static void log_fact(struct vow_buf *out, const struct ctl_terminal *terminal,
                     const struct ctl_status *status) {
  char database[CTL_DURATION_BYTES], wal[CTL_DURATION_BYTES], text[160];
  ctl_bytes_format(status->log[2], database);
  ctl_bytes_format(status->log[1], wal);
  snprintf(text, sizeof text, "position %" PRIu64 ", start %" PRIu64 ", %s and %s of write-ahead",
           status->log[0], status->starts, database, wal);
  ctl_fact(out, terminal, "log", CTL_PLAIN, text);
  if (status->log[3] == 0) return;
  snprintf(text, sizeof text, "%" PRIu64 " checkpoints have failed; see the daemon's log",
           status->log[3]);
  ctl_fact(out, terminal, "", CTL_BAD, text);
}

void ctl_status_append(struct vow_buf *out, const struct ctl_terminal *terminal,
                       const struct ctl_status *status, uint64_t now_ms) {
  char age[CTL_DURATION_BYTES], text[256];
  ctl_duration_format(now_ms > status->started_ms ? now_ms - status->started_ms : 0, age);
  snprintf(text, sizeof text, "%s (vowd %.40s, up %s)", condition(status), status->version, age);
  ctl_fact(out, terminal, "daemon",
           status->ready                                     ? CTL_GOOD
           : status->quarantine != NULL || status->log_moved ? CTL_BAD
                                                             : CTL_WARN,
           text);
  if (status->log_moved) ctl_fact(out, terminal, "", CTL_BAD, CTL_LOG_MOVED_ADVICE);
  quarantine_fact(out, terminal, status);
  open_fact(out, terminal, status);
  recovery_fact(out, terminal, status);
  snprintf(text, sizeof text, "%" PRIu64 " begun, %" PRIu64 " committed, %" PRIu64 " aborted",
           status->totals[0], status->totals[1], status->totals[2]);
  ctl_fact(out, terminal, "since start", CTL_PLAIN, text);
  endpoint_fact(out, terminal, status);
  log_fact(out, terminal, status);
}

/* What `status --check` looks for: whatever does not go away by itself, or keeps work waiting. */
struct verdict {
  const char *what; /* NULL: nothing of that */
  const char *todo;
};

static struct verdict judge(const struct ctl_status *status) {
  const char *what = NULL, *todo = NULL;
  if (status->quarantine != NULL) {
    what = "the log may have lost records and is in quarantine";
    todo = CTL_QUARANTINE_ADVICE;
  } else if (status->log_moved) {
    what = "the log was moved or deleted, and vowd takes no new transactions";
    todo = CTL_LOG_MOVED_ADVICE;
  } else if (!status->ready) {
    what = "the daemon takes no new transactions";
    todo = "See `vowctl status` and the daemon's log.";
  } else if (status->open[CTL_OPEN_HEURISTIC] > 0) {
    what = "transactions with a heuristic outcome wait for an operator";
    todo = "`vowctl list --heuristic` lists them.";
  } else if (status->endpoints[1] > 0) {
    what = "participants are down";
    todo = "`vowctl participants` tells which, and why.";
  } else if (status->recovering > 0) {
    what = "recovery is not finished";
    todo = "Look again in a while; `vowctl watch` shows how it goes.";
  } else if (status->log[3] > 0) {
    what = "checkpoints of the log have failed";
    todo = "The daemon's log says why.";
  }
  return (struct verdict){what, todo};
}

static enum vow_error read_status(void *context, const struct vow_json_node *root,
                                  struct vow_buf *out, char why[VOW_JSON_WHY_BYTES]) {
  struct ctl_terminal terminal;
  struct ctl_status status;
  enum vow_error error = ctl_status_read(root, &status, why);
  if (error != VOW_OK) return error;
  ctl_terminal_of(stdout, &terminal);
  ctl_status_append(out, &terminal, &status, ctl_now_ms());
  *(struct verdict *)context = judge(&status);
  return VOW_OK;
}

enum ctl_exit ctl_status(const struct ctl_args *args) {
  struct verdict verdict = {0};
  enum ctl_exit code = ctl_client_ask(args, "GET", "/v1/status", NULL, read_status, &verdict);
  if (code != CTL_EXIT_OK || verdict.what == NULL || !ctl_given(args, CTL_OPT_CHECK)) return code;
  return ctl_fail(CTL_EXIT_ATTENTION, verdict.todo, "%s.", verdict.what);
}

/* ---- participants ---- */

static enum vow_error participant_row(struct ctl_table *table, const struct vow_json_node *node,
                                      char why[VOW_JSON_WHY_BYTES]) {
  static const char *const keys[] = {"branches", "queued", "inflight", "failures_in_row", NULL};
  const char *name = NULL, *url = NULL, *state = NULL, *last_error = NULL;
  char retry[CTL_DURATION_BYTES] = "-";
  uint64_t numbers[4] = {0}, retry_in_ms = UINT64_MAX;
  struct vow_json_object o;
  vow_json_object_begin(&o, node, "participant");
  vow_json_get_string(&o, "name", VOW_JSON_OPTIONAL, CTL_STRING_BYTES_MAX, &name);
  vow_json_get_string(&o, "url", VOW_JSON_REQUIRED, CTL_STRING_BYTES_MAX, &url);
  vow_json_get_string(&o, "state", VOW_JSON_REQUIRED, CTL_STRING_BYTES_MAX, &state);
  vow_json_get_string(&o, "last_error", VOW_JSON_OPTIONAL, CTL_STRING_BYTES_MAX, &last_error);
  vow_json_get_uint(&o, "retry_in_ms", VOW_JSON_OPTIONAL, 0, UINT64_MAX, &retry_in_ms);
  enum vow_error error = ctl_read_end(&o, why);
  if (error != VOW_OK) return error;
  error = read_counts(node, "participant", keys, numbers, why);
  if (error != VOW_OK) return error;
  bool down = strcmp(state, "down") == 0;
  if (down && retry_in_ms != UINT64_MAX) ctl_duration_format(retry_in_ms, retry);
  ctl_table_cell(table, CTL_PLAIN, name);
  ctl_table_cell(table, down ? CTL_BAD : strcmp(state, "up") == 0 ? CTL_GOOD : CTL_FAINT, state);
  for (unsigned i = 0; i < 4; i++) ctl_table_cellf(table, CTL_PLAIN, "%" PRIu64, numbers[i]);
  ctl_table_cell(table, CTL_PLAIN, retry);
  ctl_table_cell(table, CTL_PLAIN, url);
  ctl_table_cell(table, CTL_PLAIN, last_error == NULL ? "" : last_error);
  return VOW_OK;
}

static enum vow_error read_participants(void *context, const struct vow_json_node *root,
                                        struct vow_buf *out, char why[VOW_JSON_WHY_BYTES]) {
  static const char *const titles[] = {"NAME",  "STATE", "BRANCHES", "WAITING",    "UNDER WAY",
                                       "FAILS", "RETRY", "URL",      "LAST ERROR", NULL};
  const struct vow_json_node *array = NULL;
  struct ctl_terminal terminal;
  struct vow_json_object o;
  struct ctl_table table;
  (void)context;
  ctl_terminal_of(stdout, &terminal);
  vow_json_object_begin(&o, root, "");
  vow_json_get_array(&o, "participants", VOW_JSON_REQUIRED, PARTICIPANTS_MAX, &array);
  enum vow_error error = ctl_read_end(&o, why);
  if (error != VOW_OK) return error;
  ctl_table_init(&table, &terminal, titles, 9);
  table.right = 1U << 2 | 1U << 3 | 1U << 4 | 1U << 5 | 1U << 6;
  for (size_t i = 0; error == VOW_OK && i < vow_json_array_length(array); i++) {
    error = participant_row(&table, vow_json_array_at(array, i), why);
  }
  ctl_table_flush(&table, out);
  if (error == VOW_OK) error = table.error;
  ctl_table_fini(&table);
  return error;
}

enum ctl_exit ctl_participants(const struct ctl_args *args) {
  return ctl_client_ask(args, "GET", "/v1/participants", NULL, read_participants, NULL);
}

/* ---- backup ---- */

static enum vow_error read_backup(void *context, const struct vow_json_node *root,
                                  struct vow_buf *out, char why[VOW_JSON_WHY_BYTES]) {
  char size[CTL_DURATION_BYTES];
  const char *path = NULL;
  uint64_t bytes = 0;
  struct vow_json_object o;
  (void)context;
  vow_json_object_begin(&o, root, "backup");
  vow_json_get_string(&o, "path", VOW_JSON_REQUIRED, CTL_STRING_BYTES_MAX, &path);
  vow_json_get_uint(&o, "bytes", VOW_JSON_REQUIRED, 0, UINT64_MAX, &bytes);
  enum vow_error error = ctl_read_end(&o, why);
  if (error != VOW_OK) return error;
  ctl_bytes_format(bytes, size);
  ctl_safe_append(out, path);
  vow_buf_printf(out, ": %s written\n", size);
  return VOW_OK;
}

enum ctl_exit ctl_backup(const struct ctl_args *args) {
  struct vow_buf body;
  struct vow_jsonw w;
  if (args->operand[0] != '/') {
    return ctl_fail(CTL_EXIT_USAGE, "Begin it with a slash: the daemon writes it on its machine.",
                    "\"%s\" is not an absolute path.", args->operand);
  }
  vow_buf_init(&body, CTL_STRING_BYTES_MAX);
  vow_jsonw_init(&w, &body);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_string(&w, "path", args->operand);
  vow_jsonw_end(&w);
  enum ctl_exit code = ctl_client_ask(args, "POST", "/v1/backup", &body, read_backup, NULL);
  vow_buf_fini(&body);
  return code;
}
