"""explain: the same as the stories of log, in sentences with evidence."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from paxosctl.cli import complete
from paxosctl.cli.app import (
    Group,
    Settings,
    Whole,
    check_key,
    global_options,
    negative,
    raw,
    verb,
)
from paxosctl.commands.log_options import (
    Reading,
    RequestName,
    opened_reading,
    reading_options,
)
from paxosctl.inspection.ballot_story import Leadership, leadership
from paxosctl.inspection.diagnosis import diagnose
from paxosctl.inspection.events import event_id
from paxosctl.inspection.explanation import (
    Explanation,
    Sentence,
    explain_ballot,
    explain_slot,
    explain_slow,
)
from paxosctl.inspection.explanation_views import SlowGroup, explanation_view, slowest_view
from paxosctl.inspection.read_times import ReadTime, slowest_reads
from paxosctl.inspection.request_story import RequestStory, key_story, request_story
from paxosctl.inspection.request_times import SLOWEST, RequestTime, request_times
from paxosctl.inspection.slot_story import SlotStory, slot_stories, slot_story
from paxosctl.inspection.slow_reads import explain_read
from paxosd.core.types import Ballot

COLLECTED = 200
"""Slow requests that are looked at: several of them may be of one slot."""


@click.group("explain", cls=Group)
def _explain() -> None:
    """Why something happened, in sentences; each names the events that prove it.

    SOURCES are as for log; none: the running nodes. What the recordings do not say is called not
    known, with the reason.
    """


explain_verb = global_options(_explain)


@verb("slot")
@click.argument("slot", type=Whole(1))
@reading_options
def slot_verb(settings: Settings, slot: int, reading: Reading) -> None:
    """One slot: who led and by which promises, whose votes made it chosen, what took how long."""
    with opened_reading(reading) as (recordings, window):
        found = leadership(recordings)
        story = slot_story(recordings, slot, window, found)
        said = explain_slot(found, story)
    if not story.is_known:
        negative(story.sentence())
    settings.show(explanation_view([said]))


@verb("request")
@click.argument("request", type=RequestName(), metavar="SESSION/SEQ")
@reading_options
def request_verb(settings: Settings, request: tuple[int, int], reading: Reading) -> None:
    """One request, by the SESSION/SEQ of a call that timed out: what became of it, and why."""
    with opened_reading(reading) as (recordings, window):
        found = leadership(recordings)
        story = request_story(recordings, *request, window, found)
        said = [_request(story), *(explain_slot(found, each) for each in story.slots)]
        if story.reads:
            diagnosis = diagnose(recordings, window, found)
            for read in story.reads:
                _, sentence = explain_read(read, diagnosis)
                said[0].sentences.append(sentence)
    if not story.is_known:
        negative(story.sentence())
    settings.show(explanation_view(said))


def _request(story: RequestStory) -> Explanation:
    said = Explanation(f"request {story.session}/{story.seq}")
    if not story.reads:
        said.add(f"{story.sentence()}.", *story.answers)
    if author := story.author():
        said.add(f"It was {author}.", known=story.client is not None)
    return said


@verb("put")
@click.argument("key", shell_complete=complete.keys)
@reading_options
def put_verb(settings: Settings, key: str, reading: Reading) -> None:
    """The last change of a key: who asked for it, and how it was agreed on.

    It is found in the write-ahead logs of data directories.
    """
    check_key(key)
    with opened_reading(reading, values=True) as (recordings, window):
        found = leadership(recordings)
        keyed = key_story(recordings, raw(key), window)
        changes = [each for each in keyed.changes if keyed.revision(each) != 0]
        said = []
        if changes and not changes[-1].seq:
            said = [_lease_end(key, slot_story(recordings, changes[-1].slot, window, found), found)]
        elif changes:
            last = changes[-1]
            story = request_story(recordings, last.session, last.seq, window, found)
            said = [_request(story), *(explain_slot(found, each) for each in story.slots)]
    if not said:
        negative(f'no change of "{key}" is in the write-ahead logs among the sources')
    settings.show(explanation_view(said))


def _lease_end(key: str, slot: SlotStory, found: Leadership) -> Explanation:
    said = explain_slot(found, slot)
    said.sentences.insert(0, Sentence(
        f'"{key}" went in slot {slot.slot}, for its lease had expired by the time that the leader '
        "gave that slot.", tuple(event_id(each) for each in slot.applied.values()),
    ))  # fmt: skip
    return said


@verb("leader")
@reading_options
def leader_verb(settings: Settings, reading: Reading) -> None:
    """Who led when, by which promises, and why it changed: [BALLOT] SOURCES.

    BALLOT, such as 12.n1, before the sources asks for that one alone.
    """
    ballot = None
    if reading.sources and not Path(reading.sources[0]).exists():
        with suppress(ValueError):
            ballot = Ballot.of_text(reading.sources[0])
            reading = replace(reading, sources=reading.sources[1:])
    with opened_reading(reading) as (recordings, window):
        found = leadership(recordings)
        led = {each: found.led(each) for each in found.ballots()}
        wanted = [
            each for each, line in led.items()
            if each == ballot or (ballot is None and line is not None
                                  and window.since_us <= line.wall_us <= window.until_us)
        ]  # fmt: skip
        diagnosis = diagnose(recordings, window, found)
        said = [explain_ballot(found, each, diagnosis) for each in wanted]
    if not said:
        what = f"ballot {ballot.shown()}" if ballot is not None else "a leader"
        negative(f"nothing is recorded of {what} in that time")
    settings.show(explanation_view(said))


@verb("slowest")
@reading_options
def slowest_verb(settings: Settings, reading: Reading) -> None:
    """The ten slowest requests by what made them slow; of requests in one slot, the slowest.

    Of linearizable reads with the same confirmation of the leader, one is shown.
    """
    with opened_reading(reading) as (recordings, window):
        found = leadership(recordings)
        times = request_times(recordings, window, found, COLLECTED)
        chosen: dict[tuple[str, int], RequestTime] = {}
        for each in times.slowest:
            chosen.setdefault((each.write.node, each.write.slot), each)
        slow: list[RequestTime | ReadTime] = list(chosen.values())
        slow += slowest_reads(recordings, window, found, SLOWEST)
        slow = sorted(slow, key=_took_us)[-SLOWEST:][::-1]
        slots = {each.write.slot for each in slow if isinstance(each, RequestTime)}
        stories = slot_stories(recordings, slots, window, found)
        diagnosis = diagnose(recordings, window, found)
        groups: dict[str, SlowGroup] = {}
        for one in slow:
            if isinstance(one, RequestTime):
                label, sentence = explain_slow(one, stories[one.write.slot], found, diagnosis)
            else:
                label, sentence = explain_read(one, diagnosis)
            group = groups.setdefault(label, SlowGroup(label))
            group.longest_us = max(group.longest_us, one.took_us)
            group.sentences.append(sentence)
        answered = times.requests + sum(len(each.reads) for each in times.nodes.values())
    if not groups:
        negative("no answered request is recorded in that time")
    settings.show(slowest_view(list(groups.values()), answered))


def _took_us(slow: RequestTime | ReadTime) -> int:
    return slow.took_us


for _each in (put_verb, request_verb, slot_verb, leader_verb, slowest_verb):
    explain_verb.add_command(_each)
