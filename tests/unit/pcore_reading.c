/*
 * What the participant's core tells of itself, and what it makes of an application's words and of a
 * driver's mistakes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/pcore.h"

static struct vow_pcore *core;
static struct vow_pactions actions;
static struct vow_id finished_below; /* in all messages */

static int start(uint32_t purge_every) {
  struct vow_pconfig config = {.branches_max = 100,
                               .preparing_max = 100,
                               .tombstones_max = 100,
                               .coordinators_max = 4,
                               .purge_every = purge_every,
                               .inquiry_min_ms = 100,
                               .inquiry_max_ms = 1000};
  finished_below = (struct vow_id){{0}};
  return vow_pcore_new(&core, &config) == VOW_OK ? 0 : -1;
}

static int setup(void **state) {
  (void)state;
  return start(0);
}

static int teardown(void **state) {
  (void)state;
  vow_pcore_free(core);
  return 0;
}

static struct vow_id id_of(uint8_t n) {
  struct vow_id id = {{0x01, 0x93, 0, 0, 0, 0, 0x70, 0, 0x80}};
  id.bytes[15] = n;
  return id;
}

static struct vow_pevent event_of(enum vow_pevent_type type, uint8_t n) {
  return (struct vow_pevent){.type = type, .now_ms = 1, .transaction = id_of(n), .branch = 1};
}

static void must_step(struct vow_pevent event) {
  assert_int_equal(vow_pcore_step(core, &event, &actions), VOW_OK);
}

static void send(enum vow_message_type type, uint8_t n, const char *coordinator,
                 struct vow_log_position log) {
  struct vow_message message = {.type = type,
                                .transaction = id_of(n),
                                .branch = 1,
                                .coordinator = coordinator,
                                .finished_below = finished_below,
                                .log = log};
  struct vow_pevent event = event_of(VOW_PEVENT_MESSAGE, n);
  event.u.message.token = n;
  event.u.message.message = &message;
  must_step(event);
}

static void vote(uint8_t n, enum vow_vote vote, const char *reason) {
  struct vow_pevent event = event_of(VOW_PEVENT_VOTED, n);
  event.u.voted.vote = vote;
  event.u.voted.reason = reason;
  must_step(event);
}

static const struct vow_paction *action_of(enum vow_paction_type type) {
  for (uint32_t i = 0; i < actions.count; i++) {
    if (actions.items[i].type == type) return &actions.items[i];
  }
  fail_msg("no such action");
  return NULL;
}

static void log_it(uint8_t n) {
  struct vow_pevent event = event_of(VOW_PEVENT_LOGGED, n);
  event.u.logged.position = action_of(VOW_PACTION_LOG)->u.log.position;
  must_step(event);
}

static const struct vow_log_position NOWHERE = {0};

/* ---- rows of the log ---- */

static enum vow_error load_row(uint8_t n, enum vow_precord_kind kind, uint64_t row) {
  struct vow_precord record = {
      .kind = kind, .transaction = id_of(n), .branch = 1, .row = row, .coordinator = "http://c"};
  struct vow_pevent event = event_of(VOW_PEVENT_LOAD, n);
  event.u.load = &record;
  return vow_pcore_step(core, &event, &actions);
}

static uint64_t row_of_record(void) {
  return action_of(VOW_PACTION_LOG)->u.log.record.row;
}

/* The first record of a branch takes the next one, above all that the log had; the others have the
 * same. */
static void each_branch_has_a_row_of_its_own(void **state) {
  (void)state;
  assert_int_equal(load_row(1, VOW_PRECORD_PREPARED, 7), VOW_OK);
  assert_int_equal(load_row(2, VOW_PRECORD_COMMITTED, 5), VOW_OK);
  for (uint8_t n = 3; n <= 5; n++) {
    send(VOW_MESSAGE_PREPARE, n, "http://c", NOWHERE);
    vote(n, VOW_VOTE_COMMIT, NULL);
    assert_int_equal(row_of_record(), 5 + n);
    log_it(n);
  }
  send(VOW_MESSAGE_COMMIT, 4, "http://c", NOWHERE);
  must_step(event_of(VOW_PEVENT_FINISHED, 4));
  assert_int_equal(row_of_record(), 9);
  log_it(4);
  send(VOW_MESSAGE_COMMIT, 1, "http://c", NOWHERE);
  must_step(event_of(VOW_PEVENT_FINISHED, 1));
  assert_int_equal(row_of_record(), 7);
}

