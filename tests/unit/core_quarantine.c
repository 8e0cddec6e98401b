/*
 * A log that a witness has seen further than it ever came: what the core does not positively know
 * it tells nobody, aborts nowhere and lets nobody forget; what it knows it drives on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core_world.h"

#define NOW 70 /* the incarnation of this start */

static int setup(void **state) {
  struct world *w = world_new();
  *state = w;
  return 0;
}

static int teardown(void **state) {
  world_free(*state);
  return 0;
}

/* The process starts again on a log that knows two starts before this one. */
static void restart(struct world *w, bool quarantined) {
  w->incarnation = NOW;
  w->known[0] = (struct vow_incarnation){50, 2};
  w->known[1] = (struct vow_incarnation){60, w->durable};
  w->known_count = 2;
  w->quarantined = quarantined;
  world_forget_trace(w);
  crash(w, UINT64_MAX);
}

static void witness(struct world *w, uint64_t incarnation, uint64_t position) {
  struct vow_event event = {.type = VOW_EVENT_WITNESS};
  event.u.witness.seen = (struct vow_log_position){incarnation, position};
  event.u.witness.by = "somebody";
  world_must(w, &event);
}

/* A record of a transaction that was preparing, and nothing of its decision. */
static void leave_undecided(struct world *w) {
  begin(w, "a+ b+");
  commit_no_wait(w, T1);
  yes(w, "a");
  wait_ms(w, 1000);
  sync(w);
}

/* A log knows what it came to in each of its starts, and no other start. */
static void a_log_knows_its_own_past(void **state) {
  static const struct vow_incarnation known[] = {{0, 9}, {50, 2}, {60, 8}};
  (void)state;
  assert_true(vow_log_knows(known, 3, (struct vow_log_position){60, 8}));
  assert_false(vow_log_knows(known, 3, (struct vow_log_position){60, 9}));
  assert_true(vow_log_knows(known, 3, (struct vow_log_position){50, 2}));
  assert_false(vow_log_knows(known, 3, (struct vow_log_position){50, 3}));
  assert_false(vow_log_knows(known, 3, (struct vow_log_position){55, 0}));
  assert_false(vow_log_knows(known, 3, (struct vow_log_position){61, 0}));
  assert_true(vow_log_knows(known, 3, (struct vow_log_position){9, 1000})); /* let go long ago */
  assert_false(vow_log_knows(known, 3, (struct vow_log_position){10, 0}));
  assert_false(vow_log_knows(NULL, 0, (struct vow_log_position){1, 0}));
  /* Only of the starts that were let go is the number that of a start. */
  static const struct vow_incarnation grown[] = {{0, 9}, {50, 200}, {60, 208}};
  assert_false(vow_log_knows(grown, 3, (struct vow_log_position){55, 0}));
  assert_true(vow_log_knows(grown, 3, (struct vow_log_position){60, 208}));
  assert_false(vow_log_knows(grown, 3, (struct vow_log_position){60, 209}));
}

/* Only what lies beyond what the log knows puts it into quarantine, and that once. */
static void a_witness_of_more_puts_it_into_quarantine(void **state) {
  struct world *w = *state;
  restart(w, false);
  world_forget_trace(w);
  witness(w, 50, 2);
  witness(w, 60, 1);
  witness(w, NOW, w->durable);
  witness(w, 0, 1000);
  assert_false(vow_core_quarantined(w->core));
  assert_int_equal(vow_core_log(w->core).incarnation, NOW);
  assert_int_equal(vow_core_log(w->core).position, w->durable);
  witness(w, 60, 1000);
  expect(w, "log! quarantine: 60.1000 by somebody");
  assert_true(vow_core_quarantined(w->core));
  assert_int_equal(vow_core_log(w->core).incarnation, 0); /* it tells nobody of itself any more */
  witness(w, 65, 0);
  expect(w, NULL);
}

/* A log without starts of its own has no witnesses, and tells nobody of itself. */
static void a_log_that_says_nothing_of_itself_is_judged_by_nobody(void **state) {
  struct world *w = *state;
  witness(w, 60, 1000);
  assert_false(vow_core_quarantined(w->core));
  begin_one_shot(w, "a b");
  assert_int_equal(w->sends[w->send_count - 1].log.incarnation, 0);
}

