"""The check of what clients are shown sees what it is for."""

from types import SimpleNamespace

import pytest

from paxosd.core.commands import Change, KeyValue
from paxosd.core.requests import HistoryAnswer, RangePage, ReadAnswer, RefusalAnswer, WriteAnswer
from paxosd.core.rights import Principal, RightsTable
from paxosd.sim.cluster.read_checks import Question, ReadChecks
from paxosd.sim.cluster.violation import Violation

KEY, PREFIX = b"k" * 32, b"/app/"


def table(*, read=(PREFIX,), keys=(KEY,), required=True):
    who = Principal("app", "client", read, (), keys)
    return RightsTable(1, required, (who,), unconfirmed_ms_max=1000)


def checks_of(*tables, rate=1.0):
    """Tables in force from the slots 10, 20, … on; the clock of the node runs at this rate."""
    clock = SimpleNamespace(now_ms=0.0)
    clock.monotonic_ms = lambda: clock.now_ms * rate
    clock.true_ms = lambda shown_ms: shown_ms / rate
    checks = ReadChecks({"n1": SimpleNamespace(clock=clock)}, lambda name: 15)
    for number, each in enumerate(tables, 1):
        checks.on_table(10 * number, each)
    return checks, clock


def show(checks, clock, applied, *, at_ms=0.0, prefix=PREFIX, found=b"/app/1", stale=True):
    clock.now_ms = at_ms
    checks.ask(b"c", 1, Question(KEY, (prefix,), stale))
    page = RangePage([KeyValue(found, b"", 1, 1, 1)], None)
    checks.on_answer("n1", b"c", ReadAnswer(1, applied, 1, 0, [page]), at_ms)


def test_what_the_table_of_that_state_allows_is_fine():
    checks, clock = checks_of(table(), table(read=()))
    show(checks, clock, 10)
    show(checks, clock, 19, prefix=b"/app/1")
    show(checks, clock, 5, prefix=b"")  # there was no table yet
    assert checks.shown == 3


@pytest.mark.parametrize(
    ("applied", "prefix", "second"),
    [
        (20, PREFIX, table(read=())),
        (25, PREFIX, table(keys=())),
        (20, PREFIX, table(read=(b"/app/1/",))),
        (10, b"/", table()),
        (10, b"", table()),
    ],
)
def test_what_it_forbids_is_seen(applied, prefix, second):
    checks, clock = checks_of(table(), second)
    with pytest.raises(Violation, match="may not see"):
        show(checks, clock, applied, prefix=prefix)


def test_history_is_judged_by_what_the_node_has_applied():
    checks, _ = checks_of(table(keys=()))
    checks.ask(b"c", 1, Question(KEY, (PREFIX,), True))
    with pytest.raises(Violation, match="after slot 15"):
        checks.on_answer("n1", b"c", HistoryAnswer(1, [Change(1, 1, PREFIX, b"")], 2, 2), 0.0)


def test_keys_beside_what_was_asked_for_are_seen():
    checks, clock = checks_of(table())
    with pytest.raises(Violation, match="not asked for"):
        show(checks, clock, 10, found=b"/other")


@pytest.mark.parametrize("rate", [1.0, 1.25])
def test_the_bound_counts_from_when_it_was_acknowledged_by_the_clock_of_the_node(rate):
    checks, clock = checks_of(table(), table(keys=()), rate=rate)
    show(checks, clock, 15, at_ms=9000.0)  # nobody knows of it yet
    checks.on_answer("n1", b"x", WriteAnswer(7, 19, [1]), 9500.0)  # of a slot before it
    show(checks, clock, 15, at_ms=12_000.0)
    checks.on_answer("n1", b"x", WriteAnswer(7, 22, [1]), 12_000.0)
    show(checks, clock, 15, at_ms=12_000.0 + 999.0 / rate)
    show(checks, clock, 15, at_ms=20_000.0, stale=False)  # a quorum has confirmed it
    with pytest.raises(Violation, match="longer than 1000 ms after slot 20"):
        show(checks, clock, 15, at_ms=12_000.0 + 1001.0 / rate)


def test_refusals_and_questions_of_others_are_not_judged():
    checks, _ = checks_of(table(keys=()))
    checks.ask(b"c", 1, Question(KEY, (PREFIX,), True))
    checks.on_answer("n1", b"other", ReadAnswer(1, 15, 1, 0, []), 0.0)
    checks.on_answer("n1", b"c", RefusalAnswer(1, "forbidden", "", "", "", 0), 0.0)
    assert (checks.shown, checks.withheld) == (0, 1)
