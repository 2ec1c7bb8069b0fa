"""A trace file as typed records: the head, the data directory of the beginning, the turns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgpack import Unpacker
from msgpack.exceptions import UnpackException

from paxosd.bus.peers import PeerEndpoints
from paxosd.core.options import NodeOptions
from paxosd.core.types import NodeId
from paxosd.replica.ports import ReplicaOptions
from paxosd.snapshot.keeper import SnapshotOptions
from paxosd.trace.blocks import RAW_BYTES_MAX, Ending, TraceError, blocks_of
from paxosd.trace.encoding import CALL, END, FORMAT, HEAD, NODE_FAILED, PIECE, START, TURN
from paxosd.trace.memory_disk import Piece
from paxosd.trace.settings import decode_settings, encode_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Whose trace it is and what the node was started with. ``version``: of paxosd. ``wall_ms``:
    when the recording began. ``reads_clock``: whether time passes within a turn."""

    version: str
    cluster: str
    node: NodeId
    place: str
    created: str
    wall_ms: int
    segment_bytes: int
    checksum_slots: int
    faults_enabled: bool
    reads_clock: bool
    node_options: NodeOptions
    contacts: Mapping[NodeId, PeerEndpoints]
    replica_options: ReplicaOptions
    snapshot_options: SnapshotOptions | None

    def record(self) -> tuple[int, dict[str, Any]]:
        """For the file."""
        values = {name: encode_settings(getattr(self, name)) for name in self.__slots__}
        return HEAD, {"format": FORMAT, **values}


@dataclass(slots=True)
class Turn:
    """A turn: the time, what passed, and what the state was then. ``calls``: what was asked of the
    node before it. ``fails``: the node ended in it."""

    number: int
    now_ms: float
    wall_ms: int
    operations: Sequence[Sequence[Any]]
    applied: int
    leading: bool
    calls: Sequence[int] = ()
    fails: bool = False


@dataclass(slots=True)
class TraceFile:
    """What a trace file holds. ``end``: reason and words, None: the node was killed, or still
    runs. ``ending``: what is missing at the end of the file."""

    head: Head
    pieces: list[tuple[str, Piece]] = field(default_factory=list)
    start: Sequence[Sequence[Any]] | None = None
    """None: the run ended before the node had started."""
    turns: list[Turn] = field(default_factory=list)
    end: tuple[str, str] | None = None
    ending: Ending = field(default_factory=Ending)


def read_trace(data: bytes) -> TraceFile:
    """A whole file. Raises TraceError, in words, for what cannot be replayed at all."""
    ending = Ending()
    records = _records(data, ending)
    first = next(records, None)
    if first is None or first[0] != HEAD:
        raise TraceError("the trace is torn before its first record: nothing can be replayed")
    trace = TraceFile(_head(first[1]), ending=ending)
    calls: list[int] = []
    for record in records:
        kind = record[0]
        if kind == PIECE:
            trace.pieces.append((record[1], tuple(record[2:])))
        elif kind == START:
            trace.start = record[1]
        elif kind == TURN:
            _, now_ms, wall_ms, operations, applied, leading = record
            number, before = len(trace.turns) + 1, tuple(calls)
            turn = Turn(number, now_ms, wall_ms, operations, applied, leading, before)
            trace.turns.append(turn)
            calls.clear()
        elif kind == CALL:
            calls.append(record[1][0])
        elif kind == END:
            trace.end = (record[1], record[2])
    if trace.end is not None and trace.end[0] == NODE_FAILED and trace.turns:
        trace.turns[-1].fails = True
    return trace


def _head(values: Mapping[str, Any]) -> Head:
    format_ = values.get("format", 0)
    if format_ != FORMAT:
        raise TraceError(
            f"the trace holds records of format {format_}; this paxosd knows {FORMAT}: replay it "
            "with the version that recorded it"
        )
    names = Head.__slots__
    if missing := [name for name in names if name not in values]:
        raise TraceError(f"the trace does not say: {', '.join(missing)}")
    return Head(**{name: decode_settings(values[name]) for name in names})


def _records(data: bytes, ending: Ending) -> Iterator[Sequence[Any]]:
    for block in blocks_of(data, ending):
        unpacker = Unpacker(max_buffer_size=RAW_BYTES_MAX, strict_map_key=False)
        unpacker.feed(block)
        try:
            yield from unpacker
        except (ValueError, UnpackException) as error:
            raise TraceError(f"a sound block holds something else than records: {error}") from error
