"""What a client knows of its cluster, when it asks again, and what waits for the answer.

    connected ─► due soon ─► AdminRequest("status") to whoever is the target
    a broken connection, silence, another leader ─► due soon
    none of these for LEARN_MS ─► due
    a request that breaks a limit ─► held, and due at once ─► judged by the next answer

Members come and go while a client runs: it learns where the present ones are reached from any
node that still speaks. It asks when it has a reason: what changes the members mostly shows, for a
node that is to go hands its clients on, or breaks their connections. Thousands of clients have the
same reason at once: each asks after a time of its own (``SPREAD_MS``), and not again before
``PAUSE_MS`` have passed, however much goes wrong.

Frames are packed (``queue.py``) no larger than the limits allow, and before any is known no
larger than every node takes. Requests are measured against the limits before they are sent, for one
that is larger than a message may be ends the connection instead of being refused. Limits change as
well, so what was learned earlier refuses nothing: it only makes a request wait for an answer to a
question that is asked after it.
"""

import random
from typing import Any

from paxosd.core.client.calls import Call, Frame
from paxosd.core.client.cluster_info import ClusterInfo, Limits, weight

FIRST_MS = 1000
"""So long after its first connection a client asks; one that ends before has no use for it."""
SPREAD_MS = 2000
"""Up to so much later than it might, at random."""
PAUSE_MS = 5000
"""After an answer, or none, it has no reason to ask for so long."""
LEARN_MS = 60_000
"""Without a reason it asks after 0.5 to 1.5 times this."""
ANSWER_MS = 5000
"""How long an answer may take; then it is asked again."""
UNCHECKED_BYTES_MAX = 64 << 10
"""What is no larger is sent before any limit is known. Every node takes messages of this size."""


class Held:
    """A request that waits to be judged. ``frame``: that of a question; None: a command that is
    not packed yet. ``asking``: the first answer that may judge it."""

    __slots__ = ("asking", "call", "frame")

    def __init__(self, call: Call, frame: Frame | None, asking: int) -> None:
        self.call = call
        self.frame = frame
        self.asking = asking


class Learning:
    """``frame``: the question that is under way. ``due_ms``: when to ask next."""

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
        """Those that were told last; without any limit as long as none was."""
        return self.info.limits if self.info is not None else Limits()

    def connected(self, now_ms: int) -> None:
        """A connection came about: at first, or because another one ended, or leads no more."""
        if self.info is None:
            self.wake(now_ms + FIRST_MS + self._spread_ms())
        else:
            self.doubt(now_ms)

    def doubt(self, now_ms: int) -> None:
        """Something has changed, or does not work: the members may be others."""
        if self.info is not None and self.frame is None and not self._in_doubt:
            self._in_doubt = True
            self.wake(max(now_ms, self._paused_until_ms) + self._spread_ms())

    def _spread_ms(self) -> int:
        return round(self._rng.uniform(0, SPREAD_MS))

    def _rest(self, now_ms: int) -> None:
        """A question was answered, or not: the next one has time, if nothing happens."""
        self._in_doubt = False
        self._paused_until_ms = now_ms + PAUSE_MS
        self.due_ms = None
        self.wake(now_ms if self.held else now_ms + round(LEARN_MS * self._rng.uniform(0.5, 1.5)))

    def wake(self, at_ms: int) -> None:
        """Ask then, at the latest."""
        self.due_ms = at_ms if self.due_ms is None else min(self.due_ms, at_ms)

    def is_suspect(self, request: Any) -> bool:
        """Whether a request has to wait for limits that are told after it came."""
        if self.info is None:
            return weight(request) > UNCHECKED_BYTES_MAX
        return bool(self.info.limits.refusal(request))

    def hold(self, call: Call, frame: Frame | None, now_ms: int) -> None:
        """Keep a suspect until an answer comes to a question that is not asked yet."""
        self.held.append(Held(call, frame, self._asked + 1))
        self.wake(now_ms)

    def asking(self, frame: Frame) -> None:
        """The question is under way."""
        self.frame = frame
        self.due_ms = None
        self._asked += 1

    def failed(self, at_ms: int) -> None:
        """It was not answered, or refused."""
        self.frame = None
        self._rest(at_ms)
        self.doubt(at_ms)

    def take(self, info: ClusterInfo, now_ms: int) -> list[tuple[Held, str]]:
        """It was answered. Returns what was held and is judged now, with the reason for which it
        is refused; "": it may be sent."""
        self.frame = None
        if self.info is None or info.epoch >= self.info.epoch or not self.info.members:
            self.info = info
        else:  # one that lags may still name members that have left
            self.info = info._replace(epoch=self.info.epoch, members=self.info.members)
        judged = [each for each in self.held if each.asking <= self._asked]
        self.held = [each for each in self.held if each.asking > self._asked]
        self._rest(now_ms)
        return [(each, self._verdict(info, each.call.request)) for each in judged]

    @staticmethod
    def _verdict(info: ClusterInfo, request: Any) -> str:
        """A node that does not lead may not know yet that a limit was raised: what a connection
        carries is then for the leader to judge."""
        if info.leads or info.limits.is_too_large(request):
            return info.limits.refusal(request)
        return ""

    def expire(self, now_ms: int, hopeless: bool) -> list[Call]:
        """Held calls whose time is over; all of them, if there is no hope for an answer."""
        late = [each for each in self.held if hopeless or now_ms >= each.call.deadline_ms]
        self.held = [each for each in self.held if each not in late]
        return [each.call for each in late]
