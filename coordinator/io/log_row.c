/*
 * One row of the log: its columns, its checksum, and the way back to a transaction. The checksum
 * covers every column, so a row that a damaged page or a stray hand changed is never believed.
 * Numbers enter it in little-endian order, so that a log can move between machines.
 */
#include <stdio.h>
#include <string.h>

#include "io/hash.h"
#include "io/log_internal.h"
#include "io/record.h"

#define OPEN_VALUES 5 /* of a row of open_txn */

static void put_u64(uint8_t **at, uint64_t value) {
  for (int i = 0; i < 8; i++) *(*at)++ = (uint8_t)(value >> (8 * i));
}

struct row {
  const void *id;
  uint64_t position, state, heuristic, kept, created_ms, ended_ms;
  const char *key; /* or NULL */
  size_t key_bytes;
  const void *record;
  size_t record_bytes;
};

static int64_t row_checksum(const struct row *row) {
  uint8_t fixed[16 + 7 * 8], *at = fixed + 16;
  memcpy(fixed, row->id, 16);
  put_u64(&at, row->position);
  put_u64(&at, row->state);
  put_u64(&at, row->heuristic);
  put_u64(&at, row->kept);
  put_u64(&at, row->created_ms);
  put_u64(&at, row->ended_ms);
  put_u64(&at, row->key == NULL ? UINT64_MAX : row->key_bytes);
  uint64_t hash = vow_hash64(fixed, sizeof fixed, 0);
  if (row->key != NULL) hash = vow_hash64(row->key, row->key_bytes, hash);
  return (int64_t)vow_hash64(row->record, row->record_bytes, hash);
}

int64_t log_head_checksum(const struct log_head *head) {
  uint8_t fixed[4 * 8 + 2 * 16], *at = fixed;
  put_u64(&at, head->created_ms);
  put_u64(&at, head->starts);
  put_u64(&at, head->position);
  put_u64(&at, head->ended);
  memcpy(at, head->ceiling.bytes, 16);
  memcpy(at + 16, head->purged_to.bytes, 16);
  uint64_t hash = vow_hash64(fixed, sizeof fixed, 0);
  return (int64_t)vow_hash64(head->advertise_url, strlen(head->advertise_url), hash);
}

/* What is bound is borrowed until the statement is reset. Binding can only fail when out of memory
 * or by a wrong index; the step then fails or the NULL is refused by the table, so one check there
 * is enough. */
void log_row_bind(sqlite3_stmt *statement, int nth, const struct log_entry *entry) {
  int at = 1 + nth * LOG_COLUMNS;
  struct row row = {.id = entry->id.bytes,
                    .position = entry->position,
                    .state = (uint64_t)entry->state,
                    .heuristic = (uint64_t)entry->heuristic,
                    .kept = entry->kept,
                    .created_ms = entry->created_ms,
                    .ended_ms = entry->ended_ms,
                    .key = entry->key,
                    .key_bytes = entry->key == NULL ? 0 : strlen(entry->key),
                    .record = entry->record.data,
                    .record_bytes = entry->record.bytes};
  sqlite3_bind_blob(statement, at + LOG_COLUMN_ID, row.id, 16, SQLITE_STATIC);
  sqlite3_bind_int64(statement, at + LOG_COLUMN_POSITION, (sqlite3_int64)row.position);
  sqlite3_bind_int64(statement, at + LOG_COLUMN_STATE, (sqlite3_int64)row.state);
  sqlite3_bind_int64(statement, at + LOG_COLUMN_HEURISTIC, (sqlite3_int64)row.heuristic);
  sqlite3_bind_int64(statement, at + LOG_COLUMN_KEPT, (sqlite3_int64)row.kept);
  sqlite3_bind_int64(statement, at + LOG_COLUMN_CREATED, (sqlite3_int64)row.created_ms);
  sqlite3_bind_int64(statement, at + LOG_COLUMN_ENDED, (sqlite3_int64)row.ended_ms);
  sqlite3_bind_text64(statement, at + LOG_COLUMN_KEY, row.key, row.key_bytes, SQLITE_STATIC,
                      SQLITE_UTF8);
  sqlite3_bind_text64(statement, at + LOG_COLUMN_RECORD, row.record, row.record_bytes,
                      SQLITE_STATIC, SQLITE_UTF8);
  sqlite3_bind_int64(statement, at + LOG_COLUMN_CHECKSUM, row_checksum(&row));
}

void log_row_bind_place(sqlite3_stmt *statement, const struct vow_id *id, int64_t place) {
  sqlite3_bind_blob(statement, 1, id->bytes, sizeof id->bytes, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 2, place);
}

