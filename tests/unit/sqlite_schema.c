/*
 * The SQLite resource and the rest of the application's schema: foreign keys, schema changes
 * between prepare and commit, and writers who get past the guards. The rule: no branch is half
 * applied, and what cannot be applied says why and commits as soon as that is mended.
 */
#include "sqlite_world.h"

static const char family[] =
    "CREATE TABLE parent(id INTEGER PRIMARY KEY, code TEXT UNIQUE, note);"
    "CREATE TABLE child(id INTEGER PRIMARY KEY, parent REFERENCES parent ON DELETE CASCADE,"
    " code TEXT REFERENCES parent(code) DEFERRABLE INITIALLY DEFERRED, v);"
    "INSERT INTO parent VALUES(1, 'one', 0), (2, 'two', 0), (3, 'three', 0);"
    "INSERT INTO child VALUES(1, 1, NULL, 0);";

static const char accounts[] =
    "CREATE TABLE account(id TEXT PRIMARY KEY, balance INTEGER NOT NULL);"
    "INSERT INTO account VALUES('a', 100), ('b', 100);";

/* The commit must fail with this text in its reason, and change nothing. */
static void commit_fails(struct world *w, int transaction, const char *expected) {
  enum vow_error error = finish(w, transaction, true);
  if (error == VOW_OK) fail_msg("commit succeeded, but should say \"%s\"", expected);
  if (!strstr(w->reason.text, expected)) {
    fail_msg("commit says \"%s\", not \"%s\"", w->reason.text, expected);
  }
}

/* ---- foreign keys ---- */

/* A row that a prepared row refers to cannot be deleted or re-keyed, but it can change otherwise.
 */
static void a_parent_stays_for_its_prepared_child(void **state) {
  (void)state;
  struct world *w = world_new_with(family, "WAL", 1);
  prepared(w, 1, "INSERT INTO child VALUES(2, 2, 'three', 0)");
  prepared(w, 2, "INSERT INTO child VALUES(3, 2, NULL, 0)");
  static const char *const attempts[] = {
      "DELETE FROM parent WHERE id = 2",         "DELETE FROM parent WHERE id = 3",
      "UPDATE parent SET id = 9 WHERE id = 2",   "UPDATE parent SET code = 'x' WHERE id = 3",
      "REPLACE INTO parent VALUES(9, 'two', 0)", "REPLACE INTO parent VALUES(2, 'x', 0)",
  };
  for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
    sql_fails(w->other, attempts[i], LOCKED);
  }
  sql(w->other, "UPDATE parent SET note = 1 WHERE id IN (2, 3)");
  prepared(w, 3, "UPDATE parent SET note = note + 1 WHERE id = 2");
  prepared(w, 4, "INSERT INTO child VALUES(4, 2, NULL, 0)");
  sql_fails(w->other, "UPDATE parent SET note = 1 WHERE id = 2", LOCKED);
  for (int i = 1; i <= 4; i++) committed(w, i);
  expect(w->other, "SELECT * FROM child ORDER BY id", "1|1|-|0\n2|2|three|0\n3|2|-|0\n4|2|-|0");
  expect(w->other, "SELECT id, note FROM parent ORDER BY id", "1|0\n2|2\n3|1");
  expect(w->other, "PRAGMA foreign_key_check", "");
  at_rest(w);
  sql(w->other, "DELETE FROM parent WHERE id = 2");
  world_free(w);
}

/* With foreign keys on, what would break them at commit is refused at prepare. */
static void foreign_keys_are_enforced_at_prepare(void **state) {
  (void)state;
  struct world *w = world_new_with(family, "WAL", 1);
  refused(w, 1, "INSERT INTO child VALUES(2, 99, NULL, 0)", "FOREIGN KEY constraint failed");
  refused(w, 1, "INSERT INTO child VALUES(2, 1, 'none', 0)", "leaves a foreign key violated");
  refused(w, 1, "DELETE FROM parent WHERE id = 3", "deletes or re-keys a row of parent");
  refused(w, 1, "UPDATE parent SET code = 'x' WHERE id = 3", "deletes or re-keys a row of parent");
  refused(w, 1, "UPDATE parent SET id = 9 WHERE id = 3", "deletes or re-keys a row of parent");
  prepared(w, 1,
           "INSERT INTO child VALUES(2, NULL, 'nine', 0); INSERT INTO parent VALUES(9, 'nine', 0)");
  aborted(w, 1);
  at_rest(w);
  world_free(w);
}

