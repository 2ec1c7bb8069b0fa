"""Locks in simulated runs: the checks see what is wrong, and the code as it is passes them."""

import pytest

from paxosd.sim.campaign.run import SimRun
from paxosd.sim.cluster.lock_checks import LockChecks
from paxosd.sim.cluster.violation import Violation
from tests.bench.mutation_runs import PROFILES


class Contender:
    def __init__(self, name, believes, would_say_held):
        self.name = name
        self.believes = believes
        self.would_say_held = would_say_held


@pytest.fixture
def checks():
    return LockChecks(1)


class TestChecks:
    def test_one_holder(self, checks):
        checks.contenders += [Contender("a", True, True), Contender("b", False, False)]
        checks.on_acquired("a", 5)
        assert checks.newest() == 5

    @pytest.mark.parametrize(
        ("believes", "held", "kind"),
        [(True, False, "lock-unlearned"), (False, True, "lock-check")],
    )
    def test_two_holders(self, checks, believes, held, kind):
        checks.contenders += [Contender("a", True, True), Contender("b", believes, held)]
        with pytest.raises(Violation, match=f"{kind}: a acquires it"):
            checks.on_acquired("a", 5)

    def test_a_semaphore_may_have_two(self):
        checks = LockChecks(2)
        checks.contenders += [Contender("a", True, True), Contender("b", True, True)]
        checks.on_acquired("a", 5)

    def test_a_fenced_write_of_a_former_holder(self, checks):
        checks.on_acquired("a", 5)
        with pytest.raises(Violation, match="wrote with token 3 after 5"):
            checks.on_written("b", 3, 9, checks.newest())

    def test_tokens_that_go_down(self, checks):
        checks.on_written("a", 5, 8, 0)
        checks.on_written("b", 3, 9, 0)
        with pytest.raises(Violation, match="go down"):
            checks.check_end()


@pytest.mark.drawn(3)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_with_locks(seed):
    run = SimRun(seed, PROFILES["locks"].options)
    report = run.report()
    assert report.ok, report.violation
    assert report.acquired
