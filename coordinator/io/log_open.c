/*
 * From a path to a connection that may be believed: the path is made canonical, the file's header
 * is read before SQLite may touch anything, the lock is taken, every setting is read back (rule 1),
 * what the daemon stands on is verified, and only then is the first byte written (rule 3).
 *
 * Two traps shape this file. Closing any descriptor of the log drops the process's POSIX locks on
 * it, so the file is read and synced through SQLite's own handle only. And SQLite checkpoints when
 * a connection closes, so that is switched off until the log has passed: a damaged log is left as
 * it was found.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "io/log_internal.h"

#define HEADER_BYTES 100

/* ---- the path ---- */

static enum vow_error set_names(struct vow_log *log, const char *canonical) {
  char *copy = strdup(canonical);
  log->path = strdup(canonical);
  log->folder = copy == NULL ? NULL : strdup(dirname(copy));
  free(copy);
  if (asprintf(&log->reserve, "%s-reserve", canonical) < 0) log->reserve = NULL;
  if (asprintf(&log->witness_path, "%s-witness", canonical) < 0) log->witness_path = NULL;
  bool ok =
      log->path != NULL && log->folder != NULL && log->reserve != NULL && log->witness_path != NULL;
  return ok ? VOW_OK : VOW_E_NO_MEMORY;
}

/* The canonical name of a file that may not exist yet: its folder must. */
static bool canonical_new(const char *path, char out[PATH_BYTES_MAX]) {
  char folder[PATH_MAX], copy[PATH_MAX], base[PATH_MAX];
  if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy) return false;
  snprintf(base, sizeof base, "%s", path);
  if (realpath(dirname(copy), folder) == NULL) return false;
  snprintf(out, PATH_BYTES_MAX, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, basename(base));
  return true;
}

static enum vow_error missing(const char *path, bool create, int error_number,
                              char why[VOW_LOG_WHY_BYTES]) {
  char text[128];
  bool folder_missing = create && error_number == ENOENT;
  log_explain(why, "cannot open the log %s: %s%s", path,
              strerror_r(error_number, text, sizeof text),
              folder_missing           ? "; make its folder first"
              : error_number == ENOENT ? "; check the path, or restore it from a backup"
                                       : "");
  return error_number == EACCES ? VOW_E_LOG_READ_ONLY : VOW_E_LOG_IO;
}

/* There is no file of this name. Its write-ahead log may be all that is left of it. */
static enum vow_error make_file(const struct vow_log_config *config, char canonical[PATH_BYTES_MAX],
                                char why[VOW_LOG_WHY_BYTES]) {
  bool create = config->create && !config->read_only;
  if (!canonical_new(config->path, canonical)) return missing(config->path, create, errno, why);
  enum vow_error error = log_refuse_remains(canonical, why);
  if (create) return error == VOW_OK ? log_create(canonical, why) : error;
  return error == VOW_OK ? missing(config->path, false, ENOENT, why) : VOW_E_LOG_IO;
}

static enum vow_error find_file(struct vow_log *log, const struct vow_log_config *config,
                                char why[VOW_LOG_WHY_BYTES]) {
  char canonical[PATH_BYTES_MAX];
  struct stat st;
  if (realpath(config->path, canonical) == NULL) {
    if (errno != ENOENT) return missing(config->path, false, errno, why);
    enum vow_error error = make_file(config, canonical, why);
    if (error != VOW_OK) return error;
  }
  if (stat(canonical, &st) != 0) return missing(canonical, config->create, errno, why);
  if (!S_ISREG(st.st_mode)) {
    log_explain(why, "the log %s is not a regular file; name a file", canonical);
    return VOW_E_LOG_IO;
  }
  if (st.st_nlink != 1) {
    log_explain(why,
                "the log %s has %lu names (hard links), and each would have a write-ahead log of "
                "its own; remove the other names or, of a backup, take a copy (cp)",
                canonical, (unsigned long)st.st_nlink);
    return VOW_E_LOG_IO;
  }
  return set_names(log, canonical);
}

/* ---- the lock ---- */

/* The process that holds a lock on the file, from the kernel's list; 0: not to be seen from here.
 */
static long lock_holder(const char *path) {
  struct stat st;
  char line[256];
  long pid = 0;
  FILE *locks = stat(path, &st) == 0 ? fopen("/proc/locks", "re") : NULL;
  if (locks == NULL) return 0;
  while (pid == 0 && fgets(line, sizeof line, locks) != NULL) {
    unsigned dev_major, dev_minor;
    unsigned long inode;
    long holder;
    if (sscanf(line, "%*s %*s %*s %*s %ld %x:%x:%lu", &holder, &dev_major, &dev_minor, &inode) != 4)
      continue;
    if (inode == st.st_ino && dev_major == major(st.st_dev) && dev_minor == minor(st.st_dev) &&
        holder > 0)
      pid = holder;
  }
  fclose(locks);
  return pid;
}

