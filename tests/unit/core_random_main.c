/*
 * Thousands of random schedules (core_random.h). A failure names its seed:
 *
 *   VOW_SEED=4711 ./test_core_random        plays that one and prints its trace
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core_random.h"

#define SEEDS 800

static uint64_t playing;
static bool finished;

static int teardown(void **state) {
  (void)state;
  if (!finished) {
    fprintf(stderr, "%s\nVOW_SEED=%llu\n", core_random_trace(), (unsigned long long)playing);
  }
  core_random_free();
  return 0;
}

static void play_seeds(unsigned troubles) {
  const char *one = getenv("VOW_SEED");
  const char *many = getenv("VOW_SEEDS");
  uint64_t first = one == NULL ? 1 : strtoull(one, NULL, 10);
  uint64_t count = one != NULL ? 1 : many != NULL ? strtoull(many, NULL, 10) : SEEDS;

  finished = false;
  for (playing = first; playing < first + count; playing++) core_random_play(playing, troubles);
  finished = true;
}

/* Whatever happens short of broken promises: AC1 to AC3, D1, every token answered once, and after
 * healing everything ends. */
static void promises_are_kept(void **state) {
  (void)state;
  play_seeds(~CORE_RANDOM_HEURISTICS);
}

/* With broken promises and operators everything still ends, and no token is lost. */
static void broken_promises_end_too(void **state) {
  (void)state;
  play_seeds(CORE_RANDOM_ALL);
}

/* Without any trouble all that is asked to commit commits. */
static void without_trouble_all_commit(void **state) {
  (void)state;
  play_seeds(0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(without_trouble_all_commit, teardown),
      cmocka_unit_test_teardown(promises_are_kept, teardown),
      cmocka_unit_test_teardown(broken_promises_end_too, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
