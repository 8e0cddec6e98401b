/*
 * What the SQLite resource knows of one table of the application: its columns, the keys that make
 * rows unique, its foreign keys, and whether its changes can be prepared at all. Read from the
 * schema at the first use and kept until the schema changes (G4). Called by the other files of the
 * resource.
 */
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "resources/sqlite_internal.h"

static enum vow_error no_memory(struct vow_sqlite *sq) {
  (void)vow_sqlite_fail(sq, VOW_E_NO_MEMORY, "out of memory while reading the schema");
  return VOW_E_NO_MEMORY;
}

/* Prepares a query on one table's name. */
static enum vow_error query(struct vow_sqlite *sq, const char *sql, const char *name,
                            sqlite3_stmt **out) {
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(sq->db, sql, -1, &statement, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
  if (rc != SQLITE_OK) {
    sqlite3_finalize(statement);
    return vow_sqlite_failed(sq, rc, "reading the schema");
  }
  *out = statement;
  return VOW_OK;
}

static const char *text(sqlite3_stmt *statement, int column) {
  const unsigned char *value = sqlite3_column_text(statement, column);
  return value ? (const char *)value : "";
}

/* The first reason that makes the table refused is kept. */
static enum vow_error refuse(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                             const char *format, const char *detail) {
  if (table->refusal) return VOW_OK;
  table->refusal = sqlite3_mprintf(format, table->name, detail);
  return table->refusal ? VOW_OK : no_memory(sq);
}

/* ---- columns ---- */

static enum vow_error add_column(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                                 const char *name) {
  size_t count = (size_t)table->column_count + 1;
  char **columns = realloc(table->columns, count * sizeof *columns);
  if (!columns) return no_memory(sq);
  table->columns = columns;
  columns[count - 1] = strdup(name);
  if (!columns[count - 1]) return no_memory(sq);
  table->column_count++;
  return VOW_OK;
}

/* Columns in their order, and the primary key in its own. */
static enum vow_error load_columns(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                                   struct vow_sqlite_key *key) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  enum vow_error error = query(sq,
                               "SELECT name, \"notnull\", pk, hidden, dflt_value IS NOT NULL FROM"
                               " pragma_table_xinfo(?1, 'main')",
                               table->name, &statement);
  while (!error && !(error = vow_sqlite_step(sq, statement, &row)) && row) {
    int position = sqlite3_column_int(statement, 2);
    if (sqlite3_column_int(statement, 3) != 0) {
      error = refuse(sq, table, "%s has a generated column, %s, and such tables cannot be prepared",
                     text(statement, 0));
    } else if (position > VOW_SQLITE_KEY_COLUMNS_MAX) {
      error = refuse(sq, table, "the primary key of %s has more than 8 columns%s", "");
    } else if (position > 0) {
      key->columns[position - 1] = table->column_count;
      if (position > key->column_count) key->column_count = position;
      if (!sqlite3_column_int(statement, 1)) table->nullable = true;
    }
    if (sqlite3_column_int(statement, 4)) table->has_default = true;
    if (!error) error = add_column(sq, table, text(statement, 0));
  }
  sqlite3_finalize(statement);
  if (error) return error;
  if (key->column_count == 0) {
    return refuse(sq, table, "%s has no primary key, and such tables cannot be prepared%s", "");
  }
  table->referenced = calloc((size_t)table->column_count, sizeof *table->referenced);
  table->old = calloc((size_t)table->column_count, sizeof(sqlite3_value *));
  table->new_ = calloc((size_t)table->column_count, sizeof(sqlite3_value *));
  table->other = calloc((size_t)table->column_count, sizeof(sqlite3_value *));
  bool complete = table->referenced && table->old && table->new_ && table->other;
  return complete ? VOW_OK : no_memory(sq);
}

/* ---- keys ---- */

static enum vow_error add_key(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                              const char *name, struct vow_sqlite_key **out) {
  size_t count = (size_t)table->key_count + 1;
  struct vow_sqlite_key *keys = realloc(table->keys, count * sizeof *keys);
  if (!keys) return no_memory(sq);
  table->keys = keys;
  memset(&keys[count - 1], 0, sizeof *keys);
  keys[count - 1].name = strdup(name);
  table->key_count++;
  if (!keys[count - 1].name) return no_memory(sq);
  *out = &keys[count - 1];
  return VOW_OK;
}

/* Comparing keys is SQLite's business, but it must be the same in every process: an application's
 * own collation is not there for others, and a session tells rows apart byte by byte. */
