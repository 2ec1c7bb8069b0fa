"""What watchers must get: every change of the chosen log, once and in order.

    node applies a slot for the first time ──► WatchTruth ── follow ──► WatchJudge
                                       a watcher is handed changes ──────┘

The truth is what the first node that applied a slot changed there; that all nodes come to the same
state is checked elsewhere, and that these changes make the final state in :meth:`WatchTruth.rows`.
"""

from collections.abc import Sequence

from paxosd.core.commands import AnyChange, Change
from paxosd.core.types import Slot
from paxosd.sim.cluster.violation import Violation


class WatchTruth:
    """All changes so far. ``slot``: the last one that is in."""

    def __init__(self) -> None:
        self.slot: Slot = 0
        self.changes: list[Change] = []
        self._first = [0]
        """By revision: where its changes begin. Revisions have no gaps."""

    @property
    def revision(self) -> int:
        """The newest."""
        return len(self._first) - 1

    def extend(self, slot: Slot, changes: Sequence[Change]) -> None:
        """The next slot made these changes."""
        self.slot = slot
        for change in changes:
            if change.revision == self.revision + 1:
                self._first.append(len(self.changes))
            elif change.revision != self.revision:
                raise Violation(
                    "watch",
                    f"after revision {self.revision} comes {change.revision} in slot {slot}",
                )
            self.changes.append(change)

    def place_of(self, revision: int) -> int:
        """Where the changes from ``revision`` on begin."""
        return self._first[revision] if revision <= self.revision else len(self.changes)

    def rows(self, start: bytes, end: bytes, revision: int) -> list[tuple[bytes, bytes, int]]:
        """Keys of the range with values and modify revisions, as they were at ``revision``."""
        found: dict[bytes, tuple[bytes, int]] = {}
        for change in self.changes[: self.place_of(revision + 1)]:
            if not (start <= change.key and (not end or change.key < end)):
                continue
            if change.value is None:
                found.pop(change.key, None)
            else:
                found[change.key] = change.value, change.revision
        return [(key, *found[key]) for key in sorted(found)]


class WatchJudge:
    """Holds one watch against the truth: what it delivers, and what it says of itself."""

    def __init__(
        self, truth: WatchTruth, name: str, start: bytes, end: bytes, from_revision: int
    ) -> None:
        self.delivered = 0
        self._truth = truth
        self._name = name
        self._start = start
        self._end = end
        self._complete_to = from_revision - 1
        self._place = truth.place_of(from_revision)
        if self._complete_to > truth.revision:
            raise Violation(
                "watch", f"{name} begins after {self._complete_to}, {truth.revision} is the newest"
            )

    def deliver(self, changes: Sequence[AnyChange]) -> None:
        """Each must be the next change of the range."""
        for given in changes:
            change = Change(*given[:4])
            wanted = self._next()
            if wanted != change:
                raise Violation(
                    "watch",
                    f"{self._name} gets {_words(change)} where {_words(wanted)} is due",
                )
            self._place += 1
            self.delivered += 1

    def check(self, complete_to: int) -> None:
        """The watch says that every change up to ``complete_to`` was delivered."""
        if complete_to == self._complete_to:
            return
        if not self._complete_to < complete_to <= self._truth.revision:
            raise Violation(
                "watch",
                f"{self._name} is complete up to {complete_to} after {self._complete_to}, and "
                f"{self._truth.revision} is the newest revision",
            )
        self._complete_to = complete_to
        wanted = self._next()
        if wanted is not None and wanted.revision <= complete_to:
            raise Violation(
                "watch", f"{self._name} skipped {_words(wanted)}: it is complete to {complete_to}"
            )

    def _next(self) -> Change | None:
        changes = self._truth.changes
        while self._place < len(changes):
            change = changes[self._place]
            if self._start <= change.key and (not self._end or change.key < self._end):
                return change
            self._place += 1
        return None


def _words(change: Change | None) -> str:
    if change is None:
        return "nothing"
    done = "its end" if change.value is None else repr(change.value)
    return f"revision {change.revision} ({change.key!r}: {done})"
