"""The question: which faults, and at which point of the run.

    QUESTION  FAULT [, FAULT …] at|from POINT
    FAULT     crash NODE [for 5s] | pause NODE [for 5s] | cut A B | isolate NODE | lose P%
    POINT     slot N [of NODE] | turn N of NODE | the end

``slot N``: when the first node, or NODE, has applied it. Without "for" a fault lasts.
"""

import re
from typing import NamedTuple

from paxosd.core.types import NodeId
from paxosd.host.durations import parse_duration_ms

FORMS = (
    '"crash n2 at slot 812", "cut n1 n3 at slot 40 of n1", "lose 30% from turn 700 of n2", '
    '"crash n1 for 5s, pause n2 for 2s at the end"'
)
_POINT = re.compile(
    r"(?P<faults>.+?)\s+(?:at|from)\s+(?:(?P<what>slot|turn)\s+(?P<number>\d+)"
    r"(?:\s+of\s+(?P<node>\S+))?|the\s+end)"
)
_FAULT = re.compile(
    r"(?P<kind>crash|pause|isolate)\s+(?P<node>\S+)(?:\s+for\s+(?P<time>\S+))?"
    r"|cut\s+(?P<a>\S+)\s+(?P<b>\S+)|lose\s+(?P<share>\d+)\s*%"
)


class QuestionError(ValueError):
    """Not a question; the text says what is."""


class Fault(NamedTuple):
    """``kind``: crash, pause, isolate, cut or lose. ``for_ms``: 0: for good. ``share``: of the
    messages, of lose."""

    kind: str
    nodes: tuple[NodeId, ...] = ()
    for_ms: int = 0
    share: float = 0.0


class Question(NamedTuple):
    """``slot``, ``turn``: 0: not by this; neither: the end of the traces. ``node``: whose; "":
    that of the first fault, or the first that comes to the slot."""

    faults: tuple[Fault, ...]
    slot: int
    turn: int
    node: NodeId


def parse_question(text: str) -> Question:
    """The question in words. Raises QuestionError."""
    found = _POINT.fullmatch(" ".join(text.split()))
    if found is None:
        raise QuestionError(f'"{text}": a question is such as {FORMS}')
    faults = tuple(_parse_fault(each.strip()) for each in found["faults"].split(","))
    number = int(found["number"] or 0)
    if found["what"] and not number:
        raise QuestionError(f'"{text}": slots and turns are numbered from 1')
    slot, turn = (number, 0) if found["what"] == "slot" else (0, number)
    node = found["node"] or ""
    if turn and not node:
        raise QuestionError(f'"{text}": of which node? Each has turns of its own: "turn 7 of n1"')
    return Question(faults, slot, turn, node)


def _parse_fault(text: str) -> Fault:
    found = _FAULT.fullmatch(text)
    if found is None:
        raise QuestionError(
            f'"{text}" is no fault: crash NODE, pause NODE, isolate NODE (each: for 5s), cut A B, '
            "lose 30%"
        )
    if found["kind"]:
        try:
            for_ms = parse_duration_ms(found["time"]) if found["time"] else 0
            if found["time"] and not for_ms:
                raise ValueError("a duration above 0 is needed; without one it lasts")
        except ValueError as error:
            raise QuestionError(f'"{text}": {error}') from error
        return Fault(found["kind"], (found["node"],), for_ms)
    if found["a"]:
        if found["a"] == found["b"]:
            raise QuestionError(f'"{text}": two nodes are needed')
        return Fault("cut", (found["a"], found["b"]))
    if int(found["share"]) > 100:
        raise QuestionError(f'"{text}": 100% is all of them')
    return Fault("lose", share=int(found["share"]) / 100)
