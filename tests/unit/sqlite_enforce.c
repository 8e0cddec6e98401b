/*
 * The SQLite resource at commit: triggers and foreign keys stay on where they have nothing to say,
 * since to switch them costs more than the commit; where they have, what they do is in the branch
 * already, and nothing of it happens twice or is in the way.
 */
#include "sqlite_world.h"

static const char accounts[] =
    "CREATE TABLE account(id INTEGER PRIMARY KEY, name TEXT UNIQUE, balance INTEGER);"
    "CREATE TABLE journal(id INTEGER PRIMARY KEY, account, balance);"
    "INSERT INTO account VALUES(1, 'a', 100), (2, 'b', 100);";

static bool triggers_are_on(struct world *w) {
  int on = 0;
  assert_int_equal(sqlite3_db_config(w->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, -1, &on), SQLITE_OK);
  return on != 0;
}

/* Every kind of change, beside a branch that has locked other rows. */
static void rows_of_their_own_are_changed_under_guard(void **state) {
  (void)state;
  struct world *w = world_new_with(accounts, "WAL", 1);
  prepared(w, 1,
           "UPDATE account SET balance = 1 WHERE id = 1; INSERT INTO account VALUES(3,'c',3)");
  prepared(w, 2, "DELETE FROM account WHERE id = 2; INSERT INTO account VALUES(4, 'd', 4)");
  committed(w, 1);
  assert_true(triggers_are_on(w));
  expect(w->other, "SELECT * FROM account ORDER BY id", "1|a|1\n2|b|100\n3|c|3");
  sql_fails(w->other, "UPDATE account SET balance = 0 WHERE id = 2", LOCKED);
  sql(w->other, "UPDATE account SET balance = 2 WHERE id = 1");
  refused(w, 3, "UPDATE account SET balance = 0 WHERE id = 2", LOCKED);
  committed(w, 2);
  assert_true(triggers_are_on(w));
  expect(w->other, "SELECT * FROM account ORDER BY id", "1|a|2\n3|c|3\n4|d|4");
  at_rest(w);
  world_free(w);
}

