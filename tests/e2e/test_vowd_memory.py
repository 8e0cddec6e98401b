"""Whichever allocation of vowd fails, or of a library in it, once or for ever after: it goes on,
perhaps with an error to whoever asked, or it ends with status 1 and a sentence that says to give it
more memory; and when there is memory again everything ends as it was told."""

import contextlib
import re
import sqlite3
import time

import pytest
from vowtest import LOST, everything_ends, toy, transaction_of, vowd_run, wait_until
from vowtest.memory import ADVICE, KINDS, QUICK, REFUSED, WRONG_ADVICE, over, reap, start_or_end
from vowtest.waiting import SLOWNESS

# Nobody waits longer than for all timeouts one after the other, and for a start.
PATIENCE_S = 5


def keep_going(vowd):
    """What failed in its log's thread may have ended it only when all was told."""
    if vowd.process.running():
        return
    if vowd.process.child is not None:
        reap(vowd)
    vowd.start()


def over_a_running(vowd, count, run):
    over(vowd.memory, count, lambda nth: (keep_going(vowd), run(nth)))
    keep_going(vowd)


def make_history(vowd, toys):
    """Most of them commit."""
    asked = [one.url for one in toys]
    told = [vowd.client.one_shot(asked, metadata={"for": "x" * 1000}) for _ in range(HISTORY)]
    assert [answer.status for answer in told].count(200) > HISTORY // 2, told[-1]
    everything_ends(vowd, toys)


def write_configuration(file, branches=1000, connections=8000):
    """One option that a reload takes over, and one that needs a restart."""
    lines = [f"limits_branches = {branches}", f"limits_connections = {connections}"]
    lines += [f"participant = {name}=http://127.0.0.1:9/{name}" for name in ("one", "two")]
    file.write_text("\n".join(lines) + "\n")


@pytest.fixture
def vowd(world):
    """It has a configuration from each of the sources, flags, variables and a file."""
    file = world.folder / "vow.conf"
    write_configuration(file)
    vowd = world.vowd(start=False, config=file, **QUICK)
    vowd.memory = world.memory(vowd)
    vowd.environment = {
        **vowd.environment,
        "VOW_PARTICIPANT": "three=http://127.0.0.1:9/three",
        "VOW_UNKNOWN": "is ignored, and said to be",
    }
    vowd.memory.fail(0)
    return vowd.start()


FLAGS = pytest.mark.parametrize("flag", ["--help", "--version", "--check-config", "--print-config"])


@KINDS
@FLAGS
def test_vowd_shows_what_a_flag_asks_for_or_says_that_it_cannot(vowd, flag, stays):
    def show():
        return vowd_run(*vowd.flags(), flag, environment=vowd.environment)

    def run(nth):
        vowd.memory.fail(nth, stays)
        code, text = show()
        if code == 0:
            assert text == whole
        else:
            assert code == 1 and ADVICE in text.splitlines()[-1], f"{code}: {text}"

    vowd.stop()
    vowd.memory.fail(0)
    code, whole = show()
    assert code == 0 and whole, whole
    over(vowd.memory, vowd.memory.count, run)


@KINDS
def test_vowd_makes_a_new_log_or_says_that_it_cannot(vowd, stays):
    memory, count = vowd.memory, vowd.memory.count
    vowd.stop()

    def run(nth):
        for file in vowd.folder.glob("vow.log*"):
            file.unlink()
        memory.fail(nth, stays)
        start_or_end(vowd, "listening on")
        memory.stop()
        if vowd.process.child is not None:
            vowd.kill(ended=1)
        left = [file.name for file in vowd.folder.glob("vow.log.new*")]
        assert not left, left

    over(memory, count, run)


@KINDS
def test_vowd_recovers_when_there_is_memory_again(world, vowd, stays):
    """What was decided before the kill is delivered, by this start or by the next. The log is long
    enough for SQLite to need memory for its pages."""
    memory, (a, b) = vowd.memory, world.two_toys()

    def leave_open():
        b.script("commit", toy.answer(503))
        assert vowd.client.one_shot([a.url, b.url]).status == 200
        vowd.kill()
        vowd.died()
        b.unscript()

    def run(nth):
        leave_open()
        memory.fail(nth, stays)
        start_or_end(vowd, "listening on")
        if vowd.process.running():
            wait_until(
                lambda: not vowd.process.running() or not b.in_doubt() or memory.get(REFUSED) > 50,
                "it has delivered, or ended, or tries until there is memory",
            )
        memory.stop()
        settle(vowd, [a, b])

    make_history(vowd, [a, b])
    leave_open()
    memory.fail(0)
    vowd.start()
    everything_ends(vowd, [a, b])
    over_a_running(vowd, memory.count, run)


