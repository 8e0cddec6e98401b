/*
 * Batches: what queues up for an endpoint leaves as one request where the participant offers that,
 * an idle endpoint waits for nothing, one slow request does not hold up the rest, and what goes
 * wrong with a batch costs no message more than its time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core_world.h"

#define URL      "http://a"
#define PATIENCE 10 /* CORE_PATIENCE_MS */
#define SLOTS    2  /* CORE_SLOTS */

static void set_slots_max(struct world *w, uint32_t max) {
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};
  w->config.inflight_per_endpoint_max = max;
  world_must(w, &event);
}

static int setup(void **state) {
  struct world *w = world_new();
  set_slots_max(w, 8);
  w->offer = 16;
  *state = w;
  return 0;
}

static int teardown(void **state) {
  world_free(*state);
  return 0;
}

static struct vow_endpoint_view view(const struct world *w) {
  return world_endpoint(w, URL);
}

static void name(char out[16], uint32_t n) {
  (void)snprintf(out, 16, "a%u", n);
}

static void answer_yes(struct world *w, uint32_t first, uint32_t last) {
  char branch[16];

  for (uint32_t n = first; n <= last; n++) {
    name(branch, n);
    yes(w, branch);
  }
}

/* The newest request to the endpoint: how many messages it has. */
static uint32_t newest(const struct world *w) {
  uint64_t request = 0;
  uint32_t count = 0;

  for (uint32_t i = 0; i < w->send_count; i++) {
    if (strcmp(w->sends[i].url, URL) != 0) continue;
    count = w->sends[i].request == request ? count + 1 : 1;
    request = w->sends[i].request;
  }
  return count;
}

static uint32_t requests(const struct world *w) {
  uint64_t request = 0;
  uint32_t count = 0;

  for (uint32_t i = 0; i < w->send_count; i++) {
    if (strcmp(w->sends[i].url, URL) != 0) continue;
    count += w->sends[i].request != request;
    request = w->sends[i].request;
  }
  return count;
}

/* Transaction 1 has been voted on, so that the offer is known, and 2 and 3 fill the slots. */
static void fill_slots(struct world *w) {
  begin_from(w, 1, 1);
  answer_yes(w, 1, 1);
  begin_from(w, 2, 3);
  assert_int_equal(view(w).inflight, SLOTS);
  world_forget_trace(w);
}

/* Until a participant has offered it, messages go one by one, as many at once as the limit lets. */
static void without_an_offer_messages_go_one_by_one(void **state) {
  struct world *w = *state;

  w->offer = 0;
  begin_from(w, 1, 12);
  assert_int_equal(view(w).inflight, 8);
  answer_yes(w, 1, 4);
  assert_int_equal(newest(w), 1);
  assert_int_equal(requests(w), 12);
}

/* An idle endpoint gets single messages at once; what falls due while the slots are taken leaves as
 * one when a slot is free, and it is as much as is under way already. */
static void what_queues_leaves_as_one(void **state) {
  struct world *w = *state;

  fill_slots(w);
  assert_int_equal(newest(w), 1);
  begin_from(w, 4, 8);
  assert_int_equal(view(w).inflight, SLOTS);
  assert_int_equal(view(w).queued, 5);
  world_forget_trace(w);
  yes(w, "a2");
  expect(w, "send prepare t4/a4", "with prepare t5/a5", "with prepare t6/a6", "with prepare t7/a7",
         "with prepare t8/a8");
  assert_int_equal(view(w).queued, 0);
  begin_from(w, 9, 9);
  yes(w, "a3");
  begin_from(w, 10, 12);
  assert_int_equal(view(w).inflight, 1);
  assert_int_equal(view(w).queued, 4); /* one less than is under way */
  begin_from(w, 13, 13);
  assert_int_equal(view(w).inflight, SLOTS);
  assert_int_equal(newest(w), 5);
}

/* Where others follow, messages wait for the step that ends them, however long that takes, and then
 * go as what queued: here to an idle endpoint, which would have got the first alone. */
static void messages_wait_for_what_follows(void **state) {
  struct world *w = *state;

  begin_from(w, 1, 1);
  answer_yes(w, 1, 1);
  w->more = true;
  begin_from(w, 2, 6);
  assert_int_equal(view(w).queued, 5);
  assert_true(vow_core_next_deadline(w->core) <= w->now_ms);
  tick(w);
  assert_int_equal(newest(w), 5);
  assert_true(vow_core_next_deadline(w->core) > w->now_ms);
}

