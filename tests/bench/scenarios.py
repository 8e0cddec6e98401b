"""What is measured while all is well, and with one participant dead. Each function takes the
settings and returns its part of the JSON; README.md says what the members mean.

Where two things are compared, their runs alternate, and the ratio is the median of the ratios of
neighbours: a machine that is busy with something else for a while spoils a pair, not the figure.
"""

import signal
import statistics
import subprocess

from processes import BenchError, wait_until
from world import World

BRANCHES = (1, 2, 4, 8, 16, 32)
OPEN = (1, 10, 100, 1000, 10000)  # and as many as are asked for
ROUNDS_ALONE = 3  # where nothing is compared
SIDE_CLIENTS = 8


def median_run(runs):
    """The run whose throughput is the median."""
    return sorted(runs, key=lambda run: run["per_second"])[len(runs) // 2]


def ratio(pairs, of):
    """The median of of(second) / of(first)."""
    return statistics.median(of(second) / of(first) for first, second in pairs)


def per_second(run):
    return run["per_second"]


def alternate(rounds, first, second):
    """Pairs of runs. Which of the two begins changes with each round."""
    pairs = []
    for number in range(rounds):
        if number % 2 == 0:
            a = first()
            b = second()
        else:
            b = second()
            a = first()
        pairs.append((a, b))
    return pairs


# ---- the floors ----


def floor(settings):
    """The parts by themselves."""
    ms = int(1000 * settings.window_s)
    with World(settings, "floor") as world:
        _, answerers = world.prototype()
        inward = world.start_load(
            answerers[0], answerers, mode="prototype", clients=64, warmup=100, duration=ms
        )
        inward.expect("begin")
        before = answerers[0].cpu_us()
        inward.expect("end")
        cpu = answerers[0].cpu_us() - before
        found = inward.result(settings.load_deadline_s)
        return {
            "requests_in": {
                "per_second": found["per_second"],
                "cpu_us": cpu / max(found["transactions"], 1),
            },
            "requests_out": world.floor("out", ms, 64, *[a.url for a in answerers]),
            "rows": world.floor("rows", ms, 64, world.folder / "rows.db"),
            "sync": world.floor("sync", ms, world.folder / "sync.db"),
        }


# ---- transactions ----


def beside_prototype(world, clients, rounds):
    """Pairs of runs, prototype and vow, by the number of clients. With the fewest clients the
    prototype's has what a forced write took right after it: a disk may be half as fast a minute
    later."""
    prototype, answerers = world.prototype()
    participants = world.make_participants()
    vowd = world.vowd()

    def measure_prototype(count):
        run = world.measure(prototype, answerers, count, mode="prototype")
        if count == min(clients):
            ms = int(500 * world.settings.window_s)
            file = world.folder / f"sync-{world.loads}.db"
            run["sync_p50_us"] = world.floor("sync", ms, file)["p50_us"]
        return run

    return {
        count: alternate(
            rounds,
            lambda n=count: measure_prototype(n),
            lambda n=count: world.measure(vowd, participants, n),
        )
        for count in clients
    }


def oneshot(settings):
    """One request a transaction, beside the prototype."""
    with World(settings, "oneshot") as world:
        runs = beside_prototype(world, settings.clients, settings.rounds)
        check = world.check()
    one, many = runs[min(runs)], runs[64]
    at_64 = median_run([vow for _, vow in many])
    return {
        "check": check,
        "sync_p50_us": statistics.median(p["sync_p50_us"] for p, _ in one),
        "clients": {
            str(count): {
                "prototype": median_run([p for p, _ in pairs]),
                "vow": median_run([v for _, v in pairs]),
                "throughput_ratio": ratio(pairs, per_second),
                "cpu_ratio": ratio(pairs, lambda run: run["cpu_us"]["coordinator"]),
            }
            for count, pairs in runs.items()
        },
        "figures": {
            "throughput_ratio_64": ratio(many, per_second),
            "cpu_ratio_64": ratio(many, lambda run: run["cpu_us"]["coordinator"]),
            "latency_ratio_1": statistics.median(
                v["p50_us"] / (p["p50_us"] + p["sync_p50_us"]) for p, v in one
            ),
            "tail_ratio_64": statistics.median(v["p99_us"] / v["p50_us"] for _, v in many),
            "syncs_per_transaction_64": at_64["syncs"],
        },
    }


def simple(settings, name, clients, sqlite=False, **options):
    """vow alone, at several numbers of clients."""
    with World(settings, name) as world:
        participants = world.make_participants(sqlite=sqlite)
        vowd = world.vowd()
        found = {}
        for count in clients:
            runs = [
                world.measure(vowd, participants, count, **options)
                for _ in range(min(settings.rounds, ROUNDS_ALONE))
            ]
            found[str(count)] = {"vow": median_run(runs)}
        return {"check": world.check(), "clients": found}


def interactive(settings):
    """Begin, two enlists, commit: four requests a transaction."""
    return simple(settings, "interactive", settings.clients, mode="interactive")


def accounts(settings):
    """One request a transaction; each branch changes a row of SQLite through the adapter."""
    return simple(settings, "accounts", settings.clients, sqlite=True)


# ---- growth ----


def branches(settings):
    """From one branch to 32, over eight participants."""
    with World(settings, "branches") as world:
        participants = world.make_participants(8)
        vowd = world.vowd()
        found = {}
        for count in BRANCHES:
            run = world.measure(vowd, participants, 64, branches=count)
            run["branches_per_second"] = run["per_second"] * count
            found[str(count)] = {"vow": run}
        return {"check": world.check(), "branches": found}


def prefill(world, name, count, participants):
    """A log with so many ended transactions, before its daemon is started."""
    log = world.folder / f"{name}.log"
    command = [world.programs.prefill, log, str(count), *[p.url for p in participants]]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"prefill ended with {done.returncode}: {done.stderr}")


