/* The SQLite resource: what it captures, what it applies, and what it refuses. */
#include "sqlite_world.h"

static const char accounts[] =
    "CREATE TABLE account(id TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK(balance >= 0));"
    "INSERT INTO account VALUES('a', 100), ('b', 100), ('c', 100);";

/* What the work changes is invisible until commit, and then there. */
static void commit_makes_the_work_visible(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1,
           "UPDATE account SET balance = balance - 30 WHERE id = 'a';"
           "INSERT INTO account VALUES('d', 30); DELETE FROM account WHERE id = 'c'");
  expect(w->other, "SELECT id, balance FROM account ORDER BY id", "a|100\nb|100\nc|100");
  committed(w, 1);
  expect(w->other, "SELECT id, balance FROM account ORDER BY id", "a|70\nb|100\nd|30");
  at_rest(w);
  world_free(w);
}

/* An aborted branch leaves no trace. */
static void abort_leaves_nothing(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET balance = 0; DELETE FROM account WHERE id = 'b'");
  aborted(w, 1);
  expect(w->other, "SELECT id, balance FROM account ORDER BY id", "a|100\nb|100\nc|100");
  at_rest(w);
  sql(w->other, "UPDATE account SET balance = 1");
  world_free(w);
}

/* A prepared branch commits after its process went away. */
static void a_prepared_branch_survives_a_restart(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET balance = 5 WHERE id = 'a'");
  detach(w);
  sql_fails(w->other, "UPDATE account SET balance = 1 WHERE id = 'a'", LOCKED);
  attach(w);
  refused(w, 2, "UPDATE account SET balance = 6 WHERE id = 'a'", LOCKED);
  committed(w, 1);
  expect(w->other, "SELECT balance FROM account WHERE id = 'a'", "5");
  at_rest(w);
  world_free(w);
}

/* Work that changes nothing votes read-only, also if it changed something back. */
static void work_without_effect_is_read_only(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  assert_int_equal(prepare(w, 1, "SELECT * FROM account"), VOW_VOTE_READ_ONLY);
  assert_int_equal(prepare(w, 1, "UPDATE account SET balance = balance"), VOW_VOTE_READ_ONLY);
  assert_int_equal(
      prepare(w, 1,
              "UPDATE account SET balance = 1; UPDATE account SET balance = 100;"
              "INSERT INTO account VALUES('x', 1); DELETE FROM account WHERE id = 'x'"),
      VOW_VOTE_READ_ONLY);
  w->answer = VOW_VOTE_READ_ONLY;
  assert_int_equal(prepare(w, 1, "UPDATE account SET balance = 1"), VOW_VOTE_READ_ONLY);
  expect(w->other, "SELECT min(balance) FROM account", "100");
  at_rest(w);
  world_free(w);
}

/* A vote of abort undoes the work, whatever it did, and keeps its reason. */
static void a_vote_of_abort_undoes_the_work(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  refused(w, 1, "UPDATE account SET balance = 1; UPDATE account SET balance = -1",
          "CHECK constraint");
  w->answer = VOW_VOTE_ABORT;
  assert_int_equal(prepare(w, 1, "UPDATE account SET balance = 1"), VOW_VOTE_ABORT);
  w->answer = VOW_VOTE_NONE;
  assert_int_equal(prepare(w, 1, "UPDATE account SET balance = 1"), VOW_VOTE_ABORT);
  expect(w->other, "SELECT min(balance) FROM account", "100");
  at_rest(w);
  world_free(w);
}

static enum vow_vote silent_failure(void *context, sqlite3 *db, const struct vow_work *work,
                                    struct vow_reason *reason) {
  (void)context;
  (void)work;
  (void)reason;
  sqlite3_exec(db, "UPDATE account SET balance = -1", NULL, NULL, NULL);
  return VOW_VOTE_ABORT;
}

