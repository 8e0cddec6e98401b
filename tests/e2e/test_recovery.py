"""vowd is killed at each of its fail points, and again while it recovers. Whatever it was doing,
everything ends, all or nothing, and a client that was told an outcome was told the truth."""

import threading

import pytest
from failpoints import COORDINATOR
from vowtest import (
    LOST,
    Client,
    assert_aborted,
    assert_committed,
    everything_ends,
    toy,
    wait_until,
)
from vowtest.ending import OPEN_STATES

AT_START = [name for name in COORDINATOR if name.startswith("recover.")]
# An answer to begin is given only to who does not commit in the same request.
AT_BEGIN = ["begin.before_answer"]
AT_WORK = [name for name in COORDINATOR if name not in AT_START + AT_BEGIN]


def begin_one_shot(vowd, toys, headers=None):
    """Sends a one-shot from a thread of its own; the list gets the answer, if one comes."""
    answers = []
    client = Client(vowd.url)

    def ask():
        try:
            answers.append(client.one_shot([one.url for one in toys], headers=headers))
        except LOST:
            pass

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, answers


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", AT_WORK)
def test_killed_while_committing(world, point, nth):
    vowd, toys = world.vowd(start=False), world.two_toys()
    vowd.start(failpoint=f"{point}=kill:{nth}")
    told = []

    def is_over():
        try:
            busy = any(vowd.client.list(state=state) for state in OPEN_STATES)
            return not busy and vowd.status()["log"]["queued"] == 0
        except LOST:
            return True  # it is being killed

    # A point that is passed once a transaction needs as many transactions as passes, each of them
    # after the end of the one before: two ends may share one COMMIT.
    for _ in range(nth):
        thread, answers = begin_one_shot(vowd, toys)
        thread.join(20)
        told += answers
        wait_until(is_over, "it has ended")
        if not vowd.process.running():
            break
    vowd.wait_killed()
    vowd.start()
    everything_ends(vowd, toys)
    for answer in told:
        id = assert_committed(answer)["id"]
        assert [one.outcome(id) for one in toys] == ["committed", "committed"]
        assert_committed(vowd.client.commit(id))


@pytest.mark.parametrize("point", AT_BEGIN)
def test_killed_before_a_begin_is_answered(world, point):
    vowd, toys = world.vowd(start=False), world.two_toys()
    vowd.start(failpoint=f"{point}=kill:2")
    id = vowd.client.begin()
    vowd.client.enlist(id, toys[0].url)
    with pytest.raises(LOST):
        vowd.client.begin()
    vowd.wait_killed()
    vowd.start()
    assert vowd.client.outcome(id) == "aborted"
    everything_ends(vowd, toys)


# An abort is written only for the sake of an Idempotency-Key (C8).
ABORTS = [
    ("prepare.sent", False),
    ("decision.sent", False),
    ("ack.received", False),
    ("log.after_commit", True),
    ("decision.before_answer", True),
    ("decision.sent", True),
]


@pytest.mark.parametrize("point, keyed", ABORTS)
def test_killed_while_aborting(world, point, keyed):
    vowd, toys = world.vowd(start=False), world.two_toys()
    toys[1].script("prepare", toy.delay(0.2, toy.vote("abort", "no")))
    vowd.start(failpoint=f"{point}=kill")
    headers = {"Idempotency-Key": "one"} if keyed else None
    thread, answers = begin_one_shot(vowd, toys, headers)
    thread.join(20)
    vowd.wait_killed()
    vowd.start()
    everything_ends(vowd, toys)
    assert all(branch.outcome != "committed" for one in toys for branch in one.branches.values())
    for answer in answers:
        assert_aborted(answer)


@pytest.mark.parametrize("point", AT_START)
def test_killed_while_recovering(world, point):
    """Three transactions are decided and not told; the recovery is killed, and the one after it."""
    vowd, toys = world.vowd(), world.two_toys()
    toys[1].script("commit", toy.answer(503))
    ids = [assert_committed(vowd.client.one_shot([o.url for o in toys]))["id"] for _ in range(3)]
    vowd.kill()
    for nth in (1, 2) if point == "recover.row" else (1, 1):
        vowd.start(failpoint=f"{point}=kill:{nth}", ready=False)
        vowd.wait_killed()
    toys[1].unscript()
    vowd.start()
    everything_ends(vowd, toys)
    assert [toys[1].outcome(id) for id in ids] == ["committed"] * 3


@pytest.mark.parametrize(
    "second", ["recover.row", "recover.done", "decision.sent", "ack.received", "end.after_log"]
)
@pytest.mark.parametrize(
    "first", ["log.after_commit", "decision.before_answer", "decision.sent", "ack.received"]
)
def test_killed_at_work_and_again_in_the_recovery_from_it(world, first, second):
    vowd, toys = world.vowd(start=False), world.two_toys()
    vowd.start(failpoint=f"{first}=kill")
    thread, _ = begin_one_shot(vowd, toys)
    thread.join(20)
    vowd.wait_killed()
    vowd.start(failpoint=f"{second}=kill", ready=False)
    vowd.wait_killed()
    vowd.start()
    everything_ends(vowd, toys)


