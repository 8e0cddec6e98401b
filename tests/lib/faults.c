/*
 * A library for LD_PRELOAD that gives one process a small or read-only disk, syncs and other calls
 * that fail, and a clock that jumps, while it runs, without privileges. vowtest/faults.py sets it
 * up and changes it.
 *
 * What is to go wrong stands in a file of the layout below, mapped by both. FAULTS_CONTROL names
 * it; without it nothing goes wrong. The real work is done by system calls and not by the next
 * library, so that nothing is looked up while a sanitizer's runtime, which comes first, is not
 * ready.
 *
 *   disk    a folder of `capacity` bytes. What its files have, in blocks, is in use. A write that
 *           does not fit is cut at what does, like on a disk; one of which nothing fits is ENOSPC.
 *   sync    fsync and fdatasync of files whose path contains `pattern` are counted, and the k-th
 *           fails with EIO, or all from the k-th on. Nothing is synced then, and what was written
 *           stays visible.
 *   call    calls that open or change a file or folder whose path contains `call_pattern` are
 *           counted, and the k-th fails, or the process is killed at it. Of a write half is done.
 *   clock   what is added to the wall clock. The monotonic clock goes on.
 *
 * FAULTS_TRUST names the file that is read in place of the list of authorities this machine trusts.
 * With FAULTS_ANSWERED what a process sends has been answered when the call returns.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "control.h"

#define BLOCK       4096
#define AUTHORITIES "/etc/ssl/certs/ca-certificates.crt"

/* faults.py knows the offsets. */
struct control {
  _Atomic int64_t capacity;   /*   0: bytes; < 0: there is no small disk */
  _Atomic int64_t read_only;  /*   8: what opening for writing fails with; 0: nothing */
  _Atomic int64_t sync_count; /*  16: syncs of matching files so far */
  _Atomic int64_t sync_fail;  /*  24: the one that fails; 0: none */
  _Atomic int64_t sync_stays; /*  32: those after it fail, too */
  _Atomic int64_t clock_ms;   /*  40 */
  _Atomic int64_t refused;    /*  48: what has gone wrong so far */
  char folder[512];           /*  56: of the small disk, without a link in it */
  char pattern[128];          /* 568 */
  _Atomic int64_t call_count; /* 696: calls of matching paths so far */
  _Atomic int64_t call_fail;  /* 704: the one that is struck; 0: none */
  _Atomic int64_t call_error; /* 712: what it fails with; < 0: the process is killed */
  char call_pattern[128];     /* 720 */
};
_Static_assert(sizeof(struct control) == 848, "faults.py has the same layout");

static struct control *control;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("FAULTS_CONTROL");
  if (!path) return;
  control = control_map(path, sizeof *control);
}

static int refuse(int error) {
  control->refused++;
  errno = error;
  return -1;
}

/* ---- which file ---- */

static bool path_of(int fd, char path[PATH_MAX]) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t bytes = readlink(link, path, PATH_MAX - 1);
  path[bytes > 0 ? bytes : 0] = '\0';
  return bytes > 0;
}

/* Counts a call; true: it is the one to be struck. */
static bool is_due(const char *path) {
  if (!control || !control->call_pattern[0] || !strstr(path, control->call_pattern)) return false;
  return ++control->call_count == control->call_fail;
}

static bool is_due_of(int fd) {
  char path[PATH_MAX];
  return control && control->call_pattern[0] && path_of(fd, path) && is_due(path);
}

static int strike(void) {
  if (control->call_error < 0) syscall(SYS_kill, getpid(), SIGKILL);
  return refuse((int)control->call_error);
}

static bool is_within(const char *path) {
  size_t bytes = strlen(control->folder);
  return bytes > 0 && strncmp(path, control->folder, bytes) == 0 &&
         (path[bytes] == '/' || path[bytes] == '\0');
}

static bool is_on_disk(int fd) {
  char path[PATH_MAX];
  return control && control->capacity >= 0 && path_of(fd, path) && is_within(path);
}

/* ---- the small disk ---- */

static int64_t blocks(int64_t bytes) {
  return (bytes + BLOCK - 1) / BLOCK * BLOCK;
}

static int64_t free_bytes(void) {
  int64_t used = 0;
  struct stat st;
  DIR *folder = opendir(control->folder);
  if (!folder) abort();
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    if (fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
      used += blocks(st.st_size);
  }
  closedir(folder);
  return used < control->capacity ? control->capacity - used : 0;
}

/* How many of the bytes fit. */
static int64_t fits(int fd, int64_t offset, int64_t bytes) {
  struct stat st;
  if (!is_on_disk(fd) || fstat(fd, &st) != 0) return bytes;
  int64_t room = blocks(st.st_size) + free_bytes() / BLOCK * BLOCK - offset;
  return room < 0 ? 0 : room < bytes ? room : bytes;
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) {
  int64_t fitting = fits(fd, offset, (int64_t)bytes);
  if (fitting == 0 && bytes > 0) return refuse(ENOSPC);
  if (is_due_of(fd)) {
    (void)!syscall(SYS_pwrite64, fd, data, (size_t)fitting / 2, offset);
    return strike();
  }
  return syscall(SYS_pwrite64, fd, data, (size_t)fitting, offset);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) {
  return pwrite64(fd, data, bytes, offset);
}

