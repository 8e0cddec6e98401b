/*
 * Every table and every statement of the log. A change here is a change of the log's format: raise
 * VOW_LOG_FORMAT.
 *
 * Tables have rowids: a record has 200 or 300 bytes, and more where it has more branches; SQLite
 * keeps a large row whole in no other. Ids grow, so all tables and indexes are written at their
 * ends.
 *
 * Each index costs every transaction more than its own bytes. So there is none of the open rows'
 * ids: those are their rowids (log_place.c); nor of what ended when: the rowids of ended_txn are in
 * that order. Open rows are looked for by key, too, although the core knows them: what has ended in
 * the core may still be open here when a question is answered, and must not seem unknown.
 */
#include "io/log_internal.h"

/* Only what is open, the newest image; see log_place.c. */
#define OPEN_TABLE                                                               \
  "CREATE TABLE open_txn(place INTEGER PRIMARY KEY, id BLOB NOT NULL, key TEXT," \
  " record TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT;"                    \
  "CREATE INDEX open_by_key ON open_txn(key) WHERE key IS NOT NULL;"

/* `kept`: never purged, as an operator has not yet forgotten its heuristic outcome or a participant
 * whose branch was settled by hand may still ask for its commit. The order of the
 * columns is enum log_column. Ended rows stand apart, so that recovery reads and checks a table
 * that holds the open ones only, whatever the history has grown to (rule 7). */
#define ENDED_TABLE                                                                        \
  "CREATE TABLE ended_txn"                                                                 \
  "(id BLOB NOT NULL PRIMARY KEY, position INTEGER NOT NULL, state INTEGER NOT NULL,"      \
  " heuristic INTEGER NOT NULL, kept INTEGER NOT NULL, created_ms INTEGER NOT NULL,"       \
  " ended_ms INTEGER NOT NULL, key TEXT, record TEXT NOT NULL, checksum INTEGER NOT NULL)" \
  " STRICT;"

const char log_schema[] =
    "CREATE TABLE head(one INTEGER PRIMARY KEY CHECK (one = 1), created_ms INTEGER NOT NULL,"
    " incarnation INTEGER NOT NULL, position INTEGER NOT NULL, ended INTEGER NOT NULL,"
    " id_ceiling BLOB NOT NULL, purged_to BLOB NOT NULL, advertise_url TEXT NOT NULL,"
    " checksum INTEGER NOT NULL) STRICT;" OPEN_TABLE ENDED_TABLE
    "CREATE INDEX ended_by_key ON ended_txn(key) WHERE key IS NOT NULL;";

const char log_open_schema[] = OPEN_TABLE;

#define OPEN_COLUMNS "id, place, 0, 0, 0, 0, 0, key, record, checksum"
#define SQL_COLUMNS \
  "id, position, state, heuristic, kept, created_ms, ended_ms, key, record, checksum"
#define SQL_VALUES "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
#define SQL_SET                                                                        \
  "position = ?2, state = ?3, heuristic = ?4, kept = ?5, created_ms = ?6, ended_ms = " \
  "?7, key = ?8, record = ?9, checksum = ?10"

/* Many rows at once: much of what a row costs is to begin and end its statement. If one fails, all
 * of the transaction is given up, so OR FAIL spares SQLite the means to take back only the
 * statement. Those whose row is there already are left out. */
#define MANY(row) \
  " VALUES" row "," row "," row "," row "," row "," row "," row "," row " ON CONFLICT DO NOTHING"
_Static_assert(LOG_ROWS == 8, "as many as MANY has");

/* Rows of both tables: the open ones by these columns, and which of either. */
#define BOTH(open_columns, open, ended)        \
  "SELECT " open_columns " FROM open_txn" open \
  " UNION ALL"                                 \
  " SELECT " SQL_COLUMNS " FROM ended_txn" ended
#define WITH_KEY     " WHERE key = ?1"
#define NEWEST_FIRST " ORDER BY id DESC"

