"""What clients asked and what they were answered: the history that the checkers judge.

    operation = history.invoke("c1", PUT, b"k", value=b"v")      before it is sent
    history.ok(operation, revision=7, slot=5)                    when its answer has come
    history.failed(operation)                                    it certainly never takes effect
    history.unknown(operation)                                   it may take effect later, or never

An operation that never got an end counts as unknown. One that is unknown may be settled later by
:meth:`History.ok` or :meth:`History.failed` (an outcome query): its end is then that moment.

Every stamp is unique and stamps grow in the order of the calls. As ``invoke`` comes before the
sending and ``ok`` after the receipt, the recorded interval holds the real one: the checkers
never see an order that was not there. Calls may come from several threads.

What ``ok`` records, by kind (-1: not known):

    PUT           result None                               revision: of this write
    DELETE        result bool: whether there was the key    revision: of the removal, or of the
                                                            store if there was nothing to remove
    CAS           result bool: whether the value was set    revision: of this write
                                                            modified: (present revision,), missed
    DELETE_RANGE  result int: how many keys went            revision: as for DELETE
    GET           result bytes | None                       revision: of the store, as answered
                                                            modified: (of the key,), 0: no key
    RANGE         result ((key, value), …) in order         revision: of the store, as answered
                                                            modified: one for each row
    TXN           result (held 1 | 0, (result, …) | None)   revision: of this write, or of the store

A TXN is any command on several keys, ``command`` being what goes over the wire, as tuples: a TXN,
whose results are those of ``core/transactions.py``; a PUT with a lease; a REVOKE, which also stands
for the expiry of a lease, of unknown outcome, from the moment on at which it may come. Of those two
nothing but the revision counts.

``slot``: that a command was applied in, or that a read reflects.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any, Final, Literal

PUT: Final = "put"
GET: Final = "get"
DELETE: Final = "delete"
CAS: Final = "cas"
RANGE: Final = "range"
DELETE_RANGE: Final = "delete_range"
TXN: Final = "txn"

Kind = Literal["put", "get", "delete", "cas", "range", "delete_range", "txn"]
Result = None | bool | int | bytes | tuple[Any, ...]

KINDS: tuple[Kind, ...] = (PUT, GET, DELETE, CAS, RANGE, DELETE_RANGE, TXN)
READS = (GET, RANGE)

OK = "ok"
FAILED = "failed"
UNKNOWN = "unknown"

FORMAT = 1


class HistoryError(Exception):
    """A history file that cannot be read; the message names the line."""


@dataclass(slots=True, eq=False, repr=False)
class Operation:
    """One call of one client. ``invoked`` and ``returned`` (-1: open) are in µs.

    ``end``: of a range, exclusive, b"" for no end. ``expect``: what a CAS by value wants (None:
    no such key); ``expect_revision``: what a CAS by revision wants (0: no such key), -1: the CAS
    is by value. ``command``: of a TXN, whose key is b"". ``number``: its place in the history.
    """

    process: str
    kind: Kind
    key: bytes
    _: KW_ONLY
    end: bytes = b""
    value: bytes | None = None
    expect: bytes | None = None
    expect_revision: int = -1
    command: tuple[Any, ...] | None = None
    invoked: int = 0
    returned: int = -1
    outcome: str = UNKNOWN
    result: Result = None
    revision: int = -1
    slot: int = -1
    modified: tuple[int, ...] = ()
    number: int = 0

    @property
    def acknowledged(self) -> bool:
        """Whether the client got an answer that says that it was done."""
        return self.outcome == OK

    @property
    def rows(self) -> tuple[tuple[bytes, bytes], ...]:
        """What a RANGE saw."""
        return self.result if self.kind == RANGE and isinstance(self.result, tuple) else ()

    def covers(self, key: bytes) -> bool:
        """Whether it reads or writes this key, judging by its arguments. Not for a TXN."""
        if self.kind in (RANGE, DELETE_RANGE):
            return self.key <= key and (not self.end or key < self.end)
        return key == self.key

    def replace(self, **fields: Any) -> "Operation":
        """A copy with some fields changed."""
        return replace(self, **fields)

    def __repr__(self) -> str:
        where = f"#{self.number} {self.invoked}..{self.returned}"
        answer = f"{self.outcome} {self.result!r} r{self.revision}"
        return f"<{where} {self.process} {self.kind} {self.key!r} {self.value!r} {answer}>"


def frozen(value: Any) -> Any:
    """The same with tuples in place of lists."""
    return tuple(frozen(each) for each in value) if isinstance(value, list | tuple) else value


class History:
    """Operations in the order of their invocation, but for those that :meth:`expects` adds.

    ``now_us``: the clock; without one the stamps merely count.
    """

    def __init__(self, now_us: Callable[[], int] | None = None) -> None:
        self.operations: list[Operation] = []
        self._now_us = now_us
        self._last = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.operations)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def invoke(
        self,
        process: str,
        kind: Kind,
        key: bytes,
        *,
        end: bytes = b"",
        value: bytes | None = None,
        expect: bytes | None = None,
        expect_revision: int = -1,
        command: Sequence[Any] | None = None,
    ) -> Operation:
        """Record that a client is about to ask."""
        with self._lock:
            operation = Operation(
                process,
                kind,
                key,
                end=end,
                value=value,
                expect=expect,
                expect_revision=expect_revision,
                command=None if command is None else frozen(command),
                invoked=self._stamp(),
                number=len(self.operations),
            )
            self.operations.append(operation)
        return operation

    def expects(self, process: str, command: Sequence[Any], from_us: int) -> Operation:
        """Record a TXN that nobody asks for, and that may take effect from ``from_us`` on, on this
        history's clock: a lease may end."""
        with self._lock:
            operation = Operation(
                process,
                TXN,
                b"",
                command=frozen(command),
                invoked=from_us,
                number=len(self.operations),
            )
            self.operations.append(operation)
        return operation

    def ok(
        self,
        operation: Operation,
        result: Result = None,
        *,
        revision: int = -1,
        slot: int = -1,
        modified: tuple[int, ...] = (),
        end: bytes | None = None,
    ) -> None:
        """Record an answer. ``end``: where the page that a RANGE got really ended, if sooner."""
        with self._lock:
            operation.returned = self._stamp()
        operation.outcome = OK
        operation.result = result
        operation.revision = revision
        operation.slot = slot
        operation.modified = modified
        if end is not None:
            operation.end = end

    def failed(self, operation: Operation) -> None:
        """Record that it did not take effect and never will."""
        self._end(operation, FAILED)

    def unknown(self, operation: Operation) -> None:
        """Record that the client gave up: it may take effect at any later time, or never."""
        self._end(operation, UNKNOWN)

    def counts(self) -> dict[str, int]:
        """How many operations ended how."""
        counts = {OK: 0, FAILED: 0, UNKNOWN: 0}
        for operation in self.operations:
            counts[operation.outcome] += 1
        return counts

    def longest_gap_ms(self) -> float:
        """The longest time between two operations that ended well, one after the other; 0: fewer
        than two did. Stamps are microseconds."""
        ends = sorted(each.returned for each in self.operations if each.outcome == OK)
        return max((b - a for a, b in pairwise(ends)), default=0) / 1000

    def save(self, path: Path) -> None:
        """Write it as JSON lines: a head, then one operation a line."""
        with path.open("w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in dump_lines(self.operations))

    @classmethod
    def load(cls, path: Path) -> "History":
        """Read what :meth:`save` wrote. Raises HistoryError, and OSError."""
        with path.open(encoding="utf-8") as file:
            try:
                return cls.of(parse_lines(file))
            except UnicodeDecodeError as error:
                raise HistoryError(f"the history is not UTF-8 text: {error}") from None

    @classmethod
    def of(cls, operations: Iterable[Operation]) -> "History":
        """A history of these operations, which keep their stamps."""
        history = cls()
        history.operations = sorted(operations, key=lambda each: each.invoked)
        for number, operation in enumerate(history.operations):
            operation.number = number
            history._last = max(history._last, operation.invoked, operation.returned)
        return history

    def _end(self, operation: Operation, outcome: str) -> None:
        with self._lock:
            operation.returned = self._stamp()
        operation.outcome = outcome

    def _stamp(self) -> int:
        """The time, but never the same twice and never earlier than the last."""
        now = self._last + 1
        if self._now_us is not None:
            now = max(now, self._now_us())
        self._last = now
        return now


# -- the file


def dump_lines(operations: Iterable[Operation]) -> Iterator[str]:
    """The lines of a history file, without their ends."""
    yield json.dumps({"paxosd_history": FORMAT})
    for operation in operations:
        yield json.dumps(to_fields(operation), sort_keys=True)


def parse_lines(lines: Iterable[str]) -> Iterator[Operation]:
    """The operations of a history file. Raises HistoryError."""
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            if number == 1:
                if not isinstance(fields, dict) or fields.get("paxosd_history") != FORMAT:
                    raise HistoryError(f"not a history of format {FORMAT}")
                continue
            operation = from_fields(fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise HistoryError(f"line {number} of the history: {error}") from None
        yield operation


_DEFAULTS: dict[str, Any] = {
    "end": b"",
    "value": None,
    "expect": None,
    "expect_revision": -1,
    "command": None,
    "result": None,
    "revision": -1,
    "slot": -1,
    "modified": (),
}


def to_fields(operation: Operation) -> dict[str, Any]:
    """Plain JSON values of one operation; what has its default is left out."""
    names = sorted(operation.__slots__)  # as in the files of earlier versions
    fields = {name: getattr(operation, name) for name in names if name != "number"}
    return {
        name: _to_json(value)
        for name, value in fields.items()
        if name not in _DEFAULTS or value != _DEFAULTS[name]
    }


def from_fields(fields: dict[str, Any]) -> Operation:
    """The reverse. Raises ValueError, TypeError or KeyError."""
    values = {name: _from_json(value) for name, value in fields.items()}
    process, kind, key = values.pop("process"), values.pop("kind"), values.pop("key")
    if not isinstance(process, bytes) or not isinstance(kind, bytes) or type(key) is not bytes:
        raise TypeError("process, kind and key are needed")
    outcome = values.pop("outcome")
    if kind.decode() not in KINDS or outcome.decode() not in (OK, FAILED, UNKNOWN):
        raise ValueError(f"unknown kind {kind!r} or outcome {outcome!r}")
    return Operation(process.decode(), kind.decode(), key, outcome=outcome.decode(), **values)  # type: ignore[arg-type]  # checked above


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, tuple):
        return [_to_json(each) for each in value]
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        return tuple(_from_json(each) for each in value)
    if isinstance(value, dict):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"bad base64: {error}") from None
    return value
