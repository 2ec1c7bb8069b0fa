"""Which voters acknowledge this leader, and whom to ask again early.

    heartbeat ──► HeartbeatAck ──► acked_ms of the peer
         ▲                             │ none for a heartbeat and a half: it is doubtful
         └──── again, 4 times as often ┘ none for two election timeouts: it is away

A heartbeat or its acknowledgement may be lost. Of ten links that lose a third of all messages one
fails six times in a row every minute, and a leader would step down, or a follower ask for an
election, though both are there. So a voter that is doubtful hears heartbeats more often. The rules
of who leads are the same; they only rest on more tries. One that is away costs nothing more.
"""

from paxosd.core.context import Context
from paxosd.core.types import NodeId

MISSED_HEARTBEATS = 1.5
TIMES_AS_OFTEN = 4
AWAY_TIMEOUTS = 2


class Contact:
    """One leader's view of the other voters."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def acknowledging(self) -> int:
        """The bits of the voters, this node included, that acknowledged within the election
        timeout."""
        context = self._context
        since_ms = context.now_ms - context.options.election_timeout_ms
        mask = context.own_bit
        for name, peer in context.peers.items():
            if peer.acked_ms >= since_ms:
                mask |= context.quorums.bit.get(name, 0)
        return mask

    def live_voters(self) -> list[NodeId]:
        """The other voters that acknowledge this leader, the most caught-up last."""
        context = self._context
        since_ms = context.now_ms - context.options.election_timeout_ms
        live = [
            (peer.commit, name)
            for name, peer in context.peers.items()
            if peer.acked_ms >= since_ms and context.quorums.is_voter(name)
        ]
        return [name for _, name in sorted(live)]

    def doubtful(self) -> list[NodeId]:
        """The voters whose last acknowledgement is overdue, and that are not away."""
        context = self._context
        options = context.options
        late_ms = context.now_ms - MISSED_HEARTBEATS * options.heartbeat_ms
        away_ms = context.now_ms - AWAY_TIMEOUTS * options.election_timeout_ms
        return [
            name
            for name, peer in context.peers.items()
            if away_ms <= peer.acked_ms < late_ms and context.quorums.is_voter(name)
        ]


def why_lost(heard_ms: float, now_ms: float) -> str:
    """Why a follower counts its leader as gone that it heard last at ``heard_ms``; minus infinity:
    it was gone before its time was over."""
    if heard_ms == float("-inf"):
        return "its connection broke, or it leads no more"
    return f"not heard for {now_ms - heard_ms:.0f} ms"
