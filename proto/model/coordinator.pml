/*
 * The coordinator: its core, its log, its operator, and vowctl. In the order of a transaction's
 * life.
 */
#define log_is_synced (log_v == log_d && heur_v == heur_d && forgot_v == forgot_d)

/* What it tells whoever asks; while it is undecided, loading or in quarantine, it tells nothing. */
#define has_ended (state == c_ended || state == c_heuristic || state == c_forgetting)
#define says_commit \
  (state == c_committing || state == c_parked || (has_ended && (log_d == l_commit || log_d == l_committed)))
#define says_abort                                                             \
  (state == c_aborting || state == c_unknown ||                                \
   (has_ended && (log_d == l_abort || log_d == l_ended || log_d == l_none)))

/* Of branch k, for EVERY and SOME: what its answers add up to. */
#define not_asked(k)       (!m_prepare[k])
#define voted(k)           (r_yes[k] || r_read_only[k])
#define only_read(k)       (r_read_only[k])
#define heuristic(k)       (r_h_commit[k] || r_h_abort[k])
#define hazard_at(k)       (r_unknown[k] && !r_committed[k] && !settled[k] && !closed[k])
#define plain(k)           (!heuristic(k) && !hazard_at(k))
#define no_heuristic(k)    (!heuristic(k))
#define plain_abort(k)     (!heuristic(k) && !r_committed[k])
#define commit_unsent(k)   (named[k] && !settled[k] && !closed[k] && !m_commit[k])
#define abort_unsent(k)    (!m_abort[k] && !closed[k] && !r_no[k] && !r_read_only[k])
#define forget_unsent(k)   (broke[k] && !m_forget[k])
#define commit_answered(k) \
  (!named[k] || settled[k] || closed[k] || r_committed[k] || heuristic(k) || r_unknown[k])
#define abort_answered(k) \
  (closed[k] || r_aborted[k] || r_committed[k] || heuristic(k) || r_no[k] || r_read_only[k] || \
   r_unknown[k])
#define forget_answered(k) (!broke[k] || r_forgotten[k])
#define is_named(k)        (named[k])
#define has_committed(k)   (named[k] && r_committed[k])
#define is_settled(k)      (settled[k])
#define was_heard(k)       (asked[k] || away[k])

inline sync_log() {
  log_d = log_v; heur_d = heur_v; forgot_d = forgot_v;
  printf("coordinator: syncs its log: %e\n", log_d)
}

inline take_back_unsynced() {
  log_v = log_d; heur_v = heur_d; forgot_v = forgot_d;
  for (k : 0 .. N - 1) {
    if
    :: log_d == l_none || log_d == l_delegated ->
       named[k] = false; closed[k] = false
    :: else
    fi;
    if
    :: heur_d == h_none -> broke[k] = false
    :: else
    fi
  }
}

inline forget_survey() {
  for (k : 0 .. N - 1) { asked[k] = false; said[k] = p_none }
}

inline lose_memory() {
  state = c_loading; bad_weather = true;
  forget_survey()
}

/* A process that is killed leaves what it wrote in the page cache; a power cut keeps it or not; a
 * sync that failed leaves it visible, and on the disk, or in one of them, or in none. */
inline crash_coordinator() {
  if
  :: !log_is_synced ->
     log_d = log_v; heur_d = heur_v; forgot_d = forgot_v;
     left = left || (quarantine && state == c_deciding && EVERY(was_heard))
  :: take_back_unsynced()
  :: !log_is_synced -> true
  fi;
  lose_memory()
}

#ifdef BUG_MERGE
#define MERGE_REST
#else
#define MERGE_REST && !aborted
#endif

