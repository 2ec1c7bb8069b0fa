"""The trace of a daemon (``[trace] enabled``): all that goes into the node, in a file of each run.

    loop ──► records, a turn each ──► this thread: encode, compress, append ──► trace/

The loop never waits for it. A trace with a hole cannot be replayed, so nothing is dropped from the
middle: when the room is used up, the disk fails, or this thread falls too far behind, the recording
ends for good, the file says so as its last record, and the log and ``status`` do.

What a run may take is what ``trace.bytes_max`` leaves beside the files of earlier runs; at a start
the oldest of these are removed until they take half of it.
"""

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from paxosd.config.schema import Config
from paxosd.core.status import TraceStatus
from paxosd.daemon import trace_backlog
from paxosd.daemon.logs import Logs
from paxosd.storage.datadir import DataDir
from paxosd.storage.disk import Disk, DiskFile, RealDisk
from paxosd.trace.encoding import BEHIND, CLOSED_IN_ORDER, DISK_FAILED, END, FULL, PIECE
from paxosd.trace.memory_disk import pieces_of
from paxosd.trace.packing import DIRECTORY, Packer, file_name, file_number
from paxosd.trace.reader import Head
from paxosd.trace.recording import TraceRecorder

FLUSH_MS = 250
"""How often what was recorded is written: a process that dies has lost what came later."""
FREE_BYTES_MIN = 256 << 20
"""With less space than this on the disk nothing is recorded: the log needs it more."""
KEPT_SHARE = 2
"""The files of earlier runs keep one part in this many of the bound."""
END_BYTES = 4096
"""Kept free for the last record."""
CLOSE_S = 5.0
"""How long the end of the process waits for the last block."""

WORDS = {
    FULL: "trace.bytes_max is used up",
    BEHIND: trace_backlog.WORDS,
}


class DaemonTrace:
    """The trace of one run. ``recorder``: what the node is made with."""

    def __init__(
        self, config: Config, head: Head, data_dir: DataDir, home: Disk, logs: Logs
    ) -> None:
        """Writes the head, and what is in the data directory now; ``home``: as the node sees it.
        Raises OSError."""
        directory = data_dir.path / DIRECTORY
        directory.mkdir(mode=0o700, exist_ok=True)
        self.recorder = TraceRecorder(self._put, self._end)
        self._logs = logs
        self._bytes_max = config.trace.bytes_max
        self._disk = RealDisk(directory)
        numbers, kept_bytes, removed = _make_room(directory, self._bytes_max // KEPT_SHARE)
        self._name = file_name(max(numbers, default=0) + 1)
        self._room_bytes = self._bytes_max - kept_bytes - END_BYTES
        self._file: DiskFile | None = self._disk.open(self._name, create=True)
        self._bytes = 0
        self._kept_bytes = kept_bytes
        self._packer = Packer()
        self._records = trace_backlog.Backlog()
        self._reason = ""
        self._thread: threading.Thread | None = None
        logs.logger.warning(
            "trace.started",
            file=str(directory / self._name),
            removed=removed,
            message="[trace] enabled: every key and value that this node handles is written there",
        )
        self._write_beginning(head, {"home": home, "log": data_dir.disk})

    def _write_beginning(self, head: Head, disks: Mapping[str, Disk]) -> None:
        for record in _beginning(head, disks):
            self._append(self._packer.add(record))
            if self._reason:
                return

    def start(self) -> None:
        """The node is about to run: write beside the loop from now on."""
        self.recorder.begin()
        self._thread = threading.Thread(target=self._work, name="paxosd-trace", daemon=True)
        self._thread.start()

    def status(self) -> TraceStatus:
        """How it is."""
        return TraceStatus(
            enabled=True,
            file=self._name,
            bytes=self._kept_bytes + self._bytes,
            bytes_max=self._bytes_max,
            stopped=self._reason,
        )

    # -- in the loop's thread

    def _put(self, record: tuple[Any, ...]) -> None:
        if self._records.is_full:
            self._stop(BEHIND, WORDS[BEHIND])
            self._records.put((END, BEHIND, WORDS[BEHIND]))
        else:
            self._records.put(record)

    def _end(self, reason: str, words: str) -> None:
        """The node ends by an error."""
        self.recorder.stopped = True
        self._records.put((END, reason, words))

    def close(self) -> None:
        """Have the rest written, if the disk takes it in time."""
        if not self.recorder.stopped:
            self._end(CLOSED_IN_ORDER, "")
        self._records.put(None)
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        else:
            self._work()  # the start has failed

    # -- in the thread

    def _work(self) -> None:
        record: tuple[Any, ...] | None = ()
        while record is not None:
            due_s = time.monotonic() + FLUSH_MS / 1000
            while record is not None and (left_s := due_s - time.monotonic()) > 0:
                with suppress(queue.Empty):
                    record = self._records.take(left_s)
                    if record is not None:
                        self._append(self._packer.add(record))
            self._append(self._packer.take())
        if self._file is not None:
            self._file.close()
        self._disk.close()

    def _append(self, block: bytes) -> None:
        if not block or self._file is None:
            return
        try:
            if self._bytes + len(block) > self._room_bytes:
                self._finish(FULL, WORDS[FULL])
            elif self._disk.free_bytes() < FREE_BYTES_MIN:
                self._finish(DISK_FAILED, "the disk is nearly full")
            else:
                self._write(block)
        except OSError as error:
            self._stop(DISK_FAILED, error.strerror or str(error))
            self._file = None

    def _write(self, block: bytes) -> None:
        assert self._file is not None
        self._file.pwritev([block], self._bytes)
        self._bytes += len(block)

    def _finish(self, reason: str, words: str) -> None:
        """The last record, and no more."""
        self._stop(reason, words)
        packer = Packer()
        packer.add((END, reason, words))
        self._write(packer.take())
        self._file = None

    def _stop(self, reason: str, words: str) -> None:
        self.recorder.stopped = True
        self._reason = reason
        self._logs.logger.warning("trace.stopped", file=self._name, reason=words)


def _beginning(head: Head, disks: Mapping[str, Disk]) -> Iterator[tuple[Any, ...]]:
    yield head.record()
    for where, disk in disks.items():
        for piece in pieces_of(disk):
            yield (PIECE, where, *piece)


def _make_room(directory: Path, bytes_max: int) -> tuple[list[int], int, list[str]]:
    """Remove the oldest files until they take no more than this. Returns the numbers of all that
    there were, the bytes of those that are left, and the names of the others."""
    sizes = {}
    for path in directory.iterdir():
        number = file_number(path.name)
        if number is not None:
            sizes[number] = path.stat().st_size
    numbers, removed = sorted(sizes), []
    for number in numbers:
        if sum(sizes.values()) <= bytes_max:
            break
        (directory / file_name(number)).unlink()
        del sizes[number]
        removed.append(file_name(number))
    return numbers, sum(sizes.values()), removed
