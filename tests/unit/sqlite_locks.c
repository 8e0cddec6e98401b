/*
 * The SQLite resource against everybody else: other prepared branches, and writers who have never
 * heard of vow, in all the ways in which SQL can reach a row. The rule: what a prepared branch will
 * do stays possible, and nobody's update is lost.
 */
#include <spawn.h>
#include <sys/wait.h>

#include "sqlite_world.h"

static const char accounts[] =
    "CREATE TABLE account(id TEXT PRIMARY KEY, balance INTEGER NOT NULL, email TEXT UNIQUE);"
    "INSERT INTO account VALUES('a', 100, 'a@x'), ('b', 100, 'b@x'), ('c', 100, NULL);";

#define ALL "SELECT id, balance, email FROM account ORDER BY id"

/* ---- branches among themselves ---- */

/* Branches on different rows are prepared at the same time, and end in any order. */
static void branches_on_different_rows_go_together(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET balance = balance - 1 WHERE id = 'a'");
  prepared(w, 2, "UPDATE account SET balance = balance - 2 WHERE id = 'b'");
  prepared(w, 3, "INSERT INTO account VALUES('d', 3, 'd@x')");
  committed(w, 3);
  committed(w, 1);
  aborted(w, 2);
  expect(w->other, ALL, "a|99|a@x\nb|100|b@x\nc|100|-\nd|3|d@x");
  at_rest(w);
  world_free(w);
}

/* On the same row the second branch votes abort, until the first has ended. */
static void the_second_branch_on_a_row_votes_abort(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET balance = balance - 1 WHERE id = 'a'");
  refused(w, 2, "UPDATE account SET balance = balance - 2 WHERE id = 'a'", LOCKED);
  refused(w, 2, "UPDATE account SET balance = balance - 2", LOCKED);
  refused(w, 2, "DELETE FROM account", LOCKED);
  refused(w, 2, "INSERT OR REPLACE INTO account VALUES('a', 1, 'new')", LOCKED);
  aborted(w, 1);
  prepared(w, 2, "UPDATE account SET balance = balance - 2 WHERE id = 'a'");
  committed(w, 2);
  expect(w->other, ALL, "a|98|a@x\nb|100|b@x\nc|100|-");
  at_rest(w);
  world_free(w);
}

/* The same holds for branches that share one database transaction, as the log batches them. */
static void branches_of_one_batch_conflict_as_well(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  sql(w->db, "BEGIN IMMEDIATE");
  assert_int_equal(prepare_open(w, 1, "UPDATE account SET balance = 1 WHERE id = 'a'"),
                   VOW_VOTE_COMMIT);
  assert_int_equal(prepare_open(w, 2, "UPDATE account SET balance = 2 WHERE id = 'a'"),
                   VOW_VOTE_ABORT);
  assert_int_equal(prepare_open(w, 3, "UPDATE account SET balance = 3 WHERE id = 'b'"),
                   VOW_VOTE_COMMIT);
  assert_int_equal(finish_open(w, 1, true), VOW_OK);
  assert_int_equal(prepare_open(w, 4, "UPDATE account SET balance = 4 WHERE id = 'a'"),
                   VOW_VOTE_COMMIT);
  sql(w->db, "COMMIT");
  committed(w, 4);
  committed(w, 3);
  expect(w->other, ALL, "a|4|a@x\nb|3|b@x\nc|100|-");
  at_rest(w);
  world_free(w);
}

/* When a batch is rolled back, guards and locks go together, and what is remembered of them as
 * well. */
