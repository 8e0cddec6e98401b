/*
 * A participant: its log, its database, and its operator. In the order of a branch's life.
 */

/* A prepare is here, and nothing that the branch remembers stands against it. */
#ifdef BUG_LATE_PREPARE
#define never_heard_of(me) (vote_v[me] == p_none || vote_v[me] == p_gone)
#else
#define never_heard_of(me) (vote_v[me] == p_none)
#endif
#define prepare_is_here(me) (m_prepare[me] || m_one_phase[me])
#define takes_prepare(me)   (prepare_is_here(me) && never_heard_of(me))
#define is_durable(me, record) (vote_v[me] == record && vote_d[me] == record)
#define is_told_abort(me) (vote_d[me] == p_aborted && heard_abort[me])
#define in_doubt(me) (is_durable(me, p_yes) && rm[me] != rm_committed)
#define is_tombstone(me)                                                         \
  (vote_v[me] == p_committed || vote_v[me] == p_aborted || vote_v[me] == p_refused || \
   vote_v[me] == p_read_only || vote_v[me] == p_forgotten)

inline roll_back(me) {
  if
  :: rm[me] == rm_prepared -> rm[me] = rm_rolled_back
  :: else
  fi
}

/* What an ended branch becomes in the log. */
#ifdef BUG_NO_TOMBSTONE
#define COMMITTED_TOMBSTONE p_none
#else
#define COMMITTED_TOMBSTONE p_committed
#endif

/* After a crash or a failed sync the log is read again: what was not synced is there, or it is not.
 * Nothing is answered before what was read has been synced. */
inline restart_participant(me) {
  if
  :: vote_v[me] = vote_d[me]
  :: vote_d[me] = vote_v[me]
  fi;
  bad_weather = true;
  if
  :: vote_d[me] == p_yes || vote_d[me] == p_decided
#ifdef BUG_NO_ORPHAN_SCAN
  :: rm[me] == rm_prepared && vote_d[me] == p_none -> rm[me] = rm_orphaned
#endif
  :: else -> roll_back(me) /* prepared in the database, without a vote in the log */
  fi
}

inline lose_everything(me) {
  amnesia = true; bad_weather = true; lost_all[me] = true;
  vote_v[me] = p_none; vote_d[me] = p_none; rm[me] = rm_idle;
  effect[me] = o_none; applied[me] = 0; had_proof[me] = false
}

