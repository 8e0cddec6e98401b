/*
 * The simulator's tables: faults, properties, probes and mistakes, each with the sentence that
 * tells what it is.
 */
#ifndef VOW_SIM_TABLE_H
#define VOW_SIM_TABLE_H

#include <stdbool.h>
#include <stdint.h>

/* Exit codes. */
enum {
  SIM_OK = 0,
  SIM_USAGE = 2,
  SIM_SAFETY = 3,
  SIM_LIVENESS = 4,
  SIM_UNPROVEN = 5, /* a probe was never hit, a mistake not caught, a run not the same twice */
  SIM_CRASH = 6     /* a core stopped itself, or a sanitizer the program */
};

/* clang-format off */

/* X(NAME, name, what). Each seed switches a random part of them on. */
#define SIM_FAULT_TABLE(X) \
  X(LOSE,        "lose",        "requests are lost on the way") \
  X(LOSE_REPLY,  "lose-reply",  "requests are executed and their replies lost") \
  X(TWICE,       "twice",       "requests arrive twice") \
  X(LATE,        "late",        "packets are overtaken, and come after everybody gave up") \
  X(REFUSE,      "refuse",      "no connection is made") \
  X(GARBAGE,     "garbage",     "replies cannot be read") \
  X(CUT,         "cut",         "nodes are cut off from each other, in both directions or one") \
  X(CRASH_C,     "crash-c",     "coordinators are killed between any two actions") \
  X(CRASH_P,     "crash-p",     "participants are killed between any two actions") \
  X(POWER,       "power",       "a kill is a power cut: what was not synced may be gone or torn") \
  X(SYNC_C,      "sync-c",      "a coordinator's COMMIT fails; the row is there later, or not") \
  X(SYNC_P,      "sync-p",      "a participant's COMMIT fails; the rows are there later, or not") \
  X(FULL_P,      "full-p",      "a participant's records are refused by the disk") \
  X(FULL_C,      "full-c",      "a coordinator's disk is nearly full for a while") \
  X(SLOW,        "slow",        "syncs and callbacks take seconds") \
  X(PAUSE,       "pause",       "a process stands still, then everything queued arrives") \
  X(CLOCK,       "clock",       "the wall clock jumps") \
  X(CALLBACK,    "callback",    "commit and abort callbacks fail for a while") \
  X(VOTE_NO,     "vote-no",     "participants vote abort") \
  X(CLIENT,      "client",      "clients abort, vanish, repeat themselves, or share a key") \
  X(TIGHT,       "tight",       "limits are small") \
  X(TINY,        "tiny",        "ids and keys come from tiny spaces: the clock stands, keys clash") \
  X(PURGE,       "purge",       "ended transactions are soon purged from the history") \
  X(RESTORE,     "restore",     "a coordinator's log is replaced by an older backup") \
  X(OPERATOR,    "operator",    "operators settle branches by hand and forget them") \
  X(CRASH_O,     "crash-o",     "vowctl reconcile is killed between any two steps") \
  X(AWAY,        "away",        "it goes on without participants that did not answer") \
  X(LONG,        "long",        "all callbacks run in their log's transaction and take seconds, and messages come meanwhile")

/* X(NAME, name, goes_on, what). `goes_on`: a run can be continued after it was seen to fail, which
 * shows who else catches a mistake. */
