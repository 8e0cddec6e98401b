/*
 * Logs of version 1 kept a branch by its key, each field in a column of its own. At the first start
 * such a log becomes one of this version, in one transaction: whoever is killed meanwhile finds the
 * old one. All its records are checked on the way, as at any start.
 */
#include <string.h>

#include "log_internal.h"
#include "url.h"

static const char *text_of(sqlite3_stmt *row, int column) {
  return (const char *)sqlite3_column_text(row, column);
}

/* transaction_id, branch, kind, outcome, coordinator, payload, reason, checksum */
static bool read_old(sqlite3_stmt *row, struct vow_precord *out) {
  int64_t branch = sqlite3_column_int64(row, 1);
  int kind = sqlite3_column_int(row, 2), outcome = sqlite3_column_int(row, 3);
  if (sqlite3_column_type(row, 0) != SQLITE_BLOB ||
      sqlite3_column_bytes(row, 0) != (int)sizeof out->transaction.bytes) {
    return false;
  }
  memcpy(out->transaction.bytes, sqlite3_column_blob(row, 0), sizeof out->transaction.bytes);
  if (branch < 1 || branch > UINT32_MAX || kind < VOW_PRECORD_INTENT ||
      kind > VOW_PRECORD_FORGOTTEN || outcome < VOW_OUTCOME_NONE ||
      outcome > VOW_OUTCOME_HEURISTIC_HAZARD) {
    return false;
  }
  out->branch = (uint32_t)branch;
  out->kind = (enum vow_precord_kind)kind;
  out->outcome = (enum vow_outcome)outcome;
  out->coordinator = text_of(row, 4);
  out->payload = text_of(row, 5);
  out->payload_bytes = out->payload ? (size_t)sqlite3_column_bytes(row, 5) : 0;
  out->reason = text_of(row, 6);
  return out->coordinator && strlen(out->coordinator) <= VOW_URL_BYTES_MAX &&
         sqlite3_column_int64(row, 7) == vow_log_old_checksum(out);
}

/* A SQLite result code; SQLITE_CORRUPT with `why`: a record is damaged. */
static int copy_rows(sqlite3_stmt *from, sqlite3_stmt *put, struct vow_buf *blob, char *why,
                     size_t why_bytes) {
  int code = SQLITE_OK;
  for (uint64_t row = 1; !code; row++) {
    struct vow_precord record = {.row = row};
    code = sqlite3_step(from);
    if (code == SQLITE_DONE) return SQLITE_OK;
    if (code != SQLITE_ROW) return code;
    if (!read_old(from, &record)) {
      if (vow_log_lacks_memory(from)) return SQLITE_NOMEM;
      (void)vow_log_is_damaged(&record, why, why_bytes);
      return SQLITE_CORRUPT;
    }
    code = vow_log_put_with(blob, put, &record);
  }
  return code;
}

static int copy(struct vow_log *log, char *why, size_t why_bytes) {
  sqlite3_stmt *from = NULL, *put = NULL;
  struct vow_buf blob;
  vow_buf_init(&blob, SIZE_MAX);
  int code = sqlite3_prepare_v2(log->db, "SELECT * FROM vow_branch ORDER BY transaction_id, branch",
                                -1, &from, NULL);
  if (!code) {
    code = sqlite3_prepare_v2(log->db, "INSERT INTO vow_convert VALUES(?,?)", -1, &put, NULL);
  }
  if (!code) code = copy_rows(from, put, &blob, why, why_bytes);
  sqlite3_finalize(from);
  sqlite3_finalize(put);
  vow_buf_fini(&blob);
  return code;
}

static int execute(struct vow_log *log, const char *sql) {
  return sqlite3_exec(log->db, sql, NULL, NULL, NULL);
}

/* Not by ALTER TABLE, which looks at all that the application has in its schema. */
int vow_log_convert(struct vow_log *log, char *why, size_t why_bytes) {
  int code = execute(log, "BEGIN IMMEDIATE");
  if (!code) {
    code = execute(log, "CREATE TABLE vow_convert(row INTEGER PRIMARY KEY, record BLOB NOT NULL)");
  }
  if (!code) code = copy(log, why, why_bytes);
  if (!code) code = execute(log, "DROP TABLE vow_branch");
  if (!code) code = execute(log, vow_log_schema);
  if (!code) {
    code = execute(log,
                   "INSERT INTO vow_branch SELECT row, record FROM vow_convert;"
                   "DROP TABLE vow_convert;"
                   "UPDATE vow_meta SET value = '2' WHERE key = 'participant_log_version'");
  }
  if (!code) code = execute(log, "COMMIT");
  if (code && !sqlite3_get_autocommit(log->db)) (void)execute(log, "ROLLBACK");
  return code;
}
