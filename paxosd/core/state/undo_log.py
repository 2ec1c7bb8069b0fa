"""The undo log: what each of the last revisions changed, kept alike on all nodes.

    revision   key    entry before    entry after
      1041     b"a"   packed          packed        a put
      1042     b"b"   packed          b""           b"b" was deleted
      1043     a group: its keys, and the entries of each (``key_group.py``)

The state after revision R is the present one, with the entry before the first change above R for
each key that was changed since (``revision_view.py``). ``floor``: R may be this or more. The
changes of a revision above the floor are read off directly.

Rules:

- What is kept is decided at the end of each slot, by the replicated settings that were in force for
  it: at least ``history_revisions`` revisions, and beside them those that are no older than
  ``history_hours`` of log time; but no more than takes ``history_bytes_max`` bytes, where a record
  counts for its key, the entry before and :data:`RECORD_BYTES`. So a read of one revision has the
  same answer on all nodes that have applied the same slots. It is part of snapshots and checksums.
- Records are kept in blocks and dropped by whole blocks, so that a slot costs little: up to a
  sixteenth, or :data:`BLOCK_REVISIONS`, more than was asked for may be there. Which block a record
  is in is a function of the log, too.
- Below feature level 4 nothing is kept, and the floor is the present revision.

The entries after are those that the store has, or that a later record has before: beside its old
entry a record takes three references.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from typing import NamedTuple

from paxosd.core.cluster_settings import LEVEL_COORDINATION, ClusterSettings
from paxosd.core.commands import Change, KeysChanged
from paxosd.core.disposal import Disposal
from paxosd.core.state.entries import HEAD_BYTES
from paxosd.core.state.key_group import KeyGroup
from paxosd.core.types import Slot

BLOCK_REVISIONS = 256
BLOCK_BYTES = 256 << 10
"""A block is closed at the end of the slot that brings it to so many records or bytes, …"""
BLOCKS_MIN = 16
"""… or to this part of what is kept."""
RECORD_BYTES = 64
"""What a record counts beside its key and the entry before: references, and bytes objects."""
SPAN_MARKS = 1000
"""For the rule of hours, log time is noted this many times in as long as is to be kept."""
_HOUR_MS = 3_600_000


class RevisionGoneError(LookupError):
    """Revision ``revision`` is below ``floor``, the first that can still be read."""

    def __init__(self, revision: int, floor: int) -> None:
        super().__init__(
            f"revision {revision} is no longer kept: the history begins at revision {floor}. "
            "Read the present state; `paxosctl cluster set history_revisions=N` keeps more"
        )
        self.floor = floor


class HistoryLimits(NamedTuple):
    """How much is kept. All 0: nothing."""

    revisions: int = 0
    span_ms: int = 0
    bytes_max: int = 0

    @classmethod
    def of(cls, settings: ClusterSettings) -> "HistoryLimits":
        """As replicated settings say."""
        if settings.level < LEVEL_COORDINATION:
            return cls()
        span_ms = settings.history_hours * _HOUR_MS
        return cls(settings.history_revisions, span_ms, settings.history_bytes_max)


class UndoBlock:
    """Consecutive revisions: record i is that of revision ``before + 1 + i``.

    ``olds``, ``news``: packed entries, b"": no such key. ``groups``: the place of a record of
    several keys → these; its key and entries here are b"". ``slots`` and ``ends``: each slot with
    changes, and its last revision.
    """

    __slots__ = (
        "before",
        "bytes",
        "counted",
        "ends",
        "groups",
        "keys",
        "news",
        "olds",
        "slots",
    )  # fmt: skip

    def __init__(self, before: int) -> None:
        self.before = before
        self.keys: list[bytes] = []
        self.olds: list[bytes] = []
        self.news: list[bytes] = []
        self.groups: dict[int, KeyGroup] = {}
        self.slots = array("Q")
        self.ends = array("Q")
        self.bytes = 0
        self.counted = 0
        """How many of the records are in ``bytes``."""

    @property
    def last(self) -> int:
        """The revision of the last record; ``before`` if there is none."""
        return self.before + len(self.keys)

    def slot_of(self, revision: int) -> Slot:
        """The slot that made a revision of this block, which has ended."""
        return self.slots[bisect_left(self.ends, revision)]

    def count(self) -> int:
        """Add the records that are new to ``bytes``; returns what they come to."""
        at = self.counted
        keys = self.keys[at:]
        self.counted += len(keys)
        found = RECORD_BYTES * len(keys) + sum(map(len, keys)) + sum(map(len, self.olds[at:]))
        if self.groups:
            found += sum([each.bytes for place, each in self.groups.items() if place >= at])
        self.bytes += found
        return found

    def change_at(self, place: int) -> Change | KeysChanged:
        """The change that a record is."""
        revision = self.before + 1 + place
        slot = self.slot_of(revision)
        group = self.groups.get(place)
        if group is not None:
            return KeysChanged(revision, slot, group.keys, group.values, group.reason)
        new = self.news[place]
        return Change(revision, slot, self.keys[place], new[HEAD_BYTES:] if new else None)


class UndoLog:
    """The records of the revisions above ``floor``. Those of the slot that is being applied are
    noted one by one, by the store; :meth:`end_slot` then counts and trims."""

    __slots__ = ("_disposal", "blocks", "bytes", "keeps", "limits", "marks", "open")

    def __init__(self, disposal: Disposal, revision: int = 0) -> None:
        """``revision``: that of the state at the beginning, below which nothing is known."""
        self._disposal = disposal
        self.limits = HistoryLimits()
        self.keeps = False
        """Whether anything is to be kept. If not, the records of a slot are dropped at its end
        whatever they are, so the hot loop of the store makes none."""
        self.open = UndoBlock(revision)
        """The last block, to which records are added."""
        self.blocks = [self.open]
        self.bytes = 0
        self.marks: deque[tuple[int, int]] = deque()
        """``(log time in ms, revision)``: at that time the store had come to that revision."""

    @property
    def floor(self) -> int:
        """The first revision whose state can be read."""
        return self.blocks[0].before

    @property
    def records(self) -> int:
        """How many revisions it has."""
        return self.open.last - self.floor

    # ---- writing

    def note(self, key: bytes, old: bytes, new: bytes) -> None:
        """The next revision changed this key from one packed entry to the other; b"": none. (The
        hot loop of the store does the same, if anything is kept.)"""
        block = self.open
        block.keys.append(key)
        block.olds.append(old)
        block.news.append(new)

    def note_group(self, group: KeyGroup) -> None:
        """The next revision changed these keys."""
        self.open.groups[len(self.open.keys)] = group
        self.note(b"", b"", b"")

    def end_slot(self, slot: Slot, revision: int, now_ms: int) -> None:
        """The slot is applied, and brought the store to ``revision`` at log time ``now_ms``."""
        if not self.keeps:
            self._forget_all(revision)
            return
        block = self.open
        assert block.last == revision, "a revision has no record of what it changed"
        if block.counted != len(block.keys):
            block.slots.append(slot)
            block.ends.append(revision)
            self.bytes += block.count()
            revisions, _, bytes_max = self.limits
            if len(block.keys) >= min(
                BLOCK_REVISIONS, revisions // BLOCKS_MIN or BLOCK_REVISIONS
            ) or block.bytes >= min(BLOCK_BYTES, bytes_max // BLOCKS_MIN):
                self.begin_block()
        self._trim(self._enough(revision, now_ms))

    def limit(self, limits: HistoryLimits) -> None:
        """Keep so much from the next slot on."""
        self.limits = limits
        self.keeps = bool(limits.revisions or limits.span_ms)

    def _enough(self, revision: int, now_ms: int) -> int:
        """Up to this revision nothing need be kept, neither for the count nor for the hours."""
        revisions, span_ms, _ = self.limits
        marks = self.marks
        if not span_ms:
            marks.clear()
            return revision - revisions
        if not marks or now_ms - marks[-1][0] >= span_ms // SPAN_MARKS:
            marks.append((now_ms, revision))
        old_ms = now_ms - span_ms
        while len(marks) > 1 and marks[1][0] <= old_ms:
            marks.popleft()
        first_ms, first_revision = marks[0]
        return min(revision - revisions, first_revision if first_ms <= old_ms else 0)

    def _trim(self, enough: int) -> None:
        blocks, bytes_max = self.blocks, self.limits.bytes_max
        while self.bytes and (blocks[0].last <= enough or self.bytes > bytes_max):
            self._drop_first()

    def _drop_first(self) -> None:
        block = self.blocks.pop(0)
        self.bytes -= block.bytes
        self._forget_groups(block)
        if not self.blocks:
            self.begin_block()

    def _forget_all(self, revision: int) -> None:
        self.marks.clear()
        if self.bytes or self.open.keys:
            for block in self.blocks:
                self._forget_groups(block)
            self.bytes = 0
            self.open = UndoBlock(revision)
            self.blocks[:] = [self.open]
        self.open.before = revision

    def _forget_groups(self, block: UndoBlock) -> None:
        for group in block.groups.values():
            group.is_forgotten = True
            if group.is_complete:  # else the store does it once it is
                self._disposal.add(group.give_up())

    def begin_block(self) -> None:
        """Further records go into a new block."""
        self.open = UndoBlock(self.open.last)
        self.blocks.append(self.open)

    # ---- reading

    def place_of(self, revision: int) -> tuple[int, int]:
        """Where the record of a revision above the floor is: which block, and where in it. For the
        one after the last, the end."""
        assert revision > self.floor
        number = bisect_right(self.blocks, revision - 1, key=_before) - 1
        return number, revision - 1 - self.blocks[number].before

    def changes(self, first: int, last: int) -> list[Change | KeysChanged]:
        """The changes of the revisions ``first ..= last``, above the floor and not above the
        last."""
        found: list[Change | KeysChanged] = []
        number, place = self.place_of(first)
        while len(found) <= last - first:
            block = self.blocks[number]
            if place == len(block.keys):
                number, place = number + 1, 0
                continue
            found.append(block.change_at(place))
            place += 1
        return found

    def before(self, revision: int, key: bytes) -> bytes:
        """The packed entry that a key had before a revision above the floor, which changed it;
        b"": none."""
        number, place = self.place_of(revision)
        block = self.blocks[number]
        group = block.groups.get(place)
        if group is None:
            assert block.keys[place] == key
            return block.olds[place]
        return group.old_at(group.find(key))

    # ---- another machine's

    def give_up(self) -> list[list[bytes]]:
        """All large containers in it, to be freed little by little; do not use it after that."""
        return [part for each in self.blocks for part in (each.keys, each.olds, each.news)]

    def join(self, disposal: Disposal) -> None:
        """From now on ``disposal`` frees what is dropped: another machine has taken this over."""
        self._disposal = disposal


def _before(block: UndoBlock) -> int:
    return block.before
