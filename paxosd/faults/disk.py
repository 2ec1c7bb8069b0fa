"""A disk that fails on purpose, as the fault plan says, around any other disk.

    disk-slow    fdatasync begins later
    disk-full    pwritev and allocate fail: ENOSPC
    home-full    the same in the data directory itself, beside the log
    fsync-error  fdatasync fails, and is not done: EIO
    torn-write   a part of the group is written, then the process dies
    bit-rot      one bit of what is stored flips without a notice; a checksum finds it

Rot strikes what is durable and followed by a later durable write, so that it is always *found*
as corruption: damage in a log's very last group can pass for a torn write. ``tail-mark`` is spared
by rot and by torn writes: a bad one counts as absent. The directory
itself (``home``) is spared by rot: nothing there is read again before the next start.

While no rule concerns the disk, each operation costs one look at ``plan.disk_active`` more.
Safe in several threads, as the disks below are.
"""

import os
from collections.abc import Callable, Sequence
from typing import NoReturn

from paxosd.faults.plan import ALLOCATE, HOME_SYNC, HOME_WRITE, IDLE, SYNC, WRITE, FaultPlan
from paxosd.storage import wal_mark
from paxosd.storage.disk import Buffer, Disk, DiskFile, Names

_CHUNK_BYTES = 1 << 20


class FaultyDisk:
    """A :class:`Disk` around ``inner``; a :class:`FaultPlan` decides what fails."""

    def __init__(
        self,
        inner: Disk,
        plan: FaultPlan,
        *,
        now_ms: Callable[[], float],
        sleep_ms: Callable[[float], object],
        crash: Callable[[], object],
        home: bool = False,
    ) -> None:
        """``now_ms``: the clock that the plan is used with. ``sleep_ms`` makes an operation
        slow. ``crash`` ends the process then and there, and does not return (it may raise what
        nobody here catches). ``home``: it is the data directory itself, not the log's."""
        self.plan = plan
        self._writes, self._syncs = (HOME_WRITE, HOME_SYNC) if home else (WRITE, SYNC)
        self._allocates = HOME_WRITE if home else ALLOCATE
        self._inner = inner
        self._now_ms = now_ms
        self._sleep_ms = sleep_ms
        self._crash = crash
        self._files: dict[str, FaultyFile] = {}
        """The last handle of each name: where bits may rot."""

    def list(self) -> Names:
        return self._inner.list()

    def open(self, name: str, create: bool = False) -> "FaultyFile":
        write = self._writes
        if name == wal_mark.NAME:
            write = ALLOCATE  # a full disk, but nothing torn
        file = FaultyFile(self, self._inner.open(name, create), self._files.get(name), write)
        self._files[name] = file
        return file

    def rename(self, old: str, new: str) -> None:
        self._inner.rename(old, new)
        if old in self._files:
            self._files[new] = self._files.pop(old)

    def link(self, old: str, new: str) -> None:
        self._inner.link(old, new)

    def unlink(self, name: str) -> None:
        self._inner.unlink(name)
        self._files.pop(name, None)

    def sync_dir(self) -> None:
        self._inner.sync_dir()

    def exists(self, name: str) -> bool:
        return self._inner.exists(name)

    def free_bytes(self) -> int:
        return self._inner.free_bytes()

    def free_files(self) -> int:
        return self._inner.free_files()

    def tick(self) -> None:
        """Call it now and then: a bit rots also while nothing is written. Raises OSError."""
        if self.plan.disk_active:
            self._before(IDLE)

    def _before(self, operation: str) -> float:
        """Apply the rules to an operation that begins now. Returns the share of it that is written
        before the process dies, negative if it lives on. Raises OSError."""
        verdict = self.plan.on_disk(operation, self._now_ms())
        if verdict.rot >= 0.0:
            self._rot(verdict.rot)
        if verdict.delay_ms:
            self._sleep_ms(verdict.delay_ms)
        if verdict.errno:
            raise OSError(verdict.errno, f"{os.strerror(verdict.errno)} (a fault on purpose)")
        return verdict.tear

    def _rot(self, where: float) -> None:
        """Flip the bit that stands at this share of all that is stored."""
        names = sorted(name for name in self._files if name != wal_mark.NAME)
        places = [(name, n) for name in names if (n := self._stored_bytes(name))]
        bit = int(where * 8 * sum([n for _, n in places]))
        for name, stored_bytes in places:
            if bit < 8 * stored_bytes:
                file = self._inner.open(name)
                try:
                    offset = bit // 8
                    (byte,) = file.pread(1, offset)
                    file.pwritev([bytes([byte ^ 1 << bit % 8])], offset)
                finally:
                    file.close()
                return
            bit -= 8 * stored_bytes

    def _stored_bytes(self, name: str) -> int:
        file = self._files.get(name)
        return 0 if file is None else file.stored_bytes(lambda: self._inner.open(name))


