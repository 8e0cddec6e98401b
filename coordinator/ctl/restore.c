/*
 * The command `restore`: puts a backup in the log's place. The copy is made under another name,
 * checked, marked as what it is, and given its name only then; nothing is ever overwritten. What
 * was decided after the backup is not in it, so the log starts in quarantine.
 *
 * What must hold: whatever fails, and whenever it is killed, under the log's name there is nothing,
 * or the whole backup with its mark.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "offline.h"
#include "output.h"
#include "text.h"

#define NAME_BYTES 4200
#define RESTORING  ".restoring-" /* behind the log's name, in that of a copy; six letters follow */

static enum ctl_exit fail_errno(const char *what, const char *path, int error_number) {
  const char *todo = error_number == ENOENT
                         ? "Make its folder first; nothing was put in the log's place."
                         : "Nothing was put in the log's place.";
  return ctl_fail(CTL_EXIT_FAILED, todo, "%s %s: %s.", what, path, strerror(error_number));
}

/* A log that is there, or a part of one, is somebody's to look at first. */
static enum ctl_exit check_place(const char *path) {
  static const char *const suffixes[] = {"", "-wal", "-journal"};
  char name[NAME_BYTES];
  struct stat st;
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    if (snprintf(name, sizeof name, "%s%s", path, suffixes[i]) >= (int)sizeof name)
      return fail_errno("cannot use", path, ENAMETOOLONG);
    if (lstat(name, &st) != 0) continue;
    return ctl_fail(CTL_EXIT_REFUSED,
                    "Move it away, do not delete it: what can be saved of it is worth more than "
                    "any backup.",
                    "there is something at %s.", name);
  }
  return CTL_EXIT_OK;
}

/* What is only in its write-ahead log would be left behind. */
static enum ctl_exit check_whole(const char *backup) {
  char name[NAME_BYTES];
  struct stat st;
  if (snprintf(name, sizeof name, "%s-wal", backup) >= (int)sizeof name)
    return fail_errno("cannot use", backup, ENAMETOOLONG);
  if (stat(name, &st) != 0 || st.st_size == 0) return CTL_EXIT_OK;
  return ctl_fail(
      CTL_EXIT_REFUSED, "Move both to the log's place yourself, with the -witness if there is one.",
      "%s is no backup but a log that was not closed: its newest records are in %s.", backup, name);
}

static void take_check(void *context, const struct vow_log_result *result) {
  enum ctl_exit *code = context;
  if (result->error != VOW_OK) *code = ctl_log_fail(result->error, result->why);
}

static enum ctl_exit check_backup(const struct ctl_args *args, const char *path) {
  struct ctl_args of_backup = *args;
  struct vow_log *log = NULL;
  of_backup.text[CTL_OPT_LOG] = path;
  enum ctl_exit code = ctl_log_open(&of_backup, &log);
  if (code != CTL_EXIT_OK) return code; /* a daemon may have it, whose log nobody is to move */
  code = check_whole(path);
  if (code != CTL_EXIT_OK) goto out;
  struct vow_log_query query = {.type = VOW_LOG_QUERY_CHECK, .done = take_check, .context = &code};
  enum vow_error error = vow_log_query_now(log, &query);
  if (error != VOW_OK) code = ctl_log_fail(error, vow_error_text(error));
out:
  vow_log_close(log);
  return code;
}

