"""What comes to a node's sockets: frames read, decoded, checked, and refused with a reason.

    peer socket ─┐                          ┌─► inbox (``inbox.py``) ─► envelopes
    votes       ─┴─► decoded, of this cluster, ─► under its own topic
    client      ───► decoded ─► (client, message, key)
    events      ───► (subscribe, topic)

What is refused is counted by reason (``refused.REASON``), logged once per source, reason and
interval, and dropped. A refused request of a client gets an answer if its number could be read. A
connection whose frames are refused again and again is read seldom (``pacing.py``).
"""

from collections import Counter
from collections.abc import Callable

import zmq

from paxosd.bus.client_answers import ClientAnswers
from paxosd.bus.curve import PLAIN, NodeKeys
from paxosd.bus.inbox import UNWRITTEN, WAITS, Inbox, Refusal, log_refusal
from paxosd.bus.link_doubts import LinkDoubts
from paxosd.bus.pacing import TOPIC_BYTES, Pacing
from paxosd.bus.pollers import CLIENTS, PEERS, SUBSCRIPTIONS, VOTES, Pollers
from paxosd.bus.refusal_log import RefusalLog
from paxosd.bus.socket_set import Socket
from paxosd.bus.sockets import BusConfig, BusSockets
from paxosd.core.effects import INVALID
from paxosd.core.messages import Accept, Accepted, Envelope
from paxosd.core.requests import ClientRequest, RefusalAnswer
from paxosd.core.types import NodeId
from paxosd.net.endpoints import plain_address
from paxosd.net.key_files import key_text, parse_key
from paxosd.wire import ACCEPTED_TOPIC, WireError, decode_peer, decode_request

PEER_BYTES_AT_ONCE = 8 << 20
"""At most so much, and one more frame, is received at once: to decode it, check it and add it to
the log takes some 2 ms a MiB. A leader's window may hold four times that."""

REFUSED_AT_ONCE = 64
"""So many frames of one socket may be refused in a turn, some 10 us each; the rest waits."""
HONEST = frozenset((UNWRITTEN, WAITS))
"""Why a node that does nothing wrong may be refused for a while."""
IMPERSONATION, REVOKED = "impersonation", "revoked_key"
KEYS_MAX = 4096
"""Texts of keys that are remembered, for the next frame."""

_NOBLOCK = int(zmq.NOBLOCK)
_POLLIN = int(zmq.POLLIN)
_EVENTS = int(zmq.EVENTS)


