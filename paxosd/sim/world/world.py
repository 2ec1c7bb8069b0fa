"""Virtual time, and what happens when: one seed decides everything.

    at(delay, action) ──► heap of (time, order, action) ──► run_until, run_while ──► action()

Nothing here waits: time jumps from one event to the next. Events of the same time happen in the
order in which they were asked for. All randomness of a run comes from ``derive``: one stream of
numbers for each purpose, so that one draw more in one place moves nothing elsewhere.
"""

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

__all__ = ["StalledError", "World"]

EVENTS_PER_INSTANT_MAX = 100_000
"""More events than this without time moving on: something calls itself for ever."""


class StalledError(RuntimeError):
    """Time stands still: an endless chain of events without delay."""


class World:
    """One simulated world. ``now_ms`` starts at 0 and never goes backward.

    ``rng`` is the stream named "world"; ``events`` counts what has happened so far.
    """

    __slots__ = ("_heap", "_instant", "_order", "events", "now_ms", "rng", "seed")

    def __init__(self, seed: int | str) -> None:
        self.seed = seed
        self.now_ms = 0.0
        self.rng = self.derive("world")
        self.events = 0
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = 0
        self._instant = 0

    def derive(self, name: str) -> random.Random:
        """An independent stream of random numbers; the same for the same seed and name."""
        return random.Random(f"{self.seed}/{name}")

    def at(self, delay_ms: float, action: Callable[..., object], *args: Any) -> None:
        """Do ``action(*args)`` after ``delay_ms`` (at least 0) of virtual time."""
        self._order += 1
        due_ms = self.now_ms + delay_ms if delay_ms > 0 else self.now_ms
        # The order breaks every tie, so actions are never compared.
        heappush(self._heap, (due_ms, self._order, action, args))

    def at_time(self, due_ms: float, action: Callable[..., object], *args: Any) -> None:
        """Do it at that time; at once if it is over."""
        self._order += 1
        heappush(self._heap, (max(due_ms, self.now_ms), self._order, action, args))

    def run_until(self, time_ms: float) -> None:
        """Let everything happen that is due up to ``time_ms``, which it is then."""
        heap = self._heap
        while heap and heap[0][0] <= time_ms:
            due_ms, _, action, args = heappop(heap)  # as _step, without a call for each event
            if due_ms > self.now_ms:
                self.now_ms = due_ms
                self._instant = 0
            else:
                self._stand_still(action)
            self.events += 1
            action(*args)
        self.now_ms = max(self.now_ms, time_ms)

    def run_while(self, condition: Callable[[], bool], limit_ms: float) -> bool:
        """Go on while the condition holds, at most for ``limit_ms``, until it does not.

        Returns whether it ended because the condition did not hold any more.
        """
        end_ms = self.now_ms + limit_ms
        heap = self._heap
        while condition():
            if not heap or heap[0][0] > end_ms:
                self.now_ms = end_ms
                return not condition()
            self._step()
        return True

    def _step(self) -> None:
        due_ms, _, action, args = heappop(self._heap)
        if due_ms > self.now_ms:
            self.now_ms = due_ms
            self._instant = 0
        else:
            self._stand_still(action)
        self.events += 1
        action(*args)

    def _stand_still(self, action: object) -> None:
        self._instant += 1
        if self._instant > EVENTS_PER_INSTANT_MAX:
            raise StalledError(f"{self._instant} events at {self.now_ms} ms, the last: {action}")
