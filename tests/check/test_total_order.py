"""The whole store by its revisions: what a search by key cannot see."""

import random

from paxosd.check.history import CAS, DELETE, DELETE_RANGE, GET, PUT, RANGE, History
from paxosd.check.linearizability import check_keys, check_linearizable
from paxosd.check.total_order import check_total_order
from tests.check.store_runs import op, true_run

UNKNOWN = {"outcome": "unknown"}


def good(*operations, alone=False):
    verdict = check_total_order(operations, alone=alone)
    assert verdict.ok, verdict.explanation


def bad(*operations, words, alone=False):
    verdict = check_total_order(operations, alone=alone)
    assert verdict.status == "violation"
    assert words in verdict.explanation
    assert check_linearizable(operations, alone=alone).status == "violation"
    return verdict


def test_without_revisions_there_is_nothing_to_say():
    good(op("a", PUT, "x", 1, 2, value=b"1"), op("b", GET, "x", 3, 4, result=b"?"))


def test_two_writes_at_one_revision():
    bad(
        op("a", PUT, "x", 1, 9, value=b"1", revision=1),
        op("b", PUT, "y", 1, 9, value=b"1", revision=1),
        words="two writes at revision 1",
    )


def test_a_value_seen_at_the_revision_of_another_write():
    bad(
        op("a", PUT, "x", 1, 2, value=b"1", revision=1),
        op("b", PUT, "y", 1, -1, value=b"2", **UNKNOWN),
        op("c", GET, "y", 3, 4, result=b"2", modified=(1,)),
        words="two writes at revision 1",
    )


def test_a_later_revision_in_an_earlier_slot():
    bad(
        op("a", PUT, "x", 1, 9, value=b"1", revision=1, slot=5),
        op("b", PUT, "y", 1, 9, value=b"1", revision=2, slot=4),
        words="earlier slot",
    )


def test_writes_to_two_keys_against_real_time():
    """Each key alone is fine."""
    first = op("a", PUT, "x", 1, 2, value=b"1", revision=2)
    second = op("b", PUT, "y", 3, 4, value=b"1", revision=1)
    assert check_keys([first, second]).ok
    bad(first, second, words="began after revision 2")
    good(first, op("b", PUT, "y", 2, 4, value=b"1", revision=1))


def test_a_read_of_another_key_against_real_time():
    write = op("a", PUT, "x", 1, 2, value=b"1", revision=5)
    read = op("b", GET, "y", 3, 4, revision=4)
    assert check_keys([write, read]).ok
    bad(write, read, words="began after revision 5")
    good(write, op("b", GET, "y", 3, 4, revision=5))


def test_a_write_below_what_a_read_before_it_had_seen():
    read = op("b", GET, "y", 1, 2, revision=5)
    bad(read, op("a", PUT, "x", 3, 4, value=b"1", revision=5), words="began after revision 5")


def test_slots_against_real_time():
    miss = op("a", CAS, "x", 1, 2, expect=b"1", value=b"2", result=False, slot=9)
    bad(miss, op("b", DELETE, "y", 3, 4, result=False, slot=9), words="slot 9")
    good(miss, op("b", GET, "y", 3, 4, slot=9))
    bad(miss, op("b", GET, "y", 3, 4, slot=8), words="slot 9")
    good(miss, op("b", DELETE, "y", 2, 4, result=False, slot=8))


def test_a_range_that_is_no_snapshot():
    """It saw x as of before and y as of after: each could be so, both together never were."""
    x1 = op("a", PUT, "x", 1, 2, value=b"1", revision=1)
    x2 = op("a", PUT, "x", 10, 12, value=b"2", revision=2)
    y1 = op("a", PUT, "y", 14, 16, value=b"1", revision=3)
    torn = {"end": b"z", "result": ((b"x", b"1"), (b"y", b"1"))}
    read = op("b", RANGE, "x", 5, 20, **torn)
    assert check_keys([x1, x2, y1, read]).ok
    bad(x1, x2, y1, read, words="at no moment of its time")
    bad(x1, x2, y1, op("b", RANGE, "x", 5, 20, revision=3, **torn), words="at revision 3")
    whole = {"end": b"z", "result": ((b"x", b"2"), (b"y", b"1"))}
    good(x1, x2, y1, op("b", RANGE, "x", 5, 20, **whole))
    good(x1, x2, y1, op("b", RANGE, "x", 5, 20, revision=3, **whole))


def test_a_range_with_too_many_moments_is_not_checked(monkeypatch):
    monkeypatch.setattr("paxosd.check.total_order.POINTS_MAX", 10)
    writes = [
        op("a", PUT, "x", 2 * n, 2 * n + 1, value=b"%d" % n, revision=n) for n in range(1, 20)
    ]
    read = op("b", RANGE, "x", 1, 100, result=((b"x", b"7"),))
    assert check_total_order([*writes, read]).status == "not_checked"
    assert check_linearizable([*writes, read]).status == "not_checked"


