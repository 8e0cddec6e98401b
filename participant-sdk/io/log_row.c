/*
 * The rows of the log. Each carries a checksum over all its fields: SQLite finds damage to its own
 * structure, not to what we put into it.
 *
 * Of a branch there is one row, by the number that the core gave it, and in it one blob: while the
 * participant runs nobody asks SQLite for more, and this is what is quick to write.
 */
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "log_internal.h"
#include "url.h"

#define ROW_MAX (INT64_MAX / 2) /* there is always a next one */

/* How the blob begins; numbers have their most significant byte first. Behind it come the texts,
 * each with a zero byte at its end: the coordinator, then the reason and the payload, if any. */
struct head {
  uint8_t checksum[8]; /* of all that follows, seeded with the row: none may change places */
  uint8_t transaction[16];
  uint8_t branch[4];
  uint8_t kind;
  uint8_t outcome;
  uint8_t texts; /* which there are */
};

enum { TEXT_REASON = 1, TEXT_PAYLOAD = 2 };

const char vow_log_schema[] =
    "CREATE TABLE IF NOT EXISTS vow_meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS vow_branch(row INTEGER PRIMARY KEY, record BLOB NOT NULL);"
    "CREATE TABLE IF NOT EXISTS vow_coordinator(url TEXT PRIMARY KEY, finished_below BLOB NOT NULL,"
    " checksum INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS vow_seen(url TEXT PRIMARY KEY, incarnation INTEGER NOT NULL,"
    " position INTEGER NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;"
    "INSERT OR IGNORE INTO vow_meta VALUES('participant_log_version', '2');";

/* ---- checksums ---- */

/* Over parts, each behind its length. One call over a few bytes costs much less than a stream of
 * them, and comes to the same; a stream is begun when there are more. */
struct checksum {
  size_t used;
  bool streams;
  unsigned char bytes[512];
  XXH3_state_t stream;
};

static void begin_checksum(struct checksum *sum) {
  sum->used = 0;
  sum->streams = false;
}

static void pass_on(struct checksum *sum, const void *data, size_t bytes) {
  if (!sum->streams) (void)XXH3_64bits_reset(&sum->stream);
  sum->streams = true;
  (void)XXH3_64bits_update(&sum->stream, data, bytes);
}

static void add_raw(struct checksum *sum, const void *data, size_t bytes) {
  if (bytes > sizeof sum->bytes - sum->used) {
    pass_on(sum, sum->bytes, sum->used);
    sum->used = 0;
  }
  if (bytes > sizeof sum->bytes) {
    pass_on(sum, data, bytes);
    return;
  }
  memcpy(sum->bytes + sum->used, data, bytes);
  sum->used += bytes;
}

static void add_bytes(struct checksum *sum, const void *data, size_t bytes) {
  uint64_t length = data ? bytes : UINT64_MAX;
  add_raw(sum, &length, sizeof length);
  if (data && bytes > 0) add_raw(sum, data, bytes);
}

static void add_text(struct checksum *sum, const char *text) {
  add_bytes(sum, text, text ? strlen(text) : 0);
}

static int64_t end_checksum(struct checksum *sum) {
  if (!sum->streams) return (int64_t)XXH3_64bits(sum->bytes, sum->used);
  pass_on(sum, sum->bytes, sum->used);
  return (int64_t)XXH3_64bits_digest(&sum->stream);
}

static int64_t coordinator_checksum(const char *url, struct vow_id finished_below) {
  struct checksum sum;
  begin_checksum(&sum);
  add_text(&sum, url);
  add_bytes(&sum, finished_below.bytes, sizeof finished_below.bytes);
  return end_checksum(&sum);
}

static int64_t seen_checksum(const char *url, struct vow_log_position seen) {
  struct checksum sum;
  uint64_t numbers[2] = {seen.incarnation, seen.position};
  begin_checksum(&sum);
  add_text(&sum, url);
  add_bytes(&sum, numbers, sizeof numbers);
  return end_checksum(&sum);
}