ssize_t write(int fd, const void *data, size_t bytes) {
  off_t offset = is_on_disk(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
  int64_t fitting = fits(fd, offset, (int64_t)bytes);
  if (fitting == 0 && bytes > 0) return refuse(ENOSPC);
  if (is_due_of(fd)) {
    (void)!syscall(SYS_write, fd, data, (size_t)fitting / 2);
    return strike();
  }
  return syscall(SYS_write, fd, data, (size_t)fitting);
}

int posix_fallocate64(int fd, off64_t offset, off64_t bytes) {
  if (fits(fd, offset, bytes) < bytes) {
    refuse(ENOSPC);
    return ENOSPC;
  }
  if (is_due_of(fd)) {
    strike();
    return errno;
  }
  return syscall(SYS_fallocate, fd, 0, offset, bytes) == 0 ? 0 : errno;
}

int posix_fallocate(int fd, off_t offset, off_t bytes) {
  return posix_fallocate64(fd, offset, bytes);
}

static int say_free(int result, const char *path, struct statvfs *out) {
  char real[PATH_MAX];
  if (result != 0 || !control || control->capacity < 0 || !realpath(path, real)) return result;
  if (is_within(real)) out->f_bavail = out->f_bfree = (fsblkcnt_t)free_bytes() / out->f_frsize;
  return 0;
}

int statvfs(const char *path, struct statvfs *out) {
  int (*next)(const char *, struct statvfs *) =
      (int (*)(const char *, struct statvfs *))dlsym(RTLD_NEXT, "statvfs");
  return say_free(next(path, out), path, out);
}

/* The same layout, where off_t has 64 bits. */
int statvfs64(const char *path, struct statvfs64 *out) {
  return statvfs(path, (struct statvfs *)out);
}

/* ---- the read-only disk ---- */

static bool is_refused(const char *path, int flags) {
  char real[PATH_MAX];
  if (!control || !control->read_only || (flags & (O_ACCMODE | O_CREAT)) == O_RDONLY) return false;
  if (realpath(path, real)) return is_within(real);
  const char *slash = strrchr(path, '/'); /* a file that is to be created */
  char folder[PATH_MAX];
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
  return realpath(folder, real) && is_within(real);
}

int open64(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (is_refused(path, flags)) return refuse((int)control->read_only);
  if (is_due(path)) return strike();
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return open64(path, flags, mode);
}

/* Libcrypto's way to read a file. */
FILE *fopen64(const char *path, const char *mode) {
  FILE *(*next)(const char *, const char *) =
      (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen64");
  const char *trust = getenv("FAULTS_TRUST");
  return next(trust && strcmp(path, AUTHORITIES) == 0 ? trust : path, mode);
}

int unlink(const char *path) {
  if (is_refused(path, O_RDWR)) return refuse((int)control->read_only);
  if (is_due(path)) return strike();
  return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* ---- calls that only fail ---- */

int mkostemp64(char *path, int flags) {
  int (*next)(char *, int) = (int (*)(char *, int))dlsym(RTLD_NEXT, "mkostemp64");
  return is_due(path) ? strike() : next(path, flags);
}

int mkostemp(char *path, int flags) {
  return mkostemp64(path, flags);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
  if (is_due(to)) return strike();
  return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
}

int ftruncate64(int fd, off64_t bytes) {
  return is_due_of(fd) ? strike() : (int)syscall(SYS_ftruncate, fd, bytes);
}

int ftruncate(int fd, off_t bytes) {
  return ftruncate64(fd, bytes);
}

int fchown(int fd, uid_t user, gid_t group) {
  return is_due_of(fd) ? strike() : (int)syscall(SYS_fchown, fd, user, group);
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t bytes) {
  if (!is_due_of(to)) return syscall(SYS_sendfile, to, from, offset, bytes);
  (void)!syscall(SYS_sendfile, to, from, offset, bytes / 2);
  return strike();
}

ssize_t sendfile(int to, int from, off_t *offset, size_t bytes) {
  return sendfile64(to, from, offset, bytes);
}

/* ---- answers ---- */

ssize_t send(int fd, const void *data, size_t bytes, int flags) {
  ssize_t (*next)(int, const void *, size_t, int) =
      (ssize_t(*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
  ssize_t sent = next(fd, data, bytes, flags);
  struct pollfd answer = {.fd = fd, .events = POLLIN};
  if (sent > 0 && getenv("FAULTS_ANSWERED")) poll(&answer, 1, -1);
  return sent;
}

/* ---- syncs ---- */

static bool sync_fails(int fd) {
  char path[PATH_MAX];
  if (!control || !control->pattern[0] || !path_of(fd, path)) return false;
  if (!strstr(path, control->pattern)) return false;
  int64_t nth = ++control->sync_count, fail = control->sync_fail;
  return fail > 0 && (control->sync_stays ? nth >= fail : nth == fail);
}

int fsync(int fd) {
  if (is_due_of(fd)) return strike();
  return sync_fails(fd) ? refuse(EIO) : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
  if (is_due_of(fd)) return strike();
  return sync_fails(fd) ? refuse(EIO) : (int)syscall(SYS_fdatasync, fd);
}

/* ---- the clock ---- */

int clock_gettime(clockid_t id, struct timespec *out) {
  int result = (int)syscall(SYS_clock_gettime, id, out);
  if (result != 0 || !control || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
    return result;
  int64_t ms = control->clock_ms;
  out->tv_sec += ms / 1000;
  out->tv_nsec += ms % 1000 * 1000000;
  if (out->tv_nsec < 0) {
    out->tv_nsec += 1000000000;
    out->tv_sec--;
  } else if (out->tv_nsec >= 1000000000) {
    out->tv_nsec -= 1000000000;
    out->tv_sec++;
  }
  return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  out->tv_sec = now.tv_sec;
  out->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