/* The X/Open merge over what the branches did, given at least one heuristic answer. */
inline merge_heuristics(decision) {
  for (k : 0 .. N - 1) {
    broke[k] = heuristic(k) || (decision == o_commit && named[k] && hazard_at(k)) ||
               (decision == o_abort && r_committed[k]);
    if
    :: r_h_commit[k] -> committed = true
    :: r_h_abort[k] -> aborted = true
    :: !heuristic(k) && decision == o_commit && named[k] ->
       if
       :: hazard_at(k) -> hazard = true
       :: else -> committed = true
       fi
    :: !heuristic(k) && decision == o_abort && r_committed[k] -> committed = true
    :: !heuristic(k) && decision == o_abort && !r_committed[k] && !r_read_only[k] && !closed[k] ->
       aborted = true
    :: else
    fi
  }
  if
#ifndef BUG_MERGE
  :: committed && aborted -> heur_v = h_mixed
#endif
  :: hazard && !(committed && aborted) -> heur_v = h_hazard
  :: committed && !hazard MERGE_REST -> heur_v = h_commit
  :: !committed && !hazard -> heur_v = h_abort
  fi;
  RULE(C7, merged_is_true);
  committed = false; aborted = false; hazard = false;
  printf("coordinator: what the branches did merges to %e\n", heur_v)
}
inline send_commits() {
  RULE(D1, commit_is_durable);
  RULE(C1, record_names_all);
  tell(o_commit);
  for (k : 0 .. N - 1) { m_commit[k] = m_commit[k] || (named[k] && !settled[k] && !closed[k]) }
  printf("coordinator -> prepared branches: commit\n")
}

#ifdef BUG_RECORD_NAMES_ONE
#define NAMES(k) (k == 0)
#else
#define NAMES(k) true
#endif

inline decide_to_commit() {
  check_decision();
  for (k : 0 .. N - 1) {
    if
    :: r_yes[k] -> named[k] = NAMES(k)
    :: r_read_only[k] -> named[k] = false
    :: !r_yes[k] && !r_read_only[k] -> named[k] = true /* only a mistake comes here */
    fi
  }
  if
#ifdef BUG_READ_ONLY_SPEAKS_FOR_ALL
  :: SOME(only_read) ->
#else
  :: !SOME(is_named) ->
#endif
     RULE(D1, commit_is_durable);
     tell(o_commit);
     state = c_ended;
     printf("coordinator: all have only read: no record, it has ended\n")
  :: else ->
     log_v = l_commit; state = c_deciding;
     printf("coordinator: all said yes, it writes the decision\n")
#ifdef BUG_SEND_BEFORE_LOG
     ; send_commits()
#endif
  fi
}

#ifdef BUG_UNDECIDED_IS_ABORTED
#define PRESUMES_MORE || state == c_preparing || state == c_deciding
#else
#define PRESUMES_MORE
#endif

/* Branch b has asked. A branch that only read may have forgotten that and ask: no matter (C3). Of
 * what was purged it is told that it aborted, which is true of whoever is still in doubt; a question
 * that was delayed until its branch had ended gets an answer that nobody uses. */
#define ANSWER(b)                                                                            \
  :: atomic { r_asks[b] && !m_commit[b] && says_commit ->                                    \
       RULE(D1, commit_is_durable);                                                          \
       if :: reads_only[b] || lost_all[b] :: else -> tell(o_commit) fi;                      \
       m_commit[b] = true;                                                                   \
       printf("coordinator -> branch %d: it was committed\n", b) }                          \
  :: atomic { r_asks[b] && !m_abort[b] && (says_abort || state == c_purged PRESUMES_MORE) -> \
       if                                                                                    \
       :: reads_only[b] || lost_all[b] || (state == c_purged && !in_doubt(b))                \
       :: else -> tell(o_abort)                                                              \
       fi;                                                                                   \
       m_abort[b] = true;                                                                    \
       printf("coordinator -> branch %d: it was aborted\n", b) }
