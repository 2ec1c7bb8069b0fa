"""The sockets of one daemon: their kinds, options and limits.

    peer     ROUTER  bind     frames from peers; never sends
    dealer   DEALER  connect  one per peer, while it is one; never receives
    bulk     DEALER  connect  another one, for what is large (lanes.py)
    events   XPUB    bind     votes, changes, decisions; sees who subscribes
    votes    SUB     connect  the accepted/ stream of every peer
    client   ROUTER  bind     requests and answers
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
concluded from them.

No socket, of a node or of a client, sends ZMTP heartbeats, or makes the other end answer any.
libzmq 4.3.5 aborts the whole process when it has to send or to answer one on a connection that has
ended while its queue was full (libzmq issue 4841). So a node that publishes faster than a watcher
reads, and is killed, would end the watcher's process; a client that sends faster than the loop
reads, and goes away, would end the node. (A foreign program that sends heartbeats can still end a
node in this way: no option of libzmq keeps it from answering. Clients of 0.x versions before this
one do send them.)

ZeroMQ is given numeric addresses only: its one I/O thread would resolve names, and while a name
server is silent no peer and no client would be served. ``net/routes.py`` chooses the address.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import zmq

from paxosd.bus.binding import bind
from paxosd.bus.monitors import BROKE, CONNECTED, REFUSED, STANDS, report
from paxosd.bus.peers import PeerEndpoints
from paxosd.bus.repeating import read_connecting
from paxosd.bus.send_tracker import BUSY_MARK_BYTES, SendTracker
from paxosd.core.cluster_settings import BOUNDS
from paxosd.core.peer_limits import frame_bytes_max
from paxosd.core.types import NodeId
from paxosd.host.descriptors import reserved
from paxosd.net.endpoints import same_endpoint
from paxosd.net.keepalive import KERNEL_FINDS_DEAD_ENDS
from paxosd.net.resolver import Resolver
from paxosd.net.routes import Route
from paxosd.wire import ACCEPTED_TOPIC

MIB = 1 << 20

LINGER_MS = 200
"""On close: long enough for a last message to a live peer."""
HANDSHAKE_IVL_MS = 3000
CONNECT_TIMEOUT_MS = 2000
RECONNECT_IVL_MS = 50
RECONNECT_IVL_MAX_MS = 1000
BACKLOG = 512
TOPIC_OVERHEAD_BYTES = 64
"""By so much a subscription may be longer than a key: the first part of the topic, and framing."""

NEVER_READ_BYTES = 4096
"""The frame limit of a socket that only sends; the handshake has to pass."""

SUBSCRIBE_QUEUE_MAX = 64
"""Subscriptions travel as messages: with a queue of 1 the second one would be lost."""
SWIFT_QUEUE_MAX = 1024
"""Each of SWIFT_BYTES_MAX at most."""
BULK_QUEUE_MAX = 4096
"""Bounded in bytes, by the bus: these are small ones."""
PEER_RECEIVE_MAX = 256
"""Messages of one connection; a peer has no more on its way than ``core/flow.py`` allows."""
VOTES_QUEUE_MAX = 4096
"""Losing votes costs a round trip."""
VOTE_BYTES_MAX = 64 << 10
"""Votes in every other one of ``accept_ahead_slots_max`` slots take less."""
EVENTS_QUEUE_MAX = 4096
NOTICES_QUEUE_MAX = 1024
CLIENT_QUEUE_MAX = 1024
CLIENT_RECEIVE_MAX = 16
"""Messages of one connection; the rest waits in the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusConfig:
    """Who this node is, what it binds, which peers it connects to; limits in bytes.

    Endpoints read ``tcp://HOST:PORT``; the ones to bind may have host and port ``*``.
    """

    node: NodeId
    cluster: str
    run_id: int
    peer_bind: str
    client_bind: str
    events_bind: str
    peers: Mapping[NodeId, PeerEndpoints] = field(default_factory=dict)
    message_bytes_max: int = 16 * MIB

    @property
    def peer_bytes_max(self) -> int:
        """The largest frame between daemons."""
        return frame_bytes_max(self.message_bytes_max)


Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]


class _Relay:
    """The connection on which writes are passed on to the leader."""

    def __init__(self, dealer: Socket, monitor: Socket, route: Route) -> None:
        self.dealer = dealer
        self.monitor = monitor
        self.route = route
        self.descriptor = -1
        self._dialled = ""

    def redial(self, connect: Callable[[Socket, str], str]) -> str:
        """Connect to where the route leads now; what is wrong with that, or ""."""
        if self._dialled:
            self.dealer.disconnect(self._dialled)
        target = self._dialled = self.route.target
        reason = connect(self.dealer, target) if target else ""
        if reason:
            self._dialled = ""
        return reason


