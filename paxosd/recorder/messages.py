"""Messages between daemons as events: which number of a message stands where.

    kind              slot        round, voter   x                        y
    prevote           commit      ballot
    prevote_reply     commit      ballot         1 granted                round of the promise
    prepare           from_slot   ballot
    promise           from_slot   ballot         commit                   proposals reported
    accept            slot        ballot         commit                   digest of the value
    nack              0           ballot         round of the promise
    accepted, votes   first       ballot         last                     stream_seq
    heartbeat         commit      ballot         round of reads           stream_seq
    heartbeat_ack     commit      ballot         round of reads           sync_us
    catchup           from_slot                  to_slot
    decisions         first       of the first   last                     digest of the first value
    read_index                                   read_id                  1 a read waits
    read_index_reply  slot                       read_id
    …

A message about several runs of slots makes one event for each; a promise besides one ADOPTED for
each proposal that it reports, and bit 63 of its y is set if another promise goes on with the
report; a heartbeat besides one SUM for each sum of the state that it carries. What is not named
here has zeros: its kind says that it was there.
"""

from collections.abc import Callable
from typing import Any, Protocol

from paxosd.core.messages import (
    Accept,
    Accepted,
    CatchUp,
    Decisions,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Nack,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
    ReadIndex,
    ReadIndexReply,
    Removed,
    SnapshotChunk,
    SnapshotOffer,
    SnapshotRequest,
    TransferLeadership,
    Votes,
    VotesRequest,
    Welcome,
)
from paxosd.core.types import NULL_BALLOT, Ballot, NodeId
from paxosd.recorder.event import ADOPTED, PARTIAL_BIT, SUM
from paxosd.wire import PEER_KINDS

ADOPTED_MAX = 1024
"""So many proposals of one promise are recorded."""


class EventSink(Protocol):
    """Takes events: a :class:`~paxosd.recorder.recorder.Recorder`."""

    def record(
        self,
        kind: int,
        peer: NodeId = "",
        code: int = 0,
        slot: int = 0,
        ballot: Ballot = NULL_BALLOT,
        x: int = 0,
        y: int = 0,
    ) -> None: ...
    def digest_of(self, value: bytes) -> int: ...


def record_message(recorder: EventSink, peer: NodeId, code: int, message: Any) -> None:
    """Add what was done with a PeerMessage: ``code`` SENT, RECEIVED …; ``peer``: the other node."""
    kind = type(message)
    if kind is Accept:
        ballot, slot, value, commit = message
        recorder.record(_ACCEPT, peer, code, slot, ballot, commit, recorder.digest_of(value))
    elif kind is Accepted:
        ballot, ranges, stream_seq = message
        for first, last in ranges:
            recorder.record(_ACCEPTED, peer, code, first, ballot, last, stream_seq)
    elif kind is Votes:
        for ballot, first, last in message.votes:
            recorder.record(_VOTES, peer, code, first, ballot, last, message.stream_seq)
    else:
        if kind is Decisions:
            slot, ballot, x, y = _decisions(recorder, message)
        else:
            slot, ballot, x, y = _FIELDS.get(kind, _nothing)(message)
        recorder.record(PEER_KINDS[kind], peer, code, slot, ballot, x, y)
        if kind is Promise:
            _record_report(recorder, peer, code, message)
        elif kind is Heartbeat and message.sums:
            for sort, version, slot, total in message.sums:
                recorder.record(SUM, peer, code, slot, NULL_BALLOT, total, sort << 8 | version)


def _record_report(recorder: EventSink, peer: NodeId, code: int, message: Promise) -> None:
    for slot, ballot, value in message.accepted[:ADOPTED_MAX]:
        recorder.record(ADOPTED, peer, code, slot, ballot, 0, recorder.digest_of(value))


def _decisions(recorder: EventSink, message: Decisions) -> tuple[Any, ...]:
    first, values = message.first_slot, message.values
    if not values:
        return first, NULL_BALLOT, 0, 0
    ballot, value = values[0]
    return first, ballot, first + len(values) - 1, recorder.digest_of(value)


def _nothing(_: Any) -> tuple[Any, ...]:
    return 0, NULL_BALLOT, 0, 0


_ACCEPT = PEER_KINDS[Accept]
_ACCEPTED = PEER_KINDS[Accepted]
_VOTES = PEER_KINDS[Votes]
_FIELDS: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    PreVote: lambda m: (m.commit, m.ballot, 0, 0),
    PreVoteReply: lambda m: (m.commit, m.ballot, int(m.granted), m.promised.round),
    Prepare: lambda m: (m.from_slot, m.ballot, 0, 0),
    Promise: lambda m: (
        m.from_slot,
        m.ballot,
        m.commit,
        len(m.accepted) | bool(m.until_slot) << PARTIAL_BIT,
    ),
    Nack: lambda m: (0, m.ballot, m.promised.round, 0),
    VotesRequest: lambda m: (m.from_slot, NULL_BALLOT, 0, 0),
    Heartbeat: lambda m: (m.commit, m.ballot, m.round, m.stream_seq),
    HeartbeatAck: lambda m: (m.commit, m.ballot, m.round, m.sync_us),
    CatchUp: lambda m: (m.from_slot, NULL_BALLOT, m.to_slot, 0),
    ReadIndex: lambda m: (0, NULL_BALLOT, m.read_id, int(m.waits)),
    ReadIndexReply: lambda m: (m.slot, NULL_BALLOT, m.read_id, 0),
    TransferLeadership: lambda m: (m.slot, m.ballot, 0, 0),
    SnapshotOffer: lambda m: (m.slot, NULL_BALLOT, m.size_bytes, 0),
    SnapshotRequest: lambda m: (m.slot, NULL_BALLOT, m.offset, 0),
    SnapshotChunk: lambda m: (m.slot, NULL_BALLOT, m.offset, len(m.data)),
    Hello: lambda m: (0, NULL_BALLOT, m.directory_id, m.start_mark),
    Welcome: lambda m: (0, NULL_BALLOT, m.run_id, m.mark),
    Removed: lambda m: (m.slot, NULL_BALLOT, m.epoch, 0),
}
