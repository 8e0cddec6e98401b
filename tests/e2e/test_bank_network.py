"""The bank workload over a bad network, between clients and vowd, vowd and banks, and banks and
vowd: requests are cut, dropped, late and half-delivered while everybody is killed and frozen."""

import bank_world
import pytest
from bank_world import CYCLES, SEED


def act(chaos):
    chaos.disturb_network()
    if chaos.dice.random() < 0.3:
        chaos.freeze_some()
    else:
        chaos.kill_some()


@pytest.mark.parametrize("world_number", [1, 2])
def test_no_money_is_lost_or_made_on_a_bad_network(world, world_number):
    seed = SEED * 1000 + world_number
    bank_world.run(world, "bank_network", seed, CYCLES // 2, act, proxied=True)