static void a_rolled_back_batch_is_forgotten(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  sql(w->db, "BEGIN IMMEDIATE");
  assert_int_equal(prepare_open(w, 1, "UPDATE account SET balance = 1 WHERE id = 'a'"),
                   VOW_VOTE_COMMIT);
  sql(w->db, "ROLLBACK");
  expect(w->other, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'", "0");
  prepared(w, 1, "UPDATE account SET balance = 1 WHERE id = 'a'");
  sql_fails(w->other, "UPDATE account SET balance = 5 WHERE id = 'a'", LOCKED);
  committed(w, 1);
  sql(w->other, "DROP TRIGGER vow_guard_account_update; UPDATE account SET balance = 100");
  sql(w->db, "BEGIN IMMEDIATE");
  assert_int_equal(prepare_open(w, 1, "UPDATE account SET balance = 1 WHERE id = 'a'"),
                   VOW_VOTE_COMMIT);
  sql(w->db, "ROLLBACK");
  /* As many changes of the schema as vow had made, so that the version is one that it has seen. */
  sql(w->other, "CREATE UNIQUE INDEX one ON account(balance) WHERE balance < 10");
  sql(w->other, "CREATE TABLE two(a)");
  sql(w->other, "CREATE TABLE three(a)");
  prepared(w, 2, "UPDATE account SET balance = 2 WHERE id = 'a'");
  sql_fails(w->other, "UPDATE account SET balance = 5 WHERE id = 'a'", LOCKED);
  sql_fails(w->other, "UPDATE account SET balance = 2 WHERE id = 'b'", LOCKED);
  committed(w, 2);
  at_rest(w);
  world_free(w);
}

/* ---- writers who know nothing of vow ---- */

/* Every way to change a locked row fails with one clear error; other rows can be changed. */
static void a_locked_row_is_kept_from_every_writer(void **state) {
  (void)state;
  static const char *const attempts[] = {
      "UPDATE account SET balance = 0 WHERE id = 'a'",
      "UPDATE account SET balance = balance WHERE id = 'a'",
      "UPDATE account SET balance = 0",
      "UPDATE account SET id = 'z' WHERE id = 'a'",
      "UPDATE OR IGNORE account SET balance = 0 WHERE id = 'a'",
      "UPDATE OR REPLACE account SET balance = 0 WHERE id = 'a'",
      "DELETE FROM account WHERE id = 'a'",
      "DELETE FROM account",
      "INSERT OR REPLACE INTO account VALUES('a', 0, 'new@x')",
      "REPLACE INTO account VALUES('z', 0, 'a@x')",
      "UPDATE OR REPLACE account SET email = 'a@x' WHERE id = 'b'",
      "UPDATE OR REPLACE account SET id = 'a' WHERE id = 'b'",
      "INSERT INTO account VALUES('a', 0, 'q') ON CONFLICT(id) DO UPDATE SET balance = 0",
      "INSERT INTO account VALUES('q', 0, 'a@x') ON CONFLICT(email) DO UPDATE SET balance = 0",
      "WITH x AS (SELECT 'a' AS i) UPDATE account SET balance = 1 FROM x WHERE id = i",
  };
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET balance = balance - 1 WHERE id = 'a'");
  for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
    sql_fails(w->other, attempts[i], LOCKED);
    expect(w->other, ALL, "a|100|a@x\nb|100|b@x\nc|100|-");
  }
  sql(w->other, "PRAGMA recursive_triggers = ON");
  sql_fails(w->other, "REPLACE INTO account VALUES('z', 0, 'a@x')", LOCKED);
  sql(w->other, "INSERT OR IGNORE INTO account VALUES('a', 0, 'a@x')");
  sql(w->other, "INSERT INTO account VALUES('a', 0, 'q') ON CONFLICT DO NOTHING");
  sql_fails(w->other, "INSERT INTO account VALUES('a', 0, 'q')", "UNIQUE constraint failed");
  sql(w->other, "UPDATE account SET balance = 0 WHERE id = 'b'");
  committed(w, 1);
  sql(w->other, "UPDATE account SET balance = balance + 1 WHERE id = 'a'");
  expect(w->other, ALL, "a|100|a@x\nb|0|b@x\nc|100|-");
  at_rest(w);
  world_free(w);
}

