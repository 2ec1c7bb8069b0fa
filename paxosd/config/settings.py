"""Typed settings from layered sources, with errors that a person can act on.

A *section* is a frozen dataclass whose fields are made by :func:`setting`; a setting's full
name is ``section.key``. Sources, later ones winning: default < file < environment < flag.
Each raw value remembers its source, so that an error or ``--check-config`` can name it.

Nothing here knows which settings paxosd has: that is :mod:`paxosd.config.schema`.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from paxosd.host.numbers import parse_whole


class ConfigError(Exception):
    """The configuration cannot be used. ``problems`` has one line for each thing wrong."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class Raw(NamedTuple):
    """A value as it was found. ``text``: it came as text (environment, flag), not as TOML."""

    value: Any
    source: str
    text: bool


def setting(
    default: Any = MISSING,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    choices: tuple[str, ...] = (),
    pattern: str = "",
    allowed: str = "",
) -> Any:
    """A dataclass field with limits. ``allowed`` says in words what ``pattern`` takes.

    Without a default the setting must be given.
    """
    rules = {
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "pattern": pattern,
        "allowed": allowed,
    }
    if default is MISSING:
        return field(metadata=rules)
    return field(default=default, metadata=rules)


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an "unknown X" message: the nearest known word, or else all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(names)}" if names else "none is known"


def coerce(raw: Raw, kind: type, rules: Mapping[str, Any]) -> Any:
    """The typed value of a setting. Raises ValueError with words for people."""
    reader = _READERS[kind]
    value = reader(raw)
    if kind is int:
        _check_range(value, rules.get("minimum"), rules.get("maximum"))
    elif kind is str:
        if rules.get("choices") and value not in rules["choices"]:
            raise ValueError(f'"{value}" is not one of {", ".join(rules["choices"])}')
        if rules.get("pattern") and not re.fullmatch(rules["pattern"], value):
            raise ValueError(f'"{value}" is not allowed: {rules["allowed"]}')
    return value


def _check_range(value: int, minimum: int | None, maximum: int | None) -> None:
    if minimum is not None and maximum is not None and not minimum <= value <= maximum:
        raise ValueError(f"{value} is outside {minimum} … {maximum}")


def _read_int(raw: Raw) -> int:
    value = raw.value
    if raw.text:
        return parse_whole(value, maximum=None)
    if type(value) is not int:
        raise ValueError(f"{_show(value)} is not a whole number")
    return value


def _read_bool(raw: Raw) -> bool:
    value = raw.value
    if raw.text:
        known = {"true": True, "1": True, "false": False, "0": False}
        if value.lower() not in known:
            raise ValueError(f'"{value}" is not true or false')
        return known[value.lower()]
    if type(value) is not bool:
        raise ValueError(f"{_show(value)} is not true or false")
    return value


def _read_str(raw: Raw) -> str:
    if type(raw.value) is not str:
        raise ValueError(f"{_show(raw.value)} is not a text in quotes")
    if "\0" in raw.value:
        raise ValueError("a text cannot hold a NUL character")
    return raw.value


def _read_path(raw: Raw) -> Path:
    text = _read_str(raw)
    if not text:
        raise ValueError("an empty path is not allowed")
    return Path(text).expanduser()


_READERS: dict[type, Callable[[Raw], Any]] = {
    int: _read_int,
    bool: _read_bool,
    str: _read_str,
    Path: _read_path,
}


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def section_fields(section: type) -> dict[str, tuple[Field[Any], type]]:
    """Key → (field, plain type) of one section's settings, in the order of their definition.

    A field not made by :func:`setting` is none: its owner fills it.
    """
    hints = get_type_hints(section)
    return {item.name: (item, hints[item.name]) for item in fields(section) if item.metadata}


def read_section(
    name: str, section: type, values: Mapping[str, Raw], problems: list[str]
) -> dict[str, Any]:
    """Typed arguments for ``section`` from ``values`` (by key). Faults go to ``problems``.

    Keys without a value are left out, so that the dataclass's default takes effect; a
    missing required one is a problem.
    """
    known = section_fields(section)
    arguments: dict[str, Any] = {}
    for key, raw in values.items():
        if key not in known:
            problems.append(f"{raw.source}: {name}.{key}: unknown key; {nearest(key, known)}")
            continue
        item, kind = known[key]
        try:
            arguments[key] = coerce(raw, kind, item.metadata)
        except ValueError as error:
            problems.append(f"{raw.source}: {name}.{key}: {error}")
    for key, (item, _) in known.items():
        if key not in values and item.default is MISSING:
            problems.append(f"{name}.{key}: missing; it has no default")
    return arguments
