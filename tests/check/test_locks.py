"""What holders of a lock recorded is judged: who held it when another did is found."""

import pytest

from paxosd.check.locks import LockRecords, check_locks
from paxosd.check.verdict import CHECKED_OK, VIOLATION


@pytest.fixture
def records():
    """Two holders, one after the other, each with a check and a write in its time."""
    made = LockRecords()
    for process, token, at_us in (("a", 5, 1000), ("b", 9, 3000)):
        made.acquired(process, token, at_us)
        made.checked(process, token, at_us + 500, held=True)
        made.wrote(process, token, at_us + 600, token + 1)
    return made


def test_one_after_the_other_is_right(records):
    records.checked("a", 5, 4000, held=False)
    records.refused("a", 5, 4100)
    verdict = check_locks(records)
    assert verdict.status == CHECKED_OK
    assert verdict.explanation == "held 2 times, 2 fenced writes, 1 refused"
    assert check_locks(LockRecords()).status == CHECKED_OK


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (lambda r: r.checked("a", 5, 3001, held=True), "a says that it holds the lock, with token"),
        (
            lambda r: r.wrote("a", 5, 3001, 8),
            "a wrote with its fence, with token 5, 0.001 ms",
        ),
        (lambda r: r.wrote("a", 5, 2999, 11), "a wrote with token 5 at revision 11, after b"),
        (lambda r: r.acquired("c", 9, 5000), "both acquired with token 9"),
    ],
)
def test_what_must_not_be_is_found(records, happens, words):
    happens(records)
    verdict = check_locks(records)
    assert verdict.status == VIOLATION
    assert words in verdict.explanation
