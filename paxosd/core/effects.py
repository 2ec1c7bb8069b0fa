"""What the core asks its shell to do, and in which order.

The one rule (Lamport, "Paxos Made Simple", section 2.5: an acceptor records its intended
response in stable storage before actually sending it) is kept in one place: :class:`Ready`
hands out records to persist under a ticket; what those records must precede stays inside the
node until the shell says ``node.synced(ticket)``. So whatever a Ready lists under ``sends``
and ``publishes`` may leave at once.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from paxosd.core.commands import Batch, Result
from paxosd.core.messages import Accepted, PeerMessage, Sample
from paxosd.core.types import Ballot, NodeId, Slot


class PromiseRecord(NamedTuple):
    """The acceptor promised this ballot."""

    ballot: Ballot


class AcceptRecord(NamedTuple):
    """The acceptor accepted this value."""

    slot: Slot
    ballot: Ballot
    value: bytes


class DecisionRecord(NamedTuple):
    """A chosen value that was pulled from a peer (the sender held it under ``ballot``)."""

    slot: Slot
    ballot: Ballot
    value: bytes


class CommitRecord(NamedTuple):
    """For each slot up to ``slot``, the last accept or decision record of that slot before
    this record holds the chosen value. A hint: losing it costs a catch-up, never safety."""

    slot: Slot


Record = PromiseRecord | AcceptRecord | DecisionRecord | CommitRecord


class Refusal(NamedTuple):
    """A client request that was not, or perhaps not, carried out; see :data:`REFUSALS`."""

    code: str
    message: str
    leader: NodeId


NOT_LEADER = "not_leader"
NO_LEADER = "no_leader"
BUSY = "busy"
INVALID = "invalid"
INTERRUPTED = "interrupted"
STOPPING = "stopping"
FORBIDDEN = "forbidden"
COMPACTED = "compacted"
DIVERGED = "diverged"

REFUSALS = {
    NOT_LEADER: "another node leads",
    NO_LEADER: "no leader is known",
    BUSY: "the queue is full",
    INVALID: "the request breaks a limit or a form",
    INTERRUPTED: "leadership was lost on the way",
    STOPPING: "the node is stopping",
    FORBIDDEN: "not allowed here",
    DIVERGED: "this node's state is not the one that was decided: ask another",
    COMPACTED: "that part of the history is gone",
}
"""Why, and no more. Of INTERRUPTED it is not known whether it will commit (the same seq may be sent
again); all others mean that *this* request was not submitted. Whether an earlier try of the same
command was is known to the client alone, so that the words must not speak for it."""


class WriteReply(NamedTuple):
    """The results of one entry, in command order, and the slot that holds it."""

    slot: Slot
    results: list[Result]


class ReadReady(NamedTuple):
    """A read may be served from the state machine now: it has applied what the read needs."""

    applied: Slot


class ServeLog(NamedTuple):
    """Read chosen values of ``first ..= last`` from the log and send them to ``to`` as one
    Decisions message, as many as fit ``bytes_max`` and a frame, with ``commit`` and ``before``.
    Say to the node what became of it (``node.served``)."""

    to: NodeId
    first: Slot
    last: Slot
    commit: Slot
    before: tuple[Sample, ...] = ()
    bytes_max: int = 1 << 62


class Applied(NamedTuple):
    """A slot was applied; handed out only while ``node.want_applied`` is set."""

    slot: Slot
    ballot: Ballot
    value: bytes
    batch: Batch | None


class Trace(NamedTuple):
    """A protocol event for the debug log; made only while ``node.tracing`` is set."""

    event: str
    fields: dict[str, Any]


class Notice(NamedTuple):
    """A rare event that an operator wants to see: a change of leader, stepping down, …"""

    event: str
    level: str
    fields: dict[str, Any]


@dataclass(slots=True)
class Ready:
    """One batch of effects. Persist in order; the rest may be done in any order at once."""

    ticket: int = 0
    persist: list[Record] = field(default_factory=list)
    sends: list[tuple[NodeId, PeerMessage]] = field(default_factory=list)
    publishes: list[Accepted] = field(default_factory=list)
    serves: list[ServeLog] = field(default_factory=list)
    replies: list[tuple[Any, WriteReply | ReadReady | Refusal]] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
