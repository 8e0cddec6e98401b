/*
 * What can be said of a transaction by looking at it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/txn.h"

/* Every name is read back as what it names; nothing else is read. */
static void names_are_read_back(void **state) {
  (void)state;
  enum vow_txn_state txn = (enum vow_txn_state)77;
  enum vow_heuristic heuristic = (enum vow_heuristic)77;
  enum vow_branch_state branch = (enum vow_branch_state)77;
  enum vow_history_kind kind = (enum vow_history_kind)77;

  for (int i = VOW_TXN_ACTIVE; i <= VOW_TXN_ABORTED; i++) {
    assert_true(vow_txn_state_parse(vow_txn_state_name((enum vow_txn_state)i), &txn));
    assert_int_equal(txn, i);
  }
  for (int i = VOW_HEURISTIC_COMMIT; i <= VOW_HEURISTIC_HAZARD; i++) {
    assert_true(vow_heuristic_parse(vow_heuristic_name((enum vow_heuristic)i), &heuristic));
    assert_int_equal(heuristic, i);
  }
  for (int i = VOW_BRANCH_ENLISTED; i <= VOW_BRANCH_UNKNOWN; i++) {
    assert_true(vow_branch_state_parse(vow_branch_state_name((enum vow_branch_state)i), &branch));
    assert_int_equal(branch, i);
  }
  for (int i = VOW_HISTORY_BEGUN; i <= VOW_HISTORY_TIMED_OUT; i++) {
    assert_true(vow_history_kind_parse(vow_history_kind_name((enum vow_history_kind)i), &kind));
    assert_int_equal(kind, i);
  }
  assert_false(vow_txn_state_parse("invalid", &txn));
  assert_false(vow_heuristic_parse("invalid", &heuristic));
  assert_false(vow_branch_state_parse("invalid", &branch));
  assert_false(vow_history_kind_parse("", &kind));
  assert_int_equal(txn, VOW_TXN_ABORTED); /* untouched */
  assert_null(vow_heuristic_name(VOW_HEURISTIC_NONE));
  assert_string_equal(vow_txn_state_name((enum vow_txn_state)0), "invalid");
  assert_string_equal(vow_txn_state_name((enum vow_txn_state)99), "invalid");
}

/* An outcome is told when no crash can change it any more; until then the transaction is preparing.
 */
static void outcomes_are_told_when_durable(void **state) {
  (void)state;
  static const struct {
    enum vow_txn_state state;
    bool durable;
    enum vow_outcome outcome;
    enum vow_txn_state shown;
    enum vow_error error;
  } rows[] = {
      {VOW_TXN_ACTIVE, false, VOW_OUTCOME_NONE, VOW_TXN_ACTIVE, VOW_OK},
      {VOW_TXN_PREPARING, false, VOW_OUTCOME_NONE, VOW_TXN_PREPARING, VOW_OK},
      {VOW_TXN_PREPARING, true, VOW_OUTCOME_NONE, VOW_TXN_PREPARING, VOW_OK},
      {VOW_TXN_COMMITTING, false, VOW_OUTCOME_NONE, VOW_TXN_PREPARING, VOW_OK},
      {VOW_TXN_COMMITTING, true, VOW_OUTCOME_COMMITTED, VOW_TXN_COMMITTING, VOW_OK},
      {VOW_TXN_COMMITTED, false, VOW_OUTCOME_NONE, VOW_TXN_PREPARING, VOW_OK},
      {VOW_TXN_COMMITTED, true, VOW_OUTCOME_COMMITTED, VOW_TXN_COMMITTED, VOW_OK},
      {VOW_TXN_ABORTING, false, VOW_OUTCOME_NONE, VOW_TXN_PREPARING, VOW_OK},
      {VOW_TXN_ABORTING, true, VOW_OUTCOME_ABORTED, VOW_TXN_ABORTING, VOW_E_ABORTED},
      {VOW_TXN_ABORTED, false, VOW_OUTCOME_NONE, VOW_TXN_PREPARING, VOW_OK},
      {VOW_TXN_ABORTED, true, VOW_OUTCOME_ABORTED, VOW_TXN_ABORTED, VOW_E_ABORTED},
      {(enum vow_txn_state)9, true, VOW_OUTCOME_NONE, (enum vow_txn_state)9, VOW_OK},
  };
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    struct vow_txn txn = {.state = rows[i].state, .decision_durable = rows[i].durable};
    assert_int_equal(vow_txn_outcome(&txn), rows[i].outcome);
    assert_int_equal(vow_txn_shown_state(&txn), rows[i].shown);
    assert_int_equal(vow_txn_commit_error(&txn), rows[i].error);
  }
}

