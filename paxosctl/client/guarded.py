"""Writes that hold only with a fence, and writes that answer with the value before: transactions of
one key.

    put, cas, delete with a fence (name, token), or with prev ──► TXN ──► one typed answer

A *fence* is the name of a lock and the token that its holder got (:meth:`Compare.holds`). Once the
lock is another's, the store itself refuses the write, however late it arrives (Kleppmann, "How to
do distributed locking", 2016). Without either, the plain commands are sent, which cost less.
"""

from typing import NamedTuple

from paxosctl.client.errors import FencedOffError, OutcomeUnknownError, named
from paxosctl.client.results import as_bytes, as_number
from paxosctl.client.transactions import Compare, Operation, TxnResult, txn_command
from paxosd.core.commands import Command, KeyValue

Fence = tuple[bytes, int]
"""The name of a lock and its token."""


class PutResult(NamedTuple):
    """Its revision, and the key as it was before, if that was asked for; None: there was none."""

    revision: int
    prev: KeyValue | None


class DeleteResult(NamedTuple):
    """The revision of the removal, None: there was no such key; and the key as it was before, if
    that was asked for."""

    revision: int | None
    prev: KeyValue | None


class CasPrevResult(NamedTuple):
    """As :class:`CasResult`, and the key as it was before, if that was asked for, also where the
    expectation did not hold."""

    ok: bool
    revision: int
    prev: KeyValue | None


class Written(NamedTuple):
    """What became of a guarded write. ``ok``: its expectation held. ``modified``: the modify
    revision of the key before; 0: there was none. ``prev``: if it was asked for."""

    ok: bool
    revision: int
    modified: int
    prev: KeyValue | None


def guarded(
    key: bytes,
    write: Operation,
    fence: Fence | None,
    *,
    prev: bool = False,
    expect: Compare | None = None,
) -> Command:
    """The transaction: if the fence holds and ``key`` is as expected, do ``write``. Raises
    TypeError or ValueError."""
    key = as_bytes(key)
    # What was there before is read with its value only if that is wanted.
    look = Operation.get(key) if prev else _numbers_of(key)
    inner = Operation.txn([] if expect is None else [expect], [write])
    held = [] if fence is None else [Compare.holds(*checked_fence(fence))]
    return txn_command(held, [look, inner])


def checked_fence(fence: object) -> Fence:
    """The same, if it is one. Raises TypeError or ValueError."""
    if not isinstance(fence, tuple | list) or len(fence) != 2:
        raise TypeError(f"a fence is a pair (name, token), such as lock.fence, not {fence!r:.80}")
    name, token = fence
    if not isinstance(name, bytes | bytearray | memoryview) or type(token) is not int:
        words = f"({type(name).__name__}, {type(token).__name__})"
        raise TypeError(f"a fence is the name of a lock as bytes, and a whole number, not {words}")
    if not name:
        raise ValueError("the fence names no lock: the name is empty")
    return bytes(name), as_number(token)


def written(result: TxnResult, fence: Fence | None) -> Written:
    """The answer to :func:`guarded`. Raises FencedOffError."""
    if not result.succeeded:
        assert fence is not None
        name, token = fence
        raise FencedOffError(
            f"not written: the lock {named(name)} is not held with token "
            f"{token} any more. Stop what relies on it, and take the lock again"
        )
    if result.results is None:
        raise OutcomeUnknownError(
            0,
            0,
            f"the write was done at revision {result.revision}, or its expectation did not hold: "
            "the first answer was lost, and is too large to be kept. Read the key",
        )
    before, inner = result.results
    found = (
        before if before is None or isinstance(before, KeyValue) else next(iter(before.rows), None)
    )
    modified = 0 if found is None else found.modify_revision
    return Written(inner.succeeded, result.revision, modified, found)


def _numbers_of(key: bytes) -> Operation:
    """The revisions of one key, without its value."""
    operation = Operation.scan(key, limit=1, keys_only=True)
    operation.wire[2] = key + b"\0"
    return operation


def put_result(done: Written) -> PutResult:
    """The answer to a put."""
    return PutResult(done.revision, done.prev)


def delete_result(done: Written) -> DeleteResult:
    """The answer to a delete."""
    return DeleteResult(done.revision if done.modified else None, done.prev)


def cas_result(done: Written) -> CasPrevResult:
    """The answer to a cas."""
    return CasPrevResult(done.ok, done.revision if done.ok else done.modified, done.prev)
