"""vowctl recover: what a dead daemon left in doubt is driven to its end, once, by the same rules,
whatever dies meanwhile."""

import re
import signal
import subprocess

from lost_log import Story
from vowtest import assert_committed, ctl, parallel, toy, wait_until
from vowtest.process import LAUNCHER, program


def killed(world, count=4):
    """A daemon killed with transactions that are decided and that the second toy has not heard
    of."""
    # What is dropped makes prepares wait for the next probe, on a slow machine for seconds.
    vowd, (a, b) = world.vowd(prepare_timeout_ms=30000), world.two_toys()
    b.script("commit", toy.drop)
    ids = parallel(
        lambda _: assert_committed(vowd.client.one_shot([a.url, b.url]))["id"], range(count), 4
    )
    wait_until(lambda: all(a.outcome(id) == "committed" for id in ids), "the first heard of all")
    vowd.kill()
    b.unscript()
    return vowd, ids, a, b


def recover(vowd, *arguments, **options):
    more = ("--advertise-url", vowd.url, "--timeout", "30s", "--yes")
    return ctl.run("recover", "--log", vowd.log, *more, *arguments, **options)


def pushed_to(one):
    """How many commits vowctl has sent: it names itself, and those of the killed daemon may still
    arrive."""
    agents = [message.headers["user-agent"] for message in one.received("commit")]
    return sum(agent.startswith("vowctl/") for agent in agents)


def test_what_is_decided_is_pushed_to_its_end(world):
    vowd, ids, a, b = killed(world)
    result = recover(vowd)
    assert result.code == ctl.OK, result
    assert f"{len(ids)} of {len(ids)} transactions ended ({len(ids)} committed" in result.out
    for id in ids:
        assert re.search(rf"^{id} committed \(\d of {len(ids)}\)$", result.err, re.M)
        assert b.outcome(id) == "committed"
    ctl.run("check", "--log", vowd.log).fine()
    assert recover(vowd).code == ctl.OK, "and again: nothing is left to do"
    vowd.start()
    for id in ids:
        assert vowd.client.state(id) == "committed"
        assert "recovered" in str(vowd.client.show(id)["history"])


def test_what_is_undecided_is_aborted(world):
    patient = {"prepare_timeout_ms": 60000, "request_timeout_ms": 60000}
    vowd, (a, b) = world.vowd(**patient), world.two_toys()
    b.script("prepare", toy.hang)
    id = vowd.client.begin()
    for one in (a, b):
        vowd.client.enlist(id, one.url)
    before = vowd.status()["log"]["position"]
    vowd.client.commit(id, headers={"Prefer": "respond-async"})
    wait_until(lambda: a.in_doubt(), "the first has voted")
    wait_until(
        lambda: vowd.status()["log"]["position"] > before, "it is noted that it is preparing"
    )
    vowd.kill()
    b.unscript()
    assert f"{id} preparing: abort it" in ctl.run("recover", "--log", vowd.log, "--dry-run").out
    assert recover(vowd).code == ctl.OK
    assert a.outcome(id) == "aborted" and not a.in_doubt()
    assert "aborted" in ctl.run("show", id, "--log", vowd.log).out


def test_a_delegated_branch_is_asked(world):
    vowd, one = world.vowd(), world.toy()
    one.honour_one_phase = True
    one.script("prepare", toy.lost_reply)
    id = vowd.client.begin()
    vowd.client.enlist(id, one.url)
    vowd.client.commit(id, headers={"Prefer": "respond-async"})
    wait_until(lambda: one.outcome(id) == "committed", "it has committed in one phase")
    vowd.kill()
    assert "ask its branch" in ctl.run("recover", "--log", vowd.log, "--dry-run").out
    assert recover(vowd).code == ctl.OK
    shown = ctl.run("show", id, "--log", vowd.log, "--json").json
    assert shown["state"] == "committed", "its branch said so"


def test_a_participant_that_is_dead_is_reported_and_caught_up_with_later(world):
    vowd, ids, a, b = killed(world)
    b.stop()
    result = ctl.run("recover", "--log", vowd.log, "--timeout", "1s", "--yes")
    assert result.code == ctl.ATTENTION
    assert "4 transactions are left" in result.err and "is down" in result.err
    for id in ids:
        row = next(line for line in result.lines if line.startswith(id))
        assert "committing" in row and "1/2" in row and "refused" in row
    report = ctl.run("recover", "--log", vowd.log, "--timeout", "500ms", "--yes", "--json")
    assert report.code == ctl.ATTENTION
    assert report.json["timed_out"] and len(report.json["left"]) == 4
    assert report.json["left"][0]["branches"][1]["last_error"]
    b.start()
    result = recover(vowd, "--json")
    assert result.code == ctl.OK and len(result.json["ended"]) == 4 and not result.json["left"]
    assert all(b.outcome(id) == "committed" for id in ids)
    assert all(branch.effects == 1 for branch in (*a.branches.values(), *b.branches.values()))


