"""The election alone: stickiness, ballots, stepping down, handing over."""

import pytest

from paxosd.core.effects import PromiseRecord
from paxosd.core.messages import (
    AcceptedValue,
    Heartbeat,
    HeartbeatAck,
    Nack,
    Prepare,
    PreVote,
    Promise,
    TransferLeadership,
)
from paxosd.core.proposer import ProposerState
from paxosd.core.types import EPOCH_ROUNDS, NULL_BALLOT, Ballot
from tests.core.election_bench import B5, TIMEOUT_MS, Bench, answer_to


class TestBallots:
    def test_the_own_promise_is_durable_before_the_first_prepare(self):
        bench = Bench()
        ballot = bench.campaign()
        assert answer_to(bench.take(sync=False), Prepare) == []
        assert bench.records == [PromiseRecord(ballot)]
        bench.context.outbox.synced(1)
        assert len(answer_to(bench.take(), Prepare)) == 2

    def test_a_new_ballot_is_above_all_it_has_seen(self):
        for see in (
            lambda e: e.receive_prepare("n2", Prepare(Ballot(7, "n2"), 1)),
            lambda e: e.receive_nack("n2", Nack(Ballot(1, "n1"), Ballot(7, "n2"))),
            lambda e: e.receive_heartbeat("n2", Heartbeat(Ballot(7, "n2"), "n2", 0, 0, 0, 0)),
            lambda e: e.receive_heartbeat("n3", Heartbeat(Ballot(7, "n2"), "n2", 0, 0, 0, 0)),
            lambda e: e.saw(Ballot(7, "n2")),
        ):
            bench = Bench()
            see(bench.election)
            assert bench.campaign().round > 7

    def test_after_a_restart_it_is_above_the_old_promise(self):
        assert Bench(promised=Ballot(7, "n1")).campaign() == Ballot(8, "n1")

    def test_each_campaign_has_a_new_one(self):
        bench = Bench()
        ballots = [bench.campaign() for _ in range(4)]
        assert ballots == sorted(set(ballots))

    def test_unanswered_prepares_are_sent_again_to_those_who_did_not_answer(self):
        bench = Bench(size=5)
        ballot = bench.campaign()
        bench.take()
        bench.election.receive_promise("n2", Promise(ballot, 1, 0, 0, ()))
        again = [to for to, m in bench.wait(100) if isinstance(m, Prepare)]
        assert sorted(again) == ["n3", "n4", "n5"]


