/*
 * What the log knows about itself: its starts, each with how far the log had come when it ended,
 * and whether records may be missing (core/quarantine.c says what follows from that).
 *
 * All of it changes with a start, when a witness speaks up, and when the log is reconciled, and
 * then in the transaction of the head; nothing of it is written on the way of a decision. Each row
 * has a checksum.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "io/hash.h"
#include "io/log_internal.h"

/* As `until`, of the start that wrote last: the head says how far it came. */
#define STILL_RUNNING  (-1)
#define RANDOM_BITS    21 /* of an incarnation; the rest are seconds since 2020 */
#define EPOCH_2020_S   UINT64_C(1577836800)
#define STARTS_AT_ONCE 64
#define GAP_BYTES      32

const char log_trust_schema[] =
    "CREATE TABLE IF NOT EXISTS incarnation(number INTEGER PRIMARY KEY, until INTEGER NOT NULL,"
    " checksum INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS trust(one INTEGER PRIMARY KEY CHECK (one = 1),"
    " backup_ms INTEGER NOT NULL, since_ms INTEGER NOT NULL, incarnation INTEGER NOT NULL,"
    " position INTEGER NOT NULL, why TEXT NOT NULL, presume_from BLOB NOT NULL,"
    " checksum INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS id_gap(from_id BLOB NOT NULL PRIMARY KEY, below BLOB NOT NULL,"
    " checksum INTEGER NOT NULL) STRICT;";

static void put_u64(uint8_t **at, uint64_t value) {
  for (int i = 0; i < 8; i++) *(*at)++ = (uint8_t)(value >> (8 * i));
}

static int64_t incarnation_checksum(uint64_t number, int64_t until) {
  uint8_t bytes[16], *at = bytes;
  put_u64(&at, number);
  put_u64(&at, (uint64_t)until);
  return (int64_t)vow_hash64(bytes, sizeof bytes, 0);
}

static int64_t trust_checksum(const struct log_trust *trust) {
  uint8_t bytes[4 * 8 + 16], *at = bytes;
  put_u64(&at, trust->backup_ms);
  put_u64(&at, trust->since_ms);
  put_u64(&at, trust->seen.incarnation);
  put_u64(&at, trust->seen.position);
  memcpy(at, trust->presume_from.bytes, 16);
  uint64_t hash = vow_hash64(bytes, sizeof bytes, 0);
  return (int64_t)vow_hash64(trust->why, strlen(trust->why), hash);
}

static int64_t gap_checksum(const struct vow_id_gap *gap) {
  uint8_t bytes[GAP_BYTES];
  memcpy(bytes, gap->from.bytes, 16);
  memcpy(bytes + 16, gap->below.bytes, 16);
  return (int64_t)vow_hash64(bytes, sizeof bytes, 0);
}

/* ---- reading ---- */

static enum vow_error damaged(struct vow_log *log, const char *table, char *why) {
  log_explain(why,
              "the log %s is damaged: its table %s does not match its checksums; nothing was "
              "changed%s",
              log->path, table,
              log->read_only ? "" : ": run `vowctl check` on it, then restore it from a backup");
  return VOW_E_LOG_CORRUPT;
}

static enum vow_error read_incarnation(struct vow_log *log, sqlite3_stmt *row, char *why) {
  struct vow_incarnation *known = log->known;
  uint64_t number = (uint64_t)sqlite3_column_int64(row, 0);
  int64_t until = sqlite3_column_int64(row, 1);
  if (sqlite3_column_int64(row, 2) != incarnation_checksum(number, until))
    return damaged(log, "incarnation", why);
  if (log->known_count % STARTS_AT_ONCE == 0) {
    known = reallocarray(known, log->known_count + STARTS_AT_ONCE, sizeof *known);
    if (known == NULL) {
      log_explain(why, "out of memory");
      return VOW_E_NO_MEMORY;
    }
    log->known = known;
  }
  known[log->known_count++] = (struct vow_incarnation){
      number, until == STILL_RUNNING ? log->head.position : (uint64_t)until};
  return VOW_OK;
}

