"""Writes passed on to the leader: once is once, and nothing is claimed that is not known."""

import pytest

from paxosd.core.effects import BUSY, INTERRUPTED, NOT_LEADER
from paxosd.core.requests import PASSES_ON, RefusalAnswer, WriteAnswer, WriteRequest
from paxosd.replica import forwarding
from paxosd.replica.forwarding import (
    CONNECT_WAIT_MS,
    IDLE_MS,
    WAIT_MAX_MS,
    WAITING_BYTES_MAX,
    Forwarding,
)

LEADER, OTHER = "tcp://leader:1", "tcp://other:1"


class Wire:
    """A connection in the hands of the test."""

    def __init__(self):
        self.aims, self.sent, self.answers = [], [], []
        self.up, self.lost = True, False

    def aim(self, endpoint, node=""):
        self.aims.append(endpoint)

    def send(self, message):
        if self.up:
            self.sent.append(message)
        return self.up

    def receive(self, limit):
        answers, self.answers = self.answers[:limit], self.answers[limit:]
        return answers

    def take_lost(self):
        lost, self.lost = self.lost, False
        return lost


class Bench:
    def __init__(self):
        self.wire, self.answered, self.now_ms = Wire(), [], 0.0
        self.forwarding = Forwarding(self.wire, lambda *answer: self.answered.append(answer))

    def turn(self, ms=0.0, leader=LEADER):
        self.now_ms += ms
        self.forwarding.begin_turn(self.now_ms)
        self.forwarding.turn(leader)

    def ask(self, client, request_id, entry=b"entry"):
        self.forwarding.pass_on(client, request_id, entry, "n2", LEADER)

    def refusals(self):
        return [
            (client, answer.request_id, answer.code)
            for client, answer in self.answered
            if isinstance(answer, RefusalAnswer)
        ]


@pytest.fixture
def bench():
    return Bench()


def test_the_answer_goes_to_who_asked_under_the_number_that_it_gave(bench):
    bench.ask(b"a", 7)
    bench.ask(b"b", 7, b"another")
    first, second = bench.wire.sent
    assert (first.entry, second.entry) == (b"entry", b"another")
    assert type(first) is WriteRequest, "a node that gets it does not pass it on"
    assert first.request_id != second.request_id
    bench.wire.answers = [
        WriteAnswer(second.request_id, 9, [2]),
        WriteAnswer(first.request_id, 8, [1]),
    ]
    bench.turn()
    assert bench.answered == [(b"b", WriteAnswer(7, 9, [2])), (b"a", WriteAnswer(7, 8, [1]))]
    assert bench.forwarding.waiting_bytes == 0


def test_so_does_a_refusal_without_an_offer_to_pass_on(bench):
    bench.ask(b"a", 7)
    number = bench.wire.sent[0].request_id
    offer = RefusalAnswer(number, NOT_LEADER, "another leads", "n3", OTHER, PASSES_ON)
    bench.wire.answers = [offer]
    bench.turn()
    assert bench.answered == [(b"a", RefusalAnswer(7, NOT_LEADER, "another leads", "n3", OTHER, 0))]


@pytest.mark.parametrize("how", ["lost", "another-leads", "nobody-leads", "silence"])
def test_of_what_was_handed_over_and_not_answered_nothing_is_known(bench, how):
    bench.ask(b"a", 7)
    bench.turn()
    assert bench.answered == []
    if how == "lost":
        bench.wire.lost = True
        bench.turn()
        assert bench.wire.aims == [LEADER, LEADER], "another connection, not what is left of this"
    elif how == "silence":
        bench.turn(WAIT_MAX_MS)
    else:
        bench.turn(leader=OTHER if how == "another-leads" else "")
    assert bench.refusals() == [(b"a", 7, INTERRUPTED)]
    bench.wire.answers = [WriteAnswer(bench.wire.sent[0].request_id, 9, [1])]
    bench.turn()
    assert len(bench.answered) == 1, "one answer each"


def test_what_finds_no_connection_is_refused_for_sure(bench):
    bench.wire.up = False
    bench.ask(b"a", 7)
    bench.turn(CONNECT_WAIT_MS - 1)
    assert bench.answered == []
    bench.turn(1)
    assert bench.refusals() == [(b"a", 7, NOT_LEADER)]
    assert bench.answered[0][1].detail == 0
    assert bench.wire.sent == []
    assert bench.forwarding.waiting_bytes == 0


def test_what_waits_for_the_connection_leaves_in_order(bench):
    bench.wire.up = False
    for number in (1, 2, 3):
        bench.ask(b"a", number, b"%d" % number)
    bench.wire.up = True
    bench.turn(1)
    assert [message.entry for message in bench.wire.sent] == [b"1", b"2", b"3"]


def test_if_another_leads_what_was_held_is_refused_for_sure(bench):
    bench.wire.up = False
    bench.ask(b"a", 7)
    bench.turn(leader=OTHER)
    assert bench.refusals() == [(b"a", 7, NOT_LEADER)]


def test_the_bytes_that_wait_are_bounded(bench, monkeypatch):
    monkeypatch.setattr(forwarding, "WAITING_BYTES_MAX", 100)
    bench.ask(b"a", 1, bytes(60))
    bench.ask(b"b", 2, bytes(60))
    assert bench.refusals() == [(b"b", 2, BUSY)]
    bench.wire.answers = [WriteAnswer(bench.wire.sent[0].request_id, 9, [1])]
    bench.turn()
    bench.ask(b"b", 3, bytes(60))
    assert len(bench.wire.sent) == 2
    assert WAITING_BYTES_MAX <= 64 << 20


def test_so_is_their_number(bench, monkeypatch):
    monkeypatch.setattr(forwarding, "WAITING_MAX", 2)
    bench.ask(b"a", 1)
    bench.wire.up = False
    bench.ask(b"b", 2)  # held counts, too
    bench.ask(b"c", 3)
    assert bench.refusals() == [(b"c", 3, BUSY)]
    assert bench.forwarding.waiting_bytes == 2 * len(b"entry"), "what is refused takes no room"
    bench.wire.answers = [WriteAnswer(bench.wire.sent[0].request_id, 9, [1])]
    bench.turn()
    bench.ask(b"c", 4)
    assert bench.refusals() == [(b"c", 3, BUSY)]


def test_one_larger_than_all_that_may_wait_goes_alone(bench, monkeypatch):
    monkeypatch.setattr(forwarding, "WAITING_BYTES_MAX", 100)
    bench.ask(b"a", 1, bytes(200))
    assert len(bench.wire.sent) == 1


def test_an_idle_connection_is_closed(bench):
    bench.ask(b"a", 1)
    bench.turn(IDLE_MS)
    assert bench.wire.aims == [LEADER], "somebody waits"
    bench.wire.answers = [WriteAnswer(bench.wire.sent[0].request_id, 9, [1])]
    bench.turn()
    bench.turn(IDLE_MS)
    assert bench.wire.aims == [LEADER, ""]
