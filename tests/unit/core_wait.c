/*
 * When a few decisions can wait for prepares to share their requests with, and when a record for
 * votes to share its sync with. How long they do is the business of the driver (unit.api) and of
 * the log (unit.log_ahead).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core_world.h"

static int setup(void **state) {
  struct world *w = world_new();
  w->offer = 32;
  w->more = true; /* messages leave with ticks only */
  *state = w;
  return 0;
}

static int teardown(void **state) {
  world_free(*state);
  return 0;
}

/* Their prepares leave and are answered, and the decisions are durable. */
static void decide(struct world *w, uint32_t first, uint32_t last) {
  char branch[16];

  tick(w);
  for (uint32_t n = first; n <= last; n++) {
    (void)snprintf(branch, sizeof(branch), "a%u", n);
    yes(w, branch);
    (void)snprintf(branch, sizeof(branch), "z%u", n);
    yes(w, branch);
  }
  sync(w);
}

/* The participants have shown that they take batches. */
static void warm_up(struct world *w) {
  begin_from(w, 1, 1);
  decide(w, 1, 1);
  tick(w);
  acknowledge(w, "a1", VOW_OUTCOME_COMMITTED);
  acknowledge(w, "z1", VOW_OUTCOME_COMMITTED);
}

static void can_wait(const struct world *w, bool expected) {
  assert_int_equal(vow_core_messages_can_wait(w->core), expected);
}

static void decisions_wait_for_as_many_prepares(void **state) {
  struct world *w = *state;

  can_wait(w, false); /* there is nothing */
  warm_up(w);
  can_wait(w, false);
  begin_from(w, 2, 3);
  decide(w, 2, 3);
  can_wait(w, true);
  begin_from(w, 4, 4);
  can_wait(w, true);
  begin_from(w, 5, 5);
  can_wait(w, false);
}

static void prepares_wait_for_nobody(void **state) {
  struct world *w = *state;

  begin_from(w, 1, 1);
  can_wait(w, false);
  decide(w, 1, 1);
  can_wait(w, true);
  tick(w);
  can_wait(w, false); /* they have left */
}

static void many_wait_for_nobody(void **state) {
  struct world *w = *state;

  warm_up(w);
  begin_from(w, 2, 9);
  decide(w, 2, 9);
  can_wait(w, true); /* sixteen messages */
  tick(w);
  begin_from(w, 10, 18);
  decide(w, 10, 18);
  can_wait(w, false); /* eighteen */
}

static void many_others_end_it(void **state) {
  struct world *w = *state;

  warm_up(w);
  begin_from(w, 2, 2);
  decide(w, 2, 2);
  can_wait(w, true);
  begin_from(w, 3, 20);
  can_wait(w, false);
}

/* A request to a participant that takes no batches carries one message, whoever comes. */
static void single_messages_wait_for_nobody(void **state) {
  struct world *w = *state;

  w->offer = 0;
  warm_up(w);
  begin_from(w, 2, 2);
  decide(w, 2, 2);
  can_wait(w, false);
}

/* A message whose request was lost travels alone. */
static void the_lost_wait_for_nobody(void **state) {
  struct world *w = *state;

  warm_up(w);
  begin_from(w, 2, 3);
  decide(w, 2, 3);
  tick(w);
  acknowledge(w, "z2", VOW_OUTCOME_COMMITTED);
  acknowledge(w, "z3", VOW_OUTCOME_COMMITTED);
  whole_batch(w, "a2", VOW_REPLY_ENDPOINT_DOWN, false);
  wait_ms(w, 100);
  acknowledge(w, "a2", VOW_OUTCOME_COMMITTED); /* the probe: they take batches again */
  assert_int_equal(world_endpoint(w, "http://a").queued, 1);
  can_wait(w, false);
}

static void aborts_wait_and_forgets_do_not(void **state) {
  struct world *w = *state;

  warm_up(w);
  begin_from(w, 2, 2);
  tick(w);
  yes(w, "a2");
  no(w, "z2", "no");
  can_wait(w, true); /* a2 is to abort */
  tick(w);
  acknowledge(w, "a2", VOW_OUTCOME_HEURISTIC_COMMIT);
  sync(w);
  can_wait(w, false);
  forget(w, 2);
  sync(w);
  can_wait(w, false);
}

/* From the prepare on, until the last vote is there. */
static void votes_are_awaited(void **state) {
  struct world *w = *state;

  begin(w, "a b");
  assert_int_equal(vow_core_awaits_votes(w->core), 0);
  commit(w, T1);
  tick(w);
  yes(w, "a");
  assert_int_equal(vow_core_awaits_votes(w->core), 1);
  yes(w, "b");
  assert_int_equal(vow_core_awaits_votes(w->core), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(decisions_wait_for_as_many_prepares),
      TEST(prepares_wait_for_nobody),
      TEST(many_wait_for_nobody),
      TEST(many_others_end_it),
      TEST(single_messages_wait_for_nobody),
      TEST(the_lost_wait_for_nobody),
      TEST(aborts_wait_and_forgets_do_not),
      TEST(votes_are_awaited),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
