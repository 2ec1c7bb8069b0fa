"""What the log reports about the disk: once, in numbers, and again only when it is news."""

from types import SimpleNamespace

import pytest

from paxosd.core.handover import SLOW_TIMES, SLOW_US_MIN
from paxosd.storage.health import (
    LOOK_INTERVAL_MS,
    LOW_FILES,
    LOW_SEGMENTS,
    SLOW_INTERVAL_MS,
    SLOW_MS,
    SLOWER_THAN_OTHERS_MS,
    SLOWER_THAN_OTHERS_TIMES,
    StorageWatch,
)


class Lines(list):
    def __getattr__(self, level):
        return lambda event, **fields: self.append((level, event, fields))


def job(ms, segment="wal-00000001.log"):
    header = SimpleNamespace(name=segment)
    return SimpleNamespace(duration_us=int(ms * 1000), offset=512, end=1000, header=header)


def watch(free_bytes=1 << 40, *, debug=False):
    lines = Lines()
    wal = SimpleNamespace(
        free_bytes=lambda: wal.free,
        free_files=lambda: wal.files,
        segment_bytes=1000,
        free=free_bytes,
        files=-1,
    )
    return StorageWatch(wal, lines, debug=debug), lines, wal


def events(lines):
    return [event for _, event, _ in lines]


class TestSyncs:
    def test_every_one_is_told_at_debug_and_none_else(self):
        quiet, lines, _ = watch()
        quiet.on_sync(job(1), 0.0)
        assert events(lines) == ["storage.segment"]
        loud, lines, _ = watch(debug=True)
        loud.on_sync(job(1), 0.0)
        assert lines[0] == ("debug", "fsync", {"dur_ms": 1.0, "bytes": 488})

    def test_a_segment_is_told_when_it_comes_into_use(self):
        observer, lines, _ = watch()
        for name in ("a", "a", "b", "b"):
            observer.on_sync(job(1, name), 0.0)
        assert [f["segment"] for _, _, f in lines] == ["a", "b"]

    def test_slow_ones_are_warned_of_once_an_interval_with_their_count(self):
        observer, lines, _ = watch()
        observer.on_sync(job(SLOW_MS), 1.0)
        observer.on_sync(job(SLOW_MS * 3), 2.0)
        observer.on_sync(job(SLOW_MS - 1), 3.0)
        observer.on_sync(job(SLOW_MS * 2), 2.0 + SLOW_INTERVAL_MS)
        slow = [(level, f) for level, e, f in lines if e == "storage.slow"]
        assert slow == [
            ("warning", {"dur_ms": SLOW_MS, "count": 1}),
            ("warning", {"dur_ms": SLOW_MS * 3, "count": 2}),
        ]


class TestMedian:
    """A disk that is slow all the time, though no single commit is out of the ordinary."""

    def slow(self, lines):
        return [fields for _, event, fields in lines if event == "storage.slow"]

    def test_it_is_warned_of_with_figures_once_an_interval(self):
        observer, lines, _ = watch()
        for turn in range(30):
            observer.on_sync(job(100 + turn), turn * 1000.0)
            observer.look(turn * 1000.0)
        told = self.slow(lines)
        assert told[0] == {"median_ms": 100.0, "dur_ms": 100.0, "count": 1}
        assert len(told) == 3
        assert told[1] == {"median_ms": 105.0, "dur_ms": 110.0, "count": 11}

    def test_it_is_warned_of_also_soon_after_a_commit_that_hung(self):
        observer, lines, _ = watch()
        observer.on_sync(job(SLOW_MS), 0.0)
        observer.look(0.0)
        assert ["median_ms" in fields for fields in self.slow(lines)] == [False, True]

    def test_a_leader_compares_itself_with_the_others(self):
        observer, lines, _ = watch()
        observer.on_sync(job(SLOWER_THAN_OTHERS_MS), 0.0)
        observer.look(0.0, lambda: 1_000)
        assert self.slow(lines) == [
            {"median_ms": 20.0, "elsewhere_ms": 1.0, "dur_ms": 20.0, "count": 1}
        ]

    @pytest.mark.parametrize(
        ("here_ms", "elsewhere_us"), [(19.9, 1_000), (40, 9_000), (49.9, 0), (10, 0)]
    )
    def test_what_is_not_slow_is_not_told(self, here_ms, elsewhere_us):
        observer, lines, _ = watch()
        observer.on_sync(job(here_ms), 0.0)
        observer.look(0.0, lambda: elsewhere_us)
        assert not self.slow(lines)

    def test_an_idle_node_does_not_go_on_about_it(self):
        observer, lines, _ = watch()
        observer.on_sync(job(100), 0.0)
        for turn in range(30):
            observer.look(turn * 1000.0)
        assert len(self.slow(lines)) == 1

    def test_a_leader_says_so_before_it_hands_over_for_it(self):
        assert SLOWER_THAN_OTHERS_MS * 1000 == SLOW_US_MIN
        assert SLOWER_THAN_OTHERS_TIMES == SLOW_TIMES


class TestSpace:
    def test_a_nearly_full_disk_is_told_once_until_there_is_room_again(self):
        observer, lines, wal = watch(1000 * LOW_SEGMENTS - 1)
        for turn in range(5):
            observer.look(turn * LOOK_INTERVAL_MS)
        assert events(lines) == ["storage.low_space"]
        wal.free = 1 << 40
        observer.look(6 * LOOK_INTERVAL_MS)
        wal.free = 0
        observer.look(7 * LOOK_INTERVAL_MS)
        assert events(lines) == ["storage.low_space"] * 2

    def test_an_unknown_amount_is_no_low_one(self):
        observer, lines, _ = watch(-1)
        observer.look(0.0)
        assert lines == []

    def test_a_disk_that_runs_out_of_inodes_is_as_full(self):
        observer, lines, wal = watch()
        wal.files = LOW_FILES
        observer.look(0.0)
        assert not observer.low
        wal.files -= 1
        observer.look(LOOK_INTERVAL_MS)
        assert observer.low
        ((_, event, fields),) = lines
        assert (event, fields["free_files"]) == ("storage.low_space", LOW_FILES - 1)
        assert "inodes" in fields["advice"]
