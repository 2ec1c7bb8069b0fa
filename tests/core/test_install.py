"""A node that jumps to a peer's snapshot: what it forgets, what it keeps, what it then says.

The numbers in brackets are those of the list of pitfalls, section Paxos.
"""

import pickle

import pytest

from paxosd.core.effects import INTERRUPTED, AcceptRecord, PromiseRecord, ReadReady
from paxosd.core.messages import Accept, Accepted, CatchUp, Decisions, Nack, Prepare, Promise
from paxosd.core.state.machine import Machine
from paxosd.core.types import NOOP, Ballot
from tests.core.cluster import Cluster
from tests.core.member import take
from tests.core.parts import Lone
from tests.core.scenes import (
    all_equal,
    others,
    put_entry,
    read_now,
    restart_all,
    started,
    value_on,
)

B1, B2, B9 = Ballot(1, "n2"), Ballot(2, "n2"), Ballot(9, "n3")


class At(int):
    """The slot of a machine that otherwise lists what it applies."""

    def append(self, item):
        pass


def jump(lone, slot):
    """As the replica does it."""
    lone.node._context.machine.applied = At(slot)
    lone.node.install(slot)
    return lone.turn()


class TestAcceptor:
    def test_promise_and_votes_above_stay_and_those_below_go(self):
        lone = Lone()
        for slot in (1, 3, 5, 6):
            lone.hear("n2", Accept(B1, slot, b"v%d" % slot, 0))
        lone.hear("n3", Prepare(B9, 1))
        jump(lone, 5)
        assert lone.node.promised == B9
        assert lone.node.status().commit == lone.node.applied == 5
        lone.hear("n3", Prepare(B9, 1))
        promise = lone.sent(Promise, "n3")[-1]
        assert promise.commit == 5
        assert [(each.slot, each.ballot) for each in promise.accepted] == [(6, B1)]
        assert lone.node._context.acceptor.bytes == len(b"v6")

    def test_a_proposal_for_a_slot_below_is_not_accepted(self):
        """[5] the acceptor's memory of it is gone: it must not vote anew."""
        lone = Lone()
        jump(lone, 5)
        before = len(lone.records)
        lone.hear("n2", Accept(B1, 4, b"another", 0))
        assert not lone.publishes
        assert not [r for r in lone.records[before:] if isinstance(r, AcceptRecord)]

    def test_what_it_did_not_promise_it_still_may(self):
        lone = Lone()
        jump(lone, 5)
        lone.hear("n2", Accept(B1, 6, b"next", 5))
        assert [a.ranges for a in lone.publishes] == [((6, 6),)]
        lone.hear("n3", Prepare(B9, 6))
        lone.hear("n2", Accept(B1, 7, b"late", 5))
        assert lone.sent(Nack, "n2")[-1].promised == B9
        assert PromiseRecord(B9) in lone.records


class TestLearner:
    def test_what_waited_above_is_applied_at_once(self):
        lone = Lone()
        lone.hear("n2", Decisions(6, ((B1, NOOP), (B1, NOOP)), 7))
        assert lone.node.applied == 0
        jump(lone, 5)
        assert lone.node.applied == 7
        assert [a.slot for a in lone.applied] == [6, 7]

    def test_votes_for_slots_below_are_forgotten(self):
        lone = Lone()
        for voter in ("n2", "n3"):
            lone.hear(voter, Accepted(B1, ((2, 4),), 1))
        lone.node._context.learner.receive_votes("n2", B1, 5, 5)
        jump(lone, 5)
        learner = lone.node._context.learner
        assert (learner.chosen, learner._votes, learner.decided) == ({}, {}, {})
        assert learner.missing() is None

    def test_not_backward_and_only_with_the_machine(self):
        lone = Lone()
        jump(lone, 5)
        with pytest.raises(AssertionError):
            jump(lone, 5)
        with pytest.raises(AssertionError):
            lone.node.install(9)


