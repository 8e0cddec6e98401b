"""Ports of the loopback interface that nobody else is given while whoever listens there is dead."""

import socket


class Port:
    """One that the system chose. A bound socket that does not listen keeps it: who sets
    SO_REUSEADDR, as all of ours do, may still listen there, and who connects is refused."""

    def __init__(self):
        self.holder = socket.socket()
        self.holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.holder.bind(("127.0.0.1", 0))
        self.number = self.holder.getsockname()[1]

    @property
    def address(self):
        return f"127.0.0.1:{self.number}"
