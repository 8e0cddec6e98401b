"""A REST client of the standard library. Each answer is held against the OpenAPI file."""

import http.client
import json
import threading
import time
import urllib.parse

from . import schema

# What a client sees of a server that dies.
LOST = (OSError, http.client.HTTPException)


def assert_committed(answer):
    """The client has been told that it committed."""
    assert answer.status == 200, answer
    assert answer.json["state"] in ("committing", "committed"), answer
    return answer.json


def transaction_of(answer):
    """The transaction that an answer shows, whether it committed, aborted or is heuristic."""
    return answer.json.get("transaction", answer.json)


def assert_aborted(answer, *words):
    """The client has been told that it aborted, and why, in these words."""
    assert answer.status == 409 and answer.problem == "transaction-aborted", answer
    for word in words:
        assert word in answer.json["detail"], f"{word} is not in {answer}"
    assert answer.json["outcome"] == "aborted", answer
    return answer.json.get("transaction")


class Answer:
    """status, headers, text, and json where the body is JSON."""

    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.text = body.decode(errors="replace")
        self.json = None
        kind = self.headers.get_content_type()
        if body and (kind == "application/json" or kind.endswith("+json")):
            self.json = json.loads(body)

    def __repr__(self):
        return f"{self.status} {self.text[:400]}"

    @property
    def problem(self):
        """The slug of the problem type: "unknown-transaction"."""
        assert self.headers.get_content_type() == "application/problem+json", self
        assert self.json["status"] == self.status, self
        return self.json["type"].removeprefix("urn:vow:")


class Client:
    """One kept connection a thread; a connection that the server closed while idle is opened
    again."""

    def __init__(self, url, timeout=30):
        self.base = urllib.parse.urlsplit(url)
        self.timeout = timeout
        self.local = threading.local()

    def request(self, method, path, body=None, headers=None, check=True):
        """body: a dict or list becomes JSON, bytes and str are sent as they are."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if isinstance(body, str):
            body = body.encode()
        answer = self._exchange(method, path, body, headers)
        if check:
            schema.check_answer(method, path, answer)
        return answer

    def _exchange(self, method, path, body, headers):
        connection = getattr(self.local, "connection", None)
        fresh = connection is None
        if fresh:
            connection = http.client.HTTPConnection(
                self.base.hostname, self.base.port, timeout=self.timeout
            )
            self.local.connection = connection
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return Answer(response, response.read())
        except BaseException as error:
            connection.close()
            self.local.connection = None
            stale = isinstance(error, (http.client.RemoteDisconnected, ConnectionError))
            if stale and not fresh:
                return self._exchange(method, path, body, headers)
            raise

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.request("POST", path, body, **options)

    # ---- the words of the protocol ----

    def begin(self, **body):
        """The id of a new transaction."""
        answer = self.post("/v1/transactions", body)
        assert answer.status == 201, answer
        assert answer.headers["Location"].endswith("/v1/transactions/" + answer.json["id"]), answer
        return answer.json["id"]

    def enlist(self, transaction, url, **body):
        answer = self.post(f"/v1/transactions/{transaction}/branches", {"url": url, **body})
        assert answer.status in (200, 201), answer
        return answer.json

    def commit(self, transaction, **options):
        return self.post(f"/v1/transactions/{transaction}/commit", **options)

    def abort(self, transaction, **options):
        return self.post(f"/v1/transactions/{transaction}/abort", **options)

    def one_shot(self, branches, headers=None, **body):
        """branches: URLs, or dicts as the API takes them."""
        branches = [{"url": b} if isinstance(b, str) else b for b in branches]
        body = {"branches": branches, "commit": True, **body}
        return self.post("/v1/transactions", body, headers=headers)

    def one_shot_until_told(self, branches, key, seconds=50):
        """Asks with the same key, through crashes, until it is told the outcome: that answer."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                answer = self.one_shot(branches, headers={"Idempotency-Key": key})
            except LOST:
                time.sleep(0.02)
                continue
            if answer.status in (200, 409):
                return answer
            assert answer.status in (202, 503), answer
            time.sleep(0.02)
        raise AssertionError(f"no outcome within {seconds} s")

    def show(self, transaction):
        answer = self.get(f"/v1/transactions/{transaction}")
        assert answer.status == 200, answer
        return answer.json

    def state(self, transaction):
        return self.show(transaction)["state"]

    def outcome(self, transaction):
        answer = self.get(f"/v1/transactions/{transaction}/outcome")
        assert answer.status == 200, answer
        return answer.json["outcome"]

    def resolve(self, transaction, outcome, reason, **body):
        body = {"outcome": outcome, "reason": reason, **body}
        return self.post(f"/v1/transactions/{transaction}/resolve", body)

    def forget(self, transaction, reason):
        return self.post(f"/v1/transactions/{transaction}/forget", {"reason": reason})

    def list(self, **query):
        """All pages of a list, as one list of transactions."""
        found, cursor = [], None
        while True:
            page = {**query, **({"cursor": cursor} if cursor else {})}
            answer = self.get("/v1/transactions?" + urllib.parse.urlencode(page))
            assert answer.status == 200, answer
            found += answer.json["transactions"]
            cursor = answer.json.get("next_cursor")
            if not cursor:
                return found
