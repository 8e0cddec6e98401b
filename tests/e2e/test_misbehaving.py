"""Participants that hang, refuse, answer late, garbage, huge or empty: each transaction gets its
clear outcome, what went wrong can be seen, and nobody else is delayed."""

import threading
import time

import pytest
from vowtest import assert_aborted, assert_committed, parallel, toy, wait_until

MIB = 1 << 20

# Answers after which the participant's vote counts as abort at once: they say that it will not do
# it.
REFUSALS = {
    "400": toy.problem(400, "invalid-request"),
    "401": toy.answer(401),
    "403": toy.answer(403, b"forbidden", "text/plain"),
    "404 unknown branch": toy.problem(404, "unknown-branch"),
    "404": toy.answer(404, b"<html>not here</html>", "text/html"),
    "405": toy.answer(405),
    "409": toy.problem(409, "conflict"),
    "410": toy.answer(410),
    "413": toy.answer(413),
    "415": toy.answer(415),
    "422": toy.answer(422),
    "501": toy.answer(501),
    "redirect": toy.answer(302),
    "204": toy.answer(204),
    "empty": toy.answer(200, b""),
    "no JSON": toy.answer(200, b"yes, certainly", "text/plain"),
    "broken JSON": toy.answer(200, b'{"vote":'),
    "an array": toy.answer(200, b"[]"),
    "no vote": toy.answer(200, {}),
    "an unknown vote": toy.answer(200, {"vote": "perhaps"}),
    "a number for a vote": toy.answer(200, {"vote": 1}),
    "an outcome for a vote": toy.answer(200, {"outcome": "committed"}),
    "two votes": toy.answer(200, b'{"vote":"abort","vote":"commit"}'),
    "too deep": toy.answer(200, b'{"vote":"commit","x":' + b"[" * 200 + b"]" * 200 + b"}"),
    "huge": toy.huge(8 * MIB),
    "bad UTF-8": toy.answer(200, b'{"vote":"abort","reason":"\xff\xfe"}'),
}

# Answers that say nothing about the branch: asked again, until the prepare timeout.
PASSING = {
    "500": toy.answer(500),
    "502": toy.answer(502),
    "503": toy.answer(503),
    "504": toy.answer(504),
    "408": toy.answer(408),
    "425": toy.answer(425),
    "429": toy.answer(429),
    "dropped": toy.drop,
    "lost reply": toy.lost_reply,
    "hangs": toy.hang,
    "slow-loris": toy.trickle,
}

