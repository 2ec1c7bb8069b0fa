"""Divergence is noticed, in a cluster of whole nodes: whose state is another stops to act."""

import pytest

from paxosd.core.agreement import CHAIN
from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.commands import OPEN, PUT, Entry
from paxosd.core.effects import ReadReady, Refusal
from paxosd.core.messages import CatchUp, Hello
from paxosd.core.state.chain import MARK_SLOTS
from paxosd.core.types import NULL_BALLOT
from tests.core.changes import caught_up, change, settled
from tests.core.cluster import Cluster

RAISING = {"level_target": 1, "founding_settings": ClusterSettings(value_bytes_max=999)}


def make_cluster(size=3, seed=1, **named):
    """All have raised the feature level."""
    cluster = Cluster(size, seed, options=RAISING, **named)
    cluster.elect()
    for member in cluster.up():
        for name in cluster.members:
            member.node.peer_level(name, 1)
    cluster.run_until(lambda: all(m.machine.settings.level == 1 for m in cluster.up()))
    return cluster


def others(cluster, *names):
    return [m for m in cluster.up() if m.name not in names]


def logged(cluster, name, event):
    return [n.fields for _, who, n in cluster.notices if who == name and n.event == event]


class Writer:
    """One session that writes."""

    def __init__(self, cluster):
        self.cluster, self.seq = cluster, 0
        self.session = cluster.open_session()

    def write(self, count=1):
        for _ in range(count):
            self.seq += 1
            reply = self.cluster.put(self.session, self.seq, b"k%d" % (self.seq % 7), b"v")
        return reply.slot

    def attempt(self):
        """Ask each node that is up, once; the answers after a while."""
        tokens = [
            self.cluster.submit(
                m.name, Entry(self.session, self.seq + 1, self.seq, [[PUT, b"k", b"v"]])
            )
            for m in self.cluster.up()
        ]
        self.cluster.run(3000)
        return [self.cluster.replies.get(token) for token in tokens]


def change_log(member):
    """Another value was applied: as if the log had held it."""
    member.machine.chain ^= 1


@pytest.mark.parametrize("role", ["leader", "follower"])
@pytest.mark.parametrize("busy", [True, False])
def test_one_of_three_stops_and_the_others_go_on(role, busy):
    cluster = make_cluster()
    writer = Writer(cluster)
    writer.write(10)
    leader = cluster.leader()
    name = leader if role == "leader" else others(cluster, leader)[0].name
    odd = cluster.members[name]
    cluster.run(1000)
    agreed = odd.node.status().state_agreed_slot
    assert agreed == odd.machine.applied
    change_log(odd)
    if busy:
        writer.write(MARK_SLOTS + 1)
    else:
        writer.write(1)
    cluster.run_until(lambda: odd.node.role == "diverged")
    (fields,) = logged(cluster, name, "state.diverged")
    assert agreed < fields["slot"] <= odd.machine.applied
    assert fields["members"] == [m.name for m in others(cluster, name)]
    assert f"member rejoin {name}" in fields["advice"]
    stood = odd.machine.applied
    writer.write(3)
    assert odd.machine.applied == stood, "it stands still"
    assert not odd.node.status().votes
    assert odd.node.status().state == "diverged"
    assert odd.node.difference.kind == CHAIN
    for member in others(cluster, name):
        assert member.node.role in ("leader", "follower")
        cluster.run_until(lambda m=member: logged(cluster, m.name, "state.differs"))
        assert member.node.status().state_odd[name].slot == fields["slot"]
        assert not logged(cluster, member.name, "state.disputed"), "a majority was known in time"


def test_a_diverged_node_answers_no_read_and_serves_no_log():
    cluster = make_cluster()
    writer = Writer(cluster)
    odd = others(cluster, cluster.leader())[0]
    waiting = cluster.read(odd.name)
    cluster.run_until(lambda: waiting in cluster.replies)
    assert isinstance(cluster.replies[waiting], tuple)
    change_log(odd)
    writer.write(MARK_SLOTS)
    cluster.run_until(lambda: odd.node.role == "diverged")
    token = cluster.read(odd.name)
    assert cluster.replies[token] == Refusal(
        "diverged", cluster.replies[token].message, odd.node.leader
    )
    third = others(cluster, odd.name, cluster.leader())[0]
    for member in (odd, third):
        member.node.step(cluster.leader(), 1 << 20, CatchUp(1, 5))
        assert [serve.first for serve in member.node.ready().serves] == [1] * (member is third)


def test_reads_that_waited_when_it_was_found_are_refused():
    cluster = make_cluster()
    odd = others(cluster, cluster.leader())[0]
    token = cluster.read(odd.name)
    odd.node._context.diverged = True
    cluster.run_until(lambda: token in cluster.replies)
    assert not isinstance(cluster.replies[token], ReadReady | tuple) or isinstance(
        cluster.replies[token], Refusal
    )


def test_one_against_one_nobody_acknowledges_until_the_third_is_back():
    cluster = make_cluster()
    writer = Writer(cluster)
    writer.write(5)
    cluster.run(1000)
    first, second, third = sorted(cluster.members)
    cluster.crash(third)
    cluster.elect()
    change_log(cluster.members[second])
    writer.write(1)
    cluster.run_until(lambda: all(m.node.role == "disputed" for m in cluster.up()))
    for member in cluster.up():
        (fields,) = logged(cluster, member.name, "state.disputed")
        assert "Start the voters that are down" in fields["advice"]
        assert not member.node.status().votes
        assert member.node.in_doubt
    assert all(isinstance(reply, Refusal) for reply in writer.attempt())
    cluster.start(third)
    cluster.run_until(lambda: cluster.members[second].node.role == "diverged")
    assert logged(cluster, second, "state.diverged")
    cluster.run_until(lambda: logged(cluster, first, "state.agreed"))
    writer.write(3)
    assert cluster.members[first].node.role in ("leader", "follower")


