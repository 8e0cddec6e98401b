/*
 * A world for one core: a log that syncs when it is told to, participants that answer when they are
 * told to, a clock that moves when it is told to. What the core does is written down as lines, so
 * that a test reads as a trace:
 *
 *   begin(w, "a b");           expect(w, "answer #1 ok t1 active created");
 *   commit(w, T1);             expect(w, "send prepare t1/a", "send prepare t1/b");
 *   yes(w, "a");               expect(w, "");
 *   yes(w, "b");               expect(w, "log! t1 committing");
 *   sync(w);                   expect(w, "answer #2 ok t1 committing", "send commit t1/a", …);
 *
 * "log!" is forced. Where a participant offers batches (world.offer), the messages of one request
 * are "send …" and then "with …"; the core hears of them when each has been answered. Transactions
 * are named t1, t2, … in the order in which they were begun, clients #1, #2, … in the order in
 * which they asked. "a b" are branches at http://a and http://b; "a+" comes with a payload; "x@a+"
 * is a branch x at http://a. The world fails the test by itself when an action breaks a rule of
 * core.h: a position that is not durable, a token answered twice, a commit that is sent or told
 * without a durable record, an id at or above the durable ceiling, a watermark that passes
 * something open, a record that is called a transaction's first and is not, or the reverse.
 */
#ifndef VOW_TEST_CORE_WORLD_H
#define VOW_TEST_CORE_WORLD_H

#include "core/core.h"

#define WORLD_TXNS_MAX  256
#define WORLD_SENDS_MAX 4096
#define WORLD_LOG_MAX   8192

struct world_record {
  uint64_t position;
  bool forced;
  enum vow_record_kind kind;
  struct vow_id ceiling;
  struct vow_txn image; /* owned; a copy */
};

struct world_send {
  uint64_t request;
  char url[64];
  char branch[32];
  struct vow_id id;
  uint32_t number; /* of the branch */
  struct vow_id finished_below;
  enum vow_message_type type;
  uint32_t timeout_ms;
  bool one_phase;
  struct vow_log_position log;
  bool log_ask;
  bool done;
  /* its answer, which waits until the others of its request have theirs */
  enum vow_reply_kind kind;
  struct vow_message_reply answer;
  bool lost, timed_out;
};

struct world {
  struct vow_core *core;
  struct vow_core_config config;
  uint64_t now_ms, wall_ms, random;
  uint64_t token; /* of the newest request */
  uint64_t position, durable;
  struct world_record *log;
  uint32_t log_count;
  struct world_send *sends;
  uint32_t send_count;
  struct vow_id ids[WORLD_TXNS_MAX]; /* of t1, t2, … */
  uint32_t id_count;
  struct vow_id ceiling;        /* durable */
  struct vow_id finished_below; /* highest ever sent */
  uint8_t answered[WORLD_SENDS_MAX];
  uint64_t answered_after;                   /* the position that the newest answer depends on */
  enum vow_outcome outcome[WORLD_SENDS_MAX]; /* told in the answer of this token */
  enum vow_outcome told[WORLD_TXNS_MAX];     /* to anyone; AC2 */
  bool overruled[WORLD_TXNS_MAX];            /* an operator may have said otherwise */
  char trace[65536];
  size_t trace_bytes;
  uint32_t offer; /* messages that every participant takes at once; 0: it does not say */
  /* The log as the core finds it at the next load; 0: it says nothing about itself. */
  uint64_t incarnation;
  struct vow_incarnation known[4];
  uint32_t known_count;
  bool quarantined;
  struct vow_id presume_from;
  struct vow_log_position seen; /* comes with every reply */
  bool memory_is_short; /* allocations may fail: what fails is tried again, as a client would */
  bool more;            /* of each event but ticks */
  bool long_run;        /* nobody reads the trace but after a failure: its newest part is kept */
};

/* Transactions by number. */
#define T1 1
#define T2 2
#define T3 3

struct world *world_new(void);      /* with an empty log, loaded, synced, and no trace */
struct world *world_new_bare(void); /* before LOAD_BEGIN */
void world_free(struct world *w);
struct vow_id world_id(const struct world *w, uint32_t txn);
const struct vow_txn *world_find(const struct world *w, uint32_t txn);

