/*
 * Endpoints: a dead participant costs one probe at a time, whatever waits for it, and delays nobody
 * else; a branch that fails is retried by itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

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

/* Begins transactions that have decided to commit and wait for branches aN at http://a. */
static void committing(struct world *w, uint32_t count) {
  char text[64];

  for (uint32_t i = 1; i <= count; i++) {
    (void)snprintf(text, sizeof(text), "a%u@a+ b%u@b+", i, i);
    begin_one_shot(w, text);
    (void)snprintf(text, sizeof(text), "a%u", i);
    yes(w, text);
    (void)snprintf(text, sizeof(text), "b%u", i);
    yes(w, text);
  }
  sync(w);
}

static uint32_t sent_to(const struct world *w, const char *url) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < w->send_count; i++) count += strcmp(w->sends[i].url, url) == 0;
  return count;
}

static bool one_out(const struct world *w, const char *url, char *branch, size_t bytes) {
  for (uint32_t i = 0; i < w->send_count; i++) {
    if (w->sends[i].done || strcmp(w->sends[i].url, url) != 0) continue;
    (void)snprintf(branch, bytes, "%s", w->sends[i].branch);
    return true;
  }
  return false;
}

/* Twenty transactions wait for a dead participant: it gets one probe at a time, ever less often,
 * each with another message; the participant next door is not held up. */
static void the_dead_cost_one_probe_at_a_time(void **state) {
  struct world *w = *state;
  struct vow_core_counts counts;
  char branch[32], last[32] = "";

  committing(w, 20);
  while (one_out(w, "http://b", branch, sizeof(branch))) {
    acknowledge(w, branch, VOW_OUTCOME_COMMITTED);
  }
  assert_int_equal(world_endpoint(w, "http://b").queued, 0);
  down(w, "a1"); /* two were under way: one outage */
  down(w, "a2");
  assert_int_equal(world_endpoint(w, "http://a").failures_in_row, 1);
  assert_false(world_endpoint(w, "http://a").up);
  assert_string_equal(world_endpoint(w, "http://a").last_error, "it failed");
  assert_in_range(world_endpoint(w, "http://a").retry_in_ms, 50, 100);

  uint32_t before = sent_to(w, "http://a");
  uint64_t began = w->now_ms;
  for (uint32_t probe = 1; probe <= 10; probe++) {
    while (!one_out(w, "http://a", branch, sizeof(branch))) {
      wait_ms(w, vow_core_next_deadline(w->core) - w->now_ms);
    }
    assert_int_equal(world_endpoint(w, "http://a").inflight, 1);
    assert_string_not_equal(branch, last);
    memcpy(last, branch, sizeof(last));
    down(w, branch);
    assert_int_equal(world_endpoint(w, "http://a").failures_in_row, probe + 1);
    wait_ms(w, world_endpoint(w, "http://a").retry_in_ms - 1);
    assert_int_equal(sent_to(w, "http://a"), before + probe);
    wait_ms(w, 1);
  }
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.endpoints_down, 1);
  assert_in_range(w->now_ms - began, 5000, 12000); /* 0.1 + 0.2 + … + 1.6 + 1.6 … s, jittered */

  assert_true(one_out(w, "http://a", branch, sizeof(branch)));
  acknowledge(w, branch, VOW_OUTCOME_COMMITTED); /* it is back: the queue drains */
  assert_true(world_endpoint(w, "http://a").up);
  assert_null(world_endpoint(w, "http://a").last_error);
  assert_int_equal(world_endpoint(w, "http://a").failures_in_row, 0);
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.endpoints_down, 0);
  assert_int_equal(world_endpoint(w, "http://a").inflight, 2);
  while (one_out(w, "http://a", branch, sizeof(branch))) {
    acknowledge(w, branch, VOW_OUTCOME_COMMITTED);
  }
  assert_int_equal(sent_to(w, "http://a"), before + 10 + 20);
}

/* What left before the outage says nothing about its end: neither failures nor answers. */
static void stragglers_change_nothing(void **state) {
  struct world *w = *state;

  committing(w, 3);
  down(w, "a1");
  assert_int_equal(world_endpoint(w, "http://a").failures_in_row, 1);
  acknowledge(w, "a2", VOW_OUTCOME_COMMITTED);
  assert_false(world_endpoint(w, "http://a").up);
  world_forget_trace(w);
  wait_ms(w, 100);
  expect(w, "send commit t3/a3");
  acknowledge(w, "a3", VOW_OUTCOME_COMMITTED);
  expect_some(w, "send commit t1/a1");
  assert_true(world_endpoint(w, "http://a").up);
}

