"""The methods that read keys, described once for both dresses (``operations.py``)."""

from collections.abc import Iterable
from typing import Any

from paxosctl.client.errors import ClientError, RefusedError
from paxosctl.client.operations import Flow, Item, Steps, operation, stream
from paxosctl.client.results import StaleRead, as_bytes, as_number, as_revision
from paxosd.core.client.calls import Ask
from paxosd.core.commands import KeyValue, prefix_end
from paxosd.core.effects import COMPACTED, INVALID
from paxosd.core.requests import (
    COUNT,
    GET,
    LINEARIZABLE,
    RANGE,
    STALE,
    ReadAnswer,
    ReadRequest,
)
from paxosd.wire.client import QUERIES_MAX


class ReadMethods:
    """Reads of keys, of ranges and of prefixes."""

    @operation
    def get(
        self, key: bytes, *, revision: int | None = None, timeout_s: float | None = None
    ) -> Steps[KeyValue | None]:
        """Linearizable: sees every write that was acknowledged before this call. ``revision``: as
        the key was after that revision; raises RefusedError "compacted" if it is older than the
        history that the cluster keeps, "invalid" if it has not come yet.

        >>> _ = client.put(b"greeting", b"hello")
        >>> client.get(b"greeting").value
        b'hello'
        >>> print(client.get(b"no such key"))
        None
        """
        answer = yield from _read(LINEARIZABLE, [[GET, as_bytes(key), *_at(revision)]])
        found: KeyValue | None = answer.results[0]
        return found

    @operation
    def get_many(
        self, keys: Iterable[bytes], *, timeout_s: float | None = None
    ) -> Steps[dict[bytes, KeyValue | None]]:
        """Several keys as they are at one moment, linearizable, in one call; at most 1,024. Raises
        RefusedError if they do not fit one answer.

        >>> _ = client.put(b"a", b"1")
        >>> client.get_many([b"a", b"no such key"])[b"a"].value
        b'1'
        """
        wanted = [as_bytes(key) for key in keys]
        if len(wanted) > QUERIES_MAX:
            raise ValueError(f"at most {QUERIES_MAX} keys in one call, not {len(wanted)}")
        if not wanted:
            return {}
        answer = yield from _read(LINEARIZABLE, [[GET, key] for key in wanted])
        return dict(zip(wanted, answer.results, strict=True))

    @operation
    def count(
        self,
        start: bytes,
        end: bytes = b"",
        *,
        revision: int | None = None,
        timeout_s: float | None = None,
    ) -> Steps[int]:
        """How many keys there are in ``start <= key < end`` (end b"": no end); ``revision`` as for
        :meth:`get`.

        >>> for name in (b"a", b"b", b"c"):
        ...     _ = client.put(name, b"")
        >>> client.count(b"a", b"c")
        2
        """
        query = [COUNT, as_bytes(start), as_bytes(end), *_at(revision)]
        answer = yield from _read(LINEARIZABLE, [query])
        count: int = answer.results[0]
        return count

    @operation
    def get_stale(
        self, key: bytes, *, max_age_ms: int | None = None, timeout_s: float | None = None
    ) -> Steps[StaleRead]:
        """What one node has, without asking others; works without a quorum. See
        :class:`~paxosctl.client.results.StaleRead` for the age that it gives.

        ``max_age_ms``: the oldest that is wanted. If the node's state is older, or its age is not
        known, a linearizable read follows, whose age is 0 and which needs a quorum: so the answer
        is never older, and there may be none. The read brings the node's age up to date as well, so
        that the next one is likely to be quick.

        >>> _ = client.put(b"greeting", b"hello")
        >>> client.get_stale(b"greeting").value.value
        b'hello'
        >>> client.get_stale(b"greeting", max_age_ms=500).age_ms <= 500
        True
        """
        queries = [[GET, as_bytes(key)]]
        wanted_ms = None if max_age_ms is None else as_number(max_age_ms)
        answer = yield from _read(STALE, queries)
        if wanted_ms is not None and not 0 <= answer.age_ms <= wanted_ms:
            answer = yield from _read(LINEARIZABLE, queries)
        return StaleRead(answer.results[0], answer.applied, answer.revision, answer.age_ms)

    @operation
    def read(
        self,
        queries: list[list[Any]],
        *,
        mode: int = LINEARIZABLE,
        timeout_s: float | None = None,
    ) -> Steps[ReadAnswer]:
        """Queries as the wire has them (see ``paxosd/core/requests.py``), answered from one state;
        with the slot and revision that they reflect. A range is one page. ``mode``: linearizable,
        or stale."""
        answer = yield from _read(mode, queries)
        return answer

    @stream
    def range(
        self,
        start: bytes,
        end: bytes = b"",
        *,
        limit: int = 0,
        reverse: bool = False,
        keys_only: bool = False,
        stale: bool = False,
        revision: int | None = None,
        timeout_s: float | None = None,
    ) -> Flow[KeyValue]:
        """Keys in ``start <= key < end`` in order (end b"": no end; limit 0: all of them), as they
        were after one revision: the newest when the first page is read, or ``revision``.

        With ``keys_only`` the values are b"". ``timeout_s`` bounds each page. Raises RefusedError
        "compacted" if that revision falls out of the history before the last page is read.

        >>> for name in (b"a", b"b", b"c"):
        ...     _ = client.put(name, b"")
        >>> [row.key for row in client.range(b"a", b"c")]
        [b'a', b'b']
        """
        at = _at(revision)
        return _rows(_pages(as_bytes(start), as_bytes(end), limit, reverse, keys_only, stale, at))

    @stream
    def pages(
        self,
        start: bytes,
        end: bytes = b"",
        *,
        limit: int = 0,
        reverse: bool = False,
        keys_only: bool = False,
        stale: bool = False,
        revision: int | None = None,
        timeout_s: float | None = None,
    ) -> Flow[ReadAnswer]:
        """The pages of a :meth:`range`. ``revision`` in each is the one that it is of: the same in
        all of them, but for a cluster below feature level 4, where each page has its own."""
        at = _at(revision)
        return _pages(as_bytes(start), as_bytes(end), limit, reverse, keys_only, stale, at)

    @stream
    def scan(
        self,
        prefix: bytes,
        *,
        limit: int = 0,
        reverse: bool = False,
        keys_only: bool = False,
        stale: bool = False,
        revision: int | None = None,
        timeout_s: float | None = None,
    ) -> Flow[KeyValue]:
        """Every key with this prefix; the rest as :meth:`range`.

        >>> for name in (b"a", b"b", b"c"):
        ...     _ = client.put(b"jobs/" + name, b"")
        >>> [row.key for row in client.scan(b"jobs/", reverse=True, limit=2)]
        [b'jobs/c', b'jobs/b']
        """
        start = as_bytes(prefix)
        at = _at(revision)
        return _rows(_pages(start, prefix_end(start), limit, reverse, keys_only, stale, at))


