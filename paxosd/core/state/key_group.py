"""What one revision did to several keys: each of them, its entry before, and its entry after.

A large DELETE_RANGE takes effect at once, and its entries are taken out of the store later, a few
at a time (``kv.py``). The record is made at once, too, and filled while that goes on:

    old_at(position)   taken out already       → kept here
                       written again before    → kept here (``early``)
                       not taken out yet       → still in the store, hidden

So what it says is the same at any time, however far the store has come.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from paxosd.core.state.entries import HEAD_BYTES, Entries
from paxosd.core.state.key_index import KeyRun

CHUNK = 512
SAMPLES_MAX = 512
"""The bytes of a larger removal are estimated from so many of its keys, spread evenly over it."""
_NOWHERE = Entries()
"""Where the entries are of a group that is complete: nobody looks there."""


class KeyGroup:
    """``keys`` were changed at ``revision``. ``bytes``: what keys and entries before take, or about
    that; the same on every node. ``reason``: why, if no command did it."""

    __slots__ = ("_chunks", "_count", "_data", "_early", "bytes", "holders", "is_forgotten",
                 "keys", "news", "reason", "revision")  # fmt: skip

    def __init__(self, revision: int, keys: KeyRun, data: Entries | None = None) -> None:
        """These keys are removed; ``data``: where their entries are now."""
        self.revision = revision
        self.keys = keys
        self.news: dict[bytes, bytes] = {}
        """Key → packed entry after, of those that were not removed."""
        self.reason = ""
        self.is_forgotten = False
        """Whether no history has it any more."""
        self.holders = 0
        """How many snapshots and checksums are being made of a state whose history has it."""
        self._data = _NOWHERE if data is None else data
        self._chunks: list[list[bytes]] = []
        self._count = 0
        self._early: dict[bytes, bytes] = {}
        self.bytes = self._measure() if data is not None else 0

    @classmethod
    def of(
        cls, revision: int, rows: list[tuple[bytes, bytes, bytes]], reason: str = ""
    ) -> "KeyGroup":
        """Each key, once, with its entry before and its entry after; b"": none."""
        rows.sort()
        keys = [key for key, _, _ in rows]
        olds = [old for _, old, _ in rows]
        group = cls.complete(revision, keys, olds, reason)
        group.news = {key: new for key, _, new in rows if new}
        group.bytes = sum(map(len, keys)) + sum(map(len, olds))
        return group

    @classmethod
    def complete(
        cls, revision: int, keys: list[bytes], olds: Sequence[bytes], reason: str = ""
    ) -> "KeyGroup":
        """These keys, which ascend, with their entries before; ``news`` and ``bytes`` are still to
        be set."""
        if len(keys) <= CHUNK:  # the usual case: a transaction
            group = cls(revision, KeyRun([keys]))
            group._chunks.append(list(olds))
        else:
            group = cls(
                revision, KeyRun([keys[at : at + CHUNK] for at in range(0, len(keys), CHUNK)])
            )
            group._chunks = [list(olds[at : at + CHUNK]) for at in range(0, len(olds), CHUNK)]
        group.reason = reason
        group._count = len(olds)
        return group

    @property
    def values(self) -> dict[bytes, bytes]:
        """Key → value after, of those that were not removed."""
        return {key: new[HEAD_BYTES:] for key, new in self.news.items()}

    @property
    def is_complete(self) -> bool:
        """Whether the store has taken out all of it."""
        return self._count == len(self.keys)

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Each key with its entry before; for a group that is complete."""
        return zip(self.keys, chain.from_iterable(self._chunks), strict=True)

    def _measure(self) -> int:
        keys, data = self.keys, self._data
        count = len(keys)
        step = -(-count // SAMPLES_MAX)
        sampled = [keys[at] for at in range(0, count, step)] if step > 1 else keys
        found = sum(map(len, sampled)) + sum([len(data.packed(key) or b"") for key in sampled])
        return found * count // len(sampled)

    def old_at(self, position: int) -> bytes:
        """The packed entry that this key had; b"": none."""
        if position < self._count:
            return self._chunks[position // CHUNK][position % CHUNK]
        key = self.keys[position]
        old = self._early.get(key) or self._data.packed(key)
        assert old is not None, "an entry of removed keys was lost"
        return old

    def find(self, key: bytes) -> int:
        """The position of a key; -1: it is not among them."""
        position = self.keys.position(key)
        return position if position < len(self.keys) and self.keys[position] == key else -1

    def keep_early(self, key: bytes, packed: bytes) -> None:
        """A key of it is written again before its old entry was taken out."""
        if self._is_wanted:
            self._early[key] = packed

    @property
    def _is_wanted(self) -> bool:
        return not self.is_forgotten or self.holders > 0

    def keep(self, key: bytes, packed: bytes | None) -> None:
        """The entry of the next key is taken out; None: the key was written again before."""
        if not self._is_wanted:
            return
        if packed is None:
            packed = self._early.pop(key)
        if self._count % CHUNK == 0:
            self._chunks.append([])
        self._chunks[-1].append(packed)
        self._count += 1

    def give_up(self) -> list[Any]:
        """What is large in it, to be freed little by little."""
        return [*self._chunks, *self.keys.chunks, self._early]
