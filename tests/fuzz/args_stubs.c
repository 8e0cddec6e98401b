/*
 * What the commands are to the target `args`: they do nothing. `help` and `reconcile` are the real
 * ones, and `reconcile` reads its lists over a log that is empty and participants that are silent.
 */
#include <stdio.h>

#include "io/log.h"
#include "offline.h"
#include "prompt.h"
#include "reconcile.h"
#include "reconcile_report.h"
#include "text.h"

#define NOTHING(name)                               \
  enum ctl_exit name(const struct ctl_args *args) { \
    (void)args;                                     \
    return CTL_EXIT_OK;                             \
  }
NOTHING(ctl_status)
NOTHING(ctl_list)
NOTHING(ctl_show)
NOTHING(ctl_commit)
NOTHING(ctl_abort)
NOTHING(ctl_resolve)
NOTHING(ctl_forget)
NOTHING(ctl_participants)
NOTHING(ctl_watch)
NOTHING(ctl_backup)
NOTHING(ctl_check)
NOTHING(ctl_export)
NOTHING(ctl_recover)
NOTHING(ctl_restore)
NOTHING(ctl_completion)
NOTHING(ctl_may_ask)

enum ctl_exit ctl_ask(const struct ctl_args *args, const char *text) {
  (void)args, (void)text;
  return CTL_EXIT_OK;
}

enum vow_error vow_log_open(struct vow_log **out, const struct vow_log_config *config,
                            char why[VOW_LOG_WHY_BYTES]) {
  (void)config, (void)why;
  *out = NULL;
  return VOW_OK;
}

void vow_log_close(struct vow_log *log) {
  (void)log;
}

void vow_log_info(const struct vow_log *log, struct vow_log_info *out) {
  (void)log;
  *out = (struct vow_log_info){.starts = 1, .advertise_url = ""};
}

enum vow_error vow_log_query_now(struct vow_log *log, const struct vow_log_query *query) {
  static const struct vow_log_result none = {.error = VOW_OK};
  (void)log;
  query->done(query->context, &none);
  return VOW_OK;
}

enum vow_error vow_log_reconcile(struct vow_log *log, const struct vow_log_reconciled *reconciled,
                                 char why[VOW_LOG_WHY_BYTES]) {
  (void)log, (void)reconciled, (void)why;
  return VOW_OK;
}

enum ctl_exit ctl_log_fail(enum vow_error error, const char *why) {
  return ctl_fail(ctl_exit_of(error), "Look at the log.", "the log: %s.", why);
}

enum ctl_exit ctl_read_open(struct vow_log *log, const struct ctl_open_reader *reader) {
  (void)log, (void)reader;
  return CTL_EXIT_OK;
}

enum ctl_exit ctl_ask_in_doubt(struct ctl_places *places, const char *coordinator,
                               uint64_t timeout_ms) {
  (void)places, (void)coordinator, (void)timeout_ms;
  return CTL_EXIT_OK;
}

enum ctl_exit ctl_ask_known(struct ctl_places *places, struct ctl_cases *cases,
                            const char *coordinator, uint64_t timeout_ms) {
  (void)places, (void)cases, (void)coordinator, (void)timeout_ms;
  return CTL_EXIT_OK;
}

void ctl_reconcile_preview(const struct ctl_reconciliation *r) {
  (void)r;
}

/* Who would have been asked, a line each; the target compares. */
enum ctl_exit ctl_reconcile_print(const struct ctl_reconciliation *r) {
  for (size_t i = 0; i < r->places.count; i++) {
    printf("%c%s\n", r->places.items[i].left_out ? '-' : '+', r->places.items[i].url);
  }
  return CTL_EXIT_OK;
}
