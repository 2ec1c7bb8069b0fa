"""The clients of ``paxosctl fault run``: a workload in threads that records all it is told.

Each client is a thread with a :class:`paxosctl.client.client.Client` of its own, in a closed loop
over few keys, so that clients meet. Every value is written once, so it names its writer. What ended
without an answer is settled when all is over: the outcome query says "done" or "never".
"""

import random
import threading
import time
from collections.abc import Sequence
from typing import Any

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from paxosctl.faultrun.plan import Workload
from paxosd.check import history as h
from paxosd.check.exactly_once import FinalRow
from paxosd.check.history import History, Operation
from paxosd.core.client.calls import OutcomeUnknown
from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    DELETE,
    DELETE_RANGE,
    PUT,
    Command,
    Status,
    prefix_end,
)
from paxosd.core.requests import GET, RANGE

SETTLE_S = 30.0


class Workers:
    """All clients of a run, and what they saw."""

    def __init__(
        self, endpoints: Sequence[str], workload: Workload, seed: int, prefix: bytes
    ) -> None:
        """``endpoints``: each client begins with another one. ``prefix``: of all its keys."""
        self.history = History(lambda: time.monotonic_ns() // 1000)
        self.prefix = prefix
        self.acked_s: list[float] = []
        """When each acknowledged write was acknowledged, on ``time.monotonic``."""
        self.settled = 0
        self._endpoints = list(endpoints)
        self._over = threading.Event()
        keys = [b"%sk%04d" % (prefix, number) for number in range(workload.keys)]
        self._keys = keys
        self._threads = [
            _Worker(self, place, keys, workload, random.Random(f"{seed}/client/{place}"))
            for place in range(workload.clients)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the loops and wait for the operations under way. Raises what broke a client."""
        self._over.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self.raise_error()

    def raise_error(self) -> None:
        """What broke a client, other than a cluster that does not answer: a bug."""
        for thread in self._threads:
            if thread.error is not None:
                raise thread.error

    def settle(self, client: Client) -> None:
        """Ask what became of the writes that ended without an answer. Raises ClientError."""
        for thread in self._threads:
            while thread.open:
                operation, session, seq = thread.open[-1]
                outcome = client.outcome(session, seq)
                if outcome.state == "committed":
                    note_ok(self.history, operation, outcome.result, outcome.slot)
                elif outcome.state == "fenced":
                    self.history.failed(operation)
                if outcome.state in ("committed", "fenced"):
                    self.settled += 1
                thread.open.pop()

    def final(self, client: Client) -> dict[bytes, FinalRow | None]:
        """Every key as it is now. Raises ClientError."""
        rows: dict[bytes, FinalRow | None] = dict.fromkeys(self._keys)
        for row in client.scan(self.prefix):
            if row.key in rows:
                numbers = (row.create_revision, row.modify_revision, row.version)
                rows[row.key] = FinalRow(row.value, *numbers)
        return rows

    @property
    def over(self) -> threading.Event:
        """Set when the clients are to end."""
        return self._over

    def client(self, place: int, timeout_ms: int) -> Client:
        """A client that begins with another endpoint than its neighbours."""
        turn = place % len(self._endpoints)
        endpoints = self._endpoints[turn:] + self._endpoints[:turn]
        return Client(endpoints, timeout_s=timeout_ms / 1000)


class _Worker(threading.Thread):
    """One client: one operation after the other."""

    def __init__(
        self,
        workers: Workers,
        place: int,
        keys: list[bytes],
        workload: Workload,
        rng: random.Random,
    ) -> None:
        super().__init__(name=f"c{place + 1}", daemon=True)
        self.error: BaseException | None = None
        self.open: list[tuple[Operation, int, int]] = []
        """Writes without an answer: the operation, its session and seq."""
        self._workers = workers
        self._history = workers.history
        self._place = place
        self._keys = keys
        self._workload = workload
        self._rng = rng
        self._kinds = list(workload.mix)
        self._weights = list(workload.mix.values())
        self._written = 0
        self._seen: dict[bytes, tuple[bytes | None, int]] = {}

    def run(self) -> None:
        over = self._workers.over
        pause_s = self._workload.pause / 1000
        try:
            with self._workers.client(self._place, self._workload.timeout) as client:
                while not over.is_set():
                    self._act(client)
                    over.wait(pause_s)
        except BaseException as error:  # noqa: BLE001 - raised again by Workers.raise_error
            self.error = error

    def _act(self, client: Client) -> None:
        (kind,) = self._rng.choices(self._kinds, self._weights)
        key = self._rng.choice(self._keys)
        if kind == h.GET:
            self._get(client, key)
        elif kind == h.RANGE:
            self._range(client, *self._stretch())
        elif kind == h.PUT:
            value = self._value()
            self._write(client, h.PUT, [PUT, key, value], value=value)
        elif kind == h.DELETE:
            self._write(client, h.DELETE, [DELETE, key])
        elif kind == h.CAS:
            self._cas(client, key)
        else:
            start, end = self._stretch()
            self._write(client, h.DELETE_RANGE, [DELETE_RANGE, start, end], end=end)

    def _stretch(self) -> tuple[bytes, bytes]:
        """A random run of keys: its first, and the end."""
        bounds = [*self._keys, prefix_end(self._workers.prefix)]
        first, last = sorted(self._rng.sample(range(len(bounds)), 2))
        return bounds[first], bounds[last]

    def _value(self) -> bytes:
        self._written += 1
        return b"%s-%d" % (self.name.encode(), self._written) + b"." * max(
            0, self._workload.value_bytes - len(self.name) - 1 - len(str(self._written))
        )

    def _cas(self, client: Client, key: bytes) -> None:
        expect, revision = self._seen.get(key, (None, 0))
        value = self._value()
        if self._rng.random() < 0.5:
            command = [CAS_REVISION, key, revision, value]
            self._write(client, h.CAS, command, value=value, expect_revision=revision)
        else:
            self._write(client, h.CAS, [CAS_VALUE, key, expect, value], value=value, expect=expect)

    def _write(self, client: Client, kind: h.Kind, command: Command, **how: Any) -> None:
        operation = self._history.invoke(self.name, kind, command[1], **how)
        call = client.finish(client.submit(command))
        if call.failure is None:
            # Not the slot: after a repetition the answer's is that of the repetition.
            note_ok(self._history, operation, call.result)
            self._workers.acked_s.append(time.monotonic())
            if kind in (h.PUT, h.CAS) and operation.revision > 0:
                self._seen[operation.key] = (operation.value, operation.revision)
        elif isinstance(call.failure, OutcomeUnknown):
            self._history.unknown(operation)
            if call.failure.session:
                self.open.append((operation, call.failure.session, call.failure.seq))
        else:
            self._history.failed(operation)

    def _get(self, client: Client, key: bytes) -> None:
        operation = self._history.invoke(self.name, h.GET, key)
        try:
            answer = client.read([[GET, key]])
        except ClientError:
            self._history.failed(operation)  # a read has no effect that could come later
            return
        found = answer.results[0]
        value, revision = (None, 0) if found is None else (found.value, found.modify_revision)
        self._seen[key] = (value, revision)
        self._history.ok(
            operation, value, revision=answer.revision, slot=answer.applied, modified=(revision,)
        )

    def _range(self, client: Client, start: bytes, end: bytes) -> None:
        operation = self._history.invoke(self.name, h.RANGE, start, end=end)
        try:
            answer = client.read([[RANGE, start, end, 0, False, False]])
        except ClientError:
            self._history.failed(operation)
            return
        page = answer.results[0]
        self._history.ok(
            operation,
            tuple((row.key, row.value) for row in page.rows),
            revision=answer.revision,
            slot=answer.applied,
            modified=tuple(row.modify_revision for row in page.rows),
            end=page.more,
        )


def note_ok(history: History, operation: Operation, result: Any, slot: int = -1) -> None:
    """Record the result of a command as the state machine gives it: the revision, or (status,
    revision, detail)."""
    if type(result) is int:
        told: h.Result = None if operation.kind == h.PUT else True
        history.ok(operation, told, revision=result, slot=slot)
        return
    status, revision, detail = result
    if operation.kind == h.DELETE_RANGE:
        count = int(detail) if status == Status.OK else 0
        history.ok(operation, count, revision=revision, slot=slot)
    elif operation.kind == h.CAS:
        history.ok(operation, False, slot=slot, modified=(revision,))
    else:
        history.ok(operation, False, revision=revision, slot=slot)
