"""Frames between daemons.

    [2, cluster_id: str, kind: int, sender: str, run_id: int,
     genesis: int, epoch: int, log_mark: int, *fields]                     see Envelope
    [1, cluster_id, kind, sender, run_id, *fields]                         before feature level 1

A frame of version 1 has only the fields of that time: the later ones of each message have
defaults.
``fields`` are those of the message class, in order; a ballot is ``[round, node]``. An
``Accepted`` travels on PUB behind the topic ``accepted/NODE``, everything else on DEALER →
ROUTER; the payload has the same form on both.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from msgpack import unpackb

from paxosd.core.membership import TEXT_CHARS_MAX
from paxosd.core.messages import (
    SAMPLES_MAX,
    Accept,
    Accepted,
    AcceptedValue,
    CatchUp,
    Decisions,
    Envelope,
    Founding,
    Genesis,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Nack,
    NodeLimits,
    PeerMessage,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
    ReadIndex,
    ReadIndexReply,
    Rejoin,
    Removed,
    Sample,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotRequest,
    TransferLeadership,
    Votes,
    VotesRequest,
    Welcome,
)
from paxosd.core.types import Ballot, NodeId, Slot
from paxosd.wire.fields import (
    ARRAY_MAX,
    BIN_BYTES_MAX,
    INT_MAX,
    NAME_CHARS_MAX,
    UNPACK_ERRORS,
    Check,
    WireError,
    bad_field,
    ballot,
    data,
    digest,
    fields_of,
    flag,
    name_or_empty,
    not_msgpack,
    number,
    open_envelope,
    pack,
    record_of,
    refuse_ext,
    shorten,
    tuple_of,
)

ACCEPTED_TOPIC = b"accepted/"

SPAN_SLOTS_MAX = 1 << 16
"""The slots of one vote message: a receiver goes through them one by one, so a hostile range
must not be able to keep it busy. Far above any window."""

_TEXT_BYTES_MAX = 4 * TEXT_CHARS_MAX
"""The limit of names and endpoints, in UTF-8; each check has its own limit in characters."""

PEER_VERSION = 2
_FIRST = {1: 5, 2: 8}
"""By version: the fields before those of the message."""

_envelope = tuple.__new__
"""``Envelope(…)``, for the busiest decoder: a named tuple's own constructor takes twice as long."""


def _span(first: Any, last: Any) -> tuple[Slot, Slot]:
    if type(first) is not int or type(last) is not int or not 0 <= first <= last <= INT_MAX:
        raise bad_field("a range of slots", (first, last))
    return first, last


def endpoint(value: Any) -> str:
    """Where a node is reached, or ""."""
    if type(value) is not str or len(value) > TEXT_CHARS_MAX or not value.isprintable():
        raise bad_field("an endpoint", value)
    return value


def _pair(first: Any, last: Any) -> tuple[Any, Any]:
    return first, last


def _run(voted: Ballot, first: Any, last: Any) -> tuple[Ballot, Slot, Slot]:
    return voted, *_span(first, last)


def _votes(runs: Any, stream_seq: int, commit: Slot) -> Votes:
    if sum(last - first + 1 for _, first, last in runs) > SPAN_SLOTS_MAX:
        raise WireError("field", f"more than {SPAN_SLOTS_MAX} slots")
    return Votes(runs, stream_seq, commit)


def _accept(first: int) -> Check:
    # Without the general checks, as _accepted is: these two are nearly all of the traffic.
    def accept(frame: tuple[Any, ...]) -> Accept:
        if len(frame) != first + 4:
            raise WireError("arity", f"accept: {len(frame) - first} fields, expected 4")
        raw, slot, value, commit = frame[first:]
        if type(slot) is not int or type(commit) is not int or type(value) is not bytes:
            raise WireError("field", "accept: a slot or the value has the wrong type")
        if not (0 < slot <= INT_MAX and 0 <= commit <= INT_MAX):
            raise WireError("field", "accept: a slot is out of range")
        return Accept(ballot(raw), slot, value, commit)

    return accept


