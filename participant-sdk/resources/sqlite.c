/*
 * The SQLite resource: the public functions, and the hooks that the participant's log calls. See
 * sqlite_internal.h for the shape of the whole and its invariants.
 *
 * Prepare: the application's work runs inside a savepoint with a session attached, is turned into a
 * changeset, and is rolled back; then the changeset and its locks are written. So the prepared
 * state is data like any other, and the vote that the log writes into the same transaction is never
 * without it. Commit applies the changeset, abort deletes it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "io/reason.h"
#include "resources/sqlite_internal.h"

/* How often the work is interrupted to look at how much it has changed, in SQLite's instructions.
 */
#define PROGRESS_INSTRUCTIONS 10000
/* What a session needs for a changed row beside the row. */
#define SESSION_ROW_BYTES 256
/* Of the list of tables a changeset touches, with their columns. */
#define DESCRIPTION_BYTES_MAX (1 << 20)
/* SQLite's limit for one value. */
#define CHANGESET_BYTES_CEILING 1000000000

/* ---- capturing the work ---- */

/* The session asks once for each table that is written to, also for those that it cannot capture.
 */
static int on_touch(void *context, const char *table) {
  struct vow_sqlite *sq = context;
  enum vow_error error = vow_sqlite_names_add(sq, &sq->touched, table);
  if (error) sq->touched_error = error;
  return !error;
}

/* Interrupting the statement would roll the whole transaction back, and other branches with it: so
 * the work goes on, but what it changes is no longer remembered, and it is refused at its end. */
static int on_progress(void *context) {
  struct vow_sqlite *sq = context;
  sqlite3_int64 limit = (sqlite3_int64)sq->options.changeset_bytes_max * 2 +
                        (sqlite3_int64)sq->options.rows_max * SESSION_ROW_BYTES;
  if (sqlite3session_memory_used(sq->session) > limit) {
    sq->overflowed = true;
    sqlite3session_enable(sq->session, 0);
  }
  return 0;
}

/* While the work runs nothing may be committed: after an ON CONFLICT ROLLBACK the rest of it would
 * run outside of any transaction. */
static int forbid_commit(void *context) {
  const struct vow_sqlite *sq = context;
  return sq->working;
}

/* A statement that the work left open would keep the rollback from undoing its changes cleanly. */
static void reset_open_statements(sqlite3 *db) {
  for (sqlite3_stmt *s = sqlite3_next_stmt(db, NULL); s; s = sqlite3_next_stmt(db, s)) {
    if (sqlite3_stmt_busy(s)) sqlite3_reset(s);
  }
}

static enum vow_vote call_work(struct vow_sqlite *sq, const struct vow_work *work,
                               struct vow_reason *reason) {
  sq->overflowed = false;
  sq->working = true;
  sqlite3_progress_handler(sq->db, PROGRESS_INSTRUCTIONS, on_progress, sq);
  enum vow_vote vote = sq->options.work(sq->options.context, sq->db, work, reason);
  sqlite3_progress_handler(sq->db, 0, NULL, NULL);
  sq->working = false;
  reset_open_statements(sq->db);
  return vote;
}

/* Whether the statement that the work ran last has failed. */
static bool has_failed(sqlite3 *db) {
  int rc = sqlite3_errcode(db);
  return rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE;
}

static int on_changeset(void *context, const void *data, int bytes) {
  struct vow_buf *changeset = context;
  vow_buf_append(changeset, data, (size_t)bytes);
  return changeset->error ? SQLITE_TOOBIG : SQLITE_OK;
}

/* A session overlooks rows with NULL in their primary key, those that the work made as well as
 * those that it found: asked before and after the work is taken back. Guarded tables have none. */
static enum vow_error check_touched_nulls(struct vow_sqlite *sq) {
  enum vow_error error = VOW_OK;
  for (size_t i = 0; !error && i < sq->touched.count; i++) {
    struct vow_sqlite_table *table = NULL;
    error = vow_sqlite_table_get(sq, sq->touched.items[i], &table);
    if (!error && table && !table->refusal && !table->guarded) {
      error = vow_sqlite_guard_check_nulls(sq, table);
    }
  }
  return error;
}

