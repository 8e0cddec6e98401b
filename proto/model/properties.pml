/*
 * The properties, by their names in ../README.md. Spin prints an assertion that fails as
 * it is written, so each carries its name, as a variable that is never true: "assertion violated
 * (broken_AC1||...)".
 */
bool broken_AC1, broken_AC2, broken_AC3, broken_AC4, broken_AC5;
bool broken_D1, broken_V1, broken_M1, broken_O1;
bool broken_P1, broken_P2, broken_P4, broken_P5, broken_P6;
bool broken_C1, broken_C4, broken_C5, broken_C7, broken_C12;

/* What a user of vow sees, and the rules that bring it about. */
#define OUTCOME(name, condition) assert(broken_##name || (condition))
#ifdef OUTCOMES_ONLY
#define RULE(name, condition) true
#else
#define RULE(name, condition) assert(broken_##name || (condition))
#endif

/* A branch whose own word does not count: it only read, somebody broke its promise on purpose, its
 * disk is gone, or an operator guessed. */
#define excused(k) (reads_only[k] || by_hand[k] != o_none || lost_all[k] || guessed)
#define all_only_read EVERY(reads_only_)
#define reads_only_(k) reads_only[k]

/* AC2: anyone is told an outcome. What nobody changed has no outcome that matters (C3). */
#define did_so(k) (excused(k) || effect[k] == o_none || effect[k] == told)
inline tell(o) {
  OUTCOME(AC2, told == o_none || told == o || all_only_read || guessed);
  told = o;
  OUTCOME(AC2, EVERY(did_so))
}

/* D1 and C1: whatever reveals a commit waits for the record; a one-phase commit is the branch's. */
#define commit_is_durable (log_d == l_commit || log_d == l_committed || all_only_read)
/* C1: the record names every prepared branch. */
#define named_if_prepared(k) (named[k] || vote_d[k] != p_yes || reads_only[k])
#define record_names_all \
  (all_only_read || losses > 0 || log_d == l_committed || EVERY(named_if_prepared))

/* AC1, AC2, M1: branch `me` ends by the coordinator's word, or by the decision it was handed. */
#define agrees(k) (excused(k) || effect[k] == o_none || effect[k] == effect[me])
inline take_effect(me, o) {
  if
  :: o == o_commit -> applied[me]++
  :: else
  fi;
  OUTCOME(M1, applied[me] <= 1);
  OUTCOME(AC1, effect[me] == o_none || effect[me] == o || excused(me));
  effect[me] = o;
  OUTCOME(AC1, excused(me) || EVERY(agrees));
  OUTCOME(AC2, told == o_none || told == o || excused(me))
}
/* AC3: the decision is being written. A heuristic end is no withdrawal of the vote. */
#define promised(k) \
  (vote_d[k] == p_yes || vote_d[k] == p_h_commit || vote_d[k] == p_h_abort || excused(k))
#define check_decision() OUTCOME(AC3, EVERY(promised))

/* ---- at rest: everything that could happen has happened ---- */

#define branch_ended(k)                                                                  \
  (vote_v[k] == vote_d[k] && vote_v[k] != p_yes && vote_v[k] != p_decided)
#define nothing_prepared(k) (rm[k] != rm_prepared && rm[k] != rm_orphaned)
#define has_taken_effect(k) (rm[k] == rm_committed || reads_only[k])
#define coordinator_ended (state == c_ended || state == c_unknown || state == c_purged || \
                           state == c_quarantine)
/* The client asks until it is answered; it is not, where the log may have lost the transaction or has
 * purged it. */
#define answered (told != o_none || quarantine || state == c_purged || all_only_read)

/* C7: what a branch did against the decision is kept by itself or by the coordinator until an
 * operator has forgotten it. */
#define differs(k)                                                                       \
  (!reads_only[k] && ((told == o_commit && rm[k] != rm_committed) ||                     \
                      (told == o_abort && rm[k] == rm_committed)))
#define on_record(k)                                                                     \
  (!differs(k) || told_to_forget[k] || heur_d != h_none || guessed ||                    \
   vote_d[k] == p_h_commit || vote_d[k] == p_h_abort)

/* C7: the merged outcome is the truth about all branches: "mixed" is none where all did the same, a
 * hazard none where nobody has lost anything. After a reconciliation that did not ask all it counts
 * those that the record names, and no more is promised. */
#define only_reads(k)    (reads_only[k] && rm[k] != rm_committed)
#define did_commit(k)    (only_reads(k) || settled[k] || lost_all[k] || rm[k] == rm_committed)
#define did_abort(k)     (only_reads(k) || lost_all[k] || r_no[k] || rm[k] != rm_committed)
#define has_lost_all(k)  (lost_all[k])
#define voted_no(k)      (r_no[k]) /* and counts as aborted, whatever became of it */
#define has_forgotten(k) (told_to_forget[k])
#define truth_of(merged)                                                                 \
  ((merged != h_commit || EVERY(did_commit)) && (merged != h_abort || EVERY(did_abort)) && \
   (merged != h_mixed || SOME(has_lost_all) || SOME(voted_no) || SOME(is_settled) ||     \
    !(EVERY(did_commit) || EVERY(did_abort))) &&                                         \
   (merged != h_hazard || SOME(has_lost_all)))
#define merged_is_true (guessed || unheard || SOME(has_forgotten) || truth_of(heur_v))

/* C5: nobody whom the record names is still waiting. */
#define not_waiting(k) (!named[k] || vote_d[k] != p_yes || settled[k] || excused(k))
#define may_be_finished \
  ((log_d == l_committed || log_d == l_ended || log_d == l_purged || log_d == l_none) && \
   EVERY(not_waiting))

inline check_rest() {
  OUTCOME(AC5, healed && EVERY(branch_ended) && coordinator_ended && answered);
  OUTCOME(O1, EVERY(nothing_prepared));
  OUTCOME(AC4, bad_weather || (told != o_abort && EVERY(has_taken_effect)));
  RULE(C7, EVERY(on_record))
}
