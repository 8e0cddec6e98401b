/*
 * What the files of the log share: log.c (the owner's side), log_open.c (from a path to a verified
 * database), log_thread.c (the log thread and its order of work), log_batch.c (the queue),
 * log_write.c (rows, purge, checkpoint), log_create.c, log_schema.c, log_check.c, log_wal.c,
 * log_space.c (the disk), log_trust.c (starts, quarantine), log_reconcile.c, witness.c,
 * log_query.c, log_backup.c, log_row.c (one row and its checksum) and log_place.c (where an open
 * one stands). Nobody else includes this file.
 *
 * Fields are grouped by who may touch them. The connection belongs to the caller's thread until
 * vow_log_start, to the log thread until vow_log_close has joined it, and to the caller again;
 * while it is `lent`, to the thread that is in vow_log_write.
 */
#ifndef VOW_COORDINATOR_LOG_INTERNAL_H
#define VOW_COORDINATOR_LOG_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>

#include "buf.h"
#include "files.h"
#include "io/log.h"

#define LOG_APPLICATION_ID    0x766f774c /* "vowL": bytes 68..71 of the file */
#define LOG_PAGE_BYTES        8192
#define LOG_RECORD_BYTES_MAX  (256u << 20)
#define LOG_CHECK_BYTES_MAX   (64u << 20) /* a larger database is checked in part at open */
#define LOG_BUSY_MS           250         /* how long open waits for a holder that is leaving */
#define LOG_ENTRIES_KEPT      256         /* buffers a batch keeps for the next round */
#define LOG_ENTRY_BYTES_KEPT  (16u << 10)
#define LOG_LIST_SCAN_MAX     2000 /* rows a LIST page looks at */
#define LOG_PURGE_LOOK_MAX    2000 /* rows a step of the purge passes by */
#define LOG_QUERY_SLICE_MS    2    /* queries run this long between two writes */
#define LOG_BACKUP_STEP_PAGES 64
#define PATH_BYTES_MAX        4200 /* PATH_MAX and the longest suffix */
#define LOG_FILES_CHECK_MS    250
#define LOG_SPACE_BACK_MS     1000 /* after the reserve was given up */
#define LOG_FULL_RETRY_MS     100
#define LOG_AHEAD_MIN         16
#define LOG_TAKEN_MAX         8    /* batches of one SQLite transaction */
#define LOG_PURGE_EVERY       8    /* batches between two purge steps under load */
#define LOG_PURGE_CHECK_MS    1000 /* how often the age of the oldest row is looked at */
#define LOG_IDLE_MS           1000 /* without a write: quiet enough for a checkpoint of a big WAL */
#define LOG_INCARNATIONS_MAX  10000 /* starts that are known one by one */
/* No log comes there; who says that it has seen one there makes it up. What is left above it is for
 * going on from what was made up just below. */
#define LOG_NUMBER_LIMIT    (VOW_LOG_NUMBER_MAX - (UINT64_C(1) << 48))
#define LOG_FORMAT_TRUST    4 /* since this format there are the tables of log_trust.c */
#define LOG_FORMAT_GAPS     5 /* … and that of the ids that no start has issued */
#define LOG_FORMAT_PLACES   6 /* … and open rows have places */
#define LOG_WALL_MS_MAX     (UINT64_C(1) << 47) /* a clock beyond this is taken for this */
#define LOG_TRUST_WHY_BYTES 320
#define LOG_IDLE_LONG_MS    30000 /* … and of any WAL */

/* ---- what it knows about itself: log_trust.c ---- */

struct log_trust {
  uint64_t backup_ms; /* a copy made then, on which no daemon has started */
  uint64_t since_ms;  /* in quarantine since then; 0: it is not */
  struct vow_log_position seen;
  struct vow_id presume_from;
  char why[LOG_TRUST_WHY_BYTES];
};

/* What goes with a batch, now and then. */
struct log_trust_change {
  struct log_trust trust;
  uint64_t start;        /* a new incarnation; 0: none */
  struct vow_id_gap gap; /* of the start: between the ids of the one before and its own */
  const struct vow_incarnation *judged;
  uint32_t judged_count;
};