/* Only when the one branch that could decide ended in between, nobody says "aborted". */
static void a_delegated_hazard_is_neither(void **state) {
  (void)state;
  struct vow_txn txn = {.state = VOW_TXN_ABORTED, .decision_durable = true, .delegated = true};

  for (int i = VOW_HEURISTIC_NONE; i <= VOW_HEURISTIC_HAZARD; i++) {
    bool unclear = i == VOW_HEURISTIC_MIXED || i == VOW_HEURISTIC_HAZARD;
    txn.heuristic = (enum vow_heuristic)i;
    assert_int_equal(vow_txn_commit_error(&txn), unclear ? VOW_E_HEURISTIC : VOW_E_ABORTED);
    txn.delegated = false;
    assert_int_equal(vow_txn_commit_error(&txn), VOW_E_ABORTED);
    txn.delegated = true;
  }
}

/* What a branch can have come to, and what the X/Open rules make of it. */
static const struct {
  enum vow_branch_state state;
  enum vow_outcome outcome;
} ends[] = {
    {VOW_BRANCH_COMMITTING, VOW_OUTCOME_NONE},
    {VOW_BRANCH_READ_ONLY, VOW_OUTCOME_NONE},
    {VOW_BRANCH_COMMITTED, VOW_OUTCOME_COMMITTED},
    {VOW_BRANCH_ABORTED, VOW_OUTCOME_ABORTED},
    {VOW_BRANCH_HEURISTIC, VOW_OUTCOME_HEURISTIC_COMMIT},
    {VOW_BRANCH_HEURISTIC, VOW_OUTCOME_HEURISTIC_ABORT},
    {VOW_BRANCH_HEURISTIC, VOW_OUTCOME_HEURISTIC_MIXED},
    {VOW_BRANCH_HEURISTIC, VOW_OUTCOME_HEURISTIC_HAZARD},
    {VOW_BRANCH_UNKNOWN, VOW_OUTCOME_NONE},
};
#define ENDS 9

/* The rules as the page has them, over the set of ends that occur. */
static enum vow_heuristic rule(unsigned set) {
  bool commits = set & (1U << 2 | 1U << 4), aborts = set & (1U << 3 | 1U << 5);

  if ((set & (1U << 4 | 1U << 5 | 1U << 6 | 1U << 7 | 1U << 8)) == 0) return VOW_HEURISTIC_NONE;
  if ((set & 1U << 6) != 0 || (commits && aborts)) return VOW_HEURISTIC_MIXED;
  if ((set & (1U << 7 | 1U << 8)) != 0) return VOW_HEURISTIC_HAZARD;
  return commits ? VOW_HEURISTIC_COMMIT : VOW_HEURISTIC_ABORT;
}

/* Every combination of three branches. */
static void heuristics_merge(void **state) {
  (void)state;

  for (unsigned i = 0; i < ENDS * ENDS * ENDS; i++) {
    unsigned picks[3] = {i % ENDS, i / ENDS % ENDS, i / ENDS / ENDS};
    struct vow_branch branches[3] = {0};
    unsigned set = 0;
    for (int b = 0; b < 3; b++) {
      branches[b].state = ends[picks[b]].state;
      branches[b].outcome = ends[picks[b]].outcome;
      set |= 1U << picks[b];
    }
    struct vow_txn txn = {.branches = branches, .branch_count = 3};
    assert_int_equal(vow_txn_merge_heuristics(&txn), rule(set));
  }
}

/* An image is freed with all it owns, and can be freed again. */
static void images_are_freed(void **state) {
  (void)state;
  struct vow_txn txn = {.branch_count = 1, .history_count = 2};

  vow_txn_fini(NULL);
  txn.branches = calloc(1, sizeof(*txn.branches));
  txn.branches[0].name = strdup("a");
  txn.branches[0].url = strdup("http://a");
  txn.branches[0].payload = strdup("{}");
  txn.branches[0].last_error = strdup("no");
  txn.history = calloc(2, sizeof(*txn.history));
  txn.history[0].detail = strdup("owned");
  txn.history[1].detail = "constant";
  txn.history[1].detail_static = true;
  txn.metadata = strdup("{}");
  txn.idempotency_key = strdup("k");
  txn.traceparent = strdup("00");
  txn.reason = strdup("why");
  vow_txn_fini(&txn);
  assert_null(txn.branches);
  vow_txn_fini(&txn);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_are_read_back),
      cmocka_unit_test(outcomes_are_told_when_durable),
      cmocka_unit_test(a_delegated_hazard_is_neither),
      cmocka_unit_test(heuristics_merge),
      cmocka_unit_test(images_are_freed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
