/*
 * Carrying a changeset out at commit. SQLite's own sqlite3changeset_apply is not used: it skips
 * tables whose schema changed without a word, and it cannot swap unique values between rows.
 *
 * The state that the changeset leads to was consistent at prepare, and the locks kept it possible.
 * What is left is not to stumble on the way: first every row goes that is deleted or loses a unique
 * key, then the other rows change in place, then the new rows and the re-keyed ones come. So no
 * step meets a key that a later step would have freed.
 *
 * Every step checks that it finds what the work found at prepare, and affects exactly one row. If
 * not, somebody wrote past the guards (triggers off, incremental blob writes, an edited schema):
 * the branch stays prepared, nothing of it is applied, and the coordinator shows the sentence until
 * it is mended.
 *
 * Called by sqlite.c at commit.
 */
#include <stdlib.h>

#include "resources/sqlite_internal.h"

/* A re-keyed row between its going and its coming. */
struct moved_row {
  struct moved_row *next;
  struct vow_sqlite_table *table;
  sqlite3_value *values[]; /* owned copies, one a column */
};

struct application {
  struct vow_sqlite *sq;
  struct moved_row *moved;
};

/* A statement for changesets with `columns` columns: cached in *cache if those are all of them now,
 * else the caller's to finalize. Takes the text over. */
static enum vow_error prepare_made(struct vow_sqlite *sq, const struct vow_sqlite_table *table,
                                   int columns, char *sql, sqlite3_stmt **cache,
                                   sqlite3_stmt **out) {
  sqlite3_stmt *statement = NULL;
  enum vow_error error = vow_sqlite_prepare_made(sq, sql, &statement);
  if (error) return error;
  if (columns == table->column_count) *cache = statement;
  *out = statement;
  return VOW_OK;
}

static enum vow_error not_as_at_prepare(struct vow_sqlite *sq,
                                        const struct vow_sqlite_table *table) {
  return vow_sqlite_fail(sq, VOW_E_DATABASE,
                         "a row of %s is not as it was at prepare, something wrote past the guards:"
                         " restore it, and the branch commits",
                         table->name);
}

/* Where only guards are on, one of them may take the lock of another branch for one on this change:
 * on a row of the rowid -1, which is what a guard sees in place of a hidden rowid that SQLite has
 * not chosen yet; a reference to a row that is taken out and put back; a key of an index whose name
 * another one has now. The branch has been promised its commit, so it goes on without them. A guard
 * that refuses leaves nothing of the statement behind. */
static enum vow_error run(struct vow_sqlite *sq, sqlite3_stmt *statement) {
  enum vow_error error = vow_sqlite_run(sq, statement);
  if (!error || !sq->enforced) return error;
  if (sqlite3_extended_errcode(sq->db) != SQLITE_CONSTRAINT_TRIGGER) return error;
  error = vow_sqlite_enforce(sq, false);
  return error ? error : vow_sqlite_run(sq, statement);
}

static enum vow_error step_once(struct vow_sqlite *sq, const struct vow_sqlite_table *table,
                                sqlite3_stmt *statement, int bind_rc) {
  enum vow_error error =
      bind_rc == SQLITE_OK ? run(sq, statement) : vow_sqlite_failed(sq, bind_rc, "binding a row");
  sqlite3_clear_bindings(statement);
  return !error && sqlite3_changes(sq->db) != 1 ? not_as_at_prepare(sq, table) : error;
}

/* The row must be as in table->old, in its first `columns` columns. */
static enum vow_error delete_row(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                                 int columns) {
  sqlite3_stmt *statement = columns == table->column_count ? table->delete_ : NULL;
  enum vow_error error = VOW_OK;
  int rc = SQLITE_OK;
  if (!statement) {
    sqlite3_str *sql = sqlite3_str_new(sq->db);
    sqlite3_str_appendf(sql, "DELETE FROM main.\"%w\"", table->name);
    vow_sqlite_where_primary_key(sql, table, columns + 1);
    for (int i = 0; i < columns; i++) {
      sqlite3_str_appendf(sql, " AND \"%w\" IS ?%d COLLATE BINARY", table->columns[i], i + 1);
    }
    error = prepare_made(sq, table, columns, sqlite3_str_finish(sql), &table->delete_, &statement);
    if (error) return error;
  }
  for (int i = 0; rc == SQLITE_OK && i < columns; i++) {
    rc = sqlite3_bind_value(statement, i + 1, table->old[i]);
  }
  for (int i = 0; rc == SQLITE_OK && i < table->keys[0].column_count; i++) {
    rc = sqlite3_bind_value(statement, columns + 1 + i, table->old[table->keys[0].columns[i]]);
  }
  error = step_once(sq, table, statement, rc);
  if (statement != table->delete_) sqlite3_finalize(statement);
  return error;
}