static int copy_file(const char *from, int to) {
  struct stat st;
  int error_number = 0, fd = open(from, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  if (fstat(fd, &st) != 0) error_number = errno;
  for (off_t left = error_number == 0 ? st.st_size : 0; left > 0 && error_number == 0;) {
    ssize_t done = sendfile(to, fd, NULL, (size_t)left);
    if (done <= 0) error_number = done == 0 ? EIO : errno;
    if (done > 0) left -= done;
  }
  if (error_number == 0 && fsync(to) != 0) error_number = errno;
  close(fd);
  return error_number;
}

/* Opening it marks it; closing writes everything back into the one file. */
static enum ctl_exit mark(const char *name, const char *backup) {
  struct vow_log_config config = {.path = name,
                                  .restored_from = backup,
                                  .retention_age_ms = UINT64_MAX,
                                  .retention_count = UINT64_MAX};
  struct vow_log *log = NULL;
  char why[VOW_LOG_WHY_BYTES], wal[NAME_BYTES + 8];
  struct stat st;
  enum vow_error error = vow_log_open(&log, &config, why);
  if (error != VOW_OK)
    return ctl_fail(ctl_exit_of(error), "Nothing was put in the log's place.", "%s.", why);
  vow_log_close(log);
  /* If that failed the mark is in the write-ahead log, which the renaming would leave behind. */
  snprintf(wal, sizeof wal, "%s-wal", name);
  if (lstat(wal, &st) != 0 && errno == ENOENT) return CTL_EXIT_OK;
  return fail_errno("cannot write everything back into", name, EIO);
}

static enum ctl_exit give_name(const char *name, const char *path) {
  char copy[NAME_BYTES];
  snprintf(copy, sizeof copy, "%s", path);
  if (renameat2(AT_FDCWD, name, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
    return fail_errno("cannot make", path, errno);
  int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool synced = fd >= 0 && fsync(fd) == 0;
  int error_number = errno;
  if (fd >= 0) close(fd);
  if (synced) return CTL_EXIT_OK;
  return ctl_fail(CTL_EXIT_FAILED,
                  "It is the log now, and in quarantine; if the machine stops before it was "
                  "reconciled, look whether it is still there.",
                  "cannot sync the folder of %s: %s.", path, strerror(error_number));
}

/* ---- the copy under another name ---- */

static void remove_copy(const char *name) {
  char wal[NAME_BYTES + 8];
  snprintf(wal, sizeof wal, "%s-wal", name);
  unlink(wal);
  unlink(name);
}

/* A restore that was killed leaves its copy, which may be what fills the disk. One that is being
 * made is locked. */
static void remove_dead_copies(const char *path) {
  char folder[NAME_BYTES], base[NAME_BYTES], name[2 * NAME_BYTES];
  snprintf(folder, sizeof folder, "%s", path);
  snprintf(base, sizeof base, "%s", path);
  const char *place = dirname(folder), *log = basename(base);
  size_t bytes = strlen(log), all = bytes + strlen(RESTORING) + 6;
  DIR *entries = opendir(place);
  if (entries == NULL) return;
  for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
    if (strncmp(entry->d_name, log, bytes) != 0 || strlen(entry->d_name) != all ||
        strncmp(entry->d_name + bytes, RESTORING, strlen(RESTORING)) != 0)
      continue;
    snprintf(name, sizeof name, "%s/%s", place, entry->d_name);
    int fd = open(name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) remove_copy(name);
    if (fd >= 0) close(fd);
  }
  closedir(entries);
}

/* Root may be who restores, and the daemon somebody else: whose the witness file of the lost log
 * is, or the folder, is the log. Returns an errno. */
static int give_owner(int fd, const char *path) {
  char name[NAME_BYTES + 16];
  struct stat st;
  if (geteuid() != 0) return 0;
  snprintf(name, sizeof name, "%s-witness", path);
  if (stat(name, &st) != 0) {
    snprintf(name, sizeof name, "%s", path);
    if (stat(dirname(name), &st) != 0) return errno;
  }
  return fchown(fd, st.st_uid, st.st_gid) == 0 ? 0 : errno;
}

enum ctl_exit ctl_restore(const struct ctl_args *args) {
  const char *path = args->text[CTL_OPT_LOG], *backup = args->operand;
  char name[NAME_BYTES];
  enum ctl_exit code = check_place(path);
  if (code == CTL_EXIT_OK) code = check_backup(args, backup);
  if (code != CTL_EXIT_OK) return code;
  if (snprintf(name, sizeof name, "%s" RESTORING "XXXXXX", path) >= (int)sizeof name)
    return fail_errno("cannot make", path, ENAMETOOLONG);
  remove_dead_copies(path);
  int fd = mkostemp(name, O_CLOEXEC); /* mode 0600: metadata may be private */
  if (fd < 0) return fail_errno("cannot make", name, errno);
  int error_number = flock(fd, LOCK_EX | LOCK_NB) == 0 ? give_owner(fd, path) : errno;
  if (error_number == 0) error_number = copy_file(backup, fd);
  if (error_number != 0) code = fail_errno("cannot copy it to", name, error_number);
  if (code == CTL_EXIT_OK) code = mark(name, backup);
  if (code == CTL_EXIT_OK) code = give_name(name, path);
  close(fd); /* only now: it would take SQLite's lock away */
  if (code != CTL_EXIT_OK) {
    remove_copy(name);
    return code;
  }
  ctl_putf(
      "%s is the log now, and in quarantine: what came after the backup is not in it.\n"
      "Next: vowctl reconcile --log %s\n",
      path, path);
  return CTL_EXIT_OK;
}
