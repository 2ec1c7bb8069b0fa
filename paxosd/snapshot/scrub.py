"""Reads log and snapshots again, slowly, to find damage before the data is needed.

    pass:   every kept snapshot, every segment that is not written to any more
    piece:  some records or blocks, beside the loop; then a pause that keeps the rate

Damage is repaired while the memory is whole (``repair.py``). If it were found at the next start, it
would cost this node its vote for a while; and the cluster its life, if a majority had damage then.
The first pass comes one interval after the start, which has read the log itself.
"""

from collections import deque

from paxosd.core.state.snapshot_head import SnapshotError
from paxosd.core.status import ScrubStatus
from paxosd.core.types import Slot
from paxosd.snapshot.file import SnapshotInfo, SnapshotReader, snapshot_name
from paxosd.snapshot.jobs import Job, no_matter
from paxosd.snapshot.keeper import Snapshots
from paxosd.snapshot.repair import LogRepair
from paxosd.storage.disk import Disk, DiskFile
from paxosd.storage.wal_check import SegmentCheck

PIECE_BYTES = 64 << 10
"""Some hundred small records: half a millisecond of the interpreter's time."""
FOUND = "storage.scrub_found"


class SnapshotCheck:
    """One reading of one snapshot. Used by one thread at a time."""

    def __init__(self, info: SnapshotInfo, cluster: str) -> None:
        self.slot: Slot = info.slot
        self.done = False
        self._info = info
        self._cluster = cluster
        self._file: DiskFile | None = None
        self._reader: SnapshotReader | None = None

    def step(self, disk: Disk, count: int) -> int:
        """Check about ``count`` bytes more; how many were read. Raises SnapshotError, OSError."""
        if self._reader is None:
            self._file = disk.open(snapshot_name(self.slot))
            self._file.drop_cache(self._file.size(), 0)
            self._reader = SnapshotReader(self._file, self._cluster)
        read = 0
        while read < count:
            block = self._reader.read()
            if block is None:
                break
            read += len(block[1])
        info = self._reader.info
        if info is not None:
            self.done = True
            if self._info.digest not in (b"", info.digest):
                raise SnapshotError("it is not the one that was written")
        return read

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()


class Scrub:
    """Reads everything again, in passes. Call :meth:`turn` once a turn."""

    def __init__(self, snapshots: Snapshots, repair: LogRepair) -> None:
        self._options = snapshots.options
        self._snapshots = snapshots
        self._repair = repair
        self._todo: deque[SegmentCheck | SnapshotCheck] = deque()
        self._running = False
        self._reading = False
        self._due_ms = 0.0
        """When the next piece is due, or the next pass; 0: not known yet."""
        self._now_ms = 0.0
        self._ended_ms = -1.0
        self._bytes = 0

    def status(self) -> ScrubStatus:
        """How far it is, and what was found."""
        ago_ms = int(self._now_ms - self._ended_ms) if self._ended_ms >= 0 else -1
        return ScrubStatus(
            last_ms_ago=ago_ms,
            bytes=self._bytes,
            found=self._repair.found,
            repaired=self._repair.repaired,
            running=self._running,
        )

    def next_due_ms(self) -> float:
        """When :meth:`turn` has something to do."""
        if not self._options.scrub_bytes_per_s or self._reading:
            return float("inf")
        return self._due_ms

    def turn(self, now_ms: float) -> None:
        """Have the next piece read, if it is time."""
        self._now_ms = now_ms
        if not self._options.scrub_bytes_per_s or self._reading:
            return
        if not self._due_ms:
            self._due_ms = now_ms + self._options.scrub_interval_ms
        if now_ms < self._due_ms:
            return
        if not self._running:
            self._begin()
        if not self._todo:
            self._end()
            return
        self._due_ms = now_ms  # what the loop was late by is not made up for
        self._read(self._todo[0])

    def _begin(self) -> None:
        self._running = True
        cluster = self._options.cluster
        self._todo.extend(SnapshotCheck(info, cluster) for info in self._snapshots.kept)
        self._todo.extend(SegmentCheck(segment) for segment in self._snapshots.wal.segments.sealed)

    def _end(self) -> None:
        self._running = False
        self._ended_ms = self._now_ms
        self._due_ms = self._now_ms + self._options.scrub_interval_ms

    def _read(self, check: SegmentCheck | SnapshotCheck) -> None:
        self._reading = True
        disk = self._snapshots.disk
        self._snapshots.jobs.run(
            lambda: check.step(disk, PIECE_BYTES), lambda job: self._on_read(check, job)
        )

    def _on_read(self, check: SegmentCheck | SnapshotCheck, job: Job) -> None:
        self._reading = False
        read: int = job.result or 0
        self._bytes += read
        self._due_ms += read * 1000 / self._options.scrub_bytes_per_s
        if job.error is None and not check.done:
            return
        self._todo.popleft()
        if isinstance(check, SnapshotCheck):
            self._snapshots.jobs.run(check.close, no_matter)
            if job.error is not None:
                self._repair.bad_snapshot(check.slot, FOUND, str(job.error))
        elif job.error is not None:
            self._repair.bad_segment(check.header.number, -1, FOUND, str(job.error))
        elif check.bad_at >= 0:
            words = "a record was good when it was written and is not now"
            self._repair.bad_segment(check.header.number, check.bad_at, FOUND, words)
