"""The public Python client of paxosd.

    with Client(["tcp://127.0.0.1:7410", "tcp://127.0.0.1:7420"]) as client:
        revision = client.put(b"k", b"v")
        client.get(b"k").value
        with client.pipeline() as pipe:
            calls = [pipe.put(b"k%d" % i, b"v") for i in range(1000)]
        [call.value() for call in calls]

Keys and values are bytes; a str is taken as its UTF-8. Every method may raise
:class:`~paxosctl.errors.PaxosError`: UnreachableError, NotSubmittedError (safe to retry),
OutcomeUnknownError (ask ``outcome``), RefusedError, InvalidError.

A client is used from one thread. It finds the leader by itself, sends a command again with the
same (session, seq) until its deadline, and is applied once. The protocol is
:mod:`paxosd.core.client`; here are the sockets and the clock.
"""

import random
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple

from paxosctl.connection import Connections, Lost
from paxosctl.errors import (
    CompactedError,
    InvalidError,
    NotSubmittedError,
    OutcomeUnknownError,
    RefusedError,
    UnreachableError,
)
from paxosd.core.client import Call, ClientProtocol, Done, NotSubmitted, OutcomeUnknown
from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    CHECKSUM,
    CLOSE,
    DELETE,
    DELETE_RANGE,
    FENCE,
    OPEN,
    PUT,
    Command,
    Entry,
    KeyValue,
    Status,
    prefix_end,
)
from paxosd.core.effects import COMPACTED, FORBIDDEN, INVALID
from paxosd.core.requests import GET, LINEARIZABLE, RANGE, STALE, ReadAnswer, WriteRequest
from paxosd.wire import encode_entry

DEFAULT_ENDPOINTS = ("tcp://127.0.0.1:7410", "tcp://127.0.0.1:7420", "tcp://127.0.0.1:7430")
CLOSE_LINGER_MS = 100
PAGE_ROWS = 1000
Data = bytes | str


def _bytes(data: Data) -> bytes:
    return data.encode() if isinstance(data, str) else data


class CasResult(NamedTuple):
    """``revision``: of the write if it ``swapped``; else the key's present one (0: no key)."""

    swapped: bool
    revision: int


class WriteOutcome(NamedTuple):
    """What became of (session, seq). ``state``: committed, fenced (it can never commit),
    forgotten (the client itself had the reply) or unknown_session."""

    state: str
    slot: int
    result: Any


class Stale(NamedTuple):
    """A local read: ``age_ms`` is how far behind it may be at least known to be (-1: unknown)."""

    found: KeyValue | None
    applied: int
    age_ms: int


class Pipelined:
    """One command of a pipeline; ``value()`` once the pipeline has ended."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    @property
    def done(self) -> bool:
        return self._call.outcome is not None

    def value(self) -> Any:
        """The command's result: see :data:`paxosd.core.commands.Result`. Raises PaxosError."""
        return _value(self._call)[0]


class Pipeline:
    """Collects commands and sends many of them in one frame. Leaving it waits for all."""

    def __init__(self, client: "Client") -> None:
        self._client = client
        self._calls: list[Call] = []

    def put(self, key: Data, value: Data) -> Pipelined:
        return self._add([PUT, _bytes(key), _bytes(value)])

    def delete(self, key: Data) -> Pipelined:
        return self._add([DELETE, _bytes(key)])

    def cas(self, key: Data, expect: Data | None, value: Data) -> Pipelined:
        expected = None if expect is None else _bytes(expect)
        return self._add([CAS_VALUE, _bytes(key), expected, _bytes(value)])

    def _add(self, command: Command) -> Pipelined:
        call = self._client._submit(command)
        self._calls.append(call)
        return Pipelined(call)

    def wait(self) -> None:
        """Until every command so far has ended, well or not."""
        self._client._drive(self._calls)
        self._calls.clear()

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.wait()


