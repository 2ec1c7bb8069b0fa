"""The history of changes, derived from the log and from what the log alone does not say.

    batch of a slot + the revision before it + its exceptions ──► changes (derivation.py)

The batches themselves stay in the log. Kept here is, for each applied slot, the last revision (8
bytes), and the exceptions: commands that changed nothing, or several keys. Exceptions are bounded;
when the oldest are dropped, and when the log gives its oldest slots back, the floor rises: changes
below it are *compacted*.
"""

from array import array
from bisect import bisect_left
from typing import Any

from paxosd.core.commands import Batch, Change, KeysChanged
from paxosd.core.disposal import Disposal
from paxosd.core.state.derivation import Skipped, derive_changes, keys_of
from paxosd.core.state.key_index import KeyRun
from paxosd.core.types import Slot


class HistoryCompactedError(LookupError):
    """The changes of a slot are not known any more. ``first_revision``: the oldest that are."""

    def __init__(self, slot: Slot, first_revision: int) -> None:
        super().__init__(
            f"the changes of slot {slot} are compacted; the oldest revision still there is "
            f"{first_revision}: read the current state, then watch from its revision on"
        )
        self.first_revision = first_revision


class History:
    """What is needed to derive the changes of an applied slot from its batch.

    ``floor_revision``: every change with this revision or above is known. ``base``: of slots
    up to this one nothing is kept; the store was at ``base_revision`` after it.
    """

    __slots__ = ("_cost", "_cost_max", "_disposal", "_exceptions", "_revisions", "base",
                 "floor_revision")  # fmt: skip

    def __init__(
        self, exceptions_max: int, disposal: Disposal, base: Slot = 0, base_revision: int = 0
    ) -> None:
        self.base = base
        self._revisions = array("Q", [base_revision])  # by slot - base: the store's after it
        self._exceptions: dict[Slot, tuple[list[Skipped], int]] = {}  # with their cost
        self._cost = 0
        self._cost_max = exceptions_max
        self._disposal = disposal
        self.floor_revision = base_revision + 1

    def record(self, slot: Slot, revision: int, skipped: list[Skipped]) -> None:
        """Slot ``slot``, the next one, brought the store to ``revision``."""
        revisions = self._revisions
        if skipped and revision != revisions[-1]:  # a slot without changes needs no exceptions
            # However large a removal is, it is not forgotten before another one has come.
            keys_cost = sum(len(keys_of(each)) for each in skipped)
            cost = min(len(skipped) + keys_cost, self._cost_max // 2 or 1)
            self._exceptions[slot] = (skipped, cost)
            self._cost += cost
        revisions.append(revision)
        while self._cost > self._cost_max:
            oldest = next(iter(self._exceptions))
            self._drop(oldest)
            self.floor_revision = revisions[oldest - self.base] + 1

    def release(self, first: Slot) -> None:
        """The log begins at slot ``first`` now (at most the next one to come): forget what is kept
        of earlier slots. Their changes are compacted."""
        count = first - 1 - self.base
        if count <= 0:
            return
        assert count < len(self._revisions)
        self.base = first - 1
        del self._revisions[:count]
        self.floor_revision = max(self.floor_revision, self._revisions[0] + 1)
        for slot in [slot for slot in self._exceptions if slot < first]:
            self._drop(slot)

    def _drop(self, slot: Slot) -> None:
        skipped, cost = self._exceptions.pop(slot)
        self._cost -= cost
        for _, _, changed in skipped:
            if isinstance(changed, KeyRun):
                self._disposal.add(changed.chunks)

    def give_up(self) -> list[Any]:
        """All large containers in it, to be freed little by little; do not use it after that."""
        runs = [changed for skipped, _ in self._exceptions.values() for _, _, changed in skipped]
        return [chunk for keys in runs if isinstance(keys, KeyRun) for chunk in keys.chunks]

    def join(self, disposal: Disposal) -> None:
        """From now on ``disposal`` frees what is dropped: another machine has taken this over."""
        self._disposal = disposal

    def slot_of_revision(self, revision: int) -> Slot:
        """The slot that made ``revision``, which must not be below the floor; for one above the
        newest, the next slot to come."""
        return self.base + bisect_left(self._revisions, max(revision, self._revisions[0] + 1))

    def changes(self, slot: Slot, batch: Batch | None) -> list[Change | KeysChanged]:
        """As :meth:`Machine.changes_of`."""
        if slot <= self.base:
            raise HistoryCompactedError(slot, self.floor_revision)
        before, after = self._revisions[slot - 1 - self.base], self._revisions[slot - self.base]
        if batch is None or before == after:
            return []
        if after < self.floor_revision:
            raise HistoryCompactedError(slot, self.floor_revision)
        skipped, _ = self._exceptions.get(slot, ((), 0))
        changes = derive_changes(slot, batch, before, skipped)
        assert changes[-1].revision == after, "this is not the batch of the slot"
        return changes