/* ---- the queue ---- */

/* The newest image of one transaction, ready to be written. */
struct log_entry {
  struct vow_id id;
  uint64_t position;
  int state, heuristic;
  bool first; /* no row of it was written before */
  bool kept;  /* waits for an operator, or for a participant that may ask: never purged */
  uint64_t created_ms, ended_ms;
  char *key;             /* owned; or NULL */
  struct vow_buf record; /* owned */
  uint32_t slot;
};

/* What was queued until it was taken, joined by transaction. */
struct log_batch {
  struct log_entry *entries; /* the first `count` are in use, the rest keep their buffers */
  uint32_t count, capacity;
  uint32_t *slots; /* open addressing; entry index + 1, 0: free */
  uint32_t slot_mask;
  uint64_t position; /* of the newest record; 0: the batch is empty */
  uint64_t since_ms; /* monotonic time of the oldest record */
  bool forced;
  bool has_ceiling;
  struct vow_id ceiling;
  bool has_trust;
  struct log_trust_change trust;
};

void log_entry_fini(struct log_entry *entry);
/* Swaps *entry with its place in the batch: what comes back is memory to be used again. */
enum vow_error log_batch_put(struct log_batch *batch, struct log_entry *entry) VOW_MUST_CHECK;
void log_batch_reset(struct log_batch *batch);
void log_batch_fini(struct log_batch *batch);

/* ---- queries ---- */

struct log_query {
  struct vow_log_query q; /* its strings point into this allocation */
  uint64_t needs;         /* records up to this position are written first */
  struct vow_log_result result;
  char why[VOW_LOG_WHY_BYTES];
  struct log_query *next;
};

struct log_query_list {
  struct log_query *first, *last; /* `last` means nothing while `first` is NULL */
};

struct log_query *log_query_copy(const struct vow_log_query *query); /* NULL: out of memory */
void log_query_free(struct log_query *query);
void log_query_push(struct log_query_list *list, struct log_query *query);
struct log_query *log_query_pop(struct log_query_list *list);
void log_query_fail(struct log_query *query, enum vow_error error, const char *why);
/* Fills query->result. Everything but BACKUP, which log_backup.c does in steps. */
void log_query_run(struct vow_log *log, struct log_query *query);

/* ---- the log ---- */

#define LOG_ROWS 8 /* that a statement for many puts */

enum log_statement {
  LOG_BEGIN,
  LOG_COMMIT,
  LOG_ROLLBACK,
  LOG_OPEN_PUT,
  LOG_OPEN_PUT_MANY,
  LOG_OPEN_DELETE,
  LOG_ENDED_PUT,
  LOG_ENDED_PUT_MANY,
  LOG_ENDED_UPDATE,
  LOG_ENDED_DELETE,
  LOG_HEAD_PUT,
  LOG_OPEN_PAGE,
  LOG_FIND,
  LOG_FIND_KEY,
  LOG_LIST,
  LOG_SCAN,
  LOG_WALK,
  LOG_PURGE,
  LOG_STATEMENTS
};

/* The database's single row about itself, written with every batch. */
struct log_head {
  uint64_t created_ms;
  uint64_t starts; /* the column is called incarnation */
  uint64_t position;
  uint64_t ended; /* rows of ended_txn */
  struct vow_id ceiling;
  struct vow_id purged_to;   /* the highest id of a commit that was purged; nil: none was */
  const char *advertise_url; /* never NULL; the log's, see `advertise_url` there */
};

struct log_backup; /* one that is under way */

/* What is forced may wait for more of its kind, to share a sync; see log_thread.c. */
struct log_company {
  bool likely;       /* the loop says that more is under way than waits */
  bool fresh;        /* something forced came in the step that is being appended */
  uint32_t steps;    /* that brought something forced which still waits */
  uint64_t waiting;  /* so many records of those steps */
  uint64_t since_us; /* monotonic: since when the first of them could be written */
  uint64_t write_us; /* how long the last write took; what is forced waits no longer */
  uint32_t lonely;   /* writes in a row that had none */
};

