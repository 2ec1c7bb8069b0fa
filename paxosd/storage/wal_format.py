"""The bytes of the write-ahead log: segment headers, records, groups. No I/O here.

A segment ``wal-%08d.log`` (numbered from 1, without gaps) is, in little-endian:

    header, 512 bytes   magic "PXWAL\\r\\n\\0", version u32, segment number u64, nonce 8 bytes,
                        segment size u64, cluster id and node id (u8 length + UTF-8 each),
                        zeros, crc32 of the 508 bytes before it
    record …            crc32 u32, marker u32, length u32, group u64, kind u8, payload

``length`` is the payload's. ``crc32`` covers everything after itself and starts from the
segment's *seed*; ``marker`` is the segment's too. Both derive from number and nonce, so bytes
of a file's earlier use under another number never validate, and a client cannot put something
into a value that looks like a record of the log.

A *group* is what one fdatasync makes durable. Groups are numbered from 1 without gaps over all
segments; a group lies in one segment; its last record is GROUP_END, which counts the others.

    kind           payload
    1 PROMISE      round u64, node (u8 length + UTF-8)
    2 ACCEPT       slot u64, round u64, node, value (the rest)
    3 DECISION     the same
    4 COMMIT       slot u64
    5 STATE        first slot u64, commit u64, lowest segment u64, promised round u64, node; the
                   first record of every segment, so that no earlier one is needed to know these
    6 RELEASE      first slot u64, commit u64, lowest segment u64: slots below the first are in
                   a snapshot, segments below the lowest may be gone
    7 GROUP_END    count u32
    8 HEARD        directory u64, group u64, name: the highest log mark heard from a peer; all of
                   them again in each new segment. Written at feature level 1 and above alone
"""

import re
from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from paxosd.core.types import Ballot, Mark, NodeId, Slot
from paxosd.storage.disk import Buffer

MAGIC = b"PXWAL\r\n\0"
VERSION = 1
HEADER_BYTES = 512
NONCE_BYTES = 8
NAME_BYTES_MAX = 200

PROMISE = 1
ACCEPT = 2
DECISION = 3
COMMIT = 4
STATE = 5
RELEASE = 6
GROUP_END = 7
HEARD = 8

_HEADER = Struct("<8sIQ8sQ")
_CRC = Struct("<I")
_HEAD = Struct("<IIQB")  # marker, length, group, kind: what the crc covers, before the payload
_FULL_HEAD = Struct("<IIIQB")
_VALUE_HEAD = Struct("<IIQBQ")  # the same and the slot
_SLOT_ROUND = Struct("<QQ")
_U64 = Struct("<Q")
_U32 = Struct("<I")
_STATE = Struct("<QQQQ")
_RELEASE = Struct("<QQQ")
_MARK = Struct("<QQ")

RECORD_OVERHEAD_BYTES = _FULL_HEAD.size
END_BYTES = _FULL_HEAD.size + _U32.size
_COPY_BELOW_BYTES = 2048  # a short value is copied next to its head: fewer buffers to write

_NAME = re.compile(r"wal-(\d{8,})\.log")
_SPARE = re.compile(r"spare-(\d{8,})\.log")


class FormatError(ValueError):
    """Bytes that are not what this module writes; the message says what is wrong."""


class OtherVersionError(FormatError):
    """Sound bytes of another version of this program: nothing is damaged."""


def segment_name(number: int) -> str:
    """The file name of a segment in use."""
    return f"wal-{number:08d}.log"


def spare_name(number: int) -> str:
    """The file name of space that is not, or no longer, part of the log."""
    return f"spare-{number:08d}.log"


def segment_number(name: str) -> int | None:
    """The number in a segment's file name; None for any other file."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def is_spare(name: str) -> bool:
    """Whether the file is spare space."""
    return _SPARE.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """Who a segment belongs to, and the secrets that its records are checked with."""

    number: int
    nonce: bytes
    segment_bytes: int
    cluster_id: str
    node_id: str
    seed: int = field(init=False, repr=False)
    marker: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        seed = crc32(self.nonce + _U64.pack(self.number) + self.cluster_id.encode())
        object.__setattr__(self, "seed", seed)
        # Odd, hence not zero: zeroed space never holds a marker.
        object.__setattr__(self, "marker", crc32(b"marker" + self.nonce, seed) | 1)

    @property
    def name(self) -> str:
        """The segment's file name."""
        return segment_name(self.number)

    def encode(self) -> bytes:
        """The header's 512 bytes. Raises ValueError for names that are too long."""
        body = _HEADER.pack(MAGIC, VERSION, self.number, self.nonce, self.segment_bytes)
        body += _short(self.cluster_id) + _short(self.node_id)
        body = body.ljust(HEADER_BYTES - _CRC.size, b"\0")
        return body + _CRC.pack(crc32(body))


