"""How commands end: each once, and NotSubmitted only if that is certain."""

import random

import pytest

from paxosd.core.client.answers import OTHER_CLUSTER
from paxosd.core.client.calls import NotSubmitted, OutcomeUnknown, Refused
from paxosd.core.commands import OPEN, PUT, RIGHTS, Status
from paxosd.core.effects import (
    BUSY,
    COMPACTED,
    FORBIDDEN,
    INTERRUPTED,
    INVALID,
    NO_LEADER,
    NOT_LEADER,
    QUOTA,
)
from tests.core.client.protocol_desk import NO_SCOUT_MS, A, B, C, Desk

ONE = [PUT, b"k", b"v"]
TWO = [PUT, b"l", b"v"]


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

    @pytest.mark.parametrize("code", [NO_LEADER, OTHER_CLUSTER])
    def test_only_ever_refused_is_not_submitted(self, code):
        desk = Desk()
        (call,) = desk.put(ONE, timeout_ms=500)
        desk.open()
        while not call.done:
            while desk.sent:
                desk.refuse(desk.next()[1], code)
            desk.wait(1)
        assert call.failure == NotSubmitted(code, f"it says {code}")

    def test_a_refusal_for_the_quota_is_final_for_that_command_alone(self):
        desk = Desk()
        small, large = desk.put(ONE, TWO)
        desk.open()
        desk.answer(desk.next()[1], [5, (Status.MALFORMED, 0, Status.QUOTA)])
        assert small.result == 5
        assert large.failure.code == QUOTA
        (call,) = desk.put(ONE)
        desk.refuse(desk.next()[1], QUOTA)
        assert call.failure == Refused(QUOTA, "it says quota", 0)

    def test_what_rights_forbid_is_final_for_that_command_alone(self):
        desk = Desk()
        allowed, forbidden = desk.put(ONE, TWO)
        desk.open()
        desk.answer(desk.next()[1], [5, (Status.MALFORMED, 0, Status.FORBIDDEN)])
        assert allowed.result == 5
        assert forbidden.failure.code == FORBIDDEN
        (call,) = desk.put(ONE)
        desk.refuse(desk.next()[1], FORBIDDEN)
        assert call.failure == Refused(FORBIDDEN, "it says forbidden", 0)

    def test_what_is_forbidden_after_a_try_without_an_answer_may_have_been_done(self):
        forbidden = Status.MALFORMED, 0, Status.FORBIDDEN
        desk = Desk()
        done, doubtful = desk.put(ONE, TWO)
        desk.open(77)
        desk.next()  # it is done, and its answer is lost; then the key is revoked
        desk.lose(A)
        while not desk.sent:
            desk.wait(1)
        desk.answer(desk.next()[1], [5, forbidden])
        assert done.result == 5
        assert isinstance(doubtful.failure, OutcomeUnknown)
        assert doubtful.failure[:2] == (77, 2)

    @pytest.mark.parametrize("at_apply", [False, True])
    def test_so_may_a_change_of_no_session(self, at_apply):
        """An admin takes away his own rights, and the answer is lost."""
        desk = Desk()
        call = desk.protocol.submit_alone([RIGHTS, 3, b"{}", b""], desk.now, 5000)
        desk.turn()
        desk.next()
        desk.lose(A)
        while not desk.sent:
            desk.wait(1)
        if at_apply:
            desk.answer(desk.next()[1], [(Status.MALFORMED, 0, Status.FORBIDDEN)])
        else:
            desk.refuse(desk.next()[1], FORBIDDEN)
        assert isinstance(call.failure, OutcomeUnknown)
        unsent = desk.protocol.submit_alone([RIGHTS, 3, b"{}", b""], desk.now, 5000)
        desk.turn()
        desk.refuse(desk.next()[1], FORBIDDEN)
        assert unsent.failure == Refused(FORBIDDEN, "it says forbidden", 0)

    def test_a_key_that_may_open_no_session_is_not_tried_without_a_name(self):
        for refuse in (
            lambda desk, message: desk.refuse(message, FORBIDDEN),
            lambda desk, message: desk.answer(message, [(Status.MALFORMED, 0, Status.FORBIDDEN)]),
        ):
            desk = Desk(name="anna@web1")
            (call,) = desk.put(ONE)
            refuse(desk, desk.next()[1])
            assert not desk.sent
            assert call.failure.code == FORBIDDEN

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
        desk = Desk(scout_ms=NO_SCOUT_MS)
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


class ClusterModel:
    """What a cluster carried out: each (session, seq) once. ``applied``: its revision and key."""

    def __init__(self):
        self.applied: dict[tuple[int, int], tuple[int, bytes]] = {}
        self.next_session, self.revision = 50, 0

    def carry_out(self, entry):
        results = []
        for offset, command in enumerate(entry.commands):
            if command == [OPEN]:
                self.next_session += 1
                results.append((0, 0, self.next_session))
                continue
            place = (entry.session, entry.first_seq + offset)
            if place not in self.applied:
                self.revision += 1
                self.applied[place] = (self.revision, command[1])
            results.append(self.applied[place][0])
        return results

    def revisions(self):
        """Key → revision; fails if a key was applied twice."""
        keys = {}
        for number, key in self.applied.values():
            assert key not in keys, f"{key} was applied twice"
            keys[key] = number
        return keys


def meet_a_fate(rng, desk, model, where, message):
    """One request is answered, refused or lost, and perhaps carried out."""
    fate = rng.random()
    if fate < 0.5:
        desk.answer(message, model.carry_out(message.entry))
    elif fate < 0.6:
        model.carry_out(message.entry)  # and the answer is lost
    elif fate < 0.7:
        desk.refuse(message, INTERRUPTED)
        if rng.random() < 0.5:
            model.carry_out(message.entry)
    elif fate < 0.9:
        hint = rng.choice([A, B, C, ""])
        desk.refuse(message, rng.choice([NOT_LEADER, NO_LEADER, BUSY]), hint)
    elif fate < 0.95:
        desk.lose(where)
        desk.up.add(where)
        desk.protocol.on_connected(where, desk.now)
    # else the request is lost


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_each_call_ends_once_and_says_the_truth(seed):
    """Random answers, losses and pauses, against a model of what the cluster carried out."""
    rng = random.Random(seed)
    desk = Desk(frame_commands_max=4, unreachable_ms=rng.choice([None, 400]))
    model = ClusterModel()
    calls = []
    for step in range(120):
        if rng.random() < 0.3:
            key = b"%d" % step
            timeout_ms = rng.choice([200, 3000])
            calls += [(key, call) for call in desk.put([PUT, key, b""], timeout_ms=timeout_ms)]
        while desk.sent and rng.random() < 0.8:
            where, message = desk.sent.pop(rng.randrange(len(desk.sent)))
            meet_a_fate(rng, desk, model, where, message)
        desk.wait(rng.choice([1, 20, 300]))
    desk.sent.clear()
    desk.wait(4000)
    ended = desk.protocol.take_completed()
    assert len(ended) == len(set(map(id, ended))) == len(calls)
    revisions = model.revisions()
    for key, call in calls:
        assert call.done
        if call.failure is None:
            assert revisions[key] == call.result
        elif isinstance(call.failure, OutcomeUnknown):
            place = call.failure[:2]
            assert model.applied.get(place, (0, key))[1] == key
        else:
            assert isinstance(call.failure, NotSubmitted)
            assert key not in revisions, f"{key} is said not to be submitted"
