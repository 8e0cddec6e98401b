/*
 * The disk of disk.h as SQLite sees it. It behaves as SQLite's own VFS for Unix does where that
 * matters for what survives: a journal or WAL that was just made has its folder synced with its
 * first sync, a removal is followed by a sync of the folder when SQLite asks for one, and sectors
 * and promises of the device are those that the real one reports (`crash.self_test` compares them).
 * Shared memory is plain memory: everybody lives in this process, and nobody has to wait for locks.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "turns.h"

#define SHM_REGIONS 4

struct file {
  sqlite3_file base;
  uint32_t number;
  int flags;
  bool folder_due; /* its name has not been synced yet */
  char path[DISK_NAME_BYTES];
  void *shm[SHM_REGIONS]; /* owned */
};

static uint64_t salts;

static struct file *as_file(sqlite3_file *file) {
  return (struct file *)file;
}

static int on_close(sqlite3_file *base) {
  struct file *f = as_file(base);
  for (int i = 0; i < SHM_REGIONS; i++) free(f->shm[i]);
  if (f->flags & SQLITE_OPEN_DELETEONCLOSE) disk_remove(f->path);
  return SQLITE_OK;
}

static int on_read(sqlite3_file *base, void *data, int bytes, sqlite3_int64 at) {
  struct file *f = as_file(base);
  if (!disk_call_works()) return SQLITE_IOERR_READ;
  disk_read(f->number, data, (size_t)bytes, (uint64_t)at);
  return (uint64_t)at + (uint64_t)bytes > disk_size(f->number) ? SQLITE_IOERR_SHORT_READ
                                                               : SQLITE_OK;
}

static int on_write(sqlite3_file *base, const void *data, int bytes, sqlite3_int64 at) {
  uint32_t number = as_file(base)->number;
  if (disk_faults.dead) return SQLITE_IOERR_WRITE;
  bool works = disk_call_works();
  bool fits = disk_has_room(number, (uint64_t)at + (uint64_t)bytes);
  /* Of one that fails half is there. */
  disk_write(number, data, (size_t)(works && fits ? bytes : bytes / 2), (uint64_t)at);
  return !works ? SQLITE_IOERR_WRITE : fits ? SQLITE_OK : SQLITE_FULL;
}

static int on_truncate(sqlite3_file *base, sqlite3_int64 bytes) {
  if (!disk_call_works()) return SQLITE_IOERR_TRUNCATE;
  disk_truncate(as_file(base)->number, (uint64_t)bytes);
  return SQLITE_OK;
}

static int on_sync(sqlite3_file *base, int flags) {
  struct file *f = as_file(base);
  (void)flags;
  if (!disk_call_works()) return SQLITE_IOERR_FSYNC;
  if (disk_faults.lie_about_base && (f->flags & SQLITE_OPEN_MAIN_DB)) return SQLITE_OK;
  if (!disk_sync(f->number)) return SQLITE_IOERR_FSYNC;
  if (f->folder_due) disk_sync_folder();
  f->folder_due = false;
  return SQLITE_OK;
}

static int on_file_size(sqlite3_file *base, sqlite3_int64 *bytes) {
  if (!disk_call_works()) return SQLITE_IOERR_FSTAT;
  *bytes = (sqlite3_int64)disk_size(as_file(base)->number);
  return SQLITE_OK;
}

static int on_lock(sqlite3_file *base, int level) {
  (void)base;
  (void)level;
  return SQLITE_OK;
}

static int on_check_lock(sqlite3_file *base, int *result) {
  (void)base;
  *result = 0;
  return SQLITE_OK;
}

static int on_control(sqlite3_file *base, int operation, void *argument) {
  (void)base;
  if (operation != SQLITE_FCNTL_MMAP_SIZE) return SQLITE_NOTFOUND;
  *(sqlite3_int64 *)argument = 0; /* is never mapped */
  return SQLITE_OK;
}

static int on_sector_size(sqlite3_file *base) {
  (void)base;
  return 4096;
}

