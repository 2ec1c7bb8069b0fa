"""The search for an order on histories drawn at random: its verdict, its cost, and every verdict
compared with that of a search that tries everything."""

import random
import time

import pytest

from paxosd.check.history import CAS, DELETE, DELETE_RANGE, GET, PUT, RANGE, History
from paxosd.check.linearizability import check_keys, check_linearizable
from paxosd.check.register import accesses_by_key, settle_seen
from tests.check.store_runs import MIX, brute_force, brute_force_key, op, true_run

# -- the verdict


def test_a_bound_exceeded_is_not_checked_and_never_ok():
    history, _ = true_run(random.Random(3), 200, keys=1, clients=6, revisions=False, unknown=0.2)
    verdict = check_keys(history.operations, steps_max=50)
    assert verdict.status == "not_checked"
    assert not verdict.ok
    assert "k0" in verdict.explanation
    assert check_linearizable(history, steps_max=50).status == "not_checked"
    assert check_linearizable(history).ok


def test_a_violation_elsewhere_outweighs_a_key_that_was_not_checked():
    history, _ = true_run(random.Random(3), 200, keys=1, clients=6, revisions=False, unknown=0.2)
    stale = op("z", GET, "zz", 1, 2, result=b"never written")
    verdict = check_linearizable([*history, stale], steps_max=50)
    assert verdict.status == "violation"
    assert verdict.key == b"zz"


def test_the_explanation_is_the_smallest_window_a_person_can_follow():
    history, _ = true_run(random.Random(5), 600, keys=2, clients=5)
    stale = next(each for each in reversed(history.operations) if each.kind == GET and each.result)
    older = next(each for each in history if each.kind == PUT and each.key == stale.key)
    stale.result = older.value
    stale.modified, stale.revision = (), -1
    verdict = check_keys(history.operations)
    assert verdict.status == "violation"
    assert stale in verdict.operations
    assert len(verdict.operations) <= 4
    lines = verdict.explanation.splitlines()
    assert len(lines) == 1 + len(verdict.operations)
    assert "no order of these operations" in lines[0]


def test_the_window_of_a_violation_is_a_violation_by_itself():
    rng = random.Random(11)
    found = 0
    for _ in range(150):
        history, _ = true_run(rng, 40, unknown=0.1, revisions=False)
        spoil(rng, history)
        verdict = check_keys(history.operations)
        if verdict.status == "violation":
            found += 1
            key = verdict.key
            mine = [each for each in verdict.operations if each.covers(key)]
            mine += [each for each in verdict.operations if each not in mine]
            again = check_keys(mine)
            assert again.status == "violation", verdict.explanation
    assert found > 30


# -- against a search that tries everything


def arbitrary(rng, count):
    """A history whose results may or may not make sense, with few values."""
    some = [None, b"0", b"1"]
    operations = []
    for n in range(count):
        begin = rng.randrange(12)
        kind = rng.choice(MIX)
        key = rng.choice([b"x", b"x", b"x", b"y"])
        fields = {"key": key, "invoked": begin, "returned": begin + rng.randrange(8)}
        if kind in (PUT, CAS):
            fields["value"] = rng.choice(some[1:])
        if kind == CAS:
            fields["expect"] = rng.choice(some)
        if kind in (RANGE, DELETE_RANGE):
            fields["end"] = rng.choice([b"y", b"z", b""])
        fields["result"] = {
            PUT: None,
            GET: rng.choice(some),
            CAS: rng.random() < 0.6,
            DELETE: rng.random() < 0.6,
            DELETE_RANGE: rng.randrange(2),
            RANGE: ((b"x", rng.choice(some[1:])),) if rng.random() < 0.7 else (),
        }[kind]
        outcome = rng.choice(["ok", "ok", "ok", "unknown", "unknown", "failed"])
        operations.append(op(f"c{n}", kind, outcome=outcome, **fields))
    return operations


def one_key(operations):
    """Without what needs two keys at once, so that a search by key is complete."""
    return [
        each for each in operations if each.kind not in (RANGE, DELETE_RANGE) and each.key == b"x"
    ]


def test_same_verdict_as_trying_everything():
    seed = 20251124
    print(f"seed {seed}")
    rng = random.Random(seed)
    verdicts = {True: 0, False: 0}
    for _ in range(6000):
        operations = one_key(arbitrary(rng, rng.randint(3, 9)))[:7]
        expected = brute_force(operations)
        verdict = check_keys(operations)
        assert verdict.ok == expected, [*operations, verdict.explanation]
        verdicts[expected] += 1
    print(verdicts)
    assert min(verdicts.values()) > 1000