/* Work that gives up without a word is given SQLite's words. */
static void a_silent_abort_says_what_sqlite_said(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  detach(w);
  w->options.work = silent_failure;
  attach(w);
  refused(w, 1, "", "CHECK constraint failed: balance >= 0");
  world_free(w);
}

/* Savepoints of the work's own are its business; what they undo is not captured. */
static void the_work_may_use_savepoints(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1,
           "UPDATE account SET balance = 1 WHERE id = 'a'; SAVEPOINT mine;"
           "UPDATE account SET balance = 2 WHERE id = 'b'; ROLLBACK TO mine;"
           "UPDATE account SET balance = 3 WHERE id = 'c'");
  committed(w, 1);
  expect(w->other, "SELECT balance FROM account ORDER BY id", "1\n100\n3");
  at_rest(w);
  world_free(w);
}

/* Each of these votes abort with a sentence, changes nothing and locks nothing. */
static void what_cannot_be_captured_is_refused(void **state) {
  (void)state;
  static const char schema[] =
      "CREATE TABLE account(id TEXT PRIMARY KEY, balance INTEGER NOT NULL);"
      "INSERT INTO account VALUES('a', 100);"
      "CREATE TABLE plain(v);"
      "CREATE TABLE seq(id INTEGER PRIMARY KEY AUTOINCREMENT, v);"
      "CREATE TABLE made(id INTEGER PRIMARY KEY, a INT, b AS (a + 1));"
      "CREATE TABLE nocase(id TEXT PRIMARY KEY COLLATE NOCASE, v);"
      "CREATE TABLE odd(id TEXT COLLATE NOCASE, v, PRIMARY KEY(id COLLATE BINARY));"
      "CREATE TABLE expr(id INTEGER PRIMARY KEY, v TEXT);"
      "CREATE UNIQUE INDEX expr_v ON expr(lower(v));"
      "CREATE TABLE wide(a,b,c,d,e,f,g,h,i, PRIMARY KEY(a,b,c,d,e,f,g,h,i)) WITHOUT ROWID;"
      "CREATE VIRTUAL TABLE words USING fts5(word);"
      "CREATE TABLE anynull(a TEXT, b TEXT, v, PRIMARY KEY(a, b));";
  static const struct {
    const char *sql;
    const char *reason;
  } cases[] = {
      {"INSERT INTO plain VALUES(1)", "plain has no primary key"},
      {"UPDATE account SET balance = 1; INSERT INTO plain VALUES(1)", "plain has no primary key"},
      {"INSERT INTO made(id, a) VALUES(1, 1)", "generated column, b"},
      {"INSERT INTO nocase VALUES('x', 1)", "collation NOCASE"},
      {"INSERT INTO odd VALUES('x', 1)", "collation NOCASE"},
      {"INSERT INTO expr VALUES(1, 'x')", "expr_v, is on an expression"},
      {"INSERT INTO wide VALUES(1,2,3,4,5,6,7,8,9)", "more than 8 columns"},
      {"INSERT INTO words VALUES('x')", "words belongs to a virtual table"},
      {"INSERT INTO words_data VALUES(99, 'x')", "words_data belongs to a virtual table"},
      {"INSERT INTO account VALUES(NULL, 1)", "vow: NULL in a primary key"},
      {"INSERT INTO anynull VALUES('a', NULL, 1)", "NULL in its primary key"},
      {"CREATE TABLE more(a)", "changes the schema"},
      {"CREATE TEMP TABLE more(a)", "changes the schema"},
      {"CREATE INDEX more ON account(balance)", "changes the schema"},
      {"DROP TABLE account", "changes the schema"},
      {"ALTER TABLE account ADD COLUMN x", "changes the schema"},
      {"CREATE TRIGGER t AFTER INSERT ON account BEGIN SELECT 1; END", "changes the schema"},
      {"DROP TRIGGER vow_guard_account_insert", "changes the schema"},
      {"REINDEX account", "changes the schema"},
      {"ANALYZE", "changes the schema"},
      {"VACUUM", "VACUUM"},
      {"ATTACH ':memory:' AS more", "ATTACH"},
      {"PRAGMA user_version = 3", "PRAGMA user_version"},
      {"PRAGMA foreign_keys = 1", "PRAGMA foreign_keys"},
      {"PRAGMA writable_schema = 1", "PRAGMA writable_schema"},
      {"PRAGMA wal_checkpoint", "PRAGMA wal_checkpoint"},
      {"COMMIT", "COMMIT is not for it"},
      {"ROLLBACK", "ROLLBACK is not for it"},
      {"BEGIN", "BEGIN is not for it"},
      {"RELEASE vow_work", "vow_work"},
      {"ROLLBACK TO vow_work", "vow_work"},
      {"SAVEPOINT vow_mine", "vow_mine"},
      {"DELETE FROM vow_lock", "vow_lock"},
      {"UPDATE vow_changeset SET changeset = x''", "vow_changeset"},
      {"INSERT INTO sqlite_sequence VALUES('x', 1)", "sqlite_sequence"},
  };
  struct world *w = world_new(schema);
  prepared(w, 1, "UPDATE account SET balance = 1"); /* so that it has its guards */
  aborted(w, 1);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    refused(w, 1, cases[i].sql, cases[i].reason);
    at_rest(w);
  }
  expect(w->other, "SELECT id, balance FROM account", "a|100");
  expect(w->other, "SELECT count(*) FROM plain", "0");
  world_free(w);
}

