/*
 * Heuristic outcomes and what operators do about them: merged by the X/Open rules, durable, shown,
 * and kept until somebody forgets them with a reason.
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

static void committing(struct world *w) {
  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  yes(w, "b");
  sync(w);
  world_forget_trace(w);
}

/* A broken promise is recorded, merged, kept, forgotten at both ends, and then over. */
static void a_broken_promise_is_kept_until_it_is_forgotten(void **state) {
  struct world *w = *state;
  struct vow_core_counts counts;

  committing(w);
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_ABORT);
  expect(w, "log! t1 committing heuristic-abort");
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  expect(w, "log! t1 committed heuristic-mixed");
  sync(w);
  wait_ms(w, 1000000);
  expect(w, "");
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.open_heuristic, 1);
  assert_int_equal(counts.heuristic[VOW_HEURISTIC_MIXED], 1);
  forget(w, T1);
  expect(w, "log! t1 committed heuristic-mixed forgotten");
  forget(w, T1); /* another operator */
  sync(w);
  expect(w, "answer #3 ok t1 committed", "answer #4 ok t1 committed", "send forget t1/a");
  failed(w, "a");
  wait_ms(w, 100);
  expect(w, "send forget t1/a");
  acknowledge(w, "a", VOW_OUTCOME_NONE);
  expect(w, "log t1 committed heuristic-mixed forgotten ended");
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.open_heuristic, 0);
  sync(w);
  expect_picture(w, T1, "gone");
}

/* Against an abort of this run as well, before the others have ended. What a start has presumed is
 * another matter: see core_quarantine. */
static void a_broken_abort_is_recorded_at_once(void **state) {
  struct world *w = *state;

  begin(w, "a b");
  abort_txn(w, T1);
  world_forget_trace(w);
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_COMMIT);
  expect(w, "log! t1 aborting heuristic-commit");
  resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
  expect(w,
         "answer #3 illegal-state t1 aborting: the branch has ended as its"
         " participant reported: forget the transaction");
  acknowledge(w, "b", VOW_OUTCOME_ABORTED);
  expect(w, "log! t1 aborted heuristic-mixed");
}

/* A commit for an unknown branch is never success: it is asked again, seldom, until it answers. */
static void a_lost_branch_is_a_hazard(void **state) {
  struct world *w = *state;

  committing(w);
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  unknown(w, "a");
  expect(w, "log! t1 committing heuristic-hazard");
  wait_ms(w, 1599);
  expect(w, "");
  wait_ms(w, 1);
  expect(w, "send commit t1/a");
  unknown(w, "a");
  wait_ms(w, 1600);
  expect(w, "send commit t1/a");
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED); /* its disk was found again */
  expect(w, "log! t1 committed ended");
  assert_int_equal(world_find(w, T1)->heuristic, VOW_HEURISTIC_NONE);
}

/* A branch that was settled as decided is no longer pushed, and nothing is left of the hazard. */
static void settled_as_decided_is_plain(void **state) {
  struct world *w = *state;

  committing(w);
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  unknown(w, "a");
  world_forget_trace(w);
  resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
  expect(w, "log! t1 committed ended");
  resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
  resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
  expect(w, "answer #5 illegal-state t1 committed: the branch was settled the other way before");
  sync(w);
  expect(w, "answer #3 ok t1 committed", "answer #4 ok t1 committed");
}

/* A branch that was settled the other way is a heuristic outcome; nobody tells it to forget. */
static void settled_otherwise_is_heuristic(void **state) {
  struct world *w = *state;

  committing(w);
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  failed(w, "a");
  resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
  expect(w, "log! t1 committed heuristic-mixed");
  sync(w);
  wait_ms(w, 10000);
  expect(w, "answer #3 ok t1 committed");
  resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
  forget(w, T1);
  sync(w);
  expect(w, "answer #4 ok t1 committed", "log! t1 committed heuristic-mixed forgotten",
         "log t1 committed heuristic-mixed forgotten ended", "answer #5 ok t1 committed");
}

