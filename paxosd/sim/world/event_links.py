"""Between nodes and watchers: subscriptions, published events, questions for the history.

    connect ──► subscriptions arrive ──► SimBus ──► EventPublisher
    watcher ◄── lost, late, twice, out of order ◄── publish
    request ──► SimBus ──► answer ──► watcher

What PUB and SUB sockets do, and worse: a real connection loses events (a slow subscriber, a
connection that broke and was made again by the library without a word), but it neither doubles
nor reorders them. The connections of a node that dies end; some watchers notice it, others are
connected to the node's next run without knowing. All random numbers come from a stream of their
own.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from paxosd.core.events import Event
from paxosd.core.requests import ClientMessage, ServerMessage
from paxosd.core.types import NodeId
from paxosd.sim.world.world import World
from paxosd.wire.events import decode_event

DELAY_MS = (0.1, 3.0)
LATE_MS = 3000.0
"""So much later, at most, comes an event that is late or that comes once more."""
REJOIN_MS = (1.0, 200.0)
"""How long a connection that breaks in silence is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrouble:
    """Probabilities: of an event to be ``lost``, to come ``twice`` or ``late``; of a connection
    to break in silence (``flap``), at each event; of the watchers of a node that dies to be
    ``noticed`` of it."""

    lost: float = 0.0
    twice: float = 0.0
    late: float = 0.0
    flap: float = 0.0
    noticed: float = 1.0


class Publisher(Protocol):
    """A process, as its watchers see it."""

    @property
    def up(self) -> bool: ...

    def arrive_subscription(self, subscribe: bool, topic: bytes) -> None: ...

    def arrive_request(self, client: bytes, message: ClientMessage) -> None: ...


class WatcherEnd(Protocol):
    """A watcher, as the nodes see it; ``link`` is what it called the connection."""

    def arrive_event(self, link: bytes, cluster: str, event: Event) -> None: ...

    def arrive_answer(self, link: bytes, message: ServerMessage) -> None: ...

    def disconnected(self, link: bytes, reason: str) -> None: ...


class _Link:
    """One connection. ``joined``: whether the node counts its subscriptions. ``way``: changes
    whenever the connection breaks, so that what was on its way is lost."""

    __slots__ = ("due_ms", "end", "joined", "name", "node", "topics", "way")

    def __init__(self, name: bytes, node: NodeId, topics: Sequence[bytes], end: WatcherEnd) -> None:
        self.name = name
        self.node = node
        self.topics = topics
        self.end = end
        self.joined = False
        self.way = 0
        self.due_ms = 0.0


