/* The vote log on a bad day: locked, damaged, foreign, newer, read-only, on a disk that fails. */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fault_vfs.h"
#include "io/log_internal.h"
#include "io/participant_internal.h"
#include "participant_fixture.h"

/* Runs SQL on a file that no participant has open. */
static void run_sql(const char *path, const char *sql) {
  sqlite3 *db = NULL;
  assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
  char *message = NULL;
  if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) fail_msg("%s: %s", sql, message);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void given_a_log_with_a_branch_in_doubt(struct fixture *f) {
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ",\"payload\":\"needle-in-the-file\""), 200, VOTE_COMMIT);
  fixture_close(f);
}

static void one_log_is_for_one_participant(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  fixture_refuses(f, VOW_E_LOG_LOCKED, "another process");
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  fixture_close(f);
  fixture_open(f);
}

static void another_process_is_refused_until_the_first_has_died(void **state) {
  struct fixture *f = *state;
  int ready[2];
  char byte = 0;
  assert_int_equal(pipe(ready), 0);
  pid_t child = fork();
  assert_int_not_equal(child, -1);
  if (child == 0) {
    fixture_open(f);
    (void)send_message(f, "prepare", 1, "");
    (void)!write(ready[1], "", 1);
    for (;;) (void)pause();
  }
  assert_int_equal(read(ready[0], &byte, 1), 1);
  fixture_refuses(f, VOW_E_LOG_LOCKED, "another process");
  assert_int_equal(kill(child, SIGKILL), 0);
  assert_int_equal(waitpid(child, NULL, 0), child);
  fixture_open(f);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  (void)close(ready[0]);
  (void)close(ready[1]);
}

/* The offset of the payload in the file; it is there once. */
static long find_needle(const char *path) {
  char *bytes = malloc(1 << 20);
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  size_t count = fread(bytes, 1, 1 << 20, file);
  (void)fclose(file);
  const char *found = memmem(bytes, count, "needle", 6);
  assert_non_null(found);
  long offset = found - bytes;
  free(bytes);
  return offset;
}

static void a_flipped_bit_in_a_record_is_noticed(void **state) {
  struct fixture *f = *state;
  given_a_log_with_a_branch_in_doubt(f);
  long offset = find_needle(f->path);
  int fd = open(f->path, O_RDWR);
  assert_int_equal(pwrite(fd, "m", 1, offset), 1);
  (void)close(fd);
  fixture_refuses(f, VOW_E_LOG_CORRUPT, id_of(1));
}

static void a_row_that_makes_no_sense_is_noticed(void **state) {
  struct fixture *f = *state;
  given_a_log_with_a_branch_in_doubt(f);
  run_sql(f->path, "UPDATE vow_branch SET record = substr(record, 1, 40)");
  fixture_refuses(f, VOW_E_LOG_CORRUPT, id_of(1));
  run_sql(f->path, "UPDATE vow_branch SET record = 'x'");
  fixture_refuses(f, VOW_E_LOG_CORRUPT, "damaged");
}

static void a_damaged_watermark_is_noticed(void **state) {
  struct fixture *f = *state;
  given_a_log_with_a_branch_in_doubt(f);
  run_sql(f->path, "INSERT INTO vow_coordinator VALUES('http://c', zeroblob(16), 1)");
  fixture_refuses(f, VOW_E_LOG_CORRUPT, "coordinator");
}

static void a_damaged_structure_is_noticed(void **state) {
  struct fixture *f = *state;
  given_a_log_with_a_branch_in_doubt(f);
  struct stat file;
  assert_int_equal(stat(f->path, &file), 0);
  assert_int_equal(truncate(f->path, file.st_size / 2), 0);
  fixture_refuses(f, VOW_E_LOG_CORRUPT, "restore it, with no old -wal left beside it");
}

static void a_file_that_is_no_database_is_refused(void **state) {
  struct fixture *f = *state;
  FILE *file = fopen(f->path, "w");
  for (int i = 0; i < 1000; i++) (void)fputs("not a database ", file);
  (void)fclose(file);
  fixture_refuses(f, VOW_E_LOG_CORRUPT, "not a vote log");
}

static void a_database_of_something_else_is_left_alone(void **state) {
  struct fixture *f = *state;
  run_sql(f->path, "CREATE TABLE accounts(id INTEGER PRIMARY KEY)");
  fixture_refuses(f, VOW_E_INVALID_ARGUMENT, "a file of its own");
  run_sql(f->path, "CREATE TABLE vow_branch_is_not_there(id)");
}

