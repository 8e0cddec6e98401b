"""The wall clock of vowd or of a bank jumps by hours or by years, forwards or backwards: ids grow
and never repeat, no timeout comes early or stays out, nothing is purged that may not be."""

import time
from datetime import datetime, timedelta

import pytest
from vowtest import (
    Town,
    assert_aborted,
    assert_committed,
    ctl,
    everything_ends,
    toy,
    transaction_of,
    wait_until,
)

JUMPS = pytest.mark.parametrize("hours", [5, -5, 24 * 400, -24 * 400])


@pytest.fixture
def watched(world):
    """A function that makes vowd, with these options, whose clock can be moved: (vowd, clock)."""

    def make(**options):
        vowd = world.vowd(start=False, **options)
        clock = world.faults(vowd)
        return vowd.start(), clock

    return make


def passed(seconds):
    """Waits that long, which is what the test is about: nothing happens meanwhile."""
    since = time.monotonic()
    wait_until(lambda: time.monotonic() > since + seconds, "time passes")


@JUMPS
def test_the_clock_jumps(watched, hours):
    """What vowd says of the time is that far off: the tests below move something."""
    vowd, clock = watched()
    created = lambda: datetime.fromisoformat(vowd.client.show(vowd.client.begin())["created"])
    before = created()
    clock.clock(hours)
    assert abs(created() - before - timedelta(hours=hours)) < timedelta(minutes=5)


@JUMPS
def test_ids_grow_whatever_the_clock_says(watched, hours):
    """Also over restarts, killed or not, with the clock moved before, between and after."""
    vowd, clock = watched()
    ids = []
    for offset in (0, hours, 0, 2 * hours, hours):
        clock.clock(offset)
        ids += [vowd.client.begin() for _ in range(5)]
        vowd.restart()
        ids += [vowd.client.begin() for _ in range(5)]
        assert vowd.stop() == 0
        clock.clock(offset - hours)
        vowd.start()
        ids += [vowd.client.begin() for _ in range(5)]
    assert ids == sorted(set(ids)), "an id is not above all before it"


def test_a_reconciliation_with_the_clock_ahead_takes_no_ids_away(watched):
    """It is a start that issues no ids: those of its time are the next one's, whose clock is right
    again, and whoever is in doubt of one that has no record is told "aborted"."""
    vowd, clock = watched()
    vowd.client.begin()
    vowd.kill()
    clock.clock(1)
    done = ctl.run("reconcile", "--log", vowd.log, "--apply", "--yes", **clock.environment)
    assert done.code == ctl.OK, done
    clock.clock(0)
    vowd.start()
    begun = vowd.client.begin()
    unrecorded = begun[:-4] + ("0000" if begun[-4:] != "0000" else "1111")
    assert vowd.client.outcome(unrecorded) == "aborted"


@JUMPS
def test_no_timeout_comes_early(world, watched, hours):
    """A prepare that takes its time is waited for, and a transaction has the time it was given."""
    vowd, clock = watched(prepare_timeout_ms=20000, request_timeout_ms=20000)
    a, b = world.two_toys()
    active = vowd.client.begin(timeout_ms=20000)
    b.script("prepare", toy.delay(0.6))
    id = vowd.client.one_shot([a.url, b.url], headers={"Prefer": "respond-async"}).json["id"]
    wait_until(lambda: a.in_doubt(), "a has promised")
    clock.clock(hours)
    vowd.wait_state(id, "committed")
    passed(0.3)
    assert vowd.client.state(active) == "active"
    for one in (a, b):
        vowd.client.enlist(active, one.url)
    assert_committed(vowd.client.commit(active))