def _accepted(first: int) -> Check:
    def accepted(frame: tuple[Any, ...]) -> Accepted:
        if len(frame) != first + 3:
            raise WireError("arity", f"accepted: {len(frame) - first} fields, expected 3")
        raw, ranges, stream_seq = frame[first:]
        if type(ranges) is not tuple or type(stream_seq) is not int:
            raise WireError("field", "accepted: the ranges or the sequence have the wrong type")
        total = 0
        for item in ranges:
            if type(item) is not tuple or len(item) != 2:
                raise WireError("field", "accepted: a range is not (first, last)")
            low, high = item
            if type(low) is not int or type(high) is not int or not 0 < low <= high <= INT_MAX:
                raise WireError("field", "accepted: a range is not (first, last)")
            total += high - low + 1
        if total > SPAN_SLOTS_MAX or not 0 <= stream_seq <= INT_MAX:
            raise WireError("field", f"accepted: {total} slots, or the sequence is out of range")
        return Accepted(ballot(raw), ranges, stream_seq)

    return accepted


_ACCEPTED_VALUE = record_of(AcceptedValue, number, ballot, data)
_SLOT_RANGE = record_of(_pair, number, number)
_VOTE_RUN = record_of(_run, ballot, number, number)
_SAMPLE = record_of(Sample, number, number, number, number)
_DECIDED = record_of(_pair, ballot, data)


class _Row(NamedTuple):
    """One kind of message. ``old``: how many of its fields a frame of version 1 has; -1: there is
    none of that kind."""

    label: str
    build: type
    checks: tuple[Check, ...]
    old: int


def _row(label: str, build: type, *checks: Check, old: int | None = None) -> _Row:
    return _Row(label, build, checks, len(checks) if old is None else old)


_ROWS: dict[int, _Row] = {
    1: _row("prevote", PreVote, ballot, number),
    2: _row("prevote_reply", PreVoteReply, ballot, flag, ballot, number),
    3: _row("prepare", Prepare, ballot, number),
    4: _row("promise", Promise, ballot, number, number, number, tuple_of(_ACCEPTED_VALUE)),
    5: _row("accept", Accept, ballot, number, data, number),
    6: _row("nack", Nack, ballot, ballot),
    7: _row("accepted", Accepted, ballot, tuple_of(_SLOT_RANGE), number),
    8: _row("votes_request", VotesRequest, number),
    9: _row("votes", Votes, tuple_of(_VOTE_RUN), number, number),
    10: _row(
        "heartbeat",
        Heartbeat,
        ballot,
        name_or_empty,
        number,
        number,
        number,
        number,
        flag,
        number,
        tuple_of(_SAMPLE, SAMPLES_MAX),
        flag,
        old=6,
    ),
    11: _row("heartbeat_ack", HeartbeatAck, ballot, number, number, number, flag),
    12: _row("catchup", CatchUp, number, number),
    13: _row(
        "decisions", Decisions, number, tuple_of(_DECIDED), number, tuple_of(_SAMPLE, 1), old=3
    ),
    14: _row("read_index", ReadIndex, number, flag, old=1),
    15: _row("read_index_reply", ReadIndexReply, number, number),
    16: _row("transfer_leadership", TransferLeadership, ballot, number),
    17: _row("snapshot_offer", SnapshotOffer, number, number, digest),
    18: _row("snapshot_request", SnapshotRequest, number, number, digest),
    19: _row("snapshot_chunk", SnapshotChunk, number, number, digest, data),
    20: _row("hello", Hello, number, number, number, number, endpoint, endpoint, old=1),
    21: _row("welcome", Welcome, number, number, number, number, flag, number, old=2),
    22: _row("removed", Removed, number, number),
    23: _row("rejoin", Rejoin, number),
    24: _row("founding", Founding, data, old=-1),
    25: _row("genesis", Genesis, data, old=-1),
    26: _row("limits", NodeLimits, data, old=-1),
}
_WRITTEN_OUT = {Accept: _accept, Accepted: _accepted}


