"""Whatever a client sends, it is told what is wrong and what to do; nothing is lost, leaked or
crashed by it."""

import http.client
import json
import socket

import pytest
from vowtest import Client, assert_committed, wait_until

NOBODY = "01900000-0000-7000-8000-000000000001"


@pytest.fixture
def client(world):
    return world.vowd().client


def nested(depth):
    return "[" * depth + "]" * depth


# body, status, problem, words of the detail
BODIES = {
    "no JSON": ("{", 400, "invalid-json", "line"),
    "trailing bytes": ("{} {}", 400, "invalid-json", ""),
    "a bare word": ("yes", 400, "invalid-json", ""),
    "bad UTF-8": (b'{"metadata":{"a":"\xff"}}', 400, "invalid-json", ""),
    "a NUL": (b'{"metadata":{"a":"\\u0000"}}', 400, "invalid", ""),
    "the same member twice": (
        '{"timeout_ms":1000,"timeout_ms":2000}',
        400,
        "invalid-json",
        "timeout_ms",
    ),
    "too deep": ('{"metadata":{"a":' + nested(100) + "}}", 400, "invalid-json", ""),
    "far too deep": ('{"metadata":{"a":' + nested(100000) + "}}", 400, "invalid-json", ""),
    "an array": ("[]", 400, "invalid-request", "object"),
    "null": ("null", 400, "invalid-request", "object"),
    "a string for a number": ({"timeout_ms": "1000"}, 400, "invalid-request", "timeout_ms"),
    "a negative number": ({"timeout_ms": -1}, 400, "invalid-request", "timeout_ms"),
    "a fraction": ({"timeout_ms": 1.5}, 400, "invalid-request", "timeout_ms"),
    "a number out of range": ('{"timeout_ms":1e300}', 400, "invalid-request", "timeout_ms"),
    "an integer out of range": ('{"timeout_ms":99999999999999999999}', 400, "invalid", ""),
    "a timeout beyond the limit": (
        {"timeout_ms": 4000000000},
        400,
        "invalid-request",
        "timeout_ms",
    ),
    "a string for an object": ({"metadata": "x"}, 400, "invalid-request", "metadata"),
    "an unknown member": ({"colour": "red"}, 400, "invalid-request", "colour"),
    "branches that are no array": ({"branches": {}}, 400, "invalid-request", "branches"),
    "a branch that is no object": ({"branches": [1]}, 400, "invalid-request", "branches[0]"),
    "a branch without a URL": (
        {"branches": [{"name": "x"}]},
        400,
        "invalid-request",
        "branches[0]",
    ),
    "an unknown member of a branch": (
        {"branches": [{"url": "http://127.0.0.1:1/", "x": 1}]},
        400,
        "invalid-request",
        "x",
    ),
    "a URL of another scheme": (
        {"branches": [{"url": "ftp://x"}]},
        400,
        "invalid-url",
        "branches[0].url cannot be used: the URL must begin with",
    ),
    "a number for a URL": ({"branches": [{"url": 1}]}, 400, "invalid-request", "branches[0].url"),
    "an empty name": (
        {"branches": [{"url": "http://127.0.0.1:1/", "name": ""}]},
        400,
        "invalid",
        "name",
    ),
    "a name that is too long": (
        {"branches": [{"url": "http://127.0.0.1:1/", "name": "x" * 5000}]},
        400,
        "invalid",
        "name",
    ),
    "a participant nobody configured": (
        {"branches": [{"participant": "nobody"}]},
        404,
        "unknown-participant",
        "nobody",
    ),
    "a word for commit": ({"commit": "yes"}, 400, "invalid-request", "commit"),
}

URLS = [
    "",
    "x",
    "ftp://127.0.0.1/x",
    "file:///etc/passwd",
    "http://",
    "http:///x",
    "http://[::1",
    "//127.0.0.1/x",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:port/",
    "http://127.0.0.1/a b",
    "http://127.0.0.1/\n",
    "http://user:password@127.0.0.1/",
    "javascript:alert(1)",
    "http://127.0.0.1/?query=1",
    "http://127.0.0.1/#x",
    "http://127.0.0.1/a/../b",
    "http://" + "x" * 5000 + "/",
]

IDS = [
    "x",
    "1",
    "01900000-0000-7000-8000-00000000000",
    "01900000-0000-7000-8000-0000000000011",
    "01900000000070008000000000000001",
    "01900000-0000-7000-8000-00000000000g",
    "%00",
    "..%2f..%2fetc",
    "{01900000-0000-7000-8000-000000000001}",
]


@pytest.mark.parametrize("name", BODIES)
def test_a_wrong_body_is_refused_and_the_place_is_named(client, name):
    body, status, problem, words = BODIES[name]
    answer = client.post("/v1/transactions", body)
    assert answer.status == status and answer.problem.startswith(problem), answer
    assert words in answer.json["detail"], answer
    assert client.list() == []


