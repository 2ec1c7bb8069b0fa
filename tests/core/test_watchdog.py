"""A leader that makes no progress gives up its ballot; one that is only slow keeps it."""

import pytest

from paxosd.core.effects import INTERRUPTED, NOT_LEADER, WriteReply
from paxosd.core.messages import (
    Accept,
    Accepted,
    HeartbeatAck,
    Promise,
    SnapshotChunk,
    Votes,
)
from paxosd.core.replication import Replication
from paxosd.core.watchdog import LEVEL_MAX, Watchdog
from tests.core.parts import Lone, make_context
from tests.core.scenes import all_equal, others, put_entry, started, value_on
from tests.core.test_lost_tail import cut

HEARTBEAT_MS = 100
TIMEOUT_MS = 600
PATIENCE_MS = 10 * TIMEOUT_MS


class Leader:
    """n1 leads and n2 acknowledges that, and does nothing else."""

    def __init__(self, **settings):
        self.lone = Lone(settings=settings)
        self.ballot = self.lone.campaign()
        self.lone.hear("n2", Promise(self.ballot, 1, 0, 0, ()))
        assert self.lone.node.leading

    def submit(self, seq):
        self.lone.node.submit(seq, put_entry(1, seq, b"v"), b"blob%d" % seq)
        self.lone.turn()

    def stays(self, duration_ms, each=lambda: None):
        """Whether it leads still after so long; ``each``: what else comes each heartbeat."""
        for _ in range(round(duration_ms / HEARTBEAT_MS)):
            self.lone.hear("n2", HeartbeatAck(self.ballot, 0, 0, 0, False))
            each()
            self.lone.wait(HEARTBEAT_MS)
            if not self.lone.node.leading:
                return False
        return True


class TestGivingUp:
    def test_nothing_moves(self):
        leader = Leader()
        leader.submit(1)
        assert leader.stays(PATIENCE_MS - 2 * HEARTBEAT_MS)
        assert not leader.stays(4 * HEARTBEAT_MS)
        assert leader.lone.replies[1].code == INTERRUPTED
        assert "nothing has moved for" in leader.lone.replies[1].message
        assert "slots 1 to 1" in leader.lone.replies[1].message

    def test_what_is_queued_was_never_submitted(self):
        leader = Leader(window_slots_max=1)
        leader.submit(1)
        leader.submit(2)
        assert not leader.stays(PATIENCE_MS + 4 * HEARTBEAT_MS)
        assert leader.lone.replies[2].code == NOT_LEADER

    def test_one_with_nothing_to_do_stays(self):
        assert Leader().stays(10 * PATIENCE_MS)

    @pytest.mark.parametrize("what", ["a vote", "a repeated vote", "a piece of a snapshot"])
    def test_what_moves(self, what):
        leader = Leader()
        for seq in range(1, 4):
            leader.submit(seq)
        votes = iter(range(10_000))

        def each():
            number = next(votes) + 1
            if number % 40:
                return
            if what == "a vote":  # never enough of them, and of slots that are not in flight
                leader.lone.hear("n3", Accepted(leader.ballot, ((number, number),), number))
            elif what == "a repeated vote":
                votes_again = ((leader.ballot, 40, 40),)
                leader.lone.hear("n3", Votes(votes_again, 0, 0))
            else:
                leader.lone.hear("n3", SnapshotChunk(9, 0, b"d", b"x"))

        assert leader.stays(3 * PATIENCE_MS, each) is (what != "a repeated vote")

    def test_a_group_commit_that_ends(self):
        leader = Leader()
        leader.submit(1)
        count = iter(range(10_000))

        def each():
            if next(count) % 50 == 49:
                leader.lone.node.synced(0)

        assert leader.stays(3 * PATIENCE_MS, each)

    def test_a_process_that_was_stopped_has_not_watched(self):
        context = make_context()
        context.proposer = Leader().lone.node._context.proposer
        context.proposer.next_slot = 5
        dog = Watchdog(context)
        assert not dog.look()
        context.now_ms += 2 * PATIENCE_MS
        assert not dog.look()


