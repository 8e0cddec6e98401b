"""The manual pages of the daemon agree with the daemon."""

import pathlib
import re
import subprocess

from vowtest.process import LAUNCHER, program

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAN = ROOT / "deploy" / "man"


def vowd(*arguments):
    done = subprocess.run(
        [*LAUNCHER, program("vowd"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def plain(text):
    """Without the marks of the formatter, as one line."""
    text = re.sub(r'^\.[A-Z]{1,2} |\\f[BIR]|"', "", text, flags=re.M).replace("\\-", "-")
    return " ".join(text.split())


def sections(page):
    """{what a .TP stands for: its text}."""
    parts = (MAN / page).read_text().split("\n.TP\n")[1:]
    heads = (part.split("\n", 1) for part in parts)
    return {plain(head): plain(re.split(r"^\.SH", text, flags=re.M)[0]) for head, text in heads}


def options():
    """(key, default, allowed, may change while it runs) of each option, as the daemon prints
    them."""
    for block in vowd("--print-config").split("\n\n"):
        match = re.search(r"(?s)# Allowed: (.*)\n#?(\w+) =(.*)$", block)
        if match:
            allowed, key, default = match.groups()
            restart = "A change needs a restart." in allowed
            allowed = " ".join(re.sub(r"\n?#|A change needs a restart\.", " ", allowed).split())
            yield key, default.strip(), allowed.rstrip("."), not restart


def test_the_configuration_manual_has_each_option_as_it_is():
    manual, known = sections("vowd.conf.5"), list(options())
    assert len(known) > 20
    for key, default, allowed, reload in known:
        head = f"{key} *" if reload else key
        assert head in manual, f"{head} is not in {sorted(manual)}"
        assert f"Default: {default or 'empty'}." in manual[head], (key, default, manual[head])
        assert f"Allowed: {allowed}." in manual[head], (key, allowed, manual[head])
    keys = {f"{key} *" if reload else key for key, _, _, reload in known}
    assert set(manual) - keys == {"participant *"}, "an option that is no more"


def test_the_daemon_manual_has_each_flag_that_is_no_option_and_each_exit_code():
    text = vowd("--help")
    manual = sections("vowd.8")
    for flag in ("--config FILE", "--check-config", "--print-config", "--help", "--version"):
        assert f"  {flag}\n" in text and flag in manual, flag
    codes = re.search(r"Exit status: ((?s:.*?))\n\n", text)[1]
    for code in re.findall(r"\b(\d) ", codes):
        assert code in manual, f"exit code {code}"


def said_by_sources():
    """Every string of the daemon, with "…" for what is put in."""
    for source in (ROOT / "coordinator").rglob("*.c"):
        text = re.sub(r'"\s+"', "", source.read_text())
        for literal in re.findall(r'"((?:[^"\\\n]|\\.)*)"', text):
            yield re.sub(r"%(\.\d+)?(l|ll)?[a-z]", "…", literal)


def test_the_runbook_quotes_what_vowd_says_when_it_does_not_start():
    runbook = (ROOT / "deploy" / "README.md").read_text()
    table = runbook.split("## It does not start")[1].split("\n#")[0]
    first_column = re.findall(r"^\| (\".*?) \|", table, re.M)
    quoted = [quote for cell in first_column for quote in re.findall('"(.*?)"', cell)]
    assert len(quoted) >= 10
    said = list(said_by_sources())
    for quote in quoted:
        assert any(one.startswith(quote) for one in said), quote


def test_the_unit_checks_the_file_whenever_the_daemon_is_to_read_it():
    unit = (ROOT / "deploy" / "systemd" / "vowd.service").read_text()
    commands = re.findall(r"^Exec(\w+)=(.*)$", unit, re.M)
    serve = next(line for kind, line in commands if kind == "Start")
    for kind in ("StartPre", "Reload"):
        first = next(line for of, line in commands if of == kind)
        assert first == f"{serve} --check-config", (kind, first)
