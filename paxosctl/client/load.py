"""A load generator: many connections, each keeping a number of puts under way, in one thread.

It measures the cluster, not the client: each connection is a bare DEALER to the leader with a
session of its own, sends its share of the outstanding puts as one frame, and the next frame when
that one is answered. A share that is more than one request, or one session, may hold is split over
several. It does not retry: a refusal, a broken connection, or silence for the time-out ends the
session that it meets and is counted.
"""

import contextlib
import errno
import random
from dataclasses import dataclass
from typing import NamedTuple

import zmq

from paxosctl.client.client import Client
from paxosctl.client.errors import (
    ClientError,
    NotSubmittedError,
    OutcomeUnknownError,
    RefusedError,
    for_the_leader,
)
from paxosctl.client.reach import numeric
from paxosctl.client.transport import Socket, Transport
from paxosd.core.client.cluster_info import ClusterInfo, Limits
from paxosd.core.commands import CLOSE, OPEN, PUT, Entry, Status
from paxosd.core.effects import INTERRUPTED, INVALID
from paxosd.core.requests import RefusalAnswer, ServerMessage, WriteAnswer, WriteRequest
from paxosd.host.clock import clock_ns
from paxosd.wire import WireError, decode_answer, encode_client, encode_entry
from paxosd.wire.status import decode_status

TIMEOUT_MS = 30_000
POLL_MS = 1000
CLOSE_MS = 1000
"""How long to wait for the answers to the closing of the sessions."""
FRAME_BYTES_MAX = 1 << 20
"""Of one request with several puts, as that of a Client: members pass it on in larger messages."""
COMMAND_OVERHEAD_BYTES = 64
"""What a put takes beside its value, at most: a short key, and the encoding."""

_INT_ONLY = {int}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """``count`` puts in all, ``outstanding`` of them under way at a time over all connections,
    of ``size`` bytes each, on ``keys`` different keys."""

    count: int
    outstanding: int
    connections: int
    size: int
    keys: int
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """``latencies_ns`` of the puts that were acknowledged, ascending. ``failed``: of the rest,
    by the code of the failure."""

    load: Load
    elapsed_ns: int
    latencies_ns: list[int]
    failed: dict[str, int]
    unknown: bool
    """Whether the outcome of some of them is unknown."""
    first_error: ClientError | None

    @property
    def puts_per_s(self) -> float:
        """Acknowledged puts in a second."""
        return len(self.latencies_ns) / (self.elapsed_ns / 1e9)

    def quantile_ms(self, share: float) -> float:
        """The latency that this share of the puts stayed within; 0 if there are none."""
        latencies = self.latencies_ns
        if not latencies:
            return 0.0
        return latencies[min(len(latencies) - 1, int(len(latencies) * share))] / 1e6


class _Session:
    """One session on a connection. ``window``: how many puts it keeps under way."""

    __slots__ = ("frames", "id", "is_broken", "next_seq", "socket", "under_way", "window")

    def __init__(self, socket: Socket, window: int) -> None:
        self.socket = socket
        self.window = window
        self.id = 0
        self.next_seq = 1
        self.frames: set[int] = set()
        """First seq of each frame that is not answered."""
        self.under_way = 0
        self.is_broken = False
        """Whether it sends nothing more."""

    @property
    def acked(self) -> int:
        """Every put up to this seq has been answered."""
        return min(self.frames, default=self.next_seq) - 1


class _Sent(NamedTuple):
    """A frame that waits for its answer."""

    session: _Session
    first_seq: int
    puts: int
    sent_ns: int


def find_leader(client: Client) -> str:
    """The leader's endpoint, once a write has shown that there is one. Raises ClientError."""
    client.put(b"bench/warm-up", b"")
    leader = decode_status(client.status()).leader_client
    if not leader:
        raise NotSubmittedError("no_leader", "no leader is known; try again")
    return leader


def limits_at(client: Client, leader: str) -> Limits:
    """The limits of the leader. Raises ClientError."""
    with for_the_leader(leader, "a load goes straight to it"):
        return ClusterInfo.of_status(decode_status(client.status(leader))).limits


