"""The claims of Lamport, "Paxos Made Simple" (2001), one test or more each.

The order is the paper's: P1, P1a, P2, P2a, P2b, P2c (section 2.2), learning (2.3), progress
(2.4), stable storage and ballots (2.5), many instances (3).
"""

import itertools
import random

import pytest

from paxosd.core.acceptor import Acceptor, AcceptOutcome
from paxosd.core.commands import PUT, Entry
from paxosd.core.effects import AcceptRecord, PromiseRecord
from paxosd.core.learner import Learner
from paxosd.core.messages import Accept, Heartbeat, Nack, Prepare, Promise
from paxosd.core.proposer import Proposer
from paxosd.core.quorum import Quorums
from paxosd.core.types import NOOP, Ballot
from tests.core.cluster import Cluster
from tests.core.parts import Lone, make_options
from tests.core.test_acceptor import accept, prepare
from tests.core.test_proposer import lead, promise, propose, waiting

B1, B2, B3 = Ballot(1, "n1"), Ballot(2, "n2"), Ballot(3, "n3")


class Synod:
    """One instance, by hand: acceptors, and proposers that reach the nodes that the test names."""

    def __init__(self, size=3):
        self.names = [f"n{i + 1}" for i in range(size)]
        self.acceptors = {name: Acceptor() for name in self.names}
        self.learner = Learner(Quorums(self.names))
        self.size = size

    def phase1(self, ballot, names):
        """A proposer that has these acceptors' promises; None if they are no quorum."""
        proposer = Proposer(make_options(ballot.node, self.size))
        proposer.start(ballot, 1, 0.0)
        for name in names:
            answer, _ = prepare(self.acceptors[name], ballot)
            if isinstance(answer, Promise):
                proposer.receive_promise(name, answer)
        return proposer if proposer.prepared else None

    def value(self, proposer, own):
        """What it must propose in slot 1."""
        proposals = proposer.take_lead(0, 0.0, lambda value: False)
        return proposals[0].value if proposals else own

    def phase2(self, ballot, value, names):
        for name in names:
            outcome, _ = accept(self.acceptors[name], ballot, 1, value)
            if outcome is AcceptOutcome.VOTED:
                self.learner.receive_votes(name, ballot, 1, 1)


