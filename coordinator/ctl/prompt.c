/*
 * Asking before something dangerous is done. See prompt.h.
 */
#include "prompt.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "output.h"

enum ctl_exit ctl_may_ask(const struct ctl_args *args) {
  if (ctl_given(args, CTL_OPT_YES) || (isatty(STDIN_FILENO) && isatty(STDERR_FILENO))) {
    return CTL_EXIT_OK;
  }
  return ctl_fail(CTL_EXIT_USAGE, "Say --yes to do it without being asked.",
                  "%s asks before it acts, and there is no terminal to ask at.",
                  args->command->name);
}

enum ctl_exit ctl_ask(const struct ctl_args *args, const char *text) {
  char line[64];
  if (ctl_given(args, CTL_OPT_YES)) return CTL_EXIT_OK;
  (void)ctl_put_flush();
  fprintf(stderr, "%s\nType \"yes\" to go on: ", text);
  fflush(stderr);
  bool read = fgets(line, sizeof line, stdin) != NULL;
  if (!read) fputc('\n', stderr);
  if (read && strcmp(line, "yes\n") == 0) return CTL_EXIT_OK;
  return ctl_fail(CTL_EXIT_USAGE, "Type the whole word to do it, or say --yes.",
                  "not confirmed; nothing was done.");
}
