"""Between processes and between clients and processes: delay, loss, repeats, old frames.

    send(envelope, to) ──► its fate is drawn ──► later, or never, to.arrive(envelope)

Messages travel as objects, for speed; with ``wire`` each is encoded and decoded on its way, as
the daemon's sockets have it. A pair of processes normally keeps its order, as a connection
does; ``reorder`` is the probability that a message takes a way of its own.

A few old frames are remembered. When a process starts anew some of them come once more: what was
on its way to, or from, an earlier run. Partitions are no concern of this module: as on live
nodes the fault plan of the receiver does them (``SimBus``); only clients are cut off here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from paxosd.core.messages import Accepted, Envelope
from paxosd.core.requests import ClientMessage, ServerMessage
from paxosd.core.types import NodeId
from paxosd.replica.authority import Authority
from paxosd.sim.world.event_links import EventLinks
from paxosd.sim.world.frame_limits import FrameLimits
from paxosd.sim.world.slow_links import SlowLinks
from paxosd.sim.world.world import World
from paxosd.wire import (
    decode_answer,
    decode_peer,
    decode_request,
    encode_client,
    encode_peer,
)

OLD_FRAMES_MAX = 300
STALE_REPLAYS = 30
"""So many old frames, at most, come again when a process starts."""
REPLAY_AFTER_MS = (100.0, 20_000.0)
LONG_WAY = 0.1
LONG_WAY_MS = 4000.0
"""Of the messages that are reordered this share takes up to so long: longer than a client's
time-out and an election."""
REFUSED_AFTER_MS = 0.3
NO_ROUTE_AFTER_MS = 600.0

RELAY = b"relay/"
"""So the names begin under which nodes pass clients' writes on to the leader (``relay.py``)."""

