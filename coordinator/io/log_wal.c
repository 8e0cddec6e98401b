/*
 * The write-ahead log as a file. SQLite reads it up to the first frame that does not match its
 * checksum and takes that for the end: right for what a crash has torn, which was never synced, and
 * wrong for damage further up, where it drops every later commit without a word and integrity_check
 * says ok. The coordinator would presume those transactions aborted.
 *
 * The two can be told apart. A commit is synced before the next one writes its first frame, which
 * goes on from its checksum. So a commit behind the break that has such a frame behind it was whole
 * once, and whatever broke it was no crash. Frames that do not go on from it do not count: they are
 * of an older use of the file, or of a transaction that was given up after some of its frames had
 * been written, and that this commit is shorter than. A frame's header that lies across two sectors
 * may be of two of these, the mark of a commit of one and the checksum of another: it counts only
 * if the frame is whole. What cannot be seen is damage within the very last commit, to the checksum
 * that the last one goes on from, or to the file's header: the first and the third a crash may
 * tear, too.
 *
 * A start has another trap. When a sync failed, the page cache may show frames that the disk does
 * not have and that no later sync writes, because the kernel takes them for written. Checkpointed
 * from there, with the power failing meanwhile, the database has pages whose WAL is gone: it is
 * torn, and what was durable long before goes with it. So the WAL is first written once more, byte
 * for byte as it is read, which makes the next sync a true one.
 *
 * Nothing is locked through this file, so a descriptor of it may be closed. Called by log_check.c
 * and log_open.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/log_internal.h"

#define WAL_HEADER_BYTES 32
#define WAL_FRAME_BYTES  24          /* before each page */
#define WAL_MAGIC        0x377f0682u /* the lowest bit: checksums of big-endian words */
#define SECTOR_BYTES     512         /* what a disk writes as a whole, at least */
#define COPY_BYTES       (256u << 10)

struct wal {
  int fd;
  uint8_t header[WAL_HEADER_BYTES];
  uint8_t *frame; /* owned: frame header and page */
  size_t frame_bytes;
  uint32_t sums[2];
  bool big_endian;
  uint8_t before[8]; /* the checksums in the header of the frame before, or of the file */
};

static uint32_t word(const uint8_t *at, bool big_endian) {
  if (big_endian)
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
  return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static void add_sums(struct wal *wal, const uint8_t *data, size_t bytes) {
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    wal->sums[0] += word(data + i, wal->big_endian) + wal->sums[1];
    wal->sums[1] += word(data + i + 4, wal->big_endian) + wal->sums[0];
  }
}

static bool sums_are(const struct wal *wal, const uint8_t *at) {
  return wal->sums[0] == word(at, true) && wal->sums[1] == word(at + 4, true);
}

/* Short at the end of the file, -1 on an error. */
static ssize_t read_at(int fd, uint8_t *out, size_t bytes, off_t offset) {
  size_t got = 0;
  while (got < bytes) {
    ssize_t n = pread(fd, out + got, bytes - got, offset + (off_t)got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) break;
    got += (size_t)n;
  }
  return (ssize_t)got;
}

static bool header_is_whole(struct wal *wal) {
  uint32_t magic = word(wal->header, true);
  wal->big_endian = (magic & 1) != 0;
  add_sums(wal, wal->header, WAL_HEADER_BYTES - 8);
  return (magic & ~1u) == WAL_MAGIC && sums_are(wal, wal->header + 24);
}

/* And goes on from the one before it. */
static bool frame_is_whole(struct wal *wal) {
  wal->sums[0] = word(wal->before, true);
  wal->sums[1] = word(wal->before + 4, true);
  add_sums(wal, wal->frame, 8);
  add_sums(wal, wal->frame + WAL_FRAME_BYTES, wal->frame_bytes - WAL_FRAME_BYTES);
  bool of_now = memcmp(wal->frame + 8, wal->header + 16, 8) == 0;
  return of_now && word(wal->frame, true) != 0 && sums_are(wal, wal->frame + 16);
}

/* Behind the break. */
static bool is_commit(const struct wal *wal, off_t offset, bool whole) {
  off_t mark = offset + 4, sums_end = offset + 23;
  if (word(wal->frame + 4, true) == 0) return false;
  return whole || mark / SECTOR_BYTES == sums_end / SECTOR_BYTES;
}

