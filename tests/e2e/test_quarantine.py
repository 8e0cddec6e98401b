"""A log that may have lost records is noticed, by the file beside it or by a participant. It
answers "unknown", begins nothing and aborts nothing, says so everywhere, and `vowctl reconcile`
brings everybody to the same outcome."""

import shutil
import signal
import time

import pytest
from lost_log import (
    Story,
    cut,
    expect_quarantine,
    flip_a_bit,
    in_doubt,
    start_quarantined,
    wal,
    witness,
)
from vowtest import assert_committed, ctl, toy, transaction_of, wait_until
from vowtest.proxy import drop, lose_reply


def test_a_write_ahead_log_that_was_cut_short(world):
    story = Story(world).decide_and_die()
    cut(story)
    checked = ctl.run("check", "--log", story.vowd.log)
    assert checked.code == ctl.ATTENTION and "witness file" in checked.err, checked
    recover = ctl.run("recover", "--log", story.vowd.log, "--yes")
    assert recover.code == ctl.ATTENTION and "vowctl reconcile" in recover.err, recover
    start_quarantined(story, "its witness file has seen it at position")
    dry = story.reconcile()
    assert dry.code == ctl.ATTENTION and "--apply" in dry.err, dry
    (case,) = dry.json["transactions"]
    assert case["transaction"] == story.id and case["verdict"] == "commit"
    assert not dry.json["applied"] and dry.json["quarantined"]
    start_quarantined(story, "its witness file")
    done = story.reconcile("--apply", "--yes")
    assert done.code == ctl.OK and done.json["left_quarantine"], done
    story.everybody_committed()


def test_a_flipped_bit_in_the_last_record(world):
    story = Story(world)
    story.vowd.restart()  # the write-ahead log begins anew, and ends with the decision
    story.b.script("commit", toy.drop)
    story.a.script("commit", toy.drop)
    story.id = story.transfer()
    story.vowd.kill()
    flip_a_bit(story)
    start_quarantined(story, "its witness file has seen it at position")
    # The decision was told to the client only, so only an operator can know it.
    dry = story.reconcile("--apply", "--yes")
    assert dry.code == ctl.ATTENTION and not dry.json["left_quarantine"], dry
    assert [case["verdict"] for case in dry.json["transactions"]] == ["undecided"]
    assert f"--commit {story.id} --apply" in dry.err, dry
    done = story.reconcile("--commit", story.id, "--apply", "--yes")
    assert done.code == ctl.OK and done.json["transactions"][0]["by_operator"], done
    story.everybody_committed()
    assert story.a.outcome(story.id) == "committed"


def test_an_older_copy_of_the_log(world):
    story = Story(world)
    assert story.vowd.stop() == 0
    shutil.copy(story.vowd.log, story.vowd.folder / "older")
    story.vowd.start()
    story.decide_and_die()
    shutil.copy(story.vowd.folder / "older", story.vowd.log)
    wal(story.vowd).unlink()
    start_quarantined(story, "its witness file has seen it at position")
    done = story.reconcile("--apply", "--yes")
    assert done.code == ctl.OK, done
    story.everybody_committed()


def test_a_machine_that_was_put_back_to_a_snapshot(world):
    """The witness file went back with the log. Reconciled before the daemon starts, as the runbook
    has it, the participants are heard before anything is presumed."""
    story = Story(world, world.bank("bank"))
    files = (story.vowd.log, wal(story.vowd), witness(story.vowd))
    story.vowd.kill()
    snapshot = {file: file.read_bytes() for file in files}
    story.vowd.start()
    story.decide_and_die()
    for file in files:
        file.write_bytes(snapshot[file])
    done = story.reconcile("--apply", "--yes")
    assert done.code == ctl.OK and done.json["left_quarantine"], done
    assert "has seen it at position" in done.json["why"]
    assert [case["verdict"] for case in done.json["transactions"]] == ["commit"]
    story.everybody_committed()


