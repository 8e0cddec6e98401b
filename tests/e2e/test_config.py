"""Every option is a flag, a variable and a key of the file; what is wrong is named; signals do what
they should."""

import json
import os
import pathlib
import re
import signal
import socket
import threading
import time

import pytest
from vowtest import Client, assert_committed, toy, vowd_run, wait_until
from vowtest.process import program

SHIPPED = pathlib.Path(__file__).parents[2] / "deploy" / "config" / "vowd.conf"


def test_help_and_version_are_told_and_nothing_is_started():
    code, text = vowd_run("--help")
    assert code == 0 and "--listen" in text and "--log" in text and "--check-config" in text
    code, text = vowd_run("--version")
    assert code == 0 and re.search(r"\d+\.\d+\.\d+", text)


def test_every_option_of_the_help_is_in_the_commented_file():
    _, text = vowd_run("--help")
    options = set(re.findall(r"--([a-z][a-z-]+)", text))
    options -= {"help", "version", "check-config", "print-config", "config"}
    keys = set(re.findall(r"^#?\s?([a-z_]+)\s*=", SHIPPED.read_text(), re.M))
    assert {option.replace("-", "_") for option in options} == keys


def test_a_flag_beats_the_environment_and_that_beats_the_file(tmp_path):
    file = tmp_path / "vowd.conf"
    file.write_text(f"log = {tmp_path}/file.log\nprepare_timeout_ms = 1111\nretry_min_ms = 77\n")
    environment = {"VOW_PREPARE_TIMEOUT_MS": "2222", "VOW_RETRY_MAX_MS": "8888"}
    code, text = vowd_run(
        "--config", file, "--print-config", "--prepare-timeout-ms", 3333, environment=environment
    )
    assert code == 0, text
    for key, value in (("prepare_timeout_ms", 3333), ("retry_min_ms", 77), ("retry_max_ms", 8888)):
        assert re.search(rf"^{key} = {value}$", text, re.M), text


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--prepare-timeout-ms", "soon"], ["prepare_timeout_ms|prepare-timeout-ms", "soon"]),
        (["--prepare-timeout-ms", "-1"], ["prepare_timeout_ms|prepare-timeout-ms", "-1"]),
        (
            ["--prepare-timeout-ms", "99999999999999"],
            ["prepare_timeout_ms|prepare-timeout-ms", "99999999999999"],
        ),
        (["--retry-min-ms", "500", "--retry-max-ms", "100"], ["retry_m|retry-m", "500|100"]),
        (["--listen", "nowhere"], ["listen", "nowhere"]),
        (["--listen", "127.0.0.1:123456"], ["listen", "123456"]),
        (["--log-level", "loud"], ["log_level|log-level", "loud", "info"]),
        (["--advertise-url", "ftp://x"], ["advertise_url|advertise-url", "ftp://x"]),
        (["--no-such-option"], ["no-such-option"]),
        (["stray"], ["stray"]),
        (["--config", "/nonexistent/vowd.conf"], ["/nonexistent/vowd.conf"]),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(tmp_path, flags, words):
    code, text = vowd_run("--log", tmp_path / "vow.log", *flags)
    assert code == 2, (code, text)
    for word in words:
        assert re.search(word, text), f"{word} is not in: {text}"
    assert not (tmp_path / "vow.log").exists()


@pytest.mark.parametrize(
    "content, words",
    [
        ("colour = red\n", ["colour", "1"]),
        ("prepare_timeout_ms = soon\n", ["prepare_timeout_ms", "soon"]),
        ("log_level = info\nprepare_timeout_ms\n", ["2"]),
        ("log_level = in\0fo\n", ["line 1", "NUL"]),
        ("retry_min_ms = 7\0", ["line 1", "NUL"]),
        ("log_level = info\n" + "\0" * 5000, ["line 2", "NUL"]),
    ],
)
def test_a_wrong_line_of_the_file_is_named(tmp_path, content, words):
    file = tmp_path / "vowd.conf"
    file.write_text(content)
    code, text = vowd_run("--log", tmp_path / "vow.log", "--config", file, "--check-config")
    assert code == 2 and "vowd.conf" in text
    for word in words:
        assert word in text, text