class EventLinks:
    """All connections of all watchers. ``cut``: nodes that no client can reach."""

    def __init__(self, world: World, cut: set[NodeId]) -> None:
        self.trouble = EventTrouble()
        self.counters: dict[str, int] = {}
        self.links: dict[bytes, _Link] = {}
        self._world = world
        self._cut = cut
        self._rng = world.derive("events")
        self._publishers: dict[NodeId, Publisher] = {}
        self._joined: dict[NodeId, list[_Link]] = {}
        self._topics: dict[NodeId, Counter[bytes]] = {}

    def add(self, name: NodeId, publisher: Publisher) -> None:
        """A node."""
        self._publishers[name] = publisher
        self._joined[name] = []
        self._topics[name] = Counter()

    def heal(self) -> None:
        """No more trouble."""
        self.trouble = EventTrouble()

    # -- watchers

    def connect(self, name: bytes, node: NodeId, topics: Sequence[bytes], end: WatcherEnd) -> None:
        """A new connection called ``name``, which is never used twice."""
        link = self.links[name] = _Link(name, node, topics, end)
        self._world.at(self._rng.uniform(*DELAY_MS), self._join, link, link.way)

    def close(self, name: bytes) -> None:
        """The watcher leaves it."""
        link = self.links.pop(name, None)
        if link is not None:
            self._part(link)

    def request(self, name: bytes, message: ClientMessage) -> None:
        """A question to the node; it, and its answer, may be lost."""
        link = self.links[name]
        if not self._is_lost(link):
            self._world.at_time(self._due_ms(link), self._arrive_request, link, link.way, message)

    def _join(self, link: _Link, way: int) -> None:
        if self.links.get(link.name) is not link or link.way != way or link.joined:
            return
        publisher = self._publishers[link.node]
        if link.node in self._cut:
            self._world.at(self._rng.uniform(*REJOIN_MS), self._join, link, way)
        elif not publisher.up:
            link.end.disconnected(link.name, "connection refused")
        else:
            link.joined = True
            self._joined[link.node].append(link)
            for topic in link.topics:
                self._topics[link.node][topic] += 1
                publisher.arrive_subscription(True, topic)

    def _part(self, link: _Link) -> None:
        """The node sees the connection end; it hears of the topics that nobody has any more."""
        link.way += 1
        if not link.joined:
            return
        link.joined = False
        self._joined[link.node].remove(link)
        for topic in link.topics:
            counts = self._topics[link.node]
            counts[topic] -= 1
            if not counts[topic]:
                self._publishers[link.node].arrive_subscription(False, topic)

    # -- nodes

    def publish(self, node: NodeId, topic: bytes, payload: bytes) -> None:
        """One message of a node's PUB socket."""
        joined = self._joined[node]
        if not joined:
            return
        said = decode_event(topic, payload)
        for link in list(joined):
            if any(topic.startswith(wanted) for wanted in link.topics):
                self._send(link, said)

    def _send(self, link: _Link, said: tuple[str, Event]) -> None:
        trouble, random = self.trouble, self._rng.random
        if trouble.flap and random() < trouble.flap:
            self._count("watch-flap")
            self._part(link)
            self._world.at(self._rng.uniform(*REJOIN_MS), self._join, link, link.way)
            return
        if self._is_lost(link):
            self._count("watch-drop")
        elif trouble.late and random() < trouble.late:
            self._count("watch-late")
            self._world.at(random() * LATE_MS, self._arrive, link, link.way, *said)
        else:
            self._world.at_time(self._due_ms(link), self._arrive, link, link.way, *said)
        if trouble.twice and random() < trouble.twice:
            self._count("watch-twice")
            share = random()
            self._world.at(share * share * LATE_MS, self._arrive, link, link.way, *said)

    def _arrive(self, link: _Link, way: int, cluster: str, event: Event) -> None:
        if link.way == way:
            link.end.arrive_event(link.name, cluster, event)

    def _arrive_request(self, link: _Link, way: int, message: ClientMessage) -> None:
        if link.way == way:
            self._publishers[link.node].arrive_request(link.name, message)

    def answer(self, name: bytes, message: ServerMessage) -> bool:
        """A node's answer to :meth:`request`; False if there is no connection any more."""
        link = self.links.get(name)
        if link is None or not link.joined:
            return False
        if not self._is_lost(link):
            self._world.at_time(self._due_ms(link), self._arrive_answer, link, link.way, message)
        return True

    def _arrive_answer(self, link: _Link, way: int, message: ServerMessage) -> None:
        if link.way == way:
            link.end.arrive_answer(link.name, message)

    def broke(self, node: NodeId) -> None:
        """The process is gone."""
        self._topics[node].clear()
        gone, self._joined[node] = self._joined[node], []
        for link in gone:
            link.joined = False
            link.way += 1
            if self._rng.random() < self.trouble.noticed:
                delay_ms = self._rng.uniform(0.1, 500.0)
                self._world.at(delay_ms, self._tell, link, link.way)

    def _tell(self, link: _Link, way: int) -> None:
        if self.links.get(link.name) is link and link.way == way:
            link.end.disconnected(link.name, "connection lost")

    def started(self, node: NodeId) -> None:
        """The process has a new run: who still holds a connection to the last one has one to
        this."""
        for link in self.links.values():
            if link.node == node and not link.joined:
                link.way += 1
                self._world.at(self._rng.uniform(*REJOIN_MS), self._join, link, link.way)

    # -- random choices

    def _is_lost(self, link: _Link) -> bool:
        lost = self.trouble.lost
        return link.node in self._cut or bool(lost and self._rng.random() < lost)

    def _due_ms(self, link: _Link) -> float:
        """When what is sent now arrives: in order."""
        low_ms, high_ms = DELAY_MS
        share = self._rng.random()
        due_ms = self._world.now_ms + low_ms + share * share * share * (high_ms - low_ms)
        link.due_ms = max(due_ms, link.due_ms)
        return link.due_ms

    def _count(self, what: str) -> None:
        self.counters[what] = self.counters.get(what, 0) + 1


__all__ = ["EventLinks", "EventTrouble"]