/* Where the rowid is not the primary key, a row can be replaced by it with no key in common. */
static void a_locked_row_is_not_replaced_by_its_rowid(void **state) {
  (void)state;
  static const char *const attempts[] = {
      "REPLACE INTO t(rowid, k, v) VALUES(1, 'z', 99)",
      "UPDATE OR REPLACE t SET rowid = 1 WHERE k = 'b'",
      "REPLACE INTO named(oid, k, rowid) VALUES(1, 'z', 99)",
      "UPDATE OR REPLACE named SET _rowid_ = 1 WHERE k = 'b'",
  };
  struct world *w = world_new(
      "CREATE TABLE t(k TEXT PRIMARY KEY, v); INSERT INTO t VALUES('a', 1), ('b', 2);"
      "CREATE TABLE named(k TEXT PRIMARY KEY, rowid); INSERT INTO named VALUES('a', 1), ('b', 2);"
      "CREATE TABLE without(k TEXT PRIMARY KEY, v) WITHOUT ROWID;"
      "CREATE TABLE taken(k TEXT PRIMARY KEY, RowId, oid, _rowid_);");
  prepared(w, 1,
           "UPDATE t SET v = 5 WHERE k = 'a'; UPDATE named SET rowid = 5 WHERE k = 'a';"
           "INSERT INTO without VALUES('a', 1); INSERT INTO taken VALUES('a', 1, 1, 1)");
  for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
    sql_fails(w->other, attempts[i], LOCKED);
    refused(w, 2, attempts[i], LOCKED);
  }
  sql(w->other, "REPLACE INTO t(rowid, k, v) VALUES(2, 'z', 99); INSERT INTO t VALUES('y', 0)");
  sql(w->other, "UPDATE OR REPLACE t SET rowid = 7 WHERE k = 'z'");
  sql(w->other, "INSERT INTO named VALUES('c', 1); UPDATE named SET rowid = 1 WHERE k = 'b'");
  committed(w, 1);
  expect(w->other, "SELECT k, v FROM t ORDER BY k", "a|5\ny|0\nz|99");
  expect(w->other, "SELECT k, rowid FROM named ORDER BY k", "a|5\nb|1\nc|1");
  at_rest(w);
  world_free(w);
}

/* Keys that a prepared branch will take, or will free, can be taken by nobody. */
static void keys_that_come_and_go_are_kept_free(void **state) {
  (void)state;
  static const char *const attempts[] = {
      "INSERT INTO account VALUES('d', 0, NULL)", /* 1 inserts d */
      "INSERT OR REPLACE INTO account VALUES('d', 0, NULL)",
      "INSERT OR IGNORE INTO account VALUES('d', 0, NULL)",
      "UPDATE account SET id = 'd' WHERE id = 'b'",
      "INSERT INTO account VALUES('x', 0, 'd@x')", /* and its email */
      "UPDATE account SET email = 'd@x' WHERE id = 'b'",
      "INSERT INTO account VALUES('x', 0, 'new@x')", /* 2 gives a another email */
      "REPLACE INTO account VALUES('x', 0, 'a@x')",
      "UPDATE account SET email = 'new@x' WHERE id = 'b'",
      "REPLACE INTO account VALUES('c', 0, NULL)", /* 3 deletes c */
      "UPDATE OR REPLACE account SET id = 'c' WHERE id = 'b'",
  };
  struct world *w = world_new(accounts);
  prepared(w, 1, "INSERT INTO account VALUES('d', 1, 'd@x')");
  prepared(w, 2, "UPDATE account SET email = 'new@x' WHERE id = 'a'");
  prepared(w, 3, "DELETE FROM account WHERE id = 'c'");
  for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
    sql_fails(w->other, attempts[i], LOCKED);
    refused(w, 4, attempts[i], LOCKED);
  }
  committed(w, 2);
  committed(w, 1);
  committed(w, 3);
  expect(w->other, ALL, "a|100|new@x\nb|100|b@x\nd|1|d@x");
  sql(w->other, "INSERT INTO account VALUES('c', 0, 'a@x')");
  at_rest(w);
  world_free(w);
}

static char *program; /* this one */

/* A writer in another process gets the same error. */
static void another_process_is_kept_away(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET balance = 1 WHERE id = 'a'");
  char *const arguments[] = {program, w->path, NULL};
  pid_t child = 0;
  int status = 0;
  assert_int_equal(posix_spawn(&child, program, NULL, NULL, arguments, environ), 0);
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), SQLITE_CONSTRAINT);
  committed(w, 1);
  expect(w->other, "SELECT balance FROM account WHERE id = 'a'", "1");
  world_free(w);
}

