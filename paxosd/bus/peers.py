"""Whom a node is in touch with, as the membership has it."""

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
    said, see ``storage/peer_lives.py``). Both also of members that departed, until they know it."""

    peers: dict[NodeId, PeerEndpoints]
    pins: dict[NodeId, int]


def links(membership: Membership, own: NodeId, contacts: Mapping[NodeId, PeerEndpoints]) -> Links:
    """Of the node ``own``. ``contacts``: those of the configuration; at epoch 0 they tell where the
    members are, and later they may be the only ones that a node still finds which was away."""
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
