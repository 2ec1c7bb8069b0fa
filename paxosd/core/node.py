"""One node of the replicated state machine: messages, requests and time in, effects out.

    node.step(sender, run_id, message)   a peer's message
    node.submit(token, entry, blob)      a client's write
    node.read(token)                     a client's linearizable read
    node.tick(now_ms, wall_ms)           the time; call it after the turn's input
    node.synced(ticket)                  the records of a Ready are durable
    node.ready() → Ready                 what to persist, send, publish and answer

It performs nothing itself: no socket, disk, clock or global randomness (sans-IO). The same input
always gives the same effects. The daemon and the simulator run this very code.

The roles are made in ``roles.py``; ``dispatcher.py`` gives each message to its role.
"""

import random
from dataclasses import replace
from typing import Any

from paxosd.core.admission import Readiness
from paxosd.core.agreement import Difference
from paxosd.core.commands import Entry
from paxosd.core.context import Codec
from paxosd.core.dispatcher import Dispatcher
from paxosd.core.effects import BUSY, NO_LEADER, NOT_LEADER, REFUSALS, STOPPING, Ready, Refusal
from paxosd.core.fair_queue import Waiting
from paxosd.core.flow import Flow
from paxosd.core.genesis import Record
from paxosd.core.membership import Membership
from paxosd.core.messages import Decisions, PeerMessage, Removed
from paxosd.core.node_status import describe
from paxosd.core.options import NodeOptions
from paxosd.core.restart import Restart
from paxosd.core.roles import Roles, make_context
from paxosd.core.status import NodeStatus
from paxosd.core.types import Ballot, NodeId, Slot


