"""What the log tells of the disk: once, in numbers, and again only when it is news."""

from types import SimpleNamespace

from paxosd.storage_watch import (
    LOOK_INTERVAL_MS,
    LOW_SEGMENTS,
    SLOW_INTERVAL_MS,
    SLOW_MS,
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
    wal = SimpleNamespace(free_bytes=lambda: wal.free, segment_bytes=1000, free=free_bytes)
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
