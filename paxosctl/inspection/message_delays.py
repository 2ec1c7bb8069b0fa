"""How long messages between two lives were on their way, and which never arrived.

Both ends have their own clock. The quick messages of both directions give their difference, as in
``clock_offsets.py``; what a message took above the quick ones of its direction is its delay. So a
delay that is there from the first message to the last shows only in the sum of both directions.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from paxosctl.inspection.events import ACCEPTED, MESSAGES
from paxosctl.inspection.lives import Key, Life
from paxosd.recorder.event import Event

QUICK_PART = 20
"""One of so many messages is quicker than the one that is taken for undisturbed."""
SLACK_US = 5_000
"""A message seems to arrive so much before it was sent at most: a turn has few times."""
SETTLING_US = 1_200_000
"""After a start connections are made; what is lost then says nothing."""

CLOCKS_APART_US = 60_000_000


@dataclass(slots=True)
class Way:
    """One direction between two lives. ``passed``: (sent at, delay), both in µs, the first on the
    axis; ``lost``: when those were sent that did not arrive."""

    sender: Life
    receiver: Life
    passed: list[tuple[int, int, Event]] = field(default_factory=list)
    lost: list[tuple[int, Event]] = field(default_factory=list)
    quick_us: int = 0
    """Receiver's clock less the sender's of an undisturbed message."""

    @property
    def name(self) -> tuple[str, str]:
        """From whom to whom."""
        return self.sender.node, self.receiver.node


def ways_of(lives: Sequence[Life]) -> list[Way]:
    """All directions in which anything was sent, and the lives put on one axis."""
    pairs = []
    for sender in lives:
        for receiver in lives:
            if sender.node != receiver.node and _may_have_met(sender, receiver):
                way = Way(sender, receiver)
                matched = _match(way)
                if matched:
                    pairs.append((way, matched))
    _align(lives, [way for way, _ in pairs])
    for way, matched in pairs:
        _fill(way, matched)
    return [way for way, _ in pairs]


def _may_have_met(one: Life, other: Life) -> bool:
    """By the wall clocks, which may be wrong."""
    return (one.first.wall_us <= other.last.wall_us + CLOCKS_APART_US
            and other.first.wall_us <= one.last.wall_us + CLOCKS_APART_US)  # fmt: skip


def _sent_by(way: Way) -> list[tuple[Key, Event]]:
    to = way.receiver.node
    own, all_ = way.sender.sent.get(to, []), way.sender.sent.get("", [])
    return own + all_ if all_ else own


def _match(way: Way) -> list[tuple[Event, Event | None]]:
    """Each message that was sent, with its arrival. A message that says the same as others is the
    last that was sent before."""
    arrivals: dict[Key, list[Event]] = {}
    for key, event in way.receiver.received.get(way.sender.node, ()):
        arrivals.setdefault(key, []).append(event)
    sent: dict[Key, list[Event]] = {}
    for key, event in _sent_by(way):
        sent.setdefault(key, []).append(event)
    matched: list[tuple[Event, Event | None]] = []
    differences: list[int] = []
    for key, events in sent.items():
        came = arrivals.get(key)
        if came is None:
            matched += [(event, None) for event in events]
        elif len(events) == 1:
            matched.append((events[0], came[0]))
            differences.append(came[0].mono_us - events[0].mono_us)
    if not differences:
        return []
    way.quick_us = sorted(differences)[len(differences) // QUICK_PART]
    for key, events in sent.items():
        if len(events) > 1 and key in arrivals:
            matched += _match_alike(events, arrivals[key], way.quick_us)
    return matched


def _match_alike(
    events: list[Event], arrivals: list[Event], quick_us: int
) -> list[tuple[Event, Event | None]]:
    left = sorted(events, key=lambda each: each.mono_us)
    pairs: list[tuple[Event, Event | None]] = []
    for came in arrivals:
        times = [each.mono_us for each in left]
        place = bisect_right(times, came.mono_us - quick_us + SLACK_US) - 1
        if place >= 0:
            pairs.append((left.pop(place), came))
    # A repeated accept or vote is the same message: it has arrived if one of them did.
    lost = [] if pairs and not _is_beat(events[0]) else [(each, None) for each in left]
    return pairs + lost


def _is_beat(event: Event) -> bool:
    return event.kind == MESSAGES["heartbeat"]


def _align(lives: Sequence[Life], ways: Sequence[Way]) -> None:
    """The axis of each life, from the first one over the ways that go both ways."""
    quick = {(id(way.sender), id(way.receiver)): way.quick_us for way in ways}
    done: set[int] = set()
    for root in lives:
        if id(root) in done:
            continue  # else nothing connects it with those before: its wall clock is all there is
        waiting = deque([root])
        done.add(id(root))
        while waiting:
            here = waiting.popleft()
            for other in lives:
                there = quick.get((id(here), id(other)))
                back = quick.get((id(other), id(here)))
                if id(other) in done or there is None or back is None:
                    continue
                other.axis_us = here.axis_us - (there - back) // 2
                done.add(id(other))
                waiting.append(other)


def _fill(way: Way, matched: list[tuple[Event, Event | None]]) -> None:
    sender, receiver = way.sender, way.receiver
    arrived = [sender.at(event) for event, came in matched if came is not None]
    settled_us = max(sender.begun_us, receiver.begun_us, min(arrived)) + SETTLING_US
    end_us = receiver.last_us
    for event, came in matched:
        sent_us = sender.at(event)
        if came is not None:
            delay_us = came.mono_us - event.mono_us - way.quick_us
            if sent_us >= settled_us or delay_us < SETTLING_US // 4:
                way.passed.append((sent_us, max(0, delay_us), event))
        elif settled_us <= sent_us <= end_us and (
            event.kind != ACCEPTED or receiver.received.get(sender.node)
        ):
            way.lost.append((sent_us, event))
    way.passed.sort(key=lambda each: each[0])
    way.lost.sort(key=lambda each: each[0])
