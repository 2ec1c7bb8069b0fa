"""Group commits of a daemon: within the turn while the disk is fast, else in the sync thread.

To hand a job to a thread and to take its end in by another turn costs as much as the sync of a fast
disk takes (0.1 to 0.3 ms), and what waits for it waits for both. So while syncs take a millisecond
or two the loop carries a small one out itself. The first slow one ends that: from then on the sync
thread has them, until many in a row were not slow. What counts is the average: where all cores are
busy some take twice as long as the disk needs, and it is there that the thread costs most.

What that can cost: *one* stall of the disk, from the first slow sync on, holds up the loop, not
only the log. If it lasts longer than an election time-out the node is taken for dead, as one that
the kernel does not schedule, and another leads; when it goes on it takes the turn for a late one
(``Node.set_time``) and trusts no time that passed meanwhile. No promise or vote leaves before its
record is durable in either way. The simulator draws commits within the turn, and pauses in it.
"""

from collections.abc import Callable

from paxosd.daemon.worker import Syncer
from paxosd.storage.wal import SyncJob

USUAL_US_MAX = 2000
"""While the syncs take no more than that on average, the loop carries small ones out itself: the
way through the thread costs 0.2 to 0.3 ms of processor time, and a turn."""
SLOW_US = 10_000
"""A group commit that takes longer ends that at once …"""
CALM_IN_A_ROW = 64
"""… until so many in a row were not slow."""
_AVERAGE_OF = 16
"""The average is a running one, over about so many."""
BYTES_MAX = 1024
"""A larger group goes to the thread: it holds the commands of many, of whom more come meanwhile,
and to take those in while the disk works makes fewer and larger groups."""


class Commits:
    """Implements :class:`paxosd.replica.ports.Committer`. ``thread``: the sync thread.
    ``faulty()``: whether the disk may be slow on purpose; then the thread has all jobs, for
    directives of operators must be heard meanwhile."""

    def __init__(self, thread: Syncer[SyncJob], faulty: Callable[[], bool]) -> None:
        self._thread = thread
        self._faulty = faulty
        self._calm = 0
        """How many in a row were not slow."""
        self._usual_us = 0.0
        """The running average."""
        self._done: list[SyncJob] = []

    def start(self, job: SyncJob, *, may_block: bool) -> bool:
        """Begin a job; True: it has ended. Raises StorageError of a job that failed at once."""
        if (
            may_block
            and self._calm >= CALM_IN_A_ROW
            and self._usual_us <= USUAL_US_MAX
            and job.file is not None  # else it begins a new segment, which may have to be made
            and job.end - job.offset <= BYTES_MAX
            and not self._faulty()
        ):
            job.run()
            self._look(job)
            self._done.append(job)
            return True
        self._thread.start(job)
        return False

    def finished(self) -> list[SyncJob]:
        """The jobs done since the last call. Raises the error of a job that failed."""
        if self._done:
            done, self._done = self._done, []
            return done
        done = self._thread.finished()
        for job in done:
            self._look(job)
        return done

    def _look(self, job: SyncJob) -> None:
        duration_us = job.duration_us
        self._calm = self._calm + 1 if duration_us <= SLOW_US else 0
        self._usual_us += (min(duration_us, SLOW_US) - self._usual_us) / _AVERAGE_OF
