"""Nothing acknowledged is lost, nothing is applied twice: a history against the final state.

Every write of a history has a value of its own, so that a value names its writer. A key's
*version* counts the writes since it was created, which shows a second application even where it
wrote the same value again. For each key, with its final row (value, create and modify revision,
version):

- The value is that of a write to this key which did not fail, at the revision of its answer.
- No write that was acknowledged is above the final revision: it would be lost.
- The version is at least the number of acknowledged writes since the creation, and at most that
  number plus the writes of unknown outcome that may fall into that time.
- A key that is gone has a removal to explain it: an acknowledged one above every acknowledged
  write, or one of unknown outcome.

And in all reads that were answered with revisions: a value has always one revision, and a revision
one value.

What unknown outcomes leave open: where only the version counts them, an unknown write that was
applied twice looks like two unknown writes. It is found where a read showed its value under two
revisions, or where the store's revision (``alone``, see :mod:`paxosd.check.total_order`) is one too
high. Where answers have no revisions, only the versions of keys that nothing removed are counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from paxosd.check.history import CAS, DELETE, DELETE_RANGE, FAILED, OK, PUT, UNKNOWN, Operation
from paxosd.check.history_words import text
from paxosd.check.register import keys_of
from paxosd.check.timeline import effective, seen_with_revision, unique_writers
from paxosd.check.verdict import CHECKED_OK, Verdict, violation


class FinalRow(NamedTuple):
    """A key at the end, read after every operation had ended. Numbers are 0 if not known."""

    value: bytes
    create_revision: int = 0
    modify_revision: int = 0
    version: int = 0


def check_exactly_once(
    operations: Iterable[Operation], final: Mapping[bytes, FinalRow | None]
) -> Verdict:
    """Judge each key of ``final`` (None: there is no such key), and all reads."""
    held = sorted(operations, key=lambda each: each.invoked)
    writers = unique_writers(held)
    breach = _check_reads(held, writers)
    if breach is not None:
        return breach
    writes = _writes_by_key(held, sorted({*keys_of(held), *final}))
    acknowledged = 0
    for key, row in sorted(final.items()):
        found = writes[key]
        acknowledged += len(found.acknowledged)
        judge = _KeyJudge(key, found, writers)
        breach = judge.absent() if row is None else judge.present(row)
        if breach is not None:
            return breach
    words = f"{acknowledged} acknowledged writes to {len(final)} keys, each applied once"
    return Verdict(CHECKED_OK, None, words)


class _Writes:
    """What may have changed a key. Removals count as acknowledged only if they removed it."""

    __slots__ = ("acknowledged", "removals", "unknown", "unknown_removals")

    def __init__(self) -> None:
        self.acknowledged: list[Operation] = []
        self.removals: list[Operation] = []
        self.unknown: list[Operation] = []
        self.unknown_removals: list[Operation] = []


def _writes_by_key(held: Sequence[Operation], keys: Sequence[bytes]) -> dict[bytes, _Writes]:
    by_key = {key: _Writes() for key in keys}
    for operation in held:
        unknown = operation.outcome == UNKNOWN
        if not unknown and not (operation.outcome == OK and effective(operation)):
            continue
        if operation.kind in (PUT, CAS):
            found = by_key[operation.key]
            (found.unknown if unknown else found.acknowledged).append(operation)
        elif operation.kind in (DELETE, DELETE_RANGE):
            for key in keys:
                if operation.covers(key):
                    found = by_key[key]
                    (found.unknown_removals if unknown else found.removals).append(operation)
    return by_key


class _KeyJudge:
    """The rules for one key."""

    def __init__(
        self,
        key: bytes,
        writes: _Writes,
        writers: Mapping[tuple[bytes, bytes], Operation],
    ) -> None:
        self._key = key
        self._writes = writes
        self._writers = writers

    def absent(self) -> Verdict | None:
        """There is no such key at the end."""
        writes = self._writes
        if not writes.acknowledged or writes.unknown_removals:
            return None
        last = max(writes.acknowledged, key=_order)
        removed = any(_may_follow(each, last) for each in writes.removals)
        return None if removed else self._breach("lost: there is no such key any more", last)

    def present(self, row: FinalRow) -> Verdict | None:
        """The key has this row at the end."""
        return self._check_value(row) or self._check_lost(row) or self._check_version(row)

    def _check_value(self, row: FinalRow) -> Verdict | None:
        writer = self._writers.get((self._key, row.value))
        if writer is None:
            writes = self._writes
            if any(each.value == row.value for each in (*writes.acknowledged, *writes.unknown)):
                return None  # several wrote it
            return self._breach(f"holds {text(row.value)}, which nobody wrote")
        if writer.outcome == FAILED or (writer.outcome == OK and not effective(writer)):
            return self._breach(f"holds {text(row.value)}, of a write that was refused", writer)
        answered = writer.revision if writer.outcome == OK else -1
        if answered >= 0 and row.modify_revision not in (0, answered):
            words = f"holds {text(row.value)} at revision {row.modify_revision}: applied twice"
            return self._breach(words, writer)
        return None

    def _check_lost(self, row: FinalRow) -> Verdict | None:
        """No acknowledged change is above the final one, in revision or in real time."""
        for each in (*self._writes.acknowledged, *self._writes.removals):
            if 0 < row.modify_revision < each.revision:
                words = f"lost: the key is still of revision {row.modify_revision}"
                return self._breach(words, each)
        for each in self._writes.removals:
            if 0 < row.create_revision < each.revision <= row.modify_revision:
                words = f"a removal was lost: it exists since revision {row.create_revision}"
                return self._breach(words, each)
        writer = self._writers.get((self._key, row.value))
        if writer is None or writer.outcome != OK:
            return None
        for each in (*self._writes.acknowledged, *self._writes.removals):
            if writer.returned < each.invoked:
                words = f"lost: the key still holds {text(row.value)}"
                return self._breach(words, writer, each)
        return None

    def _check_version(self, row: FinalRow) -> Verdict | None:
        if not row.version:
            return None
        writes = self._writes
        since = row.create_revision
        known = all(each.revision >= 0 for each in writes.acknowledged)
        if not since or not known:
            if writes.removals or writes.unknown_removals:
                return None
            since = 0
        counted = [each for each in writes.acknowledged if not since or each.revision >= since]
        high = len(counted) + len(writes.unknown)
        if row.version < len(counted):
            words = f"lost: version {row.version} after {len(counted)} acknowledged writes"
            return self._breach(words, *counted)
        if row.version > high:
            words = (
                f"applied twice: version {row.version} after {len(counted)} acknowledged and "
                f"{len(writes.unknown)} unknown writes"
            )
            return self._breach(words, *counted, *writes.unknown)
        return None

    def _breach(self, words: str, *operations: Operation) -> Verdict:
        return violation(self._key, f"key {text(self._key)}: {words}", operations)


def _order(operation: Operation) -> tuple[int, int]:
    return (operation.revision, operation.returned)


def _may_follow(removal: Operation, write: Operation) -> bool:
    """Whether a removal may come after a write."""
    if removal.revision >= 0 and write.revision >= 0:
        return removal.revision > write.revision
    return removal.returned > write.invoked


def _check_reads(
    held: Sequence[Operation], writers: Mapping[tuple[bytes, bytes], Operation]
) -> Verdict | None:
    """Each value is seen at one revision only, each revision of a key with one value only."""
    revision_of: dict[tuple[bytes, bytes], tuple[int, Operation]] = {}
    value_at: dict[tuple[bytes, int], tuple[bytes, Operation]] = {}
    for read in held:
        for key, value, modified in seen_with_revision(read):
            known_value, first = value_at.setdefault((key, modified), (value, read))
            if known_value != value:
                words = f"key {text(key)}: two values at revision {modified}:"
                return violation(key, words, [first, read])
            writer = writers.get((key, value))
            if writer is None:
                continue
            answered = writer.revision if writer.outcome == OK else -1
            begin = (answered, writer) if answered >= 0 else (modified, read)
            known, first = revision_of.setdefault((key, value), begin)
            if known != modified:
                words = (
                    f"key {text(key)}: {text(value)} was applied twice, "
                    f"at revisions {known} and {modified}:"
                )
                return violation(key, words, [first, read])
    return None
