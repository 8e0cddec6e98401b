/*
 * The world of one run: all that is in it, and what its parts remember. See sim.h.
 */
#ifndef VOW_SIM_WORLD_H
#define VOW_SIM_WORLD_H

#include <setjmp.h>

#include "core/core.h"
#include "ctl/reconcile.h"
#include "participant-sdk/core/pcore.h"
#include "table.h"

#define SIM_COORDINATORS_MAX 3
#define SIM_PARTICIPANTS_MAX 6
#define SIM_BRANCHES_MAX     6   /* of one transaction */
#define SIM_PLANS_MAX        20  /* transactions that clients want */
#define SIM_TXNS_MAX         160 /* ids that came to be */
#define SIM_EVENTS_MAX       4096
#define SIM_EXCHANGES_MAX    1024
#define SIM_CALLS_MAX        256
#define SIM_BATCH_MAX        8
#define SIM_ASKED_MAX        16 /* ids of one inquiry */
#define SIM_CRASHES_MAX      2

/* Nodes of the network. */
enum {
  SIM_COORDINATOR = 0,
  SIM_PARTICIPANT = SIM_COORDINATORS_MAX,
  SIM_CLIENTS = SIM_PARTICIPANT + SIM_PARTICIPANTS_MAX,
  SIM_OPERATOR, /* with the tool */
  SIM_NODES
};

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
  SIM_P_CALLED, /* back from a callback in the log's transaction */
  SIM_P_SYNCED,
  SIM_P_CALLBACK,
  SIM_CLIENT_ACTS,
  SIM_OPERATOR_ACTS,
  SIM_TOOL_ACTS,
  SIM_TOOL_ASKS, /* at a participant */
  SIM_TOOL_TOLD, /* back at the tool */
  SIM_TOOL_TIMES_OUT,
  SIM_TOOL_WRITTEN,
  SIM_TROUBLE, /* something goes wrong */
  SIM_EVENT_KINDS
};

/* What a participant answered, or what the network made of it. Of a batch: kind 0, each message has
 * its own; or what is true of all of them. */
struct sim_reply {
  enum vow_reply_kind kind;
  enum vow_vote vote;
  enum vow_outcome outcome;
  bool not_delivered, timed_out;
  uint32_t batch_max;           /* offered with it */
  struct vow_log_position seen; /* of the coordinator's log */
};

/* What the coordinator's API answered. */
struct sim_answer {
  enum vow_error error;
  enum vow_outcome outcome; /* told with it */
  struct vow_id id;
  bool has_id, pending, lost;
  enum vow_inquiry_answer inquiry[SIM_ASKED_MAX];
  struct vow_log_position log; /* with them: how far it has come that answers */
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
  uint32_t number, coordinator;
  uint32_t next; /* plan that its client begins when this one is done; SIM_PLANS_MAX: none */
  bool left_out; /* by --plans */
  bool one_shot, no_wait, aborts, vanishes, hurries;
  uint32_t timeout_ms;
  char key[8], metadata[16];
  uint8_t hash; /* of the request's body */
  uint32_t branch_count, enlisted;
  struct sim_plan_branch branches[SIM_BRANCHES_MAX];
  bool has_id;
  struct vow_id id;
  uint32_t call;     /* awaited; 0: none */
  uint32_t rechecks; /* how often it still asks after it knows */
  uint32_t tries;
  enum vow_outcome told, key_told; /* to this client; to whoever came with the key */
  bool key_purged;                 /* with its transaction: it may begin another one */
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
  uint32_t plan, coordinator;
  uint32_t branch_count;
  struct sim_ledger_branch branches[SIM_BRANCHES_MAX];
  enum vow_outcome told; /* to anyone */
  bool meddled;          /* an operator of either side settled something: AC1 is off */
  bool overruled;        /* an operator said what a delegate did, true or not: so is AC2 */
  bool behind;           /* a backup, in the place of its log, lacks some of what became of it */
  bool once_behind;      /* also one that was reconciled since */
  bool unpromised;       /* and nothing shows that: everything is off */
  bool one_phase;        /* prepare was sent with it */
  bool committed;        /* that was on the coordinator's disk, perhaps before it was purged */
  bool dirty;            /* something of it changed in this step */
};

/* ---- the coordinator ---- */

struct sim_row {
  bool used;
  struct vow_txn image; /* owned */
};

#define SIM_KNOWN_MAX  8  /* starts that a log keeps; a reconciliation adds some */
#define SIM_GAPS_MAX   16 /* gaps between the ids of two of them */
#define SIM_JUDGED_MAX (2 * SIM_PARTICIPANTS_MAX + 2)

struct sim_batch {
  struct sim_row rows[SIM_TXNS_MAX]; /* by ledger index */
  uint32_t count, decisions;
  uint64_t position; /* 0: empty */
  struct vow_id ceiling;
  bool forced, quarantine;
  struct vow_log_position seen; /* by who caused the quarantine */
  /* of a reconciliation */
  bool reconciles, leaves;
  struct vow_id presume_from;
  struct vow_incarnation judged[SIM_JUDGED_MAX];
  uint32_t judged_count;
};

