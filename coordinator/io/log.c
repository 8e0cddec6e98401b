/*
 * The log as its owner sees it: opening, queueing, asking, and hearing what became of it.
 * Everything here runs on the owner's thread and holds the mutex only to move pointers; the disk is
 * the log thread's business (log_thread.c).
 */
#include "io/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/log_internal.h"
#include "io/record.h"

uint64_t log_now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t log_now_ms(void) {
  return log_now_us() / 1000;
}

uint64_t log_wall_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void log_explain(char why[VOW_LOG_WHY_BYTES], const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(why, VOW_LOG_WHY_BYTES, format, arguments);
  va_end(arguments);
}

/* ---- what SQLite says ---- */

static enum vow_error classify(int rc, int error_number, const char **advice) {
  *advice = "look at the disk and the kernel's messages, then start again";
  switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_MISMATCH:
    case SQLITE_CONSTRAINT:
      *advice = "run `vowctl check` on it, then restore it from a backup";
      return VOW_E_LOG_CORRUPT;
    case SQLITE_FULL:
      *advice = "free some space";
      return VOW_E_LOG_FULL;
    case SQLITE_READONLY:
    case SQLITE_PERM:
      *advice = "make it and its folder writable for this user";
      return VOW_E_LOG_READ_ONLY;
    case SQLITE_CANTOPEN:
      *advice = "look at the permissions of the file and its folder";
      return error_number == EACCES || error_number == EPERM || error_number == EROFS
                 ? VOW_E_LOG_READ_ONLY
                 : VOW_E_LOG_IO;
    case SQLITE_NOMEM:
      *advice = "give this process more memory";
      return VOW_E_NO_MEMORY;
    default:
      if (error_number == EFBIG)
        *advice = "raise the limit on the size of a file (ulimit -f), then start again";
      return VOW_E_LOG_IO;
  }
}

/* A COMMIT that fails leaves it to the file that it wrote. */
static int system_error(sqlite3 *db, int rc) {
  sqlite3_file *wal = NULL;
  int number = sqlite3_system_errno(db);
  if (number == 0 && (rc & 0xff) == SQLITE_IOERR &&
      sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal) == SQLITE_OK &&
      wal->pMethods != NULL) {
    (void)wal->pMethods->xFileControl(wal, SQLITE_FCNTL_LAST_ERRNO, &number);
  }
  return number;
}

enum vow_error log_sqlite_error(struct vow_log *log, int rc, const char *what,
                                char why[VOW_LOG_WHY_BYTES]) {
  if ((rc & 0xff) == SQLITE_BUSY) return log_locked(log->path, why);
  if (rc == SQLITE_IOERR_NOMEM) rc = SQLITE_NOMEM;
  char text[128] = "";
  const char *advice;
  int error_number = log->db == NULL ? 0 : system_error(log->db, rc);
  enum vow_error error = classify(rc, error_number, &advice);
  if (error == VOW_E_LOG_CORRUPT && log->read_only) advice = "nothing was changed";
  const char *reason =
      error_number == 0 ? "no system error" : strerror_r(error_number, text, sizeof text);
  log_explain(why, "the log %s: %s failed: %s (SQLite code %d, %s); %s", log->path, what,
              sqlite3_errstr(rc), rc, reason, advice);
  return error;
}

/* ---- opening and closing ---- */

static void set_limits(struct log_limits *limits, const struct vow_log_config *config) {
  limits->lazy_flush_ms = config->lazy_flush_ms;
  limits->wal_bytes_max = config->wal_bytes_max;
  limits->reserve_bytes = config->reserve_bytes;
  limits->retention_age_ms = config->retention_age_ms;
  limits->retention_count = config->retention_count;
  limits->purge_step = config->purge_step == 0 ? 1 : config->purge_step;
}