def test_a_transaction_of_a_time_that_nothing_shows(world):
    """The witness file went back with the log, and no participant keeps what it saw. But it began
    when no start of this log was issuing ids, and so it is not taken for aborted."""
    vowd = world.vowd(start=False)
    clock = world.faults(vowd)
    story = Story(world, vowd=vowd.start())
    files = (vowd.log, wal(vowd), witness(vowd))
    vowd.kill()
    snapshot = {file: file.read_bytes() for file in files}
    vowd.start()
    clock.clock(1)
    story.decide_and_die()
    for file in files:
        file.write_bytes(snapshot[file])
    for _ in range(2):
        vowd.start()
        assert "quarantine" not in vowd.status()
        assert vowd.client.outcome(story.id) == "unknown"
        many = vowd.client.post("/v1/outcomes", {"transactions": [story.id]}).json["outcomes"]
        assert many == [{"transaction": story.id, "outcome": "unknown"}]
        assert vowd.client.commit(story.id).problem == "unknown-transaction"
        said = "when this log was not running: .* by=127.0.0.1"
        vowd.process.wait_for_line(said, "it is said who asked")
        assert story.transfer(), "it goes on meanwhile"
        vowd.kill()
    done = story.reconcile("--apply", "--yes")
    assert done.code == ctl.OK and "whose id the log has never issued" in done.json["why"], done
    assert [case["verdict"] for case in done.json["transactions"]] == ["commit"]
    story.b.left_out = True  # it was not asked when the watermark passed it
    story.everybody_committed()


def test_a_participant_is_the_only_witness(world):
    """The witness file is gone as well. The bank has seen more of the log than there is, refuses
    what comes from it, and says so."""
    story = Story(world, world.bank("bank")).decide_and_die().lose_the_end()
    witness(story.vowd).unlink()
    story.vowd.start(ready=False)
    story.vowd.process.wait_for_line("the witness file .* is missing", "it says that")
    assert "quarantine" not in story.vowd.status()
    story.vowd.client.post(
        "/v1/transactions",
        {"commit": True, "branches": story.branches()[:1]},
        headers={"Prefer": "respond-async"},
    )
    wait_until(lambda: "quarantine" in story.vowd.status(), "the bank has told it")
    expect_quarantine(story.vowd, story.id, f"{story.a.url} has seen it at position")
    story.vowd.restart(ready=False)
    expect_quarantine(story.vowd, story.id, f"{story.a.url} has seen it at position")
    story.vowd.stop()
    done = story.reconcile("--apply", "--yes")
    assert done.code == ctl.OK and done.json["transactions"][0]["verdict"] == "commit", done
    story.everybody_committed()


def test_a_participant_that_asks_is_a_witness(world):
    story = Story(world).decide_and_die().lose_the_end()
    witness(story.vowd).unlink()
    story.vowd.start()
    incarnation = story.vowd.status()["incarnation"]
    known = story.vowd.client.get(f"/v1/transactions/{story.first}/outcome?seen={incarnation}.0")
    assert known.json["outcome"] == "committed"
    seen = {"incarnation": incarnation - 1, "position": 1000}
    answer = story.vowd.client.post("/v1/outcomes", {"transactions": [story.id], "seen": seen})
    assert answer.json["outcomes"] == [{"transaction": story.id, "outcome": "unknown"}]
    expect_quarantine(story.vowd, story.id, f"asks from 127.0.0.1:")
    assert f"for {story.id} has seen it at" in story.vowd.status()["quarantine"]["why"]
    bad = story.vowd.client.get(f"/v1/transactions/{story.id}/outcome?seen=1", check=False)
    assert bad.status == 400
    story.vowd.stop()
    assert story.reconcile("--apply", "--yes").code == ctl.OK
    story.everybody_committed()


