"""The methods that are transactions, described once for all dresses (``operations.py``). They need
feature level 4; below it each raises RefusedError."""

from collections.abc import Iterable

from paxosctl.client.guarded import (
    CasPrevResult,
    DeleteResult,
    Fence,
    PutResult,
    cas_result,
    delete_result,
    guarded,
    put_result,
    written,
)
from paxosctl.client.operations import Steps, operation
from paxosctl.client.transactions import (
    Compare,
    Operation,
    TxnResult,
    outcome_of,
    txn_command,
)
from paxosd.core.client.calls import Write


class TransactionMethods:
    """Each is one command, which a :class:`~paxosctl.client.pipeline.Pipeline` can queue, too."""

    @operation
    def txn(
        self,
        compares: Iterable[Compare] = (),
        then: Iterable[Operation] = (),
        otherwise: Iterable[Operation] = (),
        *,
        timeout_s: float | None = None,
    ) -> Steps[TxnResult]:
        """If every compare holds, do ``then``, else ``otherwise``: at once, in one revision. Raises
        ValueError for what cannot be a transaction, and RefusedError where it met a limit: then
        nothing was done.

        >>> done = client.txn(
        ...     [Compare.absent(b"state")],
        ...     then=[Operation.put(b"state", b"busy"), Operation.add(b"runs")],
        ...     otherwise=[Operation.get(b"state")],
        ... )
        >>> done.succeeded, done.results
        (True, [1, 1])
        """
        command = txn_command(compares, then, otherwise)
        call = yield Write(command)
        return outcome_of(command, call.result)

    @operation
    def incr(self, key: bytes, by: int = 1, *, timeout_s: float | None = None) -> Steps[int]:
        """Add to a decimal number, exactly once; no key counts as 0. Returns the new number. Raises
        RefusedError if the value is no number, or the sum does not fit 64 bits.

        >>> client.incr(b"visits"), client.incr(b"visits", 10)
        (1, 11)
        """
        command = txn_command([], [Operation.add(key, by)])
        call = yield Write(command)
        results = outcome_of(command, call.result).results
        assert results is not None, "a number is always kept"
        number: int = results[0]
        return number

    @operation
    def guarded_put(
        self,
        key: bytes,
        value: bytes,
        *,
        fence: Fence | None = None,
        prev: bool = False,
        lease: int = 0,
        timeout_s: float | None = None,
    ) -> Steps[PutResult]:
        """A put with a fence; ``prev``: read what was there before. Raises FencedOffError.

        >>> token = client.put(b"lock/1", b"me")
        >>> _ = client.put(b"k", b"1", fence=(b"lock", token))
        >>> client.guarded_put(b"k", b"2", fence=(b"lock", token), prev=True).prev.value
        b'1'
        """
        command = guarded(key, Operation.put(key, value, lease=lease), fence, prev=prev)
        call = yield Write(command)
        return put_result(written(outcome_of(command, call.result), fence))

    @operation
    def guarded_delete(
        self,
        key: bytes,
        *,
        fence: Fence | None = None,
        prev: bool = False,
        timeout_s: float | None = None,
    ) -> Steps[DeleteResult]:
        """A delete with a fence; ``prev``: read what was there before. Raises FencedOffError."""
        command = guarded(key, Operation.delete(key), fence, prev=prev)
        call = yield Write(command)
        return delete_result(written(outcome_of(command, call.result), fence))

    @operation
    def guarded_cas(
        self,
        key: bytes,
        expect: Compare,
        value: bytes,
        *,
        fence: Fence | None = None,
        prev: bool = False,
        timeout_s: float | None = None,
    ) -> Steps[CasPrevResult]:
        """A cas with a fence; ``prev``: read what was there before. Raises FencedOffError."""
        command = guarded(key, Operation.put(key, value), fence, prev=prev, expect=expect)
        call = yield Write(command)
        return cas_result(written(outcome_of(command, call.result), fence))
