/*
 * The driver: puts the core, the log and the sender on one loop. It feeds the core with requests,
 * answers of participants, time and what the log says, and carries out what the core wants, in
 * order and never before the log position that an action names is durable. It knows nothing of HTTP
 * servers: the daemon's API sits on it, and so does `vowctl recover`.
 *
 * Threads: the loop's. Callbacks come from the loop; they must not call vow_driver_request,
 * _cancel, _drain, _reconfigure or _close, but for `done` of a query of the log, which may.
 */
#ifndef VOW_COORDINATOR_DRIVER_H
#define VOW_COORDINATOR_DRIVER_H

#include "core/core.h"
#include "io/log.h"
#include "io/sender.h"

struct uv_loop_s;
struct vow_driver;

/* What an operator may want to read in a log, as it happens. */
enum vow_driver_note_type {
  VOW_NOTE_LOADED = 1,        /* every open transaction of the last run is read; number: how many */
  VOW_NOTE_RECOVERED,         /* and driven to its end */
  VOW_NOTE_ENDED,             /* txn */
  VOW_NOTE_SENT,              /* message, id, branch, url */
  VOW_NOTE_HEURISTIC,         /* id, branch, url, outcome: what the participant says it did */
  VOW_NOTE_UNKNOWN_BRANCH,    /* id, branch, url: told to commit, it does not know the branch */
  VOW_NOTE_ENDPOINT_DOWN,     /* url, why */
  VOW_NOTE_ENDPOINT_UP,       /* url */
  VOW_NOTE_LOG_REFUSES,       /* new transactions, with `error`; or takes them again, OK */
  VOW_NOTE_CHECKPOINT_FAILED, /* number: since the start */
  VOW_NOTE_QUARANTINE         /* url: who has seen the log where it never was; why */
};

struct vow_driver_note {
  enum vow_driver_note_type type;
  const struct vow_txn *txn;
  struct vow_id id;
  uint32_t branch;
  enum vow_message_type message;
  enum vow_outcome outcome;
  enum vow_error error;
  const char *url;
  const char *why;
  uint64_t number;
};

struct vow_driver_config {
  struct vow_core_config core;
  struct vow_log_config log; /* `wake` is the driver's own */
  struct vow_sender_config sender;
  const char *advertise_url; /* where participants ask; copied */
  uint32_t request_timeout_ms;
  uint32_t linger_us; /* so long a few decisions stay for prepares to share a request with, and the
                         first of these with them; 0: not */
  void (*note)(void *context, const struct vow_driver_note *note); /* or NULL */
  /* The log failed, or memory ran out where nothing can be taken back. The process must end without
   * telling anybody anything (log rule 2); this must not return. */
  void (*failed)(void *context, enum vow_error error, const char *why);
  void *context;
};

/* Opens and starts everything; the open transactions of the log are read meanwhile and driven to
 * their end. `why` gets a sentence. VOW_E_LOG_*, VOW_E_NO_MEMORY. Blocks: opens the log. */
enum vow_error vow_driver_open(struct vow_driver **out, struct uv_loop_s *loop,
                               const struct vow_driver_config *config,
                               char why[VOW_LOG_WHY_BYTES]) VOW_MUST_CHECK;
/* From here on nothing more is answered. Closes the log (queries under way are answered from here)
 * and its loop handles: run the loop until they are closed. NULL is fine. Blocks: on disk. */
void vow_driver_close(struct vow_driver *driver);

/* Gives the core one event of a client or operator; time, random bits and token are filled in.
 * `done` is called once with the ANSWER, perhaps before this returns; *token_out is then 0, else it
 * names the request for vow_driver_cancel. VOW_E_NO_MEMORY: nothing happened. */
enum vow_error vow_driver_request(struct vow_driver *driver, struct vow_event *event,
                                  void (*done)(void *context, const struct vow_action *answer),
                                  void *context, uint64_t *token_out) VOW_MUST_CHECK;
/* The client is gone: `done` will not be called. */
void vow_driver_cancel(struct vow_driver *driver, uint64_t token);

/* Somebody who asks has seen the log there: perhaps it has lost records. */
void vow_driver_witness(struct vow_driver *driver, struct vow_log_position seen, const char *by);
void vow_driver_drain(struct vow_driver *driver); /* new transactions are refused from here on */
/* What the log counts, and as queued also what the core keeps back for it. */
void vow_driver_log_counts(const struct vow_driver *driver, struct vow_log_counts *out);
/* Before a backup, which is to have all that has ended. */
void vow_driver_write_ends(struct vow_driver *driver);
/* New timeouts, limits and retention; paths and callbacks are not looked at. */
void vow_driver_reconfigure(struct vow_driver *driver, const struct vow_driver_config *config);

/* Where the log lends (config.log.lend_max_us) the driver stops the loop when there is something to
 * write; then this is to be called, outside of the loop; another thread may turn it meanwhile, but
 * not close the driver. Blocks: on disk. */
void vow_driver_write(struct vow_driver *driver);

const struct vow_core *vow_driver_core(const struct vow_driver *driver);
struct vow_log *vow_driver_log(const struct vow_driver *driver); /* for queries */

struct vow_driver_status {
  enum vow_error log_refuses; /* new transactions: VOW_E_LOG_FULL, VOW_E_LOG_MOVED; or VOW_OK */
  uint64_t durable;           /* log position */
  uint64_t messages;          /* sent to participants since the start */
  uint64_t requests_open;
  struct vow_log_info log; /* as it was found, but for the quarantine, which is as it is */
  struct vow_sender_counts sender;
};
void vow_driver_status(const struct vow_driver *driver, struct vow_driver_status *out);

#endif