static enum vow_error new_log(struct vow_log **out, const struct vow_log_config *config) {
  pthread_condattr_t attributes;
  struct vow_log *log = calloc(1, sizeof *log);
  if (log == NULL) return VOW_E_NO_MEMORY;
  log->wake = config->wake;
  log->wake_context = config->wake_context;
  log->lend_max_us = config->lend_max_us;
  log->ahead_min = config->ahead_min == 0 ? LOG_AHEAD_MIN : config->ahead_min;
  log->read_only = config->read_only;
  log->lock_fd = -1;
  log->witness.fd = -1;
  set_limits(&log->limits, config);
  vow_buf_init(&log->scratch.record, LOG_RECORD_BYTES_MAX);
  pthread_mutex_init(&log->mutex, NULL);
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&log->wanted, &attributes);
  pthread_condattr_destroy(&attributes);
  *out = log;
  return VOW_OK;
}

static void free_log(struct vow_log *log) {
  log_batch_fini(&log->queue);
  for (uint32_t i = 0; i < LOG_TAKEN_MAX; i++) log_batch_fini(&log->taken[i]);
  log_entry_fini(&log->scratch);
  pthread_cond_destroy(&log->wanted);
  pthread_mutex_destroy(&log->mutex);
  free(log->path);
  free(log->folder);
  free(log->reserve);
  free(log->witness_path);
  free(log->known);
  free(log->gaps);
  free(log->strays);
  free(log->advertise_url);
  free(log);
}

static void fill_info(struct vow_log *log) {
  struct vow_log_info *info = &log->info;
  info->starts = log->head.starts;
  info->incarnation = log->incarnation;
  info->known = log->known;
  info->known_count = log->known_count;
  info->gaps = log->gaps;
  info->gap_count = log->gap_count;
  info->position = log->head.position;
  info->id_ceiling = log->head.ceiling;
  info->id_from = log->id_from;
  info->created_ms = log->head.created_ms;
  info->ended = log->head.ended;
  info->advertise_url = log->head.advertise_url;
  info->quarantined_ms = log->trust.since_ms;
  info->seen = log->trust.seen;
  info->presume_from = log->trust.presume_from;
  info->backup_ms = log->trust.backup_ms;
  log_explain(info->why, "%s", log->trust.why);
}

