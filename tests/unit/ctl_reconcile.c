/*
 * What a reconciliation concludes from what participants have on disk, and the record that it
 * writes of it.
 */
#include "reconcile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct ctl_place sites[] = {
    {.url = (char[]){"http://a"}}, {.url = (char[]){"http://b"}}, {.url = (char[]){"http://c"}}};
static const struct ctl_places places = {.items = sites, .count = 3};

static enum ctl_verdict verdict_of(enum vow_known_state a, enum vow_known_state b) {
  struct ctl_report_item items[] = {{0, 1, a}, {1, 2, b}};
  struct ctl_case item = {.items = items, .count = b == 0 ? 1 : 2};
  ctl_judge(&item, &places);
  assert_true(item.why[0] != '\0' && ctl_verdict_name(item.verdict) != NULL);
  return item.verdict;
}

/* A commit or an abort of somebody decides; nothing else does, and both are a conflict. */
static void only_an_end_that_somebody_was_told_decides(void **state) {
  static const enum vow_known_state silent[] = {VOW_KNOWN_PREPARING, VOW_KNOWN_PREPARED,
                                                VOW_KNOWN_READ_ONLY, VOW_KNOWN_HEURISTIC,
                                                VOW_KNOWN_REFUSED,   0};
  (void)state;
  for (size_t i = 0; i < sizeof silent / sizeof *silent; i++) {
    assert_int_equal(verdict_of(VOW_KNOWN_COMMITTED, silent[i]), CTL_VERDICT_COMMIT);
    assert_int_equal(verdict_of(VOW_KNOWN_ABORTED, silent[i]), CTL_VERDICT_ABORT);
    assert_int_equal(verdict_of(VOW_KNOWN_PREPARED, silent[i]), CTL_VERDICT_OPEN);
  }
  assert_int_equal(verdict_of(VOW_KNOWN_COMMITTED, VOW_KNOWN_ABORTED), CTL_VERDICT_CONFLICT);
  assert_int_equal(verdict_of(VOW_KNOWN_ABORTED, VOW_KNOWN_COMMITTED), CTL_VERDICT_CONFLICT);
  assert_int_equal(verdict_of(VOW_KNOWN_READ_ONLY, VOW_KNOWN_READ_ONLY), CTL_VERDICT_OPEN);
  assert_int_equal(verdict_of(VOW_KNOWN_REFUSED, VOW_KNOWN_REFUSED), CTL_VERDICT_OPEN);
}

static struct vow_txn image_of(struct ctl_case *item, enum ctl_verdict verdict) {
  struct vow_txn txn = {0};
  item->verdict = verdict;
  assert_int_equal(ctl_reconcile_image(item, &places, 1000, &txn), VOW_OK);
  assert_int_equal(item->txn.branch_count, 0); /* it was taken over */
  return txn;
}

/* Of what the log does not have, the reported branches are written; one in between, of which only
 * the number is known, is settled by hand, so that a commit is kept for whoever asks. */
static void what_the_log_lacks_is_made_of_the_reports(void **state) {
  struct ctl_report_item items[] = {{0, 1, VOW_KNOWN_COMMITTED}, {2, 3, VOW_KNOWN_PREPARED}};
  struct ctl_case item = {
      .id = vow_id_make(5000, 1, 2), .items = items, .count = 2, .why = "because"};
  (void)state;
  struct vow_txn txn = image_of(&item, CTL_VERDICT_COMMIT);
  assert_int_equal(txn.state, VOW_TXN_COMMITTING);
  assert_int_equal(vow_id_compare(txn.id, item.id), 0);
  assert_int_equal(txn.created_ms, 5000);
  assert_int_equal(txn.branch_count, 3);
  assert_string_equal(txn.branches[0].url, "http://a");
  assert_int_equal(txn.branches[0].state, VOW_BRANCH_COMMITTED); /* it has it on disk */
  assert_int_equal(txn.branches[0].vote, VOW_VOTE_COMMIT);
  assert_int_equal(txn.branches[2].state, VOW_BRANCH_PREPARED);
  assert_true(txn.branches[1].resolved);
  assert_int_equal(txn.branches[1].state, VOW_BRANCH_COMMITTED);
  assert_string_equal(txn.branches[2].url, "http://c");
  assert_string_equal(txn.branches[2].name, "3");
  assert_int_equal(txn.history_count, 1);
  assert_non_null(strstr(txn.history[0].detail, "because"));
  vow_txn_fini(&txn);
  item.by_operator = true;
  txn = image_of(&item, CTL_VERDICT_ABORT);
  assert_int_equal(txn.state, VOW_TXN_ABORTING);
  assert_int_equal(txn.branches[0].state, VOW_BRANCH_ABORTING);
  assert_int_equal(txn.branches[1].state, VOW_BRANCH_ABORTED);
  assert_non_null(strstr(txn.history[0].detail, "an operator decided"));
  assert_string_equal(txn.reason, "reconciled: because");
  vow_txn_fini(&txn);
}

