"""Transactions without failures: they commit, abort, vote, enlist and answer as proto/README.md
says."""

import threading

import pytest
from vowtest import assert_aborted, assert_committed, toy, wait_until


def test_a_one_shot_transaction_commits_at_every_participant(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    payload = {"move": [1, -1.5, "ü\n", None, {"deep": {"er": True}}]}
    answer = vowd.client.one_shot([{"url": a.url, "payload": payload}, {"url": b.url}])
    id = assert_committed(answer)["id"]
    shown = vowd.wait_state(id, "committed")
    assert [a.outcome(id), b.outcome(id)] == ["committed", "committed"]
    assert a.received("prepare")[0].body["payload"] == payload
    assert "payload" not in b.received("prepare")[0].body
    assert [branch["vote"] for branch in shown["branches"]] == ["commit", "commit"]
    assert [branch["state"] for branch in shown["branches"]] == ["committed", "committed"]
    assert a.count("prepare") == a.count("commit") == 1 and a.count("abort") == 0
    assert vowd.client.outcome(id) == "committed"


def test_one_vote_abort_aborts_everywhere_and_says_who_and_why(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    b.script("prepare", toy.vote("abort", "no money"))
    answer = vowd.client.one_shot([{"url": a.url, "name": "left"}, {"url": b.url, "name": "right"}])
    id = assert_aborted(answer, "no money", "right")["id"]
    vowd.wait_state(id, "aborted")
    assert a.outcome(id) == "aborted" and b.count("abort") == b.count("commit") == 0
    assert vowd.client.outcome(id) == "aborted"


def test_an_interactive_transaction_commits_when_asked(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    id = vowd.client.begin(metadata={"order": 7})
    assert vowd.client.enlist(id, a.url, name="stock")["branch"] == 1
    assert vowd.client.enlist(id, b.url)["branch"] == 2
    assert vowd.client.state(id) == "active" and vowd.client.outcome(id) == "undecided"
    assert a.messages == []
    assert_committed(vowd.client.commit(id))
    shown = vowd.wait_state(id, "committed")
    assert shown["metadata"] == {"order": 7}
    assert [branch["name"] for branch in shown["branches"]] == ["stock", "2"]


def test_asking_again_gives_the_same_answer(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    committed = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    b.script("prepare", toy.vote("abort"))
    aborted = assert_aborted(vowd.client.one_shot([a.url, b.url]))["id"]
    for _ in range(3):
        assert_committed(vowd.client.commit(committed))
        assert_aborted(vowd.client.commit(aborted))
        assert vowd.client.abort(aborted).status == 200
        refused = vowd.client.abort(committed)
        assert refused.status == 409 and refused.problem == "illegal-state"
        assert "commit" in refused.json["detail"]


def test_read_only_branches_are_told_nothing_more(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    a.script("prepare", toy.vote("read-only"))
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    shown = vowd.wait_state(id, "committed")
    assert [branch["state"] for branch in shown["branches"]] == ["read-only", "committed"]
    assert a.count("commit") == 0 and b.outcome(id) == "committed"


def test_a_transaction_that_only_read_commits(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    for one in (a, b):
        one.script("prepare", toy.vote("read-only"))
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_state(id, "committed")
    assert a.count("commit") == b.count("commit") == 0


def test_a_reader_beside_one_who_refuses_is_told_nothing(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    a.script("prepare", toy.vote("read-only"))
    b.script("prepare", toy.delay(0.1, toy.vote("abort")))
    id = assert_aborted(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_state(id, "aborted")
    assert a.count("abort") == 0


def test_a_transaction_without_branches_commits(world):
    vowd = world.vowd()
    id = vowd.client.begin()
    assert_committed(vowd.client.commit(id))
    assert vowd.wait_state(id, "committed")["branches"] == []


def test_a_single_branch_may_commit_in_one_phase(world):
    vowd, a = world.vowd(), world.toy()
    a.honour_one_phase = True
    id = assert_committed(vowd.client.one_shot([a.url]))["id"]
    vowd.wait_state(id, "committed")
    assert a.received("prepare")[0].body["one_phase"] is True
    assert a.outcome(id) == "committed" and a.count("commit") == 0


def test_a_participant_may_ignore_one_phase(world):
    vowd, a = world.vowd(), world.toy()
    id = assert_committed(vowd.client.one_shot([a.url]))["id"]
    vowd.wait_state(id, "committed")
    assert a.outcome(id) == "committed" and a.count("commit") == 1


def test_one_phase_is_not_asked_of_two(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    assert_committed(vowd.client.one_shot([a.url, b.url]))
    assert not a.received("prepare")[0].body.get("one_phase")


def test_respond_async_answers_at_once(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    go = threading.Event()
    a.script("prepare", toy.gate(go))
    answer = vowd.client.one_shot([a.url, b.url], headers={"Prefer": "respond-async"})
    assert answer.status == 202 and not go.is_set()
    id = answer.json["id"]
    assert answer.headers["Location"].endswith(id)
    assert vowd.client.state(id) == "preparing" and vowd.client.outcome(id) == "undecided"
    go.set()
    vowd.wait_state(id, "committed")


def test_commit_may_be_asked_without_waiting(world):
    vowd, a = world.vowd(), world.toy()
    id = vowd.client.begin()
    vowd.client.enlist(id, a.url)
    assert vowd.client.commit(id, headers={"Prefer": "respond-async"}).status == 202
    vowd.wait_state(id, "committed")
    assert_committed(vowd.client.commit(id, headers={"Prefer": "respond-async"}))


def test_two_who_ask_to_commit_at_once_get_one_answer(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    go = threading.Event()
    a.script("prepare", toy.gate(go))
    id = vowd.client.begin()
    for one in (a, b):
        vowd.client.enlist(id, one.url)
    answers = []
    askers = [
        threading.Thread(target=lambda: answers.append(vowd.client.commit(id))) for _ in range(4)
    ]
    for asker in askers:
        asker.start()
    wait_until(lambda: a.count("prepare"), "prepare arrives")
    go.set()
    for asker in askers:
        asker.join(20)
    assert len(answers) == 4
    for answer in answers:
        assert_committed(answer)
    assert a.count("prepare") == 1


def test_abort_reaches_those_that_may_hold_work(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    id = vowd.client.begin()
    vowd.client.enlist(id, a.url)
    vowd.client.enlist(id, b.url, payload={"x": 1})
    assert vowd.client.abort(id).status == 200
    vowd.wait_state(id, "aborted")
    assert a.outcome(id) == "aborted"
    assert b.messages == [], "its payload was never handed over: it has nothing to undo"
    assert_aborted(vowd.client.commit(id))


def test_a_commit_under_way_can_be_aborted_until_the_votes_are_in(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    go = threading.Event()
    a.script("prepare", toy.gate(go))
    id = vowd.client.one_shot([a.url, b.url], headers={"Prefer": "respond-async"}).json["id"]
    wait_until(lambda: b.count("prepare"), "b is asked")
    assert vowd.client.abort(id).status == 200
    go.set()
    vowd.wait_state(id, "aborted")
    wait_until(lambda: a.outcome(id) == b.outcome(id) == "aborted", "both have aborted")


def test_an_idle_transaction_aborts_at_its_timeout(world):
    vowd, a = world.vowd(), world.toy()
    id = vowd.client.begin(timeout_ms=200)
    vowd.client.enlist(id, a.url)
    vowd.wait_state(id, "aborted")
    assert a.outcome(id) == "aborted" and a.count("prepare") == 0
    assert_aborted(vowd.client.commit(id), "time")
    assert vowd.client.outcome(id) == "aborted"


def test_a_vote_that_does_not_come_in_time_aborts(world):
    vowd, (a, b) = world.vowd(prepare_timeout_ms=400), world.two_toys()
    a.script("prepare", toy.hang)
    id = assert_aborted(vowd.client.one_shot([a.url, b.url]))["id"]
    wait_until(lambda: b.outcome(id) == "aborted", "b has aborted")
    a.unscript()
    vowd.wait_state(id, "aborted")


def test_the_participant_is_told_how_long_the_coordinator_waits(world):
    vowd, a = world.vowd(prepare_timeout_ms=2500), world.toy()
    assert_committed(vowd.client.one_shot([a.url]))
    body = a.received("prepare")[0].body
    assert 0 < body["timeout_ms"] <= 2500
    assert body["coordinator"] == vowd.url


def test_enlisting_twice_is_enlisting_once(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    id = vowd.client.begin()
    first = vowd.client.enlist(id, a.url, name="one")
    assert vowd.client.enlist(id, a.url, name="one")["branch"] == first["branch"]
    other = vowd.client.post(f"/v1/transactions/{id}/branches", {"url": b.url, "name": "one"})
    assert other.status == 409 and other.problem == "name-conflict"
    more = {"url": a.url, "name": "one", "payload": 2}
    other = vowd.client.post(f"/v1/transactions/{id}/branches", more)
    assert other.status == 409 and "payload" in other.json["detail"], "no work is dropped silently"
    assert len(vowd.client.show(id)["branches"]) == 1


def test_two_branches_at_one_participant_are_two(world):
    vowd, a = world.vowd(), world.toy()
    id = assert_committed(vowd.client.one_shot([a.url, a.url]))["id"]
    vowd.wait_state(id, "committed")
    assert a.outcomes(id) == ["committed", "committed"]
    assert sorted(message.branch for message in a.received("commit")) == [1, 2]


def test_two_branches_of_one_name_are_refused_when_begun_together(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    answer = vowd.client.one_shot([{"url": a.url, "name": "x"}, {"url": b.url, "name": "x"}])
    assert answer.status == 409 and answer.problem == "name-conflict", answer
    assert "same name" in answer.json["detail"]
    assert a.messages == b.messages == [] and vowd.client.list() == []


@pytest.mark.parametrize("ask", ["commit", "abort"])
def test_after_the_end_was_asked_for_nobody_joins(world, ask):
    vowd, a = world.vowd(), world.toy()
    id = vowd.client.begin()
    vowd.client.request("POST", f"/v1/transactions/{id}/{ask}")
    late = vowd.client.post(f"/v1/transactions/{id}/branches", {"url": a.url})
    assert late.status == 409 and late.problem in ("illegal-state", "transaction-aborted")
    assert a.messages == []


def test_trace_context_is_passed_on(world):
    vowd, a = world.vowd(), world.toy()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = vowd.client.one_shot([a.url], headers={"traceparent": parent})
    vowd.wait_state(assert_committed(answer)["id"], "committed")
    for message in a.messages:
        version, trace, _, _ = message.headers["traceparent"].split("-")
        assert (version, trace) == tuple(parent.split("-")[:2])


def test_a_url_may_have_a_path_and_a_final_slash(world):
    vowd, a = world.vowd(), world.toy("a/deep/path")
    id = assert_committed(vowd.client.one_shot([a.url + "/"]))["id"]
    vowd.wait_state(id, "committed")
    assert a.outcome(id) == "committed"


def test_outcomes_in_bulk_are_those_asked_for_in_their_order(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    committed = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    elsewhere = "01900000-0000-7000-8000-000000000001"
    lost = vowd.client.begin()
    vowd.restart()
    undecided = vowd.client.begin()
    ids = [lost, undecided, committed, elsewhere, lost]
    answer = vowd.client.post("/v1/outcomes", {"transactions": ids})
    assert answer.status == 200
    assert [entry["transaction"] for entry in answer.json["outcomes"]] == ids
    assert [entry["outcome"] for entry in answer.json["outcomes"]] == [
        "aborted",
        "undecided",
        "committed",
        "unknown",
        "aborted",
    ]
    assert [entry.get("presumed", False) for entry in answer.json["outcomes"]] == [
        True,
        False,
        False,
        False,
        True,
    ]


def test_ids_grow(world):
    vowd = world.vowd()
    ids = [vowd.client.begin() for _ in range(50)]
    assert ids == sorted(ids) and len(set(ids)) == 50


def test_an_abort_that_only_a_silent_branch_could_confirm_is_asked_for_again(world):
    vowd, a = world.vowd(wait_timeout_ms=300), world.toy()
    a.honour_one_phase = True
    a.script("prepare", toy.hang)
    id = vowd.client.one_shot([a.url], headers={"Prefer": "respond-async"}).json["id"]
    wait_until(lambda: a.count("prepare") >= 1, "it was asked to commit in one phase")
    unknown = vowd.client.abort(id)
    assert unknown.status == 504 and unknown.problem == "outcome-unknown", unknown
    assert "ask again" in unknown.json["detail"]
    a.unscript()
    vowd.wait_state(id, "aborted")
    assert vowd.client.abort(id).status == 200
