/* When an allocation fails, of the log's own or of SQLite's, the caller is told, nothing is called
 * durable that is not, nothing leaks, and the log opens again. */
#include "failing_memory.h"
#include "log_fixture.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- allocations that fail ---- */

static atomic_int fail_ours, fail_sqlite; /* at this allocation from now, once; 0: never */

static bool fails(atomic_int *countdown) {
  return atomic_load(countdown) > 0 && atomic_fetch_sub(countdown, 1) == 1;
}

bool allocation_fails(void) {
  return fails(&fail_ours);
}

static sqlite3_mem_methods real_memory;

static void *sqlite_malloc(int bytes) {
  return fails(&fail_sqlite) ? NULL : real_memory.xMalloc(bytes);
}

static void *sqlite_realloc(void *old, int bytes) {
  return fails(&fail_sqlite) ? NULL : real_memory.xRealloc(old, bytes);
}

static void configure_sqlite(void) {
  vow_log_process_init(); /* as in vowd */
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory);
  sqlite3_mem_methods methods = real_memory;
  methods.xMalloc = sqlite_malloc;
  methods.xRealloc = sqlite_realloc;
  sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

static void heal(void) {
  atomic_store(&fail_ours, 0);
  atomic_store(&fail_sqlite, 0);
}

/* ---- one run ---- */

static bool answered;

/* Want of memory is no damage: nobody is to restore a backup for it. */
static void done(void *context, const struct vow_log_result *result) {
  (void)context;
  answered = true;
  if (result->error != VOW_OK) assert_non_null(result->why);
  if (result->error == VOW_E_LOG_CORRUPT || result->rows_bad > 0) fail_msg("%s", result->why);
}

static bool answered_or_failed(struct fixture *f) {
  return answered || f->progress.error != VOW_OK;
}

static enum vow_error query(struct fixture *f, enum vow_log_query_type type) {
  struct vow_log_query query = {
      .type = type, .id = nth_id(1), .key = "key", .heuristic = -1, .participant = "bank-a"};
  query.done = done;
  answered = false;
  enum vow_error error = vow_log_query(f->log, &query);
  if (error == VOW_OK) wait_until(f, answered_or_failed);
  return error;
}

static bool settled(struct fixture *f) {
  return f->progress.durable == f->position || f->progress.error != VOW_OK;
}

static enum vow_error write_record(struct fixture *f, const struct vow_txn *txn) {
  struct vow_action action = {.type = VOW_ACTION_LOG};
  action.u.log.record = VOW_RECORD_TXN;
  action.u.log.position = f->position + 1;
  action.u.log.forced = true;
  action.u.log.txn = txn;
  enum vow_error error = vow_log_append(f->log, &action);
  vow_log_flush(f->log, 0);
  if (error != VOW_OK) return error;
  f->position++;
  wait_until(f, settled);
  return f->progress.error;
}

/* A day in the life of a log; stops at the first error, which must be one of memory. */
static enum vow_error live(struct fixture *f, const struct vow_txn *txn) {
  static const enum vow_log_query_type types[] = {VOW_LOG_QUERY_FIND, VOW_LOG_QUERY_FIND_KEY,
                                                  VOW_LOG_QUERY_LIST, VOW_LOG_QUERY_OPEN_PAGE,
                                                  VOW_LOG_QUERY_CHECK};
  char why[VOW_LOG_WHY_BYTES] = "";
  enum vow_error error = fixture_try(f, why);
  if (error != VOW_OK && strlen(why) < 10) fail_msg("a poor sentence: \"%s\"", why);
  if (error == VOW_E_LOG_CORRUPT) fail_msg("%s", why);
  if (error == VOW_OK) error = vow_log_start(f->log);
  if (error == VOW_OK) error = write_record(f, txn);
  for (size_t i = 0; error == VOW_OK && i < sizeof types / sizeof *types; i++)
    error = query(f, types[i]);
  return error;
}

