/*
 * A disk that fails when told to: a SQLite VFS in front of the real one. Installed once as the
 * default; harmless until a fault is set.
 */
#ifndef VOW_TESTS_FAULT_VFS_H
#define VOW_TESTS_FAULT_VFS_H

#include <stdbool.h>

#define FAULT_VERY_SLOW_MS 300

enum fault {
  FAULT_NONE = 0,
  FAULT_SYNC,           /* xSync fails with an I/O error */
  FAULT_WAL_SYNC,       /* of a WAL */
  FAULT_DB_SYNC,        /* of the database itself: a checkpoint's */
  FAULT_SLOW_SYNC,      /* xSync takes 5 ms longer */
  FAULT_VERY_SLOW_SYNC, /* by FAULT_VERY_SLOW_MS */
  FAULT_HELD_SYNC,      /* xSync waits as long as this is set, at most half a minute */
  FAULT_FULL,           /* xWrite: the disk is full */
  FAULT_WAL_FULL,       /* for a WAL */
  FAULT_DB_FULL,        /* for the database itself */
  FAULT_WRITE,          /* xWrite fails with an I/O error */
  FAULT_READ_ONLY,      /* files can be opened for reading only */
  FAULT_FULL_WHILE      /* fault_vfs_full_while() */
};

void fault_vfs_install(void);
/* From now on, in every file and thread; also in place of a call that was to fail. */
void fault_vfs_set(enum fault fault);
bool fault_vfs_holds_sync(void); /* one waits now */
/* The disk is full for a WAL as long as this file is there. */
void fault_vfs_full_while(const char *path);
/* The n-th open, read, write, truncate, sync or look at a size from now on fails, once. Of a write
 * half is done. */
void fault_vfs_fail_call(int n);
bool fault_vfs_call_has_failed(void); /* that one had its turn */

#endif
