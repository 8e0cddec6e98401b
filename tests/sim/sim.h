/*
 * The simulator: both real cores in one process, in a world in which time, network, disks, clients
 * and operators are drawn from a seed. One struct sim is one run. README.md of tests/ says how to
 * use it; this header is what its files share.
 *
 *   main.c       options, many seeds, mutants, exit codes
 *   run.c        one run: configuration, faults, healing, the end
 *   queue.c      events by virtual time; random bits; the trace and its hash
 *   network.c    what is lost, late, twice, cut off
 *   coordinator.c, coordinator_log.c, coordinator_api.c   vowd's driver, log and API, simulated
 *   participant.c, participant_log.c, database.c          libvow's engine, log and a database
 *   client.c     applications and operators
 *   check.c      the ledger of what was told and done, and the properties
 *
 * Invariants: everything that happens is an event of the queue, so that the seed decides it all;
 * a process touches its disk only through its log model, so that a crash loses what it must; the
 * checkers see the truth (disks and databases), never what a core believes of itself.
 */
#ifndef VOW_SIM_H
#define VOW_SIM_H

#include <setjmp.h>

#include "core/core.h"
#include "participant-sdk/core/pcore.h"
#include "table.h"

#define SIM_PARTICIPANTS_MAX 4
#define SIM_BRANCHES_MAX     4   /* of one transaction */
#define SIM_PLANS_MAX        20  /* transactions that clients want */
#define SIM_TXNS_MAX         160 /* ids that came to be */
#define SIM_EVENTS_MAX       4096
#define SIM_EXCHANGES_MAX    1024
#define SIM_CALLS_MAX        256
#define SIM_BATCH_MAX        8
#define SIM_ASKED_MAX        16 /* ids of one inquiry */
#define SIM_URL              "http://coordinator"

/* Nodes of the network. */
enum { SIM_COORDINATOR = 0, SIM_PARTICIPANT = 1, SIM_CLIENTS = 5, SIM_NODES = 6 };

/* ---- events ---- */

enum sim_event_kind {
  SIM_CALL_ARRIVES = 1, /* at the coordinator: a request of a client, operator or participant */
  SIM_ANSWER_ARRIVES,   /* back at whoever called */
  SIM_CALL_TIMES_OUT,
  SIM_MESSAGE_ARRIVES, /* at a participant */
  SIM_REPLY_ARRIVES,   /* back at the coordinator */
  SIM_EXCHANGE_TIMES_OUT,
  SIM_C_START,
  SIM_C_LOAD,
  SIM_C_TICK,
  SIM_C_SYNC,
  SIM_C_SYNCED,
  SIM_C_QUERY,
  SIM_P_START,
  SIM_P_TICK,
  SIM_P_SYNC,
  SIM_P_SYNCED,
  SIM_P_CALLBACK,
  SIM_CLIENT_ACTS,
  SIM_OPERATOR_ACTS,
  SIM_TROUBLE, /* something goes wrong */
  SIM_EVENT_KINDS
};

/* What a participant answered, or what the network made of it. Of a batch: kind 0, each message has
 * its own; or what is true of all of them. */
struct sim_reply {
  enum vow_reply_kind kind;
  enum vow_vote vote;
  enum vow_outcome outcome;
  bool not_delivered;
  uint32_t batch_max; /* offered with it */
};

/* What the coordinator's API answered. */
struct sim_answer {
  enum vow_error error;
  enum vow_outcome outcome; /* told with it */
  struct vow_id id;
  bool has_id, pending, lost;
  enum vow_inquiry_answer inquiry[SIM_ASKED_MAX];
};

struct sim_event {
  uint64_t at_ms, order;
  enum sim_event_kind kind;
  int node;       /* whose it is: waits while the node is paused */
  uint32_t life;  /* not 0: only for this life of the node */
  uint32_t index; /* of an exchange, call, plan or participant's token */
  uint32_t a;     /* as the kind says */
  struct sim_reply reply;
};

/* ---- what clients want ---- */

enum sim_plan_state {
  SIM_PLAN_BEGIN = 1,
  SIM_PLAN_ENLIST,
  SIM_PLAN_FINISH,
  SIM_PLAN_ASK, /* for the outcome, by repeating or inquiring */
  SIM_PLAN_DONE
};

struct sim_plan_branch {
  uint32_t participant;
  char url[16], name[8], payload[24];
  bool has_payload, at_begin;
  enum vow_vote vote; /* what its application will vote */
};