/* Returns false when there was no such allocation. */
static bool run(atomic_int *countdown, int n) {
  struct fixture f;
  struct vow_txn txn = nth_txn(1, VOW_TXN_COMMITTING, 0);
  set_text(&txn.idempotency_key, "key");
  fixture_setup(&f);
  fixture_open(&f); /* the log is there already; log_open.c is about making it */
  fixture_close(&f);
  atomic_store(countdown, n);
  enum vow_error error = live(&f, &txn);
  bool failed = atomic_load(countdown) <= 0;
  heal();
  if (error != VOW_OK && error != VOW_E_NO_MEMORY) {
    /* SQLite does not always say why it could not read or open something. */
    assert_ptr_equal(countdown, &fail_sqlite);
    assert_int_equal(error, VOW_E_LOG_IO);
  }
  bool durable = f.progress.durable > 0;
  fixture_close(&f);
  fixture_open_only(&f);
  if (durable) assert_int_equal(find_state(&f, 1), VOW_TXN_COMMITTING);
  fixture_teardown(&f);
  vow_txn_fini(&txn);
  return failed;
}

static void any_allocation_of_ours_may_fail(void **state) {
  (void)state;
  int n = 1;
  while (run(&fail_ours, n)) n++;
  assert_true(n > 30);
}

/* There are many: the first hundred, then every seventeenth. */
static void any_allocation_of_sqlite_may_fail(void **state) {
  (void)state;
  int n = 3;
  while (run(&fail_sqlite, n)) n += n < 100 ? 1 : 17;
  assert_true(n > 300);
}

/* More pages than SQLite sets aside for a connection, and records of several pages, which it copies
 * to hand them out. */
static void given_a_large_log(struct fixture *f) {
  char reason[10000];
  memset(reason, 'x', sizeof reason - 1);
  reason[sizeof reason - 1] = '\0';
  fixture_setup(f);
  fixture_open(f);
  for (uint32_t n = 1; n <= 30; n++) {
    struct vow_txn txn = nth_txn(n, n % 2 ? VOW_TXN_COMMITTING : VOW_TXN_COMMITTED, n % 2 ? 0 : n);
    set_text(&txn.reason, reason);
    (void)append(f, &txn, n == 30);
    vow_txn_fini(&txn);
  }
  wait_durable(f, f->position);
  fixture_close(f);
}

static void a_large_log_is_not_called_damaged_for_want_of_memory(void **state) {
  (void)state;
  struct fixture f;
  struct vow_txn txn = nth_txn(1, VOW_TXN_COMMITTING, 0);
  given_a_large_log(&f);
  bool failed = true;
  int n = 3, refused = 0;
  for (; failed; n += 3 + n / 100) {
    atomic_store(&fail_sqlite, n);
    enum vow_error error = live(&f, &txn);
    failed = atomic_load(&fail_sqlite) <= 0;
    heal();
    assert_true(error == VOW_OK || error == VOW_E_NO_MEMORY || error == VOW_E_LOG_IO);
    refused += error != VOW_OK;
    fixture_close(&f);
  }
  assert_true(refused > 50);
  fixture_open_only(&f);
  assert_int_equal(find_state(&f, 1), VOW_TXN_COMMITTING);
  fixture_teardown(&f);
  vow_txn_fini(&txn);
}

/* ---- an upgrade ---- */

#define OLD_ROWS 12

/* Large records, most with a key, and two ids that share a place. */
static void given_an_old_log(struct fixture *f) {
  char reason[10000], key[16];
  memset(reason, 'x', sizeof reason - 1);
  reason[sizeof reason - 1] = '\0';
  fixture_setup(f);
  fixture_open(f);
  for (uint32_t n = 1; n <= OLD_ROWS; n++) {
    struct vow_txn txn = nth_txn(n == OLD_ROWS ? 1 : n, VOW_TXN_COMMITTING, 0);
    if (n == OLD_ROWS) txn.id.bytes[9] ^= 1;
    (void)snprintf(key, sizeof key, "key-%u", n);
    if (n > 2) set_text(&txn.idempotency_key, key);
    set_text(&txn.reason, reason);
    (void)append(f, &txn, n == OLD_ROWS);
    vow_txn_fini(&txn);
  }
  wait_durable(f, f->position);
  fixture_close(f);
  fixture_change(f, MAKE_FORMAT_5);
}

