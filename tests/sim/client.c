/*
 * Applications: each has transactions that it wants done, one after the other, and goes on asking
 * until it knows how one ended. There are many with one each, or one to three with all of them.
 */
#include <stdio.h>
#include <string.h>

#include "sim.h"

#define LAST_BEGIN_MS 8000

/* ---- plans ---- */

static enum vow_vote draw_vote(struct sim *s, bool fair) {
  if (sim_chance(s, 150)) return VOW_VOTE_READ_ONLY;
  if (!fair && sim_chance(s, 40)) return VOW_VOTE_ABORT;
  return VOW_VOTE_COMMIT;
}

static void plan_branch(struct sim *s, struct sim_plan *plan, uint32_t number, bool fair) {
  struct sim_plan_branch *branch = &plan->branches[number];
  branch->participant = (uint32_t)sim_draw(s, s->participant_count);
  branch->has_payload = sim_chance(s, 700);
  branch->at_begin = plan->one_shot || sim_chance(s, 500);
  branch->vote = draw_vote(s, fair);
  (void)snprintf(branch->name, sizeof branch->name, "b%u", number);
  (void)snprintf(branch->payload, sizeof branch->payload, "{\"n\":%u}", plan->number * 10 + number);
}

/* Sometimes all of them, each with a branch. */
static void spread(struct sim *s, struct sim_plan *plan) {
  bool all = sim_chance(s, 150);
  if (all) plan->branch_count = s->participant_count;
  for (uint32_t b = 0; b < plan->branch_count; b++) {
    struct sim_plan_branch *branch = &plan->branches[b];
    if (all) branch->participant = b;
    (void)snprintf(branch->url, sizeof branch->url, "%s", sim_p_url(branch->participant));
  }
}

/* From a tiny space keys meet other requests of their coordinator. */
static void draw_key(struct sim *s, struct sim_plan *plan) {
  bool tiny = (s->faults >> SIM_FAULT_TINY & 1) != 0;
  uint32_t number = tiny ? (uint32_t)sim_draw(s, 4) : plan->number;
  plan->hash = (uint8_t)(1 + plan->number);
  if (sim_chance(s, 350)) (void)snprintf(plan->key, sizeof plan->key, "k%u", number);
}

static void plan_one(struct sim *s, uint32_t number) {
  struct sim_plan *plan = &s->plans[number];
  bool fair = (s->faults >> SIM_FAULT_VOTE_NO & 1) == 0;
  bool orderly = (s->faults >> SIM_FAULT_CLIENT & 1) == 0;

  plan->state = SIM_PLAN_BEGIN;
  plan->number = number;
  plan->next = SIM_PLANS_MAX;
  plan->left_out = (s->set.plans_off >> number & 1) != 0;
  plan->coordinator = s->crowd ? 0 : (uint32_t)sim_draw(s, s->coordinator_count);
  plan->one_shot = sim_chance(s, 500);
  plan->no_wait = sim_chance(s, 150);
  plan->aborts = !orderly && !plan->one_shot && sim_chance(s, 150);
  plan->vanishes = !orderly && sim_chance(s, 150);
  plan->hurries = !orderly && sim_chance(s, 300);
  plan->rechecks = (uint32_t)sim_draw(s, 4);
  plan->timeout_ms = !orderly && sim_chance(s, 200) ? 1 + (uint32_t)sim_draw(s, 3000) : 0;
  plan->branch_count = (uint32_t)sim_draw(s, 5);
  if (plan->branch_count == 0 && sim_chance(s, 800)) plan->branch_count = 1;
  (void)snprintf(plan->metadata, sizeof plan->metadata, "{\"n\":%u}", number);
  draw_key(s, plan);
  for (uint32_t b = 0; b < SIM_BRANCHES_MAX; b++) plan_branch(s, plan, b, fair);
  spread(s, plan);
}

static void act_in(struct sim *s, struct sim_plan *plan, uint64_t delay_ms) {
  sim_at(s, delay_ms, SIM_CLIENT_ACTS, SIM_CLIENTS)->index = plan->number;
}

