/*
 * One branch at its participant: the state machine of the protocol's right half (proto/README.md,
 * P1 to P9). Pure: an event goes in, actions come out, and nothing else happens. pcore.c holds the
 * branches and is the only caller; participant.c (or a simulator) carries the actions out.
 *
 *                    prepare                  prepare callback: yes
 *   NONE ──> INTENT_WRITING ──> PREPARING ──────────> VOTE_WRITING ──> PREPARED (in doubt)
 *     │                             │  │                                 │     │
 *     │ abort                 abort,│  │ yes, in one phase      commit,  │     │ abort,
 *     │                          no │  │                        answer   │     │ answer
 *     │                             │  └─> DECISION_WRITING ──> COMMITTING     │
 *     │                             │                               │          │
 *     │                             │     COMMIT_DUE <── failed ────┤          │
 *     │                             │                               v          │
 *     │                             │                         COMMIT_WRITING   │
 *     │                             v                               v          │
 *     └───> ABORTING <──────────────┴───────────────            COMMITTED      │
 *               │ ^─────────────────────────────────────────────────────────────┘
 *               ├── failed ──> ABORT_DUE (again by itself)
 *               v
 *         ABORT_WRITING ──> ABORTED          READ_ONLY_WRITING ──> READ_ONLY
 *
 *   PREPARED, COMMIT_DUE ── operator ──> HEURISTIC_CALLING ──> HEURISTIC_WRITING ──> HEURISTIC
 *                                        HEURISTIC ── forget ──> FORGET_WRITING ──> FORGOTTEN
 *
 * What holds:
 *   1. In a *_WRITING state exactly one forced record of the branch is on its way to the disk, and
 *      nothing that depends on it has been answered.
 *   2. At most one callback runs for a branch: in PREPARING, COMMITTING, ABORTING,
 *      HEURISTIC_CALLING one does, elsewhere none.
 *   3. `durable` is the last record known to be on disk. What fails falls back to it, and a crash
 *      falls back to it or to the record that was being written.
 *   4. A vote commit is answered only when `durable` is PREPARED or later. From then on only a
 *      message, an answer of the coordinator, or an operator moves the branch.
 *   5. A decision taken here (one phase) is durable before the commit callback runs: after that
 *      callback has begun an abort must not be possible, whatever crashes. Where log and callbacks
 *      share one database transaction (`atomic`) that holds by itself and nothing is written twice.
 *   6. Whatever ends a branch is durable before it is answered. That holds for an abort of a branch
 *      nobody knows, too: if its tombstone could be lost, a delayed one-phase prepare might commit
 *      what was acknowledged as aborted. Only read-only in two phases is not forced: to lose it is
 *      to prepare again and to be told the outcome. What is below the watermark, and unknown, is
 *      answered as ended only when the watermark is durable (pcore_save.c).
 */
#ifndef VOW_SDK_BRANCH_H
#define VOW_SDK_BRANCH_H

#include "known.h"
#include "message.h"

#define VOW_PBRANCH_WAITERS_MAX 8 /* requests that wait for one branch at once */

enum vow_pbranch_state {
  VOW_PBRANCH_NONE = 0,
  VOW_PBRANCH_INTENT_WRITING, /* "the prepare callback may have begun" */
  VOW_PBRANCH_PREPARING,
  VOW_PBRANCH_VOTE_WRITING,
  VOW_PBRANCH_PREPARED,
  VOW_PBRANCH_DECISION_WRITING, /* one phase: "it commits", before the commit callback */
  VOW_PBRANCH_COMMITTING,
  VOW_PBRANCH_COMMIT_DUE, /* decided here; the commit callback has to be called (again) */
  VOW_PBRANCH_COMMIT_WRITING,
  VOW_PBRANCH_COMMITTED, /* tombstone */
  VOW_PBRANCH_ABORTING,
  VOW_PBRANCH_ABORT_DUE, /* never voted; the abort callback has to be called (again) */
  VOW_PBRANCH_ABORT_WRITING,
  VOW_PBRANCH_ABORTED, /* tombstone */
  VOW_PBRANCH_READ_ONLY_WRITING,
  VOW_PBRANCH_READ_ONLY,         /* tombstone */
  VOW_PBRANCH_HEURISTIC_CALLING, /* atomic only: the database follows the operator's word */
  VOW_PBRANCH_HEURISTIC_WRITING,
  VOW_PBRANCH_HEURISTIC, /* kept until forget; `outcome` says which */
  VOW_PBRANCH_FORGET_WRITING,
  VOW_PBRANCH_FORGOTTEN, /* tombstone */
  VOW_PBRANCH_STATE_COUNT
};

