"""The question before a campaign: who is asked, what counts, and what ends it."""

import random

import pytest

from paxosd.core.context import Peer
from paxosd.core.messages import (
    Prepare,
    PreVote,
    PreVoteReply,
)
from paxosd.core.proposer import ProposerState
from paxosd.core.types import NULL_BALLOT, Ballot
from tests.core.election_bench import B5, TIMEOUT_MS, Bench, answer_to


class TestPreVote:
    def test_asking_changes_nothing_here_or_there(self):
        bench = Bench()
        bench.prevote()
        assert bench.context.acceptor.promised == NULL_BALLOT
        assert bench.records == []
        bench.election.receive_prevote("n2", PreVote(B5, 0))
        assert answer_to(bench.take(), PreVoteReply)[0].granted
        assert bench.context.acceptor.promised == NULL_BALLOT
        assert bench.records == []

    def test_who_hears_a_leader_refuses(self):
        bench = Bench()
        bench.heartbeat("n2", B5)
        bench.take()
        bench.context.now_ms += TIMEOUT_MS - 1
        bench.election.receive_prevote("n3", PreVote(Ballot(9, "n3"), 0))
        assert not answer_to(bench.take(), PreVoteReply)[0].granted
        bench.context.now_ms += 2
        bench.election.receive_prevote("n3", PreVote(Ballot(9, "n3"), 0))
        assert answer_to(bench.take(), PreVoteReply)[0].granted

    def test_a_leader_refuses(self):
        bench = Bench()
        bench.lead()
        bench.election.receive_prevote("n3", PreVote(Ballot(99, "n3"), 0))
        assert not answer_to(bench.take(), PreVoteReply)[0].granted

    def test_the_question_is_repeated_with_each_heartbeat_to_who_has_not_granted(self):
        bench = Bench(size=5)
        ballot = bench.prevote()
        reply = PreVoteReply(ballot, True, NULL_BALLOT, 0)
        bench.election.receive_prevote_reply("n2", reply)
        asked = [(to, m.ballot) for to, m in bench.wait(100) if isinstance(m, PreVote)]
        assert asked == [("n3", ballot), ("n4", ballot), ("n5", ballot)]

    def test_nothing_is_asked_any_more_once_a_leader_is_heard(self):
        bench = Bench()
        bench.prevote()
        bench.heartbeat("n2", B5)
        assert not answer_to(bench.wait(100), PreVote)

    def test_a_question_about_a_ballot_that_is_too_low_is_asked_anew_at_once(self):
        bench = Bench()
        ballot = bench.prevote()
        promised = Ballot(7, "n2")
        bench.election.receive_prevote_reply("n2", PreVoteReply(ballot, False, promised, 0))
        (again, _) = answer_to(bench.take(), PreVote)
        assert again.ballot > promised
        bench.election.receive_prevote_reply("n3", PreVoteReply(ballot, False, promised, 0))
        assert not answer_to(bench.take(), PreVote), "it is asked already"

    def test_only_voters_are_asked(self):
        bench = Bench()
        bench.context.peers["n9"] = Peer()
        bench.prevote()
        assert {to for to, m in bench.wait(100) if isinstance(m, PreVote)} == {"n2", "n3"}

    def test_what_was_granted_for_an_earlier_question_does_not_count(self):
        bench = Bench(size=5)
        ballot = bench.prevote()
        bench.election.receive_prevote_reply("n2", PreVoteReply(ballot, True, NULL_BALLOT, 0))
        promised = Ballot(ballot.round, "n4")
        bench.election.receive_prevote_reply("n4", PreVoteReply(ballot, False, promised, 0))
        (again, *_) = answer_to(bench.take(), PreVote)
        bench.election.receive_prevote_reply("n3", PreVoteReply(again.ballot, True, promised, 0))
        assert bench.context.proposer.state is ProposerState.IDLE

    def test_a_late_refusal_begins_no_question(self):
        bench = Bench()
        ballot = bench.prevote()
        bench.heartbeat("n2", B5)
        bench.take()
        late = PreVoteReply(ballot, False, Ballot(7, "n2"), 0)
        bench.election.receive_prevote_reply("n3", late)
        assert not answer_to(bench.take(), PreVote)

    @pytest.mark.parametrize("seed", range(5))
    def test_who_promises_another_asks_no_more_and_gives_it_time(self, seed):
        bench = Bench()
        bench.context.rng = random.Random(seed)
        ballot = bench.prevote()
        bench.election.receive_prepare("n2", Prepare(B5, 1))
        bench.election.receive_prevote_reply("n3", PreVoteReply(ballot, True, NULL_BALLOT, 0))
        assert bench.context.proposer.state is ProposerState.IDLE
        assert bench.election._deadline_ms >= bench.context.now_ms + TIMEOUT_MS

    def test_a_change_of_the_membership_ends_the_question(self):
        bench = Bench()
        ballot = bench.prevote()
        bench.election.on_members_changed(was_leading=False)
        bench.election.receive_prevote_reply("n3", PreVoteReply(ballot, True, NULL_BALLOT, 0))
        assert bench.context.proposer.state is ProposerState.IDLE

    def test_what_a_leader_of_another_ballot_says_does_not_lose_the_present_one(self):
        bench = Bench()
        bench.heartbeat("n2", B5)
        bench.heartbeat("n2", Ballot(4, "n3"), leader="n3")
        assert bench.election.hears_leader()
        bench.take()
        assert not answer_to(bench.wait(TIMEOUT_MS - 1), PreVote)

    def test_of_a_leader_that_is_gone_already_nothing_is_new(self):
        """Each failing try to connect says so again, and would put the question off."""
        bench = Bench()
        bench.heartbeat("n2", B5)
        asked = []
        for _ in range(15):
            bench.election.leader_gone()
            asked += answer_to(bench.wait(10), PreVote)
        assert asked

    def test_a_leader_that_says_that_it_leads_no_more_is_not_waited_for(self):
        bench = Bench()
        bench.heartbeat("n2", B5)
        bench.heartbeat("n2", B5, leader="n3")
        asked_ms = bench.context.now_ms
        bench.prevote()
        assert bench.context.now_ms - asked_ms <= 150

    def test_a_ballot_below_the_promise_is_refused_and_the_promise_told(self):
        bench = Bench(promised=B5)
        bench.election.receive_prevote("n3", PreVote(Ballot(4, "n3"), 0))
        reply = answer_to(bench.take(), PreVoteReply)[0]
        assert not reply.granted
        assert reply.promised == B5
        bench.election.receive_prevote_reply("n2", reply)
        assert bench.prevote() > B5

    def test_refusals_and_answers_to_other_questions_count_not(self):
        bench = Bench()
        ballot = bench.prevote()
        bench.election.receive_prevote_reply("n2", PreVoteReply(ballot, False, NULL_BALLOT, 0))
        bench.election.receive_prevote_reply("n3", PreVoteReply(B5, True, NULL_BALLOT, 0))
        assert bench.context.proposer.state is ProposerState.IDLE
        bench.election.receive_prevote_reply("n3", PreVoteReply(ballot, True, NULL_BALLOT, 0))
        assert bench.context.proposer.state is ProposerState.PREPARING

    def test_a_leader_heard_ends_the_pre_vote(self):
        bench = Bench()
        ballot = bench.prevote()
        bench.heartbeat("n2", B5)
        bench.election.receive_prevote_reply("n3", PreVoteReply(ballot, True, NULL_BALLOT, 0))
        assert bench.context.proposer.state is ProposerState.IDLE

    def test_hearsay_is_not_hearing_the_leader(self):
        bench = Bench()
        for _ in range(5):
            bench.heartbeat("n3", B5, leader="n2")
            bench.context.now_ms += 100
        assert bench.election.leader == "n2", "clients are directed"
        assert not bench.election.hears_leader()
