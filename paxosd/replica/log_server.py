"""Pages of old changes for watchers, and of old slots for peers.

The changes of the revisions that all nodes keep (``core/state/undo_log.py``) are in memory. What is
older is read back from the log, slot by slot, as long as this node has it. Both come in bounded
pieces, so that a watcher or peer that is far behind costs the daemon's loop a few ms a request and
never more.

A page of history is complete: it holds every change of the asked range from ``from_revision``
up to ``next_revision`` (exclusive). A change of very many keys is one revision of several pages:
a watcher that asks with SPLIT (``core/requests.py``) gets the first keys of it, and asks for the
rest. For a watcher of an earlier version no revision is split. So one revision alone may exceed its
``limit_bytes``; and one that does not even fit a frame is refused as compacted, naming the revision
after it: that watcher must read the present state, as with history that is gone.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol

from paxosd.core.commands import Batch, Change, ChangeOf, KeysChanged, KeyValue
from paxosd.core.effects import COMPACTED, INVALID
from paxosd.core.messages import Decisions, Sample
from paxosd.core.requests import PREVIOUS, SPLIT, HistoryAnswer, HistoryRequest, RefusalAnswer
from paxosd.core.state.history import HistoryCompactedError
from paxosd.core.state.key_index import KeyRun
from paxosd.core.types import Ballot, Slot
from paxosd.core.work import UNIT_BYTES, Work

PAGE_BYTES_MAX = 1 << 20
PAGE_SLOTS_MAX = 256
KEPT_AT_ONCE = 64
ANSWER_BYTES_MAX = 8 << 20
"""No single revision of more bytes is served. Half the default limit of a message."""
SCAN_BYTES_MAX = 1 << 20
"""A page ends after this many bytes were looked at, wanted or not, where each change counts
for its key, its value and 256 bytes of work: so some 4,000 small ones, which take some 10 ms."""

_CHANGE_OVERHEAD_BYTES = 32
_SCAN_OVERHEAD_BYTES = 256
_VALUE_OVERHEAD_BYTES = 96
NO_PREVIOUS = (
    "the previous values of revision {} are not kept, but from revision {} on: there are those of "
    "the newest revisions (history_revisions in `paxosctl cluster show`), from feature level 4 on"
)


class HistorySource(Protocol):
    """The part of the state machine that is needed here; for
    :class:`paxosd.core.state.machine.Machine`."""

    applied: Slot
    work: Work
    """To which what was done here is added."""

    @property
    def revision(self) -> int:
        """The store's revision after ``applied``."""
        ...

    @property
    def history_floor_revision(self) -> int:
        """The oldest revision whose changes can be derived from the log."""
        ...

    @property
    def kept_from_revision(self) -> int:
        """The changes above this revision are in memory."""
        ...

    def kept_changes(self, first: int, last: int) -> list[Change | KeysChanged]:
        """Those of the revisions ``first ..= last``."""
        ...

    def key_before(self, revision: int, key: bytes) -> KeyValue | None:
        """A key as it was before a revision, in memory, that changed it."""
        ...

    def slot_of_revision(self, revision: int) -> Slot:
        """The slot that made it; ``applied + 1`` for one to come."""
        ...

    def changes_of(self, slot: Slot, batch: Batch | None) -> list[Change | KeysChanged]:
        """All changes of an applied slot, in order; may raise HistoryCompactedError."""
        ...