proctype participant(byte me) {
end:
  do
  /* ---- prepare and vote ---- */

  :: atomic { takes_prepare(me) && rm[me] != rm_prepared && rm[me] != rm_orphaned ->
       RULE(P4, !end_acknowledged[me]);
       rm[me] = rm_prepared;
       printf("branch %d: does the work and prepares its database\n", me) }

  :: atomic { takes_prepare(me) && rm[me] == rm_prepared && m_prepare[me] ->
       vote_v[me] = p_yes;
       printf("branch %d: writes its yes\n", me)
#ifdef BUG_VOTE_BEFORE_LOG
       ; RULE(V1, vote_d[me] == p_yes && rm[me] == rm_prepared);
       r_yes[me] = true
#endif
     }

  :: atomic { vote_v[me] != vote_d[me] ->
       RULE(P1, vote_d[me] != p_yes || vote_v[me] != p_refused);
       vote_d[me] = vote_v[me];
       had_proof[me] = had_proof[me] || vote_d[me] == p_committed || is_told_abort(me);
       if
       :: vote_d[me] == p_aborted -> take_effect(me, o_abort)
       :: else
       fi;
       printf("branch %d: syncs %e\n", me, vote_d[me]) }

  /* A branch that was told to abort, and has lost the record of it, may repeat its yes: no matter. */
  :: atomic { prepare_is_here(me) && is_durable(me, p_yes) && !r_yes[me] ->
       RULE(V1, rm[me] == rm_prepared || rm[me] == rm_committed || heard_abort[me]);
       r_yes[me] = true;
       printf("branch %d -> coordinator: yes\n", me) }

  /* No, or a deadline of its own: allowed until it has voted (P9). In two phases that need not be
   * durable: whoever forgets it prepares again, and is told that it aborted. */
  :: atomic { vote_v[me] == p_none ->
       roll_back(me);
       vote_v[me] = p_refused; bad_weather = true;
       printf("branch %d: refuses\n", me) }

#ifdef BUG_REFUSAL_TAKEN_BACK
  :: atomic { prepare_is_here(me) && is_durable(me, p_refused) ->
       vote_v[me] = p_none; vote_d[me] = p_none;
       printf("branch %d: thinks again\n", me) }
#endif

#ifdef BUG_ONE_PHASE_NO_UNLOGGED
#define may_refuse_one_phase(me) \
  (vote_v[me] == p_refused || vote_v[me] == p_aborted || vote_v[me] == p_gone)
#else
#define may_refuse_one_phase(me) \
  (is_durable(me, p_refused) || is_durable(me, p_aborted) || is_durable(me, p_gone))
#endif
  :: atomic { !r_no[me] &&
              ((m_prepare[me] &&
                (vote_v[me] == p_refused || vote_v[me] == p_gone || is_durable(me, p_aborted))) ||
               (m_one_phase[me] && may_refuse_one_phase(me))) ->
       r_no[me] = true;
       printf("branch %d -> coordinator: no\n", me) }

#ifdef READ_ONLY
  :: atomic { m_prepare[me] && vote_v[me] == p_none ->
       roll_back(me);
       vote_v[me] = p_read_only;
       printf("branch %d: has only read\n", me) }

  :: atomic { m_prepare[me] && vote_v[me] == p_read_only && !r_read_only[me] ->
       r_read_only[me] = true; reads_only[me] = true;
       printf("branch %d -> coordinator: read-only\n", me) }
#endif

#ifdef ONE_PHASE
  /* P8: it honours one_phase, and decides; or it ignores it, and votes. */
  :: atomic { takes_prepare(me) && rm[me] == rm_prepared && m_one_phase[me] ->
       if
       :: vote_v[me] = p_decided
       :: vote_v[me] = p_yes
       fi;
       printf("branch %d: writes %e\n", me, vote_v[me]) }

  :: atomic { is_durable(me, p_decided) && rm[me] == rm_prepared ->
       rm[me] = rm_committed; take_effect(me, o_commit);
       printf("branch %d: commits in one phase\n", me) }
#endif

  /* ---- the outcome ---- */

  :: atomic { m_commit[me] && is_durable(me, p_yes) && rm[me] == rm_prepared ->
       rm[me] = rm_committed; take_effect(me, o_commit);
       printf("branch %d: commits\n", me) }

#ifdef BUG_COMMIT_TWICE
  :: atomic { m_commit[me] && is_durable(me, p_committed) && applied[me] < 2 ->
       take_effect(me, o_commit);
       printf("branch %d: commits again\n", me) }
#endif

  :: atomic { (vote_v[me] == p_yes || vote_v[me] == p_decided) && rm[me] == rm_committed ->
       vote_v[me] = COMMITTED_TOMBSTONE;
       printf("branch %d: writes that it committed\n", me) }

#ifdef BUG_ACKNOWLEDGE_EARLY
  :: atomic { m_commit[me] && is_durable(me, p_yes) && !r_committed[me] ->
       RULE(P2, vote_d[me] == p_committed);
       r_committed[me] = true;
       printf("branch %d -> coordinator: committed (it will, soon)\n", me) }
#endif

  :: atomic { is_durable(me, p_committed) && !r_committed[me] &&
              (m_commit[me] || m_one_phase[me] || m_abort[me]) ->
       RULE(P6, rm[me] == rm_committed);
       r_committed[me] = true; end_acknowledged[me] = true;
       printf("branch %d -> coordinator: committed\n", me) }

  /* An abort for a branch that nobody knows leaves a tombstone, too (P4). */
  :: atomic { m_abort[me] && rm[me] != rm_committed &&
              (vote_v[me] == p_yes || vote_v[me] == p_none || vote_v[me] == p_read_only) ->
       roll_back(me);
       heard_abort[me] = true;
#ifdef BUG_NO_ABORT_TOMBSTONE
       take_effect(me, o_abort); vote_v[me] = p_none; vote_d[me] = p_none;
       r_aborted[me] = true; end_acknowledged[me] = true;
#else
       vote_v[me] = p_aborted;
#endif
       printf("branch %d: aborts\n", me) }

  :: atomic { m_abort[me] && !r_aborted[me] &&
              (is_durable(me, p_aborted) || is_durable(me, p_refused)) ->
       r_aborted[me] = true; end_acknowledged[me] = true;
       printf("branch %d -> coordinator: aborted\n", me) }

  /* An abort was here first, and a crash took the record of it, not the deed. Nobody but an operator
   * who guesses sends both. */
  :: atomic { m_commit[me] && is_durable(me, p_yes) && rm[me] == rm_rolled_back ->
       OUTCOME(AC1, excused(me));
       vote_v[me] = p_aborted;
       printf("branch %d: cannot commit any more\n", me) }

  /* A commit for a branch that has aborted: the difference is what an operator must see (P6). */
  :: atomic { m_commit[me] && !r_h_abort[me] &&
              (is_durable(me, p_aborted) || is_durable(me, p_refused)) ->
       r_h_abort[me] = true;
       printf("branch %d -> coordinator: heuristic-abort\n", me) }

#ifdef BUG_UNILATERAL
  :: atomic { is_durable(me, p_yes) && rm[me] == rm_prepared ->
       roll_back(me);
       vote_v[me] = p_refused; take_effect(me, o_abort);
       printf("branch %d: has waited long enough and aborts\n", me) }
#endif

  /* P5: commit for a branch that it does not know, or that is over. */
  :: atomic { !r_unknown[me] && ((m_commit[me] && (vote_v[me] == p_none || vote_v[me] == p_gone)) ||
                                 (m_abort[me] && is_durable(me, p_gone))) ->
#ifdef BUG_UNKNOWN_ANSWERED_COMMITTED
       RULE(P5, false);
       r_committed[me] = true;
#endif
       r_unknown[me] = true;
       printf("branch %d -> coordinator: unknown branch\n", me) }

#ifndef BUG_NEVER_ASKS
  :: atomic { in_doubt(me) && !r_asks[me] ->
       r_asks[me] = true;
       printf("branch %d -> coordinator: how did it end?\n", me) }
#endif

#ifdef HEURISTIC
  /* ---- an operator breaks the promise, knowingly ---- */

  :: atomic { in_doubt(me) && !healed ->
       if
       :: rm[me] = rm_committed; applied[me]++; by_hand[me] = o_commit; vote_v[me] = p_h_commit
       :: rm[me] = rm_rolled_back; by_hand[me] = o_abort; vote_v[me] = p_h_abort
       fi;
       vote_d[me] = vote_v[me]; /* one transaction of the database that holds the log as well */
       bad_weather = true;
       printf("branch %d: its operator decides %e\n", me, by_hand[me]) }

  :: atomic { (m_commit[me] || m_abort[me]) && !r_h_commit[me] && !r_h_abort[me] &&
              (is_durable(me, p_h_commit) || is_durable(me, p_h_abort) ||
               is_durable(me, p_forgotten)) ->
#ifdef BUG_HEURISTIC_HIDDEN
       RULE(P6, vote_d[me] == p_h_commit && m_commit[me] || vote_d[me] == p_h_abort && m_abort[me]);
       if
       :: m_commit[me] -> r_committed[me] = true
       :: else -> r_aborted[me] = true
       fi;
#endif
       if
       :: by_hand[me] == o_commit -> r_h_commit[me] = true
       :: else -> r_h_abort[me] = true
       fi;
       printf("branch %d -> coordinator: heuristic-%e\n", me, by_hand[me]) }

  :: atomic { m_forget[me] && vote_v[me] != p_forgotten &&
              (is_durable(me, p_h_commit) || is_durable(me, p_h_abort)) ->
       vote_v[me] = p_forgotten;
       printf("branch %d: forgets its heuristic outcome\n", me) }
#endif

  /* Whoever has nothing to forget has forgotten. */
  :: atomic { m_forget[me] && !r_forgotten[me] && vote_v[me] == vote_d[me] &&
              vote_v[me] != p_yes && vote_v[me] != p_h_commit && vote_v[me] != p_h_abort ->
       r_forgotten[me] = true;
       printf("branch %d -> coordinator: forgotten\n", me) }

#ifdef HISTORY
  /* ---- the watermark: tombstone and watermark change places in one database transaction ---- */

#ifdef BUG_HEURISTIC_PURGED
#define may_purge(me) \
  (is_tombstone(me) || vote_v[me] == p_none || vote_v[me] == p_h_commit || vote_v[me] == p_h_abort)
#else
#define may_purge(me) (is_tombstone(me) || vote_v[me] == p_none)
#endif
  :: atomic { m_below && vote_v[me] == vote_d[me] && may_purge(me) && rm[me] != rm_prepared ->
#ifdef BUG_PURGE_WITHOUT_WATERMARK
       vote_v[me] = p_none; vote_d[me] = p_none;
#else
       vote_v[me] = p_gone;
#endif
       printf("branch %d: the transaction is below the watermark\n", me) }
#endif

  /* ---- failures ---- */

  :: atomic { fault_possible && (vote_v[me] != vote_d[me] || rm[me] == rm_prepared) ->
       faults++;
       printf("branch %d: crashes while it has %e on disk\n", me, vote_d[me]);
       restart_participant(me);
       printf("branch %d: starts again with %e\n", me, vote_d[me]) }

#ifdef BUG_FAILED_VOTE_SYNC_IS_NO
  /* The sync of the vote fails. It is taken for "not written", though the row may be there. */
  :: atomic { fault_possible && vote_v[me] == p_yes && vote_d[me] == p_none ->
       faults++; bad_weather = true;
       if
       :: vote_d[me] = p_yes
       :: true
       fi;
       roll_back(me); vote_v[me] = p_none;
       printf("branch %d: a failed sync is taken for no vote\n", me) }
#endif

#ifdef AMNESIA
  /* Once it has acknowledged the end, what its disk loses is nobody's to notice. */
  :: atomic { !healed && !amnesia && vote_d[me] != p_none && !end_acknowledged[me] ->
       lose_everything(me);
       printf("branch %d: its disk is replaced by an empty one\n", me) }
#endif
  od
}
