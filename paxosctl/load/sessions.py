"""The clients of a load: the session of each, from its opening to its closing.

Opening is no part of what is measured: what is refused as ``busy`` or for want of a leader, or not
answered, is sent again until the time is over. Each OPEN names a number of its own, so that one
which is sent twice opens one session (``paxosd/core/state/sessions.py``).
"""

import random
from collections.abc import Callable, Iterable, Sequence

from paxosctl.client.errors import NotSubmittedError
from paxosctl.load.backoff import Backoff
from paxosctl.load.connections import Connection, ConnectionPool
from paxosd.core.commands import CLOSE, OPEN, OPENED_BY_MIN, Entry, Status
from paxosd.core.effects import BUSY, INTERRUPTED, NO_LEADER, NOT_LEADER
from paxosd.core.requests import RefusalAnswer, ServerMessage, WriteAnswer, WriteRequest
from paxosd.host.clock import clock_ns
from paxosd.wire import WireError, decode_answer, encode_client, encode_entry

POLL_S = 1.0
ASK_AGAIN_S = 3.0
"""A connection that breaks takes requests with it, and only one of those to a node is watched."""
CLOSE_MS = 5000
"""How long to wait at most for the answers to the closing of the sessions."""

_PASSING = frozenset({BUSY, INTERRUPTED, NO_LEADER, NOT_LEADER})
"""The refusals that a while helps against. Of one that was ``interrupted`` it is not known whether
it was carried out; with the same number it is harmless to ask again."""

NewId = Callable[[], int]


class LoadClient:
    """One session. ``free``: how many commands each request may have that it could send now."""

    __slots__ = ("connection", "frames", "free", "id", "is_broken", "next_seq", "reader")

    def __init__(
        self, connection: Connection, reader: Connection, frame_sizes: Sequence[int]
    ) -> None:
        self.connection = connection
        self.reader = reader
        self.free = list(frame_sizes)
        self.id = 0
        self.next_seq = 1
        self.frames: set[int] = set()
        """First seq of each request with puts that is not answered."""
        self.is_broken = False
        """Whether it sends nothing more."""

    @property
    def acked(self) -> int:
        """Every put up to this seq has been answered."""
        return min(self.frames, default=self.next_seq) - 1


class SessionOpener:
    """Opens the sessions of all ``clients`` at ``leader``. ``new_id``: gives request ids; ``rng``:
    for pauses."""

    def __init__(
        self,
        pool: ConnectionPool,
        leader: str,
        clients: Iterable[LoadClient],
        new_id: NewId,
        rng: random.Random,
    ) -> None:
        self._pool, self._leader, self._new_id = pool, leader, new_id
        self._clients = list(clients)
        self._waiting: dict[int, LoadClient] = {}
        # Not from ``rng``: loads of the same seed would share their sessions.
        numbers = random.SystemRandom()
        self._numbers = {
            each: numbers.randrange(OPENED_BY_MIN, 2 * OPENED_BY_MIN) for each in self._clients
        }
        self._refused: Backoff[LoadClient] = Backoff(rng)
        self._refusals = dict.fromkeys(self._clients, 0)
        self._last_refusal: RefusalAnswer | None = None

    def run(self, timeout_ns: int) -> None:
        """Give each client the id of its session. Raises NotSubmittedError."""
        deadline_ns = clock_ns() + timeout_ns
        for client in self._clients:
            self._ask(client)
        again_ns = clock_ns() + int(ASK_AGAIN_S * 1e9)
        while self._waiting or self._refused:
            now_ns = clock_ns()
            for client in self._refused.take(now_ns):
                self._ask(client)
            if now_ns >= again_ns:
                again_ns = now_ns + int(ASK_AGAIN_S * 1e9)
                for request_id, client in self._waiting.items():
                    self._send_open(request_id, client)
            left_ns = min(self._refused.next_ns, again_ns, deadline_ns) - now_ns
            for connection in self._pool.wait(min(POLL_S, max(0.0, left_ns / 1e9))):
                while (frame := connection.receive()) is not None:
                    try:
                        self._take(decode_answer(frame))
                    except WireError as error:
                        words = f"{self._leader} answers something else: {error}"
                        raise NotSubmittedError("undecodable", words) from None
            if self._leader in self._pool.lost:
                words = f"the connection to {self._leader} was lost"
                raise NotSubmittedError("unreachable", words)
            if clock_ns() > deadline_ns:
                self._give_up()

    def _ask(self, client: LoadClient) -> None:
        request_id = self._new_id()
        self._waiting[request_id] = client
        self._send_open(request_id, client)

    def _send_open(self, request_id: int, client: LoadClient) -> None:
        _send(client, request_id, Entry(0, self._numbers[client], 0, [[OPEN]]))

    def _take(self, answer: ServerMessage) -> None:
        if isinstance(answer, RefusalAnswer) and answer.code in _PASSING:
            self._last_refusal = answer
            client = self._waiting.pop(answer.request_id, None)
            if client is not None:
                self._refusals[client] += 1
                self._refused.add(client, self._refusals[client], clock_ns())
            return
        if isinstance(answer, RefusalAnswer):
            raise NotSubmittedError(answer.code, answer.message)
        result = answer.results[0] if isinstance(answer, WriteAnswer) else None
        if not isinstance(result, tuple) or result[0] != Status.OK:
            words = "the leader opened no session; try again"
            raise NotSubmittedError("refused", words)
        client = self._waiting.pop(answer.request_id, None)
        if client is not None:
            client.id = result[2]

    def _give_up(self) -> None:
        """The time is over: raises NotSubmittedError if some have no session."""
        last = self._last_refusal
        if self._refused and last is not None and last.code != BUSY:
            words = (
                f"{self._leader} opened {len(self._clients) - len(self._refused)} of "
                f"{len(self._clients)} sessions, and then: {last.message}"
            )
            raise NotSubmittedError(last.code, words)
        if self._refused:
            words = (
                f"{self._leader} is busy: it refused to open {len(self._refused)} of "
                f"{len(self._clients)} sessions, again and again; try again later, or with fewer"
            )
            raise NotSubmittedError(BUSY, words)
        if self._waiting:
            words = (
                f"{self._leader}: no answer in time to the opening of {len(self._waiting)} of "
                f"{len(self._clients)} sessions; does it take so many connections? "
                "paxosctl status shows how many (clients)"
            )
            raise NotSubmittedError("no_answer", words)


def close_sessions(pool: ConnectionPool, clients: Iterable[LoadClient], new_id: NewId) -> None:
    """Leave no sessions behind in the replicated state, if that takes no long waiting."""
    waiting = set()
    for client in clients:
        if not client.is_broken:
            request_id = new_id()
            waiting.add(request_id)
            _send(client, request_id, Entry(client.id, client.next_seq, client.acked, [[CLOSE]]))
    deadline_ns = clock_ns() + CLOSE_MS * 1_000_000
    while waiting and not pool.lost and clock_ns() < deadline_ns:
        for connection in pool.wait((deadline_ns - clock_ns()) / 1e9):
            while (frame := connection.receive()) is not None:
                try:
                    waiting.discard(decode_answer(frame).request_id)
                except WireError:
                    return


def _send(client: LoadClient, request_id: int, entry: Entry) -> None:
    client.connection.send(encode_client(WriteRequest(request_id, encode_entry(entry)), ""))
