/* Rows that are written ahead of their COMMIT: nothing of them is durable, or seen by anybody,
 * before it. */
#include "fault_vfs.h"
#include "io/log_internal.h"
#include "log_fixture.h"

#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AHEAD_MIN 4

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  *state = f;
  fixture_setup(f);
  f->config.ahead_min = AHEAD_MIN;
  return 0;
}

static int teardown(void **state) {
  fault_vfs_set(FAULT_NONE);
  return fixture_drop(state);
}

static uint64_t ahead_before;

static bool ahead_there(struct fixture *f) {
  return counts(f).ahead > ahead_before;
}

/* Unforced ends of transactions `from` to `to`, until they are written ahead. */
static void write_ahead(struct fixture *f, uint32_t from, uint32_t to) {
  ahead_before = counts(f).ahead;
  for (uint32_t n = from; n <= to; n++)
    append_nth(f, n, VOW_TXN_COMMITTED, fixture_now_ms(), false);
  wait_until(f, ahead_there);
}

static void decide(struct fixture *f, uint32_t from, uint32_t to) {
  for (uint32_t n = from; n < to; n++) append_more(f, n, VOW_TXN_COMMITTING, 0, true);
  wait_durable(f, append_nth(f, to, VOW_TXN_COMMITTING, 0, true));
}

static void assert_states(struct fixture *f, uint32_t from, uint32_t to, enum vow_txn_state state) {
  for (uint32_t n = from; n <= to; n++) assert_int_equal(find_state(f, n), state);
}

/* Eight are decided, and the ends of the first `ends` are written ahead. Returns what is durable.
 */
static uint64_t open_with_rows_ahead(struct fixture *f, uint32_t ends) {
  fixture_open(f);
  decide(f, 1, 8);
  uint64_t durable = f->progress.durable;
  write_ahead(f, 1, ends);
  return durable;
}

static void what_is_written_ahead_is_durable_with_the_next_commit(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  decide(f, 1, 8);
  uint64_t syncs = counts(f).syncs, durable = f->progress.durable;
  write_ahead(f, 1, 4);
  assert_int_equal(counts(f).syncs, syncs);
  assert_int_equal(f->progress.durable, durable);
  assert_int_equal(counts(f).queued, 4);
  wait_durable(f, append_nth(f, 9, VOW_TXN_COMMITTING, 0, true));
  assert_int_equal(counts(f).syncs, syncs + 1);
  assert_int_equal(counts(f).queued, 0);
  assert_states(f, 1, 4, VOW_TXN_COMMITTED);
  assert_states(f, 5, 9, VOW_TXN_COMMITTING);
}

static void a_query_sees_it_only_durable(void **state) {
  struct fixture *f = *state;
  struct answer check;
  open_with_rows_ahead(f, 8);
  uint64_t syncs = counts(f).syncs;
  assert_int_equal(find_state(f, 8), VOW_TXN_COMMITTED);
  assert_int_equal(counts(f).syncs, syncs + 1);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &check);
  assert_int_equal(check.result.error, VOW_OK);
  assert_int_equal(check.result.rows_checked, 8);
  answer_fini(&check);
}

/* However far ahead it is: there is a bound, and what is beyond waits. */
static void more_than_it_takes_ahead_is_durable_as_well(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  decide(f, 1, 100);
  for (uint32_t n = 1; n <= 60; n++) {
    append_more(f, n, VOW_TXN_COMMITTED, fixture_now_ms(), false);
    if (n % AHEAD_MIN == 0 && n <= 7 * AHEAD_MIN) wait_until(f, ahead_there);
    ahead_before = counts(f).ahead;
  }
  for (uint32_t n = 61; n <= 100; n++)
    append_more(f, n, VOW_TXN_COMMITTED, fixture_now_ms(), false);
  wait_durable(f, append_nth(f, 101, VOW_TXN_COMMITTING, 0, true));
  assert_states(f, 1, 100, VOW_TXN_COMMITTED);
  fixture_close(f);
  fixture_open(f);
  assert_states(f, 1, 100, VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 101), VOW_TXN_COMMITTING);
}

