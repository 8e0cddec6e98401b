/*
 * C4, one phase: the commit is handed to the only branch. From then on its word is the decision,
 * and while it is not heard nobody is told anything.
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

/* The record of the delegation goes first; the branch's commit is then the outcome, at once. */
static void one_branch_commits_in_one_phase(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "a+");
  expect(w, "log! t1 preparing delegated");
  sync(w);
  expect(w, "send prepare t1/a one-phase");
  answer(w, "a", VOW_VOTE_COMMIT, VOW_OUTCOME_COMMITTED);
  expect(w, "log t1 committed delegated ended", "answer #1 ok t1 committed created");
}

/* A branch that says no in one phase is heard with its reason. */
static void a_no_has_its_reason(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "a+");
  sync(w);
  world_forget_trace(w);
  world_reply(w, &w->sends[0], VOW_REPLY_ANSWERED,
              (struct vow_message_reply){
                  .vote = VOW_VOTE_ABORT, .outcome = VOW_OUTCOME_ABORTED, .reason = "no money"},
              false);
  expect(w, "log t1 aborted delegated ended",
         "answer #1 transaction-aborted t1 aborted created: branch 'a' voted abort: no money");
}

/* A branch that ignores one_phase is asked in two. */
static void one_phase_may_be_ignored(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "a+");
  sync(w);
  yes(w, "a");
  expect(w, "log! t1 preparing delegated", "send prepare t1/a one-phase", "log! t1 committing");
  sync(w);
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  expect(w, "answer #1 ok t1 committing created", "send commit t1/a", "log t1 committed ended");
}

/* A lost reply is "unknown": prepare is repeated until its time is up, then abort asks. */
static void silence_is_asked_about(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "a+");
  sync(w);
  down(w, "a");
  world_forget_trace(w);
  wait_ms(w, 100);
  expect(w, "send prepare t1/a one-phase");
  wait_ms(w, 5000);
  assert_int_equal(vow_txn_outcome(world_find(w, T1)), VOW_OUTCOME_NONE);
  expect(w, "");
  down(w, "a");
  wait_ms(w, 200);
  expect(w, "send abort t1/a");
  refused(w, "a"); /* no proof of anything */
  wait_ms(w, 200);
  expect(w, "send abort t1/a");
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED); /* the first prepare had arrived */
  expect(w, "log t1 committed delegated ended", "answer #1 ok t1 committed created");
  assert_null(world_find(w, T1)->reason);
}

/* Whoever took no message at all holds no vote, but the commit was handed over: it is asked on. */
static void refusing_everything_proves_nothing(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "a+");
  sync(w);
  refused(w, "a");
  expect(w, "log! t1 preparing delegated", "send prepare t1/a one-phase", "send abort t1/a");
  for (int i = 0; i < 3; i++) {
    refused(w, "a");
    expect(w, "");
    wait_ms(w, 400);
    expect(w, "send abort t1/a");
  }
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  expect(w, "log t1 committed delegated ended", "answer #1 ok t1 committed created");
}

/* Its outcome is heard, whatever it voted before it ended by itself. */
static void a_heuristic_commit_commits(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "a+");
  sync(w);
  world_forget_trace(w);
  answer(w, "a", VOW_VOTE_ABORT, VOW_OUTCOME_HEURISTIC_COMMIT);
  expect(w, "log! t1 committed delegated heuristic-commit", "answer #1 ok t1 committed created");
}

/* The client that asks for an abort waits for the branch's word, too. */
static void abort_asks(void **state) {
  struct world *w = *state;

  begin(w, "a+");
  commit(w, T1);
  sync(w);
  world_forget_trace(w);
  abort_txn(w, T1);
  down(w, "a");
  wait_ms(w, 100);
  expect(w, "send abort t1/a");
  acknowledge(w, "a", VOW_OUTCOME_ABORTED);
  expect(w, "log t1 aborted delegated ended",
         "answer #2 transaction-aborted t1 aborted: a client asked to abort it",
         "answer #3 ok t1 aborted");
}