#define SIM_PROPERTY_TABLE(X) \
  X(AC1,       "AC1",       true,  "no two branches end differently") \
  X(AC2,       "AC2",       true,  "an outcome, once given to anyone, never changes, and is what was done") \
  X(AC3,       "AC3",       true,  "commit only if every branch had durably voted for it") \
  X(AC4,       "AC4",       true,  "no failure and all yes: commit") \
  X(AC5,       "AC5",       false, "once failures heal, everything ends") \
  X(D1,        "D1",        true,  "nothing that depends on a decision leaves before it is durable") \
  X(V1,        "V1",        true,  "a yes leaves only after vote and local prepare are durable") \
  X(M1,        "M1",        true,  "each branch takes effect at most once") \
  X(O1,        "O1",        true,  "at rest no prepared branch is left in any database") \
  X(B1,        "B1",        true,  "every queue, list and retry stays within its limit") \
  X(C5,        "C5",        true,  "finished_below passes only what is over for good") \
  X(C6,        "C6",        true,  "ids grow, and are below a durable ceiling") \
  X(C8,        "C8",        true,  "the answer to a key never changes") \
  X(C12,       "C12",       true,  "a reconciliation decides nothing against what was told or done") \
  X(P2,        "P2",        true,  "an outcome is acknowledged only when it is on the disk") \
  X(P4,        "P4",        true,  "a finished branch is not begun again, whatever a crash takes") \
  X(P6,        "P6",        true,  "a participant tells the truth about what it did") \
  X(P10,       "P10",       true,  "what is kept of a log's position never goes back") \
  X(ONE,       "one",       true,  "a branch gets one message at a time") \
  X(FOUND,     "found",     true,  "a commit finds the branch that promised") \
  X(PEACE,     "peace",     true,  "no heuristic outcome without an operator") \
  X(PAYLOAD,   "payload",   true,  "a branch gets the payload that it was enlisted with") \
  X(API,       "api",       true,  "who asks correctly is not refused as a mistake") \
  X(TOKENS,    "tokens",    false, "each request is answered once") \
  X(CONTRACT,  "contract",  false, "cores and drivers keep what they owe each other") \
  X(ALIVE,     "alive",     false, "no core stops itself")

