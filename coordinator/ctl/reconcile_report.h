/*
 * A reconciliation as it goes on (reconcile.c), and how it is told (reconcile_report.c).
 */
#ifndef VOW_CTL_RECONCILE_REPORT_H
#define VOW_CTL_RECONCILE_REPORT_H

#include "reconcile.h"
#include "url.h"

struct ctl_reconciliation {
  const struct ctl_args *args;
  struct vow_log *log;
  struct vow_log_info info;
  char coordinator[VOW_URL_BYTES_MAX + 1]; /* as participants call it */
  struct ctl_places places;
  struct ctl_cases cases;
  struct vow_incarnation *judged; /* owned */
  uint32_t judged_count;
  size_t known;  /* cases that the log has decided */
  size_t open;   /* cases that a person has to decide */
  size_t silent; /* participants that did not answer and are not left out */
  bool apply;    /* else nothing is written */
  bool applied;
  bool left; /* the log has left quarantine */
};

/* What is about to be written, on standard error where somebody confirms it. */
void ctl_reconcile_preview(const struct ctl_reconciliation *r);
/* The whole; returns the exit code that it means. */
enum ctl_exit ctl_reconcile_print(const struct ctl_reconciliation *r);

#endif
