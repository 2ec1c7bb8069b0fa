"""Load for tests of real processes: clients in threads of their own, and a history that is judged.

Every writer has keys of its own. The n-th write of writer w sets ``w/n`` (written once, so a second
application shows as version 2 and another revision) and its counter ``w/hot`` (whose version counts
applications). Readers read the counter of the first writer. The outcome of a write that ended
without an answer is asked for at the end, so that the judgement leaves nothing open.
"""

import contextlib
import itertools
import random
import threading
import time

from paxosctl.client.errors import ClientError, NotSubmittedError, OutcomeUnknownError
from paxosd.check.exactly_once import FinalRow
from paxosd.check.history import GET, PUT, History
from paxosd.check.judge import judge
from paxosd.check.workload import record_read, record_result
from paxosd.core import requests

_numbers = itertools.count()


class Writer(threading.Thread):
    """Writes until stopped, ``batch`` numbers at a time."""

    def __init__(self, daemons, name, history, *, batch=5, timeout_s=20.0, pause_s=0.0):
        super().__init__(name=name, daemon=True)
        self.prefix = name.encode() + b"/"
        self.hot = self.prefix + b"hot"
        self.acked = 0
        self.unknown = []
        """Writes without an answer: the operation, its session and seq."""
        self.refused = 0
        self.error: BaseException | None = None
        self._daemons = daemons
        self._history = history
        self._batch = batch
        self._timeout_s = timeout_s
        self._pause_s = pause_s
        self._over = threading.Event()

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
            value = b"%s%d" % (self.prefix, n)
            for key in (b"%s%d" % (self.prefix, n), self.hot):
                operation = self._history.invoke(self.name, PUT, key, value=value)
                queued.append((operation, pipe.put(key, value)))
        for operation, future in queued:
            try:
                record_result(self._history, operation, future.result())
                self.acked += 1
            except NotSubmittedError:
                self._history.failed(operation)
                self.refused += 1
            except OutcomeUnknownError as error:
                self._history.unknown(operation)
                self.unknown.append((operation, error.session, error.seq))

    def settle(self):
        """Ask for the outcomes of unknown writes; returns how many there were."""
        unknown, self.unknown = self.unknown, []
        with self._daemons.client(timeout_s=60.0) as client:
            for operation, session, seq in unknown:
                outcome = client.outcome(session, seq)
                assert outcome.state in ("committed", "fenced"), outcome
                if outcome.state == "committed":
                    record_result(self._history, operation, outcome.result, outcome.slot)
                else:
                    self._history.failed(operation)
        return len(unknown)


class Reader(threading.Thread):
    """Linearizable reads of a writer's counter, each at a random node."""

    def __init__(self, daemons, writer, history, number, seed):
        super().__init__(name=f"{writer.name}r{number}", daemon=True)
        self.done = 0
        self.failed = 0
        self.error: BaseException | None = None
        self._daemons = daemons
        self._key = writer.hot
        self._history = history
        self._rng = random.Random(seed)
        self._over = threading.Event()

    def stop(self):
        self._over.set()

    def run(self):
        try:
            with contextlib.ExitStack() as stack:
                clients = {
                    name: stack.enter_context(self._daemons.client(name, timeout_s=2.0))
                    for name in self._daemons.names
                }
                while not self._over.is_set():
                    self._read(clients[self._rng.choice(self._daemons.names)])
        except BaseException as error:  # noqa: BLE001 - raised again by Load.__exit__
            self.error = error

    def _read(self, client):
        operation = self._history.invoke(self.name, GET, self._key)
        try:
            answer = client.read([[requests.GET, self._key]])
        except ClientError:
            self._history.failed(operation)
            self.failed += 1
            return
        record_read(self._history, operation, answer)
        self.done += 1


class Load:
    """Writers and readers around a test's body. Leaving stops them, settles what is unknown, raises
    what went wrong in a thread, and judges whether what they saw is linearizable."""

    def __init__(self, daemons, *, timeouts_s=(20.0, 20.0, 1.0), readers=1, seed=0, **how):
        """A writer per timeout; a short one leaves writes unknown when a leader dies."""
        self.daemons = daemons
        self.history = History(lambda: time.monotonic_ns() // 1000)
        self.settled = 0
        name = f"load{next(_numbers)}"  # loads on one cluster keep out of each other's keys
        self.writers = [
            Writer(daemons, f"{name}w{i}", self.history, timeout_s=timeout_s, **how)
            for i, timeout_s in enumerate(timeouts_s)
        ]
        self.readers = [
            Reader(daemons, self.writers[0], self.history, i, seed + i) for i in range(readers)
        ]

    @property
    def acked(self):
        return sum(writer.acked for writer in self.writers)

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
        """Everything acknowledged is there, each write applied once, and nothing else is. To be
        called when all writers have ended."""
        final = {operation.key: None for operation in self.history}
        with self.daemons.client(timeout_s=60.0) as client:
            for writer in self.writers:
                for row in client.scan(writer.prefix):
                    numbers = (row.create_revision, row.modify_revision, row.version)
                    assert row.key in final, f"{row.key} was never written"
                    final[row.key] = FinalRow(row.value, *numbers)
        self._judge(final)

    def _judge(self, final):
        verdict = judge(self.history, final).verdict
        assert verdict.ok, verdict.explanation

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
            self.settled = sum(writer.settle() for writer in self.writers)
            self._judge(None)
