/*
 * How a reconciliation is told.
 */
#ifndef VOW_CTL_RECONCILE_REPORT_H
#define VOW_CTL_RECONCILE_REPORT_H

#include "reconcile.h"

/* What is about to be written, on standard error where somebody confirms it. */
void ctl_reconcile_preview(const struct ctl_reconciliation *r);
/* The whole; returns the exit code that it means. */
enum ctl_exit ctl_reconcile_print(const struct ctl_reconciliation *r);

#endif
