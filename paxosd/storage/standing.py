"""How a node stands with its cluster, written down in its data directory as it changes.

all founders have agreed         → the founding record is written, and from now on it counts
a change made it a member        → the number of the founding, which its peers sent, is written: not
                                   all members have the record, and once the directories of those
                                   that do are empty, the leader would draw another number
peers know another life of it   → its memory is lost: the directory gets a new identity, for it is
                                  an old copy or an empty one, and the node only learns
a change names that identity    → it votes again (``member rejoin``)
its state has diverged           → the next start sets the directory's data aside, and learns anew
a member says it was removed    → it will not start here again, and ends

Each of these waits if the disk does not take it (it is full, say), and is tried again; until then
the node is what it was before. Without the record it founds nothing. With lost memory or a diverged
state it does not vote, and a start in between leads to the same, because its peers report it again,
as they do with the number. Only a removed node ends in any case: its peers report that at each
start.
"""

from collections.abc import Callable
from typing import Any

from paxosd.core.genesis import Record
from paxosd.core.node import Node
from paxosd.host.log import Log
from paxosd.storage import identity
from paxosd.storage.disk import Disk

WRITE_AGAIN_MS = 2000.0
"""So long after a write that failed: the loop waits for each."""


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
        self._directory_id = 0
        """The identity drawn last."""
        self._now_ms = 0.0
        self._due_ms = float("-inf")
        self._seen: tuple[object, ...] = ()
        """How the node stood when there was nothing to write."""
        self._unwritten: set[str] = set()
        """What the disk did not take, and what was said of."""

    def look(self, now_ms: float = 0.0) -> None:
        """Write down what is new; what the disk does not take now, at a later call. Raises
        IdentityError."""
        if now_ms < self._due_ms:
            return
        node, home = self._node, self._home
        standing = node.standing
        if standing == self._seen:
            return
        self._now_ms = now_ms
        self._seen = standing
        record = node.founding_record
        if record is not None:
            if self._write("genesis", lambda: identity.write_genesis(home, record)):
                self._use(record)
        elif node.genesis != self._genesis and not self._has_record and node.membership.epoch:
            number = node.genesis
            if self._write("the founding's number", lambda: identity.write_number(home, number)):
                self._genesis = number
        if node.renewal_due:
            if self._write("that memory was lost", self._renew):
                self._lost = True
                node.use_directory(self._directory_id)
        elif (
            self._lost
            and not node.memory_lost
            and self._write("that it votes again", lambda: identity.confirm(home))
        ):
            self._lost = False
        self._end_if_so()

    def _use(self, record: Record) -> None:
        self._node.use_genesis(record)
        self._has_record = True
        members = sorted(record.members)
        self._log.info("cluster.founded", members=members, genesis=f"{record.hash:016x}")

    def _end_if_so(self) -> None:
        """It has diverged, or was removed."""
        node, home = self._node, self._home
        difference = node.difference
        if difference is not None and not self._diverged:
            slot = difference.slot
            words = "that its state has diverged"
            self._diverged = self._write(words, lambda: identity.mark_diverged(home, slot))
        if node.removed is not None and not self.removed:
            epoch, slot = node.removed
            self._log.info("node.removed", epoch=epoch, slot=slot)
            self._write("that it was removed", lambda: identity.mark_removed(home, epoch, slot))
            self.removed = True

    def _renew(self) -> None:
        self._directory_id = identity.renew(self._home, repaired=False, **self._draw)

    def _write(self, what: str, action: Callable[[], None]) -> bool:
        """Whether it was done; in either case there may be more to do. ``what``: for people."""
        self._seen = ()
        try:
            action()
        except OSError as problem:
            self._due_ms = self._now_ms + WRITE_AGAIN_MS
            if what not in self._unwritten:
                self._unwritten.add(what)
                reason = problem.strerror or str(problem)
                self._log.warning("storage.unwritten", what=what, reason=reason)
            return False
        self._unwritten.discard(what)
        return True
