/*
 * The coordinator's core: presumed-abort two-phase commit as a pure state machine. One event in, a
 * list of actions out; no I/O, no clock, no thread, no randomness, no logging, no global. Time and
 * random bits arrive with the event. The same code runs in the daemon, in `vowctl recover`, in the
 * simulator and under the fuzzer.
 *
 * What the driver (coordinator/io) owes the core:
 *   - every LOG action is given to the log in order; DURABLE says how far the log is synced, and
 * never before it is;
 *   - every action names the position that must be durable before it is carried out; the core only
 * emits it when DURABLE has said so, and the driver asserts it;
 *   - every SEND is answered by exactly one REPLY; every request by exactly one ANSWER;
 *   - TICK comes no later than vow_core_next_deadline() asks;
 *   - a log that reports an error ends the process (log rule 2): the core has no event for it.
 *   - a BEGIN with a key comes after a look into the log that found nothing, and no DURABLE comes
 *     between what the log said and the BEGIN: the core knows the keys of open transactions only.
 *
 * Threads: none; one owner. Memory: bounded by `struct vow_core_config`. A request, LOAD_BEGIN or
 * LOAD that finds no memory fails with VOW_E_NO_MEMORY and has changed nothing. No other can fail
 * for want of memory: an action that finds none is emitted by a later step, and until then
 * vow_core_next_deadline() says "now". VOW_E_INVALID_ARGUMENT is a mistake of the driver: a token
 * in use, a reply to no SEND, a position that was never given; nothing has changed then, either.
 *
 * A branch gets one message at a time; what is due meanwhile waits for the REPLY. A transaction is
 * in the core until it has ended, its last record is durable and none of its messages is under way.
 */
#ifndef VOW_COORDINATOR_CORE_H
#define VOW_COORDINATOR_CORE_H

#include "message.h"
#include "txn.h"

struct vow_core;

/* Aborts and what operators ask for wait beyond those who wait for a commit: so many of each. */
#define VOW_CORE_WAITERS_EXTRA 16

struct vow_core_config {
  uint32_t transaction_timeout_ms;     /* default of a begin that names none */
  uint32_t transaction_timeout_max_ms; /* a begin that asks for more is refused */
  uint32_t prepare_timeout_ms;         /* or the transaction's own timeout, whichever ends first */
  uint32_t wait_timeout_ms; /* a client that waits for an outcome is answered PENDING after this */
  uint32_t retry_min_ms;
  uint32_t retry_max_ms;
  uint32_t preparing_record_after_ms; /* an unforced record when a transaction has been preparing
                                         or aborting this long */
  uint32_t ends_together;             /* so many records of ends are wanted at once: a write with
                                         them costs little more than with one; 0, 1: each alone */
  uint32_t ends_wait_ms;              /* for at most this long */
  uint32_t transactions_max;          /* open at once; past it begin is OVERLOADED */
  uint32_t branches_max;              /* of one transaction */
  uint32_t waiters_max;               /* of one transaction, for a commit; see WAITERS_EXTRA */
  uint32_t inflight_per_endpoint_max; /* requests under way to one endpoint; few of them at most
                                         times where several messages travel in one */
  uint32_t history_max;               /* entries kept of one transaction */
  uint32_t id_reserve_ms;             /* how far the durable id ceiling runs ahead */
};

/* ---- events ---- */