class TestBackoff:
    def watched(self):
        leader = Leader()
        leader.submit(1)
        return leader.lone.node._roles.watchdog, leader.lone.node._context

    def until_it_gives_up(self, dog, context):
        began_ms = context.now_ms
        while not dog.look():
            context.now_ms += HEARTBEAT_MS
            assert context.now_ms - began_ms < 1e7
        return context.now_ms - began_ms

    def test_it_doubles_up_to_a_bound_and_a_slot_that_is_applied_resets_it(self):
        dog, context = self.watched()
        took = [self.until_it_gives_up(dog, context) for _ in range(LEVEL_MAX + 3)]
        for level, ms in enumerate(took):
            expected = PATIENCE_MS * 2 ** min(level, LEVEL_MAX)
            assert expected <= ms <= expected + 2 * HEARTBEAT_MS
        context.learner.commit += 1
        context.proposer.next_slot += 2
        assert not dog.look()
        assert dog.patience_ms == PATIENCE_MS


class TestCluster:
    def test_one_whose_proposals_reach_nobody_makes_room(self):
        """Its heartbeats do, and so do their answers: without the watchdog it leads for ever."""
        cluster, leader, session = started(3)
        cluster.filter = lambda src, dst, message: (
            not (src == leader and isinstance(message, Accept))
        )
        cluster.submit(leader, put_entry(session, 1, b"lost"))
        cluster.run_until(lambda: cluster.leader() not in ("", leader), 30_000)
        (notice,) = [n for _, name, n in cluster.notices
                     if name == leader and n.event == "leader.stepped_down"]  # fmt: skip
        assert "nothing has moved" in notice.fields["reason"]
        cluster.put(session, 2, b"k", b"2")
        all_equal(cluster)
        assert value_on(cluster, leader) == b"2"

    @pytest.mark.parametrize("seed", range(3))
    def test_the_wedge_ends_by_the_watchdog_alone(self, seed, monkeypatch):
        """As in test_lost_tail.py, but its remedy is taken away."""
        monkeypatch.setattr(Replication, "overtaken", lambda self: 0)
        cluster, knows, leads, session = cut(seed)
        cluster.start(knows)
        all_equal(cluster)  # and the slots that it knows are above all that were proposed
        cluster.put(session, 9, b"k", b"9")
        all_equal(cluster)
        assert any("nothing has moved" in n.fields.get("reason", "")
                   for _, name, n in cluster.notices if name == leads)  # fmt: skip

    def write_slowly(self, cluster, leader, session, count):
        """One after the other, however long each takes; the leader stays."""
        for seq in range(1, count + 1):
            token = cluster.submit(leader, put_entry(session, seq, b"%d" % seq))
            cluster.run_until(lambda token=token: token in cluster.replies, 30_000)
            assert isinstance(cluster.replies[token], WriteReply)
        assert cluster.leader() == leader

    @pytest.mark.parametrize("seed", range(3))
    def test_slow_disks_make_no_leader_flap(self, seed):
        cluster, leader, session = started(3, seed)
        cluster.sync_ms = (3000.0, 3000.0)
        before = len([n for _, _, n in cluster.notices if n.event == "leader.stepped_down"])
        self.write_slowly(cluster, leader, session, 10)
        after = len([n for _, _, n in cluster.notices if n.event == "leader.stepped_down"])
        assert after == before

    def test_a_slow_link_makes_no_leader_flap(self):
        cluster, leader, session = started(3, options={"election_timeout_ms": 600})
        slow = others(cluster, leader)
        deliver = cluster.deliver

        def late(src, dst, message):
            if isinstance(message, Accept) and dst in slow:
                cluster.at(4000, lambda: deliver(src, dst, message))
            else:
                deliver(src, dst, message)

        cluster.deliver = late
        self.write_slowly(cluster, leader, session, 5)
