"""The sockets of one daemon: their kinds, options and limits.

    peer     ROUTER  bind     frames from peers; never sends
    events   XPUB    bind     votes, changes, decisions; sees who subscribes
    client   ROUTER  bind     requests and answers
    links             connect  three per peer, while it is one (``peer_link.py``)
    relay    DEALER  connect  to the leader's client socket, while writes are passed on to it

High-water marks: every queue is finite, in messages here and in bytes by what the bus hands over
(``send_tracker.py``; docs/MEMORY.md lists them all), and nothing ever waits for one.

- A full or dead peer loses messages (EAGAIN, counted): the protocol sends again. ``IMMEDIATE``
  keeps nothing for a peer without a connection, for stale messages would only mislead it.
- A slow subscriber loses messages: streams are numbered, gaps are seen and filled.
- A client that doesn't read loses answers: it asks again with the same sequence number.
- A client or peer that writes faster than the daemon reads is held back by TCP.

A dead connection is found by the kernel (``net/keepalive.py``), which counts bytes and not
messages, so that a large one on a slow link is no silence. Where the kernel is deceived (a proxy
that swallows what it is given, a stranger on a peer's port) the messages of the protocol show it:
``link_doubts.py`` for connections to peers, ``net/silence.py`` for the relay. When the dealer of a
peer loses its connection, the bulk dealer connects anew as well. A connection that never finishes
its handshake is closed; ``connections.py`` limits how many there are. A frame above the limit
closes the connection that it came on. Routing ids are the other side's own choice, so nothing is
concluded from them: who the other end is, its key says (``curve.py``).

ZeroMQ is given numeric addresses only: its one I/O thread would resolve names, and while a name
server is silent no peer and no client would be served. ``net/routes.py`` chooses the address.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import zmq

from paxosd.bus.binding import bind
from paxosd.bus.curve import NodeKeys
from paxosd.bus.peer_link import PeerLink, VoteWatch
from paxosd.bus.peers import PeerEndpoints
from paxosd.bus.relay_socket import RelaySocket
from paxosd.bus.socket_set import Context, Socket, SocketSet
from paxosd.core.cluster_settings import BOUNDS
from paxosd.core.peer_limits import frame_bytes_max
from paxosd.core.types import NodeId
from paxosd.host.descriptors import reserved
from paxosd.net.resolver import Resolver
from paxosd.net.routes import Route

MIB = 1 << 20

TOPIC_OVERHEAD_BYTES = 64
"""By so much a subscription may be longer than a key: the first part of the topic, and framing."""
PEER_RECEIVE_MAX = 256
"""Messages of one connection; a peer has no more on its way than ``core/flow.py`` allows."""
EVENTS_QUEUE_MAX = 4096
NOTICES_QUEUE_MAX = 1024
CLIENT_QUEUE_MAX = 1024
CLIENT_RECEIVE_MAX = 16
"""Messages of one connection; the rest waits in the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusConfig:
    """Who this node is, what it binds, which peers it connects to; limits in bytes.

    Endpoints read ``tcp://HOST:PORT``; the ones to bind may have host and port ``*``.
    ``loopback_only``: they must be of this machine's loopback.
    """

    node: NodeId
    cluster: str
    run_id: int
    peer_bind: str
    client_bind: str
    events_bind: str
    peers: Mapping[NodeId, PeerEndpoints] = field(default_factory=dict)
    message_bytes_max: int = 16 * MIB
    loopback_only: bool = False

    @property
    def peer_bytes_max(self) -> int:
        """The largest frame between daemons."""
        return frame_bytes_max(self.message_bytes_max)


