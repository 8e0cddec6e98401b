"""Between vowctl and vowd a network does to each request what networks do: vowctl ends in time,
says "it is not known" of what may have been done and 3 of what it only wanted to see, and the
same again does no harm."""

import http.server
import threading
import time
import urllib.parse

import pytest
from vowtest import assert_committed, ctl, proxy, toy, transaction_of, wait_until
from vowtest.waiting import SLOWNESS

ANSWERED = ("twice", "slow")
TIMEOUT = "1500ms"


class Line:
    """vowctl with the proxy's address."""

    def __init__(self, world, fault):
        self.vowd, self.toys = world.vowd(), world.two_toys()
        self.proxy = world.proxy(lambda: self.vowd.address)
        self.name, self.fault = fault, proxy.FAULTS[fault]

    def run(self, *arguments):
        return ctl.run(*arguments, "--url", self.proxy.url)

    def struck(self, *arguments):
        """The command whose next request the fault strikes."""
        self.proxy.script(proxy.ANY, self.fault, times=1)
        began = time.monotonic()
        result = self.run(*arguments, "--timeout", TIMEOUT)
        assert time.monotonic() - began < 10 * SLOWNESS, f"it took too long: {result}"
        self.proxy.heal()
        return result

    def undecided(self):
        id = self.vowd.client.begin()
        for one in self.toys:
            self.vowd.client.enlist(id, one.url)
        return id


@pytest.fixture(params=proxy.FAULTS)
def line(world, request):
    return Line(world, request.param)


def test_what_only_looks_is_told_that_it_cannot_be_seen_now(line):
    id = assert_committed(line.vowd.client.one_shot([one.url for one in line.toys]))["id"]
    for command in ("status", "list", f"show {id}", "participants", "watch --count 1"):
        result = line.struck(*command.split())
        if line.name in ANSWERED:
            result.fine()
        else:
            result.refused(ctl.UNREACHABLE, line.proxy.url)
            assert result.out == "", "nothing is shown that is not known"
        line.run(*command.split()).fine()


def acted(line, *command):
    """What came of an act, and of the same again."""
    result = line.struck(*command)
    if line.name in ANSWERED:
        assert result.code == ctl.OK or line.name == "twice", result
    else:
        result.refused(ctl.ATTENTION, "it is not known whether", line.proxy.url)
        assert result.out == "", "no outcome is told"
    return line.run(*command)


def test_a_commit_whose_answer_is_lost_is_no_failure_and_no_success(line):
    id = line.undecided()
    acted(line, "commit", id, "--yes").fine()
    line.vowd.wait_state(id, "committed")


def test_an_abort_whose_answer_is_lost_is_asked_again(line):
    id = line.undecided()
    acted(line, "abort", id, "--yes").fine()
    line.vowd.wait_state(id, "aborted")


def test_what_an_operator_decides_is_decided_once(line):
    id = line.undecided()
    how = ("--outcome", "aborted", "--reason", "r", "--yes")
    again = acted(line, "resolve", id, *how)
    assert again.code in (ctl.OK, ctl.REFUSED), again
    line.vowd.wait_state(id, "aborted")


def test_what_an_operator_forgets_is_forgotten(line):
    line.toys[0].script("commit", toy.answer(200, {"outcome": "heuristic-abort"}))
    urls = [one.url for one in line.toys]
    id = transaction_of(line.vowd.client.one_shot(urls))["id"]
    wait_until(lambda: line.vowd.client.show(id).get("heuristic"), "it is recorded")
    line.vowd.wait_state(id, "committed")
    again = acted(line, "forget", id, "--reason", "r", "--yes")
    assert again.code in (ctl.OK, ctl.REFUSED), again
    wait_until(lambda: line.vowd.client.show(id).get("forgotten"), "it is forgotten")


def test_a_backup_whose_answer_is_lost_is_there_or_is_made(line, tmp_path):
    path = tmp_path / "backup.log"
    again = acted(line, "backup", path)
    if again.code == ctl.UNREACHABLE:  # the first came late and is being made
        again.refused(ctl.UNREACHABLE, "another backup is under way", "Try again in a moment")
        wait_until(lambda: line.run("backup", path).code == ctl.REFUSED, "the first is made")
    else:
        assert again.code in (ctl.OK, ctl.REFUSED), again
    ctl.run("check", "--log", path).fine()


class Pages(http.server.BaseHTTPRequestHandler):
    """A daemon with three pages, which never ends a connection by itself."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer leaves in one piece

    def log_message(self, format, *arguments):
        pass

    def do_GET(self):
        page = int(urllib.parse.parse_qs(self.path.partition("?")[2]).get("cursor", ["0"])[0]) + 1
        cursor = f',"next_cursor":"{page}"' if page < 3 else ""
        text = f'{{"transactions":[]{cursor}}}'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        self.wfile.flush()


def test_an_answer_that_is_there_at_once_is_not_waited_for(world):
    """It then comes in the turn of the loop that sent the request. Whoever waits for more waits
    for ever: the limit is no measure of speed."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    faults = {**world.faults().environment, "FAULTS_ANSWERED": "1"}
    try:
        told = ctl.run("list", "--all", "--url", url, timeout=120, **faults).fine()
        assert told.out == "no transactions\n"
    finally:
        server.shutdown()
        server.server_close()
