"""Who leads: pre-vote, campaign, staying, stepping down, handing over.

    FOLLOWER ── no leader heard for a random time ──► asks PreVote of all (changes nothing)
             ── a phase-1 quorum hears no leader either ──► campaigns: new ballot, phase 1
             ── promises of a quorum ──► LEADER: heartbeats; steps down without a quorum's acks

Rules:
- A node that hears a live leader refuses a pre-vote, and so does a leader that a quorum
  acknowledges: a node that comes back, or one bad link, deposes nobody.
- A node's new round is above every round that it has seen, and its own promise of the ballot
  is durable before the first Prepare leaves: no restart reuses a ballot.
- Two candidates that collide wait for random times drawn anew from the injected source. That
  costs little: at one round the ballot of the greater name is the higher one, and wins. So a
  follower asks after a time that is random by a part of the timeout only (``ASK_SPREAD``).
- A ballot belongs to the present epoch of the membership. A node that has not applied the change
  that made this epoch grants nothing. When a leader's membership changes, the leader goes on at a
  new ballot, or hands over if it has no vote any more.

Sources: Lamport, "Paxos Made Simple", section 2.4 (a distinguished proposer, randomness or real
time for liveness); Ongaro's thesis, sections 6.2 (a leader without a quorum steps down) and
9.6 (pre-vote).
"""

from collections.abc import Callable

from paxosd.core.commands import changes_members
from paxosd.core.contact import TIMES_AS_OFTEN, Contact, why_lost
from paxosd.core.context import Context
from paxosd.core.handover import Transfer
from paxosd.core.messages import (
    Heartbeat,
    HeartbeatAck,
    Nack,
    Prepare,
    PreVote,
    PreVoteReply,
    Promise,
    TransferLeadership,
)
from paxosd.core.prevote import PreVoteRound
from paxosd.core.proposer import Proposal, ProposerState
from paxosd.core.types import EPOCH_ROUNDS, NOOP, NULL_BALLOT, UNKNOWN_BALLOT, Ballot, NodeId, Slot

ASK_SPREAD = 0.35
"""A follower asks for pre-votes after one election timeout of silence and a random part of another,
at most this."""


