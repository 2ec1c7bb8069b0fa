"""Records on their way into a file: gathered into blocks of a useful size."""

import re
from typing import Any

from msgpack import packb

from paxosd.trace.blocks import encode_block
from paxosd.trace.encoding import CALL, END, PIECE, START, TURN, encode_record
from paxosd.trace.reader import TraceFile

BLOCK_BYTES = 64 << 10
"""A block is written once its records take so much in the clear."""
DIRECTORY = "trace"
"""Where the files are, within the data directory."""
_NAME = re.compile(r"trace-(\d{8,})\.trc")


def file_name(number: int) -> str:
    """Of the trace of one run; numbers grow from run to run."""
    return f"trace-{number:08d}.trc"


def file_number(name: str) -> int | None:
    """The number in a trace file's name; None for any other file."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def pack_trace(trace: TraceFile, turns: int) -> bytes:
    """A file that holds the beginning of a trace, up to this number of turns, well compressed."""
    records: list[tuple[Any, ...]] = [trace.head.record()]
    records += [(PIECE, where, *piece) for where, piece in trace.pieces]
    records.append((START, trace.start))
    for turn in trace.turns[:turns]:
        records += [(CALL, [code]) for code in turn.calls]
        kept = turn.now_ms, turn.wall_ms, turn.operations, turn.applied, turn.leading
        records.append((TURN, *kept))
    if turns >= len(trace.turns) and trace.end is not None:
        records.append((END, *trace.end))
    return encode_block(b"".join(map(packb, records)), level=9)


class Packer:
    """Gathers records. Use it from one thread."""

    def __init__(self) -> None:
        self._records: list[bytes] = []
        self._bytes = 0

    def add(self, record: tuple[Any, ...]) -> bytes:
        """Take a record. Returns a block to be written now, b"": not yet."""
        encoded = encode_record(record)
        self._records.append(encoded)
        self._bytes += len(encoded)
        return self.take() if self._bytes >= BLOCK_BYTES else b""

    def take(self) -> bytes:
        """What was gathered so far, as a block; b"": nothing."""
        if not self._records:
            return b""
        raw = b"".join(self._records)
        self._records.clear()
        self._bytes = 0
        return encode_block(raw)
