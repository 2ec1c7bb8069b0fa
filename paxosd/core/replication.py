"""Phase 2 for one node: propose values, accept them, count the votes.

    queue ──► propose ──► Accept to all ──► vote after fsync ──► votes of a quorum ──► chosen

What is chosen is applied by ``execution.py``. A node that misses votes asks their voter to repeat
them (VotesRequest); one that misses the value of a chosen slot pulls it (``log_exchange.py``).

In every message, ``commit`` is the last slot that the sender has applied. A node may apply a slot
as soon as it knows that the slot is chosen; no other node has to know it.

Source: Lamport, "Paxos Made Simple", sections 2.2 (phase 2), 2.3 (learning) and 3.
"""

from collections.abc import Iterable
from typing import Any

from paxosd.core.acceptor import AcceptOutcome
from paxosd.core.commands import Batch, Reign
from paxosd.core.context import Context
from paxosd.core.effects import (
    INTERRUPTED,
    NOT_LEADER,
    REFUSALS,
    Refusal,
)
from paxosd.core.execution import Execution
from paxosd.core.fair_queue import Waiting
from paxosd.core.log_exchange import LogExchange
from paxosd.core.messages import (
    Accept,
    Accepted,
    Nack,
    Votes,
    VotesRequest,
)
from paxosd.core.proposer import Proposal
from paxosd.core.resend_timer import ResendTimer
from paxosd.core.types import EPOCH_ROUNDS, NOOP, UNKNOWN_BALLOT, Ballot, NodeId, Slot
from paxosd.core.work import PROPOSED_BYTES_MAX

UNCOUNTED_BYTES = 1 << 10
UNCOUNTED_OPEN = 16
"""Proposals smaller than this are not counted as being on their way while at most so many are
open. Together they are small, and counting one costs as much as sending it."""

_WHY_REFUSED = {
    AcceptOutcome.NACKED: "a higher ballot was promised",
    AcceptOutcome.CHOSEN: "the slot was applied already; its value is sent",
    AcceptOutcome.TOO_FAR: "too far above what was applied here",
    AcceptOutcome.CONTRADICTS: "another value was accepted at this ballot",
}