/* X(NAME, name, what). Over a suite each must have been seen. */
#define SIM_PROBE_TABLE(X) \
  X(RESENT,           "decision-resent",     "a decision was found in the log and sent again") \
  X(PRESUMED,         "presumed-abort",      "an inquiry was answered by presuming abort") \
  X(LATE_PREPARE,     "prepare-after-end",   "a prepare came again after its branch had ended") \
  X(CRASH_LOADING,    "crash-in-recovery",   "a coordinator died while it read its log") \
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
  X(TORN,             "torn",                "a power cut tore a write that was under way, and it is gone") \
  X(POWER_KEPT,       "power-kept",          "a power cut left a write whole that was under way") \
  X(CACHE_LOST,       "cache-lost",          "a power cut took what a failed COMMIT had left in the cache") \
  X(SETTLE_FAILED,    "settle-failed",       "a coordinator could not sync its log at the start") \
  X(REPEATED,         "commit-repeated",     "a commit was asked again after its answer") \
  X(KEY_REPEATED,     "key-repeated",        "a begin was repeated with its key, and found") \
  X(KEY_TWIN,         "key-twin",            "a begin met another with its key under way") \
  X(KEY_CONFLICT,     "key-conflict",        "a key was used for another request, and that refused") \
  X(FROM_LOG,         "answered-from-log",   "a client was answered from the log") \
  X(HISTORY_PURGED,   "history-purged",      "a client asked for a commit that was purged") \
  X(LOADING,          "loading",             "a client was told to wait for recovery") \
  X(FULL_REFUSED,     "full-refused",        "a begin was refused for want of disk space") \
  X(OVERLOADED,       "overloaded",          "a request was refused at a limit") \
  X(UNDECIDED,        "undecided",           "an inquiry was answered: undecided") \
  X(ASKED_COMMIT,     "in-doubt-committed",  "a participant learned of a commit by asking") \
  X(ASKED_ABORT,      "in-doubt-aborted",    "a participant learned of an abort by asking") \
  X(TWO_MASTERS,      "two-masters",         "a participant was in doubt for two coordinators at once") \
  X(READ_ONLY,        "read-only",           "a branch voted read-only") \
  X(SIX,              "six",                 "a transaction over six participants committed") \
  X(ALL_YES,          "fair-weather",        "a run without any fault") \
  X(GROUP,            "group-commit",        "four records or more shared a sync") \
  X(EIGHT,            "eight-decisions",     "eight decisions to commit shared a sync") \
  X(BATCH,            "batch",               "a batch with several messages was answered") \
  X(BATCH_MIXED,      "batch-mixed",         "in one batch some messages were answered well and some not") \
  X(BATCH_LOST,       "batch-lost",          "a batch got no answer") \
  X(NOT_A_BATCH,      "not-a-batch",         "a batch was not understood, and its messages went again") \
  X(WIRE,             "wire",                "a message travelled as JSON") \
  X(QUARANTINE,       "quarantine",          "a log that was restored from a backup went into quarantine") \
  X(WITNESSED,        "witnessed",           "a participant had seen a log further than it was") \
  X(QUARANTINE_ASKED, "quarantine-asked",    "of what a log in quarantine does not know nothing was presumed") \
  X(GAP,              "gap",                 "of a commit that was lost nothing was presumed, as its id lies between two starts") \
  X(RECONCILED,       "reconciled",          "a log left quarantine") \
  X(AGAIN,            "reconciled-again",    "a log was reconciled that was not in quarantine any more") \
  X(RESTORED_TWICE,   "restored-twice",      "a log was replaced by a backup for the second time") \
  X(ONLY_THERE,       "only-there",          "a commit that only a participant knew was reconciled") \
  X(SAID_COMMIT,      "said-commit",         "an operator decided a commit, as a client had been told") \
  X(SAID_ABORT,       "said-abort",          "an operator decided an abort, as nobody had been told") \
  X(SAID_OVER,        "said-over",           "an operator looked how one had ended that participants had forgotten") \
  X(TOOL_KILLED,      "tool-killed",         "a reconciliation was killed") \
  X(TOOL_KILLED_WRITING, "tool-killed-writing", "a reconciliation was killed while it wrote") \
  X(TOOL_SILENT,      "tool-unanswered",     "a participant did not answer a reconciliation") \
  X(TOOL_PARTLY,      "tool-partly",         "only what was decided so far was written") \
  X(TOOL_WITHOUT,     "tool-without",        "a reconciliation went on without a participant") \
  X(HELD_BACK,        "held-back",           "an undecided transaction was held back in quarantine") \
  X(HEURISTIC,        "heuristic",           "a heuristic outcome was recorded") \
  X(FORGOTTEN,        "forgotten",           "a heuristic outcome was forgotten")

/* X(NAME, name, property, only, calm, needs, what). Mistakes that the checkers must catch.
 * `property`: the one that has to; `only`: and no other may notice. `calm`: faults that would spread
 * the harm are left out: 0 none of them, 1 crashes and failing disks, 2 those and what loses or
 * delays messages, 3 the same but for the crashes of participants. `needs`: a fault without which it does not show, or ANY. */
