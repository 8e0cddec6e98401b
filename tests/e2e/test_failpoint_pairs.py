"""Two failures: somebody is killed at one fail point, and in the recovery from that the same or
another process is killed or struck at a second. Everything still ends, all or nothing."""

import time

import pytest
from failpoints import COORDINATOR, PARTICIPANT
from vowtest import Town, wait_until
from vowtest.process import ended_by_kill
from vowtest.town import TOO_MUCH

SHORT = {
    "prepare_timeout_ms": 3000,
    "request_timeout_ms": 400,
    "retry_min_ms": 20,
    "retry_max_ms": 100,
}

# In the order in which one transfer passes them. What follows a crash at one of them begins anew
# where the log stands.
BANK_WAY = [n for n in PARTICIPANT if not n.startswith(("abort.", "recover.", "inquiry."))]
BANK_DURABLE = BANK_WAY.index("votes.after_log")
BANK_DONE = BANK_WAY.index("commit.after_log")
VOWD_WAY = [n for n in COORDINATOR if not n.startswith(("recover.", "begin."))]
VOWD_DURABLE = VOWD_WAY.index("log.after_commit")


def bank_pairs():
    """(first, second): second is passed after a crash at first."""
    for n, first in enumerate(BANK_WAY):
        if first == "votes.before_log":
            again = BANK_WAY
        elif n < BANK_DURABLE:  # all the same to its log: nothing has happened
            again = ["vote.before_reply", "ack.before_reply"]
        elif n < BANK_DONE:
            again = ["recover.row", *BANK_WAY[BANK_WAY.index("commit.received") :]]
        else:
            again = ["commit.received", "ack.before_reply"]
        yield from ((first, second) for second in again)


def vowd_pairs():
    """After a decision that is durable it is sent again; before that nobody is told anything."""
    again = ["recover.row", "recover.done", "decision.sent", "ack.received", "end.before_log"]
    again += ["end.after_log"]
    for first in VOWD_WAY[VOWD_DURABLE : VOWD_WAY.index("ack.received") + 1]:
        yield from ((first, second) for second in again)


def mixed_pairs():
    """vowd is killed at the first, and the right bank at the second, as vowd comes back."""
    for first in VOWD_WAY[VOWD_DURABLE : VOWD_WAY.index("decision.sent")]:
        # A bank that voted and heard nothing yet: it reads its promise, and is told.
        for second in BANK_WAY[BANK_WAY.index("commit.received") :]:
            yield first, second
    for first in ("votes.all_in", "decision.in_commit"):
        # Nothing is known of it: the bank asks.
        yield first, "inquiry.answered"


def each(pairs):
    return pytest.mark.parametrize("first, second", list(pairs))


@pytest.fixture
def town(world):
    return Town(world, **SHORT)


def wait_killed(process, point):
    code = process.wait(15)
    assert ended_by_kill(code), f"{point}: it ended with {code}"


@each(bank_pairs())
def test_a_bank_is_killed_and_again_as_it_recovers(town, first, second):
    bank = town.banks[1]
    bank.restart(failpoint=f"{first}=kill")
    town.ask()
    wait_killed(bank.process, first)
    bank.start(failpoint=f"{second}=kill", wait=False)
    wait_killed(bank.process, second)
    bank.start()
    town.at_rest()


@each(vowd_pairs())
def test_vowd_is_killed_and_again_as_it_recovers(town, first, second):
    vowd = town.vowd
    vowd.restart(failpoint=f"{first}=kill")
    town.ask().wait()
    vowd.wait_killed()
    vowd.launch(failpoint=f"{second}=kill")
    vowd.wait_killed()
    vowd.start()
    town.at_rest()


@each(mixed_pairs())
def test_vowd_is_killed_and_then_the_bank_that_it_comes_back_to(town, first, second):
    vowd, bank = town.vowd, town.banks[1]
    bank.restart(failpoint=f"{second}=kill")
    vowd.restart(failpoint=f"{first}=kill")
    town.ask().wait()
    vowd.wait_killed()
    assert bank.process.running(), "the second comes in the recovery from the first"
    vowd.start()
    wait_killed(bank.process, second)
    bank.start()
    town.at_rest()


# Aborts, and other strikes than a kill: the second strikes in the recovery from the first.
OTHERS = [
    # who is killed at which point, of a transfer of how much; how it is struck then
    ("bank", "abort.received", TOO_MUCH, "abort.before_log=kill"),
    ("bank", "abort.before_log", TOO_MUCH, "abort.after_log=kill"),
    ("bank", "abort.before_log", TOO_MUCH, "abort.received=error"),
    ("bank", "abort.after_log", TOO_MUCH, "abort.received=delay500"),
    ("bank", "votes.after_log", 10, "recover.row=error"),
    ("bank", "commit.before_log", 10, "commit.after_log=error"),
    ("bank", "commit.before_log", 10, "commit.before_log=error"),
    ("bank", "commit.before_log", 10, "commit.received=hang"),
    ("bank", "commit.after_log", 10, "ack.before_reply=stop"),
    ("vowd", "decision.before_answer", 10, "recover.row=error"),
    ("vowd", "decision.before_answer", 10, "recover.done=stop"),
    ("vowd", "decision.before_answer", 10, "decision.sent=hang"),
    ("vowd", "decision.before_answer", 10, "ack.received=error"),
    ("vowd", "decision.before_answer", 10, "ack.received=delay500"),
    ("vowd", "decision.before_answer", 10, "end.before_log=error"),
    ("vowd", "decision.before_answer", 10, "end.after_log=error"),
]


@pytest.mark.parametrize("who, first, amount, second", OTHERS)
def test_one_is_killed_and_struck_otherwise_as_it_recovers(town, who, first, amount, second):
    one = town.vowd if who == "vowd" else town.banks[1]
    one.restart(failpoint=f"{first}=kill")
    town.ask(amount)
    wait_killed(one.process, first)
    one.launch(failpoint=second)
    one.process.wait_for_line(f"{second.partition('=')[0]} strikes", "the second strikes")
    since = time.monotonic()
    wait_until(lambda: time.monotonic() > since + 0.5, "what waits for it has noticed")
    if second.endswith("=stop"):
        one.process.thaw()
        one.wait_listening()
    elif not second.endswith(("delay500", "received=error")):
        # It has ended by itself, or hangs, or asks to be started again.
        one.process.kill(ended=1)
        one.kill()
        one.start()
    town.revive()
    town.at_rest()
