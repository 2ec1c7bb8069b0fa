"""Where log lines go: a bounded queue, and a thread that writes it, so that logging never waits.

    any thread ── put(line) ──► queue, bounded in bytes ──► thread ── write ──► file, pipe, terminal

1. ``put`` neither blocks nor raises, whatever the other end does: a reader that does not read, a
   disk that is full or hangs.
2. A line that finds no room, or cannot be written, is dropped and counted, and ``log.dropped``
   stands in the log where lines are missing, as soon as it can be written.
3. What was written in part, also before a crash, is ended by a newline before the next line: a torn
   line harms no other.
4. The log file is opened anew by the thread, in its place between the lines.
5. ``flush`` and ``close`` wait a bounded time; what is still queued after that is lost.
"""

import contextlib
import os
import queue
import select
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from paxosd.host.descriptors import reserved

QUEUE_BYTES_MAX = 4 << 20
LINE_OVERHEAD_BYTES = 100
"""What a queued line takes beside its text."""
WRITE_BYTES_MAX = 64 << 10
"""Lines that wait are written together, up to so much at a time."""
RETRY_S = 2.0
"""After lines were lost to an error: how often it is tried to say so while no other line comes."""
CLOSE_S = 1.0
"""How long the end of the process waits for lines that are still queued."""
NEWLINE = 10

Say = Callable[..., bytes]
"""``say(level, event, **fields)``: a line of the log about the log, rendered."""