/* A purge may be lost with its transaction, and the branch come again. */
static void of_two_rows_the_later_counts_where_the_first_was_over(void **state) {
  const enum vow_precord_kind over[] = {VOW_PRECORD_COMMITTED, VOW_PRECORD_ABORTED,
                                        VOW_PRECORD_READ_ONLY, VOW_PRECORD_FORGOTTEN};
  struct vow_pcounts counts;
  (void)state;
  for (uint8_t n = 1; n <= 4; n++) {
    assert_int_equal(load_row(n, over[n - 1], n), VOW_OK);
    assert_int_equal(load_row(n, VOW_PRECORD_PREPARED, 10U + n), VOW_OK);
    assert_true(vow_pbranch_in_doubt(vow_pcore_find(core, id_of(n), 1)));
  }
  vow_pcore_counts(core, &counts);
  assert_int_equal(counts.in_doubt, 4);
  assert_int_equal(counts.tombstones, 0);
  send(VOW_MESSAGE_COMMIT, 1, "http://c", NOWHERE);
  must_step(event_of(VOW_PEVENT_FINISHED, 1));
  assert_int_equal(row_of_record(), 11);
}

static void other_rows_of_one_branch_are_refused(void **state) {
  const enum vow_precord_kind open[] = {VOW_PRECORD_INTENT, VOW_PRECORD_PREPARED,
                                        VOW_PRECORD_DECIDED, VOW_PRECORD_HEURISTIC};
  (void)state;
  for (uint8_t n = 1; n <= 4; n++) {
    assert_int_equal(load_row(n, open[n - 1], n), VOW_OK);
    assert_int_equal(load_row(n, VOW_PRECORD_COMMITTED, 10U + n), VOW_E_LOG_CORRUPT);
    assert_int_equal(vow_pcore_find(core, id_of(n), 1)->durable, open[n - 1]);
  }
  assert_int_equal(load_row(9, VOW_PRECORD_COMMITTED, 20), VOW_OK);
  assert_int_equal(load_row(9, VOW_PRECORD_PREPARED, 19), VOW_E_LOG_CORRUPT);
}

/* Where there is room for them, not each record has a purge. What a full one leaves behind has
 * gathered already. */
static void tombstones_gather_until_there_are_enough_records(void **state) {
  const uint32_t purged[] = {0, 0, 0, VOW_PCORE_PURGE_MAX, 10, 0, 0, 0};
  (void)state;
  vow_pcore_free(core);
  assert_int_equal(start(4), 0);
  for (uint8_t n = 1; n <= VOW_PCORE_PURGE_MAX + 10; n++)
    assert_int_equal(load_row(n, VOW_PRECORD_COMMITTED, n), VOW_OK);
  finished_below = id_of(100);
  for (uint8_t i = 0; i < sizeof purged / sizeof purged[0]; i++) {
    send(VOW_MESSAGE_PREPARE, 200 + i, "http://c", NOWHERE);
    vote(200 + i, VOW_VOTE_COMMIT, NULL);
    const struct vow_paction *last = &actions.items[actions.count - 1];
    assert_int_equal(last->type == VOW_PACTION_PURGE ? last->u.purge.count : 0, purged[i]);
  }
}

/* ---- what is told ---- */

/* All branches are told one by one, and those in doubt alone. */
static void branches_are_told_one_by_one(void **state) {
  unsigned all = 0, in_doubt = 0;

  (void)state;
  for (uint8_t n = 1; n <= 40; n++) {
    send(VOW_MESSAGE_PREPARE, n, "http://c", NOWHERE);
    if (n % 2 != 0) continue;
    vote(n, VOW_VOTE_COMMIT, NULL);
    log_it(n);
  }
  for (const struct vow_pbranch *b = NULL; (b = vow_pcore_next(core, b)) != NULL; all++) {
    if (!vow_pbranch_in_doubt(b)) continue;
    assert_int_equal(b->transaction.bytes[15] % 2, 0);
    in_doubt++;
  }
  assert_int_equal(all, 40);
  assert_int_equal(in_doubt, 20);
}

