"""The programs of a run: starting and ending them, and reading what they have used.

Each is ended by its own pid. What one prints on standard output is read line by line by a thread.
"""

import contextlib
import json
import os
import pathlib
import queue
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

DEADLINE_S = 60.0


class BenchError(Exception):
    """The bench cannot go on; the sentence says why."""


def wait_until(condition, what, deadline_s=DEADLINE_S, every_s=0.02):
    """Polls until the condition is true; its value is returned."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise BenchError(f"waited {deadline_s:.0f} s in vain: {what}")
        time.sleep(every_s)
    return value


class Process:
    """One program. Its standard error goes to a file that is shown when something is wrong."""

    def __init__(self, name, command, folder):
        self.name = name
        self.errors = folder / f"{name}.stderr"
        self.lines = queue.Queue()
        with self.errors.open("ab") as errors:
            self.popen = subprocess.Popen(
                [str(word) for word in command], stdout=subprocess.PIPE, stderr=errors, text=True
            )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.popen.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    @property
    def pid(self):
        return self.popen.pid

    def said(self):
        return self.errors.read_text(errors="replace")[-2000:]

    def line(self, deadline_s=DEADLINE_S):
        """The next line of its standard output; None when it has ended."""
        try:
            return self.lines.get(timeout=deadline_s)
        except queue.Empty:
            raise BenchError(f"{self.name} says nothing; its errors: {self.said()}") from None

    def expect(self, wanted, deadline_s=DEADLINE_S):
        line = self.line(deadline_s)
        if line is None or not line.startswith(wanted):
            raise BenchError(f"{self.name} said {line!r} instead of {wanted!r}: {self.said()}")
        return line

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def kill(self):
        self.popen.kill()
        self.popen.wait()

    def stop(self, deadline_s=DEADLINE_S):
        """SIGTERM, and nothing but a clean end will do."""
        if self.running():
            self.signal(signal.SIGTERM)
        try:
            code = self.popen.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BenchError(f"{self.name} did not end: {self.said()}") from None
        if code != 0:
            raise BenchError(f"{self.name} ended with {code}: {self.said()}")

    def result(self, deadline_s):
        """Waits for the end of a program that prints one JSON object last."""
        last = None
        while (line := self.line(deadline_s)) is not None:
            last = line
        if self.popen.wait() != 0:
            raise BenchError(f"{self.name} ended with {self.popen.returncode}: {self.said()}")
        return json.loads(last)

    def place(self, processors):
        """It, with the threads it has and makes, runs on these alone."""
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(int(task), processors)

    def cpu_us(self):
        """CPU time of all its threads, in user and kernel mode: clock_getcpuclockid(3) of its
        pid, which counts in nanoseconds where /proc/PID/stat counts in ticks."""
        return time.clock_gettime((~self.pid << 3) | 2) * 1e6

    def rss_bytes(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def ask(self):
        """The counts it prints at SIGUSR1."""
        self.signal(signal.SIGUSR1)
        return json.loads(self.expect("{"))


class Server(Process):
    """A program that prints where it listens."""

    def __init__(self, name, command, folder):
        super().__init__(name, command, folder)
        self.url = self.expect(f"{command[0].name} listens on ").split()[-1]
        self.address = self.url.removeprefix("http://")

    def counts(self):
        return self.ask()


class Vowd(Process):
    """The daemon on a log; its address is the same after a restart."""

    def __init__(self, name, program, folder, log, address="127.0.0.1:0", options=()):
        self.log = log
        self.options = options
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in options]
        command = [program, f"--log={log}", f"--listen={address}", *flags]
        (folder / f"{name}.stderr").write_text("")
        super().__init__(name, command, folder)
        self.address = wait_until(self._address, f"{name} listens", every_s=0.002)
        self.url = f"http://{self.address}"

    def _address(self):
        if not self.running():
            raise BenchError(f"{self.name} ended: {self.said()}")
        for line in self.errors.read_text().splitlines():
            if "listening on " in line and " address=" in line:
                return line.rsplit(" address=", 1)[1].strip()
        return None

    def get(self, path):
        """(status, body); a status of 0 when there is no answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metrics(self):
        status, text = self.get("/metrics")
        if status != 200:
            raise BenchError(f"{self.name} has no metrics: {status} {text}")
        pairs = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in pairs}

    def open(self):
        """Transactions that have not ended."""
        found = self.metrics()
        return sum(n for name, n in found.items() if name.startswith("vow_transactions_open{"))

    def counts(self):
        found = self.metrics()
        return {
            "transactions": found['vow_transactions_total{outcome="committed"}'],
            "log_records": found["vow_log_records_total"],
            "log_syncs": found["vow_log_syncs_total"],
        }

    def ready(self):
        return self.get("/readyz")[0] == 200

    def recovering(self):
        """How many of the last run's transactions are open; None while the log is read."""
        status, text = self.get("/readyz")
        return json.loads(text)["recovering"] if status == 200 else None


class Programs:
    """Where the programs of a build are."""

    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()
        self.vowd = self.build / "coordinator" / "vowd"
        for name in ("load", "answerer", "prototype", "floor", "participant", "prefill"):
            setattr(self, name, self.build / "tests" / "bench" / name)
        if not os.access(self.load, os.X_OK):
            raise BenchError(f"{self.build} has no bench: configure it with -DVOW_BENCH=ON")
