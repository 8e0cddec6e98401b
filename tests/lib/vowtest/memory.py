"""Allocations that fail, by tests/lib/memory.c, in one process: the nth from the start of main, or
from a moment while it runs; and what the tests over whole processes (e2e/test_*memory.py) have in
common."""

import mmap
import os
import re
import struct
import subprocess
import time

import pytest

from .client import LOST
from .vowd import Vowd
from .waiting import wait_until

def setting(name, usual):
    """What the environment says, or what the build has as its default."""
    return int(os.environ.get(name) or os.environ.get(f"{name}_DEFAULT") or usual)


# How many allocations of each sweep fail in one run of the suite; 0: each of them. Which, changes
# from day to day, unless VOW_MEMORY_DAY says it.
POINTS = setting("VOW_MEMORY_POINTS", 0)
DAY = setting("VOW_MEMORY_DAY", time.time() // 86400)

# The layout of struct control.
COUNT, FAIL, STAYS, REFUSED = range(0, 32, 8)
FROM, FROM_BYTES, BYTES = 32, 64, 96
FRAME = re.compile(r"(?P<object>[^(\s]+)\((?P<symbol>\w*)(\+(?P<offset>0x[0-9a-f]+))?\)")


def sweep(count, denser=1):
    """The n of a sweep over so many allocations."""
    step = max(1, count // (denser * POINTS)) if POINTS else 1
    return range(1 + DAY % step, count + 1, step)


class Memory:
    """Give `environment` to the process's starts. With `also` (the environment of Faults) those,
    too."""

    def __init__(self, path, also=None):
        path.write_bytes(bytes(BYTES))
        with open(path, "r+b") as file:
            self.control = mmap.mmap(file.fileno(), BYTES)
        self.stacks = path.with_name(path.name + ".stacks")
        also = also or {}
        preload = [os.environ["VOW_MEMORY"], also.get("LD_PRELOAD", "")]
        self.environment = {
            **also,
            "LD_PRELOAD": ":".join(filter(None, preload)),
            "MEMORY_CONTROL": str(path),
            # It comes before the sanitizer, on purpose.
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0",
        }

    def set(self, offset, value):
        struct.pack_into("q", self.control, offset, value)

    def get(self, offset):
        return struct.unpack_from("q", self.control, offset)[0]

    def fail(self, nth, stays=False, origin=""):
        """The nth allocation from now on (of a process that is not started: from main) fails;
        stays: and all after it. origin: only those that a file asks for whose name has this in it:
        "vowd", "libcurl", "libmicrohttpd", "libsqlite3", ... nth 0: none fails, they are counted.
        """
        data = origin.encode()
        assert len(data) < FROM_BYTES, origin
        self.set(FAIL, 0)
        self.control[FROM : FROM + FROM_BYTES] = data.ljust(FROM_BYTES, b"\0")
        with open(self.stacks, "wb"):
            pass  # emptied, and not replaced: a process has it open
        self.set(STAYS, int(stays))
        self.set(REFUSED, 0)
        self.set(COUNT, 0)
        self.set(FAIL, nth)

    def stop(self):
        """None fails any more."""
        self.set(FAIL, 0)

    @property
    def count(self):
        """How many there were since `fail`."""
        return self.get(COUNT)

    @property
    def refused(self):
        """How many have failed since `fail`."""
        return self.get(REFUSED)

    def stack(self):
        """Who asked for what failed, for a person: function, file and line."""
        if not self.stacks.exists():
            return ""
        return "\n".join(map(readable, self.stacks.read_text().splitlines()))


def readable(line):
    """A frame as file, function and source line, as far as the file knows them."""
    match = FRAME.match(line)
    if not match or match["symbol"] or not match["offset"]:
        return line
    command = ["addr2line", "-sfpe", match["object"], match["offset"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return f"{os.path.basename(match['object'])}: {done.stdout.strip() or match['offset']}"


# ---- sweeps over whole processes ----

# Whatever is lost is noticed soon; who answers when the processors are busy is waited for.
QUICK = {
    "transaction_timeout_ms": 1500,
    "prepare_timeout_ms": 1000,
    "request_timeout_ms": 700,
    "wait_timeout_ms": 3000,
    "retry_max_ms": 100,
}
KINDS = pytest.mark.parametrize("stays", [False, True], ids=["once", "for-ever"])
ADVICE = "give this process more"
# Advice that would harm, and what would mean that somebody took a lack of memory for something
# else.
WRONG_ADVICE = re.compile(
    r"damaged|backup|has lost|look at the|permission|will not do|in use by"
)


def over(memory, count, run, denser=1):
    """run(n) for each n of the sweep; tells all that went wrong, and who had asked for memory."""
    wrong = []
    for nth in sweep(count, denser):
        try:
            run(nth)
        except (AssertionError, *LOST) as error:
            wrong.append(f"n = {nth}: {error}\n{memory.stack()}")
            memory.stop()
            if len(wrong) == 3:
                break
    assert not wrong, "\n".join(wrong)


def reap(owner):
    """A process that has ended: with status 1 and a sentence that helps."""
    process = owner.process
    code = process.exit_codes[-1] if process.child is None else process.wait()
    text = process.text()
    assert code == 1, f"it ended with {code}:\n{text}"
    last = (text.splitlines() or [""])[-1]
    assert "memory" in last, f"it does not say why:\n{text}"
    assert ADVICE in last or not isinstance(owner, Vowd), f"it does not say what to do:\n{text}"
    assert not WRONG_ADVICE.search(last), f"its advice does not help:\n{text}"
    getattr(owner, "died", lambda: None)()


def start_or_end(owner, listens):
    """A start while an allocation fails."""
    owner.launch()
    process = owner.process
    wait_until(lambda: not process.running() or re.search(listens, process.text()), "it decides")
    if process.running():
        owner.wait_listening()
    else:
        reap(owner)
