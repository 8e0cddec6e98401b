"""A disk that fills up and syncs that fail, of vowd and of a bank: nothing is promised that is not
kept, nothing is told that is not so, and when the disk is well again everything ends."""

import resource
import time

import pytest
from vowtest import LOST, Town, assert_committed, everything_ends, transaction_of, wait_until
from vowtest.faults import BLOCK

MIB = 1 << 20
# Whatever is lost is noticed soon, and clients do not wait for a log that is stuck.
QUICK = {
    "prepare_timeout_ms": 600,
    "request_timeout_ms": 400,
    "wait_timeout_ms": 300,
    "retry_max_ms": 100,
}


@pytest.fixture
def small(world):
    """vowd with a reserve of 1 MiB on a disk with 4 MiB, two toys, and the disk."""
    vowd = world.vowd(start=False, disk_reserve_bytes=MIB)
    disk = world.faults(vowd)
    disk.small_disk(vowd.folder, 4 * MIB)
    vowd.start()
    return vowd, world.two_toys(), disk


def begun(vowd, toys, count):
    ids = [vowd.client.begin() for _ in range(count)]
    for id in ids:
        for one in toys:
            vowd.client.enlist(id, one.url)
    return ids


def test_on_a_full_disk_begins_are_refused_first_and_decisions_still_fit(small):
    """Log rule 6: 507 for new transactions, the open ones commit, and it recovers when there is
    space."""
    vowd, toys, disk = small
    ids = begun(vowd, toys, 5)
    disk.small_disk(vowd.folder, MIB * 6 // 10)

    def full():
        answer = vowd.client.post("/v1/transactions", {})
        assert answer.status in (201, 507), answer
        if answer.status == 507:
            assert answer.problem == "log-full"
            needed = f"needs {MIB * 5 // 4} bytes free beside the {MIB} (disk_reserve_bytes)"
            assert needed in answer.json["detail"]  # what makes it go on, not what it once had
        return answer.status == 507

    wait_until(full, "begins are refused")
    for id in ids:
        assert_committed(vowd.client.commit(id))
        vowd.wait_state(id, "committed")
    assert vowd.client.get("/readyz").status == 503
    disk.small_disk(vowd.folder, None)
    wait_until(
        lambda: vowd.client.post("/v1/transactions", {}).status == 201, "it takes new ones again"
    )
    vowd.restart()
    assert [vowd.client.outcome(id) for id in ids] == ["committed"] * 5


def test_the_reserve_is_what_decisions_fit_into(small):
    """Not a byte is free: what was begun before commits, out of the reserve."""
    vowd, toys, disk = small
    ids = begun(vowd, toys, 3)
    disk.small_disk(vowd.folder, 0)
    for id in ids:
        assert_committed(vowd.client.commit(id))
    assert disk.refused >= 1 and not (vowd.folder / "vow.log-reserve").exists()
    disk.small_disk(vowd.folder, None)
    everything_ends(vowd, toys)


def test_when_the_disk_is_full_to_the_last_byte_nothing_is_promised_that_is_not_kept(world):
    """Without a reserve, with room for none, one, two, … blocks: a write is cut anywhere."""
    town = Town(world, disk_reserve_bytes=0, **QUICK)
    town.vowd.stop()
    disk = world.faults(town.vowd)
    town.vowd.start()
    for room in (0, 1, 2, 3, 5, 8, 12):
        town.vowd.restart()  # with an empty WAL: what is written now needs room
        disk.small_disk(town.vowd.folder, room * BLOCK)
        before = disk.refused
        for _ in range(30):
            town.ask().wait()
            if disk.refused > before:
                break
        assert disk.refused > before, "the disk was full"
        disk.small_disk(town.vowd.folder, None)
        town.revive()
        town.at_rest()


@pytest.mark.parametrize("clients", [1, 4])
def test_at_a_file_size_limit_vowd_ends_with_a_sentence(world, clients):
    """Whichever thread writes: the signal that comes with it ends nobody. What was cut off is not
    told, and all is well once the limit is gone."""
    town = Town(world, **QUICK)
    vowd = town.vowd
    wal = vowd.folder / "vow.log-wal"
    for room in (0, 100, BLOCK, 20 * BLOCK):
        town.ask().wait()  # the log's thread is done with the start, and sleeps
        hard = resource.prlimit(vowd.process.pid, resource.RLIMIT_FSIZE)[1]
        limit = wal.stat().st_size + room
        resource.prlimit(vowd.process.pid, resource.RLIMIT_FSIZE, (limit, hard))

        def ended():
            for one in [town.ask() for _ in range(clients)]:
                one.wait()
            return not vowd.process.running()

        wait_until(ended, "it has met the limit")
        assert vowd.process.wait() == 1
        vowd.died()
        assert f"the log {vowd.log}: " in vowd.process.text(), vowd.process.text()
        assert "File too large" in vowd.process.text(), vowd.process.text()
        vowd.start()
        town.at_rest()


def test_a_bank_on_a_full_disk_refuses_what_is_new_and_ends_what_it_promised(world):
    """It has 8 MiB for what it promised; below that it votes abort and says why. What it has
    promised it commits, and what does not fit then waits for room."""
    town = Town(world, retry_max_ms=100)
    right = town.banks[1]
    right.stop()
    disk = world.faults(right)
    right.start(failpoint="vote.before_reply=delay150")
    promised = town.ask()
    right.process.wait_for_line("vote.before_reply strikes", "it has promised")
    disk.small_disk(right.database.parent, 6 * MIB)
    assert promised.wait().status == 200

    def refuses():
        answer = town.ask().wait()
        return answer.status == 409 and "nearly full" in answer.json["detail"]

    wait_until(refuses, "it votes abort, for want of room")
    disk.small_disk(right.database.parent, None)
    wait_until(lambda: town.ask().wait().status == 200, "it works again")
    town.at_rest()


def test_a_bank_whose_disk_is_full_to_the_last_byte_keeps_its_word(world):
    """Whatever write it is that is cut: the vote's, the commit's, or of the database itself."""
    town = Town(world, **QUICK)
    right = town.banks[1]
    right.stop()
    disk = world.faults(right)
    right.start()
    for room in (0, 1, 2, 3, 5, 8, 12):
        wait_until(lambda: town.ask().wait().status == 200, "it works")
        # Full from one moment to the next, before the bank has looked how much is left.
        disk.small_disk(right.database.parent, room * BLOCK)
        before = disk.refused
        asked = [town.ask(timeout=3) for _ in range(2)]
        for one in asked:
            one.wait()
        disk.small_disk(right.database.parent, None)

        # A COMMIT that failed leaves its log in doubt: it says so, and reads it at its next start.
        # That may be the COMMIT of a commit that the bank is only now told of.
        def rests():
            if not town.open():
                return True
            if needs_restart(town):
                assert disk.refused > before, "it wants a restart, and nothing was refused"
                right.restart()
            return False

        wait_until(rests, "everything has ended")
        town.at_rest()
        wait_until(lambda: town.ask().wait().status == 200, "it works again")
    assert disk.refused > 0, "nothing was ever refused"


def needs_restart(town):
    """Whether the right bank answers that it has to be started again."""
    shown = town.vowd.client.show(transaction_of(town.ask().wait())["id"])
    return "restart this participant" in shown["branches"][1].get("last_error", "")


# ---- syncs that fail ----


def sweep(faults, stays, run):
    """The 1st, 2nd, … sync of `run` fails, until it has fewer. How many had their turn."""
    for nth in range(1, 60):
        faults.fail_sync(faults.pattern, nth, stays)
        before = faults.refused
        run()
        if faults.refused == before:
            return nth - 1
        faults.fail_sync(faults.pattern, 0)
    raise AssertionError("there is no end to the syncs")


@pytest.mark.parametrize("stays", [False, True], ids=["once", "for ever"])
def test_a_new_log_whose_sync_fails_is_not_used(world, stays):
    """At its first start, whichever sync it is: vowd ends with a sentence, and starts when the disk
    is well."""
    vowd = world.vowd(start=False)
    faults = world.faults(vowd)
    faults.pattern = "/vowd"

    def run():
        for file in vowd.folder.glob("vow.log*"):
            file.unlink()
        vowd.launch()
        wait_until(
            lambda: not vowd.process.running() or "listening" in vowd.process.text(), "it decides"
        )
        if vowd.process.running():
            vowd.kill(ended=1)  # a sync after its first words may end it, too
            return
        assert vowd.process.wait() == 1 and str(vowd.folder) in vowd.process.text()
        faults.fail_sync(faults.pattern, 0)
        vowd.start()
        vowd.kill()

    assert sweep(faults, stays, run) >= 3


@pytest.mark.parametrize("stays", [False, True], ids=["once", "for ever"])
def test_whatever_sync_of_vowd_fails_it_stops_and_the_log_tells(world, stays):
    """A COMMIT that fails is no abort (log rule 2): vowd ends, nobody was told, and what the log
    then says is what happens."""
    town = Town(world, **QUICK)
    vowd = town.vowd
    vowd.stop()
    faults = world.faults(vowd)
    faults.pattern = "/vowd"

    def run():
        vowd.launch()
        try:
            vowd.wait_listening()
            town.ask().wait()
            wait_until(
                lambda: not vowd.process.running() or not town.open(), "it has ended, or it died"
            )
            if vowd.process.running():
                vowd.process.signal(15)
        except (AssertionError, *LOST):
            wait_until(lambda: not vowd.process.running(), "it has ended")
        code = vowd.process.wait() if vowd.process.child else vowd.process.exit_codes[-1]
        vowd.died()
        text = vowd.process.text()
        failed, closing = faults.refused > run.refused, "stopping with" in text
        # The last sync of all is the witness file's, which is nothing but a hint.
        assert code == (1 if failed else 0) or closing and code == 0, text
        assert code == 0 or " error " in text, text
        run.closed_badly |= closing and code == 1
        run.refused = faults.refused
        faults.fail_sync(faults.pattern, 0)
        vowd.start()
        town.at_rest()
        vowd.stop()

    run.refused, run.closed_badly = 0, False
    assert sweep(faults, stays, run) >= 4
    assert run.closed_badly, "a sync failed while the log was closed"


@pytest.mark.parametrize("stays", [False, True], ids=["once", "for ever"])
def test_whatever_sync_of_a_bank_fails_it_promises_nothing_more(world, stays):
    """It answers 500 to everything and asks to be started again; its database then says what it had
    promised."""
    town = Town(world, **QUICK)
    bank = town.banks[1]
    bank.stop()
    faults = world.faults(bank)
    faults.pattern = "/right"

    def run():
        bank.start(wait=False)
        try:
            bank.wait_listening()
        except AssertionError:
            assert bank.process.child is None or bank.process.wait() == 1
        else:
            answer = town.ask().wait()
            if faults.refused > run.refused and answer.status == 409:
                told = town.vowd.client.show(transaction_of(answer)["id"])["branches"][1]
                assert "500" in told.get("last_error", "500"), told
            bank.kill()
        run.refused = faults.refused
        faults.fail_sync(faults.pattern, 0)
        bank.start()
        town.at_rest()
        bank.stop()

    run.refused = 0
    assert sweep(faults, stays, run) >= 2
