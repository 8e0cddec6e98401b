/*
 * Random branches and random writers on small tables full of unique keys, with everything that SQL
 * does to conflicts. Whatever happens, every prepared branch commits, and does exactly what its
 * work did at prepare: nobody else's change is lost, none of its own is missing.
 *
 *     VOW_SQLITE_SEED=n VOW_SQLITE_STEPS=n test_sqlite_random     another run
 */
#include "sqlite_world.h"

#define ROWS_MAX     64
#define ROW_BYTES    128
#define BRANCHES_MAX 6

/* All rows, "key<tab>values", by key. */
struct state {
  char rows[ROWS_MAX][ROW_BYTES];
  int count;
};

struct branch {
  bool prepared;
  struct state before, after; /* as its work saw them */
};

/* A table `t` whose rows compare by `key` and show themselves by `shown`. */
struct variant {
  const char *schema;
  const char *key;
  const char *shown;
};

static const struct variant variants[] = {
    {"CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE UNIQUE, b, c, UNIQUE(b, c))",
     "quote(id)", "quote(a)||quote(b)||quote(c)"},
    {"CREATE TABLE t(id, a TEXT, b INT, c INT, PRIMARY KEY(id, a)) WITHOUT ROWID;"
     "CREATE UNIQUE INDEX t_b ON t(b) WHERE c > 1; CREATE UNIQUE INDEX t_c ON t(c, a COLLATE "
     "RTRIM)",
     "quote(id)||quote(a)", "quote(b)||quote(c)"},
    {"CREATE TABLE t(id TEXT PRIMARY KEY, a REAL UNIQUE, b BLOB UNIQUE, c DEFAULT 1);"
     "CREATE TRIGGER more AFTER UPDATE OF c ON t WHEN NEW.c > 2 BEGIN"
     "  UPDATE t SET c = 0 WHERE b > NEW.b AND id <> NEW.id; END",
     "quote(id)", "quote(a)||quote(b)||quote(c)"},
};

static struct {
  struct world *w;
  const struct variant *variant;
  uint64_t random;
  struct branch branches[BRANCHES_MAX + 1];
  struct branch *working;
  int commits, conflicts;
} run;

static unsigned pick(unsigned count) {
  run.random ^= run.random << 13;
  run.random ^= run.random >> 7;
  run.random ^= run.random << 17;
  return (unsigned)(run.random >> 33) % count;
}

/* ---- states ---- */

static void look(sqlite3 *db, struct state *out) {
  char query[512];
  sqlite3_stmt *statement = NULL;
  snprintf(query, sizeof query, "SELECT %s || char(9) || %s FROM t ORDER BY 1", run.variant->key,
           run.variant->shown);
  assert_int_equal(sqlite3_prepare_v2(db, query, -1, &statement, NULL), SQLITE_OK);
  memset(out, 0, sizeof *out);
  while (sqlite3_step(statement) == SQLITE_ROW) {
    assert_true(out->count < ROWS_MAX);
    snprintf(out->rows[out->count++], ROW_BYTES, "%s",
             (const char *)sqlite3_column_text(statement, 0));
  }
  sqlite3_finalize(statement);
}

static size_t key_bytes(const char *row) {
  return strcspn(row, "\t") + 1;
}

static int find(const struct state *state, const char *row) {
  for (int i = 0; i < state->count; i++) {
    if (strncmp(state->rows[i], row, key_bytes(row)) == 0) return i;
  }
  return -1;
}

static bool holds(const struct state *state, const char *row) {
  int at = find(state, row);
  return at >= 0 && strcmp(state->rows[at], row) == 0;
}

/* What the state becomes when a branch does to it what it did at prepare. */
static void expect_change(const struct branch *branch, struct state *state) {
  for (int i = 0; i < branch->before.count; i++) {
    const char *row = branch->before.rows[i];
    if (find(&branch->after, row) >= 0) continue;
    int at = find(state, row);
    assert_true(at >= 0);
    memmove(state->rows[at], state->rows[--state->count], ROW_BYTES);
    memset(state->rows[state->count], 0, ROW_BYTES);
  }
  for (int i = 0; i < branch->after.count; i++) {
    const char *row = branch->after.rows[i];
    if (holds(&branch->before, row)) continue;
    int at = find(state, row);
    assert_true(at >= 0 || state->count < ROWS_MAX);
    memcpy(state->rows[at >= 0 ? at : state->count++], row, ROW_BYTES);
  }
}

static int compare_rows(const void *a, const void *b) {
  return strcmp(a, b);
}

static bool equal(const struct state *a, const struct state *b) {
  struct state x = *a;
  struct state y = *b;
  qsort(x.rows, (size_t)x.count, ROW_BYTES, compare_rows);
  qsort(y.rows, (size_t)y.count, ROW_BYTES, compare_rows);
  return x.count == y.count && memcmp(x.rows, y.rows, sizeof x.rows) == 0;
}

/* ---- random SQL ---- */

static const char *value(void) {
  static const char *const values[] = {"1",   "2",    "3",     "4",    "1.0", "'a'", "'A'",
                                       "'b'", "'b '", "x'61'", "NULL", "5",   "6",   "7"};
  return values[pick(sizeof values / sizeof *values)];
}

