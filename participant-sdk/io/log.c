/*
 * See log.h: the queue, the thread, and the transactions.
 */
#include "log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "failpoint.h"
#include "log_internal.h"
#include "reason.h"

#define BATCH_MAX            1000 /* jobs of one transaction */
#define BATCH_SHARED_MAX     64   /* with a resource: other writers of the database wait for it */
#define MANY_BYTES_MAX       4096 /* of the payload of a record that is written with others */
#define TURNS_MAX            2    /* of a caller that writes itself: an intent, and the vote */
#define LAZY_MS              1000 /* how long an unforced record may wait for company */
#define PATIENCE_MAX_US      2000 /* and one that is forced, but patient */
#define LONELY_MAX           4    /* so often in vain, before that is only tried */
#define LONELY_TRIES         32   /* every so many times */
#define CHECKPOINT_PAGES     1000
#define SPACE_RESERVE_BYTES  (8U << 20) /* less than this left: nothing new is begun */
#define FILES_CHECK_EVERY_MS 1000
#define NOW                  0 /* points in time, in microseconds */
#define NEVER                UINT64_MAX

/* One transaction and the jobs in it. */
struct batch {
  struct vow_log *log;
  struct vow_log_job *jobs;
  char why[240]; /* of what failed */
};

struct hook_result {
  enum vow_vote vote;
  enum vow_error error;
  struct vow_reason reason;
};

struct vow_log_job *vow_log_job_new(enum vow_log_job_type type) {
  struct vow_log_job *job = calloc(1, sizeof *job);
  if (job) job->type = type;
  return job;
}

void vow_log_job_free(struct vow_log_job *job) {
  if (!job) return;
  free(job->purge_rows);
  free(job);
}

/* What requests are told of a transaction that did not come about. */
static enum vow_error shown(int code) {
  enum vow_error error = vow_log_error_of(code);
  return error == VOW_E_LOG_LOCKED ? VOW_E_OVERLOADED : error;
}

/* These pass, and leave no doubt before COMMIT; any other failure means that the log needs a look.
 */
static bool is_passing(int code) {
  int primary = code & 0xff;
  return primary == SQLITE_BUSY || primary == SQLITE_LOCKED || primary == SQLITE_FULL ||
         primary == SQLITE_NOMEM || primary == SQLITE_TOOBIG || primary == SQLITE_INTERRUPT;
}

static void note(struct batch *batch, int code) {
  bool locked = vow_log_error_of(code) == VOW_E_LOG_LOCKED;
  (void)snprintf(
      batch->why, sizeof batch->why, "%s",
      locked ? "the database is busy with another writer" : sqlite3_errmsg(batch->log->db));
}

/* A hook that lost the whole transaction says why; what SQLite says may be of what came after. */
static void note_hook(struct batch *batch, int code, const struct hook_result *result) {
  note(batch, code);
  if (sqlite3_get_autocommit(batch->log->db) && result->reason.text[0] != '\0') {
    (void)snprintf(batch->why, sizeof batch->why, "%s", result->reason.text);
  }
}

static void break_log(struct batch *batch, int code) {
  struct vow_log *log = batch->log;
  if (log->broken) return;
  log->broken = true;
  note(batch, code);
  vow_log_checkpoint_on_close(log, false);
  log->hooks.broken(log->hooks.context, vow_log_error_of(code), batch->why);
}

/* ---- hooks of a resource ---- */

static struct vow_work work_of(const struct vow_log_job *job, char text[VOW_ID_TEXT_BYTES]) {
  vow_id_format(job->branch->transaction, text);
  const struct vow_plive *live = job->branch->live;
  return (struct vow_work){.transaction = text,
                           .branch = job->branch->number,
                           .payload = live->payload,
                           .payload_bytes = live->payload_bytes};
}

/* A key that is violated until the end of the transaction would make COMMIT fail for everybody. */
static bool leaves_keys_violated(sqlite3 *db) {
  int violated = 0, highest = 0;
  (void)sqlite3_db_status(db, SQLITE_DBSTATUS_DEFERRED_FKS, &violated, &highest, 0);
  return violated != 0;
}

