"""What all clients of ``paxosctl fault run`` have in common: a thread with a Client of its own."""

import random
import threading
import time
from typing import Protocol

from paxosctl.client.client import Client
from paxosctl.faultrun.plan import Workload
from paxosd.check.history import History, Operation
from paxosd.core.client.calls import Call, OutcomeUnknown


def now_us() -> int:
    """The clock of the history: one for all threads, which never jumps."""
    return time.monotonic_ns() // 1000


class Run(Protocol):
    """What the clients of one run share."""

    history: History
    prefix: bytes
    acked_s: list[float]
    workload: Workload
    seed: int

    @property
    def over(self) -> threading.Event:
        """Set when the clients are to end."""
        ...

    def client(self, place: int, timeout_ms: int) -> Client:
        """A client that begins with another endpoint than its neighbours."""
        ...


class Worker(threading.Thread):
    """One client: one thing after the other, until the run is over."""

    def __init__(self, run: Run, place: int, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.error: BaseException | None = None
        """What broke it, other than a cluster that does not answer: a bug."""
        self.open: list[tuple[Operation, int, int]] = []
        """Writes without an answer: the operation, its session and seq."""
        self._run = run
        self._place = place
        self._rng = random.Random(f"{run.seed}/{name}")

    def run(self) -> None:
        """Work until the run is over."""
        run = self._run
        try:
            with run.client(self._place, run.workload.timeout_ms) as client:
                while not run.over.is_set():
                    self._act(client)
                    run.over.wait(self._pause_s)
                self._leave(client)
        except BaseException as error:  # noqa: BLE001 - raised again by Workers.raise_error
            self.error = error

    @property
    def _pause_s(self) -> float:
        return self._run.workload.pause_ms / 1000

    def _act(self, client: Client) -> None:
        """One thing."""
        raise NotImplementedError

    def _leave(self, client: Client) -> None:
        """The run is over."""

    def _no_answer(self, operation: Operation, call: Call) -> None:
        """A write failed, or nobody knows."""
        failure, history = call.failure, self._run.history
        if isinstance(failure, OutcomeUnknown):
            history.unknown(operation)
            if failure.session:
                self.open.append((operation, failure.session, failure.seq))
        else:
            history.failed(operation)
