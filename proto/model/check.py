#!/usr/bin/python3
"""Checks the vow protocol's model with Spin; README.md beside this file says how to read it.

usage: check.py NAME...            these runs, by their names in runs.py
       check.py --group GROUP...   quick, ci, mistakes, nightly, or all
       check.py --reached          which statements of vow.pml no configuration of CI reaches: none
       check.py --list             the names, and what each expects
       check.py --self-test        that a wrong run is noticed, and that README.md has every run

  --keep DIR   leave models, verifiers and trails there, a folder a run
  --part I/N   only every N-th run, from the I-th: splits a group over processors

A configuration must hold, and its search must be complete. A seeded mistake must be caught, by the
property that runs.py names for it. Needs spin and gcc.
"""

import argparse
import collections
import contextlib
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace

import runs

HERE = pathlib.Path(__file__).resolve().parent
DEPTH = 1_000_000
MEMORY_MIB = {runs.QUICK: 1000, runs.CI: 1000, runs.NIGHTLY: 8000}
SECONDS = {runs.QUICK: 60, runs.CI: 120, runs.NIGHTLY: 7200}

# What the verifier says, in the order in which it is looked for.
FOUND = (
    (re.compile(r"^pan:\d+: assertion violated .*?\(?broken_(\w+)", re.M), None),
    (re.compile(r"^pan:\d+: non-progress cycle", re.M), "cycle"),
    (re.compile(r"^pan:\d+: (.*)$", re.M), None),
)
# A search that says any of this has not seen everything.
INCOMPLETE = re.compile(r"Search not completed|max search depth too small|out of memory")


def verdict(text):
    """What a verifier's report amounts to: "holds", what is broken, or why it says nothing."""
    for pattern, name in FOUND:
        match = pattern.search(text)
        if match:
            return name or match.group(1)
    incomplete = INCOMPLETE.search(text)
    if incomplete:
        return f"incomplete: {incomplete.group(0)}"
    if re.search(r"errors: 0$", text, re.M):
        return "holds"
    return "no report: " + " ".join(text.split())[-200:]


def states_of(text):
    match = re.search(r"^\s*([\d.e+]+) states, stored", text, re.M)
    return int(float(match.group(1))) if match else 0


