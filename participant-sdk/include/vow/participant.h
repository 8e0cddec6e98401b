/*
 * libvow, participant side: turns a service into a participant of two-phase commit.
 *
 * You give three callbacks. libvow does the rest: it speaks the protocol, makes votes durable
 * before they are sent, turns messages that come twice, late or in the wrong order into calls that
 * make sense, recovers after a crash, and asks the coordinator about branches that are in doubt.
 *
 *     static enum vow_vote prepare(void *context, const struct vow_work *work,
 *                                  struct vow_reason *reason) { ... }
 *
 *     struct vow_participant_options options;
 *     vow_participant_options_init(&options);
 *     options.log_path = "orders.vow";
 *     options.prepare = prepare;
 *     options.commit = commit;
 *     options.abort = abort_;
 *     struct vow_participant *participant;
 *     enum vow_error error = vow_participant_open(&participant, &options, why, sizeof why);
 *     error = vow_participant_listen(participant, "127.0.0.1:7001", why, sizeof why);
 *
 * or, inside a server of your own, hand each request to vow_participant_handle().
 *
 * What you can rely on, through any crash: a branch whose prepare voted commit gets exactly one of
 * commit and abort, as the coordinator decided; a branch whose prepare was called and did not get
 * as far as a durable vote gets abort; a branch that voted abort gets nothing more; one that voted
 * read-only may still get abort. A callback that a crash interrupted, or that failed, is called
 * again: a second call must have no second effect.
 *
 * Threads: every function may be called from any thread, unless it says otherwise. Callbacks run on
 * threads of the participant's own, at most one at a time for one branch, several at once for
 * different branches, up to `callback_threads`; with 0 on those that bring messages.
 */
#ifndef VOW_PARTICIPANT_H
#define VOW_PARTICIPANT_H

#include <stddef.h>
#include <stdint.h>
#include <vow/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vow_participant;
struct vow_sqlite; /* <vow/sqlite.h> */

/* One branch of a transaction, as a callback sees it. Borrowed for the call. */
struct vow_work {
  const char *transaction; /* UUID text */
  uint32_t branch;
  const char *payload; /* the JSON given with the branch, compact, NUL-terminated; NULL if there is
                          none. In commit and abort it is the same text, also after a restart: it is
                          kept with the vote. */
  size_t payload_bytes;
};

/* Why a callback voted abort or failed: shown to the client and in `vowctl show`. At most 200 bytes
 * are kept. */
