"""What happened, in sentences: each one with the names of the events that prove it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from paxosctl.inspection.ballot_story import BallotStory, Leadership, ballot_story
from paxosctl.inspection.command_words import command_words
from paxosctl.inspection.diagnosis import Diagnosis
from paxosctl.inspection.events import (
    event_id,
    ms,
    note_event,
    note_fields,
    note_words,
    request_name,
)
from paxosctl.inspection.faults_seen import faults_of, in_force
from paxosctl.inspection.incidents import Incident
from paxosctl.inspection.request_times import RequestTime
from paxosctl.inspection.slot_steps import voter_of
from paxosctl.inspection.slot_story import SlotStory
from paxosctl.inspection.slow_causes import Cause, cause_of, vote_parts
from paxosctl.inspection.timeline_view import clock_time
from paxosd.core.types import Ballot
from paxosd.recorder.event import START, Event

COMMANDS_SAID = 10


@dataclass(frozen=True, slots=True)
class Sentence:
    """``evidence``: names of events. ``known``: False if it says that something is not."""

    text: str
    evidence: tuple[str, ...] = ()
    known: bool = True


@dataclass(slots=True)
class Explanation:
    """``subject``: what is explained."""

    subject: str
    sentences: list[Sentence] = field(default_factory=list)
    causes: list[Incident] = field(default_factory=list)
    """What went wrong, of which the sentences speak."""

    def add(self, text: str, *evidence: Event | str | None, known: bool = True) -> None:
        """Add a sentence; events that are not there prove nothing."""
        names = [each if isinstance(each, str) else event_id(each) for each in evidence if each]
        self.sentences.append(Sentence(text, tuple(dict.fromkeys(names)), known))


def listed(names: Sequence[str]) -> str:
    """``n1``, ``n1 and n2``, ``n1, n2 and n3``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


# -- who led


def explain_ballot(
    found: Leadership, ballot: Ballot, diagnosis: Diagnosis | None = None
) -> Explanation:
    """Who won it, by whose promises, why there was an election, and how it ended."""
    story = ballot_story(found, ballot)
    said = Explanation(f"leader {ballot.shown()}")
    _add_reason(said, found, story, diagnosis or Diagnosis([]))
    _add_win(said, story)
    if story.led is not None:
        _add_end(said, found, story)
    return said


def _add_win(said: Explanation, story: BallotStory) -> None:
    ballot = story.ballot
    if story.led is None:
        said.add(f"That {ballot.node} ever led at {ballot.shown()} is not known, because no node "
                 "recorded it.", story.prepared, known=False)  # fmt: skip
        return
    when = f"{ballot.node} took the lead at {clock_time(story.led.wall_us)} with the ballot "
    when += f"{ballot.shown()}"
    if len(story.promises) < max(1, story.quorum.phase1):
        said.add(f"{when}; by whose promises is not known, because {ballot.node}'s recording does "
                 "not have them.", story.led, known=False)  # fmt: skip
    else:
        givers = [event.peer or event.node for event in story.promises]
        said.add(
            f"{when}, by the promises of {listed(givers)}: {story.quorum.phase1} of "
            f"{len(story.quorum.voters)} voters were needed.",
            *story.promises, story.led,
        )  # fmt: skip
    if story.adopted:
        said.add(f"It proposed {story.adopted} slots from {story.from_slot} on again, which the "
                 "promises reported.", story.led)  # fmt: skip


def _add_reason(
    said: Explanation, found: Leadership, story: BallotStory, diagnosis: Diagnosis
) -> None:
    """Why there was an election at all."""
    earlier = [b for b in found.ballots() if b < story.ballot and found.led(b) is not None]
    if not earlier:
        said.add("No leader before it is recorded.", known=True)
        return
    before = ballot_story(found, earlier[-1])
    old = earlier[-1].node
    if old == story.ballot.node and not before.ended:
        said.add(f"{old} led before it as well, at {earlier[-1].shown()}.", before.led)
    else:
        _add_loss(said, found, before, story, diagnosis)
    lost = [e for e in story.before if note_event(e) in ("leader.lost", "member.down")
            and e.node == story.ballot.node]  # fmt: skip
    for event in lost[:2]:
        said.add(f"{event.node} noticed at {clock_time(event.wall_us)}: {note_words(event)}.",
                 event)  # fmt: skip
    if lost and story.led is not None:
        gap = story.led.wall_us - lost[0].wall_us
        said.add(f"From then until {story.ballot.node} led it took {ms(gap)}.", lost[0], story.led)


_END_WORDS = {
    "fault.crash": "was asked to crash, and did",
    "node.stopping": "was stopped",
    "node.failed": "failed",
    "storage.failed": "had a disk that failed",
    "leader.handing_over": "handed over",
    "leader.stepped_down": "stepped down",
}


