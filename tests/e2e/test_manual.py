"""The manual pages of the daemon agree with the daemon."""

import pathlib
import re
import subprocess

from vowtest.process import LAUNCHER, program

MAN = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "man"


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
