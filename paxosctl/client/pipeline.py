"""Many commands at a time: they share frames, fsyncs and round trips.

    with client.pipeline() as pipe:
        first = pipe.put(b"a", b"1")
        pipe.delete(b"b")
    first.result()              # or pipe.results(): all of them in order

Commands of a pipeline are concurrent: they may take effect in any order. Each has its own
deadline, which begins when it is queued.
"""

from types import TracebackType
from typing import Any, Self

from paxosctl.client.errors import ClientError
from paxosctl.client.results import as_bytes, as_number, typed_result
from paxosctl.client.runner import CallRunner
from paxosd.core.client.calls import Call
from paxosd.core.commands import CAS_REVISION, CAS_VALUE, DELETE, DELETE_RANGE, PUT, prefix_end

FLUSH_COMMANDS = 256
"""Once so many commands are queued, they are sent."""


class Future:
    """The result of one command, now or later."""

    __slots__ = ("_runner", "call")

    def __init__(self, runner: CallRunner, call: Call) -> None:
        self._runner = runner
        self.call = call

    @property
    def done(self) -> bool:
        """Whether it has ended; does no work on the network."""
        return self.call.done

    def result(self) -> Any:
        """Wait for the result, as the method of the same name of Client would return it.
        Raises what that would raise."""
        call = self._runner.finish(self.call)
        if call.failure is not None:
            raise self._runner.failure_of(call)
        assert isinstance(call.request, list)
        return typed_result(call.request, call.result)

    def error(self) -> ClientError | None:
        """Wait until it has ended; the exception that :meth:`result` raises, if any."""
        call = self._runner.finish(self.call)
        return None if call.failure is None else self._runner.failure_of(call)


class Pipeline:
    """Made by :meth:`Client.pipeline`. Leaving the ``with`` block waits for every command, and
    raises for the first that failed."""

    def __init__(self, runner: CallRunner) -> None:
        self._runner = runner
        self._futures: list[Future] = []
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

    def put(self, key: bytes, value: bytes) -> Future:
        """Set a key; its result is the revision."""
        return self._queue([PUT, as_bytes(key), as_bytes(value)])

    def delete(self, key: bytes) -> Future:
        """Remove a key; its result is the revision, or None if there was no such key."""
        return self._queue([DELETE, as_bytes(key)])

    def delete_prefix(self, prefix: bytes) -> Future:
        """Remove every key with this prefix; its result is how many there were."""
        return self._queue([DELETE_RANGE, as_bytes(prefix), prefix_end(prefix)])

    def cas_value(self, key: bytes, expect: bytes | None, value: bytes) -> Future:
        """Set a key if it has this value; its result is a CasResult."""
        wanted = None if expect is None else as_bytes(expect)
        return self._queue([CAS_VALUE, as_bytes(key), wanted, as_bytes(value)])

    def cas_revision(self, key: bytes, expect: int, value: bytes) -> Future:
        """Set a key if it has this modify revision; its result is a CasResult."""
        return self._queue([CAS_REVISION, as_bytes(key), as_number(expect), as_bytes(value)])

    def flush(self) -> None:
        """Send what can be sent now, and take what has arrived; does not wait."""
        self._unsent = 0
        self._runner.turn()

    def results(self) -> list[Any]:
        """Wait for every command; their results in order. Raises for the first that failed;
        then look at each future."""
        return [future.result() for future in self._futures]

    def _queue(self, command: list[Any]) -> Future:
        future = Future(self._runner, self._runner.submit(command))
        self._futures.append(future)
        self._unsent += 1
        if self._unsent >= FLUSH_COMMANDS:
            self.flush()
        return future
