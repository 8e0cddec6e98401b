/*
 * A log knows its starts and how far each came; the witness beside it remembers that, and a log
 * that is behind it, another log in its place, and a backup go into quarantine, durably, until they
 * are reconciled.
 */
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/hash.h"
#include "log_fixture.h"

static struct vow_log_info info(struct fixture *f) {
  struct vow_log_info out;
  vow_log_info(f->log, &out);
  return out;
}

static const char *beside(const struct fixture *f, const char *suffix) {
  static char names[4][128];
  static unsigned turn;
  char *name = names[turn++ % 4];
  (void)snprintf(name, sizeof names[0], "%s%s", f->path, suffix);
  return name;
}

static void copy(const char *from, const char *to) {
  char buffer[65536];
  ssize_t got;
  int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_true(in >= 0 && out >= 0);
  while ((got = read(in, buffer, sizeof buffer)) > 0)
    assert_int_equal(write(out, buffer, got), got);
  close(in);
  close(out);
}

/* One run: a few records, and the end in good order. */
static struct vow_log_info run(struct fixture *f, uint32_t first, uint32_t count) {
  fixture_open(f);
  struct vow_log_info found = info(f);
  for (uint32_t n = first; n < first + count; n++) {
    wait_durable(f, append_nth(f, n, VOW_TXN_COMMITTING, 0, true));
  }
  found.position = f->position;
  fixture_close(f);
  return found;
}

/* A run that dies, so that its records are in the write-ahead log only. */
static void die(void *context) {
  struct fixture *f = context;
  fixture_open(f);
  for (uint32_t n = 10; n < 13; n++) wait_durable(f, append_nth(f, n, VOW_TXN_COMMITTING, 0, true));
  kill(getpid(), SIGKILL);
}

static void expect_quarantine(struct fixture *f, const char *because) {
  fixture_open(f);
  if (info(f).quarantined_ms == 0 || strstr(info(f).why, because) == NULL) {
    fail_msg("it is not in quarantine because of %s: %s", because, info(f).why);
  }
}

static void expect_trust(struct fixture *f) {
  fixture_open(f);
  if (info(f).quarantined_ms != 0) fail_msg("it is in quarantine: %s", info(f).why);
}

/* Each start has an incarnation above those before, and remembers how far they came. */
static void each_start_knows_those_before(void **state) {
  struct fixture *f = *state;
  struct vow_log_info first = run(f, 1, 3), second = run(f, 4, 2);
  assert_int_equal(first.known_count, 0);
  assert_true(second.incarnation > first.incarnation);
  expect_trust(f);
  assert_int_equal(info(f).known_count, 2);
  assert_int_equal(info(f).known[0].number, first.incarnation);
  assert_int_equal(info(f).known[0].until, first.position);
  assert_int_equal(info(f).known[1].until, second.position);
  assert_int_equal(info(f).witness, LOG_WITNESS_READ);
  assert_int_equal(info(f).witnessed.position, second.position);
}

/* The witness is told after each sync, without a sync of its own. */
static void the_witness_knows_what_is_durable(void **state) {
  struct fixture *f = *state;
  struct vow_log_position at = {0};
  fixture_open(f);
  for (uint32_t n = 1; n <= 5; n++) {
    wait_durable(f, append_nth(f, n, VOW_TXN_COMMITTING, 0, true));
    assert_int_equal(log_witness_read(beside(f, "-witness"), &at), LOG_WITNESS_READ);
    assert_int_equal(at.position, f->position);
    assert_int_equal(at.incarnation, info(f).incarnation);
  }
  assert_int_equal(counts(f).witness_failures, 0);
}

/* One of the two lines may be torn: the other counts. With neither there is no witness. */
static void a_torn_witness_is_still_one(void **state) {
  struct fixture *f = *state;
  struct vow_log_position whole = {0}, torn = {0};
  run(f, 1, 4);
  assert_int_equal(log_witness_read(beside(f, "-witness"), &whole), LOG_WITNESS_READ);
  for (off_t offset = 0; offset <= 4096; offset += 4096) {
    int fd = open(beside(f, "-witness"), O_WRONLY);
    assert_int_equal(pwrite(fd, "X", 1, offset + 30), 1);
    close(fd);
    enum log_witness_state found = log_witness_read(beside(f, "-witness"), &torn);
    assert_int_equal(found, offset == 0 ? LOG_WITNESS_READ : LOG_WITNESS_UNREADABLE);
    assert_true(torn.position + 1 >= whole.position);
  }
  expect_trust(f);
  assert_int_equal(info(f).witness, LOG_WITNESS_UNREADABLE);
}

