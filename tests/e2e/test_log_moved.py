"""The log is moved or deleted under a running vowd or bank: it begins nothing new, says so
everywhere, goes on with what is open, and nothing is lost if the runbook is followed."""

import pathlib
import shutil
import signal

import pytest
from vowtest import Town, assert_committed, ctl, everything_ends, toy, wait_until


class Story:
    """One transaction that has committed, one whose commit the participants do not take yet, and
    one that is only begun."""

    def __init__(self, world):
        self.vowd = world.vowd(retry_max_ms=100)
        self.toys = world.two_toys()
        ended, self.decided, self.begun = (self.begin() for _ in range(3))
        self.ids = [ended, self.decided, self.begun]
        assert_committed(self.commit(ended))
        for one in self.toys:
            one.script("commit", toy.answer(503))
        assert_committed(self.commit(self.decided))

    def begin(self):
        id = self.vowd.client.begin()
        for one in self.toys:
            self.vowd.client.enlist(id, one.url)
        return id

    def commit(self, id):
        return self.vowd.client.commit(id)

    def files(self):
        return sorted(self.vowd.folder.glob("vow.log*"))

    def refuses(self):
        """Sooner or later: it looks after a write, and every ten seconds."""
        answer = self.vowd.client.post("/v1/transactions", {})
        assert answer.status in (201, 503), answer
        if answer.status == 201:
            self.vowd.client.abort(answer.json["id"])
            return None
        assert answer.problem == "log-moved" and answer.headers["Retry-After"], answer
        return answer

    def expect_refusal(self):
        """New ones are refused, and whoever looks is told; what is begun can be decided."""
        answer = wait_until(self.refuses, "begins are refused", 30)
        assert "do not stop vowd" in answer.json["detail"]
        ready = self.vowd.client.get("/readyz")
        assert ready.status == 503 and "do not stop vowd" in ready.json["reason"], ready
        assert self.vowd.status()["log_moved"] and not self.vowd.status()["log_space_low"]
        assert "vow_log_moved 1" in self.vowd.client.get("/metrics").text
        status = ctl.run("status", "--check", "--url", self.vowd.url)
        status.refused(ctl.ATTENTION, "moved or deleted", "Do not stop vowd")
        assert "new transactions are refused: the log" in self.vowd.process.text()
        assert_committed(self.commit(self.begun))

    def expect_nothing_lost(self):
        wait_until(lambda: not self.refuses(), "begins are taken")
        for one in self.toys:
            one.unscript()
        for id in self.ids:
            self.vowd.wait_state(id, "committed")
        everything_ends(self.vowd, self.toys)


def take_out_of_proc(process, log):
    """The runbook's commands. The process stands still afterwards."""
    process.signal(signal.SIGSTOP)
    rescue = log.parent / "rescue"
    rescue.mkdir()
    for open_file in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
        name = pathlib.Path(str(open_file.readlink()).removesuffix(" (deleted)")).name
        if name in (log.name, f"{log.name}-wal"):
            shutil.copy(open_file, rescue / name)
    for path in rescue.iterdir():
        path.replace(log.parent / path.name)


@pytest.fixture
def story(world):
    return Story(world)


def test_a_log_that_is_put_back_is_used_as_before(story):
    aside = story.vowd.folder / "aside"
    story.vowd.log.rename(aside)
    story.expect_refusal()
    aside.rename(story.vowd.log)
    story.expect_nothing_lost()
    assert "new transactions are taken again" in story.vowd.process.text()
    story.vowd.restart()
    story.expect_nothing_lost()


@pytest.mark.parametrize("what", ["all of it", "the write-ahead log", "replaced by a backup"])
def test_a_deleted_log_is_taken_out_of_proc(story, what):
    """As the runbook says it: vowd is made to stand still, its files are copied from where it has
    them open, and only then it ends."""
    vowd = story.vowd
    if what == "replaced by a backup":
        backup = vowd.folder / "backup"
        ctl.run("backup", "--url", vowd.url, backup).fine()
        backup.rename(vowd.log)
    for path in story.files():
        if what == "all of it" or (path.name == "vow.log-wal" and "write" in what):
            path.unlink()
    story.expect_refusal()
    take_out_of_proc(vowd.process, vowd.log)
    assert " sound; " in ctl.run("check", "--log", vowd.log).out
    vowd.restart()
    story.expect_nothing_lost()


def test_a_participant_whose_database_is_deleted_promises_nothing_more(world):
    """What it had promised before still commits, and what is taken out of /proc is all of it."""
    town = Town(world, retry_max_ms=100)
    right = town.banks[1]
    right.restart(failpoint="vote.before_reply=delay300")
    promised = town.ask()
    right.process.wait_for_line("vote.before_reply strikes", "it has promised")
    for path in right.database.parent.glob(f"{right.database.name}*"):
        path.unlink()
    assert promised.wait().status == 200

    def refuses():
        answer = town.ask().wait()
        return answer.status == 409 and "moved, deleted or replaced" in answer.json["detail"]

    wait_until(refuses, "it votes abort, and says why")
    take_out_of_proc(right.process, right.database)
    right.restart()
    wait_until(lambda: town.ask().wait().status == 200, "it works again")
    town.at_rest()