/* A row that a prepared branch will delete cannot be referred to any more. (With foreign keys on
 * there is no such branch; here they were off when it was prepared.) */
static void a_parent_that_will_go_is_not_referred_to(void **state) {
  (void)state;
  struct world *w = world_new(family);
  prepared(w, 1, "DELETE FROM parent WHERE id = 3");
  detach(w);
  w->options.foreign_keys = 1;
  attach(w);
  refused(w, 2, "INSERT INTO child VALUES(2, 3, NULL, 0)",
          "a row of parent is locked by the prepared transaction 0192f000");
  prepared(w, 2, "INSERT INTO child VALUES(2, 2, NULL, 0)");
  committed(w, 1);
  committed(w, 2);
  expect(w->other, "PRAGMA foreign_key_check", "");
  at_rest(w);
  world_free(w);
}

/* A local writer whose foreign keys cascade into a locked row is stopped. */
static void a_cascade_is_stopped(void **state) {
  (void)state;
  struct world *w = world_new(family);
  sql(w->other, "PRAGMA foreign_keys = ON");
  prepared(w, 1, "UPDATE child SET v = 1 WHERE id = 1");
  sql_fails(w->other, "DELETE FROM parent WHERE id = 1", LOCKED);
  expect(w->other, "SELECT count(*) FROM parent", "3");
  committed(w, 1);
  sql(w->other, "DELETE FROM parent WHERE id = 1");
  expect(w->other, "SELECT count(*) FROM child", "0");
  at_rest(w);
  world_free(w);
}

/* A re-keyed parent row is taken out and put back at commit; its children do not go with it. */
static void moving_a_row_does_not_cascade(void **state) {
  (void)state;
  static const char schema[] =
      "CREATE TABLE parent(id INTEGER PRIMARY KEY, email TEXT UNIQUE);"
      "CREATE TABLE child(id INTEGER PRIMARY KEY, parent REFERENCES parent ON DELETE CASCADE);"
      "INSERT INTO parent VALUES(1, 'x'); INSERT INTO child VALUES(1, 1);";
  struct world *w = world_new_with(schema, "WAL", 1);
  prepared(w, 1, "UPDATE parent SET email = 'y'");
  committed(w, 1);
  expect(w->other, "SELECT * FROM parent", "1|y");
  expect(w->other, "SELECT * FROM child", "1|1");
  prepared(w, 2, "INSERT INTO child VALUES(2, 1)");
  refused(w, 3, "INSERT INTO child VALUES(3, 7)", "FOREIGN KEY constraint failed");
  aborted(w, 2);
  at_rest(w);
  world_free(w);
}

/* ---- schema changes ---- */

/* An index, and a table made anew, get their guards with the next hook. */
static void guards_follow_the_schema(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET balance = 1 WHERE id = 'a'");
  committed(w, 1);
  sql(w->other, "CREATE UNIQUE INDEX later ON account(balance)");
  prepared(w, 2, "UPDATE account SET balance = 2 WHERE id = 'a'");
  sql_fails(w->other, "UPDATE account SET balance = 2 WHERE id = 'b'", LOCKED);
  committed(w, 2);
  sql(w->other, "DROP TABLE account");
  sql(w->other, accounts);
  expect(w->other, "SELECT count(*) FROM sqlite_schema WHERE name GLOB 'vow_guard_*_*'", "0");
  prepared(w, 3, "UPDATE account SET balance = 3 WHERE id = 'a'");
  sql_fails(w->other, "UPDATE account SET balance = 2 WHERE id = 'a'", LOCKED);
  committed(w, 3);
  sql(w->other, "ALTER TABLE account RENAME TO x; ALTER TABLE x RENAME TO Account");
  prepared(w, 3, "UPDATE account SET balance = 4 WHERE id = 'a'");
  sql_fails(w->other, "UPDATE account SET balance = 2 WHERE id = 'a'", LOCKED);
  committed(w, 3);
  sql(w->other, "DROP TABLE account; CREATE TABLE account(id, balance)");
  refused(w, 4, "INSERT INTO account VALUES(1, 1)", "no primary key");
  at_rest(w);
  world_free(w);
}

