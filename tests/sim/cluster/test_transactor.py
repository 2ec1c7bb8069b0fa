"""Transactions in simulated runs: done by many clients under faults, and judged at the end."""

from dataclasses import replace

from paxosd.core.cluster_settings import LEVEL_COORDINATION
from paxosd.core.state import slot_allowance, transaction_run
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed

OPTIONS = RunOptions(duration_ms=8000, operations=60, transactors=3, watchers=1)


def test_transactions_are_done_under_faults_and_are_right():
    report = run_seed(3, OPTIONS)
    assert report.ok, report.violation
    assert report.transactions >= 10


def test_those_that_a_slot_leaves_over_are_done_later(monkeypatch):
    """Snapshots and restarts in the middle change nothing: else the nodes' states would differ."""
    monkeypatch.setattr(slot_allowance, "STEPS_MAX", 1)
    put_off = []
    real = slot_allowance.SlotAllowance.allows

    def allows(self, command):
        if not real(self, command):
            put_off.append(command)
            return False
        return True

    monkeypatch.setattr(slot_allowance.SlotAllowance, "allows", allows)
    report = run_seed(3, replace(OPTIONS, duration_ms=4000, transactors=16))
    assert report.ok, report.violation
    assert report.transactions >= 10
    assert len(put_off) >= 3


def test_without_the_level_there_are_none():
    report = run_seed(3, replace(OPTIONS, level=LEVEL_COORDINATION - 1, duration_ms=3000))
    assert (report.ok, report.transactions) == (True, 0), report.violation


def test_a_transaction_that_is_not_whole_is_found(monkeypatch):
    """tests/check/test_transactions.py has more that the checker must find."""
    real = transaction_run._Plan._net
    half = lambda self: (net := real(self))[: 1 + len(net) // 2]  # noqa: E731 - it is one line
    monkeypatch.setattr(transaction_run._Plan, "_net", half)
    found = [run_seed(seed, OPTIONS).violation for seed in (3, 4)]
    assert any(each.startswith("transactions: ") for each in found), found
