/*
 * An application and its database behind a participant: one piece of work a branch, none, prepared
 * or committed. An abort takes prepared work away. Whoever calls the callbacks must call them as
 * participant.h promises: that is checked here (M1).
 */
#include "sim.h"

enum vow_vote sim_db_vote(struct sim *s, uint32_t txn, uint32_t branch) {
  enum vow_vote vote = sim_plan_branch(s, txn, branch)->vote;
  if (vote == VOW_VOTE_COMMIT && sim_fault(s, SIM_FAULT_VOTE_NO, 60)) return VOW_VOTE_ABORT;
  return vote;
}

void sim_db_prepare(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch) {
  enum sim_work *work = &p->work[txn][branch - 1];
  sim_check(s, *work == SIM_WORK_NONE, SIM_M1, "t%u/%u is prepared at p%u over work that is there",
            txn, branch, p->number);
  sim_check(s, s->txns[txn].branches[branch - 1].acknowledged == VOW_OUTCOME_NONE, SIM_P4,
            "t%u/%u is prepared at p%u after its end was acknowledged", txn, branch, p->number);
  /* What was undone before any vote was given may be done again. */
  s->txns[txn].branches[branch - 1].undone = 0;
  *work = SIM_WORK_PREPARED;
  p->work_is_hollow[txn][branch - 1] = s->mistake == SIM_MISTAKE_HOLLOW_VOTE;
}

void sim_db_commit(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch) {
  enum sim_work *work = &p->work[txn][branch - 1];
  /* Where nothing is promised, an abort may have undone it, and found no room for its record. */
  sim_check(s, *work != SIM_WORK_NONE || s->txns[txn].unpromised, SIM_M1,
            "t%u/%u commits at p%u, but nothing was prepared", txn, branch, p->number);
  if (*work == SIM_WORK_COMMITTED) { /* a callback that a crash interrupted comes again */
    if (s->mistake == SIM_MISTAKE_TWICE) sim_effect(s, txn, branch, true);
    return;
  }
  *work = SIM_WORK_COMMITTED;
  p->work_is_volatile[txn][branch - 1] = false;
  sim_effect(s, txn, branch, true);
}

void sim_db_abort(struct sim *s, struct sim_participant *p, uint32_t txn, uint32_t branch) {
  enum sim_work *work = &p->work[txn][branch - 1];
  sim_check(s, *work != SIM_WORK_COMMITTED || s->txns[txn].unpromised, SIM_M1,
            "t%u/%u aborts at p%u after it committed", txn, branch, p->number);
  *work = SIM_WORK_NONE;
  p->work_is_volatile[txn][branch - 1] = false;
  sim_effect(s, txn, branch, false);
}

/* A mistake's database loses what it had committed, long after everybody heard of it. */
static bool loses_commit(struct sim *s, const struct sim_participant *p, uint32_t txn,
                         uint32_t branch) {
  if (s->mistake != SIM_MISTAKE_WORK_LOST || p->work[txn][branch - 1] != SIM_WORK_COMMITTED) {
    return false;
  }
  const struct vow_txn *row = sim_c_row(s, txn);
  const struct sim_txn *t = &s->txns[txn];
  /* Never all that there is of a transaction: then it were a lie that was told (AC2). */
  if (branch != 1 || t->branch_count < 2 || t->branches[1].applied == 0) return false;
  return (row == NULL || row->ended_ms != 0) && sim_chance(s, 200);
}

/* Where prepare leaves nothing behind, work without a durable vote is gone. */
void sim_db_crash(struct sim *s, struct sim_participant *p) {
  for (uint32_t t = 0; t < s->txn_count; t++) {
    for (uint32_t b = 0; b < s->txns[t].branch_count; b++) {
      enum vow_precord_kind kind = p->log[t][b].kind;
      bool voted = kind == VOW_PRECORD_PREPARED || kind == VOW_PRECORD_DECIDED;
      if (p->work_is_volatile[t][b] && !voted) {
        p->work[t][b] = SIM_WORK_NONE;
        p->work_is_volatile[t][b] = false;
      }
      if (loses_commit(s, p, t, b + 1)) p->work[t][b] = SIM_WORK_NONE;
    }
  }
}