/* A batch of five, 4 to 8, is all that is under way. */
static void send_five(struct world *w) {
  fill_slots(w);
  begin_from(w, 4, 8);
  answer_yes(w, 2, 3);
}

/* What is less than is under way need not wait longer than for that. */
static void a_few_leave_when_the_many_are_answered(void **state) {
  struct world *w = *state;

  send_five(w);
  begin_from(w, 9, 10);
  assert_int_equal(view(w).queued, 2);
  assert_int_equal(view(w).retry_in_ms, 0); /* which is no outage */
  answer_yes(w, 4, 7);
  assert_int_equal(view(w).queued, 2); /* the answer to a batch comes as one, with its last */
  answer_yes(w, 8, 8);
  assert_int_equal(view(w).queued, 0);
  assert_int_equal(newest(w), 2);
}

/* A batch that takes long counts no more, nor do its messages. */
static void a_slow_batch_does_not_hold_up_a_few(void **state) {
  struct world *w = *state;

  send_five(w);
  begin_from(w, 9, 9);
  wait_ms(w, PATIENCE - 1);
  assert_int_equal(view(w).queued, 1);
  wait_ms(w, 1);
  assert_int_equal(view(w).queued, 0);
  assert_int_equal(newest(w), 1);
  begin_from(w, 10, 10); /* beside the one, not beside the batch */
  assert_int_equal(view(w).queued, 0);
  answer_yes(w, 4, 8);
  answer_yes(w, 9, 10);
  begin_from(w, 11, 13);
  assert_int_equal(view(w).inflight, SLOTS);
}

/* Messages of all kinds share a batch; each transaction is decided by itself. */
static void results_are_mixed(void **state) {
  struct world *w = *state;

  fill_slots(w);
  begin_from(w, 4, 8);
  yes(w, "a2");
  world_forget_trace(w);
  yes(w, "a4");
  no(w, "a5", "no money");
  failed(w, "a6");
  refused(w, "a7");
  expect(w, ""); /* the last is missing */
  unknown(w, "a8");
  assert_true(view(w).up);
  assert_string_equal(picture(w, 4), "preparing [a4 prepared, z4 preparing]");
  assert_string_equal(picture(w, 5), "aborting [a5 aborted, z5 aborting]");
  assert_string_equal(picture(w, 6), "preparing [a6 preparing, z6 preparing]");
  assert_string_equal(picture(w, 7), "aborting [a7 aborting, z7 aborting]");
  assert_string_equal(picture(w, 8), "aborting [a8 aborted, z8 aborting]");
  world_forget_trace(w);
  wait_ms(w, 200);
  expect_some(w, "prepare t6/a6"); /* only the one that failed is asked again */
  yes(w, "a6");
  begin_from(w, 9, 11);
  yes(w, "z4");
  yes(w, "z6");
  sync(w); /* commits queue behind a prepare: slots are taken */
  world_forget_trace(w);
  yes(w, "a9");
  expect(w, "send prepare t11/a11", "with commit t4/a4", "with commit t6/a6");
}

/* No more messages than were offered, and none than 128. */
static void the_offer_is_the_limit(void **state) {
  struct world *w = *state;

  w->offer = 3;
  fill_slots(w);
  begin_from(w, 4, 9);
  yes(w, "a2");
  assert_int_equal(newest(w), 3);
  yes(w, "a3");
  assert_int_equal(newest(w), 3);
  w->offer = 100000;
  answer_yes(w, 4, 6);
  answer_yes(w, 7, 9);
  begin_from(w, 10, 11);
  begin_from(w, 12, 151);
  answer_yes(w, 10, 10);
  assert_int_equal(newest(w), 128);
}

static void begin_paying(struct world *w, const char *branch, size_t payload_bytes) {
  char *payload = malloc(payload_bytes + 1);
  struct vow_event_branch branches[2] = {
      {.name = branch, .url = URL, .payload = payload, .payload_bytes = payload_bytes},
      {.name = "z", .url = "http://z", .payload = "1", .payload_bytes = 1}};
  struct vow_event event = {.type = VOW_EVENT_BEGIN, .token = ++w->token};

  assert_non_null(payload);
  memset(payload, '7', payload_bytes);
  payload[payload_bytes] = '\0';
  event.u.begin.branches = branches;
  event.u.begin.branch_count = 2;
  event.u.begin.commit = true;
  world_must(w, &event);
  free(payload);
}

