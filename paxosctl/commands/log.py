"""log: what happened in a cluster, from the recordings and logs of its nodes."""

from collections.abc import Iterator

import click

from paxosctl.cli.app import Group, Settings, global_options, verb
from paxosctl.commands.log_options import (
    BallotText,
    Reading,
    SlotRange,
    opened_reading,
    reading_options,
)
from paxosctl.commands.log_stories import ballot_verb, key_verb, request_verb, slot_verb
from paxosctl.inspection.events import KINDS, event_data
from paxosctl.inspection.filters import Filter, is_kind
from paxosctl.inspection.folding import folded, single
from paxosctl.inspection.recordings import Recordings, Window
from paxosctl.inspection.timeline_view import (
    TimelineText,
    head_lines,
    json_line,
    nodes_view,
    plain_line,
    write_lines,
)
from paxosd.core.types import NULL_BALLOT, Ballot
from paxosd.host.log_levels import LEVELS


@click.group("log", cls=Group)
def _log() -> None:
    """What happened in a cluster, from the flight recorders and logs of its nodes.

    SOURCES are data directories, or the directory of several; recorder files; JSON logs; exports of
    journald (journalctl -o json, -o export); any of these in gzip; - is standard input. The nodes
    may be up or long gone. Times are corrected by what the messages say of the clocks.
    """


log_verb = global_options(_log)


@verb("timeline")
@click.option("--kind", "kinds", multiple=True, help="Only such events: accept, voted, note, "
              "leader.elected, …; may be repeated.")  # fmt: skip
@click.option("--slot", "slots", type=SlotRange(), multiple=True, help="Only of these slots.")
@click.option("--ballot", type=BallotText(), default=None, help="Only of this ballot.")
@click.option("--node", "nodes", multiple=True, help="Only of these nodes; may be repeated.")
@click.option("--level", type=click.Choice(LEVELS), default="debug",
              help="The lowest level of log lines.")  # fmt: skip
@click.option("--all", "unfolded", is_flag=True, help="Each event in a line of its own.")
@reading_options
def timeline_verb(
    settings: Settings,
    kinds: tuple[str, ...],
    slots: tuple[tuple[int, int], ...],
    ballot: Ballot | None,
    nodes: tuple[str, ...],
    level: str,
    unfolded: bool,
    reading: Reading,
) -> None:
    """The events of all nodes in one order: no message arrives before it was sent.

    Repeats are folded: what comes all the time is counted once a second, unless --all or --kind
    asks for it.
    """
    for kind in kinds:
        if not is_kind(kind):
            raise click.UsageError(f'there is no kind "{kind}"; there are {", ".join(KINDS)}')
    wanted = Filter(kinds, nodes, slots or None, ballot or NULL_BALLOT, level)
    with opened_reading(reading) as (recordings, window):
        missing = sorted(set(nodes) - set(recordings.names))
        if missing:
            raise click.UsageError(
                f"nothing is recorded of {', '.join(missing)}; there is "
                f"{', '.join(recordings.names)}"
            )
        write_lines(_timeline(settings.output, recordings, window, wanted, unfolded=unfolded))


def _timeline(
    output: str, recordings: Recordings, window: Window, wanted: Filter, *, unfolded: bool
) -> Iterator[str]:
    events = recordings.events(window)
    if not wanted.is_open or wanted.level != "debug":
        events = (event for event in events if wanted.takes(event))
    if output == "json":
        for event in events:
            yield json_line(event_data(event))
        return
    if output == "plain":
        for event in events:
            yield plain_line(event)
        return
    yield from head_lines(recordings)
    text = TimelineText.for_output(recordings.names)
    plain = unfolded or bool(wanted.kinds)
    for line in map(single, events) if plain else folded(events):
        yield from text.lines(line)


@verb("nodes")
@reading_options
def nodes_verb(settings: Settings, reading: Reading) -> None:
    """What there is: nodes, from when until when, and how far their clocks are apart."""
    with opened_reading(reading) as (recordings, _):
        settings.show(nodes_view(recordings))


for _each in (nodes_verb, timeline_verb, slot_verb, ballot_verb, request_verb, key_verb):
    log_verb.add_command(_each)
