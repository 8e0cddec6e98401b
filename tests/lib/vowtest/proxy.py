"""A proxy on the loopback interface that does to HTTP requests what networks do: cuts, delays,
drops, resets, half-delivers, delivers late or twice. It stands before vowd or before a participant.

    right = Proxy(lambda: bank.address).start()
    right.script("commit", proxy.lose_reply, times=2)     # the next two POST …/commit

A fault is a function of an exchange, which has the request as bytes. What it returns says whether
the client's connection goes on."""

import contextlib
import socket
import struct
import threading

ANY = "*"


class Gone(Exception):
    """A connection ended."""


class Stream:
    """Bytes of one connection, read in messages of HTTP/1.1."""

    def __init__(self, connection):
        self.connection, self.buffer = connection, b""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fill(self):
        try:
            data = self.connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise Gone()
        self.buffer += data

    def until(self, mark):
        while mark not in self.buffer:
            self.fill()
        return self.buffer.index(mark) + len(mark)

    def take(self, size):
        while len(self.buffer) < size:
            self.fill()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def message(self):
        """One whole request or answer."""
        head = self.take(self.until(b"\r\n\r\n"))
        headers = dict(
            line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line
        )
        if b"chunked" in headers.get(b"transfer-encoding", b""):
            body = b""
            while not body.endswith(b"0\r\n\r\n"):
                body += self.take(self.until(b"\r\n"))
            return head + body
        return head + self.take(int(headers.get(b"content-length", b"0")))

    def send(self, data):
        try:
            self.connection.sendall(data)
        except OSError:
            raise Gone() from None

    def close(self):
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def reset(self):
        """Ends it with RST in place of FIN: what is under way is thrown away."""
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()


class Exchange:
    """One request on its way: the client's stream, and a way to the server."""

    def __init__(self, proxy, client, request):
        self.proxy, self.client, self.request = proxy, client, request

    def forward(self, request=None):
        """The server's answer to the request."""
        server = self.proxy.dial()
        try:
            server.send(self.request if request is None else request)
            return server.message()
        finally:
            self.proxy.hang_up(server)

    def send_only(self, data):
        """Part of a request, and then the connection ends."""
        server = self.proxy.dial()
        with contextlib.suppress(Gone):
            server.send(data)
        self.proxy.hang_up(server)


# ---- faults ----


def obey(exchange):
    exchange.client.send(exchange.forward())
    return True


def drop(exchange):
    """A black hole: it takes the request, and nothing ever comes back."""
    exchange.proxy.healed.wait()
    return False


def cut(exchange):
    """The connection ends before anything is forwarded."""
    return False


def reset(exchange):
    exchange.client.reset()
    return False


def cut_request(exchange):
    """The server gets half of the request, and then the connection's end."""
    exchange.send_only(exchange.request[: len(exchange.request) // 2])
    return False


def cut_request_body(exchange):
    """All of the request but its last byte."""
    exchange.send_only(exchange.request[:-1])
    return False


def lose_reply(exchange):
    """The request is carried out, its answer is lost."""
    exchange.forward()
    return False


def reset_reply(exchange):
    exchange.forward()
    exchange.client.reset()
    return False


def cut_reply(exchange):
    """All of the answer but its last byte."""
    exchange.client.send(exchange.forward()[:-1])
    return False


def cut_reply_head(exchange):
    """Only the first bytes of the answer."""
    exchange.client.send(exchange.forward()[:6])
    return False


def trickle(exchange):
    """The answer comes a byte at a time, and never whole."""
    for byte in exchange.forward()[:-1]:
        exchange.client.send(bytes([byte]))
        if exchange.proxy.healed.wait(0.6):
            break
    return False


def twice(exchange):
    """It arrives twice; the second answer is given."""
    exchange.forward()
    return obey(exchange)


def late(seconds):
    """The client's connection ends at once; the request arrives after that time."""

    def fault(exchange):
        exchange.client.close()
        exchange.proxy.healed.wait(seconds)
        with contextlib.suppress(Gone):
            exchange.forward()
        return False

    return fault


def slow(seconds):
    """Late, and answered."""

    def fault(exchange):
        exchange.proxy.healed.wait(seconds)
        return obey(exchange)

    return fault


FAULTS = {
    "drop": drop,
    "cut": cut,
    "reset": reset,
    "cut_request": cut_request,
    "cut_request_body": cut_request_body,
    "lose_reply": lose_reply,
    "reset_reply": reset_reply,
    "cut_reply": cut_reply,
    "cut_reply_head": cut_reply_head,
    "trickle": trickle,
    "twice": twice,
    "late": late(0.3),
    "slow": slow(0.1),
}
# After these the server has had the request.
ARRIVES = ("lose_reply", "reset_reply", "cut_reply", "cut_reply_head", "trickle", "twice", "slow")


# ---- the proxy ----


class Proxy:
    """target: a function that returns the address, HOST:PORT, that it forwards to."""

    def __init__(self, target):
        self.target = target
        self.listener = None
        self.address = "127.0.0.1:0"
        self.lock = threading.Lock()
        self.scripts = {}
        self.messages = 0
        self.struck = {}  # how often a fault struck, by the last word of the path
        self.streams = set()
        self.healed = threading.Event()

    def start(self):
        host, _, port = self.address.rpartition(":")
        self.listener = socket.create_server((host, int(port)), backlog=256)
        self.address = f"{host}:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()
        return self

    def stop(self):
        """Connections end, new ones are refused, until it is started again."""
        if self.listener:
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        self.heal()

    @property
    def url(self):
        return f"http://{self.address}"

    def script(self, word, fault, times=None):
        """From now on this fault strikes requests whose path ends in the word, or all (ANY): the
        next `times` of them."""
        with self.lock:
            self.scripts.setdefault(word, []).append([fault, times])
        return self

    def heal(self):
        """No faults any more, and what a fault held is let go."""
        with self.lock:
            self.scripts.clear()
            self.healed.set()
            self.healed = threading.Event()
            streams = list(self.streams)
        for stream in streams:
            stream.close()

    def hits(self, word):
        with self.lock:
            return self.struck.get(word, 0)

    def fault(self, word):
        with self.lock:
            self.messages += 1
            for queue in (self.scripts.get(word, []), self.scripts.get(ANY, [])):
                while queue and queue[0][1] == 0:
                    queue.pop(0)
                if queue:
                    if queue[0][1] is not None:
                        queue[0][1] -= 1
                    self.struck[word] = self.struck.get(word, 0) + 1
                    return queue[0][0]
        return obey

    # ---- its threads ----

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(Stream(connection),), daemon=True).start()

    def serve(self, client):
        self.streams.add(client)
        try:
            while True:
                request = client.message()
                word = request.split(b" ", 2)[1].partition(b"?")[0].rpartition(b"/")[2].decode()
                if not self.fault(word)(Exchange(self, client, request)):
                    return
        except Gone:
            pass
        finally:
            self.hang_up(client)

    def dial(self):
        host, _, port = self.target().rpartition(":")
        try:
            server = Stream(socket.create_connection((host, int(port)), timeout=60))
        except OSError:
            raise Gone() from None
        self.streams.add(server)
        return server

    def hang_up(self, stream):
        self.streams.discard(stream)
        stream.close()
