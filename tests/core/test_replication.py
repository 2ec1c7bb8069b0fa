"""Phase 2 of one node: proposals, retransmission, accepting, missed votes."""

import pickle
from itertools import pairwise
from math import inf

from paxosd.core.effects import (
    INTERRUPTED,
    NOT_LEADER,
    AcceptRecord,
    DecisionRecord,
    Refusal,
    WriteReply,
)
from paxosd.core.messages import (
    Accept,
    Accepted,
    Decisions,
    Heartbeat,
    Nack,
    Votes,
    VotesRequest,
)
from paxosd.core.resend_timer import PATIENCE_MIN_MS
from paxosd.core.types import Ballot
from tests.core.parts import Lone
from tests.core.replication_bench import B1, B2, B9, ENTRY, Bench, of, value
from tests.core.test_proposer import promise


class TestProposing:
    def test_one_accept_to_each_peer_and_ones_own_vote_after_the_fsync(self):
        bench = Bench()
        bench.lead()
        bench.submit("t")
        ready = bench.take(sync=False)
        assert [to for to, _ in ready.sends] == ["n2", "n3"]
        assert isinstance(ready.persist[0], AcceptRecord)
        assert ready.publishes == []
        bench.context.outbox.synced(ready.ticket)
        assert [m.ranges for m in bench.take().publishes] == [((1, 1),)]

    def test_a_quorum_of_votes_applies_and_answers_once(self):
        bench = Bench()
        bench.lead()
        bench.submit("t")
        assert bench.take().replies == []
        bench.votes("n2", B9, 1, 1)
        ready = bench.take()
        assert ready.replies == [("t", WriteReply(1, [1]))]
        bench.votes("n3", B9, 1, 1)
        assert bench.take().replies == []

    def test_the_own_vote_counts_only_once_durable(self):
        bench = Bench()
        bench.lead()
        bench.submit("t")
        bench.take(sync=False)
        bench.votes("n2", B9, 1, 1)
        assert bench.take(sync=False).replies == []

    def test_log_time_never_goes_back(self):
        bench = Bench()
        bench.lead()
        bench.context.wall_ms = 500
        bench.submit("a")
        bench.context.wall_ms = 100
        bench.submit("b")
        accepts = of(Accept, bench.take().sends, "n2")
        assert [pickle.loads(m.value)[0] for m in accepts] == [500, 500]

    def test_the_end_of_a_reign_tells_never_from_maybe(self):
        bench = Bench(eager_slots_max=1)
        bench.lead()
        bench.submit("flying")
        bench.submit("queued")
        bench.replication.stop("test")
        codes = {token: refusal.code for token, refusal in bench.take().replies}
        assert codes == {"flying": INTERRUPTED, "queued": NOT_LEADER}

    def test_a_value_chosen_after_the_reign_answers_nobody(self):
        bench = Bench()
        bench.lead()
        bench.submit("t")
        bench.take()
        bench.replication.stop("test")
        bench.take()
        bench.votes("n2", B9, 1, 1)
        ready = bench.take()
        assert [a.slot for a in ready.applied] == [1]
        assert ready.replies == []

    def test_another_value_in_ones_slot_is_no_success(self):
        bench = Bench()
        bench.lead()
        bench.submit("t")
        bench.take()
        later = Ballot(10, "n2")
        bench.exchange.receive_decisions("n2", Decisions(1, ((later, value(b"w")),), 1))
        ((token, reply),) = bench.take().replies
        assert token == "t"
        assert isinstance(reply, Refusal)
        assert reply.code == INTERRUPTED


