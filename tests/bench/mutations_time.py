"""Safeguards of log time and of the feature level: which clock counts, and who was asked."""

from paxosd.core.level_raise import LevelRaise
from paxosd.core.state.log_clock import LogClock
from tests.bench.mutation import Patches, mutation


@mutation("log-time-wall-clock", "log time is a stopwatch, and no wall clock decides it",
          "LogClock.advance", profiles=("wrong-clocks",))  # fmt: skip
def _wall_clock(p: Patches) -> None:
    def make(_):
        def advance(self, batch, level):
            self.now_ms = max(self.now_ms, batch.stamp_ms)

        return advance

    p.replace(LogClock, "advance", make)


@mutation("log-time-across-reigns", "what passed is counted within one reign alone",
          "LogClock._count", profiles=("old-batches",))  # fmt: skip
def _across_reigns(p: Patches) -> None:
    def make(_):
        def count(self, reign):
            self.now_ms += max(0, reign.elapsed_ms - self.reign.elapsed_ms)
            self.reign = reign

        return count

    p.replace(LogClock, "_count", make)


@mutation("level-unasked", "the feature level is raised only once every member understands it",
          "LevelRaise.lagging", profiles=("upgrades",))  # fmt: skip
def _level_unasked(p: Patches) -> None:
    p.replace(LevelRaise, "lagging", lambda _: lambda self: [])
