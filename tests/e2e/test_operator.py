"""What an operator sees and does: heuristic outcomes, branches that nobody knows, resolve and
forget."""

import pytest
from vowtest import assert_aborted, assert_committed, toy, transaction_of, wait_until


def heuristic(word):
    return toy.answer(200, {"outcome": word})


def settled(vowd, id):
    """The transaction once all its branches have answered."""

    def look():
        shown = vowd.client.show(id)
        return shown if shown.get("heuristic") else None

    return wait_until(look, "the heuristic outcome is recorded")


# What two branches answer to commit, and what it amounts to (the X/Open rules).
MERGES = [
    (("heuristic-commit", "committed"), "commit"),
    (("heuristic-commit", "heuristic-commit"), "commit"),
    (("heuristic-abort", "heuristic-abort"), "abort"),
    (("heuristic-abort", "committed"), "mixed"),
    (("heuristic-commit", "heuristic-abort"), "mixed"),
    (("heuristic-mixed", "committed"), "mixed"),
    (("heuristic-hazard", "committed"), "hazard"),
    (("heuristic-hazard", "heuristic-commit"), "hazard"),
    (("heuristic-mixed", "heuristic-hazard"), "mixed"),
]


@pytest.mark.parametrize("answers, merged", MERGES)
def test_heuristic_answers_to_commit_are_merged(world, answers, merged):
    vowd, both = world.vowd(), world.two_toys()
    for one, word in zip(both, answers):
        one.script("commit", heuristic(word))
    id = transaction_of(vowd.client.one_shot([one.url for one in both]))["id"]
    wait_until(lambda: vowd.client.show(id).get("heuristic") == merged, f"it is {merged}")


def test_a_participant_that_committed_against_an_abort_is_mixed(world):
    vowd, (a, b, c) = world.vowd(), (*world.two_toys(), world.toy())
    a.script("abort", heuristic("heuristic-commit"))
    b.script("prepare", toy.delay(0.1, toy.vote("abort")))
    id = transaction_of(vowd.client.one_shot([a.url, b.url, c.url]))["id"]
    assert settled(vowd, id)["heuristic"] == "mixed"
    assert vowd.client.outcome(id) == "aborted"


