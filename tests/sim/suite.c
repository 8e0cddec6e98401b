/*
 * Many runs: seeds, the sweep that kills every node at each of its actions, and the seeds that are
 * kept for ever. The first failure is made small and told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "attempt.h"

#define TWICE_EVERY   20 /* one seed of so many is played twice */
#define SECOND_WITHIN 24 /* a sweep's second kill comes so many actions after the first */

/* ---- telling ---- */

static void tell(const struct sim_arguments *a, struct sim_case set, struct sim_result result) {
  struct sim_case whole = set;
  uint32_t attempts = 0;
  printf("\nseed %llu FAILED: %s\n", (unsigned long long)set.seed, result.why);
  if (!a->no_shrink && !a->replay) attempts = sim_shrink(&set, &result);
  result = sim_attempt(&set, SIM_TELLING);
  printf("seed %llu FAILED: %s\n", (unsigned long long)set.seed, result.why);
  if (attempts > 0) {
    printf("made small in %u runs; as it was: vow-sim ", attempts);
    sim_print_case(&whole);
    putchar('\n');
  }
  fputs("replay: vow-sim ", stdout);
  sim_print_case(&set);
  putchar('\n');
}

static int check_probes(void) {
  int verdict = SIM_OK;
  for (uint32_t i = 0; i < SIM_PROBES; i++) {
    if (sim_report->probes[i] > 0) continue;
    printf("never seen: %s: %s\n", sim_probes[i].name, sim_probes[i].what);
    verdict = SIM_UNPROVEN;
  }
  return verdict;
}

/* ---- seeds ---- */

static bool same_twice(const struct sim_case *set, const struct sim_result *first) {
  struct sim_result second = sim_play(set, SIM_QUIETLY);
  if (second.hash == first->hash && second.verdict == first->verdict) return true;
  sim_report->result.verdict = SIM_UNPROVEN;
  snprintf(sim_report->result.why, sizeof sim_report->result.why, "it is not the same twice");
  return false;
}

static void play_seeds(const void *context) {
  const struct sim_arguments *a = context;
  struct sim_case set = a->set;
  for (set.seed = a->start; set.seed < a->start + a->seeds; set.seed++) {
    struct sim_result result = sim_play(&set, SIM_QUIETLY);
    if (result.verdict != SIM_OK) return;
    if (!a->determinism && set.seed % TWICE_EVERY != 0) continue;
    if (!same_twice(&set, &result)) return;
  }
}

/* ---- the sweep ---- */

static bool sweep_node(struct sim_case set, int node, uint32_t actions, bool twice) {
  for (uint32_t k = 1; k <= actions; k++) {
    for (int keep = 0; keep < 2; keep++) {
      set.crashes[0] = (struct sim_crash){.node = node, .action = k, .keep = keep == 1};
      for (uint32_t later = twice ? 1 : 0; later <= (twice ? SECOND_WITHIN : 0); later++) {
        set.crashes[1] = (struct sim_crash){.node = node, .action = twice ? k + later : 0};
        if (sim_play(&set, SIM_QUIETLY).verdict != SIM_OK) return false;
      }
    }
  }
  return true;
}

/* Each node is killed before each of its actions, once with and once without what it was writing;
 * and, if asked to, once more soon after, in its recovery. */
static void play_sweep(const void *context) {
  const struct sim_arguments *a = context;
  struct sim_case set = a->set;
  for (set.seed = a->start; set.seed < a->start + a->seeds; set.seed++) {
    struct sim_result whole = sim_play(&set, SIM_QUIETLY);
    if (whole.verdict != SIM_OK) return;
    for (int node = 0; node < SIM_NODES; node++) {
      if (!sweep_node(set, node, whole.actions[node], a->twice)) return;
    }
  }
}

/* ---- the suite ---- */

