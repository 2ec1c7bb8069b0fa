"""The search for an order, key by key, on histories made by hand: known to be good or bad."""

from paxosd.check.history import CAS, DELETE, DELETE_RANGE, GET, PUT, RANGE
from paxosd.check.linearizability import check_keys, check_linearizable
from tests.check.store_runs import op

UNKNOWN = {"outcome": "unknown"}
FAILED = {"outcome": "failed"}


def good(*operations):
    verdict = check_keys(operations)
    assert verdict.ok, verdict.explanation
    assert check_linearizable(operations).ok


def bad(*operations, key=b"x"):
    verdict = check_keys(operations)
    assert verdict.status == "violation"
    assert verdict.key == key
    assert verdict.operations
    assert check_linearizable(operations).status == "violation"
    return verdict


# -- one key, by hand


def test_nothing_happened():
    good()


def test_a_read_of_a_key_that_never_was():
    good(op("a", GET, "x", 1, 2))


def test_a_read_of_a_value_nobody_wrote():
    bad(op("a", GET, "x", 1, 2, result=b"1"))


def test_a_read_sees_the_write_before_it():
    good(op("a", PUT, "x", 1, 2, value=b"1"), op("b", GET, "x", 3, 4, result=b"1"))


def test_stale_read():
    verdict = bad(
        op("a", PUT, "x", 1, 2, value=b"1"),
        op("a", PUT, "x", 3, 4, value=b"2"),
        op("b", GET, "x", 5, 6, result=b"1"),
    )
    assert "b: get x: 1" in verdict.explanation
    assert len(verdict.operations) == 3


def test_a_read_during_a_write_may_see_either():
    for seen in (b"1", b"2"):
        good(
            op("a", PUT, "x", 1, 2, value=b"1"),
            op("a", PUT, "x", 3, 10, value=b"2"),
            op("b", GET, "x", 5, 6, result=seen),
        )


def test_two_reads_during_a_write_may_not_go_back():
    bad(
        op("a", PUT, "x", 1, 2, value=b"1"),
        op("a", PUT, "x", 3, 20, value=b"2"),
        op("b", GET, "x", 5, 6, result=b"2"),
        op("c", GET, "x", 7, 8, result=b"1"),
    )


def test_lost_write():
    bad(op("a", PUT, "x", 1, 2, value=b"1"), op("b", GET, "x", 3, 4, result=None))


def test_double_apply_shows_as_a_value_that_comes_back():
    bad(
        op("a", PUT, "x", 1, 2, value=b"1"),
        op("b", PUT, "x", 3, 4, value=b"2"),
        op("c", GET, "x", 5, 6, result=b"2"),
        op("c", GET, "x", 7, 8, result=b"1"),
    )


def test_a_retried_cas_that_took_effect_twice():
    bad(
        op("a", PUT, "x", 1, 2, value=b"0"),
        op("a", CAS, "x", 3, 4, expect=b"0", value=b"1", result=True),
        op("b", CAS, "x", 5, 6, expect=b"1", value=b"0", result=True),
        op("c", GET, "x", 7, 8, result=b"1"),
    )


def test_accepted_by_one_and_not_chosen_read_as_nothing_and_then_as_the_value():
    """PITFALLS, Paxos 4: through {B, C} "nothing", then through {A, B} V, no write between."""
    write = op("w", PUT, "x", 1, -1, value=b"V", **UNKNOWN)
    nothing = op("r", GET, "x", 3, 4, result=None)
    value = op("r", GET, "x", 5, 6, result=b"V")
    good(write, nothing, value)  # it may have taken effect between the two: no violation yet
    bad(write, nothing, value, op("r", GET, "x", 7, 8, result=None))
    refused = op("w", PUT, "x", 1, 2, value=b"V", **FAILED)
    bad(refused, nothing, value)


def test_old_leader_serves_a_read_after_the_new_one_wrote():
    """PITFALLS, Paxos 7."""
    old = op("a", PUT, "x", 1, 2, value=b"old")
    new = op("b", PUT, "x", 3, 4, value=b"new")
    bad(old, new, op("c", GET, "x", 5, 6, result=b"old"))
    good(old, new, op("c", GET, "x", 3, 6, result=b"old"))


def test_a_cas_needs_what_it_expects():
    write = op("a", PUT, "x", 1, 2, value=b"1")
    good(write, op("b", CAS, "x", 3, 4, expect=b"1", value=b"2", result=True))
    bad(write, op("b", CAS, "x", 3, 4, expect=b"9", value=b"2", result=True))
    bad(write, op("b", CAS, "x", 3, 4, expect=b"1", value=b"2", result=False))
    good(write, op("b", CAS, "x", 3, 4, expect=None, value=b"2", result=False))


def test_two_cas_with_one_expectation_cannot_both_succeed():
    bad(
        op("a", PUT, "x", 1, 2, value=b"0"),
        op("b", CAS, "x", 3, 9, expect=b"0", value=b"1", result=True),
        op("c", CAS, "x", 4, 8, expect=b"0", value=b"2", result=True),
    )


