/*
 * Makes a failing case small while it fails in the same way, and writes it down as options. One
 * thing less changes what everybody draws after it, so a failure may hide behind a smaller case;
 * what is left is small, not the smallest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attempt.h"

/* ---- smaller ---- */

struct shrinking {
  struct sim_case best;
  int verdict;
  enum sim_property property;
  uint32_t attempts;
};

static bool try(struct shrinking *w, const struct sim_case *smaller) {
  struct sim_result result = sim_attempt(smaller, SIM_QUIETLY);
  w->attempts++;
  if (result.verdict != w->verdict || result.property != w->property) return false;
  w->best = *smaller;
  return true;
}

/* Takes away one bit after the other; true: some could go. */
static bool drop_faults(struct shrinking *w) {
  bool some = false;
  for (uint32_t i = 0; i < SIM_FAULTS; i++) {
    struct sim_case smaller = w->best;
    if ((smaller.faults >> i & 1) == 0) continue;
    smaller.faults &= ~(UINT32_C(1) << i);
    some |= try(w, &smaller);
  }
  return some;
}

static bool drop_plans(struct shrinking *w, uint32_t plan_count) {
  bool some = false;
  for (uint32_t i = plan_count; i-- > 0;) {
    struct sim_case smaller = w->best;
    if ((smaller.plans_off >> i & 1) != 0) continue;
    smaller.plans_off |= UINT32_C(1) << i;
    some |= try(w, &smaller);
  }
  return some;
}

static void shorten(struct shrinking *w) {
  uint32_t high = w->best.trouble_ms, low = 0;
  for (int i = 0; i < 12 && high > low + 50; i++) {
    struct sim_case smaller = w->best;
    smaller.trouble_ms = (low + high) / 2;
    if (try(w, &smaller)) {
      high = smaller.trouble_ms;
    } else {
      low = smaller.trouble_ms;
    }
  }
}

uint32_t sim_shrink(struct sim_case *set, const struct sim_result *failure) {
  struct shrinking w = {.best = *set, .verdict = failure->verdict, .property = failure->property};
  w.best.faults = sim_faults_of(set);
  w.best.has_faults = true;
  w.best.faults_off = 0;
  if (w.best.trouble_ms == 0) w.best.trouble_ms = SIM_TROUBLE_MS;
  struct sim_case whole = w.best;
  if (!try(&w, &whole)) return w.attempts; /* it is not the same twice */
  for (int i = 0; i < 3 && drop_faults(&w); i++) continue;
  for (int i = 0; i < 3 && drop_plans(&w, SIM_PLANS_MAX); i++) continue;
  (void)drop_faults(&w);
  shorten(&w);
  *set = w.best;
  return w.attempts;
}

/* ---- as options ---- */

bool sim_names_to_bits(const struct sim_name *names, int count, const char *list, uint32_t *out) {
  char copy[512], *rest = copy, *name;
  snprintf(copy, sizeof copy, "%s", list);
  while ((name = strsep(&rest, ",")) != NULL) {
    int i = 0;
    while (i < count && strcmp(names[i].name, name) != 0) i++;
    if (i < count) *out |= UINT32_C(1) << i;
    if (i < count || strcmp(name, "none") == 0) continue;
    fprintf(stderr, "vow-sim: %s is none of:", name);
    for (i = 0; i < count; i++) fprintf(stderr, " %s", names[i].name);
    fputc('\n', stderr);
    return false;
  }
  return true;
}

static void print_names(uint32_t bits) {
  const char *comma = "";
  if (bits == 0) fputs("none", stdout);
  for (uint32_t i = 0; i < SIM_FAULTS; i++) {
    if ((bits >> i & 1) == 0) continue;
    printf("%s%s", comma, sim_faults[i].name);
    comma = ",";
  }
}

static void print_plans(uint32_t off) {
  const char *comma = "";
  fputs(" --plans ", stdout);
  if (off == (UINT32_C(1) << SIM_PLANS_MAX) - 1) fputs("none", stdout);
  for (uint32_t i = 0; i < SIM_PLANS_MAX; i++) {
    if ((off >> i & 1) != 0) continue;
    printf("%s%u", comma, i);
    comma = ",";
  }
}

void sim_print_case(const struct sim_case *set) {
  printf("--replay %llu", (unsigned long long)set->seed);
  if (set->has_faults) {
    fputs(" --faults ", stdout);
    print_names(set->faults);
  }
  if (set->faults_off != 0) {
    fputs(" --without ", stdout);
    print_names(set->faults_off);
  }
  if (set->plans_off != 0) print_plans(set->plans_off);
  if (set->trouble_ms != 0) printf(" --trouble-ms %u", set->trouble_ms);
  if (set->steps_max != 0) printf(" --steps %u", set->steps_max);
  if (set->mistake != SIM_MISTAKE_NONE) printf(" --mistake %s", sim_mistakes[set->mistake].name);
  for (uint32_t i = 0; i < SIM_CRASHES_MAX; i++) {
    const struct sim_crash *crash = &set->crashes[i];
    bool coordinates = crash->node < SIM_PARTICIPANT;
    if (crash->action == 0) continue;
    printf(" --crash %c%d:%u%s", coordinates ? 'c' : 'p',
           coordinates ? crash->node : crash->node - SIM_PARTICIPANT, crash->action,
           crash->keep ? ":keep" : "");
  }
}
