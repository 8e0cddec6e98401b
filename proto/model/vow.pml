/*
 * The vow protocol, version 1 (../README.md): one transaction, its coordinator and N participants,
 * for Spin. README.md beside this file says what is modelled, what is left out and why that is
 * sound, and how to run it. check.py runs every configuration and every seeded mistake.
 *
 * A configuration is a set of -D switches:
 *   N=2            branches
 *   FAULTS=2       how many crashes, power cuts and failed syncs may happen, on all sides together
 *   READ_ONLY      a branch may vote read-only
 *   ONE_PHASE      the only branch (N=1) is asked to commit in one phase
 *   HEURISTIC      an operator of a participant may end a branch that is in doubt
 *   AMNESIA        a participant may lose its log and its database once
 *   HISTORY        tombstones are purged below the watermark, the coordinator's history by age
 *   RESOLVE        an operator of the coordinator may settle a branch by hand (C10)
 *   LOSS           the coordinator's log may lose records: restored from a backup, or a lost tail
 *   LOSSES=1       how often
 *   WITHOUT        an operator may end the quarantine though a branch was not asked
 *   BUG_...        a seeded mistake; README.md has the table
 *   OUTCOMES_ONLY  only the properties that a user sees are checked (AC1 to AC5, M1, O1), not the
 *                  rules that bring them about: shows what breaking a rule costs
 *
 * Every step of a process is atomic, and each is one write, one sync, one message or one effect: a
 * crash may come between any two. The pieces:
 */
#ifndef N
#define N 2
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef LOSSES
#define LOSSES 1
#endif

#include "state.pml"       /* what is on disk, in memory and on the wire */
#include "properties.pml"  /* the invariants, by their names in ../README.md */
#include "participant.pml" /* P1 to P9 */
#include "coordinator.pml" /* C1 to C7, C10 */

/* Once, at any moment, the failures end. What was on the way is lost, so that only what is sent
 * again can help; from here on there are no faults. */
proctype failures_heal() {
  byte k;
  atomic {
    healed = true;
    for (k : 0 .. N - 1) { lose_messages(k) }
    m_below = false;
    printf("--- the failures heal; every message under way was lost ---\n")
  }
}

/* `timeout` is true when no other process can take a step. Every step moves forward (a run with
 * -DNP shows that there is no cycle), so every run comes here. */
proctype at_rest() {
  byte k;
end:
  atomic { timeout -> check_rest() }
}

init {
  byte k;
  atomic {
    for (k : 0 .. N - 1) {
      vote_v[k] = p_none; vote_d[k] = p_none; said[k] = p_none; rm[k] = rm_idle;
      run participant(k)
    }
    run coordinator();
    run failures_heal();
    run at_rest()
  }
}
