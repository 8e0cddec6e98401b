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

/* The first no aborts at once: voters are told, branches that were never asked need not be. */
static void the_first_no_aborts(void **state) {
  struct world *w = *state;

  begin(w, "a@x+ b@x+ c@x+ d+");
  commit(w, T1);
  expect(w, "answer #1 ok t1 active created", "send prepare t1/a", "send prepare t1/b",
         "send prepare t1/d");
  yes(w, "d");
  expect(w, "");
  no(w, "a", "no money");
  expect(w, "answer #2 transaction-aborted t1 aborting: branch 'a' voted abort: no money",
         "send abort t1/d");
  expect_picture(w, T1, "aborting [a aborted, b aborting, c aborted, d aborting]");
  yes(w, "b"); /* too late, but it holds a vote now */
  expect(w, "send abort t1/b");
  acknowledge(w, "b", VOW_OUTCOME_ABORTED);
  acknowledge(w, "d", VOW_OUTCOME_ABORTED);
  expect(w, "log t1 aborted ended");
}

/* A branch that worked before prepare is told of the abort even if prepare never went out. */
static void earlier_work_is_undone(void **state) {
  struct world *w = *state;

  begin(w, "a b+");
  abort_txn(w, T1);
  expect(w, "answer #1 ok t1 active created", "answer #2 ok t1 aborting", "send abort t1/a");
  expect_picture(w, T1, "aborting [a aborting, b aborted]");
}

/* An abort that never arrived is no reason to think that it holds a vote. */
static void what_never_arrived_asks_for_no_proof(void **state) {
  struct world *w = *state;

  begin(w, "a");
  abort_txn(w, T1);
  not_delivered(w, "a");
  wait_ms(w, 100);
  world_forget_trace(w);
  refused(w, "a");
  expect(w, "log t1 aborted ended");
}

/* An abort takes the place of a prepare that still queues. */
static void abort_replaces_a_queued_prepare(void **state) {
  struct world *w = *state;

  begin(w, "a@x b@x c@x");
  commit_no_wait(w, T1);
  world_forget_trace(w);
  abort_txn(w, T1);
  expect(w, "answer #3 ok t1 aborting");
  yes(w, "a");
  expect(w, "send abort t1/c");
}

/* When all only read, there is no decision to keep: the client is answered at once. */
static void readers_need_no_record(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "a+ b+");
  expect(w, "send prepare t1/a", "send prepare t1/b");
  read_only(w, "a");
  read_only(w, "b");
  expect(w, "log t1 committed ended", "answer #1 ok t1 committed created");
}

/* Whoever only read is not told the decision. */
static void a_reader_is_done(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "a+ b+");
  read_only(w, "a");
  yes(w, "b");
  sync(w);
  expect(w, "send prepare t1/a", "send prepare t1/b", "log! t1 committing",
         "answer #1 ok t1 committing created", "send commit t1/b");
}

/* Without a branch there is nothing to ask. */
static void an_empty_transaction_commits(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "");
  expect(w, "log t1 committed ended", "answer #1 ok t1 committed created");
  begin(w, "");
  commit(w, T2);
  expect(w, "answer #2 ok t2 active created", "log t2 committed ended",
         "answer #3 ok t2 committed");
}

/* Whoever does not want to wait is told that it is under way, or the outcome if there is one. */
static void a_client_need_not_wait(void **state) {
  struct world *w = *state;
  struct vow_event event = {.u.begin = {.commit = true, .no_wait = true}};

  begin_with(w, &event, "a+ b+");
  expect(w, "answer #1 ok t1 preparing created pending", "send prepare t1/a", "send prepare t1/b");
  event = (struct vow_event){.u.begin = {.commit = true, .no_wait = true}};
  begin_with(w, &event, "");
  expect(w, "log t2 committed ended", "answer #2 ok t2 committed created");
}

/* Every client that asks for the commit gets the same answer, whenever it asked. */
static void commit_may_be_asked_again(void **state) {
  struct world *w = *state;

  begin(w, "a b");
  commit(w, T1);
  commit(w, T1);
  yes(w, "a");
  yes(w, "b");
  commit(w, T1);
  world_forget_trace(w);
  sync(w);
  expect(w, "answer #2 ok t1 committing", "answer #3 ok t1 committing",
         "answer #4 ok t1 committing", "send commit t1/a", "send commit t1/b");
  commit(w, T1);
  expect(w, "answer #5 ok t1 committing");
}

