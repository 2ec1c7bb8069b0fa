"""The roles of one node, each made with the others that it needs.

    context ──► execution ──► log exchange ──► replication ──► election ──► admission ──► roster …

One arrow goes backward: a change of the membership that was applied goes to the roster, which may
end or begin a reign. ``Roles.on_members`` is that arrow.
"""

import random

from paxosd.core.acceptor import Acceptor
from paxosd.core.admission import Admission
from paxosd.core.cluster_origin import ClusterOrigin
from paxosd.core.comparison import Comparison
from paxosd.core.context import Codec, Context
from paxosd.core.election import Election
from paxosd.core.execution import Execution
from paxosd.core.founding import Founding
from paxosd.core.learner import Learner
from paxosd.core.lease_ticks import LeaseTicks
from paxosd.core.level_raise import LevelRaise
from paxosd.core.linearizable_reads import LinearizableReads
from paxosd.core.log_exchange import LogExchange
from paxosd.core.membership import Membership
from paxosd.core.options import NodeOptions
from paxosd.core.outbox import Outbox
from paxosd.core.peer_limits import PeerLimits
from paxosd.core.peer_monitor import PeerMonitor
from paxosd.core.proposer import Proposer
from paxosd.core.reads import LeaderReads
from paxosd.core.replication import Replication
from paxosd.core.restart import Restart
from paxosd.core.roster import Roster, use_membership
from paxosd.core.types import NULL_BALLOT, NodeId
from paxosd.core.watchdog import Watchdog


def _membership_at_start(options: NodeOptions, restart: Restart) -> Membership:
    """As the log has it or, if the log holds no change, as file and founding record have it."""
    membership = restart.machine.membership
    if not membership.epoch:
        membership = options.bootstrap or Membership.of_quorums(options.quorums)
        if restart.record is not None:
            membership = restart.record.membership(membership.members)
    return membership


def make_context(
    options: NodeOptions,
    contacts: list[NodeId],
    codec: Codec,
    rng: random.Random,
    restart: Restart,
) -> Context:
    """The parts that all roles share, as they are at the start."""
    membership = _membership_at_start(options, restart)
    ahead = options.accept_ahead_slots_max
    context = Context(
        options=options,
        membership=membership,
        rng=rng,
        acceptor=Acceptor(restart.promised, restart.accepted, restart.commit, ahead),
        learner=Learner(options.quorums, restart.commit, ahead),
        proposer=Proposer(options),
        leader_reads=LeaderReads(options.quorums),
        outbox=Outbox(options.node),
        machine=restart.machine,
        codec=codec,
        now_ms=restart.now_ms,
        wall_ms=restart.wall_ms,
        contacts=list(contacts),
        newest_epoch=membership.epoch,
    )
    use_membership(context, membership)
    return context


def make_founding(context: Context, restart: Restart) -> Founding:
    """A node is a newcomer if nothing says that it has a past; ``old`` if it has a past, but no
    founding record: then its cluster is older than such records."""
    epoch, record = context.epoch, restart.record
    newcomer = restart.arriving and record is None and not epoch and restart.promised == NULL_BALLOT
    is_named = restart.arriving and context.node in context.membership.members
    return Founding(
        context,
        restart.directory_id,
        active=newcomer and is_named,
        old=is_named and record is None and not newcomer and not epoch,
    )


class Roles:
    """All roles of one node; immutable once made."""

    __slots__ = (
        "admission",
        "comparison",
        "context",
        "election",
        "exchange",
        "execution",
        "founding",
        "lease_ticks",
        "level_raise",
        "limits",
        "monitor",
        "origin",
        "reads",
        "replication",
        "roster",
        "watchdog",
    )  # fmt: skip

    def __init__(self, context: Context, restart: Restart) -> None:
        self.context = context
        self.execution = Execution(context, self._on_members)
        self.exchange = LogExchange(context, self.execution)
        self.replication = Replication(context, self.execution, self.exchange)
        self.election = Election(
            context, self.replication.lead, self.replication.stop, self.replication.pause
        )
        self.lease_ticks = LeaseTicks(context, self.replication)
        self.founding = make_founding(context, restart)
        self.admission = Admission(context, restart, self.founding, self.election.stop)
        self.comparison = Comparison(context)
        self.watchdog = Watchdog(context)
        self.limits = PeerLimits(context)
        self.level_raise = LevelRaise(context, restart.directory_id, self.founding.agreed)
        self.origin = ClusterOrigin(
            context, self.founding, self.admission, restart.record, restart.genesis
        )
        self.reads = LinearizableReads(
            context, self.election, self.execution, self.admission, restart.run_id
        )
        self.monitor = PeerMonitor(context, self.election, self.admission, self.limits)
        self.roster = Roster(
            context, self.election, self.execution, self.replication, self.admission
        )

    def _on_members(self, changed: bool) -> None:
        """The slot that may change the membership was applied; ``changed``: it did."""
        self.roster.on_applied(changed)
        if changed:
            self.reads.ask_again()