/* Of a record of version 1; today's rows have checksum_of. */
int64_t vow_log_old_checksum(const struct vow_precord *record) {
  struct checksum sum;
  uint32_t numbers[3] = {record->branch, record->kind, record->outcome};
  begin_checksum(&sum);
  add_bytes(&sum, record->transaction.bytes, sizeof record->transaction.bytes);
  add_bytes(&sum, numbers, sizeof numbers);
  add_text(&sum, record->coordinator);
  add_bytes(&sum, record->payload, record->payload_bytes);
  add_text(&sum, record->reason);
  return end_checksum(&sum);
}

/* ---- writing ---- */

enum vow_error vow_log_prepare_statements(struct vow_log *log) {
  static const char *const texts[VOW_LOG_STATEMENTS] = {
      [VOW_LOG_BEGIN] = "BEGIN IMMEDIATE",
      [VOW_LOG_COMMIT] = "COMMIT",
      [VOW_LOG_ROLLBACK] = "ROLLBACK",
      [VOW_LOG_JOB_SAVE] = "SAVEPOINT vow_job",
      [VOW_LOG_JOB_UNDO] = "ROLLBACK TO vow_job",
      [VOW_LOG_JOB_KEEP] = "RELEASE vow_job",
      [VOW_LOG_HOOK_SAVE] = "SAVEPOINT vow_hook",
      [VOW_LOG_HOOK_UNDO] = "ROLLBACK TO vow_hook",
      [VOW_LOG_HOOK_KEEP] = "RELEASE vow_hook",
      [VOW_LOG_PUT] = "REPLACE INTO vow_branch VALUES(?,?)",
      [VOW_LOG_PUT_MANY] =
          "REPLACE INTO vow_branch VALUES(?,?),(?,?),(?,?),(?,?),(?,?),(?,?),(?,?),(?,?)",
      [VOW_LOG_ERASE] = "DELETE FROM vow_branch WHERE row BETWEEN ? AND ?",
      /* A job of a callback is written before older ones that were queued meanwhile: neither of
       * the two may go back. */
      [VOW_LOG_PUT_COORDINATOR] =
          ("INSERT INTO vow_coordinator VALUES(?,?,?) ON CONFLICT(url) DO UPDATE SET"
           " finished_below = excluded.finished_below, checksum = excluded.checksum"
           " WHERE excluded.finished_below > finished_below"),
      [VOW_LOG_PUT_SEEN] =
          ("INSERT INTO vow_seen VALUES(?,?,?,?) ON CONFLICT(url) DO UPDATE SET"
           " incarnation = excluded.incarnation, position = excluded.position,"
           " checksum = excluded.checksum"
           " WHERE (excluded.incarnation, excluded.position) > (incarnation, position)"),
  };
  _Static_assert(VOW_LOG_MANY == 8, "as many as VOW_LOG_PUT_MANY has");
  int code = SQLITE_OK;
  vow_buf_init(&log->blob, SIZE_MAX);
  for (int i = 0; !code && i < VOW_LOG_STATEMENTS; i++) {
    code = sqlite3_prepare_v3(log->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &log->statements[i],
                              NULL);
  }
  return code ? vow_log_error_of(code) : VOW_OK;
}

void vow_log_finalize_statements(struct vow_log *log) {
  for (int i = 0; i < VOW_LOG_STATEMENTS; i++) sqlite3_finalize(log->statements[i]);
  vow_buf_fini(&log->blob);
}

/* What was bound stays so, and nobody looks at it: all is bound anew before the next time. */
static int run(sqlite3_stmt *statement) {
  (void)sqlite3_step(statement);
  return sqlite3_reset(statement); /* the code of the step, in full */
}

int vow_log_run(struct vow_log *log, enum vow_log_statement statement) {
  return run(log->statements[statement]);
}

static int bind_id(sqlite3_stmt *statement, int index, const struct vow_id *id) {
  return sqlite3_bind_blob(statement, index, id->bytes, sizeof id->bytes, SQLITE_STATIC);
}

static void checksum_of(const struct head *head, size_t bytes, uint64_t row, uint8_t out[8]) {
  size_t covered = bytes - sizeof head->checksum;
  XXH64_canonical_t sum;
  XXH64_canonicalFromHash(&sum, XXH3_64bits_withSeed(head->transaction, covered, row));
  memcpy(out, sum.digest, sizeof sum.digest);
}

static void add_string(struct vow_buf *blob, const char *text, size_t bytes) {
  char *at = vow_buf_extend(blob, bytes + 1);
  if (!at) return;
  memcpy(at, text, bytes);
  at[bytes] = '\0';
}