void log_row_bind_open(sqlite3_stmt *statement, int nth, const struct log_entry *entry,
                       int64_t place) {
  int at = 1 + nth * OPEN_VALUES;
  struct row row = {.id = entry->id.bytes,
                    .position = (uint64_t)place,
                    .key = entry->key,
                    .key_bytes = entry->key == NULL ? 0 : strlen(entry->key),
                    .record = entry->record.data,
                    .record_bytes = entry->record.bytes};
  sqlite3_bind_blob(statement, at, row.id, sizeof entry->id.bytes, SQLITE_STATIC);
  sqlite3_bind_int64(statement, at + 1, place);
  sqlite3_bind_text64(statement, at + 2, row.record, row.record_bytes, SQLITE_STATIC, SQLITE_UTF8);
  sqlite3_bind_int64(statement, at + 3, row_checksum(&row));
  sqlite3_bind_text64(statement, at + 4, row.key, row.key_bytes, SQLITE_STATIC, SQLITE_UTF8);
}

static uint64_t column_u64(sqlite3_stmt *row, enum log_column column) {
  return (uint64_t)sqlite3_column_int64(row, (int)column);
}

bool log_row_lacks_memory(sqlite3_stmt *statement) {
  return (sqlite3_errcode(sqlite3_db_handle(statement)) & 0xff) == SQLITE_NOMEM;
}

enum vow_error log_row_verify(sqlite3_stmt *statement, char why[VOW_LOG_WHY_BYTES]) {
  struct row row = {.id = sqlite3_column_blob(statement, LOG_COLUMN_ID),
                    .position = column_u64(statement, LOG_COLUMN_POSITION),
                    .state = column_u64(statement, LOG_COLUMN_STATE),
                    .heuristic = column_u64(statement, LOG_COLUMN_HEURISTIC),
                    .kept = column_u64(statement, LOG_COLUMN_KEPT),
                    .created_ms = column_u64(statement, LOG_COLUMN_CREATED),
                    .ended_ms = column_u64(statement, LOG_COLUMN_ENDED),
                    .key = (const char *)sqlite3_column_text(statement, LOG_COLUMN_KEY),
                    .record = sqlite3_column_text(statement, LOG_COLUMN_RECORD)};
  row.key_bytes = (size_t)sqlite3_column_bytes(statement, LOG_COLUMN_KEY);
  row.record_bytes = (size_t)sqlite3_column_bytes(statement, LOG_COLUMN_RECORD);
  if (log_row_lacks_memory(statement)) {
    log_explain(why, "out of memory");
    return VOW_E_NO_MEMORY;
  }
  if (row.id == NULL || sqlite3_column_bytes(statement, LOG_COLUMN_ID) != 16) {
    log_explain(why, "a row has no transaction id (log position %llu)",
                (unsigned long long)row.position);
    return VOW_E_LOG_CORRUPT;
  }
  if (row.record != NULL &&
      row_checksum(&row) == sqlite3_column_int64(statement, LOG_COLUMN_CHECKSUM))
    return VOW_OK;
  struct vow_id id;
  char text[VOW_ID_TEXT_BYTES];
  memcpy(id.bytes, row.id, 16);
  vow_id_format(id, text);
  log_explain(why, "the row of transaction %s does not match its checksum", text);
  return VOW_E_LOG_CORRUPT;
}

enum vow_error log_row_read(sqlite3_stmt *statement, struct vow_txn *out,
                            char why[VOW_LOG_WHY_BYTES]) {
  char why_record[VOW_JSON_WHY_BYTES];
  enum vow_error error = log_row_verify(statement, why);
  if (error != VOW_OK) return error;
  const char *text = (const char *)sqlite3_column_text(statement, LOG_COLUMN_RECORD);
  size_t bytes = (size_t)sqlite3_column_bytes(statement, LOG_COLUMN_RECORD);
  struct vow_id id;
  struct vow_txn txn = {0};
  memcpy(id.bytes, sqlite3_column_blob(statement, LOG_COLUMN_ID), sizeof id.bytes);
  error = vow_record_read(id, text, bytes, &txn, why_record);
  if (error == VOW_OK && txn.ended_ms == 0 && !vow_core_may_load(&txn)) {
    vow_txn_fini(&txn);
    snprintf(why_record, sizeof why_record, "its state and its branches do not fit each other");
    error = VOW_E_LOG_CORRUPT;
  }
  if (error == VOW_E_LOG_CORRUPT) {
    char name[VOW_ID_TEXT_BYTES];
    vow_id_format(id, name);
    log_explain(why, "the record of transaction %s cannot be read: %s", name, why_record);
  }
  if (error == VOW_E_NO_MEMORY) log_explain(why, "out of memory");
  if (error == VOW_OK) *out = txn;
  return error;
}
