"""What happens after kill -9: that nothing is lost, and how long it takes until all has ended."""

import signal
import time

from processes import BenchError, wait_until
from world import World

HOUR_MS = 3600000


def decide(world, count, participants):
    """A vowd whose log holds so many decided transactions that no branch has acknowledged: the
    participants have voted, durably, and refuse the commit. Then it is killed."""
    options = {"limits_transactions": 2 * count + 1000, "limits_waiters": 1000}
    vowd = world.vowd(retry_min_ms=HOUR_MS, retry_max_ms=HOUR_MS, **options)
    load = world.load(vowd, participants, clients=64, count=count)
    wait_until(
        lambda: (found := vowd.metrics())["vow_messages_queued"] == 0
        and found["vow_requests_inflight"] == 0,
        "every commit was refused", 300, 0.1,
    )
    prepared = [p.counts()["prepared"] for p in participants]
    vowd.kill()
    return vowd, options, {"decided": load["committed"], "prepared": prepared}


def wait_ready(vowd, since):
    """Seconds until /readyz says so, and until nothing of the last run is open."""
    wait_until(vowd.ready, "the log is read", 300, 0.005)
    ready_s = time.monotonic() - since
    wait_until(lambda: vowd.recovering() == 0, "all that was decided is acknowledged", 600)
    return ready_s, time.monotonic() - since


def coordinator(settings):
    """vowd was killed; its participants wait."""
    count = settings.recovery
    with World(settings, "recovery") as world:
        participants = world.make_participants(hold=True)
        dead, options, found = decide(world, count, participants)
        for participant in participants:
            participant.signal(signal.SIGUSR2)
        since = time.monotonic()
        vowd = world.vowd_again(dead, **options)
        found["ready_s"], found["acknowledged_s"] = wait_ready(vowd, since)
        found["rss_bytes"] = vowd.rss_bytes()
        return {
            "check": world.check(),
            **found,
            "figures": {"recovery_100k_s": found["acknowledged_s"]},
        }


def everybody(settings):
    """vowd and its participants were killed and start at the same moment."""
    count = settings.recovery
    with World(settings, "everybody") as world:
        participants = world.make_participants(hold=True)
        dead, options, found = decide(world, count, participants)
        for participant in participants:
            participant.kill()
        since = time.monotonic()
        vowd = world.vowd_again(dead, **options)
        participants = [participant.again() for participant in participants]
        found["listening_s"] = time.monotonic() - since
        for participant in participants:
            wait_until(
                lambda p=participant: p.counts()["prepared"] == 0,
                f"{participant.name} is in doubt of nothing", 600, 0.05,
            )
        found["in_doubt_of_nothing_s"] = time.monotonic() - since
        found["inquiries"] = [p.counts()["inquiries"] for p in participants]
        wait_until(lambda: vowd.recovering() == 0, "all is acknowledged", 600)
        found["acknowledged_s"] = time.monotonic() - since
        return {"check": world.check(), **found}


def kill(settings):
    """vowd, then a participant, are killed in the middle of a run: what was answered holds."""
    count = settings.before_kill
    with World(settings, "kill") as world:
        participants = world.make_participants()
        vowd = world.vowd()
        load = world.start_load(
            vowd, participants, clients=64, tolerant=True, duration=HOUR_MS, timeout=2000
        )
        load.expect("begin")

        def committed(least):
            wait_until(lambda: vowd.counts()["transactions"] >= least, f"{least:.0f} are committed")
            return vowd.counts()["transactions"]

        first = committed(count)
        vowd.kill()
        vowd = world.vowd_again(vowd)
        second = committed(count)
        participants[0].kill()
        participants[0].again()
        committed(second + count)
        load.signal(signal.SIGTERM)
        run = load.result(settings.load_deadline_s)
        if run["broken"] == 0:
            raise BenchError("vowd was killed, and no client has noticed")
        return {
            "check": world.check(),
            "committed_before": first,
            "committed_between": second,
            **{key: run[key] for key in ("committed", "refused", "broken")},
        }
