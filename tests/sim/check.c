/*
 * The properties that are looked at after every step, a function a property, over what changed in
 * that step; and those of the end, when all has healed and nothing is under way.
 */
#include <string.h>

#include "sim.h"

/* ---- AC3, at the decision ---- */

/* At the decision every branch has promised, durably, or only reads. */
void sim_check_decision(struct sim *s, const struct vow_txn *image) {
  uint32_t index = sim_txn_of(s, image->id);
  const struct sim_txn *txn = &s->txns[index];
  if (image->state != VOW_TXN_COMMITTING || txn->meddled || txn->committed) return;
  for (uint32_t i = 0; i < image->branch_count; i++) {
    enum vow_precord_kind kind = sim_record_of(s, index, i + 1)->kind;
    bool promised = kind == VOW_PRECORD_PREPARED || kind == VOW_PRECORD_DECIDED ||
                    kind == VOW_PRECORD_COMMITTED;
    sim_check(s, promised || txn->branches[i].read_only_sent, SIM_AC3,
              "t%u commits, but its branch %u has not voted for it durably", index, i + 1);
  }
}

/* ---- after every step: one transaction ---- */

static void check_ac1(struct sim *s, uint32_t index) {
  const struct sim_txn *txn = &s->txns[index];
  uint32_t applied = 0, undone = 0;
  if (txn->meddled) return;
  for (uint32_t b = 0; b < txn->branch_count; b++) {
    if (txn->branches[b].applied > 0) applied = b + 1;
    if (txn->branches[b].undone > 0) undone = b + 1;
  }
  sim_check(s, applied == 0 || undone == 0, SIM_AC1,
            "branch %u of t%u committed, and branch %u aborted", applied, index, undone);
}

/* What was told binds the branches, too. */
static void check_ac2(struct sim *s, uint32_t index) {
  const struct sim_txn *txn = &s->txns[index];
  if (txn->meddled || txn->told == VOW_OUTCOME_NONE || sim_only_read(s, txn)) return;
  for (uint32_t b = 0; b < txn->branch_count; b++) {
    bool against = txn->told == VOW_OUTCOME_COMMITTED ? txn->branches[b].undone > 0
                                                      : txn->branches[b].applied > 0;
    sim_check(s, !against, SIM_AC2, "t%u was told %s, and its branch %u does not follow", index,
              vow_outcome_name(txn->told), b + 1);
  }
}

static void check_m1(struct sim *s, uint32_t index) {
  const struct sim_txn *txn = &s->txns[index];
  for (uint32_t b = 0; b < txn->branch_count; b++) {
    sim_check(s, txn->branches[b].applied <= 1, SIM_M1, "t%u/%u takes effect %u times", index,
              b + 1, txn->branches[b].applied);
  }
}

/* ---- after every step: one process ---- */

/* Only a reconciliation brings more than the limit allows, all that it found; from then on they can
 * but become fewer, until they are within the limit again. In the log, too: who begins has written
 * before what made room. */
void sim_check_open(struct sim *s, const struct sim_coordinator *c, uint64_t before, uint64_t now) {
  sim_check(s, now <= c->config.transactions_max || now <= before, SIM_B1,
            "c%u has %llu open transactions, and had %llu", c->number, (unsigned long long)now,
            (unsigned long long)before);
}

static void check_b1_coordinator(struct sim *s, struct sim_coordinator *c) {
  struct vow_core_counts counts;
  struct vow_endpoint_view view;
  uint64_t open = c->to_load;
  vow_core_counts(c->core, &counts);
  for (int state = 1; state < 7; state++) open += counts.open[state];
  sim_check_open(s, c, c->open_before, open);
  c->open_before = open;
  for (uint32_t i = 0; i < counts.endpoints; i++) {
    if (!vow_core_endpoint_at(c->core, i, 0, &view)) break;
    sim_check(s, view.inflight <= c->config.inflight_per_endpoint_max, SIM_B1,
              "c%u has %u requests under way to %s", c->number, view.inflight, view.url);
    sim_check(s, view.queued <= view.branches, SIM_B1, "c%u has %u messages for %u branches",
              c->number, view.queued, view.branches);
  }
}

