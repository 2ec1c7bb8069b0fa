"""The write-ahead log as the auditor reads it: segments, records, whole groups.

    header, 512 bytes   magic "PXWAL\\r\\n\\0", version u32, segment number u64, nonce 8 bytes,
                        segment size u64, cluster and node (u8 length + UTF-8 each), zeros, crc32
    record …            crc32 u32, marker u32, length u32, group u64, kind u8, payload

The crc of a record starts from a seed, and its marker follows from that seed, which is made of the
segment's nonce, number and cluster (docs/DATA.md). A group ends with a GROUP_END record, which
counts the others; a group without its end was never durable, and is left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct, error
from typing import NamedTuple
from zlib import crc32

MAGIC = b"PXWAL\r\n\0"
VERSION = 1
HEADER_BYTES = 512
PROMISE, ACCEPT, DECISION, COMMIT, STATE, RELEASE, GROUP_END, HEARD = range(1, 9)

TAIL_MAGIC = b"PXMARK\r\n"
TAIL_PLACE_BYTES = 4096
_HEADER = Struct("<8sIQ8sQ")
_TAIL = Struct("<8sIQQ8sQ")
_RECORD = Struct("<IIIQB")
_U32, _U64 = Struct("<I"), Struct("<Q")
_SLOT_ROUND = Struct("<QQ")
_STATE = Struct("<QQQQ")
_RELEASE = Struct("<QQQ")
_NAME = re.compile(r"wal-(\d{8,})\.log")


class Record(NamedTuple):
    """A record of a whole group. ``slot``: of ACCEPT, DECISION, COMMIT; of STATE and RELEASE the
    first one that is not in a snapshot; of HEARD the group up to which the log of ``voter``, in the
    directory ``commit``, was durable. ``round``, ``voter``: a ballot. ``commit``: of STATE and
    RELEASE, as is ``lowest``, the first segment that the log needs. ``value``: of ACCEPT and
    DECISION."""

    kind: int
    offset: int
    group: int
    slot: int = 0
    round: int = 0
    voter: str = ""
    commit: int = 0
    lowest: int = 0
    value: bytes | memoryview = b""


@dataclass(slots=True)
class Segment:
    """A segment whose header is good. ``trouble``: what stands behind its last whole group, if that
    is not simply its end; ``torn_at``: where; ``damaged``: it had gone on there, for records of
    later groups stand behind it."""

    path: Path
    number: int
    cluster: str
    node: str
    seed: int
    marker: int
    torn_at: int = 0
    trouble: str = ""
    damaged: bool = False
    first_group: int = 0
    last_group: int = 0
    """Of the whole groups that were read; 0: none. Groups are numbered without a gap."""
    nonce: bytes = b""


class TailMark(NamedTuple):
    """The second witness: ``group`` was synced into a segment of that number and nonce."""

    group: int
    segment: int
    nonce: bytes


class NotALogError(ValueError):
    """The file is no segment that this program can read; the text says why."""


def segment_number(name: str) -> int | None:
    """The number in a segment's file name; None for any other file."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def open_segment(path: Path) -> Segment:
    """What the header says. Raises NotALogError, OSError."""
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES or head[:8] != MAGIC:
        raise NotALogError(f"{path} is no segment of a log")
    if crc32(head[:-4]) != _U32.unpack_from(head, HEADER_BYTES - 4)[0]:
        raise NotALogError(f"{path}: the checksum of its header is wrong")
    _, version, number, nonce, _ = _HEADER.unpack_from(head)
    if version != VERSION:
        raise NotALogError(f"{path} has the format version {version}; this program reads {VERSION}")
    cluster, after = _name(head, _HEADER.size)
    node, _ = _name(head, after)
    seed = crc32(nonce + _U64.pack(number) + cluster.encode())
    marker = crc32(b"marker" + nonce, seed) | 1
    return Segment(path, number, cluster, node, seed, marker, nonce=nonce)


def read_tail_mark(path: Path) -> TailMark | None:
    """The newer of its two notes; None if there is none that is whole. Raises OSError."""
    data, found = path.read_bytes(), None
    for offset in range(0, len(data), TAIL_PLACE_BYTES):
        place = data[offset : offset + _TAIL.size + _U32.size]
        if len(place) < _TAIL.size + _U32.size:
            continue
        magic, version, group, number, nonce, _ = _TAIL.unpack_from(place)
        good = crc32(place[: _TAIL.size]) == _U32.unpack_from(place, _TAIL.size)[0]
        if good and (magic, version) == (TAIL_MAGIC, VERSION):
            found = max(found or TailMark(0, 0, b""), TailMark(group, number, nonce))
    return found


