/*
 * A copy of the log while it is being written (rule 8). Pages are copied a few at a time between
 * batches, over the log's own connection, so what is written meanwhile is carried into the copy by
 * SQLite itself and no commit waits for more than one small step. Syncing and verifying the copy,
 * which takes as long as the file is large, is done by a thread of its own: it touches nothing of
 * the log.
 *
 * The copy grows under another name and gets its own only when it is complete, synced and verified:
 * a file with the name that was asked for is a good backup.
 *
 * A backup's failure is the answer to its query and nothing more; it never fails the log.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/log_internal.h"

struct log_backup {
  struct vow_log *log;
  struct log_query *query;
  char name[PATH_BYTES_MAX]; /* while it grows */
  sqlite3 *to;
  sqlite3_backup *steps;
  bool sealing; /* the thread was started */
  pthread_t sealer;
  bool sealed;            /* under the log's mutex: the thread is done */
  struct log_trust trust; /* what the copy says of itself */
  enum vow_error error;
  char why[VOW_LOG_WHY_BYTES];
};

/* What the operator can do about it; it ends a sentence. */
static const char *advice(int error_number) {
  switch (error_number) {
    case EACCES:
    case EPERM:
    case EROFS:
      return "; the daemon's user must be able to write there, as it is in the folder of its log";
    case ENOENT:
    case ENOTDIR:
      return "; make its folder first";
    case ENOSPC:
    case EDQUOT:
      return "; make room there, or name another disk";
    case ENOMEM:
      return "; give vowd more memory, then try again";
    default:
      return "";
  }
}

static enum vow_error explain_errno(struct log_backup *backup, const char *what, int error_number) {
  char text[128];
  log_explain(backup->why, "the backup %s: cannot %s: %s%s", backup->query->q.path, what,
              strerror_r(error_number, text, sizeof text), advice(error_number));
  return error_number == EEXIST ? VOW_E_BACKUP_EXISTS : VOW_E_BACKUP_IO;
}

static enum vow_error explain_sqlite(struct log_backup *backup, const char *what, int rc) {
  bool full = (rc & 0xff) == SQLITE_FULL, no_memory = (rc & 0xff) == SQLITE_NOMEM;
  log_explain(backup->why, "the backup %s: cannot %s: %s%s", backup->query->q.path, what,
              sqlite3_errstr(rc),
              full        ? advice(ENOSPC)
              : no_memory ? advice(ENOMEM)
                          : "");
  if (no_memory) return VOW_E_NO_MEMORY;
  return (rc & 0xff) == SQLITE_CORRUPT ? VOW_E_LOG_CORRUPT : VOW_E_BACKUP_IO;
}

/* ---- sealing: on a thread of its own ---- */

/* A daemon that is started on the copy must know that it is one: what was decided after it is not
 * in it. Closing would write that back, too, and not say when a sync fails: the mark, or half of
 * it, would stay behind in a write-ahead log. */
static enum vow_error mark_copy(struct log_backup *backup) {
  sqlite3 *db = NULL;
  int rc = sqlite3_open_v2(backup->name, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL);
  if (rc == SQLITE_OK) rc = log_trust_put(db, &backup->trust);
  if (rc == SQLITE_OK)
    rc = sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
  int closed = sqlite3_close(db);
  if (rc == SQLITE_OK) rc = closed;
  return rc == SQLITE_OK ? VOW_OK : explain_sqlite(backup, "mark it", rc);
}

static enum vow_error sync_copy(struct log_backup *backup) {
  int fd = open(backup->name, O_RDWR | O_CLOEXEC);
  if (fd < 0) return explain_errno(backup, "open it", errno);
  int failed = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  return failed == 0 ? VOW_OK : explain_errno(backup, "sync it", failed);
}

static enum vow_error verify_copy(struct log_backup *backup) {
  struct vow_log_config config = {.path = backup->name, .read_only = true};
  struct vow_log_query check = {.type = VOW_LOG_QUERY_CHECK};
  struct vow_log *copy = NULL;
  char why[VOW_LOG_WHY_BYTES];
  enum vow_error error = vow_log_open(&copy, &config, why);
  if (error == VOW_OK) {
    struct log_query *query = log_query_copy(&check);
    if (query == NULL) {
      error = VOW_E_NO_MEMORY;
    } else {
      log_query_run(copy, query);
      error = query->result.error;
      log_explain(why, "%s", error == VOW_OK ? "" : query->why);
    }
    log_query_free(query);
  }
  vow_log_close(copy);
  if (error == VOW_E_NO_MEMORY)
    log_explain(backup->why, "the backup %s: cannot check it: out of memory%s",
                backup->query->q.path, advice(ENOMEM));
  else if (error != VOW_OK)
    log_explain(backup->why, "the backup %s is not good: %.300s", backup->query->q.path, why);
  return error == VOW_E_LOG_IO || error == VOW_E_LOG_FULL ? VOW_E_BACKUP_IO : error;
}

