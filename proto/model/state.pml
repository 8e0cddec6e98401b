/*
 * What a run consists of: disks, memories, databases, the network, and the ledger of what was seen.
 * A name that ends in _v is what a reader of the log sees (written, maybe not yet synced), in _d
 * what is on the disk for good.
 */

/* ---- participants ---- */

mtype:record = {
  p_none,      /* nothing is known of the branch */
  p_yes,       /* voted commit: a vow */
  p_read_only, /* voted read-only (unforced) */
  p_decided,   /* asked in one phase: it commits, the effect is to follow */
  p_committed, /* tombstone */
  p_refused,   /* tombstone: voted abort, or ended by itself before any vote */
  p_aborted,   /* tombstone: told to abort */
  p_h_commit,  /* committed by its operator; kept until forget */
  p_h_abort,   /* aborted by its operator; kept until forget */
  p_forgotten, /* tombstone of a heuristic outcome */
  p_gone       /* purged: only the watermark stands in its place */
};
mtype:record vote_v[N], vote_d[N];

/* The resource manager: a database whose prepared branches hold locks and survive crashes. */
mtype:database = {
  rm_idle, rm_prepared, rm_committed, rm_rolled_back,
  rm_orphaned /* prepared, and nobody knows of it (only with BUG_NO_ORPHAN_SCAN) */
};
mtype:database rm[N];

/* ---- the coordinator ---- */

mtype:log = {
  l_none,      /* no record: presumed aborted */
  l_delegated, /* one phase: the branch decides */
  l_commit,    /* the decision, naming every prepared branch */
  l_abort,     /* written only where an abort must be remembered */
  l_committed, /* the end of a commit */
  l_ended,     /* the end of an abort */
  l_purged     /* older than the history: that it once was is all that is known */
};
mtype:log log_v = l_none, log_d = l_none;

mtype:merged = { h_none, h_commit, h_abort, h_mixed, h_hazard };
mtype:merged heur_v = h_none, heur_d = h_none; /* the merged heuristic outcome; of the same record */
bool forgot_v, forgot_d;                       /* an operator has forgotten it; of the same record */
bool named[N];                                 /* the branches that the decision record names */
bool broke[N];                                 /* the heuristic branches that it names */
bool settled[N];                               /* settled by an operator's hand (RESOLVE) */
bool closed[N]; /* a reconciliation found that it had committed, and wrote that into the record */

/* LOSS. All of it is durable. `quarantine` says that the transaction is from before a loss, so that
 * nothing is ever presumed of it; it is `left` when the log was reconciled. */
bool quarantine, left;
bool away[N]; /* the reconciliation went on without it */
bool went_on; /* that was so once */

mtype:memory = {
  c_loading,    /* the log is being read: 503 */
  c_unknown,    /* the log is read, and has no record of the transaction */
  c_quarantine, /* the same, but the log may have lost it */
  c_parked,     /* committed, says a log in quarantine: it may have ended since */
  c_preparing, c_delegating, c_delegated,
  c_asking,     /* a delegate whose answer was lost is asked by an abort */
  c_deciding,   /* the decision is written, not yet durable */
  c_committing, c_aborting,
  c_ending,     /* the end of a delegation is written, not yet durable */
  c_heuristic,  /* ended, and kept until an operator forgets it */
  c_forgetting,
  c_ended,
  c_purged      /* ended, acknowledged, and old enough to have been purged from the history */
};
mtype:memory state;

/* What vowctl has found out while it reconciles a log in quarantine; memory. */
bool asked[N];
mtype:record said[N]; /* what the branch had on disk when it was asked */

/* ---- the network: the set of the messages that were ever sent ----
 * Whoever receives a message leaves it there: it may come again, late, in any order, or never. */

/* to branch k; m_commit and m_abort are also the answers to its question for the outcome */
bool m_prepare[N], m_one_phase[N], m_commit[N], m_abort[N], m_forget[N];
bool m_below; /* a message to anybody whose finished_below is above this transaction */
/* from branch k */
bool r_yes[N], r_read_only[N], r_no[N], r_committed[N], r_aborted[N], r_h_commit[N], r_h_abort[N];
bool r_unknown[N]; /* 404 unknown-branch in answer to a commit */
bool r_forgotten[N], r_asks[N];

inline lose_messages(k) {
  m_prepare[k] = false; m_one_phase[k] = false; m_commit[k] = false; m_abort[k] = false;
  m_forget[k] = false; r_yes[k] = false; r_read_only[k] = false; r_no[k] = false;
  r_committed[k] = false; r_aborted[k] = false; r_h_commit[k] = false; r_h_abort[k] = false;
  r_unknown[k] = false; r_forgotten[k] = false; r_asks[k] = false
}

/* ---- failures ---- */

byte faults;
byte losses;
bool healed, amnesia;
#define fault_possible (!healed && faults < FAULTS)

/* ---- the ledger: read by the properties, by nothing else ---- */

mtype:outcome = { o_none, o_commit, o_abort };
mtype:outcome told = o_none;  /* what anyone was told */
mtype:outcome effect[N] = o_none; /* how branch k ended by the coordinator's word */
mtype:outcome by_hand[N] = o_none; /* how an operator of the participant ended it */
byte applied[N];              /* how often its work took effect */
bool reads_only[N];           /* it has told the coordinator that it only read */
bool end_acknowledged[N];     /* it has told the coordinator that it ended */
bool lost_all[N];             /* its disk was replaced by an empty one */
bool heard_abort[N];          /* it was told to abort */
bool told_to_forget[N];       /* an operator has forgotten its heuristic outcome */
bool bad_weather;             /* a fault, a timeout or a refusal: commit is not owed any more */
bool had_proof[N];            /* it had on disk what the coordinator had said */
bool deserted[N];             /* it was in doubt when a reconciliation ended without it */
bool unheard;                 /* it was reconciled without asking all */
bool guessed;                 /* an operator decided without any evidence */

/* ---- for N branches: EVERY(p) and SOME(p), where p is a macro of the branch's number ---- */
#if N == 1
#define EVERY(p) (p(0))
#define SOME(p)  (p(0))
#elif N == 2
#define EVERY(p) (p(0) && p(1))
#define SOME(p)  (p(0) || p(1))
#else
#define EVERY(p) (p(0) && p(1) && p(2))
#define SOME(p)  (p(0) || p(1) || p(2))
#endif
