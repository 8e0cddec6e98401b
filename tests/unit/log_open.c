/* A log that cannot be believed or used is refused with a sentence that says what to do, and stays
 * as it was found. */
#include "log_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- files as bytes ---- */

struct bytes {
  uint8_t *data;
  size_t count;
};

static struct bytes read_file(const char *path) {
  struct bytes bytes = {0};
  FILE *file = fopen(path, "rb");
  if (file == NULL) return bytes;
  fseek(file, 0, SEEK_END);
  bytes.count = (size_t)ftell(file);
  rewind(file);
  bytes.data = malloc(bytes.count + 1);
  assert_int_equal(fread(bytes.data, 1, bytes.count, file), bytes.count);
  fclose(file);
  return bytes;
}

static void write_file(const char *path, const void *data, size_t count) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, count, file), count);
  assert_int_equal(fclose(file), 0);
}

static void expect_unchanged(const char *path, const struct bytes *before) {
  struct bytes now = read_file(path);
  assert_int_equal(now.count, before->count);
  assert_memory_equal(now.data, before->data, now.count);
  free(now.data);
}

static void expect_refused(struct fixture *f, enum vow_error expected, const char *word) {
  char why[VOW_LOG_WHY_BYTES] = "";
  enum vow_error error = fixture_try(f, why);
  if (error != expected) fail_msg("error %d, not %d: %s", error, expected, why);
  if (strstr(why, word) == NULL) fail_msg("\"%s\" does not say \"%s\"", why, word);
  assert_null(f->log);
}

/* A log with `rows` open transactions and as many ended ones, closed in good order. */
static void fill(struct fixture *f, uint32_t rows) {
  fixture_open(f);
  for (uint32_t n = 1; n <= rows; n++) {
    append_nth(f, 2 * n, VOW_TXN_COMMITTING, 0, false);
    append_nth(f, 2 * n + 1, VOW_TXN_COMMITTED, fixture_now_ms(), false);
  }
  fixture_close(f);
}

/* ---- damage ---- */

static void what_is_not_a_log_is_refused(void **state) {
  struct fixture *f = *state;
  struct bytes text = {(uint8_t *)strdup("this is a letter to my mother, and it is not short; it "
                                         "goes on for more than a hundred bytes, as letters do."),
                       0};
  text.count = strlen((char *)text.data);
  write_file(f->path, text.data, text.count);
  expect_refused(f, VOW_E_LOG_CORRUPT, "not a vow log");
  expect_unchanged(f->path, &text);
  write_file(f->path, "", 0);
  expect_refused(f, VOW_E_LOG_CORRUPT, "0 bytes");
  unlink(f->path);
  fixture_change(f, "CREATE TABLE mine(x)");
  free(text.data);
  text = read_file(f->path);
  expect_refused(f, VOW_E_LOG_CORRUPT, "not a vow log");
  expect_unchanged(f->path, &text);
  free(text.data);
}

static void a_newer_log_is_refused_with_its_version(void **state) {
  struct fixture *f = *state;
  fill(f, 1);
  fixture_change(f, "PRAGMA user_version = 99");
  struct bytes before = read_file(f->path);
  expect_refused(f, VOW_E_LOG_VERSION, "format 99");
  expect_unchanged(f->path, &before);
  free(before.data);
}

static void expect_address(struct fixture *f, const char *url) {
  struct vow_log_info info;
  vow_log_info(f->log, &info);
  assert_string_equal(info.advertise_url, url);
  fixture_close(f);
}

static void the_address_of_the_daemon_is_remembered(void **state) {
  struct fixture *f = *state;
  fixture_open_only(f);
  expect_address(f, "");
  f->config.advertise_url = "http://one:1";
  fixture_open_only(f);
  expect_address(f, "http://one:1");
  f->config.advertise_url = NULL;
  fixture_open_only(f);
  expect_address(f, "http://one:1");
  fixture_change(f, "UPDATE head SET advertise_url = 'http://two:2'");
  expect_refused(f, VOW_E_LOG_CORRUPT, "checksum");
}