/* What that other process does. */
static int be_the_writer(const char *path) {
  sqlite3 *db = NULL;
  if (sqlite3_open(path, &db) != SQLITE_OK) return 1;
  sqlite3_busy_timeout(db, 2000);
  int rc = sqlite3_exec(db, "UPDATE account SET balance = 0 WHERE id = 'a'", NULL, NULL, NULL);
  if (!strstr(sqlite3_errmsg(db), LOCKED)) rc = 1;
  sqlite3_close(db);
  return rc;
}

/* A writer whose triggers reach a locked row is stopped there, and all of its statement is undone.
 */
static void a_writers_own_triggers_are_stopped(void **state) {
  (void)state;
  static const char schema[] =
      "CREATE TABLE account(id TEXT PRIMARY KEY, balance INTEGER);"
      "CREATE TABLE total(id INTEGER PRIMARY KEY, sum INTEGER);"
      "CREATE TRIGGER roll AFTER UPDATE ON account BEGIN"
      "  UPDATE total SET sum = sum + NEW.balance - OLD.balance WHERE id = 1; END;"
      "INSERT INTO account VALUES('a', 100), ('b', 100); INSERT INTO total VALUES(1, 200);";
  struct world *w = world_new(schema);
  prepared(w, 1, "UPDATE account SET balance = 90 WHERE id = 'a'");
  sql_fails(w->other, "UPDATE account SET balance = 50 WHERE id = 'b'",
            "a row of total is locked by a prepared transaction");
  refused(w, 2, "UPDATE account SET balance = 50 WHERE id = 'b'", LOCKED);
  expect(w->other, "SELECT balance FROM account", "100\n100");
  committed(w, 1);
  sql(w->other, "UPDATE account SET balance = 50 WHERE id = 'b'");
  expect(w->other, "SELECT sum FROM total", "140");
  at_rest(w);
  world_free(w);
}

/* ---- ids that SQLite chooses ---- */

/* A rowid chosen at prepare is kept: without AUTOINCREMENT other automatic inserts must wait, with
 * it they go on behind it. */
static void ids_chosen_at_prepare_are_kept(void **state) {
  (void)state;
  static const char schema[] =
      "CREATE TABLE plain(id INTEGER PRIMARY KEY, v);"
      "CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, v);"
      "INSERT INTO plain VALUES(5, 'old');";
  struct world *w = world_new(schema);
  prepared(w, 1, "INSERT INTO plain(v) VALUES('one')");
  sql_fails(w->other, "INSERT INTO plain(v) VALUES('two')", LOCKED);
  refused(w, 2, "INSERT INTO plain(v) VALUES('two')", LOCKED);
  sql(w->other, "INSERT INTO plain VALUES(3, 'three')");
  prepared(w, 3, "INSERT INTO counted(v) VALUES('one')");
  sql(w->other, "INSERT INTO counted(v) VALUES('two')");
  prepared(w, 4, "INSERT INTO counted(v) VALUES('three')");
  prepared(w, 5, "INSERT INTO counted(v) VALUES('four')");
  aborted(w, 4);
  committed(w, 1);
  committed(w, 5);
  committed(w, 3);
  expect(w->other, "SELECT * FROM plain ORDER BY id", "3|three\n5|old\n6|one");
  expect(w->other, "SELECT * FROM counted ORDER BY id", "1|one\n2|two\n4|four");
  at_rest(w);
  world_free(w);
}

/* ---- when are keys equal? ---- */