def test_a_witness_that_makes_it_up_does_not_last(world):
    """Anybody may ask, and say what they like: it costs a quarantine, and not the log."""
    story = Story(world, world.bank("bank"))
    highest = 2**53 - 1
    story.vowd.client.get(f"/v1/transactions/{story.first}/outcome?seen={highest}.{highest}")
    wait_until(lambda: "quarantine" in story.vowd.status(), "it is believed")
    story.vowd.stop()
    done = story.reconcile("--apply", "--yes")
    assert done.code == ctl.OK and done.json["left_quarantine"], done
    for _ in range(2):
        story.vowd.start()
        assert story.vowd.status()["incarnation"] < highest
        assert story.transfer()
        story.vowd.kill()
    again = {"transactions": [story.first], "seen": {"incarnation": highest, "position": highest}}
    story.vowd.start().client.post("/v1/outcomes", again)
    assert "quarantine" not in story.vowd.status(), "it was judged"


def test_a_recovery_is_held_until_the_log_is_reconciled(world):
    """Not "to go": a daemon that starts in quarantine drives nothing on, and an operator who waits
    for it waits in vain."""
    story = Story(world).decide_and_die()
    story.vowd.start()
    shown = ctl.run("status", "--url", story.vowd.url).fine().out
    assert "0 of 1 ended, 1 to go" in shown, shown
    highest = 2**53 - 1
    story.vowd.client.get(f"/v1/transactions/{story.first}/outcome?seen={highest}.{highest}")
    wait_until(lambda: "quarantine" in story.vowd.status(), "it is believed")
    story.vowd.restart(ready=False)
    wait_until(lambda: not story.vowd.status()["loading"], "the log is read")
    told = story.b.count("commit", story.id)
    shown = ctl.run("status", "--url", story.vowd.url).out
    assert "0 of 1 ended, 1 left, which may wait until the log is reconciled" in shown, shown
    assert "to go" not in shown and story.b.count("commit", story.id) == told, shown
    story.vowd.stop()
    assert story.reconcile("--apply", "--yes").code == ctl.OK
    story.everybody_committed()


def test_a_backup_that_was_restored(world):
    story = Story(world)
    backup = story.vowd.folder / "backup.log"
    ctl.run("backup", backup, "--url", story.vowd.url).fine()
    ctl.run("check", "--log", backup).fine()
    story.decide_and_die()
    occupied = ctl.run("restore", backup, "--log", story.vowd.log)
    occupied.refused(ctl.REFUSED, "there is something at")
    for file in (story.vowd.log, wal(story.vowd), witness(story.vowd)):
        file.rename(file.with_name(file.name + ".lost"))
    restored = ctl.run("restore", backup, "--log", story.vowd.log)
    assert restored.code == ctl.OK and "in quarantine" in restored.out, restored
    start_quarantined(story, "it was restored from the backup")
    done = story.reconcile("--apply", "--yes")
    assert done.code == ctl.OK and done.json["left_quarantine"], done
    story.everybody_committed()


def test_a_backup_in_which_something_is_open_is_good(world):
    """It says so, and not what would be done with the log of a daemon that died."""
    vowd, (a, b) = world.vowd(), world.two_toys()
    b.script("commit", toy.drop)
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    backup = vowd.folder / "backup.log"
    ctl.run("backup", backup, "--url", vowd.url).fine()
    checked = ctl.run("check", "--log", backup)
    assert checked.code == ctl.ATTENTION and id in checked.out, checked
    assert "backup is good" in checked.err and "recover" not in checked.err, checked


def test_a_backup_that_is_restored_again_and_again(world):
    """Each time ids begin above those that the log before may have issued, which ran ahead of the
    clock: what is begun then is not refused as something that was over."""
    story = Story(world, world.bank("bank"))
    backup = story.vowd.folder / "backup.log"
    ctl.run("backup", backup, "--url", story.vowd.url).fine()
    for _ in range(4):
        story.decide_and_die()
        for file in (story.vowd.log, wal(story.vowd)):
            file.unlink()
        ctl.run("restore", backup, "--log", story.vowd.log).fine()
        done = story.reconcile("--apply", "--yes")
        assert done.code == ctl.OK and done.json["left_quarantine"], done
        story.everybody_committed()
    story.vowd.kill()
    for file in (story.vowd.log, wal(story.vowd)):
        file.unlink()
    ctl.run("restore", backup, "--log", story.vowd.log)
    assert story.reconcile("--apply", "--yes").code == ctl.OK
    story.vowd.start()
    assert story.transfer() and story.transfer()


