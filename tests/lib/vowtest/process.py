"""One process under test: started, watched, ended by its pid, and asked at the end what it
complained of."""

import os
import re
import shlex
import signal
import subprocess

from .waiting import SLOWNESS, wait_until

LAUNCHER = shlex.split(os.environ.get("VOW_TEST_LAUNCHER", ""))
# What sanitizers and valgrind print when they found something.
COMPLAINT = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|Assertion .* failed"
    r"|==\d+== (Invalid|Conditional|Use of uninit|Syscall param|.* definitely lost in)"
)


def program(name):
    """The path of a program of this build: VOW_PROGRAM_VOWD, …"""
    path = os.environ.get(f"VOW_PROGRAM_{name.upper()}")
    assert path, f"run this with ./tests/run.sh: VOW_PROGRAM_{name.upper()} is not set"
    return path


def plain_environment():
    """This process's environment without what is configuration to vowd."""
    return {name: value for name, value in os.environ.items() if not name.startswith("VOW_")}


def ended_by_kill(code):
    """Whether an exit code says SIGKILL; a launcher has it as 137."""
    return code in (-signal.SIGKILL, 128 + signal.SIGKILL)


class Process:
    """`output` is the file that takes stdout and stderr of every start, one after another."""

    def __init__(self, output):
        self.output = output
        self.child = None
        self.started_at = 0
        self.exit_codes = []
        self.surprises = []

    def start(self, command, environment=None):
        assert self.child is None, "it is still running"
        self.started_at = self.output.stat().st_size if self.output.exists() else 0
        with open(self.output, "ab") as stream:
            self.child = subprocess.Popen(
                [*LAUNCHER, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={**plain_environment(), **(environment or {})},
            )

    @property
    def pid(self):
        return self.child.pid

    def text(self):
        """What it printed since its last start."""
        with open(self.output, "rb") as stream:
            stream.seek(self.started_at)
            return stream.read().decode(errors="replace")

    def running(self):
        return self.child is not None and self.child.poll() is None

    def wait_for_line(self, pattern, what, seconds=20):
        """The first match in its output; fails at once when the process ends instead."""

        def look():
            ended = not self.running()
            match = re.search(pattern, self.text(), re.M)
            assert (
                match or not ended
            ), f"{what}: it ended with {self.child.returncode}:\n{self.text()}"
            return match

        return wait_until(look, what, seconds)

    def signal(self, number):
        os.kill(self.pid, number)

    def frozen(self):
        """Whether SIGSTOP holds it."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"

    def freeze(self):
        self.signal(signal.SIGSTOP)
        wait_until(self.frozen, "it stands still")

    def thaw(self):
        self.signal(signal.SIGCONT)

    def kill(self, ended=None):
        """kill -9: nothing is flushed, no handler runs. It must not have ended before, unless it is
        expected that it may have, with this code."""
        if self.child is None:
            return
        alive = self.running()
        if alive:
            self.signal(signal.SIGKILL)
        code = self.wait(10)
        if not alive and not ended_by_kill(code) and code != ended:
            self.surprises.append(f"it had ended by itself, with {code}")

    def end(self, seconds):
        """SIGTERM, if it runs; yields what is wrong with how it ended."""
        yield from self.surprises
        if self.running():
            code = self.stop(seconds)
            if code != 0:
                yield f"exit code {code} after SIGTERM"
        elif self.child is not None:
            yield f"it had ended by itself, with {self.wait()}"

    def stop(self, seconds=15):
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds=15):
        """Its exit code once it has ended; fails if it does not end in time."""
        try:
            code = self.child.wait(seconds * SLOWNESS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            self.child = None
            raise AssertionError(f"it did not end within {seconds * SLOWNESS:g} s") from None
        self.child = None
        self.exit_codes.append(code)
        return code

    def complaints(self):
        """Lines in which a sanitizer, valgrind or an assertion said that something is wrong."""
        if not self.output.exists():
            return []
        lines = self.output.read_text(errors="replace").splitlines()
        return [line for line in lines if COMPLAINT.search(line)]
