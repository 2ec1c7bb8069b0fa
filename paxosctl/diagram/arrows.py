"""The messages of a picture: which sending belongs to which arrival, and what became of the others.

A message is known by what it says, and repeats say the same. Of one message between two nodes the
last arrival belongs to the last sending before it, and so on backwards: with as many arrivals as
sendings that is first in, first out; with fewer the earlier sendings are the ones that were lost.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from paxosctl.diagram.link_faults import LinkFaults
from paxosctl.diagram.spans import DOWN, RECORDING, Spans
from paxosd.recorder.event import PUBLISHED, RECEIVED, SENT, START, UNSENT, Event

ARRIVED, LOST, DOWN_FATE, UNSENT_FATE, LATER, OPEN = (
    "arrived", "lost", "down", "unsent", "later", "open",
)  # fmt: skip
FATES = (ARRIVED, LOST, DOWN_FATE, UNSENT_FATE, LATER, OPEN)
"""LOST: the receiver was recording, and it never came. DOWN_FATE: no run of the receiver was
there. LATER: it came after what is drawn. OPEN: not known."""
Message = tuple[object, ...]


@dataclass(slots=True)
class Arrow:
    """``source``, ``target``: places among the events; ``target`` None: it did not arrive within
    what is drawn. ``fault``: the rule that it met, "" for none. ``is_unsure``: it may be one that
    came again."""

    source: int
    target: int | None
    receiver: str
    fate: str = ARRIVED
    is_repeat: bool = False
    fault: str = ""
    is_unsure: bool = False


def message_of(event: Event, sender: str, receiver: str) -> Message:
    """What names a message: who says what to whom."""
    return (sender, receiver, event.kind, event.voter, event.round, event.slot, event.x, event.y)


def arrows_of(events: Sequence[Event], nodes: Sequence[str]) -> list[Arrow]:
    """All arrows between these nodes, by their sending; those that do not arrive are OPEN."""
    sendings: dict[Message, list[int]] = defaultdict(list)
    arrivals: dict[Message, list[int]] = defaultdict(list)
    refused: dict[Message, list[int]] = defaultdict(list)
    arrows: list[Arrow] = []
    known = frozenset(nodes)
    for place, event in enumerate(events):
        if event.kind >= START:
            continue
        if event.code == RECEIVED and event.peer in known:
            arrivals[message_of(event, event.peer, event.node)].append(place)
        elif event.code == UNSENT and event.peer in known:
            refused[message_of(event, event.node, event.peer)].append(place)
        else:
            for receiver in _receivers(event, nodes):
                if receiver in known:
                    sendings[message_of(event, event.node, receiver)].append(place)
    for message, sent in sendings.items():
        found = list(_paired(str(message[1]), sent, arrivals.get(message, [])))
        for place in refused.get(message, ()):
            _refuse(found, place)
        arrows += found
    return sorted(arrows, key=lambda each: (each.source, each.receiver))


def _refuse(arrows: list[Arrow], place: int) -> None:
    """An event UNSENT takes back the last sending before it of the same message."""
    for arrow in reversed(arrows):
        if arrow.source < place and arrow.fate == OPEN:
            arrow.fate = UNSENT_FATE
            return


def _receivers(event: Event, nodes: Sequence[str]) -> Iterable[str]:
    if event.code == SENT:
        return (event.peer,)
    if event.code == PUBLISHED:
        return (node for node in nodes if node != event.node)
    return ()


def _paired(receiver: str, sent: list[int], came: list[int]) -> Iterator[Arrow]:
    target_of, repeats = _from_the_last(sent, came)
    if repeats:
        target_of, repeats = _from_the_first(sent, came)
    for place in sent:
        arrival = target_of.get(place)
        fate = ARRIVED if arrival is not None else OPEN
        # One that came again may be a later sending, which clocks that are a little wrong put
        # behind it: of such a sending nothing is said.
        yield Arrow(place, arrival, receiver, fate, is_unsure=fate == OPEN and bool(repeats))
    for target in repeats:
        before = bisect_left(sent, target) - 1
        if before >= 0:
            yield Arrow(sent[before], target, receiver, is_repeat=True)


def _from_the_last(sent: list[int], came: list[int]) -> tuple[dict[int, int], list[int]]:
    """Sending → its arrival, and the arrivals that are left."""
    at = len(sent) - 1
    target_of: dict[int, int] = {}
    left: list[int] = []
    for target in reversed(came):
        while at >= 0 and sent[at] > target:
            at -= 1
        if at >= 0:
            target_of[sent[at]] = target
            at -= 1
        else:
            left.append(target)
    return target_of, left


def _from_the_first(sent: list[int], came: list[int]) -> tuple[dict[int, int], list[int]]:
    """The same where there are more arrivals than sendings: the later ones are left."""
    target_of: dict[int, int] = {}
    left: list[int] = []
    free: list[int] = []
    at = 0
    for target in came:
        while at < len(sent) and sent[at] < target:
            free.append(sent[at])
            at += 1
        if free:
            target_of[free.pop()] = target
        else:
            left.append(target)
    return target_of, left


def open_messages(events: Sequence[Event], arrows: Iterable[Arrow]) -> dict[Message, int]:
    """Message → how many sendings of it have no arrival in the picture."""
    found: dict[Message, int] = defaultdict(int)
    for arrow in arrows:
        if arrow.fate == OPEN:
            event = events[arrow.source]
            found[message_of(event, event.node, arrow.receiver)] += 1
    return found


def judge(
    events: Sequence[Event],
    arrows: Iterable[Arrow],
    came_later: Collection[Message],
    spans: Spans,
    faults: LinkFaults,
) -> None:
    """Decide the fate of the open ones, and which met a fault. ``came_later``: messages that
    arrive beyond what is drawn."""
    for arrow in arrows:
        event = events[arrow.source]
        link = event.node, arrow.receiver
        if arrow.fate == OPEN:
            if message_of(event, *link) in came_later:
                arrow.fate = LATER
                continue
            if arrow.is_unsure:
                continue
            state = spans.state(arrow.receiver, event.wall_us)
            if state == RECORDING:
                arrow.fate = LOST
                arrow.fault = faults.loss(*link, event.kind, event.wall_us)
            elif state == DOWN:
                arrow.fate = DOWN_FATE
        elif arrow.target is not None:
            target = events[arrow.target]
            took_us = target.wall_us - event.wall_us
            arrow.fault = (
                faults.repeat(*link, event.kind, target.wall_us) if arrow.is_repeat
                else faults.delay(*link, event.kind, target.wall_us, took_us)
            )  # fmt: skip
