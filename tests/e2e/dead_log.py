"""The log of a daemon that was killed, and a place in which vowctl works on copies of it: what the
tests of its disk and of its memory share."""

import re
import shutil

from vowtest import assert_committed, ctl, toy, wait_until


class Place:
    """A folder with copies of `files`, made anew by each `reset`."""

    def __init__(self, world, files):
        self.files = files
        self.folder = world.folder / "place"
        self.log = self.folder / "vow.log"

    def reset(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        for name, file in self.files.items():
            shutil.copy(file, self.folder / name)

    def run(self, *arguments, **variables):
        return ctl.run(*arguments, "--log", self.log, timeout=30, **variables)


def lost_by_the_dead(exchange):
    """Whatever vowd sends is lost, also what arrives when it is dead; vowctl is heard."""
    dead = exchange.message.headers["user-agent"].startswith("vowd/")
    (toy.drop if dead else toy.obey)(exchange)


def decided_and_killed(world):
    """A daemon that was killed when only the first of two participants had heard of a commit, how
    long its write-ahead log was before that, and the transaction."""
    vowd, (a, b) = world.vowd(), world.two_toys()
    first = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_ended(first)
    before = vowd.log.with_name("vow.log-wal").stat().st_size
    b.script("commit", lost_by_the_dead)
    late = 3600000  # its deadline does not pass while vowctl looks at it
    id = assert_committed(vowd.client.one_shot([a.url, b.url], timeout_ms=late))["id"]
    wait_until(lambda: a.outcome(id) == "committed", "the first has committed")
    vowd.kill()
    return vowd, id, before, b


def files_of(world, vowd):
    """Copies of the log and of what lies beside it."""
    kept = world.folder / "kept"
    kept.mkdir()
    names = [entry.name for entry in vowd.folder.iterdir() if entry.name.startswith("vow.log")]
    return {name: shutil.copy(vowd.folder / name, kept / name) for name in names}


def numberless(text):
    """What is the same at each look: no times, sizes and counts of requests."""
    return re.sub(r" +", " ", re.sub(r"[ \d.]*\d[^ ,;\n]*( [KM]?i?B\b)?", "N", text))
