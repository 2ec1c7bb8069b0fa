"""Lines of the daemons' JSON logs, from files and from journald, as events of the kind LINE.

    a log             one JSON object a line
    journalctl -o json    one entry a line, the line of the log in its MESSAGE
    journalctl -o export  FIELD=value lines, an empty line behind each entry; a field with a newline
                          in it: FIELD, its length in 8 bytes, the value (systemd's documentation,
                          "Journal Export Formats")

Lines that are none are passed over and counted.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from struct import Struct
from typing import IO, Any

from paxosctl.inspection.events import LINE
from paxosd.recorder.event import Event

LINE_BYTES_MAX = 1 << 20
_LENGTH = Struct("<Q")
_HEAD_BYTES = 64 << 10
_SUSPECT_LINES = 50
"""So many lines at the head of a file are looked at before it is called foreign."""


@dataclass(slots=True)
class LineLosses:
    """``damaged``: lines that are no JSON; ``foreign``: lines that are not the daemon's."""

    damaged: int = 0
    foreign: int = 0


def looks_like_log(head: bytes) -> bool:
    """Whether these first bytes of a file are of a log that this module reads."""
    if _is_export(head):
        return True
    losses = LineLosses()
    lines = head.split(b"\n")[:_SUSPECT_LINES]
    return any(parse_line(raw, losses) is not None for raw in lines)


def _is_export(head: bytes) -> bool:
    """Whether it is of ``journalctl -o export``, perhaps without its first lines."""
    return head.startswith(b"__CURSOR=") or b"\n__REALTIME_TIMESTAMP=" in head


def read_lines(path: Path, losses: LineLosses) -> Iterator[Event]:
    """The lines of a log, in the order of the file. Raises OSError."""
    with open(path, "rb") as file:
        exported = _is_export(file.read(_HEAD_BYTES))
        file.seek(0)
        for raw in _exported(file) if exported else _raw_lines(file):
            event = parse_line(raw, losses)
            if event is not None:
                yield event


def _raw_lines(file: IO[bytes]) -> Iterator[bytes]:
    while raw := file.readline(LINE_BYTES_MAX):
        yield raw


def _exported(file: IO[bytes]) -> Iterator[bytes]:
    """The MESSAGE of each entry."""
    while raw := file.readline(LINE_BYTES_MAX):
        name, equals, value = raw.rstrip(b"\n").partition(b"=")
        if not equals and name:
            size = _LENGTH.unpack(file.read(_LENGTH.size).ljust(_LENGTH.size, b"\0"))[0]
            value = file.read(min(size, LINE_BYTES_MAX))
            file.readline()
        if name == b"MESSAGE":
            yield value


def parse_line(raw: bytes, losses: LineLosses) -> Event | None:
    """The event of a line; None, and counted, if it is none."""
    raw = raw.strip()
    if not raw:
        return None
    try:
        text = raw.decode()
        fields = json.loads(text)
    except (ValueError, RecursionError):
        losses.damaged += 1
        return None
    if isinstance(fields, dict) and "MESSAGE" in fields and "event" not in fields:
        message = fields["MESSAGE"]
        if isinstance(message, list):  # journald's way to show bytes
            message = bytes(each for each in message if isinstance(each, int) and each < 256)
        elif isinstance(message, str):
            message = message.encode()
        else:
            losses.foreign += 1
            return None
        if message.startswith(b"{"):
            return parse_line(message, losses)
        losses.foreign += 1
        return None
    event = _event(fields, text)
    if event is None:
        losses.foreign += 1
    return event


def _event(fields: Any, text: str) -> Event | None:
    if not isinstance(fields, dict):
        return None
    node, name, ts = fields.get("node"), fields.get("event"), fields.get("ts")
    mono_ns, boot, seq = fields.get("mono_ns"), fields.get("boot_count"), fields.get("seq")
    if not (isinstance(node, str) and isinstance(name, str) and isinstance(ts, str)):
        return None
    try:
        wall_us = round(datetime.fromisoformat(ts).timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return None
    mono_us = mono_ns // 1000 if isinstance(mono_ns, int) else wall_us
    return Event(
        node,
        boot if isinstance(boot, int) else 0,
        seq if isinstance(seq, int) else 0,
        mono_us,
        wall_us,
        LINE,
        "",
        "",
        0,
        0,
        0,
        0,
        0,
        text,
    )
