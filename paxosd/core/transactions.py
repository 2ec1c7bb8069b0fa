"""The form of a TXN: what it may contain, checked from its bytes alone.

    [TXN, compares, then, otherwise]     if every compare holds, do ``then``, else ``otherwise``

A *compare* is of one key, or of the keys in ``start <= key < end`` (end b"": no end):

    [target, operator, key, operand]
    [target, operator, start, operand, end, quantifier]

    target      VALUE: bytes, or None for "no such key"; VERSION, CREATE_REVISION, MODIFY_REVISION:
                numbers, all 0 for a key that does not exist; LEASE: the id of the lease that the
                key is attached to, 0: none
    operator    EQUAL, NOT_EQUAL, LESS, GREATER. Bytes are compared byte by byte. No value at all
                equals None only, and is neither less nor greater than anything
    quantifier  EVERY: it holds for each key that exists there, and so if there is none; SOME: for
                at least one

An *operation* of a branch, done in order, each seeing what the ones before it did:

    [PUT, key, value] or [PUT, key, value, lease]       set; attach to a lease
    [DELETE, key]                                       remove one key, if it exists
    [DELETE_RANGE, start, end]                          remove the keys there are
    [ADD, key, by]                                      add to a decimal number; no key counts as 0
    [GET_KEY, key]                                      read one key
    [GET_RANGE, start, end, limit, reverse, keys_only]  read keys; limit 0: all
    [TXN, compares, then, otherwise]                    nested, at most DEPTH_MAX deep

Results, one for each operation of the branch that was taken, made of numbers, bytes, None and
tuples:

    PUT           1
    DELETE        how many keys went, 0 or 1; DELETE_RANGE: the same
    ADD           the new number
    GET_KEY       None, or (value, create revision, modify revision, version)
    GET_RANGE     (rows, more): rows of (key, value, create, modify, version); ``more`` as RangePage
    TXN           (1 if its compares held, else 0; the results of its branch)

The result of the whole is ``(OK, revision, the same pair)``. The pair has None in place of the
results in a reply that was kept for a repetition and was too large to keep (``sessions.py``).
Where a limit is met the result is ``(TXN_REFUSED, revision, reason)``, and nothing was done.

All nodes must agree on what is well-formed: limits here are constants, but for the sizes of keys
and values, which admission alone checks.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any

from paxosd.core.commands import DELETE, DELETE_RANGE, PUT, TXN, Status

GET_KEY = 64
GET_RANGE = 65
ADD = 66
"""Operations that there are in transactions only."""

VALUE, VERSION, CREATE_REVISION, MODIFY_REVISION, LEASE = 1, 2, 3, 4, 5
EQUAL, NOT_EQUAL, LESS, GREATER = 1, 2, 3, 4
EVERY, SOME = 0, 1

DEPTH_MAX = 3
"""So deep may a TXN be nested in others."""
PARTS_MAX = 1024
"""Compares and operations, the nested ones included."""
KEYS_MAX = 4096
"""So many keys one TXN may look at in ranges."""
ANSWER_BYTES_MAX = 1 << 20
"""Of what it reads; or value_bytes_max, if that is more."""

TOO_MANY_KEYS, TOO_LARGE, NO_NUMBER, NUMBER_RANGE, NO_LEASE, LEASE_FULL = 1, 2, 3, 4, 5, 6
REASONS = {
    TOO_MANY_KEYS: f"its ranges hold more than {KEYS_MAX} keys: use narrower ranges or limits, or "
    "several transactions",
    TOO_LARGE: "what it reads is larger than an answer may be: read less in one transaction",
    NO_NUMBER: "the value that it adds to is no decimal number of 64 bits",
    NUMBER_RANGE: "the sum does not fit 64 bits",
    NO_LEASE: "the lease was never granted, was revoked or has expired",
    LEASE_FULL: "as many keys as there may be are attached to the lease",
}
"""The reason in the result TXN_REFUSED → in words."""

_NUMBER_MAX = (1 << 63) - 1
_ANY_BYTES = 1 << 62
_RESULT_DEPTH = 1 + 2 * DEPTH_MAX + 3
"""Results within results: each nested transaction is two tuples more, a range (page, rows, row)."""
_TARGETS = (VALUE, VERSION, CREATE_REVISION, MODIFY_REVISION, LEASE)


class FormError(ValueError):
    """It is no transaction; the text says why."""


def _any_size(_part: Any) -> None:
    pass


class TransactionForm:
    """The check of one TXN. ``key`` and ``value`` are called with each that is larger than
    ``key_bytes_max`` or ``value_bytes_max``, and may raise what they like."""

    __slots__ = ("_key_bytes_max", "_key_size", "_parts_left", "_value_bytes_max", "_value_size")

    def __init__(
        self,
        key: Callable[[bytes], None] = _any_size,
        value: Callable[[bytes], None] = _any_size,
        *,
        key_bytes_max: int = _ANY_BYTES,
        value_bytes_max: int = _ANY_BYTES,
    ) -> None:
        self._key_size = key
        self._value_size = value
        self._key_bytes_max = key_bytes_max
        self._value_bytes_max = value_bytes_max
        self._parts_left = PARTS_MAX

    def check(self, command: Any, depth: int = 0) -> None:
        """Raises FormError if the list ``command``, whose first item is TXN, is no transaction."""
        if depth > DEPTH_MAX:
            raise FormError(f"transactions are nested at most {DEPTH_MAX} deep")
        if len(command) != 4 or any(type(part) is not list for part in command[1:]):
            raise FormError("a transaction is [compares, then, otherwise], each of them a list")
        _, compares, then, otherwise = command
        self._parts_left -= len(compares) + len(then) + len(otherwise)
        if self._parts_left < 0:
            raise FormError(
                f"a transaction has at most {PARTS_MAX} compares and operations, nested included"
            )
        for compare in compares:
            self._compare(compare)
        for operation in chain(then, otherwise):
            # The usual case, without a call.
            if type(operation) is list and len(operation) == 3:
                op, key, value = operation
                if (
                    type(op) is int
                    and op == PUT
                    and type(key) is bytes
                    and type(value) is bytes
                    and 0 < len(key) <= self._key_bytes_max
                    and len(value) <= self._value_bytes_max
                ):
                    continue
            self._operation(operation, depth)

    def _compare(self, compare: Any) -> None:
        if type(compare) is not list or len(compare) not in (4, 6):
            raise FormError(
                "a compare is [target, operator, key, operand], or of a range "
                "[target, operator, start, operand, end, quantifier]"
            )
        target, operator, key, operand = compare[:4]
        if type(target) is not int or target not in _TARGETS:
            raise FormError("a compare names no target that there is")
        if type(operator) is not int or not EQUAL <= operator <= GREATER:
            raise FormError("a compare has no operator that there is")
        if len(compare) == 6:
            _, _, _, _, end, quantifier = compare
            self._range(key, end)
            if type(quantifier) is not int or quantifier not in (EVERY, SOME):
                raise FormError("a compare of a range is of every key (0) or of some key (1)")
        else:
            self._key(key)
        if target != VALUE:
            if type(operand) is not int or not 0 <= operand <= _NUMBER_MAX:
                raise FormError(
                    "revisions, versions and leases are compared with numbers from 0 on"
                )
        elif operand is None:
            if operator > NOT_EQUAL:
                raise FormError("nothing is less or greater than no value")
        else:
            self._value(operand)

    def _operation(self, operation: Any, depth: int) -> None:
        if type(operation) is not list or not operation or type(operation[0]) is not int:
            raise FormError("an operation is a list that starts with a number")
        op, *parts = operation
        if op == TXN:
            self.check(operation, depth + 1)
        elif op == PUT and len(parts) in (2, 3):
            self._key(parts[0])
            self._value(parts[1])
            if len(parts) == 3 and not (type(parts[2]) is int and 0 < parts[2] <= _NUMBER_MAX):
                raise FormError("a lease is a number from 1 on")
        elif op in (DELETE, GET_KEY) and len(parts) == 1:
            self._key(parts[0])
        elif op == ADD and len(parts) == 2:
            self._key(parts[0])
            if type(parts[1]) is not int or abs(parts[1]) > _NUMBER_MAX:
                raise FormError("what is added is a number of 64 bits")
        elif op == DELETE_RANGE and len(parts) == 2:
            self._range(*parts)
        elif op == GET_RANGE and len(parts) == 5:
            start, end, limit, reverse, keys_only = parts
            self._range(start, end)
            if type(limit) is not int or not 0 <= limit <= _NUMBER_MAX:
                raise FormError("a limit is a number from 0 on")
            if type(reverse) is not bool or type(keys_only) is not bool:
                raise FormError("reverse and keys_only are true or false")
        else:
            raise FormError(f"no operation {op} takes {len(parts)} arguments in a transaction")

    def _key(self, key: Any) -> None:
        if type(key) is not bytes or not key:
            raise FormError("a key is bytes, at least one")
        if len(key) > self._key_bytes_max:
            self._key_size(key)

    def _value(self, value: Any) -> None:
        if type(value) is not bytes:
            raise FormError("a value is bytes")
        if len(value) > self._value_bytes_max:
            self._value_size(value)

    def _range(self, start: Any, end: Any) -> None:
        if type(start) is not bytes or type(end) is not bytes:
            raise FormError("a range has two ends, which are bytes")
        for each in (start, end):
            if len(each) > self._key_bytes_max:
                self._key_size(each)


def is_transaction(command: Any) -> bool:
    """Whether this is a TXN of the right form, as every node judges alike."""
    if type(command) is not list or not command or type(command[0]) is not int:
        return False
    if command[0] != TXN:
        return False
    try:
        TransactionForm().check(command)
    except FormError:
        return False
    return True


def is_transaction_at(commands: list[Any], place: int) -> bool:
    """Whether the command at this place, if there is one, is surely not the store's, for it says
    that it is a TXN. It need not be well-formed."""
    if place >= len(commands):
        return False
    command = commands[place]
    return type(command) is list and bool(command) and type(command[0]) is int and command[0] == TXN


def operations_count(branch: list[Any]) -> int:
    """How many operations a branch has, the nested ones included."""
    return len(branch) + sum(
        [
            operations_count(operation[2]) + operations_count(operation[3])
            for operation in branch
            if operation[0] == TXN
        ]
    )


def is_branch_result(value: Any) -> bool:
    """Whether this can be the pair in a TXN's result: from a snapshot or a peer, not trusted."""
    if type(value) is not tuple or len(value) != 2:
        return False
    succeeded, results = value
    if type(succeeded) is not int or succeeded not in (0, 1):
        return False
    return results is None or (type(results) is tuple and _is_plain(results, _RESULT_DEPTH))


def _is_plain(value: Any, depth_left: int) -> bool:
    kind = type(value)
    if kind is tuple:
        return depth_left > 0 and all(_is_plain(part, depth_left - 1) for part in value)
    return value is None or kind in (int, bytes)


def without_reads(result: Any) -> Any:
    """A result as the chain of states covers it: of a TXN's only how much it is. What it read is
    in the state, and to spell out a large one takes long."""
    if result[0] != Status.OK or not is_pair(result[2]):
        return result
    return *result[:2], result[2][0], result_bytes(result[2])


def is_pair(detail: Any) -> bool:
    """Whether the detail of a result is that of a TXN: other commands have numbers there."""
    return type(detail) is tuple and len(detail) == 2 and type(detail[1]) is not int


def result_bytes(value: Any) -> int:
    """About how much a part of a result takes where it is kept."""
    kind = type(value)
    if kind is not tuple:
        return 40 + len(value) if kind is bytes else 16
    total = 56
    for part in value:
        kind = type(part)
        if kind is int:
            total += 16
        else:
            total += result_bytes(part)
    return total
