"""What an answer means for the calls of its frame: they end, or are sent again.

WriteAnswer    a result ends its call; after WINDOW the command is sent again with its seq;
               after SESSION_UNKNOWN in a new session, if it was certainly not applied
RefusalAnswer  final: the call ends
               not the leader: to the leader that it names, or to the next endpoint
               otherwise: sent again after a pause
"""

from collections.abc import Callable

from paxosd.core.client.calls import ClientOptions, Frame, NotSubmitted, Refused
from paxosd.core.client.endings import Endings, cause_of
from paxosd.core.client.endpoints import Endpoints
from paxosd.core.client.frames import FrameTable
from paxosd.core.client.queue import CommandQueue
from paxosd.core.commands import Result, Status
from paxosd.core.effects import (
    COMPACTED,
    DIVERGED,
    FORBIDDEN,
    INTERRUPTED,
    INVALID,
    NO_LEADER,
    NOT_LEADER,
    QUOTA,
    REFUSALS,
    STOPPING,
    UNCONFIRMED,
)
from paxosd.core.requests import PASSES_ON, RefusalAnswer, WriteAnswer

FENCED = "fenced"
SESSIONS_FULL = "sessions_full"
_NO_SESSION_LEFT = (
    "every session of the cluster is in use, or this key has as many as are left free for others "
    "(sessions_max, paxosctl cluster set)"
)
MALFORMED = "malformed"
OTHER_CLUSTER = "other_cluster"
"""The code where a node of another cluster refused a request that names the one of this client."""

_FINAL = frozenset({INVALID, FORBIDDEN, COMPACTED, QUOTA})
_OTHER_NODE = frozenset(
    {NOT_LEADER, NO_LEADER, INTERRUPTED, STOPPING, DIVERGED, UNCONFIRMED, OTHER_CLUSTER}
)
_REFUSED_COMMAND = Refused(MALFORMED, "the state machine refused the command", 0)
_REFUSED_AT_APPLY: dict[int, Refused] = {
    Status.QUOTA: Refused(QUOTA, REFUSALS[QUOTA], 0),
    Status.FORBIDDEN: Refused(
        FORBIDDEN,
        "by the rights that were in force when it was applied, the key of this client may not do "
        "that: it was revoked, or its rights were changed; nothing was changed (paxosctl auth "
        "can-i says what it may do)",
        0,
    ),
}
"""The detail of a MALFORMED → why the state machine refused a command that is well-formed."""


