"""Whichever allocation fails, of a bank or of a library in it, once or for ever after: the process
goes on, perhaps with an error to whoever asked, or it ends with status 1 and a sentence about
memory; and when there is memory again everything ends as it was told. (vowd: test_vowd_memory.py.)
"""

import itertools

import pytest
from vowtest import Town, transaction_of, wait_until
from vowtest.memory import KINDS, QUICK, STAYS, over, reap, start_or_end

# ---- a bank, which is libvow with the SQLite resource ----


@pytest.fixture
def town(world):
    """With the memory of the right bank."""
    town = Town(world, **{**QUICK, "prepare_timeout_ms": 1500})
    right = town.banks[1]
    right.stop()
    town.memory = world.memory(right)
    town.memory.fail(0)
    right.start()
    return town


# Transfers under test are from these accounts in turn, what asks whether it works from the others:
# none runs dry.
TESTED, OTHERS = itertools.cycle(range(1, 7)), itertools.cycle(range(7, 21))


def works(town):
    return town.ask(1, account=next(OTHERS)).wait()


def revive(town):
    """The right bank, if it has ended, or says that it has to be started again."""
    town.memory.stop()
    right = town.banks[1]
    if not right.process.running():
        reap(right)
        right.start()
        return
    for _ in range(2):
        answer = works(town)
        if answer.status == 200:
            return
        branches = town.vowd.client.show(transaction_of(answer)["id"])["branches"]
        if "restart this participant" in str(branches):
            right.restart()
    assert works(town).status == 200, "it works again"


@KINDS
def test_a_bank_starts_or_says_why_not(town, stays):
    right, memory = town.banks[1], town.memory
    count = memory.count

    def run(nth):
        right.stop()
        memory.fail(nth, stays)
        start_or_end(right, r"listens on")
        revive(town)
        town.at_rest()

    over(memory, count, run)


@KINDS
@pytest.mark.parametrize("amount", [1, 10**6], ids=["commit", "abort"])
def test_a_bank_at_work_answers_and_keeps_its_word(town, amount, stays):
    memory = town.memory

    def run(nth):
        memory.fail(nth, stays)
        answer = town.ask(amount, account=next(TESTED)).wait()
        assert answer and answer.status in (200, 202, 409), answer
        wait_until(lambda: not town.open() or needs_memory(town), "it has ended, or waits")
        assert town.banks[1].process.running(), "libvow does not end whom it serves"
        revive(town)
        town.at_rest()
        town.asked.clear()

    count = 0
    for _ in range(2):
        memory.fail(0)
        town.ask(amount).wait()
        town.at_rest()
        count = max(count, memory.count)
    # Where what was tried has to be undone, and cannot be, the points lie close together.
    over(memory, count, run, denser=4 if stays and amount > 1 else 1)


def needs_memory(town):
    """It cannot go on before there is some."""
    return town.memory.get(STAYS) or any("restart this" in str(one) for one in town.open())


@KINDS
def test_a_bank_in_doubt_asks_until_it_is_told(town, stays):
    """vowd dies with the decision not yet made; the bank asks it, then and when it is back."""
    right, memory = town.banks[1], town.memory

    def run(nth):
        town.vowd.restart(failpoint="votes.all_in=kill")
        town.ask(1, account=next(TESTED)).wait()
        town.vowd.wait_killed()
        memory.fail(nth, stays)
        town.vowd.start()
        wait_until(
            lambda: memory.refused or right.ask("--check")[0] == 0, "it has asked, or was told"
        )
        assert right.process.running(), "libvow does not end whom it serves"
        revive(town)
        town.at_rest()
        town.asked.clear()

    memory.fail(0)
    town.vowd.restart(failpoint="votes.all_in=kill")
    town.ask().wait()
    town.vowd.wait_killed()
    town.vowd.start()
    town.at_rest()
    over(memory, memory.count, run)


@KINDS
def test_a_bank_stops_and_its_books_are_right(town, stays):
    right, memory = town.banks[1], town.memory

    def run(nth):
        memory.fail(nth, stays)
        right.stop()
        memory.stop()
        right.start()
        assert works(town).status == 200
        town.at_rest()

    assert town.ask().wait().status == 200
    memory.fail(0)
    right.stop()
    count = memory.count
    right.start()
    over(memory, count + 5, run)
