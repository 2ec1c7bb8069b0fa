"""Reads that wait are bounded in bytes (docs/MEMORY.md)."""

import pytest

from paxosd.core.effects import BUSY, DIVERGED, INVALID, NO_LEADER, ReadReady, Refusal
from paxosd.core.requests import (
    GET,
    LINEARIZABLE,
    STALE,
    HistoryAnswer,
    HistoryRequest,
    ReadAnswer,
    ReadRequest,
    RefusalAnswer,
)
from paxosd.core.state.machine import Machine
from paxosd.core.work import CLIENT_UNITS
from paxosd.replica import service as service_module
from paxosd.replica.service import Service
from paxosd.wire import EntryLimits


class Node:
    """Keeps the reads that wait for the leader's word."""

    leader = "n1"
    leading = True
    difference = None

    def __init__(self):
        self.reads = []

    def read(self, token):
        self.reads.append(token)

    def age_ms(self, now_ms=None):
        return 0


class Desk:
    def __init__(self):
        self.machine, self.node, self.answers = Machine(), Node(), []
        self.service = Service(
            self.node,
            self.machine,
            self,
            limits=EntryLimits(),
            read_bytes_max=1 << 20,
            history=lambda request: HistoryAnswer(request.request_id, [], 1, 1),
            admin=None,
        )

    def answer(self, client, message):
        self.answers.append(message)
        return True

    def read(self, number, mode=LINEARIZABLE, size=1000):
        self.service.receive(b"c", ReadRequest(number, mode, [[GET, b"k" * size]]))

    @property
    def refused(self):
        return [each.code for each in self.answers if type(each) is RefusalAnswer]


@pytest.fixture
def desk(monkeypatch):
    monkeypatch.setattr(service_module, "READS_BYTES_MAX", 10_000)
    return Desk()


def test_reads_that_wait_for_the_leaders_word(desk):
    for number in range(20):
        desk.read(number)
    assert len(desk.node.reads) == 7
    assert desk.service.waiting_bytes <= 10_000
    assert desk.refused == [BUSY] * 13


def test_what_is_refused_counts_as_what_it_is(desk):
    desk.read(1, LINEARIZABLE, size=EntryLimits().key_bytes_max + 1)
    desk.node.difference = object()
    desk.read(2)
    desk.read(3, STALE)
    assert desk.refused == [INVALID, DIVERGED, DIVERGED]
    kinds = desk.service.kinds
    assert (kinds["read"], kinds["stale_read"], desk.service.requests) == (2, 1, 3)


def test_those_that_wait_for_a_turn_with_time(desk):
    desk.machine.work.units = CLIENT_UNITS
    for number in range(20):
        desk.read(number, STALE)
    assert desk.refused == [BUSY] * 13
    desk.machine.work.units = 0
    desk.service.answer_waiting()
    assert sum(type(each) is ReadAnswer for each in desk.answers) == 7
    assert desk.service.waiting_bytes == 0


def test_requests_for_history(desk):
    for number in range(20):
        desk.service.receive(b"c", HistoryRequest(number, b"k" * 1000, b"l" * 1000, 1, 0))
    assert desk.refused == [BUSY] * 16
    desk.service.answer_waiting()
    assert sum(type(each) is HistoryAnswer for each in desk.answers) == 4
    assert desk.service.waiting_bytes == 0


@pytest.mark.parametrize("answer", [ReadReady(1), Refusal(NO_LEADER, "nobody", "")])
def test_whatever_becomes_of_one_its_bytes_are_free_again(desk, answer):
    desk.read(1)
    assert desk.service.waiting_bytes > 1000
    desk.service.reply(desk.node.reads[0], answer)
    assert desk.service.waiting_bytes == 0


def test_one_of_any_size_may_wait_alone(desk):
    desk.service._read_bytes_max = 1 << 20
    desk.service.receive(b"c", ReadRequest(1, LINEARIZABLE, [[GET, b"k" * 4000]] * 5))
    assert desk.refused == []
