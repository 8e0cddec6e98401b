"""vowctl without a daemon: help, manual and completion agree with each other, the command line is
checked before anything happens, and what is no vowd is recognised."""

import http.server
import json
import os
import pathlib
import re
import subprocess
import threading

import pytest
from vowtest import ctl
from vowtest.process import program

ROOT = pathlib.Path(__file__).resolve().parents[2]
MANUAL = ROOT / "deploy" / "man" / "vowctl.1"
ID = "0190f2c4-7a1b-7c3d-8e4f-5a6b7c8d9e0f"


def commands():
    """{name: its options}, as the program's own help tells."""
    overview = ctl.run("help").fine().out
    section = overview.split("Commands:\n")[1].split("\n\n")[0]
    names = re.findall(r"^  (\w+) ", section, re.M)
    assert len(names) > 10
    return {name: re.findall(r"--([\w-]+)", options_of(name)) for name in names}


def options_of(name):
    text = ctl.run("help", name).fine().out
    return text.split("Options:\n")[1].split("\n\nExamples:")[0]


COMMANDS = commands()


def plain_manual():
    return MANUAL.read_text().replace(r"\-", "-").replace(r"\fB", "").replace(r"\fR", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_how_it_is_used(name):
    text = ctl.run("help", name).fine().out
    assert text.startswith(f"Usage: vowctl {name}")
    assert f"  vowctl {name}" in text or f"(vowctl {name}" in text, "an example of it"
    assert ctl.run(name, "--help").fine().out == text
    assert ctl.run(name, "-h", "whatever", "else").fine().out == text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_manual_knows_each_command_and_option(name):
    manual = plain_manual()
    assert re.search(rf"^{name}\b", manual, re.M), f"{name} has no paragraph"
    for option in COMMANDS[name]:
        assert f"--{option}" in manual, f"--{option} of {name}"


def test_the_manual_knows_each_exit_code():
    manual = plain_manual().split(".SH EXIT STATUS")[1].split(".SH ENVIRONMENT")[0]
    codes = re.findall(r"^  (\d)  ", ctl.run("help").out, re.M)
    assert codes == [str(n) for n in range(10)]
    for code in codes:
        assert re.search(rf"^\.B {code}$", manual, re.M), code


@pytest.mark.parametrize("page", ["vowctl.1", "vowd.8", "vowd.conf.5"])
def test_the_manual_is_well_formed(page):
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", str(ROOT / "deploy" / "man" / page)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_each_command_and_option(shell):
    script = ctl.run("completion", shell).fine().out
    for name, options in COMMANDS.items():
        assert re.search(rf"\b{name}\b", script), name
        part = re.search(rf"^    {name}\)\n.*?( ;;|^      ;;)", script, re.M | re.S)
        assert part, f"{shell}: no case for {name}"
        for option in options:
            assert f"--{option}" in part[0], f"{shell}: --{option} of {name}"


def complete(*words):
    """What bash offers for the last of the words."""
    script = ctl.run("completion", "bash").out + (
        f"COMP_WORDS=({' '.join(repr(w) for w in ('vowctl', *words))})\n"
        f"COMP_CWORD={len(words)}\n_vowctl\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == "", done.stderr
    return done.stdout.split()


def test_bash_completes_commands_options_and_values():
    assert complete("") == list(COMMANDS)
    assert complete("re") == ["resolve", "recover", "reconcile", "restore"]
    assert set(complete("list", "--")) == {f"--{o}" for o in COMMANDS["list"]}
    assert complete("list", "--st") == ["--state"]
    assert complete("list", "--state", "ab") == ["aborting", "aborted"]
    assert complete("--url", "http", "show", "--l") == ["--log"]
    assert complete("help", "ch") == ["check"]
    assert complete("completion", "") == ["bash", "zsh"]
    assert complete("show", "") == [] and complete("list", "--limit", "") == []


def test_bash_completes_files(tmp_path):
    (tmp_path / "vow.log").touch()
    assert complete("check", "--log", f"{tmp_path}/v") == [f"{tmp_path}/vow.log"]
    assert complete("backup", f"{tmp_path}/v") == [f"{tmp_path}/vow.log"]


def test_the_version_is_told():
    out = ctl.run("--version").fine().out
    assert re.fullmatch(r"vowctl \d+\.\d+\.\d+\n", out)
    assert ctl.run("list", "-V").out == out


USAGE = [
    ((), "a command is missing"),
    (("lits",), "did you mean list?"),
    (("list", "--sate", "aborted"), "did you mean --state?"),
    (("list", "--limit", "0"), "from 1 to"),
    (("list", "--older-than", "5"), "--older-than must be a duration"),
    (("list", "--state", "done"), "--state must be active, preparing"),
    (("show", "123"), '"123" is not a transaction id'),
    (("show",), "show needs ID"),
    (("resolve", ID, "--outcome", "committed", "--yes"), "resolve needs --reason TEXT"),
    (("resolve", ID, "--reason", "x", "--yes"), "resolve needs --outcome OUTCOME"),
    (("forget", ID, "--yes"), "forget needs --reason TEXT"),
    (("forget", ID, "--reason", "", "--yes"), "--reason must not be empty"),
    (("list", "--url", "localhost:7800"), "cannot be used"),
    (("list", "--url", "http://127.0.0.1:1", "--log", "x"), "exclude each other"),
    (("check",), "check needs --log FILE"),
    (("backup", "relative/path"), "not an absolute path"),
    (("completion", "fish"), 'no completion for "fish"'),
    (("help", "nothing"), '"nothing" is not a command'),
]


@pytest.mark.parametrize("arguments, words", USAGE, ids=[" ".join(a) or "-" for a, _ in USAGE])
def test_what_is_wrong_with_the_line_is_said_before_anything_is_sent(arguments, words):
    result = ctl.run(*arguments).refused(ctl.USAGE, words)
    assert result.out == "" and result.err.count("\n") == 2, result


@pytest.mark.parametrize("act", ["commit", "abort", "resolve", "forget"])
def test_dangerous_acts_are_refused_without_a_terminal_and_without_yes(act):
    more = {
        "resolve": ("--outcome", "aborted", "--reason", "r"),
        "forget": ("--reason", "r"),
    }.get(act, ())
    result = ctl.run(act, ID, *more, "--url", "http://127.0.0.1:1")
    result.refused(ctl.USAGE, "asks before it acts", "--yes")


def test_a_daemon_that_is_not_there_is_told_from_one_that_does_not_answer():
    result = ctl.run("status", "--url", "http://127.0.0.1:1")
    result.refused(ctl.UNREACHABLE, "http://127.0.0.1:1 cannot be reached", "VOW_URL")
    result = ctl.run("status", VOW_URL="http://127.0.0.1:1/")
    result.refused(ctl.UNREACHABLE, "http://127.0.0.1:1 cannot be reached")
    ctl.run("watch", "--url", "http://127.0.0.1:1").refused(ctl.UNREACHABLE)


class Imposter:
    """Something that answers HTTP at the address, and is no vowd, or a strange one."""

    def __init__(self, answers):
        self.answers, self.requests = answers, []
        imposter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length", 0))
                imposter.requests.append((self.command, self.path, self.rfile.read(length)))
                status, kind, body = imposter.answers(self.path)
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()

    def run(self, *arguments, **options):
        return ctl.run(*arguments, "--url", self.url, **options)


PROBLEM = "application/problem+json"


def problem(slug, status, detail="the reason"):
    return {"type": f"urn:vow:{slug}", "title": "t", "status": status, "detail": detail}


STRANGE = {
    "a web page": (200, "text/html", b"<html>hello</html>"),
    "not JSON": (200, "application/json", b"{"),
    "nothing": (200, "application/json", b""),
    "another shape": (200, "application/json", {"hello": 1}),
    "another type": (200, "application/json", [1, 2]),
    "an id that is none": (200, "application/json", {"id": "x", "state": "active"}),
    "404 of a web server": (404, "text/html", b"not found"),
    "404 in JSON": (404, "application/json", {"error": "nope"}),
    "a problem of somebody else": (404, PROBLEM, {"type": "about:blank", "status": 404}),
    "500 without a body": (500, "text/plain", b""),
    "a route that is missing": (404, PROBLEM, problem("route-not-found", 404)),
}
CALLS = [
    ("status",),
    ("list",),
    ("show", ID),
    ("participants",),
    ("backup", "/tmp/none"),
    ("abort", ID, "--yes"),
    ("watch",),
]


@pytest.mark.parametrize("strange", STRANGE)
def test_what_is_no_vowd_is_recognised(strange):
    with Imposter(lambda path: STRANGE[strange]) as imposter:
        for arguments in CALLS:
            # An act that was not refused may have been done.
            open_end = arguments[0] in ("abort", "backup") and not strange.startswith("404")
            unknown = open_end and strange != "a problem of somebody else"
            unknown = unknown and strange != "a route that is missing"
            code, words = (ctl.ATTENTION, "it is not known") if unknown else (ctl.UNREACHABLE, "")
            result = imposter.run(*arguments)
            result.refused(code, "does not speak as vowd does", imposter.url, words)


def txn(id=ID, state="committing", **more):
    return {"id": id, "state": state, "created": "2026-01-31T12:00:00.000Z", "branches": [], **more}


def pages(sizes):
    """A daemon whose list has pages of these sizes; empty ones are allowed."""

    def answer(path):
        page = int(re.search(r"cursor=p(\d+)", path)[1]) if "cursor" in path else 0
        first = sum(sizes[:page])
        ids = [f"0190f2c4-7a1b-7c3d-8e4f-{first + n:012x}" for n in range(sizes[page])]
        body = {"transactions": [txn(id) for id in ids]}
        if page + 1 < len(sizes):
            body["next_cursor"] = f"p{page + 1}"
        return 200, "application/json", body

    return answer


def test_a_list_goes_on_through_its_pages_also_through_empty_ones():
    with Imposter(pages([2, 0, 3])) as daemon:
        assert len(daemon.run("list").fine().lines) == 1 + 5
        document = daemon.run("list", "--all", "--json").fine().json
        assert len({one["id"] for one in document["transactions"]}) == 5
        assert set(document) == {"transactions"}
        assert "limit=50" in daemon.requests[0][1]
        assert "limit=48" in daemon.requests[1][1], "what is left of the limit"


def test_a_list_that_is_cut_says_where_it_goes_on():
    with Imposter(pages([2, 3])) as daemon:
        document = daemon.run("list", "--limit", "2", "--json").fine().json
        assert len(document["transactions"]) == 2 and document["next_cursor"] == "p1"
        assert len(daemon.requests) == 1


def test_a_list_that_does_not_move_on_is_given_up():
    page = {"transactions": [], "next_cursor": "p1"}
    with Imposter(lambda path: (200, "application/json", page)) as daemon:
        daemon.run("list").refused(ctl.UNREACHABLE, "its list does not move on")
        assert len(daemon.requests) == 2


def test_filters_are_passed_on_as_they_are_meant():
    with Imposter(lambda path: (200, "application/json", {"transactions": []})) as daemon:
        filters = ("--state", "aborted", "--older-than", "5m", "--heuristic")
        daemon.run("list", "--participant", "http://h/a b&c", *filters)
        path = daemon.requests[0][1]
        assert "participant=http%3A%2F%2Fh%2Fa%20b%26c" in path
        for part in ("state=aborted", "older_than_ms=300000", "heuristic=true"):
            assert part in path


def test_nothing_that_others_chose_reaches_the_terminal_as_control():
    evil = "\x1b]0;owned\x07\x9b31m\r\n\u202egnp.exe"
    texts = dict.fromkeys(("name", "url", "vote", "outcome", "last_error"), evil)
    branch = {"branch": 1, "state": "preparing", "attempts": 1, **texts}
    entry = {"time": "2026-01-31T12:00:00.000Z", "kind": evil, "detail": evil}
    texts = {"reason": evil, "heuristic": evil, "metadata": {evil: evil}}
    bad = txn(state="aborted", branches=[branch], history=[entry], **texts)
    for arguments, body in ((("list",), {"transactions": [bad]}), (("show", ID), bad)):
        with Imposter(lambda path, body=body: (200, "application/json", body)) as daemon:
            out = daemon.run(*arguments).fine().out
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out), repr(out)
            assert "owned" in out
    with Imposter(lambda path: (409, PROBLEM, problem("illegal-state", 409, evil))) as daemon:
        err = daemon.run("abort", ID, "--yes").refused(ctl.REFUSED, "owned").err
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", err), repr(err)


PROBLEMS = [
    ("transaction-aborted", 409, ctl.ABORTED),
    ("illegal-state", 409, ctl.REFUSED),
    ("heuristic-outcome", 409, ctl.ATTENTION),
    ("unknown-transaction", 404, ctl.NOT_FOUND),
    ("loading", 503, ctl.UNREACHABLE),
    ("draining", 503, ctl.UNREACHABLE),
    ("overloaded", 503, ctl.UNREACHABLE),
    ("log-full", 507, ctl.FAILED),
    ("internal-error", 500, ctl.FAILED),
    ("quarantined", 503, ctl.ATTENTION),
]


@pytest.mark.parametrize("slug, status, code", PROBLEMS)
def test_each_problem_has_its_exit_code_and_its_document(slug, status, code):
    body = problem(slug, status)
    with Imposter(lambda path: (status, PROBLEM, body)) as daemon:
        result = daemon.run("commit", ID, "--yes").refused(code, "the reason")
        assert result.out == "" and result.err.count("\n") == 2
        assert daemon.run("commit", ID, "--yes", "--json").refused(code).json == body


def test_a_commit_whose_outcome_is_not_known_yet_is_no_success():
    with Imposter(lambda path: (202, "application/json", txn(state="preparing"))) as daemon:
        result = daemon.run("commit", ID, "--yes").refused(ctl.ATTENTION, "not known yet")
        assert result.out == f"{ID} preparing\n"


def test_json_is_passed_on_unchanged():
    body = b'{"id": "%s",  "state":"active", "branches":[] ,"new":[1.50]}' % ID.encode()
    with Imposter(lambda path: (200, "application/json", body)) as daemon:
        assert daemon.run("show", ID, "--json").fine().out == body.decode() + "\n"


def test_the_bodies_of_acts_are_what_the_interface_wants():
    with Imposter(lambda path: (200, "application/json", txn(state="committing"))) as daemon:
        how = ("--outcome", "committed", "--branch", "2", "--reason", 'ö "x"', "--yes")
        daemon.run("resolve", ID.upper(), *how).fine()
        daemon.run("forget", ID, "--reason", "done", "--yes").fine()
        daemon.run("abort", ID, "--yes").fine()
        (m1, p1, b1), (m2, p2, b2), (m3, p3, b3) = daemon.requests
        assert (m1, p1) == ("POST", f"/v1/transactions/{ID}/resolve")
        assert json.loads(b1) == {"outcome": "committed", "branch": 2, "reason": 'ö "x"'}
        assert p2.endswith("/forget") and json.loads(b2) == {"reason": "done"}
        assert p3.endswith("/abort") and b3 == b""


def test_a_daemon_that_hangs_is_given_up_after_the_timeout():
    released = threading.Event()

    def hang(path):
        released.wait(60)
        return 200, "application/json", {}

    with Imposter(hang) as daemon:
        result = daemon.run("status", "--timeout", "200ms")
        released.set()
        result.refused(ctl.UNREACHABLE, "no answer", "--timeout")


def test_colours_are_for_terminals_that_want_them():
    with Imposter(lambda path: (200, "application/json", {"transactions": [txn()]})) as daemon:
        wanted = ({}, True), ({"NO_COLOR": ""}, True)
        unwanted = ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)
        for variables, coloured in wanted + unwanted:
            with ctl.Terminal("list", "--url", daemon.url, **variables) as terminal:
                assert terminal.end() == 0
                assert ("\x1b[" in terminal.out) == coloured, (variables, terminal.out)
        assert "\x1b" not in daemon.run("list").out


