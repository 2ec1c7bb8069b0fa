"""A client learns the members while it works: it outlives the replacement of all nodes that it was
given."""

import pytest

from paxosd.core.client.learning import (
    FIRST_MS,
    LEARN_MS,
    PAUSE_MS,
    SPREAD_MS,
)
from paxosd.core.effects import NOT_LEADER
from paxosd.core.requests import (
    AdminAnswer,
    AdminRequest,
    WriteRequest,
)
from tests.core.client.learning_desk import HUGE, ONE, LearningDesk, status
from tests.core.client.protocol_desk import A, B, C, Desk

D, E, F = "tcp://d:1", "tcp://e:1", "tcp://f:1"


class TestMembers:
    def test_it_asks_soon_after_it_connected_and_then_seldom_as_long_as_all_is_well(self):
        desk = LearningDesk()
        desk.put(ONE)
        desk.open()
        desk.answer(desk.next()[1], [1])
        desk.wait_question(FIRST_MS, FIRST_MS + SPREAD_MS)
        assert not desk.protocol.busy  # what it asks for itself is no call of the user
        assert desk.report(status(A, B, C)) == A
        for _ in range(5):
            desk.wait_question(LEARN_MS / 2, LEARN_MS * 1.5)
            assert desk.report(status(A, B, C)) == A
        assert desk.protocol.take_completed()[-1].request == ONE

    def test_clients_that_have_the_same_reason_ask_at_different_times(self):
        for lose in (False, True):
            waits = set()
            for seed in range(20):
                desk = LearningDesk(seed=seed)
                desk.begin(status(A, B, C))
                desk.wait(PAUSE_MS)
                if lose:
                    desk.lose(A)
                    desk.put(ONE, timeout_ms=60_000)
                waits.add(desk.wait_question(0, SPREAD_MS if lose else LEARN_MS * 1.5))
            assert len(waits) > 15, waits

    def test_another_leader_and_silence_are_reasons_to_ask(self):
        for trouble in (
            lambda desk: desk.refuse(desk.next_write()[1], NOT_LEADER, hint=B),
            lambda desk: desk.wait(desk.protocol.options.attempt_timeout_ms),
        ):
            desk = LearningDesk()
            desk.begin(status(A, B, C))
            desk.wait(PAUSE_MS)
            desk.put(ONE, timeout_ms=60_000)
            trouble(desk)
            desk.wait_question(0, SPREAD_MS)

    def test_however_much_goes_wrong_it_asks_no_more_often_than_this(self):
        desk = LearningDesk()
        desk.begin(status(A, B, C))
        desk.put(ONE, timeout_ms=600_000)
        asked = 0
        until = desk.now + 60_000
        while desk.now < until:
            desk.wait(10)
            for where, message in [desk.next() for _ in range(len(desk.sent))]:
                if isinstance(message, AdminRequest):
                    asked += 1
                    desk.protocol.on_answer(
                        AdminAnswer(message.request_id, status(A, B, C)), desk.now
                    )
                else:
                    hint = B if where == A else A
                    desk.refuse(message, NOT_LEADER, hint=hint)
        assert 60_000 / (PAUSE_MS + SPREAD_MS) - 1 <= asked <= 60_000 / PAUSE_MS + 1

    def test_it_finds_the_members_that_took_the_places_of_all_it_was_given(self):
        desk = LearningDesk(up=(A, B, C, D, E, F))
        desk.begin(status(A, B, C))
        for gone, members in ((A, (B, C, D)), (B, (C, D, E)), (C, (D, E, F))):
            desk.wait_question(0, PAUSE_MS + SPREAD_MS if desk.losses else LEARN_MS * 1.5)
            desk.report(status(*members, epoch=len(desk.known)))
            desk.lose(gone)
            desk.losses += 1
            (call,) = desk.put(ONE)
            sent = [desk.next() for _ in range(len(desk.sent))]
            for where, message in sent:
                assert where != gone
                if isinstance(message, WriteRequest):
                    desk.answer(message, [1])
                else:
                    body = status(*members, epoch=len(desk.known))
                    desk.protocol.on_answer(AdminAnswer(message.request_id, body), desk.now)
            assert call.result == 1
        assert desk.known[:3] == [A, B, C]  # the given ones stay, as a last resort
        assert set(desk.known[3:]) == {D, E, F}

    def test_one_that_was_learned_and_left_is_forgotten_and_its_connection_dropped(self):
        desk = LearningDesk(up=(A, B, C, D, E))
        desk.begin(status(A, B, D, epoch=1))
        (call,) = desk.put(ONE)
        desk.refuse(desk.next_write()[1], NOT_LEADER, hint=D)
        desk.refuse(desk.next_write()[1], NOT_LEADER)
        desk.wait(100)
        where, message = desk.next_write()
        assert where != D
        desk.answer(message, [2])
        assert call.result == 2
        assert desk.known == [A, B, C, D]
        desk.wait_question(0, PAUSE_MS + SPREAD_MS)
        desk.report(status(A, B, E, epoch=2))
        assert desk.known == [A, B, C, E]
        assert desk.protocol.endpoints.drops == [D]

    def test_the_target_and_what_is_in_use_are_not_forgotten(self):
        desk = LearningDesk(up=(A, B, C, D), attempt_timeout_ms=2 * SPREAD_MS)
        desk.begin(status(A, B, D, epoch=1))
        desk.wait(PAUSE_MS)
        desk.put(ONE, timeout_ms=60_000)
        desk.refuse(desk.next()[1], NOT_LEADER, hint=D)
        where, message = desk.next()
        assert where == D
        desk.wait_question(0, SPREAD_MS)
        desk.report(status(A, B, epoch=2))
        assert D in desk.known
        desk.sent.clear()
        desk.answer(message, [5])

    def test_members_of_an_earlier_epoch_are_not_believed(self):
        desk = LearningDesk()
        desk.begin(status(A, B, D, epoch=7))
        desk.wait_question(0, LEARN_MS * 1.5)
        desk.report(status(A, B, E, epoch=6))
        assert desk.known == [A, B, C, D]

    def test_a_lost_connection_is_a_reason_to_ask_soon(self):
        desk = LearningDesk()
        desk.begin(status(A, B, C))
        desk.wait(PAUSE_MS)
        desk.lose(A)
        (call,) = desk.put(ONE, timeout_ms=60_000)
        desk.wait_question(0, SPREAD_MS)
        kinds = {type(message) for where, message in desk.sent if where == B}
        assert kinds == {WriteRequest, AdminRequest}
        assert not call.done

    def test_a_diagnosis_leaves_out_what_was_learned_and_never_needed(self):
        desk = LearningDesk(up=(A, B, C, D))
        desk.begin(status(A, D))
        troubles = desk.protocol.endpoints.troubles
        assert [each.endpoint for each in troubles()] == [A, B, C]
        desk.put(ONE)
        desk.refuse(desk.next_write()[1], NOT_LEADER, hint=D)
        assert [each.endpoint for each in troubles()] == [A, B, C, D]

    def test_what_it_learns_is_bounded(self):
        desk = LearningDesk(endpoints_max=5)
        desk.begin(status(*[f"tcp://x:{port}" for port in range(1, 40)]))
        assert len(desk.known) == 5

    def test_a_client_that_does_not_learn_asks_for_nothing(self):
        desk = Desk()
        desk.put(ONE)
        desk.open()
        desk.answer(desk.next()[1], [1])
        desk.wait(60_000)
        assert not desk.sent

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"members": 7, "settings": [], "message_room": "x", "epoch": "y", "node": None},
            {"members": {"n1": {"client": 5}, "n2": None}, "settings": {"value_bytes_max": -1}},
        ],
    )
    def test_a_status_that_says_nothing_changes_nothing(self, body):
        desk = LearningDesk()
        desk.begin(body)
        assert desk.known == [A, B, C]
        (call,) = desk.put(HUGE)
        assert desk.next()[1].entry.commands == [HUGE]
        assert not call.done
