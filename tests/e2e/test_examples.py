"""The SDK's examples against a real coordinator: the client finishes every transfer through kill -9
on both sides, a mounted participant enlists itself, the smallest participant counts."""

import re
import urllib.error
import urllib.request

import pytest
from vowtest import check_books, wait_until
from vowtest.process import Process, program

ACCOUNTS, BALANCE = 50, 1_000_000  # more than a fast machine can move in a test
MODES = pytest.mark.parametrize("mode", [(), ("--interactive",)], ids=["one-shot", "interactive"])


@pytest.fixture
def town(world):
    """vowd and two banks."""
    vowd = world.vowd(prepare_timeout_ms=6000, retry_max_ms=200)
    names = ("left", "right")
    return vowd, [world.bank(name, accounts=ACCOUNTS, balance=BALANCE) for name in names]


@pytest.fixture
def run(world, tmp_path):
    """Starts an example; all are ended with the test, and must have had no complaints."""
    processes = []

    def start(name, *arguments):
        process = Process(tmp_path / f"{name}-{len(processes)}.out")
        process.start([program(name), *map(str, arguments)])
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.running():
            assert process.stop() == 0, process.text()
        assert not process.complaints(), process.complaints()


def transfer(run, vowd, banks, *options):
    sides = ("--from", banks[0].url, "--to", banks[1].url)
    return run("transfer", "--coordinator", vowd.url, *sides, "--accounts", ACCOUNTS, *options)


def listens(process, name):
    return process.wait_for_line(r"(?P<url>http://127\.0\.0\.1:\d+)$", f"{name} listens")["url"]


def ask(url, body=None, headers=None):
    """(status, text) of a GET, or of a POST of the body."""
    request = urllib.request.Request(url, body and body.encode(), headers or {})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status, answer.read().decode()


@MODES
def test_transfers_commit_or_are_refused(town, run, mode):
    vowd, banks = town
    client = transfer(
        run, vowd, banks, "--count", 60, "--concurrency", 4, "--overdraw-every", 10, *mode
    )
    assert client.wait(60) == 0, client.text()
    assert "54 committed, 6 refused" in client.text()
    check_books(banks)


@MODES
def test_the_client_finishes_through_crashes(town, run, mode):
    vowd, banks = town
    client = transfer(run, vowd, banks, "--seconds", 4, "--concurrency", 4, *mode)
    for victim in (vowd, banks[0], vowd, banks[1]):
        moved = banks[1].sum()
        wait_until(lambda: banks[1].sum() != moved or not client.running(), "money moves", 20)
        victim.restart()
    assert client.wait(60) == 0, client.text()
    assert re.search(r"[1-9]\d* committed, 0 refused", client.text()), client.text()
    check_books(banks)


def test_the_client_gives_up_what_stays_locked(town, run):
    """Debit and credit are of one account: the second always meets the lock of the first."""
    vowd, banks = town
    sides = ("--from", banks[0].url, "--to", banks[0].url, "--accounts", 1)
    client = run("transfer", "--coordinator", vowd.url, *sides)
    assert client.wait(60) == 1, client.text()
    assert "is locked by" in client.text()
    assert "0 committed, 0 refused" in client.text()


@MODES
def test_the_client_says_what_is_wrong(town, run, mode):
    vowd, banks = town
    sides = ("--from", banks[0].url, "--to", "nowhere")
    client = run("transfer", "--coordinator", vowd.url, *sides, *mode)
    assert client.wait(60) == 1, client.text()
    assert re.search(r"^transfer: not an http.* URL that can be used: .*\w", client.text(), re.M)
    assert "1 failed" in client.text()


@pytest.mark.parametrize("threads", ["many", "-5", "1025"])
def test_a_bank_takes_no_such_number_of_threads(run, tmp_path, threads):
    listen = ("--listen", "127.0.0.1:0")
    bank = run("bank", "--db", tmp_path / "bank.db", *listen, "--threads", threads)
    assert bank.wait(60) == 2 and "--threads COUNT" in bank.text()


def test_a_mounted_participant_enlists_itself(world, run, tmp_path):
    vowd = world.vowd()
    arguments = ("--listen", "127.0.0.1:0", "--coordinator", vowd.url, "--log", tmp_path / "m.vow")
    shop = listens(run("mounted", *arguments), "mounted")
    assert ask(f"{shop}/orders", '{"item":"tea"}')[0] == 201
    for ending, stands in (("abort", False), ("commit", True)):
        id = vowd.client.begin()
        order = f'{{"item":"{ending}"}}'
        assert ask(f"{shop}/orders", order, {"Vow-Transaction": id})[0] == 202
        assert order not in ask(f"{shop}/orders")[1]
        end = vowd.client.commit if ending == "commit" else vowd.client.abort
        assert end(id).status == 200
        assert (order in ask(f"{shop}/orders")[1]) == stands
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"{shop}/orders", '{"item":"cut"}\0')
    assert refused.value.code == 400 and "cut" not in ask(f"{shop}/orders")[1]
    assert ask(f"{shop}/vow/in-doubt")[1] == '{"branches":[]}'
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"{shop}/vow/prepare")
    assert (refused.value.code, refused.value.headers["Allow"]) == (405, "POST")


def test_the_smallest_participant_counts(world, run, tmp_path):
    vowd = world.vowd()
    minimal = run("minimal", tmp_path / "minimal.vow", "127.0.0.1:0")
    url = listens(minimal, "minimal")
    for payload, status in ((5, 200), (0, 409), (7, 200)):
        assert vowd.client.one_shot([{"url": url, "payload": payload}]).status == status
    wait_until(lambda: "the counter is 12" in minimal.text(), "it has counted", 10)
    minimal.kill()
