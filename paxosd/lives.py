"""Which life of each peer this node has heard, remembered for good.

A *life* is one start of one data directory: its number of starts, and lots drawn anew each time.

    more starts than known    → a new life: written down durably, then heard
    the known life            → heard
    fewer starts              → a replay of old frames, or a disk that was wiped or rolled back
    as many, other lots       → a directory that was wiped or rolled back: two lives of one
                                memory, and what the first one promised the second does not know

What is not heard is not counted: a node that forgot its promises must not vote (Chandra,
Griesemer, Redstone, "Paxos Made Live", section 5.1). The memory is durable because the peer that
remembers may itself be restarted before the one that forgot comes back.
"""

import json
from collections.abc import Iterable

from paxosd.core.arrival import LOT_BITS, life_number, starts_of
from paxosd.core.types import NodeId
from paxosd.disk import Disk, StorageError
from paxosd.identity import IdentityError, read_file, write_file

__all__ = ["FILE", "LOT_BITS", "PeerLives", "life_number", "starts_of"]

FILE = "peers"


class PeerLives:
    """The last life heard of each peer, kept in ``DIR/peers`` (JSON).

    ``home`` None: kept in memory only. Raises IdentityError for a damaged file, OSError.
    """

    def __init__(self, home: Disk | None, peers: Iterable[NodeId]) -> None:
        self._home = home
        self._known: dict[NodeId, int] = dict.fromkeys(peers, 0)
        self._kept = _read(home) if home is not None else {}
        for name in self._known:
            self._known[name] = self._kept.get(name, 0)

    def __contains__(self, name: NodeId) -> bool:
        return name in self._known

    def known(self, name: NodeId) -> int:
        """The last life heard of a peer; 0: none."""
        return self._known[name]

    def hear(self, name: NodeId, life: int) -> bool:
        """Whether a message of this life of a peer may be taken. A new life is durable before
        this returns. Raises StorageError."""
        known = self._known[name]
        if life == known:
            return True
        if starts_of(life) <= starts_of(known) and known:
            return False
        if self._home is not None:
            self._kept[name] = life
            try:
                write_file(self._home, FILE, json.dumps(self._kept, sort_keys=True) + "\n")
            except OSError as problem:
                words = f"could not write down that {name} was heard: {problem.strerror}"
                raise StorageError(words, errno=problem.errno or 0) from problem
        self._known[name] = life
        return True


def _read(home: Disk) -> dict[NodeId, int]:
    try:
        found = json.loads(read_file(home, FILE))
    except FileNotFoundError:
        return {}
    except ValueError as problem:
        raise IdentityError(
            f"the file {FILE} of the data directory is damaged: {problem}"
        ) from None
    if not isinstance(found, dict) or not all(type(life) is int for life in found.values()):
        raise IdentityError(f"the file {FILE} of the data directory is damaged: no lives in it")
    return found
