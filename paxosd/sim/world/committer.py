"""Group commits of one simulated process: each takes a while, and a crash may come in between.

The :class:`~paxosd.replica.ports.Committer` of the simulator. A job is carried out at the end of
its time, in one go; a crash while it is under way draws how far it had come.
"""

import random
from collections.abc import Callable

from paxosd.storage.disk import StorageError
from paxosd.storage.wal import SyncJob

SPIKE_PROBABILITY = 0.01
SPIKE_FACTOR = 20.0


class SimCommitter:
    """The committer of one run. ``later(delay_ms, action)`` does something unless the process has
    died meanwhile; ``wake()`` lets it take a turn."""

    __slots__ = (
        "_at_once",
        "_done",
        "_error",
        "_later",
        "_rng",
        "_run",
        "_spikes",
        "_wake",
        "job",
        "sync_ms",
    )

    def __init__(
        self,
        rng: random.Random,
        sync_ms: tuple[float, float],
        *,
        later: Callable[[float, Callable[[], None]], None],
        run: Callable[[SyncJob], float],
        wake: Callable[[], None],
        spikes: bool = True,
        at_once: Callable[[], bool] = lambda: False,
    ) -> None:
        """``run``: carries a job out; returns for how many ms more it is to seem under way.
        ``spikes``: whether one in a hundred takes much longer. ``at_once``: draws whether a job
        that may be carried out within the turn is."""
        self._rng = rng
        self.sync_ms = sync_ms
        self._later = later
        self._run = run
        self._wake = wake
        self._spikes = spikes
        self._at_once = at_once
        self.job: SyncJob | None = None
        """The one under way."""
        self._done: list[SyncJob] = []
        self._error: StorageError | None = None

    def start(self, job: SyncJob, *, may_block: bool) -> bool:
        assert self.job is None, "two group commits at a time"
        self.job = job
        if may_block and self._at_once():
            more_ms = self._run(job)
            if more_ms > 0:
                self._later(more_ms, self._tell)
                return False
            self._done.append(job)
            self.job = None
            return True
        low_ms, high_ms = self.sync_ms
        delay_ms = low_ms + self._rng.random() * (high_ms - low_ms)
        if self._spikes and self._rng.random() < SPIKE_PROBABILITY:
            delay_ms *= SPIKE_FACTOR
        self._later(delay_ms, self._finish)
        return False

    def finished(self) -> list[SyncJob]:
        if self._error is not None:
            raise self._error
        done = self._done
        if done:
            self._done = []
        return done

    def _finish(self) -> None:
        assert self.job is not None
        try:
            more_ms = self._run(self.job)
        except StorageError as error:
            self._error = error
            self.job = None
            self._wake()
            return
        if more_ms > 0:
            self._later(more_ms, self._tell)
        else:
            self._tell()

    def _tell(self) -> None:
        assert self.job is not None
        self._done.append(self.job)
        self.job = None
        self._wake()