static enum vow_error check_collation(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                                      bool primary, const char *collation) {
  if (sqlite3_stricmp(collation, "BINARY") == 0) return VOW_OK;
  if (primary) {
    return refuse(sq, table,
                  "the primary key of %s has the collation %s; only BINARY can be prepared",
                  collation);
  }
  if (sqlite3_stricmp(collation, "NOCASE") == 0 || sqlite3_stricmp(collation, "RTRIM") == 0) {
    return VOW_OK;
  }
  return refuse(sq, table, "a unique index of %s has the collation %s, which vow cannot lock",
                collation);
}

static enum vow_error load_key_columns(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                                       struct vow_sqlite_key *key, const char *index,
                                       bool primary) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  int count = 0;
  enum vow_error error =
      query(sq, "SELECT cid, coll FROM pragma_index_xinfo(?1, 'main') WHERE \"key\" ORDER BY seqno",
            index, &statement);
  while (!error && !(error = vow_sqlite_step(sq, statement, &row)) && row) {
    int column = sqlite3_column_int(statement, 0);
    if (count == VOW_SQLITE_KEY_COLUMNS_MAX) {
      error = refuse(sq, table, "a unique index of %s, %s, has more than 8 columns", index);
      break;
    }
    if (column < 0) {
      error = refuse(sq, table,
                     "a unique index of %s, %s, is on an expression, which vow cannot lock", index);
      break;
    }
    error = check_collation(sq, table, primary, text(statement, 1));
    key->columns[count] = column;
    key->collations[count] = strdup(text(statement, 1));
    if (!key->collations[count]) error = no_memory(sq);
    count++;
  }
  sqlite3_finalize(statement);
  key->column_count = count;
  return error;
}

/* A session compares the primary key by what its columns declare, whatever the index says. */
static enum vow_error check_declared_collations(struct vow_sqlite *sq,
                                                struct vow_sqlite_table *table,
                                                const struct vow_sqlite_key *key) {
  for (int i = 0; i < key->column_count; i++) {
    const char *collation = NULL;
    int rc =
        sqlite3_table_column_metadata(sq->db, "main", table->name, table->columns[key->columns[i]],
                                      NULL, &collation, NULL, NULL, NULL);
    if (rc != SQLITE_OK) return vow_sqlite_failed(sq, rc, "reading the schema");
    enum vow_error error = check_collation(sq, table, true, collation);
    if (error) return error;
  }
  return VOW_OK;
}

static int column_named(const struct vow_sqlite_table *table, const char *name) {
  for (int i = 0; i < table->column_count; i++) {
    if (sqlite3_stricmp(table->columns[i], name) == 0) return i;
  }
  return -1;
}

/* Each name of the rowid may be a column's as well, and then means that. */
static const char *rowid_name(const struct vow_sqlite_table *table) {
  static const char *const names[] = {"rowid", "_rowid_", "oid"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (column_named(table, names[i]) < 0) return names[i];
  }
  return NULL;
}

/* The primary key is a row's identity; a rowid alias has no index, and is never NULL. */
static enum vow_error load_keys(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                                bool without_rowid) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  bool primary_index = false;
  enum vow_error error =
      query(sq,
            "SELECT name, origin, partial FROM pragma_index_list(?1, 'main') WHERE \"unique\""
            " ORDER BY name",
            table->name, &statement);
  while (!error && !(error = vow_sqlite_step(sq, statement, &row)) && row) {
    struct vow_sqlite_key *key = &table->keys[0];
    bool primary = strcmp(text(statement, 1), "pk") == 0;
    if (primary) {
      primary_index = true;
    } else {
      error = add_key(sq, table, text(statement, 0), &key);
      if (error) break;
      key->partial = sqlite3_column_int(statement, 2) != 0;
      table->has_partial_key |= key->partial;
    }
    error = load_key_columns(sq, table, key, text(statement, 0), primary);
    if (!error && primary) error = check_declared_collations(sq, table, key);
  }
  sqlite3_finalize(statement);
  if (error) return error;
  if (!primary_index || without_rowid) table->nullable = false;
  if (primary_index && !without_rowid) table->rowid = rowid_name(table);
  if (!primary_index) {
    table->keys[0].collations[0] = strdup("BINARY");
    if (!table->keys[0].collations[0]) return no_memory(sq);
    int autoincrement = 0;
    int rc = sqlite3_table_column_metadata(sq->db, "main", table->name,
                                           table->columns[table->keys[0].columns[0]], NULL, NULL,
                                           NULL, NULL, &autoincrement);
    if (rc != SQLITE_OK) return vow_sqlite_failed(sq, rc, "reading the schema");
    table->autoincrement = autoincrement != 0;
  }
  return VOW_OK;
}

/* ---- foreign keys ---- */

