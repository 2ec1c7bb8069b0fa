"""Percentiles of durations that were counted in buckets, and of what was counted between two looks
at the same counts."""

import re
from collections.abc import Mapping

Counts = Mapping[str, int]
"""The upper bound of a bucket in microseconds, exclusive, as text → how many."""
_NUMBER = re.compile("[0-9]{1,18}")


def percentile_us(counts: Counts, share: float) -> float:
    """The upper bound, in microseconds, of the bucket that holds the given share, 0 to 1, of all;
    0 if there is none. A bound that is no number is left out: counts come from other machines."""
    known = {bound: count for bound, count in counts.items() if _NUMBER.fullmatch(bound)}
    buckets = sorted((int(bound), count) for bound, count in known.items())
    left = share * sum(count for _, count in buckets)
    for bound_us, count in buckets:
        left -= count
        if left <= 0 and count > 0:
            return float(bound_us)
    return 0.0


def between(before: Counts, after: Counts) -> dict[str, int]:
    """What was counted between two looks; ``after`` itself if it is of another process, whose
    counts began anew."""
    more = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    if any(count < 0 for count in more.values()) or before.keys() - after.keys():
        return dict(after)
    return {bound: count for bound, count in more.items() if count}
