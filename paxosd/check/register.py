"""One key as a sequential object: what each operation does to it, and may see there.

The state is ``(value, modified, low)``: the value (None: no such key), its modify revision (0: no
such key, -1: not known, for an unknown write made it), and the highest revision known to have
been reached. Every later write has a revision above ``low``; revisions that are not known cost
nothing.
"""

from collections.abc import Iterable, Sequence
from enum import Enum

from paxosd.check.history import (
    CAS,
    DELETE,
    DELETE_RANGE,
    FAILED,
    GET,
    OK,
    PUT,
    RANGE,
    READS,
    TXN,
    Operation,
)


class Anything(Enum):
    """The value of a key of which nothing is known."""

    ANYTHING = 0


State = tuple[bytes | Anything | None, int, int]

INITIAL: State = (None, 0, 0)
ANYTHING: State = (Anything.ANYTHING, -1, 0)

WRITE = 0  # becomes `value`
SEE = 1  # must be `value`
SWAP = 2  # must be as expected, becomes `value`
MISS = 3  # must not be as expected
REMOVE = 4  # must be there, goes
WIPE = 5  # goes, if it is there

NO_RETURN = 1 << 62


class Access:
    """What one operation is to one key. ``definite``: it took effect; else it may, or never.

    ``revision``: of a write, or of the store as a SEE reflects it; ``modified``: of the key, as
    a SEE or a MISS was answered; -1: not known.
    """

    __slots__ = (
        "definite",
        "expect",
        "expect_revision",
        "invoked",
        "kind",
        "modified",
        "operation",
        "place",
        "returned",
        "revision",
        "value",
    )

    def __init__(
        self, operation: Operation, kind: int, value: bytes | None = None, modified: int = -1
    ) -> None:
        self.operation = operation
        self.kind = kind
        self.value = value
        self.modified = modified
        self.definite = operation.outcome == OK
        self.invoked = operation.invoked
        self.returned = operation.returned if self.definite else NO_RETURN
        self.revision = operation.revision if self.definite and kind != MISS else -1
        self.expect = operation.expect
        self.expect_revision = operation.expect_revision
        # Where it belongs in the order of revisions, doubled: what saw r comes after write r.
        self.place = 2 * self.revision + (kind == SEE) if self.revision >= 0 else -1

    @property
    def observes(self) -> bool:
        """Whether it leaves the key as it is."""
        return self.kind in (SEE, MISS)


def step(state: State, access: Access) -> State | None:
    """The state after ``access``; None if it cannot happen in ``state``."""
    value, modified, low = state
    kind, revision = access.kind, access.revision
    if isinstance(value, Anything) and kind in (SEE, MISS):
        if kind == MISS:
            return state
        value = access.value
    if kind == SEE:
        if access.value != value or 0 <= revision < low:
            return None
        low = max(low, revision)
    elif kind == MISS:
        by_value = access.expect_revision < 0
        if as_expected(value, modified, access) and (by_value or modified >= 0):
            return None
        if access.modified >= 0 and (value is None) != (access.modified == 0):
            return None
    else:
        if 0 <= revision <= low:
            return None
        if kind == REMOVE and value is None and access.definite:
            return None
        if kind == SWAP and not as_expected(value, modified, access):
            return None
        if kind in (REMOVE, WIPE):
            return (None, 0, max(low, revision))
        return (access.value, revision, max(low, revision))
    if access.modified > 0 and value is not None:
        if modified not in (-1, access.modified):
            return None
        return (value, access.modified, max(low, access.modified))
    return (value, modified, low)


def as_expected(value: bytes | Anything | None, modified: int, access: Access) -> bool:
    """Whether a CAS finds, or may find, what it expects."""
    if isinstance(value, Anything):
        return True
    wanted = access.expect_revision
    if wanted < 0:
        return value == access.expect
    if wanted == 0 or value is None:
        return wanted == 0 and value is None
    return modified in (-1, wanted)


# -- from operations to the accesses of one key


