"""Blocks: runs of events with a head, a checksum and a version; the unit that is written and read.

    magic 8 bytes | version u16 | flags u16 | stored u32 | raw u32 | crc u32 | stored bytes

``crc`` is over the numbers before it and the stored bytes. Those are compressed with zlib if flag
1 is set, and ``raw`` bytes long in the clear:

    head_bytes u32 | head (msgpack map) | events, 40 bytes each

The head has ``cluster``, ``node``, ``boot_count``, ``run_id``, ``first_seq``, ``mono_us`` and
``wall_us`` (the same moment on both clocks), ``base_us`` (what the events' times are added to, on
the monotonic clock), ``names``, ``texts``, ``text_base`` and ``directory_id``. What a later version
adds to the head is ignored; a block of a later version is passed over, and counted.

A torn or damaged block is passed over: the next one is found by its magic.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from msgpack import packb, unpackb

from paxosd.recorder.event import EVENT_BYTES, FORM, NOBODY, NOTE, Event

MAGIC = b"PXREC\r\n\0"
VERSION = 1
DEFLATED = 1
_LEAD = Struct("<8sHHII")
_CRC = Struct("<I")
_U32 = Struct("<I")
HEAD_BYTES = _LEAD.size + _CRC.size
Row = tuple[int, ...]
"""An event as it is packed: at_us, kind, peer, voter, code, slot, round, x, y."""
Keep = Callable[[Row], Any]
"""Whether an event is wanted."""
RAW_BYTES_MAX = 16 << 20
"""No block is larger in the clear: what says so is damaged."""


@dataclass(frozen=True, slots=True)
class BlockHead:
    """Whose events a block has, and what their numbers stand for."""

    cluster: str
    node: str
    boot_count: int
    run_id: int
    first_seq: int
    base_us: int
    mono_us: int
    wall_us: int
    names: list[str]
    texts: list[str] = field(default_factory=list)
    text_base: int = 0
    directory_id: int = 0
    """Of the data directory, as its peers know it: with another one the node began without memory.
    0: of a version that did not say."""


def encode_block(head: BlockHead, events: bytes, *, level: int = 1) -> bytes:
    """A block. ``level``: of zlib; 0: not compressed."""
    described = packb({name: getattr(head, name) for name in BlockHead.__slots__})
    raw = _U32.pack(len(described)) + described + events
    stored, flags = (zlib.compress(raw, level), DEFLATED) if level else (raw, 0)
    lead = _LEAD.pack(MAGIC, VERSION, flags, len(stored), len(raw))
    return lead + _CRC.pack(zlib.crc32(stored, zlib.crc32(lead))) + stored


@dataclass(slots=True)
class Losses:
    """What could not be read. ``damaged``: blocks, or stretches without one; ``later``: blocks of a
    later version; ``bytes``: of both."""

    damaged: int = 0
    later: int = 0
    bytes: int = 0


def blocks_of(data: bytes, losses: Losses) -> Iterator[tuple[BlockHead, memoryview]]:
    """The sound blocks of a file, in order: the head, and the events' bytes."""
    offset = 0
    while offset < len(data):
        found = data.find(MAGIC, offset)
        if found != offset:
            losses.damaged += 1
            losses.bytes += (found if found >= 0 else len(data)) - offset
            if found < 0:
                return
            offset = found
        end = _end_of(data, offset)
        if not end:
            losses.damaged += 1
            again = data.find(MAGIC, offset + 1)
            losses.bytes += (again if again >= 0 else len(data)) - offset
            if again < 0:
                return
            offset = again
            continue
        block = _open(data, offset, end)
        if block is None:
            losses.later += 1
            losses.bytes += end - offset
        else:
            yield block
        offset = end


def _end_of(data: bytes, offset: int) -> int:
    """Where the block ends whose checksum holds; 0: it is torn or damaged."""
    if offset + HEAD_BYTES > len(data):
        return 0
    _, _, _, stored, raw = _LEAD.unpack_from(data, offset)
    end = int(offset + HEAD_BYTES + stored)
    if raw > RAW_BYTES_MAX or end > len(data):
        return 0
    body = memoryview(data)[offset + HEAD_BYTES : end]
    crc = zlib.crc32(body, zlib.crc32(data[offset : offset + _LEAD.size]))
    return end if _CRC.unpack_from(data, offset + _LEAD.size)[0] == crc else 0


def _open(data: bytes, offset: int, end: int) -> tuple[BlockHead, memoryview] | None:
    """What a sound block holds; None: it is of a later version."""
    _, version, flags, _, raw_bytes = _LEAD.unpack_from(data, offset)
    if version > VERSION:
        return None
    raw = data[offset + HEAD_BYTES : end]
    if flags & DEFLATED:
        raw = zlib.decompress(raw, bufsize=raw_bytes)
    head_bytes = _U32.unpack_from(raw)[0]
    described: dict[str, Any] = unpackb(raw[_U32.size : _U32.size + head_bytes])
    known = {name: described[name] for name in BlockHead.__slots__ if name in described}
    return BlockHead(**known), memoryview(raw)[_U32.size + head_bytes :]


def events_of(head: BlockHead, events: memoryview, keep: Keep | None = None) -> Iterator[Event]:
    """The events of a block. ``keep``: which are wanted besides notes; None: all."""
    names = dict(enumerate(head.names)) | {NOBODY: ""}
    whole = len(events) // EVENT_BYTES * EVENT_BYTES
    lag_us = head.wall_us - head.mono_us
    rows = FORM.iter_unpack(events[:whole])
    for seq, row in enumerate(rows, head.first_seq):
        at_us, kind, peer, voter, code, slot, round_, x, y = row
        if keep is not None and kind != NOTE and not keep(row):
            continue
        mono_us = head.base_us + at_us
        text = ""
        if kind == NOTE:
            place = x - head.text_base
            text = head.texts[place] if 0 <= place < len(head.texts) else ""
        yield Event(
            head.node,
            head.boot_count,
            seq,
            mono_us,
            mono_us + lag_us,
            kind,
            names.get(peer, "?"),
            names.get(voter, "?"),
            code,
            slot,
            round_,
            x,
            y,
            text,
        )
