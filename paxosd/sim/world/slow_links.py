"""Links that carry so many bytes a second and no more, each way: what they are given waits.

    send ──► bulk or swift (paxosd/bus/lanes.py) ──► so many bytes a second ──► arrive

Both connections between two processes share the link: what is swift waits for what is swift, and
for one packet of the bulk at most, as two TCP connections do. ``one_lane``: it waits for all.
"""

from paxosd.bus.lanes import is_bulk
from paxosd.core.messages import Accept, Decisions, Envelope, PeerMessage, Promise, SnapshotChunk
from paxosd.core.types import NodeId

FRAME_BYTES = 200
"""What a message takes besides values."""
PACKET_BYTES = 1500

Way = tuple[NodeId, NodeId, bool]


class SlowLinks:
    """``bytes_per_s``: process → what the link between it and each of the others carries."""

    def __init__(self) -> None:
        self.bytes_per_s: dict[NodeId, float] = {}
        self.one_lane = False
        self.carried: dict[NodeId, int] = {}
        """Bytes that were sent to each, over slow links."""
        self.waiting_bytes_max = 0
        """The most that ever waited for one way."""
        self._free_ms: dict[Way, float] = {}

    def wait_ms(self, envelope: Envelope, to: NodeId, now_ms: float) -> float:
        """How long the message is under way for the sake of bytes alone."""
        sender = envelope.sender
        rates = [self.bytes_per_s[name] for name in (sender, to) if name in self.bytes_per_s]
        if not rates:
            return 0.0
        per_ms = min(rates) / 1000
        size = size_of(envelope.body)
        bulk = self.one_lane or is_bulk(envelope.body, size)
        way = sender, to, bulk
        begins_ms = max(now_ms, self._free_ms.get(way, 0.0))
        waiting = int((begins_ms - now_ms) * per_ms) + size
        self.waiting_bytes_max = max(self.waiting_bytes_max, waiting)
        self.carried[to] = self.carried.get(to, 0) + size
        ends_ms = begins_ms + size / per_ms
        if not bulk and self._free_ms.get((sender, to, True), 0.0) > now_ms:
            ends_ms += PACKET_BYTES / per_ms
        self._free_ms[way] = ends_ms
        return ends_ms - now_ms


def size_of(message: PeerMessage) -> int:
    """About what its frame has, in bytes."""
    if isinstance(message, Accept):
        return FRAME_BYTES + len(message.value)
    if isinstance(message, Decisions):
        return FRAME_BYTES + sum([len(value) for _, value in message.values])
    if isinstance(message, SnapshotChunk):
        return FRAME_BYTES + len(message.data)
    if isinstance(message, Promise):
        return FRAME_BYTES + sum([len(each.value) for each in message.accepted])
    return FRAME_BYTES