static void run_hook(struct vow_log *log, const struct vow_log_job *job,
                     struct hook_result *result) {
  const struct vow_resource *resource = log->resource;
  char text[VOW_ID_TEXT_BYTES];
  struct vow_work work = work_of(job, text);
  switch (job->call) {
    case VOW_MESSAGE_PREPARE:
      result->vote = resource->prepare(resource->context, log->db, &work, &result->reason);
      if (VOW_FAILPOINT_FAILS("prepare.after_callback")) result->vote = VOW_VOTE_ABORT;
      break;
    case VOW_MESSAGE_COMMIT:
      result->error = resource->commit(resource->context, log->db, &work, &result->reason);
      if (VOW_FAILPOINT_FAILS("commit.after_callback")) result->error = VOW_E_DATABASE;
      break;
    default:
      result->error = resource->abort(resource->context, log->db, &work, &result->reason);
  }
}

static void hook_failed(struct hook_result *result, enum vow_error error, const char *why) {
  result->vote = VOW_VOTE_ABORT;
  result->error = error;
  (void)snprintf(result->reason.text, sizeof result->reason.text, "%.*s", VOW_REASON_BYTES_MAX,
                 why);
}

/* Runs one hook in a savepoint of its own. What it did stays only if it says so. */
static int call_in_savepoint(struct batch *batch, const struct vow_log_job *job,
                             struct hook_result *result) {
  struct vow_log *log = batch->log;
  int code = vow_log_run(log, VOW_LOG_HOOK_SAVE);
  if (code) return code;
  run_hook(log, job, result);
  /* Out of disk or memory SQLite ends the whole transaction by itself. */
  if (sqlite3_get_autocommit(log->db)) return SQLITE_FULL;
  if (leaves_keys_violated(log->db)) {
    hook_failed(result, VOW_E_DATABASE, "a deferred foreign key is violated");
  }
  bool prepare = job->call == VOW_MESSAGE_PREPARE;
  bool keep = prepare ? result->vote == VOW_VOTE_COMMIT : result->error == VOW_OK;
  if (!keep) code = vow_log_run(log, VOW_LOG_HOOK_UNDO);
  if (!code) code = vow_log_run(log, VOW_LOG_HOOK_KEEP);
  return code;
}

/* Runs hooks until the branch wants a record or nothing. A `code` that is an error already, and
 * noted: none is run, all fail with it. */
static int run_calls(struct batch *batch, struct vow_log_job *job, int code) {
  struct vow_log *log = batch->log;
  while (job->type == VOW_LOG_CALL) {
    struct hook_result result = {.vote = VOW_VOTE_ABORT};
    if (!code) {
      code = call_in_savepoint(batch, job, &result);
      if (code) note_hook(batch, code, &result);
    }
    if (code) hook_failed(&result, shown(code), batch->why);
    log->hooks.called(log->hooks.context, job, result.vote, result.error, result.reason.text);
  }
  return code;
}

/* ---- one job ---- */

static int write_job(struct vow_log *log, struct vow_log_job *job) {
  if (job->type == VOW_LOG_NOTHING) return vow_log_run(log, VOW_LOG_JOB_UNDO);
  int code = SQLITE_OK;
  if (job->type == VOW_LOG_RECORD) code = vow_log_put(log, &job->record);
  if (!code && job->purge_coordinator) code = vow_log_purge(log, job);
  return code;
}

/* A job of one statement needs no savepoint: a statement that fails leaves nothing. */
static bool is_one_statement(const struct vow_log_job *job) {
  return job->type == VOW_LOG_RECORD && !job->purge_coordinator;
}

/* False: the transaction is gone, or it has to go, and with it all that was written in it: what is
 * left of a job that failed must not be committed with the others. */
