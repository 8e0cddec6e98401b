/*
 * What the application's work may not do: everything whose effect a changeset of rows does not
 * hold. SQLite asks while it compiles a statement, also for the triggers and foreign key actions in
 * it; the first refusal is remembered as a sentence, and the branch votes abort whatever the work
 * makes of the error it sees. Outside of the work (sq->working is false) nothing is refused.
 */
#include <stdlib.h>
#include <string.h>

#include "resources/sqlite_internal.h"

static int refuse(struct vow_sqlite *sq, const char *format, const char *what) {
  if (sq->why[0] == '\0') {
    sqlite3_snprintf((int)sizeof sq->why, sq->why, format, what ? what : "");
  }
  return SQLITE_DENY;
}

/* Reads, or what only reads when it has no argument. */
static bool is_harmless_pragma(const char *name, const char *argument) {
  static const char *const about[] = {"table_info",       "table_xinfo",       "table_list",
                                      "index_list",       "index_info",        "index_xinfo",
                                      "foreign_key_list", "foreign_key_check", "database_list",
                                      "collation_list",   "function_list"};
  static const char *const values[] = {"user_version", "application_id", "schema_version",
                                       "data_version", "foreign_keys",   "encoding",
                                       "page_size",    "page_count",     "journal_mode"};
  for (size_t i = 0; i < sizeof about / sizeof *about; i++) {
    if (sqlite3_stricmp(name, about[i]) == 0) return true;
  }
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    if (sqlite3_stricmp(name, values[i]) == 0) return argument == NULL;
  }
  return false;
}

/* Creating and dropping anything begins with a write to sqlite_master or sqlite_temp_master. */
static int write(struct vow_sqlite *sq, const char *table, const char *database) {
  if (strstr(table, "_master") && sqlite3_strnicmp(table, "sqlite_", 7) == 0) {
    return refuse(sq, "the work changes the schema%s; only rows can be prepared", "");
  }
  if (database && sqlite3_stricmp(database, "main") != 0) {
    return refuse(sq, "the work writes to %s, which is not in the main database", table);
  }
  if (sqlite3_strnicmp(table, "vow_", 4) == 0) {
    return refuse(sq, "the work writes to %s: tables whose names begin with vow_ are vow's", table);
  }
  if (sqlite3_strnicmp(table, "sqlite_", 7) == 0) {
    return refuse(sq, "the work writes to %s, which is SQLite's own", table);
  }
  if (vow_sqlite_is_untouchable(sq, table)) {
    return refuse(sq, "%s belongs to a virtual table, and those cannot be prepared", table);
  }
  return SQLITE_OK;
}

static int savepoint(struct vow_sqlite *sq, const char *name) {
  if (sqlite3_strnicmp(name, "vow_", 4) != 0) return SQLITE_OK;
  return refuse(sq, "the work uses the savepoint %s: names that begin with vow_ are vow's", name);
}

static int authorize(void *context, int action, const char *first, const char *second,
                     const char *database, const char *trigger) {
  struct vow_sqlite *sq = context;
  (void)trigger;
  if (!sq->working) return SQLITE_OK;
  switch (action) {
    case SQLITE_SELECT:
    case SQLITE_READ:
    case SQLITE_RECURSIVE:
      return SQLITE_OK;
    case SQLITE_FUNCTION:
      if (sqlite3_stricmp(second, "load_extension") != 0) return SQLITE_OK;
      return refuse(sq, "the work calls %s", second);
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
      return write(sq, first, database);
    case SQLITE_SAVEPOINT:
      return savepoint(sq, second);
    case SQLITE_TRANSACTION:
      return refuse(sq, "the work runs inside a transaction of vow's, %s is not for it to say",
                    first);
    case SQLITE_PRAGMA:
      if (is_harmless_pragma(first, second)) return SQLITE_OK;
      return refuse(sq, "PRAGMA %s cannot be used in work that is prepared", first);
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
      return refuse(sq, "ATTACH and DETACH cannot be used in work that is prepared%s", "");
    default:
      return refuse(sq, "the work changes the schema (%s); only rows can be prepared", first);
  }
}

enum vow_error vow_sqlite_authorize(struct vow_sqlite *sq) {
  return vow_sqlite_failed(sq, sqlite3_set_authorizer(sq->db, authorize, sq),
                           "installing the authorizer");
}

/* ---- virtual tables and what is inside them ---- */

static int compare(const void *a, const void *b) {
  const char *const *x = a;
  const char *const *y = b;
  return sqlite3_stricmp(*x, *y);
}

bool vow_sqlite_is_untouchable(const struct vow_sqlite *sq, const char *name) {
  const struct vow_sqlite_names *names = &sq->untouchable;
  if (!names->count) return false;
  return bsearch((const void *)&name, (const void *)names->items, names->count,
                 sizeof *names->items, compare) != NULL;
}

enum vow_error vow_sqlite_untouchable_load(struct vow_sqlite *sq) {
  struct vow_sqlite_names *names = &sq->untouchable;
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(sq->db,
                              "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN"
                              " ('virtual', 'shadow')",
                              -1, &statement, NULL);
  enum vow_error error = vow_sqlite_failed(sq, rc, "reading the schema");
  bool row = false;
  vow_sqlite_names_fini(names);
  while (!error && !(error = vow_sqlite_step(sq, statement, &row)) && row) {
    error = vow_sqlite_names_add(sq, names, (const char *)sqlite3_column_text(statement, 0));
  }
  sqlite3_finalize(statement);
  if (names->count) qsort((void *)names->items, names->count, sizeof *names->items, compare);
  return error;
}
