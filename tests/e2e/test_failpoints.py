"""At each fail point of vowd and of a bank the step fails, the thread hangs or is late, or the
whole process stands still past every timeout. Whatever comes of it ends, all or nothing.
(That each is killed at, test_recovery and test_participant_recovery show.)"""

import signal
import time

import pytest
from failpoints import COORDINATOR, COORDINATOR_ERRORS, PARTICIPANT, PARTICIPANT_ERRORS
from vowtest import LOST, Client, Town, transaction_of, vowd_run, wait_until

# All of it is over within PAST_S: that is how long a frozen process stands still.
SHORT = {
    "prepare_timeout_ms": 600,
    "request_timeout_ms": 200,
    "transaction_timeout_ms": 700,
    "wait_timeout_ms": 5000,
    "retry_min_ms": 20,
    "retry_max_ms": 100,
}
PAST_S = 0.9
LATE = "delay350"

# In vowd these stop its only log thread; elsewhere its loop stops, and nobody is answered.
LOG_POINTS = ["decision.in_commit", "log.after_commit", "end.before_log", "end.after_log"]
# Where a thread that hangs holds others up, or nobody: elsewhere it is like a kill that comes late.
HANGS = (
    [*LOG_POINTS, "begin.before_answer", "prepare.sent", "ack.received", "recover.done"],
    ["votes.before_log", "commit.before_log", "prepare.after_callback", "ack.before_reply"]
    + ["inquiry.answered", "recover.row"],
)
# After these a bank must be started again, and says so.
COMMIT_ERRORS = [name for name in PARTICIPANT_ERRORS if name.endswith("_log")]


@pytest.fixture
def town(world):
    return Town(world, **SHORT)


class Scene:
    """Brings one process to one of its fail points. `process` is the one that gets there."""

    def __init__(self, town, side, point, strike):
        self.town, self.point = town, point
        self.who = town.vowd if side == "vowd" else town.banks[1]
        self.process = self.who.process
        self.spec = f"{point}={strike}"

    def play(self):
        """Until the fail point has struck."""
        if self.point.startswith("recover."):
            self.leave_something_open()
            self.who.kill()
            self.start()
        elif self.point == "inquiry.answered":
            self.restart()
            self.leave_something_open()
            self.town.vowd.start()
        else:
            self.restart()
            if self.point == "begin.before_answer":
                self.begin()
            else:
                self.town.ask(10**6 if self.point.startswith("abort.") else 10, timeout=8)
        self.process.wait_for_line(f"{self.point} strikes", "the fail point is hit")
        return self.process

    def begin(self):
        try:
            Client(self.town.vowd.url, timeout=0.2).begin()
        except LOST:
            pass

    def restart(self):
        self.who.kill()
        if self.who is self.town.vowd:
            self.who.died()
        self.start()

    def start(self):
        """Where it is hit at a start nobody can wait until it listens."""
        recovers = self.point.startswith("recover.")
        if self.who is not self.town.vowd:
            self.who.start(failpoint=self.spec, wait=not recovers)
        elif recovers:
            self.who.launch(failpoint=self.spec)
        else:
            self.who.start(failpoint=self.spec)

    def leave_something_open(self):
        """vowd has a decision that it could not deliver; or, for a bank, it has died before one."""
        vowd = self.town.vowd
        at = "decision.before_answer" if self.who is vowd else "votes.all_in"
        vowd.restart(failpoint=f"{at}=kill")
        self.town.ask().wait()
        vowd.wait_killed()
        if self.point == "recover.row" and self.who is not vowd:
            vowd.start()

    def end(self, again=False):
        """Once more, if it has ended or must be: then everything must end."""
        if again and self.process.running():
            self.who.kill()
        if self.process.child is not None and not self.process.running():
            # Stopped by itself, in good order: no signal, and not as if all were well.
            assert self.process.wait() in ((-signal.SIGKILL,) if again else (1,))
        for one in (self.town.vowd, *self.town.banks):
            if one.process.child is None:
                one.start()
        self.town.at_rest()


def points(coordinator, participant):
    pairs = [("vowd", name) for name in coordinator] + [("bank", name) for name in participant]
    return pytest.mark.parametrize("side, point", pairs, ids=[f"{s}-{p}" for s, p in pairs])


@points(COORDINATOR_ERRORS, PARTICIPANT_ERRORS)
def test_the_step_fails(town, side, point):
    scene = Scene(town, side, point, "error")
    process = scene.play()
    if side == "vowd" and point not in ("votes.all_in", "ack.received"):
        assert process.wait() == 1, "what it could not write it does not go on with"
        town.vowd.died()
    elif side == "bank" and point == "recover.row":
        assert process.wait() == 1
    scene.end(again=point in COMMIT_ERRORS)


@points(COORDINATOR, PARTICIPANT)
def test_the_thread_is_late(town, side, point):
    """Longer than a request may take: requests are sent again while the first are under way."""
    scene = Scene(town, side, point, LATE)
    scene.play()
    if point.startswith("recover."):
        scene.who.wait_listening()
    scene.end()


@points(*HANGS)
def test_the_thread_hangs_until_somebody_ends_the_process(town, side, point):
    scene = Scene(town, side, point, "hang")
    scene.play()
    if side == "vowd" and point in LOG_POINTS:
        assert town.vowd.client.get("/healthz").status == 200, "its loop goes on"
    scene.end(again=True)


@points(COORDINATOR, PARTICIPANT)
def test_the_process_stands_still_past_every_timeout(town, side, point):
    """A thawed process does no harm: the others have given up on it meanwhile, or wait for it."""
    scene = Scene(town, side, point, "stop")
    process = scene.play()
    wait_until(process.frozen, "it stands still")
    since = time.monotonic()
    if side == "vowd":
        code, text = vowd_run("--listen", "127.0.0.1:0", "--log", town.vowd.log)
        assert code == 1 and "in use" in text, "a frozen daemon still owns its log"
    wait_until(lambda: time.monotonic() > since + PAST_S, "every timeout has passed")
    process.thaw()
    if point.startswith("recover."):
        scene.who.wait_listening()
    scene.end()


def test_a_frozen_bank_holds_up_nobody_else(town):
    """Commits for it wait; transfers of others go on and are told their outcome."""
    scene = Scene(town, "bank", "commit.received", "stop")
    process = scene.play()
    wait_until(process.frozen, "it stands still")
    left = town.banks[0].url
    branches = [
        {"url": left, "payload": {"account": 3, "amount": -1}},
        {"url": left, "payload": {"account": 4, "amount": 1}},
    ]
    for _ in range(5):
        assert town.vowd.client.one_shot(branches).status == 200
    id = transaction_of(town.asked[0].wait())["id"]
    wait_until(
        lambda: town.vowd.client.show(id)["branches"][1]["attempts"] > 2, "it is asked again"
    )
    process.thaw()
    scene.end()
