"""Snapshots in whole simulated runs, with every fault and no log to spare."""

import pytest

from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.nemesis import shape
from paxosd.sim.nemesis.director import Director
from paxosd.sim.nemesis.schedule import Directive
from paxosd.snapshot.fetch import Fetch
from paxosd.snapshot.file import snapshot_slot
from paxosd.snapshot.keeper import Snapshots
from tests.sim.simple import make_client, make_cluster, write

SEEDS = range(6)


@pytest.fixture
def counts(monkeypatch):
    """How many snapshots were taken and installed in all runs of a test."""
    found = {"taken": 0, "installed": 0}
    monkeypatch.setattr(shape, "FEW", shape.MANY)
    finished, installed = Snapshots._finished, Fetch._on_installed

    def on_finished(self, taking, surplus, job):
        found["taken"] += job.error is None
        finished(self, taking, surplus, job)

    def on_installed(self, coming, info, behind):
        found["installed"] += behind
        installed(self, coming, info, behind)

    monkeypatch.setattr(Snapshots, "_finished", on_finished)
    monkeypatch.setattr(Fetch, "_on_installed", on_installed)
    return found


def test_runs_with_all_faults_take_and_install_them(counts):
    for seed in SEEDS:
        print(f"seed={seed}")
        report = run_seed(seed, RunOptions(duration_ms=20_000, operations=400))
        assert report.ok, report.violation
    assert counts["taken"] > 25
    assert counts["installed"] > 0


@pytest.fixture
def cluster():
    """Three members that hold snapshots and have given their first log back."""
    cluster = make_cluster(snapshots=shape.MANY)
    cluster.elect()
    client, _ = make_client(cluster)
    for _ in range(80):
        write(cluster, client)
    assert cluster.run_until(lambda: min(p.replica.wal.first_slot for p in cluster.up()) > 1, 5000)
    return cluster


def snapshots_of(process):
    return [name for name in process.disks.log.list() if snapshot_slot(name) is not None]


def test_a_wiped_member_has_no_snapshot_either_and_is_found_out(cluster):
    process = cluster.processes["n1"]
    assert snapshots_of(process)
    Director(cluster).carry_out(Directive(0, "wipe", "n1", {}))
    assert not snapshots_of(process)
    process.start()
    assert cluster.run_until(lambda: process.node.role == "memory-lost", 10_000)
    assert cluster.run_until(lambda: process.node.applied > 0, 10_000), "it may learn"


def test_members_without_their_first_log_are_no_newcomers(cluster):
    """Two of three lead again; newcomers would wait for the third."""
    applied = max(cluster.applied())
    cluster.crash(power=True)
    for name in ("n1", "n2"):
        cluster.processes[name].start()
    two = cluster.up
    assert cluster.run_until(lambda: any(p.node.leading for p in two()), 25_000)
    assert "newcomer" not in {p.node.role for p in two()}
    assert cluster.run_until(lambda: min(p.node.applied for p in two()) >= applied, 10_000)


def test_a_run_repeats_itself(counts):
    options = RunOptions(duration_ms=8_000, operations=200)
    reports = [run_seed(4, options) for _ in range(2)]
    assert reports[0].digest == reports[1].digest
    assert counts["taken"] % 2 == 0
