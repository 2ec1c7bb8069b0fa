"""The stories as answers: a table for people, and the same for programs."""

from collections.abc import Iterable, Sequence
from typing import Any

from paxosctl.cli.render import View, as_cell
from paxosctl.inspection.ballot_story import BallotStory
from paxosctl.inspection.command_words import change_words, command_words
from paxosctl.inspection.events import MESSAGES, OUTCOME_NAMES, ballot_of, event_id, ms, note_words
from paxosctl.inspection.read_times import ReadTime
from paxosctl.inspection.request_story import KeyStory, RequestStory
from paxosctl.inspection.slot_steps import Step, voter_of
from paxosctl.inspection.slot_story import SlotStory, near_events, near_words
from paxosctl.inspection.timeline_view import clock_time
from paxosctl.inspection.wal_entries import client_words, value_words
from paxosd.core.types import NULL_BALLOT, Ballot
from paxosd.recorder.event import SENT, UNSENT, WRITE, Event

COLUMNS = ("time", "node", "what", "took", "event")
OPTIONAL = ("event",)
COMMANDS_SHOWN = 20


def _rows(steps: Iterable[Step]) -> list[tuple[str, ...]]:
    return [
        (
            clock_time(step.event.wall_us),
            step.event.node,
            step.what,
            "" if step.took_us is None else ms(step.took_us),
            event_id(step.event),
        )
        for step in _without_taken_back(steps)
    ]


def _without_taken_back(steps: Iterable[Step]) -> list[Step]:
    """Without what was sent as far as the core knows, and could not be: that it could not be is a
    step as well, an UNSENT that takes back the last sending before it of the same message."""
    found: list[Step] = []
    for step in steps:
        event = step.event
        if event.code == UNSENT and event.kind in MESSAGES.values():
            said = event.node, event.kind, event.peer, ballot_of(event), event.slot
            for place in range(len(found) - 1, -1, -1):
                one = found[place].event
                if one.code == SENT and said == (
                    one.node, one.kind, one.peer, ballot_of(one), one.slot
                ):  # fmt: skip
                    del found[place]
                    break
        found.append(step)
    return found


def _plain(rows: Iterable[Sequence[str]]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in rows).encode("utf-8", "backslashreplace")


