"""Which of a daemon's sockets have something to read, and how long to wait for that.

A ZeroMQ socket has a descriptor (ZMQ_FD) that becomes readable when its state *may* have changed;
what the state is, only the socket itself can be asked, which costs two system calls. So the
descriptors lie in epoll sets, and a socket is asked only

* when its descriptor is readable, which a question ends;
* after something else than a question may have taken that signal away: a message sent on it, or
  its connections changed (:attr:`Pollers.touched`);
* after each message taken from it, by whoever takes them. A limit may leave some unread, of which
  the descriptor says nothing: a socket counts as readable until it was found empty.
"""

from select import EPOLLIN, epoll
from time import monotonic

import zmq

from paxosd.bus.socket_set import Socket
from paxosd.bus.sockets import BusSockets

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
_INTERNAL = VOTES | LOST | RELAYED | NAMES

HOT_MS = 10
"""For so long votes that nobody waits for, new subscribers and broken connections do not end a
wait. They are taken in with whatever comes first."""

_BUSY = PEERS | CLIENTS | RELAYED | WAKEUP
_EVENTS_MAX = 64
"""How many descriptors one wait reports; the others are reported by the next."""
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)


class Pollers:
    """The epoll sets of one bus: the busy sources, and all of them. ``wake_fd``: of the
    resolver."""

    def __init__(self, sockets: BusSockets, wake_fd: int) -> None:
        self.readable = 0
        """What has something to read, or may have. Whoever finds it empty takes its flag out."""
        self._all = epoll()
        try:
            self._hot = epoll()
        except BaseException:
            self._all.close()
            raise
        self._sources: dict[int, tuple[Socket | None, int]] = {}
        """Each descriptor → its socket, None if it has none, and what it is readable for."""
        self.descriptors: dict[Socket | int, int] = {}
        self.touched = 0
        """The flags of the sockets on which something was sent, or whose connections changed."""
        self.votes: set[Socket] = set()
        """The sockets for votes that have something to read, if VOTES is among ``readable``."""
        try:
            self.add_busy(sockets.peer, PEERS)
            self.add_busy(sockets.client, CLIENTS)
            self.add(sockets.events, SUBSCRIPTIONS)
            self.add(wake_fd, NAMES)
        except BaseException:
            self.close()
            raise

    def add(self, source: Socket | int, flag: int) -> None:
        """Wait for this one, too; at first it counts as touched."""
        if isinstance(source, int):
            descriptor, socket = source, None
        else:
            descriptor, socket = int(source.get(zmq.FD)), source
        self._sources[descriptor] = socket, flag
        self.descriptors[source] = descriptor
        self._all.register(descriptor, EPOLLIN)
        self.touched |= flag

    def add_busy(self, source: Socket | int, flag: int) -> None:
        """Wait for this one, too, at every wait."""
        self.add(source, flag)
        self._hot.register(self.descriptors[source], EPOLLIN)

    def remove(self, source: Socket) -> None:
        """Wait for it no more. It must not be closed yet."""
        descriptor = self.descriptors.pop(source)
        _, flag = self._sources.pop(descriptor)
        self.votes.discard(source)
        self._all.unregister(descriptor)
        if flag == RELAYED:
            self._hot.unregister(descriptor)

    def begin(self, votes: Socket, monitor: Socket, *, named: bool) -> None:
        """Wait for votes on this socket, too. ``named``: and for news of its connection."""
        self.add(votes, VOTES)
        if named:
            self.add(monitor, LOST)

    def end(self, votes: Socket, monitor: Socket) -> None:
        """Wait for it no more; it is closed next."""
        for source in (votes, monitor):
            if source in self.descriptors:
                self.remove(source)

    def close(self) -> None:
        """Give the descriptors of the sets back."""
        self._all.close()
        self._hot.close()

    def poll(self, timeout_ms: int, *, lazy_votes: bool, flags: int = 0) -> int:
        """Wait at most ``timeout_ms``; the flags of what can be read, and ``flags`` as well.
        ``lazy_votes``: what is not busy does not end the wait before HOT_MS."""
        suspects = self.touched | self.readable
        self.touched = self.readable = 0
        self.votes.clear()
        if suspects:
            for socket, flag in self._sources.values():
                if flag & suspects and socket is not None:
                    self._ask(socket, flag)
        end_s = 0.0
        while True:
            flags |= self._wait(timeout_ms, flags | self.readable, lazy=lazy_votes)
            found = flags | self.readable
            if found or not timeout_ms:
                return (found | PEERS if found & VOTES else found) & ~_INTERNAL
            now_s = monotonic()  # a descriptor was readable for nothing, or the time is over
            end_s = end_s or now_s + timeout_ms / 1000
            timeout_ms = max(0, round((end_s - now_s) * 1000))

    def _wait(self, timeout_ms: int, found: int, *, lazy: bool) -> int:
        """Wait once, unless what was found already forbids it; then ``readable`` says what is.
        Returns WAKEUP if it applies. A descriptor may be readable for nothing."""
        if found & _BUSY or (found and not lazy):
            timeout_ms = 0
        elif lazy and timeout_ms:
            hot_ms = min(timeout_ms, HOT_MS)
            if self._hot.poll(hot_ms / 1000, _EVENTS_MAX) or found:
                timeout_ms = 0
            else:
                timeout_ms -= hot_ms
        wakeup = 0
        for descriptor, _ in self._all.poll(timeout_ms / 1000, _EVENTS_MAX):
            socket, flag = self._sources[descriptor]
            if socket is not None:
                self._ask(socket, flag)
            elif flag == WAKEUP:
                wakeup = WAKEUP
            else:
                self.readable |= flag
        return wakeup

    def _ask(self, socket: Socket, flag: int) -> None:
        if int(socket.get(_EVENTS)) & _POLLIN:
            self.readable |= flag
            if flag == VOTES:
                self.votes.add(socket)