static enum vow_error walk(struct wal *wal, char what[VOW_LOG_WHY_BYTES]) {
  uint32_t broken = 0; /* the first frame that is, counted from 1 */
  bool commit = false; /* the frame before is one, at or behind it */
  ssize_t got;
  memcpy(wal->before, wal->header + 24, sizeof wal->before);
  for (uint32_t n = 1;; n++) {
    off_t offset = WAL_HEADER_BYTES + (off_t)(n - 1) * (off_t)wal->frame_bytes;
    got = read_at(wal->fd, wal->frame, wal->frame_bytes, offset);
    if (got != (ssize_t)wal->frame_bytes) break;
    bool whole = frame_is_whole(wal);
    if (broken == 0 && !whole) broken = n;
    if (whole && commit) {
      log_explain(what,
                  "its write-ahead log is broken at page %u, and records that were synced stand "
                  "behind it: read as it is, their transactions would be taken for aborted",
                  broken);
      return VOW_E_LOG_CORRUPT;
    }
    commit = broken != 0 && is_commit(wal, offset, whole);
    memcpy(wal->before, wal->frame + 16, sizeof wal->before);
  }
  return got < 0 ? VOW_E_LOG_IO : VOW_OK;
}

static enum vow_error check(struct wal *wal, char what[VOW_LOG_WHY_BYTES]) {
  ssize_t got = read_at(wal->fd, wal->header, WAL_HEADER_BYTES, 0);
  if (got < 0) return VOW_E_LOG_IO;
  if (got < WAL_HEADER_BYTES) return VOW_OK;
  return header_is_whole(wal) ? walk(wal, what) : VOW_OK;
}

enum vow_error log_check_wal(const struct vow_log *log, char what[VOW_LOG_WHY_BYTES]) {
  char name[PATH_BYTES_MAX];
  struct wal wal = {.frame_bytes = WAL_FRAME_BYTES + log->page_bytes};
  snprintf(name, sizeof name, "%s-wal", log->path);
  wal.fd = open(name, O_RDONLY | O_CLOEXEC);
  if (wal.fd < 0 && errno == ENOENT) return VOW_OK;
  wal.frame = malloc(wal.frame_bytes);
  enum vow_error error = wal.frame == NULL ? VOW_E_NO_MEMORY
                         : wal.fd < 0      ? VOW_E_LOG_IO
                                           : check(&wal, what);
  if (error == VOW_E_NO_MEMORY) log_explain(what, "out of memory");
  if (error == VOW_E_LOG_IO) log_explain(what, "%s cannot be read", name);
  free(wal.frame);
  if (wal.fd >= 0) close(wal.fd);
  return error;
}

/* ---- written once more ---- */

static bool write_at(int fd, const uint8_t *data, size_t bytes, off_t offset) {
  size_t put = 0;
  while (put < bytes) {
    ssize_t n = pwrite(fd, data + put, bytes - put, offset + (off_t)put);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    put += (size_t)n;
  }
  return true;
}

/* 0, or an errno. */
static int rewrite(int fd, uint8_t *buffer) {
  off_t offset = 0;
  ssize_t got;
  errno = EIO;
  while ((got = read_at(fd, buffer, COPY_BYTES, offset)) > 0) {
    if (!write_at(fd, buffer, (size_t)got, offset)) return errno;
    offset += got;
  }
  if (got < 0) return errno;
  return fsync(fd) == 0 ? 0 : errno;
}

enum vow_error log_rewrite_wal(const struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) {
  char name[PATH_BYTES_MAX], text[128];
  snprintf(name, sizeof name, "%s-wal", log->path);
  int fd = open(name, O_RDWR | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return VOW_OK;
  int failed = fd < 0 ? errno : 0;
  uint8_t *buffer = malloc(COPY_BYTES);
  if (failed == 0) failed = buffer == NULL ? ENOMEM : rewrite(fd, buffer);
  free(buffer);
  if (fd >= 0) close(fd);
  if (failed == 0) return VOW_OK;
  log_explain(why, "%s cannot be written: %s%s", name, strerror_r(failed, text, sizeof text),
              failed == ENOMEM ? "" : "; look at the disk and the kernel's messages");
  return failed == ENOMEM                       ? VOW_E_NO_MEMORY
         : failed == ENOSPC || failed == EDQUOT ? VOW_E_LOG_FULL
                                                : VOW_E_LOG_IO;
}
