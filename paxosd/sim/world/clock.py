"""One process's clocks: a steady one that may run fast or slow, and a wall clock that may be
wrong and may jump."""

import random
from typing import Protocol

EPOCH_MS = 1_700_000_000_000
"""The wall clock's time at the beginning of every world."""


class Time(Protocol):
    """What of a world is needed."""

    now_ms: float


class SimClock:
    """``drift_ppm``: how much faster than true time both clocks run; ``skew_ms``: how much the
    wall clock is ahead, besides."""

    __slots__ = ("_base_ms", "_past", "_rate", "_since_ms", "_world", "skew_ms")

    def __init__(self, world: Time, *, base_ms: float = 0.0, skew_ms: float = 0.0) -> None:
        """``base_ms``: what the steady clock shows now: processes don't agree on it."""
        self._world = world
        self._base_ms = base_ms
        self._since_ms = world.now_ms
        self._rate = 1.0
        self._past: list[tuple[float, float, float]] = []
        """Of each rate before this one: what both clocks showed when it began, and the rate."""
        self.skew_ms = skew_ms

    @property
    def drift_ppm(self) -> float:
        return (self._rate - 1.0) * 1e6

    def drift(self, ppm: float) -> None:
        """From now on both clocks run so much faster, without a jump now."""
        self._past.append((self._base_ms, self._since_ms, self._rate))
        passed_ms = (self._world.now_ms - self._since_ms) * self._rate
        self._base_ms += passed_ms
        self.skew_ms += passed_ms - (self._world.now_ms - self._since_ms)
        self._since_ms = self._world.now_ms
        self._rate = 1.0 + ppm / 1e6

    def monotonic_ms(self) -> float:
        """The steady clock."""
        return self._base_ms + (self._world.now_ms - self._since_ms) * self._rate

    def true_ms(self, shown_ms: float) -> float:
        """The true time at which the steady clock showed ``shown_ms``."""
        base_ms, since_ms, rate = self._base_ms, self._since_ms, self._rate
        for past in reversed(self._past):
            if shown_ms >= base_ms:
                break
            base_ms, since_ms, rate = past
        return since_ms + (shown_ms - base_ms) / rate

    def wall_ms(self) -> int:
        """The wall clock, in whole ms since 1970."""
        now_ms = self._world.now_ms
        drifted_ms = (now_ms - self._since_ms) * (self._rate - 1.0)
        return int(EPOCH_MS + now_ms + drifted_ms + self.skew_ms)

    def until_ms(self, due_ms: float) -> float:
        """How much true time is left until the steady clock shows ``due_ms``."""
        return (due_ms - self.monotonic_ms()) / self._rate


def draw_clock(world: Time, rng: random.Random, drift_ppm: float) -> SimClock:
    """A clock at a rate of its own, at most ``drift_ppm`` too fast or too slow."""
    clock = SimClock(world, base_ms=rng.uniform(0, 1e7))
    clock.drift(rng.uniform(-1.0, 1.0) * drift_ppm)
    return clock
