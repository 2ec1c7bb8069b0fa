"""The connection on which a node passes clients' writes on to the leader; see
``replica/forwarding.py``.

It ends at the leader's *client* socket: to the leader this node is one more client. Nothing is
queued for a connection that there is not (IMMEDIATE). One on which nothing comes back counts as
lost (``net/silence.py``).
"""

from collections.abc import Callable
from contextlib import suppress

import zmq

from paxosd.bus.pollers import RELAYED, Pollers
from paxosd.bus.socket_set import Socket
from paxosd.bus.sockets import BusSockets
from paxosd.core.requests import ServerMessage, VouchedRequest, WriteRequest
from paxosd.net.silence import ALIVE, ALIVE_ID, LOOK_MS, Silence, Verdict, traffic_of
from paxosd.wire import WireError, decode_answer, encode_client

_NOBLOCK = int(zmq.NOBLOCK)
_POLLIN = int(zmq.POLLIN)
_EVENTS = int(zmq.EVENTS)


class RelayLink:
    """Implements :class:`paxosd.replica.forwarding.Link`. ``opened`` is called when a connection
    begins."""

    def __init__(
        self,
        cluster: str,
        sockets: BusSockets,
        now_ms: Callable[[], int],
        pollers: Pollers,
        opened: Callable[[], None],
    ) -> None:
        self._cluster = cluster
        self._socket = sockets.relay
        self._now_ms = now_ms
        self._pollers = pollers
        self._opened = opened
        self._sockets: tuple[Socket, Socket] | None = None
        self._silence = Silence()
        self._look_due_ms = 0
        self._unanswered = 0

    def aim(self, endpoint: str, node: str = "") -> None:
        """Connect there, to ``node``, and nowhere else; "": to nobody."""
        self.close()
        made = self._socket.open(node, endpoint) if endpoint else ""
        if isinstance(made, tuple):
            self._sockets = made
            self._silence, self._unanswered = Silence(), 0
            for socket in made:
                self._pollers.add_busy(socket, RELAYED)
            self._opened()

    def send(self, message: WriteRequest | VouchedRequest) -> bool:
        """False: there is no connection, or its queue is full."""
        if self._sockets is None:
            return False
        self._pollers.touched |= RELAYED
        try:
            self._sockets[0].send(encode_client(message, self._cluster), _NOBLOCK)
        except zmq.Again:
            return False
        self._unanswered += 1
        return True

    def receive(self, limit: int) -> list[ServerMessage]:
        """The leader's answers, at most ``limit``. What is no answer is dropped: the client asks
        again."""
        answers: list[ServerMessage] = []
        if self._sockets is None:
            return answers
        dealer = self._sockets[0]
        for _ in range(limit):
            if not int(dealer.get(_EVENTS)) & _POLLIN:
                break
            frames = dealer.recv_multipart(_NOBLOCK)
            self._silence.heard()
            try:
                answer = decode_answer(frames[-1], self._cluster)
            except WireError:
                continue
            if answer.request_id != ALIVE_ID:
                self._unanswered -= 1
                answers.append(answer)
        return answers

    def take_lost(self) -> bool:
        """Whether the connection broke since the last call, or is dead. To be called when all that
        came was received: an answer that was not yet read is no silence."""
        now_ms = self._now_ms()
        return self._socket.read_monitor(now_ms) or self._is_dead(now_ms)

    def _is_dead(self, now_ms: int) -> bool:
        if self._sockets is None or now_ms < self._look_due_ms:
            return False
        self._look_due_ms = now_ms + LOOK_MS
        traffic = traffic_of(self._socket.descriptor)
        verdict = self._silence.look(now_ms, traffic, waiting=self._unanswered > 0)
        if verdict is Verdict.ASK:
            self._pollers.touched |= RELAYED
            with suppress(zmq.Again):
                self._sockets[0].send(encode_client(ALIVE, ""), _NOBLOCK)
        return verdict is Verdict.DEAD

    def close(self) -> None:
        """Close the sockets; nothing waits to leave."""
        if self._sockets is not None:
            for socket in self._sockets:
                self._pollers.remove(socket)
            self._sockets = None
            self._socket.close()
