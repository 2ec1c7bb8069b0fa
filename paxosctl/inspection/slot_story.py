"""The story of one slot: who proposed what, who voted when, whose votes chose it, who applied it.

The votes of a quorum are looked for where they count first: with the leader that proposed it. If
that one recorded nothing, with any node that learned enough votes.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection
from dataclasses import dataclass, field

from paxosctl.inspection.ballot_story import Leadership
from paxosctl.inspection.events import (
    ACCEPT,
    ACCEPTED,
    DECISIONS,
    NOTES,
    RUNS,
    VOTES,
    ballot_of,
    ms,
    note_event,
    note_words,
)
from paxosctl.inspection.quorums import Memberships, Quorum
from paxosctl.inspection.recordings import Recordings, Window
from paxosctl.inspection.slot_steps import Step, steps_of, voter_of
from paxosctl.inspection.wal_entries import LoggedCommand, commands_of, logged_values
from paxosd.core.types import NULL_BALLOT, UNKNOWN_BALLOT, Ballot
from paxosd.recorder.block import Keep, Row
from paxosd.recorder.event import (
    ADOPTED,
    APPLIED,
    PUBLISHED,
    RECEIVED,
    SYNCED,
    VOTED,
    WRITE,
    Event,
)

AROUND_US = 1_000_000
SYNCS_KEPT = 1_000
_OF_SLOT = frozenset((ACCEPT, VOTED, APPLIED, ADOPTED, WRITE))


@dataclass(slots=True)
class SlotStory:
    """``ballot``: at which the slot was chosen; ``chosen_by``: the voters that completed the quorum
    at ``chosen_at``, an event of its leader or of whoever learned it; ``why_not``: why that is not
    known. ``requests``: answers given for it. ``around``: log lines near it."""

    slot: int
    steps: list[Step] = field(default_factory=list)
    ballot: Ballot = NULL_BALLOT
    proposed: Event | None = None
    chosen_by: list[Event] = field(default_factory=list)
    chosen_at: Event | None = None
    quorum: Quorum = field(default_factory=lambda: Quorum((), 0, 0, recorded=False))
    why_not: str = ""
    value_bytes: int | None = None
    requests: list[Event] = field(default_factory=list)
    ballots: list[Ballot] = field(default_factory=list)
    applied: dict[str, Event] = field(default_factory=dict)
    synced: dict[str, Event] = field(default_factory=dict)
    """The group commit that made a node's vote durable."""
    synced_before: dict[str, Event] = field(default_factory=dict)
    """The one before that."""
    around: list[Event] = field(default_factory=list)
    commands: list[LoggedCommand] | None = None
    """What stands in it; None: no write-ahead log among the sources has it."""

    @property
    def is_known(self) -> bool:
        """Whether anything is recorded of it."""
        return bool(self.steps)

    def sentence(self) -> str:
        """How it ended."""
        if not self.is_known:
            return f"slot {self.slot}: nothing is recorded of it"
        size = "" if self.value_bytes is None else (
            f", {self.value_bytes} bytes" if self.value_bytes else ", no-op"
        )  # fmt: skip
        if self.why_not:
            return (
                f"slot {self.slot}{size}: by whose votes it was chosen is not known, because "
                + (self.why_not)
            )
        voters = " and ".join(voter_of(vote) for vote in self.chosen_by)
        words = f"slot {self.slot}{size}: chosen at {self.ballot.shown()} by the votes of {voters}"
        words += f" ({self.quorum.phase2} of {len(self.quorum.voters)} needed)"
        if self.proposed is not None and self.chosen_at is not None:
            words += f", {ms(self.chosen_at.wall_us - self.proposed.wall_us)} after it was proposed"
        return words


def keep_slots(slots: Collection[int]) -> Keep:
    """Rows about these slots, and the group commits."""
    wanted = frozenset(slots)
    ordered = sorted(wanted)

    def keep(row: Row) -> bool:
        kind = row[1]
        if kind in _OF_SLOT:
            return row[5] in wanted
        if kind in RUNS:
            place = bisect_left(ordered, row[5])
            return place < len(ordered) and ordered[place] <= max(row[5], row[7])
        return kind == SYNCED

    return keep


def slot_stories(
    recordings: Recordings, slots: Collection[int], window: Window, found: Leadership
) -> dict[int, SlotStory]:
    """Read what there is of some slots, in one pass."""
    stories = {slot: SlotStory(slot) for slot in slots}
    own: dict[int, list[Event]] = {slot: [] for slot in slots}
    last_sync: dict[str, Event] = {}
    sync_before: dict[str, Event] = {}
    recent: dict[tuple[str, int, int], tuple[Event, Event | None]] = {}
    """Node, start and group → the group commit and the one before it, of the last ones."""
    groups: dict[tuple[str, int, Ballot], int] = {}
    ordered = sorted(slots)
    for event in recordings.events(window, keep_slots(slots)):
        if event.kind == SYNCED:
            if event.node in last_sync:
                sync_before[event.node] = last_sync[event.node]
            recent[event.node, event.boot_count, event.slot] = event, last_sync.get(event.node)
            if len(recent) > SYNCS_KEPT:
                del recent[next(iter(recent))]
            last_sync[event.node] = event
            continue
        if event.kind in NOTES:
            continue
        last = max(event.slot, event.x) if event.kind in RUNS else event.slot
        for slot in ordered[bisect_left(ordered, event.slot) : bisect_right(ordered, last)]:
            own[slot].append(event)
            if event.kind == VOTED and event.x:
                groups[event.node, slot, ballot_of(event)] = event.x
            if event.code == PUBLISHED and event.kind == ACCEPTED:
                group = groups.get((event.node, slot, ballot_of(event)), 0)
                # A recording of before names no group: a vote is published once it is durable, so
                # it is the last group commit before that.
                sync, before = recent.get(
                    (event.node, event.boot_count, group),
                    (last_sync.get(event.node), sync_before.get(event.node)),
                )
                story = stories[slot]
                if event.node not in story.synced and before is not None:
                    story.synced_before[event.node] = before
                if sync is not None:
                    story.synced.setdefault(event.node, sync)
    for slot, story in stories.items():
        if own[slot]:
            _fill(story, own[slot], found)
    return stories