def test_two_creations_cannot_both_succeed():
    bad(
        op("b", CAS, "x", 3, 9, expect=None, value=b"1", result=True),
        op("c", CAS, "x", 4, 8, expect=None, value=b"2", result=True),
    )


def test_cas_by_revision():
    write = op("a", PUT, "x", 1, 2, value=b"0", revision=7)
    good(write, op("b", CAS, "x", 3, 4, expect_revision=7, value=b"1", result=True, revision=8))
    bad(write, op("b", CAS, "x", 3, 4, expect_revision=6, value=b"1", result=True, revision=8))
    bad(write, op("b", CAS, "x", 3, 4, expect_revision=7, value=b"1", result=False))
    bad(write, op("b", CAS, "x", 3, 4, expect_revision=0, value=b"1", result=True, revision=8))
    good(op("b", CAS, "x", 3, 4, expect_revision=0, value=b"1", result=True, revision=1))
    two = [
        op("b", CAS, "x", 3, 9, expect_revision=7, value=b"1", result=True, revision=8),
        op("c", CAS, "x", 3, 9, expect_revision=7, value=b"2", result=True, revision=9),
    ]
    bad(write, *two)


def test_a_cas_that_wants_no_key_where_there_is_one_of_unknown_revision():
    write = op("a", PUT, "x", 1, 2, value=b"0")
    bad(write, op("b", CAS, "x", 3, 4, expect_revision=0, value=b"1", result=True))


def test_cas_by_revision_after_a_write_of_unknown_outcome():
    write = op("a", PUT, "x", 1, 2, value=b"0", revision=7)
    unknown = op("c", PUT, "x", 3, -1, value=b"1", **UNKNOWN)
    swap = {"expect_revision": 8, "value": b"2", "result": True, "revision": 9}
    good(write, unknown, op("b", CAS, "x", 4, 5, **swap))
    bad(write, op("b", CAS, "x", 4, 5, **swap))
    good(write, unknown, op("b", CAS, "x", 4, 5, expect_revision=7, value=b"2", result=False))
    read = op("d", GET, "x", 6, 7, result=b"1", revision=9, modified=(9,))
    bad(write, unknown, read, op("b", CAS, "x", 8, 9, **(swap | {"revision": 10})))


def test_a_missed_cas_says_which_revision_it_met():
    write = op("a", PUT, "x", 1, 2, value=b"0", revision=7)
    miss = {"expect": b"9", "value": b"1", "result": False}
    good(write, op("b", CAS, "x", 3, 4, modified=(7,), **miss))
    bad(write, op("b", CAS, "x", 3, 4, modified=(6,), **miss))
    bad(write, op("b", CAS, "x", 3, 4, modified=(0,), **miss))


def test_delete():
    write = op("a", PUT, "x", 1, 2, value=b"1")
    gone = op("b", DELETE, "x", 3, 4, result=True)
    good(write, gone, op("c", GET, "x", 5, 6, result=None))
    bad(write, gone, op("c", GET, "x", 5, 6, result=b"1"))
    bad(write, op("b", DELETE, "x", 3, 4, result=False))
    bad(op("b", DELETE, "x", 3, 4, result=True))
    bad(write, gone, op("c", DELETE, "x", 5, 6, result=True))
    good(op("b", DELETE, "x", 3, 4, result=False))


# -- unknown and failed


def test_unknown_takes_effect_late():
    good(
        op("a", PUT, "x", 1, -1, value=b"1", **UNKNOWN),
        op("b", GET, "x", 10, 11, result=None),
        op("b", PUT, "x", 12, 13, value=b"2"),
        op("b", GET, "x", 14, 15, result=b"2"),
        op("b", GET, "x", 16, 17, result=b"1"),
    )


def test_unknown_takes_effect_but_once():
    bad(
        op("a", PUT, "x", 1, -1, value=b"1", **UNKNOWN),
        op("b", GET, "x", 10, 11, result=b"1"),
        op("b", PUT, "x", 12, 13, value=b"2"),
        op("b", GET, "x", 14, 15, result=b"1"),
    )


def test_unknown_never_takes_effect_before_it_began():
    bad(
        op("b", GET, "x", 1, 2, result=b"1"),
        op("a", PUT, "x", 3, -1, value=b"1", **UNKNOWN),
    )


def test_unknown_may_never_take_effect():
    good(
        op("a", PUT, "x", 1, -1, value=b"1", **UNKNOWN),
        op("b", GET, "x", 10, 11, result=None),
    )


def test_unknown_removal_explains_an_absence_once():
    write = op("a", PUT, "x", 1, 2, value=b"1")
    again = op("a", PUT, "x", 7, 8, value=b"2")
    removal = op("b", DELETE, "x", 3, -1, **UNKNOWN)
    absent = op("c", GET, "x", 5, 6, result=None)
    good(write, removal, absent, again, op("c", GET, "x", 9, 10, result=b"2"))
    bad(write, removal, absent, again, op("c", GET, "x", 9, 10, result=None))


