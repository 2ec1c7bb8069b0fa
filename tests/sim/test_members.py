"""Whole simulated runs in which the membership changes under faults."""

import functools
import random

import pytest

from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.nemesis.changes import draw_changes

OPTIONS = RunOptions(duration_ms=15_000, operations=250, members=True)


@functools.cache
def fixed(seed):
    """Its report; two tests look at it."""
    return run_seed(seed, OPTIONS)


@pytest.mark.drawn(3)
@pytest.mark.parametrize("seed", range(12))
def test_fixed_seeds(seed):
    report = fixed(seed)
    assert report.ok, report.violation
    assert report.checked == "ok"


def test_changes_come_about():
    """Not in each run, but in most, and several in some."""
    done = [fixed(seed).faults.get("member", 0) for seed in range(4)]
    assert sum(count > 0 for count in done) >= 3
    assert max(done) >= 8


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_other_sizes(nodes):
    report = run_seed(40 + nodes, RunOptions(nodes=nodes, duration_ms=12_000, operations=200,
                                             members=True))  # fmt: skip
    assert report.ok, report.violation


def test_fresh_seeds(capsys):
    seeds = [random.SystemRandom().randrange(1 << 40) for _ in range(4)]
    with capsys.disabled():
        print(f"\nfresh seeds with --members: {' '.join(map(str, seeds))}")
    for seed in seeds:
        report = run_seed(seed, OPTIONS)
        assert report.ok, f"seed {seed}: {report.violation}"


def test_a_run_repeats_itself():
    assert run_seed(3, OPTIONS).digest == fixed(3).digest


def test_what_is_drawn_does_not_depend_on_what_happens():
    drawn = draw_changes(random.Random(5), 30_000)
    assert drawn == draw_changes(random.Random(5), 30_000)
    assert {each.verb for each in drawn} == {"member"}
