"""Where a client's frames go: its reads, if it wants that, to the node that answers soonest.

    read_from    LEADER: everything goes to the target (``endpoints.py``)
                 NEAREST: reads go to the nearest node, everything else to the target

Any node answers a linearizable read (read-index, ``core/reads.py``), so what is read is the same;
who answers is a matter of time and load alone. How soon a node answers is measured by the reads
themselves, and nothing is sent for it: each node gets TRIES of them, then those that are near are
compared: not slower than the quickest by more than a half and NEAR_MS. One of these is drawn, and
kept for LOOK_MS (half as much to half as much again), so that the pages of a scan come from one
node; then each node gets one more. As each client draws for itself, many clients on one host load
all nodes that are near alike, and leave a node that is overloaded.

A node that refuses a read, or does not answer it, gets no more for AVOID_MS, and that read goes to
the target, like any other. Who waits for a connection waits for nothing: reads go where there is
one. The draw is the rule of the drivers of MongoDB ("latency window" of the read preference
``nearest``).
"""

import random
from collections import Counter

from paxosd.core.client.calls import Frame
from paxosd.core.client.endpoints import Endpoint, Endpoints, EndpointState
from paxosd.core.requests import ReadAnswer, ReadRequest, ServerMessage

LEADER = "leader"
NEAREST = "nearest"
READ_FROM = (LEADER, NEAREST)

TRIES = 3
NEAR_MS = 1.0
LOOK_MS = 10_000
AVOID_MS = 5000


def checked_read_from(read_from: str) -> str:
    """The same. Raises ValueError for a word that is none of READ_FROM."""
    if read_from not in READ_FROM:
        raise ValueError(f"read_from is one of {', '.join(READ_FROM)}, not {read_from!r}")
    return read_from


class ReadSpread:
    """Of one client. ``answered``: endpoint → how many reads it has answered."""

    def __init__(self, endpoints: Endpoints, rng: random.Random, read_from: str) -> None:
        self.answered: Counter[str] = Counter()
        self._endpoints = endpoints
        self._rng = rng
        self._is_on = checked_read_from(read_from) == NEAREST
        self._took_ms: dict[str, float] = {}
        """Smoothed, of each endpoint that has answered a read."""
        self._tries_left: dict[str, int] = {}
        """Reads that it still gets before it is compared; TRIES if it is not named."""
        self._avoided_until_ms: dict[str, int] = {}
        self._kept = ""
        self._kept_until_ms = 0

    def endpoint_for(self, frame: Frame, now_ms: int) -> Endpoint | None:
        """Where to send a frame now; None: every endpoint is down. It may yet be connecting."""
        if frame.pinned:
            return self._endpoints.get(frame.pinned, now_ms)
        frame.is_spread = False
        is_first_try = not (frame.refusals or frame.timeouts or frame.refused_by)
        if self._is_on and is_first_try and type(frame.calls[0].request) is ReadRequest:
            found = self._nearest(now_ms)
            if found is not None:
                frame.is_spread = True
                return found
        return self._endpoints.choose(now_ms)

    def heard(self, frame: Frame, message: ServerMessage, now_ms: int) -> None:
        """An answer to the last sending of a frame, or to an earlier one."""
        if type(frame.calls[0].request) is not ReadRequest:
            return
        if message.request_id != frame.request_id:
            return
        name = frame.endpoint
        if type(message) is not ReadAnswer:
            if frame.is_spread:
                self._avoid(name, now_ms)
            return
        self.answered[name] += 1
        if not self._is_on:
            return
        took_ms = float(now_ms - frame.sent_ms)
        before_ms = self._took_ms.get(name, took_ms)
        weight = 8 if name == self._kept else 2  # of the others there are few
        self._took_ms[name] = before_ms + (took_ms - before_ms) / weight
        self._tries_left[name] = max(0, self._tries_left.get(name, TRIES) - 1)

    def _avoid(self, name: str, now_ms: int) -> None:
        self._avoided_until_ms[name] = now_ms + AVOID_MS
        if name == self._kept:
            self._kept = ""

    def _nearest(self, now_ms: int) -> Endpoint | None:
        """None: no node is connected that may be asked."""
        kept = self._endpoints.find(self._kept)
        if kept is not None and self._may_ask(kept, now_ms):
            if now_ms < self._kept_until_ms:
                return kept
            self._tries_left = dict.fromkeys(self._took_ms, 1)
        self._kept = ""
        usable: list[Endpoint] = []
        for each in list(self._endpoints):
            self._endpoints.get(each.name, now_ms)
            if self._may_ask(each, now_ms):
                usable.append(each)
        untried = [each for each in usable if self._tries_left.get(each.name, TRIES)]
        if untried or not usable:
            return self._rng.choice(untried) if untried else None
        quickest_ms = min([self._took_ms[each.name] for each in usable])
        bound_ms = 1.5 * quickest_ms + NEAR_MS
        near = [each for each in usable if self._took_ms[each.name] <= bound_ms]
        chosen = self._rng.choice(near)
        self._kept = chosen.name
        self._kept_until_ms = now_ms + round(LOOK_MS * self._rng.uniform(0.5, 1.5))
        return chosen

    def _may_ask(self, each: Endpoint, now_ms: int) -> bool:
        avoided_ms = max(each.suspect_until_ms, self._avoided_until_ms.get(each.name, 0))
        return each.state is EndpointState.UP and now_ms >= avoided_ms