def test_a_participant_that_comes_back_meanwhile_is_caught_up_with(world):
    vowd, ids, _, b = killed(world)
    b.script("commit", toy.answer(503), 5)
    assert recover(vowd).code == ctl.OK
    assert all(b.outcome(id) == "committed" for id in ids)


def test_heuristic_outcomes_are_reported_and_want_attention(world):
    vowd, ids, _, b = killed(world, 1)
    b.script("commit", toy.answer(200, {"outcome": "heuristic-abort"}))
    result = recover(vowd)
    assert result.code == ctl.ATTENTION and "heuristic" in result.err
    assert "Waiting for an operator" in result.out and "mixed" in result.out
    ctl.run("check", "--log", vowd.log).refused(ctl.ATTENTION, "wait for an operator")
    report = recover(vowd, "--json")
    assert report.code == ctl.ATTENTION
    assert [one["id"] for one in report.json["heuristic"]] == ids
    vowd.start()
    assert vowd.client.forget(ids[0], "put right").status == 200


def test_a_branch_that_does_not_know_its_commit_is_left_and_told(world):
    vowd, ids, _, b = killed(world, 1)
    b.script("commit", toy.problem(404, "unknown-branch"))
    result = recover(vowd)
    assert result.code == ctl.ATTENTION, result
    assert "does not know the branch" in result.err and "hazard" in result.out
    assert "0 of 1 transactions ended" in result.out and "0 left, 1 wait" in result.out
    assert "vowctl resolve" in result.err, "it says what only an operator can do"
    assert pushed_to(b) == 1, "it was asked once, and not until the time was over"
    report = recover(vowd, "--json")
    assert [one["id"] for one in report.json["unknown"]] == ids
    vowd.start()
    settled = vowd.client.post(
        f"/v1/transactions/{ids[0]}/resolve",
        {"outcome": "committed", "branch": 2, "reason": "booked by hand"},
    )
    assert settled.status == 200, settled


def test_who_does_not_answer_is_named_when_the_time_is_over(world):
    vowd, _, _, b = killed(world, 1)
    b.script("commit", toy.hang)
    result = ctl.run("recover", "--log", vowd.log, "--timeout", "2s", "--yes")
    assert result.code == ctl.ATTENTION, result
    assert "no answer from" in result.out, "the note names it"


def test_a_branch_that_does_not_know_its_commit_is_asked_once_in_each_run(world):
    vowd, ids, _, b = killed(world, 1)
    b.script("commit", toy.problem(404, "unknown-branch"))
    for heard in (1, 2):
        result = ctl.run("recover", "--log", vowd.log, "--timeout", "60s", "--yes", timeout=30)
        assert result.code == ctl.ATTENTION, result
        assert "does not know the branch" in result.err and "hazard" in result.out
        assert "0 of 1 transactions ended" in result.out and "0 left, 1 wait for" in result.out
        assert "vowctl resolve ID --branch N" in result.err
        assert pushed_to(b) == heard
    dry = ctl.run("recover", "--log", vowd.log, "--dry-run")
    assert "once more" in dry.out and "0 in doubt, 1 wait for an operator" in dry.out, dry
    ctl.run("check", "--log", vowd.log).refused(ctl.ATTENTION, "vowctl resolve ID --branch N")
    b.unscript()
    assert recover(vowd).code == ctl.OK, "its data are back"


def test_two_recoveries_exclude_each_other_and_ctrl_c_ends_one(world):
    vowd, _, _, b = killed(world)
    b.script("commit", toy.hang)
    heard = pushed_to(b)
    command = [*LAUNCHER, program("vowctl"), "recover", "--log", str(vowd.log), "--yes"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: pushed_to(b) > heard, "it works")
        second = ctl.run("recover", "--log", vowd.log, "--yes")
        second.refused(ctl.LOCKED, f"process {child.pid}")
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        assert child.returncode == ctl.ATTENTION and "interrupted" in err, (out, err)
        assert f"no answer yet from {b.url}" in out
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def test_a_recovery_that_is_killed_goes_on_where_it_was(world):
    vowd, ids, a, b = killed(world, 12)
    for n in range(4):
        b.script("commit", toy.delay(0.05))
        heard = pushed_to(b)
        command = [*LAUNCHER, program("vowctl"), "recover", "--log", str(vowd.log), "--yes"]
        child = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_until(lambda: pushed_to(b) > heard + n or child.poll() is not None, "it works")
        child.kill()
        child.wait()
        b.unscript()
    assert recover(vowd).code == ctl.OK
    assert all(one.outcome(id) == "committed" for id in ids for one in (a, b))
    assert all(branch.effects == 1 for branch in (*a.branches.values(), *b.branches.values()))