#define SIM_MISTAKE_TABLE(X) \
  X(SEND_FIRST,       "send-before-log",     D1,  false, 0, ANY, "a coordinator takes records for durable at once") \
  X(TELL_FIRST,       "tell-before-log",     D1,  true,  1, ANY, "a decision is told before it is durable") \
  X(VOTE_FIRST,       "vote-before-log",     V1,  false, 0, ANY, "a participant votes before its vote is durable") \
  X(HOLLOW_VOTE,      "hollow-vote",         V1,  true,  1, ANY, "a vote is durable and the work behind it is not") \
  X(ACK_FIRST,        "ack-before-log",      P2,  false, 0, ANY, "a participant acknowledges before the end is durable") \
  X(SYNC_IS_ABORT,    "failed-sync-aborts",  AC1, false, 0, SYNC_C, "a failed COMMIT is taken for one that never happened") \
  X(NO_SETTLE,        "no-settle",           D1,  false, 0, SYNC_C, "a restarted coordinator believes what only its cache holds") \
  X(DECIDE_EARLY,     "decide-early",        AC3, true,  1, ANY, "commit is on the disk before the last vote is") \
  X(UNILATERAL,       "unilateral-abort",    AC3, false, 0, ANY, "a participant in doubt gives up and aborts") \
  X(WORK_LOST,        "commit-not-kept",     AC1, true,  3, CRASH_P, "a database loses in a crash what it had committed") \
  X(NO_TOMBSTONE,     "no-tombstone",        P4,  false, 0, CRASH_P, "a participant forgets what it has ended") \
  X(MEMORY_ONLY,      "watermark-in-memory", P4, false, 0, ANY, "a participant takes a watermark for stored that a crash takes") \
  X(WATERMARK_BACK,   "watermark-goes-back", P4, false, 0, LONG, "a stored watermark is replaced by an older one that was queued before") \
  X(SEEN_BACK,        "seen-goes-back",      P10, false, 0, LONG, "what was seen of a log is replaced on disk by what was seen before") \
  X(UNKNOWN_IS_OK,    "unknown-is-success",  AC1, false, 0, CRASH_P, "commit to a branch that was lost counts as done") \
  X(DOUBT_LOST,       "vote-lost",           FOUND, false, 0, CRASH_P, "a participant loses its vote in a crash") \
  X(UNDECIDED_ABORTS, "undecided-aborts",    AC2, false, 0, ANY, "an undecided transaction is presumed aborted") \
  X(NO_HISTORY,       "no-history",          AC2, false, 1, ANY, "abort is presumed without a look at the log") \
  X(PURGE_BLIND,      "purge-blind",         AC2, true,  1, PURGE, "what was purged is presumed aborted") \
  X(NO_QUARANTINE,    "no-quarantine",       AC2, false, 0, RESTORE, "a log that was restored from a backup is believed") \
  X(GAP_PRESUMED,     "gap-presumed",        AC2, false, 0, RESTORE, "ids between two starts are presumed aborted") \
  X(GAP_UNHEARD,      "gap-unheard",         AC5, false, 0, RESTORE, "who is in doubt of such an id is no witness for a reconciliation") \
  X(GAP_STAYS,        "gap-stays",           C6,  false, 0, CLOCK, "a start without ids leaves a gap in which those of the next lie") \
  X(ABORTS_KNOWN,     "reconcile-aborts",    C12, false, 0, RESTORE, "a reconciliation aborts what a participant has committed") \
  X(KNOWN_FORGETS,    "known-forgets",       C12, false, 0, RESTORE, "a participant leaves out what it has committed") \
  X(KNOWN_EARLY,      "known-early",         PEACE, false, 0, RESTORE, "a branch that is just being committed is told as a promise") \
  X(DEAF_TOOL,        "reconcile-deaf",      C12, false, 0, RESTORE, "who does not answer a reconciliation counts as one that knows nothing") \
  X(LOW_IDS,          "reconcile-low-ids",   C12, false, 0, RESTORE, "ids of the lost log are presumed, or issued again, after a reconciliation") \
  X(HALF,             "reconcile-half",      AC2, false, 0, RESTORE, "half of what a reconciliation decided is on the disk, and the quarantine over") \
  X(HIGH_WATERMARK,   "reconcile-watermark", C5,  false, 0, RESTORE, "after a reconciliation finished_below passes what it left open") \
  X(STAYS_BEHIND,     "reconcile-behind",    AC5, true,  0, RESTORE, "a reconciled log stays behind what participants have seen") \
  X(LOG_ONLY,         "reconcile-log-only",  AC5, false,  0, RESTORE, "a reconciliation is about what the log has, and not what is in doubt") \
  X(ID_AGAIN,         "ids-from-clock",      C6,  false, 0, CRASH_C, "a restarted coordinator trusts the clock for ids") \
  X(NO_FLOOR,         "log-without-floor",   AC5, false, 0, CLOCK, "a new log's first ids may be older than the log") \
  X(WATERMARK,        "watermark-ahead",     C5,  false, 0, ANY, "finished_below passes what is open") \
  X(ONE_NAME,         "one-coordinator",     AC1, false, 0, ANY, "participants take all coordinators for one") \
  X(TWICE,            "commit-twice",        M1,  true,  0, CRASH_P, "a commit callback runs again after it has succeeded") \
  X(KEY_LOST,         "key-not-kept",        C8,  false, 0, CLIENT, "the abort of a keyed transaction is not recorded") \
  X(FAINT,            "faint-hearted",       AC4, true,  0, ANY, "a good vote is taken for nonsense now and then") \
  X(DEAF,             "inquiry-deaf",        AC5, true,  0, ANY, "a participant never hears what it asked for") \
  X(LEFTOVER,         "leftover",            O1,  true,  2, VOTE_NO, "a no leaves its prepared work in the database") \
  X(NO_LIMIT,         "no-limit",            B1,  true,  0, TIGHT, "limits that were configured do not count") \
  X(LIAR,             "liar",                P6,  false, 0, ANY, "an abort is reported as heuristic, and nobody touched it") \
  X(HASTY,            "hasty",               ONE, false, 0, ANY, "a message is given up while it is on its way") \
  X(MISREAD,          "misread",             PEACE, false, 0, ANY, "an acknowledged commit is read as a heuristic outcome") \
  X(WRONG_PAYLOAD,    "wrong-payload",       PAYLOAD, false, 0, ANY, "branches get each other's payload") \
  X(ENLIST_OTHER,     "enlist-other",        API, false, 0, ANY, "an enlist is repeated with another payload") \
  X(ANSWER_LOST,      "call-forgotten",      TOKENS, false, 0, ANY, "the API forgets a request that waits in the core") \
  X(WIRE_FORGETS,     "wire-forgets",        CONTRACT, false, 0, ANY, "a message loses a member on the wire") \
  X(REPLY_TWICE,      "reply-twice",         CONTRACT, false, 0, ANY, "a reply is handed to the core twice") \
  X(STOP,             "core-stops",          ALIVE, false, 0, ANY, "a core stops itself") \
  X(BATCH_ORDER,      "batch-order",         AC1, false, 0, ANY, "the replies of a batch are taken for each other's")
