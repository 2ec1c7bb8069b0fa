"""The write-ahead log: the acceptor's and the log's durable memory. Format: ``wal_format.py``.

The main thread owns all state. One group commit goes

    append(records) …           encode into the open group; no I/O
    job = begin_sync()          the open group becomes a job; a new group may be opened meanwhile
    job.run()                   in the sync thread: pwritev, fdatasync (and a new segment)
    finish_sync(job)            only from now on may messages rely on what the group records
    tick(now_ms)                now and then: the note of what was synced (``wal_mark.py``)

Rules: at most one job is in flight, so a crash tears the last group only. A group of commit
records alone is not worth a sync: commit records wait and ride on the next group, or on
``begin_sync(flush=True)``. A group lies in one segment; the last one may run over the
segment's size. After any failure the log is *poisoned*: every later call raises StorageError;
nothing is ever retried, for a failed fsync may have thrown the data away.

The next segment is made ready in a helper thread as soon as the current one is half full
(``WalOptions.prepare_ahead``), so that rolling over usually waits for nothing. That
thread and ``SyncJob.run`` touch nothing of :class:`Wal`.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from paxosd.core.effects import AcceptRecord, CommitRecord, DecisionRecord, Record
from paxosd.core.types import Ballot, Mark, NodeId, Slot
from paxosd.storage.disk import Disk, DiskFile, StorageError
from paxosd.storage.sync_times import SyncTimes
from paxosd.storage.wal_format import (
    ACCEPT,
    DECISION,
    END_BYTES,
    HEADER_BYTES,
    NONCE_BYTES,
    RECORD_OVERHEAD_BYTES,
    GroupBuilder,
    Release,
    SegmentHeader,
    segment_name,
)
from paxosd.storage.wal_mark import TailMark
from paxosd.storage.wal_recovery import (
    OFFSET_BITS,
    OFFSET_MASK,
    Recovered,
    Scan,
)
from paxosd.storage.wal_segments import (
    SegmentPreparer,
    SyncJob,
    WalOptions,
    failure,
)
from paxosd.storage.wal_table import SegmentTable

__all__ = ["Recovered", "SyncJob", "Wal", "WalOptions"]

VALUE_BYTES_MAX = 1 << 30
_LATENCIES = 128


class Wal:
    """An open log; see the module."""

    def __init__(
        self,
        disk: Disk,
        options: WalOptions,
        preparer: SegmentPreparer,
        mark: TailMark,
        found: Scan,
    ) -> None:
        """Use :func:`paxosd.storage.wal_open.open_wal`. ``found``: the log as it is on the disk,
        repaired, with one segment at least. Its files are taken over."""
        self._disk = disk
        self._options = options
        self._preparer = preparer
        self._dropper = options.dropper(disk, preparer, options.prepare_ahead)
        self._mark = mark
        current = found.segments[found.current]
        self.segments = SegmentTable(disk, found.lowest_segment)
        self._header = current.header  # of the segment that the next record goes to
        self._ready_headers: dict[int, SegmentHeader] = {}
        """Of the segments that the run before had made ready and did not begin."""
        self._take_over(found)
        self._next_header = self._header_after(self._header)
        self._file: DiskFile | None = current.file
        """The segment of ``_header``; None from a roll until its first group is finished."""
        self._end = current.end  # behind the last record handed to a job or being built
        self.next_group = found.last_group + 1
        """The number of the group that what is appended now is in."""
        self.durable_group = found.last_group
        """The last group of which a job was finished, or that recovery made durable."""
        self.mark = found.last_group
        """The number of the last durable group that holds a promise, a vote or a decision: a peer
        that was sent this number knows how much of this log there must be for ever."""
        self._marks_open = self._marks_flying = False
        """Whether the open group, and the one in flight, hold such a record."""
        self._heard: dict[NodeId, Mark] = dict(found.heard)
        self._unwritten_heard: dict[NodeId, Mark] = {}
        self._open: GroupBuilder | None = None
        self._open_values: dict[Slot, AcceptRecord | DecisionRecord] = {}
        self._flying_values: dict[Slot, AcceptRecord | DecisionRecord] = {}
        self._job: SyncJob | None = None
        self._failed: StorageError | None = None
        self._closed = False
        self._index = found.index
        self._promised = found.promised
        self._commit = found.commit
        self._pending_commit: Slot = 0
        self._roll_asked = False
        self._release_asked = 0  # the group of a release whose segments are still there
        self._syncs = 0
        self._written_bytes = 0
        self._latencies_us: deque[int] = deque(maxlen=_LATENCIES)
        self.sync_times = SyncTimes()

    def _take_over(self, found: Scan) -> None:
        for position, segment in enumerate(found.segments):
            number = segment.header.number
            if position > found.current:
                self._preparer.ready[number] = segment.file
                self._ready_headers[number] = segment.header
                continue
            self.segments.add(segment.header, top=segment.top, end=segment.end)
            if position == found.current:
                self.segments.keep_open(number, segment.file)
                self.segments.written_from = number
            else:
                segment.file.close()

    # ---------------------------------------------------------------- writing

    def append(self, records: Sequence[Record]) -> None:
        """Add records to the open group, in order; no I/O. They count once a job that began
        after this call is finished. Raises StorageError if poisoned, ValueError for a value
        over 1 GiB or a slot far beyond all others."""
        self._check()
        for record in records:
            # A tuple: this is the hot path, and a union costs isinstance 0.1 us more.
            if isinstance(record, (AcceptRecord, DecisionRecord)):
                slot, ballot, value = record
                if len(value) > VALUE_BYTES_MAX:
                    raise ValueError(f"slot {slot}: a value of {len(value)} bytes is too long")
                group = self._open or self._start_group(len(value))
                if self._pending_commit:
                    self._ride(group)
                kind = ACCEPT if type(record) is AcceptRecord else DECISION
                location = self._header.number << OFFSET_BITS | group.offset
                self._index.set(slot, location)
                group.add_value(kind, slot, ballot, value)
                self._open_values[slot] = record
                self._marks_open = True
                if kind == ACCEPT and ballot > self._promised:
                    self._promised = ballot
            elif isinstance(record, CommitRecord):
                self._pending_commit = max(self._pending_commit, record.slot)
            else:
                group = self._open or self._start_group(0)
                if self._pending_commit:
                    self._ride(group)
                group.add_promise(record.ballot)
                self._marks_open = True
                self._promised = max(self._promised, record.ballot)

    @property
    def waiting_bytes(self) -> int:
        """What waits for the next job, while one is in flight."""
        return 0 if self._open is None else self._open.offset - self._open.start

    def note_heard(self, marks: Mapping[NodeId, Mark]) -> bool:
        """The log marks of peers, to be written down: they ride on the next group, or on a flush.
        Returns whether any waits for that."""
        for name, mark in marks.items():
            if self._heard.get(name) != mark:
                self._heard[name] = self._unwritten_heard[name] = mark
        return bool(self._unwritten_heard)

    def begin_sync(self, flush: bool = False) -> SyncJob | None:
        """Turn the open group into a job. None if a job is in flight, or nothing is open, or,
        unless ``flush`` is set, only commit records wait."""
        self._check()
        if self._job is not None:
            return None
        if self._open is None and flush and (self._pending_commit or self._unwritten_heard):
            self._start_group(0)
        group = self._open
        if group is None:
            return None
        if self._pending_commit:
            self._ride(group)
        if self._unwritten_heard:
            for name, mark in self._unwritten_heard.items():
                group.add_heard(name, mark)
            self._unwritten_heard.clear()
        group.finish()
        if group.offset > OFFSET_MASK:
            self._failed = StorageError(
                f"a group of {group.offset - group.start} bytes does not fit into a segment: "
                "lower protocol.window_bytes_max or batch_bytes_max"
            )
            raise self._failed
        self._open = None
        self._marks_flying, self._marks_open = self._marks_open, False
        self._flying_values, self._open_values = self._open_values, {}
        self._end = group.offset
        self.next_group = group.group + 1
        self._job = SyncJob(
            header=group.header,
            preparer=self._preparer,
            file=self._file,
            buffers=group.buffers,
            offset=group.start,
            end=group.offset,
            records=group.count - 1,
            group=group.group,
            top=group.top,
            clock_ns=self._options.clock_ns,
            mark=self._mark,
        )
        return self._job

    def finish_sync(self, job: SyncJob) -> None:
        """Take a job back that ran. Raises StorageError if it failed."""
        self._check()
        assert job is self._job
        assert job.done, "finish_sync before run ended"
        self._job = None
        self._flying_values = {}
        self.durable_group = job.group
        number, segments = job.header.number, self.segments
        segments.written_from = self._header.number
        if not segments.is_open(number) and job.file is not None:
            segments.keep_open(number, job.file)
            if number == self._header.number:
                self._file = job.file
        segments.extend(number, job.top, job.end)
        if self._marks_flying:
            self.mark = job.group
        self._syncs += 1
        self._written_bytes += job.end - job.offset
        self._latencies_us.append(job.duration_us)
        self.sync_times.note(job.duration_us)
        if self._release_asked and self.next_group > self._release_asked:
            self._drop_segments()
        self.collect_dropped()
        # With a roll waiting (no file yet) the segment to make next is the rolling job's.
        if self._file is not None and job.end > job.header.segment_bytes // 2:
            self._preparer.start(self._next_header)

    def begin(self) -> None:
        """Write the first group. A log that was begun always holds one: an empty one is lost."""
        self._start_group(0)
        self.sync()

    def sync(self) -> None:
        """Make everything appended so far durable, in this thread; commit records too."""
        self._check()
        assert self._job is None, "sync while a job is in flight"
        job = self.begin_sync(flush=True)
        if job is not None:
            job.run()
            self.finish_sync(job)

    def tick(self, now_ms: float) -> None:
        """Once a turn. Nothing waits for this, and nothing fails by it."""
        self._mark.tick(now_ms)

    def _start_group(self, first_value_bytes: int) -> GroupBuilder:
        """Open a group; in a new segment if the current one has no room for it."""
        needed = first_value_bytes + RECORD_OVERHEAD_BYTES + 2 * END_BYTES + 256
        start = self._end
        full = start + needed > self._header.segment_bytes or self._roll_asked
        if full and start > HEADER_BYTES:
            self._roll_asked = False
            self._header = self._next_header
            self._next_header = self._header_after(self._header)
            self.segments.add(self._header)
            if self._job is None:
                self.segments.written_from = self._header.number
            self._file = None
            start = HEADER_BYTES
        group = GroupBuilder(self._header, self.next_group, start)
        if start == HEADER_BYTES:
            group.add_state(self._promised, self._release_now())
            self._unwritten_heard |= self._heard
        self._open = group
        return group

    def _ride(self, group: GroupBuilder) -> None:
        group.add_commit(self._pending_commit)
        self._commit = max(self._commit, self._pending_commit)
        self._pending_commit = 0

    def _header_after(self, header: SegmentHeader) -> SegmentHeader:
        prepared = self._ready_headers.get(header.number + 1)
        if prepared is not None:
            return prepared
        nonce = self._options.random_bytes(NONCE_BYTES)
        size = self._options.segment_bytes
        return SegmentHeader(header.number + 1, nonce, size, header.cluster_id, header.node_id)

    # ---------------------------------------------------------------- reading

    @property
    def first_slot(self) -> Slot:
        """The lowest slot that is not released."""
        return self._index.first

    @property
    def commit(self) -> Slot:
        """The highest commit index appended, durable or not."""
        return max(self._commit, self._pending_commit)

    @property
    def last_slot(self) -> Slot:
        """The highest slot appended; ``first_slot - 1`` if there is none."""
        return self._index.last

    def read(self, slot: Slot) -> tuple[Ballot, bytes]:
        """The newest record of a slot that was appended, durable or not.

        Raises KeyError if the slot has none, CorruptionError if the disk's copy is damaged,
        StorageError if it can't be read or the log is poisoned.
        """
        self._check()
        waiting = self._open_values.get(slot) or self._flying_values.get(slot)
        if waiting is not None:
            return waiting.ballot, waiting.value
        location = self._index.get(slot)
        if not location:
            raise KeyError(slot)
        try:
            return self.segments.read(slot, location)
        except OSError as problem:
            name = segment_name(location >> OFFSET_BITS)
            offset = location & OFFSET_MASK
            self._failed = failure(f"read slot {slot} from {name}", problem, name, offset)
            raise self._failed from problem

    # ---------------------------------------------------------------- releasing

    def release(self, first_slot: Slot) -> None:
        """Slots below ``first_slot`` (at most commit + 1) are in a durable snapshot: they are
        not needed here any more. Their segments become spare space once that is durable, after
        a later ``finish_sync``. Raises ValueError for any other slot."""
        self._check()
        if not self._index.first <= first_slot <= self.commit + 1:
            allowed = f"{self._index.first} to {self.commit + 1}"
            raise ValueError(f"release({first_slot}): {allowed} allowed")
        self._release(first_slot)

    def install(self, slot: Slot) -> None:
        """A durable snapshot, made elsewhere, holds every slot up to ``slot``, which is above
        the commit index: what the log has of them (it may not have all, nor the chosen ones)
        is not needed, and the log goes on from there. Durable at the next group."""
        self._check()
        if slot <= self.commit:
            raise ValueError(f"install({slot}): slot {self.commit} is committed")
        self._release(slot + 1, slot)

    def _release(self, first_slot: Slot, commit: Slot = 0) -> None:
        group = self._open or self._start_group(0)
        if self._pending_commit:
            self._ride(group)
        # Not before: a COMMIT vouches for this log's own records, and it may lack the chosen ones.
        self._commit = max(self._commit, commit)
        self._index.release(first_slot)
        self.segments.release(first_slot)
        group.add_release(self._release_now())
        self._release_asked = group.group

    def _release_now(self) -> Release:
        return Release(self._index.first, self._commit, self.segments.lowest)

    def bytes_after(self, slot: Slot) -> int:
        """About how many bytes of log follow the newest record of ``slot``; of the whole log if
        it has none."""
        location = self._index.get(slot)
        number, offset = location >> OFFSET_BITS, location & OFFSET_MASK
        if not location:
            number, offset = self.segments.oldest, HEADER_BYTES
        between = (self._header.number - number) * self._header.segment_bytes
        return max(0, between + self._end - offset)

    def _drop_segments(self) -> None:
        """Have the segments that are not needed turned into spare space, the lowest first."""
        if not self._dropper.idle:
            return  # at a later sync then
        self._release_asked = 0
        numbers = self.segments.take_released()
        if numbers:
            self._dropper.start(numbers)

    def collect_dropped(self) -> None:
        """Forget the segments that have become spare space meanwhile. Raises StorageError."""
        try:
            self.segments.forget(self._dropper.collect())
        except OSError as problem:
            self._failed = failure("give log segments back", problem)
            raise self._failed from problem

    def seal(self, number: int) -> None:
        """Have nothing written to this segment behind the group that is open now, and what comes
        next to a new one."""
        self._check()
        if self._header.number == number:
            self._roll_asked = True
            if self._open is None:
                self._start_group(0)

    # ---------------------------------------------------------------- the rest

    @property
    def segment_bytes(self) -> int:
        """The size of the segments that are made now."""
        return self._options.segment_bytes

    def free_bytes(self) -> int:
        """The space left on the disk, in bytes; -1 if that is not known."""
        try:
            return self._disk.free_bytes()
        except OSError:
            return -1

    def free_files(self) -> int:
        """How many more files the disk takes; -1 if that is not limited, or not known."""
        try:
            return self._disk.free_files()
        except OSError:
            return -1

    def stats(self) -> dict[str, Any]:
        """Plain numbers for status and metrics; works on a poisoned log too.

        ``segments``; ``bytes`` (size of all segments in use); ``written_bytes`` and ``syncs``
        since the start; ``sync_us_last`` and ``sync_us_median`` (of the last 128 syncs);
        ``sync_us_counts`` (see :class:`~paxosd.storage.sync_times.SyncTimes`); ``first_slot``;
        ``last_slot``; ``free_bytes``, ``free_files`` (-1: not known); ``poisoned``.
        """
        latencies = self._latencies_us
        return {
            "segments": len(self.segments),
            "bytes": self.segments.total_bytes,
            "written_bytes": self._written_bytes,
            "syncs": self._syncs,
            "sync_us_last": latencies[-1] if latencies else 0,
            "sync_us_median": int(median(latencies)) if latencies else 0,
            "sync_us_counts": self.sync_times.counts(),
            "first_slot": self.first_slot,
            "last_slot": self.last_slot,
            "free_bytes": self.free_bytes(),
            "free_files": self.free_files(),
            "poisoned": self._failed is not None,
        }

    def close(self) -> None:
        """Close all files, without a sync of the log (call ``sync`` first); a second call does
        nothing. A job in flight must have ended."""
        if self._closed:
            return
        self._closed = True
        self._preparer.wait()
        self._dropper.wait()
        self._mark.close()
        files = {id(f): f for f in (*self.segments.files(), *self._preparer.ready.values())}
        if self._file is not None:
            files[id(self._file)] = self._file
        if self._job is not None and self._job.file is not None:
            files[id(self._job.file)] = self._job.file
        for file in files.values():
            file.close()

    def _check(self) -> None:
        failed = self._failed or (self._job.error if self._job is not None else None)
        if failed is not None:
            self._failed = failed
            raise StorageError(
                f"the log was given up after an earlier failure: {failed}",
                segment=failed.segment,
                offset=failed.offset,
                errno=failed.errno,
            )
        if self._closed:
            raise StorageError("the log is closed")
