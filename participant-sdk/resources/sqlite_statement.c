/*
 * Statements and sentences of the SQLite resource: vow's own tables, the statements on them that
 * are prepared once a connection, and failures put into words. Called by the other files of the
 * resource.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resources/sqlite_internal.h"

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS main.vow_changeset("
    " \"transaction\" TEXT NOT NULL, branch INTEGER NOT NULL, tables TEXT NOT NULL,"
    " changeset BLOB NOT NULL, PRIMARY KEY(\"transaction\", branch)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS main.vow_lock("
    " tbl TEXT NOT NULL, idx TEXT NOT NULL, k1 NOT NULL, k2 NOT NULL, k3 NOT NULL, k4 NOT NULL,"
    " k5 NOT NULL, k6 NOT NULL, k7 NOT NULL, k8 NOT NULL, mode INTEGER NOT NULL,"
    " \"transaction\" TEXT NOT NULL, branch INTEGER NOT NULL,"
    " PRIMARY KEY(tbl, idx, k1, k2, k3, k4, k5, k6, k7, k8, \"transaction\", branch)"
    ") WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS main.vow_lock_branch ON vow_lock(\"transaction\", branch);"
    "CREATE TABLE IF NOT EXISTS main.vow_guard("
    " id INTEGER PRIMARY KEY CHECK(id = 1), schema_version INTEGER NOT NULL,"
    " mark INTEGER NOT NULL);";

static const char *const statement_texts[VOW_SQLITE_STATEMENT_COUNT] = {
    [VOW_SQLITE_SAVEPOINT] = "SAVEPOINT vow_work",
    [VOW_SQLITE_ROLLBACK_TO] = "ROLLBACK TO vow_work",
    [VOW_SQLITE_RELEASE] = "RELEASE vow_work",
    [VOW_SQLITE_SCHEMA_VERSION] = "PRAGMA main.schema_version",
    [VOW_SQLITE_GUARD_READ] = "SELECT schema_version, mark FROM main.vow_guard WHERE id = 1",
    [VOW_SQLITE_GUARD_WRITE] =
        "INSERT INTO main.vow_guard(id, schema_version, mark) VALUES(1, ?1, ?2) ON CONFLICT(id)"
        " DO UPDATE SET schema_version = excluded.schema_version, mark = excluded.mark",
    [VOW_SQLITE_CHANGESET_READ] =
        "SELECT tables, changeset FROM main.vow_changeset"
        " WHERE \"transaction\" = ?1 AND branch = ?2",
    [VOW_SQLITE_CHANGESET_WRITE] =
        "INSERT INTO main.vow_changeset(\"transaction\", branch, tables, changeset)"
        " VALUES(?1, ?2, ?3, ?4)",
    [VOW_SQLITE_CHANGESET_DELETE] =
        "DELETE FROM main.vow_changeset WHERE \"transaction\" = ?1 AND branch = ?2",
    [VOW_SQLITE_LOCK_WRITE] =
        "INSERT INTO main.vow_lock(\"transaction\", branch, mode, tbl, idx,"
        " k1, k2, k3, k4, k5, k6, k7, k8)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        " ON CONFLICT DO UPDATE SET mode = max(mode, excluded.mode)",
    [VOW_SQLITE_LOCKS_DELETE] =
        "DELETE FROM main.vow_lock WHERE \"transaction\" = ?1 AND branch = ?2",
    [VOW_SQLITE_SEQUENCE_ADD] =
        "INSERT INTO main.sqlite_sequence(name, seq) SELECT ?1, ?2 WHERE NOT"
        " EXISTS(SELECT 1 FROM main.sqlite_sequence WHERE name = ?1)",
    [VOW_SQLITE_SEQUENCE_RAISE] =
        "UPDATE main.sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1",
};

enum vow_error vow_sqlite_fail(struct vow_sqlite *sq, enum vow_error error, const char *format,
                               ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sq->why, sizeof sq->why, format, arguments);
  va_end(arguments);
  return error;
}

enum vow_error vow_sqlite_failed(struct vow_sqlite *sq, int rc, const char *doing) {
  enum vow_error error = VOW_E_DATABASE;
  if (rc == SQLITE_OK) return VOW_OK;
  switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return vow_sqlite_fail(sq, VOW_E_LOG_LOCKED,
                             "the database is busy with another writer or reader; try again");
    case SQLITE_NOMEM:
      error = VOW_E_NO_MEMORY;
      break;
    case SQLITE_FULL:
      error = VOW_E_LOG_FULL;
      break;
    case SQLITE_IOERR:
      error = VOW_E_LOG_IO;
      break;
    case SQLITE_READONLY:
      error = VOW_E_LOG_READ_ONLY;
      break;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      error = VOW_E_LOG_CORRUPT;
      break;
    default:
      break;
  }
  const char *text = sq->db && (sqlite3_errcode(sq->db) & 0xff) == (rc & 0xff)
                         ? sqlite3_errmsg(sq->db)
                         : sqlite3_errstr(rc);
  return vow_sqlite_fail(sq, error, "%s: %s", doing, text);
}

enum vow_error vow_sqlite_too_large(struct vow_sqlite *sq) {
  return vow_sqlite_fail(sq, VOW_E_CANNOT_CAPTURE,
                         "the work changes too much for one branch (at most %u rows and %zu bytes)",
                         sq->options.rows_max, sq->options.changeset_bytes_max);
}

enum vow_error vow_sqlite_exec(struct vow_sqlite *sq, const char *sql) {
  return vow_sqlite_failed(sq, sqlite3_exec(sq->db, sql, NULL, NULL, NULL),
                           "the database refuses what vow needs");
}

enum vow_error vow_sqlite_exec_made(struct vow_sqlite *sq, char *sql) {
  if (!sql) return vow_sqlite_failed(sq, SQLITE_NOMEM, "writing SQL");
  enum vow_error error = vow_sqlite_exec(sq, sql);
  sqlite3_free(sql);
  return error;
}

enum vow_error vow_sqlite_prepare_made(struct vow_sqlite *sq, char *sql, sqlite3_stmt **out) {
  if (!sql) return vow_sqlite_failed(sq, SQLITE_NOMEM, "writing SQL");
  int rc = sqlite3_prepare_v3(sq->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
  sqlite3_free(sql);
  return vow_sqlite_failed(sq, rc, "the database refuses what vow needs");
}

enum vow_error vow_sqlite_statement(struct vow_sqlite *sq, enum vow_sqlite_statement which,
                                    sqlite3_stmt **out) {
  if (!sq->statements[which]) {
    int rc = sqlite3_prepare_v3(sq->db, statement_texts[which], -1, SQLITE_PREPARE_PERSISTENT,
                                &sq->statements[which], NULL);
    if (rc != SQLITE_OK) return vow_sqlite_failed(sq, rc, "vow's tables cannot be used");
  }
  *out = sq->statements[which];
  return VOW_OK;
}

enum vow_error vow_sqlite_step(struct vow_sqlite *sq, sqlite3_stmt *statement, bool *row_out) {
  int rc = sqlite3_step(statement);
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
    enum vow_error error = vow_sqlite_failed(sq, rc, "the database reports");
    sqlite3_reset(statement);
    return error;
  }
  *row_out = rc == SQLITE_ROW;
  return VOW_OK;
}

enum vow_error vow_sqlite_run(struct vow_sqlite *sq, sqlite3_stmt *statement) {
  bool row = false;
  enum vow_error error = vow_sqlite_step(sq, statement, &row);
  sqlite3_reset(statement);
  return error;
}

enum vow_error vow_sqlite_run_plain(struct vow_sqlite *sq, enum vow_sqlite_statement which) {
  sqlite3_stmt *statement = NULL;
  enum vow_error error = vow_sqlite_statement(sq, which, &statement);
  return error ? error : vow_sqlite_run(sq, statement);
}

enum vow_error vow_sqlite_branch_statement(struct vow_sqlite *sq, enum vow_sqlite_statement which,
                                           const struct vow_work *work, sqlite3_stmt **out) {
  sqlite3_stmt *statement = NULL;
  enum vow_error error = vow_sqlite_statement(sq, which, &statement);
  if (error) return error;
  int rc = sqlite3_bind_text(statement, 1, work->transaction, -1, SQLITE_STATIC);
  if (rc == SQLITE_OK) rc = sqlite3_bind_int64(statement, 2, work->branch);
  if (rc != SQLITE_OK) return vow_sqlite_failed(sq, rc, "binding a branch");
  *out = statement;
  return VOW_OK;
}

enum vow_error vow_sqlite_run_branch(struct vow_sqlite *sq, enum vow_sqlite_statement which,
                                     const struct vow_work *work) {
  sqlite3_stmt *statement = NULL;
  enum vow_error error = vow_sqlite_branch_statement(sq, which, work, &statement);
  if (error) return error;
  error = vow_sqlite_run(sq, statement);
  sqlite3_clear_bindings(statement);
  return error;
}

enum vow_error vow_sqlite_install(struct vow_sqlite *sq) {
  return vow_sqlite_failed(sq, sqlite3_exec(sq->db, schema, NULL, NULL, NULL),
                           "vow's tables cannot be made");
}

void vow_sqlite_statements_finalize(struct vow_sqlite *sq) {
  for (int i = 0; i < VOW_SQLITE_STATEMENT_COUNT; i++) {
    sqlite3_finalize(sq->statements[i]);
    sq->statements[i] = NULL;
  }
}

enum vow_error vow_sqlite_names_add(struct vow_sqlite *sq, struct vow_sqlite_names *names,
                                    const char *name) {
  char **items = realloc((void *)names->items, (names->count + 1) * sizeof *items);
  char *copy = name ? strdup(name) : NULL;
  if (items) names->items = items;
  if (!items || !copy) {
    free(copy);
    return vow_sqlite_failed(sq, SQLITE_NOMEM, "remembering a name");
  }
  names->items[names->count++] = copy;
  return VOW_OK;
}

void vow_sqlite_names_fini(struct vow_sqlite_names *names) {
  for (size_t i = 0; i < names->count; i++) free(names->items[i]);
  free((void *)names->items);
  *names = (struct vow_sqlite_names){0};
}
