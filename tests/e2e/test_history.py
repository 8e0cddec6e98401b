"""What happened is kept for a configured age and count, and can be listed, filtered and paged."""

import urllib.parse

from vowtest import assert_aborted, assert_committed, parallel, toy, transaction_of, wait_until


def some_history(world, vowd):
    """Twelve transactions: eight committed, four aborted; a and b in each, c in the aborted
    ones."""
    a, b, c = world.toy("alpha"), world.toy("beta"), world.toy("gamma")
    c.script("prepare", toy.vote("abort", "never"))
    committed = [assert_committed(vowd.client.one_shot([a.url, b.url]))["id"] for _ in range(8)]
    branches = [a.url, {"url": c.url, "name": "third"}]
    aborted = [assert_aborted(vowd.client.one_shot(branches))["id"] for _ in range(4)]
    for id in committed:
        vowd.wait_state(id, "committed")
    for id in aborted:
        vowd.wait_state(id, "aborted")
    return committed, aborted, (a, b, c)


def ids(transactions):
    return [one["id"] for one in transactions]


def test_lists_can_be_filtered(world):
    vowd = world.vowd()
    committed, aborted, (_, b, c) = some_history(world, vowd)
    active = vowd.client.begin()
    newest_first = lambda some: sorted(some, reverse=True)
    assert ids(vowd.client.list()) == newest_first([*committed, *aborted, active])
    assert ids(vowd.client.list(state="committed")) == newest_first(committed)
    assert ids(vowd.client.list(state="aborted")) == newest_first(aborted)
    assert ids(vowd.client.list(state="active")) == [active]
    assert ids(vowd.client.list(participant="third")) == newest_first(aborted)
    assert ids(vowd.client.list(participant=b.url)) == newest_first(committed)
    assert vowd.client.list(participant="nobody") == []
    assert vowd.client.list(older_than_ms=3600000) == []
    assert ids(vowd.client.list(state="committed", participant=c.url)) == []


def test_pages_hold_each_transaction_once_also_while_new_ones_begin(world):
    vowd = world.vowd()
    committed, aborted, (a, b, _) = some_history(world, vowd)
    seen, cursor = [], None
    while True:
        query = {"limit": 5, **({"cursor": cursor} if cursor else {})}
        page = vowd.client.get("/v1/transactions?" + urllib.parse.urlencode(query)).json
        assert len(page["transactions"]) <= 5
        seen += ids(page["transactions"])
        cursor = page.get("next_cursor")
        if not cursor:
            break
        assert_committed(vowd.client.one_shot([a.url, b.url]))
    assert len(seen) == len(set(seen)) and set(committed + aborted) <= set(seen)


