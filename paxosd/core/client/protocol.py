"""The client's half of the protocol, sans-IO: every call ends once, and says truly how.

    submit(command) ─► waiting ─► packed into a frame (session, first_seq …) ─► WriteRequest
    ask(question)   ────────────► a frame of its own                         ─► ReadRequest, …
        WriteAnswer   → results           RefusalAnswer → another endpoint, or later, or the end
        no answer, a broken connection    → the next endpoint, with the same session and seqs
        the deadline                      → NotSubmitted or OutcomeUnknown

The rules:

1. A command gets its (session, seq) when it is packed and keeps it however often it is sent.
   Only a command that surely was never submitted is given another.
2. A request that was handed to a connection counts as submitted until an answer to that very
   request says otherwise. Answers to earlier sendings count as well.
3. A call ends NotSubmitted only if each sending was refused with certainty; if one was not, it
   ends OutcomeUnknown, and its session takes no new commands.
4. Commands that wait at the same time are concurrent: they may take effect in any order.
5. An endpoint that refuses, breaks or is silent is left for the next; a hint to the leader is
   followed, unless it points to one that was silent just now. Retries back off, with jitter.
6. If the leader cannot be reached, a node that offers it is asked to pass commands on to it.
7. A client that learns (see ``learning.py``) knows the present members beside the endpoints
   that it was given, and sends nothing that a limit forbids.

The shell feeds ``on_*`` and, after each round, carries out what :meth:`ClientProtocol.take`
hands out: connections to make, requests to send. Calls that ended are in ``completed``. Times
are ms on any clock that never goes backward.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from paxosd.core.client.calls import (
    NO_DEADLINE_MS,
    Call,
    ClientOptions,
    Failure,
    Frame,
    NotSubmitted,
    OutcomeUnknown,
    Question,
    Refused,
)
from paxosd.core.client.cluster_info import ClusterInfo
from paxosd.core.client.endpoints import NO_ANSWER, UNREACHABLE, Endpoints, EndpointState
from paxosd.core.client.frames import FrameTable
from paxosd.core.client.learning import ANSWER_MS, Held, Learning
from paxosd.core.client.queue import CommandQueue
from paxosd.core.commands import MEMBERS, Command, Entry, Result, Status
from paxosd.core.effects import (
    COMPACTED,
    DIVERGED,
    FORBIDDEN,
    INTERRUPTED,
    INVALID,
    NO_LEADER,
    NOT_LEADER,
    STOPPING,
)
from paxosd.core.requests import (
    PASSES_ON,
    AdminAnswer,
    AdminRequest,
    ClientMessage,
    ForwardRequest,
    HistoryAnswer,
    HistoryRequest,
    ReadAnswer,
    ReadRequest,
    RefusalAnswer,
    ServerMessage,
    WriteAnswer,
    WriteRequest,
)
from paxosd.core.status import NodeStatus

FENCED = "fenced"
SESSIONS_FULL = "sessions_full"
MALFORMED = "malformed"

_FINAL = frozenset({INVALID, FORBIDDEN, COMPACTED})
_OTHER_NODE = frozenset({NOT_LEADER, NO_LEADER, INTERRUPTED, STOPPING, DIVERGED})
_ALL_INTS = {int}
_REFUSED_COMMAND = Refused(MALFORMED, "the state machine refused the command", 0)
_ANSWER_OF: dict[type, type] = {
    ReadRequest: ReadAnswer,
    HistoryRequest: HistoryAnswer,
    AdminRequest: AdminAnswer,
}


class Send(NamedTuple):
    """Send this on the connection to ``endpoint``; if it is not taken, say so with
    :meth:`ClientProtocol.on_unsent`."""

    endpoint: str
    message: ClientMessage


class ClientProtocol:
    """One client: one session at a time, any number of calls.

    ``encode_entry``: the wire's; the core knows no encoding. ``rng``: for jitter. ``learns``: it
    asks for members and limits by itself.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        encode_entry: Callable[[Entry], bytes],
        decode_status: Callable[[Mapping[str, Any]], NodeStatus],
        rng: random.Random,
        options: ClientOptions | None = None,
        learns: bool = False,
    ) -> None:
        self.options = options = options or ClientOptions()
        self.endpoints = Endpoints(
            endpoints,
            connect_timeout_ms=options.connect_timeout_ms,
            count_max=options.endpoints_max,
        )
        self._encode_entry = encode_entry
        self._decode_status = decode_status
        self._table = FrameTable(options, rng)
        self._queue = CommandQueue(options, self._table, learns=learns)
        self._learning = Learning(rng) if learns else None

    # -- calls --------------------------------------------------------------------------------

    @property
    def session(self) -> int:
        """The id of the session in use; 0 until one is open."""
        return self._queue.session.id

    @property
    def busy(self) -> bool:
        """Whether any call of the user has not ended."""
        learning = self._learning
        own = int(self._queue.opening is not None)
        if learning is not None:
            if learning.held:
                return True
            own += learning.frame is not None
        return bool(self._queue.waiting) or len(self._table.live) > own

    @property
    def info(self) -> ClusterInfo | None:
        """What was learned of the cluster; None before, and if it does not learn."""
        return self._learning.info if self._learning is not None else None

    @property
    def waited_for(self) -> set[str]:
        """The endpoints of which some answer is waited for."""
        return {frame.endpoint for frame in self._table.live if frame.request_id}

    def take_completed(self) -> list[Call]:
        """Calls that ended since this was last asked, oldest first."""
        completed = self._table.completed
        if completed:
            self._table.completed = []
        return completed

    def submit(self, command: Command, now_ms: int, timeout_ms: int, tag: Any = None) -> Call:
        """A command that belongs to a session: everything but OPEN, FENCE and CHECKSUM."""
        call = Call(command, now_ms + timeout_ms, tag)
        if self._learning is not None and self._learning.is_suspect(command):
            self._hold(call, None, now_ms)
        else:
            self._queue.add(call)
        return call

    def submit_alone(
        self, command: Command, now_ms: int, timeout_ms: int, *, session: int = 0
    ) -> Call:
        """OPEN, FENCE, CHECKSUM, MEMBERS, or the CLOSE of ``session``: doing it twice does no
        harm, so that it is repeated until it is answered. (An OPEN names a number, by which the
        state machine knows that it is the same one.)"""
        frame = self._table.alone(Call(command, now_ms + timeout_ms, None), now_ms)
        frame.entry_session = session
        return frame.calls[0]

    def ask(
        self,
        question: Question,
        now_ms: int,
        timeout_ms: int,
        *,
        endpoint: str = "",
        repeatable: bool = True,
        patience_ms: int | None = None,
    ) -> Call:
        """A read or an admin request; its request_id does not matter.

        ``endpoint``: ask this one only; it is tried until the deadline, over restarts of its node.
        ``patience_ms``: but end once it has been down for so long; 0: also as soon as it does not
        do for any other reason. None: ``unreachable_ms`` of the options.
        ``repeatable``: asking twice does no harm; if not, it is not sent again unless it was
        refused, and ends OutcomeUnknown if no answer comes.
        """
        frame = Frame([Call(question, now_ms + timeout_ms, None)], None, 0)
        frame.pinned = endpoint
        frame.began_ms = now_ms
        frame.patience_ms = self.options.unreachable_ms if patience_ms is None else patience_ms
        frame.repeatable = repeatable
        call = frame.calls[0]
        if self._learning is not None and self._learning.is_suspect(question):
            self._hold(call, frame, now_ms)
        else:
            self._table.add(frame, now_ms)
        return call

    def close(self) -> Send | None:
        """The last words: ends the session, if nothing of it can be asked for any more."""
        target = self.endpoints.find(self.endpoints.target)
        if target is None or target.state is not EndpointState.UP:
            return None
        entry = self._queue.closing_entry()
        if entry is None:
            return None
        return Send(target.name, WriteRequest(self._table.new_id(), self._encode_entry(entry)))

    # -- inputs -------------------------------------------------------------------------------

    def on_connected(self, endpoint: str, now_ms: int) -> None:
        """The connection stands, handshake included."""
        each = self.endpoints.find(endpoint)
        if each is not None:
            each.enter(EndpointState.UP, now_ms)
            each.trouble("", "")
            if self._learning is not None:
                self._learning.connected(now_ms)
                self._table.wake(now_ms)

    def on_disconnected(self, endpoint: str, reason: str, now_ms: int) -> None:
        """The connection was refused or broke; the shell goes on trying to make one."""
        each = self.endpoints.find(endpoint)
        if each is None:
            return
        each.enter(EndpointState.DOWN, now_ms)
        each.trouble(UNREACHABLE, reason)
        self._doubt_members(now_ms)
        self._table.wake_ms = now_ms
        for frame in list(self._table.live):
            if frame.request_id and frame.endpoint == endpoint:
                frame.trouble = NotSubmitted(UNREACHABLE, reason)
                frame.request_id = 0
                if frame.asked_once:
                    self._give_up(frame)
                else:
                    self._table.again(frame, now_ms)

    def on_unsent(self, request_id: int, now_ms: int) -> None:
        """A request that :meth:`take` handed out was not taken by the connection."""
        frame = self._table.by_id.pop(request_id, None)
        if frame is not None:
            frame.open_ids.discard(request_id)
            if frame.request_id == request_id:
                self._table.again(frame, now_ms + self._table.backoff_ms(frame))

    def on_answer(self, message: ServerMessage, now_ms: int) -> None:
        """Any answer; what answers nothing that is waited for is ignored."""
        frame = self._table.by_id.get(message.request_id)
        if frame is None:
            return
        endpoint = self.endpoints.find(frame.endpoint)
        if endpoint is not None and message.request_id == frame.request_id and endpoint.code:
            endpoint.trouble("", "")
        if type(message) is RefusalAnswer:
            self._take_refusal(frame, message, now_ms)
        elif type(message) is not WriteAnswer:
            if type(message) is _ANSWER_OF.get(type(frame.calls[0].request)):
                if self._is_learning(frame):
                    self._learn(frame, message, now_ms)
                    return
                self._table.end(frame.calls[0], message, 0)
                self._table.drop(frame)
        elif isinstance(frame.calls[0].request, list) and len(message.results) == len(frame.calls):
            results = message.results
            if frame.session is not None and set(map(type, results)) == _ALL_INTS:
                slot = message.slot
                completed = self._table.completed
                for call, result in zip(frame.calls, results, strict=True):
                    if not call.done:
                        call.done = True
                        call.slot = slot
                        call.result = result
                        completed.append(call)
                self._table.drop(frame)
            else:
                self._take_results(frame, message, now_ms)

    def on_tick(self, now_ms: int) -> None:
        """Deadlines, time-outs, retries. To be called at :meth:`next_due_ms` at the latest."""
        if now_ms < self._table.wake_ms:
            return
        self._table.wake_ms = NO_DEADLINE_MS
        self._table.wake(self.endpoints.tick(now_ms))
        down_since_ms = self.endpoints.all_down_since()
        patience_ms = self.options.unreachable_ms
        hopeless = False
        if down_since_ms is not None and patience_ms is not None:
            hopeless = now_ms >= down_since_ms + patience_ms
            if not hopeless:
                self._table.wake(down_since_ms + patience_ms)
        self._queue.expire(now_ms, hopeless, self._why(None))
        if self._learning is not None:
            self._tick_learning(self._learning, now_ms, hopeless)
        for frame in list(self._table.live):
            self._tick_frame(frame, now_ms, hopeless)

    def next_due_ms(self) -> int:
        """When to call :meth:`on_tick` at the latest, if nothing else happens before."""
        return self._table.wake_ms

    # -- outputs ------------------------------------------------------------------------------

    def take(self, now_ms: int) -> tuple[list[str], list[Send]]:
        """Endpoints to connect to, and requests to send now."""
        if self._learning is not None:
            self._ask_to_learn(self._learning, now_ms)
        if self._queue.waiting:
            endpoint = self.endpoints.choose(now_ms)
            # Otherwise the longer they wait, the more go into one frame.
            if endpoint is not None and endpoint.state is EndpointState.UP:
                self._queue.pack(now_ms)
        sends: list[Send] = []
        if self._table.unsent:
            waiting, self._table.unsent = self._table.unsent, []
            for frame in waiting:
                self._send(frame, now_ms, sends)
        connects = self.endpoints.connects
        if connects:
            self.endpoints.connects = []
            self._table.wake(now_ms + self.options.connect_timeout_ms)
        return connects, sends

    def _send(self, frame: Frame, now_ms: int, sends: list[Send]) -> None:
        if frame.retry_ms > now_ms:
            self._table.unsent.append(frame)
            self._table.wake(frame.retry_ms)
            return
        endpoint = (
            self.endpoints.get(frame.pinned, now_ms)
            if frame.pinned
            else self.endpoints.choose(now_ms)
        )
        if endpoint is None or endpoint.state is not EndpointState.UP:
            self._table.unsent.append(frame)  # until it is connected, or its deadline
            if frame.pinned and self._is_out_of_patience(frame, now_ms):
                self._give_up(frame)
            return
        leader = endpoint.passes_on_to
        if leader and self.endpoints.can_follow(leader, now_ms):
            endpoint.passes_on_to = leader = ""  # it would say where to go
        request_id = self._table.sent(frame, endpoint.name, now_ms)
        message = self._message(frame, request_id)
        if leader and type(message) is WriteRequest:
            message = ForwardRequest(*message)
        sends.append(Send(endpoint.name, message))

    def _message(self, frame: Frame, request_id: int) -> ClientMessage:
        session = frame.session
        request = frame.calls[0].request
        if session is not None:
            commands: list[Any] = [call.request for call in frame.calls]
            entry = Entry(session.id, frame.first_seq, session.acked, commands)
        elif isinstance(request, list):
            entry = Entry(frame.entry_session, frame.first_seq or 1, 0, [request])
        else:
            return request._replace(request_id=request_id)
        return WriteRequest(request_id, self._encode_entry(entry))

    # -- answers ------------------------------------------------------------------------------

    def _take_results(self, frame: Frame, message: WriteAnswer, now_ms: int) -> None:
        """Results of which some are no plain success."""
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
                self._table.fail(call, _REFUSED_COMMAND)
            else:
                self._table.end(call, result, message.slot)
        self._table.split(frame, again, now_ms + self._table.backoff_ms(frame), alone=True)

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
            frame.trouble = NotSubmitted(SESSIONS_FULL, "every session of the cluster is in use")
            self._table.again(frame, now_ms + self._table.backoff_ms(frame))
        elif status == Status.MALFORMED:
            self._finish(frame, _REFUSED_COMMAND)
        elif frame is not self._queue.opening:
            self._table.end(call, result, message.slot)
            self._table.drop(frame)
        elif isinstance(result, tuple) and type(result[2]) is int and result[2] > 0:
            self._queue.opened(result[2])
            self._table.drop(frame)
        else:
            self._finish(frame, Refused(MALFORMED, "the answer names no session", 0))

    def _take_refusal(self, frame: Frame, message: RefusalAnswer, now_ms: int) -> None:
        request_id, code = message.request_id, message.code
        frame.open_ids.discard(request_id)
        if code == INTERRUPTED:
            frame.doubtful = True
        if request_id != frame.request_id:
            return  # of an earlier sending: another one is on its way
        frame.request_id = 0
        endpoint = self.endpoints.find(frame.endpoint)
        if endpoint is not None:
            endpoint.trouble(code, message.message)
        frame.trouble = NotSubmitted(code, message.message)
        if code in _FINAL:
            self._take_final(frame, message, now_ms)
            return
        if frame.pinned and frame.patience_ms == 0:
            self._give_up(frame)
            return
        if code in _OTHER_NODE and not frame.pinned:
            self._doubt_members(now_ms)
            hint = message.leader_endpoint
            if endpoint is not None:
                endpoint.passes_on_to = ""
            frame.refused_by.add(frame.endpoint)
            if self.endpoints.all_in(frame.refused_by):
                frame.refused_by = {frame.endpoint}  # a new round: who did not lead may lead now
            if (
                hint
                and hint not in frame.refused_by
                and frame.redirects < self.options.redirects_max
                and self.endpoints.follow(hint, now_ms)
            ):
                frame.redirects += 1
                frame.trouble = None
                self._table.again(frame, now_ms)
                return
            if self._passes_on(frame, message, now_ms):
                frame.refused_by.discard(frame.endpoint)
                self._table.again(frame, now_ms)
                return
            self.endpoints.move_on(frame.endpoint)
        frame.redirects = 0
        self._table.again(frame, now_ms + self._table.backoff_ms(frame))

    def _passes_on(self, frame: Frame, message: RefusalAnswer, now_ms: int) -> bool:
        """Whether the leader that is hinted at cannot be reached, and the one that refused offers
        to pass commands on to it. What it refuses then comes without an offer."""
        endpoint = self.endpoints.find(frame.endpoint)
        offered = message.code == NOT_LEADER and message.detail == PASSES_ON
        if not offered or endpoint is None or not isinstance(frame.calls[0].request, list):
            return False
        if self.endpoints.can_follow(message.leader_endpoint, now_ms):
            return False
        endpoint.passes_on_to = message.leader_endpoint
        return True

    def _take_final(self, frame: Frame, message: RefusalAnswer, now_ms: int) -> None:
        live = [index for index, call in enumerate(frame.calls) if not call.done]
        if len(live) > 1:
            # One of them is to blame: each again, in a frame of its own.
            self._table.split(frame, live, now_ms, alone=True)
        elif frame.possibly_submitted and frame.session is not None:
            cause = _cause(message.message)
            words = f"it was sent, and no answer came in time; another try was refused: {cause}"
            self._table.unknown(frame, live[0], words)
            self._table.drop(frame)
        else:
            self._finish(frame, Refused(message.code, message.message, message.detail))

    # -- time ---------------------------------------------------------------------------------

    def _tick_frame(self, frame: Frame, now_ms: int, hopeless: bool) -> None:
        if frame.pinned:
            if self._is_out_of_patience(frame, now_ms):
                self._give_up(frame)
                return
        elif hopeless and not frame.possibly_submitted and frame is not self._queue.opening:
            self._give_up(frame)
            return
        if now_ms >= frame.deadline_ms and not self._expire(frame, now_ms):
            return
        self._table.wake(frame.deadline_ms)
        if not frame.request_id:
            if frame.retry_ms > now_ms:
                self._table.wake(frame.retry_ms)
            return
        if frame.asked_once:
            return  # it may take until its deadline
        due_ms = frame.sent_ms + self._table.attempt_timeout_ms(frame)
        if now_ms < due_ms:
            self._table.wake(due_ms)
            return
        endpoint = self.endpoints.find(frame.endpoint)
        waited_ms = now_ms - frame.sent_ms
        frame.trouble = NotSubmitted(NO_ANSWER, f"no answer within {waited_ms} ms")
        frame.timeouts += 1
        self._doubt_members(now_ms)
        if endpoint is not None:
            endpoint.trouble(NO_ANSWER, frame.trouble.message)
            endpoint.suspect_until_ms = now_ms + self.options.suspect_ms
        self.endpoints.move_on(frame.endpoint)
        self._table.again(frame, now_ms)

    def _is_out_of_patience(self, frame: Frame, now_ms: int) -> bool:
        """Whether the only endpoint that it may go to has been down for too long."""
        endpoint = self.endpoints.find(frame.pinned)
        if frame.patience_ms is None or frame.request_id or endpoint is None:
            return False
        if endpoint.state is not EndpointState.DOWN:
            return False
        due_ms = max(endpoint.since_ms, frame.began_ms) + frame.patience_ms
        if now_ms < due_ms:
            self._table.wake(due_ms)
        return now_ms >= due_ms

    def _expire(self, frame: Frame, now_ms: int) -> bool:
        """End the calls whose time is over; whether the frame itself goes on."""
        live = [i for i, call in enumerate(frame.calls) if not call.done]
        late = [i for i in live if now_ms >= frame.calls[i].deadline_ms]
        if len(late) == len(live):
            self._give_up(frame)
            return False
        left = [i for i in live if now_ms < frame.calls[i].deadline_ms]
        if frame.possibly_submitted:
            for index in late:
                self._table.unknown(frame, index, self._doubt(frame))
            frame.deadline_ms = min([frame.calls[i].deadline_ms for i in left])
            return True
        for index in late:
            self._table.fail(frame.calls[index], self._why(frame))
        self._table.split(frame, left, now_ms, alone=False)
        return False

    # -- learning -----------------------------------------------------------------------------

    def _is_learning(self, frame: Frame) -> bool:
        return self._learning is not None and frame is self._learning.frame

    def _doubt_members(self, now_ms: int) -> None:
        if self._learning is not None:
            self._learning.doubt(now_ms)

    def _hold(self, call: Call, frame: Frame | None, now_ms: int) -> None:
        assert self._learning is not None
        self._learning.hold(call, frame, now_ms)
        self._table.wake(now_ms)

    def _tick_learning(self, learning: Learning, now_ms: int, hopeless: bool) -> None:
        for call in learning.expire(now_ms, hopeless):
            self._table.fail(call, self._why(learning.frame))
        for each in learning.held:
            self._table.wake(each.call.deadline_ms)
        if learning.due_ms is not None and learning.due_ms > now_ms:
            self._table.wake(learning.due_ms)

    def _ask_to_learn(self, learning: Learning, now_ms: int) -> None:
        """Ask, if that is due and somebody can be asked. Held requests make a connection."""
        if learning.frame is not None or learning.due_ms is None or now_ms < learning.due_ms:
            return
        if learning.held:
            endpoint = self.endpoints.choose(now_ms)
        else:
            endpoint = self.endpoints.find(self.endpoints.target)
        if endpoint is not None and endpoint.state is EndpointState.UP:
            call = Call(AdminRequest(0, "status", {}), now_ms + ANSWER_MS, None)
            learning.asking(self._table.alone(call, now_ms))

    def _learn(self, frame: Frame, message: ServerMessage, now_ms: int) -> None:
        assert self._learning is not None
        assert isinstance(message, AdminAnswer)
        self._table.drop(frame)
        info = ClusterInfo.of_status(self._decode_status(message.body))
        for held, words in self._learning.take(info, now_ms):
            self._release(held, words, now_ms)
        assert self._learning.info is not None
        limits = self._learning.info.limits
        self._queue.limit(
            limits.commands_per_request_max, limits.session_window_max, limits.message_bytes_max
        )
        in_use = {each.endpoint for each in self._table.live if each.request_id}
        members = [each.client for each in self._learning.info.members.values()]
        if members:
            self.endpoints.learn(members, in_use)
        self._table.wake(now_ms)

    def _release(self, held: Held, words: str, now_ms: int) -> None:
        if words:
            self._table.fail(held.call, Refused(INVALID, words, 0))
        elif held.frame is not None:
            self._table.add(held.frame, now_ms)
        else:
            self._queue.add(held.call)

    # -- endings ------------------------------------------------------------------------------

    def _give_up(self, frame: Frame) -> None:
        """The time of every call of this frame is over."""
        why = self._why(frame)
        if frame.request_id and not frame.pinned:
            # It was silent all that time: with deadlines shorter than an attempt may take,
            # nothing else would ever lead away from it. A leader that is only slow is hinted at.
            self.endpoints.move_on(frame.endpoint)
        if not frame.possibly_submitted:
            self._finish(frame, why)
        elif frame.session is None:
            self._finish(frame, self._end_alone(frame, why))
        else:
            doubt = self._doubt(frame)
            for index, call in enumerate(frame.calls):
                if not call.done:
                    self._table.unknown(frame, index, doubt)
            self._table.drop(frame)

    def _end_alone(self, frame: Frame, why: NotSubmitted) -> Failure:
        """Of what is of no session and was sent: a question changes nothing, wherever it came to;
        an OPEN of this client's own leaves nothing that anybody would miss. Of everything else the
        truth is told, also where repeating it does no harm."""
        is_command = type(frame.calls[0].request) is list
        if frame is self._queue.opening or (frame.repeatable and not is_command):
            return why
        words = self._doubt(frame)
        if frame.repeatable and not _changes_members(frame.calls[0].request):
            words += "; to do it again does no harm"
        return OutcomeUnknown(0, 0, words)

    def _doubt(self, frame: Frame) -> str:
        """Why the outcome of a frame that was sent is not known. The last trouble may be that of a
        later try, whose own certainty must not be claimed for the one before."""
        why = self._why(frame)
        if why.code == NO_ANSWER:
            return "it was sent, and no answer came in time"
        return f"it was sent, and no answer came in time; then: {_cause(why.message)}"

    def _finish(self, frame: Frame, failure: Failure) -> None:
        """End every call of a frame alike."""
        if self._learning is not None and frame is self._learning.frame:
            self._table.drop(frame)
            self._learning.failed(frame.deadline_ms)
        elif frame is self._queue.opening:
            self._table.drop(frame)
            self._queue.not_opened(failure)
        else:
            self._table.finish(frame, failure)

    def _why(self, frame: Frame | None) -> NotSubmitted:
        """The likeliest reason that something did not happen in time."""
        if self.endpoints.all_down_since() is not None:
            return NotSubmitted(UNREACHABLE, "no endpoint can be reached")
        frame = frame or self._queue.opening
        pinned = self.endpoints.find(frame.pinned) if frame is not None else None
        if pinned is not None and pinned.state is EndpointState.DOWN:
            return NotSubmitted(UNREACHABLE, pinned.message)
        if frame is not None and frame.trouble is not None:
            return frame.trouble
        if frame is not None and frame.request_id:
            return NotSubmitted(NO_ANSWER, "no answer in time")
        return NotSubmitted(NO_ANSWER, "it was not sent in time")


def _cause(message: str) -> str:
    """A daemon's refusal without what it says about the request: earlier versions said so."""
    return message.partition("; nothing was ")[0]


def _changes_members(request: Command | Question) -> bool:
    return type(request) is list and request[0] == MEMBERS


def _status(result: Result) -> int:
    return Status.OK if isinstance(result, int) else result[0]
