"""Sends this node's snapshots to peers that lag too far behind for the log.

    laggard ── CatchUp(slots given back) ──► donor
    laggard ◄── SnapshotOffer(slot, size, digest) ── donor
    laggard ── SnapshotRequest(slot, offset, digest) ──► donor      one piece at a time
    laggard ◄── SnapshotChunk(slot, offset, digest, data) ── donor  at a limited rate

A piece is as large as the link carries in a moment (``core/flow.py``), so that over a slow one each
is there before it is asked for again; one that is on its way is not sent once more.

The donor needs no memory of a transfer: each request says all. While a laggard fetches, the
snapshot is kept, and with it the log above, so that the laggard can continue from it; a laggard
that is silent for IN_USE_MS is forgotten. Pieces are read outside the loop.
"""

from collections.abc import Callable

from paxosd.core.flow import CHUNK_MIN_BYTES, Flow
from paxosd.core.messages import PeerMessage, SnapshotChunk, SnapshotOffer, SnapshotRequest
from paxosd.core.types import NodeId, Slot
from paxosd.host.log import Log
from paxosd.snapshot.jobs import Job, read_piece
from paxosd.snapshot.keeper import Snapshots

IN_USE_MS = 30_000.0
BURST_MS = 50.0
"""How much of the rate may be saved up."""


class Donor:
    """The sending side of one node. Call :meth:`turn` once a turn."""

    def __init__(
        self,
        snapshots: Snapshots,
        send: Callable[[NodeId, PeerMessage], bool],
        log: Log,
        flow_to: Callable[[NodeId], Flow | None] = lambda name: None,
    ) -> None:
        self._flow_to = flow_to
        self._snapshots = snapshots
        self._send = send
        self._log = log
        self._requests: dict[NodeId, SnapshotRequest] = {}
        self._reading = False
        self._fetching = snapshots.fetches
        self._now_ms = 0.0
        self._allowance_bytes = 0.0

    def offer(self, to: NodeId, first: Slot) -> None:
        """``to`` asked for slots from ``first`` on, which the log does not have any more."""
        if to in self._fetching:  # it is still at it: checking what it got, perhaps
            self._fetching[to] = (self._fetching[to][0], self._now_ms)
        newest = self._snapshots.newest
        if newest is not None and newest.slot >= first:
            self._send(to, SnapshotOffer(newest.slot, newest.size_bytes, newest.digest))

    def receive_request(self, sender: NodeId, message: SnapshotRequest) -> None:
        """Answer it when it is its turn; a newer request of the same peer takes its place."""
        info = self._snapshots.find(message.slot)
        if info is None or info.digest != message.digest or message.offset >= info.size_bytes:
            self._send(sender, SnapshotChunk(message.slot, message.offset, message.digest, b""))
            return
        self._fetching[sender] = (message.slot, self._now_ms)
        flow = self._flow_to(sender)
        if flow is not None:
            flow.chunks_arrived(message.offset, self._now_ms)
            if flow.carries_chunk(message.offset):
                return
        self._requests.pop(sender, None)
        self._requests[sender] = message

    @property
    def active(self) -> bool:
        """Whether a peer fetches a snapshot, or did a while ago."""
        return bool(self._fetching or self._requests)

    def turn(self, now_ms: float) -> None:
        """Read and send what the rate allows."""
        options = self._snapshots.options
        earned = (now_ms - self._now_ms) * options.send_bytes_per_s / 1000
        most = options.send_bytes_per_s * BURST_MS / 1000
        self._allowance_bytes = min(self._allowance_bytes + earned, most)
        self._now_ms = now_ms
        for name, (_, heard_ms) in list(self._fetching.items()):
            if now_ms - heard_ms > IN_USE_MS:
                del self._fetching[name]
        if self._requests and not self._reading and self._allowance_bytes > 0:
            to = next(iter(self._requests))
            self._read(to, self._requests.pop(to))

    def next_due_ms(self) -> float:
        """When :meth:`turn` has something to do."""
        if not self._requests or self._reading:
            return float("inf")
        rate = self._snapshots.options.send_bytes_per_s / 1000
        return self._now_ms + max(0.0, 1.0 - self._allowance_bytes / rate)

    def _read(self, to: NodeId, request: SnapshotRequest) -> None:
        count = self._snapshots.options.chunk_bytes
        flow = self._flow_to(to)
        if flow is not None:
            count = min(count, max(CHUNK_MIN_BYTES, flow.room))
        self._reading = True
        self._allowance_bytes -= count
        self._snapshots.jobs.run(
            lambda: read_piece(self._snapshots.disk, request.slot, request.offset, count),
            lambda job: self._on_read(to, request, job),
        )

    def _on_read(self, to: NodeId, request: SnapshotRequest, job: Job) -> None:
        self._reading = False
        slot, offset, digest = request
        if job.error is not None:
            self._log.warning("snapshot.failed", slot=slot, to=to, reason=str(job.error))
            self._send(to, SnapshotChunk(slot, offset, digest, b""))
            return
        data: bytes = job.result
        flow = self._flow_to(to)
        if self._send(to, SnapshotChunk(slot, offset, digest, data)) and flow is not None:
            flow.sent_chunk(offset, len(data), self._now_ms)
        info = self._snapshots.find(slot)
        if info is not None and offset + len(data) >= info.size_bytes:
            self._log.info("snapshot.sent", slot=slot, bytes=info.size_bytes, to=to)
