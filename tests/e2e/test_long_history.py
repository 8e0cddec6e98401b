"""A log with a long history, which the bench's prefill writes as vowd would."""

import subprocess

from vowtest import ctl
from vowtest.process import LAUNCHER, program

PAGES = 500  # of 200 transactions


def prefill(log, count, *urls):
    """Transactions that ended after those that are there already."""
    command = [*LAUNCHER, program("bench_prefill"), log, str(count), *urls]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=300)


def test_whom_only_the_oldest_transaction_names_is_asked(tmp_path):
    """What it has committed may be the only proof of a decision that the log has lost."""
    log = tmp_path / "vow.log"
    rare, often = "http://127.0.0.1:1/rare", "http://127.0.0.1:1/often"
    prefill(log, 1, rare, rare)
    prefill(log, PAGES * 200, often, often)
    told = ctl.run("reconcile", "--log", log, "--json")
    assert {place["url"] for place in told.json["participants"]} == {rare, often}, told
