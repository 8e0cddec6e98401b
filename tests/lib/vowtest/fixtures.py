"""A pytest plugin (-p vowtest.fixtures). What every system test gets: a world of vowd, toys and
banks, in a folder of its own, which is checked and ended when the test is over."""

import os

import pytest

from .bank import Bank
from .faults import Faults
from .memory import Memory
from .proxy import Proxy
from .toy import Toy
from .vowd import Vowd


class World:
    """Starts processes, ends them, and asks everybody for complaints at the end."""

    def __init__(self, folder):
        self.folder = folder
        self.vowds, self.toys, self.banks, self.control_files = [], [], [], []
        self.proxies, self.memories = [], []

    def vowd(self, start=True, name="vowd", **options):
        vowd = Vowd(self.folder / name, **options)
        vowd.on_death = [lambda: [toy.coordinator_died() for toy in self.toys]]
        self.vowds.append(vowd)
        return vowd.start() if start else vowd

    def toy(self, name=None, batch_max=0, tls=None):
        toy = Toy(name or f"toy{len(self.toys) + 1}", batch_max, tls).start()
        self.toys.append(toy)
        return toy

    def two_toys(self, batch_max=0):
        return self.toy(batch_max=batch_max), self.toy(batch_max=batch_max)

    def bank(self, name, start=True, **options):
        threads = 0 if len(self.banks) % 2 else None
        bank = Bank(self.folder / name, name, threads=threads, **options)
        self.banks.append(bank)
        return bank.start() if start else bank

    def proxy(self, target):
        proxy = Proxy(target).start()
        self.proxies.append(proxy)
        return proxy

    def faults(self, *owners):
        """Faults that every start of the owners has from now on; none yet."""
        faults = Faults(self.folder / f"faults{len(self.control_files)}")
        self.control_files.append(faults)
        for owner in owners:
            owner.environment = faults.environment
        return faults

    def memory(self, *owners):
        """Allocations that fail, in every start of the owners from now on; none yet. Together with
        faults: after them."""
        also = owners[0].environment if owners else None
        memory = Memory(self.folder / f"memory{len(self.memories)}", also)
        self.memories.append(memory)
        for owner in owners:
            owner.environment = memory.environment
        return memory

    def end(self):
        """Stops everything; returns what is wrong: broken rules, findings of sanitizers."""
        for toy in self.toys:
            toy.unscript()
        for process in [owner.process for owner in self.vowds + self.banks]:
            yield from (f"{process.output.name}: {text}" for text in process.end(20))
        for toy in self.toys:
            toy.stop()
            yield from (f"{toy.name}: {text}" for text in toy.violations)
        for owner in self.vowds + self.banks:
            yield from owner.process.complaints()


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    try:
        yield world
        wrong = list(world.end())
    finally:
        for proxy in world.proxies:
            proxy.stop()
        for owner in world.vowds + world.banks:
            owner.kill()
        for toy in world.toys:
            toy.stop()
    assert not wrong, "\n".join(wrong)


def pytest_generate_tests(metafunc):
    """VOW_ROUNDS: each test so many times, for a night."""
    rounds = int(os.environ.get("VOW_ROUNDS", "1"))
    if rounds > 1:
        metafunc.fixturenames.append("round_number")
        metafunc.parametrize("round_number", range(rounds))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of what each process printed."""
    report = (yield).get_result()
    world = item.funcargs.get("world") if hasattr(item, "funcargs") else None
    if report.failed and world:
        for owner in world.vowds + world.banks:
            if owner.process.output.exists():
                text = owner.process.output.read_text(errors="replace")
                report.sections.append((owner.process.output.name, text[-6000:]))
