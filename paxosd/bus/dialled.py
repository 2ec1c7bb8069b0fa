"""Sockets that are connected to one endpoint of another node: where that is now, and which key the
node is expected to have.

Its address may change (``net/routes.py``) and its key may be one of several (``handshake.py``); the
sockets are connected anew then.
"""

from collections.abc import Sequence

import zmq

from paxosd.bus.handshake import Handshake
from paxosd.bus.monitors import report
from paxosd.bus.socket_set import SocketSet
from paxosd.net.endpoints import same_endpoint
from paxosd.net.routes import Route

Socket = zmq.Socket[bytes]


class Dialled:
    """``route``: None if the endpoint is wrong, then these are connected to nothing."""

    def __init__(self, sockets: SocketSet, node: str, endpoint: str, route: Route | None) -> None:
        self._sockets = sockets
        self.route = route
        self.handshake = Handshake(sockets.keys, node, endpoint)
        self.target = ""
        """The numeric endpoint that they are connected to; "": to none."""
        self.expected: bytes | None = None
        """The key that the other end is expected to have, or PLAIN; None: it is not dialled."""

    @property
    def is_named(self) -> bool:
        """Whether the endpoint has a host name."""
        return self.route is not None and self.route.name is not None

    def redial(self, sockets: Sequence[Socket]) -> str:
        """Connect all of these to where the route leads now, as the handshake has it; what is
        wrong with that, or "". What is on its way is dropped."""
        before, self.target = self.target, ""
        self.expected = self.handshake.expected
        target = self.route.target if self.route is not None else ""
        reason = ""
        for socket in sockets:
            if before:
                socket.disconnect(before)
            if not reason:
                reason = self._connect(socket, target)
        if target and self.expected is not None and not reason:
            self.target = target
        return reason

    def dial(self, socket: Socket) -> None:
        """Connect one more socket, to where the others are connected."""
        self._connect(socket, self.target)

    def _connect(self, socket: Socket, target: str) -> str:
        if not target or self.expected is None:
            return ""
        return self._sockets.connect(socket, target, self.expected)

    def take(self, event: int, value: int, endpoint: str, now_ms: int) -> None:
        """An event of the monitor of one of these."""
        if self.route is not None and same_endpoint(endpoint, self.route.target):
            report(self.route, event, now_ms)
            self.handshake.take(event, value, now_ms)

    def has_other_key(self, now_ms: int) -> bool:
        """Whether to connect anew because of keys: another one is to be tried, or the one that is
        expected is not the node's any more."""
        handshake = self.handshake
        if handshake.take_due(now_ms):
            return True
        if self.expected is None:
            return bool(handshake.choices)
        return self.expected not in handshake.choices
