"""Asking a second endpoint early, without giving up the first.

    the target is silent, though answers are waited for ──► the oldest frame goes elsewhere, too
        refused (it does not lead)   → the next one, or the one that it names; the target may answer
        answered                     → it leads: it is the target now, and all that waits goes there

A target that is silent may be a leader that was stopped, or whose machine is gone, and another one
may lead by now; or it is only slow. To wait for the time-out of an attempt would cost the first
case a second; to give the target up would send the second case's requests around in circles. So one
frame *scouts*: a further sending of it, with the same session and seqs, which the cluster applies
once however often it comes (rule 2 of ``protocol.py``). Whoever answers first ends it.

Silent is a target from which nothing came for ``scout_ms``, and for longer than answers take of
late: their smoothed time and four deviations, as TCP has it (RFC 6298, section 2). A slow cluster
is not scouted. There is one scout at a time, and it is small: this costs a slow link nothing.
"""

import random
from collections.abc import Callable

from paxosd.core.client.calls import ClientOptions, Frame
from paxosd.core.client.endpoints import Endpoint, Endpoints, EndpointState
from paxosd.core.client.frames import FrameTable
from paxosd.core.requests import (
    ClientMessage,
    ReadRequest,
    RefusalAnswer,
    ServerMessage,
    WriteRequest,
)

SCOUT_BYTES_MAX = 64 << 10
"""A frame with a larger entry does not scout."""
PAUSE_MS = 80
"""Between two scouts, and up to half as long again by chance."""


