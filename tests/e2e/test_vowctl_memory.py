"""Each allocation of vowctl fails once: it does what it was asked, or says that it has not, or that
it does not know, and ends with a documented code; nothing is shown or written by halves."""

import re

import pytest
from vowtest import assert_committed, ctl


class Where:
    """What a failing test prints; looked up only then."""

    def __init__(self, *parts):
        self.parts = parts

    def __repr__(self):
        memory, nth, result = self.parts
        return f"allocation {nth}: {result}\n{memory.stack()}"


def strikes(world, *arguments, step=1, origin="vowctl"):
    """The command with its first, second, ... allocation failing, until none is left."""
    memory = world.memory()
    for nth in range(1, 5000, step):
        memory.fail(nth, origin=origin)
        result = ctl.run(*arguments, **memory.environment)
        if not memory.refused:
            assert nth > 5, f"it makes {nth - 1} allocations"
            return
        yield Where(memory, nth, result), result
    raise AssertionError("there is no end of its allocations")


def ageless(text):
    """What is the same at each look: no times, sizes and counts of requests."""
    return re.sub(r"[ \d.]*\d[^ ,;\n]*", "N", text)


@pytest.fixture
def vowd(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    vowd.id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_state(vowd.id, "committed")
    return vowd


COMMANDS = {
    "status": "status",
    "list": "list",
    "list as a document": "list --json",
    "show": "show ID",
    "participants": "participants",
    "watch": "watch --count 1",
    "commit": "commit ID --yes",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_the_daemon_says_is_told_whole_or_not_for_true(world, vowd, command):
    line = [vowd.id if word == "ID" else word for word in COMMANDS[command].split()]
    line += ["--url", vowd.url]
    usual = ctl.run(*line).fine()
    for where, result in strikes(world, *line):
        if result.code == ctl.OK:
            assert ageless(result.out) == ageless(usual.out), where
            continue
        codes = (ctl.FAILED, ctl.UNREACHABLE, ctl.ATTENTION)
        assert result.code in codes and result.err.startswith("vowctl: "), where
        assert result.code != ctl.ATTENTION or "it is not known" in result.err, where


@pytest.mark.parametrize("command", ["show", "commit"])
def test_a_command_whose_curl_has_no_memory_ends(world, vowd, command):
    line = [vowd.id if word == "ID" else word for word in COMMANDS[command].split()]
    for where, result in strikes(world, *line, "--url", vowd.url, origin="libcurl"):
        codes = (ctl.OK, ctl.FAILED, ctl.UNREACHABLE, ctl.ATTENTION)
        assert result.code in codes, where
        assert result.code == ctl.OK or result.err.startswith("vowctl: "), where


def test_a_restore_without_memory_leaves_nothing_or_the_backup_in_quarantine(world, vowd):
    backup = vowd.folder / "backup.log"
    ctl.run("backup", backup, "--url", vowd.url).fine()
    place = world.folder / "place"
    place.mkdir()
    log = place / "vow.log"
    for where, result in strikes(world, "restore", backup, "--log", log, step=7):
        assert result.code in (ctl.OK, ctl.FAILED), where
        assert log.exists() == (result.code == ctl.OK), where
        if log.exists():
            told = ctl.run("check", "--log", log)
            assert told.code == ctl.ATTENTION and "restored from" in told.err, f"{where}\n{told}"
        for entry in place.iterdir():
            assert ".restoring-" not in entry.name, where
            entry.unlink()
