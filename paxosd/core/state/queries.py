"""The answers to the queries of a read: of the present state, or of an earlier revision.

[GET, key]                                             KeyValue | None
[RANGE, start, end, limit, reverse, keys_only]         RangePage
[COUNT, start, end]                                    int
each with one more field: the revision that is read; 0: the present one
[NEWEST, start, end, created_below, limit]             RangePage, of the present state
"""

from collections.abc import Callable, Iterator
from heapq import nlargest
from itertools import islice
from typing import Any

from paxosd.core.commands import KeyValue
from paxosd.core.requests import COUNT, GET, NEWEST, RANGE, RangePage, revision_of
from paxosd.core.state.entries import numbers_of, unpacked
from paxosd.core.state.kv import Store
from paxosd.core.state.lease_queries import LEASE_QUERIES, answer_lease_query
from paxosd.core.state.leases import Leases
from paxosd.core.state.revision_view import RevisionView, RevisionViews
from paxosd.core.work import UNIT_BYTES

ROWS_MAX = 4096
"""So many rows are looked at for one request, at most."""
PAGE_ROWS_MAX = 1024
"""A page of a scan holds at most so many of them, and so many bytes, whatever one answer may hold:
some 2 ms with its encoding. A put that comes meanwhile waits for it on the leader, and its vote on
each follower; of pages of 4 MiB, 15 ms each, that made three times the time of a put."""
PAGE_BYTES_MAX = 512 << 10
ROW_OVERHEAD_BYTES = 32
"""What a row takes in a page besides key and value: revisions, version and framing."""
VIEW_RECORDS_MAX = 20_000
"""So many records of the undo log are taken in at a time, some 2 ms."""

PROMPT_ROWS_MAX = 16
"""A range of no more rows is answered as soon as a read of single keys is."""


class ReadTooLargeError(ValueError):
    """The values that one read asks for exceed what one answer may hold."""


def may_be_large(query: list[Any]) -> bool:
    """Whether the answer may be a whole page."""
    return query[0] == NEWEST or (query[0] == RANGE and not 0 < query[3] <= PROMPT_ROWS_MAX)