struct sim_plan {
  enum sim_plan_state state;
  uint32_t number;
  bool one_shot, no_wait, aborts, vanishes;
  uint32_t timeout_ms;
  char key[8], metadata[16];
  uint32_t branch_count, enlisted;
  struct sim_plan_branch branches[SIM_BRANCHES_MAX];
  bool has_id;
  struct vow_id id;
  uint32_t call;     /* awaited; 0: none */
  uint32_t rechecks; /* how often it still asks after it knows */
  uint32_t tries;
  enum vow_outcome told, key_told; /* to this client; to whoever came with the key */
};

/* ---- the ledger: one entry an id ---- */

struct sim_ledger_branch {
  uint32_t participant, plan_branch;
  uint32_t applied, undone; /* effects in the participant's database */
  bool read_only_sent;
  bool heuristic;                  /* its operator broke the promise */
  enum vow_outcome acknowledged;   /* by the participant */
  enum vow_message_type under_way; /* 0: none; one message at a time */
};

struct sim_txn {
  struct vow_id id;
  uint32_t plan;
  uint32_t branch_count;
  struct sim_ledger_branch branches[SIM_BRANCHES_MAX];
  enum vow_outcome told; /* to anyone */
  bool meddled;          /* an operator of either side settled something: AC1 is off */
  bool overruled;        /* an operator said what a delegate did, true or not: so is AC2 */
  bool one_phase;        /* prepare was sent with it */
};

/* ---- the coordinator ---- */

struct sim_row {
  bool used;
  struct vow_txn image; /* owned */
};

struct sim_batch {
  struct sim_row rows[SIM_TXNS_MAX]; /* by ledger index */
  uint32_t count;
  uint64_t position; /* 0: empty */
  struct vow_id ceiling;
  bool forced;
};

struct sim_call {
  uint32_t serial;          /* 0: free */
  enum vow_event_type type; /* 0: an inquiry */
  uint32_t plan;            /* of a client */
  int from;                 /* node */
  struct vow_id id;
  uint32_t branch; /* plan's of ENLIST; number of RESOLVE */
  enum vow_outcome outcome;
  bool in_core, waits; /* the caller has not been answered or timed out */
  uint32_t life;
  struct vow_id asked[SIM_ASKED_MAX]; /* of an inquiry in bulk */
  uint32_t asked_branch[SIM_ASKED_MAX];
  uint32_t asked_count;
  uint64_t needs; /* log position that its query waits for */
  struct sim_answer answer;
};

struct sim_exchange {
  bool open;
  bool delivered;      /* some copy of it */
  uint32_t generation; /* its slot is used again and again */
  uint32_t life;
  uint64_t request;
  uint32_t participant;
  uint32_t count;               /* of messages; more than one is a batch */
  uint32_t txns[SIM_BATCH_MAX]; /* ledger */
  struct vow_message messages[SIM_BATCH_MAX];
  /* a batch: what its newest copy has been answered so far, and the newest whole answer */
  uint32_t delivery, replied;
  struct sim_reply replies[SIM_BATCH_MAX], answer[SIM_BATCH_MAX];
};

struct sim_coordinator {
  struct vow_core *core; /* NULL: down */
  struct vow_core_config config;
  uint32_t life;
  uint64_t monotonic_offset_ms;
  uint64_t tick_ms;
  uint64_t told_durable; /* what the core was told */
  uint32_t lazy_ms;
  bool loading, load_began;
  uint32_t loaded;
  struct vow_id load_after, start_ceiling, newest_before; /* of the runs before */
  uint32_t recovered_rows;
  /* the disk */
  struct sim_row table[SIM_TXNS_MAX];
  uint64_t position;
  struct vow_id ceiling;
  /* in memory and on its way */
  uint64_t last_position; /* of a record that was queued */
  struct sim_batch queue, writing;
  struct sim_batch zombie; /* of a mutant: written although it was taken for lost */
  bool syncing;
  uint64_t sync_due_ms;
  bool space_low;
};

/* ---- participants ---- */

enum sim_work { SIM_WORK_NONE = 0, SIM_WORK_PREPARED, SIM_WORK_COMMITTED };

struct sim_record {
  enum vow_precord_kind kind;
  enum vow_outcome outcome;
  bool has_payload;
};

enum sim_job_type { SIM_JOB_NOTHING = 0, SIM_JOB_RECORD, SIM_JOB_CALL };

struct sim_job {
  enum sim_job_type type;
  enum vow_message_type call;
  uint32_t txn, branch; /* ledger index, number */
  struct sim_record record;
  uint64_t position;
  bool forced, written;
  bool told_early; /* by a mutant */
  int work;        /* enum sim_work it changes to with the record; -1: none */
  struct vow_id purge_below;
  uint32_t purge_count;
  struct {
    uint32_t txn, branch;
  } purge[VOW_PCORE_PURGE_MAX];
};

