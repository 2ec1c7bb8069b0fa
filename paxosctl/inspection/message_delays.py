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
DRIFT_STRETCH_US = 60_000_000
DRIFT_US = 12_000
"""Clocks drift apart by so much in that time at most: 200 millionths, twice what machines do."""
NEAR_US = 20_000
"""Messages that are alike are sent further apart than twice this."""
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
    quick_us: dict[int, int] = field(default_factory=dict)
    """Stretch of the sender's time → receiver's clock less the sender's of a quick message."""

    def least_us(self, event: Event) -> int:
        """That of a message sent then."""
        stretch = self.sender.steady_us(event) // DRIFT_STRETCH_US
        found = self.quick_us.get(stretch)
        return self.quick_us[min(self.quick_us, key=lambda each: abs(each - stretch))] if (
            found is None
        ) else found  # fmt: skip

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
    differences: list[tuple[int, int]] = []
    sender, receiver = way.sender, way.receiver
    for key, events in sent.items():
        came = arrivals.get(key)
        if came is None:
            matched += [(event, None) for event in events]
        elif len(events) == 1:
            matched.append((events[0], came[0]))
            sent_us = sender.steady_us(events[0])
            differences.append((sent_us, receiver.steady_us(came[0]) - sent_us))
    if not differences:
        return []
    way.quick_us = _quick(differences)
    way.quick_us = _quick(differences + _nearest(way, sent, arrivals))
    for key, events in sent.items():
        if len(events) > 1 and key in arrivals:
            matched += _match_alike(way, events, arrivals[key])
    return matched


def _nearest(
    way: Way, sent: dict[Key, list[Event]], arrivals: dict[Key, list[Event]]
) -> list[tuple[int, int]]:
    """As the differences of messages that no other is alike, of those that others are alike, where
    one was sent at about the time of what arrived: a process that has just started is slow with its
    first messages, which are alike to none, and beats that are quicker would seem to be the ones
    before them."""
    found: list[tuple[int, int]] = []
    for key, events in sent.items():
        if len(events) == 1 or key not in arrivals:
            continue
        moments = sorted((way.sender.steady_us(each), way.least_us(each)) for each in events)
        due_us = [sent_us + least_us for sent_us, least_us in moments]
        for came in arrivals[key]:
            came_us = way.receiver.steady_us(came)
            place = bisect_right(due_us, came_us)
            near = min(range(max(0, place - 1), min(place + 1, len(due_us))),
                       key=lambda each: abs(due_us[each] - came_us))  # fmt: skip
            if abs(due_us[near] - came_us) <= NEAR_US:
                found.append((moments[near][0], came_us - moments[near][0]))
    return found


def _quick(differences: list[tuple[int, int]]) -> dict[int, int]:
    """Stretch → a quick one of its differences, which follows the drift of clocks, and nothing that
    is faster."""
    stretches: dict[int, list[int]] = {}
    for sent_us, difference in differences:
        stretches.setdefault(sent_us // DRIFT_STRETCH_US, []).append(difference)
    most = max(map(len, stretches.values()))
    found: dict[int, int] = {}
    before: tuple[int, int] | None = None
    for stretch in sorted(stretches):
        ordered = sorted(stretches[stretch])
        if len(ordered) < min(QUICK_PART, most):
            continue
        quick_us = ordered[len(ordered) // QUICK_PART]
        if before is not None:
            most_us = (stretch - before[0]) * DRIFT_US
            quick_us = min(max(quick_us, before[1] - most_us), before[1] + most_us)
        before = stretch, quick_us
        found[stretch] = quick_us
    return found


def _match_alike(
    way: Way, events: list[Event], arrivals: list[Event]
) -> list[tuple[Event, Event | None]]:
    left = sorted(events, key=way.sender.steady_us)
    pairs: list[tuple[Event, Event | None]] = []
    for came in arrivals:
        times = [way.sender.steady_us(each) + way.least_us(each) for each in left]
        place = bisect_right(times, way.receiver.steady_us(came) + SLACK_US) - 1
        if place >= 0:
            pairs.append((left.pop(place), came))
    # A repeated accept or vote is the same message: it has arrived if one of them did.
    lost = [] if pairs and not _is_beat(events[0]) else [(each, None) for each in left]
    return pairs + lost


def _is_beat(event: Event) -> bool:
    return event.kind == MESSAGES["heartbeat"]


def _align(lives: Sequence[Life], ways: Sequence[Way]) -> None:
    """The axis of each life, from the first one over the ways that go both ways."""
    quick = {(id(way.sender), id(way.receiver)): next(iter(way.quick_us.values())) for way in ways}
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
            took_us = receiver.steady_us(came) - sender.steady_us(event)
            delay_us = took_us - way.least_us(event)
            if sent_us >= settled_us or delay_us < SETTLING_US // 4:
                way.passed.append((sent_us, max(0, delay_us), event))
        elif (settled_us <= sent_us <= end_us and not receiver.misses(sent_us, sent_us)
                and (event.kind != ACCEPTED or receiver.received.get(sender.node))):  # fmt: skip
            way.lost.append((sent_us, event))
    way.passed.sort(key=lambda each: each[0])
    way.lost.sort(key=lambda each: each[0])
