"""A watch of a simulated client beside its calls: the real watch state on simulated connections.

    WatchState ── Connect, Pull ──► EventLinks ──► node
        ▲ events, answers ◄────────────┘            Deliver ──► removed(key)

That changes come whole and in order is checked of other watchers (``watchers.py``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paxosd.core.client.watch import WatchState
from paxosd.core.client.watch_effects import Connect, Deliver, Effect, Pull
from paxosd.core.events import Event, LearnedEvent, MembersEvent
from paxosd.core.requests import HistoryAnswer, RefusalAnswer, ServerMessage
from paxosd.sim.cluster.cluster import SimCluster

Gate = Callable[..., None]
"""``gate(action, *args)`` does it, now or, if the process is stopped, once it goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is watched, and whom to inform: ``removed(key)``, and ``ended()`` if it cannot go on."""

    key: bytes
    prefix: bool
    from_revision: int
    removed: Callable[[bytes], None]
    ended: Callable[[], None]


class KeyWatch:
    """One watch. ``name`` is never used twice."""

    def __init__(self, cluster: SimCluster, name: str, watched: Watched, gate: Gate) -> None:
        self._world = cluster.world
        self._links = cluster.network.events
        self._name = name
        self._watched = watched
        self._gate = gate
        self._nodes = list(cluster.names)
        cluster.world.derive(f"key-watch/{name}").shuffle(self._nodes)
        self._links_made = 0
        self._link = b""
        self._wake_ms = float("inf")
        self._state: WatchState | None = WatchState(
            watched.key, prefix=watched.prefix, from_revision=watched.from_revision
        )
        self._perform(self._state.start(self._now()))

    def close(self) -> None:
        """End it."""
        self._state = None
        self._links.close(self._link)

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            state = self._state
            if state is None:
                return  # what was delivered has made its user close it
            if isinstance(effect, Connect):
                self._connect(self._nodes[(effect.attempt - 1) % len(self._nodes)], state.topics)
            elif isinstance(effect, Pull):
                self._links.request(self._link, effect.request)
            elif isinstance(effect, Deliver):
                for change in effect.changes:
                    if change.value is None:
                        self._watched.removed(change.key)
            else:
                self.close()
                self._watched.ended()
                return
        if self._state is not None:
            self._plan_wake(self._state.next_due_ms())

    def _connect(self, node: str, topics: Sequence[bytes]) -> None:
        self._links.close(self._link)
        self._links_made += 1
        self._link = f"{self._name}.{self._links_made}".encode()
        self._links.connect(self._link, node, topics, self)

    # -- what arrives: see WatcherEnd of event_links.py

    def arrive_event(self, link: bytes, cluster: str, event: Event) -> None:
        """A node published something."""
        if not isinstance(event, LearnedEvent | MembersEvent):
            self._gate(self._take_event, link, cluster, event)

    def arrive_answer(self, link: bytes, message: ServerMessage) -> None:
        """A node answered a pull."""
        if isinstance(message, HistoryAnswer | RefusalAnswer):
            self._gate(self._take_answer, link, message)

    def disconnected(self, link: bytes, reason: str) -> None:
        """The connection is gone."""
        self._gate(self._take_end, link, reason)

    def _take_event(self, link: bytes, cluster: str, event: Event) -> None:
        state = self._state
        if state is not None and link == self._link:
            assert not isinstance(event, LearnedEvent | MembersEvent)
            self._perform(state.on_event(state.attempt, cluster, event, self._now()))

    def _take_answer(self, link: bytes, message: HistoryAnswer | RefusalAnswer) -> None:
        state = self._state
        if state is not None and link == self._link:
            count = len(self._nodes)
            self._perform(state.on_answer(state.attempt, message, self._now(), nodes=count))

    def _take_end(self, link: bytes, reason: str) -> None:
        state = self._state
        if state is not None and link == self._link:
            self._perform(state.on_disconnect(state.attempt, reason, self._now()))

    # -- time

    def _now(self) -> int:
        return int(self._world.now_ms)

    def _plan_wake(self, due_ms: int | None) -> None:
        if due_ms is not None and due_ms < self._wake_ms:
            self._wake_ms = due_ms
            self._world.at(max(due_ms - self._world.now_ms, 0.0), self._gate, self._on_wake, due_ms)

    def _on_wake(self, due_ms: int) -> None:
        if due_ms == self._wake_ms:
            self._wake_ms = float("inf")
            if self._state is not None:
                self._perform(self._state.on_tick(self._now()))
