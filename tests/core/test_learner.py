"""The Learner alone: when a slot counts as chosen, which value is its, what was missed."""

from paxosd.core.learner import Learner
from paxosd.core.messages import Decisions
from paxosd.core.quorum import Quorums
from paxosd.core.types import UNKNOWN_BALLOT, Ballot

B1, B2, B3 = Ballot(1, "n1"), Ballot(2, "n2"), Ballot(3, "n3")


def make(size=3, **options):
    return Learner(Quorums([f"n{i + 1}" for i in range(size)]), **options)


class TestCounting:
    def test_a_quorum_of_different_voters_chooses(self):
        learner = make(5)
        assert not learner.receive_votes("n1", B1, 1, 1)
        assert not learner.receive_votes("n1", B1, 1, 1)
        assert not learner.receive_votes("n2", B1, 1, 1)
        assert learner.receive_votes("n4", B1, 1, 1)
        assert learner.chosen == {1: B1}

    def test_votes_of_different_ballots_do_not_add_up(self):
        learner = make()
        learner.receive_votes("n1", B1, 1, 1)
        assert not learner.receive_votes("n2", B2, 1, 1)
        assert learner.chosen == {}

    def test_votes_for_different_slots_do_not_add_up(self):
        learner = make()
        learner.receive_votes("n1", B1, 1, 1)
        assert not learner.receive_votes("n2", B1, 2, 2)

    def test_a_stranger_has_no_vote(self):
        learner = make()
        learner.receive_votes("n1", B1, 1, 1)
        assert not learner.receive_votes("n9", B1, 1, 1)
        assert learner.chosen == {}

    def test_runs_count_slot_by_slot(self):
        learner = make()
        learner.receive_votes("n1", B1, 1, 5)
        assert learner.receive_votes("n2", B1, 3, 9)
        assert learner.chosen == {3: B1, 4: B1, 5: B1}

    def test_memory_is_bounded_whatever_a_voter_claims(self):
        learner = make(ahead_slots_max=10, commit=100)
        learner.receive_votes("n1", B1, 1, 10**15)
        learner.receive_votes("n2", B1, 1, 10**15)
        assert sorted(learner.chosen) == list(range(101, 111))

    def test_who_voted(self):
        learner = make(5)
        learner.receive_votes("n1", B1, 1, 1)
        learner.receive_votes("n3", B1, 1, 1)
        assert learner.voted(1, B1) == 0b101
        assert learner.voted(1, B2) == 0


class TestHandingOut:
    def test_in_order_without_gaps_and_once(self):
        learner = make()
        held = {s: (B1, b"%d" % s) for s in (1, 2, 3)}
        for voter in ("n1", "n2"):
            learner.receive_votes(voter, B1, 2, 3)
        assert learner.next_chosen(held) is None
        for voter in ("n1", "n2"):
            learner.receive_votes(voter, B1, 1, 1)
        out = []
        while found := learner.next_chosen(held):
            out.append(found)
        assert out == [(1, B1, b"1"), (2, B1, b"2"), (3, B1, b"3")]
        assert learner.commit == 3
        assert (learner.chosen, learner.missing()) == ({}, None)

    def test_a_value_held_below_the_chosen_ballot_will_not_do(self):
        learner = make()
        for voter in ("n1", "n2"):
            learner.receive_votes(voter, B2, 1, 1)
        assert learner.next_chosen({1: (B1, b"another")}) is None
        assert learner.next_chosen({1: (B2, b"v")}) == (1, B2, b"v")

    def test_a_value_held_above_the_chosen_ballot_is_the_same(self):
        learner = make()
        for voter in ("n1", "n2"):
            learner.receive_votes(voter, B1, 1, 1)
        assert learner.next_chosen({1: (B3, b"v")}) == (1, B3, b"v")

    def test_a_leaders_commit_index_speaks_for_its_ballot_and_up(self):
        learner = make()
        assert learner.receive_commit(B2, 2)
        assert learner.next_chosen({1: (B1, b"another")}) is None
        assert learner.missing() == (1, 2)
        assert learner.next_chosen({1: (B2, b"v")}) == (1, B2, b"v")
        assert not learner.receive_commit(B3, 2)

    def test_chosen_at_an_unknown_ballot_trusts_no_held_value(self):
        learner = make()
        learner.receive_commit(UNKNOWN_BALLOT, 1)
        assert learner.next_chosen({1: (Ballot(10**9, "z"), b"v")}) is None
        learner.receive_decisions(Decisions(1, ((B1, b"w"),), 1))
        assert learner.next_chosen({}) == (1, B1, b"w")

    def test_a_pulled_value_is_taken_before_a_held_one(self):
        learner = make()
        learner.receive_decisions(Decisions(1, ((B2, b"v"),), 1))
        assert learner.next_chosen({1: (B1, b"another")}) == (1, B2, b"v")

    def test_pulled_values_are_new_once(self):
        learner = make()
        message = Decisions(2, ((B1, b"b"), (B1, b"c")), 3)
        assert learner.receive_decisions(message) == [(2, B1, b"b"), (3, B1, b"c")]
        assert learner.receive_decisions(message) == []
        assert learner.missing() == (1, 3)
        learner.receive_decisions(Decisions(1, ((B1, b"a"),), 3))
        assert [learner.next_chosen({})[0] for _ in range(3)] == [1, 2, 3]
        assert learner.receive_decisions(message) == []
        assert learner.decided == {}

    def test_late_votes_for_an_applied_slot_leave_nothing_behind(self):
        learner = make(commit=5)
        for voter in ("n1", "n2", "n3"):
            assert not learner.receive_votes(voter, B1, 1, 5)
        assert (learner.chosen, learner.missing()) == ({}, None)


class TestStreams:
    def test_a_gap_shows_until_it_is_repaired(self):
        learner = make()
        assert not learner.stream_gap("n2", 1, 1)
        assert learner.stream_gap("n2", 1, 3)
        assert learner.stream_gap("n2", 1, 4)
        learner.stream_repaired("n2", 1, 4)
        assert not learner.stream_gap("n2", 1, 5)

    def test_a_repeat_is_no_gap(self):
        learner = make()
        learner.stream_gap("n2", 1, 1)
        assert not learner.stream_gap("n2", 1, 1)

    def test_the_last_message_is_missed_at_the_second_heartbeat(self):
        learner = make()
        learner.stream_gap("n2", 1, 1)
        assert not learner.stream_lost_tail("n2", 1, 2), "it may still be on its way"
        assert learner.stream_lost_tail("n2", 1, 2)
        learner.stream_repaired("n2", 1, 2)
        assert not learner.stream_lost_tail("n2", 1, 2)

    def test_who_listens_late_asks_for_what_was_before(self):
        assert make().stream_gap("n2", 1, 57)

    def test_a_restarted_voter_counts_anew(self):
        learner = make()
        learner.stream_gap("n2", 1, 1)
        learner.stream_gap("n2", 1, 2)
        assert not learner.stream_gap("n2", 2, 1)
        assert not learner.stream_gap("n2", 2, 2)

    def test_frames_of_an_old_incarnation_change_nothing(self):
        learner = make()
        learner.stream_gap("n2", 2, 1)
        assert not learner.stream_gap("n2", 1, 9)
        assert not learner.stream_lost_tail("n2", 1, 9)
        learner.stream_repaired("n2", 1, 9)
        assert learner.stream_gap("n2", 2, 3), "the gap of the present stream is still seen"

    def test_streams_are_separate(self):
        learner = make()
        learner.stream_gap("n2", 1, 1)
        assert learner.stream_gap("n3", 1, 2)
