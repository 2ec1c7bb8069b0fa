"""What the core asks its shell to do, and in which order.

Lamport, "Paxos Made Simple", section 2.5: an acceptor records its intended response in stable
storage before it sends the response. One place keeps this rule: :class:`Ready` hands out records
under a ticket, and every message that must wait for them stays in the node (``outbox.py``) until
the shell calls ``node.synced(ticket)``. So all messages in a Ready may leave at once.
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
    """A chosen value that was pulled from a peer. ``ballot``: under which the peer held it."""

    slot: Slot
    ballot: Ballot
    value: bytes


class CommitRecord(NamedTuple):
    """For each slot up to ``slot``, the last accept or decision record of that slot before this
    record holds the chosen value. A hint: if it is lost, that costs a catch-up, never safety."""

    slot: Slot


Record = PromiseRecord | AcceptRecord | DecisionRecord | CommitRecord


class Refusal(NamedTuple):
    """A client request that was not carried out, or perhaps not; see :data:`REFUSALS`.
    ``leader``: the leader that this node knows of; "": none."""

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
QUOTA = "quota"
UNCONFIRMED = "unconfirmed_rights"

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
    UNCONFIRMED: "this node has heard of no quorum for so long that it no longer knows who may "
    "read here: ask another",
    QUOTA: "the store may not grow beyond its quota (quota_bytes): delete something, or have the "
    "quota raised",
}
"""The reason for each code. After INTERRUPTED it is unknown whether the request will commit (the
client may repeat it under the same seq). All other codes mean that *this* request was not
submitted. Only the client knows whether it submitted the same command before, so the text says
nothing about that."""


class WriteReply(NamedTuple):
    """The results of one entry, in command order, and the slot that holds it."""

    slot: Slot
    results: list[Result]


class ReadReady(NamedTuple):
    """A read may be served now: the state machine has applied all slots that the read needs."""

    applied: Slot


class ServeLog(NamedTuple):
    """Read the chosen values of ``first ..= last`` from the log and send them to ``to`` in one
    Decisions message, with ``commit`` and ``before``: as many as fit into ``bytes_max`` and into a
    frame. Then call ``node.served``."""

    to: NodeId
    first: Slot
    last: Slot
    commit: Slot
    before: tuple[Sample, ...] = ()
    bytes_max: int = 1 << 62


class Applied(NamedTuple):
    """A slot was applied. ``batch`` None: the value is a NOOP."""

    slot: Slot
    ballot: Ballot
    value: bytes
    batch: Batch | None


class Trace(NamedTuple):
    """A protocol event for the debug log."""

    event: str
    fields: dict[str, Any]


class Notice(NamedTuple):
    """A rare event that operators want to see, such as a change of leader. ``level``: ``info``,
    ``warning`` or ``error``."""

    event: str
    level: str
    fields: dict[str, Any]


@dataclass(slots=True)
class Ready:
    """The effects of one turn. The shell has these duties, in this order:

    1. Append ``persist`` to the log, in order, before the records of any later Ready. The fsync
       may run in another thread, while further turns follow.
    2. Do the rest at once; nothing in this Ready waits for its own ``persist``. Each list is in
       order; between the lists the order does not matter.
    3. When the records are durable, call ``node.synced(ticket)``. That releases messages, which the
       next Ready holds. Never call it for records that are not durable, not even after a failed
       fsync: then the node must stop.

    The form follows ``Ready`` of etcd-io/raft (``node.go``). There, the messages of a Ready must
    wait until its own records are durable; here the node holds them back itself.
    """

    ticket: int = 0
    """The number of the group of records in ``persist``; 0: ``persist`` is empty. Tickets grow by
    one. ``node.synced(n)`` stands for all tickets up to n."""
    persist: list[Record] = field(default_factory=list)
    """Records for stable storage, in order. Duty: append them all, and make them durable before
    ``node.synced(ticket)``. Recovery may find a prefix of them after a crash, never a gap."""
    sends: list[tuple[NodeId, PeerMessage]] = field(default_factory=list)
    """Messages to single peers. Duty: send them, each peer's in order. They may be lost; if one
    cannot be handed to its connection, call ``node.unsent``."""
    publishes: list[Accepted] = field(default_factory=list)
    """Votes to all peers: the accept records behind them are durable. Duty: publish them in order
    of ``stream_seq``. They may be lost; a learner notices the gap and asks."""
    serves: list[ServeLog] = field(default_factory=list)
    """Parts of the log that peers asked for. Duty: read the values, send them as Decisions, and
    call ``node.served``. If a slot is no longer in the log, offer a snapshot instead."""
    replies: list[tuple[Any, WriteReply | ReadReady | Refusal]] = field(default_factory=list)
    """(token, answer) per client request that has its answer. Duty: answer each once; serve a read
    from the state machine as it is now."""
    applied: list[Applied] = field(default_factory=list)
    """The slots applied in this turn, in slot order. Filled only while ``node.want_applied`` is
    set. Duty: none for the protocol; watches and observers use it."""
    traces: list[Trace] = field(default_factory=list)
    """Protocol events for the debug log, in order. Filled only while ``node.tracing`` is set."""
    notices: list[Notice] = field(default_factory=list)
    """Events for the log, in order. Duty: log each at its level."""