/* Whether the table refers to another, or to itself. */
static enum vow_error is_child(struct vow_sqlite *sq, const struct vow_sqlite_table *table,
                               bool *out) {
  sqlite3_stmt *statement = NULL;
  enum vow_error error =
      query(sq, "SELECT 1 FROM pragma_foreign_key_list(?1, 'main')", table->name, &statement);
  if (!error) error = vow_sqlite_step(sq, statement, out);
  sqlite3_finalize(statement);
  return error;
}

/* Marks the columns that others refer to: their rows may not be deleted, nor those columns change.
 */
static enum vow_error load_referenced(struct vow_sqlite *sq, struct vow_sqlite_table *table) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  enum vow_error error = query(
      sq,
      "SELECT f.\"to\" FROM main.sqlite_schema AS s JOIN pragma_foreign_key_list(s.name, 'main')"
      " AS f WHERE s.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE",
      table->name, &statement);
  while (!error && !(error = vow_sqlite_step(sq, statement, &row)) && row) {
    table->is_parent = true;
    int column = column_named(table, text(statement, 0));
    if (column >= 0) table->referenced[column] = true;
  }
  sqlite3_finalize(statement);
  return error;
}

static enum vow_error add_reference(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                                    const char *parent) {
  size_t count = (size_t)table->reference_count + 1;
  struct vow_sqlite_reference *references = realloc(table->references, count * sizeof *references);
  if (!references) return no_memory(sq);
  table->references = references;
  memset(&references[count - 1], 0, sizeof *references);
  table->reference_count++;
  return vow_sqlite_table_get(sq, parent, &references[count - 1].parent);
}

/* `to` is "" where the foreign key names no columns: it means the parent's primary key. */
static enum vow_error add_reference_column(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                                           const char *from, const char *to) {
  struct vow_sqlite_reference *reference = &table->references[table->reference_count - 1];
  const struct vow_sqlite_table *parent = reference->parent;
  int position = reference->column_count;
  if (!parent || parent->refusal) return VOW_OK;
  int target = -1;
  if (*to != '\0') {
    target = column_named(parent, to);
  } else if (position < parent->keys[0].column_count) {
    target = parent->keys[0].columns[position];
  }
  if (position == VOW_SQLITE_KEY_COLUMNS_MAX || target < 0) {
    return refuse(sq, table, "a foreign key of %s cannot be followed to %s", parent->name);
  }
  reference->columns[position] = column_named(table, from);
  reference->targets[position] = target;
  reference->column_count++;
  return VOW_OK;
}

static enum vow_error prepare_find(struct vow_sqlite *sq, struct vow_sqlite_reference *reference) {
  const struct vow_sqlite_table *parent = reference->parent;
  if (!parent || parent->refusal) return VOW_OK;
  sqlite3_str *sql = sqlite3_str_new(sq->db);
  vow_sqlite_select_columns(sql, parent);
  for (int i = 0; i < reference->column_count; i++) {
    sqlite3_str_appendf(sql, " %s \"%w\" = ?%d", i ? "AND" : "WHERE",
                        parent->columns[reference->targets[i]], i + 1);
  }
  return vow_sqlite_prepare_made(sq, sqlite3_str_finish(sql), &reference->find);
}

static enum vow_error load_references(struct vow_sqlite *sq, struct vow_sqlite_table *table) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  int id = -1;
  enum vow_error error = query(sq,
                               "SELECT id, \"table\", \"from\", \"to\" FROM"
                               " pragma_foreign_key_list(?1, 'main') ORDER BY id, seq",
                               table->name, &statement);
  while (!error && !(error = vow_sqlite_step(sq, statement, &row)) && row) {
    if (sqlite3_column_int(statement, 0) != id) {
      id = sqlite3_column_int(statement, 0);
      error = add_reference(sq, table, text(statement, 1));
    }
    if (!error) error = add_reference_column(sq, table, text(statement, 2), text(statement, 3));
  }
  sqlite3_finalize(statement);
  for (int i = 0; !error && i < table->reference_count; i++) {
    error = prepare_find(sq, &table->references[i]);
  }
  return error;
}

/* ---- the whole table ---- */

void vow_sqlite_select_columns(sqlite3_str *sql, const struct vow_sqlite_table *table) {
  sqlite3_str_appendall(sql, "SELECT");
  for (int i = 0; i < table->column_count; i++) {
    sqlite3_str_appendf(sql, "%s \"%w\"", i ? "," : "", table->columns[i]);
  }
  sqlite3_str_appendf(sql, " FROM main.\"%w\"", table->name);
}

static void references_forget(struct vow_sqlite_table *table) {
  for (int i = 0; i < table->reference_count; i++) sqlite3_finalize(table->references[i].find);
  free(table->references);
  table->references = NULL;
  table->reference_count = 0;
}

