"""Writes what the loop recorded to the ring of files, beside the loop.

    loop ──► recorder (memory) ──► this thread, every FLUSH_MS: blocks, compressed ──► recorder/

A process that dies has lost what it recorded within the last FLUSH_MS, and what this thread was
just writing. The loop never waits for it: not for the disk, and not for a lock.
"""

import threading
import time
from pathlib import Path

from paxosd.host.clock import clock_ns
from paxosd.recorder.files import RingFiles
from paxosd.recorder.recorder import Recorder
from paxosd.storage.disk import RealDisk

DIRECTORY = "recorder"
"""Where the files are, within the data directory."""
FLUSH_MS = 250
CLOSE_S = 2.0
"""How long the end of the process waits for the last block."""


class RecorderWriter:
    """The thread. Raises OSError if the directory cannot be made."""

    def __init__(self, recorder: Recorder, data_dir: Path, bytes_max: int) -> None:
        directory = data_dir / DIRECTORY
        directory.mkdir(mode=0o700, exist_ok=True)
        self._recorder = recorder
        self.files = RingFiles(RealDisk(directory), bytes_max)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="paxosd-recorder", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._ending.wait(FLUSH_MS / 1000):
            self._write()
        self._write()
        self.files.close()

    def _write(self) -> None:
        now_us, wall_us = clock_ns() // 1000, time.time_ns() // 1000
        for block in self._recorder.take_blocks(now_us, wall_us):
            self.files.append(block, now_us)

    def close(self) -> None:
        """Have the rest written, if the disk takes it in time."""
        self._ending.set()
        self._thread.join(CLOSE_S)