def test_a_wrong_variable_is_named(tmp_path):
    code, text = vowd_run(
        "--log", tmp_path / "vow.log", "--check-config", environment={"VOW_RETRY_MIN_MS": "x"}
    )
    assert code == 2 and "retry_min_ms" in text.lower()


def test_the_shipped_configuration_is_valid_and_what_vowd_would_write():
    code, text = vowd_run("--check-config", "--config", SHIPPED)
    assert code == 0, text
    code, text = vowd_run("--print-config")
    assert code == 0 and text == SHIPPED.read_text()


def test_a_port_in_use_is_told_clearly(world):
    first = world.vowd()
    second = world.vowd(start=False, name="second")
    code, text = vowd_run("--listen", first.address, "--log", second.log)
    assert code == 1 and first.address in text and "in use" in text, text


def test_it_listens_where_it_says_also_on_ipv6(world):
    vowd = world.vowd(start=False)
    vowd.address = "[::1]:0"
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    vowd.start()
    assert vowd.address.startswith("[::1]:") and vowd.client.begin()


def test_sigterm_lets_open_work_finish_and_takes_no_more(world):
    vowd, (a, b) = world.vowd(prepare_timeout_ms=20000), world.two_toys()
    go = threading.Event()
    a.script("prepare", toy.gate(go))
    answers = []
    client = Client(vowd.url)
    asker = threading.Thread(target=lambda: answers.append(client.one_shot([a.url, b.url])))
    asker.start()
    wait_until(lambda: a.count("prepare"), "it is preparing")
    kept = Client(vowd.url)
    assert kept.get("/readyz").status == 200
    vowd.process.signal(signal.SIGTERM)

    def refused():
        answer = kept.post("/v1/transactions", {})
        return answer.status == 503 and answer.problem == "draining"

    wait_until(refused, "new transactions are refused")
    assert kept.get("/readyz").status == 503
    go.set()
    asker.join(20)
    assert_committed(answers[0])
    assert vowd.process.wait(15) == 0
    assert a.outcome(answers[0].json["id"]) == b.outcome(answers[0].json["id"]) == "committed"


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_at_every_moment_of_the_stop_change_nothing_about_its_end(world, again):
    """While it waits for what is open, while it closes the log, and until it is gone."""
    vowd, (a, b) = world.vowd(drain_timeout_ms=500), world.two_toys()
    b.script("commit", toy.answer(503))
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.process.signal(signal.SIGTERM)
    while vowd.process.running():
        vowd.process.signal(again)
        time.sleep(0.001)  # so that it is not busy with signals only
    assert vowd.process.wait() == 0
    b.unscript()
    vowd.start()
    vowd.wait_state(id, "committed")
    assert b.outcome(id) == "committed"


def test_sigterm_does_not_wait_for_ever_and_what_is_left_is_recovered(world):
    vowd, (a, b) = world.vowd(drain_timeout_ms=500), world.two_toys()
    b.script("commit", toy.answer(503))
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    vowd.client.begin()
    assert vowd.stop(10) == 0
    b.unscript()
    vowd.start()
    vowd.wait_state(id, "committed")
    assert b.outcome(id) == "committed"


def test_an_idle_daemon_stops_at_once(world):
    vowd = world.vowd()
    assert vowd.stop(5) == 0


def test_sighup_takes_up_what_can_be_reloaded(world, tmp_path):
    file = tmp_path / "vowd.conf"
    file.write_text("prepare_timeout_ms = 15000\n")
    vowd, (a, b) = world.vowd(start=False, config=file, prepare_timeout_ms=None), world.two_toys()
    vowd.start()
    file.write_text("prepare_timeout_ms = 300\nretry_min_ms = broken\n")
    vowd.reload()
    wait_until(lambda: "retry_min_ms" in vowd.process.text(), "the mistake is told")
    file.write_text("prepare_timeout_ms = 300\n")
    vowd.reload()
    a.script("prepare", toy.hang)

    def quick():
        before = a.count("prepare")
        answer = Client(vowd.url, timeout=2).one_shot(
            [a.url, b.url], headers={"Prefer": "respond-async"}
        )
        wait_until(lambda: a.count("prepare") > before, "it is asked")
        return a.received("prepare")[-1].body["timeout_ms"] <= 300 and answer.status == 202

    wait_until(quick, "the new timeout is used", 10)
    a.unscript()


