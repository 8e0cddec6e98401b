/* Open rows stand in the order of their ids, and ids that would have the same place do not meet. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_vfs.h"
#include "io/log_internal.h"
#include "log_fixture.h"

static int setup(void **state) {
  *state = calloc(1, sizeof(struct fixture));
  fixture_setup(*state);
  return 0;
}

static int teardown(void **state) {
  fault_vfs_set(FAULT_NONE);
  fixture_teardown(*state);
  free(*state);
  return 0;
}

/* Another id with the place of nth_id(n). */
static struct vow_id other_id(uint32_t n, uint8_t which) {
  struct vow_id id = nth_id(n);
  id.bytes[9] = which;
  return id;
}

static void put(struct fixture *f, struct vow_id id, enum vow_txn_state state, uint64_t ended_ms) {
  struct vow_txn txn = nth_txn(1, state, ended_ms);
  txn.id = id;
  wait_durable(f, append(f, &txn, true));
  vow_txn_fini(&txn);
}

static enum vow_txn_state state_of(struct fixture *f, struct vow_id id) {
  struct answer answer;
  enum vow_txn_state state = (enum vow_txn_state)0;
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_FIND, .id = id}, &answer);
  assert_int_equal(answer.result.error, VOW_OK);
  if (answer.result.count == 1) {
    assert_int_equal(vow_id_compare(answer.result.rows[0].id, id), 0);
    state = answer.result.rows[0].state;
  }
  answer_fini(&answer);
  return state;
}

struct seen {
  struct vow_id ids[16];
  uint32_t good, bad;
};

/* Pages of one row each. */
static void read_open(struct fixture *f, struct seen *seen) {
  struct vow_log_query page = {.type = VOW_LOG_QUERY_OPEN_PAGE, .limit = 1};
  *seen = (struct seen){.good = 0};
  for (bool more = true; more;) {
    struct answer answer;
    ask(f, page, &answer);
    if (answer.result.count == 1) seen->ids[seen->good++] = answer.result.rows[0].id;
    seen->bad += answer.result.error != VOW_OK;
    more = answer.result.more || answer.result.error != VOW_OK;
    page.id = answer.result.next;
    answer_fini(&answer);
    assert_true(seen->good + seen->bad < 16);
  }
}

static void expect_open(struct fixture *f, uint32_t count) {
  struct seen seen;
  struct answer answer;
  read_open(f, &seen);
  assert_int_equal(seen.good, count);
  assert_int_equal(seen.bad, 0);
  for (uint32_t i = 0; i < count; i++) {
    for (uint32_t j = 0; j < i; j++)
      assert_int_not_equal(vow_id_compare(seen.ids[i], seen.ids[j]), 0);
  }
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &answer);
  if (answer.result.error != VOW_OK) fail_msg("%s", answer.why);
  answer_fini(&answer);
}

static void places_are_in_the_order_of_ids(void **state) {
  (void)state;
  struct vow_id last = {{0}};
  for (uint64_t ms = 1; ms < UINT64_C(1) << 48; ms = ms * 3 + 1) {
    for (uint32_t counter = 0; counter < 0x1000; counter += 0x3ff) {
      for (uint64_t random = 0; random < 8; random++) {
        struct vow_id id = vow_id_make(ms, (uint16_t)counter, random << 59 | 0x1234567);
        assert_true(log_place_of(id) > log_place_of(last) || vow_id_is_nil(last));
        assert_int_equal(log_place_of(log_place_id(log_place_of(id))), log_place_of(id));
        last = id;
      }
    }
  }
}

