"""A short slice of ``python -m tests.bench.member_campaign``, with a seed of its own."""

import random

import pytest

from tests.bench.member_campaign import run_part, transfers


def slice_of_all(stage):
    """A voter more, a hand-over, the leader replaced, a voter less."""
    with stage.step("add n4"):
        stage.add("n4")
    transfers(stage, 1)
    leader = stage.leader()
    with stage.step(f"replace {leader} by n5"):
        stage.replace(leader, "n5")
    other = stage.rng.choice([name for name in stage.members()["voters"] if name != "n5"])
    with stage.step(f"remove {other}"):
        stage.remove(other)


@pytest.mark.timeout(170)
@pytest.mark.parametrize("faults", [False, True], ids=["calm", "faults"])
def test_clients_see_one_store_while_its_members_change(tmp_path, faults):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    outcome = run_part(tmp_path, "slice", seed=seed, faults=faults, act=slice_of_all, report=print)
    print("\n".join(outcome.lines()))
    assert outcome.ok