class TestChoosingAValue:
    def test_p1_an_acceptor_accepts_the_first_proposal_that_it_receives(self):
        """P1. An acceptor must accept the first proposal that it receives."""
        assert accept(Acceptor(), B1, 1, b"v")[0] is AcceptOutcome.VOTED

    def test_p1a_accept_unless_a_greater_prepare_was_answered(self):
        """P1a. An acceptor can accept a proposal numbered n iff it has not responded to a
        prepare request having a number greater than n."""
        for promised, proposed in itertools.product([B1, B2, B3], repeat=2):
            acceptor = Acceptor()
            prepare(acceptor, promised)
            outcome, _ = accept(acceptor, proposed, 1, b"v")
            may = proposed >= promised
            assert outcome is (AcceptOutcome.VOTED if may else AcceptOutcome.NACKED)

    @pytest.mark.parametrize("size", [3, 4, 5])
    @pytest.mark.parametrize("seed", range(40))
    def test_p2_a_chosen_value_stays_chosen(self, size, seed):
        """P2. If a proposal with value v is chosen, then every higher-numbered proposal that is
        chosen has value v. P2a: … that is accepted; P2b: … that is issued by any proposer."""
        rng = random.Random(seed)
        synod = Synod(size)
        running, issued, chosen = [], [], {}
        for round_ in range(1, 12):
            ballot = Ballot(round_, rng.choice(synod.names))
            proposer = synod.phase1(ballot, rng.sample(synod.names, rng.randint(1, size)))
            if proposer is not None:
                value = synod.value(proposer, b"v%d" % round_)
                issued.append((ballot, value))
                running.append((ballot, value))
            for each in rng.sample(running, min(2, len(running))):
                synod.phase2(*each, rng.sample(synod.names, rng.randint(1, size)))
            if 1 in synod.learner.chosen and not chosen:
                first = synod.learner.chosen[1]
                chosen = {first: dict(issued)[first]}
        for ballot, value in chosen.items():
            higher = [v for b, v in issued if b > ballot]
            assert set(higher) <= {value}, "P2b"
            accepted = [a.accepted[1] for a in synod.acceptors.values() if a.accepted]
            assert {v for b, v in accepted if b > ballot} <= {value}, "P2a"

    def test_p2c_the_value_of_the_highest_numbered_proposal_among_a_majority(self):
        """P2c. … (b) v is the value of the highest-numbered proposal among all proposals
        numbered less than n accepted by the acceptors in S."""
        synod = Synod(5)
        synod.phase1(B1, synod.names)
        synod.phase2(B1, b"one", ["n1"])
        synod.phase1(B2, ["n2", "n3", "n4"])
        synod.phase2(B2, b"two", ["n2"])
        proposer = synod.phase1(B3, ["n1", "n2", "n5"])
        assert synod.value(proposer, b"own") == b"two"

    def test_p2c_free_choice_if_none_was_accepted(self):
        """P2c. (a) no acceptor in S has accepted any proposal numbered less than n."""
        synod = Synod(5)
        synod.phase1(B1, synod.names)
        synod.phase2(B1, b"one", ["n1", "n2"])
        proposer = synod.phase1(B2, ["n3", "n4", "n5"])
        assert synod.value(proposer, b"own") == b"own"

    def test_p2c_needs_a_majority(self):
        assert Synod(5).phase1(B1, ["n1", "n2"]) is None

    def test_a_proposer_issues_one_proposal_per_number(self):
        """Section 2.2: different proposals have different numbers. In the composed node."""
        cluster = Cluster(3, 5)
        cluster.elect()
        session = cluster.open_session()
        for seq in range(1, 5):
            cluster.put(session, seq, b"k", b"%d" % seq)
            cluster.crash(cluster.leader())
            cluster.run(1500)
            for member in cluster.members.values():
                if member.node is None:
                    cluster.start(member.name)
        issued = {}
        for _, _, _, message in cluster.sent:
            if isinstance(message, Accept):
                key = (message.ballot, message.slot)
                assert issued.setdefault(key, message.value) == message.value
        assert len({ballot for ballot, _ in issued}) > 3

    def test_a_refused_proposer_is_told(self):
        """Section 2.2, end: it is probably a good idea to abandon a proposal if some proposer
        has begun trying to issue a higher-numbered one … inform it."""
        acceptor = Acceptor(promised=B3)
        assert prepare(acceptor, B1)[0] == Nack(B1, B3)


