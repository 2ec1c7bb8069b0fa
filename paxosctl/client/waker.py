"""Ends the sleep of the thread that polls a client's sockets, from any other thread.

The thread that sleeps says so before it looks for the last time whether there is something to do;
whoever brings something wakes it after it has brought it. So one of the two sees the other, and
nothing is brought without somebody noticing.
"""

import contextlib
import os
import threading


class Waker:
    """``fd``: becomes readable by :meth:`wake`."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._asleep = False
        self._closed = False
        self._lock = threading.Lock()

    def fall_asleep(self) -> None:
        """From now on it has to be woken."""
        self._asleep = True

    def wake_up(self) -> None:
        """It is awake, and looks for itself."""
        self._asleep = False

    def wake(self) -> None:
        """Wake it if it sleeps; once is enough. After :meth:`close` it does nothing: the number of
        the descriptor may be another file's by then."""
        if not self._asleep:
            return
        with self._lock:
            if self._asleep and not self._closed:
                self._asleep = False
                os.eventfd_write(self.fd, 1)

    def drain(self) -> None:
        """Forget the wakings that have been noticed."""
        with contextlib.suppress(BlockingIOError):  # there was none
            os.eventfd_read(self.fd)

    def close(self) -> None:
        """Nobody sleeps here any more."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self.fd)
