"""SIGTERM, SIGINT and SIGHUP, from the first moment of the process on.

    main ── catch ──► a stop raises StopRequested: whatever is under way, a long recovery, ends
    the parts are there ── note ──► signals wait in ``noted``; the loop takes them, in order

A reload (SIGHUP) never interrupts anything: it waits for the loop. Without a handler it would end
the process; and in process 1 of a container SIGTERM would do nothing. An interrupted start leaves
the same as a crash would, and every start can continue from that.
"""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

STOPS = (signal.SIGTERM, signal.SIGINT)
CAUGHT = (*STOPS, signal.SIGHUP)


class StopRequested(BaseException):
    """The process must end. ``number``: the signal that asked for it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopSignals:
    """The signals of this process; use it from the main thread."""

    def __init__(self) -> None:
        self.noted: list[int] = []
        """The signals that wait for the loop, in the order of their arrival."""
        self._wake: Callable[[], None] | None = None

    def catch(self) -> None:
        """From here on a stop raises StopRequested, and a reload waits."""
        for number in CAUGHT:
            signal.signal(number, self._take)

    def note(self, wake: Callable[[], None]) -> None:
        """From here on every signal waits in ``noted``, and ``wake`` is called: it must be safe in
        a signal handler."""
        self._wake = wake

    def raise_noted(self) -> None:
        """Raise StopRequested for a stop that waits: one whose exception was lost, as in a
        finalizer."""
        for number in self.noted:
            if number in STOPS:
                raise StopRequested(number)

    def release(self) -> None:
        """Give the signals back to Python: what runs now ends by them as any command does. One that
        waits takes effect at once. Without :meth:`catch` before, nothing is done."""
        if signal.getsignal(signal.SIGHUP) != self._take:
            return
        for number in CAUGHT:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
        for noted in self.noted:
            os.kill(os.getpid(), noted)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        self.noted.append(number)
        if self._wake is not None:
            self._wake()
        elif number in STOPS:
            raise StopRequested(number)


SIGNALS = StopSignals()
"""The signals of this process."""


def end_by(number: int) -> NoReturn:
    """End as if the signal had not been caught. The kernel does not end process 1 by a signal: it
    exits with 128 + ``number``."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    sys.exit(128 + number)
