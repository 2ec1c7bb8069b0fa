"""The calls of one client of an event loop: begun by any of its tasks, carried out together.

    begin ──► ClientProtocol ◄── turn: once in a round of the loop, for all that tasks have begun
    sockets' descriptors, a timer ──► turn       a call that has ended ──► the future of its task

ZeroMQ's descriptors report that something is new, not that something is there. So a turn goes on
until there is nothing to read after the last thing was sent (libzmq's manual, ZMQ_FD). That costs
less than the asyncio sockets of pyzmq, which make a future for each message.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from paxosctl.client.base import (
    CANCELLED_WORDS,
    CLOSED_WORDS,
    ClientBase,
    new_call,
)
from paxosctl.client.credentials import KeySource
from paxosctl.client.errors import CANCELLED, CLOSED, CarriedOutError, ClientError
from paxosctl.client.operations import Flow, IsAwaited, Item, Steps
from paxosctl.client.owner import Owner
from paxosctl.client.transport import NAMES_MS
from paxosctl.client.watch_session import WatchSession
from paxosd.core.client.calls import Call, ClientOptions, Request
from paxosd.host.clock import clock_ms

T = TypeVar("T")

ROUNDS_MAX = 4
"""So often a turn reads what has come meanwhile before other tasks get theirs."""
TIMER_MS_MAX = 3_600_000


class AsyncRunner(ClientBase, IsAwaited):
    """A client whose calls are awaited. It belongs to the event loop in which it is first used."""

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
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0
        self._readers: dict[Any, int] = {}
        self._sockets_seen = -1
        self._watches: list[WatchSession] = []
        self._waiting: dict[WatchSession, set[asyncio.Future[None]]] = {}

    async def __aenter__(self) -> Self:
        self._check()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the session, without waiting for the answer, and closes all sockets; more than once
        does no harm. Calls of other tasks that are under way end: not submitted, or with an outcome
        that is not known. All watches end."""
        if self._transport.owner.is_forked or self._closed:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._check_loop()
        self._transport.owner.adopt()  # its loop may have run in another thread, and be closed
        self._closed = True
        try:
            self._connection.protocol.abandon(CLOSED, CLOSED_WORDS)
            for watch in self._watches:
                watch.close()
            self._tell()
            self._connection.close()
        finally:
            self._forget_loop()
            self._transport.close()

    @property
    def owner(self) -> Owner:
        """Whose the sockets are."""
        return self._transport.owner

    def begin(self, request: Request, deadline_ms: int) -> Call:
        """Begin a request of any kind; it leaves in the next round of the loop."""
        loop = self._check_loop()
        call = new_call(request, deadline_ms)
        call.tag = loop.create_future()
        self._connection.protocol.begin(call, request, clock_ms())
        self._soon()
        return call

    async def news(self, watch: WatchSession, until_ms: int | None) -> None:
        """Wait until there is something for the user of a watch, or the time is over."""
        loop = self._check_loop()
        waits: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(watch, set()).add(waits)
        self._soon()
        left_s = None if until_ms is None else max(0, until_ms - clock_ms()) / 1000
        try:
            await asyncio.wait([waits], timeout=left_s)
        finally:
            self._waiting[watch].discard(waits)
            if not self._waiting[watch]:
                del self._waiting[watch]

    def end(self, watch: WatchSession) -> None:
        """Close a watch; whoever waits for it goes on."""
        self._check_loop()
        watch.close()
        _wake(self._waiting.get(watch, set()))
        self._listen()  # their numbers may be given out again at once

    # -- inside -------------------------------------------------------------------------------

    def _check_loop(self) -> asyncio.AbstractEventLoop:
        """Raises RuntimeError in another loop than the client's, and where there is none."""
        self._check()
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            self._transport.owner.adopt()
        elif loop is not self._loop:
            raise RuntimeError(
                "this client belongs to another event loop: make an AsyncClient in each loop"
            )
        return loop

    def _soon(self) -> None:
        if not self._is_due and self._loop is not None:
            self._is_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        if self._closed:
            return
        transport = self._transport
        for _ in range(ROUNDS_MAX):
            due_ms = self._connection.turn()
            for watch, waits in self._waiting.items():
                due_ms = min(due_ms, watch.turn())
                if watch.has_news:
                    _wake(waits)
            self._tell()
            if not transport.poll(0):
                break
        else:
            self._soon()
        self._listen()
        self._set_timer(min(due_ms, clock_ms() + NAMES_MS) if transport.follows_names else due_ms)

    def _tell(self) -> None:
        for call in self._connection.protocol.take_completed():
            if call.tag is not None and not call.tag.done():
                call.tag.set_result(None)
        if self._closed:
            for waits in self._waiting.values():
                _wake(waits)

    def _listen(self) -> None:
        """Have the loop report what the sockets that there are now have to read."""
        transport, loop = self._transport, self._loop
        if self._sockets_seen == transport.registrations or loop is None:
            return
        self._sockets_seen = transport.registrations
        sockets = transport.descriptors()
        # A new socket may have the number of one that was closed: that one is forgotten first.
        for socket in self._readers.keys() - sockets.keys():
            loop.remove_reader(self._readers.pop(socket))
        for socket in sockets.keys() - self._readers.keys():
            self._readers[socket] = sockets[socket]
            loop.add_reader(sockets[socket], self._soon)

    def _set_timer(self, due_ms: int) -> None:
        """Have a turn then, at the latest."""
        now_ms = clock_ms()
        due_ms = min(due_ms, now_ms + TIMER_MS_MAX)
        if self._timer is not None:
            if now_ms < self._timer_ms <= due_ms:
                return
            self._timer.cancel()
        if self._loop is not None:
            self._timer_ms = due_ms
            self._timer = self._loop.call_later(max(1, due_ms - now_ms) / 1000, self._soon)

    def _forget_loop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._loop is not None and not self._loop.is_closed():
            for descriptor in self._readers.values():
                self._loop.remove_reader(descriptor)
        self._readers.clear()

    async def _wait(self, call: Call) -> Call:
        try:
            await call.tag
        except asyncio.CancelledError as error:
            if not self._closed:
                self._connection.protocol.cancel(call, CANCELLED, CANCELLED_WORDS)
                self._soon()
            if call.failure is not None:
                error.__cause__ = self.failure_of(call)
            elif call.done:
                error.__cause__ = CarriedOutError(call.slot)
            raise
        if call.failure is not None:
            raise self.failure_of(call) from None
        return call

    async def _run(self, steps: Steps[T], timeout_s: float | None) -> T:
        deadline_ms = self._deadline_ms(timeout_s)
        try:
            request = next(steps)
            while True:
                try:
                    call = await self._wait(self.begin(request, deadline_ms))
                except ClientError as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(call)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _flow(self, flow: Flow[T], timeout_s: float | None) -> AsyncIterator[T]:
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
                    call = await self._wait(self.begin(step, self._deadline_ms(timeout_s)))
                except ClientError as failure:
                    error = failure


def _wake(waits: set[asyncio.Future[None]]) -> None:
    for each in waits:
        if not each.done():
            each.set_result(None)
