"""The sans-IO client: packing, retries, and that a retry never gets new numbers."""

import itertools

import pytest

from paxosd.core.client.answers import OTHER_CLUSTER
from paxosd.core.client.calls import NotSubmitted
from paxosd.core.commands import CLOSE, OPEN, PUT
from paxosd.core.effects import (
    BUSY,
    INTERRUPTED,
    NO_LEADER,
    NOT_LEADER,
    STOPPING,
)
from tests.core.client.protocol_desk import A, B, C, Desk

ONE = [PUT, b"k", b"v"]
TWO = [PUT, b"l", b"v"]


class TestPacking:
    def test_a_session_is_opened_first_and_waiting_commands_share_a_frame(self):
        desk = Desk()
        calls = desk.put(ONE, TWO)
        desk.open(77)
        where, message = desk.next()
        assert where == A
        assert message.entry == (77, 1, 0, [ONE, TWO])
        desk.answer(message, [5, 6], slot=3)
        assert [(call.result, call.slot) for call in calls] == [(5, 3), (6, 3)]
        assert desk.protocol.take_completed() == calls

    def test_acknowledgements_follow_the_oldest_frame_that_has_not_ended(self):
        desk = Desk()
        desk.put(ONE)
        desk.open()
        _, first = desk.next()
        desk.put(TWO)
        _, second = desk.next()
        assert (second.entry.first_seq, second.entry.acked) == (2, 0)
        desk.answer(second, [8])
        desk.put(ONE)
        _, third = desk.next()
        assert (third.entry.first_seq, third.entry.acked) == (3, 0)
        desk.answer(first, [7])
        desk.put(ONE)
        assert desk.next()[1].entry[1:3] == (4, 2)

    def test_frames_are_bounded_in_commands_in_bytes_and_in_number(self):
        desk = Desk(frame_commands_max=3, frame_bytes_max=300, frames_max=2)
        calls = desk.put(*[ONE] * 4, [PUT, b"k", b"x" * 90], [PUT, b"k", b"x" * 500], ONE)
        desk.open()
        sizes = []
        while desk.sent:
            assert len(desk.sent) <= 2
            _, message = desk.next()
            sizes.append(len(message.entry.commands))
            desk.answer(message, [1] * sizes[-1])
        assert sizes == [3, 2, 1, 1]
        assert all(call.done for call in calls)

    def test_the_window_of_a_session_is_never_exceeded(self):
        desk = Desk(window_max=5, frame_commands_max=3)
        desk.put(*[ONE] * 9)
        desk.open()
        _, first = desk.next()
        _, second = desk.next()
        assert [len(m.entry.commands) for m in (first, second)] == [3, 2]
        assert not desk.sent
        desk.answer(second, [1, 1])
        assert not desk.sent  # 1 … 3 are not acknowledged yet
        desk.answer(first, [1, 1, 1])
        assert desk.next()[1].entry[1:3] == (6, 5)

    def test_close_ends_the_session_but_not_one_that_may_be_asked_about(self):
        desk = Desk()
        desk.put(ONE)
        desk.open(77)
        _, message = desk.next()
        assert desk.protocol.close() is None  # a command is under way
        desk.answer(message, [1])
        endpoint, last = desk.protocol.close()
        assert endpoint == A
        assert last.entry == (77, 2, 1, [[CLOSE]])
        assert desk.protocol.close() is None