/* A client that waited long enough is told "pending", once; the transaction goes on. */
static void waiting_ends(void **state) {
  struct world *w = *state;

  begin(w, "a");
  commit(w, T1);
  sync(w);
  world_forget_trace(w);
  wait_ms(w, 19999);
  expect(w, "");
  wait_ms(w, 1);
  expect(w, "answer #2 ok t1 preparing pending");
}

/* A client that hung up is not answered. */
static void the_gone_are_not_answered(void **state) {
  struct world *w = *state;

  begin(w, "a b");
  uint64_t token = commit(w, T1);
  cancel(w, token);
  cancel(w, 999); /* nobody */
  yes(w, "a");
  yes(w, "b");
  world_forget_trace(w);
  sync(w);
  expect(w, "send commit t1/a", "send commit t1/b");
}

/* A transaction that nobody commits in time aborts. */
static void active_transactions_time_out(void **state) {
  struct world *w = *state;
  struct vow_event event = {.u.begin.timeout_ms = 300};

  begin_with(w, &event, "a+");
  wait_ms(w, 299);
  expect(w, "answer #1 ok t1 active created");
  wait_ms(w, 1);
  expect(w, "log t1 aborted ended");
  commit(w, T1);
  expect(w, "answer #2 transaction-aborted t1 aborted: the transaction timed out");
}

/* Votes that do not come in time count as no, and the answer says whose. */
static void missing_votes_abort(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+");
  commit(w, T1);
  yes(w, "a");
  down(w, "b");
  world_forget_trace(w);
  wait_ms(w, 4999);
  expect(w, "send prepare t1/b", "log t1 preparing");
  wait_ms(w, 1);
  expect(w, "answer #2 transaction-aborted t1 aborting: no vote from branch 'b' in time: it failed",
         "send abort t1/a");
}

/* Without any word from the branch there is no error to name. */
static void silence_has_no_error(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "a+ b+");
  wait_ms(w, 5000);
  expect_some(w, "aborting created: no vote from branch 'a' in time\n");
}

/* The transaction's own deadline ends the wait for votes if it comes first; the participant is told
 * how long its vote is worth having. */
static void the_earlier_deadline_counts(void **state) {
  struct world *w = *state;
  struct vow_event event = {.u.begin.timeout_ms = 3000};

  begin_with(w, &event, "a+ b+");
  wait_ms(w, 1000);
  commit(w, T1);
  assert_int_equal(w->sends[0].timeout_ms, 2000);
  wait_ms(w, 2000);
  expect_some(w, "answer #2 transaction-aborted");
  begin(w, "a+ b+");
  commit(w, T2);
  assert_int_equal(w->sends[w->send_count - 1].timeout_ms, 5000);
}

/* A prepare that leaves when its time is up still says so: a timeout of 0 would mean none. */
static void a_late_prepare_has_little_time(void **state) {
  struct world *w = *state;

  for (uint32_t late_ms = 0; late_ms < 2; late_ms++) {
    begin(w, "a+ b+");
    w->now_ms += w->config.transaction_timeout_ms + late_ms; /* and so is the tick */
    commit(w, w->id_count);
    assert_int_equal(w->sends[w->send_count - 1].timeout_ms, 1);
  }
}

/* A deadline beyond what a message can say is cut to it. */
static void a_long_deadline_is_cut(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_CONFIG, .u.config = &w->config};

  w->config.transaction_timeout_max_ms = UINT32_MAX;
  w->config.prepare_timeout_ms = UINT32_MAX;
  world_must(w, &event);
  event = (struct vow_event){.u.begin.timeout_ms = UINT32_MAX};
  begin_with(w, &event, "a+ b+");
  commit(w, T1);
  assert_int_equal(w->sends[0].timeout_ms, UINT32_MAX);
}

/* A transaction that has been preparing for a while is recorded, once, in case of a restart; an
 * abort that takes long, too. */