/* The rows of one transaction keep their order where they are not joined. */
static void a_decision_ahead_of_its_end_has_one_row(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  uint64_t syncs = counts(f).syncs;
  ahead_before = counts(f).ahead;
  for (uint32_t n = 1; n <= 4; n++) append_first(f, n, VOW_TXN_PREPARING, 0);
  wait_until(f, ahead_there);
  ahead_before = counts(f).ahead;
  for (uint32_t n = 1; n <= 4; n++) append_more(f, n, VOW_TXN_COMMITTING, 0, true);
  wait_until(f, ahead_there);
  ahead_before = counts(f).ahead;
  for (uint32_t n = 1; n <= 4; n++) append_more(f, n, VOW_TXN_COMMITTED, fixture_now_ms(), false);
  wait_until(f, ahead_there);
  wait_durable(f, append_nth(f, 5, VOW_TXN_COMMITTING, 0, true));
  assert_int_equal(counts(f).syncs, syncs + 1);
  fixture_close(f);
  fixture_open(f);
  struct vow_log_info info;
  vow_log_info(f->log, &info);
  assert_int_equal(info.open, 1);
  assert_int_equal(info.ended, 4);
}

/* Of a step nothing is committed before its last record, be it forced and written ahead. */
static void a_step_is_committed_as_a_whole(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  uint64_t durable = f->progress.durable, syncs = counts(f).syncs;
  ahead_before = counts(f).ahead;
  for (uint32_t n = 2; n <= 9; n++) append_more(f, n, VOW_TXN_COMMITTING, 0, true);
  wait_until(f, ahead_there);
  usleep(20000);
  vow_log_poll(f->log, &f->progress);
  assert_int_equal(f->progress.durable, durable);
  vow_log_flush(f->log, 0);
  wait_durable(f, f->position);
  assert_int_equal(counts(f).syncs, syncs + 1);
}

/* Its caller has queued it without flushing: an orderly end writes it. */
static void an_end_writes_what_was_not_flushed(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  for (uint32_t n = 1; n <= 9; n++) append_more(f, n, VOW_TXN_COMMITTING, 0, true);
  fixture_close(f);
  fixture_open(f);
  assert_states(f, 1, 9, VOW_TXN_COMMITTING);
}

/* ---- company ---- */

/* As if the last write had taken so long; and nothing else is to wake the log's thread for long.
 * These are that thread's, which may be at its first look at the disk. */
static void took_us(struct fixture *f, uint64_t write_us) {
  uint64_t deadline = fixture_now_ms() + DEADLINE_MS;
  pthread_mutex_lock(&f->log->mutex);
  while (!log_rests(f->log)) {
    pthread_mutex_unlock(&f->log->mutex);
    assert_true(fixture_now_ms() < deadline);
    sched_yield();
    pthread_mutex_lock(&f->log->mutex);
  }
  f->log->company.write_us = write_us;
  f->log->tidy_ms = f->log->files_check_ms = log_now_ms() + 3600 * 1000;
  pthread_mutex_unlock(&f->log->mutex);
}

/* A decision, while votes of so many other transactions are under way. */
static void decide_beside(struct fixture *f, uint32_t n, uint64_t others) {
  append_more(f, n, VOW_TXN_COMMITTING, 0, true);
  vow_log_flush(f->log, others);
}

static void decide_one_of_many(struct fixture *f, uint32_t n) {
  decide_beside(f, n, 100);
}

static void decisions_that_are_likely_share_a_sync(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  uint64_t durable = f->progress.durable, syncs = counts(f).syncs;
  took_us(f, 60 * 1000000);
  decide_one_of_many(f, 2);
  decide_one_of_many(f, 3);
  usleep(20000);
  vow_log_poll(f->log, &f->progress);
  assert_int_equal(f->progress.durable, durable);
  wait_durable(f,
               append_nth(f, 4, VOW_TXN_COMMITTING, 0, true)); /* nobody else is likely to come */
  assert_int_equal(counts(f).syncs, syncs + 1);
}

