"""Which key a command is for: drawn uniformly, by Zipf's law, or one after the other.

Zipf by the method of Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD
1994), with the exponent of YCSB: key 0 is the most popular, then 1, and so on.
"""

import itertools
import random
from collections.abc import Callable

DISTRIBUTIONS = ("uniform", "zipf", "sequential")
KEY_PREFIX = b"bench/"
ZIPF_EXPONENT = 0.99
ZETA_TERMS = 10_000
"""So many terms of a zeta sum are added up; the rest of it is its integral, which then differs by
less than a millionth."""


def key_draw(
    distribution: str, keys: int, rng: random.Random, *, place: int = 0, of: int = 1
) -> Callable[[], int]:
    """A function that gives the next key's number, below ``keys``. ``place`` of ``of``: the process
    that asks; sequential ones interleave, so that together they go through all keys."""
    if distribution == "sequential":
        numbers = itertools.count(place, of)
        return lambda: next(numbers) % keys
    draw = rng.random
    if distribution == "zipf" and keys > 1:
        return _zipf(keys, draw)
    return lambda: int(draw() * keys)


def key_of(number: int) -> bytes:
    """The key with this number."""
    return b"%s%d" % (KEY_PREFIX, number)


def zeta(terms: int, exponent: float = ZIPF_EXPONENT) -> float:
    """The sum of i ** -exponent for i from 1 to ``terms``; by Euler and Maclaurin if they are
    many."""
    exact = sum(i**-exponent for i in range(1, min(terms, ZETA_TERMS) + 1))
    if terms <= ZETA_TERMS:
        return float(exact)
    power = 1 - exponent
    rest = (terms**power - ZETA_TERMS**power) / power
    ends = (terms**-exponent - ZETA_TERMS**-exponent) / 2
    return float(exact + rest + ends)


def _zipf(keys: int, draw: Callable[[], float]) -> Callable[[], int]:
    total = zeta(keys)
    alpha = 1 / (1 - ZIPF_EXPONENT)
    eta = (1 - (2 / keys) ** (1 - ZIPF_EXPONENT)) / (1 - zeta(2) / total) if keys > 2 else 1.0
    second = 1 + 0.5**ZIPF_EXPONENT

    def number() -> int:
        u = draw()
        if u * total < 1:
            return 0
        if u * total < second:
            return 1
        return min(keys - 1, int(keys * (eta * u - eta + 1) ** alpha))

    return number
