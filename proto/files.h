/*
 * Which files an SQLite database and its write-ahead log are. A file that is moved, deleted or
 * replaced while it is open is written on as if nothing had happened, and is not what the next
 * start finds: what is promised or decided from then on would be lost with the process. The
 * write-ahead log counts as well: without it the database lacks all since the last checkpoint. A
 * file that is written over in place (cp, truncate) stays the same file, and is not noticed.
 */
#ifndef VOW_PROTO_FILES_H
#define VOW_PROTO_FILES_H

#include <stdbool.h>
#include <sys/types.h>

struct vow_files {
  struct {
    dev_t device;
    ino_t inode; /* 0: there was none */
  } of[2];
};

/* Those that have the names now. `path`: of the database. Blocks: two stat(2), as the next. */
void vow_files_note(struct vow_files *files, const char *path);
/* Other files have the names now, or none. A disk that does not answer is no proof: false. */
bool vow_files_moved(const struct vow_files *files, const char *path);

#endif
