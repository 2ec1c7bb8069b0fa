"""Which request an answer of the core is for."""

from typing import Any, NamedTuple

from paxosd.core.requests import ForwardRequest, WriteRequest


class WriteToken(NamedTuple):
    """Which request to answer when an entry was applied or refused."""

    client: bytes
    request_id: int
    session: int = 0
    seqs: int = 0
    """The number of its first command, and from COUNT_BIT on how many there are."""
    came_ms: float = 0.0
    """When it came, on the clock of the turns. All three: only where an observer looks on."""


class ReadToken(NamedTuple):
    """A linearizable read that waits, with its queries."""

    client: bytes
    request_id: int
    queries: list[list[Any]]
    size: int = 0
    """Of the request, in bytes, about."""
    came_ms: float = 0.0
    key: bytes = b""
    """Of who asks; b"": none."""
    request: WriteRequest | ForwardRequest | None = None
    """Instead of queries: a request with a session that this leader has yet to learn of."""
