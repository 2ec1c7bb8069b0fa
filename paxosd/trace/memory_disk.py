"""A disk in memory, for a replay: what was on the real one when the run began, and what the node
writes to it now. It never fails; what failed in the run is given to the node from the trace.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from paxosd.storage.disk import Buffer, Disk, Names

CHUNK_BYTES = 1 << 20
_NOT_TRACED = frozenset({"LOCK"})

Piece = tuple[str, int, int, bytes]
"""Of a file: name, size of the whole file, offset, bytes. What is not said is zeros."""


class MemoryFile:
    """The contents of one file. Zeros at its end take no memory."""

    __slots__ = ("data", "length")

    def __init__(self, length: int = 0) -> None:
        self.data = bytearray()
        self.length = length

    def write(self, buffer: Buffer, offset: int) -> int:
        """Put it there; returns the offset behind it."""
        end = offset + len(buffer)
        if len(self.data) < end:
            self.data.extend(bytes(end - len(self.data)))
        self.data[offset:end] = buffer
        self.length = max(self.length, end)
        return end


class MemoryHandle:
    """A :class:`~paxosd.storage.disk.DiskFile`."""

    __slots__ = ("_file",)

    def __init__(self, file: MemoryFile) -> None:
        self._file = file

    def size(self) -> int:
        return self._file.length

    def pread(self, n: int, offset: int) -> bytes:
        end = min(offset + n, self._file.length)
        found = bytes(self._file.data[offset:end])
        return found + bytes(max(0, end - offset - len(found)))

    def pwritev(self, buffers: Sequence[Buffer], offset: int) -> None:
        for buffer in buffers:
            offset = self._file.write(buffer, offset)

    def fdatasync(self) -> None:
        """Nothing is lost here."""

    def allocate(self, size: int) -> None:
        self._file.length = max(self._file.length, size)

    def truncate(self, size: int) -> None:
        del self._file.data[size:]
        self._file.length = size

    def drop_cache(self, n: int, offset: int) -> None:
        """There is none."""

    def close(self) -> None:
        """Nothing to give back."""


class MemoryDisk:
    """A :class:`~paxosd.storage.disk.Disk`. ``free()``: the space that is left."""

    def __init__(self) -> None:
        self.files: dict[str, MemoryFile] = {}
        self.free: Callable[[], int] = lambda: 1 << 40

    def add(self, piece: Piece) -> None:
        """A part of a file of the beginning."""
        name, size, offset, data = piece
        file = self.files.setdefault(name, MemoryFile(size))
        if data:
            file.write(data, offset)

    def content(self) -> Mapping[str, bytes]:
        """All files, whole."""
        return {name: MemoryHandle(f).pread(f.length, 0) for name, f in self.files.items()}

    def list(self) -> Names:
        return [*self.files]

    def open(self, name: str, create: bool = False) -> MemoryHandle:
        if name not in self.files:
            if not create:
                raise FileNotFoundError(2, "no such file", name)
            self.files[name] = MemoryFile()
        return MemoryHandle(self.files[name])

    def rename(self, old: str, new: str) -> None:
        self.files[new] = self.files.pop(old)

    def link(self, old: str, new: str) -> None:
        self.files[new] = self.files[old]

    def unlink(self, name: str) -> None:
        if self.files.pop(name, None) is None:
            raise FileNotFoundError(2, "no such file", name)

    def sync_dir(self) -> None:
        """Nothing is lost here."""

    def exists(self, name: str) -> bool:
        return name in self.files

    def free_bytes(self) -> int:
        return self.free()

    def free_files(self) -> int:
        return self.free()


def pieces_of(disk: Disk) -> Iterator[Piece]:
    """What is on a disk now, in parts of at most CHUNK_BYTES; parts of zeros are left out. Raises
    OSError. Folders, and what this user may not read, are passed over."""
    for name in sorted(disk.list()):
        if name in _NOT_TRACED:
            continue
        try:
            file = disk.open(name)
        except OSError:
            continue
        try:
            size = file.size()
            yield name, size, 0, b""
            for offset in range(0, size, CHUNK_BYTES):
                data = file.pread(CHUNK_BYTES, offset).rstrip(b"\0")
                if data:
                    yield name, size, offset, data
        finally:
            file.close()