/* Torn lines may run numbers together that no number has room for: they are no lines, which is no
 * reason to refuse a log. */
static void a_torn_number_is_out_of_range(void **state) {
  static const char text[] = "vow witness incarnation 4 position 12 sum 01234567890abcdef\n";
  struct fixture *f = *state;
  char line[97];
  run(f, 1, 4);
  int fd = open(beside(f, "-witness"), O_WRONLY | O_TRUNC);
  assert_true(fd >= 0);
  snprintf(line, sizeof line, "%-96s", text);
  assert_int_equal(pwrite(fd, line, 96, 0), 96);
  close(fd);
  struct vow_log_position at = {0};
  assert_int_equal(log_witness_read(beside(f, "-witness"), &at), LOG_WITNESS_UNREADABLE);
  expect_trust(f);
  assert_int_equal(info(f).witness, LOG_WITNESS_UNREADABLE);
}

/* A missing witness is no lost log. */
static void a_missing_witness_is_no_lost_log(void **state) {
  struct fixture *f = *state;
  run(f, 1, 2);
  assert_int_equal(unlink(beside(f, "-witness")), 0);
  expect_trust(f);
  assert_int_equal(info(f).witness, LOG_WITNESS_MISSING);
  assert_int_equal(access(beside(f, "-witness"), F_OK), 0);
}

/* What the file says is not known: a start that went on would write over it. */
static void a_witness_that_cannot_be_read_now_is_no_missing_one(void **state) {
  struct fixture *f = *state;
  char why[VOW_LOG_WHY_BYTES];
  run(f, 1, 2);
  assert_int_equal(rename(beside(f, "-witness"), beside(f, "-aside")), 0);
  assert_int_equal(mkdir(beside(f, "-witness"), 0700), 0);
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_IO);
  assert_non_null(strstr(why, "cannot read the witness file"));
  assert_int_equal(rmdir(beside(f, "-witness")), 0);
  assert_int_equal(rename(beside(f, "-aside"), beside(f, "-witness")), 0);
  expect_trust(f);
  assert_int_equal(info(f).witness, LOG_WITNESS_READ);
}

/* Only root can give files away; as anybody else there is nothing to show. */
static void what_is_made_beside_the_log_is_whose_the_log_is(void **state) {
  static const char *const suffixes[] = {"-witness", "-reserve", "-wal"};
  struct fixture *f = *state;
  struct stat st;
  if (geteuid() != 0) skip();
  run(f, 1, 1);
  assert_int_equal(unlink(beside(f, "-witness")), 0);
  assert_int_equal(chown(f->path, 65534, 65534), 0);
  f->config.reserve_bytes = 1 << 16;
  fixture_open(f);
  wait_durable(f, append_nth(f, 2, VOW_TXN_COMMITTING, 0, true));
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    assert_int_equal(stat(beside(f, suffixes[i]), &st), 0);
    assert_int_equal(st.st_uid, 65534);
    assert_int_equal(st.st_gid, 65534);
    assert_int_equal(st.st_mode & 0777, 0600);
  }
}

/* The end of the write-ahead log is cut away, as a flipped bit in it would: SQLite says that all
 * is well. */
static void a_log_that_lost_its_end_is_noticed(void **state) {
  struct fixture *f = *state;
  struct stat st;
  run(f, 1, 2);
  (void)in_child(die, f);
  assert_int_equal(stat(beside(f, "-wal"), &st), 0);
  assert_int_equal(truncate(beside(f, "-wal"), st.st_size - 2000), 0);
  f->config.create = false;
  expect_quarantine(f, "its witness file has seen it at position");
  struct vow_log_position seen = info(f).seen;
  assert_true(seen.position > info(f).position);
  fixture_close(f);
  expect_quarantine(f, "its witness file"); /* also at the next start */
  assert_int_equal(info(f).seen.position, seen.position);
}

/* An older copy of the file, or another log in its place, is noticed; also when it has come
 * further meanwhile. */
