"""The calls of one client: taken in from any thread, carried out over its connections, explained.

    begin ──► inbox ──► ClientProtocol ◄── turn: send, take what has arrived ──► Connection
    finish: sleeps, or drives, until a call has ended     failure_of: the exception that explains

It works on the network only while some thread waits in one of its calls. Which thread does the work
for all of them is decided in ``driver_seat.py``.
"""

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

from paxosctl.client.base import (
    CANCELLED_WORDS,
    CLOSED_WORDS,
    ClientBase,
    new_call,
)
from paxosctl.client.credentials import KeySource
from paxosctl.client.driver_seat import DriverSeat, Wish
from paxosctl.client.errors import CANCELLED, CLOSED, ClientError
from paxosctl.client.operations import Flow, Item, Steps, Waits
from paxosctl.client.owner import Owner
from paxosctl.client.waits import LATE_MS, CallWish, Moment
from paxosctl.client.watch_session import WatchSession
from paxosd.core.client.calls import (
    Call,
    ClientOptions,
    NotSubmitted,
    OutcomeUnknown,
    Request,
    Write,
)
from paxosd.core.commands import Command
from paxosd.host.clock import clock_ms

T = TypeVar("T")

POLL_MS_MAX = 1000
LOST = "it was being carried out by a thread that was interrupted"