/* In CPU time of this and the processes it waited for. */
static void print_runs(const struct sim_arguments *a) {
  struct rusage usage;
  double cpu_s = 0;
  if (getrusage(RUSAGE_CHILDREN, &usage) == 0) {
    cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
            (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  }
  printf("%llu seeds from %llu: ok; %llu runs in %.1f CPU seconds\n", (unsigned long long)a->seeds,
         (unsigned long long)a->start, (unsigned long long)sim_report->runs, cpu_s);
}

int sim_suite(const struct sim_arguments *a) {
  if (a->replay) {
    struct sim_result result = sim_attempt(&a->set, SIM_TELLING);
    printf("%s after %llu steps, %llu ms, hash %016llx\n",
           result.verdict == SIM_OK ? "ok" : result.why, (unsigned long long)result.steps,
           (unsigned long long)result.virtual_ms, (unsigned long long)result.hash);
    return result.verdict;
  }
  (void)sim_apart(a->sweep ? play_sweep : play_seeds, a);
  if (sim_report->result.verdict == SIM_UNPROVEN) {
    printf("seed %llu: %s\n", (unsigned long long)sim_report->set.seed, sim_report->result.why);
    return SIM_UNPROVEN;
  }
  if (sim_report->result.verdict != SIM_OK) {
    int verdict = sim_report->result.verdict;
    tell(a, sim_report->set, sim_report->result);
    return verdict;
  }
  print_runs(a);
  for (uint32_t i = 0; a->verbose && i < SIM_PROBES; i++) {
    printf("%10llu  %s\n", (unsigned long long)sim_report->probes[i], sim_probes[i].name);
  }
  return a->any_probes || a->sweep ? SIM_OK : check_probes();
}

/* ---- kept for ever ---- */

#define WORDS_MAX      32
#define KEPT_BYTES_MAX ((size_t)1 << 18)

/* A line is the options of a case, and behind a # what it once found. */
static bool play_kept(char *line, const struct sim_arguments *a,
                      bool (*parse)(int argc, char **argv, struct sim_arguments *out),
                      int *verdict) {
  char program[] = "vow-sim", *words[WORDS_MAX + 1] = {program}, *rest = line, *word;
  struct sim_arguments own = {.no_shrink = a->no_shrink};
  int count = 1;

  line[strcspn(line, "#")] = '\0';
  while (count < WORDS_MAX && (word = strsep(&rest, " ")) != NULL) {
    if (word[0] != '\0') words[count++] = word;
  }
  words[count] = NULL;
  if (count == 1) return false;
  if (!parse(count, words, &own)) {
    *verdict = SIM_USAGE;
    return true;
  }
  struct sim_result result = sim_attempt(&own.set, SIM_QUIETLY);
  if (result.verdict == SIM_OK) return true;
  if (*verdict == SIM_OK) *verdict = result.verdict;
  own.replay = true; /* it is small already */
  tell(&own, own.set, result);
  return true;
}

/* All of it, before anything is played: processes share a file's place, and each that ends moves
 * it.
 */
static char *read_file(const char *path) {
  FILE *file = fopen(path, "re");
  char *text = calloc(1, KEPT_BYTES_MAX);
  size_t bytes = 0;
  if (file != NULL && text != NULL) bytes = fread(text, 1, KEPT_BYTES_MAX, file);
  if (file == NULL || bytes == 0 || bytes == KEPT_BYTES_MAX) {
    fprintf(stderr, "vow-sim: %s cannot be read, or is too long\n", path);
    free(text);
    text = NULL;
  }
  if (file != NULL) fclose(file);
  return text;
}

int sim_suite_kept(const struct sim_arguments *a,
                   bool (*parse)(int argc, char **argv, struct sim_arguments *out)) {
  int verdict = SIM_OK;
  uint32_t count = 0;
  char *text = read_file(a->kept), *rest = text, *line;
  if (text == NULL) return SIM_USAGE;
  while ((line = strsep(&rest, "\n")) != NULL) count += play_kept(line, a, parse, &verdict);
  free(text);
  printf("%u kept cases: %s\n", count, verdict == SIM_OK ? "ok" : "FAILED");
  return verdict;
}
