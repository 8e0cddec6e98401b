"""vowctl on the log of a daemon that was killed: looking at it, and that it changes nothing."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import uuid

import pytest
from vowtest import assert_committed, ctl, toy, wait_until
from vowtest.process import program
from vowtest.waiting import SLOWNESS


def digest(folder):
    """Every byte of the log and of what belongs to it."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name.startswith("vow.log")}


@pytest.fixture
def dead(world):
    """A killed daemon with a transaction that is over, one decided, and one aborted for its key."""
    vowd, (a, b) = world.vowd(), world.two_toys()
    done = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_ended(done)
    a.script("prepare", toy.vote("abort", "no funds"))
    refused = vowd.client.one_shot([a.url, b.url], headers={"Idempotency-Key": "k"})
    a.unscript()
    vowd.wait_ended(refused.json["transaction"]["id"], "aborted")
    b.script("commit", toy.drop)
    hangs = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    wait_until(lambda: a.outcome(hangs) == "committed", "the first has acknowledged")
    vowd.kill()
    vowd.ids = {"done": done, "aborted": refused.json["transaction"]["id"], "hangs": hangs}
    vowd.toys = a, b
    return vowd


def test_a_log_that_a_daemon_holds_is_refused(world):
    vowd = world.vowd()
    for command in ("check", "list", "export", "recover --dry-run", "recover --yes"):
        result = ctl.run(*command.split(), "--log", vowd.log)
        result.refused(ctl.LOCKED, str(vowd.log), "without --log")
    # Nor is anybody told to move it away under the daemon: it is no backup.
    mistaken = ctl.run("restore", vowd.log, "--log", vowd.folder / "other.log")
    assert "Move" not in mistaken.refused(ctl.LOCKED, str(vowd.log), "in use").err
    assert vowd.client.get("/readyz").status == 200, "and the daemon does not mind"


def test_a_log_that_is_not_there_is_not_made(tmp_path):
    for command in ("check", "list", "export", "recover --dry-run", "recover --yes"):
        ctl.run(*command.split(), "--log", tmp_path / "none.log").refused(
            ctl.FAILED, "none.log", "No such file"
        )
    assert list(tmp_path.iterdir()) == []


def test_of_a_log_that_is_gone_its_write_ahead_log_is_told(tmp_path):
    """It may hold decisions: as `vowd` does, `vowctl` has the log put back, not a backup."""
    wal = tmp_path / "log.db-wal"
    wal.write_bytes(b"decisions")
    for command in ("check", "list", "recover --yes", "reconcile"):
        result = ctl.run(*command.split(), "--log", tmp_path / "log.db")
        result.refused(ctl.FAILED, "put the log back", "log.db-wal")
        assert "backup" not in result.err
    assert [file.name for file in tmp_path.iterdir()] == [wal.name]


def test_check_tells_what_is_in_doubt(dead):
    result = ctl.run("check", "--log", dead.log).refused(ctl.ATTENTION, "in doubt", "recover")
    assert "sound" in result.out
    row = next(line for line in result.lines if line.startswith(dead.ids["hangs"]))
    assert "committing" in row and "push its commit" in row
    document = ctl.run("check", "--log", dead.log, "--json").json
    assert document["sound"] and document["in_doubt"] >= 1
    plan = {one["transaction"]["id"]: one for one in document["open"]}[dead.ids["hangs"]]
    assert plan["plan"] == "commit" and "commit" in [m["message"] for m in plan["messages"]]


def test_list_and_show_read_the_dead_log_as_they_read_the_daemon(dead):
    document = ctl.run("list", "--log", dead.log, "--json").fine().json
    ids = [one["id"] for one in document["transactions"]]
    assert ids == [dead.ids["hangs"], dead.ids["aborted"], dead.ids["done"]]
    out = ctl.run("show", dead.ids["aborted"], "--log", dead.log).fine().out
    assert "no funds" in out and "begun" in out
    offline = ctl.run("show", dead.ids["done"], "--log", dead.log, "--json").fine().json
    dead.start()
    online = dead.client.show(dead.ids["done"])
    assert offline == online


def test_an_export_has_everything_and_no_secrets(dead):
    lines = ctl.run("export", "--log", dead.log).fine().lines
    entries = [json.loads(line) for line in lines]
    assert [e["id"] for e in entries] == [dead.ids["hangs"], dead.ids["aborted"], dead.ids["done"]]
    assert all(e["history"] for e in entries)
    aborted = ctl.run("export", "--log", dead.log, "--state", "aborted").fine().lines
    assert [json.loads(line)["id"] for line in aborted] == [dead.ids["aborted"]]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_long_export_that_cannot_be_written_ends_there_and_says_why(world):
    """Behind its first page is a row that is damaged: it is not come to."""
    vowd, (a, b) = world.vowd(), world.two_toys(batch_max=100)
    first = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    for _ in range(201):
        last = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_ended(last)
    vowd.stop()
    with contextlib.closing(sqlite3.connect(vowd.log, isolation_level=None)) as log:
        damage = "UPDATE ended_txn SET checksum = checksum + 1 WHERE id = ?"
        assert log.execute(damage, (uuid.UUID(first).bytes,)).rowcount == 1
    for command in ("export", "list --all"):
        assert ctl.run(*command.split(), "--log", vowd.log).code == ctl.DAMAGED
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [program("vowctl"), *command.split(), "--log", vowd.log],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60 * SLOWNESS,
                env=ctl.environment(),
            )
        assert done.returncode == ctl.FAILED and "No space left" in done.stderr, done
        assert first not in done.stderr, done


