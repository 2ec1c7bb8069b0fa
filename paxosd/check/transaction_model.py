"""The rules of commands on several keys, over a dict: a model that shares no code with the store.

    after = run(state, command, revision)     a new state and the pair of the answer
    touched(command)                          the keys and ranges that it names
    numbers_seen(command, pair)               the revisions that its answer shows, with their keys

A row is ``(value, create revision, modify revision, version, lease)``; lease 0: none.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from paxosd.core.commands import DELETE, DELETE_RANGE, PUT, REVOKE, TXN
from paxosd.core.transactions import (
    ADD,
    CREATE_REVISION,
    EQUAL,
    EVERY,
    GET_KEY,
    GET_RANGE,
    LEASE,
    LESS,
    MODIFY_REVISION,
    NOT_EQUAL,
    VALUE,
)

Row = tuple[bytes, int, int, int, int]
State = dict[bytes, Row]
Pair = tuple[int, tuple[Any, ...] | None]


class Touched(NamedTuple):
    """What a command names. ``ranges``: ``(start, end)``, end b"" for no end. ``lease``: whose keys
    it removes, 0: of none."""

    keys: set[bytes]
    ranges: set[tuple[bytes, bytes]]
    lease: int


def run(state: State, command: Sequence[Any], revision: int) -> tuple[State, Pair]:
    """Do it in this revision; ``state`` stays as it is."""
    op, *parts = command
    model = _Model(state, revision)
    if op == TXN:
        return model.state, model.transaction(*parts)
    if op == REVOKE:
        return model.state, (1, (model.remove(lambda _, row: row[4] == parts[0]),))
    return model.state, (1, (model.operation(op, parts),))


class _Model:
    """One command under way, one operation after the other."""

    def __init__(self, state: State, revision: int) -> None:
        self.state = dict(state)
        self._revision = revision

    def transaction(
        self, compares: Sequence[Any], then: Sequence[Any], otherwise: Sequence[Any]
    ) -> Pair:
        held = all(self._holds(each) for each in compares)
        branch = then if held else otherwise
        return int(held), tuple(self.operation(op, parts) for op, *parts in branch)

    def operation(self, op: int, parts: Sequence[Any]) -> Any:
        """Do it; its result."""
        state = self.state
        if op == PUT:
            self._put(*parts)
            return 1
        if op == DELETE:
            return int(state.pop(parts[0], None) is not None)
        if op == DELETE_RANGE:
            return self.remove(lambda key, _: _covers(parts[0], parts[1], key))
        if op == ADD:
            row = state.get(parts[0])
            number: int = (int(row[0]) if row is not None else 0) + parts[1]
            self._put(parts[0], b"%d" % number)
            return number
        if op == GET_KEY:
            row = state.get(parts[0])
            return None if row is None else row[:4]
        if op == GET_RANGE:
            return self._rows(*parts)
        assert op == TXN, f"no operation {op}"
        return self.transaction(*parts)

    def remove(self, chosen: Callable[[bytes, Row], bool]) -> int:
        """Remove these; how many went."""
        gone = [key for key, row in self.state.items() if chosen(key, row)]
        for key in gone:
            del self.state[key]
        return len(gone)

    def _put(self, key: bytes, value: bytes, lease: int = 0) -> None:
        _, create, modify, version, _ = self.state.get(key, (b"", self._revision, 0, 0, 0))
        version += modify != self._revision
        self.state[key] = value, create, self._revision, version, lease

    def _rows(self, start: bytes, end: bytes, limit: int, reverse: bool, keys_only: bool) -> Any:
        keys = sorted((k for k in self.state if _covers(start, end, k)), reverse=bool(reverse))
        shown = keys[:limit] if limit else keys
        rows = []
        for key in shown:
            value, *numbers = self.state[key][:4]
            rows.append((key, b"" if keys_only else value, *numbers))
        return tuple(rows)

    def _holds(self, compare: Sequence[Any]) -> bool:
        target, operator, start, operand, *rest = compare
        if rest:
            keys = [key for key in self.state if _covers(start, rest[0], key)]
            found = [self._one(key, target, operator, operand) for key in keys]
            return all(found) if rest[1] == EVERY else any(found)
        return self._one(start, target, operator, operand)

    def _one(self, key: bytes, target: int, operator: int, operand: Any) -> bool:
        row = self.state.get(key)
        place = {VALUE: 0, CREATE_REVISION: 1, MODIFY_REVISION: 2, LEASE: 4}.get(target, 3)
        nothing = None if target == VALUE else 0
        found: Any = nothing if row is None else row[place]
        if operator in (EQUAL, NOT_EQUAL):
            return bool((found == operand) == (operator == EQUAL))
        return found is not None and bool(found < operand if operator == LESS else found > operand)


def _covers(start: bytes, end: bytes, key: bytes) -> bool:
    return start <= key and (not end or key < end)


def same(command: Sequence[Any], answered: Pair, modelled: Pair) -> bool:
    """Whether the model's pair is the one of the answer, as far as that says it. Only a TXN has
    results that count; a kept reply may have lost them, and how a range went on is not modelled."""
    if command[0] != TXN:
        return True
    if answered[0] != modelled[0]:
        return False
    if answered[1] is None:
        return True
    assert modelled[1] is not None
    branch = command[2] if answered[0] else command[3]
    return len(branch) == len(answered[1]) and all(
        _same_result(operation, one, other)
        for operation, one, other in zip(branch, answered[1], modelled[1], strict=True)
    )


def _same_result(operation: Sequence[Any], answered: Any, modelled: Any) -> bool:
    if operation[0] == TXN:
        return same(operation, answered, modelled)
    if operation[0] == GET_RANGE:
        return bool(answered[0] == modelled)
    return bool(answered == modelled)


# -- what a command names, and what its answer shows


def touched(command: Sequence[Any]) -> Touched:
    """Every key and range in it, of both branches and the nested ones."""
    if command[0] == REVOKE:
        return Touched(set(), set(), command[1])
    keys: set[bytes] = set()
    ranges: set[tuple[bytes, bytes]] = set()
    _collect(command, keys, ranges)
    return Touched(keys, ranges, 0)


def _collect(command: Sequence[Any], keys: set[bytes], ranges: set[tuple[bytes, bytes]]) -> None:
    op, *parts = command
    if op != TXN:
        if op in (DELETE_RANGE, GET_RANGE):
            ranges.add((parts[0], parts[1]))
        else:
            keys.add(parts[0])
        return
    for _, _, start, _, *rest in parts[0]:
        if rest:
            ranges.add((start, rest[0]))
        else:
            keys.add(start)
    for operation in (*parts[1], *parts[2]):
        _collect(operation, keys, ranges)


def leased(command: Sequence[Any]) -> Iterator[tuple[int, bytes]]:
    """``(lease, key)`` of each put with a lease in it."""
    op, *parts = command
    if op == PUT and len(parts) > 2 and parts[2]:
        yield parts[2], parts[0]
    elif op == TXN:
        for operation in (*parts[1], *parts[2]):
            yield from leased(operation)


def numbers_seen(command: Sequence[Any], pair: Pair) -> Iterator[tuple[bytes, int]]:
    """``(key, revision)``: each create and modify revision that an answer shows."""
    held, results = pair
    if command[0] != TXN or results is None:
        return
    for operation, result in zip(command[2] if held else command[3], results, strict=False):
        if operation[0] == TXN:
            yield from numbers_seen(operation, result)
        elif operation[0] == GET_KEY and result is not None:
            yield from ((operation[1], number) for number in result[1:3])
        elif operation[0] == GET_RANGE:
            yield from ((row[0], number) for row in result[0] for number in row[2:4])