class TestLearning:
    def test_a_learner_finds_out_that_a_majority_accepted(self):
        """Section 2.3: a learner must find out that a proposal has been accepted by a majority
        of acceptors. Every subset of voters, exactly the majorities choose."""
        for size in range(1, 8):
            names = [f"n{i + 1}" for i in range(size)]
            for count in range(size + 1):
                learner = Learner(Quorums(names))
                for name in names[size - count :]:
                    learner.receive_votes(name, B1, 1, 1)
                assert (1 in learner.chosen) == (count > size // 2)

    def test_an_accepted_value_need_not_be_chosen(self):
        """Section 2.3: because of message loss, a value could be chosen with no learner ever
        finding out … or, as here, accepted by one acceptor without being chosen."""
        learner = Learner(Quorums(["n1", "n2", "n3"]))
        learner.receive_votes("n1", B1, 1, 1)
        assert learner.next_chosen({1: (B1, b"v")}) is None

    def test_a_loss_of_all_votes_is_made_up_by_a_new_proposal(self):
        """Section 2.3: if a learner needs to know whether a value has been chosen, it can have
        a proposer issue a proposal."""
        cluster = Cluster(3, 7)
        leader = cluster.elect()
        session = cluster.open_session()
        first = max(cluster.chosen) + 1
        cluster.filter = lambda src, dst, m: type(m).__name__ not in ("Accepted", "Votes")
        cluster.submit(leader, Entry(session, 1, 0, [[PUT, b"k", b"v"]]))
        cluster.run(300)
        assert first not in cluster.chosen, "three acceptors hold it, and no learner knows"
        cluster.crash(leader)
        cluster.filter = lambda src, dst, m: True
        cluster.run_until(lambda: first in cluster.chosen)
        assert b"v" in cluster.chosen[first]


class TestProgress:
    @pytest.mark.parametrize("seed", range(3))
    def test_one_distinguished_proposer_is_found(self, seed):
        """Section 2.4: to guarantee progress, a distinguished proposer must be selected as the
        only one to try issuing proposals. All start at once and collide."""
        cluster = Cluster(5, seed)
        cluster.elect()
        assert sum(m.node.leading for m in cluster.up()) == 1
        assert cluster.open_session() == 1
        assert sum(m.node.status().elections for m in cluster.up()) <= 10

    def test_election_uses_randomness(self):
        """Section 2.4: a reliable algorithm for electing a proposer must use either randomness
        or real time (Fischer, Lynch, Patterson)."""
        leaders = {Cluster(3, seed).elect() for seed in range(12)}
        assert len(leaders) > 1

    def test_safety_does_not_depend_on_there_being_one(self):
        """Section 2.4: safety is ensured regardless of the success or failure of the election."""
        synod = Synod(3)
        one = synod.phase1(B1, synod.names)
        two = synod.phase1(B2, synod.names)
        synod.phase2(B1, synod.value(one, b"one"), synod.names)
        synod.phase2(B2, synod.value(two, b"two"), synod.names)
        assert synod.learner.chosen == {1: B2}


class TestStableStorage:
    def test_the_response_is_recorded_before_it_is_sent(self):
        """Section 2.5: an acceptor records its intended response in stable storage before
        actually sending the response."""
        lone = Lone("n1")
        lone.hear("n2", Prepare(B2, 1), sync=False)
        assert lone.records == [PromiseRecord(B2)]
        assert lone.sent(Promise) == []
        lone.node.synced(1)
        lone.turn()
        assert len(lone.sent(Promise, "n2")) == 1
        lone.hear("n2", Accept(B2, 1, b"v", 0), sync=False)
        assert lone.records[-1] == AcceptRecord(1, B2, b"v")
        assert lone.publishes == []
        lone.node.synced(2)
        lone.turn()
        assert [m.ranges for m in lone.publishes] == [((1, 1),)]

    def test_a_refusal_tells_of_the_promise_only_once_it_is_durable(self):
        lone = Lone("n1")
        lone.hear("n3", Prepare(B3, 1), sync=False)
        lone.hear("n2", Accept(B2, 1, b"v", 0), sync=False)
        lone.hear("n2", Heartbeat(B2, "n2", 0, 0, 0, 0), sync=False)
        assert lone.sent(Nack) == []
        lone.node.synced(1)
        lone.turn()
        assert lone.sent(Nack, "n2") == [Nack(B2, B3)] * 2

    def test_an_acceptor_that_restarts_remembers(self):
        """Section 2.5: stable storage, preserved during failures, is used to maintain the
        information that the acceptor must remember."""
        lone = Lone("n1", promised=B2, accepted={1: (B2, b"v")})
        lone.hear("n3", Prepare(B3, 1))
        assert lone.sent(Promise, "n3")[0].accepted == ((1, B2, b"v"),)
        lone.hear("n2", Accept(B2, 2, b"w", 0))
        assert lone.sent(Nack, "n2") == [Nack(B2, B3)]

    def test_no_ballot_is_used_twice_not_even_across_restarts(self):
        """Section 2.5: each proposer remembers (in stable storage) the highest-numbered
        proposal it has tried to issue, and begins with a higher number than any it has used."""
        used, records = [], []
        for run_id in range(1, 5):
            promised = max([r.ballot for r in records if isinstance(r, PromiseRecord)],
                           default=Ballot(0, ""))  # fmt: skip
            lone = Lone("n1", promised=promised, run_id=run_id, records=records)
            used += [lone.campaign(), lone.campaign()]
            records = lone.records
        assert used == sorted(set(used))

    def test_a_prepare_leaves_only_once_the_ballot_is_durable(self):
        lone = Lone("n1", size=2)
        real, lone.node.synced = lone.node.synced, lambda ticket: None
        lone.turn = lambda *, sync=True, turn=lone.turn: turn(sync=False)
        with pytest.raises(AssertionError, match="does not campaign"):
            lone.campaign(limit=12)
        assert any(isinstance(r, PromiseRecord) for r in lone.records)
        assert lone.sent(Prepare) == []
        real(1)
        lone.turn()
        assert lone.sent(Prepare)

    def test_replayed_promises_of_an_old_ballot_elect_nobody(self):
        """PITFALLS, Paxos 2: a proposer restarts, and its old promises arrive once more."""
        old = Lone("n1").campaign()
        lone = Lone("n1", run_id=2, promised=old)
        lone.campaign()
        for name in ("n2", "n3"):
            lone.hear(name, Promise(old, 1, 0, 0, ()))
        assert not lone.node.leading


class TestStateMachine:
    def test_phase_1_is_done_once_for_all_instances(self):
        """Section 3: a newly chosen leader executes phase 1 for infinitely many instances …
        and then phase 2 only."""
        cluster = Cluster(3, 3)
        cluster.elect()
        session = cluster.open_session()
        before = sum(isinstance(m, Prepare | Promise) for *_, m in cluster.sent)
        for seq in range(1, 31):
            cluster.put(session, seq, b"k", b"%d" % seq)
        assert sum(isinstance(m, Prepare | Promise) for *_, m in cluster.sent) == before
        assert max(cluster.chosen) >= 31

    def test_gaps_are_filled_with_no_ops_and_values_proposed_again(self):
        """Section 3: the leader proposes the adopted values (the paper's 135 and 140) and fills
        the gap between with special "no-op" commands."""
        proposer = Proposer(make_options())
        proposals = lead(
            proposer,
            ("n1", promise(Ballot(9, "n1"), (135, B1, b"x"), commit=134)),
            ("n2", promise(Ballot(9, "n1"), (140, B2, b"y"), commit=134)),
            commit=134,
        )
        assert [(p.slot, p.value) for p in proposals] == [
            (135, b"x"), *((s, NOOP) for s in range(136, 140)), (140, b"y"),
        ]  # fmt: skip
        assert proposer.next_slot == 141

    def test_the_leader_gets_ahead_by_a_bounded_window(self):
        """Section 3: a leader can get alpha commands ahead: it can propose commands i + 1
        through i + alpha after commands 1 through i are chosen."""
        proposer = Proposer(make_options(window_slots_max=5, eager_slots_max=99))
        lead(proposer)
        for token in range(20):
            proposer.enqueue(waiting(token))
            if proposer.may_propose():
                propose(proposer)
            assert len(proposer.open) <= 5
        assert proposer.next_slot == 6

    def test_a_command_waits_for_those_before_it(self):
        """Section 3: a server can execute command i only when 1 through i are known."""
        learner = Learner(Quorums(["n1", "n2", "n3"]))
        for voter in ("n1", "n2"):
            learner.receive_votes(voter, B1, 2, 2)
        assert learner.next_chosen({1: (B1, b"a"), 2: (B1, b"b")}) is None
        assert learner.missing() == (1, 2)

    def test_an_acceptor_answers_for_all_instances_in_one_message(self):
        """Section 3: it responds with more than a simple OK only if it has already received a
        phase 2 message from some proposer."""
        acceptor = Acceptor(B1, dict.fromkeys((135, 140), (B1, b"v")))
        answer, persist = prepare(acceptor, B2, 100)
        assert [a.slot for a in answer.accepted] == [135, 140]
        assert answer.until_slot == 0
        assert persist == [PromiseRecord(B2)]
