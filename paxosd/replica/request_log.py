"""Debug log of client requests: what was asked, what came of it, how long it took.

    receive ──► started[(client, request_id)]      answer ──► client.request | client.refused

It stands between the service and the bus while debug events are logged, and only then.
"""

from typing import Any

from paxosd.core.requests import RefusalAnswer, ServerMessage, WriteAnswer
from paxosd.host.log import Log
from paxosd.replica.ports import Answers

STARTED_MAX = 100_000
"""At most so many requests are remembered until their answers are logged: a bound on memory."""

_SUFFIX = "Request"


class RequestLog:
    """Passes answers on and logs them."""

    def __init__(self, bus: Answers, log: Log) -> None:
        self._now_ms = 0.0
        self._bus = bus
        self._log = log
        self._started: dict[tuple[bytes, int], tuple[float, str]] = {}

    def begin_turn(self, now_ms: float) -> None:
        """The time of this turn; to be called at its beginning."""
        self._now_ms = now_ms

    def received(self, client: bytes, message: Any) -> None:
        """A request was taken in."""
        if len(self._started) < STARTED_MAX:
            what = type(message).__name__.removesuffix(_SUFFIX).lower()
            self._started[client, message.request_id] = (self._now_ms, what)

    def answer(self, client: bytes, message: ServerMessage) -> bool:
        """Send an answer, and log which request it answers."""
        sent = self._bus.answer(client, message)
        started_ms, what = self._started.pop((client, message.request_id), (self._now_ms, ""))
        fields: dict[str, Any] = {
            "request_id": message.request_id,
            "what": what,
            "dur_ms": round(self._now_ms - started_ms, 3),
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
