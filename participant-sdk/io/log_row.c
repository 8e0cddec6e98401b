/*
 * The rows of the log. Each carries a checksum over all its fields: SQLite finds damage to its own
 * structure, not to what we put into it.
 */
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "log_internal.h"
#include "url.h"

#define WALK_KEYS_MIN 4   /* a purge of fewer looks for each */
#define WALK_SPAN_MS  100 /* and one of ids that were made over a longer time */

const char vow_log_schema[] =
    "CREATE TABLE IF NOT EXISTS vow_meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS vow_branch(transaction_id BLOB NOT NULL, branch INTEGER NOT NULL,"
    " kind INTEGER NOT NULL, outcome INTEGER NOT NULL, coordinator TEXT NOT NULL, payload TEXT,"
    " reason TEXT, checksum INTEGER NOT NULL, PRIMARY KEY(transaction_id, branch)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS vow_coordinator(url TEXT PRIMARY KEY, finished_below BLOB NOT NULL,"
    " checksum INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS vow_seen(url TEXT PRIMARY KEY, incarnation INTEGER NOT NULL,"
    " position INTEGER NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;"
    "INSERT OR IGNORE INTO vow_meta VALUES('participant_log_version', '1');";

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

static int64_t record_checksum(const struct vow_precord *record) {
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

/* ---- writing ---- */

static int compare(const struct vow_precord_key *key, const void *id) {
  return memcmp(key->transaction.bytes, id, sizeof key->transaction.bytes);
}

/* The first key that is not below this id, beginning with where the last row was. */
static uint32_t skip_to(struct vow_log_purge *purge, const void *id) {
  while (purge->at > 0 && compare(&purge->keys[purge->at - 1], id) >= 0) purge->at--;
  while (purge->at < purge->count && compare(&purge->keys[purge->at], id) < 0) purge->at++;
  return purge->at;
}

/* vow_purged(transaction_id, branch): it is among the keys that are purged. They are in order, and
 * so, mostly, are the rows that are asked about. */
static void is_purged(sqlite3_context *context, int count, sqlite3_value **row) {
  struct vow_log_purge *purge = sqlite3_user_data(context);
  const void *id = sqlite3_value_blob(row[0]);
  int64_t branch = sqlite3_value_int64(row[1]);
  bool purged = false;
  (void)count;
  if (id && sqlite3_value_bytes(row[0]) == (int)sizeof purge->keys->transaction.bytes) {
    uint32_t i = skip_to(purge, id);
    for (; i < purge->count && compare(&purge->keys[i], id) == 0; i++) {
      purged |= purge->keys[i].branch == branch;
    }
  }
  sqlite3_result_int(context, purged);
}

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
      [VOW_LOG_PUT] = "REPLACE INTO vow_branch VALUES(?,?,?,?,?,?,?,?)",
      [VOW_LOG_ERASE] = "DELETE FROM vow_branch WHERE transaction_id = ? AND branch = ?",
      [VOW_LOG_ERASE_RANGE] = ("DELETE FROM vow_branch WHERE transaction_id BETWEEN ? AND ?"
                               " AND vow_purged(transaction_id, branch)"),
      [VOW_LOG_PUT_COORDINATOR] = "REPLACE INTO vow_coordinator VALUES(?,?,?)",
      [VOW_LOG_PUT_SEEN] = "REPLACE INTO vow_seen VALUES(?,?,?,?)",
  };
  int code = sqlite3_create_function(log->db, "vow_purged", 2, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                     &log->purge, is_purged, NULL, NULL);
  for (int i = 0; !code && i < VOW_LOG_STATEMENTS; i++) {
    code = sqlite3_prepare_v3(log->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &log->statements[i],
                              NULL);
  }
  return code ? vow_log_error_of(code) : VOW_OK;
}

