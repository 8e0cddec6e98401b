/*
 * Opening the log: settings that are read back, one process only, and nothing believed before it
 * has been verified (DESIGN of the log: the rules in log.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log_internal.h"

#define LOG_VERSION 2

enum vow_error vow_log_error_of(int code) {
  if (code == SQLITE_IOERR_NOMEM) return VOW_E_NO_MEMORY;
  switch (code & 0xff) {
    case SQLITE_OK:
      return VOW_OK;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return VOW_E_LOG_LOCKED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return VOW_E_LOG_CORRUPT;
    case SQLITE_READONLY:
      return VOW_E_LOG_READ_ONLY;
    case SQLITE_FULL:
      return VOW_E_LOG_FULL;
    case SQLITE_NOMEM:
      return VOW_E_NO_MEMORY;
    default:
      return VOW_E_LOG_IO;
  }
}

struct opening {
  struct vow_log *log;
  const char *name; /* as the caller gave it */
  char *why;
  size_t why_bytes;
};

static enum vow_error explain(const struct opening *o, enum vow_error error, const char *advice) {
  (void)snprintf(o->why, o->why_bytes, "%s: %s", o->name, advice);
  return error;
}

static const char taken[] =
    "another process (or another participant of this one) uses this log; end it, or give each its"
    " own";

/* Says what a result code means for whoever has to mend it. */
static enum vow_error fail(const struct opening *o, int code) {
  enum vow_error error = vow_log_error_of(code);
  switch (error) {
    case VOW_E_LOG_LOCKED: /* of the application's database we hold a lock of our own by now */
      return explain(o, error,
                     o->log->resource ? "the database is busy with another writer or reader; try"
                                        " again"
                                      : taken);
    case VOW_E_LOG_CORRUPT:
      return explain(
          o, error,
          "not a vote log, or damaged; restore it, with no old -wal left beside it, or have"
          " the coordinator's operator resolve the branches that were in doubt");
    case VOW_E_LOG_READ_ONLY:
      return explain(o, error, "cannot be written; mend the permissions or the mount");
    case VOW_E_LOG_FULL:
      return explain(o, error, "the disk is full; make room");
    case VOW_E_NO_MEMORY:
      return explain(o, error, "out of memory; give this process more");
    default:
      if ((code & 0xff) == SQLITE_CANTOPEN) {
        return explain(o, error, "cannot be opened; make its folder, or mend the permissions");
      }
      (void)snprintf(o->why, o->why_bytes, "%s: %s; look at the disk and the kernel's messages",
                     o->name, sqlite3_errstr(code));
      return error;
  }
}

static enum vow_error execute(const struct opening *o, const char *sql) {
  int code = sqlite3_exec(o->log->db, sql, NULL, NULL, NULL);
  return code ? fail(o, code) : VOW_OK;
}

/* The first column of the first row; "" if there is none. */
static enum vow_error ask(const struct opening *o, const char *sql, char *out, size_t out_bytes) {
  sqlite3_stmt *row = NULL;
  const unsigned char *text = NULL;
  int code = sqlite3_prepare_v2(o->log->db, sql, -1, &row, NULL);
  if (!code) code = sqlite3_step(row);
  if (code == SQLITE_ROW) {
    text = sqlite3_column_text(row, 0);
    if (vow_log_lacks_memory(row)) code = SQLITE_NOMEM;
  }
  enum vow_error error = code == SQLITE_ROW || code == SQLITE_DONE ? VOW_OK : fail(o, code);
  if (!error) (void)snprintf(out, out_bytes, "%s", text ? (const char *)text : "");
  sqlite3_finalize(row);
  return error;
}

/* ---- one process only ---- */

/* The application's other processes use the database as well, so SQLite's own lock cannot say who
 * takes part. The file stays: to remove it would race with the next opener. */