struct sim_call {
  uint32_t serial;          /* 0: free */
  enum vow_event_type type; /* 0: an inquiry */
  uint32_t plan;            /* of a client */
  uint32_t to;              /* coordinator */
  int from;                 /* node */
  struct vow_id id;
  uint32_t branch; /* plan's of ENLIST; number of RESOLVE */
  enum vow_outcome outcome;
  bool in_core, waits; /* the caller has not been answered or timed out */
  uint32_t life;
  struct vow_id asked[SIM_ASKED_MAX]; /* of an inquiry in bulk */
  uint32_t asked_branch[SIM_ASKED_MAX];
  uint32_t asked_count;
  struct vow_log_position seen; /* of the coordinator's log, by who inquires */
  uint64_t needs;               /* log position that its query waits for */
  struct sim_answer answer;
};

struct sim_exchange {
  bool open;
  bool delivered;      /* some copy of it */
  bool given_up;       /* by a mistake, while it was on its way */
  uint32_t generation; /* its slot is used again and again */
  uint32_t life;
  uint64_t request;
  uint32_t coordinator, participant;
  uint32_t count;               /* of messages; more than one is a batch */
  uint32_t txns[SIM_BATCH_MAX]; /* ledger */
  struct vow_message messages[SIM_BATCH_MAX];
  /* a batch: what its newest copy has been answered so far, and the newest whole answer */
  uint32_t delivery, replied;
  struct sim_reply replies[SIM_BATCH_MAX], answer[SIM_BATCH_MAX];
};

/* What became of a process. */
enum sim_death {
  SIM_KILLED = 1,  /* what it had written is in the page cache */
  SIM_POWER_CUT,   /* and that is gone, too, but for what was synced */
  SIM_FAILED_SYNC, /* it ended itself: its COMMIT failed */
};

/* What a backup has, too. */
struct sim_disk {
  struct sim_row table[SIM_TXNS_MAX];
  uint64_t position;
  struct vow_id ceiling, purged_to;
  uint64_t incarnation;                                         /* of the last start */
  struct vow_incarnation known[SIM_KNOWN_MAX + SIM_JUDGED_MAX]; /* by number */
  uint32_t known_count;
  struct vow_id_gap gaps[SIM_GAPS_MAX]; /* ids that no start has issued; by `from` */
  uint32_t gap_count;
  bool quarantined;
  struct vow_log_position seen; /* by who caused that */
  struct vow_id presume_from;
};

struct sim_coordinator {
  struct vow_core *core; /* NULL: down */
  struct vow_core_config config;
  uint32_t number, life;
  uint64_t monotonic_offset_ms;
  uint64_t tick_ms;
  uint64_t told_durable; /* what the core was told */
  uint32_t lazy_ms, sync_ms;
  bool loading, load_began;
  uint32_t loaded, to_load;
  uint64_t open_before; /* transactions, before this step, with those to load */
  struct vow_id load_after, start_ceiling, newest_before; /* of the runs before */
  struct vow_id id_from;                                  /* this start issues ids from here on */
  uint32_t actions;                                       /* carried out so far, over all lives */
  uint32_t retention_count;                               /* of ended transactions */
  struct sim_disk disk, backup;
  bool has_backup;
  uint64_t created_ms;
  uint64_t incarnations; /* used so far, also by logs that were lost */
  /* the file beside the log, now and when the backup was made */
  struct vow_log_position witness, backup_witness;
  uint32_t restores;
  bool unheard;            /* it was reconciled without somebody, who may have seen more */
  struct sim_batch cached; /* what a failed or killed writer left in the page cache: a reader sees
                              it, a power cut takes it */
  /* in memory and on its way */
  uint64_t last_position; /* of a record that was queued */
  struct sim_batch queue, writing;
  struct sim_batch zombie; /* of a mistake: written although it was taken for lost */
  bool syncing;
  uint64_t sync_due_ms;
  bool space_low;
  /* the ledger's */
  struct vow_id sent_below, newest_id;
};

/* ---- participants ---- */

enum sim_work { SIM_WORK_NONE = 0, SIM_WORK_PREPARED, SIM_WORK_COMMITTED };

struct sim_record {
  enum vow_precord_kind kind;
  uint64_t row;
  enum vow_outcome outcome;
  bool has_payload;
};

enum sim_job_type { SIM_JOB_NOTHING = 0, SIM_JOB_RECORD, SIM_JOB_CALL, SIM_JOB_WATERMARK };