static enum vow_error read_trust(struct vow_log *log, sqlite3_stmt *row, char *why) {
  struct log_trust trust = {.backup_ms = (uint64_t)sqlite3_column_int64(row, 0),
                            .since_ms = (uint64_t)sqlite3_column_int64(row, 1)};
  const char *text = (const char *)sqlite3_column_text(row, 4);
  const void *id = sqlite3_column_blob(row, 5);
  trust.seen.incarnation = (uint64_t)sqlite3_column_int64(row, 2);
  trust.seen.position = (uint64_t)sqlite3_column_int64(row, 3);
  if (log_row_lacks_memory(row)) return log_sqlite_error(log, SQLITE_NOMEM, "reading it", why);
  if (text == NULL || id == NULL || sqlite3_column_bytes(row, 5) != 16)
    return damaged(log, "trust", why);
  snprintf(trust.why, sizeof trust.why, "%s", text);
  memcpy(trust.presume_from.bytes, id, 16);
  if (sqlite3_column_int64(row, 6) != trust_checksum(&trust)) return damaged(log, "trust", why);
  log->trust = trust;
  return VOW_OK;
}

/* Room for one more. */
static enum vow_error grow_gaps(struct vow_log *log, char *why) {
  if (log->gap_count % STARTS_AT_ONCE != 0) return VOW_OK;
  struct vow_id_gap *gaps =
      reallocarray(log->gaps, log->gap_count + STARTS_AT_ONCE, sizeof *log->gaps);
  if (gaps == NULL) {
    log_explain(why, "out of memory");
    return VOW_E_NO_MEMORY;
  }
  log->gaps = gaps;
  return VOW_OK;
}

static enum vow_error read_gap(struct vow_log *log, sqlite3_stmt *row, char *why) {
  struct vow_id_gap gap;
  const void *from = sqlite3_column_blob(row, 0);
  const void *below = sqlite3_column_blob(row, 1);
  if (from == NULL || sqlite3_column_bytes(row, 0) != 16 || below == NULL ||
      sqlite3_column_bytes(row, 1) != 16)
    return damaged(log, "id_gap", why);
  memcpy(gap.from.bytes, from, 16);
  memcpy(gap.below.bytes, below, 16);
  if (sqlite3_column_int64(row, 2) != gap_checksum(&gap)) return damaged(log, "id_gap", why);
  enum vow_error error = grow_gaps(log, why);
  if (error == VOW_OK) log->gaps[log->gap_count++] = gap;
  return error;
}

static enum vow_error read_rows(struct vow_log *log, const char *select,
                                enum vow_error (*take)(struct vow_log *, sqlite3_stmt *, char *),
                                char why[VOW_LOG_WHY_BYTES]) {
  sqlite3_stmt *row = NULL;
  enum vow_error error = VOW_OK;
  int rc = sqlite3_prepare_v2(log->db, select, -1, &row, NULL);
  while (error == VOW_OK && rc != SQLITE_DONE) {
    if (rc != SQLITE_ROW && rc != SQLITE_OK) {
      error = log_sqlite_error(log, rc, "reading its starts", why);
      break;
    }
    if (rc == SQLITE_ROW) error = take(log, row, why);
    if (error == VOW_OK) rc = sqlite3_step(row);
  }
  sqlite3_finalize(row);
  return error;
}

enum vow_error log_trust_read(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  if (log->format < LOG_FORMAT_TRUST) return VOW_OK;
  enum vow_error error =
      read_rows(log, "SELECT number, until, checksum FROM incarnation ORDER BY number",
                read_incarnation, why);
  if (error == VOW_OK) {
    error = read_rows(log,
                      "SELECT backup_ms, since_ms, incarnation, position, why, presume_from, "
                      "checksum FROM trust",
                      read_trust, why);
  }
  if (error != VOW_OK || log->format < LOG_FORMAT_GAPS) return error;
  return read_rows(log, "SELECT from_id, below, checksum FROM id_gap ORDER BY from_id", read_gap,
                   why);
}

/* ---- judging, at a start ---- */

void log_trust_suspect(struct log_trust *trust, struct vow_log_position seen, const char *format,
                       ...) {
  if (vow_log_position_compare(seen, trust->seen) > 0) trust->seen = seen;
  if (trust->since_ms != 0) return; /* the first reason is the one that is told */
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(trust->why, sizeof trust->why, format, arguments);
  va_end(arguments);
  trust->since_ms = log_wall_ms();
}

/* To go on would be to believe a log that may be behind, and to write over what shows it. */
static enum vow_error refused_witness(const struct vow_log *log, int error_number,
                                      char why[VOW_LOG_WHY_BYTES]) {
  char text[128];
  log_explain(why,
              "cannot read the witness file %s, which tells whether the log has lost records: %s; "
              "make it readable for this user, or, if it is lost, move it away",
              log->witness_path, strerror_r(error_number, text, sizeof text));
  return error_number == EACCES ? VOW_E_LOG_READ_ONLY : VOW_E_LOG_IO;
}

