/* A process that can open nothing more. */
#ifndef VOW_TEST_DESCRIPTORS_H
#define VOW_TEST_DESCRIPTORS_H

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

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