class TestRetries:
    def test_not_leader_follows_the_hint_with_the_same_numbers(self):
        desk = Desk()
        desk.put(ONE)
        desk.open()
        where, first = desk.next()
        desk.refuse(first, NOT_LEADER, hint=C)
        where, second = desk.next()
        assert where == C
        assert second.entry == first.entry
        assert second.request_id != first.request_id
        desk.answer(second, [4])
        desk.put(TWO)
        assert desk.next()[0] == C  # remembered

    def test_a_hint_to_an_endpoint_that_was_not_given_is_followed(self):
        desk = Desk(endpoints=(A,), up=(A, "tcp://d:1"))
        desk.put(ONE)
        desk.refuse(desk.next()[1], NOT_LEADER, hint="tcp://d:1")
        assert desk.next()[0] == "tcp://d:1"

    @pytest.mark.parametrize("code", [NO_LEADER, BUSY, INTERRUPTED, STOPPING, OTHER_CLUSTER])
    def test_other_refusals_are_retried_after_a_pause_with_the_same_numbers(self, code):
        desk = Desk()
        (call,) = desk.put(ONE)
        desk.open()
        _, first = desk.next()
        desk.refuse(first, code)
        assert not desk.sent
        desk.wait(desk.protocol.options.backoff_min_ms)
        where, second = desk.next()
        assert where == (A if code == BUSY else B)
        assert second.entry == first.entry
        desk.answer(second, [4])
        assert call.result == 4

    def test_pauses_grow_and_are_bounded(self):
        desk = Desk(endpoints=(A,))
        desk.put(ONE, timeout_ms=60_000)
        desk.open()
        pauses = []
        for _ in range(12):
            _, message = desk.next()
            desk.refuse(message, BUSY)
            began = desk.now
            while not desk.sent:
                desk.wait(1)
            pauses.append(desk.now - began)
        assert pauses[0] <= 20
        assert 250 <= pauses[-1] <= 500
        assert max(pauses) <= 500

    def test_silence_moves_on_and_the_late_answer_still_counts(self):
        desk = Desk()
        (call,) = desk.put(ONE)
        desk.open()
        _, first = desk.next()
        desk.wait(1000)
        where, second = desk.next()
        assert where == B
        assert second.entry == first.entry
        desk.answer(first, [4])
        assert call.result == 4
        desk.answer(second, [4])  # nobody waits for it any more
        assert desk.protocol.take_completed() == [call]

    def test_short_deadlines_lead_away_from_a_silent_endpoint_too(self):
        """Deadlines below the time of an attempt: the next call must not go there again."""
        desk = Desk(attempt_timeout_ms=1000)
        desk.put(ONE, timeout_ms=300)
        desk.open()
        assert desk.next()[0] == A
        desk.wait(300)
        desk.put(ONE, timeout_ms=300)  # it waits for a new session; the old one is in doubt
        assert desk.next()[0] == B

    def test_a_hint_back_to_a_silent_endpoint_is_not_followed(self):
        desk = Desk()
        desk.put(ONE)
        desk.open()
        desk.next()
        desk.wait(1000)
        where, message = desk.next()
        assert where == B
        desk.refuse(message, NOT_LEADER, hint=A)
        desk.wait(30)
        assert desk.next()[0] == C

    def test_nodes_that_point_at_each_other_do_not_make_a_storm(self):
        desk = Desk()
        desk.put(ONE)
        desk.open()
        count = 0
        until = desk.now + 1000
        while desk.now < until:
            while desk.sent:
                where, message = desk.next()
                count += 1
                desk.refuse(message, NOT_LEADER, hint=B if where == A else A)
            desk.wait(1)
        assert count < 60

    @pytest.mark.parametrize("order", list(itertools.permutations((A, B, C))))
    @pytest.mark.parametrize("answers", [{A: B, B: ""}, {A: B, B: A}, {A: "", B: ""}])
    def test_two_nodes_of_the_past_do_not_keep_it_from_the_leader(self, order, answers):
        """One that is no member any more points at the only member that it knew, which has lost its
        memory and knows nobody."""
        desk = Desk(endpoints=order)
        (call,) = desk.put(ONE)
        until = desk.now + 3000
        while not call.done and desk.now < until:
            while desk.sent:
                where, message = desk.next()
                if where != C:
                    desk.refuse(message, NO_LEADER, hint=answers[where])
                elif message.entry.commands == [[OPEN]]:
                    desk.answer(message, [(0, 0, 77)])
                else:
                    desk.answer(message, [2])
            desk.wait(1)
        assert call.result == 2

    def test_a_broken_connection_moves_on_at_once(self):
        desk = Desk()
        (call,) = desk.put(ONE)
        desk.open()
        _, first = desk.next()
        desk.lose(A)
        where, second = desk.next()
        assert where == B
        assert second.entry == first.entry
        desk.answer(second, [2])
        assert call.result == 2

    def test_what_the_connection_did_not_take_was_not_submitted(self):
        desk = Desk(endpoints=(A,))
        (call,) = desk.put(ONE, timeout_ms=300)
        desk.open()
        while not call.done:
            while desk.sent:
                desk.protocol.on_unsent(desk.next()[1].request_id, desk.now)
            desk.wait(10)
        assert isinstance(call.failure, NotSubmitted)

    def test_a_refused_connection_is_passed_over(self):
        desk = Desk(up=(C,))
        desk.put(ONE)
        assert desk.next()[0] == C
        assert desk.connects == [A, B, C]
