"""The world of one scenario: a folder, the programs that run in it, what was measured of them, and
the proof, at its end, that nothing was lost."""

import os
import shutil
import statistics

import durability
from processes import BenchError, Process, Server, Vowd, wait_until

WINDOW_MAX_S = 60.0

# A run has more transactions than vowd keeps by default, and each is looked up at the end.
VOWD_OPTIONS = {"log_level": "warn", "retention_count": 100_000_000}


class Participant(Server):
    """A bench participant, with what is needed to start it again."""

    def __init__(self, world, number, command, log):
        self.world, self.number, self.command, self.log = world, number, command, log
        self.effects = log.with_suffix(".effects")
        super().__init__(f"participant-{number}", command, world.folder)

    def again(self, *extra):
        """The same one after its death, at the same address."""
        command = [w for w in self.command if w != "--hold"]
        command[command.index("--listen") + 1] = self.address
        return self.world.adopt(Participant(self.world, self.number, [*command, *extra], self.log))


class World:
    """Processes are ended, and the folder is removed, when the `with` block is left."""

    def __init__(self, settings, name):
        self.settings, self.programs = settings, settings.programs
        self.folder = settings.folder / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.processes = []
        self.vowds, self.participants, self.answered = {}, {}, []
        self.loads = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        for process in self.processes:
            if process.running():
                process.kill()
        if not self.settings.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def adopt(self, process):
        self.processes.append(process)
        if self.settings.apart:
            first, *others = sorted(os.sched_getaffinity(0))
            coordinates = isinstance(process, Vowd) or process.name == "prototype"
            process.place([first] if coordinates else others)
        if isinstance(process, Vowd):
            self.vowds[process.name] = process
        if isinstance(process, Participant):
            self.participants[process.number] = process
        return process

    # ---- programs ----

    def vowd(self, name="vowd", **options):
        log = self.folder / f"{name}.log"
        options = list({**VOWD_OPTIONS, **options}.items())
        return self.adopt(Vowd(name, self.programs.vowd, self.folder, log, options=options))

    def vowd_again(self, old, **options):
        """Another run on the same log, at the same address."""
        options = list({**VOWD_OPTIONS, **options}.items())
        command = (old.name, self.programs.vowd, self.folder, old.log, old.address, options)
        return self.adopt(Vowd(*command))

    def make_participants(self, count=2, sqlite=False, hold=False):
        first = len(self.participants) + 1
        return [self._participant(n, sqlite, hold) for n in range(first, first + count)]

    def _participant(self, number, sqlite, hold):
        log = self.folder / f"participant-{number}.{'db' if sqlite else 'vow'}"
        command = [self.programs.participant, "--listen", "127.0.0.1:0"]
        if sqlite:
            command += ["--db", log, "--accounts", str(self.settings.accounts)]
        else:
            command += ["--log", log, "--effects", log.with_suffix(".effects")]
        return self.adopt(Participant(self, number, command + ["--hold"] * hold, log))

    def prototype(self):
        answerers = [
            self.adopt(Server(f"answerer-{n}", [self.programs.answerer], self.folder))
            for n in (1, 2)
        ]
        command = [self.programs.prototype, self.folder / "prototype.db"]
        command += [answerer.url for answerer in answerers]
        return self.adopt(Server("prototype", command, self.folder)), answerers

    def floor(self, what, *arguments):
        """A floor program's figures."""
        self.loads += 1
        command = [self.programs.floor, what, *arguments]
        floor = self.adopt(Process(f"floor-{self.loads}", command, self.folder))
        return floor.result(120)

    # ---- load ----

    def start_load(self, coordinator, participants, mode="oneshot", branches=2, **options):
        """Begins a run of the load generator. Ids of what it is told committed are checked later,
        if it talks to a vowd."""
        self.loads += 1
        command = [self.programs.load, "--connect", coordinator.address, "--mode", mode]
        command += ["--branches", branches, "--accounts", self.settings.accounts]
        for participant in participants:
            command += ["--participant", participant.url]
        for key, value in options.items():
            command += [f"--{key}"] if value is True else [f"--{key}", value]
        if isinstance(coordinator, Vowd) and mode in ("oneshot", "interactive"):
            ids = self.folder / f"load-{self.loads}.ids"
            command += ["--ids", ids]
            self.answered.append((coordinator.name, branches, ids))
        return self.adopt(Process(f"load-{self.loads}", command, self.folder))

    def load(self, coordinator, participants, **options):
        """A run without measuring: what the load generator says of it."""
        load = self.start_load(coordinator, participants, **options)
        return load.result(self.settings.load_deadline_s)

    def measure(self, coordinator, participants, clients, **options):
        """A run of the load generator, with what each process used during its window. A window in
        which nothing ended, on a slow machine, is made longer and measured again."""
        window_s = self.settings.window_s
        while True:
            run = self._measure(coordinator, participants, clients, window_s, options)
            if run["transactions"] > 0:
                return run
            window_s *= 4
            if window_s > WINDOW_MAX_S:
                raise BenchError(f"nothing was committed in {window_s / 4:.1f} s")

    def _measure(self, coordinator, participants, clients, window_s, options):
        deadline_s = self.settings.load_deadline_s
        options = {
            "warmup": int(1000 * self.settings.warmup_s),
            "duration": int(1000 * window_s),
            "clients": clients,
            **options,
        }
        load = self.start_load(coordinator, participants, **options)
        load.expect("begin")
        before = sample(coordinator, participants, load)
        load.expect("end", deadline_s)
        after = sample(coordinator, participants, load)
        return {**load.result(deadline_s), **difference(before, after)}

    # ---- the end ----

    def settle(self):
        """Waits until nothing is open anywhere."""
        for vowd in self.vowds.values():
            wait_until(lambda v=vowd: v.open() == 0, f"all of {vowd.name} ends", 120, 0.1)
        for participant in self.participants.values():
            wait_until(
                lambda p=participant: p.counts()["prepared"] == 0,
                f"{participant.name} is in doubt of nothing", 120, 0.1,
            )

    def check(self, settled=True):
        """Ends everything in good order and holds the logs against what clients were told."""
        if settled:
            self.settle()
        for process in [*self.vowds.values(), *self.participants.values()]:
            process.stop()
        return durability.check(self.vowds.values(), self.participants.values(), self.answered)


