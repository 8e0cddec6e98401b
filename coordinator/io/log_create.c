/*
 * Making a log. A file that bears the log's name is complete from its first moment: it is built and
 * synced under another name beside it and then renamed, never over an existing file. So an empty or
 * shapeless file found at the next start is a damaged log, and is never mistaken for a new one
 * whose every transaction would be presumed aborted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/log_internal.h"

/* No id is older than the log, whatever the clock does next: one that were would be taken for
 * another log's, and its branches would wait for ever. So its first ids begin at its own time. */
static int build(const char *path) {
  char setup[160], head[280], floor[2 * sizeof(struct vow_id) + 1];
  struct log_head empty = {.created_ms = log_wall_ms(), .advertise_url = ""};
  empty.ceiling = vow_id_floor(empty.created_ms, 0);
  sqlite3 *db = NULL;
  snprintf(setup, sizeof setup,
           "PRAGMA page_size=%d; PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=FULL;"
           "PRAGMA application_id=%d; PRAGMA user_version=%d;",
           LOG_PAGE_BYTES, LOG_APPLICATION_ID, VOW_LOG_FORMAT);
  for (size_t i = 0; i < sizeof empty.ceiling.bytes; i++) {
    snprintf(floor + 2 * i, 3, "%02x", empty.ceiling.bytes[i]);
  }
  snprintf(head, sizeof head,
           "INSERT INTO head VALUES(1, %llu, 0, 0, 0, x'%s', zeroblob(16), '', %lld);",
           (unsigned long long)empty.created_ms, floor, (long long)log_head_checksum(&empty));
  int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, setup, NULL, NULL, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, log_schema, NULL, NULL, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, log_trust_schema, NULL, NULL, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, head, NULL, NULL, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
  int closed = sqlite3_close(db);
  return rc == SQLITE_OK ? closed : rc;
}

void log_remove_all(const char *path) {
  static const char *const suffixes[] = {"", "-journal", "-wal"};
  char name[PATH_BYTES_MAX];
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    if (snprintf(name, sizeof name, "%s%s", path, suffixes[i]) < (int)sizeof name) unlink(name);
  }
}

static int sync_file(const char *path) {
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return errno;
  int failed = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  return failed;
}

/* A WAL or journal whose log is gone would be taken for the new log's own. */
enum vow_error log_refuse_remains(const char *path, char why[VOW_LOG_WHY_BYTES]) {
  static const char *const suffixes[] = {"-wal", "-journal"};
  char name[PATH_BYTES_MAX];
  struct stat st;
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
    if (stat(name, &st) != 0 || st.st_size == 0) continue;
    log_explain(why,
                "there is no log %s, but its %s is there and may hold decisions: put the log back, "
                "or move that file away if the log is gone for good",
                path, name);
    return VOW_E_LOG_CORRUPT;
  }
  return VOW_OK;
}

static enum vow_error creation_error(const char *path, int error_number,
                                     char why[VOW_LOG_WHY_BYTES]) {
  char text[128];
  const char *reason = strerror_r(error_number, text, sizeof text);
  if (error_number == ENOSPC || error_number == EDQUOT) {
    log_explain(why, "cannot make the log %s: %s; free some space", path, reason);
    return VOW_E_LOG_FULL;
  }
  if (error_number == EACCES || error_number == EPERM || error_number == EROFS) {
    log_explain(why, "cannot make the log %s: %s; its folder must be writable", path, reason);
    return VOW_E_LOG_READ_ONLY;
  }
  log_explain(why,
              "cannot make the log %s: %s; look at its folder, the disk and the kernel's messages",
              path, reason);
  return VOW_E_LOG_IO;
}

enum vow_error log_create(const char *path, char why[VOW_LOG_WHY_BYTES]) {
  char name[PATH_BYTES_MAX];
  enum vow_error error = VOW_OK;
  if (snprintf(name, sizeof name, "%s.new-XXXXXX", path) >= (int)sizeof name)
    return creation_error(path, ENAMETOOLONG, why);
  int fd = mkostemp(name, O_CLOEXEC); /* mode 0600: metadata may be private */
  if (fd < 0) return creation_error(path, errno, why);
  close(fd);
  int rc = build(name);
  if (rc != SQLITE_OK) {
    bool full = (rc & 0xff) == SQLITE_FULL, no_memory = (rc & 0xff) == SQLITE_NOMEM;
    log_explain(why, "cannot make the log %s: %s; %s", path, sqlite3_errstr(rc),
                full        ? "free some space"
                : no_memory ? "give this process more"
                            : "look at the disk and the kernel's messages");
    error = full ? VOW_E_LOG_FULL : no_memory ? VOW_E_NO_MEMORY : VOW_E_LOG_IO;
  } else {
    int failed = sync_file(name);
    if (failed == 0 && renameat2(AT_FDCWD, name, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
      failed = errno;
    if (failed != 0 && failed != EEXIST) error = creation_error(path, failed, why);
  }
  log_remove_all(name); /* gone already, unless something failed or another process was faster */
  return error;
}
