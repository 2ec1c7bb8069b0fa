"""The checks of log time see what they are for; and the level that is raised is checked, too."""

import pytest

from paxosd.core.cluster_settings import ClusterSettings
from paxosd.core.commands import CLOSE, OPEN, PUT, Batch, Entry, Reign
from paxosd.core.state.log_clock import LogClock
from paxosd.core.state.machine import Machine
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.cluster.clock_checks import ClockChecks
from paxosd.sim.cluster.invariants import Invariants
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.cluster.watched import WatchedMachine
from paxosd.sim.nemesis.schedule import Directive, Schedule

FIRST = ClusterSettings(level=1, session_ttl_ms=5000)


class Scene:
    """One log, applied slot by slot at true times; ``wrong``: what the checks said last."""

    def __init__(self):
        self.now = 0.0
        self.machine = Machine()
        self.checks = ClockChecks(lambda: self.now)
        self.wrong = ""
        self.apply(0, [FIRST.to_entry(ClusterSettings(), 0)])

    def apply(self, at_ms, entries=(), reign=None, proposed_ms=None, log_time_ms=None):
        slot = self.machine.applied + 1
        value = b"%d" % slot
        self.now = at_ms if proposed_ms is None else proposed_ms
        self.checks.on_proposed(slot, value)
        self.now = at_ms
        batch = Batch(0, list(entries), reign and Reign(*reign))
        (*results,) = self.machine.apply(slot, batch)
        if log_time_ms is not None:
            self.machine.clock = LogClock(log_time_ms, self.machine.clock.reign)
        self.checks.on_applied(slot, self.machine)
        self.wrong = self.checks.on_chosen(slot, value, batch)
        return results


class TestLogTime:
    def test_what_passes_in_true_time_is_right(self):
        scene = Scene()
        for step in range(10):
            scene.apply(1000 * step, reign=(1, "n1", 1000 * step))
            assert scene.wrong == ""
        assert scene.machine.log_time_ms == 9000

    def test_a_leap_is_seen(self):
        scene = Scene()
        scene.apply(1000, reign=(1, "n1", 1000))
        scene.apply(2000, reign=(1, "n1", 5000))
        assert "further than true time" in scene.wrong

    def test_the_time_on_the_way_is_no_leap(self):
        """Both are chosen together, late."""
        scene = Scene()
        scene.apply(9000, reign=(1, "n1", 1000), proposed_ms=1000)
        scene.apply(9000, reign=(1, "n1", 4000), proposed_ms=4000)
        assert scene.wrong == ""

    def test_what_was_lost_does_not_excuse_a_leap(self):
        """An outage of an hour, then ten seconds at once."""
        scene = Scene()
        scene.apply(1000, reign=(1, "n1", 1000))
        scene.apply(3_600_000, reign=(2, "n2", 0))
        scene.apply(3_600_001, reign=(2, "n2", 10_000))
        assert "further than true time" in scene.wrong

    def test_below_level_1_a_wall_clock_may_leap(self):
        scene = Scene()
        scene.machine.settings = ClusterSettings()
        scene.apply(1)
        scene.apply(2, log_time_ms=10_000_000)
        assert scene.wrong == ""


class TestSessions:
    def open(self):
        scene = Scene()
        scene.apply(1000, reign=(1, "n1", 0))
        ((result,),) = scene.apply(1000, [Entry(0, 1, 0, [[OPEN]])], reign=(1, "n1", 0))
        return scene, result[2]

    def test_one_that_ends_when_its_time_is_over(self):
        scene, _ = self.open()
        scene.apply(6100, reign=(1, "n1", 5100))
        assert len(scene.machine.sessions) == 0
        assert scene.wrong == ""

    def test_one_that_was_used_is_not_to_end(self):
        scene, session = self.open()
        scene.apply(5000, [Entry(session, 1, 0, [[PUT, b"k", b"v"]])], reign=(1, "n1", 4000))
        assert scene.wrong == ""
        del scene.machine.sessions.table[session]
        scene.apply(6100, reign=(1, "n1", 5100))
        assert f"session {session} ends" in scene.wrong

    def test_one_that_its_client_closes_may_end(self):
        scene, session = self.open()
        scene.apply(2000, [Entry(session, 1, 0, [[CLOSE]])], reign=(1, "n1", 1000))
        assert len(scene.machine.sessions) == 0
        assert scene.wrong == ""


class TestLevel:
    def test_a_raise_above_what_a_member_understands_is_seen(self):
        invariants = Invariants(["n1", "n2"])
        invariants.understood = {"n1": 1, "n2": 0}
        machine = WatchedMachine(invariants, "n1")
        raised = Batch(0, [FIRST.to_entry(ClusterSettings(), 0)])
        with pytest.raises(Violation, match=r"level: n1 .* programs of n2 do not know"):
            machine.apply(1, raised)

    @pytest.mark.parametrize("seed", [1, 2, 4])
    def test_a_run_raises_it(self, seed):
        report = run_seed(seed, RunOptions(duration_ms=8000, operations=100))
        assert report.ok, report.violation

    def test_clocks_of_any_year_do_no_harm(self):
        years = [0, 4_070_908_800_000, 1 << 42, 86_400_000]
        schedule = Schedule([
            Directive(1000 + 1500 * number, "clock_set", "@leader", {"wall_ms": wall_ms})
            for number, wall_ms in enumerate(years)
        ])  # fmt: skip
        report = run_seed(3, RunOptions(duration_ms=8000, operations=200), schedule=schedule)
        assert report.ok, report.violation
        assert report.faults["clock-skew"] == len(years)
