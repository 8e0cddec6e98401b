/*
 * Writing: the batches that were taken are one SQLite transaction and one sync. The head row goes
 * with it, so the position that stands in the database is always that of its newest record.
 *
 * What a failed COMMIT means (rule 2). Whether the rows survived is unknown, so in general the
 * caller gives up and the process ends. SQLITE_FULL is the exception: SQLite reports it for a write
 * that did not fit (ENOSPC), never for a sync, and every frame of the transaction is written before
 * the first sync. SQLite then rolls back (it says so by returning to autocommit) and the next
 * attempt overwrites the same frames with the same rows or newer ones. Nothing was revealed, so it
 * does not even matter should the frames of the first attempt survive a crash in between: they are
 * what we are about to write again. A disk whose sync fails for lack of space (delayed allocation)
 * is reported as an I/O error and ends the process like any other.
 */
#include <string.h>

#include "failpoint.h"
#include "io/log_internal.h"

static int run(sqlite3_stmt *statement) {
  int rc = sqlite3_step(statement);
  int reset = sqlite3_reset(statement);
  return rc == SQLITE_DONE ? SQLITE_OK : reset != SQLITE_OK ? reset : rc;
}

static int delete_open(struct vow_log *log, const struct vow_id *id) {
  log_row_bind_place(log->statements[LOG_OPEN_DELETE], id, log_place(log, *id));
  return run(log->statements[LOG_OPEN_DELETE]);
}

static int run_with_id(sqlite3_stmt *statement, const struct vow_id *id) {
  sqlite3_bind_blob(statement, 1, id->bytes, 16, SQLITE_STATIC);
  return run(statement);
}

/* ---- rows ----
 *
 * A transaction has one row, in one of the two tables. Its first record takes none away, since
 * there is none, and a tenth of this thread's work was to look for it. That it is the first is
 * known to the core: it has made the transaction itself, with an id that nobody had, and what it
 * took from the log has had a record. Should the first be joined in the queue with those behind it,
 * what is written is the first again; and a batch that does not fit is tried again before what was
 * queued after it. `vowctl check` looks for ids that are in both tables. */

/* Rows of one table that are to be put there, together when there are enough. */
struct rows {
  const struct log_entry *entries[LOG_ROWS];
  uint32_t count;
};

static int put_some_ended(struct vow_log *log, sqlite3_stmt *put,
                          const struct log_entry *const *entries, uint32_t count,
                          struct log_head *head) {
  for (uint32_t i = 0; i < count; i++) log_row_bind(put, (int)i, entries[i]);
  int rc = run(put);
  if (rc != SQLITE_OK) return rc;
  uint32_t fresh = (uint32_t)sqlite3_changes(log->db);
  head->ended += fresh;
  if (fresh == count) return SQLITE_OK;
  /* It had ended before, and an operator's word was added: it may have its turn to be purged. Which
   * of several that is does not matter, the others get what they have. */
  log->purge_from = 0;
  for (uint32_t i = 0; rc == SQLITE_OK && i < count; i++) {
    log_row_bind(log->statements[LOG_ENDED_UPDATE], 0, entries[i]);
    rc = run(log->statements[LOG_ENDED_UPDATE]);
  }
  return rc;
}

static int put_ended(struct vow_log *log, struct rows *rows, struct log_head *head) {
  uint32_t count = rows->count;
  int rc = SQLITE_OK;
  rows->count = 0;
  sqlite3_stmt *many = count == LOG_ROWS ? log_statement_for_many(log, LOG_ENDED_PUT_MANY) : NULL;
  if (many != NULL) return put_some_ended(log, many, rows->entries, LOG_ROWS, head);
  for (uint32_t i = 0; rc == SQLITE_OK && i < count; i++) {
    rc = put_some_ended(log, log->statements[LOG_ENDED_PUT], &rows->entries[i], 1, head);
  }
  return rc;
}

