"""Divergence planted in a member's memory, log and snapshot: noticed, told, rebuilt."""

from dataclasses import replace

import pytest

from paxosd.core.agreement import STATE
from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.core.commands import OPEN, Entry
from paxosd.core.effects import CommitRecord, DecisionRecord
from paxosd.core.requests import GET, LINEARIZABLE, STALE, HistoryRequest, ReadRequest
from paxosd.core.state.chain import MARK_SLOTS
from paxosd.core.state.snapshot import SnapshotWalk
from paxosd.sim.cluster.life import CLUSTER
from paxosd.sim.nemesis import shape
from paxosd.sim.nemesis.changes import Operator
from paxosd.snapshot.file import (
    HEAD,
    HISTORY,
    ROWS,
    SESSIONS,
    SnapshotWriter,
    encode_head,
    encode_history,
    encode_rows,
    encode_sessions,
    load,
    snapshot_name,
    snapshot_slot,
)
from paxosd.storage.wal_open import open_wal
from paxosd.wire import encode_batch, encode_entry
from tests.sim.simple import make_client, make_cluster, run_for, write

STILL = b"still"
"""A key that nobody writes again."""


@pytest.fixture
def cluster():
    """Three at the latest feature level that have written something; unequal states end no run."""
    cluster = make_cluster(segment_bytes=4096, snapshots=shape.MANY)
    for name in cluster.names:
        cluster.run_program(name, LEVEL_LATEST)
    cluster.crash()
    cluster.start()
    cluster.elect()
    assert cluster.run_until(lambda: cluster.invariants.level == LEVEL_LATEST, 10_000)
    cluster.invariants._states = _Anything()
    cluster.client, _ = make_client(cluster, timeout_ms=20_000, keys=(STILL,))
    assert write(cluster, cluster.client).acknowledged
    cluster.client, _ = make_client(cluster, "c2", timeout_ms=20_000)
    for _ in range(10):
        assert write(cluster, cluster.client).acknowledged
    return cluster


class _Anything(dict):
    """The simulator's own comparison of states would end the run: here the nodes have to see."""

    def setdefault(self, slot, state):
        return state


def role(cluster, name):
    return cluster.processes[name].node.role


def rebuild(cluster, name):
    """As the advice says: a restart, then ``member rejoin``."""
    cluster.crash(name)
    cluster.processes[name].tally.counts["bit-rot"] = 1  # else its log counts as sound
    cluster.start(name)
    assert role(cluster, name) == "memory-lost"
    assert cluster.processes[name].machine.applied == 0
    assert cluster.run_until(
        lambda: len(set(cluster.applied())) == 1 and cluster.agreed_leader(), 20_000
    )
    assert role(cluster, name) == "memory-lost", "it does not ask by itself"
    Operator(cluster).rejoin(name)
    assert cluster.run_until(lambda: role(cluster, name) == "follower", 20_000)
    for _ in range(3):
        assert write(cluster, cluster.client).acknowledged
    run_for(cluster, 2000)
    states = {p.node.status().state for p in cluster.up()}
    assert states == {"agreed"}
    assert not any(p.node.status().state_odd for p in cluster.up())
    assert len({bytes(p.machine.chain.to_bytes(4, "big")) for p in cluster.up()}) == 1


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_in_memory(cluster, who):
    leader = cluster.leader()
    name = leader if who == "leader" else next(n for n in cluster.names if n != leader)
    process = cluster.processes[name]
    process.machine.chain ^= 1
    assert write(cluster, cluster.client).acknowledged
    assert cluster.run_until(lambda: role(cluster, name) == "diverged", 20_000)
    run_for(cluster, 3000)
    assert cluster.leader() not in ("", name)
    rebuild(cluster, name)


def write_until(cluster, condition, limit=200):
    for _ in range(limit):
        if condition():
            return True
        write(cluster, cluster.client)
    return False