class FaultyFile:
    """A :class:`DiskFile` of a :class:`FaultyDisk`."""

    __slots__ = ("_disk", "_inner", "_last_write", "_stored_bytes", "_write")

    def __init__(
        self, disk: FaultyDisk, inner: DiskFile, before: "FaultyFile | None", write: str = WRITE
    ) -> None:
        """``before``: an earlier handle of the same file, which knows more about it. ``write``: as
        what the plan sees a write to it."""
        self._write = write
        self._disk = disk
        self._inner = inner
        self._last_write: int = before._last_write if before is not None else -1
        """Where the last write began; -1: nothing was written in this run."""
        self._stored_bytes: int = before._stored_bytes if before is not None else -1
        """What is durable, with a durable write behind it; -1: all that the file holds."""

    def stored_bytes(self, reopen: Callable[[], DiskFile]) -> int:
        """How much of the file's beginning may rot."""
        if self._stored_bytes < 0:
            file = reopen()  # this handle may be closed
            try:
                self._stored_bytes = _filled_bytes(file)
            finally:
                file.close()
        return self._stored_bytes

    def size(self) -> int:
        return self._inner.size()

    def pread(self, n: int, offset: int) -> bytes:
        return self._inner.pread(n, offset)

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> None:
        if self._disk.plan.disk_active:
            tear = self._disk._before(self._write)
            if tear >= 0.0:
                self._tear(buffers, offset, tear)
        self._inner.pwritev(buffers, offset)
        self._stored_bytes = max(self._stored_bytes, 0)  # unsure what was there: let it alone
        self._last_write = offset

    def fdatasync(self) -> None:
        if self._disk.plan.disk_active:
            self._disk._before(self._disk._syncs)
        self._inner.fdatasync()
        self._stored_bytes = max(self._stored_bytes, self._last_write)

    def allocate(self, size: int) -> None:
        if self._disk.plan.disk_active:
            self._disk._before(self._disk._allocates)
        self._inner.allocate(size)

    def truncate(self, size: int) -> None:
        self._inner.truncate(size)

    def drop_cache(self, n: int, offset: int) -> None:
        self._inner.drop_cache(n, offset)

    def close(self) -> None:
        self._inner.close()

    def _tear(self, buffers: Sequence[Buffer], offset: int, share: float) -> NoReturn:
        """Write at least a byte of it, and not all; then die."""
        whole = b"".join(buffers)
        kept = 1 + int(share * (len(whole) - 1)) if whole else 0
        self._inner.pwritev([memoryview(whole)[:kept]], offset)
        self._disk._crash()
        raise AssertionError("crash() returned")


def _filled_bytes(file: DiskFile) -> int:
    """The length of a file without the zeros at its end."""
    end = file.size()
    while end > 0:
        start = max(0, end - _CHUNK_BYTES)
        filled = file.pread(end - start, start).rstrip(b"\0")
        if filled:
            return start + len(filled)
        end = start
    return 0
