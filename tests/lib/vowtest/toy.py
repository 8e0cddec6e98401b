"""A participant in memory that keeps the rules P1..P9 of proto/README.md, records every message,
holds the coordinator to its own rules (`violations`), and misbehaves where a script says so."""

import dataclasses
import http.server
import json
import re
import socket
import threading
import time

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
COMMON = {"transaction", "branch", "coordinator", "finished_below"}
MAY = COMMON | {"log"}
MEMBERS = {
    "prepare": MAY | {"payload", "one_phase", "timeout_ms"},
    "commit": MAY,
    "abort": MAY,
    "forget": MAY,
}
NIL = "00000000-0000-0000-0000-000000000000"
NO_ROUTE = {"type": "urn:vow:route-not-found", "title": "no such route", "status": 404}
UNKNOWN_BRANCH = {"type": "urn:vow:unknown-branch", "title": "no such branch", "status": 404}


@dataclasses.dataclass
class Message:
    """One message as it arrived."""

    type: str
    transaction: str
    branch: int
    body: dict
    headers: dict
    at: float


@dataclasses.dataclass
class Branch:
    """What the toy keeps of a branch for ever (it has no watermark to clean up by)."""

    vote: str = None  # what was promised
    told_vote: str = None  # what certainly left as an answer
    payload: object = None
    outcome: str = None  # committed or aborted
    one_phase: bool = False
    effects: int = 0  # how often it took effect
    told: set = dataclasses.field(default_factory=set)  # commit, abort

    def known(self):
        """The word for it in the answer to /known."""
        undecided = {"commit": "prepared", "read-only": "read-only", "abort": "refused"}
        refused = self.outcome == "aborted" and "abort" not in self.told
        return "refused" if refused else self.outcome or undecided[self.vote]


class Exchange:
    """One request under way, as a behaviour sees it."""

    def __init__(self, toy, handler, message):
        self.toy, self.handler, self.message = toy, handler, message

    def execute(self, vote=None):
        """Does what the message asks, by the rules: (status, body)."""
        return self.toy.execute(self.message, vote)

    def reply(self, status, body=b"", content_type="application/json"):
        if isinstance(body, dict):
            if status == 200:
                self.note_votes(body)
            if self.toy.seen:
                body = {**body, "seen": self.toy.seen}
            body = json.dumps(body).encode()
        self.handler.send_response(status)
        self.handler.send_header("Content-Type", content_type)
        self.handler.send_header("Content-Length", str(len(body)))
        if self.toy.batch_max:
            self.handler.send_header("Vow-Batch", str(self.toy.batch_max))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def note_votes(self, body):
        self.toy.note_vote(self.message, body)

    def raw(self, data):
        self.handler.wfile.write(data)
        self.handler.wfile.flush()

    def close(self):
        self.handler.close_connection = True


class Part(Exchange):
    """One message of a batch; its reply leaves with the others. Only what answers fits here."""

    def __init__(self, toy, message):
        super().__init__(toy, None, message)
        self.result = 500, {"type": "urn:vow:internal", "title": "no answer", "status": 500}

    def reply(self, status, body=b"", content_type="application/json"):
        self.result = status, body if isinstance(body, dict) else {}

    def close(self):
        pass


class Batch(Exchange):
    """A request with several messages. Each is dealt with as its own script says; the script for
    "batch" is for the whole."""

    def __init__(self, toy, handler, messages):
        super().__init__(toy, handler, None)
        self.messages = messages

    def execute(self, vote=None):
        replies = []
        for message in self.messages:
            part = Part(self.toy, message)
            self.toy.behaviour(message.type)(part)
            status, body = part.result
            replies.append({**body, "status": status})
        return 200, {"replies": replies}

    def note_votes(self, body):
        for message, reply in zip(self.messages, body.get("replies", [])):
            if reply["status"] == 200:
                self.toy.note_vote(message, reply)


# ---- behaviours: functions of an exchange, for Toy.script ----


