"""The data of the page: the picture as columns of numbers and short texts.

    nodes, ballots, families, kinds, whats, fates, faults     texts that the columns point into
    events   n node · t µs since base_us · k kind · f family · b ballot, -1 none · s slot, 0 none ·
             l last slot · p peer, -1 none · w what happened · d detail · i name · c column ·
             m of a note 1 mark, 2 loud mark
    arrows   s source · t target, -1 none · r receiver · f fate · x fault, -1 none · y 1 a repeat
    causes   pairs (event, what it follows from), one after another

``paxosctl/diagram/page/layout.js`` reads it.
"""

import json
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from paxosctl.diagram.arrows import FATES
from paxosctl.diagram.diagram import Diagram
from paxosctl.diagram.vocabulary import FAMILIES, family
from paxosctl.inspection.events import (
    NAMES,
    NOTES,
    RUNS,
    ballot_of,
    detail,
    event_id,
    has_ballot,
    headline,
    note_event,
    note_fields,
)
from paxosd.core.types import Ballot
from paxosd.host.printable import escape_controls
from paxosd.recorder.event import INSTALLED, MEMBER, START, SUM, SYNCED, Event

DETAIL_MAX = 300
"""Characters of a line of the log that are shown."""
LOUD = frozenset(("warning", "error", "critical"))
_NO_SLOT = frozenset((SYNCED, START, MEMBER, SUM, INSTALLED, *NOTES))
T = TypeVar("T", bound=Hashable)


class _Table(Generic[T]):
    """Each value once; its place stands for it."""

    def __init__(self) -> None:
        self._places: dict[T, int] = {}

    def place(self, value: T) -> int:
        return self._places.setdefault(value, len(self._places))

    def values(self) -> list[T]:
        return list(self._places)


def short(text: str) -> str:
    """One line that is not too long, without control characters."""
    text = escape_controls(text, "")
    return text if len(text) <= DETAIL_MAX else text[: DETAIL_MAX - 1] + "…"


def what_of(event: Event) -> str:
    """A few words: ``accept sent``, ``leader.elected``."""
    return note_event(event) or headline(event)


def slots_of(event: Event) -> tuple[int, int]:
    """The first and the last slot that it is about; zeros: none."""
    if event.kind in NOTES:
        slot = note_fields(event.text).get("slot")
        return (slot, slot) if isinstance(slot, int) and 0 <= slot < 1 << 53 else (0, 0)
    if event.kind in _NO_SLOT:
        return 0, 0
    return event.slot, max(event.slot, event.x) if event.kind in RUNS else event.slot


def ballot_in(event: Event) -> Ballot | None:
    """The ballot that it is about, also of a line of the log."""
    if event.kind in NOTES:
        try:
            return Ballot.of_text(str(note_fields(event.text).get("ballot", "")))
        except ValueError:
            return None
    return ballot_of(event) if has_ballot(event.kind) and event.round else None


def _mark(event: Event) -> int:
    if event.kind == START:
        return 1
    if event.kind not in NOTES:
        return 0
    return 2 if note_fields(event.text).get("level") in LOUD else 1


def page_data(diagram: Diagram, title: str) -> dict[str, Any]:
    """Everything that the page knows."""
    lanes = {name: place for place, name in enumerate(diagram.nodes)}
    base_us = min((event.wall_us for event in diagram.events), default=0)
    ballots, kinds, whats = _Table[str](), _Table[str](), _Table[str]()
    faults = _Table[str]()
    columns: dict[str, list[Any]] = {name: [] for name in "ntkfbslpwdicm"}
    for place, event in enumerate(diagram.events):
        ballot = ballot_in(event)
        first, last = slots_of(event)
        row = {
            "n": lanes[event.node],
            "t": event.wall_us - base_us,
            "k": kinds.place(NAMES.get(event.kind, str(event.kind))),
            "f": FAMILIES.index(family(event)),
            "b": -1 if ballot is None else ballots.place(ballot.shown()),
            "s": first,
            "l": last,
            "p": lanes.get(event.peer, -1),
            "w": whats.place(short(what_of(event))),
            "d": short(detail(event)),
            "i": event_id(event),
            "c": diagram.columns[place],
            "m": _mark(event),
        }
        for name, value in row.items():
            columns[name].append(value)
    return {
        "version": 1,
        "title": title,
        "base_us": base_us,
        "heads": diagram.heads,
        "left_out": diagram.left_out,
        "nodes": diagram.nodes,
        "events": columns,
        "arrows": _arrows(diagram, lanes, faults),
        "causes": [
            each
            for place, causes in enumerate(diagram.causes)
            for cause in causes
            for each in (place, cause)
        ],
        "reigns": [
            [lanes[each.node], each.first, -1 if each.last is None else each.last,
             ballots.place(each.ballot.shown())]
            for each in diagram.reigns
        ],
        "gaps": [[-1 if before is None else before, after] for before, after in diagram.gaps],
        "ballots": ballots.values(),
        "families": list(FAMILIES),
        "kinds": kinds.values(),
        "whats": whats.values(),
        "fates": list(FATES),
        "faults": faults.values(),
        "fault_words": diagram.faults,
    }  # fmt: skip


def _arrows(diagram: Diagram, lanes: dict[str, int], faults: _Table[str]) -> dict[str, list[int]]:
    arrows = diagram.arrows
    return {
        "s": [arrow.source for arrow in arrows],
        "t": [-1 if arrow.target is None else arrow.target for arrow in arrows],
        "r": [lanes[arrow.receiver] for arrow in arrows],
        "f": [FATES.index(arrow.fate) for arrow in arrows],
        "x": [faults.place(arrow.fault) if arrow.fault else -1 for arrow in arrows],
        "y": [int(arrow.is_repeat) for arrow in arrows],
    }


def embedded(data: dict[str, Any]) -> str:
    """The data as JSON that can stand within a script element: nothing in it ends that element or
    begins a comment (HTML, "Restrictions for contents of script elements")."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
