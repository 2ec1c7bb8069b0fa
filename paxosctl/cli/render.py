"""The one way from a verb's answer to the terminal, for every verb and format.

A verb makes a :class:`View`; the format picks one side of it:

    json   ``data``: one line of JSON; text as text, other bytes as {"b64": …}
    plain  ``plain``: byte-exact, nothing added
    table  ``columns`` and ``rows`` drawn for people, then ``notes`` and ``text``; or ``text`` alone

Bytes from the store that could do something to a
terminal are never shown as they are, except by plain.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paxosctl.cli.streams import write
from paxosctl.cli.tables import filled, table_lines

FORMATS = ("table", "json", "plain")
_TEXT_CONTROLS = frozenset("\n\t\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """An answer, ready for each format. ``plain`` is written as it is, newlines included."""

    data: Any
    plain: bytes
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    notes: Sequence[str] = ()
    """Sentences below the table, or in place of ``text``, which may be broken into lines; ``text``
    stays as it is."""
    optional: Sequence[str] = ()
    """Columns that a narrow terminal may do without, the first to go first."""


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


def json_bytes(data: Any) -> bytes:
    """The same in UTF-8, whatever the locale; what is no character becomes a JSON escape."""
    return to_json(data).encode("utf-8", "backslashreplace")


def emit(view: View, output: str) -> None:
    """Write a view to standard output, at once. Raises StreamError, BrokenOutputError."""
    if output == "json":
        write(json_bytes(view.data))
    elif output == "plain":
        write(view.plain, newline=False)
    elif view.columns:
        table = table_lines(view.columns, view.rows, view.optional)
        write("\n".join([*table, *filled(view.notes), view.text]).rstrip())
    else:
        write("\n".join(filled(view.notes)) or view.text)


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
