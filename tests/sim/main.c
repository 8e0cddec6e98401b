/*
 * vow-sim: plays seeds, shows what fails, and shows that mistakes are caught.
 *
 *   vow-sim --seeds 1000 --start 1      play them; every probe must be hit
 *   vow-sim --replay 17                 one seed, with its trace
 *   vow-sim --mutants                   each mistake must be caught
 *   vow-sim --determinism --seeds 100   each seed twice: the traces must be the same
 *
 * Exit codes: 0 all is well; 2 usage; 3 a safety property failed; 4 something never ended; 5 a
 * probe was not hit, a mistake was not caught, or a run was not the same twice. A core that stops
 * itself ends the program by a signal, after the seed was named.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim.h"

#define TWICE_EVERY 20 /* one seed of so many is played twice */
#define STUCK_S     60 /* a seed that takes longer loops */

struct arguments {
  uint64_t seeds, start, steps_max;
  bool replay, verbose, mutants, determinism, any_probes;
  enum sim_mutant mutant;
  uint32_t faults_off;
};

static uint64_t probes[SIM_PROBES];
static struct sim *world;

/* ---- when a core stops itself ---- */

static void name_seed(void) {
  char text[160];
  int bytes = snprintf(
      text, sizeof text,
      "\nvow-sim: seed %llu stopped the program; replay: vow-sim --replay %llu%s%s\n",
      (unsigned long long)world->seed, (unsigned long long)world->seed,
      world->mutant ? " --mutant " : "", world->mutant ? sim_mutants[world->mutant].name : "");
  if (bytes > 0 && write(STDERR_FILENO, text, (size_t)bytes) < 0) return;
  if (world->telling && write(STDERR_FILENO, world->trace, world->trace_bytes) < 0) return;
}

static void on_signal(int number) {
  name_seed();
  signal(number, SIG_DFL);
  raise(number);
}

/* Sanitizers end the program by themselves. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch_for_death(void) {
  signal(SIGABRT, on_signal);
  signal(SIGILL, on_signal);
  signal(SIGTRAP, on_signal);
  signal(SIGALRM, on_signal);
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(name_seed);
}

/* ---- playing ---- */

static struct sim_result play(const struct arguments *a, uint64_t seed, bool telling) {
  struct sim_options options = {.seed = seed,
                                .steps_max = a->steps_max,
                                .mutant = a->mutant,
                                .telling = telling,
                                .faults_off = a->faults_off,
                                .probes = probes};
  struct sim_result result;
  alarm(STUCK_S);
  sim_run(world, &options, &result);
  return result;
}

static void print_faults(void) {
  printf("faults:");
  for (uint32_t i = 0; i < SIM_FAULTS; i++) {
    if (world->faults >> i & 1) printf(" %s", sim_faults[i].name);
  }
  printf("%s; %u participants, %u clients\n", world->faults == 0 ? " none" : "",
         world->participant_count, world->plan_count);
}

static void print_trace(const struct arguments *a, uint64_t seed, const struct sim_result *result) {
  print_faults();
  fwrite(world->trace, 1, world->trace_bytes, stdout);
  printf("seed %llu: %s after %llu steps, %llu ms, hash %016llx\n", (unsigned long long)seed,
         result->verdict == SIM_OK ? "ok" : world->why, (unsigned long long)result->steps,
         (unsigned long long)result->virtual_ms, (unsigned long long)result->hash);
  if (result->verdict == SIM_OK) return;
  printf("replay: vow-sim --replay %llu%s%s\n", (unsigned long long)seed,
         a->mutant ? " --mutant " : "", a->mutant ? sim_mutants[a->mutant].name : "");
}

/* The first seed that fails, told again with its trace; or SIM_OK. */
static int play_seeds(const struct arguments *a) {
  for (uint64_t seed = a->start; seed < a->start + a->seeds; seed++) {
    struct sim_result result = play(a, seed, a->replay || a->verbose);
    if (result.verdict != SIM_OK || a->replay || a->verbose) {
      if (!world->telling) result = play(a, seed, true);
      print_trace(a, seed, &result);
      if (result.verdict != SIM_OK) return result.verdict;
    }
    if (a->replay || (!a->determinism && seed % TWICE_EVERY != 0)) continue;
    struct sim_result again = play(a, seed, false);
    if (again.hash != result.hash) {
      printf("seed %llu is not the same twice\n", (unsigned long long)seed);
      return SIM_UNPROVEN;
    }
  }
  return SIM_OK;
}

static int check_probes(void) {
  int verdict = SIM_OK;
  for (uint32_t i = 0; i < SIM_PROBES; i++) {
    if (probes[i] > 0) continue;
    printf("never seen: %s: %s\n", sim_probes[i].name, sim_probes[i].what);
    verdict = SIM_UNPROVEN;
  }
  return verdict;
}