/* "prepared" and so on; never NULL. */
const char *vow_pbranch_state_name(enum vow_pbranch_state state);

/* What a record says; the numbers are the log's. */
enum vow_precord_kind {
  VOW_PRECORD_NONE = 0,
  VOW_PRECORD_INTENT = 1,
  VOW_PRECORD_PREPARED = 2,
  VOW_PRECORD_DECIDED = 3,
  VOW_PRECORD_COMMITTED = 4,
  VOW_PRECORD_ABORTED = 5,
  VOW_PRECORD_READ_ONLY = 6,
  VOW_PRECORD_HEURISTIC = 7,
  VOW_PRECORD_FORGOTTEN = 8
};

/* One branch as the log keeps it; the last one written counts. Borrowed. */
struct vow_precord {
  enum vow_precord_kind kind;
  struct vow_id transaction;
  uint32_t branch;
  uint64_t row; /* the branch's number in the log, from 1; the same in all its records */
  enum vow_outcome outcome; /* of HEURISTIC and FORGOTTEN; of ABORTED: it was told so, or none */
  const char *coordinator;
  const char *payload; /* until the branch has ended; or NULL */
  size_t payload_bytes;
  const char *reason; /* of ABORTED; or NULL */
};

struct vow_pcoordinator; /* pcore_internal.h */

struct vow_pwaiter {
  uint64_t token;
  enum vow_message_type type; /* 0: an operator's request */
  bool one_phase;
};

/* What only a branch that is under way needs. Tombstones are many and go without. */
struct vow_plive {
  char *payload; /* owned; NUL-terminated; never changes, so that a callback may read it */
  size_t payload_bytes;
  uint64_t position;         /* of the record being written */
  uint64_t durable_position; /* of the last that is on disk in this run; 0: none */
  uint32_t retry_ms;         /* pause before the next question or callback */
  bool one_phase;
  bool abort_pending; /* an abort came while the vote was in the making */
  uint32_t waiter_count;
  struct vow_pwaiter waiters[VOW_PBRANCH_WAITERS_MAX];
};

struct vow_pbranch {
  struct vow_id transaction;
  uint32_t number;
  uint8_t state;   /* enum vow_pbranch_state */
  uint8_t durable; /* enum vow_precord_kind */
  uint8_t outcome; /* enum vow_outcome: which heuristic */
  uint8_t heap;    /* pcore.c: which heap it is in, and where */
  uint32_t heap_index;
  uint64_t row;                         /* in the log; 0: it has no record yet */
  uint64_t due_ms;                      /* of PREPARED, COMMIT_DUE, ABORT_DUE */
  char *reason;                         /* owned; why it aborted; or NULL */
  struct vow_plive *live;               /* owned; NULL for tombstones */
  struct vow_pcoordinator *coordinator; /* who is asked */
  struct vow_pbranch *next;             /* pcore.c: in its hash bucket */
};

struct vow_pconfig {
  bool atomic;               /* log and callbacks share one database transaction */
  bool intent;               /* a record goes before the prepare callback; not with `atomic` */
  uint32_t branches_max;     /* unfinished */
  uint32_t preparing_max;    /* of them, not voted yet */
  uint32_t tombstones_max;   /* finished, and kept: forgotten ones too until they are purged */
  uint32_t coordinators_max; /* base URLs heard of */
  uint32_t purge_every;      /* so many forced records of a coordinator; 0 is as good as 1 */
  uint32_t inquiry_min_ms;
  uint32_t inquiry_max_ms;
};

enum vow_paction_type {
  VOW_PACTION_CALL = 1, /* run a callback of `branch`; its result is the event VOTED or FINISHED */
  VOW_PACTION_LOG,      /* write `record` */
  VOW_PACTION_PURGE,    /* with the LOG before it: delete tombstones, store the watermark */
  VOW_PACTION_SAVE,     /* store the watermark, forced; belongs to no branch */
  VOW_PACTION_REPLY,    /* answer a request */
  VOW_PACTION_ASK       /* ask the coordinator of `branch` for the outcome */
};