static enum vow_vote ignore_errors(void *context, sqlite3 *db, const struct vow_work *work,
                                   struct vow_reason *reason) {
  struct world *w = context;
  (void)work;
  (void)reason;
  const char *rest = w->sql;
  while (*rest) {
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, rest, -1, &statement, &rest) != SQLITE_OK) {
      rest = strchr(rest, ';') ? strchr(rest, ';') + 1 : "";
      continue;
    }
    sqlite3_step(statement);
    sqlite3_finalize(statement);
  }
  return VOW_VOTE_COMMIT;
}

/* A refusal ends in abort, also for work that goes on after it. */
static void a_refused_statement_cannot_be_ignored(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  detach(w);
  w->options.work = ignore_errors;
  attach(w);
  refused(w, 1, "CREATE TABLE x(a); UPDATE account SET balance = 1", "changes the schema");
  refused(w, 1, "COMMIT; UPDATE account SET balance = 1", "COMMIT");
  expect(w->other, "SELECT min(balance) FROM account", "100");
  at_rest(w);
  world_free(w);
}

/* A key that was rewritten as an equal one by a statement that was undone confuses the session:
 * what it then says does not fit the table, and is refused. */
static void an_undone_rewrite_of_a_key_is_refused(void **state) {
  (void)state;
  struct world *w = world_new(
      "CREATE TABLE loose(id PRIMARY KEY, v NOT NULL); INSERT INTO loose VALUES(1, 'old'), (2, "
      "'x')");
  detach(w);
  w->options.work = ignore_errors;
  attach(w);
  refused(w, 1,
          "INSERT OR REPLACE INTO loose VALUES(1.0, 'new'), (9, NULL);"
          "UPDATE loose SET v = 'y' WHERE id = 2",
          "compares equal");
  expect(w->other, "SELECT typeof(id), v FROM loose", "integer|old\ninteger|x");
  at_rest(w);
  world_free(w);
}

/* When SQLite rolls the whole transaction back, what the work does next is not committed either,
 * and the log can see it. */
static void a_lost_transaction_is_noticed(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  detach(w);
  w->options.work = ignore_errors;
  attach(w);
  refused(w, 1,
          "UPDATE OR ROLLBACK account SET balance = -1; UPDATE account SET balance = 1;"
          "INSERT INTO account VALUES('x', 1)",
          "roll the whole transaction back");
  assert_true(sqlite3_get_autocommit(w->db));
  expect(w->other, "SELECT id, balance FROM account ORDER BY id", "a|100\nb|100\nc|100");
  at_rest(w);
  prepared(w, 2, "UPDATE account SET balance = 1");
  committed(w, 2);
  world_free(w);
}