HISTORY = 60  # transactions


def one_shot(client, a, b):
    return client.one_shot([a.url, b.url])


def with_key(client, a, b):
    headers = {"Idempotency-Key": f"key-{time.monotonic_ns()}", "traceparent": TRACE}
    return client.one_shot([a.url, b.url], headers=headers, metadata={"for": "a test"})


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def one_branch(client, a, _):
    return client.one_shot([a.url])


def interactive(client, a, b):
    answer = client.post("/v1/transactions", {})
    if answer.status != 201:
        return answer
    id = answer.json["id"]
    for one in (a, b):
        answer = client.post(f"/v1/transactions/{id}/branches", {"url": one.url})
        if answer.status != 201:
            return client.post(f"/v1/transactions/{id}/abort", {})
    return client.post(f"/v1/transactions/{id}/commit", {})


def batched(client, a, _):
    return client.one_shot([{"url": a.url, "name": f"part-{i}"} for i in range(8)])


def refused(client, a, b):
    b.script("prepare", toy.vote("abort", "no money"), times=1)
    return client.one_shot([a.url, b.url])


def settled_by_hand(client, a, _):
    answer = client.post("/v1/transactions", {"branches": [{"url": a.url}]})
    if answer.status != 201:
        return answer
    return client.resolve(answer.json["id"], "aborted", "nobody is at home")


def heuristic(client, a, b):
    a.script("commit", toy.answer(200, {"outcome": "heuristic-abort"}), times=1)
    answer = client.one_shot([a.url, b.url])
    if answer.status not in (200, 409):
        return answer
    return client.forget(transaction_of(answer)["id"], "booked by hand")


def looked_at(client, *_):
    known = client.get("/v1/transactions?limit=1")
    if known.status != 200:
        return known
    paths = [f"/v1/transactions/{one['id']}" for one in known.json["transactions"]] + [
        "/v1/transactions?state=committed&limit=2",
        "/v1/participants",
        "/v1/status",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.yaml",
    ]
    return [client.get(path) for path in paths][-1]


WORK = [one_shot, with_key, one_branch, interactive, batched, refused]
WORK += [settled_by_hand, heuristic, looked_at]


@KINDS
@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
def test_vowd_at_work_answers_or_ends_and_nothing_ends_twice(world, vowd, work, stays):
    memory, (a, b) = vowd.memory, world.two_toys(batch_max=8)

    def run(nth):
        a.heard = b.heard = False
        memory.fail(nth, stays)
        begun = time.monotonic()
        try:
            answer = work(vowd.client, a, b)
            assert answer.status in (200, 409, 500, 503), answer
        except LOST:
            answer = None  # the connection, or the process
        took = time.monotonic() - begun
        memory.stop()
        a.unscript()
        b.unscript()
        assert took < PATIENCE_S * SLOWNESS, f"an answer after {took} s"
        settle(vowd, (a, b))
        check_told(vowd, (a, b), answer)

    count = 0
    for _ in range(3):
        memory.fail(0)
        assert work(vowd.client, a, b).status in (200, 409)
        everything_ends(vowd, (a, b))
        count = max(count, memory.count)
    over_a_running(vowd, count, run)


def settle(vowd, toys):
    """It is started again if it has ended, now or while what was asked is driven to its end."""
    for _ in range(2):
        try:
            vowd.wait_ready()
            everything_ends(vowd, toys, 5)
            return
        except LOST:
            wait_until(lambda: not vowd.process.running(), "it has ended")
            reap(vowd)
            vowd.start()
    everything_ends(vowd, toys, 5)


def check_told(vowd, toys, answer):
    """200 and 409 are outcomes; the others say nothing."""
    if answer is None or answer.status not in (200, 409) or not answer.json:
        return
    if answer.status == 200 and "branches" not in answer.json:
        return
    if answer.status == 409 and answer.problem != "transaction-aborted":
        return
    id = transaction_of(answer)["id"]
    aborted = answer.status == 409 or answer.json["state"] in ("aborting", "aborted")
    outcome = "aborted" if aborted else "committed"
    assert vowd.client.outcome(id) == outcome, f"AC2: {id} was told {outcome}"
    for one in toys:
        assert set(one.outcomes(id)) <= {outcome, None}, f"AC1: {id} was told {outcome}"