def test_a_range_that_missed_what_was_acknowledged_before_it():
    x1 = op("a", PUT, "x", 1, 2, value=b"1", revision=1)
    y1 = op("a", PUT, "y", 3, 4, value=b"1", revision=2)
    words = "at no moment of its time"
    bad(x1, y1, op("b", RANGE, "x", 5, 6, end=b"z", result=((b"x", b"1"),)), words=words)


def test_a_range_with_an_unknown_write():
    x1 = op("a", PUT, "x", 1, 2, value=b"1", revision=1)
    y1 = op("a", PUT, "y", 3, -1, value=b"1", **UNKNOWN)
    for rows in (((b"x", b"1"),), ((b"x", b"1"), (b"y", b"1"))):
        good(x1, y1, op("b", RANGE, "x", 5, 6, end=b"z", result=rows))
    bad(x1, y1, op("b", RANGE, "x", 5, 6, end=b"z"), words="at no moment")


def test_a_range_tells_where_an_unknown_write_went():
    x1 = op("a", PUT, "x", 1, 2, value=b"1", revision=1)
    y1 = op("a", PUT, "y", 3, -1, value=b"1", **UNKNOWN)
    rows = ((b"x", b"1"), (b"y", b"1"))
    seen = op("b", RANGE, "x", 5, 6, end=b"z", result=rows, revision=3, modified=(1, 2))
    x2 = op("a", PUT, "x", 7, 8, value=b"2", revision=4)
    good(x1, y1, seen, x2)
    missing = op("c", RANGE, "x", 3, 6, end=b"z", result=((b"x", b"1"),), revision=2)
    bad(x1, y1, seen, x2, missing, words="it was 1")


def test_one_write_at_two_revisions():
    x1 = op("a", PUT, "x", 1, 2, value=b"1", revision=1)
    bad(x1, op("b", GET, "x", 3, 4, result=b"1", modified=(2,)), words="applied twice")
    unknown = op("a", PUT, "x", 1, -1, value=b"1", **UNKNOWN)
    bad(
        unknown,
        op("b", GET, "x", 3, 4, result=b"1", modified=(1,)),
        op("b", GET, "x", 5, 6, result=b"1", modified=(2,)),
        words="applied twice",
    )


def test_a_revision_too_many_is_a_double_apply():
    x1 = op("a", PUT, "x", 1, 2, value=b"1", revision=1)
    x2 = op("a", PUT, "x", 3, 4, value=b"2", revision=3)
    good(x1, x2)  # somebody else may write too
    bad(x1, x2, words="revision 2", alone=True)
    good(x1, op("b", PUT, "y", 1, -1, value=b"9", **UNKNOWN), x2, alone=True)
    late = op("b", PUT, "y", 5, -1, value=b"9", **UNKNOWN)
    bad(x1, x2, late, words="revision 2", alone=True)
    bad(x1, op("a", PUT, "x", 3, 4, value=b"2", outcome="failed"), x2, words="made", alone=True)


def test_two_gaps_need_two_unknown_writes():
    x1 = op("a", PUT, "x", 1, 2, value=b"1", revision=1)
    x2 = op("a", PUT, "x", 3, 4, value=b"2", revision=4)
    unknown = op("b", PUT, "y", 1, -1, value=b"9", **UNKNOWN)
    bad(x1, unknown, x2, words="revision 3", alone=True)
    good(x1, unknown, op("c", DELETE, "y", 1, -1, **UNKNOWN), x2, alone=True)


def test_the_first_revision_counts_too():
    bad(op("a", PUT, "x", 1, 2, value=b"1", revision=2), words="revision 1", alone=True)


def test_a_read_that_saw_a_later_revision_than_anybody_made():
    x1 = op("a", PUT, "x", 1, 2, value=b"1", revision=1)
    read = op("b", GET, "x", 3, 4, result=b"1", revision=2)
    bad(x1, read, words="revision 2", alone=True)
    good(x1, read)


def test_a_cas_that_succeeded_against_the_order():
    x1 = op("a", PUT, "x", 1, 9, value=b"1", revision=1)
    x2 = op("b", PUT, "x", 1, 9, value=b"2", revision=2)
    swap = {"value": b"3", "result": True, "revision": 3}
    bad(x1, x2, op("c", CAS, "x", 1, 9, expect=b"1", **swap), words="held 2, not 1")
    good(x1, x2, op("c", CAS, "x", 1, 9, expect=b"2", **swap))
    bad(x1, x2, op("c", CAS, "x", 1, 9, expect_revision=1, **swap), words="of revision 2")
    good(x1, x2, op("c", CAS, "x", 1, 9, expect_revision=2, **swap))


