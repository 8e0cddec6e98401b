"""The log is moved or deleted under a running vowd: it begins nothing new, says so everywhere, goes
on with what is open, and nothing is lost if the runbook is followed."""

import pathlib
import shutil
import signal

import pytest
from vowtest import assert_committed, ctl, everything_ends, toy, wait_until


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
    pid = vowd.process.pid
    if what == "replaced by a backup":
        backup = vowd.folder / "backup"
        ctl.run("backup", "--url", vowd.url, backup).fine()
        backup.rename(vowd.log)
    for path in story.files():
        if what == "all of it" or (path.name == "vow.log-wal" and "write" in what):
            path.unlink()
    story.expect_refusal()
    vowd.process.signal(signal.SIGSTOP)
    (vowd.folder / "rescue").mkdir()
    for open_file in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        name = pathlib.Path(str(open_file.readlink()).removesuffix(" (deleted)")).name
        if name in ("vow.log", "vow.log-wal"):
            shutil.copy(open_file, vowd.folder / "rescue" / name)
    for name in ("vow.log", "vow.log-wal"):
        (vowd.folder / "rescue" / name).replace(vowd.folder / name)
    assert " sound; " in ctl.run("check", "--log", vowd.log).out
    vowd.restart()
    story.expect_nothing_lost()
