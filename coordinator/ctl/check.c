/*
 * The command `check`: is the log of a dead daemon sound, what in it is in doubt, and what would
 * `recover` do about it? It changes nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "offline.h"
#include "output.h"
#include "plan.h"
#include "status.h"
#include "text.h"
#include "view.h"

struct check {
  const struct ctl_args *args;
  struct ctl_terminal terminal;
  struct vow_log_info info;
  uint64_t now_ms;
  uint64_t rows_checked, rows_bad;
  bool history_only;          /* the bad rows have ended, and are all that is wrong */
  uint64_t in_doubt, waiting; /* transactions: of any plan that sends, and for an operator */
  uint64_t unknown;           /* for an operator, too: only unknown branches are left */
  enum vow_error error;       /* of the integrity check as a whole */
  char why[VOW_LOG_WHY_BYTES];
  struct ctl_table table;
  struct vow_buf items;   /* of --json: the open transactions */
  struct vow_buf damaged; /* of --json: the open rows that cannot be read */
  struct vow_jsonw items_w, damaged_w;
};

static const char *const titles[] = {"ID", "STATE", "AGE", "BRANCHES", "RECOVER WOULD", NULL};

static void check_init(struct check *check, const struct ctl_args *args) {
  memset(check, 0, sizeof *check);
  check->args = args;
  check->now_ms = ctl_now_ms();
  ctl_terminal_of(stdout, &check->terminal);
  ctl_table_init(&check->table, &check->terminal, titles, 5);
  vow_buf_init(&check->items, CTL_OUTPUT_BYTES_MAX);
  vow_buf_init(&check->damaged, CTL_OUTPUT_BYTES_MAX);
  vow_jsonw_init(&check->items_w, &check->items);
  vow_jsonw_init(&check->damaged_w, &check->damaged);
  vow_jsonw_array(&check->items_w, NULL);
  vow_jsonw_array(&check->damaged_w, NULL);
}

static void check_fini(struct check *check) {
  ctl_table_fini(&check->table);
  vow_buf_fini(&check->items);
  vow_buf_fini(&check->damaged);
}

static void add_row(struct check *check, const struct vow_txn *txn, enum ctl_plan plan) {
  char id[VOW_ID_TEXT_BYTES], age[CTL_DURATION_BYTES];
  enum vow_message_type type;
  uint32_t messages = 0;
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    messages += ctl_plan_message(txn, &txn->branches[i], &type);
  }
  const char *state = vow_txn_state_name(txn->state);
  vow_id_format(txn->id, id);
  ctl_duration_format(check->now_ms > txn->created_ms ? check->now_ms - txn->created_ms : 0, age);
  ctl_table_cell(&check->table, CTL_PLAIN, id);
  ctl_table_cell(&check->table, ctl_state_colour(state), state);
  ctl_table_cell(&check->table, CTL_PLAIN, age);
  ctl_table_cellf(&check->table, CTL_PLAIN, "%u/%u", txn->branch_count - messages,
                  txn->branch_count);
  ctl_table_cell(&check->table, plan >= CTL_PLAN_UNKNOWN ? CTL_BAD : CTL_PLAIN,
                 ctl_plan_text(plan));
}

static enum ctl_exit take_open(void *context, struct vow_txn *txn) {
  struct check *check = context;
  enum ctl_plan plan = ctl_plan_of(txn);
  if (plan == CTL_PLAN_OPERATOR) {
    check->waiting++;
  } else if (plan == CTL_PLAN_UNKNOWN) {
    check->unknown++;
  } else {
    check->in_doubt++;
  }
  if (ctl_given(check->args, CTL_OPT_JSON)) {
    ctl_plan_write(&check->items_w, txn);
  } else {
    add_row(check, txn, plan);
  }
  if (check->items.error == VOW_OK && check->table.error == VOW_OK) return CTL_EXIT_OK;
  return ctl_fail(CTL_EXIT_FAILED, "Give it more memory.", "there are too many to list.");
}

