"""What the loop's thread had of the processors: an event of the recorder about every 100 ms.

The kernel counts for each thread how long it ran and how long it was ready to run and waited
(``Documentation/scheduler/sched-stats.rst``). So a recording says of a node that was late whether
it was slow itself, or starved by others, or stood still.
"""

import os
import threading

from paxosd.core.types import NULL_BALLOT
from paxosd.recorder.event import PROCESSOR
from paxosd.recorder.recorder import Recorder


class ProcessorTimes:
    """Of the thread that makes it. On a system without these counters it records nothing."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._file = -1
        self._before_ms = 0.0
        self._before = 0, 0
        path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return

    def note(self, now_ms: float) -> None:
        """Record what there was since the last call."""
        if self._file < 0:
            return
        try:
            ran_ns, waited_ns = map(int, os.pread(self._file, 80, 0).split()[:2])
        except (OSError, ValueError):
            self.close()
            return
        before_ms, before = self._before_ms, self._before
        self._before_ms, self._before = now_ms, (ran_ns, waited_ns)
        if before_ms and now_ms > before_ms:
            ran_us = max(0, ran_ns - before[0]) // 1000
            waited_us = max(0, waited_ns - before[1]) // 1000
            took_us = int((now_ms - before_ms) * 1000)
            self._recorder.later((now_ms, self._record, took_us, (ran_us, waited_us)))

    def _record(self, took_us: int, shares: tuple[int, int]) -> None:
        self._recorder.record(PROCESSOR, "", 0, took_us, NULL_BALLOT, *shares)

    def close(self) -> None:
        """Record no more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