# Answers to commit: whatever it says, it is told until it has acknowledged.
TO_COMMIT = {
    **REFUSALS,
    **PASSING,
    "endless": toy.endless,
    "not HTTP": toy.raw(b"220 mail.example ESMTP\r\n"),
    "half a header": toy.raw(b"HTTP/1.1 200"),
    "cut body": toy.raw(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"outcome":'),
    "a vote for an outcome": toy.answer(200, {"vote": "commit"}),
    "an unknown outcome": toy.answer(200, {"outcome": "maybe"}),
}
for valid in ("404 unknown branch", "an outcome for a vote", "huge"):
    del TO_COMMIT[valid]


def branch_of(shown, name):
    return next(branch for branch in shown["branches"] if branch["name"] == name)


@pytest.fixture(scope="module")
def misses():
    """What was not seen, over all the cases of this file's tables."""
    return []


def test_refusals_and_nonsense_count_as_abort(world):
    vowd, bad = world.vowd(), world.toy()
    good = world.toy()
    for name, behave in REFUSALS.items():
        bad.script("prepare", behave, times=1)
        started = time.monotonic()
        answer = vowd.client.one_shot([{"url": good.url}, {"url": bad.url, "name": "bad"}])
        id = assert_aborted(answer, "bad")["id"]
        assert time.monotonic() - started < 2.5, f"{name}: it took until the prepare timeout"
        shown = vowd.wait_state(id, "aborted")
        assert good.outcome(id) == "aborted", name
        branch = branch_of(shown, "bad")
        assert branch.get("last_error") or branch["vote"] == "abort", (name, branch)
        assert bad.count("commit", id) == 0, name


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_tried_again_until_the_vote_is_there(world, name):
    vowd, (good, bad) = (
        world.vowd(prepare_timeout_ms=9000, request_timeout_ms=400),
        world.two_toys(),
    )
    bad.script("prepare", PASSING[name], times=2)
    id = assert_committed(vowd.client.one_shot([good.url, {"url": bad.url, "name": "bad"}]))["id"]
    shown = vowd.wait_state(id, "committed")
    assert bad.outcome(id) == "committed" and bad.branches[id, 2].effects == 1
    assert branch_of(shown, "bad")["attempts"] >= 4
    assert any(entry["kind"] == "attempt-failed" for entry in shown["history"]), shown["history"]


@pytest.mark.parametrize("name", ["503", "hangs", "500"])
def test_what_does_not_pass_in_time_aborts_and_names_the_error(world, name):
    vowd, (good, bad) = world.vowd(prepare_timeout_ms=700, request_timeout_ms=300), world.two_toys()
    bad.script("prepare", PASSING[name])
    answer = vowd.client.one_shot([good.url, {"url": bad.url, "name": "bad"}])
    id = assert_aborted(answer, "bad")["id"]
    assert branch_of(vowd.client.show(id), "bad")["last_error"]
    wait_until(lambda: good.outcome(id) == "aborted", "the other one has aborted")
    bad.unscript()
    vowd.wait_state(id, "aborted")


def test_a_header_that_is_too_long_is_named(world):
    vowd, (good, bad) = world.vowd(prepare_timeout_ms=700), world.two_toys()
    bad.script("prepare", toy.raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n"))
    id = assert_aborted(vowd.client.one_shot([good.url, {"url": bad.url, "name": "bad"}]))["id"]
    error = branch_of(vowd.client.show(id), "bad")["last_error"]
    assert error.endswith("or its answer has a header that is too long"), error
    bad.unscript()


def test_a_connection_that_is_not_secure_says_why(world):
    """Curl has one name for all of it; what is wrong with a certificate it says besides."""
    vowd, (good, plain) = world.vowd(prepare_timeout_ms=1000), world.two_toys()
    url = plain.url.replace("http:", "https:")
    aborted = assert_aborted(vowd.client.one_shot([good.url, url]), "no secure connection to ")
    assert "SSL connect error" not in aborted["reason"], aborted["reason"]


@pytest.mark.parametrize("name", TO_COMMIT)
def test_commit_is_told_until_it_is_acknowledged(world, name):
    vowd, (good, bad) = world.vowd(request_timeout_ms=1500), world.two_toys()
    bad.script("commit", TO_COMMIT[name], times=2)
    id = assert_committed(vowd.client.one_shot([good.url, {"url": bad.url, "name": "bad"}]))["id"]
    wait_until(lambda: good.outcome(id) == "committed", "the other one is not delayed", 2)
    shown = vowd.wait_state(id, "committed")
    assert bad.outcome(id) == "committed" and bad.branches[id, 2].effects == 1
    assert bad.count("commit") == 3, "it was asked again, and not more often than needed"
    errors = [entry for entry in shown["history"] if entry["kind"] == "attempt-failed"]
    assert errors and all(entry["detail"] for entry in errors)


def test_while_commit_is_not_acknowledged_the_error_can_be_seen(world):
    vowd, (good, bad) = world.vowd(), world.two_toys()
    bad.script("commit", toy.answer(503))
    id = assert_committed(vowd.client.one_shot([good.url, {"url": bad.url, "name": "bad"}]))["id"]

    def seen():
        branch = branch_of(vowd.client.show(id), "bad")
        return branch["attempts"] >= 3 and "503" in branch.get("last_error", "")

    wait_until(seen, "the error is shown")
    assert vowd.client.state(id) == "committing" and vowd.client.outcome(id) == "committed"
    participants = vowd.client.get("/v1/participants").json["participants"]
    down = next(one for one in participants if one["url"].rstrip("/") == bad.url)
    assert down["state"] == "down" and down["last_error"]
    bad.unscript()
    vowd.wait_state(id, "committed")


def test_a_huge_answer_to_commit_is_cut_off(world):
    vowd, (good, bad) = world.vowd(), world.two_toys()
    bad.script("commit", toy.huge(8 * MIB), times=1)
    id = assert_committed(vowd.client.one_shot([good.url, bad.url]))["id"]
    vowd.wait_state(id, "committed")
    assert bad.count("commit") == 2


def test_a_participant_that_is_not_there_is_waited_for(world):
    vowd, (good, bad) = world.vowd(prepare_timeout_ms=20000), world.two_toys()
    bad.stop()
    started = vowd.client.one_shot([good.url, bad.url], headers={"Prefer": "respond-async"})
    id = started.json["id"]
    wait_until(lambda: vowd.client.show(id)["branches"][1].get("last_error"), "it has been tried")
    bad.start()
    vowd.wait_state(id, "committed")


def test_a_host_that_does_not_exist_aborts_and_says_so(world):
    vowd, good = world.vowd(prepare_timeout_ms=600), world.toy()
    nowhere = "http://vow-no-such-host.invalid:1/x"
    answer = vowd.client.one_shot([good.url, {"url": nowhere, "name": "nowhere", "payload": 1}])
    assert_aborted(answer, "nowhere")

    def idle():
        participants = vowd.client.get("/v1/participants").json["participants"]
        return next(one["state"] for one in participants if one["url"] == nowhere) == "idle"

    wait_until(idle, "nobody waits for it any more, so it is not down for ever")
    assert vowd.client.get("/v1/status").json["endpoints"]["down"] == 0


def test_one_dead_participant_costs_one_probe_at_a_time(world):
    vowd, (good, bad) = world.vowd(retry_min_ms=100, retry_max_ms=1000), world.two_toys()
    go = threading.Event()
    good.script("prepare", toy.gate(go))
    begun = [
        vowd.client.one_shot([good.url, bad.url], headers={"Prefer": "respond-async"})
        for _ in range(40)
    ]
    ids = [answer.json["id"] for answer in begun]
    wait_until(lambda: bad.count("prepare") == 40, "it has promised them all")
    bad.script("commit", toy.answer(503))
    go.set()
    for id in ids:
        vowd.wait_state(id, "committing")
    wait_until(lambda: bad.count("commit") >= 1, "it has been told")
    before, started = bad.count("commit"), time.monotonic()
    wait_until(lambda: time.monotonic() - started > 2, "two seconds have passed")
    probes = bad.count("commit") - before
    assert probes <= 20, f"{probes} messages in two seconds to a participant that is down"
    bad.unscript()
    for id in ids:
        vowd.wait_state(id, "committed", seconds=20)


@pytest.mark.parametrize(
    "behave", [toy.hang, toy.trickle, toy.endless], ids=["hang", "trickle", "endless"]
)
def test_bad_participants_delay_nobody_else(world, behave):
    vowd = world.vowd(prepare_timeout_ms=4000, request_timeout_ms=4000)
    bad, (a, b) = world.toy(), world.two_toys()
    bad.script("prepare", behave)
    for _ in range(8):
        vowd.client.one_shot([a.url, bad.url], headers={"Prefer": "respond-async"})
    wait_until(lambda: bad.count("prepare") >= 1, "it is hanging")
    started = time.monotonic()
    for answer in parallel(lambda _: vowd.client.one_shot([a.url, b.url]), range(50), threads=10):
        assert_committed(answer)
    assert time.monotonic() - started < 3.5, "healthy transactions waited for a sick participant"
    bad.unscript()
    wait_until(
        lambda: not vowd.client.list(state="preparing") and not vowd.client.list(state="aborting"),
        "all have ended",
        20,
    )


@pytest.mark.parametrize("busy", [True, False])
def test_a_branch_that_hangs_delays_no_other_of_its_participant(world, busy):
    """Its commit is never answered, and is told again and again: whether others have traffic
    meanwhile, or come when it has taken the participant down already."""
    vowd = world.vowd(request_timeout_ms=3000, prepare_timeout_ms=20000, retry_max_ms=200)
    one, other = world.two_toys()
    id = vowd.client.begin()
    for each in (one, other):
        vowd.client.enlist(id, each.url)
    one.script(
        "commit",
        lambda exchange: (toy.hang if exchange.message.transaction == id else toy.obey)(exchange),
    )
    assert_committed(vowd.client.commit(id))
    if not busy:
        wait_until(lambda: "does not answer" in vowd.process.text(), "it is taken for down")
    end = time.monotonic() + 7
    while time.monotonic() < end:
        began = time.monotonic()
        assert_committed(vowd.client.one_shot([one.url, other.url]))
        assert time.monotonic() - began < 2.5
        time.sleep(0.02)
    assert one.count("commit", id) >= 2
    assert ("does not answer" in vowd.process.text()) is not busy
    one.unscript()
    vowd.wait_state(id, "committed")


def test_messages_that_arrive_twice_take_effect_once(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    for kind in ("prepare", "commit"):
        a.script(kind, toy.lost_reply, times=1)
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_state(id, "committed")
    assert a.count("prepare") == a.count("commit") == 2
    assert a.branches[id, 1].effects == 1
