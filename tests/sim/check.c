/*
 * The ledger, and the properties of DESIGN section 7, a function a property. The ledger holds what
 * the world saw: what was told, what took effect, what was promised.
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* ---- the ledger ---- */

uint32_t sim_txn_of(struct sim *s, struct vow_id id) {
  for (uint32_t i = s->txn_count; i-- > 0;) {
    if (vow_id_compare(s->txns[i].id, id) == 0) return i;
  }
  if (s->txn_count == SIM_TXNS_MAX) sim_fail(s, SIM_LIVENESS, "B1: more ids than a run may have");
  uint32_t index = s->txn_count++;
  s->txns[index] = (struct sim_txn){.id = id, .plan = SIM_PLANS_MAX};
  return index;
}

/* C6: ids grow, and none is issued below what was called finished. */
static void check_new_id(struct sim *s, struct vow_id id) {
  sim_check(s, vow_id_compare(id, s->c.newest_before) > 0, "C6",
            "an id is not above those of earlier runs");
  sim_check(s, vow_id_compare(id, s->finished_below) >= 0, "C5",
            "an id was issued below a finished_below that was sent");
  if (vow_id_compare(id, s->newest_id) > 0) s->newest_id = id;
}

/* Learns who the branches are: the plan's number travels as metadata, a branch's in its name. */
void sim_see(struct sim *s, const struct vow_txn *image) {
  uint32_t index = sim_txn_of(s, image->id);
  struct sim_txn *txn = &s->txns[index];
  if (txn->plan == SIM_PLANS_MAX) {
    txn->plan = (uint32_t)strtoul(image->metadata + strlen("{\"n\":"), NULL, 10);
    check_new_id(s, image->id);
  }
  while (txn->branch_count < image->branch_count) {
    struct sim_ledger_branch *branch = &txn->branches[txn->branch_count];
    branch->plan_branch = (uint32_t)(image->branches[txn->branch_count].name[1] - '0');
    branch->participant = s->plans[txn->plan].branches[branch->plan_branch].participant;
    txn->branch_count++;
  }
}

const struct sim_plan_branch *sim_plan_branch(const struct sim *s, uint32_t txn, uint32_t branch) {
  const struct sim_txn *t = &s->txns[txn];
  return &s->plans[t->plan].branches[t->branches[branch - 1].plan_branch];
}

static const struct sim_record *record_of(const struct sim *s, uint32_t txn, uint32_t branch) {
  return &s->p[s->txns[txn].branches[branch - 1].participant].log[txn][branch - 1];
}

/* Nothing depends on the decision of one whose branches all read (C3): it needs no record. */
static bool only_read(const struct sim *s, const struct sim_txn *txn) {
  const struct sim_plan *plan = &s->plans[txn->plan];
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    if (!txn->branches[i].read_only_sent) return false;
  }
  return txn->branch_count <= plan->branch_count;
}

/* ---- AC2, D1: what is told ---- */

static bool commit_is_durable(struct sim *s, uint32_t index) {
  const struct sim_txn *txn = &s->txns[index];
  const struct vow_txn *row = sim_c_row(s, index);
  if (row != NULL && (row->state == VOW_TXN_COMMITTING || row->state == VOW_TXN_COMMITTED)) {
    return true;
  }
  if (only_read(s, txn)) return true;
  /* In one phase the branch keeps the outcome. */
  if (!txn->one_phase || txn->branch_count != 1) return false;
  return txn->branches[0].acknowledged == VOW_OUTCOME_COMMITTED || txn->branches[0].heuristic;
}

void sim_told(struct sim *s, struct vow_id id, enum vow_outcome outcome, const char *whom) {
  uint32_t index = sim_txn_of(s, id);
  struct sim_txn *txn = &s->txns[index];
  if (outcome == VOW_OUTCOME_NONE) return;
  bool changed = txn->told != VOW_OUTCOME_NONE && txn->told != outcome && !txn->overruled;
  if (changed && txn->plan != SIM_PLANS_MAX && only_read(s, txn)) changed = false;
  sim_check(s, !changed, "AC2", "t%u was told %s, now %s is told %s", index,
            vow_outcome_name(txn->told), whom, vow_outcome_name(outcome));
  txn->told = outcome;
  if (outcome == VOW_OUTCOME_COMMITTED) {
    sim_check(s, commit_is_durable(s, index), "D1",
              "%s is told that t%u committed, which is on no disk", whom, index);
  }
}

