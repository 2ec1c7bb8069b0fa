"""A history as reads and writes of registers, as Elle's rw-register checker takes it.

    registers = Registers(operations)
    asked, answered = registers.parts(operation)

That checker asks for more than the store promises: each value of a register was written once, no
register goes once it is there, and what an operation without an answer would have written is known.
So some reads and writes are left out. That can hide a fault from it and cannot invent one:

    removals          they are no writes, and a read that found no key is left out if its key may
                      have been removed by then. Before that, nil is the initial state
    repeated values   reads and writes of a value that was written to its key more than once
    sums              without an answer it is not known what they wrote. Keys that only ever grow by
                      sums have no value twice; other keys with such a sum are left out
    branches          of a transaction without an answer, writes to a key that it may write more
                      than once: which of them is the last depends on its branch
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from paxosd.check.history import (
    CAS,
    DELETE,
    DELETE_RANGE,
    FAILED,
    GET,
    OK,
    PUT,
    RANGE,
    TXN,
    Operation,
)
from paxosd.check.micro_operations import Micro, answered_parts, leaves
from paxosd.core import commands
from paxosd.core.transactions import ADD, GET_KEY

_NEVER = 1 << 63
_CHANGES = frozenset({commands.PUT, commands.DELETE, commands.DELETE_RANGE, ADD})


class Registers:
    """What is to be left out of a history, and each operation without that."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._removals: list[tuple[bytes, bytes, int]] = []
        """First key, the end of the keys (exclusive; b"": none), the µs of the invocation."""
        self._removed_us: dict[bytes, int] = {}
        self._writers: Counter[tuple[bytes, bytes | None]] = Counter()
        self._unknown_sums: set[bytes] = set()
        self._not_only_sums: set[bytes] = set()
        for operation in operations:
            self._writers.update(_written(operation))
            if operation.outcome != FAILED:
                self._note_changes(operation)

    def _note_changes(self, operation: Operation) -> None:
        """What it may have changed, whichever branches were done."""
        if operation.kind == DELETE and operation.outcome == OK and not operation.result:
            return
        at_us = operation.invoked
        for op, *parts in _leaves(operation):
            if op not in _CHANGES:
                continue
            key = parts[0]
            if op == commands.DELETE or (op == commands.PUT and parts[2:] and parts[2]):
                self._removals.append((key, key + b"\0", at_us))  # its lease may end
            elif op == commands.DELETE_RANGE:
                self._removals.append((key, parts[1], at_us))
            if op == commands.PUT or (op == ADD and parts[1] <= 0):
                self._not_only_sums.add(key)
            if op == ADD and not _is_known(operation):
                self._unknown_sums.add(key)

    def parts(self, operation: Operation) -> tuple[list[Micro], list[Micro] | None]:
        """What it asked for, reads with None, and what it did; None: it changed nothing."""
        if operation.outcome == OK and not _missed(operation):
            done = [part for part in _done(operation) if self._is_clear(part, operation)]
            return [(op, key, None if op == "r" else value) for op, key, value in done], done
        asked = [_micro(leaf) for leaf in _leaves(operation) if leaf[0] in (GET_KEY, commands.PUT)]
        if operation.outcome not in (OK, FAILED):
            times = Counter(
                leaf[1] for leaf in _leaves(operation) if leaf[0] in (commands.PUT, ADD)
            )
            asked = [part for part in asked if part[0] == "r" or times[part[1]] == 1]
        return [part for part in asked if part[0] == "r" or self._is_clear(part, operation)], None

    def _is_clear(self, part: Micro, operation: Operation) -> bool:
        op, key, value = part
        if value is None:
            return op == "r" and operation.returned < self._first_removal_us(key)
        if key in self._unknown_sums and (
            key in self._not_only_sums or self._first_removal_us(key) != _NEVER
        ):
            return False
        return self._writers[key, value] <= 1

    def _first_removal_us(self, key: bytes) -> int:
        """When the first operation was invoked that may have removed the key."""
        found = self._removed_us.get(key)
        if found is None:
            found = self._removed_us[key] = min(
                (
                    at_us
                    for start, end, at_us in self._removals
                    if start <= key and (not end or key < end)
                ),
                default=_NEVER,
            )
        return found


def _missed(operation: Operation) -> bool:
    return operation.kind == CAS and not operation.result


def _is_known(operation: Operation) -> bool:
    """Whether its answer says all that it wrote: a kept answer may have lost the results."""
    if operation.kind != TXN:
        return operation.outcome == OK
    pair: Any = operation.result
    assert operation.command is not None
    return operation.outcome == OK and (operation.command[0] != commands.TXN or pair[1] is not None)


def _written(operation: Operation) -> list[tuple[bytes, bytes | None]]:
    """Each write that was done; if that is not known, each that may have been done, once."""
    if _is_known(operation) and not _missed(operation):
        return [(key, value) for op, key, value in _done(operation) if op == "w"]
    return list({(leaf[1], leaf[2]) for leaf in _leaves(operation) if leaf[0] == commands.PUT})


def _leaves(operation: Operation) -> Iterator[Sequence[Any]]:
    """It as operations of transactions, those of all branches."""
    key = operation.key
    if operation.kind == TXN:
        assert operation.command is not None
        yield from leaves(operation.command)
    elif operation.kind == GET:
        yield GET_KEY, key
    elif operation.kind in (PUT, CAS):
        yield commands.PUT, key, operation.value
    elif operation.kind == DELETE:
        yield commands.DELETE, key
    elif operation.kind == DELETE_RANGE:
        yield commands.DELETE_RANGE, key, operation.end


def _micro(leaf: Sequence[Any]) -> Micro:
    return ("r", leaf[1], None) if leaf[0] == GET_KEY else ("w", leaf[1], leaf[2])


def _done(operation: Operation) -> list[Micro]:
    """What one did whose answer is there, in order. A removal is a write of None."""
    key, result = operation.key, operation.result
    if operation.kind == TXN:
        assert operation.command is not None
        return answered_parts(operation.command, result)
    if operation.kind == GET:
        return [("r", key, result if isinstance(result, bytes) else None)]
    if operation.kind == RANGE:
        return [("r", row, value) for row, value in operation.rows]
    if operation.kind == CAS and operation.expect_revision < 0:
        return [("r", key, operation.expect), ("w", key, operation.value)]
    if operation.kind in (PUT, CAS):
        return [("w", key, operation.value)]
    return []
