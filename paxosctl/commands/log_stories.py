"""log slot, ballot, request, key: the story of one of them, node by node, step by step."""

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Settings, Whole, check_key, negative, raw, verb
from paxosctl.commands.log_options import (
    BallotText,
    Reading,
    RequestName,
    opened_reading,
    reading_options,
)
from paxosctl.inspection.ballot_story import ballot_story, leadership
from paxosctl.inspection.request_story import key_story, request_story
from paxosctl.inspection.slot_story import slot_story
from paxosctl.inspection.story_views import ballot_view, key_view, request_view, slot_view
from paxosd.core.types import Ballot


@verb("slot")
@click.argument("slot", type=Whole(1))
@reading_options
def slot_verb(settings: Settings, slot: int, reading: Reading) -> None:
    """One slot: who proposed what, who voted when, whose votes made it chosen, who applied it.

    Exit code 1 if nothing is recorded of it.
    """
    with opened_reading(reading) as (recordings, window):
        story = slot_story(recordings, slot, window, leadership(recordings))
    if not story.is_known:
        negative(story.sentence())
    settings.show(slot_view(story))


@verb("ballot")
@click.argument("ballot", type=BallotText())
@reading_options
def ballot_verb(settings: Settings, ballot: Ballot, reading: Reading) -> None:
    """One ballot, such as 12.n1: who promised, when it led, what came before and what ended it.

    Exit code 1 if nothing is recorded of it.
    """
    with opened_reading(reading) as (recordings, _):
        found = leadership(recordings)
        story = ballot_story(found, ballot)
    if not story.is_known:
        known = ", ".join(each.shown() for each in found.ballots()) or "no ballot"
        negative(f"nothing is recorded of ballot {ballot.shown()}; there is {known}")
    settings.show(ballot_view(story))


@verb("request")
@click.argument("request", type=RequestName(), metavar="SESSION/SEQ")
@reading_options
def request_verb(settings: Settings, request: tuple[int, int], reading: Reading) -> None:
    """One request, by the SESSION/SEQ of a call that timed out: what became of it, and where.

    Exit code 1 if nothing is recorded of it.
    """
    with opened_reading(reading) as (recordings, window):
        story = request_story(recordings, *request, window, leadership(recordings))
    if not story.is_known:
        negative(story.sentence())
    settings.show(request_view(story))


@verb("key")
@click.argument("key", shell_complete=complete.keys)
@reading_options
def key_verb(settings: Settings, key: str, reading: Reading) -> None:
    """The changes of one key: when, in which slot, by which session, what was written.

    The recording has no keys: they come from the write-ahead logs of data directories. Exit code 1
    if none of these has a change of it.
    """
    check_key(key)
    with opened_reading(reading, values=True) as (recordings, window):
        story = key_story(recordings, raw(key), window)
    view = key_view(story)
    if not story.changes:
        negative(f'no change of "{key}" is there; {view.notes[-1]}', view)
    settings.show(view)
