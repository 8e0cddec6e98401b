/*
 * The simulator: both real cores in one process, in a world in which time, network, disks, clients
 * and operators are drawn from a seed. One struct sim (world.h) is one run. README.md of tests/
 * says how to use it; this header is what its files share.
 *
 *   main.c       options
 *   suite.c      many seeds, each one's crash sweep, the kept seeds, the mistakes
 *   attempt.c    runs in a process of their own, so that a core may stop itself
 *   shrink.c     makes a failing case small, and writes the line that replays it
 *   run.c        one run: faults, healing, the end
 *   world.c      what is drawn at the beginning
 *   queue.c      events by virtual time; random bits; the trace and its hash
 *   network.c    what is lost, late, twice, cut off
 *   wire.c       messages as JSON
 *   coordinator.c, coordinator_log.c, coordinator_api.c   vowd's driver, log and API, simulated
 *   coordinator_restore.c                                 backups, and who notices
 *   participant.c, participant_log.c, database.c          libvow's engine, log and a database
 *   client.c, operator.c                                  applications; operators
 *   tool.c                                                vowctl reconcile
 *   ledger.c     what was told and done; the checks that belong to one event
 *   check.c      the properties that are looked at after every step, and at the end
 *
 * Invariants: everything that happens is an event of the queue, so that the seed decides it all;
 * a process touches its disk only through its log model, so that a crash loses what it must; the
 * checkers see the truth (disks and databases), never what a core believes of itself.
 */
#ifndef VOW_SIM_H
#define VOW_SIM_H

#include "world.h"

/* ---- queue.c ---- */

uint64_t sim_random(struct sim *s);
uint64_t sim_draw(struct sim *s, uint64_t below);
bool sim_chance(struct sim *s, uint32_t per_mille);
/* The fault is on in this run, has not healed, and strikes now. */
bool sim_fault(struct sim *s, enum sim_fault fault, uint32_t per_mille);

