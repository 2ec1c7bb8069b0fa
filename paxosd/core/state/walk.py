"""A walk over all keys as they are at one slot, in bounded steps beside later writes.

    Walk(store)                       now: nothing is copied, no key is listed
    preserve(store, entries)          before each later slot is applied
    walk.take(keys_max, bytes_max)    some of the rows as of the start, until ``done``

- Before a slot is applied, ``preserve`` keeps the present entry of each key that the slot names,
  if that entry is as old as the walk (modify revision at or below the walk's) and lived when it
  began. Entries are immutable, so keeping one costs a dict item and no copy.
- A visit takes the kept entry if there is one, else the present one. A key whose present entry
  is younger than the walk, and that has none kept, did not exist when the walk began.
- The keys are visited in the order of the index. A key that leaves the index before it was visited
  is visited after all keys of the index: first the rest of the removed ranges (:meth:`Walk.cut`),
  then the keys that were deleted one by one (:meth:`Walk.lose`). So each key that lived at the
  start is visited once. It is visited a second time only if it was written since, and then has no
  entry as old as the walk.
- Entries of a removed range stay in ``data``, hidden, until the store takes them out; it gives
  them to the walk then (:meth:`Walk.keep`).

Memory: the entries that were replaced or taken out while it runs; of the latter not many more than
``KEPT_KEYS_MAX``, for then the store takes out no more until the walk has gone on.
"""

from collections import deque
from typing import Any

from paxosd.core.commands import Entry
from paxosd.core.state.entries import HEAD_BYTES, Entries, numbers_of
from paxosd.core.state.key_index import KeyRun
from paxosd.core.state.kv import Store

KEPT_KEYS_MAX = 50_000
_LISTED_KEYS = 512


class Walk:
    """The rows of ``store`` as of now. Close it when it is not needed any more."""

    __slots__ = ("_hidden", "_in_index", "_kept", "_last", "_left", "_listed", "_lost", "_runs",
                 "_store", "keys_count", "revision")  # fmt: skip

    def __init__(self, store: Store) -> None:
        store.fold_in()
        self._store = store
        self.revision = store.revision
        self.keys_count = len(store)
        self._left = self.keys_count
        self._hidden = store.hidden()
        """What was already removed when the walk began, and may still be in ``data``."""
        self._kept = Entries()
        self._in_index = True  # whether the next key is the index's
        self._last: bytes | None = None  # the last key of the index that was visited
        self._listed: list[bytes] = []  # the next ones, last first
        self._runs: deque[tuple[KeyRun, int]] = deque()  # cut off, and from where on not visited
        self._lost: dict[bytes, None] = {}  # deleted one by one before their turn
        store.walks.append(self)

    @property
    def done(self) -> bool:
        """Whether every row was taken."""
        return self._left == 0

    @property
    def left(self) -> int:
        """How many rows have yet to be taken."""
        return self._left

    @property
    def is_behind(self) -> bool:
        """Whether it keeps so many entries that no more should be taken out."""
        return len(self._kept) > KEPT_KEYS_MAX and not self.done

    def keep(self, key: bytes, packed: bytes) -> None:
        """The present entry of ``key`` may be about to go: keep it if it belongs to this walk and
        was not visited. (Once a range was cut off, it is kept in any case: whether it was visited
        would be costly to find out.)"""
        passed = not self._in_index or (self._last is not None and key <= self._last)
        if passed and not self._runs:
            return
        modify: int = numbers_of(packed)[1]
        if modify <= self.revision and not (
            self._hidden is not None and modify < self._hidden.revision_at(key)
        ):
            self._kept.put_packed(key, packed)

    def lose(self, key: bytes) -> None:
        """``key`` was deleted, and leaves the index."""
        if self._in_index and (self._last is None or key > self._last):
            self._lost[key] = None

    def cut(self, keys: KeyRun) -> int:
        """These have left the index. Returns the position of the first that was not visited."""
        if not self._in_index:
            return len(keys)
        at = 0 if self._last is None else keys.position(self._last + b"\0")
        if at < len(keys):
            self._runs.append((keys, at))
            self._listed = []  # some of them may be among these
        return at

    def take(self, keys_max: int, bytes_max: int) -> list[Any]:
        """As :meth:`take_packed`, unpacked: ``[key, (value, create, modify, version), key, …]``."""
        keys, packed = self.take_packed(keys_max, bytes_max)
        rows: list[Any] = [None] * (2 * len(keys))
        rows[::2] = keys
        rows[1::2] = [(entry[HEAD_BYTES:], *numbers_of(entry)) for entry in packed]
        return rows

    def take_packed(self, keys_max: int, bytes_max: int) -> tuple[list[bytes], list[bytes]]:
        """Go on by about ``keys_max`` keys, fewer if keys and values exceed ``bytes_max``, at
        least one if any is left. Returns the keys, and the packed entry of each."""
        keys: list[bytes] = []
        entries: list[bytes] = []
        store, kept = self._store, self._kept
        shards, mask = store.data.shards, store.data.mask
        revision = self.revision
        # What holds for the whole of this step, and spares each key two look-ups.
        has_kept = bool(kept.mask or kept.shards[0])
        is_written = store.revision != revision
        listed = self._listed
        left, visits, size = self._left, 0, 0
        while left and visits < keys_max and size < bytes_max:
            if listed:  # the usual case of _next
                self._last = key = listed.pop()
            else:
                key = self._next()
                listed = self._listed
            visits += 1
            packed = (has_kept and kept.pop_packed(key)) or shards[hash(key) & mask].get(key)
            if packed is None:
                continue  # the key was removed before the walk began
            if is_written and numbers_of(packed)[1] > revision:
                continue  # the key was created after the walk began
            size += len(key) + len(packed) - HEAD_BYTES
            keys.append(key)
            entries.append(packed)
            left -= 1
        self._left = left
        store.work.units += visits
        return keys, entries

    def _next(self) -> bytes:
        """The next key to visit."""
        if self._in_index:
            if not self._listed:
                self._listed = self._store.index_keys_after(self._last, _LISTED_KEYS)[::-1]
            if self._listed:
                self._last = self._listed.pop()
                return self._last
            self._in_index = False
        if self._runs:
            keys, at = self._runs[0]
            if at + 1 == len(keys):
                self._runs.popleft()
            else:
                self._runs[0] = keys, at + 1
            return keys[at]
        assert self._lost, "a key was neither visited nor deleted"
        return self._lost.popitem()[0]

    def close(self) -> None:
        """End the walk; a second call does nothing."""
        if self in self._store.walks:
            self._store.walks.remove(self)
            # Everything that was changed meanwhile may be in it, so it is freed little by little.
            self._store.disposal.add(self._kept.give_up())
        self._runs.clear()
        self._lost.clear()


def preserve(store: Store, entries: list[Entry]) -> None:
    """Keep, for each of ``store.walks``, the entries that ``entries`` may replace. Call it before
    they are applied. A range that they remove needs nothing here: its entries stay until the store
    takes them out."""
    data = store.data
    for entry in entries:
        if type(entry.commands) is not list:
            continue
        for command in entry.commands:
            if type(command) not in (list, tuple) or len(command) < 2:
                continue
            key = command[1]
            if type(key) is bytes and (held := data.packed(key)) is not None:
                for walk in store.walks:
                    walk.keep(key, held)
