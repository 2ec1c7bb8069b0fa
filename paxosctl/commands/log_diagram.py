"""log diagram: the real run as a space-time diagram, or as text for other tools to draw."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from paxosctl.cli import complete
from paxosctl.cli.app import Settings, Whole, global_options, negative
from paxosctl.cli.new_file import NotReplacedError, new_file
from paxosctl.cli.render import View, human_bytes
from paxosctl.cli.streams import say, write
from paxosctl.commands.log_options import Reading, SlotRange, opened_reading, reading_options
from paxosctl.diagram.arrows import LOST
from paxosctl.diagram.diagram import Diagram, diagram_of
from paxosctl.diagram.gathering import Wanted
from paxosctl.diagram.page import html_page
from paxosctl.diagram.sequence import LINES_MAX, TooLongError, mermaid, mscgen, steps_of
from paxosctl.diagram.shiviz import shiviz_log
from paxosctl.diagram.svg import svg_picture
from paxosctl.inspection.events import KINDS
from paxosctl.inspection.filters import is_kind, merged
from paxosd.host.log_levels import LEVELS

LIMIT_MAX = 200_000
STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class Form:
    """``limit``: of events, or of lines where the whole picture is refused beyond it."""

    suffixes: tuple[str, ...]
    limit: int
    make: Callable[[Diagram, str, int], str]
    is_refused: bool = False


def _mermaid(diagram: Diagram, _: str, limit: int) -> str:
    return mermaid(diagram.nodes, steps_of(diagram, limit))


def _mscgen(diagram: Diagram, _: str, limit: int) -> str:
    return mscgen(diagram.nodes, steps_of(diagram, limit))


FORMS: Mapping[str, Form] = {
    "html": Form((".html", ".htm"), 10_000, lambda d, title, _: html_page(d, title)),
    "svg": Form((".svg",), 500, lambda d, title, _: svg_picture(d, title)),
    "shiviz": Form((".shiviz", ".log"), 10_000, lambda d, *_: shiviz_log(d)),
    "mermaid": Form((".mermaid", ".mmd"), LINES_MAX, _mermaid, True),
    "mscgen": Form((".mscgen", ".msc"), LINES_MAX, _mscgen, True),
}


class Target(click.ParamType[tuple[Path, str]]):
    """A file, whose suffix says the form; the name of a form, for standard output; or ``-``."""

    name = "file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Path, str]:
        """The path, and the form or "" if nothing says it."""
        if isinstance(value, tuple):
            return value
        text = str(value)
        if text in FORMS:
            return STDOUT, text
        path = Path(text)
        form = next((name for name, each in FORMS.items() if path.suffix.lower() in each.suffixes),
                    "")  # fmt: skip
        if not text or (path != STDOUT and not path.absolute().parent.is_dir()):
            self.fail(f'"{text}": there is no such directory', param, ctx)
        return path, form


@click.command("diagram")
@click.option("-o", "--out", "target", type=Target(), required=True, metavar="FILE",
              help="A file; its suffix says the form: .html, .svg, .shiviz, .mmd, .msc. Or - for "
              "standard output, or the name of a form for the same.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(tuple(FORMS)), default=None,
              help="The form, whatever the suffix is.")  # fmt: skip
@click.option("--slots", "--slot", "slots", type=SlotRange(), multiple=True,
              help="Only these, such as 7 or 7..9, and who led and what went wrong meanwhile; may "
              "be repeated.")  # fmt: skip
@click.option("--kind", "kinds", multiple=True, help="Only such events: accept, voted, note, "
              "leader.elected, …; may be repeated.")  # fmt: skip
@click.option(
    "--node",
    "nodes",
    multiple=True,
    shell_complete=complete.nodes,
    help="Only these nodes; may be repeated.",
)
@click.option("--level", type=click.Choice(LEVELS), default="info",
              help="The lowest level of log lines.")  # fmt: skip
@click.option("--all", "everything", is_flag=True,
              help="Heartbeats, reads, greetings and sums of the state as well.")  # fmt: skip
@click.option("--limit", type=Whole(1, LIMIT_MAX), default=None,
              help="At most so many events, the last ones, or with --since the first ones.  "
              "[default: 10000; SVG 500]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE if it exists and is a regular file.")
@reading_options
@click.make_pass_decorator(Settings, ensure=True)
def _diagram(
    settings: Settings,
    target: tuple[Path, str],
    form: str | None,
    slots: tuple[tuple[int, int], ...],
    kinds: tuple[str, ...],
    nodes: tuple[str, ...],
    level: str,
    everything: bool,
    limit: int | None,
    force: bool,
    reading: Reading,
) -> None:
    """Draw the real run: a lane for each node, an arrow for each message, lost ones marked.

    FILE.html is a page to look around in, without the network: zoom, filters, the fields of each
    event, and at a click what it follows from and what follows from it. FILE.svg is for documents.
    shiviz is a log for ShiViz; mermaid and mscgen are sequence diagrams of a few slots. The file
    appears as a whole, and only you may read it.
    """
    path, chosen = target[0], form or target[1]
    if not chosen:
        raise click.UsageError(
            f"-o {path}: its suffix says no form; name it: --format {' | '.join(FORMS)}"
        )
    for kind in kinds:
        if not is_kind(kind):
            raise click.UsageError(f'there is no kind "{kind}"; there are {", ".join(KINDS)}')
    if path != STDOUT and not force and os.path.lexists(path):
        negative(f"{path} exists: name another file, or use --force")  # before an hour's reading
    made = FORMS[chosen]
    events_max = limit or made.limit
    wanted = Wanted(
        kinds, nodes, tuple(merged(slots)) if slots else None, level, everything,
        from_start=reading.since is not None,
        events_max=LIMIT_MAX if made.is_refused else events_max,
    )  # fmt: skip
    with opened_reading(reading) as (recordings, window):
        missing = sorted(set(nodes) - set(recordings.names))
        if missing:
            raise click.UsageError(
                f"nothing is recorded of {', '.join(missing)}; there is "
                f"{', '.join(recordings.names)}"
            )
        diagram = diagram_of(recordings, window, wanted)
    if not diagram.events:
        negative("nothing that is wanted is recorded, so that there is nothing to draw")
    try:
        text = made.make(diagram, _title(diagram, slots), limit or made.limit)
    except TooLongError as error:
        raise click.UsageError(str(error)) from error
    _hand_over(settings, diagram, path, chosen, text, force=force)


log_diagram_verb = global_options(_diagram, with_output=False)


def _title(diagram: Diagram, slots: tuple[tuple[int, int], ...]) -> str:
    words = ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in slots)
    of_slots = f", slots {words}" if words else ""
    return f"paxosd: {', '.join(diagram.nodes)}{of_slots}"


def _hand_over(
    settings: Settings, diagram: Diagram, path: Path, form: str, text: str, *, force: bool
) -> None:
    left_out = "; ".join(diagram.left_out)
    if path == STDOUT:
        write(text, newline=False)
        if left_out:
            say(f"paxosctl: {left_out}")
        return
    content = text.encode("utf-8", "backslashreplace")
    try:
        with new_file(path, force=force) as (file, _):
            file.write(content)
    except NotReplacedError as error:
        negative(str(error))
    settings.show(_view(diagram, path, form, len(content)))


def _view(diagram: Diagram, path: Path, form: str, size: int) -> View:
    faulted = sum(1 for arrow in diagram.arrows if arrow.fault)
    data: dict[str, Any] = {
        "file": str(path),
        "form": form,
        "bytes": size,
        "nodes": diagram.nodes,
        "events": len(diagram.events),
        "messages": len(diagram.arrows),
        "lost": diagram.count(LOST),
        "faulted": faulted,
        "left_out": diagram.left_out,
    }
    row = (str(path), human_bytes(size), f"{len(diagram.events):,}", f"{len(diagram.arrows):,}",
           f"{diagram.count(LOST):,}", f"{faulted:,}")  # fmt: skip
    return View(
        data=data,
        plain=f"{path}\n".encode(),
        columns=("file", "size", "events", "messages", "lost", "met a fault"),
        rows=[row],
        notes=[f"{each}." for each in diagram.left_out],
    )