def keys_of(operations: Iterable[Operation]) -> list[bytes]:
    """Every key that some operation names or saw, in order; not those of a TXN."""
    keys = set()
    for operation in operations:
        if operation.kind not in (RANGE, DELETE_RANGE, TXN):
            keys.add(operation.key)
        keys.update(key for key, _ in operation.rows)
    return sorted(keys)


def accesses_by_key(operations: Sequence[Operation]) -> dict[bytes, list[Access]]:
    """Key → what was done to it, by invocation. Left out is what constrains nothing: failed
    operations, and reads without an answer. A range is an access to each key known in it."""
    by_key: dict[bytes, list[Access]] = {key: [] for key in keys_of(operations)}
    for operation in sorted(operations, key=lambda each: each.invoked):
        if operation.outcome == FAILED:
            continue
        if operation.outcome != OK and operation.kind in READS:
            continue
        if operation.kind in (RANGE, DELETE_RANGE):
            _spread(operation, by_key)
        else:
            by_key[operation.key].append(_single(operation))
    return by_key


def _single(operation: Operation) -> Access:
    kind, result = operation.kind, operation.result
    modified = operation.modified[0] if operation.modified else -1
    definite = operation.outcome == OK
    if kind == PUT:
        return Access(operation, WRITE, operation.value)
    if kind == GET:
        assert result is None or isinstance(result, bytes)
        return Access(operation, SEE, result, modified)
    if kind == DELETE:
        if definite and not result:
            return _absent(operation)
        return Access(operation, REMOVE)
    assert kind == CAS
    if definite and not result:
        return Access(operation, MISS, operation.value, modified)
    return Access(operation, SWAP, operation.value)


def _spread(operation: Operation, by_key: dict[bytes, list[Access]]) -> None:
    if operation.kind == DELETE_RANGE:
        nothing = operation.outcome == OK and operation.result == 0
        for key, accesses in by_key.items():
            if operation.covers(key):
                access = _absent(operation) if nothing else Access(operation, WIPE)
                accesses.append(access)
        return
    seen = dict(operation.rows)
    modified = dict(zip(seen, operation.modified, strict=False))
    for key, accesses in by_key.items():
        # A row outside of the range that was asked for is judged all the same.
        if key in seen or operation.covers(key):
            accesses.append(Access(operation, SEE, seen.get(key), modified.get(key, -1)))


def _absent(operation: Operation) -> Access:
    """A removal that found nothing is a read of nothing. The revision of its answer, if any, is
    that of the store at that moment."""
    return Access(operation, SEE, None)


# -- unknown outcomes that were seen


def settle_seen(accesses: Sequence[Access]) -> list[Access]:
    """A write of unknown outcome took effect if its value was seen, and no other write has that
    value: it becomes definite, and has ended by then at the latest."""
    writers: dict[bytes | None, list[Access]] = {}
    for access in accesses:
        if access.kind in (WRITE, SWAP):
            writers.setdefault(access.value, []).append(access)
    seen: dict[bytes | None, tuple[int, int]] = {}
    for access in accesses:
        value = _value_seen(access)
        if value is not None:
            end, modified = seen.get(value, (NO_RETURN, -1))
            seen[value] = (min(end, access.returned), max(modified, access.modified))
    return [
        _settled(access, *seen[access.value])
        if not access.definite
        and access.kind in (WRITE, SWAP)
        and access.value in seen
        and len(writers[access.value]) == 1
        else access
        for access in accesses
    ]


def _value_seen(access: Access) -> bytes | None:
    """The value that the key surely held when this happened; None: no key, or not known."""
    if access.definite and access.kind == SEE:
        return access.value
    if access.definite and access.kind == SWAP and access.expect_revision < 0:
        return access.expect
    return None


def _settled(access: Access, end: int, modified: int) -> Access:
    copy = Access(access.operation, access.kind, access.value)
    copy.definite = True
    copy.returned = max(access.invoked, end)
    if modified > 0:
        copy.revision, copy.place = modified, 2 * modified
    return copy
