"""Sorted keys in chunks: each operation costs about the same however many keys there are.

    KeyIndex   chunks of at most CHUNK_KEYS_MAX keys, ascending; no chunk is empty
    cut        start <= key < end ──► whole chunks change hands, the two at the ends are split
    KeyRun     what was cut: the same chunks, now nobody changes them any more

So a removal of 400,000 keys moves some 800 references. All that need its keys (the history, the
publisher, a walk, the removal itself) share the one :class:`KeyRun` and copy nothing.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice
from typing import overload

CHUNK_KEYS_MAX = 1024
_CHUNK_KEYS = CHUNK_KEYS_MAX // 2
"""What a chunk holds after a split, and after keys were appended in bulk."""
_FEW_KEYS = 16


class KeyRun(Sequence[bytes]):
    """Ascending keys in chunks, never changed. No chunk of ``chunks`` is empty."""

    __slots__ = ("_lasts", "_starts", "chunks")

    def __init__(self, chunks: list[list[bytes]]) -> None:
        self.chunks = chunks
        if len(chunks) == 1:  # the usual case: a transaction
            self._starts, self._lasts = [0, len(chunks[0])], [chunks[0][-1]]
            return
        self._starts = [0, *accumulate(map(len, chunks))]  # the position each chunk begins at
        self._lasts = [chunk[-1] for chunk in chunks]

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, position: int) -> bytes: ...
    @overload
    def __getitem__(self, position: slice) -> list[bytes]: ...
    def __getitem__(self, position: int | slice) -> bytes | list[bytes]:
        if isinstance(position, slice):
            first, stop, step = position.indices(len(self))
            assert step == 1
            return list(islice(self.keys_from(first), max(0, stop - first)))
        if not 0 <= position < len(self):
            raise IndexError(position)
        place = bisect_right(self._starts, position) - 1
        return self.chunks[place][position - self._starts[place]]

    def __iter__(self) -> Iterator[bytes]:
        return self.keys_from(0)

    def keys_from(self, position: int) -> Iterator[bytes]:
        """The keys from that position on."""
        place = bisect_right(self._starts, position) - 1
        offset = position - self._starts[place]
        for chunk in islice(self.chunks, place, None):
            yield from islice(chunk, offset, None) if offset else chunk
            offset = 0

    def position(self, key: bytes) -> int:
        """How many of the keys are below ``key``."""
        place = bisect_left(self._lasts, key)
        if place == len(self._lasts):
            return len(self)
        return self._starts[place] + bisect_left(self.chunks[place], key)

    def span(self, start: bytes, end: bytes) -> tuple[int, int]:
        """The positions of ``start <= key < end`` (end b"": no end): the first, and the one after
        the last."""
        first = self.position(start)
        return first, max(first, self.position(end)) if end else len(self)


class KeyIndex:
    """A set of keys in order. Callers add only keys that are absent, and remove only keys that are
    present."""

    __slots__ = ("_chunks", "_count", "_lasts")

    def __init__(self) -> None:
        self._chunks: list[list[bytes]] = []
        self._lasts: list[bytes] = []  # the last key of each chunk
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: bytes) -> None:
        """Add a key that is not there."""
        self._count += 1
        lasts = self._lasts
        place = bisect_left(lasts, key)
        if place == len(lasts):
            if not lasts or len(self._chunks[-1]) >= _CHUNK_KEYS:
                self._chunks.append([key])
                lasts.append(key)
                return
            self._chunks[-1].append(key)
            lasts[-1] = key
            return
        chunk = self._chunks[place]
        chunk.insert(bisect_left(chunk, key), key)
        if len(chunk) > CHUNK_KEYS_MAX:
            self._chunks.insert(place, chunk[:_CHUNK_KEYS])
            lasts.insert(place, chunk[_CHUNK_KEYS - 1])
            del chunk[:_CHUNK_KEYS]

    def merge(self, keys: list[bytes]) -> None:
        """Add these, ascending, none of which is there."""
        appended = not self._lasts or (bool(keys) and keys[0] > self._lasts[-1])
        if appended and len(keys) > _FEW_KEYS:  # a few would make a chunk of their own each time
            for at in range(0, len(keys), _CHUNK_KEYS):
                self._chunks.append(keys[at : at + _CHUNK_KEYS])
                self._lasts.append(self._chunks[-1][-1])
            self._count += len(keys)
            return
        for key in keys:
            self.add(key)

    def remove(self, key: bytes) -> None:
        """Remove a key that is there."""
        place = bisect_left(self._lasts, key)
        chunk = self._chunks[place]
        at = bisect_left(chunk, key)
        assert chunk[at] == key
        del chunk[at]
        self._count -= 1
        if not chunk:
            del self._chunks[place]
            del self._lasts[place]
        elif at == len(chunk):
            self._lasts[place] = chunk[-1]

    def cut(self, start: bytes, end: bytes) -> KeyRun:
        """Take out the keys in ``start <= key < end`` (end b"": no end)."""
        chunks = self._chunks
        if end and end <= start:
            return KeyRun([])
        first = self._split(start)
        stop = self._split(end) if end else len(chunks)
        taken = KeyRun(chunks[first:stop])
        del chunks[first:stop]
        del self._lasts[first:stop]
        self._count -= len(taken)
        return taken

    def _split(self, key: bytes) -> int:
        """Make a chunk begin at the first key that is not below ``key``; returns its place."""
        place = bisect_left(self._lasts, key)
        if place == len(self._lasts):
            return place
        chunk = self._chunks[place]
        at = bisect_left(chunk, key)
        if not at:
            return place
        self._chunks.insert(place, chunk[:at])
        self._lasts.insert(place, chunk[at - 1])
        del chunk[:at]
        return place + 1

    def after(self, key: bytes | None, count: int) -> list[bytes]:
        """The next ``count`` keys above ``key``; None: from the first key on."""
        place = at = 0
        if key is not None:
            place = bisect_right(self._lasts, key)
            if place < len(self._lasts):
                at = bisect_right(self._chunks[place], key)
        found: list[bytes] = []
        while len(found) < count and place < len(self._chunks):
            found += self._chunks[place][at : at + count - len(found)]
            place += 1
            at = 0
        return found

    def scan(self, start: bytes, end: bytes, reverse: bool) -> Iterator[bytes]:
        """``start <= key < end`` (end b"": no end), ascending or descending. The index must not
        be changed meanwhile."""
        if reverse:
            yield from self._scan_back(start, end)
            return
        place = bisect_left(self._lasts, start)
        at = bisect_left(self._chunks[place], start) if place < len(self._lasts) else 0
        for chunk in islice(self._chunks, place, None):
            if end and chunk[-1] >= end:
                yield from islice(chunk, at, bisect_left(chunk, end))
                return
            yield from islice(chunk, at, None)
            at = 0

    def _scan_back(self, start: bytes, end: bytes) -> Iterator[bytes]:
        place = bisect_left(self._lasts, end) if end else len(self._lasts)
        stop = bisect_left(self._chunks[place], end) if place < len(self._lasts) else 0
        while place >= 0:
            if stop:
                chunk = self._chunks[place]
                at = bisect_left(chunk, start) if chunk[0] < start else 0
                yield from reversed(chunk[at:stop])
                if at:
                    return
            place -= 1
            stop = len(self._chunks[place]) if place >= 0 else 0

    def count(self, start: bytes, end: bytes) -> int:
        """How many keys there are in ``start <= key < end`` (end b"": no end)."""
        last = self._below(end) if end else self._count
        return max(0, last - self._below(start))

    def _below(self, key: bytes) -> int:
        """How many keys are below this one."""
        place = bisect_left(self._lasts, key)
        if place == len(self._lasts):
            return self._count
        before = sum(map(len, islice(self._chunks, place)))
        return before + bisect_left(self._chunks[place], key)

    def give_up(self) -> list[list[bytes]]:
        """All chunks, to be freed little by little. The index must not be used any more."""
        return self._chunks
