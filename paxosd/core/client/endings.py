"""How calls end that got no result in time, or were refused for good: truly, or as unknown.

give_up   the time of a frame is over      expire   the time of some of its calls is over
cancel    nobody waits for it any more
finish    each call ends alike             why      the likeliest reason
NotSubmitted: no sending of it can have had an effect.    OutcomeUnknown: one may have.
"""

from paxosd.core.client.calls import (
    Call,
    Failure,
    Frame,
    NotSubmitted,
    OutcomeUnknown,
    Question,
    Refused,
)
from paxosd.core.client.endpoints import (
    HANDSHAKE_PATIENCE_MS,
    HANDSHAKE_REFUSED,
    NO_ANSWER,
    UNREACHABLE,
    Endpoint,
    Endpoints,
    EndpointState,
)
from paxosd.core.client.frames import FrameTable
from paxosd.core.client.learning import Learning
from paxosd.core.client.queue import CommandQueue
from paxosd.core.commands import MEMBERS, Command
from paxosd.core.requests import LINEARIZABLE, ReadRequest

READ_IDS_MAX = 4
"""So many sendings of a read are named."""


class Endings:
    """The endings of one client's calls. ``learning``: None for a client that does not learn."""

    __slots__ = ("_endpoints", "_learning", "_queue", "_table")

    def __init__(
        self,
        table: FrameTable,
        queue: CommandQueue,
        endpoints: Endpoints,
        learning: Learning | None,
    ) -> None:
        self._table = table
        self._queue = queue
        self._endpoints = endpoints
        self._learning = learning

    def give_up(self, frame: Frame) -> None:
        """End a frame: the time of all of its calls is over."""
        why = self.why(frame)
        if frame.request_id and not frame.pinned:
            # It was silent all that time. If deadlines are shorter than an attempt may take,
            # nothing else would make the client try another. A leader that is only slow is found
            # again by a hint.
            self._endpoints.move_on(frame.endpoint)
        if not frame.possibly_submitted:
            self.finish(frame, why)
        elif frame.session is None:
            self.finish(frame, self._end_alone(frame, why))
        else:
            doubt = self.doubt(frame)
            for index, call in enumerate(frame.calls):
                if not call.done:
                    self._table.unknown(frame, index, doubt)
            self._table.drop(frame)

    def refuse_alone(self, frame: Frame, why: Refused) -> None:
        """End a frame of no session whose last try was refused for good: an earlier one without an
        answer may have been done."""
        if frame.possibly_submitted:
            doubt = "it was sent, and no answer came in time; another try was refused: "
            self.finish(frame, self._end_alone(frame, why, doubt + cause_of(why.message)))
        else:
            self.finish(frame, why)

    def _end_alone(self, frame: Frame, why: NotSubmitted | Refused, doubt: str = "") -> Failure:
        """How a frame of no session ends that was sent. A question changes nothing, and the
        client's own OPEN leaves nothing behind that is missed: NotSubmitted. Everything else is
        unknown, also where repeating it does no harm."""
        is_command = type(frame.calls[0].request) is list
        if frame is self._queue.opening or (frame.repeatable and not is_command):
            return why
        words = doubt or self.doubt(frame)
        if frame.repeatable and not _changes_members(frame.calls[0].request):
            words += "; to do it again does no harm"
        return OutcomeUnknown(0, 0, words)

    def doubt(self, frame: Frame) -> str:
        """Why the outcome of a frame that was sent is unknown. The last trouble may be that of a
        later try, which says nothing certain about an earlier one."""
        why = self.why(frame)
        if why.code == NO_ANSWER:
            return "it was sent, and no answer came in time"
        return f"it was sent, and no answer came in time; then: {cause_of(why.message)}"

    def finish(self, frame: Frame, failure: Failure) -> None:
        """End every call of a frame with this failure."""
        if type(failure) is NotSubmitted:
            failure = failure._replace(read_ids=_read_ids(frame))
        if self._learning is not None and frame is self._learning.frame:
            self._table.drop(frame)
            self._learning.failed(frame.deadline_ms)
        elif frame is self._queue.opening:
            self._table.drop(frame)
            self._queue.not_opened(failure)
        else:
            self._table.finish(frame, failure)

    def why(self, frame: Frame | None) -> NotSubmitted:
        """The likeliest reason that something did not happen in time."""
        pinned = self._endpoints.find(frame.pinned) if frame is not None else None
        if pinned is not None and pinned.code in HANDSHAKE_REFUSED:
            return NotSubmitted(pinned.code, pinned.message)
        if self._endpoints.all_down_since() is not None:
            refused = self._endpoints.refused_handshake()
            if refused is not None:
                return NotSubmitted(refused.code, refused.message)
            return NotSubmitted(UNREACHABLE, "no endpoint can be reached")
        frame = frame or self._queue.opening
        if pinned is not None and pinned.state is EndpointState.DOWN:
            return NotSubmitted(UNREACHABLE, pinned.message)
        if frame is not None and frame.trouble is not None:
            return frame.trouble
        if frame is not None and frame.request_id:
            return NotSubmitted(NO_ANSWER, "no answer in time")
        return NotSubmitted(NO_ANSWER, "it was not sent in time")

    def cancel(self, call: Call, why: NotSubmitted) -> None:
        """End a call that waits to be sent, or was sent. ``why``: how it ends if it certainly had
        no effect."""
        if call in self._queue.waiting:
            self._queue.waiting.remove(call)
            self._table.fail(call, why)
            return
        frame = next((each for each in self._table.live if call in each.calls), None)
        if frame is None or self._is_own(frame):
            return
        left = [i for i, each in enumerate(frame.calls) if not each.done and each is not call]
        if not frame.possibly_submitted and left:
            # Its number is given to no other command, and never used: nobody waits for it.
            self._table.fail(call, why)
            self._table.split(frame, left, frame.retry_ms, alone=False)
        elif not frame.possibly_submitted:
            self.finish(frame, why)
        elif frame.session is None:
            self.finish(frame, self._end_alone(frame, why, f"it was sent; then: {why.message}"))
        else:
            words = f"it was sent, and no answer had come; then: {why.message}"
            self._table.unknown(frame, frame.calls.index(call), words)
            if not left:
                self._table.drop(frame)

    def _is_own(self, frame: Frame) -> bool:
        """Whether the client asks it for itself."""
        learning = self._learning
        return frame is self._queue.opening or (learning is not None and frame is learning.frame)

    def expire(self, frame: Frame, now_ms: int) -> bool:
        """End the calls whose time is over. Returns whether the frame itself goes on."""
        live = [i for i, call in enumerate(frame.calls) if not call.done]
        late = [i for i in live if now_ms >= frame.calls[i].deadline_ms]
        if len(late) == len(live):
            self.give_up(frame)
            return False
        left = [i for i in live if now_ms < frame.calls[i].deadline_ms]
        if frame.possibly_submitted:
            for index in late:
                self._table.unknown(frame, index, self.doubt(frame))
            frame.deadline_ms = min([frame.calls[i].deadline_ms for i in left])
            return True
        for index in late:
            self._table.fail(frame.calls[index], self.why(frame))
        self._table.split(frame, left, now_ms, alone=False)
        return False

    def is_out_of_patience(self, frame: Frame, now_ms: int) -> bool:
        """Whether the only endpoint for this frame has been down for too long."""
        endpoint = self._endpoints.find(frame.pinned)
        if frame.request_id or endpoint is None or endpoint.state is not EndpointState.DOWN:
            return False
        patience_ms = patience_with(frame.patience_ms, endpoint)
        if patience_ms is None:
            return False
        due_ms = max(endpoint.since_ms, frame.began_ms) + patience_ms
        if now_ms < due_ms:
            self._table.wake(due_ms)
        return now_ms >= due_ms


def patience_with(patience_ms: int | None, refused: Endpoint | None) -> int | None:
    """How long to wait where nothing can be reached; None: until the deadline. ``refused``: an
    endpoint that may have refused the handshake, which hardly gets better by itself."""
    if refused is None or refused.code not in HANDSHAKE_REFUSED:
        return patience_ms
    return HANDSHAKE_PATIENCE_MS if patience_ms is None else min(patience_ms, HANDSHAKE_PATIENCE_MS)


def cause_of(message: str) -> str:
    """The reason of a daemon's refusal. (Earlier versions added what became of the request.)"""
    return message.partition("; nothing was ")[0]


def _changes_members(request: Command | Question) -> bool:
    return type(request) is list and request[0] == MEMBERS


def _read_ids(frame: Frame) -> tuple[int, ...]:
    """By which request ids the nodes know a linearizable read."""
    question = frame.calls[0].request
    if type(question) is ReadRequest and question.mode == LINEARIZABLE:
        return tuple(frame.ids[-READ_IDS_MAX:])
    return ()
