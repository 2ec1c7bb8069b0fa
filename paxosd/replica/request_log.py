"""Debug log of client requests: what was asked, what came of it, how long it took.

    receive ──► started[(client, request_id)]      answer ──► client.request | client.refused

Stands between the service and the bus while debug events are logged, and only then.
"""

from typing import Any, Protocol

from paxosd.core.requests import RefusalAnswer, ServerMessage, WriteAnswer
from paxosd.host.log import Log

STARTED_MAX = 100_000
"""Requests that wait, at most, to be told of; a bound on memory, not on work."""

_SUFFIX = "Request"


class Answers(Protocol):
    """Where answers go: the bus."""

    def answer(self, client: bytes, message: ServerMessage) -> bool: ...


class RequestLog:
    """Passes answers on and tells of them. ``now_ms`` is set once a turn by its owner."""

    def __init__(self, bus: Answers, log: Log) -> None:
        self.now_ms = 0.0
        self._bus = bus
        self._log = log
        self._started: dict[tuple[bytes, int], tuple[float, str]] = {}

    def received(self, client: bytes, message: Any) -> None:
        """A request was taken in."""
        if len(self._started) < STARTED_MAX:
            what = type(message).__name__.removesuffix(_SUFFIX).lower()
            self._started[client, message.request_id] = (self.now_ms, what)

    def answer(self, client: bytes, message: ServerMessage) -> bool:
        """Send it, and tell what it answers."""
        sent = self._bus.answer(client, message)
        started_ms, what = self._started.pop((client, message.request_id), (self.now_ms, ""))
        fields: dict[str, Any] = {
            "request_id": message.request_id,
            "what": what,
            "dur_ms": round(self.now_ms - started_ms, 3),
            "sent": sent,
        }
        if isinstance(message, RefusalAnswer):
            self._log.debug("client.refused", code=message.code, reason=message.message, **fields)
            return sent
        if isinstance(message, WriteAnswer):
            fields["slot"] = message.slot
            fields["results"] = len(message.results)
        self._log.debug("client.request", **fields)
        return sent
