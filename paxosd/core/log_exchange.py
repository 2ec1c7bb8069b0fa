"""Catching up: pull chosen values that this node misses, and serve peers that miss some.

    a slot is chosen, its value is missing here ── CatchUp(from, to) ──► a peer that has it
    peer ── Decisions(values), read from its log ──► learner ──► applied ──► the next CatchUp

What a peer sends is true only if its log is right. Where two nodes hold different values of one
slot at one ballot, one of them is damaged: nothing is taken over until a majority of the voters
reports the same value.

Source: Lamport, "Paxos Made Simple", section 2.3 (learning a chosen value).
"""

from paxosd.core.comparison import chain_after
from paxosd.core.context import Context
from paxosd.core.effects import DecisionRecord, ServeLog
from paxosd.core.execution import Execution
from paxosd.core.messages import CatchUp, Decisions
from paxosd.core.types import NodeId, Slot

LONG_GAP_SLOTS = 10
"""When a catch-up of more slots than this ends, a line is logged."""

PATIENCE_MAX_MS = 1000.0
"""A question is repeated after this time at the latest, however long the last answers took: an
outage is not a slow link, and what is on its way is not sent twice (``flow.py``)."""

ASK_THE_SAME = 3.0
"""The same node is asked again for this many times as long as an answer may take."""


