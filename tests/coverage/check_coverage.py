#!/usr/bin/python3
"""Branch coverage of the cores and the codec. Runs what it is given in a build with counters, adds
up what gcov says, and holds it against the list of exceptions: each branch that was not taken, and
each line that was not run, must stand there with a reason, and nothing may stand there that is not
needed.

usage: check_coverage.py ROOT BUILD EXCEPTIONS [--] COMMAND... [-- COMMAND...]
       check_coverage.py --self-test
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time

SCOPE = ("coordinator/core/", "participant-sdk/core/", "proto/")
OUTSIDE = ("proto/failpoint.c",)  # is not part of what is installed


def in_scope(path):
    return path.startswith(SCOPE) and path not in OUTSIDE


# ---- running ----


def run(command):
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    return command, done, time.monotonic() - began


def run_all(commands):
    """Runs the commands, two at once; returns what went wrong."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for command, done, seconds in pool.map(run, commands):
            print(f"{seconds:6.1f} s  {' '.join(pathlib.Path(part).name for part in command)}")
            if done.returncode != 0:
                print(done.stdout[-2000:], done.stderr[-2000:])
                yield f"{command[0]} failed ({done.returncode})"


# ---- counting ----


class Line:
    def __init__(self):
        self.count = 0
        self.branches = {}  # how many there are: how often each was taken

    def add(self, count, branches):
        self.count += count
        if branches:
            sums = self.branches.setdefault(len(branches), [0] * len(branches))
            for index, taken in enumerate(branches):
                sums[index] += taken

    def best(self):
        """Objects may hold the same line with other branches; the best of them counts."""
        return max(self.branches.values(), key=lambda sums: sum(map(bool, sums)), default=[])

    def missed(self):
        return sum(1 for taken in self.best() if not taken)


def lines_of(report, root):
    """(path, line number, count, branches) of one report of gcov."""
    for file in report["files"]:
        path = pathlib.Path(report["current_working_directory"], file["file"])
        path = os.path.relpath(os.path.realpath(path), root)
        if not in_scope(path):
            continue
        for line in file["lines"]:
            taken = [branch["count"] for branch in line["branches"] if not branch["throw"]]
            yield path, line["line_number"], line["count"], taken


def gcov(notes):
    done = subprocess.run(
        ["gcov", "--json-format", "--branch-probabilities", "--stdout", notes.name],
        cwd=notes.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def count(root, build):
    files = collections.defaultdict(lambda: collections.defaultdict(Line))
    for notes in sorted(build.rglob("*.gcno")):
        if not notes.with_suffix(".gcda").exists():
            continue
        for report in gcov(notes):
            for path, number, times, taken in lines_of(report, root):
                files[path][number].add(times, taken)
    return files


# ---- judging ----


def read_exceptions(text):
    """A reason, and below it, indented, lines "PATH: SOURCE LINE": (path, source, reason) each."""
    reason = []
    fresh = True
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("    "):
            path, _, source = line.strip().partition(": ")
            yield path, source, " ".join(reason)
            fresh = True
        else:
            reason = [line] if fresh else [*reason, line]
            fresh = False


def gaps(files, sources):
    """(path, number, source, what) of every line that is not wholly covered."""
    for path in sorted(files):
        for number, line in sorted(files[path].items()):
            missed = line.missed()
            source = sources[path][number - 1].strip()
            if line.count == 0:
                yield path, number, source, "not run"
            elif missed:
                yield path, number, source, f"{missed} of {len(line.best())} branches not taken"


def judge(files, sources, exceptions):
    """What is wrong, a sentence each."""
    needed = collections.Counter()
    known = {(path, source) for path, source, reason in exceptions if reason}
    for path, number, source, what in gaps(files, sources):
        if (path, source) in known:
            needed[path, source] += 1
        else:
            yield f"{path}:{number}: {what}: {source}"
    for path, source, reason in exceptions:
        if not reason:
            yield f"an exception without a reason: {path}: {source}"
        elif not needed[path, source]:
            yield f"an exception that is not needed: {path}: {source}"


def table(files):
    for path in sorted(files):
        lines = files[path].values()
        all_of_them = sum(len(line.best()) for line in lines)
        missed = sum(line.missed() for line in lines)
        yield f"{all_of_them - missed:6} of {all_of_them:5} branches  {path}"


def check(root, build, exceptions, commands):
    for counters in build.rglob("*.gcda"):
        counters.unlink()
    wrong = list(run_all(commands))
    files = count(root, build)
    sources = {path: (root / path).read_text().split("\n") for path in files}
    print("\n".join(table(files)))
    if len(files) < 20:
        wrong.append(f"only {len(files)} files were counted")
    listed = list(read_exceptions(exceptions.read_text()))
    wrong += judge(files, sources, listed)
    print("\n".join(wrong) or f"all branches, but for {len(listed)} exceptions")
    return 1 if wrong else 0


# ---- the check of the check ----


def self_test():
    sources = {"proto/a.c": ["if (a)", "f();", "if (b)", "}"]}

    def said(exceptions, *lines):
        files = {"proto/a.c": collections.defaultdict(Line)}
        for number, times, taken in lines:
            files["proto/a.c"][number].add(times, taken)
        return list(judge(files, sources, list(read_exceptions(exceptions))))

    covered = ((1, 2, [1, 1]), (2, 1, []))
    half = ((1, 2, [2, 0]), (2, 1, []))
    excepted = "It cannot\nhappen.\n    proto/a.c: if (a)\n"
    if said("", *covered):
        yield "what is covered is complained of"
    if len(said("", *half)) != 1:
        yield "a branch that was not taken is not noticed"
    if said("", *half, (1, 1, [0, 1])):
        yield "what two objects cover together is not added up"
    if len(said("", *covered, (3, 0, []))) != 1:
        yield "a line that was not run is not noticed"
    if said(excepted, *half):
        yield "an exception does not count"
    if len(said(excepted, *covered)) != 1:
        yield "an exception that is not needed is not noticed"
    if len(said("    proto/a.c: if (a)\n", *half)) != 2:
        yield "an exception without a reason counts"
    if [reason for *_, reason in read_exceptions(excepted)] != ["It cannot happen."]:
        yield "the reason is not read"


def split(words):
    commands = [[]]
    for word in words:
        if word == "--":
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        complaints = list(self_test())
        print("\n".join(complaints) or "no complaints")
        sys.exit(1 if complaints else 0)
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    root, build, exceptions = (pathlib.Path(word).resolve() for word in sys.argv[1:4])
    sys.exit(check(root, build, exceptions, split(sys.argv[4:])))
