"""Divergence planted in a member's memory, log and snapshot: noticed, told, rebuilt."""

import pytest

from paxosd.core.agreement import STATE
from paxosd.core.machine import MARK_SLOTS
from paxosd.sim.changes import Operator
from tests.sim.simple import make_client, make_cluster, run_for, write

STILL = b"still"
"""A key that nobody writes again."""


@pytest.fixture
def cluster():
    """Three at feature level 1 that have written something; unequal states end no run."""
    cluster = make_cluster(segment_bytes=4096)
    for name in cluster.names:
        cluster.run_program(name, 1)
    cluster.crash()
    cluster.start()
    cluster.elect()
    assert cluster.run_until(lambda: cluster.invariants.level == 1, 10_000)
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
    cluster.processes[name].faults["bit-rot"] = 1  # else its log counts as sound
    cluster.start(name)
    assert role(cluster, name) == "forgetful"
    assert cluster.processes[name].machine.applied == 0
    assert cluster.run_until(
        lambda: len(set(cluster.applied())) == 1 and cluster.agreed_leader(), 20_000
    )
    assert role(cluster, name) == "forgetful", "it does not ask by itself"
    Operator(cluster).rejoin(name)
    assert cluster.run_until(lambda: role(cluster, name) == "follower", 20_000)
    for _ in range(3):
        assert write(cluster, cluster.client).acknowledged
    run_for(cluster, 2000)
    states = {p.node.status()["state"] for p in cluster.up()}
    assert states == {"agreed"}
    assert not any(p.node.status()["state_odd"] for p in cluster.up())
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
def often(monkeypatch):
    """States are summed up more often than a test could wait for."""
    monkeypatch.setattr("paxosd.core.machine.CHECKSUM_SLOTS", MARK_SLOTS)


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
    assert difference.slot % MARK_SLOTS == 0
    rebuild(cluster, name)


def spoil(store):
    value, *rest = store.data[STILL]
    store.data[STILL] = (value + b"!", *rest)
