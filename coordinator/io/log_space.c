/*
 * Room for decisions and ends when the disk fills up (rule 6). Two lines of defence:
 *
 * The reserve is a file beside the log with real blocks in it, so that nobody else can use them.
 * When a write does not fit it is deleted and the write is tried again: what is under way can be
 * decided and ended. Before that, when less than the same amount is free on the disk, or the
 * reserve is gone, `low` is reported and the daemon refuses begins; nothing new then needs the
 * room.
 *
 * When space comes back the reserve is made again first, and only then is `low` over. The marks for
 * low and for well again lie apart, so that it does not flutter.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "io/log_internal.h"

enum vow_error log_refuses(const struct vow_log *log) {
  return log->moved ? VOW_E_LOG_MOVED : log->low ? VOW_E_LOG_FULL : VOW_OK;
}

static uint64_t free_bytes(const struct vow_log *log) {
  struct statvfs fs;
  if (statvfs(log->folder, &fs) != 0) return UINT64_MAX; /* a write will tell */
  return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static bool is_whole(const struct vow_log *log) {
  struct stat st;
  if (stat(log->reserve, &st) != 0) return false;
  return (uint64_t)st.st_size == log->limits.reserve_bytes &&
         (uint64_t)st.st_blocks * 512 >= log->limits.reserve_bytes;
}

static bool make_reserve(const struct vow_log *log) {
  int fd = open(log->reserve, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  bool ok =
      log_give_owner(log, fd) && posix_fallocate(fd, 0, (off_t)log->limits.reserve_bytes) == 0;
  close(fd);
  if (!ok) unlink(log->reserve);
  return ok;
}

bool log_space_release(struct vow_log *log) {
  log->low = true;
  log->reserve_held = false;
  if (unlink(log->reserve) != 0) return false;
  /* A disk may refuse a write and yet report free blocks (a quota): do not take them back at once.
   */
  log->files_check_ms = log_now_ms() + LOG_SPACE_BACK_MS;
  return true;
}

void log_space_check(struct vow_log *log, uint64_t now_ms) {
  uint64_t reserve = log->limits.reserve_bytes;
  log->files_check_ms = now_ms + LOG_FILES_CHECK_MS;
  if (log->reserve_held && log->reserve_bytes != reserve) { /* another size is wanted now */
    log->reserve_held = false;
    unlink(log->reserve);
  }
  if (reserve == 0) {
    log->low = log->stuck;
    return;
  }
  uint64_t free = free_bytes(log);
  uint64_t enough = log->low ? VOW_LOG_SPACE_AGAIN(reserve) : reserve;
  if (!log->reserve_held && !log->stuck && free >= reserve + enough && make_reserve(log)) {
    log->reserve_held = true;
    log->reserve_bytes = reserve;
    free = free_bytes(log);
  }
  log->low = !log->reserve_held || free < enough;
}

void log_space_open(struct vow_log *log) {
  if (log->limits.reserve_bytes == 0) {
    unlink(log->reserve);
  } else if (is_whole(log)) {
    log->reserve_held = true;
    log->reserve_bytes = log->limits.reserve_bytes;
  }
  uint64_t now = log_now_ms();
  if (now >= log->files_check_ms) log_space_check(log, now);
}
