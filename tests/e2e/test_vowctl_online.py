"""vowctl and a live daemon: every command, its text, its JSON and its exit code."""

import collections
import json
import re
import signal
import sqlite3
import subprocess

import pytest
from vowtest import assert_committed, ctl, parallel, toy, transaction_of, wait_until
from vowtest.process import LAUNCHER, program

UNKNOWN = "0190f2c4-7a1b-7c3d-8e4f-5a6b7c8d9e0f"


class At:
    """vowctl with the daemon's address."""

    def __init__(self, vowd):
        self.vowd = vowd

    def __call__(self, *arguments, **options):
        return ctl.run(*arguments, "--url", self.vowd.url, **options)

    def terminal(self, *arguments, **options):
        return ctl.Terminal(*arguments, "--url", self.vowd.url, **options)


@pytest.fixture
def vowd(world):
    return world.vowd()


@pytest.fixture
def at(vowd):
    return At(vowd)


def committed(world, vowd):
    """A transaction of two toys that is over."""
    both = world.two_toys()
    id = assert_committed(vowd.client.one_shot([one.url for one in both]))["id"]
    vowd.wait_state(id, "committed")
    return id


def hanging(world, vowd):
    """One that is decided, and whose second participant does not answer."""
    a, b = world.two_toys()
    b.script("commit", toy.answer(503))
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    wait_until(lambda: "last_error" in vowd.client.show(id)["branches"][1], "the error is noted")
    return id, a, b


def heuristic(world, vowd):
    a, b = world.two_toys()
    a.script("commit", toy.answer(200, {"outcome": "heuristic-abort"}))
    id = transaction_of(vowd.client.one_shot([a.url, b.url]))["id"]
    wait_until(lambda: vowd.client.show(id).get("heuristic"), "the heuristic outcome is recorded")
    vowd.wait_state(id, "committed")
    return id


def test_status_is_a_screen_and_a_document(world, vowd, at):
    committed(world, vowd)
    out = at("status").fine().out
    assert "ready" in out and "1 begun, 1 committed, 0 aborted" in out
    document = at("status", "--json").fine().json
    assert document["ready"] and document["totals"]["committed"] == 1
    at("status", "--check").fine()


def test_status_check_finds_what_needs_attention(world, vowd, at):
    id, _, b = hanging(world, vowd)
    at("status", "--check").refused(ctl.ATTENTION, "participants are down", "vowctl participants")
    b.unscript()
    vowd.wait_state(id, "committed")
    heuristic(world, vowd)
    at("status", "--check").refused(ctl.ATTENTION, "heuristic outcome", "--heuristic")


def test_a_list_shows_state_and_last_error(world, vowd, at):
    done = committed(world, vowd)
    id, _, _ = hanging(world, vowd)
    rows = {line.split()[0]: line for line in at("list").fine().lines[1:]}
    assert set(rows) == {done, id}
    assert "committing" in rows[id] and "1/2" in rows[id] and "503" in rows[id]
    assert [line.split()[0] for line in at("list", "--state", "committing").lines[1:]] == [id]
    assert at("list", "--older-than", "1h").fine().out == "no transactions\n"
    assert [one["id"] for one in at("list", "--json").fine().json["transactions"]] == [id, done]


def test_a_list_alarms_only_where_there_is_something(world, vowd, at):
    committed(world, vowd)
    with at.terminal("list") as terminal:
        assert terminal.end() == ctl.OK
        assert "committed" in terminal.out and "\033[1;31m" not in terminal.out, "nothing is red"


def test_lists_go_on_past_a_page(world, vowd, at):
    one = world.toy()
    ids = [vowd.client.begin() for _ in range(30)]
    for id in ids:
        vowd.client.enlist(id, one.url)
    assert len(at("list", "--limit", "7").fine().lines) == 8
    document = at("list", "--all", "--json").fine().json
    assert [entry["id"] for entry in document["transactions"]] == ids[::-1]
    assert len(at("list", "--participant", one.url, "--all").fine().lines) == 31


