"""The live audit's connections: a SUB and a DEALER to each member, and nothing of paxosd in them.

    --endpoints ──status──► members ──► SUB     accepted/ learned/ kv/ progress/FENCE
                                   ──► DEALER  status, once a second

One connection for each node, so that what comes over it is that node's. No socket sends ZMTP
heartbeats (docs/PROTOCOL.md); the kernel's keepalive finds a dead end.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from paxosctl.audit.live_audit import LiveAudit
from paxosctl.audit.live_frames import FrameError, Standing, decode_answer, encode_question

POLL_MS = 1000.0
"""How often each node is asked for its status, and a fence is begun."""
SLICE_MS = 100
BATCH = 500
"""So many messages of one node are taken in a row."""
RECEIVE_MAX = 4000
"""Messages that wait in a socket; what comes above that is lost, and noticed."""
FRAME_BYTES_MAX = 64 << 20
_TOPICS = (b"accepted/", b"learned/", b"kv/")

Socket = zmq.Socket[bytes]


class NobodyAnswersError(Exception):
    """None of these endpoints answered in time."""

    def __init__(self, endpoints: list[str]) -> None:
        super().__init__(f"no answer from {', '.join(endpoints)}")
        self.endpoints = endpoints


class SeveralClustersError(Exception):
    """The endpoints are of several clusters."""


@dataclass(slots=True)
class _Node:
    """The two sockets of one node. ``asked_ms``: when it was asked what it has not answered; 0: it
    has answered."""

    name: str
    client: str
    events: str
    dealer: Socket
    sub: Socket
    monitor: Socket
    request_id: int = 0
    asked_ms: float = 0.0
    fence: bytes = b""


class LiveSockets:
    """Feeds a :class:`LiveAudit` with what the members of a cluster publish. ``close`` ends all.
    ``secure(socket, endpoint)`` sets the keys of a socket that is to be connected there."""

    def __init__(
        self,
        audit: LiveAudit,
        *,
        now_ms: Callable[[], float],
        secure: Callable[[Socket, str], None] = lambda _socket, _endpoint: None,
    ) -> None:
        self._audit = audit
        self._now_ms = now_ms
        self._secure = secure
        self._context: zmq.Context[Socket] = zmq.Context()
        self._nodes: dict[str, _Node] = {}
        self._poller = zmq.Poller()
        self._request_id = secrets.randbits(32)
        self._polled_ms = -POLL_MS
        self._mark = secrets.token_hex(6).encode()

    def close(self) -> None:
        """Close all sockets; nothing waits to leave."""
        for node in list(self._nodes.values()):
            self._drop(node)
        self._context.destroy(linger=0)

    # -- who is there

    def open(self, endpoints: list[str], timeout_s: float) -> None:
        """Ask these endpoints who the members are, and connect to all of them. Raises
        NobodyAnswersError, SeveralClustersError."""
        found = self._ask_all(endpoints, timeout_s)
        clusters = sorted({each.cluster for each in found})
        if not found:
            raise NobodyAnswersError(endpoints)
        if len(clusters) > 1:
            raise SeveralClustersError(f"these are of several clusters: {', '.join(clusters)}")
        self._audit.cluster = clusters[0]
        for each in found:
            self._join(each)

    def _ask_all(self, endpoints: list[str], timeout_s: float) -> list[Standing]:
        sockets: dict[Socket, str] = {}
        poller = zmq.Poller()
        for endpoint in endpoints:
            dealer = self._make(zmq.DEALER)
            self._secure(dealer, endpoint)
            dealer.connect(endpoint)
            dealer.send(encode_question(1))
            sockets[dealer] = endpoint
            poller.register(dealer, zmq.POLLIN)
        found: list[Standing] = []
        end_s = time.monotonic() + timeout_s
        try:
            while len(found) < len(endpoints) and (left_s := end_s - time.monotonic()) > 0:
                for socket, _ in poller.poll(int(left_s * 1000) + 1):
                    try:
                        answer = decode_answer(socket.recv())
                    except FrameError:
                        answer = None
                    poller.unregister(socket)
                    if answer is not None:
                        found.append(answer[1])
                if not poller.sockets:
                    break
                if found:  # the others have a second more
                    end_s = min(end_s, time.monotonic() + 1.0)
        finally:
            for socket in sockets:
                socket.close(0)
        return found

    def _join(self, said: Standing) -> None:
        """Connect to the members that are new, and leave those that are gone."""
        for name, events in said.events.items():
            client = said.clients.get(name, "")
            held = self._nodes.get(name)
            if (
                not events
                or not client
                or (held and (held.client, held.events) == (client, events))
            ):
                continue
            if held is not None:
                self._drop(held)
            self._add(name, client, events)

    def _add(self, name: str, client: str, events: str) -> None:
        now_ms = self._now_ms()
        sub, dealer = self._make(zmq.SUB), self._make(zmq.DEALER)
        monitor = sub.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        for topic in _TOPICS:
            sub.setsockopt(zmq.SUBSCRIBE, topic)
        node = _Node(name, client, events, dealer, sub, monitor)
        stream = self._audit.add_node(name, events, now_ms)
        stream.endpoint = events
        stream.lose(now_ms)
        stream.applied = 0
        self._nodes[name] = node
        for socket in (sub, dealer, monitor):
            self._poller.register(socket, zmq.POLLIN)
        for socket, endpoint in ((sub, events), (dealer, client)):
            self._secure(socket, endpoint)
            socket.connect(endpoint)

    def _drop(self, node: _Node) -> None:
        node.sub.disable_monitor()
        for socket in (node.monitor, node.sub, node.dealer):
            if socket in self._poller:
                self._poller.unregister(socket)
            socket.close(0)
        self._nodes.pop(node.name, None)

    def _make(self, kind: int) -> Socket:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, 1)
        socket.setsockopt(zmq.RCVHWM, RECEIVE_MAX)
        socket.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES_MAX)
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 5)
        socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 2)
        socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
        return socket

    # -- the loop

    def step(self) -> None:
        """Wait for up to SLICE_MS, and take in what came."""
        if self._now_ms() - self._polled_ms >= POLL_MS:
            self._poll_status()
        ready = {socket for socket, _ in self._poller.poll(SLICE_MS)}
        for node in list(self._nodes.values()):
            if node.monitor in ready:  # before what comes over the next connection
                self._read_monitor(node)
            if node.dealer in ready:
                self._read_answers(node)
            if node.sub in ready:
                self._read_messages(node)

    def _poll_status(self) -> None:
        now_ms = self._polled_ms = self._now_ms()
        self._audit.settle(now_ms)
        for node in self._nodes.values():
            if node.asked_ms and now_ms - node.asked_ms < 3 * POLL_MS:
                continue
            if node.asked_ms:
                self._audit.unheard(node.name, node.asked_ms)
            self._request_id += 1
            try:
                node.dealer.send(encode_question(self._request_id), zmq.NOBLOCK)
            except zmq.Again:
                continue
            node.request_id, node.asked_ms = self._request_id, now_ms
            self._audit.ask(node.name)

    def _read_monitor(self, node: _Node) -> None:
        while node.monitor.poll(0):
            recv_monitor_message(node.monitor)
            self._audit.broke(node.name, self._now_ms())

    def _read_answers(self, node: _Node) -> None:
        while node.dealer.poll(0):
            try:
                answer = decode_answer(node.dealer.recv())
            except FrameError:
                continue
            if answer is None or answer[0] != node.request_id or answer[1].node != node.name:
                continue
            asked_ms, node.asked_ms = node.asked_ms, 0.0
            self._join(answer[1])
            self._audit.hear(answer[1], asked_ms)
            self._begin_fence(node)

    def _begin_fence(self, node: _Node) -> None:
        if self._nodes.get(node.name) is not node:
            return  # it has moved
        if node.fence:
            node.sub.setsockopt(zmq.UNSUBSCRIBE, b"progress/" + node.fence)
        self._request_id += 1
        node.fence = b"\0audit/%s/%d" % (self._mark, self._request_id)
        self._audit.streams[node.name].begin_fence(node.fence, self._now_ms())
        node.sub.setsockopt(zmq.SUBSCRIBE, b"progress/" + node.fence)

    def _read_messages(self, node: _Node) -> None:
        for _ in range(BATCH):
            try:
                frames = node.sub.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if node.monitor.poll(0):
                self._read_monitor(node)
            if len(frames) == 2:
                self._audit.take(node.name, frames[0], frames[1], self._now_ms())
