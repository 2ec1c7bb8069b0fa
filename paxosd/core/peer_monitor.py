"""What a node observes of its peers: which are up, which clocks are off, what is on its way.

    any message of a peer        ──► hear: it is up ──► member.up
    silence, a broken connection ──► it is down     ──► member.down, and Hello again
    its wall clock               ──► skew           ──► clock.skew, clock.well
    its version, its level       ──► other than here, or than it said before ──► member.version

Nothing here decides what is chosen.
"""

from paxosd.core.admission import Admission
from paxosd.core.context import Context, Peer
from paxosd.core.election import Election
from paxosd.core.flow import Flow
from paxosd.core.messages import Accept, Decisions, PeerMessage
from paxosd.core.peer_limits import PeerLimits
from paxosd.core.run_id import boot_count_of
from paxosd.core.skew import Skew
from paxosd.core.types import NodeId

OLD_CLOCKS_MS_MAX = 10_000
"""After a turn that came late, peers' wall clocks are not compared for as long as it was late, at
most this long: their messages waited in the queues."""


class PeerMonitor:
    """One node's observations; they are kept in ``context.peers``."""

    __slots__ = ("_admission", "_context", "_election", "_limits", "_old_clocks_until_ms", "_skew")

    def __init__(
        self, context: Context, election: Election, admission: Admission, limits: PeerLimits
    ) -> None:
        self._context = context
        self._election = election
        self._admission = admission
        self._limits = limits
        self._skew = Skew()
        self._old_clocks_until_ms = float("-inf")

    # -- up and down

    def hear(self, name: NodeId, peer: Peer, run_id: int) -> None:
        """A message of a peer whose word counts has arrived."""
        peer.heard_ms = self._context.now_ms
        if not peer.up:
            peer.up = True
            starts = boot_count_of(run_id)
            self._context.outbox.notice("member.up", member=name, member_boot_count=starts)

    def disconnected(self, name: NodeId) -> None:
        """The connection to a peer broke. The peer does not count as reachable until it is heard
        again. If it led, the others are asked soon whether they hear it."""
        peer = self._context.peers.get(name)
        if peer is not None:
            peer.contact_ms = max(peer.contact_ms, peer.heard_ms, peer.seen_ms)
            peer.heard_ms = peer.seen_ms = float("-inf")
            peer.flow.reset()
            self._report_down(name, peer, "its connection broke")
            self._admission.connection_lost(name)
            self._limits.forget(name)
        if name == self._election.leader:
            self._election.leader_gone()

    def check(self) -> None:
        """Once a heartbeat: report peers that are silent, by the same rule as ``status``."""
        silent_ms = 2 * self._context.options.election_timeout_ms
        since_ms = self._context.now_ms - silent_ms
        for name, peer in self._context.peers.items():
            if peer.up and peer.heard_ms < since_ms:
                self._report_down(name, peer, f"not heard for {silent_ms} ms")
                # Its connection may have broken without a sign. When the peer is back it may be
                # another run, which hears only those that say Hello to it, and which must learn
                # from them what it has forgotten.
                self._admission.connection_lost(name)
            self._report_version(name, peer)

    def _report_version(self, name: NodeId, peer: Peer) -> None:
        """Log a program that is not like this node's, once; and when it is replaced by another."""
        if peer.version is None or not peer.level or not self._context.options.version:
            return
        own = self._context.options.version, self._context.level_offered
        said = peer.version, peer.level
        if said not in (peer.noted, own if peer.noted is None else None):
            self._context.outbox.notice(
                "member.version",
                member=name,
                member_version=peer.version,
                feature_level=peer.level,
                own_version=own[0],
                own_feature_level=own[1],
            )
            peer.noted = said

    def _report_down(self, name: NodeId, peer: Peer, reason: str) -> None:
        if peer.up:
            peer.up = False
            self._context.outbox.notice("member.down", "warning", member=name, reason=reason)

    # -- what is on its way

    def unsent(self, to: NodeId, message: PeerMessage) -> None:
        """A message could not be handed to the connection."""
        peer = self._context.peers.get(to)
        if type(message) is Accept and peer is not None:
            peer.flow.unsent(message.slot)

    def served(self, to: NodeId, message: Decisions, size: int) -> None:
        """A part of the log was sent, ``size`` bytes."""
        flow = self.flow_to(to)
        if flow is not None:
            last = message.first_slot + len(message.values) - 1
            flow.served(message.first_slot, last, size, self._context.now_ms)

    def flow_to(self, name: NodeId) -> Flow | None:
        """What is on its way to a peer; None: it is no peer."""
        peer = self._context.peers.get(name)
        return None if peer is None else peer.flow

    # -- what a peer says of itself

    def hear_level(self, name: NodeId, level: int) -> None:
        """A peer said which feature level it understands."""
        peer = self._context.peers.get(name)
        if peer is not None:
            peer.level = level

    def hear_clock(self, name: NodeId, wall_ms: int, round_trip_ms: float = 0.0) -> None:
        """A peer said what its wall clock showed; that took up to ``round_trip_ms`` to arrive."""
        context = self._context
        peer = context.peers.get(name)
        if peer is None or context.now_ms < self._old_clocks_until_ms:
            return
        news = self._skew.hear(name, wall_ms, context.wall_ms, round_trip_ms)
        peer.skew_ms = self._skew.known_ms[name]
        if news is not None:
            event, level = ("clock.skew", "warning") if news.off else ("clock.well", "info")
            context.outbox.notice(event, level, member=name, skew_ms=news.skew_ms)

    def note_late_turn(self, late_ms: float, now_ms: float) -> None:
        """This turn comes late. The messages in the queues may have waited for that long, and the
        clocks that they show are old."""
        self._old_clocks_until_ms = now_ms + min(late_ms, OLD_CLOCKS_MS_MAX)
