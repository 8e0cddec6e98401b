/*
 * The ledger: what the world saw, an entry an id. What was told, what took effect, what was
 * promised; and the properties that belong to one event, checked when it happens: what is told
 * (AC2, D1, C6, C8), what is sent (D1, C5, one at a time), what a participant says (V1, P2, P6).
 */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* ---- who is who ---- */

uint32_t sim_txn_of(struct sim *s, struct vow_id id) {
  for (uint32_t i = s->txn_count; i-- > 0;) {
    if (vow_id_compare(s->txns[i].id, id) == 0) return i;
  }
  if (s->txn_count == SIM_TXNS_MAX) sim_fail(s, SIM_B1, "more ids than a run may have");
  uint32_t index = s->txn_count++;
  s->txns[index] = (struct sim_txn){.id = id, .plan = SIM_PLANS_MAX};
  return index;
}

/* C6: ids grow, and none is issued below what was called finished. */
static void check_new_id(struct sim *s, struct sim_coordinator *c, struct vow_id id) {
  /* How far the ids of a lost log had come is known from those that participants heard of. */
  bool excused = c->restores > 0;
  sim_check(s, vow_id_compare(id, c->newest_before) > 0 || excused, SIM_C6,
            "an id is not above those of earlier runs");
  sim_check(s, vow_id_compare(id, c->sent_below) >= 0 || excused, SIM_C5,
            "an id was issued below a finished_below that was sent");
  sim_check(s, !vow_id_in_gap(c->disk.gaps, c->disk.gap_count, id), SIM_C6,
            "an id was issued that the log says was not");
  if (vow_id_compare(id, c->newest_id) > 0) c->newest_id = id;
}