static void send_branch(uint8_t n, uint32_t branch, const char *coordinator) {
  struct vow_message message = {.type = VOW_MESSAGE_PREPARE,
                                .transaction = id_of(n),
                                .branch = branch,
                                .coordinator = coordinator};
  struct vow_pevent event = event_of(VOW_PEVENT_MESSAGE, n);
  event.branch = branch;
  event.u.message.token = 100 * n + branch;
  event.u.message.message = &message;
  must_step(event);
}

/* The branches of one transaction are told without those of others, and the highest transaction of
 * each coordinator is. */
static void a_transaction_is_told_with_all_its_branches(void **state) {
  (void)state;
  for (uint8_t n = 1; n <= 20; n++) {
    for (uint32_t branch = 1; branch <= n % 3; branch++) {
      send_branch(n, branch, n % 2 != 0 ? "http://c" : "http://d");
    }
  }
  for (uint8_t n = 1; n <= 20; n++) {
    uint32_t found = 0, numbers = 0;
    const struct vow_pbranch *b = NULL;
    while ((b = vow_pcore_next_of(core, id_of(n), b)) != NULL) {
      assert_int_equal(b->transaction.bytes[15], n);
      numbers += b->number;
      found++;
    }
    assert_int_equal(found, n % 3);
    assert_int_equal(numbers, n % 3 == 2 ? 3 : n % 3);
  }
  for (uint32_t n = 0; n < 1000; n++) { /* some of them in the buckets of those */
    struct vow_id other = id_of((uint8_t)n);
    other.bytes[14] = (uint8_t)(1 + n / 256);
    assert_null(vow_pcore_next_of(core, other, NULL));
  }
  assert_int_equal(vow_pcore_newest(core, "http://c").bytes[15], 19);
  assert_int_equal(vow_pcore_newest(core, "http://d").bytes[15], 20);
  assert_true(vow_id_is_nil(vow_pcore_newest(core, "http://e")));
}

static void prepared(uint8_t n) {
  send(VOW_MESSAGE_PREPARE, n, "http://c", NOWHERE);
  vote(n, VOW_VOTE_COMMIT, NULL);
  log_it(n);
}

/* Does the branch end by this answer? */
static bool takes(uint8_t n, enum vow_inquiry_answer outcome, struct vow_log_position told,
                  struct vow_log_position log) {
  struct vow_pevent event = event_of(VOW_PEVENT_ANSWERED, n);
  event.u.answer.outcome = outcome;
  event.u.answer.told = told;
  event.u.answer.log = log;
  must_step(event);
  return actions.count > 0 && actions.items[0].type == VOW_PACTION_CALL;
}

static bool has_seen(uint64_t incarnation, uint64_t position) {
  struct vow_log_position seen = vow_pcore_seen(core, "http://c");
  return seen.incarnation == incarnation && seen.position == position;
}

/* A message that came after the question left may have been of what the log that answers has lost,
 * also where that has written again. Its word of an abort waits for the next question; a commit is
 * told only of a decision. Where nothing came, or it is the very start that was seen, its word
 * counts, and how far it has come is kept (P10, P11). */
