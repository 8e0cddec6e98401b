"""Waiting with a deadline, and doing things at once. Tests never sleep to let something happen."""

import concurrent.futures
import os
import time

# Programs under valgrind or a sanitizer are slower; every deadline grows with it.
SLOWNESS = float(os.environ.get("VOW_SLOWNESS", "1"))
POLL_S = 0.01


def wait_until(condition, what, seconds=10):
    """Calls condition until it returns something true, and returns that; fails after a while."""
    deadline = time.monotonic() + seconds * SLOWNESS
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds * SLOWNESS:g} s: {what}")
        time.sleep(POLL_S)


def parallel(function, items, threads=32):
    """[function(item), …] in the order of items, from several threads at once."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