def test_what_was_disputed_is_disputed_still_after_a_restart():
    """Nobody is to acknowledge because a process has forgotten: it says at once what it has."""
    cluster = make_cluster()
    writer = Writer(cluster)
    writer.write(5)
    first, second, third = sorted(cluster.members)
    cluster.crash(third)
    cluster.elect()
    change_log(cluster.members[second])
    writer.write(1)
    cluster.run_until(lambda: all(m.node.role == "disputed" for m in cluster.up()))
    cluster.crash(first)
    cluster.start(first)
    writer.attempt()
    assert cluster.members[second].node.role == "disputed"
    cluster.run_until(lambda: cluster.members[first].node.role == "disputed")


def test_a_node_whose_memory_was_wrong_and_whose_log_is_right_ends_the_dispute_by_a_restart():
    cluster = make_cluster()
    writer = Writer(cluster)
    writer.write(5)
    first, second, third = sorted(cluster.members)
    cluster.crash(third)
    cluster.elect()
    change_log(cluster.members[second])
    writer.write(1)
    cluster.run_until(lambda: all(m.node.role == "disputed" for m in cluster.up()))
    cluster.crash(second)
    cluster.start(second)
    cluster.run_until(lambda: cluster.members[first].node.role != "disputed")
    assert writer.write(1)


def test_equal_nodes_agree_through_crashes_losses_and_snapshots():
    cluster = make_cluster(3, 7, loss=0.05, duplicate=0.05)
    writer = Writer(cluster)
    for round_ in range(6):
        writer.write(MARK_SLOTS // 2)
        name = cluster.rng.choice(sorted(cluster.members))
        cluster.compact(name)
        cluster.crash(name)
        writer.write(3 if round_ % 2 else MARK_SLOTS)
        for other in others(cluster):
            cluster.compact(other.name)
        cluster.start(name)
    cluster.loss = 0.0
    cluster.run(5000)
    assert {m.node.status().state for m in cluster.up()} == {"agreed"}
    assert len({m.node.status().state_agreed_slot for m in cluster.up()}) == 1
    assert cluster.up()[0].node.status().state_agreed_slot == cluster.up()[0].machine.applied
    assert not [n for _, _, n in cluster.notices if n.event.startswith("state.")]


class TestAloneInThePast:
    """An only voter was put back to when it was alone, and acted before it heard the others."""

    def forked(self, more=0):
        """n1 has a branch of its own, ``more`` slots longer than what it shares; n8 and n9, which
        had made up the cluster with it, are back."""
        cluster = Cluster(1, 1, options=RAISING)
        cluster.elect()
        cluster.run_until(lambda: cluster.members["n1"].machine.settings.level == 1)
        writer = Writer(cluster)
        writer.write(3)
        cluster.run(500)
        one = cluster.members["n1"]
        image = list(one.durable)
        for name, directory in (("n8", 8), ("n9", 9)):
            cluster.join(name, directory_id=directory)
            for member in cluster.up():
                member.node.peer_level(name, 1)
            assert change(cluster, learners=[name])[0] == 0
            settled(cluster)
            caught_up(cluster, name)
            assert change(cluster, voters=[name])[0] == 0
            settled(cluster)
        writer.write(5)
        cluster.run(500)
        for name in cluster.members:
            cluster.crash(name)
        one.durable = image
        cluster.promised["n1"] = NULL_BALLOT
        cluster.check_chosen = lambda slot, value: None  # there are two histories now
        cluster.start("n1")
        cluster.elect()
        for seq in range(more + 1):
            cluster.put(writer.session, writer.seq + 100 + seq, b"lost", b"v")
        one.node.age_ms()  # somebody asks, so that it is known
        cluster.run(1000)
        assert one.node.age_ms() >= 0
        for name in ("n8", "n9"):
            cluster.start(name)
            hello = Hello(peer=f"tcp://{name}:1")  # what the inbox of strangers hands on
            one.node.hear_stranger(name, 0, cluster.members[name].node.membership.epoch, hello)
        return cluster

    @pytest.mark.parametrize("more", [0, 40])
    def test_it_finds_out_that_it_went_another_way(self, more):
        cluster = self.forked(more)
        one = cluster.members["n1"]
        for _ in range(3 * MARK_SLOTS if more else 1):
            for name in ("n8", "n9"):
                cluster.submit(name, Entry(0, 1, 0, [[OPEN]]))  # refused unless it leads
            cluster.run(100)
        cluster.run_until(lambda: one.node.role == "diverged")
        (fields,) = logged(cluster, "n1", "state.diverged")
        assert fields["members"] in (["n8"], ["n9"])
        assert "member rejoin n1" in fields["advice"]
        assert one.node.status().state == "diverged"

    def test_what_it_confirmed_to_itself_says_nothing_of_its_age(self):
        cluster = self.forked()
        one = cluster.members["n1"]
        cluster.run_until(lambda: one.node._context.is_alone_in_the_past)
        assert one.node.age_ms() == -1
