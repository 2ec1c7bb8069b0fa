"""A client gives its name when it opens a session, and does without where that is refused."""

import pytest

from paxosd.core.client.calls import Refused
from paxosd.core.commands import OPEN, PUT, Status
from paxosd.core.effects import BUSY, INVALID
from tests.core.client.protocol_desk import A, Desk

ONE = [PUT, b"k", b"v"]
MALFORMED = (int(Status.MALFORMED), 0, None)


def refuse(desk, message):
    desk.refuse(message, INVALID)


def judge_malformed(desk, message):
    desk.answer(message, [MALFORMED])


def test_it_stands_in_the_open():
    desk = Desk(name="anna@web1")
    desk.put(ONE)
    _, message = desk.next()
    assert message.entry.commands == [[OPEN, "anna@web1"]]
    desk.answer(message, [(0, 0, 77)])
    assert desk.next()[1].entry == (77, 1, 0, [ONE])


@pytest.mark.parametrize("refusal", [refuse, judge_malformed])
def test_where_it_is_refused_the_client_opens_without_one(refusal):
    desk = Desk(name="anna@web1")
    [call] = desk.put(ONE)
    _, first = desk.next()
    refusal(desk, first)
    where, second = desk.next()
    assert where == A
    assert second.entry.commands == [[OPEN]]
    assert second.entry.first_seq == first.entry.first_seq, "it may be one session"
    desk.answer(second, [(0, 0, 77)])
    _, message = desk.next()
    desk.answer(message, [5])
    assert call.result == 5


@pytest.mark.parametrize("refusal", [refuse, judge_malformed])
def test_an_open_without_one_that_is_refused_ends(refusal):
    desk = Desk(name="anna@web1")
    [call] = desk.put(ONE)
    refusal(desk, desk.next()[1])
    refusal(desk, desk.next()[1])
    assert isinstance(call.failure, Refused)
    assert not desk.sent


def test_a_late_refusal_of_an_earlier_sending_asks_once_more_only():
    desk = Desk(name="anna@web1")
    desk.put(ONE)
    _, first = desk.next()
    desk.refuse(first, BUSY)
    judge_malformed(desk, first)
    desk.wait(100)
    assert [message.entry.commands for _, message in desk.sent] == [[[OPEN]]]
