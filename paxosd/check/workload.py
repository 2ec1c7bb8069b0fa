"""A workload: which operations a client does, drawn from a seed, and what it records of them.

    client = WorkloadClient("c1", history, rng, keys=…, mix=BALANCED)
    request = client.draw()                       what to send: a command or a query
    operation = client.begin(request)             recorded right before it is sent
    client.record_result(operation, result)       recorded when its answer has come;
    client.record_read(operation, answer)         or history.failed / history.unknown

The caller sends and receives: simulated clients, the clients of ``paxosctl fault run`` and those of
the campaigns on real processes differ in that alone. The clients share few keys, so that they meet.
Every value is written once, so that a value names its writer. A CAS mostly expects what the client
saw last, so that it often succeeds.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from paxosd.check.history import (
    CAS,
    DELETE,
    DELETE_RANGE,
    GET,
    PUT,
    RANGE,
    READS,
    History,
    Kind,
    Operation,
    Result,
)
from paxosd.core import commands, requests
from paxosd.core.commands import Command, Status
from paxosd.core.requests import ReadAnswer

CAS_REVISION = "cas_revision"
"""In a mix: a CAS that expects a revision; "cas" expects a value. Both are recorded as CAS."""
RANGE_KEYS_MAX = 3

Mix = Mapping[str, float]
"""Kind of operation → weight: put, get, cas, cas_revision, delete, range, delete_range."""

BALANCED: Mix = {
    "put": 4, "get": 4, "cas": 2, "cas_revision": 1, "delete": 1, "range": 0.5, "delete_range": 0.2,
}  # fmt: skip


class Request(NamedTuple):
    """One operation to be sent. ``body``: the command of a write, or the query of a read, as it
    goes over the wire; the rest as in :class:`~paxosd.check.history.Operation`."""

    kind: Kind
    key: bytes
    body: Command
    end: bytes = b""
    value: bytes | None = None
    expect: bytes | None = None
    expect_revision: int = -1

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.kind in READS


class WorkloadClient:
    """The work of one client. ``process``: its name in the history."""

    def __init__(
        self,
        process: str,
        history: History,
        rng: random.Random,
        *,
        keys: Sequence[bytes],
        mix: Mix,
        keys_end: bytes = b"",
        range_keys_max: int = RANGE_KEYS_MAX,
        pad: Callable[[bytes], bytes] | None = None,
    ) -> None:
        """``keys``: what it reads and writes; ``keys_end``: the end of a range that includes the
        last of them. ``range_keys_max``: a range is over so many keys or fewer, unless it goes to
        the end. ``pad(value)``: makes a value larger."""
        self.process = process
        self.keys = tuple(keys)
        self._history = history
        self._rng = rng
        self._sorted = sorted(keys)
        self._keys_end = keys_end
        self._range_keys_max = range_keys_max
        self._pad = pad
        self._kinds = [kind for kind, weight in mix.items() if weight > 0]
        self._weights = [mix[kind] for kind in self._kinds]
        self._written = 0
        self._seen: dict[bytes, tuple[bytes | None, int]] = {}
        """Key → the value and the revision that this client saw last."""

    # -- drawing

    def draw(self) -> Request:
        """The next operation."""
        (kind,) = self._rng.choices(self._kinds, self._weights)
        key = self._rng.choice(self.keys)
        if kind == GET:
            return self.get(key)
        if kind == RANGE:
            end = self._draw_end(key)
            return Request(RANGE, key, [requests.RANGE, key, end, 0, False, False], end=end)
        if kind == PUT:
            return self._put(key, self._padded_value())
        if kind == DELETE:
            return Request(DELETE, key, [commands.DELETE, key])
        if kind == DELETE_RANGE:
            end = self._draw_end(key)
            return Request(DELETE_RANGE, key, [commands.DELETE_RANGE, key, end], end=end)
        expect, revision = self._seen.get(key, (None, 0))
        value = self._padded_value()
        if kind == CAS:
            body = [commands.CAS_VALUE, key, expect, value]
            return Request(CAS, key, body, value=value, expect=expect)
        body = [commands.CAS_REVISION, key, revision, value]
        return Request(CAS, key, body, value=value, expect_revision=revision)

    def draw_put(self) -> Request:
        """A put of a small value to one of the keys."""
        return self._put(self._rng.choice(self.keys), self.new_value())

    def get(self, key: bytes) -> Request:
        """A read of one key."""
        return Request(GET, key, [requests.GET, key])

    def _put(self, key: bytes, value: bytes) -> Request:
        return Request(PUT, key, [commands.PUT, key, value], value=value)

    def new_value(self) -> bytes:
        """One that was never written before."""
        self._written += 1
        return b"%s-%d" % (self.process.encode(), self._written)

    def _padded_value(self) -> bytes:
        value = self.new_value()
        return value if self._pad is None else self._pad(value)

    def _draw_end(self, start: bytes) -> bytes:
        """The end of a range of a few keys from ``start`` on."""
        above = [key for key in self._sorted if key > start]
        count = self._rng.randrange(self._range_keys_max)
        return above[count] if count < len(above) else self._keys_end

    # -- recording

    def begin(self, request: Request) -> Operation:
        """Record that this is about to be sent."""
        return self._history.invoke(
            self.process,
            request.kind,
            request.key,
            end=request.end,
            value=request.value,
            expect=request.expect,
            expect_revision=request.expect_revision,
        )

    def record_result(self, operation: Operation, result: Any, slot: int = -1) -> None:
        """Record the result of a command; see :func:`record_result`."""
        done = record_result(self._history, operation, result, slot)
        if done and operation.kind in (PUT, CAS):
            self._seen[operation.key] = (operation.value, operation.revision)
        elif operation.kind in (DELETE, DELETE_RANGE):
            self._seen.pop(operation.key, None)

    def record_read(self, operation: Operation, answer: ReadAnswer) -> None:
        """Record the answer to the one query of a read."""
        found = answer.results[0]
        if operation.kind == GET:
            value, modified = (found.value, found.modify_revision) if found else (None, 0)
            self._seen[operation.key] = (value, modified)
        record_read(self._history, operation, answer)


def record_result(history: History, operation: Operation, result: Any, slot: int = -1) -> bool:
    """Record the result of a command, and return whether it took effect.

    ``result``: as the state machine gives it: the revision, or (status, revision, detail).
    ``slot``: that it was applied in; -1 if that is not known. The answer to a repeated command
    names the slot of the repetition: leave that out.
    """
    found: Any = (Status.OK, result, None) if type(result) is int else result
    status, revision, detail = found
    done: bool = status == Status.OK
    value: Result = done
    if operation.kind == CAS and not done:
        history.ok(operation, False, slot=slot, modified=(revision,))
        return False
    if operation.kind == PUT:
        value = None
    elif operation.kind == DELETE_RANGE:
        value = int(detail) if done else 0
    history.ok(operation, value, revision=revision, slot=slot)
    return done


def record_read(history: History, operation: Operation, answer: ReadAnswer) -> None:
    """Record the answer to the one query of a GET or a RANGE."""
    found = answer.results[0]
    if operation.kind == GET:
        value, modified = (found.value, found.modify_revision) if found else (None, 0)
        history.ok(
            operation, value, revision=answer.revision, slot=answer.applied, modified=(modified,)
        )
        return
    history.ok(
        operation,
        tuple((row.key, row.value) for row in found.rows),
        revision=answer.revision,
        slot=answer.applied,
        modified=tuple(row.modify_revision for row in found.rows),
        end=found.more,
    )
