"""Work on snapshot files beside the loop of one simulated process: each job takes a while.

The :class:`~paxosd.snapshot.jobs.Helper` of the simulator, as ``committer.py`` is its committer.
A job is carried out at the end of its time, in one go; a crash may come at any change of the disk
in it.
"""

import random
from collections.abc import Callable

from paxosd.snapshot.jobs import Job

JOB_MS = (0.2, 30.0)


class SimHelper:
    """The helper of one run. ``later`` and ``wake`` as the committer has them."""

    __slots__ = ("_done", "_job", "_later", "_rng", "_wake")

    def __init__(
        self,
        rng: random.Random,
        *,
        later: Callable[[float, Callable[[], None]], None],
        wake: Callable[[], None],
    ) -> None:
        self._rng = rng
        self._later = later
        self._wake = wake
        self._job: Job | None = None
        self._done: list[Job] = []

    def start(self, job: Job) -> None:
        assert self._job is None, "two jobs at a time"
        self._job = job
        self._later(self._rng.uniform(*JOB_MS), self._finish)

    def finished(self) -> list[Job]:
        done = self._done
        if done:
            self._done = []
        return done

    def _finish(self) -> None:
        job = self._job
        assert job is not None
        job.run()
        self._job = None
        self._done.append(job)
        self._wake()