@KINDS
def test_vowd_tells_an_outcome_again_or_nothing(world, vowd, stays):
    """Who asks for what has committed hears so, or an error, and never that it aborted."""
    memory, client, (a, b) = vowd.memory, vowd.client, world.two_toys()

    def begin():
        return client.one_shot([a.url, b.url], headers={"Idempotency-Key": "always-the-same"})

    id = begin().json["id"]
    everything_ends(vowd, (a, b))
    asks = [
        begin,
        lambda: client.commit(id),
        lambda: client.get(f"/v1/transactions/{id}/outcome"),
        lambda: client.post("/v1/outcomes", {"transactions": [id]}),
    ]

    def run(nth):
        memory.fail(nth, stays)
        for ask in asks:
            try:
                answer = ask()
            except LOST:
                continue
            assert answer.status in (200, 500, 503), answer
            if answer.status == 200:
                assert "committed" in answer.text and "aborted" not in answer.text, answer
        memory.stop()
        settle(vowd, (a, b))
        assert vowd.client.outcome(id) == "committed"

    memory.fail(0)
    for ask in asks:
        assert ask().status == 200
    over_a_running(vowd, memory.count, run)


@KINDS
def test_vowd_makes_a_backup_or_says_why_not(world, vowd, stays):
    """What has the name that was asked for is whole, and of the rest nothing stays."""
    memory, path = vowd.memory, world.folder / "backup"

    def make():
        try:
            return vowd.client.post("/v1/backup", {"path": str(path)})
        except LOST:
            return None

    def left():
        return [file.name for file in world.folder.glob("backup*")]

    def check():
        with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            return copy.execute("SELECT count(*) FROM ended_txn").fetchone()[0]

    def run(nth):
        memory.fail(nth, stays)
        answer = make()
        memory.stop()
        if answer is None and vowd.process.running():
            wait_until(
                lambda: not vowd.process.running() or not list(world.folder.glob("backup.*")),
                "the backup whose answer was lost is made, or not",
            )
        if answer and answer.status != 200:
            assert answer.status == 500 and "memory" in answer.text, answer
            assert not WRONG_ADVICE.search(answer.text.replace("backup", "")), answer
            assert not left()
        if path.exists():
            assert check() == rows
        assert path.exists() or not answer or answer.status != 200
        for name in left():
            (world.folder / name).unlink()
        settle(vowd, [a])

    a = world.toy()
    make_history(vowd, [a])
    memory.fail(0)
    assert make().status == 200 and left() == ["backup"]
    count, rows = memory.count, check()
    assert rows > HISTORY // 2
    path.unlink()
    over_a_running(vowd, count, run)


@KINDS
def test_vowd_reads_its_configuration_again_or_keeps_it(world, vowd, stays):
    """Whichever it does, it says so, and what has changed."""
    memory, file = vowd.memory, world.folder / "vow.conf"
    said = re.compile("was read again|stays as it was")

    def limit():
        return vowd.client.get("/v1/status").json["limits"]["branches_max"]

    def reload(*failing):
        """What it says of it."""
        before = len(vowd.process.text())
        memory.fail(*failing)
        vowd.reload()
        wait_until(
            lambda: not vowd.process.running() or said.search(vowd.process.text(), before),
            "it has read it, or ended",
        )
        count = memory.count
        memory.stop()
        assert vowd.process.running(), vowd.process.text()
        assert vowd.client.get("/readyz").status == 200
        return vowd.process.text()[before:], count

    def run(nth):
        old, new = limit(), 1000 - nth % 2
        write_configuration(file, new, 7000 + nth)
        text, _ = reload(nth, stays)
        if "stays as it was" in text:
            assert limit() == old and ADVICE in text, text
            return
        assert limit() == new
        told = (old == new or "changed: limits_branches" in text) and "limits_connections" in text
        assert told or ADVICE in text, text

    over(memory, reload(0)[1] + 20, run)


@KINDS
def test_vowd_stops_or_says_why_not_and_its_log_is_whole(world, vowd, stays):
    memory, (a, b) = vowd.memory, world.two_toys()

    def run(nth):
        assert vowd.client.one_shot([a.url, b.url]).status in (200, 409)
        memory.fail(nth, stays)
        code = vowd.stop()
        memory.stop()
        if code != 0:
            reap(vowd)
        vowd.died()
        vowd.start()
        everything_ends(vowd, (a, b))

    assert vowd.client.one_shot([a.url, b.url]).status == 200
    memory.fail(0)
    vowd.stop()
    over_a_running(vowd, memory.count + 5, run)


def test_a_request_for_which_there_is_no_memory_at_all_is_told_so(vowd):
    """It is answered as documented, from a text that takes none to write."""
    for path in ("/v1/status", "/v1/participants", "/healthz", "/readyz", "/metrics"):
        vowd.memory.fail(1, stays=True, origin="vowd")
        answer = vowd.client.get(path)
        assert answer.status == 500 and answer.problem == "out-of-memory", answer
        vowd.memory.stop()
