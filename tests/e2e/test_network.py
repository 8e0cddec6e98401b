"""A network that cuts, drops, delays, resets and half-delivers, between vowd and its participants,
between clients and vowd, and between a participant in doubt and vowd, at every step. Whatever it
did, everything ends, all or nothing, and who was told an outcome was told the truth."""

import threading
import time

import pytest
from vowtest import LOST, Client, Proxy, Town, transaction_of, wait_until
from vowtest.proxy import ANY, ARRIVES, FAULTS, cut, drop, late, lose_reply, obey, slow
from vowtest.town import TOO_MUCH, transfer_branches

QUICK = {
    "prepare_timeout_ms": 1500,
    "request_timeout_ms": 250,
    "retry_min_ms": 20,
    "retry_max_ms": 100,
}


@pytest.fixture
def town(world):
    """vowd and both banks, each behind a proxy."""
    return Town(world, proxied=True, **QUICK)


def each_fault(*leave_out):
    names = [name for name in FAULTS if name not in leave_out]
    return pytest.mark.parametrize("fault", names)


# ---- between vowd and participants ----


@each_fault()
def test_one_message_to_a_participant_meets_it(town, fault):
    """A prepare, a commit and an abort, once each: a fault that passes costs a repetition, and no
    transaction its outcome."""
    right = town.proxies[1]
    for word, amount, status in (
        ("prepare", 10, 200),
        ("commit", 10, 200),
        ("abort", TOO_MUCH, 409),
    ):
        right.script(word, FAULTS[fault], times=1)
        asked = town.ask(amount)
        assert asked.wait().status == status, f"{word}: {asked.answer}"
        town.at_rest()
        assert right.hits(word) == 1
        right.heal()


@each_fault("slow", "twice")
def test_every_message_to_a_participant_meets_it_for_a_while(town, fault):
    """Prepares that never get through abort the transaction; a decision waits until they do."""
    right = town.proxies[1]
    right.script("prepare", FAULTS[fault])
    assert town.ask().wait().status == 409
    right.heal()
    town.at_rest()
    for word, amount, status in (("commit", 10, 200), ("abort", TOO_MUCH, 409)):
        before = right.hits(word)
        right.script(word, FAULTS[fault])
        assert town.ask(amount).wait().status == status
        wait_until(lambda: right.hits(word) >= before + 3, f"{word} is tried again")
        assert town.open() or fault in ARRIVES
        right.heal()
        town.at_rest()


def test_messages_that_arrive_long_after_their_transaction_has_ended_change_nothing(town):
    """Prepare, commit and abort, each delivered once more a second later, out of order."""
    right = town.proxies[1]
    for word, amount in (
        ("prepare", 10),
        ("commit", 10),
        ("prepare", TOO_MUCH),
        ("abort", TOO_MUCH),
    ):
        right.script(word, late(1.0), times=1)
        town.ask(amount)
    town.told()
    wait_until(lambda: not town.open(), "everything has ended")
    before = [bank.ledger() for bank in town.banks]
    since = time.monotonic()
    wait_until(lambda: time.monotonic() > since + 1.1, "the late ones have arrived")
    assert [bank.ledger() for bank in town.banks] == before
    town.at_rest()


def drop_commits(exchange):
    """Single, or in a batch, whose other messages go down with it."""
    commits = b"/commit HTTP" in exchange.request or b'"type":"commit"' in exchange.request
    return (drop if commits else obey)(exchange)


def test_a_participant_behind_a_black_hole_costs_the_others_nothing(town):
    """Its transactions wait; others are answered as ever."""
    town.proxies[1].script(ANY, drop_commits)
    for account in range(1, 21):
        town.ask(account=account)
    # A prepare that shared a batch with a commit may have come too late.
    committed = [id for id, (status, _) in town.told().items() if status == 200]
    assert committed
    left = [town.urls[0]] * 2
    for account in range(1, 20):
        branches = transfer_branches(left, 1, account)
        branches[1]["payload"]["account"] = account + 1
        # Refused as long as the one before has a lock on the account.
        wait_until(lambda: town.vowd.client.one_shot(branches).status == 200, "it commits", 3)
    waiting = {one["id"] for one in town.open()}
    assert set(committed) <= waiting
    town.proxies[1].heal()
    town.at_rest()


def test_vowd_cut_off_from_everybody_at_every_moment_of_a_transfer(town):
    """All connections of all three end at once, again and again, while transfers are under way."""
    for moment in range(12):
        asked = [town.ask(url=town.vowd.url) for _ in range(4)]
        seen = moment * 3
        counts = lambda: sum(one.messages for one in town.proxies)
        start = counts()
        wait_until(
            lambda: counts() >= start + seen or not any(a.thread.is_alive() for a in asked),
            "so many messages",
        )
        for proxy in town.proxies:
            proxy.stop()
        for proxy in town.proxies:
            proxy.start()
    town.at_rest()