static int on_characteristics(sqlite3_file *base) {
  (void)base;
  return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int on_shm_map(sqlite3_file *base, int region, int bytes, int extend, void volatile **out) {
  struct file *f = as_file(base);
  if (region >= SHM_REGIONS) return SQLITE_IOERR_SHMMAP;
  if (f->shm[region] == NULL && extend) f->shm[region] = calloc(1, (size_t)bytes);
  *out = f->shm[region];
  return SQLITE_OK;
}

static int on_shm_lock(sqlite3_file *base, int offset, int count, int flags) {
  (void)base;
  (void)offset;
  (void)count;
  (void)flags;
  return SQLITE_OK;
}

static void on_shm_barrier(sqlite3_file *base) {
  (void)base;
}

static int on_shm_unmap(sqlite3_file *base, int remove) {
  (void)base;
  (void)remove;
  return SQLITE_OK;
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
    .xUnlock = on_lock,
    .xCheckReservedLock = on_check_lock,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_characteristics,
    .xShmMap = on_shm_map,
    .xShmLock = on_shm_lock,
    .xShmBarrier = on_shm_barrier,
    .xShmUnmap = on_shm_unmap,
};

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
                   int *out_flags) {
  static unsigned temporary;
  struct file *f = as_file(base);
  (void)vfs;
  *f = (struct file){.flags = flags};
  if (!disk_call_works()) return SQLITE_CANTOPEN;
  if (name == NULL) snprintf(f->path, sizeof f->path, DISK_FOLDER "/temporary-%u", ++temporary);
  if (name != NULL && strlen(name) >= sizeof f->path) return SQLITE_CANTOPEN;
  if (name != NULL) snprintf(f->path, sizeof f->path, "%s", name);
  int64_t number = disk_find(f->path);
  if (number < 0 && !(flags & SQLITE_OPEN_CREATE)) return SQLITE_CANTOPEN;
  if (number < 0) {
    f->folder_due = (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) != 0;
    number = disk_create(f->path);
  }
  f->number = (uint32_t)number;
  f->base.pMethods = &methods;
  if (out_flags != NULL) *out_flags = flags;
  return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *vfs, const char *name, int sync_folder) {
  (void)vfs;
  if (!disk_call_works()) return SQLITE_IOERR_DELETE;
  if (disk_find(name) < 0) return SQLITE_IOERR_DELETE_NOENT;
  disk_remove(name);
  if (sync_folder) disk_sync_folder();
  return SQLITE_OK;
}

/* An empty file does not exist for SQLite's Unix VFS when it looks for a journal or WAL. */
static int on_access(sqlite3_vfs *vfs, const char *name, int flags, int *result) {
  (void)vfs;
  if (!disk_call_works()) return SQLITE_IOERR_ACCESS;
  int64_t file = disk_find(name);
  *result = file >= 0 && (flags != SQLITE_ACCESS_EXISTS || disk_size((uint32_t)file) > 0);
  return SQLITE_OK;
}

static int on_full_name(sqlite3_vfs *vfs, const char *name, int bytes, char *out) {
  (void)vfs;
  return snprintf(out, (size_t)bytes, "%s", name) < bytes ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int on_randomness(sqlite3_vfs *vfs, int bytes, char *out) {
  (void)vfs;
  for (int i = 0; i < bytes; i++) out[i] = (char)disk_random(&salts);
  return bytes;
}

static int on_sleep(sqlite3_vfs *vfs, int microseconds) {
  (void)vfs;
  return microseconds;
}

static int on_time(sqlite3_vfs *vfs, sqlite3_int64 *out) {
  (void)vfs;
  *out = INT64_C(210866760000000) + (sqlite3_int64)turns_now_ms();
  return SQLITE_OK;
}

static int on_last_error(sqlite3_vfs *vfs, int bytes, char *out) {
  (void)vfs;
  if (bytes > 0) out[0] = '\0';
  return 0;
}

void disk_vfs_seed(uint64_t seed) {
  salts = seed;
  sqlite3_randomness(0, NULL); /* SQLite's own generator begins again with ours */
}

void disk_vfs_install(void) {
  static sqlite3_vfs vfs = {
      .iVersion = 2,
      .szOsFile = sizeof(struct file),
      .mxPathname = DISK_NAME_BYTES,
      .zName = "disk",
      .xOpen = on_open,
      .xDelete = on_delete,
      .xAccess = on_access,
      .xFullPathname = on_full_name,
      .xRandomness = on_randomness,
      .xSleep = on_sleep,
      .xGetLastError = on_last_error,
      .xCurrentTimeInt64 = on_time,
  };
  (void)sqlite3_vfs_register(&vfs, 1);
}
