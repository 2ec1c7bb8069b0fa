"""The lines of a timeline: what belongs together is one line, with a count.

the same message to several nodes     one line with all of them
slots one after the other             one line with the first and the last
heartbeats, syncs and the like        counted, in one line a node and second
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from paxosctl.inspection.events import (
    MESSAGES,
    NOTES,
    RUNS,
    ballot_of,
    detail,
    event_id,
    has_ballot,
    headline,
    note_event,
    note_fields,
    slots_words,
)
from paxosd.recorder.event import MEMBER, PROCESSOR, SUM, SYNCED, WRITE, Event

BACKGROUND = frozenset(
    (
        SYNCED,
        SUM,
        PROCESSOR,
        *(MESSAGES[name] for name in ("heartbeat", "heartbeat_ack", "read_index",
                                      "read_index_reply", "hello", "welcome", "limits", "founding",
                                      "genesis")),
    )
)  # fmt: skip
"""Kinds that come all the time, and say little one by one."""
BACKGROUND_US = 1_000_000


@dataclass(slots=True)
class TimelineLine:
    """``count``: of the events that it stands for; ``first_id``: the first one's name; ``level``:
    of a line of the log; ``peers``: to or from whom."""

    time_us: int
    node: str
    what: str
    peers: list[str]
    words: str
    first_id: str
    count: int = 1
    level: str = ""


def single(event: Event) -> TimelineLine:
    """The line of one event alone."""
    level = str(note_fields(event.text).get("level", "")) if event.kind in NOTES else ""
    peers = [event.peer] if event.peer and event.kind != MEMBER else []
    what = "" if event.kind in NOTES else headline(event)
    return TimelineLine(
        event.wall_us, event.node, what, peers, detail(event), event_id(event), 1, level
    )


def folded(events: Iterable[Event]) -> Iterator[TimelineLine]:
    """All lines of all events."""
    folding = Folding()
    yield from folding.lines(events)
    yield from folding.rest()


class Folding:
    """Folds events that come a part at a time: what is counted goes on over the parts."""

    def __init__(self, *, background: bool = True) -> None:
        """``background``: whether what comes all the time has lines at all."""
        self._shows_background = background
        self._background: dict[str, _Background] = {}
        self._run: _Run | None = None

    def lines(self, events: Iterable[Event]) -> Iterator[TimelineLine]:
        """The lines, as far as they are complete."""
        for event in events:
            if event.kind in BACKGROUND:
                if self._shows_background:
                    yield from self._count(event)
                continue
            if self._run is not None and self._run.take(event):
                continue
            yield from self.pause()
            self._run = _Run(event)
            if note_event(event) == "node.stopped" and event.node in self._background:
                yield self._background.pop(event.node).line()

    def _count(self, event: Event) -> Iterator[TimelineLine]:
        counts = self._background.get(event.node)
        if counts is not None and event.wall_us - counts.since_us >= BACKGROUND_US:
            yield from self.pause()
            yield counts.line()
            counts = None
        if counts is None:
            counts = self._background[event.node] = _Background(event)
        counts.add(event)

    def pause(self) -> Iterator[TimelineLine]:
        """The line that is still open, for nobody knows when the next event comes; what is counted
        is not ended by it."""
        if self._run is not None:
            yield self._run.line()
        self._run = None

    def rest(self) -> Iterator[TimelineLine]:
        """All that is left."""
        yield from self.pause()
        for counts in sorted(self._background.values(), key=lambda each: each.since_us):
            yield counts.line()
        self._background.clear()


class _Background:
    """What is counted of one node."""

    def __init__(self, first: Event) -> None:
        self.since_us = first.wall_us
        self._until_us = first.wall_us
        self._node = first.node
        self._first_id = event_id(first)
        self._total = 0
        self._counts: dict[str, dict[str, int]] = {}
        """Kind → what was done with such messages → how often."""

    def add(self, event: Event) -> None:
        kind, _, done = headline(event).partition(" ")
        counts = self._counts.setdefault(kind, {})
        counts[done] = counts.get(done, 0) + 1
        self._total += 1
        self._until_us = max(self._until_us, event.wall_us)

    def line(self) -> TimelineLine:
        words = "; ".join(
            f"{kind} {', '.join(f'{count} {done}'.rstrip() for done, count in counts.items())}"
            for kind, counts in self._counts.items()
        )
        return TimelineLine(self._until_us, self._node, "…", [], words, self._first_id, self._total)


class _Run:
    """Events of one node that are one line."""

    def __init__(self, first: Event) -> None:
        self._first = self._last = first
        self._peers = [first.peer] if first.peer and first.kind != MEMBER else []
        self._count = 1

    def take(self, event: Event) -> bool:
        """Whether it belongs to this line."""
        first, last = self._first, self._last
        if (event.node, event.kind, event.code) != (first.node, first.kind, first.code):
            return False
        if event.kind in NOTES or event.kind == MEMBER:
            return False
        said = event.slot, event.round, event.voter, event.x, event.y
        if event.peer and event.peer != last.peer and said == (
            last.slot, last.round, last.voter, last.x, last.y
        ) and first is last:  # fmt: skip
            if event.peer in self._peers:
                return False
            self._peers.append(event.peer)
            self._count += 1
            return True
        same_ballot = (event.round, event.voter) == (first.round, first.voter)
        if not has_ballot(event.kind) or not same_ballot or len(self._peers) > 1:
            return False
        end = last.x if last.kind in RUNS else last.slot
        if event.peer != first.peer or not first.slot or event.slot != end + 1:
            return False
        self._last = event
        self._count += 1
        return True

    def line(self) -> TimelineLine:
        line = single(self._first)
        line.peers = self._peers
        line.count = self._count
        if self._last is not self._first and self._first.kind != WRITE:
            end = self._last.x if self._last.kind in RUNS else self._last.slot
            line.words = f"{ballot_of(self._first).shown()} {slots_words(self._first.slot, end)}"
        return line
