/*
 * What the files of the core share. Nobody outside coordinator/core includes this.
 *
 * One step runs in two halves. First the event changes state: what has to follow is only noted (a
 * record is wanted, a branch is queued, a transaction is touched). Then core_flush brings every
 * touched transaction forward and emits the actions. The second half looks at state, never at the
 * event, so whatever it cannot emit for want of memory stays noted and is emitted by a later step.
 * That is why only requests and LOAD can fail, before they changed anything.
 *
 *   request.c, operator.c, reply.c,          first half: one file for each kind of event
 *   load.c, quarantine.c
 *   protocol.c                               the moves of transactions and branches
 *   emit.c                                   second half: records, answers, messages
 *   endpoint.c, ids.c, history.c             what these lean on
 *   tree.c, timer.c, list.h                  containers that allocate nothing
 */
#ifndef VOW_CORE_INTERNAL_H
#define VOW_CORE_INTERNAL_H

#include "batch.h"
#include "core.h"
#include "list.h"
#include "timer.h"
#include "tree.h"

/* A broken rule stops the process, in every build: the log brings everything back, a wrong commit
 * nobody does. */
#ifndef VOW_COVERAGE
#define CORE_ASSERT(condition) ((condition) ? (void)0 : __builtin_trap())
#else /* which counts branches, and this one nobody takes */
#define CORE_ASSERT(condition) ((void)sizeof(condition))
#endif

#define CORE_BATCH_PAYLOAD_MAX  (128u * 1024) /* of a batch, which fits VOW_BATCH_BYTES_MAX then */
#define CORE_SLOTS              2    /* requests under way to who takes batches, the slow apart */
#define CORE_FEW                16   /* messages that a request more or less matters to */
#define CORE_PROBES             2    /* requests under way to who is down */
#define CORE_PATIENCE_MS        10   /* under way for so long, a request is slow */
#define CORE_ENDPOINTS_IDLE_MAX 256  /* endpoints without a branch, kept for display */
#define CORE_TEXT_BYTES_MAX     1024 /* of a reason or error that is kept, with its NUL */
#define CORE_WALL_MS_MAX        (UINT64_C(1) << 47) /* a clock beyond this is taken for this */
#define CORE_NEXT_RECORD        UINT64_MAX          /* position of a record that this step emits */
#define CORE_QUARANTINE_DETAIL                                                                  \
  "the log may have lost records: nothing is begun, aborted or presumed until an operator has " \
  "run `vowctl reconcile`"

enum core_timer_owner {
  CORE_TIMER_TXN = 1,
  CORE_TIMER_TASK,
  CORE_TIMER_ENDPOINT,
  CORE_TIMER_WAITER
};

/* ---- a participant's URL ---- */

struct core_request;

struct core_endpoint {
  struct core_tree_node by_url;
  struct core_list place;     /* in core.ready while it may send, in core.idle without branches */
  struct core_list queue;     /* tasks with a message to send, first come first served */
  struct core_list under_way; /* requests, the oldest first */
  struct core_timer timer; /* down: armed until it is to be probed, or probed once more beside the
                              first; up: while messages wait for a slot, until the next request
                              under way has taken long */
  char *url;               /* owned */
  char *last_error;        /* owned; of the failure that took it down */
  uint64_t epoch;          /* failures counted; a request remembers the epoch it left in */
  uint64_t failures_in_row;
  uint64_t answered_ms; /* when it last answered anything */
  uint64_t probed_ms;   /* when the newest probe left */
  uint32_t branches;    /* of transactions in the core */
  uint32_t queued;
  uint32_t inflight;
  uint32_t slow;          /* of the requests under way, those that have taken long already */
  uint32_t slow_messages; /* and the messages in them */
  uint32_t messages;      /* in the requests under way */
  uint32_t batch_max;     /* messages that it takes at once; at least 1 */
  bool batch_refused;     /* it did not take one: its offers do not count until it comes back up */
  bool down;
  bool introduced; /* in this run it has answered, and so has said what it saw of the log */
  uint8_t probes;  /* down: requests under way to see whether it still is */
};

/* ---- what is to be done for one branch ---- */