def test_a_single_branch_whose_one_phase_answer_was_lost_is_asked(world):
    """C4: until the participant has answered the outcome is unknown, never presumed aborted."""
    vowd, a = world.vowd(prepare_timeout_ms=20000), world.toy()
    a.honour_one_phase = True
    a.script("prepare", toy.lost_reply)
    id = vowd.client.one_shot([a.url], headers={"Prefer": "respond-async"}).json["id"]
    wait_until(lambda: a.outcome(id) == "committed", "it has committed")
    vowd.kill()
    a.stop()
    vowd.start()
    assert vowd.client.outcome(id) == "undecided"
    a.start()
    a.unscript()
    vowd.wait_state(id, "committed")
    assert vowd.client.outcome(id) == "committed"
    assert_committed(vowd.client.commit(id))


def test_a_single_branch_that_never_saw_its_one_phase_prepare_is_aborted(world):
    vowd, a = world.vowd(prepare_timeout_ms=20000), world.toy()
    a.honour_one_phase = True
    a.script("prepare", toy.drop)
    id = vowd.client.one_shot([a.url], headers={"Prefer": "respond-async"}).json["id"]
    wait_until(lambda: a.count("prepare") >= 1, "it was asked")
    vowd.restart()
    a.unscript()
    vowd.wait_state(id, "aborted")
    assert_aborted(vowd.client.commit(id))
    assert a.outcome(id) == "aborted"


def test_answers_are_the_same_after_a_restart(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    committed = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    before = vowd.wait_state(committed, "committed")
    assert_committed(vowd.client.one_shot([a.url, b.url]))  # the end before it is on disk with it
    vowd.restart()
    assert_committed(vowd.client.commit(committed))
    assert vowd.client.outcome(committed) == "committed"
    refused = vowd.client.abort(committed)
    assert refused.status == 409 and refused.problem == "illegal-state"
    after = vowd.client.show(committed)
    for member in ("id", "state", "created", "branches"):
        assert after[member] == before[member], member


def test_what_was_not_decided_is_presumed_aborted(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    b.script("prepare", toy.hang)
    id = vowd.client.one_shot([a.url, b.url], headers={"Prefer": "respond-async"}).json["id"]
    wait_until(lambda: a.in_doubt(), "a has promised")
    active = vowd.client.begin()
    vowd.restart()
    b.unscript()
    for one in (id, active):
        answer = vowd.client.get(f"/v1/transactions/{one}/outcome").json
        assert answer["outcome"] == "aborted" and answer["presumed"] is True
        commit = vowd.client.commit(one)
        assert commit.status in (404, 409), commit
    assert a.in_doubt(), "nothing was known of it: a has to ask"
    everything_ends(vowd, (a, b))
    assert a.outcome(id) == "aborted"


def test_a_transaction_that_had_been_preparing_for_a_while_is_pushed_to_its_abort(world):
    vowd, (a, b) = world.vowd(prepare_timeout_ms=20000), world.two_toys()
    b.script("prepare", toy.hang)
    id = vowd.client.one_shot([a.url, b.url], headers={"Prefer": "respond-async"}).json["id"]
    before = vowd.status()["log"]["position"]
    wait_until(lambda: vowd.status()["log"]["position"] > before, "the record is durable")
    vowd.restart()
    b.unscript()
    wait_until(lambda: a.outcome(id) == "aborted", "a is told without asking")


def test_ids_do_not_repeat_after_a_restart(world):
    vowd, ids = world.vowd(), []
    for _ in range(3):
        ids += [vowd.client.begin() for _ in range(20)]
        vowd.restart()
    assert len(set(ids)) == 60 and ids == sorted(ids)


def test_recovery_goes_on_while_it_serves(world):
    """A participant is down for long: new transactions of others go on, and the progress can be
    seen."""
    vowd, (a, b) = world.vowd(), world.two_toys()
    b.script("commit", toy.answer(503))
    old = [assert_committed(vowd.client.one_shot([a.url, b.url]))["id"] for _ in range(5)]
    vowd.kill()
    b.stop()
    vowd.start()
    assert vowd.status()["recovering"] == 5
    c = world.toy()
    assert_committed(vowd.client.one_shot([a.url, c.url]))
    b.start()
    b.unscript()
    for id in old:
        vowd.wait_state(id, "committed")
    assert vowd.status()["recovering"] == 0


def test_twenty_kills_in_a_row_lose_nothing(world):
    vowd, toys = world.vowd(), world.two_toys()
    told = []
    for round in range(20):
        threads = [begin_one_shot(vowd, toys) for _ in range(4)]
        wait_until(
            lambda: toys[0].count("prepare") > round * 2 or not vowd.process.running(), "it works"
        )
        vowd.restart()
        for thread, answers in threads:
            thread.join(20)
            told += answers
    everything_ends(vowd, toys)
    for answer in told:
        if answer.status == 200:
            assert toys[0].outcome(answer.json["id"]) == "committed"
