"""The flight recorder of a daemon: what the loop records goes to a ring of files, beside the loop.

    loop ──► recorder (memory) ──► this thread, every FLUSH_MS: blocks, compressed ──► recorder/

A process that dies has lost what it recorded within the last FLUSH_MS and the rest of a turn, and
what this thread was just writing. The loop never waits for it: not for the disk, and not for a
lock.
"""

import threading
import time
from pathlib import Path

from paxosd.config.schema import Config
from paxosd.core.status import RecorderStatus
from paxosd.daemon.logs import Logs
from paxosd.host.clock import clock_ns, precise_clock_ms
from paxosd.recorder.files import DIRECTORY, FLUSH_MS, RingFiles
from paxosd.recorder.recorder import Recorder
from paxosd.storage.disk import RealDisk

CRASH_S = 0.25
"""How long a process that is to crash waits for its last block."""
CLOSE_S = 2.0
"""How long the end of the process waits for the last block."""


class RecorderWriter:
    """The thread. Raises OSError if the directory cannot be made."""

    def __init__(self, recorder: Recorder, data_dir: Path, bytes_max: int) -> None:
        directory = data_dir / DIRECTORY
        directory.mkdir(mode=0o700, exist_ok=True)
        self._recorder = recorder
        self._disk = RealDisk(directory)
        self.files = RingFiles(self._disk, bytes_max)
        self._wanted = threading.Event()
        """To write now, and not only when it is time."""
        self._written = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="paxosd-recorder", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._ending:
            self._wanted.wait(FLUSH_MS / 1000)
            self._wanted.clear()
            self._write()
            self._written.set()
        self._write()
        self.files.close()
        self._disk.close()

    def _write(self) -> None:
        now_us, wall_us = clock_ns() // 1000, time.time_ns() // 1000
        for block in self._recorder.take_blocks(now_us, wall_us):
            self.files.append(block, now_us)

    def flush(self, timeout_s: float) -> None:
        """Have written what was recorded so far, if the disk takes it in time."""
        self._written.clear()
        self._wanted.set()
        self._written.wait(timeout_s)

    def close(self) -> None:
        """Have the rest written, if the disk takes it in time."""
        self._ending = True
        self._wanted.set()
        self._thread.join(CLOSE_S)


class FlightRecorder:
    """What a daemon records to; ``recorder`` is None if its configuration says so."""

    def __init__(
        self, config: Config, *, boot_count: int, run_id: int, directory_id: int, logs: Logs
    ) -> None:
        self.recorder: Recorder | None = None
        self._bytes_max = 0
        self._problem = ""
        self._writer: RecorderWriter | None = None
        """None: nothing is recorded, or it stays in memory, for the directory cannot be made."""
        if not config.recorder.enabled:
            logs.copy_to(None)
            return
        self._bytes_max = config.recorder.bytes_max
        self.recorder = Recorder(
            config.cluster.id, config.node.name, boot_count, run_id, directory_id
        )
        logs.copy_to(self.recorder.note_soon, self._flush)
        try:
            self._writer = RecorderWriter(
                self.recorder, config.node.data_dir, config.recorder.bytes_max
            )
        except OSError as error:
            self._problem = error.strerror or str(error)
            logs.logger.warning("recorder.failed", reason=self._problem)

    def _flush(self) -> None:
        """Before the process dies by a fault. If this is the loop's thread, the last lines of the
        log are recorded here; otherwise the loop does it in its next turn, or they are lost."""
        recorder, writer = self.recorder, self._writer
        if recorder is None or writer is None:
            return
        if threading.current_thread() is threading.main_thread():
            recorder.take_notes(precise_clock_ms())
            recorder.settle()
        writer.flush(CRASH_S)

    def status(self) -> RecorderStatus:
        """How it is."""
        if self.recorder is None:
            return RecorderStatus()
        files = self._writer.files if self._writer is not None else None
        return RecorderStatus(
            enabled=True,
            bytes=files.total_bytes if files is not None else 0,
            bytes_max=self._bytes_max,
            unwritten_blocks=files.unwritten if files is not None else 0,
            lost_events=self.recorder.lost,
            problem=files.problem if files is not None else self._problem,
        )

    def close(self, now_ms: float) -> None:
        """Have the last events and lines of the log written; nothing is recorded any more.
        ``now_ms``: on the clock of the turns."""
        writer, self._writer = self._writer, None
        if self.recorder is not None and writer is not None:
            self.recorder.take_notes(now_ms)
            self.recorder.settle()
            writer.close()
