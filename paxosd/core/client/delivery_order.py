"""The order of one watch: what was delivered, and whether a change is the next one.

    WatchState ── live message ──► take      ──► covered or not, and what to deliver
               ── history page ──► take_page ──► what to deliver

These are rules 1, 2, 4 and 6 of ``watch.py``. A revision that removes many keys makes many
messages: as long as it is not complete, what came of it is counted (``_partial_…``).
"""

from collections.abc import Sequence

from paxosd.core.commands import AnyChange, Change, prefix_end
from paxosd.core.events import ChangeEvent, NumberedChangeEvent, ProgressEvent
from paxosd.core.requests import HistoryAnswer, HistoryRequest

Event = ChangeEvent | NumberedChangeEvent | ProgressEvent


class DeliveryOrder:
    """``complete_to``: every change of the watched range with a revision up to it was delivered;
    -1: not known yet. ``range``: ``(start, end)`` of the watched keys."""

    __slots__ = ("_anchor", "_numbered_index", "_numbered_revision", "_partial_delivered",
                 "_partial_index", "_partial_key", "_partial_revision", "_source", "complete_to",
                 "key", "prefix", "range")  # fmt: skip

    def __init__(self, key: bytes, *, prefix: bool, complete_to: int) -> None:
        self.key = key
        self.prefix = prefix
        self.range = (key, prefix_end(key) if prefix else key + b"\0")
        self.complete_to = complete_to
        self._source: tuple[str, int] | None = None  # the node and its boot count
        self._anchor: int | None = None  # the number of the last message known to be covered
        self._numbered_revision = 0  # of the change at the anchor, if a change set it
        self._numbered_index = 0
        self._partial_revision = 0  # one that is not known to be complete; 0: there is none
        self._partial_index = 0  # so many changes of the prefix came of it, wanted or not
        self._partial_delivered = 0  # so many of these were wanted
        self._partial_key = b""  # the last of them

    def begin_after(self, revision: int) -> None:
        """A watch "from now": this is the newest revision at the first contact."""
        self.complete_to = revision

    def leave_source(self) -> None:
        """The next message is another node's, or of another start: it has no anchor yet."""
        self._source = None
        self._lose_anchor()

    def take(self, event: Event, delivered: list[Change]) -> bool:
        """Take a live message; what is to be delivered is added to ``delivered``. False: something
        before it is missing, and it was not taken."""
        source = (event.node, event.boot_count)
        if source != self._source:
            self._source = source
            self._lose_anchor()
        if isinstance(event, ProgressEvent):
            return self._take_progress(event)
        return self._take_change(event, delivered)

    def _take_progress(self, event: ProgressEvent) -> bool:
        # The changes of a node of version 0.1 do not say when a revision is whole.
        whole = event.seq == self._anchor and event.last_revision == self._numbered_revision
        if event.last_revision > self.complete_to and not whole:
            return False
        self._anchor = event.seq
        self._numbered_revision = 0
        self._complete(event.revision)
        return True

    def _take_change(
        self, event: ChangeEvent | NumberedChangeEvent, delivered: list[Change]
    ) -> bool:
        """Deliver it if it is the next one. Returns whether nothing before it is missing."""
        if isinstance(event, NumberedChangeEvent):
            return self._take_numbered(event, delivered)
        place = event.place_of(self.key)
        if place is None:
            return True  # sent for another watcher before the node knew of this one
        if event.revision <= self.complete_to:
            return True
        if place.previous > self.complete_to:
            return False
        return self._take_next(event, place.ordinal, place.total, delivered)

    def _take_numbered(self, event: NumberedChangeEvent, delivered: list[Change]) -> bool:
        """As :meth:`_take_change`, by the rules of version 0.1. The stream is in order of
        revision: before the number that follows the anchor nothing can be missing."""
        seq = event.seq_of(self.key)
        if seq is None:
            return True
        again = event.revision == self._numbered_revision
        index = self._numbered_index + 1 if again else 0
        if event.revision > self.complete_to and seq - 1 != self._anchor:
            return False
        self._anchor = seq
        self._numbered_revision, self._numbered_index = event.revision, index
        if event.revision <= self.complete_to:
            return True
        return self._take_next(event, index, 0, delivered)

    def _take_next(
        self,
        event: ChangeEvent | NumberedChangeEvent,
        ordinal: int,
        total: int,
        delivered: list[Change],
    ) -> bool:
        """A change of the first revision that is not complete. ``total`` 0: not known."""
        revision = event.revision
        expected = self._partial_index if revision == self._partial_revision else 0
        if ordinal != expected:
            return ordinal < expected  # it came once more, or one before it did not come
        self._complete(revision - 1)
        self._partial_revision = revision
        self._partial_index = ordinal + 1
        if self._wanted(event.key):
            self._partial_delivered += 1
            self._partial_key = event.key
            delivered.append(Change(revision, event.slot, event.key, event.value))
        if ordinal + 1 == total:
            self._complete(revision)
        return True

    def take_page(self, request: HistoryRequest, answer: HistoryAnswer) -> Sequence[AnyChange]:
        """The changes to deliver of a page of history for which :meth:`is_sound` holds."""
        changes = answer.changes
        if request.start != self.range[0]:  # only the rest of one revision is complete
            revision = request.from_revision
            changes = [change for change in changes if change.revision == revision]
            if answer.next_revision > revision:
                self._complete(revision)
            else:
                self._go_on_in(revision, self._partial_delivered + len(changes), changes)
            return changes
        missing = changes[self._partial_delivered :]
        self._complete(answer.next_revision - 1)
        if _ends_within(answer):
            revision = answer.next_revision
            count = sum(change.revision == revision for change in changes)
            self._go_on_in(revision, count, changes)
        return missing

    def is_sound(self, request: HistoryRequest, answer: HistoryAnswer) -> bool:
        """Whether a page of history keeps to the protocol, and agrees with what was delivered."""
        start, end = request.start, request.end
        at = request.from_revision
        if answer.next_revision < at:
            return False
        key = b""
        for change in answer.changes:
            if not at <= change.revision <= answer.next_revision:
                return False
            if change.key < start or (end and change.key >= end):
                return False
            if change.revision == at and key and change.key <= key:
                return False
            at, key = change.revision, change.key
        if _ends_within(answer) and not self.prefix:
            return False  # there is but one key
        if answer.next_revision <= self._partial_revision or start != self.range[0]:
            return True
        # Here is all of a revision that was delivered in part: the same changes, and perhaps more.
        revisions = [change.revision for change in answer.changes[: self._partial_delivered]]
        return revisions == [self._partial_revision] * self._partial_delivered

    def missing_range(self) -> tuple[bytes, bytes]:
        """The keys to ask the history for, from revision ``complete_to + 1`` on."""
        start, end = self.range
        if self.prefix and self._partial_delivered:
            start = self._partial_key + b"\0"
        return start, end

    def _go_on_in(self, revision: int, delivered: int, changes: Sequence[AnyChange]) -> None:
        """Of ``revision`` this many changes were delivered, the last ones of ``changes`` now."""
        self._partial_revision = revision
        self._partial_index = self._partial_delivered = delivered
        if changes:
            self._partial_key = changes[-1].key

    def _complete(self, revision: int) -> None:
        self.complete_to = max(self.complete_to, revision)
        if self._partial_revision <= self.complete_to:
            self._partial_revision = self._partial_index = self._partial_delivered = 0

    def _lose_anchor(self) -> None:
        self._anchor = None
        self._numbered_revision = self._numbered_index = 0

    def _wanted(self, key: bytes) -> bool:
        return self.prefix or key == self.key


def _ends_within(answer: HistoryAnswer) -> bool:
    """Whether the revision of its last change is not whole."""
    return bool(answer.changes) and answer.changes[-1].revision == answer.next_revision
