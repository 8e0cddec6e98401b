/*
 * What a recovery is said to do with a transaction: for each state, which branch gets which
 * message.
 */
#include "plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define NO_MESSAGE 0

/* The message of a branch in this state, in a transaction in that state; NO_MESSAGE: none. */
static int message_of(struct vow_txn txn, enum vow_branch_state state, bool resolved) {
  struct vow_branch branch = {.number = 1, .state = state, .resolved = resolved};
  enum vow_message_type type = NO_MESSAGE;
  txn.branches = &branch;
  txn.branch_count = 1;
  return ctl_plan_message(&txn, &branch, &type) ? (int)type : NO_MESSAGE;
}

static void each_state_has_its_plan(void **state) {
  static const struct {
    struct vow_txn txn;
    enum ctl_plan plan;
  } cases[] = {
      {{.state = VOW_TXN_ACTIVE}, CTL_PLAN_ABORT},
      {{.state = VOW_TXN_PREPARING}, CTL_PLAN_ABORT},
      {{.state = VOW_TXN_PREPARING, .delegated = true}, CTL_PLAN_ASK},
      {{.state = VOW_TXN_COMMITTING}, CTL_PLAN_COMMIT},
      {{.state = VOW_TXN_ABORTING}, CTL_PLAN_ABORT},
      {{.state = VOW_TXN_COMMITTED, .heuristic = VOW_HEURISTIC_MIXED}, CTL_PLAN_OPERATOR},
      {{.state = VOW_TXN_ABORTED, .heuristic = VOW_HEURISTIC_MIXED}, CTL_PLAN_OPERATOR},
      {{.state = VOW_TXN_ABORTED, .forgotten = true}, CTL_PLAN_FORGET},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    assert_int_equal(ctl_plan_of(&cases[i].txn), cases[i].plan);
    assert_non_null(ctl_plan_name(cases[i].plan));
    assert_non_null(ctl_plan_text(cases[i].plan));
  }
}

static void only_unknown_branches_make_it_an_operators(void **state) {
  struct vow_branch branches[] = {{.number = 1, .state = VOW_BRANCH_COMMITTED},
                                  {.number = 2, .state = VOW_BRANCH_UNKNOWN}};
  struct vow_txn txn = {.state = VOW_TXN_COMMITTING, .branches = branches, .branch_count = 2};
  (void)state;
  assert_int_equal(ctl_plan_of(&txn), CTL_PLAN_UNKNOWN);
  assert_string_equal(ctl_plan_name(CTL_PLAN_UNKNOWN), "unknown");
  branches[0].state = VOW_BRANCH_COMMITTING;
  assert_int_equal(ctl_plan_of(&txn), CTL_PLAN_COMMIT);
  branches[0].resolved = branches[1].resolved = true;
  assert_int_equal(ctl_plan_of(&txn), CTL_PLAN_COMMIT);
}

static void commit_goes_to_whoever_has_not_acknowledged(void **state) {
  const struct vow_txn txn = {.state = VOW_TXN_COMMITTING};
  (void)state;
  assert_int_equal(message_of(txn, VOW_BRANCH_PREPARED, false), VOW_MESSAGE_COMMIT);
  assert_int_equal(message_of(txn, VOW_BRANCH_COMMITTING, false), VOW_MESSAGE_COMMIT);
  assert_int_equal(message_of(txn, VOW_BRANCH_UNKNOWN, false), VOW_MESSAGE_COMMIT);
  assert_int_equal(message_of(txn, VOW_BRANCH_COMMITTED, false), NO_MESSAGE);
  assert_int_equal(message_of(txn, VOW_BRANCH_READ_ONLY, false), NO_MESSAGE);
  assert_int_equal(message_of(txn, VOW_BRANCH_HEURISTIC, false), NO_MESSAGE);
  assert_int_equal(message_of(txn, VOW_BRANCH_COMMITTING, true), NO_MESSAGE);
}

static void abort_goes_to_whoever_may_know_the_branch(void **state) {
  const struct vow_txn preparing = {.state = VOW_TXN_PREPARING};
  const struct vow_txn delegated = {.state = VOW_TXN_PREPARING, .delegated = true};
  const struct vow_txn aborting = {.state = VOW_TXN_ABORTING};
  (void)state;
  assert_int_equal(message_of(preparing, VOW_BRANCH_PREPARING, false), VOW_MESSAGE_ABORT);
  assert_int_equal(message_of(preparing, VOW_BRANCH_PREPARED, false), VOW_MESSAGE_ABORT);
  assert_int_equal(message_of(preparing, VOW_BRANCH_READ_ONLY, false), NO_MESSAGE);
  assert_int_equal(message_of(delegated, VOW_BRANCH_PREPARING, false), VOW_MESSAGE_ABORT);
  assert_int_equal(message_of(aborting, VOW_BRANCH_ABORTING, false), VOW_MESSAGE_ABORT);
  assert_int_equal(message_of(aborting, VOW_BRANCH_ABORTED, false), NO_MESSAGE);
}

static void what_waits_for_an_operator_gets_nothing_until_it_is_forgotten(void **state) {
  struct vow_txn txn = {.state = VOW_TXN_COMMITTED, .heuristic = VOW_HEURISTIC_MIXED};
  (void)state;
  assert_int_equal(message_of(txn, VOW_BRANCH_HEURISTIC, false), NO_MESSAGE);
  txn.forgotten = true;
  assert_int_equal(message_of(txn, VOW_BRANCH_HEURISTIC, false), VOW_MESSAGE_FORGET);
  assert_int_equal(message_of(txn, VOW_BRANCH_COMMITTED, false), NO_MESSAGE);
  /* Settled by hand: the participant reported nothing, so it has nothing to forget. */
  assert_int_equal(message_of(txn, VOW_BRANCH_HEURISTIC, true), NO_MESSAGE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_state_has_its_plan),
      cmocka_unit_test(only_unknown_branches_make_it_an_operators),
      cmocka_unit_test(commit_goes_to_whoever_has_not_acknowledged),
      cmocka_unit_test(abort_goes_to_whoever_may_know_the_branch),
      cmocka_unit_test(what_waits_for_an_operator_gets_nothing_until_it_is_forgotten),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
