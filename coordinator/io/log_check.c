/*
 * Whether a log may be believed. At open: the head, the structure of the database, and every open
 * row, because the daemon acts on those. On request (`vowctl check`): everything.
 *
 * quick_check reads the whole file, and recovery must not wait for the history (rule 7), so above
 * LOG_CHECK_BYTES_MAX it is given the head and the open transactions only. Ended rows are still
 * checked one by one whenever they are read.
 */
#include <stdlib.h>
#include <string.h>

#include "io/log_internal.h"

static enum vow_error no_memory(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  return log_sqlite_error(log, SQLITE_NOMEM, "reading it", why);
}

static enum vow_error damaged(struct vow_log *log, const char *what, char why[VOW_LOG_WHY_BYTES]) {
  char copy[VOW_LOG_WHY_BYTES];
  log_explain(copy, "%s", what);
  /* Who reads a log that it may not write to is `vowctl check`, or looks over a backup. */
  const char *advice =
      log->read_only ? "" : ": run `vowctl check` on it, then restore it from a backup";
  log_explain(why, "the log %s is damaged: %.300s; nothing was changed%s", log->path, copy, advice);
  return VOW_E_LOG_CORRUPT;
}

static bool read_id(sqlite3_stmt *row, int column, struct vow_id *out) {
  const void *bytes = sqlite3_column_blob(row, column);
  if (bytes == NULL || sqlite3_column_bytes(row, column) != (int)sizeof out->bytes) return false;
  memcpy(out->bytes, bytes, sizeof out->bytes);
  return true;
}

/* Takes the head as it stands in the database, its text copied. */
static enum vow_error keep_head(struct vow_log *log, const struct log_head *head,
                                char why[VOW_LOG_WHY_BYTES]) {
  enum vow_error error = log_set_advertise_url(log, head->advertise_url, why);
  if (error != VOW_OK) return error;
  const char *advertise_url = log->head.advertise_url;
  log->head = *head;
  log->head.advertise_url = advertise_url;
  return VOW_OK;
}

static enum vow_error read_head(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  static const char select[] =
      "SELECT created_ms, incarnation, position, ended, id_ceiling, purged_to, advertise_url,"
      " checksum FROM head";
  struct log_head head = {0};
  sqlite3_stmt *row = NULL;
  enum vow_error error = VOW_OK;
  int rc = sqlite3_prepare_v2(log->db, select, -1, &row, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(row);
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
    error = log_sqlite_error(log, rc, "reading its head", why);
    goto out;
  }
  head.created_ms = (uint64_t)sqlite3_column_int64(row, 0);
  head.starts = (uint64_t)sqlite3_column_int64(row, 1);
  head.position = (uint64_t)sqlite3_column_int64(row, 2);
  head.ended = (uint64_t)sqlite3_column_int64(row, 3);
  bool whole =
      rc == SQLITE_ROW && read_id(row, 4, &head.ceiling) && read_id(row, 5, &head.purged_to);
  head.advertise_url = whole ? (const char *)sqlite3_column_text(row, 6) : NULL;
  if (whole && log_row_lacks_memory(row))
    error = no_memory(log, why);
  else if (head.advertise_url == NULL || sqlite3_column_int64(row, 7) != log_head_checksum(&head))
    error = damaged(log, "its head row does not match its checksum", why);
  else
    error = keep_head(log, &head, why);
out:
  sqlite3_finalize(row);
  return error;
}

/* SQLite complains of a page that it could not look at, for want of memory or since the disk fails,
 * as it does of one that is damaged; and it does not always say why. */
static enum vow_error complaint(struct vow_log *log, const char *text,
                                char why[VOW_LOG_WHY_BYTES]) {
  static const char code[] = "unable to get the page. error code=";
  const char *said = strstr(text, code);
  if (said != NULL) return log_sqlite_error(log, atoi(said + strlen(code)), "checking it", why);
  if (strstr(text, "failed to get page") == NULL) return damaged(log, text, why);
  log_explain(why,
              "the log %s: a page of it cannot be read; give this process more memory, or look at "
              "the disk and the kernel's messages",
              log->path);
  return VOW_E_LOG_IO;
}

