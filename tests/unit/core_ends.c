/*
 * Ends that wait for one another, so that few transactions cost few writes: how many, how long, and
 * what does not let them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core_world.h"

enum { TOGETHER = 3, WAIT_MS = 50 };

static int setup(void **state) {
  struct world *w = world_new();
  w->config.ends_together = TOGETHER;
  w->config.ends_wait_ms = WAIT_MS;
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};
  world_must(w, &event);
  *state = w;
  return 0;
}

static int teardown(void **state) {
  world_free(*state);
  return 0;
}

static void step(struct world *w, enum vow_event_type type) {
  struct vow_event event = {.type = type};
  world_must(w, &event);
}

/* It has committed, and all have acknowledged. */
static void end_one(struct world *w) {
  begin_one_shot(w, "a+ b+");
  yes(w, "a");
  yes(w, "b");
  sync(w);
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  world_forget_trace(w);
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
}

/* Until then they are the core's, and nothing of them is lost for those who look. */
static void ends_wait_until_there_are_enough(void **state) {
  struct world *w = *state;
  end_one(w);
  expect(w, "");
  sync(w);
  expect_picture(w, T1, "committed [a committed, b committed]");
  end_one(w);
  expect(w, "");
  end_one(w);
  expect(w, "log t1 committed ended", "log t2 committed ended", "log t3 committed ended");
  sync(w);
  for (uint32_t txn = T1; txn <= T3; txn++) expect_picture(w, txn, "gone");
  end_one(w);
  expect(w, "");
}

static void ends_wait_for_so_long(void **state) {
  struct world *w = *state;
  end_one(w);
  wait_ms(w, WAIT_MS - 1);
  expect(w, "");
  end_one(w);
  expect(w, "");
  wait_ms(w, 1);
  expect(w, "log t1 committed ended", "log t2 committed ended");
  sync(w);
  expect_picture(w, T1, "gone");
  expect_picture(w, T2, "gone");
}

static void who_looks_into_the_log_finds_them_there(void **state) {
  struct world *w = *state;
  step(w, VOW_EVENT_WRITE_ENDS);
  end_one(w);
  expect(w, "");
  step(w, VOW_EVENT_WRITE_ENDS);
  expect(w, "log t1 committed ended");
  end_one(w);
  expect(w, "");
}

static void a_daemon_that_stops_leaves_none_behind(void **state) {
  struct world *w = *state;
  end_one(w);
  step(w, VOW_EVENT_DRAIN);
  expect(w, "log t1 committed ended");
}

static void without_company_each_is_written_at_once(void **state) {
  struct world *w = *state;
  for (w->config.ends_together = 0; w->config.ends_together < 2; w->config.ends_together++) {
    struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};
    world_must(w, &event);
    end_one(w);
    expect_some(w, "committed ended");
  }
}

/* Aborted under a key, so with a record; it has ended before that is written, or durable. */
static void an_end_goes_with_its_transactions_other_record(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_BEGIN, .u.begin.idempotency_key = "k"};
  begin_with(w, &event, "a+");
  world_forget_trace(w);
  abort_txn(w, T1);
  expect(w, "log! t1 aborted ended");
  struct vow_event other = {.type = VOW_EVENT_BEGIN, .u.begin.idempotency_key = "l"};
  begin_with(w, &other, "a");
  abort_txn(w, T2);
  world_forget_trace(w);
  acknowledge(w, "a", VOW_OUTCOME_ABORTED);
  expect(w, "log t2 aborted ended");
}

#define test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(ends_wait_until_there_are_enough),
      test(ends_wait_for_so_long),
      test(who_looks_into_the_log_finds_them_there),
      test(a_daemon_that_stops_leaves_none_behind),
      test(without_company_each_is_written_at_once),
      test(an_end_goes_with_its_transactions_other_record),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
