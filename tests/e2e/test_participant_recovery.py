"""A participant built with libvow is killed at each of its fail points and started again: its
promises hold, each branch takes effect once, and nothing stays in doubt."""

import threading

import pytest
from failpoints import PARTICIPANT
from vowtest import LOST, Client, check_books, wait_until

ACCOUNTS, BALANCE = 20, 1000
COMMITTING = [
    name for name in PARTICIPANT if not name.startswith(("abort.", "recover.", "inquiry."))
]


@pytest.fixture
def town(world):
    """vowd and two banks."""
    vowd = world.vowd(prepare_timeout_ms=6000, retry_max_ms=200)
    banks = [world.bank(name, accounts=ACCOUNTS, balance=BALANCE) for name in ("left", "right")]
    return vowd, banks


def transfer_branches(banks, amount):
    return [
        {"url": bank.url, "payload": {"account": 1, "amount": sign * amount}}
        for bank, sign in zip(banks, (-1, 1))
    ]


def ask_in_background(vowd, banks, amount):
    """The answer comes into the list; a transfer waits while a bank is down."""
    answers = []

    def ask():
        try:
            answers.append(Client(vowd.url).one_shot(transfer_branches(banks, amount)))
        except LOST:
            pass

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, answers


def wait_killed(bank):
    code = bank.process.wait(15)
    assert code in (-9, 137), f"the fail point was not hit: it ended with {code}"


def told(answers):
    return {
        answer.json.get("transaction", answer.json)["id"]: (answer.status, 10) for answer in answers
    }


@pytest.mark.parametrize("point", COMMITTING)
def test_killed_on_the_way_to_a_commit(town, point):
    vowd, banks = town
    banks[1].restart(failpoint=f"{point}=kill")
    thread, answers = ask_in_background(vowd, banks, 10)
    wait_killed(banks[1])
    banks[1].start()
    thread.join(30)
    assert len(answers) == 1 and answers[0].status in (200, 409), answers
    wait_until(lambda: not vowd.client.list(state="committing"), "all is delivered")
    check_books(banks, told(answers))


@pytest.mark.parametrize("point", [name for name in PARTICIPANT if name.startswith("abort.")])
def test_killed_on_the_way_to_an_abort(town, point):
    vowd, banks = town
    banks[1].restart(failpoint=f"{point}=kill")
    # The left bank is asked for more than it has and votes abort; the right one has voted yes.
    thread, answers = ask_in_background(vowd, banks, 10 * BALANCE)
    wait_killed(banks[1])
    banks[1].start()
    thread.join(30)
    assert answers[0].status == 409
    wait_until(lambda: not vowd.client.list(state="aborting"), "all is delivered")
    check_books(banks, {id: (409, 0) for id in told(answers)})


def test_killed_when_the_answer_to_its_question_has_come(town):
    """vowd dies before it decides and has no record: the bank has to ask, and is killed when it is
    told."""
    vowd, banks = town
    vowd.restart(failpoint="votes.all_in=kill")
    banks[1].restart(failpoint="inquiry.answered=kill")
    thread, _ = ask_in_background(vowd, banks, 10)
    vowd.wait_killed()
    thread.join(30)
    vowd.start()
    wait_killed(banks[1])
    banks[1].start()
    check_books(banks, {})


def test_killed_while_it_reads_its_promises(town):
    vowd, banks = town
    vowd.restart(failpoint="votes.all_in=kill")
    thread, _ = ask_in_background(vowd, banks, 10)
    vowd.wait_killed()
    thread.join(30)
    banks[1].kill()
    for _ in range(2):
        banks[1].start(failpoint="recover.row=kill", wait=False)
        wait_killed(banks[1])
    vowd.start()
    banks[1].start()
    check_books(banks, {})


def test_promises_outlive_both_sides(town):
    """Everybody dies between decision and commit; everybody comes back; the transfer is done."""
    vowd, banks = town
    vowd.restart(failpoint="decision.before_answer=kill")
    thread, _ = ask_in_background(vowd, banks, 10)
    vowd.wait_killed()
    thread.join(30)
    for bank in banks:
        bank.kill()
    vowd.start()
    for bank in banks:
        bank.start()
    wait_until(lambda: not vowd.client.list(state="committing"), "all is delivered")
    ids = [one["id"] for one in vowd.client.list(state="committed")]
    assert len(ids) == 1
    check_books(banks, {ids[0]: (200, 10)})


@pytest.mark.parametrize("outcome", ["committed", "aborted"])
def test_a_participant_that_was_given_up_is_told_the_commit_however_late(world, outcome):
    """A branch settled by hand has not acknowledged: its commit outlives the history, also after a
    heuristic outcome was forgotten."""
    vowd = world.vowd(retention_age_ms=0, retry_max_ms=200)
    banks = [world.bank(name, accounts=ACCOUNTS, balance=BALANCE) for name in ("left", "right")]
    banks[1].restart(failpoint="commit.received=kill")
    id = vowd.client.one_shot(transfer_branches(banks, 10)).json["id"]
    wait_killed(banks[1])
    assert vowd.client.resolve(id, outcome, "it will not come back", branch=2).status == 200
    wait_until(lambda: vowd.client.state(id) == "committed", "all branches have ended")
    if outcome == "aborted":
        assert vowd.client.forget(id, "booked by hand").status == 200
    for _ in range(3):
        there_and_back = [{**b, "url": banks[0].url} for b in transfer_branches(banks, 1)]
        there_and_back[1]["payload"]["account"] = 2
        assert vowd.client.one_shot(there_and_back).status == 200
    wait_until(lambda: [one["id"] for one in vowd.client.list()] == [id], "the others are purged")
    assert vowd.client.outcome(id) == "committed"
    banks[1].start()
    check_books(banks, {id: (200, 10)})
