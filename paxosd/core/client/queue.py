"""Commands that wait for their sequence numbers, and the session that gives them.

    submit ─► waiting ─► pack: a run of them becomes a frame (session, first_seq …)
              no session: OPEN first        a retired or lost session: a new one

At most ``frames_max`` frames of the session are under way. Commands that come meanwhile wait and
are packed together, so that frames become larger when the cluster is slower than the client.
"""

from collections import deque

from paxosd.core.client.calls import (
    NO_DEADLINE_MS,
    Call,
    ClientOptions,
    Failure,
    Frame,
    Session,
)
from paxosd.core.client.cluster_info import weight
from paxosd.core.client.frames import FrameTable
from paxosd.core.client.learning import UNCHECKED_BYTES_MAX
from paxosd.core.commands import CLOSE, OPEN, PUT, TXN, Entry

FRAME_ROOM_BYTES = 512
"""An upper bound of what a frame has besides its commands."""
COMMAND_ROOM_BYTES = 48
"""An upper bound of what a command has besides keys and values."""


class CommandQueue:
    """``session``: the one that new commands get; its id is 0 until ``opening``, the frame that
    asks for one, is answered."""

    def __init__(self, options: ClientOptions, table: FrameTable, *, learns: bool = False) -> None:
        self.session = Session()
        self.opening: Frame | None = None
        self.waiting: deque[Call] = deque()
        self._options = options
        self._commands_max = options.frame_commands_max
        self._bytes_max = options.frame_bytes_max
        if learns:
            self._bytes_max = min(self._bytes_max, UNCHECKED_BYTES_MAX - FRAME_ROOM_BYTES)
        self._window_max = options.window_max
        self._table = table

    def add(self, call: Call) -> None:
        """Add a command of a session, to be packed."""
        self.waiting.append(call)
        self._table.wake(call.deadline_ms)

    def limit(self, commands_max: int, window_max: int, message_bytes_max: int) -> None:
        """Apply what the cluster allows in one request and in one session."""
        self._bytes_max = min(self._options.frame_bytes_max, message_bytes_max - FRAME_ROOM_BYTES)
        self._commands_max = min(self._options.frame_commands_max, commands_max)
        self._window_max = min(self._options.window_max, window_max)

    def pack(self, now_ms: int) -> None:
        """Make frames of the waiting commands, as many as may be under way."""
        session = self.session
        if session.retired:
            session = self.session = Session()
        if session.id == 0:
            if self.opening is None:
                name = self._options.name
                command = [OPEN, name] if name else [OPEN]
                self.opening = self._table.alone(Call(command, NO_DEADLINE_MS, None), now_ms)
            return
        options = self._options
        while self.waiting and len(session.frames) < options.frames_max:
            room = session.acked + self._window_max - (session.next_seq - 1)
            calls = self._next_calls(min(room, self._commands_max))
            if not calls:
                break
            frame = Frame(calls, session, session.next_seq)
            session.next_seq += len(calls)
            self._table.add(frame, now_ms)

    def _next_calls(self, count_max: int) -> list[Call]:
        """Waiting calls for one frame; a call larger than a frame travels alone."""
        waiting = self.waiting
        left_bytes = self._bytes_max
        calls: list[Call] = []
        while waiting and len(calls) < count_max:
            command = waiting[0].request
            assert type(command) is list
            left_bytes -= COMMAND_ROOM_BYTES
            if command[0] == PUT:
                left_bytes -= len(command[1]) + len(command[2])
            elif command[0] == TXN:
                left_bytes -= weight(command)
            else:
                left_bytes -= sum([len(part) for part in command if type(part) is bytes])
            if left_bytes < 0 and calls:
                break
            calls.append(waiting.popleft())
        return calls

    def opened(self, session_id: int) -> None:
        """The opening was answered; its frame has ended."""
        self.opening = None
        self.session.id = session_id

    def leave_name_out(self, now_ms: int) -> bool:
        """The opening was refused for good. If it gives a name, ask again without one: clusters
        below feature level 3, and nodes of earlier versions, refuse it. It names the same number,
        so that of two that are carried out one session comes."""
        opening = self.opening
        if opening is None or opening.calls[0].request == [OPEN]:
            return False
        opening.calls[0].request = [OPEN]
        if opening not in self._table.unsent:
            self._table.again(opening, now_ms)
        return True

    def not_opened(self, failure: Failure) -> None:
        """No session could be opened: the waiting commands end."""
        self.opening = None
        waiting, self.waiting = self.waiting, deque()
        for call in waiting:
            self._table.fail(call, failure)

    def lost(self, session: Session) -> None:
        """The session does not exist any more."""
        if session is self.session:
            self.session = Session()

    def requeue(self, frame: Frame, index: int) -> None:
        """Give a command that was certainly not applied a new session and a new seq."""
        call = frame.calls[index]
        self.waiting.append(call)
        self._table.wake(call.deadline_ms)
        frame.calls[index] = Call(call.request, NO_DEADLINE_MS, None)
        frame.calls[index].done = True

    def expire(self, now_ms: int, hopeless: bool, why: Failure) -> None:
        """End the commands whose deadline has passed, or all if ``hopeless``."""
        if not self.waiting:
            return
        left: deque[Call] = deque()
        for call in self.waiting:
            if hopeless or now_ms >= call.deadline_ms:
                self._table.fail(call, why)
            else:
                left.append(call)
                self._table.wake(call.deadline_ms)
        self.waiting = left

    def closing_entry(self) -> Entry | None:
        """An entry that closes the session; None if there is none, or it may yet be asked about."""
        session = self.session
        if session.id == 0 or session.retired or session.frames:
            return None
        self.session = Session()
        return Entry(session.id, session.next_seq, session.acked, [[CLOSE]])
