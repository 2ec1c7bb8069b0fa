"""Blocks of a trace file: runs of records with a checksum and a version, as the flight recorder's.

    magic 8 bytes | version u16 | flags u16 | stored u32 | raw u32 | crc u32 | stored bytes

``crc`` is over the numbers before it and the stored bytes, which are compressed with zlib; ``raw``
is their length in the clear. Unlike the recorder's, blocks depend on those before them: reading
ends at the first that is torn or damaged, for a trace with a hole cannot be replayed.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

MAGIC = b"PXTRC\r\n\0"
VERSION = 1
DEFLATED = 1
_LEAD = Struct("<8sHHII")
_CRC = Struct("<I")
HEAD_BYTES = _LEAD.size + _CRC.size
RAW_BYTES_MAX = 512 << 20
"""No block is larger in the clear: what says so is damaged."""


class TraceError(Exception):
    """Not a trace that can be replayed; the text says why."""


@dataclass(slots=True)
class Ending:
    """How a file ends: ``lost_bytes`` at the end could not be read, because of ``reason``."""

    reason: str = ""
    lost_bytes: int = 0


def encode_block(raw: bytes, *, level: int = 1) -> bytes:
    """A block. ``level``: of zlib."""
    stored = zlib.compress(raw, level)
    lead = _LEAD.pack(MAGIC, VERSION, DEFLATED, len(stored), len(raw))
    return lead + _CRC.pack(zlib.crc32(stored, zlib.crc32(lead))) + stored


def blocks_of(data: bytes, ending: Ending) -> Iterator[bytes]:
    """What the sound blocks hold, in order, up to the first that is not. Raises TraceError for a
    file that is no trace, or of a later version."""
    if not data.startswith(MAGIC):
        raise TraceError("this is no trace of paxosd: it does not begin as one")
    offset = 0
    while offset < len(data):
        left = len(data) - offset
        if left < HEAD_BYTES:
            ending.reason, ending.lost_bytes = "the last block is torn", left
            return
        magic, version, flags, stored, raw_bytes = _LEAD.unpack_from(data, offset)
        end = offset + HEAD_BYTES + stored
        if magic == MAGIC and version > VERSION:
            raise TraceError(
                f"the trace is of format {version}; this paxosd reads up to {VERSION}: replay it "
                "with the version that recorded it"
            )
        if magic != MAGIC or raw_bytes > RAW_BYTES_MAX or end > len(data):
            torn = magic == MAGIC and end > len(data)
            ending.reason = "the last block is torn" if torn else "a block is damaged"
            ending.lost_bytes = left
            return
        body = data[offset + HEAD_BYTES : end]
        crc = zlib.crc32(body, zlib.crc32(data[offset : offset + _LEAD.size]))
        if _CRC.unpack_from(data, offset + _LEAD.size)[0] != crc:
            ending.reason, ending.lost_bytes = "a block is damaged", left
            return
        yield zlib.decompress(body, bufsize=raw_bytes) if flags & DEFLATED else body
        offset = end
