/* See old_log.h. */
#include "old_log.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static void must_be(int code, int wanted) {
  if (code != wanted) abort();
}

void old_log_make(sqlite3 *db) {
  static const char schema[] =
      "CREATE TABLE vow_meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
      "CREATE TABLE vow_branch(transaction_id BLOB NOT NULL, branch INTEGER NOT NULL,"
      " kind INTEGER NOT NULL, outcome INTEGER NOT NULL, coordinator TEXT NOT NULL, payload TEXT,"
      " reason TEXT, checksum INTEGER NOT NULL, PRIMARY KEY(transaction_id, branch)) WITHOUT ROWID;"
      "CREATE TABLE vow_coordinator(url TEXT PRIMARY KEY, finished_below BLOB NOT NULL,"
      " checksum INTEGER NOT NULL) WITHOUT ROWID;"
      "CREATE TABLE vow_seen(url TEXT PRIMARY KEY, incarnation INTEGER NOT NULL,"
      " position INTEGER NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;"
      "INSERT INTO vow_meta VALUES('participant_log_version', '1');";
  must_be(sqlite3_exec(db, schema, NULL, NULL, NULL), SQLITE_OK);
}

static void add(XXH3_state_t *sum, const void *data, size_t bytes) {
  uint64_t length = data ? bytes : UINT64_MAX;
  (void)XXH3_64bits_update(sum, &length, sizeof length);
  if (data) (void)XXH3_64bits_update(sum, data, bytes);
}

static void add_text(XXH3_state_t *sum, const char *text) {
  add(sum, text, text ? strlen(text) : 0);
}

static sqlite3_stmt *begin(sqlite3 *db, const char *sql, XXH3_state_t *sum) {
  sqlite3_stmt *put = NULL;
  must_be(sqlite3_prepare_v2(db, sql, -1, &put, NULL), SQLITE_OK);
  (void)XXH3_64bits_reset(sum);
  return put;
}

static void end(sqlite3_stmt *put, const XXH3_state_t *sum) {
  int last = sqlite3_bind_parameter_count(put);
  must_be(sqlite3_bind_int64(put, last, (sqlite3_int64)XXH3_64bits_digest(sum)), SQLITE_OK);
  must_be(sqlite3_step(put), SQLITE_DONE);
  must_be(sqlite3_finalize(put), SQLITE_OK);
}

void old_log_put(sqlite3 *db, const struct vow_precord *record) {
  XXH3_state_t sum;
  uint32_t numbers[3] = {record->branch, record->kind, record->outcome};
  sqlite3_stmt *put = begin(db, "REPLACE INTO vow_branch VALUES(?,?,?,?,?,?,?,?)", &sum);
  add(&sum, record->transaction.bytes, 16);
  add(&sum, numbers, sizeof numbers);
  add_text(&sum, record->coordinator);
  add(&sum, record->payload, record->payload_bytes);
  add_text(&sum, record->reason);
  sqlite3_bind_blob(put, 1, record->transaction.bytes, 16, SQLITE_STATIC);
  sqlite3_bind_int64(put, 2, record->branch);
  sqlite3_bind_int(put, 3, (int)record->kind);
  sqlite3_bind_int(put, 4, (int)record->outcome);
  sqlite3_bind_text(put, 5, record->coordinator, -1, SQLITE_STATIC);
  sqlite3_bind_text(put, 6, record->payload, (int)record->payload_bytes, SQLITE_STATIC);
  sqlite3_bind_text(put, 7, record->reason, -1, SQLITE_STATIC);
  end(put, &sum);
}

void old_log_put_watermark(sqlite3 *db, const char *url, struct vow_id below) {
  XXH3_state_t sum;
  sqlite3_stmt *put = begin(db, "REPLACE INTO vow_coordinator VALUES(?,?,?)", &sum);
  add_text(&sum, url);
  add(&sum, below.bytes, sizeof below.bytes);
  sqlite3_bind_text(put, 1, url, -1, SQLITE_STATIC);
  sqlite3_bind_blob(put, 2, below.bytes, sizeof below.bytes, SQLITE_STATIC);
  end(put, &sum);
}

void old_log_put_seen(sqlite3 *db, const char *url, struct vow_log_position seen) {
  XXH3_state_t sum;
  uint64_t numbers[2] = {seen.incarnation, seen.position};
  sqlite3_stmt *put = begin(db, "REPLACE INTO vow_seen VALUES(?,?,?,?)", &sum);
  add_text(&sum, url);
  add(&sum, numbers, sizeof numbers);
  sqlite3_bind_text(put, 1, url, -1, SQLITE_STATIC);
  sqlite3_bind_int64(put, 2, (sqlite3_int64)seen.incarnation);
  sqlite3_bind_int64(put, 3, (sqlite3_int64)seen.position);
  end(put, &sum);
}
