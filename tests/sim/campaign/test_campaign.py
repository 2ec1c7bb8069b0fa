"""Campaigns add up what runs report; a failing run is made small, and is explained as a story."""

import pytest

from paxosd.sim.campaign.campaign import Summary, minimise, simpler_directives
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import RunReport
from paxosd.sim.campaign.workers import Crashed
from paxosd.sim.nemesis.schedule import Directive, Schedule


def report(seed, violation="", **fields):
    return RunReport(seed=seed, ok=not violation, violation=violation, **fields)


class TestSummary:
    def test_everything_is_added_up(self):
        summary = Summary(jobs=2)
        summary.add(
            report(
                1,
                operations=10,
                acknowledged=8,
                unknown=1,
                leader_changes=2,
                simulated_ms=60_000.0,
                wall_s=0.5,
                faults={"drop": 3, "crash": 1},
            )
        )
        summary.add(report(2, operations=5, acknowledged=5, simulated_ms=30_000.0, wall_s=1.0,
                           faults={"drop": 4}))  # fmt: skip
        summary.elapsed_s = 0.9
        described = summary.describe()
        assert (described["runs"], described["failed"]) == (2, 0)
        assert (described["operations"], described["acknowledged"], described["unknown"]) == (
            15,
            13,
            1,
        )
        assert described["faults"] == {"crash": 1, "drop": 7}
        assert described["simulated_s"] == 90.0
        assert described["speed_up"] == 100.0
        assert described["runs_per_minute_per_core"] == 80.0

    def test_a_crash_of_the_simulator_is_a_failure_too(self):
        summary = Summary()
        summary.add(report(1, "stale-read: key k"))
        summary.add(Crashed(2, "boom"))
        assert summary.failed == 2
        assert [each.seed for each in summary.violations] == [1]
        assert [each.seed for each in summary.crashed] == [2]

    def test_histories_not_decided_are_counted_apart(self):
        summary = Summary()
        summary.add(report(1, checked="not checked"))
        summary.add(report(2))
        assert (summary.passed, summary.failed, summary.not_checked) == (1, 0, 1)
        assert summary.undecided == [1]

    def test_a_violation_counts_once_though_another_check_gave_up(self):
        summary = Summary()
        summary.add(report(1, "history: key k", checked="not checked"))
        assert (summary.passed, summary.failed, summary.not_checked) == (0, 1, 0)

    def test_nothing_done_divides_by_nothing(self):
        assert Summary().describe()["speed_up"] == 0


NOISE = [Directive(1000 * n, "fault_add", "n1", {"name": f"f{n}", "kind": "drop"})
         for n in range(30)]  # fmt: skip
CRASH = Directive(12_345, "crash", "n2", {"power": True})
SLOW = Directive(11_111, "fault_add", "", {"name": "slow", "kind": "disk-slow", "ms": 800})


class FakeRun:
    """Fails as ``violation`` if the schedule has a crash of n2 and a slow disk of 100 ms or
    more, and there are 2 clients or more."""

    def __init__(self, violation="lost: slot 3"):
        self.violation = violation
        self.count = 0

    def __call__(self, seed, options, schedule):
        self.count += 1
        verbs = {each.verb for each in schedule}
        slow = any(each.args.get("ms", 0) >= 100 for each in schedule)
        bad = "crash" in verbs and slow and options.clients >= 2
        return report(seed, self.violation if bad else "")


class TestMinimise:
    def small(self, run, **options):
        failing = report(7, "lost: slot 9", schedule=Schedule([*NOISE, CRASH, SLOW]))
        return minimise(failing, RunOptions(clients=16), run=run, **options)

    def test_only_what_is_needed_is_left_and_as_little_of_it_as_can_be(self):
        small = self.small(FakeRun())
        assert small.complete
        assert small.directives_before == 32
        assert [(each.verb, each.at_ms) for each in small.report.schedule] == [
            ("fault_add", 11_000),
            ("crash", 12_000),
        ]
        assert small.report.schedule.directives[0].args["ms"] == 100
        assert small.options.clients == 2
        assert small.options.duration_ms == 60_000 // 4  # an eighth would end before the crash
        assert small.options_before.duration_ms == 60_000
        assert small.report.violation == "lost: slot 3"

    def test_another_violation_is_not_what_was_asked_for(self):
        """The run that fails in another way counts as passing: nothing can be left out."""
        small = self.small(FakeRun("stale-read: key k"))
        assert len(small.report.schedule) == 32
        assert small.report.violation == "lost: slot 9"

    @pytest.mark.parametrize("runs_max", [1, 5, 20])
    def test_the_number_of_runs_is_bounded(self, runs_max):
        run = FakeRun()
        small = self.small(run, runs_max=runs_max)
        assert run.count <= runs_max
        assert not small.complete
        assert small.runs == run.count

    def test_each_run_is_announced(self):
        steps = []
        run = FakeRun()
        self.small(run, on_run=lambda: steps.append(1))
        assert len(steps) == run.count


class TestSimplerDirectives:
    def test_what_cannot_be_simpler_has_no_simpler_forms(self):
        assert list(simpler_directives(Directive(2000, "crash", "n1", {"power": True}))) == []

    def test_every_form_differs_and_is_reached_in_steps(self):
        start = Directive(12_345, "fault_add", "n1", {"probability": 0.3, "ms": 37})
        forms = list(simpler_directives(start))
        assert start not in forms
        assert forms[0].args["probability"] == 1.0
        assert [each.args["ms"] for each in forms[1:3]] == [3, 18]
        assert [each.at_ms for each in forms[3:]] == [12_000, 12_300, 12_340]