def test_a_timeout_beyond_what_is_configured_is_refused(world):
    vowd = world.vowd(limits_transaction_timeout_ms=70000)
    answer = vowd.client.post("/v1/transactions", {"timeout_ms": 70001})
    assert answer.status == 422 and answer.problem == "limit-exceeded", answer
    assert "timeout_ms" in answer.json["detail"]


@pytest.mark.parametrize("url", URLS)
def test_a_url_that_cannot_be_used_is_refused(client, url):
    answer = client.post("/v1/transactions", {"branches": [{"url": url}]})
    assert answer.status == 400 and answer.problem in ("invalid-url", "invalid-request"), answer
    id = client.begin()
    answer = client.post(f"/v1/transactions/{id}/branches", {"url": url})
    assert answer.status == 400 and answer.problem in ("invalid-url", "invalid-request"), answer
    assert client.show(id)["branches"] == []


@pytest.mark.parametrize("id", IDS)
def test_a_malformed_id_is_not_an_unknown_one(client, id):
    for method, tail in (("GET", ""), ("POST", "/commit"), ("POST", "/abort"), ("GET", "/outcome")):
        answer = client.request(method, f"/v1/transactions/{id}{tail}")
        assert answer.status in (400, 404), answer
        assert answer.problem in ("invalid-id", "route-not-found"), answer
    assert client.get("/v1/transactions/not-an-id").problem == "invalid-id"


def test_an_unknown_id_is_unknown(client):
    for method, tail, body in (
        ("GET", "", None),
        ("POST", "/commit", None),
        ("POST", "/branches", {"url": "http://127.0.0.1:1/"}),
        ("POST", "/resolve", {"outcome": "aborted", "reason": "x"}),
        ("POST", "/forget", {"reason": "x"}),
    ):
        answer = client.request(method, f"/v1/transactions/{NOBODY}{tail}", body)
        assert answer.status == 404 and answer.problem == "unknown-transaction", (tail, answer)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/transactions", "/v1/transactions/", "/v1/x", "/%ff", "//v1/status"]
)
def test_an_unknown_route_is_404(client, path):
    answer = client.get(path)
    assert answer.status == 404 and answer.problem == "route-not-found", answer


@pytest.mark.parametrize(
    "method, path",
    [
        ("DELETE", "/v1/transactions"),
        ("PUT", f"/v1/transactions/{NOBODY}"),
        ("GET", f"/v1/transactions/{NOBODY}/commit"),
        ("POST", "/v1/status"),
        ("PATCH", "/healthz"),
    ],
)
def test_a_wrong_method_is_405_and_the_right_ones_are_named(client, method, path):
    answer = client.request(method, path)
    assert answer.status == 405 and answer.problem == "method-not-allowed", answer
    assert method not in answer.headers["Allow"] and answer.headers["Allow"]


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "json",
        "application/json; charset=utf-16",
        "application/json;v=1;charset=latin1",
    ],
)
def test_another_content_type_is_415(client, kind):
    answer = client.post("/v1/transactions", "{}", headers={"Content-Type": kind})
    assert answer.status == 415 and answer.problem == "unsupported-media-type"


def test_json_with_a_charset_is_json(client):
    answer = client.post(
        "/v1/transactions", "{}", headers={"Content-Type": "Application/JSON; charset=utf-8"}
    )
    assert answer.status == 201
    answer = client.post(
        "/v1/transactions", "{}", headers={"Content-Type": 'application/json; charset="UTF-8"'}
    )
    assert answer.status == 201


@pytest.mark.parametrize("query", ["state=active%00x", "participant=%zz", "participant=%", "%00=1"])
def test_a_query_that_cannot_be_decoded_is_refused(client, query):
    answer = client.get(f"/v1/transactions?{query}")
    assert answer.status == 400 and answer.problem == "invalid-request", answer
    assert "two hexadecimal digits" in answer.json["detail"]


@pytest.mark.parametrize("size", [3 << 20, 40 << 20])
def test_a_body_that_is_too_long_is_413(world, size):
    vowd = world.vowd()
    client = Client(vowd.url)
    body = json.dumps({"metadata": {"a": "x" * size}})
    try:
        answer = client.post("/v1/transactions", body)
        assert answer.status == 413 and answer.problem == "body-too-large"
    except (ConnectionError, http.client.HTTPException):
        pass  # it may hang up on a client that goes on sending
    assert vowd.client.get("/healthz").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "?state=sleeping",
        "?limit=0",
        "?limit=x",
        "?limit=100000000",
        "?cursor=x",
        "?colour=red",
        "?older_than_ms=-1",
        "?heuristic=perhaps",
    ],
)
def test_a_wrong_filter_is_refused_and_named(client, path):
    answer = client.get("/v1/transactions" + path)
    assert answer.status == 400, answer
    assert path[1:].partition("=")[0] in answer.json["detail"], answer


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"transactions": "x"},
        {"transactions": ["x"]},
        {"transactions": [1]},
        {"transactions": None},
    ],
)
def test_a_wrong_bulk_question_is_refused(client, body):
    assert client.post("/v1/outcomes", body).status == 400


