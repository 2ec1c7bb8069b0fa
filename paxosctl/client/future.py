"""The result of a command that was queued and is not waited for yet."""

from collections.abc import Generator
from typing import Generic, Protocol, TypeVar

from paxosctl.client.errors import ClientError
from paxosctl.client.owner import Unshared
from paxosd.core.client.calls import Call

T = TypeVar("T")


class FutureRunner(Protocol):
    """What of a client a future needs."""

    def finish(self, call: Call) -> Call:
        """Wait until a call has ended."""
        ...

    def cancel(self, call: Call) -> None:
        """End a call that has not ended."""
        ...

    def failure_of(self, call: Call) -> ClientError:
        """The exception for a call that ended badly."""
        ...


class Future(Unshared, Generic[T]):
    """The result of one command, now or later. Any thread may ask for it."""

    __slots__ = ("_ended", "_runner", "_steps", "call")

    def __init__(self, runner: FutureRunner, call: Call, steps: Generator[object, Call, T]) -> None:
        """``steps`` has yielded the request of ``call``."""
        self._runner = runner
        self._steps = steps
        self._ended: list[T] = []
        self.call = call

    @property
    def done(self) -> bool:
        """Whether it has ended; does no work on the network."""
        return self.call.done

    def cancel(self) -> None:
        """End the command, if it has not ended. What is known of it then is what :meth:`error`
        returns: NotSubmittedError with the code "cancelled", or OutcomeUnknownError with the
        (session, seq) to ask for; None if its result has come before."""
        self._runner.cancel(self.call)

    def result(self) -> T:
        """Wait for the result, as the method of the same name of Client would return it.
        Raises what that would raise."""
        call = self._runner.finish(self.call)
        if call.failure is not None:
            raise self._runner.failure_of(call)
        while not self._ended:
            try:
                self._steps.send(call)
            except StopIteration as end:
                self._ended.append(end.value)
            else:
                raise AssertionError("a queued method is one command")
        return self._ended[0]

    def error(self) -> ClientError | None:
        """Wait until it has ended; the exception that :meth:`result` raises, if any."""
        call = self._runner.finish(self.call)
        return None if call.failure is None else self._runner.failure_of(call)