def call(folder, seconds, *command):
    """The output of a command, which may exit as it likes; TimeoutError when it takes too long."""
    try:
        done = subprocess.run(
            command, cwd=folder, timeout=seconds, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{command[0]} took more than {seconds} s") from None
    return done.returncode, done.stdout


def search(run, folder, depth, *more):
    """Builds and runs the verifier of one run; its report, or why there is none."""
    seconds = SECONDS[run.group]
    code, text = call(folder, seconds, "spin", *run.flags(), *more, "-a", f"{run.model}.pml")
    if code or re.search(r"\bError\b", text):
        return f"spin: {text}"
    # Below a million states the compiler is most of the work.
    level = "-O2" if run.group == runs.NIGHTLY else "-Og" if run.large else "-O0"
    kind = ["-DNP"] if run.cycles else ["-DSAFETY"]
    if run.group == runs.NIGHTLY:
        kind.append("-DCOLLAPSE")  # a quarter of the memory, twice the time
    if run.reverse:
        kind += ["-DREVERSE", "-DT_REVERSE"]
    code, text = call(
        folder, seconds, "gcc", level, "-w", *kind, "-DNOFAIR", "-DVECTORSZ=1024",
        f"-DMEMLIM={MEMORY_MIB[run.group]}", "-o", "pan", "pan.c",
    )
    if code:
        return f"gcc: {text}"
    mode = ["-l"] if run.cycles else []
    return call(folder, seconds, "./pan", *mode, f"-m{depth}", "-w20")[1]


@contextlib.contextmanager
def folder_of(run, keep):
    """A folder with the model's sources, gone afterwards unless it is to be kept."""
    if keep:
        path = pathlib.Path(keep) / run.name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    else:
        path = pathlib.Path(tempfile.mkdtemp(prefix="vow-model-"))
    try:
        for source in HERE.glob("*.pml"):
            shutil.copy(source, path)
        yield path
    finally:
        if not keep:
            shutil.rmtree(path, ignore_errors=True)


def story_of(run, folder):
    """The steps that lead to what was found, as the model tells them."""
    _, text = call(folder, 60, "spin", *run.flags(), "-t", "-T", f"{run.model}.pml")
    story = text.split("#processes")[0].splitlines()
    return "\n".join("    " + line.strip() for line in story if not line.startswith("spin: "))


def check(run, keep=None, depth=DEPTH):
    """One run: whether it is as it should be, and a line about it."""
    begun, cpu = time.monotonic(), children_seconds()
    with folder_of(run, keep) as folder:
        try:
            text = search(run, folder, depth)
        except TimeoutError as late:
            text = str(late)
        result = verdict(text)
        good = result in run.expect
        told = "" if good or not list(folder.glob("*.trail")) else "\n" + story_of(run, folder)
    line = f"{'ok' if good else 'BAD':4}{run.name:34}{result:10}{states_of(text):>10} states"
    line += f"{children_seconds() - cpu:7.1f} s CPU{time.monotonic() - begun:7.1f} s"
    if not good:
        line += f"\n    expected {' or '.join(run.expect)}; switches: {run.switches}{told}"
    return good, line


def children_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def members(group):
    if group == "mistakes":
        return [*runs.MISTAKES, *runs.LIMITS]
    if group == "all":
        return [*runs.CONFIGURATIONS, *runs.LIMITS, *runs.MISTAKES]
    return [run for run in runs.CONFIGURATIONS if run.group == group]


# ---- what is never reached is not checked ----

STATEMENT = re.compile(r"// STATE \d+ - \S*?(\w+\.pml):(\d+) - \[(.*?)\]")
UNREACHED = re.compile(r"^\t\S*?(\w+\.pml):(\d+), state \d+", re.M)


def places_of(run):
    """The places of a configuration's statements, and those of them that its search reached."""
    with folder_of(run, None) as folder:
        report = search(run, folder, DEPTH, "-o3")
        written = (folder / "pan.m").read_text(encoding="utf-8")
    if verdict(report) != "holds":
        sys.exit(f"check.py: {run.name} does not hold: {verdict(report)}")
    places, missed = collections.Counter(), collections.Counter(UNREACHED.findall(report))
    for file, line, text in STATEMENT.findall(written):
        if text != "-end-":  # of a process that goes on for ever
            places[file, line] += 1
    return set(places), {place for place in places if missed[place] < places[place]}


def all_is_reached():
    known, reached = set(), set()
    for run in runs.CONFIGURATIONS:
        if run.model == "vow" and run.group != runs.NIGHTLY and not run.cycles:
            here, there = places_of(run)
            known |= here
            reached |= there
    for file, line in sorted(known - reached):
        print(f"{file}:{line} is never reached")
    print(f"{len(reached)} of {len(known)} places reached")
    return len(known) > 100 and known == reached


# ---- the check of the check ----


def named(name):
    return next(run for run in members("all") if run.name == name)


def wrong_runs():
    """Runs that must be found wrong, each for a reason of its own, with the search's depth."""
    caught = named("COMMIT_TWICE")
    yield "a mistake in a configuration", replace(caught, expect=("holds",)), DEPTH
    yield "another property than expected", replace(caught, expect=("AC1",)), DEPTH
    yield "a mistake that is not there", replace(caught, switches="FAULTS=0"), DEPTH
    yield "a search cut short", named("one-phase"), 20
    yield "a model that spin refuses", replace(caught, switches="N=x", expect=("holds",)), DEPTH
    yield "a cycle", replace(named("REFUSAL_TAKEN_BACK"), expect=("holds",)), DEPTH


def self_test():
    failures = []
    for why, run, depth in wrong_runs():
        good, line = check(run, depth=depth)
        print(f"{why}: {'NOT NOTICED' if good else 'noticed'}")
        if good:
            failures.append(f"{why} was not noticed: {line}")
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in HERE.glob("*.pml"))
    seeded = {run.name for run in runs.MISTAKES if "+" not in run.name}
    for name in sorted(set(re.findall(r"BUG_(\w+)", sources)) ^ seeded):
        failures.append(f"{name} is seeded and not run, or run and not seeded")
    for name in [*seeded, *(run.name for run in runs.CONFIGURATIONS + runs.LIMITS)]:
        if f"| `{name}`" not in readme:
            failures.append(f"README.md has no row for {name}")
    print("\n".join(failures))
    return not failures


def parse_arguments():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n", 1)[1])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--group", nargs="+", default=[])
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--reached", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--keep")
    parser.add_argument("--part", default="1/1")
    return parser.parse_args()


def chosen(arguments):
    known = {run.name: run for run in members("all")}
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        sys.exit(f"check.py: no run is named {unknown[0]}; --list has the names")
    every = [known[name] for name in arguments.names]
    for group in arguments.group:
        every += members(group)
    if not every:
        sys.exit("check.py: nothing to run; --help says how to choose")
    part, parts = (int(number) for number in arguments.part.split("/"))
    return every[part - 1 :: parts]


def main():
    arguments = parse_arguments()
    if arguments.list:
        for run in members("all"):
            print(f"{run.group:8}{run.name:34}{' or '.join(run.expect):14}{run.switches}")
        return 0
    if arguments.reached:
        return 0 if all_is_reached() else 1
    if arguments.self_test:
        return 0 if self_test() else 1
    bad = 0
    for run in chosen(arguments):
        good, line = check(run, arguments.keep)
        print(line, flush=True)
        bad += not good
    print(f"{children_seconds():.1f} s CPU, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