def test_show_tells_all_about_a_transaction(world, vowd, at):
    id, a, b = hanging(world, vowd)
    out = at("show", id).fine().out
    assert re.search(rf"^transaction +{id}$", out, re.M)
    assert re.search(r"^state +committing$", out, re.M)
    assert re.search(rf"^ +1 +\S+ +committed +commit +committed +\d+ +{a.url}$", out, re.M)
    assert re.search(rf"^ +2 +\S+ +committing +commit +- +\d+ +{b.url}$", out, re.M)
    assert "LAST ERROR" in out and "503" in out
    assert re.search(r"^\d{4}-\d\d-\d\d [\d:.]+Z +\+\S+ +begun", out, re.M)
    assert "attempt-failed" in out
    assert at("show", id.upper(), "--json").fine().json["id"] == id


def test_what_is_not_there_is_not_found(at):
    at("show", UNKNOWN).refused(ctl.NOT_FOUND)
    at("forget", UNKNOWN, "--reason", "x", "--yes").refused(ctl.NOT_FOUND)


def test_commit_says_how_it_ended(world, vowd, at):
    a, b = world.two_toys()
    id = vowd.client.begin()
    for one in (a, b):
        vowd.client.enlist(id, one.url)
    assert re.fullmatch(rf"{id} commit(ted|ting)\n", at("commit", id, "--yes").fine().out)
    assert at("commit", id, "--yes", "--json").fine().json["id"] == id

    a.script("prepare", toy.vote("abort", "no funds"))
    id = vowd.client.begin()
    for one in (a, b):
        vowd.client.enlist(id, one.url)
    at("commit", id, "--yes").refused(ctl.ABORTED, "no funds")
    forgotten = vowd.client.begin()
    vowd.kill()
    vowd.start()
    refused = at("commit", forgotten, "--yes").refused(ctl.ABORTED, "there is no record of it")
    assert "vowctl show" not in refused.err, "there is nothing to show"
    problem = at("commit", id, "--yes", "--json").refused(ctl.ABORTED).json
    assert problem["type"] == "urn:vow:transaction-aborted"


def test_abort_ends_what_is_undecided_and_nothing_else(world, vowd, at):
    id = vowd.client.begin()
    assert at("abort", id, "--yes").fine().out.startswith(f"{id} abort")
    at("commit", id, "--yes").refused(ctl.ABORTED)
    done = committed(world, vowd)
    at("abort", done, "--yes").refused(ctl.REFUSED, "committed")


def test_a_branch_that_is_gone_is_settled_by_hand(world, vowd, at):
    id, _, _ = hanging(world, vowd)
    at("resolve", id, "--branch", "7", "--outcome", "committed", "--reason", "x", "--yes").refused(
        ctl.NOT_FOUND
    )
    reason = 'bank is gone: "Ä"'
    at("resolve", id, "--branch", "2", "--outcome", "committed", "--reason", reason, "--yes").fine()
    vowd.wait_state(id, "committed")
    assert reason in at("show", id).out and "(by hand)" in at("show", id).out


def test_an_undecided_transaction_is_decided_by_hand(vowd, at):
    id = vowd.client.begin()
    at("resolve", id, "--outcome", "aborted", "--reason", "stuck", "--yes").fine()
    assert vowd.client.outcome(id) == "aborted"
    at("resolve", id, "--outcome", "committed", "--reason", "oops", "--yes").refused(ctl.REFUSED)


def test_a_heuristic_outcome_is_shown_until_it_is_forgotten(world, vowd, at):
    id = heuristic(world, vowd)
    listed = at("list", "--heuristic").fine().out
    assert id in listed and "(forgotten)" not in listed, listed
    assert "waits for an operator" in at("show", id).fine().out
    at("commit", id, "--yes").refused(ctl.ATTENTION)
    at("forget", id, "--reason", "booked back", "--yes").fine()
    assert "forgotten by an operator" in at("show", id).fine().out
    listed = at("list", "--heuristic").fine().out
    assert re.search(rf"^{id} .* \(forgotten\) ", listed, re.M), listed
    done = committed(world, vowd)
    at("forget", done, "--reason", "tidy", "--yes").refused(ctl.REFUSED)


