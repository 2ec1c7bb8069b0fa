"""How long something took, over and over: counts in buckets whose bounds are powers of two.

The number of a duration's bucket is how many bits its microseconds have. So noting one is two
additions, on the hot path as well. Who reads the counts twice knows the percentiles of the time
between, to within the width of a bucket.
"""

BUCKETS = 64


class Histogram:
    """Durations in whole microseconds. ``counts[n]``: how many took from 2^(n-1) µs on, and less
    than 2^n µs; ``counts[0]``: how many took none. One thread notes; any thread may copy."""

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.sum_us = 0

    def note(self, duration_us: int) -> None:
        """One more took so long; negative counts as none, for a clock may be adjusted."""
        duration_us = max(0, duration_us)
        self.counts[duration_us.bit_length()] += 1
        self.sum_us += duration_us

    def copy(self) -> "Histogram":
        """As it is now, for another thread."""
        found = Histogram()
        found.counts, found.sum_us = self.counts[:], self.sum_us
        return found

    @property
    def total(self) -> int:
        """How many were noted."""
        return sum(self.counts)