class TestRetransmission:
    def test_only_those_who_did_not_vote_are_asked_again(self):
        bench = Bench(size=5)
        bench.lead(*((n, promise(B9)) for n in ("n1", "n2", "n3")))
        bench.submit("t")
        bench.take()
        bench.votes("n2", B9, 1, 1)
        bench.later(251)
        bench.replication.retransmit()
        assert [to for to, _ in bench.take().sends] == ["n3", "n4", "n5"]
        bench.replication.retransmit()
        assert bench.take().sends == [], "not before its time"

    def measured(self, took_ms=2, *, voters=("n2",), ballot=B9):
        """A leader of five whose first proposals were voted for after so long; the patience with
        the next one."""
        bench = Bench(size=5)
        bench.lead(*((n, promise(B9)) for n in ("n1", "n2", "n3")))
        for slot in range(1, 21):
            bench.submit(f"t{slot}")
            for place, voter in enumerate(voters):
                bench.later(took_ms if not place else 100)
                bench.votes(voter, ballot, slot, slot, seq=slot)
            bench.take()
        bench.replication.retransmit()
        bench.later(1000)
        bench.replication.retransmit()
        bench.take()
        began_ms = bench.context.now_ms
        bench.submit("next")
        bench.take()
        return bench, bench.replication.next_due_ms() - began_ms

    def test_it_is_sent_again_by_the_time_that_votes_take_of_late(self):
        _, patience_ms = self.measured(voters=("n2", "n3"))
        assert patience_ms == PATIENCE_MIN_MS, "by the first vote of another node"
        _, slow_ms = self.measured(80, voters=("n2", "n3"))
        assert 80 < slow_ms < 250

    def test_votes_at_another_ballot_measure_nothing(self):
        bench, patience_ms = self.measured(ballot=B2)
        assert patience_ms == bench.context.options.retransmit_ms

    def test_each_further_sending_waits_twice_as_long(self):
        bench, first_ms = self.measured(voters=("n2", "n3"))
        began_ms, sent_ms = bench.context.now_ms, []
        while bench.context.now_ms - began_ms < 1000:
            bench.later(bench.replication.next_due_ms() - bench.context.now_ms)
            bench.replication.retransmit()
            if of(Accept, bench.take().sends):
                sent_ms.append(bench.context.now_ms)
        waits_ms = [after - before for before, after in pairwise([began_ms, *sent_ms])]
        assert waits_ms[:6] == [first_ms, 2 * first_ms, 4 * first_ms, 8 * first_ms, 250, 250]

    def test_nothing_is_due_while_nothing_is_open(self):
        bench, _ = self.measured(voters=("n2", "n3"))
        bench.votes("n2", B9, 21, 21, seq=21)
        bench.votes("n3", B9, 21, 21, seq=21)
        bench.take()
        bench.later(500)
        bench.replication.retransmit()
        assert bench.replication.next_due_ms() == inf

    def test_a_leader_that_was_far_behind_accepts_its_own_proposals_in_the_end(self):
        bench = Bench(accept_ahead_slots_max=4)
        bench.lead(("n1", promise(B9)), ("n2", promise(B9, (11, B1, value(b"v")), commit=10)))
        assert bench.take().publishes == [], "too far above its commit index"
        values = tuple((B1, value(b"x")) for _ in range(10))
        bench.exchange.receive_decisions("n2", Decisions(1, values, 10))
        bench.take()
        bench.later(251)
        bench.replication.retransmit()
        ready = bench.take()
        assert [m.ranges for m in ready.publishes] == [((11, 11),)]
        bench.votes("n2", B9, 11, 11)
        assert [a.slot for a in bench.take().applied] == [11]


class TestOfAWholeNode:
    def test_an_accept_is_sent_again_between_two_heartbeats(self):
        lone = Lone()
        ballot = lone.campaign()
        lone.hear("n2", promise(ballot))
        assert lone.node.leading
        for number in range(20):
            assert lone.node.submit(f"t{number}", ENTRY, pickle.dumps(tuple(ENTRY))) is None
            lone.turn()
            lone.wait(2)
            slot = lone.node.status().proposed
            lone.hear("n2", Accepted(ballot, ((slot, slot),), number + 1))
        lone.sends.clear()
        while not lone.sent(Heartbeat, "n3"):
            lone.wait(1)
        lone.node.submit("next", ENTRY, pickle.dumps(tuple(ENTRY)))
        lone.turn()
        lone.sends.clear()
        began_ms = lone.now
        while not lone.sent(Accept, "n2"):
            assert lone.node.next_due_ms() > lone.now, "it does what it is woken for"
            lone.wait(lone.node.next_due_ms() - lone.now)
        assert lone.now - began_ms == PATIENCE_MIN_MS


