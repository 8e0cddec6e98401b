/* What was reported durable is in the log after a restart, and can be found, listed and recovered.
 */
#include "log_fixture.h"

#include <stdlib.h>
#include <string.h>

static struct vow_log_info info(struct fixture *f) {
  struct vow_log_info out;
  vow_log_info(f->log, &out);
  return out;
}

static void a_new_log_is_empty_and_counts_its_starts(void **state) {
  struct fixture *f = *state;
  uint64_t before = fixture_now_ms();
  fixture_open_only(f);
  assert_int_equal(info(f).starts, 1);
  assert_int_equal(info(f).position, 0);
  assert_int_equal(info(f).open + info(f).ended, 0);
  assert_true(info(f).created_ms >= before && info(f).created_ms <= fixture_now_ms());
  uint64_t created_ms = info(f).created_ms;
  /* Its ids begin at its own time, so that none is older than the log though the clock goes back.
   */
  assert_int_equal(vow_id_compare(info(f).id_ceiling, vow_id_floor(created_ms, 0)), 0);
  fixture_close(f);
  f->config.create = false;
  fixture_open_only(f);
  assert_int_equal(info(f).starts, 2);
  assert_int_equal(info(f).created_ms, created_ms);
}

static void what_is_durable_survives_a_restart(void **state) {
  struct fixture *f = *state;
  struct answer page;
  fixture_open(f);
  append_nth(f, 1, VOW_TXN_COMMITTING, 0, true);
  append_nth(f, 2, VOW_TXN_COMMITTED, fixture_now_ms(), true);
  wait_durable(f, append_nth(f, 3, VOW_TXN_ABORTING, 0, true));
  fixture_close(f);
  fixture_open(f);
  assert_int_equal(info(f).position, 3);
  assert_int_equal(info(f).open, 2);
  assert_int_equal(info(f).ended, 1);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_OPEN_PAGE, .limit = 1}, &page);
  assert_int_equal(page.result.count, 1);
  assert_true(page.result.more);
  assert_int_equal(page.result.rows[0].state, VOW_TXN_COMMITTING);
  assert_string_equal(page.result.rows[0].branches[1].name, "bank-b");
  struct vow_id next = page.result.next;
  answer_fini(&page);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_OPEN_PAGE, .id = next, .limit = 1}, &page);
  assert_int_equal(page.result.count, 1);
  assert_false(page.result.more);
  assert_int_equal(vow_id_compare(page.result.rows[0].id, nth_id(3)), 0);
  answer_fini(&page);
}

/* So many rows, each of what has ended, and the same after a restart. */
static void expect_ended(struct fixture *f, uint64_t count) {
  struct answer check;
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &check);
  assert_int_equal(check.result.error, VOW_OK);
  assert_int_equal(check.result.rows_checked, count);
  answer_fini(&check);
  fixture_close(f);
  fixture_open(f);
  assert_int_equal(info(f).open, 0);
  assert_int_equal(info(f).ended, count);
}

/* The log looks for no older row at a first record: none is left behind, however the records of a
 * transaction fall into batches. */
static void a_transaction_has_one_row(void **state) {
  struct fixture *f = *state;
  uint64_t now = fixture_now_ms();
  f->config.lazy_flush_ms = 100000;
  fixture_open(f);
  append_first(f, 1, VOW_TXN_PREPARING, 0); /* each is written by itself */
  wait_durable(f, append_nth(f, 10, VOW_TXN_ABORTED, now, true));
  append_nth(f, 1, VOW_TXN_COMMITTING, 0, false);
  append_first(f, 2, VOW_TXN_PREPARING, 0); /* the first two go together */
  append_nth(f, 2, VOW_TXN_COMMITTING, 0, false);
  append_first(f, 3, VOW_TXN_PREPARING, 0); /* all of them go together */
  append_nth(f, 3, VOW_TXN_COMMITTING, 0, false);
  append_nth(f, 3, VOW_TXN_COMMITTED, now, false);
  append_first(f, 4, VOW_TXN_ABORTED, now); /* there is one only */
  wait_durable(f, append_nth(f, 11, VOW_TXN_ABORTED, now, true));
  for (uint32_t n = 1; n <= 4; n++) append_nth(f, n, VOW_TXN_COMMITTED, now, false);
  expect_ended(f, 6);
}

/* Rows are put many at once, and some of them may be there already. */
static void of_many_that_end_each_is_counted_once(void **state) {
  struct fixture *f = *state;
  uint64_t now = fixture_now_ms();
  f->config.lazy_flush_ms = 100000;
  f->config.ahead_min = 100; /* they stay one batch */
  fixture_open(f);
  append_nth(f, 3, VOW_TXN_ABORTED, now, false);
  wait_durable(f, append_nth(f, 9, VOW_TXN_ABORTED, now, true));
  for (uint32_t n = 1; n <= 20; n++) append_nth(f, n, VOW_TXN_COMMITTED, now, false);
  wait_durable(f, append_nth(f, 21, VOW_TXN_COMMITTED, now, true));
  expect_ended(f, 21);
  for (uint32_t n = 1; n <= 21; n++) assert_int_equal(find_state(f, n), VOW_TXN_COMMITTED);
}

