/*
 * A disk that fails when told to: a SQLite VFS in front of the real one. Installed once as the
 * default; harmless until a fault is set.
 */
#ifndef VOW_TESTS_FAULT_VFS_H
#define VOW_TESTS_FAULT_VFS_H

enum fault {
  FAULT_NONE = 0,
  FAULT_SYNC,     /* xSync fails with an I/O error */
  FAULT_FULL,     /* xWrite: the disk is full */
  FAULT_WRITE,    /* xWrite fails with an I/O error */
  FAULT_DB_SYNC,  /* xSync of the database itself (not of its WAL) fails: a checkpoint's */
  FAULT_READ_ONLY /* files can be opened for reading only */
};

void fault_vfs_install(void);
/* From now on, in every file and thread. */
void fault_vfs_set(enum fault fault);

#endif