/* In quarantine the undecided of earlier runs are held back, and nothing is begun or presumed. */
static void what_was_undecided_is_held_back(void **state) {
  struct world *w = *state;
  struct vow_core_counts counts;
  leave_undecided(w);
  restart(w, true);
  sync(w);
  expect(w, "log! ceiling");
  expect_picture(w, T1, "preparing [a prepared, b preparing]");
  assert_int_equal(vow_txn_outcome(world_find(w, T1)), VOW_OUTCOME_NONE);
  assert_true(vow_core_held_back(w->core, world_id(w, T1)));
  assert_int_equal(vow_core_awaits_votes(w->core), 0);
  assert_false(vow_core_may_presume(w->core, world_id(w, T1)));
  assert_true(vow_id_is_nil(vow_core_finished_below(w->core)));
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.held_back, 1);
  begin(w, "a b");
  expect_some(w, "quarantined");
  commit(w, T1);
  expect_some(w, "quarantined");
  abort_txn(w, T1);
  expect_some(w, "quarantined");
  resolve(w, T1, 0, VOW_OUTCOME_ABORTED);
  expect_some(w, "quarantined");
  enlist(w, T1, "c");
  expect_some(w, "quarantined");
  wait_ms(w, 600000);
  expect_picture(w, T1, "preparing [a prepared, b preparing]");
  assert_false(under_way(w, "a"));
}

/* What it has decided it tells whoever asks. It pushes nothing: it may have ended since. */
static void what_is_decided_is_told_and_not_pushed(void **state) {
  struct world *w = *state;
  begin_one_shot(w, "a b");
  yes(w, "a");
  yes(w, "b");
  sync(w);
  restart(w, true);
  sync(w);
  expect(w, "log! ceiling");
  assert_int_equal(vow_txn_outcome(world_find(w, T1)), VOW_OUTCOME_COMMITTED);
  assert_false(vow_core_held_back(w->core, world_id(w, T1)));
  uint64_t token = commit(w, T1);
  assert_int_equal(w->outcome[token], VOW_OUTCOME_COMMITTED);
  world_forget_trace(w);
  wait_ms(w, 600000);
  expect(w, NULL);
  resolve(w, T1, 1, VOW_OUTCOME_COMMITTED); /* an operator may still say what was done by hand */
  expect(w, "log! t1 committing");
  expect_picture(w, T1, "committing [a committed, b committing]");
  sync(w);
  world_forget_trace(w);
  resolve(w, T1, 2, VOW_OUTCOME_COMMITTED); /* nor does it end before the log is reconciled */
  expect(w, "log! t1 committing");
  sync(w);
  expect_picture(w, T1, "committing [a committed, b committed]");
}

/* So it is with an abort that was decided: unlike a presumed one it is not held back. */
static void a_decided_abort_is_told_and_not_pushed(void **state) {
  struct world *w = *state;
  struct vow_core_counts counts;
  leave_undecided(w);
  resolve(w, T1, 0, VOW_OUTCOME_ABORTED);
  sync(w);
  restart(w, true);
  sync(w);
  expect(w, "log! ceiling");
  expect_picture(w, T1, "aborting [a aborting, b aborting]");
  assert_int_equal(vow_txn_outcome(world_find(w, T1)), VOW_OUTCOME_ABORTED);
  assert_false(vow_core_held_back(w->core, world_id(w, T1)));
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.held_back, 0);
  uint64_t token = abort_txn(w, T1);
  assert_int_equal(w->outcome[token], VOW_OUTCOME_ABORTED);
  world_forget_trace(w);
  wait_ms(w, 600000);
  expect(w, NULL);
}

/* A witness that speaks up late stops what was only presumed, and what is under way counts no
 * more. */
static void a_late_witness_takes_presumptions_back(void **state) {
  struct world *w = *state;
  leave_undecided(w);
  restart(w, false);
  expect(w, "log! ceiling", "send abort t1/a", "send abort t1/b");
  assert_int_equal(vow_txn_outcome(world_find(w, T1)), VOW_OUTCOME_ABORTED);
  w->overruled[0] = true; /* who asks too early is told the presumption: that is the risk */
  down(w, "b");
  w->seen = (struct vow_log_position){60, 1000};
  world_forget_trace(w);
  acknowledge(w, "a", VOW_OUTCOME_ABORTED);
  expect(w, "log! quarantine: 60.1000 by http://a");
  assert_int_equal(vow_txn_outcome(world_find(w, T1)), VOW_OUTCOME_NONE);
  assert_true(vow_core_held_back(w->core, world_id(w, T1)));
  enlist(w, T1, "c"); /* it is not told an abort either */
  expect_some(w, "quarantined");
  wait_ms(w, 600000);
  expect(w, NULL);
}

