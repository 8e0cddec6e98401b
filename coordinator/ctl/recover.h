/*
 * Recovering a log without a daemon: what is to be done (recover.c), doing it (recover_run.c), and
 * what came of it (recover_report.c).
 */
#ifndef VOW_CTL_RECOVER_H
#define VOW_CTL_RECOVER_H

#include "args.h"
#include "io/log.h"
#include "plan.h"
#include "table.h"

/* The open transactions of the log, oldest first. */
struct ctl_work {
  struct vow_txn *txns; /* owned */
  size_t count, capacity;
  size_t by_plan[CTL_PLAN_OPERATOR + 1];
  size_t to_do;        /* those that get messages */
  size_t waiting;      /* for an operator; those with unknown branches get messages nevertheless */
  uint64_t starts;     /* of the log, when it was looked at */
  char *advertise_url; /* owned; of the daemon that wrote the log, "" if none did */
};
void ctl_work_fini(struct ctl_work *work);

/* What came of a transaction that was open. */
struct ctl_result {
  struct vow_txn txn; /* owned; as it was seen last */
  bool ended;         /* it is over in the log, or waits for an operator only */
  bool unknown;       /* `ended`, as all that is left are branches that were not known, again */
};

struct ctl_report {
  struct ctl_result *results; /* owned; one for each transaction of the work, in its order */
  size_t count;
  uint64_t duration_ms;
  bool interrupted, timed_out;
  char quarantine[VOW_LOG_WHY_BYTES]; /* why it stopped: the log may lack records; else "" */
};
void ctl_report_fini(struct ctl_report *report);

/* Runs the core on the log until all of the work has ended, the time is over, a signal came or a
 * participant shows that the log has lost records: nothing is driven on it then. Fills the report,
 * whose results hold the work's images then. Refuses a log on which somebody was at work since the
 * work was read. */
enum ctl_exit ctl_recover_run(const struct ctl_args *args, struct ctl_work *work,
                              struct ctl_report *report);

/* The report of a recovery that had nothing to do. */
enum ctl_exit ctl_report_of(struct ctl_work *work, struct ctl_report *report);

/* Prints the report and returns the exit code that it means. */
enum ctl_exit ctl_report_print(const struct ctl_args *args, const struct ctl_report *report);

#endif
