"""Each message of a peer goes to the role that handles it.

    message ──► of a peer that counts? ── no ──► what anybody may say, or nothing
            ──► of a later epoch?      ── yes ─► kept until this node has applied that epoch
            ──► the handler of its kind

A handler that only one role is concerned with is that role's method; the methods here are for
messages that concern more than one.
"""

from collections.abc import Callable
from typing import Any

from paxosd.core.messages import (
    LEARNING_KINDS,
    Accept,
    Accepted,
    CatchUp,
    Decisions,
    Founding,
    Genesis,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Nack,
    NodeLimits,
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
from paxosd.core.proposer import ProposerState
from paxosd.core.roles import Roles
from paxosd.core.types import EPOCH_ROUNDS, Ballot, NodeId

_TRACED: dict[type, str] = {
    PreVote: "prevote.received",
    Prepare: "prepare.received",
    Promise: "promise.received",
    Nack: "nack.received",
}
"""Kinds that are traced on arrival; accepts and votes are traced where their slots are known."""
_OF_AN_EPOCH = frozenset({Prepare, Accept, Accepted})
"""Kinds that a node can handle only once it knows the membership of their ballot's epoch."""
_FROM_ANYBODY = LEARNING_KINDS | {TransferLeadership}
"""Kinds that are handled from any sender. TransferLeadership: a leader that a change removes
from the membership hands over last of all."""


def _ignore(sender: NodeId, message: PeerMessage) -> None:
    """For messages that the shell handles. Here they only show that the sender is up."""


class Dispatcher:
    """The way of a message to a node's roles."""

    __slots__ = ("_context", "_handlers", "_handlers_by_run", "_roles", "_run_id")

    def __init__(self, roles: Roles, run_id: int) -> None:
        """``run_id``: of this node."""
        self._roles = roles
        self._context = roles.context
        self._run_id = run_id
        self._handlers: dict[type, Callable[[NodeId, Any], object]] = {
            PreVote: roles.election.receive_prevote,
            PreVoteReply: roles.election.receive_prevote_reply,
            Prepare: self._on_prepare,
            Promise: self._on_promise,
            Accept: self._on_accept,
            Nack: roles.election.receive_nack,
            VotesRequest: roles.replication.receive_votes_request,
            HeartbeatAck: self._on_heartbeat_ack,
            CatchUp: roles.exchange.receive_catch_up,
            Decisions: self._on_decisions,
            ReadIndex: roles.reads.receive_question,
            ReadIndexReply: roles.reads.receive_index,
            TransferLeadership: roles.election.receive_transfer,
            NodeLimits: roles.limits.receive,
            SnapshotOffer: _ignore,
            SnapshotRequest: _ignore,
            SnapshotChunk: self._on_snapshot_chunk,
            Welcome: self._on_welcome,
            Genesis: roles.origin.receive_genesis,
            Removed: self._on_removed,
            Rejoin: roles.roster.receive_rejoin,
        }
        self._handlers_by_run: dict[type, Callable[[NodeId, int, Any], object]] = {
            Accepted: self._on_accepted,
            Votes: self._on_votes,
            Hello: self._on_hello,
            Heartbeat: self._on_heartbeat,
            Founding: roles.origin.receive_founding,
        }
        """The handlers that also get the sender's run_id."""

    # -- from a peer

    def step(self, sender: NodeId, run_id: int, message: PeerMessage) -> None:
        """Handle a message of a peer. ``run_id`` as the envelope has it; 0: the sender has lost its
        memory, and may only learn."""
        context = self._context
        peer = context.peers.get(sender)
        if peer is None:
            return
        peer.seen_ms = context.now_ms
        membership = context.membership
        if not run_id or (membership.epoch and sender not in membership.members):
            self._step_outsider(sender, run_id, message)
            return
        self._roles.monitor.hear(sender, peer, run_id)
        kind = type(message)
        # Written out, as at other busy places: Ballot.epoch costs a call.
        if kind in _OF_AN_EPOCH and message.ballot.round // EPOCH_ROUNDS > membership.epoch:  # type: ignore[union-attr]  # all of them have one
            self._depose_if_above(message.ballot)  # type: ignore[union-attr]  # the same
            self._roles.admission.hear_epoch(message.ballot.epoch)  # type: ignore[union-attr]  # the same
            context.early.keep(sender, run_id, message)
            return
        if context.outbox.tracing and kind in _TRACED:
            ballot: Ballot = message.ballot  # type: ignore[union-attr]  # all of _TRACED have one
            context.outbox.trace(_TRACED[kind], ballot=ballot.shown(), **{"from": sender})
        by_run = self._handlers_by_run.get(kind)
        if by_run is not None:
            by_run(sender, run_id, message)
        else:
            self._handlers[kind](sender, message)

    def _step_outsider(self, sender: NodeId, run_id: int, message: PeerMessage) -> None:
        """The sender is no member, or has lost its memory. It may learn here, and say what is
        decided, which is true from any sender."""
        kind = type(message)
        if kind is Heartbeat:
            self._roles.comparison.hear(sender, message, counts=False)  # type: ignore[arg-type]  # by kind
        elif kind is Founding:
            self._roles.origin.receive_founding(sender, 0, message)  # type: ignore[arg-type]  # by kind
        elif kind in _FROM_ANYBODY:
            self._handlers[kind](sender, message)
        self._roles.roster.receive_outsider(sender, run_id, message)

    def step_self(self, message: PeerMessage) -> None:
        """Handle a message of this node's acceptor to its own proposer and learner."""
        name = self._context.node
        if isinstance(message, Accepted):
            self._roles.replication.receive_accepted(name, self._run_id, message)
        elif isinstance(message, Promise):
            self._roles.election.receive_promise(name, message)
        elif isinstance(message, Nack):
            self._roles.election.receive_nack(name, message)

    # -- messages that concern more than one role

    def _depose_if_above(self, ballot: Ballot) -> None:
        """A leader that meets a higher ballot steps down before it says anything more about what is
        chosen: its commit index may only speak of ballots up to its own."""
        proposer = self._context.proposer
        self._roles.election.saw(ballot)
        if proposer.state is not ProposerState.IDLE and ballot > proposer.ballot:
            self._roles.election.stop(f"ballot {ballot.shown()} is at work")

    def _on_prepare(self, sender: NodeId, message: Prepare) -> None:
        if message.ballot.node == sender:
            self._roles.election.receive_prepare(sender, message)

    def _on_promise(self, sender: NodeId, message: Promise) -> None:
        self._context.note_commit(sender, message.commit)
        self._roles.election.receive_promise(sender, message)

    def _on_accept(self, sender: NodeId, message: Accept) -> None:
        if message.ballot.node != sender:
            return
        self._context.note_commit(sender, message.commit)
        self._depose_if_above(message.ballot)
        if self._roles.replication.receive_accept(sender, message):
            self._roles.election.follow(message.ballot)

    def _on_accepted(self, sender: NodeId, run_id: int, message: Accepted) -> None:
        self._depose_if_above(message.ballot)
        self._roles.replication.receive_accepted(sender, run_id, message)

    def _on_votes(self, sender: NodeId, run_id: int, message: Votes) -> None:
        self._context.note_commit(sender, message.commit)
        for ballot, _, _ in message.votes:
            self._depose_if_above(ballot)
        self._roles.replication.receive_votes(sender, run_id, message)

    def _on_heartbeat(self, sender: NodeId, run_id: int, message: Heartbeat) -> None:
        context, roles = self._context, self._roles
        roles.roster.receive_heartbeat(message)
        roles.comparison.hear(sender, message, counts=True)
        context.peers[sender].votes = message.votes
        if message.wall_ms:
            roles.monitor.hear_clock(sender, message.wall_ms, context.options.election_timeout_ms)
        context.note_commit(sender, message.commit)
        self._depose_if_above(message.ballot)
        if roles.election.receive_heartbeat(sender, message):
            context.learner.receive_commit(message.ballot, message.commit)
            roles.execution.advance()
        roles.replication.receive_stream_mark(sender, run_id, message.stream_seq)

    def _on_heartbeat_ack(self, sender: NodeId, message: HeartbeatAck) -> None:
        self._context.note_commit(sender, message.commit)
        if self._roles.election.receive_heartbeat_ack(sender, message):
            self._roles.reads.receive_ack(sender, message.round)

    def _on_decisions(self, sender: NodeId, message: Decisions) -> None:
        if not self._roles.comparison.goes_on_from_here(sender, message.before):
            return
        self._context.note_commit(sender, message.commit)
        for ballot, _ in message.values:
            self._depose_if_above(ballot)
        self._roles.exchange.receive_decisions(sender, message)

    def _on_snapshot_chunk(self, sender: NodeId, message: SnapshotChunk) -> None:
        """The shell handles it. Here it shows that this node makes progress."""
        self._roles.watchdog.note_progress()

    def _on_hello(self, sender: NodeId, run_id: int, message: Hello) -> None:
        roles, peer = self._roles, self._context.peers[sender]
        roles.comparison.greet(sender, message.directory_id)
        peer.flow.reset()
        peer.directory_id = message.directory_id
        peer.level = message.level
        witness = not roles.admission.forgetful
        level = self._context.level_offered
        self._context.outbox.send(sender, Welcome(run_id, witness=witness, level=level))
        roles.limits.greet(sender)

    def _on_welcome(self, sender: NodeId, message: Welcome) -> None:
        # A Welcome that a peer's inbox sends by itself names no level: it does not say level 0.
        if message.run_id == self._run_id and message.level:
            self._roles.monitor.hear_level(sender, message.level)
        self._roles.admission.receive_welcome(sender, message)

    def _on_removed(self, sender: NodeId, message: Removed) -> None:
        self._roles.roster.receive_removed(sender, message)
        self._roles.reads.check()