def test_a_heuristic_outcome_stays_until_it_is_forgotten_with_a_reason(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    a.script("commit", heuristic("heuristic-abort"))
    id = transaction_of(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_state(id, "committed")
    assert vowd.client.show(id)["heuristic"] == "mixed"
    assert a.count("forget") == 0
    vowd.restart()
    vowd.wait_state(id, "committed")  # the last answers may have to be asked for again
    assert vowd.client.show(id)["heuristic"] == "mixed"
    assert [one["id"] for one in vowd.client.list(heuristic="true")] == [id]

    without = vowd.client.post(f"/v1/transactions/{id}/forget", {})
    assert without.status == 400 and "reason" in without.text
    assert vowd.client.forget(id, "booked by hand, ticket 12").status == 200
    wait_until(lambda: a.count("forget") == 1, "the participant may forget, too")
    assert b.count("forget") == 0
    shown = vowd.client.show(id)
    assert "ticket 12" in str(shown["history"]) and shown["heuristic"] == "mixed"
    vowd.restart()
    assert "ticket 12" in str(vowd.client.show(id)["history"])


def test_forgetting_what_is_not_heuristic_is_refused(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_state(id, "committed")
    answer = vowd.client.forget(id, "to be tidy")
    assert answer.status == 409 and answer.problem == "illegal-state"


def test_commit_for_a_branch_that_nobody_knows_is_a_hazard_and_never_success(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    a.script("commit", toy.problem(404, "unknown-branch"))
    id = transaction_of(vowd.client.one_shot([a.url, b.url]))["id"]
    wait_until(lambda: b.outcome(id) == "committed", "the other one commits")
    shown = settled(vowd, id)
    assert shown["heuristic"] == "hazard"
    branch = shown["branches"][0]
    assert branch["state"] == "unknown" and branch["last_error"]
    assert vowd.client.outcome(id) == "committed"
    vowd.restart()
    assert vowd.client.show(id)["heuristic"] == "hazard"
    assert vowd.client.resolve(id, "committed", "done from the backup", branch=1).status == 200
    shown = vowd.wait_state(id, "committed")
    assert "done from the backup" in str(shown["history"])


def test_an_undecided_transaction_can_be_aborted_by_the_operator(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    a.script("prepare", toy.hang)
    id = vowd.client.one_shot([a.url, b.url], headers={"Prefer": "respond-async"}).json["id"]
    wait_until(lambda: b.count("prepare"), "b is asked")
    without = vowd.client.post(f"/v1/transactions/{id}/resolve", {"outcome": "aborted"})
    assert without.status == 400 and "reason" in without.text
    assert vowd.client.resolve(id, "aborted", "the customer hung up").status == 200
    a.unscript()
    shown = vowd.wait_state(id, "aborted")
    assert "the customer hung up" in str(shown["history"])
    wait_until(lambda: b.outcome(id) == "aborted", "b has aborted")


def test_an_undecided_transaction_is_not_committed_without_votes(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    a.script("prepare", toy.hang)
    id = vowd.client.one_shot([a.url, b.url], headers={"Prefer": "respond-async"}).json["id"]
    answer = vowd.client.resolve(id, "committed", "I want it")
    assert answer.status == 409 and answer.problem == "illegal-state"
    assert vowd.client.abort(id).status == 200
    a.unscript()
    vowd.wait_state(id, "aborted")


def test_a_branch_settled_by_hand_is_no_longer_pushed_and_is_told_the_decision(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    a.script("commit", toy.answer(503))
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    wait_until(lambda: a.count("commit") >= 1, "a is told")
    assert vowd.client.resolve(id, "committed", "entered by hand", branch=1).status == 200
    vowd.wait_state(id, "committed")
    again = vowd.client.resolve(id, "committed", "entered by hand", branch=1)
    assert again.status == 200, "the first answer may have been lost"
    other = vowd.client.resolve(id, "aborted", "entered by hand", branch=1)
    assert other.status == 409 and other.problem == "illegal-state"
    shown = vowd.wait_state(id, "committed")
    assert not shown.get("heuristic")
    told = a.count("commit")
    a.unscript()
    assert_committed(vowd.client.one_shot([a.url, b.url]))
    assert a.count("commit", id) == told, "it is not pushed any more"
    assert vowd.client.outcome(id) == "committed"


def test_settling_a_branch_against_the_decision_is_heuristic(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    a.script("commit", toy.answer(503))
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    wait_until(lambda: a.count("commit") >= 1, "a is told")
    assert vowd.client.resolve(id, "aborted", "the account is closed", branch=1).status == 200
    shown = settled(vowd, id)
    assert shown["heuristic"] == "mixed"
    vowd.restart()
    assert vowd.client.show(id)["heuristic"] == "mixed"
    assert vowd.client.outcome(id) == "committed"


def test_settling_a_branch_that_ended_is_refused(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_state(id, "committed")
    answer = vowd.client.resolve(id, "aborted", "just so", branch=1)
    assert answer.status == 409 and answer.problem == "illegal-state" and "committed" in answer.text
    missing = vowd.client.resolve(id, "aborted", "just so", branch=9)
    assert missing.status == 404 and missing.problem == "unknown-branch"
    assert missing.json["detail"] == "the transaction has no branch of this number"


def test_heuristics_are_counted(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    a.script("commit", heuristic("heuristic-abort"))
    id = transaction_of(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_state(id, "committed")  # both branches have ended: before, it is not mixed yet
    metrics = vowd.client.get("/metrics").text
    lines = [line for line in metrics.splitlines() if "heuristic" in line and "mixed" in line]
    assert any(line.endswith(" 1") for line in lines), metrics


def test_one_phase_that_ends_neither_way_says_so_to_each_who_asks(world):
    vowd, a = world.vowd(), world.toy()
    a.script("prepare", toy.answer(200, {"vote": "commit", "outcome": "heuristic-mixed"}))
    first = vowd.client.one_shot([{"url": a.url, "name": "a"}])
    id = first.json["transaction"]["id"]
    again = vowd.client.commit(id)
    assert vowd.client.forget(id, "looked into it").status == 200
    wait_until(lambda: not any(vowd.status()["open"].values()), "it is history")
    a.unscript()
    assert_committed(vowd.client.one_shot([a.url]))  # its sync takes the end along
    for answer in first, again, vowd.client.commit(id):
        assert answer.status == 409 and answer.problem == "heuristic-outcome", answer
        assert answer.json["detail"] == "branch 'a' ended: heuristic-mixed"


def test_one_phase_that_turns_out_aborted_is_an_abort(world):
    vowd, a = world.vowd(), world.toy()
    a.honour_one_phase = True
    a.script("prepare", toy.answer(200, {"vote": "abort", "outcome": "aborted", "reason": "empty"}))
    assert_aborted(vowd.client.one_shot([a.url]), "empty")