/* Looks at what was written to, while it is still there. */
static enum vow_error check_touched(struct vow_sqlite *sq) {
  enum vow_error error = sq->touched_error;
  if (error) return vow_sqlite_failed(sq, SQLITE_NOMEM, "capturing the work");
  for (size_t i = 0; i < sq->touched.count; i++) {
    struct vow_sqlite_table *table = NULL;
    error = vow_sqlite_table_get(sq, sq->touched.items[i], &table);
    if (error) return error;
    if (!table) {
      return vow_sqlite_fail(sq, VOW_E_CANNOT_CAPTURE, "%s is not a table", sq->touched.items[i]);
    }
    if (table->refusal) return vow_sqlite_fail(sq, VOW_E_CANNOT_CAPTURE, "%s", table->refusal);
  }
  error = check_touched_nulls(sq);
  if (error) return error;
  if (sq->options.foreign_keys) {
    int violations = 0;
    int unused = 0;
    sqlite3_db_status(sq->db, SQLITE_DBSTATUS_DEFERRED_FKS, &violations, &unused, 0);
    if (violations) {
      return vow_sqlite_fail(sq, VOW_E_CANNOT_CAPTURE, "the work leaves a foreign key violated");
    }
  }
  return VOW_OK;
}

static enum vow_error take_changeset(struct vow_sqlite *sq, struct vow_buf *out) {
  if (sq->overflowed) return vow_sqlite_too_large(sq);
  enum vow_error error = check_touched(sq);
  if (error) return error;
  int rc = sqlite3session_changeset_strm(sq->session, on_changeset, out);
  if (out->error == VOW_E_LIMIT_EXCEEDED) return vow_sqlite_too_large(sq);
  return vow_sqlite_failed(sq, rc, "capturing the work");
}

static void session_end(struct vow_sqlite *sq) {
  if (sq->session) sqlite3session_delete(sq->session);
  sq->session = NULL;
}

/* Runs the work and captures it. The session is the caller's to delete. */
static enum vow_error capture(struct vow_sqlite *sq, const struct vow_work *work,
                              struct vow_reason *reason, enum vow_vote *vote,
                              struct vow_buf *changeset) {
  int rc = sqlite3session_create(sq->db, "main", &sq->session);
  if (rc == SQLITE_OK) rc = sqlite3session_attach(sq->session, NULL);
  enum vow_error error = vow_sqlite_failed(sq, rc, "starting a session");
  if (error) return error;
  sqlite3session_table_filter(sq->session, on_touch, sq);

  sq->why[0] = '\0'; /* the authorizer writes here */
  *vote = call_work(sq, work, reason);
  bool failed = has_failed(sq->db);
  if (sqlite3_get_autocommit(sq->db)) {
    error = vow_sqlite_fail(
        sq, VOW_E_DATABASE, "the work made SQLite roll the whole transaction back: %s",
        failed ? sqlite3_errmsg(sq->db) : "ON CONFLICT ROLLBACK, RAISE(ROLLBACK), or a full disk");
  } else if (sq->why[0] != '\0') {
    error = VOW_E_CANNOT_CAPTURE;
  } else if (*vote == VOW_VOTE_COMMIT) {
    error = take_changeset(sq, changeset);
  } else if (*vote == VOW_VOTE_ABORT && reason->text[0] == '\0' && failed) {
    error = vow_sqlite_fail(sq, VOW_E_DATABASE, "%s", sqlite3_errmsg(sq->db));
  }
  return error;
}

/* ---- the hooks ---- */

/* ---- prepare ---- */

static enum vow_error store(struct vow_sqlite *sq, const struct vow_work *work,
                            const struct vow_buf *changeset) {
  struct vow_buf tables;
  vow_buf_init(&tables, DESCRIPTION_BYTES_MAX);
  sqlite3_stmt *statement = NULL;
  enum vow_error error = vow_sqlite_describe(sq, changeset, &tables, NULL);
  if (!error) error = vow_sqlite_lock_changeset(sq, work, changeset);
  if (!error) {
    error = vow_sqlite_branch_statement(sq, VOW_SQLITE_CHANGESET_WRITE, work, &statement);
  }
  if (error) goto out;
  int rc = sqlite3_bind_text(statement, 3, vow_buf_text(&tables), -1, SQLITE_STATIC);
  if (rc == SQLITE_OK) {
    rc = sqlite3_bind_blob64(statement, 4, changeset->data, changeset->bytes, SQLITE_STATIC);
  }
  error = rc == SQLITE_OK ? vow_sqlite_run(sq, statement)
                          : vow_sqlite_failed(sq, rc, "storing the changes");
  sqlite3_clear_bindings(statement);
out:
  vow_buf_fini(&tables);
  return error;
}

