"""The buckets in which the durations of group commits are counted."""

import pytest

from paxosd.storage.sync_times import SyncTimes


def bucket_of(duration_us):
    times = SyncTimes()
    times.note(duration_us)
    ((below_us, count),) = times.counts().items()
    assert count == 1
    return int(below_us)


@pytest.mark.parametrize("duration_us", [*range(300), 4095, 4096, 123_456, 60_000_000, 1 << 45])
def test_a_bucket_ends_little_above_what_is_in_it(duration_us):
    below_us = bucket_of(duration_us)
    assert duration_us < below_us
    assert below_us <= max(duration_us + 1, duration_us * 9 / 8 + 1)


def test_buckets_do_not_overlap():
    bounds = [bucket_of(duration_us) for duration_us in range(5000)]
    assert bounds == sorted(bounds)
    assert all(bucket_of(below_us - 1) == below_us for below_us in set(bounds))


def test_counts_add_up_and_ascend():
    times = SyncTimes()
    for duration_us in (900, 5, 901, 70_000):
        times.note(duration_us)
    assert list(times.counts().items()) == [("6", 1), ("960", 2), ("73728", 1)]
