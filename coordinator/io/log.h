/*
 * The durable transaction log: one SQLite database, one connection, one thread that writes
 * everything that is queued in one transaction and one sync. log.c (with log_*.c beside it sharing
 * log_internal.h) is the only part of the coordinator that includes sqlite3.h. The rules it keeps
 * are numbered 1..8 in coordinator/README.md, "Log rules".
 *
 * One row a transaction, its newest image (record.h) with a checksum. Open transactions and ended
 * ones stand in tables of their own, so that recovery never depends on the history. Queued records
 * of one transaction are joined: only the newest image is written.
 *
 * Files: <path>, <path>-wal (belongs to it: never move or delete one without the other),
 * <path>-reserve (disk space kept for decisions) and <path>-witness (witness.h). Closing any
 * descriptor of <path> inside the process would drop its lock: nobody else in the daemon may open
 * it.
 *
 * Threads: one owner (the loop) calls everything, from one thread at a time; `wake` is called on
 * the log thread.
 */
#ifndef VOW_COORDINATOR_LOG_H
#define VOW_COORDINATOR_LOG_H

#include "core/core.h"
#include "io/witness.h"

struct vow_log;

#define VOW_LOG_WHY_BYTES 512
#define VOW_LOG_FORMAT    7 /* PRAGMA user_version */
/* Is read, and upgraded by the first start that writes: it lacks tables (log_trust.c), has indexes
 * that nobody needs, and its open rows stand otherwise (log_place.c). Records stay as they are, see
 * record.c. */
#define VOW_LOG_FORMAT_OLDEST 3

struct vow_log_config {
  const char *path;
  bool create;    /* make the file if it is missing; else that is VOW_E_LOG_IO */
  bool read_only; /* offline reading: nothing is changed, no checkpoint is made; start() is refused.
                     Sees what a killed daemon left in the WAL. A damaged log opens, too */
  uint32_t lazy_flush_ms; /* an unforced record is synced after this at the latest */
  uint32_t ahead_min;     /* so many records that wait have their rows written before they are due,
                             without COMMIT; 0: 16 */
  uint64_t wal_bytes_max; /* checkpoint when the WAL is larger */
  uint64_t reserve_bytes; /* kept in a file of its own for decisions and ends on a full disk; when
                             less than as much again is free, VOW_E_LOG_FULL is reported. 0: none */
  uint64_t retention_age_ms; /* ended transactions older than this are purged; 0: at once */
  uint64_t retention_count;  /* and those beyond this many */
  uint32_t purge_step;       /* rows a step */
  const char *restored_from; /* it is a copy of this backup, not in its place yet: it goes into
                                quarantine, and no witness is kept */
  const char *advertise_url; /* kept in the log for whoever recovers it; NULL: as it was */
  uint32_t lend_max_us; /* the owner writes itself what vow_log_flush leaves to it, as long as the
                           last write took no longer than this; 0: not */
  void (*wake)(void *context); /* something is there for vow_log_poll; called on the log thread, or
                                  from vow_log_write */
  void *wake_context;
};

/* Once, at the beginning of a process that is vowd's own, before anything else here: SQLite counts
 * no memory. Nobody asks for the sum, and it takes a lock for each allocation and each release. */
void vow_log_process_init(void);

/* Opens, locks, verifies (rule 3: quick_check, checksums of the open rows, checkpoint, fsync of
 * file and folder) and raises the incarnation. Blocks: on disk. `why` gets what is wrong and what
 * to do about it; a log that is refused as damaged, locked or of another version is left as it was
 * found. VOW_E_LOG_*. */
enum vow_error vow_log_open(struct vow_log **out, const struct vow_log_config *config,
                            char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* Writes what is queued, joins the thread, checkpoints. Queries that wait are answered: all that
 * have not run by then with VOW_E_DRAINING, done() being called from here. Only vow_log_close may
 * follow. Blocks: on disk. An error, of now or before, says that the process must not end as if all
 * were well; the next start finds what is in the log. VOW_E_LOG_*, VOW_E_NO_MEMORY. */
enum vow_error vow_log_finish(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]);
/* Does that if it is not done, and frees everything. NULL is fine. */
void vow_log_close(struct vow_log *log);

