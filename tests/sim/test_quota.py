"""Quotas in whole clusters: whatever goes wrong, all nodes refuse the same writes, and none holds
more than it may. And each way to break that is noticed."""

from dataclasses import replace

import pytest

from paxosd.core.state.kv import Store
from paxosd.core.state.quota import Quota
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.nemesis import shape

RUN = RunOptions(duration_ms=15_000, operations=250, quota=True)


@pytest.fixture
def refused(monkeypatch):
    """How many writes were refused at apply, over all nodes; snapshots are taken often."""
    monkeypatch.setattr(shape, "FEW", shape.MANY)
    counted = []
    real = Quota.note_refusal
    monkeypatch.setattr(Quota, "note_refusal", lambda self: (counted.append(1), real(self)))
    return counted


@pytest.mark.drawn(2)
@pytest.mark.parametrize("members", [False, True])
def test_runs_with_all_faults(refused, members):
    for seed in range(4):
        print(f"seed={seed}")
        report = run_seed(seed, replace(RUN, members=members))
        assert report.ok, report.violation
    assert len(refused) > 50


def one_store_without(monkeypatch):
    """One node does not look."""
    real, stores = Store.has_room_for, []

    def has_room_for(self, values):
        stores.append(self)
        return True if self is stores[0] else real(self, values)

    monkeypatch.setattr(Store, "has_room_for", has_room_for)


def not_counted_as_loaded(monkeypatch):
    monkeypatch.setattr(Quota, "add_all", lambda self, keys, packed: None)


def removals_not_counted(monkeypatch):
    monkeypatch.setattr(Quota, "remove", lambda self, key, packed: None)


def not_checked(monkeypatch):
    monkeypatch.setattr(Store, "has_room_for", lambda self, values: True)


@pytest.mark.drawn(2)
@pytest.mark.parametrize(
    ("mutate", "words"),
    [
        (one_store_without, "equal-states|quota"),
        (not_counted_as_loaded, "quota"),
        (removals_not_counted, "quota"),
        (not_checked, "quota"),
    ],
)
def test_each_way_to_break_it_is_noticed(refused, monkeypatch, mutate, words):
    mutate(monkeypatch)
    for seed in range(6):
        violation = run_seed(seed, RUN).violation
        if violation:
            print(f"seed={seed}")
            assert any(violation.startswith(f"{word}:") for word in words.split("|")), violation
            return
    raise AssertionError("nothing was noticed")
