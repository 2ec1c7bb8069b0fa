"""The client's half of the protocol, sans-IO: every call ends once, and its end is true.

    submit(command) ─► waiting ─► packed into a frame (session, first_seq …) ─► WriteRequest
    ask(question)   ────────────► a frame of its own                         ─► ReadRequest, …
        WriteAnswer   → results           RefusalAnswer → another endpoint, or later, or the end
        no answer, a broken connection    → the next endpoint, with the same session and seqs
        the deadline                      → NotSubmitted or OutcomeUnknown

The rules:

1. A command gets its (session, seq) when it is packed, and keeps it however often it is sent.
   Only a command that was certainly never submitted gets another.
2. A request that was handed to a connection counts as submitted until an answer to that very
   request says otherwise. Answers to earlier sendings count as well.
3. A call ends NotSubmitted only if it is certain that no sending of it had an effect; otherwise it
   ends OutcomeUnknown, and its session takes no new commands (``endings.py``).
4. Commands that wait at the same time are concurrent: they may take effect in any order.
5. After a refusal, a broken connection or silence the next endpoint is tried. A hint to the leader
   is followed, unless that one was silent just now. Retries back off, with jitter
   (``answers.py``, ``endpoints.py``).
6. If the leader cannot be reached, a node that offers it is asked to pass commands on to it.
7. While a target is silent, one frame is sent to another endpoint as well (``scout.py``).
8. A client that learns (see ``learning.py``) knows the present members beside the endpoints
   that it was given, and sends nothing that a limit forbids.

The shell calls ``on_*`` and, after each round, carries out what :meth:`ClientProtocol.take`
returns: connections to make, requests to send. :meth:`ClientProtocol.take_completed` returns the
calls that ended. Times are ms on any clock that never goes backward.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from paxosd.core.client.answers import Answers
from paxosd.core.client.calls import (
    NO_DEADLINE_MS,
    Alone,
    Ask,
    Call,
    ClientOptions,
    Frame,
    NotSubmitted,
    Question,
    Refused,
    Request,
    Write,
)
from paxosd.core.client.cluster_info import ClusterInfo
from paxosd.core.client.endings import Endings, patience_with
from paxosd.core.client.endpoints import NO_ANSWER, UNREACHABLE, Endpoints, EndpointState
from paxosd.core.client.frames import FrameTable
from paxosd.core.client.learning import ANSWER_MS, Held, Learning
from paxosd.core.client.queue import CommandQueue
from paxosd.core.client.read_spread import ReadSpread
from paxosd.core.client.scout import Scout
from paxosd.core.commands import Command, Entry
from paxosd.core.effects import INVALID
from paxosd.core.requests import (
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

_ALL_INTS = {int}
_ANSWER_OF: dict[type, type] = {
    ReadRequest: ReadAnswer,
    HistoryRequest: HistoryAnswer,
    AdminRequest: AdminAnswer,
}


class Send(NamedTuple):
    """Send this on the connection to ``endpoint``; if the connection does not take it, call
    :meth:`ClientProtocol.on_unsent`."""

    endpoint: str
    message: ClientMessage


class ClientProtocol:
    """One client: one session at a time, any number of calls.

    ``encode_entry``: from ``paxosd.wire``, for the core knows no encoding. ``rng``: for jitter.
    ``learns``: whether it asks for members and limits by itself.
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
        self.reads = ReadSpread(self.endpoints, rng, options.read_from)
        self._scout = Scout(options, self._table, self.endpoints, rng, self._message)
        self._endings = Endings(self._table, self._queue, self.endpoints, self._learning)
        self._answers = Answers(
            options,
            self._table,
            self._queue,
            self.endpoints,
            self._endings,
            self._doubt_members,
        )

    # -- calls --------------------------------------------------------------------------------

    @property
    def session(self) -> int:
        """The id of the session in use; 0 until one is open."""
        return self._queue.session.id

    @property
    def busy(self) -> bool:
        """Whether some call of the user has not ended."""
        learning = self._learning
        own = int(self._queue.opening is not None)
        if learning is not None:
            if learning.held:
                return True
            own += learning.frame is not None
        return bool(self._queue.waiting) or len(self._table.live) > own

    @property
    def info(self) -> ClusterInfo | None:
        """What was learned of the cluster; None before that, or if the client does not learn."""
        return self._learning.info if self._learning is not None else None

    @property
    def waited_for(self) -> set[str]:
        """The endpoints that have yet to answer something."""
        return {frame.endpoint for frame in self._table.live if frame.request_id}

    def take_completed(self) -> list[Call]:
        """The calls that have ended since the last call of this, oldest first."""
        completed = self._table.completed
        if completed:
            self._table.completed = []
        return completed

    def begin(self, call: Call, how: Request, now_ms: int) -> None:
        """Take in a new call, whose request is that of ``how``."""
        suspect = self._learning is not None and self._learning.is_suspect(call.request)
        if type(how) is Write:
            if suspect:
                self._hold(call, None, now_ms)
            else:
                self._queue.add(call)
        elif type(how) is Alone:
            self._table.alone(call, now_ms, how.session)
        else:
            assert type(how) is Ask
            patience_ms = how.patience_ms
            frame = Frame(
                [call],
                None,
                0,
                pinned=how.endpoint,
                began_ms=now_ms,
                patience_ms=self.options.unreachable_ms if patience_ms is None else patience_ms,
                repeatable=how.repeatable,
            )
            if suspect:
                self._hold(call, frame, now_ms)
            else:
                self._table.add(frame, now_ms)

    def submit(self, command: Command, now_ms: int, timeout_ms: int, tag: Any = None) -> Call:
        """Begin a command of a session: see :class:`~paxosd.core.client.calls.Write`."""
        call = Call(command, now_ms + timeout_ms, tag)
        self.begin(call, Write(command), now_ms)
        return call

    def submit_alone(
        self, command: Command, now_ms: int, timeout_ms: int, *, session: int = 0
    ) -> Call:
        """Begin a command of no session: see :class:`~paxosd.core.client.calls.Alone`."""
        call = Call(command, now_ms + timeout_ms, None)
        self.begin(call, Alone(command, session), now_ms)
        return call

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
        """Begin a question: see :class:`~paxosd.core.client.calls.Ask`."""
        call = Call(question, now_ms + timeout_ms, None)
        self.begin(call, Ask(question, endpoint, repeatable, patience_ms), now_ms)
        return call

    def cancel(self, call: Call, code: str, words: str) -> None:
        """End a call that nobody waits for any more, truly: NotSubmitted with this code and these
        words if it certainly had no effect, else OutcomeUnknown."""
        learning = self._learning
        if call.done:
            return
        if learning is not None and learning.release(call):
            self._table.fail(call, NotSubmitted(code, words))
        else:
            self._endings.cancel(call, NotSubmitted(code, words))

    def abandon(self, code: str, words: str) -> None:
        """End every call of the user's, each as :meth:`cancel` would."""
        held = self._learning.held if self._learning is not None else []
        calls = [each.call for each in held] + list(self._queue.waiting)
        calls += [call for frame in self._table.live for call in frame.calls]
        for call in calls:
            self.cancel(call, code, words)

    def close(self) -> Send | None:
        """A last message that closes the session, if nothing of it may be asked for any more."""
        target = self.endpoints.find(self.endpoints.target)
        if target is None or target.state is not EndpointState.UP:
            return None
        entry = self._queue.closing_entry()
        if entry is None:
            return None
        return Send(target.name, WriteRequest(self._table.new_id(), self._encode_entry(entry)))

    # -- inputs -------------------------------------------------------------------------------

    def on_connected(self, endpoint: str, now_ms: int) -> None:
        """A connection was made, handshake included."""
        each = self.endpoints.find(endpoint)
        if each is not None:
            each.enter(EndpointState.UP, now_ms)
            each.trouble("", "")
            self._scout.connected(endpoint, now_ms)
            if self._learning is not None:
                self._learning.connected(now_ms)
                self._table.wake(now_ms)

    def on_disconnected(
        self, endpoint: str, reason: str, now_ms: int, code: str = UNREACHABLE
    ) -> None:
        """It was refused or broke, with what ``code``; the shell goes on trying to connect."""
        each = self.endpoints.find(endpoint)
        if each is None:
            return
        each.enter(EndpointState.DOWN, now_ms)
        each.trouble(code, reason)
        self._doubt_members(now_ms)
        self._table.wake_ms = now_ms
        for frame in list(self._table.live):
            if frame.request_id and frame.endpoint == endpoint:
                frame.trouble = NotSubmitted(code, reason)
                frame.request_id = 0
                if frame.asked_once:
                    self._endings.give_up(frame)
                else:
                    self._table.again(frame, now_ms)

    def on_unsent(self, request_id: int, now_ms: int) -> None:
        """The connection did not take a request that :meth:`take` returned."""
        frame = self._table.by_id.pop(request_id, None)
        if frame is not None:
            frame.open_ids.discard(request_id)
            if frame.request_id == request_id:
                self._table.again(frame, now_ms + self._table.backoff_ms(frame))

    def on_answer(self, message: ServerMessage, now_ms: int) -> None:
        """An answer arrived. One to a request that has ended is ignored."""
        frame = self._table.by_id.get(message.request_id)
        if frame is None:
            return
        self._scout.heard(frame, message, now_ms)
        self.reads.heard(frame, message, now_ms)
        endpoint = self.endpoints.find(frame.endpoint)
        if endpoint is not None and message.request_id == frame.request_id and endpoint.code:
            endpoint.trouble("", "")
        if type(message) is RefusalAnswer:
            self._answers.take_refusal(frame, message, now_ms)
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
                self._answers.take_results(frame, message, now_ms)

    def on_tick(self, now_ms: int) -> None:
        """Deadlines, time-outs, retries. To be called at :meth:`next_due_ms` at the latest."""
        if now_ms < self._table.wake_ms:
            return
        self._table.wake_ms = NO_DEADLINE_MS
        self._table.wake(self.endpoints.tick(now_ms))
        down_since_ms = self.endpoints.all_down_since()
        patience_ms = patience_with(self.options.unreachable_ms, self.endpoints.refused_handshake())
        hopeless = False
        if down_since_ms is not None and patience_ms is not None:
            hopeless = now_ms >= down_since_ms + patience_ms
            if not hopeless:
                self._table.wake(down_since_ms + patience_ms)
        self._queue.expire(now_ms, hopeless, self._endings.why(None))
        if self._learning is not None:
            self._tick_learning(self._learning, now_ms, hopeless)
        for frame in list(self._table.live):
            self._tick_frame(frame, now_ms, hopeless)
        self._scout.tick(now_ms)

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
            # If it is not connected yet, they wait, and more of them go into one frame.
            if endpoint is not None and endpoint.state is EndpointState.UP:
                self._queue.pack(now_ms)
        sends: list[Send] = []
        if self._table.unsent:
            waiting, self._table.unsent = self._table.unsent, []
            for frame in waiting:
                self._send(frame, now_ms, sends)
        sends += [Send(*each) for each in self._scout.sends]
        self._scout.sends.clear()
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
        endpoint = self.reads.endpoint_for(frame, now_ms)
        if endpoint is None or endpoint.state is not EndpointState.UP:
            self._table.unsent.append(frame)  # until it is connected, or its deadline
            if frame.pinned and self._endings.is_out_of_patience(frame, now_ms):
                self._endings.give_up(frame)
            return
        leader = endpoint.passes_on_to
        if leader and self.endpoints.can_follow(leader, now_ms):
            endpoint.passes_on_to = leader = ""  # ask in the usual way: the refusal gives the hint
        request_id = self._table.sent(frame, endpoint.name, now_ms)
        self._scout.sent(now_ms)
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

    # -- time ---------------------------------------------------------------------------------

    def _tick_frame(self, frame: Frame, now_ms: int, hopeless: bool) -> None:
        if frame.pinned:
            if self._endings.is_out_of_patience(frame, now_ms):
                self._endings.give_up(frame)
                return
        elif hopeless and not frame.possibly_submitted and frame is not self._queue.opening:
            self._endings.give_up(frame)
            return
        if now_ms >= frame.deadline_ms and not self._endings.expire(frame, now_ms):
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
            self._table.fail(call, self._endings.why(learning.frame))
        for each in learning.held:
            self._table.wake(each.call.deadline_ms)
        if learning.due_ms is not None and learning.due_ms > now_ms:
            self._table.wake(learning.due_ms)

    def _ask_to_learn(self, learning: Learning, now_ms: int) -> None:
        """Ask for a status, if it is due and an endpoint is connected. For held requests a
        connection is made."""
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