/* An image that the log has keeps its branches; those that only read have nothing to be told. */
static void what_the_log_has_is_decided_as_it_is(void **state) {
  struct ctl_report_item items[] = {{0, 1, VOW_KNOWN_ABORTED}};
  struct ctl_case item = {.items = items, .count = 1, .why = "so"};
  (void)state;
  item.txn = (struct vow_txn){.id = vow_id_make(7, 1, 1),
                              .state = VOW_TXN_PREPARING,
                              .delegated = true,
                              .branches = calloc(2, sizeof(struct vow_branch)),
                              .branch_count = 2};
  item.txn.branches[0] =
      (struct vow_branch){.number = 1, .state = VOW_BRANCH_PREPARING, .url = strdup("http://a")};
  item.txn.branches[1] =
      (struct vow_branch){.number = 2, .state = VOW_BRANCH_READ_ONLY, .url = strdup("http://b")};
  struct vow_txn txn = image_of(&item, CTL_VERDICT_ABORT);
  assert_false(txn.delegated);
  assert_int_equal(txn.branches[0].state, VOW_BRANCH_ABORTED); /* it has it on disk */
  assert_int_equal(txn.branches[1].state, VOW_BRANCH_READ_ONLY);
  vow_txn_fini(&txn);
}

/* Of what the log has decided nothing changes but what has ended since: it is on the participant's
 * disk, or forgotten there, below the watermark. */
static void what_has_ended_since_is_taken_note_of(void **state) {
  static const enum vow_branch_state expected[] = {VOW_BRANCH_COMMITTED, VOW_BRANCH_COMMITTED,
                                                   VOW_BRANCH_PREPARED, VOW_BRANCH_PREPARED};
  struct ctl_report_item items[] = {{0, 1, VOW_KNOWN_COMMITTED}, {2, 3, VOW_KNOWN_PREPARED}};
  struct ctl_case item = {.id = vow_id_make(7, 1, 1), .items = items, .count = 2};
  static const char *const urls[] = {"http://a", "http://b", "http://c", "http://elsewhere"};
  (void)state;
  item.txn = (struct vow_txn){.id = item.id,
                              .state = VOW_TXN_COMMITTING,
                              .branches = calloc(4, sizeof(struct vow_branch)),
                              .branch_count = 4};
  for (uint32_t i = 0; i < 4; i++) {
    item.txn.branches[i] = (struct vow_branch){
        .number = i + 1, .state = VOW_BRANCH_COMMITTING, .url = strdup(urls[i])};
  }
  sites[1].tells = true;
  sites[1].known.finished_below = vow_id_make(8, 0, 0);
  ctl_judge(&item, &places);
  assert_int_equal(item.verdict, CTL_VERDICT_KNOWN);
  struct vow_txn txn = image_of(&item, CTL_VERDICT_KNOWN);
  assert_int_equal(txn.state, VOW_TXN_COMMITTING);
  for (uint32_t i = 0; i < 4; i++) assert_int_equal(txn.branches[i].state, expected[i]);
  vow_txn_fini(&txn);
  sites[1].tells = false;
}

/* A commit that was told proves that the log's abort came from not knowing it. If an operator then
 * says commit, the branch that had aborted is told, and will answer so. */
