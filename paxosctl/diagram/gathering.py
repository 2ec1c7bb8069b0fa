"""The events of a picture: chosen, in one order, and no more than can be drawn.

If there are more, the last ones are kept, or the first ones where the beginning was asked for
(``from_start``). What is left out then is said, with the times, and how to ask for less.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from paxosctl.diagram.vocabulary import CONTEXT_KINDS, DRAWN, NOT_DRAWN, is_context
from paxosctl.inspection.events import ACCEPTED, NOTES
from paxosctl.inspection.filters import Filter
from paxosctl.inspection.recordings import Recordings, Window
from paxosctl.inspection.timeline_view import clock_time
from paxosd.recorder.block import Keep, Row
from paxosd.recorder.event import PUBLISHED, SYNCED, Event

SMALL_BYTES = 2 << 20
"""Recordings up to this size are read in one go; of larger ones the end is looked for in steps."""
FIRST_STEP_US = 5_000_000
STEP_FACTOR = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """``kinds``: empty: the usual ones (``vocabulary.DRAWN``), or all with ``everything``.
    ``slots``: ranges, in order, or None: all."""

    kinds: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    slots: tuple[tuple[int, int], ...] | None = None
    level: str = "info"
    everything: bool = False
    from_start: bool = False
    events_max: int = 10_000


@dataclass(slots=True)
class Gathered:
    """``events``: in causal order. ``left_out``: sentences; empty: nothing was."""

    events: list[Event] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    is_cut: bool = False


def gather(recordings: Recordings, window: Window, wanted: Wanted) -> Gathered:
    """Choose the events."""
    if wanted.slots is not None:
        return _of_slots(recordings, window, wanted)
    kinds = wanted.kinds or (() if wanted.everything else DRAWN)
    chosen = Filter(kinds, wanted.nodes, None, level=wanted.level)
    keep = _keep_kinds(chosen)
    found = Gathered()
    if wanted.from_start:
        events = filter(chosen.takes, recordings.events(window, keep))
        found.events = list(islice(events, wanted.events_max + 1))
    else:
        found.events = _last(recordings, window, chosen, keep, wanted.events_max)
    _cut(found, wanted)
    if not wanted.kinds and not wanted.everything:
        found.left_out.append(NOT_DRAWN)
    return found


def _keep_kinds(chosen: Filter) -> Keep | None:
    """Both ends of a message are kept, so that the order is still a causal one."""
    return chosen.keep() if chosen.kinds else None


def _last(
    recordings: Recordings, window: Window, chosen: Filter, keep: Keep | None, events_max: int
) -> list[Event]:
    """The last ones, and one more if there are more. A large recording is read from further and
    further back, each time all of it anew: that is twice the last reading at most."""
    total = sum(files.total_bytes for files in recordings.nodes.values())
    end_us = min(window.until_us, recordings.last_us)
    step_us = FIRST_STEP_US
    while True:
        since_us = max(window.since_us, end_us - step_us)
        if total <= SMALL_BYTES or since_us <= recordings.first_us:
            since_us = window.since_us
        part = recordings.events(Window(since_us, window.until_us), keep)
        kept = deque(filter(chosen.takes, part), events_max + 1)
        if len(kept) > events_max or since_us == window.since_us:
            return list(kept)
        step_us *= STEP_FACTOR


def _cut(found: Gathered, wanted: Wanted) -> None:
    events = found.events
    if len(events) <= wanted.events_max:
        return
    found.is_cut = True
    if wanted.from_start:
        del events[wanted.events_max :]
        rest = f"what came after {clock_time(events[-1].wall_us)}"
        which = "first"
    else:
        del events[: -wanted.events_max]
        rest = f"what came before {clock_time(events[0].wall_us)}"
        which = "last"
    found.left_out.append(
        f"only the {which} {wanted.events_max:,} events are drawn: {rest} is left out; ask for "
        "less with --slots, --since, --until, --last, --kind or --node, or for more with --limit"
    )


def _of_slots(recordings: Recordings, window: Window, wanted: Wanted) -> Gathered:
    """The events of the slots, and between the first and the last of these elections, starts,
    faults: what is needed to understand them."""
    assert wanted.slots is not None
    chosen = Filter(wanted.kinds, wanted.nodes, wanted.slots, level=wanted.level)
    keep = chosen.keep()
    times = [
        event.wall_us for event in recordings.events(window, keep)
        if event.kind not in NOTES and chosen.takes(event)
    ]  # fmt: skip
    found = Gathered()
    if not times:
        return found
    narrow = Window(min(times), max(times))
    lanes = frozenset(wanted.nodes)
    beside = () if wanted.kinds else (*CONTEXT_KINDS, SYNCED)

    def keep_both(row: Row) -> bool:
        return row[1] in beside or bool(keep is None or keep(row))

    def is_wanted(event: Event) -> bool:
        if chosen.takes(event):
            return True
        if wanted.kinds or (lanes and event.node not in lanes):
            return False
        return event.kind == SYNCED or is_context(event)

    events = filter(is_wanted, recordings.events(narrow, keep_both))
    found.events = _limited(_with_needed_syncs(events, chosen.takes), wanted)
    _cut(found, wanted)
    return found


def _limited(events: Iterator[Event], wanted: Wanted) -> list[Event]:
    if wanted.from_start:
        return list(islice(events, wanted.events_max + 1))
    return list(deque(events, wanted.events_max + 1))


def _with_needed_syncs(
    events: Iterable[Event], is_of_slots: Callable[[Event], bool]
) -> Iterator[Event]:
    """Without the group commits that made no vote for the slots durable."""
    waiting: list[Event | None] = []
    last: dict[str, int] = {}
    """Node → the place in ``waiting`` of its last sync."""
    base = 0
    for event in events:
        if event.kind == SYNCED:
            place = last.pop(event.node, None)
            if place is not None:
                waiting[place - base] = None
            last[event.node] = base + len(waiting)
        elif event.kind == ACCEPTED and event.code == PUBLISHED and is_of_slots(event):
            last.pop(event.node, None)  # it stays
        waiting.append(event)
        if not last:
            yield from (each for each in waiting if each is not None)
            base += len(waiting)
            waiting.clear()
    unneeded = {place - base for place in last.values()}
    for place, each in enumerate(waiting):
        if each is not None and place not in unneeded:
            yield each
