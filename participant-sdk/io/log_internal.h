/*
 * What the files of the log share: log.c (thread, transactions), log_open.c (opening, verifying,
 * reading), log_row.c (rows and checksums), log_convert.c (logs of older versions). Only these
 * include sqlite3.h in participant-sdk/io.
 */
#ifndef VOW_SDK_LOG_INTERNAL_H
#define VOW_SDK_LOG_INTERNAL_H

#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "buf.h"
#include "files.h"
#include "log.h"

/* Prepared once: no SQL is parsed later. A hook's savepoint lies within its job's. */
enum vow_log_statement {
  VOW_LOG_BEGIN,
  VOW_LOG_COMMIT,
  VOW_LOG_ROLLBACK,
  VOW_LOG_JOB_SAVE,
  VOW_LOG_JOB_UNDO,
  VOW_LOG_JOB_KEEP,
  VOW_LOG_HOOK_SAVE,
  VOW_LOG_HOOK_UNDO,
  VOW_LOG_HOOK_KEEP,
  VOW_LOG_PUT,
  VOW_LOG_PUT_MANY,
  VOW_LOG_ERASE,
  VOW_LOG_PUT_COORDINATOR,
  VOW_LOG_PUT_SEEN,
  VOW_LOG_STATEMENTS
};

#define VOW_LOG_MANY 8 /* records that VOW_LOG_PUT_MANY puts */

struct vow_log {
  sqlite3 *db;
  const struct vow_resource *resource; /* NULL: a file of its own */
  bool attached;
  int lock_fd; /* of "<database>-vow.lock", with a resource; else -1 */
  char *path;  /* owned; absolute, of the database */
  sqlite3_stmt *statements[VOW_LOG_STATEMENTS];
  struct vow_buf blob; /* of the record that is being written */

  struct vow_log_hooks hooks;
  pthread_t thread;
  bool started, by_callers;

  /* Of whoever writes. */
  bool broken;
  uint32_t wal_pages; /* in the WAL since the last checkpoint */
  uint32_t took_us;   /* the last COMMIT, as far as it counts */
  uint32_t waited_ms; /* for others, to begin a transaction, within it, or to end it */

  pthread_mutex_t lock;
  sem_t wake;                /* as in pool.c: not a condition */
  struct vow_log_job *queue; /* first to last; guarded by lock, as is all up to `stopping` */
  struct vow_log_job **queue_end;
  uint32_t forced_count, patient_count; /* of the first, those that are patient */
  uint32_t lonely;   /* how often in a row the patient had a sync for themselves */
  int callbacks;     /* that run or are about to */
  uint32_t sync_us;  /* took_us, when the last write had ended */
  uint64_t since_us; /* when the first of what is forced came, or, without, of all; or when the
                        last write ended */
  uint64_t asleep_until_us; /* the thread; 0: it is awake, or has been woken */
  bool writing;             /* somebody does */
  bool stopping;

  struct vow_files files;
  atomic_uint_fast64_t files_checked_ms;
  _Atomic(const char *) refuses;
  atomic_uint_fast64_t syncs, records;
};

/* The error of a result code that was returned before anything was committed. */
enum vow_error vow_log_error_of(int code);

/* ---- log_row.c ---- */

extern const char vow_log_schema[];

enum vow_error vow_log_prepare_statements(struct vow_log *log) VOW_MUST_CHECK;
void vow_log_finalize_statements(struct vow_log *log);
/* Runs a statement that returns no rows and readies it for the next time; a SQLite result code. */
int vow_log_run(struct vow_log *log, enum vow_log_statement statement);
/* As it stands beside a record of version 1. */
int64_t vow_log_old_checksum(const struct vow_precord *record);
/* Write within the open transaction; a SQLite result code. */
int vow_log_put(struct vow_log *log, const struct vow_precord *record);
/* The same with another statement, VALUES(row, record), and room for the blob. */
int vow_log_put_with(struct vow_buf *blob, sqlite3_stmt *put, const struct vow_precord *record);
/* All of them with one statement, or none. */
int vow_log_put_many(struct vow_log *log, const struct vow_precord *const records[VOW_LOG_MANY]);
int vow_log_purge(struct vow_log *log, const struct vow_log_job *job);
int vow_log_put_seen(struct vow_log *log, const char *coordinator, struct vow_log_position seen);
/* The column of a row that was asked for last is NULL because SQLite had no memory to hand it out:
 * it is not missing, and the row is not damaged. */
bool vow_log_lacks_memory(sqlite3_stmt *row);
/* VOW_E_LOG_CORRUPT, with the sentence. Of the record only the transaction counts; nil: unknown. */
enum vow_error vow_log_is_damaged(const struct vow_precord *record, char *why, size_t why_bytes);
/* Reads every row, checks it, and hands it to the loader. */
enum vow_error vow_log_read(struct vow_log *log, const struct vow_log_loader *loader, char *why,
                            size_t why_bytes) VOW_MUST_CHECK;

/* ---- log_convert.c ---- */

/* Makes a log of version 1 one of this version, all or nothing. A SQLite result code;
 * SQLITE_CORRUPT, and `why`: one of its records is damaged. */
int vow_log_convert(struct vow_log *log, char *why, size_t why_bytes) VOW_MUST_CHECK;

/* ---- log_open.c ---- */

/* Copies the WAL into the database and looks at all that comes back. VOW_OK also where readers of
 * the application's database are in the way. */
enum vow_error vow_log_checkpoint(struct vow_log *log, int mode, char *why,
                                  size_t why_bytes) VOW_MUST_CHECK;
/* SQLite does it by itself when the last connection closes: not for a WAL that nobody has made sure
 * of, or that a failure has left in doubt. */
void vow_log_checkpoint_on_close(struct vow_log *log, bool wanted);

#endif
