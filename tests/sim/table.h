/*
 * The simulator's tables: faults, probes and mutants, each with the sentence that tells what it is.
 */
#ifndef VOW_SIM_TABLE_H
#define VOW_SIM_TABLE_H

/* Exit codes. */
enum {
  SIM_OK = 0,
  SIM_USAGE = 2,
  SIM_SAFETY = 3,
  SIM_LIVENESS = 4,
  SIM_UNPROVEN = 5 /* a probe was never hit, a mutant not caught, a trace not the same twice */
};

/* X(NAME, name, what). Each seed switches a random part of them on. */
/* clang-format off */
#define SIM_FAULT_TABLE(X) \
  X(LOSE,        "lose",        "requests are lost on the way") \
  X(LOSE_REPLY,  "lose-reply",  "requests are executed and their replies lost") \
  X(TWICE,       "twice",       "requests arrive twice") \
  X(LATE,        "late",        "packets are overtaken, and come after everybody gave up") \
  X(REFUSE,      "refuse",      "no connection is made") \
  X(GARBAGE,     "garbage",     "replies cannot be read") \
  X(CUT,         "cut",         "nodes are cut off from each other, in both directions or one") \
  X(CRASH_C,     "crash-c",     "the coordinator is killed between any two actions") \
  X(CRASH_P,     "crash-p",     "participants are killed between any two actions") \
  X(SYNC_C,      "sync-c",      "the coordinator's COMMIT fails; the row is there later, or not") \
  X(SYNC_P,      "sync-p",      "a participant's COMMIT fails; the rows are there later, or not") \
  X(FULL_P,      "full-p",      "a participant's records are refused by the disk") \
  X(FULL_C,      "full-c",      "the coordinator's disk is nearly full for a while") \
  X(SLOW,        "slow",        "syncs and callbacks take seconds") \
  X(PAUSE,       "pause",       "a process stands still, then everything queued arrives") \
  X(CLOCK,       "clock",       "the wall clock jumps") \
  X(CALLBACK,    "callback",    "commit and abort callbacks fail for a while") \
  X(VOTE_NO,     "vote-no",     "participants vote abort") \
  X(CLIENT,      "client",      "clients abort, vanish, or repeat themselves") \
  X(TIGHT,       "tight",       "limits are small") \
  X(OPERATOR,    "operator",    "operators settle branches by hand and forget them")

/* X(NAME, name, what). Over a suite each must have been seen. */
#define SIM_PROBE_TABLE(X) \
  X(RESENT,           "decision-resent",     "a decision was found in the log and sent again") \
  X(PRESUMED,         "presumed-abort",      "an inquiry was answered by presuming abort") \
  X(LATE_PREPARE,     "prepare-after-end",   "a prepare came again after its branch had ended") \
  X(CRASH_LOADING,    "crash-in-recovery",   "the coordinator died while it read its log") \
  X(CRASH_P_LOADING,  "crash-again-p",       "a participant died with branches in doubt from before") \
  X(ABORT_OVERTAKES,  "abort-overtakes",     "an abort arrived for a branch that nobody knew") \
  X(ABORT_IN_PREPARE, "abort-in-prepare",    "an abort arrived while the vote was in the making") \
  X(ASKED_COMMITTED,  "delegate-committed",  "abort asked a delegate, and it had committed") \
  X(ASKED_ABORTED,    "delegate-aborted",    "abort asked a delegate, and it had not committed") \
  X(ONE_PHASE,        "one-phase",           "a branch committed in one phase") \
  X(BELOW_WATERMARK,  "below-watermark",     "a message came for what was over long ago") \
  X(PURGED,           "purged",              "tombstones were purged") \
  X(ROW_SURVIVED,     "row-survived",        "a failed COMMIT had written its row") \
  X(ROW_LOST,         "row-lost",            "a failed COMMIT had not written its row") \
  X(REPEATED,         "commit-repeated",     "a commit was asked again after its answer") \
  X(KEY_REPEATED,     "key-repeated",        "a begin was repeated with its key, and found") \
  X(FROM_LOG,         "answered-from-log",   "a client was answered from the log") \
  X(LOADING,          "loading",             "a client was told to wait for recovery") \
  X(UNDECIDED,        "undecided",           "an inquiry was answered: undecided") \
  X(ASKED_COMMIT,     "in-doubt-committed",  "a participant learned of a commit by asking") \
  X(ASKED_ABORT,      "in-doubt-aborted",    "a participant learned of an abort by asking") \
  X(READ_ONLY,        "read-only",           "a branch voted read-only") \
  X(ALL_YES,          "fair-weather",        "a run without any fault") \
  X(GROUP,            "group-commit",        "four records or more shared a sync") \
  X(BATCH,            "batch",               "a batch with several messages was answered") \
  X(BATCH_MIXED,      "batch-mixed",         "in one batch some messages were answered well and some not") \
  X(BATCH_LOST,       "batch-lost",          "a batch got no answer") \
  X(NOT_A_BATCH,      "not-a-batch",         "a batch was not understood, and its messages went again") \
  X(HEURISTIC,        "heuristic",           "a heuristic outcome was recorded") \
  X(FORGOTTEN,        "forgotten",           "a heuristic outcome was forgotten")

