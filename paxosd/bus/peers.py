"""The peers that a node connects to, by the membership."""

from collections.abc import Mapping
from typing import NamedTuple

from paxosd.core.membership import Membership
from paxosd.core.types import NodeId

NO_VOTE = -1
"""The pin of a member without a vote: any data directory may speak in its name."""


class PeerEndpoints(NamedTuple):
    """Where one peer is reached."""

    peer: str
    events: str


class Links(NamedTuple):
    """``peers``: where each is reached; ``pins``: the data directory that votes in its name (0: not
    known, see ``storage/peer_runs.py``). Both also have departed members, until these know that
    they departed."""

    peers: dict[NodeId, PeerEndpoints]
    pins: dict[NodeId, int]


def links(membership: Membership, own: NodeId, contacts: Mapping[NodeId, PeerEndpoints]) -> Links:
    """The links of the node ``own``. ``contacts``: the peers of the configuration. At epoch 0 their
    endpoints are where the members are; later they may be the only ones that a node which was away
    can still reach."""
    members = membership.members
    known = {n: PeerEndpoints(m.peer, m.events) for n, m in (membership.departed | members).items()}
    if membership.epoch:
        peers = {**contacts, **{n: where for n, where in known.items() if where.peer}}
    else:
        peers = {**known, **contacts}
    peers.pop(own, None)
    pins = {
        name: members[name].directory_id if name in members and members[name].voter else NO_VOTE
        for name in peers
    }
    return Links(peers, pins)
