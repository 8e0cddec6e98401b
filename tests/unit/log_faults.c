/* Whatever the disk does, nothing is called durable that is not, and what was called durable is
 * there after a restart. */
#include "fault_vfs.h"
#include "log_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char reserve[128]; /* the file beside the log */

static int setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  *state = f;
  fault_vfs_set(FAULT_NONE);
  fixture_setup(f);
  snprintf(reserve, sizeof reserve, "%s-reserve", f->path);
  return 0;
}

static int teardown(void **state) {
  fault_vfs_set(FAULT_NONE);
  fixture_teardown(*state);
  free(*state);
  return 0;
}

/* ---- rule 2: a failed sync ---- */

static void a_failed_sync_reveals_nothing_and_ends_the_log(void **state) {
  struct fixture *f = *state;
  struct answer answer;
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  fault_vfs_set(FAULT_WAL_SYNC);
  append_nth(f, 2, VOW_TXN_COMMITTING, 0, true);
  wait_failed(f);
  assert_int_equal(f->progress.error, VOW_E_LOG_IO);
  assert_non_null(strstr(f->progress.why, f->path));
  assert_int_equal(f->progress.durable, 1);
  fault_vfs_set(FAULT_NONE); /* too late: what the disk has is not known any more */
  append_nth(f, 3, VOW_TXN_COMMITTING, 0, true);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_FIND, .id = nth_id(3)}, &answer);
  assert_int_equal(answer.result.error, VOW_E_LOG_IO);
  answer_fini(&answer);
  assert_int_equal(f->progress.durable, 1);
  fixture_close(f);
  fixture_open(f);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
  assert_int_equal(find_state(f, 3), 0);
  enum vow_txn_state unsure = find_state(f, 2); /* either will do, but it must stay what it is */
  assert_true(unsure == 0 || unsure == VOW_TXN_COMMITTING);
  fixture_close(f);
  fixture_open(f);
  assert_int_equal(find_state(f, 2), unsure);
}

static void a_failed_write_back_ends_the_log_and_loses_nothing(void **state) {
  struct fixture *f = *state;
  f->config.wal_bytes_max = 1;
  fixture_open(f);
  fault_vfs_set(FAULT_DB_SYNC);
  append_nth(f, 1, VOW_TXN_COMMITTING, 0, true);
  wait_failed(f);
  assert_int_equal(f->progress.error, VOW_E_LOG_IO);
  assert_int_equal(f->progress.durable, 1); /* it was, before the WAL was written back */
  assert_int_equal(counts(f).checkpoint_failures, 1);
  fixture_close(f);
  fault_vfs_set(FAULT_NONE);
  fixture_open(f);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
}

static void a_start_whose_sync_fails_is_refused(void **state) {
  struct fixture *f = *state;
  char why[VOW_LOG_WHY_BYTES];
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  fault_vfs_set(FAULT_WAL_SYNC);
  append_nth(f, 2, VOW_TXN_COMMITTING, 0, true);
  wait_failed(f);
  fixture_close(f); /* there is a WAL to write back now */
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_IO);
  fault_vfs_set(FAULT_NONE);
  fault_vfs_set(FAULT_DB_SYNC);
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_IO);
  assert_non_null(strstr(why, f->path));
  fault_vfs_set(FAULT_NONE);
  fixture_open(f);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
}

/* ---- rule 6: a full disk ---- */

static bool low_there(struct fixture *f) {
  return f->progress.refuses == VOW_E_LOG_FULL;
}

static bool well_there(struct fixture *f) {
  return f->progress.refuses == VOW_OK;
}

static void the_reserve_lets_decisions_through_on_a_full_disk(void **state) {
  struct fixture *f = *state;
  struct stat st;
  f->config.reserve_bytes = 1 << 20;
  fixture_open(f);
  assert_int_equal(stat(reserve, &st), 0);
  assert_true(st.st_blocks * 512 >= 1 << 20);
  wait_until(f, well_there);
  fault_vfs_full_while(reserve);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  wait_until(f, low_there);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTED, fixture_now_ms(), true));
  assert_int_equal(f->progress.error, VOW_OK);
  fault_vfs_set(FAULT_NONE);
  wait_until(f, well_there);
  assert_int_equal(stat(reserve, &st), 0);
  assert_int_equal(st.st_size, 1 << 20);
}

static off_t awaited_bytes;

static bool reserve_there(struct fixture *f) {
  struct stat st;
  (void)f;
  return stat(reserve, &st) == 0 ? st.st_size == awaited_bytes : awaited_bytes == 0;
}

static void the_reserve_has_the_size_that_is_configured(void **state) {
  struct fixture *f = *state;
  const off_t sizes[] = {1 << 20, 3 << 20, 0, 1 << 16};
  fixture_open(f);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    f->config.reserve_bytes = (uint64_t)sizes[i];
    vow_log_reconfigure(f->log, &f->config);
    awaited_bytes = sizes[i];
    wait_until(f, reserve_there);
  }
}

