/*
 * The participant's core: all its branches, the watermarks of its coordinators, and when to ask
 * what. Pure: one event in, a list of actions out; no I/O, clock, thread, randomness or global. The
 * state machine of one branch is branch.h.
 *
 * The contract with the driver (participant.c, or a simulator):
 *   - events come one at a time; the actions of a step are carried out in order, and what they
 * point to is valid until the next step, except where vow_paction says that it stays;
 *   - every CALL is answered by one VOTED or FINISHED, every forced LOG and every SAVE by one
 * LOGGED or NOT_LOGGED with its position; that of a SAVE names no branch. NOT_LOGGED means that the
 * record is certainly not on disk and never will be. Who cannot tell (a COMMIT that failed) sends
 * nothing: the driver must stop answering and start again;
 *   - every MESSAGE and OPERATE is answered by one REPLY with its token, now or later;
 *   - a PURGE belongs to the database transaction of the LOG before it: a tombstone must not vanish
 *     without the watermark that stands in for it. It may be lost with that transaction, and only
 *     with that: once LOGGED has come for the record the watermark counts as stored. Records of
 *     callbacks that run inside a database transaction are not written in the order of the steps,
 *     so a stored watermark never goes back;
 *   - a record replaces the one of the same row, and a PURGE deletes rows. Each branch gets a row
 *     of its own with its first record, above all that were ever seen;
 *   - at a start: LOAD for each record, by row, LOAD_COORDINATOR for each watermark and LOAD_SEEN
 *     for each position of a coordinator's log, before all else;
 *   - TICK comes no later than vow_pcore_next_deadline() asks.
 *
 * Threads: none; one owner. Memory: bounded by vow_pconfig. When memory is out a MESSAGE is
 * answered with NO_MEMORY and has changed nothing.
 */
#ifndef VOW_SDK_PCORE_H
#define VOW_SDK_PCORE_H

#include "branch.h"

#define VOW_PCORE_PURGE_MAX 64   /* tombstones of one PURGE */
#define VOW_PCORE_TICK_MAX  1000 /* branches that one TICK moves */
/* Room beyond the limits for aborts of branches that nobody knows: until such an abort is
 * acknowledged no watermark passes it, and no tombstone behind it makes room. */
#define VOW_PCORE_ABORTS_EXTRA 100000

struct vow_pcore;

enum vow_pevent_type {
  VOW_PEVENT_MESSAGE = 1,
  VOW_PEVENT_VOTED,
  VOW_PEVENT_FINISHED,
  VOW_PEVENT_LOGGED,
  VOW_PEVENT_NOT_LOGGED,
  VOW_PEVENT_ANSWERED,   /* the coordinator told an outcome, or that it cannot */
  VOW_PEVENT_ASK_FAILED, /* `coordinator` did not answer: ask it nothing for a while */
  VOW_PEVENT_TICK,
  VOW_PEVENT_OPERATE,
  VOW_PEVENT_LOAD,
  VOW_PEVENT_LOAD_COORDINATOR,
  VOW_PEVENT_LOAD_SEEN
};

struct vow_pevent {
  enum vow_pevent_type type;
  uint64_t now_ms; /* monotonic */
  uint64_t random;
  struct vow_id transaction; /* VOTED to ANSWERED, OPERATE */
  uint32_t branch;
  union {
    struct {
      uint64_t token;
      const struct vow_message *message; /* its coordinator in normal form */
      const char *refused; /* why nothing new can be prepared just now (the log), or NULL */
    } message;
    struct {
      enum vow_vote vote;
      const char *reason; /* or NULL */
    } voted;
    struct {
      enum vow_error error;
      const char *reason; /* or NULL */
    } finished;
    struct {
      uint64_t position;
      enum vow_error error; /* of NOT_LOGGED: what requests are told */
      const char *why;
    } logged;
    struct {
      enum vow_inquiry_answer outcome;
      struct vow_log_position log;  /* how far the log has come that answered; or nothing */
      struct vow_log_position told; /* what the question said was seen of it */
    } answer;
    struct {
      uint64_t token;
      enum vow_outcome outcome; /* one of the heuristics */
    } operate;
    const struct vow_precord *load;
    struct {
      const char *url;
      struct vow_id finished_below;
      struct vow_log_position seen;
    } coordinator; /* ASK_FAILED, LOAD_COORDINATOR (finished_below), LOAD_SEEN (seen) */
  } u;
};

struct vow_pactions {
  const struct vow_paction *items;
  uint32_t count;
};

enum vow_error vow_pcore_new(struct vow_pcore **out,
                             const struct vow_pconfig *config) VOW_MUST_CHECK;
void vow_pcore_free(struct vow_pcore *core); /* NULL is fine */

/* VOW_E_ILLEGAL_STATE: the event does not fit the branch; nothing has changed and there are no
 * actions. Of the LOAD events only: VOW_E_NO_MEMORY, and VOW_E_LOG_CORRUPT for the second record of
 * one branch. */
enum vow_error vow_pcore_step(struct vow_pcore *core, const struct vow_pevent *event,
                              struct vow_pactions *actions) VOW_MUST_CHECK;

/* Monotonic time of the next TICK it needs; UINT64_MAX: none. */
uint64_t vow_pcore_next_deadline(const struct vow_pcore *core);

/* ---- reading; valid until the next step ---- */

const struct vow_pbranch *vow_pcore_find(const struct vow_pcore *core, struct vow_id transaction,
                                         uint32_t branch);
/* Iterates over the branches; NULL begins, and ends. The order means nothing. */
const struct vow_pbranch *vow_pcore_next(const struct vow_pcore *core,
                                         const struct vow_pbranch *last);
/* The same over the branches of one transaction, of whichever coordinator. */
const struct vow_pbranch *vow_pcore_next_of(const struct vow_pcore *core, struct vow_id transaction,
                                            const struct vow_pbranch *last);
/* All zero for a coordinator that was never heard of. */
struct vow_id vow_pcore_finished_below(const struct vow_pcore *core, const char *coordinator);
/* The highest id of its transactions that was here since the start, or in what was loaded. */
struct vow_id vow_pcore_newest(const struct vow_pcore *core, const char *coordinator);
/* The highest position of its log that it has told, and not only asked about. */
struct vow_log_position vow_pcore_seen(const struct vow_pcore *core, const char *coordinator);
/* The coordinators heard of, for who wants all of that: false when index is past the last. */
bool vow_pcore_coordinator_at(const struct vow_pcore *core, uint32_t index, const char **url,
                              struct vow_log_position *seen);
const char *vow_pbranch_coordinator(const struct vow_pbranch *branch);

struct vow_pcounts {
  uint64_t unfinished; /* all of them; `preparing` and `in_doubt` are some of these */
  uint64_t preparing;
  uint64_t in_doubt;
  uint64_t tombstones;
  uint64_t heuristics;                    /* not forgotten yet */
  uint64_t committed, aborted, heuristic; /* ended in this run */
};
void vow_pcore_counts(const struct vow_pcore *core, struct vow_pcounts *out);

#endif
