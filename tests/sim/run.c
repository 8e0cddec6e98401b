/*
 * One run: a world is drawn from the seed, things go wrong in it for a while, then it heals, and
 * everything must end within a bound of virtual time.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define TROUBLE_MS 12000  /* the first phase */
#define HEALING_MS 300000 /* the second must end within this */
#define STEPS_MAX  200000

/* ---- drawing a world ---- */

/* Each fault is on in a third of the runs; one run in sixteen has fair weather. */
static uint32_t draw_faults(struct sim *s) {
  uint32_t faults = 0;
  if (sim_draw(s, 16) == 0) return 0;
  for (uint32_t i = 0; i < SIM_FAULTS; i++) faults |= (uint32_t)(sim_draw(s, 3) == 0) << i;
  return faults;
}

static void configure_coordinator(struct sim *s) {
  bool tight = (s->faults >> SIM_FAULT_TIGHT & 1) != 0;
  s->c.config = (struct vow_core_config){
      .transaction_timeout_ms = s->faults == 0 ? 60000 : 1000 + (uint32_t)sim_draw(s, 9000),
      .transaction_timeout_max_ms = 60000,
      .prepare_timeout_ms = s->faults == 0 ? 60000 : 200 + (uint32_t)sim_draw(s, 5000),
      .wait_timeout_ms = 200 + (uint32_t)sim_draw(s, 2000),
      .retry_min_ms = 10 + (uint32_t)sim_draw(s, 300),
      .retry_max_ms = 500 + (uint32_t)sim_draw(s, 5000),
      .preparing_record_after_ms = (uint32_t)sim_draw(s, 1500),
      .transactions_max = tight ? 2 + (uint32_t)sim_draw(s, 6) : 1000,
      .branches_max = 16,
      .waiters_max = tight ? 1 + (uint32_t)sim_draw(s, 2) : 64,
      .inflight_per_endpoint_max = 1 + (uint32_t)sim_draw(s, 4),
      .history_max = 1 + (uint32_t)sim_draw(s, 30),
      .id_reserve_ms = sim_chance(s, 300) ? 50 + (uint32_t)sim_draw(s, 200) : 10000,
  };
  s->c.lazy_ms = 1 + (uint32_t)sim_draw(s, 1000);
}

static void configure_participant(struct sim *s, uint32_t number) {
  struct sim_participant *p = &s->p[number];
  bool tight = (s->faults >> SIM_FAULT_TIGHT & 1) != 0;
  p->number = number;
  p->life = 1;
  p->batch_max = sim_chance(s, 600) ? 2 + (uint32_t)sim_draw(s, SIM_BATCH_MAX - 1) : 0;
  p->config.atomic = sim_chance(s, 400);
  p->config.intent = !p->config.atomic && sim_chance(s, 500);
  p->config.branches_max = tight ? 1 + (uint32_t)sim_draw(s, 5) : 1000;
  p->config.preparing_max = tight ? 1 + (uint32_t)sim_draw(s, 3) : 1000;
  p->config.tombstones_max = tight ? 1 + (uint32_t)sim_draw(s, 30) : 1000;
  p->config.coordinators_max = 4;
  p->config.inquiry_min_ms = 50 + (uint32_t)sim_draw(s, 1000);
  p->config.inquiry_max_ms = 1000 + (uint32_t)sim_draw(s, 4000);
}

static void make_world(struct sim *s, const struct sim_options *options) {
  s->seed = options->seed;
  s->random_state = options->seed * UINT64_C(0xD1342543DE82EF95) + 1;
  s->mutant = options->mutant;
  s->telling = options->telling;
  s->probes = options->probes;
  for (uint32_t i = 0; i < SIM_EVENTS_MAX; i++) s->free_events[i] = (uint16_t)i;
  s->free_count = SIM_EVENTS_MAX;
  s->faults = draw_faults(s) & ~options->faults_off;
  s->heat = 100 + (uint32_t)sim_draw(s, 1200);
  s->participant_count = 1 + (uint32_t)sim_draw(s, SIM_PARTICIPANTS_MAX);
  s->c.life = 1;
  s->c.sync_due_ms = UINT64_MAX;
  configure_coordinator(s);
  for (uint32_t i = 0; i < s->participant_count; i++) configure_participant(s, i);
  sim_plan_all(s);
  sim_at(s, s->faults != 0 ? 0 : TROUBLE_MS, SIM_TROUBLE, SIM_CLIENTS);
  if (sim_has_operators(s)) sim_at(s, sim_draw(s, 2000), SIM_OPERATOR_ACTS, SIM_CLIENTS);
  sim_c_start(s);
  for (uint32_t i = 0; i < s->participant_count; i++) sim_p_start(s, &s->p[i]);
}