class TestLeading:
    def test_of_two_values_at_one_ballot_the_one_that_a_majority_reports(self):
        """A memory is damaged: by the order of arrival alone the wrong one could be adopted."""
        bench = Bench(size=5)
        ballot, old = bench.campaign(), Ballot(1, "n5")
        bench.take()
        for name, value in (("n2", b"w"), ("n3", b"v"), ("n4", b"v")):
            report = (AcceptedValue(1, old, value),)
            bench.election.receive_promise(name, Promise(ballot, 1, 0, 0, report))
            assert bench.led == [], "nobody can tell yet"
        logged = [n.fields for n in bench.context.outbox.ready.notices
                if n.event == "ballot.contradiction"]  # fmt: skip
        assert [(each["slot"], each["ballot"]) for each in logged] == [(1, old.shown())]
        report = (AcceptedValue(1, old, b"v"),)
        bench.election.receive_promise("n5", Promise(ballot, 1, 0, 0, report))
        ((proposal,),) = bench.led
        assert (proposal.slot, proposal.value) == (1, b"v")

    def test_what_any_node_told_to_be_chosen_is_not_proposed_anew(self):
        """Also one that is no peer any more: else the new leader would step down for it at once."""
        bench = Bench()
        ballot = bench.campaign()
        bench.take()
        bench.context.note_commit("n3", 9)
        del bench.context.peers["n3"]
        bench.election.receive_promise("n2", Promise(ballot, 1, 0, 0, ()))
        assert bench.led == [[]]
        assert bench.context.proposer.next_slot == 10

    def test_a_higher_ballot_settles_what_was_reported_at_a_lower_one(self):
        bench = Bench(size=5)
        ballot = bench.campaign()
        bench.take()
        for name, value, round_ in (("n2", b"w", 1), ("n3", b"v", 1), ("n4", b"x", 2)):
            report = (AcceptedValue(1, Ballot(round_, "n5"), value),)
            bench.election.receive_promise(name, Promise(ballot, 1, 0, 0, report))
        ((proposal,),) = bench.led
        assert proposal.value == b"x"

    def test_a_quorum_of_promises_leads_once(self):
        bench = Bench(size=5)
        ballot = bench.campaign()
        bench.take()
        bench.election.receive_promise("n2", Promise(ballot, 1, 0, 0, ()))
        assert bench.led == []
        bench.election.receive_promise("n3", Promise(ballot, 1, 0, 0, ()))
        bench.election.receive_promise("n4", Promise(ballot, 1, 0, 0, ()))
        assert bench.led == [[]]
        assert bench.election.leader == "n1"

    def test_its_own_promise_counts_only_once_durable(self):
        bench = Bench()
        ballot = bench.campaign()
        bench.take(sync=False)
        bench.election.receive_promise("n2", Promise(ballot, 1, 0, 0, ()))
        assert bench.led == []

    def test_it_steps_down_when_no_quorum_acknowledges(self):
        bench = Bench()
        bench.lead()
        for _ in range(5):
            bench.wait(100)
            assert bench.stopped == []
        for _ in range(3):
            bench.wait(100)
        assert bench.stopped == ["no quorum of voters answers"]
        assert bench.election.leader == ""

    def test_acks_of_one_follower_keep_it(self):
        bench = Bench()
        ballot = bench.lead()
        for _ in range(30):
            bench.wait(100)
            bench.election.receive_heartbeat_ack("n3", HeartbeatAck(ballot, 0, 0))
        assert bench.stopped == []

    def test_acks_of_another_reign_do_not(self):
        bench = Bench()
        bench.lead()
        for _ in range(9):
            bench.wait(100)
            assert not bench.election.receive_heartbeat_ack("n3", HeartbeatAck(B5, 0, 0))
        assert bench.stopped

    def test_a_nack_with_a_higher_ballot_ends_it(self):
        bench = Bench()
        ballot = bench.lead()
        bench.election.receive_nack("n2", Nack(Ballot(0, "x"), Ballot(9, "n2")))
        assert bench.stopped == [], "the refusal of another ballot"
        bench.election.receive_nack("n2", Nack(ballot, Ballot(9, "n2")))
        assert len(bench.stopped) == 1

    def test_promising_another_ends_it(self):
        bench = Bench()
        bench.lead()
        bench.election.receive_prepare("n2", Prepare(Ballot(9, "n2"), 1))
        assert len(bench.stopped) == 1
        assert answer_to(bench.take(), Promise)

    def test_a_higher_leader_ends_it_even_below_one_known_from_hearsay(self):
        bench = Bench()
        ballot = bench.lead()
        bench.heartbeat("n3", Ballot(ballot.round + 9, "n2"), leader="n2")
        bench.heartbeat("n3", Ballot(ballot.round + 2, "n3"))
        assert bench.stopped

    def test_a_cluster_of_one_leads_at_once(self):
        bench = Bench(size=1)
        bench.wait(0.1)
        bench.take()
        assert bench.led == [[]]
        for _ in range(30):
            bench.wait(100)
        assert bench.stopped == []


