"""Frames between daemons.

    [VERSION, cluster_id: str, kind: int, sender: str, incarnation: int, *fields]

``fields`` are those of the message class, in order; a ballot is ``[round, node]``. An
``Accepted`` travels on PUB behind the topic ``accepted/NODE``, everything else on DEALER →
ROUTER; the payload has the same form on both.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgpack import unpackb

from paxosd.core.messages import (
    Accept,
    Accepted,
    AcceptedValue,
    CatchUp,
    Decisions,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Nack,
    PeerMessage,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
    ReadIndex,
    ReadIndexReply,
    Rejoin,
    Removed,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotRequest,
    TransferLeadership,
    Votes,
    VotesRequest,
    Welcome,
)
from paxosd.core.types import Ballot, NodeId, Slot
from paxosd.wire_base import (
    ARRAY_MAX,
    BIN_BYTES_MAX,
    INT_MAX,
    NAME_BYTES_MAX,
    NAME_CHARS_MAX,
    UNPACK_ERRORS,
    VERSION,
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

_FIRST = 5  # the fields before those of the message


def _span(first: Any, last: Any) -> tuple[Slot, Slot]:
    if type(first) is not int or type(last) is not int or not 0 <= first <= last <= INT_MAX:
        raise bad_field("a range of slots", (first, last))
    return first, last


def _pair(first: Any, last: Any) -> tuple[Any, Any]:
    return first, last


def _run(voted: Ballot, first: Any, last: Any) -> tuple[Ballot, Slot, Slot]:
    return voted, *_span(first, last)


def _votes(runs: Any, stream_seq: int, commit: Slot) -> Votes:
    if sum(last - first + 1 for _, first, last in runs) > SPAN_SLOTS_MAX:
        raise WireError("field", f"more than {SPAN_SLOTS_MAX} slots")
    return Votes(runs, stream_seq, commit)


def _accept(frame: tuple[Any, ...]) -> Accept:
    # Written out, like _accepted: these two are the traffic of the steady state.
    if len(frame) != _FIRST + 4:
        raise WireError("arity", f"accept: {len(frame) - _FIRST} fields, expected 4")
    _, _, _, _, _, raw, slot, value, commit = frame
    if type(slot) is not int or type(commit) is not int or type(value) is not bytes:
        raise WireError("field", "accept: a slot or the value has the wrong type")
    if not (0 < slot <= INT_MAX and 0 <= commit <= INT_MAX):
        raise WireError("field", "accept: a slot is out of range")
    return Accept(ballot(raw), slot, value, commit)


def _accepted(frame: tuple[Any, ...]) -> Accepted:
    if len(frame) != _FIRST + 3:
        raise WireError("arity", f"accepted: {len(frame) - _FIRST} fields, expected 3")
    _, _, _, _, _, raw, ranges, stream_seq = frame
    if type(ranges) is not tuple or type(stream_seq) is not int:
        raise WireError("field", "accepted: the ranges or the sequence have the wrong type")
    total = 0
    for item in ranges:
        if type(item) is not tuple or len(item) != 2:
            raise WireError("field", "accepted: a range is not (first, last)")
        first, last = item
        if type(first) is not int or type(last) is not int or not 0 < first <= last <= INT_MAX:
            raise WireError("field", "accepted: a range is not (first, last)")
        total += last - first + 1
    if total > SPAN_SLOTS_MAX or not 0 <= stream_seq <= INT_MAX:
        raise WireError("field", f"accepted: {total} slots, or the sequence is out of range")
    return Accepted(ballot(raw), ranges, stream_seq)


_ACCEPTED_VALUE = record_of(AcceptedValue, number, ballot, data)
_VOTE_RUN = record_of(_run, ballot, number, number)
_DECIDED = record_of(_pair, ballot, data)


def _table() -> dict[int, tuple[str, type, Check]]:
    def row(label: str, build: type, *checks: Check) -> tuple[str, type, Check]:
        return label, build, fields_of(label, build, _FIRST, *checks)

    votes = fields_of("votes", _votes, _FIRST, tuple_of(_VOTE_RUN), number, number)
    return {
        1: row("prevote", PreVote, ballot, number),
        2: row("prevote_reply", PreVoteReply, ballot, flag, ballot, number),
        3: row("prepare", Prepare, ballot, number),
        4: row("promise", Promise, ballot, number, number, number, tuple_of(_ACCEPTED_VALUE)),
        5: ("accept", Accept, _accept),
        6: row("nack", Nack, ballot, ballot),
        7: ("accepted", Accepted, _accepted),
        8: row("votes_request", VotesRequest, number),
        9: ("votes", Votes, votes),
        10: row(
            "heartbeat", Heartbeat, ballot, name_or_empty, number, number, number, number, flag
        ),
        11: row("heartbeat_ack", HeartbeatAck, ballot, number, number, number, flag),
        12: row("catchup", CatchUp, number, number),
        13: row("decisions", Decisions, number, tuple_of(_DECIDED), number),
        14: row("read_index", ReadIndex, number),
        15: row("read_index_reply", ReadIndexReply, number, number),
        16: row("transfer_leadership", TransferLeadership, ballot, number),
        17: row("snapshot_offer", SnapshotOffer, number, number, digest),
        18: row("snapshot_request", SnapshotRequest, number, number, digest),
        19: row("snapshot_chunk", SnapshotChunk, number, number, digest, data),
        20: row("hello", Hello, number),
        21: row("welcome", Welcome, number, number),
        22: row("removed", Removed, number, number),
        23: row("rejoin", Rejoin, number),
    }


_TABLE = _table()
_DECODERS: dict[int, Check] = {kind: row[2] for kind, row in _TABLE.items()}
_KIND_OF: dict[type, int] = {row[1]: kind for kind, row in _TABLE.items()}

PEER_KIND_NAMES: Mapping[type, str] = MappingProxyType({r[1]: r[0] for r in _TABLE.values()})
"""Message class → its name in logs and fault rules."""


def encode_peer(message: PeerMessage, cluster: str, sender: NodeId, incarnation: int) -> bytes:
    """The frame that carries ``message`` from ``sender`` in its ``incarnation``."""
    kind = _KIND_OF[type(message)]
    return pack((VERSION, cluster, kind, sender, incarnation, *message))


def decode_peer(frame: bytes | memoryview, cluster: str) -> tuple[NodeId, int, PeerMessage]:
    """``(sender, incarnation, message)``. Raises WireError."""
    try:  # unpack(), written out: this is the busiest decoder
        fields = unpackb(
            frame,
            use_list=False,
            max_array_len=ARRAY_MAX,
            max_map_len=0,
            max_str_len=NAME_BYTES_MAX,
            max_bin_len=BIN_BYTES_MAX,
            max_ext_len=0,
            ext_hook=refuse_ext,
        )
    except UNPACK_ERRORS as error:
        raise not_msgpack(error) from None
    kind = open_envelope(fields, _FIRST, cluster)
    sender = fields[3]
    incarnation = fields[4]
    if type(sender) is not str or not 1 <= len(sender) <= NAME_CHARS_MAX:
        raise WireError("envelope", f"the sender is not a node name: {shorten(sender)}")
    if type(incarnation) is not int or not 0 <= incarnation <= INT_MAX:
        raise WireError("envelope", f"the incarnation is not a number: {shorten(incarnation)}")
    decode = _DECODERS.get(kind)
    if decode is None:
        raise WireError("kind", f"no message between daemons has kind {shorten(kind)}")
    return sender, incarnation, decode(fields)
