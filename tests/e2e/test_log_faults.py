"""A log that is locked, truncated, corrupted, newer, read-only or on a full disk: a clear error
that says what to do, a non-zero exit code, and nothing is lost or changed."""

import os
import shutil
import sqlite3
import subprocess

import pytest
from vowtest import assert_committed, toy, vowd_run, wait_until


def log_with_history(world, count=30):
    """A log that was closed in good order, with one transaction still to be delivered."""
    vowd, (a, b) = world.vowd(drain_timeout_ms=100), world.two_toys()
    for _ in range(count):
        assert_committed(vowd.client.one_shot([a.url, b.url]))
    b.script("commit", toy.answer(503))
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    assert vowd.stop() == 0
    return vowd, b, id


def refused(vowd):
    """vowd does not start on the log, and leaves it as it was: what it said."""
    before = {path.name: path.read_bytes() for path in vowd.folder.glob("vow.log*")}
    code, text = vowd_run("--listen", "127.0.0.1:0", "--log", vowd.log)
    assert code == 1, (code, text)
    assert str(vowd.log) in text, text
    after = {path.name: path.read_bytes() for path in vowd.folder.glob("vow.log*")}
    assert after.get("vow.log") == before.get("vow.log"), "the log was changed"
    return text


def test_a_log_in_use_is_refused(world):
    vowd = world.vowd()
    code, text = vowd_run("--listen", "127.0.0.1:0", "--log", vowd.log)
    assert code == 1 and str(vowd.log) in text and ("in use" in text or "locked" in text), text
    assert vowd.client.begin()


def test_a_file_that_is_no_log_is_refused(world):
    vowd = world.vowd(start=False)
    vowd.log.write_text("Dear diary,\n" * 1000)
    text = refused(vowd)
    assert "not" in text


def test_a_database_of_something_else_is_refused(world):
    vowd = world.vowd(start=False)
    with sqlite3.connect(vowd.log) as database:
        database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY)")
    database.close()
    refused(vowd)


def test_a_log_of_a_newer_version_is_refused(world):
    vowd, _, _ = log_with_history(world, 1)
    database = sqlite3.connect(vowd.log)
    version = database.execute("PRAGMA user_version").fetchone()[0]
    database.execute(f"PRAGMA user_version = {version + 1}")
    database.commit()
    database.close()
    text = refused(vowd)
    assert "version" in text and str(version + 1) in text