def test_a_backup_that_was_copied_into_its_place(world):
    story = Story(world)
    backup = story.vowd.folder / "backup.log"
    ctl.run("backup", backup, "--url", story.vowd.url).fine()
    story.decide_and_die()
    for file in (wal(story.vowd), witness(story.vowd)):
        file.unlink()
    shutil.copy(backup, story.vowd.log)
    start_quarantined(story, "it was started from a backup")
    assert story.reconcile("--apply", "--yes").code == ctl.OK
    story.everybody_committed()


def test_another_log_in_place_of_the_lost_one(world):
    """An empty log knows nobody: the operator names the participants."""
    story = Story(world).decide_and_die()
    for file in (story.vowd.log, wal(story.vowd)):
        file.unlink()
    story.vowd.start(ready=False)
    expect_quarantine(story.vowd, story.id, "its witness file has seen it at position")
    story.vowd.stop()
    names = f"{story.a.url}, {story.b.url}/"
    done = story.reconcile("--participants", names, "--apply", "--yes")
    assert done.code == ctl.OK, done
    story.everybody_committed()


def test_a_log_that_nobody_has_told_on_yet(world):
    """An empty log, and no witness file: the participants that reconcile asks are the witnesses."""
    story = Story(world, world.bank("bank")).decide_and_die()
    for file in (story.vowd.log, wal(story.vowd), witness(story.vowd)):
        file.unlink()
    story.vowd.launch()
    story.vowd.wait_listening()
    story.vowd.stop()
    names = f"{story.a.url},{story.b.url}"
    dry = story.reconcile("--participants", names)
    assert dry.code == ctl.ATTENTION and "has seen it at position" in dry.json["why"], dry
    done = story.reconcile("--participants", names, "--apply", "--yes")
    assert done.code == ctl.OK and done.json["left_quarantine"], done
    story.everybody_committed()


def die_preparing(vowd, a, b):
    """vowd is killed when the first participant of a transaction has voted; returns its id."""
    b.script("prepare", toy.hang)
    answer = vowd.client.one_shot([a.url, b.url], headers={"Prefer": "respond-async"})
    id = answer.json["id"]
    wait_until(lambda: a.in_doubt(), "the first has voted")
    wait_until(lambda: id in ctl_open(vowd), "it is in the log")
    vowd.kill()
    b.unscript()
    b.released.set()
    return id


def test_an_undecided_transaction_is_not_aborted(world):
    """Its record says that it was preparing, and its decision may be what was lost."""
    vowd, (a, b) = world.vowd(prepare_timeout_ms=20000, request_timeout_ms=15000), world.two_toys()
    assert_committed(vowd.client.one_shot([a.url, b.url]))
    id = die_preparing(vowd, a, b)
    a.seen = {"incarnation": 5, "position": 1}
    with witness(vowd).open("r+b") as file:
        file.truncate(0)
    vowd.start(ready=False)
    wait_until(lambda: "quarantine" in vowd.status(), "the first has told it")
    expect_held_back = vowd.client.get(f"/v1/transactions/{id}/outcome").json["outcome"]
    assert expect_held_back in ("unknown", "aborted"), "aborted: it was told before it was known"
    vowd.restart(ready=False)
    a.seen = None
    assert vowd.status()["quarantine"]["held_back"] in (0, 1)