struct log_limits { /* what SIGHUP may change */
  uint32_t lazy_flush_ms;
  uint64_t wal_bytes_max;
  uint64_t reserve_bytes;
  uint64_t retention_age_ms;
  uint64_t retention_count;
  uint32_t purge_step;
};

struct vow_log {
  /* fixed after open */
  char *path;         /* owned; canonical */
  char *folder;       /* owned */
  char *reserve;      /* owned; "<path>-reserve" */
  char *witness_path; /* owned; "<path>-witness" */
  int format;         /* of the file, as it was found */
  struct vow_files files;
  void (*wake)(void *context);
  void *wake_context;
  uint32_t ahead_min;
  uint32_t lend_max_us;
  bool read_only;
  int lock_fd;        /* read-only file: holds off daemons; else -1 */
  bool tidy_on_close; /* read-only: there was no WAL, so none is left behind */
  bool ended;         /* vow_log_finish was here; */
  bool clean;         /* all is written back, no WAL is needed */
  struct vow_log_info info;
  char *advertise_url; /* owned; what the head's points to */
  bool started;
  pthread_t thread;

  /* the owner's (loop) */
  struct log_entry scratch; /* the record being encoded */
  uint64_t appended;        /* position of the newest record given to append */
  uint64_t flushed;         /* and of the newest that the log thread may write */

  /* the connection's thread, see above */
  sqlite3 *db;
  sqlite3_stmt *statements[LOG_STATEMENTS];
  struct log_head head;
  struct log_trust trust;
  struct vow_incarnation *known; /* owned; the starts before this one */
  uint32_t known_count;
  struct vow_id_gap *gaps; /* owned; with that of this start */
  uint32_t gap_count;
  struct log_stray *strays; /* owned; open rows that are not at the place of their id */
  uint32_t stray_count;
  uint64_t incarnation;  /* of this start */
  struct vow_id id_from; /* it issues ids from here on */
  struct log_witness witness;
  struct vow_log_position witnessed; /* what it says */
  struct log_limits limits;          /* written, and by the owner read, under the mutex */
  /* Rows of the first `ahead` that were taken are in an SQLite transaction that stands open; `next`
   * is what the head will be with them. */
  uint32_t ahead;
  struct log_head next;
  struct log_backup *backup;
  uint64_t wal_bytes;
  uint64_t page_bytes;
  uint64_t database_bytes; /* of the file, when it was last looked at: it grows at checkpoints */
  uint64_t wrote_ms, slice_end_ms, retry_ms, tidy_ms; /* all monotonic */
  uint64_t purge_check_ms, files_check_ms, checkpoint_retry_ms;
  sqlite3_int64 purge_from;   /* rowid: up to it this round has looked; 0: it begins */
  struct vow_log_counts done; /* what this thread counts; copied to `counts` now and then */
  uint64_t reserve_bytes;     /* of the reserve that is held */
  uint32_t batches_since_purge;
  bool reserve_held;
  bool purge_due;
  bool backup_turn;
  bool low;
  bool moved;
  bool failed;
  bool stuck; /* the disk is full and the reserve is used up: `taken` is tried again */

  /* shared, under the mutex */
  pthread_mutex_t mutex;
  pthread_cond_t wanted; /* there is work for the log thread */
  struct log_batch queue;
  bool filling; /* the loop is about to append more, and says when it has */
  struct log_company company;
  /* Taken from the queue by the connection's thread, in this order, and not durable yet. Only that
   * one changes how many they are; nobody changes what is in them. */
  struct log_batch taken[LOG_TAKEN_MAX];
  uint32_t taken_count;
  struct log_query_list queries, finished;
  struct log_limits new_limits;
  uint32_t queries_under_way;
  bool limits_changed;
  uint64_t asleep_until_us; /* the log thread sleeps on `wanted`; 0: it is awake */
  bool lent;                /* the connection, to the owner: the log thread leaves it alone */
  bool stopping;
  struct vow_log_progress progress;
  struct vow_log_counts counts;
};

