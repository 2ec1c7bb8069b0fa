"""A round of reads asks the quickest voters first, and the others when those are late."""

from paxosd.core.effects import ReadReady
from paxosd.core.messages import Heartbeat
from paxosd.core.reads import Asked
from paxosd.core.round_audience import NEVER_MS, PATIENCE_MIN_MS, RoundAudience
from tests.core.cluster import Cluster
from tests.core.election_bench import make_context

HEARTBEAT_MS = 100


class Bench:
    """A leader's choice, with voters that answer after so many ms."""

    def __init__(self, size=3):
        self.context = make_context("n1", size)
        self.audience = RoundAudience(self.context)
        self.hear(*self.context.peers)

    def hear(self, *names):
        for name in names:
            self.context.peers[name].heard_ms = self.context.now_ms

    def begin(self):
        """A round begins; whom it asks."""
        rounds = self.context.leader_reads
        rounds.stop()
        rounds.ask(Asked("", 1, 1))
        assert rounds.start_round(self.context.own_bit)
        return self.audience.begin()

    def round(self, **took_ms):
        """A round of which each of these acknowledges after its time; whom it asked."""
        asked = self.begin()
        began_ms, round_ = self.context.now_ms, self.context.leader_reads.round
        for name, ms in sorted(took_ms.items(), key=lambda item: item[1]):
            self.context.now_ms = began_ms + ms
            self.audience.acknowledged(name, round_)
        self.hear(*took_ms)
        return asked


def test_the_first_round_asks_all_and_the_next_the_quickest():
    bench = Bench()
    assert bench.round(n2=3, n3=1) is None
    assert bench.round(n3=1) == ["n3"]
    five = Bench(5)
    assert five.round(n2=3, n3=1, n4=2, n5=4) is None
    assert five.round(n3=1, n4=2) == ["n3", "n4"], "with its own it is three of five"


def test_what_is_not_known_is_asked():
    bench = Bench(5)
    bench.round(n2=1)
    assert bench.begin() is None, "one of the two that it needs is not known"


def test_once_in_a_heartbeat_it_asks_all():
    bench = Bench()
    bench.round(n2=3, n3=1)
    bench.context.now_ms += HEARTBEAT_MS
    bench.hear("n2", "n3")
    assert bench.round(n2=1, n3=1) is None
    assert bench.begin() is not None


def test_a_voter_that_is_not_heard_is_not_relied_on():
    bench = Bench()
    bench.round(n2=3, n3=1)
    bench.context.peers["n3"].heard_ms = float("-inf")  # its connection broke
    assert bench.begin() == ["n2"]
    bench.context.peers["n2"].heard_ms = float("-inf")
    assert bench.begin() is None


def test_the_others_are_asked_when_the_quickest_is_late_and_it_is_slow_from_then_on():
    bench = Bench()
    bench.round(n2=3, n3=1)
    assert bench.begin() == ["n3"]
    waits_ms = bench.audience.due_ms - bench.context.now_ms
    assert waits_ms == PATIENCE_MIN_MS
    bench.context.now_ms = bench.audience.due_ms
    assert bench.audience.others() == ["n2"]
    assert bench.audience.due_ms == NEVER_MS
    assert bench.begin() == ["n2"]


def test_a_slow_network_has_more_patience():
    bench = Bench()
    bench.round(n2=30, n3=20)
    bench.begin()
    assert bench.audience.due_ms - bench.context.now_ms == 80


def test_nobody_is_asked_when_the_round_is_over():
    bench = Bench()
    bench.round(n2=3, n3=1)
    bench.begin()
    bench.context.leader_reads.receive_ack("n3", bench.context.leader_reads.round)
    assert bench.context.leader_reads.confirmed()
    bench.context.now_ms = bench.audience.due_ms
    assert bench.audience.others() == []


def test_a_round_that_a_heartbeat_began_is_not_measured():
    bench = Bench()
    bench.round(n2=3, n3=1)
    bench.context.now_ms += 50
    bench.audience.acknowledged("n3", bench.context.leader_reads.round + 1)
    assert bench.begin() == ["n3"]


def test_acknowledgements_of_ordinary_heartbeats_are_not_measured():
    bench = Bench()
    bench.audience.acknowledged("n3", 0)  # before the first round
    assert bench.round(n2=3, n3=1) is None
    bench.context.now_ms += 50
    bench.audience.acknowledged("n3", bench.context.leader_reads.round)  # the number is repeated
    assert bench.begin() == ["n3"]


def test_a_leader_alone_asks_nobody():
    context = make_context("n1", 1)
    audience = RoundAudience(context)
    assert audience.begin() is None
    assert audience.begin() == []


class TestInACluster:
    def lead(self):
        cluster = Cluster(seed=7)
        leader = cluster.elect()
        cluster.run(500)
        return cluster, leader

    def read(self, cluster, name):
        """A read at this node; what was sent until it had its answer."""
        sent = len(cluster.sent)
        token = cluster.read(name)
        cluster.run_until(lambda: token in cluster.replies, limit_ms=2000)
        assert isinstance(cluster.replies[token][0], ReadReady)
        return cluster.sent[sent:]

    def asked(self, sent, leader):
        return {to for source, _, to, message in sent
                if source == leader and isinstance(message, Heartbeat)}  # fmt: skip

    def test_most_reads_of_a_quiet_leader_ask_one_voter(self):
        cluster, leader = self.lead()
        self.read(cluster, leader)
        counts = [len(self.asked(self.read(cluster, leader), leader)) for _ in range(20)]
        assert sorted(counts)[10] == 1

    def test_a_voter_that_hangs_delays_one_read_by_its_patience(self):
        cluster, leader = self.lead()
        while True:
            asked = self.asked(self.read(cluster, leader), leader)
            if len(asked) == 1:
                break
        cluster.pause(asked.pop())
        times = []
        for _ in range(10):
            began = cluster.now
            self.read(cluster, leader)
            times.append(cluster.now - began)
        assert max(times) < 50, "the other voter is asked after the patience"
        assert sorted(times)[5] < 10, "and first from then on"
