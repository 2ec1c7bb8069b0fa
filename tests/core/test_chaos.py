"""Random faults from fixed seeds, and from fresh ones: see chaos.py for what is checked.

A failure prints its seed; ``run_chaos(seed, size=…)`` runs it again, event for event.
"""

import random

import pytest

from tests.core.chaos import run_chaos

SEEDS = [(1, s) for s in range(3)] + [(3, s) for s in range(12)] + [(5, s) for s in range(5)]


def run(size, seed):
    cluster = run_chaos(seed, size=size)
    assert len(cluster.chosen) > 10, "a run in which (nearly) nothing was chosen shows nothing"


class TestChaos:
    @pytest.mark.drawn(3)
    @pytest.mark.parametrize(("size", "seed"), SEEDS)
    def test_fixed_seeds(self, size, seed):
        run(size, seed)

    @pytest.mark.parametrize("size", [3, 4, 5])
    def test_fresh_seeds(self, size, capsys):
        seed = random.SystemRandom().randrange(1 << 32)
        with capsys.disabled():
            print(f"\nfresh seed: run_chaos({seed}, size={size})")
        run(size, seed)

    def test_a_run_repeats_event_for_event(self):
        first, again = run_chaos(11, size=3), run_chaos(11, size=3)
        assert first.sent == again.sent
        assert first.chosen == again.chosen
