/*
 * The log thread: it sleeps until something is due, does one piece of work, and looks again. Order
 * of work, and why:
 *
 *   write     when a forced record waits and does not expect company, or an unforced one waits for
 *             long enough, or a query asks about it: takes the whole queue, and with what it has
 *             written ahead it is one transaction, one sync; then says how far it is durable
 *   ahead     when many records wait and none of that is due: writes their rows, without COMMIT
 *   query     for a short while after a write even if the next one is due: readers never starve
 *   backup    a few pages after every write, and whenever nothing else is due
 *   tidy      checkpoint, purge, disk and files: when it is quiet; under load in or after a batch
 *   stop      when all of that has been done
 *
 * Because a write takes the whole queue, everything up to the newest position taken is written, or
 * superseded by a newer image in the same transaction, once its COMMIT returns: that position is
 * durable.
 *
 * After log_fail nothing is written any more; queries are answered with the failure.
 */
#include <string.h>
#include <time.h>

#include "io/log_internal.h"

#define TICK_MS        10000 /* an idle log looks at its disk and its retention this often */
#define COMPANY_MAX_US 2000
#define LONELY_MAX     4
#define LONELY_TRIES   32

#define LENT_RECORDS_MAX 32

enum job { JOB_WAIT, JOB_WRITE, JOB_AHEAD, JOB_QUERY, JOB_BACKUP, JOB_TIDY, JOB_STOP };