static void another_log_is_noticed(void **state) {
  struct fixture *f = *state;
  run(f, 1, 2);
  copy(f->path, beside(f, ".old"));
  run(f, 3, 3);
  copy(beside(f, "-witness"), beside(f, ".witness"));
  assert_int_equal(rename(beside(f, ".old"), f->path), 0);
  copy(f->path, beside(f, ".old"));
  expect_quarantine(f, "its witness file has seen it");
  fixture_close(f);
  assert_int_equal(rename(beside(f, ".old"), f->path), 0);
  unlink(beside(f, "-witness"));
  run(f, 3, 20); /* another story, and further than the first */
  assert_int_equal(rename(beside(f, ".witness"), beside(f, "-witness")), 0);
  expect_quarantine(f, "its witness file has seen it");
  fixture_close(f);
  assert_int_equal(unlink(f->path), 0);
  f->config.create = true;
  expect_quarantine(f, "it ends at position 0"); /* an empty one in place of the lost one */
}

/* What a participant says is kept, too. */
static void what_a_witness_says_is_durable(void **state) {
  struct fixture *f = *state;
  struct vow_action action = {.type = VOW_ACTION_LOG};
  fixture_open(f);
  action.u.log.record = VOW_RECORD_QUARANTINE;
  action.u.log.position = ++f->position;
  action.u.log.forced = true;
  action.u.log.seen = (struct vow_log_position){7, 99};
  action.u.log.by = "http://bank-a";
  assert_int_equal(vow_log_append(f->log, &action), VOW_OK);
  vow_log_flush(f->log, 0);
  wait_durable(f, f->position);
  fixture_close(f);
  expect_quarantine(f, "http://bank-a has seen it at position 99 of incarnation 7");
  assert_int_equal(info(f).seen.position, 99);
}

static void take_done(void *context, const struct vow_log_result *result) {
  if (result->error != VOW_OK) fail_msg("%s", result->why);
  *(bool *)context = true;
}

/* A backup says that it is one, is not in quarantine, and is as soon as it is started on. */
static void a_backup_is_in_quarantine_once_it_is_started_on(void **state) {
  struct fixture *f = *state;
  bool done = false;
  fixture_open_only(f);
  struct vow_log_query query = {.type = VOW_LOG_QUERY_BACKUP,
                                .path = beside(f, ".backup"),
                                .done = take_done,
                                .context = &done};
  assert_int_equal(vow_log_query_now(f->log, &query), VOW_OK);
  assert_true(done);
  fixture_close(f);
  assert_int_equal(access(beside(f, ".backup-wal"), F_OK), -1);
  (void)snprintf(f->path, sizeof f->path, "%s", query.path);
  f->config.path = f->path;
  f->config.read_only = true;
  fixture_open_only(f);
  assert_true(info(f).backup_ms != 0 && info(f).quarantined_ms == 0);
  fixture_close(f);
  f->config.read_only = false;
  expect_quarantine(f, "it was started from a backup");
  assert_int_equal(info(f).backup_ms, 0);
}

/* Reconciled, it knows what its witnesses saw, is ahead of it, and presumes nothing of before. */
static void a_reconciliation_ends_it(void **state) {
  struct fixture *f = *state;
  struct vow_id above = vow_id_floor(fixture_now_ms() + HOUR_MS, 0);
  char why[VOW_LOG_WHY_BYTES];
  struct stat st;
  run(f, 1, 2);
  (void)in_child(die, f);
  assert_int_equal(stat(beside(f, "-wal"), &st), 0);
  assert_int_equal(truncate(beside(f, "-wal"), st.st_size - 2000), 0);
  fixture_open_only(f);
  struct vow_log_position seen = info(f).seen;
  struct vow_incarnation judged = {seen.incarnation, seen.position};
  struct vow_txn txn = nth_txn(40, VOW_TXN_COMMITTING, 0);
  struct vow_log_reconciled decided = {.txns = &txn, .count = 1, .ids_above = above};
  assert_int_equal(vow_log_reconcile(f->log, &decided, why), VOW_OK);
  fixture_close(f);
  expect_quarantine(f, "its witness file"); /* something was decided, and not all */
  assert_int_equal(find_state(f, 40), VOW_TXN_COMMITTING);
  fixture_close(f);
  fixture_open_only(f);
  decided = (struct vow_log_reconciled){
      .leave = true, .judged = &judged, .judged_count = 1, .ids_above = above};
  assert_int_equal(vow_log_reconcile(f->log, &decided, why), VOW_OK);
  fixture_close(f);
  vow_txn_fini(&txn);
  expect_trust(f);
  assert_true(info(f).position > seen.position);
  assert_int_equal(vow_id_compare(info(f).id_ceiling, above), 0);
  assert_int_equal(vow_id_compare(info(f).presume_from, above), 0);
  assert_true(vow_log_knows(info(f).known, info(f).known_count, seen));
  seen.position++;
  assert_false(vow_log_knows(info(f).known, info(f).known_count, seen));
}

