"""Transactions of one client, drawn from a seed, and what it records of them.

    workload = TransactionWorkload("t1", rng, keys)
    command = workload.draw()
    operation = history.invoke("t1", TXN, b"", command=command)      before it is sent
    record_command(history, operation, result)                       when its answer has come

Each drawn transaction reads all of its keys first, so that the whole state before it is in its
answer. Simulated clients and those of ``paxosctl fault run`` draw the same.
"""

import random
from collections.abc import Sequence
from typing import Any

from paxosd.check.history import History, Operation, frozen
from paxosd.core.commands import DELETE, DELETE_RANGE, PUT, TXN, Command, Status, prefix_end
from paxosd.core.transactions import ADD, EQUAL, GET_KEY, LESS, NOT_EQUAL, VALUE, VERSION

LEASED_SHARE = 0.4


def record_command(history: History, operation: Operation, result: Any) -> bool:
    """Record the result of a TXN of the history, and return whether it was done."""
    status, revision, detail = (Status.OK, result, None) if type(result) is int else result
    if status != Status.OK:
        history.failed(operation)
        return False
    assert operation.command is not None
    pair = frozen(detail) if operation.command[0] == TXN else (1, None)
    history.ok(operation, pair, revision=revision)
    return True


class TransactionWorkload:
    """The transactions of one client, drawn from a seed. ``keys``: those that all clients share."""

    def __init__(self, process: str, rng: random.Random, keys: Sequence[bytes]) -> None:
        self._process = process.encode()
        self._rng = rng
        *self._keys, self._counter = keys
        self._look = [[GET_KEY, key] for key in keys]
        self._written = 0
        self._seen: dict[bytes, bytes | None] = {}
        self.lease = 0
        """That a part of its puts attach keys to; 0: none."""

    def draw(self) -> Command:
        """The next one. Each branch reads all keys before it writes."""
        rng = self._rng
        compares = [self._compare() for _ in range(rng.randint(0, 2))]
        then = [*self._look, *(self._write() for _ in range(rng.randint(0, 3)))]
        if rng.random() < 0.3:
            inner = [TXN, [self._compare()], [self._write()], [self._write(), self._write()]]
            then.insert(rng.randint(len(self._look), len(then)), inner)
        otherwise = [*self._look, *(self._write() for _ in range(rng.randint(0, 1)))]
        return [TXN, compares, then, otherwise]

    def learn(self, pair: Any) -> None:
        """Remember what was seen, so that the next compares often hold."""
        for look, row in zip(self._look, pair[1] or (), strict=False):
            key: bytes = look[1]  # type: ignore[assignment]  # of [GET_KEY, key]
            self._seen[key] = None if row is None else row[0]

    def _compare(self) -> list[Any]:
        rng = self._rng
        key = rng.choice(self._keys)
        lot = rng.random()
        if lot < 0.6:
            return [VALUE, rng.choice((EQUAL, EQUAL, NOT_EQUAL)), key, self._seen.get(key)]
        if lot < 0.8:
            return [VERSION, LESS, key, rng.randint(1, 4)]
        start = self._keys[0][:-1]
        return [VERSION, LESS, start, rng.randint(2, 9), prefix_end(start), rng.randint(0, 1)]

    def _write(self) -> list[Any]:
        rng = self._rng
        lot = rng.random()
        if lot < 0.15:
            return [ADD, self._counter, rng.randint(1, 9)]
        if lot < 0.3:
            return [DELETE, rng.choice(self._keys)]
        if lot < 0.35:
            first, last = sorted(rng.choices(self._keys, k=2))
            return [DELETE_RANGE, first, last]
        self._written += 1
        value = b"%s-%d" % (self._process, self._written)
        put = [PUT, rng.choice(self._keys), value]
        return [*put, self.lease] if self.lease and rng.random() < LEASED_SHARE else put
