"""What the log does outside the main thread: writing a group, making and dropping segment files.

Nothing here touches :class:`paxosd.storage.wal.Wal`. A :class:`SyncJob` runs in the sync thread,
one at a time; a :class:`SegmentPreparer` works in a helper thread of its own. They meet only in
``SegmentPreparer.take``, which waits for the helper.
"""

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from paxosd.core.types import Slot
from paxosd.host.descriptors import EXHAUSTED, words
from paxosd.storage.disk import Buffer, Disk, DiskFile, StorageError
from paxosd.storage.wal_format import SegmentHeader, is_spare, segment_name, spare_name
from paxosd.storage.wal_mark import TailMark

SEGMENT_BYTES_MIN = 4096
SEGMENT_BYTES_MAX = 1 << 30
SPARES_MAX = 2


def failure(what: str, problem: OSError, segment: str = "", offset: int = -1) -> StorageError:
    """An OSError in words: what failed, why, and what to do."""
    number = problem.errno or 0
    advice = (
        words(number)
        if number in EXHAUSTED
        else {
            errno.ENOSPC: (
                "the disk is full, or out of inodes: free some space or files, then start the node "
                "again"
            ),
            errno.EDQUOT: "the disk quota is used up: raise it, then start the node again",
            errno.EROFS: "the file system is read-only: check the kernel log, then the disk",
            errno.EACCES: "permission was denied: check the owner of the data directory",
        }.get(number, "check the kernel log and the disk before this node is started again")
    )
    return StorageError(
        f"could not {what}: {problem.strerror or problem} (errno {number}); {advice}",
        segment=segment,
        offset=offset,
        errno=number,
    )


