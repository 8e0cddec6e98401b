"""The running programs and the OpenAPI files say the same: schemathesis generates requests from the
files, valid ones and invalid ones, and holds every answer against them."""

import os
import pathlib
import re
import subprocess

import pytest
from vowtest import Client, schema, toy, transaction_of
from vowtest.process import Process, program

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ["VOW_BUILD"])
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
ID = "01900000-0000-7000-8000-000000000001"
EXAMPLES = os.environ.get("VOW_OPENAPI_EXAMPLES", "30")


def install(pip):
    """What requirements.txt names; where that cannot be had, a sentence says what to do."""
    requirements = HERE / "requirements.txt"
    done = subprocess.run(
        [pip, "install", "-q", "--disable-pip-version-check", "-r", str(requirements)],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it did not say why"])[-1]
        pytest.fail(
            "schemathesis, which generates the requests of this test, is no Debian package and "
            f"comes from PyPI, once for each build folder; pip could not install it: {last}. Run "
            "this test again with a network, or name a mirror in PIP_INDEX_URL; no other test "
            "needs either.",
            pytrace=False,
        )


def test_without_pypi_a_sentence_says_what_is_missing():
    with pytest.raises(pytest.fail.Exception, match="comes from PyPI.*Run this test again"):
        install("/bin/false")


@pytest.fixture(scope="session")
def schemathesis():
    """The command `st` of a virtual environment in the build folder, installed once."""
    venv = BUILD / "venv"
    command = venv / "bin" / "st"
    wanted = (HERE / "requirements.txt").read_text()
    marker = venv / "installed"
    if not (marker.exists() and marker.read_text() == wanted):
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", str(venv)], check=True)
        install(str(venv / "bin" / "pip"))
        marker.write_text(wanted)
    return command


def run_schemathesis(command, file, url, folder, ids=()):
    """Same seed, same requests: a failure can be repeated."""
    done = subprocess.run(
        [
            str(command),
            "run",
            str(file),
            "--base-url",
            url,
            "--checks",
            "all",
            "--data-generation-method",
            "all",
            "--hypothesis-seed",
            "1",
            "--hypothesis-max-examples",
            EXAMPLES,
            "--hypothesis-suppress-health-check",
            "all",
            "--hypothesis-database",
            "none",
            "--request-timeout",
            "20000",
            "--workers",
            "1",
            # It takes harmless headers and queries for wrong data; openapi_hooks.py has our own
            # check of what is wrong in bodies, and says more.
            "--exclude-checks",
            "negative_data_rejection",
        ],
        env={
            **os.environ,
            "SCHEMATHESIS_HOOKS": "openapi_hooks",
            "PYTHONPATH": str(HERE),
            "PYTHONHASHSEED": "0",
            "VOW_BACKUP_FOLDER": str(folder),
            "VOW_IDS": " ".join(ids),
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout[-15000:] + done.stderr[-2000:]


def test_vowd_is_what_its_openapi_file_says(world, schemathesis, tmp_path):
    vowd = world.vowd(prepare_timeout_ms=100, request_timeout_ms=100, transaction_timeout_ms=2000)
    backups = tmp_path / "backups"
    backups.mkdir()
    a, b = world.two_toys()
    b.script("commit", toy.answer(503))
    ids = [vowd.client.begin(timeout_ms=600000) for _ in range(4)]
    ids += [transaction_of(vowd.client.one_shot([one.url]))["id"] for one in (a, b)]
    a.script("commit", toy.answer(200, {"outcome": "heuristic-abort"}))
    ids.append(transaction_of(vowd.client.one_shot([a.url, b.url]))["id"])
    run_schemathesis(schemathesis, schema.OPENAPI, vowd.url, backups, ids)
    assert vowd.client.begin(), "it still works"


def test_a_participant_is_what_its_openapi_file_says(world, schemathesis, tmp_path):
    process = Process(tmp_path / "minimal.out")
    process.start([program("minimal"), tmp_path / "minimal.vow", "127.0.0.1:0"])
    try:
        match = process.wait_for_line(r"(127\.0\.0\.1:\d+)", "the participant listens")
        run_schemathesis(
            schemathesis, ROOT / "proto/openapi/participant.yaml", f"http://{match[1]}", tmp_path
        )
        assert process.running()
    finally:
        process.kill()
    assert not process.complaints()


def documented():
    """(path, methods) of the file."""
    for path, node in schema.document()["paths"].items():
        yield path, {method.upper() for method in node if method.upper() in METHODS}


def test_every_documented_route_is_served_with_its_methods_and_no_others(world):
    client = Client(world.vowd().url)
    for path, methods in documented():
        concrete = path.replace("{id}", ID)
        for method in METHODS:
            answer = client.request(method, concrete, check=False)
            if method in methods:
                routed = answer.status not in (404, 405) or answer.problem == "unknown-transaction"
                assert routed, f"{method} {path}: {answer}"
            else:
                assert (
                    answer.status == 405
                ), f"{method} {path} is answered and not documented: {answer}"
                allowed = {word.strip() for word in answer.headers["Allow"].split(",")}
                assert allowed - {"HEAD", "OPTIONS"} == methods, path


def test_every_path_in_the_source_is_documented():
    """The daemon's table of routes holds no path that the file does not have."""
    known = {path for path, _ in documented()}
    found = set()
    for source in (ROOT / "coordinator").rglob("*.c"):
        if "ctl" in source.parts:
            continue
        found |= set(
            re.findall(
                r'"(/(?:v1/[\w/{}-]+|healthz|readyz|metrics|openapi\.yaml))"', source.read_text()
            )
        )
    assert found, "the table of routes was found"
    normal = {re.sub(r"\{\w*\}|:\w+|\*", "{id}", path) for path in found}
    assert normal <= known | {"/v1/transactions/"}, normal - known
