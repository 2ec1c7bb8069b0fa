"""The operations of a trace in words, for people."""

from collections.abc import Callable, Sequence
from typing import Any

from paxosd.core.types import Ballot
from paxosd.trace import operations as op
from paxosd.wire import WireError, decode_peer, decode_request

BYTES_SHOWN = 24


def words(operation: Sequence[Any] | str | None) -> str:
    """One operation, as the trace has it; None: there is none."""
    if operation is None:
        return "nothing more in this turn"
    if isinstance(operation, str):
        return operation
    code, arguments = int(operation[0]), operation[1:]
    if code == 0:
        return str(arguments[0])
    say = _WORDS.get(code)
    if say is not None:
        return say(*arguments)
    return " ".join([op.NAMES[code], *map(str, arguments)])


def message_words(message: Any) -> str:
    """A message with its fields, values cut short."""
    shown = []
    for name, value in zip(message._fields, message, strict=True):
        text = value.shown() if isinstance(value, Ballot) else _short(value)
        shown.append(f"{name}={text}")
    return f"{type(message).__name__}({', '.join(shown)})"


def _short(value: Any) -> str:
    if isinstance(value, bytes) and len(value) > BYTES_SHOWN:
        return f"{value[:BYTES_SHOWN]!r}… ({len(value)} bytes)"
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}…"


def _peer(frame: bytes, active: bool, now_ms: float) -> str:
    try:
        envelope = decode_peer(frame, "")
    except WireError as error:
        return f"a message that this version cannot read: {error}"
    return f"message of {envelope.sender}: {message_words(envelope.body)}"


def _requests(requests: Sequence[Sequence[bytes]]) -> str:
    said = []
    for client, frame, *_ in requests:
        try:
            said.append(f"request of {client.hex()}: {message_words(decode_request(frame, ''))}")
        except WireError as error:
            said.append(f"a request that this version cannot read: {error}")
    return "; ".join(said)


def _about(slot: int) -> str:
    return f", slot {slot}" if slot >= 0 else ""


def _send(to: str, kind: str, slot: int, crc: int) -> str:
    return f"send {kind} to {to}{_about(slot)} (checksum {crc:08x})"


def _vote(kind: str, slot: int, crc: int) -> str:
    return f"publish votes (checksum {crc:08x})"


def _publish(topic: bytes, size: int, crc: int) -> str:
    return f"publish {_short(topic)}, {size} bytes (checksum {crc:08x})"


def _answer(client: bytes, kind: str, request_id: int, slot: int, crc: int) -> str:
    of = f"request {request_id} of {client.hex()}"
    return f"answer {kind} to {of}{_about(slot)} (checksum {crc:08x})"


def _append(segment: int, offset: int, end: int, crc: int) -> str:
    return f"append to log segment {segment}, bytes {offset} to {end} (checksum {crc:08x})"


_WORDS: dict[int, Callable[..., str]] = {
    op.PEER: _peer,
    op.REQUESTS: _requests,
    op.SEND: _send,
    op.VOTE: _vote,
    op.PUBLISH: _publish,
    op.ANSWER: _answer,
    op.APPEND: _append,
    op.SYNCED: lambda durations: f"group commit ended after {durations[0]} us",
    op.VERDICT: lambda drop, delay, copies, _: (
        f"a fault {'drops it' if drop else f'delays it by {delay} ms, {copies} copies more'}"
    ),
    op.RELEASE: lambda now_ms: "what faults held back may be due",
    op.CLOSED: lambda name: f"the connection to {name} ended",
    op.LOST: lambda names: f"hears that {', '.join(names)} went away",
    op.RELAYED: lambda answers: f"{len(answers)} answers to writes that were passed on",
    op.HELPED: lambda errors: f"a job on files ended{f': {errors[0]}' if errors[0] else ''}",
    op.DRAW: lambda value: f"draws the random number {value}",
}
