"""What vow-sim says of a failure: its exit code, its property, and a line that replays it."""

import os
import re
import shlex
import subprocess

import pytest

PROGRAM = os.environ["VOW_PROGRAM_VOW-SIM"]
LAUNCHER = shlex.split(os.environ.get("VOW_TEST_LAUNCHER", ""))
OK, USAGE, SAFETY, LIVENESS, UNPROVEN, CRASH = 0, 2, 3, 4, 5, 6


def run(*options):
    command = [*LAUNCHER, PROGRAM, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("mistake", "code", "name"),
    [
        ("hollow-vote", SAFETY, "V1"),
        ("no-limit", SAFETY, "B1"),
        ("inquiry-deaf", LIVENESS, "AC5"),
        ("core-stops", CRASH, "alive"),
    ],
)
def test_a_failure_is_made_small_and_its_line_replays_it(mistake, code, name):
    got, told = run("--seeds", "300", "--mistake", mistake, "--any-probes")
    assert got == code
    assert re.search(rf"seed \d+ FAILED: {name}: ", told)
    assert "made small in" in told
    line = re.search(r"^replay: vow-sim (.*)$", told, re.M).group(1)
    assert "--faults" in line and "--trouble-ms" in line
    again, trace = run(*shlex.split(line))
    assert again == code
    assert f"{name}: " in trace


def test_the_same_case_without_the_mistake_is_fine():
    _, told = run("--seeds", "300", "--mistake", "hollow-vote", "--any-probes")
    line = shlex.split(re.search(r"^replay: vow-sim (.*)$", told, re.M).group(1))
    at = line.index("--mistake")
    assert run(*line[:at], *line[at + 2 :])[0] == OK


def test_two_runs_of_a_seed_say_the_same_word_for_word():
    assert run("--replay", "17") == run("--replay", "17")


def test_a_suite_that_is_too_kind_is_not_proven():
    code, told = run("--seeds", "1")
    assert code == UNPROVEN
    assert "never seen: eight-decisions" in told


@pytest.mark.parametrize(
    "options",
    [
        ["--faults", "rain"],
        ["--plans", "20"],
        ["--crash", "c3:1"],
        ["--crash", "c0:0"],
        ["--mistake", "nobody"],
        ["--seeds", "many"],
        ["--trouble-ms", "0"],
        ["--kept", "/dev/null"],
        ["word"],
    ],
)
def test_options_that_mean_nothing_are_refused(options):
    assert run(*options)[0] == USAGE


def test_a_kill_strikes_at_the_action_that_was_named():
    _, calm = run("--replay", "17", "--faults", "none")
    _, struck = run("--replay", "17", "--faults", "none", "--crash", "c0:5:keep")
    assert "killed" not in calm
    assert struck.count("c0  ---- it is killed, what it was writing is kept ----") == 1
