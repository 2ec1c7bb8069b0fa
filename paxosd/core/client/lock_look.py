"""What a waiter asks about the queue of its lock, and what it is answered.

    [RANGE, own key]                    its create revision, or that it is gone
    [NEWEST, NAME/, end, R, N]          the N keys that came last before revision R

Both of one moment. However long the queue is, the answer has N + 1 rows at most. A node of before
does not know NEWEST and refuses the read: then the whole queue is read.
"""

from typing import Any, NamedTuple

from paxosd.core.client.calls import Call, Failure, NotSubmitted
from paxosd.core.commands import prefix_end
from paxosd.core.requests import NEWEST, RANGE, ReadAnswer

Row = tuple[bytes, int]
"""A key and its create revision."""


class Seen(NamedTuple):
    """A page of the answer, as of ``revision``. ``more``: where the next page begins; None: it is
    the last."""

    rows: list[Row]
    revision: int
    more: bytes | None


def own_key(own: bytes) -> list[list[Any]]:
    """A query for one key."""
    return [[RANGE, own, own + b"\0", 1, False, True]]


def before_it(own: bytes, start: bytes, prefix: bytes, below: int, shared: int) -> list[list[Any]]:
    """Queries for the key ``own`` (b"": was asked for already) and, where its create revision
    ``below`` is known, for the ``shared`` keys that came last before it."""
    queries: list[list[Any]] = []
    if own:
        queries += own_key(own)
    if below:
        queries.append([NEWEST, start, prefix_end(prefix), below, shared])
    return queries


def whole_queue(start: bytes, prefix: bytes) -> list[list[Any]]:
    """A query for all keys of the queue from ``start`` on."""
    return [[RANGE, start, prefix_end(prefix), 0, False, True]]


def seen(call: Call) -> Seen | Failure:
    """What a read with these queries was answered."""
    if call.failure is not None:
        return call.failure
    answer = call.result
    if not isinstance(answer, ReadAnswer):
        return NotSubmitted("no_answer", "a read was answered as something else")
    rows = [(row.key, row.create_revision) for page in answer.results for row in page.rows]
    return Seen(rows, answer.revision, answer.results[-1].more)
