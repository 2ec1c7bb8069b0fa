"""No answer is older than it says: the checker, its clients, and that they would see it."""

import pytest

from paxosd.check.ages import StatedAge, check_ages
from paxosd.check.history import GET, PUT, History
from paxosd.core.node import Node
from paxosd.sim.campaign.options import RunOptions
from paxosd.sim.campaign.run import SimRun, run_seed
from paxosd.sim.world.clock import SimClock


class Now:
    now_ms = 0.0


def history_of(*ends):
    """Writes acknowledged at (ms, revision)."""
    now = Now()
    history = History(lambda: int(now.now_ms * 1000))
    for at_ms, revision in ends:
        now.now_ms = at_ms - 1.0
        operation = history.invoke("c1", PUT, b"k", value=b"v%d" % revision)
        now.now_ms = at_ms
        history.ok(operation, revision=revision)
    return history


def stated(at_ms, age_ms, revision):
    return StatedAge("n1", at_ms, age_ms, at_ms - age_ms, revision)


class TestCheck:
    HISTORY = history_of((10.0, 1), (20.0, 2), (30.0, 3))

    @pytest.mark.parametrize(
        ("at_ms", "age_ms", "revision"),
        [(25.0, 0, 2), (25.0, 6, 1), (25.0, 16, 0), (1000.0, 0, 3), (40.0, 11, 2), (5.0, 0, 0)],
    )
    def test_what_is_true(self, at_ms, age_ms, revision):
        assert check_ages(self.HISTORY, [stated(at_ms, age_ms, revision)]).ok

    @pytest.mark.parametrize(
        ("at_ms", "age_ms", "revision"),
        [(25.0, 0, 1), (25.0, 4, 1), (25.0, 14, 0), (1000.0, 900, 2)],
    )
    def test_what_is_not(self, at_ms, age_ms, revision):
        true = stated(1000.0, 0, 3)
        verdict = check_ages(self.HISTORY, [true, stated(at_ms, age_ms, revision)])
        assert not verdict.ok
        assert f"revision {revision} is {age_ms} ms old" in verdict.explanation

    def test_unknown_is_always_true(self):
        assert check_ages(self.HISTORY, [stated(1000.0, -1, 0)]).ok

    def test_what_a_linearizable_read_saw_counts_too(self):
        history = history_of((10.0, 1))
        read = history.invoke("c1", GET, b"k")
        history.ok(read, b"v", revision=7)
        assert not check_ages(history, [stated(1000.0, 1, 6)]).ok

    def test_a_write_without_an_answer_does_not(self):
        history = history_of((10.0, 1))
        history.unknown(history.invoke("c1", PUT, b"k", value=b"w"))
        assert check_ages(history, [stated(1000.0, 1, 1)]).ok


class TestClock:
    def test_when_it_showed_what(self):
        world = Now()
        clock = SimClock(world, base_ms=1000.0)
        shown = {}
        for at_ms, ppm in ((0, 300_000), (100, -300_000), (250, 0), (400, 50_000)):
            world.now_ms = float(at_ms)
            clock.drift(ppm)
            for step_ms in (0, 20, 90):
                world.now_ms = float(at_ms + step_ms)
                shown[world.now_ms] = clock.monotonic_ms()
        world.now_ms = 1000.0
        for true_ms, shown_ms in shown.items():
            assert clock.true_ms(shown_ms) == pytest.approx(true_ms)


SMALL = RunOptions(duration_ms=10_000, operations=150, clients=4, keys=3)


class TestRuns:
    def test_a_run_asks_for_ages_and_most_are_known(self):
        run = SimRun(2, SMALL, None, None)
        report = run.report()
        assert report.ok, report.violation
        got = [each for reader in run.readers for each in reader.stated]
        assert len(got) > 20
        assert sum(each.age_ms >= 0 for each in got) > len(got) / 2
        assert {each.node for each in got} == {"n1", "n2", "n3"}

    def test_an_untrue_age_ends_the_run(self, monkeypatch):
        monkeypatch.setattr(Node, "age_ms", lambda self, now_ms=None: 0)
        for seed in range(1, 20):
            report = run_seed(seed, SMALL)
            if not report.ok:
                break
        print(f"{seed=}")
        assert "ms old, but revision" in report.violation
