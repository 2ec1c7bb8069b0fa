"""The data store: keys, values and revisions, with ordered scans.

Rules:

- A command that takes effect moves ``revision`` by exactly one; one that does not, leaves it. A
  DELETE_RANGE or a TXN is one revision for all of its keys.
- An entry (value, create revision, modify revision, version) is one immutable bytes object
  (``entries.py``): a write replaces it. So to keep an old entry is to keep the old state (see
  ``walk.py``).
- Everything is a function of the commands: no clock, no iteration over unordered sets.
- The ordered index is lazy, for most writes are never followed by a scan. Every key that lives
  is in exactly one of ``_index`` (sorted) and ``added`` (in order of arrival); ``removed`` is
  the set of keys that are in one of these two but were deleted. A scan folds both in first;
  :meth:`Store.settle` bounds what there is to fold, and :meth:`Store.advance_index` does it in
  idle moments.
- While there is a quota (``quota.py``), a write that has no room is refused. While entries are
  hidden that is found out beside the hot loop, for some of them may have to be taken out.
- A large DELETE_RANGE takes effect at once and costs little. Its keys leave the index as whole
  chunks (``key_index.py``), and a tombstone hides their entries (``tombstones.py``) until
  :meth:`Store.advance_removal` has taken them out of ``data``, a few at a time. No answer, count,
  checksum or snapshot depends on how far that has come: hidden entries are never visible. A key
  that is written again meanwhile has a younger entry, which is not hidden.

``Store.run`` is the hot loop of the daemon: PUT is written out in it, all else is dispatched.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import islice
from typing import Any

from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    DELETE,
    DELETE_RANGE,
    PUT,
    Command,
    KeyValue,
    Result,
    Status,
)
from paxosd.core.disposal import Disposal
from paxosd.core.state.derivation import Skipped
from paxosd.core.state.entries import HEAD_BYTES, Entries, numbers_of, pack_numbers, unpacked
from paxosd.core.state.key_group import KeyGroup
from paxosd.core.state.key_index import KeyIndex
from paxosd.core.state.quota import KEY_BYTES, QUOTA_RESULT, Quota
from paxosd.core.state.removal import OpenWalk, Removal
from paxosd.core.state.tombstones import Tombstones
from paxosd.core.state.undo_log import UndoLog
from paxosd.core.work import Work

REMOVED_AT_ONCE_MAX = 16
"""A DELETE_RANGE of at most so many keys leaves no tombstone."""
REMOVED_PER_COMMAND = 2
"""So many hidden entries are taken out per command that is applied, so that they cannot pile up."""
INDEX_LAG_MAX = 1024
"""At the end of a slot at most so many keys are to be folded into the index."""

# Plain ints: results are compared, encoded and hashed; an enum member would slow all three.
_OK = int(Status.OK)
_NOT_FOUND = int(Status.NOT_FOUND)
_CAS_MISS = int(Status.CAS_MISS)
MALFORMED_RESULT: Result = (int(Status.MALFORMED), 0, None)


class Store:
    """Keys and values. Writes come as commands (:meth:`run`); reads: :meth:`get`, ``queries.py``.

    ``revision``: the place of the last effective write in the total order; 0 when none was.
    """

    __slots__ = ("_hidden", "_index", "added", "data", "disposal", "hidden_keys", "quota",
                 "removals", "removed", "revision", "undo", "walks", "work")  # fmt: skip

    def __init__(
        self, work: Work, disposal: Disposal, revision: int = 0, quota_bytes: int = 0
    ) -> None:
        """``work`` counts what is done here; ``disposal`` takes what is large and not needed any
        more."""
        self.work = work
        self.disposal = disposal
        self.data = Entries()
        """The entries of all keys that live, and the hidden entries."""
        self.revision = revision
        self.quota = Quota(quota_bytes)
        self._index = KeyIndex()
        self.added: list[bytes] = []
        """Keys that are not in the index yet."""
        self.walks: list[OpenWalk] = []
        """The visits of all keys that are under way; see ``walk.py``."""
        self.removed: set[bytes] = set()
        """Keys that are still in the index."""
        self._hidden = Tombstones()
        self.removals: deque[Removal] = deque()
        """The ranges whose keys are still to be taken out, the oldest first."""
        self.hidden_keys = 0
        """How many entries of ``data`` are hidden."""
        self.undo = UndoLog(disposal, revision)
        """What each of the last revisions changed."""

    def __len__(self) -> int:
        return len(self.data) - self.hidden_keys

    # ---- writes

    def run(
        self, commands: list[Command], results: list[Result], skipped: list[Skipped], base: int
    ) -> bool:
        """Apply ``commands`` from position ``len(results)`` on, one result each.

        ``base`` is the flat position of ``commands[0]`` in its batch: a command that did not change
        one key by one revision is in ``skipped`` (``derivation.py``) by its flat position. False:
        it stopped before ``commands[len(results)]``, which is not the store's."""
        data, quota, undo = self.data, self.quota, self.undo
        shards, mask, shard = data.shards, data.mask, data.shards[0]  # the only one without a mask
        note_new, removed, hidden = self.added.append, self.removed, self._hidden.bounds
        append, pack, unpack = results.append, pack_numbers, numbers_of
        keeps, keys, olds, news = undo.keeps, undo.open.keys, undo.open.olds, undo.open.news
        revision, limit, is_usual = self.revision, quota.limit_bytes, True
        room = limit - quota.held_bytes
        for command in islice(commands, len(results), None) if results else commands:
            if type(command) is list and len(command) == 3:
                op, key, value = command
                if op == PUT and type(value) is bytes and type(key) is bytes:
                    if mask:
                        shard = shards[hash(key) & mask]
                    old = shard.get(key)
                    fixed = KEY_BYTES + len(key) if old is None else HEAD_BYTES - len(old)
                    growth = fixed + len(value)
                    if limit:
                        is_usual = not hidden and (growth <= room or growth <= 0)
                    if is_usual:
                        revision += 1
                        room -= growth  # below 0 without a quota; an uncovered entry is in it
                        if hidden and old is not None and self._is_hidden(key, old):
                            self._uncover(key, old)
                            old = None
                        if old is None:
                            new = pack(revision, revision, 1) + value
                            if removed and key in removed:
                                removed.discard(key)
                            else:
                                note_new(key)
                        else:
                            create, _, version = unpack(old)
                            new = pack(create, revision, version + 1) + value
                        shard[key] = new
                        if keeps:
                            keys.append(key)
                            olds.append(old or b"")
                            news.append(new)
                        append(revision)
                        continue
            self.revision, quota.held_bytes = revision, limit - room
            result = self._apply_general(command, base + len(results), skipped)
            if result is None:
                return False
            revision, room = self.revision, limit - quota.held_bytes
            append(result)
            if data.mask != mask:  # a command that is not the usual one has made it large
                shards, mask = data.shards, data.mask
        self.revision, quota.held_bytes = revision, limit - room
        if not mask:
            data.spread_if_large()
        return True

    def _apply_general(self, command: Command, index: int, skipped: list[Skipped]) -> Result | None:
        """Check the form of one command and apply it; None if its op is not the store's."""
        removed_keys: Sequence[bytes] = ()
        result: Result | None = None
        op = command[0] if type(command) in (list, tuple) and command else None
        arity = len(command) if op is not None else 0
        if type(op) is not int and op != PUT:  # 1.0 and true are equal to it, as in the hot loop
            result = MALFORMED_RESULT
        elif op == PUT and arity != 4:  # with a lease it is not the store's
            ok = arity == 3 and type(command[1]) is bytes and type(command[2]) is bytes
            result = self.put(command[1], command[2]) if ok else MALFORMED_RESULT
        elif op == DELETE:
            ok = arity == 2 and type(command[1]) is bytes
            result = self.delete(command[1]) if ok else MALFORMED_RESULT
        elif op == DELETE_RANGE:
            if arity == 3 and type(command[1]) is bytes and type(command[2]) is bytes:
                result, removed_keys = self.delete_range(command[1], command[2])
            else:
                result = MALFORMED_RESULT
        elif op in (CAS_VALUE, CAS_REVISION):
            result = self._cas(command) if arity == 4 else MALFORMED_RESULT
        if result is not None and type(result) is not int:
            skipped.append((index, 1, removed_keys))
        return result

    def put(self, key: bytes, value: bytes) -> Result:
        """Set ``key``, as PUT in :meth:`run`: the new revision, or QUOTA_RESULT."""
        if self.quota.limit_bytes and not self.has_room_for([(key, value)]):
            self.quota.note_refusal()
            return QUOTA_RESULT
        self.revision = revision = self.revision + 1
        old = self.data.packed(key)
        if old is not None and self._is_hidden(key, old):
            self._uncover(key, old)
            old = None
        self.undo.note(key, old or b"", self._replace(key, old, value, revision))
        return revision

    def _replace(self, key: bytes, old: bytes | None, value: bytes, revision: int) -> bytes:
        """Write over ``old``, the entry that the key has; returns the entry after."""
        if old is None:
            packed = pack_numbers(revision, revision, 1) + value
            if key not in self.removed:
                self.added.append(key)
            self.removed.discard(key)
        else:
            create, _, version = numbers_of(old)
            packed = pack_numbers(create, revision, version + 1) + value
        self.data.put_packed(key, packed)
        self.quota.replace(key, old, packed)
        return packed

    def delete(self, key: bytes) -> Result:
        """Remove ``key``: the new revision, or ``(NOT_FOUND, current revision, None)``."""
        old = self.packed(key)
        if old is None:
            return (_NOT_FOUND, self.revision, None)
        self._delete(key)
        self.undo.note(key, old, b"")
        self.revision += 1
        return self.revision

    def _delete(self, key: bytes) -> None:
        self.quota.remove(key, self.data.pop_packed(key) or b"")
        self.removed.add(key)
        for walk in self.walks:
            walk.lose(key)

    def change_keys(
        self,
        values: Iterable[tuple[bytes, bytes | None]],
        anew: Set[bytes],
        reason: str = "",
    ) -> int:
        """Set each key to its value, or remove it (None; it lives then), all in one revision, which
        is returned. Each key comes once, also one that the batch does not name, and there is one.
        Those in ``anew`` begin as if they had not lived. ``reason``: why, if no command does it."""
        self.revision = revision = self.revision + 1
        data, walks, hidden = self.data, self.walks, self._hidden.bounds
        rows: list[tuple[bytes, bytes, bytes]] = []
        for key, value in values:
            old = data.packed(key)
            if old is not None:
                for walk in walks:  # preserve() does not know of this key; it may be hidden
                    walk.keep(key, old)
                if hidden and self._is_hidden(key, old):
                    self._uncover(key, old)
                    old = None
            new = b""
            if value is None:
                self._delete(key)
            elif old is not None and key in anew:
                self._delete(key)
                new = self._replace(key, None, value, revision)
            else:
                new = self._replace(key, old, value, revision)
            rows.append((key, old or b"", new))
        self.undo.note_group(KeyGroup.of(revision, rows, reason))
        return revision

    def delete_range(self, start: bytes, end: bytes) -> tuple[Result, Sequence[bytes]]:
        """Remove ``start <= key < end`` (end b"": no end) in one revision.

        Returns ``(OK, revision, count)`` or ``(NOT_FOUND, current revision, None)``; and the
        keys that went, in order.
        """
        self.fold_in()
        keys = self._index.cut(start, end)
        count = len(keys)
        if not count:
            return (_NOT_FOUND, self.revision, None), ()
        self.revision += 1
        self.hidden_keys += count
        self.undo.note_group(gone := KeyGroup(self.revision, keys, self.data))
        removal = Removal(gone, [(walk, walk.cut(keys)) for walk in self.walks])
        if count <= REMOVED_AT_ONCE_MAX:
            self._take_out(removal, count)
        else:
            self._hidden.add(start, end, self.revision)
            self.removals.append(removal)
        return (_OK, self.revision, count), keys

    def _cas(self, command: Command) -> Result:
        """CAS_VALUE and CAS_REVISION: the new revision, or CAS_MISS with the key's revision."""
        op, key, expect, value = command
        if type(key) is not bytes or type(value) is not bytes:
            return MALFORMED_RESULT
        old = self.packed(key)
        if op == CAS_VALUE:
            if expect is not None and type(expect) is not bytes:
                return MALFORMED_RESULT
            holds = (old[HEAD_BYTES:] if old is not None else None) == expect
        else:
            if type(expect) is not int or expect < 0:
                return MALFORMED_RESULT
            holds = (numbers_of(old)[1] if old is not None else 0) == expect
        if holds:
            return self.put(key, value)
        return (_CAS_MISS, numbers_of(old)[1] if old is not None else 0, None)

    def has_room_for(self, values: Iterable[tuple[bytes, bytes | None]]) -> bool:
        """Whether the quota lets each key be set to its value, or removed (None); each comes once.

        Hidden entries do not count. How many bytes they have is not known before they are taken
        out: as many are taken out now as the answer needs, also from a walk that is behind. Each of
        them frees KEY_BYTES, so that is little work for a small growth."""
        quota = self.quota
        growth = sum([quota.growth(key, value, self.packed(key)) for key, value in values])
        while self.removals and (lack := quota.lacks(growth)):
            self._go_on_removing(lack // KEY_BYTES + 1)
        return not quota.lacks(growth)

    # ---- what is hidden

    @property
    def can_remove(self) -> bool:
        """Whether :meth:`advance_removal` has something to do now."""
        return bool(self.removals) and not any(walk.is_behind for walk in self.walks)

    def advance_removal(self, keys_max: int) -> None:
        """Take out about ``keys_max`` hidden entries. Nothing that is visible changes. It waits
        for a walk that could not go on yet with what was taken out before."""
        while keys_max > 0 and self.can_remove:
            keys_max -= self._go_on_removing(keys_max)

    def _go_on_removing(self, keys_max: int) -> int:
        """Go on with the oldest removal; returns how many keys were looked at."""
        removal = self.removals[0]
        count = self._take_out(removal, keys_max)
        if removal.is_done:
            self.removals.popleft()
            if removal.gone.is_forgotten:
                self.disposal.add(removal.gone.give_up())
            if not self.removals:
                self._hidden.clear()
            elif len(self._hidden.bounds) > 4 * len(self.removals):
                self._hidden.forget(removal.revision)
        return count

    def _take_out(self, removal: Removal, keys_max: int) -> int:
        """Go on with one removal; returns how many keys were looked at."""
        data, at, gone = self.data, removal.at, removal.gone
        keys = removal.take(keys_max)
        self.work.units += len(keys)
        walks = [(walk, first) for walk, first in removal.walks if walk in self.walks]
        for position, key in enumerate(keys, at):
            packed = data.packed(key)
            if packed is None or numbers_of(packed)[1] >= removal.revision:
                gone.keep(key, None)  # it was written again, and perhaps removed again
                continue
            for walk, first in walks:
                if position >= first:
                    walk.keep(key, packed)
            gone.keep(key, packed)
            self._drop_hidden(key, packed)
        return len(keys)

    def _drop_hidden(self, key: bytes, packed: bytes) -> None:
        del self.data[key]
        self.hidden_keys -= 1
        self.quota.remove(key, packed)

    def _uncover(self, key: bytes, packed: bytes) -> None:
        """A hidden entry is about to be replaced: it belongs to the first removal since it was
        written that has the key."""
        self._drop_hidden(key, packed)
        modify: int = numbers_of(packed)[1]
        for removal in self.removals:
            if removal.revision > modify and removal.gone.find(key) >= 0:
                removal.gone.keep_early(key, packed)
                return
        raise AssertionError("no removal hides this entry")

    def _is_hidden(self, key: bytes, packed: bytes) -> bool:
        return bool(numbers_of(packed)[1] < self._hidden.revision_at(key))

    def packed(self, key: bytes) -> bytes | None:
        """The entry of ``key``, packed, if it lives."""
        packed = self.data.shards[hash(key) & self.data.mask].get(key)
        if packed is not None and self._hidden.bounds and self._is_hidden(key, packed):
            return None
        return packed

    def hidden(self) -> Tombstones | None:
        """What is hidden now, if anything is."""
        return self._hidden.copy() if self._hidden.bounds else None

    def modify_revision(self, key: bytes) -> int:
        """The revision of the last write of ``key``; 0: there is no such key."""
        packed = self.packed(key)
        return 0 if packed is None else numbers_of(packed)[1]

    # ---- reads

    def get(self, key: bytes) -> KeyValue | None:
        """The key as it is now, or None."""
        packed = self.packed(key)
        return None if packed is None else KeyValue(key, *unpacked(packed))

    def scan_keys(self, start: bytes, end: bytes, reverse: bool) -> Iterator[bytes]:
        """The keys there (end b"": no end) in order. Nothing may be written meanwhile."""
        self.fold_in()
        return self._index.scan(start, end, reverse)

    def count(self, start: bytes, end: bytes) -> int:
        """How many keys there are in ``start <= key < end``."""
        self.fold_in()
        return self._index.count(start, end)

    # ---- the index

    def index_keys_after(self, key: bytes | None, count: int) -> list[bytes]:
        """The next ``count`` keys of the index alone above ``key``, in order. Some of them may
        not exist any more; those in ``added`` are missing."""
        return self._index.after(key, count)

    @property
    def index_lag_keys(self) -> int:
        """How many keys the next scan has to fold into the index before it starts."""
        return len(self.added) + len(self.removed)

    def settle(self, commands: int) -> None:
        """To be called at the end of a slot of so many commands: what was put off (the index,
        hidden entries) stays bounded by what is done for it here."""
        if len(self.added) + len(self.removed) > INDEX_LAG_MAX:
            self.fold_in()
        if self.removals:
            self.advance_removal(REMOVED_PER_COMMAND * commands)

    def advance_index(self, keys_max: int) -> bool:
        """Fold at most ``keys_max`` keys into the index; True if it is now complete.

        For idle moments: it changes the cost of the next scan and nothing else.
        """
        left = keys_max
        self.work.units += min(keys_max, self.index_lag_keys)
        while self.added and left > 0:
            left -= 1
            key = self.added.pop()
            if key in self.removed:
                self.removed.discard(key)
            else:
                self._index.add(key)
        # With steps left, added is empty: every removed key is now in the index.
        while self.removed and left > 0:
            left -= 1
            self._index.remove(self.removed.pop())
        return not self.added and not self.removed

    def fold_in(self) -> None:
        """Complete the index."""
        self.work.units += self.index_lag_keys
        added, removed = self.added, self.removed
        if removed:
            kept = [key for key in added if key not in removed]
            # Those of the removed keys that never reached the index need no removal from it.
            removed.difference_update(added)
            added[:] = kept
            for key in removed:
                self._index.remove(key)
            removed.clear()
        if added:
            added.sort()
            self._index.merge(added)
            added.clear()

    def join(self, work: Work, disposal: Disposal) -> None:
        """From now on ``work`` counts and ``disposal`` frees: another machine took this over."""
        self.work = work
        self.disposal = disposal
        self.undo.join(disposal)

    def load(self, keys: Sequence[bytes], packed: Sequence[bytes]) -> bool:
        """Add rows of a snapshot, packed. False if one of the keys was there before: the store is
        of no use then."""
        if not self.data.add_all(keys, packed):
            return False
        self._index.merge(sorted(keys))
        self.quota.add_all(keys, packed)
        return True

    def give_up(self) -> list[Any]:
        """All large containers in it, to be freed little by little; do not use it after that."""
        return [*self.data.give_up(), *self._index.give_up(), *self.undo.give_up()]