def test_a_bulk_question_has_a_limit(client):
    answer = client.post("/v1/outcomes", {"transactions": [NOBODY] * 1001})
    assert answer.status == 422 and answer.problem == "limit-exceeded", answer


@pytest.mark.parametrize(
    "body",
    [
        {"outcome": "aborted"},
        {"outcome": "aborted", "reason": ""},
        {"outcome": "maybe", "reason": "x"},
        {"outcome": "aborted", "reason": "x", "branch": 0},
        {"outcome": "aborted", "reason": "x", "branch": -1},
        {"reason": "x"},
    ],
)
def test_a_wrong_resolve_is_refused(client, body):
    answer = client.post(f"/v1/transactions/{client.begin()}/resolve", body)
    assert answer.status == 400 and answer.problem == "invalid-request", answer


def test_ten_thousand_branches_are_refused_or_done_and_never_break_it(world):
    vowd, a = world.vowd(), world.toy()
    branches = [{"url": a.url} for _ in range(10000)]
    answer = vowd.client.post("/v1/transactions", {"branches": branches, "commit": True})
    assert answer.status == 422 and answer.problem == "limit-exceeded", answer
    assert "1000" in answer.json["detail"], "the limit is named"
    assert a.messages == [] and vowd.client.list() == []
    id = vowd.client.begin()
    refused = None
    for _ in range(2000):
        answer = vowd.client.post(f"/v1/transactions/{id}/branches", {"url": a.url})
        if answer.status != 201:
            refused = answer
            break
    assert refused is None or (refused.status == 422 and refused.problem == "limit-exceeded")
    count = len(vowd.client.show(id)["branches"])
    assert_committed(vowd.client.commit(id))
    wait_until(lambda: a.count("commit", id) >= count, "all branches are told", 60)
    vowd.wait_state(id, "committed", seconds=60)


RAW = [
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 100000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(5000)) + b"\r\n",
    b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 10\r\n\r\n{}",
]


@pytest.mark.parametrize("data", RAW, ids=range(len(RAW)))
def test_bytes_that_are_not_http_harm_nobody(world, data):
    vowd = world.vowd()
    host, _, port = vowd.address.rpartition(":")
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.settimeout(0.5)
        try:
            connection.sendall(data)
            connection.recv(65536)
        except OSError:
            pass
    assert vowd.client.begin()


AMBIGUOUS = {
    "Content-Length: 2\r\nContent-Length: 60": "may each stand there once",
    "Content-Length: 2\r\nTransfer-Encoding: chunked": "exclude each other",
    "transfer-encoding: chunked\r\ncontent-length: 2": "exclude each other",
    "Transfer-Encoding: gzip, chunked": "can only be chunked",
    "Transfer-Encoding: identity": "can only be chunked",
    "Content-Length: 2\r\nIdempotency-Key : a": "ends with a space",
    "Content-Length: 2\r\nIdempotency-Key: a\r\nidempotency-key: b": "may each stand there once",
}


@pytest.mark.parametrize("headers", AMBIGUOUS)
def test_headers_that_two_readers_take_for_different_requests_are_refused(world, headers):
    vowd = world.vowd()
    start = b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    begin = start + b"Content-Length: 2\r\n\r\n{}"
    host, _, port = vowd.address.rpartition(":")
    with socket.create_connection((host, int(port)), 20) as connection:
        connection.sendall(start + headers.encode() + b"\r\n\r\n{}" + begin)
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 400 ") and answer.count("HTTP/1.1") == 1, answer
    assert '"type":"urn:vow:invalid-request"' in answer and AMBIGUOUS[headers] in answer
    assert vowd.status()["totals"]["begun"] == 0


def test_a_client_that_hangs_up_leaves_nothing_behind(world):
    vowd, a = world.vowd(), world.toy()
    before = vowd.status()
    host, _, port = vowd.address.rpartition(":")
    body = json.dumps({"branches": [{"url": a.url}], "commit": True}).encode()
    request = (
        b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    for _ in range(30):
        with socket.create_connection((host, int(port)), 5) as connection:
            connection.sendall(request + body)
    for _ in range(30):
        with socket.create_connection((host, int(port)), 5) as connection:
            connection.sendall(request)
    wait_until(
        lambda: len(vowd.client.list(state="committed")) == 30, "those that came whole are done", 20
    )
    assert before.keys() == vowd.status().keys()
