"""A leader that gives its place to another node: asked to, stopping, voted out, or for a sick disk.

    leader: proposes nothing more ── TransferLeadership(ballot, last slot) ──► heir
            heir has applied that slot ──► campaigns, without a pre-vote ──► leads

What clients queue meanwhile waits; they are sent on when the heir's first Prepare deposes the
leader. If that does not happen within an election timeout the leader goes on as before.

A leader yields by itself when group commits take it many times as long as the median of its
voters, or when its disk is nearly full and another's is not: all writes wait for its disk.
Source: Ongaro's thesis, section 3.10.
"""

from collections.abc import Callable
from statistics import median

from paxosd.core.context import Context
from paxosd.core.messages import TransferLeadership
from paxosd.core.types import NodeId

SLOW_TIMES = 5.0
SLOW_US_MIN = 20_000
"""A disk is slow if it takes this many times as long as others', and at least so long …"""
SICK_MS = 3_000.0
"""… for so long."""
YIELD_PAUSE_MS = 60_000.0
"""A leader yields for its disk's sake at most so often: the next one's may be no better."""


class Transfer:
    """One leader's intent to hand over. ``to``: the heir, "" if there is none."""

    __slots__ = ("_context", "_live_voters", "_sick_since_ms", "_until_ms", "_yield_from_ms", "to")

    def __init__(self, context: Context, live_voters: Callable[[], list[NodeId]]) -> None:
        self._context = context
        self._live_voters = live_voters
        self.to: NodeId = ""
        self._until_ms = 0.0
        self._sick_since_ms: float | None = None
        self._yield_from_ms = float("-inf")

    def refusal(self, to: NodeId) -> str:
        """Why leadership cannot go to ``to`` ("": to the best); "" if it can."""
        context = self._context
        if not context.proposer.leading:
            return "this node does not lead"
        if to == context.node:
            return f"{to} leads already"
        if to and to not in context.membership.members:
            return f"{to} is no member; the voters are {', '.join(context.quorums.voters)}"
        if to and not context.quorums.is_voter(to):
            return f"{to} has no vote, so it cannot lead"
        live = self._live_voters()
        if not live:
            return "no other voter answers"
        if to and to not in live:
            return f"{to} does not answer; these do: {', '.join(sorted(live))}"
        return ""

    def begin(self, to: NodeId = "", reason: str = "") -> None:
        """Hand over to ``to``, "": to the most caught-up voter."""
        context = self._context
        self.to = to or self._live_voters()[-1]
        context.proposer.held = True
        self._until_ms = context.now_ms + context.options.election_timeout_ms
        because = {"reason": reason} if reason else {}
        context.outbox.notice("leader.handing_over", to=self.to, **because)
        self._ask()

    def _ask(self) -> None:
        proposer = self._context.proposer
        message = TransferLeadership(proposer.ballot, proposer.next_slot - 1)
        self._context.outbox.send(self.to, message)

    def tick(self) -> None:
        """Once a heartbeat."""
        context = self._context
        if not context.proposer.leading:
            self.to = ""
            self._sick_since_ms = None
        elif not self.to:
            self._look_at_health()
        elif context.now_ms >= self._until_ms:
            context.outbox.notice(
                "leader.kept", "warning", to=self.to, reason="it did not take over"
            )
            self.to = ""
            context.proposer.held = False
        else:
            self._ask()

    def _look_at_health(self) -> None:
        reason = self._sickness()
        if not reason:
            self._sick_since_ms = None
            return
        now_ms = self._context.now_ms
        if self._sick_since_ms is None:
            self._sick_since_ms = now_ms
        if now_ms - self._sick_since_ms >= SICK_MS and now_ms >= self._yield_from_ms:
            self._yield_from_ms = now_ms + YIELD_PAUSE_MS
            healthy = [n for n in self._live_voters() if not self._context.peers[n].low_space]
            if healthy:
                fastest = min(healthy, key=lambda name: self._context.peers[name].sync_us)
                self.begin(fastest, reason)

    def sync_us_elsewhere(self) -> float:
        """Of a leader: what a group commit takes its live voters, the median in microseconds; 0 if
        none of them says."""
        peers = [self._context.peers[name] for name in self._live_voters()]
        known = [peer.sync_us for peer in peers if peer.sync_us]
        return median(known) if known else 0

    def _sickness(self) -> str:
        """What is wrong with this node's disk compared with those of its voters."""
        context = self._context
        peers = [context.peers[name] for name in self._live_voters()]
        if context.low_space and any(not peer.low_space for peer in peers):
            return "this node's disk is nearly full"
        usual_us = self.sync_us_elsewhere()
        if usual_us and context.sync_us >= max(SLOW_US_MIN, SLOW_TIMES * usual_us):
            return (
                f"a group commit takes {context.sync_us / 1000:.0f} ms here, "
                f"{usual_us / 1000:.1f} ms elsewhere"
            )
        return ""
