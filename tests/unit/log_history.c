/* Records are joined and flushed within their bound, history is listed whole and purged in small
 * steps, and a backup made meanwhile opens. */
#include "log_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- writing ---- */

static void records_of_one_transaction_are_joined(void **state) {
  struct fixture *f = *state;
  f->config.ahead_min = 100; /* what is written ahead is not joined any more */
  fixture_open(f);           /* nothing is due for a minute: all of these wait together */
  append_nth(f, 1, VOW_TXN_PREPARING, 0, false);
  append_nth(f, 2, VOW_TXN_ABORTING, 0, false);
  append_nth(f, 1, VOW_TXN_COMMITTING, 0, false);
  append_nth(f, 2, VOW_TXN_ABORTED, fixture_now_ms(), false);
  wait_durable(f, append_nth(f, 1, VOW_TXN_COMMITTED, fixture_now_ms(), true));
  assert_int_equal(f->progress.durable, 5);
  assert_int_equal(counts(f).records, 5);
  assert_int_equal(counts(f).joined, 3);
  assert_int_equal(counts(f).batches, 2); /* and the one that counted the start */
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 2), VOW_TXN_ABORTED);
}

static void an_unforced_record_is_durable_within_its_bound(void **state) {
  struct fixture *f = *state;
  f->config.lazy_flush_ms = 30;
  fixture_open(f);
  uint64_t before = fixture_now_ms();
  wait_durable(f, append_nth(f, 1, VOW_TXN_ABORTED, fixture_now_ms(), false));
  assert_true(fixture_now_ms() - before >= 29);
}

static bool long_enough(struct fixture *f) {
  return counts(f).queued > 0 && f->progress.durable == 0;
}

static void an_unforced_record_waits_for_the_next_forced_one(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  append_nth(f, 1, VOW_TXN_ABORTED, fixture_now_ms(), false);
  wait_until(f, long_enough);
  assert_int_equal(f->progress.durable, 0);
  wait_durable(f, append_nth(f, 2, VOW_TXN_COMMITTING, 0, true));
  assert_int_equal(f->progress.durable, 2);
}

static void what_is_queued_at_the_end_is_written(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  for (uint32_t n = 1; n <= 3000; n++) append_nth(f, n, VOW_TXN_COMMITTING, 0, false);
  fixture_close(f);
  fixture_open_only(f);
  struct vow_log_info info;
  vow_log_info(f->log, &info);
  assert_int_equal(info.open, 3000);
  assert_int_equal(info.position, 3000);
}

static void a_transaction_that_opens_again_is_listed_once(void **state) {
  struct fixture *f = *state;
  struct answer answer;
  fixture_open(f);
  append_nth(f, 1, VOW_TXN_COMMITTED, fixture_now_ms(), true);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTED);
  append_nth(f, 1, VOW_TXN_COMMITTING, 0, true);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_LIST, .heuristic = -1}, &answer);
  assert_int_equal(answer.result.count, 0);
  answer_fini(&answer);
  append_nth(f, 1, VOW_TXN_COMMITTED, fixture_now_ms(), true);
  append_nth(f, 1, VOW_TXN_COMMITTED, fixture_now_ms(), true);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &answer);
  if (answer.result.error != VOW_OK) fail_msg("%s", answer.why);
  assert_int_equal(answer.result.rows_checked, 1);
  answer_fini(&answer);
}

/* ---- the WAL ---- */

static bool checkpointed(struct fixture *f) {
  return counts(f).checkpoints >= 4 && f->progress.durable == f->position;
}

static void the_wal_is_bounded_by_checkpoints(void **state) {
  struct fixture *f = *state;
  struct stat st;
  char wal[128];
  snprintf(wal, sizeof wal, "%s-wal", f->path);
  f->config.wal_bytes_max = 200000;
  f->config.lazy_flush_ms = 1;
  fixture_open(f);
  for (uint32_t n = 1; n <= 2000; n++) {
    append_nth(f, n, VOW_TXN_COMMITTED, fixture_now_ms(), true);
    if (n % 20 == 0) wait_durable(f, f->position);
  }
  wait_until(f, checkpointed);
  assert_int_equal(stat(wal, &st), 0);
  assert_true(st.st_size < 2000000);
  assert_int_equal(counts(f).checkpoint_failures, 0);
}