def vote(word, reason=None):
    """Votes so, and means it."""

    def behave(exchange):
        status, body = exchange.execute(word)
        exchange.reply(status, {**body, "reason": reason} if reason else body)

    return behave


def answer(status, body=b"", content_type="application/json"):
    """Answers so and does nothing else."""
    return lambda exchange: exchange.reply(status, body, content_type)


def problem(status, slug):
    body = {"type": f"urn:vow:{slug}", "title": slug, "status": status}
    return answer(status, body, "application/problem+json")


def drop(exchange):
    """The request is lost: nothing is done, the connection ends."""
    exchange.close()


def lost_reply(exchange):
    """The request is carried out, its answer is lost."""
    exchange.execute()
    exchange.close()


def raw(data):
    """Bytes that may not even be HTTP."""

    def behave(exchange):
        exchange.raw(data)
        exchange.close()

    return behave


def hang(exchange):
    """Takes the request and never answers."""
    exchange.toy.released.wait()
    exchange.close()


def delay(seconds, then=None):
    """Answers late, by the rules."""

    def behave(exchange):
        exchange.toy.released.wait(seconds)
        (then or obey)(exchange)

    return behave


def gate(event, then=None):
    """Waits for the test's own event before it goes on."""

    def behave(exchange):
        event.wait(60)
        (then or obey)(exchange)

    return behave


def huge(size):
    """A body of that many bytes around a valid answer."""
    return answer(200, b'{"vote":"commit","outcome":"committed","reason":"' + b"x" * size + b'"}')


def endless(exchange):
    """A body that never stops."""
    exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not exchange.toy.released.is_set():
        exchange.raw(b" " * 65536)
    exchange.close()


def trickle(exchange):
    """Slow-loris: one byte now and then, for ever."""
    exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not exchange.toy.released.wait(0.1):
        exchange.raw(b" ")
    exchange.close()


def obey(exchange):
    exchange.reply(*exchange.execute())


# ---- the participant ----