static void ids_that_share_a_place_have_rows_of_their_own(void **state) {
  struct fixture *f = *state;
  uint64_t now = fixture_now_ms();
  fixture_open(f);
  for (uint8_t i = 0; i < 4; i++) put(f, other_id(7, i), VOW_TXN_COMMITTING, 0);
  put(f, nth_id(8), VOW_TXN_COMMITTING, 0);
  expect_open(f, 5);
  put(f, other_id(7, 0), VOW_TXN_COMMITTED, now);
  put(f, other_id(7, 0), VOW_TXN_COMMITTED,
      now); /* its place is free, and nobody's is taken away */
  put(f, other_id(7, 2), VOW_TXN_ABORTING, 0);
  put(f, other_id(7, 9), VOW_TXN_COMMITTING, 0);
  put(f, other_id(7, 0), VOW_TXN_COMMITTED, now);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(state_of(f, other_id(7, 0)), VOW_TXN_COMMITTED);
    assert_int_equal(state_of(f, other_id(7, 1)), VOW_TXN_COMMITTING);
    assert_int_equal(state_of(f, other_id(7, 2)), VOW_TXN_ABORTING);
    assert_int_equal(state_of(f, other_id(7, 3)), VOW_TXN_COMMITTING);
    assert_int_equal(state_of(f, other_id(7, 4)), 0);
    assert_int_equal(state_of(f, other_id(7, 9)), VOW_TXN_COMMITTING);
    expect_open(f, 5);
    fixture_close(f);
    fixture_open(f);
  }
  for (uint8_t i = 1; i < 10; i++) {
    if (state_of(f, other_id(7, i)) != 0) put(f, other_id(7, i), VOW_TXN_ABORTED, now);
  }
  expect_open(f, 1);
  assert_int_equal(f->log->stray_count, 0);
}

/* It does not matter how many are put together. */
static void one_of_many_may_find_its_place_taken(void **state) {
  enum { MANY = LOG_ROWS + 4 };
  struct fixture *f = *state;
  f->config.lazy_flush_ms = 100000;
  f->config.ahead_min = 100; /* they stay one batch */
  fixture_open(f);
  put(f, other_id(7, 200), VOW_TXN_COMMITTING, 0);
  for (uint32_t n = 1; n <= MANY; n++) append_first(f, n, VOW_TXN_PREPARING, 0);
  wait_durable(f, append_nth(f, MANY + 1, VOW_TXN_ABORTED, fixture_now_ms(), true));
  for (int i = 0; i < 2; i++) {
    expect_open(f, MANY + 1);
    assert_int_equal(state_of(f, other_id(7, 200)), VOW_TXN_COMMITTING);
    for (uint32_t n = 1; n <= MANY; n++) {
      assert_int_equal(state_of(f, nth_id(n)), VOW_TXN_PREPARING);
    }
    assert_int_equal(f->log->stray_count, 1);
    fixture_close(f);
    fixture_open(f);
  }
}

/* Behind the last place there is the first. */
static void ids_that_share_the_last_place_have_too(void **state) {
  struct fixture *f = *state;
  struct vow_id ids[3];
  fixture_open(f);
  for (uint64_t i = 0; i < 3; i++) {
    ids[i] = vow_id_make((UINT64_C(1) << 48) - 1, 0xfff, UINT64_C(7) << 59 | i);
    assert_int_equal(log_place_of(ids[i]), INT64_MAX);
    put(f, ids[i], VOW_TXN_COMMITTING, 0);
  }
  put(f, nth_id(1), VOW_TXN_COMMITTING, 0);
  for (int i = 0; i < 2; i++) {
    expect_open(f, 4);
    for (int j = 0; j < 3; j++) assert_int_equal(state_of(f, ids[j]), VOW_TXN_COMMITTING);
    fixture_close(f);
    fixture_open(f);
  }
  for (int i = 0; i < 3; i++) put(f, ids[i], VOW_TXN_COMMITTED, fixture_now_ms());
  expect_open(f, 1);
}

static bool low_there(struct fixture *f) {
  return f->progress.refuses == VOW_E_LOG_FULL;
}

