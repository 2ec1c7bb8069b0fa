"""Every kind of fault that a run can have, with what it does in a few words."""

from paxosd.sim.nemesis.misuse import MISUSE_KINDS
from paxosd.sim.world.disk import TAIL_KINDS

KINDS: dict[str, str] = {
    "drop": "messages are lost, any or of some kinds",
    "delay": "messages come late, on some ways",
    "duplicate": "messages come twice",
    "reorder": "messages overtake each other",
    "replay": "old messages come again, also those of earlier runs",
    "slow-net": "all messages take long",
    "partition": "the nodes fall into two parts, or one way only works",
    "isolate": "one node, mostly the leader, is cut off",
    "bridge": "two halves that only one node hears",
    "ring": "each node hears some others, no two the same",
    "flap": "one link is up, down, up …",
    "client-cut": "clients cannot reach a node",
    "crash": "one node is killed or loses its power",
    "crash-many": "a majority or all nodes crash, and start again",
    "crash-point": "a node crashes before its k-th effect from now on",
    "pause": "a node is stopped for seconds up to a minute",
    "starve": "each turn of a node takes long",
    "disk-slow": "syncs take long",
    "disk-full": "no space is left for the log",
    "fsync-error": "a sync fails",
    "torn-write": "a crash in the middle of a write",
    "bit-rot": "a bit of a log flips",
    "log-loss": "a log is gone, the mark that there was one is not",
    "clock-skew": "wall clocks are wrong and jump",
    "clock-drift": "clocks run too fast or too slow",
    "wipe": "a node loses its whole data directory (of a minority), and is started again",
    "rollback": "a disk goes back to an earlier state (by request only)",
    **TAIL_KINDS,
    **MISUSE_KINDS,
}
"""Every kind that a run can have."""

DRAWN_ELSEWHERE = TAIL_KINDS.keys() | MISUSE_KINDS.keys()
"""Drawn in passes of their own: ``tails.py``, ``misuse.py``."""
BY_REQUEST = frozenset({"rollback"})