#define SIM_JOBS_MAX 96
struct sim_jobs {
  struct sim_job items[SIM_JOBS_MAX];
  uint32_t count;
};

struct sim_request { /* a message that the engine has taken and not answered */
  bool open;
  uint32_t exchange, generation;
  uint32_t delivery, part; /* of a batch */
  uint32_t txn, branch;
  enum vow_message_type type; /* 0: an operator's */
};

#define SIM_REQUESTS_MAX 256
struct sim_participant {
  struct vow_pcore *core; /* NULL: down */
  struct vow_pconfig config;
  uint32_t number, life;
  uint32_t batch_max; /* messages it takes at once; 0: it offers nothing */
  bool broken;        /* its log failed: it answers errors until it is restarted */
  uint64_t tick_ms;
  uint32_t asking; /* serial of the inquiry under way */
  struct sim_request requests[SIM_REQUESTS_MAX];
  /* the disk */
  struct sim_record log[SIM_TXNS_MAX][SIM_BRANCHES_MAX];
  struct vow_id watermark;
  enum sim_work work[SIM_TXNS_MAX][SIM_BRANCHES_MAX];
  bool work_is_volatile[SIM_TXNS_MAX][SIM_BRANCHES_MAX];
  /* in memory and on its way */
  struct sim_jobs queue, writing;
  bool syncing;
  uint64_t sync_due_ms;
  uint32_t asked[SIM_TXNS_MAX]; /* of a mutant */
};

/* ---- the run ---- */

struct sim {
  uint64_t seed;
  uint64_t random_state;
  uint64_t now_ms, steps, order, hash;
  uint32_t faults; /* bits of enum sim_fault */
  enum sim_mutant mutant;
  bool healed;
  uint32_t heat; /* how often things go wrong: per mille */
  int64_t wall_offset_ms;
  uint64_t paused_until_ms[SIM_NODES];
  uint64_t cut_until_ms[SIM_NODES][SIM_NODES];

  struct sim_event events[SIM_EVENTS_MAX];
  uint16_t heap[SIM_EVENTS_MAX], free_events[SIM_EVENTS_MAX];
  uint32_t heap_count, free_count;

  struct sim_coordinator c;
  struct sim_participant p[SIM_PARTICIPANTS_MAX];
  uint32_t participant_count;
  struct sim_exchange exchanges[SIM_EXCHANGES_MAX];
  uint32_t exchange_next;
  struct sim_call calls[SIM_CALLS_MAX];
  uint32_t call_serial;
  struct sim_plan plans[SIM_PLANS_MAX];
  uint32_t plan_count;
  struct sim_txn txns[SIM_TXNS_MAX];
  uint32_t txn_count;
  struct vow_id finished_below, newest_id;

  bool telling; /* the trace is wanted */
  char *trace;
  size_t trace_bytes, trace_capacity;
  uint64_t *probes; /* by enum sim_probe */
  jmp_buf failed;
  int verdict; /* exit code */
  char why[256];
};

/* ---- queue.c ---- */

uint64_t sim_random(struct sim *s);
uint64_t sim_draw(struct sim *s, uint64_t below);
bool sim_chance(struct sim *s, uint32_t per_mille);
/* The fault is on in this run, has not healed, and strikes now. */
bool sim_fault(struct sim *s, enum sim_fault fault, uint32_t per_mille);