static void table_free(struct vow_sqlite_table *table) {
  for (int i = 0; i < table->column_count; i++) free(table->columns[i]);
  for (int i = 0; i < table->key_count; i++) {
    struct vow_sqlite_key *key = &table->keys[i];
    for (int k = 0; k < VOW_SQLITE_KEY_COLUMNS_MAX; k++) free(key->collations[k]);
    free(key->name);
    sqlite3_finalize(key->holders);
  }
  references_forget(table);
  for (int i = 0; i < VOW_SQLITE_UPDATES_CACHED; i++) {
    sqlite3_finalize(table->updates[i].statement);
  }
  sqlite3_finalize(table->read);
  sqlite3_finalize(table->insert);
  sqlite3_finalize(table->delete_);
  sqlite3_free(table->refusal);
  free(table->keys);
  free(table->columns);
  free(table->referenced);
  free((void *)table->old);
  free((void *)table->new_);
  free((void *)table->other);
  free(table->name);
  free(table);
}

static enum vow_error load_self_contained(struct vow_sqlite *sq, struct vow_sqlite_table *table) {
  bool refers = false;
  enum vow_error error = vow_sqlite_guard_is_alone(sq, table, &table->self_contained);
  if (!error && sq->options.foreign_keys) error = is_child(sq, table, &refers);
  if (refers || table->is_parent) table->self_contained = false;
  return error;
}

static enum vow_error load(struct vow_sqlite *sq, struct vow_sqlite_table *table,
                           bool without_rowid) {
  struct vow_sqlite_key *primary = NULL;
  enum vow_error error = add_key(sq, table, VOW_SQLITE_PRIMARY_KEY, &primary);
  if (!error) error = load_columns(sq, table, primary);
  if (!error && !table->refusal) error = load_keys(sq, table, without_rowid);
  if (!error && !table->refusal && sq->options.foreign_keys) error = load_referenced(sq, table);
  if (!error && !table->refusal) error = load_self_contained(sq, table);
  return error;
}

enum vow_error vow_sqlite_table_get(struct vow_sqlite *sq, const char *name,
                                    struct vow_sqlite_table **out) {
  sqlite3_stmt *statement = NULL;
  bool row = false;
  for (struct vow_sqlite_table *t = sq->tables; t; t = t->next) {
    if (sqlite3_stricmp(t->name, name) == 0) {
      *out = t;
      return VOW_OK;
    }
  }
  enum vow_error error =
      query(sq, "SELECT name, type, wr FROM pragma_table_list(?1) WHERE schema = 'main'", name,
            &statement);
  if (!error) error = vow_sqlite_step(sq, statement, &row);
  if (error || !row || strcmp(text(statement, 1), "view") == 0) {
    sqlite3_finalize(statement);
    if (!error) *out = NULL;
    return error;
  }
  struct vow_sqlite_table *table = calloc(1, sizeof *table);
  if (table) table->name = strdup(text(statement, 0));
  if (!table || !table->name) {
    error = no_memory(sq);
  } else if (strcmp(text(statement, 1), "table") != 0) {
    error = refuse(sq, table, "%s belongs to a virtual table, and those cannot be prepared%s", "");
  } else {
    error = load(sq, table, sqlite3_column_int(statement, 2) != 0);
  }
  sqlite3_finalize(statement);
  if (error) {
    if (table) table_free(table);
    return error;
  }
  table->next = sq->tables;
  sq->tables = table;
  *out = table;
  return VOW_OK;
}

enum vow_error vow_sqlite_references_load(struct vow_sqlite *sq, struct vow_sqlite_table *table) {
  if (table->references_loaded) return VOW_OK;
  enum vow_error error = load_references(sq, table);
  if (error) references_forget(table);
  table->references_loaded = !error;
  return error;
}

void vow_sqlite_tables_forget(struct vow_sqlite *sq) {
  while (sq->tables) {
    struct vow_sqlite_table *table = sq->tables;
    sq->tables = table->next;
    table_free(table);
  }
  vow_sqlite_names_fini(&sq->untouchable);
}

void vow_sqlite_table_describe(const struct vow_sqlite_table *table, int columns,
                               struct vow_buf *out) {
  vow_buf_printf(out, "%s(", table->name);
  for (int i = 0; i < columns; i++) {
    bool primary = false;
    for (int k = 0; k < table->keys[0].column_count; k++) primary |= table->keys[0].columns[k] == i;
    vow_buf_printf(out, "%s%s%s", i ? "," : "", table->columns[i], primary ? " KEY" : "");
  }
  vow_buf_puts(out, ")\n");
}
