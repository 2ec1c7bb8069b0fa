"""The bus: sockets to messages and messages to sockets, for one daemon, from one thread.

    poll() ─► flags ─► receive_peers()          envelopes: sender, life, message
                       receive_subscriptions()  (subscribe, topic)
                       receive_clients()        (client, message)
    send() publish_accepted() publish() answer()   never block; False: not sent

What cannot be a message of this cluster is refused: counted by reason in ``counters``, logged
once per source, reason and interval, dropped. That holds for bytes that do not decode, another
version or cluster, frames too many or too few, a sender that is no peer or claims to be this
node, a vote under another's topic, and a *stale incarnation*: a replay, or a peer whose disk was
wiped or rolled back (``storage/peer_lives.py``).
A refused client request whose number could be read is answered; nothing else is.

What a peer said passes the inbox (``inbox.py``), as it does in the simulator: there faults act on
it, and its sender's life is judged. Delayed messages come out of ``receive_peers`` when due.

Nobody is known by a routing id: the sender stands in the frame. Who may claim which name is for
CURVE to decide (a later issue); until then the ports must be reachable by the cluster alone.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import zmq

from paxosd.bus.connections import ConnectionGuard, StuckReaders
from paxosd.bus.inbox import Inbox, Refusal, log_refusal
from paxosd.bus.lanes import SWIFT_BYTES_MAX, is_bulk
from paxosd.bus.large_frames import LEAST_BYTES, TIMES, LargeFrames
from paxosd.bus.link_doubts import LinkDoubts
from paxosd.bus.peers import PeerEndpoints
from paxosd.bus.refusal_log import RefusalLog
from paxosd.bus.relay_link import RelayLink
from paxosd.bus.sockets import MIB, BindError, BusConfig, BusSockets, Context, Socket
from paxosd.bus.unsent import BUSY_MARK_BYTES, Unsent, UnsentAnswers
from paxosd.core.effects import BUSY, INVALID
from paxosd.core.messages import Accept, Accepted, Envelope, Hello, PeerMessage
from paxosd.core.requests import (
    ClientMessage,
    HistoryAnswer,
    ReadAnswer,
    RefusalAnswer,
    ServerMessage,
)
from paxosd.core.status import PortStatus
from paxosd.core.types import NodeId
from paxosd.faults.plan import FaultPlan
from paxosd.host.byte_limits import (
    ANSWER_BYTES_MAX,
    CLIENT_BYTES_MAX,
    EVENT_BYTES_MAX,
    PEER_BYTES_MAX,
)
from paxosd.host.clock import clock_ms
from paxosd.host.descriptors import ADVICE
from paxosd.host.log import Log
from paxosd.net.endpoints import plain_address
from paxosd.net.resolver import News, Resolver
from paxosd.storage.peer_lives import PeerLives
from paxosd.wire import (
    ACCEPTED_TOPIC,
    WireError,
    decode_peer,
    decode_request,
    encode_client,
    encode_old,
    encode_peer,
)

__all__ = [
    "CLIENTS",
    "PEERS",
    "SUBSCRIPTIONS",
    "WAKEUP",
    "BindError",
    "Bus",
    "BusConfig",
    "PeerEndpoints",
]

PEERS = 1
SUBSCRIPTIONS = 2
CLIENTS = 4
WAKEUP = 8
_VOTES = 16
_LOST = 32
_RELAYED = 64
_NAMES = 128
_ALL = PEERS | SUBSCRIPTIONS | CLIENTS | _VOTES | _LOST | _NAMES

NAMES_MS = 200
"""How often the connections to peers that have names are looked at."""

PEER_BYTES_AT_ONCE = 8 << 20
"""No more is taken in at once than so much and one frame: to decode it, check it and hand it to the
log takes some 2 ms a MiB. A leader's window may hold four times that."""

HOT_MS = 10
"""For so long a wait looks at the busy sockets alone: each one that is polled costs. So new
subscribers, broken connections and votes that nobody waits for may lie for this long; under
load they are taken in with whatever comes next, at this interval at the latest."""