/* Behind what is in the buffer. False: there is no memory. */
static bool add_blob(struct vow_buf *blob, const struct vow_precord *record) {
  struct head head = {.kind = (uint8_t)record->kind, .outcome = (uint8_t)record->outcome};
  memcpy(head.transaction, record->transaction.bytes, sizeof head.transaction);
  for (int i = 0; i < 4; i++) head.branch[i] = (uint8_t)(record->branch >> (24 - 8 * i));
  if (record->reason) head.texts |= TEXT_REASON;
  if (record->payload) head.texts |= TEXT_PAYLOAD;
  size_t start = blob->bytes;
  vow_buf_append(blob, &head, sizeof head);
  add_string(blob, record->coordinator, strlen(record->coordinator));
  if (record->reason) add_string(blob, record->reason, strlen(record->reason));
  if (record->payload) add_string(blob, record->payload, record->payload_bytes);
  if (blob->error) return false;
  struct head *written = (struct head *)(blob->data + start);
  checksum_of(written, blob->bytes - start, record->row, written->checksum);
  return true;
}

int vow_log_put_with(struct vow_buf *blob, sqlite3_stmt *put, const struct vow_precord *record) {
  vow_buf_reset(blob);
  if (!add_blob(blob, record)) return SQLITE_NOMEM;
  int code = sqlite3_bind_int64(put, 1, (sqlite3_int64)record->row);
  if (!code) code = sqlite3_bind_blob64(put, 2, blob->data, blob->bytes, SQLITE_STATIC);
  return code ? code : run(put);
}

int vow_log_put(struct vow_log *log, const struct vow_precord *record) {
  return vow_log_put_with(&log->blob, log->statements[VOW_LOG_PUT], record);
}

int vow_log_put_many(struct vow_log *log, const struct vow_precord *const records[VOW_LOG_MANY]) {
  sqlite3_stmt *put = log->statements[VOW_LOG_PUT_MANY];
  struct vow_buf *blobs = &log->blob;
  size_t ends[VOW_LOG_MANY], start = 0;
  int code = SQLITE_OK;
  vow_buf_reset(blobs);
  for (int i = 0; i < VOW_LOG_MANY; i++) {
    if (!add_blob(blobs, records[i])) return SQLITE_NOMEM;
    ends[i] = blobs->bytes;
  }
  for (int i = 0; !code && i < VOW_LOG_MANY; i++) {
    code = sqlite3_bind_int64(put, 2 * i + 1, (sqlite3_int64)records[i]->row);
    const char *blob = blobs->data + start;
    if (!code) code = sqlite3_bind_blob64(put, 2 * i + 2, blob, ends[i] - start, SQLITE_STATIC);
    start = ends[i];
  }
  return code ? code : run(put);
}

/* They are few, and mostly in order. */
static void sort(uint64_t *rows, uint32_t count) {
  for (uint32_t i = 1; i < count; i++) {
    uint64_t row = rows[i];
    uint32_t at = i;
    for (; at > 0 && rows[at - 1] > row; at--) rows[at] = rows[at - 1];
    rows[at] = row;
  }
}

/* Branches that come together mostly go together: a statement erases a run of rows, which costs
 * half as much as one for each. */
static int erase(struct vow_log *log, const struct vow_log_job *job) {
  sqlite3_stmt *erase = log->statements[VOW_LOG_ERASE];
  const uint64_t *rows = job->purge_rows;
  int code = SQLITE_OK;
  sort(job->purge_rows, job->purge_count);
  for (uint32_t i = 0, next; !code && i < job->purge_count; i = next) {
    for (next = i + 1; next < job->purge_count && rows[next] == rows[next - 1] + 1;) next++;
    code = sqlite3_bind_int64(erase, 1, (sqlite3_int64)rows[i]);
    if (!code) code = sqlite3_bind_int64(erase, 2, (sqlite3_int64)rows[next - 1]);
    if (!code) code = run(erase);
  }
  return code;
}