def test_looking_changes_no_byte(dead):
    before = digest(dead.folder)
    for command in ("check", "check --json", "list", "export", "recover --dry-run"):
        ctl.run(*command.split(), "--log", dead.log)
    ctl.run("show", dead.ids["done"], "--log", dead.log)
    after = digest(dead.folder)
    assert set(before) == set(after), "no file came or went"
    for name, content in before.items():
        assert after[name] == content, f"{name} has changed"


def test_a_dry_run_names_each_message_and_sends_none(dead):
    a, b = dead.toys
    result = ctl.run("recover", "--log", dead.log, "--dry-run")
    assert result.code == ctl.ATTENTION
    assert f"{b.url}/commit" in result.out and "nothing was written or sent" in result.out
    document = ctl.run("recover", "--log", dead.log, "--dry-run", "--json").json
    assert document["dry_run"] and document["in_doubt"] >= 1
    # What the killed daemon had sent may still arrive; what vowctl sends names itself.
    senders = {message.headers["user-agent"].split("/")[0] for message in a.messages + b.messages}
    assert senders == {"vowd"}


DAMAGE = {
    "cut short": lambda data: data[: len(data) // 2 + 100],
    "empty": lambda data: b"",
    "not a database": lambda data: b"x" * len(data),
    "a header that was overwritten": lambda data: b"\0" * 100 + data[100:],
    "zeroes in the middle": lambda data: data[:4096] + b"\0" * 4096 + data[8192:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_log_is_told_and_left_alone(dead, damage, tmp_path):
    # Through a clean stop, so that the file holds everything and not its write-ahead log.
    dead.toys[1].unscript()
    dead.start()
    dead.wait_state(dead.ids["hangs"], "committed")
    dead.stop()
    path = tmp_path / "damaged.log"
    shutil.copy(dead.log, path)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    content = path.read_bytes()
    for command in ("check", "recover --yes", "export"):
        result = ctl.run(*command.split(), "--log", path)
        assert result.code == ctl.DAMAGED, result
        assert "Traceback" not in result.err and result.err.startswith("vowctl: ")
    assert path.read_bytes() == content


def test_a_log_of_a_newer_version_is_refused(dead, tmp_path):
    dead.start()
    dead.stop()
    path = tmp_path / "newer.log"
    data = bytearray(dead.log.read_bytes())
    data[60:64] = (99).to_bytes(4, "big")  # PRAGMA user_version
    path.write_bytes(data)
    ctl.run("check", "--log", path).refused(ctl.DAMAGED, "99", "vowctl that came with")


def test_a_log_that_cannot_be_read_says_why(tmp_path):
    ctl.run("check", "--log", tmp_path).refused(ctl.FAILED, "not a regular file")


def test_what_was_begun_only_is_not_in_the_log(world):
    vowd = world.vowd()
    id = vowd.client.begin()
    vowd.kill()
    ctl.run("show", id, "--log", vowd.log).refused(ctl.NOT_FOUND, id)
    ctl.run("check", "--log", vowd.log).fine()


def test_a_damaged_row_of_the_history(world):
    """Nothing is to be restored for it. Whom it names is not known, so whoever reconciles is told
    before anything is written."""
    vowd, (a, rare) = world.vowd(), world.two_toys()
    assert_committed(vowd.client.one_shot([a.url]))
    id = assert_committed(vowd.client.one_shot([a.url, rare.url]))["id"]
    vowd.wait_ended(id)
    vowd.stop()
    with contextlib.closing(sqlite3.connect(vowd.log, isolation_level=None)) as log:
        damage = "UPDATE ended_txn SET checksum = checksum + 1 WHERE record LIKE ?"
        assert log.execute(damage, (f"%{rare.url}%",)).rowcount == 1
    check = ctl.run("check", "--log", vowd.log).refused(ctl.DAMAGED, id, "vowd starts on it")
    assert "restore" not in check.err, "a backup would lose what came after it"
    assert ctl.run("check", "--log", vowd.log, "--json").json["history_only"] is True
    for command in (["show", id], ["list"], ["export"]):
        told = ctl.run(*command, "--log", vowd.log)
        assert told.code == ctl.DAMAGED and id in told.err and "would lose more" in told.err, told
        assert "restore" not in told.err, told
    how = ("reconcile", "--log", vowd.log)
    told = ctl.run(*how, "--json")
    assert told.json["damaged"] == 1 and rare.url not in told.out, told
    told = ctl.run(*how)
    assert "damaged rows of the history: 1;" in told.out and "--participants URL" in told.out, told
    assert rare.url in ctl.run(*how, "--participants", rare.url).out
    vowd.start()
    assert vowd.client.get(f"/v1/transactions/{id}").problem == "log-corrupt"


MANUAL = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "man" / "vowctl.1"


def test_the_manual_has_each_member_of_what_is_printed_of_a_log(dead):
    section = re.search(r"^\.SH JSON\n(.*?)^\.SH ", MANUAL.read_text(), re.M | re.S)[1]
    words = set(re.findall(r"\w+", section))

    def members(value):
        if isinstance(value, list):
            return {name for one in value for name in members(one)}
        if not isinstance(value, dict) or "branches" in value and "state" in value:
            return set()  # what is below a transaction is the REST interface's
        return set(value) | {name for one in value.values() for name in members(one)}

    dead.toys[1].unscript()
    for command in ("check", "recover --dry-run", "reconcile", "recover --yes"):
        document = ctl.run(*command.split(), "--log", dead.log, "--json").json
        assert members(document) - {"incarnation"} <= words, command
