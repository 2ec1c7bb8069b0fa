"""A history in the forms that other checkers take.

    paxosctl check history FILE --export elle|knossos|porcupine     to standard output

    elle       EDN, a map a line: :invoke, then :ok, :fail or :info, with :f :txn and a list
               of micro-operations [:r k v] and [:w k v] as the value, for its rw-register checker.
               That one knows no removals and wants each value written once: what does not fit is
               left out (``paxosd/check/registers.py``)
    knossos    EDN, the same with :f :read, :write or :cas and the value [k v], for cas-registers,
               key by key. It takes a read of nil for one that may have seen anything, so no key is
               :none here, and the history of each key begins with a write of that. What is of
               several keys is left out: ranges, and everything on keys that transactions share
    porcupine  JSON lines, an operation each: {"client", "input", "call", "output", "return"}; a
               return of 2^63-1 for what may take effect at any later time. The input of a "txn" has
               the "command", of the form in docs/TRANSACTIONS.md, and its result is the pair of the
               answer

For Elle and Knossos a cas of a revision that was done is a write, for they know no revisions. Times
are ns from the begin of the history. Keys and values are text; those that are none are ``b64:…``.
Processes are numbers; a client whose operation has no end yet when it goes on is another process
from then on, as these checkers want it.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from paxosd.check.history import CAS, DELETE, FAILED, GET, OK, PUT, RANGE, READS, TXN, Operation
from paxosd.check.micro_operations import Micro
from paxosd.check.registers import Registers
from paxosd.check.shared_keys import split_shared

NEVER_NS = (1 << 63) - 1
_NS_PER_STAMP = 1000
FORMS = ("elle", "knossos", "porcupine")
NONE = ":none"
"""The value of a register of Knossos whose key there is not."""


def export(operations: Sequence[Operation], form: str) -> Iterator[str]:
    """The lines of a history in one of :data:`FORMS`."""
    if form == "porcupine":
        return _porcupine(operations)
    if form in FORMS:
        return _edn(operations, form)
    raise ValueError(f"a form is one of {', '.join(FORMS)}, not {form!r}")


# -- EDN


def _edn(operations: Sequence[Operation], form: str) -> Iterator[str]:
    """Two events for each operation, in the order of their times."""
    processes = _processes(operations)
    describe = partial(_elle, Registers(operations)) if form == "elle" else _knossos
    if form == "knossos":
        operations, _ = split_shared(operations)
    events: list[tuple[int, str, str, str, int]] = []
    if form == "knossos":
        events += _begin_with_none(operations, max(processes.values(), default=-1) + 1)
    for operation in operations:
        described = describe(operation)
        if described is None:
            continue
        verb, asked, answered = described
        process = processes[operation.number]
        events.append((operation.invoked, "invoke", verb, asked, process))
        kind = {OK: "ok", FAILED: "fail"}.get(operation.outcome, "info")
        if operation.outcome == OK and answered is None:
            kind, answered = "fail", asked  # a cas that missed changed nothing
        # What never got an answer ends behind all else: it may yet take effect.
        known = operation.outcome in (OK, FAILED)
        end = operation.returned if known else NEVER_NS // _NS_PER_STAMP
        events.append((end, kind, verb, answered if kind == "ok" and answered else asked, process))
    events.sort(key=lambda event: event[0])
    for index, (stamp, kind, verb, value, process) in enumerate(events):
        time = stamp * _NS_PER_STAMP
        yield (
            f"{{:type :{kind}, :f :{verb}, :value {value}, :process {process}, "
            f":time {time}, :index {index}}}"
        )


def _begin_with_none(
    operations: Sequence[Operation], process: int
) -> Iterator[tuple[int, str, str, str, int]]:
    """Events of ``process`` before all others: no key is there yet."""
    first = min((operation.invoked for operation in operations), default=0)
    for key in sorted({operation.key for operation in operations if operation.kind != RANGE}):
        none = f"[{_text(key)} {NONE}]"
        yield first - 1, "invoke", "write", none, process
        yield first - 1, "ok", "write", none, process


def _elle(registers: Registers, operation: Operation) -> tuple[str, str, str | None]:
    """(f, value of the invocation, of the completion; None: it missed)."""
    asked, answered = registers.parts(operation)
    return "txn", _pieces(asked), None if answered is None else _pieces(answered)


def _knossos(operation: Operation) -> tuple[str, str, str | None] | None:
    key = _text(operation.key)
    if operation.kind == GET:
        seen = operation.result if isinstance(operation.result, bytes) else None
        return "read", f"[{key} nil]", f"[{key} {_register(seen)}]"
    if operation.kind == PUT:
        written = f"[{key} {_text(operation.value)}]"
        return "write", written, written
    if operation.kind == DELETE:
        return "write", f"[{key} {NONE}]", f"[{key} {NONE}]"
    if operation.kind == CAS and operation.expect_revision >= 0:
        written = f"[{key} {_text(operation.value)}]"
        return "write", written, written if operation.result else None
    if operation.kind == CAS:
        both = f"[{key} [{_register(operation.expect)} {_text(operation.value)}]]"
        return "cas", both, both if operation.result else None
    return None


def _register(value: bytes | None) -> str:
    return NONE if value is None else _text(value)


def _pieces(parts: Iterable[Micro]) -> str:
    return "[" + " ".join(f"[:{op} {_text(key)} {_text(value)}]" for op, key, value in parts) + "]"


def _text(value: bytes | None) -> str:
    """A string of EDN, which writes these as JSON does; nil for nothing."""
    return "nil" if value is None else json.dumps(_plain(value), ensure_ascii=False)


# -- JSON lines


def _porcupine(operations: Sequence[Operation]) -> Iterator[str]:
    processes = _processes(operations)
    for operation in operations:
        if operation.outcome == FAILED or (operation.outcome != OK and operation.kind in READS):
            continue  # it had no effect, and nobody saw anything
        known = operation.outcome == OK
        row: dict[str, Any] = {
            "client": processes[operation.number],
            "input": {
                "op": operation.kind,
                "key": _plain(operation.key),
                "end": _plain(operation.end),
                "value": _plain(operation.value),
                "expect": _plain(operation.expect),
                "expect_revision": operation.expect_revision,
            },
            "call": operation.invoked * _NS_PER_STAMP,
            "output": {"result": _plain(operation.result), "revision": operation.revision},
            "return": operation.returned * _NS_PER_STAMP if known else NEVER_NS,
        }
        row["output"] = row["output"] if known else None
        if operation.kind == TXN:
            row["input"] = {"op": TXN, "command": _plain(operation.command)}
        yield json.dumps(row, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return f"b64:{base64.b64encode(value).decode()}"
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value


def _processes(operations: Iterable[Operation]) -> dict[int, int]:
    """The number of each operation → its process: that of its client, as long as no earlier one of
    the same is under way."""
    lanes: dict[str, list[list[int]]] = {}
    processes: dict[int, int] = {}
    count = 0
    for operation in sorted(operations, key=lambda each: each.invoked):
        known = operation.outcome in (OK, FAILED)
        end = operation.returned if known else NEVER_NS
        own = lanes.setdefault(operation.process, [])
        lane = next((each for each in own if each[1] < operation.invoked), None)
        if lane is None:
            lane = [count, end]
            own.append(lane)
            count += 1
        lane[1] = end
        processes[operation.number] = lane[0]
    return processes