inline read_log() {
  if
  :: log_v == l_none ->
     if
     :: quarantine -> state = c_quarantine
     :: else -> state = c_unknown
     fi
  :: log_v == l_delegated ->
     /* An abort that asks is no proof here: the branch may have ended below the watermark. */
#ifdef BUG_QUARANTINE_ASKS_DELEGATE
     state = c_asking
#else
     if :: quarantine -> state = c_quarantine :: else -> state = c_asking fi
#endif
  :: log_v == l_commit || log_v == l_abort ->
     if
     :: forgot_v -> state = c_forgetting
     :: !forgot_v && heur_v != h_none -> state = c_heuristic
#ifdef BUG_PUSHES_IN_QUARANTINE
     :: !forgot_v && heur_v == h_none && log_v == l_commit -> state = c_committing
#else
     :: !forgot_v && heur_v == h_none && log_v == l_commit ->
        if :: quarantine && !left -> state = c_parked :: else -> state = c_committing fi
#endif
     :: !forgot_v && heur_v == h_none && log_v == l_abort -> state = c_aborting
     fi
  :: log_v == l_committed || log_v == l_ended -> state = c_ended
  :: log_v == l_purged -> state = c_purged
  fi;
  printf("coordinator: starts and reads %e\n", log_v)
}

#ifdef ONE_PHASE
#define was_delegated true
#else
#define was_delegated false
#endif

/* An older log, or one whose tail is gone; how far back is anybody's guess. */
inline lose_records() {
  losses++;
  if
  :: log_d = l_none
  :: log_d == l_committed && !was_delegated -> log_d = l_commit
  :: log_d != l_none && log_d != l_delegated && was_delegated -> log_d = l_delegated
  fi;
  heur_d = h_none; forgot_d = false;
  take_back_unsynced();
#ifndef BUG_RESTORE
  quarantine = true; left = false
#endif
}

/* ---- vowctl reconciles a log in quarantine with the participants ---- */

#define has_changed(k)     (asked[k] && said[k] != vote_d[k])
#define said_in_doubt(k)   (said[k] == p_yes)
/* Something has to be decided: somebody waits, or the log itself says that it is open. */
#define is_case            (SOME(said_in_doubt) || log_v == l_delegated)
#define said_commit(k)     (said[k] == p_committed || said[k] == p_decided)
#ifdef BUG_NO_VOTE_IS_PROOF
#define said_abort(k)      (said[k] == p_aborted || said[k] == p_refused)
#else
#define said_abort(k)      (said[k] == p_aborted)
#endif
#define said_by_hand(k)    (said[k] == p_h_commit || said[k] == p_h_abort || said[k] == p_forgotten)
#define had_real_proof(k)  (had_proof[k])
#define waits_deserted(k)  (deserted[k] && vote_d[k] == p_yes)
#define is_reconciled      (state == c_quarantine || state == c_parked)

/* What branch b has on its disk. Only what it was told by the coordinator is proof of a decision. */
#define EXAMINE(b)                                                                           \
  :: atomic { is_reconciled && !asked[b] ->                                                  \
       asked[b] = true; away[b] = false; said[b] = vote_d[b];                                \
       printf("vowctl <- branch %d: %e\n", b, said[b]) }

#define is_not_asked(k) (!asked[k])
#ifdef BUG_RECONCILED_WITHOUT_ENDED
#define NAMES_ENDED
#else
#define NAMES_ENDED || said_commit(k)
#endif

/* It is open again, so the newest watermark is below it, and tombstones stay (P4). */
#define take_back_watermark() m_below = false

/* The record of a commit names whom to tell, and who has done it. With a commit proven, one that
 * never promised has only read. */
inline record_commit() {
  for (k : 0 .. N - 1) {
    named[k] = said_in_doubt(k) || said_by_hand(k) NAMES_ENDED;
    closed[k] = named[k] && said_commit(k)
  }
  unheard = unheard || SOME(is_not_asked);
  log_v = l_commit; state = c_deciding;
  take_back_watermark()
}
inline record_abort() {
  for (k : 0 .. N - 1) {
    closed[k] = !said_in_doubt(k) && !said_by_hand(k) && !said_abort(k) && said[k] != p_refused
  }
  unheard = unheard || SOME(is_not_asked);
  log_v = l_abort; state = c_deciding;
  take_back_watermark()
}