enum vow_error log_trust_judge(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  struct vow_log_position seen = {0};
  if (log->trust.backup_ms != 0 && !log->read_only) {
    log_trust_suspect(&log->trust, seen,
                      "it was started from a backup, which lacks what came later");
    log->trust.backup_ms = 0;
  }
  log->info.witness = log_witness_read(log->witness_path, &seen);
  /* Who may read the log only changes nothing, and may look at it without the witness. */
  bool only_looks = log->read_only && errno == EACCES;
  if (log->info.witness == LOG_WITNESS_REFUSED && !only_looks)
    return refused_witness(log, errno, why);
  if (log->info.witness != LOG_WITNESS_READ) return VOW_OK;
  log->info.witnessed = log->witnessed = seen;
  if (vow_log_knows(log->known, log->known_count, seen)) return VOW_OK;
  log_trust_suspect(&log->trust, seen,
                    "its witness file has seen it at position %llu of incarnation %llu, and it "
                    "ends at position %llu",
                    (unsigned long long)seen.position, (unsigned long long)seen.incarnation,
                    (unsigned long long)log->head.position);
  return VOW_OK;
}

static void go_above(uint64_t *newest, uint64_t number) {
  if (number > *newest && number < LOG_NUMBER_LIMIT) *newest = number;
}

/* Above all that was ever heard of, and with random bits, so that two starts from copies of one
 * file differ. */
uint64_t log_trust_incarnation(const struct vow_log *log) {
  uint64_t random = 0, newest = 0, wall_s = log_wall_ms() / 1000;
  if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) random = log_now_ms();
  random &= (1u << RANDOM_BITS) - 1;
  for (uint32_t i = 0; i < log->known_count; i++) {
    go_above(&newest, log->known[i].number == 0 ? log->known[i].until : log->known[i].number);
  }
  go_above(&newest, log->trust.seen.incarnation);
  go_above(&newest, log->witnessed.incarnation);
  uint64_t by_time = wall_s > EPOCH_2020_S ? (wall_s - EPOCH_2020_S) << RANDOM_BITS | random : 0;
  return by_time > newest ? by_time : newest + 1 + random;
}

/* The starts before have issued none at or above the ceiling, and this one begins at its own time:
 * with a clock that was put back, at the ceiling, and there is nothing in between. */
enum vow_error log_trust_gap(struct vow_log *log, struct vow_id_gap *out,
                             char why[VOW_LOG_WHY_BYTES]) {
  uint64_t now_ms = log_wall_ms();
  struct vow_id now = vow_id_floor(now_ms < LOG_WALL_MS_MAX ? now_ms : LOG_WALL_MS_MAX, 0);
  enum vow_error error = grow_gaps(log, why);
  if (error != VOW_OK) return error;
  out->from = log->head.ceiling;
  out->below = vow_id_compare(now, out->from) > 0 ? now : out->from;
  return VOW_OK;
}

void log_trust_gap_add(struct vow_log *log, const struct vow_id_gap *gap) {
  log->id_from = gap->below;
  bool room = log->gaps != NULL; /* log_trust_gap has made it */
  if (!room) return;
  struct vow_id_gap *last = log->gap_count == 0 ? NULL : &log->gaps[log->gap_count - 1];
  bool same = last != NULL && vow_id_compare(last->from, gap->from) == 0;
  if (same) log->gap_count--; /* that start has issued none: this one says where ids go on */
  if (vow_id_compare(gap->from, gap->below) != 0) log->gaps[log->gap_count++] = *gap;
}

/* ---- writing, within the transaction of a batch ---- */

