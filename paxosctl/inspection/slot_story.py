"""The story of one slot: who proposed what, who voted when, whose votes chose it, who applied it.

The votes of a quorum are looked for where they count first: with the leader that proposed it. If
that one recorded nothing, with any node that learned enough votes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from paxosctl.inspection.events import (
    ACCEPT,
    ACCEPTED,
    DECISIONS,
    MESSAGES,
    NOTES,
    VOTES,
    ballot_of,
    concerns_slot,
    ms,
    note_words,
)
from paxosctl.inspection.quorums import Memberships, Quorum
from paxosctl.inspection.recorded_files import END_US, Keep, Row
from paxosctl.inspection.recordings import Recordings, Window
from paxosctl.inspection.slot_steps import Step, steps_of, voter_of
from paxosd.core.types import NULL_BALLOT, UNKNOWN_BALLOT, Ballot
from paxosd.recorder.event import (
    ADOPTED,
    APPLIED,
    INSTALLED,
    MEMBER,
    PROMISED,
    PUBLISHED,
    RECEIVED,
    START,
    SYNCED,
    VOTED,
    WRITE,
    Event,
)

PHASE_1 = frozenset(
    (MESSAGES["prepare"], MESSAGES["promise"], MESSAGES["nack"],
     MESSAGES["transfer_leadership"], MESSAGES["prevote_reply"], PROMISED, START, MEMBER, INSTALLED)
)  # fmt: skip
"""Seldom, and needed to say who led."""
AROUND_US = 1_000_000
_OF_SLOT = frozenset((ACCEPT, VOTED, APPLIED, ADOPTED, WRITE))
_RUNS = frozenset((ACCEPTED, VOTES, DECISIONS))


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
    around: list[Event] = field(default_factory=list)
    phase_1: list[Event] = field(default_factory=list)

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


def keep_slots(first: int, last: int) -> Keep:
    """Rows about these slots, and those of phase 1."""

    def keep(row: Row) -> bool:
        kind = row[1]
        if kind in _OF_SLOT:
            return first <= row[5] <= last
        if kind in _RUNS:
            return row[5] <= last and (row[7] >= first or row[5] >= first)
        return kind in PHASE_1

    return keep


def slot_story(recordings: Recordings, slot: int, window: Window) -> SlotStory:
    """Read what there is of one slot."""
    found = list(recordings.events(window, keep_slots(slot, slot)))
    story = SlotStory(slot)
    own = [event for event in found if concerns_slot(event, slot, slot)]
    story.phase_1 = [event for event in found if event.kind in PHASE_1]
    if not own:
        return story
    begin = max(window.since_us, own[0].wall_us - AROUND_US)
    end = min(window.until_us, max(event.wall_us for event in own) + AROUND_US, END_US)
    near = recordings.events(Window(begin, end), lambda row: row[1] == SYNCED)
    by_node: dict[str, list[Event]] = {}
    for event in near:
        if event.kind in NOTES:
            story.around.append(event)
        else:
            by_node.setdefault(event.node, []).append(event)
    names = set(recordings.names)
    names |= {event.peer for event in own if event.peer}
    memberships = Memberships(story.phase_1, names)
    _fill(story, own, by_node, memberships)
    return story


def _fill(
    story: SlotStory,
    own: list[Event],
    syncs: dict[str, list[Event]],
    memberships: Memberships,
) -> None:
    """Fill in the story from the events of the slot."""
    rounds = {ballot_of(e) for e in own if e.kind in (VOTED, ACCEPT, ACCEPTED) and e.round}
    story.ballots = sorted(rounds)
    for event in own:
        if event.kind == WRITE:
            story.requests.append(event)
        elif event.kind == APPLIED:
            story.applied.setdefault(event.node, event)
        if event.kind in (VOTED, ACCEPT) and story.value_bytes is None:
            story.value_bytes = event.y >> 32
    _find_choice(story, own, memberships)
    _find_syncs(story, own, syncs)
    story.steps = steps_of(own, story.chosen_at, story.synced, story.applied)


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


def _find_syncs(story: SlotStory, own: list[Event], syncs: dict[str, list[Event]]) -> None:
    """A vote is published once its group is durable: by the last sync before."""
    for event in own:
        if event.kind != ACCEPTED or event.code != PUBLISHED:
            continue
        before = [
            sync for sync in syncs.get(event.node, ())
            if sync.boot_count == event.boot_count and sync.seq < event.seq
        ]  # fmt: skip
        if before:
            story.synced.setdefault(event.node, before[-1])


def near_words(story: SlotStory, names: Iterable[str] = ()) -> list[str]:
    """The log lines near it that say of a fault or of a slow disk, with their names."""
    picked = ("fault.", "storage.slow", "node.slow_loop", "member.", "leader.", "election.",
              *names)  # fmt: skip
    words = []
    for event in story.around:
        text = note_words(event)
        if text.removeprefix("warning: ").removeprefix("error: ").startswith(picked):
            words.append(f"{event.node}: {text}")
    return words