class LoadRun:
    """Runs one load against the node at ``leader``, within its ``limits``. Raises ClientError if it
    opens no sessions, if the values are larger than it takes, or there are more connections than
    this process may have files open."""

    def __init__(
        self, leader: str, load: Load, timeout_ms: int, limits: Limits | None = None
    ) -> None:
        self._load = load
        self._limits = limits = limits or Limits()
        self._timeout_ns = timeout_ms * 1_000_000
        self._rng = random.Random(load.seed)
        self._value = self._rng.randbytes(load.size)
        self._check_value()
        self._frame_max = self._commands_in_a_frame()
        self._leader = leader
        self._timeout_s = timeout_ms / 1000
        self._transport = Transport()
        self._poller = zmq.Poller()
        self._sessions: list[_Session] = []
        self._sent: dict[int, _Sent] = {}
        """Request id → the frame that it carries, oldest first."""
        self._next_id = 1
        try:
            self._connect()
        except zmq.ZMQError as error:
            self._transport.close()
            if error.errno != errno.EMFILE:
                raise
            words = "too many open files: use fewer --connections, or raise ulimit -n"
            raise NotSubmittedError("too_many_files", words) from None
        self._left = load.count
        self._latencies: list[int] = []
        self._failed: dict[str, int] = {}
        self._has_unknown = False
        self._first_error: ClientError | None = None

    def _check_value(self) -> None:
        words = self._limits.refusal([PUT, b"bench/", self._value])
        if words:
            raise RefusedError(INVALID, f"{words}: use a smaller --size")

    def _commands_in_a_frame(self) -> int:
        """As many as one request may hold, of which the bytes stay small enough to be passed on."""
        command_bytes = self._load.size + COMMAND_OVERHEAD_BYTES
        bytes_max = min(FRAME_BYTES_MAX, self._limits.message_bytes_max)
        return max(1, min(self._limits.commands_per_request_max, bytes_max // command_bytes))

    def _connect(self) -> None:
        try:
            address = numeric(self._leader, self._timeout_s)
        except OSError as error:
            self._transport.close()
            raise NotSubmittedError("unreachable", f"{self._leader}: {error}") from None
        base, more = divmod(self._load.outstanding, self._load.connections)
        for place in range(self._load.connections):
            socket = self._transport.socket(zmq.DEALER)
            if place == 0:
                # The others lead to the same node: what breaks this connection breaks them.
                self._monitor: Socket = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
                self._poller.register(self._monitor, zmq.POLLIN)
            socket.setsockopt(zmq.IPV6, int("[" in address))
            socket.connect(address)
            self._poller.register(socket, zmq.POLLIN)
            share = base + (place < more)
            while share > 0:
                window = min(share, self._limits.session_window_max)
                self._sessions.append(_Session(socket, window))
                share -= window

    def run(self) -> LoadReport:
        """Open the sessions, then run the load; closes everything at its end."""
        self._transport.owner.check()
        try:
            self._open_sessions()
            began_ns = clock_ns()
            for session in self._sessions:
                self._fill(session)
            while self._sent:
                self._receive()
            elapsed_ns = clock_ns() - began_ns
            self._close_sessions()
        finally:
            self._transport.close()
        self._latencies.sort()
        return LoadReport(
            load=self._load,
            elapsed_ns=max(1, elapsed_ns),
            latencies_ns=self._latencies,
            failed=self._failed,
            unknown=self._has_unknown,
            first_error=self._first_error,
        )

    def _request(self, socket: Socket, entry: Entry) -> int:
        request_id = self._next_id
        self._next_id += 1
        socket.send(encode_client(WriteRequest(request_id, encode_entry(entry)), ""))
        return request_id

    def _open_sessions(self) -> None:
        opening = Entry(0, 1, 0, [[OPEN]])
        waiting = {self._request(each.socket, opening): each for each in self._sessions}
        deadline_ns = clock_ns() + self._timeout_ns
        while waiting:
            for socket, _ in self._poller.poll(POLL_MS):
                if socket is self._monitor:
                    words = f"the connection to {self._leader} was lost"
                    raise NotSubmittedError("unreachable", words)
                answer = decode_answer(socket.recv())
                if isinstance(answer, RefusalAnswer):
                    raise NotSubmittedError(answer.code, answer.message)
                result = answer.results[0] if isinstance(answer, WriteAnswer) else None
                if not isinstance(result, tuple) or result[0] != Status.OK:
                    raise NotSubmittedError("refused", "the leader opened no session; try again")
                session = waiting.pop(answer.request_id, None)
                if session is not None:
                    session.id = result[2]
            if clock_ns() > deadline_ns:
                raise NotSubmittedError("no_answer", f"{self._leader}: no answer in time")

    def _close_sessions(self) -> None:
        """Leave no sessions behind in the replicated state, if that takes no long waiting."""
        waiting = {
            self._request(each.socket, Entry(each.id, each.next_seq, each.acked, [[CLOSE]]))
            for each in self._sessions
            if not each.is_broken
        }
        deadline_ns = clock_ns() + CLOSE_MS * 1_000_000
        while waiting and clock_ns() < deadline_ns:
            ready = [socket for socket, _ in self._poller.poll(CLOSE_MS)]
            if not ready or self._monitor in ready:
                return
            for socket in ready:
                with contextlib.suppress(WireError):
                    waiting.discard(decode_answer(socket.recv()).request_id)

    def _fill(self, session: _Session) -> None:
        """The next frames of a session, or none if all puts are given out."""
        while not session.is_broken:
            # Answers can come in any order: no seq may lie too far above what is acknowledged.
            ahead = session.next_seq - 1 - session.acked
            room = min(session.window - session.under_way, self._limits.session_window_max - ahead)
            count = min(self._frame_max, room, self._left)
            if count <= 0:
                return
            self._send(session, count)

    def _send(self, session: _Session, count: int) -> None:
        self._left -= count
        below, draw, value = self._load.keys, self._rng.random, self._value
        commands = [[PUT, b"bench/%d" % int(draw() * below), value] for _ in range(count)]
        first_seq = session.next_seq
        entry = Entry(session.id, first_seq, session.acked, commands)
        session.next_seq += count
        session.under_way += count
        session.frames.add(first_seq)
        sent_ns = clock_ns()
        request_id = self._request(session.socket, entry)
        self._sent[request_id] = _Sent(session, first_seq, count, sent_ns)

    def _receive(self) -> None:
        for socket, _ in self._poller.poll(POLL_MS):
            if socket is self._monitor:
                self._lost()
                continue
            try:
                self._take(decode_answer(socket.recv()))
            except WireError as error:
                for sent in self._take_back(socket):
                    self._fail(sent, NotSubmittedError("undecodable", str(error)))
        late_ns = clock_ns() - self._timeout_ns
        for request_id, sent in list(self._sent.items()):
            if sent.sent_ns >= late_ns:
                break
            del self._sent[request_id]
            self._fail(sent, self._unknown(sent, "no answer in time"))

    def _take(self, answer: ServerMessage) -> None:
        sent = self._sent.pop(answer.request_id, None)
        if sent is None:
            return
        if isinstance(answer, WriteAnswer):
            if set(map(type, answer.results)) != _INT_ONLY:
                words = "the state machine did not carry out every put"
                self._fail(sent, RefusedError("refused", words))
                return
            self._latencies.extend([clock_ns() - sent.sent_ns] * sent.puts)
            self._end(sent)
            self._fill(sent.session)
        elif isinstance(answer, RefusalAnswer) and answer.code == INTERRUPTED:
            self._fail(sent, self._unknown(sent, answer.message))
        elif isinstance(answer, RefusalAnswer):
            self._fail(sent, NotSubmittedError(answer.code, answer.message))

    def _take_back(self, socket: Socket) -> list[_Sent]:
        """Count what was sent on a connection as failed: it is not waited for any longer."""
        found = [i for i, sent in self._sent.items() if sent.session.socket is socket]
        return [self._sent.pop(request_id) for request_id in found]

    def _lost(self) -> None:
        """The leader is gone: nothing that is under way will be answered."""
        with contextlib.suppress(zmq.Again):
            while True:
                self._monitor.recv_multipart(zmq.NOBLOCK)
        sent, self._sent = list(self._sent.values()), {}
        for each in sent:
            self._fail(each, self._unknown(each, "the connection to the leader was lost"))

    @staticmethod
    def _unknown(sent: _Sent, words: str) -> OutcomeUnknownError:
        words = f"{words}; the outcome is unknown"
        return OutcomeUnknownError(sent.session.id, sent.first_seq, words)

    @staticmethod
    def _end(sent: _Sent) -> None:
        sent.session.under_way -= sent.puts
        sent.session.frames.discard(sent.first_seq)

    def _fail(self, sent: _Sent, error: ClientError) -> None:
        """The session sends no more; what else it has under way is waited for."""
        self._has_unknown |= isinstance(error, OutcomeUnknownError)
        self._failed[error.code] = self._failed.get(error.code, 0) + sent.puts
        self._first_error = self._first_error or error
        self._end(sent)
        sent.session.is_broken = True
