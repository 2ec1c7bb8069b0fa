"""One node's side of the membership: changes of it, departed members, and members that rejoin.

    a change is applied       ──► on_applied ──► voters, peers and audience of the new epoch
                                             ──► a leader renews its reign, or hands over
    message of a non-member   ──► receive_outsider: a departed member gets Removed
    Rejoin (its log was damaged, and set aside) ──► the leader proposes that its new directory votes

The rules are in ``membership.py``. What an outsider says about its acceptor does not count. A
departed member gets Removed only once the new voters have a leader: until then they may need what
it knows.
"""

from paxosd.core.admission import REPORT_AFTER_MS, Admission
from paxosd.core.commands import MEMBERS, Entry
from paxosd.core.context import Context, Peer
from paxosd.core.election import Election
from paxosd.core.execution import Execution
from paxosd.core.fair_queue import Waiting
from paxosd.core.membership import Membership
from paxosd.core.messages import (
    Heartbeat,
    Hello,
    PeerMessage,
    PreVote,
    Rejoin,
    Removed,
    Welcome,
)
from paxosd.core.replication import Replication
from paxosd.core.types import NodeId

BELIEVED_AFTER_TIMEOUTS = 4
"""A node that is said to be no member waits for so many election timeouts for a sign that it is
one still, or again."""
_OF_A_MEMBER = frozenset({Heartbeat, Hello, PreVote})
"""Kinds that only a node sends that considers itself a member."""


def use_membership(context: Context, membership: Membership) -> None:
    """Put ``membership`` in force: who votes, whose messages are handled (``peers``), and who gets
    this node's messages (``audience``). Contacts are always peers; they are in the audience only at
    epoch 0."""
    context.membership = membership
    context.newest_epoch = max(context.newest_epoch, membership.epoch)
    members = [name for name in membership.members if name != context.node]
    heard = {*members, *context.contacts, *membership.departed} - {context.node}
    at_first = list(dict.fromkeys([*members, *context.contacts]))
    context.audience = members if membership.epoch else [n for n in at_first if n != context.node]
    context.peers = {name: context.peers.get(name) or Peer() for name in sorted(heard)}
    context.learner.reconfigure(membership.quorums, membership.epoch)
    context.proposer.quorums = membership.quorums
    context.leader_reads.quorums = membership.quorums


class Roster:
    """``removed``: what a member said to this node, if it is no member any more."""

    __slots__ = ("_admission", "_context", "_election", "_execution", "_leaderless_ms",
                 "_rejoining", "_removal", "_replication", "removed")  # fmt: skip

    def __init__(
        self,
        context: Context,
        election: Election,
        execution: Execution,
        replication: Replication,
        admission: Admission,
    ) -> None:
        self._context = context
        self._election = election
        self._execution = execution
        self._replication = replication
        self._admission = admission
        self.removed: Removed | None = None
        self._removal: tuple[Removed, float] | None = None
        """The first message that says that this node is no member any more, and when it came."""
        self._leaderless_ms: float | None = None
        """Since when this node waits to rejoin and knows of no leader."""
        self._rejoining = (-1, 0)
        """The epoch and directory of the last change that was proposed for a Rejoin."""

    # -- a change

    def on_applied(self, changed: bool) -> None:
        """The slot that may change the membership was applied; ``changed``: it did."""
        context = self._context
        proposer = context.proposer
        if not changed:
            if proposer.cut:
                self._election.renew()  # phase 1 found values behind this slot: propose them first
            proposer.barrier = 0
            return
        # After a crash, a node that remembers promises of this epoch must remember the epoch, too.
        self._execution.record_commit(alone=True)
        was_leading = proposer.leading
        membership = context.machine.membership
        use_membership(context, membership)
        context.outbox.notice(
            "member.changed",
            epoch=membership.epoch,
            from_slot=membership.slot,
            voters=list(membership.voters),
            learners=list(membership.learners),
        )
        self._admission.review()
        self._election.on_members_changed(was_leading)
        self._replication.ask_all_votes()

    # -- outsiders

    def receive_outsider(self, sender: NodeId, run_id: int, message: PeerMessage) -> None:
        """A message of a node whose word does not count: it was a member, perhaps, and does not
        know yet that it is not one any more; or this node does not know yet that it is one.
        ``run_id`` 0: a member that has lost its memory."""
        context = self._context
        membership = context.membership
        kind = type(message)
        if isinstance(message, Heartbeat):
            self.receive_heartbeat(message)
            peer = context.peers[sender]
            peer.votes = False  # whatever the sender considers itself
            context.note_commit(sender, message.commit)
        elif isinstance(message, Welcome):
            self._admission.receive_welcome(sender, message, heard=False)
        departed = sender in membership.departed
        if departed and kind in _OF_A_MEMBER and run_id and self._election.is_settled():
            context.outbox.send(sender, Removed(membership.epoch, membership.slot))

    def receive_heartbeat(self, message: Heartbeat) -> None:
        """Heartbeats go only to members. One of the epoch that Removed named, or of a later epoch,
        shows that this node is a member again and that the sender of Removed lags behind."""
        if self._removal is not None and message.ballot.epoch >= self._removal[0].epoch:
            self._removal = None

    def receive_removed(self, sender: NodeId, message: Removed) -> None:
        """This node is no member any more. That counts once it was said for a while and no
        heartbeat has shown that it is a member."""
        context = self._context
        is_member = context.node in context.membership.members
        if context.membership.members and message.epoch >= context.epoch + int(is_member):
            if self._removal is None:
                self._removal = message, context.now_ms
            since_ms = context.now_ms - self._removal[1]
            if since_ms < BELIEVED_AFTER_TIMEOUTS * context.options.election_timeout_ms:
                return
            self._admission.leave()
            self.removed = message

    # -- coming back without the memory

    def ask_to_rejoin(self) -> None:
        """If this node itself found its memory damaged, it asks the leader to let it vote again. If
        there is no leader for long, nobody can let it: that is logged."""
        context, admission = self._context, self._admission
        leader = self._election.leader
        if leader not in ("", context.node):
            self._leaderless_ms = None
            if admission.repaired:
                context.outbox.send(leader, Rejoin(admission.directory_id))
        elif admission.forgetful:
            if self._leaderless_ms is None:
                self._leaderless_ms = context.now_ms
            elif context.now_ms - self._leaderless_ms >= REPORT_AFTER_MS:
                admission.report_stuck()

    def receive_rejoin(self, sender: NodeId, message: Rejoin) -> None:
        """As leader: propose that the sender's new data directory votes in its name."""
        context = self._context
        entry = context.membership.members.get(sender)
        if (
            not context.proposer.leading
            or context.proposer.barrier
            or entry is None
            or not entry.voter
            or message.directory_id in (0, entry.directory_id)
            or self._rejoining == (context.epoch, message.directory_id)
        ):
            return
        self._rejoining = context.epoch, message.directory_id
        members = context.membership.members | {
            sender: entry._replace(directory_id=message.directory_id)
        }
        document = context.membership.replaced(members).to_command()
        change = Entry(0, 1, 0, [[MEMBERS, context.epoch, document]])
        context.outbox.notice("member.rejoining", member=sender)
        context.proposer.enqueue(Waiting(None, change, context.codec.encode_entry(change)))
