"""The ring on the disk: files of blocks, of a bounded size together, the oldest dropped.

    append(block) ──► rec-00000007.bin … full ──► the next number ──► the lowest number unlinked

Nothing here is synced: a process that dies loses nothing that was appended, a power cut what the
kernel had not written yet. A disk that fails or is full stops the recording and nothing else; it is
tried again after a while.
"""

import re
from contextlib import suppress

from paxosd.storage.disk import Disk, DiskFile

DIRECTORY = "recorder"
"""Where the files are, within the data directory."""
FLUSH_MS = 250
"""How often what was recorded is written: a process that dies has lost what came later."""
FILES = 16
"""Into so many the bound is divided: one of them is dropped at a time."""
AGAIN_US = 10_000_000
FREE_BYTES_MIN = 256 << 20
"""With less space than this on the disk nothing is recorded: the log needs it more."""
_NAME = re.compile(r"rec-(\d{8,})\.bin")


def file_name(number: int) -> str:
    """The name of a recorder file."""
    return f"rec-{number:08d}.bin"


def file_number(name: str) -> int | None:
    """The number in a recorder file's name; None for any other file."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


class RingFiles:
    """The files of one node. ``bytes_max``: of all together; ``total_bytes``: how large they are.
    ``unwritten``: how many blocks were not written, because the disk failed or is nearly full;
    ``problem``: why, of the last one. One thread appends; others may read these three."""

    def __init__(self, disk: Disk, bytes_max: int) -> None:
        self._disk = disk
        self._bytes_max = bytes_max
        self._file_bytes_max = max(1, bytes_max // FILES)
        self._sizes: dict[int, int] | None = None
        """Number → size in bytes; None: not looked at yet."""
        self.total_bytes = 0
        self._file: DiskFile | None = None
        self._again_us = 0
        self.unwritten = 0
        self.problem = ""

    def append(self, block: bytes, now_us: int) -> bool:
        """Write a block, and drop the oldest files if need be. False: it was not written.
        ``now_us``: of any clock that goes on."""
        if now_us < self._again_us:
            self.unwritten += 1
            return False
        try:
            self._write(block)
        except OSError as problem:
            self.unwritten += 1
            self.problem = problem.strerror or str(problem)
            self._again_us = now_us + AGAIN_US
            self._let_go()
            return False
        self.problem = ""
        return True

    def _write(self, block: bytes) -> None:
        sizes = self._look()
        number = max(sizes, default=0)
        if self._file is None or sizes[number] + len(block) > self._file_bytes_max:
            if self._disk.free_bytes() < FREE_BYTES_MIN:
                raise OSError(28, "the disk is nearly full")
            self._let_go()
            number += 1
            self._file = self._disk.open(file_name(number), create=True)
            sizes[number] = 0
            self._drop_oldest(sizes, len(block))
        self._file.pwritev([block], sizes[number])
        sizes[number] += len(block)
        self.total_bytes = sum(sizes.values())

    def _look(self) -> dict[int, int]:
        """Each run begins a file of its own: the last one of the run before may end in a torn
        block. What has such a name and cannot be opened is left alone, and its number not used."""
        if self._sizes is None:
            found = {}
            for name in self._disk.list():
                number = file_number(name)
                if number is not None:
                    found[number] = self._size_of(name)
            self._sizes = found
        return self._sizes

    def _size_of(self, name: str) -> int:
        try:
            file = self._disk.open(name)
        except OSError:
            return 0
        try:
            return file.size()
        finally:
            file.close()

    def _drop_oldest(self, sizes: dict[int, int], coming: int) -> None:
        while len(sizes) > 1 and sum(sizes.values()) + coming > self._bytes_max:
            oldest = min(sizes)
            del sizes[oldest]
            with suppress(OSError):  # somebody removed it, or it is no file of this node
                self._disk.unlink(file_name(oldest))

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def close(self) -> None:
        """Give the file back."""
        self._let_go()
