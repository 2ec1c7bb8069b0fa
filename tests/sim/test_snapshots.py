"""Snapshots in whole simulated runs, with every fault and no log to spare."""

import pytest

from paxosd.sim import shape
from paxosd.sim.run import RunOptions, run_seed
from paxosd.snapshot_fetch import Fetch
from paxosd.snapshots import Snapshots

SEEDS = range(12)


@pytest.fixture
def counts(monkeypatch):
    """How many snapshots were taken and installed in all runs of a test."""
    found = {"taken": 0, "installed": 0}
    monkeypatch.setattr(shape, "FEW", shape.MANY)
    finished, installed = Snapshots._finished, Fetch._on_installed

    def on_finished(self, taking, surplus, job):
        found["taken"] += job.error is None
        finished(self, taking, surplus, job)

    def on_installed(self, coming, info, behind, old):
        found["installed"] += behind
        installed(self, coming, info, behind, old)

    monkeypatch.setattr(Snapshots, "_finished", on_finished)
    monkeypatch.setattr(Fetch, "_on_installed", on_installed)
    return found


def test_runs_with_all_faults_take_and_install_them(counts):
    for seed in SEEDS:
        print(f"seed={seed}")
        report = run_seed(seed, RunOptions(duration_ms=20_000, operations=400))
        assert report.ok, report.violation
    assert counts["taken"] > 50
    assert counts["installed"] > 0


def test_a_run_repeats_itself(counts):
    options = RunOptions(duration_ms=8_000, operations=200)
    reports = [run_seed(4, options) for _ in range(2)]
    assert reports[0].digest == reports[1].digest
    assert counts["taken"] % 2 == 0
