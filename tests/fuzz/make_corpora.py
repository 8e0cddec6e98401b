#!/usr/bin/python3
"""Makes the inputs that the fuzzers start from: one folder a target, one file an input.

usage: make_corpora.py SOURCE OUT
"""

import pathlib
import random
import re
import shutil
import sys

URLS = (
    "http://127.0.0.1:7001",
    "https://Bank.Example:443/a/b/",
    "http://[::1]:80/x%20y",
    "http://user@host/",
    "ftp://host",
    "http://host:99999/?q#f",
)
IDS = ("01935e2a-7c3b-7000-8a51-3f1f6c0d9b11", "01935E2A-7C3B-4000-8A51-3F1F6C0D9B11")
LINES = ("plain", 'say "no" \\ \t\n\r', "é 日本 \u202e \ufeff \u200b", "\x1b[31mred")
JSON = ('"\\ud83d\\ude00"', '{"\\ud83d\\ude00":"\\u0041\\n"}', "[1,-0,1.5e3,1e999]", "[[[]],{}]")
DURATIONS = ("250ms", "1h30m", "2d", "90s")
MEDIA = ("application/json; charset=utf-8", "application/json ;a=b", "application/json;charset=x")

# What the log keeps.
RECORDS = (
    '[[1700000000000,0,60000],1,[[1,1,0,0,0,"a","http://a"]],[[0,1],[0,2,1]]]',
    '[[1700000000000,5,60000],2,[[1,3,1,0,1,"a","http://a"],[2,2,0,0,1,"b","http://b",'
    '{"last_error":"no route","last_error_at":"2023-11-14T22:13:20.500Z"}]],[[0,1],[3,6,1,1,1]]]',
    '[[1700000000000,9,60000],3,[[1,5,1,0,2,"a","http://a"]],[[0,1],[2,8,0,1,1]],'
    '{"delegated":true,"traceparent":"00-1-1-01","metadata":{"a":1.0}}]',
    '[[1700000000000,9,60000,9],4,[[1,6,1,1,2,"a","http://a"]],[[0,1],[8,10,1,1,4],[9,16]],'
    '{"idempotency_key":"k","request_hash":"000102030405060708090a0b0c0d0e0f"}]',
    '[[1700000000000,9,60000],4,[[1,9,1,4,2,"a","http://a",{"resolved":true}]],'
    '[[0,1,1,7,"by hand"]],{"heuristic":"abort","forgotten":true,"history_dropped":3}]',
    '[[1700000000000,9,60000],5,[[1,7,1,0,2,"a","http://a"]],[[0,8,0,1,"abort: no"]],'
    '{"reason":"no","presumed":true}]',
)
# As it kept it before format 7.
RECORD = (
    '{"id":"018bcfe5-6800-7000-8000-000000000001","state":"%s","created":"2023-11-14T22:13:20.000Z"'
    ',"updated":"2023-11-14T22:13:21.000Z","deadline":"2023-11-14T22:14:20.000Z",%s'
    '"metadata":{"a":1}'
    ',"idempotency_key":"k","request_hash":"000102030405060708090a0b0c0d0e0f","branches":[%s],'
    '"history":%s}'
)
# As it was in such a record, and as the API shows it.
COMPACT = '[[0,1],[100,6,1,2,"commit"],[200,16]]'
SHOWN = (
    '[{"time":"2023-11-14T22:13:20.000Z","kind":"begun"},'
    '{"time":"2023-11-14T22:13:20.100Z","kind":"vote","branch":1,"count":2,"detail":"commit"}]'
)
BRANCH = (
    '{"branch":%d,"name":"b%d","url":"http://b%d","state":"%s","vote":"%s",%s"attempts":2,'
    '"last_error":"no route","last_error_at":"2023-11-14T22:13:20.500Z"}'
)


def branch(number, state, vote, outcome=""):
    outcome = f'"outcome":"{outcome}",' if outcome else ""
    return BRANCH % (number, number, number, state, vote, outcome)