/* Back to the savepoint. If even that fails the whole transaction must go, since part of the branch
 * may be in it. Returns the first error. */
static enum vow_error undo(struct vow_sqlite *sq, enum vow_error error) {
  if (sqlite3_get_autocommit(sq->db)) return error;
  enum vow_error undone = vow_sqlite_run_plain(sq, VOW_SQLITE_ROLLBACK_TO);
  if (undone) sqlite3_exec(sq->db, "ROLLBACK", NULL, NULL, NULL);
  return error ? error : undone;
}

/* Within the savepoint: afterwards either the branch is stored, or nothing of it is there. */
static enum vow_error prepare_in_savepoint(struct vow_sqlite *sq, const struct vow_work *work,
                                           struct vow_reason *reason, enum vow_vote *vote) {
  struct vow_buf changeset;
  vow_buf_init(&changeset, sq->options.changeset_bytes_max);
  enum vow_error error = capture(sq, work, reason, vote, &changeset);
  if (sqlite3_get_autocommit(sq->db)) goto out;
  error = undo(sq, error);
  if (!error && *vote != VOW_VOTE_ABORT) error = check_touched_nulls(sq);
  if (!error && *vote == VOW_VOTE_COMMIT) error = vow_sqlite_complete(sq, &changeset);
  session_end(sq);
  if (!error && *vote == VOW_VOTE_COMMIT && changeset.bytes == 0) *vote = VOW_VOTE_READ_ONLY;
  if (!error && *vote == VOW_VOTE_COMMIT) {
    error = store(sq, work, &changeset);
    if (error) error = undo(sq, error);
  }
out:
  session_end(sq);
  vow_sqlite_names_fini(&sq->touched);
  vow_buf_fini(&changeset);
  return error;
}

static enum vow_vote on_prepare(void *context, sqlite3 *db, const struct vow_work *work,
                                struct vow_reason *reason) {
  struct vow_sqlite *sq = context;
  enum vow_vote vote = VOW_VOTE_ABORT;
  (void)db;
  sq->touched_error = VOW_OK;
  enum vow_error error = vow_sqlite_enforce(sq, true);
  if (!error) error = vow_sqlite_guard_refresh(sq);
  if (!error) error = vow_sqlite_run_plain(sq, VOW_SQLITE_SAVEPOINT);
  if (!error) {
    error = prepare_in_savepoint(sq, work, reason, &vote);
    /* A rollback of the whole transaction took the savepoint away; the log sees it, too. */
    if (!sqlite3_get_autocommit(sq->db)) {
      enum vow_error released = vow_sqlite_run_plain(sq, VOW_SQLITE_RELEASE);
      if (!error) error = released;
    }
  }
  if (error) vow_reason_set(reason, "%s", sq->why);
  return error || vote == VOW_VOTE_NONE ? VOW_VOTE_ABORT : vote;
}

/* ---- commit and abort ---- */

/* The branch's changeset, and what its tables looked like. */
static enum vow_error load_changeset(struct vow_sqlite *sq, const struct vow_work *work,
                                     struct vow_buf *changeset, struct vow_buf *tables) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  enum vow_error error =
      vow_sqlite_branch_statement(sq, VOW_SQLITE_CHANGESET_READ, work, &statement);
  if (!error) error = vow_sqlite_step(sq, statement, &row);
  if (error) return error;
  if (!row) {
    error = vow_sqlite_fail(sq, VOW_E_DATABASE,
                            "the prepared changes are missing from table vow_changeset");
  } else {
    vow_buf_append(tables, sqlite3_column_text(statement, 0),
                   (size_t)sqlite3_column_bytes(statement, 0));
    vow_buf_append(changeset, sqlite3_column_blob(statement, 1),
                   (size_t)sqlite3_column_bytes(statement, 1));
    if (tables->error || changeset->error) {
      error = vow_sqlite_failed(sq, SQLITE_NOMEM, "reading the prepared changes");
    }
  }
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return error;
}

