"""The sans-IO client: each ending, and that a retry never gets new numbers."""

import itertools
import random

import pytest

from paxosd.core.client.calls import NotSubmitted, OutcomeUnknown, Refused
from paxosd.core.commands import CHECKSUM, CLOSE, MEMBERS, OPEN, PUT, Status
from paxosd.core.effects import (
    BUSY,
    COMPACTED,
    FORBIDDEN,
    INTERRUPTED,
    INVALID,
    NO_LEADER,
    NOT_LEADER,
    STOPPING,
)
from paxosd.core.requests import (
    STALE,
    AdminAnswer,
    AdminRequest,
    ReadAnswer,
    ReadRequest,
    WriteAnswer,
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

    @pytest.mark.parametrize("code", [NO_LEADER, BUSY, INTERRUPTED, STOPPING])
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


class TestEndings:
    def test_no_endpoint_ever_reached(self):
        desk = Desk(up=())
        (call,) = desk.put(ONE, timeout_ms=700)
        desk.wait(699)
        assert not call.done
        desk.wait(1)
        assert call.failure == NotSubmitted("unreachable", "no endpoint can be reached")

    def test_with_less_patience_it_ends_before_its_deadline(self):
        desk = Desk(up=(), unreachable_ms=100)
        (call,) = desk.put(ONE, timeout_ms=5000)
        desk.wait(101)
        assert call.failure.code == "unreachable"

    def test_only_ever_refused_is_not_submitted(self):
        desk = Desk()
        (call,) = desk.put(ONE, timeout_ms=500)
        desk.open()
        while not call.done:
            while desk.sent:
                desk.refuse(desk.next()[1], NO_LEADER)
            desk.wait(1)
        assert call.failure == NotSubmitted(NO_LEADER, "it says no_leader")

    def test_one_sending_without_an_answer_makes_it_unknown_for_good(self):
        desk = Desk()
        (call,) = desk.put(ONE, timeout_ms=2500)
        desk.open(77)
        desk.next()  # never answered
        while not call.done:
            while desk.sent:
                desk.refuse(desk.next()[1], NO_LEADER)
            desk.wait(1)
        assert isinstance(call.failure, OutcomeUnknown)
        assert call.failure[:2] == (77, 1)

    def test_interrupted_makes_it_unknown(self):
        desk = Desk()
        (call,) = desk.put(ONE, timeout_ms=500)
        desk.open(77)
        desk.refuse(desk.next()[1], INTERRUPTED)
        while not call.done:
            while desk.sent:
                desk.refuse(desk.next()[1], NO_LEADER)
            desk.wait(1)
        assert call.failure[:2] == (77, 1)

    def test_after_an_unknown_outcome_a_new_session_and_the_old_one_can_be_asked(self):
        desk = Desk()
        (lost,) = desk.put(ONE, timeout_ms=300)
        desk.open(77)
        _, message = desk.next()
        (other,) = desk.put(TWO, timeout_ms=9000)
        _, second = desk.next()
        desk.wait(300)
        assert lost.failure[:2] == (77, 1)
        desk.wait(1000)  # the other goes on in its session, and acknowledges nothing above
        retried = desk.next()[1].entry
        assert retried.first_seq == second.entry.first_seq
        assert retried.acked == 0
        desk.put(ONE)
        desk.open(78)
        assert desk.next()[1].entry[:3] == (78, 1, 0)
        assert not other.done
        assert message.entry.session == 77

    @pytest.mark.parametrize("code", [INVALID, FORBIDDEN, COMPACTED])
    def test_a_final_refusal_ends_it(self, code):
        desk = Desk()
        (call,) = desk.put(ONE)
        desk.open()
        desk.refuse(desk.next()[1], code, detail=12)
        assert call.failure == Refused(code, f"it says {code}", 12)

    def test_one_bad_command_does_not_take_its_neighbours_along(self):
        desk = Desk()
        bad = [PUT, b"bad", b""]
        calls = desk.put(ONE, bad, TWO)
        desk.open()
        desk.refuse(desk.next()[1], INVALID)
        seqs = []
        while desk.sent:
            _, message = desk.next()
            seqs.append(message.entry.first_seq)
            (command,) = message.entry.commands
            if command == bad:
                desk.refuse(message, INVALID)
            else:
                desk.answer(message, [3])
        assert seqs == [1, 2, 3]  # the numbers that they had
        assert [call.result for call in calls] == [3, None, 3]
        assert isinstance(calls[1].failure, Refused)

    def test_a_session_that_is_unknown_is_replaced_without_a_word(self):
        desk = Desk()
        (call,) = desk.put(ONE)
        desk.open(77)
        desk.answer(desk.next()[1], [(int(Status.SESSION_UNKNOWN), 0, None)])
        assert not call.done
        desk.open(78)
        _, message = desk.next()
        assert message.entry[:2] == (78, 1)
        desk.answer(message, [5])
        assert call.result == 5

    def test_but_not_if_an_earlier_sending_may_have_been_applied(self):
        desk = Desk()
        (call,) = desk.put(ONE)
        desk.open(77)
        desk.next()
        desk.wait(1000)
        desk.answer(desk.next()[1], [(int(Status.SESSION_UNKNOWN), 0, None)])
        assert call.failure[:2] == (77, 1)

    def test_a_fenced_command_can_never_commit(self):
        desk = Desk()
        (call,) = desk.put(ONE)
        desk.open()
        desk.answer(desk.next()[1], [(int(Status.FENCED), 0, None)])
        assert call.failure.code == "fenced"

    def test_a_full_window_is_retried_with_the_same_number(self):
        desk = Desk()
        calls = desk.put(ONE, TWO)
        desk.open()
        desk.answer(desk.next()[1], [4, (int(Status.WINDOW), 0, None)])
        assert calls[0].result == 4
        desk.wait(30)
        _, message = desk.next()
        assert message.entry[1:] == (2, 1, [TWO])

    def test_the_doubt_about_a_frame_goes_over_to_its_parts(self):
        desk = Desk()
        calls = desk.put(ONE, TWO, timeout_ms=2500)
        desk.open(77)
        desk.next()  # never answered, and perhaps still on its way
        desk.wait(1000)
        desk.answer(desk.next()[1], [4, (int(Status.WINDOW), 0, None)])
        while not calls[1].done:
            while desk.sent:
                desk.refuse(desk.next()[1], NO_LEADER)
            desk.wait(1)
        assert calls[1].failure[:2] == (77, 2)

    def test_a_session_that_may_be_asked_about_is_not_closed(self):
        desk = Desk()
        (call,) = desk.put(ONE, timeout_ms=300)
        desk.open(77)
        desk.wait(300)
        assert isinstance(call.failure, OutcomeUnknown)
        assert desk.protocol.close() is None

    def test_no_session_to_be_had(self):
        desk = Desk(endpoints=(A,))
        (call,) = desk.put(ONE, timeout_ms=300)
        while not call.done:
            while desk.sent:
                desk.answer(desk.next()[1], [(int(Status.SESSIONS_FULL), 0, None)])
            desk.wait(1)
        assert call.failure.code == "sessions_full"

    def test_deadlines_differ_inside_a_frame_that_was_only_refused(self):
        desk = Desk(endpoints=(A,))
        soon = desk.protocol.submit(ONE, desk.now, 100)
        late = desk.protocol.submit(TWO, desk.now, 9000)
        desk.turn()
        desk.open()
        while not soon.done:
            while desk.sent:
                desk.refuse(desk.next()[1], BUSY)
            desk.wait(1)
        assert isinstance(soon.failure, NotSubmitted)
        while not desk.sent:
            desk.wait(1)
        _, message = desk.next()
        assert message.entry[1:] == (2, 1, [TWO])  # the other one must not be sent any more
        desk.answer(message, [3])
        assert late.result == 3


class TestQuestions:
    def test_a_read_is_repeated_elsewhere_and_ends_safe_to_retry(self):
        desk = Desk()
        call = desk.protocol.ask(ReadRequest(0, STALE, [[1, b"k"]]), desk.now, 2500)
        desk.turn()
        wheres = []
        while not call.done:
            wheres += [where for where, _ in desk.sent]
            desk.sent.clear()
            desk.wait(10)
        assert wheres == [A, B]
        assert call.failure.code == "no_answer"

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


def test_whatever_happens_each_call_ends_once_and_says_the_truth():
    """Random answers, losses and pauses, against a model of what the cluster carried out."""
    for seed in range(60):
        rng = random.Random(seed)
        desk = Desk(frame_commands_max=4, unreachable_ms=rng.choice([None, 400]))
        applied: dict[tuple[int, int], int] = {}
        calls = []
        next_session, revision = [50], [0]

        def carry_out(entry, applied=applied, next_session=next_session, revision=revision):
            results = []
            for offset, command in enumerate(entry.commands):
                if command == [OPEN]:
                    next_session[0] += 1
                    results.append((0, 0, next_session[0]))
                    continue
                place = (entry.session, entry.first_seq + offset)
                if place not in applied:
                    revision[0] += 1
                    applied[place] = (revision[0], command[1])
                results.append(applied[place][0])
            return results

        for step in range(120):
            if rng.random() < 0.3:
                key = b"%d" % step
                calls += [
                    (key, call)
                    for call in desk.put([PUT, key, b""], timeout_ms=rng.choice([200, 3000]))
                ]
            while desk.sent and rng.random() < 0.8:
                where, message = desk.sent.pop(rng.randrange(len(desk.sent)))
                fate = rng.random()
                if fate < 0.5:
                    desk.answer(message, carry_out(message.entry))
                elif fate < 0.6:
                    carry_out(message.entry)  # and the answer is lost
                elif fate < 0.7:
                    desk.refuse(message, INTERRUPTED)
                    if rng.random() < 0.5:
                        carry_out(message.entry)
                elif fate < 0.9:
                    hint = rng.choice([A, B, C, ""])
                    desk.refuse(message, rng.choice([NOT_LEADER, NO_LEADER, BUSY]), hint)
                elif fate < 0.95:
                    desk.lose(where)
                    desk.up.add(where)
                    desk.protocol.on_connected(where, desk.now)
                # else the request is lost
            desk.wait(rng.choice([1, 20, 300]))
        desk.sent.clear()
        desk.wait(4000)
        ended = desk.protocol.take_completed()
        assert len(ended) == len(set(map(id, ended))) == len(calls), f"seed {seed}"
        keys = {}
        for number, key in applied.values():
            assert key not in keys, f"seed {seed}: {key} was applied twice"
            keys[key] = number
        for key, call in calls:
            assert call.done, f"seed {seed}"
            if call.failure is None:
                assert keys[key] == call.result, f"seed {seed}"
            elif isinstance(call.failure, OutcomeUnknown):
                place = call.failure[:2]
                assert applied.get(place, (0, key))[1] == key, f"seed {seed}"
            else:
                assert isinstance(call.failure, NotSubmitted), f"seed {seed}"
                assert key not in keys, f"seed {seed}: {key} is said not to be submitted"
