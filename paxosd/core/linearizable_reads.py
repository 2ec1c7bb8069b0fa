"""Linearizable reads of one node, and the age of its state: the questions to the leader.

    read ──► waits ── ReadIndex ──► the leader ── a round of heartbeats that a quorum confirms ──┐
    ReadReady ◄── applied >= index ◄────────────── ReadIndexReply(index) ◄──────────────────────┘

The rules are in ``reads.py`` (read-index) and ``freshness.py`` (age).
"""

import math
from typing import Any

from paxosd.core.admission import Admission
from paxosd.core.context import Context
from paxosd.core.effects import BUSY, DIVERGED, NO_LEADER, REFUSALS, ReadReady, Refusal
from paxosd.core.election import Election
from paxosd.core.execution import Execution
from paxosd.core.freshness import Freshness
from paxosd.core.messages import ReadIndex, ReadIndexReply
from paxosd.core.reads import Asked, WaitingReads
from paxosd.core.round_audience import RoundAudience
from paxosd.core.types import NULL_BALLOT, NodeId, Slot


class LinearizableReads:
    """The reads that wait at this node, and those that it confirms as leader."""

    __slots__ = (
        "_admission",
        "_audience",
        "_ballot",
        "_context",
        "_election",
        "_execution",
        "_freshness",
        "_misled",
        "_waiting",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        election: Election,
        execution: Execution,
        admission: Admission,
        run_id: int,
    ) -> None:
        self._context = context
        self._election = election
        self._execution = execution
        self._admission = admission
        # The ids of two runs differ, so that a late answer to a question of an earlier run is not
        # taken for an answer of this run.
        self._waiting = WaitingReads((run_id & 0x7FFF_FFFF) << 32)
        self._ballot = NULL_BALLOT
        """The leader's ballot at the last check."""
        self._freshness = Freshness()
        self._audience = RoundAudience(context)
        self._misled = (False, False)
        """Whether, at the last look, this node had lost its memory or was alone in the past."""

    def __bool__(self) -> bool:
        """Whether any read waits."""
        return bool(self._waiting)

    def __len__(self) -> int:
        """How many reads wait."""
        return len(self._waiting)

    # -- reads

    def read(self, token: Any) -> None:
        """Queue a read: the reply with ``token`` is ReadReady, or a Refusal."""
        context = self._context
        if context.diverged:
            context.outbox.reply(token, self._refusal(DIVERGED))
        elif len(self._waiting) >= context.options.reads_waiting_max:
            context.outbox.reply(token, self._refusal(BUSY))
        else:
            self._waiting.add(token, context.now_ms)

    def reply_ready(self) -> None:
        """Answer the reads whose index is applied."""
        if not self._waiting.indexed:
            return
        applied = self._execution.applied
        for token in self._waiting.ready(applied):
            refused = self._refusal(DIVERGED) if self._context.diverged else None
            self._context.outbox.reply(token, refused or ReadReady(applied))

    def check(self) -> None:
        """Once a heartbeat: repeat lost questions, refuse reads that wait for too long."""
        options = self._context.options
        now_ms = self._context.now_ms
        self._waiting.question_lost(now_ms, options.retransmit_ms)
        ballot = self._election.leader_ballot
        after_ms = 4 * options.election_timeout_ms if ballot == self._ballot else 0
        patience_ms = 3 * options.election_timeout_ms
        if self._admission.removed:
            after_ms = patience_ms = 0  # no leader confirms its reads any more: refuse them now
        self._ballot = ballot
        self._waiting.index_lost(now_ms, after_ms)
        for token in self._waiting.overdue(now_ms, patience_ms):
            self._context.outbox.reply(token, self._refusal(NO_LEADER))

    def ask_again(self) -> None:
        """The membership has changed: the question under way may get no answer."""
        self._waiting.question_lost(self._context.now_ms, 0)

    def _refusal(self, code: str) -> Refusal:
        return Refusal(code, REFUSALS[code], self._election.leader)

    # -- questions

    def ask(self) -> None:
        """Put the question of the waiting reads to the leader, which may be this node."""
        context, waiting = self._context, self._waiting
        if context.proposer.leading:
            rounds = context.leader_reads
            read_id = waiting.question(context.now_ms) if waiting.unasked else 0
            if read_id:
                rounds.ask(Asked("", read_id, self._read_slot()))
            # While a change of the membership is in flight another leader may exist already that
            # needs none of this node's voters.
            may_begin = rounds.urgent and not context.proposer.barrier
            if may_begin and rounds.start_round(context.own_bit):
                self._election.send_heartbeats(self._audience.begin())
                self.answer_confirmed()
        elif waiting.unasked:
            leader = self._election.leader
            if leader and leader != context.node:
                read_id = waiting.question(context.now_ms)
                if read_id:
                    context.outbox.send(leader, ReadIndex(read_id))

    def ask_age(self) -> None:
        """Put a question for which no read waits, if the age of the state was asked for lately."""
        context = self._context
        if not self._freshness.wanted(context.now_ms):
            return
        leader = self._election.leader
        if not context.proposer.leading and leader in ("", context.node):
            return
        read_id = self._waiting.bare_question(context.now_ms, context.options.heartbeat_ms)
        if not read_id:
            return
        if context.proposer.leading:
            context.leader_reads.ask(Asked("", read_id, self._read_slot()), waits=False)
        else:
            context.outbox.send(leader, ReadIndex(read_id, waits=False))

    def receive_index(self, sender: NodeId, message: ReadIndexReply) -> None:
        """The leader's answer to a question of this node."""
        self._take_index(message.read_id, message.slot)

    def _take_index(self, read_id: int, slot: Slot) -> None:
        """The answer to a question: a quorum confirmed the leader after the question was put."""
        put_ms = self._waiting.put_ms(read_id)
        if put_ms is not None:
            self._known_age().confirmed(put_ms, slot)
        self._waiting.answer(read_id, slot)

    # -- as leader

    def receive_question(self, sender: NodeId, message: ReadIndex) -> None:
        """A peer's question; answered once a quorum has confirmed a round that begins after it."""
        if self._context.proposer.leading:
            asked = Asked(sender, message.read_id, self._read_slot())
            self._context.leader_reads.ask(asked, waits=message.waits)

    def receive_ack(self, sender: NodeId, round_: int) -> None:
        """A voter acknowledged this leader, in this round of reads."""
        self._audience.acknowledged(sender, round_)
        self._context.leader_reads.receive_ack(sender, round_)
        self.answer_confirmed()

    def tick(self) -> None:
        """Ask the other voters, if those that the round asked first have not confirmed it."""
        if self._context.now_ms >= self._audience.due_ms:
            self._election.send_heartbeats(self._audience.others())

    def next_due_ms(self) -> float:
        """When :meth:`tick` next has something to do."""
        return self._audience.due_ms

    def answer_confirmed(self) -> None:
        """Answer all questions of a round that a quorum has confirmed."""
        for asked in self._context.leader_reads.confirmed():
            if asked.origin:
                self._context.outbox.send(asked.origin, ReadIndexReply(asked.read_id, asked.slot))
            else:
                self._take_index(asked.read_id, asked.slot)

    def _read_slot(self) -> Slot:
        """The index of a read: the highest slot that this leader has proposed in."""
        proposer = self._context.proposer
        return max(proposer.next_slot - 1, proposer.reign_start)

    # -- the age of the state

    def age_ms(self, now_ms: float | None = None) -> int:
        """The applied state holds every write that was acknowledged up to this many ms before
        ``now_ms``; -1: the age was not known since the start. As it was asked for, this node
        keeps it known for a while (``freshness.py``).

        ``now_ms``: monotonic time, not before this turn; None: the time of this turn."""
        context = self._context
        self._freshness.want(context.now_ms)
        later_ms = context.now_ms if now_ms is None else max(now_ms, context.now_ms)
        return math.ceil(self._known_age().age_ms(later_ms, self._execution.applied))

    def _known_age(self) -> Freshness:
        """When this node finds out that it lost its memory, or that it is alone in the past, the
        earlier confirmations are dropped: they came from voters that do not decide."""
        misled = self._admission.memory_lost, self._context.is_alone_in_the_past
        if misled != self._misled:
            self._misled = misled
            self._freshness.forget()
        return self._freshness
