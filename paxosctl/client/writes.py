"""The methods that change keys, described once for all dresses (``operations.py``)."""

from paxosctl.client.guarded import Fence, cas_result, delete_result, guarded, written
from paxosctl.client.leases import check_leased_put
from paxosctl.client.operations import Steps, operation
from paxosctl.client.results import (
    CasResult,
    Removed,
    as_bytes,
    as_number,
    removed_of,
    typed_result,
)
from paxosctl.client.transactions import Compare, Operation, outcome_of
from paxosd.core.client.calls import Write
from paxosd.core.commands import (
    CAS_REVISION,
    CAS_VALUE,
    DELETE,
    DELETE_RANGE,
    PUT,
    Command,
    prefix_end,
)


class WriteMethods:
    """Each is one command, which a :class:`~paxosctl.client.pipeline.Pipeline` can queue, too."""

    @operation
    def put(
        self,
        key: bytes,
        value: bytes,
        *,
        lease: int = 0,
        fence: Fence | None = None,
        timeout_s: float | None = None,
    ) -> Steps[int]:
        """Set a key; returns the revision of this write. ``lease``: the key goes when that lease
        ends, unless it is written again before; 0: none. Raises LeaseUnknownError. ``fence``:
        ``(name, token)``, only while that lock is held with that token; else FencedOffError. To get
        the value before as well: :meth:`guarded_put`.

        >>> client.put(b"greeting", b"hello") < client.put(b"greeting", b"hello again")
        True
        """
        if fence is not None:
            command = guarded(key, Operation.put(key, value, lease=as_number(lease)), fence)
            call = yield Write(command)
            return written(outcome_of(command, call.result), fence).revision
        attached = [as_number(lease)] if lease else []
        call = yield Write([PUT, as_bytes(key), as_bytes(value), *attached])
        check_leased_put(lease, call.result)
        revision: int = typed_result([PUT], call.result)
        return revision

    @operation
    def delete(
        self, key: bytes, *, fence: Fence | None = None, timeout_s: float | None = None
    ) -> Steps[int | None]:
        """Remove a key; the revision of the removal, None if there was no such key. ``fence``: as
        for :meth:`put`. To get the value before as well: :meth:`guarded_delete`.

        >>> print(client.delete(b"no such key"))
        None
        """
        if fence is not None:
            command = guarded(key, Operation.delete(key), fence)
            call = yield Write(command)
            return delete_result(written(outcome_of(command, call.result), fence)).revision
        call = yield Write([DELETE, as_bytes(key)])
        revision: int | None = typed_result([DELETE], call.result)
        return revision

    @operation
    def delete_prefix(self, prefix: bytes, *, timeout_s: float | None = None) -> Steps[int]:
        """Remove every key with this prefix at once (b"": every key); how many there were.

        >>> for name in (b"a", b"b"):
        ...     _ = client.put(b"jobs/" + name, b"")
        >>> client.delete_prefix(b"jobs/")
        2
        """
        call = yield Write([DELETE_RANGE, as_bytes(prefix), prefix_end(prefix)])
        count: int = typed_result([DELETE_RANGE], call.result)
        return count

    @operation
    def remove(
        self, key: bytes, *, prefix: bool = False, timeout_s: float | None = None
    ) -> Steps[Removed]:
        """As :meth:`delete` or :meth:`delete_prefix`: how many keys went, and the revision.

        >>> revision = client.put(b"greeting", b"hello")
        >>> client.remove(b"greeting") == (1, revision + 1)
        True
        """
        command: Command = [DELETE, as_bytes(key)]
        if prefix:
            command = [DELETE_RANGE, as_bytes(key), prefix_end(key)]
        call = yield Write(command)
        return removed_of(call.result)

    @operation
    def cas_value(
        self,
        key: bytes,
        expect: bytes | None,
        value: bytes,
        *,
        fence: Fence | None = None,
        timeout_s: float | None = None,
    ) -> Steps[CasResult]:
        """Set a key if its value equals ``expect``; None: if there is no such key. ``fence``: as
        for :meth:`put`. To get the value before as well: :meth:`guarded_cas`.

        >>> client.cas_value(b"owner", None, b"anna").ok
        True
        >>> client.cas_value(b"owner", None, b"ben").ok
        False
        """
        wanted = None if expect is None else as_bytes(expect)
        if fence is not None:
            found = yield from _fenced_cas(key, Compare.value(key, "=", wanted), value, fence)
            return found
        call = yield Write([CAS_VALUE, as_bytes(key), wanted, as_bytes(value)])
        result: CasResult = typed_result([CAS_VALUE], call.result)
        return result

    @operation
    def cas_revision(
        self,
        key: bytes,
        expect: int,
        value: bytes,
        *,
        fence: Fence | None = None,
        timeout_s: float | None = None,
    ) -> Steps[CasResult]:
        """Set a key if its modify revision equals ``expect``; 0: if there is no such key.
        ``fence``: as for :meth:`cas_value`.

        >>> seen = client.put(b"counter", b"7")
        >>> client.cas_revision(b"counter", seen, b"8").ok
        True
        >>> client.cas_revision(b"counter", seen, b"8").ok
        False
        """
        if fence is not None:
            at = Compare.number("modify", key, "=", expect)
            found = yield from _fenced_cas(key, at, value, fence)
            return found
        command = [CAS_REVISION, as_bytes(key), as_number(expect), as_bytes(value)]
        call = yield Write(command)
        result: CasResult = typed_result(command, call.result)
        return result


def _fenced_cas(key: bytes, expect: Compare, value: bytes, fence: Fence) -> Steps[CasResult]:
    command = guarded(key, Operation.put(key, value), fence, expect=expect)
    call = yield Write(command)
    found = cas_result(written(outcome_of(command, call.result), fence))
    return CasResult(found.ok, found.revision)
