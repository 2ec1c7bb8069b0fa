"""A member behind a slow link: it catches up steadily, and the cluster does not suffer for it."""

import itertools

import pytest

from paxosd.core import flow
from paxosd.core.commands import OPEN, PUT, Entry
from paxosd.core.requests import WriteAnswer, WriteRequest
from paxosd.wire import encode_entry
from tests.sim.simple import make_cluster, run_for

MB = 1_000_000
VALUE_BYTES = 100_000
BEHIND_BYTES = 20 * MB
WRITE_EVERY_MS = 200.0
WRITE_LIMIT_MS = 1000.0
SEGMENT_BYTES = 64 << 20


class Writer:
    """A client that writes one thing after another to one node, and measures how long it takes."""

    def __init__(self, cluster, node):
        self.cluster, self.node = cluster, node
        self.answers = {}
        self.number = self.seq = self.session = 0
        self.slowest_ms = 0.0
        cluster.network.add_client(b"writer", self)
        cluster.network.connect(b"writer", node)
        run_for(cluster, 500)
        self.session = self.write([OPEN])[0][2]

    def connected(self, node):
        pass

    def disconnected(self, node, reason):
        pass

    def arrive_answer(self, node, message):
        self.answers[message.request_id] = message

    def write(self, *commands):
        self.number += 1
        number = self.number
        if self.session:
            self.seq += len(commands)
        first = max(1, self.seq - len(commands) + 1)
        blob = encode_entry(Entry(self.session, first, first - 1, list(commands)))
        self.cluster.invariants.proposed.add(blob)
        began_ms = self.cluster.world.now_ms
        assert self.cluster.network.request(b"writer", self.node, WriteRequest(number, blob))
        assert self.cluster.run_until(lambda: number in self.answers, 60_000)
        answer = self.answers.pop(number)
        assert type(answer) is WriteAnswer, answer
        self.slowest_ms = max(self.slowest_ms, self.cluster.world.now_ms - began_ms)
        return answer.results

    def submit(self, number, size):
        """One put of the next number, without waiting for its answer."""
        blob = encode_entry(Entry(self.session, self.seq, 0, [[PUT, b"k", b"x" * size]]))
        self.cluster.invariants.proposed.add(blob)
        assert self.cluster.network.request(b"writer", self.node, WriteRequest(self.number, blob))

    @property
    def done(self):
        """The numbers of the puts that were answered."""
        first = self.number - self.seq
        return {number - first for number in self.answers}

    def put(self, key, size):
        self.write([PUT, key, b"x" * size])

    def put_all(self, count, size):
        for number in range(count):
            self.put(b"k%d" % number, size)


def scene(rate, *, value_bytes=VALUE_BYTES, behind_bytes=BEHIND_BYTES, snapshots=None, seed=3):
    """A follower has missed so much, and its link carries so much a second; writes go on. Returns
    the cluster once it has caught up, and what was seen on the way."""
    print(f"seed={seed}")
    cluster = make_cluster(seed, snapshots=snapshots, segment_bytes=SEGMENT_BYTES)
    leader = cluster.elect()
    writer = Writer(cluster, leader)
    away = next(name for name in cluster.names if name != leader)
    cluster.crash(away, power=False)
    for number in range(behind_bytes // value_bytes):
        writer.put(b"k%d" % (number % 50), value_bytes)
    run_for(cluster, 2000)
    reigns = len(cluster.invariants.leaders)
    cluster.network.slow.bytes_per_s[away] = rate
    cluster.start(away)
    laggard = cluster.processes[away]
    missed = cluster.processes[leader].node.applied
    writer.slowest_ms = 0.0
    began_ms = cluster.world.now_ms
    limit_ms = 3000 + 1.6 * 1000 * behind_bytes / rate
    progress = [(began_ms, laggard.node.applied)]
    while laggard.node.applied < missed:
        writer.put(b"live", 1000)
        run_for(cluster, WRITE_EVERY_MS)
        if laggard.node.applied > progress[-1][1]:
            progress.append((cluster.world.now_ms, laggard.node.applied))
        took_ms = cluster.world.now_ms - began_ms
        assert took_ms < limit_ms, f"{laggard.node.applied} of {missed} slots after {took_ms} ms"
    assert cluster.leader() == leader
    assert len(cluster.invariants.leaders) == reigns
    assert writer.slowest_ms < WRITE_LIMIT_MS
    return cluster, away, progress


@pytest.mark.parametrize("rate", [MB, MB // 10])
def test_a_member_20_mb_behind_catches_up_steadily(rate):
    cluster, away, progress = scene(rate)
    slow = cluster.network.slow
    assert slow.carried[away] < 1.3 * BEHIND_BYTES  # next to nothing was sent twice
    # A second's worth waits, or a few values.
    assert slow.waiting_bytes_max < max(4 * VALUE_BYTES, rate)
    steps_ms = [b[0] - a[0] for a, b in itertools.pairwise(progress)]
    assert max(steps_ms) < 1000 + 4 * 1000 * VALUE_BYTES / rate


def test_one_with_values_that_take_seconds_each():
    cluster, away, _ = scene(MB // 10, value_bytes=MB, behind_bytes=5 * MB)
    assert cluster.network.slow.carried[away] < 1.5 * 5 * MB


def test_one_that_needs_a_snapshot():
    few = {"slots_max": 100, "margin_slots": 0}
    cluster, away, _ = scene(MB // 10, behind_bytes=12 * MB, snapshots=few)
    assert cluster.processes[away].replica.exchange.fetch.installed
    assert cluster.network.slow.waiting_bytes_max < 4 * VALUE_BYTES


@pytest.mark.parametrize("rate", [MB, MB // 10])
def test_a_leader_keeps_its_lead_while_it_sends_to_slow_members(rate):
    """Both followers are behind slow links, and what is written is as much as they carry."""
    print("seed=5")
    cluster = make_cluster(5, segment_bytes=SEGMENT_BYTES)
    leader = cluster.elect()
    writer = Writer(cluster, leader)
    reigns = len(cluster.invariants.leaders)
    for name in cluster.names:
        if name != leader:
            cluster.network.slow.bytes_per_s[name] = rate
    writer.put_all(20, 2 * VALUE_BYTES)
    assert cluster.leader() == leader
    assert len(cluster.invariants.leaders) == reigns
    assert cluster.run_until(lambda: len(set(cluster.applied())) == 1, 60_000)


def test_heartbeats_behind_bulk_would_be_noticed():
    cluster = make_cluster(5, segment_bytes=SEGMENT_BYTES)
    cluster.network.slow.one_lane = True
    writer = Writer(cluster, cluster.elect())
    cluster.network.slow.bytes_per_s.update(dict.fromkeys(cluster.names, MB / 10))
    with pytest.raises(AssertionError):
        writer.put_all(20, 2 * VALUE_BYTES)


def test_unpaced_bulk_would_be_noticed(monkeypatch):
    monkeypatch.setattr(flow.Flow, "room", 4 << 20)
    monkeypatch.setattr(flow.Flow, "carries", lambda self, slot: False)
    with pytest.raises(AssertionError):
        scene(MB // 10, behind_bytes=2 * MB)