/* clang-format on */

enum sim_fault {
#define SIM_ENUM(NAME, name, what) SIM_FAULT_##NAME,
  SIM_FAULT_TABLE(SIM_ENUM)
#undef SIM_ENUM
      SIM_FAULTS
};

enum sim_property {
#define SIM_ENUM(NAME, name, goes_on, what) SIM_##NAME,
  SIM_PROPERTY_TABLE(SIM_ENUM)
#undef SIM_ENUM
      SIM_PROPERTIES
};

enum sim_probe {
#define SIM_ENUM(NAME, name, what) SIM_PROBE_##NAME,
  SIM_PROBE_TABLE(SIM_ENUM)
#undef SIM_ENUM
      SIM_PROBES
};

enum sim_mistake {
  SIM_MISTAKE_NONE,
#define SIM_ENUM(NAME, name, property, only, calm, needs, what) SIM_MISTAKE_##NAME,
  SIM_MISTAKE_TABLE(SIM_ENUM)
#undef SIM_ENUM
      SIM_MISTAKES
};

struct sim_name {
  const char *name, *what;
};
extern const struct sim_name sim_faults[SIM_FAULTS], sim_properties[SIM_PROPERTIES],
    sim_probes[SIM_PROBES], sim_mistakes[SIM_MISTAKES]; /* the first mistake is none */

struct sim_mistake_rule {
  enum sim_property property;
  bool only;
  uint32_t faults_off, faults_on;
};
extern const struct sim_mistake_rule sim_mistake_rules[SIM_MISTAKES];
extern const bool sim_property_goes_on[SIM_PROPERTIES];

#endif
