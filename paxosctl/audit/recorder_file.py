"""Recorder files as the auditor reads them: blocks are found, checked and opened one at a time.

    magic 8 bytes | version u16 | flags u16 | stored u32 | raw u32 | crc u32 | stored bytes

``crc`` is over the numbers before it and the stored bytes; flag 1: these are compressed with zlib.
In the clear they are ``head_bytes u32``, a head (a MessagePack map), and events of 40 bytes each:

    at_us u32 | kind u8 | peer u8 | voter u8 | code u8 | slot u64 | round u64 | x u64 | y u64

What is torn, damaged or of a later version is passed over, and counted.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any

from msgpack import unpackb

MAGIC = b"PXREC\r\n\0"
VERSION = 1
DEFLATED = 1
EVENT = Struct("<IBBBBQQQQ")
RAW_BYTES_MAX = 16 << 20
_LEAD = Struct("<8sHHII")
_CRC = Struct("<I")
_NAME = re.compile(r"rec-(\d{8,})\.bin")
_HEAD_BYTES = _LEAD.size + _CRC.size
_UNPACK_ERRORS = (ValueError, TypeError, KeyError, zlib.error)


@dataclass(slots=True)
class Block:
    """A sound block. ``offset``: where it begins in its file; ``base_us``: what the times of its
    events are added to; ``count``: of its events."""

    path: Path
    offset: int
    end: int
    cluster: str
    node: str
    boot_count: int
    run_id: int
    first_seq: int
    base_us: int
    names: list[str]
    directory: int
    count: int

    def rows(self) -> Iterator[tuple[int, ...]]:
        """Its events, as tuples of nine numbers. Raises OSError, ValueError if the file is not what
        it was."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(self.end - self.offset)
        raw = _clear(data)
        if raw is None:
            raise ValueError(f"{self.path}: the block at {self.offset} changed while it was read")
        start = 4 + int.from_bytes(raw[:4], "little")
        return EVENT.iter_unpack(memoryview(raw)[start : start + self.count * EVENT.size])


@dataclass(slots=True)
class FileLosses:
    """What of a file could not be used. ``damaged``: (offset, bytes) of each stretch; ``later``:
    how many blocks are of a later version."""

    damaged: list[tuple[int, int]]
    later: int = 0


def file_number(name: str) -> int | None:
    """The number in a recorder file's name; None for any other file."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def blocks_of(path: Path) -> tuple[list[Block], FileLosses]:
    """The sound blocks of a file, in order, and what was passed over. Raises OSError."""
    data = path.read_bytes()
    losses = FileLosses([])
    blocks: list[Block] = []
    offset = 0
    while offset < len(data):
        end = _end_of(data, offset)
        if not end:
            again = data.find(MAGIC, offset + 1)
            stop = again if again >= 0 else len(data)
            losses.damaged.append((offset, stop - offset))
            offset = stop
            continue
        if _LEAD.unpack_from(data, offset)[1] > VERSION:
            losses.later += 1
        else:
            block = _describe(path, data, offset, end)
            if block is None:
                losses.damaged.append((offset, end - offset))
            else:
                blocks.append(block)
        offset = end
    return blocks, losses


def _end_of(data: bytes, offset: int) -> int:
    """Where the block ends that begins here and whose checksum holds; 0: there is none."""
    if offset + _HEAD_BYTES > len(data):
        return 0
    magic, _, _, stored, raw = _LEAD.unpack_from(data, offset)
    end = int(offset + _HEAD_BYTES + stored)
    if magic != MAGIC or raw > RAW_BYTES_MAX or end > len(data):
        return 0
    body = memoryview(data)[offset + _HEAD_BYTES : end]
    crc = zlib.crc32(body, zlib.crc32(data[offset : offset + _LEAD.size]))
    return end if _CRC.unpack_from(data, offset + _LEAD.size)[0] == crc else 0


def _clear(block: bytes) -> bytes | None:
    """The stored bytes in the clear; None: they are not what the lead says."""
    if len(block) < _HEAD_BYTES:
        return None
    magic, _, flags, _, raw_bytes = _LEAD.unpack_from(block)
    stored = block[_HEAD_BYTES:]
    try:
        raw = zlib.decompress(stored, bufsize=raw_bytes or 1) if flags & DEFLATED else stored
    except zlib.error:
        return None
    return raw if magic == MAGIC and len(raw) == raw_bytes else None


def _describe(path: Path, data: bytes, offset: int, end: int) -> Block | None:
    """What the head says; None: it is not a head."""
    _, _, flags, _, raw_bytes = _LEAD.unpack_from(data, offset)
    body = memoryview(data)[offset + _HEAD_BYTES : end]
    try:
        # The events stay closed for now: only as much is opened as the head takes.
        opened = zlib.decompressobj() if flags & DEFLATED else None
        raw = opened.decompress(body, 4) if opened is not None else bytes(body[:4])
        size = int.from_bytes(raw, "little")
        if opened is None:
            described = bytes(body[4 : 4 + size])
        else:
            described = opened.decompress(opened.unconsumed_tail, size)
            while len(described) < size and opened.unconsumed_tail:
                described += opened.decompress(opened.unconsumed_tail, size - len(described))
        head: dict[str, Any] = unpackb(described)
        count, rest = divmod(raw_bytes - 4 - size, EVENT.size)
        if rest or count < 0:
            return None
        return Block(
            path,
            offset,
            end,
            str(head["cluster"]),
            str(head["node"]),
            int(head["boot_count"]),
            int(head["run_id"]),
            int(head["first_seq"]),
            int(head["base_us"]),
            [str(name) for name in head["names"]],
            int(head.get("directory_id", 0)),
            count,
        )
    except _UNPACK_ERRORS:
        return None
