"""One node's side of the membership: what it does when another is in force, and with outsiders.

    slot with a change applied ──► Roster.on_applied ──► voters, peers and audience of the new epoch
                                                    ──► a leader renews its reign, or hands over
    message of no member       ──► receive_outsider: it may learn; one that departed is told so
    Rejoin (its log was damaged, and set aside) ──► the leader proposes that its new directory votes

Rules: see ``membership.py``. What an outsider says about its acceptor counts for nothing; what it
says is decided is true whoever says it. A departed member is told only once the new voters have a
leader: until then they may need what it knows.
"""

from collections.abc import Callable
from typing import Any

from paxosd.core.admission import TELL_AFTER_MS, Admission
from paxosd.core.commands import MEMBERS, Entry
from paxosd.core.context import Context, Peer
from paxosd.core.election import Election
from paxosd.core.membership import Membership
from paxosd.core.messages import (
    LEARNING_KINDS,
    Heartbeat,
    Hello,
    PeerMessage,
    PreVote,
    Rejoin,
    Removed,
    TransferLeadership,
    Welcome,
)
from paxosd.core.proposer import Waiting
from paxosd.core.replication import Replication
from paxosd.core.types import NodeId

_FROM_ANYBODY = LEARNING_KINDS | {TransferLeadership}
"""What is handled whoever says it; the last is a departing leader's last wish."""
BELIEVED_AFTER_TIMEOUTS = 4
"""So many election timeouts a node waits for a sign that it is a member still, or again."""
_OF_A_MEMBER = frozenset({Heartbeat, Hello, PreVote})
"""By these one shows that it takes itself for a member."""


def use_membership(context: Context, membership: Membership) -> None:
    """From now on these vote, are listened to and spoken to; the contacts are listened to in any
    case, and spoken to as long as nothing else is known."""
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
    """``removed``: as a member told it, this node is none any more."""

    __slots__ = ("_admission", "_context", "_election", "_handlers", "_leaderless_ms", "_rejoining",
                 "_replication", "_told", "removed")  # fmt: skip

    def __init__(
        self,
        context: Context,
        election: Election,
        replication: Replication,
        admission: Admission,
        handlers: dict[type, Callable[[NodeId, Any], object]],
    ) -> None:
        """``handlers``: by kind of message, the node's."""
        self._context = context
        self._election = election
        self._replication = replication
        self._admission = admission
        self._handlers = handlers
        self.removed: Removed | None = None
        self._told: tuple[Removed, float] | None = None
        """That this node is no member any more, as it was first told, and when."""
        self._leaderless_ms: float | None = None
        """Since when this node waits to be let in, and knows of no leader."""
        self._rejoining = (-1, 0)
        """The epoch and directory of the last change that was proposed on a node's own wish."""

    # -- a change

    def on_applied(self, changed: bool) -> None:
        """The slot that may change the membership was applied; ``changed``: it did."""
        context = self._context
        proposer = context.proposer
        if not changed:
            if proposer.cut:
                self._election.renew()  # what phase 1 found behind it must be proposed first
            proposer.barrier = 0
            return
        # Whoever knows of this epoch's promises must know, after any crash, of the epoch.
        self._replication.record_commit(alone=True)
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
        """From one whose word does not count: it may learn here, and tell what is decided. It may
        have been a member, and not know yet that it has gone; or this node does not know yet that
        it is one. ``run_id`` 0: of a member that has lost its memory."""
        context = self._context
        membership = context.membership
        kind = type(message)
        if isinstance(message, Heartbeat):
            self.receive_heartbeat(message)
            peer = context.peers[sender]
            peer.votes = False  # whatever it takes itself for
            context.note_commit(sender, message.commit)
        elif isinstance(message, Welcome):
            self._admission.receive_welcome(sender, message, heard=False)
        elif kind in _FROM_ANYBODY:
            self._handlers[kind](sender, message)
        departed = sender in membership.departed
        if departed and kind in _OF_A_MEMBER and run_id and self._election.is_settled():
            context.outbox.send(sender, Removed(membership.epoch, membership.slot))

    def receive_heartbeat(self, message: Heartbeat) -> None:
        """Only members are sent heartbeats: whoever sends one under that epoch or a later one
        counts this node in, and who said that it has gone lags behind its return."""
        if self._told is not None and message.ballot.epoch >= self._told[0].epoch:
            self._told = None

    def receive_removed(self, sender: NodeId, message: Removed) -> None:
        """Believed once it was said for a while, and nobody has shown that it is wanted still."""
        context = self._context
        is_member = context.node in context.membership.members
        if context.membership.members and message.epoch >= context.epoch + int(is_member):
            if self._told is None:
                self._told = message, context.now_ms
            since_ms = context.now_ms - self._told[1]
            if since_ms < BELIEVED_AFTER_TIMEOUTS * context.options.election_timeout_ms:
                return
            self._admission.leave()
            self.removed = message

    # -- coming back without the memory

    def ask_to_rejoin(self) -> None:
        """If its memory was found damaged here, so that it knows best what it lost, it may vote
        again with the leader's help. Where there is no leader for long, nobody can let it."""
        context, admission = self._context, self._admission
        leader = self._election.leader
        if leader not in ("", context.node):
            self._leaderless_ms = None
            if admission.repaired:
                context.outbox.send(leader, Rejoin(admission.directory_id))
        elif admission.forgetful:
            if self._leaderless_ms is None:
                self._leaderless_ms = context.now_ms
            elif context.now_ms - self._leaderless_ms >= TELL_AFTER_MS:
                admission.tell_stuck()

    def receive_rejoin(self, sender: NodeId, message: Rejoin) -> None:
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
