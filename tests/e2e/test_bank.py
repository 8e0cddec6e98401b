"""Money moves between two banks with real databases while vowd and both banks are killed, again and
again: no transfer happens by half, no money is lost or made, and what a client was told is so."""

import os
import random
import sqlite3
import threading
import time
import uuid

import pytest
from vowtest import Client, check_books, wait_until

CYCLES = int(os.environ.get("VOW_BANK_CYCLES") or os.environ["VOW_BANK_CYCLES_DEFAULT"])
SEED = int(os.environ.get("VOW_BANK_SEED", "1"))
ACCOUNTS, BALANCE, WORKERS = 20, 1000, 6


class Transfers:
    """Workers that move money with a key each, and ask again with it until they are told the
    outcome."""

    def __init__(self, vowd, banks, seed):
        self.vowd, self.banks = vowd, banks
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.told = {}  # transaction id -> (status, amount)
        self.unknown = []
        self.errors = []
        self.threads = [
            threading.Thread(target=self.work, args=(random.Random(f"{seed}/{n}"),))
            for n in range(WORKERS)
        ]

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def finish(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a worker never got its answer"
        assert not self.errors, self.errors[:3]

    def work(self, random):
        client = Client(self.vowd.url, timeout=20)
        try:
            while not self.stopping.is_set():
                self.one(client, random)
        except BaseException as error:
            self.errors.append(repr(error))
            raise

    def one(self, client, random):
        # One in ten asks for more than any account has.
        amount = 10 * BALANCE * ACCOUNTS if random.random() < 0.1 else random.randint(1, 50)
        debit, credit = random.sample(self.banks, 2)
        branches = [
            {
                "url": bank.url,
                "name": name,
                "payload": {"account": random.randint(1, ACCOUNTS), "amount": sign * amount},
            }
            for bank, name, sign in ((debit, "debit", -1), (credit, "credit", 1))
        ]
        key = str(uuid.UUID(int=random.getrandbits(128)))
        answer = client.one_shot_until_told(branches, key)
        shown = answer.json.get("transaction", answer.json)
        with self.lock:
            if "id" in shown:
                self.told[shown["id"]] = (answer.status, amount)


def chaos(vowd, banks, random):
    """One cycle: somebody, or two at once, or all, die by kill -9 and come back."""
    victims = random.sample([vowd, *banks], random.choice((1, 1, 1, 2, 3)))
    for victim in victims:
        victim.kill()
    random.shuffle(victims)
    for victim in victims:
        time.sleep(random.uniform(0, 0.15))
        victim.start(**({"ready": False} if victim is vowd else {}))


def test_no_money_is_lost_or_made_while_everything_is_killed(world):
    vowd = world.vowd(prepare_timeout_ms=2000, retry_max_ms=200)
    banks = [world.bank(name, accounts=ACCOUNTS, balance=BALANCE) for name in ("left", "right")]
    transfers = Transfers(vowd, banks, SEED).start()
    dice = random.Random(SEED)
    for _ in range(CYCLES):
        before = len(transfers.told)
        wait_until(
            lambda: len(transfers.told) > before + 3 or transfers.errors, "transfers go on", 30
        )
        chaos(vowd, banks, dice)
    transfers.finish()
    wait_until(lambda: not vowd.client.list(state="committing"), "all is delivered", 20)
    assert sum(status == 200 for status, _ in transfers.told.values()) > CYCLES
    assert any(status == 409 for status, _ in transfers.told.values())
    check_books(banks, transfers.told)


def test_transfers_without_failures_all_have_their_outcome(world):
    vowd = world.vowd()
    banks = [world.bank(name, accounts=ACCOUNTS, balance=BALANCE) for name in ("left", "right")]
    transfers = Transfers(vowd, banks, SEED + 1).start()
    wait_until(lambda: len(transfers.told) > 100 or transfers.errors, "a hundred transfers", 30)
    transfers.finish()
    check_books(banks, transfers.told)
    # Aborts are for want of money or of a free row, and say so.
    aborted = [id for id, (status, _) in transfers.told.items() if status == 409]
    for id in aborted[:20]:
        assert vowd.client.show(id)["reason"]


def test_the_checker_sees_half_a_transfer(world):
    """The check of the books can fail: a transfer is made by half behind everybody's back."""
    vowd = world.vowd()
    banks = [world.bank(name, accounts=ACCOUNTS, balance=BALANCE) for name in ("left", "right")]
    transfers = Transfers(vowd, banks, SEED + 2).start()
    wait_until(lambda: sum(s == 200 for s, _ in transfers.told.values()) > 5, "some transfers", 30)
    transfers.finish()
    check_books(banks, transfers.told)
    banks[0].process.stop()
    with sqlite3.connect(banks[0].database) as database:
        gone = database.execute('SELECT "transaction" FROM ledger LIMIT 1').fetchone()[0]
        database.execute('DELETE FROM ledger WHERE "transaction" = ?', (gone,))
    database.close()
    with pytest.raises(AssertionError):
        check_books(banks, transfers.told, seconds=0.5)
