"""The story of one ballot: how it was won, by whose promises, how long it led, and why it ended."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from paxosctl.inspection.events import (
    LINE,
    MESSAGES,
    NAMES,
    NOTES,
    ballot_of,
    detail,
    headline,
    note_event,
    note_fields,
    note_words,
)
from paxosctl.inspection.quorums import Memberships, Quorum
from paxosctl.inspection.recordings import Recordings, Window
from paxosctl.inspection.slot_steps import Step
from paxosd.core.types import Ballot
from paxosd.recorder.block import Row
from paxosd.recorder.event import MEMBER, PROMISED, RECEIVED, SENT, START, UNSENT, Event

PREPARE, PROMISE = MESSAGES["prepare"], MESSAGES["promise"]
NACK, TRANSFER = MESSAGES["nack"], MESSAGES["transfer_leadership"]
PREVOTE_REPLY, PREVOTE = MESSAGES["prevote_reply"], MESSAGES["prevote"]
KINDS = frozenset((PREPARE, PROMISE, NACK, TRANSFER, PREVOTE, PREVOTE_REPLY, PROMISED, START,
                   MEMBER))  # fmt: skip
ENDINGS = ("leader.stepped_down", "leader.handing_over", "fault.crash", "node.stopping",
           "node.failed", "storage.failed")  # fmt: skip
CAUSE_US = 30_000_000
"""So long before a new ballot its cause is looked for."""


@dataclass(slots=True)
class BallotStory:
    """``promises``: those that the candidate had when it took the lead, its own first; ``led``: the
    log line that says so; ``before``: what made it campaign, lines of the log; ``ended``: what
    ended it, the next ballot's first event or a line of its leader."""

    ballot: Ballot
    steps: list[Step] = field(default_factory=list)
    promises: list[Event] = field(default_factory=list)
    quorum: Quorum = field(default_factory=lambda: Quorum((), 0, 0, recorded=False))
    led: Event | None = None
    prepared: Event | None = None
    adopted: int = 0
    from_slot: int = 0
    before: list[Event] = field(default_factory=list)
    ended: list[Event] = field(default_factory=list)
    next_ballot: Ballot | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything is recorded of it."""
        return bool(self.steps)


@dataclass(slots=True)
class Leadership:
    """Everything that is recorded about who leads: events of phase 1 and lines of the logs."""

    events: list[Event]
    memberships: Memberships

    def ballots(self) -> list[Ballot]:
        """All that took the lead, or tried to, in their order."""
        tried = {ballot_of(e) for e in self.events if e.kind in (PREPARE, PROMISE)}
        for event in self.events:
            if note_event(event) == "leader.elected":
                found = _ballot_in(event)
                if found is not None:
                    tried.add(found)
        return sorted(each for each in tried if each.round)

    def led(self, ballot: Ballot) -> Event | None:
        """The line with which its leader took the lead, or another node heard of it."""
        lines = [
            e for e in self.events
            if note_event(e) == "leader.elected" and _ballot_in(e) == ballot
        ]  # fmt: skip
        return next((e for e in lines if e.node == ballot.node), lines[0] if lines else None)


def leadership(recordings: Recordings) -> Leadership:
    """Read all there is of it: what happens later depends on it."""

    def keep(row: Row) -> bool:
        return row[1] in KINDS

    events = [e for e in recordings.events(Window(), keep) if not _is_debug(e)]
    seen = set(recordings.names) | {event.peer for event in events if event.peer}
    return Leadership(events, Memberships(events, seen))


def _is_debug(event: Event) -> bool:
    """A line for people who look at every message: there may be millions."""
    return event.kind in NOTES and note_fields(event.text).get("level") == "debug"


def ballot_story(found: Leadership, ballot: Ballot) -> BallotStory:
    """The story of one ballot out of all that is known of leadership."""
    story = BallotStory(ballot, quorum=found.memberships.at(ballot.round))
    own = [e for e in found.events if _is_of(e, ballot)]
    story.steps = [Step(event, _words(event)) for event in own]
    story.led = found.led(ballot)
    promises: dict[str, Event] = {}
    for event in own:
        if event.kind == PREPARE and event.code == SENT and story.prepared is None:
            story.prepared = event
            story.from_slot = event.slot
        if event.node != ballot.node:
            continue
        if event.kind == PROMISED:
            promises.setdefault(event.node, event)
        elif event.kind == PROMISE and event.code == RECEIVED:
            promises.setdefault(event.peer, event)
    counted = [promises[name] for name in promises if name in story.quorum.voters]
    story.promises = counted[: story.quorum.phase1]
    if story.led is not None:
        fields = note_fields(story.led.text)
        story.adopted = _number(fields.get("adopted"))
        story.from_slot = story.from_slot or _number(fields.get("from_slot"))
    later = [each for each in found.ballots() if each > ballot and found.led(each) is not None]
    story.next_ballot = later[0] if later else None
    story.before = _causes(found.events, own, ballot)
    story.ended = _endings(found, story)
    return story


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _is_of(event: Event, ballot: Ballot) -> bool:
    if event.kind in NOTES:
        return _ballot_in(event) == ballot
    return event.kind not in (MEMBER, START) and ballot_of(event) == ballot


def _ballot_in(event: Event) -> Ballot | None:
    shown = note_fields(event.text).get("ballot")
    try:
        return Ballot.of_text(shown) if isinstance(shown, str) else None
    except ValueError:
        return None


def _words(event: Event) -> str:
    if event.kind in NOTES:
        return note_words(event)
    route = f" {'from' if event.code == RECEIVED else 'to'} {event.peer}" if event.peer else ""
    words = detail(event).partition(" ")[2]
    if event.code == UNSENT and event.kind in MESSAGES.values():
        return f"{NAMES[event.kind]} could not be handed to the connection to {event.peer}"
    return f"{headline(event)}{route}{': ' if words else ''}{words}"


_CAUSES = ("leader.lost", "leader.handing_over", "leader.stepped_down", "member.down",
           "fault.crash", "fault.added", "fault.hit", "node.stopping", "node.failed",
           "storage.failed", "storage.slow", "node.starting", "member.changed",
           "node.slow_loop")  # fmt: skip


def _causes(events: Iterable[Event], own: list[Event], ballot: Ballot) -> list[Event]:
    """The lines before the campaign that may be its reason: since the last election."""
    if not own:
        return []
    begin_us = own[0].wall_us
    found: list[Event] = []
    for event in events:
        if event.wall_us > own[-1].wall_us or event is own[0]:
            break
        name = note_event(event)
        if name == "leader.elected" and _ballot_in(event) != ballot:
            found = [each for each in found if note_event(each).startswith("fault.")]
        elif name in _CAUSES and event.wall_us >= begin_us - CAUSE_US:
            found.append(event)
    return found


def _endings(found: Leadership, story: BallotStory) -> list[Event]:
    """Lines of its leader that end its time, up to when the next one led."""
    if story.led is None:
        return []
    after = found.led(story.next_ballot) if story.next_ballot is not None else None
    until_us = after.wall_us if after is not None else 1 << 62
    return [
        event for event in found.events
        if event.node == story.ballot.node and note_event(event) in ENDINGS
        and story.led.wall_us < event.wall_us <= until_us and event.kind in (*NOTES, LINE)
    ]  # fmt: skip
