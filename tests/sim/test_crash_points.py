"""Power cuts at the boundaries of the disk: a slice of ``python -m tests.bench.crash_points``."""

import random

import pytest

from paxosd.sim.world.disk import SimDisk, SimFile
from tests.bench.crash_points import WAYS, Strike, all_strikes, boundaries, strike

STRIDE = 48
"""Every so many-th boundary, from a first one that is drawn: in time all of them."""


@pytest.fixture(scope="module")
def seed():
    """Of the script."""
    return 1


@pytest.fixture(scope="module")
def count(seed):
    found = boundaries(seed)
    kinds = {operation for _, operation, _ in found}
    assert {"write", "sync", "rename", "sync_dir", "create", "publish", "answer"} <= kinds
    assert {node for node, _, _ in found} == {"n1", "n2", "n3"}
    return len(found)


def test_the_script_is_the_same_each_time(seed, count):
    assert boundaries(seed) == boundaries(seed)
    assert count > 150
    one = Strike("one", 40, 1)
    assert strike(seed, one) == strike(seed, one)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_told_is_lost_and_the_cluster_goes_on(seed, count, way):
    lot = random.randrange(1 << 30)  # a fresh one each time
    first = random.randint(1, STRIDE)
    print(f"script {seed}, lot {lot}, first {first}")
    struck = set()
    strikes = all_strikes(count, [way], 1, STRIDE, first)
    planned = [Strike(way, each.boundary, lot) for each in strikes]
    for each in planned:
        point = strike(seed, each)
        assert not point.violation, f"--again {seed}:{way}:{each.boundary}:{lot}: {point}"
        assert point.checked == "ok"
        assert point.acknowledged > 10
        struck.add(point.operation)
    assert {"write", "sync"} <= struck
    print(f"{len(planned)} points")


def caught(seed, count, way="one"):
    """Whether any of a few points shows a violation."""
    return any(
        strike(seed, Strike(way, boundary, lot)).violation
        for boundary in range(1, count, 11)
        for lot in range(2)
    )


@pytest.mark.parametrize("way", ["one", "all"])
def test_a_disk_that_does_not_sync_is_caught(seed, count, way, monkeypatch):
    monkeypatch.setattr(SimFile, "fdatasync", lambda self: None)
    assert caught(seed, count, way)


def test_a_directory_that_is_not_synced_is_caught(seed, count, monkeypatch):
    monkeypatch.setattr(SimDisk, "sync_dir", lambda self: None)
    assert caught(seed, count)


def test_each_boundary_is_struck_once(seed, count):
    """The boundary of the count is the boundary of the strike."""
    expected = boundaries(seed)
    for number in (1, 2, 30, count // 2):
        point = strike(seed, Strike("one", number, 0))
        assert (point.node, point.operation) == expected[number - 1][:2]
        assert point.crashes >= 6  # those of the script, and this one