/* Nor is a probe that hangs answered by an answer from before the outage. */
static void stragglers_answer_no_probe(void **state) {
  struct world *w = *state;

  committing(w, 3);
  down(w, "a1");
  wait_ms(w, 100);
  assert_true(under_way(w, "a3"));
  wait_ms(w, 1);
  acknowledge(w, "a2", VOW_OUTCOME_COMMITTED);
  silent(w, "a3");
  assert_int_equal(world_endpoint(w, "http://a").failures_in_row, 2);
  wait_ms(w, 200);
  assert_true(under_way(w, "a1"));
}

/* A straggler that has failed leaves its slot to those that wait, also when nobody wants its own
 * message any more. */
static void a_failed_straggler_makes_room(void **state) {
  struct world *w = *state;

  committing(w, 5);
  down(w, "a1");
  wait_ms(w, 100);
  acknowledge(w, "a3", VOW_OUTCOME_COMMITTED); /* the probe */
  assert_true(under_way(w, "a4"));
  assert_false(under_way(w, "a5"));
  resolve(w, T2, 1, VOW_OUTCOME_COMMITTED);
  down(w, "a2");
  assert_true(world_endpoint(w, "http://a").up);
  assert_true(under_way(w, "a5"));
}

/* One message that is never answered holds up nobody where others are answered meanwhile. */
static void a_message_that_hangs_is_tried_by_itself(void **state) {
  struct world *w = *state;

  committing(w, 2);
  acknowledge(w, "b1", VOW_OUTCOME_COMMITTED);
  acknowledge(w, "b2", VOW_OUTCOME_COMMITTED);
  wait_ms(w, 1);
  acknowledge(w, "a2", VOW_OUTCOME_COMMITTED);
  silent(w, "a1");
  assert_true(world_endpoint(w, "http://a").up);
  assert_int_equal(world_endpoint(w, "http://a").inflight, 0);
  assert_false(vow_core_endpoint_is_down(w->core, "http://a"));
  begin_one_shot(w, "a3@a+ b3@b+");
  assert_true(under_way(w, "a3"));
  wait_ms(w, 100);
  assert_true(under_way(w, "a1"));
  yes(w, "a3");
  yes(w, "b3");
  sync(w);
  acknowledge(w, "a3", VOW_OUTCOME_COMMITTED);
  silent(w, "a1");
  assert_true(world_endpoint(w, "http://a").up);
  wait_ms(w, 99); /* longer each time: 100 to 200 ms now */
  assert_false(under_way(w, "a1"));
  wait_ms(w, 101);
  acknowledge(w, "a1", VOW_OUTCOME_COMMITTED);
  assert_int_equal(world_endpoint(w, "http://a").inflight, 0);
}

/* And it is no answer itself: what left after the last real one, and hangs, too, takes the endpoint
 * down. Until then what waits for a slot gets it. */
static void silence_is_no_answer(void **state) {
  struct world *w = *state;

  committing(w, 4);
  wait_ms(w, 1);
  acknowledge(w, "a2", VOW_OUTCOME_COMMITTED);
  wait_ms(w, 1);
  assert_false(under_way(w, "a4"));
  silent(w, "a1");
  assert_true(under_way(w, "a4"));
  assert_true(world_endpoint(w, "http://a").up);
  silent(w, "a3");
  assert_false(world_endpoint(w, "http://a").up);
}

/* Only where no answer came it counts that it took too long, or that nobody was reached. */
static void an_answer_is_one_whatever_else_is_said(void **state) {
  struct world *w = *state;

  begin(w, "a@x+ b@x+");
  commit_no_wait(w, T1);
  wait_ms(w, 1);
  yes(w, "b");
  world_forget_trace(w);
  w->sends[0].timed_out = true;
  world_reply(w, &w->sends[0], VOW_REPLY_REFUSED, (struct vow_message_reply){0}, true);
  expect(w, "send abort t1/a", "send abort t1/b");
}

/* A connection that breaks is the endpoint's failure, though it has answered others. */
static void a_broken_connection_takes_it_down(void **state) {
  struct world *w = *state;

  committing(w, 2);
  wait_ms(w, 1);
  acknowledge(w, "a2", VOW_OUTCOME_COMMITTED);
  down(w, "a1");
  assert_false(world_endpoint(w, "http://a").up);
}

/* Where nothing else was answered, silence is the endpoint's. A second probe leaves beside one that
 * hangs, so that what is not to blame gets through; and no third. */
