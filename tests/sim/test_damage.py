"""Damaged logs and snapshots in a running cluster: found, made good, never handed out."""

import json

import pytest

from paxosd.core.messages import Decisions
from paxosd.snapshot.file import snapshot_name, snapshot_slot
from paxosd.snapshot.repair import LogRepair
from paxosd.storage.wal_format import segment_name, segment_number
from tests.sim.simple import make_client, make_cluster, run_for, write

SNAPSHOTS = {
    "slots_max": 100_000, "margin_slots": 100_000, "chunk_bytes": 2000,
    "scrub_bytes_per_s": 10_000_000, "scrub_interval_ms": 3000,
}  # fmt: skip
"""Nothing is given back but for damage."""


@pytest.fixture
def cluster():
    """Three members with several segments of log each; ``client`` writes."""
    cluster = make_cluster(snapshots=SNAPSHOTS, segment_bytes=4096)
    cluster.elect()
    cluster.client, _ = make_client(cluster, timeout_ms=20_000)
    for _ in range(60):
        write(cluster, cluster.client)
    return cluster


def segments(process):
    return sorted(n for name in process.disks.log.list() if (n := segment_number(name)) is not None)


def flip(process, name, at):
    process.tally.counts["bit-rot"] = process.tally.counts.get("bit-rot", 0) + 1
    file = process.disks.log.open(name)
    for data in (file.data, file.durable):
        data[at] ^= 0x10


def scrub(process):
    return process.replica.snapshot_status(0).scrub


def restart(cluster, name):
    cluster.crash(name, power=True)
    cluster.start(name)


def test_the_scrub_finds_it_and_the_node_goes_on_voting(cluster):
    process = cluster.processes["n2"]
    number = segments(process)[0]
    flip(process, segment_name(number), 900)
    assert cluster.run_until(lambda: scrub(process).found == 1, 10_000)
    for _ in range(5):
        write(cluster, cluster.client)
    assert cluster.run_until(lambda: scrub(process).repaired == 1, 10_000)
    assert number not in segments(process)
    restart(cluster, "n2")
    assert process.node.membership.epoch == 0
    assert not process.node.forgetful
    assert write(cluster, cluster.client).acknowledged


def test_on_all_at_once_the_cluster_lives(cluster):
    """What would be its end if it were found at a start."""
    for process in cluster.up():
        flip(process, segment_name(segments(process)[0]), 900)
    assert cluster.run_until(lambda: all(scrub(p).found for p in cluster.up()), 10_000)
    for _ in range(5):
        write(cluster, cluster.client)
    assert cluster.run_until(lambda: all(scrub(p).repaired for p in cluster.up()), 20_000)
    for name in cluster.names:
        restart(cluster, name)
    assert write(cluster, cluster.client, 20_000).acknowledged
    assert not any(p.node.forgetful for p in cluster.up())


def test_a_bad_snapshot_is_replaced(cluster):
    process = cluster.processes["n2"]
    process.replica.exchange.own.ask()
    newest = process.replica.exchange.own
    assert cluster.run_until(lambda: newest.newest is not None, 10_000)
    slot = newest.newest.slot
    flip(process, snapshot_name(slot), 100)
    assert cluster.run_until(lambda: scrub(process).repaired == 1, 10_000)
    assert f"{snapshot_name(slot)}.bad" in process.disks.log.list()
    restart(cluster, "n2")
    assert cluster.run_until(lambda: process.node.applied >= slot, 10_000)


@pytest.mark.parametrize("slot", [10, 3], ids=["in the middle", "at once"])
def test_a_laggard_gets_no_damaged_value_but_a_snapshot(slot):
    """The scrub is off: the laggard's question meets it first."""
    cluster = make_cluster(snapshots=SNAPSHOTS | {"scrub_bytes_per_s": 0}, segment_bytes=4096)
    cluster.elect()
    client, _ = make_client(cluster, timeout_ms=20_000)
    write(cluster, client)
    cluster.crash("n3")
    lacks = cluster.processes["n3"]
    for _ in range(60):
        write(cluster, client)
    known = max(cluster.applied())
    served = []
    for process in cluster.up():
        wal = process.replica.wal
        location = wal._index.get(slot)
        flip(process, segment_name(location >> 32), (location & 0xFFFF_FFFF) + 50)
        send = process.bus.send
        process.replica._bus.send = lambda to, message, send=send: (
            (served.append(message) if to == "n3" else None) or send(to, message)
        )
    cluster.start("n3")
    for _ in range(10):
        write(cluster, client)
    assert cluster.run_until(lambda: lacks.node.applied > known, 30_000)
    assert lacks.replica.exchange.fetch.installed == 1
    for message in served:
        if isinstance(message, Decisions):
            end = message.first_slot + len(message.values)
            assert not message.first_slot <= slot < end
    two = [p for p in cluster.up() if p is not lacks]
    assert max(scrub(p).found for p in two) == 1
    assert cluster.run_until(lambda: all(scrub(p).repaired == scrub(p).found for p in two), 20_000)


def test_a_laggard_is_helped_before_the_damage_is_made_good(monkeypatch):
    """It may take long: a vote there that is not chosen yet keeps the segment."""
    monkeypatch.setattr(LogRepair, "turn", lambda self, now_ms: None)
    cluster = make_cluster(snapshots=SNAPSHOTS | {"scrub_bytes_per_s": 0}, segment_bytes=4096)
    cluster.elect()
    client, _ = make_client(cluster, timeout_ms=20_000)
    cluster.crash("n3")
    for _ in range(30):
        write(cluster, client)
    known = max(cluster.applied())
    for process in cluster.up():
        process.replica.exchange.own.ask()
        location = process.replica.wal._index.get(10)
        flip(process, segment_name(location >> 32), (location & 0xFFFF_FFFF) + 50)
    run_for(cluster, 1000)
    cluster.start("n3")
    lacks = cluster.processes["n3"]
    assert cluster.run_until(lambda: lacks.node.applied >= known, 20_000)
    assert lacks.replica.exchange.fetch.installed == 1


def test_a_damaged_log_is_set_aside_and_the_snapshot_saves_the_transfer(cluster):
    process = cluster.processes["n2"]
    own = process.replica.exchange.own
    own.ask()
    assert cluster.run_until(lambda: own.newest is not None, 10_000)
    slot = own.newest.slot
    old = process.node.membership
    cluster.crash("n2", power=True)
    flip(process, segment_name(segments(process)[0]), 900)
    cluster.start("n2")
    assert process.node.applied == slot
    assert process.node.forgetful
    assert cluster.run_until(lambda: not process.node.forgetful, 20_000)
    assert process.replica.exchange.fetch.installed == 0
    assert process.node.membership.epoch == old.epoch + 1
    assert [n for n in process.disks.log.list() if snapshot_slot(n) is not None]
    assert json.loads(process.disks.home.copy()["identity"])["lost"] is False
    # It votes: with another one down, writes go on.
    cluster.crash("n3")
    assert write(cluster, cluster.client, 20_000).acknowledged
    run_for(cluster, 1000)
