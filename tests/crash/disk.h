/*
 * A disk in memory that knows what a power cut may leave of it. It has one folder, DISK_FOLDER, and
 * two views of each file: the cache, which every process sees, and the platter, which survives.
 * What changes the cache waits ("pending") until a sync brings it to the platter. A cut keeps any
 * part of what waits: each write as a whole, not at all, or some of its sectors; each creation,
 * removal and renaming or not.
 *
 * A write reaches the platter in whole sectors, as they stood in the cache just then; one to the
 * witness file may also be torn at any byte. A sync that fails has written some of what waited, and
 * forgets the rest: the cache still shows it, and no later sync writes it, as Linux has it.
 *
 * SQLite comes here through a VFS (disk_vfs.c), the code under test through the linker
 * (disk_calls.c). Everything that is done is noted as an operation; replaying the operations on
 * another disk gives its every state again.
 *
 * Threads: none; one at a time (turns.h).
 */
#ifndef VOW_TESTS_DISK_H
#define VOW_TESTS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_FOLDER      "/crash"
#define DISK_SECTOR      512u
#define DISK_NAME_BYTES  64
#define DISK_ENTRIES_MAX 32
#define DISK_PENDING_MAX 4096

enum disk_op_type {
  DISK_WRITE = 1,
  DISK_TRUNCATE,
  DISK_SYNC,
  DISK_SYNC_FAILED,
  DISK_CREATE,
  DISK_REMOVE,
  DISK_RENAME,
  DISK_SYNC_FOLDER,
  DISK_CUT /* the power failed, and came back */
};

/* What becomes of a pending operation. */
enum disk_fate { DISK_DROP = 0, DISK_KEEP, DISK_TEAR };

struct disk_op {
  enum disk_op_type type;
  uint32_t file;
  uint64_t at; /* of WRITE; of TRUNCATE: the new size */
  uint32_t bytes;
  uint64_t from; /* WRITE: the sectors that it touches, and what is in them after it */
  uint32_t span;
  uint8_t *data; /* owned: of WRITE the sectors; of SYNC_FAILED, CUT a fate for each pending op */
  uint64_t torn; /* SYNC_FAILED, CUT: draws the sectors of what is torn */
  char name[DISK_NAME_BYTES];
  char to[DISK_NAME_BYTES];
};

struct disk_file {
  uint8_t *cache, *platter; /* owned */
  uint64_t cache_bytes, platter_bytes;
  uint64_t cache_room, platter_room;
};

struct disk_folder {
  struct disk_entry {
    char name[DISK_NAME_BYTES];
    uint32_t file;
  } entries[DISK_ENTRIES_MAX];
  uint32_t count;
};

struct disk {
  struct disk_file *files; /* owned; never shrinks: who has a removed file open still sees it */
  uint32_t file_count;
  struct disk_folder cache, platter;
  const struct disk_op *pending[DISK_PENDING_MAX];
  uint32_t pending_count;
};

struct disk_history {
  struct disk_op **ops; /* owned */
  uint32_t count, capacity;
};

/* ---- states of a disk ---- */

struct disk *disk_new(void);
void disk_free(struct disk *disk); /* NULL is fine */
/* Does once more what was noted. */
void disk_replay(struct disk *disk, const struct disk_op *op);
/* What a power cut leaves: the platter and, of what is pending, what the fates say. `out` is used
 * again and again; nothing may be noted about it. */
void disk_after_cut(const struct disk *disk, const uint8_t *fates, uint64_t torn, struct disk *out);
void disk_history_free(struct disk_history *history);
/* One line about an operation. */
void disk_describe(const struct disk_op *op, char *out, size_t bytes);

uint64_t disk_random(uint64_t *state);

/* ---- the disk in use: what the code under test sees ---- */

/* Operations are noted in `history`; NULL: nobody needs the platter any more. */
void disk_use(struct disk *disk, struct disk_history *history);
/* The power fails and comes back: what is pending has a fate drawn from `seed`. */
void disk_cut_now(uint64_t seed);

/* What goes wrong. A countdown of n: the n-th from now on, once; 0: none. */
struct disk_faults {
  int fail_sync;  /* of files */
  int fail_call;  /* of all calls that can fail */
  int full_for;   /* so many of SQLite's writes that need room find none, */
  int full_after; /* once so many have found it */
  bool dead;      /* the process has been killed: nothing it does has an effect */
  uint64_t seed;  /* draws what a failed sync has written */
  /* Mistakes: these say yes and do nothing. */
  bool lie_about_base;        /* a sync of the database */
  bool lie_about_folder;      /* a sync of the folder */
  const char *lie_about_file; /* a sync of files that have this in their name; NULL: of none */
  bool lie_about_rewriting;   /* a write to a WAL that does not come from SQLite */
};
extern struct disk_faults disk_faults;
extern uint32_t disk_syncs; /* of files, so far */

/* False: the call is to fail, or its process is dead. */
bool disk_call_works(void);
/* False: the disk is full, and a write up to there needs room. */
bool disk_has_room(uint32_t number, uint64_t end);
bool disk_is_inside(const char *path); /* DISK_FOLDER or below it */
/* These work on full paths, and on numbers of files. */
int64_t disk_find(const char *path); /* -1: not there */
const char *disk_name(uint32_t n);   /* the n-th in the folder; NULL: there are not so many */
uint32_t disk_create(const char *path);
void disk_remove(const char *path);
void disk_rename(const char *from, const char *to);
void disk_read(uint32_t number, void *data, size_t bytes, uint64_t at); /* zeros behind the end */
void disk_write(uint32_t number, const void *data, size_t bytes, uint64_t at);
void disk_truncate(uint32_t number, uint64_t bytes);
uint64_t disk_size(uint32_t number);
bool disk_sync(uint32_t number);
void disk_sync_folder(void);

/* disk_vfs.c: makes it SQLite's only VFS, with salts that repeat. */
void disk_vfs_install(void);
void disk_vfs_seed(uint64_t seed);
/* sqlite_memory.c: before SQLite is used for anything else. */
void sqlite_memory_install(void);
/* Databases that are opened from now on have room for few pages, and spill. */
void sqlite_memory_make_small(bool small);

#endif
