"""Simulated runs with keys: an admin revokes, rotates and changes rights while clients work under
faults, and some of them try what they may not."""

import random

import pytest

from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import SimRun, run_seed
from paxosd.sim.nemesis.rights import draw_rights

OPTIONS = RunOptions(duration_ms=8000, operations=150, clients=3, rights=3, transactors=1)


@pytest.mark.parametrize("seed", [1, 2, 7])
def test_rights_are_kept_under_faults(seed):
    run = SimRun(seed, OPTIONS)
    report = run.report()
    assert report.ok, report.violation
    checks = run.cluster.invariants.rights
    assert checks.refused, "something was refused where it was applied"
    assert checks.done >= 30
    assert checks.table.version >= 5
    assert checks.reads.shown >= 20
    assert checks.reads.withheld >= 20
    assert all(client.succeeded for client in run.keyed)


def test_fresh_seeds(capsys):
    seeds = [random.SystemRandom().randrange(1 << 40) for _ in range(4)]
    with capsys.disabled():
        print(f"\nfresh seeds with --rights 3: {' '.join(map(str, seeds))}")
    for seed in seeds:
        report = run_seed(seed, OPTIONS)
        assert report.ok, f"seed {seed}: {report.violation}"


def test_with_members_that_change():
    report = run_seed(5, RunOptions(duration_ms=8000, operations=100, rights=2, members=True))
    assert report.ok, report.violation


def test_a_run_repeats_itself():
    assert run_seed(2, OPTIONS).digest == run_seed(2, OPTIONS).digest


def test_what_is_drawn_does_not_depend_on_what_happens():
    drawn = draw_rights(random.Random(5), 30_000)
    assert drawn == draw_rights(random.Random(5), 30_000)
    assert {each.verb for each in drawn} == {"rights"}
