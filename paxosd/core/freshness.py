"""How old the applied state may be: counted from a question that a quorum answered for.

    asked at t ── ReadIndex ──► leader ── a round that a quorum confirms ──► index i, back here
    applied >= i   ──►   the state holds everything that was acknowledged before t

An answer's own time says nothing: between the question and the answer others may have had writes
acknowledged that the index does not cover. Nor does it help to have heard a leader, or a commit
index: either may be late, or of a leader that was deposed and does not know it. So a leader, too,
is as old as the last question whose round was confirmed.

A node puts such questions for every linearizable read, and besides once in a heartbeat as long as
somebody wanted to know the age lately (:attr:`Freshness.wanted`). Times are this node's own, of a
clock that never goes backward.
"""

from collections import deque

from paxosd.core.types import Slot

WANTED_MS = 10_000.0
"""Somebody who asked for the age is taken to ask again within this time."""
PENDING_MAX = 64
"""Confirmed indexes above what is applied that are kept: a node that catches up has many."""

NEVER_MS = float("-inf")


class Freshness:
    """``pending``: (when asked, index) of the confirmed questions whose index is not applied yet.
    Invariant: both grow from each to the next."""

    __slots__ = ("_asked_ms", "_pending", "_wanted_ms")

    def __init__(self) -> None:
        self._asked_ms = NEVER_MS
        """When the newest question was asked whose index is applied."""
        self._pending: deque[tuple[float, Slot]] = deque()
        self._wanted_ms = NEVER_MS

    def want(self, now_ms: float) -> None:
        """Somebody wants to know the age."""
        self._wanted_ms = now_ms

    def wanted(self, now_ms: float) -> bool:
        """Whether somebody wanted to know it lately."""
        return now_ms - self._wanted_ms < WANTED_MS

    def confirmed(self, asked_ms: float, index: Slot) -> None:
        """A quorum confirmed it: all that was acknowledged before ``asked_ms`` is up to there."""
        pending = self._pending
        if asked_ms <= (pending[-1][0] if pending else self._asked_ms):
            return  # a repeat
        # A later question with no higher index says all that the earlier one does.
        while pending and pending[-1][1] >= index:
            pending.pop()
        if len(pending) >= PENDING_MAX:
            pending.pop()  # the first of them are reached first, and the last says most
        pending.append((asked_ms, index))

    def forget(self) -> None:
        """What was confirmed until now says nothing: this node took itself for more than it is."""
        self._asked_ms = NEVER_MS
        self._pending.clear()

    def age_ms(self, now_ms: float, applied: Slot) -> float:
        """The state at ``applied`` holds all that was acknowledged so long ago, or longer. -1:
        that is not known, for no question was answered and reached since this node's start."""
        pending = self._pending
        while pending and pending[0][1] <= applied:
            self._asked_ms = pending.popleft()[0]
        return -1.0 if self._asked_ms == NEVER_MS else now_ms - self._asked_ms