class Reception:
    """Reads one bus's sockets. Nothing here blocks."""

    def __init__(
        self,
        config: BusConfig,
        keys: NodeKeys | None,
        sockets: BusSockets,
        pollers: Pollers,
        refusals: RefusalLog,
        doubts: LinkDoubts,
        counters: Counter[str],
        now_ms: Callable[[], int],
    ) -> None:
        """``keys``: of this node; None: it has none. ``counters``: where to count
        (``received.client``, ``refused.REASON``)."""
        self._cluster = config.cluster
        self._ring = keys.ring if keys is not None and keys.listens else None
        """By which each connection to a bound socket was let in; None: by none."""
        self._dials = keys.ring if keys is not None else None
        """By which this node knows those whom it dials; None: by none."""
        self._keys: dict[str, bytes] = {}
        self._sockets = sockets
        self._pollers = pollers
        self._refusals = refusals
        self._doubts = doubts
        self.counters = counters
        self._now_ms = now_ms
        bound = sockets.bound.items()
        self.pacing = Pacing({what: int(endpoint.rpartition(":")[2]) for what, endpoint in bound})
        """The connections whose frames were refused."""
        self._refused = 0
        """How many frames were refused since the last look at a socket began."""

    # ---- peers

    def peers(self, inbox: Inbox, received: list[Envelope], limit: int, now_ms: int) -> None:
        """What has come from peers to the end of ``received``; at most about ``limit`` messages
        for each socket, and about PEER_BYTES_AT_ONCE."""
        if self._pollers.readable & PEERS:
            self._drain_peers(inbox, received, limit, now_ms)
        if self._pollers.readable & VOTES:
            self._drain_votes(inbox, received, limit, now_ms)

    def _drain_peers(self, inbox: Inbox, received: list[Envelope], limit: int, now_ms: int) -> None:
        recv, get = self._sockets.peer.recv, self._sockets.peer.get
        left_bytes = PEER_BYTES_AT_ONCE
        self._refused = 0
        for _ in range(limit):
            recv(_NOBLOCK)  # the routing id, which identifies nobody
            frame = recv(_NOBLOCK, False)
            if frame.more:
                self._refuse_rest(self._sockets.peer, frame, "peer", now_ms)
            else:
                self._take(inbox, frame, None, received, now_ms)
                left_bytes -= len(frame)
            # To ask costs less than the exception that a try in vain ends with.
            if not int(get(_EVENTS)) & _POLLIN:
                self._pollers.readable &= ~PEERS
                return
            if left_bytes <= 0 or self._refused >= REFUSED_AT_ONCE:
                return

    def _drain_votes(self, inbox: Inbox, received: list[Envelope], limit: int, now_ms: int) -> None:
        ready = self._pollers.votes
        for name, link in self._sockets.links.items():
            if link.votes in ready:
                self._drain_votes_of(name, link.votes, inbox, received, limit, now_ms)
        if not ready:
            self._pollers.readable &= ~VOTES

    def _drain_votes_of(
        self,
        name: NodeId,
        votes: Socket,
        inbox: Inbox,
        received: list[Envelope],
        limit: int,
        now_ms: int,
    ) -> None:
        recv, get = votes.recv, votes.get
        for _ in range(limit):
            topic = recv(_NOBLOCK, False)
            if not topic.more:
                self._refuse(topic, "peer", "frames", "one frame, expected two", now_ms)
            else:
                frame = recv(_NOBLOCK, False)
                if frame.more:
                    self._refuse_rest(votes, frame, "peer", now_ms)
                else:
                    self._take(inbox, frame, topic.bytes, received, now_ms, name)
            if not int(get(_EVENTS)) & _POLLIN:
                self._pollers.votes.discard(votes)
                return

    def _take(
        self,
        inbox: Inbox,
        frame: zmq.Frame,
        topic: bytes | None,
        received: list[Envelope],
        now_ms: int,
        voter: NodeId | None = None,
    ) -> None:
        """Decode one payload and pass it on, unless it is refused or a fault takes it. ``voter``:
        the node to whose votes this node subscribed."""
        try:
            message = decode_peer(frame.buffer, self._cluster)
        except WireError as error:
            self._refuse(frame, "peer", error.reason, error.detail, now_ms)
            return
        if voter is None:
            if self._ring is not None and self._is_impostor(frame, message.sender, now_ms):
                return
        elif (key := self._sockets.links[voter].voice.expected) and self._is_false_vote(
            frame, voter, key, message.sender, now_ms
        ):
            return
        if topic is not None and (
            type(message.body) is not Accepted or topic != ACCEPTED_TOPIC + message.sender.encode()
        ):
            detail = f"a vote of {message.sender} was expected"
            self._refuse(frame, "peer", "topic", detail, now_ms)
            return
        # An Accept is what comes most, and it shows nothing about a connection.
        if type(message.body) is not Accept and message.sender in self._sockets.links:
            is_known = message.run_id == inbox.peer_runs.known(message.sender)
            if topic is None:
                self._doubts.took(message, now_ms, is_known=is_known)
            elif is_known:
                self._doubts.took_vote(message)
        inbox.take(message, frame, received, now_ms)

    # ---- clients and subscribers

    def clients(self, answers: ClientAnswers, limit: int) -> list[ClientRequest]:
        """Requests, at most ``limit``, and fewer only if no more have come or REFUSED_AT_ONCE were
        none; those are refused through ``answers``."""
        requests: list[ClientRequest] = []
        if not self._pollers.readable & CLIENTS:
            return requests
        now_ms = self._now_ms()
        cluster = self._cluster
        recv, get = self._sockets.client.recv, self._sockets.client.get
        self._refused = 0
        while len(requests) < limit and self._refused < REFUSED_AT_ONCE:
            client = recv(_NOBLOCK)
            frame = recv(_NOBLOCK, False)
            if frame.more:
                self._refuse_rest(self._sockets.client, frame, "client", now_ms)
            else:
                key = PLAIN if self._ring is None else self._key_of(frame)
                try:
                    requests.append((client, decode_request(frame.buffer, cluster), key))
                except WireError as error:
                    self._refuse(frame, "client", error.reason, error.detail, now_ms)
                    if error.request_id >= 0:
                        refusal = (error.request_id, INVALID, error.detail, "", "", 0)
                        answers.answer(client, RefusalAnswer(*refusal))
            if not int(get(_EVENTS)) & _POLLIN:
                self._pollers.readable &= ~CLIENTS
                break
        self.counters["received.client"] += len(requests)
        return requests

    def _count_subscription(self, frame: zmq.Frame, now_ms: int) -> None:
        """One of many may be a flood; see ``pacing.py``."""
        size = len(frame)
        cost = 1 + size // TOPIC_BYTES
        if pause_ms := self.pacing.refused(frame, "events", now_ms, cost, size):
            self._note_pause(frame, "events", pause_ms, now_ms)

    def subscriptions(self, limit: int) -> list[tuple[bool, bytes]]:
        """What subscribers ask for, in order: ``(subscribe, topic)``. Every subscription is
        reported, also a second one of the same topic; an end only when the last subscriber of the
        topic has gone."""
        notices: list[tuple[bool, bytes]] = []
        if not self._pollers.readable & SUBSCRIPTIONS:
            return notices
        recv, get = self._sockets.events.recv, self._sockets.events.get
        now_ms = self._now_ms()
        for _ in range(limit):
            frame = recv(_NOBLOCK, False)
            wish = frame.bytes
            if frame.more:
                self._refuse_rest(self._sockets.events, frame, "events", now_ms)
            elif wish[:1] not in (b"\x00", b"\x01"):
                detail = "a subscriber sent something else than a subscription"
                self._refuse(frame, "events", "subscription", detail, now_ms)
            else:
                notices.append((wish[0] == 1, wish[1:]))
                self._count_subscription(frame, now_ms)
            if not int(get(_EVENTS)) & _POLLIN:
                self._pollers.readable &= ~SUBSCRIPTIONS
                break
        return notices

    # ---- keys

    def _key_of(self, frame: zmq.Frame) -> bytes:
        """The key that proved the connection of a frame."""
        user = str(frame.get("User-Id"))
        key = self._keys.get(user)
        if key is None:
            if len(self._keys) >= KEYS_MAX:
                self._keys.clear()
            key = self._keys[user] = parse_key(user)
        return key

    def _is_impostor(self, frame: zmq.Frame, sender: NodeId, now_ms: int) -> bool:
        """Whether a frame came by another key than its sender's; then it is refused."""
        assert self._ring is not None
        key = self._key_of(frame)
        if key in self._ring.keys_of(sender):
            return False
        if self._ring.admits("peer", key):
            detail = f"a message of {sender} came by the key of another node, {key_text(key)}"
            self._refuse(frame, "peer", IMPERSONATION, detail, now_ms)
        else:
            detail = f"the key {key_text(key)} was revoked"
            self._refuse(frame, "peer", REVOKED, detail, now_ms)
        return True

    def _is_false_vote(
        self, frame: zmq.Frame, voter: NodeId, key: bytes, sender: NodeId, now_ms: int
    ) -> bool:
        """Whether a vote of ``sender``, which ``voter`` published on a connection that it proved by
        ``key``, is not to be heard; then it is refused."""
        if sender != voter:
            detail = f"{voter}, by its key, published a vote of {sender}"
            self._refuse(frame, "peer", IMPERSONATION, detail, now_ms)
        elif self._dials is not None and key not in self._dials.keys_of(voter):
            detail = f"the key {key_text(key)} of {voter}, who voted, was revoked"
            self._refuse(frame, "peer", REVOKED, detail, now_ms)
        else:
            return False
        return True

    # ---- refusing

    def _refuse(self, frame: zmq.Frame, port: str, reason: str, detail: str, now_ms: int) -> None:
        self.counters[f"refused.{reason}"] += 1
        self._refusals.note("bus.refused", address_of(frame), reason, now_ms, detail=detail)
        self._pace(frame, port, now_ms)

    def _pace(self, frame: zmq.Frame, port: str, now_ms: int) -> None:
        self._refused += 1
        if pause_ms := self.pacing.refused(frame, port, now_ms):
            self._note_pause(frame, port, pause_ms, now_ms)

    def _note_pause(self, frame: zmq.Frame, port: str, pause_ms: int, now_ms: int) -> None:
        self.counters[f"paced.{port}"] += 1
        self._refusals.note("bus.paced", address_of(frame), port, now_ms, pause_ms=pause_ms)

    def on_refused(self, refusal: Refusal, source: zmq.Frame | str, now_ms: float) -> None:
        """A message that the inbox refused."""
        if isinstance(source, str):
            log_refusal(self._refusals, refusal, source, now_ms)
            return
        # The address is asked for when it is needed alone: it costs more than the rest.
        log_refusal(self._refusals, refusal, address_of(source), now_ms)
        if refusal.reason not in HONEST:
            self._pace(source, "peer", int(now_ms))

    def _refuse_rest(self, socket: Socket, frame: zmq.Frame, port: str, now_ms: int) -> None:
        """Read a message's further frames away and refuse it."""
        last = frame
        while last.more:
            last = socket.recv(_NOBLOCK, False)
        self._refuse(frame, port, "frames", "more frames than one payload", now_ms)


def keep(frame: zmq.Frame) -> tuple[int, str]:
    """The size in bytes of a frame whose message is held back, and the address it came from."""
    return len(frame), address_of(frame)


def address_of(frame: zmq.Frame) -> str:
    """The IP address that a frame came from."""
    try:
        return plain_address(str(frame.get("Peer-Address")))
    except (zmq.ZMQError, ValueError):
        return "unknown"
