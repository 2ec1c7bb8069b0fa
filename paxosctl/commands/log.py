"""log: what happened in a cluster, from the recordings and logs of its nodes."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Group, Settings, Whole, global_options, raw, verb
from paxosctl.commands.log_diagram import log_diagram_verb
from paxosctl.commands.log_options import (
    BallotText,
    Reading,
    SlotRange,
    opened_located,
    opened_reading,
    reading_options,
)
from paxosctl.commands.log_stories import ballot_verb, key_verb, request_verb, slot_verb
from paxosctl.evidence.located import RECORDING, Wanted, located
from paxosctl.inspection.events import KINDS, event_data
from paxosctl.inspection.filters import Filter, is_kind, merged
from paxosctl.inspection.folding import Folding, TimelineLine, folded, single
from paxosctl.inspection.follow import POLL_S, Follower
from paxosctl.inspection.recordings import Recordings, Window
from paxosctl.inspection.request_story import key_slots
from paxosctl.inspection.timeline_view import (
    TimelineText,
    head_lines,
    json_line,
    nodes_view,
    plain_line,
    write_lines,
)
from paxosd.core.types import NULL_BALLOT, Ballot
from paxosd.host.clock import clock_ms
from paxosd.host.log_levels import LEVELS
from paxosd.recorder.event import Event

LINES_MAX = 100_000
TAIL_US = 60_000_000
"""The last lines are looked for among those of the last minute that is recorded, …"""
TAIL_FIRST_US = 2_000_000
"""… and first of its end."""
TAIL_PART_LINES = 10


@click.group("log", cls=Group)
def _log() -> None:
    """What happened in a cluster, from recordings and logs of its nodes.

    SOURCES are data directories, or the directory of several; recorder files; JSON logs; exports of
    journald (journalctl -o json, -o export); any of these in gzip; bundles (debug bundle); - is
    standard input. The nodes may be up or long gone. Without SOURCES the running nodes of
    --endpoints are asked for their recordings, and for their log files if they have some. Times are
    corrected by what the messages say of the clocks.
    """


log_verb = global_options(_log)


@verb("timeline")
@click.option("--kind", "kinds", multiple=True, help="Only such events: accept, voted, note, "
              "leader.elected, …; may be repeated.")  # fmt: skip
@click.option("--slot", "slots", type=SlotRange(), multiple=True, help="Only of these slots.")
@click.option("--ballot", type=BallotText(), default=None, help="Only of this ballot.")
@click.option("--key", default=None, help="Only of slots that may change this key, as far as the "
              "write-ahead logs have them.")  # fmt: skip
@click.option(
    "--node",
    "nodes",
    multiple=True,
    shell_complete=complete.nodes,
    help="Only of these nodes; may be repeated.",
)
@click.option("--level", type=click.Choice(LEVELS), default="debug",
              help="The lowest level of log lines.")  # fmt: skip
@click.option("--all", "unfolded", is_flag=True, help="Each event in a line of its own.")
@reading_options
def timeline_verb(
    settings: Settings,
    kinds: tuple[str, ...],
    slots: tuple[tuple[int, int], ...],
    ballot: Ballot | None,
    key: str | None,
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
    with opened_reading(reading, values=key is not None, narrow=True) as (recordings, window):
        missing = sorted(set(nodes) - set(recordings.names))
        if missing:
            raise click.UsageError(
                f"nothing is recorded of {', '.join(missing)}; there is "
                f"{', '.join(recordings.names)}"
            )
        if key is not None:
            slots += tuple((slot, slot) for slot in key_slots(recordings, raw(key)))
        ranges = merged(slots) if slots or key is not None else None
        wanted = Filter(kinds, nodes, ranges, ballot or NULL_BALLOT, level)
        write_lines(_timeline(settings.output, recordings, window, wanted, unfolded=unfolded))


def _timeline(
    output: str, recordings: Recordings, window: Window, wanted: Filter, *, unfolded: bool
) -> Iterator[str]:
    events = recordings.events(window, wanted.keep())
    if not wanted.is_open or wanted.level != "debug":
        events = (event for event in events if wanted.takes(event))
    text = TimelineText.for_output(recordings.names)
    if output != "table":
        yield from _as_lines(output, text, events, Folding())
        return
    yield from head_lines(recordings)
    plain = unfolded or bool(wanted.kinds)
    yield from _texts(text, map(single, events) if plain else folded(events))


@verb("tail")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("-n", "--lines", type=Whole(0, LINES_MAX), default=20, show_default=True,
              help="How many of the last lines.")  # fmt: skip
@click.option("--background", is_flag=True, help="Count what comes all the time, too, in a line a "
              "node and second.")  # fmt: skip
@reading_options
def tail_verb(
    settings: Settings, follow: bool, lines: int, background: bool, reading: Reading
) -> None:
    """The last lines of the timeline; with -f all nodes go on to be followed at once.

    What comes all the time, such as heartbeats and group commits, is left out: on an idle cluster
    nothing else would be seen. For programs (-o json, plain) every event is a line.

    A line comes about a second after its event: daemons write what they recorded every quarter of a
    second, and the nodes are waited for, so that their order holds. Without SOURCES the running
    nodes are followed; one that goes away and comes back is followed again.
    """
    wanted = Wanted(RECORDING, partial(_tail_span, reading))
    with (
        located(reading.sources, reading.settings, wanted) as found,
        opened_located(reading, found, TAIL_US) as (recordings, window),
    ):
        follower = Follower(recordings, found.recorder_directories)
        text = TimelineText.for_output(recordings.names)
        end_us = min(recordings.last_us, window.until_us)
        span_us = TAIL_FIRST_US
        while True:
            since_us = max(window.since_us, end_us - span_us)
            events = list(recordings.events(replace(window, since_us=since_us)))
            # The first lines of a span may be folded of events of which it has but a part.
            shown = Folding(background=background)
            last = [*_as_lines(settings.output, text, events, shown),
                    *_texts(text, shown.rest())]  # fmt: skip
            if since_us == window.since_us or len(last) >= lines + TAIL_PART_LINES:
                break
            span_us *= 5
        for event in events:
            follower.is_new(event)
        write_lines(last[-lines:] if lines else [])
        folding = Folding(background=background)
        while follow:
            found.refresh()
            new = follower.poll(clock_ms() * 1000)
            write_lines(_as_lines(settings.output, text, new, folding))
            write_lines(_texts(text, folding.pause()))
            time.sleep(POLL_S)


def _tail_span(reading: Reading, newest_ms: int) -> tuple[int, int | None]:
    """Of running nodes, the files in which the last lines are."""
    since_ms, until_ms = reading.span(newest_ms)
    return since_ms or newest_ms - TAIL_US // 1000, until_ms


def _as_lines(
    output: str, text: TimelineText, events: Iterable[Event], folding: Folding
) -> Iterator[str]:
    if output == "json":
        yield from (json_line(event_data(event)) for event in events)
    elif output == "plain":
        yield from map(plain_line, events)
    else:
        yield from _texts(text, folding.lines(events))


def _texts(text: TimelineText, lines: Iterable[TimelineLine]) -> Iterator[str]:
    for line in lines:
        yield from text.lines(line)


@verb("nodes")
@reading_options
def nodes_verb(settings: Settings, reading: Reading) -> None:
    """What there is: nodes, from when until when, and how far their clocks are apart."""
    with opened_reading(reading) as (recordings, _):
        settings.show(nodes_view(recordings))


for _each in (nodes_verb, timeline_verb, tail_verb, slot_verb, ballot_verb, request_verb, key_verb,
              log_diagram_verb):  # fmt: skip
    log_verb.add_command(_each)