def _add_loss(
    said: Explanation,
    found: Leadership,
    before: BallotStory,
    story: BallotStory,
    diagnosis: Diagnosis,
) -> None:
    """What ended the time of the leader before."""
    old = before.ballot.node
    begin_us = (story.steps[0].event.wall_us if story.steps else 0) - 15_000_000
    until_us = story.led.wall_us if story.led is not None else 1 << 62
    ends = [event for event in before.ended if event.wall_us >= begin_us]
    for event in ends:
        name = note_event(event)
        fields = note_fields(event.text)
        why = str(fields.get("reason") or fields.get("what") or "")
        to = f" to {fields['to']}" if fields.get("to") else ""
        said.add(
            f"{old}, which led at {before.ballot.shown()}, {_END_WORDS[name]}{to} at "
            f"{clock_time(event.wall_us)}{f': {why}' if why else ''}.", event,
        )  # fmt: skip
    faults = [
        fault for fault in in_force(faults_of(found.events), until_us - 5_000_000, until_us)
        if not fault.is_request and fault.may_end_leader(old)
    ]  # fmt: skip
    for fault in faults:
        said.add(f"{fault.sentence()}.", fault.hit or fault.begun)
    if story.led is not None:
        said.causes = diagnosis.why_replaced(old, story.led)
    seen = [each for each in said.causes if not each.is_noted][:2]
    for incident in seen:
        said.add(f"{incident.sentence()}.", *incident.evidence)
    if ends or faults or seen:
        return
    again = [e for e in found.events if e.node == old and e.kind == START
             and before.led is not None and e.wall_us > before.led.wall_us]  # fmt: skip
    if again:
        said.add(f"{old}, which led at {before.ballot.shown()}, died without a word, or its last "
                 f"words were not written, and started again at {clock_time(again[0].wall_us)}.",
                 again[0])  # fmt: skip
        return
    silent = "" if _recorded(found, old) else f", and nothing of {old} was given to read"
    said.add(f"Why {old} did not go on to lead at {before.ballot.shown()} is not known, because no "
             f"line of a log says so{silent}.", before.led, known=False)  # fmt: skip


def _add_end(said: Explanation, found: Leadership, story: BallotStory) -> None:
    """How its time ended, if it did."""
    for event in story.ended[:2]:
        why = str(note_fields(event.text).get("reason") or "")
        said.add(f"{event.node} {_END_WORDS[note_event(event)]} at {clock_time(event.wall_us)}"
                 f"{f': {why}' if why else ''}.", event)  # fmt: skip
    following = story.next_ballot
    if following is not None:
        said.add(f"The next that led was {following.node}, at {following.shown()}.",
                 found.led(following))  # fmt: skip
    elif not story.ended:
        said.add("It led until the end of what is recorded.")


def _recorded(found: Leadership, node: str) -> bool:
    return any(event.node == node for event in found.events)


# -- one slot


def explain_slot(found: Leadership, story: SlotStory) -> Explanation:
    """Who led, who proposed it, whose votes chose it, what took how long, who applied it."""
    said = Explanation(f"slot {story.slot}")
    if not story.is_known:
        said.add(story.sentence() + ".", known=False)
        return said
    ballot = story.ballot
    _add_win(said, ballot_story(found, ballot))
    if len(story.ballots) > 1:
        shown = ", ".join(each.shown() for each in story.ballots)
        said.add(f"The slot was proposed more than once, at {shown}: a later leader proposes again "
                 "what it finds.", *[s.event for s in story.steps[:1]])  # fmt: skip
    _add_proposal(said, story)
    if story.why_not:
        said.add(f"By whose votes it was chosen is not known, because {story.why_not}.",
                 known=False)  # fmt: skip
    else:
        _add_choice(said, story)
    _add_others(said, story)
    _add_applied(said, story)
    begin = story.steps[0].event.wall_us
    end = max(step.event.wall_us for step in story.steps)
    for fault in in_force(faults_of(found.events), begin, end):
        said.add(f"On the way {fault.sentence()}.", fault.hit or fault.begun)
    return said


