"""Latencies in a HdrHistogram: from one microsecond to an hour, to three digits.

The library counts; the mean and the standard deviation are summed up beside it, exactly, for it
computes them from its buckets, in a third of a second.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LOWEST_US = 1
HIGHEST_US = 3_600_000_000
DIGITS = 3


@dataclass(frozen=True, slots=True)
class PackedLatencies:
    """Latencies on their way to another process. ``histogram``: in the format V2 of HdrHistogram,
    compressed and in base64, which its tools read."""

    histogram: bytes
    count: int
    total_us: float
    squares: float
    max_us: int


class Latencies:
    """How long commands took."""

    __slots__ = ("_histogram", "_squares", "_total_us", "count", "max_us")

    def __init__(self) -> None:
        self._histogram = _new_histogram()
        self.count = 0
        self.max_us = 0
        self._total_us = 0.0
        self._squares = 0.0

    def record(self, latency_ns: int, count: int) -> None:
        """``count`` commands took so long."""
        latency_us = min(max(latency_ns // 1000, LOWEST_US), HIGHEST_US)
        self._histogram.record_value(latency_us, count)
        self.count += count
        self._total_us += latency_us * count
        self._squares += latency_us * latency_us * count
        self.max_us = max(self.max_us, latency_us)

    def add(self, other: PackedLatencies) -> None:
        """Record what somebody else recorded."""
        self._histogram.decode_and_add(other.histogram)
        self.count += other.count
        self._total_us += other.total_us
        self._squares += other.squares
        self.max_us = max(self.max_us, other.max_us)

    def pack(self) -> PackedLatencies:
        """As :meth:`add` takes it."""
        return PackedLatencies(
            self._histogram.encode(), self.count, self._total_us, self._squares, self.max_us
        )

    def quantiles_ms(self, shares: Iterable[float]) -> list[float]:
        """For each share of the commands: within how many milliseconds they ended; 0 if there are
        none. That of 1 is exact."""
        wanted = list(shares)
        if not self.count:
            return [0.0] * len(wanted)
        found = self._histogram.get_percentile_to_value_dict([100 * share for share in wanted])
        return [
            (self.max_us if share >= 1 else min(found[100 * share], self.max_us)) / 1000
            for share in wanted
        ]

    def quantile_ms(self, share: float) -> float:
        """The same for one share."""
        return self.quantiles_ms([share])[0]

    @property
    def mean_ms(self) -> float:
        """The arithmetic mean; 0 if there are none."""
        return self._total_us / self.count / 1000 if self.count else 0.0

    @property
    def deviation_ms(self) -> float:
        """The standard deviation; 0 if there are none."""
        if not self.count:
            return 0.0
        mean = self._total_us / self.count
        return math.sqrt(max(0.0, self._squares / self.count - mean * mean)) / 1000


def _new_histogram() -> Any:
    from hdrh.histogram import HdrHistogram  # noqa: PLC0415 -- needed by a load alone

    return HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