uint64_t sim_wall_ms(const struct sim *s);
struct sim_event *sim_at(struct sim *s, uint64_t delay_ms, enum sim_event_kind kind, int node);
bool sim_next(struct sim *s, struct sim_event *out);
void sim_mix(struct sim *s, uint64_t bits);
void sim_say(struct sim *s, int node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sim_probe(struct sim *s, enum sim_probe probe);
/* Ends the run. */
void sim_fail(struct sim *s, enum sim_property property, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
void sim_check(struct sim *s, bool holds, enum sim_property property, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A sweep wants this node killed before the action that is counted now. */
const struct sim_crash *sim_crash_due(const struct sim *s, int node, uint32_t action);

/* ---- network.c ---- */

void sim_send_message(struct sim *s, uint32_t exchange);
void sim_message_arrives(struct sim *s, const struct sim_event *event);
void sim_send_reply(struct sim *s, const struct sim_request *request,
                    const struct sim_reply *reply);
void sim_call(struct sim *s, struct sim_call *call);
struct sim_call *sim_call_new(struct sim *s, int from, uint32_t to, enum vow_event_type type);
struct sim_call *sim_call_find(struct sim *s, uint32_t serial);
void sim_answer_call(struct sim *s, struct sim_call *call, const struct sim_answer *answer);
void sim_cut(struct sim *s);
bool sim_is_cut(const struct sim *s, int from, int to);
uint64_t sim_delay_ms(struct sim *s); /* of a packet */

/* ---- wire.c ---- */

/* *to is good until the next one is read. */
void sim_wire_message(struct sim *s, const struct vow_message *from, struct vow_message *to);
void sim_wire_reply(struct sim *s, enum vow_message_type type, struct vow_message_reply *reply);

/* ---- coordinator*.c ---- */

const char *sim_c_url(uint32_t coordinator);
void sim_c_start(struct sim *s, struct sim_coordinator *c);
void sim_c_load(struct sim *s, struct sim_coordinator *c);
void sim_c_crash(struct sim *s, struct sim_coordinator *c, enum sim_death death);
void sim_c_step(struct sim *s, struct sim_coordinator *c, struct vow_event *event);
void sim_c_tick(struct sim *s, struct sim_coordinator *c);
void sim_c_reply(struct sim *s, const struct sim_event *event);
void sim_c_stop(struct sim_coordinator *c); /* frees everything, for the end of a run */

void sim_c_create_log(struct sim *s, struct sim_coordinator *c);
void sim_c_append(struct sim *s, struct sim_coordinator *c, const struct vow_action *action);
void sim_c_sync(struct sim *s, struct sim_coordinator *c);
void sim_c_synced(struct sim *s, struct sim_coordinator *c);
void sim_c_lose_log(struct sim *s, struct sim_coordinator *c, enum sim_death death, bool keep);
/* False: the log cannot be synced, and the process ends. */
bool sim_c_settle(struct sim *s, struct sim_coordinator *c);
void sim_c_drop_log(const struct sim *s, struct sim_coordinator *c);
void sim_c_drop_rows(const struct sim *s, struct sim_row *rows);
const struct vow_txn *sim_c_row(const struct sim *s, uint32_t txn); /* what is on the disk */
uint32_t sim_c_open_rows(const struct sim *s, const struct sim_coordinator *c);
struct vow_txn sim_image_copy(const struct vow_txn *from);

/* A start of the log gets a number, and sees whether the file beside it knows more than it does. */
void sim_c_begin_incarnation(struct sim *s, struct sim_coordinator *c);
void sim_c_put_back(struct sim *s, struct sim_coordinator *c); /* the backup that there is */
void sim_c_restore(struct sim *s, struct sim_coordinator *c);  /* that, or makes the backup */
void sim_c_witness(struct sim *s, struct sim_coordinator *c, struct vow_log_position seen);
/* What a reconciliation decided is being written; and is on the disk. */
void sim_c_reconcile(struct sim *s, struct sim_coordinator *c,
                     const struct vow_log_reconciled *written);
void sim_c_reconciled(struct sim *s, struct sim_coordinator *c);
void sim_c_plan_leaving(struct sim *s, struct sim_coordinator *c,
                        const struct vow_log_reconciled *written);
void sim_c_leave_quarantine(struct sim *s, struct sim_coordinator *c,
                            const struct sim_batch *batch);

void sim_c_call_arrives(struct sim *s, struct sim_call *call);
void sim_c_query(struct sim *s, struct sim_coordinator *c, struct sim_call *call);
void sim_c_answer(struct sim *s, struct sim_coordinator *c, const struct vow_action *action);

/* ---- participant*.c, database.c ---- */

const char *sim_p_url(uint32_t participant);
void sim_p_start(struct sim *s, struct sim_participant *p);
void sim_p_crash(struct sim *s, struct sim_participant *p, bool keep);
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
void sim_p_called(struct sim *s, struct sim_participant *p);
void sim_p_synced(struct sim *s, struct sim_participant *p);
void sim_p_lose_log(struct sim *s, struct sim_participant *p, bool keep);

enum vow_vote sim_db_vote(struct sim *s, uint32_t txn, uint32_t branch);
void sim_db_prepare(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch);
void sim_db_commit(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch);
void sim_db_abort(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch);
void sim_db_crash(struct sim *s, struct sim_participant *p);

/* ---- client.c, operator.c ---- */

void sim_plan_all(struct sim *s);
void sim_client_acts(struct sim *s, struct sim_plan *plan);
void sim_client_answered(struct sim *s, struct sim_call *call);
bool sim_has_operators(const struct sim *s);
void sim_operator_acts(struct sim *s);

/* ---- tool.c ---- */

void sim_tool_acts(struct sim *s, bool at_once);
void sim_tool_asks(struct sim *s, const struct sim_event *event);
void sim_tool_told(struct sim *s, const struct sim_event *event);
void sim_tool_written(struct sim *s);
bool sim_tool_works_on(const struct sim *s, const struct sim_coordinator *c);
void sim_tool_kill(struct sim *s, enum sim_death death, bool keep);
void sim_tool_stop(struct sim *s); /* frees everything, for the end of a run */

/* ---- ledger.c ---- */

/* The ledger entry of an id; a new one when it was never seen. */
uint32_t sim_txn_of(struct sim *s, struct vow_id id);
void sim_see(struct sim *s, struct sim_coordinator *c, const struct vow_txn *image);
const struct sim_plan_branch *sim_plan_branch(const struct sim *s, uint32_t txn, uint32_t branch);
const struct sim_record *sim_record_of(const struct sim *s, uint32_t txn, uint32_t branch);
/* Nothing depends on the decision of one whose branches all read (C3): it needs no record. */
bool sim_only_read(const struct sim *s, const struct sim_txn *txn);
void sim_told(struct sim *s, struct vow_id id, enum vow_outcome outcome, const char *whom);
void sim_told_key(struct sim *s, uint32_t txn, struct sim_plan *plan, enum vow_outcome outcome);
void sim_purged(struct sim *s, uint32_t txn); /* from the history */
/* The message at `part` of a SEND, before it counts as under way. */
void sim_check_send(struct sim *s, struct sim_coordinator *c, const struct vow_action *action,
                    uint32_t part);
void sim_check_participant_reply(struct sim *s, const struct sim_participant *p,
                                 const struct sim_request *request,
                                 const struct vow_message_reply *reply);
void sim_check_ended(struct sim *s, const struct sim_participant *p,
                     const struct sim_request *request, const struct sim_reply *reply);
/* What a reconciliation is about to write of a transaction. */
void sim_check_reconciled(struct sim *s, const struct vow_txn *image);
void sim_effect(struct sim *s, uint32_t index, uint32_t number, bool commit);

/* ---- check.c ---- */

/* At the moment that the decision is made. */
void sim_check_decision(struct sim *s, const struct vow_txn *image);
void sim_check_step(struct sim *s, int node);
/* As many transactions were open in a coordinator or its log, and now are. */
void sim_check_open(struct sim *s, const struct sim_coordinator *c, uint64_t before, uint64_t now);
bool sim_at_rest(struct sim *s);
void sim_check_end(struct sim *s);
void sim_complain(struct sim *s) __attribute__((noreturn)); /* names what has not ended */

/* ---- world.c ---- */

#define SIM_TROUBLE_MS 12000 /* the first phase, unless the case says otherwise */

/* The faults of a case: what its seed draws, or what it says. */
uint32_t sim_faults_of(const struct sim_case *set);
void sim_make_world(struct sim *s);

/* ---- run.c ---- */

struct sim_result {
  int verdict;
  enum sim_property property; /* that failed, unless the verdict is SIM_OK */
  uint32_t failed;            /* all that failed, of a run that went on */
  uint64_t hash, steps, virtual_ms;
  uint32_t actions[SIM_NODES], plan_count;
  char why[256];
};

/* Plays one case in `s`, which must be all zero but for `telling`, `collecting` and `probes`. */
void sim_run(struct sim *s, const struct sim_case *set, struct sim_result *out);

#endif
