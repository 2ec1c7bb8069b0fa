"""The second witness of what the log has synced: a small file beside it, written lazily.

A log whose last groups were zeroed or flipped looks like one with a torn write. So each group that
was synced is noted in ``tail-mark`` as well: a log that ends before the group noted there has lost
what was durable, and perhaps acknowledged.

    group synced ──► note(group): one small write, no sync ──► the group may be spoken of
    once a second, beside the loop, and at a clean end:          fdatasync of this file alone

Rules:
- Only what an fdatasync has made durable is noted. A note is thus a lower bound, however old: it
  may be missing or lag behind, and never claims too much. No failure here is one of the node.
- A process that is killed leaves its notes in the kernel's cache: then the bound is exact. A power
  cut may take those of the last second, or what the kernel writes back by itself.
- Two places, each in a page of its own, take turns: a torn note spoils one of them.

A place: magic "PXMARK\\r\\n", version u32, group u64, segment number u64, the segment's nonce
(8 bytes), offset behind the group u64, crc32 of all before it; little-endian.
"""

import threading
from contextlib import suppress
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from paxosd.storage.disk import Disk, DiskFile
from paxosd.storage.wal_format import SegmentHeader

NAME = "tail-mark"
PLACE_BYTES = 4096
PLACES = 2
SYNC_EVERY_MS = 1000.0
"""How long a note may wait to become durable: the window that a power cut opens."""

_MAGIC = b"PXMARK\r\n"
_VERSION = 1
_NOTE = Struct("<8sIQQ8sQ")
_CRC = Struct("<I")
_LEAD = _MAGIC, _VERSION


class Note(NamedTuple):
    """``group`` was synced; it ends at ``end`` of the segment of that number and nonce."""

    group: int
    segment: int
    nonce: bytes
    end: int


def encode(group: int, segment: int, nonce: bytes, end: int) -> bytes:
    """The bytes of one place, which hold the Note of these."""
    body = _NOTE.pack(*_LEAD, group, segment, nonce, end)
    return body + _CRC.pack(crc32(body))


def decode(data: bytes) -> Note | None:
    """None for anything but a whole note of this version."""
    body = data[: _NOTE.size]
    if len(data) < _NOTE.size + _CRC.size or _CRC.unpack_from(data, _NOTE.size)[0] != crc32(body):
        return None
    magic, version, *note = _NOTE.unpack(body)
    return Note(*note) if (magic, version) == _LEAD else None


def read_note(disk: Disk) -> Note | None:
    """The newest whole note; None if there is none. Raises OSError."""
    if not disk.exists(NAME):
        return None
    file = disk.open(NAME)
    try:
        places = [file.pread(PLACE_BYTES, place * PLACE_BYTES) for place in range(PLACES)]
    finally:
        file.close()
    return max((note for data in places if (note := decode(data)) is not None), default=None)


def settle(disk: Disk) -> None:
    """Make durable what :func:`read_note` has read, if the disk does it: a process that was killed
    left it in the kernel's cache. Call it before anything is changed because of a note: a power
    cut in the middle of that could take the note away, and leave the change half done."""
    with suppress(OSError):
        file = disk.open(NAME)
        try:
            file.fdatasync()
        finally:
            file.close()


class TailMark:
    """The file, open. :meth:`note` is called in the sync thread, the rest in the main thread.

    ``ahead``: sync in a helper thread, else at once (the simulator)."""

    def __init__(self, disk: Disk, *, ahead: bool) -> None:
        """Makes the file if need be. Its name is durable with the next sync of the directory;
        failing that, or if it cannot be made, this log has no second witness for now."""
        self._ahead = ahead
        self._thread: threading.Thread | None = None
        self._dirty = False
        self._look_due_ms = 0.0
        self._file: DiskFile | None = None
        with suppress(OSError):
            self._file = disk.open(NAME, create=True)
            size, lacks = self._file.size(), PLACES * PLACE_BYTES - self._file.size()
            if lacks > 0:  # later notes change no metadata, and need no room
                self._file.pwritev([bytes(lacks)], size)

    @property
    def usable(self) -> bool:
        """Whether there is a file to write to."""
        return self._file is not None

    def note(self, group: int, header: SegmentHeader, end: int) -> None:
        """``group``, which is durable, ends at ``end`` of this segment."""
        file = self._file
        if file is None:
            return
        # Every group pays for this: no object, no context manager.
        place = encode(group, header.number, header.nonce, end)
        try:
            file.pwritev((place,), group % PLACES * PLACE_BYTES)
        except OSError:
            return
        self._dirty = True

    def tick(self, now_ms: float) -> None:
        """Once a turn: have what was noted synced, once in ``SYNC_EVERY_MS``."""
        if now_ms < self._look_due_ms:
            return
        self._look_due_ms = now_ms + SYNC_EVERY_MS
        if not self._dirty or (self._thread is not None and self._thread.is_alive()):
            return
        if self._ahead:
            self._thread = threading.Thread(target=self.sync, name="wal-mark", daemon=True)
            self._thread.start()
        else:
            self.sync()

    def sync(self) -> None:
        """Make what was noted durable, if the disk does it."""
        if self._file is not None and self._dirty:
            self._dirty = False  # first: what is noted meanwhile may come too late for this sync
            with suppress(OSError):
                self._file.fdatasync()

    def close(self) -> None:
        """Sync, and give the file back. No job of the log may be under way."""
        if self._thread is not None:
            self._thread.join()
        self.sync()
        if self._file is not None:
            self._file.close()
            self._file = None