static bool run_job(struct batch *batch, struct vow_log_job *job) {
  struct vow_log *log = batch->log;
  bool saved = !is_one_statement(job);
  int code = saved ? vow_log_run(log, VOW_LOG_JOB_SAVE) : SQLITE_OK;
  if (code) note(batch, code);
  code = run_calls(batch, job, code);
  if (!code) {
    code = write_job(log, job);
    if (code) note(batch, code);
  }
  if (code) {
    job->error = shown(code);
    if (!is_passing(code)) break_log(batch, code);
    if (sqlite3_get_autocommit(log->db)) return false;
    if (saved && vow_log_run(log, VOW_LOG_JOB_UNDO) != SQLITE_OK) return false;
  }
  job->written = !code && job->type != VOW_LOG_NOTHING;
  return !saved || vow_log_run(log, VOW_LOG_JOB_KEEP) == SQLITE_OK;
}

/* As run_job, for records that come together: one statement for many costs little more than half as
 * much a row. *job becomes the last that it wrote. Whose fault it is when it fails only shows when
 * each is tried alone. */
static bool run_many(struct batch *batch, struct vow_log_job **job) {
  struct vow_log *log = batch->log;
  const struct vow_precord *records[VOW_LOG_MANY];
  uint32_t count = 0;
  for (struct vow_log_job *next = *job; next && count < VOW_LOG_MANY; next = next->next) {
    if (!is_one_statement(next) || next->record.payload_bytes > MANY_BYTES_MAX) break;
    records[count++] = &next->record;
  }
  if (count < VOW_LOG_MANY) return run_job(batch, *job);
  int code = vow_log_put_many(log, records);
  bool gone = sqlite3_get_autocommit(log->db);
  if (code && is_passing(code) && !gone) return run_job(batch, *job);
  if (code) {
    note(batch, code);
    (*job)->error = shown(code);
    if (!is_passing(code)) break_log(batch, code);
    return false;
  }
  (*job)->written = true;
  for (; count > 1; count--) {
    *job = (*job)->next;
    (*job)->written = true;
  }
  return true;
}

/* ---- one transaction ---- */

#ifdef VOW_FAILPOINTS
static bool writes(const struct batch *batch, enum vow_precord_kind from,
                   enum vow_precord_kind to) {
  for (const struct vow_log_job *job = batch->jobs; job; job = job->next) {
    if (job->written && job->record.kind >= from && job->record.kind <= to) return true;
  }
  return false;
}

/* True: COMMIT fails here. */
static bool pass_failpoints(const struct batch *batch, bool after) {
  bool fails = false;
  if (writes(batch, VOW_PRECORD_PREPARED, VOW_PRECORD_DECIDED)) {
    fails |= VOW_FAILPOINT_FAILS(after ? "votes.after_log" : "votes.before_log");
  }
  if (writes(batch, VOW_PRECORD_COMMITTED, VOW_PRECORD_COMMITTED)) {
    fails |= VOW_FAILPOINT_FAILS(after ? "commit.after_log" : "commit.before_log");
  }
  if (writes(batch, VOW_PRECORD_ABORTED, VOW_PRECORD_ABORTED)) {
    fails |= VOW_FAILPOINT_FAILS(after ? "abort.after_log" : "abort.before_log");
  }
  return fails;
}
#else
#define pass_failpoints(batch, after) false
#endif

static int run_commit(const struct batch *batch) {
  if (pass_failpoints(batch, false)) return SQLITE_IOERR_WRITE;
  int code = vow_log_run(batch->log, VOW_LOG_COMMIT);
  return !code && pass_failpoints(batch, true) ? SQLITE_IOERR_FSYNC : code;
}

/* Marks what was written as not done. */
static void undo_all(struct batch *batch, int code) {
  for (struct vow_log_job *job = batch->jobs; job; job = job->next) {
    if (job->written) job->error = shown(code);
    job->written = false;
  }
}

/* While the transaction stands open after COMMIT has refused, it has surely not happened. After any
 * other error SQLite has ended it by itself, and what was written of it may survive, as where a
 * full disk lacked room only for the padding behind its last frame. Only opening the log tells; to
 * try it once more, as the coordinator does, would be to run the application's callbacks twice. */
