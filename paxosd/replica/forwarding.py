"""Writes that a node passes on to the leader, for clients that cannot reach it themselves.

    client ── ForwardRequest ──► this node ── WriteRequest ──► the leader     (as its client)
                                      or VouchedRequest, where the client has a key
    client ◄── answer ────────── this node ◄── answer ───────── the leader

- One hop: what is passed on is an ordinary write, which a node that does not lead refuses.
- Once is once: the entry travels as it is, with the client's session and sequence numbers.
- What was handed to the connection and not answered may have been submitted: if the connection
  breaks, or another node leads, its client gets INTERRUPTED, never that nothing was submitted.
- What could not be handed over within CONNECT_WAIT_MS is refused, with certainty.
- Bounded: so many bytes at a time; more is refused as BUSY. The connection is one of its own, so
  that bulk does not stand in the way of consensus.

Pure: the bus brings the connection, the caller the time.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from paxosd.core.effects import BUSY, INTERRUPTED, NOT_LEADER, REFUSALS
from paxosd.core.requests import RefusalAnswer, ServerMessage, VouchedRequest, WriteRequest

WAITING_BYTES_MAX = 64 << 20
"""The bytes of entries that were passed on and are not answered."""
WAITING_MAX = 4096
"""The number of those entries."""
CONNECT_WAIT_MS = 1_500.0
WAIT_MAX_MS = 60_000.0
"""A leader answers, or its connection breaks: only a fault can keep one waiting longer."""
IDLE_MS = 30_000.0
"""A connection that nobody used for so long is closed."""
ANSWERS_PER_TURN_MAX = 1024

_LOST = "this node had passed it on to the leader, and the connection to it was lost"


class Link(Protocol):
    """One connection to a node's client socket, as the bus has it. Nothing here blocks."""

    def aim(self, endpoint: str, node: str = "") -> None:
        """Connect there, to ``node``, and nowhere else; "": to nobody. What was under way is given
        up."""
        ...

    def send(self, message: WriteRequest | VouchedRequest) -> bool:
        """False: there is no connection, or its queue is full."""
        ...

    def receive(self, limit: int) -> list[ServerMessage]:
        """The answers that have come, at most so many."""
        ...

    def take_lost(self) -> bool:
        """Whether the connection broke since the last call."""
        ...


class _HeldWrite(NamedTuple):
    """A write that waits for the connection."""

    client: bytes
    request_id: int
    entry: bytes
    leader: str
    since_ms: float
    key: bytes


class _PassedWrite(NamedTuple):
    """A write that was passed on: the request to answer. ``size``: of the entry, in bytes."""

    client: bytes
    request_id: int
    size: int
    since_ms: float


class Forwarding:
    """The writes that one node passes on. ``answer`` reaches this node's own clients."""

    def __init__(self, link: Link, answer: Callable[[bytes, ServerMessage], bool]) -> None:
        self._link = link
        self._answer = answer
        self.endpoint = ""
        """Where it is passed on to; "": nowhere, and no turn is needed."""
        self._leader = ""
        """The node that is there."""
        self._used_ms = 0.0
        self._now_ms = 0.0
        self._last_id = 0
        self._held: deque[_HeldWrite] = deque()
        self._waiting: dict[int, _PassedWrite] = {}
        self.waiting_bytes = 0
        self.passed_on = 0
        """How many so far."""

    def begin_turn(self, now_ms: float) -> None:
        """The time of this turn; to be called at its beginning."""
        self._now_ms = now_ms

    def pass_on(
        self,
        client: bytes,
        request_id: int,
        entry: bytes,
        leader: str,
        to: str,
        key: bytes = b"",
    ) -> None:
        """Hand a write to ``leader``, whose client endpoint is ``to``; refuse it if that cannot be
        done. ``key``: the client's, for which this node vouches; b"": none."""
        self._aim(to, leader)
        self._used_ms = self._now_ms
        size = len(entry)
        count = len(self._waiting) + len(self._held)
        if count and (self.waiting_bytes + size > WAITING_BYTES_MAX or count >= WAITING_MAX):
            words = f"this node waits for the leader's answers to {self.waiting_bytes} bytes"
            self._answer(client, RefusalAnswer(request_id, BUSY, words, leader, "", 0))
            return
        self.waiting_bytes += size
        self._held.append(_HeldWrite(client, request_id, entry, leader, self._now_ms, key))
        self._hand_over()

    def _hand_over(self) -> None:
        """Hand over the writes that wait for the connection, in order."""
        held = self._held
        while held:
            first = held[0]
            number, entry, key = self._last_id + 1, first.entry, first.key
            if not self._link.send(
                VouchedRequest(number, entry, key) if key else WriteRequest(number, entry)
            ):
                break
            held.popleft()
            self._last_id += 1
            waiting = _PassedWrite(first.client, first.request_id, len(first.entry), self._now_ms)
            self._waiting[self._last_id] = waiting
            self.passed_on += 1
        while held and self._now_ms - held[0].since_ms >= CONNECT_WAIT_MS:
            self._refuse_held()

    def _refuse_held(self) -> None:
        """Refuse the first that waits for the connection; without an offer to pass it on, which
        would fail again."""
        first = self._held.popleft()
        self.waiting_bytes -= len(first.entry)
        words = f"another node leads, and this one has no connection to it ({self.endpoint})"
        refusal = (first.request_id, NOT_LEADER, words, first.leader, self.endpoint, 0)
        self._answer(first.client, RefusalAnswer(*refusal))

    def turn(self, leader_endpoint: str) -> None:
        """Hand out what was answered; once a turn while there is an :attr:`endpoint`.
        ``leader_endpoint``: where the leader's clients reach it now, "": there is none, or it is
        this node."""
        now_ms = self._now_ms
        for message in self._link.receive(ANSWERS_PER_TURN_MAX):
            self._take(message)
        if self._link.take_lost():
            self._interrupt()
            # What is left of it might take one more, in vain.
            self._link.aim(self.endpoint, self._leader)
        if leader_endpoint != self.endpoint:
            self._aim("", "")  # until something is to be passed on
            return
        self._hand_over()
        for number, waiting in list(self._waiting.items()):
            if now_ms - waiting.since_ms < WAIT_MAX_MS:
                break  # the oldest first
            self._give_up(number)
        if not self.waiting_bytes and not self._waiting and now_ms - self._used_ms >= IDLE_MS:
            self._aim("", "")

    def _aim(self, endpoint: str, leader: str) -> None:
        if endpoint != self.endpoint:
            self._interrupt()
            while self._held:
                self._refuse_held()
            self.endpoint, self._leader = endpoint, leader
            self._link.aim(endpoint, leader)

    def _take(self, message: ServerMessage) -> None:
        waiting = self._waiting.pop(message.request_id, None)
        if waiting is not None:
            self.waiting_bytes -= waiting.size
            if type(message) is RefusalAnswer and message.code == NOT_LEADER:
                # The other node does not lead any more, and offers to pass writes on itself. That
                # is not an offer of this node: its client would ask it again at once, as long as
                # this node takes the other one for the leader.
                message = message._replace(detail=0)
            self._answer(waiting.client, message._replace(request_id=waiting.request_id))

    def _interrupt(self) -> None:
        for number in list(self._waiting):
            self._give_up(number)

    def _give_up(self, number: int) -> None:
        waiting = self._waiting.pop(number)
        self.waiting_bytes -= waiting.size
        words = f"{REFUSALS[INTERRUPTED]}: {_LOST}"
        refusal = RefusalAnswer(waiting.request_id, INTERRUPTED, words, "", "", 0)
        self._answer(waiting.client, refusal)