enum vow_event_type {
  /* requests of clients and operators: each is answered by one ANSWER with the same token */
  VOW_EVENT_BEGIN = 1,
  VOW_EVENT_ENLIST,
  VOW_EVENT_COMMIT,
  VOW_EVENT_ABORT,
  VOW_EVENT_RESOLVE,
  VOW_EVENT_FORGET,
  /* from the world */
  VOW_EVENT_REPLY,   /* a SEND came back */
  VOW_EVENT_DURABLE, /* the log is synced up to `position` */
  VOW_EVENT_TICK,
  VOW_EVENT_CANCEL,  /* the client with this token is gone; it needs no ANSWER any more */
  VOW_EVENT_WITNESS, /* somebody has seen the log at `witness`; REPLY brings that, too */
  /* start: LOAD_BEGIN, LOAD for each open record, LOAD_END; other events may come in between */
  VOW_EVENT_LOAD_BEGIN,
  VOW_EVENT_LOAD,
  VOW_EVENT_LOAD_END,
  VOW_EVENT_LOG_REFUSES, /* the log wants no more begins, or takes them again */
  VOW_EVENT_DRAIN,       /* begins are refused with DRAINING; open transactions go on */
  VOW_EVENT_WRITE_ENDS,  /* of the log a copy is taken: no end waits for others */
  VOW_EVENT_CONFIG       /* new timeouts and limits (SIGHUP) */
};

/* A start of the log that it knows of, and how far the log had come when it ended. */
struct vow_incarnation {
  uint64_t number; /* 0: all those up to `until` are taken for known, the list being bounded */
  uint64_t until;
};

/* Ids that no start of the log has issued, though they lie below its ceiling: between two starts.
 * Who names one has it from another log, or from a time that this one has lost. */
struct vow_id_gap {
  struct vow_id from, below;
};

struct vow_event_branch {
  const char *name; /* NULL: the branch number is the name */
  const char *url;  /* normal form */
  const char *payload;
  size_t payload_bytes;
};

enum vow_reply_kind {
  VOW_REPLY_ANSWERED = 1, /* a valid answer of the protocol: `reply` */
  VOW_REPLY_ENDPOINT_DOWN =
      2, /* no connection, timeout, 408/425/429/502/503/504: says nothing about the branch */
  VOW_REPLY_BRANCH_FAILED = 3,  /* 500: this branch failed this time */
  VOW_REPLY_REFUSED = 4,        /* another status, or not an answer of the protocol */
  VOW_REPLY_UNKNOWN_BRANCH = 5, /* 404 with problem type unknown-branch */
  VOW_REPLY_NOT_A_BATCH = 6     /* of a SEND with several: the request as a whole was refused or its
                                   answer could not be read; its messages go again, one by one */
};

struct vow_event {
  enum vow_event_type type;
  uint64_t now_ms;  /* monotonic; all waits are measured with it */
  uint64_t wall_ms; /* Unix time; for ids and for what is shown */
  uint64_t random;  /* fresh random bits */
  uint64_t token;   /* of a request: the driver's name for it, never 0 */
  bool more;        /* others follow before long: messages to participants wait for a step that does
                       not say so, to share their requests; until then that step is overdue */
  struct vow_id id; /* the transaction; not of BEGIN */
  union {
    struct {
      uint32_t timeout_ms; /* 0: the default */
      const char *metadata;
      const char *idempotency_key;
      uint8_t request_hash[16];
      const char *traceparent;
      const struct vow_event_branch *branches;
      uint32_t branch_count;
      bool commit;  /* one-shot */
      bool no_wait; /* Prefer: respond-async: answer PENDING at once */
    } begin;
    struct vow_event_branch enlist;
    struct {
      bool no_wait;
    } finish; /* COMMIT, ABORT */
    struct {
      enum vow_outcome outcome; /* COMMITTED or ABORTED */
      uint32_t branch;    /* 0: decide the transaction; else this branch was settled by hand */
      const char *reason; /* required; kept. Also of FORGET */
    } operate;
    struct {
      uint64_t request;
      /* one result for each message of the SEND, in its order */
      struct {
        enum vow_reply_kind kind;
        struct vow_message_reply reply; /* of ANSWERED */
        const char *error;              /* else: a sentence; kept as last_error */
        bool not_delivered; /* of ENDPOINT_DOWN: the request certainly never reached the participant
                               (no connection was made), so it cannot have voted */
        bool timed_out;     /* of ENDPOINT_DOWN: it had no answer in time. As BRANCH_FAILED, of an
                               endpoint that has answered others since it left */
      } * results;
      uint32_t count;
      struct vow_log_position seen; /* of the log by the participant; or nothing */
      uint32_t batch_max; /* as many messages the participant offered to take at once, with this
                             answer; 0: none was offered */
    } reply;
    uint64_t position; /* DURABLE */
    struct {
      uint64_t position;      /* highest in the log */
      struct vow_id id_floor; /* ids of this run are above it, and those of the last below */
      uint64_t incarnation;   /* of this start; 0: the log has none, and nobody is told of it */
      const struct vow_incarnation *known; /* the starts before it */
      uint32_t known_count;
      bool quarantined;              /* records may be missing */
      struct vow_id presume_from;    /* below it nothing is presumed: records were missing once */
      const struct vow_id_gap *gaps; /* by `from`; those that share one do not matter */
      uint32_t gap_count;
      uint64_t open; /* records that LOAD will bring: until then they count towards the limit */
    } load_begin;
    struct {
      struct vow_log_position seen;
      const char *by; /* for the operator */
    } witness;
    struct vow_txn *load; /* an open record; the core takes what it owns and leaves it empty */
    enum vow_error log_refuses; /* LOG_FULL, LOG_MOVED: begins are refused with it; or OK */
    const struct vow_core_config *config;
  } u;
};

