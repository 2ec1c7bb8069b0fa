"""Requests whose answer needs the disk: the work is done beside the loop, one at a time.

    take() ──► waiting, WAITING_MAX at most ──► thread: work() ──► turn(): the answer leaves

No turn of the loop waits for the disk; a read that hangs holds up these requests alone. What leaves
is bounded, too: BYTES_PER_S of all clients together, so that a client that fetches many megabytes
takes a small part of the loop's time.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from paxosd.core.effects import BUSY, INVALID, REFUSALS
from paxosd.core.requests import AdminAnswer, RefusalAnswer, ServerMessage

WAITING_MAX = 16
"""Requests that wait; more are refused as busy, and the client asks again."""
BYTES_PER_S = 16 << 20
"""An answer of 256 KiB costs the loop 0.16 ms (0.04 to encode, 0.12 to send): 64 of them in a
second, 1 % of it."""
ANSWER_BYTES_MIN = 64 << 10
"""What an answer counts at least: a small one takes its part of a turn, too."""


class Deferred(NamedTuple):
    """An admin request that is answered later. ``work``: makes the body of the answer in another
    thread; it may raise OSError and, with words for the client, LookupError."""

    request_id: int
    verb: str
    work: Callable[[], dict[str, Any]]


@dataclass(slots=True)
class DeferredJob:
    """One of them at work. It touches nothing but the work and its own fields."""

    client: bytes
    deferred: Deferred
    body: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    def run(self) -> None:
        """Do it. Never raises an Exception that a disk can cause."""
        try:
            self.body = self.deferred.work()
        except LookupError as problem:
            self.error = str(problem.args[0])
        except OSError as problem:
            self.error = f"it cannot be read: {problem.strerror or problem}"


class DeferredHelper(Protocol):
    """Runs jobs beside the loop, one at a time; :class:`paxosd.daemon.file_thread.FileThread`."""

    def start(self, job: DeferredJob) -> None: ...

    def finished(self) -> list[DeferredJob]:
        """The jobs done since the last call."""
        ...


class DeferredAnswers:
    """The queue of one node. ``answer``: sends an answer to a client."""

    def __init__(
        self, helper: DeferredHelper, answer: Callable[[bytes, ServerMessage], bool]
    ) -> None:
        self._helper = helper
        self._answer = answer
        self._waiting: deque[DeferredJob] = deque()
        self._runs = False
        self._not_before_ms = 0.0

    def take(self, client: bytes, deferred: Deferred) -> None:
        """Answer it later, or refuse it now: too many wait."""
        if len(self._waiting) >= WAITING_MAX:
            words = f"{REFUSALS[BUSY]}: {WAITING_MAX} requests for files wait"
            self._answer(client, RefusalAnswer(deferred.request_id, BUSY, words, "", "", 0))
            return
        self._waiting.append(DeferredJob(client, deferred))

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self._runs and not self._waiting

    def next_due_ms(self, now_ms: float) -> float:
        """When the next turn is due; the end of a job wakes the loop by itself."""
        if self._runs or not self._waiting:
            return float("inf")
        return max(now_ms, self._not_before_ms)

    def turn(self, now_ms: float) -> None:
        """Send what is ready, and begin the next, if it is time."""
        if self._runs:
            for job in self._helper.finished():
                self._runs = False
                size = max(ANSWER_BYTES_MIN, len(job.body.get("data", b"")))
                self._not_before_ms = now_ms + size * 1000 / BYTES_PER_S
                self._send(job)
        if self._waiting and not self._runs and now_ms >= self._not_before_ms:
            self._runs = True
            self._helper.start(self._waiting.popleft())

    def _send(self, job: DeferredJob) -> None:
        request_id, verb, _ = job.deferred
        if job.error:
            words = f"{verb}: {job.error}"
            self._answer(job.client, RefusalAnswer(request_id, INVALID, words, "", "", 0))
        else:
            self._answer(job.client, AdminAnswer(request_id, job.body))
