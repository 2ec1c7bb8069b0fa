"""The checks bite: a safeguard removed is seen. Here a part of the mutations, with seeds known to
see them; all of them with ``python -m tests.bench.mutation_campaign``."""

import pytest

from tests.bench.mutation_campaign import is_seen, mutant_run
from tests.bench.mutation_runs import PROFILES
from tests.bench.mutation_tables import MUTATIONS

SEEDS_MAX = 80
IN_SUITE = [name for name, mutation in MUTATIONS.items() if mutation.in_suite]


@pytest.mark.parametrize("name", IN_SUITE)
def test_a_missing_safeguard_is_seen_and_the_code_as_it_is_passes(name):
    """The seed that is known to catch it comes first, then the later ones, then those before it."""
    profile, first = MUTATIONS[name].profiles[0], MUTATIONS[name].first_seed
    rest = [seed for seed in range(1, SEEDS_MAX + 1) if seed != first]
    for seed in (first, *sorted(rest, key=lambda seed: (seed < first, seed))):
        mutant = mutant_run(seed, name, profile)
        assert mutant.ok or is_seen(mutant), f"the mutation itself is broken: {mutant.violation}"
        if not mutant.ok:
            break
    else:
        pytest.fail(f"not caught in {SEEDS_MAX} seeds")
    print(f"caught by seed={seed}")
    report = PROFILES[profile].run(seed)
    assert report.ok, report.violation
