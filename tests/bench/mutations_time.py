"""Safeguards of log time and of the feature level: which clock counts, and who was asked. And
rules of timing, without which a cluster does nothing for longer than it must."""

from paxosd.core.client.scout import Scout
from paxosd.core.level_raise import LevelRaise
from paxosd.core.resend_timer import ResendTimer
from paxosd.core.state.log_clock import LogClock
from tests.bench.mutation import instead, nothing, row


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
        instead(LogClock, "_count", _count_across_reigns), profiles="old-batches", seed=1,
        in_suite=True),
    row("level-unasked", "the feature level is raised only once every member understands it",
        instead(LevelRaise, "lagging", lambda self: []), profiles="upgrades", seed=1,
        in_suite=True),
    row("no-scout", "a client asks a second endpoint while its target is silent",
        instead(Scout, "tick", nothing), profiles="gap-stop", seed=1, in_suite=True),
    row("resend-after-setting", "an accept is sent again by the measured time of a vote",
        instead(ResendTimer, "patience_ms", lambda self, sendings: self._retransmit_ms),
        profiles="gap-loss", seed=2),
)  # fmt: skip
