"""The bank example as a process: a participant with its accounts in a SQLite file."""

import sqlite3
import subprocess

from .port import Port
from .process import Process, program
from .waiting import wait_until


class Bank:
    def __init__(self, folder, name, accounts=20, balance=1000, threads=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.database = folder / f"{name}.db"
        self.process = Process(folder / f"{name}.out")
        self.accounts, self.balance = accounts, balance
        self.threads = threads  # for callbacks; None: as many as there are without a word
        self.port = Port()
        self.address = self.port.address
        self.environment = {}  # of each start

    def start(self, failpoint=None, wait=True, environment=None):
        self.launch(failpoint, environment)
        if wait:
            self.wait_listening()
        return self

    def launch(self, failpoint=None, environment=None):
        """Starts it and waits for nothing."""
        command = [program("bank"), "--db", self.database, "--listen", self.address]
        if not self.database.exists():
            command += ["--init", self.accounts, self.balance]
        if self.threads is not None:
            command += ["--threads", self.threads]
        environment = dict(environment or self.environment)
        if failpoint:
            environment["VOW_FAILPOINT"] = failpoint
        self.process.start(command, environment)

    def wait_listening(self):
        match = self.process.wait_for_line(r"(?P<address>127\.0\.0\.1:\d+)", f"{self.name} listens")
        self.address = match["address"]

    @property
    def url(self):
        return f"http://{self.address}"

    def kill(self):
        self.process.kill()

    def stop(self):
        """SIGTERM: it ends in good order, whatever it was doing."""
        code = self.process.stop()
        assert code == 0, f"{self.name} ended with {code}: {self.process.text()[-2000:]}"

    def restart(self, **options):
        self.kill()
        return self.start(**options)

    def ask(self, flag):
        """Runs `bank FLAG` on the file; (exit code, what it printed)."""
        done = subprocess.run(
            [program("bank"), "--db", str(self.database), flag],
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    def sum(self):
        code, text = self.ask("--sum")
        assert code == 0, text
        return int(text.split()[-1])

    def ledger(self):
        """{transaction: [delta, …]} as the bank's own file has it."""
        with sqlite3.connect(self.database) as database:
            rows = database.execute('SELECT "transaction", delta FROM ledger').fetchall()
        database.close()
        entries = {}
        for id, delta in rows:
            entries.setdefault(id, []).append(delta)
        return entries

    def check(self):
        """Balances equal the start plus the ledger, and nothing prepared is left."""
        code, text = self.ask("--check")
        assert code == 0, f"{self.name}: {text}"

    def wait_settled(self, seconds=20):
        """Waits until no branch is in doubt any more, as the file itself says."""
        wait_until(
            lambda: self.ask("--check")[0] == 0, f"{self.name} has nothing in doubt", seconds
        )


def check_books(banks, told=None, seconds=20):
    """No transfer between the banks happened by half or twice, no money was lost or made, and what
    a client was told, {transaction: (status, amount)}, is so."""
    for bank in banks:
        bank.wait_settled(seconds)
        bank.check()
    start = sum(bank.accounts * bank.balance for bank in banks)
    assert sum(bank.sum() for bank in banks) == start, "money was lost or made"
    books = [bank.ledger() for bank in banks]
    for id in set().union(*books):
        deltas = [delta for book in books for delta in book.get(id, [])]
        assert len(deltas) == 2 and sum(deltas) == 0, f"{id} happened by half, or twice: {deltas}"
    for id, (status, amount) in (told or {}).items():
        there = [delta for book in books for delta in book.get(id, [])]
        if status == 200:
            assert sorted(there) == [-amount, amount], f"{id} was answered committed and is {there}"
        else:
            assert not there, f"{id} was answered aborted and is {there}"