static enum vow_vote leave_open(void *context, sqlite3 *db, const struct vow_work *work,
                                struct vow_reason *reason) {
  struct world *w = context;
  sqlite3_stmt *statement = NULL;
  (void)work;
  (void)reason;
  if (sqlite3_prepare_v2(db, w->sql, -1, &statement, NULL) != SQLITE_OK) return VOW_VOTE_ABORT;
  sqlite3_step(statement);
  sqlite3_exec(db, "UPDATE account SET balance = 1", NULL, NULL, NULL);
  return VOW_VOTE_COMMIT; /* with the statement open */
}

/* A statement that the work left half read does not keep the work from being rolled back. */
static void an_open_statement_is_reset(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  detach(w);
  w->options.work = leave_open;
  attach(w);
  prepared(w, 1, "SELECT * FROM account");
  expect(w->db, "SELECT min(balance) FROM account", "100");
  committed(w, 1);
  expect(w->other, "SELECT max(balance) FROM account", "1");
  sqlite3_stmt *statement = sqlite3_next_stmt(w->db, NULL);
  while (statement && strcmp(sqlite3_sql(statement), "SELECT * FROM account") != 0) {
    statement = sqlite3_next_stmt(w->db, statement);
  }
  assert_non_null(statement);
  sqlite3_finalize(statement);
  world_free(w);
}

/* Rows and bytes of one branch are bounded, and so is what it takes to find that out. */
static void a_branch_is_bounded(void **state) {
  (void)state;
  struct world *w = world_new("CREATE TABLE big(id INTEGER PRIMARY KEY, v)");
  detach(w);
  w->options.rows_max = 10;
  w->options.changeset_bytes_max = 10000;
  attach(w);
  static const char some[] =
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10)"
      "INSERT INTO big SELECT i, zeroblob(10) FROM n";
  prepared(w, 1, some);
  aborted(w, 1);
  refused(w, 1,
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 11)"
          "INSERT INTO big SELECT i, zeroblob(10) FROM n",
          "at most 10 rows and 10000 bytes");
  refused(w, 1, "INSERT INTO big VALUES(1, zeroblob(10001))", "at most 10 rows and 10000 bytes");
  sqlite3_int64 before = sqlite3_memory_used();
  sqlite3_memory_highwater(1);
  refused(w, 1,
          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
          "INSERT INTO big SELECT i, 1 FROM n",
          "at most 10 rows and 10000 bytes");
  assert_true(sqlite3_memory_highwater(0) - before < 4 << 20);
  expect(w->other, "SELECT count(*) FROM big", "0");
  at_rest(w);
  world_free(w);
}

/* What the application's triggers did at prepare is applied with the rest; they do not fire again.
 */
static void triggers_fire_once(void **state) {
  (void)state;
  static const char schema[] =
      "CREATE TABLE account(id TEXT PRIMARY KEY, balance INTEGER);"
      "CREATE TABLE journal(id INTEGER PRIMARY KEY AUTOINCREMENT, account, delta);"
      "CREATE TRIGGER audit AFTER UPDATE ON account BEGIN"
      "  INSERT INTO journal(account, delta) VALUES(NEW.id, NEW.balance - OLD.balance); END;"
      "INSERT INTO account VALUES('a', 100), ('b', 100);";
  struct world *w = world_new(schema);
  prepared(w, 1, "UPDATE account SET balance = balance - 1");
  expect(w->other, "SELECT count(*) FROM journal", "0");
  committed(w, 1);
  expect(w->other, "SELECT account, delta FROM journal ORDER BY account", "a|-1\nb|-1");
  sql(w->other, "UPDATE account SET balance = 7 WHERE id = 'a'");
  expect(w->other, "SELECT count(*) FROM journal", "3");
  prepared(w, 2, "UPDATE account SET balance = 8 WHERE id = 'a'");
  committed(w, 2);
  expect(w->other, "SELECT count(*) FROM journal", "4");
  at_rest(w);
  world_free(w);
}