Frame = tuple[NodeId, NodeId, Any]
"""Sender, receiver, and what is on its way: the envelope, or its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """Probabilities are per message. ``delay_ms``: low, high; most delays are near the low end.
    ``replay``: that a frame comes again, much later."""

    delay_ms: tuple[float, float] = (0.1, 0.6)
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    replay: float = 0.0
    client_loss: float = 0.0
    wire: bool = False


class Receiver(Protocol):
    """A process, as the network sees it."""

    @property
    def up(self) -> bool: ...

    def arrive(self, envelope: Envelope) -> None: ...

    def arrive_request(self, client: bytes, message: ClientMessage) -> None: ...

    def arrive_subscription(self, subscribe: bool, topic: bytes) -> None: ...

    def peer_lost(self, name: NodeId) -> None: ...


class ClientEnd(Protocol):
    """A client, as the network sees it."""

    def connected(self, node: NodeId) -> None: ...

    def disconnected(self, node: NodeId, reason: str) -> None: ...

    def arrive_answer(self, node: NodeId, message: ServerMessage) -> None: ...


class Keys(Protocol):
    """Who has which key; for :class:`paxosd.sim.cluster.keys.SimKeys`."""

    def shown_to(self, client: bytes, authority: Authority) -> bytes | None: ...


class Network:
    """All ways. ``counters``: kind of fault (as in ``nemesis/kinds.py``) → messages that it met."""

    def __init__(self, world: World, cluster: str, options: NetworkOptions) -> None:
        self.base = options
        self.counters: dict[str, int] = {}
        self.cut: set[NodeId] = set()
        """Nodes that no client can reach; other nodes can. Asked for membership only."""
        self.events = EventLinks(world, self.cut)
        """The ways of watchers."""
        self.slow = SlowLinks()
        """What links carry; at first each carries anything at once."""
        self.frames = FrameLimits(cluster, world.derive("frames"))
        """What processes take; at first each takes anything."""
        self.keys: Keys | None = None
        """Who has which key; None: nobody has one."""
        self.on_answer: Callable[[NodeId, bytes, ServerMessage], object] | None = None
        """Called with each answer that a node gives a client, when it makes it."""
        self.eavesdroppers: dict[NodeId, Receiver] = {}
        """Second processes under a member's name: published votes come to them, too."""
        self._world = world
        self._cluster = cluster
        self._options = options
        self._rng = world.derive("network")
        self._random = self._rng.random
        self._receivers: dict[NodeId, Receiver] = {}
        self._clients: dict[bytes, ClientEnd] = {}
        self._connections: dict[tuple[bytes, NodeId], int] = {}
        """Which clients are connected to which nodes: a number for each connection."""
        self._made = 0
        self._last_due_ms: dict[tuple[Any, Any], float] = {}
        self._old: list[Frame] = []
        self._sent = 0

    @property
    def options(self) -> NetworkOptions:
        return self._options

    def change(self, **changes: Any) -> None:
        """New numbers from now on; see :class:`NetworkOptions`."""
        if "delay_ms" in changes:
            low_ms, high_ms = changes["delay_ms"]
            changes["delay_ms"] = (float(low_ms), float(high_ms))
        self._options = replace(self._options, **changes)

    def heal(self) -> None:
        """As it was at the beginning, but without any trouble."""
        self.cut.clear()
        self.events.heal()
        self._options = replace(
            self.base, loss=0.0, duplicate=0.0, reorder=0.0, replay=0.0, client_loss=0.0
        )

    def add(self, name: NodeId, receiver: Receiver) -> None:
        self._receivers[name] = receiver
        self.events.add(name, receiver)

    def add_client(self, name: bytes, client: ClientEnd) -> None:
        self._clients[name] = client

    # -- between processes

    def send(self, envelope: Envelope, to: NodeId) -> None:
        """A message leaves; what becomes of it is decided now."""
        options = self._options
        random = self._random
        sender = envelope.sender
        if self.slow.bytes_per_s:
            wait_ms = self.slow.wait_ms(envelope, to, self._world.now_ms)
            if wait_ms:
                self._world.at(wait_ms, self._arrive, to, envelope)
                return
        payload: Any = envelope
        if options.wire:
            payload = encode_peer(
                envelope.body,
                self._cluster,
                sender,
                envelope.run_id,
                envelope.genesis,
                envelope.epoch,
                envelope.log_mark,
            )
        if options.loss and random() < options.loss:
            self._count("drop")
        else:
            self._deliver(sender, to, payload)
        if options.duplicate and random() < options.duplicate:
            self._count("duplicate")
            self._deliver(sender, to, payload)
        if options.replay:
            self._remember((sender, to, payload))
            if random() < options.replay:
                self._count("replay")
                low_ms, high_ms = REPLAY_AFTER_MS
                delay_ms = low_ms + random() * random() * (high_ms - low_ms)
                self._world.at(delay_ms, self._arrive, to, payload)

    def _deliver(self, sender: NodeId, to: NodeId, payload: Any) -> None:
        due_ms = self._due_ms(sender, to)
        self._world.at_time(due_ms, self._arrive, to, payload)

    def _due_ms(self, source: object, to: object) -> float:
        """When a message sent now arrives: drawn anew, not before the one sent before it, unless
        this one is reordered."""
        options = self._options
        random = self._random
        low_ms, high_ms = options.delay_ms
        share = random()
        due_ms = self._world.now_ms + low_ms + share * share * share * (high_ms - low_ms)
        if options.reorder and random() < options.reorder:
            self._count("reorder")
            if random() < LONG_WAY:
                return due_ms + random() * LONG_WAY_MS
            return due_ms + random() * 5 * high_ms
        key = (source, to)
        last_due_ms = self._last_due_ms.get(key, 0.0)
        if due_ms < last_due_ms:
            return last_due_ms
        self._last_due_ms[key] = due_ms
        return due_ms

    def _arrive(self, to: NodeId, payload: Any) -> None:
        if type(payload) is bytes:
            payload = decode_peer(payload, self._cluster)
        if self.frames.message_bytes_max and not self._fits(to, payload):
            return
        receiver = self._receivers.get(to)
        if receiver is not None:  # else a file names a node that does not exist
            receiver.arrive(payload)
        if self.eavesdroppers and type(payload.body) is Accepted:
            ear = self.eavesdroppers.get(to)
            if ear is not None:
                ear.arrive(payload)

    def _fits(self, to: NodeId, envelope: Envelope) -> bool:
        """Whether the process takes the frame. If it ends the connection, its sender does not hear
        of that: such a frame takes the one for bulk (``paxosd/bus/lanes.py``)."""
        passes = self.frames.passes(envelope, to, self._world.now_ms)
        if passes is None:
            self._count("too-large")
        return bool(passes)

    def _remember(self, frame: Frame) -> None:
        """Keep a sample of all frames so far, every one with the same chance."""
        self._sent += 1
        if len(self._old) < OLD_FRAMES_MAX:
            self._old.append(frame)
        else:
            place = int(self._random() * self._sent)
            if place < OLD_FRAMES_MAX:
                self._old[place] = frame

    def started(self, name: NodeId) -> None:
        """A process has a new run: frames of its last ones are still on their way, and who
        held a connection to the last one finds out."""
        for pair in [pair for pair in self._connections if pair[1] == name]:
            self._break(pair, self._connections[pair])
        self.events.started(name)
        if not self._options.replay:
            return
        old = [frame for frame in self._old if name in frame[:2]]
        self._rng.shuffle(old)
        for frame in old[:STALE_REPLAYS]:
            self._count("replay")
            self._world.at(self._random() * 2000, self._arrive, *frame[1:])

    # -- clients

    def key_of(self, client: bytes, authority: Authority) -> bytes | None:
        """The key that a client has proved to a node to have; b"": it has none. None: the node lets
        it come no further than to the handshake."""
        return b"" if self.keys is None else self.keys.shown_to(client, authority)

    def connect(self, client: bytes, to: NodeId) -> None:
        """A client wants a connection. It learns whether that succeeded; it tries again itself."""
        if client not in self._clients:
            return
        receiver = self._receivers.get(to)
        if receiver is None:
            return
        if self._cut_off(client, to):
            self._world.at(NO_ROUTE_AFTER_MS, self._retry, client, to, "no route")
        elif not receiver.up:
            self._world.at(REFUSED_AFTER_MS, self._retry, client, to, "connection refused")
        else:
            self._made += 1
            self._connections[client, to] = self._made
            self._world.at_time(self._due_ms(client, to), self._connected, client, to, self._made)

    def _connected(self, client: bytes, to: NodeId, number: int) -> None:
        """A client hears of a connection, unless either end has gone meanwhile."""
        if self._connections.get((client, to)) == number:
            self._clients[client].connected(to)

    def _cut_off(self, client: bytes, node: NodeId) -> bool:
        return node in self.cut and not client.startswith(RELAY)

    def _retry(self, client: bytes, to: NodeId, reason: str) -> None:
        end = self._clients.get(client)
        if end is None:
            return
        end.disconnected(to, reason)
        self._world.at(100.0 + self._random() * 100.0, self.connect, client, to)

    def request(self, client: bytes, to: NodeId, message: ClientMessage) -> bool:
        """Towards a process; False if there is no connection."""
        if (client, to) not in self._connections:
            return False
        options = self._options
        if self._cut_off(client, to) or (
            options.client_loss and self._random() < options.client_loss
        ):
            return True
        if self.frames.message_bytes_max and not self.frames.takes_request(message, to):
            self._count("too-large-request")
            pair = client, to
            self._world.at(options.delay_ms[1], self._break, pair, self._connections[pair])
            return True
        payload: Any = encode_client(message, self._cluster) if options.wire else message
        if options.replay and self._random() < options.replay:
            # Stuck on its way, and there much later, but once: a daemon may say of a request
            # that it was not submitted, and no connection brings the same request again.
            self._count("replay")
            low_ms, high_ms = REPLAY_AFTER_MS
            delay_ms = low_ms + self._random() * self._random() * (high_ms - low_ms)
            self._world.at(delay_ms, self._arrive_request, client, to, payload)
        else:
            due_ms = self._due_ms(client, to)
            self._world.at_time(due_ms, self._arrive_request, client, to, payload)
        return True

    def _arrive_request(self, client: bytes, to: NodeId, payload: Any) -> None:
        if type(payload) is bytes:
            payload = decode_request(payload, self._cluster)
        self._receivers[to].arrive_request(client, payload)

    def answer(self, sender: NodeId, client: bytes, message: ServerMessage) -> bool:
        """Towards a client; False if there is no connection."""
        if client in self.events.links:
            return self.events.answer(client, message)
        if (client, sender) not in self._connections:
            return False
        options = self._options
        if self._cut_off(client, sender) or (
            options.client_loss and self._random() < options.client_loss
        ):
            return True
        payload: Any = encode_client(message, self._cluster) if options.wire else message
        self._world.at_time(
            self._due_ms(sender, client), self._arrive_answer, sender, client, payload
        )
        return True

    def _arrive_answer(self, sender: NodeId, client: bytes, payload: Any) -> None:
        if (client, sender) not in self._connections:
            return  # the connection broke with the answer still on its way
        if type(payload) is bytes:
            payload = decode_answer(payload, self._cluster)
        self._clients[client].arrive_answer(sender, payload)

    def broke(self, name: NodeId, *, silently: bool) -> None:
        """A process is gone. Its kernel closes its connections; after a power cut (``silently``)
        the other ends notice by and by, or when it is there again."""
        rng = self._rng
        self.events.broke(name)
        mine = RELAY + name.encode() + b"/"
        for client in [client for client in self._clients if client.startswith(mine)]:
            self.forget_client(client)
        if not silently:
            for other, receiver in self._receivers.items():
                if other != name:
                    self._world.at(rng.uniform(0.2, 20.0), receiver.peer_lost, name)
        for pair in [pair for pair in self._connections if pair[1] == name]:
            delay_ms = rng.uniform(200.0, 3000.0) if silently else rng.uniform(0.1, 5.0)
            self._world.at(delay_ms, self._break, pair, self._connections[pair])

    def _break(self, pair: tuple[bytes, NodeId], number: int) -> None:
        """A client notices that this connection, if it is still the same, is no more."""
        if self._connections.get(pair) == number:
            del self._connections[pair]
            self._retry(*pair, "connection lost")

    def forget_client(self, client: bytes) -> None:
        """A client closed all of its connections, for ever."""
        del self._clients[client]
        for pair in [pair for pair in self._connections if pair[0] == client]:
            del self._connections[pair]

    def _count(self, what: str) -> None:
        self.counters[what] = self.counters.get(what, 0) + 1
