"""The undo log in pieces: for snapshots and checksums, and back.

    UndoWalk(undo) ── take, take … ──► pieces as of now, while later slots are applied
    UndoRestore(undo, …) ◄── take(piece) …    link(steps) … : the undo log that it was

    (0, floor, open, log time, revision, …)                 first: the floor; the revision after
                                                            which the open block begins; the marks
    (1, before, bytes, (slot, …), (end, …))                 a block begins
    (2, key, entry before, key, entry before, …)            its next records
    (3, bytes, keys, reason)                                the next record is a group, …
    (4, key, entry before, …)                               … with these keys, so many in all

The entries after are in no piece: each is what a later record has before, or what the store has.
What a restore is given is not trusted; what is wrong with it is a ValueError.
"""

from collections.abc import Iterator
from itertools import pairwise
from struct import Struct, pack
from typing import Any

from paxosd.core.state.entries import HEAD_BYTES, Entries, numbers_of
from paxosd.core.state.key_group import KeyGroup
from paxosd.core.state.undo_log import (
    UndoBlock,
    UndoLog,
)
from paxosd.core.types import Slot

FLOOR, BLOCK, RECORDS, GROUP, GROUP_KEYS = range(5)
PIECE_BYTES = 64 << 10
PIECE_KEYS = 512
NUMBER_MAX = (1 << 63) - 1
_TWO = Struct("<QQ")

Piece = tuple[Any, ...]


class UndoWalk:
    """The pieces of ``undo`` as it is now; none, if nothing is kept."""

    __slots__ = ("_blocks", "_ended", "_floor", "_groups", "_left", "_pieces")

    def __init__(self, undo: UndoLog) -> None:
        last = undo.open
        self._blocks = [block for block in undo.blocks if block.keys]
        self._ended = len(last.keys), last.bytes, last.slots[:], last.ends[:]
        self._floor: Piece = (
            FLOOR,
            undo.floor,
            last.before,
            *[each for mark in undo.marks for each in mark],
        )
        self._groups = [each for block in self._blocks for each in block.groups.values()]
        for group in self._groups:
            group.holders += 1
        self._left = bool(self._blocks or undo.marks)
        self._pieces = self._make(last)

    @property
    def done(self) -> bool:
        """Whether all pieces were taken."""
        return not self._left

    def take(self) -> Piece | None:
        """The next piece; None: there is none left."""
        piece = next(self._pieces, None) if self._left else None
        if piece is None:
            self.close()
        return piece

    def close(self) -> None:
        """End the walk; a second call does nothing."""
        self._left = False
        for group in self._groups:
            group.holders -= 1
        self._groups = []
        self._blocks = []

    def _make(self, last: UndoBlock) -> Iterator[Piece]:
        yield self._floor
        for block in self._blocks:
            count, size, slots, ends = len(block.keys), block.bytes, block.slots, block.ends
            if block is last:
                count, size, slots, ends = self._ended
            yield (BLOCK, block.before, size, tuple(slots), tuple(ends))
            at = 0
            for place in [*sorted(each for each in block.groups if each < count), count]:
                yield from _pairs(RECORDS, block.keys, block.olds, at, place)
                at = place + 1
                if place < count:
                    yield from _group_pieces(block.groups[place])


def _pairs(kind: int, keys: list[bytes], olds: list[bytes], at: int, stop: int) -> Iterator[Piece]:
    """Pieces of keys and entries from one place to the other."""
    items: list[Any] = [kind]
    size = 0
    for key, old in zip(keys[at:stop], olds[at:stop], strict=True):
        items += (key, old)
        size += len(key) + len(old)
        if size >= PIECE_BYTES or len(items) > 2 * PIECE_KEYS:
            yield tuple(items)
            items, size = [kind], 0
    if len(items) > 1:
        yield tuple(items)


