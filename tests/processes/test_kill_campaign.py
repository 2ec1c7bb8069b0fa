"""A few cycles of ``python -m tests.bench.kill_campaign``, with a seed of their own."""

import random

import pytest

from tests.bench.kill_campaign import campaign


@pytest.mark.timeout(170)
def test_clients_see_one_store_whatever_is_killed_or_stopped(tmp_path):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    figures = campaign(tmp_path, cycles=5, seed=seed, history=tmp_path / "history.jsonl")
    print("\n".join(figures.lines()))
    verdict = figures.audit.judgement.verdict
    assert verdict.ok, verdict.explanation
    assert figures.audit.state
    assert figures.audit.counts["ok"] > 200