/* Keys are compared as SQLite compares them: by type and by collation. */
static void keys_compare_as_in_sqlite(void **state) {
  (void)state;
  static const char schema[] =
      "CREATE TABLE loose(id PRIMARY KEY, v);"
      "CREATE TABLE person(id INTEGER PRIMARY KEY, email TEXT COLLATE NOCASE UNIQUE,"
      " code TEXT, nick TEXT, UNIQUE(code COLLATE RTRIM, nick));"
      "CREATE TABLE reals(id REAL PRIMARY KEY, v);"
      "CREATE TABLE numbers(id NUMERIC PRIMARY KEY, v);";
  struct world *w = world_new(schema);
  prepared(w, 1,
           "INSERT INTO loose VALUES(1, 0), (2.0, 0), ('x', 0), (x'79', 0), ('3', 0);"
           "INSERT INTO person VALUES(1, 'Ann@X', 'k', 'n'), (2, NULL, NULL, 'm');"
           "INSERT INTO reals VALUES(7, 0); INSERT INTO numbers VALUES('8', 0), ('z', 0)");
  static const char *const taken[] = {
      "INSERT INTO loose VALUES(1.0, 1)",
      "INSERT INTO loose VALUES(2, 1)",
      "INSERT INTO loose VALUES('x', 1)",
      "INSERT INTO loose VALUES(x'79', 1)",
      "INSERT INTO person VALUES(1.0, 'q', 0, 0)",
      "INSERT INTO person VALUES(9, 'aNN@x', 0, 0)",
      "INSERT INTO person VALUES(9, 'q', 'k  ', 'n')",
      "INSERT INTO reals VALUES(7, 1)",
      "INSERT INTO reals VALUES(7.0, 1)",
      "INSERT INTO numbers VALUES(8, 1)",
      "INSERT INTO numbers VALUES(8.0, 1)",
      "INSERT INTO numbers VALUES('z', 1)",
  };
  for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) sql_fails(w->other, taken[i], LOCKED);
  sql(w->other,
      "INSERT INTO loose VALUES('1', 1), (x'78', 1), ('y', 1), (3, 1), ('X', 1);"
      "INSERT INTO person VALUES(3, NULL, NULL, 'm'), (4, 'bob', 'k', 'N'), (5, 'eve', 'K', 'n');"
      "INSERT INTO reals VALUES(7.5, 1); INSERT INTO numbers VALUES(8.5, 1), ('Z', 1)");
  committed(w, 1);
  expect(w->other, "SELECT count(*) FROM loose", "10");
  at_rest(w);
  world_free(w);
}

/* A key that is rewritten as one that compares equal could not be applied, so it is refused. */
static void a_key_rewritten_as_an_equal_one_is_refused(void **state) {
  (void)state;
  struct world *w =
      world_new("CREATE TABLE loose(id PRIMARY KEY, v); INSERT INTO loose VALUES(1, 0)");
  refused(w, 1, "UPDATE loose SET id = 1.0", "compares equal");
  refused(w, 1, "DELETE FROM loose; INSERT INTO loose VALUES(1.0, 5)", "compares equal");
  expect(w->other, "SELECT typeof(id) FROM loose", "integer");
  at_rest(w);
  world_free(w);
}

/* Composite keys, tables without a rowid, and odd names. */
static void composite_keys_and_odd_names(void **state) {
  (void)state;
  static const char schema[] =
      "CREATE TABLE \"a \"\" 'b\"(\"x y\" TEXT, \"select\" INT, v, PRIMARY KEY(\"select\", \"x "
      "y\"))"
      " WITHOUT ROWID;"
      "INSERT INTO \"a \"\" 'b\" VALUES('p', 1, 0), ('p', 2, 0), ('q', 1, 0);";
  struct world *w = world_new(schema);
  prepared(w, 1, "UPDATE \"a \"\" 'b\" SET v = 1 WHERE \"x y\" = 'p' AND \"select\" = 1");
  sql_fails(w->other, "UPDATE \"a \"\" 'b\" SET v = 2 WHERE \"x y\" = 'p' AND \"select\" = 1",
            LOCKED);
  sql(w->other, "UPDATE \"a \"\" 'b\" SET v = 2 WHERE \"x y\" = 'p' AND \"select\" = 2");
  sql(w->other, "UPDATE \"a \"\" 'b\" SET v = 2 WHERE \"x y\" = 'q'");
  committed(w, 1);
  expect(w->other, "SELECT * FROM \"a \"\" 'b\" ORDER BY 1, 2", "p|1|1\np|2|2\nq|1|2");
  at_rest(w);
  world_free(w);
}

/* A partial unique index is guarded as if it had no condition: too much is kept away, never too
 * little. */
