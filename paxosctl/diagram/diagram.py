"""A picture before it is drawn: lanes, events in columns, arrows, causes, and who led when.

A column holds events that happened at about the same time: one of a node, or the sendings of one
message to several. No arrow ends in the column in which it begins, or left of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from paxosctl.diagram.arrows import Arrow, Message, arrows_of, judge, message_of, open_messages
from paxosctl.diagram.causes import causes_of
from paxosctl.diagram.gathering import Gathered, Wanted, gather
from paxosctl.diagram.link_faults import LinkFaults, words_of
from paxosctl.diagram.spans import spans_of
from paxosctl.inspection.events import (
    ACCEPT,
    ballot_of,
    note_event,
    note_fields,
)
from paxosctl.inspection.recordings import Recordings, Window, measure_clocks
from paxosctl.inspection.timeline_view import head_lines
from paxosd.core.types import Ballot
from paxosd.recorder.event import RECEIVED, SENT, START, Event

COLUMN_US = 20_000
"""What is further apart does not share a column."""
LATE_US = 10_000_000
"""So long after the end of a picture the arrivals of its messages are looked for."""


@dataclass(slots=True)
class Reign:
    """``node`` led with ``ballot`` from one event of its lane to another; ``last`` None: on."""

    node: str
    ballot: Ballot
    first: int
    last: int | None = None


@dataclass(slots=True)
class Diagram:
    """``columns``, ``causes``: one each event; ``causes`` has places of other events.
    ``gaps``: (last event before, first event after) of a node that was down in between."""

    nodes: list[str]
    events: list[Event] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    causes: list[tuple[int, ...]] = field(default_factory=list)
    reigns: list[Reign] = field(default_factory=list)
    gaps: list[tuple[int | None, int]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    """Sentences: what is read, and what is known of the clocks."""
    left_out: list[str] = field(default_factory=list)
    is_cut: bool = False
    faults: list[str] = field(default_factory=list)
    """Each fault that was put in, in words."""

    @property
    def width(self) -> int:
        """In columns."""
        return max(self.columns, default=-1) + 1

    def count(self, fate: str) -> int:
        """How many arrows had it."""
        return sum(arrow.fate == fate for arrow in self.arrows)


def diagram_of(recordings: Recordings, window: Window, wanted: Wanted) -> Diagram:
    """Read what is wanted, and put it together. Raises OSError."""
    _compare_clocks(recordings)
    gathered = gather(recordings, window, wanted)
    nodes = [name for name in recordings.names if not wanted.nodes or name in wanted.nodes]
    found = made_of(gathered.events, nodes)
    found.heads = head_lines(recordings)
    found.left_out, found.is_cut = list(gathered.left_out), gathered.is_cut
    if gathered.events:
        _judge(found, recordings, gathered)
    return found


def _compare_clocks(recordings: Recordings) -> None:
    """A node that is cut off in the window has no messages there to compare its clock by; then all
    of the recording is looked at."""
    before = recordings.offsets
    if len(before.of) < len(recordings.nodes) > 1:
        measure_clocks(recordings, Window())
        if len(recordings.offsets.of) <= len(before.of):
            recordings.offsets = before


def made_of(events: list[Event], nodes: list[str]) -> Diagram:
    """Of events alone; the fate of a message that does not arrive among them is OPEN."""
    arrows = arrows_of(events, nodes)
    return Diagram(
        nodes,
        events,
        _columns(events, arrows),
        arrows,
        causes_of(events),
        _reigns(events),
        _gaps(events),
    )


def _judge(found: Diagram, recordings: Recordings, gathered: Gathered) -> None:
    events = found.events
    begin_us = min(event.wall_us for event in events)
    end_us = max(event.wall_us for event in events)
    notes = recordings.events(Window(0, end_us), lambda row: False)
    faults = LinkFaults(notes, recordings.names)
    beyond = Window(begin_us, end_us + LATE_US)
    missing = open_messages(events, found.arrows)
    later = _arrivals(recordings, beyond, missing, events) if missing else {}
    came_later = {message for message, count in later.items() if count > 0}
    judge(events, found.arrows, came_later, spans_of(recordings, beyond, found.nodes), faults)
    found.faults = words_of(each for each in faults.all if each.until_us >= begin_us)


def _arrivals(
    recordings: Recordings, window: Window, missing: Mapping[Message, int], drawn: Sequence[Event]
) -> dict[Message, int]:
    """How often each of the missing messages arrived without being drawn."""
    kinds = {message[2] for message in missing}
    seen = {(event.node, event.boot_count, event.seq) for event in drawn}
    counts = dict.fromkeys(missing, 0)
    for event in recordings.events(window, lambda row: row[1] in kinds and row[4] == RECEIVED):
        if event.code == RECEIVED and event.kind < START:
            message = message_of(event, event.peer, event.node)
            if message in counts and (event.node, event.boot_count, event.seq) not in seen:
                counts[message] += 1
    return counts


def _columns(events: Sequence[Event], arrows: Sequence[Arrow]) -> list[int]:
    sources = {arrow.target: arrow.source for arrow in arrows if arrow.target is not None}
    columns: list[int] = []
    last_of: dict[str, int] = {}
    """Node → its last event."""
    column, begun_us = 0, 0
    taken: set[str] = set()
    """Nodes with an event in the column."""
    for place, event in enumerate(events):
        before = last_of.get(event.node)
        last_of[event.node] = place
        if (
            before is not None
            and columns[before] == column
            and _is_same_sending(events[before], event)
        ):
            columns.append(column)
            continue
        source = sources.get(place)
        is_new = (
            event.node in taken
            or (source is not None and columns[source] >= column)
            or abs(event.wall_us - begun_us) > COLUMN_US
        )
        if is_new:
            column += bool(columns)
            taken, begun_us = set(), event.wall_us
        taken.add(event.node)
        columns.append(column)
    return columns


def _is_same_sending(one: Event, other: Event) -> bool:
    return (
        other.kind < START
        and one.code == other.code == SENT
        and one.kind == other.kind
        and one.boot_count == other.boot_count
        and (one.voter, one.round, one.slot) == (other.voter, other.round, other.slot)
        and one.peer != other.peer
    )


def _reigns(events: Sequence[Event]) -> list[Reign]:
    """By the log of the leader; where that is missing, by the first accept that it sends."""
    found: list[Reign] = []
    current: dict[str, Reign] = {}
    last_of: dict[str, int] = {}
    """Node → the last event of which it is known to which run it belongs."""
    for place, event in enumerate(events):
        node, name = event.node, note_event(event)
        before = last_of.get(node, place)
        if is_restart(events[before], event):
            _end(current, node, before)
        reign = current.get(node)
        if name in ("leader.stepped_down", "leader.elected", "leader.lost"):
            fields = note_fields(event.text)
            ballot = _ballot(str(fields.get("ballot", "")))
            if name == "leader.elected" and fields.get("leader") == node:
                if reign is None or reign.ballot != ballot:
                    _end(current, node, place)
                    current[node] = Reign(node, ballot, place)
                    found.append(current[node])
            else:
                _end(current, node, place)
        elif (
            event.kind == ACCEPT
            and event.code == SENT
            and event.voter == node
            and (reign is None or reign.ballot != ballot_of(event))
        ):
            _end(current, node, place)
            current[node] = Reign(node, ballot_of(event), place)
            found.append(current[node])
        if event.boot_count:
            last_of[node] = place
    return found


def _ballot(text: str) -> Ballot:
    try:
        return Ballot.of_text(text)
    except ValueError:
        return Ballot(0, "")


def _end(current: dict[str, Reign], node: str, place: int) -> None:
    reign = current.pop(node, None)
    if reign is not None:
        reign.last = place


def _gaps(events: Sequence[Event]) -> list[tuple[int | None, int]]:
    last_of: dict[str, int] = {}
    first_of: dict[str, int] = {}
    found: list[tuple[int | None, int]] = []
    for place, event in enumerate(events):
        before = last_of.get(event.node)
        first = first_of.setdefault(event.node, place)
        if before is not None and is_restart(events[before], event):
            found.append((before, place))
        elif event.kind == START and events[first].boot_count == event.boot_count:
            found.append((None, first))
        if event.boot_count:
            last_of[event.node] = place
    return found


def is_restart(before: Event, event: Event) -> bool:
    """Whether a node has started anew between two of its events."""
    return 0 < before.boot_count < event.boot_count