static enum vow_error take_lock(const struct opening *o) {
  struct vow_log *log = o->log;
  char name[4096];
  int length = snprintf(name, sizeof name, "%s-vow.lock", log->path);
  if (length < 0 || (size_t)length >= sizeof name) {
    return explain(o, VOW_E_INVALID_ARGUMENT, "the path is too long");
  }
  log->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (log->lock_fd < 0) {
    int code = errno == EROFS || errno == EACCES ? SQLITE_READONLY : SQLITE_CANTOPEN;
    return fail(o, code);
  }
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  if (fcntl(log->lock_fd, F_OFD_SETLK, &whole) == 0) return VOW_OK;
  if (errno == EAGAIN || errno == EACCES) return explain(o, VOW_E_LOG_LOCKED, taken);
  return fail(o, SQLITE_IOERR);
}

/* ---- settings ---- */

static enum vow_error require(const struct opening *o, const char *pragma, const char *value) {
  char text[64];
  enum vow_error error = ask(o, pragma, text, sizeof text);
  if (error || strcmp(text, value) == 0) return error;
  (void)snprintf(o->why, o->why_bytes, "%s: %s is \"%s\" and cannot be \"%s\"", o->name, pragma,
                 text, value);
  return VOW_E_LOG_IO;
}

static enum vow_error configure_own(const struct opening *o) {
  char tables[32], ours[32];
  enum vow_error error = ask(o, "PRAGMA locking_mode=EXCLUSIVE", tables, sizeof tables);
  if (!error) error = ask(o, "SELECT count(*) FROM sqlite_schema", tables, sizeof tables);
  if (!error) {
    error =
        ask(o, "SELECT count(*) FROM sqlite_schema WHERE name = 'vow_branch'", ours, sizeof ours);
  }
  if (!error && strcmp(tables, "0") != 0 && strcmp(ours, "0") == 0) {
    return explain(o, VOW_E_INVALID_ARGUMENT,
                   "a database of something else; the vote log needs a file of its own");
  }
  if (!error) error = require(o, "PRAGMA journal_mode=WAL", "wal");
  if (!error) error = execute(o, "PRAGMA synchronous=FULL");
  if (!error) error = require(o, "PRAGMA synchronous", "2");
  return error;
}

/* Beside a rollback journal, with readers about, a transaction that outgrows the cache asks for
 * their lock again with every page. SQLite's own timeout would begin anew each time; here what was
 * waited within a transaction adds up. BEGIN and COMMIT wait outside of it. The pauses are as long
 * as those of SQLite's own (3.40, sqliteDefaultBusyCallback). */
static int on_busy(void *context, int times) {
  static const int naps_ms[] = {1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50, 100};
  static const int last = sizeof naps_ms / sizeof *naps_ms - 1;
  struct vow_log *log = context;
  if (times == 0 && sqlite3_get_autocommit(log->db)) log->waited_ms = 0;
  if (log->waited_ms >= log->resource->busy_timeout_ms) return 0;
  int nap_ms = naps_ms[times < last ? times : last];
  (void)sqlite3_sleep(nap_ms);
  log->waited_ms += (uint32_t)nap_ms;
  return 1;
}

static enum vow_error configure_shared(const struct opening *o) {
  sqlite3_busy_handler(o->log->db, on_busy, o->log);
  /* Without WAL the end of a transaction is the deletion of its journal: FULL does not sync that.
   */
  enum vow_error error = execute(o, "PRAGMA synchronous=EXTRA");
  if (!error) error = require(o, "PRAGMA synchronous", "3");
  return error;
}

static int on_wal(void *context, sqlite3 *db, const char *name, int pages) {
  (void)db;
  (void)name;
  struct vow_log *log = context;
  log->wal_pages = (uint32_t)pages;
  return SQLITE_OK;
}

