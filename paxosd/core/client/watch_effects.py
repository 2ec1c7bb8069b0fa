"""What a watch asks its shell to do, and the times and sizes that bound it.

Connect, Pull, Ask ──► the network        Deliver, Fail ──► the user
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from paxosd.core.commands import AnyChange
from paxosd.core.requests import HistoryRequest, ReadRequest

FAILED_CLUSTER = "cluster"
"""The code of a :class:`Fail` for a node of another cluster than the first one seen."""
FAILED_HISTORY = "history"
"""The same for a node of this cluster whose history is not the one that this watch began on."""


class Connect(NamedTuple):
    """Close the sockets of the last attempt, if any, and connect to the next node.

    ``attempt`` counts from 1 and comes back with every input, so that messages of a closed socket
    are recognized. ``reason`` is for people: why the last node was left; "" for the first.
    """

    attempt: int
    reason: str


class Pull(NamedTuple):
    """Send this on the DEALER of the present attempt."""

    request: HistoryRequest


class Deliver(NamedTuple):
    """Hand these changes to the user, in this order. Never empty."""

    changes: list[AnyChange]


class Fail(NamedTuple):
    """The watch ends. ``code`` is a refusal code, :data:`FAILED_CLUSTER` or :data:`FAILED_HISTORY`;
    ``detail`` for COMPACTED is the first revision that is still there."""

    code: str
    message: str
    detail: int


class Ask(NamedTuple):
    """Send this stale read on the DEALER of the present attempt; see
    :meth:`~paxosd.core.client.watch.WatchState.on_age`."""

    request: ReadRequest


Effect = Connect | Pull | Ask | Deliver | Fail


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """Times in ms, sizes in bytes. Defaults suit a node that reports progress each second."""

    silence_ms: int = 3000
    pull_timeout_ms: int = 3000
    pull_retry_ms: int = 100
    reconnect_min_ms: int = 100
    reconnect_max_ms: int = 3000
    stale_max_ms: int = 10_000
    """A node whose state is older than this, or of unknown age, for ``stale_grace_ms`` without a
    break is left. (A node begins to ask how old its state is only when a watcher is there.)"""
    stale_grace_ms: int = 2_500
    history_grace_ms: int | None = None
    """For how long nodes whose state is fresh may be behind the watch: a follower can learn a
    revision before the leader does. None: for ever."""
    poll_min_ms: int = 50
    """Where the node sends this client no events, it is asked for its history: so long after an
    answer with changes, and after each answer without any twice as long, up to the next."""
    poll_max_ms: int = 500
    poll_age_ms: int = 1000
    """How often it is asked then how old its state is."""
    page_bytes: int = 1 << 20
    buffer_messages_max: int = 4096
    buffer_bytes_max: int = 16 << 20


def deliver(effects: list[Effect], changes: Sequence[AnyChange]) -> None:
    """Add these to the last effect, if that is a Deliver; else as one of their own."""
    if not changes:
        return
    if effects and isinstance(effects[-1], Deliver):
        effects[-1].changes.extend(changes)
    else:
        effects.append(Deliver(list(changes)))
