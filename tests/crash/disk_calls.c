/*
 * The disk of disk.h as the code under test sees it: the linker sends its calls of the system here
 * (see CMakeLists.txt). Paths below DISK_FOLDER and descriptors that were opened there belong to
 * the disk, everything else goes on to the system.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "disk.h"

#define DESCRIPTOR_FIRST 1000000
#define DESCRIPTORS_MAX  64

static struct {
  bool used, folder;
  bool wal;
  bool read_signal, write_signal; /* is to come: once, for the WAL and the witness file */
  uint32_t file;
  uint64_t at;
} descriptors[DESCRIPTORS_MAX];

#define WRAPPED(result, name, ...)   \
  result __real_##name(__VA_ARGS__); \
  result __wrap_##name(__VA_ARGS__); \
  result __wrap_##name(__VA_ARGS__)

/* errno of a call that fails because it was told to. */
static int broken(void) {
  errno = EIO;
  return -1;
}

static bool is_ours(int fd) {
  return fd >= DESCRIPTOR_FIRST;
}

static int missing(void) {
  errno = ENOENT;
  return -1;
}

/* ---- descriptors ---- */

static int new_descriptor(const char *path, bool folder, uint32_t file) {
  for (int i = 0; i < DESCRIPTORS_MAX; i++) {
    if (descriptors[i].used) continue;
    descriptors[i].used = true;
    descriptors[i].folder = folder;
    descriptors[i].wal = strstr(path, "-wal") != NULL;
    descriptors[i].read_signal = descriptors[i].wal || strstr(path, "-witness") != NULL;
    descriptors[i].write_signal = descriptors[i].read_signal;
    descriptors[i].file = file;
    descriptors[i].at = 0;
    return DESCRIPTOR_FIRST + i;
  }
  errno = EMFILE;
  return -1;
}

static int open_inside(const char *path, int flags) {
  if (!disk_call_works()) return broken();
  if (strcmp(path, DISK_FOLDER) == 0) return new_descriptor(path, true, 0);
  int64_t file = disk_find(path);
  if (file >= 0 && (flags & O_CREAT) && (flags & O_EXCL)) {
    errno = EEXIST;
    return -1;
  }
  if (file < 0 && !(flags & O_CREAT)) return missing();
  if (file < 0) file = disk_create(path);
  if ((flags & O_TRUNC) && disk_size((uint32_t)file) > 0) disk_truncate((uint32_t)file, 0);
  return new_descriptor(path, false, (uint32_t)file);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  unsigned mode = flags & O_CREAT ? va_arg(arguments, unsigned) : 0;
  va_end(arguments);
  return disk_is_inside(path) ? open_inside(path, flags) : __real_open(path, flags, mode);
}

WRAPPED(int, mkostemp, char *name, int flags) {
  static unsigned next;
  if (!disk_is_inside(name)) return __real_mkostemp(name, flags);
  snprintf(name + strlen(name) - 6, 7, "%06u", ++next % 1000000);
  return open_inside(name, O_CREAT | O_EXCL);
}

WRAPPED(int, close, int fd) {
  if (!is_ours(fd)) return __real_close(fd);
  descriptors[fd - DESCRIPTOR_FIRST].used = false;
  return 0;
}

static bool is_interrupted(bool *signal) {
  bool now = *signal;
  *signal = false;
  if (now) errno = EINTR;
  return now;
}

WRAPPED(ssize_t, pread, int fd, void *data, size_t bytes, off_t at) {
  if (!is_ours(fd)) return __real_pread(fd, data, bytes, at);
  if (!disk_call_works()) return broken();
  if (is_interrupted(&descriptors[fd - DESCRIPTOR_FIRST].read_signal)) return -1;
  uint32_t file = descriptors[fd - DESCRIPTOR_FIRST].file;
  uint64_t size = disk_size(file), from = (uint64_t)at;
  size_t there = from < size ? (size_t)(size - from) : 0;
  if (there > bytes) there = bytes;
  disk_read(file, data, there, from);
  return (ssize_t)there;
}

