"""Which keys a load draws."""

import random
from collections import Counter

import pytest

from paxosctl.load.keys import DISTRIBUTIONS, key_draw, key_of, zeta


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("keys", [1, 2, 3, 10, 1_000_000_000])
def test_every_key_is_one_of_those(distribution, keys):
    draw = key_draw(distribution, keys, random.Random(1))
    assert all(0 <= draw() < keys for _ in range(2000))


@pytest.mark.parametrize("distribution", ["uniform", "zipf"])
def test_the_same_seed_draws_the_same(distribution):
    first, again = (key_draw(distribution, 1000, random.Random(7)) for _ in range(2))
    assert [first() for _ in range(100)] == [again() for _ in range(100)]


def test_sequential_ones_of_all_processes_together_are_all_keys():
    draws = [key_draw("sequential", 10, random.Random(0), place=p, of=3) for p in range(3)]
    drawn = [draw() for _ in range(10) for draw in draws]
    assert Counter(drawn) == dict.fromkeys(range(10), 3)


def test_uniform_draws_every_key_alike():
    draw = key_draw("uniform", 10, random.Random(3))
    counts = Counter(draw() for _ in range(20_000))
    assert min(counts.values()) > 1800


def test_zipf_draws_by_rank():
    """The share of rank r is r ** -0.99 / zeta: exact for the first two, which the method gives
    a range of their own, and near for the rest."""
    keys, draws = 1000, 100_000
    draw = key_draw("zipf", keys, random.Random(5))
    counts = Counter(draw() for _ in range(draws))
    for rank in (1, 2):
        wanted = draws * rank**-0.99 / zeta(keys)
        assert abs(counts[rank - 1] - wanted) < wanted / 10
    hundred = sum(counts[number] for number in range(100))
    assert abs(hundred / draws - zeta(100) / zeta(keys)) < 0.03


def test_a_long_zeta_sum_is_as_if_added_up():
    assert zeta(50_000) == pytest.approx(sum(i**-0.99 for i in range(1, 50_001)), rel=1e-9)


def test_keys_have_the_prefix():
    assert key_of(12) == b"bench/12"