class Toy:
    def __init__(self, name="toy", batch_max=0, tls=None):
        self.name = name
        self.tls = tls  # an ssl.SSLContext of a server; None: plain http
        self.batch_max = batch_max  # messages it takes at once; 0: it offers nothing
        self.batches = []  # how many messages each batch had
        self.port = 0
        self.lock = threading.RLock()
        self.messages = []
        self.branches = {}
        self.scripts = {}
        self.violations = []
        self.finished_below = ""
        self.honour_one_phase = False
        self.seen = None  # what it returns of the coordinator's log, which it does not keep itself
        self.left_out = False  # of a reconciliation: what it was in doubt of may be told late
        self.heard = True  # False: who asks for a vote may lack the memory to read it
        self.tells = True  # it answers /known; False: it lacks the route; or a problem
        self.released = threading.Event()
        self.server = None

    # ---- its life ----

    def start(self):
        self.released = threading.Event()
        self.server = Server(("127.0.0.1", self.port), self)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self):
        """As a crash looks from outside: connections end, new ones are refused. What it promised is
        kept."""
        if self.server:
            self.released.set()
            self.server.shutdown()
            self.server.server_close()
            self.server.end_connections()
            self.server = None

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/{self.name}"

    def script(self, type, behaviour, times=None):
        """From now on this behaviour answers messages of the type: the next `times` of them, or
        all."""
        with self.lock:
            self.scripts.setdefault(type, []).append([behaviour, times])
        return self

    def unscript(self):
        """Back to obeying; what hangs is let go."""
        with self.lock:
            self.scripts.clear()
        self.released.set()
        self.released = threading.Event()

    # ---- what a test asks ----

    def received(self, type=None, transaction=None):
        with self.lock:
            return [
                message
                for message in self.messages
                if type in (None, message.type) and transaction in (None, message.transaction)
            ]

    def count(self, type, transaction=None):
        return len(self.received(type, transaction))

    def outcome(self, transaction):
        """How its branch of the transaction ended: committed, aborted, or None. Only one branch
        here."""
        outcomes = self.outcomes(transaction)
        assert len(outcomes) <= 1, outcomes
        return outcomes[0] if outcomes else None

    def outcomes(self, transaction):
        with self.lock:
            return [b.outcome for (t, _), b in sorted(self.branches.items()) if t == transaction]

    def doubt_again(self, transaction):
        """Its branches of the transaction have never been told how it ended."""
        with self.lock:
            for (of, _), branch in self.branches.items():
                if of == transaction:
                    branch.outcome, branch.effects, branch.told = None, 0, set()

    def in_doubt(self):
        with self.lock:
            return [key for key, b in self.branches.items() if b.vote == "commit" and not b.outcome]

    def known(self, transactions):
        """What is on its disk about these, as POST /known tells it."""
        with self.lock:
            return [
                {"transaction": t, "branch": n, "state": b.known()}
                for (t, n), b in sorted(self.branches.items())
                if t in transactions
            ]

    # ---- the rules ----

    def behaviour(self, type):
        with self.lock:
            queue = self.scripts.get(type, [])
            while queue:
                entry = queue[0]
                if entry[1] is None:
                    return entry[0]
                if entry[1] > 0:
                    entry[1] -= 1
                    return entry[0]
                queue.pop(0)
        return obey

    def record(self, message):
        """Takes note of a message and of what it does wrong."""
        with self.lock:
            self.messages.append(message)
            blame = lambda text: self.violations.append(
                f"{message.type} {message.transaction}: {text}"
            )
            if not UUID7.match(message.transaction):
                blame("not a UUIDv7")
            if unknown := set(message.body) - MEMBERS[message.type]:
                blame(f"unknown members {unknown}")
            if missing := COMMON - set(message.body):
                blame(f"missing members {missing}")
            if message.headers.get("content-type") != "application/json":
                blame("not application/json")
            over = message.transaction < self.finished_below and message.type != "forget"
            if over and not self.left_out:
                blame(f"C5: is below {self.finished_below}, which was declared over")
            self.finished_below = max(self.finished_below, message.body.get("finished_below", ""))
            branch = self.branches.get((message.transaction, message.branch))
            if branch:
                self.blame_by_history(message, branch, blame)

    def record_batch(self, size, bodies):
        """Takes note of a batch as a whole."""
        with self.lock:
            self.batches.append(len(bodies))
            blame = lambda text: self.violations.append(f"batch of {len(bodies)}: {text}")
            if not 2 <= len(bodies) <= self.batch_max:
                blame(f"{self.batch_max} messages were offered")
            if size > 512 * 1024:
                blame(f"{size} bytes")
            if len({body["coordinator"] for body in bodies}) != 1:
                blame("several coordinators")
            if len({(body["transaction"], body["branch"]) for body in bodies}) != len(bodies):
                blame("a branch twice")

    @staticmethod
    def blame_by_history(message, branch, blame):
        if message.type == "prepare":
            if branch.payload != message.body.get("payload"):
                blame("another payload than before")
        elif message.type in ("commit", "abort"):
            branch.told.add(message.type)
            if branch.told == {"commit", "abort"} and not branch.one_phase:
                blame("AC2: told to commit and to abort")
            if branch.told_vote in ("read-only", "abort"):
                blame(f"C3: it voted {branch.told_vote}")
            if message.type == "commit" and branch.vote != "commit":
                blame(f"AC3: its vote is {branch.vote}")

    def execute(self, message, forced_vote=None):
        with self.lock:
            key = (message.transaction, message.branch)
            if message.type == "prepare":
                return self.prepare(key, message, forced_vote or "commit")
            if message.type == "commit":
                return self.finish(key, "committed")
            if message.type == "abort":
                self.branches.setdefault(key, Branch(vote="abort")).told.add("abort")
                return self.finish(key, "aborted")
            return 200, {}

    def prepare(self, key, message, word):
        branch = self.branches.get(key)
        if branch is None:
            branch = self.branches[key] = Branch(vote=word, payload=message.body.get("payload"))
            if word == "commit" and message.body.get("one_phase") and self.honour_one_phase:
                branch.one_phase, branch.outcome, branch.effects = True, "committed", 1
        body = {"vote": branch.vote}
        if branch.one_phase:
            body["outcome"] = branch.outcome
        return 200, body

    def finish(self, key, outcome):
        branch = self.branches.get(key)
        if branch is None or (outcome == "committed" and branch.vote != "commit"):
            return 404, UNKNOWN_BRANCH
        if branch.outcome is None:
            branch.outcome = outcome
            branch.effects += outcome == "committed"
        return 200, {"outcome": branch.outcome}

    def note_vote(self, message, body):
        """A vote leaves. A late one may find nobody who waits for it, and who has no memory does
        not read it: those prove nothing."""
        with self.lock:
            branch = self.branches.get((message.transaction, message.branch))
            prompt = time.monotonic() - message.at < 0.3
            if branch and message.type == "prepare" and prompt and self.heard:
                branch.told_vote = body.get("vote")

    def coordinator_died(self):
        """It no longer knows the votes it was told, unless it had decided."""
        with self.lock:
            for branch in self.branches.values():
                branch.told_vote = None