def test_unknown_cas_in_a_chain():
    first = op("a", PUT, "x", 1, -1, value=b"1", **UNKNOWN)
    second = op("b", CAS, "x", 1, -1, expect=b"1", value=b"2", **UNKNOWN)
    third = op("c", CAS, "x", 1, -1, expect=b"2", value=b"3", **UNKNOWN)
    good(first, second, third, op("d", GET, "x", 5, 6, result=b"3"))
    bad(second, third, op("d", GET, "x", 5, 6, result=b"3"))
    bad(first, third, op("d", GET, "x", 5, 6, result=b"3"))


def test_an_unknown_write_nobody_read_explains_a_missed_cas():
    write = op("a", PUT, "x", 1, 2, value=b"1")
    miss = op("b", CAS, "x", 5, 6, expect=b"1", value=b"2", result=False)
    bad(write, miss)
    good(write, op("c", PUT, "x", 3, -1, value=b"9", **UNKNOWN), miss)


def test_an_operation_that_never_got_an_end_is_unknown():
    good(op("a", PUT, "x", 1, -1, value=b"1", **UNKNOWN), op("b", GET, "x", 3, 4, result=b"1"))


def test_failed_never_takes_effect():
    bad(op("a", PUT, "x", 1, 2, value=b"1", **FAILED), op("b", GET, "x", 3, 4, result=b"1"))
    good(op("a", PUT, "x", 1, 2, value=b"1", **FAILED), op("b", GET, "x", 3, 4, result=None))


def test_an_unknown_read_says_nothing():
    good(op("a", GET, "x", 1, 2, result=b"?", **UNKNOWN))


# -- revisions within a key


def test_revisions_of_a_key_grow_in_real_time():
    bad(
        op("a", PUT, "x", 1, 2, value=b"1", revision=5),
        op("a", PUT, "x", 3, 4, value=b"2", revision=4),
    )


def test_concurrent_writes_come_in_the_order_of_their_revisions():
    first = op("a", PUT, "x", 1, 9, value=b"1", revision=5)
    second = op("b", PUT, "x", 1, 9, value=b"2", revision=4)
    good(first, second, op("c", GET, "x", 10, 11, result=b"1"))
    bad(first, second, op("c", GET, "x", 10, 11, result=b"2"))


def test_a_read_names_the_revision_of_what_it_saw():
    write = op("a", PUT, "x", 1, 2, value=b"1", revision=5)
    good(write, op("b", GET, "x", 3, 4, result=b"1", modified=(5,)))
    bad(write, op("b", GET, "x", 3, 4, result=b"1", modified=(6,)))


# -- ranges


def test_a_range_reads_every_key_known_in_it():
    x = op("a", PUT, "x", 1, 2, value=b"1")
    y = op("a", PUT, "y", 3, 4, value=b"1")
    good(x, y, op("b", RANGE, "x", 5, 6, end=b"z", result=((b"x", b"1"), (b"y", b"1"))))
    bad(x, y, op("b", RANGE, "x", 5, 6, end=b"z", result=((b"x", b"1"),)), key=b"y")
    bad(x, y, op("b", RANGE, "x", 5, 6, end=b"z", result=((b"y", b"1"),)))
    good(x, y, op("b", RANGE, "x", 5, 6, end=b"y", result=((b"x", b"1"),)))
    good(x, y, op("b", RANGE, "y", 5, 6, result=((b"y", b"1"),)))


def test_a_range_with_a_key_that_nobody_wrote():
    bad(op("b", RANGE, "a", 5, 6, end=b"z", result=((b"x", b"1"),)))


def test_a_range_with_a_row_outside_of_it():
    bad(op("b", RANGE, "a", 5, 6, end=b"b", result=((b"x", b"1"),)))


def test_delete_range_removes_every_key_in_it():
    x = op("a", PUT, "x", 1, 2, value=b"1")
    y = op("a", PUT, "y", 3, 4, value=b"1")
    wipe = op("b", DELETE_RANGE, "x", 5, 6, end=b"z", result=2)
    good(x, y, wipe, op("c", RANGE, "a", 7, 8))
    bad(x, y, wipe, op("c", GET, "y", 7, 8, result=b"1"), key=b"y")
    nothing = op("b", DELETE_RANGE, "x", 5, 6, end=b"z", result=0)
    bad(x, y, nothing)


def test_an_unknown_delete_range_may_have_removed_a_key():
    x = op("a", PUT, "x", 1, 2, value=b"1")
    wipe = op("b", DELETE_RANGE, "x", 3, -1, end=b"z", **UNKNOWN)
    good(x, wipe, op("c", GET, "x", 7, 8, result=None))
    bad(x, wipe, op("c", GET, "x", 7, 8, result=None), op("c", GET, "x", 9, 10, result=b"1"))


def test_a_removal_and_a_creation_of_unknown_outcome_before_a_cas_by_revision():
    """Found by a true store: seed 5 of a longer run."""
    good(
        op("a", PUT, "x", 1, 2, value=b"1", revision=1),
        op("b", DELETE, "x", 3, -1, **UNKNOWN),
        op("c", CAS, "x", 5, -1, expect=None, value=b"2", **UNKNOWN),
        op("a", CAS, "x", 7, 8, expect_revision=3, value=b"3", result=True, revision=4),
    )
