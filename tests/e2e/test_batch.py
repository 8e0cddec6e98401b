"""Batches over the wire: what queues up travels together where the participant offers that, and
whatever a participant makes of a batch, every message has its effect once."""

import http.client
import http.server
import json
import random
import threading
import time
import uuid

import pytest
from vowtest import (
    Client,
    assert_committed,
    check_books,
    everything_ends,
    parallel,
    toy,
    transaction_of,
    wait_until,
)
from vowtest.waiting import SLOWNESS

THREADS = 50


class Between:
    """Stands between vowd and a participant, passes everything on, and counts."""

    def __init__(self, address):
        self.paths, self.sizes, self.offers = [], [], set()
        between, local = self, threading.local()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def log_message(self, format, *arguments):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                between.paths.append(self.path)
                if self.path == "/batch":
                    between.sizes.append(len(json.loads(body)["messages"]))
                if not hasattr(local, "connection"):
                    local.connection = http.client.HTTPConnection(address)
                local.connection.request(
                    "POST", self.path, body, {"Content-Type": "application/json"}
                )
                answer = local.connection.getresponse()
                text = answer.read()
                self.send_response(answer.status)
                for name in ("Content-Type", "Vow-Batch"):
                    if answer.getheader(name):
                        self.send_header(name, answer.getheader(name))
                between.offers.add(answer.getheader("Vow-Batch"))
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
                self.wfile.flush()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def no_if_asked(exchange):
    """Votes abort where the payload says so."""
    refuses = exchange.message.body.get("payload") == "no"
    exchange.reply(*exchange.execute("abort" if refuses else "commit"))


def effects(*toys):
    return sum(branch.effects for one in toys for branch in one.branches.values())


def load(vowd, toys, count, payload=lambda n: "yes"):
    """That many transactions over all toys, many at once; the answers in their order."""
    return parallel(
        lambda n: vowd.client.one_shot(
            [{"url": one.url, "payload": payload(n) if one is toys[0] else "yes"} for one in toys]
        ),
        range(count),
        threads=THREADS,
    )


def warm(vowd, *toys):
    """The offers are known after the first answers."""
    assert_committed(vowd.client.one_shot([one.url for one in toys]))


def test_fifty_at_once_travel_in_batches_and_each_has_its_own_outcome(world):
    vowd, (a, b) = world.vowd(prepare_timeout_ms=20000), world.two_toys(batch_max=16)
    a.script("prepare", no_if_asked)
    warm(vowd, a, b)
    answers = load(vowd, (a, b), 200, lambda n: "no" if n % 5 == 0 else "yes")
    for n, answer in enumerate(answers):
        assert answer.status == (409 if n % 5 == 0 else 200), answer
    everything_ends(vowd, (a, b))
    assert effects(a, b) == 2 * (160 + 1)
    for one in (a, b):
        assert max(one.batches, default=0) > 1, "no batch was sent"
        assert max(one.batches) <= 16
    counted = dict(line.rsplit(" ", 1) for line in vowd.client.get("/metrics").text.splitlines()
                   if not line.startswith("#"))
    requests, messages = (int(counted[f"vow_{of}_total"]) for of in ("requests", "messages"))
    saved = sum(size - 1 for one in (a, b) for size in one.batches)
    assert messages - requests == saved, (requests, messages, saved)


def test_what_is_read_in_one_turn_leaves_as_one(world):
    """Requests that lie there when vowd comes to read them, and idle participants."""
    vowd, (a, b) = world.vowd(prepare_timeout_ms=20000), world.two_toys(batch_max=16)
    warm(vowd, a, b)
    everything_ends(vowd, (a, b))
    kept = [http.client.HTTPConnection(vowd.client.base.netloc) for _ in range(8)]
    for connection in kept:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
    vowd.process.freeze()
    body = json.dumps({"commit": True, "branches": [{"url": a.url}, {"url": b.url}]})
    for connection in kept:
        connection.request(
            "POST", "/v1/transactions", body, {"Content-Type": "application/json"}
        )
    vowd.process.thaw()
    for connection in kept:
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()
        connection.close()
    assert a.batches[:1] == [8] and b.batches[:1] == [8], (a.batches, b.batches)


