"""Tables for people: as wide as they need to be, and never with a broken word.

A terminal that is too narrow for all columns gets fewer of them (those that the table can do
without go first), then cells whose text goes on in the next line, between two words; if that does
not do either, one block of lines for each row:

    node      n1                    node  role      leader
    role      leader                n1    leader    n1
    leader    n1                    n2    follower  n1

A file or a pipe gets every column, and no line is wrapped. A word that alone is wider than the
terminal (an endpoint, a path) stays whole: people copy it.
"""

import os
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from paxosctl.cli.colour import wants_colour
from paxosctl.cli.streams import is_terminal, say
from paxosd.host.printable import escape_controls

GAP = "  "
WIDTH_MIN = 20
WIDTH_DEFAULT = 80
"""Of a terminal that does not say."""


def terminal_width(stream: Any = None) -> int | None:
    """Of standard output, or another ``stream``; None if it is no terminal: then nothing is too
    wide."""
    stream = sys.stdout if stream is None else stream
    if not is_terminal(stream):
        return None
    columns = 0
    with suppress(ValueError):
        columns = int(os.environ.get("COLUMNS", ""))
    if columns <= 0:
        with suppress(OSError, ValueError):
            columns = os.get_terminal_size(stream.fileno()).columns
    return max(WIDTH_MIN, columns if columns > 0 else WIDTH_DEFAULT)


def table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], optional: Sequence[str] = ()
) -> list[str]:
    """The lines for standard output as it is. ``optional``: columns to do without, in order."""
    return layout(columns, rows, optional, width=terminal_width(), bold=wants_colour())


def layout(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    optional: Sequence[str] = (),
    *,
    width: int | None,
    bold: bool = False,
) -> list[str]:
    """The lines of a table; those without any column name have no head."""
    cells = [[escape_controls(str(cell), "\n") for cell in row] for row in rows]
    heads = list(columns)
    left = list(optional)
    while width is not None and left and _needed(_natural(heads, cells)) > width:
        name = left.pop(0)
        if name in heads:
            at = heads.index(name)
            heads.pop(at)
            cells = [row[:at] + row[at + 1 :] for row in cells]
    widths = _natural(heads, cells)
    if width is not None and _needed(widths) > width:
        widths = _narrowed(heads, cells, widths, width)
        if _needed(widths) > width and any(heads):
            return _blocks(heads, cells, width)
    lines = [_bold(line, bold) for line in _row(heads, widths)] if any(heads) else []
    for row in cells:
        lines += _row(row, widths)
    return lines


def filled(notes: Sequence[str]) -> list[str]:
    """Sentences below a table, broken between words where the terminal is too narrow."""
    width = terminal_width()
    notes = [escape_controls(note) for note in notes]
    if width is None:
        return notes
    return [line for note in notes for line in _wrap(note, width)]


def explain(text: str) -> None:
    """To standard error, for people: no word is broken there, either. For text to be copied or read
    by programs, use :func:`paxosctl.cli.streams.say`."""
    width = terminal_width(sys.stderr)
    say(text if width is None else "\n".join(indented(text, width)))


def indented(text: str, width: int) -> list[str]:
    """The text in lines that keep their indentation; what does not fit goes on two further in."""
    lines = []
    for line in text.split("\n"):
        margin = line[: len(line) - len(line.lstrip())] + GAP
        first, *rest = _wrap(line, width)
        lines.append(first)
        if rest:
            lines += [margin + each for each in _wrap(" ".join(rest), width - len(margin))]
    return lines


def cell_width(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def _natural(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column if nothing is wrapped."""
    grid = [heads, *cells]
    return [
        max((cell_width(line) for row in grid for line in row[at].split("\n")), default=0)
        for at in range(len(heads))
    ]


def _needed(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _narrowed(
    heads: Sequence[str], cells: Sequence[Sequence[str]], widths: list[int], width: int
) -> list[int]:
    """Take the missing columns from the widest, but from none more than its longest word."""
    least = [
        max((cell_width(word) for row in [heads, *cells] for word in row[at].split()), default=0)
        for at in range(len(heads))
    ]
    widths = list(widths)
    while _needed(widths) > width:
        at = max(range(len(widths)), key=lambda each: widths[each] - least[each])
        spare = widths[at] - least[at]
        if spare <= 0:
            break
        widths[at] -= min(spare, _needed(widths) - width)
    return widths


def _row(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    wrapped = [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    height = max((len(each) for each in wrapped), default=0)
    padded = [[*each, *[""] * (height - len(each))] for each in wrapped]
    return [_line([each[at] for each in padded], widths) for at in range(height)]


def _wrap(cell: str, width: int) -> list[str]:
    lines = []
    for line in cell.split("\n"):
        if cell_width(line) <= width:
            lines.append(line)
        else:
            lines += textwrap.wrap(
                line, max(width, 1), break_long_words=False, break_on_hyphens=False
            ) or [""]
    return lines


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    # Nothing is put behind the last one: it may be a value, and another row's a million long.
    padded = [
        cell + " " * max(0, width - cell_width(cell))
        for cell, width in zip(cells[:-1], widths, strict=False)
    ]
    return GAP.join([*padded, *cells[-1:]]).rstrip()


def _blocks(heads: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> list[str]:
    """A line for each cell, an empty one between two rows."""
    name_width = max(cell_width(head) for head in heads)
    lines: list[str] = []
    for row in cells:
        if lines:
            lines.append("")
        for head, cell in zip(heads, row, strict=True):
            lines += _row([head, cell], [name_width, max(1, width - name_width - len(GAP))])
    return lines


def _bold(text: str, bold: bool) -> str:
    return click.style(text, bold=True) if bold else text
