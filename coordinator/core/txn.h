/*
 * A transaction as the coordinator knows it: memory image, log record and API view are one thing.
 * Readers outside the core get `const struct vow_txn *` and keep it no longer than the call. Only
 * coordinator/core changes one; the log's codec (io/record.c) builds one when it reads a record.
 */
#ifndef VOW_COORDINATOR_TXN_H
#define VOW_COORDINATOR_TXN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "id.h"
#include "vow/types.h"

/* The enumerators here reach the wire by name (vow_txn_state_name) and the log by number, which
 * never changes. */
enum vow_txn_state {
  VOW_TXN_ACTIVE = 1,     /* begun; branches may be enlisted */
  VOW_TXN_PREPARING = 2,  /* prepare is out, votes are awaited */
  VOW_TXN_COMMITTING = 3, /* the commit record is written (durable once `decision_durable`) */
  VOW_TXN_COMMITTED = 4,  /* every branch has ended */
  VOW_TXN_ABORTING = 5,   /* aborts are being delivered */
  VOW_TXN_ABORTED = 6     /* every branch that could know has been told */
};

enum vow_heuristic {
  VOW_HEURISTIC_NONE = 0,
  VOW_HEURISTIC_COMMIT = 1,
  VOW_HEURISTIC_ABORT = 2,
  VOW_HEURISTIC_MIXED = 3,
  VOW_HEURISTIC_HAZARD = 4
};

enum vow_branch_state {
  VOW_BRANCH_ENLISTED = 1,
  VOW_BRANCH_PREPARING = 2, /* prepare is queued or out */
  VOW_BRANCH_PREPARED = 3,  /* voted commit */
  VOW_BRANCH_READ_ONLY = 4, /* voted read-only: done */
  VOW_BRANCH_COMMITTING = 5,
  VOW_BRANCH_COMMITTED = 6,
  VOW_BRANCH_ABORTING = 7,
  VOW_BRANCH_ABORTED = 8,   /* voted abort, or acknowledged abort, or was never asked */
  VOW_BRANCH_HEURISTIC = 9, /* `outcome` says which */
  VOW_BRANCH_UNKNOWN =
      10 /* told to commit and does not know the branch: hazard until it answers or is resolved */
};

enum vow_history_kind {
  VOW_HISTORY_BEGUN = 1,
  VOW_HISTORY_ENLISTED = 2,
  VOW_HISTORY_COMMIT_ASKED = 3,
  VOW_HISTORY_ABORT_ASKED = 4,
  VOW_HISTORY_PREPARE_SENT = 5,
  VOW_HISTORY_VOTE = 6,      /* detail: the vote and its reason */
  VOW_HISTORY_DELEGATED = 7, /* one-phase commit handed to the branch */
  VOW_HISTORY_DECIDED = 8,   /* detail: "commit" or "abort: why" */
  VOW_HISTORY_DECISION_SENT = 9,
  VOW_HISTORY_ACKNOWLEDGED = 10, /* detail: the outcome */
  VOW_HISTORY_ATTEMPT_FAILED =
      11, /* detail: the error; equal neighbours are counted, not repeated */
  VOW_HISTORY_HEURISTIC = 12,
  VOW_HISTORY_RECOVERED = 13, /* read from the log at a start; detail: what was done with it */
  VOW_HISTORY_RESOLVED = 14,  /* operator; detail: outcome and reason */
  VOW_HISTORY_FORGOTTEN = 15, /* operator; detail: reason */
  VOW_HISTORY_ENDED = 16,
  VOW_HISTORY_TIMED_OUT = 17,
  VOW_HISTORY_LAST = VOW_HISTORY_TIMED_OUT
};

struct vow_history {
  uint64_t time_ms;
  const char *detail; /* or NULL; owned, unless detail_static */
  uint32_t branch;    /* 0: the transaction itself */
  uint16_t count;     /* how often in a row, at least 1, saturating; time_ms is the last time */
  uint8_t kind;       /* enum vow_history_kind */
  bool detail_static; /* detail is a constant of the program (the core's common words) */
};

