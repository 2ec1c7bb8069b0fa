"""Which node heard which vote and will remember it, independent of what the product remembers.

A roll-back of a running member is a fair test only if another node heard a vote that is lost by it,
and had the time to write that down (``docs/ACTING.md``: within about a second, together with the
next write). This is counted from the messages that nodes receive, not from their memories, so that
a product that forgets what it heard is found out.
"""

from collections.abc import Callable, Collection
from typing import NamedTuple

from paxosd.core.types import Ballot, NodeId, Slot

DURABLE_MS = 3000.0
"""A vote that was heard so long ago is remembered over a crash, with any clock and any disk."""
KNOWN_MS = 5000.0
"""A vote must have been heard so long before a roll-back: then a node that crashes at the roll-back
or shortly before remembers it."""


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
        """A process has ended: it may have forgotten what it heard last; if it was paused, all of
        it may be forgotten."""
        until_ms = float("-inf") if paused else self._now_ms() - DURABLE_MS
        for pair, heard in self._heard.items():
            if pair[0] == name:
                self._heard[pair] = [each for each in heard if each.at_ms <= until_ms]

    def know(self, name: NodeId, since_ms: float, fit: Collection[NodeId]) -> bool:
        """Whether any of ``fit`` will surely remember a vote that ``name`` made after
        ``since_ms``."""
        until_ms = self._now_ms() - KNOWN_MS
        return any(
            each.at_ms <= until_ms and each.cast_ms > since_ms
            for (by, voter), heard in self._heard.items()
            if voter == name and by in fit
            for each in heard
        )