/* ---- trouble ---- */

static void kill_somebody(struct sim *s) {
  if (s->c.core != NULL && sim_fault(s, SIM_FAULT_CRASH_C, s->c.loading ? 300 : 30)) {
    sim_c_crash(s, false);
  }
  for (uint32_t i = 0; i < s->participant_count; i++) {
    if (s->p[i].core != NULL && sim_fault(s, SIM_FAULT_CRASH_P, 30)) sim_p_crash(s, &s->p[i]);
  }
}

static void toggle_space(struct sim *s) {
  struct vow_event event = {.type = VOW_EVENT_LOG_SPACE};
  if (s->c.core == NULL) return;
  event.u.log_space_low = s->c.space_low = !s->c.space_low;
  sim_c_step(s, &event);
}

static void trouble(struct sim *s) {
  sim_at(s, 50 + sim_draw(s, 200), SIM_TROUBLE, SIM_CLIENTS);
  if (s->healed) return;
  kill_somebody(s);
  if (sim_fault(s, SIM_FAULT_CUT, 60)) sim_cut(s);
  if (sim_fault(s, SIM_FAULT_FULL_C, 60)) toggle_space(s);
  if (sim_fault(s, SIM_FAULT_PAUSE, 50)) {
    uint64_t node = sim_draw(s, 1 + s->participant_count);
    s->paused_until_ms[node] = s->now_ms + sim_draw(s, 5000);
    sim_say(s, (int)node, "---- it stands still ----");
  }
  if (sim_fault(s, SIM_FAULT_CLOCK, 60)) {
    s->wall_offset_ms += (int64_t)sim_draw(s, 7200000) - 3600000;
    sim_say(s, SIM_CLIENTS, "---- the clock jumps ----");
  }
}

static void heal(struct sim *s) {
  sim_say(s, SIM_CLIENTS, "==== from here on nothing goes wrong ====");
  s->healed = true;
  memset(s->cut_until_ms, 0, sizeof s->cut_until_ms);
  if (s->c.space_low) toggle_space(s);
}

/* ---- events ---- */

static void call_event(struct sim *s, const struct sim_event *event) {
  struct sim_call *call = sim_call_find(s, event->index);
  if (call == NULL) return;
  if (event->kind == SIM_CALL_ARRIVES) {
    sim_c_call_arrives(s, call);
    return;
  }
  if (!call->waits) return;
  call->waits = false;
  if (event->kind == SIM_CALL_TIMES_OUT) call->answer = (struct sim_answer){.lost = true};
  if (call->from != SIM_CLIENTS) {
    sim_p_inquired(s, &s->p[call->from - SIM_PARTICIPANT], call);
  } else if (call->plan < SIM_PLANS_MAX) {
    sim_client_answered(s, call);
  }
}

static void coordinator_event(struct sim *s, const struct sim_event *event) {
  struct sim_call *call = sim_call_find(s, event->index);
  switch (event->kind) {
    case SIM_C_START:
      sim_c_start(s);
      break;
    case SIM_C_LOAD:
      sim_c_load(s);
      break;
    case SIM_C_TICK:
      sim_c_tick(s);
      break;
    case SIM_C_SYNC:
      sim_c_sync(s);
      break;
    case SIM_C_SYNCED:
      sim_c_synced(s);
      break;
    default:
      if (call != NULL) sim_c_query(s, call);
  }
}

static void participant_event(struct sim *s, const struct sim_event *event) {
  struct sim_participant *p = &s->p[event->node - SIM_PARTICIPANT];
  switch (event->kind) {
    case SIM_P_START:
      if (p->core != NULL) {
        sim_p_crash(s, p);
      } else {
        sim_p_start(s, p);
      }
      break;
    case SIM_P_TICK:
      sim_p_tick(s, p);
      break;
    case SIM_P_SYNC:
      sim_p_sync(s, p);
      break;
    case SIM_P_SYNCED:
      sim_p_synced(s, p);
      break;
    default:
      sim_p_callback(s, p, event);
  }
}

