/*
 * Commit in two phases: who is asked, what is written, who is told, and in which order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core_world.h"

static int setup(void **state) {
  *state = world_new();
  return 0;
}

static int teardown(void **state) {
  world_free(*state);
  return 0;
}

/* Two yes votes commit: the decision is durable before anybody hears of it. */
static void two_yes_votes_commit(void **state) {
  struct world *w = *state;

  begin(w, "a b");
  expect(w, "answer #1 ok t1 active created");
  commit(w, T1);
  expect(w, "send prepare t1/a", "send prepare t1/b");
  yes(w, "a");
  expect(w, "");
  yes(w, "b");
  expect(w, "log! t1 committing");
  sync(w);
  expect(w, "answer #2 ok t1 committing", "send commit t1/a", "send commit t1/b");
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  expect(w, "");
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  expect(w, "log t1 committed ended");
  expect_picture(w, T1, "committed [a committed, b committed]");
  sync(w);
  expect(w, "");
  expect_picture(w, T1, "gone");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(two_yes_votes_commit, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