def test_a_settled_branch_makes_no_decision_of_a_presumed_abort(world):
    """What an operator did outlives a kill, and what was presumed is told to nobody in quarantine.
    A reconciliation asks whoever has the settled branch, too."""
    vowd, (a, b) = world.vowd(prepare_timeout_ms=20000, request_timeout_ms=15000), world.two_toys()
    id = die_preparing(vowd, a, b)
    a.script("abort", toy.drop)
    b.script("abort", toy.drop)
    vowd.start()
    settle = {"outcome": "aborted", "branch": 2, "reason": "by hand"}
    answer = vowd.client.post(f"/v1/transactions/{id}/resolve", settle)
    assert answer.status == 200 and answer.json["branches"][1]["resolved"], answer
    vowd.kill()
    vowd.start()
    assert vowd.client.show(id)["branches"][1]["resolved"]
    seen = vowd.client.get(f"/v1/transactions/{id}/outcome?seen=5.1")
    assert seen.json["outcome"] == "unknown", seen
    vowd.stop()
    vowd.start(ready=False)
    wait_until(lambda: not vowd.status()["loading"], "the log is read")
    assert vowd.status()["quarantine"]["held_back"] == 1
    assert vowd.client.get(f"/v1/transactions/{id}/outcome").json["outcome"] == "unknown"
    vowd.stop()
    dry = ctl.run("reconcile", "--log", vowd.log, "--json")
    assert [case["verdict"] for case in dry.json["transactions"]] == ["undecided"], dry
    assert a.url in dry.out and b.url in dry.out, dry
    a.unscript()
    done = ctl.run("reconcile", "--log", vowd.log, "--json", "--abort", id, "--apply", "--yes")
    assert done.code == ctl.OK and done.json["left_quarantine"], done
    vowd.start()
    wait_until(lambda: a.outcome(id) == "aborted", "the first has aborted")


def ctl_open(vowd):
    """Ids that the log calls open, as a copy of its files says."""
    copy = vowd.folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in (vowd.log, wal(vowd)):
        shutil.copy(file, copy / file.name)
    listed = ctl.run("list", "--log", copy / "vow.log", "--json", "--all")
    return listed.out


class Refusal(Story):
    """One whose second participant refuses, while the first does not hear of the abort."""

    def abort_and_die(self, told=None):
        self.a.script("abort", toy.drop)
        answer = self.vowd.client.one_shot(self.branches())
        self.id = transaction_of(answer)["id"]
        if told:
            wait_until(lambda: told.outcome(self.id) == "aborted", "it is told to abort")
        self.b.unscript()
        later = self.transfer()  # an abort leaves no record that could be missed
        self.vowd.wait_state(later, "committed")
        self.vowd.kill()
        return self.lose_the_end()

    def everybody_aborted(self):
        self.a.unscript()
        self.vowd.start()
        wait_until(lambda: self.a.outcome(self.id) == "aborted", "the first has aborted")
        assert self.vowd.client.outcome(self.id) == "aborted"


def test_an_abort_that_was_told_decides_too(world):
    """It is told only of what ends so."""
    story = Refusal(world)
    story.b.script("prepare", toy.answer(200, {"vote": "perhaps"}))  # so it is told to abort
    story.abort_and_die(told=story.b)
    start_quarantined(story, "its witness file")
    assert story.a.in_doubt() and story.a.outcome(story.id) is None
    done = story.reconcile("--apply", "--yes")
    assert done.code == ctl.OK and done.json["transactions"][0]["verdict"] == "abort", done
    story.everybody_aborted()


def test_a_refusal_alone_decides_nothing(world, tmp_path):
    """Whoever has refused may have voted read-only before, and have lost that in a crash."""
    story = Refusal(world)
    story.b.script("prepare", toy.vote("abort", "no money"))
    story.abort_and_die()
    start_quarantined(story, "its witness file")
    dry = story.reconcile("--apply", "--yes")
    assert dry.code == ctl.ATTENTION and not dry.json["left_quarantine"], dry
    assert dry.json["transactions"][0]["verdict"] == "undecided", dry
    assert "has refused branch 2" in dry.json["transactions"][0]["why"], dry
    listed = tmp_path / "ids"
    listed.write_text("\n".join(one["transaction"] for one in dry.json["transactions"]) + "\n")
    done = story.reconcile("--abort", f"@{listed}", "--apply", "--yes")
    assert done.code == ctl.OK, done
    story.everybody_aborted()