static void a_log_of_two_names_is_refused(void **state) {
  struct fixture *f = *state;
  char other[160];
  given_a_log_with_a_branch_in_doubt(f);
  (void)snprintf(other, sizeof other, "%s-other", f->path);
  assert_int_equal(link(f->path, other), 0);
  fixture_refuses(f, VOW_E_LOG_IO, "hard links");
  assert_int_equal(unlink(other), 0);
  fixture_open(f);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
}

/* Closed in good order it is whole where it lies, and nothing is left for what has its name. */
static void a_log_that_was_moved_is_whole_once_it_is_closed(void **state) {
  struct fixture *f = *state;
  char aside[sizeof f->path + 8], wal[sizeof f->path + 8];
  struct stat file;
  (void)snprintf(aside, sizeof aside, "%s.aside", f->path);
  (void)snprintf(wal, sizeof wal, "%s-wal", f->path);
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  assert_int_equal(rename(f->path, aside), 0);
  fixture_close(f);
  assert_true(stat(wal, &file) != 0 || file.st_size == 0);
  assert_int_equal(rename(aside, f->path), 0);
  (void)unlink(wal);
  fixture_open(f);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
}

static void a_newer_log_is_left_alone(void **state) {
  struct fixture *f = *state;
  given_a_log_with_a_branch_in_doubt(f);
  run_sql(f->path, "UPDATE vow_meta SET value = '3' WHERE key = 'participant_log_version'");
  fixture_refuses(f, VOW_E_LOG_VERSION, "newer");
  run_sql(f->path, "UPDATE vow_meta SET value = '2' WHERE key = 'participant_log_version'");
  fixture_open(f);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
}

static void a_folder_that_is_missing_is_named(void **state) {
  struct fixture *f = *state;
  f->options.log_path = "/nonexistent/folder/votes";
  fixture_refuses(f, VOW_E_LOG_IO, "/nonexistent/folder/votes: cannot be opened; make its folder");
}

static void a_read_only_log_is_refused(void **state) {
  struct fixture *f = *state;
  given_a_log_with_a_branch_in_doubt(f);
  fault_vfs_set(FAULT_READ_ONLY);
  fixture_refuses(f, VOW_E_LOG_READ_ONLY, "permissions");
  fault_vfs_set(FAULT_NONE);
  fixture_open(f);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
}

/* A COMMIT that fails says nothing about the row: no vote leaves, and nothing else is answered. */
static void after_a_failed_commit_nothing_is_answered(struct fixture *f, enum fault fault) {
  fixture_open(f);
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  fault_vfs_set(fault);
  expect_part(send_message(f, "prepare", 2, ""), 500, "restart this participant");
  fault_vfs_set(FAULT_NONE);
  expect_part(send_message(f, "prepare", 3, ""), 500, "restart");
  expect_part(send_message(f, "commit", 1, ""), 500, "restart");
  assert_int_equal(f->app->commits, 0);
  fixture_reopen(f);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  eventually(send_message(f, "abort", 2, "").status == 200);
}

static void a_failed_sync_stops_all_answers(void **state) {
  after_a_failed_commit_nothing_is_answered(*state, FAULT_SYNC);
}

static void a_failed_write_stops_all_answers(void **state) {
  after_a_failed_commit_nothing_is_answered(*state, FAULT_WRITE);
}

static void a_full_disk_stops_all_answers(void **state) {
  after_a_failed_commit_nothing_is_answered(*state, FAULT_FULL);
}

static void a_vote_whose_sync_failed_is_not_sent_even_if_it_survived(void **state) {
  struct fixture *f = *state;
  f->options.prepare_leaves_nothing = 1; /* so that the vote is the first record */
  fixture_open(f);
  fault_vfs_set(FAULT_SYNC);
  expect_part(send_message(f, "prepare", 1, ""), 500, "urn:vow:log-io");
  fault_vfs_set(FAULT_NONE);
  fixture_reopen(f);
  /* Whichever it was, the participant now goes by what is on the disk. */
  struct vow_participant_stats stats;
  vow_participant_stats(f->participant, &stats);
  struct answer answer = send_message(f, "commit", 1, "");
  assert_int_equal(answer.status, stats.prepared == 1 ? 200 : 404);
}

