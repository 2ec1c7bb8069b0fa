"""What a replay gives to the node, and what it holds the node's doings against: one turn's
operations, in order. The first thing that differs ends the replay.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from paxosd.replica.ports import Committer, ReplicaBus
from paxosd.snapshot.jobs import Helper
from paxosd.trace.encoding import plain
from paxosd.trace.operations import FIRST_OUTPUT, NAMES, Operation

Recorded = Sequence[Any]
"""An operation as the trace has it: a list of plain values."""


class Difference(Exception):  # noqa: N818 - what a replay is after, not a fault of its own
    """The node did, or asked for, something else than in the run that was recorded.

    ``expected``: the operation of the trace at this place, None: nothing more in this turn;
    ``got``: what the node did now (plain, or in words), None: nothing more. ``place``: the number
    of the operation within the turn."""

    def __init__(self, expected: Recorded | None, got: Recorded | str | None, place: int) -> None:
        super().__init__(expected, got, place)
        self.expected = expected
        self.got = got
        self.place = place


class Live(NamedTuple):
    """Ports that a node goes on with after a replay, in the places of those of the trace."""

    bus: ReplicaBus
    committer: Committer
    helper: Helper
    rng: random.Random
    now_ms: Callable[[], float]
    wall_ms: Callable[[], int]
    free: Callable[[], int]


class Feed:
    """The operations of one turn after another; or, once there is ``live``, what goes on."""

    def __init__(self) -> None:
        self.live: Live | None = None
        self._operations: Sequence[Recorded] = ()
        self._place = 0
        self.did: list[Operation] = []
        """What the node did in this turn, with the objects: for words."""

    def begin(self, operations: Sequence[Recorded]) -> None:
        """The operations of the next turn."""
        self._operations = operations
        self._place = 0
        self.did = []

    def finish(self) -> None:
        """The turn is over. Raises Difference if more was recorded."""
        if self._place < len(self._operations):
            raise Difference(self._operations[self._place], None, self._place)

    def peek(self) -> int:
        """The code of the next operation; 0: there is none."""
        if self._place < len(self._operations):
            return int(self._operations[self._place][0])
        return 0

    def awaits(self, operation: Operation) -> bool:
        """Whether the next operation is that one."""
        expected = self._next()
        return expected is not None and plain(operation) == list(expected)

    def take(self, code: int) -> Recorded:
        """The next operation, which must be of this code. Raises Difference."""
        if self.peek() != code:
            got = f"asks for: {NAMES[code]}"
            raise Difference(self._next(), got, self._place)
        return self._step()

    def take_if(self, code: int) -> Recorded | None:
        """The next operation, if it is of this code."""
        return self._step() if self.peek() == code else None

    def did_output(self, operation: Operation) -> None:
        """The node does this. Raises Difference if it did something else in the trace."""
        assert operation[0] >= FIRST_OUTPUT
        got = plain(operation)
        self.did.append(operation)
        expected = self._next()
        if expected is None or got != list(expected):
            raise Difference(expected, got, self._place)
        self._place += 1

    def _next(self) -> Recorded | None:
        if self._place < len(self._operations):
            return self._operations[self._place]
        return None

    def _step(self) -> Recorded:
        operation = self._operations[self._place]
        self._place += 1
        return operation
