"""Reads, admin requests and commands of no session: where they are asked, and how they end."""

import pytest

from paxosd.core.client.calls import NotSubmitted
from paxosd.core.commands import CHECKSUM, CLOSE, MEMBERS, PUT
from paxosd.core.effects import (
    BUSY,
    STOPPING,
)
from paxosd.core.requests import (
    LINEARIZABLE,
    STALE,
    AdminAnswer,
    AdminRequest,
    ReadAnswer,
    ReadRequest,
    WriteAnswer,
)
from tests.core.client.protocol_desk import NO_SCOUT_MS, A, B, C, Desk

ONE = [PUT, b"k", b"v"]
TWO = [PUT, b"l", b"v"]


class TestQuestions:
    def test_a_read_is_repeated_elsewhere_and_ends_safe_to_retry(self):
        desk = Desk(scout_ms=NO_SCOUT_MS)
        call = desk.protocol.ask(ReadRequest(0, STALE, [[1, b"k"]]), desk.now, 2500)
        desk.turn()
        wheres = []
        while not call.done:
            wheres += [where for where, _ in desk.sent]
            desk.sent.clear()
            desk.wait(10)
        assert wheres == [A, B]
        assert call.failure.code == "no_answer"

    @pytest.mark.parametrize(("mode", "named"), [(LINEARIZABLE, 2), (STALE, 0)])
    def test_a_read_without_an_answer_names_its_sendings(self, mode, named):
        desk = Desk(scout_ms=NO_SCOUT_MS, first_request_id=700)
        call = desk.protocol.ask(ReadRequest(0, mode, [[1, b"k"]]), desk.now, 2500)
        desk.turn()
        desk.wait(2500)
        sent = tuple(message.request_id for _, message in desk.sent)
        assert len(sent) == 2
        assert min(sent) >= 700
        assert call.failure.read_ids == sent[:named]

    def test_an_answer_of_the_wrong_kind_is_ignored(self):
        desk = Desk()
        call = desk.protocol.ask(ReadRequest(0, STALE, [[1, b"k"]]), desk.now, 2500)
        desk.turn()
        _, message = desk.next()
        desk.protocol.on_answer(WriteAnswer(message.request_id, 1, [1]), desk.now)
        desk.protocol.on_answer(AdminAnswer(message.request_id, {}), desk.now)
        assert not call.done
        answer = ReadAnswer(message.request_id, 1, 1, 0, [None])
        desk.protocol.on_answer(answer, desk.now)
        assert call.result == answer

    def ask_status(self, desk, endpoint, **options):
        question = AdminRequest(0, "status", {})
        call = desk.protocol.ask(question, desk.now, 20_000, endpoint=endpoint, **options)
        desk.turn()
        return call

    def test_a_pinned_question_without_patience_is_asked_once_and_fails_with_its_endpoint(self):
        desk = Desk(up=(A, B))
        calls = [
            desk.protocol.ask(
                AdminRequest(0, "status", {}), desk.now, 2000, endpoint=each, patience_ms=0
            )
            for each in (A, B, C)
        ]
        desk.turn()
        assert [where for where, _ in desk.sent] == [A, B]
        assert calls[2].failure == NotSubmitted("unreachable", "refused")
        desk.wait(1500)
        assert len(desk.sent) == 2
        desk.lose(B)
        assert calls[1].failure.code == "unreachable"
        desk.wait(500)
        assert calls[0].failure.code == "no_answer"

    def test_a_pinned_question_is_asked_again_after_a_restart_of_its_node(self):
        desk = Desk()
        call = self.ask_status(desk, B)
        where, _ = desk.next()
        desk.lose(B)
        desk.wait(10_000)
        assert (where, call.done, desk.sent) == (B, False, [])  # it goes nowhere else
        desk.gain(B)
        where, message = desk.next()
        assert where == B
        answer = AdminAnswer(message.request_id, {"node": "b"})
        desk.protocol.on_answer(answer, desk.now)
        assert call.result == answer

    def test_a_pinned_question_waits_for_a_node_that_is_down_when_it_is_asked(self):
        desk = Desk(up=())
        call = self.ask_status(desk, A)
        desk.wait(15_000)
        assert not call.done
        desk.gain(A)
        assert desk.next()[0] == A

    @pytest.mark.parametrize("code", [BUSY, STOPPING])
    def test_a_pinned_question_is_asked_again_where_it_was_refused(self, code):
        desk = Desk()
        call = self.ask_status(desk, B)
        desk.refuse(desk.next()[1], code, hint=C)
        desk.wait(500)
        assert not call.done
        assert desk.next()[0] == B

    def test_a_pinned_question_is_asked_again_where_it_was_not_answered(self):
        desk = Desk()
        call = self.ask_status(desk, B)
        desk.wait(5000)
        assert [where for where, _ in desk.sent] == [B, B, B]
        first = desk.next()[1]
        desk.protocol.on_answer(AdminAnswer(first.request_id, {}), desk.now)
        assert call.result is not None

    def test_a_pinned_question_ends_at_its_deadline_and_says_what_was_wrong(self):
        desk = Desk(up=(A, C))
        call = self.ask_status(desk, B)
        desk.wait(19_999)
        assert not call.done
        desk.wait(1)
        assert call.failure == NotSubmitted("unreachable", "refused")

    def test_patience_counts_while_the_endpoint_is_down_and_from_the_question_on(self):
        desk = Desk(up=(A, C))
        first = self.ask_status(desk, B, patience_ms=600)
        desk.wait(599)
        assert not first.done
        desk.wait(1)
        assert first.failure == NotSubmitted("unreachable", "refused")
        second = self.ask_status(desk, B, patience_ms=600)
        desk.wait(599)
        desk.gain(B)
        assert desk.next()[0] == B
        desk.wait(5000)
        assert not second.done  # it is up, and may take until the deadline
        desk.lose(B)
        desk.wait(600)
        assert second.failure == NotSubmitted("unreachable", "lost")

    def test_a_pinned_question_that_may_not_be_repeated_waits_to_be_sent_and_is_sent_once(self):
        desk = Desk(up=())
        call = self.ask_status(desk, A, repeatable=False)
        desk.wait(5000)
        desk.gain(A)
        assert desk.next()[0] == A
        desk.lose(A)
        assert call.failure[:2] == (0, 0)  # unknown

    def test_what_must_not_be_repeated_ends_unknown(self):
        desk = Desk()
        call = desk.protocol.ask(
            AdminRequest(0, "fault_add", {}), desk.now, 2000, endpoint=A, repeatable=False
        )
        desk.turn()
        desk.wait(2000)
        assert call.failure[:2] == (0, 0)

    def test_a_change_of_the_membership_never_passes_for_one_that_was_not_made(self):
        desk = Desk()
        call = desk.protocol.submit_alone([MEMBERS, 3, b"{}"], desk.now, 4000)
        desk.turn()
        desk.wait(4000)
        assert len(desk.sent) > 1
        assert call.failure[:2] == (0, 0)
        unsent = Desk(up=()).protocol
        call = unsent.submit_alone([MEMBERS, 3, b"{}"], 1000, 500)
        unsent.on_tick(1500)
        assert call.failure.code == "no_answer"

    def test_commands_of_no_session_are_repeated(self):
        desk = Desk()
        call = desk.protocol.submit_alone([CHECKSUM], desk.now, 5000)
        closing = desk.protocol.submit_alone([CLOSE], desk.now, 5000, session=5)
        desk.turn()
        assert [m.entry for _, m in desk.sent] == [(0, 1, 0, [[CHECKSUM]]), (5, 1, 0, [[CLOSE]])]
        desk.sent.clear()
        desk.wait(1000)
        _, message = desk.next()
        desk.answer(message, [(0, 0, 12)], slot=12)
        assert (call.result, call.slot) == ((0, 0, 12), 12)
        assert not closing.done