static void the_wal_is_written_back_and_stays_small(void **state) {
  struct fixture *f = *state;
  struct stat wal;
  char path[160];
  fixture_open(f);
  for (unsigned n = 1; n <= 700; n++) {
    expect(send_message(f, "prepare", n, ""), 200, VOTE_COMMIT);
    expect(send_message(f, "commit", n, ""), 200, COMMITTED);
  }
  (void)snprintf(path, sizeof path, "%s-wal", f->path);
  assert_int_equal(stat(path, &wal), 0);
  assert_true(wal.st_size < 1100L * 4200);
  fixture_reopen(f);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
}

static void a_failed_checkpoint_stops_all_answers(void **state) {
  struct fixture *f = *state;
  fixture_open(f);
  fault_vfs_set(FAULT_DB_SYNC);
  unsigned n = 1;
  while (n < 2000 && send_message(f, "prepare", n, "").status == 200) n++;
  fault_vfs_set(FAULT_NONE);
  assert_true(n > 100 && n < 2000);
  expect_part(send_message(f, "prepare", n, ""), 500, "restart");
  fixture_reopen(f);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect(send_message(f, "commit", n - 1, ""), 200, COMMITTED);
}

/* The disk that statvfs shows. */
static bool nearly_full;

int __real_statvfs(const char *path, struct statvfs *out);
int __wrap_statvfs(const char *path, struct statvfs *out);

int __wrap_statvfs(const char *path, struct statvfs *out) {
  int result = __real_statvfs(path, out);
  if (nearly_full) out->f_bavail = 0;
  return result;
}

static void on_a_nearly_full_disk_nothing_begins_and_everything_ends(void **state) {
  struct fixture *f = *state;
  given_a_log_with_a_branch_in_doubt(f);
  nearly_full = true;
  fixture_open(f);
  expect_part(send_message(f, "prepare", 2, ""), 200, "nearly full");
  expect_part(send_message(f, "prepare", 2, ONE_PHASE), 500, "nearly full");
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect(send_message(f, "abort", 3, ""), 200, ABORTED);
  assert_int_equal(f->app->prepares, 1);
}

/* ---- many at once ---- */

struct sender {
  pthread_t thread;
  struct fixture *f;
  unsigned n;
  int status;
};

static void *send_prepare(void *context) {
  struct sender *sender = context;
  sender->status = send_message(sender->f, "prepare", sender->n, "").status;
  return NULL;
}

static void votes_that_come_together_share_a_sync(void **state) {
  struct fixture *f = *state;
  enum { COUNT = 32 };
  struct sender senders[COUNT];
  struct vow_participant_stats stats;
  f->options.callback_threads = COUNT;
  f->options.prepare_leaves_nothing = 1;
  fixture_open(f);
  app_hold(f->app, true);
  for (unsigned i = 0; i < COUNT; i++) {
    senders[i] = (struct sender){.f = f, .n = i + 1};
    assert_int_equal(pthread_create(&senders[i].thread, NULL, send_prepare, &senders[i]), 0);
  }
  app_await_waiting(f->app, COUNT);
  app_hold(f->app, false);
  for (unsigned i = 0; i < COUNT; i++) {
    pthread_join(senders[i].thread, NULL);
    assert_int_equal(senders[i].status, 200);
  }
  vow_participant_stats(f->participant, &stats);
  assert_int_equal(stats.log_records, COUNT);
  assert_true(stats.log_syncs < COUNT);
  assert_int_equal(stats.prepared, COUNT);
}

static uint64_t syncs_of(struct fixture *f) {
  struct vow_participant_stats stats;
  vow_participant_stats(f->participant, &stats);
  return stats.log_syncs;
}

/* Messages for transactions n to n + count - 1 in one request. */
static void send_batch(struct fixture *f, const char *type, unsigned n, unsigned count) {
  char text[16384] = "{\"messages\":[", body[1024];
  size_t bytes = strlen(text);
  for (unsigned i = 0; i < count; i++) {
    fixture_message(f, body, sizeof body, type, n + i, NO_WATERMARK, "");
    bytes += (size_t)snprintf(text + bytes, sizeof text - bytes, "%s{\"type\":\"%s\",%s",
                              i == 0 ? "" : ",", type, body + 1);
  }
  assert_true(bytes + 3 < sizeof text);
  memcpy(text + bytes, "]}", 3);
  assert_int_equal(send_raw(f, "POST", "/batch", "application/json", text).status, 200);
}

struct commits {
  pthread_t thread;
  struct fixture *f;
  unsigned n, count;
};

static void *send_commits(void *context) {
  struct commits *commits = context;
  send_batch(commits->f, "commit", commits->n, commits->count);
  return NULL;
}