/* Values come back as they were: type, size and bytes. */
static void values_are_kept_exactly(void **state) {
  (void)state;
  struct world *w = world_new("CREATE TABLE t(id PRIMARY KEY NOT NULL, v)");
  prepared(w, 1,
           "INSERT INTO t VALUES(1, 9223372036854775807), (2.5, 1e300), ('x', 'a''b'),"
           "(x'00ff', NULL), ('n', 'a' || char(0) || 'b'), ('e', ''), ('z', x'')");
  committed(w, 1);
  expect(w->other, "SELECT typeof(id), quote(id), typeof(v), hex(v) FROM t ORDER BY id",
         "integer|1|integer|39323233333732303336383534373735383037\n"
         "real|2.5|real|312E30652B333030\n"
         "text|'e'|text|\ntext|'n'|text|610062\ntext|'x'|text|612762\n"
         "text|'z'|blob|\nblob|X'00FF'|null|");
  at_rest(w);
  world_free(w);
}

static int statements_compiled_anew(sqlite3 *db) {
  int count = 0;
  for (sqlite3_stmt *s = sqlite3_next_stmt(db, NULL); s; s = sqlite3_next_stmt(db, s)) {
    count += sqlite3_stmt_status(s, SQLITE_STMTSTATUS_REPREPARE, 0);
  }
  return count;
}

/* Commits that follow each other find their statements as the first two have left them. */
static void commits_in_a_row_compile_nothing(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  for (int n = 1; n <= 3; n++) {
    char text[80];
    snprintf(text, sizeof text, "UPDATE account SET balance = %d WHERE id = '%c'", n, '`' + n);
    prepared(w, n, text);
  }
  committed(w, 1);
  committed(w, 2);
  int before = statements_compiled_anew(w->db);
  committed(w, 3);
  assert_int_equal(statements_compiled_anew(w->db), before);
  expect(w->other, "SELECT balance FROM account ORDER BY id", "1\n2\n3");
  at_rest(w);
  world_free(w);
}

/* Unique values may change hands within one branch, in any order. */
static void unique_values_may_change_hands(void **state) {
  (void)state;
  static const char schema[] =
      "CREATE TABLE seat(id INTEGER PRIMARY KEY, name TEXT UNIQUE, note);"
      "INSERT INTO seat VALUES(1, 'x', 'one'), (2, 'y', 'two'), (3, 'z', 'three');";
  struct world *w = world_new(schema);
  prepared(w, 1,
           "UPDATE seat SET name = '-' WHERE id = 1; UPDATE seat SET name = 'x' WHERE id = 2;"
           "UPDATE seat SET name = 'y' WHERE id = 1");
  committed(w, 1);
  expect(w->other, "SELECT id, name, note FROM seat ORDER BY id", "1|y|one\n2|x|two\n3|z|three");
  prepared(w, 2, "DELETE FROM seat WHERE id = 3; INSERT INTO seat VALUES(4, 'z', 'four')");
  committed(w, 2);
  prepared(w, 3,
           "UPDATE seat SET id = 9 WHERE id = 1; UPDATE seat SET id = 1 WHERE id = 2;"
           "UPDATE seat SET id = 2 WHERE id = 9");
  committed(w, 3);
  expect(w->other, "SELECT id, name, note FROM seat ORDER BY id", "1|x|two\n2|y|one\n4|z|four");
  prepared(w, 4, "INSERT OR REPLACE INTO seat VALUES(7, 'y', 'seven')");
  committed(w, 4);
  expect(w->other, "SELECT id, name, note FROM seat ORDER BY id", "1|x|two\n4|z|four\n7|y|seven");
  at_rest(w);
  world_free(w);
}