def records(history):
    ended = '"ended":"2023-11-14T22:13:22.000Z",'
    one, two = branch(1, "preparing", "commit"), branch(2, "prepared", "commit")
    odd = branch(1, "heuristic", "commit", "heuristic-abort")
    for state, members, branches in (
        ("active", "", branch(1, "enlisted", "commit")),
        ("preparing", "", f"{one},{two}"),
        ("preparing", '"delegated":true,', branch(1, "aborting", "commit")),
        ("committing", "", branch(1, "committing", "commit") + "," + two),
        ("committing", '"heuristic":"hazard",', branch(1, "unknown", "commit")),
        ("aborting", '"reason":"no",', branch(1, "aborting", "commit")),
        ("committed", ended, branch(1, "committed", "commit", "committed")),
        ("committed", '"heuristic":"abort",', odd),
        ("aborted", ended, branch(1, "aborted", "abort", "aborted")),
    ):
        yield RECORD % (state, members, branches, history)


def api():
    headers = "Content-Type: application/json\n"
    post = lambda path, body, more="": f"POST {path}\n{headers}{more}\n{body}"
    get = lambda path: f"GET {path}\n\n"
    begin = (
        '{"branches":[{"participant":"bank"},{"url":"http://x","name":"x","payload":{"a":1.50}}]%s}'
    )
    shot = begin % ',"commit":true,"timeout_ms":5000,"metadata":{"who":"me"}'
    all_of_them, at = "/v1/transactions", "/v1/transactions/@"
    yield [post(all_of_them, shot), get(at), get(at + "/outcome"), get(at + "/history?limit=2")]
    yield [post("/v1/transactions", shot, "Idempotency-Key: k\nPrefer: respond-async\n")] * 2
    yield [post("/v1/transactions", "{}"), post(at + "/branches", '{"participant":"other"}')] + [
        post(at + "/commit", ""),
        post(at + "/commit", ""),
    ]
    yield [post(all_of_them, begin % ""), "-" + post(at + "/commit", ""), post(at + "/abort", "")]
    yield ["?" + post(all_of_them, shot), get(at), get(at + "/outcome"), get(all_of_them)]
    yield [post(all_of_them, shot), get(at + "/outcome"), get(all_of_them + "?state=committed")]
    keyed = post(all_of_them, shot, "Idempotency-Key: old\n")
    yield [keyed, keyed.replace(": old", ": new"), keyed.replace("old", "new"), get(at)]
    traced = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n"
    yield [post(all_of_them, shot, traced), "~" + post(all_of_them, begin % "", traced), get(at)]
    same = '{"branches":[{"url":"http://x","name":"x"},{"url":"http://y","name":"x"}]}'
    yield [post(all_of_them, same), get(all_of_them), "GET " + at + "/outcome?seen=9.9\n\n"]
    yield ["+" + post(all_of_them, shot), "-" + post(all_of_them, shot)]
    yield ["~" + post(all_of_them, shot), "!~" + post(at + "/commit", ""), get(all_of_them)]
    later = post(all_of_them, shot, "Prefer: respond-async\n")
    yield ["=" + later, get(at), get(at + "/outcome"), get(all_of_them), get(at)]
    yield [get("/v1/transactions?state=committed&limit=5&participant=bank&heuristic=true&cursor=x")]
    yield [post("/v1/outcomes", '{"transactions":["01935e2a-7c3b-7000-8a51-3f1f6c0d9b11"]}')]
    yield [
        post("/v1/transactions", begin % ""),
        post(at + "/resolve", '{"outcome":"aborted","branch":1,"reason":"by hand"}'),
        post(at + "/forget", '{"reason":"seen"}'),
    ]
    plain = "/v1/participants /v1/status /healthz /readyz /metrics"
    yield [get(path) for path in plain.split()]
    yield [post("/v1/backup", '{"path":"/dev/null/backup"}'), "DELETE /v1/transactions\n\n"]


