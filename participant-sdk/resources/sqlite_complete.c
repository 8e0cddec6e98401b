/*
 * Rows that lack a column. ALTER TABLE ADD COLUMN leaves the rows that are there as they are, and
 * whoever reads one is given the column's default. A session is not (in SQLite 3.40): it remembers
 * NULL. So it would have the work change NULL to the default where that wrote another column, and
 * would not see at all that it wrote NULL.
 *
 * What the session remembers of such rows is found out when the work has been taken back: asked
 * once more, it tells what has changed since, and only those rows have. That is the way from what
 * it remembers to what is there; turned around and put before the work, it is made good.
 *
 * Called by sqlite.c at prepare.
 */
#include "resources/sqlite_internal.h"

/* Only with a default can a row that lacks a column read as anything but NULL. */
static enum vow_error may_lack_columns(struct vow_sqlite *sq, bool *out) {
  *out = false;
  for (size_t i = 0; !*out && i < sq->touched.count; i++) {
    struct vow_sqlite_table *table = NULL;
    enum vow_error error = vow_sqlite_table_get(sq, sq->touched.items[i], &table);
    if (error) return error;
    *out = table && table->has_default;
  }
  return VOW_OK;
}

/* Anything else than NULL that became a default is the session's confusion over keys that compare
 * equal, and is not to be covered up. */
static enum vow_error check_defaults(struct vow_sqlite *sq, sqlite3_changeset_iter *iterator) {
  enum vow_error error = VOW_OK;
  int rc = SQLITE_OK;
  while (!error && (rc = sqlite3changeset_next(iterator)) == SQLITE_ROW) {
    struct vow_sqlite_change change = {0};
    error = vow_sqlite_change_load(sq, iterator, &change);
    if (error) break;
    bool only_defaults = change.op == SQLITE_UPDATE;
    for (int i = 0; only_defaults && i < change.column_count; i++) {
      sqlite3_value *remembered = change.table->new_[i] ? change.table->old[i] : NULL;
      only_defaults = !remembered || sqlite3_value_type(remembered) == SQLITE_NULL;
    }
    if (!only_defaults) error = vow_sqlite_rewritten_key(sq, change.table);
  }
  return error || rc == SQLITE_DONE ? error : vow_sqlite_failed(sq, rc, "reading changes");
}

static enum vow_error put_before(struct vow_sqlite *sq, int bytes, void *remembered,
                                 struct vow_buf *changeset) {
  void *back = NULL;
  void *whole = NULL;
  int back_bytes = 0;
  int whole_bytes = 0;
  int rc = sqlite3changeset_invert(bytes, remembered, &back_bytes, &back);
  if (rc == SQLITE_OK) {
    rc = sqlite3changeset_concat(back_bytes, back, (int)changeset->bytes, changeset->data,
                                 &whole_bytes, &whole);
  }
  enum vow_error error = vow_sqlite_failed(sq, rc, "completing the changes");
  if (!error) {
    vow_buf_reset(changeset);
    vow_buf_append(changeset, whole, (size_t)whole_bytes);
    if (changeset->error == VOW_E_LIMIT_EXCEEDED) error = vow_sqlite_too_large(sq);
    if (changeset->error == VOW_E_NO_MEMORY) {
      error = vow_sqlite_failed(sq, SQLITE_NOMEM, "completing the changes");
    }
  }
  sqlite3_free(back);
  sqlite3_free(whole);
  return error;
}

enum vow_error vow_sqlite_complete(struct vow_sqlite *sq, struct vow_buf *changeset) {
  bool wanted = false;
  enum vow_error error = may_lack_columns(sq, &wanted);
  if (error || !wanted) return error;
  void *remembered = NULL;
  int bytes = 0;
  int rc = sqlite3session_changeset(sq->session, &bytes, &remembered);
  sqlite3_changeset_iter *iterator = NULL;
  if (rc == SQLITE_OK) rc = sqlite3changeset_start(&iterator, bytes, remembered);
  error = vow_sqlite_failed(sq, rc, "completing the changes");
  if (!error) error = check_defaults(sq, iterator);
  sqlite3changeset_finalize(iterator);
  if (!error && bytes > 0) error = put_before(sq, bytes, remembered, changeset);
  sqlite3_free(remembered);
  return error;
}
