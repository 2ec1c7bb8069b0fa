"""What a load is: how many clients send what, how fast and for how long."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

VERB_PUT, VERB_GET, VERB_MIXED = "put", "get", "mixed"
VERB_WATCH = "watch"
"""Of events that puts cause (``fanout.py``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """``outstanding`` commands under way at a time, on ``connections`` connections, each command
    with a value of ``size`` bytes and one of ``keys`` keys.

    It ends after ``count`` commands or after ``duration_ms``, whichever comes first; 0: not by this
    one. What begins within the first ``warmup_ms`` is sent, and neither counted nor recorded.
    """

    verb: str = VERB_PUT
    """``put``, ``get`` or ``mixed``."""
    outstanding: int
    connections: int
    clients: int = 0
    """Sessions, which share the connections evenly; 0: one for each connection."""
    per_frame: int = 0
    """Commands in one request; 0: all that a client has under way, as far as one request may hold
    them."""
    size: int
    keys: int
    distribution: str = "uniform"
    """See :func:`paxosctl.load.keys.key_draw`."""
    read_ratio: float = 0.5
    """Of a mixed load: the share of the requests that read."""
    stale: bool = False
    """Reads are local ones of all members in turn, and not linearizable ones of the leader."""
    rate: float = 0.0
    """Commands a second, sent when they are due whatever the answers do (open loop); 0: each is
    sent when an earlier one was answered (closed loop)."""
    count: int = 0
    duration_ms: int = 0
    warmup_ms: int = 0
    seed: int = 0

    @property
    def sessions(self) -> int:
        """How many clients there are."""
        return self.clients or self.connections

    @property
    def writes(self) -> bool:
        """Whether there are any puts in it."""
        return self.verb != VERB_GET

    @property
    def reads(self) -> bool:
        """Whether there are any gets in it."""
        return self.verb != VERB_PUT

    def share(self, place: int, of: int) -> "Load":
        """The part of process ``place`` of ``of``; all parts together are the load. There are at
        least ``of`` connections."""
        return replace(
            self,
            outstanding=portion(self.outstanding, place, of),
            connections=portion(self.connections, place, of),
            clients=portion(self.sessions, place, of),
            count=portion(self.count, place, of),
            rate=self.rate / of,
        )


def portion(total: int, place: int, of: int) -> int:
    """The part of ``place`` (from 0) when ``total`` is divided as evenly as whole numbers are."""
    base, more = divmod(total, of)
    return base + (place < more)


def frames_of(window: int, frame_max: int) -> Iterable[int]:
    """How a client with ``window`` commands under way divides them into requests."""
    while window > 0:
        yield min(window, frame_max)
        window -= frame_max
