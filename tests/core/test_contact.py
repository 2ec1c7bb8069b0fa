"""A voter that does not acknowledge hears heartbeats more often, until it is away."""

from paxosd.core.context import Peer
from paxosd.core.messages import Heartbeat, HeartbeatAck
from tests.core.election_bench import TIMEOUT_MS, Bench

HEARTBEAT_MS = 100


def hearers(bench, duration_ms, *, acks=()):
    """How many heartbeats each peer gets in that time; those of ``acks`` acknowledge each."""
    counts = {"n2": 0, "n3": 0}
    election, context = bench.election, bench.context
    until_ms = context.now_ms + duration_ms
    while context.now_ms < until_ms and context.proposer.leading:
        context.now_ms = min(until_ms, election.next_due_ms())
        election.tick()
        for to, message in bench.take():
            if isinstance(message, Heartbeat):
                counts[to] += 1
                if to in acks:
                    ack = HeartbeatAck(context.proposer.ballot, message.round, 0, 0, False)
                    election.receive_heartbeat_ack(to, ack)
    return counts


def test_who_acknowledges_hears_one_for_each_beat():
    bench = Bench()
    bench.lead()
    assert hearers(bench, 1000, acks=("n2", "n3")) == {"n2": 10, "n3": 10}


def test_who_does_not_hears_more_until_it_is_away():
    bench = Bench()
    bench.lead()
    counts = hearers(bench, 2 * TIMEOUT_MS, acks=("n2",))
    assert counts["n2"] == 12
    assert counts["n3"] >= 36
    later = hearers(bench, 1000, acks=("n2",))
    assert later == {"n2": 10, "n3": 10}


def test_a_leader_that_nobody_acknowledges_has_tried_often_before_it_steps_down():
    bench = Bench()
    bench.lead()
    counts = hearers(bench, 2 * TIMEOUT_MS)
    assert bench.stopped
    assert min(counts.values()) >= 15, "6 by the heartbeat alone"


def test_a_learner_is_no_voter_in_doubt():
    bench = Bench()
    bench.lead()
    for late_ms in (0, 200):
        bench.context.peers["n9"] = Peer()
        bench.context.peers["n9"].acked_ms = bench.context.now_ms - late_ms
        assert "n9" not in bench.election._contact.doubtful()
        assert "n9" not in bench.election._contact.live_voters()


def test_a_heartbeat_to_some_leaves_the_sums_for_all():
    """Who hears it often would be the only one that can compare its state."""
    bench = Bench()
    bench.lead()
    hearers(bench, 200, acks=("n2",))
    bench.context.sums = sums = ((1, 2, 3),)
    bench.context.now_ms = bench.election._again_due_ms
    assert bench.context.now_ms < bench.election._heartbeat_due_ms
    bench.election.tick()
    assert [to for to, m in bench.take() if isinstance(m, Heartbeat)] == ["n3"]
    bench.context.now_ms = bench.election._heartbeat_due_ms
    bench.election.tick()
    beats = [m for to, m in bench.take() if isinstance(m, Heartbeat) and to == "n2"]
    assert [each.sums for each in beats] == [sums]
