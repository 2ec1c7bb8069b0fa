"""The sockets of one daemon: their kinds, options and limits.

    peer     ROUTER  bind     frames from peers; never sends
    dealer   DEALER  connect  one per peer, while it is one; never receives
    events   XPUB    bind     votes, changes, decisions; sees who subscribes
    votes    SUB     connect  the accepted/ stream of every peer
    client   ROUTER  bind     requests and answers

High-water marks: every queue is finite, and nothing ever waits for one.

- A full or dead peer loses messages (EAGAIN, counted): the protocol sends again. ``IMMEDIATE``
  keeps nothing for a peer without a connection, for what is stale would only mislead it.
- A slow subscriber loses messages: streams are numbered, gaps are seen and filled.
- A client that doesn't read loses answers: it asks again with the same sequence number.
- A client or peer that writes faster than the daemon reads is held back by TCP.

A dead connection (also a black hole) is found by ZMTP heartbeats; one that never finishes its
handshake is closed; how many there may be ``connections.py`` says. A frame above the limit closes
the connection that it came on. Routing ids
are the other side's own choice, so nothing is concluded from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL, ENODEV

import zmq

from paxosd.core.types import NodeId
from paxosd.descriptors import reserved
from paxosd.member_links import PeerEndpoints
from paxosd.wire import ACCEPTED_TOPIC

MIB = 1 << 20

LINGER_MS = 200
"""On close: long enough for a last message to a live peer."""
HEARTBEAT_IVL_MS = 1000
HEARTBEAT_TIMEOUT_MS = 3000
HANDSHAKE_IVL_MS = 3000
CONNECT_TIMEOUT_MS = 2000
RECONNECT_IVL_MS = 50
RECONNECT_IVL_MAX_MS = 1000
BACKLOG = 512
TOPIC_OVERHEAD_BYTES = 64
"""What a subscription may be longer than a key: its topic's first part and framing."""

NEVER_READ_BYTES = 4096
"""The frame limit of a socket that only sends; the handshake has to pass."""

SUBSCRIBE_QUEUE_MAX = 64
"""Subscriptions travel as messages: with a queue of 1 the second one would be lost."""
PEER_QUEUE_MAX = 2048
VOTES_QUEUE_MAX = 16_384
"""Votes are small, and losing them costs a round trip."""
EVENTS_QUEUE_MAX = 4096
CLIENT_QUEUE_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BusConfig:
    """Who this node is, what it binds, whom it connects to; limits in bytes.

    Endpoints read ``tcp://HOST:PORT``; the ones to bind may have port ``*``.
    """

    node: NodeId
    cluster: str
    incarnation: int
    peer_bind: str
    client_bind: str
    events_bind: str
    peers: Mapping[NodeId, PeerEndpoints] = field(default_factory=dict)
    message_bytes_max: int = 16 * MIB
    key_bytes_max: int = 4096

    @property
    def peer_bytes_max(self) -> int:
        """The largest frame between daemons. One batch may hold an entry as large as a client's
        frame on top of a batch that was nearly full."""
        return 2 * self.message_bytes_max + MIB


class BindError(Exception):
    """A socket cannot listen where it should. ``what``: peer, client or events."""

    def __init__(self, what: str, endpoint: str, reason: str) -> None:
        super().__init__(f"cannot bind the {what} socket to {endpoint}: {reason}")
        self.what = what
        self.endpoint = endpoint
        self.reason = reason


_BIND_REASONS = {
    EADDRINUSE: "the port is in use; stop the process that has it, or configure another port",
    EADDRNOTAVAIL: "this machine has no such address; set node.bind_host to one it has",
    ENODEV: "this machine has no such address; set node.bind_host to one it has",
    EACCES: "this user may not use that port; choose one above 1023",
}

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]