def test_a_truncated_log_is_refused(world):
    vowd, _, _ = log_with_history(world)
    os.truncate(vowd.log, vowd.log.stat().st_size // 2)
    refused(vowd)


def test_an_empty_file_is_a_new_log_or_refused_but_never_a_crash(world):
    vowd = world.vowd(start=False)
    vowd.log.write_bytes(b"")
    try:
        vowd.start()
    except AssertionError:
        assert vowd.process.exit_codes[-1:] != [-11]


def test_a_changed_row_is_noticed_before_anything_is_answered(world):
    """SQLite finds the file in order; the row's own checksum does not agree."""
    vowd, _, id = log_with_history(world)
    database = sqlite3.connect(vowd.log)
    tables = [
        row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    changed = 0
    for table in tables:
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        if table.startswith("open") and "record" in columns:
            changed += database.execute(
                f"UPDATE {table} SET record = replace(record, 'committing', 'committinG')"
            ).rowcount
    database.commit()
    database.close()
    assert changed >= 1, "the test knows the log's table"
    text = refused(vowd)
    assert id in text or "checksum" in text


def test_a_damaged_page_is_refused_or_harmless(world):
    """Every page of the log overwritten in turn: it starts and has lost nothing, or it refuses to
    start."""
    vowd, b, id = log_with_history(world)
    good = vowd.log.read_bytes()
    b.unscript()
    b.stop()
    refusals = 0
    for offset in range(0, len(good), 4096):
        damaged = bytearray(good)
        damaged[offset + 16 : offset + 80] = b"\xa5" * 64
        vowd.log.write_bytes(damaged)
        for extra in vowd.folder.glob("vow.log-*"):
            extra.unlink()
        try:
            vowd.start()
        except AssertionError:
            assert vowd.process.child is None or vowd.process.child.returncode == 1
            vowd.process.child = None
            refusals += 1
            continue
        assert vowd.client.outcome(id) == "committed", f"the decision was lost at {offset}"
        vowd.kill()
    assert refusals >= 1


def test_a_missing_folder_is_named(tmp_path):
    code, text = vowd_run("--listen", "127.0.0.1:0", "--log", tmp_path / "missing" / "vow.log")
    assert code == 1 and "missing" in text


def test_a_folder_in_place_of_the_log_is_named(tmp_path):
    code, text = vowd_run("--listen", "127.0.0.1:0", "--log", tmp_path)
    assert code == 1 and str(tmp_path) in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where the permissions say no")
def test_a_log_without_write_permission_is_refused(world):
    vowd, _, _ = log_with_history(world, 1)
    vowd.log.chmod(0o444)
    assert "permission" in refused(vowd)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB; needs root."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED without root: a full and a read-only disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"NOT TESTED, this root may not mount: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_read_only_disk_is_named(world, small_disk):
    vowd, _, _ = log_with_history(world, 1)
    shutil.copy(vowd.log, small_disk / "vow.log")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, text = vowd_run("--listen", "127.0.0.1:0", "--log", small_disk / "vow.log")
    assert code == 1 and "make the disk writable" in text, text


def test_on_a_full_disk_begins_are_refused_first_and_decisions_still_fit(world, small_disk):
    """Log rule 6: 507 for new transactions, the open ones commit, and it recovers when there is
    space."""
    vowd, (a, b) = world.vowd(start=False, disk_reserve_bytes=1 << 20), world.two_toys()
    vowd.log = small_disk / "vow.log"
    vowd.start()
    ids = []
    for _ in range(5):
        id = vowd.client.begin()
        for one in (a, b):
            vowd.client.enlist(id, one.url)
        ids.append(id)
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"x" * (free - (600 << 10)))

    def full():
        answer = vowd.client.post("/v1/transactions", {})
        assert answer.status in (201, 507), answer
        if answer.status == 507:
            assert answer.problem == "log-full" and "disk_reserve_bytes" in answer.json["detail"]
        return answer.status == 507

    wait_until(full, "begins are refused")
    for id in ids:
        assert_committed(vowd.client.commit(id))
        vowd.wait_state(id, "committed")
    assert vowd.client.get("/readyz").status == 503
    ballast.unlink()
    wait_until(
        lambda: vowd.client.post("/v1/transactions", {}).status == 201, "it takes new ones again"
    )
    vowd.kill()
    vowd.log = small_disk / "vow.log"
    vowd.start()
    assert [vowd.client.outcome(id) for id in ids] == ["committed"] * 5
    vowd.stop()


def test_when_the_disk_is_full_to_the_last_byte_nothing_is_promised_that_is_not_kept(
    world, small_disk
):
    vowd, (a, b) = (
        world.vowd(start=False, disk_reserve_bytes=0, wait_timeout_ms=1500),
        world.two_toys(),
    )
    vowd.log = small_disk / "vow.log"
    vowd.start()
    assert_committed(vowd.client.one_shot([a.url, b.url]))
    ballast = small_disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096) == 4096:
                pass
        except OSError:
            pass
    told = []
    for _ in range(200):
        try:
            answer = vowd.client.one_shot([a.url, b.url])
        except OSError:
            break
        if answer.status == 200:
            told.append(answer.json["id"])
        else:
            break
    if vowd.process.running():
        vowd.kill()
    else:
        assert vowd.process.wait() != 0
        vowd.died()
    ballast.unlink()
    vowd.start()
    for id in told:
        assert vowd.client.outcome(id) == "committed"
    wait_until(lambda: not vowd.client.list(state="committing"), "all is delivered")
    for id in {id for one in (a, b) for id, _ in one.branches}:
        ended = {outcome for one in (a, b) for outcome in one.outcomes(id) if outcome}
        assert len(ended) <= 1, f"AC1: {id}"
        assert ended <= {vowd.client.outcome(id)}
    vowd.stop()
