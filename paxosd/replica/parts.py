"""The parts of a node that was assembled and that nobody hears yet."""

from dataclasses import dataclass

from paxosd.bus.peers import Links
from paxosd.core.node import Node
from paxosd.replica.recovery import Memory
from paxosd.storage.disk import Disk
from paxosd.storage.identity import Claim
from paxosd.storage.peer_runs import PeerRuns
from paxosd.storage.standing import Standing


@dataclass(slots=True)
class Assembled:
    """A node that nobody hears yet, and what it is made of.

    ``run_id``: this start, as the peers know it. ``disk``: of the log, with its faults. ``links``:
    the peers that the node connects to. ``peer_runs``: which runs of them it has heard."""

    claim: Claim
    run_id: int
    disk: Disk
    memory: Memory
    node: Node
    links: Links
    peer_runs: PeerRuns
    standing: Standing