class TestFollowing:
    def test_heartbeats_keep_it_from_campaigning(self):
        bench = Bench()
        for _ in range(50):
            bench.heartbeat("n2", B5)
            assert answer_to(bench.wait(100), PreVote) == []

    def test_it_acknowledges_with_the_round(self):
        bench = Bench()
        bench.election.receive_heartbeat("n2", Heartbeat(B5, "n2", 0, 0, 42, 0))
        assert answer_to(bench.take(), HeartbeatAck) == [HeartbeatAck(B5, 42, 0)]

    def test_a_leader_below_the_promise_gets_a_refusal_and_no_ack(self):
        bench = Bench(promised=Ballot(9, "n3"))
        assert not bench.heartbeat("n2", B5)
        sends = bench.take()
        assert answer_to(sends, Nack) == [Nack(B5, Ballot(9, "n3"))]
        assert answer_to(sends, HeartbeatAck) == []
        assert bench.election.leader == ""

    def test_nobody_speaks_for_another_leader(self):
        bench = Bench()
        assert not bench.heartbeat("n3", B5, leader="n2")
        assert answer_to(bench.take(), HeartbeatAck) == []

    def test_a_deposed_leader_is_not_followed_again(self):
        bench = Bench()
        higher = Ballot(9, "n3")
        bench.heartbeat("n3", higher)
        bench.context.acceptor.promised = NULL_BALLOT  # it only heard of the higher one
        bench.heartbeat("n2", B5)
        assert (bench.election.leader, bench.election.leader_ballot) == ("n3", higher)

    def test_waits_are_drawn_anew_and_lie_within_bounds(self):
        bench = Bench()
        waits = set()
        for _ in range(20):
            bench.heartbeat("n2", B5)
            waits.add(bench.election._deadline_ms - bench.context.now_ms)
        assert len(waits) > 10
        assert min(waits) >= TIMEOUT_MS
        assert max(waits) <= 1.35 * TIMEOUT_MS

    def test_the_wait_for_a_leader_that_was_heard_since_is_no_longer(self):
        """At the end of a wait, of a leader that was heard meanwhile the next one begins then."""
        bench = Bench()
        bench.heartbeat("n2", B5)
        bench.context.now_ms += TIMEOUT_MS // 2
        bench.election.leader_heard_ms = heard_ms = bench.context.now_ms
        bench.wait(bench.election.next_due_ms() - bench.context.now_ms)
        while not answer_to(bench.wait(10), PreVote):
            assert bench.context.now_ms <= heard_ms + 1.4 * TIMEOUT_MS

    def test_a_broken_connection_to_the_leader_is_asked_about_soon(self):
        bench = Bench()
        bench.heartbeat("n2", B5)
        bench.election.leader_gone()
        sends = []
        for _ in range(4):
            sends += bench.wait(30)
        assert answer_to(sends, PreVote)


class TestHandingOver:
    def test_the_most_caught_up_live_follower_is_asked(self):
        bench = Bench(size=5)
        ballot = bench.lead()
        for name, commit in [("n2", 5), ("n3", 9), ("n4", 12)]:
            bench.context.peers[name].commit = commit
        for name in ("n2", "n3"):
            bench.context.peers[name].acked_ms = bench.context.now_ms + TIMEOUT_MS
        bench.context.now_ms += TIMEOUT_MS + 1
        assert bench.election.hand_over()
        assert bench.take() == [("n3", TransferLeadership(ballot))]

    def test_there_may_be_nobody(self):
        bench = Bench()
        assert not bench.election.hand_over(), "it does not lead"
        bench = Bench()
        bench.lead()
        bench.context.now_ms += TIMEOUT_MS + 1
        assert not bench.election.hand_over()

    def test_the_heir_campaigns_without_a_pre_vote(self):
        bench = Bench()
        bench.heartbeat("n2", B5)
        bench.election.receive_transfer("n2", TransferLeadership(B5))
        assert bench.context.proposer.state is ProposerState.PREPARING
        assert bench.context.proposer.ballot > B5

    def test_only_the_leaders_word_counts(self):
        bench = Bench()
        bench.heartbeat("n2", B5)
        bench.election.receive_transfer("n3", TransferLeadership(B5))
        bench.election.receive_transfer("n2", TransferLeadership(Ballot(4, "n2")))
        assert bench.context.proposer.state is ProposerState.IDLE

    def test_a_stopping_node_campaigns_no_more(self):
        bench = Bench()
        bench.election.hand_over()
        for _ in range(50):
            assert answer_to(bench.wait(100), PreVote) == []
        bench.heartbeat("n2", B5)
        bench.election.receive_transfer("n2", TransferLeadership(B5))
        assert bench.context.proposer.state is ProposerState.IDLE


@pytest.mark.parametrize(
    ("ballot", "text"),
    [
        (Ballot(12, "n1"), "12.n1"),
        (Ballot(3 * EPOCH_ROUNDS + 12, "n1"), "3:12.n1"),
        (Ballot(7, "rack.2"), "7.rack.2"),
        (NULL_BALLOT, "-"),
    ],
)
def test_a_ballot_has_one_notation_and_a_way_back(ballot, text):
    assert ballot.shown() == text
    assert Ballot.of_text(text) == ballot


@pytest.mark.parametrize("text", ["", "n1", "x.n1", "1:.n1"])
def test_what_is_no_ballot_is_refused(text):
    with pytest.raises(ValueError, match="invalid literal"):
        Ballot.of_text(text)