/* Columns may be added between prepare and commit. */
static void a_column_may_be_added_meanwhile(void **state) {
  (void)state;
  struct world *w = world_new(
      "CREATE TABLE seat(id INTEGER PRIMARY KEY, name TEXT UNIQUE, v);"
      "INSERT INTO seat VALUES(1, 'x', 0), (2, 'y', 0), (3, 'z', 0);");
  prepared(w, 1,
           "UPDATE seat SET v = 1 WHERE id = 1; UPDATE seat SET name = 'yy' WHERE id = 2;"
           "DELETE FROM seat WHERE id = 3; INSERT INTO seat VALUES(4, 'z', 4)");
  sql(w->other, "ALTER TABLE seat ADD COLUMN extra DEFAULT 'new'");
  sql_fails(w->other, "UPDATE seat SET extra = 'set' WHERE id = 2", LOCKED);
  committed(w, 1);
  expect(w->other, "SELECT * FROM seat ORDER BY id", "1|x|1|new\n2|yy|0|new\n4|z|4|new");
  at_rest(w);
  world_free(w);
}

/* Rows that are older than a column have its default, until the work writes something else. */
static void rows_may_lack_a_column(void **state) {
  (void)state;
  static const char *const schemas[] = {
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v)",
      "CREATE TABLE t(id TEXT PRIMARY KEY, v) WITHOUT ROWID",
  };
  static const char *const works[] = {
      "UPDATE t SET v = 9 WHERE id = 1",
      "UPDATE t SET x = 9 WHERE id = 2",
      "UPDATE t SET x = NULL WHERE id = 3",
      "UPDATE t SET x = NULL, v = 9, y = 9 WHERE id = 4",
      "REPLACE INTO t(id, v, x) VALUES(5, 1, NULL)",
      "UPDATE t SET id = 60 WHERE id = 6",
      "DELETE FROM t WHERE id = 7",
  };
  for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
    struct world *w = world_new(schemas[i]);
    sql(w->other,
        "INSERT INTO t VALUES(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1);"
        "ALTER TABLE t ADD COLUMN x DEFAULT 5; ALTER TABLE t ADD COLUMN y TEXT DEFAULT 7;"
        "CREATE UNIQUE INDEX u ON t(y, id)");
    assert_int_equal(prepare(w, 1, "UPDATE t SET v = v"), VOW_VOTE_READ_ONLY);
    for (int n = 0; n < 7; n++) prepared(w, 1 + n, works[n]);
    expect(w->other, "SELECT count(*) FROM t WHERE v = 1 AND x = 5 AND y = '7'", "8");
    sql_fails(w->other, "UPDATE t SET x = 1 WHERE id = 3", LOCKED);
    for (int n = 0; n < 7; n++) committed(w, 1 + n);
    expect(w->other, "SELECT * FROM t ORDER BY CAST(id AS INT)",
           "1|9|5|7\n2|1|9|7\n3|1|-|7\n4|9|-|9\n5|1|-|7\n8|1|5|7\n60|1|5|7");
    at_rest(w);
    world_free(w);
  }
}

/* After any other schema change the commit fails with the way out, and succeeds once it is taken.
 */
static void a_changed_schema_stops_the_commit_until_mended(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET balance = 1 WHERE id = 'a'");
  sql(w->other, "ALTER TABLE account RENAME COLUMN balance TO amount");
  commit_fails(w, 1, "account(id KEY,balance)");
  sql(w->other, "ALTER TABLE account RENAME COLUMN amount TO balance");
  sql(w->other, "ALTER TABLE account RENAME TO konto");
  commit_fails(w, 1, "table account is not as it was at prepare");
  sql_fails(w->other, "UPDATE konto SET balance = 5 WHERE id = 'a'", LOCKED);
  sql(w->other, "ALTER TABLE konto RENAME TO account");
  sql_fails(w->other, "UPDATE account SET balance = 5 WHERE id = 'a'", LOCKED);
  committed(w, 1);
  expect(w->other, "SELECT * FROM account ORDER BY id", "a|1\nb|100");
  at_rest(w);
  prepared(w, 2, "DELETE FROM account WHERE id = 'b'");
  sql(w->other, "DROP TABLE account");
  commit_fails(w, 2, "restore it");
  sql(w->other, accounts);
  committed(w, 2);
  expect(w->other, "SELECT * FROM account", "a|100");
  at_rest(w);
  world_free(w);
}

/* ---- past the guards ---- */

/* Whoever wrote past the guards is found out at commit: nothing is applied, nothing is overwritten.
 */