static void long_phases_are_recorded(void **state) {
  struct world *w = *state;

  begin(w, "a b");
  commit_no_wait(w, T1);
  yes(w, "a");
  world_forget_trace(w);
  wait_ms(w, 999);
  expect(w, "");
  wait_ms(w, 1);
  expect(w, "log t1 preparing");
  wait_ms(w, 3000);
  expect(w, "");
  no(w, "b", NULL);
  expect(w, "send abort t1/a");
  wait_ms(w, 1000);
  expect(w, "log t1 aborting");
  acknowledge(w, "a", VOW_OUTCOME_ABORTED);
  expect(w, "log t1 aborted ended");
}

/* A decision is told when its own record is durable, whatever others have logged since. */
static void no_decision_waits_for_the_next_record(void **state) {
  struct world *w = *state;
  struct vow_event again = {.type = VOW_EVENT_DURABLE};

  begin_one_shot(w, "a+ b+");
  wait_ms(w, 1000);
  begin_one_shot(w, "c+ d+");
  yes(w, "c");
  yes(w, "d");
  yes(w, "a");
  world_forget_trace(w);
  yes(w, "b");
  expect(w, "log! t1 committing");
  uint64_t last = w->position; /* before it t2, and before that t1, preparing */
  sync_to(w, last - 2);
  expect(w, "");
  sync_to(w, last - 1);
  expect(w, "answer #2 ok t2 committing created", "send commit t2/c", "send commit t2/d");
  sync(w);
  expect(w, "answer #1 ok t1 committing created", "send commit t1/a", "send commit t1/b");
  again.u.position = last - 2; /* what is durable remains so */
  world_must(w, &again);
  commit(w, T1);
  expect(w, "answer #3 ok t1 committing");
}

/* What was decided is pushed for ever. */
static void decisions_do_not_time_out(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "a b");
  yes(w, "a");
  yes(w, "b");
  sync(w);
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  for (int day = 0; day < 20; day++) {
    failed(w, "b");
    world_forget_trace(w);
    wait_ms(w, 86400000);
    expect(w, "send commit t1/b");
  }
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  expect(w, "log t1 committed ended");
}

/* Late records do not hold up an answer that does not depend on them. */
static void a_keyed_abort_is_answered_when_its_record_is_durable(void **state) {
  struct world *w = *state;
  struct vow_event event = {.u.begin = {.idempotency_key = "k", .commit = true}};

  begin_with(w, &event, "a+ b+");
  yes(w, "a");
  no(w, "b", NULL);
  world_forget_trace(w);
  uint64_t decision = w->position;
  acknowledge(w, "a", VOW_OUTCOME_ABORTED);
  begin(w, "");
  commit(w, T2);
  expect(w, "log t1 aborted ended", "answer #2 ok t2 active created", "log t2 committed ended",
         "answer #3 ok t2 committed");
  sync_to(w, decision);
  expect(w, "answer #1 transaction-aborted t1 aborted created: branch 'b' voted abort");
  expect_picture(w, T1, "aborted [a aborted, b aborted]");
  sync_to(w, decision + 1);
  expect_picture(w, T1, "gone");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(two_yes_votes_commit),
      TEST(the_first_no_aborts),
      TEST(earlier_work_is_undone),
      TEST(what_never_arrived_asks_for_no_proof),
      TEST(abort_replaces_a_queued_prepare),
      TEST(readers_need_no_record),
      TEST(a_reader_is_done),
      TEST(an_empty_transaction_commits),
      TEST(a_client_need_not_wait),
      TEST(commit_may_be_asked_again),
      TEST(waiting_ends),
      TEST(the_gone_are_not_answered),
      TEST(active_transactions_time_out),
      TEST(missing_votes_abort),
      TEST(silence_has_no_error),
      TEST(the_earlier_deadline_counts),
      TEST(a_late_prepare_has_little_time),
      TEST(a_long_deadline_is_cut),
      TEST(long_phases_are_recorded),
      TEST(no_decision_waits_for_the_next_record),
      TEST(decisions_do_not_time_out),
      TEST(a_keyed_abort_is_answered_when_its_record_is_durable),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
