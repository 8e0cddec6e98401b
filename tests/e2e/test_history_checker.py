"""The checker of the bank's histories finds nothing in a right one, and finds each seeded mistake,
by the rule that is there for it; also when it is run by hand on a file."""

import copy
import json
import subprocess
import sys

import pytest
from vowtest import history

T1, T2, T3, T4 = (f"01900000-0000-7000-8000-00000000000{n}" for n in (1, 2, 3, 4))


def operation(key, amount, status, transaction, source=("left", 1), target=("right", 2)):
    return {
        "key": key,
        "from": list(source),
        "to": list(target),
        "amount": amount,
        "asked": 0.1,
        "answered": 0.2,
        "attempts": ["lost", status],
        "status": status,
        "transaction": transaction,
    }


def right_history():
    """Two transfers that committed, one that aborted, one that committed and nobody was told, and
    one of the first again with its key."""
    return {
        "accounts": {"left": {"1": 100, "2": 100}, "right": {"1": 100, "2": 100}},
        "operations": [
            operation("a", 10, 200, T1),
            operation("b", 5, 200, T2, ("right", 1), ("left", 2)),
            operation("c", 900, 409, T3),
            operation("d", 7, None, None),
            operation("a", 10, 200, T1),
        ],
        "events": [[0.15, "vowd is killed"]],
        "books": {
            "left": {
                "ledger": [[T1, 1, 1, -10], [T2, 2, 2, 5], [T4, 1, 1, -7]],
                "balances": {"1": 83, "2": 105},
                "prepared": [],
            },
            "right": {
                "ledger": [[T1, 2, 2, 10], [T2, 1, 1, -5], [T4, 2, 2, 7]],
                "balances": {"1": 95, "2": 117},
                "prepared": [],
            },
        },
        "outcomes": {T1: "committed", T2: "committed", T3: "aborted", T4: "committed"},
    }


def test_a_right_history_is_in_order():
    assert history.check(right_history()) == []


def forget_leg(h):
    """Half a transfer; the balance is mended, so that only the books' halves differ."""
    del h["books"]["right"]["ledger"][0]
    h["books"]["right"]["balances"]["2"] -= 10


def apply_twice(h):
    for bank, account, delta in (("left", "1", -10), ("right", "2", 10)):
        row = h["books"][bank]["ledger"][0]
        h["books"][bank]["ledger"].append(row)
        h["books"][bank]["balances"][account] += delta


def wrong_account(h):
    h["books"]["left"]["ledger"][0][2] = 2
    h["books"]["left"]["balances"] = {"1": 93, "2": 95}


def nobodys(h):
    h["books"]["left"]["ledger"].append(["x", 1, 1, -1])
    h["books"]["right"]["ledger"].append(["x", 2, 2, 1])
    h["books"]["left"]["balances"]["1"] -= 1
    h["books"]["right"]["balances"]["2"] += 1
    h["outcomes"]["x"] = "committed"


def lose_ok(h):
    """An acknowledged transfer is gone without a trace."""
    for bank, account, delta in (("left", "1", -10), ("right", "2", 10)):
        del h["books"][bank]["ledger"][0]
        h["books"][bank]["balances"][account] -= delta
    h["outcomes"][T1] = "aborted"


def keep_failure(h):
    h["operations"][1]["status"] = 409


def odd_status(h):
    h["operations"][3]["status"] = 500


def two_answers(h):
    h["operations"].append(operation("a", 10, 409, T3))


def steal(h):
    h["books"]["left"]["balances"]["2"] -= 1


def overdraw(h):
    """The start is changed with it: only the sign is wrong."""
    h["accounts"]["left"]["1"] = 10
    h["books"]["left"]["balances"]["1"] = -7


def new_account(h):
    h["books"]["left"]["balances"]["3"] = 0


def lose_money(h):
    h["accounts"]["left"]["2"] += 1


def leave_lock(h):
    h["books"]["right"]["prepared"].append("transaction x is prepared and not ended")


def coordinator_differs(h):
    h["outcomes"][T2] = "aborted"


def coordinator_invents(h):
    h["outcomes"][T3] = "committed"


def undecided(h):
    h["outcomes"][T3] = "undecided"


def not_asked(h):
    del h["outcomes"][T4]


def no_aborts(h):
    del h["operations"][2]


@pytest.mark.parametrize(
    "mistake, rule",
    [
        (forget_leg, "all_or_nothing"),
        (apply_twice, "all_or_nothing"),
        (wrong_account, "all_or_nothing"),
        (nobodys, "all_or_nothing"),
        (lose_ok, "outcomes_are_true"),
        (keep_failure, "outcomes_are_true"),
        (odd_status, "outcomes_are_true"),
        (two_answers, "a_key_has_one_answer"),
        (steal, "balances_are_sums"),
        (overdraw, "balances_are_sums"),
        (new_account, "balances_are_sums"),
        (lose_money, "the_total_holds"),
        (leave_lock, "nothing_is_left_prepared"),
        (coordinator_differs, "the_coordinator_agrees"),
        (coordinator_invents, "the_coordinator_agrees"),
        (undecided, "the_coordinator_agrees"),
        (not_asked, "the_coordinator_agrees"),
        (no_aborts, "it_shows_something"),
    ],
)
def test_each_mistake_is_found_by_its_rule(mistake, rule):
    wrong = right_history()
    mistake(wrong)
    assert rule in {text.partition(":")[0] for text in history.check(wrong)}
    assert wrong != right_history()


def test_every_rule_is_shown_to_fail_alone():
    """One mistake a rule that no other rule sees."""
    alone = {
        "all_or_nothing": wrong_account,
        "outcomes_are_true": odd_status,
        "a_key_has_one_answer": two_answers,
        "balances_are_sums": new_account,
        "nothing_is_left_prepared": leave_lock,
        "the_coordinator_agrees": coordinator_differs,
        "it_shows_something": no_aborts,
    }
    for rule, mistake in alone.items():
        wrong = right_history()
        mistake(wrong)
        assert {text.partition(":")[0] for text in history.check(wrong)} == {rule}
    # The total is the sum of what the others look at one by one: it sees nothing alone.
    assert {rule.__name__ for rule in history.CHECKS} - set(alone) == {"the_total_holds"}


def test_a_saved_history_is_judged_again_from_the_command_line(tmp_path):
    def judge(content):
        path = tmp_path / "history.json"
        path.write_text(json.dumps(content))
        done = subprocess.run(
            [sys.executable, history.__file__, str(path)], capture_output=True, text=True
        )
        return done.returncode, done.stdout

    assert judge(right_history()) == (0, "5 operations: in order\n")
    wrong = copy.deepcopy(right_history())
    lose_ok(wrong)
    code, text = judge(wrong)
    assert code == 1 and f"{T1} was answered committed and is in no ledger" in text
