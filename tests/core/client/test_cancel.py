"""A call that nobody waits for any more ends at once, and truly."""

import pytest

from paxosd.core.client.calls import NotSubmitted, OutcomeUnknown
from paxosd.core.commands import FENCE, OPEN, PUT
from paxosd.core.requests import LINEARIZABLE, AdminRequest, ReadRequest
from tests.core.client.protocol_desk import Desk

ONE = [PUT, b"k", b"v"]
WHY = ("cancelled", "it was cancelled")


def opened(**options):
    """A client with a session, 77."""
    desk = Desk(**options)
    desk.put([PUT, b"first", b""])
    _, opening = desk.next()
    desk.answer(opening, [(0, 0, 77)])
    _, first = desk.next()
    desk.answer(first, [1])
    return desk


def cancel(desk, call):
    desk.protocol.cancel(call, *WHY)
    assert call.done
    assert desk.protocol.take_completed()[-1] is call
    return call.failure


class TestCommands:
    def test_one_that_waits_for_its_number(self):
        desk = Desk()
        call, other = desk.put(ONE, ONE)
        assert cancel(desk, call) == NotSubmitted(*WHY)
        _, opening = desk.next()
        assert opening.entry.commands[0][0] == OPEN
        desk.answer(opening, [(0, 0, 77)])
        _, put = desk.next()
        assert put.entry.commands == [ONE]
        desk.answer(put, [1])
        assert other.result == 1

    def test_one_that_was_sent(self):
        desk = opened()
        call, other = desk.put(ONE, [PUT, b"l", b"v"])
        _, frame = desk.next()
        failure = cancel(desk, call)
        assert type(failure) is OutcomeUnknown
        assert (failure.session, failure.seq) == (77, 2)
        desk.answer(frame, [5, 6])
        assert (call.result, call.failure) == (None, failure), "it has ended once"
        assert other.result == 6

    def test_its_number_is_never_acknowledged_so_that_its_outcome_can_be_asked(self):
        desk = opened()
        call = desk.put(ONE)[0]
        _, frame = desk.next()
        cancel(desk, call)
        desk.answer(frame, [5])
        desk.put(ONE)
        _, after = desk.next()
        assert after.entry.commands[0][0] == OPEN, "a session of its own for what follows"

    def test_one_of_a_frame_that_was_not_taken(self):
        desk = opened()
        call, other = desk.put(ONE, [PUT, b"l", b"v"])
        _, frame = desk.next()
        desk.protocol.on_unsent(frame.request_id, desk.now)
        assert cancel(desk, call) == NotSubmitted(*WHY)
        desk.wait(1000)
        _, again = desk.next()
        assert again.entry.commands == [[PUT, b"l", b"v"]]
        assert again.entry.first_seq == 3, "numbers are not given to other commands"
        desk.answer(again, [6])
        assert other.result == 6

    def test_one_that_was_sent_is_not_sent_again(self):
        desk = opened()
        call = desk.put(ONE)[0]
        desk.next()
        cancel(desk, call)
        desk.wait(5000)
        assert not [sent for _, sent in desk.sent if getattr(sent, "entry", None)]


class TestQuestions:
    def test_a_read_changes_nothing(self):
        desk = opened()
        call = desk.protocol.ask(ReadRequest(0, LINEARIZABLE, []), desk.now, 5000)
        desk.turn()
        call_id = desk.next()[1].request_id
        assert cancel(desk, call) == NotSubmitted(*WHY, read_ids=(call_id,))

    def test_what_must_not_be_asked_twice_may_have_happened(self):
        desk = opened()
        call = desk.protocol.ask(AdminRequest(0, "x", {}), desk.now, 5000, repeatable=False)
        desk.turn()
        desk.next()
        failure = cancel(desk, call)
        assert type(failure) is OutcomeUnknown
        assert failure.session == 0

    def test_a_command_of_no_session_may_have_happened(self):
        desk = opened()
        call = desk.protocol.submit_alone([FENCE, 77, 9], desk.now, 5000)
        desk.turn()
        desk.next()
        assert type(cancel(desk, call)) is OutcomeUnknown


def test_all_at_once():
    desk = opened()
    sent = desk.put(ONE, ONE)
    desk.next()
    read = desk.protocol.ask(ReadRequest(0, LINEARIZABLE, []), desk.now, 5000)
    waiting = [desk.protocol.submit(ONE, desk.now, 5000) for _ in range(3)]
    desk.protocol.abandon("closed", "the client is closed")
    assert {type(call.failure) for call in sent} == {OutcomeUnknown}
    assert [call.failure.seq for call in sent] == [2, 3]
    assert {call.failure.code for call in [read, *waiting]} == {"closed"}
    assert not desk.protocol.busy


def test_one_that_has_ended_stays_as_it_is():
    desk = opened()
    call = desk.put(ONE)[0]
    _, frame = desk.next()
    desk.answer(frame, [5])
    desk.protocol.cancel(call, *WHY)
    assert (call.result, call.failure) == (5, None)


@pytest.mark.parametrize("size", [70_000])
def test_one_that_is_held_until_the_limits_are_known(size):
    desk = Desk(learns=True)
    call = desk.protocol.submit([PUT, b"k", b"v" * size], desk.now, 5000)
    assert desk.protocol.busy
    assert cancel(desk, call) == NotSubmitted(*WHY)
    assert not desk.protocol.busy
