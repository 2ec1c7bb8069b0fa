"""Simulated watchers: the real watch state on simulated connections, held against the truth.

    WatchState ── Connect, Pull ──► EventLinks ──► node
        ▲ events, answers ◄────────────┘
        └── Deliver ──► WatchJudge: the next change, exactly once, or a violation

A watch ends with "compacted" where the history is gone: then its user reads the state, and watches
from there on. A user that dies resumes where the watch says that it may.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from paxosd.core.client.watch import WatchState
from paxosd.core.client.watch_effects import Connect, Deliver, Effect, Fail, Pull, WatchOptions
from paxosd.core.commands import prefix_end
from paxosd.core.effects import COMPACTED
from paxosd.core.events import Event, LearnedEvent, MembersEvent
from paxosd.core.requests import (
    RANGE,
    STALE,
    HistoryAnswer,
    ReadAnswer,
    ReadRequest,
    RefusalAnswer,
    ServerMessage,
)
from paxosd.sim.cluster.cluster import SimCluster
from paxosd.sim.cluster.violation import Violation
from paxosd.sim.cluster.watch_truth import WatchJudge, WatchTruth
from paxosd.sim.world.event_links import EventTrouble

WATCHED = 0.5
"""The share of runs with watchers, where the options do not say how many there are."""
WATCHERS_MAX = 3
DIES = 0.002
"""The probability that a watcher dies, at each change that is delivered to it."""
READ_AGAIN_MS = 300.0
_TROUBLES = (
    EventTrouble(),
    EventTrouble(lost=0.02, noticed=0.5),
    EventTrouble(lost=0.2, twice=0.1, late=0.1, flap=0.005, noticed=0.5),
    EventTrouble(twice=0.3, late=0.3, flap=0.02, noticed=0.2),
)
_OPTIONS = (
    WatchOptions(),
    WatchOptions(silence_ms=1200, pull_timeout_ms=500, page_bytes=200),
    WatchOptions(buffer_messages_max=2, page_bytes=60),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPlan:
    """The options of one watcher; as for :class:`~paxosd.core.client.watch.WatchState`."""

    key: bytes
    prefix: bool
    from_revision: int | None
    options: WatchOptions = field(default_factory=WatchOptions)


class SimWatcher:
    """One user of watches. ``watches``: how many it began; ``delivered``: changes, in all."""

    def __init__(self, cluster: SimCluster, truth: WatchTruth, name: str, plan: WatchPlan) -> None:
        self.name = name
        self.plan = plan
        self.watches = 0
        self.compacted = 0
        self.delivered = 0
        self._cluster = cluster
        self._world = cluster.world
        self._links = cluster.network.events
        self._truth = truth
        self._rng = cluster.world.derive(f"watch/{name}")
        self._nodes = list(cluster.names)
        self._range = (plan.key, prefix_end(plan.key) if plan.prefix else plan.key + b"\0")
        self._state: WatchState | None = None
        """None while the user reads."""
        self._judge: WatchJudge | None = None
        """None until a watch "from now" has learned the present revision."""
        self._link = b""
        self._links_made = 0
        self._kept_from = 0
        """The first revision that was still there when a watch ended as compacted."""
        self._wake_ms = float("inf")
        self._reads = 0

    @property
    def caught_up(self) -> bool:
        """Whether it has every change up to the newest revision, and knows that it has."""
        state = self._state
        return state is not None and state.live and state.complete_to == self._truth.revision

    def start(self) -> None:
        """Begin to watch now."""
        self._begin(self.plan.from_revision)

    # -- the watch

    def _begin(self, from_revision: int | None) -> None:
        self._rng.shuffle(self._nodes)
        self.watches += 1
        self._cluster.note("watch.begins", watcher=self.name, from_revision=from_revision)
        state = self._state = WatchState(
            self.plan.key,
            prefix=self.plan.prefix,
            from_revision=from_revision,
            options=self.plan.options,
        )
        self._judge = None if from_revision is None else self._judge_from(from_revision)
        self._perform(state, state.start(self._now()))

    def _perform(self, state: WatchState, effects: list[Effect]) -> None:
        """Carry out what the state asks for; then check what it says about itself."""
        if self._judge is None and state.complete_to >= 0:
            self._judge = self._judge_from(state.complete_to + 1)
        for effect in effects:
            if isinstance(effect, Connect):
                if effect.reason:
                    self._cluster.note("watch.left", watcher=self.name, reason=effect.reason)
                self._connect((effect.attempt - 1) % len(self._nodes), state.topics)
            elif isinstance(effect, Pull):
                self._links.request(self._link, effect.request)
            elif isinstance(effect, Deliver):
                assert self._judge is not None
                self._judge.deliver(effect.changes)
                self.delivered += len(effect.changes)
                if self._rng.random() < DIES:
                    self._die(state)
                    return
            else:
                assert isinstance(effect, Fail)  # nobody is kept from listening here: no Ask
                self._ended(effect)
                return
        if self._judge is not None:
            self._judge.check(state.complete_to)
        self._plan_wake(state.next_due_ms())

    def _judge_from(self, revision: int) -> WatchJudge:
        return WatchJudge(self._truth, self.name, *self._range, revision)

    def _die(self, state: WatchState) -> None:
        """Its user's process ends in the middle of a delivery, and begins anew."""
        self._cluster.note("watch.dies", watcher=self.name)
        self._begin(state.resume_revision)

    def _ended(self, end: Fail) -> None:
        if end.code != COMPACTED:
            raise Violation("watch", f"{self.name} ended with {end.code}: {end.message}")
        self.compacted += 1
        self._kept_from = end.detail
        self._cluster.note("watch.compacted", watcher=self.name, first=end.detail)
        self._state = None
        self._read(self._reads)

    def _connect(self, place: int, topics: Sequence[bytes]) -> None:
        self._links.close(self._link)
        self._links_made += 1
        self._link = f"{self.name}.{self._links_made}".encode()
        self._links.connect(self._link, self._nodes[place], topics, self)

    # -- the read after a watch that ended

    def _read(self, number: int) -> None:
        """Ask a node for the state, and another one if it does not answer."""
        if self._state is not None or number != self._reads:
            return
        self._reads += 1
        self._connect(self._rng.randrange(len(self._nodes)), ())
        self._world.at(10.0, self._ask, self._link)
        self._world.at(READ_AGAIN_MS, self._read, self._reads)

    def _ask(self, link: bytes) -> None:
        if self._state is None and link == self._link:
            query = [RANGE, *self._range, 0, False, False]
            self._links.request(link, ReadRequest(self._reads, STALE, [query]))

    def _take_read(self, answer: ReadAnswer) -> None:
        rows = [(row.key, row.value, row.modify_revision) for row in answer.results[0].rows]
        if rows != self._truth.rows(*self._range, answer.revision):
            raise Violation(
                "watch", f"{self.name} reads another state than that of revision {answer.revision}"
            )
        if answer.revision + 1 >= self._kept_from:
            self._begin(answer.revision + 1)
        # Else the node lags behind the one that has compacted: another is asked soon.

    # -- what arrives

    def arrive_event(self, link: bytes, cluster: str, event: Event) -> None:
        """See :class:`~paxosd.sim.world.event_links.WatcherEnd`."""
        state = self._state
        if isinstance(event, LearnedEvent | MembersEvent):
            return  # no watcher subscribes to these
        if state is not None and link == self._link:
            self._perform(state, state.on_event(state.attempt, cluster, event, self._now()))

    def arrive_answer(self, link: bytes, message: ServerMessage) -> None:
        """See :class:`~paxosd.sim.world.event_links.WatcherEnd`."""
        state = self._state
        if link != self._link:
            return
        if state is None:
            if isinstance(message, ReadAnswer):
                self._take_read(message)
        elif isinstance(message, HistoryAnswer | RefusalAnswer):
            count = len(self._nodes)
            effects = state.on_answer(state.attempt, message, self._now(), nodes=count)
            self._perform(state, effects)

    def disconnected(self, link: bytes, reason: str) -> None:
        """See :class:`~paxosd.sim.world.event_links.WatcherEnd`."""
        state = self._state
        if state is not None and link == self._link:
            self._perform(state, state.on_disconnect(state.attempt, reason, self._now()))

    # -- time

    def _now(self) -> int:
        return int(self._world.now_ms)

    def _plan_wake(self, due_ms: int | None) -> None:
        """Wake up at that time."""
        if due_ms is not None and due_ms < self._wake_ms:
            self._wake_ms = due_ms
            self._world.at(max(due_ms - self._world.now_ms, 0.0), self._on_wake, due_ms)

    def _on_wake(self, due_ms: int) -> None:
        if due_ms != self._wake_ms:
            return
        self._wake_ms = float("inf")
        state = self._state
        if state is not None:
            self._perform(state, state.on_tick(self._now()))


def make_watchers(
    cluster: SimCluster, rng: random.Random, count: int | None, keys: int
) -> list[SimWatcher]:
    """The watchers of a run. ``count`` None: as drawn from ``rng``. A run without watchers is not
    changed by this draw."""
    watched = rng.random() < WATCHED
    if count is None:
        count = rng.randint(1, WATCHERS_MAX) if watched else 0
    if not count:
        return []
    cluster.network.events.trouble = rng.choice(_TROUBLES)
    truth = cluster.invariants.watch_changes()
    watchers: list[SimWatcher] = []
    for number in range(1, count + 1):
        key, prefix = rng.choice(
            ((b"", True), (b"k", True), (b"k%d" % rng.randrange(keys), rng.random() < 0.5))
        )
        plan = WatchPlan(
            key=key,
            prefix=prefix,
            from_revision=rng.choice((None, 1)),
            options=rng.choice(_OPTIONS),
        )
        watchers.append(SimWatcher(cluster, truth, f"w{number}", plan))
    return watchers
