/*
 * The guards: persistent triggers that keep every other writer, in any process, away from rows that
 * a prepared branch has locked. They know nothing but SQL, so they also work for programs that have
 * never heard of vow; only connections with triggers switched off escape them.
 *
 * - insert, after: since only then the rowid that SQLite chose is known. A REPLACE that took a
 *   locked row away is seen by the key it took over.
 * - update, before: the row itself, and, where a key changes, both the key it leaves and the one it
 *   takes.
 * - delete, before: the row itself.
 * - place, before an insert, and only where the rowid is not the primary key: a REPLACE may name
 * the rowid of a locked row, take it away and leave all its keys alone. (The rowid is -1 where
 * SQLite is to choose it: no row is found then.)
 *
 * They also refuse NULL in a primary key, which a session would overlook.
 *
 * A trigger dies with its table, and what it must check changes with the table's indexes. So every
 * hook compares the schema version with the one at which all guards were seen in place, and if it
 * differs looks at each of them. Called by the other files of the resource.
 */
#include <stdlib.h>
#include <string.h>

#include "resources/sqlite_internal.h"

void vow_sqlite_match(sqlite3_str *sql, const struct vow_sqlite_table *table,
                      const struct vow_sqlite_key *key, const char *row) {
  sqlite3_str_appendf(sql, "tbl = %Q AND idx = %Q", table->name, key->name);
  for (int i = 0; i < key->column_count; i++) {
    /* The plus sign takes the column's affinity away, so that the lock's index can be used. */
    if (row) {
      sqlite3_str_appendf(sql, " AND k%d = +%s.\"%w\" COLLATE %s", i + 1, row,
                          table->columns[key->columns[i]], key->collations[i]);
    } else {
      sqlite3_str_appendf(sql, " AND k%d = ?%d COLLATE %s", i + 1, i + 1, key->collations[i]);
    }
  }
}

static void exists(sqlite3_str *sql, const struct vow_sqlite_table *table,
                   const struct vow_sqlite_key *key, const char *row, const char *more) {
  sqlite3_str_appendall(sql, "EXISTS(SELECT 1 FROM vow_lock WHERE ");
  vow_sqlite_match(sql, table, key, row);
  sqlite3_str_appendf(sql, "%s)", more);
}

static void changed(sqlite3_str *sql, const struct vow_sqlite_table *table,
                    const struct vow_sqlite_key *key) {
  if (key->partial) {
    sqlite3_str_appendall(sql, "1");
    return;
  }
  for (int i = 0; i < key->column_count; i++) {
    const char *column = table->columns[key->columns[i]];
    sqlite3_str_appendf(sql, "%sOLD.\"%w\" IS NOT NEW.\"%w\" COLLATE BINARY", i ? " OR " : "",
                        column, column);
  }
}

/* Another row has the rowid that this one is given, and is locked. A REPLACE would delete it
 * without its keys being touched. */
static void rowid_condition(sqlite3_str *sql, const struct vow_sqlite_table *table) {
  sqlite3_str_appendf(sql, "EXISTS(SELECT 1 FROM \"%w\" AS x WHERE x.%s = NEW.%s AND ", table->name,
                      table->rowid, table->rowid);
  exists(sql, table, &table->keys[0], "x", "");
  sqlite3_str_appendall(sql, ")");
}

static void insert_condition(sqlite3_str *sql, const struct vow_sqlite_table *table) {
  for (int i = 0; i < table->key_count; i++) {
    sqlite3_str_appendall(sql, i ? " OR " : "");
    exists(sql, table, &table->keys[i], "NEW", "");
  }
}

static void update_condition(sqlite3_str *sql, const struct vow_sqlite_table *table) {
  sqlite3_str *more = sqlite3_str_new(NULL);
  sqlite3_str_appendf(more, " AND mode >= %d", VOW_SQLITE_UPDATED);
  const char *text = sqlite3_str_value(more);
  exists(sql, table, &table->keys[0], "OLD", text ? text : "");
  sqlite3_free(sqlite3_str_finish(more));
  for (int i = 0; i < table->key_count; i++) {
    sqlite3_str_appendall(sql, " OR ((");
    changed(sql, table, &table->keys[i]);
    sqlite3_str_appendall(sql, ") AND (");
    exists(sql, table, &table->keys[i], "OLD", "");
    sqlite3_str_appendall(sql, " OR ");
    exists(sql, table, &table->keys[i], "NEW", "");
    sqlite3_str_appendall(sql, "))");
  }
  if (!table->rowid) return;
  sqlite3_str_appendf(sql, " OR (NEW.%s IS NOT OLD.%s AND ", table->rowid, table->rowid);
  rowid_condition(sql, table);
  sqlite3_str_appendall(sql, ")");
}