def records_of(segment: Segment) -> Iterator[Record]:
    """The records of all whole groups, in order. Sets ``torn_at``, ``trouble`` and ``damaged`` at
    the end. Raises OSError."""
    data = memoryview(segment.path.read_bytes())
    offset, size = HEADER_BYTES, len(data)
    unpack, head_bytes = _RECORD.unpack_from, _RECORD.size
    marker, seed = segment.marker, segment.seed
    open_group: list[Record] = []
    whole_to, last_group = offset, 0
    while offset + head_bytes <= size:
        crc, found, length, group, kind = unpack(data, offset)
        start = offset + head_bytes
        end = start + length
        if found != marker or end > size or crc32(data[offset + 4 : end], seed) != crc:
            break
        if kind == GROUP_END:
            if length < 4 or _U32.unpack_from(data, start)[0] != len(open_group):
                segment.trouble = "a group does not have the records that its end counts"
                break
            yield from open_group
            open_group.clear()
            whole_to, last_group = end, group
            segment.first_group, segment.last_group = segment.first_group or group, group
        else:
            record = _decode(data, kind, offset, group, start, end)
            if record is None:
                segment.trouble = f"a record of kind {kind} is not as the format has it"
                break
            open_group.append(record)
        offset = end
    segment.torn_at = whole_to
    if not segment.trouble and (open_group or any(data[offset : offset + head_bytes])):
        segment.trouble = "its last group is torn"
    if segment.trouble and last_group and _goes_on(segment, data, whole_to, last_group):
        segment.damaged = True
        segment.trouble = "a group is damaged, and later ones stand behind it"


def _goes_on(segment: Segment, data: memoryview, offset: int, last_group: int) -> bool:
    """Whether a record of a later group than the next one stands behind ``offset``. The next one
    alone can have been under way when the node ended, and may be torn anywhere."""
    raw, marker = bytes(data[offset:]), _U32.pack(segment.marker)
    at = raw.find(marker)
    while at >= 0:
        start = at - 4  # the crc stands before the marker
        if start >= 0 and start + _RECORD.size <= len(raw):
            crc, _, length, group, _ = _RECORD.unpack_from(raw, start)
            end = start + _RECORD.size + length
            is_later = group > last_group + 1 and end <= len(raw)
            if is_later and crc32(raw[start + 4 : end], segment.seed) == crc:
                return True
        at = raw.find(marker, at + 1)
    return False


def _decode(
    data: memoryview, kind: int, offset: int, group: int, start: int, end: int
) -> Record | None:
    try:
        if kind in (ACCEPT, DECISION):
            slot, round_ = _SLOT_ROUND.unpack_from(data, start)
            voter, after = _name(data, start + 16)
            if after > end:
                return None
            return Record(kind, offset, group, slot, round_, voter, value=data[after:end])
        if kind == PROMISE:
            return Record(kind, offset, group, 0, *_ballot(data, start))
        if kind == COMMIT:
            return Record(kind, offset, group, _U64.unpack_from(data, start)[0])
        if kind == STATE:
            first, commit, lowest, round_ = _STATE.unpack_from(data, start)
            voter, _ = _name(data, start + _STATE.size)
            return Record(kind, offset, group, first, round_, voter, commit, lowest)
        if kind == RELEASE:
            first, commit, lowest = _RELEASE.unpack_from(data, start)
            return Record(kind, offset, group, first, commit=commit, lowest=lowest)
        if kind == HEARD:
            directory, mark = _SLOT_ROUND.unpack_from(data, start)
            return Record(kind, offset, group, mark, 0, _name(data, start + 16)[0], directory)
        return Record(kind, offset, group)
    except (ValueError, IndexError, error):
        return None


def _ballot(data: memoryview, start: int) -> tuple[int, str]:
    return _U64.unpack_from(data, start)[0], _name(data, start + 8)[0]


def _name(data: bytes | memoryview, offset: int) -> tuple[str, int]:
    end = offset + 1 + data[offset]
    if end > len(data):
        raise ValueError("a name runs past the end")
    return bytes(data[offset + 1 : end]).decode(), end
