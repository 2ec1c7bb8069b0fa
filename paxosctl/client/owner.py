"""Who may use the sockets of a client now: one process, and at each moment one thread of it.

ZeroMQ's sockets end the whole process when two threads use them at a time, and hang in a process
that was forked with them. So every use from elsewhere is refused before a socket is touched.
"""

import os
import threading


class Owner:
    """The process that made an object, and the thread that made it or :meth:`adopt`-ed it last."""

    __slots__ = ("_pid", "_thread")

    def __init__(self) -> None:
        self._pid = os.getpid()
        # The object, not its number: later threads get the numbers of ended ones.
        self._thread = threading.current_thread()

    def adopt(self) -> None:
        """From now on it belongs to the thread that calls this; the last one has ceased to use it,
        and a lock was passed on in between."""
        self._thread = threading.current_thread()

    @property
    def is_forked(self) -> bool:
        """Whether this process is another one, forked from the owner's."""
        return os.getpid() != self._pid

    def check_process(self) -> None:
        """Raises RuntimeError in any other process than the owner's."""
        if self.is_forked:
            raise RuntimeError(
                f"this client belongs to process {self._pid}, and cannot be used in process "
                f"{os.getpid()}, which was forked from it: make a Client of its own there"
            )

    def check(self) -> None:
        """Raises RuntimeError in any other thread or process than the owner's."""
        self.check_process()
        if threading.current_thread() is not self._thread:
            raise RuntimeError(
                f'these sockets belong to the thread "{self._thread.name}" now, and cannot be used '
                f'in "{threading.current_thread().name}": make some of its own in each thread'
            )


class Unshared:
    """What holds connections, and so is neither copied nor pickled."""

    def __reduce_ex__(self, protocol: object) -> str:
        kind = type(self).__name__
        raise TypeError(
            f"a {kind} holds connections, and cannot be copied or pickled: hand over the "
            "endpoints, and make a client of its own in each process"
        )