def with_revisions(rng, operations):
    """The same with some revisions known, and some CAS by revision."""
    for each in operations:
        if each.kind == CAS and rng.random() < 0.5:
            each.expect_revision = rng.randrange(4)
        if rng.random() < 0.5:
            each.revision = rng.randint(1, 6)
        if rng.random() < 0.3:
            each.modified = (rng.randrange(5),)
    return operations


def test_same_verdict_as_trying_everything_with_revisions():
    seed = 20251125
    print(f"seed {seed}")
    rng = random.Random(seed)
    verdicts = {True: 0, False: 0}
    for _ in range(8000):
        operations = with_revisions(rng, one_key(arbitrary(rng, rng.randint(3, 9)))[:6])
        accesses = accesses_by_key(operations).get(b"x", [])
        expected = brute_force_key(settle_seen(accesses))
        assert check_keys(operations).ok == expected, operations
        verdicts[expected] += 1
    print(verdicts)
    assert min(verdicts.values()) > 1000


def test_never_a_violation_where_trying_everything_finds_an_order():
    seed = 7
    print(f"seed {seed}")
    rng = random.Random(seed)
    verdicts = {True: 0, False: 0}
    for _ in range(2500):
        operations = arbitrary(rng, rng.randint(3, 6))
        expected = brute_force(operations)
        verdict = check_linearizable(operations)
        assert verdict.ok or not expected, [*operations, verdict.explanation]
        verdicts[expected] += 1
    assert min(verdicts.values()) > 100


@pytest.mark.parametrize("revisions", [True, False])
@pytest.mark.parametrize("fresh", [True, False])
def test_what_a_true_store_answers_is_linearizable(revisions, fresh):
    rng = random.Random(f"{revisions}{fresh}")
    for number in range(60):
        unknown = rng.choice([0, 0.05, 0.3])
        how = {"keys": rng.randint(1, 5), "clients": rng.randint(1, 6)}
        history, _ = true_run(rng, 150, unknown=unknown, revisions=revisions, fresh=fresh, **how)
        verdict = check_linearizable(history, alone=True)
        assert verdict.ok, f"run {number}: {verdict.explanation}"


def spoil(rng, history):
    """Change one answer into one that is wrong, or nearly always so."""
    answered = [each for each in history if each.outcome == "ok"]
    reads = [each for each in answered if each.kind == GET]
    victim = rng.choice(reads[1:])
    others = [each.value for each in answered if each.kind == PUT and each.key == victim.key]
    others = [value for value in (*others, None, b"?") if value != victim.result]
    victim.result = rng.choice(others)
    victim.modified, victim.revision = (), -1


def test_a_good_history_with_one_answer_changed_is_found():
    rng = random.Random(17)
    found = 0
    for _ in range(200):
        history, _ = true_run(rng, 80, keys=2, clients=3)
        assert check_keys(history.operations).ok
        spoil(rng, history)
        found += check_keys(history.operations).status == "violation"
    print(f"{found} of 200")
    assert found > 190  # another value may also be right, if its writer was under way


def test_a_history_without_one_acknowledged_write_is_found():
    rng = random.Random(19)
    found = 0
    for _ in range(100):
        history, _ = true_run(rng, 80, keys=2, clients=3, mix=(PUT, GET, GET))
        seen = {each.result for each in history if each.kind == GET and each.outcome == "ok"}
        victim = rng.choice([each for each in history if each.kind == PUT and each.value in seen])
        rest = [each for each in history if each is not victim]
        found += check_keys(rest).status == "violation"
    assert found == 100


def test_a_thousand_operations_are_checked_in_a_moment():
    history, _ = true_run(random.Random(1), 1000, keys=20, clients=7, unknown=0.02)
    began = time.process_time()
    verdict = check_linearizable(history, alone=True)
    print(f"{(time.process_time() - began) * 1000:.0f} ms of CPU")  # printed, not asserted
    assert verdict.ok


@pytest.mark.parametrize("revisions", [True, False])
def test_many_unknown_writes_stay_within_the_bound(revisions):
    rng = random.Random(23)
    how = {"keys": 1, "clients": 8, "unknown": 0.3, "revisions": revisions}
    history, _ = true_run(rng, 600, **how)
    assert check_linearizable(history).ok
    spoil(rng, history)
    assert check_keys(history.operations).status == "violation"


def test_a_write_settled_long_after_costs_little():
    history = History()
    pending = [history.invoke("u", PUT, b"x", value=b"u%d" % n) for n in range(30)]
    for n in range(2000):
        write = history.invoke("a", PUT, b"x", value=b"%d" % n)
        history.ok(write, revision=2 * n + 1)
        read = history.invoke("b", GET, b"x")
        history.ok(read, b"%d" % n, revision=2 * n + 1, modified=(2 * n + 1,))
    for n, write in enumerate(pending):
        history.ok(write, revision=2 * (n * 50) + 2)
    assert check_keys(history.operations, steps_max=50_000).ok