static void null_condition(sqlite3_str *sql, const struct vow_sqlite_table *table,
                           const char *row) {
  const struct vow_sqlite_key *key = &table->keys[0];
  for (int i = 0; i < key->column_count; i++) {
    sqlite3_str_appendf(sql, "%s%s\"%w\" IS NULL", i ? " OR " : "", row,
                        table->columns[key->columns[i]]);
  }
}

enum kind { INSERT, UPDATE, DELETE, PLACE };
static const char *const kind_names[] = {"insert", "update", "delete", "place"};
static const char *const kind_times[] = {"AFTER INSERT", "BEFORE UPDATE", "BEFORE DELETE",
                                         "BEFORE INSERT"};

/* Where the primary key is the rowid, or there is none, the other guards see it all. */
static enum kind last_kind(const struct vow_sqlite_table *table) {
  return table->rowid ? PLACE : DELETE;
}

/* The whole trigger, exactly as sqlite_schema will keep it; NULL: out of memory. */
static char *trigger_text(const struct vow_sqlite_table *table, enum kind kind) {
  sqlite3_str *sql = sqlite3_str_new(NULL);
  char *locked = sqlite3_mprintf(
      "vow: a row of %s is locked by a prepared transaction; see table vow_lock", table->name);
  sqlite3_str_appendf(sql, "CREATE TRIGGER \"vow_guard_%w_%s\" %s ON \"%w\" BEGIN", table->name,
                      kind_names[kind], kind_times[kind], table->name);
  sqlite3_str_appendf(sql, " SELECT RAISE(ABORT, %Q) WHERE ", locked ? locked : "");
  if (kind == INSERT) insert_condition(sql, table);
  if (kind == UPDATE) update_condition(sql, table);
  if (kind == DELETE) exists(sql, table, &table->keys[0], "OLD", "");
  if (kind == PLACE) rowid_condition(sql, table);
  sqlite3_str_appendall(sql, ";");
  if (table->nullable && (kind == INSERT || kind == UPDATE)) {
    sqlite3_str_appendall(sql, " SELECT RAISE(ABORT, 'vow: NULL in a primary key') WHERE ");
    null_condition(sql, table, "NEW.");
    sqlite3_str_appendall(sql, ";");
  }
  sqlite3_str_appendall(sql, " END");
  if (!locked) {
    sqlite3_free(sqlite3_str_finish(sql));
    return NULL;
  }
  sqlite3_free(locked);
  return sqlite3_str_finish(sql);
}

/* NULL: out of memory. */
static char *trigger_name(const struct vow_sqlite_table *table, enum kind kind) {
  return sqlite3_mprintf("vow_guard_%s_%s", table->name, kind_names[kind]);
}

/* Whether a trigger of this name exists, and whether it is the one wanted. Its table may have been
 * renamed since so that only upper and lower case differ, which to SQLite is the same name. */
static enum vow_error look(struct vow_sqlite *sq, const char *name, const char *text, bool *exists_,
                           bool *same) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  int rc = sqlite3_prepare_v2(
      sq->db,
      "SELECT sql = ?2 FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?1 COLLATE NOCASE",
      -1, &statement, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
  if (rc == SQLITE_OK) rc = sqlite3_bind_text(statement, 2, text, -1, SQLITE_STATIC);
  enum vow_error error = vow_sqlite_failed(sq, rc, "guarding a table");
  if (!error) error = vow_sqlite_step(sq, statement, &row);
  if (!error) {
    *exists_ = row;
    *same = row && sqlite3_column_int(statement, 0);
  }
  sqlite3_finalize(statement);
  return error;
}