static void an_abort_is_taken_from_a_log_that_has_judged_what_was_seen(void **state) {
  const struct vow_log_position none = NOWHERE, before = {1, 0}, lost = {1, 3}, now = {2, 3},
                                later = {2, 5};
  (void)state;
  for (uint8_t n = 1; n <= 5; n++) prepared(n);
  send(VOW_MESSAGE_COMMIT, 9, "http://c", before);
  assert_false(takes(1, VOW_INQUIRY_UNKNOWN, before, none));
  assert_true(has_seen(1, 0));
  send(VOW_MESSAGE_COMMIT, 9, "http://c", lost);
  assert_false(takes(1, VOW_INQUIRY_ABORTED, before, now));
  assert_false(takes(1, VOW_INQUIRY_ABORTED, before, none));
  assert_true(has_seen(1, 3));
  assert_true(takes(2, VOW_INQUIRY_COMMITTED, before, now));
  assert_true(takes(3, VOW_INQUIRY_ABORTED, before, lost));
  assert_true(takes(1, VOW_INQUIRY_ABORTED, lost, now));
  assert_true(has_seen(2, 3));
  assert_true(takes(4, VOW_INQUIRY_ABORTED, lost, later)); /* the same answer's second half */
  assert_true(has_seen(2, 5));
  assert_true(takes(5, VOW_INQUIRY_ABORTED, later, none)); /* one that tells nothing of its log */
  assert_true(has_seen(2, 5));
}

/* A log that had lost them has passed them, and a reconciliation opens them again. Nothing is heard
 * of a newer watermark (from a start's first messages none is taken), and they stay until it is. */
static void what_is_opened_again_outlives_the_watermark_of_before(void **state) {
  const struct vow_log_position newest = {1, 7}, older = {1, 6};
  (void)state;
  prepared(1);
  prepared(2);
  finished_below = id_of(5);
  send(VOW_MESSAGE_PREPARE, 6, "http://c", newest);
  for (uint8_t n = 1; n <= 2; n++) {
    send(VOW_MESSAGE_COMMIT, n, "http://c", older);
    must_step(event_of(VOW_PEVENT_FINISHED, n));
    assert_int_equal(actions.count, 1); /* its record, and no purge */
    log_it(n);
  }
  send(VOW_MESSAGE_COMMIT, 1, "http://c", older);
  assert_int_equal(action_of(VOW_PACTION_REPLY)->u.reply.error, VOW_OK);
  send(VOW_MESSAGE_PREPARE, 7, "http://c", newest);
  vote(7, VOW_VOTE_COMMIT, NULL);
  assert_int_equal(action_of(VOW_PACTION_PURGE)->u.purge.count, 2);
}

/* Of each coordinator's log the highest position is told; of a stranger's, nothing. */
static void positions_are_told_by_coordinator(void **state) {
  struct vow_log_position seen;
  const char *url = NULL;

  (void)state;
  assert_false(vow_pcore_coordinator_at(core, 0, &url, &seen));
  send(VOW_MESSAGE_PREPARE, 1, "http://c", (struct vow_log_position){2, 7});
  send(VOW_MESSAGE_PREPARE, 2, "http://d", (struct vow_log_position){1, 9});
  send(VOW_MESSAGE_PREPARE, 1, "http://c", (struct vow_log_position){2, 5});
  assert_int_equal(vow_pcore_seen(core, "http://c").position, 7);
  assert_int_equal(vow_pcore_seen(core, "http://d").incarnation, 1);
  assert_int_equal(vow_pcore_seen(core, "http://e").incarnation, 0);
  for (uint32_t i = 0; i < 2; i++) {
    assert_true(vow_pcore_coordinator_at(core, i, &url, &seen));
    assert_int_equal(seen.position, vow_pcore_seen(core, url).position);
  }
  assert_false(vow_pcore_coordinator_at(core, 2, &url, &seen));
}

/* An empty reason is none, and the core's own words stand in for it. */
static void empty_reasons_are_none(void **state) {
  (void)state;
  send(VOW_MESSAGE_PREPARE, 1, "http://c", NOWHERE);
  vote(1, VOW_VOTE_ABORT, "");
  assert_null(action_of(VOW_PACTION_LOG)->u.log.record.reason);
  send(VOW_MESSAGE_PREPARE, 2, "http://c", NOWHERE);
  vote(2, VOW_VOTE_COMMIT, NULL);
  log_it(2);
  send(VOW_MESSAGE_COMMIT, 2, "http://c", NOWHERE);
  struct vow_pevent event = event_of(VOW_PEVENT_FINISHED, 2);
  event.u.finished.error = VOW_E_DATABASE;
  event.u.finished.reason = "";
  must_step(event);
  assert_string_equal(action_of(VOW_PACTION_REPLY)->u.reply.detail, vow_error_text(VOW_E_DATABASE));
}