def linger(connection):
    """Waits for the other side to close, too: what was not read would have what was said last, an
    alert, thrown away."""
    try:
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(2)
        while connection.recv(65536):
            pass
    except OSError:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address, toy):
        self.toy = toy
        self.connections = set()
        super().__init__(address, Handler)

    def get_request(self):
        connection, address = super().get_request()
        if self.toy.tls:  # the handshake is made by the thread that reads
            connection = self.toy.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self.connections.add(connection)
        return connection, address

    def shutdown_request(self, request):
        self.connections.discard(request)
        if self.toy.tls:
            request = socket.socket(fileno=request.detach())
            linger(request)
        super().shutdown_request(request)

    def end_connections(self):
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request, client_address):
        """A connection that the other side has closed is nothing to report."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format, *arguments):
        pass

    def do_GET(self):
        toy = self.server.toy
        branches = [{"transaction": t, "branch": b} for t, b in toy.in_doubt()]
        self.tell({"branches": branches})

    def tell(self, body, status=200):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        self.wfile.flush()

    def tell_known(self, toy, body):
        scripted = toy.behaviour("known")
        if scripted is not obey:
            scripted(Exchange(toy, self, None))
            return
        if toy.tells is not True:
            self.tell(toy.tells or NO_ROUTE, (toy.tells or NO_ROUTE)["status"])
            return
        answer = {
            "branches": toy.known(body["transactions"]),
            "finished_below": toy.finished_below or NIL,
        }
        if toy.seen:
            answer["seen"] = toy.seen
        self.tell(answer)

    def do_POST(self):
        toy = self.server.toy
        size = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(size))
        type = self.path.rpartition("/")[2]
        headers = {name.lower(): value for name, value in self.headers.items()}
        if type == "known":
            self.tell_known(toy, body)
            return
        if type == "batch":
            toy.record_batch(size, body["messages"])
            messages = [self.of_batch(part, headers) for part in body["messages"]]
            exchange = Batch(toy, self, messages)
        else:
            messages = [self.message(type, body, headers)]
            exchange = Exchange(toy, self, messages[0])
        for message in messages:
            toy.record(message)
        toy.behaviour(type)(exchange)
        self.wfile.flush()

    @staticmethod
    def message(type, body, headers):
        return Message(type, body["transaction"], body["branch"], body, headers, time.monotonic())

    def of_batch(self, part, headers):
        """The message as it would be alone."""
        body = {name: value for name, value in part.items() if name not in ("type", "traceparent")}
        if "traceparent" in part:
            headers = {**headers, "traceparent": part["traceparent"]}
        return self.message(part["type"], body, headers)
