"""Which connections to peers are dead although both ends take them for alive.

A proxy that swallows what it takes, or a stranger on a peer's port, deceives the kernel; only
peers' messages show it. Every node sends heartbeats to every other, and says Hello, again and again
until it is answered, to one that it does not hear any more (``core/admission.py``). So of a peer P:

    this node said Hello to P, and nothing comes from P     → its connection to P is dead
    P says Hello again and again, though it is answered     → the same: P does not hear the answers
    P's heartbeats count new votes, and none come           → the connection for P's votes is dead

Such a connection is made anew: after SILENCE_MS, and if that did not help, after a longer time
each. If it was alive after all, that loses what was on its way, which the protocol sends again.

Pure. A message that this node's fault rules drop (``inbox.py``) counts here as one that came.
"""

from paxosd.core.messages import Accepted, Envelope, Heartbeat, Hello
from paxosd.core.types import NodeId

SILENCE_MS = 3000
PAUSE_MAX_MS = 60_000
HELLO_PAUSE_MS = 10_000
"""Hellos that come in longer intervals have different causes."""
HELLOS_MIN = 4


class _Doubt:
    """Something is expected, since when; and how long it may take."""

    __slots__ = ("patience_ms", "since_ms")

    def __init__(self) -> None:
        self.since_ms: int | None = None
        self.patience_ms = SILENCE_MS

    def begin(self, now_ms: int) -> None:
        if self.since_ms is None:
            self.since_ms = now_ms

    def clear(self) -> None:
        self.since_ms = None
        self.patience_ms = SILENCE_MS

    def take_due(self, now_ms: int) -> bool:
        """Whether it took too long; then it begins anew, with more patience."""
        if self.since_ms is None or now_ms - self.since_ms < self.patience_ms:
            return False
        self.since_ms = None
        self.patience_ms = min(2 * self.patience_ms, PAUSE_MAX_MS)
        return True


class _Peer:
    """What is expected of one peer."""

    __slots__ = (
        "greeted_ms",
        "greetings",
        "greetings_heeded",
        "newest",
        "run_id",
        "silent",
        "unheard",
        "voteless",
    )

    def __init__(self) -> None:
        self.silent = _Doubt()
        """It was sent a Hello, and not heard since."""
        self.unheard = _Doubt()
        """It says Hello …"""
        self.greeted_ms = 0
        self.greetings = 0
        """… the last time then, so often in a row, …"""
        self.greetings_heeded = 0
        """… of which so many had led to a new connection."""
        self.voteless = _Doubt()
        """It has published a vote that has not come."""
        self.run_id = 0
        self.newest = 0
        """The last vote of this run of it that has come, or that a heartbeat counted."""

    def turn_to(self, run_id: int, newest: int) -> None:
        """It is another run now, of which nothing is known."""
        if run_id != self.run_id:
            self.run_id, self.newest = run_id, newest
            self.voteless.clear()


class LinkDoubts:
    """The doubts about one node's connections to its peers. Times in ms, on a clock that never goes
    backward."""

    def __init__(self) -> None:
        self._peers: dict[NodeId, _Peer] = {}

    def keep(self, names: set[NodeId]) -> None:
        """Set who the peers are; forget all others."""
        for name in self._peers.keys() - names:
            del self._peers[name]

    def _peer(self, name: NodeId) -> _Peer:
        peer = self._peers.get(name)
        if peer is None:
            peer = self._peers[name] = _Peer()
        return peer

    def said_hello(self, name: NodeId, now_ms: int) -> None:
        """The connection to a peer took a Hello."""
        self._peer(name).silent.begin(now_ms)

    def took(self, message: Envelope, now_ms: int, *, is_known: bool) -> None:
        """A message of a peer came on its connection to this node. ``is_known``: it is of the run
        that is heard; from another one it only follows that the peer is there."""
        peer = self._peer(message.sender)
        peer.silent.clear()
        body = message.body
        if not is_known:
            return
        if type(body) is Hello:
            if now_ms - peer.greeted_ms > HELLO_PAUSE_MS:
                peer.unheard.clear()
                peer.greetings = peer.greetings_heeded = 0
            peer.greeted_ms = now_ms
            peer.greetings += 1
            peer.unheard.begin(now_ms)
        elif type(body) is Heartbeat:
            peer.turn_to(message.run_id, body.stream_seq)
            if body.stream_seq > peer.newest:
                peer.newest = body.stream_seq
                peer.voteless.begin(now_ms)

    def took_vote(self, message: Envelope) -> None:
        """A vote of the known run of a peer came on the connection for its votes."""
        body = message.body
        assert type(body) is Accepted
        peer = self._peer(message.sender)
        if message.run_id != peer.run_id:
            peer.turn_to(message.run_id, body.stream_seq)
        peer.newest = max(peer.newest, body.stream_seq)
        peer.voteless.clear()

    def take_silent(self, now_ms: int) -> list[NodeId]:
        """The peers that do not answer: connect to them anew."""
        return [name for name, peer in self._peers.items() if peer.silent.take_due(now_ms)]

    def take_unheard(self, now_ms: int) -> list[NodeId]:
        """The peers that do not hear this node: connect to them anew."""
        found = []
        for name, peer in self._peers.items():
            since_last = peer.greetings - peer.greetings_heeded
            lasts = since_last >= HELLOS_MIN and now_ms - peer.greeted_ms < HELLO_PAUSE_MS
            if lasts and peer.unheard.take_due(peer.greeted_ms):
                peer.greetings_heeded = peer.greetings
                found.append(name)
        return found

    def deaf(self, now_ms: int) -> set[NodeId]:
        """The peers that do not hear this node, whatever was done about it."""
        return {
            name
            for name, peer in self._peers.items()
            if peer.greetings >= HELLOS_MIN and now_ms - peer.greeted_ms < HELLO_PAUSE_MS
        }

    def take_voteless(self, now_ms: int) -> list[NodeId]:
        """The peers whose votes do not come: connect anew to where they publish them."""
        return [name for name, peer in self._peers.items() if peer.voteless.take_due(now_ms)]