/* ---- lists ---- */

static void every_ended_row_is_listed_once_while_rows_are_added(void **state) {
  struct fixture *f = *state;
  uint8_t seen[1000] = {0};
  uint32_t pages = 0, last = UINT32_MAX;
  fixture_open(f);
  for (uint32_t n = 0; n < 500; n++)
    append_nth(f, 2 * n, VOW_TXN_COMMITTED, fixture_now_ms(), false);
  struct vow_log_query list = {.type = VOW_LOG_QUERY_LIST, .heuristic = -1, .limit = 7};
  for (bool more = true; more; pages++) {
    struct answer page;
    ask(f, list, &page);
    assert_int_equal(page.result.error, VOW_OK);
    for (uint32_t i = 0; i < page.result.count; i++) {
      uint32_t n = (uint32_t)(page.result.rows[i].created_ms - UINT64_C(1700000000000));
      assert_true(n < last);
      last = n;
      assert_int_equal(seen[n]++, 0);
    }
    more = page.result.more;
    list.id = page.result.next;
    answer_fini(&page);
    append_nth(f, 2 * pages + 1, VOW_TXN_ABORTED, fixture_now_ms(), false);
    append_nth(f, 999 - 2 * pages, VOW_TXN_ABORTED, fixture_now_ms(), false);
  }
  for (uint32_t n = 0; n < 1000; n += 2) assert_int_equal(seen[n], 1);
  assert_true(pages >= 500 / 7);
}

static uint32_t count_listed(struct fixture *f, struct vow_log_query list) {
  uint32_t found = 0, empty = 0;
  list.type = VOW_LOG_QUERY_LIST;
  for (bool more = true; more;) {
    struct answer page;
    ask(f, list, &page);
    if (page.result.error != VOW_OK) fail_msg("%s", page.why);
    found += page.result.count;
    empty += page.result.count == 0;
    more = page.result.more;
    list.id = page.result.next;
    answer_fini(&page);
  }
  assert_true(empty < 10);
  return found;
}

static void filters_pick_what_they_say(void **state) {
  struct fixture *f = *state;
  uint64_t now = fixture_now_ms();
  fixture_open(f);
  for (uint32_t n = 1; n <= 60; n++) {
    struct vow_txn txn =
        nth_txn(n, n % 3 == 0 ? VOW_TXN_ABORTED : VOW_TXN_COMMITTED, now - n * 1000);
    if (n % 4 == 0) set_text(&txn.branches[1].name, "shop \"north\"");
    if (n % 5 == 0) set_text(&txn.branches[0].url, "http://shop:80/x");
    if (n % 6 == 0) txn.heuristic = VOW_HEURISTIC_HAZARD;
    set_text(&txn.metadata, "{\"name\":\"decoy\"}");
    append(f, &txn, false);
    vow_txn_fini(&txn);
  }
  append_nth(f, 61, VOW_TXN_COMMITTING, 0, false);
  assert_int_equal(count_listed(f, (struct vow_log_query){.heuristic = -1}), 60);
  assert_int_equal(
      count_listed(f, (struct vow_log_query){.heuristic = -1, .state = VOW_TXN_ABORTED}), 20);
  assert_int_equal(count_listed(f, (struct vow_log_query){.heuristic = 1, .limit = 3}), 10);
  assert_int_equal(count_listed(f, (struct vow_log_query){.heuristic = 0}), 50);
  assert_int_equal(
      count_listed(f, (struct vow_log_query){.heuristic = -1, .participant = "shop \"north\""}),
      15);
  assert_int_equal(
      count_listed(f, (struct vow_log_query){.heuristic = -1, .participant = "http://shop:80/x"}),
      12);
  assert_int_equal(count_listed(f, (struct vow_log_query){.heuristic = -1, .participant = "decoy"}),
                   0);
  assert_int_equal(
      count_listed(f, (struct vow_log_query){.heuristic = -1, .participant = "nobody"}), 0);
  assert_int_equal(
      count_listed(f, (struct vow_log_query){.heuristic = -1, .ended_before_ms = now - 40500}), 20);
}