static void without_any_space_the_log_waits_and_goes_on_when_there_is(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  fault_vfs_set(FAULT_WAL_FULL);
  append_nth(f, 2, VOW_TXN_COMMITTING, 0, true);
  append_nth(f, 1, VOW_TXN_COMMITTED, fixture_now_ms(), true);
  wait_until(f, low_there);
  assert_int_equal(f->progress.error, VOW_OK);
  assert_int_equal(f->progress.durable, 1);
  assert_int_equal(find_state(f, 1),
                   VOW_TXN_COMMITTING); /* readers are served, with what there is */
  append_nth(f, 3, VOW_TXN_COMMITTING, 0, true);
  fault_vfs_set(FAULT_NONE);
  wait_durable(f, 4);
  wait_until(f, well_there);
  fixture_close(f);
  fixture_open(f);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 2), VOW_TXN_COMMITTING);
  assert_int_equal(find_state(f, 3), VOW_TXN_COMMITTING);
}

static void expect_key(struct fixture *f, enum vow_txn_state state) {
  struct answer answer;
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_FIND_KEY, .key = "key"}, &answer);
  assert_int_equal(answer.result.error, VOW_OK);
  assert_int_equal(answer.result.count, 1);
  assert_int_equal(answer.result.rows[0].state, state);
  assert_int_equal(answer.result.rows[0].ended_ms != 0, state == VOW_TXN_COMMITTED);
  answer_fini(&answer);
}

/* Its key is that of an open transaction until then; never that of none. */
static void an_end_that_waits_for_space_hides_no_key(void **state) {
  struct fixture *f = *state;
  struct vow_txn txn = nth_txn(1, VOW_TXN_COMMITTING, 0);
  set_text(&txn.idempotency_key, "key");
  fixture_open(f);
  wait_durable(f, append(f, &txn, true));
  fault_vfs_set(FAULT_WAL_FULL);
  txn.state = VOW_TXN_COMMITTED;
  txn.ended_ms = fixture_now_ms();
  append(f, &txn, true);
  wait_until(f, low_there);
  expect_key(f, VOW_TXN_COMMITTING);
  fault_vfs_set(FAULT_NONE);
  wait_durable(f, f->position);
  expect_key(f, VOW_TXN_COMMITTED);
  vow_txn_fini(&txn);
}

static void closing_on_a_full_disk_ends_and_loses_only_what_nobody_was_told(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  fault_vfs_set(FAULT_WAL_FULL);
  append_nth(f, 2, VOW_TXN_COMMITTING, 0, true);
  wait_until(f, low_there);
  fixture_close(f);
  fault_vfs_set(FAULT_NONE);
  fixture_open(f);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
  assert_int_equal(find_state(f, 2), 0);
}

static bool checkpoint_failed(struct fixture *f) {
  return counts(f).checkpoint_failures > 0 && f->progress.refuses == VOW_E_LOG_FULL;
}

static bool checkpoint_done(struct fixture *f) {
  return counts(f).checkpoints > 0 && f->progress.refuses == VOW_OK;
}

static void a_full_disk_at_a_checkpoint_is_harmless(void **state) {
  struct fixture *f = *state;
  f->config.wal_bytes_max = 1;
  fixture_open(f);
  struct vow_log_counts before = counts(f);
  fault_vfs_set(FAULT_DB_FULL);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  wait_durable(f, append_nth(f, 2, VOW_TXN_COMMITTING, 0, true));
  wait_until(f, checkpoint_failed);
  assert_int_equal(f->progress.error, VOW_OK);
  assert_int_equal(counts(f).checkpoints, before.checkpoints);
  fault_vfs_set(FAULT_NONE);
  wait_until(f, checkpoint_done);
}

static void a_start_on_a_full_disk_uses_the_reserve_or_says_so(void **state) {
  struct fixture *f = *state;
  char why[VOW_LOG_WHY_BYTES];
  f->config.reserve_bytes = 1 << 20;
  fixture_open(f);
  fixture_close(f);
  fault_vfs_full_while(reserve);
  fixture_open(f);
  wait_until(f, low_there);
  fixture_close(f);
  fault_vfs_set(FAULT_NONE);
  fault_vfs_set(FAULT_WAL_FULL);
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_FULL);
  assert_non_null(strstr(why, "free some space"));
}

/* What could not be synced is no backup, though the page cache shows it whole. */
static void a_backup_that_cannot_be_synced_is_none(void **state) {
  struct fixture *f = *state;
  char path[128];
  struct answer answer;
  snprintf(path, sizeof path, "%s/copy", f->folder);
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTING, 0, true));
  fault_vfs_set(FAULT_DB_SYNC);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_BACKUP, .path = path}, &answer);
  fault_vfs_set(FAULT_NONE);
  assert_int_equal(answer.result.error, VOW_E_BACKUP_IO);
  answer_fini(&answer);
  assert_int_equal(access(path, F_OK), -1);
  assert_int_equal(f->progress.error, VOW_OK);
}

/* ---- every call fails once ---- */