#define OLDEST " WHERE place = (SELECT min(place) FROM open_txn)"

static void a_changed_row_is_named(void **state) {
  struct fixture *f = *state;
  static const char *const changes[] = {
      "UPDATE open_txn SET record = replace(record, 'bank-a', 'bank-x')" OLDEST,
      "UPDATE open_txn SET place = place + 1" OLDEST,
      "UPDATE open_txn SET checksum = checksum + 1" OLDEST,
      "UPDATE open_txn SET id = x'018bcfe568027002800000000000ffff'" OLDEST,
  };
  fill(f, 3);
  struct bytes good = read_file(f->path);
  for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
    fixture_change(f, changes[i]);
    struct bytes bad = read_file(f->path);
    expect_refused(f, VOW_E_LOG_CORRUPT, "018bcfe5-6802-7002-8");
    expect_unchanged(f->path, &bad);
    free(bad.data);
    write_file(f->path, good.data, good.count);
  }
  fixture_change(f, "UPDATE head SET position = 3");
  expect_refused(f, VOW_E_LOG_CORRUPT, "head");
  write_file(f->path, good.data, good.count);
  fixture_change(f, "DELETE FROM head");
  expect_refused(f, VOW_E_LOG_CORRUPT, "head");
  write_file(f->path, good.data, good.count);
  fixture_change(f, "DROP TABLE ended_txn");
  expect_refused(f, VOW_E_LOG_CORRUPT, "ended_txn");
  write_file(f->path, good.data, good.count);
  fixture_open_only(f); /* the file itself is fine: each refusal was the change's doing */
  free(good.data);
}

static void a_cut_file_is_refused_and_stays_as_it_is(void **state) {
  struct fixture *f = *state;
  fill(f, 40);
  struct bytes good = read_file(f->path);
  const size_t lengths[] = {
      1, 99, 100, 4096, 8192, 3 * 8192 + 17, 8 * 8192, good.count - 8192, good.count - 1};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    struct bytes cut = {good.data, lengths[i]};
    write_file(f->path, cut.data, cut.count);
    expect_refused(f, VOW_E_LOG_CORRUPT, cut.count < 100 ? "damaged" : "cut short");
    expect_unchanged(f->path, &cut);
  }
  free(good.data);
}

/* Flips single bits all over a small log. Either the log is refused and left alone, or what it says
 * of every open transaction is what was written. */
static void a_flipped_bit_is_never_believed(void **state) {
  struct fixture *f = *state;
  char why[VOW_LOG_WHY_BYTES];
  uint32_t refused = 0;
  fill(f, 40);
  struct bytes good = read_file(f->path);
  for (size_t at = 7; at < good.count; at += 331) {
    good.data[at] ^= (uint8_t)(1u << (at % 8));
    write_file(f->path, good.data, good.count);
    enum vow_error error = fixture_try(f, why);
    if (error != VOW_OK) {
      assert_true(error == VOW_E_LOG_CORRUPT || error == VOW_E_LOG_VERSION);
      expect_unchanged(f->path, &good);
      refused++;
    } else {
      for (uint32_t n = 1; n <= 40; n++) assert_int_equal(find_state(f, 2 * n), VOW_TXN_COMMITTING);
      fixture_close(f);
    }
    good.data[at] ^= (uint8_t)(1u << (at % 8));
  }
  assert_true(refused > 20);
  free(good.data);
}

static void write_and_die(void *context) {
  struct fixture *f = context;
  fixture_open(f);
  for (uint32_t n = 1; n <= 12; n++) {
    append_nth(f, n, VOW_TXN_COMMITTING, 0, true);
    wait_durable(f, f->position);
  }
  _exit(0);
}

/* SQLite takes the first frame that does not match for the end of its log, and says that all is
 * well. The last commits and the header, which a crash may tear, are left out. */
