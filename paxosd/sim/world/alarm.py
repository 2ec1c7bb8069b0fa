"""When a process takes its next turn: as few events as it takes, however often that changes."""

from collections.abc import Callable
from heapq import heappop, heappush

from paxosd.sim.world.world import World

NEVER_MS = float("inf")


class Alarm:
    """Rings once at ``due_ms`` (true time), then waits to be set again.

    It can be set to an earlier time only; then, and when it rings, no event is taken back: there
    is a heap of the times at which it looks whether it is time.
    """

    __slots__ = ("_events", "_number", "_ring", "_world", "due_ms")

    def __init__(self, world: World, ring: Callable[[], object]) -> None:
        self._world = world
        self._ring = ring
        self._events: list[float] = []
        self._number = 0
        self.due_ms = NEVER_MS

    def set(self, due_ms: float) -> None:
        """Ring then, unless it rings sooner."""
        if due_ms < self.due_ms:
            self.due_ms = due_ms
            if not self._events or due_ms < self._events[0]:
                self._look_at(due_ms)

    def reset(self) -> None:
        """Don't ring before it is set again."""
        self.due_ms = NEVER_MS
        self._events = []
        self._number += 1

    def _look_at(self, due_ms: float) -> None:
        heappush(self._events, due_ms)
        self._world.at_time(due_ms, self._look, self._number)

    def _look(self, number: int) -> None:
        if number != self._number:
            return
        heappop(self._events)  # events come in order of time: it is this one
        due_ms = self.due_ms
        if due_ms <= self._world.now_ms:
            self.due_ms = NEVER_MS
            self._ring()
        elif due_ms < NEVER_MS and not (self._events and self._events[0] <= due_ms):
            self._look_at(due_ms)