/* What ended here, and was decided the other way before the log lost it, goes on. */
static void a_reconciliation_opens_again_what_has_ended(void **state) {
  struct fixture *f = *state;
  struct answer check;
  char why[VOW_LOG_WHY_BYTES];
  fixture_open(f);
  wait_durable(f, append_nth(f, 1, VOW_TXN_ABORTED, fixture_now_ms(), true));
  fixture_close(f);
  fixture_open_only(f);
  struct vow_txn txn = nth_txn(1, VOW_TXN_COMMITTING, 0);
  struct vow_log_reconciled decided = {.txns = &txn, .count = 1};
  assert_int_equal(vow_log_reconcile(f->log, &decided, why), VOW_OK);
  vow_txn_fini(&txn);
  fixture_close(f);
  fixture_open(f);
  assert_int_equal(info(f).open, 1);
  assert_int_equal(info(f).ended, 0);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &check);
  assert_int_equal(check.result.error, VOW_OK);
  assert_int_equal(check.result.rows_checked, 1);
  answer_fini(&check);
}

/* With a clock that was put back while `vowctl reconcile` was at work ids go on behind the gap that
 * its start has left: none of them is taken for one that was never issued. */
static void ids_go_on_behind_the_start_that_reconciled(void **state) {
  struct fixture *f = *state;
  char why[VOW_LOG_WHY_BYTES];
  run(f, 1, 2);
  fixture_open_only(f);
  struct vow_id from = info(f).id_from;
  struct vow_log_reconciled decided = {.leave = true};
  decided.ids_above = vow_id_floor(vow_id_unix_ms(from) - 1, 0);
  assert_int_equal(vow_log_reconcile(f->log, &decided, why), VOW_OK);
  fixture_close(f);
  expect_trust(f);
  assert_true(vow_id_compare(info(f).id_ceiling, from) >= 0);
  assert_true(vow_id_compare(info(f).presume_from, from) >= 0);
}

/* A log of the format before is upgraded; read-only it is read as it is. */
static void an_older_log_is_upgraded(void **state) {
  struct fixture *f = *state;
  run(f, 1, 2);
  unlink(beside(f, "-witness"));
  fixture_change(f, MAKE_FORMAT_5
                 "DROP TABLE trust; DROP TABLE incarnation; DROP TABLE id_gap;"
                 "PRAGMA user_version = 3");
  f->config.read_only = true;
  fixture_open_only(f);
  assert_int_equal(info(f).known_count, 0);
  fixture_close(f);
  f->config.read_only = false;
  expect_trust(f);
  assert_int_equal(find_state(f, 2), VOW_TXN_COMMITTING);
  fixture_close(f);
  expect_trust(f); /* and it is the new format now */
  assert_int_equal(info(f).known_count, 1);
}

/* Of the one in between, too, whose starts count as before. */
static void a_log_without_gaps_is_upgraded(void **state) {
  struct fixture *f = *state;
  run(f, 1, 2);
  fixture_change(f, MAKE_FORMAT_5 "DROP TABLE id_gap; PRAGMA user_version = 4");
  f->config.read_only = true;
  fixture_open_only(f);
  assert_int_equal(info(f).known_count, 1);
  assert_int_equal(info(f).gap_count, 0);
  fixture_close(f);
  f->config.read_only = false;
  expect_trust(f);
  fixture_close(f);
  expect_trust(f);
  assert_int_equal(info(f).known_count, 2);
}

static void set_ceiling(struct fixture *f, struct vow_id ceiling) {
  struct vow_action action = {.type = VOW_ACTION_LOG};
  expect_trust(f);
  action.u.log.record = VOW_RECORD_ID_CEILING;
  action.u.log.ceiling = ceiling;
  action.u.log.forced = true;
  action.u.log.position = ++f->position;
  assert_int_equal(vow_log_append(f->log, &action), VOW_OK);
  vow_log_flush(f->log, 0);
  wait_durable(f, f->position);
  fixture_close(f);
}

/* Ids from the end of one start to the beginning of the next were issued by nobody; a start that
 * has issued none leaves what it found, and a clock that was put back leaves nothing in between. */
