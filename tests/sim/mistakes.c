/*
 * Each seeded mistake, and who catches it. A run goes on after a property failed, without it, so
 * that all who would notice are known; a mistake is caught when the property that is to catch it
 * does, and for those that are to show what one property alone is worth, when no other does.
 */
#include <stdio.h>
#include <string.h>

#include "attempt.h"

/* A mistake that anybody may notice is played no longer than until it was, and so may take long. */
#define PATIENCE 60

/* What few seeds show: for these the search begins at one that did, where the product has not
 * changed since, and goes on behind it. */
static const struct {
  enum sim_mistake mistake;
  uint64_t seed;
} rare[] = {
    {SIM_MISTAKE_GAP_STAYS, 4620},    {SIM_MISTAKE_KNOWN_FORGETS, 4673},
    {SIM_MISTAKE_KNOWN_EARLY, 14414}, {SIM_MISTAKE_DEAF_TOOL, 4249},
    {SIM_MISTAKE_MEMORY_ONLY, 8398},
};

static uint64_t first_seed(enum sim_mistake mistake, uint64_t otherwise) {
  for (size_t i = 0; i < sizeof rare / sizeof *rare; i++) {
    if (rare[i].mistake == mistake) return rare[i].seed;
  }
  return otherwise;
}

static void note_caught(uint32_t failed) {
  for (uint32_t i = 0; i < SIM_PROPERTIES; i++) {
    if ((failed >> i & 1) == 0 || sim_report->caught[i] != 0) continue;
    sim_report->caught[i] = (uint32_t)sim_report->set.seed;
  }
}

static void play_mistake(const void *context) {
  const struct sim_arguments *a = context;
  struct sim_case set = a->set;
  const struct sim_mistake_rule *rule = &sim_mistake_rules[set.mistake];
  for (set.seed = a->start; set.seed < a->start + a->seeds; set.seed++) {
    note_caught(sim_play(&set, SIM_COLLECTING).failed);
    /* Who else catches it is of interest only where nobody else may. */
    if (!rule->only && sim_report->caught[rule->property] != 0) return;
  }
}

/* Every seed, also after one that stopped the program. */
static void play_all(struct sim_arguments a) {
  if (!sim_mistake_rules[a.set.mistake].only) a.seeds *= PATIENCE;
  uint64_t end = a.start + a.seeds;
  memset(sim_report->caught, 0, sizeof sim_report->caught);
  while (!sim_apart(play_mistake, &a)) {
    note_caught(UINT32_C(1) << sim_report->result.property);
    a.start = sim_report->set.seed + 1;
    a.seeds = end - a.start;
    if (a.seeds == 0) return;
    const struct sim_mistake_rule *rule = &sim_mistake_rules[a.set.mistake];
    if (!rule->only && sim_report->caught[rule->property] != 0) return;
  }
}

static bool judge(enum sim_mistake mistake, uint32_t *shown) {
  const struct sim_mistake_rule *rule = &sim_mistake_rules[mistake];
  bool others = false;
  printf("%-20s", sim_mistakes[mistake].name);
  for (uint32_t i = 0; i < SIM_PROPERTIES; i++) {
    if (sim_report->caught[i] == 0) continue;
    printf(" %s (seed %u)", sim_properties[i].name, sim_report->caught[i]);
    others |= i != rule->property;
  }
  bool caught = sim_report->caught[rule->property] != 0;
  if (!caught)
    printf("  NOT CAUGHT by %s: %s", sim_properties[rule->property].name,
           sim_mistakes[mistake].what);
  if (caught && rule->only && others)
    printf("  NOT ONLY by %s", sim_properties[rule->property].name);
  if (caught && rule->only && !others) fputs("  and by nobody else", stdout);
  putchar('\n');
  if (caught) *shown |= UINT32_C(1) << rule->property;
  return caught && (!rule->only || !others);
}

int sim_suite_mistakes(const struct sim_arguments *a) {
  int verdict = SIM_OK;
  uint32_t shown = 0;
  for (int m = SIM_MISTAKE_NONE + 1; m < SIM_MISTAKES; m++) {
    struct sim_arguments own = *a;
    own.set.mistake = (enum sim_mistake)m;
    own.start = first_seed(own.set.mistake, a->start);
    play_all(own);
    if (!judge((enum sim_mistake)m, &shown)) verdict = SIM_UNPROVEN;
  }
  for (uint32_t i = 0; i < SIM_PROPERTIES; i++) {
    if ((shown >> i & 1) != 0) continue;
    printf("%s was not shown to be able to fail\n", sim_properties[i].name);
    verdict = SIM_UNPROVEN;
  }
  return verdict;
}
