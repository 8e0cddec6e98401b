/*
 * The locks of a prepared branch: for every row it changes, the primary key and the value in every
 * unique index, before and after; and, with foreign keys on, the rows that its rows refer to.
 *
 * A lock is a promise in both directions: no other writer touches the key (the guards see to that,
 * and the check here to what the guards could not see, as a table's first touch), and what the
 * changeset meets when it is applied is what it met at prepare (G3). So a key is locked in all
 * unique indexes even if only another column changes: a REPLACE elsewhere would take the row away
 * through them.
 *
 * Called by sqlite.c at prepare, when the work itself has been rolled back.
 */
#include <string.h>

#include "resources/sqlite_internal.h"

/* The branch at work, and what is locked for it. */
struct locker {
  struct vow_sqlite *sq;
  const struct vow_work *work;
};

static enum vow_error conflict(struct vow_sqlite *sq, const struct vow_sqlite_table *table,
                               sqlite3_stmt *holder) {
  return vow_sqlite_fail(sq, VOW_E_CONFLICT, "a row of %s is locked by the prepared transaction %s",
                         table->name, (const char *)sqlite3_column_text(holder, 1));
}

/* Whether a lock that exists keeps one of `mode` away: a reference goes together with anything that
 * keeps the key. */
static bool excludes(int held, enum vow_sqlite_mode wanted) {
  if (held == VOW_SQLITE_REFERENCED) return wanted == VOW_SQLITE_MOVED;
  if (wanted == VOW_SQLITE_REFERENCED) return held == VOW_SQLITE_MOVED;
  return true;
}

/* Looks at who holds the key. *mine is the mode that this branch holds it in, 0 for none. */
static enum vow_error check_holders(struct locker *locker, struct vow_sqlite_table *table,
                                    struct vow_sqlite_key *key, sqlite3_value *const *values,
                                    enum vow_sqlite_mode mode, int *mine) {
  struct vow_sqlite *sq = locker->sq;
  enum vow_error error = VOW_OK;
  int rc = SQLITE_OK;
  bool row = false;
  if (!key->holders) {
    sqlite3_str *sql = sqlite3_str_new(sq->db);
    sqlite3_str_appendall(sql, "SELECT mode, \"transaction\", branch FROM main.vow_lock WHERE ");
    vow_sqlite_match(sql, table, key, NULL);
    error = vow_sqlite_prepare_made(sq, sqlite3_str_finish(sql), &key->holders);
    if (error) return error;
  }
  for (int i = 0; rc == SQLITE_OK && i < key->column_count; i++) {
    rc = sqlite3_bind_value(key->holders, i + 1, values[key->columns[i]]);
  }
  error = vow_sqlite_failed(sq, rc, "looking for locks");
  *mine = 0;
  while (!error && !(error = vow_sqlite_step(sq, key->holders, &row)) && row) {
    const char *transaction = (const char *)sqlite3_column_text(key->holders, 1);
    int held = sqlite3_column_int(key->holders, 0);
    if (transaction && strcmp(transaction, locker->work->transaction) == 0 &&
        sqlite3_column_int64(key->holders, 2) == locker->work->branch) {
      *mine = held;
    } else if (excludes(held, mode)) {
      error = conflict(sq, table, key->holders);
    }
  }
  sqlite3_reset(key->holders);
  sqlite3_clear_bindings(key->holders);
  return error;
}

static enum vow_error write_lock(struct locker *locker, const struct vow_sqlite_table *table,
                                 const struct vow_sqlite_key *key, sqlite3_value *const *values,
                                 enum vow_sqlite_mode mode) {
  struct vow_sqlite *sq = locker->sq;
  sqlite3_stmt *statement = NULL;
  enum vow_error error =
      vow_sqlite_branch_statement(sq, VOW_SQLITE_LOCK_WRITE, locker->work, &statement);
  if (error) return error;
  int rc = sqlite3_bind_int(statement, 3, mode);
  if (rc == SQLITE_OK) rc = sqlite3_bind_text(statement, 4, table->name, -1, SQLITE_STATIC);
  if (rc == SQLITE_OK) rc = sqlite3_bind_text(statement, 5, key->name, -1, SQLITE_STATIC);
  for (int i = 0; rc == SQLITE_OK && i < VOW_SQLITE_KEY_COLUMNS_MAX; i++) {
    rc = i < key->column_count ? sqlite3_bind_value(statement, 6 + i, values[key->columns[i]])
                               : sqlite3_bind_int(statement, 6 + i, 0);
  }
  error =
      rc == SQLITE_OK ? vow_sqlite_run(sq, statement) : vow_sqlite_failed(sq, rc, "locking a row");
  sqlite3_clear_bindings(statement);
  return error;
}