/* A place that another transaction has changes nothing, and the next one is tried. */
int log_put_open(struct vow_log *log, const struct log_entry *entry) {
  sqlite3_stmt *statement = log->statements[LOG_OPEN_PUT];
  int64_t place = log_place(log, entry->id);
  while (true) {
    log_row_bind_open(statement, 0, entry, place);
    int rc = run(statement);
    if (rc != SQLITE_OK) return rc;
    if (sqlite3_changes(log->db) == 1) break;
    place = place == INT64_MAX ? 0 : place + 1;
  }
  return log_place_set(log, entry->id, place) ? SQLITE_OK : SQLITE_NOMEM;
}

/* If a place is taken, each is put alone, which finds another. */
static int put_open(struct vow_log *log, struct rows *rows) {
  uint32_t count = rows->count;
  int rc = SQLITE_OK;
  rows->count = 0;
  sqlite3_stmt *many = count == LOG_ROWS ? log_statement_for_many(log, LOG_OPEN_PUT_MANY) : NULL;
  if (many != NULL) {
    for (uint32_t i = 0; i < count; i++) {
      log_row_bind_open(many, (int)i, rows->entries[i], log_place(log, rows->entries[i]->id));
    }
    rc = run(many);
    if (rc != SQLITE_OK || sqlite3_changes(log->db) == LOG_ROWS) return rc;
  }
  for (uint32_t i = 0; rc == SQLITE_OK && i < count; i++) rc = log_put_open(log, rows->entries[i]);
  return rc;
}

static int write_ended(struct vow_log *log, const struct log_entry *entry, struct rows *rows,
                       struct log_head *head) {
  int rc = entry->first ? SQLITE_OK : delete_open(log, &entry->id);
  if (rc != SQLITE_OK) return rc;
  rows->entries[rows->count++] = entry;
  return rows->count == LOG_ROWS ? put_ended(log, rows, head) : SQLITE_OK;
}

static int write_open(struct vow_log *log, const struct log_entry *entry, struct rows *rows,
                      struct log_head *head) {
  if (entry->first) {
    rows->entries[rows->count++] = entry;
    return rows->count == LOG_ROWS ? put_open(log, rows) : SQLITE_OK;
  }
  int rc = run_with_id(log->statements[LOG_ENDED_DELETE], &entry->id);
  if (rc != SQLITE_OK) return rc;
  head->ended -= (uint64_t)sqlite3_changes(log->db);
  return log_put_open(log, entry);
}

/* ---- purge ----
 *
 * Ended rows stand in the order in which they ended. So a round walks from the oldest on, and is
 * over at the first row that is too young, or with the last. It passes by what is kept, and what
 * bears a time that is yet to come. A clock that was ahead for a while so holds up what is behind
 * only once that time has come, until those rows are old enough: for as long as the clock was ahead
 * or `retention_age_ms`, whichever is less. Rows beyond `retention_count` do not wait for it. A
 * round goes on where its last step stopped. */

struct purge {
  sqlite3_int64 from; /* rowid: the round has looked up to it */
  uint64_t rows;
  struct vow_id commit; /* the highest id of a commit among them; nil: none is */
  bool tired;           /* it stopped since it had looked at many, not at what it found */
};

enum verdict { PURGE, PASS_BY, TOO_YOUNG };

static enum verdict judge(sqlite3_stmt *row, uint64_t ended_by_ms, uint64_t now_ms) {
  uint64_t ended_ms = (uint64_t)sqlite3_column_int64(row, 4);
  if (sqlite3_column_int64(row, 3) != 0) return PASS_BY;
  if (ended_ms <= ended_by_ms) return PURGE;
  return ended_ms > now_ms ? PASS_BY : TOO_YOUNG;
}

static void take(struct purge *purge, sqlite3_stmt *row) {
  struct vow_id id;
  purge->rows++;
  if (sqlite3_column_int64(row, 2) != VOW_TXN_COMMITTED) return;
  const void *bytes = sqlite3_column_blob(row, 1);
  if (bytes == NULL || sqlite3_column_bytes(row, 1) != sizeof id.bytes) return;
  memcpy(id.bytes, bytes, sizeof id.bytes);
  if (vow_id_compare(id, purge->commit) > 0) purge->commit = id;
}

