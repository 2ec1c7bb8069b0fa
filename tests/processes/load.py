"""Clients that write and read in threads of their own, and keep a history that can be checked.

Every writer has keys of its own. The n-th write of writer w sets ``w/n`` (written once, so a
second application shows as version 2 and another revision) and its counter ``w/hot`` (whose
version counts applications). A write that ended without an answer is settled with ``outcome``:
committed or never, so the expected state is exact.
"""

import contextlib
import itertools
import random
import threading
import time
from typing import NamedTuple

from paxosctl.client.client import ClientError, NotSubmittedError, OutcomeUnknownError

_numbers = itertools.count()


class Write(NamedTuple):
    """One acknowledged write."""

    key: bytes
    value: bytes
    revision: int


class Writer(threading.Thread):
    """Writes until stopped, ``batch`` numbers at a time; then settles what is unknown."""

    def __init__(self, daemons, name, *, batch=5, timeout_s=20.0, pause_s=0.0):
        super().__init__(name=name, daemon=True)
        self.key = name.encode()
        self.acked: list[Write] = []
        self.unknown: list[tuple[bytes, bytes, int, int]] = []
        self.refused = 0
        self.error: BaseException | None = None
        self._daemons = daemons
        self._batch = batch
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._over = threading.Event()

    @property
    def hot(self):
        return self.key + b"/hot"

    def stop(self):
        self._over.set()

    def run(self):
        try:
            with self._daemons.client(timeout_s=self._timeout_s) as client:
                number = 0
                while not self._over.is_set():
                    self._write(client, number)
                    number += self._batch
                    self._over.wait(self._pause_s)
        except BaseException as error:  # noqa: BLE001 - raised again by Load.__exit__
            self.error = error

    def _write(self, client, number):
        pipe = client.pipeline()
        queued = []
        for n in range(number, number + self._batch):
            value = b"%s %d" % (self.key, n)
            for key in (b"%s/%d" % (self.key, n), self.hot):
                queued.append((key, value, pipe.put(key, value)))
        for key, value, future in queued:
            try:
                self.acked.append(Write(key, value, future.result()))
            except NotSubmittedError:
                self.refused += 1
            except OutcomeUnknownError as error:
                self.unknown.append((key, value, error.session, error.seq))

    def settle(self):
        """Turn unknown writes into acknowledged ones or into nothing."""
        unknown, self.unknown = self.unknown, []
        with self._daemons.client(timeout_s=60.0) as client:
            for key, value, session, seq in unknown:
                outcome = client.outcome(session, seq)
                assert outcome.state in ("committed", "fenced"), outcome
                if outcome.state == "committed":
                    self.acked.append(Write(key, value, outcome.result))

    def expected(self):
        """key → (value, revision of the last write, version)."""
        state = {}
        for key, value, revision in sorted(self.acked, key=lambda write: write.revision):
            state[key] = (value, revision, state.get(key, (b"", 0, 0))[2] + 1)
        return state


class Reader(threading.Thread):
    """Linearizable reads of a writer's counter at one random node after another: none may miss
    a write that was acknowledged before it began."""

    def __init__(self, daemons, writer, seed):
        super().__init__(daemon=True)
        self.done = 0
        self.failed = 0
        self.error: BaseException | None = None
        self._daemons = daemons
        self._writer = writer
        self._rng = random.Random(seed)
        self._over = threading.Event()

    def stop(self):
        self._over.set()

    def run(self):
        with contextlib.ExitStack() as stack:
            clients = {
                name: stack.enter_context(self._daemons.client(name, timeout_s=2.0))
                for name in self._daemons.names
            }
            while not self._over.is_set() and self.error is None:
                self._read(clients[self._rng.choice(self._daemons.names)])

    def _read(self, client):
        floor = max((w.revision for w in self._writer.acked[-20:]), default=0)
        try:
            found = client.get(self._writer.hot)
        except ClientError:
            self.failed += 1
            return
        revision = found.modify_revision if found is not None else 0
        if revision < floor:
            self.error = AssertionError(f"stale read: revision {revision}, acknowledged {floor}")
        self.done += 1


class Load:
    """Writers and readers around a test's body; leaving stops them, settles what is unknown and
    raises what went wrong in a thread."""

    def __init__(self, daemons, *, timeouts_s=(20.0, 20.0, 1.0), readers=1, seed=0, **how):
        """A writer per timeout; a short one leaves writes unknown when a leader dies."""
        self.daemons = daemons
        name = f"load{next(_numbers)}"  # loads on one cluster keep out of each other's keys
        self.writers = [
            Writer(daemons, f"{name}w{i}", timeout_s=timeout_s, **how)
            for i, timeout_s in enumerate(timeouts_s)
        ]
        self.settled = 0
        self.readers = [Reader(daemons, self.writers[0], seed + i) for i in range(readers)]

    @property
    def acked(self):
        return sum(len(writer.acked) for writer in self.writers)

    def wait_more(self, count, timeout_s=60.0):
        """Wait until so many more writes were acknowledged."""
        goal = self.acked + count
        deadline = time.monotonic() + timeout_s
        while self.acked < goal:
            self.raise_errors()
            assert time.monotonic() < deadline, f"{self.acked} of {goal} writes in {timeout_s} s"
            time.sleep(0.01)  # between two looks at other threads

    def raise_errors(self):
        for thread in (*self.writers, *self.readers):
            if thread.error is not None:
                raise thread.error

    def check(self):
        """Everything acknowledged is there, each write applied once, and nothing else is."""
        with self.daemons.client(timeout_s=60.0) as client:
            for writer in self.writers:
                found = {
                    row.key: (row.value, row.modify_revision, row.version)
                    for row in client.scan(writer.key + b"/")
                }
                expected = writer.expected()
                assert found.keys() == expected.keys()
                wrong = {k: (found[k], expected[k]) for k in found if found[k] != expected[k]}
                assert not wrong

    def __enter__(self):
        for thread in (*self.writers, *self.readers):
            thread.start()
        return self

    def __exit__(self, kind, *_):
        for thread in (*self.writers, *self.readers):
            thread.stop()
        for thread in (*self.writers, *self.readers):
            thread.join(90)
        if kind is None:
            assert not any(thread.is_alive() for thread in (*self.writers, *self.readers))
            self.raise_errors()
            self.settled = sum(len(writer.unknown) for writer in self.writers)
            for writer in self.writers:
                writer.settle()