static void records_behind_a_broken_wal_are_never_passed_over(void **state) {
  struct fixture *f = *state;
  char wal[128], why[VOW_LOG_WHY_BYTES];
  snprintf(wal, sizeof wal, "%s-wal", f->path);
  assert_int_equal(in_child(write_and_die, f), 0);
  struct bytes log = read_file(f->path), good = read_file(wal);
  size_t before_last = good.count - (good.count - 32) / 12 * 2;
  assert_true(good.count > 12 * 8192);
  for (size_t at = 32; at < before_last; at += at < 64 ? 1 : 1009) {
    good.data[at] ^= (uint8_t)(1u << (at % 8));
    write_file(wal, good.data, good.count);
    expect_refused(f, VOW_E_LOG_CORRUPT, "write-ahead log");
    expect_unchanged(f->path, &log);
    expect_unchanged(wal, &good);
    good.data[at] ^= (uint8_t)(1u << (at % 8));
  }
  for (size_t count = good.count; count > 8192; count -= 8192) {
    write_file(f->path, log.data, log.count);
    write_file(wal, good.data, count);
    if (fixture_try(f, why) != VOW_OK) fail_msg("torn after %zu bytes: %s", count, why);
    if (count == good.count) assert_int_equal(find_state(f, 12), VOW_TXN_COMMITTING);
    fixture_close(f);
  }
  free(log.data);
  free(good.data);
}

#define FRAME_BYTES (24 + 8192)

static off_t size_of(const char *path) {
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  return st.st_size;
}

/* Small transactions over 30 frames of the WAL, and a last one over more than another 20. */
static void write_long_and_die(void *context) {
  struct fixture *f = context;
  char wal[128], *reason = calloc(1, 200001);
  snprintf(wal, sizeof wal, "%s-wal", f->path);
  fixture_open(f);
  for (uint32_t n = 1; size_of(wal) < 32 + 30 * FRAME_BYTES; n++)
    wait_durable(f, append_nth(f, n, VOW_TXN_COMMITTING, 0, true));
  struct vow_txn txn = nth_txn(1000, VOW_TXN_COMMITTING, 0);
  memset(reason, 'r', 200000);
  set_text(&txn.reason, reason);
  wait_durable(f, append(f, &txn, true));
  _exit(0);
}

/* A power cut while the last transaction was being written leaves some of its frames, and of the
 * 42nd, whose header lies across two sectors, one half: behind the mark of a commit that an older
 * use of the file left there come the salts of this one. Elsewhere such a mark is no crash's. */
static void half_a_header_is_no_commit(void **state) {
  struct fixture *f = *state;
  char wal[128], why[VOW_LOG_WHY_BYTES];
  snprintf(wal, sizeof wal, "%s-wal", f->path);
  assert_int_equal(in_child(write_long_and_die, f), 0);
  struct bytes log = read_file(f->path), good = read_file(wal);
  assert_true(good.count > 32 + 50 * FRAME_BYTES);
  memset(good.data + 32 + 39 * FRAME_BYTES + 24, 0, 8192); /* the 40th was not written */
  uint8_t *mark = good.data + 32 + 40 * FRAME_BYTES + 4;
  mark[3] = 9; /* of the 41st */
  write_file(wal, good.data, good.count);
  expect_refused(f, VOW_E_LOG_CORRUPT, "write-ahead log");
  mark[3] = 0;
  mark[FRAME_BYTES + 3] = 9; /* of the 42nd */
  write_file(f->path, log.data, log.count);
  write_file(wal, good.data, good.count);
  if (fixture_try(f, why) != VOW_OK) fail_msg("half a header: %s", why);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
  assert_int_equal(find_state(f, 1000), 0);
  fixture_close(f);
  free(log.data);
  free(good.data);
}