/* Puts one trigger in place if it is not; *made then. With `only_look` it stays as it is. */
static enum vow_error put(struct vow_sqlite *sq, const struct vow_sqlite_table *table,
                          enum kind kind, bool only_look, bool *made) {
  bool there = false;
  bool same = false;
  char *name = trigger_name(table, kind);
  char *text = trigger_text(table, kind);
  enum vow_error error = VOW_OK;
  if (!name || !text) {
    error = vow_sqlite_failed(sq, SQLITE_NOMEM, "guarding a table");
  } else {
    error = look(sq, name, text, &there, &same);
  }
  if (error || same) goto out;
  *made = true;
  if (only_look) goto out;
  if (there) error = vow_sqlite_exec_made(sq, sqlite3_mprintf("DROP TRIGGER main.\"%w\"", name));
  /* Without the schema's name a temporary table of the same name would get it. It is not kept. */
  if (!error) {
    error = vow_sqlite_exec_made(
        sq, sqlite3_mprintf("CREATE TRIGGER main.%s", text + strlen("CREATE TRIGGER ")));
  }
out:
  sqlite3_free(name);
  sqlite3_free(text);
  return error;
}

/* *is_guard: a trigger of this name is a guard of the table. */
static enum vow_error look_at_name(struct vow_sqlite *sq, const struct vow_sqlite_table *table,
                                   const char *found, bool *is_guard) {
  *is_guard = false;
  for (int kind = INSERT; !*is_guard && kind <= (int)last_kind(table); kind++) {
    char *name = trigger_name(table, (enum kind)kind);
    if (!name) return vow_sqlite_failed(sq, SQLITE_NOMEM, "guarding a table");
    *is_guard = sqlite3_stricmp(found, name) == 0;
    sqlite3_free(name);
  }
  return VOW_OK;
}

enum vow_error vow_sqlite_guard_is_alone(struct vow_sqlite *sq,
                                         const struct vow_sqlite_table *table, bool *out) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  bool is_guard = true;
  int rc = sqlite3_prepare_v2(sq->db,
                              "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND"
                              " tbl_name = ?1 COLLATE NOCASE",
                              -1, &statement, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_bind_text(statement, 1, table->name, -1, SQLITE_STATIC);
  enum vow_error error = vow_sqlite_failed(sq, rc, "looking for triggers");
  while (!error && is_guard && !(error = vow_sqlite_step(sq, statement, &row)) && row) {
    error = look_at_name(sq, table, (const char *)sqlite3_column_text(statement, 0), &is_guard);
  }
  sqlite3_finalize(statement);
  *out = is_guard;
  return error;
}

enum vow_error vow_sqlite_guard_check_nulls(struct vow_sqlite *sq, struct vow_sqlite_table *table) {
  if (!table->nullable) return VOW_OK;
  sqlite3_stmt *statement = NULL;
  bool row = false;
  sqlite3_str *sql = sqlite3_str_new(sq->db);
  sqlite3_str_appendf(sql, "SELECT 1 FROM main.\"%w\" WHERE ", table->name);
  null_condition(sql, table, "");
  sqlite3_str_appendall(sql, " LIMIT 1");
  enum vow_error error = vow_sqlite_prepare_made(sq, sqlite3_str_finish(sql), &statement);
  if (!error) error = vow_sqlite_step(sq, statement, &row);
  sqlite3_finalize(statement);
  if (error || !row) return error;
  return vow_sqlite_fail(
      sq, VOW_E_CANNOT_CAPTURE,
      "%s has a row with NULL in its primary key, and such rows cannot be prepared", table->name);
}

/* ---- remembering that all guards are in place ---- */

static enum vow_error schema_version(struct vow_sqlite *sq, int64_t *out) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  enum vow_error error = vow_sqlite_statement(sq, VOW_SQLITE_SCHEMA_VERSION, &statement);
  if (!error) error = vow_sqlite_step(sq, statement, &row);
  if (error) return error;
  *out = sqlite3_column_int64(statement, 0);
  sqlite3_reset(statement);
  return VOW_OK;
}

/* True if the row in vow_guard is the one that belongs to what is in memory, at this very schema.
 */
static enum vow_error is_current(struct vow_sqlite *sq, bool *out) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  int64_t version = 0;
  enum vow_error error = schema_version(sq, &version);
  if (!error) error = vow_sqlite_statement(sq, VOW_SQLITE_GUARD_READ, &statement);
  if (!error) error = vow_sqlite_step(sq, statement, &row);
  if (error) return error;
  *out = row && sq->guard_mark != 0 && sqlite3_column_int64(statement, 0) == version &&
         sqlite3_column_int64(statement, 1) == sq->guard_mark;
  sqlite3_reset(statement);
  return VOW_OK;
}