/* Each plan is a client's only one, or follows another of its client. A crowd comes all at once. */
void sim_plan_all(struct sim *s) {
  bool many = s->crowd || sim_chance(s, 500);
  uint32_t clients = many ? SIM_PLANS_MAX : 1 + (uint32_t)sim_draw(s, 3);
  uint64_t span_ms = s->crowd ? 20 : LAST_BEGIN_MS;
  uint32_t last[SIM_PLANS_MAX];

  for (uint32_t i = 0; i < SIM_PLANS_MAX; i++) last[i] = SIM_PLANS_MAX;
  s->plan_count = s->crowd ? SIM_PLANS_MAX : 1 + (uint32_t)sim_draw(s, SIM_PLANS_MAX);
  for (uint32_t i = 0; i < s->plan_count; i++) {
    uint64_t begin_ms = sim_draw(s, span_ms);
    uint32_t client = i % clients;
    plan_one(s, i);
    if (s->plans[i].left_out) continue;
    if (last[client] == SIM_PLANS_MAX) {
      act_in(s, &s->plans[i], begin_ms);
    } else {
      s->plans[last[client]].next = i;
    }
    last[client] = i;
  }
}

/* ---- asking ---- */

/* The transaction is none of its business any more: on to the next. */
static void done(struct sim *s, struct sim_plan *plan) {
  plan->state = SIM_PLAN_DONE;
  if (plan->next == SIM_PLANS_MAX) return;
  act_in(s, &s->plans[plan->next], sim_draw(s, 100));
  plan->next = SIM_PLANS_MAX;
}

static void send_once(struct sim *s, struct sim_plan *plan, enum vow_event_type type) {
  struct sim_call *call = sim_call_new(s, SIM_CLIENTS, plan->coordinator, type);
  call->plan = plan->number;
  call->id = plan->id;
  call->branch = plan->enlisted;
  plan->call = call->serial;
  if (type == 0) {
    call->asked[0] = plan->id;
    call->asked_count = 1;
  }
  sim_say(s, SIM_CLIENTS, "client %u asks #%u: %s", plan->number, call->serial,
          type == VOW_EVENT_BEGIN    ? "begin"
          : type == VOW_EVENT_ENLIST ? "enlist"
          : type == VOW_EVENT_COMMIT ? "commit"
          : type == VOW_EVENT_ABORT  ? "abort"
                                     : "outcome");
  sim_call(s, call);
}

/* Who is in a hurry does not wait for the answer before it asks again, with its key. */
static void send(struct sim *s, struct sim_plan *plan, enum vow_event_type type) {
  bool twice = plan->hurries && type == VOW_EVENT_BEGIN && plan->key[0] != '\0';
  if (twice) send_once(s, plan, type);
  send_once(s, plan, type);
}

/* It stops waiting, and sometimes the daemon notices. */
static void vanish(struct sim *s, struct sim_plan *plan) {
  sim_say(s, SIM_CLIENTS, "client %u vanishes", plan->number);
  uint32_t waited = plan->call;
  done(s, plan);
  plan->call = plan->rechecks = 0;
  if (waited == 0 || !sim_chance(s, 600)) return;
  struct sim_call *call = sim_call_new(s, SIM_CLIENTS, plan->coordinator, VOW_EVENT_CANCEL);
  call->branch = waited;
  sim_call(s, call);
}

void sim_client_acts(struct sim *s, struct sim_plan *plan) {
  if (plan->call != 0) return;
  if (plan->vanishes && plan->has_id && plan->state != SIM_PLAN_DONE && sim_chance(s, 400)) {
    vanish(s, plan);
    return;
  }
  while (plan->state == SIM_PLAN_ENLIST && plan->enlisted < plan->branch_count &&
         plan->branches[plan->enlisted].at_begin) {
    plan->enlisted++;
  }
  if (plan->state == SIM_PLAN_ENLIST && plan->enlisted == plan->branch_count) {
    plan->state = SIM_PLAN_FINISH;
  }
  switch (plan->state) {
    case SIM_PLAN_BEGIN:
      send(s, plan, VOW_EVENT_BEGIN);
      break;
    case SIM_PLAN_ENLIST:
      send(s, plan, VOW_EVENT_ENLIST);
      break;
    case SIM_PLAN_FINISH:
      send(s, plan, plan->aborts ? VOW_EVENT_ABORT : VOW_EVENT_COMMIT);
      break;
    case SIM_PLAN_ASK:
      send(s, plan, plan->aborts ? VOW_EVENT_ABORT : sim_chance(s, 500) ? VOW_EVENT_COMMIT : 0);
      break;
    case SIM_PLAN_DONE:
      if (!plan->has_id || plan->told == VOW_OUTCOME_NONE) return;
      sim_probe(s, SIM_PROBE_REPEATED);
      if (plan->key[0] != '\0' && sim_chance(s, 400)) {
        send(s, plan, VOW_EVENT_BEGIN);
        return;
      }
      send(s, plan, sim_chance(s, 600) ? VOW_EVENT_COMMIT : 0);
      break;
  }
  /* One that is about to vanish may do so while it waits. */
  if (plan->vanishes && plan->state != SIM_PLAN_DONE && sim_chance(s, 200)) vanish(s, plan);
}

