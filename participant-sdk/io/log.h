/*
 * The participant's vote log: the last record of each branch, and the watermark of each
 * coordinator, in SQLite. Either a file of its own, or tables in the application's database (struct
 * vow_resource); then a vote and the work it stands for share one database transaction.
 *
 * There is one connection, and one at a time writes with it: takes all jobs that are queued, runs
 * each within one transaction, where it needs it in a savepoint and where it can with seven others,
 * commits that with one sync, and reports (group commit). It is a thread of the log's own; or
 * whoever brings jobs while nobody writes, and the thread for what waits for company, and for what
 * others have brought meanwhile.
 *
 * What holds:
 *   1. A job is reported as done only after the COMMIT that contains it has returned success with
 *      synchronous=FULL (EXTRA beside a rollback journal, whose deletion must be synced as well).
 *   2. A job is reported as not done only if its record cannot be on disk: its statement failed and
 *      was rolled back, or the transaction was never committed.
 *   3. Any other COMMIT that fails is neither: the row may survive. Then, and after a failed
 *      checkpoint, the log is broken: it reports `broken` once, and no job after that. Only opening
 *      it again tells the truth.
 *   4. Before the first record is handed out at a start, what the last run left in the WAL has been
 *      written once more, checkpointed and synced, and every row and its checksum has been read.
 *
 * Locks: the hooks below are called by who writes, with no lock of the log held; they may lock the
 * participant. vow_log_submit may be called with the participant locked.
 */
#ifndef VOW_SDK_LOG_H
#define VOW_SDK_LOG_H

#include "core/pcore.h"
#include "resource.h"

struct vow_log;

enum vow_log_job_type {
  VOW_LOG_NOTHING = 0, /* what a CALL becomes when its result needs no record: it is undone */
  VOW_LOG_RECORD = 1,
  VOW_LOG_CALL = 2, /* only with a resource: run a hook, then do what `called` makes of the job */
  VOW_LOG_WATERMARK = 3 /* the purge below alone, of no rows */
};

struct vow_log_job {
  enum vow_log_job_type type;
  enum vow_message_type call;       /* of CALL */
  const struct vow_pbranch *branch; /* of CALL */
  struct vow_precord record;        /* of RECORD; what it points to stays until it is reported */
  uint64_t position;
  struct vow_log_position seen; /* of RECORD: of its coordinator's log, kept along; or nothing */
  bool forced;  /* sync now, and report; else it goes with the next that is forced, or within a
                   second */
  bool patient; /* forced, but only the coordinator's bookkeeping waits for it: it may wait for
                   company, as long as a sync takes */
  /* Of RECORD and WATERMARK: a purge in the same transaction. */
  const char *purge_coordinator; /* NULL: none */
  struct vow_id purge_below;
  uint64_t *purge_rows; /* owned; the log puts them in order */
  uint32_t purge_count;
  /* How it went; the log sets these. */
  bool written;
  enum vow_error error;
  struct vow_log_job *next;
};

struct vow_log_hooks {
  void *context;
  /* A hook of the resource has run: turns the job into what comes next for this branch. */
  void (*called)(void *context, struct vow_log_job *job, enum vow_vote vote, enum vow_error error,
                 const char *reason);
  /* A transaction has ended. `error` of each job says how; `why` is for those that failed. */
  void (*done)(void *context, const struct vow_log_job *jobs, const char *why);
  void (*broken)(void *context, enum vow_error error, const char *why);
};

/* At open, for each watermark and then each record. An error stops the opening. */
struct vow_log_loader {
  void *context;
  enum vow_error (*coordinator)(void *context, const char *url, struct vow_id finished_below);
  enum vow_error (*record)(void *context, const struct vow_precord *record);
  /* Between the two; NULL: not wanted. */
  enum vow_error (*seen)(void *context, const char *url, struct vow_log_position seen);
};

/* Opens, verifies and reads the log; `resource` or `path`, the other is NULL. Jobs are taken from
 * vow_log_start on. Blocks: on disk. `why` gets a sentence that says what to do. */
enum vow_error vow_log_open(struct vow_log **out, const char *path,
                            const struct vow_resource *resource,
                            const struct vow_log_loader *loader, char *why,
                            size_t why_bytes) VOW_MUST_CHECK;
/* `by_callers`: vow_log_proceed writes what is queued. */
enum vow_error vow_log_start(struct vow_log *log, const struct vow_log_hooks *hooks,
                             bool by_callers) VOW_MUST_CHECK;
/* Takes the jobs over, queued together; NULL: none. `callbacks`: by how much the number of those
 * changes whose results are still to come; they are worth a moment's wait. Never blocks. True: the
 * caller must let the log proceed, which nobody else will, once it has released its locks. */
bool vow_log_submit(struct vow_log *log, struct vow_log_job *jobs, int callbacks) VOW_MUST_CHECK;
/* Wakes the thread if it must be; by callers, writes before that what is due, unless another does.
 * Then it blocks: on disk, for at most two transactions. Also from a hook. */
void vow_log_proceed(struct vow_log *log);
/* Does what is queued, reports it, and ends the thread. Once. */
void vow_log_stop(struct vow_log *log);
void vow_log_close(struct vow_log *log); /* NULL is fine */

struct vow_log_job *vow_log_job_new(enum vow_log_job_type type); /* NULL: no memory */
void vow_log_job_free(struct vow_log_job *job);

/* Why nothing new should be promised, as a sentence, or NULL: the disk is nearly full, and what
 * ends something has to fit; or the log is not where it was opened, and no start would find what is
 * promised. Looked up at most once a second. Any thread. */
const char *vow_log_refuses(struct vow_log *log, uint64_t now_ms);

struct vow_log_counts {
  uint64_t syncs;
  uint64_t records;
};
void vow_log_counts(struct vow_log *log, struct vow_log_counts *out);

#endif
