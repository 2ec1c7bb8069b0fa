"""The keys as they were after one earlier revision, made from the present ones and the undo log.

    entry at R = the entry before the first change above R, if the key was changed since,
                 else the present entry

A view reads the records above its revision once, in bounded steps, and only those that are new when
it is asked again. So the pages of a scan that goes on beside a load cost what the load changes,
and the state itself is never copied. The few views that were used last are kept.
"""

from collections.abc import Iterator
from heapq import merge
from itertools import islice

from paxosd.core.commands import KeyValue
from paxosd.core.state.entries import unpacked
from paxosd.core.state.key_group import KeyGroup
from paxosd.core.state.key_index import KeyIndex
from paxosd.core.state.kv import Store
from paxosd.core.state.undo_log import RevisionGoneError

VIEWS_MAX = 16
CHANGED_KEYS_MAX = 2_000_000
"""In all views together, some 100 bytes each; beyond that those that were used last are kept."""
RECORDS_PER_UNIT = 32
"""So many records that are taken in count as a unit of work."""
GROUP_KEYS_MAX = 1024
"""The keys of a larger group are not taken in one by one."""

NO_REVISIONS = (
    "an earlier revision can be read from feature level 4 on; `paxosctl cluster show` names the "
    "members that it waits for"
)


class RevisionAheadError(ValueError):
    """The revision has not come yet, here at least."""

    def __init__(self, revision: int, newest: int) -> None:
        super().__init__(f"revision {revision} has not come yet: the newest here is {newest}")


class RevisionView:
    """The keys of ``store`` after ``revision``; readable while :attr:`is_current`."""

    __slots__ = ("_before", "_groups", "_lived", "_new", "_store", "_upto", "revision")

    def __init__(self, store: Store, revision: int) -> None:
        self.revision = revision
        self._store = store
        self._upto = revision
        self._before: dict[bytes, bytes] = {}
        """The packed entry at the revision (b"": none) of each key that was changed since."""
        self._lived = KeyIndex()
        """Those of these keys that lived."""
        self._new: list[bytes] = []
        """More of them, not in the index yet."""
        self._groups: list[KeyGroup] = []
        """Large ones since, oldest first; but what ``_before`` has counts."""

    @property
    def changed_keys(self) -> int:
        """How many keys it holds."""
        return len(self._before)

    @property
    def is_current(self) -> bool:
        """Whether all changes since are taken in."""
        return self._upto == self._store.revision

    def advance(self, records_max: int) -> None:
        """Take in some more of the changes."""
        undo = self._store.undo
        while not self.is_current and records_max > 0:
            number, place = undo.place_of(self._upto + 1)
            block = undo.blocks[number]
            if place == len(block.keys):
                number, place = number + 1, 0
                block = undo.blocks[number]
            keys = block.keys[place : place + records_max]
            olds = block.olds[place : place + records_max]
            for at, (key, old) in enumerate(zip(keys, olds, strict=True), place):
                if at in block.groups:
                    self._take_group(block.groups[at])
                elif key not in self._before and self._group_of(key) is None:
                    self._take(key, old)
            self._upto += len(keys)
            records_max -= len(keys)
            self._store.work.units += 1 + len(keys) // RECORDS_PER_UNIT

    def _take(self, key: bytes, old: bytes) -> None:
        self._before[key] = old
        if old:
            self._new.append(key)

    def _take_group(self, group: KeyGroup) -> None:
        if len(group.keys) > GROUP_KEYS_MAX:
            self._groups.append(group)
            return
        for position, key in enumerate(group.keys):
            if key not in self._before and self._group_of(key) is None:
                self._take(key, group.old_at(position))

    def _group_of(self, key: bytes) -> KeyGroup | None:
        """The first group that has this key."""
        for group in self._groups:
            if group.find(key) >= 0:
                return group
        return None

    def packed(self, key: bytes) -> bytes | None:
        """The packed entry of a key, or None."""
        old = self._before.get(key)
        if old is not None:
            return old or None
        group = self._group_of(key) if self._groups else None
        if group is not None:
            return group.old_at(group.find(key)) or None
        return self._store.packed(key)

    def get(self, key: bytes) -> KeyValue | None:
        """The key as it was, or None."""
        packed = self.packed(key)
        return None if packed is None else KeyValue(key, *unpacked(packed))

    def scan_keys(self, start: bytes, end: bytes, reverse: bool) -> Iterator[bytes]:
        """The keys in ``start <= key < end`` (end b"": no end). Nothing may be written or taken in
        meanwhile."""
        self._lived.merge(sorted(self._new))
        self._new.clear()
        before, groups = self._before, self._groups
        if not before and not groups:
            return self._store.scan_keys(start, end, reverse)
        unchanged = (
            key
            for key in self._store.scan_keys(start, end, reverse)
            if key not in before and self._group_of(key) is None
        )
        removed = [self._lived_in_group(each, start, end, reverse) for each in groups]
        lived = self._lived.scan(start, end, reverse)
        return merge(unchanged, lived, *removed, reverse=reverse)

    def _of_group(
        self, group: KeyGroup, start: bytes, end: bytes, reverse: bool
    ) -> Iterator[bytes]:
        """The keys of which this group is the first change."""
        first, stop = group.keys.span(start, end)
        keys: Iterator[bytes]
        if reverse:
            keys = (group.keys[at] for at in range(stop - 1, first - 1, -1))
        else:
            keys = islice(group.keys.keys_from(first), stop - first)
        for key in keys:
            if key not in self._before and self._group_of(key) is group:
                yield key

    def _lived_in_group(
        self, group: KeyGroup, start: bytes, end: bytes, reverse: bool
    ) -> Iterator[bytes]:
        """Those of them that lived at the revision."""
        for key in self._of_group(group, start, end, reverse):
            if group.old_at(group.find(key)):
                yield key

    def count(self, start: bytes, end: bytes) -> int:
        """How many keys there were in ``start <= key < end``."""
        store = self._store
        count = store.count(start, end)
        for key, old in self._before.items():
            if key >= start and (not end or key < end):
                count += bool(old) - (store.packed(key) is not None)
        visits = len(self._before)
        for group in self._groups:
            for key in self._of_group(group, start, end, reverse=False):
                visits += 1
                lived = bool(group.old_at(group.find(key)))
                count += lived - (store.packed(key) is not None)
        store.work.units += visits // RECORDS_PER_UNIT
        return count


class RevisionViews:
    """The views of one store, by revision."""

    __slots__ = ("_store", "_views")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._views: dict[int, RevisionView] = {}  # the one used last comes last

    def __len__(self) -> int:
        return len(self._views)

    def at(self, revision: int) -> RevisionView:
        """The view of a revision. Raises RevisionGoneError, RevisionAheadError."""
        store, views = self._store, self._views
        floor = store.undo.floor
        if revision < floor:
            raise RevisionGoneError(revision, floor)
        if revision > store.revision:
            raise RevisionAheadError(revision, store.revision)
        view = views.pop(revision, None)
        if view is None:
            view = RevisionView(store, revision)
        views[revision] = view
        self._drop_some(floor)
        return view

    def _drop_some(self, floor: int) -> None:
        """Those that can not be asked for any more, and those that have not been for long."""
        views = self._views
        for revision in [each for each in views if each < floor]:
            del views[revision]
        while len(views) > 1 and (
            len(views) > VIEWS_MAX
            or sum(each.changed_keys for each in views.values()) > CHANGED_KEYS_MAX
        ):
            del views[next(iter(views))]
