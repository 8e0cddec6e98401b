"""Whichever allocation fails, of vowd, of a bank, or of a library in them, once or for ever after:
the process goes on, perhaps with an error to whoever asked, or it ends with status 1 and a sentence
about memory; and when there is memory again everything ends as it was told."""

import re
import time

import pytest
from vowtest import LOST, Town, everything_ends, toy, transaction_of, wait_until
from vowtest.memory import REFUSED, STAYS, sweep
from vowtest.waiting import SLOWNESS

# Whatever is lost is noticed soon.
QUICK = {
    "transaction_timeout_ms": 1000,
    "prepare_timeout_ms": 600,
    "request_timeout_ms": 400,
    "wait_timeout_ms": 600,
    "retry_max_ms": 100,
}
# Nobody waits longer than for all timeouts one after the other, and for a start.
PATIENCE_S = 5
# Advice that would harm, and what would mean that somebody took a lack of memory for something
# else.
WRONG_ADVICE = re.compile(
    r"damaged|backup|has lost|look at the|permission|will not do|in use by"
)
KINDS = pytest.mark.parametrize("stays", [False, True], ids=["once", "for-ever"])


def over(memory, count, run, denser=1):
    """run(n) for each n of the sweep; tells all that went wrong, and who had asked for memory."""
    wrong = []
    for nth in sweep(count, denser):
        try:
            run(nth)
        except AssertionError as error:
            wrong.append(f"n = {nth}: {error}\n{memory.stack()}")
            if len(wrong) == 3:
                break
    assert not wrong, "\n".join(wrong)


def reap(owner):
    """A process that has ended: with status 1 and a sentence that helps."""
    process = owner.process
    code = process.exit_codes[-1] if process.child is None else process.wait()
    text = process.text()
    assert code == 1, f"it ended with {code}:\n{text}"
    last = (text.splitlines() or [""])[-1]
    assert "memory" in last, f"it does not say why:\n{text}"
    assert not WRONG_ADVICE.search(last), f"its advice does not help:\n{text}"
    getattr(owner, "died", lambda: None)()


def start_or_end(owner, listens):
    """A start while an allocation fails."""
    owner.launch()
    process = owner.process
    wait_until(lambda: not process.running() or re.search(listens, process.text()), "it decides")
    if process.running():
        owner.wait_listening()
    else:
        reap(owner)


# ---- vowd ----


@pytest.fixture
def vowd(world):
    vowd = world.vowd(start=False, **QUICK)
    vowd.memory = world.memory(vowd)
    vowd.memory.fail(0)
    return vowd.start()


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
        if vowd.process.running():
            vowd.kill()
            vowd.died()
        left = [file.name for file in vowd.folder.glob("vow.log.new*")]
        assert not left, left

    over(memory, count, run)


@KINDS
def test_vowd_recovers_when_there_is_memory_again(world, vowd, stays):
    """What was decided before the kill is delivered, by this start or by the next."""
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
        if not vowd.process.running():
            if vowd.process.child is not None:
                reap(vowd)
            vowd.start()
        everything_ends(vowd, [a, b])

    leave_open()
    memory.fail(0)
    vowd.start()
    everything_ends(vowd, [a, b])
    over(memory, memory.count, run)


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


def refused(client, a, b):
    b.script("prepare", toy.vote("abort", "no money"), times=1)
    return client.one_shot([a.url, b.url])


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


WORK = [one_shot, with_key, one_branch, interactive, refused, looked_at]


@KINDS
@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
def test_vowd_at_work_answers_or_ends_and_nothing_ends_twice(world, vowd, work, stays):
    memory, (a, b) = vowd.memory, world.two_toys()

    def run(nth):
        a.heard = b.heard = False
        memory.fail(nth, stays)
        begun = time.monotonic()
        try:
            answer = work(vowd.client, a, b)
            assert answer.status in (200, 409, 500, 503), answer
        except (AttributeError, TypeError, *LOST):
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
        work(vowd.client, a, b)
        everything_ends(vowd, (a, b))
        count = max(count, memory.count)
    over(memory, count, run)