/* Looks for so many rows that are to go, and at a bounded number of others. */
static int walk(struct vow_log *log, uint64_t ended_by_ms, uint64_t rows, struct purge *purge) {
  sqlite3_stmt *row = log->statements[LOG_WALK];
  uint64_t now_ms = log_wall_ms(), left = rows + LOG_PURGE_LOOK_MAX;
  int rc = SQLITE_ROW;
  sqlite3_bind_int64(row, 1, purge->from);
  while (purge->rows < rows && left > 0 && (rc = sqlite3_step(row)) == SQLITE_ROW) {
    enum verdict verdict = judge(row, ended_by_ms, now_ms);
    if (verdict == TOO_YOUNG) break;
    if (verdict == PURGE) take(purge, row);
    purge->from = sqlite3_column_int64(row, 0);
    left--;
  }
  purge->tired = left == 0;
  int reset = sqlite3_reset(row);
  return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : reset != SQLITE_OK ? reset : rc;
}

/* A commit among them moves the horizon. */
static int purge_rows(struct vow_log *log, uint64_t ended_by_ms, uint64_t rows,
                      struct log_head *head, struct purge *done) {
  sqlite3_stmt *statement = log->statements[LOG_PURGE];
  struct purge step = {.from = done->from};
  int rc = walk(log, ended_by_ms, rows, &step);
  if (rc != SQLITE_OK) return rc;
  sqlite3_bind_int64(statement, 1, done->from);
  sqlite3_bind_int64(statement, 2, step.from);
  sqlite3_bind_int64(statement, 3, (sqlite3_int64)ended_by_ms);
  if (step.rows > 0) {
    rc = run(statement);
    if (rc != SQLITE_OK) return rc;
    if ((uint64_t)sqlite3_changes(log->db) != step.rows) return SQLITE_CORRUPT;
  }
  if (vow_id_compare(step.commit, head->purged_to) > 0) head->purged_to = step.commit;
  head->ended -= step.rows;
  done->rows += step.rows;
  done->from = step.from;
  done->tired = step.tired;
  return SQLITE_OK;
}

static uint64_t age_limit(const struct vow_log *log) {
  uint64_t now = log_wall_ms(), age = log->limits.retention_age_ms;
  return age > now ? 0 : now - age;
}

/* One small step: first what is too many, then what is too old, the oldest ends first. */
static int purge(struct vow_log *log, struct log_head *head, struct purge *done) {
  uint64_t step = log->limits.purge_step, count = log->limits.retention_count;
  uint64_t excess = head->ended > count ? head->ended - count : 0;
  int rc = purge_rows(log, INT64_MAX, excess < step ? excess : step, head, done);
  if (rc != SQLITE_OK || done->tired) return rc;
  return purge_rows(log, age_limit(log), step - done->rows, head, done);
}

/* It is durable. */
static void purge_done(struct vow_log *log, const struct purge *done) {
  log->done.purged += done->rows;
  log->purge_due = done->rows >= log->limits.purge_step;
  log->purge_from = log->purge_due || done->tired ? done->from : 0;
  if (done->tired) log->purge_check_ms = 0;
}

bool log_purge_wanted(struct vow_log *log, uint64_t now_ms) {
  if (log->purge_due || now_ms < log->purge_check_ms) return log->purge_due;
  bool many = log->head.ended > log->limits.retention_count;
  struct purge first = {.from = log->purge_from};
  log->purge_check_ms = now_ms + LOG_PURGE_CHECK_MS;
  /* An error here that lasts is found again, and reported, by the next write. Of what was written
   * ahead it may have left nothing, see write_batches. */
  if (walk(log, many ? INT64_MAX : age_limit(log), 1, &first) != SQLITE_OK) return false;
  log->purge_due = first.rows > 0;
  if (log->purge_due) return true;
  log->purge_from = first.tired ? first.from : 0;
  if (first.tired) log->purge_check_ms = now_ms;
  return false;
}