def _read(mode: int, queries: list[list[Any]]) -> Steps[ReadAnswer]:
    call = yield Ask(ReadRequest(0, mode, queries))
    answer = call.result
    assert isinstance(answer, ReadAnswer)
    return answer


def _at(revision: int | None) -> list[int]:
    """The last field of a query: nothing, or a revision."""
    return [] if revision is None else [as_revision(revision)]


def _pages(
    start: bytes,
    end: bytes,
    limit: int,
    reverse: bool,
    keys_only: bool,
    stale: bool,
    at: list[int],
) -> Flow[ReadAnswer]:
    """``at``: the revision; []: that of the first page, for all of them."""
    left = limit
    asked = bool(at)
    is_pinned = True
    while True:
        query = [RANGE, start, end, left, reverse, keys_only, *at]
        try:
            call = yield Ask(ReadRequest(0, STALE if stale else LINEARIZABLE, [query]))
        except RefusedError as error:
            if asked or not at:
                raise
            if error.code == COMPACTED:
                words = f"the scan is of revision {at[0]}, and took too long: {error}"
                raise RefusedError(COMPACTED, words, error.troubles, error.detail) from error
            if error.code != INVALID:
                raise
            at, is_pinned = [], False  # a node of before, or a cluster below feature level 4
            continue
        assert call is not None
        answer = call.result
        assert isinstance(answer, ReadAnswer)
        if at:
            answer = answer._replace(revision=at[0])
        elif is_pinned and answer.revision:
            at = [answer.revision]
        yield Item(answer)
        page = answer.results[0]
        if limit:
            left -= len(page.rows)
        if page.more is None or (limit and left <= 0):
            return
        if reverse:
            end = page.more
        else:
            start = page.more


def _rows(pages: Flow[ReadAnswer]) -> Flow[KeyValue]:
    """What is asked for the pages is asked for; of each page its rows are given."""
    call = None
    while True:
        try:
            step = pages.send(call)
            while not isinstance(step, Item):
                try:
                    call = yield step
                except ClientError as error:
                    step = pages.throw(error)
                else:
                    step = pages.send(call)
        except StopIteration:
            return
        for row in step.value.results[0].rows:
            yield Item(row)
        call = None
