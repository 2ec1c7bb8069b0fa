"""Phase 2 and learning, for one node: propose, accept, count votes, apply, find what is missed.

    queue ──► propose ──► Accept to all ──► vote after fsync ──► votes of a quorum ──► chosen
                                                                                        │
    client ◄── reply ◄── apply in slot order ◄── contiguous prefix with values ◄────────┘

Chosen slots are applied in pieces: a turn of the loop that has applied ``apply_commands_max``
commands, or a few more, leaves the rest for the next one, and so does a node whose watchers have
yet to be sent what was applied. ``commit`` means applied, here as in every message: nobody else has
to know.

A node that misses votes asks their voter to repeat them (VotesRequest); one that misses the
value of a chosen slot pulls it (CatchUp → Decisions, served from the other's log).

Source: Lamport, "Paxos Made Simple", sections 2.2 (phase 2), 2.3 (learning) and 3.
"""

from collections.abc import Callable, Iterable
from typing import Any

from paxosd.core.acceptor import AcceptOutcome
from paxosd.core.commands import Batch, Reign
from paxosd.core.comparison import chain_after
from paxosd.core.context import Context
from paxosd.core.effects import (
    INTERRUPTED,
    NOT_LEADER,
    REFUSALS,
    Applied,
    CommitRecord,
    DecisionRecord,
    Refusal,
    ServeLog,
    WriteReply,
)
from paxosd.core.messages import (
    Accept,
    Accepted,
    CatchUp,
    Decisions,
    Nack,
    Votes,
    VotesRequest,
)
from paxosd.core.proposer import Proposal
from paxosd.core.types import NOOP, UNKNOWN_BALLOT, Ballot, NodeId, Slot
from paxosd.core.work import PROPOSED_BYTES_MAX

LONG_GAP_SLOTS = 10
"""A catch-up of more than this is worth a line in the log when it is done."""

UNCOUNTED_BYTES = 1 << 10
UNCOUNTED_OPEN = 16
"""Proposals smaller than this are not counted on their way while no more than so many are open:
all of them together are little, and to count costs as much as to send."""

PATIENCE_MAX_MS = 1000.0
"""No answer is waited for longer before it is asked for again, however long the last ones took: an
outage is not a slow link, and what is on its way is not sent twice (``flow.py``)."""

ASK_THE_SAME = 3.0
"""So many times as long as an answer may take the same node is asked for it again."""

_WHY_REFUSED = {
    AcceptOutcome.NACKED: "a higher ballot was promised",
    AcceptOutcome.CHOSEN: "the slot was applied already; its value is sent",
    AcceptOutcome.TOO_FAR: "too far above what was applied here",
    AcceptOutcome.CONTRADICTS: "another value was accepted at this ballot",
}