int vow_log_purge(struct vow_log *log, const struct vow_log_job *job) {
  int code = erase(log, job);
  if (code) return code;
  sqlite3_stmt *put = log->statements[VOW_LOG_PUT_COORDINATOR];
  code = sqlite3_bind_text(put, 1, job->purge_coordinator, -1, SQLITE_STATIC);
  if (!code) code = bind_id(put, 2, &job->purge_below);
  if (!code) {
    code =
        sqlite3_bind_int64(put, 3, coordinator_checksum(job->purge_coordinator, job->purge_below));
  }
  return code ? code : run(put);
}

int vow_log_put_seen(struct vow_log *log, const char *coordinator, struct vow_log_position seen) {
  sqlite3_stmt *put = log->statements[VOW_LOG_PUT_SEEN];
  int code = sqlite3_bind_text(put, 1, coordinator, -1, SQLITE_STATIC);
  if (!code) code = sqlite3_bind_int64(put, 2, (sqlite3_int64)seen.incarnation);
  if (!code) code = sqlite3_bind_int64(put, 3, (sqlite3_int64)seen.position);
  if (!code) code = sqlite3_bind_int64(put, 4, seen_checksum(coordinator, seen));
  return code ? code : vow_log_run(log, VOW_LOG_PUT_SEEN);
}

/* ---- reading ---- */

static bool column_id(sqlite3_stmt *row, int column, struct vow_id *out) {
  if (sqlite3_column_type(row, column) != SQLITE_BLOB ||
      sqlite3_column_bytes(row, column) != (int)sizeof out->bytes) {
    return false;
  }
  memcpy(out->bytes, sqlite3_column_blob(row, column), sizeof out->bytes);
  return true;
}

static const char *column_text(sqlite3_stmt *row, int column) {
  return (const char *)sqlite3_column_text(row, column);
}

bool vow_log_lacks_memory(sqlite3_stmt *row) {
  return (sqlite3_errcode(sqlite3_db_handle(row)) & 0xff) == SQLITE_NOMEM;
}

/* The text at *at, if it ends before `end`; *at goes behind it. */
static const char *take_string(const char **at, const char *end) {
  const char *text = *at, *zero = memchr(text, '\0', (size_t)(end - text));
  *at = zero ? zero + 1 : end;
  return zero ? text : NULL;
}

static bool read_texts(const struct head *head, size_t bytes, struct vow_precord *out) {
  const char *at = (const char *)(head + 1), *end = (const char *)head + bytes;
  out->coordinator = take_string(&at, end);
  if (!out->coordinator || strlen(out->coordinator) > VOW_URL_BYTES_MAX) return false;
  if (head->texts & TEXT_REASON && !(out->reason = take_string(&at, end))) return false;
  if (!(head->texts & TEXT_PAYLOAD)) return at == end;
  if (at == end || end[-1] != '\0') return false;
  out->payload = at; /* may have zero bytes in it */
  out->payload_bytes = (size_t)(end - at) - 1;
  return true;
}

static bool read_head(const struct head *head, struct vow_precord *out) {
  memcpy(out->transaction.bytes, head->transaction, sizeof head->transaction);
  for (int i = 0; i < 4; i++) out->branch = out->branch << 8 | head->branch[i];
  out->kind = (enum vow_precord_kind)head->kind;
  out->outcome = (enum vow_outcome)head->outcome;
  return out->branch >= 1 && head->kind >= VOW_PRECORD_INTENT &&
         head->kind <= VOW_PRECORD_FORGOTTEN && head->outcome <= VOW_OUTCOME_HEURISTIC_HAZARD &&
         (head->texts & ~(TEXT_REASON | TEXT_PAYLOAD)) == 0;
}

/* *out, as far as it was read, may be shown. */
static bool read_record(sqlite3_stmt *row, struct vow_precord *out) {
  int64_t number = sqlite3_column_int64(row, 0);
  bool blob = sqlite3_column_type(row, 1) == SQLITE_BLOB;
  const struct head *head = blob ? sqlite3_column_blob(row, 1) : NULL;
  size_t bytes = (size_t)sqlite3_column_bytes(row, 1);
  uint8_t sum[sizeof head->checksum];
  if (!head || bytes < sizeof *head) return false;
  checksum_of(head, bytes, (uint64_t)number, sum);
  out->row = (uint64_t)number;
  return read_head(head, out) && memcmp(sum, head->checksum, sizeof sum) == 0 && number >= 1 &&
         number <= ROW_MAX && read_texts(head, bytes, out);
}

