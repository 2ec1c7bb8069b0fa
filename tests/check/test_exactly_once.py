"""Nothing acknowledged is lost, nothing is applied twice."""

import random

import pytest

from paxosd.check.exactly_once import FinalRow, check_exactly_once
from paxosd.check.history import CAS, DELETE, DELETE_RANGE, GET, PUT, RANGE
from tests.check.store_runs import op, true_run

UNKNOWN = {"outcome": "unknown"}
FAILED = {"outcome": "failed"}

ONE = op("a", PUT, "x", 1, 2, value=b"1", revision=1)
TWO = op("a", PUT, "x", 3, 4, value=b"2", revision=2)
MAYBE = op("b", PUT, "x", 3, -1, value=b"3", **UNKNOWN)


def final(*row):
    return {b"x": FinalRow(*row) if row else None}


def good(operations, rows):
    verdict = check_exactly_once(operations, rows)
    assert verdict.ok, verdict.explanation


def bad(operations, rows, words):
    verdict = check_exactly_once(operations, rows)
    assert verdict.status == "violation"
    assert verdict.key == b"x"
    assert words in verdict.explanation


def test_each_write_is_there_once():
    good([ONE, TWO], final(b"2", 1, 2, 2))


def test_a_key_that_nobody_wrote():
    good([], final())
    bad([], final(b"1", 1, 1, 1), "nobody wrote")


def test_the_last_write_is_lost():
    bad([ONE, TWO], final(b"1", 1, 1, 1), "lost")
    bad([ONE, TWO], final(b"1"), "still holds 1")  # without any revision, by real time
    bad([ONE], final(), "lost")


def test_a_write_below_an_unknown_one_is_fine_but_not_above():
    later = op("a", PUT, "x", 3, 9, value=b"5", revision=5)
    good([ONE, MAYBE, later], final(b"5", 1, 5, 3))
    bad([ONE, MAYBE, later], final(b"3", 1, 2, 2), "still of revision 2")


def test_what_is_not_known_is_not_judged():
    good([ONE], final(b"1"))


def test_a_value_that_two_wrote_names_nobody():
    again = op("b", PUT, "x", 3, 4, value=b"1", revision=2)
    reads = [op("c", GET, "x", 5, 6, result=b"1", modified=(n,)) for n in (1, 2)]
    good([ONE, again, *reads], final(b"1", 1, 2, 2))
    bad([ONE, again], final(b"1", 1, 2, 3), "applied twice")


def test_a_write_in_the_middle_is_lost():
    bad([ONE, TWO], final(b"2", 1, 2, 1), "lost: version 1 after 2")


def test_a_write_applied_twice_shows_in_the_version():
    bad([ONE, TWO], final(b"2", 1, 2, 3), "applied twice: version 3")


def test_a_write_applied_twice_shows_in_its_revision():
    bad([ONE, TWO], final(b"2", 1, 3, 2), "applied twice")


def test_an_old_write_applied_again_at_the_end():
    bad([ONE, TWO], final(b"1", 1, 3, 3), "applied twice")


def test_an_unknown_write_may_be_there_or_not():
    good([ONE, MAYBE], final(b"1", 1, 1, 1))
    good([ONE, MAYBE], final(b"3", 1, 2, 2))
    good([ONE, MAYBE], final(b"1", 1, 1, 1))
    good([MAYBE], final())


def test_an_unknown_write_applied_twice():
    bad([ONE, MAYBE], final(b"3", 1, 3, 3), "applied twice: version 3")


def test_an_unknown_write_seen_at_two_revisions():
    early = op("c", GET, "x", 5, 6, result=b"3", modified=(2,))
    late = op("c", RANGE, "x", 7, 8, end=b"z", result=((b"x", b"3"),), modified=(4,))
    good([ONE, MAYBE, early], final(b"3", 1, 2, 2))
    bad([ONE, MAYBE, early, late], final(b"3", 1, 4, 2), "at revisions 2 and 4")


def test_an_acknowledged_write_seen_at_another_revision():
    read = op("c", GET, "x", 5, 6, result=b"1", modified=(2,))
    bad([ONE, read], final(b"1", 1, 1, 1), "at revisions 1 and 2")


def test_two_values_at_one_revision():
    one = op("c", GET, "x", 5, 6, result=b"1", modified=(1,))
    other = op("c", GET, "x", 7, 8, result=b"3", modified=(1,))
    bad([ONE, MAYBE, one, other], final(b"3", 1, 1, 1), "two values at revision 1")