def _group_pieces(group: KeyGroup) -> Iterator[Piece]:
    count = len(group.keys)
    yield (GROUP, group.bytes, count, group.reason)
    for at in range(0, count, PIECE_KEYS):
        keys = group.keys[at : at + PIECE_KEYS]
        olds = [group.old_at(each) for each in range(at, at + len(keys))]
        yield from _pairs(GROUP_KEYS, keys, olds, 0, len(keys))


def undo_fingerprint(undo: UndoLog) -> Iterator[bytes]:
    """Equal bytes if and only if equal undo logs; as of now, though it is read later."""
    return _spell_out(UndoWalk(undo))


def _spell_out(walk: UndoWalk) -> Iterator[bytes]:
    while (piece := walk.take()) is not None:
        if piece[0] in (RECORDS, GROUP_KEYS):
            items = piece[1:]
            yield b"".join([pack(f"<{len(items)}Q", *map(len, items)), *items])
        else:
            yield repr(piece).encode()


class UndoRestore:
    """Fills ``undo``, of a new machine at ``slot`` and ``revision``."""

    __slots__ = (
        "_at",
        "_began",
        "_data",
        "_group",
        "_keys",
        "_later",
        "_number",
        "_olds",
        "_open",
        "_slot",
        "_undo",
        "revision",
    )  # fmt: skip

    def __init__(self, undo: UndoLog, data: Entries, slot: Slot, revision: int) -> None:
        """``data``: the entries of the store."""
        self._undo = undo
        self._data = data
        self._slot = slot
        self.revision = revision
        self._began = False
        self._group: tuple[int, int, str] | None = None
        """Bytes, keys and reason of the group that is being taken."""
        self._keys: list[bytes] = []
        self._olds: list[bytes] = []
        self._later: dict[bytes, bytes] = {}
        self._open = 0
        self._number = -1
        self._at = 0

    def take(self, piece: Any) -> None:
        """The next piece. Raises ValueError."""
        if type(piece) is not tuple or not piece or type(piece[0]) is not int:
            raise ValueError("a piece of the history is none")
        kind, *items = piece
        if (kind == FLOOR) == self._began or (self._group is not None) != (kind == GROUP_KEYS):
            raise ValueError("the pieces of the history are not in order")
        if kind == FLOOR:
            self._take_floor(items)
        elif kind == BLOCK:
            self._take_block(items)
        elif kind == RECORDS:
            keys, olds = _keys_and_entries(items)
            block = self._undo.open
            block.keys += keys
            block.olds += olds
            block.news += [b""] * len(keys)
        elif kind == GROUP:
            self._take_group(items)
        elif kind == GROUP_KEYS:
            self._take_group_keys(items)
        else:
            raise ValueError(f"a piece of the history of kind {kind} is not known")

    def _take_floor(self, items: list[Any]) -> None:
        self._began = True
        if len(items) < 2 or len(items) % 2 or not _are_numbers(items):
            raise ValueError("the floor of the history is none")
        floor, self._open, *marks = items
        pairs = list(zip(marks[::2], marks[1::2], strict=True))
        if floor > self.revision or any(revision > self.revision for _, revision in pairs):
            raise ValueError("the history is of later revisions than the state")
        if any(a >= b or m > n for (a, m), (b, n) in pairwise(pairs)):
            raise ValueError("the times of the history are not in order")
        undo = self._undo
        undo.open = UndoBlock(floor)
        undo.blocks[:] = [undo.open]
        undo.marks.extend(pairs)

    def _take_block(self, items: list[Any]) -> None:
        undo = self._undo
        self._end_block()
        if len(items) != 4 or not _are_numbers(items[:2]):
            raise ValueError("a block of the history is none")
        before, size, slots, ends = items
        if before != undo.open.last:
            raise ValueError("a block of the history is missing")
        if undo.open.keys:
            undo.open = UndoBlock(before)
            undo.blocks.append(undo.open)
        for numbers, most in ((slots, self._slot), (ends, self.revision)):
            if type(numbers) is not tuple or not numbers or not _are_numbers(numbers):
                raise ValueError("the slots of the history are none")
            if numbers[-1] > most or any(a >= b for a, b in pairwise(numbers)):
                raise ValueError("the slots of the history are not in order")
        if len(slots) != len(ends) or ends[0] <= before:
            raise ValueError("the slots of the history do not fit its revisions")
        block = undo.open
        block.slots.extend(slots)
        block.ends.extend(ends)
        block.bytes = size

    def _take_group(self, items: list[Any]) -> None:
        if len(items) != 3 or not _are_numbers(items[:2]) or not items[1]:
            raise ValueError("a group of the history is none")
        if type(items[2]) is not str:
            raise ValueError("the reason of a group of the history is none")
        self._group = items[0], items[1], items[2]
        self._keys, self._olds = [], []

    def _take_group_keys(self, items: list[Any]) -> None:
        assert self._group is not None
        keys, olds = _keys_and_entries(items)
        self._keys += keys
        self._olds += olds
        size, count, reason = self._group
        if len(self._keys) > count:
            raise ValueError("a group of the history has too many keys")
        if len(self._keys) < count:
            return
        if any(a >= b for a, b in pairwise(self._keys)):
            raise ValueError("the keys of a group are not in order")
        undo = self._undo
        group = KeyGroup.complete(undo.open.last + 1, self._keys, self._olds, reason)
        group.bytes = size
        undo.note_group(group)
        self._group = None

    def _end_block(self) -> None:
        block = self._undo.open
        last = block.ends[-1] if block.ends else block.before
        if self._group is not None or last != block.last:
            raise ValueError("records of the history are missing")
        size = block.bytes
        block.bytes = 0
        if block.count() != size:
            raise ValueError("a block of the history has another size than it says")
        self._undo.bytes += size

    def link(self, records_max: int) -> bool:
        """After all pieces and all rows: find the entries after, of about so many records. True:
        done. Raises ValueError."""
        undo = self._undo
        if not self._began:
            return True
        if self._number < 0:
            self._end_block()
            if undo.open.last != self.revision:
                raise ValueError("the end of the history is missing")
            self._number = len(undo.blocks)
        while self._number and records_max > 0:
            self._number -= 1
            records_max -= self._link_block(undo.blocks[self._number])
        if self._number:
            return False
        self._later = {}
        if undo.open.keys and self._open == self.revision:
            undo.begin_block()
        if undo.open.before != self._open:
            raise ValueError("the last block of the history is not the open one")
        return True

    def _link_block(self, block: UndoBlock) -> int:
        later = self._later
        visits = len(block.keys)
        for place in range(len(block.keys) - 1, -1, -1):
            group = block.groups.get(place)
            if group is not None:
                visits += len(group.keys)
                found = {key: self._after(key, group.revision) for key in group.keys}
                group.news = {key: new for key, new in found.items() if new}
                later.update(group.rows())
                continue
            key = block.keys[place]
            block.news[place] = self._after(key, block.before + 1 + place)
            later[key] = block.olds[place]
        return visits

    def _after(self, key: bytes, revision: int) -> bytes:
        """The entry of a key after the last record that was not linked yet, at ``revision``."""
        new = self._later.get(key)
        if new is None:
            new = self._data.packed(key) or b""
        if new and numbers_of(new)[1] != revision:
            raise ValueError("the history does not lead to the keys as they are")
        return new


def _are_numbers(items: Any) -> bool:
    return all(type(each) is int and 0 <= each <= NUMBER_MAX for each in items)


def _keys_and_entries(items: list[Any]) -> tuple[list[bytes], list[bytes]]:
    keys, olds = items[::2], items[1::2]
    if not keys or len(keys) != len(olds) or set(map(type, items)) != {bytes}:
        raise ValueError("a record of the history is not a key and an entry")
    if not all(not old or len(old) >= HEAD_BYTES for old in olds):
        raise ValueError("an entry of the history is too short")
    return keys, olds
