"""After the faults: everything ends, and no two branches of a transaction ended differently."""

from .waiting import wait_until

OPEN_STATES = ("active", "preparing", "committing", "aborting")


def ask_outcome(vowd, toy, transaction):
    """What a participant in doubt does: it asks, and believes only what is final (P7)."""
    outcome = vowd.client.outcome(transaction)
    if outcome in ("committed", "aborted"):
        for (id, _), branch in toy.branches.items():
            if id == transaction and branch.outcome is None:
                branch.outcome = outcome
                branch.effects += outcome == "committed"


def everything_ends(vowd, toys, seconds=20):
    """Waits until nothing is open and nobody in doubt; then AC1, AC2 and M1 must hold."""

    def at_rest():
        if any(vowd.client.list(state=state) for state in OPEN_STATES):
            return False
        for toy in toys:
            for id, _ in toy.in_doubt():
                ask_outcome(vowd, toy, id)
        return not any(toy.in_doubt() for toy in toys)

    wait_until(at_rest, "everything has ended", seconds)
    for id in {id for toy in toys for id, _ in toy.branches}:
        ended = {outcome for toy in toys for outcome in toy.outcomes(id) if outcome}
        assert len(ended) <= 1, f"AC1: {id} ended as {ended}"
        if ended:
            assert {
                vowd.client.outcome(id)
            } == ended, f"AC2: the coordinator says otherwise of {id}"
    for toy in toys:
        assert all(branch.effects <= 1 for branch in toy.branches.values()), "M1"
