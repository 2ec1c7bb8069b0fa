"""A voter whose log lost its last records without a trace: nobody wedges, nothing known is undone.

What the node alone cannot notice the others must survive. Here the records are taken off the log
of a node that is down, as a disk does that lies about what it has written.
"""

import pytest

from paxosd.core.effects import AcceptRecord, CommitRecord, DecisionRecord, WriteReply
from paxosd.core.messages import Accept, Decisions, Heartbeat, HeartbeatAck, Promise
from paxosd.core.proposer import Proposer
from paxosd.core.types import NOOP, Ballot
from tests.core.parts import Lone, make_options
from tests.core.scenes import all_equal, others, put_entry, started, value_on

B1, B9 = Ballot(1, "n1"), Ballot(9, "n1")


def no_change(value):
    return False


def lose_tail(member, slots):
    """The log forgets its last ``slots`` slots, and every commit record with them."""
    assert member.node is None
    values = AcceptRecord | DecisionRecord
    top = max(record.slot for record in member.durable if isinstance(record, values))
    member.durable = [
        record for record in member.durable
        if not (isinstance(record, values) and record.slot > top - slots)
        and not (isinstance(record, CommitRecord) and record.slot > top - slots)
    ]  # fmt: skip


def cut(seed, *, heard_first=False):
    """One lost three chosen slots, another never had them: one of these two leads. Returns
    (cluster, the third, who leads, session); the third has the slots and is down, or, with
    ``heard_first``, is heard but promises nothing."""
    cluster, leader, session = started(3, seed)
    lost, behind = others(cluster, leader)
    cluster.crash(behind)
    for seq in range(1, 9):
        cluster.put(session, seq, b"k", b"%d" % seq)
    all_equal(cluster)
    cluster.run(500)  # the commit index is in the logs, too
    cluster.crash(lost)
    cluster.crash(leader)
    lose_tail(cluster.members[lost], 3)
    if heard_first:
        cluster.filter = lambda src, dst, message: src != leader or isinstance(message, Heartbeat)
        cluster.start(leader)
    cluster.start(lost)
    cluster.start(behind)
    cluster.run_until(lambda: cluster.leader() in (lost, behind), 30_000)
    return cluster, leader, cluster.leader(), session


@pytest.mark.parametrize("seed", range(5))
def test_the_leader_that_learns_of_chosen_slots_above_its_own_prepares_anew(seed):
    cluster, knows, leads, session = cut(seed)
    first = cluster.members[leads].node._context.proposer.ballot
    cluster.start(knows)
    cluster.run_until(lambda: cluster.members[leads].node.applied
                      == cluster.members[knows].node.applied, 10_000)  # fmt: skip
    cluster.put(session, 9, b"k", b"9")
    all_equal(cluster)
    assert value_on(cluster, leads) == b"9"
    assert cluster.members[cluster.leader()].node._context.proposer.ballot > first


@pytest.mark.parametrize("seed", range(5))
def test_what_it_knows_to_be_chosen_it_neither_proposes_nor_reads_past(seed):
    """The one that knows is heard, and its promise is not: `check_chosen` sees a slot undone."""
    cluster, knows, leads, session = cut(seed, heard_first=True)
    node = cluster.members[leads].node
    assert node._context.proposer.reported < node._context.peers[knows].commit
    token = cluster.read(leads)
    write = cluster.submit(leads, put_entry(session, 9, b"9"))
    cluster.run(400)
    assert token not in cluster.replies
    cluster.filter = lambda src, dst, message: True
    cluster.run_until(lambda: token in cluster.replies and write in cluster.replies, 20_000)
    all_equal(cluster)
    if not isinstance(cluster.replies[write], WriteReply):
        cluster.put(session, 9, b"k", b"9")
    assert value_on(cluster, leads) == b"9"
    assert any(n.event == "leader.slots_missing" for _, _, n in cluster.notices)


class TestReign:
    """A leader by itself: how it may learn of a slot that it never proposed."""

    def leading(self):
        lone = Lone()
        ballot = lone.campaign()
        lone.hear("n2", Promise(ballot, 1, 0, 0, ()))
        assert lone.node.leading
        return lone, ballot

    def heard(self, ballot, how):
        known = ((B1, NOOP), (B1, NOOP), (B1, NOOP))
        return {
            "a heartbeat": Heartbeat(ballot, "n1", 3, 0, 0, 0),
            "an ack": HeartbeatAck(ballot, 0, 3, 0, False),
            "decisions": Decisions(1, known, 3),
            "one decision": Decisions(3, ((B1, NOOP),), 0),
            "a promise": Promise(ballot, 1, 0, 3, ()),
            "an accept of old": Accept(Ballot(0, "n3"), 1, b"v", 3),
        }[how]

    @pytest.mark.parametrize(
        "how",
        ["a heartbeat", "an ack", "decisions", "one decision", "a promise", "an accept of old"],
    )
    def test_it_leaves(self, how):
        lone, ballot = self.leading()
        lone.hear("n3", self.heard(ballot, how))
        assert not lone.node.leading
        assert not lone.sent(Accept)

    def test_what_is_in_flight_is_its_own(self):
        lone, ballot = self.leading()
        for seq in (1, 2):
            lone.node.submit(seq, put_entry(1, seq, b"v"), b"blob%d" % seq)
            lone.turn()
        lone.hear("n3", HeartbeatAck(ballot, 0, 2, 0, False))
        assert lone.node.leading
        lone.hear("n3", HeartbeatAck(ballot, 0, 3, 0, False))
        assert not lone.node.leading


class TestTakeLead:
    def lead(self, *reports, **known):
        proposer = Proposer(make_options())
        proposer.start(B9, 1, 0.0)
        for sender, accepted in reports:
            proposer.receive_promise(sender, Promise(B9, 1, 0, 0, accepted))
        return proposer, proposer.take_lead(0, 0.0, no_change, **known)

    def test_what_is_known_gets_no_noop_and_the_rest_does(self):
        reports = ("n1", ((2, B1, b"b"),)), ("n2", ())
        proposer, proposals = self.lead(*reports, known=3, chosen={5})
        assert [(p.slot, p.value) for p in proposals] == [(2, b"b"), (4, NOOP)]
        assert (proposer.reported, proposer.next_slot, proposer.reign_start) == (2, 6, 5)

    def test_what_is_known_and_reported_is_finished_as_ever(self):
        proposer, proposals = self.lead(("n1", ((1, B1, b"a"),)), ("n2", ()), known=1, chosen=())
        assert [(p.slot, p.value) for p in proposals] == [(1, b"a")]
        assert (proposer.reported, proposer.next_slot) == (1, 2)
