"""What a trace may keep in memory while its thread is behind."""

import queue

import pytest

from paxosd.core.messages import Accept
from paxosd.core.types import Ballot
from paxosd.daemon import trace_backlog
from paxosd.daemon.trace_backlog import Backlog, bytes_in


def turn_with(value):
    return 1, 5.0, [(7, Accept(Ballot(1, "n1"), 3, value, 2))]


def test_the_bytes_of_messages_count_wherever_they_are():
    assert bytes_in(turn_with(b"x" * 1000)) == 1000
    assert bytes_in((1, "text", [b"ab", (b"c", None)])) == 3


def test_few_turns_with_much_in_them_fill_it(monkeypatch):
    monkeypatch.setattr(trace_backlog, "BYTES_WAITING_MAX", 2500)
    backlog = Backlog()
    for _ in range(2):
        backlog.put(turn_with(b"x" * 1000))
    assert not backlog.is_full
    backlog.put(turn_with(b"x" * 1000))
    assert backlog.is_full
    backlog.take(0.1)
    assert not backlog.is_full


def test_many_small_ones_do_too(monkeypatch):
    monkeypatch.setattr(trace_backlog, "TURNS_WAITING_MAX", 3)
    backlog = Backlog()
    for number in range(4):
        assert not backlog.is_full
        backlog.put((number,))
    assert backlog.is_full


def test_they_come_out_in_order_and_then_nothing():
    backlog = Backlog()
    backlog.put((1,))
    backlog.put(None)
    assert [backlog.take(0.1), backlog.take(0.1)] == [(1,), None]
    with pytest.raises(queue.Empty):
        backlog.take(0.01)
