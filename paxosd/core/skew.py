"""Wall clocks compared: a peer whose clock is off by more than a second is said so, once.

    the peer's wall clock, read while a message was on its way ──► Skew.hear ──► SkewNews | None

Wall clocks decide nothing (``core/state/log_clock.py``); people read them side by side in logs.
What a peer's clock shows is known only up to the time that its word was on the way: of that only
half counts, and the other half is doubt. A clock is right if it is off by at most the limit and the
doubt together. A clock that was off is right again only below half the limit, so that a clock near
the limit is not reported again and again.
"""

from typing import NamedTuple

from paxosd.core.types import NodeId

SKEW_MS_MAX = 1000
"""More than this is worth a warning."""


class SkewNews(NamedTuple):
    """``skew_ms``: how far the peer's wall clock is ahead of this node's. ``off``: it is off; else
    it is well again."""

    name: NodeId
    skew_ms: int
    off: bool


class Skew:
    """What is known of the peers' wall clocks. ``known_ms``: peer → how far it is ahead, beyond all
    doubt: 0 if the way of its word explains what it shows."""

    __slots__ = ("_off", "known_ms")

    def __init__(self) -> None:
        self.known_ms: dict[NodeId, int] = {}
        self._off: set[NodeId] = set()

    def hear(
        self, name: NodeId, peer_wall_ms: int, wall_ms: int, round_trip_ms: float = 0.0
    ) -> SkewNews | None:
        """A peer's clock showed ``peer_wall_ms``, and this word of it took up to ``round_trip_ms``
        to arrive, at ``wall_ms`` of this node's clock."""
        doubt_ms = max(0.0, round_trip_ms) / 2
        skew_ms = round(peer_wall_ms + doubt_ms - wall_ms)
        beyond_ms = max(0, abs(skew_ms) - round(doubt_ms))
        self.known_ms[name] = beyond_ms if skew_ms > 0 else -beyond_ms
        if name not in self._off:
            if abs(skew_ms) <= SKEW_MS_MAX + doubt_ms:
                return None
            self._off.add(name)
            return SkewNews(name, skew_ms, True)
        if abs(skew_ms) + doubt_ms > SKEW_MS_MAX / 2:
            return None
        self._off.discard(name)
        return SkewNews(name, skew_ms, False)
