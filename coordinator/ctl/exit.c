/*
 * Exit codes, and the two sentences of a failure. See exit.h.
 */
#include "exit.h"

#include <stdarg.h>
#include <stdio.h>

#include "output.h"
#include "text.h"

enum ctl_exit ctl_exit_of(enum vow_error error) {
  switch (error) {
    case VOW_OK:
      return CTL_EXIT_OK;
    case VOW_E_UNKNOWN_TRANSACTION:
    case VOW_E_UNKNOWN_BRANCH:
    case VOW_E_UNKNOWN_PARTICIPANT:
      return CTL_EXIT_NOT_FOUND;
    case VOW_E_ILLEGAL_STATE:
    case VOW_E_NAME_CONFLICT:
    case VOW_E_CONFLICT:
    case VOW_E_BACKUP_EXISTS:
      return CTL_EXIT_REFUSED;
    case VOW_E_ABORTED:
      return CTL_EXIT_ABORTED;
    case VOW_E_HEURISTIC:
    case VOW_E_OUTCOME_UNKNOWN:
    case VOW_E_QUARANTINED:
      return CTL_EXIT_ATTENTION;
    case VOW_E_LOG_LOCKED:
      return CTL_EXIT_LOG_LOCKED;
    case VOW_E_LOG_CORRUPT:
    case VOW_E_LOG_VERSION:
      return CTL_EXIT_LOG_DAMAGED;
    case VOW_E_OVERLOADED:
    case VOW_E_LOADING:
    case VOW_E_DRAINING:
    case VOW_E_UNREACHABLE:
    case VOW_E_TIMEOUT:
    case VOW_E_PROTOCOL:
      return CTL_EXIT_UNREACHABLE;
    default:
      return CTL_EXIT_FAILED;
  }
}

const char *ctl_exit_text(int code) {
  static const char *const texts[] = {
      [CTL_EXIT_OK] = "all went well",
      [CTL_EXIT_FAILED] = "the operation failed",
      [CTL_EXIT_USAGE] = "the command line is wrong, or the act was not confirmed",
      [CTL_EXIT_UNREACHABLE] = "the daemon cannot be reached or cannot answer now",
      [CTL_EXIT_NOT_FOUND] = "no such transaction or branch",
      [CTL_EXIT_REFUSED] = "the transaction's state does not allow it",
      [CTL_EXIT_ABORTED] = "commit: the transaction is aborted",
      [CTL_EXIT_ATTENTION] = "something is left in doubt or needs an operator",
      [CTL_EXIT_LOG_LOCKED] = "the log is in use by a running daemon",
      [CTL_EXIT_LOG_DAMAGED] = "the log is damaged or of another version",
  };
  if (code < 0 || (size_t)code >= sizeof texts / sizeof texts[0]) return NULL;
  return texts[code];
}

/* Prints one line of text that may come from elsewhere. Without memory what is no ASCII is left
 * out: that there is none is what has to be said. */
static void put_safe(const char *head, const char *text) {
  struct vow_buf safe;
  vow_buf_init(&safe, CTL_LINE_BYTES_MAX);
  ctl_safe_append(&safe, text);
  fprintf(stderr, "%s%s", head, safe.error == VOW_OK ? vow_buf_text(&safe) : "");
  for (const char *c = text; safe.error != VOW_OK && *c != '\0'; c++) {
    if (*c >= ' ' && *c <= '~') fputc(*c, stderr);
  }
  fputc('\n', stderr);
  vow_buf_fini(&safe);
}

enum ctl_exit ctl_fail(enum ctl_exit code, const char *todo, const char *what, ...) {
  char text[2048];
  va_list args;
  va_start(args, what);
  vsnprintf(text, sizeof text, what, args);
  va_end(args);
  /* Standard output first, so that the two do not mix up on a terminal. */
  (void)ctl_put_flush();
  put_safe("vowctl: ", text);
  if (todo != NULL) put_safe("", todo);
  return code;
}

enum ctl_exit ctl_no_memory(void) {
  return ctl_fail(CTL_EXIT_FAILED, "Free memory, then try again.", "out of memory.");
}
