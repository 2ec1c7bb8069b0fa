"""Sends a load from one thread: many clients on many connections.

Each client is a session of its own and keeps a number of requests under way; it sends the next
when one is answered (closed loop), or when it is due and the client is free (open loop).

What is refused as ``busy`` is counted, and sent again after a pause, as an application would do it:
the same request under the same number, whose latency counts from its first time on. Nothing else is
tried again: any other refusal, a broken connection, or silence for the time-out ends the client
that it meets and is counted.
"""

import random
import time
from collections.abc import Callable
from typing import NamedTuple

from paxosctl.client.credentials import Credentials
from paxosctl.client.errors import NotSubmittedError, RefusedError
from paxosctl.load.backoff import Backoff
from paxosctl.load.connections import Connection, ConnectionPool, make_room
from paxosctl.load.keys import key_draw, key_of
from paxosctl.load.load import VERB_GET, VERB_MIXED, VERB_PUT, Load, frames_of, portion
from paxosctl.load.pace import Pace
from paxosctl.load.recorder import ProcessReport, Recorder, Window
from paxosctl.load.sessions import LoadClient, SessionOpener, close_sessions
from paxosctl.load.usage import Usage
from paxosd.core.client.cluster_info import Limits
from paxosd.core.commands import PUT, Entry
from paxosd.core.effects import BUSY, INTERRUPTED, INVALID
from paxosd.core.requests import (
    GET,
    LINEARIZABLE,
    STALE,
    ReadAnswer,
    ReadRequest,
    RefusalAnswer,
    ServerMessage,
    WriteAnswer,
    WriteRequest,
)
from paxosd.host.clock import clock_ns
from paxosd.wire import WireError, decode_answer, encode_client, encode_entry
from paxosd.wire.client import QUERIES_MAX

POLL_S = 1.0
FRAME_BYTES_MAX = 1 << 20
"""Of one request with several puts, as that of a Client: members pass it on in larger messages."""
COMMAND_OVERHEAD_BYTES = 64
"""What a put takes beside its value, at most: a short key, and the encoding."""
RECEIVES_MAX = 256
"""Answers taken from one connection before the others get a turn."""

_INT_ONLY = {int}


class Target(NamedTuple):
    """Where a load goes: puts to the leader, gets to ``readers`` in turn. ``limits``: those of the
    leader. ``members``: the client endpoints of those that the leader hears, by name.
    ``credentials``: of the client that has found them."""

    leader: str
    readers: tuple[str, ...]
    limits: Limits
    members: tuple[tuple[str, str], ...] = ()
    credentials: Credentials | None = None

    @classmethod
    def of(cls, leader: str, limits: Limits | None = None) -> "Target":
        """The node at this endpoint for all of it."""
        return cls(leader, (leader,), limits or Limits())


class _Sent(NamedTuple):
    """A request that waits for its answer. ``size``: how many commands it might have had.
    ``begun_ns``: when it was sent for the first time. ``refusals``: how often it was refused as
    busy; ``refusal``: the words of the last time."""

    client: LoadClient
    connection: Connection
    verb: str
    first_seq: int
    commands: int
    size: int
    due_ns: int
    begun_ns: int
    sent_ns: int
    frame: bytes
    refusals: int = 0
    refusal: str = ""