/* Whoever did by hand what a participant has done itself did it twice, and has to know. */
static void what_has_ended_by_itself_cannot_be_settled(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+ r+");
  commit_no_wait(w, T1);
  yes(w, "a");
  yes(w, "b");
  read_only(w, "r");
  sync(w);
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  world_forget_trace(w);
  resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
  resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
  expect(w,
         "answer #3 illegal-state t1 committing: the branch has ended: its participant has"
         " committed it",
         "answer #4 illegal-state t1 committing: the branch has ended: its participant has"
         " committed it");
  resolve(w, T1, 3, VOW_OUTCOME_COMMITTED);
  expect(w, "answer #5 illegal-state t1 committing: the branch has ended: it had only read");
  begin(w, "a+ b+ c+");
  commit_no_wait(w, T2);
  yes(w, "a");
  yes(w, "b");
  no(w, "c", NULL);
  acknowledge(w, "a", VOW_OUTCOME_ABORTED);
  world_forget_trace(w);
  resolve(w, T2, 1, VOW_OUTCOME_ABORTED);
  expect(w, "answer #8 illegal-state t2 aborting: the branch has ended: it is aborted");
}

/* Settling twice the same way is settling once, also when it is against the decision. */
static void settling_may_be_repeated(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+ c+");
  commit_no_wait(w, T1);
  yes(w, "a");
  no(w, "b", NULL);
  resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
  sync(w);
  world_forget_trace(w);
  resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
  resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
  expect(w, "answer #4 ok t1 aborting",
         "answer #5 illegal-state t1 aborting: the branch was settled the other way before");
}

/* A branch under abort that committed all the same is a heuristic commit. */
static void an_abort_may_come_too_late(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  yes(w, "b");
  w->durable = w->position - 1;
  world_forget_trace(w);
  crash(w, 0); /* the decision is lost */
  expect_picture(w, T1, "gone");

  begin(w, "a+ b+");
  sync(w);
  commit_no_wait(w, T2);
  yes(w, "a");
  no(w, "b", NULL);
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  expect_picture(w, T2, "aborted heuristic-mixed [a heuristic-commit, b aborted]");
}

/* An act without a reason, or without a meaning, is refused. */
static void acts_need_a_reason(void **state) {
  struct world *w = *state;
  struct vow_event event = {.type = VOW_EVENT_RESOLVE, .u.operate.outcome = VOW_OUTCOME_ABORTED};

  begin(w, "a");
  event.id = world_id(w, T1);
  event.token = ++w->token;
  world_must(w, &event);
  event.u.operate.reason = "";
  event.token = ++w->token;
  world_must(w, &event);
  event.type = VOW_EVENT_FORGET;
  event.token = ++w->token;
  world_must(w, &event);
  event.u.operate.reason = NULL;
  event.token = ++w->token;
  world_must(w, &event);
  event.type = VOW_EVENT_RESOLVE;
  event.u.operate.reason = "why";
  event.u.operate.outcome = VOW_OUTCOME_HEURISTIC_HAZARD;
  event.token = ++w->token;
  world_must(w, &event);
  expect(w, "answer #1 ok t1 active created",
         "answer #2 invalid-argument t1 active: a reason is required",
         "answer #3 invalid-argument t1 active: a reason is required",
         "answer #4 invalid-argument t1 active: a reason is required",
         "answer #5 invalid-argument t1 active: a reason is required",
         "answer #6 invalid-argument t1 active: the outcome is committed or aborted");
  resolve(w, T1, 2, VOW_OUTCOME_ABORTED);
  expect(w, "answer #7 unknown-branch t1 active: the transaction has no branch of this number");
}

