"""What a data directory must remember of its node's readiness, written down as it changes.

    all founders have agreed        → write the founding record; from then on it counts
    a change made the node a member → write the hash of the record, which its peers named. Not all
                                      members hold the record; if all that do were emptied, a leader
                                      would otherwise draw another number
    peers remember another run      → its memory is lost (an old copy, or an empty directory): renew
                                      the directory's identity; the node only learns
    a membership names the identity → confirm it: the node votes again (``member rejoin``)
    its state has diverged          → the next start sets the data aside and learns everything anew
    it is removed                   → the directory is never started again; the node ends

If the disk does not take one of these (it is full, for example), it is tried again later, and until
then nothing has changed. Without the record the node founds nothing. With a lost memory or a
diverged state it does not vote, and if it restarts before the write its peers say the same again;
so it is with the hash. Only a removed node ends all the same: its peers say so at each start.

All words are in docs/ACTING.md.
"""

from collections.abc import Callable
from typing import Any

from paxosd.core.genesis import Record
from paxosd.core.node import Node
from paxosd.host.log import Log
from paxosd.storage import identity
from paxosd.storage.disk import Disk

WRITE_AGAIN_MS = 2000.0
"""After a failed write the next one waits for this long, because the loop waits for a write."""


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
        """``lost``, ``genesis``: as the data directory says."""
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
        """``Node.standing`` when there was nothing left to write."""
        self._unwritten: set[str] = set()
        """What the disk did not take, and what was logged."""

    def look(self, now_ms: float = 0.0) -> None:
        """Write down what is new. What the disk does not take now is written at a later call.
        Raises IdentityError."""
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
        """Write down that the state has diverged, or that the node was removed."""
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
        """Whether the write was done. More may be left to write. ``what``: for the log."""
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