enum vow_error log_locked(const char *path, char why[VOW_LOG_WHY_BYTES]) {
  long pid = lock_holder(path);
  if (pid > 0)
    log_explain(why,
                "the log %s is in use by process %ld; stop it first, or use its REST interface",
                path, pid);
  else
    log_explain(why, "the log %s is in use by another process; `fuser -v %s` shows which", path,
                path);
  return VOW_E_LOG_LOCKED;
}

/* ---- the file's header ---- */

static uint32_t big_endian(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t file_bytes(const char *path, const char *suffix) {
  char name[PATH_BYTES_MAX];
  struct stat st;
  snprintf(name, sizeof name, "%s%s", path, suffix);
  return stat(name, &st) == 0 ? (int64_t)st.st_size : -1;
}

/* With a WAL beside it the file may lawfully be shorter than its header says. */
static enum vow_error check_length(struct vow_log *log, const uint8_t *header, int64_t bytes,
                                   char why[VOW_LOG_WHY_BYTES]) {
  log->page_bytes = (uint32_t)header[16] << 8 | header[17];
  log->database_bytes = (uint64_t)bytes;
  int64_t full = (int64_t)big_endian(header + 28) * (int64_t)log->page_bytes;
  if (bytes >= full || file_bytes(log->path, "-wal") > 0) return VOW_OK;
  log_explain(why,
              "the log %s is cut short: %lld of %lld bytes are there; nothing was changed: restore "
              "it from a backup",
              log->path, (long long)bytes, (long long)full);
  return VOW_E_LOG_CORRUPT;
}

static enum vow_error check_format(const struct vow_log *log, uint32_t format,
                                   char why[VOW_LOG_WHY_BYTES]) {
  if (format >= VOW_LOG_FORMAT_OLDEST && format <= VOW_LOG_FORMAT) return VOW_OK;
  log_explain(why,
              "the log %s has format %u, and this version reads format %d; use the vow that "
              "wrote it, or a newer one",
              log->path, format, VOW_LOG_FORMAT);
  return VOW_E_LOG_VERSION;
}

/* Both marks were written before the file got its name; but a newer format may wait in the WAL, see
 * read_format. */
static enum vow_error check_header(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  uint8_t header[HEADER_BYTES] = {0};
  sqlite3_file *file = NULL;
  sqlite3_int64 bytes = 0;
  int rc = sqlite3_file_control(log->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  if (rc == SQLITE_OK) rc = file->pMethods->xFileSize(file, &bytes);
  if (rc == SQLITE_OK && bytes >= HEADER_BYTES)
    rc = file->pMethods->xRead(file, header, HEADER_BYTES, 0);
  if (rc != SQLITE_OK) return log_sqlite_error(log, rc, "reading the header", why);
  if (memcmp(header, "SQLite format 3", 16) != 0) {
    log_explain(why,
                "%s is not a vow log, or its beginning is damaged (%lld bytes); name another file, "
                "or restore it from a backup",
                log->path, (long long)bytes);
    return VOW_E_LOG_CORRUPT;
  }
  if (big_endian(header + 68) != LOG_APPLICATION_ID) {
    log_explain(why, "%s is an SQLite database but not a vow log; name another file", log->path);
    return VOW_E_LOG_CORRUPT;
  }
  enum vow_error error = check_format(log, big_endian(header + 60), why);
  return error == VOW_OK ? check_length(log, header, bytes, why) : error;
}

/* ---- settings ---- */

/* Runs a pragma and compares what it answers: a setting that did not take is as bad as none. */
static enum vow_error set(struct vow_log *log, const char *pragma, const char *expected,
                          char why[VOW_LOG_WHY_BYTES]) {
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(log->db, pragma, -1, &statement, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(statement);
  const char *answer = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : "";
  if (rc == SQLITE_ROW && log_row_lacks_memory(statement)) rc = SQLITE_NOMEM;
  bool same = answer != NULL && strcmp(answer, expected) == 0;
  enum vow_error error = VOW_OK;
  if ((rc & 0xff) == SQLITE_BUSY) {
    error = log_locked(log->path, why);
  } else if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
    error = log_sqlite_error(log, rc, "opening it", why);
  } else if (!same) {
    log_explain(why,
                "%s on the log %s gives \"%s\", not \"%s\": this file system or SQLite will not do",
                pragma, log->path, answer, expected);
    error = VOW_E_LOG_IO;
  }
  sqlite3_finalize(statement);
  return error;
}

static enum vow_error configure(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  static const char *const both[][2] = {
      {"PRAGMA locking_mode=EXCLUSIVE", "exclusive"},
      {"PRAGMA cell_size_check=ON", ""},
      {"PRAGMA trusted_schema=OFF", ""},
      {"PRAGMA temp_store=MEMORY", ""},
      {"PRAGMA mmap_size=0", "0"},
      {"PRAGMA cache_size=-16384", ""},
  };
  static const char *const writer[][2] = {
      {"PRAGMA journal_mode=WAL", "wal"},   {"PRAGMA synchronous=FULL", ""},
      {"PRAGMA wal_autocheckpoint=0", "0"}, {"PRAGMA secure_delete=OFF", "0"},
      {"PRAGMA journal_mode", "wal"},       {"PRAGMA synchronous", "2"},
      {"PRAGMA locking_mode", "exclusive"}, {"PRAGMA wal_autocheckpoint", "0"},
  };
  enum vow_error error = VOW_OK;
  sqlite3_extended_result_codes(log->db, 1);
  sqlite3_busy_timeout(log->db, LOG_BUSY_MS);
  sqlite3_db_config(log->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  sqlite3_db_config(log->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  for (size_t i = 0; error == VOW_OK && i < sizeof both / sizeof *both; i++)
    error = set(log, both[i][0], both[i][1], why);
  for (size_t i = 0; error == VOW_OK && !log->read_only && i < sizeof writer / sizeof *writer; i++)
    error = set(log, writer[i][0], writer[i][1], why);
  if (error == VOW_OK && log->read_only) error = set(log, "PRAGMA query_only=ON", "", why);
  return error;
}

/* ---- opening ---- */

static enum vow_error open_writable(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  int rc = sqlite3_open_v2(log->path, &log->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  if (rc != SQLITE_OK) return log_sqlite_error(log, rc, "opening it", why);
  if (sqlite3_db_readonly(log->db, "main") == 1) {
    log_explain(why,
                "the log %s may be read but not written; give this user write permission on it "
                "and its folder, or make the disk writable",
                log->path);
    return VOW_E_LOG_READ_ONLY;
  }
  return VOW_OK;
}

/* A file that may not be written is read as it is, under a lock that keeps daemons off. A WAL
 * beside it would have to be left out, so that is refused. */
static enum vow_error open_immutable(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  struct flock shared = {.l_type = F_RDLCK,
                         .l_whence = SEEK_SET,
                         .l_start = 0x40000002, /* SQLite's shared range */
                         .l_len = 510};
  char uri[3 * PATH_BYTES_MAX], *at = uri + sprintf(uri, "file:");
  log->lock_fd = open(log->path, O_RDONLY | O_CLOEXEC);
  if (log->lock_fd < 0) return missing(log->path, false, errno, why);
  if (fcntl(log->lock_fd, F_OFD_SETLK, &shared) != 0) return log_locked(log->path, why);
  if (file_bytes(log->path, "-wal") > 0) {
    log_explain(why,
                "the log %s cannot be written, and its newest records are still in %s-wal: copy "
                "both files to a folder of yours and open that copy",
                log->path, log->path);
    return VOW_E_LOG_READ_ONLY;
  }
  for (const char *c = log->path; *c != '\0'; c++) {
    if (strchr("%?#", *c) != NULL)
      at += sprintf(at, "%%%02x", (unsigned)*c);
    else
      *at++ = *c;
  }
  memcpy(at, "?immutable=1", sizeof "?immutable=1");
  int rc = sqlite3_open_v2(uri, &log->db,
                           SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, NULL);
  return rc == SQLITE_OK ? VOW_OK : log_sqlite_error(log, rc, "opening it", why);
}

static enum vow_error open_connection(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  if (log->read_only && (access(log->path, W_OK) != 0 || access(log->folder, W_OK) != 0))
    return open_immutable(log, why);
  log->tidy_on_close = log->read_only && file_bytes(log->path, "-wal") <= 0;
  return open_writable(log, why);
}

/* Through the write-ahead log: an upgrade may be in there that the header does not have yet. Taken
 * for an older one than it is, the log would lose what it knows of its starts and its quarantine.
 */
static enum vow_error read_format(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  sqlite3_stmt *row = NULL;
  int rc = sqlite3_prepare_v2(log->db, "PRAGMA user_version", -1, &row, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(row);
  if (rc == SQLITE_ROW) log->format = sqlite3_column_int(row, 0);
  enum vow_error error = rc == SQLITE_ROW ? check_format(log, (uint32_t)log->format, why)
                                          : log_sqlite_error(log, rc, "reading its format", why);
  sqlite3_finalize(row);
  return error;
}

static int exec(struct vow_log *log, const char *sql) {
  return sqlite3_exec(log->db, sql, NULL, NULL, NULL);
}

/* Each open row to its place; they have passed the verification. */
static int move_open_rows(struct vow_log *log) {
  struct log_entry entry = {.state = 0};
  sqlite3_stmt *row = NULL;
  int rc = sqlite3_prepare_v2(log->db, "SELECT id, record, key FROM old_txn ORDER BY id", -1, &row,
                              NULL);
  while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
    const void *id = sqlite3_column_blob(row, 0), *record = sqlite3_column_text(row, 1);
    bool has_key = sqlite3_column_type(row, 2) != SQLITE_NULL;
    const char *key = has_key ? (const char *)sqlite3_column_text(row, 2) : NULL;
    entry.key = key == NULL ? NULL : strdup(key);
    vow_buf_init(&entry.record, LOG_RECORD_BYTES_MAX);
    bool whole = id != NULL && record != NULL && (!has_key || entry.key != NULL);
    if (whole) {
      memcpy(entry.id.bytes, id, sizeof entry.id.bytes);
      vow_buf_append(&entry.record, record, (size_t)sqlite3_column_bytes(row, 1));
      whole = entry.record.error == VOW_OK;
    }
    rc = whole ? log_put_open(log, &entry) : SQLITE_NOMEM;
    log_entry_fini(&entry);
  }
  sqlite3_finalize(row);
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Tables are added, indexes are dropped, open rows are moved; what has ended is not touched. All of
 * it is done or none. */
static enum vow_error upgrade_within(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  static const char indexes[] =
      "DROP INDEX IF EXISTS open_by_key; DROP INDEX IF EXISTS ended_by_time;"
      "ALTER TABLE open_txn RENAME TO old_txn";
  char number[48];
  snprintf(number, sizeof number, "PRAGMA user_version=%d", VOW_LOG_FORMAT);
  int rc = exec(log, "BEGIN IMMEDIATE");
  if (rc == SQLITE_OK) rc = exec(log, log_trust_schema);
  if (rc == SQLITE_OK) rc = exec(log, indexes);
  if (rc == SQLITE_OK) rc = exec(log, log_open_schema);
  if (rc != SQLITE_OK) return log_sqlite_error(log, rc, "upgrading it", why);
  log->format = VOW_LOG_FORMAT;
  enum vow_error error = log_prepare(log, why);
  if (error != VOW_OK) return error;
  rc = move_open_rows(log);
  if (rc == SQLITE_OK) rc = exec(log, "DROP TABLE old_txn");
  if (rc == SQLITE_OK) rc = exec(log, number);
  if (rc == SQLITE_OK) rc = exec(log, "COMMIT");
  return rc == SQLITE_OK ? VOW_OK : log_sqlite_error(log, rc, "upgrading it", why);
}

static enum vow_error upgrade(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  int before = log->format;
  if (before == VOW_LOG_FORMAT) return VOW_OK;
  enum vow_error error = upgrade_within(log, why);
  /* An older version looks at the header only: it is to refuse the log from now on. */
  if (error == VOW_OK) return log_checkpoint(log, SQLITE_CHECKPOINT_TRUNCATE, why);
  log->format = before;
  if (!sqlite3_get_autocommit(log->db)) (void)exec(log, "ROLLBACK");
  return error;
}

/* Root may be who reconciles, and the daemon somebody else: whose the log is, is what lies beside
 * it, too. (SQLite sees to the write-ahead log.) */
bool log_give_owner(const struct vow_log *log, int fd) {
  struct stat st;
  if (geteuid() != 0 || stat(log->path, &st) != 0 || st.st_uid == 0) return true;
  return fchown(fd, st.st_uid, st.st_gid) == 0;
}

static bool open_witness(struct vow_log *log) {
  return log_witness_open(&log->witness, log->witness_path) && log_give_owner(log, log->witness.fd);
}

/* The start, and with it whether the log is to be trusted, is durable before anybody hears of the
 * log, and before the witness file forgets what it saw. */
static enum vow_error begin_start(struct vow_log *log, bool witnessed,
                                  char why[VOW_LOG_WHY_BYTES]) {
  struct log_batch nothing = {.has_trust = true};
  enum vow_error error = log_trust_gap(log, &nothing.trust.gap, why);
  if (error != VOW_OK) return error;
  nothing.trust.trust = log->trust;
  nothing.trust.start = log_trust_incarnation(log);
  if (witnessed && !open_witness(log)) log->done.witness_failures++;
  log->incarnation = nothing.trust.start;
  log->head.starts++;
  error = log_write(log, &nothing, 1, false, why);
  if (error != VOW_OK) {
    log->head.starts--;
    return error;
  }
  log_trust_gap_add(log, &nothing.trust.gap);
  /* A file that was made just now has its name on the disk only then. */
  bool is_new = log->witness.fd >= 0 && log->info.witness == LOG_WITNESS_MISSING;
  return is_new ? log_sync_folder(log->folder, why) : VOW_OK;
}

/* Rule 3: what is read from here on is on the disk, not only in the page cache of a run that died.
 */
static enum vow_error settle(struct vow_log *log, bool witnessed, char why[VOW_LOG_WHY_BYTES]) {
  sqlite3_file *file = NULL;
  enum vow_error error = log_rewrite_wal(log, why);
  if (error == VOW_OK) error = log_checkpoint(log, SQLITE_CHECKPOINT_TRUNCATE, why);
  if (error != VOW_OK) return error;
  int rc = sqlite3_file_control(log->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  if (rc == SQLITE_OK) rc = file->pMethods->xSync(file, SQLITE_SYNC_FULL);
  if (rc != SQLITE_OK) return log_sqlite_error(log, rc, "syncing it", why);
  error = log_sync_folder(log->folder, why);
  if (error == VOW_OK) error = upgrade(log, why);
  return error == VOW_OK ? begin_start(log, witnessed, why) : error;
}

enum vow_error log_set_advertise_url(struct vow_log *log, const char *url,
                                     char why[VOW_LOG_WHY_BYTES]) {
  char *copy = strdup(url);
  if (copy == NULL) {
    log_explain(why, "out of memory");
    return VOW_E_NO_MEMORY;
  }
  free(log->advertise_url);
  log->head.advertise_url = log->advertise_url = copy;
  return VOW_OK;
}

enum vow_error log_sync_folder(const char *folder, char why[VOW_LOG_WHY_BYTES]) {
  char text[128];
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool ok = fd >= 0 && fsync(fd) == 0;
  int error_number = errno;
  if (fd >= 0) close(fd);
  if (ok) return VOW_OK;
  log_explain(why, "cannot sync the folder %s: %s; look at the disk and the kernel's messages",
              folder, strerror_r(error_number, text, sizeof text));
  return VOW_E_LOG_IO;
}

static int count_wal(void *context, sqlite3 *db, const char *name, int frames) {
  struct vow_log *log = context;
  (void)db;
  (void)name;
  log->wal_bytes = 32 + (uint64_t)frames * (log->page_bytes + 24);
  return SQLITE_OK;
}

enum vow_error log_database_open(struct vow_log *log, const struct vow_log_config *config,
                                 char why[VOW_LOG_WHY_BYTES]) {
  enum vow_error error = find_file(log, config, why);
  if (error == VOW_OK) error = open_connection(log, why);
  if (error == VOW_OK) error = check_header(log, why);
  if (error == VOW_OK) error = configure(log, why);
  if (error == VOW_OK) error = read_format(log, why);
  if (error == VOW_OK) error = log_prepare(log, why);
  if (error == VOW_OK) error = log_verify(log, why);
  if (error == VOW_OK) error = log_trust_read(log, why);
  if (error != VOW_OK) return error;
  if (config->restored_from != NULL) {
    log->trust.backup_ms = 0;
    log_trust_suspect(&log->trust, log->trust.seen, "it was restored from the backup %.250s",
                      config->restored_from);
  } else {
    error = log_trust_judge(log, why);
    if (error != VOW_OK) return error;
  }
  if (log->read_only) return VOW_OK;
  sqlite3_wal_hook(log->db, count_wal, log);
  if (config->advertise_url != NULL) {
    error = log_set_advertise_url(log, config->advertise_url, why);
    if (error != VOW_OK) return error;
  }
  bool witnessed = config->restored_from == NULL;
  error = settle(log, witnessed, why);
  if (error == VOW_E_LOG_FULL && log_space_release(log)) error = settle(log, witnessed, why);
  return error;
}

void log_database_close(struct vow_log *log, bool checkpoint) {
  for (int i = 0; i < LOG_STATEMENTS; i++) sqlite3_finalize(log->statements[i]);
  if (checkpoint) sqlite3_db_config(log->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
  sqlite3_close(log->db);
  log->db = NULL;
  if (log->lock_fd >= 0) close(log->lock_fd);
  log->lock_fd = -1;
  log_witness_close(&log->witness);
}
