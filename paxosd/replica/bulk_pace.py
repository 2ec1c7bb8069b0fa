"""How much bulk work a turn does: pages of scans and of history, pieces of the log for a peer.

    a turn: what has come ─► log, Accepts, votes, answers ─► sync ─► bulk work, if it is time

Bulk work is what is asked for by the megabyte, so that a millisecond more or less does not matter
to who asks. A put passes through the loops of several nodes, and waits in each of them for the turn
that it finds under way. So bulk work comes last in a turn, and

- as long as nothing was applied for CALM_MS, a turn goes on with it until it has done CLIENT_UNITS,
  and the next turn comes at once;
- else there is one piece of PIECE_UNITS, and a page is 1/PIECE_PART of what it may be, then nothing
  for REST_MS: the loop is free for most of the time, whatever is asked of it. Small answers are
  many to a piece.

Bulk requests of several clients take turns (:class:`TurnQueue`), a page each.
"""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

CALM_MS = 50.0
"""Writes are under way until nothing was applied for so long."""
REST_MS = 1.0
"""While they are, the loop rests from bulk work for so long …"""
PIECE_UNITS = 250
"""… after so many units of it (``core/work.py``), or the one answer that exceeds them."""
PIECE_PART = 2
"""Of the most that a page may hold, one holds this part then: some 0.3 ms of work."""

Item = TypeVar("Item")


class BulkPace:
    """The pace of one node. Its time is that of the turns, so that a replay has the same.

    A turn sets ``now_ms``, and ``written_ms`` too if anything was applied since the turn before:
    plain fields, as it does so for each put."""

    __slots__ = ("_free_from_ms", "_left_units", "now_ms", "written_ms")

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.written_ms = -CALM_MS
        self._free_from_ms = 0.0
        self._left_units = PIECE_UNITS

    @property
    def _is_calm(self) -> bool:
        return self.now_ms >= self.written_ms + CALM_MS

    @property
    def part(self) -> int:
        """Of the most that a page may hold, one is to hold 1/part."""
        return 1 if self._is_calm else PIECE_PART

    @property
    def allows(self) -> bool:
        """Whether it is time for bulk work; how much a turn may do is another matter."""
        if self._left_units <= 0 and self.now_ms >= self._free_from_ms:
            self._left_units = PIECE_UNITS
        return self._left_units > 0 or self._is_calm

    def spent(self, units: int) -> None:
        """So much bulk work was done."""
        self._left_units -= units
        self._free_from_ms = self.now_ms + REST_MS

    def next_due_ms(self, now_ms: float) -> float:
        """When it is time for more."""
        return now_ms if self.allows else self._free_from_ms


class TurnQueue(Generic[Item]):
    """Items of several clients: those of one in their order, and the clients take turns."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[bytes, deque[Item]] = {}
        """Of the clients that have any, the one whose turn is next first."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __iter__(self) -> Iterator[Item]:
        return (item for items in self._waiting.values() for item in items)

    def put(self, client: bytes, item: Item) -> None:
        """Behind what this client has."""
        self._waiting.setdefault(client, deque()).append(item)

    def take(self) -> Item:
        """The next item of the client whose turn it is; there must be one."""
        client = next(iter(self._waiting))
        items = self._waiting.pop(client)
        item = items.popleft()
        if items:
            self._waiting[client] = items
        return item
