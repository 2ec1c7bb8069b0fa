"""Reads a segment that nothing is written to any more again, piece by piece: is it as it was?

Recovery (``wal_recovery.py``) takes a log in and judges what a crash did; this is for a log that
is open, whose every group is known to be whole and durable. So nothing is excused here: from the
header to the end of the last group there is one good record behind the other.

An object is used by one thread at a time: a job of the helper, then the main thread.
"""

from typing import NamedTuple

from paxosd.storage.disk import Disk, DiskFile
from paxosd.storage.wal_format import (
    HEADER_BYTES,
    RECORD_OVERHEAD_BYTES,
    FormatError,
    SegmentHeader,
    check_record,
    decode_header,
    record_bytes,
)


class SealedSegment(NamedTuple):
    """A segment that is not written to any more; its last group ends at ``end``."""

    header: SegmentHeader
    end: int


class SegmentCheck:
    """One reading of one segment. ``bad_at``: the offset of the first bad record; -1: none."""

    def __init__(self, segment: SealedSegment) -> None:
        self.header = segment.header
        self.name = segment.header.name
        self.done = False
        self.bad_at = -1
        self._end = segment.end
        self._offset = 0

    def step(self, disk: Disk, count: int) -> int:
        """Check about ``count`` bytes more; how many were read. Raises OSError, FileNotFoundError
        if the segment was given back meanwhile."""
        file = disk.open(self.name)
        try:
            return self._check(file, count) if self._offset else self._check_header(file)
        finally:
            file.close()

    def _check_header(self, file: DiskFile) -> int:
        self._offset = HEADER_BYTES
        try:
            sound = decode_header(_read(file, HEADER_BYTES, 0)) == self.header
        except FormatError:
            sound = False
        if not sound:
            self._fail(0)
        return HEADER_BYTES

    def _check(self, file: DiskFile, count: int) -> int:
        start = self._offset
        data = memoryview(_read(file, min(count, self._end - start), start))
        at = 0
        while start + at < self._end:
            record = check_record(data, at, self.header)
            if record is not None:
                at = record.end
                continue
            claimed = _claimed_bytes(data[at:])
            if claimed <= len(data) - at or start + at + claimed > self._end:
                self._fail(start + at)
                break
            if at:
                break  # only its beginning was read: the next piece begins with it
            more = memoryview(_read(file, claimed, start))
            if len(more) <= len(data):
                self._fail(start)  # the file ends here
                break
            data = more
        self._offset = start + at
        self.done = self.done or self._offset >= self._end
        return len(data)

    def _fail(self, offset: int) -> None:
        self.bad_at = offset
        self.done = True


def _claimed_bytes(data: memoryview) -> int:
    """The length of the record that begins here, as it says; at least that of its head."""
    if len(data) < RECORD_OVERHEAD_BYTES:
        return RECORD_OVERHEAD_BYTES
    return record_bytes(data[:RECORD_OVERHEAD_BYTES].tobytes())


def _read(file: DiskFile, count: int, offset: int) -> bytes:
    file.drop_cache(count, offset)
    return file.pread(count, offset)