def settle(vowd, toys):
    """It is started again if it has ended, now or while what was asked is driven to its end."""
    for _ in range(2):
        try:
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
    id = transaction_of(answer)["id"]
    aborted = answer.status == 409 or answer.json["state"] in ("aborting", "aborted")
    outcome = "aborted" if aborted else "committed"
    assert vowd.client.outcome(id) == outcome, f"AC2: {id} was told {outcome}"
    for one in toys:
        assert set(one.outcomes(id)) <= {outcome, None}, f"AC1: {id} was told {outcome}"


@KINDS
def test_vowd_reads_its_configuration_again_or_keeps_it(vowd, stays):
    memory = vowd.memory
    said = re.compile("was read again|stays as it was")

    def reload():
        before = len(said.findall(vowd.process.text()))
        vowd.reload()
        wait_until(
            lambda: not vowd.process.running() or len(said.findall(vowd.process.text())) > before,
            "it has read it, or ended",
        )
        assert vowd.process.running(), vowd.process.text()

    def run(nth):
        memory.fail(nth, stays)
        reload()
        memory.stop()
        assert vowd.client.get("/readyz").status == 200

    memory.fail(0)
    reload()
    over(memory, memory.count, run)


@KINDS
def test_vowd_stops_or_says_why_not_and_its_log_is_whole(world, vowd, stays):
    memory, (a, b) = vowd.memory, world.two_toys()

    def run(nth):
        if not vowd.process.running():
            vowd.start()
        assert vowd.client.one_shot([a.url, b.url]).status == 200
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
    over(memory, memory.count + 5, run)


# ---- a bank, which is libvow with the SQLite resource ----


@pytest.fixture
def town(world):
    """With the memory of the right bank."""
    town = Town(world, **{**QUICK, "prepare_timeout_ms": 1500})
    right = town.banks[1]
    right.process.stop()
    town.memory = world.memory(right)
    town.memory.fail(0)
    right.start()
    return town


OTHER = 7  # an account that no transfer under test has locked


def revive(town):
    """The right bank, if it has ended, or says that it has to be started again."""
    town.memory.stop()
    right = town.banks[1]
    if not right.process.running():
        reap(right)
        right.start()
        return
    for _ in range(2):
        answer = town.ask(account=OTHER).wait()
        if answer.status == 200:
            return
        branches = town.vowd.client.show(transaction_of(answer)["id"])["branches"]
        if "restart this participant" in str(branches):
            right.restart()
    assert town.ask(account=OTHER).wait().status == 200, "it works again"


@KINDS
def test_a_bank_starts_or_says_why_not(town, stays):
    right, memory = town.banks[1], town.memory
    count = memory.count

    def run(nth):
        right.process.stop()
        memory.fail(nth, stays)
        start_or_end(right, r"listens on")
        revive(town)
        town.at_rest()

    over(memory, count, run)


@KINDS
@pytest.mark.parametrize("amount", [10, 10**6], ids=["commit", "abort"])
def test_a_bank_at_work_answers_and_keeps_its_word(town, amount, stays):
    memory = town.memory

    def run(nth):
        memory.fail(nth, stays)
        answer = town.ask(amount).wait()
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
    over(memory, count, run, denser=4 if stays and amount > 10 else 1)


def needs_memory(town):
    """It cannot go on before there is some."""
    return town.memory.get(STAYS) or any("restart this" in str(one) for one in town.open())


@KINDS
def test_a_bank_in_doubt_asks_until_it_is_told(town, stays):
    """vowd dies with the decision not yet made; the bank asks it, then and when it is back."""
    right, memory = town.banks[1], town.memory

    def run(nth):
        town.vowd.restart(failpoint="votes.all_in=kill")
        asked = town.ask()
        asked.wait()
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
        assert right.process.stop() == 0
        memory.stop()
        right.start()
        assert town.ask().wait().status == 200
        town.at_rest()

    assert town.ask().wait().status == 200
    memory.fail(0)
    assert right.process.stop() == 0
    count = memory.count
    right.start()
    over(memory, count + 5, run)
