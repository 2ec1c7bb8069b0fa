"""Many commands at a time: they share frames, fsyncs and round trips.

    with client.pipeline() as pipe:
        first = pipe.put(b"a", b"1")
        pipe.delete(b"b")
    first.result()              # or pipe.results(): all of them in order

Commands of a pipeline are concurrent: they may take effect in any order. Each has its own
deadline, which begins when it is queued.
"""

from types import TracebackType
from typing import Any, Self, TypeVar

from paxosctl.client.future import Future
from paxosctl.client.operations import Queues, Steps
from paxosctl.client.owner import Unshared
from paxosctl.client.runner import CallRunner
from paxosctl.client.transaction_calls import TransactionMethods
from paxosctl.client.writes import WriteMethods
from paxosd.core.client.calls import Write

FLUSH_COMMANDS = 256
"""Once so many commands are queued, they are sent."""

T = TypeVar("T")


class Pipeline(Unshared, WriteMethods, TransactionMethods, Queues):
    """Made by :meth:`Client.pipeline`. Leaving the ``with`` block waits for every command, and
    raises for the first that failed. It has the methods of Client that change keys; each returns a
    :class:`~paxosctl.client.future.Future` of what that returns."""

    def __init__(self, runner: CallRunner) -> None:
        self._runner = runner
        self._futures: list[Future[Any]] = []
        self._unsent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.results()

    def __len__(self) -> int:
        return len(self._futures)

    def flush(self) -> None:
        """Send what can be sent now, and take what has arrived; does not wait."""
        self._unsent = 0
        self._runner.turn()

    def results(self) -> list[Any]:
        """Wait for every command; their results in order. Raises for the first that failed;
        then look at each future."""
        return [future.result() for future in self._futures]

    def _queue(self, steps: Steps[T], timeout_s: float | None) -> Future[T]:
        request = next(steps)
        assert type(request) is Write
        call = self._runner.submit(request.command, timeout_s=timeout_s)
        future = Future(self._runner, call, steps)
        self._futures.append(future)
        self._unsent += 1
        if self._unsent >= FLUSH_COMMANDS:
            self.flush()
        return future
