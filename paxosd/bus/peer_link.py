"""What a node opens to one peer.

    dealer   DEALER  to its peer socket: what is small
    bulk     DEALER  another one to it: what is large (``lanes.py``)
    votes    SUB     to its events socket: the peer's accepted/ stream

Each peer has a SUB of its own: so a vote is known to come from the node whose key proved that
connection, and nobody else can vote in its name.

A SUB is never disconnected: another one takes its place. libzmq 4.3.5 aborts the process
(``fq.cpp``, "!_more") when it is disconnected from where the message came of which it has looked at
the first frame; and to ask whether there is anything to read is to look at it.
"""

from collections.abc import Callable
from typing import Protocol

import zmq

from paxosd.bus.dialled import Dialled
from paxosd.bus.handshake import FAILED, NO_DETAIL
from paxosd.bus.monitors import BROKE, CONNECTED, REFUSED, STANDS
from paxosd.bus.peers import PeerEndpoints
from paxosd.bus.repeating import read_connecting
from paxosd.bus.send_tracker import BUSY_MARK_BYTES, SendTracker
from paxosd.bus.socket_set import SocketSet
from paxosd.core.types import NodeId
from paxosd.host.descriptors import reserved
from paxosd.net.routes import Route
from paxosd.wire import ACCEPTED_TOPIC

NEVER_READ_BYTES = 4096
"""The frame limit of a socket that only sends; the handshake has to pass."""
SUBSCRIBE_QUEUE_MAX = 64
"""Subscriptions travel as messages: with a queue of 1 the second one would be lost."""
SWIFT_QUEUE_MAX = 1024
"""Each of SWIFT_BYTES_MAX at most."""
BULK_QUEUE_MAX = 4096
"""Bounded in bytes, by the bus: these are small ones."""
VOTES_QUEUE_MAX = 4096
"""Losing votes costs a round trip."""
VOTE_BYTES_MAX = 64 << 10
"""Votes in every other one of ``accept_ahead_slots_max`` slots take less."""

Socket = zmq.Socket[bytes]
MakeRoute = Callable[[str], tuple[Route | None, str]]
"""The route to an endpoint, or None and what is wrong with it."""


class VoteWatch(Protocol):
    """Who waits for votes."""

    def begin(self, votes: Socket, monitor: Socket, *, named: bool) -> None:
        """Wait for votes on this socket, too. ``named``: and for news of its connection."""
        ...

    def end(self, votes: Socket, monitor: Socket) -> None:
        """Wait for it no more; it is closed next."""
        ...


