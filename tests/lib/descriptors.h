/* A process that can open nothing more. */
#ifndef VOW_TEST_DESCRIPTORS_H
#define VOW_TEST_DESCRIPTORS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* False where the limit is not the kernel's: valgrind keeps one of its own, and closes what the
 * kernel has accepted beyond it. */
static inline bool descriptors_can_run_out(void) {
  struct rlimit own;
  unsigned long kernels = 0;
  char line[256];
  FILE *limits = fopen("/proc/self/limits", "re");
  if (limits == NULL || getrlimit(RLIMIT_NOFILE, &own) != 0) abort();
  while (kernels == 0 && fgets(line, sizeof line, limits) != NULL) {
    (void)sscanf(line, "Max open files %lu", &kernels);
  }
  fclose(limits);
  return own.rlim_cur == kernels;
}

/* So it is until the limit that it returns is set again. */
static inline struct rlimit leave_no_descriptor(void) {
  struct rlimit before, none;
  int next = dup(STDERR_FILENO);
  if (next < 0 || close(next) != 0 || getrlimit(RLIMIT_NOFILE, &before) != 0) abort();
  none = (struct rlimit){.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
  if (setrlimit(RLIMIT_NOFILE, &none) != 0) abort();
  return before;
}

#endif
