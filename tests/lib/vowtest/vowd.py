"""The coordinator's daemon as a process: started on a free port, killed, started again on the same
log."""

import signal
import subprocess

from .client import Client
from .port import Port
from .process import LAUNCHER, Process, ended_by_kill, plain_environment, program
from .waiting import wait_until

# Short waits, so that a test that needs a timeout does not take long, and a small reserve, since it
# is kept as a file.
QUICK = {
    "prepare_timeout_ms": 3000,
    "request_timeout_ms": 1500,
    "transaction_timeout_ms": 60000,
    "retry_min_ms": 50,
    "retry_max_ms": 400,
    "drain_timeout_ms": 500,
    "disk_reserve_bytes": 1 << 20,
}
LISTENING = r"listening on (?:http://)?(?P<address>[\w.\[\]:]+:\d+)"


def vowd_run(*flags, environment=None, seconds=20):
    """Runs vowd to its end: (exit code, everything it printed)."""
    done = subprocess.run(
        [*LAUNCHER, program("vowd"), *map(str, flags)],
        capture_output=True,
        text=True,
        timeout=seconds * 10,
        env={**plain_environment(), **(environment or {})},
    )
    return done.returncode, done.stdout + done.stderr


class Vowd:
    """options: configuration keys; they go in as flags. failpoint: what VOW_FAILPOINT is set to."""

    def __init__(self, folder, **options):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "vow.log"
        self.options = {**QUICK, **options}
        self.process = Process(folder / "vowd.out")
        self.port = Port()
        self.address = self.port.address
        self.client = None
        self.environment = {}  # of each start
        self.on_death = []  # called when it is killed: what it knew by heart is gone

    def flags(self):
        options = {"listen": self.address, "log": self.log, **self.options}
        pairs = (("--" + key.replace("_", "-"), value) for key, value in options.items())
        return [str(part) for pair in pairs if pair[1] is not None for part in pair]

    def start(self, failpoint=None, ready=True, environment=None):
        """Starts it and waits until it listens, and until it is ready. Its port stays the same,
        since participants were told where to ask."""
        self.launch(failpoint, environment)
        self.wait_listening()
        if ready:
            self.wait_ready()
        return self

    def launch(self, failpoint=None, environment=None):
        """Starts it and waits for nothing."""
        environment = dict(environment or self.environment)
        if failpoint:
            environment["VOW_FAILPOINT"] = failpoint
        self.process.start([program("vowd"), *self.flags()], environment)

    def wait_listening(self):
        match = self.process.wait_for_line(LISTENING, "vowd listens")
        self.address = match["address"]
        self.client = Client(self.url)

    @property
    def url(self):
        return f"http://{self.address}"

    def wait_ready(self):
        wait_until(lambda: self.client.get("/readyz").status == 200, "vowd is ready", 20)

    def kill(self, ended=None):
        self.process.kill(ended)
        self.died()

    def died(self):
        for call in self.on_death:
            call()

    def restart(self, **options):
        """kill -9, and a new process on the same log and port."""
        self.kill()
        return self.start(**options)

    def stop(self, seconds=15):
        """SIGTERM; its exit code."""
        return self.process.stop(seconds)

    def reload(self):
        self.process.signal(signal.SIGHUP)

    def wait_state(self, transaction, *states, seconds=15):
        """The transaction, once it is in one of the states."""

        def look():
            shown = self.client.show(transaction)
            return shown if shown["state"] in states else None

        return wait_until(look, f"{transaction} is {' or '.join(states)}", seconds)

    def wait_ended(self, transaction, state="committed"):
        """It has ended so, and a start would read that in the log."""
        self.wait_state(transaction, state)
        wait_until(lambda: self.status()["log"]["queued"] == 0, "its end is in the log")

    def wait_killed(self, seconds=15):
        """Waits until a fail point has killed it."""
        code = self.process.wait(seconds)
        assert ended_by_kill(code), f"it ended with {code}"
        self.died()

    def status(self):
        return self.client.get("/v1/status").json
