"""A few slots as a sequence diagram in text: Mermaid, and mscgen.

Both draw one line below the other: a message stands where it arrives, and one that does not arrive
where it was sent.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from paxosctl.diagram.arrows import ARRIVED, DOWN_FATE, LATER, LOST, UNSENT_FATE, Arrow
from paxosctl.diagram.diagram import Diagram
from paxosctl.diagram.page_data import ballot_in, slots_of, what_of
from paxosctl.inspection.events import NAMES, slots_words
from paxosd.host.printable import escape_controls
from paxosd.recorder.event import START, Event

LINES_MAX = 200
"""Messages and boxes. More of them are no picture on any page, and Mermaid refuses 500 edges."""
_FATES = {LOST: "lost", DOWN_FATE: "receiver down", UNSENT_FATE: "not sent", LATER: "late"}


class TooLongError(ValueError):
    """There is more than a sequence diagram can show; the message is for people."""


@dataclass(frozen=True, slots=True)
class Step:
    """A line of a sequence diagram: something in a node, or a message to another one."""

    node: str
    words: str
    receiver: str = ""
    arrives: bool = True
    is_answer: bool = False


def steps_of(diagram: Diagram, lines_max: int = LINES_MAX) -> list[Step]:
    """The lines, in the order of the events. Raises TooLongError."""
    found = list(_steps(diagram))
    if len(found) > lines_max:
        raise TooLongError(
            f"these are {len(found):,} lines of a sequence diagram, and {lines_max:,} are allowed: "
            "choose fewer with --slots 7 or 7..8, --since and --until, or --kind; -o FILE.html "
            "draws many"
        )
    return found


def _steps(diagram: Diagram) -> Iterator[Step]:
    at: dict[int, list[Arrow]] = {}
    for arrow in diagram.arrows:
        at.setdefault(arrow.source if arrow.target is None else arrow.target, []).append(arrow)
    for place, event in enumerate(diagram.events):
        if event.kind >= START:
            yield Step(event.node, _local_words(event))
        for arrow in at.get(place, ()):
            source = diagram.events[arrow.source]
            fate = _FATES.get(arrow.fate, "" if arrow.fate == ARRIVED else "no arrival recorded")
            words = [NAMES.get(source.kind, "message"), _about(source), fate and f"({fate})",
                     arrow.fault and f"[fault {arrow.fault}]",
                     "(again)" if arrow.is_repeat else ""]  # fmt: skip
            yield Step(source.node, " ".join(filter(None, words)), arrow.receiver,
                       arrow.target is not None, source.kind in _ANSWERS)  # fmt: skip


_ANSWERS = frozenset(
    number for number, name in NAMES.items() if name.endswith("_reply") or name in
    ("promise", "nack", "accepted", "votes", "decisions", "heartbeat_ack", "welcome")
)  # fmt: skip


def _local_words(event: Event) -> str:
    return " ".join(filter(None, [what_of(event), _about(event)]))


def _about(event: Event) -> str:
    """Ballot and slots, as far as it has them."""
    ballot = ballot_in(event)
    first, last = slots_of(event)
    words = [ballot.shown()] if ballot is not None and ballot.round else []
    if first:
        words.append(slots_words(first, last))
    return " ".join(words)


def mermaid(nodes: Sequence[str], steps: Sequence[Step]) -> str:
    """As Mermaid's sequenceDiagram."""
    ids = _identifiers(nodes)
    lines = ["sequenceDiagram"]
    lines += [f"    participant {ids[node]} as {_mermaid_text(node)}" for node in nodes]
    for step in steps:
        words = _mermaid_text(step.words)
        if not step.receiver:
            lines.append(f"    Note over {ids[step.node]}: {words}")
            continue
        dots = "--" if step.is_answer else "-"
        end = ">>" if step.arrives else "x"
        lines.append(f"    {ids[step.node]}{dots}{end}{ids[step.receiver]}: {words}")
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    """Signs that mean something in Mermaid become its entity codes: ``#59;`` is a semicolon."""
    plain = escape_controls(text, "")
    return re.sub(r"[^\w\s.,()\[\]/=+-]", lambda found: f"#{ord(found[0])};", plain) or "-"


def mscgen(nodes: Sequence[str], steps: Sequence[Step]) -> str:
    """As mscgen's language."""
    ids = _identifiers(nodes)
    lines = ["msc {", '  hscale = "1.4";']
    lines.append(
        "  " + ", ".join(f"{ids[node]} [label={_mscgen_text(node)}]" for node in nodes) + ";"
    )
    for step in steps:
        words = f"[label={_mscgen_text(step.words)}]"
        if not step.receiver:
            lines.append(f"  {ids[step.node]} box {ids[step.node]} {words};")
            continue
        arrow = "-x" if not step.arrives else ">>" if step.is_answer else "=>"
        lines.append(f"  {ids[step.node]} {arrow} {ids[step.receiver]} {words};")
    lines.append("}")
    return "\n".join(lines) + "\n"


def _mscgen_text(text: str) -> str:
    plain = escape_controls(text, "").replace("\\", "/").replace('"', "'")
    return f'"{plain}"'


def _identifiers(nodes: Sequence[str]) -> dict[str, str]:
    """A node's name may hold signs that mean something, or be a word of the language."""
    return {node: f"node{place}" for place, node in enumerate(nodes, 1)}