enum core_task_state {
  CORE_TASK_IDLE = 0,
  CORE_TASK_QUEUED,   /* in its endpoint's queue */
  CORE_TASK_INFLIGHT, /* in a request; whatever else is due waits for the reply */
  CORE_TASK_WAITING   /* for its own timer, after a failure that concerns only this branch */
};

/* Which message it carries follows from the branch's state when it leaves (core_task_message), so
 * an abort takes the place of a prepare that still queues. */
struct core_task {
  struct core_txn *txn;
  struct core_endpoint *endpoint;
  struct core_list link;
  struct core_timer timer;
  uint16_t failures;  /* in a row, of this branch alone */
  uint8_t state;      /* enum core_task_state */
  bool announced;     /* history names this phase's first message */
  bool may_hold_vote; /* some prepare may have reached the participant */
  bool heard;         /* some answer, or silence, leaves open that it knows the branch */
  bool alone;         /* its last request failed, perhaps because of it: it goes in no batch */
};

/* ---- a client that waits ---- */

/* In the order in which room is left for them: see waiters_max in request.c. */
enum core_wait {
  CORE_WAIT_BEGIN = 1, /* for an id */
  CORE_WAIT_COMMIT,    /* for the outcome; well if it is commit */
  CORE_WAIT_ABORT,     /* for the outcome; well if it is abort */
  CORE_WAIT_RECORD     /* until what an operator did is durable */
};

struct core_waiter {
  struct core_tree_node by_token;
  struct core_list link; /* of core_txn.waiters */
  struct core_timer timer;
  struct core_txn *txn;
  uint64_t token;
  uint64_t position; /* RECORD: of the record; CORE_NEXT_RECORD: not emitted yet. Else 0 */
  uint8_t wait;      /* enum core_wait */
  bool created;      /* BEGIN made the transaction */
  bool expired;      /* waits no longer: it is answered with what there is */
};

/* ---- a transaction ---- */

enum core_record { /* wanted at the end of the step; the strongest wish counts */
                   CORE_RECORD_NONE = 0,
                   CORE_RECORD_LAZY,
                   CORE_RECORD_FORCED,
                   CORE_RECORD_DECISION /* forced, and what was decided may not be revealed or acted
                                           on before it */
};

struct core_txn {
  struct vow_txn image; /* first: a pointer to it is a pointer to the transaction */
  struct core_tree_node by_id;
  struct core_tree_node by_key; /* of those with an idempotency key */
  struct core_list dirty;       /* in core.dirty: to be brought forward at the end of the step */
  struct core_list place;       /* in core.held, core.unsynced, core.ending or core.dead */
  struct core_list waiters;
  struct core_timer timer;
  struct core_task *tasks; /* one a branch, in their block; they stay where they are after ACTIVE */
  uint64_t deadline_ms;    /* monotonic; undecided until then */
  uint64_t record_ms;      /* monotonic; when an unforced record is due */
  uint64_t logged;         /* position of its newest record; 0: it has none */
  uint64_t awaited;        /* position under which it is in core.unsynced */
  uint64_t decided;        /* position of the decision's or delegation's record; 0: it needs none */
  uint32_t pending;        /* branches that the present phase waits for */
  uint32_t inflight;       /* tasks under way */
  uint32_t waiting;        /* waiters */
  uint32_t branch_capacity;
  uint32_t history_capacity;
  uint32_t timeout_ms; /* of a held one: its deadline counts from when it has an id */
  uint8_t record;      /* enum core_record */
  bool one_shot;       /* begun with commit */
  bool held;           /* has no id yet */
  bool loaded;         /* from the log, and not driven to its end yet */
  bool recorded;       /* there is a record of it, of this run or from the log */
  bool forgetting;     /* forgets are out */
  bool ending;         /* is in core.ending */
  bool presumed;       /* the log did not say how it was decided: taken for aborted */
  bool parked;         /* of the last run, and the log may have lost something: nothing is done */
};

/* ---- a SEND under way ---- */

struct core_request {
  struct core_tree_node by_number;
  struct core_list link; /* of endpoint.under_way */
  uint64_t number;
  uint64_t sent_ms;
  bool slow;
  struct core_endpoint *endpoint;
  uint64_t epoch;
  uint32_t count;
  struct vow_action_message *messages; /* in the same block, behind the tasks */
  struct core_task *tasks[];
};

