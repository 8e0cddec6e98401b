"""The runs of the model: configurations that must hold, and seeded mistakes that must be caught.

README.md has the same two tables for readers; check.py --self-test compares them.
"""

from dataclasses import dataclass

# Where a run belongs: `quick` and `ci` are what every change is judged by.
QUICK, CI, NIGHTLY = "quick", "ci", "nightly"


@dataclass(frozen=True)
class Run:
    """One search. `expect` is "holds", or the names of what may be reported first."""

    name: str
    switches: str
    group: str
    expect: tuple = ("holds",)
    model: str = "vow"
    cycles: bool = False  # looks for a cycle: every step must move forward, or nothing need end
    large: bool = False  # so many states that it pays to let the compiler optimize
    reverse: bool = False  # searches the other way round, where that finds a mistake sooner

    def flags(self):
        return [f"-D{switch}" for switch in self.switches.split()]


def configuration(name, switches, group=CI, **more):
    return Run(name, switches, group, **more)


CONFIGURATIONS = (
    configuration("two-phase", "FAULTS=1", QUICK),
    configuration("one-phase", "N=1 ONE_PHASE FAULTS=2 HISTORY", QUICK),
    configuration("witness", "", QUICK, model="witness"),
    configuration("two-phase-faults", "FAULTS=3"),
    configuration("read-only", "READ_ONLY FAULTS=2"),
    configuration("one-phase-heuristic", "N=1 ONE_PHASE HEURISTIC HISTORY FAULTS=3"),
    configuration("one-phase-loss", "N=1 ONE_PHASE LOSS HISTORY FAULTS=3"),
    configuration("heuristic", "HEURISTIC FAULTS=2"),
    configuration("amnesia", "AMNESIA FAULTS=1"),
    configuration("history", "HISTORY FAULTS=2"),
    configuration("resolve", "RESOLVE HISTORY FAULTS=1"),
    configuration("loss", "LOSS FAULTS=1", large=True),
    configuration("loss-read-only", "LOSS READ_ONLY FAULTS=0", large=True),
    configuration("loss-heuristic", "LOSS HEURISTIC FAULTS=0", large=True),
    configuration("loss-without", "LOSS WITHOUT FAULTS=0", large=True),
    configuration("loss-twice", "LOSS LOSSES=2 FAULTS=0", large=True),
    configuration("one-phase-loss-heuristic", "N=1 ONE_PHASE LOSS HEURISTIC HISTORY FAULTS=1"),
    configuration("one-phase-loss-twice", "N=1 ONE_PHASE LOSS LOSSES=2 HISTORY FAULTS=1"),
    configuration("cycles", "FAULTS=1", cycles=True),
    configuration("cycles-one-phase", "N=1 ONE_PHASE HEURISTIC LOSS FAULTS=1", cycles=True),
    configuration("three", "N=3 FAULTS=2", NIGHTLY),
    configuration("three-read-only", "N=3 READ_ONLY FAULTS=1", NIGHTLY),
    configuration("three-heuristic", "N=3 HEURISTIC FAULTS=0", NIGHTLY),
    configuration("three-loss", "N=3 LOSS FAULTS=0", NIGHTLY),
    configuration("five-faults", "FAULTS=5", NIGHTLY),
    configuration("read-only-history", "READ_ONLY HISTORY FAULTS=2", NIGHTLY),
    configuration("heuristic-history", "HEURISTIC HISTORY FAULTS=2", NIGHTLY),
    configuration("heuristic-resolve", "HEURISTIC RESOLVE HISTORY FAULTS=1", NIGHTLY),
    configuration("amnesia-history", "AMNESIA HISTORY FAULTS=1", NIGHTLY),
    configuration("loss-faults", "LOSS FAULTS=2", NIGHTLY),
    configuration("loss-history", "LOSS HISTORY FAULTS=1", NIGHTLY),
    configuration("witness-longer", "STARTS=3 RECORDS=4", NIGHTLY, model="witness"),
    configuration("witness-twice", "STARTS=3 RECORDS=3 LOSSES=2", NIGHTLY, model="witness"),
    configuration("cycles-history", "HEURISTIC HISTORY FAULTS=1", NIGHTLY, cycles=True),
    configuration("cycles-loss", "LOSS READ_ONLY FAULTS=1", NIGHTLY, cycles=True),
)


# What the model shows not to hold, and README.md says so.
LIMITS = (
    Run("late-messages", "LATE_MESSAGES", CI, ("W1",), model="witness"),
    Run("stranger", "STRANGER", CI, ("W2",), model="witness"),
    Run("left-out", "LOSS WITHOUT HISTORY FAULTS=0", CI, ("C12",), large=True),
)


def mistake(name, switches, expect, harm=None, **more):
    """A mistake that a rule forbids is run once more without the rules (OUTCOMES_ONLY), if `harm`
    says what a user would see: that shows what the rule is for."""
    runs = [Run(name, f"BUG_{name} {switches}", CI, tuple(expect.split()), **more)]
    if harm:
        switches = f"BUG_{name} OUTCOMES_ONLY {switches}"
        runs.append(Run(f"{name}+harm", switches, CI, tuple(harm.split()), **more))
    return runs


