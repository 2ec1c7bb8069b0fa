"""Where the time of requests goes, from the recording of the node that answered each.

    came ──queue──► proposed ──persist──► own vote durable ──quorum──► chosen ──apply──► applied ──reply──► answered

The five add up to what the client waited for at the daemon. If the votes of others are a quorum
before the leader's own vote is durable, ``persist`` ends there and ``quorum`` is 0.
"""  # noqa: E501 -- the picture is one line

import heapq
from array import array
from collections import deque
from dataclasses import dataclass, field

from paxosctl.inspection.ballot_story import Leadership
from paxosctl.inspection.events import ACCEPTED, VOTES, ballot_of
from paxosctl.inspection.recordings import Recordings, Window
from paxosd.core.types import Ballot
from paxosd.recorder.block import Row
from paxosd.recorder.event import (
    APPLIED,
    PUBLISHED,
    READ,
    RECEIVED,
    SYNCED,
    VOTED,
    WRITE,
    Event,
)

STAGES = ("queue", "persist", "quorum", "apply", "reply")
SLOWEST = 10
OPEN_SLOTS_MAX = 50_000
"""So many slots of a node are kept until they are answered."""
_KINDS = frozenset((VOTED, ACCEPTED, VOTES, APPLIED, WRITE, READ, SYNCED))


@dataclass(slots=True)
class Percentiles:
    """Durations in microseconds."""

    values: "array[int]" = field(default_factory=lambda: array("Q"))
    _sorted: list[int] | None = None

    def add(self, value: int) -> None:
        """One more; what clocks made negative is 0."""
        self.values.append(max(0, value))
        self._sorted = None

    def at(self, percent: float) -> int:
        """The value below which so many percent are; 0 of none."""
        if self._sorted is None:
            self._sorted = sorted(self.values)
        count = len(self._sorted)
        return self._sorted[min(count - 1, int(count * percent / 100))] if count else 0

    @property
    def total(self) -> int:
        """Of all."""
        return sum(self.values)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(slots=True)
class NodeTimes:
    """``syncs``: group commits; ``votes``: from when it took up an accept until its vote was
    published; ``trips``: from a proposal until the vote of each follower was there;
    ``waited_for``: how long its requests waited for whose vote, at last."""

    node: str
    syncs: Percentiles = field(default_factory=Percentiles)
    votes: Percentiles = field(default_factory=Percentiles)
    trips: dict[str, Percentiles] = field(default_factory=dict)
    stages: dict[str, Percentiles] = field(
        default_factory=lambda: {name: Percentiles() for name in STAGES}
    )
    whole: Percentiles = field(default_factory=Percentiles)
    reads: Percentiles = field(default_factory=Percentiles)
    waited_for: dict[str, int] = field(default_factory=dict)
    not_traced: int = 0
    """Requests whose proposal is not in the recording."""
    refused: int = 0


@dataclass(frozen=True, slots=True)
class RequestTime:
    """One request, answered by ``write``; ``stages``: microseconds of each."""

    write: Event
    ballot: Ballot
    stages: dict[str, int]
    waited_for: str

    @property
    def took_us(self) -> int:
        """Since it came."""
        return self.write.round

    @property
    def longest(self) -> str:
        """The stage that took most."""
        return max(STAGES, key=lambda name: self.stages.get(name, 0))


