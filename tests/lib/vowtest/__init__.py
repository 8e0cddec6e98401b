"""Real processes under test: vowd, participants, clients. tests/README.md shows how they are
used."""

from .bank import Bank, check_books
from .client import LOST, Client, assert_aborted, assert_committed, transaction_of
from .ending import everything_ends
from .proxy import Proxy
from .town import Town, transfer_branches
from .toy import Toy
from .vowd import Vowd, vowd_run
from .waiting import parallel, wait_until

__all__ = [
    "LOST",
    "Bank",
    "Client",
    "Proxy",
    "Town",
    "Toy",
    "Vowd",
    "assert_aborted",
    "assert_committed",
    "check_books",
    "everything_ends",
    "parallel",
    "transaction_of",
    "transfer_branches",
    "vowd_run",
    "wait_until",
]