/* C8: a begin that is repeated with its key gets the answer it got. */
void sim_told_key(struct sim *s, struct sim_plan *plan, enum vow_outcome outcome) {
  if (plan->key[0] == '\0' || outcome == VOW_OUTCOME_NONE) return;
  sim_check(s, plan->key_told == VOW_OUTCOME_NONE || plan->key_told == outcome, "C8",
            "key %s was answered %s, now %s", plan->key, vow_outcome_name(plan->key_told),
            vow_outcome_name(outcome));
  plan->key_told = outcome;
}

/* ---- D1, C5: what is sent ---- */

static void check_finished_below(struct sim *s, struct vow_id below) {
  if (vow_id_compare(below, s->finished_below) > 0) s->finished_below = below;
  for (uint32_t i = 0; i < s->txn_count; i++) {
    const struct vow_txn *row = sim_c_row(s, i);
    if (vow_id_compare(s->txns[i].id, below) >= 0) continue;
    sim_check(s, row == NULL || row->ended_ms != 0, "C5",
              "finished_below passes t%u, which is open in the log", i);
    sim_check(s, vow_core_find(s->c.core, s->txns[i].id) == NULL, "C5",
              "finished_below passes t%u, which is open", i);
  }
}

void sim_check_send(struct sim *s, const struct vow_action *action, uint32_t part) {
  const struct vow_action_message *message = &action->u.send.messages[part];
  sim_see(s, message->txn);
  uint32_t index = sim_txn_of(s, message->txn->id);
  struct sim_txn *txn = &s->txns[index];
  const struct vow_txn *row = sim_c_row(s, index);

  sim_check(s, txn->branches[message->branch->number - 1].under_way == 0, "one at a time",
            "t%u/%u gets a %s while another message is under way", index, message->branch->number,
            vow_message_type_name(message->type));
  if (message->type == VOW_MESSAGE_COMMIT) {
    bool decided = row != NULL && row->state == VOW_TXN_COMMITTING;
    sim_check(s, decided, "D1", "commit of t%u leaves before its decision is durable", index);
  }
  if (message->one_phase) {
    sim_check(s, row != NULL && row->delegated, "D1", "t%u is handed over before that is durable",
              index);
    txn->one_phase = true;
  }
  if (message->type == VOW_MESSAGE_FORGET) {
    sim_check(s, row != NULL && row->forgotten, "D1", "forget leaves before it is durable");
  }
  check_finished_below(s, action->u.send.finished_below);
}

/* AC3: at the decision every branch has promised, durably, or only reads. */
void sim_check_decision(struct sim *s, const struct vow_txn *image) {
  uint32_t index = sim_txn_of(s, image->id);
  const struct sim_txn *txn = &s->txns[index];
  if (image->state != VOW_TXN_COMMITTING || txn->meddled) return;
  for (uint32_t i = 0; i < image->branch_count; i++) {
    enum vow_precord_kind kind = record_of(s, index, i + 1)->kind;
    bool promised = kind == VOW_PRECORD_PREPARED || kind == VOW_PRECORD_DECIDED ||
                    kind == VOW_PRECORD_COMMITTED;
    sim_check(s, promised || txn->branches[i].read_only_sent, "AC3",
              "t%u commits, but its branch %u has not voted for it durably", index, i + 1);
  }
}

/* ---- V1: what a participant says ---- */

static void check_vote(struct sim *s, const struct sim_participant *p,
                       const struct sim_request *request, const struct vow_message_reply *reply) {
  uint32_t t = request->txn, b = request->branch;
  enum vow_precord_kind kind = p->log[t][b - 1].kind;
  enum sim_work work = p->work[t][b - 1];

  if (reply->vote == VOW_VOTE_READ_ONLY) s->txns[t].branches[b - 1].read_only_sent = true;
  if (reply->vote == VOW_VOTE_READ_ONLY) sim_probe(s, SIM_PROBE_READ_ONLY);
  if (reply->vote != VOW_VOTE_COMMIT) return;
  bool settled = kind >= VOW_PRECORD_COMMITTED && kind != VOW_PRECORD_READ_ONLY;
  sim_check(s, kind == VOW_PRECORD_PREPARED || kind == VOW_PRECORD_DECIDED || settled, "V1",
            "p%u votes for t%u/%u, which is not on its disk", p->number, t, b);
  /* An abort callback may have run, and its record been lost: then the decision is known anyway. */
  bool over = s->txns[t].meddled || s->txns[t].branches[b - 1].undone > 0;
  sim_check(s, work != SIM_WORK_NONE || over, "V1",
            "p%u votes for t%u/%u, but its database has no such work", p->number, t, b);
}

