"""Whatever a participant answers when `vowctl reconcile` asks what it knows: what is not an answer
is taken for silence, which decides nothing, ends no quarantine, and is told with the participant's
address."""

import json

from lost_log import Story, start_quarantined
from vowtest import ctl, toy

NIL = toy.NIL
OTHER = "0190f2c4-7a1b-7c3d-8e4f-5a6b7c8d9e0f"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def known(*branches, **more):
    """An answer that says this; of itself it is in order."""
    body = {"branches": list(branches), "finished_below": NIL, **more}
    return toy.answer(200, json.dumps(body).encode())


def branch(transaction, number=1, state="aborted", **more):
    return {"transaction": transaction, "branch": number, "state": state, **more}


def bad_answers(id):
    """What it answers, and a word of the sentence about it."""
    yield toy.answer(200, b"\x00\xff\x1b[31m"), "not valid JSON"
    yield toy.answer(200, b""), "not valid JSON"
    yield toy.answer(200, b"<html>fine</html>", "text/html\x1b[31m"), "where JSON is due"
    yield toy.answer(200, b"[]"), "must be an object"
    yield toy.answer(200, b"{}"), "finished_below is missing"
    yield toy.answer(500, b"{}"), "HTTP status 500"
    yield toy.raw(b"SSH-2.0-not-http\r\n"), ""
    yield toy.raw(OK + b'Content-Length: 500\r\n\r\n{"branches":['), ""
    yield toy.raw(OK + b"Content-Length: 1099511627776\r\n\r\n{"), ""
    yield toy.endless, ""
    yield toy.hang, ""
    yield toy.drop, ""
    yield known(branch(id, state="perhaps")), "state"
    yield known(branch(id, number=0)), "branch"
    yield known(branch(id, number=4294967295)), "names branch 4294967295"
    yield known(branch("nonsense")), "transaction"
    yield known(branch(OTHER)), f"names {OTHER}, which it was not asked about"
    yield known(branch(OTHER, state="committed"), branch(id)), f"names {OTHER}"


def apply(story, *more):
    command = ("reconcile", "--log", story.vowd.log, "--timeout", "4s", "--apply", "--yes", *more)
    return ctl.run(*command)


def test_what_is_no_answer_decides_nothing(world):
    """The first has committed, and its answer is the only proof of that: without it, nothing is
    written, not even if an operator takes the silence for a no."""
    story = Story(world).decide_and_die().lose_the_end()
    for bad, word in bad_answers(story.id):
        story.a.unscript()
        story.a.script("known", bad)
        left = apply(story).refused(ctl.ATTENTION, "1 participants do not tell", "--without URL")
        (line,) = [line for line in left.lines if story.a.url in line]
        told = line.partition("  DOES NOT TELL: ")[2]
        assert len(told) > 10 and word in told and "\x1b" not in left.out + left.err, left
        assert f"{story.id}  undecided" in left.out and ": 0 decided" in left.lines[-1], left
        wrong = apply(story, "--abort", story.id)
        wrong.refused(ctl.REFUSED, "1 participants do not tell what they know of")
    start_quarantined(story, "its witness file has seen it at position")
    assert story.b.in_doubt() == [(story.id, 2)]
    story.a.unscript()
    assert "left quarantine" in apply(story).fine().out
    story.everybody_committed()


def test_an_answer_that_contradicts_itself_decides_nothing(world):
    story = Story(world).decide_and_die().lose_the_end()
    both = known(branch(story.id, state="committed"), branch(story.id, state="aborted"))
    story.a.script("known", both)
    left = apply(story).refused(ctl.ATTENTION, "need an operator's decision")
    assert story.a.url in left.out and ": 0 decided" in left.lines[-1], left
    start_quarantined(story, "its witness file has seen it at position")
    assert story.b.in_doubt() == [(story.id, 2)]
    story.a.unscript()
    assert "left quarantine" in apply(story).fine().out
    story.everybody_committed()
