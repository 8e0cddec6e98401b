/*
 * The command `recover`: drives every transaction that the log of a dead daemon has in doubt to its
 * end. First the log is read without changing it, which is all that --dry-run does; then somebody
 * confirms; then the core of the daemon itself runs on it (recover_run.c), so that what recovers is
 * what would have run.
 */
#include "recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "offline.h"
#include "output.h"
#include "prompt.h"
#include "text.h"
#include "view.h"

void ctl_work_fini(struct ctl_work *work) {
  for (size_t i = 0; i < work->count; i++) vow_txn_fini(&work->txns[i]);
  free(work->txns);
  free(work->advertise_url);
  memset(work, 0, sizeof *work);
}

static enum ctl_exit take_open(void *context, struct vow_txn *txn) {
  struct ctl_work *work = context;
  if (work->count == work->capacity) {
    size_t capacity = work->capacity == 0 ? 64 : work->capacity * 2;
    struct vow_txn *txns = reallocarray(work->txns, capacity, sizeof *txns);
    if (txns == NULL) return ctl_no_memory();
    work->txns = txns;
    work->capacity = capacity;
  }
  enum ctl_plan plan = ctl_plan_of(txn);
  work->by_plan[plan]++;
  work->to_do += plan != CTL_PLAN_OPERATOR;
  work->waiting += plan == CTL_PLAN_OPERATOR || plan == CTL_PLAN_UNKNOWN;
  work->txns[work->count++] = *txn;
  memset(txn, 0, sizeof *txn);
  return CTL_EXIT_OK;
}

static enum ctl_exit read_address(const struct vow_log_info *info, struct ctl_work *work) {
  work->advertise_url = strdup(info->advertise_url);
  return work->advertise_url == NULL ? ctl_no_memory() : CTL_EXIT_OK;
}

static enum ctl_exit read_work(const struct ctl_args *args, struct ctl_work *work) {
  struct vow_log *log = NULL;
  struct vow_log_info info;
  enum ctl_exit code = ctl_log_open(args, &log);
  if (code != CTL_EXIT_OK) return code;
  /* Without `bad`: a log with a damaged row is not recovered from. */
  struct ctl_open_reader reader = {.take = take_open, .context = work};
  vow_log_info(log, &info);
  work->starts = info.starts;
  if (info.quarantined_ms != 0 || info.backup_ms != 0) {
    code = ctl_fail(CTL_EXIT_ATTENTION, CTL_RECONCILE_FIRST,
                    "nothing may be concluded from this log: %s.",
                    info.quarantined_ms != 0 ? info.why : "it is a backup");
  } else {
    code = read_address(&info, work);
  }
  if (code == CTL_EXIT_OK) code = ctl_read_open(log, &reader);
  vow_log_close(log);
  return code;
}

/* ---- dry run ---- */

static void plan_json(const struct ctl_args *args, const struct ctl_work *work) {
  struct vow_buf out;
  struct vow_jsonw w;
  vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
  vow_jsonw_init(&w, &out);
  vow_jsonw_object(&w, NULL);
  vow_jsonw_string(&w, "log", args->text[CTL_OPT_LOG]);
  vow_jsonw_bool(&w, "dry_run", true);
  vow_jsonw_uint(&w, "in_doubt", work->count - work->waiting);
  vow_jsonw_uint(&w, "waiting_for_operator", work->waiting);
  vow_jsonw_array(&w, "open");
  for (size_t i = 0; i < work->count; i++) ctl_plan_write(&w, &work->txns[i]);
  vow_jsonw_end(&w);
  vow_jsonw_end(&w);
  vow_buf_puts(&out, "\n");
  ctl_put(&out);
  vow_buf_fini(&out);
}

