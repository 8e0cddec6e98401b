/* A process that is killed at any moment loses nothing that it called durable, whatever it was
 * doing: writing, writing back, purging, copying, starting, or making its log. */
#include "log_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILLS 12

/* What the writer tells before it dies: every number up to `durable` of this round is on the disk.
 */
struct told {
  uint32_t round, durable;
};

/* Transaction (round, i): two records, the decision forced and the end not; small WAL, much
 * purging. */
static uint32_t number(uint32_t round, uint32_t i) {
  return round * 100000 + i;
}

static void write_until_killed(struct fixture *f, uint32_t round, int tell) {
  char copy[128];
  struct vow_log_query backup = {.type = VOW_LOG_QUERY_BACKUP, .path = copy};
  struct answer answer;
  snprintf(copy, sizeof copy, "%s/copy-%u", f->folder, round);
  fixture_open(f);
  for (uint32_t i = 1;; i++) {
    append_nth(f, number(round, i), VOW_TXN_COMMITTING, 0, true);
    if (i > 3) append_nth(f, number(round, i - 3), VOW_TXN_COMMITTED, fixture_now_ms(), false);
    wait_durable(f, f->position - (i > 3 ? 1 : 0));
    struct told told = {round, i};
    if (write(tell, &told, sizeof told) != sizeof told) _exit(1);
    if (i == 40) {
      ask(f, backup, &answer);
      answer_fini(&answer);
    }
  }
}

/* Lets a writer run until it has told `enough`, kills it somewhere behind that, and returns what it
 * told last. */
static struct told run_and_kill(struct fixture *f, uint32_t round, uint32_t enough) {
  int tell[2], status;
  struct told told = {round, 0}, next;
  assert_int_equal(pipe(tell), 0);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    close(tell[0]);
    write_until_killed(f, round, tell[1]);
  }
  close(tell[1]);
  while (read(tell[0], &next, sizeof next) == sizeof next) {
    told = next;
    if (told.durable == enough) kill(pid, SIGKILL);
  }
  close(tell[0]);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  assert_true(told.durable >= enough);
  return told;
}

static void what_was_called_durable_is_there_after_every_kill(void **state) {
  struct fixture *f = *state;
  struct told told[KILLS];
  struct answer answer;
  f->config.wal_bytes_max = 60000;
  f->config.lazy_flush_ms = 1;
  for (uint32_t round = 0; round < KILLS; round++) {
    told[round] = run_and_kill(f, round, 1 + round * round * 2 % 97);
    fixture_open_only(f);
    struct vow_log_info info;
    vow_log_info(f->log, &info);
    assert_int_equal(info.starts, 2 * (round + 1));
    ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &answer);
    if (answer.result.error != VOW_OK) fail_msg("after kill %u: %s", round, answer.why);
    answer_fini(&answer);
    for (uint32_t r = 0; r <= round; r++) {
      for (uint32_t i = 1; i <= told[r].durable; i++) {
        enum vow_txn_state found = find_state(f, number(r, i));
        assert_true(found == VOW_TXN_COMMITTING || found == VOW_TXN_COMMITTED);
      }
    }
    fixture_close(f);
  }
}

static void start_and_stop(void *context) {
  struct fixture *f = context;
  fixture_open(f);
  wait_durable(f, append_nth(f, f->position + 1, VOW_TXN_COMMITTING, 0, true));
  fixture_close(f);
}

/* The child is killed a little later each time, from before its log exists to after it is closed.
 */
static void a_start_may_be_killed_at_any_time(void **state) {
  struct fixture *f = *state;
  bool whole = false;
  uint64_t last = 0;
  for (uint64_t us = 0; us < DEADLINE_MS * 1000 && !whole; us += 250 + us / 16) {
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
      start_and_stop(f);
      _exit(0);
    }
    nanosleep(&(struct timespec){.tv_sec = (time_t)(us / 1000000),
                                 .tv_nsec = (long)(us % 1000000) * 1000},
              NULL);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    whole = WIFEXITED(status);
    char why[VOW_LOG_WHY_BYTES];
    enum vow_error error = fixture_try(f, why);
    if (error != VOW_OK) fail_msg("killed after %lu us: %s", (unsigned long)us, why);
    struct vow_log_info info;
    vow_log_info(f->log, &info);
    assert_true(info.starts > last);
    assert_int_equal(info.open, info.position);
    last = info.starts;
    fixture_close(f);
  }
  assert_true(whole);
}

/* A newer version that was killed before it had written its upgrade back. */
static void a_newer_format_in_the_wal_is_refused(void **state) {
  struct fixture *f = *state;
  char why[VOW_LOG_WHY_BYTES];
  sqlite3 *db = NULL;
  fixture_open(f);
  fixture_close(f);
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_VERSION);
  assert_non_null(strstr(why, "has format 99"));
}

/* ---- a power cut ---- */

#define FRAME_BYTES (24 + 8192)

static void decide_and_die(void *context) {
  struct fixture *f = context;
  fixture_open(f);
  for (uint32_t n = 1; n <= 3; n++) wait_durable(f, append_nth(f, n, VOW_TXN_COMMITTING, 0, true));
  kill(getpid(), SIGKILL);
}

/* A transaction too large for SQLite's cache is rolled back, its frames are left in the WAL, and a
 * shorter one begins to overwrite them. Returns what the first frame was before that. */
static uint8_t *overwrite_what_was_given_up(struct fixture *f, int wal, off_t end) {
  uint8_t *first = malloc(FRAME_BYTES);
  sqlite3 *db = NULL;
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  (void)sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  assert_int_equal(sqlite3_exec(db,
                                "PRAGMA cache_size = 2; BEGIN; UPDATE open_txn SET record ="
                                " record || hex(randomblob(40000)); ROLLBACK",
                                NULL, NULL, NULL),
                   SQLITE_OK);
  off_t long_end = lseek(wal, 0, SEEK_END);
  assert_int_equal(pread(wal, first, FRAME_BYTES, end), FRAME_BYTES);
  assert_int_equal(sqlite3_exec(db, "UPDATE open_txn SET record = record || hex(randomblob(8000))",
                                NULL, NULL, NULL),
                   SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
  assert_int_equal(lseek(wal, 0, SEEK_END), long_end); /* it is shorter */
  return first;
}

/* The power fails while that is being synced, and all of it is on the disk but its first frame.
 * Behind its commit, which nobody was told of, stand frames of the same use of the file. */
static void what_was_given_up_is_no_sign_of_damage(void **state) {
  struct fixture *f = *state;
  char name[128], why[VOW_LOG_WHY_BYTES];
  in_child(decide_and_die, f);
  snprintf(name, sizeof name, "%s-wal", f->path);
  int wal = open(name, O_RDWR);
  assert_true(wal >= 0);
  off_t end = lseek(wal, 0, SEEK_END);
  uint8_t *first = overwrite_what_was_given_up(f, wal, end);
  assert_int_equal(pwrite(wal, first, FRAME_BYTES, end), FRAME_BYTES);
  close(wal);
  free(first);
  if (fixture_try(f, why) != VOW_OK) fail_msg("%s", why);
  for (uint32_t n = 1; n <= 3; n++) assert_int_equal(find_state(f, n), VOW_TXN_COMMITTING);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_drop)
  const struct CMUnitTest tests[] = {
      TEST(what_was_called_durable_is_there_after_every_kill),
      TEST(a_start_may_be_killed_at_any_time),
      TEST(a_newer_format_in_the_wal_is_refused),
      TEST(what_was_given_up_is_no_sign_of_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