static enum vow_error configure(const struct opening *o) {
  enum vow_error error = execute(o, "PRAGMA wal_autocheckpoint=0");
  if (!error) error = o->log->resource ? configure_shared(o) : configure_own(o);
  if (!error) sqlite3_wal_hook(o->log->db, on_wal, o->log);
  return error;
}

/* ---- what the last run left in the WAL ---- */

/* Of what can be read, at most as much as there is room for; a signal is no reason to stop. */
static ssize_t read_at(int fd, char *buffer, size_t room, off_t at) {
  ssize_t got;
  do got = pread(fd, buffer, room, at);
  while (got < 0 && errno == EINTR);
  return got;
}

static bool write_at(int fd, const char *data, size_t bytes, off_t at) {
  for (size_t put = 0; put < bytes;) {
    ssize_t n = pwrite(fd, data + put, bytes - put, at + (off_t)put);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    put += (size_t)n;
  }
  return true;
}

/* 0, or an errno. */
static int write_again(int fd) {
  char buffer[65536];
  off_t at = 0;
  ssize_t got = 0;
  errno = EIO;
  while ((got = read_at(fd, buffer, sizeof buffer, at)) > 0) {
    if (!write_at(fd, buffer, (size_t)got, at)) return errno;
    at += got;
  }
  return got < 0 || fsync(fd) ? errno : 0;
}

static enum vow_error rewrite_locked(const struct opening *o) {
  char name[4096];
  int length = snprintf(name, sizeof name, "%s-wal", o->log->path);
  if (length < 0 || (size_t)length >= sizeof name) {
    return explain(o, VOW_E_INVALID_ARGUMENT, "the path is too long");
  }
  int fd = open(name, O_RDWR | O_CLOEXEC);
  if (fd < 0) return errno == ENOENT ? VOW_OK : fail(o, SQLITE_CANTOPEN);
  int failed = write_again(fd);
  (void)close(fd);
  if (!failed) return VOW_OK;
  return fail(o, failed == ENOSPC || failed == EDQUOT ? SQLITE_FULL : SQLITE_IOERR_WRITE);
}

/* When a sync failed, the page cache may show a WAL that the disk does not have, and no later sync
 * writes it, because the kernel takes it for written. Copied into the database from there, with the
 * power failing meanwhile, it would tear the database. So it is written once more as it is read;
 * a write transaction keeps others from adding to it. SQLite's locks are not on this file. */