/* Whether the commits of transactions from n on, and the votes on the next that come a moment
 * later, are written with one sync. */
static bool share_a_sync(struct fixture *f, unsigned n, unsigned count) {
  struct commits commits = {.f = f, .n = n, .count = count};
  uint64_t before = syncs_of(f);
  int done = atomic_load(&f->app->commits) + (int)count;
  assert_int_equal(pthread_create(&commits.thread, NULL, send_commits, &commits), 0);
  for (int i = 0; atomic_load(&f->app->commits) < done; i++) {
    assert_true(i < 200000);
    (void)usleep(50);
  }
  (void)usleep(200); /* the moment that is meant: the records are queued, and no vote is there */
  send_batch(f, "prepare", n + count, count);
  pthread_join(commits.thread, NULL);
  return syncs_of(f) - before == 1;
}

static void forget_lonely_writes(struct fixture *f) {
  struct vow_log *log = f->participant->log;
  pthread_mutex_lock(&log->lock);
  log->lonely = 0;
  pthread_mutex_unlock(&log->lock);
}

/* A busy machine may come late now and then, but not for ever. */
static void commits_wait_for_the_next_votes(struct fixture *f, unsigned count) {
  unsigned n = 1, in_a_row = 0;
  f->options.prepare_leaves_nothing = 1;
  f->options.callback_threads = 1;
  fixture_open(f);
  fault_vfs_set(FAULT_SLOW_SYNC);
  send_batch(f, "prepare", n, count);
  for (; in_a_row < 3; n += count) {
    forget_lonely_writes(f);
    in_a_row = share_a_sync(f, n, count) ? in_a_row + 1 : 0;
    assert_true(n < 1000 * count);
  }
}

static void a_commit_waits_a_moment_for_the_next_vote(void **state) {
  commits_wait_for_the_next_votes(*state, 1);
}

static void many_commits_wait_for_the_next_votes(void **state) {
  commits_wait_for_the_next_votes(*state, 5);
}

/* Quick ones, that is: what takes longer than a sync has one of its own. */
static void the_votes_of_a_batch_share_one_sync(void **state) {
  struct fixture *f = *state;
  enum { COUNT = 4 };
  unsigned n = 1, in_a_row = 0;
  f->options.prepare_leaves_nothing = 1;
  f->options.callback_threads = 1;
  f->app->nap_us = 50;
  fixture_open(f);
  fault_vfs_set(FAULT_SLOW_SYNC);
  expect(send_message(f, "prepare", n++, ""), 200, VOTE_COMMIT);
  for (; in_a_row < 3; n += COUNT) {
    uint64_t before = syncs_of(f);
    assert_true(n < 1000 * COUNT);
    send_batch(f, "prepare", n, COUNT);
    in_a_row = syncs_of(f) - before == 1 ? in_a_row + 1 : 0;
  }
}

/* Nor does it wait for ever, or as long as a disk takes that is very slow. */
static void a_commit_that_no_vote_follows_is_written(void **state) {
  struct fixture *f = *state;
  uint64_t took_ms = UINT64_MAX;
  fixture_open(f);
  fault_vfs_set(FAULT_VERY_SLOW_SYNC);
  for (unsigned n = 1; took_ms >= 2 * FAULT_VERY_SLOW_MS; n++) {
    assert_true(n < 20);
    expect(send_message(f, "prepare", n, ""), 200, VOTE_COMMIT);
    uint64_t from_ms = fixture_now_ms();
    expect(send_message(f, "commit", n, ""), 200, COMMITTED);
    took_ms = fixture_now_ms() - from_ms;
  }
}

/* In microseconds. */
static uint64_t time_of_commit(struct fixture *f, unsigned n) {
  struct timespec from, to;
  (void)clock_gettime(CLOCK_MONOTONIC, &from);
  expect(send_message(f, "commit", n, ""), 200, COMMITTED);
  (void)clock_gettime(CLOCK_MONOTONIC, &to);
  return (uint64_t)(to.tv_sec - from.tv_sec) * 1000000 + (uint64_t)to.tv_nsec / 1000 -
         (uint64_t)from.tv_nsec / 1000;
}