static void ids_between_two_starts_are_nobodys(void **state) {
  struct fixture *f = *state;
  uint64_t now_ms = (uint64_t)time(NULL) * 1000;
  struct vow_id hour_ago = vow_id_floor(now_ms - HOUR_MS, 0);
  struct vow_id half = vow_id_floor(now_ms - HOUR_MS / 2, 0);
  struct vow_id ahead = vow_id_floor(now_ms + HOUR_MS, 0);
  uint32_t gaps = 0;
  set_ceiling(f, hour_ago);
  fixture_change(f, "DELETE FROM id_gap"); /* of when it was made, just now */
  for (int i = 0; i < 3; i++) {
    expect_trust(f);
    assert_true(vow_id_in_gap(info(f).gaps, info(f).gap_count, hour_ago));
    assert_true(vow_id_in_gap(info(f).gaps, info(f).gap_count, half));
    assert_true(vow_id_compare(info(f).id_from, half) > 0);
    assert_false(vow_id_in_gap(info(f).gaps, info(f).gap_count, info(f).id_from));
    gaps = info(f).gap_count;
    fixture_close(f);
  }
  assert_int_equal(gaps, 1);
  set_ceiling(f, ahead);
  expect_trust(f);
  assert_int_equal(info(f).gap_count, gaps);
  assert_int_equal(vow_id_compare(info(f).id_from, ahead), 0);
  fixture_close(f);
  fixture_change(f, "UPDATE id_gap SET below = zeroblob(16)");
  char why[VOW_LOG_WHY_BYTES];
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_CORRUPT);
  assert_non_null(strstr(why, "id_gap"));
}

/* A start that never came to issue ids, with a clock far ahead, leaves a gap that begins where the
 * next goes on. With the clock put back ids are issued in there, and they are this log's. */
static void a_gap_ends_where_ids_go_on(void **state) {
  struct fixture *f = *state;
  uint64_t now_ms = (uint64_t)time(NULL) * 1000;
  struct vow_id ahead = vow_id_floor(now_ms + HOUR_MS, 0);
  struct vow_id further = vow_id_floor(now_ms + 2 * HOUR_MS, 0);
  uint8_t row[32];
  char from[33] = "", below[33] = "", sql[200];
  set_ceiling(f, ahead);
  memcpy(row, ahead.bytes, 16);
  memcpy(row + 16, further.bytes, 16);
  for (size_t i = 0; i < 16; i++) {
    (void)snprintf(from + 2 * i, 3, "%02x", ahead.bytes[i]);
    (void)snprintf(below + 2 * i, 3, "%02x", further.bytes[i]);
  }
  (void)snprintf(sql, sizeof sql, "INSERT INTO id_gap VALUES(x'%s', x'%s', %lld)", from, below,
                 (long long)vow_hash64(row, sizeof row, 0));
  fixture_change(f, sql);
  for (int i = 0; i < 2; i++) {
    expect_trust(f);
    assert_int_equal(vow_id_compare(info(f).id_from, ahead), 0);
    assert_false(vow_id_in_gap(info(f).gaps, info(f).gap_count, ahead));
    fixture_close(f);
  }
}

/* A stray hand is noticed here as it is in rows. */
static void rows_are_checked(void **state) {
  struct fixture *f = *state;
  char why[VOW_LOG_WHY_BYTES];
  run(f, 1, 2);
  fixture_change(f, "UPDATE incarnation SET until = 1000");
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_CORRUPT);
  assert_non_null(strstr(why, "incarnation"));
  fixture_change(f, "DELETE FROM incarnation; UPDATE trust SET since_ms = 5");
  assert_int_equal(fixture_try(f, why), VOW_E_LOG_CORRUPT);
  assert_non_null(strstr(why, "trust"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_drop)
  const struct CMUnitTest tests[] = {
      TEST(each_start_knows_those_before),
      TEST(the_witness_knows_what_is_durable),
      TEST(a_torn_witness_is_still_one),
      TEST(a_torn_number_is_out_of_range),
      TEST(a_missing_witness_is_no_lost_log),
      TEST(a_witness_that_cannot_be_read_now_is_no_missing_one),
      TEST(what_is_made_beside_the_log_is_whose_the_log_is),
      TEST(a_log_that_lost_its_end_is_noticed),
      TEST(another_log_is_noticed),
      TEST(what_a_witness_says_is_durable),
      TEST(a_backup_is_in_quarantine_once_it_is_started_on),
      TEST(a_reconciliation_ends_it),
      TEST(a_reconciliation_opens_again_what_has_ended),
      TEST(ids_go_on_behind_the_start_that_reconciled),
      TEST(an_older_log_is_upgraded),
      TEST(a_log_without_gaps_is_upgraded),
      TEST(ids_between_two_starts_are_nobodys),
      TEST(a_gap_ends_where_ids_go_on),
      TEST(rows_are_checked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