/* It waits no longer than others do. */
static void who_aborts_does_not_wait_for_ever(void **state) {
  struct world *w = *state;

  begin(w, "a+");
  commit_no_wait(w, T1);
  sync(w);
  abort_txn(w, T1);
  world_forget_trace(w);
  wait_ms(w, w->config.wait_timeout_ms);
  expect(w, "answer #3 ok t1 preparing pending");
}

/* What was certainly never handed over is aborted without asking. */
static void what_never_left_is_not_asked_about(void **state) {
  struct world *w = *state;

  begin(w, "a+");
  commit_no_wait(w, T1); /* the record is not durable yet */
  world_forget_trace(w);
  abort_txn(w, T1);
  sync(w);
  expect(w, "log t1 aborted ended", "answer #3 ok t1 aborted");

  begin(w, "a+");
  commit_no_wait(w, T2);
  sync(w);
  not_delivered(w, "a");
  world_forget_trace(w);
  abort_txn(w, T2);
  expect(w, "log t2 aborted ended", "answer #6 ok t2 aborted");
}

/* The same for a branch that worked before prepare: it is told, and nobody waits for it. */
static void earlier_work_is_told(void **state) {
  struct world *w = *state;

  begin(w, "a");
  commit_no_wait(w, T1);
  sync(w);
  abort_txn(w, T1);
  world_forget_trace(w);
  not_delivered(w, "a");
  wait_ms(w, 100);
  expect(w, "answer #3 ok t1 aborting", "send abort t1/a");
}

/* What the delegate cannot say, the client is told so: neither committed nor aborted. */
static void a_hazard_is_neither(void **state) {
  struct world *w = *state;

  begin_one_shot(w, "a+");
  sync(w);
  world_forget_trace(w);
  answer(w, "a", VOW_VOTE_COMMIT, VOW_OUTCOME_HEURISTIC_MIXED);
  expect(w, "log! t1 aborted delegated heuristic-mixed",
         "answer #1 heuristic-outcome t1 aborted created: branch 'a' ended: heuristic-mixed");
  commit(w, T1);
  expect(w, "answer #2 heuristic-outcome t1 aborted: branch 'a' ended: heuristic-mixed");
}

/* An operator can settle it when the branch is gone for good; it is told when that is durable. */
static void an_operator_settles_it(void **state) {
  struct world *w = *state;

  begin(w, "a+");
  commit(w, T1);
  sync(w);
  world_forget_trace(w);
  resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
  expect(w, "log! t1 aborted delegated ended");
  assert_int_equal(vow_txn_outcome(world_find(w, T1)), VOW_OUTCOME_NONE);
  sync(w);
  expect(w, "answer #2 transaction-aborted t1 aborted: branch 'a' was settled by hand: by hand",
         "answer #3 ok t1 aborted");
  answer(w, "a", VOW_VOTE_COMMIT, VOW_OUTCOME_COMMITTED); /* too late to be heard */
  expect(w, "");
  expect_picture(w, T1, "gone");
}

/* A prepare that is out keeps the transaction in the core until it has come back. */
static void nothing_is_dropped_under_a_message(void **state) {
  struct world *w = *state;

  begin(w, "a+");
  commit_no_wait(w, T1);
  sync(w);
  resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
  sync(w);
  expect_picture(w, T1, "committed [a committed]");
  refused(w, "a");
  expect_picture(w, T1, "gone");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(one_branch_commits_in_one_phase),
      TEST(a_no_has_its_reason),
      TEST(one_phase_may_be_ignored),
      TEST(silence_is_asked_about),
      TEST(refusing_everything_proves_nothing),
      TEST(a_heuristic_commit_commits),
      TEST(abort_asks),
      TEST(who_aborts_does_not_wait_for_ever),
      TEST(what_never_left_is_not_asked_about),
      TEST(earlier_work_is_told),
      TEST(a_hazard_is_neither),
      TEST(an_operator_settles_it),
      TEST(nothing_is_dropped_under_a_message),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
