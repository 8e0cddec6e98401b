/*
 * A participant whose log lives in the application's database: vote and work share one transaction.
 * The resource is a small one of our own: prepare puts a row into `held`, commit moves it to
 * `applied`, abort deletes it.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "failpoint.h"
#include "io/participant_internal.h"
#include "participant_fixture.h"

struct world {
  struct fixture *f;
  struct vow_resource resource;
  const char *after_prepare; /* SQL that prepare runs as well, or NULL */
  const char *hears;         /* `more` of a message that comes meanwhile, and need not wait */
  sqlite3 *other;            /* another connection of the application */
};

static struct world world;

/* ---- the resource ---- */

/* The SQL has one parameter. */
static int execute(sqlite3 *db, const char *sql, const char *id) {
  sqlite3_stmt *statement = NULL;
  int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
  if (!code) code = sqlite3_bind_text(statement, 1, id, -1, SQLITE_STATIC);
  if (!code) code = sqlite3_step(statement);
  sqlite3_finalize(statement);
  return code == SQLITE_DONE ? SQLITE_OK : code;
}

static enum vow_error on_attach(void *context, sqlite3 *db, char *why, size_t why_bytes) {
  (void)context;
  (void)why;
  (void)why_bytes;
  (void)sqlite3_exec(db, "PRAGMA foreign_keys=ON", NULL, NULL, NULL);
  return VOW_OK;
}

static void on_detach(void *context) {
  (void)context;
}

static enum vow_vote on_prepare(void *context, sqlite3 *db, const struct vow_work *work,
                                struct vow_reason *reason) {
  struct app *app = context;
  app->prepares++;
  app_enter(app, work);
  if (execute(db, "INSERT INTO held VALUES(?)", work->transaction)) return VOW_VOTE_ABORT;
  if (world.hears) (void)send_all(world.f, "prepare", 2, 8, world.hears);
  if (world.after_prepare && sqlite3_exec(db, world.after_prepare, NULL, NULL, NULL)) {
    vow_reason_set(reason, "%s", sqlite3_errmsg(db));
    return VOW_VOTE_ABORT;
  }
  return app->vote;
}

static enum vow_error on_commit(void *context, sqlite3 *db, const struct vow_work *work,
                                struct vow_reason *reason) {
  struct app *app = context;
  app->commits++;
  if (execute(db, "INSERT INTO applied SELECT * FROM held WHERE id = ?", work->transaction) ||
      execute(db, "DELETE FROM held WHERE id = ?", work->transaction)) {
    return VOW_E_DATABASE;
  }
  if (app->commit_error) vow_reason_set(reason, "not now");
  return app->commit_error;
}

static enum vow_error on_abort(void *context, sqlite3 *db, const struct vow_work *work,
                               struct vow_reason *reason) {
  struct app *app = context;
  (void)reason;
  app->aborts++;
  if (execute(db, "DELETE FROM held WHERE id = ?", work->transaction)) return VOW_E_DATABASE;
  return app->abort_error;
}

/* ---- the world ---- */

static void run_sql(sqlite3 *db, const char *sql) {
  char *message = NULL;
  if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) fail_msg("%s: %s", sql, message);
}

