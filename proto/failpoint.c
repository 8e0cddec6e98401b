/* See failpoint.h. Only part of test builds. */
#include "failpoint.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
#define NAME(name, when) name,
    VOW_FAILPOINT_PARTICIPANT_TABLE(NAME) VOW_FAILPOINT_COORDINATOR_TABLE(NAME)
#undef NAME
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char armed[64];        /* "": none; written before other threads run, or inside `once` */
static atomic_long remaining; /* passes until the kill */

static void die(const char *problem, const char *text) {
  fprintf(stderr, "VOW_FAILPOINT: %s: \"%s\"\n", problem, text);
  abort();
}

static bool known(const char *name) {
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(names[i], name) == 0) return true;
  }
  return false;
}

void vow_failpoint_arm(const char *spec) {
  armed[0] = '\0';
  if (!spec || !*spec) return;
  const char *equals = strchr(spec, '=');
  size_t bytes = equals ? (size_t)(equals - spec) : 0;
  if (bytes == 0 || bytes >= sizeof armed) die("expected name=kill[:n]", spec);
  long count = 1;
  char rest = '\0';
  if (strcmp(equals, "=kill") != 0 &&
      (sscanf(equals, "=kill:%ld%c", &count, &rest) != 1 || count < 1)) {
    die("expected name=kill[:n]", spec);
  }
  char name[sizeof armed];
  memcpy(name, spec, bytes);
  name[bytes] = '\0';
  if (!known(name)) die("no fail point has this name", name);
  atomic_store(&remaining, count);
  memcpy(armed, name, bytes + 1);
}

static void arm_from_environment(void) {
  const char *spec = getenv("VOW_FAILPOINT");
  if (spec) vow_failpoint_arm(spec);
}

void vow_failpoint_hit(const char *name) {
  pthread_once(&once, arm_from_environment);
  if (!known(name)) die("not in the table of proto/failpoint.h", name);
  if (strcmp(armed, name) != 0) return;
  if (atomic_fetch_sub(&remaining, 1) != 1) return;
  /* SIGKILL ends all threads at once: nothing buffered is flushed, no handler runs. */
  raise(SIGKILL);
  for (;;) {
  }
}