class Scout:
    """The scouting of one client. ``sends``: what is to be sent, as (endpoint, message); whoever
    sends it clears the list. ``message_of(frame, request_id)`` makes the message of a sending."""

    def __init__(
        self,
        options: ClientOptions,
        table: FrameTable,
        endpoints: Endpoints,
        rng: random.Random,
        message_of: Callable[[Frame, int], ClientMessage],
    ) -> None:
        self.sends: list[tuple[str, ClientMessage]] = []
        self._options = options
        self._table = table
        self._endpoints = endpoints
        self._rng = rng
        self._message_of = message_of
        self._sent: dict[int, tuple[str, int]] = {}
        """Request id of each scout that is not answered → where it went, and when."""
        self._due_ms = 0
        """No scout before that."""
        self._last = ""
        """Where the last scout went: the next one goes to the endpoint after it."""
        self._hint = ""
        """Who is asked next: a leader that a refusal named, or who was connected for it."""
        self._connecting = ""
        """The endpoint that a scout waits for to be connected."""
        self._smoothed_ms = self._deviation_ms = 0.0

    # -- what is heard

    def connected(self, name: str, now_ms: int) -> None:
        """A connection was made."""
        if name == self._connecting:
            self._connecting = ""
            self._hint, self._due_ms = name, now_ms
            self._table.wake(now_ms)

    def heard(self, frame: Frame, message: ServerMessage, now_ms: int) -> None:
        """An answer to any sending of a frame, before the frame takes it."""
        name, _ = self._sent.pop(message.request_id, ("", 0))
        if not name:
            self._heard_target(frame, message, now_ms)
        elif isinstance(message, RefusalAnswer):
            hint = message.leader_endpoint
            if hint not in ("", name, frame.endpoint) and self._endpoints.can_follow(hint, now_ms):
                self._hint, self._due_ms = hint, now_ms
                self._table.wake(now_ms)
        elif frame.request_id and self._endpoints.target == frame.endpoint:
            self._found(name, frame.endpoint, now_ms)

    def _heard_target(self, frame: Frame, message: ServerMessage, now_ms: int) -> None:
        endpoint = self._endpoints.find(frame.endpoint)
        if message.request_id != frame.request_id or endpoint is None:
            return  # an earlier sending, perhaps to another endpoint
        endpoint.answered_ms = now_ms
        if isinstance(message, RefusalAnswer) or frame.is_spread:
            return
        took_ms = max(1.0, now_ms - frame.sent_ms)  # 0 would count as not measured
        if not self._smoothed_ms:
            self._smoothed_ms, self._deviation_ms = took_ms, took_ms / 2
            return
        self._deviation_ms += (abs(took_ms - self._smoothed_ms) - self._deviation_ms) / 4
        self._smoothed_ms += (took_ms - self._smoothed_ms) / 8

    def _found(self, name: str, silent: str, now_ms: int) -> None:
        """``name`` answers and ``silent`` does not: send there what waits."""
        endpoint = self._endpoints.find(silent)
        if endpoint is not None:
            endpoint.suspect_until_ms = now_ms + self._options.suspect_ms
        if not self._endpoints.follow(name, now_ms):
            return
        for frame in self._table.live:
            if frame.request_id and frame.endpoint == silent and _may_scout(frame):
                self._table.again(frame, now_ms)

    # -- what is sent

    def sent(self, now_ms: int) -> None:
        """A frame was sent: see whether an answer comes."""
        self._table.wake(now_ms + self._patience_ms)

    def tick(self, now_ms: int) -> None:
        """Send a scout if one is due."""
        target = self._endpoints.find(self._endpoints.target)
        frame = self._oldest(target)
        if frame is None or target is None:
            return
        silent_since_ms = max(frame.sent_ms, target.answered_ms)
        due_ms = max(silent_since_ms + self._patience_ms, self._due_ms)
        if now_ms < due_ms:
            self._table.wake(due_ms)
            return
        self._due_ms = now_ms + PAUSE_MS + self._rng.randrange(PAUSE_MS // 2)
        self._table.wake(self._due_ms)
        endpoint = self._next(target, now_ms)
        if endpoint is None:
            return
        if endpoint.state is not EndpointState.UP:
            self._connecting = endpoint.name
            return
        self._last = endpoint.name
        message = self._message_of(frame, 0)
        if isinstance(message, WriteRequest) and len(message.entry) > SCOUT_BYTES_MAX:
            return
        request_id = self._table.scouts(frame)
        message = message._replace(request_id=request_id)
        self._sent[request_id] = endpoint.name, now_ms
        self.sends.append((endpoint.name, message))

    @property
    def _patience_ms(self) -> int:
        usual_ms = self._smoothed_ms + 4 * self._deviation_ms
        return max(self._options.scout_ms, round(usual_ms))

    def _oldest(self, target: Endpoint | None) -> Frame | None:
        """The frame that waits longest for the target; None: there is none that may scout."""
        if target is None or target.state is not EndpointState.UP:
            return None
        if len(self._sent) > len(self._table.live):
            self._sent = {i: to for i, to in self._sent.items() if i in self._table.by_id}
        for frame in self._table.live:
            if frame.request_id and frame.endpoint == target.name and _may_scout(frame):
                return frame
        return None

    def _next(self, target: Endpoint, now_ms: int) -> Endpoint | None:
        """Where the next scout goes; a connection is requested if there is none. One that has yet
        to answer a scout gets no other before the time-out of an attempt."""
        hint, self._hint = self._hint, ""
        if hint and self._endpoints.can_follow(hint, now_ms):
            return self._endpoints.get(hint, now_ms)
        order = [each for each in self._endpoints if each.state is not EndpointState.DOWN]
        names = [each.name for each in order]
        first = names.index(self._last) + 1 if self._last in names else 0
        since_ms = now_ms - self._options.attempt_timeout_ms
        silent = {name for name, sent_ms in self._sent.values() if sent_ms > since_ms}
        silent.add(target.name)
        for each in order[first:] + order[:first]:
            if each.name not in silent and now_ms >= each.suspect_until_ms:
                return self._endpoints.get(each.name, now_ms)
        return None


def _may_scout(frame: Frame) -> bool:
    """Whether to send it twice does no harm, and to send it elsewhere helps."""
    request = frame.calls[0].request
    is_work = isinstance(request, list | ReadRequest)
    return is_work and not frame.pinned and not frame.asked_once