class Node:
    """One member of the cluster, or one that wants to be.

    ``contacts``: the other nodes of the configuration. They are the peers at epoch 0; later the
    state machine's membership counts, and the contacts are listened to as well.
    """

    def __init__(
        self,
        options: NodeOptions,
        contacts: list[NodeId],
        codec: Codec,
        rng: random.Random,
        restart: Restart,
    ) -> None:
        """``restart``: the memory and the identity that this start begins with."""
        self.run_id = restart.run_id
        self._context = make_context(options, contacts, codec, rng, restart)
        self._roles = roles = Roles(self._context, restart)
        self._dispatcher = Dispatcher(roles, restart.run_id)
        self._election = roles.election
        self._execution = roles.execution
        self._replication = roles.replication
        self._exchange = roles.exchange
        self._reads = roles.reads
        self._admission = roles.admission
        self._comparison = roles.comparison
        self._roster = roles.roster
        self.limits = roles.limits
        """The limits in the peers' configuration files."""
        self._check_due_ms = restart.now_ms
        self._early_epoch = self._context.epoch
        """The epoch at which early messages were looked at last."""

    # -- input: peers

    def step(self, sender: NodeId, run_id: int, message: PeerMessage) -> None:
        """Handle a message of a peer. Name and ``run_id`` as its envelope has them; run_id 0: the
        sender has lost its memory, and may only learn."""
        self._dispatcher.step(sender, run_id, message)

    def unsent(self, to: NodeId, message: PeerMessage) -> None:
        """A message could not be handed to the connection."""
        self._roles.monitor.unsent(to, message)

    def served(self, to: NodeId, message: Decisions, size: int) -> None:
        """A part of the log was sent (an answer to ``Ready.serves``), ``size`` bytes."""
        self._roles.monitor.served(to, message, size)

    def flow_to(self, name: NodeId) -> Flow | None:
        """What is on its way to a peer; None: it is no peer."""
        return self._roles.monitor.flow_to(name)

    def peer_level(self, name: NodeId, level: int) -> None:
        """A peer said which feature level it understands."""
        self._roles.monitor.hear_level(name, level)

    def peer_wall(self, name: NodeId, wall_ms: int, round_trip_ms: float = 0.0) -> None:
        """A peer said what its wall clock showed; that took up to ``round_trip_ms`` to arrive."""
        self._roles.monitor.hear_clock(name, wall_ms, round_trip_ms)

    def peer_disconnected(self, name: NodeId) -> None:
        """The connection to a peer broke. A hint: it costs nothing if it is wrong."""
        self._roles.monitor.disconnected(name)

    def hear_epoch(self, epoch: int) -> None:
        """An envelope of this cluster says that there is a membership of ``epoch``."""
        self._admission.hear_epoch(epoch)

    def hear_genesis(self, genesis: int) -> None:
        """A peer's envelope carries the hash of a founding record, and this node knows none."""
        self._roles.origin.hear_genesis(genesis)

    def hear_stranger(self, sender: NodeId, genesis: int, epoch: int, message: PeerMessage) -> bool:
        """An envelope with this cluster's id from a node that is no peer, or that has another
        founding record (hash ``genesis``). True if the sender is a contact from now on, which is
        reached at the endpoints that its Hello names."""
        return self._roles.origin.hear_stranger(sender, genesis, epoch, message)

    # -- input: time and disk

    def set_time(self, now_ms: float, wall_ms: int) -> None:
        """The time of this turn. Call it before a turn's messages: what a node that was paused
        hears now must not count as heard long ago."""
        context = self._context
        late_ms = now_ms - context.now_ms
        if late_ms > context.options.election_timeout_ms / 2:
            self._roles.monitor.note_late_turn(late_ms, now_ms)
        context.now_ms = now_ms
        context.wall_ms = wall_ms

    def tick(self, now_ms: float, wall_ms: int) -> None:
        """Do what the time brings. Call it once a turn, after the turn's messages."""
        context = self._context
        if (now_ms, wall_ms) != (context.now_ms, context.wall_ms):
            self.set_time(now_ms, wall_ms)
        if self._early_epoch != context.membership.epoch:
            self._step_early()
        self._replication.begin_turn()
        if self._execution.held or self._exchange.pull_next is not None:
            self._exchange.resume()
        self._election.tick()
        self._reads.tick()
        if context.leader_reads.in_round:
            # A round that this tick began is confirmed already if this node is the only voter.
            self._reads.answer_confirmed()
        if now_ms >= self._check_due_ms:
            self._check_due_ms = now_ms + context.options.heartbeat_ms
            self._check()
        self._replication.retransmit()
        if self._replication.skipped:
            self._replication.send_skipped()
        self._exchange.check_missing()
        if not context.proposer.leading:
            return
        top = self._replication.overtaken()
        if top:
            # Nobody votes in a slot that it has applied: a new reign begins above that slot.
            self._election.stop(f"slots up to {top} are chosen that this reign never proposed")
        elif self._exchange.cannot_begin():
            # Run phase 1 with the nodes that are up now. A value that none of them knows to be
            # chosen is reported as accepted, adopted and chosen again.
            self._election.campaign()
        self._roles.lease_ticks.tick()

    def _check(self) -> None:
        """What is done once a heartbeat."""
        context, roles = self._context, self._roles
        self._reads.ask_age()
        self._replication.check_flows()
        self._exchange.check_behind()
        self._execution.record_commit(alone=True)
        self._reads.check()
        roles.monitor.check()
        self.limits.announce()
        roles.founding.tick()
        news = self._comparison.check(sound=not self._admission.forgetful)
        if news or context.unconfirmed or context.newest_epoch > context.epoch:
            self._admission.review()
        reason = roles.watchdog.look()
        if reason:
            self._election.give_up(reason)
        roles.origin.learn_from_log()
        roles.level_raise.check()
        if self._admission.asking:
            self._admission.ask()
            self._roster.ask_to_rejoin()

    def _step_early(self) -> None:
        """Another epoch is in force: messages that came too early may fit now. (They are not tried
        before that. Each try counts as hearing the sender now, and it may be down for long.)"""
        self._early_epoch = self._context.epoch
        for sender, run_id, message in self._context.early.take():
            self.step(sender, run_id, message)

    def next_due_ms(self) -> float:
        """The time at which ``tick`` should be called at the latest."""
        context, replication = self._context, self._replication
        if self._execution.held or (replication.turn_bytes and replication.may_go_on()):
            return context.now_ms
        parts = self._election, replication, self._reads, self._roles.lease_ticks
        due = min(self._check_due_ms, *(part.next_due_ms() for part in parts))
        if context.learner.missing() is not None:
            due = min(due, context.now_ms + context.options.pull_after_ms)
        return due

    def synced(self, ticket: int) -> None:
        """All records of Readys up to ``ticket`` are durable: release what waits for them."""
        self._roles.watchdog.note_progress()
        self._context.outbox.synced(ticket)

    def install(self, slot: Slot) -> None:
        """A snapshot brought the machine to ``slot``, above what was applied. The snapshot is
        durable, and so is the log's record of it. Promises, and votes above the slot, stay."""
        self._exchange.install(slot)
        proposer = self._context.proposer
        if proposer.leading and proposer.next_slot <= slot:
            # Slots that this reign never proposed are chosen. A new reign needs a higher ballot.
            self._election.stop("a snapshot holds slots of a later reign")

    def set_health(self, sync_us: int, *, low_space: bool) -> None:
        """How long a group commit takes here, in microseconds, and whether the disk is nearly
        full."""
        self._context.sync_us = sync_us
        self._context.low_space = low_space

    # -- input: clients and operators

    def submit(self, token: Any, entry: Entry, blob: bytes) -> None:
        """Queue a client's entry; ``blob`` is its encoding. The reply comes with ``token``."""
        context = self._context
        if self._election.stopping:
            context.outbox.reply(token, self._refusal(STOPPING))
        elif not context.proposer.leading and not context.proposer.renewing:
            known = self._election.leader and self._election.leader != context.node
            context.outbox.reply(token, self._refusal(NOT_LEADER if known else NO_LEADER))
        elif not context.proposer.enqueue(Waiting(token, entry, blob)):
            context.outbox.reply(token, self._refusal(BUSY))

    def read(self, token: Any) -> None:
        """Queue a linearizable read. The reply with ``token`` is ReadReady, or a Refusal."""
        self._reads.read(token)

    def _refusal(self, code: str) -> Refusal:
        return Refusal(code, REFUSALS[code], self._election.leader)

    def hand_over(self) -> bool:
        """The daemon stops: take no more writes. A leader asks its most caught-up follower to
        campaign. False if there is nothing to wait for."""
        return self._election.hand_over()

    def hand_leadership_to(self, name: NodeId = "") -> str:
        """Hand leadership over to ``name``; "": to the most caught-up voter. Returns why that is
        refused; "": it has begun."""
        refusal = self._election.transfer.refusal(name)
        if not refusal:
            self._election.transfer.begin(name)
        return refusal

    # -- output

    def ready(self) -> Ready:
        """Do all that can be done now and return the effects."""
        context, reads = self._context, self._reads
        outbox = context.outbox
        while True:
            if context.proposer.queue.bytes:
                self._replication.propose_waiting()
            reads.ask()
            outbox.settle()
            message = outbox.self_message()
            if message is None:
                break
            self._dispatcher.step_self(message)
        reads.reply_ready()
        if outbox.ready.persist:
            self._execution.record_commit(alone=False)
        self._execution.end_turn()
        return outbox.take()

    # -- what the shell switches

    @property
    def want_applied(self) -> bool:
        """Whether ``Ready.applied`` is filled."""
        return self._execution.want_applied

    @want_applied.setter
    def want_applied(self, value: bool) -> None:
        self._execution.want_applied = value

    @property
    def pausing(self) -> bool:
        """Whether nothing is applied for now: the shell still works on what was applied."""
        return self._execution.pausing

    @pausing.setter
    def pausing(self, value: bool) -> None:
        self._execution.pausing = value

    @property
    def log_full(self) -> bool:
        """Whether so much waits for the disk that nothing more may be proposed."""
        return self._replication.log_full

    @log_full.setter
    def log_full(self, value: bool) -> None:
        self._replication.log_full = value

    @property
    def tracing(self) -> bool:
        """Whether ``Ready.traces`` is filled."""
        return self._context.outbox.tracing

    @tracing.setter
    def tracing(self, value: bool) -> None:
        self._context.outbox.tracing = value

    # -- who it is, and whether it may act

    @property
    def directory_id(self) -> int:
        """The identity of the data directory."""
        return self._admission.directory_id

    def use_directory(self, directory_id: int) -> None:
        """The data directory has a new identity, because it has lost the memory of the old one."""
        self._admission.renew(directory_id)

    @property
    def record(self) -> Record | None:
        """The founding record of the cluster, if this node holds it."""
        return self._roles.origin.record

    @property
    def genesis(self) -> int:
        """The hash of the founding record; 0: unknown."""
        return self._roles.origin.genesis

    @property
    def founding_record(self) -> Record | None:
        """A record to make durable in the data directory; then call :meth:`use_genesis`."""
        founding = self._roles.founding
        return founding.record if founding.active else None

    def use_genesis(self, record: Record) -> None:
        """The cluster is founded, and the data directory holds the record, durably."""
        self._roles.origin.take(record)

    @property
    def may_replace_directories(self) -> bool:
        """Whether nothing can have been founded yet: see :meth:`Founding.may_replace`."""
        return self._roles.founding.may_replace()

    @property
    def standing(self) -> tuple[object, ...]:
        """Everything that :class:`paxosd.storage.standing.Standing` reads. As long as it is equal
        to the last one, Standing has nothing to do."""
        context, admission, founding = self._context, self._admission, self._roles.founding
        return (
            self.genesis,
            context.membership.epoch,
            context.diverged,
            founding.record,
            founding.active,
            admission.renewal_due,
            bool(admission.forgot),
            admission.lost,
            self._roster.removed,
        )

    @property
    def membership(self) -> Membership:
        """The membership in force at the next slot."""
        return self._context.membership

    @property
    def removed(self) -> Removed | None:
        """What a member said to this node, if it is no member any more."""
        return self._roster.removed

    @property
    def forgot(self) -> list[NodeId]:
        """The peers that heard more of this node than it remembers."""
        return self._admission.forgot

    @property
    def renewal_due(self) -> bool:
        """Whether the data directory must get a new identity, because it has lost its memory."""
        return self._admission.renewal_due

    @property
    def forgetful(self) -> bool:
        """Whether this voter has lost its memory, and must not vote until ``member rejoin``."""
        return self._admission.forgetful

    @property
    def memory_lost(self) -> bool:
        """Whether the memory is lost and no membership has accepted that; also without a vote."""
        return self._admission.memory_lost

    @property
    def difference(self) -> Difference | None:
        """How this node's state differs from the decided one. As long as it does, the node applies
        nothing, until it has learned everything anew. None: no difference is known."""
        return self._comparison.difference if self._context.diverged else None

    @property
    def in_doubt(self) -> bool:
        """Whether any peer's report speaks against this node's state: nobody may take it over."""
        return self._comparison.in_doubt

    def objection(self, slot: Slot, total: str) -> str:
        """Why a state with this checksum after ``slot`` must not be taken over; "": it may."""
        return self._comparison.objection(slot, total)

    # -- what people and monitors ask

    def votes_urgent(self, *, watched: bool) -> bool:
        """Whether a client of this leader or a read waits for votes, or a watcher for those of a
        proposal held here. If not, they may be handled with what comes next."""
        held = self._context.acceptor.accepted or self._context.learner.proposed
        return bool(self._context.proposer.open or self._reads or (watched and held))

    def sync_us_elsewhere(self) -> float:
        """Of a leader: how long a group commit takes its voters, in microseconds; 0: unknown."""
        return self._election.transfer.sync_us_elsewhere() if self.leading else 0.0

    @property
    def leading(self) -> bool:
        """Whether this node leads, as far as it knows."""
        return self._context.proposer.leading

    @property
    def leader(self) -> NodeId:
        """The leader that this node knows of; "": none."""
        return self._election.leader

    @property
    def leader_ballot(self) -> Ballot:
        """The ballot of the leader that was known last."""
        return self._election.leader_ballot

    @property
    def applied(self) -> Slot:
        """The last applied slot."""
        return self._execution.applied

    @property
    def promised(self) -> Ballot:
        """The highest ballot that this acceptor has promised."""
        return self._context.acceptor.promised

    @property
    def role(self) -> str:
        """``leader``, ``candidate``, ``follower``, ``learner`` (it has no vote) or, of a node that
        must not act, the role of its :class:`~paxosd.core.admission.Readiness`."""
        context = self._context
        if context.proposer.leading:
            return "leader"
        if self.removed is not None:
            return Readiness.REMOVED.role
        if context.diverged:
            return Readiness.DIVERGED.role
        if context.unconfirmed:
            return self._admission.readiness.role
        if not context.own_bit:
            return "learner"
        return "follower" if self._election.leader and not context.is_trying else "candidate"

    def age_ms(self, now_ms: float | None = None) -> int:
        """The applied state holds every write that was acknowledged up to this many ms before
        ``now_ms`` (monotonic; None: the time of this turn); -1: unknown since the start."""
        return self._reads.age_ms(now_ms)

    def status(self) -> NodeStatus:
        """What is known here, without asking anyone: works without a quorum."""
        status = describe(self._context, self._election)
        comparison, limits = self._comparison.status(), self.limits.status()
        waits_for = self._admission.waits_for() if self._context.unconfirmed else []
        return replace(
            status,
            role=self.role,
            applied=self.applied,
            lag_slots=status.known_commit - self.applied,
            age_ms=self.age_ms(),
            reads_waiting=len(self._reads),
            unconfirmed_by=tuple(waits_for),
            unconfirmed_ms=self._context.unconfirmed_ms,
            genesis=f"{self.genesis:016x}" if self.genesis else "",
            feature_level_lagging=tuple(self._roles.level_raise.lagging()),
            feature_level_known=self._roles.level_raise.known,
            state=comparison.state,
            state_difference=comparison.state_difference,
            state_agreed_slot=comparison.state_agreed_slot,
            state_odd=comparison.state_odd,
            limits_differ=limits.limits_differ,
            frames_cut=limits.frames_cut,
            message_bytes_least=limits.message_bytes_least,
        )
