"""The methods of leases, described once for both dresses (``operations.py``)."""

from collections.abc import Iterable
from typing import Any

from paxosctl.client.errors import LeaseUnknownError, RefusedError
from paxosctl.client.operations import Flow, Item, Steps, operation, stream
from paxosctl.client.results import Removed, as_bytes, as_number, as_ttl_ms
from paxosctl.client.transactions import Compare, Operation, outcome_of, txn_command
from paxosd.core.client.calls import Ask, Write
from paxosd.core.client.lock_look import whole_queue
from paxosd.core.commands import GRANT, KEEPALIVE, REVOKE, KeyValue, Result, Status
from paxosd.core.effects import INVALID
from paxosd.core.lease_bounds import IDS_PER_KEEPALIVE_MAX
from paxosd.core.requests import (
    LEASE,
    LEASES,
    LINEARIZABLE,
    LeaseInfo,
    LeasePage,
    ReadAnswer,
    ReadRequest,
)

LEASES_FULL = "leases_full"
"""The code where there are as many leases, or keys on one, as there may be."""
LEASE_TAKEN = "lease_taken"
"""The code of a grant that asked for an id that is in use."""
STRAYS_OF = 64
"""So many keys of the queue of a lock are looked at for one without a lease."""


class LeaseMethods:
    """Grants, renewals and ends of leases. Keys are attached by ``put(…, lease=id)``.

    A lease lives for its TTL, or longer, after its last renewal was sent; see docs/LEASES.md.
    Everything here needs feature level 4 and raises RefusedError ("invalid") below it."""

    @operation
    def grant(self, ttl_s: float, *, wanted: int = 0, timeout_s: float | None = None) -> Steps[int]:
        """A new lease of ``ttl_s`` seconds, from 1 to a year; its id. ``wanted``: an id below 2^32
        that it is to have; 0: any. Raises ValueError or TypeError for what is no such TTL;
        RefusedError: "lease_taken", or "leases_full" if there are as many as the setting leases_max
        allows, or this key's principal has as many as are left free for others.

        >>> lease = client.grant(10)
        >>> client.lease(lease).ttl_ms
        10000
        """
        call = yield Write([GRANT, as_ttl_ms(ttl_s), as_number(wanted)])
        status, _, detail = _parts(call.result)
        if status == Status.CAS_MISS:
            raise RefusedError(LEASE_TAKEN, f"lease {wanted} is there already")
        if status != Status.OK:
            words = (
                "there are as many leases as the setting leases_max allows (`cluster show`), or as "
                "many of this principal as are left free for others"
            )
            raise RefusedError(LEASES_FULL, words)
        assert type(detail) is int
        return detail

    @operation
    def keepalive(
        self, leases: Iterable[int], *, timeout_s: float | None = None
    ) -> Steps[dict[int, int]]:
        """Renew leases, a thousand in one command; the TTL of each in ms, which it has from the
        moment of this call on; 0: it is not there any more.

        >>> lease = client.grant(10)
        >>> client.keepalive([lease, 7]) == {lease: 10000, 7: 0}
        True
        """
        ids = [as_number(lease) for lease in leases]
        found: dict[int, int] = {}
        for at in range(0, len(ids), IDS_PER_KEEPALIVE_MAX):
            some = ids[at : at + IDS_PER_KEEPALIVE_MAX]
            call = yield Write([KEEPALIVE, some])
            found.update(zip(some, _parts(call.result)[2], strict=True))
        return found

    @operation
    def revoke(self, lease: int, *, timeout_s: float | None = None) -> Steps[Removed | None]:
        """End a lease now: its keys are removed in one revision. None if it was not there.

        >>> lease = client.grant(10)
        >>> _ = client.put(b"worker/1", b"up", lease=lease)
        >>> client.revoke(lease).keys
        1
        >>> print(client.revoke(lease))
        None
        """
        call = yield Write([REVOKE, as_number(lease)])
        status, revision, detail = _parts(call.result)
        return Removed(detail, revision) if status == Status.OK else None

    @operation
    def lease(
        self, lease: int, *, keys: bool = True, timeout_s: float | None = None
    ) -> Steps[LeaseInfo | None]:
        """A lease, with its keys unless ``keys`` is False; None if it is not there. Linearizable.

        >>> lease = client.grant(10)
        >>> _ = client.put(b"worker/1", b"up", lease=lease)
        >>> client.lease(lease).keys
        [b'worker/1']
        """
        query = [LEASE, as_number(lease), keys]
        try:
            call = yield Ask(ReadRequest(0, LINEARIZABLE, [[*query, True]]))
        except RefusedError as error:
            if error.code != INVALID:
                raise
            call = yield Ask(ReadRequest(0, LINEARIZABLE, [query]))  # a node of before
        assert isinstance(call.result, ReadAnswer)
        found: LeaseInfo | None = call.result.results[0]
        return found

    @stream
    def leases(self, *, timeout_s: float | None = None) -> Flow[LeaseInfo]:
        """All leases in the order of their ids, without their keys; page by page, each of which is
        linearizable.

        >>> lease = client.grant(10)
        >>> [each.id for each in client.leases()] == [lease]
        True
        """
        after, owned = 0, [True]
        while True:
            try:
                call = yield Ask(ReadRequest(0, LINEARIZABLE, [[LEASES, after, 0, *owned]]))
            except RefusedError as error:
                if error.code != INVALID or not owned:
                    raise
                owned = []  # a node of before
                continue
            assert call is not None
            assert isinstance(call.result, ReadAnswer)
            page: LeasePage = call.result.results[0]
            for row in page.rows:
                assert isinstance(row, LeaseInfo)
                yield Item(row)
            after = page.more
            if not after:
                return

    @operation
    def lock_strays(self, name: bytes, *, timeout_s: float | None = None) -> Steps[list[bytes]]:
        """The keys under ``name/`` that no lease ends, the oldest first; looked for among the
        oldest STRAYS_OF. Each has a place of the lock, semaphore or election ``name`` until it is
        deleted: somebody has put it there without a lease, or over the key of a holder.

        >>> _ = client.put(b"jobs/by-hand", b"")
        >>> client.lock_strays(b"jobs")
        [b'jobs/by-hand']
        """
        start: bytes | None = as_bytes(name) + b"/"
        rows: list[KeyValue] = []
        while start is not None:
            queries = whole_queue(start, name + b"/")
            call = yield Ask(ReadRequest(0, LINEARIZABLE, queries))
            assert isinstance(call.result, ReadAnswer)
            rows += call.result.results[0].rows
            start = call.result.results[0].more
        if not rows:
            return []
        rows = sorted(rows, key=lambda row: row.create_revision)[:STRAYS_OF]
        command = txn_command([], [_is_stray(row) for row in rows], [])
        call = yield Write(command)
        results = outcome_of(command, call.result).results
        assert results is not None, "so small an answer is always kept"
        return [row.key for row, each in zip(rows, results, strict=True) if each.succeeded]


def _is_stray(row: KeyValue) -> Operation:
    """Whether it is still there, and attached to no lease."""
    same = Compare.number("create", row.key, "=", row.create_revision)
    return Operation.txn([same, Compare.number("lease", row.key, "=", 0)])


def check_leased_put(lease: int, result: Result) -> None:
    """Raises LeaseUnknownError or RefusedError if this is no revision."""
    status = Status.OK if isinstance(result, int) else result[0]
    if status == Status.LEASE_UNKNOWN:
        raise LeaseUnknownError(lease)
    if status == Status.LEASES_FULL:
        words = f"lease {lease} has as many keys as one can have"
        raise RefusedError(LEASES_FULL, words)


def _parts(result: Result) -> tuple[int, int, Any]:
    return (int(Status.OK), result, None) if isinstance(result, int) else result
