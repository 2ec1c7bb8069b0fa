"""Logs what an operator should know about the disk: slow, nearly full, a new segment.

Nothing is decided here. A failed write or fsync ends the daemon elsewhere.
"""

from collections import deque
from collections.abc import Callable
from statistics import median

from paxosd.host.log import Log
from paxosd.storage.wal import SyncJob, Wal

SLOW_MS = 250.0
"""A group commit that took so long is worth a warning: it is a large part of an election
time-out."""
SLOW_MEDIAN_MS = 50.0
"""So is a median of the last ones from here on …"""
SLOWER_THAN_OTHERS_MS = 20.0
SLOWER_THAN_OTHERS_TIMES = 5.0
"""… or, on a leader, one that is so long and so many times that of the others: soon the leader
hands over for that (``core/handover.py``)."""
SLOW_INTERVAL_MS = 10_000.0
LOOK_INTERVAL_MS = 10_000.0
HEALTH_INTERVAL_MS = 1000.0
LATENCIES = 33
LOW_SEGMENTS = 4
"""Warn while fewer further segments than this fit the disk."""
LOW_FILES = 32
"""Or fewer files: a disk without inodes takes no segment either, however much space it has."""


class StorageWatch:
    """Observes one log. ``debug``: whether every group commit is logged; it may be changed."""

    def __init__(self, wal: Wal, log: Log, *, debug: bool) -> None:
        self._wal = wal
        self._log = log
        self.debug = debug
        self._segment = ""
        self._slow = 0
        self._slow_max_ms = 0.0
        self._slow_due_ms = 0.0
        self._median_due_ms = 0.0
        """By itself: one commit that hung says nothing of a disk that is slow all the time, which a
        leader says before it hands over for it."""
        self._look_due_ms = 0.0
        self._latencies_us: deque[int] = deque(maxlen=LATENCIES)
        self._fresh = False
        """Whether there was a group commit since the median was taken."""
        self._health_due_ms = 0.0
        self.sync_us = 0
        """What a group commit takes: the median of the last few, 0 if there was none."""
        self.low = False
        """Whether the disk is nearly full."""

    def on_sync(self, job: SyncJob, now_ms: float) -> None:
        """A group commit was finished."""
        self._latencies_us.append(job.duration_us)
        self._fresh = True
        dur_ms = job.duration_us / 1000
        if self.debug:
            self._log.debug("fsync", dur_ms=dur_ms, bytes=job.end - job.offset)
        if dur_ms >= SLOW_MS:
            self._note_slow(dur_ms, now_ms)
        if job.header.name != self._segment:
            self._segment = job.header.name
            self._log.info("storage.segment", segment=self._segment, offset=job.offset)

    def _note_slow(self, dur_ms: float, now_ms: float) -> None:
        self._slow += 1
        self._slow_max_ms = max(self._slow_max_ms, dur_ms)
        if now_ms >= self._slow_due_ms:
            self._slow_due_ms = now_ms + SLOW_INTERVAL_MS
            self._log.warning("storage.slow", dur_ms=round(self._slow_max_ms, 1), count=self._slow)
            self._slow, self._slow_max_ms = 0, 0.0

    def _look_at_speed(self, now_ms: float, elsewhere_us: float) -> None:
        slow_ms = SLOW_MEDIAN_MS
        if elsewhere_us:
            times_ms = SLOWER_THAN_OTHERS_TIMES * elsewhere_us / 1000
            slow_ms = min(slow_ms, max(SLOWER_THAN_OTHERS_MS, times_ms))
        if self.sync_us < slow_ms * 1000 or now_ms < self._median_due_ms:
            return
        self._median_due_ms = now_ms + SLOW_INTERVAL_MS
        elsewhere = {"elsewhere_ms": round(elsewhere_us / 1000, 1)} if elsewhere_us else {}
        self._log.warning(
            "storage.slow",
            median_ms=round(self.sync_us / 1000, 1),
            **elsewhere,
            dur_ms=round(max(self._latencies_us) / 1000, 1),
            count=len(self._latencies_us),
        )

    def look(self, now_ms: float, elsewhere_us: Callable[[], float] = lambda: 0.0) -> None:
        """Look at the disk's speed and room now and then; log a lack of room once, and a slow disk
        repeatedly. ``elsewhere_us``: of a leader, the median of its voters' group
        commits, 0 if that is not known."""
        if now_ms >= self._health_due_ms and self._fresh:
            self._fresh = False
            self._health_due_ms = now_ms + HEALTH_INTERVAL_MS
            self.sync_us = int(median(self._latencies_us))
            self._look_at_speed(now_ms, elsewhere_us())
        if now_ms < self._look_due_ms:
            return
        self._look_due_ms = now_ms + LOOK_INTERVAL_MS
        free_bytes, free_files = self._wal.free_bytes(), self._wal.free_files()
        few_bytes = 0 <= free_bytes < LOW_SEGMENTS * self._wal.segment_bytes
        few_files = 0 <= free_files < LOW_FILES
        low = few_bytes or few_files
        if low and not self.low:
            advice = "free some space" if few_bytes else "remove some files: the inodes run out"
            self._log.warning(
                "storage.low_space",
                free_bytes=free_bytes,
                free_files=free_files,
                advice=f"{advice}; a node that cannot write its log stops",
            )
        self.low = low
