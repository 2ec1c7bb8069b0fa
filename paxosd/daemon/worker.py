"""The sync thread: group commits run beside the loop, one at a time.

    loop ── begin_sync() → job ──► queue ──► thread: job.run() (write, fdatasync)
    loop ◄── eventfd ◄── done ◄──┘

What arrives while a job runs is the next group: no timers, the disk sets the batch. The thread
touches nothing but the job. If a job fails, the error is handed to the loop, which must stop
voting: a failed fsync is never retried.
"""

import os
import queue
import threading
from typing import Generic, Protocol, TypeVar


class Job(Protocol):
    """One group commit; ``run`` raises an exception if the group is not durable after it."""

    def run(self) -> None: ...


JobT = TypeVar("JobT", bound=Job)


class Syncer(Generic[JobT]):
    """Runs jobs in order. ``wake_fd`` becomes readable (an eventfd) when one is done.

    Use it from one thread, as a context manager: leaving waits for the job under way.
    """

    def __init__(self, name: str = "paxosd-sync") -> None:
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._jobs: queue.SimpleQueue[JobT | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[JobT, BaseException | None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Syncer[JobT]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, job: JobT) -> None:
        """Run the job; the next may be started once this one was returned by ``finished``."""
        self._jobs.put(job)

    def finished(self) -> list[JobT]:
        """The jobs done since the last call. Raises the error of a job that failed."""
        jobs = []
        while not self._done.empty():
            job, error = self._done.get()
            if error is not None:
                raise error
            jobs.append(job)
        return jobs

    def wake(self) -> None:
        """Make ``wake_fd`` readable; safe in a signal handler, which may run after the end."""
        if self.wake_fd >= 0:
            os.eventfd_write(self.wake_fd, 1)

    def clear_wake(self) -> None:
        """Call when ``wake_fd`` was readable, before looking at ``finished``."""
        if self.wake_fd < 0:
            return
        try:
            os.eventfd_read(self.wake_fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Wait for the job under way and end the thread; ``finished`` still returns that job."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()
            # First forgotten, then closed: the number may soon be another file's.
            wake_fd, self.wake_fd = self.wake_fd, -1
            os.close(wake_fd)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            error: BaseException | None = None
            try:
                job.run()
            except BaseException as caught:  # noqa: BLE001 - handed to the loop, which stops
                error = caught
            self._done.put((job, error))
            os.eventfd_write(self.wake_fd, 1)