struct vow_log_info {
  uint64_t starts;                     /* counted */
  uint64_t incarnation;                /* of this start; 0: read-only */
  uint64_t position;                   /* of the newest record */
  const struct vow_incarnation *known; /* the starts before it; the log's own */
  uint32_t known_count;
  /* Records may be missing (core/quarantine.c). Read-only: as a start would find. */
  uint64_t quarantined_ms;      /* since when; 0: they are all there, as far as anybody knows */
  struct vow_log_position seen; /* the furthest that a witness has seen it, where it never came */
  char why[VOW_LOG_WHY_BYTES];
  struct vow_id presume_from;    /* below it nothing is presumed (C2) */
  const struct vow_id_gap *gaps; /* ids that no start has issued; the log's own */
  uint32_t gap_count;
  uint64_t backup_ms;                /* it is a backup made then, which no daemon has started on */
  enum log_witness_state witness;    /* of the file beside it, as it was found */
  struct vow_log_position witnessed; /* in it, if it was read */
  struct vow_id id_ceiling;          /* none was issued at or above it */
  struct vow_id id_from;             /* this start issues them from here on; read-only: nil */
  uint64_t created_ms;               /* when the log was made: no id is older */
  uint64_t open, ended;              /* rows at open */
  const char *advertise_url; /* of the daemon that wrote it last, "" if none did; the log's own */
};
void vow_log_info(const struct vow_log *log, struct vow_log_info *out);

enum vow_error vow_log_start(struct vow_log *log)
    VOW_MUST_CHECK; /* starts the thread; from here on use append and query */

/* Queues one LOG action: encodes it now, borrows nothing. That it is its transaction's first is
 * believed. Never blocks. VOW_E_NO_MEMORY; VOW_E_INVALID_ARGUMENT when the position is not above
 * the last one. */
enum vow_error vow_log_append(struct vow_log *log, const struct vow_action *action) VOW_MUST_CHECK;
/* To be called after the last append of a step: until then nothing of it is committed, so that its
 * records share a sync. Wakes the thread if it would sleep past the time at which they are due.
 * `company`: so many records that are forced are likely before long, and while fewer wait, those
 * may wait for them, for as long as a write takes at most. True, only where the log lends: it is
 * forced, alone and short, and nobody has been woken: vow_log_write is to be called soon, from
 * where the caller may block. */
bool vow_log_flush(struct vow_log *log, uint64_t company);
/* Writes what is queued on the caller's thread, if it is short and the log thread sleeps; else that
 * thread has it. Meanwhile another thread may be the owner, but not close the log. Blocks: on disk.
 */
void vow_log_write(struct vow_log *log);

/* New retention and limits (SIGHUP); path, create, read_only and wake are not looked at. */
void vow_log_reconfigure(struct vow_log *log, const struct vow_log_config *config);

/* ---- queries: run on the log thread after everything queued before them, answered by vow_log_poll
 * ---- */

struct vow_log_result;

enum vow_log_query_type {
  VOW_LOG_QUERY_OPEN_PAGE = 1, /* recovery: open rows with id > after, at most limit, as images */
  VOW_LOG_QUERY_FIND,          /* one row by id */
  VOW_LOG_QUERY_FIND_KEY,      /* one row by idempotency key */
  VOW_LOG_QUERY_FIND_MANY,     /* rows by ids (outcomes in bulk): found images, in the order of ids,
                                  state 0 where none */
  VOW_LOG_QUERY_LIST,          /* ended rows, newest first, filtered */
  VOW_LOG_QUERY_BACKUP,        /* a verified copy at `path`; made in steps between writes */
  VOW_LOG_QUERY_CHECK          /* full integrity check, all checksums; while it runs nothing is
                                  written, so a daemon backs up instead, and checks that */
};

struct vow_log_query {
  enum vow_log_query_type type;
  struct vow_id id; /* FIND; OPEN_PAGE: after, nil: the start; LIST: before, nil: the newest */
  const char *key;  /* FIND_KEY; copied */
  const struct vow_id *ids; /* FIND_MANY; copied */
  uint32_t id_count;
  uint32_t limit;
  uint32_t state; /* LIST: enum vow_txn_state, 0: any */
  int heuristic;  /* LIST: -1 any, else only rows with (1) or without (0) a heuristic outcome */
  const char *participant;  /* LIST: a branch has this name or URL; NULL: any; copied */
  uint64_t ended_before_ms; /* LIST: 0: any */
  const char *path;         /* BACKUP; copied; absolute; must not exist */
  void (*done)(void *context,
               const struct vow_log_result *result); /* on the loop, from vow_log_poll */
  void *context;
};

