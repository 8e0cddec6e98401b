/* See failpoint.h. Only part of test builds. */
#include "failpoint.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAME_BYTES_MAX 64
#define DELAY_MS_MAX   600000

enum strike { STRIKE_KILL, STRIKE_STOP, STRIKE_HANG, STRIKE_DELAY, STRIKE_ERROR };

static const struct {
  const char *name;
  bool can_fail;
} points[] = {
#define POINT(name, when, error) {name, sizeof(error) > 1},
    VOW_FAILPOINT_PARTICIPANT_TABLE(POINT) VOW_FAILPOINT_COORDINATOR_TABLE(POINT)
#undef POINT
};

/* Written before other threads run, or inside `once`; but for `remaining`. */
static struct {
  char name[NAME_BYTES_MAX];
  enum strike strike;
  long delay_ms;
  atomic_long remaining; /* passes until it strikes */
} armed[VOW_FAILPOINT_ARMED_MAX];
static unsigned armed_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void die(const char *problem, const char *text) {
  fprintf(stderr, "VOW_FAILPOINT: %s: \"%s\"\n", problem, text);
  abort();
}

/* ---- arming ---- */

/* Both sides may have a point of one name. */
static bool find(const char *name, bool *can_fail) {
  bool found = false;
  for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
    if (strcmp(points[i].name, name) != 0) continue;
    found = true;
    *can_fail |= points[i].can_fail;
  }
  return found;
}

static bool parse_strike(const char *word, enum strike *strike, long *delay_ms) {
  static const char *const words[] = {"kill", "stop", "hang", NULL, "error"};
  char rest = '\0';
  for (int i = 0; i < (int)(sizeof words / sizeof words[0]); i++) {
    *strike = (enum strike)i;
    if (words[i] && strcmp(word, words[i]) == 0) return true;
  }
  *strike = STRIKE_DELAY;
  return sscanf(word, "delay%ld%c", delay_ms, &rest) == 1 && *delay_ms >= 0 &&
         *delay_ms <= DELAY_MS_MAX;
}

static void arm_one(const char *spec) {
  char name[NAME_BYTES_MAX], word[16], rest = '\0';
  long count = 1, delay_ms = 0;
  enum strike strike = STRIKE_KILL;
  bool can_fail = false;
  int fields = sscanf(spec, "%63[^=]=%15[a-z0-9]%c%ld%c", name, word, &rest, &count, &rest);
  if ((fields != 2 && (fields != 4 || rest != ':')) || count < 1 ||
      !parse_strike(word, &strike, &delay_ms)) {
    die("expected name=kill|stop|hang|delayMS|error[:n]", spec);
  }
  if (!find(name, &can_fail)) die("no fail point has this name", name);
  if (strike == STRIKE_ERROR && !can_fail) die("nothing can fail here", name);
  if (armed_count == VOW_FAILPOINT_ARMED_MAX) die("too many", spec);
  memcpy(armed[armed_count].name, name, sizeof name);
  armed[armed_count].strike = strike;
  armed[armed_count].delay_ms = delay_ms;
  atomic_store(&armed[armed_count].remaining, count);
  armed_count++;
}

void vow_failpoint_arm(const char *spec) {
  char *left = NULL, *copy = strdup(spec ? spec : "");
  armed_count = 0;
  if (!copy) die("out of memory", spec);
  for (char *one = strtok_r(copy, ",", &left); one; one = strtok_r(NULL, ",", &left)) arm_one(one);
  free(copy);
}

static void arm_from_environment(void) {
  const char *spec = getenv("VOW_FAILPOINT");
  if (spec) vow_failpoint_arm(spec);
}

/* ---- striking ---- */

static void stand_still(long ms) {
  struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

static void say(const char *name) {
  char line[NAME_BYTES_MAX + 32];
  int bytes = snprintf(line, sizeof line, "VOW_FAILPOINT: %s strikes\n", name);
  /* In one piece: other threads write, too. If it cannot be said, the test will miss it. */
  if (write(STDERR_FILENO, line, (size_t)bytes) < 0) return;
}

static bool strike(enum strike what, long delay_ms) {
  switch (what) {
    case STRIKE_KILL:
      raise(SIGKILL);
      break;
    case STRIKE_STOP:
      /* At this thread: sent to the process, another thread may take it, and this one goes on
       * until that has run. */
      (void)raise(SIGSTOP);
      return false;
    case STRIKE_DELAY:
      stand_still(delay_ms);
      return false;
    case STRIKE_ERROR:
      return true;
    case STRIKE_HANG:
      break;
  }
  for (;;) stand_still(DELAY_MS_MAX);
}

bool vow_failpoint_hit(const char *name) {
  bool can_fail = false, fails = false;
  pthread_once(&once, arm_from_environment);
  if (!find(name, &can_fail)) die("not in the table of proto/failpoint.h", name);
  for (unsigned i = 0; i < armed_count; i++) {
    if (strcmp(armed[i].name, name) != 0) continue;
    if (atomic_fetch_sub(&armed[i].remaining, 1) != 1) continue;
    say(name);
    fails |= strike(armed[i].strike, armed[i].delay_ms);
  }
  return fails;
}