static int write_head(struct vow_log *log, const struct log_head *head) {
  sqlite3_stmt *statement = log->statements[LOG_HEAD_PUT];
  sqlite3_bind_int64(statement, 1, (sqlite3_int64)head->created_ms);
  sqlite3_bind_int64(statement, 2, (sqlite3_int64)head->starts);
  sqlite3_bind_int64(statement, 3, (sqlite3_int64)head->position);
  sqlite3_bind_int64(statement, 4, (sqlite3_int64)head->ended);
  sqlite3_bind_blob(statement, 5, head->ceiling.bytes, 16, SQLITE_STATIC);
  sqlite3_bind_blob(statement, 6, head->purged_to.bytes, 16, SQLITE_STATIC);
  sqlite3_bind_text(statement, 7, head->advertise_url, -1, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 8, log_head_checksum(head));
  int rc = run(statement);
  if (rc == SQLITE_OK && sqlite3_changes(log->db) != 1) rc = SQLITE_CORRUPT;
  return rc;
}

/* ---- batches ---- */

static int write_rows(struct vow_log *log, const struct log_batch *batch) {
  struct rows open_rows = {.count = 0}, ended_rows = {.count = 0};
  int rc = SQLITE_OK;
  for (uint32_t i = 0; rc == SQLITE_OK && i < batch->count; i++) {
    const struct log_entry *entry = &batch->entries[i];
    rc = entry->ended_ms != 0 ? write_ended(log, entry, &ended_rows, &log->next)
                              : write_open(log, entry, &open_rows, &log->next);
  }
  if (rc == SQLITE_OK) rc = put_open(log, &open_rows);
  if (rc == SQLITE_OK) rc = put_ended(log, &ended_rows, &log->next);
  if (batch->position > log->next.position) log->next.position = batch->position;
  if (batch->has_ceiling) log->next.ceiling = batch->ceiling;
  return rc;
}

/* Those that were not written ahead. A read that failed meanwhile, of want of memory or for the
 * disk, has made SQLite take back all that was; then it is written anew. */
static int write_batches(struct vow_log *log, const struct log_batch *batches, uint32_t count) {
  int rc = SQLITE_OK;
  if (sqlite3_get_autocommit(log->db)) log->ahead = 0;
  if (log->ahead == 0) {
    log->next = log->head;
    rc = run(log->statements[LOG_BEGIN]);
  }
  while (rc == SQLITE_OK && log->ahead < count) {
    rc = write_rows(log, &batches[log->ahead]);
    if (rc == SQLITE_OK) log->ahead++;
  }
  return rc;
}

enum vow_error log_undo_ahead(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  log->ahead = 0;
  if (!sqlite3_get_autocommit(log->db)) (void)run(log->statements[LOG_ROLLBACK]);
  if (sqlite3_get_autocommit(log->db)) return VOW_OK;
  log_explain(why, "what was not committed in the log %s could not be rolled back", log->path);
  return VOW_E_LOG_IO;
}

enum vow_error log_write_ahead(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  int rc = write_batches(log, log->taken, log->taken_count);
  if (rc == SQLITE_OK) {
    log->done.ahead++;
    return VOW_OK;
  }
  enum vow_error error = log_sqlite_error(log, rc, "writing it", why);
  if (error != VOW_E_LOG_FULL && error != VOW_E_NO_MEMORY) return error;
  return log_undo_ahead(log, why);
}

/* COMMIT, which at a fail point fails before or after it is done. */
static int commit(struct vow_log *log, const struct log_batch *batches, uint32_t count) {
  bool decisions = false, ends = false, any = false;
  for (uint32_t i = 0; i < count; i++) {
    any |= batches[i].count > 0;
    for (uint32_t k = 0; k < batches[i].count; k++) {
      decisions |= batches[i].entries[k].state == VOW_TXN_COMMITTING;
      ends |= batches[i].entries[k].ended_ms != 0;
    }
  }
  if (decisions && VOW_FAILPOINT_FAILS("decision.in_commit")) return SQLITE_IOERR_WRITE;
  if (ends && VOW_FAILPOINT_FAILS("end.before_log")) return SQLITE_IOERR_WRITE;
  int rc = run(log->statements[LOG_COMMIT]);
  if (any && VOW_FAILPOINT_FAILS("log.after_commit")) return SQLITE_IOERR_FSYNC;
  if (ends && VOW_FAILPOINT_FAILS("end.after_log")) return SQLITE_IOERR_FSYNC;
  return rc;
}

