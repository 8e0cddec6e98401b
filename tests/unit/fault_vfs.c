/* See fault_vfs.h. */
#include "fault_vfs.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct file {
  sqlite3_file base;
  int flags;
  sqlite3_file *real; /* right behind this struct */
};

/* Atomic, because a test sets them while other threads run. */
static _Atomic(enum fault) set;
static atomic_int fail_call; /* this call from now on fails, once; <= 0: none */
static atomic_bool holds_sync;
static char full_while[128];
static sqlite3_vfs *real_vfs;

static bool call_fails(void) {
  return atomic_load(&fail_call) > 0 && atomic_fetch_sub(&fail_call, 1) == 1;
}

static bool is(sqlite3_file *file, int flag) {
  return (((struct file *)file)->flags & flag) != 0;
}

static sqlite3_file *real_of(sqlite3_file *file) {
  return ((struct file *)file)->real;
}

static int on_close(sqlite3_file *f) {
  return real_of(f)->pMethods->xClose(real_of(f));
}

static int on_read(sqlite3_file *f, void *data, int bytes, sqlite3_int64 at) {
  if (call_fails()) return SQLITE_IOERR_READ;
  return real_of(f)->pMethods->xRead(real_of(f), data, bytes, at);
}

static bool is_full(sqlite3_file *f) {
  switch (atomic_load(&set)) {
    case FAULT_FULL:
      return true;
    case FAULT_WAL_FULL:
      return is(f, SQLITE_OPEN_WAL);
    case FAULT_DB_FULL:
      return is(f, SQLITE_OPEN_MAIN_DB);
    case FAULT_FULL_WHILE:
      return is(f, SQLITE_OPEN_WAL) && access(full_while, F_OK) == 0;
    default:
      return false;
  }
}

static int on_write(sqlite3_file *f, const void *data, int bytes, sqlite3_int64 at) {
  if (is_full(f)) return SQLITE_FULL;
  if (atomic_load(&set) == FAULT_WRITE) return SQLITE_IOERR_WRITE;
  if (call_fails()) {
    (void)real_of(f)->pMethods->xWrite(real_of(f), data, bytes / 2, at);
    return SQLITE_IOERR_WRITE;
  }
  return real_of(f)->pMethods->xWrite(real_of(f), data, bytes, at);
}

static int on_truncate(sqlite3_file *f, sqlite3_int64 bytes) {
  if (call_fails()) return SQLITE_IOERR_TRUNCATE;
  return real_of(f)->pMethods->xTruncate(real_of(f), bytes);
}

static void hold_sync(void) {
  atomic_store(&holds_sync, true);
  for (int ms = 0; atomic_load(&set) == FAULT_HELD_SYNC && ms < 30000; ms++) (void)usleep(1000);
  atomic_store(&holds_sync, false);
}

static int on_sync(sqlite3_file *f, int flags) {
  enum fault fault = atomic_load(&set);
  if (fault == FAULT_SYNC || (fault == FAULT_WAL_SYNC && is(f, SQLITE_OPEN_WAL)) ||
      (fault == FAULT_DB_SYNC && is(f, SQLITE_OPEN_MAIN_DB))) {
    return SQLITE_IOERR_FSYNC;
  }
  if (fault == FAULT_SLOW_SYNC) (void)usleep(5000);
  if (fault == FAULT_VERY_SLOW_SYNC) (void)usleep(FAULT_VERY_SLOW_MS * 1000);
  if (fault == FAULT_HELD_SYNC) hold_sync();
  if (call_fails()) return SQLITE_IOERR_FSYNC;
  return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int on_file_size(sqlite3_file *f, sqlite3_int64 *bytes) {
  if (call_fails()) return SQLITE_IOERR_FSTAT;
  return real_of(f)->pMethods->xFileSize(real_of(f), bytes);
}

static int on_lock(sqlite3_file *f, int level) {
  return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int on_unlock(sqlite3_file *f, int level) {
  return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int on_check_lock(sqlite3_file *f, int *result) {
  return real_of(f)->pMethods->xCheckReservedLock(real_of(f), result);
}

static int on_control(sqlite3_file *f, int operation, void *argument) {
  return real_of(f)->pMethods->xFileControl(real_of(f), operation, argument);
}

static int on_sector_size(sqlite3_file *f) {
  return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int on_characteristics(sqlite3_file *f) {
  return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int on_shm_map(sqlite3_file *f, int page, int bytes, int extend, void volatile **out) {
  return real_of(f)->pMethods->xShmMap(real_of(f), page, bytes, extend, out);
}

static int on_shm_lock(sqlite3_file *f, int offset, int count, int flags) {
  return real_of(f)->pMethods->xShmLock(real_of(f), offset, count, flags);
}

static void on_shm_barrier(sqlite3_file *f) {
  real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int on_shm_unmap(sqlite3_file *f, int remove) {
  return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_file_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check_lock,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_characteristics,
    .xShmMap = on_shm_map,
    .xShmLock = on_shm_lock,
    .xShmBarrier = on_shm_barrier,
    .xShmUnmap = on_shm_unmap,
};

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *out, int flags,
                   int *out_flags) {
  (void)vfs;
  struct file *file = (struct file *)out;
  file->base.pMethods = NULL;
  file->flags = flags;
  file->real = (sqlite3_file *)(file + 1);
  if (atomic_load(&set) == FAULT_READ_ONLY && (flags & SQLITE_OPEN_READWRITE)) {
    flags &= ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    flags |= SQLITE_OPEN_READONLY;
  }
  if (call_fails()) return SQLITE_CANTOPEN;
  int code = real_vfs->xOpen(real_vfs, name, file->real, flags, out_flags);
  if (code == SQLITE_OK) file->base.pMethods = &methods;
  return code;
}

void fault_vfs_install(void) {
  static sqlite3_vfs vfs;
  real_vfs = sqlite3_vfs_find(NULL);
  vfs = *real_vfs;
  vfs.zName = "fault";
  vfs.pNext = NULL;
  vfs.szOsFile = (int)sizeof(struct file) + real_vfs->szOsFile;
  vfs.xOpen = on_open;
  (void)sqlite3_vfs_register(&vfs, 1);
}

void fault_vfs_set(enum fault fault) {
  atomic_store(&fail_call, 0);
  atomic_store(&set, fault);
}

bool fault_vfs_holds_sync(void) {
  return atomic_load(&holds_sync);
}

void fault_vfs_full_while(const char *path) {
  (void)snprintf(full_while, sizeof full_while, "%s", path);
  fault_vfs_set(FAULT_FULL_WHILE);
}

void fault_vfs_fail_call(int n) {
  atomic_store(&fail_call, n);
}

bool fault_vfs_call_has_failed(void) {
  return atomic_load(&fail_call) <= 0;
}