static const char *column(void) {
  static const char *const columns[] = {"id", "a", "b", "c"};
  return columns[pick(4)];
}

static char *statement_text(void) {
  static const char *const ors[] = {"", "", "", "OR REPLACE ", "OR IGNORE ", "OR FAIL "};
  const char *or_ = ors[pick(6)];
  switch (pick(6)) {
    case 0:
    case 1:
      return sqlite3_mprintf("INSERT %sINTO t(id, a, b, c) VALUES(%s, %s, %s, %s)", or_, value(),
                             value(), value(), value());
    case 2:
      return sqlite3_mprintf("UPDATE %st SET %s = %s WHERE %s = %s", or_, column(), value(),
                             column(), value());
    case 3:
      return sqlite3_mprintf("UPDATE %st SET %s = %s, %s = %s WHERE %s IS %s", or_, column(),
                             value(), "c", value(), column(), value());
    case 4:
      return sqlite3_mprintf("DELETE FROM t WHERE %s IS %s", column(), value());
    default:
      return sqlite3_mprintf(
          "INSERT INTO t(id, a, b, c) VALUES(%s, %s, %s, %s)"
          " ON CONFLICT DO UPDATE SET b = %s, c = %s",
          value(), value(), value(), value(), value(), value());
  }
}

/* ---- steps ---- */

static enum vow_vote random_work(void *context, sqlite3 *db, const struct vow_work *work,
                                 struct vow_reason *reason) {
  (void)context;
  (void)work;
  bool locked = false;
  look(db, &run.working->before);
  for (unsigned n = 1 + pick(4); n > 0; n--) {
    char *text = statement_text();
    char *error = NULL;
    sqlite3_exec(db, text, NULL, NULL, &error);
    locked |= error && strstr(error, LOCKED);
    sqlite3_free(error);
    sqlite3_free(text);
  }
  look(db, &run.working->after);
  run.conflicts += locked;
  if (!locked || pick(2)) return VOW_VOTE_COMMIT;
  vow_reason_set(reason, "gave up");
  return VOW_VOTE_ABORT;
}

static void prepare_one(int n) {
  struct state before;
  struct state after;
  run.working = &run.branches[n];
  look(run.w->other, &before);
  enum vow_vote vote = prepare(run.w, n, "");
  look(run.w->other, &after);
  assert_true(equal(&before, &after));
  run.branches[n].prepared = vote == VOW_VOTE_COMMIT;
  if (vote == VOW_VOTE_READ_ONLY) {
    assert_true(equal(&run.working->before, &run.working->after));
  }
}

static void finish_one(int n, bool commit) {
  struct state wanted;
  struct state found;
  look(run.w->other, &wanted);
  if (commit) expect_change(&run.branches[n], &wanted);
  if (finish(run.w, n, commit)) fail_msg("branch %d does not end: %s", n, run.w->reason.text);
  look(run.w->other, &found);
  if (!equal(&wanted, &found)) fail_msg("branch %d did something else than at prepare", n);
  run.branches[n].prepared = false;
  run.commits += commit;
}

static void write_one(void) {
  char *text = statement_text();
  sqlite3_exec(run.w->other, text, NULL, NULL, NULL);
  sqlite3_free(text);
}

static void step(void) {
  int n = 1 + (int)pick(BRANCHES_MAX);
  if (pick(100) == 0) {
    detach(run.w);
    attach(run.w);
  }
  if (pick(3) == 0) {
    write_one();
  } else if (run.branches[n].prepared) {
    finish_one(n, pick(4) != 0);
  } else {
    prepare_one(n);
  }
}

static long from_environment(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? strtol(text, NULL, 10) : otherwise;
}

static void run_variant(const struct variant *variant) {
  long seed = from_environment("VOW_SQLITE_SEED", 1);
  memset(&run, 0, sizeof run);
  run.variant = variant;
  run.random = (uint64_t)seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
  run.w = world_new(variant->schema);
  detach(run.w);
  run.w->options.work = random_work;
  attach(run.w);
  print_message("VOW_SQLITE_SEED=%ld\n", seed);
  for (long n = from_environment("VOW_SQLITE_STEPS", 3000); n > 0; n--) step();
  for (int n = 1; n <= BRANCHES_MAX; n++) {
    if (run.branches[n].prepared) finish_one(n, true);
  }
  at_rest(run.w);
  expect(run.w->other, "PRAGMA integrity_check", "ok");
  /* A run in which nothing met has shown nothing. */
  assert_true(run.commits > 50 && run.conflicts > 50);
  world_free(run.w);
}

static void with_an_integer_key(void **state) {
  (void)state;
  run_variant(&variants[0]);
}

static void with_a_composite_key_and_no_rowid(void **state) {
  (void)state;
  run_variant(&variants[1]);
}

static void with_a_text_key_and_a_trigger(void **state) {
  (void)state;
  run_variant(&variants[2]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(with_an_integer_key),
      cmocka_unit_test(with_a_composite_key_and_no_rowid),
      cmocka_unit_test(with_a_text_key_and_a_trigger),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
