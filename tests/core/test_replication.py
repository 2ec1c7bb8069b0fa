"""Phase 2 and learning of one node alone: accepts, votes, applying, pulling, retransmission."""

import pickle

import pytest

from paxosd.core.commands import PUT, Batch, Entry
from paxosd.core.effects import (
    INTERRUPTED,
    NOT_LEADER,
    AcceptRecord,
    CommitRecord,
    DecisionRecord,
    Refusal,
    WriteReply,
)
from paxosd.core.execution import Execution
from paxosd.core.log_exchange import LogExchange
from paxosd.core.messages import (
    Accept,
    Accepted,
    CatchUp,
    Decisions,
    Nack,
    Promise,
    Votes,
    VotesRequest,
)
from paxosd.core.proposer import Waiting
from paxosd.core.replication import Replication
from paxosd.core.types import NOOP, Ballot
from tests.core.parts import make_context
from tests.core.test_proposer import promise

B1, B2, B3, B9 = Ballot(1, "n1"), Ballot(2, "n2"), Ballot(3, "n3"), Ballot(9, "n1")
ENTRY = Entry(1, 1, 0, [[PUT, b"k", b"v"]])


def value(name):
    return pickle.dumps((1, [pickle.dumps((1, 1, 0, [[PUT, b"k", name]]))]))


class Bench:
    """A Replication with its context; effects are taken by ``take``."""

    def __init__(self, name="n1", size=3, **options):
        self.context = make_context(name, size, **options)
        self.execution = Execution(self.context, lambda changed: None)
        self.exchange = LogExchange(self.context, self.execution)
        self.replication = Replication(self.context, self.execution, self.exchange)
        self.execution.want_applied = True

    def take(self, *, sync=True):
        """Effects since the last take; the node's own votes are counted."""
        outbox = self.context.outbox
        ready = self._drain()
        if sync and ready.ticket:
            outbox.synced(ready.ticket)
            more = self._drain()
            for kind in ("persist", "sends", "publishes", "serves", "replies", "applied"):
                getattr(ready, kind).extend(getattr(more, kind))
        return ready

    def _drain(self):
        outbox = self.context.outbox
        outbox.settle()
        while (message := outbox.self_message()) is not None:
            if isinstance(message, Accepted):
                self.replication.receive_accepted(self.context.node, 1, message)
        return outbox.take()

    def lead(self, *promises):
        proposer = self.context.proposer
        self.context.acceptor.promised = B9
        proposer.start(B9, self.context.learner.commit + 1, 0.0)
        for sender, message in promises or (("n1", promise(B9)), ("n2", promise(B9))):
            proposer.receive_promise(sender, message)
        commit = self.context.learner.commit
        self.replication.lead(proposer.take_lead(commit, self.context.now_ms, lambda v: False))

    def submit(self, token):
        waiting = Waiting(token, ENTRY, pickle.dumps(tuple(ENTRY)))
        assert self.context.proposer.enqueue(waiting)
        self.replication.propose_waiting()

    def accept(self, ballot, slot, held, commit=0, sender=None):
        message = Accept(ballot, slot, held, commit)
        return self.replication.receive_accept(sender or ballot.node, message)

    def votes(self, voter, ballot, first, last, seq=1):
        message = Accepted(ballot, ((first, last),), seq)
        self.replication.receive_accepted(voter, 1, message)

    def later(self, ms):
        self.context.now_ms += ms


def of(kind, sends, to=None):
    return [m for dst, m in sends if isinstance(m, kind) and to in (None, dst)]


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


class TestApplying:
    def test_in_order_whatever_order_the_votes_come_in(self):
        bench = Bench("n3")
        for slot in (3, 1, 2):
            bench.accept(B2, slot, value(b"%d" % slot))
            for voter in ("n1", "n2"):
                bench.votes(voter, B2, slot, slot)
        assert [slot for slot, _ in bench.context.machine.applied] == [1, 2, 3]
        assert bench.context.acceptor.accepted == {}
        assert bench.execution.applied == 3

    def test_the_leaders_commit_index_does_without_votes(self):
        bench = Bench("n3")
        bench.accept(B2, 1, value(b"v"))
        bench.accept(B2, 2, value(b"w"), commit=1)
        assert bench.execution.applied == 1

    def test_a_noop_and_garbage_apply_as_nothing(self):
        bench = Bench("n3")
        bench.context.codec.decode_batch = self.refuse
        for slot, held in [(1, NOOP), (2, b"garbage")]:
            bench.accept(B2, slot, held, commit=slot - 1)
        bench.accept(B2, 3, NOOP, commit=2)
        assert bench.context.machine.applied == [(1, None), (2, None)]
        assert [n.event for n in bench.take().notices] == ["storage.bad_value"]

    @staticmethod
    def refuse(_):
        raise ValueError("no batch")

    def test_own_batches_are_not_decoded_again(self):
        bench = Bench()
        bench.context.codec.decode_batch = self.refuse
        bench.lead()
        bench.submit("t")
        bench.take()
        bench.votes("n2", B9, 1, 1)
        assert bench.context.machine.applied == [(1, Batch(0, [ENTRY]))]

    def test_the_commit_index_rides_along_or_goes_alone(self):
        bench = Bench("n3")
        bench.accept(B2, 1, value(b"v"))
        bench.take()
        bench.accept(B2, 2, value(b"w"), commit=1)
        bench.execution.record_commit(alone=False)
        assert bench.take().persist[-1] == CommitRecord(1)
        for voter in ("n1", "n2"):
            bench.votes(voter, B2, 2, 2)
        bench.execution.record_commit(alone=False)
        assert bench.take().persist == []
        bench.execution.record_commit(alone=True)
        assert bench.take().persist == [CommitRecord(2)]


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


