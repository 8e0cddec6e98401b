/* Thousands of walks (branch_walk.h). A seed replays one: test_branch_walk SEED. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "branch_walk.h"
#include "core/branch.h"

#define WALKS 3000

static void whatever_happens_every_branch_ends_and_ends_one_way(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= WALKS; seed++) branch_walk(seed);
  /* Walks that never get somewhere prove nothing of it. Here are no operators. */
  for (int i = 0; i < VOW_PBRANCH_HEURISTIC_CALLING; i++) {
    if (!(branch_walk_seen() & 1U << i)) fail_msg("no walk came to %s", vow_pbranch_state_name(i));
  }
}

int main(int argc, char **argv) {
  if (argc == 2) {
    branch_walk(strtoull(argv[1], NULL, 10));
    return 0;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whatever_happens_every_branch_ends_and_ends_one_way),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