/* P2, P3, P6: the truth, on the disk, and always the same. */
static void check_outcome(struct sim *s, const struct sim_participant *p,
                          const struct sim_request *request, enum vow_outcome outcome) {
  struct sim_ledger_branch *branch = &s->txns[request->txn].branches[request->branch - 1];
  enum sim_work work = p->work[request->txn][request->branch - 1];
  bool plain = outcome == VOW_OUTCOME_COMMITTED || outcome == VOW_OUTCOME_ABORTED;

  if (!plain) {
    sim_check(s, branch->heuristic, "P6", "p%u calls t%u/%u heuristic, but nobody touched it",
              p->number, request->txn, request->branch);
    return;
  }
  bool again = branch->acknowledged == VOW_OUTCOME_NONE || branch->acknowledged == outcome;
  sim_check(s, again || branch->read_only_sent, "AC2",
            "p%u acknowledges t%u/%u as %s, but it was %s", p->number, request->txn,
            request->branch, vow_outcome_name(outcome), vow_outcome_name(branch->acknowledged));
  branch->acknowledged = outcome;
  if (outcome == VOW_OUTCOME_COMMITTED && !branch->read_only_sent) {
    sim_check(s, work == SIM_WORK_COMMITTED, "P2", "p%u acknowledges a commit without effect",
              p->number);
    if (request->type == VOW_MESSAGE_PREPARE) sim_probe(s, SIM_PROBE_ONE_PHASE);
  }
  if (outcome == VOW_OUTCOME_COMMITTED) {
    enum vow_precord_kind kind = p->log[request->txn][request->branch - 1].kind;
    bool kept = kind == VOW_PRECORD_COMMITTED || branch->read_only_sent;
    sim_check(s, kept, "P2", "p%u acknowledges a commit that is not on its disk", p->number);
  } else {
    sim_check(s, work == SIM_WORK_NONE, "P2", "p%u acknowledges an abort, but the work is there",
              p->number);
  }
}

void sim_check_participant_reply(struct sim *s, const struct sim_participant *p,
                                 const struct sim_request *request,
                                 const struct vow_message_reply *reply) {
  if (request->type == VOW_MESSAGE_PREPARE) check_vote(s, p, request, reply);
  if (reply->outcome != VOW_OUTCOME_NONE) check_outcome(s, p, request, reply->outcome);
}

/* ---- AC1, M1: what takes effect ---- */

void sim_check_effect(struct sim *s, uint32_t index, uint32_t number, bool commit) {
  struct sim_txn *txn = &s->txns[index];
  struct sim_ledger_branch *branch = &txn->branches[number - 1];
  /* A read-only vote is not forced: after a crash its branch may be aborted, with nothing to undo.
   */
  if (!commit && branch->read_only_sent) return;
  if (commit) {
    branch->applied++;
  } else {
    branch->undone++;
  }
  sim_check(s, branch->applied <= 1, "M1", "t%u/%u takes effect %u times", index, number,
            branch->applied);
  if (txn->meddled) return;
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    const struct sim_ledger_branch *other = &txn->branches[i];
    bool differs = commit ? other->undone > 0 : other->applied > 0;
    sim_check(s, !differs, "AC1", "t%u/%u %s, but its branch %u %s", index, number,
              commit ? "commits" : "aborts", i + 1, commit ? "aborted" : "committed");
  }
  enum vow_outcome against = commit ? VOW_OUTCOME_ABORTED : VOW_OUTCOME_COMMITTED;
  sim_check(s, txn->told != against, "AC2", "t%u/%u %s, but %s was told", index, number,
            commit ? "commits" : "aborts", vow_outcome_name(against));
}

/* No operator, no heuristic outcome: none may appear by itself. */
void sim_check_step(struct sim *s) {
  struct vow_core_counts counts;
  if (s->c.core == NULL || sim_has_operators(s)) return;
  vow_core_counts(s->c.core, &counts);
  sim_check(s, counts.open_heuristic == 0, "heuristics",
            "the coordinator reports a heuristic outcome, but nobody broke a promise");
}