@dataclass(slots=True)
class Times:
    """Of all nodes. ``slowest``: the slowest requests, the slowest first."""

    nodes: dict[str, NodeTimes] = field(default_factory=dict)
    slowest: list[RequestTime] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many were answered."""
        return sum(len(each.whole) for each in self.nodes.values())


def request_times(
    recordings: Recordings, window: Window, found: Leadership, count: int = SLOWEST
) -> Times:
    """Measure every request that was answered in the window."""
    times = Times()
    heap: list[tuple[int, int, RequestTime]] = []
    for node in recordings.nodes:
        tracer = _Tracer(node, found, heap, count)
        for event in recordings.node_events(node, window, tracer.wants):
            tracer.take(event)
        times.nodes[node] = tracer.times
    times.slowest = [each for _, _, each in sorted(heap, key=lambda item: (-item[0], item[1]))]
    return times


@dataclass(slots=True)
class _Open:
    """A slot on its way, as its proposer has it."""

    ballot: Ballot
    proposed: Event
    need: int
    votes: dict[str, int] = field(default_factory=dict)
    own_us: int = 0
    chosen_us: int = 0
    waited_for: str = ""
    applied_us: int = 0


class _Tracer:
    """Follows one node's events."""

    def __init__(
        self, node: str, found: Leadership, heap: list[tuple[int, int, RequestTime]], count: int
    ) -> None:
        self.times = NodeTimes(node)
        self._found = found
        self._heap = heap
        self._count = count
        self._open: dict[int, _Open] = {}
        self._order: deque[int] = deque()
        self._taken: dict[int, int] = {}
        """Slot → when this node took up the vote."""

    def wants(self, row: Row) -> bool:
        """Whether the next row matters: to make an event takes longer than to pass over it. What
        is applied or voted for elsewhere matters only of slots that this node proposed."""
        kind = row[1]
        if kind == APPLIED:
            return row[5] in self._open
        if kind == ACCEPTED and row[4] == RECEIVED:
            return bool(self._open)
        return kind in _KINDS

    def take(self, event: Event) -> None:
        kind = event.kind
        if kind in (ACCEPTED, VOTES):
            if event.code == PUBLISHED:
                self._published(event)
            elif event.code == RECEIVED:
                self._vote(event, event.peer)
        elif kind == VOTED:
            self._voted(event)
        elif kind == APPLIED:
            slot = self._open.get(event.slot)
            if slot is not None:
                slot.applied_us = event.wall_us
        elif kind == SYNCED:
            self.times.syncs.add(event.x)
        elif kind == WRITE:
            self._answered(event)
        elif kind == READ and not event.code:
            self.times.reads.add(event.round)

    def _voted(self, event: Event) -> None:
        self._taken[event.slot] = event.wall_us
        if len(self._taken) > OPEN_SLOTS_MAX:
            del self._taken[next(iter(self._taken))]
        ballot = ballot_of(event)
        if ballot.node != event.node:
            return
        need = self._found.memberships.at(ballot.round).phase2
        self._open[event.slot] = _Open(ballot, event, need)
        self._order.append(event.slot)
        if len(self._order) > OPEN_SLOTS_MAX:
            self._open.pop(self._order.popleft(), None)

    def _published(self, event: Event) -> None:
        for slot in range(event.slot, min(event.x, event.slot + OPEN_SLOTS_MAX) + 1):
            taken_us = self._taken.pop(slot, None)
            if taken_us is not None:
                self.times.votes.add(event.wall_us - taken_us)
        self._vote(event, event.node)

    def _vote(self, event: Event, voter: str) -> None:
        ballot = ballot_of(event)
        for number in range(event.slot, min(event.x, event.slot + OPEN_SLOTS_MAX) + 1):
            slot = self._open.get(number)
            if slot is None or slot.ballot != ballot or voter in slot.votes:
                continue
            slot.votes[voter] = event.wall_us
            if voter == event.node:
                slot.own_us = event.wall_us
            else:
                trip = self.times.trips.setdefault(voter, Percentiles())
                trip.add(event.wall_us - slot.proposed.wall_us)
            if not slot.chosen_us and len(slot.votes) >= slot.need:
                slot.chosen_us = event.wall_us
                slot.waited_for = voter

    def _answered(self, event: Event) -> None:
        times = self.times
        if event.code:
            times.refused += 1
            return
        times.whole.add(event.round)
        slot = self._open.get(event.slot)
        if slot is None or not slot.chosen_us:
            times.not_traced += 1
            stages, ballot, waited_for = {}, Ballot(0, ""), ""
        else:
            stages = _stages(event, slot)
            ballot, waited_for = slot.ballot, slot.waited_for
            for name, took in stages.items():
                times.stages[name].add(took)
            wait = stages["persist"] + stages["quorum"]
            times.waited_for[waited_for] = times.waited_for.get(waited_for, 0) + wait
        item = (event.round, event.seq, RequestTime(event, ballot, stages, waited_for))
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, item)
        elif (item[0], item[1]) > self._heap[0][:2]:
            heapq.heapreplace(self._heap, item)


def _stages(write: Event, slot: _Open) -> dict[str, int]:
    answered = write.wall_us
    proposed = min(slot.proposed.wall_us, answered)
    chosen = min(max(slot.chosen_us, proposed), answered)
    durable = min(max(slot.own_us, proposed), chosen) if slot.own_us else chosen
    applied = min(max(slot.applied_us, chosen), answered) if slot.applied_us else chosen
    return {
        "queue": max(0, write.round - (answered - proposed)),
        "persist": durable - proposed,
        "quorum": chosen - durable,
        "apply": applied - chosen,
        "reply": answered - applied,
    }
