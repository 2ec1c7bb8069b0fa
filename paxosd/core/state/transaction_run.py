"""A TXN is applied: planned over the store first, then carried out in one revision.

    run_transaction(store, leases, command, allowance) ──► result, what it changed
        plan: compares and operations against the store and what was planned before; nothing is
              written yet, so that a limit that is met leaves no trace
        carry out: the net effect on each key, in ascending order, in one revision

Rules:

- Operations are done in the order in which they are written; each sees those before it, and so do
  the compares of a nested transaction.
- A key is changed at most once: what counts is how it is at the end. A key that is set twice has
  the last value, and its version grows by one. One that is removed and set again begins anew
  (version 1). One that is set and removed again, and did not exist before, was not changed.
- A transaction without a net effect leaves the revision as it is.
- What it may look at is bounded, alike on all nodes, and so is what those of one slot may do
  together (``slot_allowance.py``).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from operator import eq, gt, lt, ne
from typing import Any

from paxosd.core.commands import DELETE, DELETE_RANGE, PUT, Command, Result, Status
from paxosd.core.lease_bounds import KEYS_MAX as LEASE_KEYS_MAX
from paxosd.core.rights import Principal
from paxosd.core.state.derivation import Written
from paxosd.core.state.entries import HEAD_BYTES, numbers_of
from paxosd.core.state.kv import Store
from paxosd.core.state.leases import Leases
from paxosd.core.state.queries import ROW_OVERHEAD_BYTES
from paxosd.core.state.quota import QUOTA_RESULT
from paxosd.core.state.rights_check import FORBIDDEN_RESULT, may_use_lease
from paxosd.core.state.slot_allowance import SlotAllowance
from paxosd.core.transactions import (
    ADD,
    CREATE_REVISION,
    EQUAL,
    GET_KEY,
    GET_RANGE,
    GREATER,
    KEYS_MAX,
    LEASE,
    LEASE_FULL,
    LESS,
    MODIFY_REVISION,
    NO_LEASE,
    NO_NUMBER,
    NOT_EQUAL,
    NUMBER_RANGE,
    SOME,
    TOO_LARGE,
    TOO_MANY_KEYS,
    VALUE,
    VERSION,
    operations_count,
)

_OK = int(Status.OK)
_REFUSED = int(Status.TXN_REFUSED)
_COMPARISONS: dict[int, Callable[[Any, Any], bool]] = {
    EQUAL: eq,
    NOT_EQUAL: ne,
    LESS: lt,
    GREATER: gt,
}
_PLACES = {CREATE_REVISION: 0, MODIFY_REVISION: 1, VERSION: 2}
"""Target → its place among the numbers of an entry."""
_DECIMAL = re.compile(rb"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER_MAX = (1 << 63) - 1
_RESULT_BYTES = 16
_STEPS_PER_UNIT = 2

Numbers = tuple[int, int, int]
"""Create and modify revision, and version."""


class _RefusedError(Exception):
    """The transaction does nothing; ``reason``: see ``core/transactions.py``."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason


def run_transaction(
    store: Store,
    leases: Leases,
    command: Command,
    allowance: SlotAllowance,
    holder: Principal | None = None,
) -> tuple[Result, Sequence[bytes] | Written]:
    """Apply a well-formed TXN. ``holder``: whose leases it may use, None: all. Returns its result,
    and what it changed, () for nothing: see ``derivation.py``."""
    plan = _Plan(store, leases, allowance.bytes_max, holder)
    try:
        outcome = plan.run(command, 0)
    except _ForeignLeaseError:
        return FORBIDDEN_RESULT, ()
    except _RefusedError as refused:
        return (_REFUSED, store.revision, refused.reason), ()
    finally:
        steps = plan.keys_looked_at + plan.parts
        allowance.steps -= steps
        allowance.answer_bytes -= plan.answer_bytes
        store.work.units += steps // _STEPS_PER_UNIT
    if not plan.has_room():
        store.quota.note_refusal()
        return QUOTA_RESULT, ()
    changed = plan.carry_out()
    return (_OK, store.revision, outcome), changed


class _ForeignLeaseError(Exception):
    """The transaction does nothing: a lease that it uses is somebody else's."""