static void no_abort_is_recorded(const struct world *w) {
  for (uint32_t i = 0; i < w->log_count; i++) {
    assert_int_not_equal(w->log[i].image.state, VOW_TXN_ABORTING);
  }
}

/* Presumptions are not written down: were they, the next start would take them for decisions. */
static void a_presumption_is_not_recorded(void **state) {
  struct world *w = *state;
  leave_undecided(w);
  restart(w, false);
  world_forget_trace(w);
  wait_ms(w, 60000);
  no_abort_is_recorded(w);
}

/* Nor with what a participant did by itself, which it will say again. With the last branch it is
 * over, and recorded as a whole. */
static void a_presumption_is_recorded_when_it_has_ended(void **state) {
  struct world *w = *state;
  struct vow_core_counts counts;
  leave_undecided(w);
  restart(w, false);
  sync(w);
  w->overruled[0] = true;
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_COMMIT);
  expect_picture(w, T1, "aborting heuristic-commit [a heuristic-commit, b aborting]");
  vow_core_counts(w->core, &counts);
  assert_int_equal(counts.open_heuristic, 1);
  no_abort_is_recorded(w);
  restart(w, true);
  assert_true(vow_core_held_back(w->core, world_id(w, T1)));
  restart(w, false);
  sync(w);
  acknowledge(w, "b", VOW_OUTCOME_ABORTED);
  world_forget_trace(w);
  acknowledge(w, "a", VOW_OUTCOME_HEURISTIC_COMMIT);
  expect(w, "log! t1 aborted heuristic-mixed");
}

/* What an operator settles of a presumed abort is recorded at once, and what was presumed is as
 * little decided as before: in quarantine it is told to nobody, be it read so or taken back. */
static void a_settled_branch_makes_no_decision_of_a_presumption(void **state) {
  struct world *w = *state;
  leave_undecided(w);
  restart(w, false);
  sync(w);
  world_forget_trace(w);
  w->overruled[0] = true;
  uint64_t token = resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
  expect(w, "log! t1 aborting");
  sync(w);
  assert_int_equal(w->answered[token], 1);
  restart(w, true);
  expect_picture(w, T1, "aborting [a aborted, b aborting]");
  assert_int_equal(vow_txn_outcome(world_find(w, T1)), VOW_OUTCOME_NONE);
  assert_true(vow_core_held_back(w->core, world_id(w, T1)));
  sync(w);
  resolve(w, T1, 0, VOW_OUTCOME_ABORTED);
  expect_some(w, "quarantined");
  resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
  expect_some(w, "quarantined");
  assert_false(under_way(w, "b"));
  restart(w, false);
  sync(w);
  assert_true(under_way(w, "b"));
  witness(w, 65, 1);
  assert_true(vow_core_held_back(w->core, world_id(w, T1)));
  restart(w, false);
  sync(w);
  world_forget_trace(w);
  acknowledge(w, "b", VOW_OUTCOME_ABORTED);
  expect(w, "log t1 aborted ended");
}

/* It is on its way to the log, and told when it is there, though the presumption is taken back. */
static void what_an_operator_settled_is_told(void **state) {
  struct world *w = *state;
  leave_undecided(w);
  restart(w, false);
  sync(w);
  w->overruled[0] = true;
  uint64_t token = resolve(w, T1, 1, VOW_OUTCOME_ABORTED);
  world_forget_trace(w);
  witness(w, 65, 1);
  assert_true(vow_core_held_back(w->core, world_id(w, T1)));
  expect(w, "log! quarantine: 65.1 by somebody");
  sync(w);
  assert_int_equal(w->answered[token], 1);
  expect_some(w, " ok t1 ");
}

