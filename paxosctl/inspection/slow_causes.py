"""Why one request took long: the stage that took most, and who was to blame for it.

The parts of a vote are known to its voter: how long the accept was on its way, how long the group
commit before it and its own took. What its recording lacks is called not known.
"""

from dataclasses import dataclass, replace

from paxosctl.inspection.ballot_story import Leadership
from paxosctl.inspection.events import (
    ACCEPT,
    ACCEPTED,
    NOTES,
    event_id,
    ms,
    note_event,
    note_fields,
)
from paxosctl.inspection.faults_seen import faults_of, in_force
from paxosctl.inspection.request_times import RequestTime
from paxosctl.inspection.slot_story import SlotStory
from paxosd.core.types import Ballot
from paxosd.recorder.event import PUBLISHED, RECEIVED, SENT, VOTED, Event

SEVERAL_PARTS = ": several parts of its vote"
"""Behind the name of a voter in the label of a cause of which no part took half."""


@dataclass(frozen=True, slots=True)
class Cause:
    """``label``: the same for requests that were slow for the same reason, ``n3's disk``. ``late``:
    the sending and the arrival of the message that was waited for, if it is what took long."""

    label: str
    words: str
    evidence: tuple[str, ...] = ()
    late: tuple[Event, Event] | None = None


@dataclass(slots=True)
class VoteParts:
    """How a node's vote came about: ``way_us`` the accept to it, ``hold_us`` from there until it
    stood in the log, ``disk_us`` until it was published, ``back_us`` the vote to the leader; None:
    not recorded. ``sync``: the group commit that made it durable."""

    voter: str
    way_us: int | None = None
    hold_us: int | None = None
    disk_us: int | None = None
    back_us: int | None = None
    sync: Event | None = None
    synced_us: int = 0
    """How long the disk was at work for it: this group commit, and what was left of the one
    before."""
    resent: bool = False
    evidence: tuple[str, ...] = ()
    accept: tuple[Event, Event] | None = None
    vote: tuple[Event, Event] | None = None
    """When it was sent, and when it was received, of the one and of the other."""

    def known(self) -> dict[str, int]:
        """Part → how long it took, of those that are recorded."""
        parts = {"way": self.way_us, "hold": self.hold_us, "disk": self.disk_us,
                 "back": self.back_us}  # fmt: skip
        return {name: took for name, took in parts.items() if took is not None}

    def longest(self) -> str:
        """The part that took most; "": none is known."""
        known = self.known()
        return max(known, key=lambda name: known[name]) if known else ""


def vote_parts(story: SlotStory, voter: str) -> VoteParts:
    """The parts of a voter's vote at the ballot at which the slot was chosen."""
    ballot = story.ballot
    parts = VoteParts(voter, sync=story.synced.get(voter))
    sent = heard = voted = published = learned = None
    for step in story.steps:
        event = step.event
        if Ballot(event.round, event.voter) != ballot:
            continue
        if event.kind == ACCEPT and event.code == SENT and event.peer == voter:
            parts.resent = sent is not None
            sent = sent or event
        elif event.kind == ACCEPT and event.code == RECEIVED and event.node == voter:
            heard = heard or event
        elif event.kind == VOTED and event.node == voter:
            voted = voted or event
        elif event.kind == ACCEPTED and event.code == PUBLISHED and event.node == voter:
            published = published or event
        elif (event.kind == ACCEPTED and event.code == RECEIVED and event.peer == voter
                and event.node == ballot.node):  # fmt: skip
            learned = learned or event
    parts.accept = None if sent is None or heard is None else (sent, heard)
    parts.vote = None if published is None or learned is None else (published, learned)
    parts.way_us = _between(sent, heard)
    parts.hold_us = _between(heard, voted)
    parts.disk_us = _between(voted, published)
    parts.back_us = _between(published, learned)
    if parts.sync is not None:
        before = story.synced_before.get(voter)
        left = 0 if before is None or voted is None else max(0, before.wall_us - voted.wall_us)
        parts.synced_us = parts.sync.x + left
    parts.evidence = tuple(
        event_id(event) for event in (heard, parts.sync, published, learned) if event is not None
    )
    return parts


def _between(first: Event | None, second: Event | None) -> int | None:
    return None if first is None or second is None else max(0, second.wall_us - first.wall_us)


def cause_of(request: RequestTime, story: SlotStory, found: Leadership) -> Cause:
    """Why this request took as long as it did."""
    write, stages = request.write, request.stages
    if not stages:
        return Cause("not known", "why is not known, because its proposal and votes are not in the "
                     f"recording of {write.node}", (event_id(write),))  # fmt: skip
    stage = request.longest
    took = stages[stage]
    begin_us = write.wall_us - write.round
    if stage == "queue":
        cause = _queue(request, found, begin_us)
    elif stage == "persist":
        if _came_without(story, write.node, write.wall_us):
            # The others were a quorum before the leader's own vote: nobody waited for its disk.
            cause = _quorum(story, request.waited_for, took)
        else:
            cause = _disk(vote_parts(story, write.node), took)
    elif stage == "quorum":
        cause = _quorum(story, request.waited_for, took)
    else:
        what = "to apply the slot" if stage == "apply" else "to give the answer"
        slow = _slow_turn(found, write.node, begin_us, write.wall_us)
        why = f": a turn of its loop took {slow[0]}" if slow else ""
        cause = Cause(f"{write.node} is busy", f"{write.node} took {ms(took)} {what}{why}",
                      (event_id(write), *(slow[1:] if slow else ())))  # fmt: skip
    for fault in in_force(faults_of(found.events), begin_us, write.wall_us):
        if fault.may_slow(cause.label):
            words = f"{cause.words}; {fault.sentence()}"
            return replace(cause, words=words,
                           evidence=(*cause.evidence, event_id(fault.hit or fault.begun))
                       )  # fmt: skip
    return cause