static enum vow_error insert_row(struct vow_sqlite *sq, struct vow_sqlite_table *table, int columns,
                                 sqlite3_value *const *values) {
  sqlite3_stmt *statement = columns == table->column_count ? table->insert : NULL;
  enum vow_error error = VOW_OK;
  int rc = SQLITE_OK;
  if (!statement) {
    sqlite3_str *sql = sqlite3_str_new(sq->db);
    sqlite3_str_appendf(sql, "INSERT OR ABORT INTO main.\"%w\"(", table->name);
    for (int i = 0; i < columns; i++) {
      sqlite3_str_appendf(sql, "%s\"%w\"", i ? ", " : "", table->columns[i]);
    }
    sqlite3_str_appendall(sql, ") VALUES(");
    for (int i = 0; i < columns; i++) sqlite3_str_appendf(sql, "%s?%d", i ? ", " : "", i + 1);
    sqlite3_str_appendall(sql, ")");
    error = prepare_made(sq, table, columns, sqlite3_str_finish(sql), &table->insert, &statement);
    if (error) return error;
  }
  for (int i = 0; rc == SQLITE_OK && i < columns; i++) {
    rc = sqlite3_bind_value(statement, i + 1, values[i]);
  }
  error = step_once(sq, table, statement, rc);
  if (statement != table->insert) sqlite3_finalize(statement);
  return error;
}

/* ---- update in place ---- */

/* Which columns change, if the first 64 tell. */
static bool update_columns(const struct vow_sqlite_table *table, int columns, uint64_t *out) {
  uint64_t mask = 0;
  for (int i = 0; i < columns; i++) {
    if (!table->new_[i]) continue;
    if (i >= 64) return false;
    mask |= UINT64_C(1) << i;
  }
  *out = mask;
  return true;
}

static char *update_text(struct vow_sqlite *sq, const struct vow_sqlite_table *table) {
  int columns = table->column_count;
  int terms = 0;
  sqlite3_str *sql = sqlite3_str_new(sq->db);
  sqlite3_str_appendf(sql, "UPDATE OR ABORT main.\"%w\" SET", table->name);
  for (int i = 0; i < columns; i++) {
    if (!table->new_[i]) continue;
    sqlite3_str_appendf(sql, "%s \"%w\" = ?%d", terms++ ? "," : "", table->columns[i], i + 1);
  }
  vow_sqlite_where_primary_key(sql, table, 2 * columns + 1);
  for (int i = 0; i < columns; i++) {
    if (!table->new_[i]) continue;
    sqlite3_str_appendf(sql, " AND \"%w\" IS ?%d COLLATE BINARY", table->columns[i],
                        columns + i + 1);
  }
  return sqlite3_str_finish(sql);
}

/* The statement that changes just the columns in table->new_. *cached: it is not the caller's. */
static enum vow_error update_statement(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                                       int columns, sqlite3_stmt **out, bool *cached) {
  uint64_t mask = 0;
  *cached = update_columns(table, columns, &mask);
  for (int i = 0; *cached && i < VOW_SQLITE_UPDATES_CACHED; i++) {
    if (!table->updates[i].statement || table->updates[i].columns != mask) continue;
    *out = table->updates[i].statement;
    return VOW_OK;
  }
  sqlite3_stmt *statement = NULL;
  enum vow_error error = vow_sqlite_prepare_made(sq, update_text(sq, table), &statement);
  if (error) return error;
  if (*cached) {
    unsigned place = table->update_next++ % VOW_SQLITE_UPDATES_CACHED;
    sqlite3_finalize(table->updates[place].statement);
    table->updates[place].statement = statement;
    table->updates[place].columns = mask;
  }
  *out = statement;
  return VOW_OK;
}

static enum vow_error update_row(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                                 int columns) {
  sqlite3_stmt *statement = NULL;
  bool cached = false;
  int rc = SQLITE_OK;
  enum vow_error error = update_statement(sq, table, columns, &statement, &cached);
  if (error) return error;
  for (int i = 0; rc == SQLITE_OK && i < columns; i++) {
    if (!table->new_[i]) continue;
    rc = sqlite3_bind_value(statement, i + 1, table->new_[i]);
    if (rc == SQLITE_OK) {
      rc = sqlite3_bind_value(statement, table->column_count + i + 1, table->old[i]);
    }
  }
  for (int i = 0; rc == SQLITE_OK && i < table->keys[0].column_count; i++) {
    rc = sqlite3_bind_value(statement, 2 * table->column_count + 1 + i,
                            table->old[table->keys[0].columns[i]]);
  }
  error = step_once(sq, table, statement, rc);
  if (!cached) sqlite3_finalize(statement);
  return error;
}

/* ---- re-keyed rows ---- */