/* SQLite refuses it when it is in use already; then all is as it was. */
void vow_log_process_init(void) {
  (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

enum vow_error vow_log_open(struct vow_log **out, const struct vow_log_config *config,
                            char why[VOW_LOG_WHY_BYTES]) {
  struct vow_log *log;
  log_explain(why, "out of memory");
  enum vow_error error = new_log(&log, config);
  if (error != VOW_OK) return error;
  error = log_database_open(log, config, why);
  if (error != VOW_OK) {
    log_database_close(log, false);
    free_log(log);
    return error;
  }
  if (!log->read_only) {
    vow_files_note(&log->files, log->path);
    log_space_open(log);
  }
  log->appended = log->progress.durable = log->head.position;
  fill_info(log);
  log->progress.refuses = log_refuses(log);
  log->counts = log->done;
  log->counts.database_bytes = log->database_bytes;
  log->wrote_ms = log_now_ms();
  *out = log;
  return VOW_OK;
}

/* Every query gets its answer, also those that were still waiting. */
static void answer_all(struct vow_log *log) {
  struct log_query *query;
  while ((query = log_query_pop(&log->queries)) != NULL) {
    log_query_fail(query, VOW_E_DRAINING, "the log is being closed");
    log_query_push(&log->finished, query);
  }
  while ((query = log_query_pop(&log->finished)) != NULL) {
    query->q.done(query->q.context, &query->result);
    log_query_free(query);
  }
}

static void stop_thread(struct vow_log *log) {
  if (!log->started) return;
  pthread_mutex_lock(&log->mutex);
  log->stopping = true;
  log->filling = false;
  pthread_cond_signal(&log->wanted);
  pthread_mutex_unlock(&log->mutex);
  pthread_join(log->thread, NULL);
  log->started = false;
}

enum vow_error vow_log_finish(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  enum vow_error error = VOW_OK;
  stop_thread(log);
  answer_all(log);
  if (log->failed) {
    log_explain(why, "%s", log->progress.why);
    error = log->progress.error;
  } else if (!log->read_only && !log->ended) {
    error = log_checkpoint(log, SQLITE_CHECKPOINT_TRUNCATE, why);
    log->clean = error == VOW_OK;
  }
  log->ended = true;
  return error;
}

void vow_log_close(struct vow_log *log) {
  char why[VOW_LOG_WHY_BYTES];
  if (log == NULL) return;
  (void)vow_log_finish(log, why);
  log_database_close(log, log->clean || log->tidy_on_close);
  free_log(log);
}

void vow_log_info(const struct vow_log *log, struct vow_log_info *out) {
  *out = log->info;
}

enum vow_error vow_log_start(struct vow_log *log) {
  if (log->read_only || log->started) return VOW_E_INVALID_ARGUMENT;
  /* Signals are the owner's; and a file size limit then fails a write instead of the process. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  log->started = true;
  int failed = pthread_create(&log->thread, NULL, log_thread_main, log);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed == 0) return VOW_OK;
  log->started = false;
  return VOW_E_NO_MEMORY;
}

void vow_log_reconfigure(struct vow_log *log, const struct vow_log_config *config) {
  pthread_mutex_lock(&log->mutex);
  set_limits(&log->new_limits, config);
  log->limits_changed = true;
  pthread_cond_signal(&log->wanted);
  pthread_mutex_unlock(&log->mutex);
}

/* ---- queueing ---- */

/* A branch that was settled by hand has not acknowledged, so its participant may still come back
 * and ask. Were the commit purged by then, it would be told that it was presumably aborted. */
static bool may_be_asked_for(const struct vow_txn *txn) {
  if (txn->state != VOW_TXN_COMMITTED) return false; /* what is open is not purged */
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    if (txn->branches[i].resolved) return true;
  }
  return false;
}

enum vow_error log_encode(struct log_entry *entry, const struct vow_action *action) {
  const struct vow_txn *txn = action->u.log.txn;
  vow_buf_reset(&entry->record);
  vow_record_write(&entry->record, txn);
  if (entry->record.error != VOW_OK) return VOW_E_NO_MEMORY;
  free(entry->key);
  entry->key = NULL;
  if (txn->idempotency_key != NULL) {
    entry->key = strdup(txn->idempotency_key);
    if (entry->key == NULL) return VOW_E_NO_MEMORY;
  }
  entry->id = txn->id;
  entry->position = action->u.log.position;
  entry->first = action->u.log.first;
  entry->state = (int)txn->state;
  entry->heuristic = (int)txn->heuristic;
  entry->kept = (txn->heuristic != VOW_HEURISTIC_NONE && !txn->forgotten) || may_be_asked_for(txn);
  entry->created_ms = txn->created_ms;
  entry->ended_ms = txn->ended_ms;
  return VOW_OK;
}

static struct log_trust_change quarantine(const struct vow_log *log,
                                          const struct vow_action *action) {
  struct log_trust_change change = {.trust = {.presume_from = log->info.presume_from}};
  log_trust_suspect(&change.trust, action->u.log.seen,
                    "%.200s has seen it at position %llu of incarnation %llu, where it never was",
                    action->u.log.by, (unsigned long long)action->u.log.seen.position,
                    (unsigned long long)action->u.log.seen.incarnation);
  return change;
}

/* With the mutex held. */
static enum vow_error enqueue(struct vow_log *log, const struct vow_action *action) {
  struct log_batch *queue = &log->queue;
  if (action->u.log.record == VOW_RECORD_TXN) {
    uint32_t before = queue->count;
    enum vow_error error = log_batch_put(queue, &log->scratch);
    if (error != VOW_OK) return error;
    if (queue->count == before) log->counts.joined++;
  } else if (action->u.log.record == VOW_RECORD_QUARANTINE) {
    queue->trust = quarantine(log, action);
    queue->has_trust = true;
  } else {
    queue->ceiling = action->u.log.ceiling;
    queue->has_ceiling = true;
  }
  if (queue->position == 0) queue->since_ms = log_now_ms();
  queue->position = action->u.log.position;
  queue->forced |= action->u.log.forced;
  log->company.fresh |= action->u.log.forced;
  log->company.waiting += action->u.log.forced;
  log->counts.records++;
  return VOW_OK;
}

enum vow_error vow_log_append(struct vow_log *log, const struct vow_action *action) {
  if (action->type != VOW_ACTION_LOG || action->u.log.position <= log->appended)
    return VOW_E_INVALID_ARGUMENT;
  enum vow_error error = VOW_OK;
  if (action->u.log.record == VOW_RECORD_TXN) error = log_encode(&log->scratch, action);
  if (error != VOW_OK) return error;
  pthread_mutex_lock(&log->mutex);
  error = enqueue(log, action);
  if (error == VOW_OK) log->filling = true;
  bool wake = error == VOW_OK && log_rests(log) && log_ahead_pays(log);
  if (wake) log->asleep_until_us = 0;
  pthread_mutex_unlock(&log->mutex);
  /* Not under the mutex: the thread would wake up only to wait for it. */
  if (wake) pthread_cond_signal(&log->wanted);
  if (error != VOW_OK) return error;
  log->appended = action->u.log.position;
  return VOW_OK;
}

bool vow_log_flush(struct vow_log *log, uint64_t company) {
  if (log->flushed == log->appended) return false;
  log->flushed = log->appended;
  pthread_mutex_lock(&log->mutex);
  log->filling = false;
  log->company.likely = company > log->company.waiting;
  if (log->company.fresh && log->company.steps++ == 0) log->company.since_us = log_now_us();
  log->company.fresh = false;
  bool owners = log_owner_writes(log);
  bool wake = !owners && log_rests(log) &&
              (log_write_due_us(log) < log->asleep_until_us || log->queries.first != NULL);
  if (wake) log->asleep_until_us = 0;
  pthread_mutex_unlock(&log->mutex);
  if (wake) pthread_cond_signal(&log->wanted);
  return owners;
}

/* ---- asking ---- */

enum vow_error vow_log_query(struct vow_log *log, const struct vow_log_query *query) {
  if (!log->started) return VOW_E_INVALID_ARGUMENT;
  struct log_query *copy = log_query_copy(query);
  if (copy == NULL) return VOW_E_NO_MEMORY;
  enum vow_error error = VOW_OK;
  copy->needs = log->appended;
  pthread_mutex_lock(&log->mutex);
  if (log->queries_under_way == VOW_LOG_QUERIES_MAX) {
    error = VOW_E_OVERLOADED;
  } else {
    log->queries_under_way++;
    log_query_push(&log->queries, copy);
    pthread_cond_signal(&log->wanted);
  }
  pthread_mutex_unlock(&log->mutex);
  if (error != VOW_OK) log_query_free(copy);
  return error;
}

enum vow_error vow_log_query_now(struct vow_log *log, const struct vow_log_query *query) {
  if (log->started) return VOW_E_INVALID_ARGUMENT;
  struct log_query *copy = log_query_copy(query);
  if (copy == NULL) return VOW_E_NO_MEMORY;
  if (query->type == VOW_LOG_QUERY_BACKUP) {
    log_backup_start(log, copy);
    while (log->backup != NULL) log_backup_step(log);
  } else {
    log_query_run(log, copy);
    log_query_push(&log->finished, copy);
  }
  answer_all(log);
  return VOW_OK;
}

void vow_log_poll(struct vow_log *log, struct vow_log_progress *out) {
  struct log_query *query, *next;
  pthread_mutex_lock(&log->mutex);
  struct vow_log_progress progress = log->progress;
  query = log->finished.first;
  log->finished = (struct log_query_list){0};
  for (next = query; next != NULL; next = next->next) log->queries_under_way--;
  pthread_mutex_unlock(&log->mutex);
  for (; query != NULL; query = next) {
    next = query->next;
    query->q.done(query->q.context, &query->result);
    log_query_free(query);
  }
  *out = progress;
}

void vow_log_counts(struct vow_log *log, struct vow_log_counts *out) {
  pthread_mutex_lock(&log->mutex);
  *out = log->counts;
  out->queued = log->queue.count;
  for (uint32_t i = 0; i < log->taken_count; i++) out->queued += log->taken[i].count;
  pthread_mutex_unlock(&log->mutex);
}