static void a_page_looks_at_a_bounded_number_of_rows(void **state) {
  struct fixture *f = *state;
  struct answer page;
  fixture_open(f);
  for (uint32_t n = 1; n <= 5000; n++) append_nth(f, n, VOW_TXN_COMMITTED, fixture_now_ms(), false);
  ask(f,
      (struct vow_log_query){.type = VOW_LOG_QUERY_LIST, .heuristic = -1, .state = VOW_TXN_ABORTED},
      &page);
  assert_int_equal(page.result.count, 0);
  assert_true(page.result.more);
  answer_fini(&page);
  assert_int_equal(
      count_listed(f, (struct vow_log_query){.heuristic = -1, .state = VOW_TXN_ABORTED}), 0);
  assert_int_equal(count_listed(f, (struct vow_log_query){.heuristic = -1}), 5000);
}

/* ---- purge ---- */

static uint64_t expected_purged;

static bool purged_there(struct fixture *f) {
  return counts(f).purged >= expected_purged;
}

static void wait_purged(struct fixture *f, uint64_t rows) {
  expected_purged = rows;
  wait_until(f, purged_there);
  assert_int_equal(counts(f).purged, rows);
}

static void old_rows_are_purged_and_what_somebody_waits_for_never(void **state) {
  struct fixture *f = *state;
  uint64_t now = fixture_now_ms();
  f->config.purge_step = 10;
  fixture_open(f);
  for (uint32_t n = 1; n <= 100; n++) {
    struct vow_txn txn = nth_txn(n, VOW_TXN_COMMITTED, n <= 60 ? now - 2 * HOUR_MS : now);
    if (n == 5 || n == 6) txn.heuristic = VOW_HEURISTIC_MIXED;
    if (n == 6 || n == 7) txn.forgotten = true;
    if (n == 7) txn.heuristic = VOW_HEURISTIC_MIXED;
    if (n >= 7 && n <= 9) txn.branches[1].resolved = true; /* its participant may come back */
    if (n == 9) txn.state = VOW_TXN_ABORTED;
    append(f, &txn, false);
    vow_txn_fini(&txn);
  }
  append_nth(f, 101, VOW_TXN_COMMITTING, 0, true);
  wait_durable(f, f->position);
  f->config.retention_age_ms = HOUR_MS;
  vow_log_reconfigure(f->log, &f->config);
  wait_purged(f, 57);
  assert_int_equal(find_state(f, 5), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 6), 0);
  assert_int_equal(find_state(f, 7), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 8), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 9), 0);
  assert_int_equal(find_state(f, 61), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 101), VOW_TXN_COMMITTING);
  assert_int_equal(count_listed(f, (struct vow_log_query){.heuristic = -1}), 43);
}

static void the_oldest_ends_beyond_the_count_are_purged(void **state) {
  struct fixture *f = *state;
  uint64_t now = fixture_now_ms();
  f->config.purge_step = 7;
  f->config.lazy_flush_ms = 1;
  fixture_open(f);
  for (uint32_t n = 100; n > 0; n--) /* the larger the id, the earlier it ended */
    append_nth(f, n, VOW_TXN_COMMITTED, now - n * 1000, false);
  wait_durable(f, f->position);
  f->config.retention_count = 30;
  vow_log_reconfigure(f->log, &f->config);
  wait_purged(f, 70);
  assert_int_equal(find_state(f, 30), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 31), 0);
  f->config.retention_count = 10;
  vow_log_reconfigure(f->log, &f->config);
  wait_purged(f, 90);
  assert_int_equal(find_state(f, 10), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 11), 0);
}

static struct vow_id purged_to(struct fixture *f) {
  struct answer answer;
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_FIND, .id = nth_id(1)}, &answer);
  struct vow_id id = answer.result.purged_to;
  answer_fini(&answer);
  return id;
}