static bool moves(const struct vow_sqlite_table *table) {
  for (int i = 1; i < table->key_count; i++) {
    if (vow_sqlite_key_moves(table, &table->keys[i])) return true;
  }
  return false;
}

static void moved_free(struct moved_row *row) {
  for (int i = 0; i < row->table->column_count; i++) sqlite3_value_free(row->values[i]);
  free(row);
}

/* Takes the row out and keeps what it will be. */
static enum vow_error take_out(struct application *application,
                               const struct vow_sqlite_change *change) {
  struct vow_sqlite *sq = application->sq;
  struct vow_sqlite_table *table = change->table;
  struct moved_row *row = NULL;
  enum vow_error error = vow_sqlite_change_meet(sq, change);
  if (error == VOW_E_CONFLICT) return not_as_at_prepare(sq, table);
  if (error) return error;
  row = calloc(1, sizeof *row + (size_t)table->column_count * sizeof(sqlite3_value *));
  if (!row) {
    error = vow_sqlite_failed(sq, SQLITE_NOMEM, "moving a row");
    goto out;
  }
  row->table = table;
  row->next = application->moved;
  application->moved = row;
  for (int i = 0; i < table->column_count; i++) {
    row->values[i] = sqlite3_value_dup(table->new_[i]);
    if (!row->values[i]) error = vow_sqlite_failed(sq, SQLITE_NOMEM, "moving a row");
  }
  if (!error) error = delete_row(sq, table, table->column_count);
out:
  sqlite3_reset(table->read);
  return error;
}

static enum vow_error put_back(struct application *application) {
  enum vow_error error = VOW_OK;
  while (application->moved) {
    struct moved_row *row = application->moved;
    application->moved = row->next;
    if (!error) {
      error = insert_row(application->sq, row->table, row->table->column_count, row->values);
    }
    moved_free(row);
  }
  return error;
}

/* ---- the three steps ---- */

enum step { GOING, CHANGING, COMING };

static enum vow_error apply_change(struct application *application, enum step step,
                                   const struct vow_sqlite_change *change) {
  struct vow_sqlite *sq = application->sq;
  struct vow_sqlite_table *table = change->table;
  switch (change->op) {
    case SQLITE_DELETE:
      return step == GOING ? delete_row(sq, table, change->column_count) : VOW_OK;
    case SQLITE_INSERT:
      return step == COMING ? insert_row(sq, table, change->column_count, table->new_) : VOW_OK;
    default:
      if (moves(table)) return step == GOING ? take_out(application, change) : VOW_OK;
      return step == CHANGING ? update_row(sq, table, change->column_count) : VOW_OK;
  }
}

static enum vow_error apply_step(struct application *application, enum step step,
                                 const struct vow_buf *changeset) {
  struct vow_sqlite *sq = application->sq;
  sqlite3_changeset_iter *iterator = NULL;
  int rc = sqlite3changeset_start(&iterator, (int)changeset->bytes, changeset->data);
  if (rc != SQLITE_OK) return vow_sqlite_failed(sq, rc, "reading changes");
  enum vow_error error = VOW_OK;
  while (!error && (rc = sqlite3changeset_next(iterator)) == SQLITE_ROW) {
    struct vow_sqlite_change change = {0};
    error = vow_sqlite_change_load(sq, iterator, &change);
    if (!error) error = apply_change(application, step, &change);
  }
  if (!error && rc != SQLITE_DONE) error = vow_sqlite_failed(sq, rc, "reading changes");
  sqlite3changeset_finalize(iterator);
  return error;
}

/* ---- triggers and foreign keys ---- */

enum vow_error vow_sqlite_enforce(struct vow_sqlite *sq, bool on) {
  if (sq->enforced == on) return VOW_OK;
  int rc = sqlite3_db_config(sq->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, (int)on, NULL);
  if (rc == SQLITE_OK) {
    rc = sqlite3_db_config(sq->db, SQLITE_DBCONFIG_ENABLE_FKEY, on && sq->options.foreign_keys,
                           NULL);
  }
  if (rc == SQLITE_OK) sq->enforced = on;
  return vow_sqlite_failed(sq, rc, "switching triggers");
}

enum vow_error vow_sqlite_apply(struct vow_sqlite *sq, const struct vow_buf *changeset,
                                bool self_contained) {
  struct application application = {.sq = sq};
  enum vow_error error = self_contained ? VOW_OK : vow_sqlite_enforce(sq, false);
  for (int step = GOING; !error && step <= COMING; step++) {
    error = apply_step(&application, (enum step)step, changeset);
  }
  if (!error) error = put_back(&application);
  while (application.moved) {
    struct moved_row *row = application.moved;
    application.moved = row->next;
    moved_free(row);
  }
  return error;
}
