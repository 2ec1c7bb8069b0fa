"""A client that cannot reach the leader has another node pass its commands on."""

import pytest

from paxosd.core.client.calls import OutcomeUnknown
from paxosd.core.commands import OPEN, OPENED_BY_MIN, PUT
from paxosd.core.effects import BUSY, INTERRUPTED, NO_LEADER, NOT_LEADER
from paxosd.core.requests import PASSES_ON, STALE, ForwardRequest, ReadRequest, WriteRequest
from tests.core.client.protocol_desk import NO_SCOUT_MS, A, B, C, Desk

ONE = [PUT, b"k", b"v"]


def cut_off(**options):
    """The leader, C, cannot be reached, and its session is to be opened."""
    desk = Desk(up=(A, B), **options)
    desk.lose(C)
    call = desk.put(ONE)[0]
    _, first = desk.next()
    return desk, call, first


def offered(desk, message):
    desk.refuse(message, NOT_LEADER, C, PASSES_ON)
    return desk.next()


def test_it_asks_the_node_that_offers_it_and_nothing_else_changes():
    desk, call, first = cut_off()
    where, opening = offered(desk, first)
    assert (where, type(opening)) == (A, ForwardRequest)
    assert opening.entry.commands == [[OPEN]]
    desk.answer(opening, [(0, 0, 77)])
    where, put = desk.next()
    assert (where, type(put)) == (A, ForwardRequest), "at once: it was offered before"
    assert put.entry == (77, 1, 0, [ONE])
    desk.answer(put, [5], slot=3)
    assert (call.result, call.slot) == (5, 3)


def test_a_leader_that_is_silent_is_not_reached_either():
    desk = Desk(attempt_timeout_ms=500, scout_ms=NO_SCOUT_MS)
    desk.put(ONE)
    _, first = desk.next()
    desk.refuse(first, NOT_LEADER, C, PASSES_ON)
    assert desk.next()[0] == C, "a hint is followed as long as nothing speaks against it"
    desk.wait(500)
    where, again = desk.next()
    assert (where, type(again)) == (A, WriteRequest)
    where, passed_on = offered(desk, again)
    assert (where, type(passed_on)) == (A, ForwardRequest)


@pytest.mark.parametrize("detail", [0, 2])
def test_who_does_not_offer_it_is_not_asked(detail):
    desk, _, first = cut_off()
    desk.refuse(first, NOT_LEADER, C, detail)
    desk.wait(1000)
    where, again = desk.next()
    assert (where, type(again)) == (B, WriteRequest)


def test_once_the_leader_can_be_reached_it_is_asked_itself():
    desk, _, first = cut_off()
    _, opening = offered(desk, first)
    desk.up.add(C)
    desk.protocol.on_connected(C, desk.now)
    desk.answer(opening, [(0, 0, 77)])
    where, put = desk.next()
    assert (where, type(put)) == (A, WriteRequest), "it says who leads now"
    desk.refuse(put, NOT_LEADER, C, PASSES_ON)
    assert desk.next()[0] == C


def test_what_was_passed_on_and_lost_keeps_its_number_and_may_have_happened():
    desk, call, first = cut_off()
    _, opening = offered(desk, first)
    desk.answer(opening, [(0, 0, 77)])
    _, put = desk.next()
    desk.refuse(put, INTERRUPTED)
    desk.wait(1000)
    _, again = desk.next()
    assert again.entry == put.entry
    desk.lose(A)
    desk.lose(B)
    desk.wait(10_000)
    assert type(call.failure) is OutcomeUnknown


@pytest.mark.parametrize("code", [NOT_LEADER, NO_LEADER, BUSY])
def test_a_refusal_of_what_was_passed_on_is_certain(code):
    desk, call, first = cut_off()
    _, opening = offered(desk, first)
    desk.answer(opening, [(0, 0, 77)])
    _, put = desk.next()
    desk.refuse(put, code)
    desk.lose(A)
    desk.lose(B)
    desk.wait(10_000)
    assert type(call.failure) is not OutcomeUnknown


def test_two_nodes_that_cannot_do_it_are_asked_in_turn_not_at_once():
    desk, _, first = cut_off()
    _, opening = offered(desk, first)
    desk.refuse(opening, NOT_LEADER, C)
    assert not desk.sent, "it backs off"
    desk.wait(1000)
    where, again = desk.next()
    assert (where, type(again)) == (B, WriteRequest)


def test_a_question_is_never_passed_on():
    desk = Desk(up=(A, B))
    desk.lose(C)
    desk.protocol.ask(ReadRequest(0, STALE, []), desk.now, 5000)
    desk.turn()
    _, first = desk.next()
    desk.refuse(first, NOT_LEADER, C, PASSES_ON)
    desk.wait(1000)
    assert all(type(message) is ReadRequest for _, message in desk.sent)


def test_an_opening_that_is_repeated_names_the_same_number():
    desk, _, first = cut_off()
    _, opening = offered(desk, first)
    desk.refuse(opening, INTERRUPTED)
    desk.wait(1000)
    _, again = desk.next()
    assert opening.entry.first_seq >= OPENED_BY_MIN
    assert again.entry == opening.entry == first.entry
    other, _, another = cut_off()
    other.protocol.submit_alone([OPEN], other.now, 5000)
    other.turn()
    assert other.next()[1].entry.first_seq != another.entry.first_seq
