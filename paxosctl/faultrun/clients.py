"""The clients of ``paxosctl fault run``: threads that do the work of ``paxosd/check/workload.py``.

Beside them there are some that do transactions (``transactors.py``) and hold a lock in turn
(``lockers.py``). Each has one operation under way at a time. The outcome of a write that ended
without an answer is asked for when all is over: the outcome query answers "done" or "never".
"""

import random
import threading
import time
from collections.abc import Sequence

from paxosctl.client.client import Client
from paxosctl.client.credentials import Credentials
from paxosctl.client.errors import ClientError
from paxosctl.faultrun.lockers import Locker
from paxosctl.faultrun.plan import Workload
from paxosctl.faultrun.transactors import Transactor, shared_keys
from paxosctl.faultrun.worker import Run, Worker, now_us
from paxosd.check.exactly_once import FinalRow
from paxosd.check.history import CAS, GET, TXN, History, Operation
from paxosd.check.locks import LockRecords
from paxosd.check.transaction_workload import record_command
from paxosd.check.workload import CAS_REVISION, Mix, Request, WorkloadClient, record_result
from paxosd.core.commands import prefix_end
from paxosd.core.requests import GET as GET_QUERY

SETTLE_S = 30.0


class Workers:
    """All clients of a run, and the history of what they saw."""

    def __init__(
        self,
        endpoints: Sequence[str],
        workload: Workload,
        seed: int,
        prefix: bytes,
        credentials: Credentials | None = None,
    ) -> None:
        """``endpoints``: each client begins with another one. ``prefix``: of all its keys."""
        self.history = History(now_us)
        self.prefix = prefix
        self.acked_s: list[float] = []
        """When each acknowledged write was acknowledged, on ``time.monotonic``."""
        self.settled = 0
        self.workload = workload
        self.seed = seed
        self.locks = LockRecords()
        self._endpoints = list(endpoints)
        self._credentials = credentials
        self._over = threading.Event()
        self._keys = [b"%sk%04d" % (prefix, number) for number in range(workload.keys)]
        plain = [self._make_plain(place) for place in range(workload.clients)]
        self._transactors = [
            Transactor(self, place, f"t{place + 1}") for place in range(workload.transactors)
        ]
        lockers = [
            Locker(self, place, f"l{place + 1}", self.locks) for place in range(workload.lockers)
        ]
        self._threads: list[Worker] = [*plain, *self._transactors, *lockers]

    def _make_plain(self, place: int) -> "_PlainWorker":
        workload = self.workload
        client = WorkloadClient(
            f"c{place + 1}",
            self.history,
            random.Random(f"{self.seed}/client/{place}"),
            keys=self._keys,
            mix=_both_ways(workload.mix),
            keys_end=prefix_end(self.prefix + b"k"),  # not those of transactions and locks
            range_keys_max=len(self._keys),
            pad=lambda value: value.ljust(workload.value_bytes, b"."),
        )
        return _PlainWorker(self, place, client)

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
                if outcome.state == "committed" and operation.kind == TXN:
                    record_command(self.history, operation, outcome.result)
                elif outcome.state == "committed":
                    record_result(self.history, operation, outcome.result, outcome.slot)
                elif outcome.state == "fenced":
                    self.history.failed(operation)
                if outcome.state in ("committed", "fenced"):
                    self.settled += 1
                thread.open.pop()

    def final(self, client: Client) -> dict[bytes, FinalRow | None]:
        """Every key as it is now; those of transactions are read into the history, which says from
        when on leases may have ended. Raises ClientError."""
        if self._transactors:
            self._read_shared(client)
        rows: dict[bytes, FinalRow | None] = dict.fromkeys(self._keys)
        for row in client.scan(self.prefix):
            if row.key in rows:
                numbers = (row.create_revision, row.modify_revision, row.version)
                rows[row.key] = FinalRow(row.value, *numbers)
        return rows

    def breaches(self) -> list[str]:
        """What leases did that they must not, as their holders saw it."""
        return [term.breach for each in self._transactors for term in each.terms if term.breach]

    def _read_shared(self, client: Client) -> None:
        keys = [key for group in shared_keys(self.prefix) for key in group]
        begun = [(key, self.history.invoke("end", GET, key)) for key in keys]
        answer = client.read([[GET_QUERY, key] for key in keys])
        for (_, operation), row in zip(begun, answer.results, strict=True):
            value, modified = (None, 0) if row is None else (row.value, row.modify_revision)
            self.history.ok(operation, value, revision=answer.revision, modified=(modified,))
        for transactor in self._transactors:
            for term in transactor.terms:
                term.expect(self.history)
                client.revoke(term.lease)

    @property
    def over(self) -> threading.Event:
        """Set when the clients are to end."""
        return self._over

    def client(self, place: int, timeout_ms: int) -> Client:
        """A client that begins with another endpoint than its neighbours."""
        turn = place % len(self._endpoints)
        endpoints = self._endpoints[turn:] + self._endpoints[:turn]
        return Client(endpoints, timeout_s=timeout_ms / 1000, key=self._credentials)


class _PlainWorker(Worker):
    """A client that does the operations of a workload."""

    def __init__(self, run: Run, place: int, work: WorkloadClient) -> None:
        super().__init__(run, place, work.process)
        self._work = work

    def _act(self, client: Client) -> None:
        request = self._work.draw()
        operation = self._work.begin(request)
        if request.is_read:
            self._read(client, request, operation)
            return
        call = client.finish(client.submit(request.body))
        if call.failure is not None:
            self._no_answer(operation, call)
            return
        # Without its slot: the answer to a repeated command names that of the repetition.
        self._work.record_result(operation, call.result)
        self._run.acked_s.append(time.monotonic())

    def _read(self, client: Client, request: Request, operation: Operation) -> None:
        try:
            answer = client.read([request.body])
        except ClientError:
            self._run.history.failed(operation)  # a read has no effect that could come later
            return
        self._work.record_read(operation, answer)


def _both_ways(mix: Mix) -> Mix:
    """The same mix, with half of the CAS by value and half of them by revision."""
    share = mix.get(CAS, 0) / 2
    return {**mix, CAS: share, CAS_REVISION: share}
