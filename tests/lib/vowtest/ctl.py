"""Running vowctl as an operator does: with its output in a pipe, or at a terminal that a test types
into."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from .process import COMPLAINT, LAUNCHER, program
from .waiting import SLOWNESS

OK, FAILED, USAGE, UNREACHABLE, NOT_FOUND, REFUSED, ABORTED, ATTENTION, LOCKED, DAMAGED = range(10)


def environment(**changes):
    """A predictable one: no address and no colours from outside."""
    kept = {k: v for k, v in os.environ.items() if k not in ("VOW_URL", "NO_COLOR", "TERM")}
    return {**kept, "TERM": "xterm", **{k: v for k, v in changes.items() if v is not None}}


class Result:
    """code, out, err; `json` is the one document on standard output."""

    def __init__(self, arguments, code, out, err=""):
        self.arguments, self.code, self.out, self.err = arguments, code, out, err
        found = COMPLAINT.search(out + err)
        assert not found, f"{self}"

    def __repr__(self):
        line = " ".join(map(str, self.arguments))
        return f"vowctl {line}: exit code {self.code}\n{self.out}\n{self.err}"

    @property
    def json(self):
        assert self.out.endswith("\n") and self.out.count("\n") == 1, f"not one line: {self}"
        return json.loads(self.out)

    @property
    def lines(self):
        return self.out.splitlines()

    def refused(self, code, *words):
        """It ended so, and said in two sentences what is wrong and what to do."""
        assert self.code == code, f"not {code}: {self}"
        for word in words:
            assert word in self.err, f"{word!r} is not in {self}"
        assert self.err.startswith("vowctl: ") and len(self.err.splitlines()) >= 2, self
        return self

    def fine(self):
        assert self.code == OK and self.err == "", f"{self}"
        return self


def run(*arguments, timeout=60, input=None, **variables):
    """Its output in pipes."""
    arguments = [str(a) for a in arguments]
    done = subprocess.run(
        [*LAUNCHER, program("vowctl"), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout * SLOWNESS,
        env=environment(**variables),
        stdin=subprocess.DEVNULL if input is None else None,
        input=input,
    )
    return Result(arguments, done.returncode, done.stdout, done.stderr)


class Terminal:
    """vowctl at a terminal of its own, as wide as the test wants. `out` is what the screen got."""

    def __init__(self, *arguments, width=100, height=30, **variables):
        self.arguments = [str(a) for a in arguments]
        self.out = ""
        self.status = None
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
            command = [*LAUNCHER, program("vowctl"), *self.arguments]
            os.execvpe(command[0], command, environment(**variables))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def read(self, seconds):
        """More output; False at its end."""
        if not select.select([self.fd], [], [], max(0, seconds))[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            data = b""
        self.out += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, seconds=20):
        """Waits until the screen has shown it; forgets what came before its end."""
        deadline = time.monotonic() + seconds * SLOWNESS
        more = True
        while True:
            match = re.search(pattern, self.out)
            if match:
                self.out = self.out[match.end() :]
                return match
            assert more, f"it ended without {pattern!r}: {self.out!r}"
            assert time.monotonic() < deadline, f"no {pattern!r} in: {self.out!r}"
            more = self.read(deadline - time.monotonic())

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self, seconds=30):
        """Its exit code."""
        deadline = time.monotonic() + seconds * SLOWNESS
        while self.read(deadline - time.monotonic()):
            assert time.monotonic() < deadline, f"it does not end: {self.out!r}"
        self.status = os.waitpid(self.pid, 0)[1]
        assert not COMPLAINT.search(self.out), self.out
        return os.waitstatus_to_exitcode(self.status)
