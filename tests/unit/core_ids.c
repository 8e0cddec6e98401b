/*
 * C6: ids grow, whatever the clock does, and are issued only below a ceiling that is durable. And
 * the watermark: nothing at or above it is over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core_world.h"

/* The world holds every new id against the last one and against the durable ceiling. */

static int setup(void **state) {
  *state = world_new();
  return 0;
}

static int teardown(void **state) {
  world_free(*state);
  return 0;
}

static uint64_t newest_ms(const struct world *w) {
  return vow_id_unix_ms(w->ids[w->id_count - 1]);
}

/* An id tells when its transaction began. */
static void ids_follow_the_clock(void **state) {
  struct world *w = *state;

  begin(w, "");
  assert_int_equal(newest_ms(w), w->wall_ms);
  assert_int_equal(vow_id_counter(w->ids[0]), 0);
  begin(w, "");
  assert_int_equal(newest_ms(w), w->wall_ms);
  assert_int_equal(vow_id_counter(w->ids[1]), 1);
  w->wall_ms += 5;
  begin(w, "");
  assert_int_equal(newest_ms(w), w->wall_ms);
  assert_int_equal(vow_id_counter(w->ids[2]), 0);
  assert_true(vow_id_is_v7(w->ids[2]));
}

static void begin_more(struct world *w, int count) {
  for (int i = 0; i < count; i++) {
    sync(w);
    world_forget_past(w);
    begin(w, "");
    abort_txn(w, w->id_count);
  }
}

/* When the clock goes back, ids count on; when it stands, a millisecond lends the next, and that
 * the one behind it. */
static void the_clock_may_stand_or_go_back(void **state) {
  struct world *w = *state;

  begin(w, "");
  uint64_t first = newest_ms(w);
  w->wall_ms -= 1000000;
  begin(w, "");
  abort_txn(w, T1);
  abort_txn(w, T2);
  begin_more(w, 4094);
  assert_int_equal(newest_ms(w), first);
  assert_int_equal(vow_id_counter(w->ids[w->id_count - 1]), 0xFFF);
  begin(w, "");
  assert_int_equal(newest_ms(w), first + 1);
  assert_int_equal(vow_id_counter(w->ids[w->id_count - 1]), 0);
  abort_txn(w, w->id_count);
  begin_more(w, 4096);
  assert_int_equal(newest_ms(w), first + 2);
  assert_int_equal(vow_id_counter(w->ids[w->id_count - 1]), 0);
}

/* A begin that finds no id below the durable ceiling waits for one, and those behind it wait, too.
 */
static void a_begin_waits_for_the_ceiling(void **state) {
  struct world *w = *state;
  struct vow_core_counts counts;
  struct vow_event keyed = {.u.begin = {.idempotency_key = "k", .commit = true}};

  w->wall_ms += 86400000; /* the clock is set right */
  begin(w, "a+");
  expect(w, "log! ceiling");
  begin_one_shot(w, "b+ c+");
  begin_with(w, &keyed, "d+ e+");
  keyed = (struct vow_event){.u.begin = {.idempotency_key = "k", .commit = true}};
  begin_with(w, &keyed, "d+ e+");
  w->wall_ms -= 86400000; /* and wrong again: the first still goes first */
  begin(w, "f+");
  expect(w, "");
  assert_null(vow_core_find_key(w->core, "k"));
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.begun, 0);
  w->wall_ms += 86400000;
  sync(w);
  expect(w, "answer #1 ok t1 active created", "answer #5 ok t4 active created", "send prepare t2/b",
         "send prepare t2/c", "send prepare t3/d", "send prepare t3/e");
  no(w, "d", NULL);
  sync(w);
  expect(w, "log! t3 aborting",
         "answer #3 transaction-aborted t3 aborting created: branch 'd' voted abort",
         "answer #4 transaction-aborted t3 aborting: branch 'd' voted abort");
}

/* The clock may run past the new ceiling, too, before it is durable. */
static void a_begin_may_wait_twice(void **state) {
  struct world *w = *state;

  w->wall_ms += 86400000;
  begin(w, "");
  w->wall_ms += 86400000;
  world_forget_trace(w);
  sync(w);
  expect(w, "log! ceiling");
  sync(w);
  expect(w, "answer #1 ok t1 active created");
}

/* Whoever held its breath through a shutdown leaves nothing behind. */
static void held_begins_are_freed(void **state) {
  struct world *w = *state;

  w->wall_ms += 86400000;
  begin_one_shot(w, "a+ b+");
  wait_ms(w, 30000); /* its wait is over, but it has no name to be told by */
  expect(w, "log! ceiling");
}