static void a_probe_that_hangs_has_a_second_beside_it(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};
  char first[32], second[32];

  w->config.inflight_per_endpoint_max = 4;
  world_must(w, &event);
  committing(w, 3);
  wait_ms(w, 10000);
  while (one_out(w, "http://a", first, sizeof(first))) silent(w, first);
  assert_false(world_endpoint(w, "http://a").up);
  assert_true(vow_core_endpoint_is_down(w->core, "http://a"));
  assert_false(vow_core_endpoint_is_down(w->core, "http://b"));
  assert_false(vow_core_endpoint_is_down(w->core, "http://nobody"));
  wait_ms(w, world_endpoint(w, "http://a").retry_in_ms);
  assert_true(one_out(w, "http://a", first, sizeof(first)));
  assert_int_equal(world_endpoint(w, "http://a").inflight, 1);
  assert_int_equal(world_endpoint(w, "http://a").retry_in_ms, 0);
  wait_ms(w, 99);
  assert_int_equal(world_endpoint(w, "http://a").inflight, 1);
  wait_ms(w, 1);
  assert_int_equal(world_endpoint(w, "http://a").inflight, 2);
  wait_ms(w, 5000);
  begin_one_shot(w, "a4@a+ b4@b+");
  sync(w); /* ids are long behind the clock */
  assert_int_equal(world_endpoint(w, "http://a").queued, 2);
  assert_int_equal(world_endpoint(w, "http://a").inflight, 2);
  for (uint32_t i = 0; i < w->send_count; i++) {
    const struct world_send *send = &w->sends[i];
    if (!send->done && strcmp(send->url, "http://a") == 0)
      (void)snprintf(second, sizeof(second), "%s", send->branch);
  }
  assert_string_not_equal(first, second);
  acknowledge(w, second, VOW_OUTCOME_COMMITTED);
  assert_true(world_endpoint(w, "http://a").up);
  silent(w, first);
  assert_true(world_endpoint(w, "http://a").up);
  assert_int_equal(world_endpoint(w, "http://a").inflight, 2); /* those that waited */
}

/* A branch that fails waits by itself, ever longer; the others go on. */
static void a_failing_branch_waits_alone(void **state) {
  struct world *w = *state;

  committing(w, 3);
  failed(w, "a1");
  assert_true(world_endpoint(w, "http://a").up);
  assert_true(under_way(w, "a3"));
  acknowledge(w, "a2", VOW_OUTCOME_COMMITTED);
  acknowledge(w, "a3", VOW_OUTCOME_COMMITTED);
  world_forget_trace(w);
  for (uint32_t most = 100; most <= 1600; most *= 2) {
    wait_ms(w, most / 2 - 1);
    expect(w, "");
    wait_ms(w, most / 2 + 1);
    expect(w, "send commit t1/a1");
    failed(w, "a1");
  }
  wait_ms(w, 1600); /* and no longer than that */
  expect(w, "send commit t1/a1");
}

/* Another limit counts at once. */
static void the_limit_may_be_raised(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};

  committing(w, 5);
  assert_int_equal(world_endpoint(w, "http://a").inflight, 2);
  w->config.inflight_per_endpoint_max = 4;
  world_must(w, &event);
  assert_int_equal(world_endpoint(w, "http://a").inflight, 4);
  w->config.inflight_per_endpoint_max = 1;
  world_must(w, &event);
  acknowledge(w, "a1", VOW_OUTCOME_COMMITTED);
  assert_int_equal(world_endpoint(w, "http://a").inflight, 3);
}

/* A smaller limit counts for pauses that have begun, of endpoints and of branches; a larger one and
 * the same do not. */
static void a_pause_under_way_may_be_shortened(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};

  committing(w, 1);
  for (int i = 0; i < 6; i++) {
    failed(w, "a1");
    down(w, "b1");
    if (i < 5) wait_ms(w, 1600);
  }
  w->config.retry_max_ms = 3600;
  world_must(w, &event);
  uint64_t left_ms = world_endpoint(w, "http://b").retry_in_ms;
  assert_in_range(left_ms, 800, 1600);
  w->config.retry_max_ms = 1600;
  world_must(w, &event);
  assert_int_equal(world_endpoint(w, "http://b").retry_in_ms, left_ms);
  world_forget_trace(w);
  w->config.retry_max_ms = 200;
  world_must(w, &event);
  assert_in_range(world_endpoint(w, "http://b").retry_in_ms, 100, 200);
  wait_ms(w, 99);
  expect(w, "");
  wait_ms(w, 101);
  assert_true(under_way(w, "a1"));
  assert_true(under_way(w, "b1"));
}