class Client:
    """A session with a cluster; see the module. ``timeout_s`` bounds each call."""

    def __init__(
        self, endpoints: Sequence[str] = DEFAULT_ENDPOINTS, *, timeout_s: float = 5.0
    ) -> None:
        """Connects when it is first used. Raises ValueError for no endpoint."""
        self.timeout_s = timeout_s
        self._protocol = ClientProtocol(endpoints, random.Random(), encode_entry)
        self._connections = Connections()
        self._closed = False

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session, without waiting for the answer, and close the sockets."""
        if self._closed:
            return
        self._closed = True
        protocol = self._protocol
        if protocol.session and protocol.idle:
            endpoint, entry = protocol.farewell([CLOSE])
            self._connections.send(endpoint, WriteRequest(0, encode_entry(entry)))
        self._connections.close(CLOSE_LINGER_MS)

    # -- writes

    def put(self, key: Data, value: Data) -> int:
        """Set a key; returns the revision."""
        return int(self._write([PUT, _bytes(key), _bytes(value)]))

    def delete(self, key: Data) -> int | None:
        """Remove a key; returns the revision, or None if there was none."""
        result = self._write([DELETE, _bytes(key)])
        return result if isinstance(result, int) else None

    def delete_range(self, start: Data, end: Data) -> int:
        """Remove ``start <= key < end`` (end b"": to the last); returns how many went."""
        result = self._write([DELETE_RANGE, _bytes(start), _bytes(end)])
        return int(result[2]) if isinstance(result, tuple) and result[0] == Status.OK else 0

    def delete_prefix(self, prefix: Data) -> int:
        """Remove every key with this prefix; returns how many went."""
        start = _bytes(prefix)
        return self.delete_range(start, prefix_end(start))

    def cas(self, key: Data, expect: Data | None, value: Data) -> CasResult:
        """Set a key if its value equals ``expect`` (None: if there is no such key)."""
        expected = None if expect is None else _bytes(expect)
        return _cas(self._write([CAS_VALUE, _bytes(key), expected, _bytes(value)]))

    def cas_revision(self, key: Data, revision: int, value: Data) -> CasResult:
        """Set a key if its modify revision equals ``revision`` (0: if there is no such key)."""
        return _cas(self._write([CAS_REVISION, _bytes(key), revision, _bytes(value)]))

    def pipeline(self) -> Pipeline:
        """Many commands at once: they share frames, and log slots."""
        return Pipeline(self)

    # -- reads

    def get(self, key: Data) -> KeyValue | None:
        """A linearizable read: it sees every write acknowledged before it began."""
        found: KeyValue | None = self._read(LINEARIZABLE, [[GET, _bytes(key)]]).results[0]
        return found

    def get_stale(self, key: Data, endpoint: str = "") -> Stale:
        """A local read of one node, which may be behind."""
        answer = self._read(STALE, [[GET, _bytes(key)]], endpoint)
        return Stale(answer.results[0], answer.applied, answer.age_ms)

    def range(
        self,
        start: Data,
        end: Data,
        *,
        limit: int = 0,
        keys_only: bool = False,
        stale: bool = False,
    ) -> Iterator[KeyValue]:
        """Keys in ``start <= key < end`` in order (end b"": to the last), ``limit`` 0: all.

        Fetched in pages; each page is one read, the whole is not one point in time.
        """
        at, stop, left = _bytes(start), _bytes(end), limit
        mode = STALE if stale else LINEARIZABLE
        while True:
            rows_max = min(PAGE_ROWS, left) if limit else PAGE_ROWS
            page = self._read(mode, [[RANGE, at, stop, rows_max, False, keys_only]]).results[0]
            yield from page.rows
            left -= len(page.rows)
            if page.more is None or (limit and left <= 0):
                return
            at = page.more

    def prefix(
        self, prefix: Data, *, limit: int = 0, keys_only: bool = False, stale: bool = False
    ) -> Iterator[KeyValue]:
        """Keys with a prefix, in order."""
        start = _bytes(prefix)
        return self.range(start, prefix_end(start), limit=limit, keys_only=keys_only, stale=stale)

    # -- the cluster

    def outcome(self, session: int, seq: int) -> WriteOutcome:
        """What became of a command whose answer was lost. If it was not applied, it never
        will be from now on: the question itself fences it."""
        result = self._sessionless([FENCE, session, seq])[0]
        status = result[0]
        if status == Status.COMMITTED:
            slot, reply = result[2]
            return WriteOutcome("committed", slot, reply)
        states = {Status.FENCED: "fenced", Status.FORGOTTEN: "forgotten"}
        return WriteOutcome(states.get(status, "unknown_session"), 0, None)

    def commit_probe(self) -> int:
        """Have the cluster agree on something that changes no data; returns its slot."""
        result, slot = self._sessionless([OPEN])
        if isinstance(result, tuple) and result[0] == Status.OK:
            blob = encode_entry(Entry(result[2], 1, 0, [[CLOSE]]))
            self._connections.send(self._protocol.target, WriteRequest(0, blob))
        return slot

    def checksum_slot(self) -> int:
        """Have every node compute its state's checksum as of one slot; returns the slot."""
        return self._sessionless([CHECKSUM])[1]

    def admin(self, verb: str, endpoint: str = "", **args: Any) -> dict[str, Any]:
        """An admin request to one node (the first that answers, if none is named)."""
        now_ms = self._now_ms()
        call = self._protocol.admin(verb, args, now_ms, self._deadline_ms(now_ms), endpoint)
        self._drive([call])
        body: dict[str, Any] = _value(call)[0].body
        return body

    def status(self, endpoint: str = "") -> dict[str, Any]:
        """One node's status; works without a quorum."""
        return self.admin("status", endpoint)

    # -- inside

    def _write(self, command: Command) -> Any:
        call = self._submit(command)
        self._drive([call])
        return _value(call)[0]

    def _submit(self, command: Command) -> Call:
        now_ms = self._now_ms()
        size = sum([len(part) for part in command if type(part) is bytes])
        return self._protocol.submit(command, size, now_ms, self._deadline_ms(now_ms))

    def _sessionless(self, command: Command) -> tuple[Any, int]:
        now_ms = self._now_ms()
        call = self._protocol.submit_sessionless(command, now_ms, self._deadline_ms(now_ms))
        self._drive([call])
        return _value(call)

    def _read(self, mode: int, queries: list[list[Any]], endpoint: str = "") -> ReadAnswer:
        now_ms = self._now_ms()
        call = self._protocol.read(mode, queries, now_ms, self._deadline_ms(now_ms), endpoint)
        self._drive([call])
        answer: ReadAnswer = _value(call)[0]
        return answer

    def _deadline_ms(self, now_ms: float) -> float:
        return now_ms + self.timeout_s * 1000

    @staticmethod
    def _now_ms() -> float:
        return time.monotonic() * 1000

    def _drive(self, calls: Sequence[Call]) -> None:
        """Send and receive until all the calls have ended."""
        protocol, connections = self._protocol, self._connections
        ended = 0
        while True:
            now_ms = self._now_ms()
            for endpoint, message in protocol.take_sends(now_ms):
                connections.send(endpoint, message)
            while ended < len(calls) and calls[ended].outcome is not None:
                ended += 1
            if ended == len(calls):
                return
            wait_ms = max(0.0, min(protocol.next_due_ms() - now_ms, 1000.0))
            for endpoint, answer in connections.poll(int(wait_ms) + 1 if wait_ms else 0):
                now_ms = self._now_ms()
                if isinstance(answer, Lost):
                    protocol.unreachable(endpoint, answer.sent, now_ms)
                else:
                    protocol.receive(endpoint, answer, now_ms)
            protocol.tick(self._now_ms())