static void partial_indexes_are_guarded(void **state) {
  (void)state;
  static const char schema[] =
      "CREATE TABLE task(id INTEGER PRIMARY KEY, owner TEXT, active INT);"
      "CREATE UNIQUE INDEX task_active ON task(owner) WHERE active;"
      "INSERT INTO task VALUES(1, 'o', 1), (2, 'o', 0), (3, 'p', 0);";
  struct world *w = world_new(schema);
  prepared(w, 1,
           "UPDATE task SET active = 0 WHERE id = 1; UPDATE task SET active = 1 WHERE id = 2;"
           "UPDATE task SET active = 1 WHERE id = 3");
  sql_fails(w->other, "INSERT OR REPLACE INTO task VALUES(4, 'o', 1)", LOCKED);
  sql_fails(w->other, "INSERT INTO task VALUES(4, 'p', 1)", LOCKED);
  sql(w->other, "INSERT INTO task VALUES(4, 'q', 0)");
  sql_fails(w->other, "UPDATE task SET owner = 'p', active = 1 WHERE id = 4", LOCKED);
  committed(w, 1);
  expect(w->other, "SELECT id, active FROM task ORDER BY id", "1|0\n2|1\n3|1\n4|0");
  prepared(w, 2, "UPDATE task SET active = 1, owner = 'r' WHERE id = 4");
  sql(w->other, "INSERT INTO task VALUES(5, 's', 0)");
  sql_fails(w->other, "UPDATE task SET active = 1, owner = 'r' WHERE id = 5", LOCKED);
  committed(w, 2);
  at_rest(w);
  world_free(w);
}

/* What a partial unique index holds may change hands, in whatever order the rows are applied. */
static void partial_indexes_may_change_hands(void **state) {
  (void)state;
  static const char schema[] =
      "CREATE TABLE task(id INTEGER PRIMARY KEY, owner INT, active INT);"
      "CREATE UNIQUE INDEX task_active ON task(owner) WHERE active;"
      "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 19)"
      "INSERT INTO task SELECT i, i / 2, (i + i / 4) % 2 FROM n;";
  struct world *w = world_new(schema);
  prepared(w, 1,
           "UPDATE task SET owner = -1 - id; UPDATE task SET active = 1 - active;"
           "UPDATE task SET owner = id / 2");
  committed(w, 1);
  expect(w->other, "SELECT sum(active = (id + id / 4 + 1) % 2), count(*) FROM task", "20|20");
  at_rest(w);
  world_free(w);
}

/* Once guarded, a table takes no NULL into its primary key: a session would not see that row. */
static void a_guarded_table_takes_no_null_key(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET balance = 1 WHERE id = 'a'");
  sql_fails(w->other, "INSERT INTO account VALUES(NULL, 1, NULL)", "vow: NULL in a primary key");
  sql_fails(w->other, "UPDATE account SET id = NULL WHERE id = 'b'", "vow: NULL in a primary key");
  committed(w, 1);
  world_free(w);
  w = world_new("CREATE TABLE t(id TEXT PRIMARY KEY, v UNIQUE); INSERT INTO t VALUES(NULL, 1)");
  refused(w, 1, "INSERT OR REPLACE INTO t VALUES('x', 1)", "NULL in its primary key");
  refused(w, 1, "DELETE FROM t; INSERT INTO t VALUES('x', 1)", "NULL in its primary key");
  at_rest(w);
  world_free(w);
}

int main(int count, char **arguments) {
  if (count == 2) return be_the_writer(arguments[1]);
  program = arguments[0];
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(branches_on_different_rows_go_together),
      cmocka_unit_test(the_second_branch_on_a_row_votes_abort),
      cmocka_unit_test(branches_of_one_batch_conflict_as_well),
      cmocka_unit_test(a_rolled_back_batch_is_forgotten),
      cmocka_unit_test(a_locked_row_is_kept_from_every_writer),
      cmocka_unit_test(a_locked_row_is_not_replaced_by_its_rowid),
      cmocka_unit_test(keys_that_come_and_go_are_kept_free),
      cmocka_unit_test(another_process_is_kept_away),
      cmocka_unit_test(a_writers_own_triggers_are_stopped),
      cmocka_unit_test(ids_chosen_at_prepare_are_kept),
      cmocka_unit_test(keys_compare_as_in_sqlite),
      cmocka_unit_test(a_key_rewritten_as_an_equal_one_is_refused),
      cmocka_unit_test(composite_keys_and_odd_names),
      cmocka_unit_test(partial_indexes_are_guarded),
      cmocka_unit_test(partial_indexes_may_change_hands),
      cmocka_unit_test(a_guarded_table_takes_no_null_key),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