class SegmentPreparer:
    """Makes segment files: from spare space if there is some, else new, zero-filled.

    The file gets its segment name only once its header is durable, so a segment with a bad
    header is never a crash's doing.
    """

    def __init__(self, disk: Disk, ahead: bool) -> None:
        self._disk = disk
        self._ahead = ahead
        self._thread: threading.Thread | None = None
        self.spares_lock = threading.Lock()
        """Held while spare files are chosen or made: one whose rename is not durable must not
        be used, for a crash would bring it back under its old name, with other contents."""
        self.whole: set[str] = set()
        """The spare files that were segments of this run. Of any other it is not known whether a
        sync of it failed: its pages count as clean then, though they are not durable, no later
        sync writes them, and a power cut would shorten the segment made of it."""
        self.ready: dict[int, DiskFile] = {}
        """Segments that exist and are still empty, by number."""

    def start(self, header: SegmentHeader) -> None:
        """Begin to make this segment in the helper thread, if it is not on its way."""
        if self._ahead and self._thread is None and header.number not in self.ready:
            name = f"wal-prepare-{header.number}"
            self._thread = threading.Thread(
                target=self._prepare_quietly, args=(header,), name=name, daemon=True
            )
            self._thread.start()

    def take(self, header: SegmentHeader) -> DiskFile:
        """The segment, made now if need be. Raises OSError."""
        self.wait()
        if header.number not in self.ready:
            self._prepare(header)
        return self.ready.pop(header.number)

    @property
    def busy(self) -> bool:
        """Whether the helper thread is at work."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Wait for the helper thread to end, if it runs."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _prepare_quietly(self, header: SegmentHeader) -> None:
        # Nothing is lost by a failure: the segment is not in use. It is made again from the
        # start when it is needed, and if that fails too, the job that needs it reports it.
        with suppress(OSError):
            self._prepare(header)

    def _prepare(self, header: SegmentHeader) -> None:
        with self.spares_lock:
            spares = sorted(name for name in self._disk.list() if is_spare(name))
            name = min(self.whole & set(spares), default="") or min(spares, default="")
            is_whole = name in self.whole
            self.whole.discard(name)
        name = name or spare_name(header.number)
        file = self._disk.open(name, create=True)
        try:
            if not is_whole:
                file.truncate(0)
            self._allocate(file, name, header.segment_bytes)
            file.pwritev([header.encode()], 0)
            file.fdatasync()
            self._disk.rename(name, header.name)
            self._disk.sync_dir()
        except BaseException:
            file.close()
            raise
        self.ready[header.number] = file

    def _allocate(self, file: DiskFile, name: str, segment_bytes: int) -> None:
        """On a full disk nothing is left of it: others need the little room that there is."""
        try:
            file.allocate(segment_bytes)
        except OSError:
            with suppress(OSError):
                self._disk.unlink(name)
            raise


class SegmentDropper:
    """Turns segments that are not needed into spare space, the lowest first: in a helper thread,
    or at once. A directory sync takes some ms, and a release may concern many segments."""

    def __init__(self, disk: Disk, preparer: SegmentPreparer, ahead: bool) -> None:
        """``preparer``: who uses the spare space."""
        self._disk = disk
        self._preparer = preparer
        self._ahead = ahead
        self._thread: threading.Thread | None = None
        self._dropped: list[int] = []
        self._problem: OSError | None = None

    @property
    def idle(self) -> bool:
        """Whether :meth:`start` may be called."""
        return self._thread is None

    def start(self, numbers: list[int]) -> None:
        """Begin with these. Their files must be closed."""
        if not self._ahead:
            self._drop(numbers)
            return
        self._thread = threading.Thread(
            target=self._drop, args=(numbers,), name="wal-drop", daemon=True
        )
        self._thread.start()

    def collect(self) -> list[int]:
        """The numbers that are gone since the last call. Raises OSError if it is not known what a
        crash would leave of them."""
        if self._thread is not None:
            if self._thread.is_alive():
                return []
            self._thread = None
        if self._problem is not None:
            raise self._problem
        dropped, self._dropped = self._dropped, []
        return dropped

    def wait(self) -> None:
        """Wait for the helper thread to end, if it runs."""
        if self._thread is not None:
            self._thread.join()

    def _drop(self, numbers: list[int]) -> None:
        for number in numbers:
            with self._preparer.spares_lock:
                try:
                    self._give_back(number)
                except OSError:
                    return  # nothing was changed: it is left for a later release
                try:
                    # One by one: a crash must not leave a gap in the sequence.
                    self._disk.sync_dir()
                except OSError as problem:
                    self._problem = problem
                    return
            self._dropped.append(number)

    def _give_back(self, number: int) -> None:
        name, spare = segment_name(number), spare_name(number)
        kept = sum(map(is_spare, self._disk.list())) < SPARES_MAX
        if not self._disk.exists(name):
            return  # somebody removed it: that is repaired with this
        if kept:
            self._disk.rename(name, spare)
            self._preparer.whole.add(spare)
        else:
            self._disk.unlink(name)


@dataclass(frozen=True, slots=True)
class WalOptions:
    """``segment_bytes``: size of a segment file, 4 KiB … 1 GiB. ``prepare_ahead``: make the next
    segment in a helper thread (the simulator turns this off and has it made when needed).
    ``random_bytes`` and ``clock_ns`` are injected for the same reason. ``dropper``: what turns old
    segments into spare space; a trace records when that is done, and a replay says so."""

    segment_bytes: int = 64 << 20
    prepare_ahead: bool = True
    random_bytes: Callable[[int], bytes] = os.urandom
    clock_ns: Callable[[], int] = time.perf_counter_ns
    dropper: Callable[[Disk, SegmentPreparer, bool], SegmentDropper] = SegmentDropper

    def __post_init__(self) -> None:
        if not SEGMENT_BYTES_MIN <= self.segment_bytes <= SEGMENT_BYTES_MAX:
            raise ValueError(
                f"segment_bytes is {self.segment_bytes}; "
                f"allowed are {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}"
            )


@dataclass(slots=True)
class SyncJob:
    """One group on its way to the disk. ``run`` may be called in another thread, once."""

    header: SegmentHeader
    preparer: SegmentPreparer
    file: DiskFile | None
    """None: the group begins a new segment, which ``run`` takes from the preparer."""
    buffers: list[Buffer]
    offset: int
    end: int
    records: int
    group: int
    top: Slot
    clock_ns: Callable[[], int]
    mark: TailMark
    duration_us: int = 0
    done: bool = False
    error: StorageError | None = None

    def run(self) -> None:
        """Make the group durable. Raises StorageError; the Wal is poisoned then."""
        started = self.clock_ns()
        what = "open the next log segment"
        try:
            if self.file is None:
                self.file = self.preparer.take(self.header)
            what = "write to "
            self.file.pwritev(self.buffers, self.offset)
            what = "sync "
            self.file.fdatasync()
        except OSError as problem:
            name = self.header.name
            if self.file is not None:
                what += name
            self.error = failure(what, problem, name, self.offset)
            raise self.error from problem
        # Before anybody can speak of the group: a process that dies has noted all that it said.
        self.mark.note(self.group, self.header, self.end)
        self.duration_us = (self.clock_ns() - started) // 1000
        self.done = True