def _cas(result: Any) -> CasResult:
    if isinstance(result, int):
        return CasResult(True, result)
    return CasResult(False, result[1])


_REFUSED_RESULTS = {
    Status.WINDOW: "too many commands are unacknowledged in this session",
    Status.FENCED: "the command was fenced by an outcome query: it can never commit",
    Status.MALFORMED: "the cluster did not understand the command",
}


def _value(call: Call) -> tuple[Any, int]:
    """The value and slot of a call that ended well; raises what it ended with otherwise."""
    outcome = call.outcome
    if isinstance(outcome, Done):
        value = outcome.value
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            words = _REFUSED_RESULTS.get(value[0])
            if words is not None and call.command and call.command[0] != FENCE:
                raise RefusedError(Status(value[0]).name.lower(), words)
        return value, outcome.slot
    if isinstance(outcome, NotSubmitted):
        if outcome.reason == "unreachable":
            raise UnreachableError(f"no endpoint could be reached: {outcome.message}")
        raise NotSubmittedError(outcome.reason, f"not submitted, safe to retry: {outcome.message}")
    if isinstance(outcome, OutcomeUnknown):
        raise OutcomeUnknownError(outcome.session, outcome.seq, outcome.message)
    assert outcome is not None, "the call has not ended: leave the pipeline first"
    kinds = {INVALID: InvalidError, COMPACTED: CompactedError, FORBIDDEN: RefusedError}
    raise kinds.get(outcome.code, RefusedError)(outcome.code, outcome.message, outcome.detail)
