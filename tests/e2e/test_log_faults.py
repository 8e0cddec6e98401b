"""A log that is locked, truncated, corrupted, newer, read-only or on a full disk: a clear error
that says what to do, a non-zero exit code, and nothing is lost or changed."""

import errno
import os
import sqlite3

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
    code, text = vowd_run(
        "--listen", "127.0.0.1:0", "--log", vowd.log, environment=vowd.environment
    )
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


def test_an_empty_file_is_refused(world):
    """A log that lost all it had is no new log."""
    vowd = world.vowd(start=False)
    vowd.log.write_bytes(b"")
    assert "0 bytes" in refused(vowd)


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
                f"UPDATE {table} SET record = replace(record, 'http:', 'httP:')"
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


def test_a_log_without_write_permission_is_refused(world):
    """Root may write where the permissions say no, so the library refuses it."""
    vowd, _, _ = log_with_history(world, 1)
    faults = world.faults(vowd)
    faults.refuse_writing(vowd.folder, errno.EACCES)
    vowd.log.chmod(0o444)
    assert "permission" in refused(vowd)


def test_a_read_only_disk_is_named(world):
    vowd, _, _ = log_with_history(world, 1)
    faults = world.faults(vowd)
    faults.refuse_writing(vowd.folder)
    code, text = vowd_run(
        "--listen", "127.0.0.1:0", "--log", vowd.log, environment=faults.environment
    )
    assert code == 1 and "make the disk writable" in text, text