def serve_history(
    request: HistoryRequest,
    machine: HistorySource,
    read_batch: Callable[[Slot], Batch | None],
    *,
    answer_bytes_max: int = ANSWER_BYTES_MAX,
    part: int = 1,
) -> HistoryAnswer | RefusalAnswer:
    """One page of history, of 1/``part`` of the most that a page may take to make.

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
    newest = machine.revision
    if at > newest:
        return HistoryAnswer(request.request_id, [], at, newest)
    flags, limit_bytes = divmod(request.limit_bytes, SPLIT)
    limit_bytes = min(limit_bytes or PAGE_BYTES_MAX, PAGE_BYTES_MAX // part)
    if flags:
        limit_bytes = min(limit_bytes, answer_bytes_max)
    page = _Page(start, end, limit_bytes, answer_bytes_max, may_split=bool(flags))
    page.scan_bytes_max //= part
    kept_from = machine.kept_from_revision + 1
    if flags & PREVIOUS // SPLIT:
        page.before = machine.key_before
        if at < kept_from:
            return _refuse(request, COMPACTED, NO_PREVIOUS.format(at, kept_from), kept_from)
    if at >= kept_from:
        answer = _serve_kept(request, machine, page, at)
    else:
        answer = _serve_logged(request, machine, read_batch, page, at, PAGE_SLOTS_MAX // part)
    machine.work.units += page.units
    return answer


def _serve_logged(
    request: HistoryRequest,
    machine: HistorySource,
    read_batch: Callable[[Slot], Batch | None],
    page: "_Page",
    at: int,
    slots_max: int,
) -> HistoryAnswer | RefusalAnswer:
    """A page of what is read back from the log, of so many slots."""
    kept_from = machine.kept_from_revision + 1
    if at < machine.history_floor_revision:
        return _compacted(request, at, min(machine.history_floor_revision, kept_from))
    first = machine.slot_of_revision(at)
    last = min(machine.applied, first + slots_max - 1)
    for slot in range(first, last + 1):
        page.units += 1
        try:
            changes = machine.changes_of(slot, read_batch(slot))
        except HistoryCompactedError as error:
            return _compacted(request, at, min(error.first_revision, kept_from))
        except KeyError:
            return _compacted(request, at, min(_revision_after(machine, slot), kept_from))
        if page.add([change for change in changes if change.revision >= at]):
            return _ended(request, page, machine.revision)
    # The next page begins above everything looked at here, NOOPs at the end included.
    next_revision = _revision_after(machine, last)
    return HistoryAnswer(request.request_id, page.changes, next_revision, machine.revision)


def _serve_kept(
    request: HistoryRequest, machine: HistorySource, page: "_Page", at: int
) -> HistoryAnswer | RefusalAnswer:
    """A page of what is in memory."""
    newest = machine.revision
    while at <= newest:
        last = min(newest, at + KEPT_AT_ONCE - 1)
        if page.add(machine.kept_changes(at, last)):
            return _ended(request, page, newest)
        at = last + 1
    return HistoryAnswer(request.request_id, page.changes, newest + 1, newest)


def _ended(request: HistoryRequest, page: "_Page", newest: int) -> HistoryAnswer | RefusalAnswer:
    """The answer with a page that is full."""
    detail = page.too_large
    if not detail:
        return HistoryAnswer(request.request_id, page.changes, page.next_revision, newest)
    return _refuse(
        request,
        COMPACTED,
        f"revision {detail} changed more keys than one answer holds: read the present "
        f"state, then watch from revision {detail + 1} on",
        detail + 1,
    )


class _Page:
    """Collects whole revisions until one too many does not fit, or else, if it ``may_split``,
    until it is full."""

    def __init__(
        self, start: bytes, end: bytes, limit_bytes: int, answer_bytes_max: int, *, may_split: bool
    ) -> None:
        self.changes: list[Any] = []
        self.before: Callable[[int, bytes], KeyValue | None] | None = None
        """If set, each change comes with what it gives for revision and key."""
        self.scan_bytes_max = SCAN_BYTES_MAX
        self.next_revision = 0
        self.too_large = 0
        self.units = 0
        """What was looked at for it, wanted or not."""
        self._start = start
        self._end = end
        self._limit_bytes = limit_bytes
        self._answer_bytes_max = answer_bytes_max
        self._may_split = may_split
        self._bytes = 0
        self._scanned_bytes = 0

    def add(self, changes: list[Change | KeysChanged]) -> bool:
        """True if the page is full: it then ends before ``next_revision``, or within it. A
        revision lies within one slot, so a page that is not full holds whole revisions only."""
        for change in changes:
            if self._bytes >= self._limit_bytes or self._scanned_bytes >= self.scan_bytes_max:
                self.next_revision = change.revision
                return True
            if type(change) is KeysChanged:
                if self._add_group(change):
                    return True
                continue
            assert type(change) is Change
            size = _size(change.key, change.value or b"")
            self._scan(size)
            if change.key < self._start or (self._end and change.key >= self._end):
                continue
            if self.changes and self._bytes + size > self._limit_bytes:
                self.next_revision = change.revision  # which begins the next page
                return True
            self._append(change)
            self._bytes += size
            if self._bytes > self._answer_bytes_max:
                self.too_large = change.revision
                return True
        return False

    def _scan(self, size: int) -> None:
        self._scanned_bytes += size + _SCAN_OVERHEAD_BYTES
        self.units += 1 + size // UNIT_BYTES

    def _append(self, change: Change) -> None:
        if self.before is None:
            self.changes.append(change)
            return
        previous = self.before(change.revision, change.key)
        self.changes.append(ChangeOf(*change, previous))
        if previous is not None:
            self._bytes += len(change.key) + len(previous.value)
            self.units += 1 + len(previous.value) // UNIT_BYTES

    def _add_group(self, changed: KeysChanged) -> bool:
        """As :meth:`add`, for a change of many keys."""
        revision, slot, keys, values, _ = changed
        run = keys if isinstance(keys, KeyRun) else KeyRun([list(keys)])
        first, stop = run.span(self._start, self._end)
        mark, mark_bytes = len(self.changes), self._bytes
        for position, key in enumerate(islice(run.keys_from(first), stop - first), first):
            value = values.get(key)
            size = _size(key, value or b"")
            full = (
                self._bytes + size > self._limit_bytes or self._scanned_bytes >= self.scan_bytes_max
            )
            if full and self._may_split and position > first:
                self.next_revision = revision  # which goes on in the next page
                return True
            if self._bytes + size > self._limit_bytes and mark and not self._may_split:
                del self.changes[mark:]
                self._bytes = mark_bytes
                self.next_revision = revision  # which begins the next page
                return True
            self._append(Change(revision, slot, key, value))
            self._bytes += size
            self._scan(size)
            if self._bytes > self._answer_bytes_max:
                self.too_large = revision
                return True
        return False


def _size(key: bytes, value: bytes) -> int:
    """What a change counts in a page."""
    return len(key) + len(value) + _CHANGE_OVERHEAD_BYTES


def serve_log(
    first: Slot,
    last: Slot,
    read: Callable[[Slot], tuple[Ballot, bytes]],
    bytes_max: float,
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
