/*
 * Applications: each has one transaction that it wants done, and goes on asking until it knows.
 * Operators: settle by hand what they think hangs, and forget it later; after healing they clear up
 * what is heuristic, and nothing else.
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
  (void)snprintf(branch->url, sizeof branch->url, "http://p%u", branch->participant);
  (void)snprintf(branch->name, sizeof branch->name, "b%u", number);
  (void)snprintf(branch->payload, sizeof branch->payload, "{\"n\":%u}", plan->number * 10 + number);
}

static void plan_one(struct sim *s, uint32_t number) {
  struct sim_plan *plan = &s->plans[number];
  bool fair = (s->faults >> SIM_FAULT_VOTE_NO & 1) == 0;
  bool orderly = (s->faults >> SIM_FAULT_CLIENT & 1) == 0;

  plan->state = SIM_PLAN_BEGIN;
  plan->number = number;
  plan->one_shot = sim_chance(s, 500);
  plan->no_wait = sim_chance(s, 150);
  plan->aborts = !orderly && !plan->one_shot && sim_chance(s, 150);
  plan->vanishes = !orderly && sim_chance(s, 150);
  plan->rechecks = (uint32_t)sim_draw(s, 4);
  plan->timeout_ms = !orderly && sim_chance(s, 200) ? 1 + (uint32_t)sim_draw(s, 3000) : 0;
  plan->branch_count = (uint32_t)sim_draw(s, SIM_BRANCHES_MAX + 1);
  if (plan->branch_count == 0 && sim_chance(s, 800)) plan->branch_count = 1;
  (void)snprintf(plan->metadata, sizeof plan->metadata, "{\"n\":%u}", number);
  if (sim_chance(s, 350)) (void)snprintf(plan->key, sizeof plan->key, "k%u", number);
  for (uint32_t b = 0; b < plan->branch_count; b++) plan_branch(s, plan, b, fair);
  sim_at(s, sim_draw(s, LAST_BEGIN_MS), SIM_CLIENT_ACTS, SIM_CLIENTS)->index = number;
}

void sim_plan_all(struct sim *s) {
  s->plan_count = 1 + (uint32_t)sim_draw(s, SIM_PLANS_MAX);
  for (uint32_t i = 0; i < s->plan_count; i++) plan_one(s, i);
}

/* ---- asking ---- */

