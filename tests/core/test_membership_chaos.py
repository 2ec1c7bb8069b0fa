"""Random faults while the membership changes, from fixed seeds and from fresh ones."""

import random

import pytest

from tests.core.chaos import run_chaos


def run(size, seed):
    cluster = run_chaos(seed, size=size, changing=True)
    assert len(cluster.chosen) > 10, "a run in which (nearly) nothing was chosen shows nothing"
    return max(member.node.membership.epoch for member in cluster.up())


class TestChaos:
    @pytest.mark.parametrize("first", [0, 5, 10])
    def test_fixed_seeds(self, first):
        """Not each seed comes to a change, but most do, and to several in some."""
        epochs = [run(size, first + number) for number, size in enumerate([1, 2, 3, 3, 5])]
        assert sum(epoch > 0 for epoch in epochs) >= 2
        assert max(epochs) >= 3

    @pytest.mark.parametrize("size", [2, 3, 5])
    def test_fresh_seeds(self, size, capsys):
        seed = random.SystemRandom().randrange(1 << 32)
        with capsys.disabled():
            print(f"\nfresh seed: run_chaos({seed}, size={size}, changing=True)")
        run(size, seed)
