/*
 * A whole participant on the SQLite resource, from message to row: vote and work are one, through
 * restarts, busy databases and work that breaks its transaction.
 */
#include "sqlite_world.h"

#include <time.h>

#include "vow/participant.h"

static const char accounts[] =
    "CREATE TABLE account(id TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK(balance >= 0));"
    "INSERT INTO account VALUES('a', 100), ('b', 100);";

static struct vow_participant *participant;
static struct vow_sqlite *adapter;

/* The payload is a string of SQL. */
static enum vow_vote run_payload(void *context, sqlite3 *db, const struct vow_work *work,
                                 struct vow_reason *reason) {
  char *sql_text = NULL;
  sqlite3_stmt *statement = NULL;
  (void)context;
  (void)reason;
  int rc = sqlite3_prepare_v2(db, "SELECT json_extract(?1, '$')", -1, &statement, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_bind_text(statement, 1, work->payload, -1, SQLITE_STATIC);
  if (rc == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
    sql_text = sqlite3_mprintf("%s", sqlite3_column_text(statement, 0));
  }
  sqlite3_finalize(statement);
  rc = sqlite3_exec(db, sql_text, NULL, NULL, NULL);
  sqlite3_free(sql_text);
  return rc == SQLITE_OK ? VOW_VOTE_COMMIT : VOW_VOTE_ABORT;
}

static enum vow_error try_open(struct world *w, char *why, size_t why_bytes) {
  struct vow_sqlite_options sqlite_options = w->options;
  struct vow_participant_options options;
  sqlite_options.work = run_payload;
  sqlite_options.busy_timeout_ms = 100;
  assert_int_equal(vow_sqlite_open(&adapter, &sqlite_options, why, why_bytes), VOW_OK);
  vow_participant_options_init(&options);
  options.sqlite = adapter;
  enum vow_error error = vow_participant_open(&participant, &options, why, why_bytes);
  if (error) vow_sqlite_close(adapter);
  return error;
}

static void open_participant(struct world *w) {
  char why[256] = "";
  if (try_open(w, why, sizeof why)) fail_msg("open: %s", why);
}

static void close_participant(void) {
  vow_participant_close(participant);
  vow_sqlite_close(adapter);
}

static struct world *start(const char *journal) {
  struct world *w = world_new_with(accounts, journal, 0);
  detach(w);
  open_participant(w);
  return w;
}

static void stop(struct world *w) {
  close_participant();
  world_free(w);
}

/* One message; the answer must have this status and these words. */
static void message(const char *type, int transaction, const char *more, int status,
                    const char *words) {
  char path[16];
  char body[1024];
  struct vow_http_response response;
  snprintf(path, sizeof path, "/%s", type);
  snprintf(body, sizeof body,
           "{\"transaction\":\"%s\",\"branch\":1,\"coordinator\":\"http://127.0.0.1:1\","
           "\"finished_below\":\"01000000-0000-7000-8000-000000000000\"%s}",
           work_of(transaction).transaction, more);
  struct vow_http_request request = {.method = "POST",
                                     .path = path,
                                     .content_type = "application/json",
                                     .body = body,
                                     .body_bytes = strlen(body)};
  (void)vow_participant_handle(participant, &request, &response);
  if (response.status != status || !strstr(response.body, words)) {
    fail_msg("%s %d: %d %s, expected %d %s", type, transaction, response.status, response.body,
             status, words);
  }
  vow_free(response.body);
}

#define WORK(sql_text) ",\"timeout_ms\":1000,\"payload\":\"" sql_text "\""
#define SET_A(value)   WORK("UPDATE account SET balance = " value " WHERE id = 'a'")
#define ALL            "SELECT * FROM account ORDER BY id"

/* Prepare, commit, abort and their repetitions have one effect each. */
static void messages_have_one_effect(void **state) {
  (void)state;
  struct world *w = start("WAL");
  for (int i = 0; i < 2; i++) message("prepare", 1, SET_A("balance - 40"), 200, "\"commit\"");
  expect(w->other, ALL, "a|100\nb|100");
  for (int i = 0; i < 2; i++) message("commit", 1, "", 200, "\"committed\"");
  expect(w->other, ALL, "a|60\nb|100");
  message("prepare", 2, SET_A("balance - 40"), 200, "\"commit\"");
  for (int i = 0; i < 2; i++) message("abort", 2, "", 200, "\"aborted\"");
  message("prepare", 3, SET_A("balance - 400"), 200, "CHECK constraint failed: balance >= 0");
  message("prepare", 4, WORK("SELECT 1"), 200, "\"read-only\"");
  message("prepare", 5, WORK("DROP TABLE account"), 200, "changes the schema");
  message("prepare", 6, ",\"one_phase\":true" SET_A("1"), 200, "\"committed\"");
  expect(w->other, ALL, "a|1\nb|100");
  at_rest(w);
  stop(w);
}

/* Two branches on one row: the second says which row keeps it from voting yes. */
static void a_conflict_is_a_vote_with_a_reason(void **state) {
  (void)state;
  struct world *w = start("WAL");
  message("prepare", 1, SET_A("1"), 200, "\"commit\"");
  message("prepare", 2, SET_A("2"), 200, "a row of account " LOCKED);
  message("prepare", 3, WORK("UPDATE account SET balance = 3 WHERE id = 'b'"), 200, "\"commit\"");
  sql_fails(w->other, "UPDATE account SET balance = 9", LOCKED);
  message("commit", 3, "", 200, "\"committed\"");
  message("commit", 1, "", 200, "\"committed\"");
  expect(w->other, ALL, "a|1\nb|3");
  at_rest(w);
  stop(w);
}

/* A promise outlives the participant; only one process at a time may keep it. */
static void a_promise_outlives_the_participant(void **state) {
  (void)state;
  struct world *w = start("DELETE");
  char why[256] = "";
  struct vow_participant *first = participant;
  struct vow_sqlite *first_adapter = adapter;
  message("prepare", 1, SET_A("1"), 200, "\"commit\"");
  assert_int_equal(try_open(w, why, sizeof why), VOW_E_LOG_LOCKED);
  participant = first;
  adapter = first_adapter;
  close_participant();
  sql_fails(w->other, "UPDATE account SET balance = 9", LOCKED);
  open_participant(w);
  message("commit", 1, "", 200, "\"committed\"");
  message("commit", 1, "", 200, "\"committed\"");
  expect(w->other, ALL, "a|1\nb|100");
  at_rest(w);
  stop(w);
}

/* Who reads beside a rollback journal keeps a participant from starting, which says so. */
static void a_reader_in_the_way_of_a_start_is_named(void **state) {
  (void)state;
  struct world *w = start("DELETE");
  char why[256] = "";
  close_participant();
  sql(w->other, "BEGIN; SELECT * FROM account");
  assert_int_equal(try_open(w, why, sizeof why), VOW_E_LOG_LOCKED);
  assert_string_equal(why, "the database is busy with another writer or reader; try again");
  sql(w->other, "COMMIT");
  open_participant(w);
  stop(w);
}

/* Somebody else's write transaction delays a branch no longer than the busy timeout, and then there
 * is an answer that makes the coordinator come again. */
static void a_busy_database_is_no_promise(void **state) {
  (void)state;
  static const char *const journals[] = {"WAL", "DELETE"};
  for (int i = 0; i < 2; i++) {
    struct world *w = start(journals[i]);
    message("prepare", 1, SET_A("1"), 200, "\"commit\"");
    sql(w->other, "BEGIN IMMEDIATE; UPDATE account SET balance = 50 WHERE id = 'b'");
    message("commit", 1, "", 503, "urn:vow:overloaded");
    sql(w->other, "COMMIT");
    message("commit", 1, "", 200, "\"committed\"");
    expect(w->other, ALL, "a|1\nb|50");
    at_rest(w);
    stop(w);
  }
}

static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Beside a rollback journal a reader is in the way of what outgrows the cache, and of each page of
 * it anew: the branch waits for the reader once, and not once a page. */
static void a_reader_delays_a_large_branch_once(void **state) {
  (void)state;
  struct world *w = start("DELETE");
  sqlite3_stmt *reader = NULL;
  message("prepare", 1,
          WORK("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)"
               "INSERT INTO account SELECT zeroblob(3000) || i, i FROM n"),
          200, "\"commit\"");
  assert_int_equal(sqlite3_prepare_v2(w->other, ALL, -1, &reader, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(reader), SQLITE_ROW);
  uint64_t begun_ms = now_ms();
  message("commit", 1, "", 503, "urn:vow:overloaded");
  assert_true(now_ms() - begun_ms < 10000); /* twice the busy timeout of 100 ms, and the work */
  sqlite3_finalize(reader);
  message("commit", 1, "", 200, "\"committed\"");
  expect(w->other, "SELECT count(*) FROM account", "1502");
  at_rest(w);
  stop(w);
}

/* Work that makes SQLite roll everything back votes abort and says so, and the participant goes on.
 */
static void work_that_breaks_its_transaction_votes_abort(void **state) {
  (void)state;
  struct world *w = start("WAL");
  message("prepare", 1, SET_A("1"), 200, "\"commit\"");
  message("prepare", 2, WORK("UPDATE OR ROLLBACK account SET balance = -1 WHERE id = 'b'"), 200,
          "\"vote\":\"abort\",\"reason\":\"the work made SQLite roll the whole transaction back");
  message("prepare", 3, WORK("UPDATE account SET balance = 3 WHERE id = 'b'"), 200, "\"commit\"");
  message("commit", 1, "", 200, "\"committed\"");
  message("commit", 3, "", 200, "\"committed\"");
  expect(w->other, ALL, "a|1\nb|3");
  at_rest(w);
  stop(w);
}

/* A commit that cannot be applied is not acknowledged, says why, and comes through once it can. */
static void a_commit_that_cannot_be_applied_is_not_acknowledged(void **state) {
  (void)state;
  struct world *w = start("WAL");
  message("prepare", 1, SET_A("1"), 200, "\"commit\"");
  sqlite3_db_config(w->other, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
  sql(w->other, "UPDATE account SET balance = 77 WHERE id = 'a'");
  message("commit", 1, "", 500, "something wrote past the guards");
  expect(w->other, ALL, "a|77\nb|100");
  sql(w->other, "UPDATE account SET balance = 100 WHERE id = 'a'");
  message("commit", 1, "", 200, "\"committed\"");
  expect(w->other, ALL, "a|1\nb|100");
  at_rest(w);
  stop(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(messages_have_one_effect),
      cmocka_unit_test(a_conflict_is_a_vote_with_a_reason),
      cmocka_unit_test(a_promise_outlives_the_participant),
      cmocka_unit_test(a_reader_in_the_way_of_a_start_is_named),
      cmocka_unit_test(a_busy_database_is_no_promise),
      cmocka_unit_test(a_reader_delays_a_large_branch_once),
      cmocka_unit_test(work_that_breaks_its_transaction_votes_abort),
      cmocka_unit_test(a_commit_that_cannot_be_applied_is_not_acknowledged),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
