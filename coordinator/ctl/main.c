/*
 * vowctl: the operator's tool of a vow coordinator. This file sets up the process and hands over to
 * the command that was asked for; each command is in a file of its own.
 */
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "args.h"
#include "io/logger.h"
#include "output.h"
#include "view.h"

static bool reader_is_gone(void) {
  struct pollfd out = {.fd = STDOUT_FILENO};
  return poll(&out, 1, 0) == 1 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

/* Output that did not get through is a failure, unless the reader has simply seen enough
 * (`vowctl list | head`): then the result of the command stands. */
static enum ctl_exit flush_output(enum ctl_exit code) {
  if (ctl_put_failed()) {
    enum ctl_exit lost = ctl_fail(CTL_EXIT_FAILED, "Free memory, then look again.",
                                  "it is done, but not all could be shown: out of memory.");
    if (code == CTL_EXIT_OK) code = lost;
  }
  int failed = ctl_put_flush();
  if (failed == 0 || reader_is_gone()) return code;
  enum ctl_exit failure = ctl_fail(CTL_EXIT_FAILED, "Make room, or write elsewhere.",
                                   "standard output cannot be written: %s.", strerror(failed));
  return code == CTL_EXIT_OK ? failure : code;
}

/* libuv calls abort, without a word, when its table of descriptors cannot grow: that is before a
 * request leaves through a new one. */
static void *grow_or_end(void *old, size_t bytes) {
  void *grown = realloc(old, bytes);
  if (grown == NULL && bytes > 0) _exit((int)ctl_no_memory());
  return grown;
}

int main(int argc, char **argv) {
  struct ctl_args args;
  vow_logger_process_init();
  /* Widths of characters; what is written is UTF-8 in any locale. */
  setlocale(LC_CTYPE, "C.UTF-8");
  /* A recovery must not die because its report goes to a pager that was closed. */
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* the write fails, and it is said what for */
  uv_replace_allocator(malloc, grow_or_end, calloc, free);
  enum ctl_exit code = ctl_args_parse(argc, argv, &args);
  if (code != CTL_EXIT_OK) return (int)code;
  if (args.command == NULL) {
    ctl_putf("vowctl %s\n", VOW_VERSION);
  } else {
    code = args.command->run(&args);
  }
  return (int)flush_output(code);
}