static void an_abort_in_the_log_is_no_match_for_a_commit(void **state) {
  struct ctl_report_item items[] = {{0, 1, VOW_KNOWN_COMMITTED}, {1, 2, VOW_KNOWN_ABORTED}};
  struct ctl_case item = {.id = vow_id_make(7, 1, 1), .items = items, .count = 2};
  (void)state;
  item.txn = (struct vow_txn){.id = item.id,
                              .state = VOW_TXN_ABORTING,
                              .branches = calloc(2, sizeof(struct vow_branch)),
                              .branch_count = 2};
  item.txn.branches[0] =
      (struct vow_branch){.number = 1, .state = VOW_BRANCH_ABORTING, .url = strdup("http://a")};
  item.txn.branches[1] =
      (struct vow_branch){.number = 2, .state = VOW_BRANCH_ABORTED, .url = strdup("http://b")};
  ctl_judge(&item, &places);
  assert_int_equal(item.verdict, CTL_VERDICT_CONFLICT);
  struct vow_txn txn = image_of(&item, CTL_VERDICT_COMMIT);
  assert_int_equal(txn.state, VOW_TXN_COMMITTING);
  assert_int_equal(txn.branches[0].state, VOW_BRANCH_COMMITTED);
  assert_int_equal(txn.branches[1].state, VOW_BRANCH_PREPARED);
  vow_txn_fini(&txn);
}

static struct ctl_case presumed_abort(struct ctl_report_item *told) {
  struct ctl_case item = {.id = vow_id_make(7, 1, 1), .items = told, .count = 1, .why = "so"};
  item.txn = (struct vow_txn){.id = item.id,
                              .state = VOW_TXN_ABORTING,
                              .presumed = true,
                              .branches = calloc(3, sizeof(struct vow_branch)),
                              .branch_count = 3};
  item.txn.branches[0] =
      (struct vow_branch){.number = 1, .state = VOW_BRANCH_ABORTING, .url = strdup("http://a")};
  item.txn.branches[1] = (struct vow_branch){.number = 2,
                                             .state = VOW_BRANCH_ABORTED,
                                             .outcome = VOW_OUTCOME_ABORTED,
                                             .resolved = true,
                                             .url = strdup("http://b")};
  item.txn.branches[2] =
      (struct vow_branch){.number = 3, .state = VOW_BRANCH_ABORTED, .url = strdup("http://c")};
  return item;
}

/* An abort that was only presumed when an operator settled a branch is no decision: what the
 * participants have on disk decides. What the operator did against it is a heuristic outcome. */
static void a_presumed_abort_in_the_log_decides_nothing(void **state) {
  struct ctl_report_item told = {0, 1, VOW_KNOWN_PREPARED};
  struct ctl_case item = presumed_abort(&told);
  (void)state;
  ctl_judge(&item, &places);
  assert_int_equal(item.verdict, CTL_VERDICT_OPEN);
  struct vow_txn txn = image_of(&item, CTL_VERDICT_ABORT);
  assert_int_equal(txn.state, VOW_TXN_ABORTING);
  assert_false(txn.presumed);
  assert_int_equal(txn.heuristic, VOW_HEURISTIC_NONE);
  assert_int_equal(txn.branches[0].state, VOW_BRANCH_ABORTING);
  vow_txn_fini(&txn);

  told.state = VOW_KNOWN_COMMITTED;
  item = presumed_abort(&told);
  ctl_judge(&item, &places);
  assert_int_equal(item.verdict, CTL_VERDICT_COMMIT);
  txn = image_of(&item, CTL_VERDICT_COMMIT);
  assert_int_equal(txn.state, VOW_TXN_COMMITTING);
  assert_false(txn.presumed);
  assert_int_equal(txn.branches[0].state, VOW_BRANCH_COMMITTED);
  assert_int_equal(txn.branches[1].state, VOW_BRANCH_HEURISTIC);
  assert_int_equal(txn.branches[1].outcome, VOW_OUTCOME_HEURISTIC_ABORT);
  assert_int_equal(txn.branches[2].state, VOW_BRANCH_PREPARED); /* it is told, and answers */
  assert_int_equal(txn.heuristic, VOW_HEURISTIC_MIXED);
  vow_txn_fini(&txn);
}

