"""Clients of ``paxosctl fault run`` that hold a lock in turn, and write with its fence.

What each believes and writes is in LockRecords, which ``paxosd/check/locks.py`` judges. At times
one goes on to write with the fence of a lock that it has given back: that must be refused once
another has it.
"""

import contextlib
import time

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError, FencedOffError, LockLostError
from paxosctl.client.lock import Lock
from paxosctl.faultrun.worker import Run, Worker, now_us
from paxosd.check.locks import LockRecords

TTL_S = 2.0
ACQUIRE_S = 0.5
WRITES_MAX = 3
STALE_SHARE = 0.3


class Locker(Worker):
    """One client of the lock."""

    def __init__(self, run: Run, place: int, name: str, records: LockRecords) -> None:
        super().__init__(run, place, name)
        self._records = records
        self._lock: Lock | None = None
        self._former: tuple[bytes, int] | None = None

    @property
    def _pause_s(self) -> float:
        return self._rng.uniform(0.02, 0.2)

    def _act(self, client: Client) -> None:
        if self._former is not None:
            self._write(client, self._former)
            self._former = None
        if self._lock is None:
            self._lock = client.lock(self._run.prefix + b"lock", ttl_s=TTL_S)
        lock = self._lock
        try:
            if not lock.acquire(ACQUIRE_S):
                return
        except ClientError:
            return
        token = lock.token
        self._records.acquired(self.name, token, now_us())
        for _ in range(self._rng.randint(1, WRITES_MAX)):
            begun_us = now_us()
            self._records.checked(self.name, token, begun_us, lock.check())
            self._write(client, lock.fence)
            if self._run.over.wait(self._rng.uniform(0, 0.05)):
                break
        if self._rng.random() < STALE_SHARE:
            self._former = lock.fence
        with contextlib.suppress(LockLostError):
            lock.release()

    def _write(self, client: Client, fence: tuple[bytes, int]) -> None:
        begun_us = now_us()
        value = b"%s-%d" % (self.name.encode(), begun_us)
        try:
            revision = client.put(self._run.prefix + b"guarded", value, fence=fence)
        except FencedOffError:
            self._records.refused(self.name, fence[1], begun_us)
        except ClientError:
            pass  # whether it took effect is not known: nothing can be said of it
        else:
            self._records.wrote(self.name, fence[1], begun_us, revision)
            self._run.acked_s.append(time.monotonic())
