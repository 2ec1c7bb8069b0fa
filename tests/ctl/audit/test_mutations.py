"""The auditor alone notices removed safeguards, and raises no alarm at the code as it is.

Here are those of the protocol that it notices; ``python -m tests.bench.audit_mutations`` tries all.
"""

import random
from functools import cache

import pytest

from tests.bench.audit_mutations import audited, violations
from tests.bench.mutation_tables import MUTATIONS
from tests.ctl.audit.published import listened

NOTICED = {
    "vote-before-fsync": "durable-first",
    "promise-before-fsync": "durable-first",
    "repeated-vote-before-fsync": "durable-first",
    "ballot-not-persisted": "durable-first",
    "promise-not-persisted": "durable-first",
    "accept-not-persisted": "durable-first",
    "forgets-votes": "reports-votes",
    "prepare-durable-first": "durable-first",
    "prepare-ballot-check": "promises",
    "accept-ballot-check": "votes-above-promises",
    "promise-ballot-check": "leads-by-quorum",
    "phase-1-quorum": "leads-by-quorum",
    "phase-2-quorum": "chosen-by-quorum",
    "votes-of-all-ballots": "chosen-by-quorum",
    "adoption": "one-value",
    "highest-adopted": "adopts-highest",
    "promised-commit": "adopts-highest",
    "whole-report": "leads-by-quorum",
    "overtaken-leader-stays": "one-value",
}
"""Mutation → a rule that notices it, with the first seed of its first profile."""


@pytest.mark.drawn(2)
@pytest.mark.parametrize("name", NOTICED)
def test_a_removed_safeguard_is_noticed(name):
    mutation = MUTATIONS[name]
    profile, seed = mutation.profiles[0], mutation.first_seed
    assert NOTICED[name] in violations(audited(seed, profile, name)[0])
    assert unmutated(seed, profile) == {}


@cache
def unmutated(seed, profile):
    """What the auditor says of the code as it is; many mutations share a seed."""
    return violations(audited(seed, profile)[0])


@pytest.mark.parametrize("profile", ["storm", "members", "cuts", "upgrades", "lost-logs"])
def test_no_false_alarm(profile):
    seed = random.SystemRandom().randrange(1 << 40)
    print(f"python -m tests.bench.audit_mutations, profile {profile}, seed {seed}")
    assert violations(audited(seed, profile)[0]) == {}, f"seed {seed}"


LIVE = {
    "forgets-votes": ("one-value", 9),
}
"""Mutation → a rule that notices it in what the nodes publish, and the seed."""


@pytest.mark.parametrize("name", LIVE)
def test_a_removed_safeguard_is_noticed_live(name):
    rule, seed = LIVE[name]
    assert rule in listened(seed, "storm", name)[0]


@pytest.mark.parametrize("profile", ["storm", "members", "cuts"])
def test_no_false_alarm_live(profile):
    for seed in range(1, 4):
        broken, audit = listened(seed, profile)
        assert broken == {}, f"seed {seed}"
        assert audit.summary()["chosen"] > 20, f"seed {seed}"
