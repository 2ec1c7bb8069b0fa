"""Operations of a history in words."""

from collections.abc import Sequence
from typing import Any

from paxosd.check.history import CAS, DELETE, DELETE_RANGE, GET, OK, PUT, RANGE, TXN, Operation
from paxosd.core import commands, transactions

TEXT_MAX = 40
ROWS_MAX = 8


def text(value: bytes | None) -> str:
    """A key or a value for people."""
    if value is None:
        return "nothing"
    words = value.decode("utf-8", "backslashreplace")
    return words if len(words) <= TEXT_MAX else words[: TEXT_MAX - 1] + "…"


def describe(operation: Operation) -> str:
    """One operation in one line, without its times: which client asked what, and the answer."""
    if operation.kind == TXN:
        assert operation.command is not None
        return f"{operation.process}: {_command(operation.command)}: {_answer(operation)}"
    key = text(operation.key)
    asked = {
        PUT: f"put {key} = {text(operation.value)}",
        GET: f"get {key}",
        DELETE: f"delete {key}",
        CAS: f"cas {key}: {_expectation(operation)} → {text(operation.value)}",
        RANGE: f"range {key} … {text(operation.end) if operation.end else 'end'}",
        DELETE_RANGE: f"delete {key} … {text(operation.end) if operation.end else 'end'}",
    }[operation.kind]
    return f"{operation.process}: {asked}: {_answer(operation)}"


_TARGETS = {
    transactions.VALUE: "", transactions.VERSION: "version of ",
    transactions.CREATE_REVISION: "create revision of ",
    transactions.MODIFY_REVISION: "modify revision of ", transactions.LEASE: "lease of ",
}  # fmt: skip
_OPERATORS = {
    transactions.EQUAL: "=", transactions.NOT_EQUAL: "≠",
    transactions.LESS: "<", transactions.GREATER: ">",
}  # fmt: skip


def _command(command: Sequence[Any]) -> str:
    """A command on several keys. Reads are left out of the branches of a transaction."""
    op, *parts = command
    if op == commands.TXN:
        held = " and ".join(map(_compare, parts[0])) or "always"
        then, otherwise = (_branch(each) for each in parts[1:])
        return f"txn if {held}: {then}" + (f", else {otherwise}" if otherwise else "")
    if op == commands.REVOKE:
        return f"end of lease {parts[0]}"
    if op == commands.PUT:
        lease = f" with lease {parts[2]}" if len(parts) > 2 and parts[2] else ""
        return f"put {text(parts[0])} = {text(parts[1])}{lease}"
    if op == commands.DELETE:
        return f"delete {text(parts[0])}"
    if op == transactions.ADD:
        return f"add {parts[1]} to {text(parts[0])}"
    if op == commands.DELETE_RANGE:
        return f"delete {text(parts[0])} … {text(parts[1]) if parts[1] else 'end'}"
    return ""


def _branch(operations: Sequence[Any]) -> str:
    writes = [words for words in map(_command, operations) if words]
    return "; ".join(writes) or ("only reads" if operations else "")


def _compare(compare: Sequence[Any]) -> str:
    target, operator, start, operand, *rest = compare
    key = text(start)
    if rest:
        key = f"{'each' if rest[1] == transactions.EVERY else 'some'} of {key} … {text(rest[0])}"
    wanted = operand if type(operand) is int else text(operand)
    return f"{_TARGETS.get(target, '')}{key} {_OPERATORS.get(operator, '?')} {wanted}"


def _expectation(operation: Operation) -> str:
    if operation.expect_revision >= 0:
        return f"revision {operation.expect_revision}"
    return text(operation.expect)


def _answer(operation: Operation) -> str:
    if operation.outcome != OK:
        return operation.outcome
    result = operation.result
    words = "done"
    if operation.kind == GET:
        assert result is None or isinstance(result, bytes)
        words = text(result)
    elif operation.kind == RANGE:
        shown = ", ".join(
            f"{text(key)} = {text(value)}" for key, value in operation.rows[:ROWS_MAX]
        )
        words = f"{{{shown}{', …' if len(operation.rows) > ROWS_MAX else ''}}}"
    elif operation.kind == TXN and isinstance(result, tuple):
        words = "done" if result[0] else "conditions did not hold"
    elif operation.kind == CAS:
        words = "set" if result else "missed"
    elif operation.kind == DELETE:
        words = "removed" if result else "no such key"
    elif operation.kind == DELETE_RANGE:
        words = f"{result!r} removed"
    return f"{words} at revision {operation.revision}" if operation.revision >= 0 else words
