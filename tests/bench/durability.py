"""Was anything lost? Holds what clients were told against the files that the programs left.

For each transaction that a client was told committed:
  - vowd's log says that it committed;
  - every branch took effect: its commit callback ran, as the mapped file of its participant shows;
  - the participant's log holds the branch as committed, or has forgotten it in good order, because
    the coordinator said that all transactions below a watermark are over.
With accounts in SQLite the effect is the money: each committed branch moved once.
And nothing is left open: no transaction in vowd's log, no branch in doubt at a participant.
"""

import sqlite3
import struct
import uuid

# Numbers in the files: enum vow_txn_state, enum vow_precord_kind.
TXN_COMMITTED = 4
PRECORD_COMMITTED, PRECORDS_IN_DOUBT = 4, (1, 2, 3)
EFFECT_BYTES, TEXT_BYTES = 40, 36
COMPLAINTS_MAX = 10


class LogView:
    """A participant's log after its end."""

    def __init__(self, path):
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        # A record begins with a checksum, the transaction, the branch and the kind.
        rows = db.execute("SELECT record FROM vow_branch")
        records = [struct.unpack_from(">8x16sIB", record) for (record,) in rows]
        self.kinds = {(i, branch): kind for i, branch, kind in records}
        rows = db.execute("SELECT url, finished_below FROM vow_coordinator")
        self.finished_below = {url: bytes(mark) for url, mark in rows}
        db.close()

    def has_committed(self, key, coordinator):
        kind = self.kinds.get(key)
        forgotten = kind is None and key[0] < self.finished_below.get(coordinator, bytes(16))
        return kind == PRECORD_COMMITTED or forgotten

    def in_doubt(self):
        return [key for key, kind in self.kinds.items() if kind in PRECORDS_IN_DOUBT]


def read_effects(path):
    """(transaction, branch) of each commit callback."""
    found = []
    if not path.exists():
        return found
    with path.open("rb") as file:
        while (entry := file.read(EFFECT_BYTES)) and entry[0]:
            branch = int.from_bytes(entry[TEXT_BYTES:], "little")
            found.append((uuid.UUID(entry[:TEXT_BYTES].decode()).bytes, branch))
    return found


def read_log(path):
    """The ids that vowd's log says committed, and how many transactions are open in it."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    rows = db.execute("SELECT id FROM ended_txn WHERE state = ?", (TXN_COMMITTED,))
    committed = {bytes(i) for (i,) in rows}
    (left,) = db.execute("SELECT count(*) FROM open_txn").fetchone()
    db.close()
    return committed, left


def read_ids(path):
    if not path.exists():
        return []
    return [uuid.UUID(line).bytes for line in path.read_text().split()]


def money_moved(path):
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    (moves, balance) = db.execute("SELECT sum(moves), sum(balance) FROM account").fetchone()
    db.close()
    return moves, balance


class Complaints(list):
    """The first of each kind, and how many there were."""

    def about(self, what, keys):
        if keys:
            first = next(iter(keys))
            name = uuid.UUID(bytes=first[0] if isinstance(first, tuple) else first)
            self.append(f"{what}: {len(keys)}, the first is {name}")


def check_callbacks(participants, owners, complaints):
    """`owners` has the coordinator of each committed transaction. Returns all effects, by
    (transaction, branch)."""
    effects = set()
    for participant in participants:
        view = LogView(participant.log)
        own = read_effects(participant.effects)
        lost = [key for key in own if not view.has_committed(key, owners.get(key[0]))]
        complaints.about(f"in doubt at {participant.name}", view.in_doubt())
        complaints.about(f"took effect but are not in the log of {participant.name}", lost)
        effects.update(own)
    alone = [key for key in effects if key[0] not in owners]
    complaints.about("took effect, and no log of a vowd says committed", alone)
    return effects


def check_money(participants, owners, complaints):
    """Every transaction has one branch at each of them."""
    for participant in participants:
        moves, balance = money_moved(participant.log)
        if moves != len(owners) or balance != moves:
            complaints.append(
                f"{participant.name} moved money {moves} times (sum {balance}) for"
                f" {len(owners)} committed transactions"
            )
        view = LogView(participant.log)
        complaints.about(f"in doubt at {participant.name}", view.in_doubt())
        lost = [i for i, url in owners.items()
                if not any(view.has_committed((i, n), url) for n in (1, 2))]
        complaints.about(f"committed but not in the log of {participant.name}", lost)


def check_answered(ids, branches, committed, effects, complaints):
    complaints.about("answered committed, and not so in vowd's log", set(ids) - committed)
    if len(set(ids)) != len(ids):
        complaints.append(f"{len(ids) - len(set(ids))} ids were answered twice")
    if effects is not None:
        numbers = range(1, branches + 1)
        lost = [i for i in ids if not all((i, n) in effects for n in numbers)]
        complaints.about("answered committed, and a branch had no effect", lost)


def check(vowds, participants, answered):
    """{checked, complaints}; `answered` is a list of (vowd's name, branches, file of ids)."""
    complaints, checked, committed, owners = Complaints(), 0, {}, {}
    for vowd in vowds:
        committed[vowd.name], left = read_log(vowd.log)
        owners.update(dict.fromkeys(committed[vowd.name], vowd.url))
        if left:
            complaints.append(f"{left} transactions are open in the log of {vowd.name}")
    money = [p for p in participants if p.log.suffix == ".db"]
    effects = None
    if money:
        check_money(money, owners, complaints)
    else:
        effects = check_callbacks(participants, owners, complaints)
    for name, branches, path in answered:
        ids = read_ids(path)
        checked += len(ids)
        check_answered(ids, branches, committed[name], effects, complaints)
    return {"checked": checked, "complaints": list(complaints[:COMPLAINTS_MAX])}
