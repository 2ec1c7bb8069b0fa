"""The effective configuration as TOML, each value with where it came from."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from paxosd.config.schema import SECTIONS, Config
from paxosd.config.settings import section_fields

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def show(config: Config) -> str:
    """TOML text that, loaded again, gives the same configuration."""
    lines: list[str] = []
    for name, section in SECTIONS.items():
        lines.append(f"[{name}]")
        for key in section_fields(section):
            value = toml_value(getattr(getattr(config, name), key))
            source = _printable(config.sources.get(f"{name}.{key}", "default"))
            lines.append(f"{key} = {value}".ljust(44) + f"  # {source}")
        lines.append("")
    for member, endpoints in config.cluster.members.items():
        lines.append(f"[cluster.members.{toml_key(member)}]")
        for item in fields(endpoints):
            lines.append(f"{item.name} = {toml_value(getattr(endpoints, item.name))}")
        lines.append("")
    return "\n".join(lines)


def toml_value(value: Any) -> str:
    """One setting's value: a whole number, a truth value, or text in quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return _quoted(str(value) if isinstance(value, Path) else value)


def toml_key(name: str) -> str:
    """A name as a TOML key, quoted where it must be."""
    return name if set(name) <= _PLAIN else _quoted(name)


def _quoted(text: str) -> str:
    escaped = "".join(f"\\{char}" if char in '"\\' else char for char in text)
    return f'"{_printable(escaped)}"'


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in text)
