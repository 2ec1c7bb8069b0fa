"""Ends what hangs: a time limit by the wall clock, for work in the main thread."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

RUN_WALL_S_MAX = 60.0
"""A run that takes so long hangs: the mutation made it go on for ever."""


@contextmanager
def wall_limit(limit_s: float) -> Iterator[None]:
    """Raises TimeoutError in the block after so long; in another thread than the main one,
    nothing is limited."""

    def late(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"the run took more than {limit_s:g} s of wall time")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