static void expect_all(struct fixture *f) {
  struct vow_log_info info;
  struct answer answer;
  fixture_open_only(f);
  vow_log_info(f->log, &info);
  assert_int_equal(info.open, OLD_ROWS);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_FIND_KEY, .key = "key-3"}, &answer);
  assert_int_equal(answer.result.count, 1);
  answer_fini(&answer);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &answer);
  if (answer.result.error != VOW_OK) fail_msg("%s", answer.why);
  assert_int_equal(answer.result.rows_checked, OLD_ROWS);
  answer_fini(&answer);
  fixture_close(f);
}

/* Returns how many were refused. */
static int upgrade_with_failing_allocations(atomic_int *countdown, int step) {
  struct fixture f;
  int refused = 0;
  bool failed = true;
  given_an_old_log(&f);
  for (int n = 1; failed; n += step) {
    char why[VOW_LOG_WHY_BYTES] = "";
    atomic_store(countdown, n);
    enum vow_error error = fixture_try(&f, why);
    failed = atomic_load(countdown) <= 0;
    heal();
    fixture_close(&f);
    if (error != VOW_OK && error != VOW_E_NO_MEMORY) {
      if (countdown != &fail_sqlite || error != VOW_E_LOG_IO) fail_msg("at %d: %s", n, why);
    }
    refused += error != VOW_OK;
    if (error != VOW_OK && n % 16 != 0) continue; /* the next one goes on with what is there */
    expect_all(&f);
    fixture_change(&f, MAKE_FORMAT_5);
  }
  fixture_teardown(&f);
  return refused;
}

static void an_upgrade_may_lack_memory(void **state) {
  (void)state;
  assert_true(upgrade_with_failing_allocations(&fail_ours, 1) > 2 * OLD_ROWS);
  assert_true(upgrade_with_failing_allocations(&fail_sqlite, 5) > 60);
}

/* What a log knows of its starts and of its quarantine is not overlooked: a start without memory
 * neither forgets a quarantine, which would be to presume aborts, nor comes into one. */
static void start_with_failing_allocations(struct fixture *f, bool quarantined) {
  bool failed = true;
  char why[VOW_LOG_WHY_BYTES];
  for (int n = 1; failed; n += 3) {
    atomic_store(&fail_sqlite, n);
    enum vow_error error = fixture_try(f, why);
    failed = atomic_load(&fail_sqlite) <= 0;
    heal();
    if (error == VOW_OK) {
      struct vow_log_info info;
      vow_log_info(f->log, &info);
      if ((info.quarantined_ms != 0) != quarantined) fail_msg("at %d: \"%s\"", n, info.why);
    }
    fixture_close(f);
  }
}

static void a_quarantine_does_not_depend_on_memory(void **state) {
  (void)state;
  struct fixture f;
  char witness[128];
  fixture_setup(&f);
  fixture_open(&f);
  wait_durable(&f, append_nth(&f, 1, VOW_TXN_COMMITTING, 0, true));
  fixture_close(&f);
  start_with_failing_allocations(&f, false);
  f.config.restored_from = "a backup";
  fixture_open(&f);
  fixture_close(&f);
  f.config.restored_from = NULL;
  (void)snprintf(witness, sizeof witness, "%s-witness", f.path);
  assert_int_equal(unlink(witness), 0);
  start_with_failing_allocations(&f, true);
  fixture_teardown(&f);
}

/* Its counters would cost a lock for each allocation. */
static void sqlite_counts_no_memory(void **state) {
  struct fixture f;
  (void)state;
  fixture_setup(&f);
  fixture_open(&f);
  assert_int_equal(sqlite3_memory_used(), 0);
  fixture_teardown(&f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_allocation_of_ours_may_fail),
      cmocka_unit_test(any_allocation_of_sqlite_may_fail),
      cmocka_unit_test(a_large_log_is_not_called_damaged_for_want_of_memory),
      cmocka_unit_test(an_upgrade_may_lack_memory),
      cmocka_unit_test(a_quarantine_does_not_depend_on_memory),
      cmocka_unit_test(sqlite_counts_no_memory),
  };
  configure_sqlite();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