/* ---- the core ---- */

struct vow_core {
  struct vow_core_config config;

  uint64_t now_ms; /* of the event at hand */
  uint64_t wall_ms;
  uint64_t random;
  uint64_t random_uses;

  struct core_tree by_id;
  struct core_tree by_key;
  struct core_tree by_token;
  struct core_tree by_url;
  struct core_tree by_number;
  struct core_list dirty;
  struct core_list held;     /* begun, in order, waiting for ids below a durable ceiling */
  struct core_list unsynced; /* by `awaited`, ascending */
  struct core_list ending; /* ended, and their records are not wanted yet; the first has a timer */
  struct core_list dead;   /* dropped in the last step; actions may point to them until the next */
  struct core_list ready;  /* endpoints that may send */
  struct core_list idle;   /* endpoints without branches, the oldest first */
  struct core_timers timers;
  uint32_t held_count;
  uint32_t ending_count;
  uint32_t idle_count;
  uint64_t last_request;

  uint64_t to_load; /* records that LOAD has yet to bring: begins leave room for them */
  bool begun;       /* LOAD_BEGIN was seen */
  bool loading;
  bool draining;
  enum vow_error log_refuses; /* begins, with this; or OK */
  bool ends_due;              /* the records of core.ending are wanted, however few they are */
  bool deferred;              /* memory was short: something that could be emitted has not been */

  uint64_t position; /* of the newest record */
  uint64_t durable;

  uint64_t id_ms; /* of the newest id, or of the floor */
  uint16_t id_counter;
  struct vow_id ceiling;     /* durable */
  uint64_t ceiling_after;    /* position of its record; 0: the core has read it */
  uint64_t ceiling_position; /* of the newest ceiling record, until it is durable; then 0 */
  uint64_t next_ceiling_ms;  /* of the newest ceiling record */
  bool ceiling_forced;       /* somebody waits for it */
  bool ceiling_wanted;       /* to be emitted at the end of the step */

  uint64_t incarnation;          /* of the log; 0: it has none */
  struct vow_incarnation *known; /* owned; its starts before this */
  uint32_t known_count;
  struct vow_id_gap *gaps; /* owned */
  uint32_t gap_count;
  bool quarantined;
  bool quarantine_wanted;       /* its record is to be emitted */
  struct vow_id presume_from;   /* below it nothing is presumed */
  struct vow_log_position seen; /* that put it into quarantine in this run */
  char seen_by[CORE_TEXT_BYTES_MAX];

  char detail[160]; /* of the answer at hand, where it has a number in it */

  struct vow_core_counts counts; /* those that cannot be read off elsewhere */

  struct vow_action *actions; /* owned */
  uint32_t action_count;
  uint32_t action_capacity;
};

/* ---- core.c ---- */

uint64_t core_random(struct vow_core *core);
/* The delay before the n-th retry in a row: doubling, capped, jittered. */
uint64_t core_backoff_ms(struct vow_core *core, uint64_t failures);
/* A copy of what the format says, cut to CORE_TEXT_BYTES_MAX; NULL when memory is short. */
char *core_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
struct core_txn *core_find(const struct vow_core *core, struct vow_id id);

/* ---- transaction.c: its memory ---- */

struct core_txn *core_txn_alloc(void);
/* Makes room for branches and their tasks. False, and nothing changed, when memory is short. */
bool core_txn_reserve_branches(struct core_txn *txn, uint32_t count) VOW_MUST_CHECK;
/* Gives back its endpoints; it needs them no more. */
void core_txn_leave_endpoints(struct vow_core *core, struct core_txn *txn);
/* Gives back its endpoints and frees it. It is in no tree and has no waiter. */
void core_txn_free(struct vow_core *core, struct core_txn *txn);
struct vow_branch *core_branch(const struct core_task *task);

/* ---- ids.c ---- */

void core_ids_load(struct vow_core *core, struct vow_id floor);
/* False when there is none below the durable ceiling; then a forced ceiling is on its way. */
bool core_ids_issue(struct vow_core *core, struct vow_id *out) VOW_MUST_CHECK;
/* The log is durable further than before: the ceiling may be, too. */
void core_ids_durable(struct vow_core *core);

