/*
 * Reading a log whose daemon is dead. Nothing of it is changed: it is opened read-only, and a log
 * that a live daemon holds is refused.
 */
#ifndef VOW_CTL_OFFLINE_H
#define VOW_CTL_OFFLINE_H

#include "args.h"
#include "io/log.h"

/* Opens the log of --log read-only. Says what is wrong. */
enum ctl_exit ctl_log_open(const struct ctl_args *args, struct vow_log **out);

/* What to do about a log that cannot be used: says `why` and returns the exit code. */
enum ctl_exit ctl_log_fail(enum vow_error error, const char *why);
/* The same for a damaged row of the history, for which nothing is to be restored. */
enum ctl_exit ctl_history_fail(const char *why);

/* Calls `take` for each open transaction, oldest first; it may take what the transaction owns and
 * leave it zeroed. A row that cannot be read goes to `bad` (may be NULL: then reading ends with its
 * error, reported) and is stepped over. */
struct ctl_open_reader {
  enum ctl_exit (*take)(void *context, struct vow_txn *txn);
  void (*bad)(void *context, struct vow_id id, const char *why);
  void *context;
};
enum ctl_exit ctl_read_open(struct vow_log *log, const struct ctl_open_reader *reader);

enum ctl_exit ctl_offline_list(const struct ctl_args *args, bool lines);
enum ctl_exit ctl_offline_show(const struct ctl_args *args);

#endif