WRAPPED(ssize_t, read, int fd, void *data, size_t bytes) {
  if (!is_ours(fd)) return __real_read(fd, data, bytes);
  uint64_t *at = &descriptors[fd - DESCRIPTOR_FIRST].at;
  ssize_t got = __wrap_pread(fd, data, bytes, (off_t)*at);
  if (got > 0) *at += (uint64_t)got;
  return got;
}

WRAPPED(ssize_t, pwrite, int fd, const void *data, size_t bytes, off_t at) {
  if (!is_ours(fd)) return __real_pwrite(fd, data, bytes, at);
  if (!disk_call_works()) return broken();
  if (is_interrupted(&descriptors[fd - DESCRIPTOR_FIRST].write_signal)) return -1;
  if (disk_faults.lie_about_rewriting && descriptors[fd - DESCRIPTOR_FIRST].wal)
    return (ssize_t)bytes;
  disk_write(descriptors[fd - DESCRIPTOR_FIRST].file, data, bytes, (uint64_t)at);
  return (ssize_t)bytes;
}

WRAPPED(ssize_t, write, int fd, const void *data, size_t bytes) {
  if (!is_ours(fd)) return __real_write(fd, data, bytes);
  uint64_t *at = &descriptors[fd - DESCRIPTOR_FIRST].at;
  ssize_t put = __wrap_pwrite(fd, data, bytes, (off_t)*at);
  if (put > 0) *at += (uint64_t)put;
  return put;
}

static int sync_inside(int fd) {
  if (!disk_call_works()) return broken();
  if (!descriptors[fd - DESCRIPTOR_FIRST].folder)
    return disk_sync(descriptors[fd - DESCRIPTOR_FIRST].file) ? 0 : broken();
  disk_sync_folder();
  return 0;
}

WRAPPED(int, fsync, int fd) {
  return is_ours(fd) ? sync_inside(fd) : __real_fsync(fd);
}

WRAPPED(int, fdatasync, int fd) {
  return is_ours(fd) ? sync_inside(fd) : __real_fdatasync(fd);
}

WRAPPED(int, ftruncate, int fd, off_t bytes) {
  if (!is_ours(fd)) return __real_ftruncate(fd, bytes);
  if (!disk_call_works()) return broken();
  disk_truncate(descriptors[fd - DESCRIPTOR_FIRST].file, (uint64_t)bytes);
  return 0;
}

WRAPPED(int, posix_fallocate, int fd, off_t at, off_t bytes) {
  if (!is_ours(fd)) return __real_posix_fallocate(fd, at, bytes);
  if (!disk_call_works()) return EIO;
  uint32_t file = descriptors[fd - DESCRIPTOR_FIRST].file;
  if ((uint64_t)(at + bytes) > disk_size(file)) disk_truncate(file, (uint64_t)(at + bytes));
  return 0;
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  if (!is_ours(fd)) return __real_fcntl(fd, command, argument);
  return disk_call_works() ? 0 : broken();
}

#define SENT_AT_ONCE 65536

WRAPPED(ssize_t, sendfile, int to, int from, off_t *at, size_t bytes) {
  static uint8_t data[SENT_AT_ONCE];
  if (!is_ours(to) || !is_ours(from)) return __real_sendfile(to, from, at, bytes);
  ssize_t got = __wrap_read(from, data, bytes < sizeof data ? bytes : sizeof data);
  return got > 0 ? __wrap_write(to, data, (size_t)got) : got;
}

WRAPPED(int, flock, int fd, int operation) {
  if (!is_ours(fd)) return __real_flock(fd, operation);
  return disk_call_works() ? 0 : broken();
}

/* Everybody is root, so that the same is done whoever runs the test; all files are root's. */
WRAPPED(uid_t, geteuid, void) {
  return 0;
}

WRAPPED(int, fchown, int fd, uid_t user, gid_t group) {
  if (!is_ours(fd)) return __real_fchown(fd, user, group);
  return disk_call_works() ? 0 : broken();
}

/* ---- the folder ---- */

/* Read from its end: what is removed meanwhile is replaced by what was read already. */
static struct {
  bool used;
  uint32_t left;
  struct dirent entry;
} listing;

