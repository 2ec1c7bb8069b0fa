"""Whom a round of reads asks first: as few voters as confirm it, those that answer soonest.

    a round begins ──► heartbeats to the quickest voters, as many as a quorum needs
                       no confirmation within the patience ──► to the others, too

Each acknowledgement costs its voter a turn and the leader another, and with three nodes the second
one comes when nobody waits for it any more. Whom the round asks decides nothing: it counts the same
acknowledgements, and needs as many (``reads.py``). A voter that is slow or lost costs one patience;
after that it counts as slow, and others are asked. Once in a heartbeat a round asks all, so that
each voter is measured, and one that has become quick again is found.

Source of the idea: Dean and Barroso, "The Tail at Scale" (2013), hedged requests: the second
request leaves only when the first is late.
"""

from paxosd.core.context import Context
from paxosd.core.types import NodeId

PATIENCE_MIN_MS = 4.0
"""A turn of a busy node takes as long."""
NEVER_MS = float("inf")


class RoundAudience:
    """One leader's choice. ``due_ms``: when the others are to be asked; inf: not at all."""

    __slots__ = ("_all_due_ms", "_asked", "_began_ms", "_context", "_round", "_silent", "_took_ms",
                 "due_ms")  # fmt: skip

    def __init__(self, context: Context) -> None:
        self._context = context
        self._took_ms: dict[NodeId, float] = {}
        """How long an acknowledgement of each voter takes, smoothed; missing: not known."""
        self._asked: list[NodeId] = []
        """Whom the present round asked, if that was not all."""
        self._round = -1
        self._silent: dict[NodeId, float] = {}
        """Who was asked and has not acknowledged the round, and when. Only the first
        acknowledgement is measured: later heartbeats repeat the number of the round."""
        self._began_ms = 0.0
        self._all_due_ms = 0.0
        self.due_ms = NEVER_MS

    def begin(self) -> list[NodeId] | None:
        """A round begins: whom to ask now; None: all."""
        context = self._context
        now_ms = self._began_ms = context.now_ms
        self._round = context.leader_reads.round
        self.due_ms = NEVER_MS
        self._asked = []
        quickest = self._quickest()
        if now_ms >= self._all_due_ms or quickest is None:
            self._all_due_ms = now_ms + context.options.heartbeat_ms
            self._silent = dict.fromkeys(context.audience, now_ms)
            return None
        self._silent = dict.fromkeys(quickest, now_ms)
        if quickest:
            self._asked = quickest
            self.due_ms = now_ms + max(PATIENCE_MIN_MS, 4 * self._took_ms[quickest[-1]])
        return quickest

    def _quickest(self) -> list[NodeId] | None:
        """As many voters as must acknowledge, the quickest first; None: too few are known."""
        context = self._context
        missing = context.quorums.contact_lacks(context.own_bit)
        since_ms = context.now_ms - 2 * context.options.heartbeat_ms
        able = [
            name
            for name in context.audience
            if name in self._took_ms
            and name in context.quorums.bit
            and context.peers[name].heard_ms >= since_ms
        ]
        if len(able) < missing:
            return None
        return sorted(able, key=self._took_ms.__getitem__)[:missing]

    def acknowledged(self, name: NodeId, round_: int) -> None:
        """A voter acknowledged a round. (What an ordinary heartbeat began is not measured.)"""
        asked_ms = self._silent.pop(name, None) if round_ == self._round else None
        if asked_ms is None:
            return
        took_ms = self._context.now_ms - asked_ms
        before_ms = self._took_ms.get(name, took_ms)
        self._took_ms[name] = before_ms + (took_ms - before_ms) / 8

    def others(self) -> list[NodeId]:
        """The time has come: whom to ask besides; nobody, if the round was confirmed."""
        context, asked = self._context, self._asked
        self.due_ms = NEVER_MS
        self._asked = []
        if not context.leader_reads.in_round:
            return []
        waited_ms = context.now_ms - self._began_ms
        for name in asked:
            self._took_ms[name] = max(self._took_ms[name], 2 * waited_ms)
        others = [name for name in context.audience if name not in asked]
        self._silent |= dict.fromkeys(others, context.now_ms)
        return others