def test_what_asks_another_coordinator_is_left_to_it(world):
    """A bank that two coordinators use is in doubt for the other one: reconciling this log neither
    waits for that nor ends it."""
    story = Story(world, world.bank("shared"))
    other = world.vowd(name="other")
    c = world.toy()
    c.script("prepare", toy.hang)
    answer = other.client.one_shot(
        [{"url": story.a.url, "payload": {"account": 2, "amount": 1}}, {"url": c.url}],
        headers={"Prefer": "respond-async"},
    )
    wait_until(lambda: in_doubt(story.a), "the bank has voted")
    story.decide_and_die().lose_the_end()
    done = story.reconcile("--apply", "--yes")
    assert done.code == ctl.OK and done.json["left_quarantine"], done
    assert [case["transaction"] for case in done.json["transactions"]] == [story.id]
    shared = next(p for p in done.json["participants"] if p["url"] == story.a.url)
    assert (shared["in_doubt"], shared["in_doubt_of_others"]) == (0, 1)
    assert in_doubt(story.a), answer
    c.unscript()
    c.released.set()
    story.everybody_committed()


def test_whoever_does_not_tell_keeps_it_in_quarantine(world):
    story = Story(world).decide_and_die().lose_the_end()
    third = world.bank("third")
    third.kill()
    left = story.reconcile("--participants", third.url, "--timeout", "2s", "--apply", "--yes")
    assert left.code == ctl.ATTENTION and left.json["silent"] == 1, left
    assert left.json["applied"] and not left.json["left_quarantine"]
    done = story.reconcile("--without", third.url, "--apply", "--yes")
    assert done.code == ctl.OK and done.json["left_quarantine"], done
    story.everybody_committed()


def test_one_that_was_left_out_is_back(world):
    """Its branch is decided then, below the watermark, and everybody takes it; but only because the
    other one still knows that it has committed."""
    story = Story(world)
    bank = world.bank("back", balance=100)
    line = world.proxy(lambda: bank.address)
    line.script("commit", drop)
    branches = [
        {"url": story.a.url},
        {"url": line.url, "payload": {"account": 1, "amount": -7}},
    ]
    story.id = assert_committed(story.vowd.client.one_shot(branches))["id"]
    wait_until(lambda: story.a.outcome(story.id) == "committed", "the first has committed")
    story.vowd.kill()
    story.lose_the_end()
    line.stop()
    left = story.reconcile("--participants", line.url, "--apply", "--yes", "--timeout", "2s")
    assert left.code == ctl.ATTENTION and left.json["silent"] == 1, left
    done = story.reconcile("--without", line.url, "--apply", "--yes")
    assert done.code == ctl.OK and done.json["left_quarantine"], done
    line.start()
    line.heal()
    story.vowd.start()
    branches[1]["payload"] = {"account": 2, "amount": -1}
    for _ in range(3):  # the watermark comes to it, too
        id = assert_committed(story.vowd.client.one_shot(branches))["id"]
        story.vowd.wait_state(id, "committed")
    assert story.vowd.client.outcome(story.id) == "unknown"
    story.vowd.process.wait_for_line("before this log was reconciled.*stop vowd", "it is said")
    assert [branch["transaction"] for branch in in_doubt(bank)] == [story.id]
    story.vowd.stop()
    again = story.reconcile("--participants", line.url, "--apply", "--yes")
    assert again.code == ctl.OK and again.json["transactions"][0]["verdict"] == "commit", again
    line.script("commit", lose_reply, times=2)  # its tombstone is there for the second and third
    story.vowd.start()
    story.vowd.wait_state(story.id, "committed")
    assert not story.vowd.client.show(story.id).get("heuristic")
    assert in_doubt(bank) == [] and line.hits("commit") >= 2
    bank.check()


def test_a_branch_that_cannot_be_is_not_believed(world):
    story = Story(world).decide_and_die().lose_the_end()
    third = world.toy()
    third.in_doubt = lambda: [(story.id, 4294967295)]
    left = story.reconcile("--participants", third.url, "--apply", "--yes")
    assert left.code == ctl.ATTENTION and left.json["silent"] == 1, left
    assert "names branch 4294967295" in left.out, left
    del third.in_doubt
    assert story.reconcile("--participants", third.url, "--apply", "--yes").code == ctl.OK
    story.everybody_committed()