void vow_log_finalize_statements(struct vow_log *log) {
  for (int i = 0; i < VOW_LOG_STATEMENTS; i++) sqlite3_finalize(log->statements[i]);
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

int vow_log_put(struct vow_log *log, const struct vow_precord *record) {
  sqlite3_stmt *put = log->statements[VOW_LOG_PUT];
  int code = bind_id(put, 1, &record->transaction);
  if (!code) code = sqlite3_bind_int64(put, 2, record->branch);
  if (!code) code = sqlite3_bind_int(put, 3, (int)record->kind);
  if (!code) code = sqlite3_bind_int(put, 4, (int)record->outcome);
  if (!code) code = sqlite3_bind_text(put, 5, record->coordinator, -1, SQLITE_STATIC);
  if (!code) {
    code = sqlite3_bind_text64(put, 6, record->payload, record->payload_bytes, SQLITE_STATIC,
                               SQLITE_UTF8);
  }
  if (!code) code = sqlite3_bind_text(put, 7, record->reason, -1, SQLITE_STATIC);
  if (!code) code = sqlite3_bind_int64(put, 8, record_checksum(record));
  return code ? code : run(put);
}

static int erase_each(struct vow_log *log, const struct vow_log_job *job) {
  sqlite3_stmt *erase = log->statements[VOW_LOG_ERASE];
  int code = SQLITE_OK;
  for (uint32_t i = 0; !code && i < job->purge_count; i++) {
    code = bind_id(erase, 1, &job->purge_keys[i].transaction);
    if (!code) code = sqlite3_bind_int64(erase, 2, job->purge_keys[i].branch);
    if (!code) code = run(erase);
  }
  return code;
}

/* One walk from the first key to the last, past the rows between them that stay. */
static int erase_range(struct vow_log *log, const struct vow_log_job *job) {
  sqlite3_stmt *erase = log->statements[VOW_LOG_ERASE_RANGE];
  uint32_t count = job->purge_count;
  log->purge = (struct vow_log_purge){.keys = job->purge_keys, .count = count};
  int code = bind_id(erase, 1, &job->purge_keys[0].transaction);
  if (!code) code = bind_id(erase, 2, &job->purge_keys[count - 1].transaction);
  if (!code) code = run(erase);
  log->purge.at = log->purge.count = 0; /* the keys are the job's */
  return code;
}

/* Many keys are mostly neighbours, and a walk costs half as much as to look for each. It passes
 * other coordinators' rows, too, and those of a long time may be any number. */
static int erase(struct vow_log *log, const struct vow_log_job *job) {
  const struct vow_precord_key *first = job->purge_keys;
  if (job->purge_count < WALK_KEYS_MIN) return erase_each(log, job);
  const struct vow_precord_key *last = first + job->purge_count - 1;
  uint64_t span_ms = vow_id_unix_ms(last->transaction) - vow_id_unix_ms(first->transaction);
  return span_ms > WALK_SPAN_MS ? erase_each(log, job) : erase_range(log, job);
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

static bool read_record(sqlite3_stmt *row, struct vow_precord *out) {
  int64_t branch = sqlite3_column_int64(row, 1);
  int kind = sqlite3_column_int(row, 2), outcome = sqlite3_column_int(row, 3);
  if (!column_id(row, 0, &out->transaction) || branch < 1 || branch > UINT32_MAX ||
      kind < VOW_PRECORD_INTENT || kind > VOW_PRECORD_FORGOTTEN || outcome < VOW_OUTCOME_NONE ||
      outcome > VOW_OUTCOME_HEURISTIC_HAZARD) {
    return false;
  }
  out->branch = (uint32_t)branch;
  out->kind = (enum vow_precord_kind)kind;
  out->outcome = (enum vow_outcome)outcome;
  out->coordinator = column_text(row, 4);
  out->payload = column_text(row, 5);
  out->payload_bytes = out->payload ? (size_t)sqlite3_column_bytes(row, 5) : 0;
  out->reason = column_text(row, 6);
  return out->coordinator && strlen(out->coordinator) <= VOW_URL_BYTES_MAX &&
         sqlite3_column_int64(row, 7) == record_checksum(out);
}

static enum vow_error on_branch(sqlite3_stmt *row, const struct vow_log_loader *loader, char *why,
                                size_t why_bytes) {
  struct vow_precord record = {.kind = VOW_PRECORD_NONE};
  if (read_record(row, &record)) return loader->record(loader->context, &record);
  char text[VOW_ID_TEXT_BYTES] = "?";
  struct vow_id id;
  if (column_id(row, 0, &id)) vow_id_format(id, text);
  (void)snprintf(why, why_bytes,
                 "the record of transaction %s is damaged (checksum); restore the file, or have"
                 " the coordinator's operator resolve what is open",
                 text);
  return VOW_E_LOG_CORRUPT;
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
  return read_table(log, "SELECT * FROM vow_branch", on_branch, loader, why, why_bytes);
}