static enum vow_error rewrite_wal(const struct opening *o) {
  int code = sqlite3_exec(o->log->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  if (code) return fail(o, code);
  enum vow_error error = rewrite_locked(o);
  enum vow_error ended = execute(o, "ROLLBACK");
  return error ? error : ended;
}

/* ---- contents ---- */

static enum vow_error ask_version(const struct opening *o, long *out) {
  char text[32];
  enum vow_error error =
      ask(o, "SELECT value FROM vow_meta WHERE key = 'participant_log_version'", text, sizeof text);
  if (!error) *out = strtol(text, NULL, 10);
  return error;
}

static enum vow_error make_tables(const struct opening *o) {
  char have[32];
  long version = 0;
  enum vow_error error =
      ask(o, "SELECT count(*) FROM sqlite_schema WHERE name = 'vow_meta'", have, sizeof have);
  if (error) return error;
  if (strcmp(have, "0") != 0) {
    error = ask_version(o, &version);
    if (error) return error;
    if (version > LOG_VERSION) {
      return explain(o, VOW_E_LOG_VERSION,
                     "written by a newer libvow; use that version, nothing was changed");
    }
    /* An older file lacks a table, which an older libvow does not miss. */
    error = ask(o, "SELECT count(*) FROM sqlite_schema WHERE name = 'vow_seen'", have, sizeof have);
    if (error) return error;
    if (version > 0 && strcmp(have, "0") != 0) return VOW_OK;
  }
  error = execute(o, "BEGIN IMMEDIATE");
  if (!error) error = execute(o, vow_log_schema);
  if (!error) error = execute(o, "COMMIT");
  return error;
}

enum vow_error vow_log_checkpoint(struct vow_log *log, int mode, char *why, size_t why_bytes) {
  int frames = -1, copied = -1;
  int code = sqlite3_wal_checkpoint_v2(log->db, "main", mode, &frames, &copied);
  bool busy = (code & 0xff) == SQLITE_BUSY || (code == SQLITE_OK && frames != copied);
  if (busy && log->resource) return VOW_OK;
  if (code == SQLITE_OK && !busy) {
    log->wal_pages = 0;
    return VOW_OK;
  }
  (void)snprintf(why, why_bytes, "checkpoint: %d of %d frames: %s", copied, frames,
                 sqlite3_errmsg(log->db));
  return busy ? VOW_E_LOG_LOCKED : vow_log_error_of(code);
}

void vow_log_checkpoint_on_close(struct vow_log *log, bool wanted) {
  sqlite3_db_config(log->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !wanted, NULL);
}

/* Through SQLite's own handle: to open the file once more and close it would drop SQLite's locks.
 */
static enum vow_error sync_file(const struct opening *o) {
  sqlite3_file *file = NULL;
  int code = sqlite3_file_control(o->log->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  if (!code && file && file->pMethods) code = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
  return code ? fail(o, code) : VOW_OK;
}

static enum vow_error sync_folder(const struct opening *o) {
  char *copy = strdup(o->log->path);
  if (!copy) return fail(o, SQLITE_NOMEM);
  int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  free(copy);
  if (fd < 0) return fail(o, SQLITE_IOERR_DIR_FSYNC);
  int failed = fsync(fd);
  (void)close(fd);
  return failed ? fail(o, SQLITE_IOERR_DIR_FSYNC) : VOW_OK;
}

/* SQLite complains of a page that it could not look at, for want of memory or since the disk fails,
 * as it does of one that is damaged; and it does not always say why. */
static enum vow_error complaint(const struct opening *o, const char *text) {
  static const char code[] = "unable to get the page. error code=";
  const char *said = strstr(text, code);
  if (said) return fail(o, atoi(said + strlen(code)));
  if (!strstr(text, "failed to get page")) return fail(o, SQLITE_CORRUPT);
  return explain(o, VOW_E_LOG_IO,
                 "a page cannot be read; give this process more memory, or mend the disk");
}

static enum vow_error verify(const struct opening *o) {
  const char *const own[] = {"PRAGMA quick_check(1)", NULL};
  /* The application's own tables are its own business, and may be large. */
  const char *const shared[] = {"PRAGMA quick_check(vow_meta)", "PRAGMA quick_check(vow_branch)",
                                "PRAGMA quick_check(vow_coordinator)",
                                "PRAGMA quick_check(vow_seen)", NULL};
  for (const char *const *check = o->log->resource ? shared : own; *check; check++) {
    char result[160];
    enum vow_error error = ask(o, *check, result, sizeof result);
    if (error) return error;
    if (strcmp(result, "ok") != 0) return complaint(o, result);
  }
  return VOW_OK;
}

/* A log of an older version, after it was verified as it is. */
static enum vow_error convert(const struct opening *o) {
  char damage[200] = "";
  long version = LOG_VERSION;
  enum vow_error error = ask_version(o, &version);
  if (error || version == LOG_VERSION) return error;
  int code = vow_log_convert(o->log, damage, sizeof damage);
  if (code) return damage[0] ? explain(o, VOW_E_LOG_CORRUPT, damage) : fail(o, code);
  return VOW_OK;
}

/* Under another name SQLite looks for another write-ahead log, and does not find what this one has.
 */
static enum vow_error check_names(const struct opening *o) {
  struct stat file;
  if (stat(o->log->path, &file) != 0 || file.st_nlink <= 1) return VOW_OK;
  return explain(o, VOW_E_LOG_IO,
                 "the file has several names (hard links), and each would have a write-ahead log"
                 " of its own; remove the others");
}

static enum vow_error open_database(const struct opening *o, const char *path) {
  struct vow_log *log = o->log;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (!log->resource) flags |= SQLITE_OPEN_CREATE;
  int code = sqlite3_open_v2(path, &log->db, flags, NULL);
  if (code) return log->db ? fail(o, code) : explain(o, VOW_E_NO_MEMORY, "out of memory");
  vow_log_checkpoint_on_close(log, false);
  log->path = strdup(sqlite3_db_filename(log->db, "main"));
  if (!log->path) return fail(o, SQLITE_NOMEM);
  if (log->path[0] == '\0') return explain(o, VOW_E_INVALID_ARGUMENT, "not the name of a file");
  if (sqlite3_db_readonly(log->db, "main")) return fail(o, SQLITE_READONLY);
  enum vow_error error = check_names(o);
  return !error && log->resource ? take_lock(o) : error;
}

static enum vow_error open_steps(const struct opening *o, const char *path,
                                 const struct vow_log_loader *loader) {
  struct vow_log *log = o->log;
  char detail[200] = "";
  enum vow_error error = open_database(o, path);
  if (!error) error = configure(o);
  if (!error) error = rewrite_wal(o);
  if (!error) error = make_tables(o);
  if (error) return error;
  /* Readers of the application's database may stand in the way of more, and need not be waited for:
   * a passive checkpoint syncs the WAL all the same. */
  int mode = log->resource ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_TRUNCATE;
  error = vow_log_checkpoint(log, mode, detail, sizeof detail);
  if (error) return explain(o, error, detail);
  error = sync_file(o);
  if (!error) error = sync_folder(o);
  if (!error) error = verify(o);
  if (!error) error = convert(o);
  if (error) return error;
  error = vow_log_prepare_statements(log);
  if (!error) error = vow_log_read(log, loader, detail, sizeof detail);
  if (error) return explain(o, error, detail[0] ? detail : vow_error_text(error));
  if (!log->resource) return VOW_OK;
  error = log->resource->attach(log->resource->context, log->db, o->why, o->why_bytes);
  log->attached = !error;
  return error;
}

enum vow_error vow_log_open(struct vow_log **out, const char *path,
                            const struct vow_resource *resource,
                            const struct vow_log_loader *loader, char *why, size_t why_bytes) {
  struct vow_log *log = calloc(1, sizeof *log);
  if (!log) return VOW_E_NO_MEMORY;
  log->resource = resource;
  log->lock_fd = -1;
  log->queue_end = &log->queue;
  pthread_mutex_init(&log->lock, NULL);
  sem_init(&log->wake, 0, 0);

  const char *name = resource ? resource->path : path;
  struct opening o = {.log = log, .name = name, .why = why, .why_bytes = why_bytes};
  enum vow_error error = open_steps(&o, name, loader);
  if (error) {
    vow_log_close(log);
    return error;
  }
  vow_log_checkpoint_on_close(log, true);
  vow_files_note(&log->files, log->path);
  *out = log;
  return VOW_OK;
}

void vow_log_close(struct vow_log *log) {
  if (!log) return;
  if (log->attached) log->resource->detach(log->resource->context);
  vow_log_finalize_statements(log);
  /* SQLite leaves the WAL of a database that was moved unwritten, under the name that it had: the
   * database would lack what is in it, and whatever is put there would take it for its own. */
  if (!log->broken && vow_files_moved(&log->files, log->path)) {
    char why[200];
    (void)!vow_log_checkpoint(log, SQLITE_CHECKPOINT_TRUNCATE, why, sizeof why);
  }
  (void)sqlite3_close(log->db);
  if (log->lock_fd >= 0) (void)close(log->lock_fd);
  sem_destroy(&log->wake);
  pthread_mutex_destroy(&log->lock);
  free(log->path);
  free(log);
}