class BusSockets:
    """Opens all sockets but those of the peers, or none: raises BindError."""

    def __init__(self, config: BusConfig, context: Context, resolver: Resolver) -> None:
        self._config = config
        self._context = context
        self._resolver = resolver
        self._all: list[Socket] = []
        self.dealers: dict[NodeId, Socket] = {}
        self.bulk: dict[NodeId, tuple[Socket, SendTracker]] = {}
        """Each with what it holds."""
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
        self.peer = self._make(zmq.ROUTER, peer_max, send_max=1, receive_max=PEER_RECEIVE_MAX)
        self.bound["peer"] = bind("peer", self.peer, config.peer_bind)

        # From a subscriber come topics alone. A key may become as long as any cluster may set it.
        topic_max = BOUNDS["key_bytes_max"][1] + TOPIC_OVERHEAD_BYTES
        self.events = self._make(zmq.XPUB, topic_max, EVENTS_QUEUE_MAX, NOTICES_QUEUE_MAX)
        self.events.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.bound["events"] = bind("events", self.events, config.events_bind)

        self.client = self._make(zmq.ROUTER, client_max, CLIENT_QUEUE_MAX, CLIENT_RECEIVE_MAX)
        self.client.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.bound["client"] = bind("client", self.client, config.client_bind)

        self.votes = self._make(zmq.SUB, VOTE_BYTES_MAX, SUBSCRIBE_QUEUE_MAX, VOTES_QUEUE_MAX)
        self.votes.setsockopt(zmq.SUBSCRIBE, ACCEPTED_TOPIC)
        self.votes_monitor = self._monitor(self.votes, CONNECTED | BROKE | STANDS | REFUSED)
        self.peers: dict[NodeId, PeerEndpoints] = {}
        self._bulk_monitors: dict[NodeId, Socket] = {}
        self._bulk_broke: set[NodeId] = set()
        """Whose connection for what is large ended, since somebody asked."""
        self._connected: dict[tuple[NodeId, bool], int] = {}
        """A peer, and whether it is for what is large → the descriptor of that connection."""
        self.monitors: dict[NodeId, Socket] = {}
        """Readable when the connection to that peer broke."""
        self._routes: dict[NodeId, Route] = {}
        """How the dealer of a peer reaches it; none if its endpoint is wrong."""
        self._dialled: dict[NodeId, str] = {}
        """The numeric endpoint that it is connected to."""
        self._vote_routes: dict[str, Route] = {}
        self._relay: _Relay | None = None
        self._voices: set[str] = set()
        """The numeric endpoints that ``votes`` is connected to."""

    def add_peer(self, name: NodeId, endpoints: PeerEndpoints) -> str:
        """Open what sends to a peer; what is wrong with its endpoint, or "". Its votes are for
        :meth:`hear_votes`."""
        route, reason = self._make_route(endpoints.peer)
        named = route is not None and route.name is not None
        with reserved():
            dealer = self._make(zmq.DEALER, NEVER_READ_BYTES, SWIFT_QUEUE_MAX, receive_max=1)
            dealer.setsockopt(zmq.IMMEDIATE, 1)
            bulk = self._make_bulk(name)
            more = STANDS | REFUSED if named else 0
            monitor = self._monitor(dealer, CONNECTED | BROKE | more)
        self.peers[name] = endpoints
        self.monitors[name], self.dealers[name] = monitor, dealer
        self.bulk[name] = bulk, SendTracker(BUSY_MARK_BYTES)
        if route is None:
            return reason
        self._routes[name] = route
        return self._redial(name)

    def _make_route(self, endpoint: str) -> tuple[Route | None, str]:
        """The route to an endpoint, or what is wrong with it. A wrong endpoint may have come from
        the replicated log, so it must not stop the process."""
        try:
            return Route(endpoint, lambda: self._resolver), ""
        except ValueError as error:
            return None, str(error)

    def open_relay(self, endpoint: str) -> tuple[Socket, Socket] | str:
        """A socket on its way to the client socket of another node, and its monitor, readable when
        that connection was made or broke; or what is wrong with the endpoint. One at a time."""
        route, reason = self._make_route(endpoint)
        if route is None:
            return reason
        with reserved():
            dealer = self._make(zmq.DEALER, self._config.message_bytes_max, 64, CLIENT_QUEUE_MAX)
            dealer.setsockopt(zmq.IMMEDIATE, 1)
            monitor = self._monitor(dealer, CONNECTED | BROKE | STANDS | REFUSED)
        self._relay = _Relay(dealer, monitor, route)
        reason = self._relay.redial(self._connect)
        if reason:
            self.close_relay()
            return reason
        return dealer, monitor

    def read_relay_monitor(self, now_ms: int) -> bool:
        """Take in what became of the relay's connection; returns whether it broke."""
        broke = False
        if self._relay is not None:
            route = self._relay.route
            for event, value, where in read_connecting(self._relay.monitor, small=False):
                broke |= event == BROKE
                if event == CONNECTED:
                    self._relay.descriptor = value
                elif same_endpoint(where, route.target):
                    report(route, event, now_ms)
        return broke

    @property
    def relay_descriptor(self) -> int:
        """The descriptor of the relay's connection, which ZeroMQ owns; -1: there was none yet."""
        return -1 if self._relay is None else self._relay.descriptor

    def close_relay(self) -> None:
        """Close both of its sockets; nothing waits to leave."""
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.dealer.disable_monitor()
            for socket in (relay.monitor, relay.dealer):
                self._all.remove(socket)
                socket.close(0)

    def remove_peer(self, name: NodeId) -> None:
        """Close what sends to a peer; a message just sent has LINGER_MS to leave."""
        del self.peers[name]
        dealer, monitor = self.dealers.pop(name), self.monitors.pop(name)
        bulk, _ = self.bulk.pop(name)
        self._close_bulk_monitor(name, bulk)
        self._routes.pop(name, None)
        self._dialled.pop(name, None)
        for large in (False, True):
            self._connected.pop((name, large), None)
        dealer.disable_monitor()
        for socket in (monitor, dealer, bulk):
            self._all.remove(socket)
            socket.close()

    def reset_bulk(self, name: NodeId) -> None:
        """The other connection to this peer broke: drop what this one holds, and connect anew."""
        old, _ = self.bulk[name]
        self._close_bulk_monitor(name, old)
        self._all.remove(old)
        old.close(0)
        with reserved():
            bulk = self._make_bulk(name)
        self.bulk[name] = bulk, SendTracker(BUSY_MARK_BYTES)
        target = self._dialled.get(name, "")
        if target:
            self._connect(bulk, target)

    def bulk_ended(self, name: NodeId) -> bool:
        """Whether the connection for what is large ended since this was last asked. ZeroMQ makes
        it anew by itself."""
        self._read_bulk_monitor(name)
        ended = name in self._bulk_broke
        self._bulk_broke.discard(name)
        return ended

    def read_quiet_monitors(self, now_ms: int) -> None:
        """To be called now and then: take in what became of the connections of which nobody has to
        know at once, those for votes and for what is large."""
        self.read_votes_monitor(now_ms)
        for name in self._bulk_monitors:
            self._read_bulk_monitor(name)

    @property
    def descriptors(self) -> dict[NodeId, set[int]]:
        """The connections to each peer; some may have ended."""
        found: dict[NodeId, set[int]] = {name: set() for name in self.peers}
        for (name, _), descriptor in self._connected.items():
            found[name].add(descriptor)
        return found

    def _read_bulk_monitor(self, name: NodeId) -> None:
        for event, value, _ in read_connecting(self._bulk_monitors[name], small=False):
            if event == CONNECTED:
                self._connected[name, True] = value
            elif event == BROKE:
                self._bulk_broke.add(name)

    def _close_bulk_monitor(self, name: NodeId, bulk: Socket) -> None:
        bulk.disable_monitor()
        self._bulk_broke.discard(name)
        monitor = self._bulk_monitors.pop(name)
        self._all.remove(monitor)
        monitor.close(0)

    def _make_bulk(self, name: NodeId) -> Socket:
        bulk = self._make(zmq.DEALER, NEVER_READ_BYTES, BULK_QUEUE_MAX, receive_max=1)
        bulk.setsockopt(zmq.IMMEDIATE, 1)
        self._bulk_monitors[name] = self._monitor(bulk, CONNECTED | BROKE)
        return bulk

    def hear_votes(self) -> dict[str, str]:
        """Subscribe to the peers that there are now and to no others; returns the endpoints that
        are wrong, each with the reason."""
        wanted = {endpoints.events for endpoints in self.peers.values()}
        for endpoint in self._vote_routes.keys() - wanted:
            del self._vote_routes[endpoint]
        wrong = {}
        for endpoint in sorted(wanted - self._vote_routes.keys()):
            route, reason = self._make_route(endpoint)
            if route is None:
                wrong[endpoint] = reason
            else:
                self._vote_routes[endpoint] = route
        return wrong | self._redial_votes()

    def _redial_votes(self) -> dict[str, str]:
        """Connect to where the routes lead now. The old ones go first: a peer may have moved to
        where another was."""
        wanted = {route.target for route in self._vote_routes.values()} - {""}
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

    def redial(self, name: NodeId) -> None:
        """Connect to a peer anew, on both connections: what is on its way to it is dropped."""
        if name in self._routes:
            self._redial(name)

    def redial_votes(self, name: NodeId) -> None:
        """Subscribe to a peer's votes anew."""
        route = self._vote_routes.get(self.peers[name].events)
        if route is not None and route.target in self._voices:
            self.votes.disconnect(route.target)
            self._voices.discard(route.target)
            self._redial_votes()

    def _redial(self, name: NodeId) -> str:
        """Connect a peer's dealer to where its route leads now; what is wrong with that, or ""."""
        both, target = (self.dealers[name], self.bulk[name][0]), self._routes[name].target
        before = self._dialled.pop(name, "")
        reason = ""
        for dealer in both:
            if before:
                dealer.disconnect(before)
            if target and not reason:
                reason = self._connect(dealer, target)
        if target and not reason:
            self._dialled[name] = target
        return reason

    # ---- names

    @property
    def named(self) -> bool:
        """Whether there are names to mind: any peer's endpoint has one."""
        return any(route.name is not None for route in self._all_routes())

    @property
    def votes_named(self) -> bool:
        """Whether the endpoint of any peer's votes has a name in it."""
        return any(route.name is not None for route in self._vote_routes.values())

    def _all_routes(self) -> list[Route]:
        relay = [] if self._relay is None else [self._relay.route]
        return [*self._routes.values(), *self._vote_routes.values(), *relay]

    def mind_routes(self, now_ms: int) -> tuple[list[NodeId], dict[str, str]]:
        """Follow the names: connect anew to what has another address now. Returns the peers that
        were connected to their old one, and the endpoints that are wrong, with the reasons."""
        moved, wrong = [], {}
        for name, route in self._routes.items():
            was_up = route.up
            if route.tick(now_ms):
                if reason := self._redial(name):
                    wrong[route.target] = reason
                if was_up:
                    moved.append(name)
        changed = [route.tick(now_ms) for route in self._vote_routes.values()]
        if any(changed):
            wrong |= self._redial_votes()
        if self._relay is not None and self._relay.route.tick(now_ms):
            self._relay.redial(self._connect)
        hosts = {route.name.host for route in self._all_routes() if route.name is not None}
        self._resolver.keep(hosts)
        return moved, wrong

    def read_monitor(self, name: NodeId, now_ms: int) -> bool:
        """Take in what became of the connection to a peer; returns whether it broke."""
        broke = False
        route = self._routes.get(name)
        for event, value, endpoint in read_connecting(self.monitors[name]):
            broke |= event == BROKE
            if event == CONNECTED:
                self._connected[name, False] = value
            if route is not None and same_endpoint(endpoint, route.target):
                report(route, event, now_ms)
        return broke

    def read_votes_monitor(self, now_ms: int) -> None:
        """Take in what became of the connections for votes."""
        for event, _, endpoint in read_connecting(self.votes_monitor):
            for route in self._vote_routes.values():
                if same_endpoint(endpoint, route.target):
                    report(route, event, now_ms)

    def _monitor(self, socket: Socket, events: int) -> Socket:
        monitor = socket.get_monitor_socket(events)
        self._all.append(monitor)
        return monitor

    def _make(self, kind: int, bytes_max: int, send_max: int, receive_max: int) -> Socket:
        socket = self._context.socket(kind)
        self._all.append(socket)
        options = {
            zmq.LINGER: LINGER_MS,
            zmq.SNDHWM: send_max,
            zmq.RCVHWM: receive_max,
            zmq.MAXMSGSIZE: bytes_max,
            zmq.HANDSHAKE_IVL: HANDSHAKE_IVL_MS,
            zmq.CONNECT_TIMEOUT: CONNECT_TIMEOUT_MS,
            zmq.RECONNECT_IVL: RECONNECT_IVL_MS,
            zmq.RECONNECT_IVL_MAX: RECONNECT_IVL_MAX_MS,
            zmq.BACKLOG: BACKLOG,
        } | KERNEL_FINDS_DEAD_ENDS
        for option, value in options.items():
            socket.setsockopt(option, value)
        # What is sent without a copy is reported then, however small it is (send_tracker.py).
        socket.copy_threshold = 0
        return socket

    @staticmethod
    def _connect(socket: Socket, endpoint: str) -> str:
        """Connect; returns what is wrong with the endpoint, or "". A wrong endpoint may have come
        from the replicated log, so it must not stop the process."""
        # Not always on: a kernel without IPv6 reaches no IPv4 address then.
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            return str(error)
        return ""

    def close(self, linger_ms: int | None = None) -> None:
        """Close all; what was sent has ``linger_ms`` (None: LINGER_MS) to leave."""
        for socket in self._all:
            socket.disable_monitor()
        for socket in self._all:
            socket.close(linger_ms)
        self._all.clear()
