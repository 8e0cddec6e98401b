"""Real processes under test: vowd, participants, clients. tests/README.md shows how they are
used."""

from .bank import Bank
from .client import Client, assert_aborted, assert_committed, transaction_of
from .ending import everything_ends
from .toy import Toy
from .vowd import Vowd
from .waiting import parallel, wait_until

__all__ = [
    "Bank",
    "Client",
    "Toy",
    "Vowd",
    "assert_aborted",
    "assert_committed",
    "everything_ends",
    "parallel",
    "transaction_of",
    "wait_until",
]