@pytest.fixture
def often(cluster):
    """States are summed up more often than a test could wait for."""
    for process in cluster.processes.values():
        process._around = replace(
            process._around, options=replace(process.options, checksum_slots=MARK_SLOTS)
        )
        process.machine.checksum_slots = MARK_SLOTS


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_a_value_in_memory(cluster, often, who):
    """The log is the same, so is the chain: the checksum of the whole state shows it."""
    leader = cluster.leader()
    name = leader if who == "leader" else next(n for n in cluster.names if n != leader)
    store = cluster.processes[name].machine.store
    spoil(store)
    assert write_until(cluster, lambda: role(cluster, name) == "diverged")
    difference = cluster.processes[name].node.difference
    assert difference.kind == STATE
    rebuild(cluster, name)


def test_it_answers_nothing_and_feeds_no_watch(cluster, monkeypatch):
    name = next(n for n in cluster.names if n != cluster.leader())
    process = cluster.processes[name]
    replica = process.replica
    answers, published = [], []
    monkeypatch.setattr(replica.service._bus, "answer", lambda _, message: answers.append(message))
    monkeypatch.setattr(replica.events, "_publish", lambda topic, _: published.append(topic))

    def ask():
        answers.clear()
        replica.service.receive(b"c", ReadRequest(1, STALE, [[GET, STILL]]))
        replica.service.receive(b"c", ReadRequest(2, LINEARIZABLE, [[GET, STILL]]))
        replica.service.receive(b"c", HistoryRequest(3, b"", b"", 1, 0))
        run_for(cluster, 3000)
        return {each.request_id: getattr(each, "code", "answered") for each in answers}

    replica.events.on_subscription(True, b"kv/", int(cluster.world.now_ms))
    write(cluster, cluster.client)
    run_for(cluster, 1000)
    assert published
    assert set(ask().values()) == {"answered"}
    process.machine.chain ^= 1
    write(cluster, cluster.client)
    assert cluster.run_until(lambda: role(cluster, name) == "diverged", 20_000)
    run_for(cluster, 100)
    published.clear()
    assert ask() == dict.fromkeys((1, 2, 3), "diverged")
    write(cluster, cluster.client)
    replica.events.on_subscription(True, b"kv/x", int(cluster.world.now_ms))
    published.clear()
    run_for(cluster, 3000)
    assert not published


def spoil_log(process, *slots):
    """The records of these slots hold another value, with sums that are right: a replay of the
    log applies it. Only while the process is down."""
    spoiled = encode_batch(1, [encode_entry(Entry(0, 1, 0, [[OPEN]]))])
    wal, recovered = open_wal(process.disks.log, cluster_id=CLUSTER, node_id=process.name)
    records = [DecisionRecord(slot, wal.read(slot)[0], spoiled) for slot in slots]
    wal.append([*records, CommitRecord(recovered.commit)])
    wal.sync()
    wal.close()


def test_in_the_log(cluster):
    name = next(n for n in cluster.names if n != cluster.leader())
    process = cluster.processes[name]
    slot = process.node.applied - 3
    cluster.crash(name)
    spoil_log(process, slot)
    cluster.start(name)
    assert cluster.run_until(lambda: role(cluster, name) == "diverged", 20_000)
    rebuild(cluster, name)


@pytest.mark.parametrize("back", [9, 3])
def test_nothing_is_taken_over_from_one_that_has_diverged_before_it_is_found_out(cluster, back):
    """A member that was away learns from the only one that is up, whose history is another, and
    would have a third one by that: then no two agree when the last one is back. Their chains show
    it, or, where its own is not that far again since its start, what it has accepted itself."""
    name, late = [n for n in cluster.names if n != cluster.leader()]
    process, away = cluster.processes[name], cluster.processes[late]
    assert cluster.run_until(lambda: len(set(cluster.applied())) == 1, 5000)
    common = away.node.applied
    # What it voted for is on its disk, and perhaps not yet that it was chosen.
    assert cluster.run_until(lambda: not away.replica.commits.is_running, 5000)
    cluster.crash(late)
    for _ in range(8):
        assert write(cluster, cluster.client).acknowledged
    assert cluster.run_until(lambda: len(set(cluster.applied())) == 1, 5000)
    cluster.crash()
    spoil_log(process, common - back, common + 4)
    cluster.start(name)
    cluster.start(late)
    run_for(cluster, 5000)
    assert away.node.applied <= common
    assert role(cluster, late) == "disputed"
    assert not cluster.agreed_leader()
    (last,) = set(cluster.names) - {name, late}
    cluster.start(last)
    assert cluster.run_until(lambda: role(cluster, name) == "diverged", 20_000)
    assert cluster.run_until(lambda: away.node.applied >= common + 8, 20_000)
    acting = {"leader", "follower"}
    assert cluster.run_until(lambda: {role(cluster, n) for n in (late, last)} == acting, 20_000)
    rebuild(cluster, name)