def test_a_transaction_tells_its_whole_story_with_times(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    b.script("commit", toy.answer(503, b"later"), times=2)
    id = vowd.client.begin()
    for one in (a, b):
        vowd.client.enlist(id, one.url)
    assert_committed(vowd.client.commit(id))
    shown = vowd.wait_state(id, "committed")
    events = [entry["kind"] for entry in shown["history"]]
    order = [
        "begun",
        "enlisted",
        "commit-asked",
        "prepare-sent",
        "vote",
        "decided",
        "decision-sent",
        "acknowledged",
        "ended",
    ]
    positions = [events.index(event) for event in order]
    assert positions == sorted(positions), events
    assert "attempt-failed" in events
    times = [entry["time"] for entry in shown["history"]]
    assert all(time.endswith("Z") for time in times)
    assert "503" in next(e["detail"] for e in shown["history"] if e["kind"] == "attempt-failed")


def test_history_outlives_a_restart_and_tells_of_it(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    b.script("commit", toy.answer(503))
    id = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    wait_until(lambda: b.count("commit"), "b is told")
    vowd.restart()
    b.unscript()
    shown = vowd.wait_state(id, "committed")
    events = [entry["kind"] for entry in shown["history"]]
    assert "recovered" in events and events.index("decided") < events.index("recovered")
    assert vowd.stop() == 0  # a kill might lose the end record, which nothing depends on
    vowd.start()
    assert [e["kind"] for e in vowd.client.show(id)["history"]] == events


def test_only_so_many_are_kept_and_open_ones_always(world):
    vowd, (a, b) = world.vowd(retention_count=10), world.two_toys()
    b.script("commit", toy.answer(503), times=1)
    c = world.toy()
    c.script("commit", toy.answer(503))
    stuck = assert_committed(vowd.client.one_shot([a.url, c.url]))["id"]
    for _ in range(40):
        assert_committed(vowd.client.one_shot([a.url, b.url]))
    wait_until(lambda: len(vowd.client.list(state="committed")) <= 10, "the oldest are purged", 20)
    assert vowd.client.state(stuck) == "committing"
    c.unscript()
    vowd.wait_state(stuck, "committed")


def test_only_so_old_ones_are_kept(world):
    vowd, (a, b) = world.vowd(retention_age_ms=300), world.two_toys()
    for _ in range(5):
        assert_committed(vowd.client.one_shot([a.url, b.url]))
    wait_until(lambda: not vowd.client.list(), "all are purged", 20)


def test_heuristic_ones_are_kept_until_they_are_forgotten(world):
    vowd, (a, b) = world.vowd(retention_count=0, retention_age_ms=0), world.two_toys()
    a.script("commit", toy.answer(200, {"outcome": "heuristic-abort"}), times=1)
    id = transaction_of(vowd.client.one_shot([a.url, b.url]))["id"]
    wait_until(lambda: vowd.client.show(id).get("heuristic"), "it is heuristic")
    for _ in range(5):
        assert_committed(vowd.client.one_shot([a.url, b.url]))
    wait_until(lambda: ids(vowd.client.list()) == [id], "only it is left", 20)
    assert vowd.client.forget(id, "checked").status == 200
    wait_until(lambda: not vowd.client.list(), "now it goes, too", 20)


def test_participants_are_listed_with_their_state(world):
    vowd, (a, b) = world.vowd(), world.two_toys()
    b.script("commit", toy.answer(503))
    parallel(lambda _: vowd.client.one_shot([a.url, b.url]), range(3))

    def look():
        all = {
            one["url"].rstrip("/"): one
            for one in vowd.client.get("/v1/participants").json["participants"]
        }
        return all if b.url in all and all[b.url]["state"] == "down" else None

    found = wait_until(look, "b is seen to be down")
    assert found[a.url]["state"] == "up" if a.url in found else True
    assert "503" in found[b.url]["last_error"] and found[b.url]["failures_in_row"] >= 1
    b.unscript()


def test_a_purged_commit_is_never_answered_as_aborted(world):
    vowd, (a, b) = world.vowd(retention_count=0), world.two_toys()
    forgotten = vowd.client.begin()
    vowd.kill()
    vowd.start()
    committed = assert_committed(vowd.client.one_shot([a.url, b.url]))["id"]
    wait_until(lambda: not vowd.client.list(), "it is purged", 20)
    younger = vowd.client.begin()
    for _ in range(2):
        for id in (committed, forgotten):
            for ask in (vowd.client.commit, vowd.client.abort):
                answer = ask(id)
                assert answer.status == 404 and answer.problem == "unknown-transaction", answer
                assert "older than the kept history" in answer.json["detail"], answer
            refused = vowd.client.post(f"/v1/transactions/{id}/branches", {"url": a.url})
            assert refused.status == 404, refused
        assert vowd.client.outcome(forgotten) == "aborted", "who is in doubt of it may give up"
        for id, purged in ((committed, True), (forgotten, True), (younger, None)):
            told = vowd.client.get(f"/v1/transactions/{id}/outcome").json
            assert told.get("purged") is purged, told
            (told,) = vowd.client.post("/v1/outcomes", {"transactions": [id]}).json["outcomes"]
            assert told.get("purged") is purged, told
        vowd.restart()
    assert_aborted(vowd.client.commit(younger))