def test_a_long_note_is_cut_to_the_terminal_and_only_there():
    reason = "süß " * 100
    body = {"transactions": [txn(state="aborted", reason=reason)]}
    with Imposter(lambda path: (200, "application/json", body)) as daemon:
        with ctl.Terminal("list", "--url", daemon.url, width=110, NO_COLOR="1") as terminal:
            assert terminal.end() == 0
            row = terminal.out.splitlines()[1]
            assert len(row) == 110 and row.endswith("…"), row
        assert reason in daemon.run("list").out


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path):
    with Imposter(pages([400] * 20)) as daemon:
        line = f"{program('vowctl')} list --all --url {daemon.url} 2>{tmp_path}/err"
        done = subprocess.run(
            ["bash", "-c", f"{line} | head -1; exit ${{PIPESTATUS[0]}}"],
            capture_output=True,
            text=True,
            timeout=60,
            env=ctl.environment(),
        )
        assert done.returncode == 0 and done.stdout.startswith("ID ")
        assert (tmp_path / "err").read_text() == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("command", ["help", "help resolve", "completion bash", "completion zsh"])
def test_output_that_cannot_be_written_is_a_failure(command):
    """Whether it fits into the buffer or not."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [program("vowctl"), *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == ctl.FAILED and "No space left" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("command", ["list --all", "list --all --json"])
def test_a_long_list_that_cannot_be_written_ends_there_and_says_why(command):
    with Imposter(pages([400] * 20)) as daemon, open("/dev/full", "w") as full:
        done = subprocess.run(
            [program("vowctl"), *command.split(), "--url", daemon.url],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env=ctl.environment(),
        )
        assert done.returncode == ctl.FAILED and "No space left" in done.stderr, done
        assert len(daemon.requests) == 1, "the rest is not worth asking for"


def test_a_closed_standard_output_is_a_failure_too():
    with Imposter(pages([1])) as daemon:
        done = subprocess.run(
            ["sh", "-c", f"exec {program('vowctl')} list --url {daemon.url} >&-"],
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env=ctl.environment(),
        )
    assert done.returncode == ctl.FAILED
    assert done.stderr.startswith("vowctl: standard output cannot be written")
