"""Records of a trace as bytes, and operations as the plain values that they hold.

    [HEAD, {…}]                          the first record: whose trace, which settings
    [PIECE, disk, name, size, offset, bytes]      the data directory as the run found it
    [START, operations]                  what was read while the node was assembled
    [TURN, now_ms, wall_ms, operations, applied, leading]
    [CALL, operation]                    between two turns
    [END, reason, words]                 the last record, of a trace that was closed

What the node was given is kept whole, in the form that it has on the wire. What it did is kept as
its kind, its receiver, its slot and a checksum: enough to see that a replay does something else,
and what that is.
"""

from collections.abc import Iterable
from typing import Any
from zlib import crc32

from msgpack import packb

from paxosd.core.messages import Envelope
from paxosd.core.requests import AdminRequest, ClientRequest, ServerMessage
from paxosd.trace.operations import (
    ANSWER,
    BITS,
    DRAW,
    OPERATOR,
    PASS_ON,
    PEER,
    PUBLISH,
    RELAYED,
    REQUESTS,
    SEND,
    VOTE,
    Operation,
)
from paxosd.wire import encode_client, encode_old, encode_peer

HEAD, PIECE, START, TURN, CALL, END = range(1, 7)
FORMAT = 1
"""Of the records; goes up with any change that an older program would misread."""

CLOSED_IN_ORDER, FULL, BEHIND, DISK_FAILED, NODE_FAILED = "closed", "full", "behind", "disk", "node"
"""Why a trace ends."""


def encode_record(record: tuple[Any, ...]) -> bytes:
    """The bytes of a record whose operations hold objects."""
    kind = record[0]
    if kind == TURN:
        _, now_ms, wall_ms, operations, applied, leading = record
        record = (kind, now_ms, wall_ms, list(map(plain, operations)), applied, leading)
    elif kind == START:
        record = (kind, list(map(plain, record[1])))
    elif kind == CALL:
        record = (kind, plain(record[1]))
    return bytes(packb(record))


def plain(operation: Operation) -> list[Any]:
    """An operation as a list of plain values, the same for equal ones."""
    encode = _PLAIN.get(operation[0])
    return [*operation] if encode is None else encode(operation)


def _number(operation: Operation) -> list[Any]:
    code, value = operation
    return [code, value if isinstance(value, float) or value.bit_length() < 64 else hex(value)]


def decode_number(value: float | str) -> Any:
    """A random number, which may be too large for msgpack."""
    return int(value, 16) if isinstance(value, str) else value


def _peer(operation: Operation) -> list[Any]:
    code, envelope, active, now_ms = operation
    return [code, encode_envelope(envelope), active, now_ms]


def encode_envelope(envelope: Envelope) -> bytes:
    """The frame that it came in, but for the cluster's id."""
    sender, run_id, body, genesis, epoch, log_mark, version = envelope
    if version == 1:
        return encode_old(body, "", sender, run_id)
    return encode_peer(body, "", sender, run_id, genesis, epoch, log_mark)


def _requests(operation: Operation) -> list[Any]:
    code, requests = operation
    return [
        code,
        [
            [client, encode_client(request, ""), *([key] if key else ())]
            for client, request, key in requests
        ],
    ]


def _relayed(operation: Operation) -> list[Any]:
    code, answers = operation
    return [code, [encode_client(answer, "") for answer in answers]]


def digest(message: Any) -> int:
    """Of a message's fields."""
    return crc32(packb(tuple(message), default=str))


def crc_of(buffers: Iterable[bytes | bytearray | memoryview]) -> int:
    """Of bytes in several pieces."""
    crc = 0
    for buffer in buffers:
        crc = crc32(buffer, crc)
    return crc


def slot_of(message: Any) -> int:
    """The slot that a message is about; -1: none, or several."""
    slot = getattr(message, "slot", None)
    if slot is None:
        slot = getattr(message, "first_slot", None)
    if slot is None:
        slot = getattr(message, "from_slot", -1)
    return slot if type(slot) is int else -1


def _send(operation: Operation) -> list[Any]:
    code, to, message = operation
    return [code, to, type(message).__name__, slot_of(message), digest(message)]


def _vote(operation: Operation) -> list[Any]:
    code, message = operation
    return [code, type(message).__name__, slot_of(message), digest(message)]


def _publish(operation: Operation) -> list[Any]:
    code, topic, payload = operation
    return [code, topic, len(payload), crc32(payload)]


def _answer(operation: Operation) -> list[Any]:
    code, client, message = operation
    about = message.request_id, slot_of(message)
    return [code, client, type(message).__name__, *about, digest(message)]


DEFERRED_VERBS = frozenset(("file_list", "file_read"))
"""Verbs whose answer comes in a later turn (``replica/deferred_answers.py``)."""


class Operators:
    """Which requests are operators', whose answers are about the process: those of this turn, and
    those for files, which are answered later."""

    __slots__ = ("_asked", "_later")

    def __init__(self) -> None:
        self._asked: set[tuple[bytes, int]] = set()
        self._later: set[tuple[bytes, int]] = set()

    def note(self, requests: Iterable[ClientRequest]) -> None:
        """These came; all before are answered, but for those that have to wait."""
        self._asked.clear()
        for client, request, _ in requests:
            if type(request) is AdminRequest:
                own = self._later if request.verb in DEFERRED_VERBS else self._asked
                own.add((client, request.request_id))

    def answer(self, client: bytes, message: ServerMessage) -> Operation:
        """The operation that an answer is."""
        name = client, message.request_id
        if name in self._asked or name in self._later:
            self._later.discard(name)
            return (OPERATOR, *name)
        return (ANSWER, client, message)


def _pass_on(operation: Operation) -> list[Any]:
    code, message = operation
    return [code, message.request_id, digest(message)]


_PLAIN = {
    BITS: _number,
    DRAW: _number,
    PEER: _peer,
    REQUESTS: _requests,
    RELAYED: _relayed,
    SEND: _send,
    VOTE: _vote,
    PUBLISH: _publish,
    ANSWER: _answer,
    PASS_ON: _pass_on,
}
