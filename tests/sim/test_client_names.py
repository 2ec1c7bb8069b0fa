"""Clients' names, and the wall times of batches, in whole clusters: kept where the log needs them,
and nothing that is decided depends on them."""

import random
from dataclasses import replace

import pytest

from paxosd.core.cluster_settings import LEVEL_LATEST
from paxosd.core.state.sessions import Sessions
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.nemesis import shape
from paxosd.sim.world.clock import EPOCH_MS, SimClock
from paxosd.wire.entry import decode_batch
from tests.core.state.parts import fingerprint
from tests.sim.simple import make_client, make_cluster, run_for

RUN = RunOptions(duration_ms=15_000, operations=250, client_names=True)


@pytest.fixture
def opened(monkeypatch):
    """The names of all sessions that were opened."""
    names = []
    monkeypatch.setattr(shape, "FEW", shape.MANY)
    real = Sessions.open

    def open_(self, now_ms, opened_by=0, name="", key=b"", **how):
        names.append(name)
        return real(self, now_ms, opened_by, name, key, **how)

    monkeypatch.setattr(Sessions, "open", open_)
    return names


@pytest.mark.parametrize("members", [False, True])
def test_runs_with_all_faults(opened, members):
    """All nodes have the same state, names included, whatever goes wrong: upgrades from programs
    that know no names, snapshots that are sent, members that come and go."""
    for seed in range(5):
        print(f"seed={seed}")
        report = run_seed(seed, replace(RUN, members=members))
        assert report.ok, report.violation
    assert sum(map(bool, opened)) > 20


def latest_cluster(seed=1, **options):
    cluster = make_cluster(seed, **options)
    for name in cluster.names:
        cluster.run_program(name, LEVEL_LATEST)
    cluster.crash()
    cluster.start()
    cluster.elect()
    assert cluster.run_until(lambda: cluster.invariants.level == LEVEL_LATEST, 10_000)
    return cluster


def sessions_in(process):
    """The sessions to which slots in the log of a node refer."""
    wal = process.replica.wal
    slots = range(wal.first_slot, process.replica.machine.applied + 1)
    found = set()
    for slot in slots:
        _, value = wal.read(slot)
        entries = decode_batch(value).entries if value else []
        found |= {entry.session for entry in entries if entry.session}
    return found


def names_in(process):
    sessions = process.replica.machine.sessions
    former = {each.session: each.name for each in sessions.former.all()}
    return {number: each.name for number, each in sessions.table.items()} | former


def test_a_name_is_there_as_long_as_a_slot_in_the_log_refers_to_its_session():
    """Sessions end, snapshots are taken, the log is given back, nodes start again."""
    cluster = latest_cluster(snapshots=shape.MANY, segment_bytes=4096)
    for number in range(60):
        client, _ = make_client(cluster, f"c{number}", operations=3, duration_ms=100.0,
                                gives_name=True, ends_session=0.5)  # fmt: skip
        client.start()
        run_for(cluster, 300)
        if number % 20 == 10:
            cluster.crash()
            cluster.start()
            cluster.elect()
    run_for(cluster, 1000)
    processes = list(cluster.up())
    assert len(processes) == 3
    for process in processes:
        asked, known = sessions_in(process), names_in(process)
        assert process.replica.wal.first_slot > 1, "the log was never given back"
        assert len(asked) > 5
        assert not [number for number in asked if not known.get(number)]
        former = process.replica.machine.sessions.former.all()
        assert min(each.slot for each in former) >= process.replica.wal.first_slot


def outcome_with(monkeypatch, wall_ms):
    """What a run comes to whose nodes have these wall clocks from feature level 1 on: at level 0
    log time began with one."""
    cluster = latest_cluster(seed=7)
    monkeypatch.setattr(SimClock, "wall_ms", wall_ms)
    client, history = make_client(cluster, operations=150, duration_ms=3000.0, gives_name=True)
    client.start()
    run_for(cluster, 1000)
    leader = next(process for process in cluster.up() if process.node.leading)
    cluster.crash(leader.name)
    run_for(cluster, 1500)
    cluster.start(leader.name)
    run_for(cluster, 4000)
    states = [
        (m.applied, m.revision, m.log_time_ms, dict(m.store.data), fingerprint(m.sessions),
         m.membership, m.settings)
        for m in (process.replica.machine for process in cluster.up())
    ]  # fmt: skip
    assert len(states) == 3
    assert states[0] == states[1] == states[2]
    monkeypatch.undo()
    operations = [(each.invoked, each.returned, each.result) for each in history]
    return states[0], operations


def test_wall_clocks_decide_nothing(monkeypatch):
    """Right, apart and running backward, jumping: the same answers at the same moments, the same
    states. Only the bytes of the values differ, for the wall time stands in them."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    right = outcome_with(monkeypatch, SimClock.wall_ms)
    assert len(right[1]) > 50
    offsets = {}

    def backward_ms(clock):
        return (
            EPOCH_MS + offsets.setdefault(clock, 10**9 * len(offsets)) - int(clock.monotonic_ms())
        )

    apart = outcome_with(monkeypatch, backward_ms)
    jumping = outcome_with(monkeypatch, lambda _: rng.randrange(1 << 33, 1 << 41))
    assert right == apart == jumping