static int put_incarnation(sqlite3 *db, uint64_t number, int64_t until) {
  char sql[160];
  snprintf(sql, sizeof sql, "REPLACE INTO incarnation VALUES(%llu, %lld, %lld)",
           (unsigned long long)number, (long long)until,
           (long long)incarnation_checksum(number, until));
  return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* The oldest are let go together and taken for known from then on. */
static int forget_oldest(struct vow_log *log) {
  char sql[96];
  if (log->known_count <= LOG_INCARNATIONS_MAX) return SQLITE_OK;
  uint64_t floor = log->known[log->known_count - LOG_INCARNATIONS_MAX].number;
  snprintf(sql, sizeof sql, "DELETE FROM incarnation WHERE number <= %llu",
           (unsigned long long)floor);
  int rc = sqlite3_exec(log->db, sql, NULL, NULL, NULL);
  return rc == SQLITE_OK ? put_incarnation(log->db, 0, (int64_t)floor) : rc;
}

/* The start before this one has ended where the head stands now. */
static int put_start(struct vow_log *log, uint64_t number, uint64_t ended_at) {
  int rc = forget_oldest(log);
  for (uint32_t i = log->known_count; rc == SQLITE_OK && i-- > 0;) {
    if (log->known[i].number != 0 && log->known[i].until == ended_at)
      rc = put_incarnation(log->db, log->known[i].number, (int64_t)ended_at);
  }
  return rc == SQLITE_OK ? put_incarnation(log->db, number, STILL_RUNNING) : rc;
}

/* The oldest go where the oldest starts go: what is so old is presumed. An empty one takes away
 * what a start has left that issued none: with a clock that was put back, ids go on in there. */
static int put_gap(struct vow_log *log, const struct vow_id_gap *gap) {
  sqlite3_stmt *put = NULL;
  char sql[160];
  bool empty = vow_id_compare(gap->from, gap->below) == 0;
  const char *change =
      empty ? "DELETE FROM id_gap WHERE from_id = ?1" : "REPLACE INTO id_gap VALUES(?1, ?2, ?3)";
  int rc = sqlite3_prepare_v2(log->db, change, -1, &put, NULL);
  if (rc != SQLITE_OK) return rc;
  sqlite3_bind_blob(put, 1, gap->from.bytes, 16, SQLITE_STATIC);
  if (!empty) {
    sqlite3_bind_blob(put, 2, gap->below.bytes, 16, SQLITE_STATIC);
    sqlite3_bind_int64(put, 3, gap_checksum(gap));
  }
  (void)sqlite3_step(put);
  rc = sqlite3_finalize(put);
  if (rc != SQLITE_OK || log->gap_count < LOG_INCARNATIONS_MAX) return rc;
  snprintf(sql, sizeof sql,
           "DELETE FROM id_gap WHERE from_id NOT IN (SELECT from_id FROM id_gap ORDER BY from_id "
           "DESC LIMIT %d)",
           LOG_INCARNATIONS_MAX);
  return sqlite3_exec(log->db, sql, NULL, NULL, NULL);
}

int log_trust_put(sqlite3 *db, const struct log_trust *trust) {
  sqlite3_stmt *put = NULL;
  int rc = sqlite3_prepare_v2(db, "REPLACE INTO trust VALUES(1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)", -1,
                              &put, NULL);
  if (rc != SQLITE_OK) return rc;
  sqlite3_bind_int64(put, 1, (sqlite3_int64)trust->backup_ms);
  sqlite3_bind_int64(put, 2, (sqlite3_int64)trust->since_ms);
  sqlite3_bind_int64(put, 3, (sqlite3_int64)trust->seen.incarnation);
  sqlite3_bind_int64(put, 4, (sqlite3_int64)trust->seen.position);
  sqlite3_bind_text(put, 5, trust->why, -1, SQLITE_STATIC);
  sqlite3_bind_blob(put, 6, trust->presume_from.bytes, 16, SQLITE_STATIC);
  sqlite3_bind_int64(put, 7, trust_checksum(trust));
  (void)sqlite3_step(put);
  return sqlite3_finalize(put);
}

void log_trust_witness(struct vow_log *log) {
  struct vow_log_position at = {log->incarnation, log->head.position};
  if (log->witness.fd < 0 || vow_log_position_compare(at, log->witnessed) <= 0) return;
  if (log_witness_write(&log->witness, at)) {
    log->witnessed = at;
  } else {
    log->done.witness_failures++;
  }
}

int log_trust_write(struct vow_log *log, const struct log_trust_change *change) {
  int rc = SQLITE_OK;
  for (uint32_t i = 0; rc == SQLITE_OK && i < change->judged_count; i++) {
    rc = put_incarnation(log->db, change->judged[i].number, (int64_t)change->judged[i].until);
  }
  if (rc == SQLITE_OK && change->start != 0) rc = put_start(log, change->start, log->head.position);
  if (rc == SQLITE_OK && change->start != 0) rc = put_gap(log, &change->gap);
  return rc == SQLITE_OK ? log_trust_put(log->db, &change->trust) : rc;
}
