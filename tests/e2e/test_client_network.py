"""Between libvow's client and vowd a network does to each request what networks do: a call ends
within its timeout, an error that sounds as if nothing had happened is given only when nothing has,
and the same call again gives the one outcome."""

import subprocess
import time

import pytest
from vowtest import proxy, wait_until
from vowtest.process import COMPLAINT, LAUNCHER, program
from vowtest.waiting import SLOWNESS

ANSWERED = ("twice", "slow")
TIMEOUT_MS = 1500


class Line:
    """The client behind the proxy. Each run is a process of its own, as after a crash."""

    def __init__(self, world, fault):
        self.vowd, self.toys = world.vowd(), world.two_toys()
        self.proxy = world.proxy(lambda: self.vowd.address)
        self.name, self.fault = fault, proxy.FAULTS[fault]

    def call(self, *words, timeout_ms=20000):
        command = [program("client_probe"), self.proxy.url, timeout_ms, *words]
        done = subprocess.run(
            [*LAUNCHER, *map(str, command)], capture_output=True, text=True, timeout=60 * SLOWNESS
        )
        assert done.returncode == 0 and not COMPLAINT.search(done.stderr), done
        error, id, why = done.stdout.rstrip("\n").split(" ", 2)
        assert (error == "ok") == (why == ""), f"a failure has a sentence: {done.stdout}"
        return error, id

    def struck(self, *words, times=None):
        """A call whose requests the fault strikes: all, or so many."""
        self.proxy.script(proxy.ANY, self.fault, times)
        began = time.monotonic()
        result = self.call(*words, timeout_ms=TIMEOUT_MS)
        assert time.monotonic() - began < TIMEOUT_MS / 1000 + 8 * SLOWNESS, result
        self.proxy.heal()
        return result

    def open_transaction(self):
        id = self.vowd.client.begin()
        for one in self.toys:
            self.vowd.client.enlist(id, one.url)
        return id

    def committed_everywhere(self, id):
        self.vowd.wait_state(id, "committed")
        for one in self.toys:
            wait_until(lambda one=one: one.outcome(id) == "committed", "the toys have committed")


@pytest.fixture(params=proxy.FAULTS)
def line(world, request):
    return Line(world, request.param)


def test_a_begin_says_that_it_is_not_known_to_have_begun(line):
    error, _ = line.struck("begin")
    expected = ("ok",) if line.name in ANSWERED else ("unreachable", "timeout", "protocol-error")
    assert error in expected
    assert line.call("begin")[0] == "ok"


def test_an_enlistment_that_is_repeated_is_one_branch(line):
    id = line.vowd.client.begin()
    error, _ = line.struck("enlist", id, line.toys[0].url)
    assert (error == "ok") == (line.name in ANSWERED), error
    assert line.call("enlist", id, line.toys[0].url)[0] == "ok"
    assert len(line.vowd.client.show(id)["branches"]) == 1


def test_a_commit_is_unknown_until_it_is_answered(line):
    id = line.open_transaction()
    error, _ = line.struck("commit", id)
    assert error == ("ok" if line.name in ANSWERED else "outcome-unknown")
    assert line.call("commit", id)[0] == "ok"
    line.committed_everywhere(id)


def test_one_lost_answer_is_asked_for_again_within_the_call(line):
    if line.name in ("drop", "trickle"):
        pytest.skip("it takes all of the call's time")
    id = line.open_transaction()
    assert line.struck("commit", id, times=1)[0] == "ok"
    line.committed_everywhere(id)


def test_an_abort_is_unknown_until_it_is_answered(line):
    id = line.open_transaction()
    error, _ = line.struck("abort", id)
    assert error == ("ok" if line.name in ANSWERED else "outcome-unknown")
    assert line.call("abort", id)[0] == "ok"
    line.vowd.wait_state(id, "aborted")


def test_a_one_shot_under_its_key_is_one_transaction(line):
    words = ("one-shot", "key-1", *[one.url for one in line.toys])
    error, id = line.struck(*words)
    assert error == ("ok" if line.name in ANSWERED else "outcome-unknown")
    again, known = line.call(*words)
    assert again == "ok" and id in ("-", known)
    line.committed_everywhere(known)
    assert len(line.vowd.client.get("/v1/transactions").json["transactions"]) == 1
