"""A load generator: many connections, each keeping a number of puts under way, in one thread.

It measures the cluster, not the client: each connection is a bare DEALER to the leader with a
session of its own, sends its share of the outstanding puts as one frame, and the next frame when
that one is answered. It does not retry: a refusal, a broken connection, or silence for the
time-out ends its connection and is counted.
"""

import contextlib
import errno
import random
from dataclasses import dataclass

import zmq

from paxosctl.client import Client
from paxosctl.errors import ClientError, NotSubmittedError, OutcomeUnknownError, RefusedError
from paxosctl.reach import numeric
from paxosctl.transport import Socket, Transport, clock_ns
from paxosd.core.commands import CLOSE, OPEN, PUT, Entry, Status
from paxosd.core.effects import INTERRUPTED
from paxosd.core.requests import RefusalAnswer, WriteAnswer, WriteRequest
from paxosd.wire import WireError, decode_answer, encode_client, encode_entry

TIMEOUT_MS = 30_000
POLL_MS = 1000
CLOSE_MS = 1000
"""So long the answers to the sessions' closing are waited for."""

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


class _Worker:
    """One connection: a socket, a session, and the frame under way."""

    __slots__ = ("acked", "broken", "count", "sent_ns", "seq", "session", "socket", "window")

    def __init__(self, socket: Socket, window: int) -> None:
        self.socket = socket
        self.window = window
        self.session = 0
        self.seq = 1
        self.acked = 0
        self.count = 0
        """Puts in the frame under way; 0: none is."""
        self.sent_ns = 0
        self.broken = False


def find_leader(client: Client) -> str:
    """The leader's endpoint, once a write has shown that there is one. Raises ClientError."""
    client.put(b"bench/warm-up", b"")
    leader = str(client.status()["leader_endpoint"])
    if not leader:
        raise NotSubmittedError("no_leader", "no leader is known; try again")
    return leader


class LoadRun:
    """Runs one load against the node at ``leader``. Raises ClientError if it opens no sessions,
    or there are more connections than this process may have files open."""

    def __init__(self, leader: str, load: Load, timeout_ms: int) -> None:
        self._load = load
        self._timeout_ns = timeout_ms * 1_000_000
        self._rng = random.Random(load.seed)
        self._value = self._rng.randbytes(load.size)
        self._leader = leader
        self._timeout_s = timeout_ms / 1000
        self._transport = Transport()
        self._poller = zmq.Poller()
        self._workers: dict[Socket, _Worker] = {}
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
        self._first_error: ClientError | None = None

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
            self._workers[socket] = _Worker(socket, base + (place < more))

    def run(self) -> LoadReport:
        """Open the sessions, then run the load; closes everything at its end."""
        try:
            self._open_sessions()
            began_ns = clock_ns()
            for worker in self._workers.values():
                self._send(worker)
            while any(worker.count for worker in self._workers.values()):
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
            first_error=self._first_error,
        )

    def _open_sessions(self) -> None:
        entry = encode_entry(Entry(0, 1, 0, [[OPEN]]))
        for worker in self._workers.values():
            worker.socket.send(encode_client(WriteRequest(0, entry), ""))
        waiting = set(self._workers)
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
                self._workers[socket].session = result[2]
                waiting.discard(socket)
            if clock_ns() > deadline_ns:
                raise NotSubmittedError("no_answer", f"{self._leader}: no answer in time")

    def _close_sessions(self) -> None:
        """Leave no sessions behind in the replicated state, if that takes no long waiting."""
        waiting = set()
        for socket, worker in self._workers.items():
            if not worker.broken:
                entry = encode_entry(Entry(worker.session, worker.seq, worker.acked, [[CLOSE]]))
                socket.send(encode_client(WriteRequest(worker.seq, entry), ""))
                waiting.add(socket)
        deadline_ns = clock_ns() + CLOSE_MS * 1_000_000
        while waiting and clock_ns() < deadline_ns:
            ready = [socket for socket, _ in self._poller.poll(CLOSE_MS)]
            if not ready or self._monitor in ready:
                return
            for socket in ready:
                socket.recv()
                waiting.discard(socket)

    def _send(self, worker: _Worker) -> None:
        """The next frame of a connection, or none if all puts are given out."""
        count = min(worker.window, self._left)
        worker.count = count
        if not count:
            return
        self._left -= count
        below, draw, value = self._load.keys, self._rng.random, self._value
        commands = [[PUT, b"bench/%d" % int(draw() * below), value] for _ in range(count)]
        entry = encode_entry(Entry(worker.session, worker.seq, worker.acked, commands))
        worker.sent_ns = clock_ns()
        worker.socket.send(encode_client(WriteRequest(worker.seq, entry), ""))

    def _receive(self) -> None:
        for socket, _ in self._poller.poll(POLL_MS):
            worker = self._workers.get(socket)
            if worker is None:
                self._lost()
                continue
            try:
                answer = decode_answer(socket.recv())
            except WireError as error:
                self._end(worker, NotSubmittedError("undecodable", str(error)))
                continue
            if isinstance(answer, WriteAnswer) and answer.request_id == worker.seq:
                if set(map(type, answer.results)) != _INT_ONLY:
                    words = "the state machine did not carry out every put"
                    self._end(worker, RefusedError("refused", words))
                    continue
                took_ns = clock_ns() - worker.sent_ns
                self._latencies.extend([took_ns] * worker.count)
                worker.seq += worker.count
                worker.acked = worker.seq - 1
                self._send(worker)
            elif isinstance(answer, RefusalAnswer) and answer.code == INTERRUPTED:
                self._end(worker, self._unknown(worker, answer.message))
            elif isinstance(answer, RefusalAnswer):
                self._end(worker, NotSubmittedError(answer.code, answer.message))
        late_ns = clock_ns() - self._timeout_ns
        for worker in self._workers.values():
            if worker.count and worker.sent_ns < late_ns:
                self._end(worker, self._unknown(worker, "no answer in time"))

    def _lost(self) -> None:
        """The leader is gone: whatever is under way will not be answered."""
        with contextlib.suppress(zmq.Again):
            while True:
                self._monitor.recv_multipart(zmq.NOBLOCK)
        for worker in self._workers.values():
            if worker.count:
                self._end(worker, self._unknown(worker, "the connection to the leader was lost"))

    @staticmethod
    def _unknown(worker: _Worker, words: str) -> OutcomeUnknownError:
        words = f"{words}; the outcome is unknown"
        return OutcomeUnknownError(worker.session, worker.seq, words)

    def _end(self, worker: _Worker, error: ClientError) -> None:
        """The connection sends no more; what it had under way counts as failed."""
        self._failed[error.code] = self._failed.get(error.code, 0) + worker.count
        self._first_error = self._first_error or error
        worker.count = 0
        worker.broken = True