static void a_write_past_the_guards_is_not_overwritten(void **state) {
  (void)state;
  static const struct {
    const char *work;
    const char *wrong;
    const char *mended;
  } cases[] = {
      {"UPDATE account SET balance = 1 WHERE id = 'a'", "UPDATE account SET balance = 50",
       "UPDATE account SET balance = 100"},
      {"DELETE FROM account WHERE id = 'a'", "UPDATE account SET balance = 50",
       "UPDATE account SET balance = 100"},
      {"DELETE FROM account WHERE id = 'a'", "DELETE FROM account WHERE id = 'a'",
       "INSERT INTO account VALUES('a', 100)"},
      {"UPDATE account SET balance = 1 WHERE id = 'a'", "DELETE FROM account WHERE id = 'a'",
       "INSERT INTO account VALUES('a', 100)"},
      {"UPDATE account SET balance = 7 WHERE id = 'b'; INSERT INTO account VALUES('c', 1)",
       "INSERT INTO account VALUES('c', 2)", "DELETE FROM account WHERE id = 'c'"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct world *w = world_new(accounts);
    prepared(w, 1, cases[i].work);
    sqlite3_db_config(w->other, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sql(w->other, cases[i].wrong);
    char *before = rows(w->other, "SELECT * FROM account ORDER BY id");
    commit_fails(w, 1, "");
    assert_true(w->reason.text[0] != '\0');
    expect(w->other, "SELECT * FROM account ORDER BY id", before);
    sqlite3_free(before);
    sql(w->other, cases[i].mended);
    committed(w, 1);
    at_rest(w);
    world_free(w);
  }
}

/* Triggers and foreign keys are back in force after a commit that failed. */
static void enforcement_is_back_after_a_failed_commit(void **state) {
  (void)state;
  struct world *w = world_new_with(family, "WAL", 1);
  prepared(w, 1, "UPDATE child SET v = 1 WHERE id = 1");
  sqlite3_db_config(w->other, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
  sql(w->other, "UPDATE child SET v = 9 WHERE id = 1");
  commit_fails(w, 1, "something wrote past the guards");
  refused(w, 2, "UPDATE child SET v = 2 WHERE id = 1", LOCKED);
  refused(w, 2, "INSERT INTO child VALUES(2, 99, NULL, 0)", "FOREIGN KEY constraint failed");
  aborted(w, 1);
  at_rest(w);
  world_free(w);
}

/* A changeset that is missing or damaged is an error, never a success. */
static void a_damaged_changeset_is_an_error(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  commit_fails(w, 1, "missing from table vow_changeset");
  prepared(w, 1, "UPDATE account SET balance = 1");
  sql(w->other, "UPDATE vow_changeset SET changeset = substr(changeset, 1, 20)");
  commit_fails(w, 1, "");
  expect(w->other, "SELECT max(balance), min(balance) FROM account", "100|100");
  sql(w->other, "UPDATE vow_changeset SET changeset = zeroblob(20)");
  commit_fails(w, 1, "");
  sql(w->other, "UPDATE vow_changeset SET changeset = x''");
  commit_fails(w, 1, "");
  aborted(w, 1);
  at_rest(w);
  world_free(w);
}

static void twice(sqlite3_context *context, int count, sqlite3_value **values) {
  (void)count;
  sqlite3_result_int64(context, 2 * sqlite3_value_int64(values[0]));
}

static int teardowns;

static void count_teardown(void *context, sqlite3 *db) {
  (void)context;
  assert_non_null(db);
  teardowns++;
}

static enum vow_error register_twice(void *context, sqlite3 *db) {
  (void)context;
  int rc = sqlite3_create_function(db, "twice", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, twice,
                                   NULL, NULL);
  return rc == SQLITE_OK ? VOW_OK : VOW_E_DATABASE;
}

/* Functions of the application are there for the work, and for the commit after a restart. */
static void the_application_sets_the_connection_up(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  refused(w, 1, "UPDATE account SET balance = twice(balance)", "no such function: twice");
  detach(w);
  w->options.setup = register_twice;
  w->options.teardown = count_teardown;
  attach(w);
  prepared(w, 1, "UPDATE account SET balance = twice(balance)");
  detach(w);
  attach(w);
  committed(w, 1);
  expect(w->other, "SELECT balance FROM account", "200\n200");
  assert_int_equal(teardowns, 1);
  world_free(w);
  assert_int_equal(teardowns, 2);
}

static const char *pragma;

static enum vow_error run_pragma(void *context, sqlite3 *db) {
  (void)context;
  return sqlite3_exec(db, pragma, NULL, NULL, NULL) == SQLITE_OK ? VOW_OK : VOW_E_DATABASE;
}

/* Foreign keys that the setup switches on would be off again after the first commit, a vote that is
 * not synced is no promise, and without a journal a vote to abort takes nothing back. */
static void the_setup_leaves_vow_s_settings_alone(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"PRAGMA foreign_keys = ON", "foreign_keys from 0 to 1, which is vow's to set: say it with"},
      {"PRAGMA synchronous = NORMAL", "synchronous from 0 to 1"},
      {"PRAGMA wal_autocheckpoint = 7", "wal_autocheckpoint from 1000 to 7"},
      {"PRAGMA journal_mode = OFF", "journal_mode to off, with which nothing that is promised"},
      {"PRAGMA journal_mode = MEMORY", "journal_mode to memory, with which nothing"},
      {"BEGIN", "left a transaction open"},
      {"SAVEPOINT mine", "left a transaction open"},
  };
  struct world *w = world_new_with(accounts, "DELETE", 0);
  detach(w);
  w->options.setup = run_pragma;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char why[256] = "";
    pragma = cases[i][0];
    assert_int_equal(try_attach(w, why, sizeof why), VOW_E_INVALID_ARGUMENT);
    if (!strstr(why, cases[i][1])) fail_msg("%s: %s", pragma, why);
    detach(w);
  }
  pragma = "PRAGMA cache_size = 100; PRAGMA recursive_triggers = ON";
  attach(w);
  world_free(w);
}

