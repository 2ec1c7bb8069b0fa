"""Faults that were put in on purpose, as the lines of the logs say: where, and for how long."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from paxosctl.inspection.events import note_event, note_fields
from paxosd.recorder.event import Event

FOREVER_US = 1 << 62


@dataclass(slots=True)
class SeenFault:
    """A rule on one node. ``hit``: the line of its first effect; None: none is recorded.
    ``is_request``: it is no rule, but one request to crash."""

    node: str
    name: str
    kind: str
    begun: Event
    hit: Event | None = None
    until_us: int = FOREVER_US
    words: str = ""
    is_request: bool = False

    def sentence(self) -> str:
        """``n3 had the fault slow (disk-slow 40 ms on n3)``, without a full stop."""
        if self.is_request:
            return f"{self.node} was asked to crash, and did"
        if self.kind == "crash" and self.hit is not None:
            return f"{self.node} was killed by the fault {self.name} ({self.words})"
        acted = "" if self.hit is not None else "; that it acted is not recorded"
        return f"{self.node} had the fault {self.name} ({self.words}){acted}"

    def may_slow(self, label: str) -> bool:
        """Whether it can be behind a cause of this label (``slow_causes.py``)."""
        if self.kind in _DISK:
            return label == f"{self.node}'s disk"
        if self.kind in _NODE:
            return label.startswith(f"{self.node} ") or label.endswith(f" {self.node}")
        return self.kind in _LINKS and not label.endswith("'s disk")

    def may_end_leader(self, leader: str) -> bool:
        """Whether it can be why a node leads no more."""
        return self.kind in _LINKS or self.node == leader


_DISK = frozenset(("disk-slow", "disk-full", "fsync-error"))
_NODE = frozenset(("pause", "crash"))
_LINKS = frozenset(("drop", "delay", "duplicate", "reorder", "partition", "flap", "isolate",
                    "bridge"))  # fmt: skip


def faults_of(events: Iterable[Event]) -> list[SeenFault]:
    """All of them, in the order in which they began."""
    found: list[SeenFault] = []
    open_: dict[tuple[str, str], SeenFault] = {}
    for event in events:
        name = note_event(event)
        if not name.startswith("fault."):
            if name == "node.starting":  # rules do not outlive the process, but for those restored
                for key in [key for key in open_ if key[0] == event.node]:
                    open_.pop(key).until_us = event.wall_us
            continue
        fields = note_fields(event.text)
        rule = str(fields.get("fault", ""))
        key = event.node, rule
        if name == "fault.added":
            found.append(SeenFault(event.node, rule, str(fields.get("kind", "?")), event,
                                   words=_words(fields)))  # fmt: skip
            open_[key] = found[-1]
        elif name == "fault.crash":
            found.append(SeenFault(event.node, "crash", "crash", event, event, event.wall_us,
                                   "crash", is_request=True))  # fmt: skip
        elif name == "fault.hit":
            if key not in open_:
                found.append(SeenFault(event.node, rule, str(fields.get("kind", "?")), event,
                                       words=_words(fields)))  # fmt: skip
                open_[key] = found[-1]
            if open_[key].hit is None:
                open_[key].hit = event
        elif name == "fault.healed" and key in open_:
            open_.pop(key).until_us = event.wall_us
    return found


def _words(fields: Any) -> str:
    parts = [str(fields.get("kind", "?"))]
    if fields.get("ms"):
        parts.append(f"{fields['ms']} ms")
    for name in ("from", "to", "on"):
        if fields.get(name):
            parts.append(f"{name} {fields[name]}")
    return " ".join(parts)


def in_force(faults: Iterable[SeenFault], begin_us: int, end_us: int) -> list[SeenFault]:
    """Those that were there at some time between the two; each rule once, of the node that it hit
    if there is one."""
    chosen: dict[str, SeenFault] = {}
    for fault in faults:
        if fault.begun.wall_us <= end_us and fault.until_us >= begin_us:
            before = chosen.get(fault.name)
            if before is None or (before.hit is None and fault.hit is not None):
                chosen[fault.name] = fault
    return list(chosen.values())