static void take_bad(void *context, struct vow_id id, const char *why) {
  struct check *check = context;
  (void)ctl_fail(CTL_EXIT_LOG_DAMAGED, NULL, "%s.", why);
  vow_jsonw_object(&check->damaged_w, NULL);
  vow_jsonw_id(&check->damaged_w, "id", id);
  vow_jsonw_string(&check->damaged_w, "error", why);
  vow_jsonw_end(&check->damaged_w);
}

static void take_check(void *context, const struct vow_log_result *result) {
  struct check *check = context;
  check->error = result->error;
  check->rows_checked = result->rows_checked;
  check->rows_bad = result->rows_bad;
  check->history_only = result->history_only;
  snprintf(check->why, sizeof check->why, "%s", result->why == NULL ? "" : result->why);
}

static bool sound(const struct check *check) {
  return check->error == VOW_OK && check->rows_bad == 0;
}

static void print_json(struct check *check) {
  struct vow_buf out;
  struct vow_jsonw w;
  vow_jsonw_end(&check->items_w);
  vow_jsonw_end(&check->damaged_w);
  vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
  vow_jsonw_init(&w, &out);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_string(&w, "log", check->args->text[CTL_OPT_LOG]);
  vow_jsonw_bool(&w, "sound", sound(check));
  if (!sound(check)) {
    vow_jsonw_string(&w, "error", check->why);
    vow_jsonw_bool(&w, "history_only", check->history_only);
  }
  vow_jsonw_string(&w, "advertise_url", check->info.advertise_url);
  vow_jsonw_uint(&w, "starts", check->info.starts);
  vow_jsonw_uint(&w, "position", check->info.position);
  if (check->info.backup_ms != 0) vow_jsonw_time(&w, "backup", check->info.backup_ms);
  if (check->info.quarantined_ms != 0) vow_jsonw_string(&w, "quarantine", check->info.why);
  vow_jsonw_uint(&w, "rows_checked", check->rows_checked);
  vow_jsonw_uint(&w, "rows_bad", check->rows_bad);
  vow_jsonw_uint(&w, "ended", check->info.ended);
  vow_jsonw_uint(&w, "in_doubt", check->in_doubt);
  vow_jsonw_uint(&w, "waiting_for_operator", check->waiting + check->unknown);
  vow_jsonw_raw(&w, "open", vow_buf_text(&check->items), check->items.bytes);
  vow_jsonw_raw(&w, "damaged", vow_buf_text(&check->damaged), check->damaged.bytes);
  vow_jsonw_end(&w);
  vow_buf_puts(&out, "\n");
  ctl_put(&out);
  vow_buf_fini(&out);
}

/* A backup is in quarantine once it is started on, and not before. */
static void quarantine_fact(struct vow_buf *out, const struct check *check) {
  char time[CTL_TIME_BYTES], text[128];
  if (check->info.backup_ms != 0) {
    ctl_time_format(check->info.backup_ms, time);
    snprintf(text, sizeof text, "made %s; vowd starts on it in quarantine", time);
    ctl_fact(out, &check->terminal, "backup", CTL_PLAIN, text);
  }
  if (check->info.quarantined_ms == 0) return;
  ctl_fact(out, &check->terminal, "quarantine", CTL_BAD, check->info.why);
}