struct vow_reason;
VOW_PUBLIC void vow_reason_set(struct vow_reason *reason, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;

/* Do the work, or make sure that it can be done, durably, such that commit cannot fail for a reason
 * of yours. VOW_VOTE_ABORT: and nothing of this branch is left, neither of this call nor of work
 * done for it before. VOW_VOTE_READ_ONLY: there is nothing to commit or undo. */
typedef enum vow_vote (*vow_prepare_fn)(void *context, const struct vow_work *work,
                                        struct vow_reason *reason);

/* Make the prepared work visible, or undo it. VOW_OK: done, durably. Any other value: not done, and
 * the call will come again, for ever; the coordinator is told 503 (all of this participant is given
 * a pause) for an error of class RETRY, and 500 (this branch is) for any other. Abort may come for
 * a branch that was never prepared (then there may be nothing to undo, and `payload` is NULL). */
typedef enum vow_error (*vow_finish_fn)(void *context, const struct vow_work *work,
                                        struct vow_reason *reason);

struct vow_participant_options {
  size_t size; /* of this struct as the caller knows it; set by _init */

  /* Where the vote log lives: a file of its own (made if missing), or, with `sqlite`, the
   * application's own database, so that vote and work share one SQLite transaction. Exactly one of
   * them. It holds payloads: who may read a file that is made is up to your umask. */
  const char *log_path;
  struct vow_sqlite
      *sqlite; /* borrowed; must outlive the participant. Then the three callbacks must be NULL. */

  vow_prepare_fn prepare;
  vow_finish_fn commit;
  vow_finish_fn abort; /* NULL: nothing to undo */
  void *context;

  /* 1: should the process die before the vote is durable, prepare leaves nothing behind that would
   * have to be undone. That saves the record that otherwise goes to the disk before prepare is
   * called, so that a restart knows what to abort. Default 0. With `sqlite` nothing is left anyway.
   */
  int prepare_leaves_nothing;

  /* Callbacks at once; default 4, at most 1024. With `sqlite` any but 0 is 1.
   * 0: for callbacks, or work, that never wait. What a message leads to, callback and forced write
   * of the log included, is then done by the thread that brought it: the server's, that of a caller
   * of vow_participant_handle, or the one that asks coordinators. Of several that bring something
   * at once, one writes the log for all, or vow's own thread does, and calls what then is to be
   * called. That saves the hand-overs between threads, a quarter to a third of a participant's
   * processor time. But while a callback or the disk is slow, the server answers nobody, and other
   * callers may wait, too. */
  uint32_t callback_threads;
  uint32_t connections_max; /* of the own server; default 1000 */
  size_t body_bytes_max;    /* of a message; default 1 MiB */
  uint32_t branches_max;   /* unfinished at once; past it prepare is answered 503; default 100000 */
  uint32_t tombstones_max; /* finished and kept for late messages; likewise; default 1000000 */
  uint32_t inquiry_min_ms; /* in doubt: first question after this; default 1000 */
  uint32_t inquiry_max_ms; /* longest pause between questions; default 30000 */
  uint32_t request_timeout_ms;   /* of a question; default 5000 */
  const char *coordinator_allow; /* comma-separated base URLs that may coordinate; NULL: any. Others
                                    get 403. */
  uint32_t batch_max; /* messages that the coordinator may send at once; the answers to all of them
                         leave together. 2 to 128, default 64. 0: none, for callbacks of which a
                         slow one must not delay the answers to others. */
};
VOW_PUBLIC void vow_participant_options_init(struct vow_participant_options *options);

/* Opens the log, verifies it, and starts recovery: branches in doubt are asked about in the
 * background, so callbacks may be called before this returns. Blocks: on disk. Owns: *out is the
 * caller's, see vow_participant_close. On failure `why` (may be NULL) gets a sentence that says
 * what to do. Errors: INVALID_ARGUMENT, LOG_*, NO_MEMORY. */
VOW_PUBLIC enum vow_error vow_participant_open(struct vow_participant **out,
                                               const struct vow_participant_options *options,
                                               char *why, size_t why_bytes) VOW_MUST_CHECK;

/* Serves HTTP on "host:port" or "[address]:port" (port 0: any free one) from a thread of its own
 * until close. The URL to enlist is then "http://host:port", without a path. Once.
 * Blocks: no. Errors: ADDRESS_IN_USE, INVALID_ARGUMENT, ILLEGAL_STATE (it listens already). */
VOW_PUBLIC enum vow_error vow_participant_listen(struct vow_participant *participant,
                                                 const char *address, char *why,
                                                 size_t why_bytes) VOW_MUST_CHECK;
/* The port that listen got; 0 before. */
VOW_PUBLIC uint16_t vow_participant_port(struct vow_participant *participant);

/* The mounted form: what the application's own server received under the participant's URL. `path`
 * is what follows that URL ("/prepare"). */
struct vow_http_request {
  const char *method;
  const char *path;
  const char *content_type; /* or NULL */
  const char *body;
  size_t body_bytes;
};
struct vow_http_response {
  int status;
  const char *content_type; /* static */
  char *body;               /* the caller frees it with vow_free */
  size_t body_bytes;
  const char *allow;      /* static; of 405, for the header Allow; else NULL */
  uint32_t retry_after_s; /* 0: no such header */
  uint32_t batch_max;     /* for the header Vow-Batch, on every answer; 0: no such header */
};
/* Not from a callback, which may hold what another needs.
 * Blocks: until the callback has run and the vote or outcome is durable. Always fills *response,
 * also when memory is out (then without a body); the error is for logs. */
VOW_PUBLIC enum vow_error vow_participant_handle(struct vow_participant *participant,
                                                 const struct vow_http_request *request,
                                                 struct vow_http_response *response);

/* A branch that a human settled, or that the application had to end by itself against the promise:
 * recorded durably, reported as heuristic when the coordinator comes with its decision. No callback
 * is called; with `sqlite` the database follows: HEURISTIC_COMMIT applies the prepared work, the
 * others drop it.
 * A coordinator that crashed before it had decided does not come: its transaction has aborted, and
 * to compare is the caller's.
 * Not from a callback: with `sqlite`, or no `callback_threads`, it would wait for itself.
 * Blocks: on disk. Errors: INVALID_ARGUMENT (not a heuristic outcome), INVALID_ID, UNKNOWN_BRANCH,
 * ILLEGAL_STATE (it is not prepared, or is settled, or a callback of it runs), OVERLOADED (try
 * again), DATABASE (the work cannot be applied: the branch stays prepared), LOG_*. */
VOW_PUBLIC enum vow_error vow_participant_heuristic(struct vow_participant *participant,
                                                    const char *transaction, uint32_t branch,
                                                    enum vow_outcome outcome) VOW_MUST_CHECK;

struct vow_participant_stats {
  uint64_t prepared;   /* in doubt now */
  uint64_t tombstones; /* finished, kept until the coordinator has moved on, and a little longer */
  uint64_t committed, aborted, heuristic; /* since open */
  uint64_t log_syncs, log_records;        /* since open */
  uint64_t inquiries;
};
VOW_PUBLIC void vow_participant_stats(struct vow_participant *participant,
                                      struct vow_participant_stats *out);

/* Stops the server (requests under way are finished, at most 5 s), stops asking, closes the log.
 * Branches in doubt stay so and are taken up by the next open. No other thread may be inside a
 * call. Blocks: until the callbacks that run have returned, so not from one. NULL is fine. */
VOW_PUBLIC void vow_participant_close(struct vow_participant *participant);

VOW_PUBLIC void vow_free(void *memory);

#ifdef __cplusplus
}
#endif
#endif
