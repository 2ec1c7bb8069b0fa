"""The thread in which files are read that somebody asked this node for; see ``served_files.py``.

It begins with the first such request: most nodes never need it. It is never waited for, neither by
the loop nor at the end of the process: a read of a disk that hangs costs nothing but its answer.
"""

from collections.abc import Callable

from paxosd.daemon.worker import Syncer
from paxosd.replica.deferred_answers import DeferredJob


class FileThread:
    """``register``: has the loop wake when a descriptor becomes readable."""

    def __init__(self, register: Callable[[int], None]) -> None:
        self._register = register
        self._syncer: Syncer[DeferredJob] | None = None

    def start(self, job: DeferredJob) -> None:
        """Run the job; the next may be started once this one was returned by ``finished``."""
        if self._syncer is None:
            self._syncer = Syncer("paxosd-files")
            self._register(self._syncer.wake_fd)
        self._syncer.start(job)

    def finished(self) -> list[DeferredJob]:
        """The jobs done since the last call."""
        return self._syncer.finished() if self._syncer is not None else []

    def clear_wake(self) -> None:
        """Call when the loop was woken, before looking at ``finished``."""
        if self._syncer is not None:
            self._syncer.clear_wake()