struct sim_event *sim_at(struct sim *s, uint64_t delay_ms, enum sim_event_kind kind, int node);
bool sim_next(struct sim *s, struct sim_event *out);
void sim_mix(struct sim *s, uint64_t bits);
void sim_say(struct sim *s, int node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sim_probe(struct sim *s, enum sim_probe probe);
/* Ends the run. */
void sim_fail(struct sim *s, int verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
void sim_check(struct sim *s, bool holds, const char *property, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- network.c ---- */

void sim_send_message(struct sim *s, uint32_t exchange);
void sim_message_arrives(struct sim *s, const struct sim_event *event);
void sim_send_reply(struct sim *s, const struct sim_request *request,
                    const struct sim_reply *reply);
void sim_call(struct sim *s, struct sim_call *call);
struct sim_call *sim_call_new(struct sim *s, int from, enum vow_event_type type);
struct sim_call *sim_call_find(struct sim *s, uint32_t serial);
void sim_answer_call(struct sim *s, struct sim_call *call, const struct sim_answer *answer);
void sim_cut(struct sim *s);

/* ---- coordinator*.c ---- */

void sim_c_start(struct sim *s);
void sim_c_load(struct sim *s);
void sim_c_crash(struct sim *s, bool failed_sync);
void sim_c_step(struct sim *s, struct vow_event *event);
void sim_c_tick(struct sim *s);
void sim_c_reply(struct sim *s, const struct sim_event *event);
void sim_c_end_exchange(struct sim *s, struct sim_exchange *exchange,
                        const struct sim_reply *reply);
void sim_c_stop(struct sim *s); /* frees everything, for the end of a run */

void sim_c_append(struct sim *s, const struct vow_action *action);
void sim_c_sync(struct sim *s);
void sim_c_synced(struct sim *s);
void sim_c_lose_log(struct sim *s, bool keep_writing);
const struct vow_txn *sim_c_row(const struct sim *s, uint32_t txn);
struct vow_txn sim_image_copy(const struct vow_txn *from);

void sim_c_call_arrives(struct sim *s, struct sim_call *call);
void sim_c_query(struct sim *s, struct sim_call *call);
void sim_c_answer(struct sim *s, const struct vow_action *action);

/* ---- participant*.c, database.c ---- */

void sim_p_start(struct sim *s, struct sim_participant *p);
void sim_p_crash(struct sim *s, struct sim_participant *p);
void sim_p_stop(struct sim_participant *p);
void sim_p_step(struct sim *s, struct sim_participant *p, struct vow_pevent *event,
                struct sim_job *job);
void sim_p_message(struct sim *s, struct sim_participant *p, const struct sim_event *event);
void sim_p_tick(struct sim *s, struct sim_participant *p);
void sim_p_callback(struct sim *s, struct sim_participant *p, const struct sim_event *event);
void sim_p_inquired(struct sim *s, struct sim_participant *p, const struct sim_call *call);
void sim_p_operate(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch,
                   enum vow_outcome outcome);

void sim_p_submit(struct sim *s, struct sim_participant *p, const struct sim_job *job);
void sim_p_sync(struct sim *s, struct sim_participant *p);
void sim_p_synced(struct sim *s, struct sim_participant *p);
void sim_p_lose_log(struct sim *s, struct sim_participant *p, bool keep_writing);

/* The application's database. A prepare draws the vote; the others say whether it worked. */
enum vow_vote sim_db_vote(struct sim *s, uint32_t txn, uint32_t branch);
void sim_db_prepare(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch);
void sim_db_commit(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch);
void sim_db_abort(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch);
void sim_db_crash(struct sim *s, struct sim_participant *p);

/* ---- client.c ---- */

void sim_plan_all(struct sim *s);
void sim_client_acts(struct sim *s, struct sim_plan *plan);
void sim_client_answered(struct sim *s, struct sim_call *call);
void sim_operator_acts(struct sim *s);

/* ---- check.c ---- */

/* The ledger entry of an id; a new one when it was never seen. */
uint32_t sim_txn_of(struct sim *s, struct vow_id id);
void sim_see(struct sim *s, const struct vow_txn *image);
const struct sim_plan_branch *sim_plan_branch(const struct sim *s, uint32_t txn, uint32_t branch);
void sim_told(struct sim *s, struct vow_id id, enum vow_outcome outcome, const char *whom);
void sim_told_key(struct sim *s, struct sim_plan *plan, enum vow_outcome outcome);
/* The message at `part` of a SEND, before it counts as under way. */
void sim_check_send(struct sim *s, const struct vow_action *action, uint32_t part);
void sim_check_decision(struct sim *s, const struct vow_txn *image);
void sim_check_participant_reply(struct sim *s, const struct sim_participant *p,
                                 const struct sim_request *request,
                                 const struct vow_message_reply *reply);
void sim_check_effect(struct sim *s, uint32_t txn, uint32_t branch, bool commit);
void sim_check_step(struct sim *s);
bool sim_at_rest(struct sim *s);
void sim_check_end(struct sim *s);
bool sim_has_operators(const struct sim *s);

/* ---- run.c ---- */

struct sim_result {
  int verdict;
  uint64_t hash, steps, virtual_ms;
};

struct sim_options {
  uint64_t seed, steps_max;
  enum sim_mutant mutant;
  bool telling;
  uint32_t faults_off; /* bits switched off whatever the seed says */
  uint64_t *probes;
};

/* Plays one seed in `s` (the caller's memory, reused from run to run). */
void sim_run(struct sim *s, const struct sim_options *options, struct sim_result *out);

#endif