/* A column of more than the cached kind, a changed set of columns, a table beyond 64 columns. */
static void wide_tables_and_many_shapes_of_update(void **state) {
  (void)state;
  sqlite3_str *schema = sqlite3_str_new(NULL);
  sqlite3_str_appendall(schema, "CREATE TABLE wide(id INTEGER PRIMARY KEY");
  for (int i = 1; i <= 70; i++) sqlite3_str_appendf(schema, ", c%d", i);
  sqlite3_str_appendall(schema, "); INSERT INTO wide(id) VALUES(1);");
  char *text = sqlite3_str_finish(schema);
  struct world *w = world_new(text);
  sqlite3_free(text);
  for (int i = 1; i <= 70; i++) {
    text = sqlite3_mprintf("UPDATE wide SET c%d = %d, c%d = 0", i, i, i % 70 + 1);
    prepared(w, 1, text);
    committed(w, 1);
    sqlite3_free(text);
  }
  expect(w->other, "SELECT c1, c2, c35, c63, c64, c65, c70 FROM wide", "0|2|35|63|64|65|70");
  at_rest(w);
  world_free(w);
}

/* A wrong path, option or file is told when the resource is opened. */
static void a_wrong_database_is_told_at_open(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  struct vow_sqlite_options options = w->options;
  struct vow_sqlite *adapter = NULL;
  char why[256];
  options.path = "/nonexistent/app.db";
  assert_int_equal(vow_sqlite_open(&adapter, &options, why, sizeof why), VOW_E_INVALID_ARGUMENT);
  assert_non_null(strstr(why, "/nonexistent/app.db"));
  assert_non_null(strstr(why, "make it, with its tables, first"));
  options.path = "/proc/self/exe/app.db";
  assert_int_equal(vow_sqlite_open(&adapter, &options, why, sizeof why), VOW_E_DATABASE);
  assert_non_null(strstr(why, "mend the path"));
  options.path = "/";
  assert_int_equal(vow_sqlite_open(&adapter, &options, why, sizeof why), VOW_E_DATABASE);
  assert_non_null(strstr(why, "unable to open database file; name a file"));
  options.path = "/proc/self/exe";
  assert_int_equal(vow_sqlite_open(&adapter, &options, why, sizeof why), VOW_E_LOG_CORRUPT);
  assert_non_null(strstr(why, "not a database; name another file"));
  options = w->options;
  options.rows_max = 0;
  assert_int_equal(vow_sqlite_open(&adapter, &options, why, sizeof why), VOW_E_INVALID_ARGUMENT);
  options = w->options;
  options.size = 0;
  assert_int_equal(vow_sqlite_open(&adapter, &options, NULL, 0), VOW_E_INVALID_ARGUMENT);
  assert_null(adapter);
  vow_sqlite_close(NULL);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(commit_makes_the_work_visible),
      cmocka_unit_test(abort_leaves_nothing),
      cmocka_unit_test(a_prepared_branch_survives_a_restart),
      cmocka_unit_test(work_without_effect_is_read_only),
      cmocka_unit_test(a_vote_of_abort_undoes_the_work),
      cmocka_unit_test(a_silent_abort_says_what_sqlite_said),
      cmocka_unit_test(the_work_may_use_savepoints),
      cmocka_unit_test(what_cannot_be_captured_is_refused),
      cmocka_unit_test(a_refused_statement_cannot_be_ignored),
      cmocka_unit_test(an_undone_rewrite_of_a_key_is_refused),
      cmocka_unit_test(a_lost_transaction_is_noticed),
      cmocka_unit_test(an_open_statement_is_reset),
      cmocka_unit_test(a_branch_is_bounded),
      cmocka_unit_test(triggers_fire_once),
      cmocka_unit_test(values_are_kept_exactly),
      cmocka_unit_test(commits_in_a_row_compile_nothing),
      cmocka_unit_test(unique_values_may_change_hands),
      cmocka_unit_test(wide_tables_and_many_shapes_of_update),
      cmocka_unit_test(a_wrong_database_is_told_at_open),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