def test_a_failed_write_never_shows():
    refused = op("b", PUT, "x", 3, 4, value=b"3", **FAILED)
    good([ONE, refused], final(b"1", 1, 1, 1))
    bad([ONE, refused], final(b"3", 1, 2, 2), "refused")
    missed = op("b", CAS, "x", 3, 4, value=b"3", expect=b"9", result=False)
    good([ONE, missed], final(b"1", 1, 1, 1))
    bad([ONE, missed], final(b"3", 1, 2, 2), "refused")


def test_removals():
    gone = op("b", DELETE, "x", 5, 6, result=True, revision=3)
    good([ONE, TWO, gone], final())
    bad([ONE, TWO, gone], final(b"2", 1, 2, 2), "lost")
    bad([ONE, TWO, gone], final(b"2"), "lost")
    again = op("a", PUT, "x", 7, 8, value=b"4", revision=4)
    good([ONE, TWO, gone, again], final(b"4", 4, 4, 1))
    bad([ONE, TWO, gone, again], final(b"4", 1, 4, 3), "a removal was lost")
    bad([ONE, TWO, gone, again], final(), "lost")
    nothing = op("b", DELETE, "x", 5, 6, result=False)
    bad([ONE, nothing], final(), "lost")


def test_a_removal_of_a_lower_revision_explains_nothing():
    late = op("a", PUT, "x", 1, 9, value=b"5", revision=5)
    gone = op("b", DELETE, "x", 1, 20, result=True, revision=4)
    bad([ONE, late, gone], final(), "lost")


def test_range_removals():
    gone = op("b", DELETE_RANGE, "a", 5, 6, end=b"z", result=1, revision=3)
    good([ONE, TWO, gone], final())
    bad([ONE, TWO, gone], final(b"2", 1, 2, 2), "lost")
    elsewhere = op("b", DELETE_RANGE, "a", 5, 6, end=b"b", result=1, revision=3)
    bad([ONE, TWO, elsewhere], final(), "lost")


def test_an_unknown_removal_explains_an_absence_and_a_new_count():
    gone = op("b", DELETE, "x", 3, -1, **UNKNOWN)
    good([ONE, gone], final())
    good([ONE, gone], final(b"1", 1, 1, 1))
    later = op("a", PUT, "x", 5, 6, value=b"2", revision=3)
    good([ONE, gone, later], final(b"2", 3, 3, 1))
    bad([ONE, gone, later], final(b"2", 3, 3, 2), "applied twice")


def test_without_revisions_the_versions_count_where_nothing_was_removed():
    one = op("a", PUT, "x", 1, 2, value=b"1")
    two = op("a", PUT, "x", 3, 4, value=b"2")
    good([one, two], final(b"2", 0, 0, 2))
    bad([one, two], final(b"2", 0, 0, 3), "applied twice")
    bad([one, two], final(b"2", 0, 0, 1), "lost")
    gone = op("b", DELETE, "x", 1, 9, result=True)
    good([one, two, gone], final(b"2", 0, 0, 1))


def finals(history, store):
    keys = {key for each in history for key in (each.key,) if each.kind not in (RANGE,)}
    keys |= set(store.data)
    return {key: FinalRow(*store.data[key]) if key in store.data else None for key in sorted(keys)}


@pytest.mark.parametrize("unknown", [0.0, 0.1, 0.5])
def test_what_a_true_store_does_is_exactly_once(unknown):
    rng = random.Random(f"true {unknown}")
    for number in range(80):
        history, store = true_run(rng, 150, keys=4, clients=4, unknown=unknown)
        verdict = check_exactly_once(history, finals(history, store))
        assert verdict.ok, f"run {number}: {verdict.explanation}"


def test_a_store_that_forgets_or_repeats_is_found():
    rng = random.Random(37)
    mix = (PUT, PUT, GET, CAS)
    for number in range(150):
        history, store = true_run(rng, 80, keys=3, clients=3, mix=mix)
        assert check_exactly_once(history, finals(history, store)).ok
        key = rng.choice(sorted(store.data))
        value, create, modify, version = store.data[key]
        how = rng.randrange(3)
        if how == 0:  # applied once more
            store.data[key] = (value, create, store.revision + 1, version + 1)
        elif how == 1:  # one write less, and nobody noticed
            store.data[key] = (value, create, modify, version - 1)
        else:
            del store.data[key]
        assert not check_exactly_once(history, finals(history, store)).ok, f"run {number}"