def test_removals_against_the_order():
    x1 = op("a", PUT, "x", 1, 9, value=b"1", revision=2)
    bad(op("b", DELETE, "x", 1, 9, result=True, revision=1), x1, words="no such key")
    gone = op("b", DELETE_RANGE, "x", 1, 9, end=b"z", result=2, revision=3)
    bad(x1, gone, words="2 keys removed where there were 1")
    good(x1, op("a", PUT, "y", 1, 9, value=b"1", revision=1), gone)


def test_a_delete_range_is_one_moment_for_all_its_keys():
    x1 = op("a", PUT, "x", 1, 2, value=b"1", revision=1)
    y1 = op("a", PUT, "y", 3, 4, value=b"1", revision=2)
    wipe = op("b", DELETE_RANGE, "x", 5, 20, end=b"z", result=2, revision=3)
    half = {"end": b"z", "result": ((b"y", b"1"),)}
    bad(x1, y1, wipe, op("c", RANGE, "x", 6, 8, **half), words="at no moment")
    bad(x1, y1, wipe, op("c", RANGE, "x", 6, 8, revision=2, **half), words="it was 1")
    good(x1, y1, wipe, op("c", RANGE, "x", 6, 8, end=b"z", result=()))


def test_a_read_with_the_wrong_modify_revision():
    x1 = op("a", PUT, "x", 1, 2, value=b"1", revision=1)
    x2 = op("a", PUT, "x", 3, 4, value=b"1", revision=2)  # the same value again
    read = {"result": b"1", "revision": 2}
    bad(x1, x2, op("b", GET, "x", 5, 6, modified=(1,), **read), words="1 of 1")
    good(x1, x2, op("b", GET, "x", 5, 6, modified=(2,), **read))


def test_acknowledged_writes_without_a_revision():
    """A store without revisions, or a client that drops them: uncertain, not wrong."""
    x1 = op("a", PUT, "x", 1, 2, value=b"1", revision=1)
    x2 = op("a", PUT, "x", 3, 4, value=b"2")
    good(x1, x2, op("b", GET, "x", 5, 6, result=b"2", revision=2), alone=True)
    good(x1, x2, op("b", RANGE, "x", 5, 6, result=((b"x", b"2"),)))


def test_a_cluster_that_others_use_too():
    history = History()
    for n in range(50):
        write = history.invoke("a", PUT, b"x", value=b"%d" % n)
        history.ok(write, revision=1_000_000 + 10 * n)
        read = history.invoke("a", GET, b"x")
        history.ok(read, b"%d" % n, revision=1_000_003 + 10 * n)
        lost = history.invoke("b", PUT, b"y", value=b"%d" % n)
        history.unknown(lost)
    assert check_linearizable(history).ok
    assert not check_linearizable(history, alone=True).ok


def mutate(rng, history):
    """One change that the order of revisions forbids."""
    reads = [each for each in history if each.outcome == "ok" and each.kind == RANGE]
    reads = [each for each in reads if each.rows]
    writes = [each for each in history if each.outcome == "ok" and each.revision > 0]
    writes = [each for each in writes if each.kind == PUT]
    how = rng.randrange(3)
    if how == 0 and reads:  # a row is missing
        victim = rng.choice(reads)
        victim.result = victim.rows[1:]
        victim.modified = victim.modified[1:]
    elif how == 1:  # a write is told another's revision
        one, other = rng.sample(writes, 2)
        one.revision = other.revision
    else:  # a write is not in the history at all
        victim = rng.choice(writes)
        history.operations.remove(victim)
    return history


def test_mutated_runs_of_a_true_store_are_found():
    rng = random.Random(29)
    for number in range(150):
        history, _ = true_run(rng, 150, keys=6, clients=5)
        assert check_total_order(history, alone=True).ok
        verdict = check_linearizable(mutate(rng, history), alone=True)
        assert verdict.status == "violation", f"run {number}"


def test_true_runs_with_much_unknown_are_good():
    rng = random.Random(31)
    for number in range(150):
        unknown = rng.choice([0.02, 0.2, 0.6])
        history, _ = true_run(rng, 120, keys=rng.randint(1, 6), clients=5, unknown=unknown)
        for each in history:
            if rng.random() < 0.1:
                each.revision = -1  # a client that drops it
            if rng.random() < 0.1:
                each.modified = ()
        for alone in (True, False):
            verdict = check_total_order(history, alone=alone)
            assert verdict.ok, f"run {number}: {verdict.explanation}"
