"""What one node knows about itself and the others, for a person or a monitor: asks nobody."""

from math import inf

from paxosd.core.context import Context, Peer
from paxosd.core.election import Election
from paxosd.core.peer_limits import value_bytes_max
from paxosd.core.status import NodeStatus, PeerStatus
from paxosd.core.types import NodeId


def describe(context: Context, election: Election) -> NodeStatus:
    """What the shared state of the roles and the election say; the rest has its defaults."""
    quorums, proposer = context.quorums, context.proposer
    commit = context.learner.commit
    peers, voting = _peers(context)
    return NodeStatus(
        ballot=election.leader_ballot,
        promised=context.acceptor.promised,
        leader=election.leader,
        commit=commit,
        known_commit=max([commit, *(peer.commit for peer in context.peers.values())]),
        proposed=proposer.next_slot - 1 if proposer.leading else 0,
        votes=bool(context.own_bit),
        peers=peers,
        voters=tuple(quorums.voters),
        epoch=context.epoch,
        quorum=max(quorums.phase1, quorums.phase2),
        phase1=quorums.phase1,
        phase2=quorums.phase2,
        fault_tolerance=quorums.tolerance(voting.bit_count()),
        elections=election.elections,
        open_slots=len(proposer.open),
        queued_commands=proposer.queue.commands,
        newest_epoch=context.newest_epoch,
        feature_level=context.machine.settings.level,
        low_space=_low_space(context),
    )


def _low_space(context: Context) -> tuple[NodeId, ...]:
    """Whose disk is nearly full; the others say so to their leader alone, with each heartbeat."""
    names = {context.node} if context.low_space else set()
    if context.proposer.leading:
        names.update(name for name, peer in context.peers.items() if peer.low_space)
    return tuple(sorted(names))


def _peers(context: Context) -> tuple[dict[NodeId, PeerStatus], int]:
    """The other members, and as a bit set the voters that count, this one included."""
    since_ms = context.now_ms - 2 * context.options.election_timeout_ms
    voting = context.own_bit
    peers = {}
    # A voter that cannot take what is in flight has no part in choosing it, whatever it says.
    largest = max([len(each.value) for each in context.proposer.open.values()], default=0)
    for name in context.audience:
        peer = context.peers[name]
        votes = peer.votes and peer.heard_ms >= since_ms and context.quorums.is_voter(name)
        if context.proposer.leading:
            votes = votes and peer.acked_ms >= since_ms and largest <= _takes(context, peer)
        if votes:
            voting |= context.quorums.bit[name]
        heard_ms = max(peer.heard_ms, peer.seen_ms)
        contact_ms = max(heard_ms, peer.contact_ms)
        never = contact_ms == float("-inf")
        peers[name] = PeerStatus(
            reachable=heard_ms >= since_ms,
            heard_ms_ago=-1 if never else int(context.now_ms - contact_ms),
            commit=peer.commit,
            feature_level=peer.level,
            version=peer.version,
            skew_ms=peer.skew_ms,
            voter=context.quorums.is_voter(name),
            votes=votes,
        )
    return peers, voting


def _takes(context: Context, peer: Peer) -> float:
    """The largest value that a message to this peer may hold, as far as is known."""
    known = peer.message_bytes_max
    return value_bytes_max(known, context.options.frame_extra_bytes) if known else inf
