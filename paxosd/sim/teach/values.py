"""Slot values and results in words."""

from typing import Any

from paxosd.core.commands import (
    CLOSE,
    DELETE,
    FENCE,
    OPEN,
    PUT,
    Command,
    Entry,
    Result,
    Status,
)
from paxosd.core.types import NOOP
from paxosd.wire import WireError, decode_batch


def show_command(command: Command) -> str:
    """For example ``put x=1``."""
    op = command[0]
    if op == PUT:
        return f"put {_text(command[1])}={_text(command[2])}"
    if op == DELETE:
        return f"delete {_text(command[1])}"
    if op == FENCE:
        return f"what became of request {command[2]} of session {command[1]}?"
    return {OPEN: "open a session", CLOSE: "close the session"}.get(op, f"command {op}")


def show_entry(entry: Entry) -> str:
    """The commands of one request."""
    return " and ".join(show_command(command) for command in entry.commands)


def show_value(value: bytes) -> str:
    """What a slot holds."""
    if value == NOOP:
        return "no-op"
    try:
        batch = decode_batch(value)
    except WireError:
        return f"{len(value)} bytes"
    return "; ".join(show_entry(entry) for entry in batch.entries)


def show_result(command: Command, result: Result) -> str:
    """One command's result."""
    if isinstance(result, int):
        return f"revision {result}"
    status, revision, detail = result
    if command[0] == OPEN and status == Status.OK:
        return f"session {detail}"
    return f"{Status(status).name.lower()}, revision {revision}"


def _text(data: Any) -> str:
    return bytes(data).decode(errors="replace")