def decode_header(data: bytes) -> SegmentHeader:
    """The header at the start of a segment. Raises FormatError saying what is wrong."""
    if len(data) < HEADER_BYTES:
        raise FormatError("the file is shorter than a segment header")
    body = data[: HEADER_BYTES - _CRC.size]
    if data[:8] != MAGIC:
        raise FormatError("it does not begin as a segment does")
    if crc32(body) != _CRC.unpack_from(data, len(body))[0]:
        raise FormatError("the segment header's checksum does not match")
    _, version, number, nonce, segment_bytes = _HEADER.unpack_from(body)
    if version != VERSION:
        raise OtherVersionError(f"its format version is {version}; this program knows {VERSION}")
    cluster_id, after = _unshort(body, _HEADER.size)
    node_id, _ = _unshort(body, after)
    return SegmentHeader(number, nonce, segment_bytes, cluster_id, node_id)


class Release(NamedTuple):
    """Slots below ``first_slot`` and segments below ``lowest_segment`` are not needed;
    ``commit`` as in a COMMIT."""

    first_slot: Slot
    commit: Slot
    lowest_segment: int


class GroupBuilder:
    """Encodes one group of one segment into buffers for a single ``pwritev`` at ``start``."""

    __slots__ = (
        "_ballot", "_ballot_tail", "_marker", "_seed",
        "buffers", "count", "group", "header", "offset", "start", "top",
    )  # fmt: skip

    def __init__(self, header: SegmentHeader, group: int, start: int) -> None:
        self.header = header
        self.group = group
        self.start = start
        self.offset = start
        """Where the next record goes."""
        self.buffers: list[Buffer] = []
        self.count = 0
        self.top: Slot = 0
        """The highest slot of an accept or decision record."""
        self._marker = header.marker
        self._seed = header.seed
        self._ballot: Ballot | None = None
        self._ballot_tail = b""

    def add_value(self, kind: int, slot: Slot, ballot: Ballot, value: bytes) -> int:
        """Add an ACCEPT or DECISION; the offset of the record in the segment."""
        if ballot != self._ballot:
            self._ballot = ballot
            self._ballot_tail = _U64.pack(ballot.round) + _short(ballot.node)
        tail = self._ballot_tail
        length = 8 + len(tail) + len(value)
        head = _VALUE_HEAD.pack(self._marker, length, self.group, kind, slot) + tail
        crc = _CRC.pack(crc32(value, crc32(head, self._seed)))
        if len(value) < _COPY_BELOW_BYTES:
            self.buffers.append(crc + head + value)
        else:
            self.buffers.append(crc + head)
            self.buffers.append(value)
        offset = self.offset
        self.offset = offset + RECORD_OVERHEAD_BYTES + length
        self.count += 1
        if slot > self.top:  # noqa: PLR1730 - max() costs a call for every record
            self.top = slot
        return offset

    def add_promise(self, ballot: Ballot) -> None:
        """Add a PROMISE."""
        self._add(PROMISE, _U64.pack(ballot.round) + _short(ballot.node))

    def add_commit(self, slot: Slot) -> None:
        """Add a COMMIT."""
        self._add(COMMIT, _U64.pack(slot))

    def add_state(self, promised: Ballot, release: Release) -> None:
        """Add a STATE."""
        self._add(STATE, _STATE.pack(*release, promised.round) + _short(promised.node))

    def add_release(self, release: Release) -> None:
        """Add a RELEASE."""
        self._add(RELEASE, _RELEASE.pack(*release))

    def add_heard(self, name: NodeId, mark: Mark) -> None:
        """Add a HEARD."""
        self._add(HEARD, _MARK.pack(*mark) + _short(name))

    def finish(self) -> None:
        """Add the GROUP_END: from here on the group is complete."""
        self._add(GROUP_END, _U32.pack(self.count))

    def _add(self, kind: int, payload: bytes) -> None:
        body = _HEAD.pack(self._marker, len(payload), self.group, kind) + payload
        self.buffers.append(_CRC.pack(crc32(body, self._seed)) + body)
        self.offset += _CRC.size + len(body)
        self.count += 1


