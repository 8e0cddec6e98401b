"""The bank workload over three banks, killed at fail points drawn by dice, also while they recover
from the last kill."""

import bank_world
import pytest
from bank_world import CYCLES, SEED


@pytest.mark.parametrize("world_number", [1, 2])
def test_no_money_is_lost_or_made_wherever_they_are_killed(world, world_number):
    seed = SEED * 1000 + world_number
    act = bank_world.Chaos.kill_at_fail_points
    bank_world.run(world, "bank_failpoints", seed, CYCLES // 2, act, banks=3)
