"""Where the time of linearizable reads goes, from the recording of the node that answered each.

    came ──ask──► question sent ──confirm──► a quorum confirmed the leader ──apply──► answered

A leader's question is the heartbeat that begins a round, confirmed by acknowledgements of it; any
other node's is a ReadIndex, confirmed by the answer to it (``paxosd/core/reads.py``). Reads that
came while a round was under way wait for the next one: that is ``ask``.
"""

import heapq
from collections import deque
from dataclasses import dataclass

from paxosctl.inspection.ballot_story import Leadership
from paxosctl.inspection.events import MESSAGES, event_id
from paxosctl.inspection.recordings import Recordings, Window
from paxosd.recorder.block import Row
from paxosd.recorder.event import READ, RECEIVED, SENT, Event

LOOK_BACK = 20_000
"""So many messages before an answer are looked at."""
_HEARTBEAT, _ACK = MESSAGES["heartbeat"], MESSAGES["heartbeat_ack"]
_ASK, _REPLY = MESSAGES["read_index"], MESSAGES["read_index_reply"]
_MESSAGES = frozenset((_HEARTBEAT, _ACK, _ASK, _REPLY))


@dataclass(frozen=True, slots=True)
class ReadTime:
    """One read, answered or refused by ``answer``. ``stages``: microseconds of each; empty: its
    question is not recorded. ``waited_for``: whose message confirmed it; "": none did.
    ``evidence``: the question and what confirmed it."""

    answer: Event
    stages: dict[str, int]
    waited_for: str = ""
    evidence: tuple[Event, ...] = ()

    @property
    def took_us(self) -> int:
        """Since it came."""
        return self.answer.round

    @property
    def longest(self) -> str:
        """The stage that took most; "" if they are not known."""
        return max(self.stages, key=lambda name: self.stages[name], default="")


def slowest_reads(
    recordings: Recordings, window: Window, found: Leadership, count: int
) -> list[ReadTime]:
    """The slowest answered reads, the slowest first; of those with one confirmation, one."""
    heap: list[tuple[int, int, ReadTime]] = []
    for node in recordings.nodes:
        before: deque[Event] = deque(maxlen=LOOK_BACK)
        last: tuple[str, ...] | None = None
        for event in recordings.node_events(node, window, _wanted):
            if event.kind != READ:
                before.append(event)
                continue
            if event.code or (len(heap) == count and event.round <= heap[0][0]):
                continue
            read = read_time(event, before, found)
            shared = tuple(event_id(each) for each in read.evidence)
            if shared and shared == last:
                continue
            last = shared
            push = heapq.heappush if len(heap) < count else heapq.heapreplace
            push(heap, (event.round, event.seq, read))
    return [read for _, _, read in sorted(heap, key=lambda item: (-item[0], item[1]))]


def find_reads(
    recordings: Recordings, window: Window, request_id: int, found: Leadership
) -> list[ReadTime]:
    """The read of this request id, as every node that was asked recorded it."""
    reads = []
    for node in recordings.nodes:
        before: deque[Event] = deque(maxlen=LOOK_BACK)
        for event in recordings.node_events(node, window, _wanted):
            if event.kind != READ:
                before.append(event)
            elif event.y == request_id:
                reads.append(read_time(event, before, found))
    return reads


def _wanted(row: Row) -> bool:
    return row[1] == READ or row[1] in _MESSAGES


def read_time(answer: Event, before: deque[Event], found: Leadership) -> ReadTime:
    """What a read waited for. ``before``: its node's messages of reads before it, oldest first."""
    came_us = answer.wall_us - answer.round
    since: list[Event] = []
    round_ = 0
    for event in reversed(before):
        if event.wall_us < came_us:
            if event.kind == _HEARTBEAT and event.code == SENT:
                round_ = event.x
                break
        else:
            since.append(event)
    since.reverse()
    asked, confirmed = _confirmed(since, round_, found)
    if asked is None:
        return ReadTime(answer, {})
    at_us = asked.wall_us
    if confirmed is None:
        stages = {"ask": at_us - came_us, "confirm": answer.wall_us - at_us}
        return ReadTime(answer, stages, evidence=(asked,))
    stages = {
        "ask": at_us - came_us,
        "confirm": confirmed.wall_us - at_us,
        "apply": answer.wall_us - confirmed.wall_us,
    }
    return ReadTime(answer, stages, confirmed.peer, (asked, confirmed))


def _confirmed(
    since: list[Event], round_: int, found: Leadership
) -> tuple[Event | None, Event | None]:
    """The first question since the read came, and the message that confirmed it. ``round_``: of
    the leader's heartbeats before."""
    asked: Event | None = None
    acks: set[str] = set()
    for event in since:
        if asked is None:
            if event.code == SENT and (
                event.kind == _ASK or (event.kind == _HEARTBEAT and event.x > round_)
            ):
                asked = event
        elif event.code != RECEIVED:
            continue
        elif event.kind == _REPLY and asked.kind == _ASK and event.x >= asked.x:
            return asked, event
        elif event.kind == _ACK and asked.kind == _HEARTBEAT and event.x >= asked.x:
            acks.add(event.peer)
            if len(acks) + 1 >= found.memberships.at(asked.round).phase1:
                return asked, event
    return asked, None