class TestTwoValuesAtOneBallot:
    """A log or a memory is damaged, or a node runs twice: nothing of it is taken over."""

    def told(self, bench):
        events = [n.event for n in bench.take().notices]
        return events.count("ballot.contradiction")

    def test_a_decision_that_differs_from_what_was_accepted(self):
        bench = Bench("n3")
        bench.accept(B1, 1, value(b"v"))
        bench.take()
        bench.exchange.receive_decisions("n2", Decisions(1, ((B1, value(b"w")),), 1))
        assert bench.execution.applied == 0
        assert bench.context.contradiction.slot == 1
        bench.exchange.receive_decisions("n2", Decisions(1, ((B1, value(b"w")),), 1))
        assert self.told(bench) == 1, "it is told once"
        bench.context.learner.receive_commit(B1, 1)
        bench.execution.advance()
        assert bench.execution.applied == 0, "its own may be the wrong one"

    @pytest.mark.parametrize("chosen", [b"v", b"w"])
    def test_what_a_majority_says_was_chosen_is_taken(self, chosen):
        """Whoever was damaged, this node or the one that it heard first."""
        bench = Bench("n3")
        bench.accept(B1, 1, value(b"v"))
        bench.exchange.receive_decisions("n2", Decisions(1, ((B1, value(b"w")),), 1))
        bench.take()
        bench.exchange.receive_decisions("n1", Decisions(1, ((B1, value(chosen)),), 1))
        assert bench.execution.applied == 1
        records = [r for r in bench.take().persist if isinstance(r, DecisionRecord)]
        assert [r.value for r in records] == ([value(b"w")] if chosen == b"w" else [])

    def test_a_decision_of_another_ballot_may_differ(self):
        bench = Bench("n3")
        bench.accept(B1, 1, value(b"v"))
        bench.exchange.receive_decisions("n2", Decisions(1, ((B2, value(b"w")),), 1))
        assert bench.execution.applied == 1
        assert bench.context.contradiction is None

    def test_an_accept_request_gets_no_vote(self):
        bench = Bench("n3")
        bench.accept(B1, 1, value(b"v"))
        ready = bench.take()
        bench.context.outbox.synced(ready.ticket)
        bench.take()
        bench.accept(B1, 1, value(b"w"))
        ready = bench.take()
        assert not ready.publishes
        assert not ready.persist
        assert [n.event for n in ready.notices] == ["ballot.contradiction"]