class BusSockets:
    """Opens all sockets but those of the peers, or none: raises BindError."""

    def __init__(self, config: BusConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._all: list[Socket] = []
        self.dealers: dict[NodeId, Socket] = {}
        self.bound: dict[str, str] = {}
        """What is bound → its endpoint, with the real port."""
        try:
            self._open()
        except BaseException:
            self.close(linger_ms=0)
            raise

    def _open(self) -> None:
        config = self._config
        peer_max, client_max = config.peer_bytes_max, config.message_bytes_max
        self.peer = self._make(zmq.ROUTER, peer_max, send_max=1, receive_max=PEER_QUEUE_MAX)
        self._bind("peer", self.peer, config.peer_bind)

        # From a subscriber come topics alone.
        topic_max = config.key_bytes_max + TOPIC_OVERHEAD_BYTES
        self.events = self._make(zmq.XPUB, topic_max, EVENTS_QUEUE_MAX, EVENTS_QUEUE_MAX)
        self.events.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._bind("events", self.events, config.events_bind)

        self.client = self._make(zmq.ROUTER, client_max, CLIENT_QUEUE_MAX, CLIENT_QUEUE_MAX)
        self.client.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._bind("client", self.client, config.client_bind)

        self.votes = self._make(zmq.SUB, peer_max, SUBSCRIBE_QUEUE_MAX, VOTES_QUEUE_MAX)
        self.votes.setsockopt(zmq.SUBSCRIBE, ACCEPTED_TOPIC)
        self.peers: dict[NodeId, PeerEndpoints] = {}
        self.monitors: dict[NodeId, Socket] = {}
        """Readable when the connection to that peer broke."""
        self._voices: set[str] = set()
        """The endpoints that ``votes`` is connected to."""

    def add_peer(self, name: NodeId, endpoints: PeerEndpoints) -> str:
        """Open what sends to a peer; what is wrong with its endpoint, or "". Its votes are for
        :meth:`hear_votes`."""
        with reserved():
            dealer = self._make(zmq.DEALER, NEVER_READ_BYTES, PEER_QUEUE_MAX, receive_max=1)
            dealer.setsockopt(zmq.IMMEDIATE, 1)
            monitor = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._all.append(monitor)
        self.peers[name] = endpoints
        self.monitors[name], self.dealers[name] = monitor, dealer
        return self._connect(dealer, endpoints.peer)

    def remove_peer(self, name: NodeId) -> None:
        """Close what sends to a peer; a message just sent has LINGER_MS to leave."""
        del self.peers[name]
        dealer, monitor = self.dealers.pop(name), self.monitors.pop(name)
        dealer.disable_monitor()
        for socket in (monitor, dealer):
            self._all.remove(socket)
            socket.close()

    def hear_votes(self) -> dict[str, str]:
        """Subscribe to the peers that there are now and to no others; returns the endpoints that
        are wrong, each with the reason. The old ones go first: a peer may have moved to where
        another was."""
        wanted = {endpoints.events for endpoints in self.peers.values()}
        for endpoint in self._voices - wanted:
            self.votes.disconnect(endpoint)
        self._voices &= wanted
        wrong = {}
        for endpoint in sorted(wanted - self._voices):
            reason = self._connect(self.votes, endpoint)
            if reason:
                wrong[endpoint] = reason
            else:
                self._voices.add(endpoint)
        return wrong

    def _make(self, kind: int, bytes_max: int, send_max: int, receive_max: int) -> Socket:
        socket = self._context.socket(kind)
        self._all.append(socket)
        options = {
            zmq.LINGER: LINGER_MS,
            zmq.SNDHWM: send_max,
            zmq.RCVHWM: receive_max,
            zmq.MAXMSGSIZE: bytes_max,
            zmq.HEARTBEAT_IVL: HEARTBEAT_IVL_MS,
            zmq.HEARTBEAT_TIMEOUT: HEARTBEAT_TIMEOUT_MS,
            zmq.HEARTBEAT_TTL: HEARTBEAT_TIMEOUT_MS,
            zmq.HANDSHAKE_IVL: HANDSHAKE_IVL_MS,
            zmq.CONNECT_TIMEOUT: CONNECT_TIMEOUT_MS,
            zmq.RECONNECT_IVL: RECONNECT_IVL_MS,
            zmq.RECONNECT_IVL_MAX: RECONNECT_IVL_MAX_MS,
            zmq.BACKLOG: BACKLOG,
        }
        for option, value in options.items():
            socket.setsockopt(option, value)
        return socket

    @staticmethod
    def _connect(socket: Socket, endpoint: str) -> str:
        """What is wrong with the endpoint, or "": it may have come by the log, and must not stop
        every member that reads it."""
        # Not always on: a name such as localhost would then mean its IPv6 address alone.
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            return str(error)
        return ""

    def _bind(self, what: str, socket: Socket, endpoint: str) -> None:
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            reason = _BIND_REASONS.get(error.errno or 0, str(error))
            raise BindError(what, endpoint, reason) from None
        self.bound[what] = socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def close(self, linger_ms: int | None = None) -> None:
        """Close all; what was sent has ``linger_ms`` (None: LINGER_MS) to leave."""
        for dealer in self.dealers.values():
            dealer.disable_monitor()
        for socket in self._all:
            socket.close(linger_ms)
        self._all.clear()
