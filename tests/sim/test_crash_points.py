"""Power cuts at the boundaries of the disk: a slice of ``python -m tests.bench.crash_points``."""

import random

import pytest

from paxosd.sim.world.disk import SimDisk, SimFile
from tests.bench.crash_points import WAYS, Strike, all_strikes, boundaries, strike

STRIDE = 160
"""Every so many-th boundary, from a first one that is drawn: in time all of them."""


@pytest.fixture(scope="module")
def seed():
    """Of the script."""
    return 1


@pytest.fixture(scope="module")
def operations(seed):
    """What the disk or the network is asked for at each boundary, the first of them first."""
    found = boundaries(seed)
    kinds = {operation for _, operation, _ in found}
    assert {"write", "sync", "rename", "sync_dir", "create", "publish", "answer"} <= kinds
    assert {node for node, _, _ in found} == {"n1", "n2", "n3"}
    return [operation for _, operation, _ in found]


@pytest.fixture(scope="module")
def count(operations):
    return len(operations)


def test_the_script_is_the_same_each_time(seed, count):
    assert boundaries(seed) == boundaries(seed)
    assert count > 150
    one = Strike("one", 40, 1)
    assert strike(seed, one) == strike(seed, one)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("way", WAYS)
def test_nothing_told_is_lost_and_the_cluster_goes_on(seed, operations, way):
    lot = random.randrange(1 << 30)  # a fresh one each time
    first = random.randint(1, STRIDE)
    print(f"script {seed}, lot {lot}, first {first}")
    drawn = {each.boundary for each in all_strikes(len(operations), [way], 1, STRIDE, first)}
    # A few boundaries need not hold one of each kind: these two are drawn on their own.
    for kind in ("write", "sync"):
        places = [at for at, operation in enumerate(operations, 1) if operation == kind]
        drawn.add(random.choice(places))
    for boundary in sorted(drawn):
        point = strike(seed, Strike(way, boundary, lot))
        assert not point.violation, f"--again {seed}:{way}:{boundary}:{lot}: {point}"
        assert point.checked == "ok"
        assert point.acknowledged > 10
        assert point.operation == operations[boundary - 1]
    print(f"{len(drawn)} points")


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
