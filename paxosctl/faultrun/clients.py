"""The clients of ``paxosctl fault run``: threads that do the work of ``paxosd/check/workload.py``.

Each client is a thread with a :class:`paxosctl.client.client.Client` of its own, and one operation
under way at a time. The outcome of a write that ended without an answer is asked for when all is
over: the outcome query answers "done" or "never".
"""

import random
import threading
import time
from collections.abc import Sequence

from paxosctl.client.client import Client
from paxosctl.client.errors import ClientError
from paxosctl.faultrun.plan import Workload
from paxosd.check.exactly_once import FinalRow
from paxosd.check.history import CAS, History, Operation
from paxosd.check.workload import CAS_REVISION, Mix, Request, WorkloadClient, record_result
from paxosd.core.client.calls import OutcomeUnknown
from paxosd.core.commands import prefix_end

SETTLE_S = 30.0


class Workers:
    """All clients of a run, and the history of what they saw."""

    def __init__(
        self, endpoints: Sequence[str], workload: Workload, seed: int, prefix: bytes
    ) -> None:
        """``endpoints``: each client begins with another one. ``prefix``: of all its keys."""
        self.history = History(lambda: time.monotonic_ns() // 1000)
        self.prefix = prefix
        self.acked_s: list[float] = []
        """When each acknowledged write was acknowledged, on ``time.monotonic``."""
        self.settled = 0
        self._endpoints = list(endpoints)
        self._over = threading.Event()
        self._keys = [b"%sk%04d" % (prefix, number) for number in range(workload.keys)]
        self._threads = [
            self._make_worker(place, workload, seed) for place in range(workload.clients)
        ]

    def _make_worker(self, place: int, workload: Workload, seed: int) -> "_Worker":
        client = WorkloadClient(
            f"c{place + 1}",
            self.history,
            random.Random(f"{seed}/client/{place}"),
            keys=self._keys,
            mix=_both_ways(workload.mix),
            keys_end=prefix_end(self.prefix),
            range_keys_max=len(self._keys),
            pad=lambda value: value.ljust(workload.value_bytes, b"."),
        )
        return _Worker(self, place, client, workload)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the loops and wait for the operations under way. Raises what broke a client."""
        self._over.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self.raise_error()

    def raise_error(self) -> None:
        """What broke a client, other than a cluster that does not answer: a bug."""
        for thread in self._threads:
            if thread.error is not None:
                raise thread.error

    def settle(self, client: Client) -> None:
        """Ask what became of the writes that ended without an answer. Raises ClientError."""
        for thread in self._threads:
            while thread.open:
                operation, session, seq = thread.open[-1]
                outcome = client.outcome(session, seq)
                if outcome.state == "committed":
                    record_result(self.history, operation, outcome.result, outcome.slot)
                elif outcome.state == "fenced":
                    self.history.failed(operation)
                if outcome.state in ("committed", "fenced"):
                    self.settled += 1
                thread.open.pop()

    def final(self, client: Client) -> dict[bytes, FinalRow | None]:
        """Every key as it is now. Raises ClientError."""
        rows: dict[bytes, FinalRow | None] = dict.fromkeys(self._keys)
        for row in client.scan(self.prefix):
            if row.key in rows:
                numbers = (row.create_revision, row.modify_revision, row.version)
                rows[row.key] = FinalRow(row.value, *numbers)
        return rows

    @property
    def over(self) -> threading.Event:
        """Set when the clients are to end."""
        return self._over

    def client(self, place: int, timeout_ms: int) -> Client:
        """A client that begins with another endpoint than its neighbours."""
        turn = place % len(self._endpoints)
        endpoints = self._endpoints[turn:] + self._endpoints[:turn]
        return Client(endpoints, timeout_s=timeout_ms / 1000)


class _Worker(threading.Thread):
    """One client: one operation after the other."""

    def __init__(
        self, workers: Workers, place: int, work: WorkloadClient, workload: Workload
    ) -> None:
        super().__init__(name=work.process, daemon=True)
        self.error: BaseException | None = None
        self.open: list[tuple[Operation, int, int]] = []
        """Writes without an answer: the operation, its session and seq."""
        self._workers = workers
        self._place = place
        self._work = work
        self._workload = workload

    def run(self) -> None:
        over = self._workers.over
        pause_s = self._workload.pause_ms / 1000
        try:
            with self._workers.client(self._place, self._workload.timeout_ms) as client:
                while not over.is_set():
                    request = self._work.draw()
                    if request.is_read:
                        self._read(client, request)
                    else:
                        self._write(client, request)
                    over.wait(pause_s)
        except BaseException as error:  # noqa: BLE001 - raised again by Workers.raise_error
            self.error = error

    def _write(self, client: Client, request: Request) -> None:
        history = self._workers.history
        operation = self._work.begin(request)
        call = client.finish(client.submit(request.body))
        if call.failure is None:
            # Without its slot: the answer to a repeated command names that of the repetition.
            self._work.record_result(operation, call.result)
            self._workers.acked_s.append(time.monotonic())
        elif isinstance(call.failure, OutcomeUnknown):
            history.unknown(operation)
            if call.failure.session:
                self.open.append((operation, call.failure.session, call.failure.seq))
        else:
            history.failed(operation)

    def _read(self, client: Client, request: Request) -> None:
        operation = self._work.begin(request)
        try:
            answer = client.read([request.body])
        except ClientError:
            self._workers.history.failed(operation)  # a read has no effect that could come later
            return
        self._work.record_read(operation, answer)


def _both_ways(mix: Mix) -> Mix:
    """The same mix, with half of the CAS by value and half of them by revision."""
    share = mix.get(CAS, 0) / 2
    return {**mix, CAS: share, CAS_REVISION: share}
