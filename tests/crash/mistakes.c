/* See mistakes.h. The linker sends what the code under test says to SQLite here. */
#include "mistakes.h"

#include <sqlite3.h>
#include <string.h>

#include "disk.h"

enum mistake mistake;

static const struct {
  const char *name;
  char sides;
  const char *text;
} table[MISTAKE_COUNT] = {
#define MISTAKE_ROW(constant, name, sides, text) [MISTAKE_##constant] = {name, sides, text},
    MISTAKE_TABLE(MISTAKE_ROW)
#undef MISTAKE_ROW
};

const char *mistake_name(enum mistake which) {
  return table[which].name;
}

const char *mistake_text(enum mistake which) {
  return table[which].text;
}

bool mistake_concerns(enum mistake which, char side) {
  return table[which].sides == 'b' || table[which].sides == side;
}

enum mistake mistake_parse(const char *name) {
  for (int i = 1; i < MISTAKE_COUNT; i++) {
    if (strcmp(table[i].name, name) == 0) return (enum mistake)i;
  }
  return MISTAKE_NONE;
}

void mistake_begin(enum mistake which) {
  mistake = which;
  disk_faults.lie_about_folder = which == MISTAKE_NO_FOLDER_SYNC;
  disk_faults.lie_about_base = which == MISTAKE_NO_BASE_SYNC;
  disk_faults.lie_about_rewriting = which == MISTAKE_NO_REWRITE || which == MISTAKE_BELIEVE_CACHE;
}

/* ---- what is said to SQLite ---- */

static bool begins_with(const char *text, const char *beginning) {
  return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* The setting is read back by the code, so the answer is changed as well. */
static const char *change(const char *sql) {
  static const char *answer = "SELECT 2";
  if (mistake == MISTAKE_NORMAL_SYNC && begins_with(sql, "PRAGMA synchronous=")) {
    answer = strstr(sql, "EXTRA") != NULL ? "SELECT 3" : "SELECT 2";
    return "PRAGMA synchronous=NORMAL";
  }
  if (mistake == MISTAKE_NORMAL_SYNC && strcmp(sql, "PRAGMA synchronous") == 0) return answer;
  if (mistake == MISTAKE_NO_TRANSACTION &&
      (strcmp(sql, "BEGIN IMMEDIATE") == 0 || strcmp(sql, "COMMIT") == 0))
    return "SELECT 1 WHERE 0";
  if (mistake == MISTAKE_PURGE_NEWEST && begins_with(sql, "SELECT rowid, id, state, kept"))
    return "SELECT rowid, id, state, kept, ended_ms FROM ended_txn WHERE rowid > ?1"
           " ORDER BY rowid DESC";
  if (mistake == MISTAKE_PURGE_NEWEST && begins_with(sql, "DELETE FROM ended_txn WHERE rowid"))
    return "DELETE FROM ended_txn WHERE rowid > ?1 AND rowid >= ?2 AND kept = 0"
           " AND ended_ms <= ?3";
  return sql;
}

int __real_sqlite3_prepare_v2(sqlite3 *db, const char *sql, int bytes, sqlite3_stmt **out,
                              const char **tail);
int __wrap_sqlite3_prepare_v2(sqlite3 *db, const char *sql, int bytes, sqlite3_stmt **out,
                              const char **tail);
int __real_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int bytes, unsigned flags,
                              sqlite3_stmt **out, const char **tail);
int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int bytes, unsigned flags,
                              sqlite3_stmt **out, const char **tail);
int __real_sqlite3_exec(sqlite3 *db, const char *sql, sqlite3_callback callback, void *context,
                        char **message);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, sqlite3_callback callback, void *context,
                        char **message);
int __real_sqlite3_wal_checkpoint_v2(sqlite3 *db, const char *name, int mode, int *frames,
                                     int *done);
int __wrap_sqlite3_wal_checkpoint_v2(sqlite3 *db, const char *name, int mode, int *frames,
                                     int *done);

int __wrap_sqlite3_prepare_v2(sqlite3 *db, const char *sql, int bytes, sqlite3_stmt **out,
                              const char **tail) {
  return __real_sqlite3_prepare_v2(db, change(sql), bytes, out, tail);
}

int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int bytes, unsigned flags,
                              sqlite3_stmt **out, const char **tail) {
  return __real_sqlite3_prepare_v3(db, change(sql), bytes, flags, out, tail);
}

int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, sqlite3_callback callback, void *context,
                        char **message) {
  /* Or no log would open: before anything is tried, a start rolls back what it began. */
  bool nothing_began = mistake == MISTAKE_NO_TRANSACTION && sqlite3_get_autocommit(db);
  if (nothing_began && strcmp(sql, "ROLLBACK") == 0) return SQLITE_OK;
  return __real_sqlite3_exec(db, change(sql), callback, context, message);
}

/* Believing the cache is to say that the WAL was written back and to leave it as it is. */
int __wrap_sqlite3_wal_checkpoint_v2(sqlite3 *db, const char *name, int mode, int *frames,
                                     int *done) {
  if (mistake != MISTAKE_BELIEVE_CACHE)
    return __real_sqlite3_wal_checkpoint_v2(db, name, mode, frames, done);
  if (frames != NULL) *frames = 0;
  if (done != NULL) *done = 0;
  return SQLITE_OK;
}