static int count(const char *table) {
  char sql[64];
  sqlite3_stmt *row = NULL;
  (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", table);
  assert_int_equal(sqlite3_prepare_v2(world.other, sql, -1, &row, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(row), SQLITE_ROW);
  int result = sqlite3_column_int(row, 0);
  sqlite3_finalize(row);
  return result;
}

/* held, applied */
#define expect_rows(held, applied)               \
  do {                                           \
    assert_int_equal(count("held"), held);       \
    assert_int_equal(count("applied"), applied); \
  } while (0)

static void open_other(void) {
  assert_int_equal(sqlite3_open(world.f->path, &world.other), SQLITE_OK);
  (void)sqlite3_busy_timeout(world.other, 5000);
}

static void close_other(void) {
  (void)sqlite3_close(world.other);
  world.other = NULL;
}

static int setup_with(void **state, const char *journal) {
  (void)fixture_setup(state);
  struct fixture *f = *state;
  world = (struct world){.f = f};
  world.resource = (struct vow_resource){
      .context = f->app,
      .path = f->path,
      .busy_timeout_ms = 100,
      .attach = on_attach,
      .prepare = on_prepare,
      .commit = on_commit,
      .abort = on_abort,
      .detach = on_detach,
  };
  f->options.log_path = NULL;
  f->options.prepare = NULL;
  f->options.commit = NULL;
  f->options.abort = NULL;
  open_other();
  run_sql(world.other, journal);
  run_sql(world.other,
          "CREATE TABLE held(id TEXT PRIMARY KEY);"
          "CREATE TABLE applied(id TEXT PRIMARY KEY);"
          "CREATE TABLE parent(id INTEGER PRIMARY KEY);"
          "CREATE TABLE child(id INTEGER PRIMARY KEY,"
          " parent INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED);");
  return 0;
}

static int setup(void **state) {
  return setup_with(state, "PRAGMA journal_mode=WAL");
}

static int setup_rollback_journal(void **state) {
  return setup_with(state, "PRAGMA journal_mode=DELETE");
}

static int teardown(void **state) {
  close_other();
  return fixture_teardown(state);
}

static enum vow_error try_open(char why[256]) {
  return vow_participant_open_with(&world.f->participant, &world.f->options, &world.resource, why,
                                   256);
}

static void open_participant(void) {
  char why[256] = "";
  if (try_open(why) != VOW_OK) fail_msg("%s", why);
}

static void reopen(void) {
  fixture_close(world.f);
  open_participant();
}

static uint64_t syncs(void) {
  struct vow_participant_stats stats;
  vow_participant_stats(world.f->participant, &stats);
  return stats.log_syncs;
}

/* As fixture_killed_at, for this kind of participant. Handles of SQLite must not cross a fork. */
static void killed_at(const char *failpoint, void (*scenario)(struct fixture *)) {
#ifdef VOW_FAILPOINTS
  close_other();
  pid_t child = fork();
  assert_int_not_equal(child, -1);
  if (child == 0) {
    char spec[64];
    (void)snprintf(spec, sizeof spec, "%s=kill", failpoint);
    vow_failpoint_arm(spec);
    open_participant();
    scenario(world.f);
    _exit(1);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (!WIFSIGNALED(status)) fail_msg("%s was not passed", failpoint);
  open_other();
#else
  (void)failpoint;
  (void)scenario;
  skip();
#endif
}

/* All work and all votes of a batch are in one transaction of the database, with one sync. */
static void a_batch_costs_one_sync(void **state) {
  char body[4096], one[512];
  (void)state;
  open_participant();
  for (int turn = 0; turn < 2; turn++) {
    const char *type = turn == 0 ? "prepare" : "commit";
    size_t bytes = (size_t)snprintf(body, sizeof body, "{\"messages\":[");
    for (unsigned n = 1; n <= 8; n++) {
      fixture_message(world.f, one, sizeof one, type, n, NO_WATERMARK, "");
      bytes += (size_t)snprintf(body + bytes, sizeof body - bytes, "%s{\"type\":\"%s\",%s",
                                n == 1 ? "" : ",", type, one + 1);
    }
    (void)snprintf(body + bytes, sizeof body - bytes, "]}");
    uint64_t before = syncs();
    expect_part(send_raw(world.f, "POST", "/batch", "application/json", body), 200,
                turn == 0 ? "{\"replies\":[{\"status\":200,\"vote\":\"commit\"}"
                          : "{\"replies\":[{\"status\":200,\"outcome\":\"committed\"}");
    assert_int_equal(syncs() - before, 1);
  }
  assert_int_equal(world.f->app->prepares, 8);
}

static void prepare(struct fixture *f) {
  (void)send_message(f, "prepare", 1, "");
}

static void prepare_in_one_phase(struct fixture *f) {
  (void)send_message(f, "prepare", 1, ONE_PHASE);
}

static void commit(struct fixture *f) {
  (void)send_message(f, "commit", 1, "");
}

/* ---- tests ---- */

static void work_and_vote_are_one_transaction(void **state) {
  struct fixture *f = *state;
  open_participant();
  uint64_t before = syncs();
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  assert_int_equal(syncs(), before + 1);
  expect_rows(1, 0);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  assert_int_equal(syncs(), before + 2);
  expect_rows(0, 1);
  expect(send_message(f, "prepare", 2, ""), 200, VOTE_COMMIT);
  reopen();
  expect(send_message(f, "abort", 2, ""), 200, ABORTED);
  expect_rows(0, 1);
  assert_int_equal(f->app->prepares, 2);
  assert_int_equal(f->app->commits, 1);
  assert_int_equal(f->app->aborts, 1);
}

static void without_threads_the_caller_writes(void **state) {
  struct fixture *f = *state;
  f->options.callback_threads = 0;
  open_participant();
  uint64_t before = syncs();
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  assert_true(pthread_equal(f->app->thread, pthread_self()));
  assert_int_equal(syncs(), before + 1);
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect_rows(0, 1);
}

static void one_phase_is_one_sync(void **state) {
  struct fixture *f = *state;
  open_participant();
  uint64_t before = syncs();
  expect(send_message(f, "prepare", 1, ONE_PHASE), 200,
         "{\"vote\":\"commit\",\"outcome\":\"committed\"}");
  assert_int_equal(syncs(), before + 1);
  expect_rows(0, 1);
  expect(send_message(f, "abort", 1, ""), 200, COMMITTED);
}

static void a_one_phase_commit_that_fails_becomes_a_vote(void **state) {
  struct fixture *f = *state;
  open_participant();
  f->app->commit_error = VOW_E_DATABASE;
  expect(send_message(f, "prepare", 1, ONE_PHASE), 200, VOTE_COMMIT);
  expect_rows(1, 0);
  f->app->commit_error = VOW_OK;
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect_rows(0, 1);
}

static void a_vote_to_abort_leaves_nothing(void **state) {
  struct fixture *f = *state;
  open_participant();
  f->app->vote = VOW_VOTE_ABORT;
  expect_part(send_message(f, "prepare", 1, ""), 200, "\"vote\":\"abort\"");
  f->app->vote = VOW_VOTE_READ_ONLY;
  expect(send_message(f, "prepare", 2, ""), 200, "{\"vote\":\"read-only\"}");
  f->app->vote = (enum vow_vote)9;
  expect_part(send_message(f, "prepare", 3, ""), 200, "not a vote");
  expect_rows(0, 0);
  assert_int_equal(f->app->aborts, 0);
}

static void a_commit_that_fails_leaves_what_was_prepared(void **state) {
  struct fixture *f = *state;
  open_participant();
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  f->app->commit_error = VOW_E_DATABASE;
  expect_part(send_message(f, "commit", 1, ""), 500, "not now");
  expect_rows(1, 0);
  f->app->commit_error = VOW_OK;
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect_rows(0, 1);
}

static void an_abort_of_the_unknown_calls_no_hook(void **state) {
  struct fixture *f = *state;
  open_participant();
  expect(send_message(f, "abort", 1, ""), 200, ABORTED);
  assert_int_equal(f->app->aborts, 0);
  expect_part(send_message(f, "prepare", 1, ""), 200, "\"vote\":\"abort\"");
}

static void killed_before_the_vote_is_durable_there_is_neither(void **state) {
  struct fixture *f = *state;
  killed_at("votes.before_log", prepare);
  expect_rows(0, 0);
  open_participant();
  expect_part(send_message(f, "commit", 1, ""), 404, "unknown-branch");
  expect_rows(0, 0);
}

static void killed_after_the_vote_is_durable_there_are_both(void **state) {
  struct fixture *f = *state;
  killed_at("votes.after_log", prepare);
  expect_rows(1, 0);
  open_participant();
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect_rows(0, 1);
  assert_int_equal(f->app->prepares, 1);
}

static void killed_in_a_commit_it_is_done_once(void **state) {
  struct fixture *f = *state;
  open_participant();
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  fixture_close(f);
  killed_at("commit.after_callback", commit);
  expect_rows(1, 0);
  killed_at("commit.before_log", commit);
  expect_rows(1, 0);
  killed_at("commit.after_log", commit);
  expect_rows(0, 1);
  open_participant();
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect_rows(0, 1);
}

static void killed_in_one_phase_it_is_all_or_nothing(void **state) {
  struct fixture *f = *state;
  killed_at("commit.before_log", prepare_in_one_phase);
  expect_rows(0, 0);
  killed_at("commit.after_log", prepare_in_one_phase);
  expect_rows(0, 1);
  open_participant();
  expect(send_message(f, "abort", 1, ""), 200, COMMITTED);
}

static void a_busy_database_is_no_failure(void **state) {
  struct fixture *f = *state;
  open_participant();
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  run_sql(world.other, "BEGIN IMMEDIATE");
  expect_part(send_message(f, "prepare", 2, ""), 200, "busy with another writer");
  expect_part(send_message(f, "prepare", 3, ONE_PHASE), 503, "busy with another writer");
  expect_part(send_message(f, "commit", 1, ""), 503, "busy with another writer");
  expect_part(send_message(f, "abort", 4, ""), 503, "busy with another writer");
  run_sql(world.other, "COMMIT");
  expect(send_message(f, "commit", 1, ""), 200, COMMITTED);
  expect(send_message(f, "prepare", 3, ONE_PHASE), 200,
         "{\"vote\":\"commit\",\"outcome\":\"committed\"}");
  expect(send_message(f, "abort", 4, ""), 200, ABORTED);
  expect_rows(0, 2);
}

/* Who reads the database beside a rollback journal may be in the way of a start, which says so. */
static void a_reader_in_the_way_of_a_start_is_named(void **state) {
  (void)state;
  char why[256] = "";
  run_sql(world.other, "BEGIN");
  expect_rows(0, 0);
  assert_int_equal(try_open(why), VOW_E_LOG_LOCKED);
  if (!strstr(why, "busy with another writer or reader; try again")) fail_msg("%s", why);
  run_sql(world.other, "COMMIT");
  open_participant();
}

static void a_key_left_violated_is_this_branch_s_alone(void **state) {
  struct fixture *f = *state;
  open_participant();
  world.after_prepare = "INSERT INTO child VALUES(1, 99)";
  expect_part(send_message(f, "prepare", 1, ""), 200, "foreign key");
  world.after_prepare = NULL;
  expect(send_message(f, "prepare", 2, ""), 200, VOTE_COMMIT);
  expect_rows(1, 0);
  assert_int_equal(count("child"), 0);
}

static void a_transaction_that_vanishes_underneath_is_noticed(void **state) {
  struct fixture *f = *state;
  open_participant();
  world.after_prepare = "ROLLBACK";
  expect_part(send_message(f, "prepare", 1, ""), 200, "\"vote\":\"abort\"");
  expect_part(send_message(f, "prepare", 2, ONE_PHASE), 503, "");
  world.after_prepare = NULL;
  expect_rows(0, 0);
  expect(send_message(f, "prepare", 3, ""), 200, VOTE_COMMIT);
  expect_rows(1, 0);
}

static void an_operators_word_moves_the_database(void **state) {
  struct fixture *f = *state;
  open_participant();
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  expect(send_message(f, "prepare", 2, ""), 200, VOTE_COMMIT);
  assert_int_equal(
      vow_participant_heuristic(f->participant, id_of(1), 1, VOW_OUTCOME_HEURISTIC_COMMIT), VOW_OK);
  expect_rows(1, 1);
  assert_int_equal(
      vow_participant_heuristic(f->participant, id_of(2), 1, VOW_OUTCOME_HEURISTIC_ABORT), VOW_OK);
  expect_rows(0, 1);
  reopen();
  expect(send_message(f, "abort", 1, ""), 200, "{\"outcome\":\"heuristic-commit\"}");
  expect(send_message(f, "commit", 2, ""), 200, "{\"outcome\":\"heuristic-abort\"}");
}

static void one_process_takes_part_and_others_use_the_database(void **state) {
  struct fixture *f = *state;
  char why[256] = "";
  open_participant();
  struct vow_participant *first = f->participant;
  assert_int_equal(try_open(why), VOW_E_LOG_LOCKED);
  f->participant = first;
  run_sql(world.other, "INSERT INTO applied VALUES('somebody else')");
  expect(send_message(f, "prepare", 1, ""), 200, VOTE_COMMIT);
  expect_rows(1, 1);
}

static void a_database_that_is_missing_is_not_made(void **state) {
  struct fixture *f = *state;
  char why[256] = "";
  char path[160];
  (void)snprintf(path, sizeof path, "%s-not-there", f->path);
  world.resource.path = path;
  assert_int_equal(try_open(why), VOW_E_LOG_IO);
  assert_non_null(strstr(why, path));
  assert_int_equal(access(path, F_OK), -1);
}

/* ---- many at once ---- */

struct sender {
  pthread_t thread;
  const char *type;
  unsigned n, below;
  const char *more;
  struct answer answer;
};

static void *run_sender(void *context) {
  struct sender *sender = context;
  sender->answer = send_all(world.f, sender->type, sender->n, sender->below, sender->more);
  return NULL;
}

static void start(struct sender *s, const char *type, unsigned n, unsigned below,
                  const char *more) {
  *s = (struct sender){.type = type, .n = n, .below = below, .more = more};
  assert_int_equal(pthread_create(&s->thread, NULL, run_sender, s), 0);
}

/* How many requests wait for an answer. */
static unsigned pending(void) {
  struct vow_participant *p = world.f->participant;
  unsigned result = 0;
  pthread_mutex_lock(&p->lock);
  for (const struct vow_exchange *e = p->pending; e; e = e->next) result++;
  pthread_mutex_unlock(&p->lock);
  return result;
}

static void what_cannot_be_recorded_is_undone(void **state) {
  struct fixture *f = *state;
  struct sender prepare_, abort_;
  open_participant();
  app_hold(f->app, true);
  start(&prepare_, "prepare", 1, 0, "");
  app_await_waiting(f->app, 1);
  start(&abort_, "abort", 1, 0, "");
  eventually(pending() == 2);
  f->app->abort_error = VOW_E_DATABASE;
  app_hold(f->app, false);
  pthread_join(prepare_.thread, NULL);
  pthread_join(abort_.thread, NULL);
  /* The work was prepared, was to be aborted, and that failed: there is neither vote nor work. */
  expect_part(prepare_.answer, 200, "\"vote\":\"abort\"");
  assert_int_equal(abort_.answer.status, 500);
  expect(send_message(f, "abort", 1, ""), 200, ABORTED); /* in a later transaction */
  expect_rows(0, 0);
}

static void branches_that_come_together_share_a_transaction(void **state) {
  enum { COUNT = 16 };
  struct sender senders[COUNT];
  (void)state;
  world.resource.busy_timeout_ms = 10000;
  open_participant();
  uint64_t before = syncs();
  run_sql(world.other, "BEGIN IMMEDIATE");
  for (unsigned i = 0; i < COUNT; i++) start(&senders[i], "prepare", i + 1, 0, "");
  /* The first waits for the database, the others for the first. */
  eventually(pending() == COUNT);
  run_sql(world.other, "COMMIT");
  for (unsigned i = 0; i < COUNT; i++) {
    pthread_join(senders[i].thread, NULL);
    assert_int_equal(senders[i].answer.status, 200);
  }
  assert_in_range(syncs() - before, 1, 3);
  expect_rows(COUNT, 0);
}

/* The record of a callback is written before older ones that were queued behind it. */
static void what_is_written_late_takes_nothing_back(void **state) {
  struct fixture *f = *state;
  struct sender senders[4];
  world.resource.busy_timeout_ms = 10000;
  f->options.tombstones_max = 2; /* then a record brings a purge */
  open_participant();
  expect_part(send_message(f, "prepare", 5, ONE_PHASE), 200, "\"outcome\":\"committed\"");
  run_sql(world.other, "BEGIN IMMEDIATE");
  world.hears = ",\"log\":{\"incarnation\":1,\"position\":10}";
  start(&senders[0], "abort", 20, 0, "");
  eventually(pending() == 1);
  start(&senders[1], "prepare", 9, 0, "");
  eventually(pending() == 2);
  start(&senders[2], "abort", 1, 4, "");
  start(&senders[3], "abort", 21, 4, ",\"log\":{\"incarnation\":1,\"position\":7}");
  eventually(pending() == 4);
  run_sql(world.other, "COMMIT");
  for (unsigned i = 0; i < 4; i++) pthread_join(senders[i].thread, NULL);
  reopen();
  assert_int_equal(send_message(f, "prepare", 5, ONE_PHASE).status, 200);
  assert_int_equal(atomic_load(&f->app->commits), 1); /* its first */
  assert_int_equal(vow_engine_seen(f->participant, COORDINATOR).position, 10);
}

#define test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
#define test_rollback(function) \
  { #function " (rollback journal)", function, setup_rollback_journal, teardown, NULL }

int main(void) {
  const struct CMUnitTest tests[] = {
      test(work_and_vote_are_one_transaction),
      test(without_threads_the_caller_writes),
      test(one_phase_is_one_sync),
      test(a_one_phase_commit_that_fails_becomes_a_vote),
      test(a_vote_to_abort_leaves_nothing),
      test(a_commit_that_fails_leaves_what_was_prepared),
      test(an_abort_of_the_unknown_calls_no_hook),
      test(killed_before_the_vote_is_durable_there_is_neither),
      test(killed_after_the_vote_is_durable_there_are_both),
      test(killed_in_a_commit_it_is_done_once),
      test(killed_in_one_phase_it_is_all_or_nothing),
      test(a_busy_database_is_no_failure),
      test(a_key_left_violated_is_this_branch_s_alone),
      test(a_transaction_that_vanishes_underneath_is_noticed),
      test(an_operators_word_moves_the_database),
      test(one_process_takes_part_and_others_use_the_database),
      test(a_database_that_is_missing_is_not_made),
      test(what_cannot_be_recorded_is_undone),
      test(branches_that_come_together_share_a_transaction),
      test(what_is_written_late_takes_nothing_back),
      test(a_batch_costs_one_sync),
      test_rollback(work_and_vote_are_one_transaction),
      test_rollback(a_busy_database_is_no_failure),
      test_rollback(a_reader_in_the_way_of_a_start_is_named),
      test_rollback(killed_in_a_commit_it_is_done_once),
      test_rollback(killed_after_the_vote_is_durable_there_are_both),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