static void print_text(struct check *check) {
  struct vow_buf out;
  char text[256];
  vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
  ctl_fact(&out, &check->terminal, "log", CTL_PLAIN, check->args->text[CTL_OPT_LOG]);
  if (sound(check)) {
    snprintf(text, sizeof text, "sound; %" PRIu64 " transactions checked", check->rows_checked);
  } else {
    snprintf(text, sizeof text, "damaged; %" PRIu64 " of %" PRIu64 " transactions are bad",
             check->rows_bad, check->rows_checked);
  }
  ctl_fact(&out, &check->terminal, "integrity", sound(check) ? CTL_GOOD : CTL_BAD, text);
  snprintf(text, sizeof text, "start %" PRIu64 ", position %" PRIu64, check->info.starts,
           check->info.position);
  ctl_fact(&out, &check->terminal, "written", CTL_PLAIN, text);
  quarantine_fact(&out, check);
  if (check->info.advertise_url[0] != '\0')
    ctl_fact(&out, &check->terminal, "coordinator", CTL_PLAIN, check->info.advertise_url);
  snprintf(text, sizeof text,
           "%" PRIu64 " in doubt, %" PRIu64 " wait for an operator, %" PRIu64 " ended",
           check->in_doubt, check->waiting + check->unknown, check->info.ended);
  ctl_fact(&out, &check->terminal, "transactions",
           check->in_doubt + check->waiting + check->unknown > 0 ? CTL_WARN : CTL_PLAIN, text);
  if (check->table.count > 0) {
    vow_buf_puts(&out, "\n");
    ctl_table_flush(&check->table, &out);
  }
  ctl_put(&out);
  vow_buf_fini(&out);
}

static enum ctl_exit judge(const struct check *check) {
  if (check->history_only) {
    return ctl_fail(CTL_EXIT_LOG_DAMAGED,
                    "What is open is whole, and vowd starts on it: a backup would lose more. Look "
                    "after the disk; the runbook says more of a damaged row of the history.",
                    "%s.", check->why);
  }
  if (!sound(check)) {
    return ctl_log_fail(VOW_E_LOG_CORRUPT,
                        check->why[0] == '\0' ? "rows of the log are damaged" : check->why);
  }
  if (check->info.quarantined_ms != 0) {
    return ctl_fail(CTL_EXIT_ATTENTION, CTL_QUARANTINE_ADVICE, "the log may have lost records: %s.",
                    check->info.why);
  }
  if (check->in_doubt > 0) {
    return ctl_fail(
        CTL_EXIT_ATTENTION,
        check->info.backup_ms != 0
            ? "The backup is good; whoever restores it reconciles them."
            : "Start vowd on this log, or drive them to their end with `vowctl recover`.",
        "transactions are in doubt: %" PRIu64 ".", check->in_doubt);
  }
  if (check->unknown > 0) {
    return ctl_fail(CTL_EXIT_ATTENTION, CTL_UNKNOWN_ADVICE,
                    "transactions have branches that their participants do not know: %" PRIu64 ".",
                    check->unknown);
  }
  if (check->waiting > 0) {
    return ctl_fail(CTL_EXIT_ATTENTION, "Start vowd; put the data right, then use `vowctl forget`.",
                    "transactions wait for an operator: %" PRIu64 ".", check->waiting);
  }
  return CTL_EXIT_OK;
}

enum ctl_exit ctl_check(const struct ctl_args *args) {
  struct vow_log *log = NULL;
  struct check check;
  check_init(&check, args);
  enum ctl_exit code = ctl_log_open(args, &log);
  if (code != CTL_EXIT_OK) goto out;
  vow_log_info(log, &check.info);
  struct vow_log_query query = {.type = VOW_LOG_QUERY_CHECK, .done = take_check, .context = &check};
  enum vow_error error = vow_log_query_now(log, &query);
  if (error != VOW_OK) {
    code = ctl_log_fail(error, vow_error_text(error));
    goto out;
  }
  if (check.error != VOW_OK && check.error != VOW_E_LOG_CORRUPT) {
    code = ctl_log_fail(check.error, check.why);
    goto out;
  }
  struct ctl_open_reader reader = {.take = take_open, .bad = take_bad, .context = &check};
  code = ctl_read_open(log, &reader);
  if (code != CTL_EXIT_OK) goto out;
  if (ctl_given(args, CTL_OPT_JSON)) {
    print_json(&check);
  } else {
    print_text(&check);
  }
  code = judge(&check);
out:
  check_fini(&check);
  vow_log_close(log);
  return code;
}