/* And the next ones count from the beginning. */
static void as_many_as_are_likely_wait_for_nobody(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  for (uint32_t n = 2; n <= 5; n += 2) {
    uint64_t durable = f->progress.durable;
    took_us(f, 60 * 1000000);
    decide_beside(f, n, 2);
    usleep(20000);
    vow_log_poll(f->log, &f->progress);
    assert_int_equal(f->progress.durable, durable);
    decide_beside(f, n + 1, 2);
    wait_durable(f, f->position);
  }
}

/* It waits for as long as a write takes; and where nobody has come some times, not at all. */
static void a_decision_waits_in_vain_for_moments_only(void **state) {
  struct fixture *f = *state;
  f->config.lazy_flush_ms = 3600 * 1000;
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  for (uint32_t n = 2; n <= 5; n++) {
    took_us(f, 3000);
    decide_one_of_many(f, n);
    wait_durable(f, f->position);
  }
  took_us(f, 3600 * UINT64_C(1000000));
  decide_one_of_many(f, 6);
  wait_durable(f, f->position);
}

static void nobody_is_kept_waiting_for_company(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  took_us(f, 3600 * UINT64_C(1000000));
  decide_one_of_many(f, 1);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING); /* a question */
  took_us(f, 3600 * UINT64_C(1000000));
  decide_one_of_many(f, 2);
  fixture_close(f); /* the end */
  fixture_open(f);
  assert_states(f, 1, 2, VOW_TXN_COMMITTING);
}

static bool low_there(struct fixture *f) {
  return f->progress.refuses == VOW_E_LOG_FULL;
}

static void what_does_not_fit_is_written_once_there_is_room(void **state) {
  struct fixture *f = *state;
  uint64_t durable = open_with_rows_ahead(f, 4);
  fault_vfs_set(FAULT_FULL);
  uint64_t position = append_nth(f, 5, VOW_TXN_COMMITTED, fixture_now_ms(), true);
  wait_until(f, low_there);
  assert_int_equal(f->progress.durable, durable);
  fault_vfs_set(FAULT_NONE);
  wait_durable(f, position);
  assert_states(f, 1, 5, VOW_TXN_COMMITTED);
  assert_states(f, 6, 8, VOW_TXN_COMMITTING);
}

static void a_failed_sync_reveals_nothing_of_it(void **state) {
  struct fixture *f = *state;
  uint64_t durable = open_with_rows_ahead(f, 4);
  fault_vfs_set(FAULT_WAL_SYNC);
  append_nth(f, 9, VOW_TXN_COMMITTING, 0, true);
  wait_failed(f);
  assert_int_equal(f->progress.durable, durable);
  fault_vfs_set(FAULT_NONE);
  fixture_close(f);
  fixture_open(f);
  enum vow_txn_state unsure = find_state(f, 1); /* all of it, or nothing */
  assert_true(unsure == VOW_TXN_COMMITTING || unsure == VOW_TXN_COMMITTED);
  assert_states(f, 2, 4, unsure);
  assert_int_equal(find_state(f, 9), unsure == VOW_TXN_COMMITTED ? VOW_TXN_COMMITTING : 0);
  assert_states(f, 5, 8, VOW_TXN_COMMITTING);
}

/* The next look for what is to be purged lacks memory, and then SQLite takes back all of the
 * transaction, though it was only read. */
static atomic_bool look_fails;

int __real_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement);
int __wrap_sqlite3_step(sqlite3_stmt *statement) {
  bool look = strstr(sqlite3_sql(statement), "rowid >") != NULL;
  if (!look || !atomic_exchange(&look_fails, false)) return __real_sqlite3_step(statement);
  sqlite3_exec(sqlite3_db_handle(statement), "ROLLBACK", NULL, NULL, NULL);
  return SQLITE_NOMEM;
}

/* The look comes with every eighth transaction, and a second after the last: here with the second.
 */
