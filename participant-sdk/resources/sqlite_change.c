/*
 * Reading a changeset of the session extension row by row, in terms of the tables of today. Called
 * at prepare, to lock what it relies on, and at commit, to carry it out.
 */
#include <string.h>

#include "resources/sqlite_internal.h"

static enum vow_error values_load(struct vow_sqlite *sq, sqlite3_changeset_iter *iterator,
                                  const struct vow_sqlite_change *change) {
  struct vow_sqlite_table *table = change->table;
  int rc = SQLITE_OK;
  for (int i = 0; i < table->column_count; i++) {
    table->old[i] = NULL;
    table->new_[i] = NULL;
  }
  for (int i = 0; rc == SQLITE_OK && i < change->column_count; i++) {
    if (change->op != SQLITE_INSERT) rc = sqlite3changeset_old(iterator, i, &table->old[i]);
    if (rc == SQLITE_OK && change->op != SQLITE_DELETE) {
      rc = sqlite3changeset_new(iterator, i, &table->new_[i]);
    }
  }
  return vow_sqlite_failed(sq, rc, "reading changes");
}

enum vow_error vow_sqlite_change_load(struct vow_sqlite *sq, sqlite3_changeset_iter *iterator,
                                      struct vow_sqlite_change *out) {
  struct vow_sqlite_change change = {0};
  const char *name = NULL;
  int rc = sqlite3changeset_op(iterator, &name, &change.column_count, &change.op, NULL);
  enum vow_error error = vow_sqlite_failed(sq, rc, "reading changes");
  if (!error) error = vow_sqlite_table_get(sq, name, &change.table);
  if (error) return error;
  if (!change.table || change.table->refusal || change.column_count > change.table->column_count) {
    return vow_sqlite_fail(sq, VOW_E_DATABASE,
                           "table %s is not as it was at prepare: restore it, and the branch ends",
                           name);
  }
  error = values_load(sq, iterator, &change);
  if (!error) *out = change;
  return error;
}

/* The same type and the same bytes: not merely equal. The values belong to statements of a
 * connection that one thread at a time uses, so they can be looked at. */
static bool same(sqlite3_value *a, sqlite3_value *b) {
  int type = sqlite3_value_type(a);
  if (type != sqlite3_value_type(b)) return false;
  if (type == SQLITE_NULL) return true;
  if (type == SQLITE_INTEGER) return sqlite3_value_int64(a) == sqlite3_value_int64(b);
  if (type == SQLITE_FLOAT) return sqlite3_value_double(a) == sqlite3_value_double(b);
  const void *x = type == SQLITE_TEXT ? sqlite3_value_text(a) : sqlite3_value_blob(a);
  const void *y = type == SQLITE_TEXT ? sqlite3_value_text(b) : sqlite3_value_blob(b);
  int bytes = sqlite3_value_bytes(a);
  return bytes == sqlite3_value_bytes(b) &&
         (bytes == 0 || (x && y && memcmp(x, y, (size_t)bytes) == 0));
}

/* Reads the row that the change is about into table->read. */
static enum vow_error read_row(struct vow_sqlite *sq, const struct vow_sqlite_change *change,
                               bool *found) {
  struct vow_sqlite_table *table = change->table;
  const struct vow_sqlite_key *primary = &table->keys[0];
  sqlite3_value *const *values = change->op == SQLITE_INSERT ? table->new_ : table->old;
  int rc = SQLITE_OK;
  if (!table->read) {
    sqlite3_str *sql = sqlite3_str_new(sq->db);
    vow_sqlite_select_columns(sql, table);
    vow_sqlite_where_primary_key(sql, table, 1);
    enum vow_error error = vow_sqlite_prepare_made(sq, sqlite3_str_finish(sql), &table->read);
    if (error) return error;
  }
  for (int i = 0; rc == SQLITE_OK && i < primary->column_count; i++) {
    rc = sqlite3_bind_value(table->read, i + 1, values[primary->columns[i]]);
  }
  if (rc != SQLITE_OK) return vow_sqlite_failed(sq, rc, "reading a row");
  return vow_sqlite_step(sq, table->read, found);
}

enum vow_error vow_sqlite_change_meet(struct vow_sqlite *sq,
                                      const struct vow_sqlite_change *change) {
  struct vow_sqlite_table *table = change->table;
  bool found = false;
  enum vow_error error = read_row(sq, change, &found);
  if (error) return error;
  bool as_expected = found == (change->op != SQLITE_INSERT);
  for (int i = 0; as_expected && found && i < table->column_count; i++) {
    sqlite3_value *value = sqlite3_column_value(table->read, i);
    if (table->old[i]) {
      as_expected = same(table->old[i], value);
    } else {
      table->old[i] = value;
    }
    if (change->op == SQLITE_UPDATE && !table->new_[i]) table->new_[i] = table->old[i];
  }
  if (as_expected) return VOW_OK;
  sqlite3_reset(table->read);
  return vow_sqlite_fail(sq, VOW_E_CONFLICT, "a row of %s is not as the change expects it",
                         table->name);
}

bool vow_sqlite_key_moves(const struct vow_sqlite_table *table, const struct vow_sqlite_key *key) {
  if (key->partial) return true;
  for (int i = 0; i < key->column_count; i++) {
    const sqlite3_value *new_ = table->new_[key->columns[i]];
    if (new_ && new_ != table->old[key->columns[i]]) return true;
  }
  return false;
}

void vow_sqlite_where_primary_key(sqlite3_str *sql, const struct vow_sqlite_table *table,
                                  int parameter) {
  const struct vow_sqlite_key *primary = &table->keys[0];
  for (int i = 0; i < primary->column_count; i++) {
    sqlite3_str_appendf(sql, " %s \"%w\" = ?%d COLLATE BINARY", i ? "AND" : "WHERE",
                        table->columns[primary->columns[i]], parameter + i);
  }
}

enum vow_error vow_sqlite_describe(struct vow_sqlite *sq, const struct vow_buf *changeset,
                                   struct vow_buf *out, bool *self_contained) {
  sqlite3_changeset_iter *iterator = NULL;
  int rc = sqlite3changeset_start(&iterator, (int)changeset->bytes, changeset->data);
  if (rc != SQLITE_OK) return vow_sqlite_failed(sq, rc, "reading changes");
  const struct vow_sqlite_table *last = NULL;
  enum vow_error error = VOW_OK;
  bool all = true;
  while (!error && (rc = sqlite3changeset_next(iterator)) == SQLITE_ROW) {
    struct vow_sqlite_change change = {0};
    error = vow_sqlite_change_load(sq, iterator, &change);
    if (!change.table || change.table == last) continue;
    vow_sqlite_table_describe(change.table, change.column_count, out);
    all &= change.table->self_contained;
    last = change.table;
  }
  if (!error && rc != SQLITE_DONE) error = vow_sqlite_failed(sq, rc, "reading changes");
  if (!error && out->error) error = vow_sqlite_fail(sq, out->error, "describing the changes");
  if (self_contained) *self_contained = all;
  sqlite3changeset_finalize(iterator);
  return error;
}
