"""The checks bite: a safeguard removed is seen. Here a handful, with seeds known to see it; all
of them with ``python -m tests.bench.mutation_campaign``."""

from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.bench.mutation import REGISTRY, Patches
from tests.bench.mutation_campaign import is_seen, mutant_run
from tests.bench.mutation_runs import PROFILES

QUICK = [
    ("vote-before-fsync", "storm"),
    ("no-fsync", "storm"),
    ("accept-ballot-check", "late-accepts"),
    ("prepare-ballot-check", "storm"),
    ("adoption", "storm"),
    ("promised-commit", "cuts"),
    ("phase-1-quorum", "storm"),
    ("phase-2-quorum", "storm"),
    ("empty-log-votes", "lost-logs"),
    ("session-dedup", "storm"),
    ("session-fence", "echoes"),
    ("read-unconfirmed", "late-acks"),
    ("vote-gap-filling", "no-votes-heard"),
    ("catch-up", "storm"),
    ("age-since-leader-heard", "stale-reads"),
    ("age-since-answer", "stale-reads-behind"),
    ("age-not-applied", "stale-reads-behind"),
    ("age-of-a-leader", "stale-reads-cut"),
    ("pre-vote", "chain"),
    ("stays-without-quorum", "deaf"),
    ("prepare-durable-first", "lost-ballots"),
    ("removed-too-early", "swapped-unseen"),
    ("watch-jump-order", "watched-laggards"),
    ("watch-continuity", "watched"),
    ("watch-place", "watched"),
    ("watch-progress", "watched"),
    ("overtaken-leader-stays", "lost-tail"),
    ("watchdog", "mute"),
    ("short-log-taken", "cut-tail"),
    ("tail-mark-ignored", "tails"),
    ("log-time-wall-clock", "wrong-clocks"),
    ("log-time-across-reigns", "old-batches"),
    ("level-unasked", "upgrades"),
    ("newcomers-act", "first-files"),
    ("founds-though-files-differ", "first-files"),
    ("founds-by-file", "relics-grown"),
    ("marks-not-compared", "rolled-back-greeted"),
    ("marks-not-written", "rolled-back-together"),
    ("acts-uncompared", "rolled-back-alone"),
    ("challenge-ignored", "doubled-stopped"),
    ("silence-ignored", "doubled"),
    ("limits-unheard", "unequal-limits"),
    ("parts-too-large", "unequal-limits"),
    ("no-way-around", "unequal-limits"),
]
"""(mutation, profile) of those that few seeds catch."""
SEEDS_MAX = 80
FIRST_SEEDS = {
    "no-way-around": 6,
    "prepare-durable-first": 5,
    "removed-too-early": 2,
    "parts-too-large": 6,
    "log-time-across-reigns": 10,
    "promised-commit": 10,
    "read-unconfirmed": 18,
    "stays-without-quorum": 7,
    "vote-gap-filling": 6,
    "watch-jump-order": 3,
    "watch-place": 62,
}
"""Known to catch it, where the seeds before would take long. The others are tried after them."""


class Recorded(Patches):
    """Which attributes a mutation replaces, and by what."""

    def __init__(self, stack):
        super().__init__(stack)
        self.replaced = []

    def replace(self, owner, name, make):
        before = vars(owner)[name]
        super().replace(owner, name, make)
        self.replaced.append((owner, name, before, vars(owner)[name]))


class TestPatches:
    def test_there_are_enough_of_them(self):
        assert len(REGISTRY) >= 20

    @pytest.mark.parametrize("name", list(REGISTRY))
    def test_a_mutation_changes_the_code_and_gives_it_back(self, name, monkeypatch):
        made = []

        def recorded(stack):
            made.append(Recorded(stack))
            return made[-1]

        monkeypatch.setattr("tests.bench.mutation.Patches", recorded)
        with REGISTRY[name].applied():
            (patches,) = made
            assert patches.replaced
            for owner, attribute, before, during in patches.replaced:
                assert vars(owner)[attribute] is during
                assert during is not before
        for owner, attribute, before, _ in patches.replaced:
            assert vars(owner)[attribute] is before

    def test_what_is_not_there_cannot_be_replaced(self):
        with ExitStack() as stack, pytest.raises(AttributeError):
            Patches(stack).replace(Patches, "no_such_method", lambda original: original)

    def test_what_is_called_otherwise_than_what_it_replaces_is_refused(self):
        """Its run would fail with a TypeError, and the mutation count as caught."""
        for wrong in (
            lambda _: lambda self, owner, name: None,
            lambda _: lambda self, name, owner, make, more: None,
            lambda _: lambda self, owner, name, *, make: None,
        ):
            with ExitStack() as stack, pytest.raises(TypeError, match=r"replaces Patches\.replace"):
                Patches(stack).replace(Patches, "replace", wrong)
        with ExitStack() as stack:
            Patches(stack).replace(Patches, "replace", lambda _: lambda self, *_, **__: None)

    def test_an_error_of_the_program_is_no_catch(self):
        def report(violation):
            return replace(mutant_run(1, "no-fsync", "storm"), ok=False, violation=violation)

        assert is_seen(report("agreement: two values"))
        assert is_seen(report("exception: AssertionError: a promise went down"))
        assert not is_seen(report("exception: TypeError: unexpected keyword argument"))

    def test_every_profile_named_exists(self):
        for mutation in REGISTRY.values():
            assert set(mutation.profiles) <= set(PROFILES), mutation.name


@pytest.mark.parametrize(("name", "profile"), QUICK)
def test_a_missing_safeguard_is_seen_and_the_code_as_it_is_passes(name, profile):
    first = FIRST_SEEDS.get(name, 1)
    for seed in (*range(first, SEEDS_MAX + 1), *range(1, first)):
        mutant = mutant_run(seed, name, profile)
        assert mutant.ok or is_seen(mutant), f"the mutation itself is broken: {mutant.violation}"
        if not mutant.ok:
            break
    else:
        pytest.fail(f"not caught in {SEEDS_MAX} seeds")
    print(f"caught by seed={seed}")
    report = PROFILES[profile].run(seed)
    assert report.ok, report.violation
