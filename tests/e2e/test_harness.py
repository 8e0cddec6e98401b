"""The harness itself: a toy that sees a rule broken says so, and a process that complains is
noticed."""

import email.message
import json
import subprocess
import sys
import types
import urllib.error
import urllib.request

import pytest
from vowtest import schema
from vowtest import toy as toys
from vowtest.client import Answer
from vowtest.fixtures import World
from vowtest.process import Process
from vowtest.waiting import wait_until

ID = "01900000-0000-7000-8000-000000000001"
LATER = "01900000-0000-7000-8000-000000000002"


@pytest.fixture
def toy():
    toy = toys.Toy().start()
    yield toy
    toy.stop()


def send(toy, type, transaction=ID, branch=1, **body):
    """One message as a coordinator sends it: (status, answer)."""
    if type == "prepare":
        body.setdefault("timeout_ms", 1000)
    body.setdefault("finished_below", "0" * 8 + ID[8:])
    body = {"transaction": transaction, "branch": branch, "coordinator": "http://x", **body}
    request = urllib.request.Request(
        f"{toy.url}/{type}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_correct_coordinator_is_not_blamed(toy):
    assert send(toy, "prepare", payload={"a": 1}) == (200, {"vote": "commit"})
    assert send(toy, "prepare", payload={"a": 1}) == (200, {"vote": "commit"})
    assert send(toy, "commit", finished_below=ID) == (200, {"outcome": "committed"})
    assert send(toy, "commit") == (200, {"outcome": "committed"})
    assert toy.outcome(ID) == "committed" and toy.branches[ID, 1].effects == 1
    assert toy.violations == []


@pytest.mark.parametrize(
    "messages, rule",
    [
        ([("prepare", {}), ("commit", {}), ("abort", {})], "AC2"),
        ([("prepare", {}), ("abort", {}), ("commit", {})], "AC2"),
        ([("prepare", {"payload": 1}), ("prepare", {"payload": 2})], "another payload"),
        ([("prepare", {"transaction": LATER, "finished_below": LATER}), ("prepare", {})], "C5"),
        ([("prepare", {"colour": 1})], "unknown members"),
        ([("prepare", {"transaction": "x"})], "UUIDv7"),
    ],
)
def test_each_broken_rule_is_noticed(toy, messages, rule):
    for type, body in messages:
        send(toy, type, **body)
    assert any(rule in text for text in toy.violations), toy.violations


@pytest.mark.parametrize("word", ["read-only", "abort"])
def test_telling_a_branch_that_is_done_is_noticed(toy, word):
    toy.script("prepare", toys.vote(word))
    send(toy, "prepare")
    send(toy, "abort")
    assert any("C3" in text for text in toy.violations)


def test_committing_without_a_promise_is_noticed(toy):
    toy.script("prepare", toys.vote("abort"))
    send(toy, "prepare")
    assert send(toy, "commit")[0] == 404
    assert any("AC3" in text for text in toy.violations)


def test_a_prepare_that_was_overtaken_by_its_abort_is_refused(toy):
    assert send(toy, "abort") == (200, {"outcome": "aborted"})
    assert send(toy, "prepare") == (200, {"vote": "abort"})


def test_a_stopped_toy_refuses_and_keeps_its_promise(toy):
    send(toy, "prepare")
    toy.stop()
    with pytest.raises(OSError):
        send(toy, "commit")
    toy.start()
    assert send(toy, "commit") == (200, {"outcome": "committed"})


@pytest.mark.parametrize(
    "line",
    [
        "==1==ERROR: AddressSanitizer: heap-use-after-free",
        "a.c:3:2: runtime error: signed integer overflow",
        "WARNING: ThreadSanitizer: data race (pid=1)",
        "vowd: core.c:10: step: Assertion `x' failed.",
        "==12== Invalid read of size 4",
        "==12== 8 bytes in 1 blocks are definitely lost in loss record 1 of 1",
    ],
)
def test_what_a_sanitizer_says_is_noticed(tmp_path, line):
    process = Process(tmp_path / "out")
    process.start([sys.executable, "-c", f"print({line!r})"])
    assert process.wait() == 0
    assert process.complaints() == [line]


def test_an_orderly_process_is_not_blamed(tmp_path):
    process = Process(tmp_path / "out")
    process.start([sys.executable, "-c", "print('all is well')"])
    assert process.wait_for_line("all is (well)", "it speaks")[1] == "well"
    assert process.wait() == 0 and process.complaints() == []


# Asks six times for memory, in six ways, by way of libffi; True: it got some.
ASKS = """
import ctypes
libc, pointer = ctypes.CDLL(None), ctypes.c_void_p()
calls = [
    (libc.malloc, 1), (libc.calloc, 1, 1), (libc.realloc, None, 1), (libc.aligned_alloc, 16, 16),
    (libc.strdup, b"x"), (libc.posix_memalign, ctypes.byref(pointer), 16, 16),
]
for call, *_ in calls[:5]:
    call.restype = ctypes.c_void_p
got = [bool(call(*arguments)) for call, *arguments in calls]
print("".join(".x"[one] for one in got[:5]) + ".x"[not got[5]])
"""


# In good order, or not.
STOPS = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit({}))
print("up", flush=True)
signal.pause()
"""


def a_process_of(world, text):
    """One of the world's banks, in name, that runs this."""
    process = Process(world.folder / "bank.out")
    process.start([sys.executable, "-c", text])
    world.banks.append(types.SimpleNamespace(process=process, kill=process.kill))
    return process


