"""Money moves between two banks with real databases while vowd and both banks are killed, again and
again: no transfer happens by half, no money is lost or made, and what a client was told is so."""

import sqlite3

import bank_world
import pytest
from bank_world import ACCOUNTS, BALANCE, CYCLES, SEED
from vowtest import wait_until


def test_no_money_is_lost_or_made_while_everything_is_killed(world):
    content = bank_world.run(world, "bank", SEED, CYCLES, bank_world.Chaos.kill_some)
    told = [one["status"] for one in content["operations"]]
    assert told.count(200) > CYCLES


def transfers_in_fair_weather(world, seed, count):
    """That many transfers, and nobody fails: (what moves money, vowd, banks)."""
    vowd = world.vowd()
    banks = [world.bank(name, accounts=ACCOUNTS, balance=BALANCE) for name in ("left", "right")]
    urls = [bank.url for bank in banks]
    transfers = bank_world.Transfers(vowd.url, banks, urls, seed).start()
    wait_until(
        lambda: transfers.history.told > count or transfers.errors, "so many transfers", 30
    )
    transfers.finish()
    return transfers, vowd, banks


def test_transfers_without_failures_all_have_their_outcome(world):
    transfers, vowd, banks = transfers_in_fair_weather(world, SEED + 1, 100)
    content = bank_world.judge(transfers, vowd, banks, world.folder, "fair")
    assert all(one["attempts"] in ([200], [409]) for one in content["operations"])
    # Aborts are for want of money or of a free row, and say so.
    aborted = [one["transaction"] for one in content["operations"] if one["status"] == 409]
    for id in aborted[:20]:
        assert vowd.client.show(id)["reason"]


def test_the_checker_sees_half_a_transfer(world):
    """It can fail on a real history: a transfer is made by half behind everybody's back."""
    transfers, vowd, banks = transfers_in_fair_weather(world, SEED + 2, 15)
    bank_world.judge(transfers, vowd, banks, world.folder, "half")
    banks[0].stop()
    with sqlite3.connect(banks[0].database) as database:
        gone = database.execute('SELECT "transaction" FROM ledger LIMIT 1').fetchone()[0]
        database.execute('DELETE FROM ledger WHERE "transaction" = ?', (gone,))
    database.close()
    transfers.history.content["books"].clear()
    with pytest.raises(AssertionError, match=f"all_or_nothing: {gone}"):
        # The bank's own check sees it, too, and would never call it settled.
        banks[0].wait_settled = lambda seconds: None
        bank_world.judge(transfers, vowd, banks, world.folder, "half")