def test_participants_are_up_or_down(world, vowd, at):
    _, a, b = hanging(world, vowd)
    out = at("participants").fine().out
    assert re.search(rf"^\S+ +down .*{b.url} +.*503", out, re.M), out
    document = at("participants", "--json").fine().json
    assert b.url in [one["url"] for one in document["participants"]]


def test_a_backup_has_what_has_just_ended(world, vowd, tmp_path):
    """Records of ends wait for one another, and not where the log is copied."""
    a, b = world.two_toys()
    for n in range(5):
        id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
        vowd.wait_state(id, "committed")
        path = tmp_path / f"copy-{n}.log"
        assert vowd.client.post("/v1/backup", {"path": str(path)}).status == 200
        document = ctl.run("check", "--log", path, "--json").fine().json
        assert (document["in_doubt"], document["ended"]) == (0, n + 1)


def test_a_backup_is_a_log_that_can_be_checked(world, vowd, at, tmp_path):
    id = committed(world, vowd)
    path = tmp_path / "copy.log"
    assert str(path) in at("backup", path).fine().out
    refused = at("backup", path).refused(ctl.REFUSED)
    assert "name another" in refused.err and "vowctl show" not in refused.err, refused
    failed = at("backup", tmp_path / "no" / "such" / "folder").refused(ctl.FAILED)
    assert "make its folder first" in failed.err and "log itself goes on" in failed.err, failed
    assert "make its folder first" in vowd.process.text(), "the daemon's log says why, too"
    assert id in ctl.run("list", "--log", path).fine().out
    ctl.run("check", "--log", path).fine()
    assert at("backup", tmp_path / "json.log", "--json").fine().json["bytes"] > 0


def test_damaged_history_is_counted_and_named_not_left_out_silently(world, vowd, at):
    whole, damaged = committed(world, vowd), committed(world, vowd)
    vowd.wait_state(damaged, "committed")
    vowd.stop()
    with sqlite3.connect(vowd.log) as database:
        changed = database.execute(
            "UPDATE ended_txn SET record = replace(record, 'http:', 'httP:')"
            " WHERE id = ?",
            (bytes.fromhex(damaged.replace("-", "")),),
        ).rowcount
    database.close()
    assert changed == 1
    vowd.start()
    page = vowd.client.get("/v1/transactions").json
    assert page["damaged"] == 1 and [one["id"] for one in page["transactions"]] == [whole]
    listed = at("list")
    assert listed.code == ctl.DAMAGED and whole in listed.out and "damaged: 1" in listed.err, listed
    assert damaged in at("show", damaged).refused(ctl.DAMAGED).err
    line = next(line for line in vowd.process.text().splitlines() if "row of the log" in line)
    assert damaged in line and " error " in line, "the daemon's log names it"


# ---- asking first ----


def test_a_dangerous_act_shows_what_it_does_and_wants_a_whole_yes(world, vowd, at):
    one = world.toy()
    id = vowd.client.begin()
    vowd.client.enlist(id, one.url, name="debit")
    for answer in ("y\n", "YES\n", "\n", "yes please\n", "no\n"):
        with at.terminal("abort", id) as terminal:
            terminal.expect(id)
            terminal.expect("active")
            terminal.expect("debit")
            terminal.expect("aborts, and its branches")
            terminal.expect('Type "yes" to go on: ')
            terminal.type(answer)
            assert terminal.end() == ctl.USAGE
            assert "nothing was done.\r\nType the whole word" in terminal.out
        assert vowd.client.state(id) == "active"
    with at.terminal("abort", id) as terminal:
        terminal.expect('Type "yes" to go on: ')
        terminal.type("yes\n")
        assert terminal.end() == ctl.OK
    assert vowd.client.outcome(id) == "aborted"