uint64_t log_now_us(void);  /* monotonic */
uint64_t log_now_ms(void);  /* the same */
uint64_t log_wall_ms(void); /* Unix time */

/* Writes a sentence, cut off at the end of `why`. */
void log_explain(char why[VOW_LOG_WHY_BYTES], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Turns an SQLite result into our error, and says what happened while doing `what`. */
enum vow_error log_sqlite_error(struct vow_log *log, int rc, const char *what,
                                char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;

/* log_open.c */
enum vow_error log_database_open(struct vow_log *log, const struct vow_log_config *config,
                                 char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
void log_database_close(struct vow_log *log, bool checkpoint);
enum vow_error log_locked(const char *path, char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* What the next write of the head says; `url` is copied. */
enum vow_error log_set_advertise_url(struct vow_log *log, const char *url,
                                     char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* log_trust.c */
extern const char log_trust_schema[];
enum vow_error log_trust_read(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* Compares the log with its witness file, in memory. */
enum vow_error log_trust_judge(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* It is in quarantine from now on, if it was not before. */
void log_trust_suspect(struct log_trust *trust, struct vow_log_position seen, const char *format,
                       ...) __attribute__((format(printf, 3, 4)));
uint64_t log_trust_incarnation(const struct vow_log *log); /* a new one */
/* What lies between the ids of the starts before and those of one that begins now. Makes room for
 * one more in log->gaps. */
enum vow_error log_trust_gap(struct vow_log *log, struct vow_id_gap *out,
                             char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* It is durable: the log has it from now on. */
void log_trust_gap_add(struct vow_log *log, const struct vow_id_gap *gap);
/* Within a transaction; a result code of SQLite's. */
int log_trust_write(struct vow_log *log, const struct log_trust_change *change);
int log_trust_put(sqlite3 *db, const struct log_trust *trust);
/* After a commit: tells the witness file. */
void log_trust_witness(struct vow_log *log);
/* log.c: the newest image of a transaction, ready for a batch. */
enum vow_error log_encode(struct log_entry *entry, const struct vow_action *action) VOW_MUST_CHECK;
/* log_place.c */
struct log_stray {
  struct vow_id id;
  int64_t place;
};
int64_t log_place_of(struct vow_id id);    /* where its row belongs; in the order of ids */
struct vow_id log_place_id(int64_t place); /* the smallest that belongs there */
int64_t log_place(const struct vow_log *log,
                  struct vow_id id); /* where it stands, if it is there */
bool log_place_set(struct vow_log *log, struct vow_id id, int64_t place); /* false: no memory */
void log_place_forget(struct vow_log *log, struct vow_id id); /* it is durable: no row is open */
/* log_schema.c */
extern const char log_schema[], log_open_schema[];
/* Also again, after log->format has changed. */
enum vow_error log_prepare(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* Those are prepared when first wanted: they take a while. NULL: memory is short, do without. */
sqlite3_stmt *log_statement_for_many(struct vow_log *log, enum log_statement which);
/* log_check.c: what the daemon stands on; everything. */
enum vow_error log_verify(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
enum vow_error log_check_all(struct vow_log *log, struct vow_log_result *out,
                             char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* log_wal.c: VOW_E_LOG_CORRUPT when SQLite would pass over records that were synced. */
enum vow_error log_check_wal(const struct vow_log *log,
                             char what[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* Writes it once more as it is read, and syncs it: what follows may rely on the disk having it. */
enum vow_error log_rewrite_wal(const struct vow_log *log,
                               char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* log_create.c: refuses where a log is gone and what lay beside it is not. */
enum vow_error log_refuse_remains(const char *path, char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* Makes a complete, empty log; leaves alone what another process made meanwhile. */
enum vow_error log_create(const char *path, char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;

/* Removes a log that nobody is to have, with what SQLite leaves beside it. */
void log_remove_all(const char *path);
/* Of a file that lies beside the log. */
bool log_give_owner(const struct vow_log *log, int fd) VOW_MUST_CHECK;
enum vow_error log_sync_folder(const char *folder, char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;

/* log_thread.c */
void *log_thread_main(void *argument); /* the log */
/* Whether nobody has the connection, so that what is its thread's can be looked at. With the mutex
 * held. */
bool log_rests(const struct vow_log *log);
/* When what waits has to be written; 0: at once. With the mutex held, on the log thread or while
 * the log rests. */
uint64_t log_write_due_us(const struct vow_log *log);
/* Whether the log thread has something better to do than to wait for that. Likewise. */
bool log_ahead_pays(const struct vow_log *log);
/* Whether what is queued is the owner's to write. With the mutex held. */
bool log_owner_writes(const struct vow_log *log);
/* From here on nothing becomes durable (rule 2). Any thread that holds the connection. */
void log_fail(struct vow_log *log, enum vow_error error, const char *why);

/* log_write.c. VOW_E_LOG_FULL from these means: rolled back, nothing happened, may be tried again.
 * Rows that are written ahead are the first of `batches`. */
enum vow_error log_write(struct vow_log *log, const struct log_batch *batches, uint32_t count,
                         bool purge, char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* Writes the rows of what was taken and commits nothing. What does not fit, on the disk or in
 * memory, is undone: log_write tries again. Any other error is final. */
enum vow_error log_write_ahead(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* Undoes that. An error is final: whoever looks may see what is not durable. */
enum vow_error log_undo_ahead(struct vow_log *log, char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* The row of an open transaction, within a transaction of SQLite's; a result code of it. */
int log_put_open(struct vow_log *log, const struct log_entry *entry) VOW_MUST_CHECK;
enum vow_error log_checkpoint(struct vow_log *log, int mode,
                              char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
bool log_purge_wanted(struct vow_log *log, uint64_t now_ms);

/* log_space.c */
enum vow_error log_refuses(const struct vow_log *log); /* new transactions, with this; or OK */
void log_space_open(struct vow_log *log);
void log_space_check(struct vow_log *log, uint64_t now_ms);
bool log_space_release(struct vow_log *log); /* true: there was a reserve, and it is free now */

/* log_backup.c: takes the query over; answers it when it is done. */
void log_backup_start(struct vow_log *log, struct log_query *query);
void log_backup_step(struct vow_log *log);
void log_backup_stop(struct vow_log *log);
bool log_backup_waits(const struct vow_log *log); /* with the mutex held: nothing to do just now */
void log_query_finish(struct vow_log *log, struct log_query *query);

/* log_row.c: the columns of ended rows, in the order of this enum. An open one is read as if it had
 * them all: its place as its position, and no more than that. */
enum log_column {
  LOG_COLUMN_ID,
  LOG_COLUMN_POSITION,
  LOG_COLUMN_STATE,
  LOG_COLUMN_HEURISTIC,
  LOG_COLUMN_KEPT,
  LOG_COLUMN_CREATED,
  LOG_COLUMN_ENDED,
  LOG_COLUMN_KEY,
  LOG_COLUMN_RECORD,
  LOG_COLUMN_CHECKSUM,
  LOG_COLUMNS
};
/* As the nth row, from 0, of those that the statement puts. */
void log_row_bind(sqlite3_stmt *statement, int nth, const struct log_entry *entry);
void log_row_bind_open(sqlite3_stmt *statement, int nth, const struct log_entry *entry,
                       int64_t place);
/* Id and place, which is how open rows are reached. */
void log_row_bind_place(sqlite3_stmt *statement, const struct vow_id *id, int64_t place);
/* VOW_E_LOG_CORRUPT when the row is not what was written. */
enum vow_error log_row_verify(sqlite3_stmt *statement, char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
enum vow_error log_row_read(sqlite3_stmt *statement, struct vow_txn *out,
                            char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* The text that was asked for last is NULL because SQLite had no memory to hand it out: it is not
 * missing, and the row is not damaged. */
bool log_row_lacks_memory(sqlite3_stmt *statement);
int64_t log_head_checksum(const struct log_head *head);

#endif
