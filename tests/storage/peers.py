"""Lives of peers, for tests of who is heard."""

from paxosd.core.messages import (
    Accepted,
    CatchUp,
    Heartbeat,
    ReadIndex,
    Rejoin,
    SnapshotRequest,
    VotesRequest,
)
from paxosd.core.run_id import make_run_id
from paxosd.core.types import Ballot
from paxosd.storage.peer_runs import PeerRuns

VOTE = Accepted(Ballot(1, "n2"), ((1, 1),), 1)


BEAT = Heartbeat(Ballot(1, "n2"), "n2", 0, 0, 0, 0)
QUESTIONS = [
    CatchUp(1, 2),
    ReadIndex(1),
    VotesRequest(1),
    SnapshotRequest(1, 0, bytes(16)),
    Rejoin(5),
]
OLD, NEW, OTHER = 11, 22, 33
"""Data directories."""


def peer_runs(disk=None, pin=0, **options):
    return PeerRuns(disk, ["n2", "n3"], {"n2": pin}, **options)


def run_id(starts, lot=0):
    return make_run_id(starts, lot)


def pinned(memory, pin):
    memory.set_peers({"n2": pin, "n3": 0})
    return memory
