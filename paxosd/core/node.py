"""One node: the roles composed, messages and time in, effects out.

    node.step(sender, incarnation, message)   a peer's message
    node.submit(token, entry, blob)           a client's write
    node.read(token)                          a client's linearizable read
    node.tick(now_ms, wall_ms)                time; call it after draining input
    node.synced(ticket)                       a Ready's records are durable
    node.ready() → Ready                      what to persist, send, publish, answer

It performs nothing: no socket, disk, clock or global randomness (sans-IO). The same inputs
give the same effects, always; the daemon and the simulator run this very code.
"""

import math
import random
from dataclasses import replace
from typing import Any

from paxosd.core.acceptor import Acceptor
from paxosd.core.admission import Admission, Readiness
from paxosd.core.agreement import Difference
from paxosd.core.commands import Entry
from paxosd.core.comparison import Comparison
from paxosd.core.context import Codec, Context, Peer, StateMachine
from paxosd.core.effects import (
    BUSY,
    DIVERGED,
    NO_LEADER,
    NOT_LEADER,
    REFUSALS,
    STOPPING,
    ReadReady,
    Ready,
    Refusal,
)
from paxosd.core.election import Election
from paxosd.core.flow import Flow
from paxosd.core.founding import Founding
from paxosd.core.freshness import Freshness
from paxosd.core.genesis import Record
from paxosd.core.learner import Learner
from paxosd.core.level_raise import LevelRaise
from paxosd.core.membership import Membership
from paxosd.core.messages import (
    Accept,
    Accepted,
    CatchUp,
    Decisions,
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
from paxosd.core.messages import Founding as FoundingMessage
from paxosd.core.node_status import describe
from paxosd.core.options import NodeOptions
from paxosd.core.outbox import Outbox
from paxosd.core.peer_limits import PeerLimits
from paxosd.core.proposer import Proposal, Proposer, ProposerState, Waiting
from paxosd.core.reads import Asked, LeaderReads, WaitingReads
from paxosd.core.replication import Replication
from paxosd.core.roster import Roster, use_membership
from paxosd.core.run_id import boot_count_of
from paxosd.core.skew import Skew
from paxosd.core.status import NodeStatus
from paxosd.core.types import NULL_BALLOT, Ballot, NodeId, Slot
from paxosd.core.watchdog import Watchdog

_RECEIVED: dict[type, str] = {
    PreVote: "prevote.received",
    Prepare: "prepare.received",
    Promise: "promise.received",
    Nack: "nack.received",
}
"""What is traced on arrival here; accepts and votes are traced where their slots are known."""
CONTACTS_MAX = 64
"""How many nodes of its cluster a node knows besides those that the membership names."""
OLD_CLOCKS_MS_MAX = 10_000
"""After a turn that was late, peers' wall clocks are not compared for as long as it was late, or so
long: their words waited in the queues."""

_OF_AN_EPOCH = frozenset({Prepare, Accept, Accepted})
"""What a node can do nothing about before it knows the membership that it is of."""


def _ignore(sender: NodeId, message: PeerMessage) -> None:
    """For messages that are the shell's: here they only show that the sender lives."""


class Node:
    """One member of the cluster.

    ``promised``, ``accepted``, ``commit``: what its log recovered; the machine has applied
    exactly the slots up to ``commit``. ``run_id``: this start's number. ``directory``: the
    identity of its data directory; ``lost``: that is known to have lost its memory,
    ``repaired``: by damage that was found and set aside. ``peers``: the other members at epoch 0;
    later on the machine's membership counts, and these are listened to all the same.
    """

    def __init__(
        self,
        options: NodeOptions,
        peers: list[NodeId],
        machine: StateMachine,
        codec: Codec,
        rng: random.Random,
        *,
        run_id: int = 1,
        promised: Ballot = NULL_BALLOT,
        accepted: dict[Slot, tuple[Ballot, bytes]] | None = None,
        commit: Slot = 0,
        now_ms: float = 0.0,
        wall_ms: int = 0,
        arriving: bool = False,
        directory_id: int = 0,
        lost: bool = False,
        repaired: bool = False,
        record: Record | None = None,
        genesis: int = 0,
        start_mark: int = 0,
    ) -> None:
        """``arriving``: it asks its peers how they know it (``admission.py``). ``record``: the one
        of its founding, if its directory has one; ``genesis``: the number of it, if its directory
        has that from others; ``start_mark``: the last group of its log."""
        ahead = options.accept_ahead_slots_max
        membership = machine.membership
        if not membership.epoch:
            membership = options.bootstrap or Membership.of_quorums(options.quorums)
            if record is not None:
                membership = record.membership(membership.members)
        self._context = Context(
            options=options,
            membership=membership,
            rng=rng,
            acceptor=Acceptor(promised, accepted, commit, ahead),
            learner=Learner(options.quorums, commit, ahead),
            proposer=Proposer(options),
            leader_reads=LeaderReads(options.quorums),
            outbox=Outbox(options.node),
            machine=machine,
            codec=codec,
            now_ms=now_ms,
            wall_ms=wall_ms,
        )
        self._context.contacts = list(peers)
        self._context.newest_epoch = membership.epoch
        use_membership(self._context, membership)
        self.run_id = run_id
        # Ids of different starts differ: a late answer to a question of the start before must
        # not pass for one of now.
        self._reads = WaitingReads((run_id & 0x7FFF_FFFF) << 32)
        self._reads_ballot = NULL_BALLOT
        self._freshness = Freshness()
        self._misled = (False, False)
        self._old_clocks_until_ms = float("-inf")
        self._replication = Replication(self._context, self._on_members)
        self._election = Election(
            self._context, self._on_lead, self._replication.stop, self._replication.pause
        )
        self.record = record
        self.genesis = record.hash if record is not None else genesis
        """The hash of the founding record; 0: it is not known here."""
        newcomer = arriving and record is None and not membership.epoch and promised == NULL_BALLOT
        is_named = arriving and options.node in membership.members
        founding = Founding(
            self._context,
            directory_id,
            active=newcomer and is_named,
            old=is_named and record is None and not newcomer and not membership.epoch,
        )
        self._admission = Admission(
            self._context,
            run_id,
            self._election.stop,
            founding,
            directory_id,
            lost,
            repaired,
            start_mark,
        )
        self._watchdog = Watchdog(self._context)
        self._comparison = Comparison(self._context)
        self.limits = PeerLimits(self._context)
        """What the others' files allow."""
        if arriving:
            self._admission.begin()
        self._check_due_ms = now_ms
        self._early_epoch = membership.epoch
        self._handlers: dict[type, Any] = {
            PreVote: self._election.receive_prevote,
            PreVoteReply: self._election.receive_prevote_reply,
            Prepare: self._on_prepare,
            Promise: self._on_promise,
            Accept: self._on_accept,
            Nack: self._election.receive_nack,
            VotesRequest: self._replication.receive_votes_request,
            Heartbeat: self._on_heartbeat,
            HeartbeatAck: self._on_heartbeat_ack,
            CatchUp: self._replication.receive_catch_up,
            Decisions: self._on_decisions,
            ReadIndex: self._on_read_index,
            ReadIndexReply: self._on_read_index_reply,
            TransferLeadership: self._election.receive_transfer,
            NodeLimits: self.limits.receive,
            SnapshotOffer: _ignore,
            SnapshotRequest: _ignore,
            SnapshotChunk: self._on_snapshot_chunk,
            Welcome: self._on_welcome,
        }
        self._roster = Roster(
            self._context, self._election, self._replication, self._admission, self._handlers
        )
        self._handlers[FoundingMessage] = lambda sender, message: self._on_founding(
            sender, 0, message
        )
        self._handlers[Genesis] = self._on_genesis
        self._level_raise = LevelRaise(self._context, founding.agreed)
        self._level_raise.directory_id = directory_id
        self._learn_genesis()
        self._skew = Skew()
        self._handlers[Removed] = self._on_removed
        self._handlers[Rejoin] = self._roster.receive_rejoin

    # -- input

    def step(self, sender: NodeId, run_id: int, message: PeerMessage) -> None:
        """Take a message of a peer (its name and incarnation as the envelope gave them;
        incarnation 0: of one that has lost its memory, and may only learn)."""
        context = self._context
        peer = context.peers.get(sender)
        if peer is None:
            return
        peer.seen_ms = context.now_ms
        membership = context.membership
        if not run_id or (membership.epoch and sender not in membership.members):
            if type(message) is Heartbeat:
                self._comparison.hear(sender, message, counts=False)
            self._roster.receive_outsider(sender, run_id, message)
            return
        peer.heard_ms = context.now_ms
        if not peer.up:
            peer.up = True
            starts = boot_count_of(run_id)
            context.outbox.notice("member.up", member=sender, member_boot_count=starts)
        kind = type(message)
        if kind in _OF_AN_EPOCH and message.ballot.epoch > self._context.epoch:  # type: ignore[union-attr]  # all of them have one
            self._depose_if_above(message.ballot)  # type: ignore[union-attr]  # the same
            self.hear_epoch(message.ballot.epoch)  # type: ignore[union-attr]  # the same
            self._context.early.keep(sender, run_id, message)
            return
        if self._context.outbox.tracing and kind in _RECEIVED:
            ballot: Ballot = message.ballot  # type: ignore[union-attr]  # all of _RECEIVED have one
            self._context.outbox.trace(_RECEIVED[kind], ballot=ballot.shown(), **{"from": sender})
        if kind is Accepted:
            self._on_accepted(sender, run_id, message)  # type: ignore[arg-type]  # by kind
        elif kind is Votes:
            self._on_votes(sender, run_id, message)  # type: ignore[arg-type]  # by kind
        elif kind is Hello:
            self._on_hello(sender, run_id, message)  # type: ignore[arg-type]  # by kind
        elif kind is FoundingMessage:
            self._on_founding(sender, run_id, message)  # type: ignore[arg-type]  # by kind
        else:
            self._handlers[kind](sender, message)
            if kind is Heartbeat:
                self._replication.receive_stream_mark(
                    sender,
                    run_id,
                    message.stream_seq,  # type: ignore[union-attr]  # by kind
                )

    def set_time(self, now_ms: float, wall_ms: int) -> None:
        """What time it is. Call it before a turn's messages: a node that was paused must not
        take what it hears now for something heard long ago."""
        context = self._context
        gap_ms = now_ms - context.now_ms
        if gap_ms > context.options.election_timeout_ms / 2:
            # What waits has waited for up to so long, and so have the clocks that it tells of.
            self._old_clocks_until_ms = now_ms + min(gap_ms, OLD_CLOCKS_MS_MAX)
        context.now_ms = now_ms
        context.wall_ms = wall_ms

    def tick(self, now_ms: float, wall_ms: int) -> None:
        """Time passed. Call it once a turn, after the turn's messages."""
        context = self._context
        self.set_time(now_ms, wall_ms)
        if self._early_epoch != context.membership.epoch:
            self._take_early()
        replication = self._replication
        replication.turn_bytes = 0
        if replication.held or replication.pull_next is not None:
            replication.resume()
        self._election.tick()
        if context.leader_reads.in_round:
            self._answer_reads()  # of a round that began with this very tick: alone it is a quorum
        if now_ms >= self._check_due_ms:
            self._check_due_ms = now_ms + context.options.heartbeat_ms
            self._ask_age()
            self._replication.check_flows()
            self._replication.check_behind()
            self._replication.retransmit()
            self._replication.record_commit(alone=True)
            self._check_reads()
            self._check_peers()
            self.limits.tell()
            self._admission.founding.tick()
            news = self._comparison.check(sound=not self._admission.forgetful)
            if news or context.unconfirmed or context.newest_epoch > context.epoch:
                self._admission.review()
            reason = self._watchdog.look()
            if reason:
                self._election.give_up(reason)
            self._learn_genesis()
            self._level_raise.check()
            if self._admission.asking:
                self._admission.ask()
                self._roster.ask_to_rejoin()
        if replication.skipped:
            replication.send_skipped()
        replication.check_missing()
        if not context.proposer.leading:
            return
        top = self._replication.overtaken()
        if top:
            # Nobody votes in a slot that it has applied: above it and at a higher ballot, then.
            self._election.stop(f"slots up to {top} are chosen that this reign never proposed")
        elif self._replication.cannot_begin():
            # Phase 1 with whoever is there now: what nobody of them knows to be chosen is
            # reported as accepted, adopted and chosen anew.
            self._election.campaign()

    def next_due_ms(self) -> float:
        """The time at which ``tick`` should be called at the latest."""
        replication = self._replication
        if replication.held or (replication.turn_bytes and replication.may_go_on()):
            return self._context.now_ms
        due = min(self._election.next_due_ms(), self._check_due_ms)
        if self._context.learner.missing() is not None:
            due = min(due, self._context.now_ms + self._context.options.pull_after_ms)
        return due

    def synced(self, ticket: int) -> None:
        """All records of Readys up to ``ticket`` are durable: release what waited for that."""
        self._watchdog.moved += 1
        self._context.outbox.synced(ticket)

    def unsent(self, to: NodeId, message: PeerMessage) -> None:
        """A message could not be handed to the connection."""
        peer = self._context.peers.get(to)
        if type(message) is Accept and peer is not None:
            peer.flow.unsent(message.slot)

    def served(self, to: NodeId, message: Decisions, size: int) -> None:
        """A part of the log was sent, of so many bytes."""
        flow = self.flow_to(to)
        if flow is not None:
            last = message.first_slot + len(message.values) - 1
            flow.served(message.first_slot, last, size, self._context.now_ms)

    def flow_to(self, name: NodeId) -> Flow | None:
        """What is on its way to a peer."""
        peer = self._context.peers.get(name)
        return None if peer is None else peer.flow

    def peer_level(self, name: NodeId, level: int) -> None:
        """A peer said which feature level it understands."""
        peer = self._context.peers.get(name)
        if peer is not None:
            peer.level = level

    def peer_wall(self, name: NodeId, wall_ms: int, round_trip_ms: float = 0.0) -> None:
        """A peer said what its wall clock showed; the word took up to ``round_trip_ms`` to come."""
        context = self._context
        peer = context.peers.get(name)
        if peer is None or context.now_ms < self._old_clocks_until_ms:
            return
        news = self._skew.hear(name, wall_ms, context.wall_ms, round_trip_ms)
        peer.skew_ms = self._skew.known_ms[name]
        if news is not None:
            event, level = ("clock.skew", "warning") if news.off else ("clock.well", "info")
            context.outbox.notice(event, level, member=name, skew_ms=news.skew_ms)

    def peer_disconnected(self, name: NodeId) -> None:
        """A hint: the connection to a peer broke. Until it is heard again it does not count
        as reachable; if it led, ask the others soon."""
        peer = self._context.peers.get(name)
        if peer is not None:
            peer.contact_ms = max(peer.contact_ms, peer.heard_ms, peer.seen_ms)
            peer.heard_ms = peer.seen_ms = float("-inf")
            peer.flow.reset()
            self._tell_down(name, peer, "its connection broke")
            self._admission.connection_lost(name)
            self.limits.forget(name)
        if name == self._election.leader:
            self._election.leader_gone()

    def _tell_down(self, name: NodeId, peer: Peer, reason: str) -> None:
        if peer.up:
            peer.up = False
            self._context.outbox.notice("member.down", "warning", member=name, reason=reason)

    def _check_peers(self) -> None:
        """Tell of peers that have fallen silent, by the rule that ``status`` goes by."""
        silent_ms = 2 * self._context.options.election_timeout_ms
        since_ms = self._context.now_ms - silent_ms
        for name, peer in self._context.peers.items():
            if peer.up and peer.heard_ms < since_ms:
                self._tell_down(name, peer, f"not heard for {silent_ms} ms")
                # Its connection may have broken without a sign. It may come back as one that knows
                # nobody but those who say Hello to it, and tell it what it has forgotten.
                self._admission.connection_lost(name)

    def submit(self, token: Any, entry: Entry, blob: bytes) -> None:
        """Queue a client's entry (decoded, and as encoded). Its reply comes with ``token``."""
        context = self._context
        if self._election.stopping:
            context.outbox.reply(token, self._refusal(STOPPING))
        elif not context.proposer.leading and not context.proposer.renewing:
            known = self._election.leader and self._election.leader != context.node
            context.outbox.reply(token, self._refusal(NOT_LEADER if known else NO_LEADER))
        elif not context.proposer.enqueue(Waiting(token, entry, blob)):
            context.outbox.reply(token, self._refusal(BUSY))

    def read(self, token: Any) -> None:
        """Queue a linearizable read: ReadReady comes with ``token`` once it may be served."""
        if self._context.diverged:
            self._context.outbox.reply(token, self._refusal(DIVERGED))
            return
        if len(self._reads) >= self._context.options.reads_waiting_max:
            self._context.outbox.reply(token, self._refusal(BUSY))
            return
        self._reads.add(token, self._context.now_ms)

    def install(self, slot: Slot) -> None:
        """The machine was brought to ``slot``, above what was applied, by a snapshot that is
        durable, as is the log's record of it. Promises and the votes above it stay."""
        self._replication.install(slot)
        proposer = self._context.proposer
        if proposer.leading and proposer.next_slot <= slot:
            # Slots that this reign never proposed are chosen: at a higher ballot, then.
            self._election.stop("a snapshot tells of a later reign")

    def hand_over(self) -> bool:
        """The daemon stops: take no more writes; a leader asks its best follower to campaign.
        False if there is nobody to wait for."""
        return self._election.hand_over()

    # -- who is a member

    @property
    def membership(self) -> Membership:
        """The one in force at the next slot."""
        return self._context.membership

    @property
    def removed(self) -> Removed | None:
        """As a member told it: this node is none any more."""
        return self._roster.removed

    def hear_epoch(self, epoch: int) -> None:
        """An envelope of this cluster told that there is a membership of ``epoch``: until this
        node has applied what brought it about it does not act."""
        if epoch > self._context.newest_epoch:
            self._context.newest_epoch = epoch
            self._admission.review()

    def hear_genesis(self, genesis: int) -> None:
        """A peer has a founding record, of this hash, and this node knows none. One that joined
        takes it for its cluster's; one that is to found a cluster needs the record itself."""
        # One that is named by a later membership waits for no founding: it is long over.
        if not self.genesis and (self._context.epoch or not self._admission.founding.active):
            self.genesis = genesis
            self._context.genesis = f"{genesis:016x}"

    def hear_stranger(self, sender: NodeId, genesis: int, epoch: int, message: PeerMessage) -> bool:
        """An envelope of this cluster's id from one that is no peer, or has another founding
        record (hash ``genesis``). True if the sender is a contact from now on, which is reached
        where its Hello says."""
        if genesis and self.genesis and genesis != self.genesis:
            self._admission.hear_conflict(sender, genesis, epoch)
            return False
        self.hear_epoch(epoch)
        # Whoever knows of a later membership, or of the founding that this node knows nothing of,
        # is the only one to learn it from, perhaps; and a newcomer that counts this one in has to
        # be told that their configurations differ.
        newcomers = genesis == self.genesis == 0 and self._admission.founding.active
        knows_more = (
            epoch > self._context.epoch or (genesis != 0 and self.genesis == 0) or newcomers
        )
        if not knows_more or not isinstance(message, Hello) or not message.peer:
            return False
        if sender not in self._context.contacts and sender != self._context.node:
            if len(self._context.contacts) >= CONTACTS_MAX:
                return False
            self._context.contacts.append(sender)
            use_membership(self._context, self._context.membership)
        return True

    @property
    def may_replace_directories(self) -> bool:
        """Whether nothing can have been founded yet: see :meth:`Founding.may_replace`."""
        return self._admission.founding.may_replace()

    @property
    def founding_record(self) -> Record | None:
        """To be made durable in the data directory, and then told to :meth:`use_genesis`."""
        founding = self._admission.founding
        return founding.record if founding.active else None

    @property
    def standing(self) -> tuple[object, ...]:
        """All that :class:`paxosd.storage.standing.Standing` goes by: equal to the last one as
        long as there is nothing new for it."""
        context, admission = self._context, self._admission
        return (
            self.genesis,
            context.membership.epoch,
            context.diverged,
            admission.founding.record,
            admission.founding.active,
            admission.renewal_due,
            bool(admission.forgot),
            admission.lost,
            self._roster.removed,
        )

    def use_genesis(self, record: Record) -> None:
        """The cluster is founded, and the data directory says so, durably."""
        self._take_record(record)

    def _take_record(self, record: Record) -> None:
        self.record = record
        self.genesis = record.hash
        self._context.genesis = f"{record.hash:016x}"
        self._admission.founding.active = False
        if not self._context.epoch:
            known = self._context.membership.members
            use_membership(self._context, record.membership(known))
        self._admission.review()

    def _learn_genesis(self) -> None:
        """By what number the cluster is known stands in its log, too: for members that joined
        later, and for those of a time before there were records."""
        if self.genesis and not self._context.genesis:
            self._context.genesis = f"{self.genesis:016x}"
        elif not self.genesis:
            self._context.genesis = self._context.machine.settings.genesis
            self.genesis = int(self._context.genesis or "0", 16)

    def _on_hello(self, sender: NodeId, run_id: int, message: Hello) -> None:
        self._comparison.greet(sender, message.directory_id)
        self._context.peers[sender].flow.reset()
        self._context.peers[sender].directory_id = message.directory_id
        self.peer_level(sender, message.level)
        witness = not self._admission.forgetful
        level = self._context.options.level_target
        self._context.outbox.send(sender, Welcome(run_id, witness=witness, level=level))
        self.limits.greet(sender)

    def _on_welcome(self, sender: NodeId, message: Welcome) -> None:
        # What the inbox of a peer answers names no level: that is no word of level 0.
        if message.run_id == self.run_id and message.level:
            self.peer_level(sender, message.level)
        self._admission.receive_welcome(sender, message)

    def _on_founding(self, sender: NodeId, run_id: int, message: FoundingMessage) -> None:
        if self.record is not None:
            self._context.outbox.send(sender, Genesis(self.record.to_json()))
        elif run_id:
            self._admission.founding.receive(sender, run_id, message)

    def _on_genesis(self, sender: NodeId, message: Genesis) -> None:
        self._admission.founding.receive_record(sender, message)
        record, self._context.foreign_record = self._context.foreign_record, None
        if record is not None:
            # Its directory was emptied: it learns, and another directory votes in its name.
            self._take_record(record)

    def _on_members(self, changed: bool) -> None:
        self._roster.on_applied(changed)
        if changed:
            self._reads.question_lost(self._context.now_ms, 0)

    def _on_removed(self, sender: NodeId, message: Removed) -> None:
        self._roster.receive_removed(sender, message)
        self._check_reads()

    def _take_early(self) -> None:
        """What came before its epoch: its time may be now that another has come. (Not before: each
        time it would pass for something heard now, of a peer that is long gone perhaps.)"""
        self._early_epoch = self._context.epoch
        for sender, run_id, message in self._context.early.take():
            self.step(sender, run_id, message)

    def hand_leadership_to(self, name: NodeId = "") -> str:
        """Lead no more: ``name`` is to ("": the most caught-up voter). Why not, or ""."""
        refusal = self._election.transfer.refusal(name)
        if not refusal:
            self._election.transfer.begin(name)
        return refusal

    def set_health(self, sync_us: int, *, low_space: bool) -> None:
        """What a group commit takes here, and whether the disk is nearly full."""
        self._context.sync_us = sync_us
        self._context.low_space = low_space

    def sync_us_elsewhere(self) -> float:
        """Of a leader: what a group commit takes its voters, in microseconds; 0: not known."""
        return self._election.transfer.sync_us_elsewhere() if self.leading else 0.0

    @property
    def directory_id(self) -> int:
        """The identity of the data directory."""
        return self._admission.directory_id

    def use_directory(self, directory_id: int) -> None:
        """The data directory has a new identity, for the old one's memory is lost."""
        self._admission.renew(directory_id)

    # -- output

    def ready(self) -> Ready:
        """Do all that can be done now and hand out the effects."""
        context = self._context
        self._replication.propose_waiting()
        self._ask_reads()
        while True:
            context.outbox.settle()
            message = context.outbox.self_message()
            if message is None:
                break
            self._step_self(message)
            self._replication.propose_waiting()
            self._ask_reads()
        for token in self._reads.ready(self._replication.applied):
            refused = self._refusal(DIVERGED) if context.diverged else None
            context.outbox.reply(token, refused or ReadReady(self._replication.applied))
        self._replication.record_commit(alone=False)
        self._replication.units = 0
        return context.outbox.take()

    def _step_self(self, message: PeerMessage) -> None:
        """This node's own acceptor speaks to its own proposer and learner."""
        name = self._context.node
        if isinstance(message, Accepted):
            self._replication.receive_accepted(name, self.run_id, message)
        elif isinstance(message, Promise):
            self._election.receive_promise(name, message)
        elif isinstance(message, Nack):
            self._election.receive_nack(name, message)

    # -- handlers that concern more than one part

    def _depose_if_above(self, ballot: Ballot) -> None:
        """A leader that meets a higher ballot at work stops before it says anything more about
        what is chosen: its commit index must only tell of ballots up to its own."""
        proposer = self._context.proposer
        self._election.saw(ballot)
        if ballot > proposer.ballot and proposer.state is not ProposerState.IDLE:
            self._election.stop(f"ballot {ballot.shown()} is at work")

    def _on_lead(self, proposals: list[Proposal]) -> None:
        self._replication.lead(proposals)

    def _on_prepare(self, sender: NodeId, message: Prepare) -> None:
        if message.ballot.node == sender:
            self._election.receive_prepare(sender, message)

    def _on_promise(self, sender: NodeId, message: Promise) -> None:
        self._context.note_commit(sender, message.commit)
        self._election.receive_promise(sender, message)

    def _on_accept(self, sender: NodeId, message: Accept) -> None:
        if message.ballot.node != sender:
            return
        self._context.note_commit(sender, message.commit)
        self._depose_if_above(message.ballot)
        if self._replication.receive_accept(sender, message):
            self._election.follow(message.ballot)

    def _on_accepted(self, sender: NodeId, run_id: int, message: Accepted) -> None:
        self._depose_if_above(message.ballot)
        self._replication.receive_accepted(sender, run_id, message)

    def _on_votes(self, sender: NodeId, run_id: int, message: Votes) -> None:
        self._context.note_commit(sender, message.commit)
        for ballot, _, _ in message.votes:
            self._depose_if_above(ballot)
        self._replication.receive_votes(sender, run_id, message)

    def _on_heartbeat(self, sender: NodeId, message: Heartbeat) -> None:
        self._roster.receive_heartbeat(message)
        self._comparison.hear(sender, message, counts=True)
        self._context.peers[sender].votes = message.votes
        if message.wall_ms:
            self.peer_wall(sender, message.wall_ms, self._context.options.election_timeout_ms)
        self._context.note_commit(sender, message.commit)
        self._depose_if_above(message.ballot)
        if self._election.receive_heartbeat(sender, message):
            self._context.learner.receive_commit(message.ballot, message.commit)
            self._replication.advance()

    def _on_heartbeat_ack(self, sender: NodeId, message: HeartbeatAck) -> None:
        self._context.note_commit(sender, message.commit)
        if self._election.receive_heartbeat_ack(sender, message):
            self._context.leader_reads.receive_ack(sender, message.round)
            self._answer_reads()

    def _on_decisions(self, sender: NodeId, message: Decisions) -> None:
        if not self._comparison.goes_on_from_here(sender, message.before):
            return
        self._context.note_commit(sender, message.commit)
        for ballot, _ in message.values:
            self._depose_if_above(ballot)
        self._replication.receive_decisions(sender, message)

    def _on_snapshot_chunk(self, sender: NodeId, message: SnapshotChunk) -> None:
        """The shell's; here it shows that this node gets somewhere."""
        self._watchdog.moved += 1

    # -- reads

    def _read_slot(self) -> Slot:
        proposer = self._context.proposer
        return max(proposer.next_slot - 1, proposer.reign_start)

    def _ask_reads(self) -> None:
        """Put the question of the reads that wait: to the leader, or to itself if it leads."""
        context = self._context
        if context.proposer.leading:
            read_id = self._reads.question(context.now_ms)
            if read_id:
                context.leader_reads.ask(Asked("", read_id, self._read_slot()))
            # Behind a change of the membership others may lead already without this node's voters.
            if not context.proposer.barrier and context.leader_reads.start_round(context.own_bit):
                self._election.send_heartbeats()
                self._answer_reads()
        else:
            leader = self._election.leader
            if leader and leader != context.node:
                read_id = self._reads.question(context.now_ms)
                if read_id:
                    context.outbox.send(leader, ReadIndex(read_id))

    def _ask_age(self) -> None:
        """Put a question for which no read waits, if somebody wants to know this state's age."""
        context = self._context
        if not self._freshness.wanted(context.now_ms):
            return
        leader = self._election.leader
        if not context.proposer.leading and leader in ("", context.node):
            return
        read_id = self._reads.bare_question(context.now_ms, context.options.heartbeat_ms)
        if not read_id:
            return
        if context.proposer.leading:
            context.leader_reads.ask(Asked("", read_id, self._read_slot()), waits=False)
        else:
            context.outbox.send(leader, ReadIndex(read_id, waits=False))

    def _on_read_index(self, sender: NodeId, message: ReadIndex) -> None:
        if self._context.proposer.leading:
            asked = Asked(sender, message.read_id, self._read_slot())
            self._context.leader_reads.ask(asked, waits=message.waits)

    def _on_read_index_reply(self, sender: NodeId, message: ReadIndexReply) -> None:
        self._take_index(message.read_id, message.slot)

    def _take_index(self, read_id: int, slot: Slot) -> None:
        """A question's answer: a quorum confirmed the leader after it was put."""
        put_ms = self._reads.put_ms(read_id)
        if put_ms is not None:
            self._known_age().confirmed(put_ms, slot)
        self._reads.answer(read_id, slot)

    def _answer_reads(self) -> None:
        """A quorum confirmed a round: all its questions have their answer."""
        for asked in self._context.leader_reads.confirmed():
            if asked.origin:
                self._context.outbox.send(asked.origin, ReadIndexReply(asked.read_id, asked.slot))
            else:
                self._take_index(asked.read_id, asked.slot)

    def _check_reads(self) -> None:
        options = self._context.options
        now_ms = self._context.now_ms
        self._reads.question_lost(now_ms, options.retransmit_ms)
        ballot = self._election.leader_ballot
        after_ms = 4 * options.election_timeout_ms if ballot == self._reads_ballot else 0
        patience_ms = 3 * options.election_timeout_ms
        if self.removed is not None:
            after_ms = patience_ms = 0  # nobody confirms anything to it: it must not end in silence
        self._reads_ballot = ballot
        self._reads.index_lost(now_ms, after_ms)
        for token in self._reads.overdue(now_ms, patience_ms):
            self._context.outbox.reply(token, self._refusal(NO_LEADER))

    def _refusal(self, code: str) -> Refusal:
        return Refusal(code, REFUSALS[code], self._election.leader)

    # -- what a person or a monitor asks

    @property
    def want_applied(self) -> bool:
        """Whether ``Ready.applied`` is filled."""
        return self._replication.want_applied

    @want_applied.setter
    def want_applied(self, value: bool) -> None:
        self._replication.want_applied = value

    @property
    def pausing(self) -> bool:
        """Whether nothing is applied for now: what was applied has yet to be worked off."""
        return self._replication.pausing

    @pausing.setter
    def pausing(self, value: bool) -> None:
        self._replication.pausing = value

    @property
    def log_full(self) -> bool:
        """Whether so much waits for the disk that nothing more is to be proposed."""
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

    @property
    def votes_urgent(self) -> bool:
        """Whether somebody waits for what votes would decide: a client of this leader, a read.
        If not, they may be taken in together with whatever comes next."""
        return bool(self._context.proposer.open) or bool(self._reads)

    @property
    def forgot(self) -> list[NodeId]:
        """The peers that know another life of this node: if any does, its memory is lost."""
        return self._admission.forgot

    @property
    def renewal_due(self) -> bool:
        """Whether the data directory is to get another identity, for it has lost its memory."""
        return self._admission.renewal_due

    @property
    def forgetful(self) -> bool:
        """Whether it lost its memory, and must not vote until ``member rejoin``."""
        return self._admission.forgetful

    @property
    def memory_lost(self) -> bool:
        """Whether its memory is lost, and not made good yet: also of one without a vote."""
        return self._admission.memory_lost

    @property
    def difference(self) -> Difference | None:
        """How this node's state differs from the one that was decided; None: it does not, as far
        as is known. If it does it stands still until it has learned all anew."""
        return self._comparison.difference if self._context.diverged else None

    @property
    def in_doubt(self) -> bool:
        """Whether anybody's word speaks against this node's state: nobody is to take it over."""
        return self._comparison.in_doubt

    def objection(self, slot: Slot, total: str) -> str:
        """Why the state with this checksum after ``slot`` must not be taken over; "": it may."""
        return self._comparison.objection(slot, total)

    @property
    def leading(self) -> bool:
        return self._context.proposer.leading

    @property
    def leader(self) -> NodeId:
        return self._election.leader

    @property
    def applied(self) -> Slot:
        return self._replication.applied

    @property
    def promised(self) -> Ballot:
        return self._context.acceptor.promised

    @property
    def role(self) -> str:
        """``leader``, ``candidate``, ``follower`` or, for a node without a vote, ``learner``. Of
        one that must not act (``admission.py``): ``newcomer`` (not founded), ``returning`` (not
        compared yet since its start), ``catching-up`` (there is a later membership),
        ``memory-lost`` (it has lost its memory), ``conflict`` (another founding record),
        ``diverged`` (its state is not the one that was decided; also of a node without a vote),
        ``disputed`` (the voters' states differ, and no majority decides it)."""
        context = self._context
        if context.proposer.leading:
            return "leader"
        if self.removed is not None:
            return "removed"
        if context.diverged:
            return "diverged"
        if context.unconfirmed:
            return _ROLES[self._admission.readiness]
        if not context.own_bit:
            return "learner"
        preparing = context.proposer.state is ProposerState.PREPARING
        return "follower" if self._election.leader and not preparing else "candidate"

    def age_ms(self, now_ms: float | None = None) -> int:
        """What is applied here holds everything that was acknowledged so many ms before now, or
        earlier. -1: that was never known since this node's start. It was asked for now, so this
        node sees to it for a while that it is known (``freshness.py``).

        ``now_ms``: a later moment of this turn, by the same clock."""
        context = self._context
        self._freshness.want(context.now_ms)
        later_ms = context.now_ms if now_ms is None else max(now_ms, context.now_ms)
        return math.ceil(self._known_age().age_ms(later_ms, self._replication.applied))

    def _known_age(self) -> Freshness:
        """What was confirmed before this node found out that it had lost its memory, or is alone in
        the past, was confirmed by voters that do not decide: it says nothing of the age."""
        misled = self._admission.memory_lost, self._context.is_alone_in_the_past
        if misled != self._misled:
            self._misled = misled
            self._freshness.forget()
        return self._freshness

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
            genesis=f"{self.genesis:016x}" if self.genesis else "",
            feature_level_lagging=tuple(self._level_raise.lagging()),
            state=comparison.state,
            state_difference=comparison.state_difference,
            state_agreed_slot=comparison.state_agreed_slot,
            state_odd=comparison.state_odd,
            limits_differ=limits.limits_differ,
            frames_cut=limits.frames_cut,
            message_bytes_least=limits.message_bytes_least,
        )


_ROLES = {
    Readiness.REMOVED: "removed",
    Readiness.ACTS: "follower",
    Readiness.DIVERGED: "diverged",
    Readiness.DISPUTED: "disputed",
    Readiness.LOST: "memory-lost",
    Readiness.FOREIGN: "memory-lost",
    Readiness.NEW: "newcomer",
    Readiness.CONFLICT: "conflict",
    Readiness.BEHIND: "catching-up",
    Readiness.UNCOMPARED: "returning",
}
"""The role of a voter that must not act, by the reason for that."""
