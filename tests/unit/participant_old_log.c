/* The first start on a log of version 1: all that is in it is there afterwards, or it stays as it
 * is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_vfs.h"
#include "io/log.h"
#include "participant_fixture.h"
#include "tests/lib/old_log.h"
#include "vow/sqlite.h"

#define OTHER             "http://127.0.0.1:7900"
#define THEIR_COORDINATOR "http://127.0.0.1:7800" /* of the first version's checksums */

static sqlite3 *open_db(const struct fixture *f) {
  sqlite3 *db = NULL;
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  return db;
}

static void run_sql(const struct fixture *f, const char *sql) {
  sqlite3 *db = open_db(f);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int64_t ask(const struct fixture *f, const char *sql) {
  sqlite3 *db = open_db(f);
  sqlite3_stmt *row = NULL;
  assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(row), SQLITE_ROW);
  int64_t value = sqlite3_column_int64(row, 0);
  assert_int_equal(sqlite3_finalize(row), SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
  return value;
}

static struct vow_id parsed(const char *text) {
  struct vow_id id;
  assert_true(vow_id_parse(text, &id));
  return id;
}

static void put(sqlite3 *db, unsigned n, enum vow_precord_kind kind, enum vow_outcome outcome,
                const char *payload, const char *reason) {
  struct vow_precord record = {.kind = kind,
                               .transaction = parsed(id_of(n)),
                               .branch = 1,
                               .outcome = outcome,
                               .coordinator = COORDINATOR,
                               .payload = payload,
                               .payload_bytes = payload ? strlen(payload) : 0,
                               .reason = reason};
  old_log_put(db, &record);
}

/* A branch of every kind, watermarks, and how far the coordinators' logs had come. */
static void fill(sqlite3 *db) {
  old_log_make(db);
  put(db, 11, VOW_PRECORD_INTENT, VOW_OUTCOME_NONE, "\"eleven\"", NULL);
  put(db, 12, VOW_PRECORD_PREPARED, VOW_OUTCOME_NONE, "\"twelve\"", NULL);
  put(db, 13, VOW_PRECORD_DECIDED, VOW_OUTCOME_NONE, NULL, NULL);
  put(db, 14, VOW_PRECORD_COMMITTED, VOW_OUTCOME_NONE, NULL, NULL);
  put(db, 15, VOW_PRECORD_ABORTED, VOW_OUTCOME_ABORTED, NULL, "no seat is left");
  put(db, 16, VOW_PRECORD_READ_ONLY, VOW_OUTCOME_NONE, NULL, NULL);
  put(db, 17, VOW_PRECORD_HEURISTIC, VOW_OUTCOME_HEURISTIC_COMMIT, NULL, NULL);
  put(db, 18, VOW_PRECORD_FORGOTTEN, VOW_OUTCOME_HEURISTIC_ABORT, NULL, NULL);
  old_log_put_watermark(db, COORDINATOR, parsed(id_of(10)));
  old_log_put_watermark(db, OTHER, parsed(id_of(40)));
  old_log_put_seen(db, OTHER, (struct vow_log_position){.incarnation = 3, .position = 1234});
}

static void given_an_old_log(const struct fixture *f) {
  sqlite3 *db = open_db(f);
  assert_int_equal(sqlite3_exec(db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL), SQLITE_OK);
  fill(db);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void expect_converted(const struct fixture *f) {
  assert_int_equal(ask(f, "SELECT value FROM vow_meta WHERE key = 'participant_log_version'"), 2);
  assert_int_equal(ask(f, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'vow_%'"), 4);
}

/* Each branch answers as it would have. */
static void expect_all(struct fixture *f) {
  expect(send_message(f, "commit", 14, ""), 200, COMMITTED);
  expect_part(send_message(f, "prepare", 15, ""), 200, "no seat is left");
  expect(send_message(f, "abort", 15, ""), 200, ABORTED);
  expect(send_message(f, "prepare", 16, ""), 200, "{\"vote\":\"read-only\"}");
  expect(send_message(f, "commit", 17, ""), 200, "{\"outcome\":\"heuristic-commit\"}");
  expect(send_message(f, "commit", 18, ""), 200, "{\"outcome\":\"heuristic-abort\"}");
  expect_part(send_message(f, "prepare", 9, ""), 200, "already ended");
  expect_part(send_raw(f, "GET", "/in-doubt", NULL, ""), 200, id_of(12));
  expect_part(send_raw(f, "GET", "/in-doubt", NULL, ""), 200,
              "{\"coordinator\":\"" OTHER "\",\"incarnation\":3,\"position\":1234}");
}

static void an_old_log_is_taken_over_with_all_that_is_in_it(void **state) {
  struct fixture *f = *state;
  given_an_old_log(f);
  fixture_open(f);
  eventually(f->app->aborts == 1);  /* 11 */
  eventually(f->app->commits == 1); /* 13 */
  expect_all(f);
  fixture_close(f);
  expect_converted(f);
  assert_int_equal(ask(f, "SELECT count(*) FROM vow_branch"), 8);
  fixture_open(f);
  expect_all(f);
  expect(send_message(f, "commit", 12, ""), 200, COMMITTED);
  assert_string_equal(f->app->payload, "\"twelve\"");
  expect(send_message(f, "prepare", 30, ""), 200, VOTE_COMMIT);
  fixture_reopen(f);
  expect(send_message(f, "commit", 30, ""), 200, COMMITTED);
  f->coordinator = OTHER;
  expect_part(send_message(f, "prepare", 39, ""), 200, "already ended");
}

/* It is from a time before participants kept how far the coordinators' logs had come. */
static void a_log_that_is_older_still_is_taken_over(void **state) {
  struct fixture *f = *state;
  given_an_old_log(f);
  run_sql(f, "DROP TABLE vow_seen");
  for (int i = 0; i < 2; i++) {
    fixture_open(f);
    expect(send_message(f, "commit", 14, ""), 200, COMMITTED);
    expect(send_message(f, "commit", 12, ""), 200, COMMITTED);
    expect_part(send_message(f, "prepare", 9, ""), 200, "already ended");
    fixture_close(f);
    expect_converted(f);
    assert_int_equal(ask(f, "SELECT count(*) FROM vow_branch"), 8);
    assert_int_equal(ask(f, "SELECT count(*) FROM vow_seen"), 0);
  }
}

/* Nothing else has ever read these numbers: they are of logs that the first version wrote. The
 * sizes are those around which the ways part in XXH3. */
static void checksums_are_those_that_version_1_wrote(void **state) {
  static const struct {
    int bytes;
    int64_t checksum;
  } known[] = {
      {0, 6988643931605974301},    {1, -8074387505862862094},   {24, 1117065823178102756},
      {100, -2015245303145104764}, {200, 1778824052032660391},  {400, 118135277045345239},
      {512, 1486784861783823596},  {513, 7439169225210572468},  {700, -3799159410716436369},
      {1024, 8344719335151482588}, {3000, 3238434602895313609},
  };
  struct fixture *f = *state;
  char text[3001], sql[4000];
  for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i % 26);
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    given_an_old_log(f);
    run_sql(f, "DELETE FROM vow_branch");
    (void)snprintf(sql, sizeof sql,
                   "INSERT INTO vow_branch VALUES(x'01000000000000000000000000000001', 1, 2, 0,"
                   " '" THEIR_COORDINATOR
                   "', '%.*s', NULL, %lld);"
                   "INSERT INTO vow_branch VALUES(x'01000000000000000000000000000007', 3, 5, 2,"
                   " '" THEIR_COORDINATOR "', NULL, 'no seat is left', -2797405301657166006)",
                   known[i].bytes, text, (long long)known[i].checksum);
    run_sql(f, sql);
    fixture_open(f);
    fixture_close(f);
    expect_converted(f);
    assert_int_equal(ask(f, "SELECT count(*) FROM vow_branch"), 2);
    run_sql(f,
            "DROP TABLE vow_meta; DROP TABLE vow_branch; DROP TABLE vow_coordinator;"
            "DROP TABLE vow_seen");
  }
}

/* And left as it is. */
static void a_damaged_record_of_an_old_log_is_noticed(void **state) {
  static const char *const damages[] = {
      "UPDATE vow_branch SET kind = 99 WHERE kind = 2",
      "UPDATE vow_branch SET kind = 4 WHERE kind = 2",
      "UPDATE vow_branch SET branch = 0 WHERE kind = 2",
      "UPDATE vow_branch SET branch = 2 WHERE kind = 2",
      "UPDATE vow_branch SET outcome = 77 WHERE kind = 2",
      "UPDATE vow_branch SET payload = 'x' WHERE kind = 2",
      "UPDATE vow_branch SET reason = '' WHERE kind = 2",
      "UPDATE vow_branch SET checksum = checksum + 1 WHERE kind = 2",
  };
  struct fixture *f = *state;
  for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
    char *name = strdup(id_of(12));
    given_an_old_log(f);
    run_sql(f, damages[i]);
    fixture_refuses(f, VOW_E_LOG_CORRUPT, name);
    fixture_refuses(f, VOW_E_LOG_CORRUPT, "is damaged (checksum); restore the file");
    assert_int_equal(ask(f, "SELECT value FROM vow_meta"), 1);
    assert_int_equal(ask(f, "SELECT count(*) FROM vow_branch"), 8);
    run_sql(f,
            "DROP TABLE vow_meta; DROP TABLE vow_branch; DROP TABLE vow_coordinator;"
            "DROP TABLE vow_seen");
    free(name);
  }
  given_an_old_log(f);
  run_sql(f, "UPDATE vow_branch SET transaction_id = 'x' WHERE kind = 2");
  fixture_refuses(f, VOW_E_LOG_CORRUPT, "the record of transaction ? is damaged");
}

static enum vow_error count_record(void *context, const struct vow_precord *record) {
  (void)record;
  ++*(unsigned *)context;
  return VOW_OK;
}

static enum vow_error count_coordinator(void *context, const char *url, struct vow_id below) {
  (void)url, (void)below;
  ++*(unsigned *)context;
  return VOW_OK;
}

static enum vow_error try_open(const char *path, unsigned *records, char why[256]) {
  struct vow_log *log = NULL;
  struct vow_log_loader loader = {
      .context = records, .record = count_record, .coordinator = count_coordinator};
  *records = 0;
  enum vow_error error = vow_log_open(&log, path, NULL, &loader, why, 256);
  if (!error) vow_log_close(log);
  return error;
}

/* Each call of the disk fails once, on the way from one version to the other: the start is refused
 * with a sentence, or it works; the next one does in any case, and everything is there. */
static void whatever_fails(const struct fixture *f, const char *older) {
  unsigned records = 0, refused = 0;
  bool reached = true;
  for (int n = 1; reached; n++) {
    char why[256] = "";
    assert_true(n < 1000);
    given_an_old_log(f);
    run_sql(f, older);
    fault_vfs_fail_call(n);
    enum vow_error error = try_open(f->path, &records, why);
    reached = fault_vfs_call_has_failed();
    fault_vfs_set(FAULT_NONE);
    if (error) assert_true(strlen(why) > 20);
    refused += error != VOW_OK;
    assert_int_equal(try_open(f->path, &records, why), VOW_OK);
    assert_int_equal(records, 10);
    expect_converted(f);
    assert_int_equal(remove(f->path), 0);
  }
  assert_true(refused > 20);
}

static void whatever_fails_on_the_way_the_next_start_finds_all(void **state) {
  whatever_fails(*state, "");
  whatever_fails(*state, "DROP TABLE vow_seen");
}

/* ---- in an application's database ---- */

static enum vow_vote no_work(void *context, sqlite3 *db, const struct vow_work *work,
                             struct vow_reason *reason) {
  (void)context, (void)db, (void)work, (void)reason;
  return VOW_VOTE_ABORT;
}

/* Who reads may be in the way of the transaction, which leaves the old log as it was. */
static void a_reader_is_in_the_way(struct fixture *f) {
  sqlite3 *reader = open_db(f);
  assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT * FROM account", NULL, NULL, NULL),
                   SQLITE_OK);
  fixture_refuses(f, VOW_E_LOG_LOCKED, "busy with another writer or reader; try again");
  assert_int_equal(sqlite3_close(reader), SQLITE_OK);
}