class Queries:
    """Reads ``store``."""

    __slots__ = ("_store", "_views")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._views = RevisionViews(store)

    def prepare(self, queries: list[list[Any]], part: int = 1) -> bool:
        """Do a bounded part of what must be done before :meth:`answer`; False: call it once more,
        when there is time. ``part``: do 1/part of what is done at a time. Raises
        RevisionGoneError, RevisionAheadError."""
        for revision in dict.fromkeys(map(revision_of, queries)):
            view = self._view(revision)
            if view is not None and not view.is_current:
                view.advance(VIEW_RECORDS_MAX // part)
                if not view.is_current:
                    return False
        return True

    def _view(self, revision: int) -> RevisionView | None:
        """None: the present state will do."""
        if not revision or revision == self._store.revision:
            return None
        return self._views.at(revision)

    def answer(
        self, queries: list[list[Any]], bytes_max: int, leases: Leases, now_ms: int, part: int = 1
    ) -> list[Any]:
        """The answers to ``ReadRequest.queries``, of about ``bytes_max`` together, at this log
        time, after :meth:`prepare`. For the queries of leases see ``lease_queries.py``.

        The pages hold 1/``part`` of the most that they may, in rows and bytes. The first RANGE
        gives at least one row if there is one; a later one for which no room is
        left gives an empty page whose ``more`` is where it would start. Raises ReadTooLargeError if
        the values of several GETs exceed ``bytes_max``, and ValueError for an unknown query.
        """
        answers: list[Any] = [None] * len(queries)
        left_bytes = bytes_max
        for place, query in enumerate(queries):
            if query[0] == GET:
                answers[place] = found = self._source(query).get(query[1])
                if found is not None:
                    left_bytes -= len(found.value)
            elif query[0] == COUNT:
                answers[place] = self._source(query).count(query[1], query[2])
            elif query[0] in LEASE_QUERIES:
                lease = answer_lease_query(query, self._store, leases, now_ms)
                answers[place] = lease
                left_bytes -= sum(map(len, getattr(lease, "keys", ())))
            elif query[0] not in (RANGE, NEWEST):
                raise ValueError(f"unknown query {query[0]!r}: GET is {GET}, RANGE is {RANGE}")
        if left_bytes < 0 and len(queries) > 1:
            raise ReadTooLargeError(
                f"the values asked for exceed {bytes_max} bytes (limits.read_bytes_max): "
                "ask for fewer keys in one request"
            )
        paged = False
        left_bytes = min(left_bytes, PAGE_BYTES_MAX // part)
        left_rows, rows_max = ROWS_MAX // part, PAGE_ROWS_MAX // part
        for place, query in enumerate(queries):
            if query[0] == RANGE:
                start, end, limit, reverse, keys_only = query[1:6]
                if paged and (left_bytes <= 0 or left_rows <= 0):
                    answers[place] = RangePage([], end if reverse else start)
                    continue
                page = self._page(query, min(limit or rows_max, rows_max), keys_only, left_bytes)
                answers[place] = page
                size = sum([len(r.key) + len(r.value) + ROW_OVERHEAD_BYTES for r in page.rows])
                self._store.work.units += len(page.rows) + size // UNIT_BYTES
                left_bytes -= size
                left_rows -= len(page.rows)
                paged = True
        for place, query in enumerate(queries):
            if query[0] == NEWEST:
                room = 0 if paged and left_bytes <= 0 else max(0, left_rows)
                answers[place], seen, size = self._newest(query, room, left_bytes)
                left_rows -= seen
                left_bytes -= size
                paged = True
        return answers

    def _newest(
        self, query: list[Any], keys_max: int, bytes_max: int
    ) -> tuple[RangePage, int, int]:
        """A page of a NEWEST that looks at so many keys at most, and at no further one once those
        that may be in it exceed ``bytes_max``; how many keys it looked at; and their bytes."""
        _, start, end, created_below, limit = query
        store = self._store
        keys = store.scan_keys(start, end, False)
        rows: list[KeyValue] = []
        seen = size = 0
        for seen, key in enumerate(islice(keys, keys_max), 1):  # noqa: B007 - counts
            packed = store.packed(key)
            assert packed is not None, "a key of the index has no entry"
            numbers = numbers_of(packed)
            if numbers[0] < created_below:
                rows.append(KeyValue(key, b"", *numbers))
                size += len(key) + ROW_OVERHEAD_BYTES
                if size > bytes_max:
                    break
        store.work.units += seen
        newest = nlargest(limit, rows, key=lambda row: (row.create_revision, row.key))
        return RangePage(newest, next(keys, None)), seen, size

    def _source(self, query: list[Any]) -> Store | RevisionView:
        view = self._view(revision_of(query))
        return self._store if view is None else view

    def _page(self, query: list[Any], limit: int, keys_only: bool, bytes_max: int) -> RangePage:
        source = self._source(query)
        _, start, end, _, reverse = query[:5]
        return range_page(
            source.scan_keys(start, end, reverse),
            source.packed,
            limit=limit,
            reverse=reverse,
            keys_only=keys_only,
            bytes_max=bytes_max,
        )


def range_page(
    keys: Iterator[bytes],
    packed: Callable[[bytes], bytes | None],
    *,
    limit: int,
    reverse: bool,
    keys_only: bool,
    bytes_max: int,
) -> RangePage:
    """One page of a scan over ``keys`` (limit 0: no limit of rows).

    A page holds at least one row, if there is one, even when that row alone exceeds ``bytes_max``,
    and at most ``PAGE_ROWS_MAX``. ``more`` continues the scan: forward it is the next page's
    ``start``; in reverse it is the next page's ``end`` (the last row's key). None: nothing is left.
    """
    rows: list[KeyValue] = []
    left_bytes = bytes_max
    limit = min(limit or PAGE_ROWS_MAX, PAGE_ROWS_MAX)
    for key in keys:
        entry = packed(key)
        assert entry is not None, "a key of the index has no entry"
        value, create, modify, version = unpacked(entry)
        if keys_only:
            value = b""
        left_bytes -= len(key) + len(value) + ROW_OVERHEAD_BYTES
        if rows and (left_bytes < 0 or len(rows) == limit):
            return RangePage(rows, rows[-1].key if reverse else key)
        rows.append(KeyValue(key, value, create, modify, version))
    return RangePage(rows, None)