/* Payloads fill a batch, too; one that is larger than a batch may be goes alone. */
static void payloads_are_the_limit(void **state) {
  struct world *w = *state;

  fill_slots(w);
  begin_paying(w, "p1", 64 * 1024);
  begin_paying(w, "p2", 64 * 1024);
  begin_paying(w, "p3", 1);
  begin_paying(w, "p4", 129 * 1024);
  begin_paying(w, "p5", 1);
  yes(w, "a2");
  assert_int_equal(newest(w), 2); /* p1, p2 */
  yes(w, "a3");
  assert_int_equal(newest(w), 1); /* p3, since p4 does not fit */
  yes(w, "p3");
  assert_int_equal(newest(w), 1); /* p4 */
  yes(w, "p4");
  yes(w, "p1");
  yes(w, "p2");
  assert_int_equal(newest(w), 1); /* p5 */
  assert_int_equal(view(w).queued, 0);
}

/* A request that takes long keeps nobody from leaving in its place, up to the limit of requests.
 * What is under way is two batches at most, and single messages beyond. */
static void slow_requests_hold_up_nobody(void **state) {
  struct world *w = *state;

  w->offer = 4;
  fill_slots(w);
  begin_from(w, 4, 20);
  wait_ms(w, PATIENCE - 1);
  assert_int_equal(view(w).inflight, SLOTS);
  wait_ms(w, 1); /* both are slow, and hold two messages of eight */
  assert_int_equal(view(w).inflight, 2 * SLOTS);
  assert_int_equal(newest(w), 2); /* a4 to a7, then a8 and a9 */
  wait_ms(w, PATIENCE);
  assert_int_equal(view(w).inflight, 3 * SLOTS);
  assert_int_equal(newest(w), 1);
  wait_ms(w, PATIENCE);
  assert_int_equal(view(w).inflight, 8);
  wait_ms(w, PATIENCE);
  assert_int_equal(view(w).inflight, 8);
  assert_int_equal(view(w).queued, 7);
  answer_yes(w, 2, 13); /* what waited leaves; then there is room again, and what leaves is quick */
  answer_yes(w, 14, 20);
  begin_from(w, 21, 28);
  assert_int_equal(view(w).inflight, SLOTS);
  yes(w, "a21");
  assert_int_equal(newest(w), 4);
}

/* A limit that was lowered below what hangs holds up what is new until one of them comes back. */
static void a_lowered_limit_waits_for_the_slow(void **state) {
  struct world *w = *state;

  fill_slots(w);
  begin_from(w, 4, 4);
  wait_ms(w, PATIENCE); /* a2 and a3 are slow, a4 left */
  yes(w, "a4");
  assert_int_equal(view(w).inflight, SLOTS);
  set_slots_max(w, SLOTS);
  begin_from(w, 5, 5);
  wait_ms(w, 2 * PATIENCE);
  assert_int_equal(view(w).queued, 1);
  yes(w, "a2");
  assert_int_equal(view(w).queued, 0);
  yes(w, "a3");
  yes(w, "a5");
}

/* While two hang, the others come and go at once, as does the first that comes when they have long
 * been slow. */
static void the_quick_do_not_wait_for_the_slow(void **state) {
  struct world *w = *state;

  fill_slots(w);
  wait_ms(w, PATIENCE);
  begin_from(w, 4, 4);
  assert_int_equal(view(w).queued, 0);
  yes(w, "a4");
  for (uint32_t n = 5; n <= 9; n++) {
    char branch[16];
    begin_from(w, n, n);
    assert_int_equal(view(w).queued, 0);
    name(branch, n);
    yes(w, branch);
  }
  assert_int_equal(view(w).inflight, SLOTS);
}

/* The clock of patience is not left running when nothing waits. */
static void nothing_ticks_when_nothing_waits(void **state) {
  struct world *w = *state;

  fill_slots(w);
  begin_from(w, 4, 4);
  yes(w, "a2");
  yes(w, "a3");
  assert_int_equal(view(w).queued, 0);
  assert_true(vow_core_next_deadline(w->core) > w->now_ms + PATIENCE);
}

/* A batch that is lost takes the endpoint down once; its messages then go alone until they are
 * answered, and the first is the probe. */
