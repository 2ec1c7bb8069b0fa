"""Which keys have to be judged together: those that some command on several keys shares.

    plain, objects = split_shared(operations)

Locality (Herlihy and Wing) lets each object be judged by itself, and a transaction makes one object
of all keys that it names. Objects are the components that union-find makes of these keys ("Data
structures and algorithms", Aho, Hopcroft, Ullman, 4.7): two transactions that are connected by no
chain of common keys are in two objects. So what is searched stays as small as the transactions
are, however many keys there are; keys of no transaction are judged one by one, as ever.

A range that reaches into an object belongs to it, with all known keys that it covers.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from paxosd.check.history import DELETE_RANGE, FAILED, OK, RANGE, READS, TXN, Operation
from paxosd.check.register import keys_of
from paxosd.check.transaction_model import Touched, leased, touched


@dataclass(slots=True, eq=False)
class SharedObject:
    """Keys that belong together, and all operations on them by invocation. ``touches``: the number
    of an operation in the history → the keys that it may read or write."""

    keys: list[bytes]
    operations: list[Operation]
    touches: dict[int, frozenset[bytes]]


def split_shared(operations: Iterable[Operation]) -> tuple[list[Operation], list[SharedObject]]:
    """The operations that touch no key of a TXN, and the objects of all others. Operations that
    failed, and reads without an answer, are in none."""
    held = list(operations)
    commands = [each for each in held if each.kind == TXN]
    if not commands:
        return held, []
    names = _Names(held, [each for each in commands if each.outcome != FAILED])
    sets = DisjointSets()
    joined: list[tuple[Operation, frozenset[bytes]]] = []
    plain: list[Operation] = []
    ranges: list[Operation] = []
    for operation in held:
        if operation.kind in (RANGE, DELETE_RANGE):
            ranges.append(operation)
        elif operation.kind == TXN and operation.outcome != FAILED:
            keys = names.of(operation)
            sets.join(keys)
            joined.append((operation, keys))
    while True:  # a range brings keys in, which another range may reach
        reaching = [each for each in ranges if any(each.covers(key) for key in sets)]
        if not reaching:
            break
        taken = set(map(id, reaching))
        ranges = [each for each in ranges if id(each) not in taken]
        for each in reaching:
            keys = frozenset(key for key in names.known if each.covers(key))
            sets.join(keys)
            joined.append((each, keys))
    apart = set(map(id, ranges))
    for operation in held:
        if operation.kind not in (TXN, RANGE, DELETE_RANGE):
            if operation.key in sets:
                joined.append((operation, frozenset([operation.key])))
            else:
                plain.append(operation)
        elif id(operation) in apart:
            plain.append(operation)
    return plain, _objects(joined, sets)


def _objects(
    joined: Sequence[tuple[Operation, frozenset[bytes]]], sets: "DisjointSets"
) -> list[SharedObject]:
    by_root: dict[bytes, SharedObject] = {}
    for key in sorted(sets):
        by_root.setdefault(sets.root(key), SharedObject([], [], {})).keys.append(key)
    for operation, keys in sorted(joined, key=lambda each: each[0].invoked):
        if not keys or (operation.outcome != OK and operation.kind in READS):
            continue
        if operation.outcome != FAILED:
            found = by_root[sets.root(next(iter(keys)))]
            found.operations.append(operation)
            found.touches[operation.number] = keys
    return list(by_root.values())


class DisjointSets:
    """Union-find over keys, with path halving."""

    def __init__(self) -> None:
        self._parent: dict[bytes, bytes] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._parent

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parent)

    def root(self, key: bytes) -> bytes:
        """What stands for the set of a key."""
        parent = self._parent
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    def join(self, keys: Iterable[bytes]) -> None:
        """Make one set of all of these and of what each is with."""
        first: bytes | None = None
        for key in sorted(keys):
            self._parent.setdefault(key, key)
            root = self.root(key)
            if first is None:
                first = root
            else:
                self._parent[root] = first


class _Names:
    """All keys that are known, and those that a command may touch."""

    def __init__(self, held: Sequence[Operation], commands: Sequence[Operation]) -> None:
        self._touched: dict[int, Touched] = {}
        self._leased: dict[int, set[bytes]] = {}
        known = set(keys_of(held))
        for operation in commands:
            assert operation.command is not None
            self._touched[operation.number] = names = touched(operation.command)
            known |= names.keys
            for lease, key in leased(operation.command):
                self._leased.setdefault(lease, set()).add(key)
        self.known: list[bytes] = sorted(known)

    def of(self, operation: Operation) -> frozenset[bytes]:
        """The keys of a TXN."""
        keys, ranges, lease = self._touched[operation.number]
        covered = {
            key
            for start, end in ranges
            for key in self.known
            if start <= key and (not end or key < end)
        }
        return frozenset(keys | covered | self._leased.get(lease, set()))