static enum vow_error remember(struct vow_sqlite *sq) {
  sqlite3_stmt *statement = NULL;
  int64_t version = 0;
  int64_t mark = 0;
  sqlite3_randomness((int)sizeof mark, &mark);
  mark = (mark & INT64_MAX) | 1;
  enum vow_error error = schema_version(sq, &version);
  if (!error) error = vow_sqlite_statement(sq, VOW_SQLITE_GUARD_WRITE, &statement);
  if (error) return error;
  int rc = sqlite3_bind_int64(statement, 1, version);
  if (rc == SQLITE_OK) rc = sqlite3_bind_int64(statement, 2, mark);
  error = rc == SQLITE_OK ? vow_sqlite_run(sq, statement)
                          : vow_sqlite_failed(sq, rc, "remembering the guards");
  if (!error) sq->guard_mark = mark;
  return error;
}

/* So that locks on such a key are found without looking at all locks of the index. */
static enum vow_error index_locks(struct vow_sqlite *sq, const struct vow_sqlite_table *table) {
  enum vow_error error = VOW_OK;
  for (int i = 0; !error && i < table->key_count; i++) {
    const char *collation = table->keys[i].collations[0];
    if (sqlite3_stricmp(collation, "BINARY") == 0) continue;
    error = vow_sqlite_exec_made(
        sq, sqlite3_mprintf("CREATE INDEX IF NOT EXISTS main.\"vow_lock_%w\" ON vow_lock"
                            "(tbl, idx, k1 COLLATE %s)",
                            collation, collation));
  }
  return error;
}

enum vow_error vow_sqlite_guard_table(struct vow_sqlite *sq, struct vow_sqlite_table *table) {
  bool missing = false;
  if (table->guarded) return VOW_OK;
  if (table->refusal) return vow_sqlite_fail(sq, VOW_E_CANNOT_CAPTURE, "%s", table->refusal);
  enum vow_error error = VOW_OK;
  for (int kind = INSERT; !error && kind <= (int)last_kind(table); kind++) {
    error = put(sq, table, kind, true, &missing);
  }
  if (!error && missing) {
    error = vow_sqlite_guard_check_nulls(sq, table);
    if (!error) error = index_locks(sq, table);
    for (int kind = INSERT; !error && kind <= (int)last_kind(table); kind++) {
      error = put(sq, table, kind, false, &missing);
    }
    if (!error) error = remember(sq);
  }
  if (!error) table->guarded = true;
  return error;
}

/* Every table that has or needs guards, by name. */
static enum vow_error guarded_names(struct vow_sqlite *sq, struct vow_sqlite_names *out) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  int rc = sqlite3_prepare_v2(sq->db,
                              "SELECT tbl_name FROM main.sqlite_schema WHERE type = 'trigger' AND"
                              " name GLOB 'vow_guard_*' UNION SELECT tbl FROM main.vow_lock",
                              -1, &statement, NULL);
  enum vow_error error = vow_sqlite_failed(sq, rc, "looking for guards");
  while (!error && !(error = vow_sqlite_step(sq, statement, &row)) && row) {
    error = vow_sqlite_names_add(sq, out, (const char *)sqlite3_column_text(statement, 0));
  }
  sqlite3_finalize(statement);
  return error;
}

enum vow_error vow_sqlite_guard_refresh(struct vow_sqlite *sq) {
  bool current = false;
  struct vow_sqlite_names names = {0};
  enum vow_error error = is_current(sq, &current);
  if (error || current) return error;
  sq->guard_mark = 0;
  vow_sqlite_tables_forget(sq);
  error = vow_sqlite_untouchable_load(sq);
  if (!error) error = guarded_names(sq, &names);
  for (size_t i = 0; !error && i < names.count; i++) {
    struct vow_sqlite_table *table = NULL;
    error = vow_sqlite_table_get(sq, names.items[i], &table);
    /* A table that can no longer be prepared is refused when work touches it, not here. */
    if (!error && table && !table->refusal) error = vow_sqlite_guard_table(sq, table);
    if (error == VOW_E_CANNOT_CAPTURE) error = VOW_OK;
  }
  if (!error) error = remember(sq);
  vow_sqlite_names_fini(&names);
  return error;
}