/* ---- history.c ---- */

/* Makes room, so that the next `more` entries cannot be lost. */
bool core_history_reserve(const struct vow_core *core, struct core_txn *txn,
                          uint32_t more) VOW_MUST_CHECK;
/* `constant` is a string of the program, or NULL. */
void core_history(struct vow_core *core, struct core_txn *txn, uint32_t branch,
                  enum vow_history_kind kind, const char *constant);
/* Takes `owned`; NULL (memory is short) leaves the entry without its detail. */
void core_history_text(struct vow_core *core, struct core_txn *txn, uint32_t branch,
                       enum vow_history_kind kind, char *owned);
/* Of a transaction that was read from the log as committing: the record of a decision is written
 * before the entry that says that it is durable, so that entry may be missing. `time_ms` is the
 * record's. */
void core_history_decided_before(struct vow_core *core, struct core_txn *txn, uint64_t time_ms);

/* ---- endpoint.c ---- */

/* The endpoint of this URL, counted as used by one branch more; NULL when memory is short. */
struct core_endpoint *core_endpoint_acquire(struct vow_core *core, const char *url);
void core_endpoint_release(struct vow_core *core, struct core_endpoint *endpoint);
void core_endpoint_free(struct core_endpoint *endpoint);
/* Puts it among those that may send, if it may. Messages that wait for a slot get one when a
 * request has become slow. */
void core_endpoint_kick(struct vow_core *core, struct core_endpoint *endpoint);
bool core_endpoint_may_send(const struct vow_core *core, const struct core_endpoint *endpoint);
/* How many messages, from the front of its queue, the next request takes; it may send. */
uint32_t core_endpoint_batch(const struct core_endpoint *endpoint);
/* It is up, and has answered another request since this one left. */
bool core_endpoint_answers(const struct core_endpoint *endpoint,
                           const struct core_request *request);
/* A request leaves, and comes back. */
void core_endpoint_sent(struct vow_core *core, struct core_request *request);
void core_endpoint_returned(struct core_request *request);
/* A request of `epoch` came back, with the offer to take so many messages at once (0: none). */
void core_endpoint_answered(struct vow_core *core, struct core_endpoint *endpoint, uint64_t epoch,
                            uint32_t batch_max);
/* It did not take a batch: it gets none until it has been down and is back up. */
void core_endpoint_refused_batch(struct core_endpoint *endpoint);
void core_endpoint_failed(struct vow_core *core, struct core_endpoint *endpoint, uint64_t epoch,
                          const char *error);

/* False when nothing is to be sent for this branch. */
bool core_task_message(const struct core_task *task, enum vow_message_type *out);
/* Queues its message now, wherever it was; one that is under way is left alone. */
void core_task_push(struct vow_core *core, struct core_task *task);
/* The same after a delay, of one that is idle. */
void core_task_delay(struct vow_core *core, struct core_task *task, uint64_t delay_ms);
/* Nothing more is to be sent, or not now; one that is under way is left alone. */
void core_task_stop(struct vow_core *core, struct core_task *task);

/* ---- protocol.c ---- */

void core_touch(struct vow_core *core, struct core_txn *txn);
void core_want_record(struct vow_core *core, struct core_txn *txn, enum core_record record);
void core_rearm(struct vow_core *core, struct core_txn *txn);

/* Gives a new transaction its place. */
void core_txn_enter(struct vow_core *core, struct core_txn *txn);
/* It was held for an id; true when it has one now. */
bool core_txn_issue(struct vow_core *core, struct core_txn *txn) VOW_MUST_CHECK;
/* ACTIVE -> PREPARING: prepare goes to every branch, or the commit is handed to the only one. */
void core_txn_prepare(struct vow_core *core, struct core_txn *txn);
/* ACTIVE, PREPARING -> ABORTING, or, when the only branch may already have committed, asks it.
 * Takes `reason`, which may be NULL. */
