"""A disk in memory that forgets at a power cut what was not synced, in whatever pieces.

    write ──► cache (what reads see) ── fdatasync ──► durable
    power cut: each unsynced sector is, at random, as it was durable or as any write since left it;
               of the unsynced directory changes the first few survive
    kill:      the cache stays, and stays unsynced

Rules kept from :mod:`paxosd.storage.disk`: a rename is atomic; nothing is durable before it is
synced. After a failed fdatasync the cache counts as clean though it is not durable, as Linux has
it: a second fdatasync alone makes nothing of it durable, writing it again does.

``before(operation, name)`` is called ahead of every operation that changes something: there a
process can be made to crash.
"""

import errno
import random
from collections.abc import Callable, Sequence

from paxosd.storage import wal_mark
from paxosd.storage.disk import Buffer, Names
from paxosd.storage.wal_format import HEADER_BYTES, segment_name
from paxosd.storage.wal_mark import read_note

TAIL_KINDS: dict[str, str] = {
    "tail-cut": "the end of a log is cut off while its node is down",
    "tail-zero": "the end of a log is zeroed while its node is down",
    "tail-flip": "a bit near the end of a log flips while its node is down",
}
SECTOR_BYTES = 512
PLENTY_BYTES = 1 << 40
TAIL_BYTES = 1500
"""What counts as near the end of a log."""

Hook = Callable[[str, str], None]


def _nothing(operation: str, name: str) -> None:
    """The hook that lets everything pass."""


class SimFile:
    """One file, open or not. ``data`` is what reads see, ``durable`` what is on the platter."""

    __slots__ = ("_disk", "data", "durable", "name", "unsynced")

    def __init__(self, disk: "SimDisk", name: str) -> None:
        self._disk = disk
        self.name = name
        self.data = bytearray()
        self.durable = bytearray()
        self.unsynced: list[tuple[int, bytes]] = []
        """Whole sectors, as each write since the last sync left them: (offset, content)."""

    def size(self) -> int:
        return len(self.data)

    def pread(self, n: int, offset: int) -> bytes:
        return bytes(self.data[offset : offset + n])

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> None:
        self._disk.before("write", self.name)
        self._write(b"".join(buffers), offset)

    def _write(self, piece: bytes, offset: int) -> None:
        data = self.data
        end = offset + len(piece)
        self._disk.take_space(max(0, end - len(data)))
        if len(data) < offset:
            data.extend(bytes(offset - len(data)))
        data[offset:end] = piece
        start = offset - offset % SECTOR_BYTES
        self.unsynced.append((start, bytes(data[start : end + -end % SECTOR_BYTES])))

    def fdatasync(self) -> None:
        self._disk.before("sync", self.name)
        if self._disk.fail_syncs:
            self.unsynced.clear()
            raise OSError(errno.EIO, "simulated fsync error", self.name)
        for offset, piece in self.unsynced:
            _put(self.durable, piece, offset)
        self.unsynced.clear()

    def allocate(self, size: int) -> None:
        self._disk.before("allocate", self.name)
        if size > len(self.data):
            self._write(bytes(size - len(self.data)), len(self.data))

    def truncate(self, size: int) -> None:
        self._disk.before("truncate", self.name)
        # Only whole files are cut, before they get their name, so durable at once is close enough.
        for data in (self.data, self.durable):
            del data[size:]
        if len(self.data) < size:
            self._write(bytes(size - len(self.data)), len(self.data))
        self.unsynced = [
            (offset, piece[: size - offset]) for offset, piece in self.unsynced if offset < size
        ]

    def drop_cache(self, n: int, offset: int) -> None:
        """There is no cache that would hide bit rot from reads."""

    def close(self) -> None:
        """There is nothing to release."""

    def power_cut(self, rng: random.Random, keep: float) -> None:
        """Each unsynced sector gets, with probability ``keep``, one of its unsynced contents."""
        versions: dict[int, list[bytes]] = {}
        for start, piece in self.unsynced:
            for at in range(0, len(piece), SECTOR_BYTES):
                versions.setdefault(start + at, []).append(piece[at : at + SECTOR_BYTES])
        for offset, contents in versions.items():
            if rng.random() < keep:
                # Mostly the newest: a disk seldom writes a sector twice.
                newest = rng.random() < 0.7
                _put(self.durable, contents[-1] if newest else rng.choice(contents), offset)
        self.data = bytearray(self.durable)
        self.unsynced.clear()


class _Room:
    """The room that is left on a file system."""

    __slots__ = ("left_bytes",)

    def __init__(self, left_bytes: int) -> None:
        self.left_bytes = left_bytes