static void dispatch(struct sim *s, const struct sim_event *event) {
  switch (event->kind) {
    case SIM_CALL_ARRIVES:
    case SIM_ANSWER_ARRIVES:
    case SIM_CALL_TIMES_OUT:
      call_event(s, event);
      break;
    case SIM_MESSAGE_ARRIVES:
      sim_message_arrives(s, event);
      break;
    case SIM_REPLY_ARRIVES:
    case SIM_EXCHANGE_TIMES_OUT:
      sim_c_reply(s, event);
      break;
    case SIM_CLIENT_ACTS:
      sim_client_acts(s, &s->plans[event->index]);
      break;
    case SIM_OPERATOR_ACTS:
      sim_operator_acts(s);
      break;
    case SIM_TROUBLE:
      trouble(s);
      break;
    default:
      if (event->node == SIM_COORDINATOR) {
        coordinator_event(s, event);
      } else {
        participant_event(s, event);
      }
  }
}

/* ---- the whole ---- */

/* Names what has not ended. */
static void complain(struct sim *s) {
  const struct vow_id nil = {{0}};
  const struct vow_txn *open = s->c.core == NULL ? NULL : vow_core_next(s->c.core, nil);
  if (open != NULL) {
    sim_fail(s, SIM_LIVENESS, "AC5: t%u is still %s", sim_txn_of(s, open->id),
             vow_txn_state_name(open->state));
  }
  for (uint32_t i = 0; i < s->participant_count; i++) {
    struct vow_pcounts counts = {0};
    if (s->p[i].core != NULL) vow_pcore_counts(s->p[i].core, &counts);
    if (counts.unfinished > 0) sim_fail(s, SIM_LIVENESS, "AC5: p%u has unfinished branches", i);
  }
  for (uint32_t i = 0; i < s->plan_count; i++) {
    if (s->plans[i].state == SIM_PLAN_DONE && s->plans[i].call == 0) continue;
    sim_fail(s, SIM_LIVENESS, "AC5: client %u never learns how its transaction ended", i);
  }
  sim_fail(s, SIM_LIVENESS, "AC5: a request was never answered");
}

static void play(struct sim *s, const struct sim_options *options) {
  uint64_t steps_max = options->steps_max != 0 ? options->steps_max : STEPS_MAX;
  struct sim_event event;
  make_world(s, options);
  while (sim_next(s, &event)) {
    if (!s->healed && s->now_ms >= TROUBLE_MS) heal(s);
    dispatch(s, &event);
    sim_check_step(s);
    if (s->healed && sim_at_rest(s)) break;
    if (s->now_ms > TROUBLE_MS + HEALING_MS) complain(s);
    if (++s->steps > steps_max) sim_fail(s, SIM_LIVENESS, "AC5: more steps than a run may take");
  }
  if (!s->healed || !sim_at_rest(s)) complain(s);
  sim_check_end(s);
}

static void drop_rows(struct sim_row *rows) {
  for (uint32_t i = 0; i < SIM_TXNS_MAX; i++) {
    if (rows[i].used) vow_txn_fini(&rows[i].image);
  }
}

static void end_world(struct sim *s) {
  sim_c_stop(s);
  for (uint32_t i = 0; i < s->participant_count; i++) sim_p_stop(&s->p[i]);
  drop_rows(s->c.table);
  drop_rows(s->c.queue.rows);
  drop_rows(s->c.writing.rows);
  drop_rows(s->c.zombie.rows);
}

void sim_run(struct sim *s, const struct sim_options *options, struct sim_result *out) {
  char *trace = s->trace;
  size_t capacity = s->trace_capacity;
  memset(s, 0, sizeof *s);
  s->trace = trace;
  s->trace_capacity = capacity;
  if (setjmp(s->failed) == 0) play(s, options);
  end_world(s);
  sim_mix(s, s->random_state);
  sim_mix(s, s->now_ms);
  *out = (struct sim_result){
      .verdict = s->verdict, .hash = s->hash, .steps = s->steps, .virtual_ms = s->now_ms};
}
