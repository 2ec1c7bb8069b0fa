"""The events as a log for ShiViz, with vector clocks, to load there as a file.

    line 1      the parser's regular expression; ShiViz puts ^ and $ around it
    line 2      empty: there is one execution
    from 3 on   host {clock} time name what happened

A node's own entry counts its events in this log from 1; an event that receives a message takes over
what the sending knew (Mattern, "Virtual Time and Global States of Distributed Systems", 1989).
ShiViz checks both, and draws an arrow wherever an entry of another node has grown.
"""

import json
import re
from collections.abc import Iterator, Mapping

from paxosctl.diagram.diagram import Diagram
from paxosctl.inspection.events import detail, event_id, headline
from paxosctl.inspection.timeline_view import iso_time
from paxosd.host.printable import escape_controls
from paxosd.recorder.event import RECEIVED, START, Event

PARSER = r"(?<host>\S+) (?<clock>\{[^}]*\}) (?<time>\S+) (?<id>\S+) (?<event>.*)"
_NOT_IN_HOST = re.compile(r"[^\w.:-]")


def shiviz_log(diagram: Diagram) -> str:
    """The whole file as text."""
    return "".join(f"{line}\n" for line in (PARSER, "", *_lines(diagram)))


def _lines(diagram: Diagram) -> Iterator[str]:
    hosts = host_names(diagram.nodes)
    sources = {arrow.target: arrow.source for arrow in diagram.arrows if arrow.target is not None}
    own: dict[str, dict[str, int]] = {host: {} for host in hosts.values()}
    needed = set(sources.values())
    sent: dict[int, dict[str, int]] = {}
    for place, event in enumerate(diagram.events):
        host = hosts[event.node]
        clock = own[host]
        source = sources.get(place)
        if source is not None:
            for other, count in sent[source].items():
                clock[other] = max(clock.get(other, 0), count)
        clock[host] = clock.get(host, 0) + 1
        if place in needed:
            sent[place] = dict(clock)
        name = f"{host}/{event_id(event).rpartition('/')[2]}"
        yield f"{host} {json.dumps(clock)} {iso_time(event.wall_us)} {name} {_words(event)}"


def host_names(nodes: list[str]) -> Mapping[str, str]:
    """Node → a name of it that ShiViz can read, each one different."""
    found: dict[str, str] = {}
    for node in nodes:
        host = _NOT_IN_HOST.sub("_", node) or "_"
        while host in found.values():
            host += "_"
        found[node] = host
    return found


def _words(event: Event) -> str:
    words = headline(event)
    if event.kind < START and event.peer:
        words += f" {'from' if event.code == RECEIVED else 'to'} {event.peer}"
    text = f"{words} {detail(event)}".strip()
    return escape_controls(text, "").replace("\u2028", " ").replace("\u2029", " ")
