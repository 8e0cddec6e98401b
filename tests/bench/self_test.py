"""Shows that the durability check can fail: a real run is checked, then its files are damaged in
one way after the other, and each must be noticed."""

import dataclasses
import pathlib
import shutil
import sqlite3

import durability
from world import World


@dataclasses.dataclass
class Files:
    """What the check reads of a vowd or a participant."""

    name: str
    url: str
    log: pathlib.Path
    effects: pathlib.Path = None


def sql(statement, *values):
    def damage(path):
        db = sqlite3.connect(path)
        with db:
            count = db.execute(statement, values).rowcount
        db.close()
        assert count > 0, f"{statement} touched nothing"

    return damage


def zero_effect(path):
    """The first commit that was noted is another one's."""
    with path.open("r+b") as file:
        file.write(b"00000000-0000-7000-8000-000000000000")


def double_answer(path):
    with path.open("a") as file:
        file.write(path.read_text().split()[0] + "\n")


# (what is wrong, which file, what is done to it)
PLAIN = (
    ("vowd lost a commit", "vowd.log", sql("DELETE FROM ended_txn WHERE rowid = 1")),
    ("vowd says aborted", "vowd.log", sql("UPDATE ended_txn SET state = 6 WHERE rowid = 1")),
    ("a transaction is open", "vowd.log",
     sql("INSERT INTO open_txn SELECT 1, id, key, record, checksum FROM ended_txn"
         " WHERE rowid = 1")),
    ("a participant forgot its watermark", "participant-1.vow",
     sql("UPDATE vow_coordinator SET finished_below = zeroblob(16)")),
    ("a branch is in doubt", "participant-2.vow",
     sql(f"INSERT INTO vow_branch(record) VALUES(x'{'ab' * 24}0000000102')")),
    ("a branch had no effect", "participant-1.effects", zero_effect),
    ("an id was given twice", "load-1.ids", double_answer),
)
MONEY = (
    ("money moved once too often", "participant-1.db",
     sql("UPDATE account SET moves = moves + 1, balance = balance + 1 WHERE id = 10000000")),
    ("money was lost", "participant-2.db",
     sql("UPDATE account SET balance = balance - 1 WHERE id = 10000000")),
    ("a participant forgot its watermark", "participant-1.db",
     sql("UPDATE vow_coordinator SET finished_below = zeroblob(16)")),
)  # fmt: skip


def complaints(world, folder):
    def files(process):
        effects = folder / process.effects.name if hasattr(process, "effects") else None
        return Files(process.name, process.url, folder / process.log.name, effects)

    answered = [(name, branches, folder / path.name) for name, branches, path in world.answered]
    vowds = [files(v) for v in world.vowds.values()]
    participants = [files(p) for p in world.participants.values()]
    return durability.check(vowds, participants, answered)["complaints"]


def run(settings, sqlite, damages):
    with World(settings, "self-test") as world:
        participants = world.make_participants(sqlite=sqlite)
        world.load(world.vowd(), participants, clients=8, count=200)
        found = [f"undamaged: {text}" for text in world.check()["complaints"]]
        copy = world.folder / "copy"
        for what, name, damage in damages:
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(world.folder, copy, ignore=lambda *_: ["copy"])
            damage(copy / name)
            if not complaints(world, copy):
                found.append(f"not noticed: {what}")
    return found


def durability_check(settings):
    """What the check missed, or made up; nothing, if all is well."""
    return run(settings, False, PLAIN) + run(settings, True, MONEY)