class Generator:
    """Runs one process's part of a load: ``load`` is that part, ``place`` of ``of``. It makes its
    connections at once. Raises ClientError if it opens no sessions, if the values are larger than
    the leader takes, or there are more connections than this process may have files open."""

    def __init__(
        self, target: Target, load: Load, timeout_ms: int, *, place: int = 0, of: int = 1
    ) -> None:
        self._target, self._load = target, load
        self._place, self._of = place, of
        self._timeout_ns = timeout_ms * 1_000_000
        self._rng = random.Random(f"{load.seed}.{place}" if place else load.seed)
        # One of its own: refusals are not to change what is written.
        self._pauses = random.Random(f"{load.seed}.{place}.pauses")
        self._value = self._rng.randbytes(load.size)
        self._next_key = key_draw(load.distribution, load.keys, self._rng, place=place, of=of)
        self._check_value()
        self._clients: list[LoadClient] = []
        self._idle: dict[LoadClient, None] = {}
        """Those that may have something free, the longest idle first."""
        self._sent: dict[int, _Sent] = {}
        """Request id → what it carries, oldest first."""
        self._refused: Backoff[tuple[int, _Sent]] = Backoff(self._pauses)
        """The same of those that are sent again, under the same id."""
        self._next_id = 1
        make_room(load.connections * (2 if load.writes and self._has_readers else 1))
        self._pool = ConnectionPool(timeout_ms / 1000, target.credentials)
        try:
            self._connect()
        except NotSubmittedError:
            self._pool.close()
            raise
        self._pace = Pace(load, 0)
        self._recorder = Recorder(0, lambda _: None)
        self._last_ns = 0

    def _check_value(self) -> None:
        words = self._target.limits.refusal([PUT, key_of(self._load.keys), self._value])
        if words and self._load.writes:
            raise RefusedError(INVALID, f"{words}: use a smaller --size")

    @property
    def _has_readers(self) -> bool:
        """Whether reads take connections of their own."""
        return self._load.reads and self._target.readers != (self._target.leader,)

    @property
    def _commands_in_a_frame(self) -> int:
        """As many as one request may hold, of which the bytes stay small enough to be passed on."""
        limits, load = self._target.limits, self._load
        bytes_max = min(FRAME_BYTES_MAX, limits.message_bytes_max)
        fit = bytes_max // (load.size + COMMAND_OVERHEAD_BYTES)
        bounds = [fit, limits.commands_per_request_max]
        if load.reads:
            bounds.append(QUERIES_MAX)
        if load.per_frame:
            bounds.append(load.per_frame)
        return max(1, min(bounds))

    def _connect(self) -> None:
        load, readers = self._load, self._target.readers
        frame_max = self._commands_in_a_frame
        window_max = self._target.limits.session_window_max
        writers, others = [], []
        for place in range(load.connections):
            if load.writes or not self._has_readers:
                writers.append(self._pool.open(self._target.leader))
            if self._has_readers:
                others.append(self._pool.open(readers[(self._place + place) % len(readers)]))
        writers, others = writers or others, others or writers
        for place in range(load.sessions):
            share = portion(load.outstanding, place, load.sessions)
            at = place % load.connections
            while share > 0:
                window = min(share, window_max)
                sizes = list(frames_of(window, frame_max))
                self._clients.append(LoadClient(writers[at], others[at], sizes))
                share -= window

    def open(self) -> None:
        """Open the sessions. Raises ClientError; everything is closed then."""
        self._pool.check_owner()
        try:
            if self._load.writes:
                SessionOpener(
                    self._pool, self._target.leader, self._clients, self._new_id, self._pauses
                ).run(self._timeout_ns)
        except NotSubmittedError:
            self._pool.close()
            raise

    def run(self, begin_ns: int, on_window: Callable[[Window], None]) -> ProcessReport:
        """Run the load from ``begin_ns`` on; closes everything at its end. ``on_window`` gets each
        second's record."""
        self._pace = pace = Pace(self._load, begin_ns, place=self._place, of=self._of)
        self._recorder = recorder = Recorder(pace.measured_ns, on_window)
        self._last_ns = pace.measured_ns
        self._idle = dict.fromkeys(self._clients)
        unsent = 0
        used = Usage()
        try:
            time.sleep(max(0, begin_ns - clock_ns()) / 1e9)
            while self._issue() or self._sent or self._refused:
                self._receive()
                if not used.is_marked and clock_ns() >= pace.measured_ns:
                    used.mark()
            unsent = pace.unsent(clock_ns())
            cpu_ns, delayed_ns = used.since_mark()
            if self._load.writes:
                close_sessions(self._pool, self._clients, self._new_id)
        finally:
            self._pool.close()
        ended_ns = self._last_ns
        if self._load.duration_ms and not self._all_broken:
            ended_ns = max(ended_ns, pace.ends_ns)
        recorder.finish(ended_ns)
        return ProcessReport(
            measured_ns=pace.measured_ns,
            ended_ns=ended_ns,
            windows=recorder.windows,
            failed=recorder.failed,
            refused=recorder.refused,
            unknown=recorder.has_unknown,
            first_error=recorder.first_error,
            unsent=unsent,
            cpu_ns=cpu_ns,
            delayed_ns=delayed_ns,
        )

    # -- sending

    def _new_id(self) -> int:
        request_id = self._next_id
        self._next_id += 1
        return request_id

    def _issue(self) -> bool:
        """Send what is due, by the clients that are free; whether there is more to send later."""
        idle, pace = self._idle, self._pace
        while idle:
            now_ns = clock_ns()
            if pace.is_over_at(now_ns):
                break
            due_ns = pace.due_ns(now_ns)
            if due_ns > now_ns and due_ns < pace.ends_ns:
                return True
            client = next(iter(idle))
            if not self._send_next(client, due_ns, now_ns):
                del idle[client]
        # In a closed loop the clients go on with the answers to what they have sent.
        return pace.is_open and not pace.is_over_at(clock_ns()) and not self._all_broken

    @property
    def _all_broken(self) -> bool:
        return all(each.is_broken for each in self._clients)

    def _send_next(self, client: LoadClient, due_ns: int, now_ns: int) -> bool:
        """Whether it could send one; False, too, if all is sent."""
        if not client.free or client.is_broken:
            return False
        size = client.free[0]
        verb = self._load.verb
        if verb == VERB_MIXED:
            verb = VERB_GET if self._rng.random() < self._load.read_ratio else VERB_PUT
        if verb == VERB_PUT:
            # Answers can come in any order: no seq may lie too far above what is acknowledged.
            ahead = client.next_seq - 1 - client.acked
            if ahead + size > self._target.limits.session_window_max:
                return False
        count = self._pace.take(due_ns, size)
        if not count:
            return False
        del client.free[0]
        if verb == VERB_GET:
            self._send_gets(client, count, size, due_ns, now_ns)
        else:
            self._send_puts(client, count, size, due_ns, now_ns)
        return True

    def _send_puts(
        self, client: LoadClient, count: int, size: int, due_ns: int, now_ns: int
    ) -> None:
        next_key, value = self._next_key, self._value
        commands = [[PUT, key_of(next_key()), value] for _ in range(count)]
        first_seq = client.next_seq
        entry = Entry(client.id, first_seq, client.acked, commands)
        client.next_seq += count
        client.frames.add(first_seq)
        request_id = self._new_id()
        frame = encode_client(WriteRequest(request_id, encode_entry(entry)), "")
        client.connection.send(frame)
        self._sent[request_id] = _Sent(
            client, client.connection, VERB_PUT, first_seq, count, size, due_ns, now_ns, now_ns,
            frame,
        )  # fmt: skip

    def _send_gets(
        self, client: LoadClient, count: int, size: int, due_ns: int, now_ns: int
    ) -> None:
        queries = [[GET, key_of(self._next_key())] for _ in range(count)]
        mode = STALE if self._load.stale else LINEARIZABLE
        request_id = self._new_id()
        frame = encode_client(ReadRequest(request_id, mode, queries), "")
        client.reader.send(frame)
        self._sent[request_id] = _Sent(
            client, client.reader, VERB_GET, 0, count, size, due_ns, now_ns, now_ns, frame
        )

    def _send_again(self, now_ns: int) -> None:
        """Send what was refused and has waited, if its client still sends."""
        for request_id, sent in self._refused.take(now_ns):
            if sent.client.is_broken or now_ns - sent.begun_ns > self._timeout_ns:
                self._fail(sent, BUSY, f"{sent.refusal} (sent {sent.refusals} times)")
                continue
            sent.connection.send(sent.frame)
            self._sent[request_id] = sent._replace(sent_ns=now_ns)

    # -- receiving

    def _receive(self) -> None:
        for connection in self._pool.wait(self._wait_s()):
            for _ in range(RECEIVES_MAX):
                frame = connection.receive()
                if frame is None:
                    break
                try:
                    self._take(decode_answer(frame))
                except WireError as error:
                    for sent in self._take_back(connection):
                        self._fail(sent, "undecodable", str(error))
            else:
                self._pool.touched.add(connection)
        for endpoint in list(self._pool.lost):
            self._lost(endpoint)
        now_ns = clock_ns()
        late_ns = now_ns - self._timeout_ns
        for request_id, sent in list(self._oldest(late_ns)):
            del self._sent[request_id]
            self._fail_unknown(sent, "no answer in time")
        self._send_again(now_ns)
        self._recorder.tick(now_ns)

    def _oldest(self, late_ns: int) -> list[tuple[int, _Sent]]:
        """What was sent before ``late_ns``."""
        found = []
        for request_id, sent in self._sent.items():
            if sent.sent_ns >= late_ns:
                break
            found.append((request_id, sent))
        return found

    def _wait_s(self) -> float:
        """How long there may be nothing to do."""
        now_ns = clock_ns()
        next_ns = self._refused.next_ns
        if self._idle and self._pace.is_open and not self._pace.is_over:
            next_ns = min(next_ns, self._pace.due_ns(now_ns))
        return min(POLL_S, max(0.0, (next_ns - now_ns) / 1e9))

    def _take(self, answer: ServerMessage) -> None:
        sent = self._sent.pop(answer.request_id, None)
        if sent is None:
            return
        if isinstance(answer, WriteAnswer):
            if set(map(type, answer.results)) != _INT_ONLY:
                words = "the state machine did not carry out every put"
                self._fail(sent, "refused", words)
                return
            self._done(sent)
        elif isinstance(answer, ReadAnswer):
            self._done(sent)
        elif isinstance(answer, RefusalAnswer) and answer.code == BUSY:
            self._recorder.refuse(BUSY, sent.commands)
            sent = sent._replace(refusals=sent.refusals + 1, refusal=answer.message)
            self._refused.add((answer.request_id, sent), sent.refusals, clock_ns())
        elif isinstance(answer, RefusalAnswer) and answer.code == INTERRUPTED:
            self._fail_unknown(sent, answer.message)
        elif isinstance(answer, RefusalAnswer):
            self._fail(sent, answer.code, answer.message)

    def _done(self, sent: _Sent) -> None:
        now_ns = clock_ns()
        if sent.due_ns >= self._pace.measured_ns:
            self._recorder.record(sent.verb, now_ns, now_ns - sent.due_ns, sent.commands)
            self._last_ns = now_ns
        client = sent.client
        client.frames.discard(sent.first_seq)
        client.free.append(sent.size)
        self._idle[client] = None
        if not self._pace.is_open:
            self._issue()

    def _take_back(self, connection: Connection) -> list[_Sent]:
        """Count what was sent on a connection as failed: it is not waited for any longer."""
        found = [i for i, sent in self._sent.items() if sent.connection is connection]
        return [self._sent.pop(request_id) for request_id in found]

    def _lost(self, endpoint: str) -> None:
        """A node is gone: nothing that is under way to it will be answered, and what is sent later
        would wait for its return."""
        self._pool.lost.discard(endpoint)
        for client in self._clients:
            used = [client.connection] * self._load.writes + [client.reader] * self._load.reads
            client.is_broken |= any(each.endpoint == endpoint for each in used)
        found = [i for i, sent in self._sent.items() if sent.connection.endpoint == endpoint]
        who = "the leader" if endpoint == self._target.leader else endpoint
        words = f"the connection to {who} was lost"
        for request_id in found:
            self._fail_unknown(self._sent.pop(request_id), words)
        if not found and not self._pace.is_over:
            # Nothing is lost with it; but the load ends, or goes on with fewer clients.
            self._recorder.fail("unreachable", words, 0, is_unknown=False)

    def _fail_unknown(self, sent: _Sent, words: str) -> None:
        """Of a get it is known that it did nothing."""
        if sent.verb == VERB_GET:
            self._fail(sent, "no_answer", words)
        else:
            words = f"{words}; the outcome is unknown"
            self._fail(sent, "outcome_unknown", words, is_unknown=True)

    def _fail(self, sent: _Sent, code: str, words: str, *, is_unknown: bool = False) -> None:
        """The client sends no more; what else it has under way is waited for."""
        self._recorder.fail(code, words, sent.commands, is_unknown=is_unknown)
        sent.client.frames.discard(sent.first_seq)
        sent.client.is_broken = True