def test_the_question_names_the_branch_and_the_reason(world, vowd, at):
    id, _, _ = hanging(world, vowd)
    arguments = ("resolve", id, "--outcome", "aborted", "--reason", "gone for good", "--branch")
    with at.terminal(*arguments, "2") as terminal:
        terminal.expect("Branch 2 .*recorded as aborted by hand")
        terminal.expect("Reason: gone for good")
        terminal.type("\x04")
        assert terminal.end() == ctl.USAGE
    with at.terminal(*arguments, "9") as terminal:
        assert terminal.end() == ctl.NOT_FOUND
        assert "no branch 9" in terminal.out
    assert vowd.client.state(id) == "committing"


def test_nobody_is_asked_about_what_is_not_there(at):
    with at.terminal("commit", UNKNOWN) as terminal:
        assert terminal.end() == ctl.NOT_FOUND
        assert "Type" not in terminal.out


# ---- watch ----


class Watch:
    """vowctl watch with its lines in a file."""

    def __init__(self, vowd, folder, *arguments):
        self.path = folder / "watch.out"
        command = [*LAUNCHER, program("vowctl"), "watch", "--url", vowd.url, *arguments]
        with open(self.path, "wb") as out:
            self.child = subprocess.Popen(
                command, stdout=out, stderr=subprocess.PIPE, env=ctl.environment()
            )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()

    def wait_for(self, pattern):
        return wait_until(lambda: re.search(pattern, self.path.read_text(), re.M), pattern, 20)

    def stop(self, number=signal.SIGINT):
        self.child.send_signal(number)
        return self.child.wait(20)


def test_watch_prints_a_line_a_change(world, vowd, at, tmp_path):
    with Watch(vowd, tmp_path, "--interval", "50ms") as watch:
        watch.wait_for("daemon ready")
        id, _, b = hanging(world, vowd)
        watch.wait_for(rf"{id} committing 1/2$")
        watch.wait_for("1 participants down")
        b.unscript()
        watch.wait_for(rf"{id} committed$")
        assert watch.stop() == 0
    text = watch.path.read_text()
    assert text.count(f"{id} committed\n") == 1, "a change is told once"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_outlives_the_daemon_and_ends_when_it_is_told(world, vowd, tmp_path, number):
    with Watch(vowd, tmp_path, "--interval", "50ms") as watch:
        watch.wait_for("daemon ready")
        vowd.kill()
        watch.wait_for("daemon: connection refused")
        vowd.start()
        watch.wait_for("(?s)daemon: .*daemon ready")
        assert watch.stop(number) == 0


def test_watch_ends_after_its_count(vowd, at):
    result = at("watch", "--count", "3", "--interval", "50ms", "--json").fine()
    looks = [json.loads(line) for line in result.lines]
    assert len(looks) == 3
    for look in looks:
        assert look["status"]["ready"] and look["transactions"] == [] and "time" in look


def test_watch_finds_what_hangs_behind_many_others(world, vowd, at):
    """A page of the daemon's list looks at 5000."""
    id, _, _ = hanging(world, vowd)
    parallel(lambda _: [vowd.client.begin() for _ in range(650)], range(8))
    look = json.loads(at("watch", "--count", "1", "--json").fine().lines[0])
    states = collections.Counter(one["state"] for one in look["transactions"])
    assert states == {"committing": 1, "active": 1000}
    assert look["transactions"][0]["id"] == id


def test_watch_redraws_a_terminal_and_ends_with_ctrl_c(world, vowd, at):
    id, _, _ = hanging(world, vowd)
    with at.terminal("watch", "--interval", "50ms") as terminal:
        for _ in range(3):
            terminal.expect(r"\x1b\[H")
            terminal.expect(id)
        terminal.type("\x03")
        assert terminal.end() == ctl.OK


def test_an_address_with_a_path_or_a_slash_at_its_end_works(vowd):
    ctl.run("status", "--url", vowd.url + "/").fine()
    ctl.run("status", VOW_URL=vowd.url).fine()
