"""A model of the store at every revision, as far as a history shows it."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from paxosd.check.history import (
    CAS,
    DELETE,
    DELETE_RANGE,
    FAILED,
    GET,
    OK,
    PUT,
    RANGE,
    READS,
    UNKNOWN,
    Operation,
)
from paxosd.check.register import keys_of


class _Uncertain:
    def __repr__(self) -> str:
        return "uncertain"


UNCERTAIN: Final = _Uncertain()
"""Stands for a value that an unknown write may have made."""

Held = bytes | None | _Uncertain


class Placed(NamedTuple):
    """A write and its revision: from the answer to its client, or seen by a reader."""

    key: bytes
    revision: int
    operation: Operation


class Loose(NamedTuple):
    """A write whose revision is not known, and its place in the history."""

    operation: Operation
    number_in_list: int


class Version(NamedTuple):
    """What a key held from a revision on, and the operation that made it so. ``made_at``: its
    modify revision, 0 for no such key, -1 if uncertain."""

    revision: int
    value: Held
    made_at: int
    maker: Operation | None


def effective(operation: Operation) -> bool:
    """Whether an acknowledged operation moved the revision."""
    if operation.kind == PUT:
        return True
    return operation.kind in (CAS, DELETE, DELETE_RANGE) and bool(operation.result)


class Timeline:
    """The versions of every key.

    ``contradictions``: pairs of places of one and the same write. ``gaps``: revisions up to the
    highest known one that no known write made; from the very first one if ``alone``. ``loose``:
    writes that took or may have taken effect, and have no place.
    """

    def __init__(
        self,
        held: Sequence[Operation],
        writes: Sequence[Operation],
        floors: Sequence[int],
        *,
        alone: bool,
        others: Collection[int] = (),
    ) -> None:
        """``others``: revisions that somebody else is known to have made."""
        self._held = held
        self._keys = keys_of(held)
        # Identity names an operation here; it never decides an order.
        self._index = {id(each): number for number, each in enumerate(held)}
        self.contradictions: list[tuple[Placed, Placed]] = []
        self._by_revision = {op.revision: Placed(op.key, op.revision, op) for op in writes}
        self._place_unknown()
        placed = {id(each.operation) for each in self._by_revision.values()}
        self.loose = [
            Loose(each, number)
            for number, each in enumerate(held)
            if _may_have_written(each) and id(each) not in placed
        ]
        self._revisions = sorted(self._by_revision)
        known = [*self._revisions, *(op.revision for op in held if _shows_store_revision(op))]
        self._top = max(known, default=0)
        first = 1 if alone else max(min(known, default=1) - 1, 1)
        self.gaps = [
            n for n in range(first, self._top + 1) if n not in self._by_revision and n not in others
        ]
        self._ceilings = self._make_ceilings()
        self._versions: dict[bytes, list[Version]] = {
            key: [Version(-1, None, 0, None)] for key in self._keys
        }
        self._fill(floors)

    # -- questions

    def value_at(self, key: bytes, revision: int) -> Held:
        """What the key held once ``revision`` was made."""
        return self._version(key, revision).value

    def revision_at(self, key: bytes, revision: int) -> int:
        """The modify revision of the key then; 0: no such key, -1: uncertain."""
        return self._version(key, revision).made_at

    def makers(self, key: bytes, revision: int) -> Iterator[Operation]:
        """The write that the key had last, if there was one."""
        maker = self._version(key, revision).maker
        if maker is not None:
            yield maker

    def keys_in(self, operation: Operation) -> list[bytes]:
        """The known keys in a range."""
        first = bisect_left(self._keys, operation.key)
        end = bisect_left(self._keys, operation.end) if operation.end else len(self._keys)
        return self._keys[first:end]

    def changes_between(self, read: Operation, low: int, high: int) -> list[int]:
        """The revisions above ``low`` up to ``high`` at which a key in the range changed."""
        points: set[int] = set()
        for key in self.keys_in(read):
            versions = self._versions[key]
            first = bisect_right(versions, low, key=_revision_of)
            end = bisect_right(versions, high, key=_revision_of)
            points.update(version.revision for version in versions[first:end])
        return sorted(points)

    def around(self, revision: int) -> tuple[Operation | None, Operation | None]:
        """The known writes before and after a gap."""
        place = bisect_left(self._revisions, revision)
        before = self._by_revision[self._revisions[place - 1]].operation if place else None
        after = None
        if place < len(self._revisions):
            after = self._by_revision[self._revisions[place]].operation
        return before, after

    def index_of(self, operation: Operation) -> int:
        """Its place in the history."""
        return self._index[id(operation)]

    def ceiling(self, read: Operation) -> int:
        """The highest revision that a read can have seen: all that began later is above it."""
        place = bisect_right(self._held, read.returned, key=_invoked_of)
        return self._ceilings[place]

    # -- construction

    def _version(self, key: bytes, revision: int) -> Version:
        versions = self._versions.get(key)
        if versions is None:
            return Version(-1, None, 0, None)
        return versions[bisect_right(versions, revision, key=_revision_of) - 1]

    def _place_unknown(self) -> None:
        """Give a place to writes whose value a reader saw together with its revision."""
        writers = unique_writers(self._held)
        at = {id(each.operation): each for each in self._by_revision.values()}
        for read in self._held:
            if read.outcome != OK or read.kind not in READS:
                continue
            for key, value, modified in seen_with_revision(read):
                writer = writers.get((key, value))
                if writer is None or writer.outcome == FAILED:
                    continue
                place = Placed(key, modified, writer)
                known = at.setdefault(id(writer), place)
                other = self._by_revision.get(modified, known)
                if known.revision != modified:
                    self.contradictions.append((known, Placed(key, modified, read)))
                elif other.operation is not writer:
                    self.contradictions.append((other, place))
                elif writer.revision < 0:
                    self._by_revision[modified] = place

    def _make_ceilings(self) -> list[int]:
        """For each place in the history, the highest revision below all writes from there on."""
        revision_of = {id(each.operation): each.revision for each in self._by_revision.values()}
        lowest = self._top + 2  # a revision that is not known may follow the last one
        ceilings = [lowest - 1]
        for operation in reversed(self._held):
            lowest = min(lowest, revision_of.get(id(operation), lowest))
            ceilings.append(lowest - 1)
        ceilings.reverse()
        return ceilings

    def _fill(self, floors: Sequence[int]) -> None:
        """Replay known writes and gaps in order."""
        waiting = sorted(self.loose, key=lambda each: floors[each.number_in_list], reverse=True)
        possible: list[Loose] = []
        gaps = [*self.gaps, self._top + 1] if self.loose else []
        for revision in sorted([*self._revisions, *gaps]):
            while waiting and floors[waiting[-1].number_in_list] < revision:
                possible.append(waiting.pop())
            placed = self._by_revision.get(revision)
            if placed is not None:
                self._write(placed.operation, revision)
                continue
            for each in possible:
                self._blur(each.operation, revision)

    def _write(self, operation: Operation, revision: int) -> None:
        if operation.kind == DELETE_RANGE:
            for key in self.keys_in(operation):
                if self._versions[key][-1].value is not None:
                    self._versions[key].append(Version(revision, None, 0, operation))
            return
        removal = operation.kind == DELETE
        value = None if removal else operation.value
        version = Version(revision, value, 0 if removal else revision, operation)
        self._versions[operation.key].append(version)

    def _blur(self, operation: Operation, revision: int) -> None:
        keys = self.keys_in(operation) if operation.kind == DELETE_RANGE else [operation.key]
        for key in keys:
            if self._versions[key][-1].value is not UNCERTAIN:
                self._versions[key].append(Version(revision, UNCERTAIN, -1, operation))


def _may_have_written(operation: Operation) -> bool:
    if operation.outcome == OK:
        return operation.revision < 0 and effective(operation)
    return operation.outcome == UNKNOWN and operation.kind not in READS


def _shows_store_revision(operation: Operation) -> bool:
    return operation.outcome == OK and operation.kind in READS and operation.revision >= 0


def unique_writers(held: Sequence[Operation]) -> dict[tuple[bytes, bytes], Operation]:
    """(key, value) → its writer, where there is but one."""
    writers: dict[tuple[bytes, bytes], Operation] = {}
    twice = set()
    for operation in held:
        if operation.kind in (PUT, CAS) and operation.value is not None:
            name = (operation.key, operation.value)
            if name in writers:
                twice.add(name)
            writers[name] = operation
    for name in twice:
        del writers[name]
    return writers


def seen_with_revision(read: Operation) -> Iterator[tuple[bytes, bytes, int]]:
    """``(key, value, modify revision)`` of every row that a read was answered with."""
    if read.outcome != OK:
        return
    if read.kind == GET:
        if isinstance(read.result, bytes) and read.modified and read.modified[0] > 0:
            yield read.key, read.result, read.modified[0]
    elif read.kind == RANGE:
        for (key, value), modified in zip(read.rows, read.modified, strict=False):
            if modified > 0:
                yield key, value, modified


def _revision_of(version: Version) -> int:
    return version.revision


def _invoked_of(operation: Operation) -> int:
    return operation.invoked