class CallRunner(ClientBase, Waits):
    """A client whose calls wait. It may be shared by threads: their calls go out together."""

    def __init__(
        self,
        endpoints: Sequence[str] | None = None,
        *,
        timeout_s: float = 5.0,
        options: ClientOptions | None = None,
        name: str | None = None,
        read_from: str | None = None,
        key: KeySource | None = None,
        allow_plain: bool = False,
    ) -> None:
        super().__init__(
            endpoints,
            timeout_s=timeout_s,
            options=options,
            name=name,
            read_from=read_from,
            key=key,
            allow_plain=allow_plain,
        )
        self._seat = DriverSeat(self._transport.owner, self._transport.waker)
        self._inbox: deque[tuple[Call, Request]] = deque()
        self._cancelled: deque[Call] = deque()
        self._watches: list[WatchSession] = []
        self._driving = False
        self._closing = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the session, without waiting for the answer, and closes all sockets. It may be
        called from any thread, and more than once. Calls of other threads that are under way end:
        not submitted, or with an outcome that is not known. All watches end."""
        if self._transport.owner.is_forked:
            return  # the session and the connections are the parent's, which goes on with them
        self._closing = True
        if self._driving and self._seat.is_mine:
            return  # a signal handler, in the midst of a call of this thread: that will close it
        with self.alone():
            self._shut()

    def submit(self, command: Command, *, timeout_s: float | None = None) -> Call:
        """Queue a command; nothing is sent before :meth:`turn` or a call that waits."""
        return self.begin(Write(command), self._deadline_ms(timeout_s))

    def begin(self, request: Request, deadline_ms: int) -> Call:
        """Queue a request of any kind."""
        self._check()
        call = new_call(request, deadline_ms)
        self._inbox.append((call, request))
        self._transport.waker.wake()
        return call

    def turn(self, wait_ms: int = 0) -> None:
        """Send what can be sent, and take what has arrived, waiting for it if there is none."""
        self._check()
        try:
            if self._seat.enter(Moment(clock_ms() + wait_ms), wait_ms / 1000):
                self._driving = True
                self._sleep(self._act(), wait_ms)
                self._tell()
        finally:
            self._end_driving()

    def pause(self, ms: int) -> None:
        """Wait for so long, and work on the network meanwhile."""
        until_ms = clock_ms() + ms
        while (left_ms := until_ms - clock_ms()) > 0:
            self.turn(left_ms)

    def finish(self, call: Call) -> Call:
        """Wait until a call has ended, well or badly. What has ended is known after the client was
        closed, too."""
        self._transport.owner.check_process()
        if not call.done:
            self._check()
            self.wait(CallWish(call))
            if not call.done:
                unsent = any(each is call for each, _ in list(self._inbox))
                lost = OutcomeUnknown(0, 0, LOST)
                call.failure = NotSubmitted(CLOSED, CLOSED_WORDS) if unsent else lost
                call.done = True
        return call

    def cancel(self, call: Call) -> None:
        """End a call, if it has not ended; how is known after the next turn."""
        self._check()
        self._cancelled.append(call)
        self._transport.waker.wake()

    @property
    def owner(self) -> Owner:
        """Whose the sockets are."""
        return self._transport.owner

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Protocol and sockets are this thread's meanwhile, for what waits for nothing."""
        if self._driving and self._seat.is_mine:
            yield
            return
        try:
            self._seat.take()
            yield
        finally:
            self._end_driving()

    def wait(self, wish: Wish) -> None:
        """Return once the wish is ready, or its time is over."""
        nested = self._driving and self._seat.is_mine  # a signal handler that makes a call
        try:
            while not wish.ready and not self._closed:
                left_ms = wish.until_ms + LATE_MS - clock_ms()
                if left_ms <= 0:
                    return
                if self._seat.enter(wish, left_ms / 1000):
                    self._drive(wish)
                    if not nested:
                        self._end_driving()
        finally:
            if not nested:
                self._end_driving()

    # -- inside -------------------------------------------------------------------------------

    def _drive(self, wish: Wish) -> None:
        """Work for all threads until the wish of this one is ready, or another needs the seat."""
        self._driving = True
        # What happened before the call is read first: a connection that broke and came back since
        # the last call must not count as one that breaks during this call.
        self._transport.poll(0)
        while not self._closing and clock_ms() < wish.until_ms + LATE_MS:
            due_ms = self._act()
            if wish.acts and not wish.ready:
                due_ms = min(due_ms, wish.turn())
            if wish.ready or self._seat.is_wanted:
                return
            self._sleep(due_ms, POLL_MS_MAX)

    def _end_driving(self) -> None:
        if self._seat.is_mine:
            self._driving = False
            try:
                if self._closing:
                    self._shut()
            finally:
                self._seat.leave()

    def _act(self) -> int:
        """One turn; returns when the next is due."""
        self._take_in()
        due_ms = self._connection.turn()
        is_news = False
        for wish in self._seat.acting():
            due_ms = min(due_ms, wish.turn())
            is_news = is_news or wish.ready
        self._tell(is_news)
        return due_ms

    def _take_in(self) -> None:
        protocol, inbox = self._connection.protocol, self._inbox
        while inbox:
            call, request = inbox.popleft()
            protocol.begin(call, request, clock_ms())
        while self._cancelled:
            protocol.cancel(self._cancelled.popleft(), CANCELLED, CANCELLED_WORDS)

    def _tell(self, is_news: bool = False) -> None:
        """Wake the threads whose calls have ended, or whose watches have something. Each looks at
        its own."""
        if (self._connection.protocol.take_completed() or is_news) and self._seat.is_shared:
            self._seat.wake_ready()

    def _sleep(self, due_ms: int, wait_ms: int) -> None:
        waker = self._transport.waker
        waker.fall_asleep()
        if self._inbox or self._cancelled or self._seat.stirred() or self._seat.is_wanted:
            wait_ms = 0
        self._transport.poll(max(min(1, wait_ms), min(due_ms - clock_ms(), wait_ms)))
        waker.wake_up()

    def _shut(self) -> None:
        """Close everything; by the thread in the seat."""
        if self._closed:
            return
        self._closed = True
        try:
            self._take_in()
            self._connection.protocol.abandon(CLOSED, CLOSED_WORDS)
            for watch in self._watches:
                watch.close()
            self._seat.wake_ready()
            self._connection.close()
        finally:
            self._transport.close()  # closes what an interrupted call left unknown to them

    def _wait(self, call: Call) -> Call:
        self.finish(call)
        if call.failure is not None:
            raise self.failure_of(call) from None
        return call

    def _run(self, steps: Steps[T], timeout_s: float | None) -> T:
        deadline_ms = self._deadline_ms(timeout_s)
        try:
            request = next(steps)
            while True:
                try:
                    call = self._wait(self.begin(request, deadline_ms))
                except ClientError as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(call)
        except StopIteration as end:
            result: T = end.value
            return result

    def _flow(self, flow: Flow[T], timeout_s: float | None) -> Iterator[T]:
        with contextlib.closing(flow):
            call: Call | None = None
            error: ClientError | None = None
            while True:
                try:
                    step = flow.send(call) if error is None else flow.throw(error)
                except StopIteration:
                    return
                call = error = None
                if isinstance(step, Item):
                    yield step.value
                    continue
                try:
                    call = self._wait(self.begin(step, self._deadline_ms(timeout_s)))
                except ClientError as failure:
                    error = failure