/* Places and cases are in their lists once, cases in the order of their ids. */
static void lists_hold_each_once(void **state) {
  struct ctl_places some = {0};
  struct ctl_cases cases = {0};
  (void)state;
  assert_true(ctl_places_add(&some, "http://a") && ctl_places_add(&some, "http://a"));
  assert_int_equal(some.count, 1);
  for (unsigned ms = 5; ms > 0; ms--) {
    assert_true(ctl_cases_add(&cases, vow_id_make(ms, 0, 0), NULL));
    assert_true(ctl_cases_add(&cases, vow_id_make(5, 0, 0), NULL));
  }
  assert_int_equal(cases.count, 5);
  for (size_t i = 1; i < cases.count; i++) {
    assert_true(vow_id_compare(cases.items[i - 1].id, cases.items[i].id) < 0);
  }
  assert_non_null(ctl_cases_find(&cases, vow_id_make(3, 0, 0)));
  assert_null(ctl_cases_find(&cases, vow_id_make(6, 0, 0)));
  ctl_cases_fini(&cases);
  ctl_places_fini(&some);
}

/* Where a commit was decided everybody had voted for it: whoever refused had only read, and so had
 * whoever a crash left with no more than that it had begun to prepare, and whose abort goes on. */
static void who_refused_a_commit_had_only_read(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    static const enum vow_known_state states[] = {VOW_KNOWN_REFUSED, VOW_KNOWN_PREPARING,
                                                  VOW_KNOWN_READ_ONLY, VOW_KNOWN_PREPARED};
    struct ctl_report_item items[] = {{0, 1, VOW_KNOWN_COMMITTED}, {1, 2, states[i]}};
    struct ctl_case item = {
        .id = vow_id_make(5000, 1, 2), .items = items, .count = 2, .why = "because"};
    bool only_read = states[i] != VOW_KNOWN_PREPARED;
    struct vow_txn txn = image_of(&item, CTL_VERDICT_COMMIT);
    assert_int_equal(txn.branches[0].state, VOW_BRANCH_COMMITTED);
    assert_int_equal(txn.branches[1].state, only_read ? VOW_BRANCH_READ_ONLY : VOW_BRANCH_PREPARED);
    assert_int_equal(txn.branches[1].vote, only_read ? VOW_VOTE_READ_ONLY : VOW_VOTE_COMMIT);
    vow_txn_fini(&txn);
  }
}

/* Nothing is known of the vote of whoever did not tell when the commit was written: the next
 * reconciliation hears that it had only read. */
static void who_did_not_tell_may_have_only_read(void **state) {
  struct ctl_report_item before[] = {{0, 1, VOW_KNOWN_COMMITTED}};
  struct ctl_report_item after[] = {{0, 1, VOW_KNOWN_COMMITTED}, {1, 2, VOW_KNOWN_REFUSED}};
  struct ctl_case item = {.id = vow_id_make(7, 1, 1), .items = before, .count = 1, .why = "so"};
  static const char *const urls[] = {"http://a", "http://b"};
  (void)state;
  item.txn = (struct vow_txn){.id = item.id,
                              .state = VOW_TXN_PREPARING,
                              .branches = calloc(2, sizeof(struct vow_branch)),
                              .branch_count = 2};
  for (uint32_t i = 0; i < 2; i++) {
    item.txn.branches[i] =
        (struct vow_branch){.number = i + 1, .state = VOW_BRANCH_PREPARING, .url = strdup(urls[i])};
  }
  struct vow_txn txn = image_of(&item, CTL_VERDICT_COMMIT);
  assert_int_equal(txn.branches[1].state, VOW_BRANCH_PREPARED);
  assert_int_equal(txn.branches[1].vote, VOW_VOTE_NONE);
  item = (struct ctl_case){.id = txn.id, .txn = txn, .items = after, .count = 2};
  txn = image_of(&item, CTL_VERDICT_KNOWN);
  assert_int_equal(txn.branches[0].state, VOW_BRANCH_COMMITTED);
  assert_int_equal(txn.branches[1].state, VOW_BRANCH_READ_ONLY);
  vow_txn_fini(&txn);
}

/* But where the log knows that it had promised, the promise is lost: it is told, and what it
 * answers is seen. */