def test_in_a_snapshot(cluster, often):
    """A row of it holds another value, with sums that are right: it passes for whole."""
    name = next(n for n in cluster.names if n != cluster.leader())
    process = cluster.processes[name]
    write_until(cluster, lambda: process.replica.exchange.own.newest is not None)
    cluster.crash(name)
    slot = max(s for n in process.disks.log.list() if (s := snapshot_slot(n)) is not None)
    machine, reader = load(process.disks.log.open(snapshot_name(slot)))
    spoil(machine.store)
    process.disks.log.unlink(snapshot_name(slot))
    save(process.disks.log, reader, machine)
    cluster.start(name)
    assert process.machine.store.data[STILL][0].endswith(b"!"), "it goes on from that snapshot"
    assert write_until(cluster, lambda: role(cluster, name) == "diverged")
    assert process.node.difference.kind == STATE
    rebuild(cluster, name)


def test_a_snapshot_is_of_a_slot_at_which_states_are_compared(cluster, often):
    """So that a state in it is what the others had: each knows the checksum of that very slot."""
    for process in cluster.processes.values():
        own = process.replica.exchange.own
        own.options = replace(own.options, slots_max=70, log_bytes_max=1 << 20)
    newest = [p.replica.exchange.own.newest for p in cluster.processes.values()]
    before = max((info.slot for info in newest if info is not None), default=0)

    def taken():
        infos = [p.replica.exchange.own.newest for p in cluster.processes.values()]
        return all(info is not None and info.slot > before + 70 for info in infos)

    assert write_until(cluster, taken)
    totals = {}
    for process in cluster.processes.values():
        info = process.replica.exchange.own.newest
        assert info.slot % MARK_SLOTS == 0
        assert info.total == process.machine.checksums[info.slot]
        assert totals.setdefault(info.slot, info.total) == info.total


def save(disk, reader, machine):
    walk = SnapshotWalk(machine, reader.head.members)
    writer = SnapshotWriter(disk, walk.head.slot, 1234)
    writer.write([(HEAD, encode_head(reader.cluster, 1234, walk.head))])
    while sessions := walk.sessions():
        writer.write([(SESSIONS, encode_sessions(sessions))])
    while history := walk.history():
        writer.write([(HISTORY, encode_history(history))])
    while not walk.done:
        writer.write([(ROWS, encode_rows(walk.rows(100, 1 << 20)))])
    walk.close()
    machine.sum_up()
    while not machine.advance_checksum(1 << 20):
        pass
    writer.finish(machine.checksums[walk.head.slot])


def test_who_is_in_doubt_gives_its_snapshot_to_nobody(cluster):
    """Else whoever takes it over agrees with it from then on, and outvotes who is right."""
    first, second, third = cluster.names
    cluster.crash(third)
    at = cluster.processes[first].node.applied
    assert write_until(
        cluster, lambda: min(p.replica.wal.first_slot for p in cluster.up()) > at + 1
    )
    cluster.processes[second].machine.chain ^= 1
    write(cluster, cluster.client)
    assert cluster.run_until(
        lambda: {role(cluster, first), role(cluster, second)} == {"disputed"}, 20_000
    )
    cluster.start(third)
    run_for(cluster, 10_000)
    assert cluster.processes[third].node.applied <= at
    assert {role(cluster, first), role(cluster, second)} == {"disputed"}


def spoil(store):
    value, *rest = store.data[STILL]
    store.data[STILL] = (value + b"!", *rest)
