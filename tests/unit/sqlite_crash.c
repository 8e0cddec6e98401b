/*
 * A process that is killed at any statement of prepare, commit or abort leaves all of the branch or
 * nothing of it, beside a WAL and beside a rollback journal.
 */
#include <signal.h>
#include <sys/wait.h>

#include "sqlite_world.h"

static const char accounts[] =
    "CREATE TABLE account(id TEXT PRIMARY KEY, balance INTEGER NOT NULL, email TEXT UNIQUE);"
    "CREATE TABLE journal(id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT);"
    "CREATE TRIGGER audit AFTER UPDATE ON account BEGIN"
    "  INSERT INTO journal(account) VALUES(NEW.id); END;"
    "INSERT INTO account VALUES('a', 100, 'a@x'), ('b', 100, 'b@x');";

static const char work[] =
    "UPDATE account SET balance = 60 WHERE id = 'a'; UPDATE account SET balance = 140, email = "
    "'c@x'"
    " WHERE id = 'b'";

static int statements_left;

/* Dies when so many statements have begun. */
static int on_statement(unsigned what, void *context, void *statement, void *text) {
  (void)what;
  (void)context;
  (void)statement;
  (void)text;
  if (statements_left-- == 0) kill(getpid(), SIGKILL);
  return 0;
}

enum deed { PREPARE, COMMIT, ABORT };

/* In a child: opens the database anew and does the deed, to die on the way. True if it was killed.
 */
static bool do_and_die(struct world *w, enum deed deed, int after) {
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct world own = *w;
    own.options.context = &own;
    attach(&own);
    statements_left = after;
    sqlite3_trace_v2(own.db, SQLITE_TRACE_STMT, on_statement, NULL);
    if (deed == PREPARE) prepared(&own, 1, work);
    if (deed == COMMIT) committed(&own, 1);
    if (deed == ABORT) aborted(&own, 1);
    _exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  if (WIFSIGNALED(status)) {
    assert_int_equal(WTERMSIG(status), SIGKILL);
    return true;
  }
  assert_int_equal(WEXITSTATUS(status), 0);
  return false;
}

static bool is_prepared(struct world *w) {
  char *changesets = rows(w->other, "SELECT count(*) FROM vow_changeset");
  char *locks = rows(w->other, "SELECT count(*) > 0 FROM vow_lock");
  bool result = strcmp(changesets, "1") == 0;
  assert_string_equal(changesets, locks);
  sqlite3_free(changesets);
  sqlite3_free(locks);
  return result;
}

static bool is_applied(struct world *w) {
  char *found = rows(w->other, "SELECT balance, email FROM account ORDER BY id");
  char *journal = rows(w->other, "SELECT count(*) FROM journal");
  bool result = strcmp(found, "60|a@x\n140|c@x") == 0;
  assert_string_equal(journal, result ? "2" : "0");
  if (!result) assert_string_equal(found, "100|a@x\n100|b@x");
  sqlite3_free(found);
  sqlite3_free(journal);
  return result;
}

/* The parent keeps no connection open across fork: the child could not use it, and would close it.
 */
static struct world *world_for_children(const char *journal) {
  struct world *w = world_new_with(accounts, journal, 0);
  detach(w);
  return w;
}

/* Kills at every `step`-th statement. */
static void sweep(const char *journal, enum deed deed, int step) {
  bool killed = true;
  int kills = 0;
  bool before = false;
  bool after = false;
  for (int n = 0; killed; n += step) {
    assert_true(n < 1000);
    struct world *w = world_for_children(journal);
    if (deed != PREPARE) {
      attach(w);
      prepared(w, 1, work);
      detach(w);
    }
    sqlite3_close(w->other);
    w->other = NULL;
    killed = do_and_die(w, deed, n);
    kills += killed;
    assert_int_equal(sqlite3_open(w->path, &w->other), SQLITE_OK);
    bool done = deed == PREPARE ? is_prepared(w) : !is_prepared(w);
    assert_int_equal(is_applied(w), deed == COMMIT && done);
    before |= !done;
    after |= done;
    attach(w);
    if (is_prepared(w)) committed(w, 1);
    at_rest(w);
    expect(w->other, "PRAGMA integrity_check", "ok");
    world_free(w);
  }
  assert_true(before && after && kills > 2);
}

static void prepare_is_all_or_nothing(void **state) {
  (void)state;
  sweep("WAL", PREPARE, 1);
  sweep("DELETE", PREPARE, 3);
}

static void commit_is_all_or_nothing(void **state) {
  (void)state;
  sweep("WAL", COMMIT, 1);
  sweep("DELETE", COMMIT, 3);
}

static void abort_is_all_or_nothing(void **state) {
  (void)state;
  sweep("WAL", ABORT, 1);
  sweep("DELETE", ABORT, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(prepare_is_all_or_nothing),
      cmocka_unit_test(commit_is_all_or_nothing),
      cmocka_unit_test(abort_is_all_or_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