/* ---- actions ---- */

enum vow_action_type { VOW_ACTION_LOG = 1, VOW_ACTION_SEND, VOW_ACTION_ANSWER };

enum vow_record_kind {
  VOW_RECORD_TXN = 1,        /* the transaction's image; replaces the last one of the same id */
  VOW_RECORD_ID_CEILING = 2, /* ids below `ceiling` may be issued */
  VOW_RECORD_QUARANTINE = 3  /* the log is behind `seen` */
};

struct vow_action_message {
  const struct vow_txn *txn;
  const struct vow_branch *branch;
  enum vow_message_type type;
  uint32_t timeout_ms;
  bool one_phase;
};

struct vow_action {
  enum vow_action_type type;
  uint64_t after; /* log position that must be durable before this is carried out; 0: none */
  union {
    struct {
      enum vow_record_kind record;
      uint64_t position; /* of this record; consecutive */
      bool forced; /* sync it now; else with the next sync, or within the log's own lazy bound */
      bool first;  /* of its transaction: there is no record of it before this one */
      const struct vow_txn *txn; /* open iff txn->ended_ms == 0 */
      struct vow_id ceiling;
      struct vow_log_position seen;
      const char *by; /* who has seen it */
    } log;
    struct {
      uint64_t request; /* the driver returns it in REPLY */
      const char *url;
      const struct vow_action_message *messages; /* of one endpoint; at least one, each of another
                                                    branch */
      uint32_t count; /* more than one only where the participant has offered it */
      struct vow_id finished_below;
      struct vow_log_position log; /* how far it is durable */
      bool log_ask; /* the participant says what it has seen and keeps this not yet */
    } send;
    struct {
      uint64_t token;
      enum vow_error error;      /* VOW_OK, or why not */
      const char *detail;        /* for the problem; NULL: none */
      const struct vow_txn *txn; /* NULL if there is none to show */
      uint32_t branch;           /* of ENLIST: its number */
      bool created;              /* BEGIN, ENLIST: it did not exist before */
      bool pending;              /* 202: the outcome is not known yet */
    } answer;
  } u;
};

/* The actions of one step. Everything they point to is borrowed and valid until the next step. */
struct vow_actions {
  struct vow_action *items;
  uint32_t count;
};

/* ---- calls ---- */

enum vow_error vow_core_new(struct vow_core **out,
                            const struct vow_core_config *config) VOW_MUST_CHECK;
void vow_core_free(struct vow_core *core);

/* Takes one event. *actions is valid until the next step and must be carried out in order. */
enum vow_error vow_core_step(struct vow_core *core, const struct vow_event *event,
                             struct vow_actions *actions) VOW_MUST_CHECK;

