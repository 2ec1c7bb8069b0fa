"""What a client knows about its requests: calls, the frames that carry them, the session.

A *call* is one command or question of the user and ends exactly once. A *frame* is what travels:
a run of calls with consecutive sequence numbers of one session, or a single other call. A frame
may be sent several times, always with the same numbers; each sending has a request id.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from paxosd.core.commands import Command
from paxosd.core.requests import AdminRequest, HistoryRequest, ReadRequest

Question = ReadRequest | HistoryRequest | AdminRequest
"""A request other than a write; its request_id is set when it is sent."""

NO_DEADLINE_MS = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """Bounds and times of a client.

    ``window_max`` must not exceed the daemons' session window (8192).
    ``name``: the client's, which it gives when it opens a session (``core/client_name.py``).
    ``unreachable_ms``: once every endpoint has been down for so long, calls that were not submitted
    end; None: they wait for their own deadlines.
    ``scout_ms``: a target silent for so long is suspected (``scout.py``).
    ``leaderless_backoff_max_ms``: the longest pause after a node that does not lead: the next
    leader may be elected any moment.
    ``first_request_id``: the others count on from it.
    ``read_from``: "leader", or "nearest" (``read_spread.py``).
    """

    frame_commands_max: int = 256
    frame_bytes_max: int = 1 << 20
    """Includes what the encoding adds."""
    frames_max: int = 8
    window_max: int = 4096
    attempt_timeout_ms: int = 1000
    attempt_timeout_max_ms: int = 8000
    connect_timeout_ms: int = 500
    backoff_min_ms: int = 20
    backoff_max_ms: int = 500
    leaderless_backoff_max_ms: int = 160
    scout_ms: int = 200
    suspect_ms: int = 1000
    redirects_max: int = 3
    endpoints_max: int = 32
    unreachable_ms: int | None = None
    name: str = ""
    first_request_id: int = 1
    read_from: str = "leader"


class NotSubmitted(NamedTuple):
    """It had no effect and never will: it is safe to try again.

    ``code``: UNREACHABLE, NO_ANSWER (a question, or one that was never sent in time), a refusal
    code, "fenced", or "sessions_full". ``read_ids``: of a linearizable read that was sent, the
    request ids of its last sendings, by which the nodes recorded what became of each."""

    code: str
    message: str
    read_ids: tuple[int, ...] = ()


class OutcomeUnknown(NamedTuple):
    """It may have had its effect, or may still have it. The outcome of (session, seq) can be
    asked for; not with session 0, for then it was no command of a session."""

    session: int
    seq: int
    message: str


class Refused(NamedTuple):
    """A daemon refused it, and would refuse it again. ``code`` and ``detail`` as in RefusalAnswer;
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


class Write(NamedTuple):
    """How a call is carried out: a command of the client's session."""

    command: Command


class Alone(NamedTuple):
    """OPEN, FENCE, CHECKSUM, MEMBERS or CLUSTER, or the CLOSE of ``session``. Carrying it out twice
    does no harm, so it is repeated until it is answered. (An OPEN names a number, by which the
    state machine recognizes a repetition.)"""

    command: Command
    session: int = 0


class Ask(NamedTuple):
    """A read or an admin request; its request_id does not matter.

    ``endpoint``: ask only this one, until the deadline, also after restarts of its node.
    ``patience_ms``: end once that endpoint has been down for so long; 0: end at the first
    failure of any kind; None: ``unreachable_ms`` of the options.
    ``repeatable``: asking twice does no harm. If it is False, the request is sent again only
    after a refusal, and ends OutcomeUnknown if no answer comes.
    """

    question: Question
    endpoint: str = ""
    repeatable: bool = True
    patience_ms: int | None = None


Request = Write | Alone | Ask


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
        """Every seq up to this has ended, and its reply will never be asked for again."""
        live = min([frame.first_seq for frame in self.frames], default=self.next_seq)
        return min(live - 1, self.acked_max)

    def retire(self, seq: int) -> None:
        """The outcome of ``seq`` is unknown."""
        self.retired = True
        self.acked_max = min(self.acked_max, seq - 1)


class Frame:
    """Calls that travel together. Of a session if ``session`` is set; else one single call:
    a command of session 0 (its request is a list), or a question.

    ``pinned``: the only endpoint that it may go to; "": any. ``patience_ms``: how long that one may
    be down, from ``began_ms`` on, before the frame ends; None: until the deadline.
    ``open_ids``: the sendings that may have had, or may yet have, an effect.
    ``doubtful``: a daemon said that it may have been submitted.
    ``is_spread``: its last sending went to the nearest node, not to the target.
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
        "is_spread",
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

    def __init__(
        self,
        calls: list[Call],
        session: Session | None,
        first_seq: int,
        *,
        entry_session: int = 0,
        pinned: str = "",
        began_ms: int = 0,
        patience_ms: int | None = None,
        repeatable: bool = True,
    ) -> None:
        self.calls = calls
        self.session = session
        self.first_seq = first_seq
        self.deadline_ms = min([call.deadline_ms for call in calls])
        self.ids: list[int] = []
        self.open_ids: set[int] = set()
        self.doubtful = False
        self.endpoint = ""
        self.is_spread = False
        self.entry_session = entry_session  # named in the entry of a command that travels alone
        self.pinned = pinned
        self.patience_ms = patience_ms
        self.began_ms = began_ms
        self.repeatable = repeatable
        self.request_id = 0  # of the sending that is waited for; 0: waiting to be sent
        self.retry_ms = 0
        self.sent_ms = 0
        self.refusals = 0
        self.refused_by: set[str] = set()
        """The endpoints that said in this round that they do not lead. No hint leads back there:
        otherwise two nodes that name each other as leader would be asked in turn for ever."""
        self.redirects = 0
        self.timeouts = 0
        self.trouble: NotSubmitted | None = None

    @property
    def possibly_submitted(self) -> bool:
        """Whether a command in it may have been, or may yet be, carried out."""
        return self.doubtful or bool(self.open_ids)

    @property
    def asked_once(self) -> bool:
        """Whether it must not be sent again once a sending may have arrived."""
        return not self.repeatable or (bool(self.pinned) and self.patience_ms == 0)

    def part(self, first: int, end: int) -> "Frame":
        """A frame of ``calls[first:end]`` with the same numbers and the same doubts."""
        frame = Frame(self.calls[first:end], self.session, self.first_seq + first)
        frame.doubtful = self.possibly_submitted
        frame.refusals = self.refusals
        frame.trouble = self.trouble
        return frame