/* Aborts of branches that nobody knows have room of their own. */
static void check_b1_participant(struct sim *s, const struct sim_participant *p) {
  struct vow_pcounts counts;
  vow_pcore_counts(p->core, &counts);
  sim_check(s, counts.preparing <= p->config.preparing_max, SIM_B1,
            "p%u prepares %llu branches at once", p->number, (unsigned long long)counts.preparing);
  sim_check(s, counts.in_doubt <= p->config.branches_max, SIM_B1, "p%u has %llu branches in doubt",
            p->number, (unsigned long long)counts.in_doubt);
  sim_check(s, counts.unfinished <= p->config.branches_max + VOW_PCORE_ABORTS_EXTRA, SIM_B1,
            "p%u has %llu unfinished branches", p->number, (unsigned long long)counts.unfinished);
  sim_check(s, counts.tombstones <= p->config.tombstones_max + VOW_PCORE_ABORTS_EXTRA, SIM_B1,
            "p%u has %llu tombstones", p->number, (unsigned long long)counts.tombstones);
}

static void check_waiters(struct sim *s, uint32_t index) {
  uint32_t waiting = 0;
  const struct sim_txn *txn = &s->txns[index];
  const struct sim_coordinator *c = &s->c[txn->coordinator];
  for (uint32_t i = 0; i < SIM_CALLS_MAX && i <= s->call_serial; i++) {
    const struct sim_call *call = &s->calls[i];
    if (!call->in_core || call->to != c->number || call->life != c->life) continue;
    waiting += vow_id_compare(call->id, txn->id) == 0;
  }
  sim_check(s, waiting <= c->config.waiters_max + 2 * VOW_CORE_WAITERS_EXTRA, SIM_B1,
            "%u clients wait for t%u", waiting, index);
}

/* No operator, no heuristic outcome: none may appear by itself. */
static void check_peace(struct sim *s, const struct sim_coordinator *c) {
  struct vow_core_counts counts;
  if (sim_has_operators(s) || c->unheard) return;
  vow_core_counts(c->core, &counts);
  if (counts.open_heuristic == 0) return;
  for (const struct vow_txn *txn = vow_core_prev(c->core, NULL); txn != NULL;) {
    struct vow_id id = txn->id;
    bool peaceful = txn->heuristic == VOW_HEURISTIC_NONE || txn->forgotten;
    sim_check(s, peaceful || s->txns[sim_txn_of(s, id)].unpromised, SIM_PEACE,
              "c%u reports a heuristic outcome, but nobody broke a promise", c->number);
    txn = vow_core_prev(c->core, &id);
  }
}

static void check_txn(struct sim *s, uint32_t index) {
  s->txns[index].dirty = false;
  check_ac1(s, index);
  check_ac2(s, index);
  check_m1(s, index);
  check_waiters(s, index);
}

/* `node`: whose step it was. */
void sim_check_step(struct sim *s, int node) {
  for (uint32_t i = 0; i < s->txn_count; i++) {
    if (s->txns[i].dirty) check_txn(s, i);
  }
  if (node < SIM_PARTICIPANT) {
    struct sim_coordinator *c = &s->c[node - SIM_COORDINATOR];
    if (c->core == NULL) return;
    check_b1_coordinator(s, c);
    check_peace(s, c);
  } else if (node < SIM_CLIENTS) {
    const struct sim_participant *p = &s->p[node - SIM_PARTICIPANT];
    if (p->core != NULL) check_b1_participant(s, p);
  }
}

/* ---- AC5 ---- */

static bool participant_rests(const struct sim_participant *p) {
  struct vow_pcounts counts;
  if (p->core == NULL || p->broken) return false;
  if (p->syncing || p->queue.count > 0) return false;
  vow_pcore_counts(p->core, &counts);
  return counts.unfinished == 0;
}

static bool coordinator_rests(const struct sim_coordinator *c) {
  const struct vow_id nil = {{0}};
  if (c->core == NULL || c->loading || c->syncing || c->queue.position != 0) return false;
  if (vow_core_quarantined(c->core)) return false;
  return vow_core_next(c->core, nil) == NULL;
}

static bool plan_rests(const struct sim_plan *plan) {
  if (plan->left_out) return true;
  if (plan->state != SIM_PLAN_DONE || plan->call != 0) return false;
  return plan->rechecks == 0 || plan->told == VOW_OUTCOME_NONE;
}

/* Everything has ended, and everybody who asked was answered. */
bool sim_at_rest(struct sim *s) {
  if (s->tool.stage != SIM_TOOL_IDLE) return false;
  for (uint32_t i = 0; i < s->coordinator_count; i++) {
    if (!coordinator_rests(&s->c[i])) return false;
  }
  for (uint32_t i = 0; i < s->participant_count; i++) {
    if (!participant_rests(&s->p[i])) return false;
  }
  for (uint32_t i = 0; i < s->plan_count; i++) {
    if (!plan_rests(&s->plans[i])) return false;
  }
  for (uint32_t i = 0; i < SIM_CALLS_MAX && i <= s->call_serial; i++) {
    if (s->calls[i].in_core && s->calls[i].life == s->c[s->calls[i].to].life) return false;
  }
  return true;
}