static const char *const sql[LOG_STATEMENTS] = {
    [LOG_BEGIN] = "BEGIN IMMEDIATE",
    [LOG_COMMIT] = "COMMIT",
    [LOG_ROLLBACK] = "ROLLBACK",
    [LOG_OPEN_PUT] =
        "INSERT INTO open_txn(place, id, record, checksum, key) VALUES(?2, ?1, ?3, ?4, ?5)"
        " ON CONFLICT(place) DO UPDATE SET record = ?3, checksum = ?4, key = ?5 WHERE id = ?1",
    [LOG_OPEN_PUT_MANY] =
        "INSERT OR FAIL INTO open_txn(id, place, record, checksum, key)" MANY("(?, ?, ?, ?, ?)"),
    [LOG_OPEN_DELETE] = "DELETE FROM open_txn WHERE place = ?2 AND id = ?1",
    [LOG_ENDED_PUT] =
        "INSERT INTO ended_txn(" SQL_COLUMNS ") VALUES" SQL_VALUES " ON CONFLICT(id) DO NOTHING",
    [LOG_ENDED_PUT_MANY] =
        "INSERT OR FAIL INTO ended_txn(" SQL_COLUMNS ")" MANY("(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
    [LOG_ENDED_UPDATE] = "UPDATE ended_txn SET " SQL_SET " WHERE id = ?1",
    [LOG_ENDED_DELETE] = "DELETE FROM ended_txn WHERE id = ?1",
    [LOG_HEAD_PUT] =
        "UPDATE head SET created_ms = ?1, incarnation = ?2, position = ?3, ended = ?4,"
        " id_ceiling = ?5, purged_to = ?6, advertise_url = ?7, checksum = ?8 WHERE one = 1",
    [LOG_OPEN_PAGE] = "SELECT " OPEN_COLUMNS " FROM open_txn WHERE place > ?2 ORDER BY place",
    [LOG_FIND] = BOTH(OPEN_COLUMNS, " WHERE place = ?2 AND id = ?1", " WHERE id = ?1"),
    [LOG_FIND_KEY] = BOTH(OPEN_COLUMNS, WITH_KEY, WITH_KEY NEWEST_FIRST),
    [LOG_LIST] = "SELECT " SQL_COLUMNS " FROM ended_txn WHERE id < ?1" NEWEST_FIRST,
    [LOG_SCAN] = BOTH(OPEN_COLUMNS, "", ""),
    [LOG_WALK] =
        "SELECT rowid, id, state, kept, ended_ms FROM ended_txn WHERE rowid > ?1"
        " ORDER BY rowid",
    [LOG_PURGE] =
        "DELETE FROM ended_txn WHERE rowid > ?1 AND rowid <= ?2 AND kept = 0"
        " AND ended_ms <= ?3",
};

/* What differs in a log whose open rows have no places yet. It is only read. */
static const char *const sql_before_places[LOG_STATEMENTS] = {
    [LOG_OPEN_PUT] = "SELECT 1",
    [LOG_OPEN_DELETE] = "SELECT 1",
    [LOG_OPEN_PAGE] = "SELECT " SQL_COLUMNS " FROM open_txn WHERE id > ?1 ORDER BY id",
    [LOG_FIND] = BOTH(SQL_COLUMNS, " WHERE id = ?1", " WHERE id = ?1"),
    [LOG_FIND_KEY] = BOTH(SQL_COLUMNS, WITH_KEY, WITH_KEY NEWEST_FIRST),
    [LOG_SCAN] = BOTH(SQL_COLUMNS, "", ""),
};

enum vow_error log_prepare(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  for (int i = 0; i < LOG_STATEMENTS; i++) {
    const char *old = log->format < LOG_FORMAT_PLACES ? sql_before_places[i] : NULL;
    sqlite3_finalize(log->statements[i]);
    log->statements[i] = NULL;
    if (i == LOG_OPEN_PUT_MANY || i == LOG_ENDED_PUT_MANY) continue;
    int rc = sqlite3_prepare_v3(log->db, old == NULL ? sql[i] : old, -1, SQLITE_PREPARE_PERSISTENT,
                                &log->statements[i], NULL);
    if ((rc & 0xff) == SQLITE_ERROR) {
      log_explain(why, "the log %s has lost a part: %s; restore it from a backup", log->path,
                  sqlite3_errmsg(log->db));
      return VOW_E_LOG_CORRUPT;
    }
    if (rc != SQLITE_OK) return log_sqlite_error(log, rc, "reading its schema", why);
  }
  return VOW_OK;
}

sqlite3_stmt *log_statement_for_many(struct vow_log *log, enum log_statement which) {
  if (log->statements[which] == NULL) {
    (void)sqlite3_prepare_v3(log->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT,
                             &log->statements[which], NULL);
  }
  return log->statements[which];
}
