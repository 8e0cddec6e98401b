/*
 * One run: things go wrong in a world for a while, then it heals, and everything must end within a
 * bound of virtual time.
 */
#include <string.h>

#include "sim.h"

#define HEALING_MS 300000 /* the second phase must end within this */
#define STEPS_MAX  200000

/* ---- trouble ---- */

static void kill_somebody(struct sim *s) {
  for (uint32_t i = 0; i < s->coordinator_count; i++) {
    struct sim_coordinator *c = &s->c[i];
    if (c->core != NULL && sim_fault(s, SIM_FAULT_CRASH_C, c->loading ? 300 : 30)) {
      sim_c_crash(s, c, SIM_KILLED);
    } else if (c->core == NULL && sim_fault(s, SIM_FAULT_POWER, 100)) {
      bool keep = sim_chance(s, 500);
      if (sim_tool_works_on(s, c)) {
        sim_tool_kill(s, SIM_POWER_CUT, keep);
      } else {
        sim_c_lose_log(s, c, SIM_POWER_CUT, keep);
      }
    }
  }
  for (uint32_t i = 0; i < s->participant_count; i++) {
    if (s->p[i].core != NULL && sim_fault(s, SIM_FAULT_CRASH_P, 30)) {
      sim_p_crash(s, &s->p[i], sim_chance(s, 500));
    }
  }
}

static void set_space(struct sim *s, struct sim_coordinator *c, bool low) {
  struct vow_event event = {.type = VOW_EVENT_LOG_REFUSES};
  if (c->core == NULL || c->space_low == low) return;
  c->space_low = low;
  event.u.log_refuses = low ? VOW_E_LOG_FULL : VOW_OK;
  sim_c_step(s, c, &event);
}

static void stand_still(struct sim *s) {
  uint32_t n = (uint32_t)sim_draw(s, s->coordinator_count + s->participant_count);
  bool coordinates = n < s->coordinator_count;
  uint32_t node = coordinates ? SIM_COORDINATOR + n : SIM_PARTICIPANT + n - s->coordinator_count;
  s->paused_until_ms[node] = s->now_ms + sim_draw(s, 5000);
  sim_say(s, (int)node, "---- it stands still ----");
}

static void trouble(struct sim *s) {
  if (s->healed) return;
  sim_at(s, 50 + sim_draw(s, 200), SIM_TROUBLE, SIM_CLIENTS);
  kill_somebody(s);
  if (sim_fault(s, SIM_FAULT_RESTORE, 40)) {
    sim_c_restore(s, &s->c[sim_draw(s, s->coordinator_count)]);
  }
  if (sim_fault(s, SIM_FAULT_CUT, 60)) sim_cut(s);
  if (sim_fault(s, SIM_FAULT_FULL_C, 60)) {
    struct sim_coordinator *c = &s->c[sim_draw(s, s->coordinator_count)];
    set_space(s, c, !c->space_low);
  }
  if (sim_fault(s, SIM_FAULT_PAUSE, 50)) stand_still(s);
  if (sim_fault(s, SIM_FAULT_CLOCK, 60)) {
    s->wall_offset_ms += (int64_t)sim_draw(s, 7200000) - 3600000;
    sim_say(s, SIM_CLIENTS, "---- the clock jumps ----");
  }
}

static void heal(struct sim *s) {
  sim_say(s, SIM_CLIENTS, "==== from here on nothing goes wrong ====");
  s->healed = true;
  bool restores = (s->faults >> SIM_FAULT_RESTORE & 1) != 0;
  if (restores && !sim_has_operators(s)) sim_at(s, 1000, SIM_OPERATOR_ACTS, SIM_CLIENTS);
  memset(s->cut_until_ms, 0, sizeof s->cut_until_ms);
  for (uint32_t i = 0; i < s->coordinator_count; i++) set_space(s, &s->c[i], false);
}

/* ---- events ---- */

/* The answer of a life that was over when an operator asked this participant. */
static bool is_of_the_past(const struct sim *s, const struct sim_event *event,
                           const struct sim_call *call) {
  if (event->kind != SIM_ANSWER_ARRIVES || call->from == SIM_CLIENTS) return false;
  return call->life < s->p[call->from - SIM_PARTICIPANT].fence[call->to];
}