def steps_data(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """The steps for programs."""
    return [
        {
            "id": event_id(step.event),
            "node": step.event.node,
            "time_us": step.event.wall_us,
            "step": step.what,
            "took_us": step.took_us,
        }
        for step in steps
    ]


def _alike(when: str, lines: Iterable[Event]) -> list[str]:
    """Lines of the log in words; what several nodes say alike is one."""
    said: dict[str, list[str]] = {}
    for event in lines:
        nodes = said.setdefault(note_words(event), [])
        if event.node not in nodes:
            nodes.append(event.node)
    return [f"{when}: {', '.join(nodes)}: {words}" for words, nodes in said.items()]


def ballot_name(ballot: Ballot) -> str | None:
    """A ballot for programs."""
    return ballot.shown() if ballot != NULL_BALLOT else None


def slot_data(story: SlotStory) -> dict[str, Any]:
    """The story of a slot for programs."""
    took = None
    if story.proposed is not None and story.chosen_at is not None:
        took = story.chosen_at.wall_us - story.proposed.wall_us
    return {
        "slot": story.slot,
        "ballot": ballot_name(story.ballot),
        "leader": story.ballot.node or None,
        "value_bytes": story.value_bytes,
        "chosen_by": [voter_of(vote) for vote in story.chosen_by],
        "evidence": [event_id(vote) for vote in story.chosen_by],
        "needed": story.quorum.phase2,
        "voters": list(story.quorum.voters),
        "not_known": story.why_not,
        "chosen_after_us": took,
        "ballots": [ballot.shown() for ballot in story.ballots],
        **_commands_data(story),
        "steps": steps_data(story.steps),
        "notes": near_words(story),
    }


def _commands_data(story: SlotStory) -> dict[str, Any]:
    if story.commands is None:
        return {}
    return {"commands": [
        {"text": command_words(each.command), "session": each.session, "seq": each.seq}
        for each in story.commands
    ]}  # fmt: skip


def _contents(story: SlotStory) -> list[str]:
    """Its commands in words, a line each."""
    if story.commands is None:
        return ["what stands in it is not known: no write-ahead log among the sources has it"]
    lines = [
        f"in it: {command_words(each.command)}"
        + (f", request {each.session}/{each.seq}" if each.session else "")
        for each in story.commands[:COMMANDS_SHOWN]
    ]
    left = len(story.commands) - len(lines)
    return [*lines, f"in it: {left} more commands"] if left else lines


def slot_view(story: SlotStory) -> View:
    """The story of a slot."""
    rows = _rows(story.steps)
    notes = [story.sentence()]
    if len(story.ballots) > 1:
        shown = ", ".join(ballot.shown() for ballot in story.ballots)
        notes.append(f"It was proposed at more than one ballot: {shown}.")
    if not story.quorum.recorded:
        notes.append("The membership is not recorded: every node that is seen is taken for a "
                     "voter.")  # fmt: skip
    notes += _contents(story)
    notes += _alike("near it", near_events(story))
    return View(data=slot_data(story), plain=_plain(rows), columns=COLUMNS, rows=rows,
                notes=["", *notes], optional=OPTIONAL)  # fmt: skip


def ballot_data(story: BallotStory) -> dict[str, Any]:
    """The story of a ballot for programs."""
    return {
        "ballot": story.ballot.shown(),
        "leader": story.ballot.node,
        "led": story.led is not None and story.led.node == story.ballot.node,
        "promises": [_giver(event, story.ballot) for event in story.promises],
        "evidence": [event_id(event) for event in story.promises],
        "needed": story.quorum.phase1,
        "voters": list(story.quorum.voters),
        "from_slot": story.from_slot or None,
        "adopted": story.adopted,
        "next_ballot": ballot_name(story.next_ballot or NULL_BALLOT),
        "before": [_line(event) for event in story.before],
        "ended": [_line(event) for event in story.ended],
        "steps": steps_data(story.steps),
    }


def _giver(promise: Event, ballot: Ballot) -> str:
    return promise.peer or promise.node if promise.node == ballot.node else promise.node


def _line(event: Event) -> dict[str, Any]:
    return {"id": event_id(event), "node": event.node, "time_us": event.wall_us,
            "line": note_words(event)}  # fmt: skip


def ballot_view(story: BallotStory) -> View:
    """The story of a ballot."""
    rows = _rows(story.steps)
    shown = story.ballot.shown()
    givers = " and ".join(_giver(event, story.ballot) for event in story.promises)
    notes = [""]
    if story.led is not None:
        since = f"{shown}: {story.ballot.node} led from {clock_time(story.led.wall_us)} on"
        notes.append(f"{since} (slot {story.from_slot}), by the promises of {givers} "
                     f"({story.quorum.phase1} of {len(story.quorum.voters)} needed)"
                     if givers else f"{since}; by whose promises is not known, because they are "
                     "not recorded")  # fmt: skip
    else:
        notes.append(f"{shown}: that it ever led is not recorded")
    notes += _alike("before it", story.before)
    notes += _alike("its end", story.ended)
    if story.next_ballot is not None:
        notes.append(f"the next that led: {story.next_ballot.shown()}")
    return View(data=ballot_data(story), plain=_plain(rows), columns=COLUMNS, rows=rows,
                notes=notes, optional=OPTIONAL)  # fmt: skip


def request_data(story: RequestStory) -> dict[str, Any]:
    """What became of a request, for programs."""
    return {
        "session": story.session,
        "seq": story.seq,
        "message": story.sentence(),
        "op": story.commands[0].op if story.commands else None,
        "client": story.client,
        "proposed_us": story.commands[0].stamp_ms * 1000 if story.commands else None,
        "answers": [
            {"id": event_id(e), "node": e.node, "time_us": e.wall_us, "slot": e.slot or None,
             "ok": not e.code, "took_us": e.round}
            for e in story.answers
        ],
        "slots": [slot_data(each) for each in story.slots],
        "steps": steps_data(step for each in story.reads for step in read_steps(each)),
    }  # fmt: skip


def request_view(story: RequestStory) -> View:
    """What became of a request, with the stories of its slots."""
    steps: list[Step] = []
    notes = ["", story.sentence(), *filter(None, [story.author()])]
    for command in story.commands[:1]:
        key = as_cell(command.key) if command.key is not None else ""
        notes.append(f"in the log of {', '.join(command.nodes)}: {command.op} {key}".rstrip())
    for each in story.slots:
        steps += each.steps
        notes.append(each.sentence())
    for read in story.reads:
        steps += read_steps(read)
    refused = [
        Step(event, f"refused: {_ending(event)}")
        for event in story.answers
        if event.code and event.kind == WRITE
    ]
    rows = _rows(sorted([*refused, *steps], key=lambda step: step.event.wall_us)
                 if refused else steps)  # fmt: skip
    return View(data=request_data(story), plain=_plain(rows), columns=COLUMNS, rows=rows,
                notes=notes, optional=OPTIONAL)  # fmt: skip


def read_steps(read: ReadTime) -> list[Step]:
    """How a read was answered: each with the time since the one before."""
    answer = read.answer
    at_us = answer.wall_us - answer.round
    steps = []
    for event, what in zip(
        read.evidence, ("asked who leads", f"confirmed by {read.waited_for}"), strict=False
    ):
        steps.append(Step(event, what, event.wall_us - at_us))
        at_us = event.wall_us
    what = f"refused: {_ending(answer)}" if answer.code else f"answered as of slot {answer.slot}"
    return [*steps, Step(answer, what, answer.wall_us - at_us)]


def _ending(event: Event) -> str:
    return f"{OUTCOME_NAMES.get(event.code, 'another reason')} after {ms(event.round)}"


def key_view(story: KeyStory) -> View:
    """The changes of a key."""
    rows, data = [], []
    for change in story.changes:
        answer = story.answers.get((change.session, change.seq))
        applied = story.applied.get(change.slot)
        evidence = answer or applied
        name = event_id(evidence) if evidence is not None else None
        ballot = ballot_of(applied) if applied is not None else change.ballot
        who = f"{change.session}/{change.seq}" if change.seq else ""
        revision = story.revision(change)
        client = client_words(story.names.client(change.session) or "")
        rows.append((
            clock_time(change.stamp_ms * 1000), str(change.slot),
            "not known" if revision is None else str(revision or "no change"),
            change.ballot.shown(),
            change.op, change_words(change.command, story.key) or value_words(change.value),
            who, client,
            "" if answer is None else f"{answer.node} {ms(answer.round)}",
            name or "",
        ))  # fmt: skip
        data.append({
            "time_us": change.stamp_ms * 1000, "slot": change.slot,
            "ballot": ballot_name(change.ballot), "leader": ballot.node or None, "op": change.op,
            "value": change.value, "session": change.session, "seq": change.seq,
            "client": story.names.client(change.session),
            "applied": applied is not None,
            "changed": None if revision is None else bool(revision), "revision": revision or None,
            "answered_by": answer.node if answer is not None else None,
            "id": name,
        })  # fmt: skip
    span = f"slots {story.first_slot} to {story.last_slot} of {', '.join(story.nodes)}" if (
        story.first_slot
    ) else "no slots: no write-ahead log was among the sources"  # fmt: skip
    older = "; older changes are in a snapshot" if story.first_slot > 1 else ""
    notes = ["", f"from the write-ahead logs, which hold {span}{older}"]
    return View(
        data={"key": story.key, "first_slot": story.first_slot or None,
              "last_slot": story.last_slot or None, "changes": data},
        plain=_plain(rows),
        columns=("proposed", "slot", "revision", "ballot", "op", "value", "request", "client",
                 "answered", "event"),
        rows=rows, notes=notes, optional=("event", "answered", "ballot"),
    )  # fmt: skip
