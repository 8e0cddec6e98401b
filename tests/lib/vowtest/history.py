"""What clients of banks asked and were told, and what the banks' books say at the end, as one file;
and its checker. A failing test keeps the file. It is judged again, without any process, by

    python3 tests/lib/vowtest/history.py history.json

The file is a JSON object:
    accounts    {bank: {account: what it held at the start}}
    operations  [{key, from: [bank, account], to: [bank, account], amount, asked, answered,
                  attempts, status, transaction}]; times in seconds; attempts: what each came to;
                status and transaction are null where nobody was told
    events      [[when, what]]: kills, faults
    books       {bank: {ledger: [[transaction, branch, account, delta]], balances: {account: n},
                 prepared: [what is prepared or locked]}}
    outcomes    {transaction: what the coordinator says}
This file imports nothing of ours: it must be able to judge alone."""

import collections
import json
import sys
import threading
import time


class History:
    """Collects one; any thread."""

    def __init__(self, **about):
        self.lock = threading.Lock()
        self.start = time.monotonic()
        self.told = 0  # operations whose outcome a client was told
        self.content = {**about, "accounts": {}, "operations": [], "events": []}
        self.content |= {"books": {}, "outcomes": {}}

    def now(self):
        return round(time.monotonic() - self.start, 4)

    def add(self, operation):
        with self.lock:
            self.content["operations"].append(operation)
            self.told += operation["status"] in (200, 409)

    def event(self, what):
        with self.lock:
            self.content["events"].append([self.now(), what])

    def save(self, path):
        with self.lock:
            path.write_text(json.dumps(self.content, indent=1))


# ---- what must hold ----


def legs_of(operation):
    """[(bank, account, delta)] of a transfer that happened."""
    amount = operation["amount"]
    return sorted([(*operation["from"], -amount), (*operation["to"], amount)])


def legs_by_transaction(history):
    """{transaction: [(bank, account, delta)]}, as the ledgers have them."""
    legs = collections.defaultdict(list)
    for bank, book in history["books"].items():
        for transaction, _, account, delta in book["ledger"]:
            legs[transaction].append((bank, account, delta))
    return {transaction: sorted(found) for transaction, found in legs.items()}


def all_or_nothing(history):
    """Each transaction in a ledger is a whole transfer that somebody asked for."""
    known = {o["transaction"]: o for o in history["operations"] if o["transaction"]}
    untold = [legs_of(o) for o in history["operations"] if not o["transaction"]]
    for transaction, legs in legs_by_transaction(history).items():
        operation = known.get(transaction)
        if operation and legs != legs_of(operation):
            yield f"{transaction} is {legs} in the books, and was asked as {legs_of(operation)}"
        elif not operation and legs not in untold:
            yield f"{transaction} is {legs} in the books, and nobody asked for that"
        elif not operation:
            untold.remove(legs)


def outcomes_are_true(history):
    """An ok that a client saw is there at the end; what it was told has failed is not."""
    legs = legs_by_transaction(history)
    for operation in history["operations"]:
        id, status = operation["transaction"], operation["status"]
        if status == 200 and id not in legs:
            yield f"{id} was answered committed and is in no ledger"
        if status == 409 and id in legs:
            yield f"{id} was answered aborted and is in a ledger: {legs[id]}"
        if status not in (200, 409, None):
            yield f"{id} was answered {status}, which is no outcome"


def a_key_has_one_answer(history):
    """However often it was asked with, and whatever died meanwhile."""
    answers = collections.defaultdict(set)
    for operation in history["operations"]:
        if operation["status"] is not None:
            answers[operation["key"]].add((operation["status"], operation["transaction"]))
    for key, found in answers.items():
        if len(found) > 1:
            yield f"key {key} was answered in {len(found)} ways: {sorted(map(str, found))}"


def balances_are_sums(history):
    """Each account holds its start and what the ledger says, and none is overdrawn."""
    for bank, starts in history["accounts"].items():
        book = history["books"][bank]
        sums = {account: start for account, start in starts.items()}
        for _, _, account, delta in book["ledger"]:
            sums[str(account)] = sums.get(str(account), 0) + delta
        for account, sum in sums.items():
            balance = book["balances"].get(account)
            if balance != sum:
                yield f"{bank}: account {account} holds {balance}, start and ledger make {sum}"
            if balance is not None and balance < 0:
                yield f"{bank}: account {account} is overdrawn: {balance}"
        for account in set(book["balances"]) - set(starts):
            yield f"{bank}: account {account} was not there at the start"


def the_total_holds(history):
    start = sum(n for accounts in history["accounts"].values() for n in accounts.values())
    end = sum(n for book in history["books"].values() for n in book["balances"].values())
    if start != end:
        yield f"all accounts held {start} at the start and hold {end} at the end"


def nothing_is_left_prepared(history):
    for bank, book in history["books"].items():
        for what in book["prepared"]:
            yield f"{bank}: {what}"


def the_coordinator_agrees(history):
    """It says committed of what is in the books, and of nothing else."""
    legs = legs_by_transaction(history)
    for transaction, outcome in history["outcomes"].items():
        if outcome not in ("committed", "aborted"):
            yield f"the coordinator says {outcome} of {transaction} at rest"
        elif (outcome == "committed") != (transaction in legs):
            where = "in" if transaction in legs else "not in"
            yield f"the coordinator says {outcome} of {transaction}, which is {where} the books"
    for transaction in legs.keys() - history["outcomes"].keys():
        yield f"the coordinator was not asked about {transaction}"


def it_shows_something(history):
    """A history without a commit, an abort or a ledger proves nothing."""
    told = {operation["status"] for operation in history["operations"]}
    if not {200, 409} <= told:
        yield f"only {told} was ever answered: a commit and an abort are missing"


CHECKS = (
    all_or_nothing,
    outcomes_are_true,
    a_key_has_one_answer,
    balances_are_sums,
    the_total_holds,
    nothing_is_left_prepared,
    the_coordinator_agrees,
    it_shows_something,
)


def check(history):
    """Everything that is wrong, each with the name of the rule."""
    return [f"{rule.__name__}: {text}" for rule in CHECKS for text in rule(history)]


def main():
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} history.json", file=sys.stderr)
        return 2
    with open(sys.argv[1], encoding="utf-8") as file:
        history = json.load(file)
    wrong = check(history)
    print("\n".join(wrong) or f"{len(history['operations'])} operations: in order")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