class LogExchange:
    """One node's part in exchanging chosen values."""

    __slots__ = (
        "_answer_ms",
        "_asked_ms",
        "_behind_commit",
        "_catch_up",
        "_context",
        "_execution",
        "_first_asked_ms",
        "_first_slot",
        "_reported",
        "_source",
        "_stuck_since_ms",
        "_stuck_slot",
        "pull_next",
    )  # fmt: skip

    def __init__(self, context: Context, execution: Execution) -> None:
        self._context = context
        self._execution = execution
        self.pull_next: tuple[NodeId, Decisions] | None = None
        """The peer to ask for more once everything known is applied, and what it sent last."""
        self._reported: dict[Slot, dict[NodeId, bytes]] = {}
        """Per slot of which two nodes hold different values: each node's report of the chosen
        value."""
        self._stuck_since_ms: float | None = None
        """Since when the value of ``_stuck_slot`` is missing; None: no value is missing."""
        self._stuck_slot: Slot = 0
        self._asked_ms = float("-inf")
        """When the last question was sent."""
        self._first_slot: Slot = 0
        """The first slot of the last question, …"""
        self._first_asked_ms = 0.0
        """… when it was asked for that slot first, …"""
        self._source: NodeId = ""
        """… and the peer that it went to."""
        self._answer_ms = 0.0
        """How long recent answers took (a moving average); on a slow link that is long."""
        self._behind_commit: Slot = -1
        """The commit index at the last check for being behind a peer."""
        self._catch_up: tuple[Slot, Slot, float] | None = None
        """A catch-up that is logged when it ends: first slot, last slot, since when."""

    # -- serving

    def receive_catch_up(self, sender: NodeId, message: CatchUp) -> None:
        """A peer asks for the values of chosen slots."""
        context = self._context
        context.peers[sender].flow.arrived_up_to(message.from_slot - 1, context.now_ms)
        self.serve(sender, message.from_slot, message.to_slot)

    def serve(self, to: NodeId, first: Slot, last: Slot) -> None:
        """Have the shell send chosen values of ``first ..= last`` to a peer, as far as this node
        has applied them and the way there has room."""
        context = self._context
        if context.diverged:
            return  # this node's log may hold wrong values
        flow = context.peers[to].flow
        top = min(last, context.learner.commit, first + context.options.catch_up_slots_max - 1)
        room = 0 if flow.carries(first) else flow.room
        if first <= top and room:
            commit, before = context.learner.commit, chain_after(context.machine, first - 1)
            context.outbox.ready.serves.append(ServeLog(to, first, top, commit, before, room))
            if context.outbox.tracing:
                context.outbox.trace("catchup.served", slots=[first, top], to=to)

    # -- pulling

    def receive_decisions(self, sender: NodeId, message: Decisions) -> None:
        """Take over chosen values that a peer sent, apply them, and ask for more if it has more."""
        context = self._context
        if context.diverged:
            return
        if not self._is_settled(sender, message):
            return
        for slot, ballot, value in context.learner.receive_decisions(message):
            held = context.acceptor.accepted.get(slot)
            # The record is also written if the value is held under a lower ballot. A peer that
            # is served this record must see a ballot that is not below the ballot of the choice;
            # otherwise a deposed leader would not notice that it is deposed.
            if held is None or held[0] < ballot or held[1] != value:
                context.outbox.persist(DecisionRecord(slot, ballot, value))
        commit = context.learner.commit
        self._execution.advance()
        if context.learner.commit != commit and message.first_slot == self._first_slot:
            took_ms = context.now_ms - self._first_asked_ms
            self._answer_ms = (self._answer_ms + took_ms) / 2
        if self._execution.held:
            self.pull_next = sender, message
        elif context.learner.commit != commit:  # not for a repeat: asking might never end
            self._pull_on(sender, message)

    def _pull_on(self, sender: NodeId, message: Decisions) -> None:
        """All pulled values are applied: pull the next ones, unless only a few are missing."""
        context = self._context
        self._asked_ms = float("-inf")
        self._log_caught_up()
        if message.commit > context.learner.commit + len(message.values):
            self._pull(context.learner.commit + 1, message.commit, sender)

    def resume(self) -> None:
        """Go on with what an earlier turn left: apply, then pull."""
        if self._execution.held:
            self._execution.advance()
        if self.pull_next is not None and not self._execution.held:
            pulled, self.pull_next = self.pull_next, None
            self._pull_on(*pulled)

    def install(self, slot: Slot) -> None:
        """A durable snapshot brought the machine to ``slot``: go on from there."""
        self._execution.install(slot)
        self._stuck_since_ms = None
        self._log_caught_up()
        self._execution.go_on()

    def restart_patience(self) -> None:
        """A reign begins: it has the full time to learn what is below its floor."""
        self._stuck_since_ms = None

    def _is_settled(self, sender: NodeId, message: Decisions) -> bool:
        """Whether the values may be taken over: in each slot of a contradiction a majority of the
        voters (with or without this node) has reported the sender's value."""
        context = self._context
        accepted = context.acceptor.accepted
        for old in [slot for slot in self._reported if slot <= context.learner.commit]:
            del self._reported[old]
        settled = True
        dispute = context.open_contradiction
        for slot, (ballot, value) in enumerate(message.values, message.first_slot):
            if context.acceptor.contradicts(slot, ballot, value):
                context.contradict(slot, ballot, sender, accepted[slot][1], value)
            elif dispute is None or slot != dispute.slot:
                continue
            reports = self._reported.setdefault(slot, {})
            reports[sender] = value
            if slot in accepted:
                reports[context.node] = accepted[slot][1]
            voters = context.quorums.voters
            same = sum(reports.get(name) == value for name in voters)
            settled = settled and 2 * same > len(voters)
        return settled

    def check_missing(self) -> None:
        """Pull values of chosen slots that have not arrived within ``pull_after_ms``."""
        context = self._context
        idle = context.diverged or self._execution.held  # what waits to be applied is not missing
        missing = None if idle else context.learner.missing()
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
        """Whether this leader is stuck below its floor: a promise reported more chosen slots than
        this node knows, and no reachable node has their values (for example, the node that
        promised has crashed since)."""
        context = self._context
        if self._stuck_since_ms is None or not context.proposer.leading:
            return False
        waited_ms = context.now_ms - self._stuck_since_ms
        return (
            context.learner.commit < context.proposer.floor
            and waited_ms >= 2 * context.options.election_timeout_ms
        )

    def check_behind(self) -> None:
        """Once a heartbeat: pull if a peer has applied more and this node has applied nothing since
        the last check."""
        context = self._context
        commit = context.learner.commit
        stood_still = commit == self._behind_commit
        self._behind_commit = commit
        top = max((peer.commit for peer in context.peers.values()), default=0)
        if top > commit and stood_still and not self._execution.held:
            self._pull(commit + 1, top, None)

    def _pull(self, first: Slot, last: Slot, source: NodeId | None) -> None:
        context = self._context
        patience_ms = max(context.options.retransmit_ms, 2 * self._answer_ms)
        again_ms = max(context.options.retransmit_ms, min(patience_ms, PATIENCE_MAX_MS))
        if context.now_ms - self._asked_ms < again_ms or context.diverged:
            return
        if source is None:
            source = self._choose_source(first, patience_ms)
            if not source:
                return
        if first != self._first_slot:
            self._first_slot, self._first_asked_ms = first, context.now_ms
        self._source = source
        self._asked_ms = context.now_ms
        if self._catch_up is None and last - first >= LONG_GAP_SLOTS:
            self._catch_up = (first, last, context.now_ms)
        last = min(last, first + context.options.catch_up_slots_max - 1)
        context.outbox.send(source, CatchUp(first, last))
        if context.outbox.tracing:
            context.outbox.trace("catchup.sent", slots=[first, last], to=source)

    def _choose_source(self, first: Slot, patience_ms: float) -> NodeId:
        """A peer that has the slot; "": none is known. For some time it is the same peer as before:
        its answer may be on its way, and a second peer would send the same values again."""
        context = self._context
        able = [name for name, peer in context.peers.items() if peer.commit >= first]
        since_ms = context.now_ms - context.options.election_timeout_ms
        heard = [name for name in able if context.peers[name].heard_ms >= since_ms]
        again = first == self._first_slot and self._source in heard
        if again and context.now_ms - self._first_asked_ms < ASK_THE_SAME * patience_ms:
            return self._source
        return context.rng.choice(heard or able) if able else ""

    def _log_caught_up(self) -> None:
        context = self._context
        if self._catch_up is not None and context.learner.commit >= self._catch_up[1]:
            first, last, since_ms = self._catch_up
            self._catch_up = None
            dur_ms = round(context.now_ms - since_ms, 1)
            context.outbox.notice("catchup.finished", slots=[first, last], dur_ms=dur_ms)