static enum vow_error commit(struct vow_sqlite *sq, const struct vow_work *work) {
  struct vow_buf changeset;
  struct vow_buf tables;
  struct vow_buf now;
  bool self_contained = false;
  vow_buf_init(&changeset, INT32_MAX);
  vow_buf_init(&tables, INT32_MAX);
  vow_buf_init(&now, DESCRIPTION_BYTES_MAX);
  enum vow_error error = vow_sqlite_guard_refresh(sq);
  if (!error) error = load_changeset(sq, work, &changeset, &tables);
  if (!error) error = vow_sqlite_describe(sq, &changeset, &now, &self_contained);
  if (!error && strcmp(vow_buf_text(&tables), vow_buf_text(&now)) != 0) {
    error = vow_sqlite_fail(sq, VOW_E_DATABASE,
                            "the schema changed since prepare: restore these tables, and the branch"
                            " commits: %s",
                            vow_buf_text(&tables));
  }
  /* First, as the guards may be on. If the rest fails, the savepoint brings the locks back. */
  if (!error) error = vow_sqlite_run_branch(sq, VOW_SQLITE_LOCKS_DELETE, work);
  if (!error) error = vow_sqlite_apply(sq, &changeset, self_contained);
  if (!error) error = vow_sqlite_run_branch(sq, VOW_SQLITE_CHANGESET_DELETE, work);
  vow_buf_fini(&changeset);
  vow_buf_fini(&tables);
  vow_buf_fini(&now);
  return error;
}

static enum vow_error on_commit(void *context, sqlite3 *db, const struct vow_work *work,
                                struct vow_reason *reason) {
  struct vow_sqlite *sq = context;
  (void)db;
  enum vow_error error = commit(sq, work);
  if (error) vow_reason_set(reason, "%s", sq->why);
  return error;
}

static enum vow_error on_abort(void *context, sqlite3 *db, const struct vow_work *work,
                               struct vow_reason *reason) {
  struct vow_sqlite *sq = context;
  (void)db;
  enum vow_error error = vow_sqlite_run_branch(sq, VOW_SQLITE_LOCKS_DELETE, work);
  if (!error) error = vow_sqlite_run_branch(sq, VOW_SQLITE_CHANGESET_DELETE, work);
  if (error) vow_reason_set(reason, "%s", sq->why);
  return error;
}

/* ---- opening and closing ---- */

/* What a promise rests on: that it is on the disk, and that work and commit agree on keys. */
static const char *const settings[] = {"synchronous", "wal_autocheckpoint", "foreign_keys"};
#define SETTINGS (sizeof settings / sizeof *settings)

static enum vow_error ask_setting(struct vow_sqlite *sq, const char *name, char out[16]) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  enum vow_error error =
      vow_sqlite_prepare_made(sq, sqlite3_mprintf("PRAGMA main.%s", name), &statement);
  if (!error) error = vow_sqlite_step(sq, statement, &row);
  if (!error) {
    const unsigned char *value = row ? sqlite3_column_text(statement, 0) : NULL;
    snprintf(out, 16, "%s", value ? (const char *)value : "");
  }
  sqlite3_finalize(statement);
  return error;
}

/* SQLite fires those whatever SQLITE_DBCONFIG_ENABLE_TRIGGER says (since 3.35), so what one did at
 * prepare would be done again at commit. On a view they are harmless: commit writes to tables. */
static enum vow_error check_temporary_triggers(struct vow_sqlite *sq) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  int rc = sqlite3_prepare_v2(sq->db,
                              "SELECT g.name, g.tbl_name FROM temp.sqlite_schema AS g WHERE"
                              " g.type = 'trigger' AND EXISTS(SELECT 1 FROM main.sqlite_schema AS t"
                              " WHERE t.type = 'table' AND t.name = g.tbl_name COLLATE NOCASE)",
                              -1, &statement, NULL);
  enum vow_error error = vow_sqlite_failed(sq, rc, "looking for temporary triggers");
  if (!error) error = vow_sqlite_step(sq, statement, &row);
  if (!error && row) {
    error = vow_sqlite_fail(sq, VOW_E_INVALID_ARGUMENT,
                            "the application's setup made the temporary trigger %s on %s, which"
                            " would fire at prepare and again at commit: create it in the database",
                            (const char *)sqlite3_column_text(statement, 0),
                            (const char *)sqlite3_column_text(statement, 1));
  }
  sqlite3_finalize(statement);
  return error;
}

/* Without a journal on the disk a kill in the middle of a commit tears the database; without any,
 * what the work did at prepare stays there, whatever it voted. */
