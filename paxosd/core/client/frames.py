"""The frames of one client that have not ended: those to be sent, and those to be answered.

    add / alone ─► unsent ── sent() ─► under way ── drop() ─► ended
                     ▲                    │
                     └──── again() ───────┘      split(): some calls go on in frames of their own

What to do after an answer or a failure is decided in ``answers.py`` and ``endings.py``; here is the
bookkeeping.
"""

import random

from paxosd.core.client.calls import (
    NO_DEADLINE_MS,
    Call,
    ClientOptions,
    Failure,
    Frame,
    OutcomeUnknown,
)
from paxosd.core.commands import OPEN, OPENED_BY_MIN

INT_MAX = (1 << 63) - 1


class FrameTable:
    """``completed``: calls that ended, oldest first. ``wake_ms``: nothing is due before; a lower
    bound, so that a tick with nothing to do costs one comparison."""

    def __init__(self, options: ClientOptions, rng: random.Random) -> None:
        self.completed: list[Call] = []
        self.wake_ms = NO_DEADLINE_MS
        self.live: dict[Frame, None] = {}
        self.unsent: list[Frame] = []  # those of ``live`` that wait to be sent, now or later
        self.by_id: dict[int, Frame] = {}  # every sending of every live frame
        self._options = options
        self._rng = rng
        self._next_id = options.first_request_id

    def wake(self, at_ms: int) -> None:
        """Something is due at that time."""
        self.wake_ms = min(self.wake_ms, at_ms)

    def new_id(self) -> int:
        """A request id that was never used."""
        request_id = self._next_id
        self._next_id += 1
        return request_id

    # -- frames -------------------------------------------------------------------------------

    def add(self, frame: Frame, retry_ms: int) -> None:
        """A new frame, to be sent at ``retry_ms``."""
        frame.retry_ms = retry_ms
        self.live[frame] = None
        self.unsent.append(frame)
        if frame.session is not None:
            frame.session.frames[frame] = None
        # What is to be sent later wakes when it is next tried to be sent, right after this.
        self.wake(frame.deadline_ms)

    def alone(self, call: Call, now_ms: int, entry_session: int = 0) -> Frame:
        """A new frame of no session for one call; ``entry_session``: the one that it closes."""
        opens = isinstance(call.request, list) and call.request[0] == OPEN
        first_seq = self._rng.randrange(OPENED_BY_MIN, INT_MAX) if opens else 0
        frame = Frame([call], None, first_seq, entry_session=entry_session)
        self.add(frame, now_ms)
        return frame

    def sent(self, frame: Frame, endpoint: str, now_ms: int) -> int:
        """The frame is handed to a connection now; returns the request id of this sending."""
        frame.request_id = request_id = self.new_id()
        frame.endpoint = endpoint
        frame.sent_ms = now_ms
        frame.ids.append(request_id)
        frame.open_ids.add(request_id)
        self.by_id[request_id] = frame
        self.wake(now_ms + self.attempt_timeout_ms(frame))
        return request_id

    def scouts(self, frame: Frame) -> int:
        """A further sending of a frame of which the last one is still waited for (``scout.py``);
        returns its request id."""
        request_id = self.new_id()
        frame.ids.append(request_id)
        frame.open_ids.add(request_id)
        self.by_id[request_id] = frame
        return request_id

    def again(self, frame: Frame, retry_ms: int) -> None:
        """Send it again at that time. An answer to the last sending still counts."""
        frame.request_id = 0
        frame.retry_ms = retry_ms
        self.unsent.append(frame)

    def drop(self, frame: Frame) -> None:
        """The frame ended: late answers to it are ignored."""
        self.live.pop(frame, None)
        if not frame.request_id and frame in self.unsent:
            self.unsent.remove(frame)
        if frame.session is not None:
            frame.session.frames.pop(frame, None)
        for request_id in frame.ids:
            self.by_id.pop(request_id, None)

    def split(self, frame: Frame, indexes: list[int], retry_ms: int, *, alone: bool) -> None:
        """End a frame. These of its calls go on, with their numbers, in new frames: each in its own
        (``alone``), or in as few as possible."""
        runs: list[list[int]] = []
        for index in indexes:
            if alone or not runs or runs[-1][-1] != index - 1:
                runs.append([index])
            else:
                runs[-1].append(index)
        # The parts are added before the whole ends, so that no acknowledgement passes their seqs.
        for run in runs:
            self.add(frame.part(run[0], run[-1] + 1), retry_ms)
        self.drop(frame)

    def attempt_timeout_ms(self, frame: Frame) -> int:
        """How long to wait for the answer to one sending of this frame: twice as long each time."""
        doubled_ms = self._options.attempt_timeout_ms << min(frame.timeouts, 16)
        return min(doubled_ms, self._options.attempt_timeout_max_ms)

    def backoff_ms(self, frame: Frame, max_ms: int = 0) -> int:
        """A pause before a retry: it doubles each time, up to ``max_ms`` (0: the usual bound), and
        its upper half is random."""
        options = self._options
        max_ms = min(max_ms or options.backoff_max_ms, options.backoff_max_ms)
        top_ms = min(options.backoff_min_ms << min(frame.refusals, 16), max_ms)
        frame.refusals += 1
        return top_ms // 2 + self._rng.randrange(top_ms // 2 + 1)

    # -- calls --------------------------------------------------------------------------------

    def end(self, call: Call, result: object, slot: int) -> None:
        """The call has its result."""
        call.result = result
        call.slot = slot
        call.done = True
        self.completed.append(call)

    def fail(self, call: Call, failure: Failure) -> None:
        """The call ends without a result."""
        call.failure = failure
        call.done = True
        self.completed.append(call)

    def unknown(self, frame: Frame, index: int, message: str) -> None:
        """It is not known whether this command of a session took effect."""
        session = frame.session
        assert session is not None
        seq = frame.first_seq + index
        session.retire(seq)
        self.fail(frame.calls[index], OutcomeUnknown(session.id, seq, message))

    def finish(self, frame: Frame, failure: Failure) -> None:
        """End a frame, and with this failure each of its calls that has not ended."""
        for call in frame.calls:
            if not call.done:
                self.fail(call, failure)
        self.drop(frame)