/* What it does at prepare is in the branch, and SQLite has no way to keep it from doing it again.
 */
static void a_temporary_trigger_is_refused(void **state) {
  (void)state;
  static const char *const refused_ones[] = {
      "CREATE TEMP TRIGGER audit AFTER UPDATE ON main.account BEGIN"
      "  INSERT INTO account VALUES(NEW.id || '+', 0); END",
      "CREATE TEMP TRIGGER audit AFTER UPDATE ON Account BEGIN SELECT 1; END",
  };
  char why[256] = "";
  struct world *w = world_new(accounts);
  detach(w);
  w->options.setup = run_pragma;
  for (size_t i = 0; i < sizeof refused_ones / sizeof *refused_ones; i++) {
    pragma = refused_ones[i];
    assert_int_equal(try_attach(w, why, sizeof why), VOW_E_INVALID_ARGUMENT);
    assert_non_null(strstr(why, "the temporary trigger audit on "));
    detach(w);
  }
  pragma =
      "CREATE VIEW payment AS SELECT id, balance AS amount FROM account;"
      "CREATE TEMP TRIGGER pay INSTEAD OF INSERT ON payment BEGIN"
      "  UPDATE account SET balance = balance - NEW.amount WHERE id = NEW.id; END";
  attach(w);
  prepared(w, 1, "INSERT INTO payment VALUES('a', 30)");
  committed(w, 1);
  expect(w->other, "SELECT * FROM account", "a|70\nb|100");
  at_rest(w);
  world_free(w);
}

/* The guards are on the table of the database, whatever the connection has under its name. */
static void a_temporary_table_of_the_name_is_not_guarded(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  detach(w);
  w->options.setup = run_pragma;
  pragma = "CREATE TEMP TABLE account(id TEXT PRIMARY KEY, balance)";
  attach(w);
  prepared(w, 1, "UPDATE main.account SET balance = 1 WHERE id = 'a'");
  sql_fails(w->other, "UPDATE account SET balance = 5 WHERE id = 'a'", LOCKED);
  committed(w, 1);
  expect(w->other, "SELECT * FROM account", "a|1\nb|100");
  at_rest(w);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_temporary_table_of_the_name_is_not_guarded),
      cmocka_unit_test(a_temporary_trigger_is_refused),
      cmocka_unit_test(the_setup_leaves_vow_s_settings_alone),
      cmocka_unit_test(a_parent_stays_for_its_prepared_child),
      cmocka_unit_test(foreign_keys_are_enforced_at_prepare),
      cmocka_unit_test(a_parent_that_will_go_is_not_referred_to),
      cmocka_unit_test(a_cascade_is_stopped),
      cmocka_unit_test(moving_a_row_does_not_cascade),
      cmocka_unit_test(guards_follow_the_schema),
      cmocka_unit_test(a_column_may_be_added_meanwhile),
      cmocka_unit_test(rows_may_lack_a_column),
      cmocka_unit_test(a_changed_schema_stops_the_commit_until_mended),
      cmocka_unit_test(a_write_past_the_guards_is_not_overwritten),
      cmocka_unit_test(enforcement_is_back_after_a_failed_commit),
      cmocka_unit_test(a_damaged_changeset_is_an_error),
      cmocka_unit_test(the_application_sets_the_connection_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