def connects(where):
    with socket.socket() as probe:
        return probe.connect_ex(where) == 0


def test_sighup_while_it_starts_waits_for_its_turn(world):
    """It would end the process, and a service manager takes that for a good end."""
    vowd = world.vowd(start=False)
    where = ("127.0.0.1", vowd.port.number)
    for _ in range(5):
        vowd.launch()
        deadline = time.monotonic() + 60
        while not connects(where):  # without a pause: the log is opened soon
            assert time.monotonic() < deadline and vowd.process.running()
        vowd.reload()  # the port is open, the log is not yet
        vowd.process.wait_for_line("the configuration was read again", "it has its turn")
        vowd.wait_listening()
        assert vowd.stop() == 0


def test_log_lines_are_json_events_without_payloads(world):
    vowd, (a, b) = world.vowd(log_format="json", log_level="debug"), world.two_toys()
    b.script("prepare", toy.vote("abort", "no money"), times=1)
    secret = "a-secret-that-must-not-be-logged"
    for _ in range(2):
        vowd.client.one_shot([{"url": a.url, "payload": {"card": secret}}, b.url])
    vowd.stop()
    lines = [line for line in vowd.process.text().splitlines() if line]
    events = [json.loads(line) for line in lines]
    assert len(events) >= 2 and all({"time", "level", "event"} <= set(event) for event in events)
    for path in vowd.folder.iterdir():
        assert secret.encode() not in path.read_bytes(), f"the payload is in {path.name}"


def test_the_payload_is_not_shown_to_readers(world):
    vowd, a = world.vowd(), world.toy()
    answer = vowd.client.one_shot([{"url": a.url, "payload": {"card": "secret-number"}}])
    id = assert_committed(answer)["id"]
    assert "secret-number" not in answer.text
    assert "secret-number" not in vowd.client.get(f"/v1/transactions/{id}").text


def test_the_daemon_serves_its_own_api_description(world):
    vowd = world.vowd()
    answer = vowd.client.get("/openapi.yaml")
    assert answer.status == 200
    from vowtest.schema import OPENAPI

    assert answer.text == OPENAPI.read_text()


def test_health_readiness_status_and_metrics_answer(world):
    vowd, a = world.vowd(), world.toy()
    assert_committed(vowd.client.one_shot([a.url]))
    assert vowd.client.get("/healthz").status == 200
    assert vowd.client.get("/readyz").status == 200
    status = vowd.status()
    assert status["version"] and status["starts"] == 1 and status["log"]["position"] >= 1
    metrics = vowd.client.get("/metrics")
    assert metrics.headers.get_content_type() == "text/plain"
    names = set()
    for line in metrics.text.splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(r"[a-z_]+(\{[^}]*\})? -?[0-9.e+]+", line), line
            names.add(line.split("{")[0].split(" ")[0])
    assert all(name.startswith("vow_") for name in names) and len(names) >= 10


def test_without_standard_streams_no_file_takes_their_place(world):
    vowd, a = world.vowd(start=False), world.toy()
    command = ["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', program("vowd"), *vowd.flags()]
    vowd.process.start(command)
    vowd.client, where = Client(vowd.url), ("127.0.0.1", vowd.port.number)
    wait_until(lambda: socket.socket().connect_ex(where) == 0, "vowd listens")
    vowd.wait_ready()
    assert_committed(vowd.client.one_shot([a.url]))
    for number in range(3):
        assert os.readlink(f"/proc/{vowd.process.pid}/fd/{number}") == "/dev/null"
    assert vowd.stop() == 0
