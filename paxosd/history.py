"""Serves what is no longer in memory: old changes to watchers, old slots to peers.

Both are read back from the log, slot by slot, in bounded pieces, so that one who is far behind
costs the daemon's loop a few ms a request and never more.

A page of history is complete: it holds every change of the asked range from ``from_revision``
up to ``next_revision`` (exclusive), and revisions are never split between pages, since the next
page is asked for by revision. So one revision alone may exceed the asked ``limit_bytes``. One
that does not even fit a frame (a removal of very many keys) is refused as compacted, naming the
revision after it: the watcher must read the present state, as with history that is gone.
"""

from collections.abc import Callable
from typing import Protocol

from paxosd.core.commands import Batch, Change
from paxosd.core.effects import COMPACTED, INVALID
from paxosd.core.machine import HistoryCompactedError
from paxosd.core.messages import Decisions, Sample
from paxosd.core.requests import HistoryAnswer, HistoryRequest, RefusalAnswer
from paxosd.core.types import Ballot, Slot

PAGE_BYTES_MAX = 1 << 20
PAGE_SLOTS_MAX = 2000
ANSWER_BYTES_MAX = 8 << 20
"""No single revision of more bytes is served. Half the default limit of a message."""
SCAN_BYTES_MAX = 4 << 20
"""A page ends after this many bytes were looked at, wanted or not, where each change counts
for its key, its value and 256 bytes of work: so some 15,000 small ones."""

_CHANGE_OVERHEAD_BYTES = 32
_SCAN_OVERHEAD_BYTES = 256
_VALUE_OVERHEAD_BYTES = 96


class HistorySource(Protocol):
    """What of the state machine this needs; :class:`paxosd.core.machine.Machine` has it."""

    applied: Slot

    @property
    def revision(self) -> int:
        """The store's revision after ``applied``."""
        ...

    @property
    def history_floor_revision(self) -> int:
        """The oldest revision whose changes can be told."""
        ...

    def slot_of_revision(self, revision: int) -> Slot:
        """The slot that made it; ``applied + 1`` for one to come."""
        ...

    def changes(self, slot: Slot, batch: Batch | None) -> list[Change]:
        """All changes of an applied slot, in order; may raise HistoryCompactedError."""
        ...


def serve_history(
    request: HistoryRequest,
    machine: HistorySource,
    read_batch: Callable[[Slot], Batch | None],
    *,
    answer_bytes_max: int = ANSWER_BYTES_MAX,
) -> HistoryAnswer | RefusalAnswer:
    """One page of history.

    ``from_revision`` 0 is taken as 1, the first there is. One above the newest revision gives
    an empty page with ``next_revision == from_revision``. ``limit_bytes`` is cut to 1 MiB; 0
    means that. ``read_batch(slot)`` gives the decoded value of an applied slot (None: a NOOP)
    and raises KeyError if the log no longer has it, which is answered as COMPACTED with the
    first revision after the lost slot. Errors of the storage pass through.
    """
    start, end = request.start, request.end
    if end and end <= start:
        return _refuse(request, INVALID, "the end of the range is not above its start", 0)
    at = max(request.from_revision, 1)
    floor = machine.history_floor_revision
    newest = machine.revision
    if at < floor:
        return _compacted(request, at, floor)
    if at > newest:
        return HistoryAnswer(request.request_id, [], at, newest)
    limit_bytes = min(request.limit_bytes or PAGE_BYTES_MAX, PAGE_BYTES_MAX)
    page = _Page(start, end, limit_bytes, answer_bytes_max)
    first = machine.slot_of_revision(at)
    last = min(machine.applied, first + PAGE_SLOTS_MAX - 1)
    for slot in range(first, last + 1):
        try:
            changes = machine.changes(slot, read_batch(slot))
        except HistoryCompactedError as error:
            return _compacted(request, at, error.first_revision)
        except KeyError:
            return _compacted(request, at, _revision_after(machine, slot))
        full = page.add([change for change in changes if change.revision >= at])
        if page.too_large:
            detail = page.too_large
            return _refuse(
                request,
                COMPACTED,
                f"revision {detail} removed more keys than one answer holds: read the present "
                f"state, then watch from revision {detail + 1} on",
                detail + 1,
            )
        if full:
            return HistoryAnswer(request.request_id, page.changes, page.next_revision, newest)
    # The next page begins above everything looked at here, NOOPs at the end included.
    next_revision = _revision_after(machine, last)
    return HistoryAnswer(request.request_id, page.changes, next_revision, newest)


