"""What a client keeps about its requests: calls, the frames that carry them, the session.

A *call* is one command or question of the user and ends exactly once. A *frame* is what travels:
a run of calls with consecutive sequence numbers of one session, or a single other call. A frame
may be sent several times, always with the same numbers; each sending has a request id.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from paxosd.core.commands import Command
from paxosd.core.requests import AdminRequest, HistoryRequest, ReadRequest

Question = ReadRequest | HistoryRequest | AdminRequest
"""A request other than a write; its request_id is filled in when it is sent."""

NO_DEADLINE_MS = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """Bounds and times of a client; times in ms.

    ``window_max`` must not exceed the daemons' session window (8192).
    ``unreachable_ms``: when every endpoint has been down for this long, what was not submitted
    ends; None: it waits for its own deadline.
    """

    frame_commands_max: int = 256
    frame_bytes_max: int = 1 << 20
    """Counted with what the encoding adds."""
    frames_max: int = 8
    window_max: int = 4096
    attempt_timeout_ms: int = 1000
    attempt_timeout_max_ms: int = 8000
    connect_timeout_ms: int = 500
    backoff_min_ms: int = 20
    backoff_max_ms: int = 500
    suspect_ms: int = 1000
    redirects_max: int = 3
    endpoints_max: int = 32
    unreachable_ms: int | None = None


class NotSubmitted(NamedTuple):
    """It did not happen and never will: safe to try again.

    ``code``: UNREACHABLE, NO_ANSWER (a question, or one that was never sent in time), a refusal
    code, "fenced", or "sessions_full"."""

    code: str
    message: str


class OutcomeUnknown(NamedTuple):
    """It may or may not have happened, or may still. The outcome of (session, seq) can be asked;
    session 0: it was no command, so nobody can tell."""

    session: int
    seq: int
    message: str


class Refused(NamedTuple):
    """A daemon said no, and will say so again. ``code`` and ``detail`` as in RefusalAnswer;
    "malformed": the state machine refused the command."""

    code: str
    message: str
    detail: int


Failure = NotSubmitted | OutcomeUnknown | Refused


class Call:
    """One command or question. Once ``done``, either ``failure`` is set or ``result`` holds the
    command's Result or the answer to the question.

    ``slot``: of the log, for a command that has a result. ``tag`` is the user's own.
    """

    __slots__ = ("deadline_ms", "done", "failure", "request", "result", "slot", "tag")

    def __init__(self, request: Command | Question, deadline_ms: int, tag: Any) -> None:
        self.request = request
        self.deadline_ms = deadline_ms
        self.tag = tag
        self.done = False
        self.failure: Failure | None = None
        self.result: Any = None
        self.slot = 0


class Session:
    """Sequence numbers of one session. ``id`` 0: not opened yet.

    Once the outcome of one of its commands is unknown the session is *retired*: no new commands,
    and its acknowledgements stop below that command, so that its outcome can be asked.
    """

    __slots__ = ("acked_max", "frames", "id", "next_seq", "retired")

    def __init__(self) -> None:
        self.id = 0
        self.next_seq = 1
        self.frames: dict[Frame, None] = {}
        self.retired = False
        self.acked_max = NO_DEADLINE_MS

    @property
    def acked(self) -> int:
        """Every seq up to this has ended and will never be asked for again."""
        live = min([frame.first_seq for frame in self.frames], default=self.next_seq)
        return min(live - 1, self.acked_max)

    def retire(self, seq: int) -> None:
        """The outcome of ``seq`` is unknown."""
        self.retired = True
        self.acked_max = min(self.acked_max, seq - 1)


class Frame:
    """Calls that travel together. Of a session if ``session`` is set; else one single call:
    a command of session 0 (its request is a list), or a question.

    ``pinned``: the only endpoint that it may go to; "": any. ``patience_ms``: so long that one may
    be down, from ``began_ms`` on, before the frame ends; None: until the deadline.
    ``open_ids``: sendings of which it is not known for sure that nothing came of them.
    ``doubtful``: a daemon said that it may have been submitted.
    """

    __slots__ = (
        "began_ms",
        "calls",
        "deadline_ms",
        "doubtful",
        "endpoint",
        "entry_session",
        "first_seq",
        "ids",
        "open_ids",
        "patience_ms",
        "pinned",
        "redirects",
        "refusals",
        "refused_by",
        "repeatable",
        "request_id",
        "retry_ms",
        "sent_ms",
        "session",
        "timeouts",
        "trouble",
    )

    def __init__(self, calls: list[Call], session: Session | None, first_seq: int) -> None:
        self.calls = calls
        self.session = session
        self.first_seq = first_seq
        self.deadline_ms = min([call.deadline_ms for call in calls])
        self.ids: list[int] = []
        self.open_ids: set[int] = set()
        self.doubtful = False
        self.endpoint = ""
        self.entry_session = 0  # named in the entry of a command that travels alone
        self.pinned = ""
        self.patience_ms: int | None = None
        self.began_ms = 0
        self.repeatable = True
        self.request_id = 0  # of the sending that is waited for; 0: waiting to be sent
        self.retry_ms = 0
        self.sent_ms = 0
        self.refusals = 0
        self.refused_by: set[str] = set()
        """Who said in this round that it does not lead: no hint leads back there, or two nodes of
        the past that point at each other would keep it for ever."""
        self.redirects = 0
        self.timeouts = 0
        self.trouble: NotSubmitted | None = None

    @property
    def possibly_submitted(self) -> bool:
        """Whether a command in it may have been, or may yet be, carried out."""
        return self.doubtful or bool(self.open_ids)

    @property
    def asked_once(self) -> bool:
        """Whether it must not be sent again where the first sending may have arrived."""
        return not self.repeatable or (bool(self.pinned) and self.patience_ms == 0)

    def part(self, first: int, end: int) -> "Frame":
        """A frame of ``calls[first:end]`` with the same numbers and the same doubts."""
        frame = Frame(self.calls[first:end], self.session, self.first_seq + first)
        frame.doubtful = self.possibly_submitted
        frame.refusals = self.refusals
        frame.trouble = self.trouble
        return frame