/* One transaction: what would be done, and each message that would be sent for it. */
static void plan_txn(struct vow_buf *out, const struct ctl_terminal *terminal,
                     const struct vow_txn *txn) {
  static const struct ctl_terminal endless;
  char id[VOW_ID_TEXT_BYTES];
  struct ctl_table table;
  const char *state = vow_txn_state_name(txn->state);
  vow_id_format(txn->id, id);
  ctl_paint(out, terminal, CTL_BOLD, id);
  vow_buf_puts(out, " ");
  ctl_paint(out, terminal, ctl_state_colour(state), state);
  vow_buf_printf(out, ": %s\n", ctl_plan_text(ctl_plan_of(txn)));
  ctl_table_init(&table, &endless, NULL, 4);
  table.indent = 2;
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct vow_branch *branch = &txn->branches[i];
    enum vow_message_type type;
    if (!ctl_plan_message(txn, branch, &type)) continue;
    ctl_table_cellf(&table, CTL_PLAIN, "branch %u", branch->number);
    ctl_table_cell(&table, CTL_PLAIN, branch->name);
    ctl_table_cell(&table, CTL_PLAIN, vow_branch_state_name(branch->state));
    ctl_table_cellf(&table, CTL_PLAIN, "%s/%s", branch->url, vow_message_type_name(type));
  }
  ctl_table_flush(&table, out);
  ctl_table_fini(&table);
}

static enum ctl_exit dry_run(const struct ctl_args *args, const struct ctl_work *work) {
  struct ctl_terminal terminal;
  struct vow_buf out;
  if (ctl_given(args, CTL_OPT_JSON)) {
    plan_json(args, work);
  } else {
    ctl_terminal_of(stdout, &terminal);
    vow_buf_init(&out, CTL_OUTPUT_BYTES_MAX);
    for (size_t i = 0; i < work->count; i++) {
      plan_txn(&out, &terminal, &work->txns[i]);
      ctl_put(&out);
    }
    ctl_putf("%s%zu in doubt, %zu wait for an operator; nothing was written or sent\n",
             work->count > 0 ? "\n" : "", work->count - work->waiting, work->waiting);
    vow_buf_fini(&out);
  }
  return work->count > 0 ? CTL_EXIT_ATTENTION : CTL_EXIT_OK;
}

/* ---- the real thing ---- */

static enum ctl_exit confirm(const struct ctl_args *args, const struct ctl_work *work) {
  struct vow_buf text;
  vow_buf_init(&text, CTL_LINE_BYTES_MAX);
  ctl_safe_append(&text, args->text[CTL_OPT_LOG]);
  vow_buf_printf(&text, ": %zu transactions are in doubt.\n", work->to_do);
  for (enum ctl_plan plan = CTL_PLAN_ABORT; plan < CTL_PLAN_OPERATOR; plan++) {
    if (work->by_plan[plan] == 0) continue;
    vow_buf_printf(&text, "  %zu: %s\n", work->by_plan[plan], ctl_plan_text(plan));
  }
  vow_buf_puts(&text,
               "Their participants are called now. No daemon may be started on this log until it "
               "is done.\n");
  enum ctl_exit code = ctl_ask(args, vow_buf_text(&text));
  vow_buf_fini(&text);
  return code;
}

enum ctl_exit ctl_recover(const struct ctl_args *args) {
  struct ctl_work work = {0};
  struct ctl_report report = {0};
  bool dry = ctl_given(args, CTL_OPT_DRY_RUN);
  enum ctl_exit code = dry ? CTL_EXIT_OK : ctl_may_ask(args);
  if (code == CTL_EXIT_OK) code = read_work(args, &work);
  if (code != CTL_EXIT_OK) goto out;
  if (dry) {
    code = dry_run(args, &work);
    goto out;
  }
  if (work.to_do > 0) {
    code = confirm(args, &work);
    if (code == CTL_EXIT_OK) code = ctl_recover_run(args, &work, &report);
  } else {
    code = ctl_report_of(&work, &report);
  }
  if (code == CTL_EXIT_OK) code = ctl_report_print(args, &report);
out:
  ctl_report_fini(&report);
  ctl_work_fini(&work);
  return code;
}