static void a_query_sees_what_was_appended_before_it(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  append_nth(f, 1, VOW_TXN_ABORTED, fixture_now_ms(), false);
  assert_int_equal(find_state(f, 1), VOW_TXN_ABORTED);
  assert_int_equal(find_state(f, 2), 0);
  append_nth(f, 2, VOW_TXN_PREPARING, 0, false);
  assert_int_equal(find_state(f, 2), VOW_TXN_PREPARING);
  append_nth(f, 2, VOW_TXN_ABORTED, fixture_now_ms(), false);
  assert_int_equal(find_state(f, 2), VOW_TXN_ABORTED);
}

static void the_id_ceiling_is_kept(void **state) {
  struct fixture *f = *state;
  struct vow_action action = {.type = VOW_ACTION_LOG};
  action.u.log.record = VOW_RECORD_ID_CEILING;
  action.u.log.forced = true;
  action.u.log.ceiling = vow_id_floor(1700000060000, 0);
  action.u.log.position = 1;
  fixture_open(f);
  assert_int_equal(vow_log_append(f->log, &action), VOW_OK);
  vow_log_flush(f->log, 0);
  wait_durable(f, 1);
  fixture_close(f);
  fixture_open(f);
  assert_int_equal(vow_id_compare(info(f).id_ceiling, vow_id_floor(1700000060000, 0)), 0);
  assert_int_equal(info(f).position, 1);
}

static void a_transaction_is_found_by_its_key_the_newest_first(void **state) {
  struct fixture *f = *state;
  struct answer answer;
  fixture_open(f);
  for (uint32_t n = 1; n <= 3; n++) {
    struct vow_txn txn =
        nth_txn(n, n == 2 ? VOW_TXN_COMMITTING : VOW_TXN_COMMITTED, n == 2 ? 0 : fixture_now_ms());
    if (n != 3) set_text(&txn.idempotency_key, "order-1");
    append(f, &txn, true);
    vow_txn_fini(&txn);
  }
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_FIND_KEY, .key = "order-1"}, &answer);
  assert_int_equal(answer.result.count, 1);
  assert_int_equal(vow_id_compare(answer.result.rows[0].id, nth_id(2)), 0);
  assert_string_equal(answer.result.rows[0].idempotency_key, "order-1");
  answer_fini(&answer);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_FIND_KEY, .key = "order-2"}, &answer);
  assert_int_equal(answer.result.error, VOW_OK);
  assert_int_equal(answer.result.count, 0);
  answer_fini(&answer);
}

static void many_are_found_in_the_order_asked(void **state) {
  struct fixture *f = *state;
  struct answer answer;
  struct vow_id ids[] = {nth_id(5), nth_id(9), nth_id(1)};
  fixture_open(f);
  append_nth(f, 1, VOW_TXN_COMMITTING, 0, false);
  append_nth(f, 5, VOW_TXN_ABORTED, fixture_now_ms(), false);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_FIND_MANY, .ids = ids, .id_count = 3},
      &answer);
  assert_int_equal(answer.result.count, 3);
  assert_int_equal(answer.result.rows[0].state, VOW_TXN_ABORTED);
  assert_int_equal(answer.result.rows[1].state, 0);
  assert_int_equal(answer.result.rows[2].state, VOW_TXN_COMMITTING);
  answer_fini(&answer);
}

static void a_position_that_goes_back_is_refused(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  append_nth(f, 1, VOW_TXN_COMMITTING, 0, true);
  struct vow_action action = {.type = VOW_ACTION_LOG};
  action.u.log.record = VOW_RECORD_ID_CEILING;
  action.u.log.position = 1;
  assert_int_equal(vow_log_append(f->log, &action), VOW_E_INVALID_ARGUMENT);
}

/* Its checksum is right, but no core has written it: one that acted on it might never end it. */
static void a_record_that_does_not_fit_itself_is_damage(void **state) {
  struct fixture *f = *state;
  struct answer answer, check;
  fixture_open(f);
  struct vow_txn txn = nth_txn(1, VOW_TXN_PREPARING, 0);
  txn.branches[1].state = VOW_BRANCH_COMMITTING;
  append(f, &txn, true);
  txn.ended_ms = fixture_now_ms(); /* of what has ended nothing more is done */
  txn.id = nth_id(2);
  append(f, &txn, true);
  vow_txn_fini(&txn);
  assert_int_equal(find_state(f, 2), VOW_TXN_PREPARING);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_OPEN_PAGE, .limit = 10}, &answer);
  assert_int_equal(answer.result.error, VOW_E_LOG_CORRUPT);
  assert_non_null(strstr(answer.why, "do not fit each other"));
  answer_fini(&answer);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &check);
  assert_int_equal(check.result.error, VOW_E_LOG_CORRUPT);
  assert_int_equal(check.result.rows_bad, 1);
  answer_fini(&check);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_drop)
  const struct CMUnitTest tests[] = {
      TEST(a_new_log_is_empty_and_counts_its_starts),
      TEST(what_is_durable_survives_a_restart),
      TEST(a_transaction_has_one_row),
      TEST(of_many_that_end_each_is_counted_once),
      TEST(a_query_sees_what_was_appended_before_it),
      TEST(the_id_ceiling_is_kept),
      TEST(a_transaction_is_found_by_its_key_the_newest_first),
      TEST(many_are_found_in_the_order_asked),
      TEST(a_record_that_does_not_fit_itself_is_damage),
      TEST(a_position_that_goes_back_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