class TestLeader:
    def leading(self):
        """n1 leads; nobody votes for what it proposes in slots 1 and 2."""
        lone = Lone()
        ballot = lone.campaign()
        lone.hear("n2", Promise(ballot, 1, 0, 0, ()))
        assert lone.node.leading
        for seq in (1, 2):
            entry = put_entry(1, seq, b"v")
            lone.node.submit(seq, entry, pickle.dumps(tuple(entry)))
            lone.turn()
        assert lone.node.status().open_slots == 2
        return lone

    def test_open_proposals_below_are_interrupted(self):
        lone = self.leading()
        jump(lone, 1)
        assert lone.replies[1].code == INTERRUPTED
        assert lone.node.leading
        assert lone.node.status().open_slots == 1
        assert 2 not in lone.replies

    def test_a_reign_that_is_past_ends(self):
        """Slots that it never proposed are chosen, so a later leader has had them chosen."""
        lone = self.leading()
        jump(lone, 9)
        assert not lone.node.leading
        assert {lone.replies[token].code for token in (1, 2)} == {INTERRUPTED}

    def test_a_leader_jumps_and_goes_on_leading(self):
        """Elected far behind, as the promises show; it may get a snapshot while it leads."""
        cluster, leader, session = started(3)
        behind, third = others(cluster, leader)
        cluster.isolate(behind)
        for seq in range(1, 21):
            cluster.put(session, seq, b"k", b"%d" % seq)
        all_equal_but(cluster, behind)
        cluster.compact(third)
        cluster.crash(leader)
        cluster.heal()
        cluster.filter = lambda src, dst, message: (
            not (src == third and isinstance(message, Prepare))
        )
        cluster.run_until(lambda: cluster.leader() == behind, 60_000)
        assert cluster.put(session, 21, b"k", b"21")
        assert [name for _, name, _ in cluster.installed] == [behind]
        assert value_on(cluster, behind) == b"21"

    def test_a_leader_whose_snapshot_takes_long_begins_in_the_end(self):
        """It campaigns anew meanwhile, now and then: that neither stops the transfer nor chooses
        anything anew below the floor (check_chosen)."""
        cluster, leader, session = started(3)
        behind, third = others(cluster, leader)
        cluster.isolate(behind)
        for seq in range(1, 21):
            cluster.put(session, seq, b"k", b"%d" % seq)
        all_equal_but(cluster, behind)
        cluster.compact(third)
        cluster.crash(leader)
        cluster.heal()
        cluster.filter = lambda src, dst, message: (
            not (src == third and isinstance(message, Prepare))
        )
        offer, slow_ms = cluster._offer, 6_000
        cluster._offer = lambda *given: cluster.at(slow_ms, lambda: offer(*given))
        cluster.run_until(lambda: cluster.leader() == behind, 60_000)
        node = cluster.members[behind].node
        before = node.status().elections
        assert cluster.put(session, 21, b"k", b"21")
        assert [name for _, name, _ in cluster.installed] == [behind]
        timeout_ms = node._context.options.election_timeout_ms
        assert 1 <= node.status().elections - before <= slow_ms / (2 * timeout_ms) + 2
        assert value_on(cluster, third) == b"21"


def all_equal_but(cluster, name):
    rest = [m for m in cluster.up() if m.name != name]
    cluster.run_until(lambda: len({m.node.applied for m in rest}) == 1, 10_000)