TELL_MS = 1000
"""How often what was refused, or could not be sent, is looked through."""
ANSWERS_LEAVE_S = 1.0
"""So long a process that is to crash waits for ZeroMQ to be done with its last answers …"""
ANSWER_WRITE_S = 0.02
"""… and so long for the kernel to have the last one, which ZeroMQ is done with just before."""
REFUSE_BYTES_MAX = CLIENT_BYTES_MAX + MIB
"""Who holds so much is not even refused any more."""
_SLOW = (
    "answers wait for clients that do not read them: read what this one has asked for, ask for less"
)

_NOBLOCK = int(zmq.NOBLOCK)
_POLLIN = int(zmq.POLLIN)
_EVENTS = int(zmq.EVENTS)
_SNDMORE = int(zmq.SNDMORE) | _NOBLOCK


CUT_ADVICE = (
    "it ends the connection each time after a frame of that size: its limits.message_bytes_max is "
    "smaller than here, and its version does not say so. Upgrade it, or set the limit there as "
    "here and restart it. Until then frames to it are kept small, and what is larger reaches it "
    "with snapshots"
)


class Bus:
    """All sockets of one daemon. Use it from one thread only, and close it before the context.

    ``counters``: ``received.peer``, ``sent.client``, ``refused.REASON``, ``unsent.NODE``, ….
    """

    frames_max: Mapping[NodeId, int] = MappingProxyType({})
    """The largest frame that a peer takes, where that is known, and less than this node's."""
    is_ending = False
    """Whether this process is about to crash: see :meth:`flush_answers`."""
    on_cut: Callable[[NodeId, int], None] = staticmethod(lambda name, frame_bytes: None)
    """Called with a peer that ends the connection over frames of this size, again and again."""

    def __init__(
        self,
        config: BusConfig,
        context: Context,
        log: Log,
        faults: FaultPlan | None = None,
        lives: PeerLives | None = None,
        now_ms: Callable[[], int] = clock_ms,
        resolver: Resolver | None = None,
    ) -> None:
        """Binds and connects. ``now_ms``: a steady clock, the one that ``faults`` goes by.
        ``resolver``: finds the addresses of the peers' names; it is the bus's to close.

        Raises BindError; nothing is left open then.
        """
        self.counters: Counter[str] = Counter()
        self._config = config
        self._context = context
        self._frame_bytes_max = config.peer_bytes_max
        self._guard: ConnectionGuard | None = None
        self._stuck: StuckReaders | None = None
        self._refused_told: dict[str, int] = {}
        """What listens → the connections refused, when that was told last."""
        self._log = log
        self._faults = faults if faults is not None else FaultPlan()
        self._now_ms = now_ms
        self._refusals = RefusalLog(log)
        self._unsent = RefusalLog(log, interval_ms=60_000)
        self.inbox = Inbox(
            config.node,
            self._faults,
            lives if lives is not None else PeerLives(None, config.peers),
            answer=self.send,
            refused=self._on_refused,
            counters=self.counters,
            keep=_keep,
        )
        self._doubts = LinkDoubts()
        self._given_up: list[NodeId] = []
        """The peers that did not answer, for :meth:`disconnected`."""
        self._encoded: tuple[PeerMessage | None, bytes] = (None, b"")
        """The last message sent, with its frame."""
        self._events_unsent = Unsent(BUSY_MARK_BYTES)
        self._large_frames = LargeFrames()
        self._answers = UnsentAnswers(CLIENT_BYTES_MAX, ANSWER_BYTES_MAX)
        self._accepted_topic = ACCEPTED_TOPIC + config.node.encode()
        self._resolver = resolver if resolver is not None else Resolver()
        self._names_due_ms: float = math.inf
        """When to look at names again; never, if there are none."""
        try:
            self._sockets = BusSockets(config, context, self._resolver)
        except BaseException:
            self._resolver.close()
            raise
        self.endpoints = self._sockets.bound
        """peer, client, events → the endpoint that is bound."""
        for what, endpoint in self.endpoints.items():
            log.info("bus.bound", socket=what, endpoint=endpoint)
        self._make_pollers()
        self.relay = RelayLink(
            config.cluster, self._sockets, now_ms, self._poll_relay, self._forget_relay
        )
        """The connection on which writes are passed on to the leader."""
        try:
            self._connect_peers(config.peers)
        except BaseException:
            self.close()
            raise

    def _make_pollers(self) -> None:
        self._poller = zmq.Poller()
        self._hot_poller = zmq.Poller()
        """Peers, clients and the wake-up …"""
        self._hot_votes_poller = zmq.Poller()
        """… and votes."""
        self._all_due_ms = 0
        self._tell_due_ms = 0
        self._readable = _ALL
        """What the last poll found readable: nothing else is tried, for a try in vain costs."""
        self._flags: dict[Any, int] = {
            self._sockets.peer: PEERS,
            self._sockets.votes: PEERS | _VOTES,
            self._sockets.events: SUBSCRIPTIONS,
            self._sockets.client: CLIENTS,
        }
        for socket in self._flags:
            self._poller.register(socket, zmq.POLLIN)
        self._flags[self._resolver.wake_fd] = _NAMES
        self._poller.register(self._resolver.wake_fd, zmq.POLLIN)
        for socket in (self._sockets.peer, self._sockets.client):
            self._hot_poller.register(socket, zmq.POLLIN)
            self._hot_votes_poller.register(socket, zmq.POLLIN)
        self._hot_votes_poller.register(self._sockets.votes, zmq.POLLIN)

    def close(self) -> None:
        """Close every socket; messages just sent have a moment to leave."""
        self.inbox.clear()
        self.relay.close()
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        self._sockets.close()
        self._resolver.close()

    # ---- how many there may be

    def limit_connections(self, limits: Mapping[str, int]) -> None:
        """From now on the sockets that listen (peer, client, events) take so many connections."""
        sockets = self._sockets
        listening = {"peer": sockets.peer, "client": sockets.client, "events": sockets.events}
        self._guard = ConnectionGuard(
            self._context,
            {what: (socket, self.endpoints[what]) for what, socket in listening.items()},
            limits,
        )
        self._stuck = StuckReaders(self._guard, "events")

    @property
    def connections(self) -> dict[str, PortStatus]:
        """What listens → its connections; empty if they are not counted."""
        return {} if self._guard is None else self._guard.status

    def tell_connections(self) -> None:
        """To be called now and then: log that there were more connections than may be."""
        now_ms = self._now_ms()
        for what, port in self.connections.items():
            if port.refused != self._refused_told.get(what, 0):
                self._refused_told[what] = port.refused
                self._refusals.note(
                    "bus.connections_full",
                    what,
                    "full",
                    now_ms,
                    most=port.most,
                    refused=port.refused,
                    advice=f"find who opens so many, or let this process have more descriptors: "
                    f"{ADVICE}",
                )

    def end_stuck(self) -> None:
        """To be called now and then: end the connections of subscribers that do not read, once much
        waits for them. They may come again, and have what they missed from the history."""
        waiting_bytes, now_ms = self.event_bytes_waiting, self._now_ms()
        if self._stuck is not None:
            ended = self._stuck.look(waiting_bytes > EVENT_BYTES_MAX // 2, now_ms)
            if ended:
                fields = {"waiting_bytes": waiting_bytes, "ended": ended}
                self._refusals.note("bus.subscribers_slow", "events", "slow", now_ms, **fields)

    # ---- who the peers are

    def set_peers(self, peers: Mapping[NodeId, PeerEndpoints], pins: Mapping[NodeId, int]) -> None:
        """Who the peers are from now on, without this node, where each is reached, and which data
        directory may vote in its name (see :meth:`PeerLives.set_peers`; none: not pinned). What
        was sent to one that is none any more has a moment to leave."""
        self.inbox.set_peers(peers, pins)
        self._doubts.keep(set(peers))
        if peers != self._sockets.peers:
            self._connect_peers(peers)

    def _connect_peers(self, peers: Mapping[NodeId, PeerEndpoints]) -> None:
        sockets = self._sockets
        for name, endpoints in list(sockets.peers.items()):
            if peers.get(name) != endpoints:
                self._disconnect(name)
        wrong = {}
        for name, endpoints in peers.items():
            if name not in sockets.peers:
                reason = sockets.add_peer(name, endpoints)
                if reason:
                    wrong[endpoints.peer] = reason
                lost = sockets.monitors[name]
                self._poller.register(lost, zmq.POLLIN)
                self._flags[lost] = _LOST
        self._log_wrong(wrong | sockets.hear_votes())
        monitor = sockets.votes_monitor
        if monitor is not None and monitor not in self._flags:
            self._poller.register(monitor, zmq.POLLIN)
            self._flags[monitor] = _LOST
        self._names_due_ms = self._now_ms() if sockets.named else math.inf

    def _log_wrong(self, wrong: Mapping[str, str]) -> None:
        for endpoint, reason in wrong.items():
            self._log.warning("bus.bad_endpoint", endpoint=endpoint, reason=reason)

    def _disconnect(self, name: NodeId) -> None:
        monitor = self._sockets.monitors[name]
        self._poller.unregister(monitor)
        del self._flags[monitor]
        self.inbox.closed(name)
        self._sockets.remove_peer(name)
        self._large_frames.forget(name)

    def _poll_relay(self, socket: Socket) -> None:
        for poller in (self._poller, self._hot_poller, self._hot_votes_poller):
            poller.register(socket, zmq.POLLIN)
        self._flags[socket] = _RELAYED
        if self._sockets.named:
            self._names_due_ms = self._now_ms()

    def _forget_relay(self, socket: Socket) -> None:
        for poller in (self._poller, self._hot_poller, self._hot_votes_poller):
            poller.unregister(socket)
        del self._flags[socket]

    # ---- where the peers are

    def _mind_names(self, now_ms: int) -> None:
        """Take in what was found out about names, and connect to where they lead now."""
        for news in self._resolver.poll():
            self._log_name(news)
        moved, wrong = self._sockets.mind_routes(now_ms)
        for name in moved:
            self.inbox.closed(name)
        self._log_wrong(wrong)
        self._names_due_ms = now_ms + NAMES_MS if self._sockets.named else math.inf

    def _log_name(self, news: News) -> None:
        host, addresses, before = news.host, list(news.addresses), list(news.before)
        if news.error:
            self._log.warning("name.failed", host=host, reason=news.error, kept=addresses)
        elif before and set(before) != set(addresses):
            self._log.warning("name.changed", host=host, addresses=addresses, before=before)
        else:
            self._log.info("name.resolved", host=host, addresses=addresses)

    def names(self) -> dict[str, dict[str, Any]]:
        """The host names of peers: the addresses of each, and why the last lookup failed."""
        return {
            name.host: {"addresses": list(name.addresses), "error": name.error}
            for name in self._resolver
        }

    # ---- waiting

    def register_wakeup(self, fd: int) -> None:
        """Let ``poll`` return WAKEUP when ``fd`` is readable. Its owner reads it empty."""
        self._poller.register(fd, zmq.POLLIN)
        self._hot_poller.register(fd, zmq.POLLIN)
        self._hot_votes_poller.register(fd, zmq.POLLIN)
        self._flags[fd] = WAKEUP

    def poll(self, timeout_ms: int, *, lazy_votes: bool = False) -> int:
        """Wait for something to come, at most ``timeout_ms``.

        Returns PEERS | SUBSCRIPTIONS | CLIENTS | WAKEUP as they apply; 0: nothing came. What a
        limit left unread is reported again by the next call; the ``receive_*`` methods take
        only what the last call reported. With ``lazy_votes`` a vote alone does not end the
        wait before HOT_MS: waking for each one costs more than all else about it.
        """
        flags = 0
        now_ms = self._now_ms()
        if self.inbox.held:
            wait_ms = int(self.inbox.held[0][0]) - now_ms
            if wait_ms <= 0:
                flags, wait_ms = PEERS, 0
            timeout_ms = min(timeout_ms, wait_ms)
        hot_ms = min(timeout_ms, HOT_MS)
        found = (self._hot_poller if lazy_votes else self._hot_votes_poller).poll(hot_ms)
        perhaps = 0
        if not found:
            found = self._poller.poll(timeout_ms - hot_ms)
        elif now_ms >= self._all_due_ms:
            self._all_due_ms = now_ms + HOT_MS
            perhaps = SUBSCRIPTIONS | _VOTES | _LOST
        elif lazy_votes:
            perhaps = _VOTES
        for source, _ in found:
            flags |= self._flags[source]
        self._readable = flags | perhaps
        return flags & ~(_VOTES | _LOST | _RELAYED | _NAMES)

    @property
    def has_subscriptions(self) -> bool:
        """Whether the last poll found, or did not rule out, notices of subscribers."""
        return bool(self._readable & SUBSCRIPTIONS)

    # ---- receiving

    def receive_peers(self, limit: int) -> list[Envelope]:
        """What has come from peers, at most about ``limit`` a socket and PEER_BYTES_AT_ONCE, in
        order of arrival."""
        now_ms = self._now_ms()
        if now_ms >= self._tell_due_ms:
            self._tell_due_ms = now_ms + TELL_MS
            self._refusals.tick(now_ms)
            self._unsent.tick(now_ms)
            self._doubt_links(now_ms)
        if now_ms >= self._names_due_ms or self._readable & _NAMES:
            self._mind_names(now_ms)
        if self._faults.active:
            self._faults.expire(now_ms)
        received: list[Envelope] = []
        if self.inbox.held:
            self.inbox.release(received, now_ms)
        if self._readable & PEERS:
            self._drain_peers(received, limit, now_ms)
        if self._readable & _VOTES:
            self._drain_votes(received, limit, now_ms)
        self.counters["received.peer"] += len(received)
        return received

    def _doubt_links(self, now_ms: int) -> None:
        """Make the connections anew that lead nowhere."""
        sockets, doubts = self._sockets, self._doubts
        silent = doubts.take_silent(now_ms)
        self._given_up += silent
        for name in {*silent, *doubts.take_unheard(now_ms)} & sockets.peers.keys():
            self.counters[f"redialled.{name}"] += 1
            sockets.redial(name)
        for name in doubts.take_voteless(now_ms):
            if name in sockets.peers:
                self.counters[f"redialled_votes.{name}"] += 1
                sockets.redial_votes(name)

    def _drain_peers(self, received: list[Envelope], limit: int, now_ms: int) -> None:
        recv, get = self._sockets.peer.recv, self._sockets.peer.get
        left_bytes = PEER_BYTES_AT_ONCE
        for _ in range(limit):
            # Asking first costs less than the exception that a try in vain ends with.
            if not int(get(_EVENTS)) & _POLLIN:
                return
            recv(_NOBLOCK)  # the routing id, which says nothing
            frame = recv(_NOBLOCK, False)
            if frame.more:
                self._refuse_rest(self._sockets.peer, frame, "frames", now_ms)
            else:
                self._take(frame, None, received, now_ms)
                left_bytes -= len(frame)
                if left_bytes <= 0:
                    return

    def _drain_votes(self, received: list[Envelope], limit: int, now_ms: int) -> None:
        recv, get = self._sockets.votes.recv, self._sockets.votes.get
        for _ in range(limit):
            if not int(get(_EVENTS)) & _POLLIN:
                return
            topic = recv(_NOBLOCK, False)
            if not topic.more:
                self._refuse(_address(topic), "frames", "one frame, expected two", now_ms)
                continue
            frame = recv(_NOBLOCK, False)
            if frame.more:
                self._refuse_rest(self._sockets.votes, frame, "frames", now_ms)
            else:
                self._take(frame, topic.bytes, received, now_ms)

    def _take(
        self, frame: zmq.Frame, topic: bytes | None, received: list[Envelope], now_ms: int
    ) -> None:
        """Decode one payload and pass it on, unless it is refused or a fault takes it."""
        try:
            message = decode_peer(frame.buffer, self._config.cluster)
        except WireError as error:
            self._refuse(_address(frame), error.reason, error.detail, now_ms)
            return
        if topic is not None and (
            type(message.body) is not Accepted or topic != ACCEPTED_TOPIC + message.sender.encode()
        ):
            detail = f"a vote of {message.sender} was expected"
            self._refuse(_address(frame), "topic", detail, now_ms)
            return
        inbox = self.inbox
        # Of what comes most, and tells nothing of a connection, nothing is noted.
        if type(message.body) is not Accept and message.sender in self._sockets.peers:
            is_known = message.run_id == inbox.lives.known(message.sender)
            if topic is None:
                self._doubts.took(message, now_ms, is_known=is_known)
            elif is_known:
                self._doubts.took_vote(message)
        inbox.take(message, frame, received, now_ms)

    def disconnected(self) -> list[NodeId]:
        """The peers whose connection broke since the last call: a hint that one is gone, long
        before its silence would tell."""
        names: list[NodeId] = []
        if self._readable & _LOST:
            now_ms = self._now_ms()
            for name in self._sockets.monitors:
                if self._sockets.read_monitor(name, now_ms):
                    names.append(name)
                    self.inbox.closed(name)
                    self._sockets.reset_bulk(name)
                    self._large_frames.forget(name)
            self._sockets.read_votes_monitor(now_ms)
        given_up, self._given_up = self._given_up, []
        for name in given_up:
            if name in self._sockets.peers and name not in names:
                names.append(name)
                self.inbox.closed(name)
                self._large_frames.forget(name)
        return names

    def receive_clients(self, limit: int) -> list[tuple[bytes, ClientMessage]]:
        """Requests, at most ``limit``: ``(client, message)``; ``answer`` takes the client."""
        requests: list[tuple[bytes, ClientMessage]] = []
        if not self._readable & CLIENTS:
            return requests
        now_ms = self._now_ms()
        cluster = self._config.cluster
        recv, get = self._sockets.client.recv, self._sockets.client.get
        for _ in range(limit):
            if not int(get(_EVENTS)) & _POLLIN:
                break
            client = recv(_NOBLOCK)
            frame = recv(_NOBLOCK, False)
            if frame.more:
                self._refuse_rest(self._sockets.client, frame, "frames", now_ms)
                continue
            try:
                requests.append((client, decode_request(frame.buffer, cluster)))
            except WireError as error:
                self._refuse(_address(frame), error.reason, error.detail, now_ms)
                if error.request_id >= 0:
                    refusal = (error.request_id, INVALID, error.detail, "", "", 0)
                    self.answer(client, RefusalAnswer(*refusal))
        self.counters["received.client"] += len(requests)
        return requests

    def receive_subscriptions(self, limit: int = 1024) -> list[tuple[bool, bytes]]:
        """Subscribers' wishes in order: ``(subscribe, topic)``. Every subscription is told,
        the same topic's again too; an end only when its last subscriber has gone."""
        notices: list[tuple[bool, bytes]] = []
        if not self._readable & SUBSCRIPTIONS:
            return notices
        recv, get = self._sockets.events.recv, self._sockets.events.get
        for _ in range(limit):
            if not int(get(_EVENTS)) & _POLLIN:
                break
            frame = recv(_NOBLOCK, False)
            if frame.more:
                self._refuse_rest(self._sockets.events, frame, "frames", self._now_ms())
                continue
            wish = frame.bytes
            if wish[:1] not in (b"\x00", b"\x01"):
                detail = "a subscriber sent something else than a subscription"
                self._refuse(_address(frame), "subscription", detail, self._now_ms())
                continue
            notices.append((wish[0] == 1, wish[1:]))
        return notices

    # ---- sending

    def send(self, to: NodeId, message: PeerMessage) -> bool:
        """To one peer; False if it has no connection, its queue is full or it is no peer. The same
        message to several peers in a row is encoded once."""
        inbox = self.inbox
        if not inbox.header.genesis and to not in inbox.new_speakers:
            return self._send_old(to, message)
        if message is not self._encoded[0]:
            self._encoded = (message, self._encode(message))
        return self._send_frame(to, message, self._encoded[1])

    def _encode(self, message: PeerMessage) -> bytes:
        config, header = self._config, self.inbox.header
        return encode_peer(
            message,
            config.cluster,
            config.node,
            config.run_id,
            header.genesis,
            header.epoch,
            header.log_mark,
        )

    def _encode_old(self, message: PeerMessage) -> bytes:
        config = self._config
        return encode_old(message, config.cluster, config.node, config.run_id)

    def _send_old(self, to: NodeId, message: PeerMessage) -> bool:
        """To a peer that may be a program of the time before founding records, in a cluster that
        has none: in the old form. By a Hello, or a kind that such a program does not know, each
        learns that the other speaks the new one."""
        frame = self._encode_old(message)
        sent = False
        if not frame or type(message) is Hello:  # the new form first: it says all
            sent = self._send_frame(to, message, self._encode(message))
        return (bool(frame) and self._send_frame(to, message, frame)) or sent

    def _send_frame(self, to: NodeId, message: PeerMessage, frame: bytes) -> bool:
        if len(frame) > self.frames_max.get(to, self._frame_bytes_max):
            # The peer would close the connection over it, again and again.
            self._note_unsent(to, f"{len(frame)} bytes are more than a frame may have")
            return False
        dealer = self._sockets.dealers.get(to)
        if dealer is None:
            self._note_unsent(to, "it is no peer")
            return False
        if is_bulk(message, len(frame)):
            if len(frame) > LEAST_BYTES and self._is_cut(to):
                self._note_unsent(to, f"it took no frame of {len(frame)} bytes")
                return False
            if self._send_bulk(to, frame):
                return True
            if len(frame) > SWIFT_BYTES_MAX:
                self._note_unsent(to, "not connected, or its queue is full")
                return False
        try:
            dealer.send(frame, _NOBLOCK)
        except zmq.Again:
            self._note_unsent(to, "not connected, or its queue is full")
            return False
        self.counters["sent.peer"] += 1
        if type(message) is Hello:
            self._doubts.said_hello(to, self._now_ms())
        return True

    def _send_bulk(self, to: NodeId, frame: bytes) -> bool:
        """Whether the bulk connection took it. A single message may be larger than the bound."""
        dealer, unsent = self._sockets.bulk[to]
        if unsent.held_bytes + len(frame) > PEER_BYTES_MAX and not unsent.idle:
            self.counters["unsent.peer_full"] += 1
            return False
        try:
            unsent.send(dealer, frame)
        except zmq.Again:
            return False
        self.counters["sent.peer"] += 1
        if len(frame) > LEAST_BYTES:
            self._large_frames.sent(to, len(frame), self._now_ms())
        return True

    def _is_cut(self, to: NodeId) -> bool:
        """Whether the connection for bulk has ended over a large frame so often that it is no
        accident; then that is told, and the core sends no more of them."""
        if not self._sockets.bulk_ended(to):
            return False
        frame_bytes = self._large_frames.ended(to)
        if not frame_bytes:
            return False
        self._log.warning(
            "bus.frames_cut", to=to, frame_bytes=frame_bytes, times=TIMES, advice=CUT_ADVICE
        )
        self.on_cut(to, frame_bytes)
        return True

    def _note_unsent(self, to: NodeId, reason: str) -> None:
        self.counters[f"unsent.{to}"] += 1
        self._unsent.note("bus.send_failed", to, reason, self._now_ms(), to=to)

    def publish_accepted(self, message: Accepted) -> None:
        """This node's durable vote, to every learner."""
        inbox = self.inbox
        all_new = not inbox.header.speaks_old or inbox.new_speakers >= self._sockets.peers.keys()
        frame = self._encode(message) if all_new else self._encode_old(message)
        self.publish(self._accepted_topic, frame)

    def publish(self, topic: bytes, payload: bytes) -> None:
        """Two frames to whoever subscribes; a subscriber whose queue is full misses it."""
        events = self._sockets.events
        events.send(topic, _SNDMORE)
        self._events_unsent.send(events, payload)
        self.counters["sent.events"] += 1

    @property
    def event_bytes_waiting(self) -> int:
        """What is held for subscribers that are slow."""
        return self._events_unsent.held_bytes

    def flush_answers(self) -> None:
        """Wait until the answers given since :attr:`is_ending`, or since a fault was added that
        may end this process at once, have left; at most ANSWERS_LEAVE_S."""
        end_s = time.monotonic() + ANSWERS_LEAVE_S
        while self._answers.held_bytes and time.monotonic() < end_s:
            time.sleep(0.001)
        time.sleep(ANSWER_WRITE_S)

    def answer(self, client: bytes, message: ServerMessage) -> bool:
        """To one client; False if it has gone or does not read its answers. Then a read is refused
        as BUSY, as long as it takes small answers; what was written it may ask for again."""
        frame = encode_client(message, self._config.cluster)
        way = self._answers.way(client)
        if self._answers.has_room(way, len(frame)):
            return self._send_answer(client, way, frame)
        self._note_slow_client(client, way.held_bytes)
        if type(message) in (ReadAnswer, HistoryAnswer) and way.held_bytes < REFUSE_BYTES_MAX:
            refusal = (message.request_id, BUSY, _SLOW, "", "", 0)
            frame = encode_client(RefusalAnswer(*refusal), self._config.cluster)
            self._send_answer(client, way, frame)
        return False

    def _send_answer(self, client: bytes, way: Unsent, frame: bytes) -> bool:
        socket = self._sockets.client
        try:
            socket.send(client, _SNDMORE)
            way.send(socket, frame, mark=self.is_ending or self._faults.timed_active)
        except zmq.Again:
            self.counters["unsent.client_full"] += 1
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self.counters["unsent.client_gone"] += 1
            self._answers.forget(client)
            return False
        self.counters["sent.client"] += 1
        return True

    def _note_slow_client(self, client: bytes, held_bytes: int) -> None:
        self.counters["unsent.client_slow"] += 1
        self._refusals.note(
            "bus.client_slow",
            client.hex(),
            "slow",
            self._now_ms(),
            waiting_bytes=held_bytes,
            waiting_bytes_of_all=self._answers.held_bytes,
        )

    # ---- refusing

    def _refuse(self, source: str, reason: str, detail: str, now_ms: int) -> None:
        self.counters[f"refused.{reason}"] += 1
        self._refusals.note("bus.refused", source, reason, now_ms, detail=detail)

    def _on_refused(self, refusal: Refusal, source: zmq.Frame | str, now_ms: float) -> None:
        # The address is asked for when it is needed alone: it costs more than the rest.
        address = source if isinstance(source, str) else _address(source)
        log_refusal(self._refusals, refusal, address, now_ms)

    def _refuse_rest(self, socket: Socket, frame: zmq.Frame, reason: str, now_ms: int) -> None:
        """Read a message's further frames away and refuse it."""
        source = _address(frame)
        while frame.more:
            frame = socket.recv(_NOBLOCK, False)
        self._refuse(source, reason, "more frames than one payload", now_ms)


def _keep(frame: zmq.Frame) -> tuple[int, str]:
    """Of a frame whose message is held back: its bytes, and what is known of its origin."""
    return len(frame), _address(frame)


def _address(frame: zmq.Frame) -> str:
    """The IP address that a frame came from."""
    try:
        return plain_address(str(frame.get("Peer-Address")))
    except (zmq.ZMQError, ValueError):
        return "unknown"