static void call_event(struct sim *s, const struct sim_event *event) {
  struct sim_call *call = sim_call_find(s, event->index);
  if (call == NULL) return;
  if (event->kind == SIM_CALL_ARRIVES) {
    sim_c_call_arrives(s, call);
    return;
  }
  if (!call->waits || is_of_the_past(s, event, call)) return;
  call->waits = false;
  if (event->kind == SIM_CALL_TIMES_OUT) call->answer = (struct sim_answer){.lost = true};
  if (call->from != SIM_CLIENTS) {
    sim_p_inquired(s, &s->p[call->from - SIM_PARTICIPANT], call);
  } else if (call->plan < SIM_PLANS_MAX) {
    sim_client_answered(s, call);
  }
}

static void coordinator_event(struct sim *s, const struct sim_event *event) {
  struct sim_coordinator *c = &s->c[event->node - SIM_COORDINATOR];
  struct sim_call *call = sim_call_find(s, event->index);
  switch (event->kind) {
    case SIM_C_START:
      sim_c_start(s, c);
      break;
    case SIM_C_LOAD:
      sim_c_load(s, c);
      break;
    case SIM_C_TICK:
      sim_c_tick(s, c);
      break;
    case SIM_C_SYNC:
      sim_c_sync(s, c);
      break;
    case SIM_C_SYNCED:
      sim_c_synced(s, c);
      break;
    default:
      if (call != NULL) sim_c_query(s, c, call);
  }
}

static void participant_event(struct sim *s, const struct sim_event *event) {
  struct sim_participant *p = &s->p[event->node - SIM_PARTICIPANT];
  switch (event->kind) {
    case SIM_P_START:
      if (p->core != NULL) {
        sim_p_crash(s, p, sim_chance(s, 500));
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
    case SIM_P_CALLED:
      sim_p_called(s, p);
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
    case SIM_TOOL_ACTS:
      sim_tool_acts(s, event->a != 0);
      break;
    case SIM_TOOL_ASKS:
      sim_tool_asks(s, event);
      break;
    case SIM_TOOL_TOLD:
    case SIM_TOOL_TIMES_OUT:
      sim_tool_told(s, event);
      break;
    case SIM_TOOL_WRITTEN:
      sim_tool_written(s);
      break;
    default:
      if (event->node < SIM_PARTICIPANT) {
        coordinator_event(s, event);
      } else {
        participant_event(s, event);
      }
  }
}

/* ---- the whole ---- */

static void play(struct sim *s) {
  uint32_t trouble_ms = s->set.trouble_ms != 0 ? s->set.trouble_ms : SIM_TROUBLE_MS;
  uint64_t steps_max = s->set.steps_max != 0 ? s->set.steps_max : STEPS_MAX;
  struct sim_event event;
  sim_make_world(s);
  while (sim_next(s, &event)) {
    if (!s->healed && s->now_ms >= trouble_ms) heal(s);
    dispatch(s, &event);
    sim_check_step(s, event.node);
    if (s->healed && sim_at_rest(s)) break;
    if (s->now_ms > trouble_ms + HEALING_MS) sim_complain(s);
    if (++s->steps > steps_max) sim_fail(s, SIM_AC5, "more steps than a run may take");
  }
  if (!s->healed || !sim_at_rest(s)) sim_complain(s);
  sim_check_end(s);
}

static void end_world(struct sim *s) {
  for (uint32_t i = 0; i < s->coordinator_count; i++) {
    sim_c_stop(&s->c[i]);
    sim_c_drop_log(s, &s->c[i]);
  }
  for (uint32_t i = 0; i < s->participant_count; i++) sim_p_stop(&s->p[i]);
  sim_tool_stop(s);
  vow_json_free(s->document);
}

void sim_run(struct sim *s, const struct sim_case *set, struct sim_result *out) {
  s->set = *set;
  if (setjmp(s->ended) == 0) play(s);
  end_world(s);
  sim_mix(s, s->random_state);
  sim_mix(s, s->now_ms);
  *out = (struct sim_result){.verdict = s->verdict,
                             .property = s->property,
                             .failed = s->failed,
                             .hash = s->hash,
                             .steps = s->steps,
                             .virtual_ms = s->now_ms,
                             .plan_count = s->plan_count};
  for (int i = 0; i < SIM_COORDINATORS_MAX; i++)
    out->actions[SIM_COORDINATOR + i] = s->c[i].actions;
  for (int i = 0; i < SIM_PARTICIPANTS_MAX; i++)
    out->actions[SIM_PARTICIPANT + i] = s->p[i].actions;
  out->actions[SIM_OPERATOR] = s->tool.actions;
  memcpy(out->why, s->why, sizeof out->why);
}