class RawRecord(NamedTuple):
    """A record whose checksum holds: its payload is ``data[start:end]``."""

    kind: int
    group: int
    start: int
    end: int


def check_record(data: memoryview, offset: int, header: SegmentHeader) -> RawRecord | None:
    """The valid record at ``offset``, else None."""
    start = offset + RECORD_OVERHEAD_BYTES
    if start > len(data):
        return None
    crc, marker, length, group, kind = _FULL_HEAD.unpack_from(data, offset)
    end = start + length
    if marker != header.marker or end > len(data):
        return None
    if crc32(data[offset + 4 : end], header.seed) != crc:
        return None
    return RawRecord(kind, group, start, end)


def record_bytes(head: bytes) -> int:
    """The whole length of the record that begins with ``head``, as it claims (not checked)."""
    length: int = _FULL_HEAD.unpack_from(head)[2]
    return RECORD_OVERHEAD_BYTES + length


def find_markers(data: bytes, offset: int, header: SegmentHeader) -> list[int]:
    """Every place from ``offset`` on where a record, whole or torn, may begin."""
    pattern = _CRC.pack(header.marker)
    places = []
    at = data.find(pattern, offset + _CRC.size)
    while at >= 0:
        places.append(at - _CRC.size)
        at = data.find(pattern, at + 1)
    return places


def decode_value(data: memoryview, record: RawRecord) -> tuple[Slot, Ballot, memoryview]:
    """Slot, ballot and value of an ACCEPT or DECISION. Raises FormatError."""
    slot, round_number = _unpack(_SLOT_ROUND, data, record)
    node, after = _unshort(data, record.start + _SLOT_ROUND.size)
    if after > record.end:
        raise FormatError(f"a record of kind {record.kind} is too short")
    return slot, Ballot(round_number, node), data[after : record.end]


def decode_promise(data: memoryview, record: RawRecord) -> Ballot:
    """The ballot of a PROMISE. Raises FormatError."""
    (round_number,) = _unpack(_U64, data, record)
    return Ballot(round_number, _unshort(data, record.start + _U64.size)[0])


def decode_state(data: memoryview, record: RawRecord) -> tuple[Ballot, Release]:
    """What a STATE says. Raises FormatError."""
    *release, round_number = _unpack(_STATE, data, record)
    node, _ = _unshort(data, record.start + _STATE.size)
    return Ballot(round_number, node), Release(*release)


def decode_commit(data: memoryview, record: RawRecord) -> Slot:
    """The slot of a COMMIT. Raises FormatError."""
    return _unpack(_U64, data, record)[0]


def decode_release(data: memoryview, record: RawRecord) -> Release:
    """What a RELEASE says. Raises FormatError."""
    return Release(*_unpack(_RELEASE, data, record))


def decode_heard(data: memoryview, record: RawRecord) -> tuple[NodeId, Mark]:
    """Whose mark a HEARD is of, and the mark. Raises FormatError."""
    mark = _unpack(_MARK, data, record)
    return _unshort(data, record.start + _MARK.size)[0], Mark(*mark)


def decode_end(data: memoryview, record: RawRecord) -> int:
    """The count of a GROUP_END. Raises FormatError."""
    return _unpack(_U32, data, record)[0]


def _unpack(form: Struct, data: memoryview, record: RawRecord) -> tuple[int, ...]:
    if record.end - record.start < form.size:
        raise FormatError(f"a record of kind {record.kind} is too short")
    return form.unpack_from(data, record.start)


def _short(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > NAME_BYTES_MAX:
        raise ValueError(f"the name {text!r} is {len(raw)} bytes; the limit is {NAME_BYTES_MAX}")
    return bytes((len(raw),)) + raw


def _unshort(data: Buffer, offset: int) -> tuple[str, int]:
    if offset >= len(data) or offset + 1 + data[offset] > len(data):
        raise FormatError("a name runs past the end")
    end = offset + 1 + data[offset]
    try:
        return bytes(data[offset + 1 : end]).decode(), end
    except UnicodeDecodeError as problem:
        raise FormatError("a name is not UTF-8") from problem