/* The branch stays as it was, locks and all, if its rows are not. */
static void a_commit_that_fails_under_guard_keeps_its_locks(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET balance = 1; INSERT INTO account VALUES(3, 'c', 3)");
  sqlite3_db_config(w->other, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
  sql(w->other, "UPDATE account SET balance = 9 WHERE id = 2");
  sqlite3_db_config(w->other, SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, NULL);
  assert_int_not_equal(finish(w, 1, true), VOW_OK);
  assert_non_null(strstr(w->reason.text, "something wrote past the guards"));
  expect(w->other, "SELECT balance FROM account ORDER BY id", "100\n9");
  sql_fails(w->other, "UPDATE account SET balance = 0 WHERE id = 1", LOCKED);
  sql_fails(w->other, "INSERT INTO account VALUES(3, 'x', 0)", LOCKED);
  sqlite3_db_config(w->other, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
  sql(w->other, "UPDATE account SET balance = 100 WHERE id = 2");
  committed(w, 1);
  expect(w->other, "SELECT balance FROM account ORDER BY id", "1\n1\n3");
  at_rest(w);
  world_free(w);
}

static void a_trigger_that_comes_later_does_not_fire(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET balance = 1 WHERE id = 1");
  committed(w, 1);
  prepared(w, 2, "UPDATE account SET balance = 2 WHERE id = 1");
  sql(w->other,
      "CREATE TRIGGER audit AFTER UPDATE ON Account BEGIN"
      "  INSERT INTO journal(account, balance) VALUES(NEW.id, NEW.balance); END");
  committed(w, 2);
  assert_false(triggers_are_on(w));
  expect(w->other, "SELECT * FROM journal", "");
  sql(w->other, "DROP TRIGGER audit");
  prepared(w, 3, "UPDATE account SET balance = 3 WHERE id = 1");
  committed(w, 3);
  assert_true(triggers_are_on(w));
  at_rest(w);
  world_free(w);
}

/* The changes of a branch come table by table, in whatever order the work touched them first. */
static void a_child_comes_before_its_parent(void **state) {
  (void)state;
  struct world *w = world_new_with(
      "CREATE TABLE parent(id INTEGER PRIMARY KEY);"
      "CREATE TABLE child(id INTEGER PRIMARY KEY, parent REFERENCES parent, v);"
      "INSERT INTO parent VALUES(1); INSERT INTO child VALUES(1, 1, 0);",
      "WAL", 1);
  prepared(w, 1,
           "UPDATE child SET v = 1; INSERT INTO parent VALUES(2); INSERT INTO child VALUES(2,2,0)");
  committed(w, 1);
  assert_false(triggers_are_on(w));
  expect(w->other, "SELECT * FROM child ORDER BY id", "1|1|1\n2|2|0");
  expect(w->other, "SELECT * FROM parent ORDER BY id", "1\n2");
  at_rest(w);
  world_free(w);
}

/* What was prepared without foreign keys commits as it was prepared when they are wanted since. */
static void foreign_keys_that_are_wanted_later_have_no_say(void **state) {
  (void)state;
  struct world *w = world_new(
      "CREATE TABLE parent(id INTEGER PRIMARY KEY);"
      "CREATE TABLE child(id INTEGER PRIMARY KEY, parent REFERENCES parent ON DELETE CASCADE);"
      "INSERT INTO parent VALUES(1), (2); INSERT INTO child VALUES(1, 1);");
  prepared(w, 1, "DELETE FROM parent WHERE id = 1");
  prepared(w, 2, "INSERT INTO child VALUES(7, 77)");
  for (int i = 1; i <= 2; i++) {
    detach(w);
    w->options.foreign_keys = 1;
    attach(w);
    assert_true(triggers_are_on(w));
    committed(w, i);
  }
  expect(w->other, "SELECT * FROM parent", "2");
  expect(w->other, "SELECT * FROM child ORDER BY id", "1|1\n7|77");
  at_rest(w);
  world_free(w);
}

/* Before SQLite has chosen the rowid of a new row a trigger sees -1 in its place. */
static void a_locked_row_of_the_rowid_minus_one_is_in_nobodys_way(void **state) {
  (void)state;
  struct world *w = world_new(
      "CREATE TABLE t(id TEXT PRIMARY KEY, v); INSERT INTO t(rowid, id, v) VALUES(-1, 'minus', 0)");
  prepared(w, 1, "INSERT INTO t VALUES('new', 1)");
  prepared(w, 2, "UPDATE t SET v = 1 WHERE id = 'minus'");
  committed(w, 1);
  assert_false(triggers_are_on(w));
  committed(w, 2);
  expect(w->other, "SELECT * FROM t ORDER BY id", "minus|1\nnew|1");
  prepared(w, 3, "UPDATE t SET v = 2 WHERE id = 'new'; DELETE FROM t WHERE id = 'minus'");
  committed(w, 3);
  assert_true(triggers_are_on(w));
  prepared(w, 4, "INSERT INTO t VALUES('newer', 3)");
  committed(w, 4);
  assert_true(triggers_are_on(w));
  expect(w->other, "SELECT * FROM t ORDER BY id", "new|2\nnewer|3");
  at_rest(w);
  world_free(w);
}

/* A row that takes another unique key goes and comes back, which is no deletion: what another
 * participant on the same database refers to is there before and after. */
static void a_row_that_is_referred_to_takes_another_key(void **state) {
  (void)state;
  struct world *w = world_new(accounts);
  prepared(w, 1, "UPDATE account SET name = 'z' WHERE id = 1");
  sql(w->other,
      "INSERT INTO vow_lock(tbl, idx, k1, k2, k3, k4, k5, k6, k7, k8, mode, \"transaction\", "
      "branch)"
      " SELECT tbl, idx, k1, k2, k3, k4, k5, k6, k7, k8, 1, 'another', 1 FROM vow_lock"
      " WHERE idx = 'PRIMARY KEY'");
  committed(w, 1);
  assert_false(triggers_are_on(w));
  expect(w->other, "SELECT name FROM account ORDER BY id", "z\nb");
  prepared(w, 2, "UPDATE account SET balance = 7 WHERE id = 1");
  committed(w, 2);
  assert_true(triggers_are_on(w));
  sql(w->other, "DELETE FROM vow_lock");
  at_rest(w);
  world_free(w);
}

/* Locks name an index, and SQLite gives the name of one that is gone to the next. So after a schema
 * change two branches may look to the guards as if each had locked what the other changes. */
static void an_index_that_takes_the_name_of_another_blocks_nobody(void **state) {
  (void)state;
  struct world *w =
      world_new("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); CREATE UNIQUE INDEX u ON t(a)");
  prepared(w, 1, "INSERT INTO t VALUES(1, 'x', 'y')");
  prepared(w, 2, "INSERT INTO t VALUES(2, 'y', 'x')");
  sql(w->other, "DROP INDEX u; CREATE UNIQUE INDEX u ON t(b)");
  committed(w, 1);
  committed(w, 2);
  expect(w->other, "SELECT * FROM t ORDER BY id", "1|x|y\n2|y|x");
  at_rest(w);
  world_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_of_their_own_are_changed_under_guard),
      cmocka_unit_test(a_commit_that_fails_under_guard_keeps_its_locks),
      cmocka_unit_test(a_trigger_that_comes_later_does_not_fire),
      cmocka_unit_test(a_child_comes_before_its_parent),
      cmocka_unit_test(foreign_keys_that_are_wanted_later_have_no_say),
      cmocka_unit_test(a_locked_row_of_the_rowid_minus_one_is_in_nobodys_way),
      cmocka_unit_test(a_row_that_is_referred_to_takes_another_key),
      cmocka_unit_test(an_index_that_takes_the_name_of_another_blocks_nobody),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