def test_a_recovery_asks_first_and_draws_a_bar(world):
    vowd, _, _, b = killed(world)
    with ctl.Terminal("recover", "--log", vowd.log) as terminal:
        terminal.expect("4 transactions are in doubt")
        terminal.expect("4: push its commit")
        terminal.type("no\n")
        assert terminal.end() == ctl.USAGE
    assert pushed_to(b) == 0
    ctl.run("recover", "--log", vowd.log).refused(ctl.USAGE, "--yes")
    with ctl.Terminal("recover", "--log", vowd.log) as terminal:
        terminal.expect('Type "yes" to go on: ')
        terminal.type("yes\n")
        terminal.expect(r"\[[#-]+\] \d/4 ended")
        terminal.expect(r"4 of 4 transactions ended")
        assert terminal.end() == ctl.OK


def test_what_was_not_shown_is_not_confirmed(world):
    """While somebody is asked a daemon runs, and leaves more."""
    vowd, ids, a, b = killed(world, count=1)
    with ctl.Terminal("recover", "--log", vowd.log) as terminal:
        terminal.expect('1 transactions are in doubt(?s:.*)Type "yes"')
        vowd.start()
        vowd.wait_ended(ids[0])
        b.script("commit", toy.drop)
        more = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
        vowd.kill()
        b.unscript()
        terminal.type("yes\r")
        terminal.expect("in use since it was looked at(?s:.*)Run it again")
        assert terminal.end() == ctl.ATTENTION
    assert b.outcome(more) is None and pushed_to(b) == 0
    assert f"{more} committed (1 of 1)" in recover(vowd).err
    assert b.outcome(more) == "committed"


def test_a_reader_that_goes_away_does_not_stop_a_recovery(world):
    vowd, ids, _, b = killed(world)
    line = f"{program('vowctl')} recover --log {vowd.log} --yes 2>&1 | true"
    subprocess.run(["bash", "-c", line], timeout=120, check=True, env=ctl.environment())
    wait_until(lambda: all(b.outcome(id) == "committed" for id in ids), "it went on")
    wait_until(lambda: ctl.run("check", "--log", vowd.log).code == ctl.OK, "and ended")


def test_money_is_whole_after_a_recovery(world):
    """Two banks; the daemon dies with transfers in every state."""
    vowd = world.vowd()
    banks = [world.bank("bank-a"), world.bank("bank-b")]
    before = sum(bank.sum() for bank in banks)

    def transfer(n):
        branches = [
            {"url": bank.url, "name": bank.name, "payload": {"account": n % 20, "amount": amount}}
            for bank, amount in zip(banks, (-n, n))
        ]
        return vowd.client.one_shot(branches, headers={"Prefer": "respond-async"})

    for n in range(1, 21):
        transfer(n)
    vowd.kill()
    result = recover(vowd)
    assert result.code == ctl.OK, result
    vowd.start()
    for bank in banks:
        bank.wait_settled()
        bank.check()
    assert sum(bank.sum() for bank in banks) == before


def test_participants_are_told_the_address_that_the_log_remembers(world):
    vowd, ids, a, b = killed(world, 1)
    more = ("--timeout", "30s", "--yes")
    assert vowd.url in ctl.run("check", "--log", vowd.log).out
    assert ctl.run("recover", "--log", vowd.log, *more).code == ctl.OK
    assert b.received("commit")[-1].body["coordinator"] == vowd.url


def test_another_address_is_used_and_remarked_on(world):
    vowd, ids, a, b = killed(world, 1)
    other = "http://127.0.0.1:1"
    result = ctl.run(
        *("recover", "--log", vowd.log, "--advertise-url", other, "--timeout", "30s", "--yes")
    )
    assert result.code == ctl.OK and f"the log says {vowd.url}" in result.err, result
    assert b.received("commit")[-1].body["coordinator"] == other


def test_a_recovery_ends_when_a_participant_has_seen_more(world):
    """Nothing is driven on from then, so it does not wait for its time to be over, and does not
    blame participants."""
    story = Story(world).decide_and_die()
    story.b.unscript()
    story.b.seen = {"incarnation": 2**52, "position": 9}
    how = ("recover", "--log", story.vowd.log, "--yes", "--timeout", "10m", "--json")
    done = ctl.run(*how, timeout=20)
    done.refused(ctl.ATTENTION, f"{story.b.url} has seen it at position 9", "vowctl reconcile")
    assert not done.json["timed_out"] and done.json["quarantine"] in done.err, done
    assert "quarantine" in ctl.run("check", "--log", story.vowd.log, "--json").json
    assert story.reconcile("--apply", "--yes").code == ctl.OK
    assert ctl.run(*how).code == ctl.OK
    story.everybody_committed()
