"""The whole store at once: the known revisions are one order, and it explains all answers.

Checked wherever revisions (or slots) are known, on all keys together:

- No two writes have one revision, and a greater revision is in no lower slot.
- The order agrees with real time: what began after another one had ended has the higher
  revision (a write) or saw at least that one (a read).
- Replayed in the order of revisions, each write finds what its result says it found: a CAS its
  expectation, a DELETE its key, a DELETE_RANGE as many keys.
- Each read equals the model at the revision that it says it reflects; a range that does not say
  so equals it at some revision within its time.
- Where the history holds every write (``alone``), each revision is explained by one of them: one
  too many is a command that was applied twice.

An unknown write has no revision of its own until a read shows its value with one. Until then it
makes the keys that it may have touched uncertain, from the first unknown
revision that it may have on, up to the next write of the key with a known revision; what is
uncertain is not judged. See :class:`paxosd.check.timeline.Timeline`.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise

from paxosd.check.history import CAS, DELETE, DELETE_RANGE, GET, OK, RANGE, READS, Operation
from paxosd.check.history_words import text
from paxosd.check.timeline import UNCERTAIN, Timeline, effective
from paxosd.check.verdict import CHECKED_OK, NOT_CHECKED, Verdict, violation

POINTS_MAX = 2000
"""How many revisions within the time of one range are tried, before it counts as not checked."""


class Breach(Exception):  # noqa: N818 - it is a finding, not an error of the checker
    """A contradiction: a key (or None), what it is, and the operations that show it."""

    def __init__(self, key: bytes | None, headline: str, *operations: Operation) -> None:
        super().__init__(headline)
        self.verdict = violation(key, headline, operations)


def check_total_order(
    operations: Iterable[Operation], *, alone: bool = False, others: Collection[int] = ()
) -> Verdict:
    """Judge the revisions and slots of the answers; a history without any is ok here.

    ``alone``: the history holds every write that the store ever had, from an empty one on.
    """
    held = sorted(operations, key=lambda each: each.invoked)
    try:
        writes = _writes_in_order(held)
        floors = _check_real_time(held)
        timeline = Timeline(held, writes, floors, alone=alone, others=others)
        for first, second in timeline.contradictions:
            words = f"key {text(first.key)}: one write was applied twice, at two revisions:"
            if first.revision == second.revision:
                words = f"two writes at revision {first.revision}:"
            raise Breach(first.key, words, first.operation, second.operation)
        if alone:
            _check_gaps(timeline, floors)
        for write in writes:
            _check_write(write, timeline)
        reads = [each for each in held if each.outcome == OK and each.kind in READS]
        given_up = [each for each in reads if not _check_read(each, timeline, floors)]
    except Breach as breach:
        return breach.verdict
    if given_up:
        words = f"{len(given_up)} ranges that took too long to be compared with every moment"
        return Verdict(NOT_CHECKED, None, words, tuple(given_up))
    return Verdict(CHECKED_OK, None, f"{len(writes)} revisions in order")


def _writes_in_order(held: Sequence[Operation]) -> list[Operation]:
    writes = [each for each in held if each.outcome == OK and effective(each)]
    writes = sorted((each for each in writes if each.revision >= 0), key=lambda op: op.revision)
    for one, other in pairwise(writes):
        if one.revision == other.revision:
            raise Breach(other.key, f"two writes at revision {one.revision}:", one, other)
    placed = [each for each in writes if each.slot >= 0]
    for one, other in pairwise(placed):
        if one.slot > other.slot:
            words = f"revision {other.revision} is in an earlier slot than {one.revision}:"
            raise Breach(other.key, words, one, other)
    return writes


# -- real time


class _Floor:
    """The highest number in the answer to an operation that has ended, and that operation."""

    __slots__ = ("holder", "number")

    def __init__(self) -> None:
        self.number = -1
        self.holder: Operation | None = None

    def raise_to(self, number: int, holder: Operation) -> None:
        if number > self.number:
            self.number, self.holder = number, holder


def _check_real_time(held: Sequence[Operation]) -> list[int]:
    """Sweep over beginnings and ends; for each operation the revision that had been reached
    when it began (-1: none is known)."""
    ends = sorted((each for each in held if each.outcome == OK), key=lambda each: each.returned)
    revisions, slots = _Floor(), _Floor()
    floors = []
    ended = 0
    for operation in held:
        while ended < len(ends) and ends[ended].returned < operation.invoked:
            earlier = ends[ended]
            if _shows_revision(earlier):
                revisions.raise_to(earlier.revision, earlier)
            slots.raise_to(earlier.slot, earlier)
            ended += 1
        floors.append(revisions.number)
        if operation.outcome != OK:
            continue
        if _shows_revision(operation):
            _check_above(operation, operation.revision, revisions, "revision")
        if operation.slot >= 0:
            _check_above(operation, operation.slot, slots, "slot")
    return floors


def _check_above(operation: Operation, number: int, floor: _Floor, unit: str) -> None:
    if floor.holder is None:
        return
    command = operation.kind not in READS and (unit == "slot" or effective(operation))
    if number > floor.number or (number == floor.number and not command):
        return
    words = (
        f"key {text(operation.key)}: began after {unit} {floor.number} had been answered, "
        f"but is of {unit} {number}:"
    )
    raise Breach(operation.key, words, floor.holder, operation)


def _shows_revision(operation: Operation) -> bool:
    return operation.revision >= 0 and (operation.kind != CAS or bool(operation.result))


# -- the replay


def _check_gaps(timeline: Timeline, floors: Sequence[int]) -> None:
    """Each revision that is in no answer needs an unknown write of its own."""
    possible = sorted(floors[each.number_in_list] for each in timeline.loose)
    for count, gap in enumerate(timeline.gaps, 1):
        if count > bisect_right(possible, gap - 1):
            before, after = timeline.around(gap)
            words = (
                f"no operation is left that could have made revision {gap}: "
                f"a command was applied twice, or somebody else writes"
            )
            raise Breach(None, words, *(each for each in (before, after) if each is not None))


def _check_write(write: Operation, timeline: Timeline) -> None:
    before = write.revision - 1
    if write.kind == CAS and write.expect_revision < 0:
        found = timeline.value_at(write.key, before)
        if found is not UNCERTAIN and found != write.expect:
            words = (
                f"key {text(write.key)}: a cas succeeded where the key held "
                f"{_shown(found)}, not {text(write.expect)}:"
            )
            raise Breach(write.key, words, *timeline.makers(write.key, before), write)
    elif write.kind == CAS:
        revision = timeline.revision_at(write.key, before)
        if revision not in (-1, write.expect_revision):
            words = (
                f"key {text(write.key)}: a cas succeeded where the key was of revision "
                f"{revision}, not {write.expect_revision}:"
            )
            raise Breach(write.key, words, *timeline.makers(write.key, before), write)
    elif write.kind == DELETE and timeline.value_at(write.key, before) is None:
        words = f"key {text(write.key)}: removed where there was no such key:"
        raise Breach(write.key, words, *timeline.makers(write.key, before), write)
    elif write.kind == DELETE_RANGE:
        keys = timeline.keys_in(write)
        found_all = [timeline.value_at(key, before) for key in keys]
        count = sum(1 for found in found_all if found is not None)
        if not any(found is UNCERTAIN for found in found_all) and count != write.result:
            words = f"{write.result!r} keys removed where there were {count}:"
            makers = [each for key in keys for each in timeline.makers(key, before)]
            raise Breach(write.key, words, *makers, write)


def _check_read(read: Operation, timeline: Timeline, floors: Sequence[int]) -> bool:
    """False if it would take too long. Raises Breach."""
    if read.revision >= 0:
        wrong = _differences(read, timeline, read.revision)
        for key, seen, held in wrong:
            words = (
                f"key {text(key)}: at revision {read.revision} it was {_shown(held)}, "
                f"but was read as {_shown(seen)}:"
            )
            raise Breach(key, words, *timeline.makers(key, read.revision), read)
    elif read.kind == RANGE:
        return _check_range_somewhere(read, timeline, floors)
    return True


def _check_range_somewhere(read: Operation, timeline: Timeline, floors: Sequence[int]) -> bool:
    low = max(floors[timeline.index_of(read)], 0)
    high = timeline.ceiling(read)
    points = [low, *timeline.changes_between(read, low, high)]
    if len(points) > POINTS_MAX:
        return False
    best: list[tuple[bytes, object, object]] | None = None
    best_point = low
    for point in points:
        wrong = list(_differences(read, timeline, point))
        if not wrong:
            return True
        if best is None or len(wrong) < len(best):
            best, best_point = wrong, point
    assert best is not None
    key, seen, held = best[0]
    words = (
        f"a range that equals the store at no moment of its time (revisions {low} to {high}); "
        f"nearest is {best_point}, where {text(key)} was {_shown(held)} and not {_shown(seen)}:"
    )
    raise Breach(key, words, *timeline.makers(key, best_point), read)


def _differences(
    read: Operation, timeline: Timeline, revision: int
) -> Iterator[tuple[bytes, object, object]]:
    """``(key, seen, held)`` wherever a read is not what the model holds at ``revision``."""
    if read.kind == GET:
        seen = {read.key: read.result}
        keys = [read.key]
    else:
        seen = dict(read.rows)
        keys = timeline.keys_in(read)
    modified = dict(zip(seen, read.modified, strict=False))
    for key in keys:
        held = timeline.value_at(key, revision)
        if held is UNCERTAIN:
            continue
        if held != seen.get(key):
            yield key, seen.get(key), held
        elif held is not None and modified.get(key, -1) > 0:
            made_at = timeline.revision_at(key, revision)
            if made_at not in (-1, modified[key]):
                yield key, f"{_shown(held)} of {modified[key]}", f"{_shown(held)} of {made_at}"


def _shown(value: object) -> str:
    return text(value) if value is None or isinstance(value, bytes) else str(value)