# ---- between clients and vowd ----


@each_fault()
def test_a_client_asks_again_with_its_key_and_pays_once(town, fault):
    """One-shot through a bad network: with the same key it is the same transfer."""
    client = Client(town.front.url, timeout=0.5)
    for n, amount in enumerate((10, TOO_MUCH)):
        town.front.script("transactions", FAULTS[fault], times=2)
        branches = transfer_branches(town.urls, amount)
        answer = client.one_shot_until_told(branches, key=f"{fault}-{n}")
        assert answer.status == (200 if amount == 10 else 409), answer
    town.at_rest()
    assert len(town.banks[0].ledger()) == 1
    assert len(town.vowd.client.list()) == 2


def until_answered(request, good):
    """Asks until an answer comes, and is a good one."""

    def once():
        try:
            answer = request()
        except LOST:
            return None
        assert answer.status in good, answer
        return answer

    return wait_until(once, "an answer")


@each_fault()
@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_each_step_of_a_client_may_be_repeated(world, fault, ending):
    """Begin, enlist and end, each lost or half-delivered once. A begin that was lost is a
    transaction that nobody asks to commit: it ends by its timeout."""
    town = Town(world, proxied=True, transaction_timeout_ms=3000, **QUICK)
    client = Client(town.front.url, timeout=0.3)
    front = town.front
    front.script("transactions", FAULTS[fault], times=1)
    begun = until_answered(lambda: client.post("/v1/transactions", {}), (201,))
    id = begun.json["id"]
    path = f"/v1/transactions/{id}"
    for n, branch in enumerate(transfer_branches(town.urls, 10)):
        front.script("branches", FAULTS[fault], times=1)
        body = {**branch, "name": f"branch-{n}"}
        until_answered(lambda: client.post(f"{path}/branches", body), (200, 201))
    front.script(ending, FAULTS[fault], times=1)
    until_answered(lambda: client.post(f"{path}/{ending}"), (200,))
    outcome = "committed" if ending == "commit" else "aborted"
    front.script("outcome", FAULTS[fault], times=1)
    told = until_answered(lambda: client.get(f"{path}/outcome"), (200,))
    assert told.json["outcome"] == outcome
    assert all(front.hits(word) for word in ("transactions", "branches", ending, "outcome"))
    front.heal()
    town.at_rest()
    assert [sorted(bank.ledger()) for bank in town.banks] == (
        [[id], [id]] if ending == "commit" else [[], []]
    )


# ---- between a participant in doubt and vowd ----


@each_fault("slow")
def test_a_bank_in_doubt_asks_until_it_is_told(town, fault):
    """vowd died before it decided and has no record: only an answer frees the bank."""
    vowd = town.vowd
    vowd.restart(failpoint="votes.all_in=kill")
    town.ask(url=vowd.url).wait()
    vowd.wait_killed()
    town.front.script("outcomes", FAULTS[fault], times=1)
    vowd.start()
    wait_until(lambda: town.front.hits("outcomes") >= 1, "a bank has asked")
    if fault in ("drop", "trickle"):
        town.front.heal()
    town.at_rest()


def test_a_network_that_fails_at_random_everywhere_is_survived(town):
    """Every fault at every proxy, a few times each, while transfers go on from several clients."""
    order = list(FAULTS.values())
    for n, proxy in enumerate([town.front, *town.proxies]):
        for fault in order[n:] + order[:n]:
            proxy.script(ANY, slow(0.01), times=3 + n)
            proxy.script(ANY, fault, times=2)
    answers, lock = [], threading.Lock()

    def work(worker):
        client = Client(town.front.url, timeout=0.7)
        for n in range(6):
            branches = transfer_branches(town.urls, 1 + n, account=1 + worker)
            answer = client.one_shot_until_told(branches, key=f"{worker}-{n}")
            with lock:
                answers.append((answer, 1 + n))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    for proxy in [town.front, *town.proxies]:
        proxy.heal()
    town.at_rest(told={transaction_of(a)["id"]: (a.status, amount) for a, amount in answers})
    assert len(answers) == 30


def test_the_proxy_itself_can_break_something(town):
    """Without faults nothing is repeated; with them it is seen by who asks."""
    assert town.ask().wait().status == 200
    client = Client(town.front.url, timeout=0.3)
    for fault in (cut, lose_reply, drop):
        town.front.script("healthz", fault, times=2)
        with pytest.raises(LOST):
            client.get("/healthz")
        town.front.heal()
    assert client.get("/healthz").status == 200
    town.at_rest()