class Election:
    """One node's view of who leads, and its own attempts to."""

    __slots__ = ("_again_due_ms", "_contact", "_context", "_deadline_ms", "_heartbeat_due_ms",
                 "_inherit", "_lost_ballot", "_on_lead", "_on_pause", "_on_stop", "_prevote",
                 "elections", "leader", "leader_ballot", "leader_heard_ms", "round_seen",
                 "stopping", "transfer")  # fmt: skip

    def __init__(
        self,
        context: Context,
        on_lead: Callable[[list[Proposal]], None],
        on_stop: Callable[[str], None],
        on_pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._context = context
        self._on_pause = on_pause
        """Called when a reign ends that another reign of this node will continue."""
        self._on_lead = on_lead
        """Called once phase 1 is won, with the proposals to finish."""
        self._on_stop = on_stop
        """Called with the reason when a reign or campaign ends: answers the clients."""
        self.leader: NodeId = ""
        """The leader that this node follows, perhaps itself; "": it knows none."""
        self.leader_ballot = NULL_BALLOT
        self.leader_heard_ms = float("-inf")
        self.round_seen = context.acceptor.promised.round
        self.elections = 0
        self.stopping = False
        self._contact = Contact(context)
        self.transfer = Transfer(context, self._contact.live_voters)
        self._inherit: tuple[Ballot, Slot] | None = None
        """The leader of this ballot asked this node to take over, once it has applied the slot."""
        self._lost_ballot = NULL_BALLOT
        """The ballot of the last leader that was logged as lost; others may still name it."""
        self._prevote = PreVoteRound(context)
        self._heartbeat_due_ms = context.now_ms
        self._again_due_ms = float("inf")
        """When doubtful voters get a heartbeat again; inf: there are none."""
        self._deadline_ms = 0.0
        self._postpone()
        if context.quorums.voters == (context.node,):
            self._deadline_ms = context.now_ms

    # -- time

    def _postpone(self, low: float = 1.0, high: float = 1.0 + ASK_SPREAD) -> None:
        """Campaign no earlier than a random multiple of the election timeout from now."""
        context = self._context
        factor = context.rng.uniform(low, high)
        self._deadline_ms = context.now_ms + factor * context.options.election_timeout_ms

    def next_due_ms(self) -> float:
        """When ``tick`` next has something to do."""
        return min(self._heartbeat_due_ms, self._again_due_ms, self._deadline_ms)

    def tick(self) -> None:
        context = self._context
        if context.now_ms >= self._heartbeat_due_ms:
            self._heartbeat_due_ms = context.now_ms + context.options.heartbeat_ms
            if context.proposer.leading and not context.proposer.barrier:
                context.leader_reads.start_round(context.own_bit, heartbeat=True)
            self.send_heartbeats()
            if context.proposer.state is ProposerState.PREPARING:
                self._send_prepares()
            self._prevote.ask()
            if context.proposer.leading and not self.in_contact():
                self.stop("no quorum of voters answers")
            self.transfer.tick()
            self._plan_again()
        elif context.now_ms >= self._again_due_ms:
            self.send_heartbeats(self._contact.doubtful() if context.proposer.leading else [])
            self._plan_again()
        if self._inherit is not None:
            self._try_inherit(*self._inherit)
        if context.now_ms < self._deadline_ms:
            return
        if context.proposer.leading or not context.own_bit or self.stopping:
            self._postpone()
            self._prevote.end()
            if not self.hears_leader():
                self._forget_leader()  # or this node would send clients there for ever
            if context.quorums.voters == (context.node,):
                # Nobody else will campaign: it does as soon as it may act.
                self._deadline_ms = context.now_ms + context.options.heartbeat_ms
        elif self.hears_leader():
            self._deadline_ms = self.leader_heard_ms + context.options.election_timeout_ms
            spread_ms = ASK_SPREAD * context.options.election_timeout_ms
            self._deadline_ms += context.rng.uniform(0, spread_ms)
        else:
            self._start_prevote()

    def hears_leader(self) -> bool:
        """Whether a leader, this node itself included, is alive as far as this node knows."""
        context = self._context
        if context.proposer.leading:
            return True
        age_ms = context.now_ms - self.leader_heard_ms
        return bool(self.leader) and age_ms < context.options.election_timeout_ms

    def is_settled(self) -> bool:
        """Whether the membership in force has a leader of its own, as far as is known here."""
        return self.hears_leader() and self.leader_ballot.epoch == self._context.epoch

    def in_contact(self) -> bool:
        """Whether a quorum acknowledged this leader within the election timeout."""
        return self._context.quorums.contact_met(self._contact.acknowledging())

    # -- heartbeats

    def heartbeat(self) -> Heartbeat:
        context = self._context
        proposer = context.proposer
        proposed = proposer.next_slot - 1 if proposer.leading else 0
        return Heartbeat(
            self.leader_ballot,
            self.leader,
            context.learner.commit,
            context.outbox.stream_seq,
            context.leader_reads.round,
            proposed,
            bool(context.own_bit),
            max(0, context.wall_ms),
            context.sums,
            context.sound,
        )

    def send_heartbeats(self, audience: list[NodeId] | None = None) -> None:
        message = self.heartbeat()
        if audience is None:  # to all
            audience, self._context.sums = self._context.audience, ()
        for name in audience:
            self._context.outbox.send(name, message)

    def _plan_again(self) -> None:
        """See ``contact.py``."""
        context = self._context
        self._again_due_ms = float("inf")
        if context.proposer.leading and self._contact.doubtful():
            pause_ms = context.options.heartbeat_ms / TIMES_AS_OFTEN
            self._again_due_ms = context.now_ms + pause_ms

    def receive_heartbeat(self, sender: NodeId, message: Heartbeat) -> bool:
        """True if the sender leads and this node follows it."""
        context = self._context
        self.saw(message.ballot)
        if message.leader == sender and message.ballot.node == sender:
            if message.ballot.epoch < context.epoch:
                return False  # it leads no more: what ended its epoch is decided
            if message.ballot < context.acceptor.promised:
                context.outbox.send_synced(sender, Nack(message.ballot, context.acceptor.promised))
                return False
            self.follow(message.ballot)
            if not context.unconfirmed:  # an ack speaks of promises, which it may have forgotten
                context.outbox.send(
                    sender,
                    HeartbeatAck(
                        message.ballot,
                        message.round,
                        context.learner.commit,
                        context.sync_us,
                        context.low_space,
                    ),
                )
            return True
        if sender == self.leader and message.ballot == self.leader_ballot:
            self.leader_gone()  # this reign of it has ended, and a ballot has only one
            return False
        # Hearsay: enough to direct clients; it does not count as hearing the leader.
        newer = message.ballot > self.leader_ballot
        known_again = not self.leader and message.ballot == self.leader_ballot
        if message.leader not in ("", context.node) and (newer or known_again):
            self.leader, self.leader_ballot = message.leader, message.ballot
        return False

    def receive_heartbeat_ack(self, sender: NodeId, message: HeartbeatAck) -> bool:
        """True if it acknowledges the present reign."""
        context = self._context
        if not context.proposer.leading or message.ballot != context.proposer.ballot:
            return False
        peer = context.peers[sender]
        peer.acked_ms = context.now_ms
        peer.sync_us, peer.low_space = message.sync_us, message.low_space
        return True

    def follow(self, ballot: Ballot) -> None:
        """A leader of ``ballot``, at or above every promise made here, was heard."""
        context = self._context
        self.saw(ballot)
        leader = ballot.node
        if ballot > context.proposer.ballot and context.proposer.state is not ProposerState.IDLE:
            self.stop(f"{leader} leads with a higher ballot")
        if ballot < self.leader_ballot or ballot.epoch < context.epoch:
            return
        if ballot != self.leader_ballot or self.leader != leader:
            context.outbox.notice("leader.elected", leader=leader, ballot=ballot.shown())
        self.leader, self.leader_ballot = leader, ballot
        self.leader_heard_ms = context.now_ms
        self._prevote.end()
        self._postpone()

    def saw(self, ballot: Ballot) -> None:
        """Remember the round: this node's next ballot is above every ballot that it has met."""
        if ballot.round > self.round_seen and ballot.epoch == self._context.epoch:
            self.round_seen = ballot.round

    def leader_gone(self) -> None:
        """The connection to the leader broke, or its reign ended: ask the others soon whether they
        hear it. (Of a leader that is gone already nothing is new.)"""
        leads = self.leader == self._context.node or self._context.proposer.leading
        if leads or self.leader_heard_ms == float("-inf"):
            return
        self.leader_heard_ms = float("-inf")
        self._postpone(0.02, 0.15)

    # -- pre-vote

    def _next_ballot(self) -> Ballot:
        context = self._context
        seen = max(
            context.epoch * EPOCH_ROUNDS,
            self.round_seen,
            context.acceptor.promised.round,
            context.proposer.ballot.round,
        )
        return Ballot(seen + 1, context.node)

    def _forget_leader(self) -> None:
        """The leader has not been heard for too long."""
        if self.leader and self.leader_ballot > self._lost_ballot:
            self._lost_ballot = self.leader_ballot
            why = why_lost(self.leader_heard_ms, self._context.now_ms)
            self._context.outbox.notice("leader.lost", "warning", leader=self.leader, reason=why)
        self.leader = ""

    def _start_prevote(self) -> None:
        context = self._context
        self._forget_leader()
        if context.proposer.state is not ProposerState.IDLE:
            self.stop("phase 1 found no quorum in time")
        self._postpone(0.5, 1.5)
        self._prevote.begin(self._next_ballot())
        if self._prevote.is_granted:
            self.campaign()

    def receive_prevote(self, sender: NodeId, message: PreVote) -> None:
        context = self._context
        if context.unconfirmed:
            return
        promised = context.acceptor.promised
        granted = (
            message.ballot.epoch == context.epoch
            and message.ballot > promised
            and not self.hears_leader()
        )
        context.outbox.send_synced(
            sender, PreVoteReply(message.ballot, granted, promised, context.learner.commit)
        )

    def receive_prevote_reply(self, sender: NodeId, message: PreVoteReply) -> None:
        self.saw(message.promised)
        if self._prevote.take(sender, message):
            self.campaign()
        elif message.ballot == self._prevote.ballot <= message.promised < self._next_ballot():
            self._prevote.begin(self._next_ballot())  # of a round that this voter may grant

    # -- phase 1

    def campaign(self) -> None:
        """Take a new ballot and ask for promises. First, the own promise is made durable."""
        context = self._context
        if context.proposer.state is not ProposerState.IDLE:
            self.stop("a new campaign")
        ballot = self._next_ballot()
        if not context.own_bit or ballot.epoch != context.epoch:
            return  # no vote, or it promised under a later membership that it does not remember
        self.elections += 1
        self.leader = ""
        self._inherit = None
        self._prevote.end()
        self._postpone(1.0, 2.0)
        context.proposer.start(ballot, context.learner.commit + 1, context.now_ms)
        context.outbox.notice("election.started", ballot=ballot.shown())
        self._send_prepares()

    def _send_prepares(self) -> None:
        context = self._context
        proposer = context.proposer
        message = Prepare(proposer.ballot, proposer.prepared_from)
        if not proposer.promised_by(context.node):
            self.receive_prepare(context.node, message)
        for name in context.peers:
            if context.quorums.is_voter(name) and not proposer.promised_by(name):
                # Held until the own promise is durable, so that no restart reuses the ballot.
                context.outbox.send_synced(name, message)
                if context.outbox.tracing:
                    context.outbox.trace("prepare.sent", ballot=message.ballot.shown(), to=name)

    def receive_prepare(self, sender: NodeId, message: Prepare) -> None:
        context = self._context
        self.saw(message.ballot)
        if not context.own_bit or message.ballot.epoch != context.epoch:
            return
        bytes_max = context.options.promise_bytes_max
        peer = context.peers.get(sender)
        room = 2 * peer.message_bytes_max if peer is not None else 0
        answer = context.acceptor.receive_prepare(
            message,
            context.learner.commit,
            min(bytes_max, room) if room else bytes_max,
            context.outbox.ready.persist,
        )
        if isinstance(answer, Promise) and sender != context.node:
            if context.proposer.state is not ProposerState.IDLE:
                self.stop(f"{sender} was promised a higher ballot")
            self._prevote.end()
            self._postpone(1.0, 2.0)
        context.outbox.send_synced(sender, answer)
        if context.outbox.tracing:
            kind = "promise.sent" if isinstance(answer, Promise) else "nack.sent"
            context.outbox.trace(kind, ballot=message.ballot.shown(), to=sender)

    def receive_promise(self, sender: NodeId, message: Promise) -> None:
        context = self._context
        proposer = context.proposer
        next_slot = proposer.receive_promise(sender, message)
        for slot, ballot in proposer.contradicted():
            context.report_contradiction(slot, ballot, sender)
        if next_slot:
            page = Prepare(proposer.ballot, next_slot)
            if sender == context.node:
                self.receive_prepare(sender, page)
            else:
                context.outbox.send_synced(sender, page)
        if not proposer.prepared:
            return
        for peer in context.peers.values():
            peer.acked_ms = context.now_ms  # a full timeout to acknowledge the new reign
        learner = context.learner
        known = max(learner.known_commit, context.commit_heard)
        proposals = proposer.take_lead(
            learner.commit, context.now_ms, self._changes_members, known, learner.chosen.keys()
        )
        self.leader, self.leader_ballot = context.node, proposer.ballot
        self.leader_heard_ms = context.now_ms
        context.outbox.notice(
            "leader.elected",
            leader=context.node,
            ballot=proposer.ballot.shown(),
            adopted=len(proposals),
            from_slot=proposer.floor + 1,
        )
        if proposer.reported < known < proposer.next_slot:
            # Nothing is proposed in these slots; they are pulled, and reads wait for them.
            learner.receive_commit(UNKNOWN_BALLOT, known)
            context.outbox.notice(
                "leader.slots_missing",
                "warning",
                slots=[proposer.reported + 1, known],
                reason="they are known to be chosen, but no promise of a quorum mentions them: a "
                "later leader had them chosen, or a voter has lost votes",
            )
        self._on_lead(proposals)
        self.send_heartbeats()

    def receive_nack(self, sender: NodeId, message: Nack) -> None:
        context = self._context
        self.saw(message.promised)
        proposer = context.proposer
        if message.ballot == proposer.ballot and proposer.state is not ProposerState.IDLE:
            self.stop(f"{sender} promised a higher ballot {message.promised.shown()}")
            self._postpone(0.25, 1.0)

    # -- the end

    def stop(self, reason: str) -> None:
        """Stop leading or campaigning; the clients that wait are answered."""
        context = self._context
        if context.proposer.leading:
            ballot = context.proposer.ballot.shown()
            context.outbox.notice("leader.stepped_down", "warning", ballot=ballot, reason=reason)
        if self.leader == context.node:
            self.leader = ""
        self._on_stop(reason)
        self._postpone()

    def give_up(self, reason: str) -> None:
        """As :meth:`stop`, but other nodes may campaign first."""
        self.stop(reason)
        self._postpone(2.0, 4.0)

    def hand_over(self) -> bool:
        """A stopping leader asks its most caught-up follower to campaign; False: none is live."""
        self.stopping = True
        if not self._context.proposer.leading:
            return False
        return self._hand_over_to_best()

    def _hand_over_to_best(self) -> bool:
        live = self._contact.live_voters()
        if live:
            self.transfer.begin(live[-1])
        return bool(live)

    def receive_transfer(self, sender: NodeId, message: TransferLeadership) -> None:
        if not self.stopping and message.ballot == self.leader_ballot and sender == self.leader:
            self._inherit = message.ballot, message.slot
            self._try_inherit(*self._inherit)

    def _try_inherit(self, ballot: Ballot, slot: Slot) -> None:
        if ballot != self.leader_ballot:
            self._inherit = None
        elif self._context.learner.commit >= slot:
            self._inherit = None
            self.campaign()

    # -- a change of the membership

    def _changes_members(self, value: bytes) -> bool:
        """Whether a value adopted from an earlier ballot may change the membership."""
        if value == NOOP:
            return False
        try:
            batch = self._context.codec.decode_batch(value)
        except ValueError:
            return False  # it counts as a NOOP on every node
        return any(changes_members(entry) for entry in batch.entries)

    def on_members_changed(self, was_leading: bool) -> None:
        """Another membership is in force. A leader that still has a vote goes on; another one hands
        over to the most caught-up of the new voters and stops."""
        context = self._context
        self._prevote.end()
        self.round_seen = context.epoch * EPOCH_ROUNDS
        if was_leading and not context.own_bit:
            self._hand_over_to_best()
            self.stop("it votes no more")
        elif was_leading:
            self.renew()
        elif context.proposer.state is not ProposerState.IDLE:
            self.stop("the membership has changed")
        if context.quorums.voters == (context.node,) and context.own_bit and not was_leading:
            self._deadline_ms = context.now_ms

    def renew(self) -> None:
        """Go on leading at a new ballot; queued requests of clients wait for it."""
        self._on_pause()
        self._context.proposer.renewing = True
        self.campaign()
        if self._context.proposer.state is ProposerState.IDLE:
            self.stop("it cannot lead on")