class SimDisk:
    """One flat directory (see :class:`paxosd.storage.disk.Disk`) that outlives its process."""

    __slots__ = ("_durable_names", "_files", "_name_states", "_rng", "_room", "before",
                 "fail_syncs")  # fmt: skip

    def __init__(
        self,
        rng: random.Random,
        free_bytes: int = PLENTY_BYTES,
        beside: "SimDisk | None" = None,
    ) -> None:
        """``beside``: another directory of the same file system, whose room it shares."""
        self._rng = rng
        self._room: _Room = _Room(free_bytes) if beside is None else beside._room
        self._files: dict[str, SimFile] = {}
        self._durable_names: dict[str, SimFile] = {}
        self._name_states: list[dict[str, SimFile]] = []
        """The directory after each change since its last sync."""
        self.before: Hook = _nothing
        self.fail_syncs = False

    # ---- as paxosd.storage.disk has it

    def list(self) -> Names:
        return list(self._files)

    def open(self, name: str, create: bool = False) -> SimFile:
        file = self._files.get(name)
        if file is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "no such file", name)
            self.before("create", name)
            file = self._files[name] = SimFile(self, name)
            self._changed()
        return file

    def rename(self, old: str, new: str) -> None:
        if old not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", old)
        self.before("rename", new)
        replaced = self._files.get(new)
        if replaced is self._files[old]:
            return  # as POSIX says: two names of one file stay two
        file = self._files[new] = self._files.pop(old)
        file.name = new
        if replaced is not None:
            self._gone(replaced)
        self._changed()

    def link(self, old: str, new: str) -> None:
        if old not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", old)
        if new in self._files:
            raise FileExistsError(errno.EEXIST, "it exists", new)
        self.before("link", new)
        self._files[new] = self._files[old]
        self._changed()

    def unlink(self, name: str) -> None:
        if name not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        self.before("unlink", name)
        self._gone(self._files.pop(name))
        self._changed()

    def sync_dir(self) -> None:
        self.before("sync_dir", "")
        self._durable_names = dict(self._files)
        self._name_states.clear()

    def exists(self, name: str) -> bool:
        return name in self._files

    def free_bytes(self) -> int:
        return self.free

    def free_files(self) -> int:
        return -1

    def _changed(self) -> None:
        self._name_states.append(dict(self._files))

    def _gone(self, file: SimFile) -> None:
        """A name of this file is no more: its room is free, unless it has another."""
        if not any(each is file for each in self._files.values()):
            self.free += len(file.data)

    @property
    def free(self) -> int:
        """The room that is left, on the file system that this directory may share."""
        return self._room.left_bytes

    @free.setter
    def free(self, free_bytes: int) -> None:
        self._room.left_bytes = free_bytes

    def take_space(self, count_bytes: int) -> None:
        """A file grows. Raises OSError if there is no room."""
        if count_bytes > self.free:
            raise OSError(errno.ENOSPC, "simulated full disk")
        self.free -= count_bytes

    # ---- faults

    def power_cut(self) -> None:
        """Forget what was not synced: all of it, nothing of it, or a random part."""
        rng = self._rng
        keep = rng.choice((0.0, 1.0, rng.random()))
        states = [self._durable_names, *self._name_states]
        survived = states[rng.randrange(len(states))]
        self._files = dict(survived)
        for name, file in self._files.items():
            file.name = name
            file.power_cut(rng, keep)
        self._durable_names = dict(self._files)
        self._name_states.clear()

    def forget_unsynced(self) -> None:
        """A sync failed, and the kernel took the pages for clean: they can be read until the
        power goes, and no sync will write them."""
        for file in self._files.values():
            file.unsynced.clear()

    def wipe(self) -> None:
        """A new, empty disk."""
        self._files = {}
        self._durable_names = {}
        self._name_states.clear()

    def copy(self) -> dict[str, bytes]:
        """Every file as it is durable."""
        return {name: bytes(file.durable) for name, file in self._durable_names.items()}

    def content(self) -> dict[str, bytes]:
        """Every file as it is read now."""
        return {name: bytes(file.data) for name, file in self._files.items()}

    def restore(self, files: dict[str, bytes]) -> None:
        """The disk holds these files and nothing else, all durable."""
        self.wipe()
        for name, content in files.items():
            file = self._files[name] = SimFile(self, name)
            file.data, file.durable = bytearray(content), bytearray(content)
        self._durable_names = dict(self._files)

    def bit_rot(self, lot: int) -> str:
        """Flip one bit of what is durable, in the used part of a file; returns where. ``lot``: a
        random number that selects the bit."""
        used = {name: len(file.durable.rstrip(b"\0"))
                for name, file in sorted(self._durable_names.items())
                if name != wal_mark.NAME}  # fmt: skip
        total = sum(used.values())
        if not total:
            return ""
        place = lot % total
        for name, length in used.items():
            if place < length:
                file = self._durable_names[name]
                bit = 1 << (lot // total) % 8
                file.durable[place] ^= bit
                if place < len(file.data):
                    file.data[place] ^= bit
                return f"{name}:{place}"
            place -= length
        raise AssertionError("unreachable: the place is below the total")

    def harm_tail(self, how: str, lot: int, *, witness: bool = True) -> str:
        """Damage the log from some byte on; returns where, "" if there is nothing to damage.

        ``how``: "cut", "zero" (all that follows) or "flip" (one bit). ``lot``: a random number
        that selects the byte, mostly one near the end. ``witness``: whether the note of what was
        synced is kept.

        No byte after the last noted group is touched: what a power cut left without a note is the
        window that ``docs/DATA.md`` describes. The note is made durable here, as the kernel writes
        it back after a while; otherwise a power cut could still lose it. Zeroing the zeros at the
        end of a group damages nothing.
        """
        note = read_note(self)
        file = self._files.get(segment_name(note.segment)) if note is not None else None
        if note is None or file is None or len(file.data) < note.end:
            return ""
        span = note.end - HEADER_BYTES
        lot, nearby = divmod(lot, 4)
        if nearby:
            span = min(span, TAIL_BYTES)
        place = note.end - 1 - lot % span
        if how == "zero" and not any(file.data[place : note.end]):
            return ""
        for data in (file.data, file.durable):
            if how == "cut":
                del data[place:]
            elif how == "zero":
                data[place:] = bytes(len(data) - place)
            elif place < len(data):
                data[place] ^= 1 << lot % 8
        file.unsynced = [each for each in file.unsynced if each[0] + len(each[1]) <= place]
        mark = self._files[wal_mark.NAME]
        if not witness:
            mark.data = bytearray()
        mark.durable, mark.unsynced = bytearray(mark.data), []
        return f"{file.name}:{place}"


def _put(data: bytearray, piece: bytes, offset: int) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(piece)] = piece
