"""How long the group commits of a log took, since the start: counts in buckets.

Eight buckets for each power of two, so that a bucket is at most an eighth wider than the one
before. Who reads the counts twice knows the percentiles of the time between.
"""

from paxosd.host.histogram import Histogram

STEP_BITS = 3


class SyncTimes:
    """Counts of durations in microseconds. Noting one costs an addition in a dictionary."""

    __slots__ = ("_counts", "total_us")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        """Upper bound of a bucket, exclusive → how many."""
        self.total_us = 0
        """All of them together."""

    def note(self, duration_us: int) -> None:
        """One more took so long."""
        self.total_us += duration_us
        shift = max(0, duration_us.bit_length() - STEP_BITS - 1)
        below_us = ((duration_us >> shift) + 1) << shift
        self._counts[below_us] = self._counts.get(below_us, 0) + 1

    def counts(self) -> dict[str, int]:
        """By the upper bound of the bucket in microseconds, exclusive, as text: the keys of a table
        are text on the wire. Ascending."""
        return {str(below_us): self._counts[below_us] for below_us in sorted(self._counts)}

    def histogram(self) -> Histogram:
        """The same in buckets that are powers of two wide; each of these is made of whole ones."""
        found = Histogram()
        found.sum_us = self.total_us
        for below_us, count in self._counts.items():
            found.counts[(below_us - 1).bit_length()] += count
        return found
