"""What nodes recorded of themselves and to each other, read once for all that asks what went wrong.

A life is one run of a process. Its times are those of its wall clock without the jumps
(``steady_clock.py``); the lives are put on one axis by the messages between them
(``message_delays.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from paxosctl.inspection.events import (
    ACCEPT,
    ACCEPTED,
    MESSAGES,
    NOTES,
    note_event,
)
from paxosctl.inspection.recordings import Recordings, Window
from paxosctl.inspection.steady_clock import Jump
from paxosd.recorder.block import Row
from paxosd.recorder.event import (
    MEMBER,
    PROCESSOR,
    PUBLISHED,
    RECEIVED,
    SENT,
    START,
    SYNCED,
    WRITE,
    Event,
)

MESSAGE_KINDS = frozenset(
    (ACCEPT, ACCEPTED, *(MESSAGES[name] for name in ("heartbeat", "heartbeat_ack", "read_index",
                                                     "read_index_reply", "hello")))
)  # fmt: skip
"""Kinds of which each message says something else, mostly, and that there are many of."""
_KINDS = MESSAGE_KINDS | {SYNCED, PROCESSOR, START, MEMBER, WRITE}
_HELLO = MESSAGES["hello"]
SAMPLED_EVENTS = 175_000
"""Of recordings with so many events every message is looked at, of larger ones a part."""
GAP_US_MIN = 350_000
"""A process that records nothing for so long stood still: it looks at its processor times every
100 ms."""
WRITE_US = 10_000
"""Of answers that follow each other so soon, one is looked at."""
HOLE_EDGE_US = 300_000
"""So near to a hole in a recording nothing is concluded from what is not there."""
Key = tuple[int, str, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Gap:
    """Nothing is recorded between the two. ``ran_us``, ``waited_us``: what the loop's thread had of
    the processors meanwhile; -1: not recorded."""

    before: Event
    after: Event
    ran_us: int = -1
    waited_us: int = -1


@dataclass(slots=True)
class Life:
    """``axis_us``: added to its steady times it gives those that are shown. ``sent``: message →
    when, by the peer, "" all of them; ``received``: by the sender."""

    node: str
    first: Event
    last: Event
    axis_us: int = 0
    start: Event | None = None
    gaps: list[Gap] = field(default_factory=list)
    syncs: list[Event] = field(default_factory=list)
    processor: list[Event] = field(default_factory=list)
    jumps: list[tuple[Event, int]] = field(default_factory=list)
    notes: list[Event] = field(default_factory=list)
    members: list[Event] = field(default_factory=list)
    hellos: list[Event] = field(default_factory=list)
    writes: list[Event] = field(default_factory=list)
    """Of each 50 ms the first request that was answered well."""
    holes: list[tuple[int, int]] = field(default_factory=list)
    """From when until when something that it recorded is missing, without ``axis_us``."""
    sent: dict[str, list[tuple[Key, Event]]] = field(default_factory=dict)
    received: dict[str, list[tuple[Key, Event]]] = field(default_factory=dict)

    def at(self, event: Event) -> int:
        """When that was, on the axis."""
        return event.wall_us + self.axis_us

    def holds(self, event: Event) -> bool:
        """Whether this run recorded it."""
        return (self.node == event.node and self.first.boot_count == event.boot_count
                and self.first.mono_us <= event.mono_us <= self.last.mono_us)  # fmt: skip

    def misses(self, since_us: int, until_us: int) -> bool:
        """Whether something that it recorded between the two, on the axis, may be missing."""
        return any(
            begin + self.axis_us <= until_us + HOLE_EDGE_US
            and since_us - HOLE_EDGE_US <= end + self.axis_us
            for begin, end in self.holes
        )

    @staticmethod
    def steady_us(event: Event) -> int:
        """When that was on its wall clock without the jumps: wall clocks are kept together, and
        monotonic ones drift apart."""
        return event.wall_us

    @property
    def begun_us(self) -> int:
        """On the axis."""
        return self.at(self.first)

    @property
    def last_us(self) -> int:
        """When it recorded last, on the axis."""
        return self.at(self.last)

    def note(self, *names: str) -> Event | None:
        """Its first line of such a name."""
        return next((each for each in self.notes if note_event(each) in names), None)


def lives_of(recordings: Recordings, window: Window) -> list[Life]:
    """All runs of all nodes, in their order for each node."""
    events = sum(files.count_events() for files in recordings.nodes.values())
    every = 1 + events // SAMPLED_EVENTS

    written_us = -WRITE_US

    def keep(row: Row) -> bool:
        nonlocal written_us
        kind = row[1]
        if kind == WRITE and not row[4]:
            # Times count from a moment that changes now and then: then one too many is taken.
            if abs(row[0] - written_us) < WRITE_US:
                return False
            written_us = row[0]
            return True
        if kind == ACCEPT:
            return row[5] % every == 0
        if kind == ACCEPTED:
            return row[8] % every == 0
        return kind in _KINDS

    lives: list[Life] = []
    for node in recordings.nodes:
        reader = _Reader(node, recordings.nodes[node].clock.jumps)
        for event in recordings.node_events(node, window, keep):
            reader.take(event)
        for life in reader.lives:
            life.holes = recordings.holes(node)
            life.gaps = [
                gap for gap in life.gaps
                if not life.misses(gap.before.wall_us, gap.after.wall_us)
            ]  # fmt: skip
        lives += reader.lives
    return lives


class _Reader:
    """Follows one node's events."""

    def __init__(self, node: str, jumps: Sequence[Jump]) -> None:
        self.lives: list[Life] = []
        self._node = node
        self._jumps = list(jumps)

    def take(self, event: Event) -> None:
        life = self.lives[-1] if self.lives else None
        if (life is None or event.boot_count != life.last.boot_count
                or (event.kind == START and life.start is not None)):  # fmt: skip
            life = Life(self._node, event, event)
            self.lives.append(life)
        self._look_at_times(life, event)
        life.last = event
        self._sort(life, event)

    def _look_at_times(self, life: Life, event: Event) -> None:
        last = life.last
        if event.mono_us - last.mono_us >= GAP_US_MIN:
            known = event.kind == PROCESSOR
            life.gaps.append(Gap(last, event, event.x if known else -1, event.y if known else -1))
        elif (event.kind == PROCESSOR and life.gaps and life.gaps[-1].ran_us < 0
                and event.mono_us - life.gaps[-1].after.mono_us < GAP_US_MIN):  # fmt: skip
            gap = life.gaps[-1]
            life.gaps[-1] = Gap(gap.before, gap.after, event.x, event.y)
        while self._jumps and self._jumps[0].boot_count <= event.boot_count and (
            self._jumps[0].boot_count < event.boot_count or event.mono_us >= self._jumps[0].mono_us
        ):  # fmt: skip
            jump = self._jumps.pop(0)
            if jump.boot_count == event.boot_count:
                life.jumps.append((event, jump.moved_us))

    def _sort(self, life: Life, event: Event) -> None:
        kind = event.kind
        if kind in MESSAGE_KINDS:
            key = event.kind, event.voter, event.round, event.slot, event.x, event.y
            if event.code == RECEIVED:
                life.received.setdefault(event.peer, []).append((key, event))
                if kind == _HELLO:
                    life.hellos.append(event)
            elif event.code in (SENT, PUBLISHED):
                life.sent.setdefault(event.peer, []).append((key, event))
        elif kind == SYNCED:
            life.syncs.append(event)
        elif kind == PROCESSOR:
            life.processor.append(event)
        elif kind == START:
            life.start = event
        elif kind == MEMBER:
            life.members.append(event)
        elif kind in NOTES:
            life.notes.append(event)
        elif kind == WRITE and not event.code and (
            not life.writes or event.mono_us - life.writes[-1].mono_us >= 50_000
        ):  # fmt: skip
            life.writes.append(event)
