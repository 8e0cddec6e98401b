"""A log that loses its end, and the participants that know better: what the tests of quarantine
share."""

import json
import urllib.request

from vowtest import Toy, assert_committed, ctl, toy, wait_until


def wal(vowd):
    return vowd.log.with_name("vow.log-wal")


def witness(vowd):
    return vowd.log.with_name("vow.log-witness")


class Story:
    """A daemon that decided to commit a transaction over two participants, the second of which has
    not heard of it, and died. `before` is how long its write-ahead log was before that."""

    def __init__(self, world, a=None, vowd=None):
        self.vowd = vowd or world.vowd()
        self.a, self.b = a or world.toy(), world.toy()
        self.first = self.transfer()
        self.vowd.wait_ended(self.first)
        self.before = wal(self.vowd).stat().st_size

    def branches(self):
        bank = {"account": 1, "amount": 5}
        payload = bank if hasattr(self.a, "database") else None
        first = {"url": self.a.url, **({"payload": payload} if payload else {})}
        return [first, {"url": self.b.url}]

    def transfer(self, **more):
        return assert_committed(self.vowd.client.one_shot(self.branches(), **more))["id"]

    def decide_and_die(self):
        self.b.script("commit", toy.drop)
        self.id = self.transfer()
        wait_until(lambda: self.vowd.client.show(self.id)["branches"][0]["state"] == "committed",
                   "the first has committed")
        self.vowd.kill()
        return self  # and what the dead one sent last is still dropped

    def lose_the_end(self):
        with wal(self.vowd).open("r+b") as file:
            file.truncate(self.before)
        return self

    def reconcile(self, *more, **options):
        return ctl.run("reconcile", "--log", self.vowd.log, "--json", *more, **options)

    def everybody_committed(self):
        """AC1, and the daemon is as ever."""
        for participant in (self.a, self.b):
            if isinstance(participant, Toy):
                participant.unscript()
        self.vowd.start()
        wait_until(lambda: self.b.outcome(self.id) == "committed", "the second has committed")
        self.vowd.wait_state(self.id, "committed")
        assert self.vowd.client.outcome(self.id) == "committed"
        assert self.transfer()
        assert "quarantine" not in self.vowd.status()


def in_doubt(bank):
    with urllib.request.urlopen(f"{bank.url}/in-doubt", timeout=10) as answer:
        return json.load(answer)["branches"]


def expect_quarantine(vowd, id, because):
    """It says so wherever somebody looks, and tells nobody anything that it does not know."""
    client = vowd.client
    wait_until(lambda: not vowd.status()["loading"], "the log is read")
    ready = client.get("/readyz")
    assert ready.status == 503 and ready.json["reason"].startswith("quarantine"), ready
    quarantine = vowd.status()["quarantine"]
    assert because in quarantine["why"]
    assert f"vowctl reconcile --log {vowd.log}`" in quarantine["todo"], quarantine
    assert quarantine["todo"] in ready.json["reason"], ready
    refused = client.post("/v1/transactions", {})
    assert refused.status == 503 and refused.problem == "quarantined", refused
    assert client.get(f"/v1/transactions/{id}/outcome").json["outcome"] == "unknown"
    many = client.post("/v1/outcomes", {"transactions": [id]}).json["outcomes"]
    assert many == [{"transaction": id, "outcome": "unknown"}]
    for route in ("commit", "abort"):
        answer = client.post(f"/v1/transactions/{id}/{route}")
        assert answer.status == 503 and answer.problem == "quarantined", answer
    assert client.get(f"/v1/transactions/{id}").problem == "quarantined"
    metrics = client.get("/metrics").text
    assert "\nvow_quarantined 1\n" in metrics
    vowd.process.wait_for_line("the log may have lost records", "the daemon's log says it")
    status = ctl.run("status", "--url", vowd.url, "--check")
    assert status.code == ctl.ATTENTION and "IN QUARANTINE" in status.out and because in status.out
    assert "vowctl reconcile" in status.err


def start_quarantined(story, because):
    story.vowd.start(ready=False)
    expect_quarantine(story.vowd, story.id, because)
    assert story.vowd.client.outcome(story.first) == "committed", "what it knows is told"
    story.vowd.stop()
    said = "stopping in quarantine with 0 .*vowctl reconcile"
    story.vowd.process.wait_for_line(said, "it says so")


def cut(story):
    story.lose_the_end()


def flip_a_bit(story):
    """In the last commit: what is behind it would be noticed by the log itself."""
    data = bytearray(wal(story.vowd).read_bytes())
    frame = 24 + 8192
    commits = [at for at in range(32, len(data) - frame + 1, frame) if any(data[at + 4 : at + 8])]
    last = [at for at in commits if at < len(data)][-1]
    data[last + 24 + 100] ^= 1
    wal(story.vowd).write_bytes(data)