def test_who_fails_while_it_is_asked_keeps_it_in_quarantine(world):
    """It has told what is in doubt, and not what has ended, which may be the only proof."""
    story = Story(world).decide_and_die().lose_the_end()
    story.a.tells = {"type": "about:blank", "title": "not now", "status": 503}
    left = story.reconcile("--apply", "--yes")
    assert left.code == ctl.ATTENTION and left.json["silent"] == 1, left
    assert not left.json["left_quarantine"], left
    wrong = story.reconcile("--abort", story.id, "--apply", "--yes")
    wrong.refused(ctl.REFUSED, "do not tell what they know")
    story.a.tells = True
    assert story.reconcile("--apply", "--yes").code == ctl.OK
    story.everybody_committed()


def test_who_cannot_tell_what_has_ended(world):
    """A participant without /known: its commit cannot be learnt, so an operator decides; what it
    has done is never overruled in silence."""
    story = Story(world).decide_and_die().lose_the_end()
    story.a.tells = False
    left = story.reconcile("--apply", "--yes")
    assert left.code == ctl.ATTENTION and left.json["undecided"] == 1, left
    story.a.tells = True
    wrong = story.reconcile("--abort", story.id, "--apply", "--yes")
    wrong.refused(ctl.REFUSED, "cannot end this way")
    nobody = story.reconcile("--abort", "0190f2c4-7a1b-7c3d-8e4f-5a6b7c8d9e0f")
    nobody.refused(ctl.NOT_FOUND, "is not in doubt anywhere")
    story.reconcile("--commit", "nonsense").refused(ctl.USAGE, "is not a transaction id")
    assert story.reconcile("--apply", "--yes").code == ctl.OK
    story.everybody_committed()


@pytest.mark.parametrize("place", ["decision.in_commit", "log.after_commit"])
def test_a_reconciliation_that_is_killed_is_run_again(world, place):
    story = Story(world).decide_and_die().lose_the_end()
    died = story.reconcile("--apply", "--yes", VOW_FAILPOINT=f"{place}=kill")
    assert died.code in (-signal.SIGKILL, 128 + signal.SIGKILL), died
    again = story.reconcile("--apply", "--yes")
    assert again.code == ctl.OK, again
    assert again.json["quarantined"] is False
    assert again.json["left_quarantine"] == (place == "decision.in_commit")
    story.everybody_committed()


@pytest.mark.parametrize("word, other", [("--commit", "--abort"), ("--abort", "--commit")])
def test_what_an_operator_has_said_may_be_said_again(world, word, other):
    """Killed when it was written, it is run again with the same words, and once more by mistake."""
    story = Story(world).decide_and_die().lose_the_end()
    story.a.tells = False
    words = (word, story.id, "--apply", "--yes")
    died = story.reconcile(*words, VOW_FAILPOINT="log.after_commit=kill")
    assert died.code in (-signal.SIGKILL, 128 + signal.SIGKILL), died
    for more in ([], ["--apply", "--yes"]):
        assert story.reconcile(word, story.id, *more).code == ctl.OK
    wrong = story.reconcile(other, story.id, "--apply", "--yes")
    wrong.refused(ctl.REFUSED, "cannot end this way: the log knows")


def test_a_reconciliation_that_is_killed_while_it_asks_has_done_nothing(world):
    story = Story(world).decide_and_die().lose_the_end()
    with pytest.raises(TimeoutError):
        hanging(story, world)
    start_quarantined(story, "its witness file")
    assert story.reconcile("--apply", "--yes").code == ctl.OK
    story.everybody_committed()


def hanging(story, world):
    """Kills one that waits for a participant that stands still."""
    bank = world.bank("still")
    bank.process.signal(signal.SIGSTOP)
    try:
        with ctl.Terminal(
            "reconcile", "--log", story.vowd.log, "--participants", bank.url, "--apply", "--yes"
        ):
            time.monotonic()
            wait_until(lambda: locked(story.vowd), "it has the log")
    finally:
        bank.process.signal(signal.SIGCONT)
    raise TimeoutError("it was killed while it waited")


def locked(vowd):
    return ctl.run("check", "--log", vowd.log).code == ctl.LOCKED
