"""Who heard which vote, and knows it for good: told apart from what the product remembers of it.

A roll-back of a running member is a fair test where somebody else heard a vote that is lost by it,
and has had the time to write that down (``docs/ACTING.md``: within about a second, with whatever is
written anyway). This counts from what nodes are handed, not from their memories: a product that
forgets what it heard is not let off.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

from paxosd.core.types import Ballot, NodeId, Slot

DURABLE_MS = 3000.0
"""So long after it was heard a vote is remembered over a crash, whatever the clocks and disks."""
KNOWN_MS = 5000.0
"""So long before a roll-back it must have been heard: whoever crashes with it, or a little before
it, remembers."""


class _Heard(NamedTuple):
    """A vote was heard at ``at_ms``; its voter made it at ``cast_ms``."""

    at_ms: float
    cast_ms: float


class Witnesses:
    """The votes of a run, by who made and who heard them. ``now_ms()``: true time."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self._now_ms = now_ms
        self._cast: dict[tuple[NodeId, Slot, Ballot], float] = {}
        self._heard: dict[tuple[NodeId, NodeId], list[_Heard]] = {}

    def cast(self, name: NodeId, slot: Slot, ballot: Ballot) -> None:
        """A node votes; it is not durable yet."""
        self._cast.setdefault((name, slot, ballot), self._now_ms())

    def heard(self, by: NodeId, name: NodeId, slot: Slot, ballot: Ballot) -> None:
        """``by`` has been handed a vote of ``name``."""
        cast_ms = self._cast.get((name, slot, ballot))
        if cast_ms is not None:
            self._heard.setdefault((by, name), []).append(_Heard(self._now_ms(), cast_ms))

    def died(self, name: NodeId, *, paused: bool) -> None:
        """A process has ended: what it heard last it may have forgotten, and if it was stopped
        nobody knows how much."""
        until_ms = float("-inf") if paused else self._now_ms() - DURABLE_MS
        for pair, heard in self._heard.items():
            if pair[0] == name:
                self._heard[pair] = [each for each in heard if each.at_ms <= until_ms]

    def know(self, name: NodeId, since_ms: float, fit: Collection[NodeId]) -> bool:
        """Whether any of ``fit`` knows for good of a vote that ``name`` made after ``since_ms``."""
        until_ms = self._now_ms() - KNOWN_MS
        return any(
            each.at_ms <= until_ms and each.cast_ms > since_ms
            for (by, voter), heard in self._heard.items()
            if voter == name and by in fit
            for each in heard
        )