struct vow_log_result {
  enum vow_error error;
  const char *why;      /* a sentence, when error or rows_bad; else NULL */
  struct vow_txn *rows; /* the receiver may take what they own and zero it; the rest is freed */
  uint32_t count;
  bool more; /* LIST, OPEN_PAGE: go on from `next`; a LIST page may be empty and still have more
                (bounded scan) */
  struct vow_id next; /* also after OPEN_PAGE failed with LOG_CORRUPT: the row that is damaged */
  /* The highest id of a commit that was purged, when the query ran; nil: none was. An id up to it
   * that has no row may have committed, and is not to be presumed aborted to a client. */
  struct vow_id purged_to;
  uint64_t rows_checked; /* CHECK */
  uint64_t rows_bad;     /* CHECK; LIST: damaged rows that were passed over */
  bool history_only;     /* CHECK: the bad rows have ended, and are all that is wrong;
                            FIND, FIND_KEY: the row that is damaged has ended */
};

/* Never blocks; strings are copied. VOW_E_NO_MEMORY, VOW_E_OVERLOADED (too many queries under way:
 * the bound is named VOW_LOG_QUERIES_MAX). A reader can't starve writers: pages are small and
 * writes go first. */
#define VOW_LOG_QUERIES_MAX 1024
enum vow_error vow_log_query(struct vow_log *log, const struct vow_log_query *query) VOW_MUST_CHECK;
/* The same at once on the caller's thread: before start() or for read-only logs. done() is called
 * before it returns. */
enum vow_error vow_log_query_now(struct vow_log *log,
                                 const struct vow_log_query *query) VOW_MUST_CHECK;

/* What VOW_E_LOG_MOVED means, and what to do. */
#define VOW_LOG_MOVED_WHY                                                                          \
  "the log or its write-ahead log was moved, deleted or replaced while vowd has it open; put the " \
  "same file back, or take it out of /proc as the runbook says, but do not stop vowd before"

/* After VOW_E_LOG_FULL so much has to be free beside the reserve before begins are taken again: a
 * quarter more than when they were refused, so that it does not flutter. */
#define VOW_LOG_SPACE_AGAIN(reserve) ((reserve) + (reserve) / 4)

/* On the loop, after wake: runs done() of finished queries and reports how far the log is durable,
 * whether it wants no new transactions, and whether it failed. After a failure nothing more becomes
 * durable: the process must end (rule 2). */
struct vow_log_progress {
  uint64_t durable;       /* position */
  enum vow_error refuses; /* new transactions: VOW_E_LOG_FULL, VOW_E_LOG_MOVED; or VOW_OK */
  enum vow_error error;   /* VOW_OK, or the failure; `why` says more */
  char why[VOW_LOG_WHY_BYTES];
};
void vow_log_poll(struct vow_log *log, struct vow_log_progress *out);

/* Offline, before start(): writes what a reconciliation has decided, in one transaction. */
struct vow_log_reconciled {
  const struct vow_txn *txns; /* open ones, new or in place of their older images */
  uint32_t count;
  const char *suspected;        /* the log may have lost records, and why; NULL: it has not */
  struct vow_log_position seen; /* by whoever says so */
  bool leave;                   /* the quarantine is over: the rest is for that */
  const struct vow_incarnation *judged; /* what witnesses have seen is known from now on */
  uint32_t judged_count;
  uint64_t position_above; /* the log goes beyond it */
  struct vow_id ids_above; /* ids begin above it, and below nothing is presumed */
};
enum vow_error vow_log_reconcile(struct vow_log *log, const struct vow_log_reconciled *reconciled,
                                 char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;

struct vow_log_counts {
  uint64_t witness_failures; /* writes of the witness file */
  uint64_t ahead;            /* times that rows were written before their COMMIT was due */
  uint64_t records, batches, syncs, joined, checkpoints, checkpoint_failures, purged, wal_bytes,
      database_bytes, queued;
};
void vow_log_counts(struct vow_log *log, struct vow_log_counts *out);

#endif
