"""Each allocation of a program with libvow's client fails, once or with all that follow: a call
says what it did, or that it failed; and the same call again, with memory, gives the one outcome."""

import os
import subprocess

import pytest
from vowtest import assert_committed, wait_until
from vowtest.memory import KINDS, over
from vowtest.process import COMPLAINT, LAUNCHER, program
from vowtest.waiting import SLOWNESS

# What a failure may be called: nothing else would be true.
FAILURES = ("out-of-memory", "outcome-unknown")


class Line:
    """The client as a process for each call."""

    def __init__(self, world):
        self.vowd, self.toys = world.vowd(), world.two_toys()
        self.memory = world.memory()

    def call(self, *words, **environment):
        command = [program("client_probe"), self.vowd.url, 20000, *words]
        done = subprocess.run(
            [*LAUNCHER, *map(str, command)],
            capture_output=True,
            text=True,
            timeout=60 * SLOWNESS,
            env={**os.environ, **environment},
        )
        assert not COMPLAINT.search(done.stderr), done
        if done.returncode == 2:
            return "out-of-memory"  # the client could not be opened
        assert done.returncode == 0, done
        error, id, why = done.stdout.rstrip("\n").split(" ", 2)
        assert (error == "ok") == (why == ""), f"a failure has a sentence: {done.stdout}"
        return error

    def struck(self, nth, stays, *words):
        self.memory.fail(nth, stays)
        error = self.call(*words, **self.memory.environment)
        assert error in ("ok", *FAILURES), error
        return error

    def open_transaction(self):
        id = self.vowd.client.begin()
        for one in self.toys:
            self.vowd.client.enlist(id, one.url)
        return id

    def sweep(self, run):
        """run(0) makes no allocation fail."""
        run(0)
        over(self.memory, self.memory.count, run)


@pytest.fixture
def line(world):
    return Line(world)


@KINDS
@pytest.mark.parametrize("word", ["commit", "abort"])
def test_an_outcome_is_the_one_that_there_is(line, word, stays):
    ended = {"commit": "committed", "abort": "aborted"}[word]

    def run(nth):
        id = line.open_transaction()
        if line.struck(nth, stays, word, id) == "ok":
            assert line.vowd.client.outcome(id) == ended
        assert line.call(word, id) == "ok"
        line.vowd.wait_state(id, ended)

    line.sweep(run)


@KINDS
def test_a_one_shot_is_carried_out_once(line, stays):
    def run(nth):
        key = f"key-{stays}-{nth}"
        urls = [one.url for one in line.toys]
        before = len(line.vowd.client.list(limit=1000))
        line.struck(nth, stays, "one-shot", key, *urls)
        assert line.call("one-shot", key, *urls) == "ok"
        assert len(line.vowd.client.list(limit=1000)) == before + 1

    line.sweep(run)


@KINDS
def test_a_branch_is_enlisted_or_not(line, stays):
    def run(nth):
        id = line.vowd.client.begin()
        enlisted = line.struck(nth, stays, "enlist", id, line.toys[0].url) == "ok"
        branches = line.vowd.client.show(id)["branches"]
        assert branches or not enlisted, "it was told ok"
        assert line.call("enlist", id, line.toys[0].url) == "ok"
        assert len(line.vowd.client.show(id)["branches"]) == 1
        assert_committed(line.vowd.client.post(f"/v1/transactions/{id}/commit", {}))
        wait_until(lambda: line.toys[0].outcome(id) == "committed", "it commits")

    line.sweep(run)