/* Monotonic time of the next TICK it needs, which may be over; UINT64_MAX: none. */
uint64_t vow_core_next_deadline(const struct vow_core *core);

/* Whether what could leave now would better wait a moment: it is a few decisions, whose clients
 * have had their answers, and fewer prepares, which may be the first of those clients' next. All of
 * it is for participants that take batches. */
bool vow_core_messages_can_wait(const struct vow_core *core);

/* So many decisions may come before long, of votes that are under way. Their records could share a
 * sync. */
uint64_t vow_core_awaits_votes(const struct vow_core *core);

/* Is it an image that a core writes of an open transaction? No other must be acted on: LOAD refuses
 * it with VOW_E_LOG_CORRUPT. */
bool vow_core_may_load(const struct vow_txn *image);

/* ---- reading; none of these changes anything; results are valid until the next step ---- */

/* The open transaction, or NULL (ended, never begun, or not loaded yet). */
const struct vow_txn *vow_core_find(const struct vow_core *core, struct vow_id id);
const struct vow_txn *vow_core_find_key(const struct vow_core *core, const char *idempotency_key);
/* The first open transaction with an id >= from (in id order), or NULL: iteration for lists. */
const struct vow_txn *vow_core_next(const struct vow_core *core, struct vow_id from);
/* The newest open transaction with an id below *before (NULL: of all), or NULL: the other way. */
const struct vow_txn *vow_core_prev(const struct vow_core *core, const struct vow_id *before);

bool vow_core_loading(const struct vow_core *core);
/* The log may have lost records: nothing is presumed, and nothing begun (proto/README.md, C11). */
bool vow_core_quarantined(const struct vow_core *core);
/* How far the log is durable, for who may keep it: nothing in quarantine, or without a log. */
struct vow_log_position vow_core_log(const struct vow_core *core);
/* It is open, and held back: the log may have lost its decision. */
bool vow_core_held_back(const struct vow_core *core, struct vow_id id);
/* Was a transaction aborted if neither core nor log knows it (C2)? */
bool vow_core_may_presume(const struct vow_core *core, struct vow_id id);
/* Does it lie between two starts of the log, which so has never issued it? */
bool vow_core_never_issued(const struct vow_core *core, struct vow_id id);
bool vow_id_in_gap(const struct vow_id_gap *gaps, uint32_t count, struct vow_id id);
/* Has a log with these starts behind it, in none of which `seen` lies ahead, ever come so far? */
bool vow_log_knows(const struct vow_incarnation *known, uint32_t count,
                   struct vow_log_position seen);
struct vow_id vow_core_finished_below(const struct vow_core *core);

struct vow_core_counts {
  uint64_t open[7];        /* by enum vow_txn_state */
  uint64_t open_heuristic; /* ended or not, waiting for an operator */
  uint64_t recovering;     /* loaded at this start and still being driven to its end */
  uint64_t recovered;      /* loaded at this start and driven to its end since */
  uint64_t held_back;      /* undecided ones of the last run, until the log is reconciled */
  uint64_t parked;         /* those, and decided ones that are not pushed until then */
  uint64_t begun, committed, aborted, heuristic[5]; /* since the start */
  uint64_t requests_inflight, messages_queued;
  uint64_t endpoints, endpoints_down;
  uint64_t ends_waiting; /* ended, and the record waits for those of others */
};
void vow_core_counts(const struct vow_core *core, struct vow_core_counts *out);

struct vow_endpoint_view {
  const char *url;
  bool up;
  uint32_t inflight, queued, branches; /* open branches that name it */
  uint64_t failures_in_row;
  uint64_t retry_in_ms; /* 0 when up */
  const char *last_error;
};
bool vow_core_endpoint_is_down(const struct vow_core *core, const char *url);
/* Endpoints in a stable order; false when index is past the last. */
bool vow_core_endpoint_at(const struct vow_core *core, uint32_t index, uint64_t now_ms,
                          struct vow_endpoint_view *out);

#endif