/* Locks one key of a row, given by its values by column. A key with a NULL in it makes nothing
 * unique. */
static enum vow_error lock_key(struct locker *locker, struct vow_sqlite_table *table, int index,
                               sqlite3_value *const *values, enum vow_sqlite_mode mode, int *mine) {
  struct vow_sqlite_key *key = &table->keys[index];
  *mine = 0;
  for (int i = 0; i < key->column_count; i++) {
    sqlite3_value *value = values[key->columns[i]];
    if (!value || sqlite3_value_type(value) == SQLITE_NULL) return VOW_OK;
  }
  enum vow_error error = check_holders(locker, table, key, values, mode, mine);
  return error ? error : write_lock(locker, table, key, values, mode);
}

enum vow_error vow_sqlite_rewritten_key(struct vow_sqlite *sq,
                                        const struct vow_sqlite_table *table) {
  return vow_sqlite_fail(sq, VOW_E_CANNOT_CAPTURE,
                         "a primary key of %s is replaced by one that compares equal", table->name);
}

/* The row's own key, which two changes of one branch never share. */
static enum vow_error lock_primary_key(struct locker *locker, struct vow_sqlite_table *table,
                                       sqlite3_value *const *values, enum vow_sqlite_mode mode) {
  int mine = 0;
  enum vow_error error = lock_key(locker, table, 0, values, mode, &mine);
  if (!error && mine >= VOW_SQLITE_UPDATED) error = vow_sqlite_rewritten_key(locker->sq, table);
  return error;
}

/* ---- foreign keys ---- */

static enum vow_error lock_parent(struct locker *locker, struct vow_sqlite_table *table,
                                  struct vow_sqlite_reference *reference) {
  struct vow_sqlite *sq = locker->sq;
  struct vow_sqlite_table *parent = reference->parent;
  bool row = false;
  int rc = SQLITE_OK;
  int mine = 0;
  if (!parent) return VOW_OK; /* SQLite has refused the row, or it refers to nothing */
  enum vow_error error = vow_sqlite_guard_table(sq, parent);
  for (int i = 0; !error && rc == SQLITE_OK && i < reference->column_count; i++) {
    sqlite3_value *value = table->new_[reference->columns[i]];
    if (sqlite3_value_type(value) == SQLITE_NULL) return VOW_OK;
    rc = sqlite3_bind_value(reference->find, i + 1, value);
  }
  if (!error) error = vow_sqlite_failed(sq, rc, "following a foreign key");
  if (!error) error = vow_sqlite_step(sq, reference->find, &row);
  if (error) return error;
  /* No row: the same branch inserts it, and locks it as its own. */
  for (int i = 0; row && i < parent->column_count; i++) {
    parent->other[i] = sqlite3_column_value(reference->find, i);
  }
  for (int i = 0; !error && row && i < parent->key_count; i++) {
    error = lock_key(locker, parent, i, parent->other, VOW_SQLITE_REFERENCED, &mine);
  }
  sqlite3_reset(reference->find);
  return error;
}

static bool reference_changes(const struct vow_sqlite_table *table,
                              const struct vow_sqlite_reference *reference) {
  for (int i = 0; i < reference->column_count; i++) {
    int column = reference->columns[i];
    if (table->new_[column] && table->new_[column] != table->old[column]) return true;
  }
  return false;
}

static enum vow_error lock_parents(struct locker *locker, struct vow_sqlite_table *table) {
  for (int i = 0; i < table->reference_count; i++) {
    if (!reference_changes(table, &table->references[i])) continue;
    enum vow_error error = lock_parent(locker, table, &table->references[i]);
    if (error) return error;
  }
  return VOW_OK;
}

/* Somebody may add a row that refers to this one before the commit. */
static enum vow_error check_referenced(struct locker *locker,
                                       const struct vow_sqlite_change *change) {
  const struct vow_sqlite_table *table = change->table;
  bool moves = change->op == SQLITE_DELETE && table->is_parent;
  for (int i = 0; change->op == SQLITE_UPDATE && i < table->column_count; i++) {
    moves |= table->referenced[i] && table->new_[i] && table->new_[i] != table->old[i];
  }
  if (!moves) return VOW_OK;
  return vow_sqlite_fail(locker->sq, VOW_E_CANNOT_CAPTURE,
                         "the work deletes or re-keys a row of %s, which other tables refer to by"
                         " foreign key; that cannot be prepared",
                         table->name);
}

/* ---- one change ---- */

