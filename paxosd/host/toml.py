"""TOML as paxosd writes and reads it: settings, tables of members, schedules of faults."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paxosd.host.text_files import read_text

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def table(
    *path: str,
    values: Mapping[str, Any],
    notes: Mapping[str, str] | None = None,
    note_column: int = 0,
    repeated: bool = False,
) -> str:
    """``[a.b]`` with a line for each value, ended by a line feed. A value whose key is in ``notes``
    has that text behind it as a comment, which begins at ``note_column`` or further right.
    ``repeated``: ``[[a.b]]``, one of several tables of this name."""
    header = ".".join(map(toml_key, path))
    lines = [f"[[{header}]]" if repeated else f"[{header}]"]
    for name, each in values.items():
        line = f"{toml_key(name)} = {toml_value(each)}"
        if notes and name in notes:
            line = f"{line.ljust(note_column)}  # {_printable(notes[name])}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def toml_key(name: str) -> str:
    """A name as a key, quoted where it must be."""
    return name if name and set(name) <= _BARE else _quoted(name)


def toml_value(value: Any) -> str:
    """A truth value, a number, a list or a table on one line; anything else, such as a path, as
    text in quotes."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case list() | tuple():
            return f"[{', '.join(map(toml_value, value))}]"
        case Mapping():
            pairs = ", ".join(f"{toml_key(k)} = {toml_value(v)}" for k, v in value.items())
            return f"{{ {pairs} }}"
        case _:
            return _quoted(str(value))


def _quoted(text: str) -> str:
    escaped = "".join(f"\\{char}" if char in '"\\' else char for char in text)
    return f'"{_printable(escaped)}"'


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in text)


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a TOML file and what it says. Raises ValueError with words for people, and
    OSError."""
    text = read_text(path)
    return text, parse_toml(text)


def parse_toml(text: str) -> dict[str, Any]:
    """What a TOML document says. Raises ValueError with words for people."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"this is not TOML: {error}") from None
    except RecursionError:
        raise ValueError("this is not TOML that anybody reads: it is nested too deeply") from None
