/* See attempt.h. */
#include "attempt.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define STUCK_S 60 /* a run that takes longer loops */

struct sim_report *sim_report;
static struct sim *world;

static void *map(size_t bytes, int flags) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

bool sim_open(void) {
  sim_report = map(sizeof *sim_report, MAP_SHARED);
  world = map(sizeof *world, MAP_PRIVATE);
  return sim_report != NULL && world != NULL;
}

/* Most of a world is never touched: given back and mapped anew it is zero for the price of what
 * was. */
static void clear_world(void) {
  if (madvise(world, sizeof *world, MADV_DONTNEED) != 0) memset(world, 0, sizeof *world);
}

struct sim_result sim_play(const struct sim_case *set, enum sim_way way) {
  struct sim_result result;
  sim_report->set = *set;
  sim_report->runs++;
  clear_world();
  world->telling = way == SIM_TELLING;
  world->collecting = way == SIM_COLLECTING;
  world->probes = sim_report->probes;
  alarm(STUCK_S);
  sim_run(world, set, &result);
  sim_report->result = result;
  return result;
}

/* ---- in a process of its own ---- */

static void note_end(int status) {
  struct sim_result *result = &sim_report->result;
  *result = (struct sim_result){.verdict = SIM_CRASH, .property = SIM_ALIVE};
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
    result->verdict = SIM_LIVENESS;
    result->property = SIM_AC5;
    snprintf(result->why, sizeof result->why, "AC5: a step never ends");
  } else if (WIFSIGNALED(status)) {
    snprintf(result->why, sizeof result->why, "alive: stopped by signal %d (%s)", WTERMSIG(status),
             strsignal(WTERMSIG(status)));
  } else {
    snprintf(result->why, sizeof result->why, "alive: a sanitizer ended it (exit code %d)",
             WEXITSTATUS(status));
  }
}

bool sim_apart(void (*work)(const void *context), const void *context) {
  int status = 0;
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    work(context);
    exit(EXIT_SUCCESS);
  }
  if (child < 0 || waitpid(child, &status, 0) != child) {
    perror("vow-sim: fork");
    exit(SIM_USAGE);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS) return true;
  note_end(status);
  return false;
}

struct one {
  const struct sim_case *set;
  enum sim_way way;
};

static void play_one(const void *context) {
  const struct one *one = context;
  (void)sim_play(one->set, one->way);
}

struct sim_result sim_attempt(const struct sim_case *set, enum sim_way way) {
  struct one one = {.set = set, .way = way};
  (void)sim_apart(play_one, &one);
  return sim_report->result;
}
