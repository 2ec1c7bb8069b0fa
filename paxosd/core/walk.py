"""A walk over all keys as they are at one slot, in bounded steps beside later writes.

    Walk(store)                       now: nothing is copied, no key is listed
    preserve(store, entries)          before each later slot is applied
    walk.take(keys_max, bytes_max)    some of the rows as of the start, until ``done``

- Before a slot is applied, ``preserve`` keeps the present entry of each key that the slot names,
  if that entry is as old as the walk (modify revision at or below the walk's). Entries are
  immutable, so keeping one costs a dict item and no copy.
- A visit takes the kept entry if there is one, else the present one. A key whose present entry
  is younger than the walk, and that has none kept, did not exist when the walk began.
- The keys are taken from where the store has them (``kv.py``): the sorted index, then what was
  added since. While a walk is under way the index is left as it is; a scan that must fold the
  new keys in lists the walk's remaining keys first (27 ms for a million; a list of all keys at
  the start would cost that every time).

Memory: the entries replaced while it runs.
"""

from itertools import islice
from typing import Any

from paxosd.core.commands import DELETE_RANGE, Entry
from paxosd.core.kv import Store, StoredValue

_LISTED_KEYS = 512


class Walk:
    """The rows of ``store`` as it is now. Close it when it is not needed any more."""

    __slots__ = ("_added_at", "_added_end", "_cursor", "_kept", "_left", "_listed", "_store",
                 "keys_count", "revision")  # fmt: skip

    def __init__(self, store: Store) -> None:
        self._store = store
        self.revision = store.revision
        self.keys_count = len(store.data)
        self._left = self.keys_count
        self._kept: dict[bytes, StoredValue] = {}
        self._listed: list[bytes] = []  # the next keys, last first
        self._cursor: bytes | None = None  # the last key listed from the index …
        self._added_at = -1  # … or, from 0 on, how many of the added ones were listed
        self._added_end = len(store.added)
        store.walks.append(self)

    @property
    def done(self) -> bool:
        """Whether every row was taken."""
        return self._left == 0

    def keep(self, key: bytes) -> None:
        """The entry of ``key`` may be about to change: keep it if it belongs to this walk."""
        entry = self._store.data.get(key)
        if entry is not None and entry[2] <= self.revision:
            self._kept[key] = entry

    def take(self, keys_max: int, bytes_max: int) -> list[Any]:
        """Go on by about ``keys_max`` keys, fewer if keys and values exceed ``bytes_max``, at
        least one if any is left: ``[key, (value, create, modify, version), key, …]``."""
        rows: list[Any] = []
        size = 0
        listed, kept, data = self._listed, self._kept, self._store.data
        revision = self.revision
        while self._left and keys_max > 0 and size < bytes_max:
            if not listed:
                self._list_some()
                listed = self._listed
                assert listed, "a key was lost on the way"
            key = listed.pop()
            keys_max -= 1
            entry = kept.pop(key, None) or data.get(key)
            if entry is None or entry[2] > revision:
                continue  # it came, or went, at another time
            size += len(key) + len(entry[0])
            rows.append(key)
            rows.append(entry)
            self._left -= 1
        return rows

    def list_rest(self) -> None:
        """The index is about to change: list all keys that are left."""
        rest = self._listed[::-1]
        while self._list_some():
            rest += reversed(self._listed)
        self._listed = rest[::-1]

    def _list_some(self) -> bool:
        """List some more keys; False if there are none."""
        store = self._store
        keys: list[bytes] = []
        if self._added_at < 0:
            keys = list(islice(store.index_keys_after(self._cursor), _LISTED_KEYS))
            if keys:
                self._cursor = keys[-1]
            else:
                self._added_at = 0
        if self._added_at >= 0:
            end = min(self._added_at + _LISTED_KEYS, self._added_end)
            keys = store.added[self._added_at : end]
            self._added_at = end
        keys.reverse()
        self._listed = keys
        return bool(keys)

    def close(self) -> None:
        """Let go; a second call does nothing."""
        if self in self._store.walks:
            self._store.walks.remove(self)
        self._kept.clear()


def preserve(store: Store, entries: list[Entry]) -> None:
    """To be called before ``entries`` are applied, whenever there are ``store.walks``."""
    for entry in entries:
        if type(entry.commands) is not list:
            continue
        for command in entry.commands:
            if type(command) not in (list, tuple) or len(command) < 2:
                continue
            key = command[1]
            if type(key) is not bytes:
                continue
            keys = [key]
            if command[0] == DELETE_RANGE and len(command) == 3:
                end = command[2]
                keys = store.keys_between(key, end) if type(end) is bytes else []
            for walk in store.walks:
                for each in keys:
                    walk.keep(each)