static void a_lost_batch_is_taken_apart(void **state) {
  struct world *w = *state;

  fill_slots(w);
  begin_from(w, 4, 6);
  yes(w, "a2");
  assert_int_equal(newest(w), 3);
  yes(w, "a3");
  whole_batch(w, "a4", VOW_REPLY_ENDPOINT_DOWN, false);
  assert_false(view(w).up);
  assert_int_equal(view(w).failures_in_row, 1);
  begin_from(w, 7, 8);
  wait_ms(w, 100);
  assert_int_equal(view(w).inflight, 1);
  assert_int_equal(newest(w), 1);
  world_forget_trace(w);
  yes(w, "a4");
  expect(w, "send prepare t5/a5", "send prepare t6/a6");
  yes(w, "a5");
  expect(w, "send prepare t7/a7", "with prepare t8/a8");
  yes(w, "a6");
  yes(w, "a7");
  yes(w, "a8");
  yes(w, "z5");
  yes(w, "z6");
  sync(w);
  assert_true(under_way(w, "a5") && under_way(w, "a6"));
}

/* Nor does it come back into a batch because its next try was refused before it left. */
static void what_was_lost_stays_alone_until_it_is_answered(void **state) {
  struct world *w = *state;

  fill_slots(w);
  begin_from(w, 4, 5);
  yes(w, "a2");
  yes(w, "a3");
  whole_batch(w, "a4", VOW_REPLY_ENDPOINT_DOWN, false);
  wait_ms(w, 100);
  not_delivered(w, "a4"); /* the probe */
  wait_ms(w, 200);
  not_delivered(w, "a5"); /* the next */
  begin_from(w, 6, 8);
  wait_ms(w, view(w).retry_in_ms);
  world_forget_trace(w);
  yes(w, "a4");
  expect(w, "send prepare t5/a5", "send prepare t6/a6", "with prepare t7/a7", "with prepare t8/a8");
}

/* An outage takes the offer back, also where it ends without an answer: by having no branch left.
 */
static void after_an_outage_the_offer_has_to_come_again(void **state) {
  struct world *w = *state;

  begin_from(w, 1, 1);
  read_only(w, "a1"); /* the offer is known */
  no(w, "z1", NULL);
  begin_from(w, 2, 2);
  not_delivered(w, "a2");
  no(w, "z2", NULL);
  sync(w);
  assert_int_equal(view(w).branches, 0);
  begin_from(w, 3, 6);
  assert_int_equal(view(w).inflight, 4); /* as without an offer: not two, and then a batch */
  assert_int_equal(newest(w), 1);
}

/* What never left took nobody down by itself: its messages may share a batch again. */
static void what_was_not_delivered_is_not_taken_apart(void **state) {
  struct world *w = *state;

  fill_slots(w);
  begin_from(w, 4, 7);
  yes(w, "a2");
  yes(w, "a3");
  assert_int_equal(newest(w), 4);
  whole_batch(w, "a4", VOW_REPLY_ENDPOINT_DOWN, true);
  wait_ms(w, 100);
  world_forget_trace(w);
  yes(w, "a4");
  expect(w, "send prepare t5/a5", "with prepare t6/a6", "with prepare t7/a7");
}

/* A batch that is not understood says nothing about its messages: they go again, one by one, and
 * whatever is offered, no batch follows before the endpoint has been down and is back. */
static void a_refused_batch_goes_one_by_one(void **state) {
  struct world *w = *state;

  fill_slots(w);
  begin_from(w, 4, 6);
  yes(w, "a2");
  whole_batch(w, "a4", VOW_REPLY_NOT_A_BATCH, false);
  assert_true(view(w).up);
  assert_int_equal(newest(w), 1);
  assert_int_equal(view(w).inflight, 4); /* a3, a4, a5, a6 */
  answer_yes(w, 3, 6);
  begin_from(w, 7, 20);
  answer_yes(w, 7, 8);
  assert_int_equal(newest(w), 1);
  assert_int_equal(view(w).inflight, 8);
  answer_yes(w, 9, 13);
  down(w, "a14"); /* down… */
  answer_yes(w, 15, 20);
  wait_ms(w, 100);
  yes(w, "a14"); /* … and back up */
  begin_from(w, 21, 25);
  yes(w, "a21");
  assert_int_equal(newest(w), 3);
}

/* A batch that left before an outage and comes back as not understood after it: no batch follows,
 * even before the next answer. */
static void a_refusal_from_before_an_outage_counts(void **state) {
  struct world *w = *state;

  fill_slots(w);
  begin_from(w, 4, 5);
  yes(w, "a2");
  assert_int_equal(newest(w), 2);
  down(w, "a3");
  wait_ms(w, 100);
  yes(w, "a3");
  begin_from(w, 6, 9); /* the batch is slow: a6 and a7 leave, the others queue */
  assert_int_equal(view(w).queued, 2);
  whole_batch(w, "a4", VOW_REPLY_NOT_A_BATCH, false);
  assert_int_equal(newest(w), 1);
  assert_int_equal(view(w).queued, 0);
}