static void the_highest_purged_commit_is_remembered(void **state) {
  struct fixture *f = *state;
  uint64_t now = fixture_now_ms();
  f->config.purge_step = 2;
  f->config.lazy_flush_ms = 1;
  fixture_open(f);
  append_nth(f, 7, VOW_TXN_COMMITTED, now - 5000, false);
  append_nth(f, 3, VOW_TXN_COMMITTED, now - 4000, false);
  append_nth(f, 9, VOW_TXN_ABORTED, now - 3000, false);
  append_nth(f, 5, VOW_TXN_COMMITTED, now, false);
  wait_durable(f, f->position);
  assert_true(vow_id_is_nil(purged_to(f)));
  f->config.retention_count = 1;
  vow_log_reconfigure(f->log, &f->config);
  wait_purged(f, 3);
  assert_int_equal(vow_id_compare(purged_to(f), nth_id(7)), 0);
  fixture_close(f);
  fixture_open(f);
  assert_int_equal(vow_id_compare(purged_to(f), nth_id(7)), 0);
}

/* However many they are, and wherever they stand. */
static void a_purge_passes_by_what_is_kept(void **state) {
  struct fixture *f = *state;
  uint64_t old = fixture_now_ms() - 2 * HOUR_MS;
  f->config.purge_step = 10;
  f->config.lazy_flush_ms = 1;
  fixture_open(f);
  for (uint32_t n = 1; n <= 4600; n++) {
    struct vow_txn txn = nth_txn(n, VOW_TXN_COMMITTED, old);
    bool kept = n <= 2300 || (n > 2310 && n <= 4590);
    if (kept) txn.heuristic = VOW_HEURISTIC_MIXED;
    append(f, &txn, n % 500 == 0);
    vow_txn_fini(&txn);
  }
  wait_durable(f, f->position);
  f->config.retention_age_ms = HOUR_MS;
  vow_log_reconfigure(f->log, &f->config);
  write_until_purged(f, 20); /* some work, as it looks at a part of them at a time */
  assert_int_equal(find_state(f, 2300), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 2301), 0);
  assert_int_equal(find_state(f, 2310), 0);
  assert_int_equal(find_state(f, 4590), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 4600), 0);
  struct vow_txn forgotten = nth_txn(3, VOW_TXN_COMMITTED, old);
  forgotten.heuristic = VOW_HEURISTIC_MIXED;
  forgotten.forgotten = true;
  append(f, &forgotten, true);
  vow_txn_fini(&forgotten);
  write_until_purged(f, 21); /* the next round begins with the oldest again */
  assert_int_equal(find_state(f, 3), 0);
}

/* What ended then is as old as it says; by count it has its turn. */
static void a_clock_that_was_ahead_holds_up_no_purge(void **state) {
  struct fixture *f = *state;
  uint64_t now = fixture_now_ms();
  f->config.purge_step = 4;
  f->config.lazy_flush_ms = 1;
  fixture_open(f);
  for (uint32_t n = 1; n <= 30; n++)
    append_nth(f, n, VOW_TXN_COMMITTED, n <= 10 ? now + HOUR_MS : now - (n <= 20) * 2 * HOUR_MS,
               false);
  wait_durable(f, f->position);
  f->config.retention_age_ms = HOUR_MS;
  vow_log_reconfigure(f->log, &f->config);
  wait_purged(f, 10);
  assert_int_equal(find_state(f, 10), VOW_TXN_COMMITTED);
  assert_int_equal(find_state(f, 11), 0);
  assert_int_equal(find_state(f, 20), 0);
  assert_int_equal(find_state(f, 21), VOW_TXN_COMMITTED);
  f->config.retention_count = 15;
  vow_log_reconfigure(f->log, &f->config);
  wait_purged(f, 15);
  assert_int_equal(find_state(f, 5), 0);
  assert_int_equal(find_state(f, 6), VOW_TXN_COMMITTED);
}

