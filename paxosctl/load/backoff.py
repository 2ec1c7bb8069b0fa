"""Requests that the cluster was too busy for: each is sent again, later.

A node refuses as ``busy`` what does not fit into its queues; nothing of it was carried out, and the
answer asks for another attempt. So a generator does what a client does
(``paxosd/core/client/frames.py``): it waits, twice as long each time, and by chance, lest all come
again at the same moment.
"""

import heapq
import random
from itertools import count
from typing import Generic, TypeVar

from paxosd.core.client.calls import ClientOptions

MS = 1_000_000
MIN_NS = ClientOptions().backoff_min_ms * MS
MAX_NS = ClientOptions().backoff_max_ms * MS
NEVER_NS = 1 << 62

Refused = TypeVar("Refused")


class Backoff(Generic[Refused]):
    """What waits to be sent again. ``rng``: for the length of the pauses."""

    __slots__ = ("_number", "_rng", "_waiting")

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._waiting: list[tuple[int, int, Refused]] = []
        self._number = count()  # those of one moment in their order: they cannot be compared

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def next_ns(self) -> int:
        """When the first of them is due."""
        return self._waiting[0][0] if self._waiting else NEVER_NS

    def add(self, refused: Refused, refusals: int, now_ns: int) -> None:
        """It was refused for the ``refusals``-th time."""
        most_ns = min(MIN_NS << min(refusals - 1, 16), MAX_NS)
        pause_ns = most_ns // 2 + self._rng.randrange(most_ns // 2 + 1)
        heapq.heappush(self._waiting, (now_ns + pause_ns, next(self._number), refused))

    def take(self, now_ns: int) -> list[Refused]:
        """Those that are due."""
        found = []
        while self._waiting and self._waiting[0][0] <= now_ns:
            found.append(heapq.heappop(self._waiting)[2])
        return found
