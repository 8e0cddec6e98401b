"""Each allocation of vowctl, or of a library in it, fails, once or with all that follow: it does
what it was asked, or says that it has not, or that it does not know, and ends with a documented
code; nothing is shown or written by halves."""

import re

import pytest
from dead_log import Place, decided_and_killed, files_of, numberless
from vowtest import assert_committed, ctl, toy, wait_until
from vowtest.memory import KINDS, sweep


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


# What would be wrong advice: another log, another address, another file.
WRONG_ADVICE = re.compile(
    r"damaged|restore it|Start vowd,|permission|will not do|in use by|not speak"
)


def says_why(result, where, *codes):
    """It ended so, for want of memory, and says that."""
    assert result.code in codes, where
    assert result.err.startswith("vowctl: ") and "emory" in result.err, where
    assert not WRONG_ADVICE.search(result.err), where


@pytest.fixture
def vowd(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    vowd.id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_state(vowd.id, "committed")
    wait_until(lambda: nobody_is_busy(vowd), "no participant has a branch any more")
    return vowd


def nobody_is_busy(vowd):
    told = vowd.client.get("/v1/participants").json["participants"]
    return all(one["state"] == "idle" for one in told)


COMMANDS = {
    "status": "status",
    "list": "list",
    "list as a document": "list --json",
    "list of some": "list --participant " + 300 * "x",
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
            assert numberless(result.out) == numberless(usual.out), where
            continue
        says_why(result, where, ctl.FAILED, ctl.ATTENTION)
        assert result.code != ctl.ATTENTION or "it is not known" in result.err, where


@pytest.mark.parametrize("command", ["show", "commit"])
def test_a_command_whose_curl_has_no_memory_ends(world, vowd, command):
    line = [vowd.id if word == "ID" else word for word in COMMANDS[command].split()]
    for where, result in strikes(world, *line, "--url", vowd.url, origin="libcurl"):
        # Curl does not tell a name that it cannot resolve from one that it has no memory for.
        if result.code != ctl.OK and "cannot be resolved" not in result.err:
            says_why(result, where, ctl.FAILED, ctl.ATTENTION)


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


# ---- of the whole process, libraries included: some of them; VOW_MEMORY_POINTS=0 is each ----

def points(world, stays, begin):
    """Runs what `begin` makes ready and returns, a command line, as the nth allocation fails."""
    memory = world.memory()
    memory.fail(0)
    ctl.run(*begin(), **memory.environment)
    for nth in sweep(memory.count):
        line = begin()
        memory.fail(nth, stays)
        result = ctl.run(*line, **memory.environment)
        yield Where(memory, nth, result), result


class Acts:
    """Each begins with something to do: the command line, and what is so once it is done."""

    def __init__(self, world):
        self.vowd, self.toys = world.vowd(), world.two_toys()
        self.count = 0

    def begun(self):
        self.id = self.vowd.client.begin()
        for one in self.toys:
            self.vowd.client.enlist(self.id, one.url)

    def state(self):
        return self.vowd.client.show(self.id)["state"]

    def aborts(self):
        return self.state() in ("aborting", "aborted")

    def commit(self):
        self.begun()
        return ["commit", self.id, "--yes"], lambda: self.state().startswith("committ")

    def abort(self):
        self.begun()
        return ["abort", self.id, "--yes"], self.aborts

    def resolve(self):
        self.begun()
        more = ["--outcome", "aborted", "--reason", "gone", "--yes"]
        return ["resolve", self.id, *more], self.aborts

    def forget(self):
        self.begun()
        self.toys[0].script("commit", toy.answer(200, {"outcome": "heuristic-abort"}), times=1)
        self.vowd.client.post(f"/v1/transactions/{self.id}/commit", {})
        self.vowd.wait_state(self.id, "committed")
        forgotten = lambda: "forgotten" in self.vowd.client.show(self.id)
        return ["forget", self.id, "--reason", "booked", "--yes"], forgotten

    def backup(self):
        self.count += 1
        path = self.vowd.folder / f"backup-{self.count}.log"
        return ["backup", path], path.exists


@KINDS
@pytest.mark.parametrize("act", ["commit", "abort", "resolve", "forget", "backup"])
def test_an_act_is_done_or_not_or_not_known_to_be(world, act, stays):
    acts = Acts(world)

    def begin():
        line, acts.is_done = getattr(acts, act)()
        return [*line, "--url", acts.vowd.url]

    for where, result in points(world, stays, begin):
        if result.code == ctl.OK:
            assert acts.is_done(), where
            continue
        says_why(result, where, ctl.FAILED, ctl.ATTENTION)
        if result.code == ctl.FAILED:
            assert acts.is_done() == ("it is done" in result.err), where


@KINDS
@pytest.mark.parametrize("command", ["status", "list", "show", "participants", "watch"])
def test_a_look_at_the_daemon_is_whole_or_fails_for_want_of_memory(world, vowd, command, stays):
    line = [vowd.id if word == "ID" else word for word in COMMANDS[command].split()]
    line += ["--url", vowd.url]
    usual = ctl.run(*line).fine()
    for where, result in points(world, stays, lambda: line):
        if result.code == ctl.OK:
            assert numberless(result.out) == numberless(usual.out), where
        else:
            says_why(result, where, ctl.FAILED)


OFFLINE = ["check", "check --json", "list", "export", "show", "recover --dry-run", "reconcile"]


@KINDS
@pytest.mark.parametrize("command", OFFLINE)
def test_a_look_at_a_log_is_whole_or_fails_for_want_of_memory(world, command, stays):
    vowd, id, _, _ = decided_and_killed(world)
    place = Place(world, files_of(world, vowd))
    words = [*command.split(), *([id] if command == "show" else []), "--log", place.log]
    place.reset()
    content = {name: file.read_bytes() for name, file in place.files.items()}
    usual = ctl.run(*words)
    for where, result in points(world, stays, lambda: words):
        if result.code == usual.code and "not all could be shown" not in result.err:
            assert numberless(result.out) == numberless(usual.out), where
        else:
            says_why(result, where, ctl.FAILED, usual.code)
        left = {entry.name: entry.read_bytes() for entry in place.folder.iterdir()}
        assert left == content, where


@KINDS
def test_a_recovery_without_memory_is_run_again(world, stays):
    vowd, id, _, b = decided_and_killed(world)
    place = Place(world, files_of(world, vowd))
    how = ("recover", "--yes", "--timeout", "20s", "--advertise-url", vowd.url)

    def begin():
        place.reset()
        b.doubt_again(id)
        return [*how, "--log", place.log]

    for where, result in points(world, stays, begin):
        if result.code == ctl.OK:
            assert b.outcome(id) == "committed", where
        else:
            result.err = re.sub(rf"^{id} committed .*\n", "", result.err)
            says_why(result, where, ctl.FAILED)
        assert place.run(*how).code == ctl.OK, where
        place.run("check").fine()
        assert b.outcome(id) == "committed"


@KINDS
def test_a_reconciliation_without_memory_is_written_whole_or_not(world, stays):
    vowd, id, before, b = decided_and_killed(world)
    with vowd.log.with_name("vow.log-wal").open("r+b") as file:
        file.truncate(before)
    place = Place(world, files_of(world, vowd))
    how = ("reconcile", "--apply", "--yes", "--json")

    def begin():
        place.reset()
        return [*how, "--log", place.log]

    for where, result in points(world, stays, begin):
        told = place.run("check", "--json")
        doubt = "quarantine" in told.json
        assert told.code == ctl.ATTENTION and (doubt or id in told.out), f"{where}\n{told}"
        if result.code == ctl.OK:
            assert not doubt, f"{where}\n{told}"
        elif result.code == ctl.ATTENTION:
            assert doubt and "memory" in result.out, where
        else:
            says_why(result, where, ctl.FAILED)
        again = place.run(*how)
        assert again.code == ctl.OK, f"{where}\n{again}"
    assert b.outcome(id) is None, "it drives nobody"


@KINDS
def test_a_whole_restore_without_memory_leaves_nothing_or_the_backup(world, vowd, stays):
    backup = vowd.folder / "backup.log"
    ctl.run("backup", backup, "--url", vowd.url).fine()
    place = Place(world, {})

    def begin():
        place.reset()
        return ["restore", backup, "--log", place.log]

    for where, result in points(world, stays, begin):
        if result.code != ctl.OK:
            says_why(result, where, ctl.FAILED)
        assert place.log.exists() == (result.code == ctl.OK), where
        assert not [one for one in place.folder.iterdir() if ".restoring-" in one.name], where
        if place.log.exists():
            told = place.run("check")
            assert told.code == ctl.ATTENTION and "restored from" in told.err, f"{where}\n{told}"