def config(source):
    def one(flags, variables, file):
        lists = [*flags, *variables]
        return bytes([len(flags) + 6 * len(variables)]) + "\n".join([*lists, file]).encode()

    sample = (source / "deploy/config/vowd.conf").read_text()
    set_lines = [line[1:] for line in sample.split("\n") if line.startswith("#") and " = " in line]
    yield one([], [], "\n".join(line for line in set_lines[:12]))
    yield one([], [], "listen = 127.0.0.1:0\nparticipant = bank=http://bank\nlog_level = debug\n")
    yield one(["--listen=[::1]:7800", "--print-config"], [], "# nothing\n")
    variables = ["VOW_LOG_FORMAT=json", "VOW_PARTICIPANT=b=http://b c=http://c"]
    yield one(["--participant=a=http://a"], variables, "")
    yield one(["--retry-min-ms", "5"], ["VOW_NO_SUCH=1"], "[section]\nretry_max_ms = 4\n")
    yield one(["--advertise-url=HTTP://Host:80/"], [], "limits_branches = 1001\n")
    yield one(["--log=/srv/log of a bank"], ["VOW_LISTEN=127.0.0.1:1"], "log_level = warn\n")


def command_lines():
    """The variables that are set, then the words."""
    id, log = IDS[0], "--log /var/lib/vow/vow.log"
    for variables, line in (
        (0, "status --json --check"),
        (0, "list --state committing --older-than 5m --participant bank-a --limit 7"),
        (0, f"list {log} --heuristic --all"),
        (0, f"show {id} --timeout=1h30m --url http://[::1]:80"),
        (0, f"resolve {id} --outcome aborted --branch 2 --reason gone --yes"),
        (0, f"forget {id} --reason \x1b[31mred"),
        (1, f"http://host:7800 commit {id} --yes"),
        (1, "ftp://host participants"),
        (2, f"http://host/a recover {log} --dry-run --timeout 10m"),
        (3, f"http://a http://b reconcile {log} --participants http://c,http://d/"),
        (0, f"reconcile {log} --participants=http://c,http://d --without=http://d --apply --yes"),
        (0, f"reconcile {log} --commit {id} --abort {id} --advertise-url https://x --timeout 2s"),
        (0, "--json watch --interval 50ms --count 3"),
        (0, "backup /b.log"),
        (0, "restore /b.log --log /v.log"),
        (0, "help recover"),
        (0, "help \u202ex"),
        (0, "completion bash"),
        (0, "recover -hV"),
        (0, "--version"),
        (0, "statsu --ulr=x"),
        (0, "list --stat --limit"),
        (0, "list --json=1 --limit 0 -- x"),
    ):
        yield bytes([variables]) + line.replace(" ", "\0").encode()


def kinds(source):
    """The first byte of an input of `message` is a place in this list."""
    text = (source / "tests/unit/codec_kinds.c").read_text()
    return re.findall(r'^ *\{"([a-z-]+)", run_', text, re.M)


def choices(seed, count):
    return random.Random(seed).randbytes(count)


def main(source, out):
    vectors = sorted((source / "proto/vectors").glob("*/*.json"))
    corpora = {name: [] for name in ("json", "message", "text")}
    corpora["json"] = [text.encode() for text in JSON]
    order = kinds(source)
    for path in vectors:
        body = path.read_bytes()
        corpora["json"].append(body)
        corpora["message"].append(bytes([order.index(path.name.split(".")[0])]) + body)
    for kind, texts in enumerate((URLS, IDS, LINES, DURATIONS, tuple(records(SHOWN)), MEDIA)):
        corpora["text"] += [bytes([kind]) + text.encode() for text in texts]
    corpora["record"] = [text.encode() for text in (*RECORDS, *records(COMPACT))]
    corpora["api"] = [b"\xff".join(one.encode() for one in many) for many in api()]
    corpora["args"] = list(command_lines())
    corpora["config"] = list(config(source))
    for name in ("load", "rows", "coordinator", "participant"):
        corpora[name] = [
            bytes([seed % 2]) + choices(f"{name} {seed}", 40 + 20 * seed) for seed in range(16)
        ]
    shutil.rmtree(out, ignore_errors=True)
    for name, inputs in corpora.items():
        (out / name).mkdir(parents=True)
        for number, text in enumerate(inputs):
            (out / name / f"{number:03}").write_bytes(text)
    (out / "made").write_text("")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