def test_who_offers_nothing_gets_single_messages(world):
    vowd, (a, b) = world.vowd(prepare_timeout_ms=20000), (world.toy(), world.toy(batch_max=8))
    warm(vowd, a, b)
    for answer in load(vowd, (a, b), 100):
        assert_committed(answer)
    everything_ends(vowd, (a, b))
    assert not a.batches and b.batches


def test_an_offer_is_taken_back(world):
    vowd, a = world.vowd(prepare_timeout_ms=20000), world.toy(batch_max=8)
    b = world.toy()
    warm(vowd, a, b)
    load(vowd, (a, b), 100)
    everything_ends(vowd, (a, b))  # commits may still be on their way, in batches
    assert a.batches
    a.batch_max, a.batches = 0, []
    warm(vowd, a, b)
    for answer in load(vowd, (a, b), 100):
        assert_committed(answer)
    everything_ends(vowd, (a, b))
    assert not a.batches


def wrong_count(exchange):
    status, body = exchange.execute()
    exchange.reply(status, {"replies": body["replies"][1:]})


REFUSALS = {
    "404": toy.answer(404),
    "404 of ours": toy.problem(404, "unknown-branch"),
    "413": toy.answer(413),
    "500": toy.answer(500, b"oops", "text/plain"),
    "garbage": toy.answer(200, b"<html>"),
    "not HTTP": toy.raw(b"hello\r\n\r\n"),
    "wrong count": wrong_count,
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_who_offers_batches_and_refuses_them_loses_nothing(world, refusal):
    vowd, (a, b) = world.vowd(prepare_timeout_ms=20000), world.two_toys(batch_max=16)
    warm(vowd, a, b)
    a.script("batch", refusal)
    for answer in load(vowd, (a, b), 100):
        assert_committed(answer)
    everything_ends(vowd, (a, b))
    assert effects(a, b) == 2 * 101
    assert 1 <= len(a.batches) <= 16, "batches went on after a refusal"


def test_after_an_outage_batches_are_tried_again(world):
    vowd = world.vowd(prepare_timeout_ms=20000, retry_min_ms=10, retry_max_ms=100)
    a, b = world.two_toys(batch_max=16)
    warm(vowd, a, b)
    a.script("batch", toy.answer(404))
    load(vowd, (a, b), 60)
    everything_ends(vowd, (a, b))
    assert a.batches
    a.unscript()
    a.stop()
    answer = vowd.client.one_shot([a.url, b.url], headers={"Prefer": "respond-async"})

    def is_down():
        listed = vowd.client.get("/v1/participants").json["participants"]
        return "down" in [one["state"] for one in listed]

    wait_until(is_down, "a is seen to be down")
    a.start()
    vowd.wait_state(answer.json["id"], "committed")
    a.batches.clear()
    for answer in load(vowd, (a, b), 100):
        assert_committed(answer)
    everything_ends(vowd, (a, b))
    assert a.batches


def test_lost_answers_to_batches_are_asked_for_again(world):
    vowd = world.vowd(prepare_timeout_ms=20000, retry_min_ms=10, retry_max_ms=50)
    a, b = world.two_toys(batch_max=16)
    warm(vowd, a, b)
    a.script("batch", toy.lost_reply, 2).script("batch", toy.drop, 1)
    a.script("batch", toy.problem(503, "draining"), 1)
    for answer in load(vowd, (a, b), 100):
        assert_committed(answer)
    everything_ends(vowd, (a, b))
    assert effects(a, b) == 2 * 101


def test_a_batch_that_hangs_delays_once_and_not_the_rest(world):
    """Its messages go alone after the timeout, and meanwhile the others pass."""
    vowd = world.vowd(
        prepare_timeout_ms=30000, request_timeout_ms=1000, retry_min_ms=10, retry_max_ms=50
    )
    a, b = world.two_toys(batch_max=16)
    warm(vowd, a, b)
    a.script("batch", toy.hang, 1)
    before = time.monotonic()
    for answer in load(vowd, (a, b), 100):
        assert_committed(answer)
    assert time.monotonic() - before < 8 * SLOWNESS
    everything_ends(vowd, (a, b))
    assert effects(a, b) == 2 * 101


def test_one_bad_message_in_a_batch_spoils_no_other(world):
    vowd = world.vowd(prepare_timeout_ms=20000, retry_min_ms=10, retry_max_ms=50)
    a, b = world.two_toys(batch_max=16)
    warm(vowd, a, b)
    a.script("prepare", toy.problem(503, "overloaded"), 5)
    a.script("prepare", toy.answer(500), 5)
    for answer in load(vowd, (a, b), 100):
        assert_committed(answer)
    everything_ends(vowd, (a, b))
    assert effects(a, b) == 2 * 101


# ---- libvow ----


class Transfers:
    """Threads that move money between two banks, each transfer until its outcome is told."""

    def __init__(self, vowd, urls, seed):
        self.vowd, self.urls, self.told, self.errors = vowd, urls, {}, []
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self.work, args=(random.Random(f"{seed}/{n}"), n))
            for n in range(THREADS // 2)
        ]
        for thread in self.threads:
            thread.start()

    def finish(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a worker never got its answer"
        assert not self.errors, self.errors[:3]

    def work(self, dice, account):
        client = Client(self.vowd.url, timeout=20)
        try:
            while not self.stopping.is_set():
                self.one(client, dice, account + 1)
        except BaseException as error:
            self.errors.append(repr(error))
            raise

    def one(self, client, dice, account):
        amount = dice.randint(1, 3)
        branches = [
            {"url": url, "name": name, "payload": {"account": account, "amount": sign * amount}}
            for url, name, sign in zip(self.urls, ("debit", "credit"), (-1, 1))
        ]
        key = str(uuid.UUID(int=dice.getrandbits(128)))
        answer = client.one_shot_until_told(branches, key)
        self.told[transaction_of(answer)["id"]] = (answer.status, amount)


def two_banks(world):
    return [world.bank(name, accounts=THREADS, balance=100000) for name in ("left", "right")]


def test_libvow_takes_batches(world):
    vowd = world.vowd(prepare_timeout_ms=20000)
    banks = two_banks(world)
    between = [Between(bank.address) for bank in banks]
    try:
        transfers = Transfers(vowd, [one.url for one in between], 1)
        wait_until(lambda: len(transfers.told) > 200 or transfers.errors, "transfers", 60)
        transfers.finish()
        wait_until(lambda: not vowd.client.list(state="committing"), "all is delivered", 20)
    finally:
        for one in between:
            one.stop()
    for one in between:
        assert max(one.sizes, default=0) > 1, "no batch was sent"
        assert one.offers == {"64"}
    # The few others met a row that the transfer before was still to let go.
    assert sum(status == 200 for status, _ in transfers.told.values()) > 100
    check_books(banks, transfers.told)


def test_no_money_is_lost_when_batches_are_killed(world):
    vowd = world.vowd(prepare_timeout_ms=2000, retry_max_ms=200)
    banks = two_banks(world)
    transfers = Transfers(vowd, [bank.url for bank in banks], 2)
    for victims in ([vowd], [banks[0]], [banks[1], vowd], [vowd, *banks]):
        before = len(transfers.told)
        wait_until(
            lambda: len(transfers.told) > before + 30 or transfers.errors, "transfers go on", 60
        )
        for victim in victims:
            victim.kill()
        for victim in victims:
            victim.start(**({"ready": False} if victim is vowd else {}))
    transfers.finish()
    wait_until(lambda: not vowd.client.list(state="committing"), "all is delivered", 20)
    check_books(banks, transfers.told)


@pytest.mark.parametrize("failpoint", ["vote.before_reply=kill:40", "ack.before_reply=kill:40"])
def test_a_bank_that_dies_within_a_batch_keeps_its_word(world, failpoint):
    vowd = world.vowd(prepare_timeout_ms=5000, retry_max_ms=200)
    banks = two_banks(world)
    banks[0].restart(failpoint=failpoint)
    transfers = Transfers(vowd, [bank.url for bank in banks], 3)
    wait_until(lambda: not banks[0].process.running(), "the bank dies", 30)
    banks[0].restart()
    before = len(transfers.told)
    wait_until(lambda: len(transfers.told) > before + 30, "transfers go on", 60)
    transfers.finish()
    wait_until(lambda: not vowd.client.list(state="committing"), "all is delivered", 20)
    check_books(banks, transfers.told)