/* When the delay of a dead endpoint is over, the next message is its probe, whenever it comes. */
static void a_late_message_probes_at_once(void **state) {
  struct world *w = *state;

  committing(w, 1);
  down(w, "a1");
  resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
  wait_ms(w, 100);
  begin(w, "x@a+ y@y+");
  world_forget_trace(w);
  commit(w, T2);
  expect(w, "send prepare t2/x", "send prepare t2/y");
  begin(w, "x2@a+ y2@y+"); /* but only one */
  world_forget_trace(w);
  commit(w, T3);
  expect(w, "send prepare t3/y2");
}

/* Endpoints that nobody names are kept for display, up to a bound, the newest. */
static void idle_endpoints_are_bounded(void **state) {
  struct world *w = *state;
  struct vow_core_counts counts;
  char text[64];

  w->long_run = true;
  for (uint32_t i = 0; i < 250; i++) {
    (void)snprintf(text, sizeof(text), "a@a%03u+ b@b%03u+", i, i);
    begin(w, text);
    if (i == 0) { /* one of them is down when it goes */
      commit_no_wait(w, T1);
      not_delivered(w, "a");
      abort_txn(w, T1);
      no(w, "b", NULL);
    } else {
      abort_txn(w, i + 1);
    }
    sync(w);
  }
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.endpoints, 256);
  assert_int_equal(counts.endpoints_down, 0);
  begin(w, "a@a249+");
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.endpoints, 256);
  assert_int_equal(world_endpoint(w, "http://a249").branches, 1);
}

/* With its last branch an endpoint's outage is forgotten: nothing would probe it any more. */
static void idle_endpoints_are_not_down(void **state) {
  struct world *w = *state;
  struct vow_core_counts counts;

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  not_delivered(w, "a");
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.endpoints_down, 1);
  no(w, "b", NULL);
  sync(w);
  vow_core_counts(w->core, &counts); /* at once: no other step may come for long */
  assert_int_equal(counts.endpoints_down, 0);
  assert_int_equal(world_endpoint(w, "http://a").branches, 0);
  assert_true(world_endpoint(w, "http://a").up);
  assert_int_equal(world_endpoint(w, "http://a").failures_in_row, 0);
  assert_int_equal(world_endpoint(w, "http://a").retry_in_ms, 0);
  assert_null(world_endpoint(w, "http://a").last_error);

  begin(w, "a2@a+"); /* and the next who names it does not wait for the old delay */
  world_forget_trace(w);
  commit_no_wait(w, T2);
  sync(w);
  assert_true(under_way(w, "a2"));
}

/* The delay never passes its limit, whatever the doubling makes of it. */
static void the_longest_delay_is_kept(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};

  w->config.retry_min_ms = 1;
  w->config.retry_max_ms = 1500;
  world_must(w, &event);
  committing(w, 1);
  for (int i = 0; i < 80; i++) {
    down(w, "a1");
    assert_in_range(world_endpoint(w, "http://a").retry_in_ms, 1, 1500);
    wait_ms(w, 1500);
  }
}

/* A view of endpoints ends, and shows no delay that is over. */
static void views_are_of_now(void **state) {
  struct world *w = *state;
  struct vow_endpoint_view out;

  committing(w, 1);
  down(w, "a1");
  assert_true(vow_core_endpoint_at(w->core, 0, w->now_ms + 5000, &out));
  assert_int_equal(out.retry_in_ms, 0);
  assert_false(vow_core_endpoint_at(w->core, 2, w->now_ms, &out));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(the_dead_cost_one_probe_at_a_time),
      TEST(stragglers_change_nothing),
      TEST(stragglers_answer_no_probe),
      TEST(a_failed_straggler_makes_room),
      TEST(a_message_that_hangs_is_tried_by_itself),
      TEST(silence_is_no_answer),
      TEST(an_answer_is_one_whatever_else_is_said),
      TEST(a_broken_connection_takes_it_down),
      TEST(a_probe_that_hangs_has_a_second_beside_it),
      TEST(a_failing_branch_waits_alone),
      TEST(the_limit_may_be_raised),
      TEST(a_pause_under_way_may_be_shortened),
      TEST(a_late_message_probes_at_once),
      TEST(idle_endpoints_are_bounded),
      TEST(idle_endpoints_are_not_down),
      TEST(the_longest_delay_is_kept),
      TEST(views_are_of_now),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
