"""What stands where everything passes that goes into a node and comes out of it, and looks on.

    envelopes ──► heard()        Ready ──► done()        answers ──► answered()

The core knows nothing of it. A replica that neither records nor watches requests has none.
"""

from collections.abc import Sequence
from math import inf
from typing import Any, Protocol

from paxosd.core.effects import ReadReady, Ready, Refusal, WriteReply
from paxosd.core.messages import Envelope, PeerMessage
from paxosd.core.node import Node
from paxosd.core.types import NodeId, Slot
from paxosd.replica.ports import Ports, ReplicaOptions
from paxosd.replica.recording import Recording
from paxosd.replica.recovery import Memory
from paxosd.replica.slow_requests import SlowRequests
from paxosd.storage.wal import SyncJob


class Observer(Protocol):
    """``now_ms``: when this turn began. ``wants_applied``: whether it looks at applied slots."""

    now_ms: float
    wants_applied: bool

    def begin_turn(self, now_ms: float) -> None: ...
    def end_turn(self) -> None: ...
    def look(self) -> None: ...
    def heard(self, envelopes: Sequence[Envelope]) -> None: ...
    def done(self, ready: Ready) -> None: ...
    def members_changed(self) -> None: ...
    def unsent(self, to: NodeId, message: PeerMessage) -> None: ...
    def synced(self, job: SyncJob, now_ms: float) -> None: ...
    def installed(self, slot: Slot) -> None: ...
    def answered(self, token: Any, answer: WriteReply | ReadReady | Refusal) -> None: ...


def make_observer(
    ports: Ports, options: ReplicaOptions, node: Node, memory: Memory
) -> Observer | None:
    """What looks on a replica, begun; None: nothing does."""
    slow = None
    if options.slow_request_ms > 0 or ports.request_times is not None:
        limit_ms = options.slow_request_ms if options.slow_request_ms > 0 else inf
        slow = SlowRequests(
            node, options.node, ports.log, limit_ms, ports.precise_now_ms, ports.request_times
        )
    if ports.recorder is None:
        return slow
    recording = Recording(
        ports.recorder, node, memory.machine, ports.precise_now_ms, slow, memory.wal
    )
    recording.start(ports.now_ms(), memory.recovered.commit)
    return recording
