"""Which messages met a fault that was put in on purpose: by the rules in the logs of the receivers,
for there a rule takes hold (``paxosd/faults/plan.py``)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from paxosctl.inspection.events import NAMES, note_fields
from paxosctl.inspection.faults_seen import SeenFault, faults_of
from paxosd.faults.rules import FaultError, FaultRule, parse_rule
from paxosd.recorder.event import Event

_CUTS = frozenset(("drop", "partition", "flap", "isolate", "bridge"))
_DELAYS = frozenset(("delay", "reorder"))
REORDERED_US = 5_000
"""What took less while a rule reorders is not said to have met it."""
EDGE_US = 20_000
"""A line of the log is that much earlier or later than what it is about, at most."""
_TAKEN = ("kind", "from", "to", "on", "message_kinds", "probability", "ms", "every_ms", "oneway")


@dataclass(frozen=True, slots=True)
class _Placed:
    fault: SeenFault
    rule: FaultRule


class LinkFaults:
    """The rules on links, by the node on which each was."""

    def __init__(self, events: Iterable[Event], nodes: Iterable[str]) -> None:
        names = list(nodes)
        self.all = faults_of(events)
        self._at: dict[str, list[_Placed]] = {}
        for fault in self.all:
            rule = _rule(fault, names)
            if rule is not None:
                self._at.setdefault(fault.node, []).append(_Placed(fault, rule))

    def loss(self, sender: str, receiver: str, kind: int, at_us: int) -> str:
        """The name of a rule that can have swallowed it; "": none is known."""
        return self._first(_CUTS, sender, receiver, kind, at_us)

    def repeat(self, sender: str, receiver: str, kind: int, at_us: int) -> str:
        """The same of one that came twice."""
        return self._first(frozenset(("duplicate",)), sender, receiver, kind, at_us)

    def delay(self, sender: str, receiver: str, kind: int, at_us: int, took_us: int) -> str:
        """The same of one that came late."""
        for each in self._matching(_DELAYS, sender, receiver, kind, at_us - took_us, at_us):
            least_us = each.rule.ms * 1000 if each.rule.kind == "delay" else REORDERED_US
            if took_us >= least_us - 1000:
                return each.fault.name
        return ""

    def _first(
        self, kinds: frozenset[str], sender: str, receiver: str, kind: int, at_us: int
    ) -> str:
        matching = self._matching(kinds, sender, receiver, kind, at_us, at_us)
        return next((each.fault.name for each in matching), "")

    def _matching(
        self, kinds: frozenset[str], sender: str, receiver: str, kind: int, begin: int, end: int
    ) -> Iterable[_Placed]:
        for each in self._at.get(receiver, ()):
            fault = each.fault
            is_there = fault.begun.wall_us - EDGE_US <= end and fault.until_us + EDGE_US >= begin
            if (
                is_there
                and each.rule.kind in kinds
                and each.rule.matches(sender, receiver, NAMES.get(kind, ""))
            ):
                yield each


def _rule(fault: SeenFault, nodes: list[str]) -> FaultRule | None:
    """The rule as the line of its beginning has it."""
    if fault.kind not in _CUTS | _DELAYS | {"duplicate"}:
        return None
    fields: Mapping[str, Any] = note_fields(fault.begun.text)
    given = {name: fields[name] for name in _TAKEN if name in fields}
    try:
        return parse_rule(given | {"name": fault.name}, nodes=nodes)
    except FaultError:
        return None


def words_of(faults: Iterable[SeenFault]) -> list[str]:
    """For the list beside a picture, each rule once: its name, what it does, on which nodes."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for fault in faults:
        nodes.setdefault((fault.name, fault.words), []).append(fault.node)
    return [
        f"{name} on {', '.join(sorted(set(where)))}: {words}"
        for (name, words), where in nodes.items()
    ]
