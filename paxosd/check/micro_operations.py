"""A command on several keys as reads and writes of single keys, as checkers take it.

    leaves(command)                 the operations that it may do
    answered_parts(command, pair)   what it did read and write, in order, as its answer says

A part is ``(op, key, value)`` with "r" or "w"; None for no such key. A compare for equality of a
value that held is a read, a sum is a write; a range that was removed is a write of None to each key
of which the same command had seen a value.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from paxosd.core.commands import DELETE, DELETE_RANGE, PUT, TXN
from paxosd.core.transactions import ADD, EQUAL, GET_KEY, GET_RANGE, VALUE

Micro = tuple[str, bytes, bytes | None]


def leaves(command: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Its operations that are no transactions, those of all branches, in the order of the text."""
    if command[0] != TXN:
        yield command
        return
    for branch in command[2:4]:
        for operation in branch:
            yield from leaves(operation)


def answered_parts(command: Sequence[Any], pair: Any) -> list[Micro]:
    """See the module. Of a command that is no TXN: the write, if it is a put."""
    if command[0] != TXN:
        return [("w", command[1], command[2])] if command[0] == PUT else []
    return list(_answered(command, pair, {}))


def _answered(
    command: Sequence[Any], pair: Any, view: dict[bytes, bytes | None]
) -> Iterator[Micro]:
    """``view``: what each key is known to hold by now."""
    _, compares, then, otherwise = command
    held, results = pair
    if held:
        for target, operator, key, operand, *rest in compares:
            if (target, operator, rest) == (VALUE, EQUAL, []):
                yield "r", key, operand
    for operation, result in zip(then if held else otherwise, results or (), strict=False):
        if operation[0] == TXN:
            yield from _answered(operation, result, view)
            continue
        for part in _done(operation, result, view):
            view[part[1]] = part[2]
            yield part


def _done(operation: Sequence[Any], result: Any, view: dict[bytes, bytes | None]) -> list[Micro]:
    op, *parts = operation
    if op == GET_KEY:
        return [("r", parts[0], None if result is None else result[0])]
    if op == GET_RANGE:
        return [] if parts[4] else [("r", row[0], row[1]) for row in result[0]]
    if op == PUT:
        return [("w", parts[0], parts[1])]
    if op == DELETE:
        return [("w" if result else "r", parts[0], None)]
    if op == ADD:
        return [("w", parts[0], b"%d" % result)]
    assert op == DELETE_RANGE
    start, end = parts
    return [
        ("w", key, None)
        for key, value in sorted(view.items())
        if start <= key and (not end or key < end) and value is not None
    ]