def history(settings):
    """Throughput over a log that holds a long history, and over an empty one."""
    count = settings.history
    with World(settings, "history") as world:
        participants = world.make_participants()
        prefill(world, "old", count, participants)
        young = world.vowd("young")
        old = world.vowd("old")
        wait_until(lambda: young.ready() and old.ready(), "both are ready")
        pairs = alternate(
            settings.rounds,
            lambda: world.measure(young, participants, 64),
            lambda: world.measure(old, participants, 64),
        )
        found = {
            "check": world.check(),
            "transactions": count,
            "empty": median_run([a for a, _ in pairs]),
            "old": median_run([b for _, b in pairs]),
            "figures": {"history_ratio_1m": ratio(pairs, per_second)},
        }
    found["purging"] = while_purging(settings, count)
    return found


def while_purging(settings, count):
    """With as much history as may be kept. Purged is what a check would look up: there is none."""
    with World(settings, "purging") as world:
        participants = world.make_participants()
        prefill(world, "full", count, participants)
        vowd = world.vowd("full", retention_count=count)
        wait_until(vowd.ready, "it is ready")
        return world.measure(vowd, participants, 64)


def open_transactions(settings):
    """What an open transaction with two branches costs in memory."""
    with World(settings, "open") as world:
        participants = world.make_participants()
        vowd = world.vowd(limits_transactions=2 * settings.open, drain_timeout_ms=0)
        world.load(vowd, participants, clients=64, count=2000)  # buffers that stay are there now
        wait_until(lambda: vowd.open() == 0, "the first ones end")
        base, found, total = vowd.rss_bytes(), {}, 0
        for target in sorted({n for n in OPEN if n < settings.open} | {settings.open}):
            more = target - total
            world.load(
                vowd, participants, mode="hold", clients=min(64, more), count=more, timeout=3600000
            )
            total = target
            if vowd.open() != total:
                raise BenchError(f"{vowd.open():.0f} transactions are open, not {total}")
            grown = vowd.rss_bytes() - base
            found[str(target)] = {"rss_growth_bytes": grown, "bytes_each": grown / target}
        measured = found[str(total)]["bytes_each"]
        run = world.measure(vowd, participants, 64)
        wait_until(lambda: vowd.open() == total, "all others end")
        return {
            # What nobody asked to commit is forgotten with the daemon: presumed aborted.
            "check": world.check(settled=False),
            "open": found,
            "throughput_with_all_open": run["per_second"],
            "figures": {"bytes_per_open_transaction": measured},
        }


def beside_eighth(world, vowd, healthy):
    """A measured run over the healthy ones, while some clients name the eighth participant now and
    then."""
    settings = world.settings
    side = world.start_load(
        vowd, [healthy[0], world.participants[8]], clients=SIDE_CLIENTS, pause=100, timeout=500,
        tolerant=True, duration=int(1000 * settings.run_s),
    )
    run = world.measure(vowd, healthy, 64)
    run["beside"] = side.result(settings.load_deadline_s)
    return run


def troubled(world, vowd, healthy, trouble, mend):
    """The same while the eighth is in trouble."""
    trouble()
    run = beside_eighth(world, vowd, healthy)
    mend()
    if run["beside"]["refused"] == 0:
        raise BenchError("a participant was dead, and nothing was refused")
    wait_until(lambda: vowd.open() == 0, "what named the dead one ends", 120, 0.1)
    return run


def dead_participant(settings):
    """Transactions over seven participants, while others name an eighth: alive, then dead."""
    with World(settings, "dead") as world:
        healthy = world.make_participants(8)[:7]
        vowd = world.vowd()

        def eighth(number):
            return lambda: world.participants[8].signal(number)

        pairs = []
        for _ in range(settings.rounds):
            alive = beside_eighth(world, vowd, healthy)
            dead = troubled(
                world, vowd, healthy, world.participants[8].kill, world.participants[8].again
            )
            pairs.append((alive, dead))
        hung = troubled(world, vowd, healthy, eighth(signal.SIGSTOP), eighth(signal.SIGCONT))
        return {
            "check": world.check(),
            "alive": median_run([a for a, _ in pairs]),
            "dead": median_run([b for _, b in pairs]),
            "hung": hung,
            "figures": {"dead_participant_ratio": ratio(pairs, per_second)},
        }