static int write_all(struct vow_log *log, const struct log_batch *batches, uint32_t count,
                     bool with_purge, struct purge *purged) {
  int rc = write_batches(log, batches, count);
  purged->from = log->purge_from;
  if (rc == SQLITE_OK && with_purge) rc = purge(log, &log->next, purged);
  if (rc == SQLITE_OK) rc = write_head(log, &log->next);
  for (uint32_t i = 0; rc == SQLITE_OK && i < count; i++) {
    if (batches[i].has_trust) rc = log_trust_write(log, &batches[i].trust);
  }
  return rc == SQLITE_OK ? commit(log, batches, count) : rc;
}

/* Only now: what is rolled back stands where it stood. */
static void forget_ended(struct vow_log *log, const struct log_batch *batch) {
  for (uint32_t i = 0; i < batch->count && log->stray_count > 0; i++) {
    if (batch->entries[i].ended_ms != 0) log_place_forget(log, batch->entries[i].id);
  }
}

static void written(struct vow_log *log, const struct log_batch *batches, uint32_t count) {
  log->ahead = 0;
  log->head = log->next;
  log->done.batches++;
  log->done.syncs++;
  for (uint32_t i = 0; i < count; i++) {
    forget_ended(log, &batches[i]);
    if (batches[i].has_trust) log->trust = batches[i].trust.trust;
  }
}

enum vow_error log_write(struct vow_log *log, const struct log_batch *batches, uint32_t count,
                         bool with_purge, char why[VOW_LOG_WHY_BYTES]) {
  struct purge purged = {.rows = 0};
  int rc = write_all(log, batches, count, with_purge, &purged);
  if (rc == SQLITE_OK) {
    written(log, batches, count);
    if (with_purge) purge_done(log, &purged);
    log_trust_witness(log);
    return VOW_OK;
  }
  char undo_why[VOW_LOG_WHY_BYTES];
  enum vow_error error = log_sqlite_error(log, rc, "writing it", why);
  enum vow_error undone = log_undo_ahead(log, undo_why);
  if (error != VOW_E_LOG_FULL || undone == VOW_OK) return error;
  log_explain(why, "%s", undo_why);
  return undone;
}

static void look_at_size(struct vow_log *log) {
  sqlite3_file *file = NULL;
  sqlite3_int64 bytes = 0;
  if (sqlite3_file_control(log->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK &&
      file->pMethods->xFileSize(file, &bytes) == SQLITE_OK)
    log->database_bytes = (uint64_t)bytes;
}

/* All three results count (rule 4). BUSY cannot be: nobody else has the file, and no statement of
 * ours is open. FULL is harmless, the WAL still has everything; any other error may have left the
 * page cache and the disk apart, and is final. */
enum vow_error log_checkpoint(struct vow_log *log, int mode, char why[VOW_LOG_WHY_BYTES]) {
  int frames = -1, done = -1;
  int rc = sqlite3_wal_checkpoint_v2(log->db, "main", mode, &frames, &done);
  if (rc != SQLITE_OK) {
    log->done.checkpoint_failures++;
    return log_sqlite_error(log, rc, "writing it back from its write-ahead log", why);
  }
  if (frames < 0 || frames != done) {
    log->done.checkpoint_failures++;
    log_explain(why, "only %d of %d pages of the log %s were written back", done, frames,
                log->path);
    return VOW_E_LOG_IO;
  }
  log->done.checkpoints++;
  if (log->witness.fd >= 0 && !log_witness_sync(&log->witness)) log->done.witness_failures++;
  log->wal_bytes = 0;
  look_at_size(log);
  return VOW_OK;
}