def slot_story(recordings: Recordings, slot: int, window: Window, found: Leadership) -> SlotStory:
    """Read what there is of one slot, its commands as well."""
    story = slot_stories(recordings, (slot,), window, found)[slot]
    sources = recordings.sources
    values = [
        each for wal in sources.wals for each in logged_values(wal, sources.passed_over)
        if each.slot == slot
    ]  # fmt: skip
    story.commands = commands_of(values) if values else None
    return story


def _fill(story: SlotStory, own: list[Event], found: Leadership) -> None:
    """Fill in the story from the events of the slot."""
    story.ballots = sorted(
        {ballot_of(e) for e in own if e.kind in (VOTED, ACCEPT, ACCEPTED) and e.round}
    )
    for event in own:
        if event.kind == WRITE:
            story.requests.append(event)
        elif event.kind == APPLIED:
            story.applied.setdefault(event.node, event)
        if event.kind in (VOTED, ACCEPT) and story.value_bytes is None:
            story.value_bytes = event.y >> 32
    _find_choice(story, own, found.memberships)
    story.steps = steps_of(own, story.chosen_at, story.synced, story.applied)
    begin = own[0].wall_us - AROUND_US
    end = max(event.wall_us for event in own) + AROUND_US
    story.around = [
        each for each in found.events if each.kind in NOTES and begin <= each.wall_us <= end
    ]


def _find_choice(story: SlotStory, own: list[Event], memberships: Memberships) -> None:
    """Whose votes completed a quorum first, as one node saw it: the leader, if it is recorded."""
    applied = [ballot_of(event) for event in story.applied.values()]
    known = [ballot for ballot in applied if NULL_BALLOT < ballot < UNKNOWN_BALLOT]
    for ballot in sorted(set(known)) + [each for each in story.ballots if each not in known]:
        quorum = memberships.at(ballot.round)
        proposed = [
            e for e in own if e.kind == VOTED and e.node == ballot.node and ballot_of(e) == ballot
        ]
        observers = [ballot.node, *sorted({e.node for e in own} - {ballot.node})]
        for observer in observers:
            votes = _votes_at(own, observer, ballot, quorum)
            if len(votes) >= quorum.phase2:
                story.ballot, story.quorum = ballot, quorum
                story.chosen_by = votes[: quorum.phase2]
                story.chosen_at = story.chosen_by[-1]
                story.proposed = proposed[0] if proposed else None
                return
    story.ballot = known[0] if known else (story.ballots[-1] if story.ballots else NULL_BALLOT)
    story.quorum = memberships.at(story.ballot.round)
    proposed = [e for e in own if e.kind == VOTED and ballot_of(e) == story.ballot]
    story.proposed = proposed[0] if proposed else None
    learned = [e for e in own if e.kind == DECISIONS and e.code == RECEIVED]
    if story.applied and learned:
        story.why_not = (
            f"{learned[0].node} learned it from {learned[0].peer} as decided "
            f"({learned[0].id}), and the votes themselves are not recorded"
        )
    elif story.applied:
        story.why_not = "no node's recording has the votes of a quorum"
    else:
        story.why_not = "no node recorded the votes of a quorum, nor applied it: it may be open"


def _votes_at(own: list[Event], observer: str, ballot: Ballot, quorum: Quorum) -> list[Event]:
    """The votes that one node knew of, its own first published, in the order in which it knew."""
    found: dict[str, Event] = {}
    for event in own:
        if event.node != observer or ballot_of(event) != ballot:
            continue
        own_vote = event.kind == ACCEPTED and event.code == PUBLISHED
        heard = event.kind in (ACCEPTED, VOTES) and event.code == RECEIVED
        if (own_vote or heard) and voter_of(event) in quorum.voters:
            found.setdefault(voter_of(event), event)
    return list(found.values())


def near_events(story: SlotStory) -> list[Event]:
    """The log lines near it that say of a fault, a slow disk, a member or a leader."""
    picked = ("fault.", "storage.slow", "node.slow_loop", "member.", "leader.", "election.")
    return [event for event in story.around if note_event(event).startswith(picked)]


def near_words(story: SlotStory) -> list[str]:
    """The same in words, with the names of the nodes."""
    return [f"{event.node}: {note_words(event)}" for event in near_events(story)]