class _Plan:
    """The state as it would be: the store, and what is planned over it.

    ``pending``: key → (value or None, source, lease), the net effect so far; the source is that of
    :class:`Written`; 0: no lease. ``anew``: those that were removed before they were set."""

    __slots__ = ("_bytes_max", "_holder", "_leases", "_revision", "_store", "anew", "answer_bytes",
                 "keys_looked_at", "parts", "pending")  # fmt: skip

    def __init__(
        self, store: Store, leases: Leases, bytes_max: int, holder: Principal | None
    ) -> None:
        self._store = store
        self._leases = leases
        self._revision = store.revision + 1
        self._bytes_max = bytes_max
        self._holder = holder
        self.keys_looked_at = 0
        self.parts = 0
        self.answer_bytes = 0
        self.pending: dict[bytes, tuple[bytes | None, int | bytes | None, int]] = {}
        self.anew: set[bytes] = set()

    def run(self, transaction: Command, place: int) -> tuple[int, tuple[Any, ...]]:
        """The pair of a result. ``place``: that of its first operation among all of the command."""
        _, compares, branch, otherwise = transaction
        self.parts += len(compares)
        succeeded = all(map(self._holds, compares))
        if not succeeded:
            place += operations_count(branch)
            branch = otherwise
        self.parts += len(branch)
        results: list[Any] = []
        for operation in branch:
            op = operation[0]
            if op == PUT:
                self._put(operation[1], operation[2], place, *operation[3:])
                result: Any = 1
            elif op == DELETE:
                result = self._delete(operation[1])
            elif op == DELETE_RANGE:
                result = self._delete_range(operation[1], operation[2])
            elif op == ADD:
                result = self._add(operation[1], operation[2])
            elif op == GET_KEY:
                result = self._get(operation[1])
            elif op == GET_RANGE:
                result = self._get_range(*operation[1:])
            else:
                result = self.run(operation, place + 1)
                place += operations_count(operation[2]) + operations_count(operation[3])
            place += 1
            self.answer_bytes += _RESULT_BYTES
            if self.answer_bytes > self._bytes_max:
                raise _RefusedError(TOO_LARGE)
            results.append(result)
        return int(succeeded), tuple(results)

    def _net(self) -> list[tuple[bytes, bytes | None]]:
        """The keys that change, ascending, and the value of each; None: it goes."""
        packed = self._store.packed
        return [
            (key, value)
            for key, (value, _, _) in sorted(self.pending.items())
            if value is not None or packed(key) is not None
        ]

    def has_room(self) -> bool:
        """Whether the quota allows the net effect."""
        store = self._store
        return not store.quota.limit_bytes or store.has_room_for(self._net())

    def carry_out(self) -> Sequence[bytes] | Written:
        """Write the net effect; what it was."""
        net = self._net()
        if not net:
            return ()
        revision = self._store.change_keys(net, self.anew)
        keys: list[bytes] = []
        sources: list[int | bytes | None] = []
        for key, _ in net:
            _, source, lease = self.pending[key]
            if lease:
                self._leases.attach(self._leases.table[lease], key, revision)
            keys.append(key)
            sources.append(source)
        return Written(keys, sources)

    # ---- compares

    def _holds(self, compare: list[Any]) -> bool:
        target, operator, key, operand = compare[:4]
        comparison = _COMPARISONS[operator]
        if len(compare) == 4:
            return _compares(comparison, self._part(key, target), operand)
        end = compare[4]
        some: bool = compare[5] == SOME
        for each in self._scan(key, end, False):
            if _compares(comparison, self._part(each, target), operand) == some:
                return some
        return not some

    # ---- reads, of what would be now

    def _numbers(self, key: bytes) -> Numbers | None:
        packed = self._store.packed(key)
        if key not in self.pending:
            return None if packed is None else numbers_of(packed)
        if self.pending[key][0] is None:
            return None
        if packed is None or key in self.anew:
            return self._revision, self._revision, 1
        create, _, version = numbers_of(packed)
        return create, self._revision, version + 1

    def _value(self, key: bytes) -> bytes | None:
        if key in self.pending:
            return self.pending[key][0]
        packed = self._store.packed(key)
        return None if packed is None else packed[HEAD_BYTES:]

    def _part(self, key: bytes, target: int) -> int | bytes | None:
        if target == VALUE:
            return self._value(key)
        if target == LEASE and key in self.pending:
            return self.pending[key][2]
        numbers = self._numbers(key)
        if numbers is None:
            return 0
        if target == LEASE:
            return self._leases.lease_of(key, numbers[1])
        return numbers[_PLACES[target]]

    def _get(self, key: bytes) -> tuple[Any, ...] | None:
        value = self._value(key)
        self._count_answer(len(value or b""))
        return None if value is None else (value, *(self._numbers(key) or ()))

    def _scan(self, start: bytes, end: bytes, reverse: bool) -> Iterator[bytes]:
        """The keys in ``start <= key < end``, in order. Each key that is looked at counts."""
        if end and end <= start:
            return
        pending = self.pending
        mine = [key for key in pending if start <= key and (not end or key < end)]
        mine.sort(reverse=not reverse)  # the next one is the last
        for key in self._store.scan_keys(start, end, reverse):
            while mine and (mine[-1] > key if reverse else mine[-1] < key):
                yield from self._planned(mine.pop())
            if mine and mine[-1] == key:
                yield from self._planned(mine.pop())
                continue
            self._look()
            yield key
        while mine:
            yield from self._planned(mine.pop())

    def _planned(self, key: bytes) -> Iterator[bytes]:
        self._look()
        if self.pending[key][0] is not None:
            yield key

    def _look(self) -> None:
        self.keys_looked_at += 1
        if self.keys_looked_at > KEYS_MAX:
            raise _RefusedError(TOO_MANY_KEYS)

    def _get_range(
        self, start: bytes, end: bytes, limit: int, reverse: bool, keys_only: bool
    ) -> tuple[tuple[Any, ...], bytes | None]:
        rows: list[Any] = []
        for key in self._scan(start, end, reverse):
            if limit and len(rows) == limit:
                return tuple(rows), rows[-1][0] if reverse else key
            value = b"" if keys_only else self._value(key) or b""
            self._count_answer(len(key) + len(value) + ROW_OVERHEAD_BYTES)
            rows.append((key, value, *(self._numbers(key) or ())))
        return tuple(rows), None

    def _count_answer(self, size: int) -> None:
        self.answer_bytes += size + _RESULT_BYTES
        if self.answer_bytes > self._bytes_max:
            raise _RefusedError(TOO_LARGE)

    # ---- writes

    def _put(self, key: bytes, value: bytes, source: int | bytes, lease: int = 0) -> None:
        if lease:
            self._check_lease(lease, key)
        planned = self.pending.get(key)
        if planned is not None and planned[0] is None:  # it was removed by this transaction
            self.anew.add(key)
        self.pending[key] = value, source, lease

    def _check_lease(self, number: int, key: bytes) -> None:
        lease = self._leases.table.get(number)
        if lease is None:
            raise _RefusedError(NO_LEASE)
        if not may_use_lease(self._holder, lease):
            raise _ForeignLeaseError
        planned = [each for each, (_, _, at) in self.pending.items() if at == number]
        more = len({key, *planned} - lease.keys.keys())
        has_room = self._leases.has_room(lease, key, self._store.modify_revision)
        if not has_room or len(lease.keys) + more > LEASE_KEYS_MAX:
            raise _RefusedError(LEASE_FULL)

    def _delete(self, key: bytes) -> int:
        if self._numbers(key) is None:
            return 0
        self.pending[key] = None, None, 0
        return 1

    def _delete_range(self, start: bytes, end: bytes) -> int:
        keys = list(self._scan(start, end, False))
        for key in keys:
            self.pending[key] = None, None, 0
        return len(keys)

    def _add(self, key: bytes, by: int) -> int:
        before = self._value(key)
        if before is not None and not _DECIMAL.fullmatch(before):
            raise _RefusedError(NO_NUMBER)
        number = int(before or b"0") + by
        if abs(number) > _NUMBER_MAX:
            raise _RefusedError(NUMBER_RANGE)
        text = b"%d" % number
        self._put(key, text, text)
        return number


def _compares(comparison: Callable[[Any, Any], bool], found: Any, operand: Any) -> bool:
    if found is None or operand is None:
        # No value, or compared with none: only whether both are none can be said.
        same = found is operand
        return same if comparison is eq else (not same if comparison is ne else False)
    return bool(comparison(found, operand))
