/*
 * How vowctl ends: stable exit codes for scripts, and the two sentences a failure prints to
 * standard error (what is wrong, and what to do about it). Every command returns one of these
 * codes from its `run`. The codes are documented in vowctl(1) and never renumbered.
 */
#ifndef VOW_CTL_EXIT_H
#define VOW_CTL_EXIT_H

#include "vow/error.h"

enum ctl_exit {
  CTL_EXIT_OK = 0,
  CTL_EXIT_FAILED = 1,      /* the operation failed; somebody must look */
  CTL_EXIT_USAGE = 2,       /* the command line is wrong, or the act was not confirmed */
  CTL_EXIT_UNREACHABLE = 3, /* the daemon cannot be reached or cannot answer now: try again */
  CTL_EXIT_NOT_FOUND = 4,
  CTL_EXIT_REFUSED = 5,   /* the transaction's state does not allow it */
  CTL_EXIT_ABORTED = 6,   /* a commit was asked for and the transaction is aborted */
  CTL_EXIT_ATTENTION = 7, /* something is left in doubt, or an operator is needed */
  CTL_EXIT_LOG_LOCKED = 8,
  CTL_EXIT_LOG_DAMAGED = 9
};

/* The exit code of an error of the API or of the log. */
enum ctl_exit ctl_exit_of(enum vow_error error);

/* One line for each exit code, in their order; NULL past the last. For help and manual. */
const char *ctl_exit_text(int code);

/* Prints "vowctl: WHAT" and, where `todo` is not NULL, a second line that says what to do. Both
 * are made safe for a terminal. Returns `code`, so that a command can end with it. */
enum ctl_exit ctl_fail(enum ctl_exit code, const char *todo, const char *what, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, for want of memory before anything was done. */
enum ctl_exit ctl_no_memory(void);

#endif
