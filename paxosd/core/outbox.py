"""Effects on their way out, and the one gate: persist before you speak.

    handler ── persist, send_synced, vote ──► Outbox ── Ready(ticket, persist, sends …) ──► shell
                                                ▲                                             │
                                                └────────────── synced(ticket) ◄── fsync ─────┘

Every message about the acceptor's memory goes through :meth:`send_synced` or :meth:`vote`, and is
held until every record handed out before it is durable. Source: Lamport, "Paxos Made Simple",
section 2.5 (stable storage before the response).
"""

from collections import deque
from typing import Any

from paxosd.core.effects import Notice, Ready, Record, Trace
from paxosd.core.messages import Accepted, PeerMessage
from paxosd.core.types import Ballot, NodeId, Slot

Held = tuple[NodeId, PeerMessage] | tuple[Slot, Ballot]


class Outbox:
    """Collects effects between two calls of ``take`` and holds back what must wait."""

    __slots__ = ("_gated", "_held", "_node", "_self_messages", "_synced", "_ticket", "ready",
                 "stream_seq", "tracing")  # fmt: skip

    def __init__(self, node: NodeId) -> None:
        self._node = node
        self.ready = Ready()
        self.tracing = False
        self.stream_seq = 0
        """The number of the last published Accepted of this run."""
        self._ticket = 0
        """The last ticket handed out …"""
        self._synced = 0
        """… and the last that is durable."""
        self._held: list[Held] = []
        """Held back since the last ``take``: their ticket is not known yet."""
        self._gated: deque[tuple[int, list[Held]]] = deque()
        self._self_messages: deque[PeerMessage] = deque()

    # -- collecting

    def persist(self, record: Record) -> None:
        self.ready.persist.append(record)

    def send(self, to: NodeId, message: PeerMessage) -> None:
        """At once: the message says nothing about this node's acceptor."""
        self.ready.sends.append((to, message))

    def send_synced(self, to: NodeId, message: PeerMessage) -> None:
        """Once all that was persisted so far is durable; ``to`` may be this node itself."""
        self._held.append((to, message))

    def vote(self, slot: Slot, ballot: Ballot) -> None:
        """Publish an Accepted once the accept record is durable."""
        self._held.append((slot, ballot))

    def reply(self, token: Any, answer: Any) -> None:
        """``token`` None: nobody waits for it."""
        if token is not None:
            self.ready.replies.append((token, answer))

    def notice(self, event: str, level: str = "info", **fields: Any) -> None:
        self.ready.notices.append(Notice(event, level, fields))

    def trace(self, event: str, **fields: Any) -> None:
        """Call only while ``tracing``: the call itself costs."""
        self.ready.traces.append(Trace(event, fields))

    # -- the gate

    def settle(self) -> None:
        """Give what was held since the last take its place in the gate; open it if it may."""
        if self.ready.persist and self.ready.ticket == 0:
            self._ticket += 1
            self.ready.ticket = self._ticket
        if self._held:
            held, self._held = self._held, []
            self._gated.append((self._ticket, held))
        if self._gated:
            self._open()

    def synced(self, ticket: int) -> None:
        """Every record handed out up to ``ticket`` is durable."""
        assert ticket <= self._ticket, "a ticket that was never handed out"
        self._synced = max(self._synced, ticket)
        if self._gated:
            self._open()

    def _open(self) -> None:
        votes: list[tuple[Slot, Ballot]] = []
        while self._gated and self._gated[0][0] <= self._synced:
            for head, body in self._gated.popleft()[1]:
                if isinstance(head, int):
                    votes.append((head, body))  # type: ignore[arg-type]  # Held: (Slot, Ballot)
                elif head == self._node:
                    self._self_messages.append(body)  # type: ignore[arg-type]  # Held: a message
                else:
                    self.ready.sends.append((head, body))  # type: ignore[arg-type]  # the same
        if votes:
            self._publish(votes)

    def _publish(self, votes: list[tuple[Slot, Ballot]]) -> None:
        """One message per ballot: what one fsync made durable is published together."""
        by_ballot: dict[Ballot, list[list[Slot]]] = {}
        for slot, ballot in votes:
            runs = by_ballot.setdefault(ballot, [])
            if runs and runs[-1][1] == slot - 1:
                runs[-1][1] = slot
            else:
                runs.append([slot, slot])
        for ballot, runs in by_ballot.items():
            self.stream_seq += 1
            ranges = tuple((first, last) for first, last in runs)
            message = Accepted(ballot, ranges, self.stream_seq)
            self.ready.publishes.append(message)
            if self.tracing:
                slots = [list(run) for run in ranges]
                self.trace("accepted.published", ballot=ballot.shown(), slots=slots)
            self._self_messages.append(message)

    def self_message(self) -> PeerMessage | None:
        """The next message of this node to itself, which the node must step."""
        return self._self_messages.popleft() if self._self_messages else None

    def take(self) -> Ready:
        """Hand out what was collected. Call ``settle`` first."""
        ready, self.ready = self.ready, Ready()
        return ready