class BusSockets:
    """Opens all sockets but those of the peers, or none: raises BindError. ``keys``: of this node;
    None: it has none."""

    def __init__(
        self,
        config: BusConfig,
        context: Context,
        resolver: Resolver,
        keys: NodeKeys | None = None,
    ) -> None:
        self._config = config
        self._resolver = resolver
        self._set = SocketSet(context, keys)
        self.links: dict[NodeId, PeerLink] = {}
        """The peers that there are now."""
        self.bound: dict[str, str] = {}
        """What is bound → its endpoint, with the real port."""
        self.relay = RelaySocket(
            self._set, self._make_route, config.message_bytes_max, CLIENT_QUEUE_MAX
        )
        try:
            self._open()
        except BaseException:
            self.close(linger_ms=0)
            raise

    @property
    def all(self) -> list[Socket]:
        """Those that are open, monitors included."""
        return self._set.all

    def _open(self) -> None:
        config, make = self._config, self._set.make_guarded
        peer_max, client_max = config.peer_bytes_max, config.message_bytes_max
        self.peer = make("peer", zmq.ROUTER, peer_max, send_max=1, receive_max=PEER_RECEIVE_MAX)
        self._bind("peer", self.peer, config.peer_bind)

        # From a subscriber come topics alone. A key may become as long as any cluster may set it.
        topic_max = BOUNDS["key_bytes_max"][1] + TOPIC_OVERHEAD_BYTES
        self.events = make("events", zmq.XPUB, topic_max, EVENTS_QUEUE_MAX, NOTICES_QUEUE_MAX)
        self.events.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._bind("events", self.events, config.events_bind)

        self.client = make("client", zmq.ROUTER, client_max, CLIENT_QUEUE_MAX, CLIENT_RECEIVE_MAX)
        self.client.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._bind("client", self.client, config.client_bind)

    def _bind(self, what: str, socket: Socket, endpoint: str) -> None:
        self.bound[what] = bind(what, socket, endpoint, loopback_only=self._config.loopback_only)

    def _make_route(self, endpoint: str) -> tuple[Route | None, str]:
        """The route to an endpoint, or what is wrong with it. A wrong endpoint may have come from
        the replicated log, so it must not stop the process."""
        try:
            return Route(endpoint, lambda: self._resolver), ""
        except ValueError as error:
            return None, str(error)

    # ---- peers

    @property
    def peers(self) -> dict[NodeId, PeerEndpoints]:
        """Where the peers are that there are now."""
        return {name: link.endpoints for name, link in self.links.items()}

    def add_peer(self, name: NodeId, endpoints: PeerEndpoints, watch: VoteWatch) -> PeerLink:
        """Open what is connected to a peer, whose votes are waited for by ``watch``."""
        with reserved():
            link = PeerLink(self._set, name, endpoints, self._make_route, watch)
        self.links[name] = link
        return link

    def remove_peer(self, name: NodeId) -> None:
        """Close what is connected to a peer; a message just sent has LINGER_MS to leave."""
        self.links.pop(name).close()

    def reset_bulk(self, name: NodeId) -> None:
        """The other connection to this peer broke: drop what this one holds, and connect anew."""
        with reserved():
            self.links[name].reset_bulk()

    def bulk_ended(self, name: NodeId) -> bool:
        """Whether the connection for what is large ended since this was last asked. ZeroMQ makes
        it anew by itself."""
        link = self.links[name]
        link.read_bulk_monitor()
        ended, link.bulk_ended = link.bulk_ended, False
        return ended

    def read_quiet_monitors(self, now_ms: int) -> None:
        """To be called now and then: take in what became of the connections of which nobody has to
        know at once, those for votes and for what is large."""
        for link in self.links.values():
            link.read_quiet_monitors(now_ms)

    @property
    def descriptors(self) -> dict[NodeId, set[int]]:
        """The connections to each peer; some may have ended."""
        return {name: link.descriptors for name, link in self.links.items()}

    def mind_keys(self, now_ms: int) -> None:
        """To be called now and then: connect anew where another key is to be expected."""
        self.relay.mind_keys(now_ms)
        for link in self.links.values():
            link.mind_keys(now_ms)

    # ---- names

    @property
    def named(self) -> bool:
        """Whether there are names to mind: any peer's endpoint has one."""
        return any(route.name is not None for route in self._all_routes())

    def _all_routes(self) -> list[Route]:
        relay = [] if self.relay.route is None else [self.relay.route]
        routes = [each.route for link in self.links.values() for each in (link.swift, link.voice)]
        return [*(route for route in routes if route is not None), *relay]

    def mind_routes(self, now_ms: int) -> tuple[list[NodeId], dict[str, str]]:
        """Follow the names: connect anew to what has another address now. Returns the peers that
        were connected to their old one, and the endpoints that are wrong, with the reasons."""
        moved: list[NodeId] = []
        wrong: dict[str, str] = {}
        for name, link in self.links.items():
            if link.follow_names(now_ms):
                moved.append(name)
            wrong |= link.take_wrong()
        self.relay.follow_name(now_ms)
        hosts = {route.name.host for route in self._all_routes() if route.name is not None}
        self._resolver.keep(hosts)
        return moved, wrong

    def close(self, linger_ms: int | None = None) -> None:
        """Close all; what was sent has ``linger_ms`` (None: LINGER_MS) to leave."""
        self._set.close(linger_ms)