enum vow_error vow_log_is_damaged(const struct vow_precord *record, char *why, size_t why_bytes) {
  char text[VOW_ID_TEXT_BYTES] = "?";
  if (!vow_id_is_nil(record->transaction)) vow_id_format(record->transaction, text);
  (void)snprintf(why, why_bytes,
                 "the record of transaction %s is damaged (checksum); restore the file, or have"
                 " the coordinator's operator resolve what is open",
                 text);
  return VOW_E_LOG_CORRUPT;
}

static enum vow_error on_branch(sqlite3_stmt *row, const struct vow_log_loader *loader, char *why,
                                size_t why_bytes) {
  struct vow_precord record = {.kind = VOW_PRECORD_NONE};
  if (!read_record(row, &record)) return vow_log_is_damaged(&record, why, why_bytes);
  enum vow_error error = loader->record(loader->context, &record);
  if (error != VOW_E_LOG_CORRUPT) return error;
  char text[VOW_ID_TEXT_BYTES];
  vow_id_format(record.transaction, text);
  (void)snprintf(why, why_bytes,
                 "there are two records of branch %u of transaction %s; restore the file, or have"
                 " the coordinator's operator resolve what is open",
                 record.branch, text);
  return error;
}

static enum vow_error on_coordinator(sqlite3_stmt *row, const struct vow_log_loader *loader,
                                     char *why, size_t why_bytes) {
  const char *url = column_text(row, 0);
  struct vow_id below;
  if (url && column_id(row, 1, &below) &&
      sqlite3_column_int64(row, 2) == coordinator_checksum(url, below)) {
    return loader->coordinator(loader->context, url, below);
  }
  (void)snprintf(why, why_bytes, "a coordinator's record is damaged (checksum); restore the file");
  return VOW_E_LOG_CORRUPT;
}

static enum vow_error on_seen(sqlite3_stmt *row, const struct vow_log_loader *loader, char *why,
                              size_t why_bytes) {
  const char *url = column_text(row, 0);
  struct vow_log_position seen = {.incarnation = (uint64_t)sqlite3_column_int64(row, 1),
                                  .position = (uint64_t)sqlite3_column_int64(row, 2)};
  if (url && sqlite3_column_int64(row, 3) == seen_checksum(url, seen)) {
    return loader->seen ? loader->seen(loader->context, url, seen) : VOW_OK;
  }
  (void)snprintf(why, why_bytes,
                 "a coordinator's position is damaged (checksum); restore the file");
  return VOW_E_LOG_CORRUPT;
}

static enum vow_error read_table(struct vow_log *log, const char *sql,
                                 enum vow_error (*on_row)(sqlite3_stmt *,
                                                          const struct vow_log_loader *, char *,
                                                          size_t),
                                 const struct vow_log_loader *loader, char *why, size_t why_bytes) {
  sqlite3_stmt *row = NULL;
  enum vow_error error = VOW_OK;
  int code = sqlite3_prepare_v2(log->db, sql, -1, &row, NULL);
  while (!code && !error) {
    code = sqlite3_step(row);
    if (code != SQLITE_ROW) break;
    code = SQLITE_OK;
    error = on_row(row, loader, why, why_bytes);
    if (error == VOW_E_LOG_CORRUPT && vow_log_lacks_memory(row)) {
      error = VOW_E_NO_MEMORY;
      (void)snprintf(why, why_bytes, "out of memory; give this process more");
    }
  }
  if (!error && code != SQLITE_DONE) {
    error = vow_log_error_of(code);
    (void)snprintf(why, why_bytes, "%s", sqlite3_errmsg(log->db));
  }
  sqlite3_finalize(row);
  return error;
}

enum vow_error vow_log_read(struct vow_log *log, const struct vow_log_loader *loader, char *why,
                            size_t why_bytes) {
  enum vow_error error =
      read_table(log, "SELECT * FROM vow_coordinator", on_coordinator, loader, why, why_bytes);
  if (!error) {
    error = read_table(log, "SELECT * FROM vow_seen", on_seen, loader, why, why_bytes);
  }
  if (error) return error;
  return read_table(log, "SELECT * FROM vow_branch ORDER BY row", on_branch, loader, why,
                    why_bytes);
}