HISTORY = "HISTORY FAULTS=1"
DELEGATE = "N=1 ONE_PHASE FAULTS=1"
MISTAKES = tuple(
    run
    for runs in (
        mistake("SEND_BEFORE_LOG", "FAULTS=1", "D1", "AC2"),
        mistake("RECORD_NAMES_ONE", HISTORY, "C1", "AC2"),
        mistake("FAILED_SYNC_IS_ABORT", "FAULTS=2", "AC2"),
        mistake("TRUSTS_PAGE_CACHE", "FAULTS=2", "D1", "AC2"),
        mistake("UNDECIDED_IS_ABORTED", "FAULTS=1", "AC3"),
        mistake("ANSWERS_WHILE_LOADING", "FAULTS=1", "AC2"),
        mistake("VOTE_BEFORE_LOG", "FAULTS=1", "V1", "AC3"),
        mistake("FAILED_VOTE_SYNC_IS_NO", "FAULTS=2", "P1", "AC1"),
        mistake("UNILATERAL", "FAULTS=0", "P1", "AC3"),
        mistake("NO_ORPHAN_SCAN", "FAULTS=1", "O1"),
        mistake("NEVER_ASKS", "FAULTS=1", "AC5"),
        mistake("REFUSAL_TAKEN_BACK", "FAULTS=0", "cycle", cycles=True),
        mistake("COMMIT_TWICE", "FAULTS=0", "M1"),
        mistake("ACKNOWLEDGE_EARLY", HISTORY, "P2", "AC2"),
        mistake("READ_ONLY_COUNTED_TWICE", "READ_ONLY FAULTS=0", "AC3"),
        mistake("READ_ONLY_SPEAKS_FOR_ALL", "READ_ONLY FAULTS=0", "D1", "AC2"),
        mistake("READ_ONLY_IS_NO", "READ_ONLY FAULTS=0", "AC4"),
        mistake("DELEGATE_BEFORE_LOG", DELEGATE, "C4", "AC2"),
        mistake("LOST_REPLY_IS_ABORT", DELEGATE, "AC2"),
        mistake("ONE_PHASE_NO_UNLOGGED", DELEGATE, "AC2"),
        mistake("NO_TOMBSTONE", "FAULTS=0", "M1"),
        mistake("NO_ABORT_TOMBSTONE", DELEGATE, "P4", "AC1"),
        mistake("LATE_PREPARE", HISTORY, "P4", "M1"),
        mistake("PURGE_WITHOUT_WATERMARK", HISTORY, "P4", "M1"),
        mistake("END_BEFORE_ALL_ACKNOWLEDGED", HISTORY, "C5", "AC2"),
        mistake("WATERMARK_BEFORE_END", HISTORY, "C5"),
        mistake("PURGED_IS_ABORTED", HISTORY, "AC2"),
        mistake("SETTLED_PURGED", "RESOLVE HISTORY FAULTS=0", "AC2"),
        mistake("UNKNOWN_ANSWERED_COMMITTED", "AMNESIA FAULTS=0", "P5"),
        mistake("UNKNOWN_IS_SUCCESS", "AMNESIA FAULTS=0", "C7"),
        mistake("HEURISTIC_HIDDEN", "HEURISTIC FAULTS=0", "P6"),
        mistake("HEURISTIC_DROPPED", "HEURISTIC FAULTS=0", "C7"),
        mistake("HEURISTIC_FORGOTTEN_UNLOGGED", "HEURISTIC FAULTS=1", "C7"),
        mistake("HEURISTIC_PURGED", "HEURISTIC HISTORY FAULTS=1", "C7"),
        mistake("MERGE", "HEURISTIC FAULTS=0", "C7"),
        mistake("RESTORE", "LOSS FAULTS=0", "AC2"),
        mistake("QUARANTINE_LIFTED", "LOSS FAULTS=0", "AC2"),
        mistake("QUARANTINE_ASKS_DELEGATE", "N=1 ONE_PHASE LOSS HISTORY FAULTS=0", "AC2"),
        mistake("RECONCILE_ABORTS_PREPARED", "LOSS FAULTS=0", "AC2"),
        mistake("RECONCILE_COMMITS_PREPARED", "LOSS FAULTS=0", "AC2"),
        mistake("NO_VOTE_IS_PROOF", "LOSS READ_ONLY FAULTS=1", "AC2", reverse=True),
        mistake("RECONCILED_WITHOUT_ENDED", "LOSS HEURISTIC FAULTS=0", "C7"),
        mistake("PUSHES_IN_QUARANTINE", "LOSS HISTORY FAULTS=0", "C7", reverse=True),
        mistake("IGNORES_QUESTIONS", "", "W3", model="witness"),
        mistake("BELIEVES_ANY_ANSWER", "", "W3", model="witness"),
        mistake("BELIEVES_NO_LOWER", "", "W3", model="witness"),
        mistake("NO_INCARNATION", "", "W1", model="witness"),
        mistake("INCARNATION_COUNTED", "", "W1", model="witness"),
        mistake("DOES_NOT_ASK", "", "W1", model="witness"),
        mistake("WITNESS_BEFORE_SYNC", "", "W2", model="witness"),
        mistake("POSITION_NOT_DURABLE", "", "W2", model="witness"),
        mistake("SERVES_UNCHECKED", "", "C2", model="witness"),
    )
    for run in runs
)