/* Whatever else is in it, also a view that does not work any more. */
static void tables_in_an_applications_database_are_taken_over(struct fixture *f,
                                                              const char *journal) {
  struct vow_sqlite *adapter = NULL;
  struct vow_sqlite_options options;
  char why[256] = "";
  sqlite3 *db = open_db(f);
  assert_int_equal(sqlite3_exec(db, journal, NULL, NULL, NULL), SQLITE_OK);
  fill(db);
  assert_int_equal(sqlite3_exec(db,
                                "DELETE FROM vow_branch WHERE kind <= 3;"
                                "CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER);"
                                "INSERT INTO account VALUES(1, 100);"
                                "CREATE VIEW broken AS SELECT * FROM gone",
                                NULL, NULL, NULL),
                   SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
  for (int i = 0; i < 2; i++) {
    vow_sqlite_options_init(&options);
    options.path = f->path;
    options.work = no_work;
    options.busy_timeout_ms = 100;
    assert_int_equal(vow_sqlite_open(&adapter, &options, why, sizeof why), VOW_OK);
    f->options.sqlite = adapter;
    f->options.log_path = NULL;
    f->options.prepare = NULL;
    f->options.commit = NULL;
    f->options.abort = NULL;
    if (i == 0 && strstr(journal, "DELETE")) a_reader_is_in_the_way(f);
    fixture_open(f);
    expect(send_message(f, "commit", 14, ""), 200, COMMITTED);
    expect_part(send_message(f, "prepare", 15, ""), 200, "no seat is left");
    fixture_close(f);
    vow_sqlite_close(adapter);
  }
  assert_int_equal(ask(f, "SELECT value FROM vow_meta WHERE key = 'participant_log_version'"), 2);
  assert_int_equal(ask(f, "SELECT count(*) FROM vow_branch"), 5);
  assert_int_equal(ask(f, "SELECT balance FROM account"), 100);
}

static void so_are_tables_beside_a_wal(void **state) {
  tables_in_an_applications_database_are_taken_over(*state, "PRAGMA journal_mode=WAL");
}

static void so_are_tables_beside_a_rollback_journal(void **state) {
  tables_in_an_applications_database_are_taken_over(*state, "PRAGMA journal_mode=DELETE");
}

static int setup(void **state) {
  fault_vfs_set(FAULT_NONE);
  return fixture_setup(state);
}

#define test(function) cmocka_unit_test_setup_teardown(function, setup, fixture_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      test(an_old_log_is_taken_over_with_all_that_is_in_it),
      test(a_log_that_is_older_still_is_taken_over),
      test(checksums_are_those_that_version_1_wrote),
      test(a_damaged_record_of_an_old_log_is_noticed),
      test(whatever_fails_on_the_way_the_next_start_finds_all),
      test(so_are_tables_beside_a_wal),
      test(so_are_tables_beside_a_rollback_journal),
  };
  fault_vfs_install();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