# ---- what processes have used ----


def sample(coordinator, participants, load):
    counts = [p.counts() for p in participants if isinstance(p, Participant)]
    return {
        "coordinator_cpu": coordinator.cpu_us(),
        "participant_cpu": [p.cpu_us() for p in participants],
        "load_cpu": load.cpu_us(),
        "coordinator": coordinator.counts(),
        "participants": counts,
        "rss": (coordinator.rss_bytes(), max(p.rss_bytes() for p in participants)),
    }


def difference(before, after):
    """Per transaction, of each process; of participants the mean."""
    count = after["coordinator"]["transactions"] - before["coordinator"]["transactions"]
    count = max(count, 1)
    syncs = after["coordinator"]["log_syncs"] - before["coordinator"]["log_syncs"]
    records = after["coordinator"]["log_records"] - before["coordinator"]["log_records"]
    pairs = list(zip(before["participant_cpu"], after["participant_cpu"]))
    result = {
        "cpu_us": {
            "coordinator": (after["coordinator_cpu"] - before["coordinator_cpu"]) / count,
            "participant": statistics.mean(b - a for a, b in pairs) / count,
            "load": (after["load_cpu"] - before["load_cpu"]) / count,
        },
        "syncs": {"coordinator": syncs / count},
        "records": {"coordinator": records / count},
        "rss_bytes": {"coordinator": after["rss"][0], "participant": after["rss"][1]},
    }
    if after["participants"]:
        pairs = list(zip(before["participants"], after["participants"]))
        for key, name in (("syncs", "log_syncs"), ("records", "log_records")):
            total = statistics.mean(b[name] - a[name] for a, b in pairs)
            result[key]["participant"] = total / count
    return result
