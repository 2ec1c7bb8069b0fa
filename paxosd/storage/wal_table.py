"""The segment files of an open log: which there are, what they hold, and reading records from them.

A segment is *needed* from :attr:`SegmentTable.lowest` on; those below it are released and become
spare space. It is *sealed* once nothing is written to it any more.
"""

from collections.abc import Iterable

from paxosd.core.types import Ballot, Slot
from paxosd.host.descriptors import EXHAUSTED
from paxosd.storage.disk import CorruptionError, Disk, DiskFile
from paxosd.storage.wal_check import SealedSegment
from paxosd.storage.wal_format import (
    ACCEPT,
    DECISION,
    HEADER_BYTES,
    RECORD_OVERHEAD_BYTES,
    SegmentHeader,
    check_record,
    decode_value,
    record_bytes,
    segment_name,
)
from paxosd.storage.wal_recovery import OFFSET_BITS, OFFSET_MASK

_READ_BYTES = 4096  # a first read that holds most records whole
_READERS_MAX = 64  # open files kept for reading old slots


class SegmentTable:
    """Used by the main thread alone."""

    def __init__(self, disk: Disk, lowest: int) -> None:
        """``lowest``: the number of the first segment that is needed."""
        self._disk = disk
        self.lowest = lowest
        """Segments below this one are not needed."""
        self.written_from = lowest
        """The segment of the group in flight, or else of the next group: from this one on
        segments are still written to."""
        self._headers: dict[int, SegmentHeader] = {}
        self._tops: dict[int, Slot] = {}
        """The highest slot with a record in each segment; 0 if it has none."""
        self._ends: dict[int, int] = {}
        """The offset behind the last finished group of each segment."""
        self._readers: dict[int, DiskFile] = {}

    def __len__(self) -> int:
        return len(self._tops)

    def add(self, header: SegmentHeader, *, top: Slot = 0, end: int = HEADER_BYTES) -> None:
        """A segment that records are in, or that the next group goes to."""
        number = header.number
        self._headers[number], self._tops[number], self._ends[number] = header, top, end

    def keep_open(self, number: int, file: DiskFile) -> None:
        """``file`` is this segment, and may be used for reading from it."""
        self._readers.setdefault(number, file)

    def is_open(self, number: int) -> bool:
        """Whether a file is at hand for this segment."""
        return number in self._readers

    def extend(self, number: int, top: Slot, end: int) -> None:
        """A group of this segment is durable: it ends at ``end``, ``top`` is its highest slot."""
        self._tops[number] = max(self._tops.get(number, 0), top)
        self._ends[number] = end

    def forget(self, numbers: Iterable[int]) -> None:
        """These have become spare space."""
        for number in numbers:
            del self._tops[number], self._ends[number], self._headers[number]

    # ---------------------------------------------------------------- what there is

    @property
    def total_bytes(self) -> int:
        """The size of all segments that are there, in bytes."""
        return sum(self._headers[number].segment_bytes for number in self._tops)

    @property
    def oldest(self) -> int:
        """The first segment that is there and needed."""
        return max(min(self._tops), self.lowest)

    @property
    def sealed(self) -> list[SealedSegment]:
        """The segments that are needed, and that nothing is written to any more."""
        return [
            SealedSegment(self._headers[number], self._ends[number])
            for number in sorted(self._tops)
            if self.is_needed(number) and self.is_sealed(number)
        ]

    def is_sealed(self, number: int) -> bool:
        """Whether nothing is written to this segment any more."""
        return number < self.written_from

    def is_needed(self, number: int) -> bool:
        """Whether this segment is not released."""
        return number >= self.lowest

    def holds(self, number: int) -> bool:
        """Whether this segment is still there, needed or not."""
        return number in self._tops

    def top_through(self, number: int) -> Slot:
        """The highest slot with a record in this segment or in one before it, all of them sealed:
        once this slot is released, so are they."""
        return max((top for each, top in self._tops.items() if each <= number), default=0)

    # ---------------------------------------------------------------- releasing

    def release(self, first_slot: Slot) -> None:
        """Slots below ``first_slot`` are not needed. A segment is needed if it has a slot that is,
        or is still being written."""
        while self.lowest < self.written_from and self._tops.get(self.lowest, 0) < first_slot:
            self.lowest += 1

    def take_released(self) -> list[int]:
        """The segments that are there and not needed, in order, with their files closed."""
        numbers = sorted(number for number in self._tops if not self.is_needed(number))
        for number in numbers:
            reader = self._readers.pop(number, None)
            if reader is not None:
                reader.close()
        return numbers

    # ---------------------------------------------------------------- reading

    def read(self, slot: Slot, location: int) -> tuple[Ballot, bytes]:
        """The record of ``slot`` at ``location`` (``segment << 32 | offset``). Raises OSError, and
        CorruptionError if there is no good record of this slot."""
        number, offset = location >> OFFSET_BITS, location & OFFSET_MASK
        header = self._headers[number]
        file = self._reader(number)
        data = file.pread(_READ_BYTES, offset)
        if len(data) >= RECORD_OVERHEAD_BYTES:
            total = record_bytes(data)  # as a damaged record may claim, too
            if len(data) < total and offset + total <= file.size():
                data += file.pread(total - len(data), offset + len(data))
        view = memoryview(data)
        record = check_record(view, 0, header)
        if record is not None and record.kind in (ACCEPT, DECISION):
            found, ballot, value = decode_value(view, record)
            if found == slot:
                return ballot, bytes(value)
        raise CorruptionError(
            f"log corruption in {header.name} at offset {offset}: the record of slot {slot} was "
            "good when it was written and is not now: check the disk of this node",
            segment=header.name,
            offset=offset,
        )

    def _reader(self, number: int) -> DiskFile:
        file = self._readers.get(number)
        if file is None:
            if len(self._readers) >= _READERS_MAX:
                self._readers.pop(next(filter(self.is_sealed, self._readers))).close()
            try:
                file = self._disk.open(segment_name(number))
            except OSError as problem:
                if problem.errno not in EXHAUSTED:
                    raise
                self._close_sealed()
                file = self._disk.open(segment_name(number))
            self._readers[number] = file
        return file

    def _close_sealed(self) -> None:
        """No descriptor is left: give back those of old segments."""
        for number in list(filter(self.is_sealed, self._readers)):
            self._readers.pop(number).close()

    def files(self) -> list[DiskFile]:
        """Every file that is open."""
        return list(self._readers.values())
