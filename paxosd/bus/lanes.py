"""Which of the two connections to a peer a message takes: heartbeats must not wait for megabytes.

    swift   heartbeats, phase 1, votes, questions    small, and the cluster stands or falls by them
    bulk    proposals, parts of the log and of snapshots, and whatever else is large

That messages overtake others so does no harm: the protocol expects them in any order. The receiver
has one socket for both, and does not identify a sender by the connection.
"""

from paxosd.core.messages import Accept, Decisions, PeerMessage, SnapshotChunk

BULK_KINDS: frozenset[type] = frozenset({Accept, Decisions, SnapshotChunk})
SWIFT_BYTES_MAX = 16 << 10
"""The largest frame on the swift connection; also what may take it if the other one is not up."""


def is_bulk(message: PeerMessage, size: int) -> bool:
    """Whether it takes the bulk connection. ``size``: of its frame, in bytes."""
    return type(message) in BULK_KINDS or size > SWIFT_BYTES_MAX