def _decoder(row: _Row, first: int, count: int) -> Check:
    if row.build in _WRITTEN_OUT:
        return _WRITTEN_OUT[row.build](first)
    build: Callable[..., Any] = _votes if row.build is Votes else row.build
    return fields_of(row.label, build, first, *row.checks[:count])


_DECODERS: dict[int, dict[int, Check]] = {
    1: {k: _decoder(row, _FIRST[1], row.old) for k, row in _ROWS.items() if row.old >= 0},
    2: {k: _decoder(row, _FIRST[2], len(row.checks)) for k, row in _ROWS.items()},
}
_KIND_OF: dict[type, int] = {row.build: kind for kind, row in _ROWS.items()}
_OLD: dict[type, int] = {row.build: row.old for row in _ROWS.values()}

PEER_KIND_NAMES: Mapping[type, str] = MappingProxyType({r.build: r.label for r in _ROWS.values()})
"""Message class → its name in logs and fault rules."""
PEER_KINDS: Mapping[type, int] = MappingProxyType(_KIND_OF)
"""Message class → its number on the wire."""


def encode_peer(
    message: PeerMessage,
    cluster: str,
    sender: NodeId,
    run_id: int,
    genesis: int = 0,
    epoch: int = 0,
    log_mark: int = 0,
) -> bytes:
    """The frame that carries ``message`` from this run of ``sender``; for the rest see Envelope."""
    kind = _KIND_OF[type(message)]
    head = (PEER_VERSION, cluster, kind, sender, run_id, genesis, epoch, log_mark)
    return pack((*head, *message))


def encode_old(message: PeerMessage, cluster: str, sender: NodeId, run_id: int) -> bytes:
    """The frame of version 1; b"" for a kind that it does not know."""
    count = _OLD[type(message)]
    if count < 0:
        return b""
    return pack((1, cluster, _KIND_OF[type(message)], sender, run_id, *message[:count]))


def decode_peer(frame: bytes | memoryview, cluster: str) -> Envelope:
    """The message and what its sender says of itself. Raises WireError."""
    try:  # unpack(), written out: this is the busiest decoder
        fields = unpackb(
            frame,
            use_list=False,
            max_array_len=ARRAY_MAX,
            max_map_len=0,
            max_str_len=_TEXT_BYTES_MAX,
            max_bin_len=BIN_BYTES_MAX,
            max_ext_len=0,
            ext_hook=refuse_ext,
        )
    except UNPACK_ERRORS as error:
        raise not_msgpack(error) from None
    kind = open_envelope(fields, _FIRST[1], cluster, PEER_VERSION)
    version = fields[0]
    sender = fields[3]
    run_id = fields[4]
    if type(sender) is not str or not 1 <= len(sender) <= NAME_CHARS_MAX:
        raise WireError("envelope", f"the sender is not a node name: {shorten(sender)}")
    if type(run_id) is not int or not 0 <= run_id <= INT_MAX:
        raise WireError("envelope", f"the run id is not a number: {shorten(run_id)}")
    decode = _DECODERS[version].get(kind)
    if decode is None:
        raise WireError("kind", f"no message between daemons has kind {shorten(kind)}")
    if version == 1:
        return Envelope(sender, run_id, decode(fields), version=1)
    if len(fields) < _FIRST[2]:
        raise WireError("envelope", "the frame is not an array with an envelope")
    genesis, epoch, log_mark = fields[5:8]
    if not (
        type(genesis) is type(epoch) is type(log_mark) is int
        and 0 <= genesis <= INT_MAX
        and 0 <= epoch <= INT_MAX
        and 0 <= log_mark <= INT_MAX
    ):
        raise WireError("envelope", f"not numbers: {shorten((genesis, epoch, log_mark))}")
    return _envelope(Envelope, (sender, run_id, decode(fields), genesis, epoch, log_mark, 2))