/* The first ones did, for two milliseconds; a busy machine only makes all of them slower. */
static void where_no_vote_ever_follows_commits_stop_waiting(void **state) {
  struct fixture *f = *state;
  enum { BATCH = 60, COUNT = 5 * BATCH, WAIT = 4 };
  uint64_t waiting_us = UINT64_MAX, others_us = UINT64_MAX / 2;
  fixture_open(f);
  fault_vfs_set(FAULT_SLOW_SYNC);
  for (unsigned n = 1; n <= COUNT; n += BATCH) send_batch(f, "prepare", n, BATCH);
  for (unsigned n = 1; n <= WAIT || others_us + 1000 >= waiting_us; n++) {
    assert_true(n <= COUNT);
    uint64_t took_us = time_of_commit(f, n), *least_us = n <= WAIT ? &waiting_us : &others_us;
    if (took_us < *least_us) *least_us = took_us;
  }
}

/* A callback that does not return holds up nobody else's record: the second is called only when the
 * record of its intent is on the disk. */
static void a_slow_callback_does_not_hold_up_the_log(void **state) {
  struct fixture *f = *state;
  struct sender senders[2] = {{.f = f, .n = 1}, {.f = f, .n = 2}};
  f->options.callback_threads = 2;
  fixture_open(f);
  app_hold(f->app, true);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(pthread_create(&senders[i].thread, NULL, send_prepare, &senders[i]), 0);
    app_await_waiting(f->app, i + 1);
  }
  app_hold(f->app, false);
  for (int i = 0; i < 2; i++) {
    pthread_join(senders[i].thread, NULL);
    assert_int_equal(senders[i].status, 200);
  }
}

/* Nor does a write keep a callback waiting, with one thread for callbacks or more. */
static void a_callback_runs_while_the_log_is_written(void **state) {
  struct fixture *f = *state;
  f->options.prepare_leaves_nothing = 1;
  for (uint32_t threads = 1; threads <= 2; threads++) {
    struct sender senders[2] = {{.f = f, .n = 2 * threads}, {.f = f, .n = 2 * threads + 1}};
    int before = atomic_load(&f->app->prepares);
    f->options.callback_threads = threads;
    fixture_open(f);
    fault_vfs_set(FAULT_HELD_SYNC);
    assert_int_equal(pthread_create(&senders[0].thread, NULL, send_prepare, &senders[0]), 0);
    eventually(fault_vfs_holds_sync());
    assert_int_equal(pthread_create(&senders[1].thread, NULL, send_prepare, &senders[1]), 0);
    eventually(atomic_load(&f->app->prepares) == before + 2);
    assert_true(fault_vfs_holds_sync());
    fault_vfs_set(FAULT_NONE);
    for (int i = 0; i < 2; i++) {
      pthread_join(senders[i].thread, NULL);
      assert_int_equal(senders[i].status, 200);
    }
    fixture_close(f);
  }
}

static int setup(void **state) {
  fault_vfs_set(FAULT_NONE);
  nearly_full = false;
  return fixture_setup(state);
}

#define test(function) cmocka_unit_test_setup_teardown(function, setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(one_log_is_for_one_participant),
      test(another_process_is_refused_until_the_first_has_died),
      test(a_flipped_bit_in_a_record_is_noticed),
      test(a_row_that_makes_no_sense_is_noticed),
      test(a_damaged_watermark_is_noticed),
      test(a_damaged_structure_is_noticed),
      test(a_file_that_is_no_database_is_refused),
      test(a_database_of_something_else_is_left_alone),
      test(a_log_of_two_names_is_refused),
      test(a_log_that_was_moved_is_whole_once_it_is_closed),
      test(a_newer_log_is_left_alone),
      test(a_folder_that_is_missing_is_named),
      test(a_read_only_log_is_refused),
      test(a_failed_sync_stops_all_answers),
      test(a_failed_write_stops_all_answers),
      test(a_full_disk_stops_all_answers),
      test(a_vote_whose_sync_failed_is_not_sent_even_if_it_survived),
      test(the_wal_is_written_back_and_stays_small),
      test(a_failed_checkpoint_stops_all_answers),
      test(on_a_nearly_full_disk_nothing_begins_and_everything_ends),
      test(votes_that_come_together_share_a_sync),
      test(a_commit_waits_a_moment_for_the_next_vote),
      test(many_commits_wait_for_the_next_votes),
      test(a_commit_that_no_vote_follows_is_written),
      test(where_no_vote_ever_follows_commits_stop_waiting),
      test(a_slow_callback_does_not_hold_up_the_log),
      test(a_callback_runs_while_the_log_is_written),
      test(the_votes_of_a_batch_share_one_sync),
  };
  fault_vfs_install();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