/* Clients can't keep operators out, who have a bound of their own above it. */
static void operators_wait_like_others(void **state) {
  struct world *w = *state;

  committing(w);
  for (int i = 0; i < 4 + 2 * VOW_CORE_WAITERS_EXTRA; i++) resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
  resolve(w, T1, 2, VOW_OUTCOME_COMMITTED);
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  acknowledge(w, "b", VOW_OUTCOME_HEURISTIC_HAZARD);
  forget(w, T1);
  expect(w, "log! t1 committing",
         "answer #39 overloaded: 36 clients wait for this transaction, and no more may "
         "(limits_waiters)",
         "log! t1 committed heuristic-hazard",
         "answer #40 overloaded: 36 clients wait for this transaction, and no more may "
         "(limits_waiters)");
}

/* As many as may wait for a commit cannot keep a client from aborting it, nor those that wait for
 * that an operator. */
static void clients_that_wait_keep_nobody_out(void **state) {
  struct world *w = *state;

  begin(w, "a b");
  for (int i = 0; i < 4; i++) commit(w, T1);
  world_forget_trace(w);
  abort_txn(w, T1);
  expect(w, "answer #2 transaction-aborted t1 aborting: a client asked to abort it",
         "answer #3 transaction-aborted t1 aborting: a client asked to abort it",
         "answer #4 transaction-aborted t1 aborting: a client asked to abort it",
         "answer #5 transaction-aborted t1 aborting: a client asked to abort it",
         "answer #6 ok t1 aborting");
  begin(w, "a");
  for (int i = 0; i < 4; i++) commit(w, T2);
  sync(w); /* it is delegated: nobody can tell what becomes of it */
  for (int i = 0; i < VOW_CORE_WAITERS_EXTRA; i++) abort_txn(w, T2);
  world_forget_trace(w);
  abort_txn(w, T2);
  resolve(w, T2, 1, VOW_OUTCOME_ABORTED);
  expect(w,
         "answer #28 overloaded: 20 clients wait for this transaction, and no more may "
         "(limits_waiters)",
         "log! t2 aborted delegated ended");
}

/* An operator who decides gives the reason that clients are told. */
static void an_operator_aborts(void **state) {
  struct world *w = *state;

  begin(w, "a+ b+");
  commit(w, T1);
  world_forget_trace(w);
  resolve(w, T1, 0, VOW_OUTCOME_ABORTED);
  expect(w, "log! t1 aborting",
         "answer #2 transaction-aborted t1 aborting: an operator decided: by hand");
  sync(w);
  expect(w, "answer #3 ok t1 aborting");
}

/* Answers say which record they depend on: the decision's, or that of the act. */
static void answers_depend_on_their_records(void **state) {
  struct world *w = *state;

  committing(w);
  uint64_t decision = w->position;
  commit(w, T1);
  assert_int_equal(w->answered_after, decision);
  resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
  uint64_t act = w->position;
  assert_true(act > decision);
  sync(w);
  assert_int_equal(w->answered_after, act);
}

/* An operator's wait ends like everybody's. */
static void an_operator_waits_for_the_log(void **state) {
  struct world *w = *state;

  committing(w);
  resolve(w, T1, 1, VOW_OUTCOME_COMMITTED);
  world_forget_trace(w);
  wait_ms(w, 20000);
  expect(w, "answer #3 ok t1 committing pending");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_broken_promise_is_kept_until_it_is_forgotten),
      TEST(a_lost_branch_is_a_hazard),
      TEST(a_broken_abort_is_recorded_at_once),
      TEST(settled_as_decided_is_plain),
      TEST(settled_otherwise_is_heuristic),
      TEST(settling_may_be_repeated),
      TEST(what_has_ended_by_itself_cannot_be_settled),
      TEST(an_abort_may_come_too_late),
      TEST(acts_need_a_reason),
      TEST(operators_wait_like_others),
      TEST(clients_that_wait_keep_nobody_out),
      TEST(an_operator_aborts),
      TEST(answers_depend_on_their_records),
      TEST(an_operator_waits_for_the_log),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
