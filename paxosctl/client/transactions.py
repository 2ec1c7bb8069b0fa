"""Transactions for programs: what to compare, what to do, and what came of it.

    client.txn(
        [Compare.value(b"state", "=", b"idle"), Compare.absent(b"jobs/", prefix=True)],
        then=[Operation.put(b"state", b"busy"), Operation.add(b"runs", 1)],
        otherwise=[Operation.get(b"state")],
    )

The form of the command and what it means: ``paxosd/core/transactions.py``, docs/TRANSACTIONS.md.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from paxosctl.client.errors import RefusedError
from paxosctl.client.results import as_bytes, as_number
from paxosd.core.commands import (
    DELETE,
    DELETE_RANGE,
    PUT,
    TXN,
    Command,
    KeyValue,
    Result,
    Status,
    prefix_end,
)
from paxosd.core.requests import RangePage
from paxosd.core.transactions import (
    ADD,
    CREATE_REVISION,
    EQUAL,
    EVERY,
    GET_KEY,
    GET_RANGE,
    GREATER,
    LEASE,
    LESS,
    MODIFY_REVISION,
    NOT_EQUAL,
    REASONS,
    SOME,
    VALUE,
    VERSION,
    FormError,
    TransactionForm,
)

OPERATORS = {"=": EQUAL, "!=": NOT_EQUAL, "<": LESS, ">": GREATER}
TARGETS = {
    "value": VALUE,
    "version": VERSION,
    "create": CREATE_REVISION,
    "modify": MODIFY_REVISION,
    "lease": LEASE,
}


class Compare(NamedTuple):
    """One condition. ``wire``: as it travels.

    Each constructor takes an ``operator``, "=", "!=", "<" or ">". With ``prefix`` it is of every
    key that begins with ``key``, and holds if there is none; with ``some`` as well, of at least one
    of them. Raise ValueError, and TypeError for text.
    """

    wire: list[Any]

    @classmethod
    def value(
        cls,
        key: bytes,
        operator: str,
        operand: bytes | None,
        *,
        prefix: bool = False,
        some: bool = False,
    ) -> "Compare":
        """Of the value, byte by byte. None: no such key."""
        wanted = None if operand is None else as_bytes(operand)
        return cls(_compare(VALUE, key, operator, wanted, prefix, some))

    @classmethod
    def number(
        cls,
        target: str,
        key: bytes,
        operator: str,
        operand: int,
        *,
        prefix: bool = False,
        some: bool = False,
    ) -> "Compare":
        """Of a number of the key: its "version", its "create" or "modify" revision, the id of its
        "lease". All are 0 where there is no such key, or no lease."""
        if target not in TARGETS or target == "value":
            raise ValueError(f"a key has version, create, modify and lease, not {target!r}")
        return cls(_compare(TARGETS[target], key, operator, as_number(operand), prefix, some))

    @classmethod
    def exists(cls, key: bytes, *, prefix: bool = False) -> "Compare":
        """There is such a key; with ``prefix``: at least one."""
        return cls.number("version", key, ">", 0, prefix=prefix, some=prefix)

    @classmethod
    def absent(cls, key: bytes, *, prefix: bool = False) -> "Compare":
        """There is no such key; with ``prefix``: none at all."""
        return cls.number("version", key, "=", 0, prefix=prefix)

    @classmethod
    def holds(cls, name: bytes, token: int) -> "Compare":
        """The lock ``name`` is held with this fencing token: a key that begins with ``name/`` was
        created in the revision ``token``, and is still there. That is all that is compared: the
        token of a lock ``name/…`` holds for ``name``, too."""
        return cls.number("create", as_bytes(name) + b"/", "=", token, prefix=True, some=True)


class Operation(NamedTuple):
    """One operation of a branch. ``wire``: as it travels."""

    wire: list[Any]

    @classmethod
    def put(cls, key: bytes, value: bytes, *, lease: int = 0) -> "Operation":
        """Set a key; attach it to a lease. Result: 1."""
        return cls([PUT, as_bytes(key), as_bytes(value), *([lease] if lease else [])])

    @classmethod
    def delete(cls, key: bytes) -> "Operation":
        """Remove a key, if it exists. Result: how many went."""
        return cls([DELETE, as_bytes(key)])

    @classmethod
    def delete_prefix(cls, prefix: bytes) -> "Operation":
        """Remove every key with this prefix, at most 4,096. Result: how many went."""
        return cls([DELETE_RANGE, as_bytes(prefix), prefix_end(prefix)])

    @classmethod
    def add(cls, key: bytes, by: int = 1) -> "Operation":
        """Add to a decimal number; no key counts as 0. Result: the new number."""
        return cls([ADD, as_bytes(key), by])

    @classmethod
    def get(cls, key: bytes) -> "Operation":
        """Read a key. Result: a KeyValue, or None."""
        return cls([GET_KEY, as_bytes(key)])

    @classmethod
    def scan(
        cls, prefix: bytes, *, limit: int = 0, reverse: bool = False, keys_only: bool = False
    ) -> "Operation":
        """Read the keys with this prefix; limit 0: all of them. Result: a RangePage."""
        ends = as_bytes(prefix), prefix_end(prefix)
        return cls([GET_RANGE, *ends, as_number(limit), reverse, keys_only])

    @classmethod
    def txn(
        cls,
        compares: Iterable[Compare],
        then: Iterable["Operation"] = (),
        otherwise: Iterable["Operation"] = (),
    ) -> "Operation":
        """A nested transaction. Result: a TxnResult."""
        return cls(_txn(compares, then, otherwise))


class TxnResult(NamedTuple):
    """What a transaction did. ``succeeded``: its compares held, so that ``then`` was done, else
    ``otherwise``. ``revision``: of the store after it. ``results``: one for each operation that was
    done; None: it was done, but what it read is not known any more, for the first answer was lost
    and is too large to be kept."""

    succeeded: bool
    revision: int
    results: list[Any] | None


def txn_command(
    compares: Iterable[Compare], then: Iterable[Operation], otherwise: Iterable[Operation] = ()
) -> Command:
    """The command of a transaction. Raises ValueError if it cannot be one."""
    command = _txn(compares, then, otherwise)
    try:
        TransactionForm().check(command)
    except FormError as error:
        raise ValueError(str(error)) from None
    return command


def outcome_of(command: Command, result: Result) -> TxnResult:
    """The typed result of a TXN. Raises RefusedError where a limit was met, or a number is none."""
    assert type(result) is tuple
    status, revision, detail = result
    if status == Status.TXN_REFUSED:
        words = REASONS.get(detail, "it met a limit that this version does not know")
        raise RefusedError(
            "txn_refused", f"nothing of the transaction was done: {words}", (), detail
        )
    return txn_result(command, revision, detail)


def txn_result(command: Command, revision: int, pair: Any) -> TxnResult:
    """The typed result of a TXN from the pair in its answer."""
    succeeded, results = pair
    if results is None:
        return TxnResult(bool(succeeded), revision, None)
    branch = command[2] if succeeded else command[3]
    typed = [_typed(each, revision, found) for each, found in zip(branch, results, strict=True)]
    return TxnResult(bool(succeeded), revision, typed)


def _typed(operation: list[Any], revision: int, found: Any) -> Any:
    op = operation[0]
    if op == TXN:
        return txn_result(operation, revision, found)
    if op == GET_KEY and found is not None:
        return KeyValue(operation[1], *found)
    if op == GET_RANGE:
        rows, more = found
        return RangePage([KeyValue(*row) for row in rows], more)
    return found


def _txn(
    compares: Iterable[Compare], then: Iterable[Operation], otherwise: Iterable[Operation]
) -> Command:
    parts: Sequence[Iterable[Compare | Operation]] = compares, then, otherwise
    return [TXN, *([each.wire for each in part] for part in parts)]


def _compare(
    target: int, key: bytes, operator: str, operand: Any, prefix: bool, some: bool
) -> list[Any]:
    if operator not in OPERATORS:
        raise ValueError(f"an operator is one of {', '.join(OPERATORS)}, not {operator!r}")
    if some and not prefix:
        raise ValueError("some key of what? It goes with a prefix")
    compare = [target, OPERATORS[operator], as_bytes(key), operand]
    if prefix:
        compare += [prefix_end(key), SOME if some else EVERY]
    return compare
