"""Which of a daemon's sockets have something to read, and how long to wait for that.

Three pollers, for each source that is polled costs: the busy sockets, the busy ones with the votes,
and all of them. A wait looks at the busy ones alone for :data:`HOT_MS`.
"""

from typing import Any

import zmq

from paxosd.bus.sockets import BusSockets, Socket

PEERS = 1
SUBSCRIPTIONS = 2
CLIENTS = 4
WAKEUP = 8
VOTES = 16
LOST = 32
"""A connection was made, broke or was refused: a monitor has news."""
RELAYED = 64
NAMES = 128
"""The resolver has news."""
_ALL = PEERS | SUBSCRIPTIONS | CLIENTS | VOTES | LOST | NAMES
_INTERNAL = VOTES | LOST | RELAYED | NAMES

HOT_MS = 10
"""For so long a wait looks at the busy sockets alone: each one that is polled costs. So new
subscribers, broken connections and votes that nobody waits for may lie for this long; under load
they are taken in with whatever comes next, at this interval at the latest."""


class Pollers:
    """The pollers of one bus. ``wake_fd``: of the resolver."""

    def __init__(self, sockets: BusSockets, wake_fd: int) -> None:
        self.readable = _ALL
        """What the last poll found readable: nothing else is tried, for a try in vain costs."""
        self.flags: dict[Any, int] = {}
        """Each source that is polled → what it is readable for."""
        self._all = zmq.Poller()
        self._hot = zmq.Poller()
        self._hot_with_votes = zmq.Poller()
        self._all_due_ms = 0
        self.add_busy(sockets.peer, PEERS)
        self.add_busy(sockets.client, CLIENTS)
        self.add(sockets.votes, PEERS | VOTES)
        self._hot_with_votes.register(sockets.votes, zmq.POLLIN)
        self.add(sockets.events, SUBSCRIPTIONS)
        self.add(wake_fd, NAMES)

    def add(self, source: Socket | int, flag: int) -> None:
        """Poll this one, too, when nothing busy has something to read."""
        self._all.register(source, zmq.POLLIN)
        self.flags[source] = flag

    def add_busy(self, source: Socket | int, flag: int) -> None:
        """Poll this one, too, at every wait."""
        self.add(source, flag)
        self._hot.register(source, zmq.POLLIN)
        self._hot_with_votes.register(source, zmq.POLLIN)

    def remove(self, source: Socket) -> None:
        """Poll it no more."""
        self._all.unregister(source)
        for poller in (self._hot, self._hot_with_votes):
            if source in poller:
                poller.unregister(source)
        del self.flags[source]

    def poll(self, timeout_ms: int, now_ms: int, *, lazy_votes: bool, flags: int = 0) -> int:
        """Wait at most ``timeout_ms``; the flags of what can be read, and ``flags`` as well.
        ``lazy_votes``: a vote alone does not end the wait before HOT_MS."""
        hot_ms = min(timeout_ms, HOT_MS)
        found = (self._hot if lazy_votes else self._hot_with_votes).poll(hot_ms)
        perhaps = 0
        if not found:
            found = self._all.poll(timeout_ms - hot_ms)
        elif now_ms >= self._all_due_ms:
            self._all_due_ms = now_ms + HOT_MS
            perhaps = SUBSCRIPTIONS | VOTES | LOST
        elif lazy_votes:
            perhaps = VOTES
        for source, _ in found:
            flags |= self.flags[source]
        self.readable = flags | perhaps
        return flags & ~_INTERNAL
