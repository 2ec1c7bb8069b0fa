"""Learning members and limits: when a client asks for a status, and what waits for the answer.

    connected ─► due soon ─► AdminRequest("status") to the target
    a broken connection, silence, another leader ─► due soon
    none of these for LEARN_MS ─► due
    a request that breaks a limit ─► held, and due at once ─► judged by the next answer

Members come and go while a client runs: it learns the endpoints of the present ones from any
node that answers. It asks when it has a reason to. A change of the members usually shows, for a
node that leaves refuses its clients, or breaks their connections. As thousands of clients have the
same reason at the same time, each asks after a random time (``SPREAD_MS``), and not again before
``PAUSE_MS`` have passed, however much goes wrong.

Frames are packed (``queue.py``) no larger than the limits allow, and before the limits are known
no larger than every node takes. Requests are compared with the limits before they are sent, because
a request that is larger than a message may be is not refused: the connection ends. Limits change,
too. So limits that were learned earlier do not refuse a request; they only make it wait for the
answer to a status request that is sent after it came.
"""

import random
from typing import Any

from paxosd.core.client.calls import Call, Frame
from paxosd.core.client.cluster_info import ClusterInfo, Limits, weight

FIRST_MS = 1000
"""A client asks so long after its first connection; short-lived clients do not ask at all."""
SPREAD_MS = 2000
"""The random delay of a question is at most this."""
PAUSE_MS = 5000
"""After an answer, or after none came, no further question is asked for so long."""
LEARN_MS = 60_000
"""Without a reason to ask earlier, the next question comes after 0.5 to 1.5 times this."""
ANSWER_MS = 5000
"""How long an answer may take; then it is asked again."""
UNCHECKED_BYTES_MAX = 64 << 10
"""Requests up to this size are sent before any limit is known: every node takes them."""


class Held:
    """A request that waits to be judged. ``frame``: the one of a question; None for a command,
    which is not packed yet. ``asking``: the first status request that may judge it, by number."""

    __slots__ = ("asking", "call", "frame")

    def __init__(self, call: Call, frame: Frame | None, asking: int) -> None:
        self.call = call
        self.frame = frame
        self.asking = asking


class Learning:
    """``frame``: the status request that is under way. ``due_ms``: when to ask next."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._paused_until_ms = 0
        self.info: ClusterInfo | None = None
        self.frame: Frame | None = None
        self.due_ms: int | None = None
        self.held: list[Held] = []
        self._asked = 0
        self._in_doubt = False
        """Whether there is a reason to ask, and ``due_ms`` says when."""

    @property
    def limits(self) -> Limits:
        """The limits that were learned last; before that, none."""
        return self.info.limits if self.info is not None else Limits()

    def connected(self, now_ms: int) -> None:
        """A connection was made: the first one, or after another one failed or was left."""
        if self.info is None:
            self.wake(now_ms + FIRST_MS + self._spread_ms())
        else:
            self.doubt(now_ms)

    def doubt(self, now_ms: int) -> None:
        """Something has changed or failed: the members may have changed."""
        if self.info is not None and self.frame is None and not self._in_doubt:
            self._in_doubt = True
            self.wake(max(now_ms, self._paused_until_ms) + self._spread_ms())

    def _spread_ms(self) -> int:
        return round(self._rng.uniform(0, SPREAD_MS))

    def _rest(self, now_ms: int) -> None:
        """A question was answered, or failed: set the time of the next one."""
        self._in_doubt = False
        self._paused_until_ms = now_ms + PAUSE_MS
        self.due_ms = None
        self.wake(now_ms if self.held else now_ms + round(LEARN_MS * self._rng.uniform(0.5, 1.5)))

    def wake(self, at_ms: int) -> None:
        """Ask then, at the latest."""
        self.due_ms = at_ms if self.due_ms is None else min(self.due_ms, at_ms)

    def is_suspect(self, request: Any) -> bool:
        """Whether a request has to wait for limits that are learned after it came."""
        if self.info is None:
            return weight(request) > UNCHECKED_BYTES_MAX
        return bool(self.info.limits.refusal(request))

    def hold(self, call: Call, frame: Frame | None, now_ms: int) -> None:
        """Keep such a request until the answer to a question that is asked from now on."""
        self.held.append(Held(call, frame, self._asked + 1))
        self.wake(now_ms)

    def asking(self, frame: Frame) -> None:
        """The question is under way."""
        self.frame = frame
        self.due_ms = None
        self._asked += 1

    def failed(self, at_ms: int) -> None:
        """The question was refused, or not answered."""
        self.frame = None
        self._rest(at_ms)
        self.doubt(at_ms)

    def take(self, info: ClusterInfo, now_ms: int) -> list[tuple[Held, str]]:
        """The question was answered. Returns the held requests that are judged now, each with the
        reason of its refusal; "": it may be sent."""
        self.frame = None
        if self.info is None or info.epoch >= self.info.epoch or not self.info.members:
            self.info = info
        else:  # a node that is behind may still name members that have left
            self.info = info._replace(epoch=self.info.epoch, members=self.info.members)
        judged = [each for each in self.held if each.asking <= self._asked]
        self.held = [each for each in self.held if each.asking > self._asked]
        self._rest(now_ms)
        return [(each, self._verdict(info, each.call.request)) for each in judged]

    @staticmethod
    def _verdict(info: ClusterInfo, request: Any) -> str:
        """Why a request is refused. A node that does not lead may not know yet that a limit was
        raised: it refuses only requests that no connection would carry."""
        if info.leads or info.limits.is_too_large(request):
            return info.limits.refusal(request)
        return ""

    def expire(self, now_ms: int, hopeless: bool) -> list[Call]:
        """The held calls whose deadline has passed, or all of them if ``hopeless``."""
        late = [each for each in self.held if hopeless or now_ms >= each.call.deadline_ms]
        self.held = [each for each in self.held if each not in late]
        return [each.call for each in late]

    def release(self, call: Call) -> bool:
        """Keep this call no longer; whether it was held."""
        kept = [each for each in self.held if each.call is not call]
        was_held = len(kept) < len(self.held)
        self.held = kept
        return was_held