/* Learns who the branches are: the plan's number travels as metadata, a branch's in its name. */
void sim_see(struct sim *s, struct sim_coordinator *c, const struct vow_txn *image) {
  uint32_t index = sim_txn_of(s, image->id);
  struct sim_txn *txn = &s->txns[index];
  if (txn->plan == SIM_PLANS_MAX) {
    txn->plan = (uint32_t)strtoul(image->metadata + strlen("{\"n\":"), NULL, 10);
    txn->coordinator = c->number;
    check_new_id(s, c, image->id);
  }
  sim_check(s, txn->coordinator == c->number, SIM_CONTRACT, "c%u has t%u, which is c%u's",
            c->number, index, txn->coordinator);
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

const struct sim_record *sim_record_of(const struct sim *s, uint32_t txn, uint32_t branch) {
  return &s->p[s->txns[txn].branches[branch - 1].participant].log[txn][branch - 1];
}

bool sim_only_read(const struct sim *s, const struct sim_txn *txn) {
  if (txn->plan == SIM_PLANS_MAX) return false;
  for (uint32_t i = 0; i < txn->branch_count; i++) {
    if (!txn->branches[i].read_only_sent) return false;
  }
  return txn->branch_count <= s->plans[txn->plan].branch_count;
}

/* ---- what is told ---- */

static bool commit_is_durable(const struct sim *s, const struct sim_txn *txn) {
  if (txn->committed || sim_only_read(s, txn)) return true;
  /* In one phase the branch keeps the outcome. */
  if (!txn->one_phase || txn->branch_count != 1) return false;
  return txn->branches[0].acknowledged == VOW_OUTCOME_COMMITTED || txn->branches[0].heuristic;
}

void sim_told(struct sim *s, struct vow_id id, enum vow_outcome outcome, const char *whom) {
  uint32_t index = sim_txn_of(s, id);
  struct sim_txn *txn = &s->txns[index];
  if (outcome == VOW_OUTCOME_NONE) return;
  bool changed = txn->told != VOW_OUTCOME_NONE && txn->told != outcome && !txn->overruled;
  sim_check(s, !changed || sim_only_read(s, txn), SIM_AC2, "t%u was told %s, now %s is told %s",
            index, vow_outcome_name(txn->told), whom, vow_outcome_name(outcome));
  txn->told = outcome;
  txn->dirty = true;
  sim_check(s, outcome != VOW_OUTCOME_COMMITTED || commit_is_durable(s, txn), SIM_D1,
            "%s is told that t%u committed, which is on no disk", whom, index);
}

/* C8: a begin that is repeated with its key gets the answer it got, but for what an operator has
 * said untruly of a delegate: once that word is lost, the truth is told. */
void sim_told_key(struct sim *s, uint32_t txn, struct sim_plan *plan, enum vow_outcome outcome) {
  if (plan->key[0] == '\0' || plan->key_purged || outcome == VOW_OUTCOME_NONE) return;
  if (s->txns[txn].overruled) return;
  sim_check(s, plan->key_told == VOW_OUTCOME_NONE || plan->key_told == outcome, SIM_C8,
            "key %s was answered %s, now %s", plan->key, vow_outcome_name(plan->key_told),
            vow_outcome_name(outcome));
  plan->key_told = outcome;
}

/* A key is known for as long as its transaction is in the history. */
void sim_purged(struct sim *s, uint32_t txn) {
  if (s->txns[txn].plan == SIM_PLANS_MAX) return;
  s->plans[s->txns[txn].plan].key_purged = true;
}

/* ---- what is sent ---- */

static void check_finished_below(struct sim *s, struct sim_coordinator *c, struct vow_id below) {
  if (vow_id_compare(below, c->sent_below) <= 0) return;
  c->sent_below = below;
  for (uint32_t i = 0; i < s->txn_count; i++) {
    if (s->txns[i].coordinator != c->number || vow_id_compare(s->txns[i].id, below) >= 0) continue;
    const struct vow_txn *row = sim_c_row(s, i);
    sim_check(s, row == NULL || row->ended_ms != 0, SIM_C5,
              "finished_below passes t%u, which is open in the log", i);
    sim_check(s, vow_core_find(c->core, s->txns[i].id) == NULL, SIM_C5,
              "finished_below passes t%u, which is open", i);
  }
}

void sim_check_send(struct sim *s, struct sim_coordinator *c, const struct vow_action *action,
                    uint32_t part) {
  const struct vow_action_message *message = &action->u.send.messages[part];
  sim_see(s, c, message->txn);
  uint32_t index = sim_txn_of(s, message->txn->id);
  struct sim_txn *txn = &s->txns[index];
  const struct vow_txn *row = sim_c_row(s, index);

  sim_check(s, txn->branches[message->branch->number - 1].under_way == 0, SIM_ONE,
            "t%u/%u gets a %s while another message is under way", index, message->branch->number,
            vow_message_type_name(message->type));
  if (message->type == VOW_MESSAGE_COMMIT) {
    bool decided = row != NULL && row->state == VOW_TXN_COMMITTING;
    sim_check(s, decided, SIM_D1, "commit of t%u leaves before its decision is durable", index);
  }
  if (message->one_phase) {
    sim_check(s, row != NULL && row->delegated, SIM_D1, "t%u is handed over before that is durable",
              index);
    txn->one_phase = true;
  }
  if (message->type == VOW_MESSAGE_FORGET) {
    sim_check(s, row != NULL && row->forgotten, SIM_D1, "forget leaves before it is durable");
  }
  check_finished_below(s, c, action->u.send.finished_below);
}

/* ---- what a participant says ---- */

/* V1: the vote is on the disk, and so is the work that it promises to commit. */
static void check_vote(struct sim *s, const struct sim_participant *p,
                       const struct sim_request *request, const struct vow_message_reply *reply) {
  uint32_t t = request->txn, b = request->branch;
  enum vow_precord_kind kind = p->log[t][b - 1].kind;
  enum sim_work work = p->work[t][b - 1];

  if (reply->vote == VOW_VOTE_READ_ONLY) s->txns[t].branches[b - 1].read_only_sent = true;
  if (reply->vote == VOW_VOTE_READ_ONLY) sim_probe(s, SIM_PROBE_READ_ONLY);
  if (reply->vote != VOW_VOTE_COMMIT) return;
  bool settled = kind >= VOW_PRECORD_COMMITTED && kind != VOW_PRECORD_READ_ONLY;
  sim_check(s, kind == VOW_PRECORD_PREPARED || kind == VOW_PRECORD_DECIDED || settled, SIM_V1,
            "p%u votes for t%u/%u, which is not on its disk", p->number, t, b);
  /* An abort callback may have run, and its record been lost: then the decision is known anyway. */
  bool over = s->txns[t].meddled || s->txns[t].branches[b - 1].undone > 0;
  sim_check(s, work != SIM_WORK_NONE || over, SIM_V1,
            "p%u votes for t%u/%u, but its database has no such work", p->number, t, b);
  sim_check(s, !p->work_is_hollow[t][b - 1], SIM_V1,
            "p%u votes for t%u/%u, and a crash would take its work", p->number, t, b);
}

/* P2: what was done is on the disk. */
static void check_done(struct sim *s, const struct sim_participant *p,
                       const struct sim_request *request, enum vow_outcome outcome,
                       bool read_only) {
  enum sim_work work = p->work[request->txn][request->branch - 1];
  enum vow_precord_kind kind = p->log[request->txn][request->branch - 1].kind;

  if (outcome != VOW_OUTCOME_COMMITTED) {
    sim_check(s, work == SIM_WORK_NONE, SIM_P2, "p%u acknowledges an abort, but the work is there",
              p->number);
    return;
  }
  sim_check(s, work == SIM_WORK_COMMITTED || read_only, SIM_P2,
            "p%u acknowledges a commit without effect", p->number);
  sim_check(s, kind == VOW_PRECORD_COMMITTED || read_only, SIM_P2,
            "p%u acknowledges a commit that is not on its disk", p->number);
  if (request->type == VOW_MESSAGE_PREPARE && !read_only) sim_probe(s, SIM_PROBE_ONE_PHASE);
}

/* P3, P6: the truth, and always the same. */
static void check_outcome(struct sim *s, const struct sim_participant *p,
                          const struct sim_request *request, enum vow_outcome outcome) {
  struct sim_ledger_branch *branch = &s->txns[request->txn].branches[request->branch - 1];

  if (s->txns[request->txn].unpromised) {
    branch->acknowledged = outcome;
    return;
  }
  if (outcome != VOW_OUTCOME_COMMITTED && outcome != VOW_OUTCOME_ABORTED) {
    sim_check(s, branch->heuristic || s->txns[request->txn].overruled, SIM_P6,
              "p%u calls t%u/%u heuristic, but nobody touched it", p->number, request->txn,
              request->branch);
    return;
  }
  bool again = branch->acknowledged == VOW_OUTCOME_NONE || branch->acknowledged == outcome;
  sim_check(s, again || branch->read_only_sent, SIM_AC2,
            "p%u acknowledges t%u/%u as %s, but it was %s", p->number, request->txn,
            request->branch, vow_outcome_name(outcome), vow_outcome_name(branch->acknowledged));
  branch->acknowledged = outcome;
  /* That it only reads is perhaps on its disk, and nobody heard of it. */
  bool reads = sim_record_of(s, request->txn, request->branch)->kind == VOW_PRECORD_READ_ONLY;
  check_done(s, p, request, outcome, reads || branch->read_only_sent);
}

void sim_check_participant_reply(struct sim *s, const struct sim_participant *p,
                                 const struct sim_request *request,
                                 const struct vow_message_reply *reply) {
  if (request->type == VOW_MESSAGE_PREPARE) check_vote(s, p, request, reply);
  if (reply->outcome != VOW_OUTCOME_NONE) check_outcome(s, p, request, reply->outcome);
}

/* P4: an end that somebody may conclude from the answer is there after a crash: the branch's
 * record, or the watermark in its place. */
void sim_check_ended(struct sim *s, const struct sim_participant *p,
                     const struct sim_request *request, const struct sim_reply *reply) {
  const struct sim_txn *txn = &s->txns[request->txn];
  bool gone = request->type == VOW_MESSAGE_ABORT && reply->kind == VOW_REPLY_UNKNOWN_BRANCH;
  bool no = request->type == VOW_MESSAGE_PREPARE && reply->kind == VOW_REPLY_ANSWERED &&
            reply->vote == VOW_VOTE_ABORT && txn->one_phase;
  bool known = p->log[request->txn][request->branch - 1].kind != VOW_PRECORD_NONE;
  bool below = vow_id_compare(txn->id, p->watermark[txn->coordinator]) < 0;
  sim_check(s, !(gone || no) || known || below, SIM_P4,
            "p%u answers that t%u/%u has ended, and a crash would undo that", p->number,
            request->txn, request->branch);
}

/* ---- what is reconciled ---- */

/* C12: what was told or done is not decided otherwise; and only what was decided commits. What only
 * read has nothing that could differ (C3). */
void sim_check_reconciled(struct sim *s, const struct vow_txn *image) {
  uint32_t index = sim_txn_of(s, image->id);
  const struct sim_txn *txn = &s->txns[index];
  bool commit = image->state == VOW_TXN_COMMITTING, done = false, undone = false;
  if (txn->meddled || sim_only_read(s, txn)) return;
  for (uint32_t b = 0; b < txn->branch_count; b++) {
    enum vow_precord_kind kind = sim_record_of(s, index, b + 1)->kind;
    done |= txn->branches[b].applied > 0 || kind == VOW_PRECORD_DECIDED;
    undone |= txn->branches[b].undone > 0;
  }
  sim_check(s, commit || (!done && txn->told != VOW_OUTCOME_COMMITTED), SIM_C12,
            "t%u is reconciled as aborted, and it had committed", index);
  sim_check(s, !commit || done || commit_is_durable(s, txn), SIM_C12,
            "t%u is reconciled as committed, and that was not decided", index);
  sim_check(s, !commit || (!undone && txn->told != VOW_OUTCOME_ABORTED), SIM_C12,
            "t%u is reconciled as committed, and it had aborted", index);
}

/* ---- what takes effect ---- */

void sim_effect(struct sim *s, uint32_t index, uint32_t number, bool commit) {
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
  txn->dirty = true;
}