static enum vow_error check_journal(struct vow_sqlite *sq) {
  char mode[16];
  enum vow_error error = ask_setting(sq, "journal_mode", mode);
  if (error || (strcmp(mode, "off") != 0 && strcmp(mode, "memory") != 0)) return error;
  return vow_sqlite_fail(sq, VOW_E_INVALID_ARGUMENT,
                         "the application's setup changed PRAGMA journal_mode to %s, with which"
                         " nothing that is promised outlives a crash: leave that out",
                         mode);
}

/* Lets the application set the connection up, and sees that vow can work with it. */
static enum vow_error run_setup(struct vow_sqlite *sq) {
  char before[SETTINGS][16];
  char after[16];
  enum vow_error error = VOW_OK;
  if (!sq->options.setup) return VOW_OK;
  for (size_t i = 0; !error && i < SETTINGS; i++) error = ask_setting(sq, settings[i], before[i]);
  if (error) return error;
  if (sq->options.setup(sq->options.context, sq->db) != VOW_OK) {
    return vow_sqlite_fail(sq, VOW_E_DATABASE, "the application's setup of the connection failed");
  }
  if (!sqlite3_get_autocommit(sq->db)) {
    return vow_sqlite_fail(sq, VOW_E_INVALID_ARGUMENT,
                           "the application's setup left a transaction open: end it there");
  }
  for (size_t i = 0; i < SETTINGS; i++) {
    error = ask_setting(sq, settings[i], after);
    if (error) return error;
    if (strcmp(before[i], after) == 0) continue;
    return vow_sqlite_fail(
        sq, VOW_E_INVALID_ARGUMENT,
        "the application's setup changed PRAGMA %s from %s to %s, which is vow's"
        " to set%s",
        settings[i], before[i], after,
        strcmp(settings[i], "foreign_keys") == 0 ? ": say it with options.foreign_keys" : "");
  }
  error = check_journal(sq);
  return error ? error : check_temporary_triggers(sq);
}

static enum vow_error setup(struct vow_sqlite *sq) {
  sq->enforced = false;
  enum vow_error error = vow_sqlite_enforce(sq, true);
  if (!error) error = run_setup(sq);
  sq->set_up = !error;
  if (!error) error = vow_sqlite_authorize(sq);
  if (error) return error;
  sqlite3_commit_hook(sq->db, forbid_commit, sq);
  bool own = sqlite3_get_autocommit(sq->db);
  if (own) error = vow_sqlite_exec(sq, "BEGIN IMMEDIATE");
  if (error) return error;
  error = vow_sqlite_install(sq);
  if (!error) error = vow_sqlite_guard_refresh(sq);
  if (!error && own) error = vow_sqlite_exec(sq, "COMMIT");
  if (error && own) sqlite3_exec(sq->db, "ROLLBACK", NULL, NULL, NULL);
  return error;
}

static void on_detach(void *context) {
  struct vow_sqlite *sq = context;
  if (!sq->db) return;
  if (sq->set_up && sq->options.teardown) sq->options.teardown(sq->options.context, sq->db);
  sq->set_up = false;
  vow_sqlite_tables_forget(sq);
  vow_sqlite_statements_finalize(sq);
  sqlite3_commit_hook(sq->db, NULL, NULL);
  sqlite3_set_authorizer(sq->db, NULL, NULL);
  sq->guard_mark = 0;
  sq->db = NULL;
}

static enum vow_error on_attach(void *context, sqlite3 *db, char *why, size_t why_bytes) {
  struct vow_sqlite *sq = context;
  sq->db = db;
  enum vow_error error = setup(sq);
  if (!error) return VOW_OK;
  if (why && why_bytes) snprintf(why, why_bytes, "%s", sq->why);
  on_detach(sq);
  return error;
}

const struct vow_resource *vow_sqlite_resource(struct vow_sqlite *sqlite) {
  return &sqlite->resource;
}

void vow_sqlite_options_init(struct vow_sqlite_options *options) {
  *options = (struct vow_sqlite_options){
      .size = sizeof *options,
      .busy_timeout_ms = 5000,
      .changeset_bytes_max = (size_t)16 << 20,
      .rows_max = 100000,
  };
}