/* A key changes nothing about that: a decision that the log lost may yet be heard of. */
static void nor_is_a_presumption_under_a_key(void **state) {
  struct world *w = *state;
  struct vow_event event = {.u.begin = {.idempotency_key = "k", .commit = true}};
  begin_with(w, &event, "a+ b+");
  yes(w, "a");
  wait_ms(w, 1000);
  sync(w);
  restart(w, false);
  sync(w);
  expect(w, "log! ceiling", "send abort t1/a", "send abort t1/b");
  w->overruled[0] = true;
  witness(w, 65, 1);
  expect(w, "log! quarantine: 65.1 by somebody");
  assert_true(vow_core_held_back(w->core, world_id(w, T1)));
}

/* Transactions of this run lost nothing: they end as ever. */
static void transactions_of_this_run_go_on(void **state) {
  struct world *w = *state;
  restart(w, false);
  sync(w);
  begin_one_shot(w, "a b");
  yes(w, "a");
  witness(w, 65, 1);
  yes(w, "b");
  sync(w);
  assert_true(w->sends[w->send_count - 1].log_ask); /* nobody keeps how far this log has come */
  acknowledge(w, "a", VOW_OUTCOME_COMMITTED);
  acknowledge(w, "b", VOW_OUTCOME_COMMITTED);
  sync(w);
  expect_picture(w, T1, "gone");
}

/* Until a participant has answered once in this run it is asked, and keeps nothing: what it saw of
 * a lost log must be heard first. */
static void who_has_not_answered_is_asked(void **state) {
  struct world *w = *state;
  restart(w, false);
  sync(w);
  begin_one_shot(w, "a b");
  assert_true(w->sends[0].log_ask);
  assert_int_equal(w->sends[0].log.incarnation, NOW);
  assert_int_equal(w->sends[0].log.position, w->durable);
  assert_true(vow_id_is_nil(w->sends[0].finished_below));
  down(w, "a");
  wait_ms(w, 1000);
  assert_true(w->sends[w->send_count - 1].log_ask);
  yes(w, "a");
  yes(w, "b");
  sync(w);
  assert_false(w->sends[w->send_count - 1].log_ask);
  assert_true(w->sends[w->send_count - 1].log.position == w->durable);
  assert_false(vow_id_is_nil(w->sends[w->send_count - 1].finished_below));
}

/* That it does not know a branch is an answer, too; that it fails later takes none of them back. */
static void who_knows_no_branch_has_answered(void **state) {
  struct world *w = *state;
  restart(w, false);
  sync(w);
  begin(w, "a b");
  abort_txn(w, T1);
  unknown(w, "a");
  begin(w, "c@a d@b");
  commit_no_wait(w, T2);
  assert_true(under_way(w, "c"));
  assert_false(w->sends[w->send_count - 2].log_ask);
  assert_true(w->sends[w->send_count - 1].log_ask);
  failed(w, "c");
  wait_ms(w, 100);
  assert_false(w->sends[w->send_count - 1].log_ask);
}

/* Below what was once lost nothing is presumed, also when the quarantine is over. */
static void what_was_lost_once_is_never_presumed(void **state) {
  struct world *w = *state;
  begin(w, "a b");
  begin(w, "a b");
  w->presume_from = world_id(w, T2);
  restart(w, false);
  sync(w);
  assert_false(vow_core_may_presume(w->core, world_id(w, T1)));
  assert_true(vow_core_may_presume(w->core, world_id(w, T2)));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_log_knows_its_own_past),
      TEST(a_witness_of_more_puts_it_into_quarantine),
      TEST(a_log_that_says_nothing_of_itself_is_judged_by_nobody),
      TEST(what_was_undecided_is_held_back),
      TEST(what_is_decided_is_told_and_not_pushed),
      TEST(a_decided_abort_is_told_and_not_pushed),
      TEST(a_late_witness_takes_presumptions_back),
      TEST(a_presumption_is_not_recorded),
      TEST(a_presumption_is_recorded_when_it_has_ended),
      TEST(a_settled_branch_makes_no_decision_of_a_presumption),
      TEST(what_an_operator_settled_is_told),
      TEST(nor_is_a_presumption_under_a_key),
      TEST(transactions_of_this_run_go_on),
      TEST(who_has_not_answered_is_asked),
      TEST(who_knows_no_branch_has_answered),
      TEST(what_was_lost_once_is_never_presumed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