static void send(struct sim *s, struct sim_plan *plan, enum vow_event_type type) {
  struct sim_call *call = sim_call_new(s, SIM_CLIENTS, type);
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

/* It stops waiting, and sometimes the daemon notices. */
static void vanish(struct sim *s, struct sim_plan *plan) {
  sim_say(s, SIM_CLIENTS, "client %u vanishes", plan->number);
  uint32_t waited = plan->call;
  plan->state = SIM_PLAN_DONE;
  plan->call = plan->rechecks = 0;
  if (waited == 0 || !sim_chance(s, 600)) return;
  struct sim_call *call = sim_call_new(s, SIM_CLIENTS, VOW_EVENT_CANCEL);
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

static void again_in(struct sim *s, struct sim_plan *plan, uint64_t delay_ms) {
  sim_at(s, delay_ms, SIM_CLIENT_ACTS, SIM_CLIENTS)->index = plan->number;
}

static void know(struct sim *s, struct sim_plan *plan, enum vow_outcome outcome) {
  if (outcome != VOW_OUTCOME_NONE) plan->told = outcome;
  plan->state = SIM_PLAN_DONE;
  if (plan->rechecks == 0) return;
  plan->rechecks--;
  again_in(s, plan, sim_draw(s, 6000));
}

static void learn_begin(struct sim *s, struct sim_plan *plan, const struct sim_answer *answer) {
  if (answer->has_id) {
    plan->has_id = true;
    plan->id = answer->id;
  }
  if (answer->outcome != VOW_OUTCOME_NONE) {
    know(s, plan, answer->outcome);
  } else if (answer->error == VOW_OK) {
    plan->state = plan->one_shot ? SIM_PLAN_ASK : SIM_PLAN_ENLIST;
    again_in(s, plan, sim_draw(s, 30));
  } else {
    again_in(s, plan, 50 + sim_draw(s, 500));
  }
}

/* A lost reply of a begin without a key says nothing, and nobody can ask for it. */
static void lost(struct sim *s, struct sim_plan *plan, const struct sim_call *call) {
  bool hopeless = call->type == VOW_EVENT_BEGIN && plan->one_shot && plan->key[0] == '\0';
  if (hopeless || (plan->state == SIM_PLAN_DONE && plan->rechecks == 0)) {
    plan->state = SIM_PLAN_DONE;
    return;
  }
  again_in(s, plan, sim_draw(s, 500));
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
  if (plan->told != VOW_OUTCOME_NONE && answer->outcome != VOW_OUTCOME_NONE) {
    know(s, plan, answer->outcome);
    return;
  }
  switch (call->type) {
    case VOW_EVENT_BEGIN:
      learn_begin(s, plan, answer);
      return;
    case VOW_EVENT_ENLIST:
      sim_check(s, answer->error != VOW_E_NAME_CONFLICT, "API", "a repeated enlist is a conflict");
      if (answer->outcome != VOW_OUTCOME_NONE) {
        know(s, plan, answer->outcome);
        return;
      }
      if (answer->error == VOW_OK) plan->enlisted++;
      if (answer->error == VOW_E_ILLEGAL_STATE) plan->state = SIM_PLAN_ASK;
      if (answer->error == VOW_E_UNKNOWN_TRANSACTION) plan->state = SIM_PLAN_DONE;
      break;
    default:
      if (answer->outcome != VOW_OUTCOME_NONE) {
        know(s, plan, answer->outcome);
        return;
      }
      if (answer->error == VOW_OK) plan->state = SIM_PLAN_ASK;
      break;
  }
  again_in(s, plan, 20 + sim_draw(s, 400));
}

/* ---- operators ---- */

bool sim_has_operators(const struct sim *s) {
  return (s->faults >> SIM_FAULT_OPERATOR & 1) != 0;
}

static void operate(struct sim *s, uint32_t txn, enum vow_event_type type, uint32_t branch,
                    enum vow_outcome outcome) {
  struct sim_call *call = sim_call_new(s, SIM_CLIENTS, type);
  call->plan = SIM_PLANS_MAX;
  call->id = s->txns[txn].id;
  call->branch = branch;
  call->outcome = outcome;
  sim_say(s, SIM_CLIENTS, "operator asks #%u: %s t%u/%u %s", call->serial,
          type == VOW_EVENT_FORGET ? "forget" : "resolve", txn, branch, vow_outcome_name(outcome));
  sim_call(s, call);
}

/* Anything goes. */
static void meddle(struct sim *s, uint32_t txn) {
  struct sim_txn *t = &s->txns[txn];
  if (t->branch_count == 0) return;
  uint32_t branch = 1 + (uint32_t)sim_draw(s, t->branch_count);
  enum vow_outcome word = sim_chance(s, 500) ? VOW_OUTCOME_COMMITTED : VOW_OUTCOME_ABORTED;

  if (sim_chance(s, 300)) {
    operate(s, txn, VOW_EVENT_RESOLVE, 0, VOW_OUTCOME_ABORTED);
  } else if (sim_chance(s, 300)) {
    t->meddled = true;
    operate(s, txn, VOW_EVENT_RESOLVE, branch, word);
  } else {
    sim_p_operate(s, &s->p[t->branches[branch - 1].participant], txn, branch,
                  (enum vow_outcome)(VOW_OUTCOME_HEURISTIC_COMMIT + sim_draw(s, 4)));
  }
}

/* What only an operator can end. */
static void clear_up(struct sim *s, const struct vow_txn *image) {
  uint32_t txn = sim_txn_of(s, image->id);
  if (image->state == VOW_TXN_COMMITTED || image->state == VOW_TXN_ABORTED) {
    operate(s, txn, VOW_EVENT_FORGET, 0, VOW_OUTCOME_NONE);
    return;
  }
  for (uint32_t i = 0; i < image->branch_count; i++) {
    if (image->branches[i].state != VOW_BRANCH_UNKNOWN) continue;
    operate(s, txn, VOW_EVENT_RESOLVE, i + 1, VOW_OUTCOME_COMMITTED);
    return;
  }
}

void sim_operator_acts(struct sim *s) {
  struct vow_id from = {{0}};
  if (s->txn_count > 0 && !s->healed && sim_chance(s, 300)) {
    meddle(s, (uint32_t)sim_draw(s, s->txn_count));
  }
  sim_at(s, s->healed ? 1000 : 100 + sim_draw(s, 1500), SIM_OPERATOR_ACTS, SIM_CLIENTS);
  if (s->c.core == NULL) return;
  for (const struct vow_txn *txn = vow_core_next(s->c.core, from); txn != NULL;) {
    struct vow_id id = txn->id;
    if (txn->heuristic != VOW_HEURISTIC_NONE && (s->healed || sim_chance(s, 200))) {
      clear_up(s, txn);
      return;
    }
    for (int i = 15; i >= 0 && ++id.bytes[i] == 0; i--) continue;
    txn = vow_core_next(s->c.core, id);
  }
}