class Replication:
    """The accept and learn phases of one node."""

    __slots__ = (
        "_behind_commit",
        "_catch_up",
        "_commit_recorded",
        "_context",
        "_on_members",
        "_pull_answer_ms",
        "_pull_asked_ms",
        "_pull_first_ms",
        "_pull_from",
        "_pull_source",
        "_reign_began_ms",
        "_stamp_ms",
        "_stuck_since_ms",
        "_stuck_slot",
        "_words",
        "applied",
        "held",
        "log_full",
        "pausing",
        "pull_next",
        "skipped",
        "turn_bytes",
        "units",
        "want_applied",
    )  # fmt: skip

    def __init__(self, context: Context, on_members: Callable[[bool], None]) -> None:
        """``on_members`` is called when the slot that a change of the membership was waited for in
        is applied; with False if it changed nothing after all."""
        self._context = context
        self._on_members = on_members
        self.applied: Slot = context.learner.commit
        self._words: dict[Slot, dict[NodeId, bytes]] = {}
        """What each node says was chosen in a slot of which two nodes hold different values."""
        """Equal to the learner's commit index between two steps."""
        self.want_applied = False
        self.log_full = False
        """Whether so much waits for the disk that nothing more is to be proposed."""
        self.skipped = False
        """Whether some proposal did not fit on the way to a peer."""
        self.turn_bytes = 0
        """What was proposed since the last tick."""
        self._commit_recorded: Slot = context.learner.commit
        self._stamp_ms = 0
        """At level 0, log time of the last batch proposed: never goes backward within a reign;
        between reigns the applied log time sees to it."""
        self._reign_began_ms = 0.0
        self._stuck_since_ms: float | None = None
        self._stuck_slot: Slot = 0
        self._pull_asked_ms = float("-inf")
        self._pull_from: Slot = 0
        """Where the last question began, from when on that was asked for, and of whom."""
        self._pull_first_ms = 0.0
        self._pull_source: NodeId = ""
        self._pull_answer_ms = 0.0
        """How long answers took of late: over a slow link a question is not soon answered."""
        self._behind_commit: Slot = -1
        """The commit index at the last check for being behind a peer."""
        self.units = 0
        """What this turn has applied; its end sets it back."""
        self.held = False
        """Whether slots whose values are at hand wait for a later turn to be applied."""
        self.pausing = False
        """Whether nothing is to be applied for now, but for the sake of the shell."""
        self.pull_next: tuple[NodeId, Decisions] | None = None
        """Whom to ask for more once all that is at hand is applied, and what it sent last."""
        self._catch_up: tuple[Slot, Slot, float] | None = None
        """A catch-up worth a line in the log: from, to, since when."""

    # -- proposing

    def propose_waiting(self) -> None:
        """Put what waits into slots, while the window has room, and this turn."""
        context = self._context
        proposer = context.proposer
        while proposer.may_propose() and self.turn_bytes < PROPOSED_BYTES_MAX and not self.log_full:
            taken = proposer.next_entries()
            stamp_ms, reign = self._time()
            value = context.codec.encode_batch(stamp_ms, [w.blob for w in taken], reign)
            assert value != NOOP
            batch = Batch(stamp_ms, [w.entry for w in taken], reign)
            proposal = proposer.propose(value, batch, [w.token for w in taken], context.now_ms)
            self.turn_bytes += len(value)
            self._send_accept(proposal)

    def may_go_on(self) -> bool:
        """Whether the next turn has more to propose, at once."""
        return self.turn_bytes > 0 and self._context.proposer.may_propose() and not self.log_full

    def _time(self) -> tuple[int, Reign | None]:
        """The time of a batch proposed now, in the form that every member understands."""
        context = self._context
        wall_ms = max(0, context.wall_ms)
        if context.machine.settings.level:
            elapsed_ms = int(context.now_ms - self._reign_began_ms)
            return wall_ms, Reign(*context.proposer.ballot, max(0, elapsed_ms))
        self._stamp_ms = max(self._stamp_ms, wall_ms, context.machine.log_time_ms)
        return self._stamp_ms, None

    def lead(self, proposals: list[Proposal]) -> None:
        """A reign begins: finish what earlier ballots may have begun."""
        context = self._context
        self._stuck_since_ms = None  # each reign has its time to learn what is below its floor
        self._reign_began_ms = context.now_ms
        # Slots up to the floor are chosen, but perhaps not known here: have them pulled. At
        # which ballot is not known, and it may be above this one, if a promise was delayed:
        # so no value held here, now or later, counts as the chosen one on this ground.
        context.learner.receive_commit(UNKNOWN_BALLOT, context.proposer.floor)
        for proposal in proposals:
            self._send_accept(proposal)

    def _send_accept(self, proposal: Proposal) -> None:
        """To all peers at once; this node's own acceptor takes the same path as theirs."""
        context = self._context
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
        """Send a proposal, or leave it for later if too much is on its way there."""
        context = self._context
        peer = context.peers[name]
        slot, size = message.slot, len(message.value)
        options = context.options
        if slot > peer.commit + options.accept_ahead_slots_max + options.window_slots_max:
            return  # it would not take it: it must catch up first
        if size < UNCOUNTED_BYTES and len(context.proposer.open) <= UNCOUNTED_OPEN:
            context.outbox.send(name, message)
        elif peer.flow.fits(size):
            peer.flow.sent(slot, size, context.now_ms)
            context.outbox.send(name, message)
        else:
            peer.flow.skipped = self.skipped = True

    def send_skipped(self) -> None:
        """Send the proposals that did not fit, as far as they fit now."""
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
        """The reign or campaign ends: tell the clients which requests may still commit."""
        context = self._context
        queued, in_flight = context.proposer.stop()
        context.leader_reads.stop()
        never = Refusal(NOT_LEADER, f"{REFUSALS[NOT_LEADER]} ({reason})", "")
        for waiting in queued:
            context.outbox.reply(waiting.token, never)
        self._interrupt(in_flight, reason)

    def pause(self) -> None:
        """The reign ends, and another of this node follows at once: what is queued waits for it."""
        self._interrupt(self._context.proposer.pause(), "the membership has changed")
        self._context.leader_reads.stop()

    def _interrupt(self, tokens: list[Any], reason: str) -> None:
        maybe = Refusal(INTERRUPTED, f"{REFUSALS[INTERRUPTED]} ({reason})", "")
        for token in tokens:
            self._context.outbox.reply(token, maybe)

    def retransmit(self) -> None:
        """Send accepts again to voters whose votes have not come."""
        context = self._context
        proposer = context.proposer
        if not proposer.leading:
            return
        due = context.now_ms - context.options.retransmit_ms
        accepted = context.acceptor.accepted
        for proposal in proposer.open.values():
            if proposal.sent_ms > due:
                continue
            proposal.sent_ms = context.now_ms
            message = Accept(proposer.ballot, proposal.slot, proposal.value, context.learner.commit)
            held = accepted.get(proposal.slot)
            if context.own_bit and (held is None or held[0] != proposer.ballot):
                # A leader that was far behind: its acceptor refused (TOO_FAR) at first.
                self._accept(context.node, message)
            voted = context.learner.voted(proposal.slot, proposer.ballot)
            for name, bit in context.quorums.bit.items():
                if voted & bit or name == context.node:
                    continue
                if not context.peers[name].flow.carries(proposal.slot):
                    self._offer(name, message)

    def check_flows(self) -> None:
        """Give up what is on its way for too long."""
        context = self._context
        for peer in context.peers.values():
            peer.flow.expire(context.now_ms, context.options.retransmit_ms)

    # -- accepting

    def receive_accept(self, sender: NodeId, message: Accept) -> bool:
        """True if the sender leads at or above every promise made here."""
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
        if message.ballot.epoch < context.epoch:
            # Of a leader that does not know yet what ended its epoch: a vote would not count.
            self._serve(sender, message.slot, context.learner.commit)
            return False
        if context.own_bit:
            self._accept(sender, message)
        else:
            context.learner.hear_proposal(
                message.slot, message.ballot, message.value, context.acceptor.ahead_bytes_max
            )
        context.learner.receive_commit(message.ballot, message.commit)
        self.advance()
        return True

    def _accept(self, sender: NodeId, message: Accept) -> None:
        context = self._context
        decided = context.learner.decided.get(message.slot)
        if decided is not None and message.ballot < decided[0]:
            # Chosen at or below a ballot above this one: the proposal can be another value, and
            # its record would be the slot's newest, which is what CommitRecord vouches for.
            return
        outcome = context.acceptor.receive_accept(
            message.ballot, message.slot, message.value, context.outbox.ready.persist
        )
        if outcome is AcceptOutcome.VOTED:
            context.outbox.vote(message.slot, message.ballot)
        elif outcome is AcceptOutcome.NACKED:
            context.outbox.send_synced(sender, Nack(message.ballot, context.acceptor.promised))
        elif outcome is AcceptOutcome.CHOSEN and sender != context.node:
            self._serve(sender, message.slot, message.slot)
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
        """Count published votes; ask for what a gap in their numbers shows to be missing."""
        context = self._context
        learner = context.learner
        news = False
        for first, last in message.ranges:
            news |= learner.receive_votes(sender, message.ballot, first, last)
        if sender != context.node:
            self._note_arrived(sender, message.ranges)
        if context.outbox.tracing:
            context.outbox.trace(
                "accepted.received",
                ballot=message.ballot.shown(),
                slots=[list(r) for r in message.ranges],
                **{"from": sender},
            )
        if sender != context.node and learner.stream_gap(sender, run_id, message.stream_seq):
            self._ask_votes(sender)
        if news:
            self.advance()

    def _note_arrived(self, sender: NodeId, ranges: Iterable[tuple[Slot, Slot]]) -> None:
        """A voter has these slots' proposals: they are on their way no more."""
        context = self._context
        flow = context.peers[sender].flow
        if not flow.in_flight:
            return
        for first, last in ranges:
            if last - first <= context.options.accept_ahead_slots_max:
                for slot in range(first, last + 1):
                    flow.arrived(slot, context.now_ms)

    def receive_votes(self, sender: NodeId, run_id: int, message: Votes) -> None:
        context = self._context
        learner = context.learner
        for ballot, first, last in message.votes:
            learner.receive_votes(sender, ballot, first, last)
        self._note_arrived(sender, [(first, last) for _, first, last in message.votes])
        learner.stream_repaired(sender, run_id, message.stream_seq)
        self.advance()

    def receive_votes_request(self, sender: NodeId, message: VotesRequest) -> None:
        """Repeat votes; like every word about the acceptor's memory, only once durable."""
        context = self._context
        votes = context.acceptor.votes(message.from_slot)
        context.outbox.send_synced(
            sender, Votes(votes, context.outbox.stream_seq, context.learner.commit)
        )

    def receive_stream_mark(self, sender: NodeId, run_id: int, seq: int) -> None:
        """A heartbeat told how far the sender's vote stream has come."""
        if self._context.learner.stream_lost_tail(sender, run_id, seq):
            self._ask_votes(sender)

    def ask_all_votes(self) -> None:
        """Other voters decide now: what they have voted for so far did not count here."""
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

    def advance(self) -> None:
        """Apply what has become the next of the chosen prefix, as far as this turn may."""
        context = self._context
        learner = context.learner
        if context.diverged:
            self.held = False
            return  # on top of a wrong state everything is wrong
        units_max = context.options.apply_commands_max
        while True:
            if self.units >= units_max or self.pausing:
                self.held = learner.has_next(context.acceptor.accepted)
                return
            told = context.contradiction  # if it is open, that is: else its slot is not the next
            if told and told.slot == learner.commit + 1 and told.slot not in learner.decided:
                break  # the value that it holds may be the wrong one
            found = learner.next_chosen(context.acceptor.accepted)
            if found is None:
                break
            self._apply(*found)
        self.held = False

    def resume(self) -> None:
        """Go on with what an earlier turn left, and then with catching up."""
        if self.held:
            self.advance()
        if self.pull_next is not None and not self.held:
            pulled, self.pull_next = self.pull_next, None
            self._pull_on(*pulled)

    def _apply(self, slot: Slot, ballot: Ballot, value: bytes) -> None:
        context = self._context
        if context.outbox.tracing:
            context.outbox.trace("chosen", slot=slot, ballot=ballot.shown())
        if context.learner.unlogged:
            context.outbox.persist(DecisionRecord(slot, ballot, value))
        proposal = context.proposer.close(slot)
        ours = proposal is not None and proposal.value == value
        batch = proposal.batch if proposal is not None and ours else None
        if batch is None and value != NOOP:
            try:
                batch = context.codec.decode_batch(value)
            except ValueError as error:
                # The same bytes are refused alike on every node: it counts as a NOOP on all.
                context.outbox.notice("storage.bad_value", "error", slot=slot, error=str(error))
        version = context.machine.settings.version
        results = context.machine.apply(slot, batch, value)
        self.units += 1 + sum(map(len, results))
        if context.machine.settings.version != version:
            self._tell_settings(slot)
        context.acceptor.release(slot)
        self.applied = slot
        if proposal is not None and proposal.tokens:
            if ours:
                for token, entry_results in zip(proposal.tokens, results, strict=True):
                    context.outbox.reply(token, WriteReply(slot, entry_results))
            else:
                refusal = Refusal(INTERRUPTED, REFUSALS[INTERRUPTED], "")
                for token in proposal.tokens:
                    context.outbox.reply(token, refusal)
        if self.want_applied:
            context.outbox.ready.applied.append(Applied(slot, ballot, value, batch))
        if context.outbox.tracing:
            context.outbox.trace("applied", slot=slot, ballot=ballot.shown())
        changed = context.machine.membership.epoch != context.epoch
        if changed or slot == context.proposer.barrier:
            self._on_members(changed)

    def _tell_settings(self, slot: Slot) -> None:
        settings = self._context.machine.settings
        self._context.outbox.notice(
            "cluster.settings",
            version=settings.version,
            feature_level=settings.level,
            from_slot=slot + 1,
            settings=settings.document(),
        )

    def install(self, slot: Slot) -> None:
        """The machine was brought to ``slot`` by a snapshot, which is durable: go on from there."""
        context = self._context
        assert context.machine.applied == slot > self.applied
        for each in sorted(each for each in context.proposer.open if each <= slot):
            # What became of it is in the snapshot, but not by whose proposal.
            proposal = context.proposer.close(each)
            for token in proposal.tokens if proposal is not None else ():
                context.outbox.reply(token, Refusal(INTERRUPTED, REFUSALS[INTERRUPTED], ""))
        context.learner.install(slot)
        context.acceptor.install(slot)
        self.applied = slot
        self._commit_recorded = slot
        self._stuck_since_ms = None
        self._tell_caught_up()
        if context.machine.membership.epoch != context.epoch:
            self._on_members(True)
        self.advance()

    def record_commit(self, *, alone: bool) -> None:
        """Let the commit index ride along with other records, or on its own now and then."""
        context = self._context
        commit = context.learner.commit
        if commit > self._commit_recorded and (alone or context.outbox.ready.persist):
            self._commit_recorded = commit
            context.outbox.persist(CommitRecord(commit))

    # -- catching up

    def receive_catch_up(self, sender: NodeId, message: CatchUp) -> None:
        context = self._context
        context.peers[sender].flow.arrived_up_to(message.from_slot - 1, context.now_ms)
        self._serve(sender, message.from_slot, message.to_slot)

    def _serve(self, to: NodeId, first: Slot, last: Slot) -> None:
        context = self._context
        if context.diverged:
            return  # its log may be what is wrong
        flow = context.peers[to].flow
        top = min(last, context.learner.commit, first + context.options.catch_up_slots_max - 1)
        room = 0 if flow.carries(first) else flow.room
        if first <= top and room:
            commit, before = context.learner.commit, chain_after(context.machine, first - 1)
            context.outbox.ready.serves.append(ServeLog(to, first, top, commit, before, room))
            if context.outbox.tracing:
                context.outbox.trace("catchup.served", slots=[first, top], to=to)

    def receive_decisions(self, sender: NodeId, message: Decisions) -> None:
        context = self._context
        if context.diverged:
            return
        if not self._is_settled(sender, message):
            return
        for slot, ballot, value in context.learner.receive_decisions(message):
            held = context.acceptor.accepted.get(slot)
            # Also where the value is held under a lower ballot: whoever is served this record
            # must see a ballot no lower than that of the choice, or a deposed leader among
            # them would not notice that it is deposed.
            if held is None or held[0] < ballot or held[1] != value:
                context.outbox.persist(DecisionRecord(slot, ballot, value))
        commit = context.learner.commit
        self.advance()
        if context.learner.commit != commit and message.first_slot == self._pull_from:
            took_ms = context.now_ms - self._pull_first_ms
            self._pull_answer_ms = (self._pull_answer_ms + took_ms) / 2
        if self.held:
            self.pull_next = sender, message
        elif context.learner.commit != commit:  # a repeat perhaps: asking could go on for ever
            self._pull_on(sender, message)

    def _pull_on(self, sender: NodeId, message: Decisions) -> None:
        """All that was pulled is applied: pull what comes next, if that is more than a little."""
        context = self._context
        self._pull_asked_ms = float("-inf")
        self._tell_caught_up()
        if message.commit > context.learner.commit + len(message.values):
            self._pull(context.learner.commit + 1, message.commit, sender)

    def _is_settled(self, sender: NodeId, message: Decisions) -> bool:
        """Whether nothing of it contradicts what this node holds, or a majority of the voters, this
        node among them or not, has the same value there as the sender."""
        context = self._context
        accepted = context.acceptor.accepted
        for old in [slot for slot in self._words if slot <= context.learner.commit]:
            del self._words[old]
        settled = True
        told = context.open_contradiction
        for slot, (ballot, value) in enumerate(message.values, message.first_slot):
            if context.acceptor.contradicts(slot, ballot, value):
                context.contradict(slot, ballot, sender, accepted[slot][1], value)
            elif told is None or slot != told.slot:
                continue
            words = self._words.setdefault(slot, {})
            words[sender] = value
            if slot in accepted:
                words[context.node] = accepted[slot][1]
            voters = context.quorums.voters
            same = sum(words.get(name) == value for name in voters)
            settled = settled and 2 * same > len(voters)
        return settled

    def check_missing(self) -> None:
        """Pull the values of slots known to be chosen, if they do not come by themselves."""
        context = self._context
        known = context.diverged or self.held  # what waits to be applied is not missing
        missing = None if known else context.learner.missing()
        if missing is None:
            self._stuck_since_ms = None
            return
        if self._stuck_since_ms is None or missing[0] != self._stuck_slot:
            self._stuck_since_ms = context.now_ms
            self._stuck_slot = missing[0]
        span = missing[1] - missing[0]
        waited_ms = context.now_ms - self._stuck_since_ms
        if waited_ms >= context.options.pull_after_ms or span > context.options.window_slots_max:
            self._pull(missing[0], missing[1], None)

    def cannot_begin(self) -> bool:
        """Whether this leader is stuck below its floor: it was promised by a node that knew more
        to be chosen, and nobody who knows the values answers; that node has died, say."""
        context = self._context
        if self._stuck_since_ms is None or not context.proposer.leading:
            return False
        waited_ms = context.now_ms - self._stuck_since_ms
        return (
            context.learner.commit < context.proposer.floor
            and waited_ms >= 2 * context.options.election_timeout_ms
        )

    def overtaken(self) -> Slot:
        """The highest slot known to be chosen if this leader never proposed in it, else 0.

        It cannot come to this while memories are whole and no later leader is at work. Behind an
        entry that may change the membership it says nothing: its slot ends the reign anyway."""
        context = self._context
        proposer = context.proposer
        if not proposer.leading or proposer.barrier:
            return 0
        top = max(context.learner.top_chosen, context.commit_heard)
        return top if top >= proposer.next_slot else 0

    def check_behind(self) -> None:
        """Once a heartbeat: pull if a peer knows more and this node stands still."""
        context = self._context
        commit = context.learner.commit
        stood_still = commit == self._behind_commit
        self._behind_commit = commit
        top = max((peer.commit for peer in context.peers.values()), default=0)
        if top > commit and stood_still and not self.held:
            self._pull(commit + 1, top, None)

    def _pull(self, first: Slot, last: Slot, source: NodeId | None) -> None:
        context = self._context
        patience_ms = max(context.options.retransmit_ms, 2 * self._pull_answer_ms)
        again_ms = max(context.options.retransmit_ms, min(patience_ms, PATIENCE_MAX_MS))
        if context.now_ms - self._pull_asked_ms < again_ms or context.diverged:
            return
        if source is None:
            source = self._whom_to_ask(first, patience_ms)
            if not source:
                return
        if first != self._pull_from:
            self._pull_from, self._pull_first_ms = first, context.now_ms
        self._pull_source = source
        self._pull_asked_ms = context.now_ms
        if self._catch_up is None and last - first >= LONG_GAP_SLOTS:
            self._catch_up = (first, last, context.now_ms)
        last = min(last, first + context.options.catch_up_slots_max - 1)
        context.outbox.send(source, CatchUp(first, last))
        if context.outbox.tracing:
            context.outbox.trace("catchup.sent", slots=[first, last], to=source)

    def _whom_to_ask(self, first: Slot, patience_ms: float) -> NodeId:
        """A node that has the slot; "": none is known. For a while the same as before: what it has
        sent may be on its way, and another would send it once more, over the same link."""
        context = self._context
        able = [name for name, peer in context.peers.items() if peer.commit >= first]
        since_ms = context.now_ms - context.options.election_timeout_ms
        heard = [name for name in able if context.peers[name].heard_ms >= since_ms]
        again = first == self._pull_from and self._pull_source in heard
        if again and context.now_ms - self._pull_first_ms < ASK_THE_SAME * patience_ms:
            return self._pull_source
        return context.rng.choice(heard or able) if able else ""

    def _tell_caught_up(self) -> None:
        context = self._context
        if self._catch_up is not None and context.learner.commit >= self._catch_up[1]:
            first, last, since_ms = self._catch_up
            self._catch_up = None
            dur_ms = round(context.now_ms - since_ms, 1)
            context.outbox.notice("catchup.finished", slots=[first, last], dur_ms=dur_ms)
