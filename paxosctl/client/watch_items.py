"""From the changes that a watch delivers to what its user gets: filtered, marked, in groups."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from paxosctl.client.results import ChangeGroup, Progress, WatchItem
from paxosd.core.commands import AnyChange, ChangeOf
from paxosd.host.clock import clock_ms

PUTS, DELETES = "puts", "deletes"
GROUP_BYTES_MAX = 1 << 20
"""A revision of more is given in several groups."""
CHANGE_OVERHEAD_BYTES = 200


class WatchWants(NamedTuple):
    """``only``: PUTS or DELETES; None: all changes. ``progress_ms``: a mark after so long without
    anything else. ``groups``: the changes of a revision together."""

    only: str | None = None
    progress_ms: int | None = None
    groups: bool = False

    @classmethod
    def of(cls, only: str | None, progress_s: float | None, *, groups: bool) -> "WatchWants":
        """Raises ValueError for what is none."""
        if only not in (None, PUTS, DELETES):
            raise ValueError(f'only is "{PUTS}" or "{DELETES}", not {only!r}')
        if progress_s is not None and not progress_s > 0:
            raise ValueError(f"progress_s is above 0, not {progress_s}")
        progress_ms = None if progress_s is None else max(1, int(progress_s * 1000))
        return cls(only, progress_ms, groups)

    def takes(self, change: AnyChange) -> bool:
        """Whether it is of the kind that is wanted."""
        return self.only is None or (change.value is None) == (self.only == DELETES)


ALL_CHANGES = WatchWants()


class WatchItems:
    """The changes that have come and were not taken. One thread adds them, another may take."""

    __slots__ = ("_changes", "_quiet_since_ms", "_taken_bytes", "_unended", "_wants",
                 "came_bytes")  # fmt: skip

    def __init__(self, wants: WatchWants) -> None:
        self._wants = wants
        self._changes: deque[AnyChange] = deque()
        self._quiet_since_ms = clock_ms()
        self._unended: ChangeGroup | None = None
        """The last group that was given, if more groups of its revision follow."""
        # Two counters, for two threads may count: what came, and what was taken.
        self.came_bytes = 0
        self._taken_bytes = 0

    def add(self, changes: Sequence[AnyChange]) -> None:
        """These were delivered."""
        wanted = list(filter(self._wants.takes, changes))
        self._changes.extend(wanted)
        self.came_bytes += sum(map(_weight, wanted))

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of changes have come and not yet been taken."""
        return self.came_bytes - self._taken_bytes

    @property
    def first_revision(self) -> int | None:
        """That of the next change; None: there is none."""
        return self._changes[0].revision if self._changes else None

    def is_ready(self, complete_to: int, *, live: bool) -> bool:
        """Whether :meth:`take` gives something."""
        changes = self._changes
        if not self._wants.groups:
            ready = bool(changes)
        elif self._unended is not None and self._unended.revision <= complete_to:
            ready = True
        else:
            ready = bool(changes) and (
                changes[0].revision <= complete_to or self.waiting_bytes >= GROUP_BYTES_MAX
            )
        return ready or (live and not changes and clock_ms() >= self.mark_due_ms)

    @property
    def mark_due_ms(self) -> float:
        """When a mark is due, if nothing comes until then."""
        after_ms = self._wants.progress_ms
        return float("inf") if after_ms is None else self._quiet_since_ms + after_ms

    def take(self, complete_to: int, *, live: bool) -> WatchItem | None:
        """The next item, if there is one. Every change up to ``complete_to`` was delivered."""
        if not self.is_ready(complete_to, live=live):
            return None
        if self._wants.groups:
            group = self._take_group(complete_to)
            if group is not None:
                return group
        else:
            change = self._take()
            if change is not None:
                return change
        if self._changes or clock_ms() < self.mark_due_ms:
            return None  # another thread was faster
        self._quiet_since_ms = clock_ms()
        return Progress(complete_to)

    def _take(self) -> AnyChange | None:
        try:
            change = self._changes.popleft()
        except IndexError:
            return None
        self._taken_bytes += _weight(change)
        self._quiet_since_ms = clock_ms()
        return change

    def _take_group(self, complete_to: int) -> ChangeGroup | None:
        """Called by one thread at a time."""
        unended, self._unended = self._unended, None
        changes = self._changes
        if unended is not None and self.first_revision != unended.revision:
            return unended._replace(changes=[], is_last=True)
        if not changes:
            return None
        first = changes[0]
        is_whole = first.revision <= complete_to
        taken: list[AnyChange] = []
        left_bytes = GROUP_BYTES_MAX
        while changes and changes[0].revision == first.revision and left_bytes > 0:
            left_bytes -= _weight(changes[0])
            change = self._take()
            if change is not None:
                taken.append(change)
        is_last = is_whole and self.first_revision != first.revision
        group = ChangeGroup(first.revision, first.slot, taken, is_last)
        self._unended = None if is_last else group
        return group


def _weight(change: AnyChange) -> int:
    size = CHANGE_OVERHEAD_BYTES + len(change.key) + len(change.value or b"")
    if isinstance(change, ChangeOf) and change.previous is not None:
        size += CHANGE_OVERHEAD_BYTES + len(change.previous.value)
    return size