class _Page:
    """Collects whole revisions until one too many does not fit."""

    def __init__(self, start: bytes, end: bytes, limit_bytes: int, answer_bytes_max: int) -> None:
        self.changes: list[Change] = []
        self.next_revision = 0
        self.too_large = 0
        self._start = start
        self._end = end
        self._limit_bytes = limit_bytes
        self._answer_bytes_max = answer_bytes_max
        self._bytes = 0
        self._scanned_bytes = 0
        self._revision = 0  # of the last change seen
        self._mark = 0  # where its changes begin in the page
        self._mark_bytes = 0

    def add(self, changes: list[Change]) -> bool:
        """True if the page is full: it then ends before ``next_revision``. A revision lies
        within one slot, so a page that is not full holds whole revisions only."""
        start, end = self._start, self._end
        for change in changes:
            if change.revision != self._revision:
                if self._bytes >= self._limit_bytes or self._scanned_bytes >= SCAN_BYTES_MAX:
                    self.next_revision = change.revision
                    return True
                self._revision = change.revision
                self._mark = len(self.changes)
                self._mark_bytes = self._bytes
            size = len(change.key) + len(change.value or b"") + _CHANGE_OVERHEAD_BYTES
            self._scanned_bytes += size + _SCAN_OVERHEAD_BYTES
            if change.key < start or (end and change.key >= end):
                continue
            self.changes.append(change)
            self._bytes += size
            if self._bytes > self._limit_bytes and self._mark:
                del self.changes[self._mark :]  # this revision begins the next page
                self._bytes = self._mark_bytes
                self.next_revision = change.revision
                return True
            if self._bytes > self._answer_bytes_max:
                self.too_large = change.revision
                return True
        return False


def serve_log(
    first: Slot,
    last: Slot,
    read: Callable[[Slot], tuple[Ballot, bytes]],
    bytes_max: int,
    commit: Slot,
    before: tuple[Sample, ...] = (),
) -> Decisions | None:
    """The chosen values of ``first ..= last`` for a peer that lacks them, as many as fit
    ``bytes_max``, at least one. None if there is not even the first, or the range is empty.

    ``read(slot)`` raises KeyError for a slot that it does not have; the message ends before it.
    ``commit``: this node's commit index; nothing above it is served. ``before``: its chain before
    ``first``.
    """
    values: list[tuple[Ballot, bytes]] = []
    size = 0
    for slot in range(first, min(last, commit) + 1):
        try:
            ballot, value = read(slot)
        except KeyError:
            break
        size += len(value) + _VALUE_OVERHEAD_BYTES
        if values and size > bytes_max:
            break
        values.append((ballot, value))
    return Decisions(first, tuple(values), commit, before) if values else None


def _revision_after(machine: HistorySource, slot: Slot) -> int:
    """The first revision made above ``slot``, found by bisection over the revisions."""
    low, high = machine.history_floor_revision, machine.revision + 1
    while low < high:
        middle = (low + high) // 2
        if machine.slot_of_revision(middle) > slot:
            high = middle
        else:
            low = middle + 1
    return low


def _compacted(request: HistoryRequest, at: int, first: int) -> RefusalAnswer:
    return _refuse(
        request,
        COMPACTED,
        f"compacted at {first}: the history from revision {at} on is gone, and begins at revision "
        f"{first} now. Read the present state, then watch from its revision on",
        first,
    )


def _refuse(request: HistoryRequest, code: str, message: str, detail: int) -> RefusalAnswer:
    return RefusalAnswer(request.request_id, code, message, "", "", detail)