/* A client that gave up is told "pending" as soon as there is something to call it by. */
static void a_held_begin_may_be_pending(void **state) {
  struct world *w = *state;
  struct vow_event event = {.u.begin = {.commit = true, .no_wait = true}};

  w->wall_ms += 86400000;
  begin_with(w, &event, "a+ b+");
  expect(w, "log! ceiling");
  sync(w);
  expect(w, "answer #1 ok t1 preparing created pending", "send prepare t1/a", "send prepare t1/b");
}

/* When half the reserve is used, the next ceiling rides along unforced, before anybody waits. */
static void the_ceiling_moves_ahead(void **state) {
  struct world *w = *state;

  w->wall_ms += 5000;
  begin(w, "");
  expect(w, "answer #1 ok t1 active created");
  w->wall_ms += 1;
  begin(w, "");
  expect(w, "log ceiling", "answer #2 ok t2 active created");
  begin(w, "");
  expect(w, "answer #3 ok t3 active created");
  w->wall_ms += 5000; /* it was not synced in time: now somebody waits for one */
  begin(w, "");
  expect(w, "log! ceiling");
  sync(w);
  expect(w, "answer #4 ok t4 active created");
}

/* A smaller reserve never lowers a ceiling. */
static void the_reserve_may_shrink(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};

  w->wall_ms += 9999;
  begin(w, ""); /* the next ceiling rides along, 10 s ahead */
  w->config.id_reserve_ms = 10;
  world_must(w, &event);
  w->wall_ms += 100;
  begin(w, "");
  expect(w, "log ceiling", "answer #1 ok t1 active created", "log! ceiling");
  sync(w);
  expect(w, "answer #2 ok t2 active created");
  w->wall_ms += 9000;
  begin(w, "");
  expect(w, "answer #3 ok t3 active created");
}

/* The core knows the durable ceiling: ids below it may have been issued, and it was not. */
static void knows_the_ceiling(const struct world *w) {
  struct vow_id below = vow_id_floor(vow_id_unix_ms(w->ceiling) - 1, 0);
  assert_true(vow_core_may_presume(w->core, below));
  assert_false(vow_core_may_presume(w->core, w->ceiling));
}

/* A new core begins above every id that can have been issued, though the clock is behind. */
static void ids_grow_across_restarts(void **state) {
  struct world *w = *state;

  begin(w, "");
  w->wall_ms -= 3600000;
  crash(w, 0);
  knows_the_ceiling(w);
  world_forget_trace(w);
  begin(w, "");
  expect(w, "");
  sync(w);
  expect(w, "answer #2 ok t2 active created");
  knows_the_ceiling(w);
}

/* That may be in the middle of a millisecond. */
static void ids_go_on_within_a_millisecond(void **state) {
  struct world *w = *state;

  w->ceiling = vow_id_floor(w->wall_ms + 60000, 7);
  crash(w, 0);
  begin(w, "");
  sync(w);
  assert_int_equal(newest_ms(w), w->wall_ms + 60000);
  assert_int_equal(vow_id_counter(w->ids[0]), 8);
}

/* A clock far beyond reason is taken for a day in the far future, and ids still grow. */
static void a_mad_clock_is_survived(void **state) {
  struct world *w = *state;

  w->wall_ms = UINT64_MAX - 100000;
  begin(w, "");
  sync(w);
  assert_int_equal(newest_ms(w), UINT64_C(1) << 47);
  begin(w, "");
  w->wall_ms = 0;
  begin(w, "");
  assert_int_equal(w->id_count, 3);
}

/* The watermark is the oldest transaction in the core, until its end is durable. */
static void the_watermark_waits_for_the_oldest(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "a+ b+");
  begin_one_shot(w, "");
  sync(w);
  assert_int_equal(vow_id_compare(vow_core_finished_below(w->core), world_id(w, T1)), 0);
  read_only(w, "a");
  read_only(w, "b");
  assert_int_equal(vow_id_compare(vow_core_finished_below(w->core), world_id(w, T1)), 0);
  sync(w);
  struct vow_id below = vow_core_finished_below(w->core);
  assert_true(vow_id_compare(below, world_id(w, T2)) > 0);
  begin(w, "");
  assert_true(vow_id_compare(below, world_id(w, T3)) <= 0);
  assert_int_equal(vow_id_compare(vow_core_finished_below(w->core), world_id(w, T3)), 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(ids_follow_the_clock),          TEST(the_clock_may_stand_or_go_back),
      TEST(a_begin_waits_for_the_ceiling), TEST(a_begin_may_wait_twice),
      TEST(held_begins_are_freed),         TEST(a_held_begin_may_be_pending),
      TEST(the_ceiling_moves_ahead),       TEST(the_reserve_may_shrink),
      TEST(ids_grow_across_restarts),      TEST(ids_go_on_within_a_millisecond),
      TEST(a_mad_clock_is_survived),       TEST(the_watermark_waits_for_the_oldest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