static bool over(struct fixture *f) {
  return f->progress.error != VOW_OK || f->progress.durable == f->position;
}

/* Opens, writes and checkpoints with call n failing; false when there were fewer calls. What was
 * durable must be there afterwards, and the log must open. */
static bool run_with_failing_call(struct fixture *f, int n, int *failures) {
  char why[VOW_LOG_WHY_BYTES] = "";
  uint32_t durable[8] = {0}, count = 0;
  fault_vfs_set(FAULT_NONE);
  fault_vfs_fail_call(n);
  enum vow_error error = fixture_try(f, why);
  if (error != VOW_OK) {
    assert_true(strlen(why) > 20);
    assert_null(f->log);
    (*failures)++;
  } else {
    assert_int_equal(vow_log_start(f->log), VOW_OK);
    for (uint32_t i = 1; i <= 4 && f->progress.error == VOW_OK; i++) {
      append_nth(f, i, i % 2 == 0 ? VOW_TXN_COMMITTED : VOW_TXN_COMMITTING,
                 i % 2 == 0 ? fixture_now_ms() : 0, true);
      wait_until(f, over);
      if (f->progress.durable >= f->position) durable[count++] = i;
    }
    *failures += f->progress.error != VOW_OK;
    fixture_close(f);
    f->progress = (struct vow_log_progress){0};
  }
  bool failed = fault_vfs_call_has_failed();
  fault_vfs_set(FAULT_NONE);
  fixture_open_only(f);
  for (uint32_t i = 0; i < count; i++)
    assert_int_equal(find_state(f, durable[i]),
                     durable[i] % 2 == 0 ? VOW_TXN_COMMITTED : VOW_TXN_COMMITTING);
  fixture_close(f);
  return failed;
}

static void any_single_call_may_fail(void **state) {
  (void)state;
  int failures = 0, runs = 0;
  for (bool more = true; more; runs++) {
    struct fixture f;
    fixture_setup(&f);
    f.config.wal_bytes_max = 20000;
    more = run_with_failing_call(&f, runs + 1, &failures);
    fixture_teardown(&f);
  }
  assert_true(runs > 50);
  assert_true(failures > runs / 2);
}

/* The same on a log that a killed daemon has left, WAL and all. */
static void abandon(void *context) {
  struct fixture *f = context;
  fixture_open(f);
  append_nth(f, 7, VOW_TXN_COMMITTING, 0, true);
  wait_durable(f, f->position);
  kill(getpid(), SIGKILL);
}

static void any_single_call_may_fail_during_recovery(void **state) {
  (void)state;
  int failures = 0, runs = 0;
  for (bool more = true; more; runs++) {
    struct fixture f;
    fixture_setup(&f);
    in_child(abandon, &f);
    more = run_with_failing_call(&f, runs + 1, &failures);
    fixture_open_only(&f);
    assert_int_equal(find_state(&f, 7), VOW_TXN_COMMITTING);
    fixture_teardown(&f);
  }
  assert_true(runs > 30);
  assert_true(failures > runs / 2);
}

/* The same with an upgrade: it is done or it is not. */
static void any_single_call_may_fail_during_an_upgrade(void **state) {
  (void)state;
  int failures = 0, runs = 0;
  for (bool more = true; more; runs++) {
    struct fixture f;
    fixture_setup(&f);
    fixture_open(&f);
    append_nth(&f, 7, VOW_TXN_COMMITTING, 0, true);
    append_nth(&f, 8, VOW_TXN_COMMITTED, fixture_now_ms(), true);
    wait_durable(&f, f.position);
    fixture_close(&f);
    fixture_change(&f, MAKE_FORMAT_5);
    more = run_with_failing_call(&f, runs + 1, &failures);
    fixture_open_only(&f);
    assert_int_equal(find_state(&f, 7), VOW_TXN_COMMITTING);
    assert_int_equal(find_state(&f, 8), VOW_TXN_COMMITTED);
    fixture_teardown(&f);
  }
  assert_true(runs > 30);
  assert_true(failures > runs / 2);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_failed_sync_reveals_nothing_and_ends_the_log),
      TEST(a_failed_write_back_ends_the_log_and_loses_nothing),
      TEST(a_start_whose_sync_fails_is_refused),
      TEST(the_reserve_lets_decisions_through_on_a_full_disk),
      TEST(the_reserve_has_the_size_that_is_configured),
      TEST(without_any_space_the_log_waits_and_goes_on_when_there_is),
      TEST(an_end_that_waits_for_space_hides_no_key),
      TEST(closing_on_a_full_disk_ends_and_loses_only_what_nobody_was_told),
      TEST(a_full_disk_at_a_checkpoint_is_harmless),
      TEST(a_start_on_a_full_disk_uses_the_reserve_or_says_so),
      TEST(a_backup_that_cannot_be_synced_is_none),
      cmocka_unit_test(any_single_call_may_fail),
      cmocka_unit_test(any_single_call_may_fail_during_recovery),
      cmocka_unit_test(any_single_call_may_fail_during_an_upgrade),
  };
  fault_vfs_install();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