void core_txn_abort(struct vow_core *core, struct core_txn *txn, char *reason);
/* ABORTING without asking anybody whose answer would matter. */
void core_txn_abort_now(struct vow_core *core, struct core_txn *txn);
/* Its time has come. */
void core_txn_expire(struct vow_core *core, struct core_txn *txn);
/* Makes every move that its state allows. */
void core_txn_advance(struct vow_core *core, struct core_txn *txn);
/* Is the record of its decision or delegation durable, or not needed? */
bool core_txn_decided(const struct vow_core *core, const struct core_txn *txn);
/* May its outcome be told to a client now? */
bool core_txn_answerable(const struct vow_core *core, const struct core_txn *txn);
/* Ended, its record durable, and no message under way: once its waiters are answered, and a durable
 * outcome answers all of them, nobody needs it any more. */
bool core_txn_over(const struct vow_core *core, const struct core_txn *txn);

bool core_branch_done(const struct vow_branch *branch);
void core_branch_move(struct core_task *task, enum vow_branch_state state);
/* It voted commit. */
void core_branch_prepared(struct vow_core *core, struct core_task *task);
/* The branch ended (or, as UNKNOWN, may never): counts it, merges heuristics. */
void core_branch_end(struct vow_core *core, struct core_task *task, enum vow_branch_state state,
                     enum vow_outcome outcome);

/* ---- request.c, operator.c, reply.c, load.c: the events ---- */

enum vow_error core_begin(struct vow_core *core, const struct vow_event *event) VOW_MUST_CHECK;
enum vow_error core_enlist(struct vow_core *core, const struct vow_event *event) VOW_MUST_CHECK;
enum vow_error core_commit(struct vow_core *core, const struct vow_event *event) VOW_MUST_CHECK;
enum vow_error core_abort(struct vow_core *core, const struct vow_event *event) VOW_MUST_CHECK;
enum vow_error core_resolve(struct vow_core *core, const struct vow_event *event) VOW_MUST_CHECK;
enum vow_error core_forget(struct vow_core *core, const struct vow_event *event) VOW_MUST_CHECK;
enum vow_error core_reply(struct vow_core *core, const struct vow_event *event) VOW_MUST_CHECK;
enum vow_error core_load_begin(struct vow_core *core, const struct vow_event *event) VOW_MUST_CHECK;
enum vow_error core_load(struct vow_core *core, const struct vow_event *event) VOW_MUST_CHECK;
enum vow_error core_load_end(struct vow_core *core) VOW_MUST_CHECK;
void core_cancel(struct vow_core *core, uint64_t token);
enum vow_error core_refuse_unknown(struct vow_core *core, uint64_t token) VOW_MUST_CHECK;
/* The transaction of a request, with a waiter attached and room for some history; or NULL when
 * *error says how the request ended. The waiter waits, too, for the record at `position`. */
struct core_txn *core_wait_on(struct vow_core *core, const struct vow_event *event,
                              enum core_wait wait, uint64_t position, enum vow_error *error);

/* ---- quarantine.c ---- */

enum vow_error core_quarantine_load(struct vow_core *core,
                                    const struct vow_event *event) VOW_MUST_CHECK;
/* Somebody has seen the log there: if it never came so far, it goes into quarantine. */
void core_witness(struct vow_core *core, struct vow_log_position seen, const char *by);
/* Nothing more is done for it until the log is reconciled. Held back it counts as undecided, too.
 */
void core_park_decided(struct vow_core *core, struct core_txn *txn);
void core_hold_back(struct vow_core *core, struct core_txn *txn);
bool core_is_held_back(const struct core_txn *txn);

/* ---- waiter.c ---- */

/* NULL when memory is short. It waits for nothing yet. */
struct core_waiter *core_waiter_new(uint64_t token, enum core_wait wait);
void core_waiter_attach(struct vow_core *core, struct core_txn *txn, struct core_waiter *waiter);
/* Detaches and frees. */
void core_waiter_end(struct vow_core *core, struct core_waiter *waiter);
/* Fills in the answer if it is due. */
bool core_waiter_answer(const struct vow_core *core, const struct core_waiter *waiter,
                        struct vow_action *out);

/* ---- emit.c ---- */

/* Answers a request in the step that brought it; there is room for one. */
void core_answer(struct vow_core *core, uint64_t token, enum vow_error error, const char *detail,
                 const struct core_txn *txn);
void core_flush(struct vow_core *core, bool more);

#endif
