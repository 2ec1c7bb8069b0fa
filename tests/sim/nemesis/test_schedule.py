"""Schedules in files, and what the nemesis draws."""

import random

import pytest

from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import run_seed
from paxosd.sim.nemesis.kinds import BY_REQUEST, KINDS
from paxosd.sim.nemesis.nemesis import draw_schedule
from paxosd.sim.nemesis.schedule import VERBS, Directive, Schedule, ScheduleError

NAMES = ["n1", "n2", "n3"]


def drawn(seed, kinds=None, names=NAMES):
    return draw_schedule(random.Random(seed), names, 60_000, kinds)


class TestFiles:
    @pytest.mark.parametrize("seed", range(5))
    def test_what_is_written_is_read(self, seed):
        schedule = drawn(seed)
        assert Schedule.from_json(schedule.to_json()).to_json() == schedule.to_json()
        assert Schedule.from_toml(schedule.to_toml()).to_json() == schedule.to_json()

    def test_directives_stand_in_order_of_time(self):
        late, early = Directive(5, "heal"), Directive(1, "crash", "n1", {"power": True})
        assert Schedule([late, early]).directives == (early, late)
        assert str(early) == "1 ms: crash n1 power=True"

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{", "no JSON"),
            ("{}", "a list of directives"),
            ("[3]", "directive 1 is no table"),
            ('[{"at_ms": 1, "verb": "explode"}]', 'unknown verb "explode"'),
            ('[{"at_ms": -1, "verb": "heal"}]', "at_ms"),
            ('[{"at_ms": 1, "verb": "heal", "nod": "n1"}]', 'unknown key "nod"'),
            ('[{"at_ms": 1, "verb": "heal", "args": 3}]', "args is a table"),
        ],
    )
    def test_what_is_no_schedule(self, text, words):
        with pytest.raises(ScheduleError, match=words):
            Schedule.from_json(text)

    def test_a_toml_file_with_something_else(self):
        with pytest.raises(ScheduleError, match="not TOML"):
            Schedule.from_toml("[[")
        with pytest.raises(ScheduleError, match='unknown key "x"'):
            Schedule.from_toml("x = 1")


class TestNemesis:
    def test_the_same_seed_draws_the_same(self):
        assert drawn(3) == drawn(3)
        assert drawn(3) != drawn(4)

    def test_no_kinds_no_faults(self):
        assert len(drawn(1, [])) == 0

    def test_only_known_verbs_in_time_and_never_what_was_not_asked_for(self):
        verbs = set()
        for seed in range(200):
            schedule = drawn(seed)
            assert all(0 <= each.at_ms < 60_000 for each in schedule)
            verbs |= {each.verb for each in schedule}
        assert verbs < VERBS
        assert "rollback" not in verbs

    def test_runs_differ_in_the_kinds_that_they_have(self):
        def kinds(schedule):
            return {each.args["kind"] for each in schedule if each.verb == "fault_add"}

        found = [kinds(drawn(seed)) for seed in range(100)]
        assert set.union(*found) >= {"partition", "isolate", "bridge", "flap", "drop", "delay",
                                     "disk-slow", "disk-full", "fsync-error", "torn-write",
                                     "bit-rot", "clock-skew"}  # fmt: skip
        assert sum(len(each) <= 3 for each in found) > 30

    @pytest.mark.parametrize("nodes", [1, 2, 5])
    def test_other_sizes(self, nodes):
        names = [f"n{i}" for i in range(1, nodes + 1)]
        for seed in range(40):
            schedule = drawn(seed, KINDS, names)
            assert Schedule.from_toml(schedule.to_toml()).to_json() == schedule.to_json()

    def test_logs_are_damaged_on_a_minority_alone(self):
        for seed in range(40):
            schedule = drawn(seed, ["bit-rot", "log-loss"])
            damaged = {each.node for each in schedule if each.verb in ("fault_add", "wipe")}
            assert len(damaged) <= 1
            assert all(each.args["log_only"] for each in schedule if each.verb == "wipe")

    @pytest.mark.drawn(2)
    @pytest.mark.parametrize("kind", sorted(set(KINDS) - BY_REQUEST))
    def test_each_kind_by_itself_strikes_and_is_survived(self, kind):
        struck = {"crash-many": "crash", "ring": "partition"}.get(kind, kind)
        options = RunOptions(faults=frozenset([kind]), duration_ms=12_000, operations=150)
        for seed in range(5, 12):
            report = run_seed(seed, options)
            assert report.ok, report.violation
            assert report.acknowledged > report.operations * 0.6
            if report.faults.get(struck):
                return
        raise AssertionError("it never struck")