/* Whatever error a callback ends with, the coordinator hears one from which it concludes nothing: a
 * status of its own choice could be read as a vote. */
static void no_error_of_a_callback_is_a_vote(void **state) {
  static const struct {
    enum vow_error error, told;
  } cases[] = {{VOW_E_DATABASE, VOW_E_DATABASE},
               {VOW_E_INVALID_REQUEST, VOW_E_INTERNAL},
               {VOW_E_OVERLOADED, VOW_E_OVERLOADED}};

  (void)state;
  for (uint8_t n = 0; n < 3; n++) {
    send(VOW_MESSAGE_PREPARE, n, "http://c", NOWHERE);
    vote(n, VOW_VOTE_COMMIT, NULL);
    log_it(n);
    send(VOW_MESSAGE_COMMIT, n, "http://c", NOWHERE);
    struct vow_pevent event = event_of(VOW_PEVENT_FINISHED, n);
    event.u.finished.error = cases[n].error;
    must_step(event);
    assert_int_equal(action_of(VOW_PACTION_REPLY)->u.reply.error, cases[n].told);
  }
}

/* An event that does not exist changes nothing. */
static void an_event_that_does_not_exist_is_refused(void **state) {
  (void)state;
  send(VOW_MESSAGE_PREPARE, 1, "http://c", NOWHERE);
  struct vow_pevent event = event_of((enum vow_pevent_type)99, 1);
  assert_int_equal(vow_pcore_step(core, &event, &actions), VOW_E_ILLEGAL_STATE);
  assert_int_equal(actions.count, 0);
  vote(1, VOW_VOTE_COMMIT, NULL);
}

/* Names of states are for people; whatever the number, there is one. To free nothing is fine. */
/* ---- who prepares ---- */

static uint64_t preparing(void) {
  struct vow_pcounts counts;
  vow_pcore_counts(core, &counts);
  return counts.preparing;
}

static void finish(uint8_t n, enum vow_error error) {
  struct vow_pevent event = event_of(VOW_PEVENT_FINISHED, n);
  event.u.finished.error = error;
  must_step(event);
}

/* In one phase and one database transaction: a commit callback that fails leaves a vote to write.
 * So it keeps its place, or the vote came on top of the limit. */
static void what_may_have_to_vote_yet_counts_until_it_has_committed(void **state) {
  struct vow_pconfig config = {.atomic = true,
                               .branches_max = 9,
                               .preparing_max = 1,
                               .tombstones_max = 9,
                               .coordinators_max = 1};
  struct vow_message message = {.type = VOW_MESSAGE_PREPARE,
                                .transaction = id_of(1),
                                .branch = 1,
                                .coordinator = "http://c",
                                .one_phase = true};
  struct vow_pevent event = event_of(VOW_PEVENT_MESSAGE, 1);
  (void)state;
  vow_pcore_free(core);
  assert_int_equal(vow_pcore_new(&core, &config), VOW_OK);
  event.u.message.message = &message;
  must_step(event);
  vote(1, VOW_VOTE_COMMIT, NULL);
  assert_int_equal(action_of(VOW_PACTION_CALL)->u.call, VOW_MESSAGE_COMMIT);
  send(VOW_MESSAGE_PREPARE, 2, "http://c", NOWHERE);
  assert_int_equal(action_of(VOW_PACTION_REPLY)->u.reply.error, VOW_E_OVERLOADED);
  finish(1, VOW_E_DATABASE);
  assert_int_equal(preparing(), 1);
  log_it(1);
  send(VOW_MESSAGE_COMMIT, 1, "http://c", NOWHERE);
  assert_int_equal(preparing(), 0); /* it has voted */
  finish(1, VOW_OK);
  assert_int_equal(preparing(), 0);
}