static void a_wal_without_its_log_is_not_taken_for_another(void **state) {
  struct fixture *f = *state;
  char wal[128];
  snprintf(wal, sizeof wal, "%s-wal", f->path);
  write_file(wal, "decisions", 9);
  expect_refused(f, VOW_E_LOG_CORRUPT, "put the log back");
  f->config.create = false;
  expect_refused(f, VOW_E_LOG_IO, "put the log back");
  f->config.create = f->config.read_only = true;
  expect_refused(f, VOW_E_LOG_IO, "put the log back");
  assert_int_equal(access(f->path, F_OK), -1);
}

/* ---- the file system ---- */

static void a_missing_log_or_folder_is_named(void **state) {
  struct fixture *f = *state;
  char path[128];
  f->config.create = false;
  expect_refused(f, VOW_E_LOG_IO, "No such file");
  f->config.create = true;
  snprintf(path, sizeof path, "%s/nowhere/vow.log", f->folder);
  f->config.path = path;
  expect_refused(f, VOW_E_LOG_IO, "make its folder first");
  f->config.path = f->folder;
  expect_refused(f, VOW_E_LOG_IO, "not a regular file");
}

static void the_log_is_private(void **state) {
  struct fixture *f = *state;
  struct stat st;
  fixture_open(f);
  append_nth(f, 1, VOW_TXN_COMMITTING, 0, true);
  wait_durable(f, 1);
  assert_int_equal(stat(f->path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  char wal[128];
  snprintf(wal, sizeof wal, "%s-wal", f->path);
  assert_int_equal(stat(wal, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_symbolic_link_is_followed_and_a_second_name_refused(void **state) {
  struct fixture *f = *state;
  char link_path[128];
  fill(f, 1);
  snprintf(link_path, sizeof link_path, "%s/link", f->folder);
  assert_int_equal(symlink(f->path, link_path), 0);
  f->config.path = link_path;
  fixture_open_only(f);
  assert_int_equal(find_state(f, 2), VOW_TXN_COMMITTING);
  fixture_close(f);
  unlink(link_path);
  assert_int_equal(link(f->path, link_path), 0);
  expect_refused(f, VOW_E_LOG_IO, "hard links");
}

/* As a user for whom permissions count. */
static void as_nobody(void (*body)(void *context), struct fixture *f) {
  int status;
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(99);
    body(f);
    _exit(0);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

static void check(bool good, int code) {
  if (!good) _exit(code);
}

static void try_without_permission(void *context) {
  struct fixture *f = context;
  char why[VOW_LOG_WHY_BYTES] = "";
  check(fixture_try(f, why) == VOW_E_LOG_READ_ONLY, 1);
  check(strstr(why, "ermission") != NULL, 2);
}

static void without_permission_the_sentence_says_so(void **state) {
  struct fixture *f = *state;
  assert_int_equal(chmod(f->folder, 0555), 0);
  as_nobody(try_without_permission, f); /* cannot make it */
  assert_int_equal(chmod(f->folder, 0755), 0);
  fill(f, 1);
  assert_int_equal(chmod(f->path, 0400), 0);
  as_nobody(try_without_permission, f); /* cannot even read it */
  assert_int_equal(chmod(f->path, 0444), 0);
  as_nobody(try_without_permission, f); /* cannot write it */
}

static void read_without_permission_to_write(void *context) {
  struct fixture *f = context;
  char why[VOW_LOG_WHY_BYTES] = "";
  f->config.read_only = true;
  check(fixture_try(f, why) == VOW_OK, 1);
  struct answer answer;
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &answer);
  check(answer.result.error == VOW_OK && answer.result.rows_checked == 4, 2);
  answer_fini(&answer);
  fixture_close(f);
}

static void a_log_that_cannot_be_written_can_be_read(void **state) {
  struct fixture *f = *state;
  fill(f, 2);
  struct bytes before = read_file(f->path);
  assert_int_equal(chmod(f->path, 0444), 0);
  assert_int_equal(chmod(f->folder, 0555), 0);
  as_nobody(read_without_permission_to_write, f);
  assert_int_equal(chmod(f->folder, 0755), 0);
  expect_unchanged(f->path, &before);
  free(before.data);
}

/* ---- the lock ---- */

struct other {
  pid_t pid;
  int done;
};

/* A process that has the log open with one durable record, until it is killed. */
static struct other start_holder(struct fixture *f) {
  int ready[2];
  char byte;
  struct other other = {0};
  assert_int_equal(pipe(ready), 0);
  other.pid = fork();
  assert_true(other.pid >= 0);
  if (other.pid == 0) {
    fixture_open(f);
    append_nth(f, 1, VOW_TXN_COMMITTING, 0, true);
    wait_durable(f, 1);
    check(write(ready[1], "x", 1) == 1, 1);
    pause();
    _exit(1);
  }
  close(ready[1]);
  assert_int_equal(read(ready[0], &byte, 1), 1);
  close(ready[0]);
  return other;
}

static void kill_holder(struct other other) {
  int status;
  assert_int_equal(kill(other.pid, SIGKILL), 0);
  assert_int_equal(waitpid(other.pid, &status, 0), other.pid);
}

static void a_second_daemon_is_refused_and_told_by_whom(void **state) {
  struct fixture *f = *state;
  char pid[32];
  struct other holder = start_holder(f);
  snprintf(pid, sizeof pid, "process %ld", (long)holder.pid);
  expect_refused(f, VOW_E_LOG_LOCKED, pid);
  f->config.read_only = true;
  expect_refused(f, VOW_E_LOG_LOCKED, pid);
  kill_holder(holder);
  f->config.read_only = false;
  fixture_open_only(f);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
}

static void a_second_opener_in_the_same_process_is_refused(void **state) {
  struct fixture *f = *state;
  struct fixture second = *f;
  char byte = 0;
  int go[2];
  assert_int_equal(pipe(go), 0);
  /* The other process begins before there is a thread whose locks it would inherit. */
  struct other unlucky = {.pid = fork()};
  if (unlucky.pid == 0) {
    char why[VOW_LOG_WHY_BYTES];
    struct vow_log *log;
    if (read(go[0], &byte, 1) != 1) _exit(2);
    _exit(vow_log_open(&log, &second.config, why) == VOW_E_LOG_LOCKED ? 0 : 1);
  }
  fixture_open(f);
  expect_refused(&second, VOW_E_LOG_LOCKED, "in use");
  assert_int_equal(write(go[1], "x", 1), 1); /* and the first one's lock has survived the attempt */
  close(go[0]);
  close(go[1]);
  int status;
  assert_int_equal(waitpid(unlucky.pid, &status, 0), unlucky.pid);
  assert_int_equal(status, 0);
}

static void reading_after_a_kill_sees_the_wal_and_changes_nothing(void **state) {
  struct fixture *f = *state;
  char wal[128];
  snprintf(wal, sizeof wal, "%s-wal", f->path);
  kill_holder(start_holder(f));
  struct bytes file = read_file(f->path), log = read_file(wal);
  assert_true(log.count > 0);
  f->config.read_only = true;
  fixture_open_only(f);
  assert_int_equal(vow_log_start(f->log), VOW_E_INVALID_ARGUMENT);
  assert_int_equal(find_state(f, 1), VOW_TXN_COMMITTING);
  fixture_close(f);
  expect_unchanged(f->path, &file);
  expect_unchanged(wal, &log);
  free(file.data);
  free(log.data);
  f->config.read_only = false;
  fixture_open_only(f);
  fixture_close(f);
  assert_int_equal(access(wal, F_OK), -1); /* closed in good order: nothing is left in it */
  f->config.read_only = true;
  fixture_open_only(f);
  fixture_close(f);
  assert_int_equal(access(wal, F_OK), -1);
}

/* Each row is sound. */
static void a_transaction_in_both_tables_is_damage(void **state) {
  struct fixture *f = *state;
  struct answer answer;
  fill(f, 3);
  fixture_change(f,
                 "INSERT INTO ended_txn SELECT id, place, 0, 0, 0, 0, 0, NULL, record, checksum"
                 " FROM open_txn" OLDEST);
  f->config.read_only = true;
  fixture_open_only(f);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &answer);
  assert_int_equal(answer.result.error, VOW_E_LOG_CORRUPT);
  assert_int_equal(answer.result.rows_bad, 0);
  assert_non_null(strstr(answer.why, "among the open ones"));
  answer_fini(&answer);
  /* And is not all that is wrong when a row of the history is damaged, too. */
  fixture_close(f);
  fixture_change(f, "UPDATE ended_txn SET checksum = checksum + 1 WHERE position = 2");
  fixture_open_only(f);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &answer);
  assert_int_equal(answer.result.rows_bad, 1);
  assert_false(answer.result.history_only);
  answer_fini(&answer);
}

/* What `vowctl check` is for. */
static void a_damaged_log_can_be_read_and_says_what_is_wrong(void **state) {
  struct fixture *f = *state;
  struct answer answer;
  fill(f, 3);
  fixture_change(f,
                 "UPDATE open_txn SET record = '{}' WHERE place IN"
                 " (SELECT place FROM open_txn ORDER BY place LIMIT 1 OFFSET 1);"
                 "UPDATE ended_txn SET heuristic = 1 WHERE position = 2");
  f->config.read_only = true;
  fixture_open_only(f);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_CHECK}, &answer);
  assert_int_equal(answer.result.error, VOW_E_LOG_CORRUPT);
  assert_int_equal(answer.result.rows_checked, 6);
  assert_int_equal(answer.result.rows_bad, 2);
  assert_non_null(strstr(answer.why, "018bcfe5-6804-7004-8"));
  answer_fini(&answer);
  ask(f, (struct vow_log_query){.type = VOW_LOG_QUERY_LIST, .heuristic = -1}, &answer);
  assert_int_equal(answer.result.error, VOW_OK);
  assert_int_equal(answer.result.count, 2);
  assert_int_equal(answer.result.rows_bad, 1);
  answer_fini(&answer);
  uint32_t good = 0, bad = 0;
  struct vow_log_query page = {.type = VOW_LOG_QUERY_OPEN_PAGE};
  for (bool more = true; more;) {
    ask(f, page, &answer);
    good += answer.result.count;
    bad += answer.result.error != VOW_OK;
    more = answer.result.more;
    page.id = answer.result.next;
    answer_fini(&answer);
  }
  assert_int_equal(good, 2);
  assert_int_equal(bad, 1);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_new, fixture_drop)
  const struct CMUnitTest tests[] = {
      TEST(what_is_not_a_log_is_refused),
      TEST(a_newer_log_is_refused_with_its_version),
      TEST(the_address_of_the_daemon_is_remembered),
      TEST(a_changed_row_is_named),
      TEST(a_cut_file_is_refused_and_stays_as_it_is),
      TEST(a_flipped_bit_is_never_believed),
      TEST(records_behind_a_broken_wal_are_never_passed_over),
      TEST(half_a_header_is_no_commit),
      TEST(a_wal_without_its_log_is_not_taken_for_another),
      TEST(a_missing_log_or_folder_is_named),
      TEST(the_log_is_private),
      TEST(a_symbolic_link_is_followed_and_a_second_name_refused),
      TEST(without_permission_the_sentence_says_so),
      TEST(a_log_that_cannot_be_written_can_be_read),
      TEST(a_second_daemon_is_refused_and_told_by_whom),
      TEST(a_second_opener_in_the_same_process_is_refused),
      TEST(reading_after_a_kill_sees_the_wal_and_changes_nothing),
      TEST(a_damaged_log_can_be_read_and_says_what_is_wrong),
      TEST(a_transaction_in_both_tables_is_damage),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
