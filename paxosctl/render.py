"""The one way from a verb's answer to the terminal, for every verb and format.

A verb makes a :class:`View`; the format picks one side of it:

    json   ``data``: one line of JSON; text as text, other bytes as {"b64": …}
    plain  ``plain``: byte-exact, nothing added
    table  ``columns`` and ``rows`` drawn for people, or else ``text``

Only a table of several columns imports rich. Bytes from the store that could do something to a
terminal are never shown as they are, except by plain.
"""

import base64
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

FORMATS = ("table", "json", "plain")
WIDTH_UNBOUND = 10_000
"""Columns for a table that goes to a file or a pipe: never wrapped."""

_TEXT_CONTROLS = frozenset("\n\t\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """An answer, ready for each format. ``plain`` is written as it is, newlines included."""

    data: Any
    plain: bytes
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()


def as_text(value: bytes) -> str | None:
    """The text in these bytes; None if they are no text: not UTF-8, or control characters other
    than newline, tab and carriage return."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    if all(char.isprintable() or char in _TEXT_CONTROLS for char in text):
        return text
    return None


def as_json(value: bytes | None) -> Any:
    """Text where it is text, else {"b64": …}; None stays None."""
    if value is None:
        return None
    text = as_text(value)
    return {"b64": base64.b64encode(value).decode()} if text is None else text


def as_cell(value: bytes) -> str:
    """For people: text where it is text, but for a carriage return, which would have a terminal
    write over it; else base64, marked as such."""
    text = as_text(value)
    if text is None:
        return f"b64:{base64.b64encode(value).decode()}"
    return text.replace("\r", "\\r")


def to_json(data: Any) -> str:
    """One line. Bytes anywhere inside are shown as :func:`as_json` shows them."""
    return json.dumps(data, ensure_ascii=False, default=_plain)


def emit(view: View, output: str) -> None:
    """Write a view to standard output, at once."""
    if output == "json":
        click.echo(to_json(view.data))
    elif output == "plain":
        click.echo(view.plain, nl=False)
    elif view.columns:
        _draw(view)
        if view.text:
            click.echo(view.text)
    else:
        click.echo(view.text)


def human_bytes(count: int) -> str:
    """1536 → "1.5 KiB"; negative: unknown."""
    if count < 0:
        return "?"
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return as_json(value)
    raise TypeError(f"{type(value).__name__} in an answer")


def _draw(view: View) -> None:
    # Here, for starting rich takes longer than most verbs.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    headed = any(view.columns)
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=headed)
    for column in view.columns:
        table.add_column(column, overflow="fold")
    for row in view.rows:
        table.add_row(*[Text(cell if isinstance(cell, str) else str(cell)) for cell in row])
    console = Console(width=None if sys.stdout.isatty() else WIDTH_UNBOUND)
    console.print(table)