class TestCatchingUp:
    def test_a_missing_value_is_pulled_after_a_while(self):
        bench = Bench("n3")
        bench.context.peers["n1"].commit = 1
        for voter in ("n1", "n2"):
            bench.votes(voter, B2, 1, 1)
        bench.exchange.check_missing()
        assert of(CatchUp, bench.take().sends) == []
        bench.later(31)
        bench.exchange.check_missing()
        assert bench.take().sends[-1] == ("n1", CatchUp(1, 1))
        bench.exchange.receive_decisions("n1", Decisions(1, ((B2, value(b"v")),), 1))
        assert bench.execution.applied == 1

    def test_far_behind_it_pulls_at_once_in_bounded_steps(self):
        bench = Bench("n3", catch_up_slots_max=10)
        bench.context.peers["n2"].commit = 500
        bench.context.learner.receive_commit(B2, 500)
        bench.exchange.check_missing()
        assert bench.take().sends == [("n2", CatchUp(1, 10))]
        values = tuple((B2, value(b"v")) for _ in range(10))
        bench.exchange.receive_decisions("n2", Decisions(1, values, 500))
        assert bench.take().sends == [("n2", CatchUp(11, 20))], "the next step at once"

    def test_what_it_got_is_applied_in_pieces_and_only_then_it_asks_for_more(self):
        bench = Bench("n3", catch_up_slots_max=10, apply_commands_max=3)
        execution, exchange = bench.execution, bench.exchange
        bench.context.peers["n2"].commit = 500
        values = tuple((B2, value(b"v")) for _ in range(10))
        exchange.receive_decisions("n2", Decisions(1, values, 500))
        for applied in (3, 6, 9):
            assert (execution.applied, execution.held) == (applied, True)
            assert bench.context.learner.commit == applied
            exchange.resume()
            assert execution.applied == applied, "the turn is not over"
            bench.later(300)
            for _ in range(2):
                exchange.check_missing()
                exchange.check_behind()
            assert of(CatchUp, bench.take().sends) == [], "nothing is missing"
            execution.end_turn()
            exchange.resume()
        assert (execution.applied, execution.held) == (10, False)
        assert bench.take().sends == [("n2", CatchUp(11, 20))]

    def test_a_slot_is_applied_whole_however_large_it_is(self):
        bench = Bench("n3", apply_commands_max=1)
        values = tuple((B2, value(b"v")) for _ in range(3))
        bench.exchange.receive_decisions("n2", Decisions(1, values, 3))
        for applied in (1, 2, 3):
            assert bench.execution.applied == applied
            bench.execution.end_turn()
            bench.exchange.resume()
        assert not bench.execution.held

    def test_while_the_shell_has_enough_to_do_nothing_is_applied(self):
        bench = Bench("n3")
        bench.execution.pausing = True
        values = tuple((B2, value(b"v")) for _ in range(3))
        bench.exchange.receive_decisions("n2", Decisions(1, values, 3))
        assert (bench.execution.applied, bench.execution.held) == (0, True)
        bench.execution.pausing = False
        bench.exchange.resume()
        assert (bench.execution.applied, bench.execution.held) == (3, False)

    def test_a_repeated_answer_asks_for_nothing(self):
        bench = Bench("n3", catch_up_slots_max=1)
        message = Decisions(1, ((B2, value(b"v")),), 500)
        bench.exchange.receive_decisions("n2", message)
        assert len(of(CatchUp, bench.take().sends)) == 1
        for _ in range(3):
            bench.exchange.receive_decisions("n2", message)
        assert bench.take().sends == []

    def test_an_empty_answer_asks_for_nothing(self):
        bench = Bench("n3")
        bench.exchange.receive_decisions("n2", Decisions(1, (), 500))
        assert bench.take().sends == []

    def test_only_who_has_it_is_asked(self):
        bench = Bench("n3")
        bench.context.peers["n2"].commit = 4
        bench.context.learner.receive_commit(B2, 9)
        for _ in range(20):
            bench.later(300)
            bench.exchange.check_missing()
        assert {to for to, _ in bench.take().sends} == {"n2"}

    def test_standing_still_behind_a_peer_it_pulls(self):
        bench = Bench("n3")
        bench.context.peers["n2"].commit = 3
        bench.exchange.check_behind()
        assert bench.take().sends == []
        bench.exchange.check_behind()
        assert bench.take().sends == [("n2", CatchUp(1, 3))]

    def test_pulled_values_are_recorded(self):
        bench = Bench("n3")
        v = value(b"v")
        bench.exchange.receive_decisions("n2", Decisions(1, ((B2, v),), 1))
        assert bench.take().persist == [DecisionRecord(1, B2, v)]

    def test_a_value_held_alike_is_recorded_again_only_under_a_higher_ballot(self):
        """A deposed leader that is served this slot must see a ballot above its own."""
        for held, decided, records in [(B2, B2, 0), (B3, B2, 0), (B2, B9, 1)]:
            bench = Bench("n3")
            bench.accept(held, 1, value(b"v"))
            bench.take()
            message = Decisions(1, ((decided, value(b"v")),), 1)
            bench.exchange.receive_decisions("n2", message)
            assert len(bench.take().persist) == records

    def test_serving_is_bounded_by_commit_and_count(self):
        bench = Bench("n3", commit=50, catch_up_slots_max=10)
        for ask in (CatchUp(1, 1000), CatchUp(45, 1000), CatchUp(51, 60)):
            bench.exchange.receive_catch_up("n2", ask)
        served = [(s.first, s.last) for s in bench.take().serves]
        assert served == [(1, 10), (45, 50)]

    def test_a_new_leader_trusts_no_value_of_its_own_below_the_floor(self):
        """Another ballot may have chosen it: a promise can be much older than its arrival."""
        accepted = {1: (B1, value(b"other"))}
        bench = Bench(accepted=accepted)
        bench.lead(("n1", Promise(B9, 1, 0, 0, ())), ("n2", promise(B9, commit=1)))
        bench.execution.advance()
        assert bench.execution.applied == 0
        bench.context.acceptor.accepted[1] = (Ballot(10, "n3"), value(b"another"))
        bench.execution.advance()
        assert bench.execution.applied == 0
        bench.exchange.receive_decisions("n2", Decisions(1, ((B3, value(b"v")),), 1))
        assert [a.value for a in bench.take().applied] == [value(b"v")]