/* What to do about a database that cannot be used; it ends a sentence. */
static const char *open_advice(int rc) {
  switch (rc & 0xff) {
    case SQLITE_CANTOPEN:
      return "name a file, and let this user read and write it and make files in its folder";
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return "let this user write it and its folder, or make the disk writable";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "end the process that holds it, or wait for it";
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return "name another file, or restore it from a backup";
    case SQLITE_NOMEM:
      return "give this process more";
    default:
      return "look at the disk and the kernel's messages";
  }
}

/* A look at the file, so that a wrong path is told where it was given. */
static enum vow_error check_database(struct vow_sqlite *sq) {
  sqlite3 *db = NULL;
  int rc = sqlite3_open_v2(sq->path, &db, SQLITE_OPEN_READWRITE, NULL);
  enum vow_error error = VOW_OK;
  if (db) {
    sqlite3_busy_timeout(db, (int)sq->options.busy_timeout_ms);
    /* What a crash left in the WAL is the log's to write back, once it has made sure of it. */
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  }
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "SELECT 1 FROM sqlite_schema", NULL, NULL, NULL);
  if (rc == SQLITE_OK && sqlite3_db_readonly(db, "main")) rc = SQLITE_READONLY;
  if (rc != SQLITE_OK) {
    error = vow_sqlite_failed(sq, rc, "opening");
    (void)vow_sqlite_fail(sq, error, "cannot use database %s: %s; %s", sq->path,
                          db && rc != SQLITE_READONLY ? sqlite3_errmsg(db) : sqlite3_errstr(rc),
                          open_advice(rc));
  }
  sqlite3_close(db);
  return error;
}

static enum vow_error check_options(struct vow_sqlite *sq,
                                    const struct vow_sqlite_options *options) {
  if (!options || options->size != sizeof *options) {
    return vow_sqlite_fail(sq, VOW_E_INVALID_ARGUMENT, "call vow_sqlite_options_init first");
  }
  if (!options->path || !options->work) {
    return vow_sqlite_fail(sq, VOW_E_INVALID_ARGUMENT, "options.path and options.work are needed");
  }
  if (options->changeset_bytes_max == 0 || options->changeset_bytes_max > CHANGESET_BYTES_CEILING ||
      options->rows_max == 0 || options->busy_timeout_ms > INT32_MAX) {
    return vow_sqlite_fail(sq, VOW_E_INVALID_ARGUMENT,
                           "options.changeset_bytes_max must be 1 to %d, rows_max at least 1",
                           CHANGESET_BYTES_CEILING);
  }
  return VOW_OK;
}

static enum vow_error open_resource(struct vow_sqlite *sq,
                                    const struct vow_sqlite_options *options) {
  enum vow_error error = check_options(sq, options);
  if (error) return error;
  sq->options = *options;
  sq->path = realpath(options->path, NULL);
  if (!sq->path && errno == ENOMEM) return vow_sqlite_fail(sq, VOW_E_NO_MEMORY, "out of memory");
  if (!sq->path) {
    return vow_sqlite_fail(sq, errno == ENOENT ? VOW_E_INVALID_ARGUMENT : VOW_E_DATABASE,
                           "cannot use database %s: %s; %s", options->path, strerror(errno),
                           errno == ENOENT ? "make it, with its tables, first"
                                           : "mend the path, or the permissions of its folders");
  }
  sq->options.path = sq->path;
  error = check_database(sq);
  sq->resource = (struct vow_resource){.context = sq,
                                       .path = sq->path,
                                       .busy_timeout_ms = sq->options.busy_timeout_ms,
                                       .attach = on_attach,
                                       .prepare = on_prepare,
                                       .commit = on_commit,
                                       .abort = on_abort,
                                       .detach = on_detach};
  return error;
}

enum vow_error vow_sqlite_open(struct vow_sqlite **out, const struct vow_sqlite_options *options,
                               char *why, size_t why_bytes) {
  struct vow_sqlite *sq = calloc(1, sizeof *sq);
  if (!sq) return VOW_E_NO_MEMORY;
  enum vow_error error = open_resource(sq, options);
  if (!error) {
    *out = sq;
    return VOW_OK;
  }
  if (why && why_bytes) snprintf(why, why_bytes, "%s", sq->why);
  vow_sqlite_close(sq);
  return error;
}

void vow_sqlite_close(struct vow_sqlite *resource) {
  if (!resource) return;
  on_detach(resource);
  free(resource->path);
  free(resource);
}
