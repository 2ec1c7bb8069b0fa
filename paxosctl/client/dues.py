"""When each of many is to be looked at again, without looking at all of them."""

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")

STALE_MAX = 64


class Dues(Generic[T]):
    """A heap of times, of which each has one that counts: the earliest. It may be due later by the
    time it comes up: then whoever looks plans it again."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._planned: dict[T, float] = {}
        self._entries = 0

    @property
    def next_ms(self) -> float:
        """Nothing comes up before."""
        return self._heap[0][0] if self._heap else float("inf")

    def plan(self, each: T, due_ms: float) -> None:
        """Look at it then, or before."""
        if due_ms < self._planned.get(each, float("inf")):
            self._planned[each] = due_ms
            self._entries += 1
            heappush(self._heap, (due_ms, self._entries, each))

    def forget(self, each: T) -> None:
        """It is not to be looked at any more."""
        self._planned.pop(each, None)
        if len(self._heap) > 2 * len(self._planned) + STALE_MAX:
            self._heap = [entry for entry in self._heap if self._counts(entry)]
            heapify(self._heap)

    def take(self, now_ms: float) -> T | None:
        """One that is to be looked at now, which is planned no more; None: there is none."""
        while self._heap and self._heap[0][0] <= now_ms:
            entry = heappop(self._heap)
            if self._counts(entry):
                del self._planned[entry[2]]
                return entry[2]
        return None

    def _counts(self, entry: tuple[float, int, T]) -> bool:
        return self._planned.get(entry[2]) == entry[0]