static void who_refuses_what_it_had_promised_is_told(void **state) {
  struct ctl_report_item items[] = {{0, 1, VOW_KNOWN_REFUSED}};
  struct ctl_case item = {.id = vow_id_make(7, 1, 1), .items = items, .count = 1};
  (void)state;
  item.txn = (struct vow_txn){.id = item.id,
                              .state = VOW_TXN_COMMITTING,
                              .branches = calloc(1, sizeof(struct vow_branch)),
                              .branch_count = 1};
  item.txn.branches[0] = (struct vow_branch){.number = 1,
                                             .state = VOW_BRANCH_PREPARED,
                                             .vote = VOW_VOTE_COMMIT,
                                             .url = strdup("http://a")};
  struct vow_txn txn = image_of(&item, CTL_VERDICT_KNOWN);
  assert_int_equal(txn.branches[0].state, VOW_BRANCH_PREPARED);
  vow_txn_fini(&txn);
}

/* One place that is asked, of a log with ids below `ceiling` that knows its starts up to 5. */
static void open_one(struct ctl_reconciliation *r, struct vow_id ceiling) {
  static const struct vow_incarnation known[] = {{.number = 0, .until = 5}};
  *r = (struct ctl_reconciliation){.info = {.incarnation = 9,
                                            .position = 3,
                                            .known = known,
                                            .known_count = 1,
                                            .id_ceiling = ceiling}};
  assert_true(ctl_places_add(&r->places, "http://a"));
  r->places.items[0].answered = r->places.items[0].tells = true;
}

/* What an operator has said may be said again once the log knows it, and not otherwise. */
static void a_word_that_is_written_may_be_said_again(void **state) {
  static const enum vow_txn_state states[] = {VOW_TXN_COMMITTING, VOW_TXN_ABORTING};
  (void)state;
  for (int i = 0; i < 2; i++) {
    struct ctl_reconciliation r;
    open_one(&r, (struct vow_id){{3}});
    r.info.quarantined_ms = 1;
    struct vow_txn txn = {.id = {{1}}, .state = states[i]};
    assert_true(ctl_reconcile_add_open(&r, &txn));
    ctl_reconcile_judge(&r);
    assert_int_equal(ctl_reconcile_say(&r, txn.id, CTL_VERDICT_COMMIT), CTL_WORD_NO_CASE);
    struct vow_id id = r.cases.items[0].id;
    assert_int_equal(ctl_reconcile_say(&r, id, CTL_VERDICT_COMMIT),
                     i == 0 ? CTL_WORD_TAKEN : CTL_WORD_REFUSED);
    assert_int_equal(ctl_reconcile_say(&r, id, CTL_VERDICT_ABORT),
                     i == 1 ? CTL_WORD_TAKEN : CTL_WORD_REFUSED);
    assert_int_equal(r.cases.items[0].verdict, CTL_VERDICT_KNOWN);
    ctl_reconcile_fini(&r);
  }
}

/* An id between two starts is of what is lost, unless that was reconciled once. */
static void an_id_between_two_starts_is_a_witness(void **state) {
  static const struct vow_id_gap gaps[] = {{{{1}}, {{2}}}};
  struct ctl_reconciliation r;
  struct vow_known_branch *doubt = calloc(1, sizeof *doubt);
  (void)state;
  assert_non_null(doubt);
  *doubt = (struct vow_known_branch){.transaction = {{1, 5}}, .branch = 1};
  open_one(&r, (struct vow_id){{3}});
  r.places.items[0].in_doubt.branches = doubt;
  r.places.items[0].in_doubt.count = 1;
  ctl_reconcile_listen(&r, 77);
  assert_int_equal(r.info.quarantined_ms, 0);
  r.info.gaps = gaps;
  r.info.gap_count = 1;
  r.info.presume_from = (struct vow_id){{1, 6}};
  ctl_reconcile_listen(&r, 77);
  assert_int_equal(r.info.quarantined_ms, 0);
  r.info.presume_from = (struct vow_id){{1, 5}};
  ctl_reconcile_listen(&r, 77);
  assert_int_equal(r.info.quarantined_ms, 77);
  assert_non_null(strstr(r.info.why, "has never issued"));
  ctl_reconcile_fini(&r);
}