struct sim_job {
  enum sim_job_type type;
  enum vow_message_type call;
  uint32_t txn, branch; /* ledger index, number */
  struct sim_record record;
  uint64_t position;
  bool forced, written;
  bool told_early;              /* by a mistake */
  int work;                     /* enum sim_work it changes to with the record; -1: none */
  uint32_t purge_of;            /* coordinator */
  struct vow_log_position seen; /* of that coordinator's log */
  struct vow_id purge_below;
  uint32_t purge_count;
  uint64_t purge[VOW_PCORE_PURGE_MAX]; /* rows */
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

struct sim_question {
  uint32_t coordinator, txn, branch;
};

#define SIM_REQUESTS_MAX  256
#define SIM_QUESTIONS_MAX 64
struct sim_participant {
  struct vow_pcore *core; /* NULL: down */
  struct vow_pconfig config;
  uint32_t number, life;
  uint32_t batch_max; /* messages it takes at once; 0: it offers nothing */
  bool broken;        /* its log failed: it answers errors until it is restarted */
  uint32_t actions;   /* carried out so far, over all lives */
  uint64_t tick_ms;
  uint32_t asking; /* serial of the inquiry under way; one coordinator is asked after the other */
  struct sim_question questions[SIM_QUESTIONS_MAX];
  uint32_t question_count;
  struct sim_request requests[SIM_REQUESTS_MAX];
  /* the disk */
  struct sim_record log[SIM_TXNS_MAX][SIM_BRANCHES_MAX];
  struct vow_id watermark[SIM_COORDINATORS_MAX];
  struct vow_id purged[SIM_COORDINATORS_MAX]; /* the ledger's: of the newest tombstone that went */
  struct vow_log_position seen[SIM_COORDINATORS_MAX];
  struct vow_log_position seen_newest[SIM_COORDINATORS_MAX]; /* the ledger's: that was written */
  uint32_t fence[SIM_COORDINATORS_MAX]; /* what earlier lives have sent arrives no more */
  enum sim_work work[SIM_TXNS_MAX][SIM_BRANCHES_MAX];
  bool work_is_volatile[SIM_TXNS_MAX][SIM_BRANCHES_MAX];
  bool work_is_hollow[SIM_TXNS_MAX][SIM_BRANCHES_MAX]; /* of a mistake: a crash takes it */
  /* in memory and on its way */
  struct sim_jobs queue, writing;
  bool syncing;     /* the transaction has begun */
  uint32_t reached; /* its callbacks have been run up to this job */
  bool committing;  /* all of them: before that a crash leaves nothing */
  uint64_t sync_due_ms;
};

/* ---- the operator's tool ---- */

enum sim_tool_stage { SIM_TOOL_IDLE = 0, SIM_TOOL_IN_DOUBT, SIM_TOOL_KNOWN, SIM_TOOL_WRITING };

struct sim_tool {
  enum sim_tool_stage stage;
  uint32_t coordinator; /* whose log it works on, or has worked on */
  uint32_t life, actions;
  uint32_t place;    /* of the participant that is asked */
  uint32_t question; /* serial, of the one under way */
  uint32_t away;     /* bits of participants that have not answered the last time */
  struct ctl_reconciliation r;
  struct vow_known_reply answer; /* on its way */
};

/* ---- the run ---- */

/* A kill that a sweep asks for: at the k-th action of a node, counted over all its lives. */
struct sim_crash {
  int node;
  uint32_t action; /* from 1; 0: none */
  bool keep;       /* what was being written */
};

/* All that says how a run goes. */
struct sim_case {
  uint64_t seed;
  bool has_faults; /* else the seed draws them */
  uint32_t faults, faults_off;
  uint32_t plans_off; /* bits of plans left out */
  uint32_t trouble_ms, steps_max;
  enum sim_mistake mistake;
  struct sim_crash crashes[SIM_CRASHES_MAX];
};

struct sim {
  struct sim_case set;
  uint64_t random_state, fault_random[SIM_FAULTS];
  uint64_t now_ms, steps, order, hash;
  uint32_t faults; /* bits of enum sim_fault */
  enum sim_mistake mistake;
  bool healed;
  bool crowd;    /* all begin at once, at one coordinator with a slow disk */
  uint32_t heat; /* how often things go wrong: per mille */
  int64_t wall_offset_ms;
  uint64_t paused_until_ms[SIM_NODES];
  uint64_t cut_until_ms[SIM_NODES][SIM_NODES];

  struct sim_event events[SIM_EVENTS_MAX];
  uint16_t heap[SIM_EVENTS_MAX], free_events[SIM_EVENTS_MAX];
  uint32_t heap_count, free_count, fresh_count;

  struct sim_coordinator c[SIM_COORDINATORS_MAX];
  uint32_t coordinator_count;
  struct sim_participant p[SIM_PARTICIPANTS_MAX];
  uint32_t participant_count;
  struct sim_tool tool;
  struct sim_exchange exchanges[SIM_EXCHANGES_MAX];
  uint32_t exchange_next;
  struct sim_call calls[SIM_CALLS_MAX];
  uint32_t call_serial;
  struct sim_plan plans[SIM_PLANS_MAX];
  uint32_t plan_count;
  struct sim_txn txns[SIM_TXNS_MAX];
  uint32_t txn_count;

  bool wire;                 /* messages travel as JSON */
  struct vow_json *document; /* of the message that was read last */

  bool telling;     /* the trace goes to stdout */
  bool collecting;  /* a property that failed is noted, and the run goes on without it */
  uint32_t failed;  /* bits of enum sim_property */
  uint64_t *probes; /* by enum sim_probe */
  jmp_buf ended;
  int verdict; /* exit code */
  enum sim_property property;
  char why[256];
};

#endif
