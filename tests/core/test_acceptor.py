"""The Acceptor alone: what it promises, accepts, reports, and has made durable first."""

import pytest

from paxosd.core.acceptor import Acceptor, AcceptOutcome
from paxosd.core.effects import AcceptRecord, PromiseRecord
from paxosd.core.messages import AcceptedValue, Nack, Prepare, Promise
from paxosd.core.types import NULL_BALLOT, Ballot

B1, B2, B3 = Ballot(1, "n1"), Ballot(2, "n2"), Ballot(3, "n3")


def prepare(acceptor, ballot, from_slot=1, *, commit=0, bytes_max=1 << 20):
    persist = []
    answer = acceptor.receive_prepare(Prepare(ballot, from_slot), commit, bytes_max, persist)
    return answer, persist


def accept(acceptor, ballot, slot, value):
    persist = []
    return acceptor.receive_accept(ballot, slot, value, persist), persist


class TestTwoValuesAtOneBallot:
    def test_the_second_is_neither_accepted_nor_voted_for(self):
        acceptor = Acceptor()
        accept(acceptor, B1, 1, b"v")
        outcome, persist = accept(acceptor, B1, 1, b"w")
        assert outcome is AcceptOutcome.CONTRADICTS
        assert persist == []
        assert acceptor.accepted == {1: (B1, b"v")}

    def test_only_at_the_same_ballot_and_slot(self):
        acceptor = Acceptor()
        accept(acceptor, B1, 1, b"v")
        assert acceptor.contradicts(1, B1, b"w")
        assert not acceptor.contradicts(1, B1, b"v")
        assert not acceptor.contradicts(1, B2, b"w")
        assert not acceptor.contradicts(2, B1, b"w")


class TestPromising:
    def test_a_new_promise_is_recorded(self):
        answer, persist = prepare(Acceptor(), B1)
        assert answer == Promise(B1, 1, 0, 0, ())
        assert persist == [PromiseRecord(B1)]

    def test_a_repeated_prepare_is_answered_again_without_a_record(self):
        acceptor = Acceptor()
        first, _ = prepare(acceptor, B1)
        again, persist = prepare(acceptor, B1)
        assert again == first
        assert persist == []

    def test_a_lower_ballot_is_refused_with_the_promise(self):
        acceptor = Acceptor(promised=B2)
        answer, persist = prepare(acceptor, B1)
        assert answer == Nack(B1, B2)
        assert persist == []
        assert acceptor.promised == B2

    def test_equal_rounds_are_ordered_by_node(self):
        acceptor = Acceptor(promised=Ballot(4, "n2"))
        assert isinstance(prepare(acceptor, Ballot(4, "n1"))[0], Nack)
        assert isinstance(prepare(acceptor, Ballot(4, "n3"))[0], Promise)

    def test_it_tells_what_it_accepted_above_commit_only(self):
        acceptor = Acceptor(B1, {s: (B1, b"%d" % s) for s in range(1, 6)})
        answer, _ = prepare(acceptor, B2, 2, commit=3)
        assert answer.commit == 3
        assert answer.accepted == (AcceptedValue(4, B1, b"4"), AcceptedValue(5, B1, b"5"))

    def test_it_reports_from_the_asked_slot_on(self):
        acceptor = Acceptor(B1, dict.fromkeys(range(1, 6), (B1, b"v")))
        assert [a.slot for a in prepare(acceptor, B2, 4)[0].accepted] == [4, 5]

    def test_pages_together_report_every_slot_once(self):
        acceptor = Acceptor(B1, dict.fromkeys((1, 2, 3, 7, 8, 20), (B1, b"x" * 100)))
        slots, start, pages = [], 1, 0
        while start:
            answer, _ = prepare(acceptor, B2, start, bytes_max=400)
            assert answer.accepted, "a page must get on"
            slots += [a.slot for a in answer.accepted]
            start = answer.until_slot + 1 if answer.until_slot else 0
            pages += 1
        assert slots == [1, 2, 3, 7, 8, 20]
        assert pages > 1

    def test_a_value_larger_than_a_page_still_travels(self):
        acceptor = Acceptor(B1, {1: (B1, b"x" * 1000), 2: (B1, b"y" * 1000)})
        answer, _ = prepare(acceptor, B2, bytes_max=10)
        assert [a.slot for a in answer.accepted] == [1]
        assert answer.until_slot == 1

    def test_a_promise_between_two_pages_ends_the_older_one(self):
        acceptor = Acceptor(B1, dict.fromkeys((1, 2), (B1, b"x" * 100)))
        first, _ = prepare(acceptor, B2, bytes_max=10)
        prepare(acceptor, B3)
        assert prepare(acceptor, B2, first.until_slot + 1)[0] == Nack(B2, B3)


