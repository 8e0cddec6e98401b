#!/usr/bin/python3
"""Runs the bench: every scenario against the programs of one build.

usage: bench.py --build FOLDER [--quick | --smoke] [--only NAME] [--json FILE] [--plot FILE]
                [--folder FOLDER] [--keep] [--apart] [--list] [--self-test]

tests/bench/run.sh makes the build and calls this; README.md says what the figures mean.
Exit code 1: something committed was lost, or a scenario could not be run to its end.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import sys
import time

import plot
import recovery
import report
import scenarios
import self_test
from processes import BenchError, Programs

SCENARIOS = {
    "floor": scenarios.floor,
    "oneshot": scenarios.oneshot,
    "interactive": scenarios.interactive,
    "accounts": scenarios.accounts,
    "branches": scenarios.branches,
    "history": scenarios.history,
    "open": scenarios.open_transactions,
    "dead": scenarios.dead_participant,
    "recovery": recovery.coordinator,
    "everybody": recovery.everybody,
    "kill": recovery.kill,
}


@dataclasses.dataclass
class Settings:
    """How much of everything."""

    rounds: int = 5  # pairs of runs of which the median counts
    warmup_s: float = 1.0
    window_s: float = 4.0
    clients: tuple = (1, 8, 64, 256)
    history: int = 1000000
    open: int = 100000
    recovery: int = 100000
    accounts: int = 1000000
    before_kill: int = 20000  # transactions, and as many after each kill
    load_deadline_s: float = 600.0
    programs: Programs = None
    folder: pathlib.Path = None
    keep: bool = False
    apart: bool = False  # the coordinator has a processor for itself

    @property
    def run_s(self):
        """Of one measured run."""
        return self.warmup_s + self.window_s


QUICK = {
    "rounds": 1, "warmup_s": 0.2, "window_s": 0.8, "history": 10000, "open": 5000,
    "recovery": 2000, "accounts": 20000, "before_kill": 2000,
}
SMOKE = {
    "rounds": 1, "warmup_s": 0.1, "window_s": 0.3, "clients": (1, 64), "history": 1000,
    "open": 1000, "recovery": 200, "accounts": 2000, "before_kill": 200,
}


def arguments():
    parser = argparse.ArgumentParser(prog="run.sh", description="Measures vow. See README.md.")
    parser.add_argument("--build", default="build-bench", help="folder with the programs")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="tiny: proves only that all works")
    size.add_argument("--smoke", action="store_true", help="tinier still, for slow builds")
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="one scenario")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures to this file")
    parser.add_argument("--plot", type=pathlib.Path, help="write the plot here (SVG)")
    parser.add_argument("--folder", type=pathlib.Path, help="for logs: on the disk to be measured")
    parser.add_argument("--keep", action="store_true", help="keep those logs")
    parser.add_argument(
        "--apart", action="store_true", help="the coordinator has the first processor for itself"
    )
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    parser.add_argument(
        "--self-test", action="store_true", help="show that the durability check can fail"
    )
    return parser.parse_args()


def machine():
    return {
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
    }


def run_all(settings, names):
    found, failures = {}, []
    for name in names:
        begun = time.monotonic()
        print(f"{name}: {SCENARIOS[name].__doc__.splitlines()[0]}", file=sys.stderr, flush=True)
        try:
            part = SCENARIOS[name](settings)
        except BenchError as error:
            failures.append(f"{name}: {error}")
            continue
        part["took_s"] = round(time.monotonic() - begun, 1)
        found[name] = part
        failures += [f"{name}: {text}" for text in part.get("check", {}).get("complaints", [])]
    return found, failures


def main():
    options = arguments()
    if options.list:
        for name, function in SCENARIOS.items():
            print(f"{name:12} {function.__doc__.splitlines()[0]}")
        return 0
    settings = Settings(**(SMOKE if options.smoke else QUICK if options.quick else {}))
    settings.programs = Programs(options.build)
    settings.folder = (options.folder or settings.programs.build / "bench").resolve()
    settings.keep = options.keep
    settings.apart = options.apart
    if options.apart and len(os.sched_getaffinity(0)) < 2:
        sys.exit("--apart needs two processors")
    settings.folder.mkdir(parents=True, exist_ok=True)
    if options.self_test:
        failures = self_test.durability_check(settings)
        print("\n".join(failures) or "every damage was noticed")
        return 1 if failures else 0
    where = machine()
    found, failures = run_all(settings, options.only or SCENARIOS)
    figures = {}
    for part in found.values():
        figures.update(part.pop("figures", {}))
    size = "smoke" if options.smoke else "quick" if options.quick else "full"
    result = {
        "version": 1, "size": size, "apart": options.apart, "machine": where, "figures": figures,
        "goals": report.goals(figures), "scenarios": found, "failures": failures,
    }
    print(report.text(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if "oneshot" in found:
        path = options.plot or settings.folder / "oneshot.svg"
        path.write_text(plot.svg(found["oneshot"]["clients"]))
        print(f"plot: {path}")
    missing = [] if options.only else [key for key in report.GOALS if key not in figures]
    if missing:
        failures.append(f"no figure for {', '.join(missing)}")
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
