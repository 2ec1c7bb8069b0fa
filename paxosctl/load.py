"""A load generator: many connections, each keeping a number of puts under way, in one thread."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from paxosctl.connection import Connection
from paxosctl.errors import ClientError, error_of
from paxosctl.transport import Transport, clock_ms, clock_ns
from paxosd.core.client_calls import Call, ClientOptions
from paxosd.core.commands import PUT

TIMEOUT_MS = 30_000
POLL_MS = 100


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
    """One connection and its share of the load."""

    def __init__(self, connection: Connection, window: int) -> None:
        self.connection = connection
        self.protocol = connection.protocol
        self.window = window
        self.under_way = 0
        self.due_ms = 0


class LoadRun:
    """Runs one load. Raises ClientError if the cluster cannot be written to at the start."""

    def __init__(self, endpoints: Sequence[str], load: Load, timeout_ms: int) -> None:
        self._load = load
        self._rng = random.Random(load.seed)
        self._value = self._rng.randbytes(load.size)
        self._transport = Transport()
        self._timeout_ms = timeout_ms
        options = ClientOptions(unreachable_ms=1000)
        base, more = divmod(load.outstanding, load.connections)
        self._workers = [
            _Worker(Connection(self._transport, endpoints, options), base + (place < more))
            for place in range(load.connections)
        ]
        self._left = load.count
        self._latencies: list[int] = []
        self._failed: dict[str, int] = {}
        self._first_error: ClientError | None = None

    def run(self) -> LoadReport:
        """Open the sessions, then run the load; closes everything at its end."""
        try:
            self._warm_up()
            began_ns = clock_ns()
            self._drive()
            elapsed_ns = clock_ns() - began_ns
        finally:
            for worker in self._workers:
                worker.connection.close()
            self._transport.close()
        self._latencies.sort()
        return LoadReport(
            load=self._load,
            elapsed_ns=max(1, elapsed_ns),
            latencies_ns=self._latencies,
            failed=self._failed,
            first_error=self._first_error,
        )

    def _warm_up(self) -> None:
        """One put on each connection: sessions open, leader known."""
        calls = [
            worker.protocol.submit([PUT, b"bench/warm-up", b""], clock_ms(), self._timeout_ms)
            for worker in self._workers
        ]
        while not all(call.done for call in calls):
            due_ms = min([worker.connection.turn() for worker in self._workers])
            self._transport.poll(max(1, min(due_ms - clock_ms(), POLL_MS)))
        for call, worker in zip(calls, self._workers, strict=True):
            worker.protocol.take_completed()
            if call.failure is not None:
                raise error_of(call.failure, worker.protocol.endpoints.troubles())

    def _drive(self) -> None:
        workers = self._workers
        poll = self._transport.poll
        while True:
            busy = False
            now_ms = clock_ms()
            wake_ms = now_ms + POLL_MS
            for worker in workers:
                completed = worker.protocol.take_completed()
                if completed:
                    self._count(worker, completed)
                room = worker.window - worker.under_way
                if room > 0 and self._left > 0:
                    self._submit(worker, min(room, self._left))
                elif not completed and now_ms < worker.due_ms:
                    busy = busy or worker.under_way > 0
                    wake_ms = min(wake_ms, worker.due_ms)
                    continue
                worker.due_ms = worker.connection.turn()
                wake_ms = min(wake_ms, worker.due_ms)
                busy = busy or worker.under_way > 0
            if not busy:
                return
            poll(max(1, wake_ms - now_ms))

    def _submit(self, worker: _Worker, count: int) -> None:
        now_ns = clock_ns()
        now_ms = now_ns // 1_000_000
        below = self._load.keys
        draw = self._rng.random
        submit = worker.protocol.submit
        value = self._value
        timeout_ms = self._timeout_ms
        for _ in range(count):
            submit([PUT, b"bench/%d" % int(draw() * below), value], now_ms, timeout_ms, now_ns)
        worker.under_way += count
        self._left -= count

    def _count(self, worker: _Worker, completed: list[Call]) -> None:
        now_ns = clock_ns()
        worker.under_way -= len(completed)
        latencies = self._latencies
        for call in completed:
            failure = call.failure
            if failure is None:
                latencies.append(now_ns - call.tag)
            else:
                error = error_of(failure, worker.protocol.endpoints.troubles())
                self._first_error = self._first_error or error
                self._failed[error.code] = self._failed.get(error.code, 0) + 1
