"""The connection on which a node passes clients' writes on to the leader; see ``forwarding.py``.

It ends at the leader's *client* socket: to the leader this node is one more client. Nothing is
queued for a connection that there is not (IMMEDIATE).
"""

from collections.abc import Callable

import zmq

from paxosd.bus_sockets import BusSockets, Socket
from paxosd.core.requests import ServerMessage, WriteRequest
from paxosd.wire import WireError, decode_answer, encode_client

_NOBLOCK = int(zmq.NOBLOCK)
_POLLIN = int(zmq.POLLIN)
_EVENTS = int(zmq.EVENTS)


class RelayLink:
    """Has :class:`paxosd.forwarding.Link`. ``opened`` and ``closed`` are told of each socket that
    is to be polled for reading, and no more."""

    def __init__(
        self,
        cluster: str,
        sockets: BusSockets,
        now_ms: Callable[[], int],
        opened: Callable[[Socket], None],
        closed: Callable[[Socket], None],
    ) -> None:
        self._cluster = cluster
        self._sockets_of_bus = sockets
        self._now_ms = now_ms
        self._opened = opened
        self._closed = closed
        self._sockets: tuple[Socket, Socket] | None = None

    def aim(self, endpoint: str) -> None:
        """Connect there and nowhere else; "": to nobody."""
        self.close()
        made = self._sockets_of_bus.open_relay(endpoint) if endpoint else ""
        if isinstance(made, tuple):
            self._sockets = made
            for socket in made:
                self._opened(socket)

    def send(self, message: WriteRequest) -> bool:
        """False: there is no connection, or its queue is full."""
        if self._sockets is None:
            return False
        try:
            self._sockets[0].send(encode_client(message, self._cluster), _NOBLOCK)
        except zmq.Again:
            return False
        return True

    def receive(self, limit: int) -> list[ServerMessage]:
        """The leader's answers, at most ``limit``. What is none is left out: the client asks
        again."""
        answers: list[ServerMessage] = []
        if self._sockets is None:
            return answers
        dealer = self._sockets[0]
        for _ in range(limit):
            if not int(dealer.get(_EVENTS)) & _POLLIN:
                break
            frames = dealer.recv_multipart(_NOBLOCK)
            try:
                answers.append(decode_answer(frames[-1], self._cluster))
            except WireError:
                continue
        return answers

    def take_lost(self) -> bool:
        """Whether the connection broke since the last call."""
        return self._sockets_of_bus.read_relay_monitor(self._now_ms())

    def close(self) -> None:
        """Close the sockets; nothing waits to leave."""
        if self._sockets is not None:
            for socket in self._sockets:
                self._closed(socket)
            self._sockets = None
            self._sockets_of_bus.close_relay()