static bool certainly_not_committed(sqlite3 *db, int code) {
  int primary = code & 0xff;
  return !sqlite3_get_autocommit(db) && (primary == SQLITE_BUSY || primary == SQLITE_CONSTRAINT);
}

static uint64_t now_us(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void commit(struct batch *batch) {
  struct vow_log *log = batch->log;
  uint64_t begun_us = now_us();
  int code = run_commit(batch);
  if (!code) {
    uint64_t took_us = now_us() - begun_us;
    log->took_us = took_us < PATIENCE_MAX_US ? (uint32_t)took_us : PATIENCE_MAX_US;
    atomic_fetch_add(&log->syncs, 1);
    uint64_t written = 0;
    for (const struct vow_log_job *job = batch->jobs; job; job = job->next) written += job->written;
    atomic_fetch_add(&log->records, written);
    return;
  }
  note(batch, code);
  if (!certainly_not_committed(log->db, code)) {
    break_log(batch, code);
    return;
  }
  undo_all(batch, code);
  if (vow_log_run(log, VOW_LOG_ROLLBACK) != SQLITE_OK) break_log(batch, code);
}

/* Every job fails with `code` without having been tried. */
static void refuse_all(struct batch *batch, int code) {
  note(batch, code);
  if (!is_passing(code)) {
    break_log(batch, code);
    return;
  }
  for (struct vow_log_job *job = batch->jobs; job; job = job->next) {
    (void)run_calls(batch, job, code);
    job->error = shown(code);
  }
}

/* What the jobs bring of their coordinators' logs: the newest of each, so once a transaction where
 * there is one coordinator. It may be missing; but what SQLite says of it counts. */
static bool write_seen(struct batch *batch) {
  struct vow_log *log = batch->log;
  for (struct vow_log_job *job = batch->jobs, *next; job; job = next) {
    next = job->next;
    while (next && (!next->seen.incarnation || !next->written)) next = next->next;
    if (!job->seen.incarnation || !job->written) continue;
    if (next && next->record.coordinator == job->record.coordinator &&
        vow_log_position_compare(next->seen, job->seen) >= 0) {
      continue;
    }
    int code = vow_log_put_seen(log, job->record.coordinator, job->seen);
    if (!code) continue;
    note(batch, code);
    if (!is_passing(code)) break_log(batch, code);
    return !sqlite3_get_autocommit(log->db);
  }
  return true;
}

/* Without memory even this may fail. It then comes first when the next batch begins. */
static int roll_back(struct vow_log *log) {
  return sqlite3_get_autocommit(log->db) ? SQLITE_OK : vow_log_run(log, VOW_LOG_ROLLBACK);
}

/* The transaction is gone, or has to go: none of the jobs that were tried is done. */
static void give_up(struct batch *batch) {
  undo_all(batch, SQLITE_FULL);
  int code = roll_back(batch->log);
  if (code && !is_passing(code)) break_log(batch, code);
}

/* Returns the jobs that were not reached because the transaction was lost underway. */
static struct vow_log_job *run_batch(struct batch *batch) {
  struct vow_log *log = batch->log;
  int code = roll_back(log);
  log->waited_ms = 0;
  if (!code) code = vow_log_run(log, VOW_LOG_BEGIN);
  if (code) {
    refuse_all(batch, code);
    return NULL;
  }
  for (struct vow_log_job *job = batch->jobs; job; job = job->next) {
    bool standing = run_many(batch, &job);
    if (log->broken) return NULL;
    if (!standing) {
      struct vow_log_job *left = job->next;
      job->next = NULL;
      give_up(batch);
      return left;
    }
  }
  bool standing = write_seen(batch);
  if (log->broken) return NULL;
  if (standing) {
    commit(batch);
  } else {
    give_up(batch);
  }
  return NULL;
}

static void free_jobs(struct vow_log_job *jobs) {
  while (jobs) {
    struct vow_log_job *next = jobs->next;
    vow_log_job_free(jobs);
    jobs = next;
  }
}

static void run_jobs(struct vow_log *log, struct vow_log_job *jobs) {
  while (jobs) {
    struct batch batch = {.log = log, .jobs = jobs};
    jobs = log->broken ? NULL : run_batch(&batch);
    if (!log->broken) log->hooks.done(log->hooks.context, batch.jobs, batch.why);
    free_jobs(batch.jobs);
  }
  if (log->broken || log->wal_pages < CHECKPOINT_PAGES || roll_back(log)) return;
  struct batch checkpoint = {.log = log};
  enum vow_error error =
      vow_log_checkpoint(log, SQLITE_CHECKPOINT_PASSIVE, checkpoint.why, sizeof checkpoint.why);
  /* On a full disk the records are still safe in the WAL, and the next time may find room. */
  if (error && error != VOW_E_LOG_FULL) break_log(&checkpoint, sqlite3_errcode(log->db));
}

/* ---- when to write ---- */

/* With the lock held: when what is queued is to be written if nothing more comes.
 *
 * What is forced waits for nothing, with two exceptions, which last as long as a sync takes and no
 * longer: that costs at most twice of what knowing the future would. Callbacks that return
 * meanwhile share the sync. And an acknowledgement that nobody waits for is not worth a sync of its
 * own while the next vote may be on its way, which would have to wait for it. Where no vote came
 * several times in a row, that is tried again now and then only. */
static uint64_t due_us(const struct vow_log *log) {
  if (log->writing) return NEVER; /* who writes looks again */
  if (log->stopping) return NOW;
  if (!log->queue) return NEVER;
  if (log->forced_count == 0) return log->since_us + LAZY_MS * 1000;
  bool tries = log->lonely < LONELY_MAX || log->lonely % LONELY_TRIES == 0;
  bool waits = tries && log->forced_count == log->patient_count;
  return waits || log->callbacks > 0 ? log->since_us + log->sync_us : NOW;
}

/* With the lock held: whether the thread must be woken, since it sleeps for longer than it may. It
 * is woken once. */
static bool oversleeps(struct vow_log *log) {
  if (due_us(log) >= log->asleep_until_us) return false;
  log->asleep_until_us = NOW;
  return true;
}

/* With the lock held: takes what is queued, at most a batch. */
static struct vow_log_job *take_jobs(struct vow_log *log) {
  struct vow_log_job *jobs = log->queue, **end = &jobs;
  uint32_t jobs_max = log->resource ? BATCH_SHARED_MAX : BATCH_MAX;
  for (uint32_t taken = 0; *end && taken < jobs_max; taken++) {
    log->forced_count -= (*end)->forced;
    log->patient_count -= (*end)->patient;
    end = &(*end)->next;
  }
  log->queue = *end;
  *end = NULL;
  if (!log->queue) log->queue_end = &log->queue;
  return jobs;
}

/* With the lock held: what waited is written now. */
static void end_company(struct vow_log *log) {
  if (log->patient_count == 0) return;
  log->lonely = log->forced_count == log->patient_count ? log->lonely + 1 : 0;
}

/* With the lock held, as on return, but not meanwhile: writes what is queued. */
static void write_queued(struct vow_log *log) {
  end_company(log);
  struct vow_log_job *jobs = take_jobs(log);
  log->writing = true;
  pthread_mutex_unlock(&log->lock);
  run_jobs(log, jobs);
  pthread_mutex_lock(&log->lock);
  log->writing = false;
  log->sync_us = log->took_us;
  if (log->queue) log->since_us = now_us(); /* what came meanwhile waits from now on */
}

/* ---- the thread ---- */

/* With the lock held, as on return: until it is woken, at most until then, or shorter. */
static void sleep_until(struct vow_log *log, uint64_t until_us) {
  struct timespec at = {.tv_sec = (time_t)(until_us / 1000000),
                        .tv_nsec = (long)(until_us % 1000000) * 1000};
  log->asleep_until_us = until_us;
  pthread_mutex_unlock(&log->lock);
  if (until_us == NEVER) {
    (void)sem_wait(&log->wake);
  } else {
    (void)sem_clockwait(&log->wake, CLOCK_MONOTONIC, &at); /* glibc 2.30 */
  }
  pthread_mutex_lock(&log->lock);
  log->asleep_until_us = NOW;
}

/* With the lock held: waits until something is to be written. */
static void await_turn(struct vow_log *log) {
  for (;;) {
    uint64_t until_us = due_us(log);
    if (until_us == NOW || (until_us != NEVER && until_us <= now_us())) return;
    sleep_until(log, until_us);
  }
}

static void *run_thread(void *context) {
  struct vow_log *log = context;
  pthread_mutex_lock(&log->lock);
  for (;;) {
    await_turn(log);
    if (!log->queue) break; /* it stops */
    write_queued(log);
  }
  pthread_mutex_unlock(&log->lock);
  return NULL;
}

enum vow_error vow_log_start(struct vow_log *log, const struct vow_log_hooks *hooks,
                             bool by_callers) {
  log->hooks = *hooks;
  log->by_callers = by_callers;
  if (pthread_create(&log->thread, NULL, run_thread, log) != 0) return VOW_E_NO_MEMORY;
  log->started = true;
  return VOW_OK;
}

/* ---- giving it jobs ---- */

bool vow_log_submit(struct vow_log *log, struct vow_log_job *jobs, int callbacks) {
  struct vow_log_job **end = &jobs;
  uint32_t forced = 0, patient = 0;
  for (; *end; end = &(*end)->next) {
    forced += (*end)->forced;
    patient += (*end)->patient;
  }
  pthread_mutex_lock(&log->lock);
  if (jobs && (!log->queue || (forced > 0 && log->forced_count == 0))) log->since_us = now_us();
  *log->queue_end = jobs;
  if (jobs) log->queue_end = end;
  log->forced_count += forced;
  log->patient_count += patient;
  log->callbacks += callbacks;
  bool proceeds = log->by_callers || oversleeps(log);
  pthread_mutex_unlock(&log->lock);
  return proceeds;
}

void vow_log_proceed(struct vow_log *log) {
  bool wakes = true;
  if (log->by_callers) {
    pthread_mutex_lock(&log->lock);
    for (int turn = 0; turn < TURNS_MAX; turn++) {
      if (!log->queue || due_us(log) != NOW) break;
      write_queued(log);
    }
    wakes = oversleeps(log);
    pthread_mutex_unlock(&log->lock);
  }
  if (wakes) sem_post(&log->wake);
}

void vow_log_stop(struct vow_log *log) {
  if (!log->started) return;
  pthread_mutex_lock(&log->lock);
  log->stopping = true;
  pthread_mutex_unlock(&log->lock);
  sem_post(&log->wake);
  pthread_join(log->thread, NULL);
  log->started = false;
}

/* ---- looked at from outside ---- */

const char *vow_log_refuses(struct vow_log *log, uint64_t now_ms) {
  uint64_t last_ms = atomic_load(&log->files_checked_ms);
  if (last_ms != 0 && now_ms - last_ms < FILES_CHECK_EVERY_MS) return atomic_load(&log->refuses);
  atomic_store(&log->files_checked_ms, now_ms);
  struct statvfs disk;
  const char *why = NULL;
  if (vow_files_moved(&log->files, log->path)) {
    why = "the participant's log was moved, deleted or replaced while it is open";
  } else if (statvfs(log->path, &disk) == 0 &&
             (uint64_t)disk.f_bavail * disk.f_frsize < SPACE_RESERVE_BYTES) {
    why = "the disk of the participant's log is nearly full";
  }
  atomic_store(&log->refuses, why);
  return why;
}

void vow_log_counts(struct vow_log *log, struct vow_log_counts *out) {
  out->syncs = atomic_load(&log->syncs);
  out->records = atomic_load(&log->records);
}