class Answers:
    """Takes the answers to one client's frames. ``doubt_members`` is called with the time when a
    refusal suggests that the members have changed."""

    __slots__ = ("_doubt_members", "_endings", "_endpoints", "_options", "_queue", "_table")

    def __init__(
        self,
        options: ClientOptions,
        table: FrameTable,
        queue: CommandQueue,
        endpoints: Endpoints,
        endings: Endings,
        doubt_members: Callable[[int], None],
    ) -> None:
        self._options = options
        self._table = table
        self._queue = queue
        self._endpoints = endpoints
        self._endings = endings
        self._doubt_members = doubt_members

    def take_results(self, frame: Frame, message: WriteAnswer, now_ms: int) -> None:
        """Results of which some are not simply revisions."""
        frame.open_ids.discard(message.request_id)
        if frame.session is None:
            self._take_alone(frame, message, now_ms)
            return
        again: list[int] = []
        for index, (call, result) in enumerate(zip(frame.calls, message.results, strict=True)):
            if call.done:
                continue
            status = _status(result)
            if status == Status.WINDOW:
                again.append(index)
            elif status == Status.SESSION_UNKNOWN:
                self._lost_session(frame, index)
            elif status == Status.FENCED:
                words = "an outcome query ruled it out: it can never commit"
                self._table.fail(call, NotSubmitted(FENCED, words))
            elif status == Status.FORGOTTEN:
                words = "it was sent again after its reply was acknowledged"
                self._table.unknown(frame, index, words)
            elif status == Status.MALFORMED:
                self._take_refused(frame, index, _refused_at_apply(result))
            else:
                self._table.end(call, result, message.slot)
        # They stay in one frame, and so in their order.
        self._table.split(frame, again, now_ms + self._table.backoff_ms(frame), alone=False)

    def _take_refused(self, frame: Frame, index: int, why: Refused) -> None:
        """The state machine has refused this try. Who has lost all rights gets no answer that is
        kept: an earlier try may have been done while it had them."""
        if why.code == FORBIDDEN and frame.possibly_submitted:
            words = "it was sent, and no answer came in time; another try was refused by the rights"
            self._table.unknown(frame, index, words)
        else:
            self._table.fail(frame.calls[index], why)

    def _lost_session(self, frame: Frame, index: int) -> None:
        session = frame.session
        assert session is not None
        self._queue.lost(session)
        if frame.possibly_submitted:
            words = "the session expired, and an earlier try was not answered"
            self._table.unknown(frame, index, words)
        else:
            self._queue.requeue(frame, index)

    def _take_alone(self, frame: Frame, message: WriteAnswer, now_ms: int) -> None:
        call, result = frame.calls[0], message.results[0]
        status = _status(result)
        if status == Status.SESSIONS_FULL:
            frame.trouble = NotSubmitted(SESSIONS_FULL, _NO_SESSION_LEFT)
            self._table.again(frame, now_ms + self._table.backoff_ms(frame))
        elif status == Status.MALFORMED:
            why = _refused_at_apply(result)
            opens = frame is self._queue.opening and why is _REFUSED_COMMAND
            if not (opens and self._queue.leave_name_out(now_ms)):
                self._endings.refuse_alone(frame, why)
        elif frame is not self._queue.opening:
            self._table.end(call, result, message.slot)
            self._table.drop(frame)
        elif isinstance(result, tuple) and type(result[2]) is int and result[2] > 0:
            self._queue.opened(result[2])
            self._table.drop(frame)
        else:
            self._endings.finish(frame, Refused(MALFORMED, "the answer names no session", 0))

    def take_refusal(self, frame: Frame, message: RefusalAnswer, now_ms: int) -> None:
        request_id, code = message.request_id, message.code
        frame.open_ids.discard(request_id)
        if code == INTERRUPTED:
            frame.doubtful = True
        if request_id != frame.request_id:
            return  # it answers an earlier sending, and another one is on its way
        frame.request_id = 0
        endpoint = self._endpoints.find(frame.endpoint)
        if endpoint is not None:
            endpoint.trouble(code, message.message)
        frame.trouble = NotSubmitted(code, message.message)
        if code in _FINAL:
            self._take_final(frame, message, now_ms)
            return
        if frame.pinned and frame.patience_ms == 0:
            self._endings.give_up(frame)
            return
        if code in _OTHER_NODE and not frame.pinned:
            self._doubt_members(now_ms)
            hint = message.leader_endpoint
            if endpoint is not None:
                endpoint.passes_on_to = ""
            frame.refused_by.add(frame.endpoint)
            if self._endpoints.all_in(frame.refused_by):
                # A new round: a node that did not lead may lead now.
                frame.refused_by = {frame.endpoint}
            if (
                hint
                and hint not in frame.refused_by
                and frame.redirects < self._options.redirects_max
                and self._endpoints.follow(hint, now_ms)
            ):
                frame.redirects += 1
                frame.trouble = None
                self._table.again(frame, now_ms)
                return
            if self._passes_on(frame, message, now_ms):
                frame.refused_by.discard(frame.endpoint)
                self._table.again(frame, now_ms)
                return
            self._endpoints.move_on(frame.endpoint)
        frame.redirects = 0
        max_ms = self._options.leaderless_backoff_max_ms if code in _OTHER_NODE else 0
        self._table.again(frame, now_ms + self._table.backoff_ms(frame, max_ms))

    def _passes_on(self, frame: Frame, message: RefusalAnswer, now_ms: int) -> bool:
        """Whether the node that refused is to pass the command on: it offers that, and the leader
        cannot be reached. (A node that refuses to pass on makes no offer.)"""
        endpoint = self._endpoints.find(frame.endpoint)
        offered = message.code == NOT_LEADER and message.detail == PASSES_ON
        if not offered or endpoint is None or not isinstance(frame.calls[0].request, list):
            return False
        if self._endpoints.can_follow(message.leader_endpoint, now_ms):
            return False
        endpoint.passes_on_to = message.leader_endpoint
        return True

    def _take_final(self, frame: Frame, message: RefusalAnswer, now_ms: int) -> None:
        live = [index for index, call in enumerate(frame.calls) if not call.done]
        if len(live) > 1:
            # One of them is the cause: each is sent again in a frame of its own.
            self._table.split(frame, live, now_ms, alone=True)
        elif frame.possibly_submitted and frame.session is not None:
            cause = cause_of(message.message)
            words = f"it was sent, and no answer came in time; another try was refused: {cause}"
            self._table.unknown(frame, live[0], words)
            self._table.drop(frame)
        elif (
            frame is self._queue.opening
            and message.code != FORBIDDEN
            and self._queue.leave_name_out(now_ms)
        ):
            return
        else:
            self._endings.refuse_alone(
                frame, Refused(message.code, message.message, message.detail)
            )


def _refused_at_apply(result: Result) -> Refused:
    detail = result[2] if isinstance(result, tuple) else None
    if not isinstance(detail, int):
        return _REFUSED_COMMAND
    return _REFUSED_AT_APPLY.get(detail, _REFUSED_COMMAND)


def _status(result: Result) -> int:
    return Status.OK if isinstance(result, int) else result[0]