/* ---- the end ---- */

static bool participant_rests(const struct sim_participant *p) {
  struct vow_pcounts counts;
  if (p->core == NULL || p->broken || p->syncing || p->queue.count > 0) return false;
  vow_pcore_counts(p->core, &counts);
  return counts.unfinished == 0;
}

/* AC5: everything has ended, and everybody who asked was answered. */
bool sim_at_rest(struct sim *s) {
  const struct vow_id nil = {{0}};
  if (s->c.core == NULL || s->c.loading || s->c.syncing || s->c.queue.position != 0) return false;
  if (vow_core_next(s->c.core, nil) != NULL) return false;
  for (uint32_t i = 0; i < s->participant_count; i++) {
    if (!participant_rests(&s->p[i])) return false;
  }
  for (uint32_t i = 0; i < s->plan_count; i++) {
    const struct sim_plan *plan = &s->plans[i];
    if (plan->state != SIM_PLAN_DONE || plan->call != 0) return false;
    if (plan->rechecks > 0 && plan->told != VOW_OUTCOME_NONE) return false;
  }
  for (uint32_t i = 0; i < SIM_CALLS_MAX; i++) {
    if (s->calls[i].in_core && s->calls[i].life == s->c.life) return false;
  }
  return true;
}

/* O1: nothing prepared is left in any database, but what an operator settled by hand. */
static void check_nothing_prepared(struct sim *s) {
  for (uint32_t p = 0; p < s->participant_count; p++) {
    for (uint32_t t = 0; t < s->txn_count; t++) {
      for (uint32_t b = 0; b < s->txns[t].branch_count; b++) {
        bool left = s->p[p].work[t][b] == SIM_WORK_PREPARED && !s->txns[t].branches[b].heuristic;
        sim_check(s, !left, "O1", "p%u still holds prepared work of t%u/%u", p, t, b + 1);
      }
    }
  }
}

/* What was told is what was done: all of it, or nothing. */
static void check_told_is_done(struct sim *s, uint32_t index) {
  const struct sim_txn *txn = &s->txns[index];
  uint32_t applied = 0, writing = 0;
  for (uint32_t b = 0; b < txn->branch_count; b++) {
    applied += txn->branches[b].applied;
    writing += !txn->branches[b].read_only_sent;
  }
  if (txn->meddled || txn->plan == SIM_PLANS_MAX) return;
  sim_check(s, applied == 0 || applied == writing, "AC1", "t%u took effect at %u of %u branches",
            index, applied, writing);
  bool committed = txn->told == VOW_OUTCOME_COMMITTED;
  sim_check(s, !committed || applied == writing, "AC1", "t%u is committed without all its effects",
            index);
  sim_check(s, txn->told != VOW_OUTCOME_ABORTED || applied == 0, "AC1",
            "t%u is aborted, but took effect", index);
}

/* C8: of all that were begun with a key, at most one commits. */
static void check_keys(struct sim *s) {
  for (uint32_t i = 0; i < s->plan_count; i++) {
    uint32_t effects = 0;
    if (s->plans[i].key[0] == '\0') continue;
    for (uint32_t t = 0; t < s->txn_count; t++) {
      if (s->txns[t].plan != i || s->txns[t].meddled) continue;
      effects += s->txns[t].branch_count > 0 && s->txns[t].branches[0].applied > 0;
    }
    sim_check(s, effects <= 1, "C8", "key %s took effect %u times", s->plans[i].key, effects);
  }
}

/* AC4: nothing went wrong and everybody agreed, so everything committed. */
static void check_fair_weather(struct sim *s) {
  if (s->faults != 0) return;
  sim_probe(s, SIM_PROBE_ALL_YES);
  for (uint32_t i = 0; i < s->plan_count; i++) {
    sim_check(s, s->plans[i].told == VOW_OUTCOME_COMMITTED, "AC4",
              "client %u was told %s in fair weather", i, vow_outcome_name(s->plans[i].told));
  }
}

void sim_check_end(struct sim *s) {
  check_nothing_prepared(s);
  for (uint32_t t = 0; t < s->txn_count; t++) check_told_is_done(s, t);
  check_keys(s);
  check_fair_weather(s);
}
