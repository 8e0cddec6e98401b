"""An Idempotency-Key makes a request safe to repeat, through a crash at every step."""

import uuid

import pytest
from failpoints import COORDINATOR
from vowtest import assert_aborted, assert_committed, everything_ends, toy


def keyed():
    return {"Idempotency-Key": str(uuid.uuid4())}


def test_the_same_request_is_the_same_transaction(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    headers = keyed()
    first = assert_committed(vowd.client.one_shot([a.url, b.url], headers=headers))
    again = assert_committed(vowd.client.one_shot([a.url, b.url], headers=headers))
    assert first["id"] == again["id"] and a.count("prepare") == 1


def test_another_body_under_the_same_key_is_refused(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    headers = keyed()
    assert_committed(vowd.client.one_shot([a.url, b.url], headers=headers))
    other = vowd.client.one_shot([a.url], headers=headers)
    assert other.status == 422 and other.problem == "idempotency-key-reused"
    assert a.count("prepare") == 1


def test_an_abort_under_a_key_stays_an_abort(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    a.script("prepare", toy.vote("abort", "not today"), times=1)
    headers = keyed()
    first = assert_aborted(vowd.client.one_shot([a.url, b.url], headers=headers), "not today")
    assert (
        assert_aborted(vowd.client.one_shot([a.url, b.url], headers=headers))["id"] == first["id"]
    )
    vowd.restart()
    assert (
        assert_aborted(vowd.client.one_shot([a.url, b.url], headers=headers))["id"] == first["id"]
    )
    assert a.count("prepare") == 1


def test_a_repeat_while_it_is_under_way_joins_it(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    a.script("prepare", toy.delay(0.3), times=1)
    headers = keyed()
    started = vowd.client.one_shot([a.url, b.url], headers={**headers, "Prefer": "respond-async"})
    assert started.status == 202
    joined = assert_committed(vowd.client.one_shot([a.url, b.url], headers=headers))
    assert joined["id"] == started.json["id"] and a.count("prepare") == 1


def test_a_begin_can_be_repeated(world):
    vowd = world.vowd()
    headers = keyed()
    first = vowd.client.post("/v1/transactions", {"timeout_ms": 5000}, headers=headers)
    again = vowd.client.post("/v1/transactions", {"timeout_ms": 5000}, headers=headers)
    assert first.status == 201 and again.status == 200
    assert first.json["id"] == again.json["id"]


@pytest.mark.parametrize("key", ["", "x" * 300, "new\tline"])
def test_a_key_that_is_no_key_is_refused(world, key):
    vowd = world.vowd()
    answer = vowd.client.post("/v1/transactions", {}, headers={"Idempotency-Key": key})
    assert answer.status in (400, 422) and "Idempotency-Key" in answer.text


@pytest.mark.parametrize(
    "point", [name for name in COORDINATOR if not name.startswith(("recover", "begin"))]
)
def test_a_repeat_after_a_crash_never_does_it_twice(world, point):
    """Killed at each step, asked again with the same key: the work is done once or, if nothing had
    been decided, anew as another transaction while the first is aborted; what was answered
    stays."""
    vowd, (a, b) = world.vowd(start=False), world.two_toys()
    vowd.start(failpoint=f"{point}=kill")
    headers = keyed()
    first = None
    try:
        first = vowd.client.one_shot([a.url, b.url], headers=headers)
    except (OSError, EOFError):
        pass
    except Exception as error:
        assert "Incomplete" in type(error).__name__ or "Disconnected" in type(error).__name__, error
    vowd.wait_killed()
    vowd.start()
    again = assert_committed(vowd.client.one_shot([a.url, b.url], headers=headers))
    if first is not None:
        assert assert_committed(first)["id"] == again["id"]
    vowd.wait_state(again["id"], "committed")
    everything_ends(vowd, (a, b))
    outcomes = [one.outcome(again["id"]) for one in (a, b)]
    assert outcomes == ["committed", "committed"]
    effects = sum(branch.effects for one in (a, b) for branch in one.branches.values())
    assert effects == 2, "each participant did the work exactly once"
