"""Random faults while the membership changes, from fixed seeds and from fresh ones."""

import functools
import random

import pytest

from tests.core.chaos import run_chaos


def run(size, seed):
    cluster = run_chaos(seed, size=size, changing=True)
    assert len(cluster.chosen) > 10, "a run in which (nearly) nothing was chosen shows nothing"
    return max(member.node.membership.epoch for member in cluster.up())


def size_of(seed):
    """Of the cluster for one of the fixed seeds."""
    return [1, 2, 3, 3, 5][seed % 5]


@functools.cache
def fixed(seed):
    """The last epoch of a fixed seed's run; two tests look at it."""
    return run(size_of(seed), seed)


class TestChaos:
    @pytest.mark.drawn(3)
    @pytest.mark.parametrize("seed", range(15))
    def test_fixed_seeds(self, seed):
        fixed(seed)

    def test_a_node_whose_addition_was_lost_is_no_member(self):
        """It had pulled the log from a learner, so it knew an epoch, and nobody removes it."""
        run(5, 2467953881)

    def test_a_removed_node_whose_contacts_have_gone_too_is_told_by_nobody(self):
        run(2, 1259663355)

    def test_changes_come_about(self):
        """Not with each seed, but with most, and several with some. Not the large ones, which
        take long."""
        epochs = [fixed(seed) for seed in range(15) if size_of(seed) in (2, 3)]
        assert sum(epoch > 0 for epoch in epochs) >= 5
        assert max(epochs) >= 4

    @pytest.mark.parametrize("size", [2, 3, 5])
    def test_fresh_seeds(self, size, capsys):
        seed = random.SystemRandom().randrange(1 << 32)
        with capsys.disabled():
            print(f"\nfresh seed: run_chaos({seed}, size={size}, changing=True)")
        run(size, seed)
