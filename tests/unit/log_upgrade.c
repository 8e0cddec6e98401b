/* A log of an older format is upgraded by the first start that writes, all of it or nothing; until
 * then it is read as it is. What log_trust.c keeps is there. */
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <unistd.h>

#include "log_fixture.h"
#include "tests/lib/log_format_6.h"

static int64_t number(struct fixture *f, const char *select) {
  sqlite3 *db = NULL;
  sqlite3_stmt *row = NULL;
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_prepare_v2(db, select, -1, &row, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(row), SQLITE_ROW);
  int64_t value = sqlite3_column_int64(row, 0);
  (void)sqlite3_finalize(row);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
  return value;
}

#define INDEXES "SELECT count(*) FROM sqlite_schema WHERE sql LIKE 'CREATE INDEX%'"

static void open_and_die(void *context) {
  struct fixture *f = context;
  fixture_open_only(f);
  kill(getpid(), SIGKILL);
}

/* An older version reads the number where it stands in the file, without the write-ahead log. */
static void expect_format(const struct fixture *f, uint8_t format) {
  uint8_t header[64];
  int fd = open(f->path, O_RDONLY);
  assert_int_equal(read(fd, header, sizeof header), sizeof header);
  close(fd);
  assert_int_equal(header[63], format);
}

static void expect_key(struct fixture *f, uint32_t n) {
  struct answer answer;
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_FIND_KEY, .key = "key"}, &answer);
  assert_int_equal(answer.result.count, 1);
  assert_int_equal(vow_id_compare(answer.result.rows[0].id, nth_id(n)), 0);
  answer_fini(&answer);
}

/* All kinds of rows are there afterwards, and what was kept is still never purged. */
static void a_log_of_format_5_is_upgraded(void **state) {
  struct fixture *f = *state;
  uint64_t old = fixture_now_ms() - 2 * HOUR_MS;
  struct answer answer;
  fixture_open(f);
  for (uint32_t n = 1; n <= 5; n++) {
    struct vow_txn txn =
        nth_txn(n, n < 2 ? VOW_TXN_COMMITTING : VOW_TXN_COMMITTED, n < 2 ? 0 : old + n);
    if (n == 2) txn.heuristic = VOW_HEURISTIC_MIXED;
    if (n == 3) txn.branches[1].resolved = true;
    if (n == 1 || n == 4) set_text(&txn.idempotency_key, "key");
    append(f, &txn, true);
    vow_txn_fini(&txn);
  }
  wait_durable(f, f->position);
  fixture_close(f);
  int64_t indexes = number(f, INDEXES);
  fixture_change(f, MAKE_FORMAT_5);
  expect_format(f, 5);
  assert_int_equal(number(f, INDEXES), indexes + 1);
  f->config.read_only = true;
  fixture_open_only(f);
  expect_key(f, 4);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &answer);
  assert_int_equal(answer.result.error, VOW_OK);
  answer_fini(&answer);
  fixture_close(f);
  expect_format(f, 5);
  f->config.read_only = false;
  (void)in_child(open_and_die, f);
  expect_format(f, VOW_LOG_FORMAT);
  f->config.retention_age_ms = HOUR_MS;
  f->config.lazy_flush_ms = 1;
  fixture_open(f);
  write_until_purged(f, 2);
  expect_key(f, 1); /* and the ended one is gone */
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
  assert_int_equal(find_state(f, 2), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 3), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 4), 0);
  assert_int_equal(find_state(f, 5), 0);
  fixture_close(f);
  assert_int_equal(number(f, INDEXES), indexes);
}

/* An ended row is found by what its old record says. */
static void expect_history(struct fixture *f, const char *participant) {
  struct answer answer;
  struct vow_log_query list = {
      .type = VOW_LOG_QUERY_LIST, .heuristic = -1, .participant = participant};
  ask(f, list, &answer);
  assert_int_equal(answer.result.count, 1);
  const struct vow_txn *txn = &answer.result.rows[0];
  assert_int_equal(vow_id_compare(txn->id, nth_id(2)), 0);
  assert_int_equal(txn->history_count, 5);
  assert_string_equal(txn->history[3].detail, "committed");
  assert_int_equal(txn->branches[1].outcome, VOW_OUTCOME_COMMITTED);
  answer_fini(&answer);
}

static void expect_old_records(struct fixture *f) {
  struct answer answer;
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_FIND, .id = nth_id(1)}, &answer);
  assert_int_equal(answer.result.count, 1);
  assert_int_equal(answer.result.rows[0].state, VOW_TXN_COMMITTING);
  assert_string_equal(answer.result.rows[0].branches[1].url, "http://bank-b:7001");
  answer_fini(&answer);
  expect_history(f, "bank-b");
  expect_history(f, "http://bank-a:7001");
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &answer);
  assert_int_equal(answer.result.error, VOW_OK);
  answer_fini(&answer);
}

/* Its records stay as they are, beside those that are written now. */
static void a_log_of_format_6_is_upgraded(void **state) {
  struct fixture *f = *state;
  f->config.retention_age_ms = UINT64_MAX;
  fixture_open(f);
  append_nth(f, 1, VOW_TXN_COMMITTING, 0, true);
  append_nth(f, 2, VOW_TXN_COMMITTED, fixture_now_ms(), true);
  wait_durable(f, f->position);
  fixture_close(f);
  fixture_change(f, MAKE_FORMAT_6);
  f->config.read_only = true;
  fixture_open_only(f);
  expect_old_records(f);
  fixture_close(f);
  expect_format(f, 6);
  f->config.read_only = false;
  (void)in_child(open_and_die, f);
  expect_format(f, VOW_LOG_FORMAT);
  fixture_open(f);
  expect_old_records(f);
  append_nth(f, 3, VOW_TXN_COMMITTED, fixture_now_ms(), true);
  append_nth(f, 1, VOW_TXN_COMMITTED, fixture_now_ms(), true);
  wait_durable(f, f->position);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 2), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 3), VOW_TXN_COMMITTED);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_drop)
  const struct CMUnitTest tests[] = {
      TEST(a_log_of_format_5_is_upgraded),
      TEST(a_log_of_format_6_is_upgraded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
