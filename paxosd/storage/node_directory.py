"""A data directory and the node that it belongs to: a node starts with this, on any disk."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from paxosd.core.types import NodeId
from paxosd.storage import identity
from paxosd.storage.disk import Disk
from paxosd.storage.identity import Claim

LOG_DIRECTORY = "wal"
"""Where the log is, within the data directory."""
RandomBits = Callable[[int], int]
"""A source of random numbers: called with how many bits it is to draw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDirectory:
    """``home``: the directory itself; ``log_disk``: that of log and snapshots in it. ``place``:
    its name for people; ``created``: the time now, to be written down if it is new."""

    cluster: str
    node: NodeId
    home: Disk
    log_disk: Disk
    place: str
    created: str = ""

    def claim(self, random_bits: RandomBits = secrets.randbits) -> Claim:
        """Check that it is this node's, or make it so, and count the start: see
        :func:`paxosd.storage.identity.claim`. Raises IdentityError, OSError."""
        return identity.claim(
            self.home,
            self.cluster,
            self.node,
            place=self.place,
            created=self.created,
            has_log=any(name.startswith("wal-") for name in self.log_disk.list()),
            random_bits=random_bits,
        )
