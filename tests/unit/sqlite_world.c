/* See sqlite_world.h. */
#include "sqlite_world.h"

/* The work of most tests: some SQL, and a vote; a failed statement votes abort with its error. */
static enum vow_vote run_sql(void *context, sqlite3 *db, const struct vow_work *work,
                             struct vow_reason *reason) {
  struct world *w = context;
  (void)work;
  char *error = NULL;
  w->work_rc = sqlite3_exec(db, w->sql, NULL, NULL, &error);
  snprintf(w->work_error, sizeof w->work_error, "%s", error ? error : "");
  sqlite3_free(error);
  if (w->work_rc == SQLITE_OK) return w->answer;
  vow_reason_set(reason, "%s", w->work_error);
  return VOW_VOTE_ABORT;
}

void sql(sqlite3 *db, const char *text) {
  char *error = NULL;
  int rc = sqlite3_exec(db, text, NULL, NULL, &error);
  if (rc != SQLITE_OK) fail_msg("%s: %s", text, error);
}

void sql_fails(sqlite3 *db, const char *text, const char *expected) {
  char *error = NULL;
  int rc = sqlite3_exec(db, text, NULL, NULL, &error);
  if (rc == SQLITE_OK) fail_msg("%s: succeeded, but should say \"%s\"", text, expected);
  if (!strstr(error, expected)) fail_msg("%s: says \"%s\", not \"%s\"", text, error, expected);
  sqlite3_free(error);
}

char *rows(sqlite3 *db, const char *query) {
  sqlite3_str *text = sqlite3_str_new(NULL);
  sqlite3_stmt *statement = NULL;
  if (sqlite3_prepare_v2(db, query, -1, &statement, NULL) != SQLITE_OK) {
    fail_msg("%s: %s", query, sqlite3_errmsg(db));
  }
  for (int n = 0; sqlite3_step(statement) == SQLITE_ROW; n++) {
    if (n) sqlite3_str_appendchar(text, 1, '\n');
    for (int i = 0; i < sqlite3_column_count(statement); i++) {
      const char *value = (const char *)sqlite3_column_text(statement, i);
      sqlite3_str_appendf(text, "%s%s", i ? "|" : "", value ? value : "-");
    }
  }
  sqlite3_finalize(statement);
  char *result = sqlite3_str_finish(text);
  return result ? result : sqlite3_mprintf("");
}

void expect(sqlite3 *db, const char *query, const char *expected) {
  char *found = rows(db, query);
  if (strcmp(found, expected) != 0) fail_msg("%s: \"%s\", expected \"%s\"", query, found, expected);
  sqlite3_free(found);
}

struct vow_work work_of(int transaction) {
  static char names[64][40];
  snprintf(names[transaction], sizeof names[0], "0192f000-0000-7000-8000-%012d", transaction);
  return (struct vow_work){.transaction = names[transaction], .branch = 1};
}

enum vow_error try_attach(struct world *w, char *why, size_t why_bytes) {
  enum vow_error error = vow_sqlite_open(&w->adapter, &w->options, why, why_bytes);
  if (error) fail_msg("open: %s", why);
  w->resource = vow_sqlite_resource(w->adapter);
  assert_int_equal(sqlite3_open(w->resource->path, &w->db), SQLITE_OK);
  sqlite3_extended_result_codes(w->db, 1);
  sql(w->db, "PRAGMA synchronous=OFF"); /* processes die here, machines do not */
  return w->resource->attach(w->resource->context, w->db, why, why_bytes);
}

void attach(struct world *w) {
  char why[256] = "";
  if (try_attach(w, why, sizeof why)) fail_msg("attach: %s", why);
}

void detach(struct world *w) {
  if (!w->adapter) return;
  w->resource->detach(w->resource->context);
  assert_int_equal(sqlite3_close(w->db), SQLITE_OK);
  vow_sqlite_close(w->adapter);
  w->adapter = NULL;
  w->db = NULL;
}

