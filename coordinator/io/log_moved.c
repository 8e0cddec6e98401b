/*
 * Whether the log is still where it was opened. A file that is moved, deleted or replaced by
 * another is written on as if nothing had happened, and is not what the next start finds: every
 * decision from then on would be lost with this process. So nothing new is begun until the very
 * same files are back. What is open goes on: its participants wait for it, and as long as this
 * process lives the files can be had from /proc (the runbook says how).
 *
 * The write-ahead log counts as well: without it the database lacks all since the last checkpoint.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "io/log_internal.h"

static const char *const SUFFIXES[LOG_FILES] = {"", "-wal"};

static bool find(const struct vow_log *log, int nth, struct stat *out) {
  char name[PATH_BYTES_MAX];
  snprintf(name, sizeof name, "%s%s", log->path, SUFFIXES[nth]);
  return stat(name, out) == 0;
}

void log_moved_open(struct vow_log *log) {
  struct stat st;
  for (int n = 0; n < LOG_FILES; n++) {
    if (find(log, n, &st)) log->files[n] = (struct log_file){st.st_dev, st.st_ino};
  }
}

void log_moved_check(struct vow_log *log) {
  struct stat st;
  log->moved = false;
  for (int n = 0; n < LOG_FILES; n++) {
    const struct log_file *file = &log->files[n];
    if (file->inode == 0) continue; /* it was not there when the log was opened */
    bool found = find(log, n, &st);
    /* A disk that does not answer is no proof: a write will tell. */
    log->moved |= found ? st.st_dev != file->device || st.st_ino != file->inode
                        : errno == ENOENT || errno == ENOTDIR;
  }
}