void sim_complain(struct sim *s) {
  const struct vow_id nil = {{0}};
  for (uint32_t i = 0; i < s->coordinator_count; i++) {
    const struct vow_txn *open = s->c[i].core == NULL ? NULL : vow_core_next(s->c[i].core, nil);
    bool quarantined = s->c[i].core != NULL && vow_core_quarantined(s->c[i].core);
    if (quarantined) sim_fail(s, SIM_AC5, "c%u is still in quarantine", i);
    if (open == NULL) continue;
    sim_fail(s, SIM_AC5, "t%u is still %s", sim_txn_of(s, open->id),
             vow_txn_state_name(open->state));
  }
  for (uint32_t i = 0; i < s->participant_count; i++) {
    if (!participant_rests(&s->p[i])) sim_fail(s, SIM_AC5, "p%u has unfinished branches", i);
  }
  for (uint32_t i = 0; i < s->plan_count; i++) {
    if (plan_rests(&s->plans[i])) continue;
    sim_fail(s, SIM_AC5, "client %u never learns how its transaction ended", i);
  }
  sim_fail(s, SIM_AC5, "a request was never answered");
}

/* ---- the end ---- */

/* O1: nothing prepared is left in any database, but what an operator settled by hand. */
static void check_o1(struct sim *s, uint32_t index) {
  const struct sim_txn *txn = &s->txns[index];
  for (uint32_t b = 0; b < txn->branch_count; b++) {
    const struct sim_participant *p = &s->p[txn->branches[b].participant];
    bool left = p->work[index][b] == SIM_WORK_PREPARED && !txn->branches[b].heuristic;
    sim_check(s, !left, SIM_O1, "p%u still holds prepared work of t%u/%u", p->number, index, b + 1);
  }
}

/* What is in the databases: all of it, or nothing (AC1), and what was told (AC2). */
static void check_done(struct sim *s, uint32_t index) {
  const struct sim_txn *txn = &s->txns[index];
  uint32_t done = 0, writing = 0;
  if (txn->meddled || txn->plan == SIM_PLANS_MAX) return;
  for (uint32_t b = 0; b < txn->branch_count; b++) {
    done += s->p[txn->branches[b].participant].work[index][b] == SIM_WORK_COMMITTED;
    writing += !txn->branches[b].read_only_sent;
  }
  sim_check(s, txn->told != VOW_OUTCOME_ABORTED || done == 0, SIM_AC2,
            "t%u was told aborted, and it was done", index);
  sim_check(s, done == 0 || done == writing, SIM_AC1, "t%u is in %u of %u databases", index, done,
            writing);
  bool committed = txn->told == VOW_OUTCOME_COMMITTED;
  sim_check(s, !committed || done > 0 || writing == 0, SIM_AC2,
            "t%u was told committed, and nothing of it was done", index);
  if (committed && writing == SIM_PARTICIPANTS_MAX) sim_probe(s, SIM_PROBE_SIX);
}

/* C8: of all that were begun with a key, at most one commits. */
static void check_keys(struct sim *s) {
  for (uint32_t i = 0; i < s->plan_count; i++) {
    uint32_t effects = 0;
    if (s->plans[i].key[0] == '\0' || s->plans[i].key_purged) continue;
    for (uint32_t t = 0; t < s->txn_count; t++) {
      if (s->txns[t].plan != i || s->txns[t].meddled) continue;
      effects += s->txns[t].branch_count > 0 && s->txns[t].branches[0].applied > 0;
    }
    sim_check(s, effects <= 1, SIM_C8, "key %s took effect %u times", s->plans[i].key, effects);
  }
}

/* AC4: nothing went wrong and everybody agreed, so everything committed. */
static void check_fair_weather(struct sim *s) {
  if (s->faults != 0 || s->set.crashes[0].action != 0) return;
  sim_probe(s, SIM_PROBE_ALL_YES);
  for (uint32_t i = 0; i < s->plan_count; i++) {
    if (s->plans[i].left_out) continue;
    sim_check(s, s->plans[i].told == VOW_OUTCOME_COMMITTED, SIM_AC4,
              "client %u was told %s in fair weather", i, vow_outcome_name(s->plans[i].told));
  }
}

void sim_check_end(struct sim *s) {
  for (uint32_t t = 0; t < s->txn_count; t++) {
    check_o1(s, t);
    check_done(s, t);
  }
  check_keys(s);
  check_fair_weather(s);
}