proctype coordinator() {
  byte k;
  bool committed, aborted, hazard;
#ifdef ONE_PHASE
  atomic { log_v = l_delegated; state = c_delegating };
#else
  state = c_preparing;
#endif
end:
  do
  /* ---- two phases: votes and decision ---- */

  :: atomic { state == c_preparing && SOME(not_asked) ->
       for (k : 0 .. N - 1) { m_prepare[k] = true }
       printf("coordinator -> all branches: prepare\n") }

#ifdef BUG_READ_ONLY_COUNTED_TWICE
  :: atomic { state == c_preparing && SOME(only_read) -> decide_to_commit() }
#endif
  :: atomic { state == c_preparing && EVERY(voted) -> decide_to_commit() }

#ifdef BUG_READ_ONLY_IS_NO
  :: atomic { state == c_preparing && SOME(only_read) -> state = c_aborting }
#endif
  /* A vote to abort, a timeout, or the client's wish. */
  :: atomic { state == c_preparing ->
       bad_weather = true; state = c_aborting;
       printf("coordinator: aborts (a vote, or a timeout)\n") }

  :: atomic { state == c_deciding ->
       sync_log();
       left = left || (quarantine && EVERY(was_heard)); /* in the same transaction */
       forget_survey();
       if
       :: log_d == l_commit -> state = c_committing
       :: else -> state = c_aborting
       fi }

#ifdef BUG_FAILED_SYNC_IS_ABORT
  :: atomic { fault_possible && state == c_deciding ->
       faults++; bad_weather = true; state = c_aborting;
       if
       :: log_d = l_commit
       :: log_v = log_d
       fi;
       printf("coordinator: a failed sync is taken for an abort\n") }
#endif

  :: atomic { state == c_committing && SOME(commit_unsent) -> send_commits() }

  :: atomic { state == c_aborting && SOME(abort_unsent) ->
       tell(o_abort);
       for (k : 0 .. N - 1) { m_abort[k] = m_abort[k] || abort_unsent(k) }
       printf("coordinator -> branches: abort\n") }

#ifdef ONE_PHASE
  /* ---- one phase (C4) ---- */

#ifdef BUG_DELEGATE_BEFORE_LOG
  :: atomic { state == c_delegating && !m_one_phase[0] ->
       RULE(C4, log_d == l_delegated);
       m_one_phase[0] = true;
       printf("coordinator -> branch 0: prepare, in one phase\n") }
#endif
  :: atomic { state == c_delegating -> sync_log(); state = c_delegated }

  :: atomic { state == c_delegated && !m_one_phase[0] ->
       RULE(C4, log_d == l_delegated);
       m_one_phase[0] = true;
       printf("coordinator -> branch 0: prepare, in one phase\n") }

  /* It ignored one_phase and voted: two phases from here on (P8). */
  :: atomic { state == c_delegated && r_yes[0] ->
       decide_to_commit() }

  /* The prepare timeout has passed. What that means only the branch can say. */
  :: atomic { state == c_delegated ->
       bad_weather = true;
#ifdef BUG_LOST_REPLY_IS_ABORT
       log_v = l_ended; state = c_ending;
#else
       state = c_asking;
#endif
       printf("coordinator: no answer of the delegate in time\n") }

  :: atomic { state == c_asking && !m_abort[0] ->
       m_abort[0] = true;
       printf("coordinator -> branch 0: abort, or say how you ended\n") }

  :: atomic { (state == c_delegated || state == c_asking) && r_committed[0] ->
       log_v = l_committed; state = c_ending;
       printf("coordinator: the delegate has committed\n") }

  :: atomic { (state == c_delegated && r_no[0]) ||
              (state == c_asking && (r_no[0] || r_aborted[0] || r_unknown[0])) ->
       log_v = l_ended; state = c_ending;
       printf("coordinator: the delegate has aborted\n") }

  :: atomic { state == c_asking && heuristic(0) ->
       if
       :: r_h_commit[0] -> named[0] = true; log_v = l_commit; merge_heuristics(o_commit)
       :: else -> log_v = l_abort; merge_heuristics(o_abort)
       fi;
       state = c_heuristic }

  :: atomic { state == c_ending -> sync_log(); state = c_ended }
#endif

  /* ---- acknowledgements, and the end ---- */

#ifdef RESOLVE
  :: atomic { state == c_committing && !healed ->
       if
       :: named[0] && !r_committed[0] && !SOME(is_settled) -> settled[0] = true
       :: N > 1 && named[N - 1] && !r_committed[N - 1] && !SOME(is_settled) -> settled[N - 1] = true
       :: else
       fi;
       printf("coordinator: an operator settles a branch by hand\n") }
#endif

#ifdef BUG_END_BEFORE_ALL_ACKNOWLEDGED
#define enough_answers SOME(has_committed)
#else
#define enough_answers EVERY(commit_answered)
#endif
  :: atomic { state == c_committing && enough_answers ->
       if
#ifdef BUG_UNKNOWN_IS_SUCCESS
       :: EVERY(no_heuristic) ->
#else
       :: EVERY(plain) ->
#endif
          log_v = l_committed; state = c_ended;
          printf("coordinator: all have committed, it writes the end\n")
       :: else ->
#ifdef BUG_HEURISTIC_DROPPED
          RULE(C7, false);
          log_v = l_committed; state = c_ended
#else
          merge_heuristics(o_commit); state = c_heuristic
#endif
       fi }

  :: atomic { state == c_aborting && EVERY(abort_answered) ->
       if
       :: EVERY(plain_abort) ->
          if
          :: log_v == l_none
          :: else -> log_v = l_ended
          fi;
          state = c_ended;
          printf("coordinator: all have aborted, it has ended\n")
       :: else -> merge_heuristics(o_abort); log_v = l_abort; state = c_heuristic
       fi }

  :: atomic { has_ended && !log_is_synced -> sync_log() }

#ifndef BUG_HEURISTIC_FORGOTTEN_UNLOGGED
#define forgetting_is_durable log_is_synced
#else
#define forgetting_is_durable true
#endif
  :: atomic { state == c_heuristic && log_is_synced ->
       forgot_v = true; state = c_forgetting;
       for (k : 0 .. N - 1) { told_to_forget[k] = told_to_forget[k] || broke[k] }
       printf("coordinator: its operator forgets the heuristic outcome\n") }

  :: atomic { state == c_forgetting && forgetting_is_durable && SOME(forget_unsent) ->
       RULE(C7, forgot_d);
       for (k : 0 .. N - 1) { m_forget[k] = m_forget[k] || broke[k] }
       printf("coordinator -> heuristic branches: forget\n") }

  :: atomic { state == c_forgetting && log_is_synced && EVERY(forget_answered) ->
       if
       :: log_v == l_commit -> log_v = l_committed
       :: else -> log_v = l_ended
       fi;
       state = c_ended;
       printf("coordinator: all have forgotten, it writes the end\n") }

#ifdef HISTORY
#ifdef BUG_WATERMARK_BEFORE_END
#define end_is_durable true
#else
#define end_is_durable log_is_synced
#endif
#define is_over \
  (state == c_ended || state == c_purged || state == c_unknown || (state == c_quarantine && left))
  :: atomic { is_over && end_is_durable && !m_below ->
       RULE(C5, may_be_finished);
       m_below = true;
       printf("coordinator -> everybody: finished_below has passed it\n") }

#ifdef BUG_SETTLED_PURGED
#define kept_for_good false
#else
#define kept_for_good SOME(is_settled) /* C10 */
#endif
  :: atomic { state == c_ended && log_d == l_committed && log_is_synced && !kept_for_good ->
       log_v = l_purged; log_d = l_purged; heur_v = h_none; heur_d = h_none; state = c_purged;
       printf("coordinator: purges it from the history\n") }
#endif

  /* ---- whoever asks ---- */

  :: atomic { says_commit && told != o_commit ->
       RULE(D1, commit_is_durable);
       tell(o_commit);
       printf("coordinator -> client: committed\n") }

  :: atomic { says_abort && told != o_abort && !all_only_read ->
       tell(o_abort);
       printf("coordinator -> client: aborted\n") }

#ifdef BUG_PURGED_IS_ABORTED
  :: atomic { state == c_purged && told != o_abort -> tell(o_abort) }
#endif

  ANSWER(0)
#if N > 1
  ANSWER(1)
#endif
#if N > 2
  ANSWER(2)
#endif

  /* ---- failures, and the start after them ---- */

  :: atomic { fault_possible && (!log_is_synced || state != c_loading) && state != c_unknown &&
              state != c_quarantine && state != c_parked && state != c_purged ->
       faults++;
       printf("coordinator: crashes while it has %e on disk and %e written\n", log_d, log_v);
       crash_coordinator() }

#ifdef BUG_ANSWERS_WHILE_LOADING
  :: atomic { state == c_loading && told == o_none -> tell(o_abort) }
#endif
  /* What was read is synced before anything follows from it: a row that a failed sync left in the
   * page cache would be gone after the next power cut. */
  :: atomic { state == c_loading ->
#ifndef BUG_TRUSTS_PAGE_CACHE
       sync_log();
#endif
       read_log() }

#ifdef LOSS
  :: atomic { !healed && losses < LOSSES ->
       printf("coordinator: its log loses records (it had %e)\n", log_d);
       lose_records(); lose_memory() }

  /* ---- vowctl reconciles the log with the participants ---- */

  EXAMINE(0)
#if N > 1
  EXAMINE(1)
#endif
#if N > 2
  EXAMINE(2)
#endif

#ifdef WITHOUT
  :: atomic { is_reconciled && !went_on && !healed ->
       went_on = true;
       if
       :: !asked[0] -> away[0] = true
       :: !asked[N - 1] -> away[N - 1] = true
       :: else
       fi;
       printf("vowctl: goes on without a branch\n") }
#endif

  /* It is killed, or run again later; so it sees what has changed since. */
  :: atomic { is_reconciled && SOME(has_changed) ->
       forget_survey();
       printf("vowctl: begins anew\n") }

  :: atomic { state == c_quarantine && SOME(said_commit) && is_case ->
       record_commit();
       printf("vowctl: a branch was told to commit, so it was committed\n") }

  :: atomic { state == c_quarantine && SOME(said_abort) && !SOME(said_commit) &&
              is_case ->
       record_abort();
       printf("vowctl: a branch was told to abort, so it was aborted\n") }

  /* No evidence, and somebody waits: only an operator may choose, and that is on record. */
  :: atomic { state == c_quarantine && EVERY(was_heard) && !SOME(said_commit) &&
              !SOME(said_abort) && is_case && !SOME(has_changed) ->
       /* C12: no proof was let go while somebody who had been left out still needed it. */
       RULE(C12, !SOME(had_real_proof) || !SOME(waits_deserted));
       if
#ifndef BUG_RECONCILE_COMMITS_PREPARED
       :: record_abort()
#endif
#ifndef BUG_RECONCILE_ABORTS_PREPARED
       :: record_commit()
#endif
       fi;
      
#if !defined(BUG_RECONCILE_COMMITS_PREPARED) && !defined(BUG_RECONCILE_ABORTS_PREPARED)
       guessed = true;
#endif
       printf("vowctl: nobody was told anything, %e is chosen\n", log_v) }

  /* Nobody is in doubt: there is nothing to decide. Nothing of that time is ever presumed, though. */
  :: atomic { state == c_quarantine && EVERY(was_heard) && !is_case && !left ->
#ifdef BUG_QUARANTINE_LIFTED
       quarantine = false; state = c_unknown;
#endif
       for (k : 0 .. N - 1) { deserted[k] = away[k] && vote_d[k] == p_yes }
       left = true;
       printf("vowctl: nobody is in doubt, the quarantine ends\n") }

  /* What the log knows is driven on, but for whom it is over. */
  :: atomic { state == c_parked && EVERY(was_heard) ->
       for (k : 0 .. N - 1) {
         closed[k] = closed[k] || (named[k] && (said_commit(k) || said[k] == p_gone))
       }
       left = true; forget_survey(); state = c_committing;
       printf("vowctl: the log knows that it was committed, and the quarantine ends\n") }
#endif
  od
}