/* An id that an AUTOINCREMENT table gave out at prepare is not given out again. */
static enum vow_error reserve_id(struct locker *locker, const struct vow_sqlite_table *table) {
  struct vow_sqlite *sq = locker->sq;
  sqlite3_int64 id = sqlite3_value_int64(table->new_[table->keys[0].columns[0]]);
  static const enum vow_sqlite_statement both[] = {VOW_SQLITE_SEQUENCE_ADD,
                                                   VOW_SQLITE_SEQUENCE_RAISE};
  enum vow_error error = VOW_OK;
  for (int i = 0; !error && i < 2; i++) {
    sqlite3_stmt *statement = NULL;
    error = vow_sqlite_statement(sq, both[i], &statement);
    if (error) return error;
    int rc = sqlite3_bind_text(statement, 1, table->name, -1, SQLITE_STATIC);
    if (rc == SQLITE_OK) rc = sqlite3_bind_int64(statement, 2, id);
    error = rc == SQLITE_OK ? vow_sqlite_run(sq, statement)
                            : vow_sqlite_failed(sq, rc, "reserving an id");
    sqlite3_clear_bindings(statement);
  }
  return error;
}

static enum vow_error lock_update(struct locker *locker, const struct vow_sqlite_change *change) {
  struct vow_sqlite_table *table = change->table;
  int mine = 0;
  if (vow_sqlite_key_moves(table, &table->keys[0]))
    return vow_sqlite_rewritten_key(locker->sq, table);
  enum vow_error error = lock_primary_key(locker, table, table->old, VOW_SQLITE_UPDATED);
  for (int i = 1; !error && i < table->key_count; i++) {
    if (vow_sqlite_key_moves(table, &table->keys[i])) {
      error = lock_key(locker, table, i, table->old, VOW_SQLITE_MOVED, &mine);
      if (!error) error = lock_key(locker, table, i, table->new_, VOW_SQLITE_MOVED, &mine);
    } else {
      error = lock_key(locker, table, i, table->old, VOW_SQLITE_UPDATED, &mine);
    }
  }
  return error;
}

static enum vow_error lock_insert_or_delete(struct locker *locker,
                                            const struct vow_sqlite_change *change) {
  struct vow_sqlite_table *table = change->table;
  sqlite3_value *const *values = change->op == SQLITE_INSERT ? table->new_ : table->old;
  int mine = 0;
  enum vow_error error = lock_primary_key(locker, table, values, VOW_SQLITE_MOVED);
  for (int i = 1; !error && i < table->key_count; i++) {
    error = lock_key(locker, table, i, values, VOW_SQLITE_MOVED, &mine);
  }
  if (!error && table->autoincrement && change->op == SQLITE_INSERT) {
    error = reserve_id(locker, table);
  }
  return error;
}

static enum vow_error lock_change(struct locker *locker, const struct vow_sqlite_change *change) {
  struct vow_sqlite *sq = locker->sq;
  struct vow_sqlite_table *table = change->table;
  enum vow_error error = vow_sqlite_guard_table(sq, table);
  if (!error && sq->options.foreign_keys) error = vow_sqlite_references_load(sq, table);
  if (!error && table->refusal) {
    error = vow_sqlite_fail(sq, VOW_E_CANNOT_CAPTURE, "%s", table->refusal);
  }
  if (!error) error = check_referenced(locker, change);
  if (error) return error;
  error = vow_sqlite_change_meet(sq, change);
  if (error == VOW_E_CONFLICT) return vow_sqlite_rewritten_key(locker->sq, table);
  if (error) return error;
  error = change->op == SQLITE_UPDATE ? lock_update(locker, change)
                                      : lock_insert_or_delete(locker, change);
  if (!error && change->op != SQLITE_DELETE) error = lock_parents(locker, table);
  sqlite3_reset(table->read);
  return error;
}

enum vow_error vow_sqlite_lock_changeset(struct vow_sqlite *sq, const struct vow_work *work,
                                         const struct vow_buf *changeset) {
  struct locker locker = {sq, work};
  sqlite3_changeset_iter *iterator = NULL;
  int rc = sqlite3changeset_start(&iterator, (int)changeset->bytes, changeset->data);
  if (rc != SQLITE_OK) return vow_sqlite_failed(sq, rc, "reading changes");
  enum vow_error error = VOW_OK;
  uint32_t rows = 0;
  while (!error && (rc = sqlite3changeset_next(iterator)) == SQLITE_ROW) {
    struct vow_sqlite_change change = {0};
    error = vow_sqlite_change_load(sq, iterator, &change);
    if (!error && ++rows > sq->options.rows_max) error = vow_sqlite_too_large(sq);
    if (!error) error = lock_change(&locker, &change);
  }
  if (!error && rc != SQLITE_DONE) error = vow_sqlite_failed(sq, rc, "reading changes");
  sqlite3changeset_finalize(iterator);
  return error;
}