struct vow_paction {
  enum vow_paction_type type;
  /* CALL, ASK: borrowed. During a callback the branch stays, and so does its payload. */
  const struct vow_pbranch *branch;
  union {
    enum vow_message_type call; /* PREPARE, COMMIT or ABORT */
    struct {
      struct vow_precord record; /* its payload and reason stay until LOGGED or NOT_LOGGED */
      uint64_t position;         /* never 0 */
      bool forced; /* LOGGED or NOT_LOGGED must follow; else it may wait for company */
      struct vow_log_position seen; /* of the coordinator's log; goes along if it is news */
    } log;
    struct {
      const char *coordinator;
      struct vow_id finished_below;
      const uint64_t *rows;
      uint32_t count;
    } purge;
    struct {
      const char *coordinator; /* stays */
      struct vow_id finished_below;
      uint64_t position; /* never 0 */
    } save;
    struct {
      uint64_t token;
      uint64_t after; /* position of the record this depends on: it is durable; 0: none */
      enum vow_message_type type;
      enum vow_error error; /* VOW_OK: `reply` */
      struct vow_message_reply reply;
      const char *detail;           /* of an error; or NULL */
      struct vow_log_position seen; /* also beside an error */
    } reply;
  } u;
};

struct vow_precord_key {
  struct vow_id transaction;
  uint32_t branch;
};

/* The surroundings of one step. */
struct vow_pstep {
  const struct vow_pconfig *config;
  uint64_t now_ms;
  uint64_t random;
  uint64_t *position; /* of the last record; counts up */
  uint64_t *row;      /* the highest that was given; counts up */
  struct vow_paction *actions;
  uint32_t count;
  uint32_t capacity;
};

/* A request for this branch. A branch that nobody knew comes in as NONE. `live` is there, but for
 * branches that have ended and do not need it. */
void vow_pbranch_message(struct vow_pbranch *branch, struct vow_pstep *step,
                         const struct vow_pwaiter *waiter);
bool vow_pbranch_needs_live(const struct vow_pbranch *branch, enum vow_message_type type);
/* A request for a branch that nobody knows. `over`: its id is below the watermark; `refused`: why
 * nothing new is prepared, or NULL. True: answered; false: it needs a branch. */
bool vow_pbranch_unknown(struct vow_pstep *step, const struct vow_pwaiter *waiter, bool over,
                         const char *refused);

/* The rest answer VOW_E_ILLEGAL_STATE, and change nothing, where the state does not expect them. */
enum vow_error vow_pbranch_voted(struct vow_pbranch *branch, struct vow_pstep *step,
                                 enum vow_vote vote, const char *reason) VOW_MUST_CHECK;
enum vow_error vow_pbranch_finished(struct vow_pbranch *branch, struct vow_pstep *step,
                                    enum vow_error error, const char *reason) VOW_MUST_CHECK;
enum vow_error vow_pbranch_logged(struct vow_pbranch *branch, struct vow_pstep *step,
                                  uint64_t position) VOW_MUST_CHECK;
enum vow_error vow_pbranch_not_logged(struct vow_pbranch *branch, struct vow_pstep *step,
                                      uint64_t position, enum vow_error error,
                                      const char *why) VOW_MUST_CHECK;
/* An answer that comes too late to matter is not an error. */
void vow_pbranch_answered(struct vow_pbranch *branch, struct vow_pstep *step,
                          enum vow_inquiry_answer answer);
void vow_pbranch_due(struct vow_pbranch *branch, struct vow_pstep *step);
void vow_pbranch_operate(struct vow_pbranch *branch, struct vow_pstep *step, uint64_t token,
                         enum vow_outcome outcome);
/* Puts a fresh branch into the state that a record of the log leads to. */
void vow_pbranch_load(struct vow_pbranch *branch, struct vow_pstep *step,
                      enum vow_precord_kind kind, enum vow_outcome outcome);

bool vow_pbranch_is_tombstone(const struct vow_pbranch *branch); /* may go below the watermark */
bool vow_pbranch_is_ended(const struct vow_pbranch *branch);     /* needs no `live` */
bool vow_pbranch_waits(const struct vow_pbranch *branch);        /* `due_ms` counts */
bool vow_pbranch_in_doubt(const struct vow_pbranch *branch);     /* a yes is out, no outcome yet */
/* What is on the disk of it, as whoever reconciles a coordinator's log is told. */
enum vow_known_state vow_pbranch_known(const struct vow_pbranch *branch);
/* It was told to commit, or may end itself so in one phase, and that is not on the disk yet. */
bool vow_pbranch_may_commit(const struct vow_pbranch *branch);

#endif
