/*
 * Mistakes that can be switched on one at a time, to show that each is noticed. Some are the
 * disk's, some are put into the real code by changing what it says to SQLite, and some are the
 * workload's, which then knows or tells something too early.
 */
#ifndef VOW_TESTS_CRASH_MISTAKES_H
#define VOW_TESTS_CRASH_MISTAKES_H

#include <stdbool.h>

/* M(constant, "name", sides, "what it is"); sides: c coordinator, p participant, b both */
#define MISTAKE_TABLE(M)                                                                           \
  M(NORMAL_SYNC, "normal-sync", 'b', "synchronous=NORMAL: a commit is not synced")                 \
  M(EARLY_REVEAL, "early-reveal", 'b', "what is queued is called durable before the sync")         \
  M(FAILED_IS_ABORT, "failed-is-abort", 'b', "a COMMIT that failed is taken for an abort")         \
  M(BELIEVE_CACHE, "believe-cache", 'b', "a start believes what it reads without writing it back") \
  M(NO_REWRITE, "no-rewrite", 'b', "a start writes a WAL back that the disk may not have")         \
  M(NO_FOLDER_SYNC, "no-folder-sync", 'b', "the folder is not synced after the log was made")      \
  M(NO_BASE_SYNC, "no-base-sync", 'b', "the database is not synced before its WAL is dropped")     \
  M(NO_TRANSACTION, "no-transaction", 'b', "the rows of a batch are written one by one")           \
  M(EARLY_WITNESS, "early-witness", 'c', "the witness file is written before the log is synced")   \
  M(TORN_WITNESS, "torn-witness", 'c', "a line of the witness file is believed without its sum")   \
  M(NO_WITNESS, "no-witness", 'c', "the witness file is not written")                              \
  M(NO_WITNESS_SYNC, "no-witness-sync", 'c', "the witness file is not synced at checkpoints")      \
  M(KNOWS_ALL, "knows-all", 'c', "a log takes for its own whatever a witness has seen")            \
  M(UNSYNCED_BACKUP, "unsynced-backup", 'c', "a backup gets its name before it is synced")         \
  M(UNSYNCED_RESTORE, "unsynced-restore", 'c', "a restored log is not synced")                     \
  M(LATE_MARK, "late-mark", 'c', "a restored log gets its name before its mark")                   \
  M(NO_RESTORE_SYNC, "no-restore-sync", 'c', "the folder is not synced by a restore")              \
  M(TWO_WRITES, "two-writes", 'c', "a quarantine ends before what was decided is written")         \
  M(PURGE_NEWEST, "purge-newest", 'c', "the purge takes the newest ends")

enum mistake {
  MISTAKE_NONE = 0,
#define MISTAKE_CONSTANT(constant, name, sides, text) MISTAKE_##constant,
  MISTAKE_TABLE(MISTAKE_CONSTANT)
#undef MISTAKE_CONSTANT
      MISTAKE_COUNT
};

extern enum mistake mistake;

const char *mistake_name(enum mistake which);
const char *mistake_text(enum mistake which);
bool mistake_concerns(enum mistake which, char side);
enum mistake mistake_parse(const char *name); /* MISTAKE_NONE: there is none of this name */
/* Switches it on, as far as it is the disk's or the code's. */
void mistake_begin(enum mistake which);

#endif