/* Its rows are young now, and what is behind waits until they are old enough. */
static void what_ended_behind_a_clock_that_was_ahead_waits_for_it(void **state) {
  struct fixture *f = *state;
  uint64_t now = fixture_now_ms();
  f->config.purge_step = 4;
  f->config.lazy_flush_ms = 1;
  f->config.retention_age_ms = HOUR_MS;
  fixture_open(f);
  for (uint32_t n = 1; n <= 10; n++)
    append_nth(f, n, VOW_TXN_COMMITTED, n <= 5 ? now - HOUR_MS / 2 : now - 2 * HOUR_MS, false);
  for (uint32_t n = 100; n < 150; n++)
    wait_durable(f, append_nth(f, n, VOW_TXN_COMMITTING, 0, true));
  assert_int_equal(counts(f).purged, 0);
  f->config.retention_age_ms = HOUR_MS / 2;
  vow_log_reconfigure(f->log, &f->config);
  wait_purged(f, 10);
}

static void purging_goes_on_under_load(void **state) {
  struct fixture *f = *state;
  uint32_t n = 0;
  f->config.retention_count = 50;
  fixture_open(f);
  for (uint64_t end = fixture_now_ms() + DEADLINE_MS; counts(f).purged < 2000;) {
    assert_true(fixture_now_ms() < end);
    for (int i = 0; i < 20; i++) append_nth(f, ++n, VOW_TXN_COMMITTED, fixture_now_ms(), true);
    wait_durable(f, f->position);
  }
  assert_int_equal(find_state(f, n), VOW_TXN_COMMITTED);
}

/* ---- backup ---- */

static void check_copy(struct fixture *f, const char *path, uint64_t rows_min) {
  struct fixture copy = *f;
  struct answer answer;
  copy.log = NULL;
  copy.config.path = path;
  copy.config.read_only = true;
  fixture_open_only(&copy);
  ask(&copy, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &answer);
  if (answer.result.error != VOW_OK) fail_msg("%s", answer.why);
  assert_true(answer.result.rows_checked >= rows_min);
  answer_fini(&answer);
  fixture_close(&copy);
  copy.config.read_only = false;
  fixture_open_only(&copy); /* and a daemon can start from it */
  fixture_close(&copy);
}

static bool finished;
static enum vow_error backup_error;

static void backup_done(void *context, const struct vow_log_result *result) {
  (void)context;
  backup_error = result->error;
  finished = true;
}

/* Writes while the backup is made; returns how many records became durable meanwhile. */
static uint32_t write_during_backup(struct fixture *f, const char *path, uint32_t *n) {
  struct vow_log_query backup = {.type = VOW_LOG_QUERY_BACKUP, .path = path, .done = backup_done};
  uint32_t during = 0;
  finished = false;
  assert_int_equal(vow_log_query(f->log, &backup), VOW_OK);
  for (; !finished; during++) {
    wait_durable(f, append_nth(f, ++*n, VOW_TXN_COMMITTING, 0, true));
    append_nth(f, *n - 2000, VOW_TXN_COMMITTED, fixture_now_ms(), false);
    assert_true(*n < 1000000);
  }
  assert_int_equal(backup_error, VOW_OK);
  return during;
}

static void a_backup_made_while_writing_is_whole(void **state) {
  struct fixture *f = *state;
  char path[128];
  struct stat st;
  f->config.wal_bytes_max = 500000;
  fixture_open(f);
  uint32_t n = 0, during = 0;
  while (n < 4000) append_nth(f, ++n, VOW_TXN_COMMITTED, fixture_now_ms(), false);
  for (int i = 0; during < 20; i++) {
    assert_true(i < 100);
    snprintf(path, sizeof path, "%s/copy-%d", f->folder, i);
    during += write_during_backup(f, path, &n);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    check_copy(f, path, 4000);
  }
}