WRAPPED(DIR *, opendir, const char *path) {
  if (!disk_is_inside(path)) return __real_opendir(path);
  if (!disk_call_works()) return broken(), NULL;
  if (listing.used) abort();
  listing.used = true;
  listing.left = 0;
  while (disk_name(listing.left) != NULL) listing.left++;
  return (DIR *)&listing;
}

WRAPPED(struct dirent *, readdir, DIR *folder) {
  if (folder != (DIR *)&listing) return __real_readdir(folder);
  while (listing.left > 0 && disk_name(listing.left - 1) == NULL) listing.left--;
  if (listing.left == 0) return NULL;
  snprintf(listing.entry.d_name, sizeof listing.entry.d_name, "%s",
           disk_name(--listing.left) + strlen(DISK_FOLDER "/"));
  return &listing.entry;
}

WRAPPED(int, closedir, DIR *folder) {
  if (folder != (DIR *)&listing) return __real_closedir(folder);
  listing.used = false;
  return 0;
}

/* ---- names ---- */

static int describe(int64_t file, struct stat *out) {
  if (file < 0) return missing();
  *out = (struct stat){.st_mode = S_IFREG | 0600, .st_nlink = 1, .st_ino = (ino_t)file + 1};
  out->st_size = (off_t)disk_size((uint32_t)file);
  out->st_blocks = (blkcnt_t)((out->st_size + 511) / 512);
  return 0;
}

static int stat_inside(const char *path, struct stat *out) {
  if (!disk_call_works()) return broken();
  if (strcmp(path, DISK_FOLDER) != 0) return describe(disk_find(path), out);
  *out = (struct stat){.st_mode = S_IFDIR | 0700, .st_nlink = 2};
  return 0;
}

WRAPPED(int, stat, const char *path, struct stat *out) {
  return disk_is_inside(path) ? stat_inside(path, out) : __real_stat(path, out);
}

WRAPPED(int, lstat, const char *path, struct stat *out) {
  return disk_is_inside(path) ? stat_inside(path, out) : __real_lstat(path, out);
}

WRAPPED(int, fstat, int fd, struct stat *out) {
  if (!is_ours(fd)) return __real_fstat(fd, out);
  return disk_call_works() ? describe(descriptors[fd - DESCRIPTOR_FIRST].file, out) : broken();
}

WRAPPED(int, access, const char *path, int mode) {
  if (!disk_is_inside(path)) return __real_access(path, mode);
  if (!disk_call_works()) return broken();
  return strcmp(path, DISK_FOLDER) == 0 || disk_find(path) >= 0 ? 0 : missing();
}

WRAPPED(char *, realpath, const char *path, char *out) {
  if (!disk_is_inside(path)) return __real_realpath(path, out);
  if (__wrap_access(path, F_OK) != 0) return NULL;
  return out == NULL ? strdup(path) : strcpy(out, path);
}

static int rename_inside(const char *from, const char *to, unsigned flags) {
  if (!disk_call_works()) return broken();
  if (disk_find(from) < 0) return missing();
  if ((flags & RENAME_NOREPLACE) && disk_find(to) >= 0) {
    errno = EEXIST;
    return -1;
  }
  disk_rename(from, to);
  return 0;
}

WRAPPED(int, renameat2, int from_folder, const char *from, int to_folder, const char *to,
        unsigned flags) {
  if (disk_is_inside(from)) return rename_inside(from, to, flags);
  return __real_renameat2(from_folder, from, to_folder, to, flags);
}

WRAPPED(int, rename, const char *from, const char *to) {
  return disk_is_inside(from) ? rename_inside(from, to, 0) : __real_rename(from, to);
}

WRAPPED(int, unlink, const char *path) {
  if (!disk_is_inside(path)) return __real_unlink(path);
  if (!disk_call_works()) return broken();
  if (disk_find(path) < 0) return missing();
  disk_remove(path);
  return 0;
}

WRAPPED(int, statvfs, const char *path, struct statvfs *out) {
  if (!disk_is_inside(path)) return __real_statvfs(path, out);
  if (!disk_call_works()) return broken();
  *out = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096, .f_blocks = 1 << 20};
  out->f_bfree = out->f_bavail = 1 << 19;
  return 0;
}
