"""The question before a campaign: would a phase-1 quorum promise this node a ballot?

    begin(ballot) ── PreVote to the voters ──► take(reply) … ──► a phase-1 quorum has granted it
          ask() again, with each heartbeat, of those that have not granted

Nothing is promised here, neither by who asks nor by who answers, so that asking early and often
costs a message and no reign: a voter that hears a leader refuses. It may agree a moment later, for
it heard the leader's last heartbeat later; or the question, or its answer, was lost.

Source: Ongaro's thesis, section 9.6.
"""

from paxosd.core.context import Context
from paxosd.core.messages import PreVote, PreVoteReply
from paxosd.core.types import NULL_BALLOT, Ballot, NodeId


class PreVoteRound:
    """One node's question that is under way, if any."""

    __slots__ = ("_context", "_grants", "ballot")

    def __init__(self, context: Context) -> None:
        self._context = context
        self.ballot = NULL_BALLOT
        """The ballot asked about, NULL_BALLOT when no question is under way."""
        self._grants = 0

    @property
    def is_granted(self) -> bool:
        """Whether a phase-1 quorum, this node included, grants the ballot."""
        return self._context.quorums.phase1_met(self._grants)

    def begin(self, ballot: Ballot) -> None:
        """Ask about this ballot; this node grants it."""
        self.ballot = ballot
        self._grants = self._context.own_bit
        if not self.is_granted:
            self.ask()

    def end(self) -> None:
        """The question is of no interest any more."""
        self.ballot = NULL_BALLOT
        self._grants = 0

    def ask(self) -> None:
        """Send it to the voters that have not granted it; nothing if none is under way."""
        if self.ballot == NULL_BALLOT:
            return
        context = self._context
        message = PreVote(self.ballot, context.learner.commit)
        for name in context.peers:
            if context.quorums.bit.get(name, 0) & ~self._grants:
                context.outbox.send(name, message)
        if context.outbox.tracing:
            context.outbox.trace("prevote.sent", ballot=self.ballot.shown())

    def take(self, sender: NodeId, reply: PreVoteReply) -> bool:
        """An answer. Whether a phase-1 quorum grants the ballot now."""
        if self.ballot == NULL_BALLOT or reply.ballot != self.ballot or not reply.granted:
            return False
        self._grants |= self._context.quorums.bit.get(sender, 0)
        return self.is_granted