def _came_without(story: SlotStory, leader: str, answered_us: int) -> bool:
    """Whether the answer was there before the leader's own vote was published."""
    return any(
        step.event.kind == ACCEPTED and step.event.code == PUBLISHED
        and step.event.node == leader and step.event.wall_us > answered_us
        and Ballot(step.event.round, step.event.voter) == story.ballot
        for step in story.steps
    )  # fmt: skip


def _queue(request: RequestTime, found: Leadership, begin_us: int) -> Cause:
    write, took = request.write, request.stages["queue"]
    until_us = begin_us + took
    for event in found.events:
        if (event.kind in NOTES and note_event(event) == "leader.elected"
                and event.node == write.node and begin_us - 1000 <= event.wall_us <= until_us + 1000
                and note_fields(event.text).get("leader") == write.node):  # fmt: skip
            return Cause("a change of leader", f"it waited {ms(took)} until {write.node} led",
                         (event_id(event), event_id(write)))  # fmt: skip
    slow = _slow_turn(found, write.node, begin_us, until_us)
    if slow:
        return Cause(f"{write.node} is busy", f"it waited {ms(took)} until {write.node} proposed "
                     f"it, while a turn of its loop took {slow[0]}",
                     (slow[1], event_id(write)))  # fmt: skip
    return Cause(f"{write.node}'s queue", f"it waited {ms(took)} until {write.node} proposed it: "
                 "that many requests came, or the slots before it were still open",
                 (event_id(write),))  # fmt: skip


def _slow_turn(found: Leadership, node: str, begin_us: int, until_us: int) -> tuple[str, ...]:
    for event in found.events:
        if (event.node == node and note_event(event) == "node.slow_loop"
                and begin_us <= event.wall_us <= until_us + 10_000):  # fmt: skip
            return f"{note_fields(event.text).get('dur_ms')} ms", event_id(event)
    return ()


def _disk(parts: VoteParts, took: int) -> Cause:
    words = f"the vote of {parts.voter} took {ms(took)} to become durable"
    return Cause(_blamed(parts, took), f"{words}{_sync_words(parts)}", parts.evidence)


def _blamed(parts: VoteParts, took: int) -> str:
    """The disk, if the group commit and the one before it took most of the time; else the loop,
    which did not come to it."""
    return f"{parts.voter}'s disk" if parts.synced_us * 2 >= took else f"{parts.voter} is busy"


def _sync_words(parts: VoteParts) -> str:
    if parts.sync is None:
        return "; what its disk took is not known"
    waited = parts.synced_us - parts.sync.x
    before = f" after {ms(waited)} in which the one before it was under way" if waited > 0 else ""
    return f": its group commit took {ms(parts.sync.x)}{before}"


def _most_us(parts: VoteParts) -> int:
    """What the longest part took, where a part is what one thing can be blamed for."""
    disk_us = parts.disk_us or 0
    synced_us = min(parts.synced_us, disk_us)
    loop_us = (parts.hold_us or 0) + disk_us - synced_us
    return max(parts.way_us or 0, loop_us, synced_us, parts.back_us or 0)


_PARTS = {
    "way": "the accept was {} on its way",
    "hold": "it stood in the log {} later",
    "disk": "the vote was durable {} after that",
    "back": "and {} on its way back",
}


def _part_words(parts: VoteParts) -> str:
    said = (_PARTS[name].format(ms(us)) for name, us in parts.known().items())
    return f"{', '.join(said)}{_sync_words(parts)}"


def _quorum(story: SlotStory, voter: str, took: int) -> Cause:
    parts = vote_parts(story, voter)
    head = f"{ms(took)} were spent waiting for the vote of {voter}"
    longest = parts.longest()
    late = {"way": parts.accept, "back": parts.vote}.get(longest)
    if longest and not parts.resent and _most_us(parts) * 2 < took:
        # To blame one part for what took three times as long would mislead.
        return Cause(f"{voter}{SEVERAL_PARTS}", f"{head}, and no part of that took half of it: "
                     f"{_part_words(parts)}", parts.evidence)  # fmt: skip
    if parts.resent and longest in ("way", "back", ""):
        return Cause(f"the link to {voter}", f"{head}, to which the accept had to be sent again",
                     parts.evidence, late)  # fmt: skip
    if longest == "disk" and parts.disk_us is not None:
        return Cause(_blamed(parts, parts.disk_us), f"{head}, which took {ms(parts.disk_us)} to "
                     f"become durable{_sync_words(parts)}", parts.evidence)  # fmt: skip
    if longest == "hold" and parts.hold_us is not None:
        return Cause(f"{voter} is busy", f"{head}, which had the accept for {ms(parts.hold_us)} "
                     "before it stood in its log", parts.evidence)  # fmt: skip
    if longest in ("way", "back"):
        way = parts.way_us if longest == "way" else parts.back_us
        what = "the accept to it" if longest == "way" else "its vote"
        return Cause(f"the link to {voter}", f"{head}: {what} was {ms(way or 0)} on its way",
                     parts.evidence, late)  # fmt: skip
    return Cause(f"{voter}: not known", f"{head}; what it did is not known, because nothing of it "
                 "is recorded", parts.evidence)  # fmt: skip
