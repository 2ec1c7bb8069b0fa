"""The queries of a read, answered from one state of the store, within a number of bytes."""

from typing import Any

from paxosd.core.requests import GET, RANGE, RangePage
from paxosd.core.state.kv import PAGE_ROWS_MAX, ROW_OVERHEAD_BYTES, Store
from paxosd.core.state.lease_queries import LEASE_QUERIES, answer_lease_query
from paxosd.core.state.leases import Leases


class ReadTooLargeError(ValueError):
    """The values that one read asks for exceed what one answer may hold."""


def answer_queries(
    store: Store, leases: Leases, now_ms: int, queries: list[list[Any]], bytes_max: int
) -> list[Any]:
    """The answers to ``ReadRequest.queries``, of about ``bytes_max`` together, at this log time.

    ``KeyValue | None`` per GET, ``RangePage`` per RANGE; for the queries of leases see
    ``lease_queries.py``. The first RANGE gives at least one row if there is one; a later one for
    which no room is left gives an empty page whose ``more`` is where it would start. Raises
    ReadTooLargeError if the values of several GETs exceed ``bytes_max``, and ValueError for an
    unknown query.
    """
    answers: list[Any] = [None] * len(queries)
    left_bytes = bytes_max
    for place, query in enumerate(queries):
        if query[0] == GET:
            answers[place] = found = store.get(query[1])
            if found is not None:
                left_bytes -= len(found.value)
        elif query[0] in LEASE_QUERIES:
            answers[place] = found_lease = answer_lease_query(query, store, leases, now_ms)
            left_bytes -= sum(map(len, getattr(found_lease, "keys", ())))
        elif query[0] != RANGE:
            raise ValueError(f"unknown query {query[0]!r}: GET is {GET}, RANGE is {RANGE}")
    if left_bytes < 0 and len(queries) > 1:
        raise ReadTooLargeError(
            f"the values asked for exceed {bytes_max} bytes (limits.read_bytes_max): "
            "ask for fewer keys in one request"
        )
    paged = False
    left_rows = PAGE_ROWS_MAX
    for place, query in enumerate(queries):
        if query[0] == RANGE:
            _, start, end, limit, reverse, keys_only = query
            if paged and (left_bytes <= 0 or left_rows <= 0):
                answers[place] = RangePage([], end if reverse else start)
                continue
            page = store.range(start, end, limit, reverse, keys_only, left_bytes)
            answers[place] = page
            left_bytes -= sum(len(r.key) + len(r.value) + ROW_OVERHEAD_BYTES for r in page.rows)
            left_rows -= len(page.rows)
            paged = True
    return answers
