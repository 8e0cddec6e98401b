/*
 * What a seed draws at the beginning: how many of whom, their limits and habits, what goes wrong.
 */
#include "sim.h"

/* Each fault is on in a third of the runs; one run in sixteen has fair weather. Drawn from their
 * own streams, so that a seed keeps its story when the table of faults grows. */
static uint32_t draw_faults(struct sim *s) {
  uint32_t faults = 0;
  for (uint32_t i = 0; i < SIM_FAULTS; i++) {
    s->random_state = s->fault_random[i] = (s->set.seed + 1) * UINT64_C(0xA24BAED4963EE407) + i;
    faults |= (uint32_t)(sim_draw(s, 3) == 0) << i;
  }
  s->random_state = s->set.seed * UINT64_C(0xD1342543DE82EF95) + 1;
  return sim_draw(s, 16) == 0 ? 0 : faults;
}

static bool is_on(const struct sim *s, enum sim_fault fault) {
  return (s->faults >> fault & 1) != 0;
}

static void configure_coordinator(struct sim *s, uint32_t number) {
  struct sim_coordinator *c = &s->c[number];
  bool tight = is_on(s, SIM_FAULT_TIGHT);
  bool close = sim_chance(s, 300) || is_on(s, SIM_FAULT_TINY);
  c->number = number;
  c->life = 1;
  c->sync_due_ms = UINT64_MAX;
  c->config = (struct vow_core_config){
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
      .id_reserve_ms = close ? 50 + (uint32_t)sim_draw(s, 200) : 10000,
  };
  c->sync_ms = !s->crowd ? 6 : s->faults == 0 ? 60 : 300; /* in fair weather nobody gives up */
  c->lazy_ms = 1 + (uint32_t)sim_draw(s, 1000);
  c->config.ends_together = c->lazy_ms % 6;
  c->config.ends_wait_ms = c->lazy_ms;
  c->retention_count = is_on(s, SIM_FAULT_PURGE) ? (uint32_t)sim_draw(s, 4) : UINT32_MAX;
}

static void configure_participant(struct sim *s, uint32_t number) {
  struct sim_participant *p = &s->p[number];
  bool tight = is_on(s, SIM_FAULT_TIGHT);
  p->number = number;
  p->life = 1;
  p->batch_max = sim_chance(s, 600) ? 2 + (uint32_t)sim_draw(s, SIM_BATCH_MAX - 1) : 0;
  p->config.atomic = sim_chance(s, 400) || is_on(s, SIM_FAULT_LONG);
  p->config.intent = !p->config.atomic && sim_chance(s, 500);
  p->config.branches_max = tight ? 1 + (uint32_t)sim_draw(s, 5) : 1000;
  p->config.preparing_max = tight ? 1 + (uint32_t)sim_draw(s, 3) : 1000;
  p->config.tombstones_max = tight ? 1 + (uint32_t)sim_draw(s, 30) : 1000;
  p->config.coordinators_max = 4;
  p->config.purge_every = 2 * number; /* no draw: old seeds stay what they are */
  p->config.inquiry_min_ms = 50 + (uint32_t)sim_draw(s, 1000);
  p->config.inquiry_max_ms = 1000 + (uint32_t)sim_draw(s, 4000);
}

static void begin_draws(struct sim *s) {
  s->faults = draw_faults(s);
  if (s->set.has_faults)
    s->faults = s->set.faults;
  else if (s->faults != 0)
    s->faults |= sim_mistake_rules[s->set.mistake].faults_on;
  s->faults &= ~(s->set.faults_off | sim_mistake_rules[s->set.mistake].faults_off);
}

uint32_t sim_faults_of(const struct sim_case *set) {
  static struct sim scratch;
  scratch.set = *set;
  begin_draws(&scratch);
  return scratch.faults;
}

void sim_make_world(struct sim *s) {
  begin_draws(s);
  s->mistake = s->set.mistake;
  s->wire = s->set.seed % 8 == 3;
  s->heat = 100 + (uint32_t)sim_draw(s, 1200);
  s->participant_count = 1 + (uint32_t)sim_draw(s, SIM_PARTICIPANTS_MAX);
  s->coordinator_count = sim_chance(s, 600) ? 1 : 2 + (uint32_t)sim_draw(s, 2);
  s->crowd = sim_chance(s, 60);
  for (uint32_t i = 0; i < s->coordinator_count; i++) configure_coordinator(s, i);
  for (uint32_t i = 0; i < s->participant_count; i++) configure_participant(s, i);
  sim_plan_all(s);
  uint32_t trouble_ms = s->set.trouble_ms != 0 ? s->set.trouble_ms : SIM_TROUBLE_MS;
  sim_at(s, s->faults != 0 ? 0 : trouble_ms, SIM_TROUBLE, SIM_CLIENTS);
  if (sim_has_operators(s)) sim_at(s, sim_draw(s, 2000), SIM_OPERATOR_ACTS, SIM_CLIENTS);
  s->tool.life = 1;
  if (is_on(s, SIM_FAULT_RESTORE)) sim_at(s, 1000, SIM_TOOL_ACTS, SIM_OPERATOR);
  for (uint32_t i = 0; i < s->coordinator_count; i++) {
    sim_c_create_log(s, &s->c[i]);
    sim_c_start(s, &s->c[i]);
  }
  for (uint32_t i = 0; i < s->participant_count; i++) sim_p_start(s, &s->p[i]);
}
