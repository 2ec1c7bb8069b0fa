"""Work on snapshot files outside the loop, one job at a time, in order.

A job holds all that it needs and touches nothing else. Unlike a group commit of the log, a job
may fail and the node goes on: ``error`` says so.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from paxosd.core.state.snapshot_head import SnapshotError
from paxosd.core.types import Slot
from paxosd.snapshot.file import SYNC_BYTES, SnapshotReader, SnapshotWriter, snapshot_name
from paxosd.storage.disk import Disk, DiskFile

FETCHED = "snap-fetched.part"
"""The file that a peer's snapshot is gathered in."""


@dataclass(slots=True)
class Job:
    """``work`` is done by ``run``, once, in any thread. ``error``: what it failed with; it may
    raise OSError, and SnapshotError for what it read."""

    work: Callable[[], Any]
    result: Any = None
    error: OSError | SnapshotError | None = field(default=None, init=False)

    def run(self) -> None:
        """Do it. Never raises an Exception that a disk or a file can cause."""
        try:
            self.result = self.work()
        except (OSError, SnapshotError) as problem:
            self.error = problem


class Helper(Protocol):
    """Runs jobs beside the loop, one at a time; :class:`paxosd.daemon.worker.Syncer` has it."""

    def start(self, job: Job) -> None: ...

    def finished(self) -> list[Job]:
        """The jobs done since the last call."""
        ...


class Jobs:
    """The main thread's queue of jobs. Each is followed by ``done(job)`` in :meth:`turn`."""

    def __init__(self, helper: Helper) -> None:
        self._helper = helper
        self._waiting: deque[tuple[Job, Callable[[Job], None]]] = deque()
        self._current: Callable[[Job], None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a job waits or is under way."""
        return self._current is not None

    def run(self, work: Callable[[], Any], done: Callable[[Job], None]) -> None:
        """Have ``work()`` done once all before it is."""
        self._waiting.append((Job(work), done))
        self._next()

    def turn(self) -> None:
        """Take back what is done."""
        for job in self._helper.finished():
            assert self._current is not None
            done, self._current = self._current, None
            done(job)
            self._next()

    def _next(self) -> None:
        if self._current is None and self._waiting:
            job, self._current = self._waiting.popleft()
            self._helper.start(job)


def no_matter(job: Job) -> None:
    """For a job whose end needs no reaction."""


def finish(writer: SnapshotWriter, total: str, disk: Disk, surplus: Sequence[Slot]) -> Any:
    """Make a written snapshot durable, then remove those of ``surplus``. Returns its info."""
    info = writer.finish(total)
    remove(disk, surplus)
    return info


def remove(disk: Disk, slots: Sequence[Slot]) -> None:
    """Remove the snapshots of these slots. That this is durable does not matter."""
    for slot in slots:
        if disk.exists(snapshot_name(slot)):
            disk.unlink(snapshot_name(slot))


def read_piece(disk: Disk, slot: Slot, offset: int, count: int) -> bytes:
    """Some bytes of a snapshot's file."""
    file = disk.open(snapshot_name(slot))
    try:
        return file.pread(count, offset)
    finally:
        file.close()


class FetchedFile:
    """The file that a peer's snapshot is gathered in. Its methods are jobs."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._file: DiskFile | None = None
        self._reader: SnapshotReader | None = None
        self._unsynced_bytes = 0

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        """Write pieces one after the other from ``offset`` on."""
        if self._file is None:
            if self._disk.exists(FETCHED):
                self._disk.unlink(FETCHED)
            self._file = self._disk.open(FETCHED, create=True)
        self._file.pwritev(pieces, offset)
        self._unsynced_bytes += sum(map(len, pieces))
        if self._unsynced_bytes >= SYNC_BYTES:
            self._file.fdatasync()
            self._unsynced_bytes = 0

    def read_head(self, cluster: str) -> SnapshotReader:
        """All is there: begin to read it. Raises SnapshotError."""
        assert self._file is not None
        self._reader = SnapshotReader(self._file, cluster)
        return self._reader

    def read_blocks(self, bytes_max: int) -> list[tuple[int, bytes]]:
        """The next blocks, of about ``bytes_max`` together; none at the end."""
        assert self._reader is not None
        blocks: list[tuple[int, bytes]] = []
        size = 0
        while size < bytes_max:
            block = self._reader.read()
            if block is None:
                break
            blocks.append(block)
            size += len(block[1])
        return blocks

    def keep(self, slot: Slot) -> None:
        """Make it durable as the snapshot of ``slot``."""
        assert self._file is not None
        self._file.fdatasync()
        self._file.close()
        self._disk.rename(FETCHED, snapshot_name(slot))
        self._disk.sync_dir()

    def drop(self) -> None:
        """Remove it."""
        if self._file is not None:
            self._file.close()
        with suppress(OSError):
            if self._disk.exists(FETCHED):
                self._disk.unlink(FETCHED)