class TestAccepting:
    def test_it_accepts_and_records(self):
        acceptor = Acceptor(promised=B1)
        assert accept(acceptor, B1, 1, b"v") == (
            AcceptOutcome.VOTED,
            [AcceptRecord(1, B1, b"v")],
        )
        assert acceptor.accepted == {1: (B1, b"v")}

    def test_below_the_promise_nothing_is_accepted(self):
        acceptor = Acceptor(promised=B2)
        assert accept(acceptor, B1, 1, b"v") == (AcceptOutcome.NACKED, [])
        assert acceptor.accepted == {}

    def test_a_higher_ballot_raises_the_promise_before_the_acceptance(self):
        acceptor = Acceptor(promised=B1)
        _, persist = accept(acceptor, B2, 1, b"v")
        assert persist == [PromiseRecord(B2), AcceptRecord(1, B2, b"v")]
        assert acceptor.promised == B2

    def test_a_repeat_is_a_vote_again_without_a_record(self):
        acceptor = Acceptor()
        accept(acceptor, B1, 1, b"v")
        assert accept(acceptor, B1, 1, b"v") == (AcceptOutcome.VOTED, [])

    def test_a_higher_ballot_replaces_the_value(self):
        acceptor = Acceptor()
        accept(acceptor, B1, 1, b"v")
        accept(acceptor, B2, 1, b"w")
        assert acceptor.accepted[1] == (B2, b"w")

    def test_one_promise_covers_all_slots(self):
        acceptor = Acceptor()
        prepare(acceptor, B2, 50)
        assert accept(acceptor, B1, 1, b"v")[0] is AcceptOutcome.NACKED
        assert accept(acceptor, B1, 99, b"v")[0] is AcceptOutcome.NACKED

    def test_an_applied_slot_takes_nothing_more(self):
        acceptor = Acceptor(B1, {1: (B1, b"v")})
        acceptor.release(1)
        assert accept(acceptor, B2, 1, b"w") == (AcceptOutcome.CHOSEN, [PromiseRecord(B2)])
        assert acceptor.accepted == {}

    def test_the_refusal_goes_before_the_hint_that_a_slot_is_chosen(self):
        acceptor = Acceptor(promised=B2, released=5)
        assert accept(acceptor, B1, 3, b"w")[0] is AcceptOutcome.NACKED

    def test_what_is_kept_is_bounded(self):
        acceptor = Acceptor(released=10, ahead_slots_max=4)
        assert accept(acceptor, B1, 14, b"v")[0] is AcceptOutcome.VOTED
        assert accept(acceptor, B1, 15, b"v")[0] is AcceptOutcome.TOO_FAR
        assert 15 not in acceptor.accepted


class TestMemory:
    def test_a_restart_forgets_nothing(self):
        acceptor = Acceptor()
        prepare(acceptor, B1)
        accept(acceptor, B2, 1, b"v")
        again = Acceptor(acceptor.promised, acceptor.accepted, acceptor.released)
        assert isinstance(prepare(again, B1)[0], Nack)
        assert prepare(again, B3)[0].accepted == (AcceptedValue(1, B2, b"v"),)

    def test_it_starts_with_the_promise_that_is_durable(self):
        """Never with a higher one: the next start would not know of it."""
        assert Acceptor(B3, {1: (B2, b"v")}).promised == B3
        assert Acceptor().promised == NULL_BALLOT
        with pytest.raises(AssertionError, match="has not promised"):
            Acceptor(B1, {1: (B3, b"v"), 2: (B2, b"w")})

    def test_votes_are_told_as_runs(self):
        held = {1: B1, 2: B1, 3: B2, 5: B2, 6: B2}
        acceptor = Acceptor(B2, {s: (b, b"v") for s, b in held.items()})
        assert acceptor.votes(1) == ((B1, 1, 2), (B2, 3, 3), (B2, 5, 6))
        assert acceptor.votes(2) == ((B1, 2, 2), (B2, 3, 3), (B2, 5, 6))
        assert acceptor.votes(7) == ()


class TestBytesAhead:
    """What waits to be applied is bounded in bytes too, or large values would exhaust memory."""

    def test_a_slot_ahead_is_refused_over_the_bound_and_the_next_slot_never_is(self):
        acceptor = Acceptor(ahead_bytes_max=100)
        ballot = Ballot(1, "n1")
        persist = []
        assert acceptor.receive_accept(ballot, 2, b"x" * 90, persist) is AcceptOutcome.VOTED
        assert acceptor.receive_accept(ballot, 3, b"x" * 20, persist) is AcceptOutcome.TOO_FAR
        assert acceptor.receive_accept(ballot, 1, b"x" * 500, persist) is AcceptOutcome.VOTED
        acceptor.release(1)
        acceptor.release(2)
        assert acceptor.bytes == 0
        assert acceptor.receive_accept(ballot, 4, b"x" * 20, persist) is AcceptOutcome.VOTED
        assert 3 not in acceptor.accepted