@JUMPS
def test_every_timeout_comes(world, watched, hours):
    """Who never votes and who never asks to commit are aborted when their time is over."""
    vowd, clock = watched(prepare_timeout_ms=800, request_timeout_ms=300)
    a, b = world.two_toys()
    b.script("prepare", toy.hang)
    active = vowd.client.begin(timeout_ms=800)
    hanging = vowd.client.one_shot([a.url, b.url], headers={"Prefer": "respond-async"}).json["id"]
    wait_until(lambda: a.in_doubt(), "a has promised")
    clock.clock(hours)
    for id in (active, hanging):
        vowd.wait_state(id, "aborting", "aborted", seconds=4)
        assert_aborted(vowd.client.commit(id))
    b.unscript()
    everything_ends(vowd, (a, b))


@JUMPS
def test_a_dead_participant_is_tried_again(world, watched, hours):
    vowd, clock = watched(retry_max_ms=200)
    a, b = world.two_toys()
    b.script("commit", toy.answer(503))
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    clock.clock(hours)
    before = b.count("commit", id)
    wait_until(lambda: b.count("commit", id) >= before + 3, "it is tried again", 4)
    b.unscript()
    vowd.wait_state(id, "committed")


@JUMPS
def test_nothing_is_purged_that_may_not_be(world, watched, hours):
    """With an hour of retention: what is open and what is heuristic stays for good, and what has
    ended stays at least until the clock says that the hour is over."""
    vowd, clock = watched(retention_age_ms=3600 * 1000, retry_max_ms=100)
    a, b = world.two_toys()
    ended = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.wait_ended(ended)
    b.script("commit", toy.answer(200, b'{"outcome":"heuristic-abort"}'), times=1)
    heuristic = vowd.client.one_shot([a.url, b.url]).json["id"]
    wait_until(lambda: vowd.client.show(heuristic).get("heuristic"), "it is heuristic")
    b.script("commit", toy.answer(503))
    open_one = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    clock.clock(hours)
    for _ in range(3):
        vowd.restart()
        assert_committed(vowd.client.one_shot([a.url, a.url.replace("toy", "other")]))
    known = {one["id"] for one in vowd.client.list()}
    assert {heuristic, open_one} <= known
    if hours < 0:
        assert ended in known
    else:
        wait_until(lambda: ended not in {one["id"] for one in vowd.client.list()}, "it is purged")
    assert vowd.client.outcome(heuristic) == vowd.client.outcome(open_one) == "committed"
    b.unscript()
    vowd.wait_state(open_one, "committed")
    assert vowd.client.forget(heuristic, "seen").status == 200


@JUMPS
def test_a_bank_whose_clock_jumps_asks_and_is_told(world, hours):
    """It is in doubt of a transaction that vowd has no record of, and its clock jumps, and again
    while it is down: it asks after seconds, as ever."""
    town = Town(world)
    bank = town.banks[1]
    bank.stop()
    clock = world.faults(bank)
    bank.start()
    town.vowd.restart(failpoint="votes.all_in=kill")
    town.ask().wait()
    town.vowd.wait_killed()
    clock.clock(hours)
    bank.restart()
    clock.clock(-hours)
    town.vowd.start()
    town.at_rest(seconds=10)
    assert transaction_of(town.ask().wait())["outcome"] == "committed"
    town.at_rest()


@JUMPS
def test_transfers_go_on_while_every_clock_jumps(world, hours):
    """vowd's and both banks', one after the other, there and back. (The history is kept: what is
    purged, /outcome answers for participants in doubt only, and so as aborted.)"""
    town = Town(world, retention_age_ms=5 * 365 * 24 * 3600 * 1000)
    clocks = []
    for one in (town.vowd, *town.banks):
        assert one.process.stop() == 0
        clocks.append(world.faults(one))
        one.start()
    for offset in (hours, 0, -hours):
        for clock in clocks:
            asked = [town.ask(account=account) for account in range(1, 4)]
            clock.clock(offset)
            assert {one.wait().status for one in asked} <= {200, 409}
            wait_until(lambda: town.ask().wait().status == 200, "a transfer commits")
    town.at_rest()
    ids = [transaction_of(one.answer)["id"] for one in town.asked]
    assert len(ids) == len(set(ids))