/* Runs quick_check or integrity_check; the first complaint names the page. */
static enum vow_error check_structure(struct vow_log *log, const char *pragma,
                                      char why[VOW_LOG_WHY_BYTES]) {
  sqlite3_stmt *row = NULL;
  enum vow_error error = VOW_OK;
  int rc = sqlite3_prepare_v2(log->db, pragma, -1, &row, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(row);
  if (rc != SQLITE_ROW) {
    error = log_sqlite_error(log, rc, "checking it", why);
  } else {
    const char *text = (const char *)sqlite3_column_text(row, 0);
    if (text == NULL)
      error = no_memory(log, why);
    else if (strcmp(text, "ok") != 0)
      error = complaint(log, text, why);
  }
  sqlite3_finalize(row);
  return error;
}

/* Of a row that was read: want of memory is no damage. */
static enum vow_error row_error(struct vow_log *log, enum vow_error error, const char *what,
                                char why[VOW_LOG_WHY_BYTES]) {
  if (error == VOW_E_NO_MEMORY) return no_memory(log, why);
  return error == VOW_OK ? VOW_OK : damaged(log, what, why);
}

static bool note_place(struct vow_log *log, sqlite3_stmt *row) {
  struct vow_id id;
  if (log->format < LOG_FORMAT_PLACES || !read_id(row, LOG_COLUMN_ID, &id)) return true;
  return log_place_set(log, id, sqlite3_column_int64(row, LOG_COLUMN_POSITION));
}

static enum vow_error check_open_rows(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  static const struct vow_id nil;
  char what[VOW_LOG_WHY_BYTES];
  sqlite3_stmt *row = log->statements[LOG_OPEN_PAGE];
  enum vow_error error = VOW_OK;
  int rc;
  log_row_bind_place(row, &nil, INT64_MIN);
  while (error == VOW_OK && (rc = sqlite3_step(row)) != SQLITE_DONE) {
    if (rc != SQLITE_ROW)
      error = log_sqlite_error(log, rc, "reading its open transactions", why);
    else if (!log->read_only)
      error = row_error(log, log_row_verify(row, what), what, why);
    if (error == VOW_OK && !note_place(log, row)) error = no_memory(log, why);
    if (error == VOW_OK) log->info.open++;
  }
  sqlite3_reset(row);
  return error;
}

static enum vow_error check_wal(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  char what[VOW_LOG_WHY_BYTES];
  enum vow_error error = log_check_wal(log, what);
  if (error == VOW_E_LOG_CORRUPT) return damaged(log, what, why);
  if (error != VOW_OK) log_explain(why, "the log %.200s: %.250s", log->path, what);
  return error;
}

enum vow_error log_verify(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  enum vow_error error = log->read_only ? VOW_OK : check_wal(log, why);
  /* A damaged log can be opened read-only: that is how one finds out what is damaged. */
  if (error == VOW_OK && !log->read_only) {
    bool all = log->database_bytes <= LOG_CHECK_BYTES_MAX;
    error = check_structure(log, all ? "PRAGMA quick_check(1)" : "PRAGMA quick_check(head)", why);
    if (error == VOW_OK && !all) error = check_structure(log, "PRAGMA quick_check(open_txn)", why);
  }
  if (error == VOW_OK) error = read_head(log, why);
  if (error == VOW_OK) error = check_open_rows(log, why);
  return error;
}

/* Each row may be sound, and yet not both of them. */
static enum vow_error check_apart(struct vow_log *log, const char *select, const char *where,
                                  char why[VOW_LOG_WHY_BYTES]) {
  char what[VOW_LOG_WHY_BYTES], text[VOW_ID_TEXT_BYTES];
  struct vow_id id;
  sqlite3_stmt *row = NULL;
  enum vow_error error = VOW_OK;
  int rc = sqlite3_prepare_v2(log->db, select, -1, &row, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(row);
  if (rc == SQLITE_ROW && read_id(row, 0, &id)) {
    vow_id_format(id, text);
    log_explain(what, "transaction %s is among the open ones %s", text, where);
    error = damaged(log, what, why);
  } else if (rc != SQLITE_DONE) {
    error = log_sqlite_error(log, rc == SQLITE_ROW ? SQLITE_NOMEM : rc, "reading its rows", why);
  }
  sqlite3_finalize(row);
  return error;
}

/* Everything: structure, every checksum, every record. The first problem is the sentence. */
enum vow_error log_check_all(struct vow_log *log, struct vow_log_result *out,
                             char why[VOW_LOG_WHY_BYTES]) {
  static const char both[] = "SELECT o.id FROM open_txn o CROSS JOIN ended_txn e ON e.id = o.id";
  static const char twice[] = "SELECT id FROM open_txn GROUP BY id HAVING count(*) > 1";
  char what[VOW_LOG_WHY_BYTES];
  sqlite3_stmt *row = log->statements[LOG_SCAN];
  uint64_t checked = 0, bad = 0, bad_ended = 0, ended = 0;
  enum vow_error error = check_wal(log, why);
  if (error == VOW_OK) error = check_structure(log, "PRAGMA integrity_check(1)", why);
  bool structure = error == VOW_OK;
  int rc = SQLITE_ROW;
  while (error != VOW_E_NO_MEMORY && (rc = sqlite3_step(row)) == SQLITE_ROW) {
    struct vow_txn txn = {0};
    enum vow_error read = log_row_read(row, &txn, what);
    vow_txn_fini(&txn);
    checked++;
    bool has_ended = sqlite3_column_int64(row, LOG_COLUMN_ENDED) != 0;
    ended += has_ended;
    if (read == VOW_OK) continue;
    if (error == VOW_OK) error = row_error(log, read, what, why);
    if (read == VOW_E_NO_MEMORY) break; /* damage that was found before stays found */
    bad++;
    bad_ended += has_ended;
  }
  sqlite3_reset(row);
  if (error == VOW_OK && rc != SQLITE_DONE)
    error = log_sqlite_error(log, rc, "reading its rows", why);
  if (error == VOW_OK && ended != log->head.ended)
    error =
        damaged(log, "its head counts another number of ended transactions than there are", why);
  char *says = error == VOW_OK ? why : what;
  enum vow_error apart = check_apart(log, both, "and among those that have ended", says);
  if (apart == VOW_OK) apart = check_apart(log, twice, "twice", says);
  if (error == VOW_OK) error = apart;
  out->rows_checked = checked;
  out->rows_bad = bad;
  out->history_only = structure && rc == SQLITE_DONE && ended == log->head.ended &&
                      apart == VOW_OK && bad > 0 && bad == bad_ended;
  return error;
}
