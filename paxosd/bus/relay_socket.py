"""The connection on which writes are passed on to the leader: its socket, one at a time.

What travels on it: ``relay_link.py``.
"""

from collections.abc import Callable

import zmq

from paxosd.bus.dialled import Dialled
from paxosd.bus.handshake import FAILED
from paxosd.bus.monitors import BROKE, CONNECTED, REFUSED, STANDS
from paxosd.bus.repeating import read_connecting
from paxosd.bus.socket_set import SocketSet
from paxosd.host.descriptors import reserved
from paxosd.net.routes import Route

SEND_MAX = 64

Socket = zmq.Socket[bytes]


class RelaySocket:
    """At most one connection to another node's client socket."""

    def __init__(
        self,
        sockets: SocketSet,
        make_route: Callable[[str], tuple[Route | None, str]],
        bytes_max: int,
        receive_max: int,
    ) -> None:
        """``bytes_max``: the largest frame in bytes; ``receive_max``: answers that wait."""
        self._sockets = sockets
        self._make_route = make_route
        self._bytes_max = bytes_max
        self._receive_max = receive_max
        self._open: tuple[Socket, Socket, Dialled] | None = None
        self.descriptor = -1
        """Of the connection, which ZeroMQ owns; -1: there was none yet."""

    def open(self, node: str, endpoint: str) -> tuple[Socket, Socket] | str:
        """A socket on its way to the client socket of a node, and its monitor, readable when that
        connection was made or broke; or what is wrong with the endpoint."""
        assert self._open is None
        route, reason = self._make_route(endpoint)
        if route is None:
            return reason
        with reserved():
            dealer = self._sockets.make(zmq.DEALER, self._bytes_max, SEND_MAX, self._receive_max)
            dealer.setsockopt(zmq.IMMEDIATE, 1)
            events = CONNECTED | BROKE | STANDS | REFUSED | FAILED
            monitor = self._sockets.monitor(dealer, events)
        dialled = Dialled(self._sockets, node, endpoint, route)
        self._open = dealer, monitor, dialled
        self.descriptor = -1
        reason = dialled.redial((dealer,))
        if reason:
            self.close()
            return reason
        return dealer, monitor

    @property
    def route(self) -> Route | None:
        """Where it leads; None: there is no connection."""
        return None if self._open is None else self._open[2].route

    def read_monitor(self, now_ms: int) -> bool:
        """Take in what became of the connection; returns whether it broke."""
        broke = False
        if self._open is not None:
            _, monitor, dialled = self._open
            for event, value, where in read_connecting(monitor, small=False):
                broke |= event == BROKE
                if event == CONNECTED:
                    self.descriptor = value
                else:
                    dialled.take(event, value, where, now_ms)
        return broke

    def mind_keys(self, now_ms: int) -> None:
        """Connect anew if another key is to be expected."""
        if self._open is not None and self._open[2].has_other_key(now_ms):
            self._open[2].redial((self._open[0],))

    def follow_name(self, now_ms: int) -> None:
        """Connect anew if the name of the endpoint has another address now."""
        route = self.route
        if self._open is not None and route is not None and route.tick(now_ms):
            self._open[2].redial((self._open[0],))

    def close(self) -> None:
        """Close its sockets; nothing waits to leave."""
        if self._open is not None:
            dealer, monitor, _ = self._open
            self._open = None
            dealer.disable_monitor()
            self._sockets.drop(monitor, dealer, linger_ms=0)
