"""Safeguards of log time and of the feature level: which clock counts, and who was asked."""

from paxosd.core.level_raise import LevelRaise
from paxosd.core.state.log_clock import LogClock
from tests.bench.mutation import instead, row


def _advance_by_wall_clock(self, batch, level):
    self.now_ms = max(self.now_ms, batch.stamp_ms)


def _count_across_reigns(self, reign):
    self.now_ms += max(0, reign.elapsed_ms - self.reign.elapsed_ms)
    self.reign = reign


TIME = (
    row("log-time-wall-clock", "log time is a stopwatch, and no wall clock decides it",
        instead(LogClock, "advance", _advance_by_wall_clock), profiles="wrong-clocks", seed=1,
        in_suite=True),
    row("log-time-across-reigns", "what passed is counted within one reign alone",
        instead(LogClock, "_count", _count_across_reigns), profiles="old-batches", seed=10,
        in_suite=True),
    row("level-unasked", "the feature level is raised only once every member understands it",
        instead(LevelRaise, "lagging", lambda self: []), profiles="upgrades", seed=2,
        in_suite=True),
)  # fmt: skip