class TestCluster:
    def behind(self, seed=1, size=3):
        """A cluster of which one node has missed so much that only a snapshot helps."""
        cluster, leader, session = started(size, seed)
        lost = others(cluster, leader)[0]
        cluster.isolate(lost)
        for seq in range(1, 41):
            cluster.put(session, seq, b"k", b"%d" % seq)
        all_equal_but(cluster, lost)
        for name in others(cluster, lost):
            cluster.compact(name)
        return cluster, lost, session

    def test_a_laggard_comes_back_by_snapshot(self):
        cluster, lost, session = self.behind()
        cluster.heal()
        all_equal(cluster)
        assert [name for _, name, _ in cluster.installed] == [lost]
        cluster.put(session, 41, b"k", b"41")
        all_equal(cluster)
        assert value_on(cluster, lost) == b"41"

    def test_a_node_that_compacts_keeps_the_newer_snapshot_that_it_was_sent(self):
        """Not yet installed, when the power goes: what is durable of the log begins above it."""
        cluster, lost, session = self.behind()
        member = cluster.members[lost]
        cluster.put(session, 41, b"k", b"41")
        assert member.machine.applied
        sent = cluster.members[others(cluster, lost)[0]].snapshot
        cluster._keep(member, sent)
        cluster.compact(lost)
        cluster.crash(lost)
        cluster.start(lost)
        assert member.machine.applied == sent[0].slot > 40
        cluster.heal()
        all_equal(cluster)

    def test_5_a_value_is_not_chosen_anew_after_compaction_at_one_node(self):
        """[5] The one that lags leads, with the promise of the one that compacted alone."""
        for seed in range(6):
            cluster, lost, session = self.behind(seed)
            keeper, gone = others(cluster, lost)
            cluster.crash(gone)
            cluster.heal()
            cluster.put(session, 41, b"k", b"41")  # check_chosen: one value per slot, always
            all_equal(cluster)
            assert value_on(cluster, keeper) == b"41"

    def test_13_state_and_applied_index_move_together(self):
        """[13] A read on the node that jumps sees all up to the slot that it names."""
        cluster, lost, _ = self.behind()
        cluster.heal()
        token = cluster.read(lost)
        cluster.run_until(lambda: token in cluster.replies, 10_000)
        reply = cluster.replies[token]
        if isinstance(reply, tuple):
            ready, applied = reply
            assert isinstance(ready, ReadReady)
            assert ready.applied == applied
        assert read_now(cluster, lost) == b"40"
        assert cluster.members[lost].machine.applied == cluster.members[lost].node.applied

    def test_14_a_retry_after_timeout_leader_change_and_snapshot(self):
        """[14] It is applied once, by any leader, from any memory."""
        cluster, lost, session = self.behind()
        cluster.heal()
        all_equal(cluster)
        assert cluster.installed
        for name in others(cluster, lost):
            cluster.crash(name)
            cluster.start(name)
        cluster.run_until(lambda: cluster.leader() != "")
        before = {m.name: m.machine.revision for m in cluster.up()}
        reply = cluster.put(session, 40, b"k", b"40")
        assert isinstance(reply.results[0], int)
        all_equal(cluster)
        assert {m.name: m.machine.revision for m in cluster.up()} == before

    def test_12_a_crash_between_the_snapshot_and_the_jump(self):
        """[12] The snapshot is durable and the node is not there yet when it dies."""
        cluster, lost, session = self.behind()
        cluster.sync_ms = (50.0, 60.0)
        cluster.heal()
        member = cluster.members[lost]
        cluster.run_until(lambda: member.snapshot is not None, 10_000)
        assert member.node.applied < member.snapshot[0].slot
        cluster.crash(lost)
        cluster.sync_ms = (0.2, 3.0)
        cluster.start(lost)
        assert member.node.applied >= member.snapshot[0].slot
        cluster.put(session, 41, b"k", b"41")
        all_equal(cluster)

    def test_all_restart_from_snapshots(self):
        cluster, lost, session = self.behind()
        cluster.heal()
        all_equal(cluster)
        for name in cluster.members:
            cluster.compact(name, margin=2)
        restart_all(cluster)
        cluster.put(session, 41, b"k", b"41")
        all_equal(cluster)
        assert cluster.members[lost].machine.history_floor_revision > 30

    def test_log_in_the_margin_is_served_as_log(self):
        cluster, leader, session = started(3)
        lost = others(cluster, leader)[0]
        cluster.isolate(lost)
        for seq in range(1, 11):
            cluster.put(session, seq, b"k", b"%d" % seq)
        for name in others(cluster, lost):
            cluster.compact(name, margin=30)
        cluster.heal()
        all_equal(cluster)
        assert cluster.installed == []
        assert any(isinstance(m, CatchUp) for _, _, _, m in cluster.sent)


def test_the_harness_takes_whole_snapshots():
    cluster = Cluster(1)
    cluster.elect()
    session = cluster.open_session()
    cluster.put(session, 1, b"k", b"v")
    machine = cluster.members["n1"].machine
    copy = Machine()
    head, sessions, _history, rows = take(machine)
    assert head.slot == machine.applied
    assert pickle.loads(sessions[0])
    assert len(rows[0]) == 2
    assert copy.chain != machine.chain
