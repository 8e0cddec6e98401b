/*
 * The SQLite resource when memory runs out inside SQLite: for every n, the n-th allocation of a
 * hook fails. Whatever that does, the branch is done or not done, and the same hook succeeds
 * afterwards.
 */
#include "sqlite_world.h"

static sqlite3_mem_methods real;
static long fail_at; /* the allocation that fails, counted down; 0: none */
static bool did_fail;

static bool fails(void) {
  if (fail_at == 0 || --fail_at != 0) return false;
  did_fail = true;
  return true;
}

static void *failing_malloc(int bytes) {
  return fails() ? NULL : real.xMalloc(bytes);
}

static void *failing_realloc(void *memory, int bytes) {
  return fails() ? NULL : real.xRealloc(memory, bytes);
}

static const char schema[] =
    "CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE UNIQUE);"
    "CREATE TABLE account(id TEXT PRIMARY KEY, balance INTEGER NOT NULL, email TEXT UNIQUE,"
    " owner DEFAULT 1 REFERENCES person);"
    "INSERT INTO person VALUES(1, 'x');"
    "INSERT INTO account(id, balance, email) VALUES('a', 100, 'a@x'), ('b', 100, 'b@x');";

static const char work[] =
    "UPDATE account SET balance = 60 WHERE id = 'a'; UPDATE account SET email = 'c@x'"
    " WHERE id = 'b'; INSERT INTO account(id, balance, email) VALUES('d', 1, 'd@x')";

#define BEFORE "a|100|a@x\nb|100|b@x"
#define AFTER  "a|60|a@x\nb|100|c@x\nd|1|d@x"
#define ALL    "SELECT id, balance, email FROM account ORDER BY id"

/* The data as it was, a guard less, and nothing remembered. */
static void start_over(struct world *w) {
  sql(w->other,
      "DELETE FROM account; DROP TRIGGER IF EXISTS vow_guard_account_update;"
      "INSERT INTO account(id, balance, email) VALUES('a', 100, 'a@x'), ('b', 100, 'b@x')");
}

/* The hook with its n-th allocation failing; a failed hook is rolled back as the log does it. */
static bool try_prepare(struct world *w, long n) {
  sql(w->db, "BEGIN IMMEDIATE");
  struct vow_work branch = work_of(1);
  w->sql = work;
  memset(&w->reason, 0, sizeof w->reason);
  sql(w->db, "SAVEPOINT vow_branch");
  did_fail = false;
  fail_at = n;
  enum vow_vote vote = w->resource->prepare(w->resource->context, w->db, &branch, &w->reason);
  fail_at = 0;
  if (!sqlite3_get_autocommit(w->db)) {
    if (vote != VOW_VOTE_COMMIT) sql(w->db, "ROLLBACK TO vow_branch");
    sql(w->db, "COMMIT");
  } else {
    assert_int_equal(vote, VOW_VOTE_ABORT);
  }
  if (vote == VOW_VOTE_ABORT) assert_true(w->reason.text[0] != '\0');
  assert_int_not_equal(vote, VOW_VOTE_READ_ONLY);
  return vote == VOW_VOTE_COMMIT;
}

static bool try_commit(struct world *w, long n) {
  sql(w->db, "BEGIN IMMEDIATE");
  struct vow_work branch = work_of(1);
  sql(w->db, "SAVEPOINT vow_branch");
  did_fail = false;
  fail_at = n;
  enum vow_error error = w->resource->commit(w->resource->context, w->db, &branch, &w->reason);
  fail_at = 0;
  if (!sqlite3_get_autocommit(w->db)) {
    if (error) sql(w->db, "ROLLBACK TO vow_branch");
    sql(w->db, "COMMIT");
  }
  return error == VOW_OK;
}

/* A prepare that runs out of memory votes abort and leaves nothing; or it does not notice. */
static void prepare_without_memory(void **state) {
  (void)state;
  struct world *w = world_new_with(schema, "WAL", 1);
  long failures = 0;
  did_fail = true;
  for (long n = 1; did_fail; n++) {
    assert_true(n < 100000);
    if (try_prepare(w, n)) {
      sql_fails(w->other, "UPDATE account SET balance = 1 WHERE id = 'a'", LOCKED);
      committed(w, 1);
      expect(w->other, ALL, AFTER);
      start_over(w);
    } else {
      failures++;
    }
    at_rest(w);
    expect(w->other, ALL, BEFORE);
    detach(w);
    attach(w);
  }
  assert_true(failures > 50);
  world_free(w);
}

/* The same where rows lack a column, which the session does not see: what it took down is
 * completed, or the branch votes abort. */
static void completing_without_memory(void **state) {
  (void)state;
  struct world *w = world_new_with(schema, "WAL", 0);
  sql(w->other, "ALTER TABLE account ADD COLUMN note DEFAULT 'none'");
  prepared(w, 1, work); /* guards and all that is kept are there */
  aborted(w, 1);
  long failures = 0;
  did_fail = true;
  for (long n = 1; did_fail; n++) {
    assert_true(n < 100000);
    if (try_prepare(w, n)) {
      expect(w->other, "SELECT count(*) FROM vow_lock", "7");
      aborted(w, 1);
    } else {
      failures++;
    }
    at_rest(w);
  }
  assert_true(failures > 50);
  prepared(w, 1, work);
  committed(w, 1);
  expect(w->other, ALL, AFTER);
  expect(w->other, "SELECT DISTINCT note FROM account", "none");
  world_free(w);
}

/* A commit that runs out of memory is not done, and can be done again. */
static void commit_without_memory(void **state) {
  (void)state;
  long failures = 0;
  struct world *w = world_new_with(schema, "WAL", 1);
  prepared(w, 1, work);
  did_fail = true;
  for (long n = 1; did_fail; n++) {
    assert_true(n < 100000);
    if (try_commit(w, n)) {
      expect(w->other, ALL, AFTER);
      at_rest(w);
      start_over(w);
      prepared(w, 1, work);
    } else {
      failures++;
    }
    expect(w->other, ALL, BEFORE);
    sql_fails(w->other, "UPDATE account SET balance = 1 WHERE id = 'a'", LOCKED);
  }
  assert_true(failures > 50);
  committed(w, 1);
  expect(w->other, ALL, AFTER);
  at_rest(w);
  world_free(w);
}

/* Opening without memory fails with an error, and nothing is left open. */
static void attach_without_memory(void **state) {
  (void)state;
  struct world *w = world_new_with(schema, "WAL", 1);
  prepared(w, 1, work);
  detach(w);
  did_fail = true;
  for (long n = 1; did_fail; n++) {
    char why[256] = "";
    assert_int_equal(vow_sqlite_open(&w->adapter, &w->options, why, sizeof why), VOW_OK);
    w->resource = vow_sqlite_resource(w->adapter);
    assert_int_equal(sqlite3_open(w->path, &w->db), SQLITE_OK);
    did_fail = false;
    fail_at = n;
    enum vow_error error = w->resource->attach(w->resource->context, w->db, why, sizeof why);
    fail_at = 0;
    assert_true(error == VOW_OK || why[0] != '\0');
    detach(w);
  }
  attach(w);
  committed(w, 1);
  expect(w->other, ALL, AFTER);
  world_free(w);
}

int main(void) {
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
  sqlite3_mem_methods failing = real;
  failing.xMalloc = failing_malloc;
  failing.xRealloc = failing_realloc;
  sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(prepare_without_memory),
      cmocka_unit_test(completing_without_memory),
      cmocka_unit_test(commit_without_memory),
      cmocka_unit_test(attach_without_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