static void what_a_failed_read_took_back_is_written_again(void **state) {
  struct fixture *f = *state;
  struct answer check;
  fixture_open_only(f);
  f->log->batches_since_purge = LOG_PURGE_EVERY - 2;
  assert_int_equal(vow_log_start(f->log), VOW_OK);
  decide(f, 1, 8);
  usleep((LOG_FILES_CHECK_MS + LOG_PURGE_CHECK_MS + 1000) * 1000);
  write_ahead(f, 1, 4);
  atomic_store(&look_fails, true);
  wait_durable(f, append_nth(f, 9, VOW_TXN_COMMITTING, 0, true));
  assert_false(atomic_load(&look_fails));
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &check);
  assert_int_equal(check.result.error, VOW_OK);
  answer_fini(&check);
  fixture_close(f);
  fixture_open(f);
  assert_states(f, 1, 4, VOW_TXN_COMMITTED);
  assert_states(f, 5, 9, VOW_TXN_COMMITTING);
}

static bool purged_there(struct fixture *f) {
  return counts(f).purged >= 5;
}

/* A purge of its own undoes it, and commits nothing of it; then it is written again. */
static void a_purge_has_nothing_of_it(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  decide(f, 1, 8);
  for (uint32_t n = 11; n <= 20; n++) append_more(f, n, VOW_TXN_ABORTED, fixture_now_ms(), false);
  wait_durable(f, append_nth(f, 21, VOW_TXN_COMMITTING, 0, true));
  uint64_t durable = f->progress.durable;
  write_ahead(f, 1, 4);
  f->config.retention_count = 5;
  vow_log_reconfigure(f->log, &f->config);
  wait_until(f, purged_there);
  assert_int_equal(f->progress.durable, durable);
  assert_int_equal(counts(f).queued, 4);
  wait_durable(f, append_nth(f, 9, VOW_TXN_COMMITTING, 0, true));
  assert_states(f, 1, 4, VOW_TXN_COMMITTED);
  assert_states(f, 5, 9, VOW_TXN_COMMITTING);
  assert_states(f, 11, 15, 0);
}

static void die_with_rows_ahead(void *context) {
  struct fixture *f = context;
  open_with_rows_ahead(f, 8);
  kill(getpid(), SIGKILL);
}

static void kill_leaves_nothing_of_it(void **state) {
  struct fixture *f = *state;
  in_child(die_with_rows_ahead, f);
  fixture_open(f);
  assert_states(f, 1, 8, VOW_TXN_COMMITTING);
}

static void a_backup_has_what_was_appended_before_it(void **state) {
  struct fixture *f = *state;
  struct answer backup;
  char path[128];
  snprintf(path, sizeof path, "%s.backup", f->path);
  open_with_rows_ahead(f, 8);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_BACKUP, .path = path}, &backup);
  assert_int_equal(backup.result.error, VOW_OK);
  answer_fini(&backup);
  fixture_close(f);
  f->config.path = path;
  fixture_open(f);
  assert_states(f, 1, 8, VOW_TXN_COMMITTED);
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(what_is_written_ahead_is_durable_with_the_next_commit),
      TEST(a_query_sees_it_only_durable),
      TEST(more_than_it_takes_ahead_is_durable_as_well),
      TEST(a_decision_ahead_of_its_end_has_one_row),
      TEST(a_step_is_committed_as_a_whole),
      TEST(an_end_writes_what_was_not_flushed),
      TEST(decisions_that_are_likely_share_a_sync),
      TEST(as_many_as_are_likely_wait_for_nobody),
      TEST(a_decision_waits_in_vain_for_moments_only),
      TEST(nobody_is_kept_waiting_for_company),
      TEST(what_does_not_fit_is_written_once_there_is_room),
      TEST(a_failed_sync_reveals_nothing_of_it),
      TEST(what_a_failed_read_took_back_is_written_again),
      TEST(a_purge_has_nothing_of_it),
      TEST(kill_leaves_nothing_of_it),
      TEST(a_backup_has_what_was_appended_before_it),
  };
  fault_vfs_install();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
