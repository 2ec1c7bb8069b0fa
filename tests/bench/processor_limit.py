"""Ends what hangs: a limit of processor time, so that a busy machine shortens nothing, for work in
the main thread."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

RUN_CPU_S_MAX = 60.0
"""A run that takes so long hangs: the mutation made it go on for ever."""


@contextmanager
def processor_limit(limit_s: float) -> Iterator[None]:
    """Raises TimeoutError in the block after so long; in another thread than the main one,
    nothing is limited."""

    def late(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"the run took more than {limit_s:g} s of processor time")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