static void what_is_not_there(void **state) {
  (void)state;
  assert_string_equal(vow_pbranch_state_name(VOW_PBRANCH_STATE_COUNT), "?");
  vow_pcore_free(NULL);
}

/* ---- what rides on what, and who waits for whom ---- */

static bool has_action(enum vow_paction_type type) {
  bool found = false;
  for (uint32_t i = 0; i < actions.count; i++) found |= actions.items[i].type == type;
  return found;
}

/* A purge waits for a report, and what need not be on the disk is not reported. */
static void a_purge_rides_on_what_is_forced(void **state) {
  (void)state;
  send(VOW_MESSAGE_PREPARE, 1, "http://c", NOWHERE);
  vote(1, VOW_VOTE_READ_ONLY, NULL);
  finished_below = id_of(5);
  send(VOW_MESSAGE_PREPARE, 6, "http://c", NOWHERE);
  vote(6, VOW_VOTE_READ_ONLY, NULL);
  assert_true(has_action(VOW_PACTION_LOG));
  assert_false(has_action(VOW_PACTION_PURGE));
  send(VOW_MESSAGE_PREPARE, 7, "http://c", NOWHERE);
  vote(7, VOW_VOTE_COMMIT, NULL);
  assert_true(has_action(VOW_PACTION_PURGE));
}

/* What has been decided waits for the application alone. */
static void a_coordinator_that_is_away_delays_no_callback(void **state) {
  (void)state;
  assert_int_equal(load_row(1, VOW_PRECORD_DECIDED, 1), VOW_OK);
  assert_int_equal(load_row(2, VOW_PRECORD_PREPARED, 2), VOW_OK);
  struct vow_pevent event = {.type = VOW_PEVENT_ASK_FAILED, .now_ms = 1};
  event.u.coordinator.url = "http://c";
  must_step(event);
  must_step((struct vow_pevent){.type = VOW_PEVENT_TICK, .now_ms = 2});
  assert_int_equal(action_of(VOW_PACTION_CALL)->u.call, VOW_MESSAGE_COMMIT);
  assert_false(has_action(VOW_PACTION_ASK));
}

/* It is none that lags. */
static void a_log_that_says_nothing_of_itself_moves_the_watermark(void **state) {
  (void)state;
  send(VOW_MESSAGE_PREPARE, 6, "http://c", (struct vow_log_position){5, 50});
  finished_below = id_of(5);
  send(VOW_MESSAGE_PREPARE, 7, "http://c", NOWHERE);
  assert_memory_equal(vow_pcore_finished_below(core, "http://c").bytes, id_of(5).bytes, 16);
}

/* It contradicts itself, and there is nobody whose watermark could be kept. */
static void who_was_never_heard_of_says_that_it_is_over(void **state) {
  (void)state;
  finished_below = id_of(5);
  send(VOW_MESSAGE_ABORT, 1, "http://new", NOWHERE);
  assert_int_equal(action_of(VOW_PACTION_REPLY)->u.reply.error, VOW_E_UNKNOWN_BRANCH);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_purge_rides_on_what_is_forced),
      TEST(a_coordinator_that_is_away_delays_no_callback),
      TEST(a_log_that_says_nothing_of_itself_moves_the_watermark),
      TEST(who_was_never_heard_of_says_that_it_is_over),
      TEST(each_branch_has_a_row_of_its_own),
      TEST(of_two_rows_the_later_counts_where_the_first_was_over),
      TEST(other_rows_of_one_branch_are_refused),
      TEST(tombstones_gather_until_there_are_enough_records),
      TEST(branches_are_told_one_by_one),
      TEST(a_transaction_is_told_with_all_its_branches),
      TEST(positions_are_told_by_coordinator),
      TEST(an_abort_is_taken_from_a_log_that_has_judged_what_was_seen),
      TEST(what_is_opened_again_outlives_the_watermark_of_before),
      TEST(empty_reasons_are_none),
      TEST(no_error_of_a_callback_is_a_vote),
      TEST(an_event_that_does_not_exist_is_refused),
      TEST(what_may_have_to_vote_yet_counts_until_it_has_committed),
      TEST(what_is_not_there),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