@pytest.mark.parametrize("code", [0, 3])
def test_how_a_process_ends_when_it_is_told_to_is_noticed(tmp_path, code):
    world = World(tmp_path)
    a_process_of(world, STOPS.format(code)).wait_for_line("up", "it runs")
    assert list(world.end()) == ([f"bank.out: exit code {code} after SIGTERM"] if code else [])


@pytest.mark.parametrize("killed", [False, True])
def test_a_process_that_ended_before_it_was_told_to_is_noticed(tmp_path, killed):
    """Also when a test was about to kill it and start it again."""
    world = World(tmp_path)
    process = a_process_of(world, "raise SystemExit(3)")
    wait_until(lambda: not process.running(), "it has ended")
    if killed:
        process.kill()
    assert list(world.end()) == ["bank.out: it had ended by itself, with 3"]


@pytest.mark.parametrize("method", ["kill", "wait"])
def test_a_process_that_is_killed_is_not_blamed(tmp_path, method):
    world = World(tmp_path)
    process = a_process_of(world, "import signal; signal.pause()")
    if method == "wait":  # as a fail point does it
        process.signal(9)
    getattr(process, method)()
    assert list(world.end()) == []


def answer_of(status, kind, text):
    headers = email.message.Message()
    if kind:
        headers["Content-Type"] = kind
    return Answer(types.SimpleNamespace(status=status, headers=headers), text.encode())


STATE = '{"status":"ok"}'


@pytest.mark.parametrize(
    "status, kind, text, wrong",
    [
        (200, "application/json", STATE, None),
        (200, "application/json", "", "has no body"),
        (200, None, "", "has no body"),
        (200, "text/html", STATE, "not documented to be text/html"),
        (200, "application/json", '{"status":7}', "7 is not"),
        (418, "application/json", STATE, "not documented to answer 418"),
        (418, None, "", "not documented to answer 418"),
    ],
)
def test_an_answer_that_is_not_documented_is_noticed(status, kind, text, wrong):
    answer = answer_of(status, kind, text)
    if wrong is None:
        schema.check_answer("GET", "/healthz", answer)
        return
    with pytest.raises(AssertionError, match=wrong):
        schema.check_answer("GET", "/healthz", answer)


@pytest.mark.parametrize("nth", range(1, 8))
def test_of_the_allocations_of_a_process_the_nth_fails(world, nth):
    """And with stays those after it; only those that the named library asks for are counted."""
    memory = world.memory()
    for stays, expected in ((False, "xxxxxx"), (True, "." * 6)):
        expected = "xxxxxx"[: nth - 1] + ("." if nth < 7 else "") + expected[nth:]
        memory.fail(nth, stays, origin="libffi")
        done = subprocess.run(
            ["/usr/bin/python3", "-c", ASKS], env=memory.environment, capture_output=True, text=True
        )
        assert done.stdout.strip() == expected, done
        assert memory.count == 6 and memory.refused == expected.count("."), memory.count
        assert nth > 6 or "libffi" in memory.stack(), memory.stack()
