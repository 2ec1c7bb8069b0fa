"""A timeline on a terminal, in a pipe, or for programs: written as it is made, line by line."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from paxosctl.cli.colour import wants_colour
from paxosctl.cli.render import View, human_bytes, json_bytes
from paxosctl.cli.streams import write
from paxosctl.cli.tables import cell_width, terminal_width
from paxosctl.inspection.events import event_data
from paxosctl.inspection.folding import TimelineLine
from paxosctl.inspection.recordings import Recordings
from paxosd.host.printable import escape_controls
from paxosd.recorder.event import Event

BATCH = 200
"""Lines written at once."""
WITH_IDS = 100
"""Columns of a terminal that has room for the names of events."""
TIME = "%H:%M:%S.%f"
LOUD = frozenset(("warning", "error", "critical"))
_LEADING = ("leader.", "election.", "prepare", "promise", "prevote", "nack", "start")


def clock_time(time_us: int) -> str:
    """``11:58:44.340``, in UTC."""
    return datetime.fromtimestamp(time_us / 1_000_000, UTC).strftime(TIME)[:-3]


def iso_time(time_us: int) -> str:
    """``2026-11-29T11:58:44.340123Z``."""
    moment = datetime.fromtimestamp(time_us / 1_000_000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def day(time_us: int) -> str:
    """``2026-11-29``."""
    return datetime.fromtimestamp(time_us / 1_000_000, UTC).strftime("%Y-%m-%d")


def head_lines(recordings: Recordings) -> list[str]:
    """What is read, and what is known of the clocks."""
    names = ", ".join(recordings.names)
    lines = [
        f"{names}: {day(recordings.first_us)} {clock_time(recordings.first_us)} to "
        f"{clock_time(recordings.last_us)} UTC"
    ]
    clocks = recordings.offsets.sentences(recordings.nodes)
    if clocks:
        lines.append(f"clocks: {'; '.join(clocks)}")
    return [escape_controls(line, "") for line in lines]


def head_data(recordings: Recordings) -> dict[str, Any]:
    """The same for programs."""
    offsets = recordings.offsets
    return {
        "first_us": recordings.first_us,
        "last_us": recordings.last_us,
        "reference": offsets.reference or None,
        "nodes": [
            {
                "node": name,
                "runs": recordings.nodes[name].runs if name in recordings.nodes else 0,
                "recorded_bytes": (
                    recordings.nodes[name].total_bytes if name in recordings.nodes else 0
                ),
                "first_us": recordings.nodes[name].first_us if name in recordings.nodes else None,
                "last_us": recordings.nodes[name].last_us() if name in recordings.nodes else None,
                "ahead_us": offsets.of[name].ahead_us if name in offsets.of else None,
                "error_us": offsets.of[name].error_us if name in offsets.of else None,
            }
            for name in recordings.names
        ],
    }


def nodes_view(recordings: Recordings) -> View:
    """What there is of each node, and what is known of its clock."""
    data = head_data(recordings)
    rows = [
        (
            each["node"],
            each["runs"],
            human_bytes(each["recorded_bytes"]),
            _moment(each["first_us"]),
            _moment(each["last_us"]),
            "-" if each["ahead_us"] is None else f"{_tenths(each['ahead_us']):+.1f} ms",
            "-" if each["error_us"] is None else f"{each['error_us'] / 1000:.1f} ms",
        )
        for each in data["nodes"]
    ]
    plain = "".join("\t".join(str(cell) for cell in row) + "\n" for row in rows)
    return View(
        data=data,
        plain=plain.encode(),
        columns=("node", "starts", "recorded", "from", "to", "clock ahead", "error"),
        rows=rows,
        notes=recordings.offsets.sentences(recordings.nodes),
        optional=("error", "starts"),
    )


def _tenths(time_us: int) -> float:
    """Milliseconds with one decimal; never -0.0."""
    return round(time_us / 1000, 1) + 0.0


def _moment(time_us: int | None) -> str:
    return "-" if time_us is None else f"{day(time_us)} {clock_time(time_us)}"


@dataclass(slots=True)
class TimelineText:
    """How lines look. ``width``: None in a pipe; ``node_width``: of the longest name."""

    width: int | None
    colour: bool
    node_width: int
    _day: str = ""

    @classmethod
    def for_output(cls, names: Iterable[str]) -> "TimelineText":
        """For standard output as it is."""
        longest = max((cell_width(escape_controls(name, "")) for name in names), default=1)
        return cls(terminal_width(), wants_colour(), longest)

    def lines(self, line: TimelineLine) -> Iterator[str]:
        """The lines of one entry; a new day gets a line of its own."""
        today = day(line.time_us)
        if self._day and today != self._day:
            yield self._paint(f"── {today}", dim=True)
        self._day = today
        body = _body(line)
        margin = 12 + 2 + self.node_width + 2
        node, event = escape_controls(line.node, ""), escape_controls(line.first_id, "")
        head = f"{clock_time(line.time_us)}  {node.ljust(self.node_width)}  "
        if self.width is None:
            yield f"{head}{body}  [{event}]"
            return
        name = f"  {event}" if self.width >= WITH_IDS else ""
        room = max(20, self.width - margin - len(name))
        first, *rest = textwrap.wrap(
            body, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        ) or [""]
        shown = self._painted(line, first)
        pad = " " * max(0, room - cell_width(first)) if name else ""
        yield f"{head}{shown}{pad}{self._paint(name, dim=True)}".rstrip()
        for each in rest:
            yield " " * margin + self._painted(line, each)

    def _painted(self, line: TimelineLine, text: str) -> str:
        if line.level in LOUD:
            return self._paint(text, fg="yellow" if line.level == "warning" else "red")
        what = line.what or line.words
        if what.startswith(_LEADING):
            return self._paint(text, bold=True)
        if line.what == "…":
            return self._paint(text, dim=True)
        return text

    def _paint(self, text: str, **style: Any) -> str:
        return click.style(text, **style) if self.colour and text else text


def _body(line: TimelineLine) -> str:
    arrow = "from" if line.what.endswith("received") else "to"
    route = f" {arrow} {', '.join(line.peers)}" if line.peers else ""
    words = f"{line.what}{route}: {line.words}" if line.what and line.words and (
        line.what != "…"
    ) else f"{line.what}{route} {line.words}".strip()  # fmt: skip
    return escape_controls(words, "")


def plain_line(event: Event) -> str:
    """An event for programs that cut lines at tabs."""
    data = event_data(event)
    fields = (
        iso_time(event.wall_us),
        data["node"],
        data["id"],
        data["kind"],
        data["what"] or "",
        data["peer"] or "",
        data["ballot"] or "",
        "" if data["slot"] is None else str(data["slot"]),
        data["detail"],
    )
    return "\t".join(escape_controls(field, "") for field in fields)


def write_lines(lines: Iterable[str]) -> None:
    """Many at once. Raises StreamError, BrokenOutputError."""
    batch: list[str] = []
    size = 20  # the first screen comes soon
    for line in lines:
        batch.append(line)
        if len(batch) >= size:
            write("\n".join(batch))
            batch, size = [], BATCH
    if batch:
        write("\n".join(batch))


def json_line(data: Any) -> str:
    """One line of JSON."""
    return json_bytes(data).decode("utf-8")