static int play_suite(const struct arguments *a) {
  int verdict = play_seeds(a);
  if (verdict != SIM_OK || a->replay) return verdict;
  printf("%llu seeds from %llu: ok\n", (unsigned long long)a->seeds, (unsigned long long)a->start);
  for (uint32_t i = 0; a->verbose && i < SIM_PROBES; i++) {
    printf("%10llu  %s\n", (unsigned long long)probes[i], sim_probes[i].name);
  }
  return a->any_probes ? SIM_OK : check_probes();
}

/* ---- mutants ---- */

/* In a process of its own, since a mistake may also stop a core. */
static bool is_caught(const struct arguments *a, enum sim_mutant mutant) {
  int status = 0;
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) {
    perror("vow-sim: fork");
    return false;
  }
  if (child == 0) {
    struct arguments own = *a;
    own.mutant = mutant;
    signal(SIGABRT, SIG_DFL);
    for (uint64_t seed = a->start; seed < a->start + a->seeds; seed++) {
      if (play(&own, seed, false).verdict == SIM_OK) continue;
      printf("%-20s caught by seed %llu: %s\n", sim_mutants[mutant].name, (unsigned long long)seed,
             world->why);
      fflush(stdout);
      _exit(SIM_SAFETY);
    }
    _exit(SIM_OK);
  }
  if (waitpid(child, &status, 0) != child) return false;
  if (WIFEXITED(status) && WEXITSTATUS(status) == SIM_SAFETY) return true;
  printf("%-20s NOT CAUGHT (%s): %s\n", sim_mutants[mutant].name,
         WIFEXITED(status) ? "all seeds passed" : "it stopped the program",
         sim_mutants[mutant].what);
  return false;
}

static int try_mutants(const struct arguments *a) {
  int verdict = SIM_OK;
  for (int m = SIM_MUTANT_NONE + 1; m < SIM_MUTANTS; m++) {
    if (!is_caught(a, (enum sim_mutant)m)) verdict = SIM_UNPROVEN;
  }
  return verdict;
}

/* ---- options ---- */

static void usage(FILE *out) {
  fputs(
      "usage: vow-sim [--seeds N] [--start SEED] [--replay SEED] [--steps MAX] [--verbose]\n"
      "               [--mutant NAME] [--mutants] [--determinism] [--without FAULT]... "
      "[--any-probes]\n",
      out);
}

static bool find_name(const struct sim_name *names, int count, const char *name, int *out) {
  for (int i = 0; i < count; i++) {
    if (strcmp(names[i].name, name) != 0) continue;
    *out = i;
    return true;
  }
  fprintf(stderr, "vow-sim: %s is none of:", name);
  for (int i = 0; i < count; i++) fprintf(stderr, " %s", names[i].name);
  fputc('\n', stderr);
  return false;
}

static bool parse(int argc, char **argv, struct arguments *a) {
  static const struct option options[] = {{"seeds", 1, NULL, 'n'},   {"start", 1, NULL, 's'},
                                          {"replay", 1, NULL, 'r'},  {"steps", 1, NULL, 'm'},
                                          {"verbose", 0, NULL, 'v'}, {"mutant", 1, NULL, 'u'},
                                          {"mutants", 0, NULL, 'U'}, {"determinism", 0, NULL, 'd'},
                                          {"without", 1, NULL, 'w'}, {"any-probes", 0, NULL, 'p'},
                                          {NULL, 0, NULL, 0}};
  int c, found = 0;
  while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (c == 'n') a->seeds = strtoull(optarg, NULL, 10);
    if (c == 's') a->start = strtoull(optarg, NULL, 10);
    if (c == 'm') a->steps_max = strtoull(optarg, NULL, 10);
    if (c == 'v') a->verbose = true;
    if (c == 'U') a->mutants = true;
    if (c == 'd') a->determinism = true;
    if (c == 'p') a->any_probes = true;
    if (c == 'r') {
      a->replay = true;
      a->start = strtoull(optarg, NULL, 10);
      a->seeds = 1;
    }
    if (c == 'u') {
      if (!find_name(sim_mutants, SIM_MUTANTS, optarg, &found)) return false;
      a->mutant = (enum sim_mutant)found;
    }
    if (c == 'w') {
      if (!find_name(sim_faults, SIM_FAULTS, optarg, &found)) return false;
      a->faults_off |= UINT32_C(1) << found;
    }
    if (c == '?') return false;
  }
  return optind == argc;
}

int main(int argc, char **argv) {
  struct arguments arguments = {.seeds = 1000, .start = 1};
  if (!parse(argc, argv, &arguments)) {
    usage(stderr);
    return SIM_USAGE;
  }
  world = calloc(1, sizeof *world);
  if (world == NULL) return SIM_USAGE;
  watch_for_death();
  int verdict = arguments.mutants ? try_mutants(&arguments) : play_suite(&arguments);
  free(world->trace);
  free(world);
  return verdict;
}