/* An end that is rolled back has ended nothing: its row is found where it stands. */
static void a_stray_that_does_not_fit_ends_later(void **state) {
  struct fixture *f = *state;
  struct vow_txn txn = nth_txn(1, VOW_TXN_COMMITTED, fixture_now_ms());
  fixture_open(f);
  for (uint8_t i = 0; i < 2; i++) put(f, other_id(7, i), VOW_TXN_COMMITTING, 0);
  assert_int_equal(f->log->stray_count, 1);
  txn.id = other_id(7, 1);
  fault_vfs_set(FAULT_WAL_FULL);
  append(f, &txn, true);
  wait_until(f, low_there);
  assert_int_equal(state_of(f, txn.id), VOW_TXN_COMMITTING);
  fault_vfs_set(FAULT_NONE);
  wait_durable(f, f->position);
  assert_int_equal(state_of(f, txn.id), VOW_TXN_COMMITTED);
  expect_open(f, 1);
  assert_int_equal(f->log->stray_count, 0);
  vow_txn_fini(&txn);
}

static void they_have_after_an_upgrade_too(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  for (uint8_t i = 0; i < 4; i++) put(f, other_id(7, i), VOW_TXN_COMMITTING, 0);
  put(f, nth_id(8), VOW_TXN_COMMITTING, 0);
  fixture_close(f);
  fixture_change(f, MAKE_FORMAT_5);
  fixture_open(f);
  expect_open(f, 5);
  put(f, other_id(7, 3), VOW_TXN_COMMITTED, fixture_now_ms());
  expect_open(f, 4);
}

/* Whatever its id has become, the rows behind it are shown. */
static void a_row_with_a_damaged_id_hides_no_other(void **state) {
  struct fixture *f = *state;
  struct seen seen;
  static const char *const ids[] = {"zeroblob(16)", "x'ffffffffffffffffffffffffffffffff'", "x'01'"};
  for (uint32_t n = 1; n <= 4; n++) {
    fixture_open(f);
    put(f, nth_id(n), VOW_TXN_COMMITTING, 0);
    fixture_close(f);
  }
  f->config.read_only = true;
  for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
    char sql[160];
    (void)snprintf(sql, sizeof sql,
                   "UPDATE open_txn SET id = %s WHERE place IN"
                   " (SELECT place FROM open_txn ORDER BY place LIMIT 1 OFFSET 1)",
                   ids[i]);
    fixture_change(f, sql);
    fixture_open_only(f);
    read_open(f, &seen);
    assert_int_equal(seen.good, 3);
    assert_int_equal(seen.bad, 1);
    assert_int_equal(vow_id_compare(seen.ids[2], nth_id(4)), 0);
    fixture_close(f);
  }
}

/* Each of them sound. */
static void one_that_has_two_rows_is_found_by_a_check(void **state) {
  struct fixture *f = *state;
  struct answer answer;
  fixture_open(f);
  for (uint8_t i = 0; i < 2; i++) put(f, other_id(7, i), VOW_TXN_COMMITTING, 0);
  fixture_close(f);
  fixture_change(f,
                 "CREATE TABLE aside AS SELECT * FROM open_txn ORDER BY place DESC LIMIT 1;"
                 "DELETE FROM open_txn");
  fixture_open(f);
  put(f, other_id(7, 1), VOW_TXN_COMMITTING, 0); /* at its own place now */
  fixture_close(f);
  fixture_change(f, "INSERT INTO open_txn SELECT * FROM aside; DROP TABLE aside");
  f->config.read_only = true;
  fixture_open_only(f);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &answer);
  assert_int_equal(answer.result.error, VOW_E_LOG_CORRUPT);
  assert_int_equal(answer.result.rows_checked, 2);
  assert_int_equal(answer.result.rows_bad, 0);
  assert_non_null(strstr(answer.why, "among the open ones twice"));
  answer_fini(&answer);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(places_are_in_the_order_of_ids),
      TEST(ids_that_share_a_place_have_rows_of_their_own),
      TEST(one_of_many_may_find_its_place_taken),
      TEST(ids_that_share_the_last_place_have_too),
      TEST(a_stray_that_does_not_fit_ends_later),
      TEST(they_have_after_an_upgrade_too),
      TEST(a_row_with_a_damaged_id_hides_no_other),
      TEST(one_that_has_two_rows_is_found_by_a_check),
  };
  fault_vfs_install();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