class PeerLink:
    """The sockets to one peer, and what is known of their connections."""

    def __init__(
        self,
        sockets: SocketSet,
        name: NodeId,
        endpoints: PeerEndpoints,
        make_route: MakeRoute,
        watch: VoteWatch,
    ) -> None:
        """Opens and connects them. To be called with descriptors to spare."""
        self._sockets = sockets
        self._watch = watch
        self.endpoints = endpoints
        self._wrong: dict[str, str] = {}
        self.bulk_ended = False
        """Whether the connection for what is large ended, since that was last asked."""
        self._broke_unstood = False
        """Whether a connection that never stood is about to be reported as ended."""
        self._connected: dict[bool, int] = {}
        """Whether it is for what is large → the descriptor of that connection."""
        self.swift, self.voice = (
            self._dialled(name, where, make_route) for where in (endpoints.peer, endpoints.events)
        )
        self.dealer = sockets.make(zmq.DEALER, NEVER_READ_BYTES, SWIFT_QUEUE_MAX, receive_max=1)
        self.dealer.setsockopt(zmq.IMMEDIATE, 1)
        more = REFUSED if self.swift.is_named else 0
        self.monitor = sockets.monitor(self.dealer, CONNECTED | BROKE | STANDS | FAILED | more)
        self.bulk, self._bulk_monitor = self._make_bulk()
        self.unsent = SendTracker(BUSY_MARK_BYTES)
        """What ``bulk`` holds."""
        self.votes, self._votes_monitor = self._make_votes()
        self.redial()
        self._dial_votes()

    def _dialled(self, name: NodeId, endpoint: str, make_route: MakeRoute) -> Dialled:
        route, reason = make_route(endpoint)
        if route is None:
            self._wrong[endpoint] = reason
        return Dialled(self._sockets, name, endpoint, route)

    def _make_bulk(self) -> tuple[Socket, Socket]:
        bulk = self._sockets.make(zmq.DEALER, NEVER_READ_BYTES, BULK_QUEUE_MAX, receive_max=1)
        bulk.setsockopt(zmq.IMMEDIATE, 1)
        return bulk, self._sockets.monitor(bulk, CONNECTED | BROKE | FAILED)

    def _make_votes(self) -> tuple[Socket, Socket]:
        make, monitor = self._sockets.make, self._sockets.monitor
        votes = make(zmq.SUB, VOTE_BYTES_MAX, SUBSCRIBE_QUEUE_MAX, VOTES_QUEUE_MAX)
        votes.setsockopt(zmq.SUBSCRIBE, ACCEPTED_TOPIC)
        return votes, monitor(votes, CONNECTED | BROKE | STANDS | REFUSED | FAILED)

    # ---- connecting

    def redial(self) -> None:
        """Connect to the peer anew, on both connections: what is on its way to it is dropped."""
        self._note_wrong(self.endpoints.peer, self.swift.redial((self.dealer, self.bulk)))

    def redial_votes(self) -> None:
        """Subscribe to its votes anew: what has come and was not read is dropped."""
        self._close_votes()
        with reserved():
            self.votes, self._votes_monitor = self._make_votes()
        self._dial_votes()

    def _dial_votes(self) -> None:
        self.voice.target = ""  # this one is connected to nothing yet
        self._note_wrong(self.endpoints.events, self.voice.redial((self.votes,)))
        self._watch.begin(self.votes, self._votes_monitor, named=self.voice.is_named)

    def _close_votes(self) -> None:
        self._watch.end(self.votes, self._votes_monitor)
        self.votes.disable_monitor()
        self._sockets.drop(self._votes_monitor, self.votes)

    def follow_names(self, now_ms: int) -> bool:
        """Connect anew to what has another address now; whether the peer was connected to an old
        one."""
        moved = False
        swift, voice = self.swift.route, self.voice.route
        was_up = swift is not None and swift.up
        if swift is not None and swift.tick(now_ms):
            self.redial()
            moved = was_up
        if voice is not None and voice.tick(now_ms):
            self.redial_votes()
        return moved

    def take_wrong(self) -> dict[str, str]:
        """The endpoints that cannot be dialled, each with the reason, since the last call."""
        wrong, self._wrong = self._wrong, {}
        return wrong

    def _note_wrong(self, endpoint: str, reason: str) -> None:
        if reason:
            self._wrong[endpoint] = reason

    def reset_bulk(self) -> None:
        """The other connection to this peer broke: drop what this one holds, and connect anew."""
        self._close_bulk(linger_ms=0)
        self.bulk, self._bulk_monitor = self._make_bulk()
        self.unsent = SendTracker(BUSY_MARK_BYTES)
        self.swift.dial(self.bulk)

    def mind_keys(self, now_ms: int) -> None:
        """Connect anew what is to try another key."""
        if self.swift.has_other_key(now_ms):
            self.redial()
        if self.voice.has_other_key(now_ms):
            self.redial_votes()

    @property
    def why(self) -> str:
        """A word for :attr:`problem`."""
        return self.swift.handshake.why or self.voice.handshake.why

    @property
    def problem(self) -> str:
        """Why the peer cannot be connected to, in words; "": nothing is known."""
        return self.swift.handshake.problem or self.voice.handshake.problem

    # ---- what became of the connections

    def read_monitor(self, now_ms: int) -> bool:
        """Take in what became of the connection to the peer; whether one that stood, as far as is
        known, broke."""
        broke = False
        for event, value, endpoint in read_connecting(self.monitor):
            if event == BROKE:
                broke |= not self._broke_unstood
                self._broke_unstood = False
            elif event == CONNECTED:
                self._connected[False] = value
            elif event & FAILED:
                self._broke_unstood = True  # its end is reported next
            self.swift.take(event, value, endpoint, now_ms)
        return broke

    def read_quiet_monitors(self, now_ms: int) -> None:
        """Take in what became of the connections of which nobody has to know at once."""
        self.read_votes_monitor(now_ms)
        self.read_bulk_monitor()

    def read_votes_monitor(self, now_ms: int) -> None:
        """Take in what became of the connection for votes."""
        for event, value, endpoint in read_connecting(self._votes_monitor):
            self.voice.take(event, value, endpoint, now_ms)

    def read_bulk_monitor(self) -> None:
        """Take in what became of the connection for what is large."""
        failed = False
        for event, value, _ in read_connecting(self._bulk_monitor, small=False):
            if event == CONNECTED:
                self._connected[True] = value
            elif event == BROKE:
                self.bulk_ended = True
            failed |= bool(event & FAILED & ~NO_DETAIL)
        if failed and self.swift.handshake.stands:
            self.reset_bulk()  # libzmq does not dial again by itself

    @property
    def descriptors(self) -> set[int]:
        """The connections; some may have ended."""
        return set(self._connected.values())

    # ---- closing

    def _close_bulk(self, linger_ms: int | None) -> None:
        self.bulk.disable_monitor()
        self.bulk_ended = False
        self._sockets.drop(self._bulk_monitor, linger_ms=0)
        self._sockets.drop(self.bulk, linger_ms=linger_ms)

    def close(self) -> None:
        """Close all; a message just sent has LINGER_MS to leave."""
        self._close_bulk(linger_ms=None)
        self._close_votes()
        self.dealer.disable_monitor()
        self._sockets.drop(self.monitor, self.dealer)