static void a_backup_over_a_file_or_to_a_relative_path_is_refused(void **state) {
  struct fixture *f = *state;
  char nowhere[128];
  struct answer answer;
  fixture_open(f);
  snprintf(nowhere, sizeof nowhere, "%s/nowhere/copy", f->folder);
  const struct {
    const char *path;
    enum vow_error error;
    const char *word;
  } cases[] = {{f->path, VOW_E_BACKUP_EXISTS, "name another"},
               {"copy", VOW_E_INVALID_ARGUMENT, "absolute"},
               {NULL, VOW_E_INVALID_ARGUMENT, "absolute"},
               {nowhere, VOW_E_BACKUP_IO, "No such file or directory; make its folder"},
               {"/sys/copy", VOW_E_BACKUP_IO, "the daemon's user must be able to write there"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_BACKUP, .path = cases[i].path}, &answer);
    assert_int_equal(answer.result.error, cases[i].error);
    assert_non_null(strstr(answer.why, cases[i].word));
    answer_fini(&answer);
  }
}

static void a_backup_can_be_made_of_a_log_whose_daemon_is_dead(void **state) {
  struct fixture *f = *state;
  char path[128];
  struct answer answer;
  snprintf(path, sizeof path, "%s/copy", f->folder);
  fixture_open(f);
  for (uint32_t n = 1; n <= 500; n++) append_nth(f, n, VOW_TXN_COMMITTED, fixture_now_ms(), false);
  fixture_close(f);
  f->config.read_only = true;
  fixture_open_only(f);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_BACKUP, .path = path}, &answer);
  if (answer.result.error != VOW_OK) fail_msg("%s", answer.why);
  answer_fini(&answer);
  check_copy(f, path, 500);
}

static void closing_answers_every_query(void **state) {
  struct fixture *f = *state;
  char path[128];
  snprintf(path, sizeof path, "%s/copy", f->folder);
  fixture_open(f);
  for (uint32_t n = 1; n <= 3000; n++) append_nth(f, n, VOW_TXN_COMMITTED, fixture_now_ms(), false);
  finished = false;
  struct vow_log_query backup = {.type = VOW_LOG_QUERY_BACKUP, .path = path, .done = backup_done};
  assert_int_equal(vow_log_query(f->log, &backup), VOW_OK);
  fixture_close(f);
  assert_true(finished);
  bool there = access(path, F_OK) == 0;
  assert_int_equal(backup_error, there ? VOW_OK : VOW_E_DRAINING);
}

static void queries_under_way_are_bounded(void **state) {
  struct fixture *f = *state;
  uint32_t taken = 0;
  fixture_open(f);
  struct vow_log_query find = {.type = VOW_LOG_QUERY_FIND, .id = nth_id(1), .done = backup_done};
  while (vow_log_query(f->log, &find) == VOW_OK) taken++; /* none is polled, so none is over */
  assert_int_equal(taken, VOW_LOG_QUERIES_MAX);
  assert_int_equal(vow_log_query(f->log, &find), VOW_E_OVERLOADED);
  fixture_close(f);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_drop)
  const struct CMUnitTest tests[] = {
      TEST(records_of_one_transaction_are_joined),
      TEST(an_unforced_record_is_durable_within_its_bound),
      TEST(an_unforced_record_waits_for_the_next_forced_one),
      TEST(what_is_queued_at_the_end_is_written),
      TEST(a_transaction_that_opens_again_is_listed_once),
      TEST(the_wal_is_bounded_by_checkpoints),
      TEST(every_ended_row_is_listed_once_while_rows_are_added),
      TEST(filters_pick_what_they_say),
      TEST(a_page_looks_at_a_bounded_number_of_rows),
      TEST(old_rows_are_purged_and_what_somebody_waits_for_never),
      TEST(the_oldest_ends_beyond_the_count_are_purged),
      TEST(the_highest_purged_commit_is_remembered),
      TEST(a_purge_passes_by_what_is_kept),
      TEST(a_clock_that_was_ahead_holds_up_no_purge),
      TEST(what_ended_behind_a_clock_that_was_ahead_waits_for_it),
      TEST(purging_goes_on_under_load),
      TEST(a_backup_made_while_writing_is_whole),
      TEST(a_backup_over_a_file_or_to_a_relative_path_is_refused),
      TEST(a_backup_can_be_made_of_a_log_whose_daemon_is_dead),
      TEST(closing_answers_every_query),
      TEST(queries_under_way_are_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
