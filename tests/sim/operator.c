/*
 * Operators: settle by hand what they think hangs, and forget it later; after healing they clear up
 * what is heuristic, and nothing else.
 */
#include "sim.h"

bool sim_has_operators(const struct sim *s) {
  return (s->faults >> SIM_FAULT_OPERATOR & 1) != 0;
}

static void operate(struct sim *s, uint32_t txn, enum vow_event_type type, uint32_t branch,
                    enum vow_outcome outcome) {
  struct sim_call *call = sim_call_new(s, SIM_CLIENTS, s->txns[txn].coordinator, type);
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

static void look_after(struct sim *s, struct sim_coordinator *c) {
  struct vow_id from = {{0}};
  if (c->core == NULL) return;
  for (const struct vow_txn *txn = vow_core_next(c->core, from); txn != NULL;) {
    struct vow_id id = txn->id;
    if (txn->heuristic != VOW_HEURISTIC_NONE && (s->healed || sim_chance(s, 200))) {
      clear_up(s, txn);
      return;
    }
    for (int i = 15; i >= 0 && ++id.bytes[i] == 0; i--) continue;
    txn = vow_core_next(c->core, id);
  }
}

void sim_operator_acts(struct sim *s) {
  if (s->txn_count > 0 && !s->healed && sim_chance(s, 300)) {
    meddle(s, (uint32_t)sim_draw(s, s->txn_count));
  }
  sim_at(s, s->healed ? 1000 : 100 + sim_draw(s, 1500), SIM_OPERATOR_ACTS, SIM_CLIENTS);
  for (uint32_t i = 0; i < s->coordinator_count; i++) look_after(s, &s->c[i]);
}
