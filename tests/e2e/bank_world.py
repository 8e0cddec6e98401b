"""Money moves between banks with real databases while everything is killed, frozen and cut off,
again and again. What clients asked and were told, and the books, are judged as one history."""

import os
import pathlib
import random
import shlex
import shutil
import signal
import sqlite3
import sys
import threading
import time
import uuid

from failpoints import COORDINATOR, PARTICIPANT
from vowtest import LOST, Client, history, transaction_of, wait_until
from vowtest.process import ended_by_kill
from vowtest.proxy import ANY, FAULTS
from vowtest.waiting import SLOWNESS

CYCLES = int(os.environ.get("VOW_BANK_CYCLES") or os.environ["VOW_BANK_CYCLES_DEFAULT"])
SEED = os.environ.get("VOW_BANK_SEED", "1")
SEED = int(time.time() // 86400 if SEED == "today" else SEED)
ACCOUNTS, BALANCE, WORKERS = 20, 1000, 6
# Timeouts are short, so that faults cost little; under valgrind fair weather would meet them.
SLOW = max(1, SLOWNESS / 3)
# Nobody waits longer than this for what a fault holds up.
PATIENCE_S = 3 * SLOW
ENDED_S = 60


class Transfers:
    """Workers that move money with a key each, and ask again with it until they are told the
    outcome; now and then once more after that."""

    def __init__(self, url, banks, urls, seed):
        self.url, self.banks = url, dict(zip((bank.name for bank in banks), urls))
        self.history = history.History(seed=seed)
        for bank in banks:
            accounts = {str(n): BALANCE for n in range(1, ACCOUNTS + 1)}
            self.history.content["accounts"][bank.name] = accounts
        self.stopping = threading.Event()
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
            thread.join(ENDED_S * 2)
            assert not thread.is_alive(), "a worker never got its answer"
        assert not self.errors, self.errors[:3]

    def work(self, dice):
        client = Client(self.url, timeout=PATIENCE_S)
        try:
            while not self.stopping.is_set():
                operation = self.draw(dice)
                self.ask(client, operation)
                if dice.random() < 0.05:
                    self.ask(client, {**operation, "attempts": []})
        except BaseException as error:
            self.errors.append(repr(error))
            raise

    def draw(self, dice):
        """One in ten asks for more than any account has."""
        amount = 10 * BALANCE * ACCOUNTS if dice.random() < 0.1 else dice.randint(1, 50)
        debit, credit = dice.sample(sorted(self.banks), 2)
        return {
            "key": str(uuid.UUID(int=dice.getrandbits(128))),
            "from": [debit, dice.randint(1, ACCOUNTS)],
            "to": [credit, dice.randint(1, ACCOUNTS)],
            "amount": amount,
            "attempts": [],
        }

    def ask(self, client, operation):
        branches = [
            {"url": self.banks[bank], "name": name, "payload": {"account": n, "amount": amount}}
            for (bank, n), name, amount in (
                (operation["from"], "debit", -operation["amount"]),
                (operation["to"], "credit", operation["amount"]),
            )
        ]
        operation |= {"asked": self.history.now(), "status": None, "transaction": None}
        deadline = time.monotonic() + ENDED_S
        try:
            while time.monotonic() < deadline:
                if self.attempt(client, operation, branches):
                    return
                time.sleep(0.02)
            raise AssertionError(f"no outcome within {ENDED_S} s: {operation}")
        finally:
            operation["answered"] = self.history.now()
            self.history.add(operation)

    @staticmethod
    def attempt(client, operation, branches):
        """Whether the outcome was told."""
        try:
            answer = client.one_shot(branches, headers={"Idempotency-Key": operation["key"]})
        except LOST as error:
            operation["attempts"].append(type(error).__name__)
            return False
        operation["attempts"].append(answer.status)
        if answer.status not in (200, 409):
            assert answer.status in (202, 503), answer
            return False
        operation |= {"status": answer.status, "transaction": transaction_of(answer)["id"]}
        return True


class Chaos:
    """Kills, freezes and cuts off, by dice. `kills` counts the deaths by SIGKILL."""

    def __init__(self, transfers, vowd, banks, proxies, seed):
        self.transfers, self.vowd, self.banks, self.proxies = transfers, vowd, banks, proxies
        self.dice = random.Random(seed)
        self.kills = 0

    def wait_for_progress(self):
        before = self.transfers.history.told
        wait_until(
            lambda: self.transfers.history.told > before + 3 or self.transfers.errors,
            "transfers go on",
            ENDED_S,
        )

    def note(self, who, what):
        name = "vowd" if who is self.vowd else who.name
        self.transfers.history.event(f"{name} {what}")

    def start(self, who, failpoint=None):
        """Until it listens; or the fail point may strike before that."""
        options = {"ready": False} if who is self.vowd else {}
        try:
            who.start(failpoint=failpoint, **options)
        except AssertionError:
            if failpoint is None or not self.reap(who):
                raise

    def reap(self, who):
        """Whether SIGKILL has ended it."""
        if who.process.child is None or who.process.running():
            return False
        code = who.process.wait()
        assert ended_by_kill(code), f"it ended with {code}:\n{who.process.text()}"
        self.kills += 1
        self.note(who, "was killed")
        return True

    def kill(self, who):
        if not self.reap(who) and who.process.child is not None:
            who.kill()
            self.kills += 1
            self.note(who, "was killed")

    def victims(self):
        return self.dice.sample([self.vowd, *self.banks], self.dice.choice((1, 1, 1, 2, 3)))

    def kill_some(self):
        """One, or two at once, or three, die by kill -9 and come back."""
        victims = self.victims()
        for victim in victims:
            self.kill(victim)
        self.dice.shuffle(victims)
        for victim in victims:
            time.sleep(self.dice.uniform(0, 0.1))
            self.start(victim)

    def kill_at_fail_points(self):
        """The same, but they die where they are most in the middle of something."""
        victims = self.victims()
        for victim in victims:
            points = COORDINATOR if victim is self.vowd else PARTICIPANT
            spec = f"{self.dice.choice(points)}=kill:{self.dice.choice((1, 1, 2, 5))}"
            self.kill(victim)
            self.note(victim, f"starts with {spec}")
            self.start(victim, spec)
        deadline = time.monotonic() + 1
        dead = lambda: [victim for victim in victims if not victim.process.running()]
        wait_until(lambda: dead() or time.monotonic() > deadline, "one has died, or not in time")
        for victim in victims:
            self.kill(victim)
            self.start(victim)

    def freeze_some(self):
        """They stand still for a while; some longer than requests last."""
        for victim in self.victims():
            if victim.process.running():
                self.note(victim, "stands still")
                victim.process.freeze()
                time.sleep(self.dice.uniform(0, 0.6))
                victim.process.signal(signal.SIGCONT)

    def disturb_network(self):
        """A few requests meet faults, each of another kind."""
        proxy = self.dice.choice(self.proxies)
        for fault in self.dice.sample(sorted(FAULTS), 3):
            proxy.script(ANY, FAULTS[fault], times=self.dice.randint(1, 3))
        if self.dice.random() < 0.2:
            proxy.stop()
            proxy.start()
        if self.dice.random() < 0.3:
            self.heal()

    def heal(self):
        for proxy in self.proxies:
            proxy.heal()


def read_books(bank):
    """Its ledger, balances, and what is prepared, from its own file."""
    with sqlite3.connect(bank.database) as database:
        ledger = database.execute(
            'SELECT "transaction", branch, account, delta FROM ledger ORDER BY 1, 2'
        ).fetchall()
        balances = dict(database.execute("SELECT id, balance FROM account"))
    database.close()
    code, text = bank.ask("--check")
    return {
        "ledger": ledger,
        "balances": {str(account): balance for account, balance in balances.items()},
        "prepared": text.splitlines() if code else [],
    }


def judge(transfers, vowd, banks, folder, name):
    """Once all is at rest: collects the books, and saves and checks the history. A wrong one is
    kept in the build's folder."""
    content = transfers.history.content
    wait_until(
        lambda: not any(vowd.client.list(state=s) for s in ("preparing", "committing", "aborting")),
        "everything has ended",
        ENDED_S,
    )
    for bank in banks:
        bank.wait_settled(ENDED_S)
        content["books"][bank.name] = read_books(bank)
    ids = {row[0] for book in content["books"].values() for row in book["ledger"]}
    ids |= {one["transaction"] for one in content["operations"] if one["transaction"]}
    for id in sorted(ids):
        content["outcomes"][id] = vowd.client.outcome(id)
    path = folder / "history.json"
    transfers.history.save(path)
    wrong = history.check(content)
    if wrong:
        kept = pathlib.Path(os.environ["VOW_BUILD"]) / "histories" / f"{name}.json"
        kept.parent.mkdir(exist_ok=True)
        shutil.copy(path, kept)
        line = shlex.join([sys.executable, history.__file__, str(kept)])
        raise AssertionError("\n".join([f"judged again by: {line}", *wrong[:20]]))
    return content


def run(world, name, seed, cycles, act, proxied=False, banks=2):
    """`act` of the chaos, again and again until so many were killed; then the verdict."""
    options = {
        "prepare_timeout_ms": int(1500 * SLOW),
        "request_timeout_ms": int(700 * SLOW),
        "retry_max_ms": 200,
    }
    front = world.proxy(lambda: vowd.address) if proxied else None
    vowd = world.vowd(**options, advertise_url=front.url if front else None)
    banks = [
        world.bank(f"bank{n}", accounts=ACCOUNTS, balance=BALANCE) for n in range(1, banks + 1)
    ]
    proxies = [world.proxy(lambda bank=bank: bank.address) for bank in banks] if proxied else []
    urls = [one.url for one in proxies or banks]
    transfers = Transfers(front.url if front else vowd.url, banks, urls, seed).start()
    chaos = Chaos(transfers, vowd, banks, [front, *proxies] if proxied else [], f"{name}/{seed}")
    try:
        while chaos.kills < cycles:
            chaos.wait_for_progress()
            act(chaos)
        chaos.heal()
        transfers.finish()
    finally:
        chaos.heal()
        transfers.stopping.set()
    return judge(transfers, vowd, banks, world.folder, f"{name}-{seed}")
