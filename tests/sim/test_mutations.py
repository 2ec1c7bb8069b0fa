"""The checks bite: a safeguard removed is seen. Here half of those that are marked for the suite,
drawn anew each time, with seeds known to see them; all of them with ``python -m
tests.bench.mutation_campaign``."""

import random

import pytest

from tests.bench.mutation_campaign import is_seen, mutant_run
from tests.bench.mutation_runs import PROFILES
from tests.bench.mutation_tables import MUTATIONS

SEEDS_MAX = 80
IN_SUITE = [name for name, mutation in MUTATIONS.items() if mutation.in_suite]
PARTS = 8


@pytest.mark.parametrize("part", range(PARTS))
def test_a_missing_safeguard_is_seen_and_the_code_as_it_is_passes(part):
    names = IN_SUITE[part::PARTS]
    drawn = random.SystemRandom().sample(names, (len(names) + 1) // 2)
    print("drawn, for mutation_campaign --only:", *drawn)
    for name in drawn:
        check(name)


def check(name):
    """The seed that is known to catch it comes first, then the later ones, then those before it."""
    profile, first = MUTATIONS[name].profiles[0], MUTATIONS[name].first_seed
    rest = [seed for seed in range(1, SEEDS_MAX + 1) if seed != first]
    for seed in (first, *sorted(rest, key=lambda seed: (seed < first, seed))):
        mutant = mutant_run(seed, name, profile)
        assert mutant.ok or is_seen(mutant), f"{name} itself is broken: {mutant.violation}"
        if not mutant.ok:
            break
    else:
        pytest.fail(f"{name}: not caught in {SEEDS_MAX} seeds")
    print(f"{name}: caught by seed={seed}")
    report = PROFILES[profile].run(seed)
    assert report.ok, f"{name} {seed}: {report.violation}"