static void promise(struct ctl_reconciliation *r, struct vow_id id) {
  struct vow_known_branch *branches = calloc(1, sizeof *branches);
  assert_non_null(branches);
  branches[0] = (struct vow_known_branch){.transaction = id, .branch = 1};
  r->places.items[0].in_doubt.branches = branches;
  r->places.items[0].in_doubt.count = 1;
}

/* Ids are issued below a durable ceiling: a promise above it proves that records are missing. */
static void an_id_that_was_never_issued_is_a_witness(void **state) {
  (void)state;
  for (uint64_t ms = 6999; ms <= 7000; ms++) {
    struct ctl_reconciliation r;
    open_one(&r, vow_id_floor(7000, 0));
    promise(&r, vow_id_make(ms, 1, 2));
    ctl_reconcile_listen(&r, 1234);
    assert_int_equal(r.info.quarantined_ms, ms < 7000 ? 0 : 1234);
    assert_true(ms < 7000 || strstr(r.info.why, "http://a has a branch in doubt") != NULL);
    ctl_reconcile_fini(&r);
  }
}

/* Behind a reconciliation the log is ahead of every id and position that anybody knows of, also
 * where the clock says less, and the start is so old that it is not known by itself. */
static void what_is_written_goes_beyond_all_that_was_heard(void **state) {
  struct vow_log_reconciled written;
  struct ctl_reconciliation r;
  struct vow_txn none[1];
  (void)state;
  open_one(&r, vow_id_floor(7000, 0));
  r.places.items[0].known.newest = vow_id_make(900000, 1, 2);
  r.places.items[0].in_doubt.seen = (struct vow_log_position){4, 77};
  r.places.items[0].known.seen = (struct vow_log_position){5, 66};
  assert_true(ctl_reconcile_write(&r, 1000, none, &written));
  assert_int_equal(written.count, 0);
  assert_int_equal(written.judged_count, 0);
  assert_int_equal(written.position_above, 77);
  assert_true(vow_id_unix_ms(written.ids_above) > 900000);
  ctl_reconcile_fini(&r);
}

/* What is below a watermark has ended, and its participants have forgotten how: that no client was
 * told is no reason to abort it, and it is said so. */
static void what_has_ended_and_was_forgotten_is_for_the_data_to_tell(void **state) {
  struct ctl_place asked = {.url = (char[]){"http://a"}, .tells = true};
  struct ctl_places one = {.items = &asked, .count = 1};
  struct ctl_case item = {.id = vow_id_make(5000, 1, 2)};
  (void)state;
  for (uint64_t ms = 5000; ms <= 5001; ms++) {
    asked.known.finished_below = vow_id_floor(ms, 0);
    ctl_judge(&item, &one);
    assert_int_equal(item.verdict, CTL_VERDICT_OPEN);
    assert_int_equal(item.over, ms == 5001);
    assert_int_equal(strstr(item.why, "forgotten how") != NULL, item.over);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_an_end_that_somebody_was_told_decides),
      cmocka_unit_test(what_the_log_lacks_is_made_of_the_reports),
      cmocka_unit_test(what_the_log_has_is_decided_as_it_is),
      cmocka_unit_test(what_has_ended_since_is_taken_note_of),
      cmocka_unit_test(an_abort_in_the_log_is_no_match_for_a_commit),
      cmocka_unit_test(a_presumed_abort_in_the_log_decides_nothing),
      cmocka_unit_test(lists_hold_each_once),
      cmocka_unit_test(who_refused_a_commit_had_only_read),
      cmocka_unit_test(what_has_ended_and_was_forgotten_is_for_the_data_to_tell),
      cmocka_unit_test(who_refuses_what_it_had_promised_is_told),
      cmocka_unit_test(who_did_not_tell_may_have_only_read),
      cmocka_unit_test(an_id_between_two_starts_is_a_witness),
      cmocka_unit_test(a_word_that_is_written_may_be_said_again),
      cmocka_unit_test(an_id_that_was_never_issued_is_a_witness),
      cmocka_unit_test(what_is_written_goes_beyond_all_that_was_heard),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