/* ---- being answered ---- */

static void know(struct sim *s, struct sim_plan *plan, enum vow_outcome outcome) {
  if (plan->told == VOW_OUTCOME_NONE) plan->told = outcome;
  done(s, plan);
  if (plan->rechecks == 0) return;
  plan->rechecks--;
  act_in(s, plan, sim_draw(s, 6000));
}

static void learn_begin(struct sim *s, struct sim_plan *plan, const struct sim_answer *answer) {
  if (answer->error == VOW_E_KEY_CONFLICT) {
    plan->rechecks = 0;
    done(s, plan);
    return;
  }
  if (answer->has_id) {
    plan->has_id = true;
    plan->id = answer->id;
  }
  if (answer->outcome != VOW_OUTCOME_NONE) {
    know(s, plan, answer->outcome);
  } else if (answer->error == VOW_OK) {
    plan->state = plan->one_shot ? SIM_PLAN_ASK : SIM_PLAN_ENLIST;
    act_in(s, plan, sim_draw(s, 30));
  } else {
    act_in(s, plan, 50 + sim_draw(s, 500));
  }
}

/* A lost reply of a begin without a key says nothing, and nobody can ask for it. */
static void lost(struct sim *s, struct sim_plan *plan, const struct sim_call *call) {
  bool hopeless = call->type == VOW_EVENT_BEGIN && plan->one_shot && plan->key[0] == '\0';
  if (hopeless || (plan->state == SIM_PLAN_DONE && plan->rechecks == 0)) {
    done(s, plan);
    return;
  }
  plan->tries++;
  act_in(s, plan, sim_draw(s, 500));
}

void sim_client_answered(struct sim *s, struct sim_call *call) {
  struct sim_plan *plan = &s->plans[call->plan];
  const struct sim_answer *answer = &call->answer;
  if (plan->call != call->serial) return;
  plan->call = 0;
  if (answer->lost) {
    lost(s, plan, call);
    return;
  }
  if (answer->error == VOW_E_QUARANTINED) { /* until somebody reconciles the log */
    act_in(s, plan, 500 + sim_draw(s, 2000));
    return;
  }
  if (plan->told != VOW_OUTCOME_NONE && answer->outcome != VOW_OUTCOME_NONE) {
    know(s, plan, answer->outcome);
    return;
  }
  switch (call->type) {
    case VOW_EVENT_BEGIN:
      learn_begin(s, plan, answer);
      return;
    case VOW_EVENT_ENLIST:
      sim_check(s, answer->error != VOW_E_NAME_CONFLICT, SIM_API,
                "a repeated enlist is a conflict");
      if (answer->outcome != VOW_OUTCOME_NONE) {
        know(s, plan, answer->outcome);
        return;
      }
      if (answer->error == VOW_OK) plan->enlisted++;
      if (answer->error == VOW_E_ILLEGAL_STATE) plan->state = SIM_PLAN_ASK;
      if (answer->error == VOW_E_UNKNOWN_TRANSACTION) done(s, plan);
      break;
    default:
      if (answer->outcome != VOW_OUTCOME_NONE) {
        know(s, plan, answer->outcome);
        return;
      }
      if (answer->error == VOW_OK) plan->state = SIM_PLAN_ASK;
      if (call->type == 0 || answer->error != VOW_E_UNKNOWN_TRANSACTION) break;
      plan->rechecks = 0; /* so old that its history was purged */
      done(s, plan);
      return;
  }
  act_in(s, plan, 20 + sim_draw(s, 400));
}