class TestAccepting:
    def test_a_vote_is_published_after_the_fsync(self):
        bench = Bench("n3")
        assert bench.accept(B2, 1, value(b"v"))
        ready = bench.take(sync=False)
        assert ready.publishes == []
        bench.context.outbox.synced(ready.ticket)
        assert [(m.ballot, m.ranges) for m in bench.take().publishes] == [(B2, ((1, 1),))]

    def test_below_the_promise_a_refusal_goes_back(self):
        bench = Bench("n3", promised=B9)
        assert not bench.accept(B2, 1, value(b"v"), commit=5)
        assert of(Nack, bench.take().sends, "n2") == [Nack(B2, B9)]
        assert bench.context.learner.known_commit == 0, "its word counts no more"

    def test_an_applied_slot_is_served_instead(self):
        bench = Bench("n3", commit=5)
        bench.accept(B2, 3, value(b"v"))
        ready = bench.take()
        assert [(s.to, s.first, s.last) for s in ready.serves] == [("n2", 3, 3)]
        assert ready.publishes == []

    def test_too_far_ahead_there_is_silence(self):
        bench = Bench("n3", accept_ahead_slots_max=4)
        bench.accept(B2, 5, value(b"v"))
        ready = bench.take()
        assert (ready.publishes, ready.serves, of(Nack, ready.sends)) == ([], [], [])

    def test_a_decided_slot_takes_no_older_proposal(self):
        """Its record would be the slot's newest, and the log is what peers are served from."""
        bench = Bench("n3")
        chosen, other = value(b"chosen"), value(b"other")
        bench.exchange.receive_decisions("n1", Decisions(2, ((B9, chosen),), 2))
        assert bench.take().persist == [DecisionRecord(2, B9, chosen)]
        bench.accept(B2, 2, other)
        ready = bench.take()
        assert [r for r in ready.persist if isinstance(r, AcceptRecord)] == []
        assert ready.publishes == []
        bench.accept(B9, 2, chosen)
        assert [m.ranges for m in bench.take().publishes] == [((2, 2),)], "the chosen one it may"


class TestMissedVotes:
    def test_a_gap_is_asked_for_at_its_voter(self):
        bench = Bench("n3")
        bench.votes("n2", B2, 1, 1, seq=1)
        bench.votes("n2", B2, 3, 3, seq=3)
        assert bench.take().sends == [("n2", VotesRequest(1))]

    def test_not_at_every_message(self):
        bench = Bench("n3")
        for seq in (3, 4, 5):
            bench.votes("n2", B2, seq, seq, seq=seq)
        assert len(bench.take().sends) == 1
        bench.later(31)
        bench.votes("n2", B2, 6, 6, seq=6)
        assert len(bench.take().sends) == 1

    def test_the_repeat_counts_and_closes_the_gap(self):
        bench = Bench("n3")
        for slot in (1, 2):
            bench.accept(B2, slot, value(b"v"))
        bench.votes("n1", B2, 1, 2)
        bench.votes("n2", B2, 2, 2, seq=2)
        assert bench.execution.applied == 0
        bench.replication.receive_votes("n2", 1, Votes(((B2, 1, 2),), 2, 0))
        assert bench.execution.applied == 2
        bench.take()
        bench.later(31)
        bench.votes("n2", B2, 3, 3, seq=3)
        assert of(VotesRequest, bench.take().sends) == []

    def test_votes_are_repeated_only_once_durable(self):
        bench = Bench("n3")
        bench.accept(B2, 1, value(b"v"))
        bench.replication.receive_votes_request("n1", VotesRequest(1))
        ready = bench.take(sync=False)
        assert of(Votes, ready.sends) == []
        bench.context.outbox.synced(ready.ticket)
        assert of(Votes, bench.take().sends)[0].votes == ((B2, 1, 1),)