struct world *world_new_with(const char *schema, const char *journal, int foreign_keys) {
  struct world *w = calloc(1, sizeof *w);
  assert_non_null(w);
  snprintf(w->folder, sizeof w->folder, "/tmp/vow-sqlite-XXXXXX");
  assert_non_null(mkdtemp(w->folder));
  snprintf(w->path, sizeof w->path, "%s/app.db", w->folder);
  assert_int_equal(sqlite3_open(w->path, &w->other), SQLITE_OK);
  sqlite3_busy_timeout(w->other, 2000);
  sql(w->other, "PRAGMA synchronous=OFF");
  char pragma[64];
  snprintf(pragma, sizeof pragma, "PRAGMA journal_mode=%s", journal);
  sql(w->other, pragma);
  sql(w->other, schema);
  vow_sqlite_options_init(&w->options);
  w->options.path = w->path;
  w->options.work = run_sql;
  w->options.context = w;
  w->options.foreign_keys = foreign_keys;
  w->answer = VOW_VOTE_COMMIT;
  attach(w);
  return w;
}

struct world *world_new(const char *schema) {
  return world_new_with(schema, "WAL", 0);
}

void world_free(struct world *w) {
  static const char *const endings[] = {"", "-wal", "-shm", "-journal", "-vow.lock"};
  char name[128];
  detach(w);
  assert_int_equal(sqlite3_close(w->other), SQLITE_OK);
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
    snprintf(name, sizeof name, "%s%s", w->path, endings[i]);
    unlink(name);
  }
  assert_int_equal(rmdir(w->folder), 0);
  free(w);
}

enum vow_vote prepare_open(struct world *w, int transaction, const char *text) {
  struct vow_work work = work_of(transaction);
  w->sql = text;
  memset(&w->reason, 0, sizeof w->reason);
  sql(w->db, "SAVEPOINT vow_branch");
  enum vow_vote vote = w->resource->prepare(w->resource->context, w->db, &work, &w->reason);
  if (sqlite3_get_autocommit(w->db)) return vote;
  if (vote != VOW_VOTE_COMMIT) sql(w->db, "ROLLBACK TO vow_branch");
  sql(w->db, "RELEASE vow_branch");
  return vote;
}

enum vow_vote prepare(struct world *w, int transaction, const char *text) {
  sql(w->db, "BEGIN IMMEDIATE");
  enum vow_vote vote = prepare_open(w, transaction, text);
  if (!sqlite3_get_autocommit(w->db)) sql(w->db, "COMMIT");
  return vote;
}

void prepared(struct world *w, int transaction, const char *text) {
  enum vow_vote vote = prepare(w, transaction, text);
  if (vote != VOW_VOTE_COMMIT) fail_msg("%s: votes %d: %s", text, vote, w->reason.text);
}

void refused(struct world *w, int transaction, const char *text, const char *expected) {
  enum vow_vote vote = prepare(w, transaction, text);
  if (vote != VOW_VOTE_ABORT) fail_msg("%s: votes %d, should abort: %s", text, vote, expected);
  if (!strstr(w->reason.text, expected)) {
    fail_msg("%s: says \"%s\", not \"%s\"", text, w->reason.text, expected);
  }
}

enum vow_error finish_open(struct world *w, int transaction, bool commit) {
  struct vow_work work = work_of(transaction);
  memset(&w->reason, 0, sizeof w->reason);
  sql(w->db, "SAVEPOINT vow_branch");
  enum vow_error error = commit
                             ? w->resource->commit(w->resource->context, w->db, &work, &w->reason)
                             : w->resource->abort(w->resource->context, w->db, &work, &w->reason);
  if (error) sql(w->db, "ROLLBACK TO vow_branch");
  sql(w->db, "RELEASE vow_branch");
  return error;
}

enum vow_error finish(struct world *w, int transaction, bool commit) {
  sql(w->db, "BEGIN IMMEDIATE");
  enum vow_error error = finish_open(w, transaction, commit);
  sql(w->db, "COMMIT");
  return error;
}

void committed(struct world *w, int transaction) {
  if (finish(w, transaction, true)) fail_msg("commit: %s", w->reason.text);
}

void aborted(struct world *w, int transaction) {
  if (finish(w, transaction, false)) fail_msg("abort: %s", w->reason.text);
}

void at_rest(struct world *w) {
  expect(w->other, "SELECT count(*) FROM vow_lock", "0");
  expect(w->other, "SELECT count(*) FROM vow_changeset", "0");
}
