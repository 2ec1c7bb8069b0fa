"""How a node stands with its cluster, written down in its data directory as it changes.

all founders have agreed         → the founding record is written, and from now on it counts
a change made it a member        → the number of the founding that its peers told is written: not
                                   all of them have the record, and once those that have it were
                                   emptied whoever leads would draw another number
peers know another life of it   → its memory is lost: the directory gets a new identity, for it is
                                  an old copy or an empty one, and the node only learns
a change names that identity    → it votes again (``member rejoin``)
its state has diverged           → the next start sets the directory's data aside, and learns anew
a member says it was removed    → it will not start here again, and ends
"""

from typing import Any, Protocol

from paxosd import identity
from paxosd.core.node import Node
from paxosd.disk import Disk, StorageError


class Log(Protocol):
    """The part of a structlog logger that is used."""

    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...


class Standing:
    """Call :meth:`look` once a turn. ``removed``: the node must end."""

    def __init__(
        self,
        home: Disk,
        node: Node,
        log: Log,
        *,
        lost: bool,
        genesis: int = 0,
        random_bits: Any = None,
    ) -> None:
        """``lost``, ``genesis``: as the directory says."""
        self.removed = False
        self._home = home
        self._node = node
        self._log = log
        self._lost = lost
        self._genesis = genesis
        self._has_record = node.record is not None
        self._diverged = False
        self._draw = {"random_bits": random_bits} if random_bits is not None else {}

    def look(self) -> None:
        """Write down what is new. Raises StorageError."""
        node = self._node
        record = node.founding_record
        if record is not None:
            self._write(lambda: identity.write_genesis(self._home, record))
            node.use_genesis(record)
            self._has_record = True
            members = sorted(record.members)
            self._log.info("cluster.founded", members=members, genesis=f"{record.hash:016x}")
        elif node.genesis != self._genesis and not self._has_record and node.membership.epoch:
            self._genesis = node.genesis
            self._write(lambda: identity.write_number(self._home, self._genesis))
        if node.forgot and not self._lost:
            self._lost = True
            node.use_directory(self._write(self._renew))
        elif self._lost and not node.memory_lost:
            self._lost = False
            self._write(lambda: identity.confirm(self._home))
        difference = node.difference
        if difference is not None and not self._diverged:
            self._diverged = True
            self._write(lambda: identity.mark_diverged(self._home, difference.slot))
        if node.removed is not None and not self.removed:
            epoch, slot = node.removed
            self._log.info("node.removed", epoch=epoch, slot=slot)
            self._write(lambda: identity.mark_removed(self._home, epoch, slot))
            self.removed = True

    def _renew(self) -> int:
        return identity.renew(self._home, repaired=False, **self._draw)

    @staticmethod
    def _write(action: Any) -> Any:
        try:
            return action()
        except OSError as problem:
            words = f"the data directory's identity cannot be written: {problem.strerror}"
            raise StorageError(words, errno=problem.errno or 0) from problem