class Replication:
    """The second phase of one node, as proposer, acceptor and learner."""

    __slots__ = (
        "_context",
        "_exchange",
        "_execution",
        "_resend_due_ms",
        "_resend_timer",
        "_stamp_ms",
        "_stopwatch_began_ms",
        "log_full",
        "skipped",
        "turn_bytes",
    )  # fmt: skip

    def __init__(self, context: Context, execution: Execution, exchange: LogExchange) -> None:
        self._context = context
        self._execution = execution
        self._exchange = exchange
        self.log_full = False
        """Whether so much waits for the disk that nothing more may be proposed."""
        self.skipped = False
        """Whether a proposal was not sent to some peer because its way there is full."""
        self.turn_bytes = 0
        """How many bytes were proposed since the last tick."""
        self._stamp_ms = 0
        """At feature level 0, the log time of the last batch proposed. It never goes backward
        within a reign; between reigns the applied log time sees to that."""
        self._stopwatch_began_ms: float | None = None
        """When this node knew that it had applied a batch of its present reign. Before that its
        batches are stamped 0: in a slot below the first of them there may still be one of an old
        leader, proposed a moment ago, whose time is counted as well (``core/state/log_clock.py``).
        """
        self._resend_timer = ResendTimer(context.options.retransmit_ms)
        self._resend_due_ms = float("inf")
        """No accept is to be sent again before that."""

    # -- proposing

    def propose_waiting(self) -> None:
        """Propose queued entries in the next slots, while the window and this turn have room."""
        context = self._context
        proposer = context.proposer
        while proposer.may_propose() and self.turn_bytes < PROPOSED_BYTES_MAX and not self.log_full:
            self._propose(proposer.next_entries())

    def propose_time(self) -> None:
        """Propose a batch without entries in the next slot, so that log time goes on. Only while
        :attr:`is_idle`."""
        self._propose([])

    @property
    def is_idle(self) -> bool:
        """Whether this node leads and nothing is under way, and nothing keeps it from proposing."""
        context = self._context
        proposer = context.proposer
        return (
            proposer.leading
            and not proposer.open
            and not proposer.queue.bytes
            and not proposer.barrier
            and not proposer.held
            and not self.log_full
            and context.machine.applied == proposer.next_slot - 1
        )

    def _propose(self, taken: list[Waiting]) -> None:
        context = self._context
        stamp_ms, reign = self._time()
        value = context.codec.encode_batch(stamp_ms, [w.blob for w in taken], reign)
        assert value != NOOP
        batch = Batch(stamp_ms, [w.entry for w in taken], reign)
        tokens = [w.token for w in taken]
        proposal = context.proposer.propose(value, batch, tokens, context.now_ms)
        self.turn_bytes += len(value)
        self._send_accept(proposal)

    def begin_turn(self) -> None:
        """A turn begins: it may propose ``PROPOSED_BYTES_MAX`` again."""
        self.turn_bytes = 0
        if self._stopwatch_began_ms is None and self._context.proposer.leading:
            self._start_stopwatch()

    def _start_stopwatch(self) -> None:
        context = self._context
        if Ballot(*context.machine.latest_reign[:2]) == context.proposer.ballot:
            self._stopwatch_began_ms = context.now_ms

    def may_go_on(self) -> bool:
        """Whether the next turn can propose more at once."""
        return self.turn_bytes > 0 and self._context.proposer.may_propose() and not self.log_full

    def _time(self) -> tuple[int, Reign | None]:
        """The time of a batch proposed now, in a form that every member understands."""
        context = self._context
        wall_ms = max(0, context.wall_ms)
        if context.machine.settings.level:
            began_ms = self._stopwatch_began_ms
            elapsed_ms = 0 if began_ms is None else max(0, int(context.now_ms - began_ms))
            return wall_ms, Reign(*context.proposer.ballot, elapsed_ms)
        self._stamp_ms = max(self._stamp_ms, wall_ms, context.machine.log_time_ms)
        return self._stamp_ms, None

    def stopwatch_ms(self, latest: Reign) -> float:
        """The monotonic time of this node at which it proposed the batch with ``latest``; the
        beginning of time, if that was another reign."""
        own = Ballot(*latest[:2]) == self._context.proposer.ballot
        if not own or self._stopwatch_began_ms is None:
            return float("-inf")
        return self._stopwatch_began_ms + latest.elapsed_ms

    def lead(self, proposals: list[Proposal]) -> None:
        """A reign begins: finish the proposals that earlier ballots may have begun."""
        context = self._context
        self._exchange.restart_patience()
        self._stopwatch_began_ms = None
        # Slots up to the floor are chosen, but this node may not know their values: they are
        # pulled. The ballot of the choice is unknown. It may be above this reign's ballot if a
        # promise was delayed, so no value held here may count as the chosen one for this reason.
        context.learner.receive_commit(UNKNOWN_BALLOT, context.proposer.floor)
        for proposal in proposals:
            self._send_accept(proposal)

    def _send_accept(self, proposal: Proposal) -> None:
        """Send a proposal to all peers. This node's own acceptor handles the same message."""
        context = self._context
        due_ms = context.now_ms + self._resend_timer.patience_ms(proposal.sendings)
        self._resend_due_ms = min(self._resend_due_ms, due_ms)
        ballot = context.proposer.ballot
        message = Accept(ballot, proposal.slot, proposal.value, context.learner.commit)
        for name in context.audience:
            self._offer(name, message)
        if context.outbox.tracing:
            context.outbox.trace(
                "accept.sent", ballot=ballot.shown(), slot=proposal.slot, bytes=len(proposal.value)
            )
        if context.own_bit:
            self._accept(context.node, message)

    def _offer(self, name: NodeId, message: Accept) -> None:
        """Send a proposal, or skip it for now if too much is on its way to the peer."""
        context = self._context
        peer = context.peers[name]
        slot, size = message.slot, len(message.value)
        options = context.options
        if slot > peer.commit + options.accept_ahead_slots_max + options.window_slots_max:
            return  # its acceptor would refuse it: it must catch up first
        if size < UNCOUNTED_BYTES and len(context.proposer.open) <= UNCOUNTED_OPEN:
            context.outbox.send(name, message)
        elif peer.flow.fits(size):
            peer.flow.sent(slot, size, context.now_ms)
            context.outbox.send(name, message)
        else:
            peer.flow.skipped = self.skipped = True

    def send_skipped(self) -> None:
        """Send the skipped proposals, as many as fit now."""
        context = self._context
        proposer = context.proposer
        self.skipped = False
        for name in context.audience:
            flow = context.peers[name].flow
            if not flow.skipped:
                continue
            flow.skipped = False
            bit = context.quorums.bit.get(name, 0)
            for slot, proposal in proposer.open.items() if proposer.leading else ():
                if flow.carries(slot) or context.learner.voted(slot, proposer.ballot) & bit:
                    continue
                commit = context.learner.commit
                self._offer(name, Accept(proposer.ballot, slot, proposal.value, commit))
                if flow.skipped:
                    break

    def stop(self, reason: str) -> None:
        """The reign or campaign ends: answer its clients. A request in flight may still commit."""
        context = self._context
        queued, in_flight = context.proposer.stop()
        context.leader_reads.stop()
        never = Refusal(NOT_LEADER, f"{REFUSALS[NOT_LEADER]} ({reason})", "")
        for waiting in queued:
            context.outbox.reply(waiting.token, never)
        self._interrupt(in_flight, reason)

    def pause(self) -> None:
        """The reign ends and this node campaigns again at once: queued requests wait for that."""
        self._interrupt(self._context.proposer.pause(), "the membership has changed")
        self._context.leader_reads.stop()

    def _interrupt(self, tokens: list[Any], reason: str) -> None:
        maybe = Refusal(INTERRUPTED, f"{REFUSALS[INTERRUPTED]} ({reason})", "")
        for token in tokens:
            self._context.outbox.reply(token, maybe)

    def next_due_ms(self) -> float:
        """When :meth:`retransmit` next has something to do; inf: not as long as nothing is sent."""
        return self._resend_due_ms

    def retransmit(self) -> None:
        """Repeat accept requests to voters whose votes have not arrived; see
        ``resend_timer.py``."""
        context = self._context
        proposer = context.proposer
        if context.now_ms < self._resend_due_ms:
            return
        self._resend_due_ms = float("inf")
        if not proposer.leading:
            return
        for proposal in proposer.open.values():
            due_ms = proposal.sent_ms + self._resend_timer.patience_ms(proposal.sendings)
            if due_ms <= context.now_ms:
                self._resend(proposal)
                due_ms = context.now_ms + self._resend_timer.patience_ms(proposal.sendings)
            self._resend_due_ms = min(self._resend_due_ms, due_ms)

    def _resend(self, proposal: Proposal) -> None:
        context = self._context
        ballot = context.proposer.ballot
        proposal.sent_ms = context.now_ms
        proposal.sendings += 1
        message = Accept(ballot, proposal.slot, proposal.value, context.learner.commit)
        held = context.acceptor.accepted.get(proposal.slot)
        if context.own_bit and (held is None or held[0] != ballot):
            # This leader was far behind, so that its own acceptor refused at first (TOO_FAR).
            self._accept(context.node, message)
        voted = context.learner.voted(proposal.slot, ballot)
        for name, bit in context.quorums.bit.items():
            if voted & bit or name == context.node:
                continue
            if not context.peers[name].flow.carries(proposal.slot):
                self._offer(name, message)

    def _note_answered(self, message: Accepted) -> None:
        """Another node voted for this leader's proposals: measure how long that took."""
        context = self._context
        proposer = context.proposer
        if message.ballot != proposer.ballot:
            return
        for first, last in message.ranges:
            for slot in range(first, min(last, first + context.options.window_slots_max) + 1):
                proposal = proposer.open.get(slot)
                if proposal is not None and not proposal.answered:
                    proposal.answered = True
                    took_ms = context.now_ms - proposal.sent_ms
                    self._resend_timer.answered(took_ms, proposal.sendings)

    def check_flows(self) -> None:
        """Stop counting what has been on its way for too long."""
        context = self._context
        for peer in context.peers.values():
            peer.flow.expire(context.now_ms, context.options.retransmit_ms)

    def overtaken(self) -> Slot:
        """The highest slot that is known to be chosen although this leader never proposed in it;
        0: there is none.

        This happens only if an acceptor lost its memory or a later leader is at work. While a
        change of the membership is in flight the answer is 0: that slot ends the reign anyway."""
        context = self._context
        proposer = context.proposer
        if not proposer.leading or proposer.barrier:
            return 0
        top = max(context.learner.top_chosen, context.commit_heard)
        return top if top >= proposer.next_slot else 0

    # -- accepting

    def receive_accept(self, sender: NodeId, message: Accept) -> bool:
        """An accept request. True if its ballot is at or above every promise of this node, so that
        the sender counts as leader."""
        context = self._context
        if context.outbox.tracing:
            context.outbox.trace(
                "accept.received",
                ballot=message.ballot.shown(),
                slot=message.slot,
                **{"from": sender},
            )
        if message.ballot < context.acceptor.promised:
            context.outbox.send_synced(sender, Nack(message.ballot, context.acceptor.promised))
            if context.outbox.tracing:
                self._trace_refused(sender, message, AcceptOutcome.NACKED)
            return False
        if message.ballot.round // EPOCH_ROUNDS < context.membership.epoch:
            # The leader does not know yet what ended its epoch. A vote would not count.
            self._exchange.serve(sender, message.slot, context.learner.commit)
            return False
        if context.own_bit:
            self._accept(sender, message)
        else:
            context.learner.hear_proposal(
                message.slot, message.ballot, message.value, context.acceptor.ahead_bytes_max
            )
        context.learner.receive_commit(message.ballot, message.commit)
        self._execution.advance()
        return True

    def _accept(self, sender: NodeId, message: Accept) -> None:
        context = self._context
        decided = context.learner.decided.get(message.slot)
        if decided is not None and message.ballot < decided[0]:
            # The slot is chosen, and known here under a higher ballot. The proposal may hold
            # another value; its record would be the slot's newest, and a CommitRecord says that
            # the newest record holds the chosen value.
            return
        outcome = context.acceptor.receive_accept(
            message.ballot, message.slot, message.value, context.outbox.ready.persist
        )
        if outcome is AcceptOutcome.VOTED:
            context.outbox.vote(message.slot, message.ballot)
        elif outcome is AcceptOutcome.NACKED:
            context.outbox.send_synced(sender, Nack(message.ballot, context.acceptor.promised))
        elif outcome is AcceptOutcome.CHOSEN and sender != context.node:
            self._exchange.serve(sender, message.slot, message.slot)
        elif outcome is AcceptOutcome.CONTRADICTS:
            own = context.acceptor.accepted[message.slot][1]
            context.contradict(message.slot, message.ballot, sender, own, message.value)
        if context.outbox.tracing and outcome is not AcceptOutcome.VOTED:
            self._trace_refused(sender, message, outcome)

    def _trace_refused(self, sender: NodeId, message: Accept, outcome: AcceptOutcome) -> None:
        self._context.outbox.trace(
            "accept.refused",
            ballot=message.ballot.shown(),
            slot=message.slot,
            reason=_WHY_REFUSED[outcome],
            promised=self._context.acceptor.promised.shown(),
            **{"from": sender},
        )

    # -- learning

    def receive_accepted(self, sender: NodeId, run_id: int, message: Accepted) -> None:
        """Count published votes. A gap in the stream's numbers shows that votes are missing."""
        context = self._context
        learner = context.learner
        news = False
        other = sender != context.node
        if other and context.proposer.leading:
            self._note_answered(message)
        for first, last in message.ranges:
            news |= learner.receive_votes(sender, message.ballot, first, last)
        if other and context.peers[sender].flow.in_flight:
            self._note_arrived(sender, message.ranges)
        if context.outbox.tracing:
            context.outbox.trace(
                "accepted.received",
                ballot=message.ballot.shown(),
                slots=[list(r) for r in message.ranges],
                **{"from": sender},
            )
        if other and learner.stream_gap(sender, run_id, message.stream_seq):
            self._ask_votes(sender)
        if news:
            self._execution.advance()

    def _note_arrived(self, sender: NodeId, ranges: Iterable[tuple[Slot, Slot]]) -> None:
        """A voter has received the proposals of these slots: they are no longer on their way."""
        context = self._context
        flow = context.peers[sender].flow
        for first, last in ranges:
            if last - first <= context.options.accept_ahead_slots_max:
                for slot in range(first, last + 1):
                    flow.arrived(slot, context.now_ms)

    def receive_votes(self, sender: NodeId, run_id: int, message: Votes) -> None:
        """Count votes that were repeated on request."""
        context = self._context
        learner = context.learner
        for ballot, first, last in message.votes:
            learner.receive_votes(sender, ballot, first, last)
        if context.peers[sender].flow.in_flight:
            self._note_arrived(sender, [(first, last) for _, first, last in message.votes])
        learner.stream_repaired(sender, run_id, message.stream_seq)
        self._execution.advance()

    def receive_votes_request(self, sender: NodeId, message: VotesRequest) -> None:
        """Repeat votes. Like every message about the acceptor's memory, it leaves only once all
        earlier records are durable."""
        context = self._context
        votes = context.acceptor.votes(message.from_slot)
        context.outbox.send_synced(
            sender, Votes(votes, context.outbox.stream_seq, context.learner.commit)
        )

    def receive_stream_mark(self, sender: NodeId, run_id: int, seq: int) -> None:
        """A heartbeat holds the number of the last message in the sender's vote stream."""
        if self._context.learner.stream_lost_tail(sender, run_id, seq):
            self._ask_votes(sender)

    def ask_all_votes(self) -> None:
        """Other nodes vote now: ask for the votes that they cast before and that did not count."""
        for name in self._context.peers:
            if self._context.quorums.is_voter(name):
                self._ask_votes(name)

    def _ask_votes(self, voter: NodeId) -> None:
        context = self._context
        peer = context.peers.get(voter)
        if peer is None or context.now_ms - peer.votes_asked_ms < context.options.pull_after_ms:
            return
        peer.votes_asked_ms = context.now_ms
        first = context.learner.commit + 1
        context.outbox.send(voter, VotesRequest(first))
        if context.outbox.tracing:
            context.outbox.trace("accepted.gap", slot=first, to=voter)