class _Gap:
    """Stands in the queue where lines found no room."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class _Reopen:
    """Stands in the queue where the file is to be opened anew."""


class _Mark:
    """Stands in the queue for a thread that waits until everything before it is written. A plain
    lock, because a signal handler may raise an exception in the thread that waits."""

    __slots__ = ("_reached",)

    def __init__(self) -> None:
        self._reached = threading.Lock()
        self._reached.acquire()

    def reach(self) -> None:
        """Called by the thread that writes."""
        self._reached.release()

    def wait(self, timeout_s: float) -> bool:
        """Whether it was reached in time."""
        return self._reached.acquire(timeout=timeout_s)


class _Nothing:
    """Nothing waits in the queue."""


_NOTHING = _Nothing()
_Item = bytes | _Gap | _Reopen | _Mark | _Nothing | None
"""An item of the queue; None is its end."""


class LogSink:
    """Writes lines to a file descriptor from a thread of its own. Use it from any thread.

    ``dropped``: how many lines were lost. ``path``: the file that ``fd`` is, which may then be
    opened anew and is closed at the end; None: ``fd`` belongs to somebody else.
    """

    def __init__(
        self,
        fd: int,
        say: Say,
        *,
        path: Path | None = None,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        self.dropped = 0
        self._fd = fd
        self._say = say
        self._path = path
        self._queue_bytes_max = queue_bytes_max
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._queued_bytes = 0
        self._gap: _Gap | None = None
        """The one at the end of the queue, if lines are being dropped now."""
        self._closed = False
        self._reopening = 0
        """How often the file is still to be opened anew."""
        # From here on the thread's alone.
        self._torn = path is not None and ends_torn(path)
        """Whether the last thing written, in this run or before it, was a part of a line."""
        self._unsaid = 0
        """Lines dropped before the next one to be written."""
        self._thread = threading.Thread(target=self._work, name="paxosd-log", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Queue one line, its newline included; it is dropped if there is no room for it."""
        size = len(line) + LINE_OVERHEAD_BYTES
        with self._lock:
            if self._closed:
                self.dropped += 1
            elif self._queued_bytes + size > self._queue_bytes_max:
                self._drop()
            else:
                self._gap = None
                self._queued_bytes += size
                self._queue.put(line)

    def reopen(self) -> None:
        """Open the file anew once what is queued is written; the log says how that went."""
        if self._path is not None:
            with self._lock:
                self._reopening += 1
            self._queue.put(_Reopen())

    @property
    def reopening(self) -> bool:
        """Whether the file is still to be opened anew."""
        return self._reopening > 0

    def flush(self, timeout_s: float = CLOSE_S) -> bool:
        """Wait until what is queued is written or lost; False: that took too long."""
        if threading.current_thread() is self._thread or not self._thread.is_alive():
            return False
        mark = _Mark()
        self._queue.put(mark)
        return mark.wait(timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write what is queued and end. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join(timeout_s)
        if not self._thread.is_alive() and self._path is not None:
            os.close(self._fd)

    def _drop(self) -> None:
        self.dropped += 1
        if self._gap is None:
            self._gap = _Gap()
            self._queue.put(self._gap)
        self._gap.count += 1

    # -- the thread

    def _work(self) -> None:
        while True:
            item = self._next()
            while isinstance(item, bytes):
                item = self._write_waiting(item)
            if isinstance(item, _Gap):
                self._end_gap(item)
            elif isinstance(item, _Reopen):
                self._open_anew()
                with self._lock:
                    self._reopening -= 1
            if self._unsaid:
                self._write([])
            if isinstance(item, _Mark):
                item.reach()
            elif item is None:
                return

    def _next(self) -> _Item:
        while True:
            try:
                return self._queue.get(timeout=RETRY_S if self._unsaid else None)
            except queue.Empty:
                self._write([])

    def _write_waiting(self, line: bytes) -> _Item:
        """Write this line and those that wait behind it, if any; then what else comes next."""
        lines, size = [line], len(line)
        item = self._waiting()
        while isinstance(item, bytes):
            lines.append(item)
            size += len(item)
            item = self._waiting() if size < WRITE_BYTES_MAX else _NOTHING
        self._write(lines)
        with self._lock:
            self._queued_bytes -= size + LINE_OVERHEAD_BYTES * len(lines)
        return item

    def _waiting(self) -> _Item:
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return _NOTHING

    def _end_gap(self, gap: _Gap) -> None:
        with self._lock:
            if self._gap is gap:
                self._gap = None
            self._unsaid += gap.count

    def _write(self, lines: Sequence[bytes]) -> None:
        """Write these lines, before them how many are missing. They are lost if that fails."""
        waiting = list(lines)
        unsaid, self._unsaid = self._unsaid, 0
        if unsaid:
            waiting.insert(0, self._say("warning", "log.dropped", count=unsaid, total=self.dropped))
        data = b"".join([b"\n" if self._torn else b"", *waiting])
        written = self._write_bytes(data)
        if written:
            self._torn = data[written - 1] != NEWLINE
        if written == len(data):
            return
        end = len(data) - sum(map(len, waiting))
        lost = 0
        for index, line in enumerate(waiting):
            end += len(line)
            if end > written:
                if unsaid and index == 0:
                    self._unsaid = unsaid  # the line that says so is lost itself: no further loss
                else:
                    lost += 1
        self._unsaid += lost
        with self._lock:
            self.dropped += lost

    def _write_bytes(self, data: bytes) -> int:
        """How many of them could be written."""
        view = memoryview(data)
        done = 0
        while done < len(data):
            try:
                done += os.write(self._fd, view[done:])
            except BlockingIOError:  # somebody else made it non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
            except OSError:
                break
        return done

    def _open_anew(self) -> None:
        assert self._path is not None
        try:
            old, self._fd = self._fd, open_log(self._path)
        except OSError as error:  # no reason to end: the old file is still written to
            self._write([self._say("warning", "log.reopen_failed", error=str(error))])
            return
        os.close(old)
        self._torn = ends_torn(self._path)
        self._write([self._say("info", "log.reopened")])


class StreamSink:
    """The same for a text stream without a file descriptor: it is written at once."""

    def __init__(self, stream: TextIO) -> None:
        self.dropped = 0
        self._stream = stream

    def put(self, line: bytes) -> None:
        """Write one line."""
        try:
            self._stream.write(line.decode())
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed
            self.dropped += 1

    def reopen(self) -> None:
        """Nothing to do."""

    @property
    def reopening(self) -> bool:
        """Never."""
        return False

    def flush(self, timeout_s: float = CLOSE_S) -> bool:
        """Nothing to do."""
        return True

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Nothing to do: the caller owns the stream."""


Sink = LogSink | StreamSink


def open_log(path: Path) -> int:
    """The log file, to append to it; mode 0640. Raises OSError."""
    with reserved():
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def ends_torn(path: Path) -> bool:
    """Whether a log file ends within a line; False for what is no file, or cannot be read."""
    with contextlib.suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 1))
                return file.read(1) not in (b"", b"\n")
    return False


def sink_of(stream: Any, say: Say) -> Sink:
    """A sink for a text stream; for None, as standard error is if it was closed, for nothing."""
    if stream is None:
        return LogSink(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), say)
    try:
        return LogSink(stream.fileno(), say)
    except (OSError, ValueError, AttributeError):
        return StreamSink(stream)
