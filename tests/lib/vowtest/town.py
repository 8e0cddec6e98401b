"""vowd and two banks, one transfer at a time: what tests of crashes, networks and disks have in
common. Whatever happens on the way, `at_rest` must be reached, and then the books must be right."""

import threading

from .bank import check_books
from .client import LOST, Client, transaction_of
from .ending import OPEN_STATES
from .process import ended_by_kill
from .waiting import wait_until

ACCOUNTS, BALANCE = 20, 1000
# More than both banks have: the debit is refused.
TOO_MUCH = 10 * ACCOUNTS * BALANCE


def transfer_branches(urls, amount, account=1):
    """The debit at the first, the credit at the second."""
    return [
        {"url": url, "payload": {"account": account, "amount": sign * amount}}
        for url, sign in zip(urls, (-1, 1))
    ]


class Asked:
    """One transfer that a client has asked for, in a thread of its own."""

    def __init__(self, url, branches, amount, timeout=30):
        self.amount, self.answer = amount, None
        self.thread = threading.Thread(target=self.run, args=(Client(url, timeout), branches))
        self.thread.start()

    def run(self, client, branches):
        try:
            self.answer = client.one_shot(branches)
        except LOST:
            pass

    def wait(self, seconds=60):
        """The answer, or None if the connection was lost."""
        self.thread.join(seconds)
        assert not self.thread.is_alive(), "the client still waits"
        return self.answer

    @property
    def status(self):
        return self.answer.status if self.answer else None


class Town:
    """proxied: `proxies` stand before the banks and `front` before vowd, also for the banks."""

    def __init__(self, world, proxied=False, **options):
        self.asked = []
        options = {"prepare_timeout_ms": 6000, "retry_max_ms": 200, **options}
        if proxied:
            self.front = world.proxy(lambda: self.vowd.address)
            options["advertise_url"] = self.front.url
        self.vowd = world.vowd(**options)
        self.banks = [
            world.bank(name, accounts=ACCOUNTS, balance=BALANCE) for name in ("left", "right")
        ]
        self.proxies = [self.before(world, bank) for bank in self.banks] if proxied else []

    @staticmethod
    def before(world, bank):
        return world.proxy(lambda: bank.address)

    @property
    def urls(self):
        return [one.url for one in self.proxies or self.banks]

    def ask(self, amount=10, url=None, timeout=30, account=1):
        """A transfer from the left bank to the right one."""
        branches = transfer_branches(self.urls, amount, account)
        self.asked.append(Asked(url or self.vowd.url, branches, amount, timeout))
        return self.asked[-1]

    def revive(self):
        """Starts who has ended."""
        for one in [self.vowd, *self.banks]:
            if not one.process.running():
                if one.process.child is not None:
                    code = one.process.wait()
                    assert code == 1 or ended_by_kill(code), f"it ended with {code}"
                    getattr(one, "died", lambda: None)()
                one.start()

    def told(self):
        """{transaction: (status, amount)}; only 200 and 409 are outcomes."""
        answers = [(one.wait(), one.amount) for one in self.asked]
        return {
            transaction_of(answer)["id"]: (answer.status, amount)
            for answer, amount in answers
            if answer and answer.status in (200, 409)
        }

    def open(self):
        return [one for state in OPEN_STATES for one in self.vowd.client.list(state=state)]

    def at_rest(self, seconds=30, told=None):
        """Everything ends by itself, all or nothing, as clients were told."""
        told = {**self.told(), **(told or {})}
        wait_until(lambda: not self.open(), "everything has ended", seconds)
        check_books(self.banks, told, seconds)
        for id, (status, _) in told.items():
            expected = "committed" if status == 200 else "aborted"
            told = self.vowd.client.outcome(id)
            assert told == expected, f"AC2: {id} was {expected}, and is {told}"
