"""Each call of vowctl's that opens or changes a file fails once, or is its last: what it works on
is never believed and behind, it says what is wrong and what to do, and the same command again does
it."""

import errno
import os
import resource
import shutil

import pytest
from dead_log import Place, decided_and_killed, files_of, numberless
from vowtest import assert_committed, ctl
from vowtest.faults import KILL


class Struck(Place):
    """A place in which one command is struck again and again, each time from the beginning."""

    def __init__(self, world, files):
        super().__init__(world, files)
        self.disk = world.faults()

    def strikes(self, *arguments):
        """For n = 1 until none is left: what came of the command whose nth call was struck. Those
        that are killed come after those that fail."""
        for errors in ((errno.EIO, errno.ENOSPC), (KILL,)):
            for nth in range(1, 500):
                error = errors[nth % len(errors)]
                self.reset()
                self.disk.fail_call(self.folder, nth, error)
                result = self.run(*arguments, **self.disk.environment)
                if self.disk.calls < nth:
                    assert nth > 3, f"it makes {nth - 1} calls"
                    break
                where = f"call {nth}, {'kill' if error == KILL else os.strerror(error)}: {result}"
                if error == KILL:
                    assert result.code in (-9, 137), where
                yield where, result
            else:
                raise AssertionError("there is no end of its calls")


def leftovers(folder):
    return sorted(entry.name for entry in folder.iterdir() if ".restoring-" in entry.name)


@pytest.fixture
def backup(world):
    """A backup of a log, which then lost what came after it."""
    vowd, (a, b) = world.vowd(), world.two_toys()
    assert_committed(vowd.client.one_shot([a.url, b.url]))
    path = vowd.folder / "backup.log"
    ctl.run("backup", path, "--url", vowd.url).fine()
    vowd.stop()
    return path


def test_a_restore_leaves_nothing_or_the_backup_in_quarantine(world, backup):
    place = Struck(world, {})
    for where, result in place.strikes("restore", backup):
        again = None
        if place.log.exists():
            told = place.run("check", "--json")
            assert told.code == ctl.ATTENTION and "restored from" in told.err, f"{where}\n{told}"
            again = place.run("restore", backup)
            again.refused(ctl.REFUSED, "there is something at")
        if result.code > 0 and result.code != 137:
            result.refused(ctl.FAILED)
            assert not leftovers(place.folder), where
            assert again is None or "is the log now, and in quarantine" in result.err, where
            assert again or "put in the log's place" in result.err, where
        if not again:
            place.run("restore", backup).fine()
            assert not leftovers(place.folder), f"what was killed is tidied up: {where}"


def test_a_restore_that_meets_a_file_size_limit_says_so_and_leaves_nothing(world, backup):
    place = Place(world, {})
    place.reset()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (backup.stat().st_size // 2, hard))
    try:
        result = place.run("restore", backup)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    result.refused(ctl.FAILED, "File too large", "Nothing was put in the log's place")
    assert not leftovers(place.folder) and not place.log.exists()


def test_a_reconciliation_is_written_whole_or_the_log_stays_in_quarantine(world):
    vowd, id, before, b = decided_and_killed(world)
    with vowd.log.with_name("vow.log-wal").open("r+b") as file:
        file.truncate(before)
    place = Struck(world, files_of(world, vowd))
    for where, result in place.strikes("reconcile", "--apply", "--yes", "--json"):
        told = place.run("check", "--json")
        doubt = "quarantine" in told.json
        assert told.code == ctl.ATTENTION and (doubt or id in told.out), f"{where}\n{told}"
        if 0 < result.code < 100:
            result.refused(ctl.FAILED)
        if result.code == ctl.OK:
            assert not doubt, f"{where}\n{told}"
        again = place.run("reconcile", "--apply", "--yes", "--json")
        assert again.code == ctl.OK, f"{where}\n{again}"
        told = place.run("check", "--json")
        assert "quarantine" not in told.json and id in told.out, f"{where}\n{told}"
    assert b.outcome(id) is None, "it drives nobody"


def test_a_recovery_that_fails_or_is_killed_is_run_again(world):
    vowd, id, _, b = decided_and_killed(world)
    place = Struck(world, files_of(world, vowd))
    how = ("recover", "--yes", "--timeout", "20s", "--advertise-url", vowd.url)
    b.doubt_again(id)
    for where, result in place.strikes(*how):
        told = place.run("check", "--json")
        over = told.code == ctl.OK
        assert over or (told.code == ctl.ATTENTION and id in told.out), f"{where}\n{told}"
        if result.code > 0:
            result.err = result.err.removeprefix(f"{id} committed (1 of 1)\n")
            result.refused(ctl.FAILED)
        if result.code == ctl.OK:
            assert b.outcome(id) == "committed", where
        assert place.run(*how).code == ctl.OK, where
        place.run("check").fine()
        assert b.outcome(id) == "committed"
        b.doubt_again(id)


@pytest.mark.parametrize("command", ["check", "list", "export", "recover --dry-run", "reconcile"])
def test_a_look_that_fails_changes_nothing(world, command):
    vowd, id, _, _ = decided_and_killed(world)
    place = Struck(world, files_of(world, vowd))
    place.reset()
    content = {name: file.read_bytes() for name, file in place.files.items()}
    usual = place.run(*command.split())
    for where, result in place.strikes(*command.split()):
        if 0 <= result.code < 100 and result.code != usual.code:
            result.refused(ctl.FAILED)
        left = {entry.name: entry.read_bytes() for entry in place.folder.iterdir()}
        assert left == content, where
        again = place.run(*command.split())
        same = numberless(again.out) == numberless(usual.out)
        assert again.code == usual.code and same, f"{where}\n{again}"


def test_a_backup_with_several_names_is_restored_from_a_copy(backup, tmp_path):
    """As tools for backups make them, which save room: nobody is told to delete another one."""
    os.link(backup, tmp_path / "of-yesterday.log")
    log = tmp_path / "restored.log"
    refused = ctl.run("restore", backup, "--log", log)
    refused.refused(ctl.FAILED, "hard links", "of a backup, take a copy (cp)")
    shutil.copy(backup, tmp_path / "copy.log")
    assert ctl.run("restore", tmp_path / "copy.log", "--log", log).code == ctl.OK


def test_a_log_with_a_write_ahead_log_is_no_backup(world):
    vowd, id, _, _ = decided_and_killed(world)
    place = Struck(world, {})
    place.reset()
    place.run("restore", vowd.log).refused(ctl.REFUSED, "is no backup", "vow.log-wal")
    assert not list(place.folder.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("witness", [False, True], ids=["of the folder", "of the witness"])
def test_what_root_restores_is_whose_the_lost_log_was(world, backup, witness):
    place = Struck(world, {})
    place.reset()
    owner = place.folder
    if witness:
        owner = place.folder / "vow.log-witness"
        shutil.copy(backup.with_name("vow.log-witness"), owner)
    os.chown(owner, 65534, 65534)
    place.run("restore", backup).fine()
    place.run("reconcile", "--apply", "--yes")
    for entry in place.folder.iterdir():
        stat = entry.stat()
        assert (stat.st_uid, stat.st_gid, stat.st_mode & 0o777) == (65534, 65534, 0o600), entry
