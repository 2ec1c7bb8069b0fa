"""When commands are due, and which of them are measured."""

from dataclasses import replace

import pytest

from paxosctl.load.load import Load
from paxosctl.load.pace import GRACE_NS, NEVER_NS, Pace

S = 1_000_000_000
CLOSED = Load(outstanding=4, connections=2, size=1, keys=1)
OPEN = replace(CLOSED, rate=10.0, duration_ms=2000)


def take_all(pace, now_ns=NEVER_NS, commands=1):
    """(due, count) of everything until it is over."""
    found = []
    while count := pace.take(due_ns := pace.due_ns(now_ns), commands):
        found.append((due_ns, count))
    return found


class TestClosed:
    def test_is_due_at_once(self):
        pace = Pace(replace(CLOSED, count=5), 100)
        assert pace.due_ns(12345) == 12345
        assert [pace.take(200, 2) for _ in range(4)] == [2, 2, 1, 0]
        assert pace.is_over

    def test_the_warm_up_is_not_counted(self):
        pace = Pace(replace(CLOSED, count=5, warmup_ms=1000), 0)
        assert [pace.take(S - 1, 4) for _ in range(3)] == [4, 4, 4]
        assert [pace.take(S, 4) for _ in range(3)] == [4, 1, 0]

    def test_ends_with_the_time(self):
        pace = Pace(replace(CLOSED, duration_ms=1000, warmup_ms=1000), 0)
        assert pace.take(2 * S - 1, 1) == 1
        assert pace.take(2 * S, 1) == 0
        assert pace.unsent(3 * S) == 0


class TestOpen:
    def test_the_schedule_does_not_depend_on_the_answers(self):
        found = take_all(Pace(OPEN, 0))
        assert found == [(number * S // 10, 1) for number in range(20)]

    def test_of_requests_with_several_commands(self):
        assert take_all(Pace(OPEN, 0), commands=5) == [(0, 5), (S // 2, 5), (S, 5), (3 * S // 2, 5)]

    @pytest.mark.parametrize("of", [2, 3, 7])
    def test_processes_take_turns(self, of):
        parts = [
            take_all(Pace(OPEN.share(place, of), 0, place=place, of=of)) for place in range(of)
        ]
        dues = sorted(due_ns for part in parts for due_ns, _ in part)
        assert dues == pytest.approx([number * S / 10 for number in range(20)], abs=10)

    def test_what_was_not_sent_is_counted(self):
        pace = Pace(OPEN, 0)
        for _ in range(3):
            pace.take(pace.due_ns(5 * S), 1)
        assert pace.unsent(S // 2) == 2  # due at 0.3 and 0.4
        assert pace.unsent(5 * S) == 17
        assert not pace.is_over_at(2 * S + GRACE_NS - 1)
        assert pace.is_over_at(2 * S + GRACE_NS)

    def test_the_measured_time_does_not_begin_with_the_backlog_of_the_warm_up(self):
        pace = Pace(replace(OPEN, warmup_ms=1000), 0)
        assert pace.due_ns(S // 2) == 0
        assert pace.take(0, 1) == 1
        assert pace.due_ns(S) == S
        assert take_all(pace, now_ns=S) == [(S + number * S // 10, 1) for number in range(20)]


class TestShares:
    def test_all_parts_together_are_the_load(self):
        load = Load(outstanding=103, connections=10, clients=50, size=1, keys=1, rate=99.0, count=7)
        parts = [load.share(place, 4) for place in range(4)]
        for name in ("outstanding", "connections", "clients", "count", "rate"):
            assert sum(getattr(part, name) for part in parts) == getattr(load, name)