static uint64_t min_u64(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

/* ---- telling the owner ---- */

/* With the mutex held. */
static void copy_counts(struct vow_log *log) {
  log->counts.batches = log->done.batches;
  log->counts.syncs = log->done.syncs;
  log->counts.checkpoints = log->done.checkpoints;
  log->counts.checkpoint_failures = log->done.checkpoint_failures;
  log->counts.purged = log->done.purged;
  log->counts.witness_failures = log->done.witness_failures;
  log->counts.wal_bytes = log->wal_bytes;
  log->counts.database_bytes = log->database_bytes;
}

static void publish(struct vow_log *log) {
  pthread_mutex_lock(&log->mutex);
  log->progress.durable = log->head.position;
  log->progress.refuses = log_refuses(log);
  copy_counts(log);
  pthread_mutex_unlock(&log->mutex);
  if (log->wake != NULL) log->wake(log->wake_context);
}

void log_fail(struct vow_log *log, enum vow_error error, const char *why) {
  pthread_mutex_lock(&log->mutex);
  if (log->progress.error == VOW_OK) {
    log->progress.error = error;
    log_explain(log->progress.why, "%s", why);
  }
  copy_counts(log);
  pthread_mutex_unlock(&log->mutex);
  log->failed = true;
  if (log->wake != NULL) log->wake(log->wake_context);
}

void log_query_finish(struct vow_log *log, struct log_query *query) {
  pthread_mutex_lock(&log->mutex);
  log_query_push(&log->finished, query);
  pthread_mutex_unlock(&log->mutex);
  if (log->started && log->wake != NULL) log->wake(log->wake_context);
}

/* ---- work ---- */

static void checkpoint(struct vow_log *log, uint64_t now) {
  char why[VOW_LOG_WHY_BYTES];
  if (now < log->checkpoint_retry_ms) return;
  enum vow_error error = log_checkpoint(log, SQLITE_CHECKPOINT_RESTART, why);
  if (error == VOW_E_LOG_FULL && log_space_release(log))
    error = log_checkpoint(log, SQLITE_CHECKPOINT_RESTART, why);
  if (error == VOW_E_LOG_FULL) {
    log->low = true;
    log->checkpoint_retry_ms = now + LOG_FULL_RETRY_MS;
  } else if (error != VOW_OK) {
    log_fail(log, error, why);
  }
}

/* Where the log is not what was opened nothing new is begun. What is open goes on: its participants
 * wait for it, and as long as this process lives the files can be had from /proc (the runbook says
 * how). */
static void check_files(struct vow_log *log, uint64_t now) {
  log->moved = vow_files_moved(&log->files, log->path);
  log_space_check(log, now);
}

static bool take_turn_to_purge(struct vow_log *log, uint64_t now) {
  if (++log->batches_since_purge < LOG_PURGE_EVERY) return false;
  log->batches_since_purge = 0;
  return log_purge_wanted(log, now);
}

/* A full disk holds the batch up, in order: nothing behind it is written before it. */
static void wait_for_space(struct vow_log *log, bool stopping, const char *why) {
  log->stuck = log->low = true;
  log->retry_ms = log_now_ms() + LOG_FULL_RETRY_MS;
  if (stopping) log_fail(log, VOW_E_LOG_FULL, why);
}

/* On a full disk: first what the reserve gives; then the WAL is written back, because it is filled
 * from its beginning again after that and takes no new room. */
static enum vow_error write_somehow(struct vow_log *log, bool purge, char why[VOW_LOG_WHY_BYTES]) {
  enum vow_error error = log_write(log, log->taken, log->taken_count, purge, why);
  if (error == VOW_E_LOG_FULL && log_space_release(log))
    error = log_write(log, log->taken, log->taken_count, false, why);
  if (error == VOW_E_LOG_FULL && log->wal_bytes > 0) {
    error = log_checkpoint(log, SQLITE_CHECKPOINT_RESTART, why);
    if (error == VOW_OK) error = log_write(log, log->taken, log->taken_count, false, why);
  }
  return error;
}

static void drop_taken(struct vow_log *log) {
  pthread_mutex_lock(&log->mutex);
  uint32_t count = log->taken_count;
  log->taken_count = 0;
  log->company.since_us = log_now_us(); /* what came meanwhile waits from now on */
  pthread_mutex_unlock(&log->mutex);
  for (uint32_t i = 0; i < count; i++) log_batch_reset(&log->taken[i]);
}

static void write_queue(struct vow_log *log, bool stopping) {
  char why[VOW_LOG_WHY_BYTES];
  uint64_t now = log_now_ms();
  bool purge = !log->stuck && !log->lent && take_turn_to_purge(log, now);
  uint64_t begun_us = log_now_us();
  enum vow_error error = write_somehow(log, purge, why);
  if (error == VOW_E_LOG_FULL) {
    wait_for_space(log, stopping, why);
  } else if (error != VOW_OK) {
    log_fail(log, error, why);
    return;
  } else {
    log->stuck = false;
    log->company.write_us = min_u64(log_now_us() - begun_us, COMPANY_MAX_US);
    drop_taken(log);
  }
  now = log_now_ms();
  if (now >= log->files_check_ms && !log->lent) check_files(log, now);
  log->wrote_ms = now;
  log->slice_end_ms = now + LOG_QUERY_SLICE_MS;
  log->backup_turn = true;
  publish(log);
  if (log->wal_bytes > log->limits.wal_bytes_max && !log->stuck && !log->lent) checkpoint(log, now);
}

static void write_ahead(struct vow_log *log) {
  char why[VOW_LOG_WHY_BYTES];
  enum vow_error error = log_write_ahead(log, why);
  if (error != VOW_OK) log_fail(log, error, why);
}

/* False: it can not, and nothing else is done from here on. */
static bool undo_ahead(struct vow_log *log) {
  char why[VOW_LOG_WHY_BYTES];
  enum vow_error error = log->failed ? VOW_OK : log_undo_ahead(log, why);
  if (error != VOW_OK) log_fail(log, error, why);
  return error == VOW_OK;
}

static void answer(struct vow_log *log, struct log_query *query) {
  char why[VOW_LOG_WHY_BYTES];
  if (log->failed) {
    pthread_mutex_lock(&log->mutex);
    enum vow_error error = log->progress.error;
    log_explain(why, "%s", log->progress.why);
    pthread_mutex_unlock(&log->mutex);
    log_query_fail(query, error, why);
  } else if (query->q.type == VOW_LOG_QUERY_BACKUP) {
    log_backup_start(log, query);
    return;
  } else {
    log_query_run(log, query);
  }
  log_query_finish(log, query);
}

static bool quiet_enough_to_checkpoint(const struct vow_log *log, uint64_t now) {
  uint64_t quiet_ms = now - log->wrote_ms;
  bool big = log->wal_bytes > log->limits.wal_bytes_max / 4;
  return log->wal_bytes > 0 && quiet_ms >= (big ? LOG_IDLE_MS : LOG_IDLE_LONG_MS);
}

static void tidy(struct vow_log *log, uint64_t now) {
  static const struct log_batch nothing;
  char why[VOW_LOG_WHY_BYTES];
  enum vow_error refused = log_refuses(log);
  struct vow_log_counts before = log->done;
  if (now >= log->files_check_ms) check_files(log, now);
  log->purge_check_ms = min_u64(log->purge_check_ms, now);
  if (log_purge_wanted(log, now)) {
    enum vow_error error = log_write(log, &nothing, 1, true, why);
    if (error == VOW_E_LOG_FULL) log->purge_due = false; /* later: nothing is lost by waiting */
    if (error != VOW_OK && error != VOW_E_LOG_FULL) log_fail(log, error, why);
  }
  if (!log->failed && quiet_enough_to_checkpoint(log, now)) checkpoint(log, now);
  log->tidy_ms = log->purge_due ? now : now + TICK_MS;
  if (refused != log_refuses(log) || memcmp(&before, &log->done, sizeof before) != 0) publish(log);
}

/* ---- company ----
 *
 * What is forced waits for nothing, with one exception: while votes of other transactions are under
 * way, their decisions may share its sync. So it waits for as long as a write takes and no longer,
 * which costs at most twice of what knowing the future would; rows are written ahead meanwhile.
 * Where nobody came several times in a row, that is tried again now and then only. And as many as
 * those others are have a write of their own: while it lasts, the others' votes are forced. */

/* With the mutex held: until when; 0: it does not wait. */
static uint64_t company_until_us(const struct vow_log *log) {
  const struct log_company *company = &log->company;
  bool tried = company->lonely < LONELY_MAX || company->lonely % LONELY_TRIES == 0;
  if (!company->likely || company->steps == 0 || !tried) return 0;
  uint64_t until_us = company->since_us + company->write_us;
  return until_us > log_now_us() ? until_us : 0;
}

/* With the mutex held: what waited is written now. */
static void end_company(struct log_company *company) {
  if (company->steps > 1) {
    company->lonely = 0;
  } else if (company->steps == 1 && company->likely) {
    company->lonely++;
  }
  company->steps = 0;
  company->waiting = 0;
}

/* ---- choosing ---- */

bool log_rests(const struct vow_log *log) {
  return log->asleep_until_us != 0 && !log->lent;
}

uint64_t log_write_due_us(const struct vow_log *log) {
  bool forced = log->queue.forced;
  for (uint32_t i = 0; i < log->taken_count; i++) forced |= log->taken[i].forced;
  if (forced) return company_until_us(log);
  const struct log_batch *oldest = log->taken_count > 0 ? &log->taken[0] : &log->queue;
  return (oldest->since_ms + log->limits.lazy_flush_ms) * 1000;
}

/* With the mutex held. */
static bool write_is_due(const struct vow_log *log, uint64_t now_us, uint64_t *until_us) {
  if (log->stuck) {
    uint64_t retry_us = log->retry_ms * 1000;
    *until_us = min_u64(*until_us, retry_us);
    return log->stopping || now_us >= retry_us;
  }
  if (log->filling || (log->queue.position == 0 && log->taken_count == 0)) return false;
  const struct log_query *query = log->queries.first;
  if (log->stopping) return true;
  if (query != NULL && query->needs > log->head.position) return true;
  uint64_t due_us = log_write_due_us(log);
  *until_us = min_u64(*until_us, due_us);
  return now_us >= due_us;
}

/* Not while there is a query or a backup: those are not to see what is not durable, so whatever
 * else is done, what was written ahead is undone first. */
bool log_ahead_pays(const struct vow_log *log) {
  return log->queue.count >= log->ahead_min && log->taken_count < LOG_TAKEN_MAX - 1 &&
         log->queries.first == NULL && log->backup == NULL && !log->stuck;
}

static enum job choose(const struct vow_log *log, uint64_t now_us, uint64_t *until_us) {
  const struct log_query *query = log->queries.first;
  uint64_t now = now_us / 1000;
  *until_us = UINT64_MAX;
  if (log->lent) return JOB_WAIT;
  if (log->failed) return query != NULL ? JOB_QUERY : log->stopping ? JOB_STOP : JOB_WAIT;
  bool write = write_is_due(log, now_us, until_us);
  /* While the disk is full a query sees what is written: an older image, never another outcome. */
  bool ready = query != NULL && (query->needs <= log->head.position || log->stuck);
  if (ready && (!write || now < log->slice_end_ms)) return JOB_QUERY;
  if (log->backup != NULL && log->backup_turn && !log->stopping) return JOB_BACKUP;
  if (write) return JOB_WRITE;
  if (log_ahead_pays(log)) return JOB_AHEAD;
  if (company_until_us(log) != 0) return JOB_WAIT; /* other work could take longer than that */
  if (log->stopping) return JOB_STOP;
  if (log->backup != NULL && !log_backup_waits(log)) return JOB_BACKUP;
  /* After a write more is likely to come. What is not forced need not wake this thread then. */
  uint64_t soon = log->wrote_ms + log->limits.lazy_flush_ms;
  if (now < soon) *until_us = min_u64(*until_us, soon * 1000);
  uint64_t tidy_at = log->tidy_ms;
  if (log->wal_bytes > log->limits.wal_bytes_max / 4)
    tidy_at = min_u64(tidy_at, log->wrote_ms + LOG_IDLE_MS);
  if (log_refuses(log) != VOW_OK || log->wrote_ms + LOG_FILES_CHECK_MS >= log->files_check_ms)
    tidy_at = min_u64(tidy_at, log->files_check_ms);
  *until_us = min_u64(*until_us, tidy_at * 1000);
  return now >= tidy_at ? JOB_TIDY : JOB_WAIT;
}

static void wait_until(struct vow_log *log, uint64_t until_us) {
  log->asleep_until_us = until_us;
  if (until_us == UINT64_MAX) {
    pthread_cond_wait(&log->wanted, &log->mutex);
  } else {
    struct timespec at = {.tv_sec = (time_t)(until_us / 1000000),
                          .tv_nsec = (long)(until_us % 1000000) * 1000};
    (void)pthread_cond_timedwait(&log->wanted, &log->mutex, &at);
  }
  log->asleep_until_us = 0;
}

/* With the mutex held. */
static void take_queue(struct vow_log *log) {
  if (log->queue.position == 0) return;
  struct log_batch empty = log->taken[log->taken_count];
  log->taken[log->taken_count++] = log->queue;
  log->queue = empty;
}

/* What changed may make something due at once. */
static void take_limits(struct vow_log *log) {
  log->limits = log->new_limits;
  log->limits_changed = false;
  log->tidy_ms = log->files_check_ms = 0;
}

/* Sleeps until there is a job and takes what it needs from the shared part. */
static enum job next_job(struct vow_log *log, struct log_query **query, bool *stopping) {
  enum job job;
  uint64_t until_us;
  pthread_mutex_lock(&log->mutex);
  log->counts.ahead = log->done.ahead;
  while (true) {
    if (log->limits_changed && !log->lent) take_limits(log);
    job = choose(log, log_now_us(), &until_us);
    if (job != JOB_WAIT) break;
    wait_until(log, until_us);
  }
  if (job == JOB_QUERY) *query = log_query_pop(&log->queries);
  bool writes = job == JOB_WRITE && !log->stuck;
  if (writes || job == JOB_AHEAD) take_queue(log);
  if (writes) end_company(&log->company);
  *stopping = log->stopping;
  pthread_mutex_unlock(&log->mutex);
  return job;
}

/* ---- lending ----
 *
 * To wake this thread for a write, and the owner when it is done, takes as long as a third of what
 * the write itself does on a fast disk, and with one transaction under way nothing else goes on
 * meanwhile. So that write is the owner's, while this thread sleeps. Not where it could take
 * longer: of many records, on a slow disk, or when other work of this thread comes with it. */

bool log_owner_writes(const struct vow_log *log) {
  if (log->lend_max_us == 0 || log->filling || !log_rests(log)) return false;
  if (log->failed || log->stuck || log->stopping || log->limits_changed) return false;
  if (log->queries.first != NULL || log->backup != NULL || log->taken_count > 0) return false;
  return log->queue.forced && log->queue.count <= LENT_RECORDS_MAX && !log->company.likely &&
         log->company.write_us <= log->lend_max_us && log->wal_bytes <= log->limits.wal_bytes_max;
}

/* With the mutex held. */
static void wake_if_due(struct vow_log *log) {
  uint64_t until_us;
  if (log->asleep_until_us == 0) return;
  if (choose(log, log_now_us(), &until_us) == JOB_WAIT && until_us >= log->asleep_until_us) return;
  log->asleep_until_us = 0;
  pthread_cond_signal(&log->wanted);
}

void vow_log_write(struct vow_log *log) {
  pthread_mutex_lock(&log->mutex);
  if (log_owner_writes(log)) {
    log->lent = true;
    take_queue(log);
    end_company(&log->company);
    pthread_mutex_unlock(&log->mutex);
    write_queue(log, false);
    pthread_mutex_lock(&log->mutex);
    log->lent = false;
  }
  wake_if_due(log);
  pthread_mutex_unlock(&log->mutex);
}

/* ---- the thread ---- */

void *log_thread_main(void *argument) {
  struct vow_log *log = argument;
  struct log_query *query = NULL;
  bool stopping;
  while (true) {
    enum job job = next_job(log, &query, &stopping);
    if (job > JOB_AHEAD && !undo_ahead(log) && job != JOB_QUERY) continue;
    switch (job) {
      case JOB_WRITE:
        write_queue(log, stopping);
        break;
      case JOB_AHEAD:
        write_ahead(log);
        break;
      case JOB_QUERY:
        answer(log, query);
        break;
      case JOB_BACKUP:
        log->backup_turn = false;
        log_backup_step(log);
        break;
      case JOB_TIDY:
        tidy(log, log_now_ms());
        break;
      case JOB_WAIT:
        break;
      case JOB_STOP:
        log_backup_stop(log);
        return NULL;
    }
  }
}