/* The core reads the log, as after a start. */
void world_load(struct world *w);
struct vow_txn world_copy_image(const struct vow_txn *from); /* as the log would keep it */

void world_line(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One event, stamped with the world's time. The actions become lines and outstanding sends. */
enum vow_error world_step(struct world *w, struct vow_event *event) VOW_MUST_CHECK;
void world_must(struct world *w, struct vow_event *event); /* VOW_OK */

/* Requests: each returns its token. */
uint64_t begin(struct world *w, const char *branches);
uint64_t begin_one_shot(struct world *w, const char *branches);
/* For each N a one-shot "aN@a+ zN@z+"; the second branch keeps it from being delegated. */
void begin_from(struct world *w, uint32_t first, uint32_t last);
uint64_t begin_with(struct world *w, struct vow_event *event, const char *branches);
uint64_t enlist(struct world *w, uint32_t txn, const char *branch);
uint64_t commit(struct world *w, uint32_t txn);
uint64_t commit_no_wait(struct world *w, uint32_t txn);
uint64_t abort_txn(struct world *w, uint32_t txn);
uint64_t resolve(struct world *w, uint32_t txn, uint32_t branch, enum vow_outcome outcome);
uint64_t forget(struct world *w, uint32_t txn);
void cancel(struct world *w, uint64_t token);

/* The log. */
void sync(struct world *w); /* everything is durable */
void sync_to(struct world *w, uint64_t position);
/* The process dies; the log keeps what is durable and, of the rest, the records whose bit is set in
 * `kept` (bit 0 is the first that is not durable). A new core loads it. */
void crash(struct world *w, uint64_t kept);
uint32_t unsynced(const struct world *w);

/* Answers to the oldest message under way to this branch. */
void yes(struct world *w, const char *branch);
void no(struct world *w, const char *branch, const char *reason);
void read_only(struct world *w, const char *branch);
void acknowledge(struct world *w, const char *branch, enum vow_outcome outcome);
void answer(struct world *w, const char *branch, enum vow_vote vote, enum vow_outcome outcome);
void down(struct world *w, const char *branch);
void silent(struct world *w, const char *branch); /* no answer came in time */
void not_delivered(struct world *w, const char *branch);
void failed(struct world *w, const char *branch);
void refused(struct world *w, const char *branch);
void unknown(struct world *w, const char *branch);
void world_reply(struct world *w, struct world_send *send, enum vow_reply_kind kind,
                 struct vow_message_reply message, bool lost);
/* None came in time. */
void world_time_out(struct world *w, struct world_send *send);
/* The same for all messages of the request that this branch is in. */
void whole_batch(struct world *w, const char *branch, enum vow_reply_kind kind, bool lost);
bool under_way(const struct world *w, const char *branch);

/* Time passes, with a TICK at each deadline on the way. */
void wait_ms(struct world *w, uint64_t ms);
void tick(struct world *w);

/* The lines since the last expect, exactly. */
#define expect(w, ...) world_expect(w, __FILE__, __LINE__, (const char *const[]){__VA_ARGS__, NULL})
/* Some line since the last expect contains this text; and forgets them all. */
#define expect_some(w, text) world_expect_some(w, __FILE__, __LINE__, text)
void world_expect(struct world *w, const char *file, int line, const char *const *lines);
void world_expect_some(struct world *w, const char *file, int line, const char *text);
void world_forget_trace(struct world *w);
/* Makes room in a long run when nothing is open: only the newest id is remembered, as t1. */
void world_forget_past(struct world *w);

/* "t1 committing [a committing, b committed]" */
const char *picture(const struct world *w, uint32_t txn);
#define expect_picture(w, txn, text) world_expect_picture(w, __FILE__, __LINE__, txn, text)
void world_expect_picture(struct world *w, const char *file, int line, uint32_t txn,
                          const char *text);

struct vow_endpoint_view world_endpoint(const struct world *w, const char *url); /* it must exist */

#endif