/* With its last branch an outage is forgotten, and with the outage that a batch was refused. */
static void an_idle_endpoint_may_be_another_when_it_comes_back(void **state) {
  struct world *w = *state;

  begin_from(w, 1, 3);
  read_only(w, "a1");
  begin_from(w, 4, 5);
  read_only(w, "a2");
  whole_batch(w, "a4", VOW_REPLY_NOT_A_BATCH, false);
  read_only(w, "a3");
  read_only(w, "a4");
  read_only(w, "a5");
  for (uint32_t n = 1; n <= 5; n++) {
    char branch[16];
    (void)snprintf(branch, sizeof branch, "z%u", n);
    no(w, branch, NULL);
  }
  sync(w);
  begin_from(w, 6, 6);
  not_delivered(w, "a6");
  no(w, "z6", NULL);
  sync(w);
  assert_int_equal(view(w).branches, 0);

  begin_from(w, 7, 9);
  read_only(w, "a7");
  begin_from(w, 10, 12);
  read_only(w, "a8");
  assert_int_equal(newest(w), 3);
}

/* An answer without an offer takes it back at once. */
static void an_answer_without_it_takes_the_offer_back(void **state) {
  struct world *w = *state;

  fill_slots(w);
  begin_from(w, 4, 6);
  w->offer = 0;
  yes(w, "a2");
  assert_int_equal(newest(w), 1);
  assert_int_equal(view(w).inflight, 4);
  w->offer = 16;
  answer_yes(w, 3, 5);
  begin_from(w, 7, 9);
  assert_int_equal(view(w).inflight, SLOTS);
  yes(w, "a6");
  assert_int_equal(newest(w), 2);
}

/* A single message cannot be refused as a batch, and every message has its result. */
static void a_reply_that_does_not_fit_is_a_mistake(void **state) {
  struct world *w = *state;
  struct vow_actions actions;
  struct vow_event event = {.type = VOW_EVENT_REPLY, .u.reply.count = 1};

  fill_slots(w);
  event.u.reply.results = calloc(4, sizeof(*event.u.reply.results));
  assert_non_null(event.u.reply.results);
  event.u.reply.request = w->sends[w->send_count - 2].request;
  assert_string_equal(w->sends[w->send_count - 2].branch, "a3");
  event.u.reply.results[0].kind = VOW_REPLY_NOT_A_BATCH;
  assert_int_equal(vow_core_step(w->core, &event, &actions), VOW_E_INVALID_ARGUMENT);
  begin_from(w, 4, 6);
  yes(w, "a2");
  for (uint32_t count = 0; count <= 4; count++) {
    if (count == 3) continue;
    event.u.reply.request = w->sends[w->send_count - 1].request;
    event.u.reply.count = count;
    for (uint32_t i = 0; i < count; i++) event.u.reply.results[i].kind = VOW_REPLY_BRANCH_FAILED;
    assert_int_equal(vow_core_step(w->core, &event, &actions), VOW_E_INVALID_ARGUMENT);
  }
  free(event.u.reply.results);
  yes(w, "a4");
  yes(w, "a5");
  yes(w, "a6");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(without_an_offer_messages_go_one_by_one),
      TEST(what_queues_leaves_as_one),
      TEST(messages_wait_for_what_follows),
      TEST(a_few_leave_when_the_many_are_answered),
      TEST(a_slow_batch_does_not_hold_up_a_few),
      TEST(results_are_mixed),
      TEST(the_offer_is_the_limit),
      TEST(payloads_are_the_limit),
      TEST(slow_requests_hold_up_nobody),
      TEST(a_lowered_limit_waits_for_the_slow),
      TEST(the_quick_do_not_wait_for_the_slow),
      TEST(nothing_ticks_when_nothing_waits),
      TEST(a_lost_batch_is_taken_apart),
      TEST(what_was_lost_stays_alone_until_it_is_answered),
      TEST(after_an_outage_the_offer_has_to_come_again),
      TEST(what_was_not_delivered_is_not_taken_apart),
      TEST(a_refused_batch_goes_one_by_one),
      TEST(a_refusal_from_before_an_outage_counts),
      TEST(an_idle_endpoint_may_be_another_when_it_comes_back),
      TEST(an_answer_without_it_takes_the_offer_back),
      TEST(a_reply_that_does_not_fit_is_a_mistake),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