static enum vow_error give_name(struct log_backup *backup) {
  const char *path = backup->query->q.path;
  char copy[PATH_BYTES_MAX];
  snprintf(copy, sizeof copy, "%s", path);
  if (renameat2(AT_FDCWD, backup->name, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
    return explain_errno(backup, "name it", errno);
  char why[VOW_LOG_WHY_BYTES];
  enum vow_error error = log_sync_folder(dirname(copy), why);
  if (error == VOW_OK) return VOW_OK;
  log_explain(
      backup->why,
      "the backup %.200s is there and whole, but may be gone if the machine stops now: %.200s",
      path, why);
  return VOW_E_BACKUP_IO;
}

static void *seal(void *argument) {
  struct log_backup *backup = argument;
  struct vow_log *log = backup->log;
  enum vow_error error = mark_copy(backup);
  if (error == VOW_OK) error = sync_copy(backup);
  if (error == VOW_OK) error = verify_copy(backup);
  if (error == VOW_OK) error = give_name(backup);
  pthread_mutex_lock(&log->mutex);
  backup->error = error;
  backup->sealed = true;
  pthread_cond_signal(&log->wanted);
  pthread_mutex_unlock(&log->mutex);
  return NULL;
}

/* ---- copying: on the log thread ---- */

static void answer(struct vow_log *log, enum vow_error error) {
  struct log_backup *backup = log->backup;
  log->backup = NULL;
  sqlite3_backup_finish(backup->steps);
  sqlite3_close(backup->to);
  if (error != VOW_OK) {
    if (backup->name[0] != '\0') log_remove_all(backup->name);
    log_query_fail(backup->query, error, backup->why);
  }
  log_query_finish(log, backup->query);
  free(backup);
}

static enum vow_error check_path(struct log_backup *backup) {
  const char *path = backup->query->q.path;
  struct stat st;
  if (path == NULL || path[0] != '/') {
    log_explain(backup->why, "the backup's path \"%s\" must be absolute", path == NULL ? "" : path);
    return VOW_E_INVALID_ARGUMENT;
  }
  if (lstat(path, &st) == 0) {
    log_explain(backup->why, "there is something at %s, and it is never overwritten; name another",
                path);
    return VOW_E_BACKUP_EXISTS;
  }
  if (snprintf(backup->name, sizeof backup->name, "%s.partial-XXXXXX", path) >=
      (int)sizeof backup->name) {
    backup->name[0] = '\0';
    return explain_errno(backup, "make it", ENAMETOOLONG);
  }
  int fd = mkostemp(backup->name, O_CLOEXEC); /* mode 0600 */
  if (fd < 0) {
    int error_number = errno;
    backup->name[0] = '\0';
    return explain_errno(backup, "make it", error_number);
  }
  close(fd);
  return VOW_OK;
}

/* No journal and no syncs: until it is sealed, a crash leaves a file that nobody takes for a
 * backup. */
static enum vow_error open_copy(struct log_backup *backup) {
  static const char setup[] =
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;";
  int rc =
      sqlite3_open_v2(backup->name, &backup->to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_exec(backup->to, setup, NULL, NULL, NULL);
  if (rc != SQLITE_OK) return explain_sqlite(backup, "make it", rc);
  backup->steps = sqlite3_backup_init(backup->to, "main", backup->log->db, "main");
  if (backup->steps == NULL) return explain_sqlite(backup, "start it", sqlite3_errcode(backup->to));
  return VOW_OK;
}

void log_backup_start(struct vow_log *log, struct log_query *query) {
  if (log->backup != NULL) {
    log_query_fail(query, VOW_E_OVERLOADED,
                   "another backup is under way; ask again when it is done");
    log_query_finish(log, query);
    return;
  }
  log->backup = calloc(1, sizeof *log->backup);
  if (log->backup == NULL) {
    log_query_fail(query, VOW_E_NO_MEMORY, "out of memory");
    log_query_finish(log, query);
    return;
  }
  log->backup->log = log;
  log->backup->query = query;
  enum vow_error error = check_path(log->backup);
  if (error == VOW_OK) error = open_copy(log->backup);
  if (error != VOW_OK) answer(log, error);
}

static enum vow_error start_sealing(struct log_backup *backup) {
  int rc = sqlite3_backup_finish(backup->steps);
  backup->steps = NULL;
  int closed = sqlite3_close(backup->to);
  backup->to = NULL;
  if (rc == SQLITE_OK) rc = closed;
  if (rc != SQLITE_OK) return explain_sqlite(backup, "finish it", rc);
  backup->trust = backup->log->trust;
  backup->trust.backup_ms = log_wall_ms();
  int failed = pthread_create(&backup->sealer, NULL, seal, backup);
  if (failed != 0) return explain_errno(backup, "start a thread", failed);
  backup->sealing = true;
  return VOW_OK;
}

void log_backup_step(struct vow_log *log) {
  struct log_backup *backup = log->backup;
  if (backup->sealing) {
    pthread_join(backup->sealer, NULL);
    answer(log, backup->error);
    return;
  }
  int rc = sqlite3_backup_step(backup->steps, LOG_BACKUP_STEP_PAGES);
  if (rc == SQLITE_OK) return;
  enum vow_error error =
      rc == SQLITE_DONE ? start_sealing(backup) : explain_sqlite(backup, "copy the log", rc);
  if (error != VOW_OK) answer(log, error);
}

bool log_backup_waits(const struct vow_log *log) {
  return log->backup != NULL && log->backup->sealing && !log->backup->sealed;
}

void log_backup_stop(struct vow_log *log) {
  struct log_backup *backup = log->backup;
  if (backup == NULL) return;
  if (backup->sealing) {
    log_backup_step(log);
    return;
  }
  log_explain(backup->why, "the backup %s was given up: the log is being closed",
              backup->query->q.path);
  answer(log, VOW_E_DRAINING);
}
