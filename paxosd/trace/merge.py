"""The traces of several nodes, executed together up to a point: in an order that no message
contradicts, so that what is on its way at the point is known as well.

    next turns, by wall clock ──► the first whose messages were all sent ──► Replay.step

A clock that is wrong only makes a node wait: a turn is not executed before the turns that sent what
it takes in. What was sent and did not arrive is in :attr:`Merge.under_way`. (Chandy, Lamport,
"Distributed Snapshots", 1985: such a cut and the messages across it are a state of the whole.)
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from paxosd.core.messages import PeerMessage
from paxosd.core.requests import ForwardRequest, VouchedRequest, WriteRequest
from paxosd.core.types import NodeId
from paxosd.trace import operations as op
from paxosd.trace.blocks import TraceError
from paxosd.trace.encoding import digest
from paxosd.trace.reader import TraceFile, Turn
from paxosd.trace.replay import Replay
from paxosd.wire import decode_peer, decode_request


class SentMessage(NamedTuple):
    """A message that was sent. ``wall_ms``: when, by the sender's clock."""

    message: PeerMessage
    wall_ms: int


@dataclass(slots=True)
class MergedNode:
    """One node: its runs, and how far they are executed. ``replay``: the present run, None: it is
    down, or was not started. ``needs``: what its next turn takes in."""

    name: NodeId
    runs: deque[TraceFile]
    make: Callable[[TraceFile], Replay]
    replay: Replay | None = None
    place: int = 0
    needs: list[tuple[NodeId, int]] = field(default_factory=list)

    def next_turn(self) -> Turn | None:
        """The next turn of the present run; None: it is at its end."""
        if self.replay is None or self.place >= len(self.replay.trace.turns):
            return None
        return self.replay.trace.turns[self.place]

    def next_wall_ms(self) -> float:
        """When the node does something next, by its clock; infinity: never."""
        turn = self.next_turn()
        if turn is not None:
            return turn.wall_ms
        return self.runs[0].head.wall_ms if self.runs else float("inf")


class Merge:
    """All nodes. ``under_way``: (sender, receiver) → what was sent and has not arrived.
    ``entries``: what clients sent."""

    def __init__(self, traces: Sequence[TraceFile], make: Callable[[TraceFile], Replay]) -> None:
        """``make``: builds the replay of a run."""
        self.nodes: dict[NodeId, MergedNode] = {}
        for trace in traces:
            if trace.start is not None:
                name = trace.head.node
                node = self.nodes.setdefault(name, MergedNode(name, deque(), make))
                node.runs.append(trace)
        if not self.nodes:
            raise TraceError("no run of these had begun: there is nothing to go on from")
        self.under_way: dict[tuple[NodeId, NodeId], deque[SentMessage]] = {}
        self.entries: set[bytes] = set()
        self._sent: dict[tuple[NodeId, NodeId], deque[int]] = {}
        """The checksums of ``under_way``."""
        self.now_wall_ms = 0

    def run(self, is_reached: Callable[[NodeId, Turn], bool]) -> tuple[NodeId, Turn] | None:
        """Execute turns until one of them is the point, which is returned; None: the traces end
        before it. Raises Difference."""
        while (node := self._choose()) is not None:
            turn = node.next_turn()
            if turn is None:
                self._begin_run(node)
                continue
            self._execute(node, turn)
            if is_reached(node.name, turn):
                return node.name, turn
        return None

    def _choose(self) -> MergedNode | None:
        """Who is next: of those whose messages were sent the earliest; else the earliest."""
        waiting = sorted(
            (node for node in self.nodes.values() if node.next_wall_ms() < float("inf")),
            key=MergedNode.next_wall_ms,
        )
        ready = (node for node in waiting if self._is_ready(node))
        return next(ready, waiting[0] if waiting else None)

    def _is_ready(self, node: MergedNode) -> bool:
        if node.next_turn() is None:
            return True
        for sender, crc in node.needs:
            other = self.nodes.get(sender)
            if other is None or other.next_wall_ms() == float("inf"):
                continue  # nothing is known of it, or what is missing stood at a torn end
            if crc not in self._sent.get((sender, node.name), ()):
                return False
        return True

    def _begin_run(self, node: MergedNode) -> None:
        node.replay = node.make(node.runs.popleft())
        node.place = 0
        self._look_ahead(node)

    def _look_ahead(self, node: MergedNode) -> None:
        turn = node.next_turn()
        node.needs = []
        for operation in turn.operations if turn is not None else ():
            if operation[0] == op.PEER:
                envelope = decode_peer(operation[1], "")
                node.needs.append((envelope.sender, digest(envelope.body)))

    def _execute(self, node: MergedNode, turn: Turn) -> None:
        assert node.replay is not None
        self.now_wall_ms = max(self.now_wall_ms, turn.wall_ms)
        for sender, crc in node.needs:
            sent = self._sent.get((sender, node.name), deque())
            if crc in sent:
                place = sent.index(crc)
                del sent[place]
                del self.under_way[sender, node.name][place]
        node.replay.step(turn)
        node.place += 1
        for operation in turn.operations:
            if operation[0] == op.REQUESTS:
                self._note_entries(operation[1])
        for code, *arguments in node.replay.feed.did:
            if code == op.SEND:
                self._note_sent(node.name, arguments[0], arguments[1], turn.wall_ms)
            elif code == op.VOTE:
                for peer in node.replay.bus.peers:
                    self._note_sent(node.name, peer, arguments[0], turn.wall_ms)
        self._look_ahead(node)

    def _note_entries(self, requests: Sequence[Sequence[bytes]]) -> None:
        for _, frame, *_ in requests:
            request = decode_request(frame, "")
            if isinstance(request, WriteRequest | ForwardRequest | VouchedRequest):
                self.entries.add(request.entry)

    def _note_sent(self, sender: NodeId, to: NodeId, message: PeerMessage, wall_ms: int) -> None:
        self._sent.setdefault((sender, to), deque()).append(digest(message))
        self.under_way.setdefault((sender, to), deque()).append(SentMessage(message, wall_ms))