/* X(NAME, name, what). Mistakes that the checkers must catch. */
#define SIM_MUTANT_TABLE(X) \
  X(SEND_FIRST,       "send-before-log",     "the coordinator takes records for durable at once") \
  X(VOTE_FIRST,       "vote-before-log",     "a participant votes before its vote is durable") \
  X(ACK_FIRST,        "ack-before-log",      "a participant acknowledges before the end is durable") \
  X(SYNC_IS_ABORT,    "failed-sync-aborts",  "a failed COMMIT is taken for one that never happened") \
  X(UNILATERAL,       "unilateral-abort",    "a participant in doubt gives up and aborts") \
  X(NO_TOMBSTONE,     "no-tombstone",        "a participant forgets what it has ended") \
  X(UNKNOWN_IS_OK,    "unknown-is-success",  "commit to a branch that was lost counts as done") \
  X(UNDECIDED_ABORTS, "undecided-aborts",    "an undecided transaction is presumed aborted") \
  X(NO_HISTORY,       "no-history",          "abort is presumed without a look at the log") \
  X(ID_AGAIN,         "ids-from-clock",      "a restarted coordinator trusts the clock for ids") \
  X(WATERMARK,        "watermark-ahead",     "finished_below passes what is open") \
  X(TWICE,            "commit-twice",        "a commit callback runs again after it has succeeded") \
  X(KEY_LOST,         "key-not-kept",        "the abort of a keyed transaction is not recorded") \
  X(FAINT,            "faint-hearted",       "a good vote is taken for nonsense now and then") \
  X(DEAF,             "inquiry-deaf",        "a participant never hears what it asked for") \
  X(BATCH_ORDER,      "batch-order",         "the replies of a batch are taken for each other's")
/* clang-format on */

enum sim_fault {
#define SIM_ENUM(NAME, name, what) SIM_FAULT_##NAME,
  SIM_FAULT_TABLE(SIM_ENUM)
#undef SIM_ENUM
      SIM_FAULTS
};

enum sim_probe {
#define SIM_ENUM(NAME, name, what) SIM_PROBE_##NAME,
  SIM_PROBE_TABLE(SIM_ENUM)
#undef SIM_ENUM
      SIM_PROBES
};

enum sim_mutant {
  SIM_MUTANT_NONE,
#define SIM_ENUM(NAME, name, what) SIM_MUTANT_##NAME,
  SIM_MUTANT_TABLE(SIM_ENUM)
#undef SIM_ENUM
      SIM_MUTANTS
};

struct sim_name {
  const char *name, *what;
};
extern const struct sim_name sim_faults[SIM_FAULTS], sim_probes[SIM_PROBES],
    sim_mutants[SIM_MUTANTS]; /* the first mutant is none */

#endif