struct vow_branch {
  uint32_t number; /* from 1 */
  enum vow_vote vote;
  enum vow_branch_state state;
  enum vow_outcome outcome; /* NONE until it ended; read-only branches have none */
  uint32_t attempts;        /* messages sent to it */
  bool resolved;            /* settled by an operator: no longer pushed */
  bool name_behind_url;     /* `name` is in the block of `url` */
  char *name;               /* owned, unless behind the URL; unique in the transaction */
  char *url;                /* owned; normal form */
  char *payload; /* owned; compact JSON or NULL; freed when the vote is in; never logged or shown */
  size_t payload_bytes;
  char *last_error; /* owned; or NULL */
  uint64_t last_error_ms;
};

struct vow_txn {
  struct vow_id id;
  enum vow_txn_state state;
  enum vow_heuristic heuristic;
  bool decision_durable; /* no crash can change the outcome any more: it may be revealed. Not kept
                            in the record: a decided image that is read from the log has it set */
  bool delegated;        /* one-phase commit was handed to the only branch */
  bool forgotten;
  bool presumed; /* of the record of an abort: a restart presumes it, so it is no decision (C11) */
  uint32_t branch_count;
  uint32_t history_count;
  uint32_t history_dropped; /* entries left out when the bound was reached */
  uint64_t created_ms;
  uint64_t updated_ms;
  uint64_t deadline_ms;        /* before the decision; wall clock */
  uint64_t ended_ms;           /* 0: open */
  char *metadata;              /* owned; compact JSON object or NULL */
  char *idempotency_key;       /* owned; or NULL */
  uint8_t request_hash[16];    /* of the keyed request's body */
  char *traceparent;           /* owned; or NULL */
  char *reason;                /* owned; why it aborted, or NULL */
  struct vow_branch *branches; /* owned */
  struct vow_history *history; /* owned; oldest first, bounded */
};

const char *vow_txn_state_name(enum vow_txn_state state);       /* "active", … */
const char *vow_heuristic_name(enum vow_heuristic heuristic);   /* "commit", …; NULL for none */
const char *vow_branch_state_name(enum vow_branch_state state); /* "enlisted", … */
const char *vow_history_kind_name(enum vow_history_kind kind);  /* "begun", … */
/* False, and *out untouched, when it is none of these names. */
bool vow_txn_state_parse(const char *name, enum vow_txn_state *out);
bool vow_heuristic_parse(const char *name, enum vow_heuristic *out);
bool vow_branch_state_parse(const char *name, enum vow_branch_state *out);
bool vow_history_kind_parse(const char *name, enum vow_history_kind *out);

/* The transaction's outcome as it may be told: COMMITTED, ABORTED, or NONE while it is undecided or
 * could still be changed by a crash. A heuristic branch does not change it: it is the decision. */
enum vow_outcome vow_txn_outcome(const struct vow_txn *txn);

/* The state as it may be shown: `preparing` while a decision is on its way to the disk. */
enum vow_txn_state vow_txn_shown_state(const struct vow_txn *txn);

/* What a commit of this transaction is answered, now and when it is repeated: OK (committed, or
 * still undecided: look at the outcome), ABORTED, or HEURISTIC when the only branch was handed the
 * commit and nobody can say which of the two it did. */
enum vow_error vow_txn_commit_error(const struct vow_txn *txn);

/* The X/Open merge over what the branches did (proto/README.md); a branch that has not ended does
 * not count, one that does not know its commit is a hazard. */
enum vow_heuristic vow_txn_merge_heuristics(const struct vow_txn *txn);

/* Frees what a transaction owns (not the struct). For images built outside the core. NULL is fine.
 */
void vow_txn_fini(struct vow_txn *txn);

#endif