def _add_proposal(said: Explanation, story: SlotStory) -> None:
    proposed = story.proposed
    if proposed is None:
        said.add(f"When it was proposed is not known, because {story.ballot.node or 'its leader'} "
                 "recorded nothing of it.", known=False)  # fmt: skip
        return
    size = f"{story.value_bytes} bytes" if story.value_bytes else "a no-op"
    first = min(story.requests, key=lambda e: e.wall_us - e.round, default=None)
    when = f"{proposed.node} proposed it ({size}) at {clock_time(proposed.wall_us)}"
    if first is not None:
        waited = max(0, proposed.wall_us - (first.wall_us - first.round))
        when += f", {ms(waited)} after the first of its requests came"
    said.add(f"{when}.", proposed, first)
    if story.commands:
        words = "; ".join(command_words(each.command) for each in story.commands[:COMMANDS_SAID])
        left = len(story.commands) - COMMANDS_SAID
        nodes = listed(story.commands[0].nodes)
        more = f"; and {left} more" if left > 0 else ""
        said.add(f"In it, by the log of {nodes}: {words}{more}.", proposed)


def _add_choice(said: Explanation, story: SlotStory) -> None:
    voters = [voter_of(vote) for vote in story.chosen_by]
    last = story.chosen_by[-1]
    after = ""
    if story.proposed is not None:
        after = f", {ms(last.wall_us - story.proposed.wall_us)} after it was proposed"
    said.add(
        f"The votes of {listed(voters)} made it chosen{after}: {story.quorum.phase2} of "
        f"{len(story.quorum.voters)} were needed, and {last.node} had that of {voter_of(last)} "
        "last.", *story.chosen_by,
    )  # fmt: skip
    for voter in voters:
        parts = vote_parts(story, voter)
        words = []
        if parts.way_us is not None:
            words.append(f"had the accept after {ms(parts.way_us)}")
        if parts.disk_us is not None:
            sync = f" (the group commit {ms(parts.sync.x)})" if parts.sync is not None else ""
            words.append(f"had its vote durable and published {ms(parts.disk_us)} after it took it "
                         f"up{sync}")  # fmt: skip
        if parts.back_us is not None:
            words.append(f"its vote was {ms(parts.back_us)} on its way")
        if words:
            said.add(f"{voter} {listed(words)}.", *parts.evidence)
        else:
            said.add(f"What took {voter} how long is not known, because it recorded nothing of it.",
                     known=False)  # fmt: skip


def _add_others(said: Explanation, story: SlotStory) -> None:
    """Voters that were not needed: late, or silent."""
    decisive = {voter_of(vote) for vote in story.chosen_by}
    for voter in story.quorum.voters:
        if voter in decisive or not story.chosen_by:
            continue
        parts = vote_parts(story, voter)
        what = "vote published" if voter == story.ballot.node else f"vote of {voter} learned"
        late = [s.event for s in story.steps if s.what == what
                and s.event.node == story.ballot.node]  # fmt: skip
        if late and story.proposed is not None:
            after = ms(late[0].wall_us - story.proposed.wall_us)
            sync = f"; its group commit took {ms(parts.sync.x)}" if parts.sync is not None else ""
            said.add(f"The vote of {voter} came {after} after the proposal, and was not needed"
                     f"{sync}.", late[0], *parts.evidence)  # fmt: skip
        else:
            said.add(f"No vote of {voter} for it is recorded with {story.ballot.node}.",
                     *parts.evidence)  # fmt: skip


def _add_applied(said: Explanation, story: SlotStory) -> None:
    names = sorted(story.applied)
    if names:
        said.add(f"It was applied by {listed(names)}.", *[story.applied[name] for name in names])
    answers = [event for event in story.requests if not event.code]
    for event in answers[:3]:
        said.add(f"{event.node} answered {request_name(event)} {ms(event.round)} after it came.",
                 event)  # fmt: skip
    if len(answers) > 3:
        said.add(f"{len(answers) - 3} more requests were answered for it.", answers[-1])


# -- slow requests


def explain_slow(
    request: RequestTime, story: SlotStory, found: Leadership, diagnosis: Diagnosis | None = None
) -> tuple[str, Sentence]:
    """The cause's label, and the sentence about this request."""
    write = request.write
    cause = cause_of(request, story, found)
    incident = None
    if diagnosis is not None:
        incident = diagnosis.slowed(write, cause.label, cause.late)
    if incident is not None:
        # It may be the fault that the cause names already.
        words = cause.words.removesuffix(incident.words).removesuffix("; ")
        cause = Cause(incident.label, f"{words}; {incident.sentence()}",
                      (*cause.evidence, *(event_id(each) for each in incident.evidence))
                  )  # fmt: skip
    stages = ", ".join(f"{name} {ms(took)}" for name, took in request.stages.items() if took >= 50)
    text = (
        f"{request_name(write)} (slot {write.slot}) took {ms(write.round)} at "
        f"{clock_time(write.wall_us)}: {cause.words}{f' [{stages}]' if stages else ''}."
    )
    evidence = tuple(dict.fromkeys((event_id(write), *cause.evidence)))
    return cause.label, Sentence(text, evidence, "not known" not in cause.label)
